// test_keys.js - the explorer and the page of the contract before a server that wants keys: the field for one, keys that are wrong or taken away, a share that is used up.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { complete, explorer, startServer } from './harness.js';

const alice = 'alice-correct-horse-battery-staple', bob = 'b0b~+/._-0123456789==';
const folder = mkdtempSync(join(tmpdir(), 'attnd-keys-')), { test } = explorer();
after(() => rmSync(folder, { recursive: true }));

/** A server with these keys for as long as `body` takes. */
async function withKeys(keys, options, body) {
    const file = join(folder, 'keys'), write = list => writeFileSync(file, `${list.join('\n')}\n`, { mode: 0o600 });
    write(keys);
    const server = await startServer(['--model', 'builtin:attnd-bert', '--api-key-file', file, '--log-level', 'debug', ...options]);
    const change = async list => {
        const known = server.log().length;
        write(list);
        server.reload();
        while (!/ info keys /.test(server.log().slice(known)))
            await new Promise(go => setTimeout(go, 10));
    };
    try {
        await body(server.url, change);
    } finally {
        assert.equal(await server.stop(), 0);
        for (const key of [alice, bob])
            assert.ok(!server.log().includes(key), 'a key is in the log');
    }
}

async function enter(page, key) {
    await page.waitForSelector('#key:visible');
    await page.fill('#key', key);
    await page.press('#key', 'Enter');
}

test('the page asks for a key, takes no wrong one, and works with a right one', async ({ open, expectErrors }) => {
    expectErrors(/Failed to load resource.*401/);
    await withKeys([alice, bob], [], async url => {
        const page = await open('', { url: `${url}/`, wait: false });
        await page.waitForSelector('#key:visible');
        assert.equal(await page.getAttribute('#key', 'type'), 'password');
        assert.match(await page.textContent('#problem'), /a key is needed/);
        await enter(page, `${alice}x`);
        await page.waitForFunction(() => /not one of this server's/.test(document.getElementById('problem').textContent));
        await enter(page, '\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5\u5bc6\u94a5');
        await page.waitForFunction(() => /letters, digits/.test(document.getElementById('problem').textContent));
        await enter(page, ` ${bob} `); // as it is copied
        await complete(page);
        assert.ok(await page.isHidden('#key-form'));
        assert.equal(await page.inputValue('#key'), '');
        assert.equal(await page.locator('.problem').count(), 0);
        const everywhere = await page.evaluate(() => document.documentElement.outerHTML + location.href + document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }));
        assert.ok(!everywhere.includes(bob));
    });
});

test('a key that is taken away is asked for again, and what was shown stays', async ({ open, expectErrors }) => {
    expectErrors(/Failed to load resource.*401/);
    await withKeys([alice], [], async (url, change) => {
        const page = await open('', { url: `${url}/`, wait: false });
        await enter(page, alice);
        await complete(page);
        const heads = await page.locator('.head').count();
        await change([bob]);
        await page.fill('#f-text', 'another sentence');
        await page.press('#f-text', 'Enter');
        await page.waitForSelector('#key:visible');
        assert.match(await page.textContent('#problem'), /not one of this server's/);
        await enter(page, bob);
        await complete(page);
        assert.equal(await page.locator('.head').count(), heads);
    });
});

test('the page of the contract says how a key is sent and what comes without one', async ({ open }) => {
    await withKeys([alice], ['--max-requests-per-key', '1'], async url => {
        const page = await open('', { url: `${url}/docs`, wait: false });
        await page.waitForSelector('#key-key');
        const text = await page.textContent('#key-key');
        for (const words of [/Authorization: Bearer KEY/, /401 unauthorized/, /429 too_many_requests/, /Retry-After/])
            assert.match(text, words);
        assert.match(await page.textContent('#key-key pre'), /\/v1\/models' -H "Authorization: Bearer \$ATTND_KEY"/);
        for (const operation of await (await fetch(`${url}/openapi.json`)).json().then(contract => Object.values(contract.paths).flatMap(Object.values))) {
            const wants = (operation.security ?? []).some(one => 'key' in one);
            assert.equal(await page.locator(`#${operation.operationId} a[href="#key-key"]`).count(), wants ? 1 : 0, operation.operationId);
        }
        await page.locator('#computeAttention summary', { hasText: /401.*429/ }).click();
        await page.locator('#computeAttention', { hasText: /none of them/ }).waitFor(); // a fold is filled after it has opened
        assert.match(await page.textContent('#computeAttention'), /too_many_requests/);
    });
});
