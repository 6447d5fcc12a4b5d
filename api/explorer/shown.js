// shown.js - what of a map is on the screen: which rows and columns, their totals, and in words what is left out.
//
// Leaving tokens out is a matter of the screen alone: weights stay as the model gave them, rows then show less than 1, and `hidden` says how much less.
// SPDX-License-Identifier: Apache-2.0
import { percent } from './numbers.js';

/** One token as views write it. @typedef {{text: string, special: boolean, sequence: number}} Label */
/**
 * @typedef {object} Shown
 * @property {Float32Array} map       [T_q * T_k], as it came
 * @property {number} stride          T_k
 * @property {Int32Array} rows        queries on the screen, top to bottom
 * @property {Int32Array} cols        keys on the screen, left to right
 * @property {Label[]} queries        labels of all queries, by their original number
 * @property {Label[]} keys
 * @property {number} max             the largest weight shown (of differences: the largest distance from 0)
 * @property {Float32Array} rowMax    one for each of `rows`
 * @property {Float64Array} rowTotals what of each row's weight is on the screen
 * @property {Float64Array} colTotals what each key on the screen gets of the rows on the screen
 * @property {string} hidden          a sentence, or ''
 */

/** @param {object|string} token as the API gives it @returns {Label} */
export function labelOf(token, index) {
    if (typeof token === 'string')
        return { text: token, special: false, sequence: 0 };
    const text = token?.display ?? token?.text ?? (token?.id === undefined ? String(index) : `#${token.id}`);
    return { text, special: Boolean(token?.special), sequence: token?.sequence ?? 0 };
}

/** Blanks and line ends have no shape of their own: a label shows them by signs. */
export function visible(text) {
    return text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/^ +| +$/g, s => '␣'.repeat(s.length)) || '∅';
}

/**
 * @param {Float32Array} map @param {number} T_q @param {number} T_k
 * @param {Array} queryTokens @param {Array} keyTokens
 * @param {{hideFirst?: boolean, hideSpecial?: boolean, pooled?: boolean}} opts first: the first key; special: queries and keys
 * @returns {Shown}
 */
export function shownOf(map, T_q, T_k, queryTokens, keyTokens, opts = {}) {
    const queries = labels(queryTokens, T_q), keys = labels(keyTokens, T_k);
    const special = opts.hideSpecial && !opts.pooled, first = opts.hideFirst && !opts.pooled;
    const rows = chosen(T_q, i => !(special && queries[i].special));
    const cols = chosen(T_k, j => !(special && keys[j].special) && !(first && j === 0));
    const shown = { map, stride: T_k, rows, cols, queries, keys, ...totals(map, T_k, rows, cols) };
    shown.hidden = hiddenSentence(shown, T_q, T_k, opts);
    return shown;
}

function labels(tokens, T) {
    return Array.from({ length: T }, (_, i) => labelOf(tokens?.[i] ?? String(i), i));
}

function chosen(T, keep) {
    return Int32Array.from(Array.from({ length: T }, (_, i) => i).filter(keep));
}

function totals(map, stride, rows, cols) {
    const rowMax = new Float32Array(rows.length), rowTotals = new Float64Array(rows.length), colTotals = new Float64Array(cols.length);
    let max = 0;
    for (let r = 0; r < rows.length; r++) {
        const base = rows[r] * stride;
        for (let c = 0; c < cols.length; c++) {
            const value = map[base + cols[c]], size = Math.abs(value);
            if (!(size < Infinity))
                continue;
            rowTotals[r] += value;
            colTotals[c] += value;
            if (size > rowMax[r])
                rowMax[r] = size;
        }
        max = Math.max(max, rowMax[r]);
    }
    return { max, rowMax, rowTotals, colTotals };
}

function hiddenSentence(shown, T_q, T_k, opts) {
    if (opts.pooled && (opts.hideFirst || opts.hideSpecial))
        return 'Several tokens share a cell here: none is left out.';
    if (shown.rows.length === T_q && shown.cols.length === T_k)
        return '';
    const seen = new Set(shown.cols), names = [];
    for (let j = 0; j < T_k; j++)
        if (!seen.has(j))
            names.push(visible(shown.keys[j].text));
    const rowsGone = T_q - shown.rows.length;
    const list = [...new Set(names)].slice(0, 4).map(isolate).join(', ') + (new Set(names).size > 4 ? ', …' : '');
    const what = names.length ? `Not shown: ${list} as ${names.length > 1 ? 'keys' : 'key'}${rowsGone ? `, and ${rowsGone} of the rows` : ''}.`
        : `Not shown: ${rowsGone} of the rows.`;
    return names.length ? `${what} ${share(shown)}` : what;
}

function share(shown) {
    let all = 0, seen = 0;
    for (let r = 0; r < shown.rows.length; r++) {
        seen += shown.rowTotals[r];
        for (let j = 0, base = shown.rows[r] * shown.stride; j < shown.stride; j++)
            all += shown.map[base + j];
    }
    return all > 0 ? `The rows on the screen give them ${percent(1 - seen / all)} of their weight. Nothing is renormalised.` : 'Nothing is renormalised.';
}

/** Text of any direction inside a sentence (Unicode's first strong isolate). */
export function isolate(text) {
    return `\u2068${text}\u2069`;
}
