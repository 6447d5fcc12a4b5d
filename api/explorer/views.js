// views.js - which views there are, in the order of their tabs. README.md says what a view is.
// SPDX-License-Identifier: Apache-2.0
import * as compare from './compare.js';
import * as context from './context.js';
import * as heatmap from './heatmap_view.js';
import * as lines from './lines.js';
import * as neuron from './neuron.js';
import * as steps from './steps.js';
import * as table from './table.js';
import * as written from './written.js';

/** @typedef {{show: (result: import('./run.js').Result, state: object) => void, clear: () => void}} View */
/** @typedef {{id: string, title: string, help: string, create: (host: HTMLElement, app: object) => View, short?: boolean, heading?: string, fits?: (result: object) => boolean}} ViewKind
 *   `help`: one sentence; `short`: not for inputs that are shown in bins; `heading`: instead of the head's name; `fits`: whether there is a tab for it at all */

/** Did the model write, or read what a translator is said to have written? */
function hasWriting({ stacks }) {
    return Object.values(stacks).some(stack => stack.name === 'cross' || stack.queryTokens?.some(token => token.generated));
}

/** @type {ViewKind[]} */
export const views = [
    { id: 'heatmap', title: 'Heat map', help: 'Each row is a token that looks, each column a token that is looked at; a row holds one whole, shared out.', create: heatmap.create },
    { id: 'lines', title: 'Lines', help: 'Who looks at whom, all heads of the layer at once: the stronger a line, the larger the weight.', create: lines.create },
    { id: 'why', short: true, title: 'Why', help: 'Why this weight: one query times one key, number by number, up to what the query takes home.', create: neuron.create },
    { id: 'context', short: true, title: 'Context', help: 'What tokens take home: which of them took home the same, and how much each head gives.', create: context.create },
    { id: 'steps', short: true, title: 'Steps', help: 'Own numbers, step by step: scores, scaling, masking, softmax, weights times values, output.', create: steps.create },
    { id: 'compare', title: 'Compare', help: 'Two inputs, two models or two heads beside each other, and what one has more than the other.', create: compare.create },
    { id: 'written', title: 'Written', heading: 'What was written', fits: hasWriting, help: 'What the model wrote, and where it looked when it chose each token.', create: written.create },
    { id: 'table', title: 'Table', help: 'The same weights in words and as a table, every digit.', create: table.create },
];
