#!/usr/bin/env python3
"""Makes small random models of BERT's kin and golden values, computed by transformers in float64, that tests/unit/test_encoders.c holds the program against.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
    python make_encoder_goldens.py [NAME ...]            (default: all, into models/)

The files are as make_model_goldens.py describes them, with hidden_states [layer + 1, token, hidden] beside the other tensors. There is no tokenizer: all cases are ids or
embeddings. Every case checks that its rows sum to 1 within 1e-14 and that the softmax of the scores written here is the attentions that transformers returns.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import shutil
import sys

import torch
import transformers

from make_model_goldens import HERE, pack

SIZES = dict(vocab_size=61, hidden_size=24, num_attention_heads=3, intermediate_size=36, num_hidden_layers=2, max_position_embeddings=40)

# name: the class and what its config has other than SIZES
MODELS = {
    "distilbert": ("DistilBertForMaskedLM", dict(vocab_size=61, dim=24, n_heads=3, hidden_dim=36, n_layers=2, max_position_embeddings=40)),
    "roberta": ("RobertaForMaskedLM", dict(SIZES, pad_token_id=1, type_vocab_size=1, layer_norm_eps=1e-5)),
    "xlm-roberta": ("XLMRobertaModel", dict(SIZES, pad_token_id=3, type_vocab_size=2, layer_norm_eps=1e-5, hidden_act="gelu_new")),
    "electra": ("ElectraModel", dict(SIZES, embedding_size=10)),
    "electra-wide": ("ElectraForPreTraining", dict(SIZES, embedding_size=24, num_hidden_layers=1)),
    "albert": ("AlbertModel", dict(SIZES, embedding_size=16, num_hidden_layers=3, hidden_act="gelu_new")),
    "albert-groups": ("AlbertForMaskedLM", dict(vocab_size=61, hidden_size=12, embedding_size=12, num_attention_heads=2, intermediate_size=8, num_hidden_layers=18,
                                                num_hidden_groups=14, max_position_embeddings=40)),
    "mpnet": ("MPNetForMaskedLM", dict(SIZES, vocab_size=41, max_position_embeddings=170)),
    "deberta-v2": ("DebertaV2ForMaskedLM", dict(SIZES, vocab_size=41, relative_attention=True, position_buckets=6, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
                                                position_biased_input=False, type_vocab_size=0)),
    "deberta-v2-own": ("DebertaV2Model", dict(SIZES, hidden_size=30, vocab_size=41, relative_attention=True, max_relative_positions=12, pos_att_type=["c2p", "p2c"], type_vocab_size=2)),
    "deberta-v2-c2p": ("DebertaV2Model", dict(SIZES, vocab_size=41, relative_attention=True, max_relative_positions=20, position_buckets=9, norm_rel_ebd="none", pos_att_type="c2p",
                                              position_biased_input=False, type_vocab_size=1)),
    "deberta-v2-p2c": ("DebertaV2Model", dict(SIZES, vocab_size=41, relative_attention=True, share_att_key=True, position_buckets=-1, norm_rel_ebd="layer_norm", pos_att_type="p2c",
                                              type_vocab_size=0)),
}

# what makes query, key, value, and attn_output of a context
PROJECTIONS = [re.compile(p) for p in (r"attention\.(self\.query(_proj)?|q_lin|query|attn\.q)$", r"attention\.(self\.key(_proj)?|k_lin|key|attn\.k)$",
                                       r"attention\.(self\.value(_proj)?|v_lin|value|attn\.v)$", r"attention\.(output\.dense|out_lin|dense|attn\.o)$")]


def draw(model, seed):
    """Every parameter anew, so that no head is uniform and no bias can be forgotten unnoticed."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "norm" in name.lower() and name.endswith("weight"):
                p.copy_(1 + 0.3 * r)
            elif p.dim() == 1:
                p.copy_(0.2 * r)
            else:
                sharp = PROJECTIONS[0].search(name[:-7]) or PROJECTIONS[1].search(name[:-7])
                p.copy_((1.0 if "relative" in name else 0.5 if "embeddings" in name else 0.35 if sharp else 0.2) * r)


