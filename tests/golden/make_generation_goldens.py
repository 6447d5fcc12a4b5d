#!/usr/bin/env python3
"""Write tests/golden/generation/*.json: what transformers writes on, greedily, and the maps over all of it.

    pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6
    python make_generation_goldens.py [attnd-gpt] [attnd-translate] [stories260k] [bart-g2p] [models]     (default: all)

  attnd-gpt.json, attnd-translate.json   20 texts each for the models inside the program (core/builtin), and the maps of the first ones
  stories260k.json                       the story that its author published (llama2.c, temperature 0), its ids, and a shorter one; the model is shared data
  bart-g2p.json                          the 25 pronunciations published for bart-g2p-us; shared data as well
  models.json                            8 tokens on from 5 ids, for every model of tests/golden/models that writes

Ids are those of generate(do_sample=False, num_beams=1) on a CPU in float32, with whatever the model's own files say but for forced_eos_token_id: an end that is
forced at the last place is no choice of the model's. Each case has
  text or input_ids       the prompt; its ids stand in input_ids in any case
  max_new_tokens
  generated_ids           what was written, an end token included
  generated_text          decode(prompt and generated_ids, skip_special_tokens) without the prompt's own decoding at its front; where there is a tokenizer
  margins                 at each step the best logit less the second best, rounded down: none is below 1e-3, so the noise of float32 decides nothing
and an encoder-decoder's generated_ids do not count the token that its decoder starts with, which is decoder_start_token_id.

`maps` of a case are those of one pass over prompt and generated_ids in float64 (for encoder-decoders: the decoder's start and generated_ids), by name of the
contract: `heads` are whole maps of the layers and heads listed, `mean_key` of every map [layer, head, query] the mean of the keys' numbers, weighted by the
map's row, so that no head goes unseen. ATTND_SHARED is the folder of the shared data (default ../shared beside the repository).
SPDX-License-Identifier: Apache-2.0
"""
import json
import math
import os
import sys

import torch
import transformers
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
SHARED = os.environ.get("ATTND_SHARED", os.path.join(ROOT, "..", "shared"))
OUT = os.path.join(HERE, "generation")
MARGIN = 1e-3
DECIMALS = 6

GPT = [
    "Once upon a time", "The", "The cell membrane", "The king was angry because", "Who was the first president of the United States?", "Why is the sky blue?",
    "Zürich, naïve café, 世界 😀:", "\n\n", "a", " \t x  =  [1, 2, 3]  #", "1, 2, 3, 4, 5, 6,", "\"I do not know,\" said Alice. \"But", "THE END",
    "She opened the door and saw", "In 1492,", "nul\u0000 in the middle", "NURSE'S SONG\n", "for the immediate adoption of more energetic\n",
    " draughts of", "Enter the valiant Hamlet",
    "Lily and Tom went to the park. They saw a big red ball. Tom said, \"Let us play with the ball.\" Lily said, \"Yes, I like to play.\" They ran and ran. " * 8,
]
GERMAN = [
    "The animal didn't cross the street because it was too tired.", "I am hungry.", "Where is the train station?", "The agreement was signed in August.",
    "I have never seen such a beautiful house before.", "Yes.", "Tom and Mary are playing chess in the garden.", "How much does this cost?", "My brother is older than me.",
    "It is raining, so we will stay at home.", "Please close the window.", "She speaks three languages.", "What time is it?",
]
FRENCH = [
    "The animal didn't cross the street because it was too tired.", "I am hungry.", "Where is the train station?", "The house is red.",
    "I have never seen such a beautiful house before.", "No!", "Tom and Mary are playing chess in the garden.", "He bought a new car yesterday.", "My brother is older than me.",
    "If it rains tomorrow, we will not go to the beach.", "I don't know what to say.", "Can you help me?", "We are students.",
]
WORDS = 25


