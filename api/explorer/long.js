// long.js - inputs too long to be shown cell by cell: asked for in bins first, and finer where a person looks closer.
//
// The overview holds every head, `bins` cells a side, each the mean of several tokens. Zooming into it sets the state's `part`, a rectangle in tokens, and the
// layer that is chosen is asked for once more, by `queries` and `keys`: as fine as `bins` cells allow, down to single weights.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { checks, define } from './state.js';

/** @typedef {import('./run.js').Result} Result */
/** @typedef {import('./run.js').Stack} Stack */
/** Tokens [q0, q1) by [k0, k1). @typedef {{q0: number, q1: number, k0: number, k1: number}} Part */
/** @typedef {{query: number[], key: number[]}} Edges token numbers, one more than there are bins */

export const bins = 256;
/** Maps up to this length, and up to this many bytes of them, are shown cell by cell. */
const longest = 512;
const mostBytes = 160e6;
/** A request shorter than this has fewer tokens than that: a token is a byte at least. */
const surelyShort = 500;

define('part', null, checks.orNull(checks.record({ q0: checks.count, q1: checks.count, k0: checks.count, k1: checks.count })));

/**
 * What must be added to a request so that its maps can be shown.
 * @param {object} api api.js @param {object} body @param {AbortSignal} signal
 * @returns {Promise<object>} {} or {pool}
 */
export async function poolFor(api, body, signal) {
    if (body.max_new_tokens || JSON.stringify(body).length < surelyShort)
        return {};
    const { results: [{ shapes }] } = await api.estimate({ ...body, output: ['attentions'] }, { signal });
    const cells = shape => shape.reduce((product, n) => product * n, 1);
    const sizes = Object.values(shapes), long = sizes.some(shape => Math.max(...shape.slice(-2)) > longest);
    return long || sizes.reduce((sum, shape) => sum + 4 * cells(shape), 0) > mostBytes ? { pool: { size: bins, mode: 'mean' } } : {};
}

/**
 * Bins as tokens: the first one's text and where it stands.
 * @param {object[]|null} tokens of the whole input @param {number[]} edges @param {number} [from] what the edges count from
 */
export function binned(tokens, edges, from = 0) {
    return edges.slice(0, -1).map((edge, b) => {
        const start = from + edge, stop = from + edges[b + 1], token = tokens?.[start];
        if (stop - start === 1)
            return token ?? String(start);
        const text = token && (token.display ?? token.text ?? `#${token.id}`);
        return { text: text === undefined ? `${start}…` : `${start} ${text.trim()} …`, special: false };
    });
}

/** Do some cells stand for several tokens? @param {{edges?: Edges|null}} of a stack or a part of one */
export function isPooled({ edges }) {
    return Boolean(edges) && [edges.query, edges.key].some(side => side.at(-1) - side[0] > side.length - 1);
}

/** A window in cells as a rectangle of tokens. @param {Edges} edges @param {Part} zoom @returns {Part} */
export function tokensOf({ query, key }, { q0, q1, k0, k1 }) {
    const at = (side, i) => side[Math.max(0, Math.min(side.length - 1, i))];
    return { q0: at(query, Math.floor(q0)), q1: at(query, Math.ceil(q1)), k0: at(key, Math.floor(k0)), k1: at(key, Math.ceil(k1)) };
}

/**
 * Finer parts of long inputs, one at a time, and the bar that says which is shown.
 * @param {HTMLElement} host @param {object} app
 */
