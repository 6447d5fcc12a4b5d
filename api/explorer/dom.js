// dom.js - the few things every part does with elements: make them, walk them by arrow keys, draw once a frame.
// SPDX-License-Identifier: Apache-2.0

/**
 * An element. Text is text: nothing here reads markup.
 * @param {string} name "table", or "p.note" with classes
 * @param {Object<string, *>} [attributes] `on` holds listeners; true is an attribute without value; false and null are left out
 * @param {...(Node|string|number|null)} children
 * @returns {HTMLElement}
 */
export function el(name, attributes = {}, ...children) {
    const [tag, ...classes] = name.split('.'), node = document.createElement(tag);
    node.classList.add(...classes);
    for (const [key, value] of Object.entries(attributes ?? {}))
        if (key === 'on')
            Object.entries(value).forEach(([event, listener]) => node.addEventListener(event, listener));
        else if (value !== false && value !== null && value !== undefined)
            node.setAttribute(key, value === true ? '' : String(value));
    node.append(...children.filter(child => child !== null && child !== undefined).map(child => (child instanceof Node ? child : String(child))));
    return node;
}

/** The element of the shell with that id. @param {string} id @returns {HTMLElement} */
export function at(id) {
    return document.getElementById(id);
}

/**
 * One stop for Tab, arrow keys inside: `items()` in reading order; `columns()` of them stand in a row, for up and down.
 * @param {HTMLElement} host
 * @param {{items: () => HTMLElement[], columns?: () => number, onMove: (item: HTMLElement) => void}} rules
 */
export function roving(host, { items, columns = () => 1, onMove }) {
    host.addEventListener('keydown', event => {
        const list = items(), now = list.indexOf(event.target.closest?.('[tabindex]'));
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
        const next = event.key === 'Home' ? 0 : event.key === 'End' ? list.length - 1 : now + (step ?? NaN);
        if (now < 0 || event.ctrlKey || event.altKey || event.metaKey || !list[next])
            return;
        event.preventDefault();
        list.forEach(item => (item.tabIndex = item === list[next] ? 0 : -1));
        list[next].focus();
        onMove(list[next]);
    });
}

/** `fn`, at most once a frame however often it is called. @param {() => void} fn @returns {() => void} */
export function eachFrame(fn) {
    let waiting = false;
    return () => {
        if (!waiting)
            requestAnimationFrame(() => {
                waiting = false;
                fn();
            });
        waiting = true;
    };
}

/** For those who measure: what happened when, the first time. @param {string} name of a performance mark */
export function markOnce(name) {
    if (!performance.getEntriesByName(name).length)
        performance.mark(name);
}
