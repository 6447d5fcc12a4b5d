#!/usr/bin/env python3
"""Analyses, value_norms, weighted_norms and hidden_states over HTTP: against transformers in float64 (tests/golden/make_analysis_goldens.py), against sums over
the maps that the same answer carries, and against numbers worked by hand.

SPDX-License-Identifier: Apache-2.0
"""
import math
import os
import unittest

from harness import MINILM, ROOT, ServerCase, flat, float32, load, main, nest, unpacked

GOLDEN = os.path.join(ROOT, "tests/golden")
PER_HEAD = ["entropy", "confidence", "mean_distance", "self", "previous_token", "next_token", "first_token", "special_tokens", "duplicate_token", "induction"]
NEED_TOKENS = ["special_tokens", "duplicate_token", "induction"]
ALL = PER_HEAD + ["rollout", "head_distance"]
AXES = {"rollout": ["layer", "query", "key"], "head_distance": ["layer", "head", "head"]}
TEXT = "the cat saw the dog and the dog saw the cat"


def models():
    yield "attnd-bert", "attnd-bert=builtin:attnd-bert", os.path.join(GOLDEN, "analyses-attnd-bert.json")
    if MINILM:
        yield "minilm", "minilm=" + MINILM, os.path.join(GOLDEN, "analyses-minilm.json")


class AnalysesCase(ServerCase):
    options = [word for _, source, _ in models() for word in ("--model", source)]

    def ask(self, body):
        return self.server.attention(body)["results"][0]

    def analyses(self, body, names=ALL):
        return self.ask(dict({"output": [], "analyses": names}, **body))["analyses"]

    def assert_analysis(self, got, expected, tolerance, what):
        size = max([1.0] + [abs(x) for x in expected])
        return self.assert_close(unpacked(got), expected, tolerance * size, what)

    def refused(self, body, status, code, pointer):
        got, _, answer = self.server.post("/v1/attention", body)
        self.assertEqual((got, answer.get("code"), answer.get("pointer")), (status, code, pointer), answer.get("detail"))


class Golden(AnalysesCase):
    worst = {}

    def note(self, model, name, worst):
        self.worst[model, name] = max(worst, self.worst.get((model, name), 0.0))

    def check(self, model, case):
        body = dict(case["body"], model=model)
        result = self.ask(dict(body, output=["attentions"], analyses=ALL))
        self.assertEqual([t["id"] for t in result["tokens"]], case["ids"])
        self.assertEqual(list(result["analyses"]), ALL)
        for name, expected in case["analyses"].items():
            got = result["analyses"][name]
            self.assertEqual((got["shape"], got["axes"], got["dtype"]), (expected["shape"], AXES.get(name, ["layer", "head"]), "float32"), name)
            self.note(model, name, self.assert_analysis(got, expected["data"], 1e-5, f"{model} {name}"))
        for part in case["outputs"]:
            names = [n for n in ("value_norms", "weighted_norms", "hidden_states") if n in part]
            result = self.ask(dict(body, output=names, encoding="base64", **part["select"]))
            for name in names:
                self.assertEqual(result[name]["shape"], part[name]["shape"], name)
                self.note(model, name, self.assert_analysis(result[name], part[name]["data"], 1e-5, f"{model} {name}"))
            if "hidden_states" in names:
                layers = part["select"].get("layers")
                self.assertEqual(result["states"], [l + 1 for l in layers] if layers else list(range(result["hidden_states"]["shape"][0])))

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for model in sorted({m for m, _ in cls.worst}):
            print(f"worst errors of {model}: " + ", ".join(f"{n} {e:.1e}" for (m, n), e in cls.worst.items() if m == model))

    def test_the_golden_file_has_repeats_padding_a_pair_and_a_single_token(self):
        cases = load(os.path.join(GOLDEN, "analyses-attnd-bert.json"))["cases"]
        self.assertTrue(any(min(c["body"].get("attention_mask", [1])) == 0 for c in cases))
        self.assertTrue(any("text_pair" in c["body"] for c in cases))
        self.assertTrue(any(len(c["ids"]) == 1 for c in cases))
        self.assertTrue(any(max(c["analyses"]["induction"]["data"]) > 0.1 < max(c["analyses"]["duplicate_token"]["data"]) for c in cases))


