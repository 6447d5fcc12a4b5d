#!/usr/bin/env python3
"""The contract around the answers, sentence by sentence: /v1/estimate against what then comes, limits, problems, media types, what the server says of itself.

SPDX-License-Identifier: Apache-2.0
"""

import http.client
import json
import os
import random
import re
import time
import unittest

from contract_case import ALL, ContractCase, gauss
from harness import ROOT, Server, main, packed

SMALL = os.path.join(ROOT, "tests/golden/models")
CHANCE = random.Random(4)


def shape_of(tensor):
    """The shape of a tensor in an answer, or of the three that top_k makes of one, as an estimate has it."""
    return tensor["shape"] if "shape" in tensor else {part: t["shape"] for part, t in tensor.items()}


def bodies():
    """Requests of all kinds that must succeed."""
    yield {"text": "a"}
    yield {"text": 'The cat sat on the mat. 😀 世界 \u0001\u0002"\\/'}
    yield {"text": ["a", "b c d e f g h", "", "word " * 100], "output": ["attentions"]}
    yield {"text": "one", "text_pair": "two three"}
    yield {"text": "word " * 600, "truncation": True, "output": ["attentions"], "layers": [0], "heads": [0]}
    yield {"input_ids": [2, 8000, 3], "output": ALL}
    yield {"input_ids": [[0], [1, 2, 3, 4, 5] * 9], "attention_mask": [[1], [1, 0, 1, 0, 1] * 9], "output": ["scores", "attentions"]}
    yield {"inputs_embeds": packed([0.1] * 512, (2, 256)), "output": ALL}
    yield {"text": "a b c", "output": ALL, "layers": [5, 0, 5, 1], "heads": [7, 7], "queries": [-1, 0], "keys": [0]}
    yield {"text": "a b c", "output": ALL, "layers": [0] * 40, "queries": [0] * 50, "keys": [1] * 60, "encoding": "base64"}
    for more in (
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 99},
        {"top_k": 3, "keys": [1, 0, 1]},
        {"reduce_heads": "mean"},
        {"reduce_heads": "max", "reduce_layers": "mean", "top_k": 2},
    ):
        yield dict({"text": "and so it goes on and on", "output": ["attentions", "scores"]}, **more)
        yield dict({"text": "and so it goes on and on", "encoding": "base64"}, **more)
    for decimals in range(1, 10):
        yield {"text": "some words", "output": ALL, "decimals": decimals}
        big = [[s * 10.0 ** (e * 1.7) for e in range(-20, 20)] for s in (1, -1, 9.87654321, -0.00123456789)]
        yield {"query": big, "key": [[1e-30] * 40] * 4, "value": big, "output": ["query", "value", "raw_scores"], "decimals": decimals}
    for dtype in ("float32", "float16"):
        for encoding in ("json", "base64"):
            yield {
                "query": gauss(3, 5, 4, spread=1e4),
                "key": gauss(3, 7, 4),
                "value": gauss(3, 7, 2, spread=1e-6),
                "output": ALL,
                "dtype": dtype,
                "encoding": encoding,
            }
    yield {"text": "bytes", "output": ["attentions"], "dtype": "uint8", "encoding": "base64"}
    numbers = [CHANCE.choice((1, -1)) * 1.17549435e-38 * CHANCE.uniform(1, 10) for _ in range(600)]
    yield {"query": [[0]], "key": [[0]], "value": [numbers], "output": ["value"]}
    yield {
        "embeddings": gauss(2, 9, 12),
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "w_k": gauss(12, 6),
        "w_v": gauss(12, 8),
        "w_o": gauss(16, 5),
        "output": ALL,
    }
    yield {"embeddings": gauss(3, 4), "key_embeddings": gauss(8, 4), "positional_encoding": "rope", "is_causal": True, "query_offset": -9, "output": ALL}
    yield {"query": gauss(4, 40, 8), "key": gauss(2, 300, 8), "value": gauss(2, 300, 1), "attn_mask": [[None] * 300], "output": ALL}


class ServiceCase(ContractCase):
    def estimate(self, body):
        status, _, answer = self.server.post("/v1/estimate", body)
        self.assertEqual(status, 200, answer)
        return answer


