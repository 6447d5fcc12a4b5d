// test_views.js - one head as a heat map, as lines, as a table: what is drawn and said against the API's own numbers, by pointer and by keyboard.
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { explorer, frame, picture, slack } from './harness.js';

const { test } = explorer();
const opening = 'The animal didn\'t cross the street because it was too tired.';
const chosen = { layer: 5, head: 1 };
const ask = { text: opening, output: ['attentions'], layers: [5], heads: [1] };
const stateOf = page => page.evaluate(async () => (await import(new URL('explorer/state.js', document.baseURI))).get());

/** The numbers of an answer as they are written, in order: JSON.parse would lose how. */
async function written(url, body) {
    const answer = await fetch(`${url}/v1/attention`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }), text = await answer.text();
    return /"attentions":\{.*?"data":(\[[^"}]*\])\}/.exec(text)[1].replace(/[[\]]/g, '').split(',');
}

/** A heat map of one's own in the page's panel, as `globalThis.own`. */
async function ownMap(page, T, weights) {
    await page.evaluate(async ([T, weights]) => {
        const { Heatmap } = await import(new URL('explorer/heatmap.js', document.baseURI));
        const map = weights ? Float32Array.from(weights) : Float32Array.from({ length: T * T }, (_, i) => Math.abs(Math.sin(i * 12.9898)) / T), host = document.createElement('div');
        document.getElementById('panel-heatmap').replaceChildren(host);
        globalThis.zooms = [];
        globalThis.own = new Heatmap(host, { onZoom: zoom => globalThis.zooms.push(zoom) });
        const tokens = Array.from({ length: T }, (_, i) => ({ text: `token${i}`, special: false }));
        globalThis.own.show(map, T, T, tokens, tokens, {});
    }, [T, weights]);
}

/** Where a cell's middle is on the screen, of a map of 16 x 16. */
async function middle(page, row, col) {
    return page.$eval('#panel-heatmap canvas', (canvas, [row, col]) => {
        const box = canvas.getBoundingClientRect(), [x, y, w, h] = canvas.dataset.plot.split(' ').map(Number), wide = w / 16, high = h / 16;
        return { x: box.left + x + (col + 0.5) * wide, y: box.top + y + (row + 0.5) * high, wide, high };
    }, [row, col]);
}

for (const [scale, colours, dark] of [['linear', 'ember', false], ['log', 'viridis', true], ['row', 'grey', false]])
    test(`each cell has the colour of the API's weight: ${scale}, ${colours}, ${dark ? 'dark' : 'light'}`, async ({ open, attention }) => {
        const page = await open({ ...chosen, scale, colours }, { dark }), weights = (await attention(ask)).results[0].attentions.data[0][0], most = Math.max(...weights.flat());
        await page.locator('#panel-heatmap canvas').scrollIntoViewIfNeeded();
        const first = await middle(page, 0, 0), inset = { x: first.wide * 0.12, y: first.high * 0.12 };
        const box = await page.locator('#panel-heatmap canvas').boundingBox();
        const seen = await page.evaluate(async ([colours, dark, x, y, wide, high]) => {
            const { sequential } = await import(new URL('explorer/colour.js', document.baseURI)), table = [...sequential(colours, dark)];
            const canvas = document.querySelector('#panel-heatmap canvas'), pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            return Array.from({ length: 256 }, (_, i) => table.indexOf(pixels[Math.round(y + Math.floor(i / 16) * high) * canvas.width + Math.round(x + (i % 16) * wide)]));
        }, [colours, dark, first.x - box.x - first.wide / 2 + inset.x, first.y - box.y - first.high / 2 + inset.y, first.wide, first.high]);
        seen.forEach((level, i) => {
            const weight = weights[i >> 4][i & 15], top = scale === 'row' ? Math.max(...weights[i >> 4]) : most;
            const share = scale === 'log' ? Math.max(0, 1 + Math.log10(weight / top) / 4) : weight / top;
            assert.ok(level >= 0 && Math.abs(level - 255 * share) <= 1.6, `cell ${i >> 4}, ${i & 15}: ${level} for ${255 * share}`); // two levels may share a colour
        });
    });

test('the pointer on a cell says its weight as the API writes it, every digit', async ({ open, url }) => {
    const page = await open(chosen), numbers = await written(url, ask);
    await page.locator('#panel-heatmap canvas').scrollIntoViewIfNeeded();
    for (const [row, col] of [[10, 2], [0, 0], [15, 15], [1, 12], [3, 9]]) {
        const at = await middle(page, row, col);
        await page.mouse.move(at.x, at.y);
        await frame(page);
        assert.equal(await page.textContent('.heat-tip-weight'), numbers[16 * row + col], `${row}, ${col}`);
    }
    assert.equal(await page.textContent('.heat-tip-pair'), 'didn → because');
    await page.mouse.move(2, 2);
    assert.ok(await page.isHidden('.heat-tip'));
});

test('float32 numbers of every size read as the API writes them', async ({ open, url }) => {
    const page = await open(chosen), body = { ...ask, output: ['scores'], layers: [0, 5], heads: [0, 1, 2, 3] };
    const post = more => fetch(`${url}/v1/attention`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...body, ...more }) });
    const text = /"scores":\{.*?"data":(\[[^"}]*\])\}/.exec(await (await post({})).text())[1].replace(/[[\]]/g, '').split(','), exact = (await (await post({ encoding: 'base64' })).json()).results[0].scores.data;
    const said = await page.evaluate(async data => {
        const { float32Text } = await import(new URL('explorer/numbers.js', document.baseURI)), bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
        return { numbers: Array.from(new Float32Array(bytes.buffer), float32Text), edges: [0, -0, 1, 1e-5, 1.5e-5, 0.0001, 1e10, 1200, Math.fround(0.1), -Infinity, Math.fround(3.4e38)].map(float32Text) };
    }, exact);
    assert.deepEqual(said.numbers, text);
    assert.deepEqual(said.edges, ['0', '-0.0', '1', '1e-5', '1.5e-5', '1e-4', '1e10', '1200', '0.1', 'null', '3.4e38']);
});

test('arrow keys walk from cell to cell, Enter marks the pair for all views, a screen reader is told', async ({ open, url }) => {
    const page = await open(chosen), numbers = await written(url, ask);
    await page.focus('#panel-heatmap canvas');
    for (const key of ['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft'])
        await page.keyboard.press(key);
    await frame(page);
    const told = page.locator('#panel-heatmap [role="status"]');
    assert.equal((await told.textContent()).replace(/[\u2068\u2069]/g, ''), `the (1) looks at the (1): ${numbers[17]}`); // the first key only enters the map
    await page.keyboard.press('Home');
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    await frame(page);
    assert.equal((await stateOf(page)).cell.k, 15);
    await page.keyboard.press('ArrowRight');
    assert.match(await told.textContent(), /\(15\):/, 'the last column is the last');
});

test('plus, minus and 0 zoom; the link holds the window', async ({ open }) => {
    const page = await open(chosen);
    await page.focus('#panel-heatmap canvas');
    await page.keyboard.press('+');
    await page.keyboard.press('+');
    await page.waitForFunction(() => /zoom/.test(decodeURIComponent(location.hash)));
    const { zoom } = await stateOf(page);
    assert.ok(zoom.q1 - zoom.q0 <= 8 && zoom.k1 - zoom.k0 <= 8, JSON.stringify(zoom));
    assert.match(await page.textContent('.heat-where'), /of 16 × 16/);
    const again = await open({ ...chosen, zoom });
    await frame(again);
    assert.deepEqual((await stateOf(again)).zoom, zoom);
    assert.match(await again.textContent('.heat-where'), new RegExp(`^${zoom.q1 - zoom.q0} × ${zoom.k1 - zoom.k0} of 16 × 16`));
    await page.keyboard.press('0');
    await page.waitForFunction(() => document.querySelector('.heat-where').textContent === '16 × 16');
});

test('the wheel zooms at the pointer once the map is in use, and dragging pans', async ({ open }) => {
    const page = await open(chosen);
    await ownMap(page, 64);
    const box = await page.locator('#panel-heatmap canvas').boundingBox(), x = Math.round(box.x + box.width * 0.4), y = Math.round(box.y + box.height * 0.5);
    await page.mouse.move(x, y);
    await page.mouse.wheel(0, -300);
    await frame(page);
    assert.deepEqual(await page.evaluate(() => [globalThis.own.view.k0, globalThis.own.view.k1]), [0, 64], 'the page scrolls, not the map');
    await page.evaluate(() => scrollTo(0, 0));
    await page.focus('#panel-heatmap canvas');
    await page.mouse.move(x, y);
    const under = () => page.evaluate(([x, y]) => globalThis.own.at({ clientX: x, clientY: y }), [x, y]), before = await under();
    for (let i = 0; i < 4; i++)
        await page.mouse.wheel(0, -120);
    await page.waitForFunction(() => globalThis.own.view.k1 - globalThis.own.view.k0 < 30);
    const after = await under();
    assert.ok(Math.abs(before.q - after.q) < 1e-6 && Math.abs(before.k - after.k) < 1e-6, `what is under the pointer stays there: ${JSON.stringify([before, after])}`);
    const from = await page.evaluate(() => globalThis.own.view.k0);
    await page.mouse.down();
    await page.mouse.move(x - 80, y, { steps: 4 });
    await page.mouse.up();
    await frame(page);
    assert.ok(await page.evaluate(() => globalThis.own.view.k0) > from);
    await page.waitForFunction(() => globalThis.zooms.length > 0);
});

test('hiding tokens is a matter of the screen: nothing is renormalised, and how much is hidden is said', async ({ open, attention }) => {
    const page = await open({ ...chosen, hideSpecial: true }), weights = (await attention(ask)).results[0].attentions.data[0][0];
    const note = () => page.textContent('#panel-heatmap .heat-note'), rows = weights.slice(1, 15);
    const hidden = rows.reduce((sum, row) => sum + row[0] + row[15], 0) / 14;
    assert.match(await note(), new RegExp(`\\[CLS\\].*\\[SEP\\].*${Math.round(100 * hidden)} % of their weight\\. Nothing is renormalised`));
    await page.focus('#panel-heatmap canvas');
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.textContent('.heat-tip-weight'), String(await page.evaluate(async w => (await import(new URL('explorer/numbers.js', document.baseURI))).float32Text(Math.fround(w)), weights[1][1])));
    await page.click('#tab-table');
    await frame(page);
    assert.equal(await page.locator('.table-map tbody tr').count(), 14);
    assert.equal(await page.locator('.table-map tbody tr').first().locator('td').last().textContent(), `${Math.round(100 * (1 - weights[1][0] - weights[1][15]))} %`);
    await page.click('#d-hideSpecial');
    await page.click('#tab-heatmap');
    await frame(page);
    assert.equal(await note(), '');
});

test('the table has the API\'s numbers, digit by digit, and says in words what stands out', async ({ open, url }) => {
    const page = await open({ ...chosen, view: 'table' }), numbers = await written(url, ask);
    const cells = await page.$$eval('.table-map tbody tr', rows => rows.map(row => [...row.querySelectorAll('td')].slice(0, -1).map(cell => cell.textContent)));
    assert.deepEqual(cells.flat(), numbers);
    assert.match(await page.textContent('.table-words'), /“it” \(10\) looks at “animal” \(2\) with 0\.427\d+\./);
    await picture(page, 'table-1440');
});

test('long maps come in windows of the table', async ({ open }) => {
    const page = await open({ view: 'table', input: { kind: 'text', text: 'one two three four five six seven eight nine ten '.repeat(6), textPair: '', model: '', addSpecialTokens: true } });
    assert.equal(await page.locator('.table-map tbody tr').count(), 24);
    const first = () => page.textContent('.table-map tbody th .table-index');
    assert.equal((await first()).trim(), '0');
    await page.click('text=Later rows');
    assert.equal((await first()).trim(), '24');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Later rows', 'focus stays');
});

test('lines are drawn for the token that is looked at, and its strongest weights are named', async ({ open, attention }) => {
    const page = await open({ ...chosen, view: 'lines' }), layer = (await attention({ ...ask, heads: undefined })).results[0].attentions.data[0];
    await page.focus('.lines-scroll');
    for (let i = 0; i < 11; i++)
        await page.keyboard.press('ArrowDown');
    await frame(page);
    const [, weight, head] = /^it looks most at .*? ([\d.e-]+) \(head (\d)\)/.exec((await page.textContent('.lines-said')).replace(/[\u2068\u2069]/g, ''));
    const most = Math.max(...layer.map(map => Math.max(...map[10])));
    assert.equal(Number(weight), most);
    assert.equal(Math.max(...layer[head][10]), most);
    await picture(page, 'lines-1440');
    await page.keyboard.press('ArrowRight');
    assert.match(await page.textContent('.lines-said'), /is most looked at by/);
});

test('a line of each chosen head ends where its weight is, in its own colour', async ({ open, attention }) => {
    const page = await open({ layer: 1, head: 7, view: 'lines', lineHeads: [7] }), map = (await attention({ ...ask, layers: [1], heads: [7] })).results[0].attentions.data[0][0];
    await page.focus('.lines-scroll');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await frame(page);
    const { colour, ends } = await page.evaluate(async () => {
        const { headColour } = await import(new URL('explorer/colour.js', document.baseURI)), { linesLayout, middleOf } = await import(new URL('explorer/lines_paint.js', document.baseURI));
        const { shownOf } = await import(new URL('explorer/shown.js', document.baseURI)), canvas = document.querySelector('.lines-canvas'), ctx = canvas.getContext('2d');
        const tokens = [...document.querySelectorAll('.tokens .token bdi')].map(node => node.textContent), T = tokens.length;
        const layout = linesLayout(ctx, shownOf(new Float32Array(T * T), T, T, tokens, tokens), canvas.clientWidth, 1);
        const { data } = ctx.getImageData(Math.round(layout.x1 - 3), 0, 1, canvas.height), ends = tokens.map((_, i) => [...data.slice(4 * Math.round(middleOf(layout, i))).slice(0, 3)]);
        return { colour: headColour(7, 8, false).match(/\d+/g).map(Number), ends };
    });
    const looked = 1, weights = map[looked], white = [255, 255, 255];
    const best = weights.indexOf(Math.max(...weights)), opacity = Math.min(1, weights[best] * 0.9 + 0.04);
    ends[best].forEach((byte, c) => assert.ok(Math.abs(byte - (white[c] + opacity * (colour[c] - white[c]))) <= 3, `${ends[best]} for ${colour} at ${opacity}`));
    weights.forEach((weight, k) => weight < 0.004 && assert.deepEqual(ends[k], white, `no line to ${k}`));
});

test('heads are switched one by one, and pairs can be looked at from text to text', async ({ open }) => {
    const page = await open({ view: 'lines', input: { kind: 'text', text: 'the cat', textPair: 'a dog barks', model: '', addSpecialTokens: true } });
    await page.click('.lines-head >> text=head 3');
    assert.deepEqual((await stateOf(page)).lineHeads, [0, 1, 2, 4, 5, 6, 7]);
    assert.equal(await page.getAttribute('[data-is="h3"]', 'aria-pressed'), 'false');
    await page.selectOption('.lines-select', '01');
    await frame(page);
    await page.focus('.lines-scroll');
    await page.keyboard.press('End');
    assert.match(await page.textContent('.lines-said'), /\[SEP\] looks most at/);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Home');
    assert.match(await page.textContent('.lines-said'), /^a is most looked at by/);
    await picture(page, 'pairs-1440');
});

test('queries and keys of two texts stand side by side: cross-attention, of any two lengths', async ({ open }) => {
    const page = await open(chosen);
    const said = await page.evaluate(async () => {
        const { Lines } = await import(new URL('explorer/lines.js', document.baseURI)), { Heatmap } = await import(new URL('explorer/heatmap.js', document.baseURI));
        const panel = document.getElementById('panel-heatmap'), hosts = [document.createElement('div'), document.createElement('div')], words = text => text.split(' ').map(word => ({ text: word, special: false }));
        panel.replaceChildren(...hosts);
        const queryTokens = words('das Haus ist'), keyTokens = words('the house is not very small'), maps = new Float32Array(2 * 3 * 6).fill(0.02);
        maps[18 + 6 + 1] = 0.75; // head 1: Haus looks at house
        const lines = new Lines(hosts[0]), heatmap = new Heatmap(hosts[1]);
        lines.show({ name: 'cross', heads: [0, 1], T_q: 3, T_k: 6, queryTokens, keyTokens, maps: new Map([[2, maps]]) }, { layer: 2, head: 0, lineHeads: null, between: 'all' });
        lines.look({ side: 'q', at: 1 });
        heatmap.show(maps.subarray(18), 3, 6, queryTokens, keyTokens, {});
        heatmap.point({ row: 1, col: 1 });
        return [lines.said.textContent, heatmap.tip.querySelector('.heat-tip-pair').textContent, heatmap.tip.querySelector('.heat-tip-weight').textContent];
    });
    assert.match(said[0], /^Haus looks most at house 0\.75 \(head 1\)/);
    assert.deepEqual(said.slice(1), ['Haus → house', '0.75']);
    await frame(page);
    await picture(page, 'cross-1440');
});

test('right-to-left and Chinese words are labels like any other', async ({ open }) => {
    const page = await open(chosen);
    const widths = await page.evaluate(async () => {
        const { fitted, widthOf } = await import(new URL('explorer/label_text.js', document.baseURI)), ctx = document.createElement('canvas').getContext('2d');
        ctx.font = '12px sans-serif';
        return ['مرحبا بالعالم الكبير جدا', '你好世界你好世界你好世界', '👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦', 'e\u0301'.repeat(40), ' \n'].map(text => {
            const cut = fitted(ctx, text, 60);
            return { cut, wide: widthOf(ctx, cut) };
        });
    });
    for (const { cut, wide } of widths)
        assert.ok(wide <= 61 && cut.startsWith('\u2068') && cut.endsWith('\u2069') && !/\ud83d(?![\udc00-\udfff])|\u0301…e/.test(cut), cut);
    assert.match(widths[2].cut, /^\u2068(👩‍👩‍👧‍👦)*…?\u2069$/u);
    assert.equal(widths[4].cut, '\u2068␣⏎\u2069');
});

test('60 frames a second while panning and zooming a map of 512 x 512', async ({ open }) => {
    const page = await open(chosen);
    await ownMap(page, 512);
    const { intervals, draws } = await page.evaluate(async () => {
        const { own } = globalThis, next = () => new Promise(requestAnimationFrame), times = [], draws = [], draw = own.draw.bind(own);
        own.zoom(4, { q: 256, k: 256 });
        await next();
        own.draw = () => {
            const begin = performance.now();
            draw();
            draws.push(performance.now() - begin);
        };
        for (let i = 0; i < 150; i++) {
            own.pan(6 * Math.cos(i / 9), 6 * Math.sin(i / 9));
            if (i % 15 === 0)
                own.zoom(i % 30 ? 1.1 : 1 / 1.1);
            times.push(await next());
        }
        return { intervals: times.slice(1).map((t, i) => t - times[i]), draws };
    });
    const at = (list, share) => [...list].sort((a, b) => a - b)[Math.floor(share * (list.length - 1))].toFixed(1), sum = intervals.reduce((a, b) => a + b, 0);
    console.log(`measured: ${(1000 * intervals.length / sum).toFixed(1)} frames/s at 512 x 512; frame ${at(intervals, 0.5)} ms in the middle, ${at(intervals, 0.95)} ms at 95 %; drawing ${at(draws, 0.5)} ms, at worst ${at(draws, 1)} ms`);
    assert.ok(at(intervals, 0.5) < 18 * slack, `a frame in the middle takes ${at(intervals, 0.5)} ms`);
    assert.ok(at(draws, 0.5) < 8 * slack, `drawing takes ${at(draws, 0.5)} ms`);
});
