#!/usr/bin/python3
"""What README.md tells a reader to type does what it says: its commands, its lines of Python and JavaScript, run as they stand against a live server.

A code block that begins with `curl` is a command, and a ```json block right after it is its answer; ```python blocks are run in order in one namespace, ```js
blocks by snippet.js in a page of jsdom. A ```text block is the end of what the command before it draws, with characters alone. Only the server's address is
changed. Needs curl, numpy, safetensors, torch, IPython, bertviz, node, d3 and jsdom (.ci/run installs them); what is missing is skipped and named. Wheels may
lie unpacked in build/snippets.
SPDX-License-Identifier: Apache-2.0
"""
import importlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../http"))
import harness  # noqa: E402
from harness import ROOT, ServerCase, flat, float32, main  # noqa: E402

sys.path.insert(0, os.path.join(HERE, "../golden"))
import family_table  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "build/snippets"))
ADDRESS = "localhost:8080"


def blocks():
    """(language, text) of README's code blocks, in order."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.findall(r"^```(\w*)\n(.*?)^```$", file.read(), re.M | re.S)


def skip(missing):
    """Skips the test, and says why where tests/run.py looks for it."""
    print(f"skipped for want of {missing}", flush=True)
    raise unittest.SkipTest(missing)


def need(*modules):
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            skip("the Python module " + name)


class Readme(ServerCase):
    def at_server(self, text):
        return text.replace(ADDRESS, f"127.0.0.1:{self.server.port}")

    def snippets(self, language):
        found = [self.at_server(text) for kind, text in blocks() if kind == language]
        self.assertTrue(found, f"README.md has no {language}")
        return found


class Commands(Readme):
    def run_command(self, command, folder):
        """(status, standard output) of a command that begins with curl."""
        done = subprocess.run(
            ["sh", "-c", command + " -w '%{stderr}%{http_code}'"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=True
        )
        return int(done.stderr), done.stdout

    def commands(self):
        """(command, text of the answer shown or None) of all blocks, which may hold several commands."""
        found = blocks()
        for i, (language, text) in enumerate(found):
            if language == "" and text.startswith("curl"):
                shown = found[i + 1][1] if i + 1 < len(found) and found[i + 1][0] == "json" else None
                for command in self.at_server(text).strip().split("\n"):
                    yield command, shown

    def test_commands_succeed_and_answer_what_is_shown(self):
        if not shutil.which("curl"):
            skip("curl")
        count = compared = 0
        with tempfile.TemporaryDirectory() as folder:
            for command, shown in self.commands():
                with self.subTest(command=command):
                    status, output = self.run_command(command, folder)
                    expected = json.loads(shown) if shown else {}
                    self.assertEqual(status, expected.get("status", 200), output[:2000])
                    count += 1
                    if shown:
                        answer = json.loads(output)
                        for either in (answer, expected):
                            either.pop("request_id", None)
                        self.assertEqual(answer, expected)
                        compared += 1
            self.check_files(folder)
        self.assertGreater(count, 8)
        self.assertGreater(compared, 3)

    def test_the_drawing_is_what_the_command_before_it_draws(self):
        if not shutil.which("curl"):
            skip("curl")
        found = blocks()
        drawn = [(found[i - 1][1], text) for i, (language, text) in enumerate(found) if language == "text"]
        self.assertTrue(drawn)
        for commands, shown in drawn:
            command = self.at_server(commands.split("\n")[0]).replace("/v1/attention", "/v1/attention?color=none", 1)
            status, output = self.run_command(command, ROOT)
            lines = [line.rstrip() for line in output.decode("utf-8").splitlines()]
            self.assertEqual((status, "\n".join(lines).rstrip("\n").endswith("\n" + shown.rstrip("\n"))), (200, True), output.decode("utf-8"))

    def check_files(self, folder):
        """What -o wrote is what its name says."""
        begins = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<", "npy": b"\x93NUMPY"}
        kinds = set()
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            kind = name.rsplit(".", 1)[1]
            kinds.add(kind)
            if kind == "safetensors":
                size = struct.unpack("<Q", data[:8])[0]
                self.assertIn("__metadata__", json.loads(data[8 : 8 + size]))
            else:
                self.assertTrue(data.startswith(begins[kind]), name)
        self.assertLessEqual({"png", "svg", "safetensors"}, kinds)


class Families(Readme):
    def test_the_table_lists_every_model_type_that_the_program_knows_and_no_other(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            listed = [name for types, _ in family_table.rows(file.read()) for name in types]
        self.assertEqual(len(listed), len(set(listed)))
        self.assertEqual(sorted(listed), sorted(family_table.known_types(harness.PROGRAM)))

    def test_every_row_says_what_it_was_held_against_and_how_well(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            table = family_table.rows(file.read())
        self.assertGreater(len(table), 10)
        for types, cells in table:
            self.assertEqual(len(cells), 4, types)
            self.assertTrue(cells[2], types)
            worst = re.match(r"(\d\.\de-\d+); (\d\.\de-\d+|-)$", cells[3])
            self.assertTrue(worst, types)
            self.assertLess(float(worst[1]), 5e-6, types)


class Python(Readme):
    """Blocks share a namespace, so each test runs those before it too."""

    def run_blocks(self, word):
        """The namespace after the blocks up to the one that has this word."""
        warnings.simplefilter("ignore", ResourceWarning)  # README's lines leave closing to Python
        space = {}
        for text in self.snippets("python"):
            exec(compile(text, "README.md", "exec"), space)  # pylint: disable=exec-used
            if word in text:
                return space
        self.fail(f"no Python in README.md has {word}")

    def expected(self):
        """The result, and its weights as the float32 that they are."""
        result = self.server.attention({"text": "The cat is warm.", "output": ["attentions"]})["results"][0]
        return result, [float32(x) for x in flat(result["attentions"]["data"])]

    def test_base64_npy_and_safetensors_become_the_arrays_of_the_answer(self):
        need("numpy", "safetensors")
        space = self.run_blocks("frombuffer")
        result, weights = self.expected()
        for array in (space["maps"], space["same"], space["tensors"]["results.0.attentions"]):
            self.assertEqual(list(array.shape), result["attentions"]["shape"])
            self.assertEqual(array.ravel().tolist(), weights)
        self.assertIn("results.0.context", space["tensors"])

    def test_bertviz_draws_our_heads(self):
        need("numpy", "safetensors", "torch", "IPython", "bertviz")
        shown = []
        sys.modules["bertviz.head_view"].display = shown.append  # what a notebook's cell would get
        self.run_blocks("head_view")
        script = "".join(part.data for part in shown)
        result, weights = self.expected()
        drawn = json.loads(re.search(r'"attn": (\[\[\[\[.*?\]\]\]\])', script)[1])
        self.assertEqual(flat(drawn), weights)
        self.assertIn('"left_text": ' + json.dumps([token["text"] for token in result["tokens"]]), script)


class Pages(Readme):
    def node(self, script, *arguments, text=""):
        """What the script prints, as JSON."""
        if not shutil.which("node"):
            skip("node")
        environment = dict(os.environ, NODE_PATH="/usr/share/nodejs")
        for module in ("d3", "jsdom"):
            if subprocess.run(["node", "-e", f'require("{module}")'], env=environment, stderr=subprocess.DEVNULL, check=False).returncode:
                skip("the node module " + module)
        command = ["node", os.path.join(HERE, script), *arguments]
        done = subprocess.run(command, env=environment, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def test_d3_draws_one_square_a_weight(self):
        squares = [square for text in self.snippets("js") for square in self.node("snippet.js", text=text)]
        body = {"text": "The cat is warm.", "output": ["attentions"], "layers": [5], "heads": [1]}
        weights = flat(self.server.attention(body)["results"][0]["attentions"]["data"])
        self.assertEqual(len(squares), len(weights))
        self.assertEqual(len({(s["x"], s["y"]) for s in squares}), len(weights))
        darker = sorted(range(len(weights)), key=lambda i: weights[i])
        self.assertEqual([s["weight"] for s in squares], weights)
        self.assertNotEqual(squares[darker[0]]["fill"], squares[darker[-1]]["fill"])

    def test_the_page_of_the_contract_draws_every_route_and_schema(self):
        drawn = self.node("docs_page.js", f"http://127.0.0.1:{self.server.port}")
        _, _, contract = self.server.get("/openapi.json")
        operations = [operation["operationId"] for item in contract["paths"].values() for operation in item.values()]
        self.assertEqual(drawn["failed"], [])
        self.assertEqual(drawn["operations"], operations)
        self.assertEqual(drawn["schemes"], ["key-" + name for name in contract["components"]["securitySchemes"]])
        self.assertEqual(drawn["schemas"], list(contract["components"]["schemas"]))
        fields = contract["components"]["schemas"]["AttentionRequest"]["properties"]
        self.assertEqual(sorted(drawn["fields"]), sorted(fields))
        self.assertEqual(drawn["links_to_nowhere"], [])


if __name__ == "__main__":
    main()
