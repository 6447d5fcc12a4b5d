// files.js - reads tensors out of .npy and .safetensors files that a person drops on the page, and writes a tensor the way the API reads one.
//
// A dropped file is a stranger's: every length, offset and product in it is checked against the bytes there are before anything is made of it, and what is
// wrong is said in one sentence (FileError). Nothing here runs what a file holds. The formats: NumPy's NEP 1, and the safetensors format (an 8-byte length,
// JSON, bytes). SPDX-License-Identifier: Apache-2.0

/** A file that cannot be read as numbers; the message is one sentence for a person. */
export class FileError extends Error {}

/** @typedef {{name: string, shape: number[], data: Float32Array, isBool: boolean}} Tensor  row-major; booleans are 0 and 1 */

/** The most that is read: the server's body limit leaves room for about as much in base64. */
export const maxFileBytes = 64 * 1024 * 1024;
const maxHeaderBytes = 65536;
const maxRank = 4;

/** What a number of each kind takes, and how it is read at a byte offset. 64-bit integers lose nothing that float32 would keep. */
const kinds = {
    f8: [8, (v, at, little) => v.getFloat64(at, little)],
    f4: [4, (v, at, little) => v.getFloat32(at, little)],
    f2: [2, (v, at, little) => fromHalf(v.getUint16(at, little))],
    bf16: [2, readBrain],
    i8: [8, (v, at, little) => Number(v.getBigInt64(at, little))],
    u8: [8, (v, at, little) => Number(v.getBigUint64(at, little))],
    i4: [4, (v, at, little) => v.getInt32(at, little)],
    u4: [4, (v, at, little) => v.getUint32(at, little)],
    i2: [2, (v, at, little) => v.getInt16(at, little)],
    u2: [2, (v, at, little) => v.getUint16(at, little)],
    i1: [1, (v, at) => v.getInt8(at)],
    u1: [1, (v, at) => v.getUint8(at)],
    b1: [1, (v, at) => (v.getUint8(at) ? 1 : 0)],
};

const safetensorsKinds = {
    F64: 'f8', F32: 'f4', F16: 'f2', BF16: 'bf16', I64: 'i8', U64: 'u8', I32: 'i4', U32: 'u4', I16: 'i2', U16: 'u2', I8: 'i1', U8: 'u1', BOOL: 'b1',
};

function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31)
        return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

function readBrain(view, at, little) {
    const word = new DataView(new ArrayBuffer(4));
    word.setUint16(0, view.getUint16(at, little));
    return word.getFloat32(0);
}

/** How many numbers a shape holds. */
export function sizeOf(shape) {
    return shape.reduce((n, side) => n * side, 1);
}

function checkShape(shape, what) {
    if (!Array.isArray(shape) || !shape.every((side) => Number.isSafeInteger(side) && side >= 0))
        throw new FileError(`${what} has no readable shape.`);
    if (shape.length < 1 || shape.length > maxRank)
        throw new FileError(`${what} has ${shape.length} axes; 1 to ${maxRank} can be used here.`);
    if (sizeOf(shape) === 0)
        throw new FileError(`${what} has the shape [${shape.join(", ")}], which holds nothing.`);
}

function numbersOf(view, start, kind, count, little) {
    const [bytes, read] = kinds[kind];
    const data = new Float32Array(count);
    for (let i = 0; i < count; i++)
        data[i] = read(view, start + i * bytes, little);
    return data;
}

/** Fortran order to row-major: the first axis runs fastest in the file. */
function rowMajor(data, shape) {
    const out = new Float32Array(data.length), at = shape.map(() => 0);
    for (let i = 0; i < out.length; i++) {
        let from = 0;
        for (let axis = shape.length - 1; axis >= 0; axis--)
            from = from * shape[axis] + at[axis];
        out[i] = data[from];
        for (let axis = shape.length - 1; axis >= 0 && ++at[axis] === shape[axis]; axis--)
            at[axis] = 0;
    }
    return out;
}

/** The three facts in a .npy header, which is a Python dict written by repr(). */
function npyFacts(header, what) {
    const descr = /'descr'\s*:\s*'([<>|=]?)([a-zA-Z])(\d*)'/.exec(header);
    const order = /'fortran_order'\s*:\s*(True|False)/.exec(header);
    const shape = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(header);
    if (!descr && /'descr'/.test(header))
        throw new FileError(`${what} holds records, not one array of numbers.`);
    if (!descr || !order || !shape)
        throw new FileError(`${what} has a header that cannot be read: ${header.trim().slice(0, 80)}`);
    if (descr[2] === 'O')
        throw new FileError(`${what} holds Python objects, which only Python can open, and only if you trust them. Save an array of numbers.`);
    const kind = descr[2] + descr[3];
    if (!Object.hasOwn(kinds, kind) || kind === 'bf16')
        throw new FileError(`${what} holds numbers of type ${descr[1]}${kind}; float, integer and boolean types can be used.`);
    return { kind, little: descr[1] !== '>', fortran: order[1] === 'True', shape: shape[1].split(',').filter((s) => s.trim()).map(Number) };
}

