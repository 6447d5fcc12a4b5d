// figures.js - what the views of numbers are built of: tables of numbers with a window, strips of bars with a cursor, choices.
//
// A strip has one row of bars for each vector, and one slider under all of them: the slider is the cursor for the mouse, the keyboard and a screen reader
// alike. SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { float32Text } from './numbers.js';
import { isolate, labelOf, visible } from './shown.js';

const svgSpace = 'http://www.w3.org/2000/svg';

function svg(tag, attributes) {
    const node = document.createElementNS(svgSpace, tag);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, String(value)));
    return node;
}

/** A number in little room: exact where it is short, else four digits that matter. The exact one belongs in a title. @param {number} value */
export function brief(value) {
    if (value === -Infinity)
        return '−∞';
    const exact = float32Text(Math.fround(value));
    if (exact.length <= 6)
        return exact.replace('-', '−').replace(/^−?0\.0$/, '0');
    const size = Math.abs(value);
    const text = size >= 1e-4 && size < 1e4 ? value.toPrecision(4) : size >= 1e4 && size < 1e7 ? value.toFixed(0) : value.toExponential(2);
    return text.replaceAll('-', '−');
}

/** A number and, where it is cut short, the whole of it under the mouse. @param {number} value @param {string} [tag] */
export function number(value, tag = 'span') {
    const exact = value === -Infinity ? 'minus infinity' : float32Text(Math.fround(value));
    return el(`${tag}.number`, { title: exact, 'data-exact': exact }, brief(value));
}

/** The name of a token as a person reads it, whatever its script. @param {object|string} token as the API gives it */
export function nameOf(token, at) {
    return visible(labelOf(token ?? String(at), at).text);
}

/** A name inside a sentence: in quotation marks, its direction its own. @param {string} name */
export function quoted(name) {
    return `“${isolate(name)}”`;
}

/** A token's name as an element, its direction its own. */
export function tokenName(token, at) {
    return el('bdi.token-name', {}, nameOf(token, at));
}

/** Which `limit` of `count` to show, with `at` among them. @returns {[number, number]} from, to */
export function windowOf(count, limit, at = 0) {
    const from = Math.max(0, Math.min(at - (limit >> 1), count - limit));
    return [from, Math.min(count, from + limit)];
}

/**
 * A table of numbers: the rows and columns round the marked cell, when there are too many to show.
 * @param {{caption: string, rows: (string|Node)[], columns: (string|Node)[], at: (row: number, column: number) => number, mark?: {row?: number, column?:
 * number},
 *          share?: (value: number) => number, limit?: number, onPick?: (row: number, column: number) => void}} given
 *        share: how much of the ink a cell gets, 0 to 1; a cell that is picked says where it stands
 */
export function numberTable({ caption, rows, columns, at, mark = {}, share, limit = 16, onPick }) {
    const [top, bottom] = windowOf(rows.length, limit, mark.row), [left, right] = windowOf(columns.length, limit, mark.column);
    const indices = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);
    const cell = (row, column) => {
        const td = number(at(row, column), 'td');
        if (share)
            td.style.setProperty('--share', String(Math.max(0, Math.min(1, share(at(row, column))))));
        td.classList.toggle('marked', row === mark.row && (mark.column === undefined || column === mark.column));
        if (onPick)
            td.addEventListener('click', () => onPick(row, column));
        return td;
    };
    const copy = name => (name instanceof Node ? name.cloneNode(true) : name);
    const head = el('tr', {}, el('td'), ...indices(left, right).map(column => el('th', { scope: 'col' }, copy(columns[column]))));
    const body = indices(top, bottom).map(row => el('tr', {}, el('th', { scope: 'row' }, copy(rows[row])),
        ...indices(left, right).map(column => cell(row, column))));
    const cut = [[top, bottom, rows.length, 'rows'], [left, right, columns.length, 'columns']].filter(([from, to, count]) => to - from < count);
    const said = cut.map(([from, to, count, what]) => `${what} ${from} to ${to - 1} of ${count}`).join(', ');
    const table = el(`table.numbers${share ? '.shaded' : ''}${onPick ? '.pickable' : ''}`, {},
        el('caption', {}, caption, said ? el('span.note', {}, ` ${said}`) : null), el('thead', {}, head), el('tbody', {}, ...body));
    return el('div.scroller', { tabindex: 0, role: 'region', 'aria-label': caption }, table);
}

