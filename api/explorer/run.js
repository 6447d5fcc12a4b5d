// run.js - from a request to a Result: asks for all maps layer by layer, hands each on as it comes, and forgets the run before.
// SPDX-License-Identifier: Apache-2.0
import * as api from './api.js';
import { markOnce } from './dom.js';
import { paced, takeStep } from './growth.js';
import { binned, poolFor } from './long.js';

/**
 * The maps of one kind of attention. An encoder-decoder has three stacks, everything else one, "self".
 * @typedef {object} Stack
 * @property {'self'|'encoder'|'decoder'|'cross'} name
 * @property {number[]} layers        numbers of the layers, in order; maps of later ones may still be on their way
 * @property {number[]} heads
 * @property {number} T_q @property {number} T_k
 * @property {object[]|null} queryTokens as the API gives them (null: an input without a model)
 * @property {object[]|null} keyTokens
 * @property {Map<number, Float32Array>} maps layer -> [H, T_q, T_k]; what generates gets new ones with each step
 * @property {import('./long.js').Edges|null} edges  of cells that are means of several tokens (long.js); null: a cell is a weight
 * @property {object[]|null} allQueries @property {object[]|null} allKeys the tokens themselves, where queryTokens and keyTokens are bins
 * @property {Object<string, api.Tensor>} analyses by name; {} until the end of the answer
 */
/**
 * What one request has brought so far.
 * @typedef {object} Result
 * @property {object} body            the request, as it could be sent to /v1/attention; `ask()` adds to it
 * @property {object|null} pool       what was added because the input is long; it is not in `body`
 * @property {object|null} model      as in the answer
 * @property {object} head            the first line's result: tokens, and all that is echoed
 * @property {Object<string, Stack>} stacks
 * @property {boolean} complete
 * @property {object|null} timings    milliseconds, from the last line
 */

/** What every head is measured by; the first row needs tokens. */
const byTokens = ['special_tokens', 'duplicate_token', 'induction'];
const byPlace = ['entropy', 'confidence', 'mean_distance', 'self', 'previous_token', 'next_token', 'first_token'];

let running = null;

/**
 * Runs a request; an earlier one that is still running is given up.
 * @param {object} body of /v1/attention, without `output`, `encoding`, `analyses`
 * @param {(result: Result, line: object) => void} onPart called for each line that brought something
 * @returns {Promise<Result|null>} null when a later run took its place
 */
export async function run(body, onPart) {
    running?.abort();
    const mine = running = new AbortController();
    try {
        const result = await collect(body, mine.signal, (part, line) => running === mine && onPart(part, line));
        return running === mine ? result : null;
    } catch (failure) {
        if (running !== mine || failure.name === 'AbortError')
            return null;
        throw failure;
    }
}

/**
 * A Result beside the one on the screen: run() without giving up the others.
 * @param {object} body as of run() @param {AbortSignal} signal @param {(result: Result, line: object) => void} [onPart]
 * @returns {Promise<Result>}
 */
export async function collect(body, signal, onPart) {
    const pool = await poolFor(api, body, signal), result = { body, pool: pool.pool ?? null, model: null, head: null, stacks: {}, complete: false, timings: null };
    const lines = paced(line => {
        take(result, line);
        result.complete = Boolean(line.done);
        result.timings = line.timings ?? null;
        onPart?.(result, line);
    }, signal);
    await api.attention({ ...body, ...pool, output: ['attentions'], analyses: analysesFor(body), encoding: 'base64' }, {
        accept: 'application/x-ndjson', signal, onFirstByte: () => markOnce('attnd:first-byte'), onLine: lines.push,
    });
    await lines.settled();
    signal?.throwIfAborted();
    return result;
}

/** Gives up what is running. */
export function cancel() {
    running?.abort();
    running = null;
}

function analysesFor(body) {
    return 'text' in body ? [...byPlace, ...byTokens] : byPlace;
}

function take(result, line) {
    if (line.results) {
        result.model = line.model;
        result.head = line.results[0];
    } else if (line.layer !== undefined)
        takeLayer(result, line);
    else if (line.step !== undefined)
        takeStep(result, line);
    else if (line.analyses || Object.keys(line).some(name => name.endsWith('_analyses')))
        takeAnalyses(result, line);
}

function takeLayer(result, line) {
    for (const [name, value] of Object.entries(line)) {
        const [, part = 'self'] = /^(?:(encoder|decoder|cross)_)?attentions$/.exec(name) ?? [null, null];
        if (!part)
            continue;
        const { shape, values } = api.tensorOf(value);
        const stack = result.stacks[part] ??= newStack(result.head, part, shape);
        stack.maps.set(line.layer, values);
    }
}

function newStack(head, name, [, T_q, T_k]) {
    const prefix = name === 'self' ? '' : `${name}_`;
    const tokens = { self: [head.tokens, head.tokens], encoder: [head.encoder_tokens, head.encoder_tokens], decoder: [head.decoder_tokens, head.decoder_tokens],
        cross: [head.decoder_tokens, head.encoder_tokens] }[name];
    const pool = head[`${prefix}pool`], edges = pool ? { query: pool.query_edges, key: pool.key_edges } : null, [allQueries = null, allKeys = null] = tokens;
    const queryTokens = edges ? binned(allQueries, edges.query) : allQueries, keyTokens = edges ? binned(allKeys, edges.key) : allKeys;
    return { name, layers: head[`${prefix}layers`], heads: head[`${prefix}heads`], T_q, T_k, edges, allQueries, allKeys, queryTokens, keyTokens, maps: new Map(), analyses: {} };
}

function takeAnalyses(result, line) {
    for (const stack of Object.values(result.stacks)) {
        const said = line[stack.name === 'self' ? 'analyses' : `${stack.name}_analyses`];
        if (said)
            stack.analyses = api.tensorsOf(said);
    }
}

/**
 * One head's map, or null while it is on its way.
 * @param {Stack} stack @param {number} layer @param {number} head by their numbers
 * @returns {Float32Array|null} [T_q, T_k], a view
 */
export function mapOf(stack, layer, head) {
    const maps = stack.maps.get(layer), h = stack.heads.indexOf(head), size = stack.T_q * stack.T_k;
    return maps && h >= 0 ? maps.subarray(h * size, (h + 1) * size) : null;
}