def forward(model, feed):
    """One pass in float64; {tensor name: [layer, ...]}."""
    heads, seen, hooks = model.config.num_attention_heads, {"query": [], "key": [], "value": [], "context": [], "attn_output": []}, []
    split = lambda t: t[0].unflatten(-1, (heads, -1)).transpose(0, 1)

    def see_output(module, given, made):
        seen["context"].append(split(given[0]))
        seen["attn_output"].append(made[0])

    for path, module in model.named_modules():
        for name, pattern in zip(("query", "key", "value"), PROJECTIONS):
            if pattern.search(path):
                hooks.append(module.register_forward_hook(lambda module, given, made, name=name: seen[name].append(split(made))))
        if PROJECTIONS[3].search(path):
            hooks.append(module.register_forward_hook(see_output))
    entering, softmax = [], torch.nn.functional.softmax

    def see_softmax(x, *rest, **more):
        entering.append(x[0])
        return softmax(x, *rest, **more)

    torch.nn.functional.softmax = see_softmax
    with torch.no_grad():
        out = model(**feed, output_attentions=True, output_hidden_states=True)
    torch.nn.functional.softmax = softmax
    for h in hooks:
        h.remove()
    if getattr(model.config, "share_att_key", False):  # the same projections make keys and queries of distances, after those of tokens
        seen["query"], seen["key"] = seen["query"][::2], seen["key"][::2]
    got = {name: torch.stack(tensors) for name, tensors in seen.items()}
    got["attentions"] = torch.stack([a[0] for a in out.attentions])
    got["hidden_states"] = torch.stack([h[0] for h in out.hidden_states])
    got["scores"] = got["query"] @ got["key"].transpose(-1, -2) / (got["query"].shape[-1] ** 0.5)
    if model.config.model_type == "mpnet":
        got["scores"] += model.base_model.encoder.compute_position_bias(got["hidden_states"][:1])
    if model.config.model_type == "deberta-v2":
        got["scores"] = torch.stack(entering)
    elif "attention_mask" in feed:
        got["scores"][..., feed["attention_mask"][0] == 0] = float("-inf")
    assert all(t.dtype == torch.float64 for t in got.values())
    assert (got["attentions"].sum(-1) - 1).abs().max() < 1e-14
    assert (got["scores"].softmax(-1) - got["attentions"]).abs().max() < 1e-14
    if model.config.model_type == "deberta-v2" and "attention_mask" in feed:  # it masks queries as well: uniform rows there, zeros here
        for name in ("attentions", "context"):
            got[name][:, :, feed["attention_mask"][0] == 0] = 0
    assert got["hidden_states"].shape[0] == got["attentions"].shape[0] + 1 == model.config.num_hidden_layers + 1
    return got


def cases_of(config):
    vocab, padding = config.vocab_size, config.pad_token_id
    places = config.max_position_embeddings - (padding + 1 if config.model_type in ("roberta", "xlm-roberta", "mpnet") else 0)
    ids = [(i * 37) % (vocab - 8) + 8 for i in range(places)]
    most, few = ("attentions", "scores", "context", "attn_output", "query", "key", "value", "hidden_states"), ("attentions", "hidden_states")
    masked = ("attentions", "context") if config.model_type == "deberta-v2" else few
    holes = [padding if i in (0, 3) else ids[i] for i in range(8)]
    cases = [{"case": "ids", "input_ids": ids[:9], "only": most if config.num_hidden_layers < 10 else ("attentions", "hidden_states")},
             {"case": "right padding", "input_ids": ids[:5] + [padding] * 3, "attention_mask": [1] * 5 + [0] * 3, "only": masked},
             {"case": "padding in the text, holes in the mask", "input_ids": holes, "attention_mask": [1, 1, 0, 1, 1, 0, 1, 1], "only": masked},
             {"case": "embeddings", "inputs_embeds": torch.randn(5, getattr(config, "embedding_size", config.hidden_size), generator=torch.Generator().manual_seed(7)), "only": few},
             {"case": "one token", "input_ids": ids[:1], "only": few},
             {"case": "all positions", "input_ids": ids, "layers": [config.num_hidden_layers - 1], "heads": [1], "only": ("context",)}]
    if getattr(config, "type_vocab_size", 0) > 1:
        cases.append({"case": "segments", "input_ids": ids[:6], "token_type_ids": [0, 0, 1, 1, 0, 1], "only": few})
    return cases


def run_case(model, case):
    only, layers, heads = case.pop("only"), case.get("layers"), case.get("heads")
    feed = {k: torch.tensor([case[k]]) for k in ("input_ids", "attention_mask", "token_type_ids") if k in case}
    if "inputs_embeds" in case:
        feed["inputs_embeds"] = case["inputs_embeds"][None].double()
        case["inputs_embeds"] = pack(case["inputs_embeds"])
    for name, t in forward(model, feed).items():
        if name in only:
            t = t[layers] if layers else t
            case[name] = pack(t[:, heads] if heads else t)
    return case


def make(name, number):
    kind, shape = MODELS[name]
    cls = getattr(transformers, kind)
    folder = os.path.join(HERE, "models", name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = cls(cls.config_class(**shape))
    draw(model, 100 + number)
    model.save_pretrained(folder)
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    model, info = cls.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    model.eval()
    library = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float64"
    path = os.path.join(folder, "golden.json")
    with open(path, "w") as f:
        json.dump({"library": library, "class": kind, "cases": [run_case(model, c) for c in cases_of(model.config)]}, f, separators=(",", ":"))
        f.write("\n")
    print(name, os.path.getsize(path) // 1024, "KiB,", os.path.getsize(os.path.join(folder, "model.safetensors")) // 1024, "KiB of weights")


if __name__ == "__main__":
    torch.manual_seed(0)
    for i, model_name in enumerate(MODELS):
        if model_name in (sys.argv[1:] or MODELS):
            make(model_name, i)
