#!/usr/bin/env python3
"""Write tests/golden/models/NAME for the families beyond BERT: tiny random models in Hugging Face layout, and what transformers makes of them in float64.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
    python make_family_goldens.py DATA [NAME ...]

DATA is the folder of make_tiny_models.py and make_golden.py, which draw the models and compute the values; their heads say how, and what golden.json holds. Here
each model has a vocabulary of 60 so that files stay small, and some are made with a second seed (NAME-2). Cases come as ids: no tokenizer is kept. Keys
and values are repeated to as many heads as there are queries, as in the wire contract.
SPDX-License-Identifier: Apache-2.0
"""
import importlib.util
import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VOCAB = 60
# Positions beyond which a text is stretched; what a model's config.json says of itself decides the rest.
LONG = {"llama-dynamic": 30, "llama-llama3": 40, "llama-yarn": 40, "phi3-longrope": 24}
LLAMA = ["llama", "llama-llama3", "llama-linear", "llama-yarn", "llama-dynamic", "mistral", "qwen2", "qwen2-window", "qwen3"]
NAMES = LLAMA + ["gpt2", "gpt2-bare", "gemma", "gemma2", "gemma3", "gemma3-legacy", "phi", "phi-qknorm", "phi3", "phi3-longrope", "smollm3", "gpt-neox",
                 "gpt-neox-legacy", "bloom", "falcon", "falcon-new", "falcon-one-norm", "falcon-sequential", "modernbert", "modernbert-legacy", "modernbert-biases",
                 "falcon-alibi", "olmo2", "olmo2-wide", "gptj", "opt", "opt-postln", "mpt", "mpt-clip"]
HOLED = ("opt", "opt-postln", "mpt", "mpt-clip", "falcon-alibi", "gptj")  # positions that count what the mask shows, and some that do not
TWICE = ("llama", "qwen3", "gpt2", "gemma2", "olmo2", "gptj", "opt")
# Families and shapes that make_tiny_models.py has not, or has otherwise.
OWN = {
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", "small-gptneox", dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=44,
              max_position_embeddings=128), {"legacy": True}),
    "olmo2-wide": ("Olmo2ForCausalLM", "Olmo2Config", "small-gptneox", dict(hidden_size=28, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, intermediate_size=30, head_dim=10,
                   max_position_embeddings=128, attention_bias=True, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=500.0)), {}),
    "gptj": ("GPTJForCausalLM", "GPTJConfig", "small-gpt2", dict(n_embd=40, n_layer=3, n_head=4, rotary_dim=6, n_inner=44, n_positions=64), {}),
    "opt": ("OPTForCausalLM", "OPTConfig", "small-opt", dict(hidden_size=36, num_hidden_layers=3, num_attention_heads=3, ffn_dim=50, max_position_embeddings=64, word_embed_proj_dim=36), {}),
    "falcon-alibi": ("FalconForCausalLM", "FalconConfig", "small-gptneox", dict(hidden_size=36, num_hidden_layers=2, num_attention_heads=12, multi_query=False, parallel_attn=False,
                     new_decoder_architecture=False, bias=True, alibi=True), {}),  # slopes that bfloat16 does not have
    "opt-postln": ("OPTForCausalLM", "OPTConfig", "small-opt", dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=30, max_position_embeddings=64, word_embed_proj_dim=12,
                   do_layer_norm_before=False), {}),
    "mpt": ("MptForCausalLM", "MptConfig", "small-gptneox", dict(d_model=36, n_layers=2, n_heads=6, max_seq_len=64), {}),
    "mpt-clip": ("MptForCausalLM", "MptConfig", "small-gptneox", dict(d_model=20, n_layers=2, n_heads=5, max_seq_len=64,
                 attn_config=dict(clip_qkv=0.7, softmax_scale=0.9)), {}),
}
SMALL = ("attentions", "hidden_states")
# Tensors that old files hold and nobody needs.
OLD = {"gpt2": ["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"], "llama": ["model.layers.1.self_attn.rotary_emb.inv_freq"]}


