#!/usr/bin/env python3
"""TLS: what is spoken and what is not, certificates that change while connections last, files that are wrong, answers that come past libmicrohttpd.

SPDX-License-Identifier: Apache-2.0
"""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import warnings

import certificates
import harness
from harness import PATIENCE, Server, main

SMALL = json.dumps({"embeddings": [[1, 0], [0, 1], [1, 1]], "output": ["attentions"]}).encode()


def run_program(*options):
    done = subprocess.run([harness.PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, cwd=harness.ROOT)
    return done.returncode, done.stderr.decode()


def read_to_the_end(s):
    pieces = []
    try:
        while piece := s.recv(65536):
            pieces.append(piece)
    except (ssl.SSLEOFError, ConnectionResetError):
        pass
    return b"".join(pieces)


class TlsCase(unittest.TestCase):
    options = ()
    kind = "ec"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.made = {name: certificates.make(cls.folder, name, kind=cls.kind) for name in ("a.example", "b.example")}
        cls.cert, cls.key = os.path.join(cls.folder, "cert.pem"), os.path.join(cls.folder, "key.pem")
        cls.use("a.example")
        cls.server = Server(("--tls-cert", cls.cert, "--tls-key", cls.key, "--threads", "2", *cls.options))

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        shutil.rmtree(cls.folder)
        if status != 0:
            raise AssertionError(f"the server ended with {status}:\n" + "\n".join(cls.server.log[-40:]))

    @classmethod
    def use(cls, name):
        shutil.copy(cls.made[name][0], cls.cert)
        shutil.copy(cls.made[name][1], cls.key)

    def context(self, name="a.example"):
        return ssl.create_default_context(cafile=self.made[name][0])

    def connect(self, context=None, name="a.example"):
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        try:
            return (context or self.context(name)).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def ask(self, method, path, body=None, name="a.example"):
        c = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=PATIENCE, context=self.context(name))
        try:
            c.request(method, path, body)
            answer = c.getresponse()
            return answer.status, answer.read()
        finally:
            c.close()

    def shown(self):
        with self.connect(context=self.blind()) as s:
            return s.getpeercert(binary_form=True)

    @staticmethod
    def blind():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def der(self, name):
        with open(self.made[name][0], encoding="ascii") as f:
            return ssl.PEM_cert_to_DER_cert(f.read())


class Spoken(TlsCase):
    def test_requests_are_answered(self):
        self.assertEqual(self.ask("GET", "/healthz"), (200, b'{"status":"ok"}'))
        status, body = self.ask("POST", "/v1/attention", SMALL)
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["results"][0]["attentions"]["shape"], [1, 1, 3, 3])

    def test_a_large_answer_and_a_large_body_come_whole(self):
        rows = [[((i * 31 + j * 7) % 97) / 97 for j in range(64)] for i in range(600)]
        status, body = self.ask("POST", "/v1/attention", json.dumps({"embeddings": rows, "output": ["attentions"]}).encode())
        self.assertEqual(status, 200)
        self.assertGreater(len(body), 3_000_000)
        self.assertEqual(json.loads(body)["results"][0]["attentions"]["shape"], [1, 1, 600, 600])

    def test_many_requests_on_one_connection(self):
        with self.connect() as s:
            for _ in range(50):
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                got = b""
                while not got.endswith(b'"ok"}'):
                    got += s.recv(4096)
                self.assertTrue(got.startswith(b"HTTP/1.1 200 "))

    def test_many_clients_at_once(self):
        bad = []

        def one():
            for _ in range(5):
                status, body = self.ask("POST", "/v1/attention", SMALL)
                if status != 200:
                    bad.append(body)

        threads = [threading.Thread(target=one) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])

    def test_both_versions_are_spoken_and_no_older_one(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = self.context()
            context.minimum_version = context.maximum_version = version
            with self.connect(context) as s:
                self.assertEqual(s.version(), name)
        context = self.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError)):
            self.connect(context)

    def test_ciphers_without_authentication_or_forward_secrecy_are_refused(self):
        for ciphers in ("AES128-SHA", "AES256-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256"):
            context = self.blind()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
            with self.assertRaises((ssl.SSLError, OSError), msg=ciphers):
                self.connect(context)

    def test_a_client_without_tls_gets_no_answer_and_does_no_harm(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1 200", read_to_the_end(s))
        for noise in (b"\x16\x03\x01\xff\xff" + b"a" * 70000, b"\x00" * 1000, b"\x16\x03\x03\x00\x05\x01\x00\x00\x01\x00"):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
                try:
                    s.sendall(noise)
                    s.shutdown(socket.SHUT_WR)
                    s.recv(4096)
                except OSError:
                    pass
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)

    def test_clients_that_leave_in_the_middle_do_no_harm(self):
        for _ in range(40):
            s = self.connect()
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            s.close()
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)

    def test_the_probe_asks_over_tls(self):
        self.assertEqual(run_program("--probe", f"https://127.0.0.1:{self.server.port}")[0], 0)
        self.assertEqual(run_program("--probe", f"https://localhost:{self.server.port}")[0], 0)
        self.assertEqual(run_program("--probe", f"http://127.0.0.1:{self.server.port}")[0], 1)
        self.assertEqual(run_program("--probe", f"127.0.0.1:{self.server.port}", "--tls-cert", self.cert)[0], 0)  # as the environment of an image has it

    def test_the_probe_of_another_address_wants_a_certificate_it_can_trust(self):
        url = f"https://0.0.0.0:{self.server.port}"  # which means this machine, too, but is no loopback address
        self.assertEqual(run_program("--probe", url)[0], 1)
        self.assertEqual(run_program("--probe", url, "--tls-cert", self.made["b.example"][0])[0], 1)
        self.assertEqual(run_program("--probe", url, "--tls-cert", self.made["a.example"][0])[0], 0)


