#!/usr/bin/env python3
"""pool: what comes in bins is what the same request gives without it, put into bins here: selections first, then bins, then heads, then layers.

SPDX-License-Identifier: Apache-2.0
"""

import math

from contract_case import MASKED, ContractCase, gauss, singles
from harness import flat, main

MAPS = ["attentions", "scores", "raw_scores"]
MODEL_MAPS = MAPS + ["weighted_norms"]
TOLERANCE = 1e-5  # a pooled run sums in another order, layer after layer
TEXT = "when the old captain came home from the sea he told us of islands that no map shows and nobody believed him but the children"


def edges(n, size):
    bins = min(n, size)
    return [b * n // bins for b in range(bins + 1)]


def mean(values):
    return None if None in values else math.fsum(values) / len(values)


def largest(values):
    return max((v for v in values if v is not None), default=None)


FOLD = {"mean": mean, "max": largest}


def cut(rows, queries, keys):
    return [[rows[i][j] for j in keys] for i in queries]


def binned(rows, size, mode):
    """[[...]] of a map in bins on both axes."""
    q, k = edges(len(rows), size), edges(len(rows[0]), size)
    return [
        [FOLD[mode]([x for row in rows[q[b] : q[b + 1]] for x in row[k[c] : k[c + 1]]]) for c in range(len(k) - 1)]
        for b in range(len(q) - 1)
    ]


def folded(maps, mode):
    """Maps on top of each other."""
    return [[FOLD[mode]([m[i][j] for m in maps]) for j in range(len(maps[0][0]))] for i in range(len(maps[0]))]


def chosen(choice, n):
    """A list of indices, or a slice, as the request has it."""
    if choice is None:
        return list(range(n))
    if isinstance(choice, dict):
        return list(range(n))[choice.get("start") : choice.get("stop")]
    return [i % n for i in choice]


class Pool(ContractCase):
    def full(self, body, maps):
        """Every map of a request, whole."""
        clean = {k: v for k, v in body.items() if k not in ("layers", "heads", "queries", "keys", "reduce_heads", "reduce_layers", "pool", "analyses")}
        return self.server.attention(dict(clean, output=maps))["results"]

    def expected(self, result, name, body):
        data = result[name]["data"]
        size, mode = body["pool"]["size"], body["pool"].get("mode", "mean")
        queries, keys = chosen(body.get("queries"), len(data[0][0])), chosen(body.get("keys"), len(data[0][0][0]))
        layers, heads = chosen(body.get("layers"), len(data)), chosen(body.get("heads"), len(data[0]))
        out = [[binned(cut(data[l][h], queries, keys), size, mode) for h in heads] for l in layers]
        if body.get("reduce_heads"):
            out = [folded(layer, body["reduce_heads"]) for layer in out]
        if body.get("reduce_layers"):
            if body.get("reduce_heads"):
                return folded(out, body["reduce_layers"]), queries, keys
            return [folded([layer[h] for layer in out], body["reduce_layers"]) for h in range(len(heads))], queries, keys
        return out, queries, keys

    def check(self, body, maps, tolerance=TOLERANCE):
        got = self.server.attention(dict(body, output=maps))["results"]
        whole = self.full(body, maps)
        self.assertEqual(len(got), len(whole))
        for a, b in zip(got, whole):
            for name in maps:
                expected, queries, keys = self.expected(b, name, body)
                numbers = flat(expected)
                scale = max([1] + [abs(x) for x in numbers if x is not None])
                self.assert_close(flat(a[name]["data"]), numbers, tolerance * scale, name)
                self.assertEqual(math.prod(a[name]["shape"]), len(numbers))
                self.assertEqual(a[name]["shape"][-2:], [len(edges(len(queries), body["pool"]["size"])) - 1, len(edges(len(keys), body["pool"]["size"])) - 1])
                self.assertEqual(a[name]["axes"][-2:], ["query", "key"])
            self.check_echo(a["pool"], body["pool"], len(queries), len(keys))
        return got

    def check_echo(self, echo, asked, queries, keys):
        size = asked["size"]
        self.assertEqual(
            echo, {"size": size, "mode": asked.get("mode", "mean"), "query_edges": edges(queries, size), "key_edges": edges(keys, size)}
        )

    def test_mean_and_max_of_every_map_of_a_model(self):
        for mode in ("mean", "max"):
            for size in (1, 2, 5, 8):
                self.check({"text": TEXT, "pool": {"size": size, "mode": mode}, "layers": [0, 5], "heads": [0, 3]}, MODEL_MAPS)

    def test_mean_is_the_mode_when_none_is_named(self):
        self.check({"text": TEXT, "pool": {"size": 4}, "layers": [2]}, ["attentions"])

    def test_lengths_around_a_multiple_of_the_bins(self):
        ids = [(7 * t) % 4000 + 5 for t in range(100)]
        for n in (63, 64, 65, 95, 96, 97):
            self.check({"input_ids": ids[:n], "pool": {"size": 32}, "layers": [1], "heads": [2]}, ["attentions", "scores"])

    def test_padded_keys_fall_into_bins_too(self):
        ids = [(7 * t) % 4000 + 5 for t in range(21)]
        body = {"input_ids": ids, "attention_mask": [1] * 17 + [0] * 4, "layers": [0, 3], "heads": [1]}
        for mode in ("mean", "max"):
            got = self.check(dict(body, pool={"size": 4, "mode": mode}), MODEL_MAPS)[0]
            self.assertEqual(None in flat(got["scores"]["data"]), mode == "mean")

    def test_bins_are_cut_from_what_was_selected(self):
        choices = [
            {"queries": [3, 1, 4, 1, 5, 9, 2, 6], "keys": {"start": 2}},
            {"queries": {"start": -9, "stop": -1}, "keys": [-1, 0, -1, 0, 7, 7, 7]},
            {"keys": [5]},
            {"queries": [4]},
        ]
        for choice in choices:
            for mode in ("mean", "max"):
                self.check(dict({"text": TEXT, "pool": {"size": 3, "mode": mode}, "layers": [4, 1], "heads": [6, 6, 2]}, **choice), MODEL_MAPS)

    def test_selection_then_bins_then_heads_then_layers(self):
        for heads in (None, "mean", "max"):
            for layers in (None, "mean", "max"):
                for mode in ("mean", "max"):
                    body = {"text": TEXT, "pool": {"size": 4, "mode": mode}, "keys": {"stop": 11}, "layers": [5, 0, 5], "heads": [1, 2, 7]}
                    body.update({k: v for k, v in (("reduce_heads", heads), ("reduce_layers", layers)) if v})
                    self.check(body, ["attentions", "scores"])

    def test_each_of_a_batch_has_its_own_length_and_bins(self):
        body = {"text": [TEXT, "short", "a few words more"], "pool": {"size": 5, "mode": "max"}, "layers": [0]}
        got = self.check(body, ["attentions", "raw_scores"])
        self.assertEqual([len(r["pool"]["query_edges"]) - 1 for r in got], [5, 3, 5])
        self.assertEqual([r["attentions"]["shape"][-1] for r in got], [5, 3, 5])

    def test_an_axis_that_is_no_longer_than_the_bins_keeps_its_length(self):
        n = len(self.server.attention({"text": TEXT})["results"][0]["tokens"])
        for size in (n, n + 1, 2**40):
            got = self.result({"text": TEXT, "output": ["attentions", "context"], "pool": {"size": size}})
            whole = self.result({"text": TEXT, "output": ["attentions", "context"]})
            self.assertEqual(got["attentions"], whole["attentions"])
            self.assertEqual(got["context"], whole["context"])
            self.check_echo(got["pool"], {"size": size}, n, n)
            self.assertEqual(got["pool"]["key_edges"], list(range(n + 1)))
        self.check({"text": TEXT, "pool": {"size": 6}, "queries": [1, 2], "layers": [0]}, ["attentions"])

    def test_what_is_no_map_comes_as_ever(self):
        names = ["context", "query", "key", "value", "value_norms", "attn_output", "hidden_states"]
        body = {"text": TEXT, "queries": [0, 5, 2], "keys": {"stop": 9}, "layers": [1, 3]}
        got = self.result(body, output=names + ["attentions"], pool={"size": 2}, analyses=["entropy", "special_tokens", "induction"])
        whole = self.result(body, output=names, analyses=["entropy", "special_tokens", "induction"])
        self.assert_same(got, whole, names)
        self.assert_same(got["analyses"], whole["analyses"], list(whole["analyses"]))
        self.assertEqual(got["attentions"]["shape"], [2, 8, 2, 2])

    def test_without_a_model_too(self):
        free = {"query": gauss(4, 33, 8), "key": gauss(2, 50, 8), "value": gauss(2, 50, 3), "is_causal": True, "query_offset": 9, "left_window_size": 20}
        for mode in ("mean", "max"):
            for size in (1, 7, 33, 40):
                self.check(dict(free, pool={"size": size, "mode": mode}), MAPS)
            self.check(dict({k: v for k, v in MASKED.items() if k != "output"}, pool={"size": 3, "mode": mode}), MAPS)

    def test_an_embedding_of_a_long_text(self):
        body = {"embeddings": gauss(700, 8), "num_attention_heads": 2, "w_o": gauss(8, 8), "positional_encoding": "alibi", "pool": {"size": 16}}
        self.check(body, MODEL_MAPS)

    def test_every_form_of_answer_has_the_same_bins(self):
        body = {"text": TEXT, "pool": {"size": 4}, "output": ["attentions"], "layers": [2], "heads": [3]}
        plain = self.result(body)
        base64 = self.result(body, encoding="base64")
        self.assertEqual(singles(base64["attentions"]), singles(plain["attentions"]))
        half = self.result(body, dtype="float16")
        self.assert_same(half, plain, ["attentions"], 1e-3)
        self.assertEqual(half["pool"], plain["pool"])

    def test_what_does_not_go_with_bins(self):
        body = {"text": TEXT, "pool": {"size": 4}}
        self.refuse(dict(body, top_k=2), 400, "unsupported_combination", "/pool")
        self.refuse(dict(body, analyses=["rollout"]), 400, "unsupported_combination", "/pool")
        self.refuse(dict(body, analyses=["head_distance"]), 400, "unsupported_combination", "/pool")
        self.refuse(dict(body, output=["context"]), 400, "unsupported_combination", "/pool")
        self.refuse(dict(body, pool={"mode": "max"}), 400, "missing_field", "/pool/size")
        self.refuse(dict(body, pool={"size": 4, "mode": "sum"}), 400, "unknown_value", "/pool/mode")
        self.refuse(dict(body, pool={"size": 0}), 422, "out_of_range", "/pool/size")
        self.refuse(dict(body, pool={"size": "4"}), 400, "wrong_type", "/pool/size")
        self.refuse(dict(body, pool=4), 400, "wrong_type", "/pool")

    def test_an_estimate_tells_the_bins_and_needs_no_map_of_all_tokens(self):
        # T x T of one head alone would be 64 MiB here.
        ids = {"query": gauss(1, 4096, 2), "key": gauss(1, 4096, 2), "value": gauss(1, 4096, 2), "output": ["attentions"]}
        whole = self.server.post("/v1/estimate", ids)[2]
        bins = self.server.post("/v1/estimate", dict(ids, pool={"size": 64}))[2]
        self.assertEqual(bins["results"][0]["shapes"]["attentions"], [1, 1, 64, 64])
        self.assertGreater(whole["memory_bytes"], 64 << 20)
        self.assertLess(bins["memory_bytes"], 16 << 20)
        self.assertLess(bins["response_bytes"], 200000)


if __name__ == "__main__":
    main()
