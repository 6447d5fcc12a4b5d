// heatmap_paint.js - draws one heat map on a canvas: cells, labels, totals, legend. Knows no events and no DOM but the context it is given, so that the screen and an
// exported picture are the same drawing.
//
// The cells are one image, a pixel a cell, made when the map changes; a frame draws the part that is seen, enlarged without smoothing, and as many labels as are legible.
// SPDX-License-Identifier: Apache-2.0
import { cssOf, differenceLevel, isDark, level } from './colour.js';
import { fitted, widthOf } from './label_text.js';
import { float32Text } from './numbers.js';
import { visible } from './shown.js';

/** @typedef {import('./shown.js').Shown} Shown */
/** @typedef {import('./viewport.js').View} View */
/** Where things are, in CSS pixels. @typedef {{width: number, height: number, x: number, y: number, w: number, h: number, bars: number, font: string, small: string}} Layout */
/** The page's colours. @typedef {{ink: string, soft: string, line: string, sheet: string, accent: string, code: string, dark: boolean}} Ink */
/**
 * @typedef {object} Scene
 * @property {Shown} shown
 * @property {View} view            in rows and columns of `shown`
 * @property {Layout} layout
 * @property {HTMLCanvasElement} image  from imageOf()
 * @property {Uint32Array} table
 * @property {'linear'|'log'|'row'} scale
 * @property {boolean} difference
 * @property {boolean} pooled       means of several tokens: they have no totals
 * @property {Ink} ink
 * @property {number} ratio         device pixels in a CSS pixel
 * @property {{row: number, col: number}|null} cursor the cell under the pointer or the keyboard's
 * @property {{row: number, col: number}|null} pinned
 */

const FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", "Noto Sans", sans-serif';
const LARGEST_CELL = 56;
const LEGEND = 34;
const COLUMN_BARS = 30;
/** Cells this large carry their number. */
const ROOM_FOR_NUMBER = 30;

/** The cells, a pixel each. A weight of exactly 0 (masked, or too small for float32) is left clear. */
export function imageOf(shown, table, scale, difference) {
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(shown.cols.length, 1);
    canvas.height = Math.max(shown.rows.length, 1);
    const ctx = canvas.getContext('2d'), image = ctx.createImageData(canvas.width, canvas.height);
    const out = new Uint32Array(image.data.buffer);
    for (let r = 0, at = 0; r < shown.rows.length; r++)
        for (let c = 0; c < shown.cols.length; c++, at++) {
            const value = valueAt(shown, r, c);
            if (difference ? Number.isFinite(value) : value !== 0)
                out[at] = table[levelAt(shown, r, value, scale, difference)];
        }
    ctx.putImageData(image, 0, 0);
    return canvas;
}

/** @param {Shown} shown */
export function valueAt(shown, row, col) {
    return shown.map[shown.rows[row] * shown.stride + shown.cols[col]];
}

function levelAt(shown, row, value, scale, difference) {
    if (difference)
        return differenceLevel(value, shown.max);
    return level(scale, value, scale === 'row' ? shown.rowMax[row] : shown.max);
}

/** Fits the map into a width and a height. @returns {Layout} */
export function layoutOf(ctx, shown, width, mostHeight, ratio) {
    const narrow = width < 520;
    const font = `${narrow ? 11 : 12.5}px ${FAMILY}`, small = `${narrow ? 9.5 : 10.5}px ${FAMILY}`;
    ctx.font = font;
    const rows = Math.max(shown.rows.length, 1), cols = Math.max(shown.cols.length, 1);
    const left = Math.ceil(Math.max(48, Math.min(longest(ctx, shown.queries, shown.rows), narrow ? 84 : 150))) + 12; // 48: the word below them
    const bars = narrow ? 20 : 28;
    const label = Math.min(longest(ctx, shown.keys, shown.cols), narrow ? 84 : 130);
    const most = (width - left - bars - 12) / cols, square = rows === cols; // of a square map cells may be wider than high, for the numbers in them
    const [wide, high] = cellSize(most, square ? Math.min(mostHeight / rows, most) : mostHeight / rows, square && rows > 40 ? 1 : 1.6, ratio);
    const top = Math.ceil(wide >= 18 ? label * 0.71 + 18 : label + 12);
    const w = wide * cols, h = high * rows;
    return { width, height: Math.ceil(top + h + COLUMN_BARS + LEGEND + 8), x: left, y: top, w, h, bars, font, small };
}

