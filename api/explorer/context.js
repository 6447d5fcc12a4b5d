// context.js - what every token takes home: which tokens took home much the same, and how long the context vector of each is in every head.
//
// A context vector is the sum of the values, each times its weight, before the output projection. Its length says how much a head moves a token; the cosine of
// two of them says whether a head tells two tokens the same. Both are worked out here from the server's `context`, in double.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { chooser, nameOf, number, numberTable, redraw, tokenName } from './figures.js';
import { Heatmap } from './heatmap.js';
import { pairOf } from './neuron.js';
import * as state from './state.js';

state.define('allHeads', false, state.checks.flag);

/** The context vectors of one layer. @typedef {{data: Float32Array, heads: number, tokens: number, width: number}} Contexts data [heads, tokens, width] */

const nearest = 6;

/** The lengths, [heads, tokens]. @param {Contexts} contexts @returns {Float32Array} */
export function norms({ data, heads, tokens, width }) {
    return Float32Array.from({ length: heads * tokens }, (_, at) => {
        let sum = 0;
        for (let i = at * width; i < (at + 1) * width; i++)
            sum += data[i] * data[i];
        return Math.sqrt(sum);
    });
}

/** The vector of a token in one head, or in all of them side by side (head -1), with length 1; zeros stay zeros. */
function direction({ data, heads, tokens, width }, head, token) {
    const of = head < 0 ? [...Array(heads).keys()] : [head];
    const vector = Float64Array.from(of.flatMap(h => [...data.subarray((h * tokens + token) * width, (h * tokens + token + 1) * width)]));
    const size = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
    return size > 0 ? vector.map(x => x / size) : vector;
}

/** Cosines of all pairs of tokens, [tokens, tokens]. @param {Contexts} contexts @param {number} head -1 for all heads side by side @returns {Float32Array} */
export function cosines(contexts, head) {
    const T = contexts.tokens, vectors = Array.from({ length: T }, (_, token) => direction(contexts, head, token)), out = new Float32Array(T * T);
    for (let a = 0; a < T; a++)
        for (let b = 0; b <= a; b++) {
            let sum = 0;
            for (let i = 0; i < vectors[a].length; i++)
                sum += vectors[a][i] * vectors[b][i];
            out[a * T + b] = out[b * T + a] = sum;
        }
    return out;
}

/** The tokens whose vectors point most nearly the same way as one's. @returns {number[]} */
export function nearestOf(map, T, token, count = nearest) {
    return Array.from({ length: T }, (_, other) => other).filter(other => other !== token)
        .sort((a, b) => map[token * T + b] - map[token * T + a]).slice(0, count);
}

/** The view: a map, a sentence and a table. It owns its host and asks for a layer's vectors through `ask`. */
export class Context {
    /**
     * @param {HTMLElement} host
     * @param {{ask: (layer: number) => Promise<Contexts>, onToken: (token: number) => void, onAll: (all: boolean) => void}} wires
     */
    constructor(host, { ask, onToken, onAll }) {
        this.host = host;
        this.ask = ask;
        this.onToken = onToken;
        this.onAll = onAll;
        this.asked = 0;
        this.map = el('div.map');
        this.heatmap = new Heatmap(this.map, { onCell: cell => this.onToken(cell.query) });
    }

    /**
     * @param {{layer: number, head: number, all: boolean, query: number, tokens: object[]}} choice all: compare all heads side by side
     * @returns {Promise<void>} rejected with what the server said
     */
    async show(choice) {
        const turn = ++this.asked;
        this.host.setAttribute('aria-busy', 'true');
        try {
            const contexts = await this.ask(choice.layer);
            if (turn === this.asked)
                this.draw(contexts, choice);
        } finally {
            if (turn === this.asked)
                this.host.removeAttribute('aria-busy');
        }
    }

    draw(contexts, choice) {
        const { layer, tokens } = choice, query = Math.min(choice.query, contexts.tokens - 1), head = choice.all ? -1 : choice.head,
            lengths = norms(contexts), map = cosines(contexts, head), T = contexts.tokens;
        const choose = chooser('similarity in', [`head ${choice.head}`, 'all heads side by side'], choice.all ? 1 : 0, at => this.onAll(at === 1));
        const near = nearestOf(map, T, query).flatMap((other, i) => [i ? ', ' : ' ', tokenName(tokens[other], other), ' ', number(map[query * T + other])]);
        const longest = lengths.reduce((most, x) => Math.max(most, x), 0),
            few = tokens.length > T ? ` Only the first ${T} of ${tokens.length} tokens are looked at here.` : '';
        redraw(this.host,
            el('section.step', {}, el('h3', {}, 'Which tokens took home the same'), choose,
                el('p.lead', { 'aria-live': 'polite' }, tokenName(tokens[query], query), ' is nearest to', ...near,
                    near.length ? '.' : ' nothing: it is alone.'),
                el('p.note', {}, `The cosine of two context vectors of layer ${layer}: 1 is the same direction, 0 nothing in common, −1 the opposite.${few}`),
                    this.map),
            el('section.step', {}, el('h3', {}, 'How long the context vectors are'),
                el('p.note', {}, 'Dark is long. A head whose vectors are short changes little, wherever it looks.'),
                numberTable({ caption: `lengths, layer ${layer}`, rows: tokens.slice(0, T).map(nameOf),
                    columns: Array.from({ length: contexts.heads }, (_, h) => `head ${h}`),
                    at: (token, h) => lengths[h * T + token], share: length => 0.6 * length / longest, mark: { row: query, column: choice.head }, limit: 32,
                    onPick: token => this.onToken(token) })));
        this.heatmap.show(map, T, T, tokens.slice(0, T), tokens.slice(0, T),
            { difference: true, name: 'cosine of context vectors', pinned: null, zoom: undefined });
    }
}

/** Pairs of tokens grow with the square: this many tokens are compared, and the view says so. */
const mostTokens = 512;

async function contextsOf(app, result, { stack, layer }) {
    const alone = stack.name === 'self', prefix = alone ? '' : `${stack.name}_`, output = ['context'];
    const { tensors, head: said } = await app.ask(result, alone ? { output, pool: null, layers: [layer], queries: { stop: mostTokens } }
        : { output, pool: null, queries: { stop: mostTokens } });
    const { shape: [, heads, tokens, width], values } = tensors[`${prefix}context`], size = heads * tokens * width, at = said[`${prefix}layers`].indexOf(layer);
    return { data: values.subarray(at * size, (at + 1) * size), heads, tokens, width };
}

/** For views.js. @param {HTMLElement} host @param {object} app */
export function create(host, app) {
    let drawn = '', of = null;
    const view = new Context(host, { ask: () => contextsOf(app, of, app.chosen()),
        onToken: q => app.state.set({ cell: { q, k: app.state.get().cell?.k ?? 0 } }), onAll: all => app.state.set({ allHeads: all }) });
    return {
        show(result, now) {
            const chosen = app.chosen(), { stack, layer, head } = chosen, { query } = pairOf(chosen, now.cell);
            const wanted = JSON.stringify([stack.name, layer, head, query, now.allHeads, stack.queryTokens?.[0], app.dark(), now.theme]);
            if (!result.complete || (of === result && drawn === wanted))
                return;
            of = result;
            drawn = wanted;
            const tokens = stack.queryTokens ?? Array.from({ length: stack.T_q }, (_, i) => String(i));
            view.show({ layer, head, all: now.allHeads, query, tokens }).catch(app.error);
        },
        clear() {
            of = null;
            host.replaceChildren();
        },
    };
}
