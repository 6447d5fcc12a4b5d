#!/usr/bin/env python3
"""Pictures and text through the door: what they show is what the JSON answer says, labelled with the tokens it names.

Pictures are decoded with the standard library; colours are looked up in the table of core/draw/viridis.c.
SPDX-License-Identifier: Apache-2.0
"""
import base64
import os
import re
import struct
import unittest
import xml.etree.ElementTree as ET
import zlib

from harness import ROOT, ServerCase, main

SVG = "{http://www.w3.org/2000/svg}"
TEXT = "The <b>animal</b> & \"it\" was too tired"

with open(os.path.join(ROOT, "core/draw/viridis.c"), encoding="utf-8") as table:
    PALETTE = [bytes(map(int, rgb)) for rgb in re.findall(r"\{ (\d+), (\d+), (\d+) \}", table.read())]


def unfilter(kind, row, above, width):
    """One row of a PNG as its filter left it, undone."""
    out = bytearray(row)
    for i in range(len(out)):
        left = out[i - width] if i >= width else 0
        up = above[i]
        corner = above[i - width] if i >= width else 0
        if kind == 1:
            out[i] = (out[i] + left) & 255
        elif kind == 2:
            out[i] = (out[i] + up) & 255
        elif kind == 3:
            out[i] = (out[i] + (left + up) // 2) & 255
        elif kind == 4:
            near = min((left, up, corner), key=lambda p: abs(left + up - corner - p))
            out[i] = (out[i] + near) & 255
    return bytes(out)


def read_png(data):
    """Rows of pixels, each three bytes, of an RGB or palette PNG of 8 bits; every chunk's checksum is looked at."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, palette, size, kind = 8, b"", None, None, None
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + body)
        at += 12 + length
        if name == b"IHDR":
            width, height, depth, kind = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and kind in (2, 3)
        elif name == b"PLTE":
            palette = [body[i : i + 3] for i in range(0, len(body), 3)]
        elif name == b"IDAT":
            packed += body
    assert name == b"IEND"
    raw, channels = zlib.decompress(packed), 3 if kind == 2 else 1
    stride, above, rows = width * channels, bytes(width * channels), []
    assert len(raw) == (stride + 1) * height
    for y in range(height):
        line = raw[y * (stride + 1) : (y + 1) * (stride + 1)]
        above = unfilter(line[0], line[1:], above, channels) if line[0] != 2 else bytes((a + b) & 255 for a, b in zip(line[1:], above))
        rows.append([palette[i] for i in above] if kind == 3 else [above[i : i + 3] for i in range(0, stride, 3)])
    return rows


def panels(tensor):
    """The maps of a tensor, in the order of a grid, as nested lists."""
    data = tensor["data"]
    for axis in ("head", "layer"):
        if axis not in tensor["axes"]:
            data = [data]
    if "layer" in tensor["axes"] and "head" not in tensor["axes"]:
        data = [[m] for m in data[0]]
    return [m for row in data for m in row]


def numbers(tensor):
    return [x for m in panels(tensor) for row in m for x in row if x is not None]


def colors(tensor):
    """The colours that the maps of a tensor have on the linear scale."""
    every = numbers(tensor)
    low, high = min(0, min(every)), max(every)

    def color(x):
        return PALETTE[256] if x is None else PALETTE[min(255, int(256 * (x - low) / (high - low)))]

    return [[[color(x) for x in row] for row in m] for m in panels(tensor)]


def is_near(rgb, wanted):
    """The same colour of the table, or its neighbour: a value may lie on the edge between two."""
    return rgb == wanted or (rgb in PALETTE and abs(PALETTE.index(rgb) - PALETTE.index(wanted)) <= 1 and PALETTE[256] not in (rgb, wanted))


def shows(picture, left, top, cell, panel):
    if top + cell * len(panel) > len(picture) or left + cell * len(panel[0]) > len(picture[0]):
        return False
    for q, row in enumerate(panel):
        for k, wanted in enumerate(row):
            for dx, dy in ((0, 0), (cell - 1, cell - 1), (cell // 2, cell // 2)):
                if not is_near(picture[top + q * cell + dy][left + k * cell + dx], wanted):
                    return False
    return True


def find(picture, cell, panel):
    """Where a picture shows this panel, or None."""
    for top in range(60, len(picture)):
        for left in range(16, len(picture[0])):
            if is_near(picture[top][left], panel[0][0]) and shows(picture, left, top, cell, panel):
                return top, left
    return None


def texts(root):
    return ["".join(t.itertext()) for t in root.iter(SVG + "text")]


def images(root):
    return [read_png(base64.b64decode(i.get("href").split("base64,")[1], validate=True)) for i in root.iter(SVG + "image")]


class Drawn(ServerCase):
    def draw(self, kind, body, query=""):
        status, headers, data = self.server.post("/v1/attention" + query, body, {"Accept": kind})
        self.assertEqual(status, 200, data)
        self.assertTrue(headers["content-type"].startswith(kind))
        self.assertNotIn("content-encoding", headers)
        status, _, estimate = self.server.post(f"/v1/estimate?accept={kind}", body)
        self.assertEqual(status, 200, estimate)
        if not query:
            self.assertLessEqual(len(data), estimate["response_bytes"])
        return data

    def svg(self, body, query=""):
        return ET.fromstring(self.draw("image/svg+xml", body, query))

    def text(self, body, query="?color=none"):
        data = self.draw("text/plain", body, query).decode("utf-8")
        self.assertTrue(data.endswith("\n"))
        return data

    def refused(self, status, code, kind, body, query=""):
        got, _, problem = self.server.post("/v1/attention" + query, body, {"Accept": kind})
        self.assertEqual((got, problem["code"]), (status, code), problem)
        return problem

    # ---- PNG

    def test_a_png_shows_every_map_where_its_layer_and_head_say(self):
        body = {"text": "too tired", "layers": [0, 3], "heads": [1, 2, 7]}
        picture = read_png(self.draw("image/png", body, "?cell=6"))
        places = [find(picture, 6, panel) for panel in colors(self.server.attention(body)["results"][0]["attentions"])]
        self.assertNotIn(None, places)
        self.assertEqual(len({top for top, _ in places}), 2)
        self.assertEqual(len({left for _, left in places}), 3)
        self.assertEqual(places, sorted(places))

    def test_masked_scores_are_grey(self):
        body = {"query": [[[1, 2], [3, 4]]], "key": [[[1, 0], [0, 1]]], "value": [[[1], [1]]], "is_causal": True, "output": ["scores"]}
        panel = colors(self.server.attention(body)["results"][0]["scores"])[0]
        self.assertEqual(panel[0][1], PALETTE[256])
        self.assertIsNotNone(find(read_png(self.draw("image/png", body, "?cell=5")), 5, panel))
        root = self.svg(body, "?cell=5")
        self.assertIn("masked", texts(root))
        self.assertTrue(shows(images(root)[0], 0, 0, 5, panel))
        self.assertIn("masked", self.text(body))

    def test_the_scale_is_as_asked(self):
        body = {"text": "too tired", "layers": [1], "heads": [0]}
        row = [max(r) for r in self.server.attention(body)["results"][0]["attentions"]["data"][0][0]]
        picture = images(self.svg(body, "?scale=row&cell=1"))[0]
        self.assertEqual([line.count(PALETTE[255]) > 0 for line in picture], [True] * len(row))
        self.assertIn("log scale", texts(self.svg(body, "?scale=log")))

    def test_a_picture_of_the_whole_model_comes_too(self):
        data = self.draw("image/png", {"text": "the cat sat on the mat " * 9})
        width, height = struct.unpack(">II", data[16:24])
        self.assertTrue(2000 < width < 3200 and 1500 < height < 3200, (width, height))

    # ---- SVG

    def test_svg_is_well_formed_and_labelled_with_the_tokens(self):
        body = {"text": TEXT, "layers": [5], "heads": [0]}
        answer = self.server.attention(body)["results"][0]
        root = self.svg(body, "?cell=24")
        labels = [t.get("display", t["text"]) for t in answer["tokens"]]
        self.assertIn("&", labels)
        self.assertIn('"', labels)
        words = texts(root)
        self.assertEqual([w for w in words if w in labels], labels + labels)
        self.assertEqual(words[0], "attnd-bert \u00b7 BertForMaskedLM")
        self.assertIn("layer 5 \u00b7 head 0", words)
        self.assertTrue(shows(images(root)[0], 0, 0, 24, colors(answer["attentions"])[0]))

    def test_nothing_in_an_svg_comes_from_elsewhere(self):
        data = self.draw("image/svg+xml", {"text": "a b"}).decode("utf-8")
        self.assertEqual(set(re.findall(r'href="(.{10})', data)), {"data:image"})
        self.assertEqual(re.findall(r"https?://[^\"]*", data), ["http://www.w3.org/2000/svg"])
        self.assertNotIn("<script", data)

    def test_labels_follow_a_selection_of_queries_and_keys(self):
        body = {"text": "the animal was too tired", "layers": [0], "heads": [0], "queries": [3, 1], "keys": {"start": -2}}
        tokens = [t["text"] for t in self.server.attention(body)["results"][0]["tokens"]]
        words = [w for w in texts(self.svg(body)) if w in tokens]
        self.assertEqual(words, [tokens[3], tokens[1]] + tokens[-2:])

    def test_ids_are_called_by_their_pieces_and_embeddings_by_their_numbers(self):
        ids = [t["id"] for t in self.server.attention({"text": "too tired", "heads": [0]})["results"][0]["tokens"]]
        words = texts(self.svg({"input_ids": ids, "layers": [0], "heads": [0]}))
        self.assertEqual([w for w in words if w in ("[CLS]", "too", "tired", "[SEP]")], ["[CLS]", "too", "tired", "[SEP]"] * 2)
        words = texts(self.svg({"embeddings": [[1, 0], [0, 1], [1, 1]], "queries": [2]}))
        self.assertEqual(words[-5:-1] + words[-1:], ["2", "0", "1", "2", "layer 0 \u00b7 head 0"])
        self.assertEqual(words[0], "attention on embeddings")

    def test_a_batch_is_drawn_one_below_the_other_each_with_its_own_scale(self):
        body = {"text": ["a b", "the animal was too tired to go"], "layers": [0], "heads": [0, 1], "output": ["attentions", "raw_scores"]}
        root, results = self.svg(body, "?cell=3"), self.server.attention(body)["results"]
        wanted = [panel for r in results for name in ("attentions", "raw_scores") for panel in colors(r[name])]
        drawn = images(root)
        self.assertEqual(len(drawn), 8)
        for picture, panel in zip(drawn, wanted):
            self.assertTrue(shows(picture, 0, 0, 3, panel))
        for title in ("result 0: attentions", "result 0: raw_scores", "result 1: attentions", "result 1: raw_scores"):
            self.assertIn(title, texts(root))

    def test_reductions_and_bins_say_what_they_are(self):
        body = {"text": "a b c d e f", "reduce_heads": "mean", "reduce_layers": "max", "heads": [0, 1, 2], "pool": {"size": 3, "mode": "max"}}
        root, result = self.svg(body), self.server.attention(body)["results"][0]
        words = texts(root)
        self.assertIn("attentions, mean over 3 of 8 heads, then max over layers, pooled to 3 \u00d7 3 bins (max)", words)
        self.assertEqual(words[-6:], ["[CLS]\u2026a", "b\u2026d", "e\u2026[SEP]"] * 2)
        cell = int(next(root.iter(SVG + "image")).get("width")) // 3
        self.assertTrue(shows(images(root)[0], 0, 0, cell, colors(result["attentions"])[0]))

    def test_a_cut_input_is_said_to_be_cut(self):
        body = {"text": "the cat " * 400, "truncation": True, "layers": [0], "heads": [0]}
        count = len(self.server.attention(dict(body, queries=[0], keys=[0]))["results"][0]["tokens"])
        self.assertIn(f"attentions, input cut from 802 to {count} tokens", texts(self.svg(body)))

    # ---- text

    def test_text_without_a_selection_is_the_mean_of_the_last_layer_and_says_so(self):
        drawn = self.text({"text": "too tired"})
        self.assertIn("mean over heads of the last layer; choose layers and heads", drawn.replace("\n", " "))
        chosen = self.text({"text": "too tired", "layers": [-1], "reduce_heads": "mean"})
        self.assertIn("layer 5 \u00b7 mean over heads\n", chosen)
        self.assertEqual(chosen.split("layer 5")[1], drawn.split("layer 5")[1])
        self.assertNotIn("\x1b", drawn)
        pooled = self.text({"text": "too tired", "pool": {"size": 2}}).replace("\n", " ")
        self.assertIn("mean over heads of the last layer, pooled to 2 \u00d7 2 bins (mean); choose layers and heads to see others ", pooled)
        self.assertIn("queries (rows) look at keys (columns)", pooled)

    def test_a_terminal_shows_what_the_numbers_say(self):
        body = {"text": "the animal was too tired", "layers": [2], "heads": [3]}
        result = self.server.attention(body)["results"][0]
        data = result["attentions"]["data"][0][0]
        most, ramp = max(map(max, data)), " .:-=+*#%@"
        lines = self.text(body).split("layer 2 \u00b7 head 3\n")[1].splitlines()[-len(data) :]
        for line, row, token in zip(lines, data, result["tokens"]):
            self.assertEqual(line[: -2 * len(row)].strip(), token["text"])
            marks = line[-2 * len(row) :]
            for k, x in enumerate(row):
                wanted = ramp[min(255, int(256 * x / most)) * 10 // 256]
                self.assertLessEqual(abs(ramp.index(marks[2 * k]) - ramp.index(wanted)), 0 if 256 * x / most % 25.6 > 0.01 else 1)
                self.assertEqual(marks[2 * k], marks[2 * k + 1])

    def test_colours_of_a_terminal_are_256_unless_asked_otherwise(self):
        body = {"text": "too tired"}
        self.assertIn("\x1b[48;5;", self.text(body, ""))
        self.assertIn("\x1b[48;5;", self.text(body, "?color=256"))
        self.assertIn("\x1b[48;2;253;231;37m", self.text(body, "?color=truecolor"))

    def test_lines_have_eighty_columns_at_most_and_say_what_is_missing(self):
        drawn = self.text({"text": "the cat sat on the mat " * 40})
        self.assertLessEqual(max(map(len, drawn.splitlines())), 80)
        self.assertRegex(drawn, r"\u2026 \d+ more keys, 114 more queries\n")

    # ---- refusals

    def test_what_is_no_map_is_refused(self):
        for kind in ("image/png", "image/svg+xml", "text/plain"):
            self.refused(400, "unsupported_combination", kind, {"text": "a", "output": ["attentions", "context"]})
            self.refused(400, "unsupported_combination", kind, {"text": "a", "analyses": ["entropy"]})
            self.refused(400, "unsupported_combination", kind, {"text": "a", "top_k": 2})
            self.refused(400, "unsupported_combination", kind, {"text": "a", "encoding": "base64"})
            self.refused(400, "unsupported_combination", kind, {"text": "a", "output": ["scores"]}, "?scale=log")

    def test_parameters_are_checked(self):
        body = {"text": "a"}
        wrong = {"cell=0": 422, "cell=65": 422, "cell=x": 400, "cell=": 400, "scale=cubic": 400, "scale=log&scale=row": 400, "size=3": 400, "color=none": 400}
        for query, wanted in wrong.items():
            status, _, problem = self.server.post("/v1/attention?" + query, body, {"Accept": "image/png"})
            self.assertEqual(status, wanted, (query, problem))
        self.assertEqual(self.server.post("/v1/attention?cell=64&scale=linear", body, {"Accept": "image/png"})[0], 200)

    def test_a_picture_too_large_is_refused_before_it_is_computed(self):
        for kind in ("image/png", "image/svg+xml"):
            problem = self.refused(413, "response_too_large", kind, {"text": "the cat " * 100}, "?cell=64")
            self.assertEqual(problem["limit"], 32767)
            self.assertGreater(problem["need"], 8 * 202 * 64)

    def test_an_estimate_lists_the_side_of_a_picture_too_large(self):
        body = {"text": "the cat", "layers": [0], "heads": [0] * 1000}
        for kind in ("image/png", "image/svg+xml"):
            problem = self.refused(413, "response_too_large", kind, body)
            status, _, estimate = self.server.post(f"/v1/estimate?accept={kind}", body)
            self.assertEqual((status, estimate["allowed"]), (200, False))
            self.assertEqual(estimate["limits"], [{k: problem[k] for k in ("code", "limit", "need")}])
            self.assertEqual(estimate["results"][0]["shapes"]["attentions"], [1, 1000, 4, 4])


@unittest.skipUnless(os.path.isdir("/usr/share/fonts"), "no folder of fonts")
class Scripts(ServerCase):
    def test_labels_of_any_script_do_not_stop_a_picture(self):
        text = "\u65e5\u672c \u0645\u0631\u062d\u0628\u0627 \U0001f600 \u0939\u093f \u0e01 \u202e x\u0301 \U00013000"
        for kind in ("image/png", "image/svg+xml", "text/plain"):
            status, _, data = self.server.post("/v1/attention", {"text": text, "layers": [0]}, {"Accept": kind})
            self.assertEqual(status, 200, data)
            if kind == "image/png":
                read_png(data)


if __name__ == "__main__":
    main()
