// test_compare.js - two inputs, models and heads beside each other: differences are a - b of the API's numbers, on the tokens that both have.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { serious } from './accessibility.js';
import { complete, explorer, frame, minilm, picture } from './harness.js';

const { test } = explorer({ options: ['--model', 'builtin:attnd-bert', '--model', 'builtin:attnd-gpt', '--model', 'builtin:attnd-translate', ...(minilm ? ['--model', `minilm=${minilm}`] : [])] });
const tired = 'The animal didn\'t cross the street because it was too tired.', wide = tired.replace('tired', 'wide');
const as = compare => ({ view: 'compare', layer: 5, head: 1, compare: { text: null, model: '', layer: -1, head: -1, ...compare } });

const mapOf = async (attention, text, fields = {}) => {
    const { results: [result] } = await attention({ text, layers: [5], heads: [1], output: ['attentions'], ...fields });
    return { tokens: result.tokens.map(token => token.text), map: result.attentions.data[0][0] };
};

/** The three numbers of a cell, read by keyboard from the difference map: `row` and `column` in the merged sequence. */
async function read(page, row, column) {
    const canvas = page.locator('#panel-compare canvas').nth(2);
    await canvas.focus();
    await page.keyboard.press('Escape');
    await page.keyboard.press('ArrowDown'); // puts the cursor on a cell
    for (let i = 0; i < 40; i++)
        await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Home');
    for (const [key, times] of [['ArrowDown', row], ['ArrowRight', column]])
        for (let i = 0; i < times; i++)
            await page.keyboard.press(key);
    await page.keyboard.press('Enter');
    await frame(page);
    return page.locator('.compare-said .number').evaluateAll(all => all.map(node => Number(node.dataset.exact)));
}

/** In float32, as the page has them. */
const minus = (a, b) => Math.fround(Math.fround(a) - Math.fround(b));

const ready = page => page.locator('.compare-ranks table').waitFor();

test('two texts: differences are a - b of the API, on shared tokens', async ({ open, attention }) => {
    const page = await open(as({ text: wide })), a = await mapOf(attention, tired), b = await mapOf(attention, wide);
    await ready(page);
    const it = a.tokens.indexOf('it');
    for (const [q, k] of [['it', 'animal'], ['it', 'street'], ['[CLS]', 'because'], ['because', 'it']]) {
        const row = a.tokens.indexOf(q), column = a.tokens.indexOf(k), numbers = await read(page, row, column);
        assert.ok(row <= it + 2 && column <= it + 2, 'both stand before the word that differs');
        assert.deepEqual(numbers.slice(0, 2), [a.map[row][column], b.map[row][column]], `${q} → ${k}`);
        assert.equal(Math.fround(numbers[2]), minus(a.map[row][column], b.map[row][column]));
    }
    // [SEP] stands one place further on in the merged sequence: after "tired" and "wide", each alone
    const last = a.tokens.length - 1, ends = await read(page, last + 1, last + 1);
    assert.deepEqual(ends.slice(0, 2), [a.map[last][last], b.map[last][last]]);
    const alone = await read(page, a.tokens.indexOf('tired'), 0);
    assert.deepEqual(alone, [a.map[a.tokens.indexOf('tired')][0]], 'one number: the other has no such token');
    assert.match(await page.locator('#panel-compare .note').nth(1).textContent(), /15 of 17 tokens/);
});

