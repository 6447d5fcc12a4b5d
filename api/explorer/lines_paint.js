// lines_paint.js - draws queries on the left, keys on the right and a line for each weight between them. Pure drawing with a pen.js pen.
//
// A line's strength is its weight: opacity for all, and width too when one token is looked at. With no token chosen, faint lines are left out, and the view says so.
// SPDX-License-Identifier: Apache-2.0
import { fitted, widthOf } from './label_text.js';
import { visible } from './shown.js';

/** A token: which column, and its place there. @typedef {{side: 'q'|'k', at: number}} Spot */
/**
 * @typedef {object} LinesScene
 * @property {import('./shown.js').Shown} shown   rows and columns, and their labels
 * @property {{head: number, map: Float32Array, colour: string}[]} heads the chosen ones
 * @property {Spot|null} spot        the token that is looked at
 * @property {import('./heatmap_paint.js').Ink} ink
 * @property {object} layout         from linesLayout()
 * @property {number} from           the first pixel row that is seen
 * @property {number} high           how many are
 */

const FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", "Noto Sans", sans-serif';
/** Fainter lines are drawn only for the token that is looked at, and those under FAINTEST never. */
export const FAINT = 0.05;
const FAINTEST = 0.004;
const TOP = 24;

/** @param {CanvasRenderingContext2D} ctx to measure with @param {import('./shown.js').Shown} shown @param {number} width @param {number} heads */
export function linesLayout(ctx, shown, width, heads) {
    const narrow = width < 520, row = narrow ? 26 : 24, font = `${narrow ? 12 : 13}px ${FAMILY}`, most = Math.min(narrow ? 92 : 170, width * 0.3);
    ctx.font = font;
    const longest = (labels, chosen) => chosen.slice(0, 1000).reduce((w, i) => Math.max(w, w >= most ? w : widthOf(ctx, visible(labels[i].text))), 30);
    const squares = Math.min(heads, 32) * squareOf(narrow);
    const left = squares + 8 + Math.min(Math.ceil(longest(shown.queries, shown.rows)), most) + 10;
    const right = squares + 8 + Math.min(Math.ceil(longest(shown.keys, shown.cols)), most) + 10;
    const gap = Math.max(60, Math.min(width - left - right, 460)), x0 = left + Math.max(0, Math.min((width - left - right - gap) / 2, 60));
    return { width, row, font, small: `${narrow ? 10 : 11}px ${FAMILY}`, x0, x1: x0 + gap, labels: [left - squares - 18, right - squares - 18], square: squareOf(narrow),
        height: TOP + row * Math.max(shown.rows.length, shown.cols.length) + 6 };
}

function squareOf(narrow) {
    return narrow ? 4 : 6;
}

/** The middle of a token's line. */
export function middleOf(layout, at) {
    return TOP + (at + 0.5) * layout.row;
}

/** @returns {Spot|null} the token at a point */
export function spotAt({ layout, shown }, x, y) {
    const at = Math.floor((y - TOP) / layout.row), left = x < layout.x0 + 10, right = x > layout.x1 - 10;
    const count = left ? shown.rows.length : shown.cols.length;
    return (left || right) && at >= 0 && at < count ? { side: left ? 'q' : 'k', at } : null;
}

/** @param {import('./pen.js').Pen} pen @param {CanvasRenderingContext2D} ctx to measure with @param {LinesScene} scene */
export function paintLines(pen, ctx, scene) {
    const { layout, ink, shown, spot } = scene;
    ctx.font = layout.font;
    drawLines(pen, scene);
    drawColumn(pen, ctx, scene, 'q', shown.queries, shown.rows);
    drawColumn(pen, ctx, scene, 'k', shown.keys, shown.cols);
    if (spot)
        drawSquares(pen, scene);
    if (scene.from < TOP) {
        pen.text('looks', layout.x0 - 10, TOP / 2, ink.soft, layout.small, 'right');
        pen.text('looked at', layout.x1 + 10, TOP / 2, ink.soft, layout.small, 'left');
    }
}

