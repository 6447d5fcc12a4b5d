#!/usr/bin/env python3
"""--unix-socket: who may connect, what is replaced and what is not, and that nothing is left behind.

SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import certificates
import harness
from harness import PATIENCE, Server, main

MODEL = ("--model", "builtin:attnd-bert")
SMALL = json.dumps({"embeddings": [[1, 0], [0, 1], [1, 1]], "output": ["attentions"]})


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


def ask(path, method, target, body=None, **headers):
    c = Connection(path)
    try:
        c.request(method, target, body, headers)
        answer = c.getresponse()
        return answer.status, answer.read()
    finally:
        c.close()


def run_program(*options):
    done = subprocess.run([harness.PROGRAM, *MODEL, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, cwd=harness.ROOT)
    return done.returncode, done.stderr.decode()


class UnixSocket(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "attnd.sock")

    @contextlib.contextmanager
    def serving(self, *options):
        server = Server((*MODEL, "--unix-socket", self.path, *options))
        try:
            yield server
        finally:
            self.assertEqual(server.stop(), 0, "\n".join(server.log[-20:]))

    def test_it_answers_beside_the_port_and_is_gone_afterwards(self):
        with self.serving() as server:
            self.assertTrue(any(line == "listening at unix:" + self.path for line in server.log))
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)
            self.assertEqual(server.get("/healthz")[0], 200)
            status, body = ask(self.path, "POST", "/v1/attention", SMALL)
            self.assertEqual((status, json.loads(body)["results"][0]["attentions"]["shape"]), (200, [1, 1, 3, 3]))
        self.assertFalse(os.path.lexists(self.path))

    def test_its_owner_and_group_may_connect_and_nobody_else(self):
        before = os.umask(0)
        try:
            with self.serving():
                mode = os.stat(self.path).st_mode
                self.assertTrue(stat.S_ISSOCK(mode))
                self.assertEqual(stat.S_IMODE(mode), 0o660)
        finally:
            os.umask(before)

    def test_a_socket_that_is_left_over_is_replaced(self):
        left = socket.socket(socket.AF_UNIX)
        left.bind(self.path)
        left.close()
        with self.serving():
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)
        with self.serving() as server:
            server.process.kill()
            server.process.wait()
            self.assertTrue(os.path.lexists(self.path))  # nobody tidied up
            server.stop = lambda: 0
            server.reader.join(PATIENCE)
            server.process.stderr.close()
        with self.serving():
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)

    def test_a_socket_where_somebody_answers_is_left_alone(self):
        with self.serving():
            code, error = run_program("--port", "0", "--unix-socket", self.path)
            self.assertEqual(code, 1)
            self.assertIn(f"attnd: --unix-socket {self.path}: another program answers there", error)
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)

    def test_whoever_locks_the_folder_delays_no_start_for_long(self):
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_SH)
            with self.serving():
                self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)
        finally:
            os.close(folder)

    def test_anything_else_at_that_path_is_left_alone(self):
        with open(self.path, "w", encoding="ascii") as f:
            f.write("mine")
        code, error = run_program("--port", "0", "--unix-socket", self.path)
        self.assertEqual(code, 1)
        self.assertIn("it is no socket", error)
        with open(self.path, encoding="ascii") as f:
            self.assertEqual(f.read(), "mine")

    def test_paths_that_cannot_be_are_named(self):
        for path, words in ((os.path.join(self.folder, "none", "s"), "No such file"), (os.path.join(self.folder, "x" * 120), "takes at most 107")):
            code, error = run_program("--port", "0", "--unix-socket", path)
            self.assertEqual(code, 1)
            self.assertIn("attnd: --unix-socket " + path, error)
            self.assertIn(words, error)

    def test_a_start_that_fails_leaves_no_socket(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            code, _ = run_program("--port", str(taken.getsockname()[1]), "--unix-socket", self.path)
            self.assertEqual(code, 1)
            self.assertFalse(os.path.lexists(self.path))

    def test_one_server_can_follow_another_at_the_same_path(self):
        with self.serving() as first:
            os.rename(self.path, self.path + ".old")
            second = Server((*MODEL, "--unix-socket", self.path))
            first.stop()
            self.assertTrue(os.path.lexists(self.path))  # the first one's file was not this
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)
            self.assertEqual(second.stop(), 0)
            first.stop = lambda: 0
        self.assertFalse(os.path.lexists(self.path))

    def test_work_on_its_way_is_finished_while_the_socket_is_gone(self):
        with self.serving() as server:
            c = Connection(self.path)
            c.putrequest("POST", "/v1/attention")
            c.putheader("Content-Length", str(len(SMALL)))
            c.endheaders()
            c.send(SMALL.encode())
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(c.getresponse().status, 200)
            c.close()
            server.process.wait(PATIENCE)
        self.assertFalse(os.path.lexists(self.path))

    def test_the_probe_asks_there(self):
        self.assertEqual(run_program("--probe", "unix:" + self.path)[0], 1)
        with self.serving():
            self.assertEqual(run_program("--probe", "unix:" + self.path)[0], 0)

    def test_keys_are_wanted_there_too_and_tls_is_not_spoken(self):
        keys = os.path.join(self.folder, "keys")
        with open(keys, "w", encoding="ascii") as f:
            f.write("0123456789abcdef\n")
        os.chmod(keys, 0o600)
        cert, key = certificates.make(self.folder, "a.example")
        with self.serving("--api-key-file", keys, "--tls-cert", cert, "--tls-key", key):
            self.assertEqual(ask(self.path, "GET", "/v1/models")[0], 401)
            self.assertEqual(ask(self.path, "GET", "/v1/models", Authorization="Bearer 0123456789abcdef")[0], 200)
            self.assertEqual(ask(self.path, "GET", "/healthz")[0], 200)


if __name__ == "__main__":
    main()
