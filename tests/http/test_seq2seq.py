#!/usr/bin/env python3
"""Encoder-decoders over HTTP: three attentions under their prefixes, each with its own axes, in every form of answer, and what is asked of all of them at once.

Small random models of odd shapes (two layers before three, four heads before two) say what belongs where; the trained ones of the shared data say that it is right.
SPDX-License-Identifier: Apache-2.0
"""

import base64
import json
import math
import os
import re
import struct
import unittest

import harness
from contract_case import ContractCase, pick, singles
from harness import ROOT, SHARED, flat, load, main, unpacked

NDJSON, SAFETENSORS, NPY = "application/x-ndjson", "application/vnd.safetensors", "application/x-npy"
EVERY = ["attentions", "scores", "raw_scores", "weighted_norms", "context", "query", "key", "value", "value_norms", "attn_output", "hidden_states"]
ANALYSES = [
    "entropy", "confidence", "mean_distance", "self", "previous_token", "next_token", "first_token", "special_tokens", "duplicate_token", "induction",
    "rollout", "head_distance",
]  # fmt: skip
OF_CROSS = {"entropy", "confidence", "first_token", "special_tokens", "head_distance"}
PREFIXES = ("encoder_", "decoder_", "cross_")
# What has which axes, and how long they are in bart: layers, heads, queries, keys, numbers of a head.
SOURCE, TARGET = [3, 40, 21, 58, 39, 20, 57], [2, 3, 20, 37, 14]
SHAPES = {"encoder_": (2, 4, 7, 7, 8), "decoder_": (3, 2, 5, 5, 16), "cross_": (3, 2, 5, 7, 16)}
HIDDEN = 32
BART = {"model": "bart", "input_ids": SOURCE, "decoder_input_ids": TARGET}
TRAINED = {name: os.path.join(SHARED, "data/models", name) for name in ("bart-g2p-us", "t5-dummy")}
TRANSLATE = os.path.join(SHARED, "builtin/attnd-translate")
HAVE_SHARED = os.path.isdir(TRANSLATE) and all(os.path.isdir(path) for path in TRAINED.values())


def split(name):
    """("cross_", "attentions")"""
    return next((p, name[len(p) :]) for p in PREFIXES if name.startswith(p))


def is_tensor(value):
    return isinstance(value, dict) and "shape" in value


def is_group(name, value):
    return name.endswith("analyses") or (isinstance(value, dict) and "indices" in value)


def tensors_of(result):
    """(name, tensor) of everything in a result: "cross_attentions.indices", "encoder_analyses.entropy"."""
    for name, value in result.items():
        if is_group(name, value):
            yield from ((f"{name}.{part}", tensor) for part, tensor in value.items())
        elif is_tensor(value):
            yield name, value


def echo_of(result):
    return {k: v for k, v in result.items() if not is_group(k, v) and not is_tensor(v)}


def tensor_at(holder, name):
    group, _, part = name.rpartition(".")
    return (holder[group] if group else holder)[part]


def shape_of(prefix, output):
    """What a tensor of BART has for a shape when nothing is selected."""
    layers, heads, queries, keys, width = SHAPES[prefix]
    if output in ("key", "value"):
        return [layers, heads, keys, width]
    if output in ("query", "context"):
        return [layers, heads, queries, width]
    if output == "value_norms":
        return [layers, heads, keys]
    if output in ("attn_output", "hidden_states"):
        return [layers + (output == "hidden_states"), queries, HIDDEN]
    return [layers, heads, queries, keys]


class Case(ContractCase):
    options = ["--model", "bart=" + os.path.join(ROOT, "tests/golden/models/bart"), "--model", "t5=" + os.path.join(ROOT, "tests/golden/models/t5")]

    def fetch(self, body, accept, path="/v1/attention"):
        """(headers, bytes) of an answer that must succeed."""
        status, headers, data = self.server.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": accept})
        self.assertEqual(status, 200, data[:500])
        return headers, data


