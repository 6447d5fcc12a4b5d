// written.js - what a model has written, token by token, and where it looked when it chose each.
//
// A model standing on one token chooses the next: the row of token i is what it looked at when it chose token i + 1. So a token that was written is shown with the
// row before its own. A translator's last decoder layer, the mean of its heads, says which word of the source it was busy with; this is the alignment.
// SPDX-License-Identifier: Apache-2.0
import { el, roving } from './dom.js';
import { Heatmap } from './heatmap.js';
import { shortWeight } from './numbers.js';
import { mapOf } from './run.js';
import { isolate, labelOf, visible } from './shown.js';
import { define } from './state.js';

const index = value => Number.isInteger(value) && value >= -1 && value < 1e6;

/** -1: the last layer, the mean of heads, the newest token. */
define('written', { layer: -1, head: -1, at: -1 }, value => typeof value === 'object' && value !== null && !Array.isArray(value)
    && Object.keys(value).length === 3 && [value.layer, value.head, value.at].every(index));

/**
 * The tokens that were chosen, and where each was looked from.
 * @param {import('./run.js').Result} result
 * @returns {{stack: import('./run.js').Stack, targets: number[]}|null} numbers of the tokens, each over 0; null where nothing is written
 */
export function writtenIn({ stacks }) {
    const stack = stacks.cross ?? stacks.self, tokens = stack?.allQueries ? stack.queryTokens : null;
    if (!tokens || stack.edges)
        return null;
    const all = tokens.map((token, i) => i), generated = all.filter(i => i > 0 && tokens[i].generated);
    const targets = generated.length || stack.name === 'self' ? generated : all.slice(1); // a translation that was given is read like one that was made
    return targets.length ? { stack, targets } : null;
}

/**
 * One row for each target: the weights of the row that chose it.
 * @param {import('./run.js').Stack} stack @param {number[]} targets @param {number} layer @param {number} head -1: the mean of all
 * @returns {Float32Array} [targets, T_k]
 */
export function alignment(stack, targets, layer, head) {
    const heads = head < 0 ? stack.heads : [head], maps = heads.map(h => mapOf(stack, layer, h)), { T_k } = stack, out = new Float32Array(targets.length * T_k);
    targets.forEach((target, r) => {
        for (let k = 0; k < T_k; k++)
            out[r * T_k + k] = maps.reduce((sum, map) => sum + map[(target - 1) * T_k + k], 0) / maps.length;
    });
    return out;
}

