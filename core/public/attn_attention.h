/* attn_attention.h - the attention operator itself, without a model: queries, keys and values in, one layer of outputs out.
 *
 * For head h, query i, key j, with scale c, cap u, mask M, and p = i + query_offset:
 *   raw[i][j] = c * q[h][i] . k[g][j]                 g = h / (H / G)
 *   s[i][j]   = u * tanh(raw / u)                     when u > 0
 *             - slope[h] * |p - j|                    ALiBi (Press 2022)
 *             + B[h][i][j]                            what a model adds by position (Raffel 2020)
 *             + M[h][i][j]                            a boolean mask adds 0 or -infinity
 *   hidden (-infinity) when j >= key_length, or causal and j > p, or j < p - left_window_size, or j > p + right_window_size
 *   a[i][j]   = exp(s - max s) / sum                  all zeros when every key is hidden (Vaswani 2017, 3.2.1; ONNX Attention-25)
 *   context   = a @ v
 *
 * Cost: 2 * H * T_q * T_k * (d + d_v) flops.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ATTENTION_H
#define ATTN_ATTENTION_H

#include "attn_maps.h"

/* One of query, key, value: element (h, t, i) is data[h * head_stride + t * row_stride + i]. Serves [H, T, d] and packed [T, H*d] alike. */
typedef struct attn_heads {
    const float *data;
    ptrdiff_t head_stride, row_stride;
} attn_heads;

/* A mask to add or to keep by, broadcast by strides of 0. At most one of keep (nonzero: may attend) and add (-INFINITY hides) is set. */
typedef struct attn_mask {
    const uint8_t *keep;
    const float *add;
    ptrdiff_t head_stride, query_stride, key_stride; /* in elements */
} attn_mask;

/* What is added to the scores, broadcast by strides of 0; finite. Where it depends on j - i alone, [H, T_q + T_k - 1] are enough: query_stride -1 and
 * key_stride 1 from the middle of them. */
typedef struct attn_bias {
    const float *add;                                /* NULL: nothing */
    ptrdiff_t head_stride, query_stride, key_stride; /* in elements */
} attn_bias;

/* Which keys a query sees, and what is done to its scores. */
typedef struct attn_rules {
    float scale;
    float softcap; /* 0: none */
    bool is_causal;
    int64_t query_offset;
    int64_t left_window_size, right_window_size; /* negative: unbounded */
    size_t key_length;                           /* keys at or past it are hidden; T_k: none */
    const float *alibi_slopes;                   /* [H] or NULL */
    attn_bias bias;
    attn_mask mask;
} attn_rules;

typedef struct attn_operator_input {
    size_t num_attention_heads, num_key_value_heads; /* H, G; G divides H */
    size_t T_q, T_k, head_dim, value_dim;            /* value_dim may differ from head_dim */
    attn_heads query, key, value;
    attn_rules rules;
    /* The output projection, attn_output = context @ w_o + b_o: [H * value_dim, output_dim] row-major, or NULL: attn_output is the context. */
    const float *w_o, *b_o;
    size_t output_dim;
} attn_operator_input;

/* ALiBi's slopes for any number of heads (Press 2022: 2^(-8 h / H) for powers of two, else those of the next lower power of two followed by every
 * second of the next higher one). */
void attn_alibi_slopes(float *slopes, size_t num_heads);

/* x [T, D] += Vaswani's sinusoids, 3.5: column 2i sin(t / 10000^(2i/D)), column 2i+1 the cosine; angles in double. */
void attn_add_sinusoids(float *x, size_t T, size_t D, ptrdiff_t row_stride);

/* Rotary embedding (Su 2021) in the two-halves form on x [T, heads, d], d even: the pair (i, i + d/2) is turned by (t + offset) * theta^(-2i/d). */
void attn_rotate(float *x, size_t T, size_t heads, size_t d, int64_t offset, double theta);

/* y [T, n] = x [T, k] @ w [k, n] (+ b [n], or NULL), all row-major and contiguous: a projection whose weights came with the request. */
typedef struct attn_projection {
    const float *x, *w, *b;
    size_t T, k, n;
    const char *where; /* what is not finite if it is not */
} attn_projection;

/* Errors: ATTN_E_OVERFLOW (p->where), ATTN_E_NOMEM, ATTN_E_CANCELLED. The arena is where it was on return. */
ATTN_MUST_CHECK attn_status attn_project(attn_runtime *, float *y, const attn_projection *, attn_arena *, attn_cancel *, attn_error *);

/* The price of the operator. Needs H, G, T_q, T_k, head_dim, value_dim, output_dim; reads no tensor. */
attn_price attn_operator_price(const attn_runtime *, const attn_operator_input *, const attn_keep *);
/* The price of attn_project. */
attn_price attn_project_price(const attn_runtime *, size_t T, size_t k, size_t n);

/* Computes one layer (numbered 0) and hands it to the sink. The caller has checked shapes: H, G, T_q, T_k, dims >= 1, G divides H; T_q = T_k for a rollout.
 * There are no hidden states: that bit is passed over.
 * Errors: ATTN_E_INPUT (weighted_norms without w_o), ATTN_E_OVERFLOW (where = the output that is not finite; the sink is then not called), ATTN_E_NOMEM, ATTN_E_CANCELLED, the sink's own.
 * The arena is where it was on return. */
ATTN_MUST_CHECK attn_status attn_operator_run(attn_runtime *, const attn_operator_input *, const attn_keep *, attn_arena *, attn_cancel *, const attn_sink *,
                                              attn_error *);

#endif