# ---- what there is -------------------------------------------------------------------------------------------------------------


class Members(Case):
    def test_three_attentions_stand_under_their_prefixes(self):
        answer = self.server.attention(dict(BART, output=EVERY))
        self.assertEqual((answer["model"]["num_hidden_layers"], answer["model"]["num_decoder_layers"]), (2, 3))
        result = answer["results"][0]
        expected = {p + o for p in PREFIXES for o in EVERY} - {"cross_hidden_states"}
        self.assertEqual({name for name, _ in tensors_of(result)}, expected)
        for name in expected:
            self.assertEqual(result[name]["shape"], shape_of(*split(name)), name)

    def test_the_default_is_attentions_and_context(self):
        self.assertEqual({name for name, _ in tensors_of(self.result(BART))}, {p + o for p in PREFIXES for o in ("attentions", "context")})

    def test_echoes_stand_under_their_prefixes(self):
        result = echo_of(self.result(BART, output=["hidden_states"]))
        self.assertEqual([t["id"] for t in result.pop("encoder_tokens")], SOURCE)
        self.assertEqual([t["id"] for t in result.pop("decoder_tokens")], TARGET)
        self.assertEqual(
            result,
            {
                "encoder_layers": [0, 1], "encoder_heads": [0, 1, 2, 3], "encoder_states": [0, 1, 2],
                "decoder_layers": [0, 1, 2], "decoder_heads": [0, 1], "decoder_states": [0, 1, 2, 3],
                "cross_layers": [0, 1, 2], "cross_heads": [0, 1],
            },
        )  # fmt: skip

    def test_the_decoder_sees_no_later_token_and_the_encoder_every(self):
        result = self.result(BART, output=["attentions"])
        above = lambda name: [w for layer in result[name]["data"] for head in layer for i, row in enumerate(head) for w in row[i + 1 :]]
        self.assertEqual(set(above("decoder_attentions")), {0})
        self.assertGreater(min(above("encoder_attentions")), 0)

    def test_padding_of_the_encoder_is_hidden_from_both(self):
        result = self.result(BART, output=["attentions", "scores"], attention_mask=[1, 1, 1, 1, 1, 0, 0])
        for name, hidden in (("encoder", [5, 6]), ("cross", [5, 6]), ("decoder", [])):
            columns = {j for layer in result[name + "_scores"]["data"] for head in layer for row in head[-1:] for j, s in enumerate(row) if s is None}
            self.assertEqual(sorted(columns), hidden, name)
            self.assertEqual({row[j] for layer in result[name + "_attentions"]["data"] for head in layer for row in head for j in hidden}, {0} if hidden else set())

    def test_a_decoder_that_was_sent_nothing_begins_with_its_start_token(self):
        result = self.result({"model": "bart", "input_ids": SOURCE})
        self.assertEqual([(t["id"], t["special"]) for t in result["decoder_tokens"]], [(2, True)])
        sent = self.result({"model": "bart", "input_ids": SOURCE, "decoder_input_ids": [2]})
        self.assertEqual(dict(tensors_of(result)), dict(tensors_of(sent)))

    def test_results_of_a_batch_have_their_own_lengths(self):
        both = self.server.attention({"model": "t5", "input_ids": [SOURCE, [5]], "decoder_input_ids": [[0, 4, 5], [0, 8, 9, 10]]})["results"]
        self.assertEqual([r["cross_attentions"]["shape"][2:] for r in both], [[3, 7], [4, 1]])
        for b, (source, target) in enumerate(((SOURCE, [0, 4, 5]), ([5], [0, 8, 9, 10]))):
            self.assertEqual(both[b], self.result({"model": "t5", "input_ids": source, "decoder_input_ids": target}))


# ---- selections ----------------------------------------------------------------------------------------------------------------


