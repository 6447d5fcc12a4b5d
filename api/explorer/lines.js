// lines.js - a layer as lines between tokens: queries on the left, keys on the right, a colour for each head.
//
// The canvas stands still in a scrolling box and draws the part that is seen, so that a long text costs no more than a short one. A token under the pointer, or
// reached by arrow keys, is looked at alone: its lines, a square for each head beside the tokens it looks at, and the strongest weights in words.
// SPDX-License-Identifier: Apache-2.0
import { headColour } from './colour.js';
import { el } from './dom.js';
import { inkOf } from './heatmap.js';
import { FAINT, linesLayout, middleOf, paintLines, spotAt, weightAt } from './lines_paint.js';
import { isPooled } from './long.js';
import { float32Text } from './numbers.js';
import { canvasPen, svgPen } from './pen.js';
import { shownOf, visible } from './shown.js';
import * as state from './state.js';

const MOST_HEADS = 256;
state.define('lineHeads', null, value => value === null || Array.isArray(value) && value.length <= MOST_HEADS && value.every(state.checks.count));
state.define('between', 'all', state.checks.oneOf('all', '00', '01', '10', '11'));

const betweenNames = { all: 'all tokens', '00': 'first text → first', '01': 'first text → second', 10: 'second text → first', 11: 'second text → second' };

/** The Lines view (README.md: what a view is). */
export class Lines {
    /** @param {HTMLElement} host */
    constructor(host) {
        this.host = host;
        this.bar = el('div.lines-bar');
        this.canvas = el('canvas.lines-canvas', { 'aria-hidden': 'true' });
        this.ctx = this.canvas.getContext('2d', { alpha: false });
        this.room = el('div.lines-room');
        this.scroll = el('div.lines-scroll', { tabindex: 0, role: 'application', 'aria-roledescription': 'lines between tokens',
            'aria-label': 'Lines between tokens. Up and down move from token to token, left and right from column to column.' }, this.canvas, this.room);
        this.said = el('p.lines-said', { role: 'status' });
        this.note = el('p.lines-note');
        host.replaceChildren(this.bar, this.scroll, this.said, this.note);
        this.listen();
    }

    /** @param {import('./run.js').Stack} stack @param {object} now the state */
    show(stack, now) {
        const maps = stack.maps.get(now.layer);
        this.stack = stack;
        this.now = now;
        this.ink = inkOf(this.host);
        const chosen = now.lineHeads?.filter(head => stack.heads.includes(head)) ?? stack.heads, size = stack.T_q * stack.T_k;
        this.heads = maps ? chosen.map(head => ({ head, colour: headColour(head, Math.max(...stack.heads) + 1, this.ink.dark), map: part(maps, stack.heads.indexOf(head), size) })) : [];
        this.shown = between(shownOf(meanOf(this.heads, size), stack.T_q, stack.T_k, stack.queryTokens, stack.keyTokens, now), now.between);
        if (!this.holds(this.spot))
            this.spot = null;
        this.fillBar();
        this.say();
        this.resize();
    }

    clear() {
        this.shown = this.layout = this.spot = null;
        this.canvas.width = this.canvas.height = 0;
        this.bar.replaceChildren();
        this.said.textContent = this.note.textContent = '';
    }

    holds(spot) {
        return Boolean(spot) && spot.at < (spot.side === 'q' ? this.shown.rows : this.shown.cols).length;
    }

    // ---- the choice of heads and of texts

    fillBar() {
        const { stack, now } = this, focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.is : null;
        const button = (is, text, pressed, click) => el('button.lines-head', { type: 'button', 'data-is': is, 'aria-pressed': String(pressed), on: { click } }, text);
        const heads = stack.heads.map(head => {
            const on = this.heads.some(h => h.head === head), made = button(`h${head}`, `head ${head}`, on, () => this.toggle(head));
            made.style.setProperty('--head', headColour(head, Math.max(...stack.heads) + 1, this.ink.dark));
            made.addEventListener('dblclick', () => state.set({ lineHeads: [head] }));
            return made;
        });
        const plain = (is, text, click) => el('button.heat-button', { type: 'button', 'data-is': is, on: { click } }, text);
        this.bar.replaceChildren(plain('all', 'All heads', () => state.set({ lineHeads: null })),
            plain('one', `Only head ${now.head}`, () => state.set({ lineHeads: [now.head] })), ...heads, ...this.betweenSelect());
        if (focused)
            [...this.bar.children].find(child => child.dataset.is === focused)?.focus();
    }

