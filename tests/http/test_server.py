#!/usr/bin/env python3
"""The server as a client sees it: connections, bodies, deadlines, back-pressure, shutdown. Usage: test_server.py PATH/TO/attnd [unittest arguments]

What the answers say is tested elsewhere; here it is when and how they come.
SPDX-License-Identifier: Apache-2.0
"""
import base64
import contextlib
import http.client
import json
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import PATIENCE, wait_for

PROGRAM = None
BATCHES = ("--max-batch", "4096")
DISCARD_S = 5  # SRV_DISCARD_MS: so long the rest of a refused body is read


class Server:
    """A running attnd on a port it picked itself."""

    def __init__(self, *options, env=None, preexec=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ATTND_")}
        environment.update(env or {})
        self.process = subprocess.Popen([PROGRAM, "--port", "0", *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment,
                                        preexec_fn=preexec)
        self.lines, self.listening = [], threading.Event()
        self.host, self.port = "127.0.0.1", None
        self.reader = threading.Thread(target=self.read_lines, daemon=True)
        self.reader.start()
        if not self.listening.wait(PATIENCE) or self.port is None:
            self.process.kill()
            raise RuntimeError("no listening line: " + "".join(self.lines))

    def read_lines(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace")
            self.lines.append(line)
            found = re.fullmatch(r"listening on http://(.*):(\d+)\n", line)
            if found:
                self.host, self.port = found.group(1).strip("[]"), int(found.group(2))
                self.listening.set()
        self.listening.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.reader.join(PATIENCE)
        self.process.stderr.close()
        report = "".join(self.lines)
        if "Sanitizer" in report or self.process.returncode < 0:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{report[-8000:]}")

    def connect(self, receive_buffer=None):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(PATIENCE)
        try:
            s.connect((self.host, self.port))
        except OSError:
            s.close()
            raise
        return s

    def ask(self, method, path, body=None, headers=None, port=None):
        c = http.client.HTTPConnection(self.host, port or self.port, timeout=PATIENCE)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def post(self, document, **headers):
        return self.ask("POST", "/v1/attention", json.dumps(document), {"Content-Type": "application/json", **headers})

    def metric(self, name, port=None):
        """The sum of a metric's series."""
        _, _, text = self.ask("GET", "/metrics", port=port)
        return sum(float(line.split()[-1]) for line in text.decode().splitlines() if re.match(re.escape(name) + r"[{ ]", line))

    def wait_until(self, name, fits, expected):
        try:
            wait_for(lambda: fits(self.metric(name)))
        except AssertionError:
            raise AssertionError(f"{name} is {self.metric(name)}, expected {expected}") from None

    def wait_for(self, name, value):
        self.wait_until(name, lambda now: now == value, value)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            return sum(map(int, f.read().split()[13:15])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


SMALL = {"embeddings": [[1, 0], [0, 1], [1, 1]], "output": ["attentions"]}


def large(tokens, heads=4):
    """An answer of heads * tokens^2 numbers, cheap to compute."""
    width = 2 * heads
    numbers = [((i * 7919) % 1000) / 500 - 1 for i in range(tokens * width)]
    data = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return {"num_attention_heads": heads, "output": ["attentions"], "embeddings": {"dtype": "float32", "shape": [tokens, width], "data": data}}


def request_bytes(document, *headers):
    body = json.dumps(document).encode()
    head = ["POST /v1/attention HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def busy(server, texts=1500):
    """A client whose request keeps a worker computing for half a minute or more (1,500 texts), or as long as the socket is open. The server takes BATCHES."""
    s = server.connect()
    s.sendall(request_bytes({"model": "attnd-bert", "text": ["the dog and the cat " * 90] * texts, "output": [], "analyses": ["entropy"], "truncation": True}))
    return s


def stall(server, tokens=1024):
    """A client that asks for much and reads nothing: its request waits for it, for as long as the socket is open."""
    s = server.connect(receive_buffer=4096)
    s.sendall(request_bytes(large(tokens)))
    return s


def read_exactly(s, n):
    pieces = []
    while n > 0:
        piece = s.recv(min(n, 1 << 20))
        if not piece:
            raise ConnectionError("closed in the middle of an answer")
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def read_line(s):
    """A byte at a time, so that nothing of a next response is taken."""
    line = b""
    while not line.endswith(b"\r\n"):
        line += read_exactly(s, 1)
    return line[:-2].decode("latin-1")


def read_fields(s):
    fields = {}
    while line := read_line(s):
        name, value = line.split(": ", 1)
        fields[name.lower()] = value
    return fields


def read_head(s):
    return int(read_line(s).split()[1]), read_fields(s)


def read_chunked(s):
    pieces = []
    while (size := int(read_line(s).split(";")[0], 16)) > 0:
        pieces.append(read_exactly(s, size))
        read_exactly(s, 2)
    return b"".join(pieces), read_fields(s)


def read_to_the_end(s):
    pieces = []
    while piece := s.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def read_response(s):
    """A whole response of any framing: status, headers, body, trailers."""
    status, headers = read_head(s)
    if headers.get("transfer-encoding") == "chunked":
        return status, headers, *read_chunked(s)
    if "content-length" in headers:
        return status, headers, read_exactly(s, int(headers["content-length"])), {}
    return status, headers, read_to_the_end(s), {}


def is_closed(s):
    """Reads what is left and says whether the other side ends the connection."""
    try:
        while s.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def is_sanitized():
    """Sanitizers keep a shadow of all memory."""
    with open(PROGRAM, "rb") as f:
        program = f.read()
    return b"__tsan_init" in program or b"__asan_init" in program


class Case(unittest.TestCase):
    def assertProblem(self, answer, status, code):
        got, headers, body = answer[:3]
        self.assertEqual(got, status, body[:300])
        self.assertEqual(headers["content-type"], "application/problem+json")
        problem = json.loads(body)
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        self.assertEqual(problem["request_id"], headers["x-request-id"])
        return problem


class Basics(Case):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(Server("--cors-origin", "https://a.example", "--cors-origin", "https://b.example", "--threads", "2"))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_health_and_readiness_answer_ok(self):
        self.assertEqual(json.loads(self.server.ask("GET", "/healthz")[2]), {"status": "ok"})
        self.assertEqual(json.loads(self.server.ask("GET", "/readyz")[2]), {"status": "ready"})

    def test_a_connection_is_kept_for_many_requests(self):
        c = http.client.HTTPConnection(self.server.host, self.server.port, timeout=PATIENCE)
        ports = set()
        for method, path, body in [("GET", "/healthz", None), ("POST", "/v1/attention", json.dumps(SMALL)), ("GET", "/nope", None), ("GET", "/v1/models", None)] * 3:
            c.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            c.getresponse().read()
            ports.add(c.sock.getsockname()[1])
        c.close()
        self.assertEqual(len(ports), 1)

    def test_pipelined_requests_are_answered_in_order(self):
        with self.server.connect() as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: one\r\n\r\n" + request_bytes(SMALL, "X-Request-Id: two")
                      + b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-Request-Id: three\r\n\r\n")
            for wanted in ("one", "two", "three"):
                status, headers, _, _ = read_response(s)
                self.assertEqual((status, headers["x-request-id"]), (200, wanted))

    def test_accept_on_several_lines_is_one_list(self):
        for first, second, wanted in (
            ("text/html", "application/json", "application/json"),
            ("application/json;q=0.5", "application/x-ndjson", "application/x-ndjson"),
            ("text/html", "text/css", "application/problem+json"),
        ):
            with self.subTest(first), self.server.connect() as s:
                s.sendall(request_bytes(SMALL, f"Accept: {first}\r\nAccept: {second}"))
                self.assertEqual(read_response(s)[1]["content-type"], wanted)

    def test_a_target_in_absolute_form_is_its_path(self):
        for target, status in (("http://example.org/healthz", 200), ("HTTPS://a@b:1/v1/models?x=1", 400), ("http://example.org/v1/models", 200), ("http://example.org", 200),
                               ("http://example.org/nope", 404), ("ftp://example.org/healthz", 404), ("http:/healthz", 404)):
            with self.subTest(target), self.server.connect() as s:
                s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                self.assertEqual(read_response(s)[0], status)

    def test_a_long_answer_does_not_wait_for_a_body_that_it_does_not_need(self):
        for framing in ("Content-Length: 9000000", "Content-Length: 10", "Transfer-Encoding: chunked"):
            with self.subTest(framing), self.server.connect() as s:
                s.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
                status, headers, body, _ = read_response(s)
                self.assertEqual((status, headers["connection"].lower()), (200, "close"))
                self.assertIn("paths", json.loads(body))

    def test_a_slow_head_takes_nothing_of_the_time_for_a_refused_body(self):
        with self.server.connect() as s:
            s.sendall(b"PUT /v1/attention HTTP/1.1\r\nHost: x\r\n")
            time.sleep(DISCARD_S + 0.5)
            s.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(10):
                s.sendall(b"1\r\nx\r\n")
                time.sleep(0.1)
            s.sendall(b"0\r\n\r\n")
            self.assertProblem(read_response(s), 405, "method_not_allowed")
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # and the connection is kept
            self.assertEqual(read_response(s)[0], 200)

    def test_head_is_get_without_a_body(self):
        for path in ("/healthz", "/readyz", "/v1/models", "/metrics"):
            with self.subTest(path), self.server.connect() as s:
                s.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, headers = read_head(s)
                self.assertEqual(status, 200)
                self.assertGreater(int(headers["content-length"]), 0)
                self.assertEqual(json.loads(read_response(s)[2]), {"status": "ok"})

    def test_an_allowed_origin_may_read_answers(self):
        for origin in ("https://a.example", "https://b.example"):
            _, headers, _ = self.server.ask("GET", "/healthz", headers={"Origin": origin})
            self.assertEqual(headers["access-control-allow-origin"], origin)
            self.assertEqual(headers["vary"], "Origin")
            self.assertEqual(headers["access-control-expose-headers"], "X-Request-Id, Server-Timing, Retry-After")

    def test_another_origin_may_not(self):
        for headers in ({"Origin": "https://c.example"}, {"Origin": "null"}, {}):
            _, got, _ = self.server.ask("GET", "/healthz", headers=headers)
            self.assertNotIn("access-control-allow-origin", got)
            self.assertEqual(got["vary"], "Origin")

    def test_preflight_tells_what_may_be_sent(self):
        status, headers, body = self.server.ask("OPTIONS", "/v1/attention", headers={
            "Origin": "https://a.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
        self.assertEqual((status, body), (204, b""))
        self.assertEqual(headers["allow"], "POST, OPTIONS")
        self.assertIn("POST", headers["access-control-allow-methods"])
        for name in ("Authorization", "Content-Type", "X-Request-Id"):
            self.assertIn(name, headers["access-control-allow-headers"])

    def test_options_of_an_unknown_path_is_404(self):
        self.assertProblem(self.server.ask("OPTIONS", "/nope"), 404, "not_found")
        self.assertEqual(self.server.ask("OPTIONS", "*")[0], 204)

    def test_a_sane_request_id_is_kept(self):
        for wanted in ("a", "x" * 128, "id-1/2.3:4"):
            self.assertEqual(self.server.ask("GET", "/healthz", headers={"X-Request-Id": wanted})[1]["x-request-id"], wanted)

    def test_any_other_request_id_is_replaced(self):
        seen = set()
        for bad in ("x" * 129, "two words", "caf\u00e9", "tab\there", ""):
            got = self.server.ask("GET", "/healthz", headers={"X-Request-Id": bad})[1]["x-request-id"]
            self.assertRegex(got, r"^[0-9a-f]{32}$")
            seen.add(got)
        self.assertEqual(len(seen), 5)

    def test_unknown_paths_are_404(self):
        for path in ("/nope", "/v1", "/v1/attention/", "//healthz", "/healthz%00", "/health%7", "/%"):
            self.assertProblem(self.server.ask("GET", path), 404, "not_found")

    def test_a_path_is_decoded(self):
        self.assertEqual(self.server.ask("GET", "/health%7a")[0], 200)

    def test_wrong_methods_are_405_with_allow(self):
        answer = self.server.ask("GET", "/v1/attention")
        self.assertProblem(answer, 405, "method_not_allowed")
        self.assertEqual(answer[1]["allow"], "POST, OPTIONS")
        answer = self.server.ask("POST", "/healthz", "{}")
        self.assertProblem(answer, 405, "method_not_allowed")
        self.assertEqual(answer[1]["allow"], "GET, HEAD, OPTIONS")

    def test_wrong_media_types_are_406_and_415(self):
        self.assertProblem(self.server.post(SMALL, Accept="audio/ogg"), 406, "not_acceptable")
        self.assertProblem(self.server.ask("POST", "/v1/attention", "<a/>", {"Content-Type": "text/xml"}), 415, "unsupported_media_type")

    def test_small_answers_have_a_length_and_all_times(self):
        status, headers, body = self.server.post(SMALL)
        self.assertEqual(status, 200)
        self.assertEqual(int(headers["content-length"]), len(body))
        for stage in ("queue", "tokenize", "compute", "encode"):
            self.assertRegex(headers["server-timing"], rf"{stage};dur=\d+\.\d+")
        self.assertEqual(headers["cache-control"], "no-store")

    def test_large_answers_are_chunked_with_times_in_the_trailer(self):
        with self.server.connect() as s:
            s.sendall(request_bytes(large(300)))
            status, headers, body, trailers = read_response(s)
        self.assertEqual(status, 200)
        self.assertEqual(headers["transfer-encoding"], "chunked")
        self.assertEqual(headers["trailer"], "Server-Timing")
        self.assertRegex(headers["server-timing"], r"^queue;dur=\d+\.\d+, tokenize;dur=\d+\.\d+$")
        self.assertRegex(trailers["server-timing"], r"^compute;dur=\d+\.\d+, encode;dur=\d+\.\d+$")
        json.loads(body)

    def test_http_1_0_gets_large_answers_up_to_the_end_of_the_connection(self):
        with self.server.connect() as s:
            s.sendall(request_bytes(large(300)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            status, headers, body, _ = read_response(s)
        self.assertEqual(status, 200)
        self.assertNotIn("transfer-encoding", headers)
        json.loads(body)

    def test_a_chunked_body_is_read(self):
        body = json.dumps(SMALL).encode()
        with self.server.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 7):
                piece = body[i:i + 7]
                s.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            s.sendall(b"0\r\n\r\n")
            self.assertEqual(read_response(s)[0], 200)

    def test_a_body_that_may_come_is_asked_for(self):
        body = json.dumps(SMALL).encode()
        with self.server.connect() as s:
            s.sendall(f"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 100"))
            s.sendall(body)
            self.assertEqual(read_response(s)[0], 200)

    def test_a_refused_body_need_not_be_sent(self):
        for head, status, code in ((b"POST /nope HTTP/1.1\r\n", 404, "not_found"),
                                   (b"POST /v1/attention HTTP/1.1\r\nContent-Type: text/xml\r\n", 415, "unsupported_media_type"),
                                   (b"POST /v1/attention HTTP/1.1\r\nContent-Length: 99999999999\r\n", 413, "body_too_large")):
            with self.subTest(code), self.server.connect() as s:
                length = b"" if b"Content-Length" in head else b"Content-Length: 1000\r\n"
                s.sendall(head + length + b"Host: x\r\nExpect: 100-continue\r\n\r\n")
                self.assertProblem(read_response(s), status, code)
                self.assertTrue(is_closed(s))

    def test_a_short_refused_body_does_not_cost_the_connection(self):
        with self.server.connect() as s:
            body = b"x" * 300000
            s.sendall(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertProblem(read_response(s), 404, "not_found")
            self.assertEqual(read_response(s)[0], 200)

    def test_a_body_of_unclear_length_is_refused(self):
        for framing in (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Content-Length: 3\r\nContent-Length: 5\r\n"):
            with self.subTest(framing), self.server.connect() as s:
                s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n{}\n")
                self.assertProblem(read_response(s), 400, "unknown_value")
                self.assertTrue(is_closed(s))

    def test_a_header_that_could_hide_the_length_is_refused(self):
        hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        length = str(len(hidden)).encode()
        for framing in (b"Content-Length : " + length, b"Content-Length\t: " + length, b"Transfer-Encoding : chunked", b"X: a\rContent-Length: " + length,
                        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Content-Length: " + length + b"\r\nX Y: z"):
            with self.subTest(framing), self.server.connect() as s:
                s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + hidden)
                self.assertProblem(read_response(s), 400, "unknown_value")
                self.assertTrue(is_closed(s))
        with self.server.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\n Content-Length: " + length + b"\r\nHost: x\r\n\r\n" + hidden)
            self.assertProblem(read_response(s), 400, "unknown_value")
            self.assertTrue(is_closed(s))

    def test_chunks_are_not_known_to_http_1_0(self):
        with self.server.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            self.assertProblem(read_response(s), 400, "unknown_value")
            self.assertTrue(is_closed(s))

    def test_nonsense_does_no_harm(self):
        for nonsense in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 200000, b"\r\n" * 50, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000):
            with self.server.connect() as s:
                with contextlib.suppress(OSError):
                    s.sendall(nonsense)
                    s.shutdown(socket.SHUT_WR)
                s.settimeout(0.2)
                is_closed(s)
        self.assertEqual(self.server.ask("GET", "/healthz")[0], 200)

    def test_a_cut_request_does_no_harm(self):
        whole = request_bytes(SMALL)
        for n in range(0, len(whole), 13):
            with self.server.connect() as s:
                s.sendall(whole[:n])
        self.assertEqual(self.server.post(SMALL)[0], 200)

    def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(self):
        with Server() as server:
            for _ in range(20):
                for n in (-5, 50):
                    with server.connect() as s:
                        s.sendall(request_bytes(SMALL)[:n])
            server.wait_for("attnd_connections", 1)

    def test_a_client_that_closes_its_side_gets_its_answer_and_the_end(self):
        with Server() as server, server.connect() as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            s.shutdown(socket.SHUT_WR)
            begin = time.monotonic()
            self.assertEqual(read_response(s)[0], 200)
            self.assertTrue(is_closed(s))
            self.assertLess(time.monotonic() - begin, 20)

    def test_a_head_that_never_ends_costs_the_connection(self):
        with Server("--timeout", "500ms") as server, server.connect() as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\n")
            begin = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - begin < 10:
                    s.sendall(b"A: b\r\n")
                    time.sleep(0.05)
            self.assertLess(time.monotonic() - begin, 5)

    def test_metrics_are_well_formed(self):
        self.server.post(SMALL)
        status, headers, text = self.server.ask("GET", "/metrics")
        self.assertEqual((status, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        types, seen = {}, set()
        for line in text.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.assertNotIn(name, types)
                types[name] = kind
            elif not line.startswith("#"):
                found = re.fullmatch(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? ([0-9.e+-]+)', line)
                self.assertTrue(found, line)
                name = found.group(1)
                family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in types else name
                self.assertIn(family, types, line)
                self.assertNotIn(found.group(1, 2), seen)
                seen.add(found.group(1, 2))
        for name in ("attnd_requests_total", "attnd_build_info", "attnd_model_info", "attnd_queue_capacity", "process_resident_memory_bytes",
                     "attnd_memory_budget_bytes", "attnd_ready", "attnd_stage_duration_seconds", "process_start_time_seconds"):
            self.assertIn(name, types)

    def test_requests_are_counted_by_route_method_and_code(self):
        def count():
            _, _, text = self.server.ask("GET", "/metrics")
            return sum(int(line.split()[-1]) for line in text.decode().splitlines()
                       if line.startswith('attnd_requests_total{route="/v1/attention",method="GET",code="405"}'))
        before = count()
        for _ in range(3):
            self.server.ask("GET", "/v1/attention")
        wait_for(lambda: count() >= before + 3)
        self.assertEqual(count(), before + 3)


class Bodies(Case):
    def test_a_body_over_the_limit_is_413_with_limit_and_need(self):
        with Server("--max-body-bytes", "100KiB") as server:
            for n in (102401, 1 << 20, 20 << 20):
                with self.subTest(n), server.connect() as s:
                    answer = []
                    reader = threading.Thread(target=lambda: answer.append(read_response(s)))
                    reader.start()
                    with contextlib.suppress(ConnectionError):
                        s.sendall(f"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n".encode())
                        for _ in range(0, n, 1 << 16):
                            s.sendall(b" " * min(n, 1 << 16))
                    reader.join(PATIENCE)
                    problem = self.assertProblem(answer[0], 413, "body_too_large")
                    self.assertEqual((problem["limit"], problem["need"]), (102400, n))
            self.assertEqual(server.post(SMALL)[0], 200)

    def test_a_chunked_body_is_refused_as_soon_as_it_passes_the_limit(self):
        with Server("--max-body-bytes", "1000") as server, server.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b" " * 1001 + b"\r\n")
            problem = self.assertProblem(read_response(s), 413, "body_too_large")
            self.assertEqual(problem["limit"], 1000)
            self.assertEqual(server.post(SMALL)[0], 200)

    def test_a_body_that_never_ends_is_408(self):
        with Server("--timeout", "500ms") as server, server.connect() as s:
            begin = time.monotonic()
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            self.assertProblem(read_response(s), 408, "request_timeout")
            self.assertGreaterEqual(time.monotonic() - begin, 0.45)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertEqual(server.post(SMALL)[0], 200)

    def test_a_refused_body_that_never_ends_is_answered_in_the_end(self):
        with Server() as server, server.connect() as s:
            begin = time.monotonic()
            s.sendall(b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            self.assertProblem(read_response(s), 404, "not_found")
            self.assertTrue(is_closed(s))
            self.assertLess(time.monotonic() - begin, 12)


class Load(Case):
    def test_a_full_queue_is_503_with_retry_after(self):
        with Server("--threads", "1", "--queue", "1", *BATCHES) as server:
            with busy(server):
                server.wait_for("attnd_running_requests", 1)
                with server.connect() as waiting:
                    waiting.sendall(request_bytes(SMALL))
                    server.wait_for("attnd_queue_length", 1)
                    answer = server.post(SMALL)
                    self.assertProblem(answer, 503, "queue_full")
                    self.assertGreaterEqual(int(answer[1]["retry-after"]), 1)
                    with server.connect() as s:  # and one that asks first need not send its body
                        s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
                        self.assertProblem(read_response(s), 503, "queue_full")
            server.wait_for("attnd_running_requests", 0)
            self.assertEqual(server.post(SMALL)[0], 200)
            server.wait_for("attnd_rejected_requests_total", 2)

    def test_a_client_that_leaves_frees_its_worker(self):
        with Server("--threads", "1", *BATCHES) as server:
            s = busy(server)
            server.wait_for("attnd_running_requests", 1)
            with server.connect() as waiting:
                waiting.sendall(request_bytes(SMALL))
                server.wait_for("attnd_queue_length", 1)
                begin = time.monotonic()
                s.close()
                self.assertEqual(read_response(waiting)[0], 200)
                self.assertLess(time.monotonic() - begin, 5)

    def test_a_client_that_leaves_the_queue_is_never_worked_for(self):
        with Server("--threads", "1", *BATCHES) as server, busy(server):
            server.wait_for("attnd_running_requests", 1)
            waiting = server.connect()
            waiting.sendall(request_bytes(SMALL))
            server.wait_for("attnd_queue_length", 1)
            waiting.close()
            server.wait_for("attnd_queue_length", 0)
            server.wait_for("attnd_cancelled_requests_total", 1)
            self.assertEqual(server.metric("attnd_stage_duration_seconds_count"), 0)  # of neither: nothing was computed in no time

    def test_a_running_request_is_broken_off_at_its_deadline(self):
        with Server("--threads", "1", "--timeout", "1s") as server, stall(server) as stalled:
            server.wait_for("attnd_waiting_for_clients", 1)
            begin = time.monotonic()
            server.wait_for("attnd_waiting_for_clients", 0)
            self.assertLess(time.monotonic() - begin, 5)
            with self.assertRaises(ConnectionError):  # and the client can see that its answer is torn
                read_response(stalled)
            self.assertEqual(server.post(SMALL)[0], 200)

    def test_a_queued_request_is_504_at_its_deadline(self):
        with Server("--threads", "1", "--timeout", "2s", *BATCHES) as server, server.connect() as waiting:
            head, body = request_bytes(SMALL).split(b"\r\n\r\n")
            waiting.sendall(head + b"\r\n\r\n" + body[:5])  # its time begins here,
            time.sleep(0.7)
            with busy(server):  # so it is over before that of the request that it comes to wait for
                server.wait_for("attnd_running_requests", 1)
                waiting.sendall(body[5:])
                self.assertProblem(read_response(waiting), 504, "deadline_exceeded")
                self.assertEqual(server.metric("attnd_running_requests"), 1)

    def test_a_slow_reader_costs_little_memory_and_gets_everything(self):
        with Server("--threads", "1") as server:
            document = large(1024)
            server.post(large(64))
            before = server.resident()
            with server.connect(receive_buffer=4096) as s:
                s.sendall(request_bytes(document))
                time.sleep(1.0)
                grown = server.resident() - before
                status, _, body, _ = read_response(s)
            self.assertEqual(status, 200)
            self.assertGreater(len(body), 30 << 20)
            self.assertLess(grown, (256 if is_sanitized() else 64) << 20, "maps of one layer, a pipe, and no answer")
            self.assertEqual(body.count(b"["), body.count(b"]"))

    def test_answers_that_nobody_reads_leave_memory_for_others(self):
        with Server("--threads", "2", "--queue", "1000", "--max-memory-bytes", "64MiB", "--timeout", "5s") as server, contextlib.ExitStack() as stack:
            request = large(540, 1)
            price = json.loads(server.ask("POST", "/v1/estimate", json.dumps(request), {"Content-Type": "application/json"})[2])
            most = (64 << 20) + price["memory_bytes"]  # where all wait for each other, one is let through beyond the limit
            for _ in range(120):  # of each, the system's socket buffers take two thirds or so
                stack.enter_context(server.connect(receive_buffer=4096)).sendall(request_bytes(request))
            until = time.monotonic() + 8
            while time.monotonic() < until:
                self.assertLess(server.metric("attnd_memory_used_bytes"), most)
                time.sleep(0.1)
            self.assertEqual(server.post(SMALL)[0], 200)

    def test_one_client_at_a_time_needs_no_queue(self):
        with Server("--threads", "1", "--queue", "0", "--log-level", "error") as server:
            c = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
            for _ in range(1000):
                c.request("POST", "/v1/attention", json.dumps(SMALL))
                r = c.getresponse()
                r.read()
                self.assertEqual(r.status, 200)
            c.close()

    def test_health_is_quick_while_all_workers_are_busy(self):
        with Server("--threads", "2", "--queue", "8", *BATCHES) as server, contextlib.ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(busy(server))
            server.wait_for("attnd_running_requests", 2)
            times = []
            for path in ("/healthz", "/readyz", "/metrics") * 10:
                begin = time.monotonic()
                self.assertEqual(server.ask("GET", path)[0], 200)
                times.append(time.monotonic() - begin)
            self.assertLess(sorted(times)[len(times) // 2], 0.25)

    def test_many_clients_at_once_get_their_own_answers(self):
        with Server("--threads", "2", "--queue", "1000") as server:
            failures = []

            def client(n):
                try:
                    c = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
                    for i in range(10):
                        tokens = 2 + (n * 10 + i) % 40
                        c.request("POST", "/v1/attention", json.dumps(large(tokens)), {"Content-Type": "application/json", "X-Request-Id": f"{n}-{i}"})
                        r = c.getresponse()
                        body = r.read()
                        if r.status != 200 or r.headers["X-Request-Id"] != f"{n}-{i}" or body.count(b"0.") + body.count(b"1") < tokens:
                            failures.append((n, i, r.status, body[:100]))
                    c.close()
                except Exception as e:
                    failures.append((n, repr(e)))
            threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(failures, [])

    def test_clients_that_come_and_go_at_any_moment_do_no_harm(self):
        requests = [request_bytes(SMALL), request_bytes(large(200)), request_bytes(large(700)), b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000, request_bytes(SMALL).replace(b"[", b"{")]

        def client(server, seed, until):
            chance = random.Random(seed)
            while time.monotonic() < until:
                with contextlib.suppress(OSError), server.connect() as s:
                    s.settimeout(chance.choice((0.001, 0.01, 0.1)))
                    for _ in range(chance.randrange(1, 4)):
                        data = chance.choice(requests)
                        s.sendall(data[:chance.randrange(len(data))] if chance.random() < 0.3 else data)
                        for _ in range(chance.randrange(4)):
                            s.recv(chance.choice((10, 10000, 1000000)))
                    if chance.random() < 0.3:  # ends with a reset instead of a close
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for seed, ends_in_the_middle in ((1, False), (2, True)):
            with Server("--threads", "2", "--queue", "4", "--timeout", "300ms", "--drain-timeout", "500ms", "--log-level", "error") as server:
                until = time.monotonic() + 2
                threads = [threading.Thread(target=client, args=(server, seed * 100 + i, until)) for i in range(12)]
                for t in threads:
                    t.start()
                if ends_in_the_middle:
                    time.sleep(1)
                    server.process.send_signal(signal.SIGTERM)
                    self.assertEqual(server.process.wait(PATIENCE), 0)
                for t in threads:
                    t.join()
                if not ends_in_the_middle:
                    for name in ("attnd_running_requests", "attnd_queue_length", "attnd_memory_waiting_requests"):
                        server.wait_for(name, 0)
                    server.wait_for("attnd_connections", 1)
                    server.wait_until("attnd_memory_used_bytes", lambda used: used < 100000, "the block of this very answer")
                    self.assertLess(server.metric("attnd_memory_used_bytes"), 100000)
                    self.assertEqual(server.post(SMALL)[0], 200)

    def test_a_thousand_idle_connections_are_no_burden(self):
        with Server() as server, contextlib.ExitStack() as stack:
            before = server.resident()
            for _ in range(1000):
                stack.enter_context(server.connect())
            server.wait_for("attnd_connections", 1001)
            self.assertEqual(server.post(SMALL)[0], 200)
            self.assertLess(server.resident() - before, 64 << 20)

    def test_too_many_connections_are_told_so(self):
        with Server("--max-connections", "3") as server, contextlib.ExitStack() as stack:
            for _ in range(3):
                s = stack.enter_context(server.connect())
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                read_response(s)
            answer = server.post(SMALL)
            self.assertProblem(answer, 503, "too_many_connections")
            self.assertIn("retry-after", answer[1])
            self.assertEqual(server.ask("GET", "/healthz")[0], 200)


    def test_connections_beyond_the_file_descriptors_wait_quietly(self):
        for files in (40, 100, 200):
            with (self.subTest(files), Server("--log-level", "error", preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) as server,
                  contextlib.ExitStack() as stack):
                for _ in range(300):
                    stack.enter_context(server.connect())
                time.sleep(0.5)
                before = server.cpu_seconds()
                time.sleep(1)
                self.assertLess(server.cpu_seconds() - before, 0.5)
                stack.close()
                self.assertEqual(server.post(SMALL)[0], 200)


class Shutdown(Case):
    def test_a_signal_ends_an_idle_server_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server() as server, server.connect() as idle:
                idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                read_response(idle)
                begin = time.monotonic()
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(PATIENCE), 0)
                self.assertLess(time.monotonic() - begin, 5)

    def test_an_answer_on_its_way_is_finished(self):
        with Server("--threads", "2") as server, server.connect() as idle, stall(server) as s:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            read_response(idle)
            server.wait_for("attnd_waiting_for_clients", 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with self.assertRaises(OSError):  # newcomers are refused
                server.connect()
            idle.sendall(request_bytes(SMALL))  # and so is new work on old connections
            answer = read_response(idle)
            self.assertProblem(answer, 503, "draining")
            self.assertIn("retry-after", answer[1])
            self.assertEqual(answer[1]["connection"], "close")
            self.assertIsNone(server.process.poll())
            status, _, body, _ = read_response(s)
            self.assertEqual(status, 200)
            self.assertEqual(body.count(b"["), body.count(b"]"))
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_queued_work_is_finished(self):
        patient = ("--timeout", "120s", "--drain-timeout", "120s")
        with Server("--threads", "1", *patient, *BATCHES) as server, busy(server, 3 if is_sanitized() else 100) as s, server.connect() as waiting:
            server.wait_for("attnd_running_requests", 1)
            waiting.sendall(request_bytes(SMALL))
            server.wait_for("attnd_queue_length", 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            self.assertEqual(read_response(s)[0], 200)
            self.assertEqual(read_response(waiting)[0], 200)
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_work_that_takes_too_long_is_dropped(self):
        with Server("--threads", "1", "--drain-timeout", "300ms", *BATCHES) as server, busy(server):
            server.wait_for("attnd_running_requests", 1)
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(PATIENCE), 0)
            self.assertGreaterEqual(time.monotonic() - begin, 0.25)
            self.assertLess(time.monotonic() - begin, 10)

    def test_work_that_is_dropped_is_told_so(self):
        """In place of an answer: 503, so that it is asked elsewhere; within one that comes in lines, its last line."""
        with Server("--threads", "1", "--drain-timeout", "300ms") as server, server.connect() as s:
            rows = [[1, 2, 3, 4, 5, 6, 7, 8]] * 16384
            s.sendall(request_bytes({"embeddings": rows, "num_attention_heads": 8, "output": [], "analyses": ["entropy"]}))
            server.wait_for("attnd_running_requests", 1)
            server.process.send_signal(signal.SIGTERM)
            answer = read_response(s)
            self.assertProblem(answer, 503, "draining")
            self.assertIn("retry-after", answer[1])
            self.assertEqual(server.process.wait(PATIENCE), 0)
        with Server("--threads", "1", "--drain-timeout", "300ms", *BATCHES) as server, server.connect() as s:
            document = {"model": "attnd-bert", "text": ["the dog and the cat " * 90] * 1500, "output": [], "analyses": ["entropy"], "truncation": True}
            s.sendall(request_bytes(document, "Accept: application/x-ndjson"))
            status, _ = read_head(s)
            server.process.send_signal(signal.SIGTERM)
            last = json.loads(read_chunked(s)[0].splitlines()[-1])
            self.assertEqual((status, last["error"]["code"], last["error"]["status"]), (200, "draining", 503))
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_a_finished_answer_that_nobody_takes_is_dropped(self):
        with Server("--threads", "1", "--drain-timeout", "300ms") as server, server.connect(receive_buffer=4096) as s:
            s.sendall(request_bytes(large(540, 1)))
            time.sleep(1)  # it is begun by now,
            server.wait_for("attnd_running_requests", 0)  # and finished
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(PATIENCE), 0)
            self.assertLess(time.monotonic() - begin, 4)
        self.assertNotIn("does not end", "".join(server.lines))

    def test_a_body_on_its_way_is_refused(self):
        with Server() as server, server.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            self.assertProblem(read_response(s), 503, "draining")
            s.close()
            self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_a_second_signal_ends_it_at_once(self):
        with Server("--threads", "1", *BATCHES) as server, busy(server):
            server.wait_for("attnd_running_requests", 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.process.wait(5), 128 + signal.SIGINT)


class Program(Case):
    def run_program(self, *options, env=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ATTND_")}
        environment.update(env or {})
        done = subprocess.run([PROGRAM, *options], capture_output=True, timeout=PATIENCE, env=environment)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_help_names_every_option(self):
        code, out, _ = self.run_program("--help")
        self.assertEqual(code, 0)
        for option in ("host port model threads queue timeout drain-timeout max-body-bytes max-tokens max-batch max-response-bytes max-memory-bytes "
                       "max-connections max-requests-per-key unix-socket tls-cert tls-key api-key-file seccomp kernels probe cors-origin metrics-port log-level log-format "
                       "help version check").split():
            self.assertIn(f"--{option}", out)

    def test_version_is_printed(self):
        code, out, _ = self.run_program("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^attnd \d+\.\d+\.\d+\n$")

    def test_check_loads_the_models_and_exits(self):
        self.assertEqual(self.run_program("--check")[0], 0)

    def test_wrong_options_are_named(self):
        for options, words in ((["--prot", "1"], ["--prot", "--port"]), (["--port"], ["--port", "value"]), (["--port", "65536"], ["--port", "65536"]),
                               (["--port", "1x"], ["1x"]), (["--timeout", "5 minutes"], ["--timeout"]), (["--max-body-bytes", "1XB"], ["1XB"]),
                               (["--kernels", "mmx"], ["--kernels", "mmx"]), (["--log-level", "loud"], ["loud", "debug"]), (["extra"], ["extra"])):
            code, _, error = self.run_program(*options)
            self.assertEqual(code, 2, options)
            self.assertEqual(error.count("\n"), 1)
            for word in words:
                self.assertIn(word, error)

    def test_the_environment_is_a_source_and_the_command_line_wins(self):
        code, _, error = self.run_program("--check", env={"ATTND_PORT": "x"})
        self.assertEqual(code, 2)
        self.assertIn("ATTND_PORT", error)
        with Server("--queue", "7", env={"ATTND_QUEUE": "9", "ATTND_THREADS": "1"}) as server:
            self.assertEqual(server.metric("attnd_queue_capacity"), 7)
            self.assertEqual(server.metric("attnd_workers"), 1)

    def test_a_model_that_cannot_be_opened_is_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "none")
            for options in (["--model", path], ["--model", f"mine={path}", "--check"], ["--model", "org/name"]):
                code, _, error = self.run_program("--port", "0", *options)
                self.assertEqual(code, 1)
                lines = [line for line in error.splitlines() if line.startswith("attnd: ")]
                self.assertEqual(len(lines), 1, error)
                self.assertIn(options[1].split("=")[-1], lines[0])

    def test_two_models_may_not_share_a_name(self):
        code, _, error = self.run_program("--check", "--model", "a=builtin:attnd-bert", "--model", "a=builtin:attnd-bert")
        self.assertEqual(code, 1)
        self.assertIn("a", error)

    def test_models_carry_the_names_given(self):
        with Server("--model", "first=builtin:attnd-bert", "--model", "builtin:attnd-bert") as server:
            _, _, text = server.ask("GET", "/metrics")
            self.assertIn(b'attnd_model_info{model="first"', text)
            self.assertIn(b'attnd_model_info{model="attnd-bert"', text)

    def test_probe_tells_whether_a_server_is_ready(self):
        with Server() as server:
            for url in (f"http://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}/", f"127.0.0.1:{server.port}/readyz"):
                self.assertEqual(self.run_program("--probe", url)[0], 0)
            port = server.port
        self.assertEqual(self.run_program("--probe", f"http://127.0.0.1:{port}")[0], 1)

    def test_the_port_may_be_taken(self):
        with Server() as server:
            code, _, error = self.run_program("--port", str(server.port))
            self.assertEqual(code, 1)
            self.assertIn(str(server.port), error)

    def test_ipv6_is_served(self):
        if not socket.has_ipv6:
            self.skipTest("no IPv6 here")
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("no IPv6 here")
        with Server("--host", "::1") as server:
            self.assertEqual(server.ask("GET", "/healthz")[0], 200)

    def test_the_metrics_port_has_nothing_else(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with Server("--metrics-port", str(port)) as server:
            for path in ("/metrics", "/healthz", "/readyz"):
                self.assertEqual(server.ask("GET", path, port=port)[0], 200)
            self.assertProblem(server.ask("GET", "/v1/models", port=port), 404, "not_found")
            self.assertEqual(server.ask("GET", "/metrics")[0], 200)

    def test_any_origin_may_be_allowed(self):
        with Server("--cors-origin", "*") as server:
            _, headers, _ = server.ask("GET", "/healthz", headers={"Origin": "https://anywhere.example"})
            self.assertEqual(headers["access-control-allow-origin"], "*")

    def test_each_request_is_one_line_that_cannot_be_forged(self):
        for form in ("text", "json"):
            with Server("--log-format", form) as server:
                server.ask("GET", "/no%0aline=1%22%20status=200", headers={"X-Request-Id": "ab\"c"})
                server.post(SMALL, **{"X-Request-Id": "worked"})
            lines = sorted((line for line in server.lines if "request_id" in line), key=lambda line: "worked" in line)
            self.assertEqual(len(lines), 2, server.lines)
            if form == "json":
                first, second = map(json.loads, lines)
                self.assertEqual(first["path"], "/no\nline=1\" status=200")
                self.assertEqual((first["status"], first["request_id"]), (404, "ab\"c"))
                self.assertEqual((second["event"], second["method"], second["status"], second["outcome"]), ("request", "POST", 200, "ok"))
                for name in ("duration_ms", "queue_ms", "tokenize_ms", "compute_ms", "encode_ms"):
                    self.assertIsInstance(second[name], float)
            else:
                self.assertIn('path="/no\\u000aline=1\\" status=200"', lines[0])
                self.assertRegex(lines[1], r"method=POST path=/v1/attention status=200 outcome=ok bytes_in=\d+ bytes=\d+ duration_ms=\d+\.\d{3} request_id=worked")

    def test_nothing_of_a_request_is_logged(self):
        with Server("--log-level", "debug") as server:
            server.post({"text": "a very secret sentence"})
            server.ask("POST", "/v1/attention?token=secret", "{\"secret\": 1}", {"Authorization": "Bearer secret"})
        self.assertNotIn("secret", "".join(server.lines))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
