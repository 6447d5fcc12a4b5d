#!/usr/bin/env python3
"""Models that write on (max_new_tokens) and those with an encoder and a decoder: the contract's sentences, and what transformers writes and looks at.

Ids and texts are those of greedy generation in transformers, tests/golden/generation; the maps over prompt and what was written are those of one pass in float64
there, and here of one pass over the same ids. The goldens' margins say that float32's noise decides nothing. SPDX-License-Identifier: Apache-2.0
"""
import http.client
import itertools
import json
import os
import struct
import time
import unittest

import harness
from contract_case import ContractCase
from harness import ROOT, SHARED, flat, load, main, packed, unpacked

GOLDEN = os.path.join(ROOT, "tests/golden/generation")
NDJSON = "application/x-ndjson"
GPT, TRANSLATE = (load(os.path.join(GOLDEN, name + ".json")) for name in ("attnd-gpt", "attnd-translate"))
MAPS = ("attentions",)
THREE = ("encoder_attentions", "decoder_attentions", "cross_attentions")
EVERY = ["attentions", "scores", "raw_scores", "weighted_norms", "context", "query", "key", "value", "value_norms", "attn_output", "hidden_states"]
END, START = 1, 0  # of attnd-translate


def ids_of(tokens):
    return [t["id"] for t in tokens]


def written(tokens):
    """The ids marked as generated."""
    return [t["id"] for t in tokens if t.get("generated")]


class Generation(ContractCase):
    options = ["--model", "builtin:attnd-gpt", "--model", "builtin:attnd-translate", "--model", "builtin:attnd-bert"]

    def check_ids(self, result, case, both):
        """The ids, the marks and the text of a result against a golden case."""
        tokens, new = result["decoder_tokens" if both else "tokens"], case["generated_ids"]
        if both:
            self.assertEqual(ids_of(result["encoder_tokens"]), case["input_ids"])
            self.assertEqual(written(result["encoder_tokens"]), [])
        else:
            self.assertEqual(ids_of(tokens), case["input_ids"] + new)
        self.assertEqual(ids_of(tokens)[-len(new) :], new)
        self.assertEqual([bool(t.get("generated")) for t in tokens], [False] * (len(tokens) - len(new)) + [True] * len(new))
        for token in tokens[-len(new) :]:
            self.assertIs(token["generated"], True)
            self.assertFalse({"start", "end"} & set(token), token)
        self.assertEqual(result.get("generated_text"), case.get("generated_text"))

    def check_maps(self, result, case):
        """The maps of a result against those of a golden case, each head in full or by the mean of its keys."""
        for name, golden in case["maps"].items():
            got, mean = result[name], golden["mean_key"]
            self.assertEqual(got["shape"][:3], mean["shape"], name)
            keys = got["shape"][3]
            rows = [flat(row) for layer in got["data"] for head in layer for row in head]
            self.assert_close([sum(j * w for j, w in enumerate(row)) for row in rows], mean["data"], 5e-6 * keys, name + " by mean key")
            picked = [got["data"][layer][head] for layer in golden["layers"] for head in golden["heads"]]
            self.assert_close(flat(picked), golden["data"]["data"], 6e-6, name)

    def same_numbers(self, got, expected, names, tolerance=2e-5):
        for name in names:
            self.assertEqual((got[name]["shape"], got[name]["axes"]), (expected[name]["shape"], expected[name]["axes"]), name)
            self.assert_close(unpacked(got[name]), unpacked(expected[name]), tolerance, name)

    def lines(self, body):
        status, headers, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": NDJSON})
        self.assertEqual((status, headers["content-type"]), (200, NDJSON), data[:400])
        return [json.loads(line) for line in data.decode().splitlines()]


# ---- against transformers --------------------------------------------------------------------------------------------------------


