// neuron.js - why this weight: one query and one key of one head, from their product number by number to the context vector.
//
// The server's numbers are shown as they are. What is worked out here (products, their sum, the exponentials) is worked out in double from the server's float32
// numbers, so that a person can follow it; where the same number comes from the server too, both are shown with the difference between them.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { brief, chooser, nameOf, number, quoted, redraw, strip, tokenName } from './figures.js';

/**
 * One query row of one head, as the server gives it.
 * @typedef {{query: Float32Array, key: Float32Array, value: Float32Array, raw: Float32Array, scores: Float32Array, weights: Float32Array, context:
 * Float32Array}} Row
 *          query [d], key [T_k, d], value [T_k, d_v], raw, scores and weights [T_k], context [d_v]; a masked score is minus infinity
 */

const shownKeys = 24;

/** The j-th of rows of `width`. */
const slice = (data, j, width) => data.subarray(j * width, (j + 1) * width);

/** q . k in double. @param {Float32Array} a @param {Float32Array} b */
export function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++)
        sum += a[i] * b[i];
    return sum;
}

/** Element by element, in double. */
const times = (a, b) => Float64Array.from(a, (x, i) => x * (typeof b === 'number' ? b : b[i]));

/**
 * What the server multiplied q . k with: it says only the product, so the factor is the one that fits the whole row best, and its name when it is one everybody
 * uses.
 * @param {Row} row @returns {{factor: number, name: string}}
 */
export function scaleOf(row) {
    const d = row.query.length;
    let up = 0, down = 0;
    row.raw.forEach((raw, j) => {
        const sum = dot(row.query, slice(row.key, j, d));
        if (Number.isFinite(raw))
            up += raw * sum, down += sum * sum;
    });
    const fit = down > 0 ? up / down : 1;
    for (const [factor, name] of [[1 / Math.sqrt(d), `1/√${d}`], [1, '1']])
        if (Math.abs(fit / factor - 1) < 1e-4)
            return { factor, name };
    return { factor: fit, name: '' };
}

/**
 * The softmax of a row, in double. A row with nothing to look at is all zeros.
 * @param {Float32Array} scores @returns {{max: number, powers: Float64Array, sum: number, weights: Float64Array}}
 */
export function softmax(scores) {
    const max = scores.reduce((most, s) => Math.max(most, s), -Infinity);
    const powers = Float64Array.from(scores, s => (max === -Infinity ? 0 : Math.exp(s - max))), sum = powers.reduce((all, p) => all + p, 0);
    return { max, powers, sum, weights: powers.map(p => (sum > 0 ? p / sum : 0)) };
}

/** Weights times values, in double. @param {Row} row @returns {Float64Array} */
export function mixed(row) {
    const width = row.context.length, out = new Float64Array(width);
    row.weights.forEach((weight, j) => {
        for (let i = 0; i < width; i++)
            out[i] += weight * row.value[j * width + i];
    });
    return out;
}

const farthest = (a, b) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);

/** A line of arithmetic: words and numbers, each number with the whole of it under the mouse. */
function line(...parts) {
    return el('p.sum', {}, ...parts.map(part => (typeof part === 'number' ? number(part) : part)));
}

/** How far what was worked out here is from what the server says. */
function apart(here, there, what) {
    const most = farthest(here, there).toExponential(1);
    return el('p.apart', {}, `Added up here from the server's numbers: ${what}. The farthest apart from the server's own: ${most}.`);
}

function step(count, title, says, ...children) {
    return el('section.step', { 'data-step': count }, el('h3', {}, el('span.count', { 'aria-hidden': 'true' }, count), title), el('p.note', {}, says),
        ...children);
}

function productStep(row, j, names) {
    const d = row.query.length, key = slice(row.key, j, d), products = times(row.query, key);
    const say = i => `number ${i} of ${d}:  ${brief(row.query[i])} × ${brief(key[i])} = ${brief(products[i])}`;
    const order = [...products.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a]));
    const rows = [{ name: 'query', data: row.query, together: 'in' }, { name: 'key', data: key, together: 'in' }, { name: 'query × key', data: products }];
    const figure = sorted => strip({ label: `query times key, ${d} numbers`, rows, order: sorted ? order : undefined, say, at: order[0] });
    const place = el('div', {}, figure(false));
    const box = el('input', { type: 'checkbox', on: { change: () => place.replaceChildren(figure(box.checked)) } });
    const table = el('table.numbers', {}, el('thead', {}, el('tr', {}, ...['', 'query', 'key', 'query × key'].map(name => el('th', { scope: 'col' }, name)))),
        el('tbody', {}, ...order.map(i => el('tr', {}, el('th', { scope: 'row' }, i), number(row.query[i], 'td'), number(key[i], 'td'),
            number(products[i], 'td')))));
    const says = `The query of ${names[0]} and the key of ${names[1]} have ${d} numbers each. Where both are large and of one sign, they agree.`;
    return step(1, 'Query times key, number by number', says,
        place, el('label.tick', {}, box, 'largest products first'),
        line('sum of the products: ', el('strong.dot', {}, number(dot(row.query, key)))),
        el('details', {}, el('summary', {}, 'all the numbers, largest product first'),
            el('div.scroller', { tabindex: 0, role: 'region', 'aria-label': 'all the numbers' }, table)));
}

