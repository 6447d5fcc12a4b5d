#!/usr/bin/env python3
"""Models by hub id: what is asked, what comes into the cache, and what goes wrong on the way. Usage: test_hub.py PATH/TO/attnd [unittest arguments]

A hub of our own (fake_hub.py) speaks the protocol; the cache it fills is then opened by Python's huggingface_hub, offline, in the interpreter that has it: this
one, HUGGINGFACE_PYTHON, or build/huggingface/bin/python (which .ci/run makes).
SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from fake_hub import MODELS, Hub, etag, files_of, git_sha1  # noqa: E402

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def hub_python():
    """An interpreter that has huggingface_hub, or None."""
    for python in (os.environ.get("HUGGINGFACE_PYTHON"), sys.executable, os.path.join(harness.ROOT, "build/huggingface/bin/python")):
        if python and os.path.exists(python) and subprocess.run([python, "-c", "import huggingface_hub"], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    return None


def respond(file, *answers, places=("hub",), method=None):
    """A fault: the first requests for `file` get these answers, one each; None: as if nothing were."""
    left = list(answers)

    def fault(request):
        if request.file != file or request.place not in places or method not in (None, request.command) or not left:
            return False
        answer = left.pop(0)
        return bool(answer) and (answer(request) or True)

    return fault


def status(code, **headers):
    return lambda request: request.answer(code, {k.replace("_", "-"): v for k, v in headers.items()}, b"<html>no</html>")


class HubCase(unittest.TestCase):
    def setUp(self):
        self.hub = Hub()
        self.addCleanup(self.hub.stop)
        self.folder = tempfile.mkdtemp(prefix="attnd-hub-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.cache = os.path.join(self.folder, "hub")

    def environment(self, **more):
        return self.hub.environment(self.folder, **more)

    def check(self, model, *options, preexec=None, **environment):
        """attnd --check --model MODEL: (status, what it says). Never a signal, and an error is one line."""
        done = subprocess.run([harness.PROGRAM, "--check", "--model", model, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              env=self.environment(**environment), preexec_fn=preexec, cwd=self.folder)
        said = done.stderr.decode("utf-8", "replace")
        self.assertIn(done.returncode, (0, 1), said)
        return done.returncode, said

    def works(self, model="org/bert", *options, **environment):
        code, said = self.check(model, *options, **environment)
        self.assertEqual(code, 0, said)
        return said

    def fails(self, *expected, model="org/bert", **environment):
        code, said = self.check(model, **environment)
        self.assertEqual(code, 1, said)
        errors = [line for line in said.splitlines() if line.startswith("attnd: ")]
        self.assertEqual(len(errors), 1, said)
        self.assertTrue(errors[0].startswith(f"attnd: --model {model}: "), said)
        for part in expected:
            self.assertRegex(errors[0], part)
        return said

    def bert(self, revision="main", name="bert", **more):
        """A model in the hub, with what nobody needs beside it."""
        files = dict(files_of(name), **{"README.md": b"# hello", "tf_model.h5": b"x" * 1000, "pytorch_model.bin": b"y" * 1000})
        files.update({k.replace("__", "."): v for k, v in more.items()})
        return self.hub.add("org/bert", revision, files)

    def path(self, *parts):
        return os.path.join(self.cache, "models--org--bert", *parts)

    def snapshot(self, commit):
        """file -> bytes of a snapshot."""
        folder, found = self.path("snapshots", commit), {}
        for file in os.listdir(folder):
            with open(os.path.join(folder, file), "rb") as f:
                found[file] = f.read()
        return found

    def read(self, *parts):
        with open(self.path(*parts), "rb") as f:
            return f.read()

    def put(self, data, *parts):
        os.makedirs(os.path.dirname(self.path(*parts)), exist_ok=True)
        with open(self.path(*parts), "wb") as f:
            f.write(data)

    def weights(self):
        data = files_of("bert")[WEIGHTS]
        return data, etag(WEIGHTS, data)


class Layout(HubCase):
    def test_a_model_comes_with_the_files_it_needs_and_no_other(self):
        commit = self.bert()
        said = self.works()
        self.assertEqual(self.snapshot(commit), files_of("bert"))
        self.assertEqual({f for _, m, f, _ in self.hub.seen if m == "GET"}, {"config.json", "tokenizer.json", WEIGHTS})
        self.assertEqual(self.hub.count("GET", "store"), 1)
        self.assertIn(commit, said)

    def test_snapshots_are_relative_links_to_blobs_named_by_their_hash(self):
        commit = self.bert()
        self.works()
        for file, data in files_of("bert").items():
            self.assertEqual(os.readlink(self.path("snapshots", commit, file)), f"../../blobs/{etag(file, data)}")
        self.assertEqual(self.read("refs", "main"), commit.encode())
        self.assertEqual(sorted(os.listdir(self.path("blobs"))), sorted(etag(f, d) for f, d in files_of("bert").items()))
        self.assertEqual(sorted(os.listdir(self.path(".no_exist", commit))), ["generation_config.json", "tokenizer_config.json"])

    def test_the_second_start_asks_once_which_commit_it_is(self):
        self.bert()
        self.works()
        self.hub.seen.clear()
        self.works()
        self.assertEqual({(p, m, f) for p, m, f, _ in self.hub.seen}, {("hub", "HEAD", "config.json"), ("small", "HEAD", "config.json")})

    def test_a_new_commit_brings_what_changed_and_shares_the_rest(self):
        first = self.bert()
        self.works()
        self.hub.seen.clear()
        config = json.loads(files_of("bert")["config.json"])
        second = self.bert(config__json=json.dumps(config, indent=3).encode())
        self.works()
        self.assertNotEqual(first, second)
        self.assertEqual({f for _, m, f, _ in self.hub.seen if m == "GET"}, {"config.json"})
        self.assertEqual(self.read("refs", "main"), second.encode())
        self.assertEqual(len(self.snapshot(first)), len(self.snapshot(second)))

    def test_shards_come_by_their_index(self):
        commit = self.bert(name="bert-sharded")
        self.works()
        self.assertEqual(self.snapshot(commit), files_of("bert-sharded"))

    def test_older_tokenizer_files_come_where_there_is_no_tokenizer_json(self):
        files = files_of("bert")
        del files["tokenizer.json"]
        vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]).encode()
        commit = self.hub.add("org/bert", "main", dict(files, **{"vocab.txt": vocabulary, "tokenizer_config.json": b'{"do_lower_case": true}', "spiece.model": b"no"}))
        self.works()
        self.assertEqual(sorted(self.snapshot(commit)), ["config.json", WEIGHTS, "tokenizer_config.json", "vocab.txt"])

    def test_a_cache_that_is_not_there_yet_is_made(self):
        self.bert()
        self.cache = os.path.join(self.folder, "deep/er/cache")
        self.works(HF_HUB_CACHE=self.cache)
        self.assertTrue(os.path.isdir(self.path("snapshots")))

    def test_a_cache_is_found_as_python_finds_it(self):
        self.bert()
        for environment, cache in (({"HF_HOME": None, "XDG_CACHE_HOME": self.folder + "/xdg"}, "xdg/huggingface/hub"),
                                   ({"HF_HOME": None, "XDG_CACHE_HOME": None, "HOME": self.folder + "/home"}, "home/.cache/huggingface/hub"),
                                   ({"HF_HOME": "~/hf", "HOME": self.folder}, "hf/hub")):
            self.works(**environment)
            self.assertTrue(os.path.isdir(os.path.join(self.folder, cache, "models--org--bert/blobs")), cache)
        self.fails("HF_HUB_CACHE", HF_HOME=None, XDG_CACHE_HOME=None, HOME=None)


class Python(HubCase):
    def python(self, code, **environment):
        python = hub_python()
        if not python:
            print("skipped for want of huggingface_hub", flush=True)
            self.skipTest("huggingface_hub")
        done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(**environment), timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def test_python_opens_offline_what_we_fetched(self):
        for name, revision in (("bert", "main"), ("bert-sharded", "refs/pr/1")):
            commit = self.bert(revision, name)
            self.works("org/bert@" + revision)
            found = self.python(f"""if True:
                import json, huggingface_hub as h
                at = dict(repo_id="org/bert", revision={revision!r})
                files = {sorted(files_of(name))!r}
                print(json.dumps([h.snapshot_download(**at, local_files_only=True), [h.try_to_load_from_cache(filename=f, **at) for f in files],
                                  h.try_to_load_from_cache(filename="generation_config.json", **at) is h._CACHED_NO_EXIST,
                                  sorted(r.commit_hash for repo in h.scan_cache_dir().repos for r in repo.revisions), [str(w) for w in h.scan_cache_dir().warnings]]))
                """, HF_HUB_OFFLINE="1")
            folder = self.path("snapshots", commit)
            self.assertEqual(found[:3], [folder, [os.path.join(folder, f) for f in sorted(files_of(name))], True])
            self.assertIn(commit, found[3])
            self.assertEqual(found[4], [])

    def test_what_python_fetched_we_use(self):
        commit = self.bert()
        self.python("import json, huggingface_hub as h\n"
                    f"print(json.dumps([h.hf_hub_download('org/bert', f) for f in {sorted(files_of('bert'))!r}]))")
        self.hub.seen.clear()
        self.works(HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.seen, [])
        self.works()
        self.assertEqual(self.hub.count("GET"), 0)
        self.assertEqual(self.read("refs", "main"), commit.encode())


class Served(HubCase):
    def test_it_is_served_by_its_id_and_shown_with_its_revision(self):
        self.bert("v1")
        server = harness.Server(["--model", "org/bert@v1", "--model", "mine=org/bert@v1"], self.environment(**{k: "" for k in ("HF_TOKEN", "http_proxy")}))
        try:
            _, _, models = server.get("/v1/models")
            self.assertEqual([(m["name"], m["source"]) for m in models["models"]], [("org/bert", "org/bert@v1"), ("mine", "org/bert@v1")])
            self.assertEqual(server.get("/v1/models/org/bert")[2]["architecture"], "BertModel")
            answer = server.attention({"model": "org/bert", "text": "a b", "output": [], "analyses": ["entropy"]})
            self.assertEqual(answer["model"]["name"], "org/bert")
        finally:
            self.assertEqual(server.stop(), 0)

    def test_a_directory_of_that_name_wins(self):
        shutil.copytree(os.path.join(MODELS, "bert"), os.path.join(self.folder, "org/bert"))
        self.works()
        self.assertEqual(self.hub.seen, [])

    def test_what_is_no_id_is_no_business_of_the_hub(self):
        for name in ("bert", "./org/bert", "/org/bert", "a/b/c", "org/../bert", "org/bert@", "org/bert@../x", "-org/bert", "org/.bert", "org/be--rt", "org/b.git"):
            with self.subTest(name):
                code, said = self.check("name=" + name)
                self.assertEqual(code, 1)
                self.assertIn("cannot be opened", said)
        self.assertEqual(self.hub.seen, [])


class Revisions(HubCase):
    def test_branch_tag_pull_request_and_commit(self):
        commit = self.bert()
        for revision in ("v1.0", "feature/x", "refs/pr/7"):
            self.hub.refs["org/bert", revision] = commit
            self.works("org/bert@" + revision)
            self.assertEqual(self.read("refs", revision), commit.encode())
        self.works("org/bert@" + commit)
        self.assertEqual(sorted(os.listdir(self.path("refs"))), ["feature", "refs", "v1.0"])
        self.assertEqual(self.hub.count("GET", "store"), 1)

    def test_a_commit_that_is_known_whole_is_not_asked_for(self):
        commit = self.bert()
        self.works("org/bert@" + commit)
        self.hub.seen.clear()
        self.works("org/bert@" + commit)
        self.assertEqual(self.hub.seen, [])

    def test_two_revisions_live_side_by_side(self):
        first, second = self.bert("v1"), self.bert("v2", "bert-odd")
        self.works("org/bert@v1")
        self.works("org/bert@v2")
        self.assertEqual(self.snapshot(first)[WEIGHTS], files_of("bert")[WEIGHTS])
        self.assertEqual(self.snapshot(second)[WEIGHTS], files_of("bert-odd")[WEIGHTS])


class Refused(HubCase):
    def test_no_such_model_revision_or_file(self):
        self.fails("no model org/none", "404", model="org/none")
        self.bert()
        self.fails('no revision "v9" of org/bert', model="org/bert@v9")
        self.fails("revision", model="org/bert@" + "0" * 40)
        self.hub.add("org/gguf", "main", {"model.gguf": b"GGUF"})
        self.fails("config.json", "no such file", model="org/gguf")
        self.hub.add("org/empty", "main", {"config.json": b"{}"})
        self.fails("model.safetensors", "index", model="org/empty")
        self.assertFalse(os.path.exists(os.path.join(self.cache, "models--org--none")))

    def test_a_refusal_is_not_outlived_by_the_cache(self):
        self.bert()
        self.works()
        files = files_of("bert")
        del files[WEIGHTS]
        self.hub.add("org/bert", "main", files)
        self.fails("model.safetensors: is not among the files")
        self.hub.add("org/bert", "main", dict(files, **{"pytorch_model.bin": b"x"}))
        self.fails("pickle")
        del self.hub.models["org/bert"]
        self.fails("no model org/bert")

    def test_only_a_hubs_own_404_is_remembered(self):
        commit = self.bert()
        self.hub.faults.append(respond("tokenizer.json", status(404)))
        self.works()
        self.assertNotIn("tokenizer.json", os.listdir(self.path(".no_exist", commit)))
        self.works()
        self.assertEqual(self.snapshot(commit), files_of("bert"))

    def test_a_gated_model_wants_a_token(self):
        self.bert()
        self.hub.gated["org/bert"] = "hf_right"
        self.fails("401", "HF_TOKEN", "gated")
        said = self.fails("403", "conditions", HF_TOKEN="hf_wrong")
        self.assertNotIn("hf_wrong", said)
        self.works(HF_TOKEN=" hf_right\n")

    def test_a_token_is_found_where_python_looks(self):
        self.bert()
        self.hub.gated["org/bert"] = "hf_file"
        with open(os.path.join(self.folder, "token"), "w") as f:
            f.write("hf_file\n")
        self.works()
        shutil.rmtree(self.cache)
        self.fails("403", HF_TOKEN="hf_wrong")
        self.fails("401", HF_TOKEN_PATH=self.folder + "/none")
        os.rename(os.path.join(self.folder, "token"), os.path.join(self.folder, "other"))
        self.works(HF_TOKEN_PATH="~/other", HOME=self.folder)
        self.works(HUGGING_FACE_HUB_TOKEN="hf_file")
        self.fails("token has characters", HF_TOKEN="hf\r\nX-Evil: 1")

    def test_the_token_goes_to_the_endpoint_and_nowhere_else(self):
        self.bert(name="bert-sharded")
        self.works(HF_TOKEN="hf_secret")
        for place, method, file, request in self.hub.seen:
            self.assertEqual(request.headers.get("Authorization"), None if place == "store" else "Bearer hf_secret", (place, method, file))
        self.assertGreater(self.hub.count("GET", "store"), 1)

    def test_pickles_are_refused_with_the_command_that_converts_them(self):
        files = files_of("bert")
        del files[WEIGHTS]
        for pickle in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
            self.hub.add("org/bert", "main", dict(files, **{pickle: b"x" * 100000}))
            self.fails(pickle, "pickle", "python3 -c .*from_pretrained.*'org/bert'|python3 -c .*'org/bert'.*from_pretrained", "--model FOLDER")
        self.assertEqual(self.hub.count("GET"), 0)

    def test_sentencepiece_alone_is_refused_before_weights_come(self):
        files = files_of("bert")
        del files["tokenizer.json"]
        for name in ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"):
            self.hub.add("org/bert", "main", dict(files, **{name: b"x"}))
            self.fails(name, "sentencepiece", "python3 -c .*'org/bert'.*AutoTokenizer")
        self.assertEqual(self.hub.count("GET"), 0)

    def test_what_would_be_refused_is_so_before_weights_come(self):
        config = json.loads(files_of("bert")["config.json"])
        for file, wrong, expected in (("config.json", dict(config, model_type="mamba"), 'config.json: model_type: is "mamba", known are: '),
                                      ("config.json", dict(config, quantization_config={"bits": 4}), "config.json: quantization_config"),
                                      ("tokenizer.json", {"model": {"type": "Psychic"}}, "tokenizer.json: .*Psychic")):
            self.hub.add("org/bert", "main", dict(files_of("bert"), **{file: json.dumps(wrong).encode()}))
            self.fails(expected)
            self.assertEqual(self.hub.count("GET", "store"), 0)

    def test_an_endpoint_that_is_none(self):
        self.fails("HF_ENDPOINT", "https://", HF_ENDPOINT="ftp://127.0.0.1")
        self.fails("127.0.0.1:1 cannot be asked", HF_ENDPOINT="http://127.0.0.1:1")
        self.fails("HF_HUB_DOWNLOAD_TIMEOUT", HF_HUB_DOWNLOAD_TIMEOUT="soon")
        self.bert()
        self.hub.faults.append(lambda r: r.answer(200, {}, b"<html>log in to the hotel</html>") or True)
        self.fails("X-Repo-Commit")


class Offline(HubCase):
    def test_offline_uses_what_is_there_and_asks_nothing(self):
        commit = self.bert()
        self.fails("HF_HUB_OFFLINE", "no complete snapshot of org/bert", 'revision "main"', HF_HUB_OFFLINE="1")
        self.works()
        self.hub.seen.clear()
        self.works(HF_HUB_OFFLINE="True")
        self.works("org/bert@" + commit, HF_HUB_OFFLINE="YES")
        self.fails("v2", model="org/bert@v2", HF_HUB_OFFLINE="1")
        self.assertEqual(self.hub.seen, [])

    def test_an_incomplete_snapshot_is_none(self):
        for file in ("config.json", INDEX, "model-00002-of-00002.safetensors"):
            commit = self.bert(name="bert-sharded")
            self.works()
            os.unlink(os.path.join(self.path("snapshots", commit), file))
            self.fails("no complete snapshot", HF_HUB_OFFLINE="1")
            self.works()

    def test_without_a_network_the_cache_serves_and_the_log_says_so(self):
        commit = self.bert()
        self.works()
        for environment, why in (({"HF_ENDPOINT": "http://127.0.0.1:1"}, "cannot be asked"), ({}, "answers 503"), ({}, "answers 401")):
            self.hub.faults[:] = [lambda request: status(int(why[-3:]))(request) or True]
            begin = time.monotonic()
            said = self.works(**environment)
            self.assertRegex(said, f"warn hub .*{why}.*in the cache is used: commit {commit}")
            self.assertLess(time.monotonic() - begin, 60 if harness.slow_build() else 5)

    def test_a_broken_update_leaves_the_snapshot_before_it_in_use(self):
        first = self.bert()
        self.works()
        self.bert(name="bert-odd")
        self.hub.faults.append(respond(WEIGHTS, *[lambda r: r.answer(200, {}, b"x" * len(files_of("bert-odd")[WEIGHTS]))] * 9, places=("store",)))
        self.assertRegex(self.works(), f"warn hub .*hash.*{first}")
        self.assertEqual(self.read("refs", "main"), first.encode())
        self.works(HF_HUB_OFFLINE="1")


class Transfer(HubCase):
    def test_busy_and_broken_endpoints_are_asked_again(self):
        self.bert()
        self.hub.faults.append(respond("config.json", status(429, Retry_After="1"), status(503), method="HEAD"))
        self.hub.faults.append(respond(WEIGHTS, status(500), lambda r: r.hang_up(), places=("store",)))
        begin = time.monotonic()
        said = self.works()
        self.assertGreater(time.monotonic() - begin, 1)
        for why in ("429", "503", "500"):
            self.assertRegex(said, f"warn hub .*answers {why}.* again in")

    def test_it_gives_up_in_the_end(self):
        self.bert()
        self.hub.faults.append(lambda request: status(502)(request) or True)
        self.fails("config.json", "answers 502")
        self.assertEqual(self.hub.count("HEAD"), 5)

    def test_a_body_cut_short_is_gone_on_with(self):
        self.bert()
        data, _ = self.weights()

        def cut(request):
            request.answer(200, {}, data[: len(data) // 2], length=len(data))
            request.hang_up()

        self.hub.faults.append(respond(WEIGHTS, cut, places=("store",)))
        said = self.works()
        self.assertIn(f"broke off after {len(data) // 2} of {len(data)} bytes", said)
        self.assertEqual([r.range_start() for p, m, _, r in self.hub.seen if p == "store" and m == "GET"], [None, len(data) // 2])

    def test_a_body_that_stays_short_is_an_error_with_both_lengths(self):
        self.bert()
        data, name = self.weights()
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(200, {}, data[:1000]) or True))
        self.fails(WEIGHTS, f"ended after 1000 of {len(data)} bytes")
        self.assertEqual(os.path.getsize(self.path("blobs", name + ".incomplete")), 1000)
        self.assertFalse(os.path.exists(self.path("refs/main")))
        self.hub.faults.clear()
        self.works()

    def test_a_stalled_body_is_gone_on_with(self):
        self.bert()
        data, _ = self.weights()
        release = threading.Event()

        def stall(request):
            request.answer(200, {}, data[:100000], length=len(data))
            request.wfile.flush()
            release.wait(60)
            request.close_connection = True

        self.hub.faults.append(respond(WEIGHTS, stall, places=("store",)))
        begin = time.monotonic()
        said = self.works(HF_HUB_DOWNLOAD_TIMEOUT="1")
        release.set()
        self.assertLess(time.monotonic() - begin, 60)
        self.assertIn("broke off after 100000 of", said)

    def test_a_head_that_does_not_come_is_waited_for_as_long_as_told(self):
        self.bert()
        self.hub.faults.append(respond("config.json", lambda r: time.sleep(3), method="HEAD"))
        self.assertRegex(self.works(HF_HUB_ETAG_TIMEOUT="1"), "cannot be asked: .*; again in")

    def test_more_bytes_than_said_are_not_written(self):
        self.bert()
        data, name = self.weights()
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(200, {}, data + b"x" * 100000) or True))
        self.fails(WEIGHTS, f"more bytes come than the {len(data)}")
        self.assertLessEqual(os.path.getsize(self.path("blobs", name + ".incomplete")), len(data))

    def test_a_wrong_hash_is_an_error_with_both_hashes(self):
        self.bert()
        data, name = self.weights()
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(200, {}, bytes(len(data))) or True))
        self.fails(WEIGHTS, "hash [0-9a-f]{64}, expected was " + name)
        self.hub.faults[:] = [lambda r: r.place == "small" and r.command == "GET" and (r.answer(200, {}, b"{" * len(files_of("bert")["config.json"])) or True)]
        shutil.rmtree(self.cache)
        self.fails("config.json", "hash [0-9a-f]{40}, expected was " + git_sha1(files_of("bert")["config.json"]))
        self.assertEqual([f for f in os.listdir(self.path("blobs")) if not f.endswith(".incomplete")], [])

    def test_what_is_left_of_a_download_is_gone_on_with(self):
        data, name = self.weights()
        for left, ranges in ((data[:5000], [5000]), (data, []), (data[:-1], [len(data) - 1]), (b"", [None])):
            shutil.rmtree(self.cache, True)
            self.bert()
            self.put(left, "blobs", name + ".incomplete")
            self.hub.seen.clear()
            self.works()
            self.assertEqual([r.range_start() for p, m, _, r in self.hub.seen if p == "store"], ranges)
            self.assertFalse(os.path.exists(self.path("blobs", name + ".incomplete")))

    def test_what_is_left_and_rotten_is_fetched_anew(self):
        data, name = self.weights()
        for left in (b"x" * 5000, b"x" * len(data), data + b"x", b"x" * (len(data) - 1)):
            shutil.rmtree(self.cache, True)
            commit = self.bert()
            self.put(left, "blobs", name + ".incomplete")
            self.works()
            self.assertEqual(self.snapshot(commit)[WEIGHTS], data)

    def test_a_store_without_ranges_sends_the_whole_file(self):
        data, name = self.weights()
        self.bert()
        self.put(data[:5000], "blobs", name + ".incomplete")
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(200, {}, data) or True))
        self.works()

    def test_another_range_than_asked_for_is_refused(self):
        data, name = self.weights()
        self.bert()
        self.put(data[:5000], "blobs", name + ".incomplete")
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(206, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}, data) or True))
        self.fails("bytes from 5000 on", "bytes 0-")

    def test_two_servers_at_once_share_one_download(self):
        commit = self.bert(name="bert-sharded")
        self.hub.faults.append(lambda r: r.command == "GET" and time.sleep(0.3))
        results = []
        threads = [threading.Thread(target=lambda: results.append(self.check("org/bert"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([code for code, _ in results], [0] * 4, results)
        self.assertEqual(self.snapshot(commit), files_of("bert-sharded"))
        for file in files_of("bert-sharded"):
            self.assertLessEqual(self.hub.count("GET", "small", file) + self.hub.count("GET", "store", file), 1, file)
        self.assertEqual([f for f in os.listdir(self.path("blobs")) if f.endswith("incomplete")], [])

    def test_a_lock_that_python_holds_is_waited_for(self):
        self.bert()
        data, name = self.weights()
        path = os.path.join(self.cache, ".locks/models--org--bert", name + ".lock")
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            timer = threading.Timer(1.0, lambda: (self.put(data, "blobs", name), fcntl.flock(held, fcntl.LOCK_UN)))
            timer.start()
            said = self.works()
            timer.join()
        self.assertIn("another process downloads", said)
        self.assertEqual(self.hub.count("GET", "store"), 0)

    def test_a_download_that_is_killed_is_gone_on_with(self):
        self.bert()
        data, name = self.weights()
        release = threading.Event()

        def slow(request):
            request.answer(200, {}, data[:100000], length=len(data))
            request.wfile.flush()
            release.wait(60)

        self.hub.faults.append(respond(WEIGHTS, slow, places=("store",)))
        process = subprocess.Popen([harness.PROGRAM, "--check", "--model", "org/bert"], env=self.environment(), stderr=subprocess.DEVNULL)
        incomplete = self.path("blobs", name + ".incomplete")
        while not (os.path.exists(incomplete) and os.path.getsize(incomplete) == 100000):
            time.sleep(0.02)
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), -signal.SIGTERM)
        release.set()
        self.works()
        self.assertEqual([r.range_start() for p, _, _, r in self.hub.seen if p == "store"], [None, 100000])


class Disk(HubCase):
    def test_a_file_larger_than_the_disk_is_not_begun(self):
        self.bert()
        _, name = self.weights()
        say = {"X-Repo-Commit": self.hub.refs["org/bert", "main"], "X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(10**15), "Location": self.hub.store + "/x"}
        self.hub.faults.append(respond(WEIGHTS, *[lambda r: r.answer(302, say)] * 9))
        self.fails("10000000\\d+ bytes are to be downloaded, but the disk has room for \\d+")
        self.assertEqual(self.hub.count("GET"), 0)

    def test_what_has_come_already_needs_no_room(self):
        self.bert()
        _, name = self.weights()
        size = 10**13
        say = {"X-Repo-Commit": self.hub.refs["org/bert", "main"], "X-Linked-Etag": f'"{name}"', "X-Linked-Size": str(size), "Location": self.hub.store + "/x"}
        self.hub.faults.append(respond(WEIGHTS, *[lambda r: r.answer(302, say)] * 9))
        self.hub.faults.append(lambda r: r.place == "store" and (r.answer(403) or True))
        self.put(b"", "blobs", name + ".incomplete")
        self.fails("10000000\\d+ bytes are to be downloaded, but the disk has room for \\d+")
        os.truncate(self.path("blobs", name + ".incomplete"), size - 1000)
        self.fails("answers 403")

    def test_a_disk_that_is_full_is_an_error(self):
        self.bert()

        def small_disk():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))

        code, said = self.check("org/bert", preexec=small_disk)
        self.assertEqual(code, 1)
        self.assertRegex(said, "attnd: --model org/bert: .*incomplete: cannot be written: File too large")

    @contextlib.contextmanager
    def read_only(self):
        """The cache without the right to write, and a user who heeds it."""
        os.chmod(self.folder, 0o755)
        for folder, _, _ in os.walk(self.cache):
            os.chmod(folder, 0o555)
        yield (lambda: os.setuid(65534)) if os.getuid() == 0 else None
        for folder, _, _ in os.walk(self.cache):
            os.chmod(folder, 0o755)

    def test_a_cache_that_can_only_be_read_is_read(self):
        first = self.bert()
        self.works()
        with self.read_only() as preexec:
            code, said = self.check("org/bert", preexec=preexec)
            self.assertEqual(code, 0, said)
            second = self.bert(name="bert-odd")
            code, said = self.check("org/bert", preexec=preexec)
            self.assertEqual(code, 0, said)
            self.assertRegex(said, f"warn hub .*Permission denied.*is used: commit {first}")
            code, said = self.check("org/bert@" + second, preexec=preexec)
            self.assertEqual(code, 1)
            self.assertRegex(said, "attnd: --model .*Permission denied")


class Hostile(HubCase):
    def index(self, *shards):
        """A sharded model whose index names these."""
        text = json.dumps({"metadata": {}, "weight_map": {f"tensor.{i}": shard for i, shard in enumerate(shards)}}).encode()
        return self.bert(name="bert-sharded", **{"model__safetensors__index__json": text})

    def test_an_index_does_not_leave_the_folder(self):
        for shard in ("../../../../../tmp/x", "/etc/passwd", "a/b.safetensors", "..", ".", "", ".hidden", "a b", "x\ny", "\u00e9", "a" * 300, 7, None, ["x"]):
            with self.subTest(shard):
                self.index("model-00001-of-00002.safetensors", shard)
                self.fails("index")
        self.assertEqual(self.hub.count("GET", "store"), 0)

    def test_a_broken_index_is_an_error(self):
        for text in (b"", b"{", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": []}', b'{"weight_map": {"a": "b"}', b"\xff", b"[" * 100000,
                     b'{"weight_map": {' + b",".join(b'"t%d": "s%d"' % (i, i) for i in range(1001)) + b"}}"):
            with self.subTest(text[:40]):
                self.bert(name="bert-sharded", **{"model__safetensors__index__json": text})
                self.fails("index")

    def test_an_index_of_gigabytes_is_not_fetched(self):
        self.bert(name="bert-sharded")
        commit = self.hub.refs["org/bert", "main"]
        say = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{"0" * 64}"', "X-Linked-Size": str(1 << 32), "Location": self.hub.store + "/x"}
        self.hub.faults.append(respond(INDEX, *[lambda r: r.answer(302, say)] * 9))
        self.fails(INDEX, "4294967296 bytes; 67108864 are the most")

    def test_a_shard_that_is_not_there_is_named(self):
        self.index("model-00001-of-00002.safetensors", "model-00009-of-00002.safetensors")
        self.fails("model-00009-of-00002.safetensors: org/bert has no such file")

    def test_names_that_would_leave_the_cache_are_no_names(self):
        commit = self.bert()
        for headers, expected in (({"X-Linked-Etag": '"../../../evil"', "X-Repo-Commit": commit}, "ETag"),
                                  ({"X-Linked-Etag": '"' + "g" * 64 + '"', "X-Repo-Commit": commit}, "ETag"),
                                  ({"X-Linked-Etag": '"' + "0" * 64 + '"', "X-Repo-Commit": "../../evil"}, "X-Repo-Commit"),
                                  ({"X-Linked-Etag": '"' + "0" * 64 + '"', "X-Repo-Commit": "0" * 40}, "asked for at commit")):
            with self.subTest(headers):
                self.hub.faults[:] = [respond(WEIGHTS, *[lambda r: r.answer(200, headers, b"x")] * 9)]
                self.fails(WEIGHTS, expected)
        self.assertEqual([e for e in os.listdir(self.folder) if "evil" in e], [])

    def test_redirects_end_and_stay_with_http(self):
        self.bert()
        self.hub.faults.append(lambda r: r.answer(302, {"Location": r.path}) or True)
        self.fails("config.json", "redirects")
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "http://[", "//"):
            self.hub.faults[:] = [lambda r: r.answer(302, {"Location": target}) or True]
            self.fails("config.json")

    def test_an_endless_error_page_is_left(self):
        self.bert()

        def page(request):
            if request.place != "store":
                return False
            request.send_response(403)
            request.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100000):
                    request.wfile.write(b"x" * 65536)
            request.close_connection = True
            return True

        self.hub.faults.append(page)
        self.fails(WEIGHTS, "403")

    def test_links_in_a_cache_are_not_followed_out_of_it(self):
        secret = os.path.join(self.folder, "secret")
        commit = self.bert()
        data, name = self.weights()
        with open(secret, "wb") as f:
            f.write(b"secret")
        self.works()
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS):
            link = self.path("snapshots", commit, file)
            before = os.readlink(link) if os.path.islink(link) else None
            self.swap(link, secret)
            self.fails("outside the cache")
            self.fails("no complete snapshot|outside the cache", HF_HUB_OFFLINE="1")
            self.swap(link, before)
        os.unlink(self.path("snapshots", commit, WEIGHTS))
        os.unlink(self.path("blobs", name))
        os.symlink(secret, self.path("blobs", name + ".incomplete"))
        self.works()
        for folder in ("blobs", "snapshots"):
            shutil.rmtree(self.cache)
            self.bert()
            os.makedirs(self.path())
            outside = os.path.join(self.folder, "outside")
            os.makedirs(outside, exist_ok=True)
            self.swap(self.path(folder), outside)
            self.fails("a part of it is no folder")
            self.assertEqual(os.listdir(outside), [])
        with open(secret, "rb") as f:
            self.assertEqual(f.read(), b"secret")

    @staticmethod
    def swap(path, target):
        if os.path.lexists(path):
            os.unlink(path)
        if target:
            os.symlink(target, path)

    def test_a_reference_that_is_none_is_not_used(self):
        self.bert()
        self.works()
        for text in (b"", b"../../evil", b"main", b"0" * 39, b"g" * 40):
            self.put(text, "refs/main")
            self.fails("no complete snapshot", HF_HUB_OFFLINE="1")
        self.works()


class Progress(HubCase):
    def slow_model(self):
        self.bert()
        data, _ = self.weights()

        def slow(request):
            if request.place != "store":
                return False
            request.answer(200, {}, b"", length=len(data))
            for i in range(0, len(data), len(data) // 8):
                request.wfile.write(data[i : i + len(data) // 8])
                request.wfile.flush()
                time.sleep(0.1)
            return True

        self.hub.faults.append(slow)

    def test_a_terminal_has_one_line_that_is_rewritten(self):
        self.slow_model()
        master, slave = pty.openpty()
        process = subprocess.Popen([harness.PROGRAM, "--check", "--model", "org/bert"], env=self.environment(), stderr=slave, stdout=subprocess.DEVNULL)
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):
            while select.select([master], [], [], 60)[0]:
                said += os.read(master, 65536)
        os.close(master)
        self.assertEqual(process.wait(60), 0, said)
        self.assertRegex(said, rb"\r\x1b\[Korg/bert model\.safetensors: +\d+ % of 0\.2 MB, \d+\.\d MB/s")
        self.assertNotIn(b" info downloading ", said)
        for line in said.split(b"\n"):
            self.assertRegex(line.split(b"\x1b[K")[-1], rb"^(\d{4}-.*|)\r*$", said)

    def test_a_pipe_has_log_lines_and_nothing_else(self):
        self.slow_model()
        said = self.works("org/bert", "--log-format", "json")
        events = [json.loads(line) for line in said.splitlines()]
        done = [e for e in events if e["event"] == "downloaded"]
        self.assertEqual([(e["model"], e["bytes"]) for e in done], [("org/bert", sum(map(len, files_of("bert").values())))])
        self.assertNotIn("\x1b", said)
        self.assertTrue(any(re.search(r"3 files, \d+ bytes", e.get("message", "")) for e in events))


if __name__ == "__main__":
    harness.main()