class AsTransformers(Generation):
    def test_attnd_gpt_writes_what_transformers_writes(self):
        for case in GPT["cases"]:
            with self.subTest(text=case["text"][:40]):
                body = {"text": case["text"], "max_new_tokens": case["max_new_tokens"], "output": ["attentions"], "layers": [5], "heads": [0]}
                self.check_ids(self.result(body), case, False)

    def test_attnd_translate_writes_what_transformers_writes(self):
        for case in TRANSLATE["cases"]:
            with self.subTest(text=case["text"]):
                body = {"model": "attnd-translate", "text": case["text"], "max_new_tokens": case["max_new_tokens"], "output": ["attentions"], "layers": [0]}
                result = self.result(body)
                self.check_ids(result, case, True)
                self.assertEqual(ids_of(result["decoder_tokens"]), [START] + case["generated_ids"])

    def test_maps_over_what_attnd_gpt_wrote_are_those_of_transformers(self):
        for case in (c for c in GPT["cases"] if "maps" in c):
            self.check_maps(self.result({"text": case["text"], "max_new_tokens": case["max_new_tokens"], "output": ["attentions"]}), case)

    def test_maps_over_a_translation_are_those_of_transformers(self):
        for case in (c for c in TRANSLATE["cases"] if "maps" in c):
            body = {"model": "attnd-translate", "text": case["text"], "max_new_tokens": case["max_new_tokens"], "output": ["attentions"]}
            result = self.result(body)
            self.assertEqual(sorted(case["maps"]), sorted(THREE))
            self.check_maps(result, case)

    def test_one_pass_over_the_same_ids_has_the_same_maps_without_writing(self):
        for case in (c for c in GPT["cases"] if "maps" in c):
            self.check_maps(self.result({"input_ids": case["input_ids"] + case["generated_ids"], "output": ["attentions"]}), case)
        for case in (c for c in TRANSLATE["cases"] if "maps" in c):
            body = {"model": "attnd-translate", "text": case["text"], "decoder_input_ids": [START] + case["generated_ids"], "output": ["attentions"]}
            self.check_maps(self.result(body), case)


class Others(Generation):
    """The models of tests/golden/models, and trained ones of the shared data."""

    shared = [(os.path.join(SHARED, "data/models", doc["model"]), doc) for doc in (load(os.path.join(GOLDEN, n + ".json")) for n in ("stories260k", "bart-g2p"))]
    here = [folder for folder, _ in shared if os.path.exists(os.path.join(folder, "model.safetensors"))]
    small = load(os.path.join(GOLDEN, "models.json"))["models"]
    options = [w for folder in here + [os.path.join("tests/golden/models", m["model"]) for m in small] for w in ("--model", folder)]

    def check(self, doc, case):
        body = {"model": doc["model"], "max_new_tokens": case["max_new_tokens"], "output": ["attentions"], "layers": [0]}
        body.update({"text": case["text"]} if "text" in case else {"input_ids": case["input_ids"]})
        result = self.result(body)
        both = "decoder_tokens" in result
        self.assertEqual(both, doc["class"].endswith(("ConditionalGeneration", "MTModel")))
        if doc["model"] == "bart-g2p-us":
            result.pop("generated_text")  # of the encoder's alphabet: it says nothing
        self.check_ids(result, case, both)

    def test_small_models_of_every_family_write_what_transformers_writes(self):
        self.assertGreaterEqual(len(self.small), 30)
        for doc in self.small:
            for case in doc["cases"]:
                with self.subTest(model=doc["model"]):
                    self.check(doc, case)

    def test_trained_models_write_what_was_published(self):
        if len(self.here) < len(self.shared):
            print("skipped for want of the shared models")
            self.assertFalse(harness.CI, "CI needs the shared models")
            raise unittest.SkipTest("the shared models are not here")
        for _, doc in self.shared:
            for case in doc["cases"]:
                with self.subTest(model=doc["model"], text=case.get("text")):
                    self.check(doc, case)

    def test_the_published_story_is_told_to_its_end(self):
        if len(self.here) < len(self.shared):
            raise unittest.SkipTest("the shared models are not here")
        case = self.shared[0][1]["cases"][0]
        body = {"model": "stories260k", "input_ids": case["input_ids"], "max_new_tokens": 256, "output": ["attentions"], "layers": [0], "heads": [0]}
        self.assertTrue(self.result(body)["generated_text"].lstrip().startswith(case["published_text"]))


# ---- the contract: causal models -------------------------------------------------------------------------------------------------


