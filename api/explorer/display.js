// display.js - how maps are drawn, the same for all views: scale, colours, and which tokens are left out on the screen.
// SPDX-License-Identifier: Apache-2.0
import { colourNames, scaleNames } from './colour.js';
import { el } from './dom.js';

/** @param {HTMLElement} host @param {object} app */
export function createDisplay(host, app) {
    const selects = [['scale', scaleNames, { row: 'by row' }], ['colours', colourNames, {}]].map(([name, values, titles]) => {
        const select = el('select', { id: `d-${name}`, on: { change: () => app.state.set({ [name]: select.value }) } }, ...values.map(value => el('option', { value }, titles[value] ?? value)));
        return { name, select, node: el('span.tool', {}, el('label', { for: `d-${name}` }, name), ' ', select) };
    });
    const boxes = [['hideFirst', 'first', 'Hide the first token'], ['hideSpecial', 'special', 'Hide special tokens']].map(([name, title, label]) => {
        const box = el('input', { type: 'checkbox', id: `d-${name}`, 'aria-label': label, on: { change: () => app.state.set({ [name]: box.checked }) } });
        return { name, box, node: el('label.check', { for: `d-${name}`, title: label }, box, ` ${title} `) };
    });
    host.append(...selects.map(({ node }) => node), el('span.tool', {}, el('span.soft', {}, 'hide '), ...boxes.map(({ node }) => node)));
    return {
        show(result, state) {
            selects.forEach(({ name, select }) => (select.value = state[name]));
            boxes.forEach(({ name, box }) => (box.checked = state[name]));
        },
    };
}
