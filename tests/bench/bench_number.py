#!/usr/bin/env python3
"""Writing and reading numbers on what the service really sends, beside other libraries in the same run; nanoseconds a number, one core.

    bench_number.py [--build build/release] [--model DIRECTORY] [--zmij DIRECTORY] [--dragonbox DIRECTORY] [--keep FOLDER]

Data sets, float32: attn (all maps of 128 tokens of English), context (its context vectors), hidden (hidden states) of the model given, or of the built-in one; causal (maps of
the built-in attnd-gpt: exact zeros above the diagonal), masked (attn with the last quarter of each row's keys zero), flat (rows near 1/T), subnormal (attn times 1e-38).
Peers: orjson from a numpy array, and number_peers.cpp with g++: std::to_chars, {fmt} and simdjson (Debian: libfmt-dev, libsimdjson-dev), and the sources of zmij and
Dragonbox where directories are given. What is not there is named and left out. Needs numpy; orjson (tests/bench/requirements.txt) as a peer.
SPDX-License-Identifier: Apache-2.0"""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import numpy

from bench_forms import Program

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def post(server, path, body, accept):
    server.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Accept": accept})
    answer = server.connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise RuntimeError(data[:500])
    return data


def tensors(program, model, output):
    """What a model gives for 128 tokens of English, by name, from safetensors."""
    server = Program(program, model)
    try:
        name = {} if model else {"model": "attnd-gpt" if output == ["attentions"] else "attnd-bert"}
        text = (ROOT / "CONTRIBUTING.md").read_text()[:4000]
        tokens = json.loads(post(server, "/v1/tokenize", {**name, "text": text}, "application/json"))["results"][0]["tokens"]
        data = post(server, "/v1/attention", {**name, "input_ids": [t["id"] for t in tokens[:128]], "output": output}, "application/vnd.safetensors")
    finally:
        server.process.terminate()
        server.process.wait(60)
    size = struct.unpack("<Q", data[:8])[0]
    return {name.split(".")[-1]: numpy.frombuffer(data[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]], dtype=numpy.float32).reshape(e["shape"])
            for name, e in json.loads(data[8:8 + size]).items() if name.startswith("results")}


