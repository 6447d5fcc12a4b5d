#!/usr/bin/env python3
"""Write tests/golden/tokenizers/unigram/: what Hugging Face's tokenizers library makes of texts with Unigram, for tests/unit/test_tokenizer_unigram.c.

    pip install tokenizers==0.23.3
    ATTND_SHARED=../shared python3 tests/golden/make_unigram_goldens.py        (from the root of the repository)

  tokenizer.json   the vocabulary of small-t5 of the shared test data, and a charsmap of our own (CHARSMAP below) instead of sentencepiece's
  variants.json    that file with parts exchanged, as in variants.json one folder up; `displays` are pieces' ids and how they read: what the library
                   decodes behind a piece "a", less that "a"
SPDX-License-Identifier: Apache-2.0
"""
import base64
import json
import os
import random
import struct

from make_tokenizer_goldens import OUT, PAIRS, SHARED, case, normalizer, special, splitter, template
from tokenizers import Tokenizer

FOLDER = os.path.join(OUT, "unigram")
CHARSMAP = {"ﬁ": "fi", "™": "TM", "\x01": "", "\x1e": "", "\u00ad": "", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "e\u0301": "é",
            "\u0958": "\u0915\u093c", "ﷺ": "صلى الله عليه وسلم", "½": "1⁄2", "Ａ": "A", "①": "1", "…": "...", "ｶ": "カ", "ｶ\uff9e": "ガ", "``": '"'}
TEXTS = ["The animal didn't cross the street because it was too tired.", "", " ", "  two  spaces ", "\x01\x1eabc", "a\x01b\x1e", "™\x1eg", "\r\nx\r\n\r\n", "e\u0301 e\u0301\u0327 E\u0301",
         "\u0958\u0301 \u0915\u094d\u0958\u0301", "ﷺ①½…", "ｶ\uff9eｶ", "中文字 xyz中", "<unk> <unk><unk>a", "x<mask>y <mask> z  <mask>", "▁a ▁ ▁▁b", "``quoted'' ``", "aaaaaaaaaaaaaaaaaaaa",
         "the the the\u00a0the", "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪", "a\u0000b", "ABC ﬁﬁ Ａ", "\u00ad\u00ad", "\u0301\u0301x", "unbelievable, isn't it?!"]


def charsmap(entries):
    """sentencepiece's format: see core/text/charsmap.c."""
    tree, texts = {}, b""
    for key, value in sorted(entries.items()):
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += value.encode() + b"\0"
    units, used = [0] * 65536, {0}
    waiting = [(0, tree)]
    while waiting:
        place, node = waiting.pop(0)
        base = next(b for b in range(1, 65536) if all(b ^ byte not in used for byte in node))
        units[place] |= (place ^ base) << 10 | (0 in node) << 8
        for byte, child in node.items():
            used.add(base ^ byte)
            units[base ^ byte] = 1 << 31 | child if byte == 0 else byte
            if byte:
                waiting.append((base ^ byte, child))
    units = units[: (max(used) | 255) + 1]
    return base64.b64encode(struct.pack("<%dI" % (1 + len(units)), 4 * len(units), *units) + texts).decode()


MAP = {"type": "Precompiled", "precompiled_charsmap": charsmap(CHARSMAP)}
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
QUOTES = [{"type": "Replace", "pattern": {"String": mark}, "content": '"'} for mark in ("``", "''")]
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
MASK = special("<mask>", lstrip=True, special=True)
BYTES = [["<0x%02X>" % byte, -9.0] for byte in range(256)]
LIKE_ROBERTA = template("<s>:0 A:0 </s>:0", "<s>:0 A:0 </s>:0 </s>:0 B:0 </s>:0", [("<s>", [0], ["<s>"]), ("</s>", [1], ["</s>"])])["post_processor"]
ROBERTA = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": False, "add_prefix_space": True}


def processors(*list_):
    return {"post_processor": {"type": "Sequence", "processors": list(list_)}}


def decoders(*list_):
    return {"decoder": {"type": "Sequence", "decoders": list(list_)}}


def unigram(vocabulary, **settings):
    return {"model": {"type": "Unigram", "vocab": vocabulary, **settings}}


