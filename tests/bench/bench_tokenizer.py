#!/usr/bin/env python3
"""attnd's tokenizers beside Hugging Face's library: ids and offsets of 10,000 lines, and how long they take on one core.

    pip install tokenizers==0.23.3
    ATTND_SHARED=../shared python3 tests/bench/bench_tokenizer.py build/release/tests/bench/bench_tokenizer [NAME ...]

The lines are every 22nd of the shared test data's text; encoded one by one, special tokens included, no truncation. The library is called from Python on one
thread, as encode() for each line and as encode_batch() of all, whichever is faster; both sides are pinned to one core, take turns, and the medians of ROUNDS
rounds are compared. Equal means: every count of tokens, id, start and end, by one digest over all.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers  # noqa: E402  (the environment first)

SHARED = os.environ.get("ATTND_SHARED", "../shared")
BUILTIN = "core/builtin/attnd-bert/tokenizer.json"
STEP, LINES, ROUNDS = 22, 10000, 5


def text_lines():
    lines = []
    for path in sorted(glob.glob(os.path.join(SHARED, "data/text/*.txt"))):
        with open(path, "rb") as f:
            lines += f.read().split(b"\n")[:-1]
    chosen = []
    for line in lines[::STEP][:LINES]:
        try:
            chosen.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            pass
    return chosen


def digest(encodings):
    state = 0xCBF29CE484222325
    for e in encodings:
        numbers = [len(e.ids)]
        for token, (start, end) in zip(e.ids, e.offsets):
            numbers += (token, start, end)
        for byte in struct.pack("<%dI" % len(numbers), *numbers):
            state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return "%016x" % state


def seconds(work):
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def compare(program, path, lines, file):
    """(equal, tokens, our seconds, theirs by encode, theirs by encode_batch)"""
    library = tokenizers.Tokenizer.from_file(path)
    library.no_truncation()
    library.no_padding()
    ours, single, batch = [], [], []
    for _ in range(ROUNDS):
        said = subprocess.run([program, path, file], check=True, capture_output=True, text=True).stdout.split()
        ours.append(int(said[2]) * 1e-9)
        took, encodings = seconds(lambda: [library.encode(line) for line in lines])
        single.append(took)
        took, _ = seconds(lambda: library.encode_batch(lines))
        batch.append(took)
    assert int(said[0]) == len(lines)
    tokens = sum(len(e.ids) for e in encodings)
    return tokens == int(said[1]) and digest(encodings) == said[3], tokens, *map(statistics.median, (ours, single, batch))


def main():
    program, names = sys.argv[1], sys.argv[2:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    known = {os.path.basename(os.path.dirname(p)): p for p in sorted(glob.glob(os.path.join(SHARED, "data/tokenizers/*/tokenizer.json")))}
    known["attnd-bert"] = BUILTIN
    lines = text_lines()
    unequal = 0
    with tempfile.NamedTemporaryFile("wb") as f:
        f.write("".join(line + "\n" for line in lines).encode())
        f.flush()
        print(f"{len(lines)} lines, {sum(map(len, lines))} characters, tokenizers {tokenizers.__version__}, medians of {ROUNDS}\n")
        print("| tokenizer | ids and offsets | tokens | ours, ms | library, encode, ms | encode_batch, ms | times |\n|---|---|---|---|---|---|---|")
        for name in names or known:
            equal, tokens, ours, single, batch = compare(program, known[name], lines, f.name)
            unequal += not equal
            print(f"| {name} | {'equal' if equal else 'DIFFERENT'} | {tokens:,} | {ours * 1e3:.0f} | {single * 1e3:.0f} | {batch * 1e3:.0f} | {min(single, batch) / ours:.1f} |", flush=True)
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
