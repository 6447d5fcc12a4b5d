#!/usr/bin/env python3
"""Writes shortest.txt: float32 patterns and their shortest texts. The digits are numpy's (Dragon4, unique=True, which gives the closest of the
shortest), the layout is attn_number.h's: the shorter one of positional and exponent notation, positional when both are as long.

Needs numpy 2.4. Run it in this folder.
SPDX-License-Identifier: Apache-2.0"""
import random

import numpy


def layout(x):
    if x == 0:
        return "-0.0" if numpy.signbit(x) else "0"
    sign = "-" if x < 0 else ""
    mantissa, exponent = numpy.format_float_scientific(abs(x), unique=True, trim="-").split("e")
    digits, e = mantissa.replace(".", ""), int(exponent)
    if e < 0:
        positional = "0." + "0" * (-e - 1) + digits
    elif len(digits) <= e + 1:
        positional = digits + "0" * (e + 1 - len(digits))
    else:
        positional = digits[: e + 1] + "." + digits[e + 1 :]
    scientific = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + "e" + str(e)
    return sign + (positional if len(positional) <= len(scientific) else scientific)


def patterns():
    random.seed(20261120)
    yield from (0, 1, 2, 3, 0x7FFFFF, 0x800000, 0x800001, 0x7F7FFFFF)
    for exponent in range(1, 255):  # powers of two and their neighbours
        yield from (exponent << 23, (exponent << 23) + 1, (exponent << 23) - 1)
    for e in range(-45, 39):  # powers of ten and their neighbours
        bits = int(numpy.float32("1e%d" % e).view(numpy.uint32))
        yield from (bits, bits + 1, max(bits - 1, 0))
    for _ in range(2000):
        yield random.randrange(0x7F800000)
    for _ in range(500):  # weights and vectors
        yield int(numpy.float32(random.random()).view(numpy.uint32))
        yield int(numpy.float32(random.gauss(0, 1)).view(numpy.uint32))
    for _ in range(300):  # few digits
        yield int(numpy.float32(random.randrange(10000) / 10 ** random.randrange(8)).view(numpy.uint32))
    for _ in range(200):
        yield int(numpy.float32(random.randrange(1 << 26)).view(numpy.uint32))


with open("shortest.txt", "w") as f:
    for bits in sorted(set(patterns())):
        for b in (bits, bits | 0x80000000) if bits % 16 == 0 else (bits,):
            f.write("%08x %s\n" % (b, layout(numpy.uint32(b).view(numpy.float32))))
