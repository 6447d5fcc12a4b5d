/* select.c - a layer cut down to the queries, keys and heads that were asked for.
 *
 * Every view is a list of matrices. A cut of rows costs nothing but a copy of what is kept; a view that needs no change is handed on untouched, so the common
 * answer (everything) is never copied. Order and repeats are as asked. Reduction over heads comes after the cut, which gives the same numbers
 * for less work.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

#include <math.h>
#include <string.h>

enum { PIECE = 256, HEADS_AT_ONCE = 4096 }; /* columns reduced at a time; heads between two looks at the cancel flag */

/* Which lists cut an output's rows and columns. */
typedef struct cut {
    const int32_t *rows, *cols;
    size_t num_rows, num_cols;
} cut;

static cut cut_of(const attn_selection *sel, attn_output o)
{
    switch (o) {
    case ATTN_KEY:
    case ATTN_VALUE:
        return (cut){ .rows = sel->keys, .num_rows = sel->num_keys };
    case ATTN_VALUE_NORMS:
        return (cut){ .cols = sel->keys, .num_cols = sel->num_keys };
    case ATTN_ATTENTIONS:
    case ATTN_SCORES:
    case ATTN_RAW_SCORES:
    case ATTN_WEIGHTED_NORMS:
        if (sel->maps_are_cut)
            return (cut){ 0 };
        return (cut){ .rows = sel->queries, .cols = sel->keys, .num_rows = sel->num_queries, .num_cols = sel->num_keys };
    default:
        return (cut){ .rows = sel->queries, .num_rows = sel->num_queries };
    }
}

/* One output's work: head h, row r of the result from in's. */
typedef struct job {
    attn_view in;
    cut cut;
    attn_reduce reduce;
    attn_cancel *cancel;
    float *data; /* [heads, rows, cols], or [rows, cols] when reduced */
    size_t rows, cols;
} job;

static const float *source_row(const job *j, size_t head, size_t r)
{
    size_t row = j->cut.rows ? (size_t)j->cut.rows[r] : r;
    return j->in.head[head] + (ptrdiff_t)row * j->in.row_stride;
}

static void copy_row(const job *j, float *dst, const float *src)
{
    if (!j->cut.cols)
        memcpy(dst, src, j->cols * sizeof *dst);
    else
        for (size_t c = 0; c < j->cols; c++)
            dst[c] = src[j->cut.cols[c]];
}

/* acc = acc (+ or max) the n numbers at src, picked by cols. */
static void fold(attn_reduce how, double *acc, const float *src, const int32_t *cols, size_t n)
{
    float picked[PIECE];
    for (size_t c = 0; cols && c < n; c++)
        picked[c] = src[cols[c]];
    const float *v = cols ? picked : src;
    if (how == ATTN_REDUCE_MEAN)
        for (size_t c = 0; c < n; c++)
            acc[c] += (double)v[c];
    else
        for (size_t c = 0; c < n; c++)
            acc[c] = (double)v[c] > acc[c] ? (double)v[c] : acc[c];
}

/* In double: a float sum of many heads loses digits, and one of large scores leaves float32 where the mean does not. The heads' order is the order
 * asked, so the sum is always the same. */
static void reduce_row(void *ctx, size_t r, int slot)
{
    (void)slot;
    const job *j = ctx;
    bool mean = j->reduce == ATTN_REDUCE_MEAN;
    for (size_t first = 0; first < j->cols; first += PIECE) {
        double acc[PIECE];
        size_t n = j->cols - first < PIECE ? j->cols - first : PIECE;
        for (size_t c = 0; c < n; c++)
            acc[c] = mean ? 0 : -INFINITY;
        for (size_t h = 0; h < j->in.heads; h++) {
            const float *row = source_row(j, h, r);
            if (h % HEADS_AT_ONCE == 0 && attn_cancelled(j->cancel))
                return;
            fold(j->reduce, acc, j->cut.cols ? row : row + first, j->cut.cols ? j->cut.cols + first : NULL, n);
        }
        for (size_t c = 0; c < n; c++)
            j->data[r * j->cols + first + c] = (float)(mean ? acc[c] / (double)j->in.heads : acc[c]);
    }
}

static void gather_head(void *ctx, size_t head, int slot)
{
    (void)slot;
    const job *j = ctx;
    for (size_t r = 0; r < j->rows; r++)
        copy_row(j, j->data + (head * j->rows + r) * j->cols, source_row(j, head, r));
}