for title, _, path in models():
    for index, one in enumerate(load(path)["cases"]):
        setattr(Golden, f"test_{title}_{index}", lambda self, model=title, case=one: self.check(model, case))


class Selections(AnalysesCase):
    """What is asked for beside them changes no analysis."""

    def setUp(self):
        self.plain = self.analyses({"text": TEXT})

    def test_selected_queries_and_keys_change_nothing(self):
        for chosen in ({"queries": [3]}, {"keys": [0, 2]}, {"queries": {"start": 1, "stop": 4}, "keys": [-1]}, {"output": ["attentions"], "queries": [0], "keys": [0]}):
            self.assertEqual(self.analyses(dict({"text": TEXT}, **chosen)), self.plain, chosen)

    def test_other_outputs_reductions_and_top_k_change_nothing(self):
        for more in ({"output": ["attentions", "scores", "context"]}, {"output": ["attentions"], "reduce_heads": "mean"}, {"output": ["attentions"], "reduce_layers": "max"},
                     {"output": ["attentions"], "top_k": 2}):
            self.assertEqual(self.analyses(dict({"text": TEXT}, **more)), self.plain, more)

    def test_with_pool_the_analyses_of_heads_are_the_same(self):
        for pool in ({"size": 3}, {"size": 1, "mode": "max"}, {"size": 100}):
            got = self.analyses({"text": TEXT, "output": ["attentions"], "pool": pool}, PER_HEAD)
            for name in PER_HEAD:
                self.assert_analysis(got[name], unpacked(self.plain[name]), 1e-6, f"{name} with {pool}")

    def test_rollout_and_head_distance_do_not_go_with_pool(self):
        for name in ("rollout", "head_distance"):
            self.refused({"text": TEXT, "analyses": ["entropy", name], "pool": {"size": 2}}, 400, "unsupported_combination", "/pool")

    def test_heads_come_in_the_order_asked_with_repeats(self):
        heads = [5, 0, 5, 2]
        got = self.analyses({"text": TEXT, "heads": heads})
        for name in PER_HEAD:
            for row, whole in zip(got[name]["data"], self.plain[name]["data"]):
                self.assertEqual(row, [whole[h] for h in heads], name)
        for square, whole in zip(got["head_distance"]["data"], self.plain["head_distance"]["data"]):
            self.assertEqual(square, [[whole[g][h] for h in heads] for g in heads])
        self.assertEqual(got["rollout"], self.plain["rollout"], "all heads make it, whichever were asked for")

    def test_layers_choose_what_is_shown_and_rollout_still_begins_at_the_first(self):
        layers = [4, 1, 4]
        got = self.analyses({"text": TEXT, "layers": layers})
        for name in ALL:
            self.assertEqual(got[name]["data"], [self.plain[name]["data"][l] for l in layers], name)

    def test_a_batch_gives_each_input_its_own(self):
        texts = ["a cat", TEXT, "the dog"]
        results = self.server.attention({"text": texts, "output": [], "analyses": ALL})["results"]
        for text, result in zip(texts, results):
            self.assertEqual(result["analyses"], self.analyses({"text": text}))

    def test_they_stand_in_one_order_whatever_the_request_says(self):
        self.assertEqual(list(self.analyses({"text": TEXT}, list(reversed(ALL)))), ALL)

    def test_encodings_and_decimals(self):
        got = self.analyses({"text": TEXT, "encoding": "base64"})
        for name in ALL:
            self.assertEqual(unpacked(got[name]), [float32(x) for x in flat(self.plain[name]["data"])], name)
        rounded = self.analyses({"text": TEXT, "decimals": 3}, ["entropy"])
        self.assert_close(unpacked(rounded["entropy"]), unpacked(self.plain["entropy"]), 5.1e-4)

    def test_ranges(self):
        T = len(self.ask({"text": TEXT, "output": ["attentions"]})["tokens"])
        most = {"entropy": math.log(T), "mean_distance": T - 1, "head_distance": math.log(2)}
        for name in ALL:
            self.assertGreaterEqual(min(unpacked(self.plain[name])), 0, name)
            self.assertLessEqual(max(unpacked(self.plain[name])), most.get(name, 1) + 1e-6, name)
        for layer in self.plain["rollout"]["data"]:
            for row in layer:
                self.assertAlmostEqual(sum(row), 1, delta=1e-6)
        for layer in self.plain["head_distance"]["data"]:
            for g, row in enumerate(layer):
                self.assertEqual((row[g], row), (0, [other[g] for other in layer]))


