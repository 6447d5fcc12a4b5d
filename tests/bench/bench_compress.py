#!/usr/bin/env python3
"""Fetches answers of a model in several forms from a server of its own and runs bench_compress on them.

    python3 tests/bench/bench_compress.py [--model SOURCE] [--tokens 16 128]      after `make all benches`; the built-in model without --model

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = "the old house on hill was very quiet when we came back home again last night and".split()
FORMS = {
    "shortest": {},
    "decimals 4": {"decimals": 4},
    "json of float16": {"dtype": "float16"},
    "base64 float32": {"encoding": "base64"},
    "base64 float16": {"encoding": "base64", "dtype": "float16"},
    "base64 uint8": {"encoding": "base64", "dtype": "uint8"},
    "top_k 8": {"top_k": 8},
    "context": {"output": ["context"]},
}


def start(program, model):
    command = [program, "--port", "0", "--log-level", "warn"] + (["--model", "it=" + model] if model else [])
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    for line in process.stderr:
        found = re.search(rb"listening on (http://.*:\d+)$", line.rstrip())
        if found:
            return process, found[1].decode()
    raise RuntimeError("the server did not start")


def fetch(url, tokens, form):
    body = dict({"text": " ".join(WORDS[i % len(WORDS)] for i in range(tokens - 2)), "output": ["attentions"]}, **form)
    request = urllib.request.Request(url + "/v1/attention", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", default=os.path.join(ROOT, "build/release/attnd"))
    ap.add_argument("--bench", default=os.path.join(ROOT, "build/release/tests/bench/bench_compress"))
    ap.add_argument("--model")
    ap.add_argument("--tokens", type=int, nargs="*", default=[16, 128])
    a = ap.parse_args()
    process, url = start(a.program, a.model)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        try:
            for tokens in a.tokens:
                for name, form in FORMS.items():
                    paths.append(os.path.join(folder, f"T={tokens} {name}"))
                    with open(paths[-1], "wb") as f:
                        f.write(fetch(url, tokens, form))
        finally:
            process.terminate()
            process.wait(60)
        subprocess.run([a.bench, *paths], check=True)


if __name__ == "__main__":
    main()
