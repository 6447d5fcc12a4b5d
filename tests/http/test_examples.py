#!/usr/bin/env python3
"""Worked examples from textbooks, as requests, with the answers their authors printed: tests/golden/worked-examples/examples.json.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re

from harness import ROOT, ServerCase, flat, load, main

EXAMPLES = load(os.path.join(ROOT, "tests/golden/worked-examples/examples.json"))


class Examples(ServerCase):
    def check(self, example):
        result = self.server.attention(dict(example["request"], output=["attentions", "context", "scores"]))["results"][0]
        compared = 0
        for name, expected in example.items():
            row = re.fullmatch(r"attentions_row_(\d+)", name)
            if row:
                self.assert_close(result["attentions"]["data"][0][0][int(row[1])], expected, example["tolerance"], name)
            elif name in ("context", "scores"):
                self.assert_close(flat(result[name]["data"]), flat(expected), example["tolerance"], name)
            else:
                continue
            compared += 1
        self.assertGreaterEqual(compared, 2)


for title, one in EXAMPLES.items():
    setattr(Examples, "test_" + title, lambda self, example=one: self.check(example))

if __name__ == "__main__":
    main()
