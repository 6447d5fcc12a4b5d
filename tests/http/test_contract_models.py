#!/usr/bin/env python3
"""The contract's inputs that go through a model, /v1/tokenize and /v1/models, sentence by sentence: what the outputs of one answer have to do with each other.

Whether the numbers are those of the model is test_golden.py's matter. SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import shutil
import struct
import tempfile
import unicodedata
import urllib.parse

import oracle
from contract_case import ALL, MAPS, ContractCase
from harness import ROOT, Server, flat, main

SMALL = os.path.join(ROOT, "tests/golden/models")
BUILTIN = ["attnd-bert", "attnd-gpt", "attnd-translate"]
TEXT = "The animal didn't cross the street, because it was too tired."


def bare(text):
    """In small letters, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))


def ids_of(result):
    return [t["id"] for t in result["tokens"]]


class Answers(ContractCase):
    def test_the_answer_names_its_model(self):
        model = self.server.attention({"text": "a"})["model"]
        self.assertEqual(model, {"name": "attnd-bert", "architecture": "BertForMaskedLM", "num_hidden_layers": 6, "num_attention_heads": 8})

    def test_the_models_inside_the_program_are_served_unless_others_are_named_and_the_first_is_the_default(self):
        status, _, answer = self.server.get("/v1/models")
        self.assertEqual((status, answer["default"], [m["name"] for m in answer["models"]]), (200, "attnd-bert", BUILTIN))
        for name in BUILTIN:
            self.assertEqual(self.server.get("/v1/models/" + name)[2]["source"], "builtin:" + name)
            self.assertEqual(self.server.attention({"text": "a", "model": name})["model"]["name"], name)

    def test_shapes_and_axes_are_those_of_the_contract(self):
        result = self.result({"text": TEXT, "output": ALL})
        n = len(result["tokens"])
        for name in ALL:
            columns = {"attn_output": ("hidden", 256), **{m: ("key", n) for m in MAPS}}.get(name, ("head_dim", 32))
            heads = [] if name == "attn_output" else [("head", 8)]
            wanted = [("layer", 6)] + heads + [("key" if name in ("key", "value") else "query", n), columns]
            self.assertEqual((result[name]["axes"], result[name]["shape"]), ([a for a, _ in wanted], [s for _, s in wanted]), name)

    def test_every_head_is_the_operator_on_its_own_query_key_and_value(self):
        result = self.result({"text": TEXT, "output": ALL})
        for layer in (0, 5):
            q, k, v = (result[x]["data"][layer] for x in ("query", "key", "value"))
            wanted = oracle.expected({"query": q, "key": k, "value": v})[0]
            for name in MAPS + ["context"]:
                numbers = flat(result[name]["data"][layer])
                self.assert_close(numbers, wanted[name][1], 3e-5 if name in ("scores", "raw_scores") else 5e-6, name)

    def test_raw_scores_go_through_the_operator_over_http_alike(self):
        result = self.result({"text": TEXT, "output": ALL, "layers": [3]})
        body = {x: result[x]["data"][0] for x in ("query", "key", "value")}
        again = self.result(dict(body, output=["attentions", "context"]))
        self.assert_same(again, result, ["attentions", "context"], 2e-6)

    def test_a_batch_of_texts_has_results_of_their_own_lengths_and_no_padding_shows(self):
        texts = ["a", TEXT, "two words", TEXT + " " + TEXT]
        results = self.server.attention({"text": texts, "output": ALL, "layers": [0, 5]})["results"]
        self.assertEqual(len(results), 4)
        for text, result in zip(texts, results):
            alone = self.result({"text": text, "output": ALL, "layers": [0, 5]})
            self.assertEqual(result["tokens"], alone["tokens"])
            self.assertEqual(result["attentions"]["shape"][-1], len(result["tokens"]))
            self.assert_same(result, alone, ALL)

    def test_an_array_of_one_is_an_array_of_one_result(self):
        self.assertEqual(self.server.attention({"text": ["a"]}), self.server.attention({"text": "a"}))

    def test_the_same_request_has_the_same_bits(self):
        first = self.server.attention({"text": TEXT, "output": ALL})
        for _ in range(3):
            self.assertEqual(self.server.attention({"text": TEXT, "output": ALL}), first)

    def test_layers_do_not_change_the_numbers_of_others(self):
        full = self.result({"text": TEXT, "output": ["attentions"]})["attentions"]["data"]
        for layer in (0, 3, 5):
            self.assertEqual(self.result({"text": TEXT, "output": ["attentions"], "layers": [layer]})["attentions"]["data"], [full[layer]])

    def test_fields_of_the_operator_do_not_apply(self):
        for field, value in (("w_q", [[1]]), ("scale", 1), ("is_causal", True), ("num_attention_heads", 8), ("attn_mask", [[True]]), ("key_lengths", [1])):
            self.refuse({"text": "a", field: value}, 400, "field_not_applicable", "/" + field)

    def test_a_field_that_the_model_has_no_use_for_is_422(self):
        self.refuse({"text": "a", "decoder_input_ids": [1]}, 422, "unsupported_by_model", "/decoder_input_ids")


