#!/usr/bin/env python3
"""Keys: who is let in, what is said to whom is not, files that change or are wrong, how much of a key's work may be under way, and that no key is ever shown.

SPDX-License-Identifier: Apache-2.0
"""
import base64
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

import harness
from harness import PATIENCE, Server, main, wait_for

ALICE, BOB = "alice-0123456789abcdef", "b0b~+/._-0123456789=="
SMALL = {"embeddings": [[1, 0], [0, 1], [1, 1]], "output": ["attentions"]}
OPEN = ("/", "/docs", "/openapi.json", "/openapi.yaml", "/healthz", "/readyz")


def large(tokens, heads=4):
    """An answer of heads * tokens^2 numbers: nobody who does not read it lets its worker go."""
    numbers = [((i * 7919) % 1000) / 500 - 1 for i in range(tokens * 2 * heads)]
    data = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return {"num_attention_heads": heads, "output": ["attentions"], "embeddings": {"dtype": "float32", "shape": [tokens, 2 * heads], "data": data}}


class KeyCase(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.path = os.path.join(cls.folder, "keys")
        cls.write(f"# two of them\n\n{ALICE}\n  {BOB}\t\r\n")
        cls.server = Server(("--api-key-file", cls.path, "--log-level", "debug", *cls.options))

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        log = "\n".join(cls.server.log)
        shutil.rmtree(cls.folder)
        if status != 0:
            raise AssertionError(f"the server ended with {status}:\n{log[-4000:]}")
        for key in (ALICE, BOB):
            if key in log or base64.b64encode(key.encode()).decode() in log:
                raise AssertionError("a key is in the log")

    @classmethod
    def write(cls, text, mode=0o600):
        with open(cls.path, "w", encoding="utf-8", newline="") as f:
            f.write(text)
        os.chmod(cls.path, mode)

    def ask(self, path, key=None, method="GET", body=None, **headers):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        try:
            if key is not None:
                headers["Authorization"] = "Bearer " + key
            if body is not None:
                headers["Content-Type"], method = "application/json", "POST"
                body = json.dumps(body)
            c.request(method, path, body, headers)
            answer = c.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            c.close()

    def assertProblem(self, answer, status, code):
        got, headers, body = answer
        self.assertEqual(got, status, body[:300])
        self.assertEqual(headers["content-type"], "application/problem+json")
        problem = json.loads(body)
        self.assertEqual((problem["status"], problem["code"], problem["request_id"]), (status, code, headers["x-request-id"]))
        return problem


class Door(KeyCase):
    options = ("--cors-origin", "https://a.example")

    def test_each_key_opens(self):
        for key in (ALICE, BOB):
            self.assertEqual(self.ask("/v1/models", key)[0], 200)
            self.assertEqual(self.ask("/v1/attention", key, body=SMALL)[0], 200)
            self.assertEqual(self.ask("/metrics", key)[0], 200)

    def test_without_a_key_it_is_401(self):
        for path in ("/v1/models", "/v1/models/attnd-bert", "/metrics", "/v1/nothing", "/v1/"):
            answer = self.ask(path)
            self.assertProblem(answer, 401, "unauthorized")
            self.assertEqual(answer[1]["www-authenticate"], "Bearer")
        for path in ("/v1/attention", "/v1/tokenize", "/v1/estimate"):
            self.assertProblem(self.ask(path, body=SMALL), 401, "unauthorized")

    def test_other_keys_are_401(self):
        others = ("", " ", "x", ALICE[:-1], ALICE + "0", ALICE.upper(), ALICE + " ", ALICE + "," + BOB, "# two of them", "0" * 5000, "\u00e9" * 20)
        for key in others:
            with self.subTest(key=key[:30]):
                status = self.ask("/v1/models", key.encode("utf-8").decode("latin-1"))[0]
                self.assertEqual(status, 200 if key == ALICE + " " else 401)  # white space behind a header's value is none of it

    def test_other_schemes_are_401(self):
        for value in (ALICE, "Basic " + base64.b64encode(f"x:{ALICE}".encode()).decode(), "Bearer", "Bearer" + ALICE, "Bearer\t" + ALICE, f"Token {ALICE}"):
            with self.subTest(value=value[:12]):
                self.assertProblem(self.ask("/v1/models", Authorization=value), 401, "unauthorized")
        self.assertEqual(self.ask("/v1/models", Authorization="bearer " + ALICE)[0], 200)  # names of schemes know no case
        self.assertEqual(self.ask("/v1/models", Authorization="BEARER   " + ALICE)[0], 200)

    def test_two_keys_in_one_request_are_none(self):
        for second in (BOB, "x" * 20):
            for first, other in ((ALICE, second), (second, ALICE)):
                with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
                    s.sendall(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {first}\r\nauthorization: Bearer {other}\r\n\r\n".encode())
                    self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 401 "))

    def test_the_path_cannot_be_written_around(self):
        for path in ("/%76%31/models", "/v1%2fmodels", "/v1/models?x=1", "/v1//models", "/v1/./models", "/%6detrics"):
            self.assertEqual(self.ask(path)[0], 401, path)
        for path in ("//v1/models", "/./v1/models", "/V1/models", "/docs/../v1/models", "/metrics/"):
            self.assertEqual(self.ask(path)[0], 404, path)

    def test_pages_health_contract_and_options_are_open(self):
        for path in OPEN:
            self.assertEqual(self.ask(path)[0], 200, path)
        self.assertEqual(self.ask("/v1/attention", method="OPTIONS", Origin="https://a.example")[0], 204)
        self.assertProblem(self.ask("/nothing"), 404, "not_found")

    def test_a_page_of_another_origin_can_read_the_refusal(self):
        self.assertEqual(self.ask("/v1/models", Origin="https://a.example")[1]["access-control-allow-origin"], "https://a.example")

    def test_a_body_is_not_asked_for(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
            self.assertTrue(s.recv(4096).startswith(b"HTTP/1.1 401 "))

    def test_a_small_refused_body_does_not_cost_the_connection(self):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        for key, status in ((None, 401), (ALICE, 200), ("x" * 30, 401), (BOB, 200)):
            c.request("POST", "/v1/attention", json.dumps(SMALL), {"Authorization": "Bearer " + key} if key else {})
            answer = c.getresponse()
            self.assertEqual((answer.status, answer.read()[:1]), (status, b"{"))
        c.close()

    def test_refusals_are_counted_and_logged_without_what_was_sent(self):
        guess = "a-guess-0123456789abcdef"
        self.assertEqual(self.ask("/v1/models", guess)[0], 401)
        wait_for(lambda: re.search(r'attnd_rejected_requests_total\{code="unauthorized"\} [1-9]', self.ask("/metrics", ALICE)[2].decode()))
        wait_for(lambda: self.server.find("status=401 outcome=unauthorized"))
        self.assertIsNone(self.server.find(guess))

    def test_a_probe_needs_no_key(self):
        done = subprocess.run([harness.PROGRAM, "--probe", f"http://127.0.0.1:{self.server.port}"], timeout=PATIENCE)
        self.assertEqual(done.returncode, 0)


class Reload(KeyCase):
    def setUp(self):
        self.write(f"{ALICE}\n")
        self.server.reload("count=1")

    def test_keys_come_and_go(self):
        self.assertEqual(self.ask("/v1/models", BOB)[0], 401)
        self.write(f"{BOB}\n# {ALICE}\n")
        self.assertIn("info keys", self.server.reload("count=1"))
        self.assertEqual(self.ask("/v1/models", BOB)[0], 200)
        self.assertEqual(self.ask("/v1/models", ALICE)[0], 401)

    def test_a_broken_or_empty_file_leaves_the_keys_of_before(self):
        for text, words in (("", "there is no key in it"), ("# none\n\n", "there is no key in it"), (f"{BOB}\nshort\n", "line 2: a key has at least 16"),
                            (f"{BOB}\n\n{BOB} {BOB}\n", "line 3: a key has letters"), ("k\u00e9y" * 10, "line 1: a key has letters"),
                            (f"{BOB}\x00\n", "line 1"), ("a" * (1 << 20) + "\n", "more than a megabyte"),
                            ("".join(f"key-0123456789abcdef-{i}\n" for i in range(1001)), "line 1001: there are more than 1000 keys")):
            with self.subTest(words=words):
                self.write(text)
                line = self.server.reload(words)
                self.assertIn("error keys", line)
                self.assertNotIn(BOB, line)
                self.assertEqual(self.ask("/v1/models", ALICE)[0], 200)
                self.assertEqual(self.ask("/v1/models", BOB)[0], 401)
        os.remove(self.path)
        self.assertIn("error keys", self.server.reload("No such file"))
        for make, unmake in ((os.mkfifo, os.remove), (os.mkdir, os.rmdir)):  # neither of which anybody waits for
            make(self.path)
            self.assertIn("error keys", self.server.reload("it is no regular file"))
            unmake(self.path)
        self.assertEqual(self.ask("/v1/models", ALICE)[0], 200)

    def test_a_thousand_keys_are_fine(self):
        self.write("".join(f"key-0123456789abcdef-{i}\n" for i in range(1000)))
        self.server.reload("count=1000")
        self.assertEqual(self.ask("/v1/models", "key-0123456789abcdef-999")[0], 200)
        self.assertEqual(self.ask("/v1/models", "key-0123456789abcdef-1000")[0], 401)

    def test_a_key_named_twice_is_one(self):
        self.write(f"{ALICE}\n{BOB}\n{ALICE}")
        self.server.reload("count=2")

    def test_a_file_that_all_can_read_is_a_warning(self):
        self.write(f"{ALICE}\n", 0o644)
        self.assertIn("warn keys", self.server.reload("chmod o-r"))

    def test_requests_while_keys_change(self):
        stop, bad = threading.Event(), []

        def client():
            while not stop.is_set():
                if self.ask("/v1/attention", ALICE, body=SMALL)[0] != 200:
                    bad.append("refused")

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(20):
            self.write(f"{ALICE}\n" + f"{BOB}\n" * (i % 2))
            self.server.reload("info keys")
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])


class Share(KeyCase):
    options = ("--max-requests-per-key", "2", "--threads", "4", "--timeout", "30s")

    def stall(self, key):
        """A request that stays in work for as long as the socket is open."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(PATIENCE)
        s.connect(("127.0.0.1", self.server.port))
        body = json.dumps(large(1024)).encode()
        s.sendall(f"POST /v1/attention HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return s

    def stalled(self):
        text = self.ask("/metrics", BOB)[2].decode()
        return int(text.split("\nattnd_waiting_for_clients ")[1].split("\n")[0])

    def wait_stalled(self, n):
        wait_for(lambda: self.stalled() == n)

    def test_a_key_has_its_share_and_no_more(self):
        with self.stall(ALICE), self.stall(ALICE):
            self.wait_stalled(2)
            answer = self.ask("/v1/attention", ALICE, body=SMALL)
            problem = self.assertProblem(answer, 429, "too_many_requests")
            self.assertEqual((problem["limit"], problem["need"], answer[1]["retry-after"]), (2, 3, "1"))
            self.assertEqual(self.ask("/v1/attention", BOB, body=SMALL)[0], 200)  # others have theirs
            self.assertEqual(self.ask("/v1/models", ALICE)[0], 200)  # and what needs no worker is free
            self.assertProblem(self.ask("/v1/attention", body=SMALL), 401, "unauthorized")
            self.server.reload("info keys")  # which does not make the key a new one
            self.assertEqual(self.ask("/v1/attention", ALICE, body=SMALL)[0], 429)
        self.wait_stalled(0)
        self.assertEqual(self.ask("/v1/attention", ALICE, body=SMALL)[0], 200)

    def test_a_client_that_waits_for_its_answers_is_never_refused(self):
        bad = []

        def client():
            for i in range(60):
                body = SMALL if i % 3 else {"nonsense": 1}
                status = self.ask("/v1/attention", ALICE, body=body)[0]
                if status not in (200, 400):
                    bad.append(status)

        threads = [threading.Thread(target=client) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])

    def test_requests_that_are_refused_or_cut_give_their_place_back(self):
        for _ in range(10):
            self.assertEqual(self.ask("/v1/attention", ALICE, body={"text": 1})[0], 400)
            self.assertEqual(self.ask("/v1/attention", ALICE, method="GET")[0], 405)
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
                s.sendall(f"POST /v1/attention HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 100\r\n\r\n{{".encode())
        wait_for(lambda: self.ask("/v1/attention", ALICE, body=SMALL)[0] == 200)


class Start(unittest.TestCase):
    def run_check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys")
            if text is not None:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                os.chmod(path, 0o600)
            done = subprocess.run([harness.PROGRAM, "--check", "--model", "builtin:attnd-bert", "--api-key-file", path], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=PATIENCE, cwd=harness.ROOT)
            return done.returncode, done.stderr.decode().replace(path, "PATH")

    def test_the_check_reads_the_file(self):
        code, error = self.run_check(ALICE)
        self.assertEqual(code, 0, error)
        self.assertIn("count=1", error)

    def test_a_share_of_no_key_is_refused(self):
        done = subprocess.run([harness.PROGRAM, "--check", "--model", "builtin:attnd-bert", "--max-requests-per-key", "2"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE, cwd=harness.ROOT)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"attnd: --max-requests-per-key needs --api-key-file", done.stderr)

    def test_wrong_files_end_the_start_with_one_line(self):
        for text, words in ((None, "No such file"), ("", "there is no key in it"), ("secret\n", "line 1: a key has at least 16 characters")):
            code, error = self.run_check(text)
            self.assertEqual(code, 1)
            lines = [line for line in error.splitlines() if line.startswith("attnd: --api-key-file PATH: ")]
            self.assertEqual(len(lines), 1, error)
            self.assertIn(words, lines[0])
            self.assertNotIn("secret", error)

    def test_an_open_port_without_keys_is_a_warning_and_one_with_keys_is_not(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys")
            with open(path, "w", encoding="ascii") as f:
                f.write(ALICE)
            os.chmod(path, 0o600)
            for options, warned in ((("--host", "0.0.0.0"), True), (("--host", "0.0.0.0", "--api-key-file", path), False), ((), False)):
                server = Server(("--model", "builtin:attnd-bert", *options))
                try:
                    self.assertEqual(any("warn open" in line for line in server.log), warned, options)
                finally:
                    self.assertEqual(server.stop(), 0)

    def test_the_metrics_port_wants_no_key(self):
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            path = os.path.join(folder, "keys")
            with open(path, "w", encoding="ascii") as f:
                f.write(ALICE)
            server = Server(("--model", "builtin:attnd-bert", "--api-key-file", path, "--metrics-port", str(port)))
            try:
                for name, status in (("/metrics", 200), ("/readyz", 200), ("/v1/models", 404)):
                    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                    c.request("GET", name)
                    self.assertEqual(c.getresponse().status, status)
                    c.close()
            finally:
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    main()
