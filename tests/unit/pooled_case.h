/* pooled_case.h - pooled attention run under test, and the plain way to the same bins: whole maps by the oracle in double, then bins in double.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef POOLED_CASE_H
#define POOLED_CASE_H

#include <string.h>

#include "attention_case.h"
#include "math/gemm.h"
#include "unit.h"

enum { MAPS = 4 }; /* attentions, scores, raw_scores, weighted_norms */

static inline float *nan_floats(size_t n)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n; i++)
        x[i] = NAN; /* whatever is not written shows */
    return x;
}

static inline attn_runtime *runtime_new(int table, int threads)
{
    attn_runtime *runtime = NULL;
    attn_runtime_options options = { .threads = threads, .kernels = attn_kernels_all()[table]->name };
    ck_assert_int_eq(attn_runtime_new(&runtime, &options, NULL), ATTN_OK);
    attn_runtime_enter(runtime);
    return runtime;
}

static inline void runtime_free(attn_runtime *runtime)
{
    attn_runtime_leave(runtime);
    attn_runtime_free(runtime);
}

/* ---- a case and its results --------------------------------------------------------------------------------------------- */

typedef struct pooled {
    attn_pool pool;
    size_t rows, cols, row_bins, col_bins; /* after selection, after pooling */
    int32_t *queries, *keys;               /* owned; NULL: all */
    float *norms;                          /* [H, T_k] */
    float *map[MAPS], *context;
    size_t size, vectors; /* floats in each map, in context */
} pooled;

static inline int32_t *any_list(uint64_t *state, size_t n, size_t T)
{
    int32_t *list = malloc(n * sizeof *list);
    ck_assert_ptr_nonnull(list);
    bool runs = case_below(state, 2);
    for (size_t i = 0; i < n; i++)
        list[i] = runs && i > 0 && case_below(state, 8) && (size_t)list[i - 1] + 1 < T ? list[i - 1] + 1 : (int32_t)case_below(state, T);
    return list;
}

static inline pooled pooled_new(const attn_operator_input *in, size_t size, attn_reduce mode, uint64_t *state, unsigned lists)
{
    pooled p = { .rows = in->T_q, .cols = in->T_k };
    if (lists & 1) {
        p.rows = 1 + case_below(state, 2 * in->T_q);
        p.queries = any_list(state, p.rows, in->T_q);
    }
    if (lists & 2) {
        p.cols = 1 + case_below(state, 2 * in->T_k);
        p.keys = any_list(state, p.cols, in->T_k);
    }
    p.pool = (attn_pool){ .size = size, .mode = mode, .queries = p.queries, .num_queries = p.rows, .keys = p.keys, .num_keys = p.cols };
    p.row_bins = attn_pool_bins(p.rows, size);
    p.col_bins = attn_pool_bins(p.cols, size);
    p.norms = case_floats(state, in->num_attention_heads * in->T_k, 3.0f);
    for (size_t i = 0; i < in->num_attention_heads * in->T_k; i++)
        p.norms[i] = fabsf(p.norms[i]);
    p.size = in->num_attention_heads * p.row_bins * p.col_bins;
    p.vectors = in->num_attention_heads * in->T_q * in->value_dim;
    for (int map = 0; map < MAPS; map++)
        p.map[map] = nan_floats(p.size);
    p.context = nan_floats(p.vectors);
    return p;
}

static inline void pooled_free(pooled *p)
{
    for (int map = 0; map < MAPS; map++)
        free(p->map[map]);
    free(p->context);
    free(p->norms);
    free(p->queries);
    free(p->keys);
}

static inline attn_attention_out out_of(const attn_operator_input *in, const pooled *p)
{
    return (attn_attention_out){ .attentions = p->map[0],
                                 .scores = p->map[1],
                                 .raw_scores = p->map[2],
                                 .weighted_norms = p->map[3],
                                 .transformed_norms = p->norms,
                                 .context = p->context,
                                 .context_head_stride = (ptrdiff_t)in->value_dim,
                                 .context_row_stride = (ptrdiff_t)(in->num_attention_heads * in->value_dim),
                                 .pool = &p->pool };
}

/* Runs; the arena must be where it was, and within its price. */
static inline attn_status attend(attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out, attn_cancel *cancel, attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_status status = attn_attention_pooled(runtime, in, out, arena, cancel, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_attention_pooled_bytes(runtime, in, out) + CASE_RED_ZONES);
    attn_arena_free(arena);
    return status;
}

static inline void attend_well(attn_runtime *runtime, const attn_operator_input *in, const pooled *p)
{
    attn_attention_out out = out_of(in, p);
    attn_error err = { 0 };
    ck_assert_msg(attend(runtime, in, &out, NULL, &err) == ATTN_OK, "%s: %s", err.where, err.text);
}

/* ---- the plain way ------------------------------------------------------------------------------------------------------ */

static inline double plain_bin(const pooled *p, const float *map, size_t T_k, size_t rb, size_t cb)
{
    size_t r0 = rb * p->rows / p->row_bins, r1 = (rb + 1) * p->rows / p->row_bins;
    size_t c0 = cb * p->cols / p->col_bins, c1 = (cb + 1) * p->cols / p->col_bins;
    double sum = 0.0, max = -INFINITY;
    for (size_t r = r0; r < r1; r++)
        for (size_t c = c0; c < c1; c++) {
            size_t i = p->queries ? (size_t)p->queries[r] : r, j = p->keys ? (size_t)p->keys[c] : c;
            sum += (double)map[i * T_k + j];
            max = fmax(max, (double)map[i * T_k + j]);
        }
    return p->pool.mode == ATTN_REDUCE_MAX ? max : sum / (double)((r1 - r0) * (c1 - c0));
}

/* Whole maps by the oracle, then bins. */
static inline pooled plain(const attn_operator_input *in, const pooled *like)
{
    size_t H = in->num_attention_heads, whole = in->T_q * in->T_k;
    pooled p = *like;
    float *maps[MAPS];
    for (int map = 0; map < MAPS; map++) {
        maps[map] = nan_floats(H * whole);
        p.map[map] = nan_floats(p.size);
    }
    p.context = nan_floats(p.vectors);
    attn_attention_out out = out_of(in, &p);
    out.attentions = maps[0];
    out.scores = maps[1];
    out.raw_scores = maps[2];
    out.weighted_norms = NULL;
    out.pool = NULL;
    attn_attention_reference(in, &out);
    for (size_t i = 0; i < H * whole; i++)
        maps[3][i] = maps[0][i] * p.norms[i / whole * in->T_k + i % in->T_k];
    for (int map = 0; map < MAPS; map++)
        for (size_t i = 0; i < p.size; i++) {
            size_t rb = i / p.col_bins % p.row_bins, cb = i % p.col_bins, h = i / p.col_bins / p.row_bins;
            p.map[map][i] = (float)plain_bin(&p, maps[map] + h * whole, in->T_k, rb, cb);
        }
    for (int map = 0; map < MAPS; map++)
        free(maps[map]);
    return p;
}

static inline void plain_free(pooled *p)
{
    for (int map = 0; map < MAPS; map++)
        free(p->map[map]);
    free(p->context);
}

#endif
