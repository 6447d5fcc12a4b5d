#!/usr/bin/env python3
"""Fuzzing at length: each parser for 20 CPU-minutes, the request reader and safetensors for two CPU-hours, one a core; what is found new joins the corpus.

    make proof-fuzzing                                        builds the targets (clang, libFuzzer, with AddressSanitizer and UBSan) and runs this
    python3 tests/proof/fuzzing.py [--minutes 20] [--long 120] [--lanes CORES] [--keep] [NAME ...]

A target stops at its first finding, which lies in build/fuzz/found/NAME/ then. --keep adds to the named files of tests/fuzz/corpus/NAME the fewest of those
without a name, new and old, that reach the same code (edges, not how often each is passed). Fails (exit status 1) on a finding.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import proof

LONG = ("request", "safetensors")
INTERRUPTED = 72  # libFuzzer's status after SIGINT
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def command(name, *options):
    return [f"build/fuzz/tests/fuzz/fuzz_{name}", "-rss_limit_mb=3000", "-timeout=25", "-verbosity=0", f"-artifact_prefix=build/fuzz/found/{name}/", *options]


def fuzz(name, minutes):
    """(name, CPU-minutes, runs, findings)"""
    found = f"build/fuzz/found/{name}"
    os.makedirs(found, exist_ok=True)
    before = set(os.listdir(found))
    with open(f"build/fuzz/{name}.log", "wb") as log:
        target = subprocess.Popen(command(name, "-print_final_stats=1", found, f"tests/fuzz/corpus/{name}"), stdout=log, stderr=log)
        spent = 0
        while target.poll() is None and spent < minutes * 60:
            time.sleep(1)
            spent = max(spent, cpu_seconds(target.pid))
        target.send_signal(signal.SIGINT)
        status = target.wait()
    with open(log.name, errors="replace") as f:
        runs = re.search(r"number_of_executed_units: *(\d+)", f.read())
    findings = [file for file in set(os.listdir(found)) - before if re.match(r"(crash|leak|oom|timeout)-", file)]
    if status != INTERRUPTED and not findings:
        findings = [f"ended with {status}, see {log.name}"]
    return name, spent / 60, int(runs[1]) if runs else 0, findings


def keep(name):
    """How many files the corpus has then."""
    corpus, least = f"tests/fuzz/corpus/{name}", f"build/fuzz/least/{name}"
    shutil.rmtree(least, ignore_errors=True)
    shutil.copytree(corpus, least, ignore=lambda _, files: [f for f in files if re.fullmatch("[0-9a-f]{40}", f)])
    subprocess.run(command(name, "-set_cover_merge=1", "-use_counters=0", least, corpus, f"build/fuzz/found/{name}"), check=True, capture_output=True)
    shutil.rmtree(corpus)
    shutil.copytree(least, corpus)
    return len(os.listdir(corpus))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--minutes", type=float, default=20)
    ap.add_argument("--long", type=float, default=120)
    ap.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--keep", action="store_true")
    ap.add_argument("names", nargs="*")
    a = ap.parse_args()
    os.chdir(proof.ROOT)
    names = a.names or sorted((os.path.basename(p)[5:-2] for p in glob.glob("tests/fuzz/fuzz_*.c")), key=lambda n: n not in LONG)
    fine = True
    with concurrent.futures.ThreadPoolExecutor(a.lanes) as lanes:
        for done in concurrent.futures.as_completed(lanes.submit(fuzz, n, a.long if n in LONG else a.minutes) for n in names):
            name, minutes, runs, findings = done.result()
            kept = f"; {keep(name)} files in its corpus" if a.keep and not findings else ""
            print(f"{name:16} {minutes:6.1f} CPU-minutes, {runs:11} runs: {', '.join(findings) or 'nothing found'}{kept}", flush=True)
            fine = fine and not findings
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
