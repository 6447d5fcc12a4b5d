"""nginx and HAProxy with the configurations of deploy/ before two replicas on this machine: lines as they come, tries elsewhere, sub-path, ids, TLS.

SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time

from case import Case, free_port, get, make_certificate, read, run, tool, wait_until

REPLICAS = ("192.0.2.11:8080", "192.0.2.12:8080")  # of the example configurations
OPTIONS = ("--threads", "1", "--queue", "2", "--drain-timeout", "5s")
SHORT = {"text": "The cat sat on the mat.", "output": ["attentions"], "layers": [0], "heads": [0], "decimals": 3}


def long_body(tokens, texts=16):
    return {"text": [" ".join(["cat"] * tokens)] * texts, "output": [], "analyses": ["rollout"], "queries": [0], "keys": [0]}


class Proxy:
    """The tests; subclasses bring the proxy."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.replicas = [cls.serve(*OPTIONS) for _ in REPLICAS]
        cls.plain, cls.tls = free_port(), free_port()
        cls.certificate, cls.key = make_certificate(cls.folder)
        cls.start_proxy()
        wait_until(lambda: cls().ask("GET", "/readyz")[0] == 200)

    def runTest(self):
        """So that one can be made for its methods alone."""

    @classmethod
    def addresses(cls, text):
        for example, replica in zip(REPLICAS, cls.replicas):
            text = text.replace(example, f"127.0.0.1:{replica.port}")
        return text

    def connect(self, timeout=60):
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        return http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=timeout, context=context)

    def ask(self, method, path, body=None, headers=None):
        connection = self.connect()
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, dict({"Content-Type": "application/json", "Host": "attnd.example.org"}, **(headers or {})))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def counts(self):
        """Answers 200 to attention requests, of each replica."""
        counts = []
        for replica in self.replicas:
            if replica.process.poll() is not None:
                counts.append(None)
                continue
            text = get(f"http://127.0.0.1:{replica.port}/metrics")[1].decode()
            lines = [line for line in text.splitlines() if line.startswith('attnd_requests_total{route="/v1/attention"') and 'code="200"' in line]
            counts.append(sum(int(line.split()[-1]) for line in lines))
        return counts

    def test_a_answers_are_the_same_as_without_it(self):
        exact = {name: value for name, value in SHORT.items() if name != "decimals"}
        for accept in ("application/json", "application/vnd.safetensors", "image/png", "text/plain"):
            status, _, body = self.ask("POST", "/v1/attention", exact, {"Accept": accept})
            direct = self.replicas[0].request("POST", "/v1/attention", json.dumps(exact), {"Content-Type": "application/json", "Accept": accept})
            self.assertEqual((status, body), (200, direct[2]), accept)

    def test_b_plain_http_goes_to_tls(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=10)
        connection.request("POST", "/v1/attention", json.dumps(SHORT), {"Host": "attnd.example.org"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Location")), (308, "https://attnd.example.org/v1/attention"))
        connection.close()

    def test_c_both_replicas_get_work(self):
        before = self.counts()
        for _ in range(12):
            self.assertEqual(self.ask("POST", "/v1/attention", SHORT)[0], 200)
        after = self.counts()
        self.assertGreater(after[0], before[0])
        self.assertGreater(after[1], before[1])

    def test_d_the_clients_request_id_is_kept_and_one_is_made(self):
        self.assertEqual(self.ask("POST", "/v1/attention", SHORT, {"X-Request-Id": "mine-1"})[1]["x-request-id"], "mine-1")
        made = self.ask("POST", "/v1/attention", SHORT)[1]["x-request-id"]
        self.assertGreaterEqual(len(made), 32)
        wait_until(lambda: any(made in line for replica in self.replicas for line in list(replica.log)))

    def test_e_attnds_own_compression_and_errors_pass(self):
        body = {"text": ["The cat sat on the mat."] * 4}
        status, headers, _ = self.ask("POST", "/v1/attention", body, {"Accept-Encoding": "gzip"})
        self.assertEqual((status, headers.get("content-encoding")), (200, "gzip"))
        status, headers, body = self.ask("POST", "/v1/attention", {"tet": ""})
        self.assertEqual((status, headers["content-type"], json.loads(body)["code"]), (400, "application/problem+json", "unknown_field"))

    def test_f_below_a_path_the_page_and_the_api_work(self):
        for path in ("/", "/docs", "/openapi.json", "/explorer/main.js", "/v1/models"):
            self.assertEqual(self.ask("GET", "/attention-maps" + path)[2], self.replicas[0].request("GET", path)[2], path)
        for page in ("/", "/docs"):
            text = self.ask("GET", "/attention-maps" + page)[2].decode()
            for absolute in ('href="/', 'src="/', 'fetch("/'):
                self.assertFalse(absolute in text, f"{absolute} in {page}")
        self.assertEqual(self.ask("POST", "/attention-maps/v1/attention", SHORT)[0], 200)

    def test_g_metrics_stay_in_the_house(self):
        for path in ("/metrics", "/%6detrics", "/metric%73?x=1", "/attention-maps/metrics", "/attention-maps/%6Detrics", "/%61ttention-maps/metrics", "//metrics", "/./metrics"):
            self.assertEqual(self.ask("GET", path)[0], 404, path)

    def test_h_lines_come_as_they_are_computed(self):
        """The first of 16 results is here long before the last: nothing is held back."""
        connection = self.connect()
        connection.request("POST", "/v1/attention", json.dumps(dict(long_body(400), decimals=2)), {"Content-Type": "application/json", "Accept": "application/x-ndjson"})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        times, last = [], b""
        for line in answer:
            times.append(time.monotonic())
            last = line
        connection.close()
        self.assertTrue(json.loads(last)["done"])
        print(f"    {self.label}: {len(times)} lines over {times[-1] - times[0]:.2f} s")
        self.assertGreater(len(times), 16)
        self.assertGreater(times[-1] - times[0], 0.2)
        self.assertLess(times[1] - times[0], (times[-1] - times[0]) / 2)

    def test_i_a_large_body_and_a_large_answer_pass(self):
        rows = [[0.5] * 64] * 4096
        body = {"embeddings": rows, "output": ["attentions"], "pool": {"size": 8}}
        self.assertGreater(len(json.dumps(body)), 1000000)
        self.assertEqual(self.ask("POST", "/v1/attention", body)[0], 200)
        status, _, answer = self.ask("POST", "/v1/attention", {"text": " ".join(["cat"] * 200)})
        self.assertEqual(status, 200)
        self.assertGreater(len(answer), 5000000)

    def refusals(self):
        text = get(f"http://127.0.0.1:{self.replicas[0].port}/metrics")[1].decode()
        return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith('attnd_rejected_requests_total{code="queue_full"}'))

    def test_j_a_full_queue_is_tried_elsewhere(self):
        """One replica is kept full by others, so that it refuses what the proxy sends it: the client sees none of that."""
        before, over = self.refusals(), threading.Event()

        def keep_full():
            connection = http.client.HTTPConnection("127.0.0.1", self.replicas[0].port, timeout=60)
            while not over.is_set():
                connection.request("POST", "/v1/attention", json.dumps(long_body(200, 8)), {"Content-Type": "application/json"})
                connection.getresponse().read()
            connection.close()

        others = [threading.Thread(target=keep_full) for _ in range(5)]
        for other in others:
            other.start()
        try:
            tried = []
            wait_until(lambda: tried.append(self.ask("POST", "/v1/attention", SHORT)[0]) or (len(tried) >= 20 and self.refusals() > before))
        finally:
            over.set()
            for other in others:
                other.join()
        self.assertEqual(set(tried), {200})

    def under_load(self, event):
        """150 requests, three at a time, `event` in the middle of them. How many had to be asked again by the client; all must be right."""

        def one(_):
            for tries in range(3):
                try:
                    status, _, body = self.ask("POST", "/v1/attention", SHORT)
                except (http.client.HTTPException, OSError):
                    continue
                return status, body, tries
            return 0, b"", 3

        expected = self.ask("POST", "/v1/attention", SHORT)[2]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(one, i) for i in range(150)]
            wait_until(lambda: sum(w.done() for w in waiting) > 30)
            event()
            answers = [w.result() for w in waiting]
        self.assertEqual([a[:2] for a in answers], [(200, expected)] * 150)
        return sum(a[2] > 0 for a in answers)

    def test_k_a_replica_that_restarts_costs_no_answer_and_no_second_try(self):
        old = self.replicas[1]
        self.assertEqual(self.under_load(lambda: old.process.send_signal(signal.SIGTERM)), 0)
        self.assertEqual(old.stop(), 0)
        self.replicas[1] = self.serve(*OPTIONS, "--port", str(old.port))
        wait_until(lambda: self.ask("POST", "/v1/attention", SHORT)[0] == 200 and self.counts()[1] > 0)

    def test_l_a_replica_that_dies_costs_no_answer(self):
        """SIGKILL: an answer that had begun is cut short, which the client sees; none is lost without a sign, and none is an error."""
        again = self.under_load(lambda: self.replicas[1].process.send_signal(signal.SIGKILL))
        self.replicas[1].process.wait(10)
        print(f"    {self.label}: 150 answers around a SIGKILL, {again} asked again")
        self.assertEqual({self.ask("POST", "/v1/attention", SHORT)[0] for _ in range(20)}, {200})

    def test_m_a_host_that_does_not_answer_costs_no_answer(self):
        """Where the one that died was: a port that takes no connection and refuses none, as of a host that is off."""
        with socket.socket() as silent, contextlib.ExitStack() as callers:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            silent.bind(("127.0.0.1", self.replicas[1].port))
            silent.listen(0)
            for _ in range(3):
                caller = callers.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(silent.getsockname())
            self.assertEqual([self.ask("POST", "/v1/attention", SHORT)[0] for _ in range(6)], [200] * 6)

    def test_n_no_replica_at_all_is_said(self):
        self.assertEqual(self.replicas[0].stop(), 0)
        wait_until(lambda: self.ask("POST", "/v1/attention", SHORT)[0] in (502, 503))


