// presets.js - attention that textbooks print: the inputs, and the numbers their authors give, to hold beside what this server computes.
// Facts alone, taken over from tests/golden/worked-examples/examples.json, which a test compares this list with.
// SPDX-License-Identifier: Apache-2.0

/** @typedef {{name: string, title: string, source: string, tokens?: string[], request: object, printed: object, tolerance: number}} Preset */
/** @type {Preset[]} */
export const presets = [
    {
        name: 'raschka_unweighted',
        title: 'Raschka: one step, no weights',
        source: 'S. Raschka, Build a Large Language Model (From Scratch), chapter 3: \'Your journey starts with one step\'',
        tokens: ['Your', 'journey', 'starts', 'with', 'one', 'step'],
        request: {
            embeddings: [[0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64], [0.22, 0.58, 0.33], [0.77, 0.25, 0.1], [0.05, 0.8, 0.55]],
            scale: 1,
        },
        printed: {
            attentions_row_1: [0.1385, 0.2379, 0.2333, 0.124, 0.1082, 0.1581],
            context: [
                [0.4421, 0.5931, 0.579], [0.4419, 0.6515, 0.5683], [0.4431, 0.6496, 0.5671],
                [0.4304, 0.6298, 0.551], [0.4671, 0.591, 0.5266], [0.4177, 0.6503, 0.5645],
            ],
        },
        tolerance: 0.0001,
    },
    {
        name: 'raschka_trainable',
        title: 'Raschka: trainable weights',
        source: 'S. Raschka, Build a Large Language Model (From Scratch), chapter 3: '
            + 'trainable projections, seed 123; weight matrices recomputed from the seed, all printed contexts match',
        tokens: ['Your', 'journey', 'starts', 'with', 'one', 'step'],
        request: {
            embeddings: [[0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64], [0.22, 0.58, 0.33], [0.77, 0.25, 0.1], [0.05, 0.8, 0.55]],
            w_q: [[0.29611194, 0.51656228], [0.25167072, 0.68855679], [0.07397246, 0.86652195]],
            w_k: [[0.13657987, 0.10247904], [0.18405646, 0.72644675], [0.31525391, 0.68710667]],
            w_v: [[0.07563531, 0.19663817], [0.31641197, 0.40174013], [0.1185683, 0.82739538]],
        },
        printed: {
            attentions_row_1: [0.15, 0.2264, 0.2199, 0.1311, 0.0906, 0.182],
            context: [[0.2996, 0.8053], [0.3061, 0.821], [0.3058, 0.8203], [0.2948, 0.7939], [0.2927, 0.7891], [0.299, 0.804]],
            analyses_recomputed: {entropy: 1.7652, confidence: 0.211, mean_distance: 1.9169, self: 0.1757, previous_token: 0.1662},
        },
        tolerance: 0.0002,
    },
    {
        name: 'karim',
        title: 'Karim: Illustrated Self-Attention',
        source: 'R. Karim, Illustrated: Self-Attention; unscaled',
        request: {
            embeddings: [[1, 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]],
            scale: 1,
            w_k: [[0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]],
            w_q: [[1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 1]],
            w_v: [[0, 2, 0], [0, 3, 0], [1, 0, 3], [1, 1, 0]],
        },
        printed: {
            scores: [[2, 4, 4], [4, 16, 12], [4, 12, 10]],
            attentions_row_0: [0.063379, 0.46831, 0.46831],
            context: [[1.9366, 6.6831, 1.5951], [2.0, 7.964, 0.054], [1.9997, 7.7599, 0.3584]],
        },
        tolerance: 0.0001,
    },
];
