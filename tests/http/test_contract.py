#!/usr/bin/env python3
"""The contract's conventions, sentence by sentence: tensors, numbers, encodings, and what is true of every request.

SPDX-License-Identifier: Apache-2.0
"""

import base64
import json
import math
import random
import struct

from contract_case import ALL, MASKED, TEXT, ContractCase, gauss, half, packed_half, rows_of, singles
from harness import flat, float32, main, packed, unpacked


class Outputs(ContractCase):
    def test_the_default_is_attentions_and_context(self):
        result = self.result({"text": TEXT})
        self.assertEqual(set(result), {"tokens", "layers", "heads", "attentions", "context"})

    def test_each_output_comes_alone(self):
        for name in ALL:
            for body in ({"text": "a b"}, {"embeddings": gauss(3, 4)}):
                self.assertEqual(set(self.result(body, output=[name])) - {"tokens"}, {"layers", "heads", name})

    def test_a_name_given_twice_counts_once(self):
        once, twice = self.server.attention({"text": "a", "output": ["query", "key"]}), self.server.attention({"text": "a", "output": ["key", "query", "key"]})
        self.assertEqual(once, twice)

    def test_an_empty_output_is_422(self):
        self.refuse({"text": "a", "output": []}, 422, "empty", "/output")

    def test_a_tensor_has_shape_axes_dtype_and_data(self):
        for encoding in ("json", "base64"):
            result = self.result(MASKED, encoding=encoding)
            for name in ALL:
                tensor = result[name]
                self.assertEqual(set(tensor), {"shape", "axes", "dtype", "data"})
                self.assertEqual(tensor["dtype"], "float32")
                self.assertEqual(isinstance(tensor["data"], str), encoding == "base64")
                self.assertEqual(len(tensor["shape"]), len(tensor["axes"]))
                self.assertEqual(len(unpacked(tensor)), math.prod(tensor["shape"]))

    def test_masked_scores_are_null_and_masked_weights_0(self):
        result = self.result(MASKED)
        for head in range(4):
            self.assertEqual([row[1] for row in result["scores"]["data"][0][head]], [None] * 4 + [result["scores"]["data"][0][head][4][1]])
            self.assertEqual([row[1] for row in result["attentions"]["data"][0][head]][:4], [0] * 4)
        self.assertNotIn(None, flat(result["attentions"]["data"]) + flat(result["raw_scores"]["data"]))

    def test_a_row_without_keys_is_zeros_and_so_is_its_context(self):
        result = self.result(MASKED)
        for head in range(4):
            self.assertEqual(result["attentions"]["data"][0][head][3], [0] * 7)
            self.assertEqual(result["context"]["data"][0][head][3], [0] * 3)

    def test_every_other_row_sums_to_one(self):
        result = self.result({"text": TEXT})
        for row in rows_of(result["attentions"]["data"]):
            self.assertAlmostEqual(sum(row), 1, places=5)