def keep_rows(weights):
    """A request whose attention weights are `weights` [query][key]: scores are their logarithms, given as a mask to queries and keys of zeros."""
    rows, columns = len(weights), len(weights[0])
    return {"query": [[0.0]] * rows, "key": [[0.0]] * columns, "value": [[1.0]] * columns, "attn_mask": [[math.log(w) if w > 0 else None for w in row] for row in weights]}


WITHOUT_TOKENS = [n for n in ALL if n not in NEED_TOKENS]
SQUARE = [[1.0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]]
ENTROPY = (math.log(2) + 1.5 * math.log(2)) / 3


class WithoutModel(AnalysesCase):
    def numbers(self, body, names=WITHOUT_TOKENS):
        return {name: unpacked(t) for name, t in self.analyses(body, names).items()}

    def test_a_known_matrix_by_hand(self):
        got = self.numbers(keep_rows(SQUARE))
        by_hand = {"entropy": ENTROPY, "confidence": 2 / 3, "mean_distance": (0 + 0.5 + 0.75) / 3, "self": 2 / 3, "previous_token": 0.375, "next_token": 0,
                   "first_token": 1.75 / 3, "head_distance": 0}
        for name, value in by_hand.items():
            self.assert_close(got[name], [value], 2e-6, name)
        self.assert_close(got["rollout"], [1, 0, 0, 0.25, 0.75, 0, 0.125, 0.125, 0.75], 2e-6, "rollout")

    def test_query_offset_moves_every_position(self):
        got = self.numbers(dict(keep_rows([[0.125, 0.5, 0.25, 0.125]]), query_offset=2), [n for n in WITHOUT_TOKENS if n != "rollout"])
        by_hand = {"self": 0.25, "previous_token": 0.5, "next_token": 0.125, "mean_distance": 0.125 * 2 + 0.5 + 0.125, "first_token": 0.125, "confidence": 0.5}
        for name, value in by_hand.items():
            self.assert_close(got[name], [value], 2e-6, name)
        behind = self.numbers(dict(keep_rows([[0.5, 0.5]]), query_offset=-1), ["self", "next_token", "previous_token", "mean_distance"])
        self.assertEqual((behind["self"], behind["previous_token"]), ([0], [0]))
        self.assert_close(behind["next_token"], [0.5], 2e-6)
        self.assert_close(behind["mean_distance"], [1.5], 2e-6)

    def test_rows_that_see_nothing_do_not_count_and_roll_out_to_themselves(self):
        got = self.numbers(keep_rows([[0, 0], [0.5, 0.5]]))
        for name, value in {"entropy": math.log(2), "confidence": 0.5, "mean_distance": 0.5, "self": 0.5, "previous_token": 0.5, "next_token": 0, "first_token": 0.5}.items():
            self.assert_close(got[name], [value], 2e-6, name)
        self.assert_close(got["rollout"], [1, 0, 0.25, 0.75], 2e-6)

    def test_causal_and_windows_and_key_lengths_hide_keys(self):
        flat_rows = {"query": [[0.0]] * 4, "key": [[0.0]] * 4, "value": [[1.0]] * 4}
        got = self.numbers(dict(flat_rows, is_causal=True), ["entropy", "confidence", "next_token"])
        self.assert_close(got["entropy"], [(math.log(2) + math.log(3) + math.log(4)) / 4], 2e-6)
        self.assert_close(got["confidence"], [(1 + 1 / 2 + 1 / 3 + 1 / 4) / 4], 2e-6)
        self.assertEqual(got["next_token"], [0])
        got = self.numbers(dict(flat_rows, left_window_size=0, right_window_size=0))
        self.assertEqual([got[n] for n in ("entropy", "confidence", "self", "mean_distance")], [[0], [1], [1], [0]])
        self.assertEqual(got["rollout"], [float(i == j) for i in range(4) for j in range(4)])
        got = self.numbers(dict({k: [[v]] for k, v in flat_rows.items()}, key_lengths=[2]), ["entropy", "self"])
        self.assert_close(got["entropy"], [math.log(2)], 2e-6)
        self.assert_close(got["self"], [0.25], 2e-6)

    def test_heads_that_look_elsewhere_are_ln_2_apart(self):
        body = {"query": [[[0.0]]] * 3, "key": [[[0.0], [0.0]]] * 3, "value": [[[1.0], [1.0]]] * 3, "attn_mask": [[[0, None]], [[None, 0]], [[0, None]]]}
        got = self.numbers(body, ["head_distance"])["head_distance"]
        self.assert_close(got, [x * math.log(2) for x in (0, 1, 0, 1, 0, 1, 0, 1, 0)], 1e-6)

    def test_analyses_agree_with_sums_over_the_maps_of_the_same_answer(self):
        T, d = 37, 8
        x = [[math.sin(1.7 * i * (k + 1)) + math.cos(0.3 * i + k) for k in range(d)] for i in range(T)]
        result = self.ask({"embeddings": x, "num_attention_heads": 2, "is_causal": True, "scale": 2.0, "analyses": WITHOUT_TOKENS})
        maps = result["attentions"]["data"][0]
        got = {name: unpacked(t) for name, t in result["analyses"].items()}
        for h, a in enumerate(maps):
            self.assertAlmostEqual(got["entropy"][h], sum(-w * math.log(w) for row in a for w in row if w > 0) / T, delta=2e-6)
            self.assertAlmostEqual(got["confidence"][h], sum(max(row) for row in a) / T, delta=1e-6)
            self.assertAlmostEqual(got["mean_distance"][h], sum(w * abs(i - j) for i, row in enumerate(a) for j, w in enumerate(row)) / T, delta=1e-5)
            self.assertAlmostEqual(got["previous_token"][h], sum(a[i][i - 1] for i in range(1, T)) / (T - 1), delta=1e-6)
        mean = [[(p + q) / 2 for p, q in zip(*rows)] for rows in zip(*maps)]
        self.assert_close(got["rollout"], [(w + (i == j)) / 2 for i, row in enumerate(mean) for j, w in enumerate(row)], 1e-6)

    def test_rollout_needs_as_many_queries_as_keys(self):
        self.refused(dict(keep_rows([[0.5, 0.5]]), analyses=["entropy", "rollout"]), 422, "output_not_available", "/analyses/1")
        self.refused({"embeddings": [[1.0]], "key_embeddings": [[1.0], [2.0]], "analyses": ["rollout"]}, 422, "output_not_available", "/analyses/0")

    def test_analyses_of_tokens_need_tokens(self):
        for name in NEED_TOKENS:
            self.refused(dict(keep_rows(SQUARE), analyses=[name]), 422, "output_not_available", "/analyses/0")

    def test_an_answer_of_analyses_alone_holds_no_tensor_else(self):
        result = self.ask({"embeddings": [[1.0, 2.0]], "output": [], "analyses": ["entropy"]})
        self.assertEqual(result["analyses"], {"entropy": {"shape": [1, 1], "axes": ["layer", "head"], "dtype": "float32", "data": [[0]]}})
        self.assertNotIn("attentions", result)

    def test_an_unknown_analysis_is_refused_and_a_name_twice_counts_once(self):
        status, _, answer = self.server.post("/v1/attention", {"text": "a", "analyses": ["entropy", "nonsense"]})
        self.assertEqual((status, answer["pointer"]), (400, "/analyses/1"))
        self.assertEqual(list(self.analyses({"text": "a"}, ["self", "entropy", "self"])), ["entropy", "self"])


