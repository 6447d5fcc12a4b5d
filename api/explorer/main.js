// main.js - starts everything: the state from the link, inputs and views behind their tabs, runs, errors at their fields, and what `app` offers to all of them.
// SPDX-License-Identifier: Apache-2.0
import * as api from './api.js';
import { at, eachFrame, el, markOnce, roving } from './dom.js';
import { createDisplay } from './display.js';
import { createGrid } from './grid.js';
import { createExport } from './export.js';
import { createHelp } from './help.js';
import { inputs } from './inputs.js';
import { createLong, isPooled } from './long.js';
import { cancel, mapOf, run } from './run.js';
import * as state from './state.js';
import { textOf } from './tokens.js';
import { views } from './views.js';

let result = null, known = { default: '', models: [] }, took = 0;
const answers = new WeakMap();

/** What inputs and views get; README.md describes it. */
const app = {
    state, api, run: start, ask, announce, error: showProblem, clearError: clearProblem, select,
    result: () => result,
    models: () => known,
    lastTook: () => took,
    dark: () => state.get().theme === 'dark' || (state.get().theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches),
    chosen: () => chosenOf(result, state.get()),
    view: () => viewTabs.current(),
    setResult: adopt,
    refresh: () => refresh(), cancel: stop,
};

// ---- runs -----------------------------------------------------------------------------------------------------------

/** Runs what the chosen input says. @returns {Promise<void>} */
async function start() {
    inputTabs.show(state.get().input.kind); // a link has just said another one, and nothing is drawn yet
    const input = inputTabs.current();
    const begin = performance.now();
    let body;
    clearProblem();
    try {
        body = input.request();
    } catch (failure) {
        showProblem(failure);
        return;
    }
    if (!body)
        return;
    announce('Computing …');
    try {
        const done = await run(body, adopt);
        if (!done)
            return;
        took = performance.now() - begin;
        say(done);
    } catch (failure) {
        showProblem(failure);
        announce('');
    }
}

/** Gives up what is running; what has come stays. */
function stop() {
    cancel();
    if (result)
        result.complete = true;
    announce('Stopped.');
    refresh();
}

/** A result, or more of it, from run.js or from an input that runs by itself. */
function adopt(part) {
    result = part;
    refresh();
}

function say(done) {
    const stack = done.stacks.cross ?? Object.values(done.stacks)[0], milliseconds = done.timings?.compute;
    const T_q = stack.edges?.query.at(-1) ?? stack.T_q, T_k = stack.edges?.key.at(-1) ?? stack.T_k;
    const what = done.model ? done.model.name : 'own numbers';
    announce(`${T_q === T_k ? T_q : `${T_q} × ${T_k}`} tokens, ${stack.layers.length} × ${stack.heads.length} maps from ${what}`
        + (milliseconds === undefined ? '.' : `, computed in ${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms.`));
}

/**
 * More of a result's own request: other outputs, some layers or heads. Answers are kept with the result, the last eight.
 * @param {import('./run.js').Result} of @param {object} fields of /v1/attention, such as {output: ['query'], layers: [5]}
 * @returns {Promise<{tensors: Object<string, api.Tensor>, analyses: Object<string, api.Tensor>, head: object}>}
 */
function ask(of, fields) {
    const kept = answers.get(of) ?? new Map(), key = JSON.stringify(fields);
    answers.set(of, kept);
    if (!kept.has(key)) {
        const answer = api.attention({ ...of.body, ...fields, encoding: 'base64' })
            .then(({ results: [head] }) => ({ tensors: api.tensorsOf(head), analyses: api.tensorsOf(head.analyses ?? {}), head }));
        answer.catch(() => kept.delete(key));
        kept.set(key, answer);
        if (kept.size > 8)
            kept.delete(kept.keys().next().value);
    }
    return kept.get(key);
}

// ---- what is chosen -------------------------------------------------------------------------------------------------

