#!/usr/bin/env python3
"""Trains attnd-bert, the encoder inside the program: a BERT for masked words, from nothing. train_writers.py trains the other models, with what stands here.

    python3 train.py tokenizer OUT --corpus english.txt            a minute or two of CPU
    python3 train.py model OUT --corpus english.txt --seconds 1320  one GPU
    python3 train.py check OUT                                      loads OUT with transformers and shows what it predicts

english.txt has a paragraph a line and a blank line between documents; attnd-bert/english.manifest.tsv lists what it was made of. OUT becomes a directory in
Hugging Face layout: config.json, model.safetensors (float16), tokenizer.json, tokenizer_config.json, and training.json with what was measured on held-out text.

The network is written out below rather than taken from transformers, so that it compiles to one graph; export() writes its weights under the names that
transformers uses. Training takes its time from the clock and is not deterministic: another run gives another model of the same kind.

Made with torch 2.11 (CUDA 13), tokenizers 0.23, safetensors 0.8; checked with transformers 5.23 and torch 2.13.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import math
import os
import random
import re
import time

import numpy as np

VOCAB, POSITIONS = 8192, 512
LAYERS, DIM, HEADS, FFN = 6, 256, 8, 1024
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


# ---------------------------------------------------------------- the tokenizer

def lines(corpus, limit=60_000_000):
    """The first `limit` characters of the corpus, by line: a vocabulary needs no more."""
    read = 0
    with open(corpus, encoding="utf-8") as f:
        for line in f:
            read += len(line)
            if read > limit:
                return
            yield line


def train_tokenizer(corpus, out):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(lines(corpus), trainers.WordPieceTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, limit_alphabet=160, min_frequency=3))
    cls, sep = tok.token_to_id("[CLS]"), tok.token_to_id("[SEP]")
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    save_tokenizer(tok, out, {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                              "cls_token": "[CLS]", "mask_token": "[MASK]"})


def save_tokenizer(tok, out, config):
    os.makedirs(out, exist_ok=True)
    tok.save(os.path.join(out, "tokenizer.json"))
    with open(os.path.join(out, "tokenizer_config.json"), "w") as f:
        json.dump(dict(config, model_max_length=POSITIONS), f, indent=1)
    print(out, "vocabulary", tok.get_vocab_size())


# ---------------------------------------------------------------- data

SENTENCE = re.compile(r"(?<=[.!?][\"'”’)\]])\s+(?=[A-Z\"'“‘(])|(?<=[.!?])\s+(?=[A-Z\"'“‘(])")


def load_english(corpus, tok):
    """Token ids of the corpus as one int32 array, and a bool array that is true where a sentence begins."""
    ids, begins, batch = [], [], []

    def flush():
        for enc in tok.encode_batch_fast(batch, add_special_tokens=False):
            a = np.asarray(enc.ids, dtype=np.int32)
            if len(a):
                b = np.zeros(len(a), dtype=bool)
                b[0] = True
                ids.append(a)
                begins.append(b)
        batch.clear()

    with open(corpus, encoding="utf-8") as f:
        for line in f:
            batch.extend(s for s in SENTENCE.split(line.strip()) if s)
            if len(batch) > 20_000:
                flush()
    flush()
    return np.concatenate(ids), np.concatenate(begins)


class Batches:
    """Masked-language-model batches made on the device: [CLS] A [SEP], or [CLS] A [SEP] B [SEP] for half of the long ones."""

    def __init__(self, ids, begins, special, device, rate=0.2):
        import torch
        self.t, self.rate, self.device = torch, rate, device
        self.ids = torch.from_numpy(ids).to(device)
        self.begins = torch.from_numpy(begins).to(device)
        self.starts = torch.nonzero(self.begins).flatten()
        self.pad, self.cls, self.sep, self.mask = (special[k] for k in ("[PAD]", "[CLS]", "[SEP]", "[MASK]"))

    def draw(self, n, length, kind, generator=None):
        """kind: 'sentence' (one sentence, padded) | 'span' (sentences until full) | 'pair' (a span split in two segments)."""
        t, L = self.t, length
        pick = t.randint(0, len(self.starts) - 1, (n,), device=self.device, generator=generator)
        first = self.starts[pick].clamp(max=len(self.ids) - L - 1)
        j = t.arange(L, device=self.device)
        body = self.ids[first[:, None] + j]
        begin = self.begins[first[:, None] + j]
        types = t.zeros(n, L, dtype=t.long, device=self.device)
        if kind == "sentence":
            size = (self.starts[pick + 1] - first).clamp(1, L - 2)
            out = t.full((n, L), self.pad, device=self.device, dtype=t.int32)
            out[:, 1:] = t.where(j[None, :-1] < size[:, None], body[:, :-1], out[:, 1:])
            out[:, 0] = self.cls
            out.scatter_(1, (size + 1)[:, None], self.sep)
            real = j[None] < (size + 2)[:, None]
        elif kind == "span":
            out = body.roll(1, 1)
            out[:, 0], out[:, -1] = self.cls, self.sep
            real = t.ones(n, L, dtype=t.bool, device=self.device)
        else:
            low = t.randint(2, L - 8, (n, 1), device=self.device, generator=generator)
            far = t.where(begin & (j[None] >= low), j[None], L - 4).amin(1)      # tokens in segment A
            k = far[:, None]
            src = t.where(j[None] <= k, j[None] - 1, j[None] - 2).clamp(min=0)
            out = body.gather(1, src.expand(n, L).long())
            out = t.where(j[None] == k + 1, self.sep, out)
            out[:, 0], out[:, -1] = self.cls, self.sep
            types = (j[None] > k + 1).long().expand(n, L)
            real = t.ones(n, L, dtype=t.bool, device=self.device)
        out = out.long()
        return (*self.corrupt(out, real, generator), types, real)

    def corrupt(self, out, real, generator):
        """Chooses a fixed number of positions a row; 80 % become [MASK], 10 % a random id, 10 % stay."""
        t = self.t
        n, L = out.shape
        k = max(1, round(self.rate * L))
        plain = real & (out != self.cls) & (out != self.sep)
        score = t.rand(n, L, device=self.device, generator=generator).masked_fill(~plain, -1.0)
        value, where = score.topk(k, dim=1)
        wanted = (plain.sum(1, keepdim=True) * self.rate).round().clamp(min=1)
        weight = ((t.arange(k, device=self.device)[None] < wanted) & (value >= 0)).float()
        label = out.gather(1, where)
        dice = t.rand(n, k, device=self.device, generator=generator)
        other = t.randint(len(SPECIAL), VOCAB, (n, k), device=self.device, generator=generator)
        new = t.where(dice < 0.8, t.full_like(label, self.mask), t.where(dice < 0.9, other, label))
        new = t.where(weight > 0, new, label)
        return out.scatter(1, where, new), where, label, weight


# ---------------------------------------------------------------- the network

def make_network():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Attention(nn.Module):
        """x [B, T, D] -> [B, T, D]; mask [B, 1, 1, T] is true for keys that count."""

        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM) for _ in range(4))

        def forward(self, x, mask):
            q, k, v = (p(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
            return self.o(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn, self.norm1 = Attention(), nn.LayerNorm(DIM, 1e-12)
            self.up, self.down, self.norm2 = nn.Linear(DIM, FFN), nn.Linear(FFN, DIM), nn.LayerNorm(DIM, 1e-12)

        def forward(self, x, mask):
            x = self.norm1(x + self.attn(x, mask))
            return self.norm2(x + self.down(F.gelu(self.up(x))))

    class Bert(nn.Module):
        """Logits [B, K, VOCAB] of the K places `where` in each row."""

        def __init__(self):
            super().__init__()
            self.word, self.pos, self.segment = nn.Embedding(VOCAB, DIM), nn.Embedding(POSITIONS, DIM), nn.Embedding(2, DIM)
            self.norm = nn.LayerNorm(DIM, 1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
            self.head, self.head_norm, self.bias = nn.Linear(DIM, DIM), nn.LayerNorm(DIM, 1e-12), nn.Parameter(torch.zeros(VOCAB))

        def forward(self, ids, where, types, real):
            x = self.norm(self.word(ids) + self.pos.weight[:ids.shape[1]] + self.segment(types))
            mask = real[:, None, None, :]
            for layer in self.layers:
                x = layer(x, mask)
            x = x.gather(1, where[..., None].expand(-1, -1, DIM))
            return F.linear(self.head_norm(F.gelu(self.head(x))), self.word.weight, self.bias)

    model = Bert()
    for name, p in model.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02)
        elif "norm" not in name:
            nn.init.zeros_(p)
    return model


# ---------------------------------------------------------------- training

def batch_drawer(data, tokens):
    """Batches of `tokens` tokens: single sentences, spans, pairs of segments, and some as long as the model can take."""
    def draw():
        kind = random.choices(["sentence", "span", "pair", "long"], [0.35, 0.3, 0.25, 0.10])[0]
        if kind == "sentence":
            n, length = tokens // 64, 64
        elif kind == "long":
            n, length, kind = tokens // 512, 512, random.choice(["span", "pair"])
        else:
            n, length = tokens // 128, 128
        ids, where, label, weight, types, real = data.draw(n, length, kind)
        return (ids, where, types, real), label, weight
    return draw


def measure(model, data, device):
    """Loss and share of masked words found, on held-out text."""
    import torch
    generator = torch.Generator(device).manual_seed(7)
    result = {}
    for kind, n, length in (("sentence", 1024, 64), ("span", 512, 128), ("span", 128, 512)):
        ids, where, label, weight, types, real = data.draw(n, length, kind, generator)
        logits = model(ids, where, types, real).float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none").view_as(weight)
        hit = (logits.argmax(-1) == label).float()
        result[f"{kind}{length}"] = {"loss": round(((loss * weight).sum() / weight.sum()).item(), 4),
                                     "accuracy": round(((hit * weight).sum() / weight.sum()).item(), 4)}
    return result


def fit(model, draw, device, a, smoothing=0.0):
    """Trains for a.seconds by the clock on what draw() gives: the model's inputs, labels, weights of the labels. Says how it went."""
    import torch
    from torch.nn import functional as F

    decay = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    adam = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                             lr=torch.tensor(0.0, device=device), betas=(0.9, 0.98), eps=1e-6, fused=device == "cuda")

    def rate(done, step):           # by the clock: warm up over 1000 steps, then a cosine to a hundredth
        return a.rate * min(1, (step + 1) / 1000) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, done))))

    def loss_of(inputs, label, weight):
        loss = F.cross_entropy(model(*inputs).flatten(0, 1).float(), label.flatten(), reduction="none", label_smoothing=smoothing)
        return (loss * weight.flatten()).sum() / weight.sum()

    run = loss_of if a.eager else torch.compile(loss_of, dynamic=False)

    def step_once(lr):
        for group in adam.param_groups:
            group["lr"].fill_(lr)
        inputs, label, weight = draw()
        with torch.autocast(device, torch.bfloat16):
            loss = run(inputs, label, weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss, inputs[0].numel()

    for _ in range(0 if a.eager else 40):       # every shape is compiled before the clock starts; a rate of 0 leaves the weights as they are
        step_once(0.0)
    began, step, seen, shown, history = time.time(), 0, 0, 0.0, []
    while (spent := time.time() - began) < a.seconds:
        loss, count = step_once(rate(spent / a.seconds, step))
        step, seen = step + 1, seen + count
        if step % 50 == 0:
            value = loss.item()                 # waits for the device, so that the clock is honest
            if spent - shown > 20:
                shown = spent
                history.append([round(spent), step, seen, round(value, 4)])
                print(f"{spent:5.0f} s step {step} tokens {seen / 1e6:.0f} M ({seen / spent / 1e6:.2f} M/s) loss {value:.3f}", flush=True)
    model.eval()
    return {"steps": step, "tokens": seen, "seconds": round(time.time() - began), "history": history}


def begin_training(out):
    """(device, tokenizer), and everything drawn by chance from the same seed."""
    import torch
    from tokenizers import Tokenizer
    torch.manual_seed(1)
    random.seed(1)
    torch.set_float32_matmul_precision("high")
    return "cuda" if torch.cuda.is_available() else "cpu", Tokenizer.from_file(os.path.join(out, "tokenizer.json"))


def train(a):
    import torch

    device, tok = begin_training(a.out)
    special = {t: tok.token_to_id(t) for t in SPECIAL}
    ids, begins = load_english(a.corpus, tok)
    cut = int(len(ids) * 0.99)      # the last hundredth is held out
    model = make_network().to(device)
    draw = batch_drawer(Batches(ids[:cut], begins[:cut], special, device), a.tokens)
    facts = {"train_tokens": cut, "held_out_tokens": len(ids) - cut, "parameters": sum(p.numel() for p in model.parameters())}
    facts.update(fit(model, draw, device, a))
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        facts["held_out"] = measure(model, Batches(ids[cut:], begins[cut:], special, device), device)
    print(facts["held_out"], flush=True)
    export(model, a.out, facts)


# ---------------------------------------------------------------- export

def save_model(out, w, config, facts):
    """The folder: weights in float16, configuration, what was measured."""
    import torch
    from safetensors.torch import save_file
    weights = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in w.items()}
    save_file(weights, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    for name, data in (("config.json", config), ("training.json", facts)):
        with open(os.path.join(out, name), "w") as f:
            json.dump(data, f, indent=1)


def export(model, out, facts):
    """The weights under the names of transformers' BertForMaskedLM."""
    w = {}

    def put(name, module):
        w[name + ".weight"], w[name + ".bias"] = module.weight, module.bias

    e = "bert.embeddings."
    w[e + "word_embeddings.weight"], w[e + "position_embeddings.weight"] = model.word.weight, model.pos.weight
    w[e + "token_type_embeddings.weight"] = model.segment.weight
    put(e + "LayerNorm", model.norm)
    for i, layer in enumerate(model.layers):
        p = f"bert.encoder.layer.{i}."
        put(p + "attention.self.query", layer.attn.q)
        put(p + "attention.self.key", layer.attn.k)
        put(p + "attention.self.value", layer.attn.v)
        put(p + "attention.output.dense", layer.attn.o)
        put(p + "attention.output.LayerNorm", layer.norm1)
        put(p + "intermediate.dense", layer.up)
        put(p + "output.dense", layer.down)
        put(p + "output.LayerNorm", layer.norm2)
    put("cls.predictions.transform.dense", model.head)
    put("cls.predictions.transform.LayerNorm", model.head_norm)
    w["cls.predictions.bias"] = model.bias
    config = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": VOCAB, "hidden_size": DIM, "num_hidden_layers": LAYERS,
              "num_attention_heads": HEADS, "intermediate_size": FFN, "hidden_act": "gelu", "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
              "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "tie_word_embeddings": True,
              "torch_dtype": "float16"}
    save_model(out, w, config, facts)


