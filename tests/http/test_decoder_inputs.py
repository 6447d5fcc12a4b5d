#!/usr/bin/env python3
"""What a model that writes is given: a decoder's text or ids, its start token, max_new_tokens, what is cut and what is too long, and how what was written reads.

The small random models of tests/golden/models get a tokenizer here; one is left without the head that chooses words.
SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import shutil
import struct
import tempfile

from contract_case import ContractCase
from harness import ROOT, main

MODELS = os.path.join(ROOT, "tests/golden/models")
START, FIRST, END, UNKNOWN = 2, 0, 2, 3
WORDS = ["<s>", "<pad>", "</s>", "<unk>"] + ["the", "cat", "sat", "on", "a", "mat", "##s", "##ing"] + ["w%d" % i for i in range(48)]
LONG = " ".join(["cat"] * 80)


def tokenizer(single):
    """WordPiece of 60 pieces, with <s> and </s> around a text where `single` says so."""
    item = lambda name: {"Sequence": {"id": name, "type_id": 0}} if name in "AB" else {"SpecialToken": {"id": name, "type_id": 0}}
    special = [dict(id=i, content=WORDS[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i in range(4)]
    return {
        "version": "1.0", "added_tokens": special, "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing", "single": [item(n) for n in single], "pair": [item("A"), item("B")],
            "special_tokens": {WORDS[i]: {"id": WORDS[i], "ids": [i], "tokens": [WORDS[i]]} for i in (FIRST, END)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {word: i for i, word in enumerate(WORDS)}},
    }  # fmt: skip


def without_tensor(path, name):
    """Writes a safetensors file again without one of its tensors."""
    with open(path, "rb") as f:
        data = f.read()
    length = struct.unpack("<Q", data[:8])[0]
    header, body, kept = json.loads(data[8 : 8 + length]), data[8 + length :], b""
    del header[name]
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = [len(kept), len(kept) + end - begin]
            kept += body[begin:end]
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + kept)


def make_models(folder):
    """Copies, as options for a server: bart and marian (no opening token) that know words, a causal one that does, one without a head."""
    options = ["--model", "builtin:attnd-bert"]
    for name, source, single in (("bart", "bart", ["<s>", "A", "</s>"]), ("marian", "marian", ["A", "</s>"]), ("gpt2", "gpt2", ["A"]), ("headless", "gpt-neox", None)):
        path = shutil.copytree(os.path.join(MODELS, source), os.path.join(folder, name))
        if single:
            with open(os.path.join(path, "tokenizer.json"), "w", encoding="utf-8") as f:
                json.dump(tokenizer(single), f)
        else:
            without_tensor(os.path.join(path, "model.safetensors"), "embed_out.weight")
        options += ["--model", f"{name}={path}"]
    return options


class Case(ContractCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.options = make_models(cls.folder)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    def ids(self, result, which="decoder_tokens"):
        return [t["id"] for t in result[which]]


# ---- what a decoder has read -----------------------------------------------------------------------------------------------------


class DecoderText(Case):
    def test_a_decoder_text_stands_behind_the_start_token_without_the_closing_one(self):
        result = self.result({"model": "bart", "text": "the mats", "text_pair": "a cat sats"})
        self.assertEqual([t["text"] for t in result["encoder_tokens"]], ["<s>", "the", "mat", "##s", "</s>"])
        self.assertEqual(
            result["decoder_tokens"],
            [
                {"id": START, "text": "</s>", "start": 0, "end": 0, "special": True},
                {"id": FIRST, "text": "<s>", "start": 0, "end": 0, "special": True},
                {"id": 8, "text": "a", "start": 0, "end": 1, "special": False, "sequence": 1},
                {"id": 5, "text": "cat", "start": 2, "end": 5, "special": False, "sequence": 1},
                {"id": 6, "text": "sat", "start": 6, "end": 9, "special": False, "sequence": 1},
                {"id": 10, "text": "##s", "display": "s", "start": 9, "end": 10, "special": False, "sequence": 1},
            ],
        )
        self.assertNotIn("truncated", result)

    def test_its_maps_are_those_of_its_ids(self):
        for model in ("bart", "marian"):
            text = self.result({"model": model, "text": "the mat", "text_pair": "a cat"})
            ids = self.result({"model": model, "text": "the mat", "decoder_input_ids": self.ids(text)})
            for name in ("encoder_attentions", "decoder_attentions", "cross_attentions", "cross_context"):
                self.assertEqual(text[name], ids[name])
            self.assertEqual([t["text"] for t in ids["decoder_tokens"]], [t["text"] for t in text["decoder_tokens"]])
            self.assertEqual({tuple(t) for t in ids["decoder_tokens"]}, {("id", "text")})

    def test_an_empty_text_is_a_text_too(self):
        self.assertEqual(self.ids(self.result({"model": "bart", "text": "a", "text_pair": ""})), [START, FIRST])
        self.assertEqual(len(self.result({"model": "marian", "text": "a", "text_pair": ""})["decoder_tokens"]), 1)
        self.assertEqual(self.ids(self.result({"model": "bart", "text": "a"})), [START])

    def test_without_special_tokens_only_the_start_token_is_there(self):
        result = self.result({"model": "bart", "text": "the mat", "text_pair": "a cat", "add_special_tokens": False})
        self.assertEqual((self.ids(result, "encoder_tokens"), self.ids(result)), ([4, 9], [START, 8, 5]))

    def test_an_end_token_that_was_written_stays(self):
        self.assertEqual(self.ids(self.result({"model": "bart", "text": "a", "text_pair": "a </s>"})), [START, FIRST, 8, END])

    def test_texts_of_a_batch_have_their_own(self):
        both = self.server.attention({"model": "bart", "text": ["the mat", "a"], "text_pair": ["", "a cat sat"]})["results"]
        self.assertEqual([self.ids(r) for r in both], [[START, FIRST], [START, FIRST, 8, 5, 6]])
        self.assertEqual([r["cross_attentions"]["shape"][2:] for r in both], [[2, 4], [5, 3]])

    def test_the_default_is_the_start_token_alone(self):
        result = self.result({"model": "marian", "text": "the mat"})
        self.assertEqual([(t["special"], t["start"], t["end"]) for t in result["decoder_tokens"]], [(True, 0, 0)])
        self.assertEqual(self.ids(result), self.ids(self.result({"model": "marian", "input_ids": [4]})))

    def test_vectors_of_the_encoder_go_with_ids_of_the_decoder(self):
        x = [[0.1 * i - 0.03 * j for j in range(32)] for i in range(3)]
        result = self.result({"model": "bart", "inputs_embeds": [x, x[::-1]], "decoder_input_ids": [[2, 5], [2, 5]]})
        self.assertNotIn("encoder_tokens", result)
        self.assertEqual((self.ids(result), result["cross_attentions"]["shape"][2:]), ([2, 5], [2, 3]))
        written = self.result({"model": "bart", "inputs_embeds": x, "max_new_tokens": 2})
        self.assertEqual(written["decoder_attentions"]["shape"][2:], [3, 3] if written["decoder_tokens"][-1]["id"] != END else [2, 2])
        self.refuse({"model": "bart", "inputs_embeds": x, "text_pair": "a"}, 400, "field_not_applicable", "/text_pair")
        self.refuse({"model": "bart", "inputs_embeds": x, "analyses": ["induction"]}, 422, "output_not_available", "/analyses/0")

    def test_other_models_read_two_texts_as_ever(self):
        result = self.result({"text": "the cat", "text_pair": "the mat"})
        self.assertEqual({t.get("sequence") for t in result["tokens"] if not t["special"]}, {None, 1})


# ---- lengths ---------------------------------------------------------------------------------------------------------------------


class Lengths(Case):
    def too_many(self, body, pointer, need, says):
        status, _, problem = self.server.post("/v1/attention", body)
        self.assertEqual((status, problem["code"], problem["pointer"], problem["limit"], problem["need"]), (413, "too_many_tokens", pointer, 64, need), problem)
        self.assertIn(says, problem["detail"])
        limits = self.server.post("/v1/estimate", body)[2]["limits"]
        self.assertIn({"code": "too_many_tokens", "limit": 64, "need": need}, limits)

    def test_encoder_and_decoder_are_each_held_against_the_model(self):
        self.too_many({"model": "bart", "text": LONG}, "/text", 82, "the encoder has 82 tokens")
        self.too_many({"model": "bart", "text": "a", "text_pair": LONG}, "/text_pair", 82, "the decoder has 82 tokens")
        self.too_many({"model": "bart", "input_ids": [5], "decoder_input_ids": [5] * 65}, "/decoder_input_ids", 65, "the decoder has 65 tokens")
        both = self.server.post("/v1/estimate", {"model": "bart", "text": LONG, "text_pair": LONG})[2]
        self.assertEqual([limit["need"] for limit in both["limits"] if limit["code"] == "too_many_tokens"], [82, 82])

    def test_what_is_to_be_written_counts(self):
        self.too_many({"model": "gpt2", "text": " ".join(["cat"] * 60), "max_new_tokens": 5}, "/text", 65, "5 more to come")
        self.too_many({"model": "bart", "text": "a", "text_pair": "a", "max_new_tokens": 62}, "/text_pair", 65, "62 more to come")
        self.too_many({"model": "bart", "text": "a", "max_new_tokens": 70}, "/max_new_tokens", 71, "70 more to come")
        self.too_many({"model": "gpt2", "text": "a", "max_new_tokens": 64, "truncation": True}, "/max_new_tokens", 65, "64 more to come")
        for body in ({"model": "gpt2", "text": " ".join(["cat"] * 59), "max_new_tokens": 5}, {"model": "bart", "text": "a", "text_pair": "a", "max_new_tokens": 61}):
            self.assertTrue(self.server.post("/v1/estimate", body)[2]["allowed"])

    def test_truncation_cuts_what_the_decoder_has_read(self):
        result = self.result({"model": "bart", "text": "a", "text_pair": LONG, "truncation": True})
        self.assertEqual((self.ids(result), result["truncated"]), ([START, FIRST] + [5] * 62, True))
        result = self.result({"model": "bart", "text": LONG, "text_pair": "a", "truncation": True})
        self.assertEqual((len(result["encoder_tokens"]), self.ids(result), result["truncated"]), (64, [START, FIRST, 8], True))
        exact = " ".join(["cat"] * 62)
        self.assertNotIn("truncated", self.result({"model": "bart", "text": "a", "text_pair": exact, "truncation": True}))

    def test_truncation_leaves_room_for_what_is_to_be_written(self):
        for model, tokens, text in (("bart", "decoder_tokens", {"text": "a", "text_pair": LONG}), ("gpt2", "tokens", {"text": LONG})):
            result = self.result({"model": model, **text, "truncation": True, "max_new_tokens": 4, "output": ["attentions"]})
            written = [t for t in result[tokens] if t.get("generated")]
            self.assertEqual((len(result[tokens]) - len(written), result["truncated"]), (60, True))
            self.assertTrue(1 <= len(written) <= 4)


# ---- models that do not write, and what others wrote -------------------------------------------------------------------------------


class Writing(Case):
    def test_models_say_whether_they_write_and_why_not(self):
        models = {m["name"]: m for m in self.server.get("/v1/models")[2]["models"]}
        self.assertEqual({name: m["generates"] for name, m in models.items()}, {"attnd-bert": False, "bart": True, "marian": True, "gpt2": True, "headless": False})
        self.assertEqual({name: (m.get("num_decoder_layers"), m.get("num_decoder_attention_heads")) for name, m in models.items() if "num_decoder_layers" in m},
                         {"bart": (3, 2), "marian": (3, 2)})  # fmt: skip
        for body, why in (({"text": "a"}, "an encoder"), ({"model": "headless", "input_ids": [5]}, "no head")):
            problem = self.server.post("/v1/attention", dict(body, max_new_tokens=1))[2]
            self.assertEqual((problem["code"], problem["pointer"]), ("unsupported_by_model", "/max_new_tokens"))
            self.assertIn(why, problem["detail"])
        self.assertEqual(self.result({"model": "headless", "input_ids": [5, 6], "max_new_tokens": 0})["attentions"]["shape"][2:], [2, 2])

    def test_what_was_written_is_a_text(self):
        for model, which, body in (("bart", "decoder_tokens", {"text": "the mats", "text_pair": "a cat"}), ("gpt2", "tokens", {"text": "the mats"})):
            result = self.result({"model": model, **body, "max_new_tokens": 6, "output": ["attentions"]})
            written = [t for t in result[which] if t.get("generated")]
            self.assertEqual(written, result[which][-len(written) :])
            words = ""
            for token in written:
                if not WORDS.index(token["text"]) < 4:  # special ones are left out
                    words += token["text"][2:] if token["text"].startswith("##") else " " + token["text"]
            self.assertEqual(result["generated_text"], words)
            again = self.result({"model": model, **({"text": body["text"], "decoder_input_ids": self.ids(result)} if model == "bart" else {"input_ids": self.ids(result, which)})})
            name = "decoder_attentions" if model == "bart" else "attentions"
            self.assertEqual(result[name], again[name])

    def test_ids_of_the_decoder_are_gone_on_from(self):
        text = self.result({"model": "bart", "text": "the mat", "text_pair": "a cat", "max_new_tokens": 3})
        ids = self.result({"model": "bart", "text": "the mat", "decoder_input_ids": [START, FIRST, 8, 5], "max_new_tokens": 3})
        self.assertEqual(self.ids(text), self.ids(ids))
        self.assertEqual(text["generated_text"], ids["generated_text"])


if __name__ == "__main__":
    main()