class Estimate(ServiceCase):
    def test_shapes_are_those_that_come_and_bytes_are_an_upper_bound(self):
        for body in bodies():
            estimate = self.estimate(body)
            status, _, raw = self.server.request("POST", "/v1/attention", json.dumps(body))
            self.assertEqual(status, 200, raw[:300])
            results = json.loads(raw)["results"]
            self.assertEqual([e["shapes"] for e in estimate["results"]], [{n: shape_of(r[n]) for n in ALL if n in r} for r in results])
            for e, result in zip(estimate["results"], results):
                if "tokens" in result:
                    self.assertEqual(e["tokens"], len(result["tokens"]))
            self.assertGreaterEqual(estimate["response_bytes"], len(raw), body)
            self.assertEqual((estimate["allowed"], estimate["limits"]), (True, []))
            self.assertGreater(estimate["memory_bytes"], 0)
            self.assertGreaterEqual(estimate["flops"], 0)

    def test_it_has_the_fields_of_the_contract_and_no_others(self):
        self.assertEqual(set(self.estimate({"text": "a"})), {"results", "response_bytes", "memory_bytes", "flops", "allowed", "limits"})

    def test_more_work_has_more_flops(self):
        few, many, last = (self.estimate({"text": t, **more})["flops"] for t, more in (("a", {}), ("a " * 100, {}), ("a " * 100, {"layers": [0]})))
        self.assertLess(few, many)
        self.assertLess(last, many)

    def test_it_refuses_what_attention_refuses(self):
        for body in (
            {"text": "a", "layers": [6]},
            {"text": 1},
            {},
            {"text": "a", "colour": 1},
            {"query": [[1]]},
            {"input_ids": [9000]},
            {"text": "a", "model": "x"},
        ):
            answers = [self.server.post(path, body) for path in ("/v1/attention", "/v1/estimate")]
            self.assertEqual(*((status, a["code"], a.get("pointer")) for status, _, a in answers))
            self.assertGreaterEqual(answers[0][0], 400)

    def test_an_overflow_is_not_foreseen_for_nothing_is_run(self):
        self.assertTrue(self.estimate({"query": [[1e30]], "key": [[1e30]], "value": [[1]]})["allowed"])

    def test_an_answer_past_2_to_64_bytes_is_refused_and_not_wrapped(self):
        many = [0] * 100000
        body = {"embeddings": [[1, 2]], "output": ["attentions"], "layers": many, "heads": many, "queries": many, "keys": many}
        estimate = self.estimate(body)
        self.assertEqual({e["code"] for e in estimate["limits"]}, {"response_too_large", "memory_limit"})
        self.assertEqual(estimate["results"][0]["shapes"]["attentions"], [100000] * 4)
        self.assertGreaterEqual(estimate["response_bytes"], 2**64 - 1)
        self.refuse(body, 413, "response_too_large")

    def test_the_form_of_answer_is_a_query_parameter(self):
        body = {"text": "a"}
        for accept in ("application/json", "application%2Fjson", "*/*"):
            status, _, answer = self.server.post("/v1/estimate?accept=" + accept, body)
            self.assertEqual((status, answer), (200, self.estimate(body)))
        self.refuse(body, 406, "not_acceptable", path="/v1/estimate?accept=audio/ogg")
        self.refuse(body, 400, "unknown_parameter", path="/v1/estimate?except=application/json")


