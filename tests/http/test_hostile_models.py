#!/usr/bin/env python3
"""Damaged models before the program itself: `attnd --check` answers each with one line on standard error and status 1, never with a signal, soon, and in little memory.

What each fault is called is tests/unit/test_broken_models.c's; here every family of tests/golden/models meets the faults that only a real file system or a real
process has, and a few of each other kind.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import harness


def families():
    """The first model of each model_type."""
    found = {}
    for path in sorted(glob.glob(os.path.join(harness.ROOT, "tests/golden/models/*/model.safetensors"))):
        folder = os.path.dirname(path)
        with open(os.path.join(folder, "config.json")) as f:
            found.setdefault(json.load(f)["model_type"], folder)
    return found


class Model:
    """A folder with links to a model's files, of which some are changed."""

    def __init__(self, folder, into):
        self.path = os.path.join(into, "model")
        shutil.rmtree(self.path, ignore_errors=True)
        os.mkdir(self.path)
        for name in os.listdir(folder):
            if name != "golden.json":
                shutil.copy(os.path.join(folder, name), self.path)

    def file(self, name):
        return os.path.join(self.path, name)

    def write(self, name, data):
        with open(self.file(name), "wb") as f:
            f.write(data)

    def config(self, **changes):
        with open(self.file("config.json")) as f:
            config = json.load(f)
        config.update(changes)
        self.write("config.json", json.dumps(config).encode())

    def weights(self, change):
        """`change` is given the header; data stays."""
        with open(self.file("model.safetensors"), "rb") as f:
            data = f.read()
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        text = change(header) or json.dumps(header)
        self.write("model.safetensors", struct.pack("<Q", len(text)) + text.encode() + data[8 + length :])


def tensors(header):
    return [name for name in header if name != "__metadata__"]


def needed(header):
    """The name of some tensor that no model of this kind can do without."""
    return min(name for name in tensors(header) if ".0." in name and name.endswith(".weight"))


def first(header):
    return header[needed(header)]


def overlap(header):
    a, b = sorted(tensors(header), key=lambda name: header[name]["data_offsets"])[:2]
    size = header[b]["data_offsets"][1] - header[b]["data_offsets"][0]
    header[b]["data_offsets"] = [header[a]["data_offsets"][0], header[a]["data_offsets"][0] + size]


def replace(name, make):
    def change(model):
        os.remove(model.file(name))
        make(model.file(name))

    return change


def sparse(name, size):
    return lambda model: os.truncate(model.file(name), size)


def shards(*entries):
    def change(model):
        os.rename(model.file("model.safetensors"), model.file("a.safetensors"))
        model.write("model.safetensors.index.json", json.dumps({"weight_map": dict(entries)}).encode())

    return change


def weights(change):
    return lambda model: model.weights(change)


def entry(**values):
    return weights(lambda header: first(header).update(values))


