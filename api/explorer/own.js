// own.js - own numbers: embeddings, or queries, keys and values, typed as JSON or dropped as files, with everything the attention of /v1/attention can be told.
//
// A field's name is the request's name, so that what the server says of /w_q stands at w_q. Typed text is part of the state and of a link; a file's numbers
// stay in memory and are not.
// SPDX-License-Identifier: Apache-2.0
import { ApiError } from './api.js';
import { el } from './dom.js';
import { FileError, readTensors, toRequest } from './files.js';
import { presets } from './presets.js';
import * as state from './state.js';

/** What a field is: which forms it belongs to, what is typed into it, and one sentence. */
const fields = {
    embeddings: { of: 'embeddings', type: 'tensor', help: 'One row of numbers for each token.' },
    query: { of: 'qkv', type: 'tensor', help: 'One row for each token; one such table for each head.' },
    key: { of: 'qkv', type: 'tensor', help: 'As many numbers in a row as the query has.' },
    value: { of: 'qkv', type: 'tensor', help: 'As many rows as the key has.' },
    w_q: { of: 'embeddings', type: 'tensor', group: 'projections', help: 'Queries are embeddings times this; left out, the embeddings themselves.' },
    w_k: { of: 'embeddings', type: 'tensor', group: 'projections', help: 'The same for keys.' },
    w_v: { of: 'embeddings', type: 'tensor', group: 'projections', help: 'The same for values.' },
    w_o: { of: 'embeddings', type: 'tensor', group: 'more', help: 'The output projection, for all heads side by side.' },
    b_q: { of: 'embeddings', type: 'tensor', group: 'more', help: 'A bias for queries; it needs w_q.' },
    b_k: { of: 'embeddings', type: 'tensor', group: 'more', help: 'A bias for keys.' },
    b_v: { of: 'embeddings', type: 'tensor', group: 'more', help: 'A bias for values.' },
    b_o: { of: 'embeddings', type: 'tensor', group: 'more', help: 'A bias for the output.' },
    key_embeddings: { of: 'embeddings', type: 'tensor', group: 'more', help: 'Cross-attention: keys and values come from these.' },
    num_attention_heads: { type: 'number', group: 'heads', help: 'Left out: 1, or as many as the query has.' },
    num_key_value_heads: { type: 'number', group: 'heads', help: 'Fewer keys and values than queries.' },
    scale: { type: 'number', group: 'scores', help: 'Left out: one over the root of the head size.' },
    softcap: { type: 'number', group: 'scores', help: 'Scores never pass this.' },
    positional_encoding: { of: 'embeddings', type: 'choice', group: 'positions', names: ['none', 'sinusoidal', 'rope', 'alibi'],
        help: 'How a token knows where it stands.' },
    rope_theta: { of: 'embeddings', type: 'number', group: 'positions', help: 'With rope; left out: 10000.' },
    query_offset: { type: 'number', group: 'positions', help: 'Where the first query stands among the keys.' },
    is_causal: { type: 'flag', group: 'mask', help: 'No token sees a later one.' },
    left_window_size: { type: 'number', group: 'mask', help: 'How many keys before its own place a query sees.' },
    right_window_size: { type: 'number', group: 'mask', help: 'And how many after it.' },
    attn_mask: { type: 'tensor', group: 'mask', help: 'true and false, or numbers to add; null hides.' },
};
const groups = { projections: 'Projections', more: 'Biases, output, cross-attention', heads: 'Heads', scores: 'Scores', positions: 'Positions', mask: 'Mask' };
const forms = { embeddings: 'Embeddings', qkv: 'Query, key, value' };
/** What files call these. */
const otherNames = { q: 'query', k: 'key', v: 'value', wq: 'w_q', wk: 'w_k', wv: 'w_v', wo: 'w_o', mask: 'attn_mask', embeds: 'embeddings',
    inputs_embeds: 'embeddings',
    hidden_states: 'embeddings', x: 'embeddings', queries: 'query', keys: 'key', values: 'value' };
const longestText = 100_000;

/** Tensors out of files, by field. @type {Map<string, import('./files.js').Tensor>} */
const dropped = new Map();

const belongs = (name, form) => !fields[name].of || fields[name].of === form;

