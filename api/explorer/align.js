// align.js - which tokens of two sequences are the same, and two maps laid over each other by them. Pure arithmetic, for compare.js.
//
// Sequences are laid over each other by their longest common subsequence: tokens of both share a place, the others have one of their own, where the other map
// has nothing (NaN). Differences are a - b of the API's numbers, rounded once to float32.
// SPDX-License-Identifier: Apache-2.0

/** Where a place of the merged sequence comes from; -1 is nowhere. @typedef {{a: number, b: number}} Place */

/** What a token is called when pieces of different tokenizers are compared: no mark of the tokenizer's, no case. @param {object|string} token */
export function nameOfPiece(token) {
    const text = typeof token === 'string' ? token : token.display ?? token.text ?? `#${token.id}`;
    const bare = text.replace(/^(##|[▁Ġ])/, '').trim().toLowerCase();
    return `${token.special ? '*' : ''}${bare || text}`;
}

/**
 * @param {Array} a tokens @param {Array} b tokens
 * @returns {Place[]} every token of both, in an order that keeps that of each
 */
export function merged(a, b) {
    const namesA = a.map(nameOfPiece), namesB = b.map(nameOfPiece);
    const from = namesA.findIndex((name, i) => name !== namesB[i]);
    const same = from < 0 ? Math.min(a.length, b.length) : Math.min(from, b.length); // texts often differ in one place: what comes before it needs no table
    const places = Array.from({ length: same }, (_, i) => ({ a: i, b: i }));
    return places.concat(walked(namesA, namesB, same, lengths(namesA, namesB, same)));
}

/** [i][j]: how many the rests from i and j on share, as one table. */
function lengths(a, b, from) {
    const wide = b.length - from + 1, table = new Uint16Array((a.length - from + 1) * wide);
    for (let i = a.length - 1; i >= from; i--)
        for (let j = b.length - 1; j >= from; j--) {
            const at = (i - from) * wide + j - from;
            table[at] = a[i] === b[j] ? table[at + wide + 1] + 1 : Math.max(table[at + wide], table[at + 1]);
        }
    return { table, wide };
}

function walked(a, b, from, { table, wide }) {
    const places = [];
    let i = from, j = from;
    while (i < a.length || j < b.length) {
        const at = (i - from) * wide + j - from;
        if (i < a.length && j < b.length && a[i] === b[j])
            places.push({ a: i++, b: j++ });
        else if (j >= b.length || (i < a.length && table[at + wide] >= table[at + 1]))
            places.push({ a: i++, b: -1 });
        else
            places.push({ a: -1, b: j++ });
    }
    return places;
}

/** A map with the places of another as its axes. @param {{map: Float32Array, T_k: number}} of @param {'a'|'b'} side @param {Place[]} rows @param {Place[]} columns */
export function spread({ map, T_k }, side, rows, columns) {
    const out = new Float32Array(rows.length * columns.length).fill(NaN);
    rows.forEach((row, r) => {
        if (row[side] >= 0)
            columns.forEach((column, c) => {
                if (column[side] >= 0)
                    out[r * columns.length + c] = map[row[side] * T_k + column[side]];
            });
    });
    return out;
}

/** a - b, cell by cell; NaN where one of them has none. @param {Float32Array} a @param {Float32Array} b */
export function differences(a, b) {
    return a.map((x, i) => x - b[i]);
}

/**
 * How far apart two maps are: half the sum of absolute differences of a row (total variation: 0 the same, 1 nothing in common), mean over the rows that both have.
 * @param {Float32Array} difference [rows * columns] @param {number} columns
 */
export function distance(difference, columns) {
    let sum = 0, rows = 0;
    for (let start = 0; start < difference.length; start += columns) {
        const row = difference.subarray(start, start + columns).filter(x => !Number.isNaN(x));
        rows += row.length > 0;
        sum += row.reduce((s, x) => s + Math.abs(x), 0) / 2;
    }
    return rows ? sum / rows : 0;
}
