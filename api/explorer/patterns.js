// patterns.js - what a head is known for: the analyses that come with every answer, read as names a person can say.
// SPDX-License-Identifier: Apache-2.0

/** A head has a pattern when this share of its attention follows it. */
const enough = 0.5;

/**
 * Patterns by their analysis, what is rarer first: of two that fit about as well, a person learns more from the rarer one.
 * @type {{name: string, title: string, sign: string, about: string}[]}
 */
export const patterns = [
    { name: 'induction', title: 'induction', sign: '↻', about: 'looks at what came after the same token before' },
    { name: 'duplicate_token', title: 'same token', sign: '=', about: 'looks at the same token elsewhere' },
    { name: 'previous_token', title: 'previous token', sign: '←', about: 'looks one token back' },
    { name: 'next_token', title: 'next token', sign: '→', about: 'looks one token on' },
    { name: 'self', title: 'itself', sign: '•', about: 'looks at the token itself' },
    { name: 'first_token', title: 'first token', sign: '⇤', about: 'looks at the first token, often where nothing fits' },
    { name: 'special_tokens', title: 'special tokens', sign: '§', about: 'looks at tokens that the template added' },
];

/** @param {import('./run.js').Stack} stack @param {string} name of an analysis @returns {number|null} one head's value, null before it has come */
export function valueOf(stack, name, layer, head) {
    const tensor = stack.analyses[name], l = stack.layers.indexOf(layer), h = stack.heads.indexOf(head);
    return tensor && l >= 0 && h >= 0 ? tensor.values[l * tensor.shape[1] + h] : null;
}

/** The pattern that fits best, if any does. @returns {{name: string, title: string, sign: string, about: string, value: number}|null} */
export function patternOf(stack, layer, head) {
    let best = null;
    for (const pattern of patterns) {
        const value = valueOf(stack, pattern.name, layer, head);
        if (value >= enough && value > (best?.value ?? 0) + 0.05)
            best = { ...pattern, value };
    }
    return best;
}