function scoreStep(row, j) {
    const sum = dot(row.query, slice(row.key, j, row.query.length)), { factor, name } = scaleOf(row), raw = row.raw[j], score = row.scores[j];
    const masked = score === -Infinity, moved = masked ? 0 : score - raw;
    const then = masked ? 'The mask hides this key from this query: its score is minus infinity.'
        : moved === 0 ? 'Nothing is added to it: no softcap, no bias, no mask here. This is what the softmax sees.' : 'Softcap, bias or mask then move it:';
    return step(2, 'Scaled, then masked', 'The sum is multiplied by one factor, the same for the whole head, so that long vectors do not drown the softmax.',
        line(sum, ' × ', factor, name ? ` (${name})` : ' (what fits this row)', ' = ', factor * sum, ' here; the server says ',
            el('strong.raw', {}, number(raw)),
            `, ${Math.abs(factor * sum - raw).toExponential(1)} apart`),
        el('p', {}, then), masked || moved === 0 ? null : line(raw, moved < 0 ? ' − ' : ' + ', Math.abs(moved), ' = ', score),
        line('score: ', el('strong.score', {}, number(score))));
}

/** The keys to list: all of a short row in order; of a long one the heaviest, and the chosen one. */
function listed(weights, j) {
    const all = [...weights.keys()];
    if (all.length <= shownKeys)
        return all;
    const heavy = all.sort((a, b) => weights[b] - weights[a]).slice(0, shownKeys);
    return heavy.includes(j) ? heavy : [...heavy.slice(0, -1), j];
}

function softmaxStep(row, j, keyTokens, onKey) {
    const { max, powers, sum, weights } = softmax(row.scores), keys = listed(row.weights, j), rest = row.weights.length - keys.length;
    const outside = row.weights.reduce((all, w) => all + w, 0) - keys.reduce((all, key) => all + row.weights[key], 0);
    const columns = ['key', 'score', 'e^(score − max)', 'weight', ''];
    const body = keys.map(key => {
        const bar = el('td.bar', { 'aria-hidden': 'true' });
        bar.style.setProperty('--share', String(row.weights[key]));
        const pick = el('button.plain', { type: 'button', 'aria-pressed': String(key === j), 'data-focus': `key ${key}`, on: { click: () => onKey(key) } },
            tokenName(keyTokens[key], key));
        return el(key === j ? 'tr.marked' : 'tr', { 'data-key': key },
            el('th', { scope: 'row' }, pick), number(row.scores[key], 'td'), number(powers[key], 'td'), number(row.weights[key], 'td'), bar);
    });
    const table = el('table.numbers.row-table', {}, el('caption', {},
        rest ? `The ${keys.length} keys that matter most here; the other ${rest} weigh ${brief(outside)} together` : 'Every key'),
        el('thead', {}, el('tr', {}, ...columns.map(name => el('th', { scope: 'col' }, name)))), el('tbody', {}, ...body));
    const nothing = max === -Infinity;
    return step(3, 'Softmax over the row', nothing ? 'Every key is masked: the server gives a row of zeros.'
        : 'Every score becomes e to its power, and the row is divided by its sum, so that it adds up to 1.',
        nothing ? null : line('largest score ', max, '; sum of the powers ', sum, '; so ', powers[j], ' ÷ ', sum, ' = ', weights[j]),
        line('weight: ', el('strong.weight', {}, number(row.weights[j]))),
        el('div.scroller.whole', { tabindex: 0, role: 'region', 'aria-label': 'the row of weights' }, table), apart(weights, row.weights, 'the whole row'));
}

function contextStep(row, j, names) {
    const width = row.context.length, value = slice(row.value, j, width), part = times(value, row.weights[j]);
    const say = i => `number ${i} of ${width}:  ${brief(row.weights[j])} × ${brief(value[i])} = ${brief(part[i])} of ${brief(row.context[i])}`;
    const rows = [{ name: 'value', data: value }, { name: 'weight × value', data: part, together: 'out' },
        { name: 'context', data: row.context, together: 'out' }];
    const says = `What ${names[0]} takes home is the sum of all values, each times its weight. Here is the part of ${names[1]} in it.`;
    return step(4, 'Weights times values', says,
        strip({ label: `weight times value, ${width} numbers`, rows, say }), apart(mixed(row), row.context, 'all weights times all values'));
}