function valueOf(name, text) {
    const { type } = fields[name], says = detail => new ApiError({ status: 0, code: 'not_json', detail, pointer: `/${name}` });
    if (dropped.has(name))
        return toRequest(dropped.get(name));
    if (type === 'choice' || !text.trim())
        return text.trim() || undefined;
    if (type === 'flag')
        return text === 'true';
    try {
        return JSON.parse(text);
    } catch (failure) {
        throw says(type === 'number' ? `${name}: “${text.slice(0, 40)}” is not a number.` : `${name} is not JSON. ${failure.message}.`);
    }
}

/** The axes of a tensor as it is sent: its own, or those of nested arrays. */
function shapeOf(value) {
    const shape = value.shape ?? [];
    for (let part = value; Array.isArray(part); [part] = part)
        shape.push(part.length);
    return shape;
}

/** The page shows one input at a time; several in one tensor would each have a result of its own. */
function refuseBatch(body) {
    const name = body.query ? 'query' : 'embeddings', [count, ...rest] = shapeOf(body[name]), alone = body.query && !body.num_attention_heads ? 3 : 2;
    if (rest.length >= alone && count > 1)
        throw new ApiError({ detail: `${name} holds ${count} inputs, and this page shows one at a time: give the one to look at.`, pointer: `/${name}` });
}

/** The request that a form describes. @param {Object} own @returns {object} throws an ApiError that points to the field */
export function bodyOf(own) {
    const body = {};
    for (const name of Object.keys(fields)) {
        const value = belongs(name, own.form) ? valueOf(name, own.fields[name] ?? '') : undefined;
        if (value !== undefined && !(name === 'is_causal' && !value) && !(name === 'positional_encoding' && value === 'none'))
            body[name] = value;
    }
    if (own.form === 'embeddings' ? !body.embeddings : !body.query)
        throw new ApiError({ detail: 'There are no numbers yet: type some, drop a file, or take an example.',
            pointer: own.form === 'embeddings' ? '/embeddings' : '/query' });
    refuseBatch(body);
    return body;
}

/** Names for tokens where as many were typed as there are, else numbers. @param {Object} own @returns {{query: string[], key: string[]}} */
export function wordsOf(own, T_q, T_k) {
    const typed = (text, count) => {
        const list = text.trim() ? text.trim().split(/\s+/) : [];
        return Array.from({ length: count }, (_, i) => (list.length === count ? list[i] : String(i)));
    };
    return { query: typed(own.words, T_q), key: typed(own.keyWords.trim() || (T_k === T_q ? own.words : ''), T_k) };
}

/** A matrix as a person reads it: a line for each row. */
export function laidOut(value) {
    const isRow = part => Array.isArray(part) && part.every(x => !Array.isArray(x));
    if (!Array.isArray(value) || isRow(value))
        return JSON.stringify(value).replaceAll(',', ', ');
    return value.every(isRow) ? `[${value.map(row => JSON.stringify(row).replaceAll(',', ', ')).join(',\n ')}]` : JSON.stringify(value);
}

/** A textbook's example as a filled form. @param {import('./presets.js').Preset} preset @returns {Object} */
export function ownOf(preset) {
    const texts = Object.fromEntries(Object.entries(preset.request).map(([name, value]) => [name, laidOut(value)]));
    return { form: preset.request.query ? 'qkv' : 'embeddings', preset: preset.name, fields: texts, words: (preset.tokens ?? []).join(' '), keyWords: '' };
}

const first = ownOf(presets[0]);
const isText = value => typeof value === 'string' && value.length <= longestText;
state.define('own', first, state.checks.record({
    form: state.checks.oneOf(...Object.keys(forms)), preset: value => value === '' || presets.some(p => p.name === value), words: isText, keyWords: isText,
    fields: value => typeof value === 'object' && value !== null && !Array.isArray(value)
        && Object.entries(value).every(([name, said]) => Object.hasOwn(fields, name) && isText(said)),
}));

/** Which field a tensor is for, by its name; a lone table of numbers is embeddings. */
function fieldFor(tensor, alone) {
    const name = tensor.name.toLowerCase().split(/[./]/).at(-1).replace(/-/g, '_'), known = otherNames[name] ?? name;
    if (Object.hasOwn(fields, known) && fields[known].type === 'tensor')
        return known;
    return alone && (tensor.shape.length === 2 || tensor.shape.length === 3) ? 'embeddings' : null;
}

