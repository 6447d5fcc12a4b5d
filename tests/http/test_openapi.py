#!/usr/bin/env python3
"""The contract holds: every request example in openapi.json gets the status and code it claims, and every answer fits its schema.

A small validator of our own: the keywords that openapi.yaml uses, and no other - an unknown one fails.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import urllib.parse

from harness import ROOT, ServerCase, load, main

CONTRACT = load(os.path.join(ROOT, "api/openapi.json"))
NOTES = {"description", "default", "example", "examples", "contentEncoding", "title"}
TYPES = {
    "object": lambda x: isinstance(x, dict),
    "array": lambda x: isinstance(x, list),
    "string": lambda x: isinstance(x, str),
    "boolean": lambda x: isinstance(x, bool),
    "null": lambda x: x is None,
    "number": lambda x: isinstance(x, (int, float)) and not isinstance(x, bool),
    "integer": lambda x: isinstance(x, int) and not isinstance(x, bool),
}


def resolve(node):
    """What a $ref points at; keywords beside it stay."""
    while "$ref" in node:
        target = CONTRACT
        for part in node["$ref"][2:].split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = dict(target, **{k: v for k, v in node.items() if k != "$ref"})
    return node


def errors(schema, value, where=""):
    """Why `value` does not fit; an empty list when it does."""
    schema, found = resolve(schema), []
    unknown = set(schema) - NOTES - {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "oneOf", "anyOf", "minItems", "minimum", "maximum"}
    assert not unknown, unknown
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(TYPES[t](value) for t in types):
            return [f"{where}: {value!r:.60} is no {types}"]
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r:.60} is not among what there is")
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: {value} is out of range")
    for keyword, most in (("oneOf", 1), ("anyOf", None)):
        if keyword in schema:
            fits = sum(not errors(choice, value, where) for choice in schema[keyword])
            if fits == 0 or fits != (most or fits):
                found.append(f"{where}: {value!r:.60} fits {fits} of {keyword}")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, member in value.items():
            if name in properties:
                found += errors(properties[name], member, f"{where}/{name}")
            elif schema.get("additionalProperties", True) is False:
                found.append(f"{where}: {name} should not be there")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{where}: too few")
        for i, item in enumerate(value):
            found += errors(schema.get("items", {}), item, f"{where}/{i}")
    return found


def operations():
    for path, item in CONTRACT["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def examples(content):
    """(name, example) of a media type's map."""
    return content.get("examples", {}).items()


class OpenApi(ServerCase):
    def check_answer(self, operation, status, headers, data, expected, code=None):
        answer = json.loads(data) if "json" in headers.get("content-type", "") else data.decode("utf-8")
        self.assertEqual(status, expected, answer)
        response = resolve(operation["responses"][str(status)])
        media = headers.get("content-type", "").split(";")[0]
        self.assertIn("x-request-id", headers)
        if "content" in response:
            self.assertIn(media, response["content"])
            self.assertEqual(errors(response["content"][media]["schema"], answer), [])
        if code:
            self.assertEqual(answer["code"], code)
            self.assertEqual(answer["status"], status)

    def test_the_servers_contract_is_the_file(self):
        for name in ("openapi.json", "openapi.yaml"):
            with open(os.path.join(ROOT, "api", name), "rb") as file:
                status, _, data = self.server.request("GET", "/" + name)
                self.assertEqual((status, data), (200, file.read()))

    def test_requests_get_the_answer_they_claim(self):
        posted = 0
        for path, method, operation in operations():
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                for name, example in examples(content):
                    with self.subTest(path=path, example=name):
                        status, headers, data = self.server.request(method, path, json.dumps(example["value"]).encode(), {"Content-Type": media})
                        self.check_answer(operation, status, headers, data, example["x-status"], example.get("x-code"))
                        posted += 1
        self.assertGreater(posted, 20)

    def test_requests_that_succeed_fit_their_schema(self):
        for path, _, operation in operations():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, example in examples(content):
                    if example["x-status"] == 200:
                        with self.subTest(path=path, example=name):
                            self.assertEqual(errors(content["schema"], example["value"]), [])

    def test_answers_shown_fit_their_schema(self):
        shown = 0
        for _, _, operation in operations():
            for response in operation["responses"].values():
                for content in resolve(response).get("content", {}).values():
                    for name, example in examples(content):
                        with self.subTest(example=name):
                            self.assertEqual(errors(content["schema"], example["value"]), [])
                            shown += 1
        self.assertGreater(shown, 10)

    def test_the_operator_example_is_what_comes(self):
        operation = CONTRACT["paths"]["/v1/attention"]["post"]
        body = operation["requestBody"]["content"]["application/json"]["examples"]["operator"]["value"]
        shown = operation["responses"]["200"]["content"]["application/json"]["examples"]["operator"]["value"]
        answer = self.server.attention(body)
        flat = lambda x: [n for part in x for n in flat(part)] if isinstance(x, list) else [x]
        for name in ("attentions", "scores", "context"):
            got, expected = answer["results"][0].pop(name), shown["results"][0].pop(name)
            self.assert_close(flat(got.pop("data")), flat(expected.pop("data")), 1e-6, name)
            self.assertEqual(got, expected)
        self.assertEqual(answer, shown)

    def test_the_model_and_the_tokens_shown_are_those_that_come(self):
        shown = CONTRACT["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["examples"]["one"]["value"]
        _, _, answer = self.server.get("/v1/models")
        for models in (shown, answer):
            models["models"][0].pop("memory_bytes")  # the kernels' business
        self.assertEqual(answer, shown)
        shown = CONTRACT["paths"]["/v1/tokenize"]["post"]["responses"]["200"]["content"]["application/json"]["examples"]["word"]["value"]
        _, _, answer = self.server.post("/v1/tokenize", {"text": "the"})
        self.assertEqual(answer, shown)

    def test_get_routes_answer(self):
        for path, method, operation in operations():
            if method != "GET":
                continue
            parameters = [resolve(p) for p in operation.get("parameters", [])]
            cases = [(path, 200, None)]
            for parameter in parameters:
                cases = [
                    (path.replace("{" + parameter["name"] + "}", urllib.parse.quote(e["value"], safe=safe)), e["x-status"], e.get("x-code"))
                    for _, e in examples(parameter)
                    for safe in ("", "/")
                ]
            for target, expected, code in cases:
                with self.subTest(path=target):
                    status, headers, data = self.server.request("GET", target)
                    self.check_answer(operation, status, headers, data, expected, code)

    def test_estimates_bound_the_answers(self):
        content = CONTRACT["paths"]["/v1/attention"]["post"]["requestBody"]["content"]["application/json"]
        for name, example in examples(content):
            if example["x-status"] != 200:
                continue
            with self.subTest(example=name):
                status, _, price = self.server.post("/v1/estimate", example["value"])
                self.assertEqual((status, price["allowed"], price["limits"]), (200, True, []))
                _, _, data = self.server.request("POST", "/v1/attention", json.dumps(example["value"]).encode())
                self.assertLessEqual(len(data), price["response_bytes"])
                result = json.loads(data)["results"][0]
                for output, shape in price["results"][0]["shapes"].items():
                    got = result[output]
                    self.assertEqual(shape, {k: v["shape"] for k, v in got.items()} if "indices" in got else got["shape"])


if __name__ == "__main__":
    main()