class Tokens(ContractCase):
    def tokens(self, text, **more):
        return self.result(dict({"text": text, "layers": [0], "heads": [0], "output": ["attentions"]}, **more))["tokens"]

    def test_the_template_adds_special_tokens_and_says_so(self):
        tokens = self.tokens("the cat")
        self.assertEqual([t["text"] for t in tokens], ["[CLS]", "the", "cat", "[SEP]"])
        self.assertEqual([t["special"] for t in tokens], [True, False, False, True])
        self.assertTrue(all((t["start"], t["end"]) == (0, 0) for t in tokens if t["special"]))

    def test_without_special_tokens_there_are_none(self):
        self.assertEqual([t["text"] for t in self.tokens("the cat", add_special_tokens=False)], ["the", "cat"])

    def test_special_marks_what_the_template_added_and_not_what_the_text_says(self):
        tokens = self.tokens("a [SEP] b")
        self.assertEqual([t["text"] for t in tokens], ["[CLS]", "a", "[SEP]", "b", "[SEP]"])
        self.assertEqual([t["special"] for t in tokens], [True, False, False, False, True])
        self.assertEqual((tokens[2]["start"], tokens[2]["end"]), (2, 7))

    def test_offsets_are_code_points_of_the_text_as_sent(self):
        for text in ("Hi 😀 cats", "😀😀 dog", "日本語 and 世界!", "Café é done", "ÀÉ x", "a\u00a0b\u3000c", "👩‍👩‍👧 family", "naïve\r\n\ttext", "ﬁne ½ ①"):
            for token in self.tokens(text):
                if token["special"] or token["text"] == "[UNK]":
                    continue
                piece = token["text"][2:] if token["text"].startswith("##") else token["text"]
                cut = text[token["start"] : token["end"]]
                self.assertTrue(cut, (text, token))
                self.assertEqual(bare(cut), bare(piece), (text, token))

    def test_an_emoji_is_one_code_point_wide(self):
        tokens = self.tokens("x 😀 y")
        self.assertEqual([(t["start"], t["end"]) for t in tokens[1:-1]], [(0, 1), (2, 3), (4, 5)])

    def test_each_ideograph_is_a_token_of_its_own(self):
        tokens = self.tokens("世界 ok")
        self.assertEqual([(t["start"], t["end"]) for t in tokens[1:3]], [(0, 1), (1, 2)])

    def test_offsets_rise_and_stay_within_the_text(self):
        text = "Ünïcödé 😀 世界 it's-it 3.14 " * 3
        last = 0
        for token in self.tokens(text)[1:-1]:
            self.assertLessEqual(last, token["start"])
            self.assertLess(token["start"], token["end"])
            self.assertLessEqual(token["end"], len(text))
            last = token["end"]

    def test_nul_in_a_text_is_a_character_like_any_other(self):
        tokens = self.tokens("cat \u0000dog\u0000")
        self.assertEqual([t["text"] for t in tokens if not t["special"]], ["cat", "dog"])
        dog = tokens[2]
        self.assertEqual((dog["start"], dog["end"]), (5, 8))
        self.assertEqual(len(self.tokens("\u0000")), 2)

    def test_display_is_there_when_it_differs(self):
        for token in self.tokens("cats running 😀 unbelievably"):
            self.assertEqual("display" in token, token["text"].startswith("##"), token)
            if "display" in token:
                self.assertEqual("##" + token["display"], token["text"])

    def test_an_empty_text_has_its_special_tokens(self):
        self.assertEqual(len(self.tokens("")), 2)
        self.assertEqual(len(self.tokens(" \t\n")), 2)

    def test_a_text_that_gives_no_token_is_422(self):
        self.refuse({"text": "", "add_special_tokens": False}, 422, "no_tokens", "/text")
        self.refuse({"text": ["a", " "], "add_special_tokens": False}, 422, "no_tokens", "/text/1")

    def test_a_pair_is_two_segments_marked_as_sequences(self):
        tokens = self.tokens("the cat", text_pair="a dog")
        self.assertEqual([t["text"] for t in tokens], ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]"])
        self.assertEqual([t.get("sequence") for t in tokens[1:3]], [None, None])
        self.assertEqual([t.get("sequence") for t in tokens[4:6]], [1, 1])
        self.assertEqual([(t["start"], t["end"]) for t in tokens[4:6]], [(0, 1), (2, 5)])

    def test_an_empty_string_is_a_segment_too(self):
        self.assertEqual([t["text"] for t in self.tokens("cat", text_pair="")], ["[CLS]", "cat", "[SEP]", "[SEP]"])
        self.assertEqual([t["text"] for t in self.tokens("cat", text_pair=None)], ["[CLS]", "cat", "[SEP]"])
        self.assertEqual([t["text"] for t in self.tokens("", text_pair="cat")], ["[CLS]", "[SEP]", "cat", "[SEP]"])

    def test_a_pair_has_the_form_of_its_text(self):
        self.refuse({"text": "a", "text_pair": ["b"]}, 400, "wrong_type", "/text_pair")
        self.refuse({"text": ["a"], "text_pair": "b"}, 400, "wrong_type", "/text_pair")
        self.refuse({"text": ["a", "b"], "text_pair": ["c"]}, 422, "shape_mismatch", "/text_pair")
        results = self.server.attention({"text": ["a", "b c"], "text_pair": ["d e", ""], "output": ["attentions"]})["results"]
        self.assertEqual([len(r["tokens"]) for r in results], [6, 5])


