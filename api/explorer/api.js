// api.js - the only file that talks to the server: requests, answers by line, tensors, problems, and the same request as a curl command.
//
// Paths are relative to the page, so that a proxy may serve it below a path of its own. The key, where one is wanted, lives in this variable and nowhere else.
// SPDX-License-Identifier: Apache-2.0

/** An error as the server says it (RFC 9457). */
export class ApiError extends Error {
    /** @param {object} problem parsed application/problem+json, or what comes nearest to it */
    constructor(problem) {
        super(problem.detail ?? problem.title ?? 'The server answered with an error.');
        this.status = problem.status ?? 0;
        this.code = problem.code ?? '';
        this.detail = this.message;
        this.pointer = problem.pointer ?? '';
        this.limit = problem.limit;
        this.need = problem.need;
        this.requestId = problem.request_id ?? '';
    }
}

/** @typedef {{shape: number[], axes: string[], values: Float32Array|Int32Array}} Tensor  row-major; minus infinity where JSON has null */

let key = '';

/** @param {string} value '' for none */
export function setKey(value) {
    key = value;
}

export function hasKey() {
    return key !== '';
}

/**
 * POST /v1/attention.
 * @param {object} body
 * @param {{accept?: string, query?: string, signal?: AbortSignal, onLine?: (line: object) => void, onFirstByte?: () => void}} [how]
 *   ndjson: each line goes to onLine, the last is returned. JSON: the parsed answer. Anything else: a Blob. `query` as "scale=row".
 */
export async function attention(body, { accept = 'application/json', query = '', signal, onLine, onFirstByte } = {}) {
    const answer = await send('v1/attention' + (query ? `?${query}` : ''), { body, accept, signal });
    if (accept === 'application/x-ndjson')
        return lines(answer, onLine, onFirstByte);
    return accept === 'application/json' ? answer.json() : answer.blob();
}

/** POST /v1/estimate. @param {object} body @param {{accept?: string, signal?: AbortSignal}} [how] `accept`: the form that is asked about */
export async function estimate(body, { accept, signal } = {}) {
    return (await send('v1/estimate' + (accept ? `?accept=${encodeURIComponent(accept)}` : ''), { body, signal })).json();
}

/** POST /v1/tokenize. */
export async function tokenize(body, { signal } = {}) {
    return (await send('v1/tokenize', { body, signal })).json();
}

/** GET /v1/models. @returns {Promise<{default: string, models: object[]}>} */
export async function models({ signal } = {}) {
    return (await send('v1/models', { signal })).json();
}

async function send(path, { body, accept = 'application/json', signal }) {
    const headers = { Accept: accept };
    if (/[^!-~]/.test(key)) // which no header can carry: fetch would speak of the network
        throw new ApiError({ status: 401, code: 'unauthorized', detail: 'A key has letters, digits and -._~+/= alone.' });
    if (key)
        headers.Authorization = `Bearer ${key}`;
    if (body !== undefined)
        headers['Content-Type'] = 'application/json';
    let answer;
    try {
        answer = await fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, body: body && JSON.stringify(body), signal, credentials: 'omit', referrerPolicy: 'no-referrer' });
    } catch (failure) {
        throw failure.name === 'AbortError' ? failure : new ApiError({ detail: 'The server cannot be reached.', code: 'unreachable' });
    }
    if (!answer.ok)
        throw await problemOf(answer);
    return answer;
}

async function problemOf(answer) {
    try {
        return new ApiError({ status: answer.status, ...await answer.json() });
    } catch {
        return new ApiError({ status: answer.status, detail: `The server answered ${answer.status} ${answer.statusText}.` });
    }
}

/** Reads newline-delimited JSON as it comes; the last line says whether all went well. */
async function lines(answer, onLine, onFirstByte) {
    const reader = answer.body.getReader(), decoder = new TextDecoder();
    let parts = [], last = null;
    const take = () => {
        const text = parts.join('');
        parts = [];
        if (!text.trim())
            return;
        last = JSON.parse(text);
        if (last.error)
            throw new ApiError(last.error);
        onLine?.(last);
    };
    for (let first = true; ; first = false) {
        const { done, value } = await reader.read();
        if (done)
            break;
        if (first)
            onFirstByte?.();
        let from = 0;
        for (let end; (end = value.indexOf(10, from)) >= 0; from = end + 1) {
            parts.push(decoder.decode(value.subarray(from, end), { stream: true }));
            take();
        }
        parts.push(decoder.decode(value.subarray(from), { stream: true }));
    }
    take();
    if (!last?.done)
        throw new ApiError({ detail: 'The answer broke off before its end.', code: 'broken_off' });
    return last;
}

/**
 * A tensor of an answer as numbers in a row.
 * @param {{shape: number[], axes: string[], dtype: string, data: string|Array}} tensor
 * @returns {Tensor}
 */
export function tensorOf({ shape, axes, dtype, data }) {
    if (typeof data !== 'string')
        return { shape, axes, values: flatten(data, new (dtype === 'int32' ? Int32Array : Float32Array)(shape.reduce((a, b) => a * b, 1))) };
    const bytes = bytesOf(data);
    if (dtype === 'float16')
        return { shape, axes, values: Float32Array.from(new Uint16Array(bytes.buffer), halfToNumber) };
    if (dtype === 'uint8')
        return { shape, axes, values: Float32Array.from(bytes, byte => byte / 255) };
    return { shape, axes, values: new (dtype === 'int32' ? Int32Array : Float32Array)(bytes.buffer) };
}

/** Every tensor of an object (a result, a line, `analyses`) decoded; the rest is left out. @returns {Object<string, Tensor>} */
export function tensorsOf(object) {
    return Object.fromEntries(Object.entries(object).filter(([, value]) => Array.isArray(value?.shape) && value.dtype).map(([name, value]) => [name, tensorOf(value)]));
}

function bytesOf(base64) {
    if (Uint8Array.fromBase64)
        return Uint8Array.fromBase64(base64);
    const binary = atob(base64), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++)
        bytes[i] = binary.charCodeAt(i);
    return bytes;
}

function halfToNumber(half) {
    const exponent = half >> 10 & 31, fraction = half & 1023, sign = half >> 15 ? -1 : 1;
    if (exponent === 31)
        return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

function flatten(nested, values) {
    let i = 0;
    const walk = part => {
        for (const item of part)
            if (Array.isArray(item))
                walk(item);
            else
                values[i++] = item ?? -Infinity;
    };
    walk([nested].flat());
    return values;
}

/**
 * The same request for a terminal. A key is named by a variable, never written out.
 * @param {object} body @param {string} [accept] @param {string} [query] @param {string} [file] where curl shall put the answer
 */
export function curlOf(body, accept = 'application/json', query = '', file = '') {
    const url = new URL('v1/attention' + (query ? `?${query}` : ''), document.baseURI);
    const parts = ['curl', quoted(url.href), '-H', quoted('Content-Type: application/json'), '-H', quoted(`Accept: ${accept}`)];
    if (key)
        parts.push('-H', '"Authorization: Bearer $ATTND_KEY"');
    parts.push('-d', quoted(JSON.stringify(body)), ...(file ? ['-o', quoted(file)] : []));
    return parts.join(' ');
}

/** For a POSIX shell. */
function quoted(text) {
    return `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}