/** The head that the state names, brought within what there is. */
function chosenOf(of, now) {
    const stack = of && (of.stacks[now.stack] ?? of.stacks.cross ?? Object.values(of.stacks)[0]);
    if (!stack)
        return null;
    const layer = stack.layers.includes(now.layer) ? now.layer : stack.layers[0], head = stack.heads.includes(now.head) ? now.head : stack.heads[0];
    const { T_q, T_k, queryTokens, keyTokens, edges } = stack, whole = { map: mapOf(stack, layer, head), T_q, T_k, queryTokens, keyTokens, edges, part: null };
    const shown = { stack, layer, head, ...whole, ...long.of(of, stack, layer, head) };
    return { ...shown, pooled: isPooled(shown) };
}

/** @param {{stack?: string, layer?: number, head?: number}} choice */
function select(choice) {
    state.set(choice);
}

// ---- errors and progress --------------------------------------------------------------------------------------------

function announce(text) {
    at('status').textContent = text;
}

/** An error as the API says it, at the field it points to. @param {Error} failure @param {HTMLElement} [where] a field, when the caller knows better */
function showProblem(failure, where) {
    clearProblem();
    if (failure.status === 401) {
        at('key-form').hidden = false;
        at('key').focus();
    }
    const pointed = where ?? (failure.status === 401 ? at('key') : failure.pointer ? pointedBy(failure.pointer) : null);
    const about = [failure.code, failure.pointer, failure.limit === undefined ? '' : `limit ${failure.limit}, need ${failure.need}`, failure.requestId && `request ${failure.requestId}`];
    const line = el('p.problem', { id: 'problem-text' }, failure.detail ?? failure.message, ' ', el('code', {}, about.filter(Boolean).join(' · ')));
    at('problem').append(line);
    if (pointed) {
        pointed.setAttribute('aria-invalid', 'true');
        pointed.setAttribute('aria-describedby', 'problem-text');
    }
}

/** The field of a pointer, or of what it is a part of. */
function pointedBy(pointer = '') {
    for (let rest = pointer; ; rest = rest.slice(0, rest.lastIndexOf('/'))) {
        const found = inputTabs.current().fieldFor(rest);
        if (found || !rest)
            return found;
    }
}

function clearProblem() {
    at('problem').replaceChildren();
    for (const node of document.querySelectorAll('[aria-invalid]')) {
        node.removeAttribute('aria-invalid');
        node.removeAttribute('aria-describedby');
    }
}

// ---- tabs -----------------------------------------------------------------------------------------------------------

/**
 * Tabs and panels for a list of kinds; a panel is made when it is first chosen.
 * @returns {{show: (id: string) => void, current: () => object}}
 */
function tabs(list, panels, kinds, onPick) {
    const made = new Map();
    let now = kinds[0];
    const buttons = kinds.map(kind => el('button', {
        type: 'button', role: 'tab', id: `tab-${kind.id}`, 'aria-controls': `panel-${kind.id}`, on: { click: () => onPick(kind.id) },
    }, kind.title));
    panels.append(...kinds.map(kind => el('div.panel', { role: 'tabpanel', id: `panel-${kind.id}`, 'aria-labelledby': `tab-${kind.id}`, hidden: true })));
    list.append(...buttons);
    list.hidden = kinds.length < 2;
    roving(list, { items: () => buttons.filter(button => !button.hidden), onMove: button => button.click() });
    const current = () => {
        if (now && !made.has(now.id))
            made.set(now.id, now.create(at(`panel-${now.id}`), app));
        return made.get(now?.id);
    };
    const show = id => {
        const fits = kind => !kind.fits || Boolean(result && kind.fits(result));
        now = kinds.find(kind => kind.id === id && fits(kind)) ?? kinds[0];
        kinds.forEach((kind, i) => {
            buttons[i].hidden = !fits(kind);
            buttons[i].setAttribute('aria-selected', String(kind === now));
            buttons[i].tabIndex = kind === now ? 0 : -1;
            at(`panel-${kind.id}`).hidden = kind !== now;
        });
        return now;
    };
    return { show, current };
}

const inputTabs = tabs(at('input-tabs'), at('input-panels'), inputs, kind => {
    state.set({ input: { kind } });
    start();
});
const viewTabs = tabs(at('view-tabs'), at('view-panels'), views, view => state.set({ view }));