class Lengths(ContractCase):
    def test_too_long_a_text_is_413_that_names_both_lengths_special_tokens_counted(self):
        answer = self.refuse({"text": "a " * 511}, 413, "too_many_tokens", "/text")
        self.assertEqual((answer["limit"], answer["need"]), (512, 513))
        self.assertIn("512", answer["detail"])
        self.assertIn("513", answer["detail"])

    def test_a_text_of_just_the_models_length_is_taken(self):
        body = {"text": "a " * 510, "layers": [0], "heads": [0], "queries": [0], "output": ["attentions"]}
        self.assertEqual(len(self.result(body)["tokens"]), 512)
        body["text"], body["add_special_tokens"] = "a " * 512, False
        self.assertEqual(len(self.result(body)["tokens"]), 512)

    def test_truncation_cuts_to_the_models_length_and_says_so_in_that_result(self):
        body = {"text": ["a " * 700, "short"], "truncation": True, "layers": [0], "heads": [0], "queries": [0], "output": ["attentions"]}
        long, short = self.server.attention(body)["results"]
        self.assertEqual(len(long["tokens"]), 512)
        self.assertIs(long["truncated"], True)
        self.assertEqual((long["tokens"][0]["text"], long["tokens"][-1]["text"]), ("[CLS]", "[SEP]"))
        self.assertEqual(long["tokens"][510]["end"], 1019)
        self.assertFalse(short.get("truncated", False))

    def test_truncation_of_what_fits_changes_nothing(self):
        self.assertEqual(self.server.attention({"text": TEXT, "truncation": True}), self.server.attention({"text": TEXT}))

    def test_truncation_cuts_the_longer_of_a_pair(self):
        body = {"text": "a b c", "text_pair": "d " * 600, "truncation": True, "layers": [0], "heads": [0], "queries": [0], "output": ["attentions"]}
        tokens = self.result(body)["tokens"]
        self.assertEqual(len(tokens), 512)
        self.assertEqual([t["text"] for t in tokens[:5]], ["[CLS]", "a", "b", "c", "[SEP]"])

    def test_too_many_ids_or_rows_are_413(self):
        answer = self.refuse({"input_ids": [5] * 513}, 413, "too_many_tokens", "/input_ids")
        self.assertEqual((answer["limit"], answer["need"]), (512, 513))


