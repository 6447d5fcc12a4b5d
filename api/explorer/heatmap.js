// heatmap.js - one map as a heat map: hover, keyboard, zoom, pan. What it looks like is heatmap_paint.js's; what is shown of a map, shown.js's.
// SPDX-License-Identifier: Apache-2.0
import { diverging, sequential } from './colour.js';
import { el } from './dom.js';
import { cellOf, imageOf, layoutOf, paint, valueAt } from './heatmap_paint.js';
import { float32Text, percent } from './numbers.js';
import { isolate, shownOf, visible } from './shown.js';
import * as viewport from './viewport.js';

/** A query and a key by their original numbers. @typedef {{query: number, key: number, weight?: number}} Cell */
/** Tokens [q0, q1) by [k0, k1), by their original numbers; null is the whole map. @typedef {{q0: number, q1: number, k0: number, k1: number}|null} Zoom */
/**
 * @typedef {object} HeatmapOptions
 * @property {'ember'|'viridis'|'grey'} [colours]
 * @property {'linear'|'log'|'row'} [scale]
 * @property {boolean} [hideFirst] @property {boolean} [hideSpecial]
 * @property {boolean} [pooled]       cells are means of several tokens
 * @property {boolean} [difference]   values run both ways from 0
 * @property {string} [name]          what is shown: "layer 5, head 1"
 * @property {Zoom} [zoom]
 * @property {Cell|null} [pinned]
 */

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-10, 0], PageDown: [10, 0] };

export class Heatmap {
    /** @param {HTMLElement} host @param {{onCell?: (cell: Cell) => void, onZoom?: (zoom: Zoom) => void}} events a cell was chosen; the window has changed and is at rest */
    constructor(host, events = {}) {
        this.events = events;
        this.host = host;
        this.pointers = new Map();
        this.build();
        this.listen();
    }

    build() {
        const button = (text, name, click) => el('button.heat-button', { type: 'button', title: name, 'aria-label': name, on: { click } }, text);
        this.canvas = el('canvas.heat-canvas', { tabindex: 0, role: 'application', 'aria-roledescription': 'heat map' });
        this.ctx = this.canvas.getContext('2d', { alpha: false });
        this.tip = el('div.heat-tip', { hidden: true, 'aria-hidden': 'true' });
        this.note = el('p.heat-note');
        this.live = el('div.hidden', { role: 'status' });
        this.where = el('span.heat-where');
        this.frameElement = el('div.heat-frame', {}, this.canvas, this.tip);
        const bar = el('div.heat-bar', { role: 'group', 'aria-label': 'Zoom' }, button('−', 'Zoom out', () => this.zoom(1 / 1.6)), button('+', 'Zoom in', () => this.zoom(1.6)),
            button('Whole', 'Show the whole map', () => this.setZoom(null)), this.where);
        this.host.replaceChildren(bar, this.frameElement, this.note, this.live);
    }

    /**
     * @param {Float32Array} map [T_q * T_k] @param {number} T_q @param {number} T_k
     * @param {Array} queryTokens as the API gives them, or strings @param {Array} keyTokens
     * @param {HeatmapOptions} opts
     */
    show(map, T_q, T_k, queryTokens, keyTokens, opts = {}) {
        const before = this.shown;
        this.opts = opts;
        this.shown = shownOf(map, T_q, T_k, queryTokens, keyTokens, opts);
        const same = before && before.rows.length === this.shown.rows.length && before.cols.length === this.shown.cols.length;
        if (opts.zoom !== undefined || !same)
            this.view = this.viewOf(opts.zoom ?? null);
        if (!same)
            this.cursor = null;
        this.pinned = opts.pinned ? this.placeOf(opts.pinned) : null;
        this.note.textContent = this.shown.rows.length && this.shown.cols.length ? this.shown.hidden : 'Every token is hidden: there is nothing left to draw.';
        this.canvas.setAttribute('aria-label', this.describe());
        this.restyle();
    }

    /** There is nothing to show. */
    clear() {
        this.shown = this.layout = null;
        this.canvas.width = this.canvas.height = 0;
        this.canvas.style.setProperty('height', '0');
        this.point(null);
        this.note.textContent = this.where.textContent = '';
    }

    /** The page's colours have changed (theme), or the map. */
    restyle() {
        if (!this.shown)
            return;
        this.ink = inkOf(this.host);
        this.table = this.opts.difference ? diverging(this.ink.dark) : sequential(this.opts.colours ?? 'ember', this.ink.dark);
        this.image = imageOf(this.shown, this.table, this.opts.scale ?? 'linear', Boolean(this.opts.difference));
        this.resize();
    }