class Limits(ServiceCase):
    options = ["--max-tokens", "8", "--max-batch", "3", "--max-body-bytes", "40000", "--max-response-bytes", "20000", "--model", SMALL + "/bert"]

    def check(self, body, code, limit, need=None):
        """Refused with both figures, and the estimate lists the same."""
        answer = self.refuse(body, 413, code)
        self.assertEqual(answer["limit"], limit)
        self.assertGreater(answer["need"], limit)
        if need is not None:
            self.assertEqual(answer["need"], need)
        estimate = self.estimate(body)
        self.assertFalse(estimate["allowed"])
        self.assertIn({"code": code, "limit": limit, "need": answer["need"]}, estimate["limits"])

    def test_a_batch_of_any_kind_of_input(self):
        for body in (
            {"text": ["a"] * 4},
            {"input_ids": [[5]] * 4},
            {"inputs_embeds": gauss(4, 1, 32)},
            {"embeddings": gauss(4, 1, 2)},
            {"query": gauss(4, 1, 1, 2), "key": gauss(4, 1, 1, 2), "value": gauss(4, 1, 1, 2)},
            {"query": gauss(4, 1, 2), "key": gauss(4, 1, 2), "value": gauss(4, 1, 2), "num_attention_heads": 1},
        ):
            self.check(dict(body, output=["context"]), "batch_too_large", 3, 4)

    def test_a_batch_of_the_limit_is_taken(self):
        self.assertEqual(len(self.server.attention({"text": ["a"] * 3, "output": ["attentions"]})["results"]), 3)

    def test_tokens_of_any_kind_of_input(self):
        for body in (
            {"text": "a " * 7},
            {"text": "a a a", "text_pair": "a a a"},
            {"text": ["a", "a " * 7]},
            {"input_ids": [5] * 9},
            {"inputs_embeds": gauss(9, 32)},
            {"embeddings": gauss(9, 2)},
            {"embeddings": gauss(1, 2), "key_embeddings": gauss(9, 2)},
            {"query": gauss(9, 2), "key": gauss(1, 2), "value": gauss(1, 2)},
            {"query": gauss(1, 2), "key": gauss(9, 2), "value": gauss(9, 2)},
        ):
            self.check(dict(body, output=["context"], layers=[0]), "too_many_tokens", 8, 9)

    def test_tokens_of_the_limit_are_taken(self):
        self.assertEqual(len(self.server.attention({"text": "a " * 6, "output": ["context"]})["results"][0]["tokens"]), 8)
        self.server.attention({"embeddings": gauss(8, 2)})

    def test_truncation_cuts_to_what_the_server_takes(self):
        result = self.server.attention({"text": "a " * 60, "truncation": True, "output": ["attentions"], "layers": [0]})["results"][0]
        self.assertEqual((len(result["tokens"]), result["truncated"]), (8, True))

    def test_an_answer_that_may_be_too_large(self):
        self.check({"embeddings": gauss(8, 200), "output": ["context"]}, "response_too_large", 20000)
        self.check({"embeddings": gauss(2, 2), "queries": [0] * 5000, "output": ["attentions"]}, "response_too_large", 20000)

    def test_several_limits_are_listed_together(self):
        estimate = self.estimate({"embeddings": gauss(4, 9, 20), "output": ["context"], "layers": [0] * 9})
        self.assertEqual({e["code"] for e in estimate["limits"]}, {"batch_too_large", "too_many_tokens", "response_too_large"})

    def test_the_first_limit_listed_is_the_one_refused_for(self):
        for body in ({"text": ["the cat " * 9] * 4}, {"input_ids": [[5] * 9] * 4}, {"embeddings": gauss(4, 9, 20)}, {"text": "the cat " * 9}):
            refused = self.server.post("/v1/attention", body)[2]
            self.assertEqual(self.estimate(body)["limits"][0], {k: refused[k] for k in ("code", "limit", "need")})

    def test_a_body_is_refused_by_its_length(self):
        for path in ("/v1/attention", "/v1/estimate", "/v1/tokenize"):
            answer = self.refuse({"text": "a" * 40000}, 413, "body_too_large", path=path)
            self.assertEqual((answer["limit"], answer["need"]), (40000, 40000 + len(json.dumps({"text": ""}))))

    def test_a_body_of_the_limit_is_taken(self):
        body = json.dumps({"text": "a"})
        self.server.attention(body + " " * (40000 - len(body)))

    def test_tokenize_has_the_limit_on_batches_too(self):
        answer = self.refuse({"text": ["a"] * 4}, 413, "batch_too_large", "/text", "/v1/tokenize")
        self.assertEqual((answer["limit"], answer["need"]), (3, 4))

    def test_what_is_refused_leaves_the_server_well(self):
        self.assertEqual(self.server.get("/readyz")[0], 200)
        self.server.attention({"text": "a"})


