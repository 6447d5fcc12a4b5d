// pen.js - two pens with the same strokes: one draws on a canvas, one writes SVG. What is drawn with them is the same picture on the screen and in a file.
// SPDX-License-Identifier: Apache-2.0

/**
 * @typedef {object} Pen
 * @property {(x: number, y: number, w: number, h: number, colour: string, alpha?: number) => void} box
 * @property {(x0: number, y0: number, x1: number, y1: number, colour: string, alpha: number, width: number) => void} curve from left to right, level at both ends
 * @property {(text: string, x: number, y: number, colour: string, font: string, align: 'left'|'right'|'center') => void} text `y` is the middle of the line
 */

/** @param {CanvasRenderingContext2D} ctx @returns {Pen} */
export function canvasPen(ctx) {
    ctx.textBaseline = 'middle';
    return {
        box(x, y, w, h, colour, alpha = 1) {
            ctx.globalAlpha = alpha;
            ctx.fillStyle = colour;
            ctx.fillRect(x, y, w, h);
            ctx.globalAlpha = 1;
        },
        curve(x0, y0, x1, y1, colour, alpha, width) {
            const bend = (x1 - x0) * 0.45;
            ctx.globalAlpha = alpha;
            ctx.strokeStyle = colour;
            ctx.lineWidth = width;
            ctx.beginPath();
            ctx.moveTo(x0, y0);
            ctx.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
            ctx.stroke();
            ctx.globalAlpha = 1;
        },
        text(text, x, y, colour, font, align) {
            ctx.font = font;
            ctx.textAlign = align;
            ctx.fillStyle = colour;
            ctx.fillText(text, x, y);
        },
    };
}

/** @returns {Pen & {file: (width: number, height: number, ground: string, title: string) => string}} */
export function svgPen() {
    const parts = [], n = value => String(Math.round(value * 100) / 100);
    return {
        box(x, y, w, h, colour, alpha = 1) {
            parts.push(`<rect x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${n(h)}" fill="${escaped(colour)}" fill-opacity="${n(alpha)}"/>`);
        },
        curve(x0, y0, x1, y1, colour, alpha, width) {
            const bend = (x1 - x0) * 0.45;
            parts.push(`<path d="M${n(x0)} ${n(y0)}C${n(x0 + bend)} ${n(y0)} ${n(x1 - bend)} ${n(y1)} ${n(x1)} ${n(y1)}" fill="none" stroke="${escaped(colour)}" `
                + `stroke-opacity="${n(alpha)}" stroke-width="${n(width)}"/>`);
        },
        text(text, x, y, colour, font, align) {
            const [, size, family] = /([\d.]+)px (.*)$/.exec(font), anchor = { left: 'start', center: 'middle', right: 'end' }[align];
            parts.push(`<text x="${n(x)}" y="${n(y)}" fill="${escaped(colour)}" font-family="${escaped(family)}" font-size="${size}" text-anchor="${anchor}" `
                + `dominant-baseline="central" xml:space="preserve">${escaped(text)}</text>`);
        },
        file(width, height, ground, title) {
            return `<svg xmlns="http://www.w3.org/2000/svg" width="${n(width)}" height="${n(height)}" viewBox="0 0 ${n(width)} ${n(height)}" role="img">`
                + `<title>${escaped(title)}</title><rect width="100%" height="100%" fill="${escaped(ground)}"/>${parts.join('\n')}</svg>\n`;
        },
    };
}

/** Text for XML: its own signs by name; what no XML may hold (most control characters, half pairs) by U+FFFD. */
function escaped(text) {
    return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
        .replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
}