/** Bars from a middle line: one path upwards, one downwards, in a box as wide as there are numbers. */
function bars(data, order, bound) {
    const path = up => order.map((from, i) => {
        const height = bound > 0 ? data[from] / bound : 0;
        return height !== 0 && height > 0 === up ? `M${i + 0.1} 1h.8v${-height}h-.8z` : '';
    }).join('');
    const box = svg('svg', { viewBox: `0 0 ${order.length} 2`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    box.append(svg('path', { class: 'up', d: path(true) }), svg('path', { class: 'down', d: path(false) }),
        svg('path', { class: 'zero', d: `M0 1H${order.length}`, 'vector-effect': 'non-scaling-stroke' }));
    return box;
}

const largest = data => data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/**
 * Vectors of one length as rows of bars, each with its own height unless they share one, and a cursor that says their numbers at one place.
 * @param {{label: string, rows: {name: string, data: Float32Array, together?: string}[], order?: number[], say: (at: number) => string, at?: number,
 *          onMove?: (at: number) => void}} given
 *        together: rows with the same word have the same height; order: the places from left to right; say: the sentence for a place
 */
export function strip({ label, rows, order, say, at, onMove }) {
    const places = order ?? Array.from(rows[0].data, (_, i) => i);
    const boundOf = row => Math.max(...rows.filter(other => other === row || (row.together
        && other.together === row.together)).map(other => largest(other.data)));
    const said = el('output.said', { 'aria-hidden': 'true' });
    const slider = el('input', { type: 'range', min: 0, max: places.length - 1, step: 1, value: Math.max(0, places.indexOf(at ?? places[0])),
        'aria-label': label, 'data-focus': `strip ${label}` });
    const figure = el('div.strip', {},
        ...rows.map(row => el('div.strip-row', {}, el('span.strip-name', {}, row.name),
            el('div.strip-bars', {}, bars(row.data, places, boundOf(row)), el('i')))),
        el('div.strip-row', {}, el('span.strip-name', {}, ''), slider), said);
    const move = place => {
        slider.value = String(place);
        figure.style.setProperty('--at', String((place + 0.5) / places.length));
        said.textContent = say(places[place]);
        slider.setAttribute('aria-valuetext', said.textContent);
        onMove?.(places[place]);
    };
    slider.addEventListener('input', () => move(Number(slider.value)));
    figure.addEventListener('pointermove', event => {
        const box = event.target.closest?.('.strip-bars')?.getBoundingClientRect();
        if (box)
            move(Math.max(0, Math.min(places.length - 1, Math.floor((event.clientX - box.left) / box.width * places.length))));
    });
    move(Number(slider.value));
    return figure;
}

/** A choice among names. @param {string} label @param {(string|number)[]} names @param {number} chosen @param {(at: number) => void} onChoose */
export function chooser(label, names, chosen, onChoose) {
    const select = el('select', { 'data-focus': `choose ${label}`, on: { change: () => onChoose(select.selectedIndex) } },
        ...names.map((name, i) => el('option', { value: i, selected: i === chosen }, name)));
    return el('label.chooser', {}, el('span', {}, label), select);
}

/** New children for a host; what was open, scrolled or in focus (by its data-focus) stays so. @param {HTMLElement} host @param {...(Node|null)} children */
export function redraw(host, ...children) {
    const focus = host.contains(document.activeElement) ? document.activeElement.closest('[data-focus]')?.dataset.focus : null;
    const open = [...host.querySelectorAll('details[open] > summary')].map(summary => summary.textContent);
    host.replaceChildren(...children.filter(Boolean));
    for (const summary of host.querySelectorAll('details > summary'))
        summary.parentElement.open ||= open.includes(summary.textContent);
    if (focus)
        [...host.querySelectorAll('[data-focus]')].find(node => node.dataset.focus === focus)?.focus({ preventScroll: true });
}