class Options(unittest.TestCase):
    """Limits that are just enough, or one too little; and that the number of threads is none of the answer's business."""

    def with_server(self, *options):
        server = Server(options)
        self.addCleanup(lambda: self.assertEqual(server.stop(), 0))
        return server

    def test_the_predicted_answer_is_held_against_the_limit_to_the_byte(self):
        body = {"embeddings": gauss(6, 8), "num_attention_heads": 2}
        need = self.with_server().post("/v1/estimate", body)[2]["response_bytes"]
        self.assertEqual(self.with_server("--max-response-bytes", str(need)).post("/v1/attention", body)[0], 200)
        status, _, answer = self.with_server("--max-response-bytes", str(need - 1)).post("/v1/attention", body)
        self.assertEqual((status, answer["code"], answer["limit"], answer["need"]), (413, "response_too_large", need - 1, need))

    def test_answers_have_the_same_bits_for_any_number_of_threads(self):
        one, three = (self.with_server("--threads", n) for n in ("1", "3"))
        for body in bodies():
            self.assertEqual(one.request("POST", "/v1/attention", json.dumps(body))[2], three.request("POST", "/v1/attention", json.dumps(body))[2])

    def test_memory_is_held_against_the_limit(self):
        body = {
            "embeddings": packed([0.5] * 3000, (300, 10)),
            "num_attention_heads": 5,
            "reduce_layers": "max",
            "output": ["attentions", "scores"],
            "queries": [0],
            "keys": [0],
        }
        need = self.with_server().post("/v1/estimate", body)[2]["memory_bytes"]
        server = self.with_server("--max-memory-bytes", str(need))
        self.assertEqual(server.post("/v1/attention", body)[0], 200)
        server = self.with_server("--max-memory-bytes", str(need - 1))
        status, _, answer = server.post("/v1/attention", body)
        self.assertEqual((status, answer["code"], answer["limit"], answer["need"]), (413, "memory_limit", need - 1, need))
        estimate = server.post("/v1/estimate", body)[2]
        self.assertEqual((estimate["allowed"], estimate["limits"]), (False, [{"code": "memory_limit", "limit": need - 1, "need": need}]))
        self.assertEqual(server.post("/v1/attention", {"embeddings": [[1]]})[0], 200)

    def post_spaces(self, server, spaces, headers):
        """(status, problem) of a body with so many spaces behind it, in one piece or chunked."""
        body = b'{"text": "a"}' + b" " * spaces
        pieces = (body[i : i + 10000] for i in range(0, len(body), 10000)) if headers else body
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            connection.request("POST", "/v1/attention", pieces, headers, encode_chunked=bool(headers))
        except ConnectionError:
            pass  # the answer may come before the body is sent
        answer = connection.getresponse()
        problem = json.loads(answer.read())
        connection.close()
        return answer.status, problem

    def test_a_body_that_no_memory_is_allowed_for_is_413_and_not_503_for_ever(self):
        server = self.with_server("--max-memory-bytes", "1000000")
        for spaces in (60000, 200000, 990000, 1000000, 2000000):
            for headers in ({}, {"Transfer-Encoding": "chunked"}):
                for _ in range(50):
                    status, problem = self.post_spaces(server, spaces, headers)
                    if status != 503:
                        break
                    time.sleep(0.1)  # the body before this one was not yet given back
                self.assertEqual((status, problem["code"], problem.get("limit")), (413, "memory_limit", 1000000))
                self.assertGreater(problem["need"], 1000000)


