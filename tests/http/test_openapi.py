#!/usr/bin/env python3
"""The contract holds: every request example in openapi.json gets the status and code it claims, in the form it asks for, and every answer fits its schema.

A small validator of our own: the keywords that openapi.yaml uses, and no other - an unknown one fails.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import struct
import urllib.parse
import xml.etree.ElementTree

from harness import ROOT, ServerCase, load, main

CONTRACT = load(os.path.join(ROOT, "api/openapi.json"))
NOTES = {"description", "default", "example", "examples", "contentEncoding", "contentMediaType", "title", "$comment"}
JUDGED = {"type", "properties", "required", "additionalProperties", "items", "contains", "enum", "const", "oneOf", "anyOf", "allOf"}
JUDGED |= {"minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
TYPES = {
    "object": lambda x: isinstance(x, dict),
    "array": lambda x: isinstance(x, list),
    "string": lambda x: isinstance(x, str),
    "boolean": lambda x: isinstance(x, bool),
    "null": lambda x: x is None,
    "number": lambda x: isinstance(x, (int, float)) and not isinstance(x, bool),
    "integer": lambda x: isinstance(x, int) and not isinstance(x, bool) or isinstance(x, float) and x.is_integer(),
}
COMPARISONS = {
    "minimum": lambda x, bound: x >= bound,
    "maximum": lambda x, bound: x <= bound,
    "exclusiveMinimum": lambda x, bound: x > bound,
    "exclusiveMaximum": lambda x, bound: x < bound,
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
    unknown = set(schema) - NOTES - JUDGED
    assert not unknown, unknown
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(TYPES[t](value) for t in types):
            return [f"{where}: {value!r:.60} is no {types}"]
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r:.60} is not among what there is")
    for keyword, least, most in (("oneOf", 1, 1), ("anyOf", 1, None), ("allOf", None, None)):
        if keyword in schema:
            fits = sum(not errors(choice, value, where) for choice in schema[keyword])
            if fits < (least or len(schema[keyword])) or fits > (most or fits):
                found.append(f"{where}: {value!r:.60} fits {fits} of {keyword}")
    if TYPES["number"](value):
        found += [f"{where}: {value} is out of range" for k, holds in COMPARISONS.items() if k in schema and not holds(value, schema[k])]
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)) or not re.search(schema.get("pattern", ""), value):
            found.append(f"{where}: {value!r:.60} has not the form")
    elif isinstance(value, dict):
        found += object_errors(schema, value, where)
    elif isinstance(value, list):
        found += array_errors(schema, value, where)
    return found


def object_errors(schema, value, where):
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, member in value.items():
        if name in properties:
            found += errors(properties[name], member, f"{where}/{name}")
        elif others is False:
            found.append(f"{where}: {name} should not be there")
        elif others is not True:
            found += errors(others, member, f"{where}/{name}")
    return found


def array_errors(schema, value, where):
    found = []
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        found.append(f"{where}: too few or too many")
    if "contains" in schema and all(errors(schema["contains"], item) for item in value):
        found.append(f"{where}: none is what one must be")
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


def target_of(path, example):
    """The path with the example's query."""
    query = urllib.parse.urlencode(example.get("x-query", {}))
    return path + "?" + query if query else path


def headers_of(example, media="application/json"):
    return dict({"Content-Type": media}, **({"Accept": example["x-accept"]} if "x-accept" in example else {}))


def read_safetensors(data):
    """Bytes to the tensors' ranges; what is not one raises."""
    length = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + length])
    json.loads(head.pop("__metadata__")["attnd"])
    ends = sorted(t["data_offsets"] for t in head.values())
    if not ends or ends[0][0] != 0 or ends[-1][1] != len(data) - 8 - length:
        raise ValueError(f"ranges {ends} of {len(data) - 8 - length} bytes")
    return ends


def begins_with(magic):
    def check(data):
        if not data.startswith(magic):
            raise ValueError(data[:16])

    return check


def as_words(data):
    if not data.decode("utf-8").strip():
        raise ValueError("nothing")


# What an answer in another form than JSON must be at least; their own suites look closer.
FORMS = {
    "application/vnd.safetensors": read_safetensors,
    "application/octet-stream": read_safetensors,
    "application/x-npy": begins_with(b"\x93NUMPY\x01\x00"),
    "image/png": begins_with(b"\x89PNG\r\n\x1a\n"),
    "image/svg+xml": xml.etree.ElementTree.fromstring,
    "text/plain": as_words,
    "text/html": as_words,
    "application/yaml": as_words,
}


