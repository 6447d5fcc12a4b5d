"""Requests that ask for much work with few bytes, or for one thing millions of times: each is answered by what it is worth, or given up in time.

SPDX-License-Identifier: Apache-2.0
"""
import base64
import http.client
import json
import struct
import time
import unittest

import harness

SECONDS = 1  # the server's deadline
GRACE = 5 if not harness.slow_build() else 60  # one piece of work between two looks at it, on a busy machine


def repeats(n):
    return "[" + "0," * (n - 1) + "0]"


def constant(shape, value=0.5):
    count = 1
    for n in shape:
        count *= n
    return {"dtype": "float32", "shape": shape, "data": base64.b64encode(struct.pack("<f", value) * count).decode()}


class Deadline(harness.ServerCase):
    options = ("--timeout", f"{SECONDS}s")

    def in_time(self, body):
        """504, or an answer, or one that breaks off, but soon."""
        begin = time.monotonic()
        try:
            status, _, data = self.server.request("POST", "/v1/attention", body if isinstance(body, str) else json.dumps(body))
            self.assertIn(status, (200, 504), data[:300])
        except http.client.IncompleteRead:
            self.server.connection.close()
            self.server.connection = None
        self.assertLess(time.monotonic() - begin, SECONDS + GRACE)

    def test_a_mean_of_ten_million_heads(self):
        x = json.dumps({"embeddings": [[1.0, 2.0]] * 64})[:-1]
        self.in_time(x + ', "output": ["attentions"], "reduce_heads": "mean", "heads": ' + repeats(10_000_000) + "}")

    def test_heads_a_million_times_one_key(self):
        x = json.dumps({"query": [[1.0]], "key": [[1.0]] * 8000, "value": [[1.0]] * 8000, "output": ["key"], "keys": [0]})[:-1]
        self.in_time(x + ', "heads": ' + repeats(1_000_000) + "}")

    def test_wide_heads_are_turned(self):
        self.in_time(
            {
                "embeddings": constant([8000, 1]),
                "w_q": constant([1, 10000]),
                "w_k": constant([1, 10000]),
                "positional_encoding": "rope",
                "output": ["raw_scores"],
                "queries": [0],
                "keys": [0],
            }
        )


class Repeats(harness.ServerCase):
    def post_text(self, body):
        status, _, data = self.server.request("POST", "/v1/attention", body)
        self.assertEqual(status, 200, data[:300])
        return json.loads(data)["results"][0]

    def test_ranking_looks_at_a_repeated_key_once(self):
        x = json.dumps({"embeddings": [[1.0, 2.0], [2.0, 1.0]] * 500, "output": ["attentions"], "top_k": 3, "queries": [0, 1]})[:-1]
        begin = time.monotonic()
        result = self.post_text(x + ', "heads": [' + "0," * 49 + '0], "keys": [1, 0, 7, ' + repeats(500_000)[1:] + "}")
        self.assertLess(time.monotonic() - begin, 20)
        indices = harness.flat(result["attentions"]["indices"]["data"])
        self.assertEqual(result["attentions"]["indices"]["shape"], [1, 50, 2, 3])
        self.assertEqual(sorted(indices[:3]), [0, 1, 7])

    def test_a_layer_asked_for_a_million_times_counts_as_often(self):
        x = json.dumps({"text": "a b c", "output": ["attentions"], "reduce_layers": "mean", "heads": [0]})[:-1]
        plain = self.post_text(x + ', "layers": [0, 1, 1, 1]}')
        often = self.post_text(x + ', "layers": ' + "[" + "0,1,1,1," * 250_000 + "0,1,1,1]}")
        self.assert_close(harness.unpacked(often["attentions"]), harness.unpacked(plain["attentions"]), 1e-7)

    def test_a_mean_of_scores_near_the_end_of_float32(self):
        body = {"query": [[[-3e38]], [[-3e38]]], "key": [[[1]], [[1]]], "value": [[[1]], [[1]]], "scale": 1, "output": ["raw_scores", "scores"]}
        result = self.server.attention(dict(body, reduce_heads="mean", reduce_layers="mean"))["results"][0]
        for name in body["output"]:
            self.assertEqual(harness.flat(result[name]["data"]), [-3e38])

    def test_a_price_never_wraps_around(self):
        n = 10_000_000
        body = '{"embeddings": [[1, 2], [3, 4]], "output": ["attentions"], "heads": %s, "queries": %s, "keys": %s}' % ((repeats(n),) * 3)
        status, _, answer = self.server.post("/v1/estimate", body)
        self.assertEqual(status, 200)
        self.assertFalse(answer["allowed"])
        self.assertGreaterEqual(answer["memory_bytes"], 4 * n**3 if 4 * n**3 < 2**64 else 2**64 - 1)


class SmallAnswers(harness.ServerCase):
    options = ("--max-response-bytes", "20000")

    def test_tokens_are_held_to_the_limit_of_answers(self):
        status, _, answer = self.server.post("/v1/tokenize", {"text": "word " * 1000})
        self.assertEqual((status, answer["code"], answer["limit"]), (413, "response_too_large", 20000))
        status, _, data = self.server.request("POST", "/v1/tokenize", json.dumps({"text": "word " * 250}))
        self.assertEqual(status, 200)
        self.assertLessEqual(len(data), 20000)
        self.assertGreater(len(data), 15000)


if __name__ == "__main__":
    harness.main()