    resize() {
        const width = Math.floor(this.frameElement.clientWidth);
        if (!this.shown || width < 40)
            return;
        const ratio = window.devicePixelRatio || 1, most = roomBelow(this.canvas, this.shown.rows.length);
        this.layout = layoutOf(this.ctx, this.shown, width, most, ratio);
        this.canvas.dataset.plot = [this.layout.x, this.layout.y, this.layout.w, this.layout.h].join(' '); // where the cells are, for whoever drives the page
        const wide = Math.round(width * ratio), high = Math.round(this.layout.height * ratio);
        if (this.canvas.width !== wide || this.canvas.height !== high) {
            this.canvas.width = wide;
            this.canvas.height = high;
            this.canvas.style.setProperty('width', `${width}px`);
            this.canvas.style.setProperty('height', `${this.layout.height}px`);
        }
        this.draw();
    }

    scene(ratio = window.devicePixelRatio || 1) {
        const { shown, view, layout, image, table, ink, cursor, pinned } = this;
        return { shown, view, layout, image, table, ink, ratio, cursor, pinned, scale: this.opts.scale ?? 'linear', difference: Boolean(this.opts.difference), pooled: Boolean(this.opts.pooled) };
    }

    draw() {
        this.frame = 0;
        if (!this.layout)
            return;
        paint(this.ctx, this.scene());
        const { rows, cols } = this.size();
        const all = viewport.isWhole(this.view, rows, cols), part = all ? '' : ` of ${rows} × ${cols}`;
        this.canvas.classList.toggle('is-close', !all);
        this.where.textContent = `${Math.round(this.view.q1 - this.view.q0)} × ${Math.round(this.view.k1 - this.view.k0)}${part}`;
    }

    /** Draws before the next frame, once. */
    later() {
        this.frame ||= requestAnimationFrame(() => this.draw());
    }

    size() {
        return { rows: this.shown.rows.length, cols: this.shown.cols.length };
    }

    // ---- the window

    /** @param {Zoom} zoom */
    setZoom(zoom) {
        this.look(this.viewOf(zoom));
    }

    viewOf(zoom) {
        const { rows, cols } = this.size();
        if (!zoom)
            return viewport.whole(rows, cols);
        const from = (chosen, at) => { const i = chosen.findIndex(n => n >= at); return i < 0 ? chosen.length : i; };
        return viewport.within({ q0: from(this.shown.rows, zoom.q0), q1: from(this.shown.rows, zoom.q1), k0: from(this.shown.cols, zoom.k0), k1: from(this.shown.cols, zoom.k1) }, rows, cols);
    }

    /** @returns {Zoom} */
    zoomed() {
        const { rows, cols } = this.size(), { q0, q1, k0, k1 } = this.view;
        if (viewport.isWhole(this.view, rows, cols))
            return null;
        const at = (chosen, i) => chosen[Math.min(Math.max(Math.floor(i), 0), chosen.length - 1)];
        return { q0: at(this.shown.rows, q0), q1: at(this.shown.rows, Math.ceil(q1) - 1) + 1, k0: at(this.shown.cols, k0), k1: at(this.shown.cols, Math.ceil(k1) - 1) + 1 };
    }

    look(view) {
        this.view = view;
        this.later();
        clearTimeout(this.rest);
        this.rest = setTimeout(() => this.events.onZoom?.(this.zoomed()), 180);
    }

    zoom(factor, place = this.cursor ? { q: this.cursor.row + 0.5, k: this.cursor.col + 0.5 } : null) {
        const { rows, cols } = this.size(), { q0, q1, k0, k1 } = this.view;
        this.look(viewport.zoomed(this.view, factor, place?.q ?? (q0 + q1) / 2, place?.k ?? (k0 + k1) / 2, rows, cols));
    }

    pan(dx, dy) {
        const { rows, cols } = this.size(), [wide, high] = cellOf(this.scene());
        this.look(viewport.panned(this.view, -dy / high, -dx / wide, rows, cols));
    }

    // ---- cells

    /** @returns {{q: number, k: number, inside: boolean}} where a pointer is, in rows and columns */
    at(event) {
        const box = this.canvas.getBoundingClientRect(), { x, y, w, h } = this.layout, [wide, high] = cellOf(this.scene());
        const px = event.clientX - box.left - x, py = event.clientY - box.top - y;
        return { q: this.view.q0 + py / high, k: this.view.k0 + px / wide, inside: px >= 0 && py >= 0 && px < w && py < h };
    }

    cellAt(event) {
        const { q, k, inside } = this.at(event), { rows, cols } = this.size();
        const row = Math.floor(q), col = Math.floor(k);
        return inside && row < rows && col < cols ? { row, col } : null;
    }

