#!/usr/bin/env python3
"""The same answer as lines, as a safetensors file, as an array: read here by hand from what the formats say, and held against the JSON answer.

SPDX-License-Identifier: Apache-2.0
"""

import ast
import http.client
import json
import math
import re
import socket
import struct
import time

from contract_case import ContractCase, half, singles
from harness import Server, flat, main, packed, unpacked

NDJSON, SAFETENSORS, NPY = "application/x-ndjson", "application/vnd.safetensors", "application/x-npy"
EVERY = ["attentions", "scores", "raw_scores", "weighted_norms", "context", "query", "key", "value", "value_norms", "attn_output", "hidden_states"]
TEXTS = ["The cat sat on the mat.", "Ünïcödé \"quoted\" \\ \t and more", "a"]
ANALYSES = ["entropy", "special_tokens", "rollout", "head_distance"]


def is_group(name, value):
    return name == "analyses" or (isinstance(value, dict) and "indices" in value)


def tensors_of(result):
    """(name, tensor) of everything in a result: "attentions.indices", "analyses.entropy"."""
    for name, value in result.items():
        if is_group(name, value):
            for part, tensor in value.items():
                yield f"{name}.{part}", tensor
        elif isinstance(value, dict) and "shape" in value:
            yield name, value


def echo_of(result):
    return {k: v for k, v in result.items() if not is_group(k, v) and not (isinstance(v, dict) and "shape" in v)}


class Form(ContractCase):
    def fetch(self, body, accept):
        """(headers, bytes) of an answer that must succeed."""
        status, headers, data = self.server.request(
            "POST", "/v1/attention", json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": accept}
        )
        self.assertEqual(status, 200, data[:500])
        return headers, data


# ---- lines ---------------------------------------------------------------------------------------------------------------------


class Lines(Form):
    def lines(self, body):
        headers, data = self.fetch(body, NDJSON)
        self.assertEqual(headers["content-type"], NDJSON)
        self.assertTrue(data.endswith(b"\n"))
        return [json.loads(line) for line in data.decode().splitlines()]

    def check(self, body):
        whole, lines = self.server.attention(body), self.lines(body)
        self.assertEqual(lines[0]["model"], whole["model"])
        self.assertEqual(lines[0]["results"], [echo_of(r) for r in whole["results"]])
        for b, result in enumerate(whole["results"]):
            own = [line for line in lines[1:-1] if line["result"] == b]
            for name, tensor in tensors_of(result):
                self.check_tensor(own, result, name, tensor)
        self.assertEqual(lines[-1]["done"], True)
        self.assertEqual(sorted(lines[-1]["timings"]), ["compute", "encode", "queue", "tokenize"])
        self.assertGreater(lines[-1]["timings"]["compute"], 0)
        return lines

    def check_tensor(self, lines, result, name, tensor):
        group, _, part = name.rpartition(".")
        axis = tensor["axes"][0]
        if group == "analyses" or axis not in ("layer", "state"):
            rest = [line for line in lines if "layer" not in line and "state" not in line]
            self.assertEqual(len(rest), 1)
            self.assertEqual((rest[0][group] if group else rest[0])[part], tensor)
            return
        numbers, step = unpacked(tensor), math.prod(tensor["shape"][1:])
        for i, number in enumerate(result["states" if axis == "state" else "layers"]):
            key = ("state", 0) if axis == "state" and number == 0 else ("layer", number - (axis == "state"))
            found = [line for line in lines if line.get(key[0]) == key[1]]
            self.assertEqual(len(found), 1, key)
            slice_ = (found[0][group] if group else found[0])[part]
            self.assertEqual((slice_["shape"], slice_["axes"], slice_["dtype"]), (tensor["shape"][1:], tensor["axes"][1:], tensor["dtype"]))
            self.assertEqual(unpacked(slice_), numbers[i * step : (i + 1) * step])

    def test_lines_and_document_say_the_same(self):
        self.check({"text": TEXTS})
        self.check({"text": TEXTS, "output": EVERY, "analyses": ANALYSES, "decimals": 3})
        self.check({"text": TEXTS, "output": EVERY, "layers": [4, 2, 4], "encoding": "base64", "queries": [0, -1], "heads": [3]})
        self.check({"text": TEXTS, "top_k": 2, "dtype": "float16", "encoding": "base64"})
        self.check({"text": TEXTS, "output": ["attentions", "context"], "reduce_layers": "mean", "reduce_heads": "max", "top_k": 3})
        self.check({"text": TEXTS, "output": ["attentions", "hidden_states"], "pool": {"size": 2}})
        self.check({"input_ids": [[2, 204, 3], [2, 3]], "output": ["attentions"], "dtype": "uint8", "encoding": "base64"})
        self.check({"query": [[1, 0], [0, 1]], "key": [[1, 0], [0, 1]], "value": [[1], [2]], "attn_mask": [[0, None], [0, 0]], "output": ["scores", "context"]})

    def test_layers_come_once_each_as_they_are_computed(self):
        lines = self.check({"text": TEXTS[:2], "layers": [5, 0, 5, 3], "output": ["attentions"]})
        self.assertEqual([(line["result"], line["layer"]) for line in lines[1:-1]], [(b, l) for b in (0, 1) for l in (0, 3, 5)])

    def test_state_0_has_its_own_line_before_the_layers(self):
        lines = self.check({"text": TEXTS[:1], "output": ["hidden_states"]})
        self.assertEqual([line.get("state", line.get("layer")) for line in lines[1:-1]], [0, 0, 1, 2, 3, 4, 5])
        self.assertEqual(list(lines[1]), ["result", "state", "hidden_states"])

    def test_a_failure_has_a_status_or_the_last_line(self):
        # Whichever comes first: the client, or the failure. Either is said in full.
        body = {"embeddings": packed([3e38] * 64 * 512, (64, 512)), "output": ["attentions"]}
        status, headers, data = self.server.request(
            "POST", "/v1/attention", json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": NDJSON}
        )
        if status == 200:
            lines = [json.loads(line) for line in data.decode().splitlines()]
            self.assertEqual(list(lines[0]), ["model", "results"])
            problem = lines[-1]["error"]
            self.assertEqual(len(lines), 2)
        else:
            problem = json.loads(data)
        self.assertEqual((problem["status"], problem["code"], problem["pointer"]), (422, "overflow", "/embeddings"))
        self.assertEqual(problem["request_id"], headers["x-request-id"])

    def test_a_problem_before_the_computation_is_a_status(self):
        status, headers, data = self.server.request(
            "POST", "/v1/attention", b'{"text":"a","layers":[9]}', {"Content-Type": "application/json", "Accept": NDJSON}
        )
        self.assertEqual((status, headers["content-type"], json.loads(data)["code"]), (422, "application/problem+json", "index_out_of_range"))


