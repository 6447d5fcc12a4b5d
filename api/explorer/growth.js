// growth.js - a generation as it is written: each step line is one more row of every map that looks from what is written, and one more token.
//
// Steps often come faster than anybody can read. They are handed on one by one, at a reader's pace, and what comes after them waits its turn; who prefers no
// motion gets them as they come.
// SPDX-License-Identifier: Apache-2.0
import { tensorsOf } from './api.js';

/** @typedef {import('./run.js').Result} Result */

/** Milliseconds between steps, and how many may wait before several are handed on at once. */
const pace = 40;
const patience = 25;

/**
 * Lines of an answer in their order, steps not too fast.
 * @param {(line: object) => void} take gets every line
 * @param {AbortSignal} signal ends it
 * @returns {{push: (line: object) => void, settled: () => Promise<void>}} settled: everything pushed was taken
 */
export function paced(take, signal) {
    const waiting = [], wait = matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : pace;
    let timer = 0, done = null;
    const next = () => {
        timer = 0;
        for (let n = Math.ceil(waiting.length / patience); n > 0 && waiting.length; n--)
            take(waiting.shift());
        if (waiting.length)
            timer = setTimeout(next, wait);
        else
            done?.();
    };
    signal?.addEventListener('abort', () => {
        waiting.length = 0;
        clearTimeout(timer);
        done?.();
    });
    return {
        push(line) {
            if (line.step === undefined && !waiting.length)
                take(line);
            else if (waiting.push(line) && !timer)
                timer = setTimeout(next, wait);
        },
        settled: () => new Promise(resolve => (waiting.length ? (done = resolve) : resolve())),
    };
}

/** @param {Result} result @param {object} line with `step` */
export function takeStep(result, line) {
    const { head, stacks } = result, tensors = tensorsOf(line), part = stacks.decoder ? 'decoder' : 'self';
    const tokens = part === 'self' ? 'tokens' : 'decoder_tokens';
    head[tokens] = [...head[tokens], line.token];
    grow(stacks[part], tensors[part === 'self' ? 'attentions' : 'decoder_attentions'], head[tokens], head[tokens]);
    if (stacks.cross)
        grow(stacks.cross, tensors.cross_attentions, head[tokens], stacks.cross.keyTokens);
}

/**
 * One more row; the others get zeros for keys that they could not see.
 * @param {import('./run.js').Stack} stack @param {import('./api.js').Tensor} row [L, H, 1, T_k]
 */
function grow(stack, { shape: [, H, , T_k], values }, queryTokens, keyTokens) {
    const T_q = stack.T_q + 1;
    stack.layers.forEach((layer, l) => {
        const old = stack.maps.get(layer), maps = new Float32Array(H * T_q * T_k);
        for (let h = 0; h < H; h++) {
            for (let q = 0; q < stack.T_q; q++)
                maps.set(old.subarray((h * stack.T_q + q) * stack.T_k, (h * stack.T_q + q + 1) * stack.T_k), (h * T_q + q) * T_k);
            maps.set(values.subarray((l * H + h) * T_k, (l * H + h + 1) * T_k), (h * T_q + T_q - 1) * T_k);
        }
        stack.maps.set(layer, maps);
    });
    Object.assign(stack, { T_q, T_k, queryTokens, keyTokens });
}
