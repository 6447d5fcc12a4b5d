#!/usr/bin/env python3
"""Trains the models inside the program that write: attnd-gpt (a GPT-2 of English) and attnd-translate (a Marian, English to German or French), from nothing.

    python3 train_writers.py gpt tokenizer OUT --corpus english.txt                 a minute or two of CPU
    python3 train_writers.py gpt model OUT --corpus english.txt --seconds 680       one GPU
    python3 train_writers.py translate tokenizer OUT --corpus parallel.tsv
    python3 train_writers.py translate model OUT --corpus parallel.tsv --seconds 460
    python3 train_writers.py gpt|translate check OUT                                loads OUT with transformers and shows what it writes

english.txt is that of train.py; parallel.tsv has ">>deu<< source TAB target" or ">>fra<< source TAB target" a line (attnd-translate/parallel.manifest.tsv lists where
from). What is said there of OUT, of networks written out and of training by the clock holds here.

Made with torch 2.11 (CUDA 13), tokenizers 0.23, safetensors 0.8; checked with transformers 5.23 and torch 2.13.
SPDX-License-Identifier: Apache-2.0
"""
import math
import os
import random

import numpy as np

from train import DIM, FFN, HEADS, POSITIONS, VOCAB, arguments, begin_training, fit, lines, save_model, save_tokenizer

GPT_LAYERS, HALF_LAYERS = 6, 3
END = "<|endoftext|>"
LANGUAGES = [">>deu<<", ">>fra<<"]      # the first token of a source says which language is wanted
LENGTH = 64                             # of a sentence, at most
HELD_OUT = 2000                         # pairs


# ---------------------------------------------------------------- tokenizers

def train_gpt_tokenizer(a):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.train_from_iterator(lines(a.corpus), trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=3))
    save_tokenizer(tok, a.out, {"tokenizer_class": "GPT2TokenizerFast", "unk_token": END, "bos_token": END, "eos_token": END})


