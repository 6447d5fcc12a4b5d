// steps.js - attention in six steps, laid out with its numbers: scores, scaling, masking, softmax, weights times values, output.
//
// Every table is an output of the server: `dots` is `raw_scores` of the same request with scale 1, the rest stands in the answer by its own name. One query and
// one key are chosen, and beside each table stands what happens to just those two. Where a textbook prints the numbers too, they are held beside ours.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { brief, chooser, nameOf, number, numberTable, quoted, redraw } from './figures.js';
import { pairOf, scaleOf, softmax } from './neuron.js';
import { presets } from './presets.js';

/**
 * @typedef {object} Worked   one layer computed on a person's own numbers
 * @property {Object<string, import('./api.js').Tensor>} tensors query, key, value, raw_scores, scores, attentions, context, attn_output, and dots
 * @property {(object|string)[]} queryTokens
 * @property {(object|string)[]} keyTokens
 * @property {object} body        the request, for what it asks for beside numbers
 * @property {import('./presets.js').Preset} [preset]
 */

/** One head of a tensor [1, heads, rows, columns]: its rows and columns, and a way to its numbers. @param {import('./api.js').Tensor} tensor */
export function headOf(tensor, head) {
    const [rows, columns] = tensor.shape.slice(-2), size = rows * columns, data = tensor.values.subarray(head * size, (head + 1) * size);
    return { rows, columns, data, at: (row, column) => data[row * columns + column], row: row => data.subarray(row * columns, (row + 1) * columns) };
}

const numbered = count => Array.from({ length: count }, (_, i) => String(i));

/** From the least to the most of the finite numbers, as a faint share of the ink. */
function faint(data) {
    const finite = data.filter(Number.isFinite), least = finite.reduce((a, b) => Math.min(a, b), Infinity),
        most = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    return value => (most > least && Number.isFinite(value) ? 0.45 * (value - least) / (most - least) : 0);
}

/** What a textbook prints, beside the server's: [what, printed numbers, ours]. */
function printedOf(worked, name, head) {
    const { preset, tensors } = worked, found = [];
    for (const [key, value] of Object.entries(preset?.printed ?? {})) {
        const [, tensor, row] = /^(attentions|scores|context)(?:_row_(\d+))?$/.exec(key) ?? [];
        if (tensor !== name)
            continue;
        const ours = headOf(tensors[tensor], head);
        found.push({ what: row === undefined ? name : `row ${row}`, printed: value.flat(),
            ours: row === undefined ? [...ours.data] : [...ours.row(Number(row))] });
    }
    return found;
}

function beside(worked, name, head) {
    return printedOf(worked, name, head).map(({ what, printed, ours }) => {
        const apart = printed.length === ours.length ? Math.max(...printed.map((x, i) => Math.abs(x - ours[i]))) : Infinity,
            fits = apart <= worked.preset.tolerance;
        const said = fits ? `never further than ${apart.toExponential(1)} from the server's`
            : `up to ${apart.toExponential(1)} away: these are other numbers than the source's`;
        return el('p.printed', { 'data-printed': name, 'data-fits': String(fits) }, `The source prints ${what}: `,
            el('span.number', {}, printed.map(brief).join('  ')), `; ${said}.`);
    });
}

/** Σ a·b with the first few products spelled out. */
function spelled(a, b) {
    const terms = [...a].slice(0, 6).map((x, i) => `${brief(x)}×${brief(b[i])}`).join(' + ');
    return a.length > 6 ? `${terms} + … (${a.length} products)` : terms;
}

function step(count, title, says, ...children) {
    return el('section.step', { 'data-step': count }, el('h3', {}, count ? el('span.count', { 'aria-hidden': 'true' }, count) : null, title),
        el('p.note', {}, says),
        ...children.flat().filter(Boolean));
}

function line(...parts) {
    return el('p.sum', {}, ...parts.map(part => (typeof part === 'number' ? number(part) : part)));
}

/** The view. It owns its host; it asks for nothing. */
export class Steps {
    /** @param {HTMLElement} host @param {{onPick: (choice: {head: number, query: number, key: number}) => void}} wires */
    constructor(host, { onPick }) {
        this.host = host;
        this.onPick = onPick;
    }