class Numbers(ContractCase):
    def shortest(self, x, read):
        """The fewest significant digits that read back as x."""
        for digits in range(1, 18):
            try:
                if read(float(f"%.{digits - 1}e" % x)) == x:
                    return digits
            except OverflowError:
                pass
        raise AssertionError(x)

    @staticmethod
    def digits(written):
        """Significant digits of a JSON number as written: no zeros before or behind."""
        mantissa = written.lower().split("e")[0].lstrip("-")
        return max(1, len(mantissa.replace(".", "").strip("0") if "." in mantissa else mantissa.strip("0")))

    VALUES = [
        0.1,
        1 / 3,
        2 / 3,
        1e-45,
        1.1754943508222875e-38,
        3.4028234663852886e38,
        16777216,
        16777217,
        0.3,
        1e10,
        123456789,
        1e-5,
        5e-324,
        9.999999e9,
        0.001,
    ]

    def values(self):
        chance = random.Random(5)
        bits = [chance.getrandbits(32) for _ in range(400)]
        extra = [struct.unpack("<f", struct.pack("<I", b))[0] for b in bits if b >> 23 & 255 != 255]
        return [float32(x) for x in self.VALUES + [-x for x in self.VALUES] + extra]

    def test_json_reads_back_as_the_same_float32_and_no_shorter_number_does(self):
        values = self.values()
        body = json.dumps({"query": [[0]], "key": [[0]], "value": [values], "output": ["value"]})
        _, _, raw = self.server.request("POST", "/v1/attention", body)
        written = flat(json.loads(raw, parse_float=str, parse_int=str)["results"][0]["value"]["data"])
        self.assertEqual(len(written), len(values))
        for text, x in zip(written, values):
            self.assertEqual(float32(float(text)), x, text)
            if x:
                self.assertEqual(self.digits(text), self.shortest(abs(x), float32), text)

    def test_base64_and_json_are_the_same_bits(self):
        for body in (dict(MASKED), {"text": TEXT, "output": ALL}, {"query": [[0]], "key": [[0]], "value": [self.values()], "output": ["value"]}):
            texts, bits = self.result(body), self.result(body, encoding="base64")
            for name in body["output"]:
                self.assertEqual(unpacked(bits[name]), singles(texts[name]), name)

    def test_zero_keeps_its_sign(self):
        result = self.result({"query": [[0]], "key": [[0]], "value": [[-0.0, 0.0]], "output": ["value"]})
        self.assertEqual([math.copysign(1, x) for x in flat(result["value"]["data"])], [-1, 1])

    def test_decimals_are_digits_after_the_point(self):
        exact = singles(self.result({"text": TEXT, "output": ["scores"]})["scores"])
        for decimals in range(1, 10):
            body = json.dumps({"text": TEXT, "output": ["scores"], "decimals": decimals})
            _, _, raw = self.server.request("POST", "/v1/attention", body)
            written = flat(json.loads(raw, parse_float=str, parse_int=str)["results"][0]["scores"]["data"])
            for text, x in zip(written, exact):
                self.assertLessEqual(abs(float(text) - x), 0.5 * 10**-decimals + 1e-15 * abs(x), text)
                self.assertLessEqual(len(text.partition(".")[2]), decimals)

    def test_decimals_out_of_1_to_9_are_422(self):
        for decimals in (0, 10, -1):
            self.refuse({"text": "a", "decimals": decimals}, 422, "out_of_range", "/decimals")

    def test_decimals_are_for_json_numbers_only(self):
        self.refuse({"text": "a", "decimals": 3, "encoding": "base64"}, 400, "unsupported_combination")

    def test_decimals_leave_null_and_huge_numbers(self):
        result = self.result(
            {"query": [[1]], "key": [[1], [2]], "value": [[3e38], [-1e20]], "attn_mask": [[0, None]], "output": ["value", "scores"], "decimals": 2}
        )
        self.assertEqual([float32(x) for x in flat(result["value"]["data"])], [float32(3e38), float32(-1e20)])
        self.assertEqual(flat(result["scores"]["data"]), [1, None])


