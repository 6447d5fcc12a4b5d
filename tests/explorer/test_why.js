// test_why.js - why a weight is what it is, and what tokens take home: every number in the page against the API's own.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { complete, explorer, frame, link, picture } from './harness.js';

const { test } = explorer();
const text = 'The animal didn\'t cross the street because it was too tired.';
const pair = { q: 10, k: 2 }, layer = 5, head = 1;
const why = (more = {}) => link({ view: 'why', layer, head, cell: pair, ...more });
const outputs = ['query', 'key', 'value', 'raw_scores', 'scores', 'attentions', 'context'];

const exact = (page, selector) => page.$eval(selector, node => (node.dataset.exact === 'minus infinity' ? null : Number(node.dataset.exact)));
const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

const shown = async (page, panel = 'why') => {
    await page.waitForSelector(`#panel-${panel}:not([aria-busy]) .step`);
    await frame(page);
};

test('query, key, products, scores, weights and context are the API\'s, to the last digit', async ({ open, attention }) => {
    const page = await open(why());
    await shown(page);
    const { results: [r] } = await attention({ text, layers: [layer], heads: [head], output: outputs }), of = name => r[name].data[0][0];
    const [query, key] = [of('query')[pair.q], of('key')[pair.k]];
    const rows = await page.$$eval('#panel-why details tbody tr',
        lines => lines.map(line => [Number(line.cells[0].textContent), ...[...line.querySelectorAll('td')].map(td => Number(td.dataset.exact))]));
    assert.equal(rows.length, 32);
    for (const [i, a, b, product] of rows) {
        assert.equal(a, query[i]);
        assert.equal(b, key[i]);
        assert.ok(Math.abs(product - a * b) <= 1e-6 * Math.abs(a * b));
    }
    assert.deepEqual(rows.map(row => row[0]), [...query.keys()].sort((a, b) => Math.abs(query[b] * key[b]) - Math.abs(query[a] * key[a])));
    const sum = dot(query, key);
    assert.ok(Math.abs(await exact(page, '#panel-why .dot .number') - sum) < 1e-5);
    assert.equal(await exact(page, '#panel-why .raw .number'), of('raw_scores')[pair.q][pair.k]);
    assert.ok(Math.abs(sum / Math.sqrt(32) - of('raw_scores')[pair.q][pair.k]) < 1e-5);
    assert.match(await page.textContent('#panel-why [data-step="2"]'), /1\/√32/);
    assert.equal(await exact(page, '#panel-why .score .number'), of('scores')[pair.q][pair.k]);
    assert.equal(await exact(page, '#panel-why .weight .number'), of('attentions')[pair.q][pair.k]);
    const table = await page.$$eval('#panel-why .row-table tbody tr',
        lines => lines.map(line => [...line.querySelectorAll('td.number')].map(td => Number(td.dataset.exact))));
    assert.deepEqual(table.map(row => row[0]), of('scores')[pair.q]);
    assert.deepEqual(table.map(row => row[2]), of('attentions')[pair.q]);
    assert.match(await page.textContent('#panel-why .lead'), /it gives animal .*the most of 16\./);
    for (const line of await page.$$eval('#panel-why .apart', nodes => nodes.map(node => node.textContent)))
        assert.ok(Number(/own: (\S+)\.$/.exec(line)[1]) < 1e-5, line);
    await picture(page, 'why-it-1440');
});