class OpenApi(ServerCase):
    def check_headers(self, response, headers):
        for name, header in response.get("headers", {}).items():
            header = resolve(header)
            value = headers.get(name.lower())
            self.assertFalse(value is None and header.get("required"), name)
            if value is not None:
                value = int(value) if header["schema"]["type"] == "integer" else value
                self.assertEqual(errors(header["schema"], value, name), [])

    def check_answer(self, operation, status, headers, data, expected, code=None):
        self.assertEqual(status, expected, data[:2000])
        response = resolve(operation["responses"][str(status)])
        media = headers.get("content-type", "").split(";")[0]
        self.check_headers(response, headers)
        self.assertIn(media, response["content"])
        content = response["content"][media]
        if "x-item-schema" in content:
            for line in data.decode("utf-8").splitlines():
                self.assertEqual(errors(content["x-item-schema"], json.loads(line)), [])
        elif media in FORMS:
            FORMS[media](data)
        else:
            self.assertEqual(errors(content["schema"], json.loads(data)), [])
        if code:
            answer = json.loads(data)
            self.assertEqual((answer["code"], answer["status"]), (code, status))

    def test_the_servers_contract_is_the_file(self):
        for name in ("openapi.json", "openapi.yaml"):
            with open(os.path.join(ROOT, "api", name), "rb") as file:
                status, _, data = self.server.request("GET", "/" + name)
                self.assertEqual((status, data), (200, file.read()))

    def test_the_page_needs_nothing_from_any_other_host(self):
        status, headers, data = self.server.request("GET", "/docs", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        with open(os.path.join(ROOT, "api/docs.html"), "rb") as file:
            self.assertEqual((status, headers["content-type"], data), (200, "text/html; charset=utf-8", file.read()))
        page = data.decode("utf-8")
        self.assertIn("default-src 'none'", page)
        self.assertEqual(set(re.findall(r"https?://[^/\"'`\s]+", page)), {"http://localhost:8080"})  # what the commands shown begin with
        self.assertEqual([link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if not re.match(r"openapi\.(json|yaml)$|#\w|data:,$", link)], [])
        self.assertNotRegex(page, r"@import|\burl\(|\bimport\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|localStorage|document\.cookie")
        self.assertIn("/openapi.json", page[page.index("<noscript>") : page.index("</noscript>")])

    def test_requests_get_the_answer_they_claim(self):
        posted = 0
        for path, method, operation in operations():
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                for name, example in examples(content):
                    with self.subTest(path=path, example=name):
                        body = json.dumps(example["value"]).encode()
                        status, headers, data = self.server.request(method, target_of(path, example), body, headers_of(example, media))
                        self.check_answer(operation, status, headers, data, example["x-status"], example.get("x-code"))
                        posted += 1
                        asked = example.get("x-accept", headers["content-type"]) if status == 200 else "application/problem+json"
                        self.assertEqual(headers["content-type"].split(";")[0], asked.split(";")[0])
        self.assertGreater(posted, 40)

    def test_requests_that_succeed_fit_their_schema(self):
        for path, _, operation in operations():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, example in examples(content):
                    if example["x-status"] == 200:
                        with self.subTest(path=path, example=name):
                            self.assertEqual(errors(content["schema"], example["value"]), [])

    def test_requests_that_a_schema_can_refuse_do_not_fit_it(self):
        judged = 0
        for path, _, operation in operations():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for name, example in examples(content):
                    if example["x-status"] == 400 and not {"x-accept", "x-query"} & set(example):
                        with self.subTest(path=path, example=name):
                            self.assertNotEqual(errors(content["schema"], example["value"]), [])
                            judged += 1
        self.assertGreater(judged, 5)

    def test_every_route_and_form_of_answer_has_an_example(self):
        content = CONTRACT["paths"]["/v1/attention"]["post"]
        asked = {e.get("x-accept", "application/json") for _, e in examples(content["requestBody"]["content"]["application/json"]) if e["x-status"] == 200}
        self.assertEqual(asked | {"application/octet-stream"}, set(content["responses"]["200"]["content"]))
        status, headers, data = self.server.request("POST", "/v1/attention", b'{"text": "a"}', {"Accept": "application/octet-stream"})
        self.check_answer(content, status, headers, data, 200)

    def test_every_code_of_the_program_is_listed_under_its_status(self):
        with open(os.path.join(ROOT, "api/problem.h"), encoding="utf-8") as file:
            program = {(code, int(status)) for code, status in re.findall(r'X\(API_\w+, "(\w+)", (\d+)\)', file.read())}
        listed = set()
        for response in CONTRACT["components"]["responses"].values():
            properties = response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
            listed |= {(code, properties["status"]["const"]) for code in properties["code"]["enum"]}
        self.assertGreater(len(program), 30)
        self.assertEqual(listed, program)

    def test_every_field_of_the_program_is_listed(self):
        with open(os.path.join(ROOT, "api/request.c"), encoding="utf-8") as file:
            program = set(re.findall(r'\[API_F_\w+\] = { "(\w+)"', file.read()))
        self.assertGreater(len(program), 40)
        self.assertEqual(set(CONTRACT["components"]["schemas"]["AttentionRequest"]["properties"]), program)

    def test_every_output_and_analysis_listed_can_be_had(self):
        schemas = CONTRACT["components"]["schemas"]
        outputs, analyses = schemas["OutputName"]["enum"], schemas["AnalysisName"]["enum"]
        result = self.server.attention({"text": "one and one", "output": outputs, "analyses": analyses})["results"][0]
        self.assertEqual([name for name in result if name in outputs], outputs)
        self.assertEqual(list(result["analyses"]), analyses)
        _, _, refused = self.server.post("/v1/attention", {"text": "a", "output": ["-"]})
        self.assertIn("known are " + ", ".join(outputs), refused["detail"])
        _, _, refused = self.server.post("/v1/attention", {"text": "a", "analyses": ["-"]})
        self.assertIn("known are " + ", ".join(analyses), refused["detail"])

    def test_every_member_of_an_encoder_decoders_result_comes_when_it_is_asked_for(self):
        schemas = CONTRACT["components"]["schemas"]
        body = {"model": "attnd-translate", "text": "a " * 600, "text_pair": "b", "truncation": True, "max_new_tokens": 2, "queries": [0, 1], "keys": [0, 1]}
        body.update(pool={"size": 1}, output=schemas["OutputName"]["enum"], analyses=["entropy"], layers=[0], heads=[0])
        result = self.server.attention(body)["results"][0]
        self.assertEqual(set(result), set(schemas["EncoderDecoderResult"]["properties"]))
        between = self.server.attention({"model": "attnd-translate", "text": "a", "output": [], "analyses": schemas["AnalysisName"]["enum"]})["results"][0]["cross_analyses"]
        self.assertEqual(list(between), list(schemas["CrossAnalyses"]["properties"]))

    def test_lines_of_what_writes_have_every_member_listed(self):
        schemas, came = CONTRACT["components"]["schemas"], {}
        for model in ("attnd-gpt", "attnd-translate"):
            for more in ({}, {"reduce_layers": "mean"}):
                body = dict(model=model, text="a", max_new_tokens=2, output=schemas["OutputName"]["enum"], analyses=["entropy"], layers=[0], heads=[0], **more)
                _, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": "application/x-ndjson"})
                for line in data.decode("utf-8").splitlines():
                    fits = [c["$ref"].rsplit("/", 1)[1] for c in schemas["Line"]["oneOf"] if not errors(c, json.loads(line))]
                    self.assertEqual(len(fits), 1, line[:300])
                    came.setdefault(fits[0], set()).update(json.loads(line))
            # all layers: hidden state 0 has a line of its own
            body = dict(model=model, text="a", max_new_tokens=1, output=["hidden_states"])
            _, _, data = self.server.request("POST", "/v1/attention", json.dumps(body).encode(), {"Accept": "application/x-ndjson"})
            for line in map(json.loads, data.decode("utf-8").splitlines()):
                if "state" in line:
                    self.assertEqual(errors(schemas["StateLine"], line), [])
                    came.setdefault("StateLine", set()).update(line)
        for name in ("LayerLine", "PartLine", "StateLine", "StepLine", "RestLine"):
            self.assertEqual(came[name], set(schemas[name]["properties"]), name)

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

    def test_the_answers_of_models_shown_are_those_that_come(self):
        shown = CONTRACT["paths"]["/v1/attention"]["post"]["responses"]["200"]["content"]["application/json"]["examples"]
        more = {"output": ["attentions"], "decimals": 2}
        for name, body in (
            ("between", {"model": "attnd-translate", "text": ">>deu<< cat", "text_pair": "Katze", "layers": [2], "heads": [6]}),
            ("written", {"model": "attnd-gpt", "text": "Once upon", "max_new_tokens": 2, "layers": [4], "heads": [2]}),
        ):
            self.assertEqual(self.server.attention({**body, **more}), shown[name]["value"])

    def test_the_model_and_the_tokens_shown_are_those_that_come(self):
        shown = CONTRACT["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["examples"]["builtin"]["value"]
        _, _, answer = self.server.get("/v1/models")
        for model in shown["models"] + answer["models"]:
            model.pop("memory_bytes")  # the kernels' business
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
            if example["x-status"] != 200 or "x-query" in example:
                continue
            with self.subTest(example=name):
                accept = example.get("x-accept", "application/json")
                status, _, price = self.server.post("/v1/estimate?accept=" + urllib.parse.quote(accept), example["value"])
                self.assertEqual((status, price["allowed"], price["limits"]), (200, True, []))
                _, _, data = self.server.request("POST", "/v1/attention", json.dumps(example["value"]).encode(), headers_of(example))
                self.assertLessEqual(len(data), price["response_bytes"])
                if accept == "application/json":
                    self.check_shapes(price["results"][0]["shapes"], json.loads(data)["results"][0], "max_new_tokens" in example["value"])

    def check_shapes(self, shapes, result, may_be_less):
        """As an estimate has them; of top_k and analyses one for each tensor. What writes may end before its time."""
        for name, shape in shapes.items():
            if isinstance(shape, dict):
                self.check_shapes(shape, result[name], may_be_less)
                continue
            came = result[name]["shape"]
            self.assertEqual((len(shape), shape[0]), (len(came), came[0]), name)
            self.assertTrue(all(most >= n for most, n in zip(shape, came)) if may_be_less else shape == came, (name, shape, came))


if __name__ == "__main__":
    main()
