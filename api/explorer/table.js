// table.js - a map as a table, and in words: for those who do not see pictures, and for those who want the numbers.
//
// A long map is shown in windows of rows and columns. The numbers are the API's own: the shortest that read back as the same float32.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { isPooled } from './long.js';
import { float32Text, percent } from './numbers.js';
import { shownOf, visible } from './shown.js';

const ROWS = 24, COLS = 16;

/** @param {HTMLElement} host @param {object} app @returns {import('./views.js').View} */
export function create(host, app) {
    const words = el('ul.table-words'), bar = el('div.table-bar', { role: 'group', 'aria-label': 'Part of the table' }), note = el('p.heat-note'), place = el('div');
    const at = { row: 0, col: 0 };
    let shown = null, now = null, drawn = null, name = '';
    host.replaceChildren(words, bar, place, note);

    function turn(field, by, count, size) {
        at[field] = Math.max(0, Math.min(count - 1, at[field] + by));
        at[field] -= at[field] % size;
        draw();
    }

    function drawBar() {
        const focused = bar.contains(document.activeElement) ? document.activeElement.dataset.is : null;
        const pair = (field, count, size, what) => (count <= size ? [] : [
            el('button', { type: 'button', 'data-is': `${what}-`, disabled: at[field] === 0, on: { click: () => turn(field, -size, count, size) } }, `Earlier ${what}`),
            el('button', { type: 'button', 'data-is': `${what}+`, disabled: at[field] + size >= count, on: { click: () => turn(field, size, count, size) } }, `Later ${what}`),
            el('span.soft', {}, `${what} ${at[field]} to ${Math.min(count, at[field] + size) - 1} of ${count}`)]);
        bar.replaceChildren(...pair('row', shown.rows.length, ROWS, 'rows'), ...pair('col', shown.cols.length, COLS, 'columns'));
        bar.hidden = !bar.children.length;
        [...bar.children].find(child => child.dataset.is === focused)?.focus();
    }

    function draw() {
        drawBar();
        const rows = [...shown.rows.slice(at.row, at.row + ROWS)], cols = [...shown.cols.slice(at.col, at.col + COLS)], hadFocus = place.contains(document.activeElement);
        const head = el('tr', {}, el('th', { scope: 'col' }, 'query \\ key'), ...cols.map(j => heading('col', shown.keys[j], j)), el('th', { scope: 'col' }, 'shown'));
        const body = rows.map((i, r) => el('tr', {}, heading('row', shown.queries[i], i), ...cols.map(j => cell(i, j, at.row + r)),
            el('td', {}, percent(shown.rowTotals[at.row + r]))));
        const table = el('table.table-map', {}, el('caption.hidden', {}, `${name}: weights, queries in rows, keys in columns`), el('thead', {}, head), el('tbody', {}, ...body));
        const box = el('div.table-scroll', { tabindex: 0, role: 'region', 'aria-label': `Weights of ${name}` }, table);
        place.replaceChildren(box);
        if (hadFocus)
            box.focus();
    }

    function heading(scope, label, index) {
        return el(`th${label.special ? '.is-special' : ''}`, { scope }, el('bdi', {}, visible(label.text)), el('span.table-index', {}, ` ${index}`));
    }

    function cell(i, j, r) {
        const weight = shown.map[i * shown.stride + j], most = weight > 0 && weight === shown.rowMax[r], marked = now.cell?.q === i && now.cell?.k === j;
        return el(`td${most ? '.is-most' : ''}${marked ? '.is-marked' : ''}`, {}, float32Text(weight));
    }

    return {
        show(result, state) {
            const chosen = app.chosen(), pooled = isPooled(chosen);
            const key = JSON.stringify([chosen.map.byteOffset, state.hideFirst, state.hideSpecial, state.cell, chosen.layer, chosen.head]);
            if (drawn?.key === key && drawn.buffer === chosen.map.buffer)
                return;
            drawn = { key, buffer: chosen.map.buffer };
            now = state;
            name = `layer ${chosen.layer}, head ${chosen.head}`;
            shown = shownOf(chosen.map, chosen.T_q, chosen.T_k, chosen.queryTokens, chosen.keyTokens, { ...state, pooled });
            at.row = inside(at.row, shown.rows, state.cell?.q, ROWS);
            at.col = inside(at.col, shown.cols, state.cell?.k, COLS);
            words.replaceChildren(...(pooled ? [] : sentences(shown, chosen).map(parts => el('li', {}, ...parts))));
            note.textContent = shown.hidden;
            draw();
        },
        clear() {
            drawn = null;
            [words, bar, place].forEach(part => part.replaceChildren());
            note.textContent = '';
        },
    };
}

/** The window that holds a place, or the one that was there. */
function inside(now, chosen, wanted, size) {
    const i = wanted === undefined ? -1 : chosen.indexOf(wanted), at = i >= 0 ? i : Math.min(now, Math.max(0, chosen.length - 1));
    return at - at % size;
}

/** What a person would say who looks at the map. Parts of sentences, tokens in their own direction. */
function sentences(shown, { layer, head }) {
    const bdi = label => el('bdi', {}, `“${visible(label.text)}”`), all = shown.rowTotals.reduce((sum, x) => sum + x, 0);
    if (!shown.rows.length || !shown.cols.length || !(all > 0))
        return [['Nothing is shown of this head.']];
    const first = strongest(shown, 3).map(({ query, key, weight }, n) => [n ? '' : `Head ${head} of layer ${layer}: `, bdi(shown.queries[query]), ` (${query}) looks at `, bdi(shown.keys[key]),
        ` (${key}) with `, float32Text(weight), '.']);
    const top = shown.colTotals.indexOf(Math.max(...shown.colTotals)), key = shown.cols[top];
    const where = countOf(shown, (query, found) => found === query), before = countOf(shown, (query, found) => found === query - 1), after = countOf(shown, (query, found) => found === query + 1);
    const habit = [[where, 'at itself'], [before, 'at the token before'], [after, 'at the token after']].filter(([count]) => count > shown.rows.length / 3)
        .map(([count, what]) => [`${count} of ${shown.rows.length} tokens look most ${what}.`]);
    return [...first, ['Most is received by ', bdi(shown.keys[key]), ` (${key}): ${percent(shown.colTotals[top] / all)} of all that is shown.`], ...habit];
}

/** The largest weights of different rows, special tokens left aside unless there is nothing else. */
function strongest(shown, count) {
    const best = [];
    for (const query of shown.rows)
        if (!shown.queries[query].special) {
            const key = bestKey(shown, query, j => !shown.keys[j].special);
            if (key >= 0)
                best.push({ query, key, weight: shown.map[query * shown.stride + key] });
        }
    return best.sort((a, b) => b.weight - a.weight).slice(0, count);
}

function bestKey(shown, query, fits) {
    let best = -1;
    for (const j of shown.cols)
        if (fits(j) && (best < 0 || shown.map[query * shown.stride + j] > shown.map[query * shown.stride + best]))
            best = j;
    return best;
}

function countOf(shown, fits) {
    return [...shown.rows].filter(query => fits(query, bestKey(shown, query, () => true))).length;
}
