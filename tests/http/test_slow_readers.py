#!/usr/bin/env python3
"""Clients that ask for much and read next to nothing: they wait for themselves alone.

SPDX-License-Identifier: Apache-2.0
"""
import http.client
import json
import socket
import time

import harness
from harness import Server, main

BIG = json.dumps({"text": "the dog " * 80, "output": ["attentions"]}).encode()
SMALL = {"text": "the dog", "output": ["attentions"], "layers": [0]}


def slow_reader(port):
    """Asks, and reads nothing."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
    return s


class SlowReaders(harness.unittest.TestCase):
    def start(self, *options):
        server = Server(options)
        self.addCleanup(server.stop)
        self.addCleanup(lambda: [s.close() for s in self.slow])
        self.slow = []
        return server

    def crowd(self, server, n):
        """n more, once all of them are known to be slow."""
        self.slow += [slow_reader(server.port) for _ in range(n)]
        end = time.monotonic() + 60
        while server.gauge("attnd_waiting_for_clients") < len(self.slow) and time.monotonic() < end:
            time.sleep(0.02)

    def test_twenty_of_them_do_not_hold_up_one_thread_with_a_queue_of_two(self):
        server = self.start("--threads", "1", "--queue", "2", "--model", "builtin:attnd-bert")
        for _ in range(10):
            self.crowd(server, 2)
        begin = time.monotonic()
        self.assertEqual(server.post("/v1/attention", SMALL)[0], 200)
        self.assertLess(time.monotonic() - begin, 20 if harness.slow_build() else 2)
        self.assertEqual(server.gauge("attnd_waiting_for_clients"), len(self.slow))
        self.assertEqual(server.gauge("attnd_running_requests"), 0)

    def test_a_slow_reader_still_gets_all_of_its_answer(self):
        server = self.start("--threads", "1", "--model", "builtin:attnd-bert")
        expected = server.request("POST", "/v1/attention", BIG, {"Content-Type": "application/json"})[2]
        self.crowd(server, 3)
        time.sleep(0.5)
        for s in self.slow:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            answer = http.client.HTTPResponse(s, method="POST")
            answer.begin()
            self.assertEqual(answer.read(), expected)

    def test_who_reads_nothing_loses_its_answer_when_others_wait_for_its_memory(self):
        server = self.start("--threads", "2", "--max-memory-bytes", "24MiB", "--max-response-bytes", "64MiB", "--model", "builtin:attnd-bert")
        self.slow += [slow_reader(server.port) for _ in range(12)]
        time.sleep(1)
        begin = time.monotonic()
        while True:  # until then the queue may be full
            status = server.request("POST", "/v1/attention", BIG, {"Content-Type": "application/json"})[0]
            if status == 200 or time.monotonic() > begin + 50:
                break
            self.assertEqual(status, 503)
            time.sleep(0.5)
        self.assertEqual(status, 200)
        self.assertLess(time.monotonic() - begin, 45)


if __name__ == "__main__":
    main()