def load(folder, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cases_for(name, odd):
    ids = [(i * 37 + 11 * odd) % (VOCAB - 4) + 3 for i in range(64)]
    n = 6 if odd else 9
    everything = {} if not odd else {"only": SMALL + ("scores",)}
    cases = [dict(everything, name="all", input_ids=ids[:n]), {"name": "padded", "input_ids": ids[:5] + [0] * 2, "attention_mask": [1] * 5 + [0] * 2, "only": SMALL}]
    if not odd:
        cases.append({"name": "one token", "input_ids": ids[:1], "only": SMALL})
    if name in HOLED:
        cases.append({"name": "holes in the mask", "input_ids": ids[:8], "attention_mask": [1, 1, 0, 1, 1, 0, 0, 1], "only": SMALL})
    if name in LONG:
        cases.append({"name": "long", "input_ids": ids[:LONG[name]], "only": ("attentions",)})
    return cases


def load_as_shown(load):
    """GPT-J's angles in float64 too; OPT's last hidden state before it is projected to the width of embeddings, which is a matter of the head."""
    import torch

    def wrapped(folder, cls, genuine=True, dtype=torch.float64):
        model = load(folder, cls, genuine, dtype)
        if model.config.model_type == "gptj" and genuine:
            for name, buffer in model.named_buffers():
                if name.endswith("embed_positions"):
                    positions, width = buffer.shape
                    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
                    model.get_submodule(name.rpartition(".")[0]).embed_positions = torch.cat((angles.sin(), angles.cos()), 1)
        if model.config.model_type == "opt" and model.model.decoder.project_out:
            model.model.decoder.project_out, model.lm_head = None, torch.nn.Identity()
        return model
    return wrapped


def repeat_heads(path):
    with open(path) as f:
        doc = json.load(f)
    for case in doc["cases"]:
        for tensor in (case[k] for k in ("key", "value") if k in case):
            layers, heads, rows, columns = tensor["shape"]
            share, size, data = case["query"]["shape"][1] // heads, rows * columns, tensor["data"]
            tensor["shape"][1] *= share
            tensor["data"] = [x for at in range(0, len(data), size) for x in data[at:at + size] * share]
    with open(path, "w") as f:
        json.dump(doc, f, separators=(",", ":"))
        f.write("\n")


def add_old(folder, names):
    from safetensors.torch import load_file, save_file
    import torch
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    tensors.update({n: torch.ones(4) for n in names})
    save_file(tensors, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)


def main():
    data = os.path.abspath(sys.argv[1])
    sys.path.insert(0, data)
    golden, tiny = load(data, "make_golden"), load(data, "make_tiny_models")
    import tokenizers
    cls, config, tokens, sizes, options = tiny.MODELS["modernbert"]
    tiny.MODELS["modernbert-biases"] = (cls, config, tokens, dict(sizes, norm_bias=True, attention_bias=True, mlp_bias=True), options)
    cls, config, tokens, sizes, options = tiny.MODELS["falcon-new"]
    tiny.MODELS["falcon-one-norm"] = (cls, config, tokens, dict(sizes, num_ln_in_parallel_attn=1), {})
    tiny.MODELS["falcon-sequential"] = (cls, config, tokens, dict(sizes, new_decoder_architecture=False, num_kv_heads=None, multi_query=False, parallel_attn=False, bias=True), {})
    tiny.MODELS.update(OWN)
    golden.load = load_as_shown(golden.load)
    tokenizers.Tokenizer.get_vocab_size = lambda self, **_: VOCAB  # make() sizes a model by its tokenizer
    for name in sys.argv[2:] or NAMES:
        for odd in (False, True) if name in TWICE else (False,):
            out = name + "-2" if odd else name
            folder = os.path.join(HERE, "models", out)
            tiny.cases_for = lambda *_: cases_for(name, odd)
            tiny.HERE = data
            made, _ = tiny.make(name, os.path.join(HERE, "models"), 7 * odd) if not odd else second(tiny, name, folder)
            repeat_heads(os.path.join(folder, "golden.json"))
            for unread in ("tokenizer.json", "generation_config.json"):
                if os.path.exists(os.path.join(folder, unread)):
                    os.remove(os.path.join(folder, unread))
            if not odd and name in OLD:
                add_old(folder, OLD[name])
            print(f"{out:20} golden {os.path.getsize(os.path.join(folder, 'golden.json')) // 1024} KiB, float32 is off by {made['off']:.0e}", flush=True)


def second(tiny, name, folder):
    """The other seed, made beside the first and moved."""
    spare = folder + ".new"
    result = tiny.make(name, spare, 7)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(os.path.join(spare, name), folder)
    os.rmdir(spare)
    return result


if __name__ == "__main__":
    main()
