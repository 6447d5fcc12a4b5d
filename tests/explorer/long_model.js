// long_model.js - a model for inputs of 8192 tokens, made of attnd-gpt: its 512 position embeddings, repeated. What it says is nonsense, its maps are maps.
// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const POSITIONS = 8192, NAME = 'transformer.wpe.weight';

/** @param {string} from attnd-gpt's folder @param {string} to a folder to make @returns {string} `to` */
export function makeLongModel(from, to) {
    if (existsSync(join(to, 'model.safetensors')))
        return to;
    mkdirSync(to, { recursive: true });
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
        copyFileSync(join(from, name), join(to, name));
    const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
    writeFileSync(join(to, 'config.json'), JSON.stringify({ ...config, n_positions: POSITIONS }));
    writeFileSync(join(to, 'new'), repeated(readFileSync(join(from, 'model.safetensors'))));
    renameSync(join(to, 'new'), join(to, 'model.safetensors'));
    return to;
}

/** The file with the rows of NAME over and over; other tensors as they are. */
function repeated(file) {
    const length = Number(file.readBigUInt64LE(0)), head = JSON.parse(file.toString('utf8', 8, 8 + length)), data = file.subarray(8 + length);
    const parts = [], out = {};
    let at = 0;
    for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(head).filter(([key]) => key !== '__metadata__')) {
        const times = name === NAME ? POSITIONS / shape[0] : 1, bytes = Array(times).fill(data.subarray(begin, end));
        parts.push(...bytes);
        out[name] = { dtype, shape: [shape[0] * times, ...shape.slice(1)], data_offsets: [at, at += times * (end - begin)] };
    }
    const text = Buffer.from(JSON.stringify(out)), size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([size, text, ...parts]);
}