/** The form: an input of the page (inputs.js). */
class Own {
    constructor(host, app) {
        this.app = app;
        this.host = host;
        this.inputs = new Map();
        this.build();
        this.fill(state.get().own);
        state.subscribe((now, changed) => changed.has('own') && this.fill(now.own));
    }

    build() {
        this.preset = el('select', { id: 'own-preset', on: { change: () => this.takePreset() } }, el('option', { value: '' }, 'your own'),
            ...presets.map(({ name, title }) => el('option', { value: name }, title)));
        this.source = el('p.note.own-source');
        this.forms = Object.entries(forms).map(([form, title]) => el('label.tick', {},
            el('input', { type: 'radio', name: 'own-form', value: form, on: { change: () => this.change({ form }) } }), title));
        this.words = this.wordsInput('own-words', 'words', 'Names of the tokens', 'Separated by blanks; only for you to read.');
        this.keyWords = this.wordsInput('own-key-words', 'keyWords', 'Names of the keys', 'Where they are others than the queries.');
        this.file = el('input', { id: 'own-file', type: 'file', multiple: true, accept: '.npy,.safetensors',
            on: { change: () => this.takeFiles([...this.file.files]) } });
        this.said = el('p.own-said', { role: 'status' });
        const main = Object.keys(fields).filter(name => !fields[name].group);
        const grouped = Object.entries(groups).map(([group, title]) => el('details.own-group', { 'data-group': group }, el('summary', {}, title),
            el('div.own-fields', {}, ...Object.keys(fields).filter(name => fields[name].group === group).map(name => this.field(name)))));
        this.form = el('div.own', {},
            el('div.own-top', {}, el('label.chooser', {}, el('span', {}, 'example'), this.preset),
                el('fieldset.own-forms', {}, el('legend', {}, 'given as'), ...this.forms)),
            this.source, el('div.own-fields.own-main', {}, ...main.map(name => this.field(name))), el('div.own-groups', {}, ...grouped),
            el('div.own-fields', {}, this.words, this.keyWords),
            el('div.row', {}, el('label.own-drop', {}, el('span', {}, 'Drop .npy or .safetensors files anywhere here, or choose them: '), this.file),
                el('button.run', { type: 'submit' }, 'Attend')),
            this.said);
        this.form.addEventListener('dragover', event => this.dragOver(event, true));
        this.form.addEventListener('dragleave', event => this.dragOver(event, false));
        this.form.addEventListener('drop', event => this.drop(event));
        this.host.replaceChildren(this.form);
    }

    wordsInput(id, key, title, help) {
        const input = el('input', { id, type: 'text', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': `${id}-help`,
            on: { input: () => state.set({ own: { [key]: input.value } }) } });
        return el('div.own-field', {}, el('label', { for: id }, title), input, el('p.note', { id: `${id}-help` }, help));
    }

    /** One field: its label, what is typed into it, one sentence, and the file that stands for it. */
    field(name) {
        const { type, help, names } = fields[name], id = `own-${name}`, common = { id, 'aria-describedby': `${id}-help`, 'data-field': name };
        const change = () => this.change({ fields: { ...state.get().own.fields, [name]: type === 'flag' ? String(input.checked) : input.value } });
        const input = type === 'tensor' ? el('textarea', { ...common, rows: 1, spellcheck: 'false', autocomplete: 'off', wrap: 'off', on: { input: change } })
            : type === 'choice' ? el('select', { ...common, on: { input: change } }, ...names.map(one => el('option', {}, one)))
                : el('input', { ...common, type: type === 'flag' ? 'checkbox' : 'text', inputmode: type === 'number' ? 'decimal' : null, autocomplete: 'off',
                    on: { input: change } });
        const file = el('p.own-file', { hidden: true });
        this.inputs.set(name, { input, file });
        return el(`div.own-field.own-${type}`, { 'data-of': fields[name].of ?? 'both' }, el('label', { for: id }, el('code', {}, name)), input, file,
            el('p.note', { id: `${id}-help` }, help));
    }

    /** What a person changed is no longer the example. */
    change(patch) {
        state.set({ own: { ...patch, preset: '' } });
    }