test('the strips say the numbers under the cursor, by mouse and by key', async ({ open, attention }) => {
    const page = await open(why());
    await shown(page);
    const { results: [{ query, key }] } = await attention({ text, layers: [layer], heads: [head], output: ['query', 'key'] });
    const slider = page.locator('#panel-why [data-step="1"] input[type=range]');
    await slider.focus();
    await page.keyboard.press('Home');
    assert.match(await slider.getAttribute('aria-valuetext'), /^number 0 of 32:/);
    await page.keyboard.press('ArrowRight');
    const said = await slider.getAttribute('aria-valuetext'), numbers = said.replaceAll('−', '-').match(/-?[\d.]+(e-?\d+)?/g).map(Number);
    assert.deepEqual(numbers.slice(0, 2), [1, 32]);
    assert.ok(Math.abs(numbers[2] - query.data[0][0][pair.q][1]) < 1e-3 && Math.abs(numbers[3] - key.data[0][0][pair.k][1]) < 1e-3, said);
    const box = await page.locator('#panel-why [data-step="1"] .strip-bars').first().boundingBox();
    await page.mouse.move(box.x + box.width * 31.5 / 32, box.y + 5);
    assert.match(await page.textContent('#panel-why [data-step="1"] .said'), /^number 31 of 32:/);
    await page.check('#panel-why [data-step="1"] input[type=checkbox]');
    const products = query.data[0][0][pair.q].map((x, i) => Math.abs(x * key.data[0][0][pair.k][i])), largest = products.indexOf(Math.max(...products));
    assert.match(await page.textContent('#panel-why [data-step="1"] .said'), new RegExp(`^number ${largest} of 32:`));
});

test('another pair is chosen by select, by the row, by the heat map\'s cell, and focus stays', async ({ open, attention }) => {
    const page = await open(why());
    await shown(page);
    const { results: [{ attentions }] } = await attention({ text, layers: [layer], heads: [head], output: ['attentions'] }), map = attentions.data[0][0];
    const weighs = async (q, k) => {
        await page.waitForFunction(value => Number(document.querySelector('#panel-why .weight .number')?.dataset.exact) === value, map[q][k]);
        assert.equal(await exact(page, '#panel-why .lead .number'), map[q][k]);
    };
    await page.locator('#panel-why select').first().focus();
    await page.keyboard.press('ArrowDown');
    await weighs(11, 2);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'SELECT');
    await page.locator('#panel-why [data-key="4"] button').focus();
    await page.keyboard.press('Enter');
    await weighs(11, 4);
    assert.equal(await page.evaluate(() => document.activeElement.closest('tr')?.dataset.key), '4');
    await page.evaluate(async () => (await import(new URL('explorer/state.js', document.baseURI))).set({ cell: { q: 1, k: 3 } }));
    await weighs(1, 3);
    await page.click('.head[data-layer="2"][data-head="1"]');
    await page.waitForFunction(() => /head 1 of layer 2/.test(document.querySelector('#panel-why .lead')?.textContent));
});

test('a masked pair says so: its score is minus infinity, its weight nothing', async ({ open, attention }) => {
    const request = { embeddings: [[1, 2], [3, 4], [0, 1]], is_causal: true };
    const page = await open(link({ view: 'why', cell: { q: 0, k: 2 }, input: { kind: 'own', text: '', textPair: '', model: '', addSpecialTokens: true },
        own: { form: 'embeddings', preset: '', words: 'a b c', keyWords: '',
            fields: { embeddings: JSON.stringify(request.embeddings), is_causal: 'true' } } }));
    await shown(page);
    const { results: [{ scores, raw_scores: raw }] } = await attention({ ...request, output: ['scores', 'raw_scores'] });
    assert.equal(scores.data[0][0][0][2], null);
    assert.equal(await exact(page, '#panel-why .score .number'), null);
    assert.equal(await exact(page, '#panel-why .raw .number'), raw.data[0][0][0][2]);
    assert.equal(await exact(page, '#panel-why .weight .number'), 0);
    assert.match(await page.textContent('#panel-why [data-step="2"]'), /mask hides this key/);
});

test('a long row shows the keys that matter, and what the others weigh', async ({ open, attention }) => {
    const long = Array.from({ length: 90 }, (_, i) => `word${i} cat`).join(' ');
    const page = await open(link({ view: 'why', layer: 3, head: 2, cell: { q: 20, k: 50 },
        input: { kind: 'text', text: long, textPair: '', model: '', addSpecialTokens: true } }));
    await shown(page);
    const { results: [{ attentions }] } = await attention({ text: long, layers: [3], heads: [2], queries: [20], output: ['attentions'] }),
        row = attentions.data[0][0][0];
    const keys = await page.$$eval('#panel-why .row-table tbody tr', lines => lines.map(line => Number(line.dataset.key)));
    assert.equal(keys.length, 24);
    assert.ok(keys.includes(50));
    const heavy = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 23);
    assert.deepEqual(heavy.filter(key => !keys.includes(key)), []);
    assert.match(await page.textContent('#panel-why caption'), new RegExp(`the other ${row.length - 24} weigh`));
});

