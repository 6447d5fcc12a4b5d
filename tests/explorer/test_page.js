// test_page.js - the page as a whole: what it opens with, the grid, errors at their fields, links, keys, and who can use it.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { serious } from './accessibility.js';
import { complete, explorer, frame, link, picture } from './harness.js';

const { test } = explorer();
const opening = 'The animal didn\'t cross the street because it was too tired.';

const head = (layer, number) => `.head[data-layer="${layer}"][data-head="${number}"]`;
const invalid = page => page.$$eval('[aria-invalid="true"]', nodes => nodes.map(node => node.id));
const stateOf = page => page.evaluate(async () => (await import(new URL('explorer/state.js', document.baseURI))).get());

test('opens on a sentence, with every head of every layer of the model inside', async ({ open }) => {
    const page = await open();
    assert.equal(await page.inputValue('#f-text'), opening);
    assert.equal(await page.locator('.head:not(.waiting)').count(), 48);
    assert.match(await page.textContent('#status'), /^16 tokens, 6 × 8 maps from attnd-bert, computed in [\d.]+ ms\.$/);
    await picture(page, 'page-1440');
});

test('every thumbnail shows the weights that the API gives, a pixel each', async ({ open, attention }) => {
    const page = await open(), { results: [{ attentions }] } = await attention({ text: opening, output: ['attentions'] });
    const seen = await page.evaluate(async () => {
        const { sequential } = await import(new URL('explorer/colour.js', document.baseURI));
        const table = [...sequential('ember', false)];
        return [...document.querySelectorAll('.head')].map(node => {
            const canvas = node.querySelector('canvas'), pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            return { layer: +node.dataset.layer, head: +node.dataset.head, levels: [...pixels].map(pixel => table.indexOf(pixel)) };
        });
    });
    assert.equal(seen.length, 48);
    for (const { layer, head: h, levels } of seen) {
        const weights = attentions.data[layer][h].flat(), most = Math.max(...weights);
        assert.equal(levels.length, weights.length);
        const worst = Math.max(...weights.map((weight, i) => Math.abs(levels[i] - 255 * weight / most)));
        assert.ok(worst <= 1.5, `layer ${layer}, head ${h}: ${worst}`); // a level is rounded; two levels may share a colour
    }
});

test('the question in the opening sentence is answered one click away', async ({ open, attention }) => {
    const page = await open();
    await page.click('#hint');
    await frame(page);
    const { layer, head: h, cell } = await stateOf(page), { results: [{ tokens, attentions }] } = await attention({ text: opening, output: ['attentions'], layers: [5], heads: [1] });
    assert.deepEqual([layer, h], [5, 1]);
    assert.equal(tokens[cell.q].text, 'it');
    assert.equal(tokens[cell.k].text, 'animal');
    const row = attentions.data[0][0][cell.q];
    assert.equal(row.indexOf(Math.max(...row)), cell.k);
    assert.equal(await page.textContent('#detail-title'), 'Layer 5, head 1');
    assert.equal(await page.getAttribute(head(5, 1), 'aria-selected'), 'true');
    assert.ok(await page.isHidden('#hint'));
    await picture(page, 'it-1440');
});

test('heads are ordered by what the API measures of them, and carry the pattern as a badge', async ({ open, attention }) => {
    const page = await open(), { results: [{ analyses }] } = await attention({ text: opening, output: [], analyses: ['previous_token', 'entropy'] });
    const order = () => page.$$eval('.head', nodes => nodes.map(node => [+node.dataset.layer, +node.dataset.head]));
    for (const [name, sign] of [['previous_token', -1], ['entropy', 1]]) {
        await page.selectOption('#order', name);
        await frame(page);
        const values = (await order()).map(([l, h]) => sign * analyses[name].data[l][h]);
        assert.deepEqual(values, [...values].sort((a, b) => a - b), name);
    }
    assert.ok(analyses.previous_token.data[2][1] > 0.9);
    assert.equal(await page.getAttribute(`${head(2, 1)} .mark`, 'data-sign'), '←');
    assert.match(await page.getAttribute(head(2, 1), 'aria-label'), /^Layer 2, head 1, previous token 0\.9\d, entropy \d\.\d\d$/);
    await picture(page, 'ordered-1440');
});