class Ids(ContractCase):
    options = [word for name in ("bert", "bert-odd", "bert-one-layer") for word in ("--model", f"{name}={SMALL}/{name}")]

    def embeddings(self, ids):
        """Rows of the small model's word embeddings, from its file."""
        with open(os.path.join(SMALL, "bert/model.safetensors"), "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
            begin = file.tell()
            name = next(n for n in header if n.endswith("word_embeddings.weight"))
            first, D = header[name]["data_offsets"][0], header[name]["shape"][1]
            rows = []
            for i in ids:
                file.seek(begin + first + 4 * D * i)
                rows.append(list(struct.unpack(f"<{D}f", file.read(4 * D))))
            return rows

    def test_input_ids_are_run_as_they_are(self):
        by_text = self.result({"text": "the cat", "output": ALL})
        by_ids = self.result({"input_ids": ids_of(by_text), "output": ALL})
        self.assert_same(by_ids, by_text, ALL)

    def test_nothing_is_added_to_input_ids(self):
        self.assertEqual(self.result({"input_ids": [7], "output": ["attentions"]})["attentions"]["shape"], [3, 4, 1, 1])

    def test_tokens_of_ids_have_id_and_the_tokenizers_text(self):
        by_text = self.result({"text": "the cats"})["tokens"]
        by_ids = self.result({"input_ids": [t["id"] for t in by_text]})["tokens"]
        for sent, token in zip(by_text, by_ids):
            self.assertEqual((token["id"], token["text"], token.get("display")), (sent["id"], sent["text"], sent.get("display")))
            self.assertNotIn("start", token)

    def test_ids_may_be_an_array_of_arrays_of_any_lengths(self):
        ids = [[2, 7, 3], [9], [5, 6, 7, 8, 9]]
        results = self.server.attention({"input_ids": ids, "output": ALL})["results"]
        for one, result in zip(ids, results):
            self.assertEqual(ids_of(result), one)
            self.assert_same(result, self.result({"input_ids": one, "output": ALL}), ALL)

    def test_an_id_outside_the_vocabulary_is_422(self):
        for bad in (900, -1, 2**31, 2**40, 2**63 - 1):
            self.refuse({"input_ids": [1, bad]}, 422, "token_id_out_of_range", "/input_ids/1")
            self.refuse({"input_ids": [[1], [1, bad]]}, 422, "token_id_out_of_range", "/input_ids/1/1")
        self.assertEqual(ids_of(self.result({"input_ids": [0, 899]})), [0, 899])

    def test_padded_keys_weigh_nothing_and_their_scores_are_null(self):
        result = self.result({"input_ids": [2, 7, 8, 3, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0], "output": MAPS})
        for head in [h for layer in result["attentions"]["data"] for h in layer]:
            for row in head:
                self.assertEqual(row[4:], [0, 0])
                self.assertAlmostEqual(sum(row), 1, places=5)
        for row in [r for layer in result["scores"]["data"] for h in layer for r in h]:
            self.assertEqual([x is None for x in row], [False] * 4 + [True] * 2)
        self.assertNotIn(None, flat(result["raw_scores"]["data"]))

    def test_padding_changes_nothing_for_the_others(self):
        padded = self.result(
            {"input_ids": [2, 7, 8, 3, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0], "output": ALL, "queries": {"stop": 4}, "keys": {"stop": 4}}
        )
        self.assert_same(padded, self.result({"input_ids": [2, 7, 8, 3], "output": ALL}), ALL)

    def test_padded_query_rows_are_computed_as_any_other(self):
        result = self.result({"input_ids": [2, 7, 0], "attention_mask": [1, 1, 0], "output": ["attentions"]})
        for row in [h[2] for layer in result["attentions"]["data"] for h in layer]:
            self.assertAlmostEqual(sum(row), 1, places=5)

    def test_a_mask_may_have_holes_and_may_hide_everything(self):
        result = self.result({"input_ids": [5, 6, 7], "attention_mask": [0, 1, 0], "output": ["attentions"]})
        self.assertEqual(flat(result["attentions"]["data"]), [0, 1, 0] * 3 * 4 * 3)
        result = self.result({"input_ids": [5, 6, 7], "attention_mask": [0, 0, 0], "output": ["attentions", "context"]})
        self.assertEqual(set(flat(result["attentions"]["data"]) + flat(result["context"]["data"])), {0})

    def test_masks_of_a_batch_are_each_inputs_own(self):
        body = {"input_ids": [[5, 6], [7, 8, 9]], "attention_mask": [[1, 0], [1, 1, 1]], "output": ["attentions"]}
        first, second = self.server.attention(body)["results"]
        self.assert_same(first, self.result({"input_ids": [5, 6], "attention_mask": [1, 0], "output": ["attentions"]}), ["attentions"])
        self.assert_same(second, self.result({"input_ids": [7, 8, 9], "output": ["attentions"]}), ["attentions"])

    def test_masks_that_do_not_fit_are_422(self):
        self.refuse({"input_ids": [5, 6], "attention_mask": [1]}, 422, "shape_mismatch", "/attention_mask")
        self.refuse({"input_ids": [[5], [6, 7]], "attention_mask": [[1], [1]]}, 422, "shape_mismatch", "/attention_mask/1")
        self.refuse({"input_ids": [5, 6], "attention_mask": [1, 2]}, 422, "out_of_range", "/attention_mask/1")
        self.refuse({"text": "a", "attention_mask": [1, 1, 1]}, 400, "field_not_applicable", "/attention_mask")

    def test_segment_ids_are_the_tokenizers_unless_given(self):
        by_text = self.result({"text": "the cat", "text_pair": "a dog", "output": ALL})
        first = ids_of(by_text).index(3) + 1  # [SEP] included
        segments = [0] * first + [1] * (len(by_text["tokens"]) - first)
        self.assert_same(self.result({"text": "the cat", "text_pair": "a dog", "token_type_ids": segments, "output": ALL}), by_text, ALL)
        self.assert_same(self.result({"input_ids": ids_of(by_text), "token_type_ids": segments, "output": ALL}), by_text, ALL)
        other = self.result({"text": "the cat", "text_pair": "a dog", "token_type_ids": [0] * len(segments), "output": ALL})
        self.assertNotEqual(other["query"], by_text["query"])
        self.assert_same(self.result({"input_ids": ids_of(by_text), "output": ALL}), other, ALL)

    def test_segment_ids_are_checked(self):
        self.refuse({"input_ids": [5, 6], "token_type_ids": [0, 2]}, 422, "out_of_range", "/token_type_ids/1")
        self.refuse({"text": "the", "token_type_ids": [0]}, 422, "shape_mismatch", "/token_type_ids")
        self.refuse({"text": "the", "token_type_ids": [0] * 3, "model": "bert-one-layer"}, 422, "unsupported_by_model", "/token_type_ids")

    def test_inputs_embeds_stand_in_place_of_token_embeddings(self):
        ids = [2, 7, 8, 3]
        by_ids = self.result({"input_ids": ids, "output": ALL})
        by_embeds = self.result({"inputs_embeds": self.embeddings(ids), "output": ALL})
        self.assert_same(by_embeds, by_ids, ALL)

    def test_inputs_embeds_take_batches_masks_and_segments(self):
        ids = [[2, 7, 8, 3], [2, 9, 3, 0]]
        more = {"attention_mask": [[1] * 4, [1, 1, 1, 0]], "token_type_ids": [[0, 0, 1, 1], [0] * 4], "output": ALL}
        by_ids = self.server.attention(dict(more, input_ids=ids))["results"]
        by_embeds = self.server.attention(dict(more, inputs_embeds=[self.embeddings(i) for i in ids]))["results"]
        for got, expected in zip(by_embeds, by_ids):
            self.assert_same(got, expected, ALL)

    def test_inputs_embeds_have_the_models_width(self):
        self.refuse({"inputs_embeds": [[1, 2]]}, 422, "shape_mismatch", "/inputs_embeds")

    def test_a_request_may_name_its_model(self):
        for name, layers, heads in (("bert", 3, 4), ("bert-odd", 2, 3), ("bert-one-layer", 1, 5)):
            answer = self.server.attention({"text": "the", "model": name, "output": ["attentions"]})
            self.assertEqual(answer["model"]["name"], name)
            self.assertEqual(answer["results"][0]["attentions"]["shape"][:2], [layers, heads])
        self.assertEqual(self.server.attention({"text": "the"})["model"]["name"], "bert")

    def test_an_unknown_model_is_404_wherever_it_is_named(self):
        for name in ("nope", "", "BERT", "bert ", "bert\u0000"):
            for path in ("/v1/attention", "/v1/estimate", "/v1/tokenize"):
                self.refuse({"text": "a", "model": name}, 404, "model_not_found", "/model", path)
        status, _, answer = self.server.get("/v1/models/nope")
        self.assertEqual((status, answer["code"], answer["pointer"]), (404, "model_not_found", "/model"))

    def test_models_are_listed_the_first_as_the_default(self):
        status, _, answer = self.server.get("/v1/models")
        self.assertEqual((status, answer["default"]), (200, "bert"))
        self.assertEqual([m["name"] for m in answer["models"]], ["bert", "bert-odd", "bert-one-layer"])
        for model in answer["models"]:
            self.assertEqual(self.server.get("/v1/models/" + model["name"])[2], model)

    def test_a_model_tells_its_sizes(self):
        model = self.server.get("/v1/models/bert-odd")[2]
        wanted = {"architecture": "BertModel", "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 10, "hidden_size": 30}
        wanted.update({"max_tokens": 64, "vocab_size": 900, "dtype": "float32", "source": "bert-odd"})
        self.assertEqual({k: model[k] for k in wanted}, wanted)
        self.assertGreater(model["num_parameters"], 30 * 900)
        self.assertGreater(model["memory_bytes"], 4 * 30 * 900)

    def test_a_model_gives_just_the_outputs_it_lists(self):
        model = self.server.get("/v1/models/bert")[2]
        self.assertEqual(sorted(model["outputs"]), sorted([*ALL, "weighted_norms", "value_norms", "hidden_states"]))
        result = self.result({"text": "a", "output": model["outputs"]})
        self.assertEqual(set(result), {*model["outputs"], "tokens", "layers", "heads", "states"})


class Tokenize(ContractCase):
    def ask(self, body):
        status, _, answer = self.server.post("/v1/tokenize", body)
        self.assertEqual(status, 200, answer)
        return answer

    def test_its_tokens_are_those_of_attention(self):
        for body in ({"text": TEXT}, {"text": ["a", "b c"]}, {"text": "a", "text_pair": "b"}, {"text": "é 😀 世", "add_special_tokens": False}):
            answer, full = self.ask(body), self.server.attention(dict(body, layers=[0], output=["attentions"]))
            self.assertEqual(answer["model"], full["model"])
            self.assertEqual([r["tokens"] for r in answer["results"]], [r["tokens"] for r in full["results"]])
            self.assertEqual(set(answer), {"model", "results"})

    def test_it_takes_texts_longer_than_the_model(self):
        self.assertEqual(len(self.ask({"text": "a " * 1000})["results"][0]["tokens"]), 1002)

    def test_it_takes_its_own_fields_only(self):
        self.refuse({"text": "a", "layers": [0]}, 400, "unknown_field", "/layers", "/v1/tokenize")
        self.refuse({}, 400, "no_input", "", "/v1/tokenize")
        self.refuse({"text": []}, 422, "empty", "/text", "/v1/tokenize")

    def test_a_text_without_tokens_is_an_empty_list(self):
        self.assertEqual(self.ask({"text": "", "add_special_tokens": False})["results"], [{"tokens": []}])


class WithoutTokenizer(ContractCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(os.path.join(SMALL, "bert", name), cls.folder)
        cls.server = Server(["--model", "org/bare.v1-x_y=" + cls.folder])

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    def test_text_is_422_and_ids_have_no_text(self):
        self.refuse({"text": "a"}, 422, "no_tokenizer", "/text")
        self.refuse({"text": "a"}, 422, "no_tokenizer", "/text", "/v1/tokenize")
        self.refuse({"text": "a"}, 422, "no_tokenizer", "/text", "/v1/estimate")
        self.assertEqual(self.result({"input_ids": [2, 7]})["tokens"], [{"id": 2}, {"id": 7}])

    def test_a_name_with_a_slash_is_found_in_a_path_escaped_or_not(self):
        name = "org/bare.v1-x_y"
        for path in (name, urllib.parse.quote(name, safe="")):
            self.assertEqual(self.server.get("/v1/models/" + path)[2]["name"], name)
        self.assertEqual(self.server.attention({"input_ids": [2], "model": name})["model"]["name"], name)


if __name__ == "__main__":
    main()
