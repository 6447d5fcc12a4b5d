// snippet.js - runs lines of JavaScript from standard input as a page would that has d3 and one empty <svg>; prints the squares that they drew.
// SPDX-License-Identifier: Apache-2.0
"use strict";
const { JSDOM } = require("jsdom");
global.d3 = require("d3");
const page = new JSDOM("<svg></svg>");
global.document = page.window.document;

const run = Object.getPrototypeOf(async () => {}).constructor;
new run(require("fs").readFileSync(0, "utf8"))().then(() => {
    const squares = d3.selectAll("svg rect").nodes().map((rect) => ({
        x: rect.getAttribute("x"), y: rect.getAttribute("y"), fill: rect.getAttribute("fill"), weight: d3.select(rect).datum().weight,
    }));
    process.stdout.write(JSON.stringify(squares));
});
