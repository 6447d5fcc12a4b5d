/* attention_case.h - random inputs of the attention operator for tests: all rules, odd sizes, and positions at the ends of int64.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTENTION_CASE_H
#define ATTENTION_CASE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "attention/attention.h"

enum { CASE_HEADS = 16 };

/* Under AddressSanitizer an arena keeps its blocks apart, which no price knows of. */
#if defined(__SANITIZE_ADDRESS__)
enum { CASE_RED_ZONES = 32 * 64 };
#else
enum { CASE_RED_ZONES = 0 };
#endif

typedef struct attention_case {
    attn_operator_input in;
    float *query, *key, *value, *add, *slopes, *bias; /* owned, as is keep */
    uint8_t *keep;
} attention_case;

static inline uint64_t case_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline size_t case_below(uint64_t *state, size_t n)
{
    return (size_t)((case_random(state) >> 11) % n);
}

/* Uniform in [-reach, reach]. */
static inline float case_float(uint64_t *state, float reach)
{
    return ((float)(case_random(state) >> 40) / 8388608.0f - 1.0f) * reach;
}

static inline float *case_floats(uint64_t *state, size_t n, float reach)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    for (size_t i = 0; x && i < n; i++)
        x[i] = case_float(state, reach);
    return x;
}

/* Plain attention: [H, T_q, d] queries, [G, T_k, d] keys, [G, T_k, d_v] values, no rules but the usual scale. */
static inline attention_case case_plain(uint64_t *state, size_t H, size_t G, size_t T_q, size_t T_k, size_t d, size_t d_v)
{
    attention_case c = { .in = { .num_attention_heads = H, .num_key_value_heads = G, .T_q = T_q, .T_k = T_k, .head_dim = d, .value_dim = d_v } };
    c.query = case_floats(state, H * T_q * d, 2.5f);
    c.key = case_floats(state, G * T_k * d, 2.5f);
    c.value = case_floats(state, G * T_k * d_v, 1.0f);
    c.in.query = (attn_heads){ c.query, (ptrdiff_t)(T_q * d), (ptrdiff_t)d };
    c.in.key = (attn_heads){ c.key, (ptrdiff_t)(T_k * d), (ptrdiff_t)d };
    c.in.value = (attn_heads){ c.value, (ptrdiff_t)(T_k * d_v), (ptrdiff_t)d_v };
    c.in.rules = (attn_rules){ .scale = 1.0f / sqrtf((float)d), .left_window_size = -1, .right_window_size = -1, .key_length = T_k };
    return c;
}

static inline void case_free(attention_case *c)
{
    free(c->query);
    free(c->key);
    free(c->value);
    free(c->add);
    free(c->keep);
    free(c->slopes);
    free(c->bias);
    *c = (attention_case){ 0 };
}

/* A mask broadcast along any of its axes: their strides are 0. */
static inline void case_mask(attention_case *c, uint64_t *state)
{
    size_t heads = case_below(state, 2) ? c->in.num_attention_heads : 1, rows = case_below(state, 4) ? c->in.T_q : 1,
           keys = case_below(state, 6) ? c->in.T_k : 1;
    attn_mask *mask = &c->in.rules.mask;
    mask->head_stride = heads > 1 ? (ptrdiff_t)(rows * keys) : 0;
    mask->query_stride = rows > 1 ? (ptrdiff_t)keys : 0;
    mask->key_stride = keys > 1 ? 1 : 0;
    if (case_below(state, 2)) {
        mask->add = c->add = case_floats(state, heads * rows * keys, 2.0f);
        for (size_t i = 0; i < heads * rows * keys; i++)
            if (case_below(state, 5) == 0)
                c->add[i] = -INFINITY;
        return;
    }
    mask->keep = c->keep = malloc(heads * rows * keys);
    for (size_t i = 0; c->keep && i < heads * rows * keys; i++)
        c->keep[i] = (uint8_t)(case_below(state, 4) != 0);
}

static inline int64_t case_offset(uint64_t *state, size_t T_k, bool moderate)
{
    static const int64_t far[] = { INT64_MIN, INT64_MIN + 1, INT64_MIN + 40, INT64_MAX, INT64_MAX - 1, INT64_MAX - 40, 1000000007, -1000000007 };
    switch (case_below(state, moderate ? 3 : 4)) {
    case 0:
        return 0;
    case 1:
        return (int64_t)case_below(state, T_k + 3);
    case 2:
        return -(int64_t)case_below(state, T_k + 3);
    default:
        return far[case_below(state, sizeof far / sizeof *far)];
    }
}

static inline int64_t case_window(uint64_t *state, size_t T_k)
{
    size_t kind = case_below(state, 6);
    return kind < 2 ? -1 : kind == 2 ? INT64_MAX - (int64_t)case_below(state, 3) : (int64_t)case_below(state, T_k + 2);
}

static inline void case_alibi(attention_case *c)
{
    c->slopes = malloc(c->in.num_attention_heads * sizeof *c->slopes);
    if (c->slopes)
        attn_alibi_slopes(c->slopes, c->in.num_attention_heads);
    c->in.rules.alibi_slopes = c->slopes;
}

/* By the distance j - i alone, or anything. */
static inline void case_bias(attention_case *c, uint64_t *state)
{
    ptrdiff_t H = (ptrdiff_t)c->in.num_attention_heads, T_q = (ptrdiff_t)c->in.T_q, T_k = (ptrdiff_t)c->in.T_k;
    bool by_distance = case_below(state, 2);
    ptrdiff_t each = by_distance ? T_q + T_k - 1 : T_q * T_k;
    c->bias = case_floats(state, (size_t)(H * each), 2.0f);
    c->in.rules.bias = by_distance ? (attn_bias){ c->bias + T_q - 1, each, -1, 1 } : (attn_bias){ c->bias, each, T_k, 1 };
}

/* Any rules. ALiBi keeps to offsets at which the oracle's doubles are exact enough. */
static inline void case_rules(attention_case *c, uint64_t *state)
{
    attn_rules *rules = &c->in.rules;
    bool alibi = case_below(state, 4) == 0;
    rules->is_causal = case_below(state, 2);
    rules->query_offset = case_below(state, 2) ? case_offset(state, c->in.T_k, alibi) : 0;
    if (case_below(state, 3) == 0)
        rules->left_window_size = case_window(state, c->in.T_k);
    if (case_below(state, 3) == 0)
        rules->right_window_size = case_window(state, c->in.T_k);
    if (case_below(state, 3) == 0)
        rules->key_length = case_below(state, c->in.T_k + 1);
    if (case_below(state, 3) == 0)
        rules->softcap = 1.0f + 10.0f * fabsf(case_float(state, 1.0f));
    if (alibi)
        case_alibi(c);
    if (case_below(state, 2))
        case_mask(c, state);
}

/* Any sizes up to 70, grouped heads, any rules. */
static inline attention_case case_any(uint64_t *state)
{
    size_t G = 1 + case_below(state, 3), H = G * (1 + case_below(state, 3));
    size_t T_q = 1 + case_below(state, 70), T_k = 1 + case_below(state, 70);
    attention_case c = case_plain(state, H, G, T_q, T_k, 1 + case_below(state, 70), 1 + case_below(state, 70));
    case_rules(&c, state);
    return c;
}

#endif