test('an error stands at the field that it points to, in the API\'s words', async ({ open, expectErrors }) => {
    expectErrors(/Failed to load resource.*(404|413)/);
    const page = await open(link({ input: { kind: 'text', text: 'hi', textPair: '', model: 'nobody', addSpecialTokens: true } }), { wait: false });
    await page.waitForSelector('.problem');
    assert.deepEqual(await invalid(page), ['f-model']);
    assert.match(await page.textContent('#problem'), /nobody.*not_found|nobody.*model/s);
    assert.equal(await page.getAttribute('#f-model', 'aria-describedby'), 'problem-text');
    await page.selectOption('#f-model', 'attnd-bert');
    await complete(page);
    assert.deepEqual(await invalid(page), []);
    assert.equal(await page.locator('.problem').count(), 0);
    await page.fill('#f-text', 'word '.repeat(600));
    await page.press('#f-text', 'Enter');
    await page.waitForSelector('.problem');
    assert.deepEqual(await invalid(page), ['f-text']);
    assert.match(await page.textContent('#problem'), /limit 512, need 602/);
});

test('a link brings back what was seen, and only what differs stands in it', async ({ open }) => {
    const page = await open();
    assert.equal(new URL(page.url()).hash, '');
    await page.fill('#f-text', 'Der Hund schläft. 狗在睡觉。');
    await page.press('#f-text', 'Enter');
    await complete(page);
    await page.click(head(3, 4));
    await page.selectOption('#d-colours', 'viridis');
    await page.selectOption('#theme', 'dark');
    await page.waitForFunction(() => /viridis/.test(location.hash));
    const said = JSON.parse(decodeURIComponent(new URL(page.url()).hash.slice(1)));
    assert.deepEqual(Object.keys(said).sort(), ['colours', 'head', 'input', 'layer', 'theme']);
    const again = await open(new URL(page.url()).hash);
    assert.deepEqual(await stateOf(again), await stateOf(page));
    assert.equal(await again.inputValue('#f-text'), 'Der Hund schläft. 狗在睡觉。');
    assert.equal(await again.textContent('#detail-title'), 'Layer 3, head 4');
});

test('a hostile link does nothing but say that it is damaged', async ({ open }) => {
    const bad = ['#%', '#{', '#null', '#[]', '#1', '#%7B%22layer%22%3A-1%7D', link({ layer: '<img src=x onerror=alert(1)>' }), link({ __proto__: null, constructor: 1 }), '#' + encodeURIComponent('{"__proto__": {"polluted": 1}}'),
        link({ input: { kind: 'text', text: 7, textPair: '', model: '', addSpecialTokens: true } }), link({ input: { kind: 'text', text: 'x' } }), link({ theme: 'javascript:alert(1)' }),
        link({ cell: { q: 1e9, k: 0 } }), link({ zoom: { q0: null, q1: 1, k0: 0, k1: 1 } }), link({ nobody: 1 }), '#' + 'x'.repeat(300_000)];
    for (const fragment of bad) {
        const page = await open(fragment);
        assert.match(await page.textContent('#problem'), /^This link /, fragment.slice(0, 80));
        assert.equal(await page.inputValue('#f-text'), opening);
        assert.equal(await page.evaluate(() => ({}).polluted), undefined);
        await page.context().close();
    }
    const far = await open(link({ layer: 900, head: 900, cell: { q: 900, k: 900 }, view: 'nobody', stack: 'cross', order: 'nobody' }));
    assert.equal(await far.textContent('#detail-title'), 'Layer 0, head 0');
    const markup = await open(link({ input: { kind: 'text', text: '<img src=x onerror=alert(1)><script>alert(2)</script>', textPair: '', model: '', addSpecialTokens: true } }));
    assert.equal(await markup.locator('main img, .input img, .input script').count(), 0);
});

test('tokens are marked in the text where the API says they are, in any script', async ({ open, attention }) => {
    const text = '𝒳 is 日本 🦊 and שלום naïve';
    const page = await open(link({ input: { kind: 'text', text, textPair: 'second', model: '', addSpecialTokens: true } }));
    const { results: [{ tokens }] } = await attention({ text, text_pair: 'second', output: ['attentions'], layers: [0] });
    const points = [...text], expected = tokens.filter(t => !t.special && !t.sequence).map(t => points.slice(t.start, t.end).join(''));
    assert.deepEqual(await page.$$eval('.field:first-child mark', marks => marks.map(mark => mark.textContent)), expected);
    assert.deepEqual(await page.$$eval('.field:nth-child(2) mark', marks => marks.map(mark => mark.textContent)), ['second']);
    const shown = await page.$$eval('.token bdi', nodes => nodes.map(node => node.textContent));
    assert.deepEqual(shown, tokens.map(t => t.text));
    await page.hover('.token:nth-child(2)');
    assert.equal(await page.$eval('mark.pointed', node => node.textContent), expected[0]);
});

