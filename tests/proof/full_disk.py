#!/usr/bin/env python3
"""A disk that is full, at each call in turn with which a download makes, writes or renames something in the hub's cache: with faults.c preloaded.

    python3 tests/proof/full_disk.py [--program build/release/attnd]

Once the call fails, once it writes half and the next one fails. Each time attnd ends with one line that names the model and says what the system said, or does
without what could not be written and loads the model; and then, with room, the same cache is made whole: the files of the hub, byte for byte, and nothing else.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile

import faults
import proof

sys.path.insert(0, os.path.join(proof.ROOT, "tests/http"))
from fake_hub import Hub, files_of  # noqa: E402

REFUSED = r"attnd: --model org/bert: .*No space left on device"


def check(program, hub, home, environment):
    """(status, lines of stderr) of attnd --check"""
    done = subprocess.run([program, "--check", "--model", "org/bert"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, env=hub.environment(home, **environment))
    return done.returncode, done.stderr.decode("utf-8", "replace").splitlines()


def what_is_amiss(home, commit, files):
    """Of the cache, in words, or None."""
    model = os.path.join(home, "hub/models--org--bert")
    snapshot = os.path.join(model, "snapshots", commit)
    for name in os.listdir(snapshot):
        with open(os.path.join(snapshot, name), "rb") as f:
            if f.read() != files[name]:
                return f"{name} has other bytes"
    with open(os.path.join(model, "refs/main")) as f:
        if f.read() != commit:
            return "refs/main is not the commit"
    strange = [n for _, _, names in os.walk(model) for n in names if n.endswith((".incomplete", ".tmp"))]
    return f"left over: {strange}" if strange else None


def fail_call(program, library, hub, commit, files, wishes):
    """(which call failed or None, whether attnd did without, what is wrong or None)"""
    with tempfile.TemporaryDirectory() as home:
        status, said = check(program, hub, home, {"LD_PRELOAD": library, "ATTND_FAULTS": wishes})
        hit = [line[7:] for line in said if line.startswith("fault: ")]
        errors = [line for line in said if line.startswith("attnd: ")]
        wrong = None
        if status not in (0, 1) or status != len(errors) or errors and not re.match(REFUSED, errors[0]):
            wrong = f"ended with {status}: {said}"
        again, said = check(program, hub, home, {})
        if again != 0:
            wrong = wrong or f"with room it ended with {again}: {said}"
        return hit[0] if hit else None, status == 0, wrong or what_is_amiss(home, commit, files)


def fail_each_call(program, library, hub, commit, files, how):
    """Whether all went well."""
    calls, without, wrong = collections.Counter(), 0, 0
    while True:
        n = calls.total() + 1
        call, went_on, amiss = fail_call(program, library, hub, commit, files, f"file={n}{how}")
        if amiss:
            wrong += 1
            print(f"call {n}, {call}: {amiss}")
        if not call:
            break
        calls[call] += 1
        without += went_on
    print(f"{'half, then full' if how else 'full'}: {calls.total()} calls in turn ({', '.join(f'{c} {k}' for k, c in sorted(calls.items()))}); "
          f"{calls.total() - without} refused by name, {without} done without", flush=True)
    return wrong == 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(proof.ROOT, "build/release/attnd"))
    a = ap.parse_args()
    files, hub, fine = files_of("bert"), Hub(), True
    commit = hub.add("org/bert", "main", files)
    with tempfile.TemporaryDirectory() as folder:
        library = faults.build(folder)
        for how in ("", ",half"):
            fine &= fail_each_call(a.program, library, hub, commit, files, how)
    hub.stop()
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