LETTERS = [["<unk>", 0]] + [[c, -1] for c in "abcdefghijklmnopqrstuvwxyz▁"] + [[a + b, -2] for a in "theoa" for b in "thes "] + [["the", -3], ["aaa", -3]]


def variants(vocabulary):
    small = {"normalizer": None, "pre_tokenizer": None, "post_processor": None}
    yield "as T5", {}, []
    yield "as XLM-RoBERTa", {**normalizer(MAP, SPACES), **splitter(METASPACE), "post_processor": LIKE_ROBERTA}, [MASK]
    yield "as ALBERT", normalizer(*QUOTES, "NFKD", "StripAccents", "Lowercase", MAP, SPACES), [MASK]
    yield "the charsmap alone", {**small, **normalizer(MAP)}, []
    yield "Nmt and NFKC", normalizer("Nmt", "NFKC", SPACES), []
    yield "letters for bytes", {**small, **normalizer("ByteLevel"), "decoder": LEVEL}, []
    yield "a pattern that grows", {**small, **normalizer({"type": "Replace", "pattern": {"Regex": "[aeiou]|\\s\\s"}, "content": "<é>"})}, []
    yield "bytes for what is unknown", {**unigram(vocabulary + BYTES, unk_id=2, byte_fallback=True), **decoders(
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0})}, []
    yield "bytes but one", unigram(vocabulary + [b for b in BYTES if b[0] != "<0xE4>"], unk_id=2, byte_fallback=True), []
    yield "equal sums", {**small, **unigram(LETTERS, unk_id=0), "decoder": {"type": "BPEDecoder", "suffix": "e"}}, []
    yield "pieces twice and none", {**small, **unigram([["<unk>", 0], ["a", -1], ["a", -5], ["", -3], ["ab", -4], ["x<unk>", -1.5]], unk_id=0)}, []
    yield "trimmed, then a template", processors({**LEVEL, "add_prefix_space": True}, LIKE_ROBERTA), []
    yield "a template, then trimmed", processors(LIKE_ROBERTA, LEVEL), []
    yield "trimmed alone", {"post_processor": LEVEL, **normalizer("ByteLevel"), **splitter("WhitespaceSplit")}, []
    yield "no processors", processors(), []
    yield "trimmed, then Roberta's", processors(LEVEL, ROBERTA), []


def displays(tokenizer):
    a = tokenizer.token_to_id("a")
    before = tokenizer.decode([a], skip_special_tokens=False)
    names = {t.content for t in tokenizer.get_added_tokens_decoder().values()}
    found = {}
    for i in range(tokenizer.get_vocab_size()):
        piece = tokenizer.id_to_token(i)
        if (i % 23 and i < 900) or piece in names:
            continue
        text = tokenizer.decode([a, i], skip_special_tokens=False)
        assert text.startswith(before)
        found[str(i)] = text[len(before) :] or piece
    return found


def main():
    os.makedirs(FOLDER, exist_ok=True)
    base = json.load(open(os.path.join(SHARED, "data/tokenizers/small-t5/tokenizer.json"), encoding="utf-8"))
    base["normalizer"] = MAP
    with open(os.path.join(FOLDER, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(base, f, ensure_ascii=False, separators=(",", ":"))
    rng = random.Random(1)
    texts = TEXTS + ["".join(rng.choice(list(CHARSMAP) + list("abct he\u0301\u0327 <>'") + ["<unk>", "▁", "中"]) for _ in range(rng.randint(1, 20))) for _ in range(10)]
    result = []
    for name, change, added in variants(base["model"]["vocab"]):
        if "model" in change and len(change["model"]["vocab"]) < 100:
            change["added_tokens"], change["post_processor"] = [], None  # their ids are others here
        document = {**json.loads(json.dumps(base)), **change}
        document["added_tokens"] = document["added_tokens"] + added
        tokenizer = Tokenizer.from_str(json.dumps(document))
        pairs = [] if name == "a template, then trimmed" else PAIRS[:6]  # the library numbers the texts of a pair wrongly there
        cases = [case(tokenizer, t, None, True, 0) for t in texts] + [case(tokenizer, a, b, add, 0) for a, b in pairs for add in (True, False)]
        result.append({"name": name, "change": change, "added": added, "cases": cases, "displays": displays(tokenizer)})
    with open(os.path.join(FOLDER, "variants.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in result) + "\n]\n")


if __name__ == "__main__":
    main()
