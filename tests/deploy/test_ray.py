"""deploy/examples/ray_map_batches.py with Ray on this machine: every text answered as attnd answers it alone, whatever its replicas do meanwhile.

SPDX-License-Identifier: Apache-2.0
"""
import http.server
import importlib.util
import json
import os
import random
import sys
import threading

from case import DEPLOY, Case, get, package

SCRIPT = os.path.join(DEPLOY, "examples", "ray_map_batches.py")
NUM_TEXTS = 300
WORDS = "the cat sat on a mat because it was too warm for the old dog and his friend".split()


class Moody(http.server.BaseHTTPRequestHandler):
    """A replica that is busy, breaks off, and is busy again, and never answers well."""

    protocol_version = "HTTP/1.1"
    asked = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Moody.asked.append(self.path)
        turn = len(Moody.asked) % 3
        if turn == 0:
            self.close_connection = True  # nothing at all
            return
        body = b"{}" if turn == 1 else b'{"results": [{"tok'
        self.send_response(503 if turn == 1 else 200)
        if turn == 1:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body) if turn == 1 else 1000))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


def load_example():
    package("ray")
    spec = importlib.util.spec_from_file_location("ray_map_batches", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class RayData(Case):
    def test_a_corpus_goes_through_two_replicas_and_one_that_is_moody(self):
        package("ray")
        parquet = package("pyarrow.parquet")
        servers = [self.serve("--threads", "1", "--queue", "1", "--log-level", "error") for _ in range(2)]
        moody = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody)
        threading.Thread(target=moody.serve_forever, daemon=True).start()
        self.addCleanup(moody.shutdown)
        draw = random.Random(7)
        texts = [f"{i} " + " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 40))) for i in range(NUM_TEXTS)]
        corpus, out = os.path.join(self.folder, "corpus.txt"), os.path.join(self.folder, "out")
        with open(corpus, "w", encoding="utf-8") as file:
            file.write("\n\n".join(texts) + "\n")
        urls = [f"http://127.0.0.1:{p}" for p in (servers[0].port, moody.server_port, servers[1].port)]
        environment = dict(os.environ, RAY_USAGE_STATS_ENABLED="0", RAY_TMPDIR=self.folder)
        driver = (
            "import ray, runpy, sys; ray.init(num_cpus=4, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False); "
            "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        command = [sys.executable, "-c", driver, SCRIPT]
        for url in urls:
            command += ["--url", url]
        self.ok(*command, "--batch", "8", "--concurrency", "6", corpus, out, env=environment)
        rows = {row["text"]: row for row in parquet.read_table(out).to_pylist()}
        self.assertEqual(set(rows), set(texts))
        example = load_example()
        for text in texts[:: NUM_TEXTS // 20]:
            alone = servers[0].attention(dict(example.REQUEST, text=text))["results"][0]
            self.assertEqual(rows[text]["tokens"], [t["text"] for t in alone["tokens"]])
            for name, value in example.summary(alone).items():
                if isinstance(value, list):
                    self.assertEqual(rows[text][name], value)
                else:
                    self.assertAlmostEqual(rows[text][name], value, places=5)
        self.assertEqual({rows[t]["error"] for t in texts}, {""})
        counts = []
        for server in servers:
            metrics = get(f"http://127.0.0.1:{server.port}/metrics")[1].decode()
            counts.append(sum(int(line.split()[-1]) for line in metrics.splitlines() if line.startswith("attnd_requests_total") and 'code="200"' in line))
        print(f"    {NUM_TEXTS} texts: {counts} requests answered by the two replicas, {len(Moody.asked)} times the moody one was asked")
        self.assertGreater(min(counts), 5)
        self.assertGreater(len(Moody.asked), 5)

    def test_a_text_that_is_refused_costs_no_other(self):
        example = load_example()
        server = self.serve("--max-tokens", "20")
        example.REQUEST = dict(example.REQUEST, truncation=False)
        client = example.Client([f"http://127.0.0.1:{server.port}"], None, None)
        table = client({"text": ["The cat.", " ".join(["cat"] * 50), "It was warm."]}).to_pylist()
        self.assertEqual([row["error"] for row in table], ["", "too_many_tokens", ""])
        self.assertEqual([bool(row["tokens"]) for row in table], [True, False, True])
        self.assertIsNone(table[1]["entropy_mean"])

    def test_replicas_that_are_gone_are_said_to_be(self):
        client = load_example().Client(["http://127.0.0.1:9"], None, None, rounds=2)
        with self.assertRaisesRegex(RuntimeError, "127.0.0.1:9"):
            client.ask(["a"])

    def test_the_key_is_sent_and_a_wrong_one_is_not_asked_with_again(self):
        asked = []

        class Strict(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.headers["Authorization"])
                self.send_response(401)
                self.end_headers()
                self.wfile.write(json.dumps({"code": "unauthorized"}).encode())

            def log_message(self, *_):
                pass

        strict = http.server.HTTPServer(("127.0.0.1", 0), Strict)
        threading.Thread(target=strict.serve_forever, daemon=True).start()
        self.addCleanup(strict.shutdown)
        example = load_example()
        with self.assertRaises(example.Refused) as caught:
            example.Client([f"http://127.0.0.1:{strict.server_port}"], "secret", None).ask(["a"])
        self.assertEqual((caught.exception.code, asked), ("unauthorized", ["Bearer secret"]))
