"""What the suites about the contract share: answers and refusals in one line, and a full answer cut the way a request would have it cut.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import math
import random
import struct

from harness import ServerCase, float32, nest, unpacked

ALL = ["attentions", "context", "scores", "raw_scores", "query", "key", "value", "attn_output"]
MAPS = ["attentions", "scores", "raw_scores"]
TEXT = "the animal was too tired"
CHANCE = random.Random(11)


def half(x):
    """The nearest float16."""
    return None if x is None else struct.unpack("<e", struct.pack("<e", x))[0]


def packed_half(values, shape):
    """packed() as float16."""
    data = struct.pack(f"<{len(values)}e", *(-math.inf if v is None else v for v in values))
    return {"dtype": "float16", "shape": list(shape), "data": base64.b64encode(data).decode()}


def singles(tensor):
    """The exact float32 numbers of a tensor in an answer."""
    return [None if x is None else float32(x) for x in unpacked(tensor)]


def gauss(*shape, spread=1.0):
    """A nested array of numbers that are exact in float16."""
    return nest([half(CHANCE.gauss(0, spread)) for _ in range(math.prod(shape))], shape)


def pick(data, axes, **choices):
    """Nested data, cut on the axes that have a list of indices in choices."""
    if not axes:
        return data
    rows = data if axes[0] not in choices else [data[i] for i in choices[axes[0]]]
    return [pick(row, axes[1:], **choices) for row in rows]


def rows_of(nested):
    return [nested] if not isinstance(nested[0], list) else [row for part in nested for row in rows_of(part)]


# Grouped heads, a masked key, a row without keys, values of another width.
MASKED = {
    "query": gauss(4, 5, 6),
    "key": gauss(2, 7, 6),
    "value": gauss(2, 7, 3),
    "attn_mask": [[0, None, 1, 0, 0, -2, 0]] * 3 + [[None] * 7] + [[0] * 7],
    "output": ALL,
}


class ContractCase(ServerCase):
    def result(self, body, **more):
        """The first result of a request that must succeed."""
        return self.server.attention(dict(body, **more))["results"][0]

    def refuse(self, body, status, code, pointer=None, path="/v1/attention"):
        """The problem that a request must get."""
        got, _, answer = self.server.post(path, body)
        self.assertEqual((got, answer.get("code")), (status, code), answer)
        if pointer is not None:
            self.assertEqual(answer.get("pointer", ""), pointer, answer)
        return answer

    def assert_same(self, got, expected, names, tolerance=2e-5):
        """The tensors of two results."""
        for name in names:
            self.assertEqual(got[name]["shape"], expected[name]["shape"], name)
            self.assert_close(unpacked(got[name]), unpacked(expected[name]), tolerance, name)