/** The tensor of a .npy file. @param {ArrayBuffer} buffer @param {string} name @returns {Tensor[]} */
export function readNpy(buffer, name) {
    const view = new DataView(buffer), what = name || 'the file';
    if (buffer.byteLength < 12)
        throw new FileError(`${what} ends before its header does.`);
    const version = view.getUint8(6);
    if (version < 1 || version > 3)
        throw new FileError(`${what} is in version ${version} of the .npy format; 1 to 3 can be read.`);
    const start = version === 1 ? 10 : 12, length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
    if (length > Math.min(maxHeaderBytes, buffer.byteLength - start))
        throw new FileError(`${what} has a header of ${length} bytes, which is more than the file has, or than any array needs.`);
    const facts = npyFacts(new TextDecoder('latin1').decode(new Uint8Array(buffer, start, length)), what);
    checkShape(facts.shape, what);
    const count = sizeOf(facts.shape), need = count * kinds[facts.kind][0], there = buffer.byteLength - start - length;
    if (need !== there)
        throw new FileError(`${what} says shape [${facts.shape.join(", ")}], which is ${need} bytes, but holds ${there}.`);
    const data = numbersOf(view, start + length, facts.kind, count, facts.little);
    return [{ name: name.replace(/\.npy$/i, ''), shape: facts.shape, data: facts.fortran ? rowMajor(data, facts.shape) : data, isBool: facts.kind === 'b1' }];
}

function safetensorsHeader(buffer, what) {
    const view = new DataView(buffer), length = buffer.byteLength < 8 ? NaN : Number(view.getBigUint64(0, true));
    if (!(length <= buffer.byteLength - 8))
        throw new FileError(`${what} is not a safetensors file: its header would be longer than the file.`);
    try {
        const header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(buffer, 8, length)));
        if (header && typeof header === 'object' && !Array.isArray(header))
            return { header, start: 8 + length };
    } catch { /* said below */ }
    throw new FileError(`${what} is not a safetensors file: its header is not a JSON object.`);
}

/** Every tensor of a safetensors file. @param {ArrayBuffer} buffer @param {string} name @returns {Tensor[]} */
export function readSafetensors(buffer, name) {
    const what = name || 'the file', { header, start } = safetensorsHeader(buffer, what), view = new DataView(buffer), tensors = [];
    let left = buffer.byteLength - start; // tensors do not share bytes: a small file cannot ask for a lot of memory
    for (const [key, entry] of Object.entries(header)) {
        if (key === '__metadata__')
            continue;
        const one = `${what}: the tensor ${key.slice(0, 80)}`,
            kind = entry && Object.hasOwn(safetensorsKinds, entry.dtype) ? safetensorsKinds[entry.dtype] : null;
        if (!kind)
            throw new FileError(`${one} is of type ${String(entry?.dtype).slice(0, 20)}, which cannot be used here.`);
        checkShape(entry.shape, one);
        const [begin, end] = Array.isArray(entry.data_offsets) ? entry.data_offsets : [], count = sizeOf(entry.shape);
        if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0 || begin > end || end > buffer.byteLength - start)
            throw new FileError(`${one} lies outside the file.`);
        if (count * kinds[kind][0] !== end - begin)
            throw new FileError(`${one} has the shape [${entry.shape.join(", ")}], which is ${count * kinds[kind][0]} bytes, but holds ${end - begin}.`);
        left -= end - begin;
        if (left < 0)
            throw new FileError(`${what} has tensors that overlap.`);
        tensors.push({ name: key, shape: entry.shape, data: numbersOf(view, start + begin, kind, count, true), isBool: kind === 'b1' });
    }
    if (!tensors.length)
        throw new FileError(`${what} holds no tensor.`);
    return tensors;
}

/** What a file holds, by its first bytes and not by its name. @param {File} file @returns {Promise<Tensor[]>} */
export async function readTensors(file) {
    const name = file.name.slice(0, 120);
    if (file.size > maxFileBytes)
        throw new FileError(`${name} has ${file.size} bytes; up to ${maxFileBytes} can be read here.`);
    const buffer = await file.arrayBuffer(), first = new Uint8Array(buffer, 0, Math.min(6, buffer.byteLength));
    if (!buffer.byteLength)
        throw new FileError(`${name} is empty.`);
    if (first[0] === 0x93 && new TextDecoder('latin1').decode(first.subarray(1)) === 'NUMPY')
        return readNpy(buffer, name);
    if (first[0] === 0x50 && first[1] === 0x4b)
        throw new FileError(`${name} is an archive (.npz?); save each array by itself, as .npy, or all of them as .safetensors.`);
    if (/\.safetensors$/i.test(name))
        return readSafetensors(buffer, name);
    throw new FileError(`${name} is neither .npy nor .safetensors.`);
}

/** A tensor as the API takes it: base64 of float32, or nested booleans. @param {Tensor} tensor */
export function toRequest(tensor) {
    if (tensor.isBool)
        return nested(tensor, (x) => x !== 0);
    const bytes = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength), parts = [];
    for (let at = 0; at < bytes.length; at += 0x8000)
        parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
    return { dtype: 'float32', shape: tensor.shape, data: btoa(parts.join('')) };
}

/** Nested arrays of a tensor, each number through `as`. @param {Tensor} tensor @param {(x: number) => *} as */
export function nested(tensor, as) {
    const build = (axis, offset, stride) => {
        const step = stride / tensor.shape[axis], list = [];
        for (let i = 0; i < tensor.shape[axis]; i++)
            list.push(axis + 1 === tensor.shape.length ? as(tensor.data[offset + i]) : build(axis + 1, offset + i * step, step));
        return list;
    };
    return build(0, 0, tensor.data.length);
}