class Writing(Generation):
    TEXT = "Once upon a time"

    def test_nothing_is_written_unless_it_is_asked_for(self):
        plain = self.result({"text": self.TEXT})
        self.assertEqual(written(plain["tokens"]), [])
        self.assertNotIn("generated_text", plain)
        self.assertEqual(self.result({"text": self.TEXT, "max_new_tokens": 0}), plain)
        self.assertEqual(self.result({"text": self.TEXT, "max_new_tokens": None}), plain)

    def test_every_output_covers_the_whole_sequence_and_is_that_of_one_pass(self):
        wrote = self.result({"text": self.TEXT, "max_new_tokens": 9, "output": EVERY})
        once = self.result({"input_ids": ids_of(wrote["tokens"]), "output": EVERY})
        T = len(wrote["tokens"])
        self.assertEqual(wrote["attentions"]["shape"], [6, 8, T, T])
        for name in EVERY:
            size = max(1.0, max(abs(x) for x in unpacked(once[name]) if x is not None))
            self.same_numbers(wrote, once, [name], 2e-5 * size if name != "attentions" else 5e-6)

    def test_analyses_and_reductions_are_those_of_the_whole_sequence(self):
        more = {"analyses": ["entropy", "first_token", "induction", "rollout", "head_distance"], "reduce_heads": "mean", "reduce_layers": "max", "output": ["attentions"]}
        wrote = self.result({"text": self.TEXT, "max_new_tokens": 9}, **more)
        once = self.result({"input_ids": ids_of(wrote["tokens"])}, **more)
        self.same_numbers(wrote, once, ["attentions"])
        self.same_numbers(wrote["analyses"], once["analyses"], more["analyses"], 5e-5)

    def test_selections_count_what_was_written(self):
        more = {"output": ["attentions"], "layers": [-1], "heads": [2]}
        whole = self.result({"text": self.TEXT, "max_new_tokens": 6}, **more)
        T = len(whole["tokens"])
        last = self.result({"text": self.TEXT, "max_new_tokens": 6, "queries": [-1], "keys": {"start": 0, "stop": 4}}, **more)
        self.assertEqual((last["layers"], last["queries"], len(last["tokens"])), ([5], [T - 1], T))
        self.assert_close(flat(last["attentions"]["data"]), whole["attentions"]["data"][0][0][T - 1][:4], 1e-6)

    def test_pool_and_top_k_take_the_whole_sequence(self):
        wrote = self.result({"text": self.TEXT, "max_new_tokens": 6, "output": ["attentions"]})
        ids = ids_of(wrote["tokens"])
        for more in ({"pool": {"size": 3}}, {"top_k": 2}):
            got, once = (self.result(dict(body, output=["attentions"], **more))["attentions"] for body in ({"text": self.TEXT, "max_new_tokens": 6}, {"input_ids": ids}))
            if "top_k" in more:
                self.assertEqual(got["indices"], once["indices"])
                got, once = got["values"], once["values"]
            self.same_numbers({"x": got}, {"x": once}, ["x"])

    def test_the_end_token_is_the_last(self):
        ended = [c for c in GPT["cases"] if c["generated_ids"][-1] == 0]
        self.assertGreaterEqual(len(ended), 2)
        for case in ended:
            for count in (case["max_new_tokens"], 400):
                tokens = self.result({"text": case["text"], "max_new_tokens": count, "output": ["attentions"], "layers": [0]})["tokens"]
                self.assertEqual(written(tokens), case["generated_ids"])

    def test_fewer_tokens_are_the_first_of_more(self):
        long = written(self.result({"text": self.TEXT, "max_new_tokens": 12, "layers": [0]})["tokens"])
        for count in (1, 2, 5):
            self.assertEqual(written(self.result({"text": self.TEXT, "max_new_tokens": count, "layers": [0]})["tokens"]), long[:count])

    def test_what_was_written_can_be_given_back_and_gone_on_from(self):
        whole = self.result({"text": self.TEXT, "max_new_tokens": 10, "layers": [0]})
        ids = ids_of(whole["tokens"])
        rest = self.result({"input_ids": ids[:-4], "max_new_tokens": 4, "layers": [0]})
        self.assertEqual(written(rest["tokens"]), ids[-4:])
        self.assertTrue(whole["generated_text"].endswith(rest["generated_text"]))

    def test_each_result_of_a_batch_is_as_if_it_were_alone(self):
        texts = [c["text"] for c in GPT["cases"][:6]] + [c["text"] for c in GPT["cases"] if c["generated_ids"][-1] == 0]
        results = self.server.attention({"text": texts, "max_new_tokens": 20, "layers": [5]})["results"]
        self.assertEqual(len(results), len(texts))
        for text, result in zip(texts, results):
            self.assertEqual(result, self.result({"text": text, "max_new_tokens": 20, "layers": [5]}))

    def test_the_same_request_has_the_same_bits_whatever_the_layers(self):
        first = self.result({"text": self.TEXT, "max_new_tokens": 8, "output": ["attentions"]})
        self.assertEqual(self.result({"text": self.TEXT, "max_new_tokens": 8, "output": ["attentions"]}), first)
        some = self.result({"text": self.TEXT, "max_new_tokens": 8, "output": ["attentions"], "layers": [3]})
        self.assertEqual(some["attentions"]["data"], [first["attentions"]["data"][3]])

    def test_a_token_written_has_id_text_and_the_mark(self):
        tokens = self.result({"text": "Zürich, naïve café, 世界 😀:", "max_new_tokens": 8, "layers": [0]})["tokens"]
        for token in tokens[-8:]:
            self.assertLessEqual({"id", "text", "special", "generated"}, set(token))
            self.assertLessEqual(set(token), {"id", "text", "display", "special", "generated"})
        for token in tokens[:-8]:
            self.assertNotIn("generated", token)

    def test_embeddings_are_gone_on_from_like_ids(self):
        with open(os.path.join(ROOT, "core/builtin/attnd-gpt/model.safetensors"), "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            begin = json.loads(f.read(size))["transformer.wte.weight"]["data_offsets"][0]
            rows = []
            case = GPT["cases"][0]
            for token in case["input_ids"]:
                f.seek(8 + size + begin + token * 512)
                rows += struct.unpack("<256e", f.read(512))
        body = {"inputs_embeds": packed(rows, (len(case["input_ids"]), 256)), "max_new_tokens": 10, "output": ["attentions"]}
        got, ids = self.result(body), self.result({"text": case["text"], "max_new_tokens": 10, "output": ["attentions"]})
        self.assertEqual(written(got["tokens"]), case["generated_ids"][:10])
        self.same_numbers(got, ids, ["attentions"], 5e-6)

    def test_past_the_models_length_is_413_that_names_both(self):
        for body in ({"input_ids": [5] * 510, "max_new_tokens": 3}, {"text": "a", "max_new_tokens": 512}, {"text": "a", "max_new_tokens": 2**31 - 1}):
            problem = self.refuse(body, 413, "too_many_tokens")
            self.assertEqual(problem["limit"], 512)
            self.assertGreater(problem["need"], 512)
        few = {"output": ["attentions"], "layers": [0], "heads": [0], "queries": [-1]}
        self.assertEqual(len(self.result({"input_ids": [40] * 509, "max_new_tokens": 3}, **few)["tokens"]), 512)

    def test_a_model_that_does_not_write_says_so(self):
        for body in ({"text": "a"}, {"input_ids": [5, 6]}):
            self.refuse(dict(body, model="attnd-bert", max_new_tokens=1), 422, "unsupported_by_model", "/max_new_tokens")

    def test_a_model_without_a_decoder_beside_its_encoder_says_so(self):
        self.refuse({"text": "a", "decoder_input_ids": [0]}, 422, "unsupported_by_model", "/decoder_input_ids")

    def test_the_estimate_counts_with_the_most_there_can_be(self):
        body = {"text": self.TEXT, "max_new_tokens": 8}
        status, _, estimate = self.server.post("/v1/estimate", body)
        result = self.result(body)
        self.assertEqual((status, estimate["results"][0]["tokens"]), (200, len(result["tokens"])))
        self.assertEqual(estimate["results"][0]["shapes"]["attentions"], result["attentions"]["shape"])
        _, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode())
        self.assertGreaterEqual(estimate["response_bytes"], len(data))

    def test_other_forms_of_the_answer_hold_the_same_numbers(self):
        body = {"text": self.TEXT, "max_new_tokens": 5, "output": ["attentions"]}
        weights = flat(self.result(body)["attentions"]["data"])
        _, _, array = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": "application/x-npy"})
        numbers = struct.unpack(f"<{len(weights)}f", array[-4 * len(weights) :])
        self.assert_close(list(numbers), weights, 1e-7)
        _, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": "application/vnd.safetensors"})
        size = struct.unpack("<Q", data[:8])[0]
        head = json.loads(data[8 : 8 + size])
        begin, end = head["results.0.attentions"]["data_offsets"]
        self.assertEqual(data[8 + size + begin : 8 + size + end], array[-4 * len(weights) :])
        echo = json.loads(head["__metadata__"]["attnd"])["results"][0]
        self.assertEqual((len(written(echo["tokens"])), "generated_text" in echo), (5, True))
        for accept, begins in (("image/png", b"\x89PNG"), ("image/svg+xml", b"<"), ("text/plain", b"attnd-gpt")):
            status, _, drawn = self.server.request("POST", "/v1/attention?color=none" if accept[0] == "t" else "/v1/attention", json.dumps(body).encode(), {"Accept": accept})
            self.assertEqual((status, drawn[: len(begins)]), (200, begins), accept)


