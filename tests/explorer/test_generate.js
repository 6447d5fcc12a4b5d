// test_generate.js - generation and translation as a person sees them: tokens one by one, maps equal to the API's own, the alignment, and every view on what was written.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { serious } from './accessibility.js';
import { complete, explorer, frame, picture } from './harness.js';

const { test } = explorer();
const story = { text: 'Once upon a time', model: 'attnd-gpt', max_new_tokens: 40 };
const german = { text: '>>deu<< The animal didn\'t cross the street because it was too tired.', model: 'attnd-translate', max_new_tokens: 40 };
const input = { kind: 'generate', text: '', textPair: '', model: '', addSpecialTokens: true };
const storyLink = { input, view: 'written' };
const germanLink = { input, view: 'written', generate: { model: 'attnd-translate', language: '>>deu<<', text: 'The animal didn\'t cross the street because it was too tired.', tokens: 40 } };

const madeIn = page => page.locator('.made').allTextContents();
const nameOf = token => token.display ?? token.text;

test('a prompt is gone on from token by token, to the end that the API gives', async ({ open, attention }) => {
    const page = await open();
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await page.evaluate(() => {
        globalThis.counts = [];
        new MutationObserver(() => {
            const canvas = document.querySelector('.head canvas');
            globalThis.counts.push([document.querySelectorAll('.made').length, canvas?.width]);
        }).observe(document.getElementById('view-panels'), { childList: true, subtree: true });
    });
    await page.click('#tab-generate');
    await page.waitForFunction(() => document.querySelectorAll('.made').length === 40);
    await complete(page);
    const seen = await page.evaluate(() => globalThis.counts), { results: [{ tokens, generated_text: text }] } = await attention({ ...story, output: ['attentions'] });
    const distinct = key => [...new Set(seen.map(pair => pair[key]))].filter(Boolean);
    assert.ok(distinct(0).length >= 20, `the text grew in ${distinct(0).length} steps`);
    assert.ok(distinct(1).length >= 20, `the maps grew in ${distinct(1).length} steps`);
    assert.deepEqual(distinct(0), [...distinct(0)].sort((a, b) => a - b), 'nothing was taken back');
    assert.deepEqual(await madeIn(page), tokens.filter(token => token.generated).map(nameOf));
    assert.equal((await madeIn(page)).join(''), text);
});

for (const [name, body, stacks] of [['a story', story, ['self']], ['a translation', german, ['encoder', 'decoder', 'cross']]])
    test(`${name} grown step by step has the maps of one JSON answer`, async ({ open, attention }) => {
        const page = await open();
        const grown = await page.evaluate(async request => {
            const { collect } = await import(new URL('explorer/run.js', document.baseURI).href), result = await collect(request);
            return Object.fromEntries(Object.values(result.stacks).map(stack => [stack.name, { T_q: stack.T_q, T_k: stack.T_k, tokens: stack.queryTokens.length, maps: stack.layers.map(layer => [...stack.maps.get(layer)]) }]));
        }, body);
        const { results: [direct] } = await attention({ ...body, output: ['attentions'] });
        assert.deepEqual(Object.keys(grown).sort(), [...stacks].sort());
        for (const stack of stacks) {
            const { shape, data } = direct[stack === 'self' ? 'attentions' : `${stack}_attentions`], { T_q, T_k, tokens, maps } = grown[stack];
            assert.deepEqual([T_q, T_k, tokens], [shape[2], shape[3], shape[2]]);
            data.forEach((layer, l) => {
                const worst = layer.flat(2).reduce((most, x, i) => Math.max(most, Math.abs(x - maps[l][i])), 0);
                assert.ok(maps[l].length === layer.flat(2).length && worst <= 2e-6, `${stack} layer ${l}: ${worst}`);
            });
        }
    });

