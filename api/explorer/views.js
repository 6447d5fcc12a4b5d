// views.js - which views there are, in the order of their tabs. README.md says what a view is.
// SPDX-License-Identifier: Apache-2.0

/** @typedef {{show: (result: import('./run.js').Result, state: object) => void, clear: () => void}} View */
/** @typedef {{id: string, title: string, help: string, create: (host: HTMLElement, app: object) => View}} ViewKind  `help`: one sentence */

/** @type {ViewKind[]} */
export const views = [
];