class Norms(AnalysesCase):
    def test_value_norms_by_hand(self):
        result = self.ask({"query": [[0.0, 0.0]], "key": [[0.0, 0.0], [0.0, 0.0]], "value": [[3.0, 4.0], [0.0, -2.0]], "output": ["value_norms"]})
        self.assertEqual(result["value_norms"], {"shape": [1, 1, 2], "axes": ["layer", "head", "key"], "dtype": "float32", "data": [[[5, 2]]]})

    def test_weighted_norms_by_hand(self):
        body = {"embeddings": [[3.0, 4.0], [1.0, 0.0]], "w_q": [[0.0, 0.0]] * 2, "b_o": [100.0, 0.0], "w_o": [[1.0, 0.0], [0.0, 2.0]], "output": ["weighted_norms"]}
        result = self.ask(body)["weighted_norms"]
        self.assertEqual((result["shape"], result["axes"]), ([1, 1, 2, 2], ["layer", "head", "query", "key"]))
        self.assert_close(unpacked(result), [math.sqrt(73) / 2, 0.5] * 2, 1e-5)  # flat weights, f(x) = (3, 8) and (1, 0); the bias belongs to no key
        heads = self.ask(dict(body, num_attention_heads=2))["weighted_norms"]  # each its column: f(x) = 3, 1 and 8, 0
        self.assert_close(unpacked(heads), [1.5, 0.5] * 2 + [4, 0] * 2, 1e-5)

    def test_weighted_norms_need_an_output_projection(self):
        self.refused({"embeddings": [[1.0, 2.0]], "output": ["attentions", "weighted_norms"]}, 422, "output_not_available", "/output/1")
        self.refused(dict(keep_rows(SQUARE), output=["weighted_norms"]), 422, "output_not_available", "/output/0")

    def test_hidden_states_need_a_model(self):
        self.refused({"embeddings": [[1.0, 2.0]], "output": ["hidden_states"]}, 422, "output_not_available", "/output/0")

    def test_weighted_norms_are_maps_they_reduce_and_pool(self):
        body = {"text": TEXT, "layers": [2], "output": ["weighted_norms"]}
        whole = self.ask(body)["weighted_norms"]["data"][0]
        T = len(whole[0])
        mean = self.ask(dict(body, reduce_heads="mean"))["weighted_norms"]
        self.assertEqual(mean["axes"], ["layer", "query", "key"])
        self.assert_close(unpacked(mean), [sum(h[i][j] for h in whole) / len(whole) for i in range(T) for j in range(T)], 1e-5)
        pooled = self.ask(dict(body, heads=[1], pool={"size": 3}))
        edges = pooled["pool"]["query_edges"]
        self.assertEqual(edges, [b * T // 3 for b in range(4)])
        bins = list(zip(edges, edges[1:]))
        expected = [sum(whole[1][i][j] for i in range(a, b) for j in range(c, d)) / ((b - a) * (d - c)) for a, b in bins for c, d in bins]
        self.assert_close(unpacked(pooled["weighted_norms"]), expected, 1e-5 * max(expected))

    def test_value_norms_and_hidden_states_are_cut_by_their_own_axes(self):
        body = {"text": TEXT, "output": ["value_norms", "hidden_states"]}
        whole = self.ask(body)
        part = self.ask(dict(body, layers=[3, 0], heads=[2, 1], queries=[1], keys=[4, 0, 4]))
        self.assertEqual(part["states"], [4, 1])
        self.assertEqual(part["value_norms"]["data"], [[[whole["value_norms"]["data"][l][h][k] for k in (4, 0, 4)] for h in (2, 1)] for l in (3, 0)])
        self.assertEqual(part["hidden_states"]["data"], [[whole["hidden_states"]["data"][s][1]] for s in (4, 1)])
        self.assertEqual(whole["states"], list(range(7)))
        self.assertEqual(whole["hidden_states"]["axes"], ["state", "query", "hidden"])

    def test_value_norms_are_the_norms_of_value(self):
        result = self.ask({"text": TEXT, "layers": [1], "output": ["value", "value_norms"]})
        expected = [math.sqrt(sum(x * x for x in v)) for head in result["value"]["data"][0] for v in head]
        self.assert_close(unpacked(result["value_norms"]), expected, 1e-6 * max(expected))

    def test_a_state_alone_is_that_state_among_all(self):
        whole = self.ask({"text": TEXT, "output": ["hidden_states"]})["hidden_states"]
        for layer in (0, 5):
            one = self.ask({"text": TEXT, "output": ["hidden_states"], "layers": [layer]})["hidden_states"]
            self.assertEqual(nest(flat(one["data"]), one["shape"]), [whole["data"][layer + 1]])


if __name__ == "__main__":
    main()