class Dtypes(ContractCase):
    def test_float16_is_the_nearest_half_in_both_encodings(self):
        exact, as_json = self.result({"text": TEXT, "output": ALL}), self.result({"text": TEXT, "output": ALL, "dtype": "float16"})
        as_base64 = self.result({"text": TEXT, "output": ALL, "dtype": "float16", "encoding": "base64"})
        for name in ALL:
            self.assertEqual((as_json[name]["dtype"], as_base64[name]["dtype"]), ("float16", "float16"))
            wanted = [half(x) for x in singles(exact[name])]
            self.assertEqual(unpacked(as_base64[name]), wanted)
            self.assertEqual([half(x) for x in unpacked(as_json[name])], wanted)

    def test_float16_in_json_is_the_shortest_that_reads_back_as_the_same_half(self):
        chance, numbers = random.Random(3), Numbers()
        values = [half(chance.gauss(0, 10 ** chance.randint(-5, 4))) for _ in range(300)] + [65504.0, 6e-8, 0.1]
        body = json.dumps({"query": [[0]], "key": [[0]], "value": [values], "output": ["value"], "dtype": "float16"})
        _, _, raw = self.server.request("POST", "/v1/attention", body)
        for text, x in zip(flat(json.loads(raw, parse_float=str, parse_int=str)["results"][0]["value"]["data"]), values):
            self.assertEqual(half(float(text)), half(x))
            if half(x):
                self.assertEqual(Numbers.digits(text), numbers.shortest(abs(half(x)), half), text)

    def test_float16_beyond_its_range_is_the_largest_half(self):
        body = {"query": [[1]], "key": [[1]], "value": [[65504, 65519, 65520, 1e10, -1e30, 3e38]], "output": ["value"], "dtype": "float16"}
        wanted = [65504, 65504, 65504, 65504, -65504, 65504]
        self.assertEqual(unpacked(self.result(body, encoding="base64")["value"]), wanted)
        self.assertEqual([half(x) for x in unpacked(self.result(body)["value"])], wanted)

    def test_float16_keeps_null(self):
        for encoding in ("json", "base64"):
            result = self.result(MASKED, dtype="float16", encoding=encoding)
            exact = unpacked(self.result(MASKED)["scores"])
            self.assertEqual([x is None for x in unpacked(result["scores"])], [x is None for x in exact])

    def test_uint8_is_round_of_255_times_the_weight(self):
        exact = singles(self.result({"text": TEXT, "output": ["attentions"]})["attentions"])
        tensor = self.result({"text": TEXT, "output": ["attentions"], "dtype": "uint8", "encoding": "base64"})["attentions"]
        self.assertEqual(tensor["dtype"], "uint8")
        self.assertEqual(unpacked(tensor), [math.floor(255 * x + 0.5) for x in exact])

    def test_uint8_is_for_attentions_alone_and_needs_base64(self):
        for body in ({}, {"output": ["attentions"]}, {"encoding": "base64"}, {"output": ["scores"], "encoding": "base64"}):
            answer = self.refuse(dict(body, text="a", dtype="uint8"), 400, "unsupported_combination")
            self.assertRegex(answer["detail"], "output|base64")

    def test_base64_of_every_remainder_of_three_is_whole(self):
        for n in range(1, 9):
            body = {"query": gauss(n, 2), "key": gauss(3, 2), "value": gauss(3, 1), "output": ALL}
            exact = self.result(body)
            for dtype, width in (("float32", float32), ("float16", half)):
                got = self.result(body, encoding="base64", dtype=dtype)
                for name in ALL:
                    self.assertEqual(unpacked(got[name]), [width(x) for x in singles(exact[name])])
            got = self.result(body, output=["attentions"], encoding="base64", dtype="uint8")
            self.assertEqual(unpacked(got["attentions"]), [math.floor(255 * x + 0.5) for x in singles(exact["attentions"])])