/** @param {HTMLElement} host @param {object} app @returns {import('./views.js').View} */
export function create(host, app) {
    const layers = el('select', { id: 'w-layer', on: { change: () => app.state.set({ written: { layer: Number(layers.value) } }) } });
    const heads = el('select', { id: 'w-head', on: { change: () => app.state.set({ written: { head: Number(heads.value) } }) } });
    const nothing = el('p.soft', {}, 'Nothing was written here. Choose “Generate” above, or give a translator a second text.');
    const source = el('p.prose', { dir: 'auto' }), target = el('p.prose', { dir: 'auto' }), said = el('p.written-said', { role: 'status' }), map = el('div');
    const sourceTitle = el('h3', {}, 'Read'), targetTitle = el('h3', {}, 'Written');
    const body = el('div', {},
        el('div.row.note', {}, el('span', {}, el('label', { for: 'w-layer' }, 'layer'), ' ', layers), el('span', {}, el('label', { for: 'w-head' }, 'head'), ' ', heads)),
        sourceTitle, source, targetTitle, target, said, el('h3', {}, 'Alignment'),
        el('p.soft.note', {}, 'A row is a token that was written; its columns are what the model looked at when it chose it.'), map);
    const heatmap = new Heatmap(map, { onCell: ({ query }) => app.state.set({ written: { at: now.targets[query] } }) });
    let now = null, drawn = '';
    host.append(nothing, body);
    roving(target, { items: () => [...target.querySelectorAll('.made')], onMove: node => pick(node) });
    for (const type of ['click', 'pointerover', 'focusin'])
        target.addEventListener(type, event => pick(event.target.closest('.made')));

    function pick(node) {
        if (node)
            app.state.set({ written: { at: Number(node.dataset.token) } });
    }

    /** What the state asks for, within what there is. */
    function choice(stack, targets, { layer, head, at }) {
        const last = stack.layers.findLast(number => stack.maps.has(number));
        return { layer: stack.maps.has(layer) ? layer : last, head: stack.heads.includes(head) ? head : -1, at: targets.includes(at) ? at : targets.at(-1) };
    }

    function drawWords({ stack, targets }, row, at, { hideFirst }) {
        const words = (tokens, from) => tokens.map((token, i) => word(token, from + i, targets.includes(from + i) && tokens === stack.queryTokens));
        const cross = stack.name === 'cross';
        sourceTitle.hidden = source.hidden = !cross;
        source.replaceChildren(...(cross ? words(stack.keyTokens, 0) : []));
        const focused = target.contains(document.activeElement) ? document.activeElement.dataset.token : null;
        target.replaceChildren(...words(stack.queryTokens, 0));
        const most = row.reduce((max, weight, k) => (hideFirst && k === 0 ? max : Math.max(max, weight)), 0);
        const share = k => (hideFirst && k === 0 ? 0 : Math.min(1, (row[k] ?? 0) / most || 0));
        [...(cross ? source : target).children].forEach((node, k) => node.style.setProperty('--share', String(share(k))));
        for (const node of target.querySelectorAll('.made')) {
            node.tabIndex = Number(node.dataset.token) === at ? 0 : -1;
            node.setAttribute('aria-pressed', String(Number(node.dataset.token) === at));
            if (node.dataset.token === focused)
                node.focus();
        }
    }

    function say({ stack }, row, at, { hideFirst }) {
        const name = (tokens, i) => isolate(visible(labelOf(tokens[i], i).text));
        const order = [...row.keys()].filter(k => row[k] > 0 && !(hideFirst && k === 0)).sort((a, b) => row[b] - row[a]).slice(0, 3);
        said.textContent = `${name(stack.queryTokens, at)} was chosen while looking at ${order.map(k => `${name(stack.keyTokens, k)} (${shortWeight(row[k])})`).join(', ')}.`
            + (hideFirst ? ' The first token is left out on the screen.' : '');
    }

    return {
        show(result, state) {
            const found = writtenIn(result);
            nothing.hidden = Boolean(found);
            body.hidden = !found;
            if (!found)
                return;
            const { stack, targets } = found, { layer, head, at } = choice(stack, targets, state.written);
            const look = JSON.stringify([layer, head, at, targets.length, stack.T_k, state.scale, state.colours, state.hideFirst, state.hideSpecial, app.dark(), innerWidth]);
            fill(layers, [[-1, `last (${stack.layers.at(-1)})`], ...stack.layers.map(n => [n, String(n)])], state.written.layer);
            fill(heads, [[-1, `mean of ${stack.heads.length}`], ...stack.heads.map(n => [n, String(n)])], state.written.head);
            if (now?.result === result && drawn === look)
                return;
            const weights = alignment(stack, targets, layer, head), r = targets.indexOf(at), row = weights.subarray(r * stack.T_k, (r + 1) * stack.T_k);
            now = { result, targets };
            drawn = look;
            drawWords(found, row, at, state);
            say(found, row, at, state);
            heatmap.show(weights, targets.length, stack.T_k, targets.map(i => stack.queryTokens[i]), stack.keyTokens, {
                colours: state.colours, scale: state.scale, hideFirst: state.hideFirst, hideSpecial: state.hideSpecial,
                name: `alignment, layer ${layer}, ${head < 0 ? 'mean of heads' : `head ${head}`}`,
            });
        },
        clear() {
            nothing.hidden = false;
            body.hidden = true;
        },
    };
}

/** A token as running text; one that was written can be pointed at. */
function word(token, i, made) {
    const { text, special } = labelOf(token, i), content = special ? visible(text) : text;
    const name = `bdi.word${made ? '.made' : ''}${special ? '.special' : ''}`;
    return el(name, made ? { role: 'button', 'data-token': i, 'aria-pressed': 'false', tabindex: -1 } : { 'data-token': i }, content);
}

function fill(select, options, chosen) {
    if (select.dataset.names !== options.join()) {
        select.dataset.names = options.join();
        select.replaceChildren(...options.map(([value, title]) => el('option', { value }, title)));
    }
    select.value = String(chosen);
}
