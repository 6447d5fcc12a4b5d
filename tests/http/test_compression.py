"""Content-Encoding: who gets gzip, who zstd, who neither, and that the bytes are the same behind it.

zstd answers are decoded by the zstd command, for Python 3.11's standard library cannot.
SPDX-License-Identifier: Apache-2.0
"""
import http.client
import json
import re
import shutil
import socket
import subprocess
import unittest
import zlib

import harness
from harness import Server, ServerCase, wait_for

TEXT = "The cat sat on the mat, and nobody in the old house on the hill knows why it came back."
MAPS = {"text": TEXT, "output": ["attentions"]}
TINY = {"text": "a"}
PICTURE = {"text": "The cat sat.", "layers": [0], "heads": [0], "output": ["attentions"]}


def gunzip(data):
    """What stands in the stream so far."""
    return zlib.decompressobj(31).decompress(data)


def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def decode(headers, data):
    coding = headers.get("content-encoding")
    return data if coding is None else {"gzip": gunzip, "zstd": unzstd}[coding](data)


class CompressionCase(ServerCase):
    def ask(self, path, body=None, accept_encoding=None, accept=None, method=None):
        """(status, headers, bytes as they came)."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        # http.client would send "identity" by itself
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        data = json.dumps(body).encode() if body is not None else None
        connection.putrequest(method or ("POST" if data else "GET"), path, skip_accept_encoding=True)
        for value in [accept_encoding] if isinstance(accept_encoding, str) else accept_encoding or []:
            connection.putheader("Accept-Encoding", value)
        for name, value in dict(headers, **({"Accept": accept} if accept else {}), **({"Content-Length": str(len(data))} if data else {})).items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        result = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return result

    def assert_coding(self, answer, coding, what=""):
        self.assertEqual((answer[0], answer[1].get("content-encoding")), (200, coding), what)


class Compression(CompressionCase):
    @unittest.skipUnless(shutil.which("zstd") or harness.CI, "skipped: there is no zstd command")
    def test_the_bytes_behind_a_coding_are_the_same(self):
        for extra in ({}, {"decimals": 4}, {"encoding": "base64"}, {"encoding": "base64", "dtype": "uint8"}, {"top_k": 3}):
            body = dict(MAPS, **extra)
            plain = self.ask("/v1/attention", body)
            self.assert_coding(plain, None)
            for coding in ("gzip", "zstd"):
                coded = self.ask("/v1/attention", body, coding)
                self.assert_coding(coded, coding)
                self.assertEqual(coded[1]["content-type"], plain[1]["content-type"])
                self.assertEqual(decode(coded[1], coded[2]), plain[2], (extra, coding))
                self.assertLess(len(coded[2]), 0.8 * len(plain[2]), (extra, coding))

    def test_the_client_s_wishes_are_weighed(self):
        for value, coding in (
            (None, None), ("", None), ("gzip", "gzip"), ("x-gzip", "gzip"), ("zstd", "zstd"), ("gzip, deflate, br", "gzip"), ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1.0, zstd;q=0.5", "gzip"), ("gzip;q=0", None), ("gzip;q=0, zstd;q=0", None), ("*", "zstd"), ("*;q=0.1, zstd;q=0", "gzip"),
            ("identity", None), ("identity;q=1, gzip;q=0.5", None), ("identity;q=0.5, gzip", "gzip"), ("br, deflate", None), ("identity;q=0, gzip", "gzip"),
            (["br", "gzip;q=0.5"], "gzip"), (["gzip", "zstd"], "zstd"), ("gzip;level=9", None), ("gzip;q=nine", None),
        ):
            self.assert_coding(self.ask("/v1/attention", MAPS, value), coding, value)

    def test_what_is_tiny_goes_as_it_is(self):
        answer = self.ask("/v1/tokenize", TINY, "gzip, zstd")
        self.assert_coding(answer, None)
        self.assertLess(len(answer[2]), 1024)
        self.assertEqual(int(answer[1]["content-length"]), len(answer[2]))
        self.assert_coding(self.ask("/healthz", None, "gzip"), None)

    def test_tensors_and_pictures_of_pixels_are_never_compressed(self):
        for accept in ("application/vnd.safetensors", "application/octet-stream", "application/x-npy", "image/png", "text/plain"):
            answer = self.ask("/v1/attention", PICTURE, "gzip, zstd", accept)
            self.assert_coding(answer, None, accept)
            self.assertGreater(len(answer[2]), 100)
            self.assertEqual(answer[1]["vary"], "Accept, Accept-Encoding")

    def test_other_text_is_compressed(self):
        plain = self.ask("/v1/attention", PICTURE, None, "image/svg+xml")
        coded = self.ask("/v1/attention", PICTURE, "gzip", "image/svg+xml")
        self.assert_coding(coded, "gzip")
        self.assertEqual(gunzip(coded[2]), plain[2])
        for path in ("/openapi.json", "/openapi.yaml", "/docs"):
            plain, coded = self.ask(path), self.ask(path, None, "gzip")
            self.assert_coding(plain, None, path)
            self.assert_coding(coded, "gzip", path)
            self.assertEqual(gunzip(coded[2]), plain[2], path)
            self.assertEqual(int(coded[1]["content-length"]), len(coded[2]), path)

    def test_head_answers_as_get_does(self):
        for value in (None, "gzip", "zstd", "br"):
            for path in ("/openapi.json", "/v1/models"):
                get, head = self.ask(path, None, value), self.ask(path, None, value, method="HEAD")
                self.assertEqual(head[2], b"")
                for name in ("content-type", "content-encoding", "content-length", "vary", "cache-control"):
                    self.assertEqual(head[1].get(name), get[1].get(name), (path, value, name))

    def test_problems_go_as_they_are(self):
        for path, body in (("/v1/attention", {"text": TEXT, "heads": [99]}), ("/v1/attention", {"x" * 900: 1}), ("/nothing", None)):
            for value in ("gzip, zstd", "gzip, identity;q=0"):
                status, headers, data = self.ask(path, body, value)
                self.assertGreaterEqual(status, 400)
                self.assertEqual((headers["content-type"], headers.get("content-encoding")), ("application/problem+json", None))
                self.assertEqual(json.loads(data)["status"], status)

    def test_who_takes_nothing_as_it_is_gets_a_coding_or_406(self):
        answer = self.ask("/v1/tokenize", TINY, "gzip, identity;q=0")
        self.assert_coding(answer, "gzip")
        self.assertIn(b'"tokens"', gunzip(answer[2]))
        for value in ("*;q=0", "identity;q=0", "br, identity;q=0", "gzip;q=0, *;q=0"):
            for path, body in (("/v1/attention", MAPS), ("/v1/models", None)):
                status, _, data = self.ask(path, body, value)
                self.assertEqual((status, json.loads(data)["code"]), (406, "not_acceptable"), value)
        status, _, data = self.ask("/v1/attention", PICTURE, "gzip, identity;q=0", "image/png")
        self.assertEqual((status, json.loads(data)["code"]), (406, "not_acceptable"))
        self.assertEqual(self.ask("/healthz", None, "*;q=0")[0], 200)

    def test_answers_that_may_differ_say_by_what(self):
        for path, body, value in (("/v1/attention", MAPS, "gzip"), ("/v1/attention", MAPS, None), ("/v1/attention", {"text": 1}, None), ("/v1/models", None, None),
                                  ("/openapi.yaml", None, "gzip"), ("/v1/tokenize", TINY, None)):
            self.assertEqual(self.ask(path, body, value)[1].get("vary"), "Accept, Accept-Encoding", path)
        for path in ("/healthz", "/readyz", "/metrics"):
            self.assertIsNone(self.ask(path)[1].get("vary"), path)

    def test_every_line_can_be_read_when_it_has_come(self):
        """After each flush, which ends in these four bytes, stands one line more."""
        answer = self.ask("/v1/attention", MAPS, "gzip", "application/x-ndjson")
        self.assert_coding(answer, "gzip")
        lines = gunzip(answer[2]).splitlines(keepends=True)
        self.assertGreater(len(lines), 3)
        ends = [found.end() for found in re.finditer(rb"\0\0\xff\xff", answer[2])]
        self.assertGreaterEqual(len(ends), len(lines))
        seen = {gunzip(answer[2][:end]) for end in ends}
        for i in range(1, len(lines) + 1):
            self.assertIn(b"".join(lines[:i]), seen, f"line {i}")

    def test_the_log_counts_bytes_as_sent(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        connection.request("POST", "/v1/attention", json.dumps(MAPS), {"Accept-Encoding": "gzip", "X-Request-Id": "as-it-was-sent", "Content-Type": "application/json"})
        sent = len(connection.getresponse().read())
        connection.close()
        line = wait_for(lambda: self.server.find("as-it-was-sent"))
        self.assertEqual(int(re.search(r" bytes=(\d+)", line)[1]), sent)

    def test_an_old_client_gets_a_coding_too(self):
        body = json.dumps(MAPS).encode()
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as s:
            s.sendall(b"POST /v1/attention HTTP/1.0\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            data = b""
            while part := s.recv(1 << 16):
                data += part
        head, _, data = data.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Encoding: gzip", head)
        self.assertEqual(gunzip(data), self.ask("/v1/attention", MAPS)[2])

    def test_a_client_may_leave_in_the_middle(self):
        body = json.dumps({"text": " ".join(["cat"] * 200), "output": ["attentions"]}).encode()
        for coding in (b"gzip", b"zstd"):
            for n in (1, 20000):
                with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as s:
                    s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nAccept-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body)
                    got = 0
                    while got < n:
                        got += len(s.recv(n - got))
        self.assert_coding(self.ask("/v1/attention", MAPS, "gzip"), "gzip")


class CompressionWithOrigins(CompressionCase):
    options = ("--cors-origin", "https://there.example")

    def test_the_origin_is_one_more_thing_to_differ_by(self):
        self.assertEqual(self.ask("/v1/attention", MAPS, "gzip")[1]["vary"], "Accept, Accept-Encoding, Origin")
        self.assertEqual(self.ask("/healthz")[1]["vary"], "Origin")


if __name__ == "__main__":
    harness.main()