    fill(own) {
        this.preset.value = own.preset;
        this.source.textContent = presets.find(({ name }) => name === own.preset)?.source ?? '';
        this.forms.forEach(label => (label.firstChild.checked = label.firstChild.value === own.form));
        this.words.querySelector('input').value = own.words;
        this.keyWords.querySelector('input').value = own.keyWords;
        for (const [name, { input, file }] of this.inputs) {
            const text = own.fields[name] ?? '', tensor = dropped.get(name);
            if (fields[name].type === 'flag')
                input.checked = text === 'true';
            else if (input.value !== text)
                input.value = text || (fields[name].type === 'choice' ? 'none' : '');
            input.closest('.own-field').hidden = !belongs(name, own.form);
            input.hidden = Boolean(tensor);
            if (!input.hasAttribute('aria-invalid'))
                input.setAttribute('aria-describedby', `${input.id}-help`);
            file.hidden = !tensor;
            file.replaceChildren(...(tensor ? this.fileLine(name, tensor) : []));
            if (input.tagName === 'TEXTAREA')
                input.rows = Math.max(1, Math.min(8, text.split('\n').length));
        }
        for (const group of this.form.querySelectorAll('.own-group')) {
            const inside = [...group.querySelectorAll('.own-field')];
            group.hidden = inside.every(field => field.hidden);
            group.open ||= inside.some(field => !field.hidden && this.isSet(own, field.querySelector('[data-field]').dataset.field));
        }
    }

    isSet(own, name) {
        return dropped.has(name) || !['', 'false', 'none'].includes(own.fields[name] ?? '');
    }

    fileLine(name, tensor) {
        const remove = el('button', { type: 'button', on: { click: () => {
            dropped.delete(name);
            this.fill(state.get().own);
            this.inputs.get(name).input.focus();
        } } }, 'remove');
        return [`${tensor.name}: ${tensor.isBool ? 'true and false' : 'numbers'}, [${tensor.shape.join(', ')}], out of a file `, remove];
    }

    takePreset() {
        const preset = presets.find(({ name }) => name === this.preset.value);
        if (!preset)
            return state.set({ own: { preset: '' } });
        dropped.clear();
        this.said.textContent = '';
        state.set({ own: ownOf(preset) });
        return this.app.run?.();
    }

    dragOver(event, over) {
        if (![...event.dataTransfer.types].includes('Files'))
            return;
        event.preventDefault();
        this.form.classList.toggle('is-over', over);
    }

    drop(event) {
        this.dragOver(event, false);
        const target = event.target.closest?.('.own-tensor')?.querySelector('[data-field]')?.dataset.field ?? null;
        return this.takeFiles([...event.dataTransfer.files], target);
    }

    /** Reads files into their fields; `target` is the field they were dropped on. @param {File[]} files @param {string|null} [target] */
    async takeFiles(files, target = null) {
        const said = [], read = [];
        for (const file of files)
            try {
                read.push(...await readTensors(file));
            } catch (failure) {
                said.push(failure instanceof FileError ? failure.message : `${file.name.slice(0, 120)} could not be read.`);
            }
        for (const tensor of read) {
            const name = target && read.length === 1 ? target : fieldFor(tensor, read.length === 1);
            if (name) {
                dropped.set(name, tensor);
                said.push(`${tensor.name} is ${name} now.`);
            } else
                said.push(`Nothing here is called ${tensor.name.slice(0, 80)}: drop it on the field it is for.`);
        }
        this.file.value = '';
        this.said.textContent = said.join(' ');
        const form = ['query', 'key', 'value'].some(name => dropped.has(name)) && !dropped.has('embeddings') ? 'qkv' : dropped.has('embeddings')
            ? 'embeddings' : state.get().own.form;
        if (read.some(tensor => [...dropped.values()].includes(tensor)))
            this.change({ form });
        this.fill(state.get().own);
    }

    request() {
        return bodyOf(state.get().own);
    }

    /** The field an error points to. @param {string} pointer "/w_q/0" */
    fieldFor(pointer) {
        const found = this.inputs.get(pointer.split('/')[1]);
        const field = found?.input.closest('.own-group');
        if (field)
            field.open = true;
        return found ? found.input : null;
    }

    /** A result without tokens gets the names that were typed. */
    show(result, now) {
        const stack = result && !result.model && result.stacks.self;
        if (!stack)
            return;
        const names = wordsOf(now.own, stack.T_q, stack.T_k), asToken = text => ({ text });
        stack.queryTokens = names.query.map(asToken);
        stack.keyTokens = names.key.map(asToken);
    }
}

/** For inputs.js. @param {HTMLElement} host @param {object} app */
export function create(host, app) {
    return new Own(host, app);
}
