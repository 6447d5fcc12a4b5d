/* analysis/rows.c - the analyses that are one number a row: taken while the row is in the cache, summed in double.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis/analysis.h"

#include <math.h>

/* A row on its way through the analyses. */
typedef struct row {
    const attn_analyst *an;
    const attn_kernels *kernels;
    const float *a; /* [T_k], set in seen */
    attn_range seen;
    int64_t p; /* the query's position among the keys, anywhere in int64 */
    attn_row_sums *sums;
} row;

static bool wants(const row *r, attn_analysis which)
{
    return r->an->wanted & ATTN_ANALYSIS_BIT(which);
}

static void count(const row *r, attn_analysis which, double x)
{
    r->sums->sum[which] += x;
    r->sums->rows[which]++;
}

static bool is_key(const row *r, int64_t j)
{
    return j >= 0 && (uint64_t)j < r->an->T_k;
}

/* Of a key that exists: 0 where the query does not see it. */
static double weight(const row *r, size_t j)
{
    return j >= r->seen.lo && j < r->seen.hi ? (double)r->a[j] : 0;
}

static void count_key(const row *r, attn_analysis which, int64_t j)
{
    if (wants(r, which) && is_key(r, j))
        count(r, which, weight(r, (size_t)j));
}

/* Kernels see the visible keys alone: list[j] belongs to key j. */
static double sum_with(const row *r, const float *list)
{
    return r->kernels->dot_row(r->a + r->seen.lo, list + r->seen.lo, r->seen.hi - r->seen.lo);
}

/* distance[T_k - 1 + c - j] = |c - j| serves for every position c that a key has. */
static double mean_distance(const row *r)
{
    if (is_key(r, r->p))
        return sum_with(r, r->an->distance + (r->an->T_k - 1 - (size_t)r->p));
    double sum = 0;
    for (size_t j = r->seen.lo; j < r->seen.hi; j++)
        sum += (double)r->a[j] * fabs((double)r->p - (double)j);
    return sum;
}

/* The keys j + step for every earlier copy j of the token at p; a row without any copy has no such number. */
static void count_copies(const row *r, attn_analysis which, size_t step)
{
    if (!wants(r, which) || !is_key(r, r->p) || r->an->earlier[r->p] < 0)
        return;
    double sum = 0;
    for (int32_t j = r->an->earlier[r->p]; j >= 0; j = r->an->earlier[j])
        sum += weight(r, (size_t)j + step);
    count(r, which, sum);
}

/* i + offset, stopped at an end of int64 less one, so that the neighbours are positions too. */
static int64_t position(size_t i, int64_t offset)
{
    int64_t last = INT64_MAX - 1 - (int64_t)i;
    return offset < last ? (offset > INT64_MIN ? offset : INT64_MIN + 1) + (int64_t)i : INT64_MAX - 1;
}

void attn_analyse_row(const attn_analyst *an, const attn_kernels *kernels, size_t i, const float *a, attn_range seen, attn_row_sums *sums)
{
    const row r = { .an = an, .kernels = kernels, .a = a, .seen = seen, .p = position(i, an->query_offset), .sums = sums };
    if ((an->query_counts && !an->query_counts[i]) || seen.lo >= seen.hi)
        return;
    const float *visible = a + seen.lo;
    size_t n = seen.hi - seen.lo;
    float max = kernels->max_row(visible, n);
    if (max <= 0)
        return;
    if (wants(&r, ATTN_ENTROPY))
        count(&r, ATTN_ENTROPY, fmax(0, kernels->entropy_row(visible, visible, n))); /* below 0 where a weight was rounded up beyond 1 */
    if (wants(&r, ATTN_CONFIDENCE))
        count(&r, ATTN_CONFIDENCE, (double)max);
    if (wants(&r, ATTN_MEAN_DISTANCE))
        count(&r, ATTN_MEAN_DISTANCE, mean_distance(&r));
    if (wants(&r, ATTN_SPECIAL_TOKENS))
        count(&r, ATTN_SPECIAL_TOKENS, sum_with(&r, an->special));
    count_key(&r, ATTN_SELF, r.p);
    count_key(&r, ATTN_PREVIOUS_TOKEN, r.p - 1);
    count_key(&r, ATTN_NEXT_TOKEN, r.p + 1);
    count_key(&r, ATTN_FIRST_TOKEN, 0);
    count_copies(&r, ATTN_DUPLICATE_TOKEN, 0);
    count_copies(&r, ATTN_INDUCTION, 1);
}

void attn_row_sums_add(attn_row_sums *sums, const attn_row_sums *more)
{
    for (size_t k = 0; k < ATTN_NUM_HEAD_ANALYSES; k++) {
        sums->sum[k] += more->sum[k];
        sums->rows[k] += more->rows[k];
    }
}

float attn_row_sums_mean(const attn_row_sums *sums, attn_analysis which)
{
    return sums->rows[which] ? (float)(sums->sum[which] / (double)sums->rows[which]) : 0;
}
