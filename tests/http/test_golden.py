#!/usr/bin/env python3
"""Models over HTTP against transformers in float64: the built-in one, small random ones of odd shapes, and MiniLM where ATTND_MINILM names its folder.

Every tensor of every case of the golden files (tests/golden/README.md) is asked for and compared: maps within 5e-6, scores and vectors within 1e-5 of their size.
SPDX-License-Identifier: Apache-2.0
"""
import glob
import os
import unittest

import harness
from harness import MINILM, ROOT, ServerCase, load, main, packed, unpacked

GOLDEN = os.path.join(ROOT, "tests/golden")
SMALL = sorted(os.path.dirname(p) for p in glob.glob(os.path.join(GOLDEN, "models/*/golden.json")))
TENSORS = ("attentions", "scores", "raw_scores", "context", "query", "key", "value", "attn_output", "hidden_states")
PREFIXES = ("", "encoder_", "decoder_", "cross_")
FIELDS = ("text", "text_pair", "input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "layers", "heads")


def models():
    """(name, --model value, golden file)"""
    yield "attnd-bert", "attnd-bert=builtin:attnd-bert", os.path.join(GOLDEN, "attnd-bert.json")
    for folder in SMALL:
        yield os.path.basename(folder), folder, os.path.join(folder, "golden.json")
    if MINILM:
        yield "minilm", "minilm=" + MINILM, os.path.join(GOLDEN, "minilm.json")


class Golden(ServerCase):
    options = [word for _, source, _ in models() for word in ("--model", source)]
    worst = {}

    def check(self, model, case):
        names = [p + t for p in PREFIXES for t in TENSORS if p + t in case]
        body = {"model": model, "output": [t for t in TENSORS if any(p + t in names for p in PREFIXES)], "encoding": "base64"}
        for field in FIELDS:
            if case.get(field) is not None and not (field == "input_ids" and "text" in case):
                body[field] = case[field]
        if "inputs_embeds" in case:
            body["inputs_embeds"] = packed(case["inputs_embeds"]["data"], case["inputs_embeds"]["shape"])
        result = self.server.attention(body)["results"][0]
        if "text" in case and "input_ids" in case:
            self.assertEqual([t["id"] for t in result["tokens"]], case["input_ids"])
        for name in names:
            got, expected = unpacked(result[name]), case[name]["data"]
            self.assertEqual(result[name]["shape"], case[name]["shape"], name)
            size = max(1.0, max(abs(x) for x in expected if x is not None))
            tolerance = 5e-6 if name.endswith("attentions") else 1e-5 * size
            worst = self.assert_close(got, expected, tolerance, f"{model} {name}")
            self.worst[model, name] = max(worst, self.worst.get((model, name), 0.0))

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for model in sorted({m for m, _ in cls.worst}):
            print(f"worst errors of {model}: " + ", ".join(f"{n} {e:.1e}" for (m, n), e in cls.worst.items() if m == model))

    @unittest.skipIf(not MINILM and not harness.CI, "MiniLM is not here: ATTND_MINILM does not name its folder")
    def test_minilm_is_here(self):
        self.assertTrue(MINILM, "CI needs MiniLM")

    def test_there_are_small_models_of_odd_shapes(self):
        self.assertGreaterEqual(len(SMALL), 5)


for title, _, path in models():
    for index, one in enumerate(load(path)["cases"] if os.path.exists(path) else []):
        setattr(Golden, f"test_{title}_{index}", lambda self, model=title, case=one: self.check(model, case))

if __name__ == "__main__":
    main()
