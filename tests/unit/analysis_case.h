/* analysis_case.h - random maps for the tests of analyses, and every analysis again, in plain double loops straight from the formulas of attn_analyses.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ANALYSIS_CASE_H
#define ANALYSIS_CASE_H

#include "analysis/analysis.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_HEADS = 5, CASE_MOST = 140 };

/* One layer: maps [heads, T_q, T_k] and what is known of its tokens. */
typedef struct analysis_case {
    size_t heads, T_q, T_k;
    int64_t offset;
    bool causal, padded, zero_rows, same_ids, distinct_ids;
    double sharpness; /* of the rows: 0 is flat */
    float maps[CASE_HEADS * CASE_MOST * CASE_MOST];
    const float *head[CASE_HEADS];
    int32_t ids[CASE_MOST];
    uint8_t is_special[CASE_MOST], counts[CASE_MOST];
    attn_view view;
} analysis_case;

static uint64_t case_seed = 1;

static inline double case_uniform(double low, double high)
{
    case_seed = case_seed * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * ((double)(case_seed >> 11) * 0x1p-53);
}

static inline bool case_sees(const analysis_case *c, size_t i, size_t j)
{
    if (c->padded && j < c->T_q && !c->counts[j])
        return false;
    return !c->causal || (int64_t)j <= (int64_t)i + c->offset;
}

static inline void case_fill_row(analysis_case *c, size_t h, size_t i)
{
    float *a = c->maps + (h * c->T_q + i) * c->T_k;
    double e[CASE_MOST], sum = 0;
    bool none = c->zero_rows && (i * 7 + h * 3) % 5 == 0;
    for (size_t j = 0; j < c->T_k; j++)
        sum += e[j] = !none && case_sees(c, i, j) ? exp(c->sharpness * case_uniform(-1, 1)) : 0;
    for (size_t j = 0; j < c->T_k; j++)
        a[j] = sum > 0 ? (float)(e[j] / sum) : 0;
}

/* Fills what is random once the sizes and switches are set. */
static inline void case_fill(analysis_case *c)
{
    for (size_t j = 0; j < c->T_k; j++) {
        c->ids[j] = c->same_ids ? 7 : c->distinct_ids ? (int32_t)j - 3 : (int32_t)case_uniform(0, 6) - 2;
        c->is_special[j] = j % 5 == 0;
    }
    for (size_t i = 0; i < c->T_q; i++)
        c->counts[i] = !c->padded || i % 4 != 2;
    for (size_t h = 0; h < c->heads; h++) {
        c->head[h] = c->maps + h * c->T_q * c->T_k;
        for (size_t i = 0; i < c->T_q; i++)
            case_fill_row(c, h, i);
    }
    c->view = (attn_view){ .head = c->head, .heads = c->heads, .rows = c->T_q, .cols = c->T_k, .row_stride = (ptrdiff_t)c->T_k };
}

static inline double case_weight(const analysis_case *c, size_t h, size_t i, size_t j)
{
    return (double)c->head[h][i * c->T_k + j];
}

static inline bool case_row_counts(const analysis_case *c, size_t h, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < c->T_k; j++)
        sum += case_weight(c, h, i, j);
    return c->counts[i] && sum > 0;
}

/* a[i][p + step] where there is such a key. */
static inline bool case_neighbour(const analysis_case *c, size_t h, size_t i, int step, double *x)
{
    int64_t j = (int64_t)i + c->offset + step;
    if (j < 0 || j >= (int64_t)c->T_k)
        return false;
    *x = case_weight(c, h, i, (size_t)j);
    return true;
}

static inline bool case_copies(const analysis_case *c, size_t h, size_t i, size_t behind, double *x)
{
    int64_t p = (int64_t)i + c->offset;
    bool any = false;
    *x = 0;
    if (p < 0 || p >= (int64_t)c->T_k)
        return false;
    for (size_t k = 0; k < (size_t)p; k++)
        if (c->ids[k] == c->ids[p]) {
            any = true;
            *x += case_weight(c, h, i, k + behind);
        }
    return any;
}

/* One analysis of one row, false where the row has no such number. */
static inline bool case_row(const analysis_case *c, attn_analysis which, size_t h, size_t i, double *x)
{
    double sum = 0, max = 0, p = (double)i + (double)c->offset;
    for (size_t j = 0; j < c->T_k; j++) {
        double a = case_weight(c, h, i, j);
        max = fmax(max, a);
        if (which == ATTN_ENTROPY)
            sum -= a > 0 ? a * log(a) : 0;
        else if (which == ATTN_MEAN_DISTANCE)
            sum += a * fabs(p - (double)j);
        else if (which == ATTN_SPECIAL_TOKENS)
            sum += c->is_special[j] ? a : 0;
    }
    *x = which == ATTN_CONFIDENCE ? max : which == ATTN_FIRST_TOKEN ? case_weight(c, h, i, 0) : sum;
    switch (which) {
    case ATTN_SELF:
        return case_neighbour(c, h, i, 0, x);
    case ATTN_PREVIOUS_TOKEN:
        return case_neighbour(c, h, i, -1, x);
    case ATTN_NEXT_TOKEN:
        return case_neighbour(c, h, i, 1, x);
    case ATTN_DUPLICATE_TOKEN:
        return case_copies(c, h, i, 0, x);
    case ATTN_INDUCTION:
        return case_copies(c, h, i, 1, x);
    default:
        return true;
    }
}

