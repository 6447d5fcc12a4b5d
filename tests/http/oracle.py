"""The model-free half of POST /v1/attention once more, in plain Python and double precision: what the contract's sentences say, written down as loops.

    expected(body)     [result of item 0, result of item 1, ...], each {"attentions": (shape, flat numbers), ...} of all outputs

Bodies hold nested arrays only. None stands for minus infinity. Nothing is shared with the program.
SPDX-License-Identifier: Apache-2.0
"""

import math


def rank(x):
    return 1 + rank(x[0]) if isinstance(x, list) else 0


def matmul(x, w, b=None):
    columns = range(len(w[0]))
    return [[sum(row[i] * w[i][j] for i in range(len(w))) + (b[j] if b else 0.0) for j in columns] for row in x]


def sinusoids(x):
    """Vaswani 2017: sine and cosine by turns, of wavelengths from 2 pi to 10000 * 2 pi."""
    D = len(x[0])
    out = []
    for t, row in enumerate(x):
        angles = [t / 10000 ** ((i - i % 2) / D) for i in range(D)]
        out.append([row[i] + (math.cos(angles[i]) if i % 2 else math.sin(angles[i])) for i in range(D)])
    return out


def rotated(x, first, theta):
    """Two halves: element i turns with element i + d/2."""
    half = len(x[0]) // 2
    out = []
    for t, row in enumerate(x):
        new = list(row)
        for i in range(half):
            angle = (first + t) * theta ** (-i / half)
            a, b = row[i], row[i + half]
            new[i] = a * math.cos(angle) - b * math.sin(angle)
            new[i + half] = a * math.sin(angle) + b * math.cos(angle)
        out.append(new)
    return out


def slopes(H):
    """ALiBi: a geometric sequence for powers of two; else those of the power below, then every other one of the power above."""
    power = 1 << (H.bit_length() - 1)
    first = [2.0 ** (-8.0 * (h + 1) / power) for h in range(power)]
    return (first + [2.0 ** (-4.0 * (h + 1) / power) for h in range(0, 2 * power, 2)])[:H]


def cut(x, heads):
    """[T, heads * d] as [heads][T][d]."""
    d = len(x[0]) // heads
    return [[row[h * d : (h + 1) * d] for row in x] for h in range(heads)]


def at_mask(mask, where):
    """The element of a mask, broadcast from the right, at [b, h, i, j]."""
    for index in where[4 - rank(mask) :]:
        mask = mask[0 if len(mask) == 1 else index]
    return mask


def item(body, b):
    """(query, key, value) of item b as [H][T][d], [G][T][d], [G][T][d_v], after everything that comes before the product; and the slopes."""
    if "query" in body:
        parts = [body["query"], body["key"], body["value"]]
        H = body.get("num_attention_heads")
        if H and rank(parts[0]) < 4:
            parts = [p[b] if rank(p) == 3 else p for p in parts]
            G = body.get("num_key_value_heads", H)
            return [cut(parts[0], H), cut(parts[1], G), cut(parts[2], G)], None
        return [p[b] if rank(p) == 4 else p if rank(p) == 3 else [p] for p in parts], None
    H = body.get("num_attention_heads", 1)
    G = body.get("num_key_value_heads", H)
    kind = body.get("positional_encoding", "none")
    x = body["embeddings"]
    x = x[b] if rank(x) == 3 else x
    keys = body.get("key_embeddings", x)
    keys = keys[b] if rank(keys) == 3 else keys
    if kind == "sinusoidal":
        x, keys = sinusoids(x), sinusoids(keys)
    parts = []
    for letter, source, heads in (("q", x, H), ("k", keys, G), ("v", keys, G)):
        w = body.get("w_" + letter)
        parts.append(cut(matmul(source, w, body.get("b_" + letter)) if w else source, heads))
    if kind == "rope":
        theta = body.get("rope_theta", 10000)
        parts[0] = [rotated(h, offset(body, b), theta) for h in parts[0]]
        parts[1] = [rotated(h, 0, theta) for h in parts[1]]
    return parts, slopes(H) if kind == "alibi" else None


def offset(body, b):
    given = body.get("query_offset", 0)
    return given[b] if isinstance(given, list) else given


def score_row(body, b, h, i, raw, slope):
    """From scale * q.k to what enters the softmax; None where masked."""
    at = i + offset(body, b)
    left, right = body.get("left_window_size", -1), body.get("right_window_size", -1)
    length = body["key_lengths"][b] if "key_lengths" in body else len(raw)
    out = []
    for j, s in enumerate(raw):
        if body.get("softcap"):
            s = body["softcap"] * math.tanh(s / body["softcap"])
        if slope is not None:
            s -= slope * abs(at - j)
        m = at_mask(body["attn_mask"], (b, h, i, j)) if "attn_mask" in body else True
        hidden = j >= length or (body.get("is_causal") and j > at) or (left >= 0 and j < at - left) or (right >= 0 and j > at + right)
        if hidden or m is None or m is False:
            out.append(None)
        else:
            out.append(s if m is True else s + m)
    return out


def softmax(row):
    top = max((s for s in row if s is not None), default=None)
    if top is None:
        return [0.0] * len(row)
    e = [0.0 if s is None else math.exp(s - top) for s in row]
    total = sum(e)
    return [x / total for x in e]


def one(body, b):
    (q, k, v), slope = item(body, b)
    H, group = len(q), len(q) // len(k)
    k, v = [k[h // group] for h in range(H)], [v[h // group] for h in range(H)]
    d, T_q, T_k, d_v = len(q[0][0]), len(q[0]), len(k[0]), len(v[0][0])
    scale = body["scale"] if body.get("scale") is not None else 1 / math.sqrt(d)
    raw = [[[scale * sum(a * c for a, c in zip(q[h][i], k[h][j])) for j in range(T_k)] for i in range(T_q)] for h in range(H)]
    scores = [[score_row(body, b, h, i, raw[h][i], slope[h] if slope else None) for i in range(T_q)] for h in range(H)]
    weights = [[softmax(row) for row in head] for head in scores]
    context = [[[sum(w * v[h][j][c] for j, w in enumerate(row)) for c in range(d_v)] for row in weights[h]] for h in range(H)]
    joined = [[x for h in range(H) for x in context[h][i]] for i in range(T_q)]
    attn_output = matmul(joined, body["w_o"], body.get("b_o")) if "w_o" in body else joined
    heads = {"attentions": weights, "scores": scores, "raw_scores": raw, "context": context, "query": q, "key": k, "value": v}
    result = {name: ([1, H, len(x[0]), len(x[0][0])], [n for head in x for row in head for n in row]) for name, x in heads.items()}
    result["attn_output"] = ([1, T_q, len(attn_output[0])], [n for row in attn_output for n in row])
    return result


def expected(body):
    if "query" in body:
        batch = rank(body["query"]) == (3 if body.get("num_attention_heads") else 4) or rank(body["query"]) == 4
        count = len(body["query"]) if batch else 1
    else:
        count = len(body["embeddings"]) if rank(body["embeddings"]) == 3 else 1
    return [one(body, b) for b in range(count)]