test('lengths and likeness of context vectors follow from the API\'s context', async ({ open, attention }) => {
    const page = await open(why({ view: 'context' }));
    await shown(page, 'context');
    const { results: [{ context, tokens }] } = await attention({ text, layers: [layer], output: ['context'] }), heads = context.data[0];
    const cells = await page.$$eval('#panel-context .numbers tbody tr',
        lines => lines.map(line => [...line.querySelectorAll('td')].map(td => Number(td.dataset.exact))));
    assert.equal(cells.length, tokens.length);
    cells.forEach((row, token) => row.forEach((length, h) => assert.ok(Math.abs(length - Math.hypot(...heads[h][token])) < 1e-5, `${token} ${h}`)));
    const likeness = vectors => vectors.map(a => vectors.map(b => dot(a, b) / Math.hypot(...a) / Math.hypot(...b)));
    for (const [choice, vectors] of [['0', heads[1]], ['1', tokens.map((_, token) => heads.flatMap(h => h[token]))]]) {
        await page.getByRole('combobox', { name: 'similarity in' }).selectOption(choice);
        await frame(page);
        const row = likeness(vectors)[pair.q], near = [...row.keys()].filter(i => i !== pair.q).sort((a, b) => row[b] - row[a]).slice(0, 6);
        const said = await page.$$eval('#panel-context .lead bdi', nodes => nodes.map(node => node.textContent)),
            values = await page.$$eval('#panel-context .lead .number', nodes => nodes.map(node => Number(node.dataset.exact)));
        assert.deepEqual(said, [pair.q, ...near].map(i => tokens[i].text));
        values.forEach((value, i) => assert.ok(Math.abs(value - row[near[i]]) < 1e-5));
    }
    await picture(page, 'context-it-1440');
});

test('arithmetic of the page: a row without keys is zeros, a factor is named when it has a name', async ({ open }) => {
    const page = await open();
    await complete(page);
    const said = await page.evaluate(async () => {
        const { softmax, scaleOf } = await import(new URL('explorer/neuron.js', document.baseURI));
        const scale = (query, key, raw) => scaleOf({ query: Float32Array.from(query), key: Float32Array.from(key), raw: Float32Array.from(raw) });
        return {
            nothing: [...softmax(Float32Array.of(-Infinity, -Infinity)).weights], sure: [...softmax(Float32Array.of(1000, -Infinity, 1000)).weights],
            root: scale([1, 2, 3, 4], [1, 1, 1, 1, 2, 2, 2, 2], [5, 10]).name, one: scale([1, 2, 3, 4], [1, 1, 1, 1], [10]).name,
                other: scale([1, 2, 3, 4], [1, 1, 1, 1], [3]),
            empty: scale([0, 0], [1, 1], [0]).factor,
        };
    });
    assert.deepEqual(said.nothing, [0, 0]);
    assert.deepEqual(said.sure, [0.5, 0, 0.5]);
    assert.deepEqual([said.root, said.one, said.other.name, said.empty], ['1/√4', '1', '', 1]);
    assert.ok(Math.abs(said.other.factor - 0.3) < 1e-6);
});

for (const [width, dark] of [[1440, true], [900, false], [390, false], [390, true]])
    test(`why and context fit ${width} px, ${dark ? 'dark' : 'light'}`, async ({ open }) => {
        for (const view of ['why', 'context']) {
            const page = await open(why({ view }), { width, dark });
            await shown(page, view);
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), view);
            await picture(page, `${view}-${width}-${dark ? 'dark' : 'light'}`);
            await page.context().close();
        }
    });
