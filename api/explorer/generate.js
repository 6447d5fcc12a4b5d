// generate.js - the input for models that write: a text to go on from, or to translate, and how many tokens more. What was written is looked at in written.js
// and, once it is there, in every other view.
// SPDX-License-Identifier: Apache-2.0
import { el } from './dom.js';
import { checks, define } from './state.js';

const { count, oneOf, record, text, word } = checks;

/** The languages that attnd-translate writes, each with the token that asks for it. */
const languages = [['', 'as it stands'], ['>>deu<<', 'German'], ['>>fra<<', 'French']];
/** Where to start from. */
const examples = [
    { name: 'a story', model: 'attnd-gpt', language: '', text: 'Once upon a time', tokens: 40 },
    { name: 'into German', model: 'attnd-translate', language: '>>deu<<', text: 'The animal didn\'t cross the street because it was too tired.', tokens: 40 },
    { name: 'into French', model: 'attnd-translate', language: '>>fra<<', text: 'I have never seen such a beautiful house before.', tokens: 40 },
];
const { name: _, ...first } = examples[0];

define('generate', first, record({ model: word, language: oneOf(...languages.map(([token]) => token)), text, tokens: value => count(value) && value > 0 }));

/** @param {HTMLElement} host @param {object} app @returns {import('./inputs.js').Input} */
export function create(host, app) {
    const area = el('textarea', {
        id: 'g-text', rows: 2, dir: 'auto', spellcheck: 'false', autocomplete: 'off', placeholder: 'What the model shall go on from, or translate',
    });
    const model = el('select', { id: 'g-model', on: { change: () => take({ model: model.value, language: '' }) } });
    const language = el('select', { id: 'g-language', on: { change: () => take({ language: language.value }) } },
        ...languages.map(([value, title]) => el('option', { value }, title)));
    const counted = () => take({ tokens: Math.max(1, Math.trunc(tokens.valueAsNumber) || 1) });
    const tokens = el('input', { id: 'g-tokens', type: 'number', min: 1, on: { change: counted } });
    const stop = el('button', { type: 'button', hidden: true, on: { click: () => app.cancel() } }, 'Stop');
    const into = el('span', {}, el('label', { for: 'g-language' }, 'into'), ' ', language);
    host.append(
        el('div.field', {}, el('label.hidden', { for: 'g-text' }, 'Prompt'), area),
        el('div.row', {},
            el('span', {}, el('label', { for: 'g-model' }, 'Model'), ' ', model), into,
            el('span', {}, el('label', { for: 'g-tokens' }, 'at most'), ' ', tokens, ' tokens'),
            el('span.examples', {}, el('span.soft', {}, 'try '),
                ...examples.map(({ name, ...example }) => el('button.quiet', { type: 'button', on: { click: () => take(example) } }, name))),
            stop, el('button.run', { type: 'submit', title: 'Enter' }, 'Write')));

    function take(patch) {
        const { generate, stack } = app.state.get();
        const other = patch.model && patch.model !== generate.model; // its maps are others: those that say most about it are shown first
        app.state.set({ generate: patch, cell: null, zoom: null, part: null, ...(other ? { view: 'written', stack: '' } : { stack }) });
        app.run();
    }

    area.addEventListener('input', () => app.state.set({ generate: { text: area.value }, cell: null, zoom: null, part: null }));
    area.addEventListener('keydown', event => {
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            app.run();
        }
    });
    if (app.result()) // chosen by hand, not by a link: what is written is what one wants to see
        app.state.set({ view: 'written', stack: '', cell: null, zoom: null, part: null });

    return {
        request() {
            const { model: name, language: token, text: prompt, tokens: most } = app.state.get().generate;
            return { text: token ? `${token} ${prompt}` : prompt, model: name, max_new_tokens: most };
        },
        fieldFor(pointer) {
            return { '/text': area, '/model': model, '/max_new_tokens': tokens, '': area }[pointer] ?? null;
        },
        show(result, { generate }) {
            if (area.value !== generate.text)
                area.value = generate.text;
            const writers = app.models().models.filter(({ generates }) => generates), chosen = writers.find(({ name }) => name === generate.model);
            fill(model, writers.map(({ name }) => name), generate.model);
            into.hidden = chosen?.num_decoder_layers === undefined;
            language.value = generate.language;
            if (document.activeElement !== tokens)
                tokens.value = String(generate.tokens);
            stop.hidden = !result || result.complete || !result.body.max_new_tokens;
        },
    };
}

/** The names a person can choose, and the one that is chosen even where the server has no such model: it will say so. */
function fill(select, names, chosen) {
    const listed = names.includes(chosen) ? names : [...names, chosen];
    if ([...select.options].map(({ value }) => value).join() !== listed.join())
        select.replaceChildren(...listed.map(name => el('option', { value: name }, name)));
    select.value = chosen;
}
