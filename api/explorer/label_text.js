// label_text.js - token labels on a canvas: cut with an ellipsis to what there is room for, whole graphemes only, any script, measured once.
// SPDX-License-Identifier: Apache-2.0
import { isolate, visible } from './shown.js';

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
/** @type {Map<string, string>} */
const cut = new Map();
/** @type {Map<string, number>} */
const widths = new Map();

/** Width of a text in the context's font. */
export function widthOf(ctx, text) {
    const key = `${ctx.font}\n${text}`;
    let width = widths.get(key);
    if (width === undefined) {
        width = ctx.measureText(text).width;
        remember(widths, key, width);
    }
    return width;
}

/** The label of a token, no wider than `room`. */
export function fitted(ctx, text, room) {
    const key = `${ctx.font}\n${Math.ceil(room)}\n${text}`;
    let answer = cut.get(key);
    if (answer === undefined) {
        answer = isolate(cutTo(ctx, visible(text), Math.ceil(room)));
        remember(cut, key, answer);
    }
    return answer;
}

function cutTo(ctx, text, room) {
    if (ctx.measureText(text).width <= room)
        return text;
    const parts = Array.from(graphemes.segment(text.slice(0, 200)), s => s.segment);
    let low = 0, high = parts.length;
    while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (ctx.measureText(parts.slice(0, middle).join('') + '…').width <= room)
            low = middle;
        else
            high = middle - 1;
    }
    return low ? parts.slice(0, low).join('') + '…' : '';
}

function remember(map, key, value) {
    if (map.size > 20000)
        map.clear();
    map.set(key, value);
}