test('the table of heads has the distance of each, and chooses', async ({ open, attention }) => {
    const page = await open(as({ text: wide }));
    await ready(page);
    const all = async text => (await attention({ text, output: ['attentions'] })).results[0].attentions.data, a = await all(tired), b = await all(wide);
    const of = n => [...Array(n).keys()].filter(i => i !== n - 3), kept = of(a[0][0].length); // "tired" and "wide" are the third from the end, alone on their sides
    const distance = (x, y) => kept.reduce((sum, q) => sum + kept.reduce((row, k) => row + Math.abs(x[q][k] - y[q][k]), 0) / 2, 0) / kept.length;
    const shown = await page.locator('.compare-ranks button').evaluateAll(all => all.map(button => [Number(button.dataset.layer), Number(button.dataset.head), Number(button.title.split(': ')[1])]));
    assert.equal(shown.length, 48);
    for (const [layer, head, value] of shown)
        assert.ok(Math.abs(value - distance(a[layer][head], b[layer][head])) < 6e-5, `L${layer}H${head}: ${value}`);
    await page.locator('.compare-ranks button[data-layer="2"][data-head="3"]').click();
    await frame(page);
    assert.match(await page.locator('#panel-compare section h3').first().textContent(), /layer 2, head 3/);
    assert.equal(await page.locator('.head[aria-selected="true"]').getAttribute('aria-label').then(label => label.slice(0, 15)), 'Layer 2, head 3');
});

test('two heads of one answer are compared without another request', async ({ open, attention }) => {
    const page = await open(as({ layer: 2, head: 1 })), asked = [];
    page.on('request', request => asked.push(request.url()));
    const a = await mapOf(attention, tired), b = await mapOf(attention, tired, { layers: [2] }), numbers = await read(page, 8, 2);
    assert.deepEqual([...numbers.slice(0, 2), Math.fround(numbers[2])], [a.map[8][2], b.map[8][2], minus(a.map[8][2], b.map[8][2])]);
    assert.deepEqual(asked.filter(url => url.includes('/v1/attention')), []);
});

test('two models: tokens are laid over each other whatever their tokenizers write', async ({ open, attention }) => {
    const page = await open(as({ model: 'attnd-gpt' })), a = await mapOf(attention, tired), b = await mapOf(attention, tired, { model: 'attnd-gpt' });
    await ready(page);
    const q = a.tokens.indexOf('animal'), k = a.tokens.indexOf('the');
    assert.deepEqual((await read(page, q, k)).slice(0, 2), [a.map[q][k], b.map[b.tokens.indexOf('Ġanimal')][b.tokens.indexOf('The')]]);
});

test('the second text is typed and its errors stand at its field', async ({ open, expectErrors }) => {
    expectErrors(/Failed to load resource.*4\d\d/);
    const page = await open({ view: 'compare' });
    await page.fill('#c-text', 'word '.repeat(600));
    await page.press('#c-text', 'Enter');
    await page.locator('#problem .problem').waitFor();
    assert.equal(await page.locator('#c-text').getAttribute('aria-invalid'), 'true');
    await page.fill('#c-text', wide);
    await page.press('#c-text', 'Enter');
    await ready(page);
    assert.equal(await page.locator('#problem').textContent(), '');
    await complete(page);
});

test('the three maps zoom together', async ({ open }) => {
    const page = await open(as({ text: wide }));
    await ready(page);
    await page.locator('#panel-compare canvas').nth(1).focus();
    await page.keyboard.press('+');
    const sizes = () => page.locator('#panel-compare .heat-where').allTextContents();
    await page.waitForFunction(() => [...document.querySelectorAll('#panel-compare .heat-where')].every(node => / of 17 × 17/.test(node.textContent)));
    assert.equal(new Set(await sizes()).size, 1);
    await page.keyboard.press('0');
    await page.waitForFunction(() => [...document.querySelectorAll('#panel-compare .heat-where')].every(node => node.textContent === '17 × 17'));
});

for (const [width, dark] of [[1440, true], [900, false], [390, false], [390, true]])
    test(`the comparison fits ${width} px, ${dark ? 'dark' : 'light'}, and axe finds nothing serious`, async ({ open }) => {
        const page = await open(as({ text: wide }), { width, dark });
        await ready(page);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
        assert.deepEqual(await serious(page), []);
        await picture(page, `compare-${width}-${dark ? 'dark' : 'light'}`);
    });
