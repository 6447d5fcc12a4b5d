// docs_page.js ADDRESS - GET /docs as a browser would run it; prints what it drew of the contract, and what went wrong.
// SPDX-License-Identifier: Apache-2.0
"use strict";
const { JSDOM, VirtualConsole } = require("jsdom");
const address = process.argv[2], failed = [];

function drawn(document) {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((element) => element.textContent);
    const ids = (selector) => [...document.querySelectorAll(selector)].map((element) => element.id);
    const body = document.querySelectorAll("#computeAttention h3");
    const heading = [...body].find((h3) => h3.textContent === "Body"), fields = [];
    for (let at = heading && heading.nextElementSibling; at && at.tagName !== "H3"; at = at.nextElementSibling)
        if (at.tagName === "DL") fields.push(...[...at.children].map((row) => row.querySelector(".name").textContent));
    const nowhere = [...document.querySelectorAll('a[href^="#"]')].filter((a) => !document.getElementById(a.getAttribute("href").slice(1)));
    return { failed: texts(".failed"), operations: ids(".operation:not(.scheme)"), schemes: ids(".scheme"), schemas: ids(".schema"), fields, links_to_nowhere: nowhere.map((a) => a.href) };
}

function open(document) {
    for (const fold of document.querySelectorAll("details:not([open])")) fold.open = true;
}

async function main() {
    const virtualConsole = new VirtualConsole();
    virtualConsole.on("jsdomError", (error) => failed.push(String(error.detail || error)));
    const html = await (await fetch(address + "/docs")).text();
    const page = new JSDOM(html, {
        url: address + "/docs", runScripts: "dangerously", virtualConsole,
        beforeParse(window) { // what jsdom lacks
            window.fetch = (path) => fetch(new URL(path, address));
            window.matchMedia = () => ({ matches: true, addEventListener() {} });
        },
    });
    const { document } = page.window, wait = () => new Promise((done) => setTimeout(done, 50));
    for (let i = 0; i < 100 && !document.querySelector(".schema, .failed"); i++) await wait();
    const answer = drawn(document);
    for (let depth = 0; depth < 3; depth++) { // folds are drawn when they open, and hold others
        open(document);
        await wait();
    }
    process.stdout.write(JSON.stringify({ ...answer, failed: [...new Set([...answer.failed, ...failed])] }));
    page.window.close();
}

main();
