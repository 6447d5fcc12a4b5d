// colour.js - from a weight to a colour.
//
// Every map of colours is a table of 256, made in OKLab so that equal steps look equal: lightness runs one way, so that the order of weights is seen by the
// colour-blind and survives a grey printer. "ember" starts at the page (light or dark) and ends at its ink; "viridis" is the same on both, and what the API draws.
// SPDX-License-Identifier: Apache-2.0

/** @typedef {'ember'|'viridis'|'grey'} Colours */
/** @typedef {'linear'|'log'|'row'} ScaleKind */
/** A table of 256 colours, each as the bytes R, G, B, A in memory, the way ImageData holds them. @typedef {Uint32Array} Table */

/** The names a person chooses from. @type {Colours[]} */
export const colourNames = ['ember', 'viridis', 'grey'];
/** @type {ScaleKind[]} */
export const scaleNames = ['linear', 'log', 'row'];

// Stops as [lightness, chroma, hue in degrees]; hues run downwards from amber over rose to violet.
const ember = {
    light: [[0.985, 0.008, 85], [0.9, 0.085, 65], [0.76, 0.15, 35], [0.58, 0.185, 5], [0.4, 0.16, -40], [0.2, 0.09, -70]],
    dark: [[0.225, 0.012, -70], [0.36, 0.13, -60], [0.52, 0.18, -20], [0.68, 0.175, 22], [0.84, 0.12, 62], [0.975, 0.04, 95]],
};
const grey = {
    light: [[0.985, 0.003, 85], [0.2, 0.006, 290]],
    dark: [[0.225, 0.006, 290], [0.98, 0.003, 85]],
};
const differences = {
    light: [[0.36, 0.13, 258], [0.62, 0.13, 250], [0.975, 0.004, 85], [0.66, 0.15, 55], [0.4, 0.12, 38]],
    dark: [[0.88, 0.08, 235], [0.62, 0.14, 250], [0.24, 0.008, 290], [0.64, 0.15, 50], [0.9, 0.09, 75]],
};
// Seventeen stops of viridis (van der Walt and Smith, CC0).
const viridis = '440154 481769 472c7a 423f85 3b518b 33628d 2c718e 26818e 21908d 1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725'.split(' ')
    .map(hex => [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16)));

const made = new Map();

/** @param {string} key @param {() => Table} make @returns {Table} */
function once(key, make) {
    if (!made.has(key))
        made.set(key, make());
    return made.get(key);
}

/**
 * Colours for weights from nothing to most.
 * @param {Colours} name @param {boolean} dark whether the page is
 * @returns {Table}
 */
export function sequential(name, dark) {
    if (name === 'viridis')
        return once(name, () => between(viridis, rgb => rgb));
    const stops = (name === 'grey' ? grey : ember)[dark ? 'dark' : 'light'];
    return once(`${name} ${dark}`, () => between(stops, srgbOf));
}

/** Colours for differences: 0 is less, 128 no difference, 255 more. @param {boolean} dark @returns {Table} */
export function diverging(dark) {
    return once(`differences ${dark}`, () => between(differences[dark ? 'dark' : 'light'].map(labOf), lab => srgbOf(lchOf(lab))));
}

/** A table from stops, evenly spread. */
function between(stops, toRgb) {
    const table = new Uint32Array(256), bytes = new Uint8Array(table.buffer);
    for (let i = 0; i < 256; i++) {
        const at = i / 255 * (stops.length - 1), k = Math.min(Math.floor(at), stops.length - 2);
        const rgb = toRgb(stops[k].map((a, c) => a + (stops[k + 1][c] - a) * (at - k)));
        bytes.set([...rgb.map(Math.round), 255], 4 * i);
    }
    return table;
}

// Differences pass from one hue to another by way of none: in OKLab, where the way between two hues does not lead through all others.
const labOf = ([lightness, chroma, hue]) => [lightness, chroma * Math.cos(hue * Math.PI / 180), chroma * Math.sin(hue * Math.PI / 180)];
const lchOf = ([lightness, a, b]) => [lightness, Math.hypot(a, b), Math.atan2(b, a) * 180 / Math.PI];

/** OKLCH to sRGB bytes (Ottosson 2020); what the screen cannot show loses chroma, never lightness. */
function srgbOf([lightness, chroma, hue]) {
    for (let c = chroma; ; c -= 0.004) {
        const rgb = linearOf(lightness, Math.max(c, 0), hue * Math.PI / 180);
        if (c <= 0 || rgb.every(v => v >= -1e-4 && v <= 1 + 1e-4))
            return rgb.map(v => 255 * gamma(Math.min(Math.max(v, 0), 1)));
    }
}

function linearOf(lightness, chroma, hue) {
    const a = chroma * Math.cos(hue), b = chroma * Math.sin(hue);
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3;
    return [
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
    ];
}

function gamma(v) {
    return v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055;
}

/**
 * The colour of a head: hues evenly round the circle; neighbours differ in lightness too.
 * @param {number} head @param {number} heads how many there are @param {boolean} dark
 * @returns {string} for CSS and canvas
 */
export function headColour(head, heads, dark) {
    const hue = 25 + 360 * head / Math.max(heads, 1);
    const lightness = (dark ? [0.8, 0.68] : [0.6, 0.47])[head % 2];
    return `rgb(${srgbOf([lightness, dark ? 0.14 : 0.16, hue]).map(Math.round).join(' ')})`;
}

/** One of a table's colours, for CSS and canvas. @param {Table} table @param {number} level 0 to 255 */
export function cssOf(table, level) {
    const bytes = new Uint8Array(table.buffer, 4 * level, 3);
    return `rgb(${bytes[0]} ${bytes[1]} ${bytes[2]})`;
}

/** Is one of a table's colours dark, so that what is written on it must be light? */
export function isDark(table, level) {
    const bytes = new Uint8Array(table.buffer, 4 * level, 3);
    const linear = [...bytes].map(v => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.19;
}

/**
 * Where a value stands in a table: linear from 0 to `max`; log over the four powers of ten below `max` (as the API draws it); by row as linear, with the row's `max`.
 * @param {ScaleKind} kind @param {number} value @param {number} max the largest of what is shown, or of its row
 * @returns {number} 0 to 255
 */
export function level(kind, value, max) {
    if (!(value > 0) || !(max > 0))
        return 0;
    const at = kind === 'log' ? 1 + Math.log10(value / max) / 4 : value / max;
    return Math.max(0, Math.min(255, Math.round(255 * at)));
}

/** Where a difference stands in a diverging table. @param {number} value @param {number} bound the largest absolute difference */
export function differenceLevel(value, bound) {
    return bound > 0 && Number.isFinite(value) ? Math.max(0, Math.min(255, Math.round(127.5 + 127.5 * value / bound))) : 128;
}