/** The view. It owns its host, asks for rows through `ask`, and tells through `onPick` which pair a person chose in it. */
export class Neuron {
    /**
     * @param {HTMLElement} host
     * @param {{ask: (layer: number, head: number, query: number) => Promise<Row>, onPick: (query: number, key: number) => void}} wires
     */
    constructor(host, { ask, onPick }) {
        this.host = host;
        this.ask = ask;
        this.onPick = onPick;
        this.asked = 0;
    }

    /**
     * @param {{layer: number, head: number, query: number, key: number, queryTokens: object[], keyTokens: object[]}} choice
     * @returns {Promise<void>} when it is drawn, or was overtaken by a later choice; rejected with what the server said
     */
    async show(choice) {
        const turn = ++this.asked;
        this.host.setAttribute('aria-busy', 'true');
        try {
            const row = await this.ask(choice.layer, choice.head, choice.query);
            if (turn === this.asked)
                this.draw(row, choice);
        } finally {
            if (turn === this.asked)
                this.host.removeAttribute('aria-busy');
        }
    }

    draw(row, { layer, head, query, key, queryTokens, keyTokens }) {
        const from = nameOf(queryTokens[query], query), to = nameOf(keyTokens[key], key), names = [from, to].map(quoted);
        const rank = row.weights.filter(weight => weight > row.weights[key]).length;
        const place = rank === 0 ? 'the most' : `rank ${rank + 1}`;
        const listOf = tokens => tokens.map((token, i) => `${i}  ${nameOf(token, i)}`);
        redraw(this.host,
            el('div.pair', {}, chooser('query', listOf(queryTokens), query, at => this.onPick(at, key)),
                chooser('looks at key', listOf(keyTokens), key, at => this.onPick(query, at))),
            el('p.lead', { 'aria-live': 'polite' }, 'In head ', String(head), ' of layer ', String(layer), ', ', tokenName(queryTokens[query], query),
                ' gives ',
                tokenName(keyTokens[key], key), ' ', number(row.weights[key], 'strong'), ' of its attention: ', place, ' of ', String(row.weights.length), '.'),
            productStep(row, key, names), scoreStep(row, key), softmaxStep(row, key, keyTokens, at => this.onPick(query, at)), contextStep(row, key, names));
    }
}

const outputs = ['query', 'key', 'value', 'raw_scores', 'scores', 'attentions', 'context'];

/** Asks for one row of one head. An encoder-decoder counts the layers and tokens of its parts apart, so there all of them are asked for. */
async function rowOf(app, result, { stack, layer, head }, query) {
    const alone = stack.name === 'self', prefix = alone ? '' : `${stack.name}_`;
    const { tensors, head: said } = await app.ask(result, alone ? { output: outputs, pool: null, layers: [layer], heads: [head], queries: [query] }
        : { output: outputs, pool: null });
    const at = { layer: said[`${prefix}layers`].indexOf(layer), head: said[`${prefix}heads`].indexOf(head), query: alone ? 0 : query };
    const part = (name, whole) => {
        const { shape: [, heads, rows, width], values } = tensors[prefix + name], start = (at.layer * heads + at.head) * rows * width;
        return whole ? values.subarray(start, start + rows * width) : values.subarray(start + at.query * width, start + (at.query + 1) * width);
    };
    return { query: part('query'), key: part('key', true), value: part('value', true), raw: part('raw_scores'), scores: part('scores'),
        weights: part('attentions'), context: part('context') };
}

/** The pair that the state names, or the one with the largest weight between words of the text. */
export function pairOf({ map, T_q, T_k, queryTokens, keyTokens }, cell) {
    if (cell && cell.q < T_q && cell.k < T_k)
        return { query: cell.q, key: cell.k };
    let best = { query: 0, key: 0, weight: -1 };
    map?.forEach((weight, i) => {
        const query = Math.floor(i / T_k), key = i % T_k;
        if (weight > best.weight && !queryTokens?.[query]?.special && !keyTokens?.[key]?.special)
            best = { query, key, weight };
    });
    return best;
}

/** For views.js. @param {HTMLElement} host @param {object} app */
export function create(host, app) {
    let drawn = '', of = null;
    const view = new Neuron(host, { ask: (layer, head, query) => rowOf(app, of, app.chosen(), query), onPick: (q, k) => app.state.set({ cell: { q, k } }) });
    return {
        show(result, now) {
            const chosen = app.chosen(), pair = pairOf(chosen, now.cell), { stack, layer, head } = chosen;
            const wanted = JSON.stringify([stack.name, layer, head, pair.query, pair.key, stack.queryTokens?.[0], stack.keyTokens?.[0]]);
            if (!result.complete || (of === result && drawn === wanted))
                return;
            of = result;
            drawn = wanted;
            const names = (tokens, count) => tokens ?? Array.from({ length: count }, (_, i) => String(i));
            view.show({ layer, head, ...pair, queryTokens: names(stack.queryTokens, stack.T_q),
                keyTokens: names(stack.keyTokens, stack.T_k) }).catch(app.error);
        },
        clear() {
            of = null;
            host.replaceChildren();
        },
    };
}
