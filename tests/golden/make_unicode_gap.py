#!/usr/bin/env python3
"""Write core/text/unicode_gap.c: the code points that the tokenizers library sees otherwise than utf8proc does.

    pip install tokenizers==0.23.3     (and Debian's libutf8proc2 2.8.0, Unicode 15.0)
    python3 tests/golden/make_unicode_gap.py > core/text/unicode_gap.c

The library carries Unicode tables of several years: categories for BERT's cleaning, accents and punctuation of about 2015, canonical order and marks
of about 2017. A model was trained with what its tokenizer did, so we do the same. Nothing but differences is listed, found by asking both about every
code point; what utf8proc does not know at all (assigned after Unicode 15.0) cannot be told this way and is left out.
"""
import ctypes
from tokenizers import __version__, normalizers, pre_tokenizers

assert __version__ == "0.23.3", __version__
U = ctypes.CDLL("libutf8proc.so.2")
U.utf8proc_version.restype = ctypes.c_char_p
assert U.utf8proc_version() == b"2.8.0", U.utf8proc_version()


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


U.utf8proc_category_string.restype = ctypes.c_char_p
U.utf8proc_get_property.restype = ctypes.POINTER(Property)
U.utf8proc_decompose_char.restype = ctypes.c_ssize_t
DECOMPOSE, COMPATIBLE = 1 << 4, 1 << 2
BUFFER = (ctypes.c_int32 * 32)()

CLEAN = normalizers.BertNormalizer(True, False, False, False)
ACCENTS = normalizers.BertNormalizer(False, False, True, False)
NFD, NFKD = normalizers.NFD(), normalizers.NFKD()
STRIP = normalizers.StripAccents()
BERT = pre_tokenizers.BertPreTokenizer()


def category(c):
    return U.utf8proc_category_string(c).decode()


def decomposed(c, more=0):
    return "".join(chr(BUFFER[i]) for i in range(U.utf8proc_decompose_char(c, BUFFER, 32, DECOMPOSE | more, None)))


def facts(c):
    """(name, the library's answer, utf8proc's answer), each about one code point."""
    s = chr(c)
    yield "PUNCTUATION", len(BERT.pre_tokenize_str("a" + s + "b")) == 3, c < 128 and not s.isalnum() and 32 < c < 127 or category(c)[0] == "P"
    yield "FORMAT", CLEAN.normalize_str("a" + s + "b") == "ab", category(c) in ("Cc", "Cf", "Co") and c not in (9, 10, 13) or c == 0xFFFD
    whole = NFD.normalize_str(s) == s
    yield "DECOMPOSED", not whole, decomposed(c) != s
    yield "COMPATIBLE", NFKD.normalize_str(s) != s, decomposed(c, COMPATIBLE) != s
    if whole:
        yield "NONSPACING", ACCENTS.normalize_str("a" + s) == "a", category(c) == "Mn"
        yield "ORDERED", c == 0x345 or NFD.normalize_str("a\u0345" + s) == "a" + s + "\u0345", U.utf8proc_get_property(c).contents.combining_class != 0
    yield "MARK", STRIP.normalize_str("a" + s) == "a", category(c)[0] == "M"


def differences():
    known = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and category(c) != "Cn"]
    for c in known:
        bits = [name for name, library, ours in facts(c) if library != ours]
        if bits:
            yield c, " | ".join("ATTN_GAP_" + b for b in bits)


def main():
    ranges = []
    for c, bits in differences():
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == bits:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, bits])
    print("/* unicode_gap.c - where the tokenizers library and utf8proc disagree about a code point. Written by tests/golden/make_unicode_gap.py,")
    print(" * which says why; do not edit. Each row: first and last code point, and the facts that are the other way round than utf8proc has them.")
    print(" * SPDX-License-Identifier: Apache-2.0 */")
    print('#include "text/unicode.h"\n')
    print("const attn_unicode_gap attn_unicode_gaps[] = {")
    for first, last, bits in ranges:
        print("    { 0x%04X, 0x%04X, %s }," % (first, last, bits))
    print("};")
    print("const size_t attn_unicode_gap_count = sizeof attn_unicode_gaps / sizeof *attn_unicode_gaps;")


if __name__ == "__main__":
    main()