FAULTS = {
    "no config": lambda m: os.remove(m.file("config.json")),
    "config is a folder": replace("config.json", os.mkdir),
    "config is a pipe": replace("config.json", os.mkfifo),
    "config links to itself": replace("config.json", lambda path: os.symlink(path, path)),
    "config is a device": replace("config.json", lambda path: os.symlink("/dev/zero", path)),
    "config is a terabyte": sparse("config.json", 1 << 40),
    "config is deep": lambda m: m.write("config.json", b'{"a":' * 100000),
    "config has a key twice": lambda m: m.write("config.json", b'{"model_type":"bert","model_type":"bert"}'),
    "config has NUL in a key": lambda m: m.write("config.json", b'{"a\\u0000b":1}'),
    "config is no text": lambda m: m.write("config.json", bytes(range(256)) * 100),
    "family of an ESC": lambda m: m.config(model_type="\x1b[31m\n\r\x00"),
    "family is a number": lambda m: m.config(model_type=7),
    "weights are a pipe": replace("model.safetensors", os.mkfifo),
    "weights are a folder": replace("model.safetensors", os.mkdir),
    "weights are a terabyte": sparse("model.safetensors", 1 << 40),
    "weights are empty": sparse("model.safetensors", 0),
    "weights are cut off": lambda m: os.truncate(m.file("model.safetensors"), os.path.getsize(m.file("model.safetensors")) - 1),
    "header without end": lambda m: m.write("model.safetensors", struct.pack("<Q", (1 << 64) - 1) + b"{" * 1000),
    "header deep": lambda m: m.write("model.safetensors", struct.pack("<Q", 600000) + b'{"a":' * 120000),
    "header of zeros": lambda m: m.write("model.safetensors", struct.pack("<Q", 40000005) + b'{"a":[' + b"0," * 20000000),
    "tensors overlap": weights(overlap),
    "tensor named with NUL": weights(lambda h: json.dumps(h).replace('{"', '{"a\\u0000', 1)),
    "tensor named with ESC": weights(lambda h: json.dumps(h).replace('"shape"', '"\\u001b[31m\\n"', 1)),
    "tensor twice": weights(lambda h: json.dumps(h)[:-1] + "," + json.dumps({k: h[k] for k in tensors(h)[:1]})[1:]),
    "tensor missing": weights(lambda h: json.dumps(h).replace('"' + needed(h) + '"', '"nothing"')),
    "tensor of integers": weights(lambda h: json.dumps(h).replace('"BF16"', '"I16"').replace('"F16"', '"I16"').replace('"F32"', '"I32"')),
    "tensor of 2^62": entry(shape=[1 << 31, 1 << 31]),
    "tensor of -1": entry(shape=[-1]),
    "tensor beyond the end": entry(data_offsets=[0, 1 << 50]),
    "shard outside": shards(("a", "../a.safetensors")),
    "shard at the root": shards(("a", "/etc/passwd")),
    "shard missing": shards(("a", "b.safetensors")),
    "shard is the index": shards(("a", "model.safetensors.index.json")),
    "shard without the tensor": shards(("a", "a.safetensors")),
    "tokenizer is a pipe": lambda m: os.path.exists(m.file("tokenizer.json")) and os.remove(m.file("tokenizer.json")) or os.mkfifo(m.file("tokenizer.json")),
    "tokenizer is a terabyte": lambda m: (m.write("tokenizer.json", b"{"), os.truncate(m.file("tokenizer.json"), 1 << 40)),
    "tokenizer is deep": lambda m: m.write("tokenizer.json", b"[" * 1000000),
    "a pickle": lambda m: os.rename(m.file("model.safetensors"), m.file("pytorch_model.bin")),
}


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Hostile(unittest.TestCase):
    def check(self, folder, what, without=()):
        """The one line of a refusal, without its beginning; `without` stands before the program."""
        begin = time.monotonic()
        process = subprocess.Popen(
            [*without, harness.PROGRAM, "--check", "--threads", "1", "--model", "hostile=" + folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=limit,
        )
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, (what, err))
        self.assertEqual(out, b"", what)
        self.assertEqual(err.count(b"\n"), 1, (what, err))
        self.assertTrue(err.startswith(b"attnd: --model hostile=") and len(err) < 1000, (what, err))
        self.assertFalse([c for c in err[:-1] if c < 32 or c == 127], (what, err))
        self.assertLess(time.monotonic() - begin, 20, what)
        return err.decode("utf-8", "replace")

    def test_every_fault_of_every_family_is_answered_with_one_line(self):
        known = families()
        self.assertGreater(len(known), 20)
        faults = list(FAULTS.items())
        with tempfile.TemporaryDirectory() as into:
            for i, (family, folder) in enumerate(sorted(known.items())):
                for what, change in faults[i % 3 :: 3] if harness.slow_build() else faults:
                    model = Model(folder, into)
                    change(model)
                    self.check(model.path, f"{family}: {what}")
        # The greediest of all these processes.
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 1_500_000 if harness.slow_build() else 200_000)

    def test_a_model_larger_than_memory_is_refused_with_both_figures(self):
        with tempfile.TemporaryDirectory() as into:
            model = Model(families()["llama"], into)
            rows, width = 1 << 24, 8192  # 549 GB, and as much again in pages of the file
            model.config(vocab_size=rows, hidden_size=width)
            end = 0

            def grow(header):
                nonlocal end
                for name in tensors(header):
                    info = header[name]
                    if "embed_tokens" in name or "lm_head" in name:
                        info["shape"] = [rows, width]
                    elif "norm" in name or "down_proj" in name or "o_proj" in name:
                        info["shape"][0] = width
                    elif name.endswith("weight"):
                        info["shape"][1] = width
                    size = 4 * math.prod(info["shape"])
                    info.update(data_offsets=[end, end + size])
                    end += size

            model.weights(grow)
            with open(model.file("model.safetensors"), "rb") as f:
                length = struct.unpack("<Q", f.read(8))[0]
            os.truncate(model.file("model.safetensors"), 8 + length + end)
            self.assertRegex(
                self.check(model.path, "larger than memory"), r"model.safetensors: the model takes 1\d\d\d\.\d\d GB of memory, .* once packed, and \d+\.\d\d GB are free"
            )

    def test_a_file_that_may_not_be_read_is_named(self):
        powers = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []  # root may read everything
        with tempfile.TemporaryDirectory() as into:
            for name in ("config.json", "model.safetensors"):
                model = Model(families()["bert"], into)
                os.chmod(model.file(name), 0)
                self.assertIn(name + ": cannot be opened: Permission denied", self.check(model.path, name, powers))

    def test_a_tokenizer_with_ids_beyond_the_model_is_served_and_told_of_once(self):
        with tempfile.TemporaryDirectory() as into:
            model = Model(families()["bert"], into)
            with open(model.file("tokenizer.json")) as f:
                tokenizer = json.load(f)
            token = dict(tokenizer["added_tokens"][0], id=900, content="<image>", special=True)
            tokenizer["added_tokens"].append(token)
            model.write("tokenizer.json", json.dumps(tokenizer).encode())
            server = harness.Server(["--model", "more=" + model.path])
            try:
                told = [line for line in server.log if "the tokenizer has ids up to 900 and the model none from 900 on" in line]
                self.assertEqual(len(told), 1, server.log)
                status, _, body = server.request("POST", "/v1/attention", b'{"text": "a house"}', {"Content-Type": "application/json"})
                self.assertEqual(status, 200)
                status, _, body = server.request("POST", "/v1/attention", b'{"text": "a <image>"}', {"Content-Type": "application/json"})
                self.assertEqual((status, json.loads(body)["code"], json.loads(body)["pointer"]), (422, "token_id_out_of_range", "/text"))
                self.assertIn("the tokenizer gives id 900, and model more has 900", json.loads(body)["detail"])
            finally:
                server.stop()


if __name__ == "__main__":
    harness.main()
