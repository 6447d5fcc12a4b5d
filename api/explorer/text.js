// text.js - the input for texts: one or two of them, the model, special tokens; runs while a person types, as long as answers come at once.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import * as tokens from './tokens.js';

/** An answer within this many milliseconds may follow every pause in typing; slower ones wait for Enter. */
const atOnce = 1000;
const pause = 250;

/** Sentences to start from; the first is what the page opens with. */
const examples = [
    ['it', 'The animal didn\'t cross the street because it was too tired.'],
    ['a name', 'When Mary and John went to the store, John gave a drink to Mary.'],
    ['repetition', 'one two three four one two three four one two three'],
];

/** @param {HTMLElement} host @param {object} app @returns {import('./inputs.js').Input} */
export function create(host, app) {
    const first = field('text', 'Text', 'What the model shall read'), second = field('text_pair', 'Second text', 'A second segment, if there is one');
    const pairSwitch = el('button.quiet', { type: 'button', 'aria-expanded': 'false' }, '+ second text');
    const model = el('select', { id: 'f-model', on: { change: () => take({ model: model.value }) } });
    const special = el('input', { type: 'checkbox', id: 'f-special', on: { change: () => take({ addSpecialTokens: special.checked }) } });
    const strip = el('div.tokens'), pieces = tokens.strip(strip, {
        label: 'Tokens', onPoint: mark,
        onPick: q => app.state.set({ cell: { q, k: app.state.get().cell?.k ?? 0 } }),
    });
    host.append(
        first.box, second.box,
        el('div.row', {},
            el('label', { for: 'f-model' }, 'Model'), model, el('label.check', { for: 'f-special' }, special, ' special tokens'), pairSwitch,
            el('span.examples', {}, el('span.soft', {}, 'try '), ...examples.map(([name, text]) => el('button.quiet', { type: 'button', on: { click: () => start(text) } }, name))),
            el('button.run', { type: 'submit', title: 'Enter' }, 'Attend')),
        strip);
    let timer = 0, shown = null, mirrored = [];

    function take(patch) {
        app.state.set({ input: patch, cell: null, zoom: null });
        app.run();
    }

    function start(text) {
        first.area.value = text;
        second.area.value = '';
        take({ text, textPair: '' });
    }

    function typed() {
        const state = app.state.get().input;
        if (first.area.value === state.text && second.area.value === state.textPair)
            return;
        app.state.set({ input: { text: first.area.value, textPair: second.area.value }, cell: null, zoom: null });
        drawText();
        clearTimeout(timer);
        if (app.lastTook() < atOnce && first.area.value)
            timer = setTimeout(() => app.run(), pause);
    }

    function drawText() {
        const { text, textPair } = app.state.get().input, same = shown && shown.body.text === text && (shown.body.text_pair ?? '') === textPair;
        const now = [text, textPair, same ? shown.head : null];
        if (now.every((part, i) => part === mirrored[i]))
            return;
        mirrored = now;
        for (const [part, value, sequence] of [[first, text, 0], [second, textPair, 1]]) {
            const all = same ? shown.head.tokens ?? [...shown.head.encoder_tokens ?? [], ...(shown.head.decoder_tokens ?? []).map(t => ({ ...t, sequence: 1 }))] : null;
            tokens.drawMirror(part.mirror, value, all, sequence);
        }
    }

    function mark(index) {
        for (const node of host.querySelectorAll('mark'))
            node.classList.toggle('pointed', Number(node.dataset.token) === index);
    }

    function openPair(open) {
        second.box.hidden = !open;
        pairSwitch.setAttribute('aria-expanded', String(open));
        pairSwitch.textContent = open ? '− second text' : '+ second text';
    }

    pairSwitch.addEventListener('click', () => {
        openPair(second.box.hidden);
        if (second.box.hidden && second.area.value)
            take({ textPair: second.area.value = '' });
        (second.box.hidden ? first : second).area.focus();
    });
    for (const { area, mirror } of [first, second]) {
        area.addEventListener('input', typed);
        area.addEventListener('scroll', () => (mirror.scrollTop = area.scrollTop));
        area.addEventListener('keydown', event => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                clearTimeout(timer);
                app.run();
            }
        });
    }
    openPair(false);

    return {
        request() {
            const { text, textPair, model: name, addSpecialTokens } = app.state.get().input;
            return { text, ...(second.box.hidden && !textPair ? {} : { text_pair: textPair }), ...(name ? { model: name } : {}), ...(addSpecialTokens ? {} : { add_special_tokens: false }) };
        },
        fieldFor(pointer) {
            return { '/text': first.area, '/text_pair': second.area, '/model': model, '/add_special_tokens': special, '': first.area }[pointer] ?? null;
        },
        show(result, state) {
            const { text, textPair, addSpecialTokens } = state.input;
            for (const [part, value] of [[first, text], [second, textPair]])
                if (part.area.value !== value)
                    part.area.value = value;
            if (textPair)
                openPair(true);
            special.checked = addSpecialTokens;
            fillModels(model, app.models(), state.input.model);
            if (result !== shown) {
                shown = result;
                pieces.show(result?.head ? result.head.tokens ?? result.head.decoder_tokens ?? [] : []);
            }
            drawText();
            pieces.select(state.cell?.q ?? -1);
        },
    };
}

/** A field with the text once more behind it, where tokens are marked. */
function field(name, label, hint) {
    const mirror = el('div.mirror', { 'aria-hidden': 'true', dir: 'auto' });
    const area = el('textarea', { id: `f-${name}`, rows: 1, dir: 'auto', placeholder: hint, spellcheck: 'false', autocomplete: 'off' });
    const box = el('div.field', {}, el('label.hidden', { for: `f-${name}` }, label), el('div.layers', {}, mirror, area));
    return { box, area, mirror };
}

function fillModels(select, { models, default: preferred }, chosen) {
    const names = models.map(model => model.name), wanted = chosen || preferred || '';
    const listed = wanted && !names.includes(wanted) ? [...names, wanted] : names;
    if ([...select.options].map(option => option.value).join() !== listed.join())
        select.replaceChildren(...listed.map(name => el('option', { value: name }, name)));
    select.value = wanted;
}
