#!/usr/bin/env python3
"""Three replicas behind HAProxy: one is killed every few seconds, then all are restarted in turn. Needs Debian's haproxy.

    python3 tests/proof/replicas.py [--program build/release/attnd] [--seconds 600] [--every 5]

Killed (SIGKILL): HAProxy sends what was not answered yet to another replica; a client repeats an answer that was cut short, at most twice. Every answer must be right,
byte for byte, after at most 3 tries. Restarted (SIGTERM, in turn, each as soon as the one before is ready again): no try may fail, and each ends with status 0.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import proof

CLIENTS, TRIES, REPLICAS = 8, 3, 3
CONFIG = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 120s
    timeout server 120s
    timeout http-request 10s
    option redispatch 1
    retries 3
    retry-on all-retryable-errors
    http-reuse safe
frontend front
    bind 127.0.0.1:{port}
    default_backend attnd
backend attnd
    balance leastconn
    option httpchk GET /readyz
    default-server check inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Replicas:
    def __init__(self, program):
        self.program, self.ports = program, [free_port() for _ in range(REPLICAS)]
        self.servers = [self.start(p) for p in self.ports]

    def start(self, port):
        return proof.Server(self.program, ["--threads", "1"], port)

    def kill(self, i):
        self.servers[i].process.kill()
        self.servers[i].process.wait()
        self.servers[i] = self.start(self.ports[i])

    def restart(self, i):
        status = self.servers[i].stop()
        self.servers[i] = self.start(self.ports[i])
        return status

    def stop(self):
        return [s.stop() for s in self.servers]


class Proxy:
    def __init__(self, ports):
        self.port = free_port()
        self.file = tempfile.NamedTemporaryFile("w", suffix=".cfg")
        self.file.write(CONFIG.format(port=self.port) + "".join(f"    server r{i} 127.0.0.1:{p}\n" for i, p in enumerate(ports)))
        self.file.flush()
        haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
        self.process = subprocess.Popen([haproxy, "-db", "-f", self.file.name], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(1)


class Clients:
    def __init__(self, port, requests):
        self.port, self.requests = port, requests
        self.tries, self.failed, self.wrong, self.examples = [0] * TRIES, 0, 0, []

    async def ask(self, connection, request):
        """One request, again while it fails; a wrong answer is never asked again."""
        for attempt in range(TRIES):
            try:
                status, _, body = await connection.ask(request.bytes)
            except (OSError, EOFError, ValueError, asyncio.TimeoutError) as e:
                self.note(request, repr(e))
                continue
            if status in (502, 503, 504):
                self.note(request, f"status {status}")
                continue
            if request.is_right(status, body):
                self.tries[attempt] += 1
            else:
                self.wrong += 1
                self.note(request, f"WRONG, status {status}: {body[:200]!r}")
            return
        self.failed += 1

    def note(self, request, what):
        if len(self.examples) < 10:
            self.examples.append(f"{request.name}: {what}")

    async def run(self, until):
        chance = random.Random(3)

        async def client():
            connection = proof.Connection(self.port)
            while not until.is_set():
                await self.ask(connection, chance.choice(self.requests))
            connection.close()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def phase(name, port, requests, trouble):
    """Clients at work while trouble() is made in a thread; what became of them."""
    clients, until = Clients(port, requests), asyncio.Event()
    work = asyncio.create_task(clients.run(until))
    await asyncio.sleep(2)
    made = await asyncio.to_thread(trouble)
    await asyncio.sleep(2)
    until.set()
    await work
    print(f"{name}: {made}; {sum(clients.tries)} requests answered rightly, {clients.tries[0]} at the first try, {clients.tries[1]} at the second, "
          f"{clients.tries[2]} at the third; {clients.failed} failed, {clients.wrong} wrong", flush=True)
    for line in clients.examples:
        print("   ", line)
    return clients


async def prove(a, replicas, proxy):
    requests = proof.mixed_requests()
    await proof.learn(replicas.ports[0], requests)

    def kill():
        end, kills, chance = time.monotonic() + a.seconds, 0, random.Random(5)
        while time.monotonic() < end:
            replicas.kill(chance.randrange(REPLICAS))
            kills += 1
            time.sleep(max(0, min(a.every, end - time.monotonic())))
        return f"{kills} times SIGKILL in {a.seconds:.0f} s"

    def restart():
        statuses = []
        for _ in range(a.rounds):
            for i in range(REPLICAS):
                statuses.append(replicas.restart(i))
                time.sleep(1.2)  # the proxy asks twice a second
        return f"{len(statuses)} times SIGTERM, statuses {sorted(set(statuses))}"

    killed = await phase("killing", proxy.port, requests, kill)
    restarted = await phase("rolling restarts", proxy.port, requests, restart)
    return killed, restarted


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(proof.ROOT, "build/release/attnd"))
    ap.add_argument("--seconds", type=float, default=600)
    ap.add_argument("--every", type=float, default=5)
    ap.add_argument("--rounds", type=int, default=5, help="rolling restarts of all replicas")
    a = ap.parse_args()
    replicas = Replicas(a.program)
    proxy = Proxy(replicas.ports)
    try:
        killed, restarted = asyncio.run(prove(a, replicas, proxy))
    finally:
        proxy.process.send_signal(signal.SIGTERM)
        statuses = replicas.stop()
    fine = killed.failed == killed.wrong == restarted.failed == restarted.wrong == 0 and restarted.tries[1:] == [0] * (TRIES - 1) and set(statuses) == {0}
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
