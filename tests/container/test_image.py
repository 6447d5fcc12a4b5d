#!/usr/bin/env python3
"""The image as it is meant to be run: read-only, no capability, nobody's user, 256 MB, one CPU. Needs podman or docker, and python3's standard library.

    python3 tests/container/test_image.py       from anywhere; `make check-container`

IMAGE_FLAGS goes to `podman build`, RUN_FLAGS to `podman run`, CONTAINER names another tool. Builds the image twice, the second time without the first one's layers.
IMAGE=name tests an image that is there, and leaves out what is said of two builds.
SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import functools
import http.server
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.environ.get("CONTAINER") or shutil.which("podman") or shutil.which("docker")
IMAGE = os.environ.get("IMAGE")  # None: build it
RUN_FLAGS = shlex.split(os.environ.get("RUN_FLAGS", ""))
LIMITS = ["--memory", "256m", "--cpus", "1"]
AS_MEANT = ["--read-only", "--cap-drop", "ALL", "--user", "65532"]
MIB = 1 << 20
MOST_WITHOUT_MODELS, MOST = 35 * MIB, 80 * MIB
MODELS = [os.path.join(ROOT, "core/builtin", name, file) for name in ("attnd-bert", "attnd-gpt", "attnd-translate") for file in ("model.safetensors", "tokenizer.json")]
EXPECTED = {  # everything that may be in the image; * is a shared object
    "usr/bin/attnd", "etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt", "usr/share/doc/attnd/NOTICES", "usr/share/doc/attnd/sbom.spdx.json",
}  # fmt: skip


def tool(*arguments, check=True):
    result = subprocess.run([TOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and result.returncode != 0:
        raise RuntimeError(f"{TOOL} {shlex.join(arguments)}: {result.stderr}")
    return result


def build(tag, *flags):
    subprocess.run([os.path.join(ROOT, "deploy/image/build.sh"), tag, *shlex.split(os.environ.get("IMAGE_FLAGS", "")), *flags], check=True)
    return tag


@functools.cache
def image():
    return IMAGE or build("attnd-check")


def inspect(name):
    return json.loads(tool("image", "inspect", name).stdout)[0]


def files_of(name):
    """{path: tar entry} of all layers, and the content of the small ones."""
    container = tool("create", name).stdout.strip()
    try:
        with tempfile.TemporaryDirectory() as folder:
            tool("export", "-o", folder + "/root.tar", container)
            with tarfile.open(folder + "/root.tar") as tar:
                return {e.name: (e, tar.extractfile(e).read() if e.isfile() and e.size < MIB else None) for e in tar}
    finally:
        tool("rm", container)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Container:
    def __init__(self, image, limits=tuple(LIMITS)):
        self.port = free_port()
        self.id = tool("run", "-d", *RUN_FLAGS, *AS_MEANT, *limits, "-p", f"127.0.0.1:{self.port}:8080", image).stdout.strip()
        for _ in range(100):
            try:
                self.ask("/readyz")
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("not ready within 10 s: " + tool("logs", self.id, check=False).stderr)

    def ask(self, path, body=None, accept="*/*"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode() if body else None, {"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers, answer.read()

    def close(self):
        tool("rm", "-f", self.id)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = image()
        cls.about = inspect(cls.image)

    def test_nothing_but_the_program_its_objects_and_the_certificates(self):
        files = {name for name, (entry, _) in files_of(self.image).items() if entry.isfile()}
        run_time = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "run/.containerenv", ".dockerenv"}  # made for a container, not in the image
        rest = {name for name in files - EXPECTED - run_time if ".so." not in name}
        self.assertEqual(rest, set())
        self.assertEqual(EXPECTED - files, set())

    def test_sizes(self):
        entries = [entry for entry, _ in files_of(self.image).values() if entry.isfile()]
        whole = sum(entry.size for entry in entries)
        models = sum(os.path.getsize(path) for path in MODELS)
        print(f"\nimage {whole / 1e6:.1f} MB, of that models {models / 1e6:.1f} MB, everything else {(whole - models) / 1e6:.1f} MB in {len(entries)} files", file=sys.stderr)
        self.assertLessEqual(whole, MOST)
        self.assertLessEqual(whole - models, MOST_WITHOUT_MODELS)
        self.assertLessEqual(self.about["Size"], MOST)

    def test_the_bill_names_every_package_with_version_and_licence(self):
        bill = json.loads(files_of(self.image)["usr/share/doc/attnd/sbom.spdx.json"][1])
        self.assertEqual(bill["spdxVersion"], "SPDX-2.3")
        packages = {package["name"]: package for package in bill["packages"]}
        self.assertGreater(len(packages), 20)
        for package in packages.values():
            self.assertTrue(package["versionInfo"] and package["licenseDeclared"], package)
        for name in ("attnd", "libc6", "libgnutls30", "libblis-serial-dev", "ca-certificates"):
            self.assertIn(name, packages)
        ids = {package["SPDXID"] for package in bill["packages"]}
        related = {r["relatedSpdxElement"] for r in bill["relationships"]}
        self.assertEqual(ids, related)
        self.assertEqual(len(ids), len(bill["packages"]))

    def test_notices_hold_the_texts(self):
        notices = files_of(self.image)["usr/share/doc/attnd/NOTICES"][1].decode()
        for text in ("GNU LESSER GENERAL PUBLIC LICENSE", "GNU GENERAL PUBLIC LICENSE", "Apache License", "libmicrohttpd", "University of Texas"):
            self.assertIn(text, notices)

    def test_labels_user_and_probe_are_in_its_configuration(self):
        config = self.about["Config"]
        self.assertEqual(config["User"], "65532:65532")
        for label in ("title", "description", "licenses", "version", "revision", "created"):
            self.assertTrue(config["Labels"]["org.opencontainers.image." + label])
        probe = (config.get("Healthcheck") or self.about.get("Healthcheck") or self.about.get("HealthCheck"))["Test"]
        self.assertEqual(probe, ["CMD", "/usr/bin/attnd", "--probe", "127.0.0.1:8080"])  # over TLS where ATTND_TLS_CERT is set

    def test_says_its_version(self):
        said = tool("run", "--rm", *RUN_FLAGS, *AS_MEANT, self.image, "--version").stdout
        self.assertEqual(said, "attnd " + self.about["Config"]["Labels"]["org.opencontainers.image.version"] + "\n")

    @unittest.skipIf(IMAGE, "IMAGE names one that is there")
    def test_two_builds_have_the_same_layers_configuration_and_history(self):
        again = inspect(build("attnd-check-again", "--no-cache"))
        for about in (self.about, again):
            print("\n" + about["Id"], *about["RootFS"]["Layers"], sep="\n    ", file=sys.stderr)
        self.assertEqual(again["RootFS"]["Layers"], self.about["RootFS"]["Layers"])
        # Their ids differ: Docker's format has the id and the host name of the container that was built in, which `inspect` does not show.
        for part in ("Config", "History", "Created", "Architecture", "Size"):
            self.assertEqual(again[part], self.about[part])


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = image()
        cls.container = Container(cls.image)

    @classmethod
    def tearDownClass(cls):
        cls.container.close()

    def test_a_sentence_from_outside(self):
        body = {"text": "The animal didn't cross the street because it was too tired.", "layers": [5], "heads": [1], "output": ["attentions"]}
        result = json.loads(self.container.ask("/v1/attention", body)[1])["results"][0]
        tokens, map_ = [token["text"] for token in result["tokens"]], result["attentions"]["data"][0][0]
        self.assertEqual([len(row) for row in map_], [len(tokens)] * len(tokens))
        for row in map_:
            self.assertAlmostEqual(sum(row), 1, places=5)
        row = map_[tokens.index("it")]
        self.assertEqual(tokens[row.index(max(row))], "animal")

    def test_the_page_and_a_picture(self):
        self.assertIn(b"<html", self.container.ask("/", accept="text/html")[1])
        body = {"text": "The cat sat.", "layers": [5], "heads": [1]}
        headers, picture = self.container.ask("/v1/attention", body, "image/png")
        self.assertEqual(headers["Content-Type"], "image/png")
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")

    def test_a_translation_within_its_memory(self):
        body = {"model": "attnd-translate", "text": ">>deu<< The house is red.", "max_new_tokens": 20, "layers": [2], "heads": [6]}
        self.assertIn("Haus", json.loads(self.container.ask("/v1/attention", body)[1])["results"][0]["generated_text"])

    def test_its_probe_says_that_it_is_ready(self):
        if TOOL.endswith("podman"):
            self.assertEqual(tool("healthcheck", "run", self.container.id, check=False).returncode, 0)
        probe = ["exec", self.container.id, "/usr/bin/attnd", "--probe"]
        self.assertEqual(tool(*probe, "http://localhost:8080", check=False).returncode, 0)  # by name: the resolver works
        self.assertEqual(tool(*probe, "http://127.0.0.1:1", check=False).returncode, 1)

    def test_there_is_no_shell(self):
        for shell in ("/bin/sh", "/bin/bash", "sh", "/bin/busybox"):
            self.assertNotEqual(tool("exec", self.container.id, shell, "-c", "true", check=False).returncode, 0)


class Ending(unittest.TestCase):
    def test_sigterm_ends_it_with_status_0(self):
        container = Container(image())
        try:
            began = time.monotonic()
            tool("kill", "--signal", "TERM", container.id)
            self.assertEqual(tool("wait", container.id).stdout.strip(), "0")
            self.assertLess(time.monotonic() - began, 10)
        finally:
            container.close()


    def test_sigterm_ends_it_while_a_model_is_fetched(self):
        """It is the first process there, to which signals do nothing by themselves. The hub takes the connection and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as hub:
            flags = ["--network", "host", "-e", f"HF_ENDPOINT=http://127.0.0.1:{hub.getsockname()[1]}", "--tmpfs", "/cache:mode=1777"]
            container = tool("run", "-d", *RUN_FLAGS, *AS_MEANT, *LIMITS, *flags, image(), "--port", "0", "--model", "org/name").stdout.strip()
            try:
                hub.settimeout(30)
                connection, _ = hub.accept()
                began = time.monotonic()
                tool("kill", "--signal", "TERM", container)
                self.assertEqual(tool("wait", container).stdout.strip(), "143")
                self.assertLess(time.monotonic() - began, 5)
                connection.close()
            finally:
                tool("rm", "-f", container)


