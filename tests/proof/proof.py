"""What the proofs share: a server, requests whose right answers are known beforehand, connections that read an answer to its last byte, percentiles.

A right answer is what an idle server said to the same request: the service promises equal bits whatever else it does at the time.
SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = "the animal did not cross the street because it was too tired and she said that we have a dog 42 é 世界".split()
NPY = "application/x-npy"


class Server:
    """attnd on a port of its choice, or on a given one."""

    def __init__(self, program, options=(), port=0, environment=None):
        self.process = subprocess.Popen([program, "--port", str(port), "--log-level", "warn", *options], stderr=subprocess.PIPE, env=dict(os.environ, **(environment or {})))
        self.log, self.port = [], None
        for raw in self.process.stderr:
            self.log.append(raw.decode("utf-8", "replace").rstrip())
            found = re.search(r"listening on http://.*:(\d+)$", self.log[-1])
            if found:
                self.port = int(found[1])
                break
        if self.port is None:
            raise RuntimeError("the server did not start:\n" + "\n".join(self.log))
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        for raw in self.process.stderr:
            self.log.append(raw.decode("utf-8", "replace").rstrip())
            del self.log[:-200]

    def resident(self):
        """Megabytes."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


class Request:
    """One request and, once learned, its answer."""

    def __init__(self, path, body, accept="application/json", name=None):
        self.name = name or f"{path} {accept}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: {accept}\r\nX-Request-Id: proof\r\nContent-Length: {len(data)}\r\n\r\n"
        self.bytes = head.encode() + data
        self.is_lines = accept == "application/x-ndjson"
        self.status = self.digest = None

    def digest_of(self, body):
        if self.is_lines:
            body = body[: body.rstrip(b"\n").rfind(b"\n") + 1]  # the last line has timings
        return hashlib.sha256(body).digest()

    def is_right(self, status, body):
        return status == self.status and self.digest_of(body) == self.digest


def sentence(chance, n):
    return " ".join(chance.choices(WORDS, k=n))


def mixed_requests(models=("attnd-bert", "attnd-gpt", "attnd-translate")):
    """All forms of answers, all kinds of input, right and wrong ones."""
    chance, out = random.Random(20261121), []
    for n in (1, 3, 8, 13, 21, 40, 90):
        text = sentence(chance, n)
        out.append(Request("/v1/attention", {"text": text, "output": ["attentions"]}))
        out.append(Request("/v1/attention", {"text": text, "layers": [5, 0], "decimals": 4}, "application/x-ndjson"))
        out.append(Request("/v1/attention", {"text": [text, "and then"], "encoding": "base64", "dtype": "float16"}))
        out.append(Request("/v1/attention", {"text": text, "output": ["attentions", "hidden_states"]}, "application/vnd.safetensors"))
        out.append(Request("/v1/attention", {"text": text, "output": ["attentions"], "layers": [2]}, NPY))
        out.append(Request("/v1/attention", {"text": text, "output": [], "analyses": ["entropy", "previous_token"]}))
        out.append(Request("/v1/tokenize", {"text": text}))
        out.append(Request("/v1/estimate", {"text": text}))
    out.append(Request("/v1/attention", {"text": sentence(chance, 9), "layers": [5], "heads": [1]}, "image/png"))
    out.append(Request("/v1/attention", {"text": sentence(chance, 9), "layers": [5]}, "text/plain"))
    if "attnd-gpt" in models:
        out.append(Request("/v1/attention", {"model": "attnd-gpt", "text": "Once upon a time", "max_new_tokens": 12, "layers": [4], "output": ["attentions"]}))
        out.append(Request("/v1/attention", {"model": "attnd-gpt", "text": "The king", "max_new_tokens": 6, "layers": [4], "heads": [2]}, "application/x-ndjson"))
    if "attnd-translate" in models:
        out.append(Request("/v1/attention", {"model": "attnd-translate", "text": ">>deu<< The house is red.", "max_new_tokens": 20, "output": ["attentions"]}))
    numbers = [[round(chance.gauss(0, 1), 4) for _ in range(16)] for _ in range(64)]
    out.append(Request("/v1/attention", {"embeddings": numbers, "num_attention_heads": 4, "is_causal": True}))
    with open(os.path.join(ROOT, "tests/http/bad_requests.jsonl"), encoding="utf-8") as f:
        bad = [json.loads(line) for line in f]
    for case in chance.sample([c for c in bad if isinstance(c.get("body"), str)], 40):
        out.append(Request("/v1/attention", case["body"].encode("utf-8", "surrogatepass"), name="bad: " + case["name"]))
    return out


async def read_answer(reader):
    """(status, headers, body); an answer cut short raises."""
    line = await reader.readline()
    if not line:
        raise ConnectionResetError("closed without an answer")
    status, headers = int(line.split()[1]), {}
    while (line := (await reader.readline()).strip()):
        key, _, value = line.partition(b":")
        headers[key.strip().lower().decode()] = value.strip().decode("latin-1")
    if "content-length" in headers:
        return status, headers, await reader.readexactly(int(headers["content-length"]))
    parts = []
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return status, headers, b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


class Connection:
    """Kept alive as long as the server keeps it."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, data, timeout=100):
        """(status, headers, body)."""
        if self.reader is not None and self.reader.at_eof():
            self.close()  # idle for so long that the server has ended it
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        try:
            self.writer.write(data)
            status, headers, body = await asyncio.wait_for(read_answer(self.reader), timeout)
        except BaseException:
            self.close()
            raise
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


async def learn(port, requests):
    """Asks each request of an idle server, twice, and keeps the answer."""
    connection = Connection(port)
    for r in requests:
        for _ in range(2):
            status, _, body = await connection.ask(r.bytes)
            digest = r.digest_of(body)
            if r.status is not None and (status, digest) != (r.status, r.digest):
                raise RuntimeError(f"{r.name} is answered in two ways by an idle server")
            r.status, r.digest = status, digest
    connection.close()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def watch_health(port, seconds, path="/healthz", every=0.05):
    """In a process of its own: milliseconds of each /healthz, None for one that failed."""
    import http.client

    took, connection, end = [], None, time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            took.append((time.perf_counter() - begin) * 1e3 if answer.status == 200 else None)
        except OSError:
            took.append(None)
            connection = None
        time.sleep(every)
    return took