class Selections(Case):
    def test_indices_apply_to_each_map_by_its_own_axes(self):
        choices = {"layers": [-1, 0], "heads": [1, 1, -2], "queries": [-1, 0, 2], "keys": {"start": -3, "stop": -1}}
        full, result = self.result(BART, output=EVERY), self.result(BART, output=EVERY, **choices)
        for prefix in PREFIXES:
            layers, heads, queries, keys, _ = SHAPES[prefix]
            own = {
                "layer": [layers - 1, 0], "head": [1, 1, heads - 2], "query": [queries - 1, 0, 2], "key": list(range(keys))[-3:-1],
                "state": [layers, 1],
            }  # fmt: skip
            for field, axis in (("layers", "layer"), ("heads", "head"), ("queries", "query"), ("keys", "key")):
                self.assertEqual(result[prefix + field], own[axis], prefix + field)
            for output in EVERY[: -1 if prefix == "cross_" else None]:
                tensor, name = full[prefix + output], prefix + output
                self.assertEqual(result[name]["data"], pick(tensor["data"], tensor["axes"], **own), name)

    def test_an_index_out_of_range_in_any_map_is_refused(self):
        inputs = {"model": "bart", "input_ids": SOURCE, "decoder_input_ids": TARGET}
        for field, index in (("layers", 2), ("layers", -3), ("heads", 2), ("heads", -3), ("queries", 5), ("keys", 5), ("keys", -6)):
            self.refuse(dict(inputs, **{field: [0, index]}), 422, "index_out_of_range", f"/{field}/1")
        self.refuse(dict(inputs, input_ids=SOURCE[:2], keys=[2]), 422, "index_out_of_range", "/keys/0")
        self.refuse(dict(inputs, decoder_input_ids=TARGET[:2], queries=[2]), 422, "index_out_of_range", "/queries/0")
        self.refuse(dict(inputs, layers={"start": 2}), 422, "empty_selection", "/layers")
        self.assertIn("decoder", self.refuse(dict(inputs, heads=[3]), 422, "index_out_of_range")["detail"])

    def test_reductions_are_of_each_attention(self):
        full = self.result(BART, output=["attentions"])
        result = self.result(BART, output=["attentions", "context"], reduce_heads="mean", reduce_layers="max")
        for prefix in PREFIXES:
            layers, heads, queries, keys, _ = SHAPES[prefix]
            name = prefix + "attentions"
            self.assertEqual((result[name]["shape"], result[name]["axes"]), ([queries, keys], ["query", "key"]))
            data = full[name]["data"]
            mean = lambda l, i, j: math.fsum(data[l][h][i][j] for h in range(heads)) / heads
            expected = [max(mean(l, i, j) for l in range(layers)) for i in range(queries) for j in range(keys)]
            self.assert_close(unpacked(result[name]), expected, 1e-6, name)
            self.assertEqual(result[prefix + "context"]["shape"], shape_of(prefix, "context"))

    def test_top_k_names_the_keys_of_each_map(self):
        full, result = self.result(BART, output=["attentions"]), self.result(BART, output=["attentions"], top_k=6)
        for prefix in PREFIXES:
            keys, name = SHAPES[prefix][3], prefix + "attentions"
            k = min(6, keys)
            for part in ("indices", "values"):
                self.assertEqual(result[name][part]["shape"], [*SHAPES[prefix][:3], k])
            rows = [row for layer in full[name]["data"] for head in layer for row in head]
            got = flat(result[name]["indices"]["data"])
            best = [j for row in rows for j in sorted(range(keys), key=lambda j: (-row[j], j))[:k]]
            self.assertEqual(got, best, name)

    def test_bins_are_made_of_each_map(self):
        pooled = self.result(BART, output=["attentions"], pool={"size": 3})
        full = self.result(BART, output=["attentions"])
        for prefix in PREFIXES:
            _, _, queries, keys, _ = SHAPES[prefix]
            q, k = ([b * n // 3 for b in range(4)] for n in (queries, keys))
            self.assertEqual(pooled[prefix + "pool"], {"size": 3, "mode": "mean", "query_edges": q, "key_edges": k})
            for got, whole in zip(pooled[prefix + "attentions"]["data"], full[prefix + "attentions"]["data"]):
                for head, map_ in zip(got, whole):
                    expected = [
                        math.fsum(x for row in map_[q[a] : q[a + 1]] for x in row[k[b] : k[b + 1]]) / ((q[a + 1] - q[a]) * (k[b + 1] - k[b]))
                        for a in range(3)
                        for b in range(3)
                    ]
                    self.assert_close(flat(head), expected, 1e-6)

    def test_analyses_are_those_that_an_attention_has(self):
        result = self.result({"model": "bart", "input_ids": SOURCE, "decoder_input_ids": TARGET, "output": ["attentions"]}, analyses=[
            a for a in ANALYSES if a != "special_tokens"
        ])  # fmt: skip
        own = set(ANALYSES) - {"special_tokens"}
        self.assertEqual(set(result["encoder_analyses"]), own)
        self.assertEqual(set(result["decoder_analyses"]), own)
        self.assertEqual(set(result["cross_analyses"]), own & OF_CROSS)
        self.assertEqual(result["cross_analyses"]["head_distance"]["shape"], [3, 2, 2])
        self.assertEqual(result["decoder_analyses"]["rollout"]["shape"], [3, 5, 5])
        for prefix in PREFIXES:
            for layer, values in zip(result[prefix + "attentions"]["data"], result[prefix + "analyses"]["entropy"]["data"]):
                for head, value in zip(layer, values):
                    mean = sum(-w * math.log(w) for row in head for w in row if w > 0) / len(head)
                    self.assertAlmostEqual(value, mean, delta=1e-5)

    def test_an_analysis_that_only_encoder_and_decoder_have_leaves_the_rest_out(self):
        result = self.result(BART, output=[], analyses=["rollout"])
        self.assertEqual({name for name, _ in tensors_of(result)}, {"encoder_analyses.rollout", "decoder_analyses.rollout"})


# ---- other forms ---------------------------------------------------------------------------------------------------------------


REQUESTS = [
    dict(BART, output=EVERY),
    dict(BART, output=EVERY, layers=[1, 0, 1], heads=[1], queries=[0, -1], keys=[1, 1], encoding="base64"),
    dict(BART, output=["attentions", "hidden_states"], top_k=2, dtype="float16", encoding="base64"),
    dict(BART, output=["attentions", "scores", "value"], reduce_heads="max", reduce_layers="mean"),
    dict(BART, output=["attentions"], reduce_layers="max", top_k=3, keys=[0, 2, 4], analyses=["entropy", "rollout"]),
    dict(BART, output=["attentions", "context"], pool={"size": 2, "mode": "max"}, analyses=["confidence"]),
    dict(BART, output=["attentions"], dtype="uint8", encoding="base64"),
    {"model": "t5", "input_ids": [SOURCE, [5]], "decoder_input_ids": [[0, 4, 5], [0]], "output": EVERY, "decimals": 4},
]


class Forms(Case):
    def check_line(self, lines, result, name, tensor):
        prefix, rest = split(name)
        if rest.startswith("analyses") or tensor["axes"][0] not in ("layer", "state"):
            last = [line for line in lines if "part" not in line]
            self.assertEqual(len(last), 1)
            self.assertEqual(tensor_at(last[0], name), tensor)
            return
        part = "encoder" if prefix == "encoder_" else "decoder"
        axis = tensor["axes"][0]
        numbers, step = unpacked(tensor), math.prod(tensor["shape"][1:])
        for i, number in enumerate(result[prefix + axis + "s"]):
            key = ("state", 0) if (axis, number) == ("state", 0) else ("layer", number - (axis == "state"))
            found = [line for line in lines if line.get("part") == part and line.get(key[0]) == key[1]]
            self.assertEqual(len(found), 1, (name, key))
            slice_ = tensor_at(found[0], name)
            self.assertEqual((slice_["shape"], slice_["axes"], slice_["dtype"]), (tensor["shape"][1:], tensor["axes"][1:], tensor["dtype"]))
            self.assertEqual(unpacked(slice_), numbers[i * step : (i + 1) * step], name)

    def test_lines_say_what_the_document_says(self):
        for body in REQUESTS:
            whole = self.server.attention(body)
            lines = [json.loads(line) for line in self.fetch(body, NDJSON)[1].splitlines()]
            self.assertEqual(lines[0], {"model": whole["model"], "results": [echo_of(r) for r in whole["results"]]})
            for b, result in enumerate(whole["results"]):
                own = [line for line in lines[1:-1] if line["result"] == b]
                for name, tensor in tensors_of(result):
                    self.check_line(own, result, name, tensor)
            self.assertEqual(lines[-1]["done"], True)

    def test_the_encoders_lines_come_first_and_a_decoders_layer_has_one(self):
        lines = [json.loads(line) for line in self.fetch(dict(BART, output=["attentions"]), NDJSON)[1].splitlines()][1:-1]
        self.assertEqual([list(line) for line in lines[:2]], [["result", "part", "layer", "encoder_attentions"]] * 2)
        self.assertEqual([list(line) for line in lines[2:]], [["result", "part", "layer", "decoder_attentions", "cross_attentions"]] * 3)
        self.assertEqual([(line["part"], line["layer"]) for line in lines], [("encoder", 0), ("encoder", 1)] + [("decoder", l) for l in range(3)])
        lines = [json.loads(line) for line in self.fetch(dict(BART, output=["hidden_states", "key"]), NDJSON)[1].splitlines()][1:-1]
        self.assertEqual(
            [(line["part"], line.get("state"), line.get("layer")) for line in lines],
            [("encoder", 0, None), ("encoder", None, 0), ("encoder", None, 1), ("decoder", 0, None)] + [("decoder", None, l) for l in range(3)],
        )
        self.assertEqual(set(lines[-1]), {"result", "part", "layer", "decoder_key", "cross_key", "decoder_hidden_states"})

    def test_safetensors_hold_the_same_bits(self):
        kinds = {"F32": "float32", "F16": "float16", "U8": "uint8", "I32": "int32"}
        for body in REQUESTS:
            whole = self.server.attention(dict(body, encoding="base64") if "decimals" not in body else {k: v for k, v in body.items() if k != "decimals"})
            binary = {k: v for k, v in body.items() if k not in ("encoding", "decimals")}
            headers, data = self.fetch(binary, SAFETENSORS)
            self.assertEqual(int(headers["content-length"]), len(data))
            length = struct.unpack("<Q", data[:8])[0]
            header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
            document = json.loads(header.pop("__metadata__")["attnd"])
            expected = {f"results.{b}.{name}": t for b, r in enumerate(whole["results"]) for name, t in tensors_of(r)}
            self.assertEqual(set(header), set(expected))
            for b, result in enumerate(whole["results"]):
                axes = document["results"][b].pop("axes")
                self.assertEqual(axes, {name: t["axes"] for name, t in tensors_of(result)})
                self.assertEqual(document["results"][b], echo_of(result))
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                tensor = {"dtype": kinds[entry["dtype"]], "shape": entry["shape"], "data": base64.b64encode(numbers[begin:end]).decode()}
                self.assertEqual((tensor["dtype"], tensor["shape"]), (expected[name]["dtype"], expected[name]["shape"]), name)
                self.assertEqual(singles(tensor), singles(expected[name]), name)

    def test_an_array_file_holds_one_tensor_and_there_are_three(self):
        for more in ({"output": ["attentions"]}, {"output": [], "analyses": ["entropy"]}, {"output": ["hidden_states"]}):
            status, _, data = self.server.request("POST", "/v1/attention", json.dumps(dict(BART, **more)).encode(), {"Accept": NPY})
            problem = json.loads(data)
            self.assertEqual((status, problem["code"]), (400, "unsupported_combination"))
            self.assertIn(SAFETENSORS, problem["detail"])

    def test_all_three_maps_are_drawn(self):
        svg = self.fetch(dict(BART, output=["attentions"], reduce_heads="mean"), "image/svg+xml")[1].decode()
        places = [svg.index(f"{p}attentions, mean over heads") for p in PREFIXES]
        self.assertEqual(places, sorted(places))
        self.assertEqual(self.fetch(dict(BART, output=["attentions"]), "image/png")[1][:8], b"\x89PNG\r\n\x1a\n")
        words = self.fetch(dict(BART, layers=[0]), "text/plain", "/v1/attention?color=none")[1].decode()
        for prefix in PREFIXES:
            self.assertIn(prefix + "attentions", words)

    def test_a_terminal_is_shown_how_words_align(self):
        words = self.fetch(BART, "text/plain", "/v1/attention?color=none")[1].decode()
        self.assertIn("cross_attentions, mean over heads of the last decoder layer", " ".join(words.split()))
        self.assertNotIn("encoder_attentions", words)
        self.assertNotIn("decoder_attentions", words)
        rows = [line for line in words.splitlines() if re.match(r" *#\d+ ", line)]
        self.assertEqual([int(re.search(r"#(\d+)", row)[1]) for row in rows], TARGET)

    def test_an_estimate_has_the_shapes_and_is_no_less(self):
        for body in REQUESTS:
            for accept in ("application/json", NDJSON, SAFETENSORS):
                plain = body if accept != SAFETENSORS else {k: v for k, v in body.items() if k not in ("encoding", "decimals")}
                estimate = json.loads(self.fetch(plain, "application/json", f"/v1/estimate?accept={accept}")[1])
                self.assertGreaterEqual(estimate["response_bytes"], len(self.fetch(plain, accept)[1]))
            estimate = json.loads(self.fetch(body, "application/json", "/v1/estimate")[1])
            for planned, result in zip(estimate["results"], self.server.attention(body)["results"]):
                self.assertEqual(planned["encoder_tokens"], len(result["encoder_tokens"]))
                self.assertEqual(planned["decoder_tokens"], len(result["decoder_tokens"]))
                for name, tensor in tensors_of(result):
                    self.assertEqual(tensor_at(planned["shapes"], name), tensor["shape"], name)


# ---- trained models ------------------------------------------------------------------------------------------------------------


@unittest.skipIf(not HAVE_SHARED and not harness.CI, "the shared models are not here: ATTND_SHARED does not name their folder")
class Trained(Case):
    options = [w for name, path in TRAINED.items() for w in ("--model", f"{name}={path}")] + ["--model", "translate=" + TRANSLATE]

    def check_golden(self, name):
        for case in load(os.path.join(TRAINED[name], "golden.json"))["cases"]:
            names = [p + o for p in PREFIXES for o in EVERY if p + o in case]
            body = {"model": name, "output": sorted({split(n)[1] for n in names}), "encoding": "base64", "decoder_input_ids": case["decoder_input_ids"]}
            body.update({"text": case["text"]} if "text" in case else {"input_ids": case["input_ids"], "attention_mask": case.get("attention_mask")})
            result = self.result(body)
            self.assertEqual([t["id"] for t in result["encoder_tokens"]], case["input_ids"])
            for tensor in names:
                expected = case[tensor]["data"]
                size = max(1.0, max(abs(x) for x in expected if x is not None))
                self.assertEqual(result[tensor]["shape"], case[tensor]["shape"], tensor)
                self.assert_close(unpacked(result[tensor]), expected, 5e-6 if tensor.endswith("attentions") else 1e-5 * size, f"{name} {tensor}")

    def test_phonemes(self):
        self.check_golden("bart-g2p-us")

    def test_t5(self):
        self.check_golden("t5-dummy")

    def test_a_translation_is_aligned_with_its_text(self):
        text, pair = ">>fra<< I have never seen such a beautiful house before.", "Je n'ai jamais vu une aussi belle maison auparavant."
        result = self.result({"model": "translate", "text": text, "text_pair": pair, "output": ["attentions"], "layers": [-1], "reduce_heads": "mean"})
        encoder, decoder = result["encoder_tokens"], result["decoder_tokens"]
        self.assertEqual((decoder[0]["id"], decoder[0]["special"], decoder[-1]["text"]), (0, True, "."))
        self.assertTrue(encoder[-1]["special"])
        names = lambda tokens: [t.get("display", t["text"]).strip() for t in tokens]
        best = [max(range(len(row)), key=row.__getitem__) for row in result["cross_attentions"]["data"][0]]
        for word, meant in (("jamais", "never"), ("maison", "house"), ("belle", "beautiful"), ("auparavant", "before")):
            at = names(decoder).index(word)  # the row before is the one that chose the word
            self.assertIn(names(encoder).index(meant), best[at - 1 : at + 1], word)

    def test_special_tokens_of_cross_are_the_encoders(self):
        result = self.result({"model": "translate", "text": ">>deu<< good day", "output": ["attentions"], "analyses": ["special_tokens", "first_token"]})
        self.assertEqual([t["text"] for t in result["encoder_tokens"]][:: len(result["encoder_tokens"]) - 1], [">>deu<<", "</s>"])
        for layer, special, first in zip(*(t["data"] for t in (result["cross_attentions"], *(result["cross_analyses"][a] for a in ("special_tokens", "first_token"))))):
            for head, mass, sink in zip(layer, special, first):
                self.assertAlmostEqual(mass, sum(row[0] + row[-1] for row in head) / len(head), delta=1e-6)
                self.assertAlmostEqual(sink, sum(row[0] for row in head) / len(head), delta=1e-6)

    def test_what_was_selected_is_held_against_what_was_written(self):
        body = {"model": "translate", "text": ">>deu<< good day", "max_new_tokens": 40, "output": ["attentions"], "layers": [-1]}
        whole = self.result(body)
        T = len(whole["decoder_tokens"])
        self.assertEqual((whole["decoder_tokens"][-1]["text"], T < 40), ("</s>", True))
        self.refuse(dict(body, queries=[T]), 422, "index_out_of_range", "/queries/0")  # there might have been one
        self.refuse(dict(body, queries=[41]), 422, "index_out_of_range", "/queries/0")
        cut = self.result(dict(body, queries={"start": 1, "stop": 40}, keys=[-1]))
        self.assertEqual((cut["cross_queries"], cut["decoder_keys"]), (list(range(1, T))[: len(cut["cross_queries"])], [T - 1]))
        last = [row[-1] for row in whole["cross_attentions"]["data"][0][3]]
        self.assertEqual(cut["cross_attentions"]["data"][0][3], [[last[i]] for i in cut["cross_queries"]])

    def test_every_form_of_a_generation_has_the_length_it_promised(self):
        body = {"model": "translate", "text": [">>deu<< good day", ">>fra<< I am"], "max_new_tokens": 30, "output": ["attentions"], "layers": [0]}
        for accept in ("application/json", NDJSON, SAFETENSORS, "image/svg+xml", "image/png", "text/plain"):
            estimate = json.loads(self.fetch(body, "application/json", f"/v1/estimate?accept={accept}")[1])
            headers, data = self.fetch(body, accept)
            self.assertLessEqual(len(data), estimate["response_bytes"], accept)
            self.assertEqual(int(headers.get("content-length", len(data))), len(data), accept)
            if accept == SAFETENSORS:
                self.assertIn("content-length", headers)


if __name__ == "__main__":
    main()