class Rsa(Spoken):
    kind = "rsa"


class Answers(TlsCase):
    """What is said in the middle of a body."""

    options = ("--timeout", "1s", "--max-body-bytes", "1000")

    def test_a_body_that_never_ends_is_408(self):
        for rest in (b"{", b""):
            with self.connect() as s:
                s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + rest)
                got = read_to_the_end(s)
                self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got)
                self.assertIn(b'"request_timeout"', got)

    def test_many_slow_bodies_are_408_each(self):
        clients = [self.connect() for _ in range(50)]
        for s in clients:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        for s in clients:
            with s:
                self.assertTrue(read_to_the_end(s).startswith(b"HTTP/1.1 408 "))

    def test_a_body_that_trickles_is_408(self):
        with self.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n{")
            s.settimeout(0.05)
            got, until = b"", time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    s.send(b" ")
                    piece = s.recv(4096)
                    if not piece:
                        break
                    got += piece
                except TimeoutError:
                    pass
                except OSError:
                    break
            self.assertTrue(got.startswith(b"HTTP/1.1 408 "), got)

    def test_a_chunked_body_is_refused_as_soon_as_it_passes_the_limit(self):
        with self.connect() as s:
            s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b" " * 1024 + b"\r\n")
            got = read_to_the_end(s)
            self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)

    def test_a_refused_body_that_never_ends_is_answered_in_the_end(self):
        with self.connect() as s:
            s.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
            self.assertTrue(read_to_the_end(s).startswith(b"HTTP/1.1 404 "))

    def test_a_body_on_its_way_is_refused_by_a_server_that_ends(self):
        other = Server(("--tls-cert", self.cert, "--tls-key", self.key))
        try:
            with socket.create_connection(("127.0.0.1", other.port), timeout=PATIENCE) as plain:
                with self.context().wrap_socket(plain, server_hostname="a.example") as s:
                    s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
                    time.sleep(0.3)
                    other.process.send_signal(signal.SIGTERM)
                    got = read_to_the_end(s)
                    self.assertTrue(got.startswith(b"HTTP/1.1 503 "), got)
                    self.assertIn(b'"draining"', got)
            self.assertEqual(other.process.wait(PATIENCE), 0)
        finally:
            other.stop()


