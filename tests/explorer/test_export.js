// test_export.js - taking it away: every file is opened and held against the API's own answer.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { explorer, frame, picture } from './harness.js';

const { test } = explorer();
const opening = 'The animal didn\'t cross the street because it was too tired.';
const chosen = { layer: 5, head: 1 };
const ask = { text: opening, output: ['attentions'], layers: [5], heads: [1] };

async function saved(page, button) {
    if (!await page.evaluate(() => document.querySelector('.take-menu').open))
        await page.click('.take-menu summary');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`.take >> button:text-is("${button}")`)]);
    return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

/** Width, height and whether the pixels are there. */
function readPng(bytes) {
    assert.deepEqual([...bytes.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
    const parts = [];
    for (let at = 8; at < bytes.length;) {
        const length = bytes.readUInt32BE(at);
        if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT')
            parts.push(bytes.subarray(at + 8, at + 8 + length));
        at += 12 + length;
    }
    return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20), pixels: inflateSync(Buffer.concat(parts)) };
}

for (const view of ['heatmap', 'lines'])
    test(`PNG is what is on the screen, twice as fine: ${view}`, async ({ open }) => {
        const page = await open({ ...chosen, view }), { name, bytes } = await saved(page, 'PNG'), png = readPng(bytes);
        const size = await page.evaluate(view => {
            const canvas = document.querySelector(`#panel-${view} canvas`);
            return { width: canvas.clientWidth, height: canvas.clientHeight };
        }, view);
        assert.equal(name, 'attnd-bert-L5H1.png');
        assert.deepEqual([png.width, png.height], [2 * size.width, 2 * size.height]);
        assert.ok(new Set(png.pixels.subarray(0, 4_000_000)).size > 50, 'something is drawn');
    });

test('a view that cannot be drawn is saved as the API draws the head', async ({ open }) => {
    const page = await open({ ...chosen, view: 'table' }), { bytes } = await saved(page, 'PNG');
    assert.ok(readPng(bytes).width > 300);
});

test('SVG is the API\'s drawing of the head with the scale on the screen', async ({ open, url }) => {
    const page = await open({ ...chosen, scale: 'log' }), { name, bytes } = await saved(page, 'SVG');
    const direct = await fetch(`${url}/v1/attention?scale=log`, { method: 'POST', headers: { Accept: 'image/svg+xml', 'Content-Type': 'application/json' }, body: JSON.stringify(ask) });
    assert.equal(name, 'attnd-bert-L5H1.svg');
    assert.equal(bytes.toString(), await direct.text());
});

test('SVG of lines is well-formed, whatever the tokens are called', async ({ open }) => {
    const page = await open({ layer: 1, head: 0, view: 'lines', lineHeads: [0, 7], input: { kind: 'text', text: 'if a < b && c > "d" then <script>', textPair: '', model: '', addSpecialTokens: true } });
    const { bytes } = await saved(page, 'SVG');
    const seen = await page.evaluate(text => {
        const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
        return { error: parsed.querySelector('parsererror')?.textContent ?? '', paths: parsed.querySelectorAll('path').length, scripts: parsed.querySelectorAll('script').length,
            texts: [...parsed.querySelectorAll('text')].map(node => node.textContent.replace(/[\u2068\u2069]/g, '')) };
    }, bytes.toString());
    assert.equal(seen.error, '');
    assert.equal(seen.scripts, 0);
    assert.ok(seen.paths > 10 && seen.texts.includes('"') && seen.texts.includes('&'), JSON.stringify(seen));
});

test('JSON is the answer to the request on the screen', async ({ open, attention }) => {
    const page = await open(chosen), { name, bytes } = await saved(page, 'JSON');
    assert.equal(name, 'attnd-bert-L5H1.json');
    assert.deepEqual(JSON.parse(bytes), await attention(ask));
});

test('safetensors holds the same bytes as the API\'s base64', async ({ open, attention }) => {
    const page = await open(chosen), { bytes } = await saved(page, 'safetensors'), length = Number(bytes.readBigUInt64LE(0)), header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    const tensor = header['results.0.attentions'], direct = (await attention({ ...ask, encoding: 'base64' })).results[0].attentions;
    assert.deepEqual([tensor.dtype, tensor.shape], ['F32', [1, 1, 16, 16]]);
    assert.equal(bytes.subarray(8 + length + tensor.data_offsets[0], 8 + length + tensor.data_offsets[1]).toString('base64'), direct.data);
});

test('the command, pasted into a shell, gives the numbers on the screen', async ({ open, attention }) => {
    const page = await open(chosen);
    await page.click('.take-menu summary');
    await frame(page);
    const command = await page.textContent('.take-command');
    await picture(page, 'take-1440');
    const answer = JSON.parse(execFileSync('/bin/sh', ['-c', `${command} -s`], { encoding: 'utf8' }));
    assert.deepEqual(answer, await attention(ask));
});

test('link and command are copied; Escape closes the menu and gives the focus back', async ({ open, url }) => {
    const page = await open({ ...chosen, scale: 'row' });
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.focus('.take-menu summary');
    await page.keyboard.press('Enter');
    await page.click('text=Copy link');
    await page.waitForFunction(() => /is copied/.test(document.querySelector('.take-said').textContent));
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.deepEqual(JSON.parse(decodeURIComponent(new URL(copied).hash.slice(1))), { layer: 5, head: 1, scale: 'row' });
    assert.ok(copied.startsWith(`${url}/#`));
    await page.click('text=Copy command');
    await page.waitForFunction(() => /command is copied/.test(document.querySelector('.take-said').textContent));
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.textContent('.take-command'));
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.textContent + document.querySelector('.take-menu').open), 'Take it awayfalse');
});
