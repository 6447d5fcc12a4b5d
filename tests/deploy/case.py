"""What the checks of deploy/ share: where things are, tools that may be missing, programs that run while a test does.

SPDX-License-Identifier: Apache-2.0
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEPLOY = os.path.join(ROOT, "deploy")
sys.path.insert(0, os.path.join(ROOT, "tests", "http"))
import harness  # noqa: E402

KUBERNETES = ("1.30", "1.33", "1.36")  # whose schemas the manifests are held against


def tool(name):
    """The program's path. Skips the test, by name, where it is not installed."""
    path = os.environ.get(name.upper().replace("-", "_")) or shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise unittest.SkipTest(f"{name} is not installed")
    return path


def package(name):
    try:
        return __import__(name, fromlist=["x"])
    except ImportError:
        raise unittest.SkipTest(f"the Python package {name} is not installed") from None


def read(*path):
    with open(os.path.join(DEPLOY, *path), encoding="utf-8") as file:
        return file.read()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, timeout=10):
    """(status, body)."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_until(what, seconds=30):
    """What `what` gives as soon as it gives something true; an OSError counts as not yet."""
    until = time.monotonic() + seconds
    while True:
        try:
            value = what()
        except OSError:
            value = None
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError("it did not come to be in time: " + (what.__doc__ or what.__name__))
        time.sleep(0.1)


def run(*command, **how):
    """(exit status, everything it said)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **how)
    return done.returncode, done.stdout


def options():
    """The names of attnd's options."""
    return set(re.findall(r"^  --([a-z-]+)", run(harness.PROGRAM, "--help")[1], re.MULTILINE))


def make_certificate(folder):
    """tls.crt and tls.key for attnd.example.org, in the folder."""
    key, certificate = os.path.join(folder, "tls.key"), os.path.join(folder, "tls.crt")
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=attnd.example.org"]
    status, said = run(*command, "-addext", "subjectAltName=DNS:attnd.example.org", "-keyout", key, "-out", certificate)
    if status != 0:
        raise RuntimeError(said)
    return certificate, key


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="attnd-deploy-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    def ok(self, *command, **how):
        status, output = run(*command, **how)
        self.assertEqual(status, 0, f"{' '.join(command)}:\n{output}")
        return output

    @classmethod
    def start(cls, *command, **how):
        """A program that is ended after the class's tests."""
        with open(os.path.join(cls.folder, os.path.basename(command[0]) + ".log"), "w", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **how)

        def end():
            process.terminate()
            process.wait(30)

        cls.addClassCleanup(end)
        return process

    @classmethod
    def serve(cls, *options):
        server = harness.Server(options)
        cls.addClassCleanup(lambda: server.stop() if server.process.poll() is None else None)
        return server
