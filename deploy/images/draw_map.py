#!/usr/bin/env python3
"""Draws the first map of an answer as an SVG heat map: how the README's picture was made.

    curl -s localhost:8080/v1/attention -d '{"text": "...", "layers": [5], "heads": [1], "output": ["attentions"]}' | python3 draw_map.py > map.svg

Colours run from white to dark blue with the square root of the weight, so that small weights can be seen at all.
SPDX-License-Identifier: Apache-2.0
"""
import html
import json
import sys

CELL, LEFT, TOP = 34, 92, 128


def colour(weight):
    t = weight**0.5
    return "#%02x%02x%02x" % tuple(round(a + (b - a) * t) for a, b in zip((255, 255, 255), (8, 48, 107)))


def draw(answer):
    result, model = answer["results"][0], answer["model"]
    tokens, rows = [t["text"] for t in result["tokens"]], result["attentions"]["data"][0][0]
    n = len(tokens)
    side = n * CELL
    title = f"{model['name']} L{result['layers'][0]}H{result['heads'][0]}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + side + 24}" height="{TOP + side + 20}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="22" font-size="15" font-weight="bold">{html.escape(title)}</text>',
        f'<text x="8" y="40" fill="#555">row: the token that looks</text><text x="8" y="56" fill="#555">column: looked at</text>',
    ]
    for i, token in enumerate(tokens):
        middle = i * CELL + CELL // 2
        out.append(f'<text x="{LEFT - 8}" y="{TOP + middle + 4}" text-anchor="end">{html.escape(token)}</text>')
        out.append(f'<text transform="translate({LEFT + middle + 4},{TOP - 8}) rotate(-55)">{html.escape(token)}</text>')
    for i, row in enumerate(rows):
        for j, weight in enumerate(row):
            x, y = LEFT + j * CELL, TOP + i * CELL
            out.append(f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{colour(weight)}" stroke="#eee"/>')
            if weight >= 0.1:
                ink = "white" if weight > 0.25 else "black"
                out.append(f'<text x="{x + CELL // 2}" y="{y + CELL // 2 + 4}" text-anchor="middle" font-size="11" fill="{ink}">{weight:.2f}</text>')
    return "\n".join(out + ["</svg>", ""])


if __name__ == "__main__":
    sys.stdout.write(draw(json.load(sys.stdin)))
