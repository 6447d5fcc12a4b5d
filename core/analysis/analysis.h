/* analysis/analysis.h - attn_analyses.h at work: numbers taken from rows of weights while they lie in the cache, and the two analyses that need whole maps.
 *
 * Whoever computes attention gives each finished row to attn_analyse_row, in any order of blocks; every block sums into an attn_row_sums of its own, and the
 * blocks' sums are added in their order, so that bits do not depend on threads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ANALYSIS_H
#define ATTN_ANALYSIS_H

#include "attention/scores.h"
#include "attn_maps.h"
#include "math/kernels.h"

/* What row analyses need, made ready once for all layers and heads of a run. Read-only afterwards. */
typedef struct attn_analyst {
    attn_analyses wanted;
    size_t T_q, T_k;
    int64_t query_offset;
    const uint8_t *query_counts; /* [T_q], 0 = padding; NULL: all count */
    const float *distance;       /* [2 T_k - 1] T_k - 1 .. 1 0 1 .. T_k - 1; for MEAN_DISTANCE */
    const float *special;        /* [T_k] 1 for a special token, else 0; for SPECIAL_TOKENS */
    const int32_t *earlier;      /* [T_k] the nearest earlier token with the same id, or -1; for the token analyses */
} attn_analyst;

/* Memory from the arena (attn_analyst_bytes at most), in linear time whatever the ids are. tokens may be NULL where nothing wanted needs it.
 * Errors: ATTN_E_NOMEM; ATTN_E_INTERNAL when a list that an analysis needs is missing. */
ATTN_MUST_CHECK attn_status attn_analyst_init(attn_analyst *, attn_analyses wanted, const attn_analysis_tokens *, size_t T_q, size_t T_k, int64_t query_offset,
                                              const uint8_t *query_counts, attn_arena *, attn_error *);
uint64_t attn_analyst_bytes(attn_analyses wanted, size_t T_k);

enum { ATTN_NUM_HEAD_ANALYSES = ATTN_ROLLOUT };

/* Sums over the rows seen so far; starts as all 0. */
typedef struct attn_row_sums {
    double sum[ATTN_NUM_HEAD_ANALYSES];
    uint64_t rows[ATTN_NUM_HEAD_ANALYSES]; /* that had the number */
} attn_row_sums;

/* Row i of a head: a [T_k] is set within `seen` (visible keys, not empty) and means 0 outside it. A row whose weights are all 0 (a mask hid them) counts not. */
void attn_analyse_row(const attn_analyst *, const attn_kernels *, size_t i, const float *a, attn_range seen, attn_row_sums *);
void attn_row_sums_add(attn_row_sums *, const attn_row_sums *);
/* The mean, or 0 where no row had the number. */
float attn_row_sums_mean(const attn_row_sums *, attn_analysis);

/* out [heads, heads] from the maps of one layer (maps.head[h] is head h's [T_q, T_k]; heads that repeat share their matrix and are computed once). Of the
 * analyst only query_counts is looked at. Errors: ATTN_E_NOMEM, ATTN_E_CANCELLED. The arena is where it was. */
ATTN_MUST_CHECK attn_status attn_head_distance(attn_runtime *, float *out, const attn_view *maps, const attn_analyst *, attn_arena *, attn_cancel *,
                                               attn_error *);
uint64_t attn_head_distance_bytes(size_t heads, size_t T_q, size_t T_k);

/* next [T, T] = A previous, A from the maps of all heads of one layer; previous NULL: the identity. No overlap. Errors as above. */
ATTN_MUST_CHECK attn_status attn_rollout(attn_runtime *, float *next, const float *previous, const attn_view *maps, attn_arena *, attn_cancel *, attn_error *);
uint64_t attn_rollout_bytes(const attn_runtime *, size_t T);

#endif