static bool untouched(const job *j)
{
    return !j->cut.rows && !j->cut.cols && j->reduce == ATTN_REDUCE_NONE;
}

static job plan_job(const attn_selection *sel, attn_output o, const attn_view *in)
{
    cut c = cut_of(sel, o);
    return (job){
        .in = *in,
        .cut = c,
        .reduce = attn_output_is_map(o) ? sel->reduce_heads : ATTN_REDUCE_NONE,
        .rows = c.rows ? c.num_rows : in->rows,
        .cols = c.cols ? c.num_cols : in->cols,
    };
}

static attn_status run_job(attn_runtime *rt, job *j, attn_view *out, attn_arena *arena, attn_error *err)
{
    size_t heads = j->reduce == ATTN_REDUCE_NONE ? j->in.heads : 1, matrix, count;
    if (!attn_mul(j->rows, j->cols, &matrix) || !attn_mul(matrix, heads, &count))
        return attn_fail_memory(err);
    const float **head = attn_arena_take(arena, heads, sizeof *head);
    j->data = attn_arena_take(arena, count, sizeof *j->data);
    if (!head || !j->data)
        return attn_fail_memory(err);
    for (size_t h = 0; h < heads; h++)
        head[h] = j->data + h * matrix;
    if (j->reduce == ATTN_REDUCE_NONE)
        attn_parallel(rt, heads, gather_head, j);
    else
        attn_parallel(rt, j->rows, reduce_row, j);
    *out = (attn_view){ .head = head, .heads = heads, .rows = j->rows, .cols = j->cols, .row_stride = (ptrdiff_t)j->cols };
    return attn_cancelled(j->cancel) ? attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off") : ATTN_OK;
}

attn_status attn_select_layer(attn_runtime *rt, const attn_selection *sel, const attn_layer *in, attn_layer *out, attn_arena *arena, attn_cancel *cancel,
                              attn_error *err)
{
    attn_status st = ATTN_OK;
    *out = *in;
    for (int o = 0; o < ATTN_OUTPUT_COUNT && st == ATTN_OK; o++) {
        if (!in->views[o].head)
            continue;
        job j = plan_job(sel, (attn_output)o, &in->views[o]);
        j.cancel = cancel;
        if (!untouched(&j))
            st = run_job(rt, &j, &out->views[o], arena, err);
    }
    return st;
}

attn_status attn_select_view(attn_runtime *rt, const attn_selection *sel, attn_output o, const attn_view *in, attn_view *out, attn_arena *arena,
                             attn_error *err)
{
    job j = plan_job(sel, o, in);
    *out = *in;
    return untouched(&j) ? ATTN_OK : run_job(rt, &j, out, arena, err);
}

/* rows and columns of an output before any cut. */
static void full_size(attn_output o, const size_t *T, const size_t *widths, size_t *rows, size_t *cols)
{
    *rows = o == ATTN_KEY || o == ATTN_VALUE ? T[1] : o == ATTN_VALUE_NORMS ? 1 : T[0];
    if (attn_output_is_map(o) || o == ATTN_VALUE_NORMS)
        *cols = T[1];
    else if (o == ATTN_ATTN_OUTPUT || o == ATTN_HIDDEN_STATES)
        *cols = widths[2];
    else
        *cols = o == ATTN_QUERY || o == ATTN_KEY ? widths[0] : widths[1];
}

uint64_t attn_select_bytes(const attn_selection *sel, attn_outputs outputs, size_t heads, size_t T_q, size_t T_k, size_t d, size_t d_v, size_t D)
{
    uint64_t bytes = 0;
    const size_t T[2] = { T_q, T_k }, widths[3] = { d, d_v, D };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (!(outputs & ATTN_BIT(o)))
            continue;
        attn_view in = { .heads = o == ATTN_ATTN_OUTPUT || o == ATTN_HIDDEN_STATES ? 1 : heads };
        full_size((attn_output)o, T, widths, &in.rows, &in.cols);
        job j = plan_job(sel, (attn_output)o, &in);
        size_t kept = j.reduce == ATTN_REDUCE_NONE ? in.heads : 1;
        if (!untouched(&j))
            bytes = attn_plus(bytes, attn_plus(attn_times(attn_times(kept, j.rows), attn_times(j.cols, sizeof(float))), kept * sizeof(float *) + 4 * 128));
    }
    return bytes;
}