def make_data(program, model, folder):
    answer = tensors(program, model, ["attentions", "context", "hidden_states"])
    causal = tensors(program, None, ["attentions"])
    attn, rng = answer["attentions"], numpy.random.default_rng(1)
    masked = attn.copy()
    masked[..., masked.shape[-1] * 3 // 4:] = 0
    scores = rng.normal(0, 0.02, (4096, 128))
    flat = numpy.exp(scores) / numpy.exp(scores).sum(1, keepdims=True)
    sets = {"attn": attn, "masked": masked, "causal": causal["attentions"], "flat": flat, "context": answer["context"], "hidden": answer["hidden_states"],
            "subnormal": attn.astype(numpy.float64) * 1e-38}
    for name, x in sets.items():  # 1024 rows from everywhere: a run is short enough to find a quiet moment of a busy machine, and what it writes stays in the cache
        rows = x.astype(numpy.float32).reshape(-1, 128)
        rows[numpy.linspace(0, len(rows) - 1, 1024).astype(int)].tofile(folder / f"{name}.f32")
    return [str(folder / f"{name}.f32") for name in sets]


def ours(build, files):
    """(Markdown, {data: {kernels: {job: ns}}})"""
    text = subprocess.run([build / "tests/bench/bench_number", *files], check=True, capture_output=True, text=True).stdout
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    figures = {}
    for row in rows[2:]:
        figures.setdefault(row[1], {})[row[0]] = dict(zip(rows[0][2:], map(float, row[2:])))
    return text, figures


def best_ns(run, numbers, seconds=0.2):
    best, begun = 1e9, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best / numbers * 1e9


def orjson_figures(files):
    try:
        import orjson
    except ImportError:
        print("orjson is not here: left out", file=sys.stderr)
        return {}
    figures = {}
    for path in files:
        x = numpy.fromfile(path, dtype=numpy.float32)[:1 << 20]
        text = orjson.dumps(x, option=orjson.OPT_SERIALIZE_NUMPY)
        figures[os.path.basename(path)] = {"write orjson": best_ns(lambda: orjson.dumps(x, option=orjson.OPT_SERIALIZE_NUMPY), x.size),
                                           "read orjson": best_ns(lambda: orjson.loads(text), x.size)}
    return figures


def build_peers(folder, zmij, dragonbox):
    """number_peers with whatever is there, or None."""
    command = ["g++", "-O3", "-std=c++17", "-w", "-o", str(folder / "peers"), str(HERE / "number_peers.cpp")]
    end = []
    if subprocess.run(["g++", "-std=c++17", "-fsyntax-only", "-x", "c++", "-"], input=b"#include <simdjson.h>\n", capture_output=True).returncode == 0:
        command.append("-DWITH_SIMDJSON")
        end.append("-lsimdjson")
    else:
        print("simdjson is not here: left out", file=sys.stderr)
    if dragonbox:
        command += ["-DWITH_DRAGONBOX", f"-I{dragonbox}/include", f"{dragonbox}/source/dragonbox_to_chars.cpp"]
    if zmij:
        command += ["-DWITH_ZMIJ", f"-I{zmij}", "-x", "c++", f"{zmij}/zmij.c"]
    for name, given in (("zmij", zmij), ("Dragonbox", dragonbox)):
        if not given:
            print(f"{name}: no directory given, left out", file=sys.stderr)
    return folder / "peers" if subprocess.run([*command, *end]).returncode == 0 else None


def peer_figures(peers, files):
    figures = {}
    for line in subprocess.run([peers, *files], check=True, capture_output=True, text=True).stdout.splitlines():
        name, what, ns = line.split(",")
        figures.setdefault(name, {})[what] = float(ns)
    return figures


def print_beside(title, job, prefix, mine, theirs):
    kernels = list(next(iter(mine.values())))
    names = sorted({what for row in theirs.values() for what in row if what.startswith(prefix) and what[len(prefix)] not in "0123456789"})
    print(f"\n{title}\n\n| data | " + " | ".join([f"attnd {k}" for k in kernels] + [n[len(prefix):] for n in names]) + " |\n" + "|---" * (1 + len(kernels) + len(names)) + "|")
    for name, row in mine.items():
        cells = [f"{row[k][job]:.2f}" for k in kernels] + [f"{theirs[name][n]:.1f}" if n in theirs[name] else "" for n in names]
        print(f"| {name.removesuffix('.f32')} | " + " | ".join(cells) + " |")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    ap.add_argument("--model", default=os.environ.get("ATTND_MINILM"))
    ap.add_argument("--zmij")
    ap.add_argument("--dragonbox")
    ap.add_argument("--keep", type=pathlib.Path, help="leave the data here, as NAME.f32")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.keep or pathlib.Path(temporary)
        files = make_data(str(a.build / "attnd"), a.model, folder)
        peers = build_peers(pathlib.Path(temporary), a.zmij, a.dragonbox)
        text, mine = ours(a.build, files)
        theirs = orjson_figures(files)
        for name, row in (peer_figures(peers, files) if peers else {}).items():
            theirs.setdefault(name, {}).update(row)
    print(text)
    for name in mine:
        theirs.setdefault(name, {})
    print_beside("Writing, shortest", "write shortest", "write ", mine, theirs)
    print_beside("Writing, 6 decimals", "write 6 decimals", "write 6 ", mine, theirs)
    print_beside("Reading, shortest", "read shortest", "read ", mine, theirs)
    print_beside("Reading, 6 decimals", "read 6 decimals", "read 6 ", mine, theirs)


if __name__ == "__main__":
    main()
