#!/usr/bin/env python3
"""What a request costs in CPU time, against what /v1/estimate says of it: the table and the fit in deploy/README.md.

    tests/deploy/capacity.py [PROGRAM] [SECONDS for each request]     needs numpy; about a minute

CPU time of the whole process by its own metrics, so that other work on the machine hardly matters; one worker, two callers at a time. The fit is

    seconds = fixed + flops / rate + JSON bytes / rate + binary bytes / rate

by least squares of relative errors, no term below zero. Written tokens are left out of it: each is a pass of its own over all weights, and memory is what it
waits for. Compression is off: clients ask for it.
SPDX-License-Identifier: Apache-2.0
"""
import itertools
import json
import os
import re
import sys
import threading
import time

import numpy as np

from case import free_port, get, harness

SENTENCE = "The animal didn't cross the street because it was too tired to walk any further on that long and dusty road. "


def text(tokens):
    return " ".join(["cat"] * (tokens - 2))


REQUESTS = [
    ("one head of a short text", {"text": "The cat is warm.", "layers": [5], "heads": [1], "output": ["attentions"], "decimals": 2}, "application/json"),
    ("all of a short text", {"text": "The cat is warm."}, "application/json"),
    ("all maps, 64 tokens", {"text": text(64), "output": ["attentions"]}, "application/json"),
    ("all maps, 128 tokens", {"text": text(128), "output": ["attentions"]}, "application/json"),
    ("the same, 3 decimals", {"text": text(128), "output": ["attentions"], "decimals": 3}, "application/json"),
    ("the same, safetensors", {"text": text(128), "output": ["attentions"]}, "application/vnd.safetensors"),
    ("all maps, 512 tokens, safetensors", {"text": text(512), "output": ["attentions"]}, "application/vnd.safetensors"),
    ("one layer, 512 tokens", {"text": text(512), "output": ["attentions"], "layers": [5], "decimals": 3}, "application/json"),
    ("rollout of 512 tokens", {"text": text(512), "output": [], "analyses": ["rollout"], "queries": [0], "keys": [0]}, "application/json"),
    ("pooled maps of 512 tokens", {"text": text(512), "output": ["attentions"], "pool": {"size": 16}}, "application/json"),
    ("16 texts of 64 tokens, hidden states", {"text": [text(64)] * 16, "output": ["hidden_states"]}, "application/vnd.safetensors"),
    ("20 tokens written", {"model": "attnd-gpt", "text": SENTENCE, "max_new_tokens": 20, "output": ["attentions"], "layers": [5]}, "application/json"),
]


def cpu_seconds(side):
    return float(re.search(rb"^process_cpu_seconds_total (.*)$", get(f"http://127.0.0.1:{side}/metrics")[1], re.MULTILINE)[1])


def measure(port, side, body, accept, seconds):
    """(CPU seconds a request, bytes of the answer, requests)"""
    data, sizes = json.dumps(body), []

    def ask(until, least):
        client = harness.Server.__new__(harness.Server)
        client.port, client.connection = port, None
        done = 0
        while done < least or time.monotonic() < until:
            status, _, answer = client.request("POST", "/v1/attention", data, {"Content-Type": "application/json", "Accept": accept})
            if status != 200:
                raise SystemExit(f"{status}: {answer[:300]}")
            sizes.append(len(answer))
            done += 1
        client.connection.close()

    ask(0, 3)  # packs weights, fills caches
    sizes.clear()
    before, until = cpu_seconds(side), time.monotonic() + seconds
    callers = [threading.Thread(target=ask, args=(until, 3)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return (cpu_seconds(side) - before) / len(sizes), sizes[0], len(sizes)


def fit(rows):
    """The four terms of the sum, those left out that would be below zero, and for each row what they make of it."""
    seconds = np.array([row[0] for row in rows])
    terms = np.array([[1.0, flops, size if is_json else 0, 0 if is_json else size] for _, flops, size, is_json in rows]) / seconds[:, None]
    kept = list(range(4))
    while True:
        scale = terms[:, kept].max(axis=0)
        found = np.linalg.lstsq(terms[:, kept] / scale, np.ones(len(rows)), rcond=None)[0] / scale
        if (found >= 0).all():
            break
        kept.pop(int(found.argmin()))
    whole = np.zeros(4)
    whole[kept] = found
    return whole, terms @ whole


def main():
    if len(sys.argv) > 1:
        harness.PROGRAM = os.path.abspath(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    side = free_port()
    server = harness.Server(["--threads", "1", "--log-level", "error", "--metrics-port", str(side)])
    rows, said = [], []
    try:
        print("| request | flops | bytes: said, sent | CPU ms | requests/s and core | fit / measured |\n|---|---|---|---|---|---|")
        for name, body, accept in REQUESTS:
            status, _, estimate = server.post("/v1/estimate?accept=" + accept, body)
            if status != 200:
                raise SystemExit(estimate)
            cpu, sent, count = measure(server.port, side, body, accept, seconds)
            rows.append((cpu, estimate["flops"], sent, accept == "application/json"))
            said.append(estimate["response_bytes"])
            print(f"{name} ({count} times)", file=sys.stderr)
    finally:
        server.stop()
    terms, ratio = fit([row for row, (_, body, _) in zip(rows, REQUESTS) if "max_new_tokens" not in body])
    for (name, _, _), (cpu, flops, sent, _), most, r in itertools.zip_longest(REQUESTS, rows, said, ratio):
        print(f"| {name} | {flops:.2g} | {most:.2g}, {sent:.2g} | {cpu * 1e3:.2f} | {1 / cpu:.0f} | {'' if r is None else f'{r:.2f}'} |")
    print(f"\nfixed {terms[0] * 1e6:.0f} us; " + ", ".join(f"{1 / t:.3g} {what}/s" if t > 0 else f"{what} cost nothing" for t, what in zip(terms[1:], ("flops", "JSON bytes", "binary bytes"))))
    print(f"worst: fit {ratio.max():.2f} and {ratio.min():.2f} of what was measured")


if __name__ == "__main__":
    main()