class Early(Form):
    """Layer 0 is with the client while the last one does not exist yet."""

    body = {"input_ids": [[5 + t % 4000 for t in range(200)]], "output": ["attentions"]}

    def begin(self, server, request_id, body=None):
        """A connection with a small window, its answer begun."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sock.settimeout(120)
        connection.sock.connect(("127.0.0.1", server.port))
        headers = {"Content-Type": "application/json", "Accept": NDJSON, "X-Request-Id": request_id}
        connection.request("POST", "/v1/attention", json.dumps(body or self.body).encode(), headers)
        return connection, connection.getresponse()

    def logged(self, request_id):
        """The fields of the request's line in the log."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for line in list(self.server.log):
                if request_id in line:
                    return dict(re.findall(r"(\w+)=(\S+)", line))
            time.sleep(0.02)
        raise AssertionError("the request is not in the log")

    def whole(self):
        """(lines of an answer that is read at once, its bytes, milliseconds)."""
        begin = time.monotonic()
        _, data = self.fetch(self.body, NDJSON)
        lines = data.splitlines()
        self.assertEqual(len(lines), 8)
        return lines, len(data), (time.monotonic() - begin) * 1000

    def test_a_client_that_leaves_after_layer_0_calls_the_rest_off(self):
        lines, size, _ = self.whole()
        connection, answer = self.begin(self.server, "left-after-layer-0")
        self.assertEqual([answer.readline().rstrip() for _ in range(2)], lines[:2])
        answer.close()
        connection.close()
        left = self.logged("left-after-layer-0")
        self.assertEqual(left["outcome"], "client_gone")
        self.assertLess(int(left["bytes"]), size / 2)

    def test_layer_0_is_read_long_before_the_last_is_computed(self):
        # The server may compute for four times as long as it needs. Who reads layer 0 and then waits until that is over never gets the last layer: so it had not
        # been computed when layer 0 was read.
        lines, _, duration = self.whole()
        limit = 4 * duration + 500
        server = Server(["--timeout", f"{int(limit)}ms"])
        try:
            connection, answer = self.begin(server, "waits")
            self.assertEqual([answer.readline().rstrip() for _ in range(2)], lines[:2])
            time.sleep(limit / 1000 + 0.5)
            rest = []
            try:
                rest = answer.read().splitlines()
            except http.client.IncompleteRead as cut:
                rest = cut.partial.splitlines()
            connection.close()
            self.assertLess(len([line for line in rest if line.endswith(b"}")]), 6)
            self.assertFalse(any(line.startswith((b'{"done"', b'{"result":0,"layer":5')) for line in rest))
        finally:
            self.assertEqual(server.stop(), 0)

    def test_a_run_that_is_too_late_says_so_in_its_last_line(self):
        body = {"input_ids": [[5 + t % 4000 for t in range(250)]] * 40, "output": ["attentions"], "pool": {"size": 4}}
        begin = time.monotonic()
        self.fetch(body, NDJSON)
        limit = (time.monotonic() - begin) / 4
        server = Server(["--timeout", f"{max(int(limit * 1000), 20)}ms"])
        try:
            connection, answer = self.begin(server, "late", body)
            lines = answer.read().splitlines()
            self.assertEqual(answer.status, 200)
            last = json.loads(lines[-1])
            self.assertEqual((list(last), last["error"]["code"], last["error"]["request_id"]), (["error"], "deadline_exceeded", "late"))
            self.assertLess(len(lines), 40 * 6)
            connection.close()
        finally:
            self.assertEqual(server.stop(), 0)


