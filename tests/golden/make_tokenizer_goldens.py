#!/usr/bin/env python3
"""Write tests/golden/tokenizers/: what Hugging Face's tokenizers library makes of texts, for tests/unit/test_tokenizer.c.

    pip install tokenizers==0.23.3
    ATTND_SHARED=../shared python3 tests/golden/make_tokenizer_goldens.py        (from the root of the repository)

  small-bert/ and others tokenizer.json and expected.json as in the shared test data
  attnd-bert.json        the same texts, and hostile ones, with core/builtin/attnd-bert/tokenizer.json
  variants.json          small-bert with parts of its file exchanged: normalizers, pre-tokenizers, templates, added tokens; pairs; truncation.
                         `change` replaces members of tokenizer.json, `added` is appended to its added_tokens, then each case is encoded
  bpe-variants.json      small-gpt2 with other pre-tokenizers and other models, likewise
  lines.txt              500 lines of novels in the public domain
  lines-NAME.txt         for each line of lines.txt its digest by that tokenizer
  shared-lines-NAME.txt  every 22nd line of the shared test data's text, 10,000 of them: a digest for each ten,
                         for some tokenizers for each hundred

Cases: text, text_pair, add_special_tokens and max_length where they are not none, true and 0; then ids, tokens, offsets (code points), special, type_ids
(left out when all are 0), sequence (pairs only; null for special tokens). A digest is FNV-1a, 64 bits, over 32-bit little-endian numbers: the count of
tokens, then id, start, end of each; a line that is not UTF-8 counts as the number 0xFFFFFFFF. Encoded with special tokens, newline taken off.

  code-points.txt        six normalizers, then lines "NUMBER FIRST DIGEST": for the normalizer of this number and each 4,096 code points (those utf8proc
                         knows) what "a", U+0345, the code point, "b" become; number 6: in how many pieces BertPreTokenizer and Whitespace cut "a", it, "b"
SPDX-License-Identifier: Apache-2.0
"""
import ctypes
import glob
import importlib.util
import json
import os
import random
import shutil
import struct

import tokenizers
from tokenizers import Tokenizer

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
SHARED = os.environ.get("ATTND_SHARED", "../shared")
OUT = "tests/golden/tokenizers"
SMALL = os.path.join(SHARED, "data/tokenizers/small-bert")
BUILTIN = "core/builtin/attnd-bert/tokenizer.json"
STEP, LINES, BLOCK = 22, 10000, 10
COPIED = ["small-bert", "small-gpt2", "small-llama3", "small-gemma"]
DIGESTED = ["bert-base-uncased", "bert-base-cased", "all-minilm-l6-v2", "small-bert", "attnd-bert", "gpt2", "roberta-base", "falcon", "clip", "llama2",
            "small-gptneox", "small-llama3", "small-qwen2", "small-gemma"]
DIGESTED_BY_HUNDREDS = ["t5-small", "small-t5", "small-albert", "small-xlm-roberta", "phi-3", "small-gpt2", "small-roberta", "small-modernbert", "small-opt"]

spec = importlib.util.spec_from_file_location("expected", os.path.join(SHARED, "data/make_tokenizer_expected.py"))
expected = importlib.util.module_from_spec(spec)
spec.loader.exec_module(expected)

HOSTILE = [
    "a" * 101, "a" * 100, "a" * 99 + " " + "b" * 102, "\u0301" * 300, "x" + "\u0327\u0301" * 200 + "y", "\u0301\u0007\u0327a", "e\u0007\u0301",
    "\u1112\u0301\u1161", "\u0958\u0301",
    "\U0001D15E\U0001D165\U0001D16E", "\u0DDE\u0DDA", "\U00011938", "\u0344\u0327", "\u1B44\u0301\u1B34", "\ud7a3" * 50, "한글 사전 " * 10, "中" * 200,
    "中a文b", " \u00a0\u2003\u3000\u1680 ",
    "." * 200, "'" * 50 + "\"" * 50, "[" * 50, "[MASK" * 20, "[MASK]" * 20, "[[MASK]]", "[MASK][MASK] [MASK]", "\u0000" * 20 + "a", "\ufffd\ufffd",
    "\u200d" * 50 + "a", "\u2e43\u2e5d\u061d\u0bf9\u166d",
    "\u08d4a\u1df6b\ua8ff", "\u0890\u08e2\U000110cd", "\ue000a\uf8ff", "ǅ Ǆ ẞ ſ K Å İ ı", "ΑΣ Σ ΣΑΣ", "\U00016e40\U0001e900", "𝐇𝐞𝐥𝐥𝐨", "ⅷ①½ﬁ",
    "a\u00adb\u200bc", "\r\n\r\n\t", "\x7f\x1f\x85\x9f",
    "##a ##", "# #", "word" * 40, "Donaudampfschifffahrt" * 8, "\ufb1d\ufb4e", "\u0f73\u0f75", "\u2126\u212a\u212b", "\U0002f800\uf900",
    "🏳️‍🌈👩‍👩‍👧‍👦" * 10, "e" + "\u0301" * 5000 + "\u0327f",
]
PAIRS = [("a", "b"), ("", ""), ("", "x y z"),
         ("The cat sat on the mat.", "It was warm."), ("one two three four five six", "a b"),
         ("a b", "one two three four five six seven"),
         ("é中[MASK]", "한 \u0301"), ("same same same same", "same same same same")]
