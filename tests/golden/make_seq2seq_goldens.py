#!/usr/bin/env python3
"""Write tests/golden/models/NAME for encoder-decoders: tiny random models in Hugging Face layout, and what transformers makes of them in float64.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
    python make_seq2seq_goldens.py DATA [NAME ...]
    python make_seq2seq_goldens.py DATA attnd-translate FOLDER      (the trained translator in FOLDER: tests/golden/attnd-translate.json)

DATA is the folder of make_tiny_models.py and make_golden.py, which draw the models and compute the values; their heads say how, and what golden.json holds:
encoder_, decoder_ and cross_ of each tensor. The two stacks of a model here differ in all that may differ. Cases come as ids: no tokenizer is kept.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import shutil
import sys
import tempfile

from make_family_goldens import HERE, VOCAB, load

SIZES = dict(d_model=32, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=40, max_position_embeddings=64)
ODD = dict(d_model=30, encoder_layers=3, decoder_layers=1, encoder_attention_heads=3, decoder_attention_heads=5, encoder_ffn_dim=28, decoder_ffn_dim=52, max_position_embeddings=41)
BART = dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)
MARIAN = dict(scale_embedding=True, activation_function="swish", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=1)
T5 = dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4, relative_attention_num_buckets=16, relative_attention_max_distance=24)

# name: (model class, config class, config)
MODELS = {
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "t5-2": ("T5ForConditionalGeneration", "T5Config", dict(T5, d_model=20, d_kv=6, d_ff=28, num_layers=3, num_decoder_layers=1, num_heads=3, relative_attention_num_buckets=13)),
    "t5-gated": ("T5ForConditionalGeneration", "T5Config", dict(T5, d_kv=12, num_decoder_layers=2, feed_forward_proj="gated-gelu", relative_attention_num_buckets=32, relative_attention_max_distance=128, tie_word_embeddings=False)),
    "t5-encoder": ("T5EncoderModel", "T5Config", T5),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", dict(T5, num_layers=1, num_decoder_layers=2, feed_forward_proj="gated-silu", layer_norm_epsilon=1e-5)),
    "bart": ("BartForConditionalGeneration", "BartConfig", dict(SIZES, **BART)),
    "bart-2": ("BartModel", "BartConfig", dict(ODD, **BART, scale_embedding=True, activation_function="gelu_new")),
    "mbart": ("MBartForConditionalGeneration", "MBartConfig", dict(SIZES, **BART, scale_embedding=True, activation_function="relu")),
    "mbart-2": ("MBartModel", "MBartConfig", dict(ODD, **BART)),
    "marian": ("MarianMTModel", "MarianConfig", dict(SIZES, **MARIAN)),
    "marian-2": ("MarianModel", "MarianConfig", dict(ODD, **dict(MARIAN, scale_embedding=False), d_model=15)),
    "marian-apart": ("MarianMTModel", "MarianConfig", dict(ODD, **MARIAN, share_encoder_decoder_embeddings=False, decoder_vocab_size=44, tie_word_embeddings=False)),
}
# drawn as make_tiny_models.py draws
KIN = {"t5": "t5", "mt5": "t5", "bart": "bart", "mbart": "bart", "marian": "marian"}
FEW = ("attentions", "hidden_states")


def cases_for(name, config):
    ids = [(i * 37) % (VOCAB - 4) + 3 for i in range(41)]
    start = config.get("decoder_start_token_id", 0)
    written = [start] + [(i * 17) % 40 + 3 for i in range(40)]
    cases = [{"name": "all", "input_ids": ids[:7], "decoder_input_ids": written[:5]},
             {"name": "padded, with a hole", "input_ids": ids[:6] + [1] * 2, "attention_mask": [1, 1, 0, 1, 1, 1, 0, 0], "decoder_input_ids": written[:3], "only": FEW},
             {"name": "one token each", "input_ids": ids[:1], "decoder_input_ids": written[:1], "only": FEW},
             {"name": "more written than read", "input_ids": ids[:2], "decoder_input_ids": written[:9], "only": FEW}]
    if name in ("t5", "t5-2", "bart-2"):
        cases.append({"name": "long", "input_ids": ids, "decoder_input_ids": written, "only": ("scores",), "layers": [0], "heads": [1]})
    if config.get("is_encoder"):
        cases = [{k: v for k, v in c.items() if k != "decoder_input_ids"} for c in cases[:3]]
    return cases


def cut(path):
    """A case with layers and heads keeps those alone."""
    with open(path) as f:
        doc = json.load(f)
    for case in (c for c in doc["cases"] if "layers" in c):
        for tensor in (v for v in case.values() if isinstance(v, dict) and "shape" in v):
            heads, size = tensor["shape"][1], tensor["shape"][2] * tensor["shape"][3]
            tensor["data"] = [x for l in case["layers"] for h in case["heads"] for x in tensor["data"][(l * heads + h) * size:][:size]]
            tensor["shape"][:2] = [len(case["layers"]), len(case["heads"])]
    with open(path, "w") as f:
        json.dump(doc, f, separators=(",", ":"))
        f.write("\n")


def translate(maker, folder):
    """Its last layers, where words are aligned."""
    from tokenizers import Tokenizer
    tokens = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    ids = lambda text: tokens.encode(text).ids
    said = ">>deu<< The animal didn't cross the street because it was too tired.", "Das Tier \u00fcberquerte die Stra\u00dfe nicht, weil es zu m\u00fcde war."
    end = ids(said[1])[-1]
    assert end == 1, end
    cases = [{"name": "german", "input_ids": ids(said[0]), "decoder_input_ids": [0] + ids(said[1])[:-1], "only": ("attentions",), "layers": [2], "heads": [0, 3, 7]},
             {"name": "start only", "input_ids": ids(said[0])[:4], "decoder_input_ids": [0], "only": ("scores", "query", "key", "value", "context"), "layers": [2], "heads": [5]}]
    with tempfile.TemporaryDirectory() as spare:
        shutil.copytree(folder, spare, dirs_exist_ok=True)
        os.chmod(spare, 0o755)
        maker.golden(spare, cases)
        cut(os.path.join(spare, "golden.json"))
        shutil.move(os.path.join(spare, "golden.json"), os.path.join(HERE, "attnd-translate.json"))


def main():
    data = os.path.abspath(sys.argv[1])
    sys.path.insert(0, data)
    maker = load(data, "make_golden")
    if sys.argv[2:3] == ["attnd-translate"]:
        return translate(maker, sys.argv[3])
    tiny = load(data, "make_tiny_models")
    tiny.HERE = data
    import tokenizers
    tokenizers.Tokenizer.get_vocab_size = lambda self, **_: VOCAB  # make() sizes a model by its tokenizer
    draw = tiny.draw
    tiny.draw = lambda model, name, seed: draw(model, KIN[name.split("-")[0]], seed)
    for number, (name, (cls, config, sizes)) in enumerate(MODELS.items()):
        if name not in (sys.argv[2:] or MODELS):
            continue
        options = {"single": True} if cls.endswith("EncoderModel") else {}
        tiny.MODELS[name] = (cls, config, "small-t5", sizes, options)
        tiny.cases_for = lambda *_: cases_for(name, dict(sizes, is_encoder="single" in options))
        made, _ = tiny.make(name, os.path.join(HERE, "models"), 1000 + number)
        folder = os.path.join(HERE, "models", name)
        cut(os.path.join(folder, "golden.json"))
        for unread in ("tokenizer.json", "generation_config.json"):
            if os.path.exists(os.path.join(folder, unread)):
                os.remove(os.path.join(folder, unread))
        print(f"{name:14} golden {os.path.getsize(os.path.join(folder, 'golden.json')) // 1024} KiB, weights "
              f"{os.path.getsize(os.path.join(folder, 'model.safetensors')) // 1024} KiB, float32 is off by {made['off']:.0e}", flush=True)


if __name__ == "__main__":
    main()