function longest(ctx, labels, chosen) {
    let most = 24;
    const step = Math.max(1, Math.floor(chosen.length / 200));
    for (let i = 0; i < chosen.length && most < 160; i += step)
        most = Math.max(most, widthOf(ctx, visible(labels[chosen[i]].text)));
    return most;
}

/** Square, or up to `loose` times as long as wide where that uses the room; whole device pixels when there are any to give. */
function cellSize(wide, high, loose, ratio) {
    const least = Math.min(wide, high, LARGEST_CELL);
    return [wide, high].map(size => {
        const cell = Math.min(size, least * loose, LARGEST_CELL);
        return cell * ratio >= 2 ? Math.floor(cell * ratio) / ratio : cell;
    });
}

/** Size of a cell as it is seen. @returns {[number, number]} */
export function cellOf({ layout, view }) {
    return [layout.w / (view.k1 - view.k0), layout.h / (view.q1 - view.q0)];
}

/** @param {CanvasRenderingContext2D} ctx scaled so that a unit is a CSS pixel @param {Scene} scene */
export function paint(ctx, scene) {
    const { layout, ink, ratio } = scene;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = ink.sheet;
    ctx.fillRect(0, 0, layout.width, layout.height);
    ctx.textBaseline = 'middle';
    paintCells(ctx, scene);
    paintCursor(ctx, scene);
    paintRowLabels(ctx, scene);
    paintColLabels(ctx, scene);
    paintTotals(ctx, scene);
    paintLegend(ctx, scene);
}

function clipped(ctx, x, y, w, h, draw) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, w, h);
    ctx.clip();
    draw();
    ctx.restore();
}

function paintCells(ctx, scene) {
    const { layout: { x, y, w, h }, view, image, ink } = scene;
    const [wide, high] = cellOf(scene);
    ctx.fillStyle = ink.code;
    ctx.fillRect(x, y, w, h);
    ctx.imageSmoothingEnabled = Math.min(wide, high) * scene.ratio < 1;
    ctx.drawImage(image, view.k0, view.q0, view.k1 - view.k0, view.q1 - view.q0, x, y, w, h);
    if (Math.min(wide, high) >= 12)
        clipped(ctx, x, y, w, h, () => paintGaps(ctx, scene, wide, high));
    if (wide >= ROOM_FOR_NUMBER && high >= 18)
        clipped(ctx, x, y, w, h, () => paintNumbers(ctx, scene, wide, high));
}

function paintGaps(ctx, { layout: { x, y, w, h }, view, ink, ratio }, wide, high) {
    const line = 1 / ratio;
    ctx.fillStyle = ink.sheet;
    for (let c = Math.ceil(view.k0); c <= view.k1; c++)
        ctx.fillRect(snapped(x + (c - view.k0) * wide, ratio) - line, y, line, h);
    for (let r = Math.ceil(view.q0); r <= view.q1; r++)
        ctx.fillRect(x, snapped(y + (r - view.q0) * high, ratio) - line, w, line);
}

function snapped(at, ratio) {
    return Math.round(at * ratio) / ratio;
}

function paintNumbers(ctx, scene, wide, high) {
    const { shown, view, layout, table, scale, difference } = scene;
    ctx.font = wide < 36 ? layout.small.replace(/^[\d.]+/, '9.5') : layout.small;
    ctx.textAlign = 'center';
    for (let r = Math.floor(view.q0); r < Math.min(view.q1, shown.rows.length); r++)
        for (let c = Math.floor(view.k0); c < Math.min(view.k1, shown.cols.length); c++) {
            const value = valueAt(shown, r, c);
            if (!(Math.abs(value) >= 0.005))
                continue;
            ctx.fillStyle = isDark(table, levelAt(shown, r, value, scale, difference)) ? '#fff' : '#16151a';
            ctx.fillText(value.toFixed(2).replace('-', '−'), layout.x + (c + 0.5 - view.k0) * wide, layout.y + (r + 0.5 - view.q0) * high);
        }
}