class Limits(unittest.TestCase):
    TEXT = {"text": "The animal did not cross the street because it was too tired.", "output": ["attentions"]}

    def start(self, *limits):
        container = Container(image(), limits)
        self.addCleanup(container.close)
        return container

    def test_half_a_cpu_is_one_worker_and_nothing_is_lost(self):
        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            container = self.start("--memory", "256m", "--cpus", "0.5")
            self.assertIn(b"\nattnd_workers 1\n", container.ask("/metrics")[1])
            expected = json.loads(container.ask("/v1/attention", self.TEXT)[1])["results"]
            answers = [clients.submit(container.ask, "/v1/attention", self.TEXT) for _ in range(200)]
            began = time.monotonic()
            container.ask("/healthz")
            self.assertLess(time.monotonic() - began, 1)
            for answer in answers:
                self.assertEqual(json.loads(answer.result()[1])["results"], expected)

    def test_64_megabytes_serve_one_small_model_and_refuse_what_does_not_fit(self):
        container = self.start("--memory", "64m", "--cpus", "1")
        for _ in range(20):
            self.assertEqual(container.ask("/v1/attention", self.TEXT)[0].get_content_type(), "application/json")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            container.ask("/v1/attention", {"model": "attnd-translate", "text": ">>deu<< The house is red."})
        problem = json.load(refused.exception)
        self.assertEqual(refused.exception.code, 503)
        self.assertGreater(problem["need"], problem["limit"])
        container.ask("/v1/attention", self.TEXT)  # what was served is served on
        self.assert_alive(container)

    def test_a_crowd_with_large_requests_is_never_the_end_of_it(self):
        container = self.start(*LIMITS)

        def ask(i):
            body = {"text": "the dog and the cat " * 90, "model": ("attnd-bert", "attnd-gpt")[i % 2]}
            try:
                return len(container.ask("/v1/attention", body)[1])
            except urllib.error.HTTPError as e:
                self.assertIn(e.code, (413, 503))
                return 0

        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            self.assertGreater(max(clients.map(ask, range(64))), MIB)
        self.assert_alive(container)

    def assert_alive(self, container):
        state = json.loads(tool("inspect", container.id).stdout)[0]["State"]
        self.assertTrue(state["Running"])
        self.assertFalse(state["OOMKilled"])


