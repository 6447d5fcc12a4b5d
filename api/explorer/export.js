// export.js - taking it away: the picture on the screen, the API's own files, the command for a terminal, a link.
//
// What the files hold comes from the API, asked with the request on the screen and cut to the chosen head, so that the file, the command and the screen say the same.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';

/** The request for the chosen head as it is on the screen. @param {object} app @param {import('./run.js').Result} result @returns {object} a body for /v1/attention */
export function bodyOf(app, result) {
    const { stack, layer, head, part } = app.chosen();
    const cut = part ? { queries: { start: part.q0, stop: part.q1 }, keys: { start: part.k0, stop: part.k1 } } : {};
    return { ...result.body, output: ['attentions'], layers: [layer], heads: [head], ...cut, ...(stack.edges && result.pool ? { pool: result.pool } : {}) };
}

/** The menu that stands beside the head's name. @param {HTMLElement} host @param {object} app */
export function createExport(host, app) {
    const said = el('p.take-said', { role: 'status' }), command = el('pre.take-command', { tabindex: 0, 'aria-label': 'The same in a terminal' });
    const name = ending => {
        const { layer, head } = app.chosen(), model = app.result().model?.name ?? 'own-numbers';
        return `${model.replace(/[^\w.-]+/g, '_')}-L${layer}H${head}.${ending}`;
    };
    const button = (title, about, act) => el('button', { type: 'button', title: about, on: { click: () => attempt(act) } }, title);

    async function attempt(act) {
        said.classList.remove('is-error');
        said.textContent = '…';
        try {
            if (!app.chosen()?.map)
                throw new Error('There is nothing on the screen yet.');
            said.textContent = await act();
        } catch (failure) {
            said.classList.add('is-error');
            said.textContent = failure.message;
        }
    }

    async function ask(accept, ending, query) {
        save(await app.api.attention(bodyOf(app, app.result()), { accept, query }), name(ending));
        return `Saved ${name(ending)}.`;
    }

    async function picture() {
        const canvas = app.view()?.picture?.();
        if (!canvas)
            return ask('image/png', 'png', scaleOf(app));
        save(await new Promise(done => canvas.toBlob(done, 'image/png')), name('png'));
        return `Saved ${name('png')}: ${canvas.width} × ${canvas.height} pixels.`;
    }

    function drawing() {
        const text = app.view()?.svg?.();
        if (!text)
            return ask('image/svg+xml', 'svg', scaleOf(app));
        save(new Blob([text], { type: 'image/svg+xml' }), name('svg'));
        return `Saved ${name('svg')}.`;
    }

    async function json() {
        const text = JSON.stringify(await app.api.attention(bodyOf(app, app.result())));
        save(new Blob([text], { type: 'application/json' }), name('json'));
        return `Saved ${name('json')}.`;
    }

    const panel = el('div.take', {},
        button('PNG', 'What is on the screen, as a picture', picture), button('SVG', 'As a drawing that can be enlarged', drawing),
        button('JSON', 'The weights of this head, every digit', json),
        button('safetensors', 'The same as a file for programs', () => ask('application/vnd.safetensors', 'safetensors')),
        button('Copy link', 'This page as it is now; nothing is stored', () => copied(linkOf(app), 'The link')),
        command, button('Copy command', 'The same in a terminal', () => copied(command.textContent, 'The command')), said);
    const menu = el('details.take-menu', {}, el('summary', {}, 'Take it away'), panel);
    menu.addEventListener('toggle', () => menu.open && show());
    menu.addEventListener('keydown', event => {
        if (event.key !== 'Escape' || !menu.open)
            return;
        event.stopPropagation();
        menu.open = false;
        menu.firstChild.focus();
    });
    document.addEventListener('pointerdown', event => menu.contains(event.target) || (menu.open = false));
    host.append(menu);

    function show() {
        if (menu.open && app.chosen()?.map)
            command.textContent = app.api.curlOf(bodyOf(app, app.result()));
    }
    return { show };
}

function scaleOf(app) {
    return `scale=${app.state.get().scale}`;
}

function linkOf(app) {
    return new URL(app.state.toFragment() || '#', location.href.replace(/#.*/, '')).href;
}

function save(blob, file) {
    const url = URL.createObjectURL(blob), link = el('a', { href: url, download: file });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

async function copied(text, what) {
    if (navigator.clipboard)
        await navigator.clipboard.writeText(text);
    else if (!copiedByHand(text))
        throw new Error(`${what} cannot be copied here: the browser wants https for that.`);
    return `${what} is copied.`;
}

/** Where the page came by http from another machine, there is no clipboard but that of a selected field. */
function copiedByHand(text) {
    const field = el('textarea.hidden', { 'aria-hidden': 'true' });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    return done;
}