    /** @param {Worked} worked @param {{head: number, query: number, key: number}} choice */
    show(worked, choice) {
        const t = worked.tensors, heads = t.attentions.shape.at(-3);
        const head = Math.min(choice.head, heads - 1), query = Math.min(choice.query, worked.queryTokens.length - 1),
            key = Math.min(choice.key, worked.keyTokens.length - 1);
        this.worked = worked;
        this.choice = { head, query, key };
        this.names = { query: worked.queryTokens.map(nameOf), key: worked.keyTokens.map(nameOf) };
        const of = Object.fromEntries(['query', 'key', 'value', 'dots', 'raw_scores', 'scores', 'attentions',
            'context'].map(name => [name, headOf(t[name], head)]));
        const pick = change => this.onPick({ ...this.choice, ...change });
        const list = names => names.map((name, i) => `${i}  ${name}`);
        redraw(this.host,
            el('div.pair', {}, heads > 1 ? chooser('head', numbered(heads), head, at => pick({ head: at })) : null,
                chooser('query', list(this.names.query), query, at => pick({ query: at })), chooser('key', list(this.names.key), key, at => pick({ key: at }))),
            this.inputs(of), this.dots(of), this.scaling(of), this.masking(of), this.softmax(of), this.mixing(of), this.output());
    }

    /** A table of queries by keys. */
    map(caption, matrix, share) {
        const { query, key } = this.choice;
        return numberTable({ caption, rows: this.names.query, columns: this.names.key, at: matrix.at, mark: { row: query, column: key }, share,
            onPick: (q, k) => this.onPick({ ...this.choice, query: q, key: k }) });
    }

    /** The name of what is chosen. */
    said(which) {
        return quoted(this.names[which][this.choice[which]]);
    }

    inputs(of) {
        const table = (caption, matrix, which, row) => numberTable({ caption, rows: this.names[which], columns: numbered(matrix.columns), at: matrix.at,
            mark: { row }, limit: 8 });
        const { query, key } = this.choice;
        const body = this.worked.body, how = body.query ? 'They are what you gave' : body.w_q || body.w_k || body.w_v
            ? 'They are embeddings times projections' : 'They are the embeddings themselves, a slice for each head';
        const turned = body.positional_encoding === 'rope' ? ', queries and keys turned by their position' : '';
        return step('', 'What goes in', `${how}${turned}: a query, a key and a value for every token.`,
            el('div.tables', {}, table('query', of.query, 'query', query), table('key', of.key, 'key', key), table('value', of.value, 'key', key)));
    }

    dots(of) {
        const { query, key } = this.choice;
        return step(1, 'Scores', 'Every query times every key: how well what one token asks for fits what another one offers.',
            el('div.beside', {}, this.map('query · key', of.dots, faint(of.dots.data)),
                line(`${this.said('query')} · ${this.said('key')} = `, spelled(of.query.row(query), of.key.row(key)), ' = ',
                    el('strong', {}, number(of.dots.at(query, key))))));
    }

    scaling(of) {
        const { query, key } = this.choice;
        const { factor, name } = scaleOf({ query: of.query.row(query), key: of.key.data, raw: of.raw_scores.row(query) });
        const says = factor === 1 ? 'The factor is 1 here: scores stay as they are.'
            : `Every score is multiplied by ${brief(factor)}${name ? `, which is ${name}` : ''}: long vectors would otherwise drown the softmax.`;
        return step(2, 'Scaling', says, el('div.beside', {}, this.map('scaled', of.raw_scores, faint(of.raw_scores.data)),
            line(of.dots.at(query, key), ' × ', factor, ' = ', el('strong', {}, number(of.raw_scores.at(query, key))))));
    }

    masking(of) {
        const { query, key } = this.choice, { body } = this.worked, all = of.scores.data.length;
        const masked = of.scores.data.filter(score => score === -Infinity).length, raw = of.raw_scores.at(query, key), score = of.scores.at(query, key);
        const moved = of.scores.data.some((s, i) => s !== -Infinity && s !== of.raw_scores.data[i]);
        const why = [body.softcap ? `a softcap of ${body.softcap}` : '', body.positional_encoding === 'alibi' ? 'ALiBi' : '',
            body.attn_mask ? 'the mask you gave' : ''].filter(Boolean).join(' and ');
        const says = masked ? `${masked} of ${all} scores are hidden: minus infinity, so that they weigh nothing.` : 'Nothing is hidden here.';
        return step(3, 'Masking', says + (moved ? ` The others are moved by ${why}.` : ''),
            el('div.beside', {}, this.map('what the softmax sees', of.scores, faint(of.scores.data)),
            line(raw, score === raw ? ' stays ' : ' becomes ', el('strong', {}, number(score)))), beside(this.worked, 'scores', this.choice.head));
    }

