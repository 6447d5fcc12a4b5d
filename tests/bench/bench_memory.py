#!/usr/bin/env python3
"""Memory of the real server beside the weights, and its start: resident bytes idle, after requests of 16, 128 and 512 tokens, and after 64 clients at a time.

    python3 tests/bench/bench_memory.py PROGRAM [--model NAME=SOURCE]...          standard library only

"beside" is what is resident less the packed weights of the models that were asked (memory_bytes in /v1/models); without --model the others are not packed yet. VmHWM is the most there ever was. Clients read the
whole answer at once, so that none of it waits in the server. The start is measured five times: from exec to the first answer of /healthz, and to that
of a first sentence, which is also given in processor time: on a machine that others use, that is what a start costs.
SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

CLIENTS, STARTS, MIB = 64, 5, 1 << 20
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
BASE = f"http://127.0.0.1:{PORT}"


def get(path):
    return json.load(urllib.request.urlopen(BASE + path, timeout=60))


def attend(model, tokens):
    body = json.dumps({"model": model, "text": "a " * (tokens - 2)}).encode()
    request = urllib.request.Request(BASE + "/v1/attention", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return len(answer.read())


def start(command):
    """The program, the seconds until it answered at all, until it had answered a sentence, and those it had a processor."""
    began = time.monotonic()
    server = subprocess.Popen(command + ["--port", str(PORT), "--log-level", "error"], stdout=subprocess.DEVNULL)
    while True:
        try:
            get("/healthz")
            break
        except urllib.error.HTTPError:
            raise
        except OSError:
            if server.poll() is not None:
                sys.exit("the server did not start")
            time.sleep(0.001)
    listening = time.monotonic() - began
    attend(get("/v1/models")["models"][0]["name"], 8)
    first = time.monotonic() - began
    busy = 0
    for task in os.listdir(f"/proc/{server.pid}/task"):
        with open(f"/proc/{server.pid}/task/{task}/schedstat") as f:
            busy += int(f.read().split()[0]) * 1e-9
    return server, listening, first, busy


def stop(server):
    server.terminate()
    server.wait(timeout=30)


def memory(server):
    with open(f"/proc/{server.pid}/status") as f:
        lines = dict(line.split(":", 1) for line in f)
    return {key: int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "RssAnon", "RssFile", "VmHWM")}


def row(server, what, models):
    m, weights = memory(server), sum(model["memory_bytes"] for model in models)
    figures = [m["VmRSS"], weights, m["VmRSS"] - weights, m["RssAnon"] - weights, m["RssFile"], m["VmHWM"]]
    print(f"| {what} | " + " | ".join(f"{x / MIB:.1f}" for x in figures) + " |", flush=True)


def main():
    command = sys.argv[1:]
    times = []
    for _ in range(STARTS):
        server, *took = start(command)
        times.append(took)
        stop(server)
    for name, which in (("listening", 0), ("first answer", 1), ("processor time until then", 2)):
        took = sorted(t[which] * 1e3 for t in times)
        print(f"{name}: {took[0]:.0f} ms at best, {took[len(took) // 2]:.0f} at the median of {STARTS} starts")
    print("\n| MiB | resident | weights | beside | of that anonymous | files' pages | most ever resident |\n|---|---|---|---|---|---|---|")
    server, *_ = start(command)
    try:
        table(server, command)
    finally:
        stop(server)


def table(server, command):
    models = get("/v1/models")["models"]
    asked = models if "--model" in command else models[:1]
    row(server, "idle, one answer of 8 tokens given", asked)
    for tokens in (16, 128, min(512, models[0]["max_tokens"])):
        for _ in range(3):
            size = attend(models[0]["name"], tokens)
        row(server, f"{tokens} tokens, answers of {size / MIB:.1f}", asked)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for tokens in (16, 128):
            list(pool.map(lambda _, n=tokens: attend(models[0]["name"], n), range(2 * CLIENTS)))
            row(server, f"{CLIENTS} clients, {tokens} tokens", asked)
    for model in models[1:]:
        attend(model["name"], 16)
    if models[1:]:
        row(server, "every model asked", models)
    time.sleep(5)
    row(server, "5 s later", models)


if __name__ == "__main__":
    main()
