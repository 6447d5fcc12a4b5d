// tokens.js - the model's tokens shown honestly: the piece as the tokenizer writes it, its id, what the template added, and where in the text it stands.
// SPDX-License-Identifier: Apache-2.0
import { el, roving } from './dom.js';

/** So many tokens are marked in the text and stand in the strip; more would stop the page for longer than anybody reads. */
const most = 600;

/** How a person reads a token. @param {object} token as the API gives it @param {number} index */
export function textOf(token, index) {
    return token.display ?? token.text ?? (token.id === undefined ? String(index) : `#${token.id}`);
}

/** All of it in words. @param {object} token @param {number} index */
export function describe(token, index) {
    const parts = [`token ${index}`, token.text === undefined ? null : `piece ${token.text}`, token.id === undefined ? null : `id ${token.id}`];
    if (token.special)
        parts.push('added by the template');
    else if (token.start !== undefined)
        parts.push(`characters ${token.start} to ${token.end}${token.sequence ? ' of the second text' : ''}`);
    if (token.generated)
        parts.push('generated');
    return parts.filter(Boolean).join(', ');
}

/**
 * Where tokens stand in a text, as UTF-16 offsets (the API counts code points).
 * @param {string} text @param {object[]} tokens @param {number} sequence which of the texts
 * @returns {{index: number, from: number, to: number}[]} in order of the text, without those that cover nothing
 */
export function placesOf(text, tokens, sequence) {
    const offsets = [0];
    for (const character of text)
        offsets.push(offsets.at(-1) + character.length);
    return tokens.map((token, index) => ({ token, index }))
        .filter(({ token }) => !token.special && !token.generated && (token.sequence ?? 0) === sequence && token.end > token.start && token.end < offsets.length)
        .map(({ token, index }) => ({ index, from: offsets[token.start], to: offsets[token.end] }))
        .sort((a, b) => a.from - b.from);
}

/**
 * The text again, behind the field it is typed in, each token's characters marked in turn; of very many tokens the first ones.
 * @param {HTMLElement} mirror @param {string} text @param {object[]|null} tokens null: just the text @param {number} sequence
 */
export function drawMirror(mirror, text, tokens, sequence) {
    const nodes = [];
    let end = 0;
    for (const { index, from, to } of tokens ? placesOf(text, tokens, sequence).slice(0, most) : []) {
        if (from < end)
            continue; // several tokens for one character: the first stands for them
        nodes.push(text.slice(end, from), el(`mark.tone${nodes.length % 4 ? 1 : 0}`, { 'data-token': index }, text.slice(from, to)));
        end = to;
    }
    mirror.replaceChildren(...nodes, text.slice(end) + '\n');
}

/**
 * A strip of tokens, one stop for Tab and arrow keys inside.
 * @param {HTMLElement} host an empty element; becomes a listbox
 * @param {{label: string, onPoint: (index: number) => void, onPick: (index: number) => void}} wires pointed at (-1: no longer), chosen
 * @returns {{show: (tokens: object[]) => void, select: (index: number) => void}}
 */
export function strip(host, { label, onPoint, onPick }) {
    host.setAttribute('role', 'listbox');
    host.setAttribute('aria-label', label);
    host.setAttribute('aria-orientation', 'horizontal');
    const options = () => [...host.querySelectorAll('.token')], indexOf = target => Number(target.closest?.('[data-token]')?.dataset.token ?? -1);
    roving(host, { items: () => options(), onMove: item => onPick(indexOf(item)) });
    host.addEventListener('pointerover', event => onPoint(indexOf(event.target)));
    host.addEventListener('pointerleave', () => onPoint(-1));
    host.addEventListener('focusin', event => onPoint(indexOf(event.target)));
    host.addEventListener('focusout', () => onPoint(-1));
    host.addEventListener('click', event => indexOf(event.target) >= 0 && onPick(indexOf(event.target)));
    return {
        show: tokens => host.replaceChildren(...tokens.slice(0, most).map((token, i) => chip(token, i)), tokens.length > most ? el('span.soft.more', {}, `… and ${tokens.length - most} more`) : ''),
        select: index => options().forEach((item, i) => item.setAttribute('aria-selected', String(i === index))),
    };
}

function chip(token, index) {
    const kind = token.special ? '.special' : token.generated ? '.generated' : '';
    return el(`div.token${kind}`, { role: 'option', tabindex: index ? -1 : 0, 'aria-selected': 'false', 'data-token': index, title: describe(token, index) },
        el('bdi', {}, token.text ?? textOf(token, index)), token.id === undefined ? null : el('small', { 'aria-hidden': 'true' }, String(token.id)));
}