/** The cell's row and column between thin lines, the cell itself framed. */
function paintCursor(ctx, scene) {
    const { layout: { x, y, w, h }, ink } = scene;
    clipped(ctx, x - 2, y - 2, w + 4, h + 4, () => {
        if (scene.cursor) {
            const [cx, cy, cw, ch] = boxOf(scene, scene.cursor);
            ctx.strokeStyle = ink.ink;
            ctx.globalAlpha = 0.45;
            ctx.lineWidth = 1;
            ctx.strokeRect(x - 4, cy - 0.5, w + 8, ch + 1);
            ctx.strokeRect(cx - 0.5, y - 4, cw + 1, h + 8);
            ctx.globalAlpha = 1;
            frame(ctx, boxOf(scene, scene.cursor), ink.sheet, ink.ink);
        }
        if (scene.pinned)
            frame(ctx, boxOf(scene, scene.pinned), ink.sheet, ink.accent);
    });
}

function boxOf(scene, { row, col }) {
    const [wide, high] = cellOf(scene), { layout, view } = scene;
    return [layout.x + (col - view.k0) * wide, layout.y + (row - view.q0) * high, wide, high];
}

function frame(ctx, [x, y, w, h], outer, inner) {
    ctx.lineWidth = 4;
    ctx.strokeStyle = outer;
    ctx.strokeRect(x - 0.5, y - 0.5, w, h);
    ctx.lineWidth = 2;
    ctx.strokeStyle = inner;
    ctx.strokeRect(x - 0.5, y - 0.5, w, h);
}

function paintRowLabels(ctx, scene) {
    const { layout, view, shown, cursor, ink } = scene, high = cellOf(scene)[1];
    const step = Math.max(1, Math.ceil(14 / high));
    ctx.font = layout.font;
    ctx.textAlign = 'right';
    const write = (r, marked) => {
        const at = layout.y + (r + 0.5 - view.q0) * high, label = shown.queries[shown.rows[r]];
        const text = fitted(ctx, label.text, layout.x - 12);
        if (marked)
            backed(ctx, ink.sheet, 0, at - 9, layout.x - 3, 18);
        ctx.fillStyle = marked ? ink.accent : label.special ? ink.soft : ink.ink;
        ctx.fillText(text, layout.x - 7, at);
    };
    clipped(ctx, 0, layout.y - 6, layout.x, layout.h + 12, () => {
        for (let r = Math.ceil(Math.max(view.q0 - 0.5, 0) / step) * step; r < Math.min(view.q1 - 0.49, shown.rows.length); r += step)
            write(r, false);
        if (cursor && cursor.row + 0.5 > view.q0 && cursor.row + 0.5 < view.q1)
            write(cursor.row, true);
    });
}

function backed(ctx, colour, x, y, w, h) {
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.92;
    ctx.fillRect(x, y, w, h);
    ctx.globalAlpha = 1;
}

function paintColLabels(ctx, scene) {
    const { layout, view, shown, cursor } = scene, wide = cellOf(scene)[0];
    const slanted = wide >= 18, step = Math.max(1, Math.ceil(14 / wide));
    ctx.font = layout.font;
    ctx.textAlign = 'left';
    const write = (c, marked) => writeColumn(ctx, scene, c, layout.x + (c + 0.5 - view.k0) * wide, slanted, marked);
    clipped(ctx, layout.x - 8, 0, layout.width - layout.x + 8, layout.y, () => {
        for (let c = Math.ceil(Math.max(view.k0 - 0.5, 0) / step) * step; c < Math.min(view.k1 - 0.49, shown.cols.length); c += step)
            write(c, false);
        if (cursor && cursor.col + 0.5 > view.k0 && cursor.col + 0.5 < view.k1)
            write(cursor.col, true);
    });
}