    placeOf({ query, key }) {
        const row = this.shown.rows.indexOf(query), col = this.shown.cols.indexOf(key);
        return row < 0 || col < 0 ? null : { row, col };
    }

    /** @returns {Cell} */
    cell({ row, col }) {
        return { query: this.shown.rows[row], key: this.shown.cols[col], weight: valueAt(this.shown, row, col) };
    }

    point(cell, byKeyboard) {
        if (cell?.row === this.cursor?.row && cell?.col === this.cursor?.col)
            return;
        this.cursor = cell;
        this.later();
        this.showTip(cell);
        if (byKeyboard && cell)
            this.live.textContent = this.sentence(cell);
    }

    choose(cell) {
        this.pinned = cell;
        this.later();
        this.events.onCell?.(this.cell(cell));
    }

    names({ row, col }) {
        const { query, key } = this.cell({ row, col });
        return [visible(this.shown.queries[query].text), visible(this.shown.keys[key].text)];
    }

    sentence(place) {
        const { query, key, weight } = this.cell(place), [from, to] = this.names(place);
        return `${isolate(from)} (${query}) ${this.opts.difference ? 'and' : 'looks at'} ${isolate(to)} (${key}): ${float32Text(weight)}`;
    }

    describe() {
        const { rows, cols } = this.size();
        return `${this.opts.name ? this.opts.name + ': ' : ''}heat map, ${rows} queries (rows) by ${cols} keys (columns). Arrow keys move from cell to cell, Enter chooses, plus, minus and 0 zoom. `
            + 'The table tab has the same numbers.';
    }

    showTip(place) {
        this.tip.hidden = !place;
        if (!place)
            return;
        const { query, key, weight } = this.cell(place), [from, to] = this.names(place), { difference, pooled } = this.opts, seen = this.shown.rowTotals[place.row];
        this.tip.replaceChildren(
            el('div.heat-tip-pair', {}, el('bdi', {}, from), difference ? ' · ' : ' → ', el('bdi', {}, to)),
            el('div.heat-tip-weight', {}, float32Text(weight)),
            el('div.heat-tip-more', {}, `query ${query}, key ${key}` + (difference ? '' : pooled ? ' · a mean' : ` · key receives ${this.shown.colTotals[place.col].toFixed(2)}`)),
            difference || pooled || seen > 0.9995 ? '' : el('div.heat-tip-more', {}, `this row shows ${percent(seen)} of its weight`));
        this.placeTip(place);
    }

    placeTip({ row, col }) {
        const [wide, high] = cellOf(this.scene()), { layout, view } = this, gap = 10;
        const x = layout.x + (col + 1 - view.k0) * wide, y = layout.y + (row + 1 - view.q0) * high;
        const w = this.tip.offsetWidth, h = this.tip.offsetHeight;
        const left = x + gap + w > layout.width ? Math.max(0, x - wide - gap - w) : x + gap;
        const top = y + gap + h > layout.height ? Math.max(0, y - high - gap - h) : y + gap;
        this.tip.style.setProperty('transform', `translate(${Math.round(left)}px, ${Math.round(top)}px)`);
    }

    // ---- events

    listen() {
        const on = (type, act, options) => this.canvas.addEventListener(type, event => this.layout && act.call(this, event), options);
        on('pointerdown', this.pointerDown);
        on('pointermove', this.pointerMove);
        on('pointerup', this.pointerUp);
        on('pointercancel', this.pointerUp);
        on('pointerleave', event => this.pointers.size || event.pointerType === 'touch' || this.point(null));
        on('wheel', this.wheel, { passive: false });
        on('dblclick', event => { const { q, k, inside } = this.at(event); if (inside) this.zoom(event.shiftKey ? 0.5 : 2, { q, k }); });
        on('keydown', this.keyDown);
        on('blur', () => this.point(null));
        this.observer = new ResizeObserver(() => this.resize());
        this.observer.observe(this.frameElement);
    }

    /** The canvas is no longer needed. */
    close() {
        this.observer.disconnect();
        clearTimeout(this.rest);
        cancelAnimationFrame(this.frame);
        this.host.replaceChildren();
    }

    pointerDown(event) {
        if (event.button)
            return;
        this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        this.canvas.setPointerCapture(event.pointerId);
        this.moved = 0;
    }

    pointerMove(event) {
        const before = this.pointers.get(event.pointerId);
        if (!before)
            return this.point(this.cellAt(event));
        const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const now = { x: event.clientX, y: event.clientY };
        this.moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
        if (others.length)
            this.pinch(others[0], before, now);
        else if (this.moved > 4) {
            this.canvas.classList.add('is-panning');
            this.point(null);
            this.pan(now.x - before.x, now.y - before.y);
        }
        this.pointers.set(event.pointerId, now);
    }

