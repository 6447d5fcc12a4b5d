// state.js - all that a person has chosen, in one plain object: every view is a function of it and of the result, and a link holds nothing else.
//
// A field is here with its first value and a check. Whatever comes from a link is a stranger's and passes the check before it gets in; what a check refuses keeps
// its first value and is named to the person. Parts of the page with choices of their own define() a field when their module loads.
// SPDX-License-Identifier: Apache-2.0

/** A link longer than this is not read: the page's own links are far below it unless somebody pastes a book. */
const longestLink = 200_000;

const count = value => Number.isInteger(value) && value >= 0 && value < 1e6;
const flag = value => typeof value === 'boolean';
const text = value => typeof value === 'string';
const word = value => text(value) && /^[\w.:@/-]{0,200}$/.test(value);
const oneOf = (...names) => value => names.includes(value);
const orNull = check => value => value === null || check(value);
/** Exactly these fields, each passing its check. */
const record = checks => value => isObject(value) && Object.keys(value).length === Object.keys(checks).length
    && Object.entries(checks).every(([name, check]) => Object.hasOwn(value, name) && check(value[name]));

function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** For modules that define() fields of their own. */
export const checks = { count, flag, text, word, oneOf, orNull, record };

/** name -> [first value, check] */
const fields = new Map(Object.entries({
    input: [
        { kind: 'text', text: 'The animal didn\'t cross the street because it was too tired.', textPair: '', model: '', addSpecialTokens: true },
        record({ kind: word, text, textPair: text, model: word, addSpecialTokens: flag }),
    ],
    view: ['heatmap', word],
    stack: ['', oneOf('', 'self', 'encoder', 'decoder', 'cross')],
    layer: [0, count],
    head: [0, count],
    cell: [null, orNull(record({ q: count, k: count }))],
    zoom: [null, orNull(record({ q0: Number.isFinite, q1: Number.isFinite, k0: Number.isFinite, k1: Number.isFinite }))],
    order: ['layer', word],
    scale: ['linear', oneOf('linear', 'log', 'row')],
    colours: ['ember', oneOf('ember', 'viridis', 'grey')],
    hideFirst: [false, flag],
    hideSpecial: [false, flag],
    theme: ['auto', oneOf('auto', 'light', 'dark')],
}));

let now = Object.fromEntries([...fields].map(([name, [first]]) => [name, first]));
const listeners = new Set();

/**
 * A field of a module's own; call it while the module loads. `first` and what comes later must be plain JSON.
 * @param {string} name @param {*} first @param {(value: *) => boolean} check what a link may bring
 */
export function define(name, first, check) {
    fields.set(name, [first, check]);
    now = { ...now, [name]: first };
}

/** @returns {object} the state; never write to it */
export function get() {
    return now;
}

/**
 * New values for some fields; objects (`input`) are merged one level deep. Listeners hear of what differs.
 * @param {object} patch
 */
export function set(patch) {
    const changed = new Set(), next = { ...now };
    for (const [name, value] of Object.entries(patch)) {
        if (!fields.has(name))
            throw new Error(`no field of the state: ${name}`);
        const merged = isObject(value) && isObject(now[name]) ? { ...now[name], ...value } : value;
        if (JSON.stringify(merged) !== JSON.stringify(now[name])) {
            next[name] = merged;
            changed.add(name);
        }
    }
    if (!changed.size)
        return;
    now = next;
    for (const listener of [...listeners])
        listener(now, changed);
}

/**
 * @param {(state: object, changed: Set<string>) => void} listener
 * @returns {() => void} stops it
 */
export function subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
}

/** What differs from a fresh page, for location.hash. */
export function toFragment() {
    const different = [...fields].filter(([name, [first]]) => JSON.stringify(now[name]) !== JSON.stringify(first));
    return different.length ? '#' + encodeURIComponent(JSON.stringify(Object.fromEntries(different.map(([name]) => [name, now[name]])))) : '';
}

/**
 * Takes what a link says, field by field.
 * @param {string} fragment location.hash
 * @returns {string} what is wrong with it, one sentence; '' when nothing is
 */
export function fromFragment(fragment) {
    if (fragment.length < 2)
        return '';
    let said;
    try {
        said = fragment.length <= longestLink ? JSON.parse(decodeURIComponent(fragment.slice(1))) : null;
    } catch {
        said = null;
    }
    if (!isObject(said))
        return 'This link is damaged: what follows the # cannot be read. The page shows what it opens with.';
    const patch = {}, refused = [];
    for (const [name, value] of Object.entries(said))
        if (fields.has(name) && fields.get(name)[1](value))
            patch[name] = value;
        else
            refused.push(name.slice(0, 40));
    set(patch);
    return refused.length ? `This link says something that this page does not know, and was left out: ${refused.slice(0, 5).join(', ')}.` : '';
}
