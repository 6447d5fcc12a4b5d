// compare.js - two inputs, two models or two heads beside each other, and what one has more than the other.
//
// A is what the page shows; B is A with whatever is changed here: an answer of its own where text or model differ, another map of the same answer where only the
// head does. All three maps stand on the same tokens (align.js), so that a place is the same place in each; zoom and the chosen cell go together.
// SPDX-License-Identifier: Apache-2.0
import { differences, distance, merged, spread } from './align.js';
import { el } from './dom.js';
import { number } from './figures.js';
import { Heatmap } from './heatmap.js';
import { collect, mapOf } from './run.js';
import { isolate, labelOf, visible } from './shown.js';
import { checks, define } from './state.js';

/**
 * One head of one result.
 * @typedef {{result: import('./run.js').Result, stack: import('./run.js').Stack, layer: number, head: number, map: Float32Array|null, T_k: number}} Side
 */

const { orNull, record, text, word } = checks;
const index = value => Number.isInteger(value) && value >= -1 && value < 1e6;
const opening = 'The animal didn\'t cross the street because it was too tired.';

/** What differs in B; null, '' and -1: as in A. */
define('compare', { text: null, model: '', layer: -1, head: -1 }, record({ text: orNull(text), model: word, layer: index, head: index }));

/** @param {HTMLElement} host @param {object} app @returns {import('./views.js').View} */
export function create(host, app) {
    const set = patch => app.state.set({ compare: patch });
    const typed = () => set({ text: words.value === textOfA() ? null : words.value });
    const words = el('input', { type: 'text', id: 'c-text', dir: 'auto', autocomplete: 'off', spellcheck: 'false', on: { change: typed } });
    const model = select('c-model', value => set({ model: value })), layer = select('c-layer', value => set({ layer: Number(value) }));
    const head = select('c-head', value => set({ head: Number(value) }));
    const wide = el('button.quiet', { type: 'button', on: { click: () => set({ text: opening.replace('tired', 'wide') }) } }, '“tired” or “wide”?');
    const note = el('p.soft.note', { role: 'status' }), said = el('p.compare-said', { role: 'status' }), ranks = el('div.compare-ranks');
    const panels = ['A', 'B', 'A − B'].map(title => ({ title: el('h3', {}, title), host: el('div') }));
    const maps = panels.map((panel, i) => new Heatmap(panel.host, { onCell: cell => pick(cell), onZoom: zoom => follow(i, zoom) }));
    const three = el('div.compare-maps', {}, ...panels.map(panel => el('section', {}, panel.title, panel.host)), ranks);
    const row = (name, title, field) => el('span', {}, el('label', { for: name }, title), ' ', field);
    host.append(
        el('div.compare-text', {}, el('label', { for: 'c-text' }, 'B reads'), words),
        el('div.row.note', {}, row('c-model', 'model', model), row('c-layer', 'layer', layer), row('c-head', 'head', head), wide),
        note, said, three);
    /** What is on the screen: the two sides, their tokens laid over each other, the three maps. */
    let now = null, other = { key: '', result: null, request: null }, cell = null, zoomed = 'null', drawn = '', measured = null;

    const textOfA = () => app.result()?.body.text ?? '';

    // ---- B's answer

    function bodyOfB(result, { compare }) {
        return { ...result.body, ...(compare.text === null ? {} : { text: compare.text }), ...(compare.model ? { model: compare.model } : {}) };
    }

    /** B's result, or null while it is on its way. */
    function resultOfB(result, state) {
        const body = bodyOfB(result, state), key = JSON.stringify(body);
        if (key === JSON.stringify(result.body)) {
            other.request?.abort();
            other = { key: '', result: null, request: null };
            return result;
        }
        if (other.key !== key)
            fetchB(body, key);
        return other.result;
    }

    async function fetchB(body, key) {
        other.request?.abort();
        const mine = other = { key, result: null, request: new AbortController() };
        app.clearError();
        try {
            mine.result = await collect(body, mine.request.signal);
            app.refresh();
        } catch (failure) {
            if (failure.name !== 'AbortError')
                app.error(failure, failure.pointer?.startsWith('/model') ? model : words);
        }
    }

    // ---- drawing

    /** The side of a comparison: one head of one result. */
    function side(result, stack, { layer: l, head: h }) {
        return { result, stack, layer: l, head: h, map: mapOf(stack, l, h), T_k: stack.T_k };
    }

    function sideOfB(result, a, { compare }) {
        const stack = result.stacks[a.stack.name] ?? Object.values(result.stacks)[0], within = (list, wanted, same) => [wanted, same].find(n => list.includes(n)) ?? list[0];
        return side(result, stack, { layer: within(stack.layers, compare.layer, a.layer), head: within(stack.heads, compare.head, a.head) });
    }

    function fillForm(state, a, b) {
        const value = state.compare.text ?? textOfA();
        words.parentElement.hidden = wide.hidden = textOfA() === '';
        if (document.activeElement !== words && words.value !== value)
            words.value = value;
        wide.hidden ||= textOfA() !== opening || value !== opening;
        model.parentElement.hidden = !a.result.model;
        fill(model, [['', `same (${a.result.model?.name})`], ...app.models().models.map(({ name }) => [name, name])], state.compare.model);
        fill(layer, [[-1, `same (${a.layer})`], ...(b?.stack ?? a.stack).layers.map(n => [n, String(n)])], state.compare.layer);
        fill(head, [[-1, `same (${a.head})`], ...(b?.stack ?? a.stack).heads.map(n => [n, String(n)])], state.compare.head);
    }

    const titleOf = (letter, { result, layer: l, head: h }) => `${letter}: ${result.model?.name ?? 'own numbers'}, layer ${l}, head ${h}`;

    function laidOver(a, b) {
        const over = (mine, theirs) => (a.stack.edges || b.stack.edges ? mine.map((token, i) => ({ a: i, b: i })) : merged(mine, theirs));
        const numbers = (tokens, T) => tokens ?? Array.from({ length: T }, (_, i) => String(i));
        const rows = over(numbers(a.stack.queryTokens, a.stack.T_q), numbers(b.stack.queryTokens, b.stack.T_q));
        const columns = over(numbers(a.stack.keyTokens, a.stack.T_k), numbers(b.stack.keyTokens, b.stack.T_k));
        const label = (from, to) => place => (place.a >= 0 ? from?.[place.a] ?? String(place.a) : to?.[place.b] ?? String(place.b));
        return { a, b, rows, columns, queries: rows.map(label(a.stack.queryTokens, b.stack.queryTokens)), keys: columns.map(label(a.stack.keyTokens, b.stack.keyTokens)) };
    }

    function draw(state) {
        const { a, b, rows, columns, queries, keys } = now, of = (s, letter) => spread(s, letter, rows, columns);
        const ofA = of(a, 'a'), ofB = of(b, 'b');
        now.values = [ofA, ofB, differences(ofA, ofB)];
        const both = rows.filter(isInBoth).length, all = rows.every(isInBoth) && columns.every(isInBoth);
        note.textContent = all ? '' : `${both} of ${rows.length} tokens stand in both; where one has none, the difference is left empty.`;
        panels[0].title.textContent = titleOf('A', a);
        panels[1].title.textContent = titleOf('B', b);
        maps.forEach((map, i) => map.show(now.values[i], rows.length, columns.length, queries, keys, {
            colours: state.colours, scale: i === 2 ? 'linear' : state.scale, hideFirst: state.hideFirst, hideSpecial: state.hideSpecial, difference: i === 2,
            name: panels[i].title.textContent, pinned: cell && { query: cell.row, key: cell.column },
        }));
        say();
    }

    function pick({ query, key }) {
        cell = { row: query, column: key };
        drawn = '';
        app.refresh();
    }

    function say() {
        const { rows, columns, queries, keys, values } = now;
        if (!cell || cell.row >= rows.length || cell.column >= columns.length) {
            said.textContent = 'Choose a cell to read its three numbers.';
            return;
        }
        const name = (list, i) => isolate(visible(labelOf(list[i], i).text)), value = map => map[cell.row * columns.length + cell.column];
        const shown = map => (Number.isNaN(value(map)) ? 'nothing' : number(value(map)));
        said.replaceChildren(`${name(queries, cell.row)} → ${name(keys, cell.column)}: A `, shown(values[0]), ', B ', shown(values[1]), ', A − B ', shown(values[2]));
    }

    function follow(from, zoom) {
        const key = JSON.stringify(zoom);
        if (key === zoomed)
            return;
        zoomed = key;
        maps.forEach((map, i) => i !== from && map.setZoom(zoom));
    }

    // ---- where they differ

    /** One layer more of the distances between all heads; long lists are made over several frames. */
    function measure(a, b) {
        const both = a.result !== b.result && a.stack.name === b.stack.name;
        const heads = a.stack.heads.filter(h => b.stack.heads.includes(h)), layers = a.stack.layers.filter(l => b.stack.layers.includes(l));
        if (!measured || measured.a !== a.result || measured.b !== b.result || measured.name !== a.stack.name)
            measured = { a: a.result, b: b.result, name: a.stack.name, layers: both ? layers : [], heads, found: [] };
        const next = measured.layers[measured.found.length];
        if (next !== undefined) {
            measured.found.push(heads.map(h => distanceOf(side(a.result, a.stack, { layer: next, head: h }), side(b.result, b.stack, { layer: next, head: h }))));
            app.refresh();
        } else
            drawRanks(measured, a);
    }

    function distanceOf(a, b) {
        return distance(differences(spread(a, 'a', now.rows, now.columns), spread(b, 'b', now.rows, now.columns)), now.columns.length);
    }

    function drawRanks({ layers, heads, found }, a) {
        const key = JSON.stringify([layers, heads, found, a.layer, a.head]);
        if (ranks.dataset.key === key)
            return;
        ranks.dataset.key = key;
        const most = Math.max(...found.flat());
        const cellOf = (l, h, value) => {
            const chosen = l === a.layer && h === a.head;
            const button = el('button', { type: 'button', title: `Layer ${l}, head ${h}: ${value.toFixed(4)}`, 'aria-pressed': String(chosen), 'data-layer': l, 'data-head': h,
                on: { click: () => app.state.set({ layer: l, head: h, compare: { layer: -1, head: -1 } }) } }, value.toFixed(2));
            button.style.setProperty('--share', String(most > 0 ? value / most : 0));
            return el('td', {}, button);
        };
        ranks.replaceChildren(...(layers.length ? [
            el('h3', {}, 'Where they differ'),
            el('p.soft.note', {}, 'Half the sum of absolute differences of a row, the mean over the rows that both have: 0 is the same, 1 nothing in common.'),
            el('div.compare-scroll', { tabindex: 0, role: 'region', 'aria-label': 'Where they differ' }, el('table', {},
                el('thead', {}, el('tr', {}, el('td'), ...heads.map(h => el('th', { scope: 'col' }, String(h))))),
                el('tbody', {}, ...layers.map((l, i) => el('tr', {}, el('th', { scope: 'row' }, String(l)), ...heads.map((h, j) => cellOf(l, h, found[i][j])))))))] : []));
    }

    function hide(why) {
        note.textContent = why;
        three.hidden = said.hidden = ranks.hidden = true;
        now = null;
        drawn = '';
    }

    return {
        show(result, state) {
            const chosen = app.chosen(), a = side(result, chosen.stack, chosen);
            fillForm(state, a, null);
            if (!result.complete || !a.map)
                return;
            const answer = resultOfB(result, state);
            if (!answer)
                return hide('B is on its way …');
            const b = sideOfB(answer, a, state);
            if (!b.map)
                return hide('B has no such map.');
            if ((a.stack.edges || b.stack.edges) && (a.stack.T_q !== b.stack.T_q || a.stack.T_k !== b.stack.T_k))
                return hide('One of the two is shown in cells of several tokens and the other is not: their maps cannot be laid over each other.');
            fillForm(state, a, b);
            three.hidden = said.hidden = ranks.hidden = false;
            const look = JSON.stringify([a.layer, a.head, b.layer, b.head, a.stack.name, state.scale, state.colours, state.hideFirst, state.hideSpecial, app.dark(), cell]);
            if (drawn !== look || now?.a.result !== a.result || now?.b.result !== b.result) {
                if (now?.a.stack !== a.stack || now?.b.stack !== b.stack)
                    cell = cellOfState(state, now = laidOver(a, b));
                now = { ...now, a, b };
                drawn = look;
                draw(state);
            }
            measure(a, b);
        },
        clear() {
            hide('');
        },
    };
}

/** The pair of tokens that all views mark, where it is here. */
function cellOfState({ cell }, { rows, columns }) {
    const row = cell ? rows.findIndex(place => place.a === cell.q) : -1, column = cell ? columns.findIndex(place => place.a === cell.k) : -1;
    return row >= 0 && column >= 0 ? { row, column } : null;
}

const isInBoth = ({ a, b }) => a >= 0 && b >= 0;

function select(id, onChoose) {
    const node = el('select', { id, on: { change: () => onChoose(node.value) } });
    return node;
}

function fill(node, options, chosen) {
    if (node.dataset.names !== options.join()) {
        node.dataset.names = options.join();
        node.replaceChildren(...options.map(([value, title]) => el('option', { value }, title)));
    }
    node.value = String(chosen);
}
