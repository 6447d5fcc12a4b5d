// run.js - runs the browser suites one after the other and adds up; ends in "N passed, N failed, N skipped". `node tests/explorer/run.js [NAME ...]` picks suites.
// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url)), names = process.argv.slice(2);
const files = readdirSync(here).filter(file => /^test_.*\.js$/.test(file) && (!names.length || names.some(name => file.includes(name)))).sort().map(file => join(here, file));
const counts = { passed: 0, failed: 0, skipped: 0 };

/** A file is reported as if it were a test; it counts when it failed without one of its tests having done so. */
function isFile(data) {
    return files.some(file => data.name === file || file.endsWith(data.name));
}

function failed(data) {
    const cause = data.details?.error?.cause ?? data.details?.error;
    counts.failed++;
    console.log(`FAIL ${data.name}\n${(cause?.message && !cause.stack?.includes(cause.message) ? `${cause.message}\n${cause.stack}` : String(cause?.stack ?? cause)).replace(/^/gm, '     | ')}`);
}

const tests = run({ files, concurrency: 1, timeout: 600_000 });
tests.on('test:pass', data => {
    if (isFile(data))
        return;
    counts[data.skip !== undefined ? 'skipped' : 'passed']++;
    console.log(`${data.skip !== undefined ? 'skip' : 'ok  '} ${data.name} (${Math.round(data.details.duration_ms)} ms)`);
});
tests.on('test:fail', data => (isFile(data) && counts.failed ? null : failed(data)));
tests.on('test:diagnostic', data => /^measured/.test(data.message) && console.log(`     ${data.message}`));
tests.on('test:stdout', data => process.stdout.write(/^measured/m.test(data.message) ? data.message : ''));
tests.on('end', () => {
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
    process.exitCode = counts.failed || !counts.passed || (process.env.CI && counts.skipped) ? 1 : 0;
});
tests.resume?.();
