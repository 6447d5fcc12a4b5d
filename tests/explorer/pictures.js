// pictures.js - takes the README's two pictures of the explorer again: `node tests/explorer/pictures.js`, behind `make check-explorer`, which sets up what it needs.
// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { complete, link, root, startBrowser, startServer } from './harness.js';

const sentence = 'The animal didn\'t cross the street because it was too tired.';
const translation = { input: { kind: 'generate', text: '', textPair: '', model: '', addSpecialTokens: true }, view: 'written',
    generate: { model: 'attnd-translate', language: '>>deu<<', text: sentence, tokens: 40 } };

const server = await startServer(), browser = await startBrowser();
const context = await browser.newContext({ colorScheme: 'light', reducedMotion: 'reduce' });
for (const [name, state] of [['explorer', {}], ['explorer-translation', translation]]) {
    const page = await context.newPage();
    await page.setViewportSize({ width: 1280, height: name === 'explorer' ? 820 : 1260 });
    await page.goto(`${server.url}/${link(state)}`);
    await complete(page);
    if (name === 'explorer')
        await page.click('#hint');
    await page.waitForTimeout(300);
    await page.screenshot({ path: join(root, `deploy/images/${name}.png`) });
    await page.close();
}
await browser.close();
await server.stop();
