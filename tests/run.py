#!/usr/bin/env python3
"""Runs every test program and adds up what they say; ends in "N passed, N failed, N skipped", and fails when anything did.

    python3 tests/run.py [--quick] [NAME ...]     from the root of the repository, after `make check` has built everything

NAMEs pick the steps whose name contains one of them. --quick leaves the sanitizer builds out.
A step that says nothing of its tests, or crashes, or takes too long, has failed. What is skipped is named, and with CI=true nothing may be.
SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time

SANITIZE = {
    "CK_FORK": "no",
    "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "allocator_may_return_null=1:halt_on_error=1",
}
HTTP = sorted(p for p in glob.glob("tests/http/test_*.py"))
THREADED = ["test_pool", "test_jobs", "test_analysis_maps", "test_pooled_errors", "test_draw_fonts"]  # units built for tsan by `make check`
ALONE = re.compile(r"layers|generated|snippets|unit/test_(pool|jobs|tokenizer_costs)$|http/test_(slow_readers|steady_slow)")  # those that time something, or load the machine
UNDER_ASAN = [p for p in HTTP if not p.endswith("_slow.py")]
ONCE = ("test_hub.py", "test_hostile_models.py")  # long, and the same in every build: a whole run has them under asan alone
MEASURING = ("test_tokenizer_bounds.c", "test_tokenizer_costs.c")  # what memory and time the release build takes
# Suites of many requests at a time; what one request after the other shows is looked at under asan.
UNDER_TSAN = ["tests/http/test_" + name + ".py" for name in ("compression", "keys", "mixed", "pool", "seq2seq", "server", "tls", "unix_socket")]


def steps(quick):
    """(name, command, environment, seconds) of everything there is to run."""
    yield "layers", ["tests/layers/layers.sh"], {}, 60
    yield "generated files", ["tests/layers/generated.sh"], {}, 60
    for program in sorted(glob.glob("tests/unit/test_*.c") + glob.glob("tests/oom/*.c")):
        yield program[6:-2], ["build/release/" + program[:-2]], {}, 300
    for script in [p for p in HTTP if quick or not p.endswith(ONCE)]:
        yield "release " + script[6:], ["python3", script, "build/release/attnd"], {}, 300
    yield "snippets of the README", ["tests/snippets/test_readme.py", "build/release/attnd"], {}, 300
    if quick:
        return
    for program in [p for p in sorted(glob.glob("tests/unit/test_*.c") + glob.glob("tests/oom/*.c")) if not p.endswith(MEASURING)]:
        yield "asan " + program[6:-2], ["build/asan/" + program[:-2]], SANITIZE, 600
    for target in sorted(glob.glob("tests/fuzz/fuzz_*.c")):
        name = os.path.basename(target)[5:-2]
        yield "asan fuzz replay " + name, ["build/asan/" + target[:-2]] + sorted(glob.glob(f"tests/fuzz/corpus/{name}")), SANITIZE, 300
    for script in UNDER_ASAN:
        yield "asan " + script[6:], ["python3", script, "build/asan/attnd"], SANITIZE, 600
    for name in THREADED:
        yield "tsan unit/" + name, ["build/tsan/tests/unit/" + name], SANITIZE, 300
    for script in UNDER_TSAN:
        yield "tsan " + script[6:], ["python3", script, "build/tsan/attnd"], SANITIZE, 600


def tally(output):
    """(passed, failed, skipped) as Check, unittest or our own programs say, or None."""
    found = re.findall(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", output)
    if found:
        total, failed = sum(int(f[0]) for f in found), sum(int(f[1]) + int(f[2]) for f in found)
        return total - failed, failed, len(re.findall(r"^SKIPPED", output, re.M))
    found = re.search(r"^Ran (\d+) tests?", output, re.M)
    if found:
        count = {k: int(n) for k, n in re.findall(r"(failures|errors|skipped)=(\d+)", output)}
        failed, skipped = count.get("failures", 0) + count.get("errors", 0), count.get("skipped", 0)
        return int(found[1]) - failed - skipped, failed, skipped
    found = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", output, re.M)
    if found:
        return tuple(sum(int(f[i] or 0) for f in found) for i in range(3))
    return None


def run(command, environment, seconds):
    try:
        done = subprocess.run(command, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return -1, (late.stdout or b"").decode("utf-8", "replace") + f"\nnot done after {seconds} s"
    except OSError as gone:
        return -1, str(gone)


def timed(step):
    """(step, status, output, seconds it took)"""
    begin = time.monotonic()
    return step, *run(*step[1:]), time.monotonic() - begin


def spread(steps):
    """Programs and suites of Python's evenly among each other: suites wait for most of the time, and programs compute meanwhile."""
    kinds = [[s for s in steps if (s[1][0] == "python3") == suite] for suite in (False, True)]
    return [step for *_, step in sorted((i / len(kind), step[0], step) for kind in kinds for i, step in enumerate(kind))]


def results(wanted):
    """Each step's. First what must be alone; then the others side by side, three for every two cores."""
    alone = [step for step in wanted if ALONE.search(step[0])]
    yield from map(timed, alone)
    cores = len(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(cores + cores // 2) as lanes:
        begun = {step[0]: lanes.submit(timed, step) for step in spread([s for s in wanted if s not in alone])}
        yield from (begun[step[0]].result() for step in wanted if step[0] in begun)


def main(arguments):
    quick = "--quick" in arguments
    names = [a for a in arguments if a != "--quick"]
    totals, bad = [0, 0, 0], []
    wanted = [step for step in steps(quick) if not names or any(n in step[0] for n in names)]
    for (name, *_), status, output, took in results(wanted):
        counts = tally(output) or (0, 0, 0)
        if os.environ.get("CI") and counts[2]:
            status = status or -1
        if (status != 0 or sum(counts) == 0) and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        totals = [a + b for a, b in zip(totals, counts)]
        mark = "ok  " if counts[1] == 0 else "FAIL"
        print(f"{mark} {name:44} {counts[0]:6} passed {counts[1]:3} failed {counts[2]:3} skipped {took:7.1f} s", flush=True)
        if counts[1]:
            bad.append(name)
            print("\n".join("     | " + line for line in output.splitlines()[-60:]), flush=True)
        elif counts[2]:
            print("\n".join("     | " + line for line in output.splitlines() if "skip" in line.lower()), flush=True)
    if bad:
        print("failed: " + ", ".join(bad))
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if bad or totals[0] == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
