#!/usr/bin/env python3
"""A model of Llama's kind with random weights, about 100 million of them as float16: what the bench of generation runs on.

    python tests/bench/make_llama.py FOLDER          python of an environment with requirements.txt; 200 MB

Its 32,000 ids have no tokenizer: the bench sends ids. Speed does not depend on what the weights are, as long as no number is denormal or overflows.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import sys

import numpy
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "num_key_value_heads": 4, "intermediate_size": 2048, "hidden_act": "silu", "max_position_embeddings": 4096, "vocab_size": 32000, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float16",
}


def tensors():
    D, F, head = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["hidden_size"] // CONFIG["num_attention_heads"]
    K = CONFIG["num_key_value_heads"] * head
    rng = numpy.random.default_rng(7)

    def normal(*shape):
        return (rng.standard_normal(shape, numpy.float32) * numpy.float32(0.02)).astype(numpy.float16)

    def gain():
        return numpy.ones(D, numpy.float16)

    out = {"model.embed_tokens.weight": normal(CONFIG["vocab_size"], D), "model.norm.weight": gain()}
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        out |= {f"{at}.self_attn.{part}_proj.weight": normal(D if part in "qo" else K, D) for part in "qkvo"}
        out |= {f"{at}.mlp.gate_proj.weight": normal(F, D), f"{at}.mlp.up_proj.weight": normal(F, D), f"{at}.mlp.down_proj.weight": normal(D, F)}
        out |= {f"{at}.input_layernorm.weight": gain(), f"{at}.post_attention_layernorm.weight": gain()}
    return out


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f, indent=1)
    save_file(tensors(), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
