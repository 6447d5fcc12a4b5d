// harness.js - what every browser suite needs: a server of its own on a free port, Debian's chromium, pages that are watched while they run.
//
//     const { test } = explorer({ options: ['--model', '...'] });
//     test('the first picture comes before the last layer', async ({ open, attention }) => { const page = await open('#...', { width: 390 }); ... });
//
// A test fails on any error in the console, any violation of the policy, any request to another host and anything that is kept, whatever else it looks at.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test as nodeTest } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const program = join(root, 'build/release/attnd');
const screenshots = join(root, 'build/screenshots');
/** A real MiniLM, or undefined; where CI is set it must be there. */
export const minilm = process.env.ATTND_MINILM;
export const patience = 20_000;
/** By how much a time may be longer than what a quiet machine keeps: in CI others compile meanwhile. */
export const slack = process.env.CI ? 6 : 1;

/** @param {string[]} options @returns {Promise<{url: string, log: () => string, reload: () => void, stop: () => Promise<number>}>} */
export async function startServer(options = []) {
    const child = spawn(program, ['--port', '0', ...options], { stdio: ['ignore', 'ignore', 'pipe'], cwd: root });
    let log = '';
    const url = await new Promise((found, failed) => {
        child.stderr.on('data', data => {
            log += data;
            const line = /listening on (http:\/\/\S+)/.exec(log);
            if (line)
                found(line[1]);
        });
        child.on('exit', () => failed(new Error(`the server did not start:\n${log}`)));
    });
    const ended = new Promise(done => child.on('exit', code => done(code)));
    const stop = () => {
        child.kill('SIGTERM');
        return ended;
    };
    return { url, log: () => log, reload: () => child.kill('SIGHUP'), stop };
}

export function startBrowser() {
    const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
    return chromium.launch({ executablePath: places.find(existsSync), args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--enable-precise-memory-info'] });
}

/**
 * A suite with one server and one browser.
 * @param {{options?: string[]}} [how]
 * @returns {{test: (claim: string, body: (tools: Tools) => Promise<void>) => void, url: () => string, browser: () => object}}
 */
export function explorer({ options = [] } = {}) {
    let server, browser;
    before(async () => {
        server = await startServer(options);
        browser = await startBrowser();
    });
    after(async () => {
        await browser?.close();
        assert.equal(await server?.stop(), 0, 'the server ends well');
    });
    const test = (claim, body) => nodeTest(claim, { timeout: 120_000 }, async () => {
        const watch = new Watch();
        try {
            await body({
                url: server.url, browser,
                open: (fragment = '', view = {}) => open(browser, view.url ?? `${server.url}/`, fragment, view, watch),
                attention: fields => attention(server.url, fields),
                expectErrors: pattern => watch.expected.push(pattern),
            });
            await watch.settle();
        } catch (failure) {
            failure.message += watch.found.map(line => `\n${line}`).join('');
            throw failure;
        } finally {
            await watch.close();
        }
    });
    return { test, url: () => server.url, browser: () => browser };
}

/** What must not happen on any page. */
class Watch {
    constructor() {
        this.found = [];
        this.expected = [];
        this.contexts = [];
    }

    async add(page, origin) {
        this.contexts.push(page.context());
        page.on('console', message => ['error', 'warning'].includes(message.type()) && this.found.push(`console: ${message.text()} ${message.location().url}`));
        page.on('pageerror', error => this.found.push(`uncaught: ${error.stack}`));
        page.on('dialog', dialog => {
            this.found.push(`dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
        page.on('request', request => {
            if (!/^(data|blob|about):/.test(request.url()) && new URL(request.url()).origin !== origin)
                this.found.push(`request to ${request.url()}`);
        });
        await page.addInitScript(() => {
            globalThis.violations = [];
            addEventListener('securitypolicyviolation', event => globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
        });
    }

    async settle() {
        for (const context of this.contexts)
            for (const page of context.pages()) {
                const kept = await page.evaluate(() => ({ violations: globalThis.violations, cookie: document.cookie, local: localStorage.length, session: sessionStorage.length }));
                assert.deepEqual(kept, { violations: [], cookie: '', local: 0, session: 0 });
            }
        assert.deepEqual(this.found.filter(line => !this.expected.some(pattern => pattern.test(line))), []);
    }

    async close() {
        await Promise.all(this.contexts.map(context => context.close()));
    }
}

async function open(browser, url, fragment, { width = 1440, height = 900, dark = false, wait = true, touch = false }, watch) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce', hasTouch: touch, acceptDownloads: true });
    context.setDefaultTimeout(patience);
    const page = await context.newPage();
    await watch.add(page, new URL(url).origin);
    await page.goto(url + (typeof fragment === 'string' ? fragment : link(fragment)));
    if (wait)
        await complete(page);
    return page;
}

/** A link's fragment for a state. @param {object} state */
export function link(state) {
    return '#' + encodeURIComponent(JSON.stringify(state));
}

/** Until the answer has come to its end. */
export async function complete(page) {
    await page.waitForFunction(() => document.getElementById('progress').hidden && /maps from/.test(document.getElementById('status').textContent));
    await frame(page);
}

/** Until what was asked for is drawn. */
export function frame(page) {
    return page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done()))));
}

/** The API's own answer, to compare with. */
export async function attention(url, fields, headers = {}) {
    const answer = await fetch(`${url}/v1/attention`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(fields) });
    const body = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(body));
    return body;
}

/** A picture into build/screenshots, for a person to look at. */
export async function picture(page, name) {
    mkdirSync(screenshots, { recursive: true });
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: page.viewportSize().width < 1000 });
}