test('everything is reached and used with keys alone', async ({ open }) => {
    const page = await open(), reached = new Set();
    for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        const here = await page.evaluate(() => {
            const node = document.activeElement;
            if (node === document.body)
                return null;
            const style = getComputedStyle(node), frame = node.closest('.layers') ? getComputedStyle(node.closest('.layers')) : style;
            return { id: node.id || node.className || node.textContent, visible: (style.outlineStyle !== 'none' && style.outlineWidth !== '0px') || frame.boxShadow !== 'none' };
        });
        if (!here)
            break;
        assert.ok(here.visible, `focus is seen on ${here.id}`);
        reached.add(here.id);
    }
    for (const wanted of ['skip', 'help-button', 'theme', 'f-text', 'f-model', 'f-special', 'run', 'token', 'order', 'head', 'hint', 'd-scale', 'd-colours', 'd-hideFirst', 'd-hideSpecial'])
        assert.ok([...reached].some(id => id.split(' ').includes(wanted)), `${wanted} among ${[...reached].join(', ')}`);
    await page.focus(head(0, 0));
    for (const key of ['ArrowRight', 'ArrowDown', 'ArrowDown', 'ArrowLeft', 'ArrowDown'])
        await page.keyboard.press(key);
    await frame(page);
    assert.equal(await page.textContent('#detail-title'), 'Layer 3, head 0');
    await page.keyboard.press('End');
    await frame(page);
    assert.equal(await page.textContent('#detail-title'), 'Layer 5, head 7');
    await page.keyboard.press('?');
    assert.ok(await page.isVisible('#help'));
    await picture(page, 'help-1440');
    await page.keyboard.press('Escape');
    assert.ok(await page.isHidden('#help'));
});

test('every tab is chosen by arrow keys and shows its panel', async ({ open }) => {
    const page = await open(), tabs = await page.$$eval('#view-tabs [role=tab]:not([hidden])', nodes => nodes.map(node => node.id.slice(4)));
    assert.ok(tabs.length >= 1);
    await page.focus(`#tab-${tabs[0]}`);
    for (const id of tabs) {
        await frame(page);
        assert.equal(await page.getAttribute(`#tab-${id}`, 'aria-selected'), 'true');
        assert.deepEqual(await page.$$eval('#view-panels > .panel:not([hidden])', nodes => nodes.map(node => node.id)), [`panel-${id}`]);
        await page.keyboard.press('ArrowRight');
    }
});

for (const [width, dark] of [[1440, false], [1440, true], [390, false], [390, true]])
    test(`axe finds nothing serious, ${width} px wide, ${dark ? 'dark' : 'light'}`, async ({ open }) => {
        const page = await open('', { width, height: 900, dark });
        for (const id of await page.$$eval('#view-tabs [role=tab]:not([hidden])', nodes => nodes.map(node => node.id))) {
            await page.click(`#${id}`);
            await page.waitForTimeout(150);
            assert.deepEqual(await serious(page), [], id);
        }
        await page.click('#help-button');
        assert.deepEqual(await serious(page), [], 'help');
    });

for (const width of [1440, 900, 400, 390, 320])
    test(`nothing is wider than a screen of ${width} px`, async ({ open }) => {
        const page = await open('', { width, height: 844, touch: width < 500 });
        for (const id of await page.$$eval('#view-tabs [role=tab]:not([hidden])', nodes => nodes.map(node => node.id))) {
            await page.click(`#${id}`);
            await frame(page);
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), id);
            await picture(page, `${id.slice(4)}-${width}`);
        }
    });

test('the theme follows the system, and the switch', async ({ open }) => {
    const page = await open('', { dark: true }), paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await paper();
    await page.selectOption('#theme', 'light');
    await frame(page);
    assert.notEqual(await paper(), dark);
    await page.selectOption('#theme', 'dark');
    await frame(page);
    assert.equal(await paper(), dark);
});

test('maps follow while a person types, and the last text wins', async ({ open, attention }) => {
    const page = await open(), text = 'cats sleep all day', { results: [{ tokens }] } = await attention({ text, output: ['attentions'], layers: [0] });
    await page.fill('#f-text', '');
    await page.type('#f-text', text, { delay: 20 });
    await page.waitForFunction(wanted => [...document.querySelectorAll('.token bdi')].map(node => node.textContent).join(' ') === wanted, tokens.map(token => token.text).join(' '));
});
