// viewport.js - which part of a map is seen: a window {q0, q1, k0, k1} in rows and columns, fractions allowed. Pure arithmetic.
// SPDX-License-Identifier: Apache-2.0

/** @typedef {{q0: number, q1: number, k0: number, k1: number}} View */

/** No closer than this many cells. */
const CLOSEST = 3;

/** @param {number} rows @param {number} cols @returns {View} */
export function whole(rows, cols) {
    return { q0: 0, q1: rows, k0: 0, k1: cols };
}

/** @param {View} view @param {number} rows @param {number} cols */
export function isWhole(view, rows, cols) {
    return view.q0 <= 1e-6 && view.k0 <= 1e-6 && view.q1 >= rows - 1e-6 && view.k1 >= cols - 1e-6;
}

/** A span of a given size inside [0, n], as near to `from` as it goes. */
function span(from, size, n) {
    const length = Math.min(Math.max(size, Math.min(CLOSEST, n)), n);
    const start = Math.min(Math.max(from, 0), n - length);
    return [start, start + length];
}

/**
 * Closer (factor over 1) or further away, with the point (q, k) staying where it is.
 * @param {View} view @param {number} factor @param {number} q @param {number} k @param {number} rows @param {number} cols
 * @returns {View}
 */
export function zoomed(view, factor, q, k, rows, cols) {
    const high = view.q1 - view.q0, wide = view.k1 - view.k0;
    const least = Math.max(Math.min(CLOSEST, rows) / high, Math.min(CLOSEST, cols) / wide);
    const by = Math.max(1 / factor, Math.min(least, 1));
    const [q0, q1] = span(q - (q - view.q0) * by, high * by, rows);
    const [k0, k1] = span(k - (k - view.k0) * by, wide * by, cols);
    return { q0, q1, k0, k1 };
}

/** @param {View} view @param {number} dq @param {number} dk in cells @param {number} rows @param {number} cols @returns {View} */
export function panned(view, dq, dk, rows, cols) {
    const [q0, q1] = span(view.q0 + dq, view.q1 - view.q0, rows);
    const [k0, k1] = span(view.k0 + dk, view.k1 - view.k0, cols);
    return { q0, q1, k0, k1 };
}

/** The least move that brings a cell in. @param {View} view @param {number} row @param {number} col */
export function revealing(view, row, col, rows, cols) {
    const dq = Math.min(0, row - view.q0) || Math.max(0, row + 1 - view.q1);
    const dk = Math.min(0, col - view.k0) || Math.max(0, col + 1 - view.k1);
    return panned(view, dq, dk, rows, cols);
}

/** A window from elsewhere (a link), brought within the map; the whole map if it makes no sense. */
export function within(view, rows, cols) {
    const numbers = view && [view.q0, view.q1, view.k0, view.k1];
    if (!numbers || !numbers.every(Number.isFinite) || view.q1 <= view.q0 || view.k1 <= view.k0)
        return whole(rows, cols);
    const [q0, q1] = span(view.q0, view.q1 - view.q0, rows);
    const [k0, k1] = span(view.k0, view.k1 - view.k0, cols);
    return { q0, q1, k0, k1 };
}