/** Weight of a head between two places. */
export function weightAt({ shown }, { map }, row, col) {
    return map[shown.rows[row] * shown.stride + shown.cols[col]];
}

function drawLines(pen, scene) {
    const { shown, spot, layout, from, high } = scene, least = spot ? FAINTEST : FAINT;
    const first = Math.floor((from - TOP) / layout.row), last = Math.ceil((from + high - TOP) / layout.row);
    const apart = Math.min(1.6, 0.55 * layout.row / Math.max(scene.heads.length, 1));
    for (const [n, head] of scene.heads.entries())
        for (let r = spot?.side === 'q' ? spot.at : 0; r < (spot?.side === 'q' ? spot.at + 1 : shown.rows.length); r++)
            for (let c = spot?.side === 'k' ? spot.at : 0; c < (spot?.side === 'k' ? spot.at + 1 : shown.cols.length); c++) {
                const weight = weightAt(scene, head, r, c);
                if (weight < least || r < first && c < first || r > last && c > last)
                    continue;
                const aside = (n - (scene.heads.length - 1) / 2) * apart;
                pen.curve(layout.x0, middleOf(layout, r) + aside, layout.x1, middleOf(layout, c) + aside, head.colour, Math.min(1, weight * (spot ? 0.9 : 0.8) + 0.04), spot ? 1 + 4 * weight : 1.4);
            }
}

function drawColumn(pen, ctx, scene, side, labels, chosen) {
    const { layout, ink, spot, from, high } = scene, left = side === 'q', room = layout.labels[left ? 0 : 1];
    const x = left ? layout.x0 - 8 : layout.x1 + 8, align = left ? 'right' : 'left';
    const last = Math.min(chosen.length, Math.ceil((from + high - TOP) / layout.row) + 1);
    for (let i = Math.max(0, Math.floor((from - TOP) / layout.row)); i < last; i++) {
        const label = labels[chosen[i]], y = middleOf(layout, i), marked = spot?.side === side && spot.at === i, text = fitted(ctx, label.text, room);
        if (marked)
            pen.box(left ? x - room - 6 : x - 5, y - layout.row / 2 + 1, room + 11, layout.row - 2, ink.accent);
        else if (spot && spot.side !== side)
            tint(pen, scene, i, left ? x - room - 6 : x - 5, y, room + 11);
        pen.text(text, x, y, marked ? ink.sheet : label.special ? ink.soft : ink.ink, layout.font, align);
    }
}

/** Behind a token what the chosen one gives it (or gets from it), most of all heads. */
function tint(pen, scene, i, x, y, w) {
    const { spot, layout, heads } = scene, weights = heads.map(head => (spot.side === 'q' ? weightAt(scene, head, spot.at, i) : weightAt(scene, head, i, spot.at)));
    const most = weights.indexOf(Math.max(...weights));
    if (weights[most] >= FAINTEST)
        pen.box(x, y - layout.row / 2 + 1, w, layout.row - 2, heads[most].colour, 0.4 * weights[most]);
}

/** Beside each token of the other column, a square for each head, as strong as its weight. */
function drawSquares(pen, scene) {
    const { spot, layout, heads, shown, from, high } = scene, right = spot.side === 'q', count = right ? shown.cols.length : shown.rows.length;
    const step = layout.square, all = heads.slice(0, 32), x = right ? layout.x1 + layout.labels[1] + 18 : layout.x0 - layout.labels[0] - 18 - all.length * step;
    for (let i = Math.max(0, Math.floor((from - TOP) / layout.row)); i < Math.min(count, (from + high - TOP) / layout.row + 1); i++)
        all.forEach((head, n) => {
            const weight = right ? weightAt(scene, head, spot.at, i) : weightAt(scene, head, i, spot.at);
            if (weight >= FAINTEST)
                pen.box(x + n * step, middleOf(layout, i) - layout.row / 2 + 4, step - 1, layout.row - 8, head.colour, Math.min(1, 0.08 + weight));
        });
}