def train_pair_tokenizer(a):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    def sides():
        for source, target in load_pairs(a.corpus):
            yield source.split(" ", 1)[1]
            yield target

    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")])
    tok.decoder = decoders.Metaspace()
    tok.train_from_iterator(sides(), trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<pad>", "</s>", "<unk>", *LANGUAGES], min_frequency=3))
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", tok.token_to_id("</s>"))])
    save_tokenizer(tok, a.out, {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"})


# ---------------------------------------------------------------- networks

def make_network(translates):
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Attention(nn.Module):
        """x [B, T, D] looks at memory [B, S, D] -> [B, T, D]."""

        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(DIM, DIM) for _ in range(4))

        def forward(self, x, memory, mask, causal):
            q, k, v = (p(s).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p, s in ((self.q, x), (self.k, memory), (self.v, memory)))
            return self.o(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal).transpose(1, 2).flatten(2))

    class Layer(nn.Module):
        def __init__(self, act, pre_norm, cross, dropout):
            super().__init__()
            self.attn, self.norm1 = Attention(), nn.LayerNorm(DIM)
            if cross:
                self.cross, self.norm2 = Attention(), nn.LayerNorm(DIM)
            self.up, self.down, self.norm3 = nn.Linear(DIM, FFN), nn.Linear(FFN, DIM), nn.LayerNorm(DIM)
            self.act, self.pre, self.p = act, pre_norm, dropout

        def wrap(self, x, norm, f):
            y = F.dropout(f(norm(x) if self.pre else x), self.p, self.training)
            return x + y if self.pre else norm(x + y)

        def forward(self, x, mask=None, causal=False, memory=None, memory_mask=None):
            x = self.wrap(x, self.norm1, lambda h: self.attn(h, h, mask, causal))
            if memory is not None:
                x = self.wrap(x, self.norm2, lambda h: self.cross(h, memory, memory_mask, False))
            return self.wrap(x, self.norm3, lambda h: self.down(self.act(self.up(h))))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.word, self.pos, self.norm = nn.Embedding(VOCAB, DIM), nn.Embedding(POSITIONS, DIM), nn.LayerNorm(DIM)
            self.layers = nn.ModuleList(Layer(lambda x: F.gelu(x, approximate="tanh"), True, False, 0.1) for _ in range(GPT_LAYERS))

        def forward(self, ids):
            x = F.dropout(self.word(ids) + self.pos.weight[:ids.shape[1]], 0.1, self.training)
            for layer in self.layers:
                x = layer(x, causal=True)
            return F.linear(self.norm(x), self.word.weight)

    class Marian(nn.Module):
        def __init__(self):
            super().__init__()
            self.word, self.bias = nn.Embedding(VOCAB, DIM), nn.Parameter(torch.zeros(VOCAB))
            angle = torch.arange(POSITIONS)[:, None] / 10000 ** (torch.arange(DIM // 2)[None] * 2 / DIM)
            self.register_buffer("pos", torch.cat([angle.sin(), angle.cos()], 1), persistent=False)
            self.encoder, self.decoder = (nn.ModuleList(Layer(F.silu, False, cross, 0.15) for _ in range(HALF_LAYERS)) for cross in (False, True))

        def embed(self, ids):
            return F.dropout(self.word(ids) * math.sqrt(DIM) + self.pos[:ids.shape[1]], 0.1, self.training)

        def forward(self, source, target):
            mask = (source != 0)[:, None, None, :]
            memory = self.embed(source)
            for layer in self.encoder:
                memory = layer(memory, mask)
            x = self.embed(target)
            for layer in self.decoder:
                x = layer(x, causal=True, memory=memory, memory_mask=mask)
            return F.linear(x, self.word.weight, self.bias)

    model = Marian() if translates else Gpt()
    for name, p in model.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=DIM ** -0.5 if translates else 0.02)
        elif "norm" not in name:
            nn.init.zeros_(p)
    return model


# ---------------------------------------------------------------- attnd-gpt

def load_documents(corpus, tok):
    """Token ids as one array, END between documents; and where paragraphs begin."""
    ids, begins, end = [], [], tok.token_to_id(END)
    size, batch = 0, []

    def flush():
        nonlocal size
        for enc in tok.encode_batch_fast(batch, add_special_tokens=False):
            begins.append(size)
            ids.append(np.asarray(enc.ids, dtype=np.int32))
            size += len(enc.ids)
        batch.clear()

    with open(corpus, encoding="utf-8") as f:
        for line in map(str.strip, f):
            if line:
                batch.append(line + "\n")
            if not line or len(batch) > 20_000:
                flush()
            if not line:
                begins.append(size)
                ids.append(np.asarray([end], dtype=np.int32))
                size += 1
    flush()
    return np.concatenate(ids), np.asarray(begins)


def train_gpt(a):
    import torch
    from torch.nn import functional as F

    device, tok = begin_training(a.out)
    ids, begins = load_documents(a.corpus, tok)
    cut = int(len(ids) * 0.99)      # the last hundredth is held out
    data, test = (torch.from_numpy(part).to(device) for part in (ids[:cut], ids[cut:]))
    starts = torch.from_numpy(begins[begins < cut]).to(device)
    model = make_network(False).to(device)

    def draw():
        length = 512 if random.random() < 0.3 else 128
        first = starts[torch.randint(0, len(starts), (a.tokens // length,), device=device)].clamp(max=len(data) - length - 2)
        rows = data[first[:, None] + torch.arange(length + 1, device=device)].long()
        return (rows[:, :-1].contiguous(),), rows[:, 1:].contiguous(), torch.ones(rows.shape[0], length, device=device)

    facts = {"train_tokens": cut, "held_out_tokens": len(ids) - cut, "parameters": sum(p.numel() for p in model.parameters())}
    facts.update(fit(model, draw, device, a))
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        rows = torch.stack([test[i * 512:i * 512 + 513] for i in range(min(256, (len(test) - 1) // 512))]).long()
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1).float(), rows[:, 1:].flatten()).item()
    facts["held_out"] = {"loss": round(loss, 4), "perplexity": round(math.exp(loss), 2)}
    print(facts["held_out"], flush=True)
    export_gpt(model, a.out, facts)


# ---------------------------------------------------------------- attnd-translate

def load_pairs(corpus):
    with open(corpus, encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t")[:2] for line in f]


def encode_pairs(corpus, tok):
    """Sources and targets as [pairs, LENGTH] ids, 0 behind their ends, mixed; pairs with a longer side are left out."""
    pairs, sides = load_pairs(corpus), []
    random.Random(3).shuffle(pairs)
    for k in (0, 1):
        rows, keep = np.zeros((len(pairs), LENGTH), dtype=np.int32), np.ones(len(pairs), dtype=bool)
        for i, enc in enumerate(tok.encode_batch([p[k] for p in pairs])):
            keep[i] = len(enc.ids) <= LENGTH
            rows[i, :min(LENGTH, len(enc.ids))] = enc.ids[:LENGTH]
        sides.append((rows, keep))
    keep = sides[0][1] & sides[1][1]
    return [rows[keep] for rows, _ in sides]


def train_translate(a):
    import torch
    from torch.nn import functional as F

    device, tok = begin_training(a.out)
    source, target = (torch.from_numpy(rows).to(device) for rows in encode_pairs(a.corpus, tok))
    shifted = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)    # the decoder starts with <pad>, id 0
    cut = len(source) - min(HELD_OUT, len(source) // 10)
    long = torch.maximum((source != 0).sum(1), (target != 0).sum(1))
    order, sizes = torch.argsort(long[:cut]), []
    for rows in order.tensor_split(3):      # three classes of length, each padded to its own longest row
        sizes.append((rows, -(-int(long[rows].max()) // 8) * 8))
    model = make_network(True).to(device)

    def draw():
        rows, length = random.choice(sizes)
        r = rows[torch.randint(0, len(rows), (a.tokens // length,), device=device)]
        label = target[r, :length].long()
        return (source[r, :length].long(), shifted[r, :length].long()), label, (label != 0).float()

    facts = {"pairs": len(source), "classes": [(len(r), n) for r, n in sizes], "parameters": sum(p.numel() for p in model.parameters())}
    facts.update(fit(model, draw, device, a, smoothing=0.1))
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        label = target[cut:].long()
        logits, weight = model(source[cut:].long(), shifted[cut:].long()).float(), (label != 0).float()
        loss = F.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none").view_as(weight)
        hit = (logits.argmax(-1) == label).float()
    facts["held_out"] = {k: round(((x * weight).sum() / weight.sum()).item(), 4) for k, x in (("loss", loss), ("accuracy", hit))}
    print(facts["held_out"], flush=True)
    export_translate(model, a.out, facts)


# ---------------------------------------------------------------- export

def export_gpt(model, out, facts):
    """The weights under the names of transformers' GPT2LMHeadModel, whose matrices stand the other way round."""
    import torch
    w = {"transformer.wte.weight": model.word.weight, "transformer.wpe.weight": model.pos.weight,
         "transformer.ln_f.weight": model.norm.weight, "transformer.ln_f.bias": model.norm.bias}
    for i, layer in enumerate(model.layers):
        p, parts = f"transformer.h.{i}.", (layer.attn.q, layer.attn.k, layer.attn.v)
        w[p + "attn.c_attn.weight"], w[p + "attn.c_attn.bias"] = torch.cat([m.weight for m in parts]).T, torch.cat([m.bias for m in parts])
        for name, m in (("attn.c_proj", layer.attn.o), ("mlp.c_fc", layer.up), ("mlp.c_proj", layer.down)):
            w[p + name + ".weight"], w[p + name + ".bias"] = m.weight.T, m.bias
        for name, m in (("ln_1", layer.norm1), ("ln_2", layer.norm3)):
            w[p + name + ".weight"], w[p + name + ".bias"] = m.weight, m.bias
    save_model(out, w, {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCAB, "n_embd": DIM, "n_layer": GPT_LAYERS, "n_head": HEADS, "n_inner": FFN,
        "n_positions": POSITIONS, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True,
        "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1, "torch_dtype": "float16"}, facts)


def export_translate(model, out, facts):
    """The weights under the names of transformers' MarianMTModel."""
    w = {"model.shared.weight": model.word.weight, "final_logits_bias": model.bias[None]}

    def put(name, module):
        w[name + ".weight"], w[name + ".bias"] = module.weight, module.bias

    for side, layers in (("encoder", model.encoder), ("decoder", model.decoder)):
        for i, layer in enumerate(layers):
            p = f"model.{side}.layers.{i}."
            blocks = [("self_attn", layer.attn, layer.norm1)] + ([("encoder_attn", layer.cross, layer.norm2)] if side == "decoder" else [])
            for name, block, norm in blocks:
                for ours, theirs in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "out_proj")):
                    put(p + name + "." + theirs, getattr(block, ours))
                put(p + name + "_layer_norm", norm)
            put(p + "fc1", layer.up)
            put(p + "fc2", layer.down)
            put(p + "final_layer_norm", layer.norm3)
    save_model(out, w, {
        "architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": VOCAB, "d_model": DIM, "encoder_layers": HALF_LAYERS, "decoder_layers": HALF_LAYERS,
        "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": FFN, "decoder_ffn_dim": FFN, "activation_function": "swish",
        "max_position_embeddings": POSITIONS, "scale_embedding": True, "static_position_embeddings": True, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "forced_eos_token_id": 1, "dropout": 0.1, "share_encoder_decoder_embeddings": True, "tie_word_embeddings": True,
        "is_encoder_decoder": True, "torch_dtype": "float16"}, facts)


def check(a):
    """Loads what was exported with transformers and prints what it writes, greedily."""
    import torch
    from tokenizers import Tokenizer
    from transformers import GPT2LMHeadModel, MarianMTModel
    gpt, tok = a.model == "gpt", Tokenizer.from_file(os.path.join(a.out, "tokenizer.json"))
    model = (GPT2LMHeadModel if gpt else MarianMTModel).from_pretrained(a.out, dtype=torch.float32).eval()
    english = ("The animal didn't cross the street because it was too tired.", "I am hungry.", "I have never seen such a beautiful house before.")
    for text in ("Once upon a time", "The cell membrane", "The king was angry because") if gpt else [f"{to} {s}" for to in LANGUAGES for s in english]:
        ids = torch.tensor([tok.encode(text).ids])
        print(repr(text), "->", repr(tok.decode(model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False, pad_token_id=0)[0].tolist())))


def main():
    a = arguments(__doc__, model=("gpt", "translate"))
    steps = {"tokenizer": (train_gpt_tokenizer, train_pair_tokenizer), "model": (train_gpt, train_translate), "check": (check, check)}
    steps[a.what][a.model == "translate"](a)


if __name__ == "__main__":
    main()
