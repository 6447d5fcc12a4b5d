#!/usr/bin/env python3
"""orjson beside attnd on the same numbers, in one run: writes from a numpy float32 array and reads back, nanoseconds a number.

    bench_orjson.py build/release/tests/bench/bench_number

Needs numpy and orjson (tests/bench/requirements.txt).
SPDX-License-Identifier: Apache-2.0"""
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import orjson


def best_ns(run, numbers, seconds=0.2):
    best, begun = 1e9, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best / numbers * 1e9


def ours(text):
    """{data: (kernels, write, read)} of the first table, the best one."""
    figures = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) > 4 and cells[2].replace(".", "").isdigit():
            figures.setdefault(cells[1], (cells[0], float(cells[2]), float(cells[3])))
    return figures


bench = sys.argv[1]
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([bench, "--dump", folder], check=True)
    figures = ours(subprocess.run([bench], check=True, capture_output=True, text=True).stdout)
    print("| data | write: attnd | orjson from numpy | ratio | read: attnd | orjson.loads | ratio |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(pathlib.Path(folder).glob("*.f32")):
        x = numpy.fromfile(path, dtype=numpy.float32)
        text = orjson.dumps(x, option=orjson.OPT_SERIALIZE_NUMPY)
        write = best_ns(lambda: orjson.dumps(x, option=orjson.OPT_SERIALIZE_NUMPY), x.size)
        read = best_ns(lambda: orjson.loads(text), x.size)
        kernels, w, r = figures[path.stem]
        print("| %s | %.2f (%s) | %.2f | %.1f | %.2f | %.2f | %.1f |" % (path.stem, w, kernels, write, write / w, r, read, read / r))
