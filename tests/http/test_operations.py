#!/usr/bin/env python3
"""What an operator relies on: signals, readiness, metrics, logs without content, confinement, starts that fail whole.

SPDX-License-Identifier: Apache-2.0
"""
import base64
import ctypes
import glob
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness
from harness import PATIENCE, Server, main, slow_build, wait_for

MODEL = ("--model", "builtin:attnd-bert")
SMALL = {"embeddings": [[1, 0], [0, 1], [1, 1]], "output": ["attentions"]}
GRACE_S = 10  # that a worker has to notice its deadline


def large(tokens, heads=4):
    numbers = [((i * 7919) % 1000) / 500 - 1 for i in range(tokens * 2 * heads)]
    data = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return {"num_attention_heads": heads, "output": ["attentions"], "embeddings": {"dtype": "float32", "shape": [tokens, 2 * heads], "data": data}}


def send(port, document):
    """A request whose answer nobody reads."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(PATIENCE)
    s.connect(("127.0.0.1", port))
    body = json.dumps(document).encode()
    s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return s


def get(port, path):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        c.request("GET", path)
        answer = c.getresponse()
        return answer.status, answer.read().decode()
    finally:
        c.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def run_program(*options):
    done = subprocess.run([harness.PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, cwd=harness.ROOT)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        return True
    except OSError:
        return False


class OperationCase(unittest.TestCase):
    def serve(self, *options):
        server = Server((*MODEL, *options))
        self.addCleanup(self.end, server)
        return server

    def end(self, server):
        if server.process.returncode is None:
            self.assertEqual(server.stop(), 0, "\n".join(server.log[-20:]))
        else:
            server.reader.join(PATIENCE)
            server.process.stderr.close()

    def metric(self, port, name):
        return float(re.search(rf"^{re.escape(name)} (\S+)$", get(port, "/metrics")[1], re.M)[1])


class Signals(OperationCase):
    def test_a_reload_without_anything_to_reload_says_so_and_changes_nothing(self):
        server = self.serve()
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        wait_for(lambda: any("SIGHUP: there are neither keys nor a certificate" in line for line in server.log))
        self.assertEqual(get(server.port, "/readyz")[0], 200)

    def test_a_reload_does_not_end_a_server_that_drains(self):
        server = self.serve("--threads", "1")
        with send(server.port, large(1024)) as s:
            wait_for(lambda: self.metric(server.port, "attnd_running_requests") == 1)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: any("no new work" in line for line in server.log))
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            self.assertIsNone(server.process.poll())
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(5), 128 + signal.SIGTERM)
            s.close()

    def test_log_lines_of_a_server_without_a_standard_error_go_nowhere_else(self):
        command = f'exec "{harness.PROGRAM}" --port {(port := free_port())} --log-level debug --model builtin:attnd-bert <&- >&- 2>&-'
        server = subprocess.Popen(["sh", "-c", command], cwd=harness.ROOT)
        try:
            wait_for(lambda: is_open(port))
            self.assertEqual([os.readlink(f"/proc/{server.pid}/fd/{fd}") for fd in range(3)], ["/dev/null"] * 3)
            self.assertEqual(get(port, "/readyz")[0], 200)
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(PATIENCE), 0)

    def test_a_log_that_nobody_reads_holds_up_nobody(self):
        reader, writer = os.pipe()
        port = free_port()
        server = subprocess.Popen([harness.PROGRAM, "--port", str(port), "--log-level", "debug", "--log-format", "json", "--model", "builtin:attnd-bert"], stderr=writer,
                                  cwd=harness.ROOT)
        os.close(writer)
        try:
            wait_for(lambda: is_open(port))
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            for _ in range(1000):  # a pipe holds some 380 of these lines
                c.request("GET", "/healthz")
                self.assertEqual(c.getresponse().read(), b'{"status":"ok"}')
            got = os.read(reader, 1 << 20)  # somebody reads again
            c.request("GET", "/readyz")
            c.getresponse().read()
            c.close()
        finally:
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(PATIENCE), 0)
        with open(reader, "rb") as rest:
            lines = (got + rest.read()).decode().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        lost = sum(event["lines"] for event in events if event["event"] == "lost")
        self.assertGreater(lost, 100)
        self.assertEqual(lost + sum(event.get("path") == "/healthz" for event in events), 1000)
        self.assertEqual(events[-1]["event"], "stop")

    def test_a_reload_that_comes_while_models_are_loaded_waits(self):
        for _ in range(5):
            server = subprocess.Popen([harness.PROGRAM, "--port", "0", "--log-level", "info"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=harness.ROOT)
            lines = []
            for raw in server.stderr:
                lines.append(raw.decode())
                if " info model " in lines[-1]:  # not yet serving
                    server.send_signal(signal.SIGHUP)
                if lines[-1].startswith("listening on"):
                    break
            self.assertTrue(lines[-1].startswith("listening on"), lines)
            server.send_signal(signal.SIGTERM)
            server.stderr.read()
            server.stderr.close()
            self.assertEqual(server.wait(PATIENCE), 0)


class Readiness(OperationCase):
    def test_a_worker_that_is_stuck_makes_the_server_not_ready(self):
        server = self.serve("--threads", "1", "--timeout", "5s")
        libc = ctypes.CDLL(None, use_errno=True)
        seize, interrupt, detach = 0x4206, 0x4207, 17
        threads = []
        for path in glob.glob(f"/proc/{server.process.pid}/task/*/comm"):
            with open(path, encoding="ascii") as f:
                if not f.read().startswith("MHD"):
                    threads.append(int(path.split("/")[4]))
        worker = sorted(threads)[1]  # behind main, before the watch
        with send(server.port, large(1024)) as s:
            wait_for(lambda: self.metric(server.port, "attnd_running_requests") == 1)
            self.assertEqual(libc.ptrace(seize, worker, None, None), 0, os.strerror(ctypes.get_errno()))
            try:
                self.assertEqual(libc.ptrace(interrupt, worker, None, None), 0)
                os.waitpid(worker, 0x40000000)  # any kind of thread
                self.assertEqual(get(server.port, "/readyz")[0], 200)  # its time is not over
                begin = time.monotonic()
                wait_for(lambda: get(server.port, "/readyz")[0] == 503, GRACE_S + 20)
                self.assertGreater(time.monotonic() - begin, GRACE_S - 2)
                problem = json.loads(get(server.port, "/readyz")[1])
                self.assertIn("a worker has made no progress", problem["detail"])
                self.assertEqual(get(server.port, "/healthz")[0], 200)
                self.assertEqual(self.metric(server.port, "attnd_ready"), 0)
            finally:
                libc.ptrace(detach, worker, None, None)
            wait_for(lambda: get(server.port, "/readyz")[0] == 200)
            s.close()


class Metrics(OperationCase):
    def test_what_an_operator_needs_is_there(self):
        server = self.serve("--model", "builtin:attnd-gpt", "--queue", "3")
        server.attention({"text": "one"})
        server.attention({"text": "two", "model": "attnd-gpt"})
        server.attention(SMALL)
        server.post("/v1/tokenize", {"text": "three"})
        server.post("/v1/attention", {"text": "four", "model": "no-such-model"})
        wait_for(lambda: 'attnd_stage_duration_seconds_count{stage="queue"} 5\n' in get(server.port, "/metrics")[1])  # counted when the client has its answer
        text = get(server.port, "/metrics")[1]
        for name, kind in (("attnd_request_duration_seconds", "histogram"), ("attnd_stage_duration_seconds", "histogram"),
                           ("attnd_model_request_duration_seconds", "histogram"), ("attnd_queue_length", "gauge"), ("attnd_queue_capacity", "gauge"),
                           ("attnd_memory_used_bytes", "gauge"), ("attnd_memory_budget_bytes", "gauge"), ("attnd_build_info", "gauge"),
                           ("attnd_model_bytes", "gauge"), ("process_cpu_seconds_total", "counter"), ("process_resident_memory_bytes", "gauge"),
                           ("process_open_fds", "gauge"), ("process_max_fds", "gauge"), ("process_start_time_seconds", "gauge")):
            self.assertIn(f"# TYPE {name} {kind}\n", text)
        self.assertRegex(text, r'attnd_build_info\{version="[\d.]+",kernels="\w+",gemm_kernel="[^"]+",threads="\d+"\} 1')
        self.assertRegex(text, r'attnd_stage_duration_seconds_count\{stage="queue"\} 5\n')
        self.assertIn('attnd_model_request_duration_seconds_count{model="attnd-bert"} 2\n', text)
        self.assertIn('attnd_model_request_duration_seconds_count{model="attnd-gpt"} 1\n', text)
        self.assertNotIn("no-such-model", text)

    def test_labels_are_bounded_whatever_clients_send(self):
        server = self.serve()

        def series():
            return {line.rsplit(" ", 1)[0] for line in get(server.port, "/metrics")[1].splitlines() if not line.startswith("#")}

        def poke(i):
            server.request("GET", f"/path-{i}")
            server.request(f"VERB{i}", "/v1/attention")
            server.post(f"/v1/attention?parameter{i}=1", {"text": "x"})
            server.post("/v1/attention", {"text": "x", "model": f"model-{i}"})
            server.request("GET", f"/v1/models/model-{i}")

        def counted():
            return sum(int(line.rsplit(" ", 1)[1]) for line in get(server.port, "/metrics")[1].splitlines() if line.startswith("attnd_requests_total{"))

        poke(0)
        wait_for(lambda: counted() >= 6)  # those five and one of /metrics; a request is counted after its client has its answer
        before = series()
        for i in range(1, 30):
            poke(i)
        self.assertEqual(series() - before, set())

    def test_the_metrics_port_answers_when_the_main_one_is_full(self):
        port = free_port()
        server = self.serve("--metrics-port", str(port), "--threads", "1", "--queue", "1", "--max-connections", "4")
        with send(server.port, large(1024)), send(server.port, large(1024)):
            wait_for(lambda: self.metric(port, "attnd_running_requests") == 1 and self.metric(port, "attnd_queue_length") == 1)
            idle = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(100)]
            for path in ("/metrics", "/healthz", "/readyz"):
                begin = time.monotonic()
                self.assertEqual(get(port, path)[0], 200)
                self.assertLess(time.monotonic() - begin, 2 if slow_build() else 0.5)
            for s in idle:
                s.close()


class Logs(OperationCase):
    SECRET = "xyzzyplugh"  # one word, whose pieces are looked for too

    def test_nothing_of_a_request_is_logged_at_any_level_and_every_line_has_its_id(self):
        secret = self.SECRET
        server = self.serve("--log-level", "debug", "--log-format", "json", "--max-body-bytes", "20000", "--timeout", "2s", "--max-batch", "2")
        requests = [
            ("/v1/attention", {"text": secret}),
            ("/v1/attention", {"text": [secret, secret, secret]}),  # 413
            ("/v1/attention", {"text": secret * 1000}),  # 413, or too many tokens
            ("/v1/attention", {"text": "a", "model": secret}),  # 404
            ("/v1/attention", {"text": "a", secret: 1}),  # 400
            ("/v1/attention", {"text": "a", "output": [secret]}),
            ("/v1/attention", {"text": "a", "layers": [987654321]}),  # 422
            ("/v1/attention", {"input_ids": [987654321]}),
            ("/v1/attention", {"embeddings": [[987654321.5, 1e38], [1e38, 1e38]], "scale": 1e30}),
            ("/v1/attention", '{"text": "' + secret),
            ("/v1/attention", secret),
            ("/v1/attention?scale=" + secret, {"text": "a"}),
            ("/v1/tokenize", {"text": secret, "text_pair": secret}),
            ("/v1/estimate?accept=" + secret, {"text": secret}),
        ]
        headers = {"Authorization": "Bearer " + secret, "Cookie": secret, "User-Agent": secret, "Referer": secret, "Origin": "https://" + secret,
                   "Accept-Language": secret}
        for i, (path, body) in enumerate(requests):
            server.post(path, body, dict(headers, **{"X-Request-Id": f"request-{i}"}))
        server.post("/v1/attention", {"text": secret}, {"Content-Type": "text/" + secret, "X-Request-Id": "request-type"})
        server.post("/v1/attention", {"text": secret}, {"Accept": "image/" + secret, "X-Request-Id": "request-accept"})
        server.request("POST", "/v1/attention", json.dumps({"text": secret}), {"Accept": "application/x-ndjson", "X-Request-Id": "request-lines"})
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as s:  # too slow
            s.sendall(f'POST /v1/attention HTTP/1.1\r\nHost: {secret}\r\nContent-Length: 100\r\n\r\n{{"text": "{secret}'.encode())
            while s.recv(4096):
                pass
        wait_for(lambda: sum('"event":"request"' in line for line in server.log) >= len(requests) + 4)
        self.assertEqual(server.stop(), 0)
        log = "\n".join(server.log)
        for word in (secret, secret[:5], secret[5:], "987654321"):
            self.assertNotIn(word, log)
        ids = {json.loads(line)["request_id"] for line in server.log if '"event":"request"' in line}
        self.assertLessEqual({f"request-{i}" for i in range(len(requests))} | {"request-type", "request-accept", "request-lines"}, ids)
        for line in server.log:
            if line.startswith("{"):
                self.assertLessEqual({"time", "level", "event"}, set(json.loads(line)))


class Confinement(OperationCase):
    @staticmethod
    def filters(server):
        """Of each thread: how many filters it is under, and whether it may gain privileges."""
        found = set()
        for path in glob.glob(f"/proc/{server.process.pid}/task/*/status"):
            with open(path, encoding="ascii", errors="replace") as f:
                text = f.read()
            count = re.search(r"^Seccomp_filters:\s*(\d+)$", text, re.M)
            mode = re.search(r"^Seccomp:\s*(\d+)$", text, re.M)
            found.add((int(count[1]) if count else int(mode[1]) // 2, int(re.search(r"^NoNewPrivs:\s*(\d)$", text, re.M)[1])))
        return found

    def test_every_thread_is_under_the_filter(self):
        off, on = self.serve("--seccomp", "off"), self.serve("--metrics-port", str(free_port()))
        (without, _), = self.filters(off)
        if slow_build():
            self.assertTrue(any("warn seccomp" in line and "sanitizer" in line for line in on.log))
        else:
            self.assertEqual(self.filters(on), {(without + 1, 1)})
            self.assertTrue(any("info seccomp" in line for line in on.log))
        self.assertFalse(any("seccomp" in line for line in off.log))

    def test_a_confined_server_does_all_its_work(self):
        server = self.serve("--model", "builtin:attnd-gpt", "--model", "builtin:attnd-translate")
        for accept in ("application/json", "application/x-ndjson", "application/vnd.safetensors", "image/png", "image/svg+xml", "text/plain"):
            for body in ({"text": "The cat sat."}, {"model": "attnd-translate", "text": ">>deu<< The cat.", "max_new_tokens": 5}):
                status, _, _ = server.request("POST", "/v1/attention", json.dumps(body), {"Accept": accept})
                self.assertEqual(status, 200, accept)
        self.assertGreater(self.metric(server.port, "process_open_fds"), 3)
        self.assertGreater(self.metric(server.port, "process_resident_memory_bytes"), 1 << 20)
        self.assertGreater(self.metric(server.port, "process_max_fds"), 3)


class Starts(OperationCase):
    def test_one_bad_model_of_two_starts_nothing(self):
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            path, bad = os.path.join(folder, "s"), os.path.join(folder, "bad")
            os.mkdir(bad)
            with open(os.path.join(bad, "config.json"), "w", encoding="ascii") as f:
                f.write('{"model_type": "bert"')
            server = subprocess.Popen([harness.PROGRAM, *MODEL, "--model", bad, "--port", str(port), "--unix-socket", path], stderr=subprocess.PIPE, cwd=harness.ROOT)
            while server.poll() is None:
                with self.assertRaises(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                self.assertFalse(os.path.lexists(path))
                time.sleep(0.01)
            error = server.stderr.read().decode()
            server.stderr.close()
            self.assertEqual(server.returncode, 1)
            self.assertEqual(len([line for line in error.splitlines() if line.startswith("attnd: --model " + bad)]), 1, error)
            self.assertNotIn("listening", error)

    def test_the_check_names_all_that_is_wrong_at_once(self):
        code, out, error = run_program("--check", *MODEL, "--api-key-file", "/nowhere/keys", "--tls-cert", "/nowhere/cert", "--tls-key", "/nowhere/key")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("--api-key-file /nowhere/keys", error)
        self.assertIn("--tls-cert /nowhere/cert", error)


if __name__ == "__main__":
    main()
