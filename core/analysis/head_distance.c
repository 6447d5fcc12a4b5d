/* analysis/head_distance.c - how differently heads look: the mean Jensen-Shannon divergence of their rows, for every two heads of a layer.
 *
 * The rows of one query, all heads, lie in the cache together, so work is cut into blocks of queries. A row's own entropy is taken once, and a pair costs one
 * logarithm a key. Where heads repeat, the first of each kind is computed. Blocks depend on T_q alone and are added in their order: bits do not depend on threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis/analysis.h"
#include "math/gemm.h"

#include <math.h>

enum { MIN_ROWS = 8, MAX_BLOCKS = 64 };

/* Sum of divergences over rows that count for both heads, and how many they were. */
typedef struct pair_sum {
    double sum;
    uint64_t rows;
} pair_sum;

typedef struct job {
    const attn_kernels *kernels;
    const attn_view *maps;
    const attn_analyst *an;
    attn_cancel *cancel;
    size_t *distinct; /* [n] heads with different maps */
    size_t *kind;     /* [heads] which of them a head is */
    size_t n, pairs;  /* pairs g < h of distinct heads: (0, 1) (0, 2) .. (1, 2) .. */
    size_t block_rows, blocks;
    double *entropy; /* [blocks, n] of one query's rows; NO_ROW where a head's row does not count */
    pair_sum *sums;  /* [blocks, pairs] */
} job;

static const double NO_ROW = -1;

static size_t count_pairs(size_t n)
{
    return n % 2 ? (n - 1) / 2 * n : n / 2 * (n - 1);
}

static void plan(job *j, size_t T_q)
{
    j->block_rows = attn_most(MIN_ROWS, attn_ceil_div(T_q, MAX_BLOCKS));
    j->blocks = attn_ceil_div(T_q, j->block_rows);
}

static const float *row_of(const job *j, size_t d, size_t i)
{
    return j->maps->head[j->distinct[d]] + (ptrdiff_t)i * j->maps->row_stride;
}

static double row_entropy(const job *j, size_t d, size_t i)
{
    const float *a = row_of(j, d, i);
    return j->kernels->max_row(a, j->maps->cols) > 0 ? fmax(0, j->kernels->entropy_row(a, a, j->maps->cols)) : NO_ROW;
}

/* Adds the divergences of query i to the sums of its block. */
static void add_row(const job *j, size_t i, double *entropy, pair_sum *sums)
{
    for (size_t d = 0; d < j->n; d++)
        entropy[d] = row_entropy(j, d, i);
    for (size_t g = 0; g < j->n; g++) {
        if (attn_cancelled(j->cancel))
            return;
        for (size_t h = g + 1; h < j->n; h++, sums++) {
            if (entropy[g] < 0 || entropy[h] < 0)
                continue;
            double both = j->kernels->entropy_row(row_of(j, g, i), row_of(j, h, i), j->maps->cols);
            sums->sum += fmax(0, both - (entropy[g] + entropy[h]) / 2); /* rounding may leave it just below 0 */
            sums->rows++;
        }
    }
}

static void block_task(void *ctx, size_t b, int slot)
{
    (void)slot;
    const job *j = ctx;
    size_t end = attn_least((b + 1) * j->block_rows, j->maps->rows);
    for (size_t i = b * j->block_rows; i < end && !attn_cancelled(j->cancel); i++)
        if (!j->an->query_counts || j->an->query_counts[i])
            add_row(j, i, j->entropy + b * j->n, j->sums + b * j->pairs);
}

static void find_distinct(job *j)
{
    for (size_t h = 0; h < j->maps->heads; h++) {
        size_t d = 0;
        while (d < j->n && j->maps->head[j->distinct[d]] != j->maps->head[h])
            d++;
        if (d == j->n)
            j->distinct[j->n++] = h;
        j->kind[h] = d;
    }
    j->pairs = count_pairs(j->n);
}

/* The mean of pair `at`, in the first block's place. */
static void finish_pair(const job *j, size_t at)
{
    pair_sum all = { 0, 0 };
    for (size_t b = 0; b < j->blocks; b++) {
        all.sum += j->sums[b * j->pairs + at].sum;
        all.rows += j->sums[b * j->pairs + at].rows;
    }
    j->sums[at].sum = all.rows ? all.sum / (double)all.rows : 0;
}

/* Where the pair g < h stands: behind g rows of n - 1, n - 2, .. pairs. */
static size_t pair_at(const job *j, size_t g, size_t h)
{
    return g * (j->n - 1) - count_pairs(g) + (h - g - 1);
}

static void write_out(const job *j, float *out)
{
    size_t heads = j->maps->heads;
    for (size_t at = 0; at < j->pairs; at++)
        finish_pair(j, at);
    for (size_t g = 0; g < heads; g++)
        for (size_t h = 0; h < heads; h++) {
            size_t a = attn_least(j->kind[g], j->kind[h]), b = attn_most(j->kind[g], j->kind[h]);
            out[g * heads + h] = a == b ? 0 : (float)j->sums[pair_at(j, a, b)].sum;
        }
}

uint64_t attn_head_distance_bytes(size_t heads, size_t T_q, size_t T_k)
{
    (void)T_k; /* rows are read where they are */
    job j;
    plan(&j, T_q);
    uint64_t sums = attn_arena_bytes(attn_times(count_pairs(heads), j.blocks), sizeof(pair_sum));
    uint64_t entropies = attn_arena_bytes(attn_times(heads, j.blocks), sizeof(double)), lists = attn_times(2, attn_arena_bytes(heads, sizeof(size_t)));
    return attn_plus(attn_plus(sums, entropies), lists);
}

static bool take_memory(job *j, attn_arena *arena)
{
    size_t heads = j->maps->heads, doubles, sums;
    j->kind = attn_arena_take(arena, heads, sizeof *j->kind);
    j->distinct = attn_arena_take(arena, heads, sizeof *j->distinct);
    if (!j->kind || !j->distinct)
        return false;
    find_distinct(j);
    if (!attn_mul(j->blocks, j->n, &doubles) || !attn_mul(j->blocks, j->pairs, &sums))
        return false;
    j->entropy = attn_arena_take(arena, doubles, sizeof *j->entropy);
    j->sums = attn_arena_zero(arena, sums, sizeof *j->sums);
    return j->entropy && j->sums;
}

attn_status attn_head_distance(attn_runtime *rt, float *out, const attn_view *maps, const attn_analyst *an, attn_arena *arena, attn_cancel *cancel,
                               attn_error *err)
{
    job j = { .kernels = attn_runtime_table(rt), .maps = maps, .an = an, .cancel = cancel };
    attn_status st = ATTN_OK;
    attn_arena_mark mark = attn_arena_save(arena);
    plan(&j, maps->rows);
    if (!take_memory(&j, arena)) {
        st = attn_fail_memory(err);
    } else {
        attn_parallel(rt, j.blocks, block_task, &j);
        if (attn_cancelled(cancel))
            st = attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off");
        else
            write_out(&j, out);
    }
    attn_arena_rewind(arena, mark);
    return st;
}