class Requests(ContractCase):
    """What is true of every body."""

    def test_every_tensor_may_come_in_any_form(self):
        embeddings = {"embeddings": gauss(2, 4, 6), "key_embeddings": gauss(2, 3, 6), "attn_mask": gauss(2, 2, 4, 3), "num_attention_heads": 2, "output": ALL}
        for name, shape in (("w_q", (6, 4)), ("w_k", (6, 4)), ("w_v", (6, 8)), ("w_o", (8, 5)), ("b_q", (4,)), ("b_k", (4,)), ("b_v", (8,)), ("b_o", (5,))):
            embeddings[name] = gauss(*shape)
        qkv = {"query": gauss(2, 3, 4, 2), "key": gauss(2, 3, 5, 2), "value": gauss(2, 3, 5, 2), "attn_mask": gauss(5), "output": ALL}
        embeds = {"inputs_embeds": gauss(2, 2, 256), "layers": [0], "output": ["context"]}
        for body in (embeddings, qkv, embeds):
            plain = self.server.attention(body)
            for pack in (packed, packed_half):
                everything = dict(body)
                for name, tensor in body.items():
                    if name in ("output", "layers") or not isinstance(tensor, list):
                        continue
                    shape = []
                    while isinstance(tensor, list):
                        shape.append(len(tensor))
                        tensor = tensor[0]
                    everything[name] = pack(flat(body[name]), shape)
                    self.assertEqual(self.server.attention(dict(body, **{name: everything[name]})), plain, name)
                self.assertEqual(self.server.attention(everything), plain)

    def test_null_is_the_same_as_leaving_out(self):
        fields = {
            "text": "model text_pair token_type_ids add_special_tokens truncation",
            "embeddings": "num_attention_heads num_key_value_heads w_q w_k w_v b_q b_k b_v w_o b_o key_embeddings positional_encoding rope_theta scale softcap "
            "is_causal query_offset left_window_size right_window_size attn_mask key_lengths",
        }
        common = (
            "output layers heads queries keys reduce_heads reduce_layers top_k encoding dtype decimals input_ids inputs_embeds query key value attention_mask"
        )
        for kind, sent in (("text", "hi"), ("embeddings", gauss(3, 4))):
            plain = self.server.attention({kind: sent})
            for field in (fields[kind] + " " + common).split():
                self.assertEqual(self.server.attention({kind: sent, field: None}), plain, field)

    def test_null_for_a_field_of_another_kind_is_leaving_out_too(self):
        self.assertEqual(self.server.attention({"text": "hi", "w_q": None}), self.server.attention({"text": "hi"}))

    def test_2_point_0_is_the_integer_2(self):
        plain = self.server.attention({"text": TEXT, "layers": [2], "top_k": 2, "decimals": 2})
        for two in ("2.0", "2e0", "20e-1", "0.2e1", "2.000"):
            body = '{"text": "%s", "layers": [%s], "top_k": %s, "decimals": %s}' % (TEXT, two, two, two)
            self.assertEqual(self.server.attention(body), plain, two)
        self.refuse('{"text": "a", "layers": [2.5]}', 400, "wrong_type", "/layers/0")

    def test_the_order_of_fields_does_not_matter(self):
        body = {"output": ALL, "num_attention_heads": 2, "w_q": gauss(4, 4), "embeddings": gauss(3, 4), "is_causal": True}
        self.assertEqual(self.server.attention(body), self.server.attention(dict(reversed(list(body.items())))))

    def test_space_and_escapes_are_json(self):
        plain = self.server.attention({"text": "a/b é 😀"})
        self.assertEqual(self.server.attention(' \r\n\t{ "te\\u0078t" :\t"a\\/b \\u00e9 \\ud83d\\ude00" }\n'), plain)

    def test_unknown_fields_are_refused_wherever_they_stand(self):
        for body, pointer in (
            ({"text": "a", "laiers": [1]}, "/laiers"),
            ({"text": "a", "layers": {"start": 0, "step": 1}}, "/layers/step"),
            ({"embeddings": dict(packed([1], (1, 1)), order="C")}, "/embeddings/order"),
        ):
            self.refuse(body, 400, "unknown_field", pointer)

    def test_an_unknown_field_names_its_nearest_neighbour(self):
        for wrong, right in (("laiers", "layers"), ("is_casual", "is_causal"), ("input_id", "input_ids"), ("head", "heads"), ("texts", "text")):
            self.assertIn(f'did you mean "{right}"', self.refuse({"text": "a", wrong: 1}, 400, "unknown_field")["detail"])

    def test_duplicates_are_refused_wherever_they_stand(self):
        self.refuse('{"text": "a", "text": "a"}', 400, "duplicate_field", "/text")
        self.refuse('{"text": "a", "layers": {"start": 1, "start": 1}}', 400, "duplicate_field", "/layers/start")
        self.refuse('{"text": "a", "model": null, "model": null}', 400, "duplicate_field", "/model")

    def test_numbers_too_large_for_float32_are_not_finite(self):
        for number in ("1e39", "1e400", "-1e39", "3.5e38"):
            self.refuse('{"embeddings": [[0, %s]]}' % number, 422, "not_finite", "/embeddings/0/1")
            self.refuse('{"query": [[1]], "key": [[1]], "value": [[1]], "scale": %s}' % number, 422, "not_finite", "/scale")

    def test_nan_and_infinities_in_base64_are_not_finite(self):
        for value in (math.nan, math.inf, -math.inf):
            for code, name in (("f", "float32"), ("e", "float16")):
                data = base64.b64encode(struct.pack("<2" + code, 0, value)).decode()
                tensor = {"dtype": name, "shape": [1, 2], "data": data}
                self.refuse({"embeddings": tensor}, 422, "not_finite", "/embeddings/data")
                if value != -math.inf:
                    self.refuse({"embeddings": [[1, 2]] * 2, "attn_mask": tensor}, 422, "not_finite", "/attn_mask/data")

    def test_nan_and_infinity_are_not_json(self):
        for word in ("NaN", "Infinity", "-Infinity", "+1", "inf", "1e", ".5"):
            self.refuse('{"embeddings": [[%s]]}' % word, 400, "invalid_json", "/embeddings/0/0")

    def test_numbers_too_small_for_float32_are_zero(self):
        result = self.server.attention('{"query": [[0]], "key": [[0]], "value": [[1e-400, 1e-50, -1e-46]], "output": ["value"]}')["results"][0]
        self.assertEqual(flat(result["value"]["data"]), [0, 0, 0])


if __name__ == "__main__":
    main()
