"""What every HTTP suite needs: a server of its own on a free port, requests to it, tensors and float32 without numpy.

    server = Server([options])     starts argv[1] (build/release/attnd by default) with them, waits for its "listening on" line
    server.post(path, body)        (status, headers, parsed JSON or bytes)
    main()                         unittest with argv[1] taken for the program

SPDX-License-Identifier: Apache-2.0
"""
import base64
import http.client
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build/release/attnd")
SHARED = os.environ.get("ATTND_SHARED", os.path.join(ROOT, "..", "shared"))
MINILM = os.environ.get("ATTND_MINILM")
CI = os.environ.get("CI")
PATIENCE = 60  # seconds a test waits for what must come; generous, since sanitizers and busy machines are slow


def main():
    global PROGRAM
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(module="__main__", verbosity=1)


def slow_build():
    """True under a sanitizer, where everything takes ten times as long."""
    return "/asan/" in PROGRAM or "/tsan/" in PROGRAM


def wait_for(condition, seconds=PATIENCE):
    """What condition() gives as soon as that is true. The server counts and logs a request when it is over, which the client knows first."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError("it never came to be")
        time.sleep(0.02)
    return found


class Server:
    def __init__(self, options=(), environment=None):
        self.process = subprocess.Popen(
            [PROGRAM, "--port", "0", *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})), cwd=ROOT
        )
        self.log = []
        self.port = None
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.log.append(line)
            found = re.search(r"listening on https?://.*:(\d+)$", line)
            if found:
                self.port = int(found[1])
                break
        if self.port is None:
            self.process.wait()
            raise RuntimeError("the server did not start:\n" + "\n".join(self.log))
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        self.connection = None

    def _drain(self):
        for raw in self.process.stderr:
            self.log.append(raw.decode("utf-8", "replace").rstrip("\n"))

    def gauge(self, name):
        """A metric that has no labels."""
        return float(re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[2].decode(), re.M)[1])

    def find(self, words, since=0):
        """The first line of the log, from that one on, that has these words, or None."""
        return next((line for line in self.log[since:] if words in line), None)

    def reload(self, words):
        """SIGHUP, until a new line of the log has these words."""
        known = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        try:
            return wait_for(lambda: self.find(words, known))
        except AssertionError:
            raise AssertionError(f"no line with {words!r}:\n" + "\n".join(self.log[known:])) from None

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers as a dict with lower-case names, bytes), on a connection that is kept."""
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            try:
                self.connection.request(method, path, body, headers or {})
                answer = self.connection.getresponse()
                data = answer.read()
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection.close()
                self.connection = None
                if attempt:
                    raise

    def post(self, path, body, headers=None):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        status, got, data = self.request("POST", path, body, dict({"Content-Type": "application/json"}, **(headers or {})))
        return status, got, json.loads(data) if "json" in got.get("content-type", "") else data

    def attention(self, body):
        """The answer to a request that must succeed."""
        status, _, answer = self.post("/v1/attention", body)
        if status != 200:
            raise AssertionError(f"status {status}: {answer}")
        return answer

    def get(self, path):
        status, got, data = self.request("GET", path)
        return status, got, json.loads(data) if "json" in got.get("content-type", "") else data

    def stop(self):
        """SIGTERM; the exit status. A sanitizer's finding makes it differ from 0."""
        if self.connection:
            self.connection.close()
            self.connection = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.reader.join(10)
        self.process.stderr.close()
        return status


class ServerCase(unittest.TestCase):
    """A suite with one server for all its tests, which must end well."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.options)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        if status != 0:
            raise AssertionError(f"the server ended with {status}:\n" + "\n".join(cls.server.log[-40:]))

    def assert_close(self, got, expected, tolerance, what=""):
        """Flat lists; None stands for minus infinity. Returns the largest difference."""
        self.assertEqual(len(got), len(expected), what)
        worst = 0.0
        for i, (a, b) in enumerate(zip(got, expected)):
            if a is None or b is None:
                self.assertEqual(a is None, b is None, f"{what}[{i}]: {a} and {b}")
                continue
            worst = max(worst, abs(a - b))
        self.assertLessEqual(worst, tolerance, what)
        return worst


def flat(nested):
    """The numbers of nested lists, in order."""
    if not isinstance(nested, list):
        return [nested]
    if not nested or not isinstance(nested[0], list):
        return nested
    return [x for part in nested for x in flat(part)]


def nest(values, shape):
    """A flat list as nested lists of that shape."""
    if len(shape) <= 1:
        return list(values)
    step = math.prod(shape[1:])
    return [nest(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def packed(values, shape):
    """A base64 tensor; None is minus infinity."""
    data = struct.pack(f"<{len(values)}f", *(-math.inf if v is None else v for v in values))
    return {"dtype": "float32", "shape": list(shape), "data": base64.b64encode(data).decode()}


def unpacked(tensor):
    """Flat numbers of a tensor in an answer, whatever its encoding; minus infinity is None."""
    if not isinstance(tensor["data"], str):
        return flat(tensor["data"])
    data = base64.b64decode(tensor["data"], validate=True)
    kind, size = {"float32": ("f", 4), "float16": ("e", 2), "uint8": ("B", 1), "int32": ("i", 4)}[tensor["dtype"]]
    assert len(data) == size * math.prod(tensor["shape"]), tensor["shape"]
    return [None if v == -math.inf else v for v in struct.unpack(f"<{len(data) // size}{kind}", data)]


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)