class Reload(TlsCase):
    def setUp(self):
        self.use("a.example")
        self.server.reload("CN=a.example")

    def test_new_handshakes_get_the_new_certificate_and_old_connections_stay(self):
        with self.connect() as old:
            self.assertEqual(self.shown(), self.der("a.example"))
            self.use("b.example")
            self.assertIn("info tls", self.server.reload("CN=b.example"))
            self.assertEqual(self.shown(), self.der("b.example"))
            old.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertTrue(read_to_the_end(old).startswith(b"HTTP/1.1 200 "))
        self.assertEqual(self.ask("GET", "/healthz", name="b.example")[0], 200)

    def test_what_cannot_be_read_leaves_the_old_certificate(self):
        for spoil, words in ((lambda: shutil.copy(self.made["b.example"][1], self.key), "is not the key of"),
                             (lambda: open(self.cert, "w").close(), "no PEM certificate"),
                             (lambda: os.remove(self.key), "cannot be read")):
            self.use("a.example")
            spoil()
            self.assertIn("error tls", self.server.reload(words))
            self.assertEqual(self.shown(), self.der("a.example"))
            text = self.ask("GET", "/metrics")[1].decode()
            self.assertIn("\nattnd_reload_successful 0\n", text)
            self.assertIn("\nattnd_tls_certificate_expires_seconds 4070908800\n", text)  # 2099-01-01
        self.use("a.example")
        self.server.reload("CN=a.example")
        self.assertIn("\nattnd_reload_successful 1\n", self.ask("GET", "/metrics")[1].decode())

    def test_handshakes_while_certificates_change(self):
        stop, bad = threading.Event(), []
        known = {self.der("a.example"), self.der("b.example")}

        def client():
            while not stop.is_set():
                try:
                    if self.shown() not in known:
                        bad.append("another certificate")
                except OSError as e:
                    bad.append(e)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(10):
            self.use(("b.example", "a.example")[i % 2])
            self.server.reload("CN=")
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.cert, self.key = certificates.make(self.folder, "a.example")

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def check(self, cert, key, status, *words):
        options = [*(["--tls-cert", cert] if cert else []), *(["--tls-key", key] if key else [])]
        got, error = run_program("--check", "--model", "builtin:attnd-bert", *options)
        self.assertEqual(got, status, error)
        for word in words:
            self.assertIn(word, error)
        return error

    def test_good_files_pass_the_check(self):
        self.assertNotIn("warn", self.check(self.cert, self.key, 0))

    def test_one_without_the_other_is_refused(self):
        self.check(self.cert, None, 1, "--tls-cert needs --tls-key")
        self.check(None, self.key, 1, "--tls-key needs --tls-cert")

    def test_wrong_files_are_named(self):
        other, other_key = certificates.make(self.folder, "b.example")
        missing = os.path.join(self.folder, "missing.pem")
        nonsense = self.file("nonsense.pem", "this is no PEM\n")
        broken = self.file("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        self.check(self.cert, other_key, 1, other_key, "is not the key of the certificate in " + self.cert)
        self.check(missing, self.key, 1, "--tls-cert " + missing, "cannot be read")
        self.check(self.cert, missing, 1, "--tls-key " + missing, "cannot be read")
        self.check(nonsense, self.key, 1, "--tls-cert " + nonsense)
        self.check(self.cert, nonsense, 1, "--tls-key " + nonsense, "no PEM key")
        self.check(broken, self.key, 1, "--tls-cert " + broken)
        self.check(self.key, self.key, 1, "--tls-cert " + self.key, "no PEM certificate")

    def test_an_encrypted_key_is_named(self):
        locked = os.path.join(self.folder, "locked.key")
        certificates.openssl("ec", "-in", self.key, "-aes256", "-passout", "pass:secret", "-out", locked)
        os.chmod(locked, 0o600)
        self.check(self.cert, locked, 1, locked, "encrypted")

    def test_an_expired_certificate_is_a_warning(self):
        cert, key = certificates.make(self.folder, "old.example", expired=True)
        self.assertIn("warn tls", self.check(cert, key, 0, cert, "expired on 2020-02-01"))

    def test_a_key_that_all_can_read_is_a_warning(self):
        os.chmod(self.key, 0o644)
        self.assertIn("warn tls", self.check(self.cert, self.key, 0, self.key, "chmod o-r"))


if __name__ == "__main__":
    main()