TEXTS = ["The animal didn't cross the street because it was too tired.", "", " ", "Ünïcödé ﬁ ½ İ e\u0301\u0327 中文, x!!",
    "a  [MASK]  b <m> <m>\n<r>   <l> sw swx xsw x.sw", "foo bar FOO BAR Foo  Bar", "\u0301a 한 \u1e9b\u0323"]


def special(content, **flags):
    return dict(dict(id=0, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags)


def template(single, pair, tokens):
    def item(piece):
        name, type_id = piece.rsplit(":", 1)
        kind = "Sequence" if name in "AB" else "SpecialToken"
        return {kind: {"id": name, "type_id": int(type_id)}}
    entries = {name: {"id": name, "ids": ids, "tokens": pieces} for name, ids, pieces in tokens}
    return {"post_processor": {"type": "TemplateProcessing", "single": [item(p) for p in single.split()], "pair": [item(p) for p in pair.split()],
        "special_tokens": entries}}


def normalizer(*types):
    steps = [t if isinstance(t, dict) else {"type": t} for t in types]
    return {"normalizer": steps[0] if len(steps) == 1 else {"type": "Sequence", "normalizers": steps}}


def bert(clean, ideographs, accents, lower):
    return {"normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": ideographs, "strip_accents": accents, "lowercase": lower}}


def splitter(*types):
    steps = [t if isinstance(t, dict) else {"type": t} for t in types]
    return {"pre_tokenizer": steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}}