def check(out):
    """Loads what was exported with transformers and prints its six best words for each [MASK]."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForMaskedLM
    tok = Tokenizer.from_file(os.path.join(out, "tokenizer.json"))
    model = AutoModelForMaskedLM.from_pretrained(out, dtype=torch.float32).eval()
    for text in ("The cat sat on the [MASK].", "The river flows into the [MASK].", "He went to the bank to borrow some [MASK].",
                 "The animal didn't cross the street because [MASK] was too tired.", "Plants use light to make [MASK]."):
        ids = tok.encode(text).ids
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, ids.index(tok.token_to_id("[MASK]"))]
        print(text, [tok.id_to_token(i) for i in logits.topk(6).indices.tolist()])


def arguments(description, whats=("tokenizer", "model", "check"), **more):
    """The command line of this file and of train_writers.py; more: positional arguments with their choices."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, choices in more.items():
        p.add_argument(name, choices=choices)
    p.add_argument("what", choices=whats)
    p.add_argument("out", help="the model's directory")
    p.add_argument("--corpus", help="the text to learn from")
    p.add_argument("--seconds", type=float, default=1320)
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    p.add_argument("--tokens", type=int, default=131072, help="tokens in a step")
    p.add_argument("--eager", action="store_true", help="do not compile")
    a = p.parse_args()
    if a.what != "check" and not a.corpus:
        p.error("--corpus is needed")
    return a


def main():
    a = arguments(__doc__)
    if a.what == "tokenizer":
        train_tokenizer(a.corpus, a.out)
    elif a.what == "check":
        check(a.out)
    else:
        train(a)


if __name__ == "__main__":
    main()
