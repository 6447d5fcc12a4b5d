#!/usr/bin/env python3
"""Every shape of an answer for one sentence: its bytes, and the time to its first and its last byte.

    python3 tests/bench/bench_forms.py [--program build/release/attnd] [--model DIRECTORY] [--tokens 128] [--rounds 15]

All maps of every layer and head; pictures of the grid too. One client, forms taken in turn, medians. Then the drawing's own case: a PNG of 12 x 12 maps at 64 tokens, made of
six layers and twice their heads where the model has fewer layers. Standard library alone.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAPS = {"output": ["attentions"]}
FORMS = [  # (what, Accept, more of the body, Accept-Encoding)
    ("JSON", "application/json", MAPS, ""),
    ("JSON, gzip", "application/json", MAPS, "gzip"),
    ("JSON, zstd", "application/json", MAPS, "zstd"),
    ("JSON, decimals 4", "application/json", {**MAPS, "decimals": 4}, ""),
    ("JSON, decimals 4, zstd", "application/json", {**MAPS, "decimals": 4}, "zstd"),
    ("JSON, base64", "application/json", {**MAPS, "encoding": "base64"}, ""),
    ("JSON, base64, zstd", "application/json", {**MAPS, "encoding": "base64"}, "zstd"),
    ("JSON, base64, float16", "application/json", {**MAPS, "encoding": "base64", "dtype": "float16"}, ""),
    ("JSON, base64, uint8", "application/json", {**MAPS, "encoding": "base64", "dtype": "uint8"}, ""),
    ("JSON, top_k 8", "application/json", {**MAPS, "top_k": 8}, ""),
    ("JSON, pool 32", "application/json", {**MAPS, "pool": {"size": 32}}, ""),
    ("JSON, all analyses of each head alone", "application/json", {"output": [], "analyses": ["entropy", "confidence", "mean_distance", "self", "previous_token", "next_token",
                                                                                          "first_token", "special_tokens", "duplicate_token", "induction"]}, ""),
    ("JSON, rollout", "application/json", {"output": [], "analyses": ["rollout"]}, ""),
    ("ndjson", "application/x-ndjson", MAPS, ""),
    ("safetensors", "application/vnd.safetensors", MAPS, ""),
    ("safetensors, float16", "application/vnd.safetensors", {**MAPS, "dtype": "float16"}, ""),
    ("npy", "application/x-npy", MAPS, ""),
    ("PNG", "image/png", {}, ""),
    ("SVG", "image/svg+xml", {}, ""),
    ("text", "text/plain", {}, ""),
]


class Program:
    def __init__(self, program, model):
        options = ["--model", f"m={model}"] if model else []
        self.process = subprocess.Popen([program, "--port", "0", "--log-level", "warn", *options], stderr=subprocess.PIPE)
        for line in self.process.stderr:
            found = re.search(rb"listening on http://.*:(\d+)$", line.rstrip())
            if found:
                self.connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=600)
                return
        raise RuntimeError("the server did not start")

    def post(self, body, accept, coding):
        """(bytes, ms to the first byte of the body, ms to the last)."""
        headers = {"Content-Type": "application/json", "Accept": accept, **({"Accept-Encoding": coding} if coding else {"Accept-Encoding": "identity"})}
        begin = time.perf_counter()
        self.connection.request("POST", "/v1/attention", json.dumps(body).encode(), headers)
        answer = self.connection.getresponse()
        size = len(answer.read(1))
        first = time.perf_counter() - begin
        while part := answer.read(1 << 20):
            size += len(part)
        if answer.status != 200:
            raise RuntimeError(f"{accept}: {answer.status}")
        return size, first * 1000, (time.perf_counter() - begin) * 1000

    def get(self, path):
        self.connection.request("GET", path)
        return json.loads(self.connection.getresponse().read())


def median(rows, column):
    return statistics.median(row[column] for row in rows)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(ROOT, "build/release/attnd"))
    ap.add_argument("--model", default=os.environ.get("ATTND_MINILM"))
    ap.add_argument("--tokens", type=int, default=128)
    ap.add_argument("--rounds", type=int, default=15)
    a = ap.parse_args()
    server = Program(a.program, a.model)
    try:
        model = server.get("/v1/models")["models"][0]
        ids = [[101 + 37 * t % (model["vocab_size"] - 200) for t in range(n)] for n in (a.tokens, 64)]
        rows = {form[0]: [] for form in FORMS}
        for _ in range(a.rounds + 1):
            for what, accept, more, coding in FORMS:
                rows[what].append(server.post({"input_ids": ids[0], **more}, accept, coding))
        print(f"{model['name']}, {a.tokens} tokens, {model['num_hidden_layers']} layers of {model['num_attention_heads']} heads; medians of {a.rounds}\n")
        print("| form | bytes | ms to the first byte | ms |\n|---|---|---|---|")
        for what, seen in rows.items():
            print(f"| {what} | {seen[1][0]:,} | {median(seen[1:], 1):.1f} | {median(seen[1:], 2):.1f} |")
        layers = [i % model["num_hidden_layers"] for i in range(12)]
        heads = [i % model["num_attention_heads"] for i in range(12)]
        grid = [server.post({"input_ids": ids[1], "layers": layers, "heads": heads}, "image/png", "") for _ in range(a.rounds + 1)][1:]
        print(f"\nPNG of 12 x 12 maps at 64 tokens: {grid[0][0]:,} bytes, {median(grid, 2):.1f} ms, the forward pass included")
    finally:
        server.process.terminate()
        server.process.wait(60)


if __name__ == "__main__":
    main()