    betweenSelect() {
        const { stack, now } = this, tokens = [...stack.queryTokens ?? [], ...stack.keyTokens ?? []];
        if (!tokens.some(token => token.sequence === 1))
            return [];
        const options = Object.entries(betweenNames).sort(([a]) => (a === 'all' ? -1 : 1)).map(([value, name]) => el('option', { value, selected: value === now.between }, name));
        const select = el('select.lines-select', { 'aria-label': 'Lines between', 'data-is': 'between', on: { change: () => state.set({ between: select.value }) } }, ...options);
        return [select];
    }

    toggle(head) {
        const on = new Set(this.heads.map(h => h.head));
        if (!on.delete(head))
            on.add(head);
        state.set({ lineHeads: on.size === this.stack.heads.length ? null : [...on].sort((a, b) => a - b) });
    }

    // ---- drawing

    resize() {
        const width = this.scroll.clientWidth, ratio = window.devicePixelRatio || 1;
        if (!this.shown || width < 40)
            return;
        this.layout = linesLayout(this.ctx, this.shown, width, this.heads.length);
        const high = Math.min(this.layout.height, Math.max(240, Math.min(window.innerHeight * 0.76, 736)));
        for (const [name, value] of [['width', width], ['height', high]]) {
            this.canvas[name] = Math.round(value * ratio);
            this.canvas.style.setProperty(name, `${value}px`);
        }
        this.room.style.setProperty('height', `${Math.max(0, this.layout.height - high)}px`);
        this.high = high;
        this.draw();
    }

    draw() {
        this.frame = 0;
        if (!this.layout)
            return;
        const ratio = window.devicePixelRatio || 1, from = this.scroll.scrollTop, { ctx } = this;
        ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
        ctx.fillStyle = this.ink.sheet;
        ctx.fillRect(0, 0, this.layout.width, this.high);
        ctx.translate(0, -from);
        paintLines(canvasPen(ctx), ctx, this.scene(from, this.high));
    }

    later() {
        this.frame ||= requestAnimationFrame(() => this.draw());
    }

    scene(from, high, spot = this.spot) {
        return { shown: this.shown, heads: this.heads, spot, ink: this.ink, layout: this.layout, from, high };
    }

    // ---- one token

    look(spot) {
        if (spot?.side === this.spot?.side && spot?.at === this.spot?.at)
            return;
        this.spot = spot;
        this.say();
        this.later();
    }

    /** The strongest weights of the token that is looked at, in words. */
    say() {
        const { spot, shown } = this;
        this.note.textContent = [shown.hidden, this.heads.length ? `Lines under ${FAINT} are drawn only for the token that is looked at.` : 'No head is chosen.'].filter(Boolean).join(' ');
        if (!spot || !this.heads.length) {
            this.said.textContent = 'Point at a token, or walk with the arrow keys, to see where it looks.';
            return;
        }
        const left = spot.side === 'q', own = left ? shown.queries[shown.rows[spot.at]] : shown.keys[shown.cols[spot.at]];
        const items = strongest(this.scene(0, 0), spot, 4).flatMap(({ label, head, weight }, i) => [i ? ', ' : ' ', el('bdi', {}, visible(label.text)), ' ',
            el('span.lines-weight', {}, float32Text(weight)), this.stack.heads.length > 1 ? ` (head ${head})` : '']);
        this.said.replaceChildren(el('strong', {}, el('bdi', {}, visible(own.text))), left ? ' looks most at' : ' is most looked at by', ...items, '.');
    }

    // ---- events

    listen() {
        const spotOf = event => {
            const box = this.canvas.getBoundingClientRect();
            return this.layout ? spotAt(this.scene(0, 0), event.clientX - box.left, event.clientY - box.top + this.scroll.scrollTop) : null;
        };
        this.canvas.addEventListener('pointermove', event => this.kept || this.look(spotOf(event)));
        this.canvas.addEventListener('pointerleave', () => this.kept || this.look(null));
        this.canvas.addEventListener('click', event => {
            const spot = spotOf(event), again = this.kept && spot && spot.side === this.spot?.side && spot.at === this.spot.at;
            this.kept = Boolean(spot) && !again;
            this.look(again ? null : spot);
        });
        this.scroll.addEventListener('scroll', () => this.later(), { passive: true });
        this.scroll.addEventListener('keydown', event => this.keyDown(event));
        this.observer = new ResizeObserver(() => this.resize());
        this.observer.observe(this.scroll);
    }

