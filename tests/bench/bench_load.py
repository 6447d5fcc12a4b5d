#!/usr/bin/env python3
"""attnd under load: 1, 4, 16 and 64 connections on MiniLM, answers as JSON and as base64, alone and with a foreign process that keeps one core busy.

    python3 tests/bench/bench_load.py [--peer PYTHON] [--svg tests/bench/load.svg]      needs Debian's wrk, and MiniLM (ATTND_MINILM)

The queue is long enough for all of them: by itself it holds 64, and clients of the load before that have just left count until they are missed. Prints a table and
draws the curves. All kinds of load take turns within a round; figures are medians over rounds. Beside each rate stands its ratio to the best at fewer
connections (below 1, throughput falls as load grows); beside the p99 with the foreign process its growth and that of the time a request takes on average: the
second is the lost share of the machine, and the first is to be no more.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import contextlib
import os
import statistics
import subprocess
import sys

from bench_server import HERE, ROOT, Service, minilm

CONNECTIONS = (1, 4, 16, 64)
KINDS = {  # name: (what is asked for, is a core busy, colour)
    "JSON": ({}, False, "#1f5fa8"),
    "base64": ({"encoding": "base64"}, False, "#2a8a4a"),
    "JSON, one core busy": ({}, True, "#c05020"),
}
PEER_COLOUR = "#777777"
SPIN = "while True: pass"


@contextlib.contextmanager
def busy_core(wanted):
    """A process that never sleeps, on the last of this process's CPUs."""
    if not wanted:
        yield
        return
    cpu = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", SPIN], preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(ours, peer, tokens, rounds, seconds):
    """{(name, connections): (rate, p50, p99)}, medians."""
    runs = {}
    for s in (ours, peer):
        if s:
            s.load(tokens, 4, 1)
    for _ in range(rounds):
        for connections in CONNECTIONS:
            for name, (extra, busy, _) in KINDS.items():
                ours.extra = dict({"output": ["attentions"]}, **extra)
                with busy_core(busy):
                    runs.setdefault((name, connections), []).append(ours.load(tokens, connections, seconds))
            if peer:
                runs.setdefault((peer.name, connections), []).append(peer.load(tokens, connections, seconds))
    return {key: tuple(statistics.median(r[i] for r in rs) for i in range(3)) for key, rs in runs.items()}


def table(tokens, results, names):
    print(f"T={tokens}\n| load | connections | requests/s | to the best at fewer | p50, ms | p99, ms | with one core busy: p99 | mean |\n|---|---|---|---|---|---|---|---|")
    for name in names:
        best = 0.0
        for c in CONNECTIONS:
            rate, p50, p99 = results[name, c]
            ratio = f"{rate / best:.2f}" if best else ""
            growth = ["", ""]
            if KINDS.get(name, ({}, False))[1]:
                alone = results["JSON", c]
                growth = [f"{p99 / alone[2]:.2f}", f"{alone[0] / rate:.2f}"]
            print(f"| {name} | {c} | {rate:.1f} | {ratio} | {p50:.2f} | {p99:.2f} | {growth[0]} | {growth[1]} |")
            best = max(best, rate)
    sys.stdout.flush()


# ---- the picture ----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 320, 220, 60, 40, 50, 60


def panel(at, tokens, results, curves):
    """One size: requests/s over connections, each on a scale of its own."""
    x0, step = at + LEFT, (WIDTH - 40) / (len(CONNECTIONS) - 1)
    top = max(rate for (_, _), (rate, _, _) in results.items()) * 1.1
    x = lambda i: x0 + 20 + i * step
    y = lambda rate: TOP + HEIGHT - HEIGHT * rate / top
    out = [f'<text x="{x0}" y="{TOP - 12}" font-size="14">MiniLM, {tokens} tokens: requests/s over connections</text>']
    out.append(f'<path d="M{x0} {TOP}V{TOP + HEIGHT}H{x0 + WIDTH}" fill="none" stroke="#333"/>')
    for part in range(5):
        rate = top * part / 5
        out.append(f'<text x="{x0 - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:.0f}</text><path d="M{x0} {y(rate):.1f}h{WIDTH}" stroke="#ddd"/>')
    for i, c in enumerate(CONNECTIONS):
        out.append(f'<text x="{x(i):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{c}</text>')
    for name, colour in curves:
        points = " ".join(f"{x(i):.1f},{y(results[name, c][0]):.1f}" for i, c in enumerate(CONNECTIONS))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join(out)


def draw(path, by_size, curves):
    width, height = (LEFT + WIDTH + GAP) * len(by_size), TOP + HEIGHT + BOTTOM
    parts = [panel(i * (LEFT + WIDTH + GAP), tokens, results, curves) for i, (tokens, results) in enumerate(by_size.items())]
    for i, (name, colour) in enumerate(curves):
        parts.append(f'<path d="M{LEFT + i * 160} {height - 12}h20" stroke="{colour}" stroke-width="2"/><text x="{LEFT + 26 + i * 160}" y="{height - 8}">{name}</text>')
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n<!-- drawn by bench_load.py; SPDX-License-Identifier: Apache-2.0 -->\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(ROOT, "build/release/attnd"))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=2)
    ap.add_argument("--tokens", type=int, nargs="*", default=[16, 128])
    ap.add_argument("--peer", help="python of an environment with requirements.txt")
    ap.add_argument("--svg")
    a = ap.parse_args()
    folder = minilm()
    ours = Service("attnd", [a.program, "--port", "9012", "--log-level", "warn", "--queue", "256", "--model", "minilm=" + folder], 9012, "/v1/attention", {})
    peer = None
    try:
        if a.peer:
            command = [a.peer, os.path.join(HERE, "peer.py"), folder, "--port", "9011", "--threads", "1", "--workers", "2"]
            peer = Service("peer", command, 9011, "/attention", {})
        names = list(KINDS) + (["peer"] if peer else [])
        by_size = {}
        for tokens in a.tokens:
            by_size[tokens] = measure(ours, peer, tokens, a.rounds, a.seconds)
            table(tokens, by_size[tokens], names)
        if a.svg:
            draw(a.svg, by_size, [(n, k[2]) for n, k in KINDS.items()] + ([("peer", PEER_COLOUR)] if peer else []))
    finally:
        for s in (ours, peer):
            if s:
                s.stop()


if __name__ == "__main__":
    main()
