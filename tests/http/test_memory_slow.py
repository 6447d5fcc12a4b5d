"""What a long request costs in resident memory: its body once, its numbers once, and little more. Not under sanitizers, whose memory is their own.

SPDX-License-Identifier: Apache-2.0
"""
import array
import base64
import http.client
import json
import random
import re
import unittest

import harness
from harness import Server

TOKENS, HEADS, WIDTH = 8192, 8, 16
MEGABYTE = 1 << 20


def tensor(seed):
    rng = random.Random(seed)
    some = array.array("f", (rng.uniform(-2, 2) for _ in range(8191))).tobytes()
    size = 4 * HEADS * TOKENS * WIDTH
    return {"dtype": "float32", "shape": [HEADS, TOKENS, WIDTH], "data": base64.b64encode((some * (size // len(some) + 1))[:size]).decode()}


class Memory(unittest.TestCase):
    body = json.dumps({"query": tensor(1), "key": tensor(2), "value": tensor(3), "pool": {"size": 256}, "encoding": "base64"}).encode()

    def resident(self, server, name):
        with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
            return int(re.search(name + r":\s+(\d+)", f.read())[1]) * 1024

    def cost(self, body, headers):
        """Of the first large request of a server that has answered a small one."""
        server = Server(["--threads", "2"])
        try:
            server.attention({"text": "a"})
            before = self.resident(server, "VmRSS")
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            connection.request("POST", "/v1/attention", body, dict({"Content-Type": "application/json"}, **headers), encode_chunked="Transfer-Encoding" in headers)
            answer = connection.getresponse()
            first = answer.read(300)
            while answer.read(MEGABYTE):
                pass
            connection.close()
            self.assertEqual(answer.status, 200, first)
            return self.resident(server, "VmHWM") - before
        finally:
            self.assertEqual(server.stop(), 0)

    def test_a_long_body_and_its_numbers_are_held_once(self):
        """Base64 and what it decodes to are 1.75 bodies; either of them twice, or the body kept while maps are computed, is more than 2.5."""
        cost = self.cost(self.body, {})
        self.assertLess(cost, 2.5 * len(self.body), f"{cost / MEGABYTE:.1f} MiB for a body of {len(self.body) / MEGABYTE:.1f}")

    def test_so_are_those_of_a_body_in_chunks(self):
        parts = (self.body[i : i + MEGABYTE] for i in range(0, len(self.body), MEGABYTE))
        cost = self.cost(parts, {"Transfer-Encoding": "chunked"})
        self.assertLess(cost, 2.5 * len(self.body), f"{cost / MEGABYTE:.1f} MiB for a body of {len(self.body) / MEGABYTE:.1f}")


if __name__ == "__main__":
    harness.main()
