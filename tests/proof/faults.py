#!/usr/bin/env python3
"""Sends that are short, refused, interrupted or failed, and a clock that jumps: with faults.c preloaded. (A full disk is in full_disk.py, failing memory in tests/oom.)

    python3 tests/proof/faults.py [--program build/release/attnd] [--requests 3000]

small, interrupt: answers arrive whole and right all the same. reset: connections break in the middle; clients ask again, and what arrives whole is right; at the end the
server has no file and no memory more than before. clock: nothing is late or early.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time

import proof


def build(folder):
    library = os.path.join(folder, "faults.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", library, os.path.join(proof.ROOT, "tests/proof/faults.c"), "-ldl"], check=True)
    return library


async def ask(port, requests, count, may_break):
    """(right, broken, wrong)"""
    chance, left, right, broken, wrong = random.Random(4), count, 0, 0, []

    async def client():
        nonlocal left, right, broken
        connection = proof.Connection(port)
        while left > 0:
            left -= 1
            request = chance.choice(requests)
            try:
                status, _, body = await connection.ask(request.bytes, 60)
            except (OSError, EOFError, ValueError) as e:
                broken += 1
                if not may_break:
                    wrong.append(f"{request.name}: {e!r}")
                continue
            if request.is_right(status, body):
                right += 1
            else:
                wrong.append(f"{request.name}: status {status} {body[:200]!r}")
        connection.close()

    await asyncio.gather(*(client() for _ in range(8)))
    return right, broken, wrong


def beside_faults(program, library, wishes, requests, count, may_break=False):
    server = proof.Server(program, environment={"LD_PRELOAD": library, "ATTND_FAULTS": wishes})
    asyncio.run(ask(server.port, requests, count // 4, may_break))  # warm
    time.sleep(1)
    files, memory, begin = server.open_files(), server.resident(), time.monotonic()
    right, broken, wrong = asyncio.run(ask(server.port, requests, count, may_break))
    took = time.monotonic() - begin
    time.sleep(2)
    files, memory = server.open_files() - files, server.resident() - memory
    status = server.stop()
    fine = not wrong and right > 0 and (broken > 0) == may_break and files <= 0 and memory < 16 and status == 0
    print(f"{wishes}: {right} right, {broken} broken off, {len(wrong)} wrong in {took:.0f} s; {files:+d} files, {memory:+.1f} MB; ended with {status}: {'fine' if fine else 'FAILED'}", flush=True)
    for line in wrong[:5]:
        print("   ", line)
    return fine


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(proof.ROOT, "build/release/attnd"))
    ap.add_argument("--requests", type=int, default=3000)
    a = ap.parse_args()
    requests = proof.mixed_requests()
    server = proof.Server(a.program)
    asyncio.run(proof.learn(server.port, requests))
    server.stop()
    with tempfile.TemporaryDirectory() as folder:
        library, fine = build(folder), True
        for wishes, may_break in (("small", False), ("interrupt", False), ("small,interrupt", False), ("reset=50", True), ("clock", False)):
            fine &= beside_faults(a.program, library, wishes, requests, a.requests, may_break)
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