class Nginx(Proxy, Case):
    label = "nginx"

    @classmethod
    def start_proxy(cls):
        nginx = tool("nginx")
        text = cls.addresses(read("nginx", "attnd.conf"))
        for example, here in (
            ("listen 80;", f"listen 127.0.0.1:{cls.plain};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{cls.tls} ssl"),
            ("/etc/nginx/attnd.crt", cls.certificate),
            ("/etc/nginx/attnd.key", cls.key),
            ("/etc/nginx/attnd_proxy.conf", os.path.join(cls.folder, "attnd_proxy.conf")),
            ("/var/log/nginx/attnd.log", os.path.join(cls.folder, "access.log")),
        ):
            assert example in text, example
            text = text.replace(example, here)
        with open(os.path.join(cls.folder, "attnd_proxy.conf"), "w", encoding="utf-8") as file:
            file.write(read("nginx", "attnd_proxy.conf"))
        folders = "".join(f"{name}_temp_path {cls.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(os.path.join(cls.folder, "nginx.conf"), "w", encoding="utf-8") as file:
            file.write(f"daemon off; pid {cls.folder}/pid; error_log {cls.folder}/error.log; worker_processes 1;\nevents {{}}\nhttp {{\n{folders}{text}}}\n")
        os.chmod(cls.folder, 0o755)
        command = [nginx, "-p", cls.folder, "-e", os.path.join(cls.folder, "error.log"), "-c", os.path.join(cls.folder, "nginx.conf")]
        if os.getuid() == 0:
            command += ["-g", "user root;"]
        status, said = run(*command, "-t")
        assert status == 0, said
        cls.start(*command)


class Haproxy(Proxy, Case):
    label = "haproxy"

    @classmethod
    def start_proxy(cls):
        pem = os.path.join(cls.folder, "pem")
        with open(pem, "w", encoding="utf-8") as out:
            for name in (cls.certificate, cls.key):
                with open(name, encoding="utf-8") as part:
                    out.write(part.read())
        text = cls.addresses(read("haproxy", "haproxy.cfg"))
        for example, here in (("bind :80\n", f"bind 127.0.0.1:{cls.plain}\n"), ("bind :443 ssl", f"bind 127.0.0.1:{cls.tls} ssl"), ("/etc/haproxy/attnd.pem", pem)):
            assert example in text, example
            text = text.replace(example, here)
        name = os.path.join(cls.folder, "haproxy.cfg")
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
        status, said = run(tool("haproxy"), "-c", "-f", name)
        assert status == 0, said
        cls.start(tool("haproxy"), "-db", "-f", name)