class Limits(Generation):
    options = ["--model", "builtin:attnd-gpt", "--max-tokens", "20"]

    def test_what_will_be_written_counts_against_the_servers_limit_too(self):
        ids = [40] * 15
        self.assertEqual(len(self.result({"input_ids": ids, "max_new_tokens": 5, "layers": [0]})["tokens"]), 20)
        problem = self.refuse({"input_ids": ids, "max_new_tokens": 6}, 413, "too_many_tokens")
        self.assertEqual((problem["limit"], problem["need"]), (20, 21))


# ---- the contract: an encoder and a decoder ---------------------------------------------------------------------------------------


class Two(Generation):
    CASE = TRANSLATE["cases"][0]

    def ask(self, **more):
        return self.result(dict({"model": "attnd-translate", "text": self.CASE["text"], "output": ["attentions"]}, **more))

    def test_the_answer_says_how_many_layers_each_half_has(self):
        model = self.server.attention({"model": "attnd-translate", "text": "a"})["model"]
        self.assertEqual((model["architecture"], model["num_hidden_layers"], model["num_decoder_layers"]), ("MarianMTModel", 3, 3))

    def test_members_stand_by_their_half(self):
        result = self.ask(output=["attentions", "context", "hidden_states"])
        te, td = len(result["encoder_tokens"]), len(result["decoder_tokens"])
        shapes = {name: result[name]["shape"] for name in THREE}
        self.assertEqual(shapes, {"encoder_attentions": [3, 8, te, te], "decoder_attentions": [3, 8, td, td], "cross_attentions": [3, 8, td, te]})
        for name in ("encoder_context", "decoder_context", "cross_context", "encoder_hidden_states", "decoder_hidden_states", "encoder_layers", "decoder_layers"):
            self.assertIn(name, result)
        self.assertFalse({"tokens", "attentions", "context", "layers", "cross_hidden_states"} & set(result))

    def test_without_a_word_the_decoder_sees_its_start_token(self):
        tokens = self.ask()["decoder_tokens"]
        self.assertEqual([(t["id"], t["special"]) for t in tokens], [(START, True)])

    def test_the_readmes_rows_look_where_it_says(self):
        result = self.ask(max_new_tokens=40, layers=[2], heads=[6])
        read, written_from = ([t["text"] for t in result[side + "_tokens"]] for side in ("decoder", "encoder"))
        rows = result["cross_attentions"]["data"][0][0]
        for row, key, weight in (("\u2581weil", "\u2581it", 0.96), ("\u2581Das", "\u2581animal", 0.99), ("\u2581die", "\u2581street", 0.99)):
            self.assertAlmostEqual(rows[read.index(row)][written_from.index(key)], weight, delta=0.005)

    def test_one_key_takes_all_the_weight(self):
        self.assertEqual(flat(self.ask()["decoder_attentions"]["data"]), [1] * 24)

    def test_a_text_pair_is_the_decoders_text_behind_the_start_without_its_end(self):
        result = self.ask(text_pair="Das Tier überquerte")
        ids = ids_of(result["decoder_tokens"])
        _, _, alone = self.server.post("/v1/tokenize", {"model": "attnd-translate", "text": "Das Tier überquerte"})
        own = ids_of(alone["results"][0]["tokens"])
        self.assertEqual(own[-1], END)
        self.assertEqual(ids, [START] + own[:-1])
        self.assertEqual([t["special"] for t in result["decoder_tokens"]], [True] + [False] * (len(ids) - 1))
        once = self.ask(decoder_input_ids=ids)
        self.assertEqual(ids_of(once["decoder_tokens"]), ids)
        self.same_numbers(result, once, THREE, 1e-7)

    def test_an_empty_text_pair_is_the_start_alone(self):
        self.assertEqual(ids_of(self.ask(text_pair="")["decoder_tokens"]), [START])

    def test_the_translation_goes_on_from_a_text_pair(self):
        new = self.CASE["generated_ids"]
        result = self.ask(text_pair="Das Tier", max_new_tokens=40)
        self.assertEqual(ids_of(result["decoder_tokens"]), [START] + new)
        self.assertEqual(written(result["decoder_tokens"]), new[3:])  # Das T ier
        other = self.ask(text_pair="Ein Tier", max_new_tokens=40)
        self.assertNotEqual(ids_of(other["decoder_tokens"]), [START] + new)
        self.assertEqual(ids_of(other["decoder_tokens"])[-1], END)

    def test_the_translation_goes_on_from_ids(self):
        new = self.CASE["generated_ids"]
        for k in (0, 1, 5, len(new) - 1):
            result = self.ask(decoder_input_ids=[START] + new[:k], max_new_tokens=40)
            self.assertEqual(ids_of(result["decoder_tokens"]), [START] + new)
            self.assertEqual(written(result["decoder_tokens"]), new[k:])

    def test_maps_are_those_of_one_pass_over_the_same_ids(self):
        every = [name for name in EVERY if name != "weighted_norms"]
        wrote = self.ask(max_new_tokens=40, output=every)
        once = self.ask(decoder_input_ids=ids_of(wrote["decoder_tokens"]), output=every)
        names = [n for n in once if n.split("_")[0] in ("encoder", "decoder", "cross") and isinstance(once[n], dict) and "shape" in once[n]]
        self.assertGreaterEqual(len(names), 3 * len(every) - 1)
        for name in names:
            size = max(1.0, max(abs(x) for x in unpacked(once[name]) if x is not None))
            self.same_numbers(wrote, once, [name], 5e-6 if name in THREE else 2e-5 * size)

    def test_ids_of_the_decoder_may_be_a_batch(self):
        texts, starts = [c["text"] for c in TRANSLATE["cases"][:3]], [[START], [START, 700], [START, 700, 701]]
        results = self.server.attention({"model": "attnd-translate", "text": texts, "decoder_input_ids": starts, "output": ["attentions"]})["results"]
        for text, ids, result in zip(texts, starts, results):
            self.assertEqual(ids_of(result["decoder_tokens"]), ids)
            self.assertEqual(result, self.ask(text=text, decoder_input_ids=ids))

    def test_a_batch_of_translations_is_as_each_alone(self):
        texts = [c["text"] for c in TRANSLATE["cases"]]
        results = self.server.attention({"model": "attnd-translate", "text": texts, "max_new_tokens": 40, "layers": [2], "output": ["attentions"]})["results"]
        for case, result in zip(TRANSLATE["cases"], results):
            self.check_ids(result, case, True)
            self.assertEqual(result, self.ask(text=case["text"], max_new_tokens=40, layers=[2]))

    def test_indices_apply_to_each_map_by_its_own_axes(self):
        whole, cut = self.ask(text_pair="Das Tier"), self.ask(text_pair="Das Tier", queries=[-1], keys=[0], layers=[-1])
        for name in THREE:
            self.assertEqual(cut[name]["shape"], [1, 8, 1, 1], name)
            self.assert_close(flat(cut[name]["data"]), [head[-1][0] for head in whole[name]["data"][2]], 1e-7, name)
        self.refuse({"model": "attnd-translate", "text": self.CASE["text"], "queries": [5], "output": ["attentions"]}, 422, "index_out_of_range")

    def test_past_the_decoders_length_is_413(self):
        problem = self.refuse({"model": "attnd-translate", "text": "a", "max_new_tokens": 512}, 413, "too_many_tokens")
        self.assertEqual(problem["limit"], 512)

    def test_each_half_has_a_length_of_its_own(self):
        long, limits = "a " * 600, {}
        for half, body in (("encoder", {"text": long}), ("decoder", {"text": "a", "text_pair": long})):
            problem = self.refuse({"model": "attnd-translate", **body}, 413, "too_many_tokens", "/text" if half == "encoder" else "/text_pair")
            self.assertEqual((problem["limit"], problem["need"]), (512, 602))
            self.assertTrue(problem["detail"].startswith(f"the {half} has 602 tokens, special ones counted, and the model takes at most 512"), problem["detail"])
            _, _, price = self.server.post("/v1/estimate", {"model": "attnd-translate", **body})
            limits[half] = price["limits"]
        _, _, both = self.server.post("/v1/estimate", {"model": "attnd-translate", "text": long, "text_pair": long})
        self.assertEqual((both["allowed"], both["limits"]), (False, limits["encoder"] + limits["decoder"]))

    def test_a_decoders_text_is_cut_to_leave_place_for_what_is_written(self):
        body = {"model": "attnd-translate", "text": "a", "text_pair": "b " * 600, "truncation": True, "output": ["attentions"], "layers": [0], "heads": [0]}
        for count, special in itertools.product((0, 1, 40, 510, 511), (True, False)):
            result = self.result({**body, "max_new_tokens": count, "add_special_tokens": special, "queries": [-1]})
            read = [t for t in result["decoder_tokens"] if "generated" not in t]
            self.assertEqual((len(read), read[0]["id"], result["truncated"]), (512 - count, START, True))
            self.assertNotIn(END, ids_of(read))
        fits = self.result({**body, "text_pair": "b " * 20})
        self.assertNotIn("truncated", fits)
        _, _, drawn = self.server.request("POST", "/v1/attention?color=none", json.dumps({**body, "max_new_tokens": 508}).encode(), {"Accept": "text/plain"})
        self.assertIn("decoder's text cut from 602 to 4 tokens", " ".join(drawn.decode().split()))

    def test_segments_are_of_no_use_to_it(self):
        self.refuse({"model": "attnd-translate", "input_ids": [5, 6], "token_type_ids": [0, 0]}, 422, "unsupported_by_model", "/token_type_ids")

    def test_an_id_outside_the_vocabulary_is_named(self):
        for bad in (8192, -1):
            _, _, problem = self.server.post("/v1/attention", {"model": "attnd-translate", "text": "a", "decoder_input_ids": [START, bad]})
            self.assertEqual((problem["status"], problem["pointer"]), (422, "/decoder_input_ids/1"), problem)

    def test_hidden_words_of_the_source_weigh_nothing_between(self):
        ids = self.CASE["input_ids"]
        mask = [1] * (len(ids) - 3) + [0] * 3
        body = {"model": "attnd-translate", "input_ids": ids, "attention_mask": mask, "decoder_input_ids": [START, 700], "output": ["attentions"]}
        masked, short = self.result(body), self.result({**body, "input_ids": ids[:-3], "attention_mask": None})
        for got, wanted in zip(flat_rows(masked["cross_attentions"]), flat_rows(short["cross_attentions"])):
            self.assertEqual(got[-3:], [0, 0, 0])
            self.assert_close(got[:-3], wanted, 5e-6)

    def test_the_picture_and_the_terminal_show_what_looks_from_one_half_at_the_other(self):
        body = {"model": "attnd-translate", "text": self.CASE["text"], "max_new_tokens": 40}
        _, _, text = self.server.request("POST", "/v1/attention?color=none", json.dumps(body).encode(), {"Accept": "text/plain"})
        self.assertIn("cross_attentions", text.decode())
        labels = [line.split()[0] for line in text.decode().splitlines() if line.strip()]
        for word in ("<pad>", "Das", "Straße", "</s>"):
            self.assertIn(word, labels)