// ---- drawing --------------------------------------------------------------------------------------------------------

const grid = createGrid(at('grid'), app), display = createDisplay(at('display'), app), take = createExport(at('export'), app), long = createLong(at('long'), app);

const refresh = eachFrame(() => {
    long.show(result, state.get()); // may choose a part
    const now = state.get(), chosen = chosenOf(result, now);
    document.documentElement.dataset.theme = now.theme;
    at('theme').value = now.theme;
    inputTabs.show(now.input.kind);
    inputTabs.current().show(result, now);
    grid.show(result, now);
    display.show(result, now);
    take.show();
    const view = viewTabs.show(now.view);
    if (view) {
        const tooLong = view.short && chosen?.stack.edges;
        at('view-help').textContent = tooLong ? 'This input is too long for this view: it looks at single weights of whole rows.' : view.help;
        if (chosen?.map && !tooLong)
            viewTabs.current().show(result, now);
        else
            viewTabs.current().clear();
    }
    drawTitle(chosen, now);
    if (chosen)
        markOnce('attnd:first-picture');
    if (result?.complete)
        markOnce('attnd:all');
});

function drawTitle(chosen, now) {
    const own = views.find(view => view.id === now.view)?.heading;
    at('detail-title').textContent = own ?? (chosen ? `Layer ${chosen.layer}, head ${chosen.head}` : 'One head');
    const badge = !own && chosen && grid.badgeOf(chosen.stack, chosen.layer, chosen.head);
    at('detail-badge').hidden = !badge;
    at('detail-badge').textContent = badge ?? '';
    drawHint(now);
}

/** The sentence that the page opens with has a question in it. */
function drawHint(now) {
    const pieces = result?.head?.tokens, it = pieces?.findIndex((token, i) => textOf(token, i) === 'it') ?? -1;
    const fits = result?.model?.name === 'attnd-bert' && it > 0 && pieces.some((token, i) => textOf(token, i) === 'animal');
    const there = now.layer === 5 && now.head === 1 && now.cell?.q === it;
    at('hint').hidden = !fits || there;
    at('hint').replaceChildren('What does ', el('em', {}, 'it'), ' refer to?');
}

at('hint').addEventListener('click', () => {
    const index = word => result.head.tokens.findIndex((token, i) => textOf(token, i) === word);
    state.set({ layer: 5, head: 1, cell: { q: index('it'), k: index('animal') }, zoom: null });
    announce('Layer 5, head 1: the row of “it” is brightest at “animal”.');
});

// ---- the start ------------------------------------------------------------------------------------------------------

let ownFragment = '';
const writeLink = (() => {
    let timer = 0;
    return () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
            ownFragment = state.toFragment();
            history.replaceState(null, '', ownFragment || location.pathname + location.search);
        }, 300);
    };
})();

function readLink() {
    const wrong = state.fromFragment(location.hash);
    if (wrong)
        showProblem(new Error(wrong));
    return wrong;
}

async function begin() {
    const wrong = readLink();
    state.subscribe(() => {
        refresh();
        writeLink();
    });
    refresh();
    api.models().then(answer => {
        known = answer;
        refresh();
    }, () => {}); // what is wrong, the run says too
    await start();
    if (wrong)
        showProblem(new Error(wrong));
}

addEventListener('hashchange', () => {
    if (location.hash !== ownFragment && location.hash !== '#detail' && !readLink())
        start();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', refresh);
addEventListener('resize', refresh);
at('theme').addEventListener('change', event => state.set({ theme: event.target.value }));
at('input-form').addEventListener('submit', event => {
    event.preventDefault();
    start();
});
at('key-form').addEventListener('submit', event => {
    event.preventDefault();
    api.setKey(at('key').value.trim());
    at('key').value = '';
    at('key-form').hidden = true;
    withKey();
});
at('skip').addEventListener('click', event => {
    event.preventDefault();
    at('detail').focus();
});

function withKey() {
    api.models().then(answer => {
        known = answer;
        refresh();
    }, () => {});
    start();
}

createHelp(at('help'), at('help-button'), views);
begin();
