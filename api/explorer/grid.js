// grid.js - every head of every layer as a small map, drawn the moment its layer comes; ordered by layer, by entropy, or by what heads are known for.
//
// A thumbnail is a canvas of one pixel a cell (the browser makes it larger); a map with more cells than the screen has pixels there is drawn in bins, each as bright as
// the brightest cell in it, so that lines one token wide stay seen.
// SPDX-License-Identifier: Apache-2.0
import { level, sequential } from './colour.js';
import { at, el, roving } from './dom.js';
import { patternOf, patterns, valueOf } from './patterns.js';
import { mapOf } from './run.js';

/** The most and the least pixels of a thumbnail along one side; between them as many as the screen has there. */
const finest = 96, coarsest = 24;
const orders = [{ name: 'layer', title: 'layer' }, { name: 'entropy', title: 'entropy' }, ...patterns];
const stackTitles = { self: 'self-attention', encoder: 'encoder', decoder: 'decoder', cross: 'decoder to encoder' };

/** @typedef {{layer: number, head: number, node: HTMLElement, canvas: HTMLCanvasElement, badge: HTMLElement, drawn: *}} Cell */

/**
 * @param {HTMLElement} host @param {object} app
 * @returns {{show: (result: object|null, state: object) => void, badgeOf: (stack: object, layer: number, head: number) => string|null}}
 */
export function createGrid(host, app) {
    /** @type {Map<string, Cell>} */
    const cells = new Map();
    let built = '', arranged = '', current = null;
    const order = at('order'), stackChoice = at('stack'), legend = at('legend');

    order.append(...orders.map(({ name, title }) => el('option', { value: name }, title)));
    order.addEventListener('change', () => app.state.set({ order: order.value }));
    stackChoice.addEventListener('change', () => app.select({ stack: stackChoice.value }));
    host.setAttribute('role', 'listbox');
    host.setAttribute('aria-label', 'Heads, all layers');
    host.addEventListener('click', event => choose(event.target.closest('.head')));
    roving(host, { items: () => [...host.querySelectorAll('.head')], columns: inARow, onMove: choose });

    function choose(node) {
        if (node)
            app.select({ layer: Number(node.dataset.layer), head: Number(node.dataset.head) });
    }

    /** How many heads stand beside each other. */
    function inARow() {
        const all = [...host.querySelectorAll('.head')], below = all.findIndex(node => node.offsetTop > all[0].offsetTop + 2);
        return below < 0 ? all.length : below;
    }

    function build(stack) {
        const key = `${stack.name} ${stack.layers} ${stack.heads}`;
        if (key === built)
            return;
        built = key;
        arranged = '';
        cells.clear();
        for (const layer of stack.layers)
            for (const head of stack.heads)
                cells.set(`${layer} ${head}`, newCell(layer, head));
    }

    /** Puts the cells in the order that is asked for; by layer until the numbers for another have come. */
    function arrange(stack, wanted) {
        const by = stack.analyses[wanted] ? wanted : 'layer', key = `${built} ${by} ${by === 'layer' ? '' : stack.analyses[by].values.join()}`;
        if (key === arranged)
            return;
        arranged = key;
        const focused = host.contains(document.activeElement) ? document.activeElement : null;
        host.className = by === 'layer' ? 'by-layer' : 'by-value';
        host.style.setProperty('--heads', String(stack.heads.length));
        if (by === 'layer')
            host.replaceChildren(...rowsOf(stack));
        else
            host.replaceChildren(...sorted(stack, by).map(cell => cell.node));
        for (const cell of cells.values())
            cell.node.querySelector('.name').dataset.name = by === 'layer' ? '' : `L${cell.layer}H${cell.head} ${valueOf(stack, by, cell.layer, cell.head).toFixed(2)}`;
        focused?.focus();
    }

    function rowsOf(stack) {
        const top = el('div.row', { 'aria-hidden': 'true' }, el('span.axis'), ...stack.heads.map(head => el('span.axis', {}, String(head))));
        return [top, ...stack.layers.map(layer => el('div.row', { role: 'group', 'aria-label': `Layer ${layer}` },
            el('span.axis', { 'aria-hidden': 'true' }, String(layer)), ...stack.heads.map(head => cells.get(`${layer} ${head}`).node)))];
    }

    function sorted(stack, by) {
        const sign = by === 'entropy' ? 1 : -1;
        return [...cells.values()].sort((a, b) => sign * (valueOf(stack, by, a.layer, a.head) - valueOf(stack, by, b.layer, b.head)));
    }

    function draw(stack, state) {
        const fine = pixelsOf(cells), look = `${fine} ${state.scale} ${state.colours} ${app.dark()} ${state.hideFirst} ${state.hideSpecial}`;
        const style = { kind: state.scale, table: sequential(state.colours, app.dark()), hidden: hiddenKeys(stack, state), hiddenRows: hiddenRows(stack, state), fine };
        for (const cell of cells.values()) {
            const map = mapOf(stack, cell.layer, cell.head), maps = stack.maps.get(cell.layer);
            cell.node.classList.toggle('waiting', !map);
            if (!map || (cell.drawn?.maps === maps && cell.drawn.look === look))
                continue;
            paint(cell.canvas, map, stack.T_q, stack.T_k, style);
            cell.drawn = { maps, look };
        }
    }

    function label(stack, chosen) {
        for (const cell of cells.values()) {
            const pattern = patternOf(stack, cell.layer, cell.head), entropy = valueOf(stack, 'entropy', cell.layer, cell.head);
            const isChosen = cell.layer === chosen.layer && cell.head === chosen.head;
            cell.badge.dataset.sign = pattern?.sign ?? ''; // drawn by the style: what is read aloud is the label
            cell.node.dataset.pattern = pattern?.name ?? '';
            cell.node.setAttribute('aria-selected', String(isChosen));
            cell.node.tabIndex = isChosen ? 0 : -1;
            cell.node.setAttribute('aria-label', `Layer ${cell.layer}, head ${cell.head}`
                + (pattern ? `, ${pattern.title} ${pattern.value.toFixed(2)}` : '') + (entropy === null ? '' : `, entropy ${entropy.toFixed(2)}`));
            cell.node.title = cell.node.getAttribute('aria-label');
        }
    }

    function drawLegend(stack) {
        const counts = new Map();
        for (const cell of cells.values()) {
            const pattern = patternOf(stack, cell.layer, cell.head);
            if (pattern)
                counts.set(pattern.name, (counts.get(pattern.name) ?? 0) + 1);
        }
        const key = `${[...counts]}`;
        if (legend.dataset.key === key)
            return;
        legend.dataset.key = key;
        legend.replaceChildren(...patterns.filter(({ name }) => counts.has(name)).map(({ name, title, about, sign }) => el('button.chip', {
            type: 'button', title: `${about}: show these first`, 'data-pattern': name, on: { click: () => app.state.set({ order: name }) },
        }, el('b', {}, sign), ` ${title} `, el('span.soft', {}, String(counts.get(name))))));
    }

    function drawBar(result, stack) {
        const progress = at('progress'), share = stack.maps.size / stack.layers.length, names = Object.keys(result.stacks);
        progress.hidden = result.complete;
        progress.setAttribute('aria-valuenow', String(Math.round(100 * share)));
        progress.firstChild.style.setProperty('width', `${100 * share}%`);
        at('heads-note').textContent = `${stack.layers.length} layers × ${stack.heads.length} heads`;
        at('stack-tool').hidden = names.length < 2;
        if (stackChoice.dataset.names !== names.join()) {
            stackChoice.dataset.names = names.join();
            stackChoice.replaceChildren(...names.map(name => el('option', { value: name }, stackTitles[name])));
        }
        stackChoice.value = stack.name;
    }

    return {
        show(result, state) {
            const chosen = app.chosen();
            order.value = state.order;
            if (!chosen)
                return;
            current = chosen.stack;
            build(current);
            arrange(current, state.order);
            draw(current, state);
            label(current, chosen);
            drawLegend(current);
            drawBar(result, current);
        },
        badgeOf(stack, layer, head) {
            const pattern = patternOf(stack, layer, head);
            return pattern && `${pattern.title} ${pattern.value.toFixed(2)}`;
        },
    };
}

