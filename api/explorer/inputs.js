// inputs.js - which kinds of input there are, in the order of their tabs. README.md says what an input is.
// SPDX-License-Identifier: Apache-2.0
import * as generate from './generate.js';
import * as own from './own.js';
import * as text from './text.js';

/** What to run, and where its fields are. @typedef {{request: () => object, fieldFor: (pointer: string) => HTMLElement|null, show: (result: object|null, state: object) => void}} Input */
/** @typedef {{id: string, title: string, create: (host: HTMLElement, app: object) => Input}} InputKind */

/** @type {InputKind[]} */
export const inputs = [
    { id: 'text', title: 'Text', create: text.create },
    { id: 'generate', title: 'Generate', create: generate.create },
    { id: 'own', title: 'Own numbers', create: own.create },
];