test('the translation stands beside the words it was made of', async ({ open, attention }) => {
    const page = await open(germanLink), { results: [direct] } = await attention({ ...german, output: ['attentions'], layers: [2], reduce_heads: 'mean' });
    const read = direct.encoder_tokens.map(nameOf), written = direct.decoder_tokens.map(nameOf), [rows] = direct.cross_attentions.data;
    assert.match(written.slice(1).join(''), /Das Tier überquerte die Straße nicht, weil es zu müde war\./);
    assert.deepEqual(await madeIn(page), written.slice(1).map(text => text));
    for (const [made, source] of [[' T', ' animal'], [' Straße', ' street'], [' weil', ' because'], [' müde', ' tired']]) {
        const at = written.indexOf(made), row = rows[at - 1], brightest = row.indexOf(Math.max(...row));
        assert.equal(read[brightest], source, `${made} in the API's numbers`);
        await page.locator(`.made[data-token="${at}"]`).click();
        await frame(page);
        const shares = await page.locator('.prose').first().locator('.word').evaluateAll(words => words.map(word => [word.textContent, Number(word.style.getPropertyValue('--share'))]));
        assert.equal(shares[brightest][0], source);
        shares.forEach(([word, share], k) => assert.ok(Math.abs(share - row[k] / row[brightest]) < 1e-5, `${made} → ${word}: ${share}`));
        assert.match(await page.locator('.written-said').textContent(), new RegExp(`^\\W*${made.trim()}\\W* was chosen while looking at \\W*${source.trim()}\\W* \\(${row[brightest].toFixed(2)}\\)`));
    }
});

test('what was written is read by keyboard, in the text and in the alignment', async ({ open, attention }) => {
    const page = await open(germanLink), { results: [direct] } = await attention({ ...german, output: ['attentions'], layers: [2], reduce_heads: 'mean' });
    await page.locator('.made[tabindex="0"]').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    await frame(page);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), nameOf(direct.decoder_tokens[2]));
    assert.equal(await page.locator('.made[aria-pressed="true"]').textContent(), nameOf(direct.decoder_tokens[2]));
    await page.locator('#panel-written canvas').focus();
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowRight']) // the first key puts the cursor on the first cell
        await page.keyboard.press(key);
    const said = await page.locator('#panel-written .heat-frame ~ [role="status"]').textContent(), weight = Number(/: (\S+)$/.exec(said)?.[1]);
    assert.ok(Math.abs(weight - direct.cross_attentions.data[0][1][2]) < 1e-6, `${said} and ${direct.cross_attentions.data[0][1][2]}`);
});

test('the three attentions of a translator can be chosen, and the links say which', async ({ open, attention }) => {
    const page = await open(germanLink), { results: [direct] } = await attention({ ...german, output: ['attentions'] });
    assert.deepEqual(await page.locator('#stack option').evaluateAll(options => options.map(option => option.value).sort()), ['cross', 'decoder', 'encoder']);
    for (const name of ['encoder', 'decoder', 'cross']) {
        await page.selectOption('#stack', name);
        await frame(page);
        const [T_q, T_k] = direct[`${name}_attentions`].shape.slice(2), sizes = await page.locator('.head canvas').evaluateAll(all => [...new Set(all.map(canvas => `${canvas.height} ${canvas.width}`))]);
        assert.deepEqual(sizes, [`${T_q} ${T_k}`]);
    }
    await page.waitForFunction(() => decodeURIComponent(location.hash).includes('cross'));
});

test('every other view works on the finished sequence', async ({ open }) => {
    for (const fragment of [storyLink, germanLink]) {
        const page = await open(fragment);
        for (const tab of await page.locator('#view-tabs button').all()) {
            await tab.click();
            await frame(page);
            await page.waitForTimeout(150); // what a view asks for
            assert.equal(await page.locator('#problem').textContent(), '', await tab.textContent());
        }
    }
});

test('what cannot be written is said at its field, as the API says it', async ({ open, expectErrors }) => {
    expectErrors(/Failed to load resource.*413/);
    const page = await open(storyLink);
    await page.fill('#g-tokens', '600');
    await page.click('#panel-generate .run');
    await page.locator('#problem .problem').waitFor();
    assert.match(await page.locator('#problem').textContent(), /512/);
    assert.equal(await page.locator('#g-tokens').getAttribute('aria-invalid'), 'true');
});

test('a generation can be stopped, and what has come stays', async ({ open }) => {
    const page = await open();
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await page.click('#tab-generate');
    await page.waitForFunction(() => document.querySelectorAll('.made').length > 3);
    await page.getByRole('button', { name: 'Stop' }).click();
    await frame(page);
    const count = (await madeIn(page)).length;
    await page.waitForTimeout(400);
    assert.ok(count > 3 && count < 40, `${count} tokens`);
    assert.equal((await madeIn(page)).length, count);
});

for (const [width, dark] of [[1440, false], [900, true], [390, false], [390, true]])
    test(`what was written fits ${width} px, ${dark ? 'dark' : 'light'}, and axe finds nothing serious`, async ({ open }) => {
        const page = await open({ ...germanLink, written: { layer: -1, head: -1, at: 2 } }, { width, dark });
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
        assert.deepEqual(await serious(page), []);
        await picture(page, `written-${width}-${dark ? 'dark' : 'light'}`);
    });