class Problems(ServiceCase):
    def test_a_problem_has_the_shape_of_rfc_9457(self):
        asked = [
            ("POST", "/v1/attention", "{", 400, "invalid_json"),
            ("GET", "/nope", None, 404, "not_found"),
            ("GET", "/v1/attention", None, 405, "method_not_allowed"),
            ("POST", "/v1/attention?x=1", "{}", 400, "unknown_parameter"),
            ("POST", "/v1/attention", '{"text": "a", "layers": [9]}', 422, "index_out_of_range"),
            ("POST", "/v1/attention", '{"input_ids": [%s]}' % ",".join(["5"] * 513), 413, "too_many_tokens"),
        ]
        for method, path, body, status, code in asked:
            got, headers, data = self.server.request(method, path, body)
            problem = json.loads(data)
            self.assertEqual((got, headers["content-type"]), (status, "application/problem+json"))
            self.assertEqual((problem["type"], problem["status"], problem["code"]), ("about:blank", status, code))
            self.assertEqual(problem["title"], {413: "Content Too Large", 422: "Unprocessable Content"}.get(status, http.client.responses[status]))
            self.assertEqual(problem["request_id"], headers["x-request-id"])
            self.assertTrue(problem["detail"])
            self.assertEqual("limit" in problem, status == 413)
            self.assertLessEqual(set(problem), {"type", "title", "status", "code", "detail", "pointer", "request_id", "limit", "need"})

    def test_every_answer_carries_its_id_and_its_times(self):
        asked = [
            ("GET", p, None)
            for p in ("/nope", "/v1/attention", "/healthz", "/readyz", "/metrics", "/v1/models", "/openapi.json", "/v1/models/attnd-bert", "/v1/models/x")
        ]
        asked += [("POST", p, b) for p in ("/v1/attention", "/v1/estimate", "/v1/tokenize") for b in ('{"text": "a"}', "{", '{"text": 1}')]
        for method, path, body in asked:
            _, headers, _ = self.server.request(method, path, body, {"X-Request-Id": "mine-1"})
            self.assertEqual(headers.get("x-request-id"), "mine-1", path)
            self.assertIn("server-timing", headers, (method, path, body))

    def test_pointers_escape_what_rfc_6901_escapes(self):
        self.refuse({"text": "a", "x/y~z": 1}, 400, "unknown_field", "/x~1y~0z")

    def test_what_is_not_json_is_400(self):
        for body in (
            "",
            " ",
            "x",
            "{",
            '{"text": "a"} x',
            '{"text": "a",}',
            "{'text': 'a'}",
            '{"text": "a\tb"}',
            '{"text": "\\x"}',
            '{"embeddings": [[01]]}',
            '{"text" "a"}',
        ):
            self.refuse(body, 400, "invalid_json")

    def test_a_body_that_is_json_but_no_object_is_400(self):
        for body in ("[]", "1", '"text"', "null", "true"):
            self.refuse(body, 400, "wrong_type")

    def test_lone_surrogates_and_broken_utf8_are_400(self):
        for body in (
            b'{"text": "\\ud83d"}',
            b'{"text": "\\ude00"}',
            b'{"text": "\\ud83d\\u0041"}',
            b'{"text": "\xff"}',
            b'{"text": "\xc0\x80"}',
            b'{"text": "\xed\xa0\x80"}',
            b'{"text": "\xf4\x90\x80\x80"}',
            b'{"text": "\xe4\xb8"}',
            b'{"\xff": 1}',
        ):
            self.refuse(body, 400, "invalid_json")

    def test_text_that_is_not_base64_is_400(self):
        for data in ("AAAA=AAA", "A", "AAA", "AAAA\n", "AAA-", "AA==AA=="):
            self.refuse({"embeddings": {"dtype": "float32", "shape": [1, 1], "data": data}}, 400, "invalid_base64", "/embeddings/data")

    def test_a_tensor_object_needs_all_its_members(self):
        whole = packed([1], (1, 1))
        for name in whole:
            self.refuse({"embeddings": {k: v for k, v in whole.items() if k != name}}, 400, "missing_field", "/embeddings/" + name)

    def test_an_overflow_is_422_or_once_the_answer_began_ends_it_as_broken(self):
        seen = set()
        for T in (10, 130, 250, 600):
            query = packed([0.0] * T + [1e30] * T, (2, 1, T, 1))
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            connection.request("POST", "/v1/attention", json.dumps({"query": query, "key": query, "value": query, "output": ["attentions"]}))
            answer = connection.getresponse()  # a status comes in any case
            try:
                problem = json.loads(answer.read())
                self.assertEqual((answer.status, problem["code"]), (422, "overflow"))
            except (http.client.IncompleteRead, ConnectionError):
                self.assertEqual(answer.status, 200)
            seen.add(answer.status)
            connection.close()
        self.assertEqual(seen, {200, 422})

    def test_an_overflow_before_the_answer_began_is_a_plain_problem(self):
        self.assertEqual(self.refuse({"query": [[1e30]], "key": [[1e30]], "value": [[1]]}, 422, "overflow")["title"], "Unprocessable Content")


class Media(ServiceCase):
    def ask(self, **headers):
        return self.server.request("POST", "/v1/attention", b'{"text": "a"}', {k.replace("_", "-"): v for k, v in headers.items()})

    def test_json_curls_own_and_no_type_at_all_are_read_as_json(self):
        for kind in (
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            'application/json;charset="UTF-8"',
            "application/x-www-form-urlencoded",
        ):
            self.assertEqual(self.ask(Content_Type=kind)[0], 200, kind)
        self.assertEqual(self.ask()[0], 200)

    def test_any_other_type_is_415(self):
        for kind in (
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/json; charset=latin1",
            "json",
            "application/msgpack",
        ):
            status, _, data = self.ask(Content_Type=kind)
            self.assertEqual((status, json.loads(data)["code"]), (415, "unsupported_media_type"), kind)

    def test_any_content_encoding_is_415(self):
        for coding in ("gzip", "br", "identity", "deflate, gzip", "x"):
            status, _, data = self.ask(Content_Encoding=coding)
            self.assertEqual((status, json.loads(data)["code"]), (415, "unsupported_media_type"), coding)

    def test_json_is_what_comes_unless_it_is_excluded(self):
        for accept in ("application/json", "*/*", "application/*", "text/html, */*;q=0.1", "application/json;q=0.001", "image/png;q=0.5, application/json"):
            status, headers, _ = self.ask(Accept=accept)
            self.assertEqual((status, headers["content-type"]), (200, "application/json"), accept)

    def test_forms_that_there_are_not_are_406(self):
        for accept in ("audio/ogg", "application/json;q=0", "application/json;q=0, text/*;q=0", "*/*;q=0", "application/xml, text/html"):
            status, _, data = self.ask(Accept=accept)
            self.assertEqual((status, json.loads(data)["code"]), (406, "not_acceptable"), accept)

    def test_unknown_query_parameters_are_400(self):
        for path in ("/v1/attention?pretty", "/v1/attention?layers=1", "/v1/tokenize?a=b", "/v1/models?a=b", "/openapi.json?x"):
            status, _, data = self.server.request(
                "POST" if "attention" in path or "tokenize" in path else "GET", path, '{"text": "a"}' if "a" in path else None
            )
            self.assertEqual((status, json.loads(data)["code"]), (400, "unknown_parameter"), path)


