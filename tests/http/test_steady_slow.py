"""In the steady state a request takes nothing from the system: memory of the one before is used again. Seen as page faults, which new memory always costs.

Not under sanitizers, whose memory is their own.

SPDX-License-Identifier: Apache-2.0
"""
import http.client
import json
import threading
import unittest

import harness
from harness import Server

WARM_UP = 0.5  # of the requests that are counted, before them
FAULTS = 0.1  # a request: what a thread's stack or a lock's queue may still cost once


def faults(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        return int(f.read().rsplit(")", 1)[1].split()[7])


class Steady(unittest.TestCase):
    def setUp(self):
        self.server = Server(["--threads", "2", "--log-level", "warn", "--model", "builtin:attnd-bert"])

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def ask(self, connection, body, count):
        for _ in range(count):
            connection.request("POST", "/v1/attention", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            while answer.read(1 << 20):
                pass
            self.assertEqual(answer.status, 200)

    def faults_a_request(self, body, clients, count):
        """Over `count` requests of each of so many clients, on connections that are kept."""
        body = json.dumps(body).encode()
        connections = [http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120) for _ in range(clients)]

        def all_ask(n):
            threads = [threading.Thread(target=self.ask, args=(c, body, n)) for c in connections]
            for t in threads:
                t.start()
            for t in threads:
                t.join()

        all_ask(int(count * WARM_UP) + 1)
        before = faults(self.server)
        all_ask(count)
        after = faults(self.server)
        for c in connections:
            c.close()
        return (after - before) / count / clients

    def hold(self, body, clients, count):
        # Which worker gets a request is chance, and one may come to its first large one late: some rounds of this, one of which takes nothing.
        rounds = []
        while len(rounds) < 5 and (not rounds or rounds[-1] >= FAULTS):
            rounds.append(self.faults_a_request(body, clients, count))
        self.assertLess(rounds[-1], FAULTS, rounds)

    def text(self, words):
        return {"text": " ".join(["word"] * words), "output": ["attentions"]}

    def test_short_requests_take_nothing(self):
        self.hold(self.text(6), 1, 300)

    def test_nor_do_answers_of_many_blocks(self):
        self.hold(self.text(126), 1, 40)

    def test_nor_do_four_clients_at_once(self):
        self.hold(self.text(30), 4, 40)

    def test_nor_does_what_takes_megabytes_to_compute(self):
        self.hold(dict(self.text(254), reduce_layers="mean"), 1, 30)


if __name__ == "__main__":
    harness.main()
