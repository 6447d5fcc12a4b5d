#!/usr/bin/env python3
"""Write tests/golden/tokenizers/decode.json: the texts that Hugging Face's tokenizers library makes of ids, for tests/unit/test_decode.c.

    pip install tokenizers==0.23.3
    ATTND_SHARED=../shared python3 tests/golden/make_decode_goldens.py        (from the root of the repository)

  files      for each tokenizer.json (here, or in the shared test data): `expected`, a digest of the texts of the ids in its expected.json, where it has one; and
             `random`, a digest for each 200 of 1,000 texts of random ids, whose bytes are often no UTF-8
  decoders   a file of PIECES with each of these as /decoder (null: none), and cases of ids and their text

decode(ids, skip_special_tokens=True), with the ids of special tokens taken out before: where a special token is `normalized`, the library compares its
normalised form, does not find that among the special ones, and shows it (llama2's </s>). A digest is FNV-1a, 64 bits, over 32-bit little-endian numbers: the
count of bytes of each text, then its bytes, a number each. Random numbers are those of the generator below, `seed` 1; the first is the count of ids, mod 40,
the others are the ids, mod the greatest id + 1.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import struct

import tokenizers
from tokenizers import Tokenizer

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
SHARED = os.environ.get("ATTND_SHARED", "../shared")
OUT = "tests/golden/tokenizers"
COUNT, BLOCK = 1000, 200
HERE = ["small-bert", "small-gpt2", "small-llama3", "small-gemma", "unigram"]
PUBLISHED = ["bert-base-uncased", "bert-base-cased", "all-minilm-l6-v2", "gpt2", "roberta-base", "falcon", "clip", "llama2", "phi-3", "small-roberta", "small-opt",
             "small-gptneox", "small-modernbert", "small-qwen2", "small-albert", "small-t5", "small-xlm-roberta", "t5-small"]

PIECES = ["[S]", "a", "##b", "Ġc", "▁d", "▁▁", "▁", "e</w>", "</w></w>", "é", "Ã", "©", "Ĺ", "æĹ", "¥", "<0xE6>", "<0x97>", "<0xa5>", "<0x41>", "<0x+1>", "<0xG1>", "<0x411>",
          " .", ".", "!", " '", "'", " ' ", "n't", " n't x", "'m", "do", " do not", "do  not", "'s", "'ve", " 've", "'re", "##", "####x", "  sp  ", "ab", "aab", "\u65e5",
          "🎵", "Ģ", "ł", "ĠĠ", "\u0300", "aaa", "##.", "x ,", "?"]


def sequence(*decoders):
    return {"type": "Sequence", "decoders": list(decoders)}


def replace(a, b):
    return {"type": "Replace", "pattern": {"String": a}, "content": b}


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}


def strip(content, start, stop):
    return {"type": "Strip", "content": content, "start": start, "stop": stop}


BYTES, FUSE, LETTERS = {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
DECODERS = [None, {"type": "WordPiece", "prefix": "##", "cleanup": True}, {"type": "WordPiece", "prefix": "##", "cleanup": False},
            {"type": "WordPiece", "prefix": "", "cleanup": True}, LETTERS, metaspace("always"), metaspace("first"), metaspace("never"),
            {"type": "BPEDecoder", "suffix": "</w>"}, BYTES, FUSE, replace("a", "-+-"), replace("aa", ""), strip("a", 1, 0), strip("▁", 2, 0),
            sequence(replace("▁", " "), BYTES, FUSE, strip(" ", 1, 0)), sequence(replace("▁", " "), BYTES, FUSE), sequence(BYTES, metaspace("always")),
            sequence(LETTERS, strip(" ", 1, 0)), sequence(BYTES, {"type": "WordPiece", "prefix": "##", "cleanup": True}), sequence()]


def numbers(state):
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield state >> 33


def random_ids(source, size):
    return [next(source) % size for _ in range(next(source) % 40)]


def decode(tokenizer, ids):
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return tokenizer.decode([i for i in ids if i not in special], skip_special_tokens=True)


def digest(state, text):
    data = text.encode("utf-8")
    for byte in struct.pack("<%dI" % (len(data) + 1), len(data), *data):
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


START = 0xCBF29CE484222325


def of_file(name, folder):
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    result = {"name": name}
    expected = os.path.join(folder, "expected.json")
    if os.path.exists(expected):
        state = START
        for case in json.load(open(expected, encoding="utf-8"))["cases"]:
            state = digest(state, decode(tokenizer, case["ids"]))
        result["expected"] = "%016x" % state
    source, size, states = numbers(1), max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1, []
    for i in range(COUNT):
        if i % BLOCK == 0:
            states.append(START)
        states[-1] = digest(states[-1], decode(tokenizer, random_ids(source, size)))
    result["random"] = ["%016x" % state for state in states]
    return result


def of_decoder(decoder):
    added = [dict(id=0, content="[S]", single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)]
    model = {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(PIECES)}, "merges": []}
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": added, "decoder": decoder, "model": model}))
    source, cases = numbers(1), [[], [0], list(range(len(PIECES)))]
    cases += [random_ids(source, len(PIECES)) for _ in range(12)]
    cases += [[i] for i in (4, 5, 7, 11, 13, 15, 40)]
    return {"decoder": decoder, "cases": [{"ids": ids, "text": decode(tokenizer, ids)} for ids in cases]}


def main():
    files = [of_file(n, os.path.join(OUT, n)) for n in HERE] + [of_file("attnd-bert", "core/builtin/attnd-bert")]
    files += [of_file(n, os.path.join(SHARED, "data/tokenizers", n)) for n in PUBLISHED]
    lines = ['{"library": "tokenizers %s", "pieces": %s,' % (tokenizers.__version__, json.dumps(PIECES)), '"files": [']
    lines.append(",\n".join(json.dumps(f) for f in files) + '],\n"decoders": [')
    lines.append(",\n".join(json.dumps(of_decoder(d), ensure_ascii=False, separators=(",", ":")) for d in DECODERS) + "]}")
    with open(os.path.join(OUT, "decode.json"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