export function createLong(host, app) {
    let kept = null, request = null;
    const said = el('span', { role: 'status' }), out = el('button', { type: 'button', on: { click: () => app.state.set({ part: wider(), zoom: null, cell: null }) } }, 'Out');
    const all = el('button', { type: 'button', on: { click: () => app.state.set({ part: null, zoom: null, cell: null }) } }, 'Whole input');
    host.append(said, out, all);

    const lengths = stack => ({ T_q: stack.edges.query.at(-1), T_k: stack.edges.key.at(-1) });

    /** Twice as much on each side; the whole input when that is nearly all. @returns {Part|null} */
    function wider() {
        const { stack } = app.chosen(), { part } = app.state.get(), { T_q, T_k } = lengths(stack);
        const [q0, q1] = twice(part.q0, part.q1, T_q), [k0, k1] = twice(part.k0, part.k1, T_k);
        return (q1 - q0) * (k1 - k0) > 0.7 * T_q * T_k ? null : { q0, q1, k0, k1 };
    }

    /** The part of the state, within this stack; null without one. @returns {Part|null} */
    function wanted(stack) {
        const { part } = app.state.get();
        if (!part || !stack.edges)
            return null;
        const { T_q, T_k } = lengths(stack);
        return part.q0 < part.q1 && part.k0 < part.k1 && part.q1 <= T_q && part.k1 <= T_k ? part : null;
    }

    const keyOf = (stack, layer, part) => JSON.stringify([stack.name, layer, part]);

    async function fetchPart(result, stack, layer, part) {
        request?.abort();
        const mine = request = new AbortController(), key = keyOf(stack, layer, part), { q0, q1, k0, k1 } = part;
        kept = { result, key, found: null };
        try {
            const { results: [head] } = await app.api.attention({
                ...result.body, output: ['attentions'], layers: [layer], queries: { start: q0, stop: q1 }, keys: { start: k0, stop: k1 },
                pool: { size: bins, mode: 'mean' }, encoding: 'base64',
            }, { signal: mine.signal });
            kept = { result, key, found: partOf(app.api, stack, head, part) };
            app.refresh();
        } catch (failure) {
            if (failure.name !== 'AbortError')
                app.error(failure);
        }
    }

    /** A window of the map on the screen that has more to show becomes the part. */
    function closer(chosen, { zoom }) {
        const { T_q, T_k } = chosen;
        if (!zoom || !isPooled(chosen) || (zoom.q1 - zoom.q0) * (zoom.k1 - zoom.k0) > 0.5 * T_q * T_k)
            return;
        app.state.set({ part: tokensOf(chosen.edges, zoom), zoom: null, cell: null });
    }

    return {
        /** The finer part of a head's map, when one is wanted and there: what replaces the overview in `app.chosen()`. null: none is wanted. */
        of(result, stack, layer, head) {
            const part = wanted(stack);
            if (!part)
                return null;
            const found = kept?.result === result && kept.key === keyOf(stack, layer, part) ? kept.found : null;
            const size = found && found.T_q * found.T_k, h = stack.heads.indexOf(head);
            return found ? { ...found, map: found.maps.subarray(h * size, (h + 1) * size) } : { map: null };
        },
        show(result, state) {
            const chosen = app.chosen();
            host.hidden = !chosen?.stack.edges || !isPooled(chosen.stack);
            if (host.hidden)
                return;
            const { stack, layer } = chosen, part = wanted(stack);
            if (part && result.complete && !(kept?.result === result && kept.key === keyOf(stack, layer, part)))
                fetchPart(result, stack, layer, part);
            if (chosen.map)
                closer(chosen, state);
            out.hidden = all.hidden = !part;
            const sentence = part ? sentenceOfPart(part, chosen) : sentenceOfAll(stack);
            if (said.textContent !== sentence)
                said.textContent = sentence;
        },
    };
}

function twice(from, to, T) {
    const size = Math.min(T, 2 * (to - from)), start = Math.max(0, Math.min(T - size, Math.round((from + to - size) / 2)));
    return [start, start + size];
}

function partOf(api, stack, head, { q0, q1, k0, k1 }) {
    const prefix = stack.name === 'self' ? '' : `${stack.name}_`, { shape, values } = api.tensorOf(head[`${prefix}attentions`]);
    const pool = head[`${prefix}pool`], straight = n => Array.from({ length: n + 1 }, (_, i) => i);
    const query = (pool?.query_edges ?? straight(q1 - q0)).map(edge => edge + q0), key = (pool?.key_edges ?? straight(k1 - k0)).map(edge => edge + k0);
    const [T_q, T_k] = shape.slice(-2);
    return { maps: values, T_q, T_k, edges: { query, key }, part: { q0, q1, k0, k1 }, queryTokens: binned(stack.allQueries, query), keyTokens: binned(stack.allKeys, key) };
}

const span = (from, to) => `${from} to ${to - 1}`;

function sentenceOfAll({ edges: { query, key }, T_q, T_k }) {
    return `${query.at(-1)} × ${key.at(-1)} weights in ${T_q} × ${T_k} cells, each the mean of several. Zoom in, and finer ones are asked for.`;
}

function sentenceOfPart({ q0, q1, k0, k1 }, chosen) {
    const { stack, edges, map } = chosen, where = `Queries ${span(q0, q1)}, keys ${span(k0, k1)} of ${stack.edges.query.at(-1)} × ${stack.edges.key.at(-1)}`;
    if (!map)
        return `${where}: asking …`;
    return isPooled({ edges }) ? `${where}, in ${chosen.T_q} × ${chosen.T_k} cells.` : `${where}: every weight.`;
}
