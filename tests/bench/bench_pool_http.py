#!/usr/bin/env python3
"""One long request against a server of its own: how much memory it takes, and how long.

    python3 tests/bench/bench_pool_http.py [--program build/release/attnd] [--tokens 32768] [--pool 512] [--rounds 2] ...

Queries, keys and values are random float32 as base64, the maps are pooled; the answer's numbers are base64 too unless --encoding json. Memory is resident and of the
server alone: the most it ever held (VmHWM) less what it held before the request (VmRSS), so models are not in it, and body, working memory and answer are. The mark is
put back between rounds where the system allows it (/proc/PID/clear_refs). Standard library alone.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import array
import base64
import http.client
import json
import os
import random
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def tensor(rng, heads, tokens, width):
    """A base64 tensor [heads, tokens, width] of numbers from -2 to 2; one stretch of them is repeated, for drawing them takes Python longer than the server needs."""
    count = heads * tokens * width
    some = array.array("f", (rng.uniform(-2, 2) for _ in range(min(count, 99991))))
    if sys.byteorder == "big":
        some.byteswap()
    data = (some.tobytes() * (count // len(some) + 1))[: 4 * count]
    return {"dtype": "float32", "shape": [heads, tokens, width], "data": base64.b64encode(data).decode()}


def make_body(a):
    rng = random.Random(1)
    body = {name: tensor(rng, a.heads, a.tokens, a.width) for name in ("query", "key", "value")}
    body.update(encoding=a.encoding)
    if a.pool:
        body["pool"] = {"size": a.pool}
    if a.output:
        body["output"] = a.output
    if a.causal:
        body["is_causal"] = True
    return json.dumps(body).encode()


class Program:
    def __init__(self, a):
        self.process = subprocess.Popen([a.program, "--port", "0", "--log-level", "warn", *a.option], stderr=subprocess.PIPE)
        for line in self.process.stderr:
            found = re.search(rb"listening on http://.*:(\d+)$", line.rstrip())
            if found:
                self.port = int(found[1])
                return
        raise RuntimeError("the server did not start")

    def memory(self, name):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(name + r":\s+(\d+)", f.read())[1]) * 1024

    def forget_peak(self):
        try:
            with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5")
        except OSError:
            pass

    def post(self, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", "/v1/attention", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        size, begin = 0, b""
        while part := answer.read(1 << 20):
            begin = begin or part[:300]
            size += len(part)
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {begin.decode('utf-8', 'replace')}")
        return answer, size

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def measure(program, a, body):
    time.sleep(0.3)  # the one before is cleared away
    program.forget_peak()
    before = program.memory("VmRSS")
    begin = time.perf_counter()
    headers = {"Accept-Encoding": a.accept_encoding} if a.accept_encoding else {}
    answer, size = program.post(body, headers)
    took = time.perf_counter() - begin
    peak = program.memory("VmHWM")
    time.sleep(0.3)
    print(f"{took:6.2f} s, body {len(body) / 1e6:.1f} MB, answer {size / 1e6:.1f} MB {answer.headers.get('Content-Encoding') or ''}; resident {before / 1e6:.1f} MB before, "
          f"{peak / 1e6:.1f} at most, {program.memory('VmRSS') / 1e6:.1f} after: {(peak - before) / 1e6:.1f} MB for the request", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(ROOT, "build/release/attnd"))
    ap.add_argument("--tokens", type=int, default=32768)
    ap.add_argument("--heads", type=int, default=8)
    ap.add_argument("--width", type=int, default=16)
    ap.add_argument("--pool", type=int, default=512, help="0: none")
    ap.add_argument("--output", nargs="*", help="as in the request")
    ap.add_argument("--causal", action="store_true")
    ap.add_argument("--encoding", choices=("json", "base64"), default="base64")
    ap.add_argument("--accept-encoding")
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--option", action="append", default=[], help="of the program; --option=--threads --option=1")
    a = ap.parse_args()
    body = make_body(a)
    program = Program(a)
    try:
        for _ in range(a.rounds):
            measure(program, a, body)
    finally:
        program.stop()


if __name__ == "__main__":
    main()