class Shown(ServiceCase):
    """The contract that the server shows."""

    GETS = ("/openapi.json", "/openapi.yaml", "/v1/models", "/v1/models/attnd-bert", "/healthz", "/readyz", "/metrics")

    def test_openapi_is_json_of_version_3_1(self):
        status, headers, contract = self.server.get("/openapi.json")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertTrue(contract["openapi"].startswith("3.1"))
        self.assertLessEqual(
            {"/v1/attention", "/v1/tokenize", "/v1/estimate", "/v1/models", "/v1/models/{name}", "/healthz", "/readyz", "/metrics"}, set(contract["paths"])
        )

    def test_every_error_code_is_listed_in_it(self):
        with open(os.path.join(ROOT, "api/problem.h"), encoding="utf-8") as file:
            codes = re.findall(r'X\(API_\w+, "(\w+)", (\d+)\)', file.read())
        self.assertGreater(len(codes), 40)
        listed = set()

        def collect(node):  # each status lists its own
            if isinstance(node, dict):
                listed.update(node.get("properties", {}).get("code", {}).get("enum", []))
            for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
                collect(child)

        collect(self.server.get("/openapi.json")[2])
        self.assertEqual(listed, {code for code, _ in codes})

    def test_every_field_of_a_request_is_in_it(self):
        fields = self.server.get("/openapi.json")[2]["components"]["schemas"]["AttentionRequest"]["properties"]
        for field in fields:  # none that the server does not know
            status, _, answer = self.server.post("/v1/attention", {"text": "a", field: None if field != "text" else "a"})
            self.assertEqual(status, 200, (field, answer))
        detail = self.refuse({"text": "a", "querie": 1}, 400, "unknown_field")["detail"]
        self.assertIn("quer", detail)

    def test_references_in_it_lead_somewhere(self):
        contract = self.server.get("/openapi.json")[2]

        def walk(node):
            if isinstance(node, dict):
                if isinstance(node.get("$ref"), str):
                    target = contract
                    for step in node["$ref"].lstrip("#/").split("/"):
                        target = target[step]
                for child in node.values():
                    walk(child)
            elif isinstance(node, list):
                for child in node:
                    walk(child)

        walk(contract)

    def test_head_is_get_without_a_body(self):
        for path in self.GETS:
            got, head = self.server.request("GET", path), self.server.request("HEAD", path)
            self.assertEqual((head[0], head[2]), (200, b""), path)
            self.assertEqual(head[1]["content-type"], got[1]["content-type"])
            if path != "/metrics":
                self.assertEqual(head[1]["content-length"], got[1]["content-length"])

    def test_head_of_a_post_route_is_405_with_allow(self):
        for path in ("/v1/attention", "/v1/tokenize", "/v1/estimate"):
            status, headers, data = self.server.request("HEAD", path)
            self.assertEqual((status, headers["allow"], data), (405, "POST, OPTIONS", b""))

    def test_methods_that_there_are_not_are_405_with_allow(self):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in self.GETS:
                status, headers, _ = self.server.request(method, path)
                self.assertEqual((status, headers["allow"]), (405, "GET, HEAD, OPTIONS"), (method, path))

    def test_health_and_readiness_are_200(self):
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.server.get(path)[0], 200)


if __name__ == "__main__":
    main()
