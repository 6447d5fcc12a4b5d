// help.js - what the page shows, view by view, and which keys do what: one dialog, opened by a button or by "?".
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';

const keys = [
    ['Tab', 'from one part of the page to the next'],
    ['arrow keys', 'in the heads: another head; in tabs, tokens, maps: one on'],
    ['Home, End', 'the first, the last'],
    ['+  −  0', 'in a map: closer, further away, all of it'],
    ['Enter', 'in the text: run (Shift and Enter: a new line)'],
    ['?', 'this help; Esc closes it'],
];

/** @param {HTMLDialogElement} dialog @param {HTMLButtonElement} button @param {import('./views.js').ViewKind[]} views */
export function createHelp(dialog, button, views) {
    const pairs = list => el('dl', {}, ...list.flatMap(([name, meaning]) => [el('dt', {}, name), el('dd', {}, meaning)]));
    dialog.append(
        el('h2', { id: 'help-title' }, 'What you see'),
        el('p', {}, 'A transformer reads a text in layers. In every layer several heads decide, for each token, which tokens to look at and how much; '
            + 'the weights of one token add up to 1. A map has a row for each token that looks and a column for each token looked at.'),
        pairs([['Heads', 'all maps of all layers, small; choose one to see it large'], ...views.map(view => [view.title, view.help])]),
        el('h3', {}, 'Keys'), pairs(keys),
        el('p', {}, 'Everything here is an answer of this server\'s API. Nothing is kept, and nothing leaves this browser for anywhere else. A link to what you see is in the address bar.'),
        el('form', { method: 'dialog' }, el('button.run', {}, 'Close')));
    button.addEventListener('click', () => dialog.showModal());
    addEventListener('keydown', event => {
        if (event.key === '?' && !event.ctrlKey && !event.metaKey && !event.target.closest?.('input, textarea, select, dialog'))
            dialog.showModal();
    });
}