    keyDown(event) {
        const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }, { spot, shown } = this;
        if (event.altKey || event.ctrlKey || event.metaKey || !shown || !(event.key in moves || ['ArrowLeft', 'ArrowRight', 'Escape'].includes(event.key)))
            return;
        event.preventDefault();
        const side = event.key === 'ArrowLeft' ? 'q' : event.key === 'ArrowRight' ? 'k' : spot?.side ?? 'q', count = (side === 'q' ? shown.rows : shown.cols).length;
        const at = Math.max(0, Math.min(count - 1, (spot?.at ?? -1) + (moves[event.key] ?? 0)));
        this.kept = event.key !== 'Escape' && count > 0;
        this.look(this.kept ? { side, at } : null);
        if (this.kept)
            this.reveal(middleOf(this.layout, at));
    }

    reveal(y) {
        const margin = 2 * this.layout.row, top = this.scroll.scrollTop;
        if (y - margin < top)
            this.scroll.scrollTop = y - margin;
        else if (y + margin > top + this.high)
            this.scroll.scrollTop = y + margin - this.high;
    }

    // ---- for files

    /** @returns {HTMLCanvasElement} what is on the screen */
    picture() {
        const ratio = Math.max(2, window.devicePixelRatio || 1), canvas = document.createElement('canvas'), from = this.scroll.scrollTop;
        canvas.width = Math.round(this.layout.width * ratio);
        canvas.height = Math.round(this.high * ratio);
        const ctx = canvas.getContext('2d');
        ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
        ctx.fillStyle = this.ink.sheet;
        ctx.fillRect(0, 0, this.layout.width, this.high);
        ctx.translate(0, -from);
        paintLines(canvasPen(ctx), ctx, this.scene(from, this.high));
        return canvas;
    }

    /** @returns {string} all of it, as SVG */
    svg() {
        const pen = svgPen();
        paintLines(pen, this.ctx, this.scene(0, this.layout.height));
        return pen.file(this.layout.width, this.layout.height, this.ink.sheet, `layer ${this.now.layer}, ${this.heads.map(h => `head ${h.head}`).join(', ')}`);
    }
}

function part(maps, index, size) {
    return maps.subarray(index * size, (index + 1) * size);
}

/** The mean of some heads: what a hidden token holds of all of them. */
function meanOf(heads, size) {
    const mean = new Float32Array(size);
    for (const { map } of heads)
        for (let i = 0; i < size; i++)
            mean[i] += map[i] / heads.length;
    return mean;
}

/** Only queries of one text and keys of one, when a pair was given. */
function between(shown, choice) {
    if (choice === 'all' || ![...shown.queries, ...shown.keys].some(label => label.sequence === 1))
        return shown;
    const [from, to] = [...choice].map(Number);
    return { ...shown, rows: shown.rows.filter(i => shown.queries[i].sequence === from), cols: shown.cols.filter(j => shown.keys[j].sequence === to) };
}

/** The largest weights of a token over all chosen heads. */
function strongest(scene, spot, count) {
    const { shown, heads } = scene, left = spot.side === 'q', all = [], others = left ? shown.cols : shown.rows, labels = left ? shown.keys : shown.queries;
    for (const head of heads)
        for (let i = 0; i < others.length; i++)
            all.push({ label: labels[others[i]], head: head.head, weight: left ? weightAt(scene, head, spot.at, i) : weightAt(scene, head, i, spot.at) });
    return all.sort((a, b) => b.weight - a.weight).slice(0, count);
}

/** @param {HTMLElement} host @param {object} app @returns {import('./views.js').View} */
export function create(host, app) {
    const lines = new Lines(host);
    let drawn = '', maps = null;
    return {
        show(result, now) {
            const { stack, layer, head } = app.chosen(), { lineHeads, between, hideFirst, hideSpecial } = now, choice = { layer, head, lineHeads, between, hideFirst, hideSpecial };
            const key = JSON.stringify([choice, app.dark()]);
            if (key === drawn && maps === stack.maps.get(layer))
                return;
            [drawn, maps] = [key, stack.maps.get(layer)];
            lines.show(stack, { ...choice, pooled: isPooled(stack) });
        },
        clear() {
            [drawn, maps] = ['', null];
            lines.clear();
        },
        picture: () => lines.picture(),
        svg: () => lines.svg(),
    };
}