    softmax(of) {
        const { query, key } = this.choice, scores = of.scores.row(query), { max, powers, sum } = softmax(scores);
        const sums = max === -Infinity ? line('Every key is hidden from this query: its row is all zeros.')
            : line(`e^(${brief(scores[key])} − ${brief(max)}) ÷ ${brief(sum)} = `, powers[key], ' ÷ ', sum, ' = ',
                el('strong', {}, number(of.attentions.at(query, key))));
        return step(4, 'Softmax', 'Each row becomes shares of one whole: e to the power of the score, divided by the sum of the row. This is the map.',
            el('div.beside', {}, this.map('weights', of.attentions, weight => weight), sums), beside(this.worked, 'attentions', this.choice.head));
    }

    mixing(of) {
        const { query, key } = this.choice, weights = of.attentions.row(query), width = of.value.columns;
        const table = numberTable({ caption: `weight × value, for ${this.said('query')}`,
            rows: this.names.key.map((name, k) => `${brief(weights[k])} × ${name}`), columns: numbered(width),
            at: (k, i) => weights[k] * of.value.at(k, i), mark: { row: key }, limit: 12 });
        const whole = numberTable({ caption: 'their sum: the context vector', rows: [this.names.query[query]], columns: numbered(width),
            at: (_, i) => of.context.at(query, i), limit: 12 });
        return step(5, 'Weights times values', `Every value, times its weight; the sum of the column is what ${this.said('query')} takes home.`, table, whole,
            numberTable({ caption: 'context vectors of all queries', rows: this.names.query, columns: numbered(width), at: of.context.at,
                mark: { row: query }, limit: 12 }),
            beside(this.worked, 'context', this.choice.head));
    }

    output() {
        const { query } = this.choice, matrix = headOf(this.worked.tensors.attn_output, 0), heads = this.worked.tensors.attentions.shape.at(-3);
        const says = this.worked.body.w_o ? 'The context vectors of all heads, side by side, times w_o.' : heads > 1
            ? 'Without w_o: the context vectors of all heads, side by side.'
            : 'One head and no w_o: the context vectors are the output.';
        return step(6, 'Output', says, numberTable({ caption: 'output', rows: this.names.query, columns: numbered(matrix.columns), at: matrix.at,
            mark: { row: query }, limit: 12 }));
    }
}

const outputs = ['query', 'key', 'value', 'raw_scores', 'scores', 'attentions', 'context', 'attn_output'];

/** More numbers than this are not laid out: nobody reads them, and a tab would hold them. */
const mostCells = 4_000_000;

/** The same request twice: as it is, and with scale 1 for the bare products. */
async function workedOf(app, result, stack) {
    if (stack.heads.length * stack.T_q * stack.T_k > mostCells)
        throw new Error(`${stack.heads.length} × ${stack.T_q} × ${stack.T_k} scores are too many to lay out in steps; the other views show them.`);
    const [{ tensors }, bare] = await Promise.all([app.ask(result, { output: outputs, pool: null }),
        app.ask(result, { output: ['raw_scores'], scale: 1, pool: null })]);
    return { tensors: { ...tensors, dots: bare.tensors.raw_scores }, body: result.body };
}

/** For views.js. @param {HTMLElement} host @param {object} app */
export function create(host, app) {
    let drawn = '', of = null, turn = 0;
    const view = new Steps(host, { onPick: ({ head, query, key }) => app.state.set({ head, cell: { q: query, k: key } }) });
    const invite = () => redraw(host, el('p', {}, 'Six steps lead from numbers to attention. They are laid out for numbers of your own, or of a textbook.'),
        el('button.run', { type: 'button', on: { click: () => {
            app.state.set({ input: { kind: 'own' } });
            app.run();
        } } }, 'Take an example'));
    const draw = async (result, chosen, now) => {
        const mine = ++turn, { stack, head } = chosen, pair = pairOf(chosen, now.cell), worked = await workedOf(app, result, stack);
        const names = (tokens, count) => tokens ?? Array.from({ length: count }, (_, i) => String(i));
        if (mine === turn)
            view.show({ ...worked, queryTokens: names(stack.queryTokens, stack.T_q), keyTokens: names(stack.keyTokens, stack.T_k),
                preset: presets.find(p => p.name === now.own?.preset) },
                { head, ...pair });
    };
    return {
        show(result, now) {
            const chosen = app.chosen(), wanted = JSON.stringify([chosen.head, now.cell, now.own?.preset, chosen.stack.queryTokens, result.model !== null]);
            if (!result.complete || (of === result && drawn === wanted))
                return;
            of = result;
            drawn = wanted;
            if (result.model)
                invite();
            else
                draw(result, chosen, now).catch(app.error);
        },
        clear() {
            of = null;
            host.replaceChildren();
        },
    };
}
