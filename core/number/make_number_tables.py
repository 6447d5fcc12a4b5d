#!/usr/bin/env python3
"""Prints number_tables.c: 64-bit significands of the powers of ten, in exact integer arithmetic, and the powers as doubles.

    make_number_tables.py > number_tables.c && clang-format -i number_tables.c

SPDX-License-Identifier: Apache-2.0"""

FIRST, LAST = -64, 45


def significand(q):
    """floor(10^q / 2^f * 2^63) + 1 with f = floor(log2(10^q)), so that it has 64 bits."""
    if q >= 0:
        f = (10**q).bit_length() - 1
        g = (10**q << 63) >> f if f <= 63 else 10**q >> (f - 63)
    else:
        d = 10**-q
        f = -d.bit_length() if d & (d - 1) else 1 - d.bit_length()
        g = (1 << (63 - f)) // d
    assert 1 << 63 <= g < 1 << 64
    assert f == q * 1741647 >> 19  # the C code's way to the exponent
    return g + 1


print("""/* number_tables.c - powers of ten in 64 bits, printed by make_number_tables.py: edit that.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/read.h"

const uint64_t attn_powers_of_ten[ATTN_LAST_POWER - ATTN_FIRST_POWER + 1] = {""")
rows = ["0x%016x" % significand(q) for q in range(FIRST, LAST + 1)]
for i in range(0, len(rows), 5):
    last = min(FIRST + i + 4, LAST)
    print("    " + ", ".join(rows[i : i + 5]) + ",", "/* 1e%d to 1e%d */" % (FIRST + i, last))
print("};")
print("""
const double attn_double_powers[ATTN_LAST_DOUBLE_POWER - ATTN_FIRST_DOUBLE_POWER + 1] = {""")
for q in range(-80, 41, 11):
    print("    " + ", ".join("1e%d" % i for i in range(q, min(q + 11, 41))) + ",")
print("};")
