#!/usr/bin/env python3
"""10,000 idle connections and 1,000 slow ones: what others notice of them.

    python3 tests/proof/connections.py [--program build/release/attnd] [--idle 10000] [--slow 1000] [--seconds 30]

Four clients ask mixed requests of a server alone, then beside the crowd, then when it is gone, in turns of so many seconds. A third of the slow ones sends a header a byte at a time,
a third a body, and a third reads its answer that slowly. Every answer must be right, the rate beside the crowd at least 80 % of the rate alone, p99 of /healthz
below 10 ms, and all files must be closed again at the end.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import asyncio
import concurrent.futures
import os
import random
import resource
import socket
import statistics
import sys
import time

import proof


async def ask_for(port, requests, seconds):
    """(answers a second, wrong ones, milliseconds of each)"""
    chance, wrong, took, end = random.Random(2), 0, [], time.monotonic() + seconds

    async def client():
        nonlocal wrong
        connection = proof.Connection(port)
        while time.monotonic() < end:
            request, begin = chance.choice(requests), time.perf_counter()
            status, _, body = await connection.ask(request.bytes)
            took.append((time.perf_counter() - begin) * 1e3)
            wrong += not request.is_right(status, body)
        connection.close()

    await asyncio.gather(*(client() for _ in range(4)))
    return len(took) / seconds, wrong, took


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    s.setblocking(False)
    return s


class Slow:
    """A byte a second in one direction or the other; a new connection when the server has had enough."""

    def __init__(self, port, kind, request):
        self.port, self.kind, self.request = port, kind, request
        self.cut = 0
        self.begin()

    def begin(self):
        self.socket, self.at = connect(self.port), 0
        if self.kind == "body":
            self.at = self.request.index(b"\r\n\r\n") + 4
            self.socket.send(self.request[: self.at])
        elif self.kind == "answer":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.socket.send(self.request)

    def step(self):
        try:
            if self.kind == "answer":
                if self.socket.recv(1) == b"":
                    raise ConnectionError
            else:
                self.socket.send(self.request[self.at : self.at + 1])
                self.at += 1
                if self.at >= len(self.request) - 1:
                    raise ConnectionError
        except BlockingIOError:
            pass
        except OSError:
            self.cut += 1
            self.socket.close()
            self.begin()


async def drip(slow, until):
    while not until.is_set():
        begin = time.monotonic()
        for i, s in enumerate(slow):
            s.step()
            if i % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(max(0.05, 1 - (time.monotonic() - begin)))


async def beside_crowd(a, server, requests):
    idle, big = [], proof.Request("/v1/attention", {"text": "the dog " * 100, "output": ["attentions"]})
    for i in range(a.idle):
        idle.append(connect(server.port))
        if i % 200 == 0:
            await asyncio.sleep(0)
    slow = [Slow(server.port, ("head", "body", "answer")[i % 3], big.bytes) for i in range(a.slow)]
    until = asyncio.Event()
    dripping = asyncio.create_task(drip(slow, until))
    await asyncio.sleep(3)
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        health = pool.submit(proof.watch_health, server.port, a.seconds)
        out = await ask_for(server.port, requests, a.seconds)
        health = await asyncio.wrap_future(health)
    print(f"{a.idle} idle, {a.slow} slow: the server has {server.open_files()} files open and {server.resident():.0f} MB; it closed {sum(s.cut for s in slow)} slow ones so far", flush=True)
    until.set()
    await dripping
    for s in idle + [x.socket for x in slow]:
        s.close()
    return out, health


async def prove(a, server):
    requests = proof.mixed_requests()
    await proof.learn(server.port, requests)
    files = server.open_files()
    await ask_for(server.port, requests, 3)
    alone = await ask_for(server.port, requests, a.seconds)
    beside, health = await beside_crowd(a, server, requests)
    await asyncio.sleep(5)
    after = await ask_for(server.port, requests, a.seconds)
    await asyncio.sleep(2)
    return alone, beside, after, health, server.open_files() - files


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(proof.ROOT, "build/release/attnd"))
    ap.add_argument("--idle", type=int, default=10000)
    ap.add_argument("--slow", type=int, default=1000)
    ap.add_argument("--seconds", type=float, default=30)
    a = ap.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < a.idle + a.slow + 200:
        sys.exit(f"needs {a.idle + a.slow + 200} open files, {hard} are allowed here")
    server = proof.Server(a.program, ["--max-connections", str(a.idle + a.slow + 100), "--max-response-bytes", "64MiB"])
    alone, beside, after, health, left = asyncio.run(prove(a, server))
    for name, (rate, wrong, took) in (("alone", alone), ("beside the crowd", beside), ("after it", after)):
        print(f"{name}: {rate:.0f} answers a second, {wrong} wrong, median {statistics.median(took):.2f} ms, p99 {proof.percentile(took, 0.99):.1f} ms")
    p99, failed = proof.percentile([t for t in health if t is not None], 0.99), health.count(None)
    print(f"/healthz beside the crowd: {len(health)} times, {failed} failed, p99 {p99:.2f} ms; {left} files more than at the beginning")
    status = server.stop()
    fine = alone[1] == beside[1] == after[1] == failed == status == 0 and beside[0] >= 0.8 * min(alone[0], after[0]) and p99 < 10 and left <= 0
    print("passed" if fine else f"FAILED (the server ended with {status})")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