def roberta(trim, space):
    return {"post_processor": {"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2], "trim_offsets": trim, "add_prefix_space": space}}


ADDED = [special("<m>", lstrip=True, special=True), special("<r>", rstrip=True), special("<l>", lstrip=True, rstrip=True), special("sw",
    single_word=True), special("Foo Bar", normalized=True),
         special("é", normalized=True), special(" <s>")]
VARIANTS = [
    ("as it is", {}, []), ("no normalizer", {"normalizer": None}, []), ("no pre_tokenizer", {"pre_tokenizer": None}, []), ("no post_processor",
        {"post_processor": None}, []),
    ("no decoder, no added tokens", {"decoder": None, "added_tokens": []}, []),
    ("cased", bert(True, True, None, False), []), ("cased, accents off", bert(True, True, True, False), []), ("lower, accents on", bert(True, True,
        False, True), []),
    ("not cleaned", bert(False, True, None, True), []), ("ideographs together", bert(True, False, None, True), []), ("bert does nothing", bert(False,
        False, False, False), []),
    ("NFD", normalizer("NFD"), []), ("NFC", normalizer("NFC"), []), ("NFKD", normalizer("NFKD"), []), ("NFKC", normalizer("NFKC"), []), ("Lowercase",
        normalizer("Lowercase"), []),
    ("NFD, StripAccents, Lowercase", normalizer("NFD", "StripAccents", "Lowercase"), []), ("Strip", normalizer({"type": "Strip", "strip_left": True,
        "strip_right": True}), []),
    ("Replace", normalizer({"type": "Replace", "pattern": {"String": "a"}, "content": "of the"}, "Lowercase"), []), ("Replace by nothing",
        normalizer({"type": "Replace", "pattern": {"String": "i"}, "content": ""}), []),
    ("Prepend", normalizer({"type": "Prepend", "prepend": "x y"}), []),
    ("Whitespace", splitter("Whitespace"), []), ("WhitespaceSplit", splitter("WhitespaceSplit"), []), ("Punctuation", splitter({"type": "Punctuation",
        "behavior": "Isolated"}), []),
    ("Punctuation removed", splitter("WhitespaceSplit", {"type": "Punctuation", "behavior": "Removed"}), []), ("Punctuation contiguous",
        splitter("WhitespaceSplit", {"type": "Punctuation", "behavior": "Contiguous"}), []),
    ("BertProcessing", {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}, []),
    ("RobertaProcessing", roberta(False, False), ADDED), ("RobertaProcessing, trimmed", roberta(True, False), ADDED),
        ("RobertaProcessing, trimmed, prefix space", roberta(True, True), ADDED),
    ("template of several ids", template("C:0 A:0 S:3", "C:0 A:1 S:0 B:2 S:7", [("C", [2, 5], ["[CLS]", "!"]), ("S", [3], ["[SEP]"])]), []),
    ("template with a text twice", template("A:0 S:0 A:1", "B:0 A:1", [("S", [3], ["[SEP]"])]), []), ("template without the pair", template("A:0",
        "A:0 S:0", [("S", [3], ["[SEP]"])]), []),
    ("added tokens", {}, ADDED), ("added tokens, cased", bert(True, True, None, False), ADDED), ("short words",
        {"model": "max_input_chars_per_word=4"}, []), ("no prefix", {"model": "continuing_subword_prefix="}, []),
]


# ---- byte pair encoding: small-gpt2 with other parts ----

def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(space, cuts):
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": cuts}


def metaspace(scheme, cuts):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cuts}


def pieces(seed, prefix, suffix, **more):
    """A vocabulary of random merges, many of which lead to the same piece."""
    r = random.Random(seed)
    vocab = {p + c + s: 0 for p in {"", prefix} for s in {"", suffix} for c in "abcd é▁"}
    vocab = {piece: i for i, piece in enumerate(sorted(vocab))}
    merges = []
    while len(merges) < 60:
        a, b = r.choice(list(vocab)), r.choice(list(vocab))
        if (suffix and a.endswith(suffix)) or not b.startswith(prefix) or len(a) + len(b) > 9 + len(prefix) + len(suffix):
            continue
        vocab.setdefault(a + b[len(prefix):], len(vocab))
        merges.append([a, b])
    for piece in ["<unk>"] + ["<0x%02X>" % i for i in range(256) if i % 5]:
        vocab.setdefault(piece, len(vocab))
    return {"type": "BPE", "vocab": vocab, "merges": merges + merges[:3], "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix, **more}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
LETTERS = byte_level(False, False)
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
PATTERNS = [BLOOM, "\\w+|\\W", "\\h+", "^.|.$", "(?m:a.)", "(?=[a-e])", "[aeiou]*", "\\p{Han}+|\\p{^Latin}", "(?i:'s|'t)|[[:punct:]]+", "\\s+(?!\\S)|\\s+"]
BPE_VARIANTS = (
    [(f"{b} {p} {i}", splitter(split(p, b, i), LETTERS)) for b in BEHAVIORS for i in (False, True) for p in ({"String": "o "}, {"Regex": "\\s|[aeiou]*"})]
    + [(p, splitter(split({"Regex": p}, "Isolated"), LETTERS)) for p in PATTERNS]
    + [(f"Punctuation {b}", splitter({"type": "Punctuation", "behavior": b}, LETTERS)) for b in BEHAVIORS]
    + [(f"Digits {i}", splitter({"type": "Digits", "individual_digits": i}, LETTERS)) for i in (False, True)]
    + [("CharDelimiterSplit", splitter({"type": "CharDelimiterSplit", "delimiter": "é"}, LETTERS))]
    + [(f"Metaspace {s} {c}", splitter(*w, metaspace(s, c), LETTERS)) for s in ("always", "first", "never") for c in (True, False) for w in ([], ["WhitespaceSplit"])]
    + [(f"ByteLevel {s} {c}", splitter(*w, byte_level(s, c))) for s in (True, False) for c in (True, False) for w in ([], ["WhitespaceSplit"])]
)
BPE_MODELS = [
    ("pieces", pieces(1, "", "")), ("prefix", pieces(2, "##", "")), ("suffix", pieces(3, "", "</w>")), ("prefix and suffix", pieces(4, "##", "</w>")),
    ("unknown", pieces(5, "", "", unk_token="<unk>")), ("unknown, fused", pieces(6, "", "", unk_token="<unk>", fuse_unk=True)),
    ("bytes", pieces(7, "", "", byte_fallback=True)), ("bytes and unknown", pieces(8, "", "", byte_fallback=True, unk_token="<unk>", fuse_unk=True)),
    ("merges ignored", pieces(9, "", "", ignore_merges=True)),
]
BPE_VARIANTS += [(name + cut, {"model": model, **splitter(*words)} if words else {"model": model, "pre_tokenizer": None})
                 for name, model in BPE_MODELS for cut, words in ((", a word", []), (", words", ["Whitespace"]))]
BPE_VARIANTS += [(f"FixedLength {n}", splitter(*w, {"type": "FixedLength", "length": n}, LETTERS)) for n in (1, 3, 1000) for w in ([], ["Whitespace"])]
WORDS = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {w: i for i, w in enumerate(["[UNK]", "The", "didn", "'", "t", "abcd", "中文ひらがな", "é", "The animal", " "])}}
BPE_VARIANTS += [("WordLevel" + name, {"model": WORDS, "pre_tokenizer": words}) for name, words in (
    ("", None), (", words", {"type": "Whitespace"}), (", punctuation", {"type": "BertPreTokenizer"}), (", letters", {"type": "FixedLength", "length": 1}))]
BPE_TEXTS = ["The animal didn't  cross the\tstreet, 12345 ½ times.\r\n\n  It'S (a.b, c!) ", "", " ", "café ▁ 中文ひらがな ___--e\u0301 👩🏽 \u180e\u00a0 x",
             "abcd aabbccdd ▁a▁b▁▁ab éaé zabza ddddddcba", "abcdabcaabbcdéa▁bdacbdbacbdabcabdcbabdcabcbdabcbadbcabdcbadcbadbcabcdbacdbacdabcdbdbcabdcbdac dba",
             "<|endoftext|>a<|endoftext|> b"]


def case(tokenizer, text, pair, add, length):
    tokenizer.no_truncation()
    if length:
        tokenizer.enable_truncation(length)
    encoding = tokenizer.encode(text, pair, add_special_tokens=add)
    found = {"text": text}
    if pair is not None:
        found["text_pair"] = pair
    if not add:
        found["add_special_tokens"] = False
    if length:
        found["max_length"] = length
    found.update(expected.fields(encoding, pair is not None))
    return found


def change_file(document, change, added):
    for key, value in change.items():
        if key == "model" and isinstance(value, dict):
            document["model"].update(value)
        elif key == "model":
            name, value = value.split("=")
            document["model"][name] = int(value) if value.isdigit() else value
        else:
            document[key] = value
    document["added_tokens"] = document["added_tokens"] + added
    return document


def write_json(name, document):
    with open(os.path.join(OUT, name), "w") as f:
        f.write(json.dumps(document["head"])[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in document["cases"]) + "\n]}\n")


def make_variants():
    base = open(os.path.join(SMALL, "tokenizer.json"), encoding="utf-8").read()
    variants = []
    for name, change, added in VARIANTS:
        document = change_file(json.loads(base), change, added)
        tokenizer = Tokenizer.from_str(json.dumps(document))
        cases = [case(tokenizer, t, None, True, 0) for t in TEXTS] + [case(tokenizer, a, b, True, 0) for a, b in PAIRS] + [case(tokenizer, a, b,
        False, 0) for a, b in PAIRS[:4]]
        if name in ("as it is", "no post_processor", "template of several ids", "BertProcessing"):
            taken = {"as it is": 3, "no post_processor": 0, "template of several ids": 5, "BertProcessing": 3}[name]  # less is undefined in the library
            cases += [case(tokenizer, a, b, True, n) for a, b in PAIRS for n in range(max(taken, 1), 14)]
            cases += [case(tokenizer, t, None, add, n) for t in TEXTS for add in (True, False) for n in range(max(taken, 1), 9)]
        if "model" in change:
            change = {"model": {k: v for k, v in document["model"].items() if k != "vocab"}}
        variants.append({"name": name, "change": change, "added": added, "cases": cases})
    with open(os.path.join(OUT, "variants.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in variants) + "\n]\n")


def make_bpe_variants():
    base = open(os.path.join(SHARED, "data/tokenizers/small-gpt2/tokenizer.json"), encoding="utf-8").read()
    variants = []
    for name, change in BPE_VARIANTS:
        tokenizer = Tokenizer.from_str(json.dumps(change_file(json.loads(base), change, [])))
        variants.append({"name": name, "change": change, "added": [], "cases": [case(tokenizer, t, None, True, 0) for t in BPE_TEXTS]})
    with open(os.path.join(OUT, "bpe-variants.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in variants) + "\n]\n")


def fnv(state, numbers):
    for byte in struct.pack("<%dI" % len(numbers), *numbers):
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


def digest(tokenizer, state, line):
    try:
        encoding = tokenizer.encode(line.decode("utf-8"))
    except UnicodeDecodeError:
        return fnv(state, [0xFFFFFFFF])
    numbers = [len(encoding.ids)]
    for token, (start, end) in zip(encoding.ids, encoding.offsets):
        numbers += [token, start, end]
    return fnv(state, numbers)


START = 0xCBF29CE484222325


def load(path):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def text_lines(pattern):
    lines = []
    for path in sorted(glob.glob(os.path.join(SHARED, "data/text", pattern))):
        lines += open(path, "rb").read().split(b"\n")[:-1]
    return lines


def make_shared_lines(name, shared, block):
    tokenizer = load(BUILTIN if name == "attnd-bert" else os.path.join(SHARED, "data/tokenizers", name, "tokenizer.json"))
    with open(os.path.join(OUT, f"shared-lines-{name}.txt"), "w") as f:
        for i in range(0, LINES, block):
            state = START
            for line in shared[i : i + block]:
                state = digest(tokenizer, state, line)
            f.write("%016x\n" % state)


def make_lines():
    public = [line.strip() for line in text_lines("gutenberg-*.txt") if 20 < len(line) < 120]
    lines = [line for line in public[:: len(public) // 500] if line.decode("utf-8", "replace").count("\ufffd") == 0][:500]
    with open(os.path.join(OUT, "lines.txt"), "wb") as f:
        f.write(b"\n".join(lines) + b"\n")
    for name, path in (("small-bert", os.path.join(SMALL, "tokenizer.json")), ("attnd-bert", BUILTIN)):
        tokenizer = load(path)
        with open(os.path.join(OUT, f"lines-{name}.txt"), "w") as f:
            f.writelines("%016x\n" % digest(tokenizer, START, line) for line in lines)
    shared = text_lines("*.txt")[::STEP][:LINES]
    assert len(shared) == LINES
    for name in DIGESTED + DIGESTED_BY_HUNDREDS:
        make_shared_lines(name, shared, BLOCK if name in DIGESTED else 10 * BLOCK)


def code_points():
    """What every code point becomes, but those assigned after Unicode 15.0, which utf8proc 2.8.0 does not know."""
    category = ctypes.CDLL("libutf8proc.so.2").utf8proc_category
    known = [c for c in range(0x110000) if category(c) not in (0, 28)]  # not assigned; surrogates
    splitters = tokenizers.pre_tokenizers.BertPreTokenizer(), tokenizers.pre_tokenizers.Whitespace()
    kinds = [bert(True, True, True, True), bert(True, True, False, True), bert(False, False, True, False)]
    kinds += [normalizer(n) for n in ("NFD", "NFC", "StripAccents")]
    lines = [json.dumps(k["normalizer"]) for k in kinds]
    for i, kind in enumerate(kinds + [None]):
        normalize = Tokenizer.from_str(json.dumps(change_file(json.load(open(os.path.join(SMALL, "tokenizer.json"))), kind or {}, []))).normalizer.normalize_str
        states = {}
        for c in known:
            if kind:
                numbers = [ord(x) for x in normalize("a\u0345" + chr(c) + "b")]
            else:
                numbers = [len(s.pre_tokenize_str("a" + chr(c) + "b")) for s in splitters]
            states[c // 4096] = fnv(states.get(c // 4096, START), numbers)
        lines += ["%d %x %016x" % (i, block * 4096, state) for block, state in states.items()]
    with open(os.path.join(OUT, "code-points.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


def main():
    for folder in COPIED:
        os.makedirs(os.path.join(OUT, folder), exist_ok=True)
        for name in ("tokenizer.json", "expected.json"):
            shutil.copyfile(os.path.join(SHARED, "data/tokenizers", folder, name), os.path.join(OUT, folder, name))
    tokenizer = load(BUILTIN)
    cases = [case(tokenizer, t, None, True, 0) for t in expected.TEXTS + HOSTILE] + [case(tokenizer, a, b, True, 0) for a, b in expected.PAIRS + PAIRS]
    write_json("attnd-bert.json", {"head": {"library": "tokenizers " + tokenizers.__version__}, "cases": cases})
    make_variants()
    make_bpe_variants()
    make_lines()
    code_points()


if __name__ == "__main__":
    main()