static inline double case_expected(const analysis_case *c, attn_analysis which, size_t h)
{
    double sum = 0, rows = 0, x = 0;
    for (size_t i = 0; i < c->T_q; i++)
        if (case_row_counts(c, h, i) && case_row(c, which, h, i, &x)) {
            sum += x;
            rows += 1;
        }
    return rows > 0 ? sum / rows : 0;
}

static inline double case_entropy(const analysis_case *c, size_t g, size_t h, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < c->T_k; j++) {
        double m = (case_weight(c, g, i, j) + case_weight(c, h, i, j)) / 2;
        sum -= m > 0 ? m * log(m) : 0;
    }
    return sum;
}

static inline double case_distance(const analysis_case *c, size_t g, size_t h)
{
    double sum = 0, rows = 0;
    for (size_t i = 0; i < c->T_q; i++)
        if (case_row_counts(c, g, i) && case_row_counts(c, h, i)) {
            sum += case_entropy(c, g, h, i) - (case_entropy(c, g, g, i) + case_entropy(c, h, h, i)) / 2;
            rows += 1;
        }
    return rows > 0 ? sum / rows : 0;
}

/* next [T, T] = A previous, all in double. */
static inline void case_rollout(const analysis_case *c, double *next, const double *previous)
{
    size_t T = c->T_q;
    for (size_t i = 0; i < T; i++) {
        double a[CASE_MOST], total = 0;
        for (size_t j = 0; j < T; j++) {
            double mean = 0;
            for (size_t h = 0; h < c->heads; h++)
                mean += case_weight(c, h, i, j) / (double)c->heads;
            total += a[j] = (mean + (i == j)) / 2;
        }
        for (size_t j = 0; j < T; j++) {
            next[i * T + j] = 0;
            for (size_t l = 0; l < T; l++)
                next[i * T + j] += a[l] / total * previous[l * T + j];
        }
    }
}

/* ---- cases ------------------------------------------------------------------------------------------------------------------ */

enum { ALL_ROWS = ATTN_HEAD_ANALYSES };

static inline attn_runtime *runtime(const char *kernels, int threads)
{
    attn_runtime *rt = NULL;
    attn_error err = { 0 };
    const attn_runtime_options options = { .threads = threads, .kernels = kernels };
    if (attn_runtime_new(&rt, &options, &err) != ATTN_OK)
        ck_abort_msg("%s", err.text);
    return rt;
}

static const struct {
    size_t T_q, T_k;
    int64_t offset;
} sizes[] = { { 1, 1, 0 },  { 2, 2, 0 },   { 3, 3, 0 },   { 9, 9, 0 },    { 17, 17, 0 },   { 33, 33, 0 },     { 130, 130, 0 }, { 1, 7, 6 },
              { 5, 20, 7 }, { 20, 5, -6 }, { 6, 20, 30 }, { 6, 20, -40 }, { 100, 3, -50 }, { 8, 9, 1000000 }, { 1, 1, 1 },     { 40, 129, 89 } };
enum { NUM_SIZES = sizeof sizes / sizeof *sizes, NUM_FORMS = 12 };

static analysis_case the_case; /* large: not on the stack */

/* Every combination of switches that differs from the others in what it can break. */
static inline void set_case(size_t size, size_t form)
{
    analysis_case *c = &the_case;
    memset(c, 0, sizeof *c);
    c->heads = form % 2 ? CASE_HEADS : 2;
    c->T_q = sizes[size].T_q;
    c->T_k = sizes[size].T_k;
    c->offset = sizes[size].offset;
    c->causal = form & 1;
    c->padded = form & 2;
    c->zero_rows = form & 4;
    c->same_ids = form == 8 || form == 9;
    c->distinct_ids = form == 10 || form == 11;
    c->sharpness = form % 3 == 0 ? 0 : form % 3 == 1 ? 3 : 30;
    case_fill(c);
}

static inline attn_analyst analyst_of(const analysis_case *c, attn_analyses wanted, attn_arena *arena)
{
    attn_analyst an;
    attn_error err = { 0 };
    const attn_analysis_tokens tokens = { c->ids, c->is_special };
    if (attn_analyst_init(&an, wanted, &tokens, c->T_q, c->T_k, c->offset, c->counts, arena, &err) != ATTN_OK)
        ck_abort_msg("%s", err.text);
    return an;
}

#endif