class Nowhere(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(404)

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


@unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate with")
class Fetching(unittest.TestCase):
    """A hub behind TLS that has nothing: how far the program gets shows that names are resolved and certificates held against the image's list."""

    @classmethod
    def setUpClass(cls):
        cls.image = image()
        cls.folder = tempfile.TemporaryDirectory()
        os.chmod(cls.folder.name, 0o755)
        cls.certificate = cls.folder.name + "/certificate.pem"
        key = cls.folder.name + "/key.pem"
        subject = ["-subj", "/CN=hub.test", "-addext", "subjectAltName=DNS:hub.test"]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, "-keyout", key, "-out", cls.certificate], check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.certificate, key)
        cls.hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nowhere)
        cls.hub.socket = context.wrap_socket(cls.hub.socket, server_side=True)
        threading.Thread(target=cls.hub.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.hub.shutdown()
        cls.hub.server_close()
        cls.folder.cleanup()

    def start(self, *flags):
        hub = ["--network", "host", "--add-host", "hub.test:127.0.0.1", "-e", f"HF_ENDPOINT=https://hub.test:{self.hub.server_address[1]}", "--tmpfs", "/cache:mode=1777"]
        result = tool("run", "--rm", *RUN_FLAGS, *AS_MEANT, *LIMITS, *hub, *flags, self.image, "--port", "0", "--model", "org/name", check=False)
        self.assertNotEqual(result.returncode, 0)
        return result.stderr

    def test_a_certificate_that_nobody_vouches_for_is_refused(self):
        self.assertRegex(self.start().lower(), "certificate")

    def test_a_hub_that_the_list_vouches_for_is_asked(self):
        said = self.start("-v", self.certificate + ":/etc/ssl/certs/ca-certificates.crt:ro")
        self.assertRegex(said, "404|not found|does not have|no such")


if __name__ == "__main__":
    if not TOOL:
        print("SKIPPED: neither podman nor docker is here: nothing of the container was tested", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 0)
    unittest.main(verbosity=2)
