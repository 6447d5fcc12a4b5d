#!/usr/bin/env python3
"""All 88 cases of the ONNX Attention operator that are here, through POST /v1/attention: tests/golden/onnx-attention/.

Every other case sends its tensors as base64, and asks for base64 back.
SPDX-License-Identifier: Apache-2.0
"""
import math
import os
import unittest

from harness import ROOT, ServerCase, load, main, nest, packed, unpacked

CASES = load(os.path.join(ROOT, "tests/golden/onnx-attention/cases.json"))
MODES = {0: "raw_scores", 2: "scores", 3: "attentions"}


def joined(past, new):
    """[B, H, T1, d] and [B, H, T2, d] as [B, H, T1 + T2, d]."""
    B, H, T1, d = past["shape"]
    T2 = new["shape"][2]
    data = []
    for i in range(B * H):
        data += past["data"][i * T1 * d : (i + 1) * T1 * d] + new["data"][i * T2 * d : (i + 1) * T2 * d]
    return {"shape": [B, H, T1 + T2, d], "data": data}


def unpack_heads(tensor, heads):
    """[B, T, H*d] as [B, H, T, d]."""
    B, T, width = tensor["shape"]
    d = width // heads
    data = [tensor["data"][(b * T + t) * width + h * d + i] for b in range(B) for h in range(heads) for t in range(T) for i in range(d)]
    return {"shape": [B, heads, T, d], "data": data}


def stretched(mask, keys):
    """A mask with fewer columns than there are keys hides the rest."""
    short = mask["shape"][-1]
    if short == keys:
        return dict(mask)
    rows = math.prod(mask["shape"][:-1])
    fill = [False if mask["dtype"] == "bool" else None] * (keys - short)
    data = [x for r in range(rows) for x in mask["data"][r * short : (r + 1) * short] + fill]
    return dict(mask, shape=mask["shape"][:-1] + [keys], data=data)


def request_for(case, base64):
    attributes, inputs = case["attributes"], case["inputs"]
    form = (lambda t: packed(t["data"], t["shape"])) if base64 else (lambda t: nest(t["data"], t["shape"]))
    body = {}
    q, k, v = inputs["Q"], inputs["K"], inputs["V"]
    if len(q["shape"]) == 3:
        H, G = attributes["q_num_heads"], attributes["kv_num_heads"]
        if "past_key" in inputs:
            q, k, v = unpack_heads(q, H), unpack_heads(k, G), unpack_heads(v, G)
        else:
            body.update(num_attention_heads=H, num_key_value_heads=G)
    if "past_key" in inputs:
        body["query_offset"] = inputs["past_key"]["shape"][2]
        k, v = joined(inputs["past_key"], k), joined(inputs["past_value"], v)
    body.update(query=form(q), key=form(k), value=form(v))
    keys = k["shape"][-2]
    queries = q["shape"][-2]
    for name, field in (("scale", "scale"), ("softcap", "softcap"), ("left_window_size", "left_window_size"), ("right_window_size", "right_window_size")):
        if name in attributes:
            body[field] = attributes[name]
    if attributes.get("is_causal"):
        body["is_causal"] = True
    if "nonpad_kv_seqlen" in inputs:
        lengths = inputs["nonpad_kv_seqlen"]["data"]
        body["key_lengths"] = lengths
        if body.get("is_causal") or body.get("left_window_size", -1) >= 0 or body.get("right_window_size", -1) >= 0:
            body["query_offset"] = [n - queries for n in lengths]
    if "attn_mask" in inputs:
        mask = stretched(inputs["attn_mask"], keys)
        if mask["dtype"] == "bool":
            mask["data"] = [bool(x) for x in mask["data"]]
        body["attn_mask"] = nest(mask["data"], mask["shape"]) if mask["dtype"] == "bool" or not base64 else form(mask)
    mode = MODES.get(attributes.get("qk_matmul_output_mode", 0))
    body["output"] = ["context"] + ([mode] if "qk_matmul_output" in case["outputs"] and mode else [])
    if base64:
        body["encoding"] = "base64"
    return body


class Onnx(ServerCase):
    def check(self, case, base64):
        tolerance = 1e-2 if any(t["dtype"] == "float16" for t in case["inputs"].values()) else 1e-5
        body = request_for(case, base64)
        results = self.server.attention(body)["results"]
        expected = case["outputs"]["Y"]
        got = [x for r in results for x in unpacked(r["context"])]
        if len(expected["shape"]) == 3:
            H = case["attributes"]["q_num_heads"]
            expected = unpack_heads(expected, H)
        worst = self.assert_close(got, expected["data"], tolerance, "context")
        if len(body["output"]) > 1:
            got = [x for r in results for x in unpacked(r[body["output"][1]])]
            self.assert_close(got, case["outputs"]["qk_matmul_output"]["data"], tolerance, body["output"][1])
        return worst


for number, one in enumerate(CASES):
    setattr(Onnx, one["name"], lambda self, case=one, number=number: self.check(case, number % 2 == 1))

if __name__ == "__main__":
    main()
