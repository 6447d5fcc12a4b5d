#!/usr/bin/env python3
"""Every bad request of bad_requests.jsonl gets its exact status, code and pointer, as application/problem+json, and the server goes on.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os

from harness import ROOT, ServerCase, main

with open(os.path.join(ROOT, "tests/http/bad_requests.jsonl"), encoding="utf-8") as f:
    CASES = [json.loads(line) for line in f if line.strip()]


class BadRequests(ServerCase):
    options = [w for name in ("bert", "gpt", "translate") for w in ("--model", "builtin:attnd-" + name)]
    options += [w for name in ("gpt2", "bart") for w in ("--model", f"{name}={ROOT}/tests/golden/models/{name}")]

    def check(self, case):
        body = case["body"] if "body" in case else json.dumps(case["json"])
        if "body_base64" in case:
            raise AssertionError("unknown form of case")
        path = case.get("path", "/v1/attention") + ("?" + case["query"] if "query" in case else "")
        status, headers, answer = self.server.post(path, body, {"Accept": case["accept"]} if "accept" in case else None)
        self.assertEqual((status, answer.get("code"), answer.get("pointer", "")), (case["status"], case["code"], case.get("pointer", "")), answer)
        self.assertEqual(headers["content-type"], "application/problem+json")
        self.assertEqual(answer["status"], status)
        self.assertEqual(answer["type"], "about:blank")
        self.assertTrue(answer["title"] and answer["detail"])
        self.assertEqual(answer["request_id"], headers["x-request-id"])
        if status == 413:
            self.assertGreater(answer["need"], answer["limit"])

    def test_the_table_is_long_and_its_names_differ(self):
        self.assertGreaterEqual(len(CASES), 150)
        self.assertEqual(len({c["name"] for c in CASES}), len(CASES))

    def test_zz_the_server_is_well_afterwards(self):
        self.assertEqual(self.server.get("/healthz")[0], 200)
        self.assertEqual(len(self.server.attention({"text": "a b"})["results"]), 1)


for one in CASES:
    setattr(BadRequests, "test_bad_" + one["name"], lambda self, case=one: self.check(case))

if __name__ == "__main__":
    main()