/** @returns {Cell} */
function newCell(layer, head) {
    const canvas = el('canvas', { width: 1, height: 1, 'aria-hidden': 'true' }), badge = el('span.mark', { 'data-sign': '' });
    const node = el('div.head.waiting', { role: 'option', tabindex: -1, 'data-layer': layer, 'data-head': head }, canvas, badge, el('span.name', { 'data-name': '' }));
    return { layer, head, node, canvas, badge, drawn: null };
}

/** How many pixels of the screen a thumbnail is wide. @param {Map<string, Cell>} cells */
function pixelsOf(cells) {
    const [cell] = cells.values();
    return Math.max(coarsest, Math.min(finest, Math.round((cell?.canvas.clientWidth || 0) * devicePixelRatio)));
}

function hiddenKeys(stack, state) {
    return Uint8Array.from({ length: stack.T_k }, (_, j) => Number((state.hideFirst && j === 0) || (state.hideSpecial && Boolean(stack.keyTokens?.[j]?.special))));
}

function hiddenRows(stack, state) {
    return Uint8Array.from({ length: stack.T_q }, (_, i) => Number(state.hideSpecial && Boolean(stack.queryTokens?.[i]?.special)));
}

/** @param {HTMLCanvasElement} canvas @param {Float32Array} map [T_q, T_k] */
function paint(canvas, map, T_q, T_k, { kind, table, hidden, hiddenRows: gone, fine }) {
    const high = Math.min(T_q, fine), wide = Math.min(T_k, fine);
    const bins = binned(map, T_q, T_k, high, wide, hidden, gone), image = new ImageData(wide, high), pixels = new Uint32Array(image.data.buffer);
    const most = greatest(bins);
    for (let y = 0; y < high; y++) {
        const row = bins.subarray(y * wide, (y + 1) * wide), max = kind === 'row' ? greatest(row) : most;
        for (let x = 0; x < wide; x++)
            pixels[y * wide + x] = table[level(kind, row[x], max)];
    }
    canvas.width = wide;
    canvas.height = high;
    canvas.getContext('2d').putImageData(image, 0, 0);
}

/** The largest weight in each of high x wide bins. */
function binned(map, T_q, T_k, high, wide, hidden, gone) {
    const bins = new Float32Array(high * wide);
    for (let i = 0; i < T_q; i++) {
        const to = Math.floor(i * high / T_q) * wide;
        for (let j = 0; j < T_k && !gone[i]; j++) {
            const value = map[i * T_k + j], bin = to + Math.floor(j * wide / T_k);
            if (value > bins[bin] && !hidden[j])
                bins[bin] = value;
        }
    }
    return bins;
}

function greatest(values) {
    let most = 0;
    for (const value of values)
        if (value > most)
            most = value;
    return most;
}
