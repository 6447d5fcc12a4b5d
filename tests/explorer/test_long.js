// test_long.js - inputs of 8192 tokens: bins first, finer ones where a person looks closer, down to single weights, and a page that never stops answering.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { attention as ask, complete, explorer, frame, root, slack } from './harness.js';
import { makeLongModel } from './long_model.js';

const model = makeLongModel(join(root, 'core/builtin/attnd-gpt'), join(root, 'build/explorer/attnd-long'));
const { test } = explorer({ options: ['--model', `attnd-long=${model}`, '--model', 'builtin:attnd-bert'] });
const textOf = sentences => Array.from({ length: sentences }, (_, i) => `The ${i}th girl had a red ball and she gave it to her friend Tim.`).join(' ');
/** The longest that the model takes, and one that is answered sooner. */
const longest = textOf(430), long = textOf(160);
const inputOf = text => ({ kind: 'text', text, textPair: '', model: 'attnd-long', addSpecialTokens: true });
const bins = 256;
/** The longest time that a page may not answer, in milliseconds. */
const frozen = 200 * slack;

/** Long tasks from now on. */
const watchTasks = page => page.evaluate(() => {
    globalThis.tasks = [];
    new PerformanceObserver(list => globalThis.tasks.push(...list.getEntries().map(entry => Math.round(entry.duration)))).observe({ type: 'longtask' });
});

const longTasks = page => page.evaluate(() => globalThis.tasks);
const said = page => page.locator('#long span').textContent();
const settled = page => page.waitForFunction(() => !/asking/.test(document.querySelector('#long span').textContent));

async function openLong(open, text, more = {}) {
    const page = await open({ input: inputOf(text), ...more }, { wait: false });
    await watchTasks(page);
    page.setDefaultTimeout(60_000);
    await complete(page);
    return page;
}

/** The bodies of what is asked for while something is done. */
async function requestsOf(page, act) {
    const bodies = [], listen = request => request.url().endsWith('v1/attention') && bodies.push(request.postDataJSON());
    page.on('request', listen);
    await act();
    page.off('request', listen);
    return bodies;
}

test('8000 tokens are shown in bins, and the page answers all the while', async ({ open }) => {
    const page = await openLong(open, longest), tokens = Number(/^(\d+) ×/.exec(await said(page))[1]);
    assert.ok(tokens > 7500 && tokens <= 8192, `${tokens} tokens`);
    assert.match(await said(page), new RegExp(`in ${bins} × ${bins} cells`));
    const tasks = await longTasks(page), most = Math.max(0, ...tasks);
    console.log(`measured: ${tokens} tokens, longest task ${most} ms, ${tasks.length} over 50 ms`);
    assert.ok(most < frozen, `a task of ${most} ms`);
});

test('looking closer asks for that part alone, and then for every weight', async ({ open, url }) => {
    const page = await openLong(open, long, { layer: 1, head: 2, view: 'heatmap' });
    const [part] = await requestsOf(page, async () => {
        await page.evaluate(() => (location.hash = encodeURIComponent(JSON.stringify({ ...JSON.parse(decodeURIComponent(location.hash.slice(1))), part: { q0: 2048, q1: 2560, k0: 2000, k1: 2512 } }))));
        await page.waitForFunction(() => /Queries 2048/.test(document.querySelector('#long span').textContent));
        await complete(page);
        await settled(page);
    }).then(bodies => bodies.filter(body => body.queries));
    assert.deepEqual([part.layers, part.queries, part.keys, part.pool.size], [[1], { start: 2048, stop: 2560 }, { start: 2000, stop: 2512 }, bins]);
    assert.match(await said(page), /Queries 2048 to 2559, keys 2000 to 2511 of .* in 256 × 256 cells/);
    const canvas = page.locator('#panel-heatmap canvas').first();
    await canvas.focus();
    const bodies = await requestsOf(page, async () => {
        for (let i = 0; i < 3; i++)
            await page.keyboard.press('+');
        await page.waitForFunction(() => /every weight/.test(document.querySelector('#long span').textContent));
    });
    const closer = bodies.at(-1), where = /Queries (\d+) to (\d+), keys (\d+) to (\d+)/.exec(await said(page)).slice(1).map(Number);
    assert.deepEqual([closer.queries.start, closer.queries.stop - 1, closer.keys.start, closer.keys.stop - 1], where);
    assert.ok(closer.queries.stop - closer.queries.start <= bins);
    await canvas.focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    const spoken = await page.locator('#panel-heatmap [role="status"]').first().textContent(), weight = Number(/: (\S+)$/.exec(spoken)[1]);
    const { results: [direct] } = await ask(url, { text: long, model: 'attnd-long', layers: [1], heads: [2], output: ['attentions'], queries: [closer.queries.start + 1], keys: [closer.keys.start] });
    assert.equal(weight, direct.attentions.data[0][0][0][0], spoken);
    assert.ok(Math.max(0, ...await longTasks(page)) < frozen, `${await longTasks(page)}`);
    await page.getByRole('button', { name: 'Whole input' }).click();
    await frame(page);
    assert.match(await said(page), /each the mean of several/);
});

test('another head of the same layer is there at once, another layer is asked for, and an earlier request is given up', async ({ open }) => {
    const page = await openLong(open, long, { layer: 1, head: 2, part: { q0: 1000, q1: 1200, k0: 900, k1: 1100 } });
    await settled(page);
    const same = await requestsOf(page, async () => {
        await page.locator('.head[data-layer="1"][data-head="5"]').click();
        await frame(page);
    });
    assert.deepEqual(same, []);
    const failed = [];
    page.on('requestfailed', request => failed.push(request.failure().errorText));
    const others = await requestsOf(page, async () => {
        await page.locator('.head[data-layer="4"][data-head="5"]').click();
        await page.locator('.head[data-layer="3"][data-head="5"]').click();
        await page.waitForTimeout(30);
        await settled(page);
    });
    assert.deepEqual(others.at(-1).layers, [3]);
    assert.deepEqual(failed, others.length > 1 ? ['net::ERR_ABORTED'] : []);
    assert.match(await said(page), /every weight/);
});

test('a new text gives up the long one that is still coming', async ({ open }) => {
    const page = await open({ input: inputOf(longest) }, { wait: false }), failed = [];
    page.on('requestfailed', request => failed.push(`${request.url()} ${request.failure().errorText}`));
    await page.waitForFunction(() => document.querySelector('.head canvas')?.width > 1);
    await page.fill('#f-text', 'A short one.');
    await page.press('#f-text', 'Enter');
    await complete(page);
    assert.match(failed[0], /\/v1\/attention net::ERR_ABORTED$/);
    assert.equal(await page.locator('#long').isHidden(), true);
});
