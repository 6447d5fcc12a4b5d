#!/usr/bin/env python3
"""Soak: twice as many requests as the server can answer, of all kinds, hostile clients among them, for as long as you like.

    python3 tests/proof/soak.py [--program build/release/attnd] [--seconds 3600]

First the capacity is found (as many requests at a time as the server has threads, twice). Then requests come at twice that rate whatever becomes of them, as from a crowd. Each must
get its right answer, byte for byte, or a 503 that names when to come back: nothing wrong, nothing lost. Beside it /healthz is asked 20 times a second from
another process, and resident memory is read. Fails (exit status 1) on a wrong or lost answer, a p99 of /healthz of 10 ms or more, or memory that grows.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import asyncio
import concurrent.futures
import itertools
import os
import random
import statistics
import sys
import time

import proof

CONNECTIONS = 400
RIGHT, REFUSED, WRONG, LOST = "right", "refused (503)", "WRONG", "LOST"


class Crowd:
    def __init__(self, port, requests):
        self.port, self.requests, self.chance = port, requests, random.Random(1)
        self.free = [proof.Connection(port) for _ in range(CONNECTIONS)]
        self.counts, self.took, self.examples, self.hostile = dict.fromkeys((RIGHT, REFUSED, WRONG, LOST), 0), [], [], 0

    def count(self, what, request, note):
        self.counts[what] += 1
        if what in (WRONG, LOST) and len(self.examples) < 20:
            self.examples.append(f"{what}: {request.name}: {note}")
            print(f"{time.strftime('%H:%M:%S')} {self.examples[-1]}", flush=True)

    async def one(self, request, connection):
        begin = time.perf_counter()
        try:
            status, headers, body = await connection.ask(request.bytes)
            if request.is_right(status, body):
                self.count(RIGHT, request, "")
                self.took.append((time.perf_counter() - begin) * 1e3)
            elif status == 503 and "retry-after" in headers:
                self.count(REFUSED, request, "")
            else:
                self.count(WRONG, request, f"status {status}, {body[:300]!r}")
        except Exception as e:  # whatever it is, the answer is lost
            self.count(LOST, request, repr(e))

    async def be_hostile(self):
        """Clients that go away, send rubbish or nothing; nobody waits for an answer."""
        self.hostile += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            request = self.chance.choice(self.requests).bytes
            kind = self.chance.randrange(5)
            if kind == 0:  # half a request
                writer.write(request[: self.chance.randrange(1, len(request))])
                await asyncio.sleep(self.chance.random())
            elif kind == 1:  # gone before the answer
                writer.write(request)
            elif kind == 2:  # gone in the middle of it
                writer.write(request)
                await reader.read(self.chance.randrange(1, 4000))
            elif kind == 3:  # rubbish
                writer.write(self.chance.randbytes(self.chance.randrange(1, 3000)))
                await asyncio.wait_for(reader.read(100), 2)
            else:  # a body that drips
                for i in range(8):
                    writer.write(request[i * 20 : i * 20 + 20])
                    await asyncio.sleep(0.2)
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            writer.transport.abort()

    async def closed_loop(self, clients, seconds):
        """Requests a second when each client waits for its answer."""
        end, before = time.monotonic() + seconds, sum(self.counts.values())

        async def client(connection):
            while time.monotonic() < end:
                await self.one(self.chance.choice(self.requests), connection)

        await asyncio.gather(*(client(c) for c in self.free[:clients]))
        return (sum(self.counts.values()) - before) / seconds

    async def open_loop(self, rate, seconds, server, report):
        begin, tasks, full, memory = time.monotonic(), set(), 0, []
        for i in itertools.count():
            due = begin + i / rate
            now = time.monotonic()
            if due > begin + seconds:
                break
            if due > now:
                await asyncio.sleep(due - now)
            elif i % 64 == 0:
                await asyncio.sleep(0)
            if not memory or time.monotonic() - memory[-1][0] > 5:
                memory.append((time.monotonic(), server.resident()))
                report(memory[-1][0] - begin, memory[-1][1], self)
            while not self.free:
                full += 1
                await asyncio.sleep(0.001)
            connection = self.free.pop()
            task = asyncio.create_task(self.one(self.chance.choice(self.requests), connection))
            task.add_done_callback(lambda t, c=connection: self.free.append(c))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if i % 20 == 0:
                hostile = asyncio.create_task(self.be_hostile())
                tasks.add(hostile)
                hostile.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks, return_exceptions=True)
        return [m for _, m in memory], full


async def soak(a, server):
    requests = proof.mixed_requests()
    await proof.learn(server.port, requests)
    crowd = Crowd(server.port, requests)
    await crowd.closed_loop(4, 3)
    rate = await crowd.closed_loop(4, 10)
    print(f"capacity: {rate:.0f} mixed requests a second with 4 clients; {2 * rate:.0f} a second from now on, for {a.seconds} s", flush=True)
    crowd.counts, crowd.took = dict.fromkeys(crowd.counts, 0), []

    def report(at, resident, c):
        if int(at / 5) % 12 == 0:
            print(f"{at:6.0f} s: {c.counts}, {c.hostile} hostile, resident {resident:.0f} MB", flush=True)

    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        health = pool.submit(proof.watch_health, server.port, a.seconds)
        memory, full = await crowd.open_loop(2 * rate, a.seconds, server, report)
        health = await asyncio.wrap_future(health)
    return crowd, memory, full, health


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(proof.ROOT, "build/release/attnd"))
    ap.add_argument("--seconds", type=float, default=3600)
    a = ap.parse_args()
    server = proof.Server(a.program, ["--timeout", "20s"])
    crowd, memory, full, health = asyncio.run(soak(a, server))
    quarter = max(1, len(memory) // 4)
    early, late = statistics.median(memory[quarter : 2 * quarter] or memory), statistics.median(memory[-quarter:])
    lost_health, p99 = health.count(None), proof.percentile([t for t in health if t is not None], 0.99)
    print(f"{crowd.counts}, {crowd.hostile} hostile clients; right answers after {statistics.median(crowd.took):.1f} ms (median), {proof.percentile(crowd.took, 0.99):.0f} ms (p99)")
    print(f"all {CONNECTIONS} connections were in use {full} times, and the crowd had to wait a millisecond")
    print(f"/healthz: {len(health)} times, {lost_health} failed, median {statistics.median(t for t in health if t is not None):.2f} ms, p99 {p99:.2f} ms")
    print(f"resident memory: {early:.1f} MB in the second quarter, {late:.1f} MB in the last (most {max(memory):.1f})")
    for line in crowd.examples:
        print("   ", line)
    status = server.stop()
    print(f"the server ended with {status}")
    fine = crowd.counts[WRONG] == crowd.counts[LOST] == lost_health == status == 0 and crowd.counts[RIGHT] > 0 and p99 < 10 and late <= early * 1.05 + 2
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