# ---- safetensors ---------------------------------------------------------------------------------------------------------------


class Safetensors(Form):
    formats = {"F32": ("f", 4), "F16": ("e", 2), "U8": ("B", 1), "I32": ("i", 4)}
    names = {"float32": "F32", "float16": "F16", "uint8": "U8", "int32": "I32"}

    def read(self, body, accept=SAFETENSORS):
        """({name: (dtype, shape, numbers)}, document in the metadata), everything the format asks for checked."""
        headers, data = self.fetch(body, accept)
        self.assertEqual(headers["content-type"], accept)
        self.assertEqual(int(headers["content-length"]), len(data))
        self.assertNotIn("transfer-encoding", headers)
        (length,) = struct.unpack_from("<Q", data)
        self.assertEqual(length % 8, 0)
        self.assertEqual(data[8:9], b"{")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        self.assertEqual(list(metadata), ["attnd"])
        tensors, at = {}, 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            letter, width = self.formats[entry["dtype"]]
            self.assertEqual((begin, end - begin), (at, width * math.prod(entry["shape"])), name)
            numbers = struct.unpack(f"<{(end - begin) // width}{letter}", data[8 + length + begin : 8 + length + end])
            tensors[name] = entry["dtype"], entry["shape"], [None if x == -math.inf else x for x in numbers]
            at = end
        self.assertEqual(at, len(data) - 8 - length)
        return tensors, json.loads(metadata["attnd"])

    def check(self, body, json_only=()):
        whole = self.server.attention(dict(body, **dict(json_only)))
        tensors, document = self.read(body)
        self.assertEqual(document["model"], whole["model"])
        expected = {}
        for b, result in enumerate(whole["results"]):
            self.assertEqual({k: v for k, v in document["results"][b].items() if k != "axes"}, echo_of(result))
            self.assertEqual(document["results"][b]["axes"], {name: tensor["axes"] for name, tensor in tensors_of(result)})
            for name, tensor in tensors_of(result):
                exact = [half(x) for x in unpacked(tensor)] if tensor["dtype"] == "float16" else singles(tensor)
                expected[f"results.{b}.{name}"] = self.names[tensor["dtype"]], tensor["shape"], exact
        self.assertEqual(tensors, expected)

    def test_file_and_document_say_the_same(self):
        self.check({"text": TEXTS})
        self.check({"text": TEXTS, "output": EVERY, "analyses": ANALYSES})
        self.check({"text": TEXTS, "output": EVERY, "layers": [4, 2, 4], "dtype": "float16", "queries": [0, -1], "heads": [3]})
        self.check({"text": TEXTS, "top_k": 2, "keys": [1, 0]})
        self.check({"text": TEXTS, "output": ["attentions"], "top_k": 1, "reduce_layers": "mean", "dtype": "float16"})
        self.check({"text": TEXTS, "output": ["attentions"], "dtype": "uint8"}, {"encoding": "base64"})
        self.check({"text": TEXTS, "output": ["attentions", "scores"], "pool": {"size": 3, "mode": "max"}, "reduce_heads": "mean"})
        self.check({"query": [[1, 0], [0, 1]], "key": [[1, 0], [0, 1]], "value": [[1], [2]], "attn_mask": [[0, None], [0, 0]], "output": ["scores", "context"]})
        self.check({"embeddings": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "output": [], "analyses": ["entropy", "rollout"]})

    def test_a_long_file_is_as_long_as_it_said(self):
        self.check({"input_ids": [[5 + t for t in range(150)]], "output": ["attentions", "hidden_states"]})

    def test_an_octet_stream_is_one_too(self):
        self.assertEqual(self.read({"text": "a b"}, "application/octet-stream"), self.read({"text": "a b"}))