    pinch(fixed, before, now) {
        const apart = p => Math.hypot(p.x - fixed.x, p.y - fixed.y);
        const middle = { clientX: (fixed.x + now.x) / 2, clientY: (fixed.y + now.y) / 2 };
        this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
        this.zoom(apart(now) / Math.max(apart(before), 1), this.at(middle));
    }

    pointerUp(event) {
        const was = this.pointers.delete(event.pointerId);
        this.canvas.classList.remove('is-panning');
        const cell = was && event.type === 'pointerup' && this.moved <= 4 && this.cellAt(event);
        if (cell) {
            this.point(cell);
            this.choose(cell);
        }
    }

    /** The wheel scrolls the page until the map is in use: pinched, focused or already closer. */
    wheel(event) {
        const { q, k, inside } = this.at(event), { rows, cols } = this.size();
        const out = event.deltaY > 0, all = viewport.isWhole(this.view, rows, cols);
        if (!inside || out && all || !event.ctrlKey && !event.metaKey && all && document.activeElement !== this.canvas)
            return;
        event.preventDefault();
        const lines = event.deltaMode === 1 ? 16 : 1;
        this.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * (event.ctrlKey ? 0.008 : 0.003)), { q, k });
        this.point(this.cellAt(event));
    }

    keyDown(event) {
        if (event.altKey || event.ctrlKey || event.metaKey)
            return;
        const { rows, cols } = this.size(), step = KEYS[event.key];
        if (!rows || !cols)
            return;
        if (step)
            this.step(...step, event.shiftKey);
        else if (event.key === 'Home' || event.key === 'End')
            this.step(0, event.key === 'Home' ? -cols : cols);
        else if (event.key === '+' || event.key === '=' || event.key === '-' || event.key === '_')
            this.zoom(event.key === '+' || event.key === '=' ? 1.6 : 1 / 1.6);
        else if (event.key === '0')
            this.setZoom(null);
        else if ((event.key === 'Enter' || event.key === ' ') && this.cursor)
            this.choose(this.cursor);
        else if (event.key === 'Escape' && this.cursor)
            this.point(null);
        else
            return;
        event.preventDefault();
        event.stopPropagation();
    }

    step(dr, dc, pans) {
        const { rows, cols } = this.size(), now = this.cursor ?? this.pinned;
        if (pans)
            return this.look(viewport.panned(this.view, dr * (this.view.q1 - this.view.q0) / 8, dc * (this.view.k1 - this.view.k0) / 8, rows, cols));
        const start = { row: Math.floor(this.view.q0), col: Math.floor(this.view.k0) };
        const cell = now ? { row: clamp(now.row + dr, rows), col: clamp(now.col + dc, cols) } : start;
        const view = viewport.revealing(this.view, cell.row, cell.col, rows, cols);
        if (view.q0 !== this.view.q0 || view.k0 !== this.view.k0)
            this.look(view);
        return this.point(cell, true);
    }

    /** What is on the screen, for a file: twice as fine as on a plain screen. @returns {HTMLCanvasElement} */
    picture() {
        const ratio = Math.max(2, window.devicePixelRatio || 1), canvas = document.createElement('canvas');
        canvas.width = Math.round(this.layout.width * ratio);
        canvas.height = Math.round(this.layout.height * ratio);
        paint(canvas.getContext('2d'), { ...this.scene(ratio), cursor: null });
        return canvas;
    }
}

function clamp(i, n) {
    return Math.max(0, Math.min(n - 1, i));
}

/** How high the cells may stand: to the screen's end with labels and bars, where that leaves enough. @param {HTMLElement} at @param {number} rows */
function roomBelow(at, rows) {
    const room = window.innerHeight - (at.getBoundingClientRect().top + window.scrollY) - 190;
    const enough = Math.max(280, window.innerHeight * 0.72);
    return Math.min(720, room >= 300 ? Math.max(room, Math.min(5 * rows, enough)) : enough);
}

/** The page's colours at an element, as heatmap_paint.js and lines.js use them. @param {HTMLElement} at */
export function inkOf(at) {
    const style = getComputedStyle(at), of = name => style.getPropertyValue(`--${name}`).trim();
    const ink = { ink: of('ink'), soft: of('soft'), line: of('line'), sheet: of('sheet'), accent: of('accent'), code: of('code') };
    return { ...ink, dark: style.colorScheme === 'dark' || isDarkColour(ink.sheet) };
}

function isDarkColour(hex) {
    const full = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, '$&$&') : hex;
    return /^#[0-9a-f]{6}$/i.test(full) && [1, 3, 5].reduce((sum, i) => sum + parseInt(full.slice(i, i + 2), 16), 0) < 384;
}
