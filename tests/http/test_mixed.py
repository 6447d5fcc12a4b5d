#!/usr/bin/env python3
"""10,000 mixed requests over 64 connections: every answer is, byte for byte, the one that the same request gets alone.

Under a sanitizer there are 300. Batches, selections, both kinds of input and errors are among them. Then as many short ones of one kind, on one thread, so that
those that wait are run together, and between them some that do not fit.
SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import json
import random
import re

import harness
from harness import ServerCase, main, packed

CONNECTIONS = 64


def requests():
    """Distinct bodies, some of them bad."""
    chance = random.Random(20261120)
    words = "the animal did not cross street because it was too tired and she said that we have a dog 42 é 世界".split()
    for n in (1, 2, 3, 5, 8, 13, 21, 40):
        yield {"text": " ".join(chance.choices(words, k=n)), "output": ["attentions"]}
        yield {"text": " ".join(chance.choices(words, k=n)), "layers": [5, 0], "heads": {"start": 2, "stop": 4}, "output": ["context", "scores", "query"]}
        yield {"text": " ".join(chance.choices(words, k=n)), "top_k": 3, "reduce_heads": "mean", "decimals": 4, "output": ["attentions"]}
        yield {"text": [" ".join(chance.choices(words, k=k)) for k in (n, 1, 3)], "layers": [-1], "encoding": "base64", "dtype": "float16"}
        yield {"text": "hello there", "text_pair": " ".join(chance.choices(words, k=n)), "reduce_layers": "max", "output": ["attentions"]}
    for B, H, T, d in ((1, 1, 1, 1), (1, 2, 7, 4), (2, 3, 5, 6), (1, 4, 60, 16)):
        numbers = [chance.gauss(0, 1) for _ in range(B * H * T * d)]
        tensor = packed(numbers, (B, H, T, d))
        yield {"query": tensor, "key": tensor, "value": tensor, "is_causal": True, "output": ["attentions", "context", "raw_scores", "scores"]}
    yield {"embeddings": [[chance.gauss(0, 1) for _ in range(8)] for _ in range(9)], "num_attention_heads": 2, "positional_encoding": "rope", "left_window_size": 3}
    yield {"text": "x", "layers": [6]}
    yield {"text": "x", "laiers": [6]}
    yield {"text": ["a", 1]}
    yield {"input_ids": [2, 9000, 3]}


def short_requests():
    """Distinct bodies that may be one run: the same is asked of all layers. Among them a few that may not, and one that is refused."""
    chance = random.Random(20261121)
    for n in range(1, 16):
        ids = [chance.randrange(4, 4000) for _ in range(n)]
        yield {"input_ids": ids, "output": ["attentions"]}
        yield {"input_ids": ids, "output": ["attentions"], "heads": [n % 8, 0], "encoding": "base64"}
        yield {"input_ids": ids, "output": ["attentions"], "attention_mask": [1] * (n - n // 4) + [0] * (n // 4), "reduce_layers": "mean"}
    yield {"input_ids": [7, 8, 9], "output": ["attentions"], "layers": [2]}
    yield {"input_ids": [[7, 8, 9], [4, 5]], "output": ["attentions"]}
    yield {"input_ids": [7] * 60, "output": ["attentions"]}
    yield {"embeddings": [[1, 2, 3, 4], [2, 3, 4, 5]], "num_attention_heads": 2, "output": ["attentions"]}
    yield {"input_ids": [7, 9000], "output": ["attentions"]}


async def read_answer(reader):
    """(status, body) of one answer, chunked or not."""
    status = int((await reader.readline()).split()[1])
    length, chunked = None, False
    while True:
        line = (await reader.readline()).strip().lower()
        if not line:
            break
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        chunked |= line == b"transfer-encoding: chunked"
    if not chunked:
        return status, await reader.readexactly(length)
    parts = []
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            while (await reader.readline()).strip():
                pass
            return status, b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readline()


def timeless(status, body):
    """An answer without what differs each time."""
    return status, re.sub(rb'"request_id": ?"[^"]*"', b"", body)


class Client:
    def __init__(self, port, bodies):
        self.port, self.bodies = port, bodies

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        return self

    async def ask(self, number):
        body = self.bodies[number]
        self.writer.write(b"POST /v1/attention HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await self.writer.drain()
        return timeless(*await read_answer(self.reader))

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


class Mixed(ServerCase):
    options = ("--queue", "128", "--log-level", "warn")

    async def everything(self, count, requests, statuses):
        bodies = [json.dumps(b).encode() for b in requests()]
        alone = await Client(self.server.port, bodies).open()
        expected = [await alone.ask(i) for i in range(len(bodies))]
        await alone.close()
        self.assertEqual({status for status, _ in expected}, statuses)
        chance = random.Random(7)
        order = [chance.randrange(len(bodies)) for _ in range(count)]
        wrong = []

        async def worker():
            client = await Client(self.server.port, bodies).open()
            while order:
                number = order.pop()
                if await client.ask(number) != expected[number]:
                    wrong.append(number)
            await client.close()

        seen = []

        async def watcher():
            while order:
                seen.append([await asyncio.to_thread(self.server.gauge, "attnd_" + name) for name in ("busy_workers", "workers", "running_requests")])
                await asyncio.sleep(0.02)

        await asyncio.gather(watcher(), *(worker() for _ in range(CONNECTIONS)))
        self.assertEqual(wrong, [])
        return seen

    def test_every_answer_is_the_one_it_gets_alone(self):
        asyncio.run(self.everything(300 if harness.slow_build() else 10000, requests, {200, 400, 422}))


class Together(Mixed):
    options = ("--queue", "128", "--threads", "1", "--timeout", "10m", "--log-level", "warn")

    def test_every_answer_is_the_one_it_gets_alone(self):
        seen = asyncio.run(self.everything(300 if harness.slow_build() else 10000, short_requests, {200, 422}))
        self.assertEqual({(busy <= workers, workers) for busy, workers, _ in seen}, {(True, 1)})
        self.assertGreater(max(running for _, _, running in seen), 1)  # several in the one worker's run


if __name__ == "__main__":
    main()