# ---- npy -----------------------------------------------------------------------------------------------------------------------


class Npy(Form):
    def read(self, body):
        """(type, shape, numbers)."""
        headers, data = self.fetch(body, NPY)
        self.assertEqual((headers["content-type"], int(headers["content-length"])), (NPY, len(data)))
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        (length,) = struct.unpack_from("<H", data, 8)
        self.assertEqual((10 + length) % 64, 0)
        self.assertEqual(data[9 + length : 10 + length], b"\n")
        header = ast.literal_eval(data[10 : 10 + length].decode("latin-1").strip())
        self.assertEqual(sorted(header), ["descr", "fortran_order", "shape"])
        self.assertIs(header["fortran_order"], False)
        letter, width = {"<f4": ("f", 4), "<f2": ("e", 2), "|u1": ("B", 1)}[header["descr"]]
        count = math.prod(header["shape"])
        self.assertEqual(len(data), 10 + length + width * count)
        return header["descr"], list(header["shape"]), [None if x == -math.inf else x for x in struct.unpack(f"<{count}{letter}", data[10 + length :])]

    def check(self, body, name, json_only=()):
        tensor = dict(tensors_of(self.result(body, **dict(json_only))))[name]
        exact = [half(x) for x in unpacked(tensor)] if tensor["dtype"] == "float16" else singles(tensor)
        self.assertEqual(self.read(body), ({"float32": "<f4", "float16": "<f2", "uint8": "|u1"}[tensor["dtype"]], tensor["shape"], exact))

    def test_array_and_document_say_the_same(self):
        for name in EVERY:
            self.check({"text": TEXTS[0], "output": [name]}, name)
        self.check({"text": TEXTS[0], "output": ["attentions"], "reduce_heads": "mean", "reduce_layers": "mean"}, "attentions")
        self.check({"text": TEXTS[0], "output": ["scores"], "dtype": "float16", "layers": [2, 0], "keys": [1]}, "scores")
        self.check({"text": TEXTS[0], "output": ["attentions"], "dtype": "uint8"}, "attentions", {"encoding": "base64"})
        self.check({"text": TEXTS[0], "output": ["attentions"], "pool": {"size": 3}}, "attentions")
        self.check({"text": TEXTS[0], "output": [], "analyses": ["head_distance"]}, "analyses.head_distance")

    def test_attentions_are_what_comes_when_nothing_is_named(self):
        self.assertEqual(self.read({"text": TEXTS[0]}), self.read({"text": TEXTS[0], "output": ["attentions"]}))

    def test_more_than_one_tensor_is_refused(self):
        for body in (
            {"text": TEXTS},
            {"text": "a", "output": ["attentions", "context"]},
            {"text": "a", "top_k": 2},
            {"text": "a", "analyses": ["entropy"]},
        ):
            status, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": NPY})
            self.assertEqual((status, json.loads(data)["code"]), (400, "unsupported_combination"))


class Estimates(Form):
    def test_every_form_stays_within_what_was_foreseen(self):
        bodies = [{"text": TEXTS[0]}, {"text": TEXTS[0], "output": ["attentions"], "layers": [5, 3], "reduce_heads": "mean"}]
        for body in bodies:
            for accept in ("application/json", NDJSON, SAFETENSORS, NPY):
                one = dict(body, output=["attentions"])
                _, data = self.fetch(one, accept)
                answer = self.server.post(f"/v1/estimate?accept={accept}", one)[2]
                self.assertTrue(answer["allowed"])
                if accept in (SAFETENSORS, NPY):
                    self.assertEqual(answer["response_bytes"], len(data))
                else:
                    self.assertGreaterEqual(answer["response_bytes"], len(data))
                    self.assertLess(answer["response_bytes"], 3 * len(data) + 1000)

    def test_shapes_of_analyses_and_states_are_told(self):
        body = {"text": "a b", "output": ["hidden_states", "value_norms"], "analyses": ["entropy", "rollout"], "layers": [0, 2]}
        shapes = self.server.post("/v1/estimate", body)[2]["results"][0]["shapes"]
        result = self.result(body)
        self.assertEqual(shapes["analyses"], {name: tensor["shape"] for name, tensor in result["analyses"].items()})
        self.assertEqual(shapes["hidden_states"], result["hidden_states"]["shape"])
        self.assertEqual(shapes["value_norms"], result["value_norms"]["shape"])
        self.assertEqual(result["states"], [1, 3])
        self.assertEqual(flat([result["hidden_states"]["axes"], result["value_norms"]["axes"]]), ["state", "query", "hidden", "layer", "head", "key"])


if __name__ == "__main__":
    main()