def load(folder, dtype=torch.float32):
    """The model that config.json names, and its tokenizer or None."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model, info = getattr(transformers, config.architectures[0]).from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"], (folder, info)
    path = os.path.join(folder, "tokenizer.json")
    tok = Tokenizer.from_file(path) if os.path.exists(path) else None
    if tok:
        tok.no_truncation(), tok.no_padding()
    return model.to(dtype).eval(), tok


def start_of(config):
    """What a decoder reads first. Files that do not say it mean one of the others."""
    return next(i for i in (getattr(config, key, None) for key in ("decoder_start_token_id", "bos_token_id", "pad_token_id")) if i is not None)


def write_on(model, ids, count):
    """(ids written, the margin at each step)"""
    given = torch.tensor([ids])
    with torch.inference_mode():
        # Without its cache where there is an encoder: where that is less deep than the decoder, the cache of transformers 5.23 is too.
        more = {"decoder_start_token_id": start_of(model.config)} if model.config.is_encoder_decoder else {}
        got = model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, num_beams=1, max_new_tokens=count, forced_eos_token_id=None,
                             use_cache=not more, return_dict_in_generate=True, output_scores=True, **more)
    new = got.sequences[0].tolist()[1 if model.config.is_encoder_decoder else len(ids):]
    best = [scores[0].topk(2).values.tolist() for scores in got.scores]
    assert len(best) == len(new)
    return new, [math.floor(1e4 * min(a - b, 99)) / 1e4 for a, b in best]


def case_of(model, tok, prompt, count):
    ids = tok.encode(prompt).ids if isinstance(prompt, str) else prompt
    new, margins = write_on(model, ids, count)
    case = {"text": prompt} if isinstance(prompt, str) else {}
    case.update(input_ids=ids, max_new_tokens=count, generated_ids=new, margins=margins)
    if tok and model.config.is_encoder_decoder:
        case["generated_text"] = tok.decode(new, skip_special_tokens=True)
    elif tok:
        front, whole = tok.decode(ids, skip_special_tokens=True), tok.decode(ids + new, skip_special_tokens=True)
        assert whole.startswith(front), (front, whole)
        case["generated_text"] = whole[len(front):]
    return case


def sure(cases):
    """Those in which the noise of float32 decides nothing."""
    return [c for c in cases if min(c["margins"]) >= MARGIN]


def tensor(x):
    return {"shape": list(x.shape), "data": [round(v, DECIMALS) for v in x.reshape(-1).tolist()]}


def add_maps(folder, case, layers, heads):
    model, _ = load(folder, torch.float64)
    both, new = model.config.is_encoder_decoder, case["generated_ids"]
    feed = {"input_ids": case["input_ids"] + ([] if both else new)}
    if both:
        feed["decoder_input_ids"] = [start_of(model.config)] + new
    with torch.inference_mode():
        out = model(**{k: torch.tensor([v]) for k, v in feed.items()}, use_cache=False, output_attentions=True)
    case["maps"] = {}
    for name in ("encoder_attentions", "decoder_attentions", "cross_attentions") if both else ("attentions",):
        maps = torch.stack([m[0] for m in getattr(out, name)])
        assert maps.dtype == torch.float64 and (maps.sum(-1) - 1).abs().max() < 1e-12
        numbers = torch.arange(maps.shape[-1], dtype=torch.float64)
        case["maps"][name] = {"layers": layers, "heads": heads, "data": tensor(maps[layers][:, heads]), "mean_key": tensor(maps @ numbers)}


def write(name, doc):
    head = {"library": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, eager attention, float32; maps float64"}
    path = os.path.join(OUT, name + ".json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(dict(head, **doc), f, separators=(",", ":"), ensure_ascii=False)
        f.write("\n")
    cases = [c for m in doc.get("models", [doc]) for c in m["cases"]]
    print(f"{name:16} {len(cases)} cases, least margin {min(min(c['margins']) for c in cases)}, {os.path.getsize(path) / 1024:.1f} KiB")


def gpt():
    folder = os.path.join(ROOT, "core/builtin/attnd-gpt")
    model, tok = load(folder)
    cases = sure(case_of(model, tok, text, 40) for text in GPT)
    ended = [len(c["generated_ids"]) for c in cases if c["generated_ids"][-1] == model.config.eos_token_id]
    assert len(cases) == len(GPT) and 1 in ended and max(ended) > 1     # the end token first, and behind others
    for text, count in (("Once upon a time", 12), ("The king was angry because", 8)):
        cases.append(case_of(model, tok, text, count))
        add_maps(folder, cases[-1], [0, 5], [1, 6])
    write("attnd-gpt", {"model": "attnd-gpt", "class": type(model).__name__, "cases": cases})


def translate():
    folder = os.path.join(ROOT, "core/builtin/attnd-translate")
    model, tok = load(folder)
    cases = []
    for language, sentences in ((">>deu<<", GERMAN), (">>fra<<", FRENCH)):
        cases += sure(case_of(model, tok, f"{language} {text}", 40) for text in sentences)[:10]
    assert len(cases) == 20 and all(c["generated_ids"][-1] == model.config.eos_token_id for c in cases)
    assert all(model.config.pad_token_id not in c["generated_ids"] for c in cases)
    for case in (cases[0], cases[10]):
        add_maps(folder, case, [2], [0, 5])
    write("attnd-translate", {"model": "attnd-translate", "class": type(model).__name__, "cases": cases})


def story():
    folder = os.path.join(SHARED, "data/models/stories260k")
    model, tok = load(folder)
    with open(os.path.join(folder, "original/stories260K.md"), encoding="utf-8") as f:
        published = f.read().split("-t 0.0\n")[1].split("\n```")[0]
    case = case_of(model, tok, [model.config.bos_token_id], 256)
    assert published.startswith(case["generated_text"].lstrip()[:200])
    print("published text and ours agree over", len(os.path.commonprefix([published, case["generated_text"].lstrip()])), "of", len(published), "characters")
    case["published_text"] = published
    short = case_of(model, tok, "Lily saw a big red ball.", 24)
    write("stories260k", {"model": "stories260k", "class": type(model).__name__, "cases": [case, short]})


def pronunciations():
    folder = os.path.join(SHARED, "data/models/bart-g2p-us")
    model, tok = load(folder)
    with open(os.path.join(folder, "published/bart-reference.tsv"), encoding="utf-8") as f:
        words = [line.rstrip("\n").split("\t") for line in f]
    phonemes, cases = model.config.phoneme_chars, []
    for word, published in words:
        case = case_of(model, tok, word, 40)
        del case["generated_text"]      # tokenizer.json is the encoder's alphabet
        case["published"] = published
        assert "".join(phonemes[i] for i in case["generated_ids"] if i > 3) == published, case
        cases.append(case)
    assert len(cases) == WORDS == len(sure(cases))
    write("bart-g2p", {"model": "bart-g2p-us", "class": type(model).__name__, "cases": cases})


def prompts(vocabulary):
    """5 ids each, without the first few, which are special."""
    for seed in range(40):
        yield [(seed * 13 + i * 29 + i * i * seed) % (vocabulary - 8) + 8 for i in range(5)]


def writes(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        return (json.load(f).get("architectures") or [""])[0].endswith(("CausalLM", "LMHeadModel", "ConditionalGeneration", "MTModel"))


def models():
    found = []
    for name in sorted(os.listdir(os.path.join(HERE, "models"))):
        folder = os.path.join(HERE, "models", name)
        if not os.path.isdir(folder) or not writes(folder):
            continue
        model, _ = load(folder)
        tried = sure(case_of(model, None, ids, 8) for ids in prompts(model.config.vocab_size))
        assert tried, name + ": no prompt is decided clearly"
        case = max(tried, key=lambda c: len(set(c["generated_ids"])))   # many random models repeat themselves
        found.append({"model": name, "class": type(model).__name__, "cases": [case]})
    write("models", {"models": found})


def main():
    makers = {"attnd-gpt": gpt, "attnd-translate": translate, "stories260k": story, "bart-g2p": pronunciations, "models": models}
    os.makedirs(OUT, exist_ok=True)
    transformers.logging.set_verbosity_error()
    for name in sys.argv[1:] or makers:
        makers[name]()


if __name__ == "__main__":
    main()
