#!/usr/bin/env python3
"""Clients that are slow on purpose, hundreds at a time, in every way there is to be slow: each kind is ended at its limit, and nobody else waits meanwhile.

Slow, because a connection without a request may stay for a minute. All kinds share that minute.
SPDX-License-Identifier: Apache-2.0
"""
import http.client
import os
import selectors
import shutil
import socket
import tempfile
import time
import unittest

import certificates
from harness import Server, main

IDLE_S = 60  # a connection without a request
TIMEOUT_S = 3  # --timeout here
SLACK_S = 8  # looked at once a second, on a busy machine
HELLO = bytes.fromhex("160301010001000 0fc0303".replace(" ", "")) + bytes(200)  # the begin of a handshake


class Kind:
    """Clients that send `first`, then a byte of `drip` every so often, and when the server is to be done with them."""

    def __init__(self, name, port, count, first, drip, least, most, answer=None):
        self.name, self.port, self.count, self.first, self.drip = name, port, count, first, drip
        self.least, self.most, self.answer = least, most, answer
        self.ended = []  # (seconds, what came)


class Client:
    def __init__(self, kind):
        self.kind, self.sent, self.got = kind, 0, b""
        self.socket = socket.create_connection(("127.0.0.1", kind.port), timeout=30)
        self.begin = time.monotonic()
        self.socket.sendall(kind.first)
        self.socket.setblocking(False)

    def step(self):
        """Sends one more byte."""
        if self.kind.drip:
            try:
                self.socket.send(self.kind.drip[self.sent % len(self.kind.drip)].to_bytes(1, "big"))
                self.sent += 1
            except OSError:
                pass  # the end is seen where it is read

    def read(self):
        """True: it is over."""
        try:
            piece = self.socket.recv(65536)
            self.got += piece
            over = not piece
        except BlockingIOError:
            return False
        except OSError:
            over = True
        if over:
            self.kind.ended.append((time.monotonic() - self.begin, self.got))
            self.socket.close()
        return over


class Patience(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def health(self, port):
        begin = time.monotonic()
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        c.request("GET", "/healthz")
        self.assertEqual(c.getresponse().status, 200)
        c.close()
        return time.monotonic() - begin

    def drive(self, kinds, health_ports):
        clients, worst, waiting = [Client(kind) for kind in kinds for _ in range(kind.count)], 0.0, selectors.DefaultSelector()
        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ, client)
        end, drip_at = time.monotonic() + IDLE_S + 2 * SLACK_S, 0.0
        while waiting.get_map() and time.monotonic() < end:
            if time.monotonic() >= drip_at:
                drip_at = time.monotonic() + 1
                for key in list(waiting.get_map().values()):
                    key.data.step()
                worst = max([worst] + [self.health(port) for port in health_ports])
            for key, _ in waiting.select(0.2):
                s = key.fileobj
                waiting.unregister(s)
                if not key.data.read():
                    waiting.register(s, selectors.EVENT_READ, key.data)
        for key in list(waiting.get_map().values()):
            key.fileobj.close()
        waiting.close()
        return worst

    def test_every_kind_of_slowness_has_an_end_and_costs_nobody_else(self):
        cert, key = certificates.make(self.folder, "a.example")
        options = ("--model", "builtin:attnd-bert", "--timeout", f"{TIMEOUT_S}s", "--threads", "1")
        plain = Server(options)
        try:
            sealed = Server((*options, "--tls-cert", cert, "--tls-key", key))
            try:
                self.try_all(plain, sealed)
            finally:
                self.assertEqual(sealed.stop(), 0)
        finally:
            self.assertEqual(plain.stop(), 0)

    def try_all(self, plain, sealed):
        head = b"POST /v1/attention HTTP/1.1\r\nHost: a\r\n"
        idle, slow = (IDLE_S - 2, IDLE_S + SLACK_S), (TIMEOUT_S - 1, TIMEOUT_S + SLACK_S)
        kinds = [
            Kind("nothing at all", plain.port, 200, b"", b"", *idle),
            Kind("a request line that trickles", plain.port, 200, b"GET /", b"a", *idle),
            Kind("empty lines without end", plain.port, 50, b"\r\n", b"\r\n", *idle),
            Kind("idle after an answer", plain.port, 200, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"", *idle, b"HTTP/1.1 200 "),
            Kind("headers that trickle", plain.port, 200, head + b"X-A: ", b"a", *slow),
            Kind("headers that stop", plain.port, 100, head, b"", *slow),
            Kind("a body that trickles", plain.port, 200, head + b"Content-Length: 100000\r\n\r\n{", b" ", *slow, b"HTTP/1.1 408 "),
            Kind("a body that stops", plain.port, 200, head + b"Content-Length: 100000\r\n\r\n{", b"", *slow, b"HTTP/1.1 408 "),
            Kind("chunks that trickle", plain.port, 100, head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", *slow, b"HTTP/1.1 408 "),
            Kind("no handshake", sealed.port, 100, b"", b"", *idle),
            Kind("a handshake that trickles", sealed.port, 100, HELLO[:7], HELLO[7:], *idle),
        ]
        worst = self.drive(kinds, [plain.port])
        for kind in kinds:
            with self.subTest(kind=kind.name):
                self.assertEqual(len(kind.ended), kind.count)
                self.assertGreaterEqual(min(t for t, _ in kind.ended), kind.least)
                self.assertLessEqual(max(t for t, _ in kind.ended), kind.most)
                if kind.answer:
                    self.assertEqual({got[: len(kind.answer)] for _, got in kind.ended}, {kind.answer})
        self.assertLess(worst, 2.0)
        print(f"{sum(k.count for k in kinds)} slow clients; the slowest /healthz meanwhile took {1000 * worst:.0f} ms")


class Heads(unittest.TestCase):
    def test_a_head_that_is_too_large_is_refused_and_does_no_harm(self):
        server = Server(("--model", "builtin:attnd-bert"))
        try:
            for request in (b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n",
                            b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(50_000)) + b"\r\n"):
                with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
                    got = b""
                    try:
                        s.sendall(request)
                        while piece := s.recv(65536):
                            got += piece
                    except OSError:
                        pass
                    self.assertRegex(got[:13], rb"^(HTTP/1.1 4(14|31) ?)?$")  # or the connection is reset, its answer unread
            c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            c.request("GET", "/healthz", headers={"X-Long": "a" * 8000})
            self.assertEqual(c.getresponse().status, 200)
            c.close()
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    main()