def flat_rows(tensor):
    return [row for layer in tensor["data"] for head in layer for row in head]


# ---- lines -------------------------------------------------------------------------------------------------------------------------


class Lines(Generation):
    def check_steps(self, lines, whole, names, tokens, between=()):
        """Step lines hold each new token and its own row of every map, all layers; keys grow by one each step but between encoder and decoder."""
        new = [t for t in tokens if t.get("generated")]
        first = len(tokens) - len(new)
        steps = [line for line in lines if "step" in line]
        self.assertEqual([line["step"] for line in steps], list(range(len(new))))
        for s, line in enumerate(steps):
            self.assertEqual(line["token"], new[s])
            for name in names:
                layers, heads, _, keys = whole[name]["shape"]
                wide = keys if name in between else first + s + 1
                self.assertEqual(line[name]["shape"], [layers, heads, 1, wide], name)
                rows = [whole[name]["data"][layer][head][first + s][:wide] for layer in range(layers) for head in range(heads)]
                self.assert_close(flat(line[name]["data"]), flat(rows), 1e-7, name)

    def test_a_causal_model_has_the_prompts_rows_by_layer_then_a_line_a_token_then_its_last_line(self):
        body = {"text": "Once upon a time", "max_new_tokens": 7, "output": ["attentions"]}
        whole, lines = self.result(body), self.lines(body)
        prompt = [t for t in whole["tokens"] if not t.get("generated")]
        self.assertEqual(lines[0]["results"][0]["tokens"], prompt)
        kinds = ["layer" if "layer" in line else "step" if "step" in line else "last" for line in lines[1:-1]]
        self.assertEqual(kinds, ["layer"] * 6 + ["step"] * 7 + ["last"])
        P = len(prompt)
        for line in lines[1:7]:
            self.assertEqual(line["attentions"]["shape"], [8, P, P])
            rows = [row[:P] for head in whole["attentions"]["data"][line["layer"]] for row in head[:P]]
            self.assert_close(flat(line["attentions"]["data"]), flat(rows), 1e-7)
        self.check_steps(lines, whole, MAPS, whole["tokens"])
        self.assertEqual((lines[-2]["result"], lines[-2]["generated_text"]), (0, whole["generated_text"]))
        self.assertIs(lines[-1]["done"], True)

    def test_a_translation_has_lines_of_both_halves_and_rows_of_both_maps_of_the_decoder(self):
        case = TRANSLATE["cases"][0]
        body = {"model": "attnd-translate", "text": case["text"], "max_new_tokens": 40, "output": ["attentions"]}
        whole, lines = self.result(body), self.lines(body)
        layers = [(line["part"], line["layer"], sorted(n for n in line if n.endswith("attentions"))) for line in lines[1:-1] if "layer" in line]
        decoder = ["cross_attentions", "decoder_attentions"]
        self.assertEqual(layers, [("encoder", i, ["encoder_attentions"]) for i in range(3)] + [("decoder", i, decoder) for i in range(3)])
        self.check_steps(lines, whole, decoder, whole["decoder_tokens"], between=("cross_attentions",))
        self.assertEqual(lines[-2]["generated_text"], case["generated_text"])
        self.assertEqual(lines[0]["results"][0]["decoder_tokens"], whole["decoder_tokens"][:1])
        self.assertEqual(lines[0]["results"][0]["encoder_tokens"], whole["encoder_tokens"])

    def test_the_last_line_of_a_result_has_its_reductions_and_analyses(self):
        body = {"text": "Once upon a time", "max_new_tokens": 5, "output": ["attentions"], "reduce_layers": "mean", "analyses": ["entropy", "rollout"]}
        whole, lines = self.result(body), self.lines(body)
        last = lines[-2]
        self.same_numbers(last, whole, ["attentions"], 1e-6)
        self.same_numbers(last["analyses"], whole["analyses"], ["entropy", "rollout"], 1e-6)
        self.assertEqual(last["generated_text"], whole["generated_text"])

    def test_results_of_a_batch_follow_each_other(self):
        texts = ["Once upon a time", "NURSE'S SONG\n", "The"]
        whole = self.server.attention({"text": texts, "max_new_tokens": 4, "output": ["attentions"]})["results"]
        lines = self.lines({"text": texts, "max_new_tokens": 4, "output": ["attentions"]})
        self.assertEqual([line["result"] for line in lines[1:-1]], sorted(line["result"] for line in lines[1:-1]))
        for b, result in enumerate(whole):
            own = [line for line in lines[1:-1] if line["result"] == b]
            self.check_steps(own, result, MAPS, result["tokens"])
            self.assertEqual(own[-1]["generated_text"], result["generated_text"])

    def test_layers_and_heads_choose_in_step_lines_too(self):
        body = {"text": "Once upon a time", "max_new_tokens": 3, "output": ["attentions"], "layers": [4, 1], "heads": [7, 0, 2]}
        whole, lines = self.result(body), self.lines(body)
        self.check_steps(lines, whole, MAPS, whole["tokens"])

    def test_what_needs_the_whole_map_does_not_go_with_rows(self):
        for field, value in (("queries", [0]), ("keys", [0]), ("pool", {"size": 2})):
            body = {"text": "Once upon a time", "max_new_tokens": 3, "output": ["attentions"], field: value}
            status, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": NDJSON})
            problem = json.loads(data)
            self.assertEqual((status, problem["code"], problem["pointer"]), (400, "unsupported_combination", "/" + field))

    def test_steps_come_while_others_are_still_computed(self):
        body = {"text": "Once upon a time", "max_new_tokens": 300, "output": ["attentions"], "decimals": 2}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        begin = time.monotonic()
        connection.request("POST", "/v1/attention", json.dumps(body), {"Accept": NDJSON})
        steps = [time.monotonic() - begin for line in connection.getresponse() if b'"step"' in line[:40]]
        connection.close()
        self.assertGreater(len(steps), 100)
        self.assertLess(steps[0], steps[-1] / 2)


class Default(Generation):
    options = ()

    def test_all_models_inside_the_program_are_served_in_this_order(self):
        _, _, answer = self.server.get("/v1/models")
        self.assertEqual((answer["default"], [m["name"] for m in answer["models"]]), ("attnd-bert", ["attnd-bert", "attnd-gpt", "attnd-translate"]))
        self.assertEqual(self.result({"model": "attnd-gpt", "text": "Once upon a time", "max_new_tokens": 1})["generated_text"], ",")


if __name__ == "__main__":
    main()