function writeColumn(ctx, { layout, shown, ink }, c, at, slanted, marked) {
    const label = shown.keys[shown.cols[c]], up = layout.y - 10;
    const room = slanted ? Math.min(up / 0.71, (layout.width - at) / 0.71) : up;
    const text = fitted(ctx, label.text, Math.max(room - 2, 12));
    ctx.save();
    ctx.translate(at, layout.y - 6);
    ctx.rotate(slanted ? -Math.PI / 4 : -Math.PI / 2);
    if (marked)
        backed(ctx, ink.sheet, -3, -9, widthOf(ctx, text) + 8, 18);
    ctx.fillStyle = marked ? ink.accent : label.special ? ink.soft : ink.ink;
    ctx.fillText(text, 0, 0);
    ctx.restore();
}

/** Bars: on the right what each row has on the screen (1 when nothing is hidden), below what each key gets. */
function paintTotals(ctx, scene) {
    const { layout, view, shown, ink, cursor, difference, pooled } = scene, [wide, high] = cellOf(scene);
    if (difference || pooled)
        return;
    const { x, y, w, h, bars } = layout, mostRow = Math.max(1, ...shown.rowTotals), mostCol = Math.max(1e-30, ...shown.colTotals);
    clipped(ctx, x + w + 5, y, bars, h, () => {
        for (let r = Math.floor(view.q0); r < Math.min(view.q1, shown.rows.length); r++) {
            ctx.fillStyle = cursor?.row === r ? ink.accent : ink.line;
            const thick = Math.max(Math.min(high - (high > 4 ? 1 : 0), 7), 0.5);
            ctx.fillRect(x + w + 6, y + (r + 0.5 - view.q0) * high - thick / 2, (bars - 2) * shown.rowTotals[r] / mostRow, thick);
        }
    });
    clipped(ctx, x, y + h + 5, w, COLUMN_BARS, () => {
        for (let c = Math.floor(view.k0); c < Math.min(view.k1, shown.cols.length); c++) {
            ctx.fillStyle = cursor?.col === c ? ink.accent : ink.line;
            ctx.fillRect(x + (c - view.k0) * wide, y + h + 6, Math.max(wide - (wide > 4 ? 1 : 0), 0.5), (COLUMN_BARS - 6) * shown.colTotals[c] / mostCol);
        }
    });
    ctx.font = layout.small;
    ctx.fillStyle = ink.soft;
    ctx.textAlign = 'right';
    ctx.fillText('received', x - 7, y + h + 14);
    ctx.textAlign = 'left';
    ctx.fillText('shown', x + w + 6, y + h + 14);
}

function paintLegend(ctx, scene) {
    const { layout, shown, table, ink, scale, difference } = scene, y = layout.y + layout.h + COLUMN_BARS + 12;
    const wide = Math.min(150, Math.floor(layout.width / 3)), [low, high] = legendEnds(scale, shown.max, difference);
    ctx.font = layout.small;
    ctx.fillStyle = ink.soft;
    ctx.textAlign = 'left';
    ctx.fillText(low, layout.x, y + 5);
    const x = layout.x + widthOf(ctx, low) + 7;
    for (let i = 0; i < wide; i++) {
        ctx.fillStyle = cssOf(table, Math.round(255 * i / (wide - 1)));
        ctx.fillRect(x + i, y, 1.2, 10);
    }
    ctx.strokeStyle = ink.line;
    ctx.lineWidth = 1;
    ctx.strokeRect(x - 0.5, y - 0.5, wide + 1, 11);
    ctx.fillStyle = ink.soft;
    ctx.fillText(high, x + wide + 7, y + 5);
}

function legendEnds(scale, max, difference) {
    const most = float32Text(Math.fround(Number(max.toPrecision(4))));
    if (difference)
        return [`−${most}`, `+${most}`];
    if (scale === 'row')
        return ['0', 'each row’s largest'];
    return scale === 'log' ? [`${float32Text(Math.fround(Number((max / 1e4).toPrecision(2))))} or less`, `${most} (log)`] : ['0', most];
}
