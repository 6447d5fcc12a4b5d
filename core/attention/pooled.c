/* attention/pooled.c - maps in bins, without a row of them ever held.
 *
 * Work is cut into (head, a few whole bins of queries), so that no two tasks share a bin and bits do not depend on threads. A task takes its queries in strips
 * (strip.c), a few of which walk over all keys together; each leaves sums or maxima for every bin of keys, and its context. Those are divided by the softmax's sum
 * and folded into the bins of queries in double.
 *
 * Which keys go to which bin is a list of segments, made once a call: stretches of one chunk of keys and one bin. Listed keys are segments too, in any order
 * and as often as they were listed; the softmax runs over all keys all the same.
 *
 * Keys and values are read where they lie; nothing is packed. Cost: 2 * H * queries * T_k * (d + d_v) flops, less what no query of a strip sees.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"

#include <math.h>
#include <string.h>

#include "attention/strip.h"
#include "math/gemm.h"

enum {
    TASK_ROWS = 256, /* queries of a task aimed at: enough that few strips are not full */
    STRIPS = 8,      /* walk together, unless that takes more than */
    STRIPS_BYTES = 4 << 20,
    ALIGNMENT = 64
};

/* Sizes, functions of the input's sizes and of the runtime alone. */
typedef struct plan {
    size_t rows, row_bins, task_bins, tasks; /* queries; of tasks: bins of each, number of one head */
    size_t keys, bins, chunks, segments;     /* listed keys, their bins; chunks of all keys; segments at most */
    size_t num_maps;
    size_t q, context, bins_bytes, strip_bytes; /* scratch of one strip (strip.h); bins once for each map kept */
    size_t strips;                              /* that walk together */
    size_t x, by_row, acc, slot_bytes;          /* scratch of one slot beside theirs; acc: the open bin of queries, once for each map kept; all of it */
    size_t total;
} plan;

typedef struct pooled_job {
    const attn_operator_input *in;
    const attn_attention_out *out;
    attn_strip_job common;
    plan size;
    size_t *edges; /* [bins + 1] of keys */
    unsigned char *scratch;
    attn_faults faults;
} pooled_job;

/* Some bins of queries of one head while they are computed. */
typedef struct pooled_task {
    pooled_job *job;
    attn_strip strips[STRIPS];
    float *maps[ATTN_STRIP_MAPS]; /* [row bins, bins] of this head, or NULL */
    double *acc[ATTN_STRIP_MAPS]; /* [bins] of the bin of queries that is being filled */
    float *context;               /* row 0 of this head, or NULL */
    size_t row_bin, begin, end;   /* that bin and its queries */
} pooled_task;

/* ---- sizes -------------------------------------------------------------------------------------------------------------- */

static void list_maps(const attn_attention_out *out, float *maps[ATTN_STRIP_MAPS])
{
    maps[ATTN_STRIP_WEIGHTS] = out->attentions;
    maps[ATTN_STRIP_SCORES] = out->scores;
    maps[ATTN_STRIP_RAW_SCORES] = out->raw_scores;
    maps[ATTN_STRIP_WEIGHTED_NORMS] = out->weighted_norms;
}

static size_t count_maps(const attn_attention_out *out)
{
    float *maps[ATTN_STRIP_MAPS];
    size_t n = 0;
    list_maps(out, maps);
    for (int map = 0; map < ATTN_STRIP_MAPS; map++)
        n += maps[map] != NULL;
    return n;
}

static bool has_context(const attn_attention_out *out)
{
    return out->context && !out->pool->queries;
}

/* *bytes = a * b * size rounded up to ALIGNMENT, also added to *total. */
static bool sized(size_t *bytes, size_t a, size_t b, size_t size, size_t *total)
{
    size_t product;
    if (!attn_mul(a, b, &product) || !attn_mul(product, size, &product) || !attn_add(product, ALIGNMENT - 1, &product))
        return false;
    *bytes = product / ALIGNMENT * ALIGNMENT;
    return attn_add(*total, *bytes, total);
}

static bool plan_scratch(plan *p, const attn_operator_input *in, const attn_attention_out *out, size_t strip)
{
    const size_t chunk = ATTN_STRIP_CHUNK;
    size_t vectors = has_context(out) ? in->value_dim : 0, all;
    p->num_maps = count_maps(out);
    for (size_t map = 0; map < p->num_maps; map++)
        if (!sized(&p->bins_bytes, p->bins, strip, sizeof(double), &p->strip_bytes) || !sized(&p->acc, p->bins, 1, sizeof(double), &p->slot_bytes))
            return false;
    if (!sized(&p->q, in->head_dim, strip, sizeof(float), &p->strip_bytes) || !sized(&p->context, vectors, strip, sizeof(double), &p->strip_bytes))
        return false;
    p->strips = attn_most(1, attn_least(STRIPS, STRIPS_BYTES / p->strip_bytes));
    return sized(&all, p->strips, p->strip_bytes, 1, &p->slot_bytes) && sized(&p->x, chunk, strip, sizeof(float), &p->slot_bytes) &&
           sized(&p->by_row, chunk, strip, sizeof(float), &p->slot_bytes);
}

/* False when something does not fit. */
static bool plan_make(plan *p, const attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out)
{
    const attn_pool *pool = out->pool;
    *p = (plan){ .rows = pool->queries ? pool->num_queries : in->T_q, .keys = pool->keys ? pool->num_keys : in->T_k };
    p->row_bins = attn_pool_bins(p->rows, pool->size);
    p->bins = attn_pool_bins(p->keys, pool->size);
    if (in->T_k > INT32_MAX || p->keys > INT32_MAX || p->rows > INT32_MAX)
        return false;
    p->chunks = attn_ceil_div(in->T_k, ATTN_STRIP_CHUNK);
    p->segments = pool->keys ? p->keys : p->bins + p->chunks;
    p->task_bins = attn_most(1, p->row_bins > 0 ? TASK_ROWS / attn_ceil_div(p->rows, p->row_bins) : 1);
    p->tasks = attn_ceil_div(p->row_bins, p->task_bins);
    size_t list;
    return plan_scratch(p, in, out, attn_runtime_table(runtime)->strip) && sized(&list, (size_t)attn_runtime_threads(runtime), p->slot_bytes, 1, &p->total) &&
           sized(&list, p->bins + 1, 1, sizeof(size_t), &p->total) && sized(&list, p->chunks, 1, sizeof(size_t), &p->total) &&
           sized(&list, p->segments, 1, sizeof(attn_segment), &p->total);
}

uint64_t attn_attention_pooled_bytes(const attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out)
{
    plan size;
    return plan_make(&size, runtime, in, out) ? size.total : UINT64_MAX;
}

/* ---- which keys go where ------------------------------------------------------------------------------------------------ */

/* Walks the listed keys twice: without `segments` it counts those of chunk c in next[c], with them it writes each at next[c]. Neighbours in the list that
 * are neighbours among the keys share a segment. */
static void list_segments(const pooled_job *job, attn_segment *segments, size_t *next)
{
    const int32_t *keys = job->out->pool->keys;
    size_t last = SIZE_MAX, bin = 0;
    for (size_t p = 0; p < job->size.keys; p++) {
        size_t key = keys ? (size_t)keys[p] : p, c = key / ATTN_STRIP_CHUNK;
        bool same_bin = p < job->edges[bin + 1];
        bin += !same_bin;
        bool extends = same_bin && p > 0 && key == last + 1 && key % ATTN_STRIP_CHUNK != 0;
        last = key;
        if (extends && segments)
            segments[next[c] - 1].n++;
        if (extends)
            continue;
        if (segments)
            segments[next[c]] = (attn_segment){ (uint32_t)key, 1, (uint32_t)bin };
        next[c]++;
    }
}

static bool make_segments(pooled_job *job, attn_arena *arena)
{
    const plan *size = &job->size;
    job->edges = attn_arena_take(arena, size->bins + 1, sizeof *job->edges);
    size_t *chunk_end = attn_arena_zero(arena, size->chunks, sizeof *chunk_end), before = 0;
    attn_segment *segments = attn_arena_take(arena, size->segments, sizeof *segments);
    if (!job->edges || !chunk_end || !segments)
        return false;
    for (size_t b = 0; b <= size->bins; b++)
        job->edges[b] = size->bins > 0 ? attn_pool_edge(size->keys, size->bins, b) : 0;
    list_segments(job, NULL, chunk_end);
    for (size_t c = 0; c < size->chunks; c++) { /* numbers become places */
        size_t n = chunk_end[c];
        chunk_end[c] = before;
        before += n;
    }
    list_segments(job, segments, chunk_end);
    job->common.segments = segments;
    job->common.chunk_end = chunk_end;
    return true;
}

/* ---- from strips to bins of queries ------------------------------------------------------------------------------------- */

static void open_bin(pooled_task *t, size_t row_bin)
{
    const plan *size = &t->job->size;
    t->row_bin = row_bin;
    t->begin = attn_pool_edge(size->rows, size->row_bins, row_bin);
    t->end = attn_pool_edge(size->rows, size->row_bins, row_bin + 1);
    for (int map = 0; map < ATTN_STRIP_MAPS; map++)
        for (size_t b = 0; t->maps[map] && b < size->bins; b++)
            t->acc[map][b] = t->job->common.takes_max ? -INFINITY : 0.0;
}

/* The bin is full. */
static void close_bin(pooled_task *t)
{
    const plan *size = &t->job->size;
    for (int map = 0; map < ATTN_STRIP_MAPS; map++)
        for (size_t b = 0; t->maps[map] && b < size->bins; b++) {
            double count = (double)(t->end - t->begin) * (double)(t->job->edges[b + 1] - t->job->edges[b]);
            t->maps[map][t->row_bin * size->bins + b] = (float)(t->job->common.takes_max ? t->acc[map][b] : t->acc[map][b] / count);
        }
}

/* Queries [from, to) of the strip into the open bin: x * gain - loss for each number that x stands for. */
static void fold_rows(pooled_task *t, const double *x, int map, size_t from, size_t to, const double *gain, const double *loss)
{
    const size_t *edges = t->job->edges, strip = t->job->common.kernels->strip;
    bool takes_max = t->job->common.takes_max;
    for (size_t b = 0; b < t->job->size.bins; b++, x += strip) {
        double keys = (double)(edges[b + 1] - edges[b]), sum = t->acc[map][b];
        for (size_t r = from; r < to && takes_max; r++)
            sum = fmax(sum, x[r] * gain[r] - loss[r]);
        for (size_t r = from; r < to && !takes_max; r++)
            sum += x[r] * gain[r] - loss[r] * keys;
        t->acc[map][b] = sum;
    }
}

/* The strip's queries begin at position `first`. */
static void fold_strip(pooled_task *t, const attn_strip *s, size_t first)
{
    double inverse[ATTN_STRIP_MOST], shift[ATTN_STRIP_MOST], one[ATTN_STRIP_MOST], none[ATTN_STRIP_MOST] = { 0.0 };
    for (size_t r = 0; r < s->rows; r++) {
        inverse[r] = s->sum[r] > 0.0 ? 1.0 / s->sum[r] : 0.0;
        shift[r] = (double)s->shift[r];
        one[r] = 1.0;
    }
    const struct {
        const double *gain, *loss;
    } how[ATTN_STRIP_MAPS] = { [ATTN_STRIP_WEIGHTS] = { inverse, none },
                               [ATTN_STRIP_SCORES] = { one, shift },
                               [ATTN_STRIP_RAW_SCORES] = { one, none },
                               [ATTN_STRIP_WEIGHTED_NORMS] = { inverse, none } };
    for (size_t from = 0, to; from < s->rows; from = to) {
        to = attn_least(s->rows, t->end - first);
        for (int map = 0; map < ATTN_STRIP_MAPS; map++)
            if (t->maps[map])
                fold_rows(t, s->bins[map], map, from, to, how[map].gain, how[map].loss);
        if (first + to < t->end)
            return;
        close_bin(t);
        if (t->row_bin + 1 < t->job->size.row_bins)
            open_bin(t, t->row_bin + 1);
    }
}

/* False when one is beyond float32. */
static bool write_contexts(const pooled_task *t, const attn_strip *s, size_t first)
{
    const attn_kernels *kernels = t->job->common.kernels;
    size_t d_v = t->job->in->value_dim;
    for (size_t r = 0; r < s->rows; r++) {
        float *y = t->context + (ptrdiff_t)(first + r) * t->job->out->context_row_stride;
        double inverse = s->sum[r] > 0.0 ? 1.0 / s->sum[r] : 0.0;
        for (size_t c = 0; c < d_v; c++)
            y[c] = (float)(s->context[c * kernels->strip + r] * inverse);
        if (!kernels->all_finite(y, d_v))
            return false;
    }
    return true;
}

/* ---- tasks -------------------------------------------------------------------------------------------------------------- */

static bool wants_context(const attn_attention_out *out, size_t h)
{
    return has_context(out) && (!out->context_of_kept || attn_head_is_kept(out, h));
}

/* Where things of head h go. */
static void place_head(pooled_task *t, size_t h, double *acc)
{
    const attn_attention_out *out = t->job->out;
    const plan *size = &t->job->size;
    bool kept = attn_head_is_kept(out, h);
    size_t place = out->slot && kept ? (size_t)out->slot[h] : h;
    if (wants_context(out, h))
        t->context = out->context + (ptrdiff_t)(out->context_of_kept ? place : h) * out->context_head_stride;
    if (kept)
        list_maps(out, t->maps);
    for (int map = 0; map < ATTN_STRIP_MAPS; map++)
        if (t->maps[map]) {
            t->maps[map] += place * size->row_bins * size->bins;
            t->acc[map] = acc;
            acc += size->acc / sizeof *acc;
        }
}

/* Which scratch of a slot is whose. */
static void place_strips(pooled_task *t, size_t h, unsigned char *scratch)
{
    const plan *size = &t->job->size;
    const float *norms = t->maps[ATTN_STRIP_WEIGHTED_NORMS] ? t->job->out->transformed_norms + h * t->job->in->T_k : NULL;
    float *x = (float *)scratch, *by_row = (float *)(scratch + size->x);
    scratch += size->x + size->by_row;
    for (size_t i = 0; i < size->strips; i++) {
        attn_strip *s = &t->strips[i];
        *s = (attn_strip){ .job = &t->job->common, .h = h, .norms = norms, .q = (float *)scratch, .x = x, .by_row = by_row };
        scratch += size->q;
        s->context = t->context ? (double *)scratch : NULL;
        scratch += size->context;
        for (int map = 0; map < ATTN_STRIP_MAPS; map++)
            if (t->maps[map]) {
                s->bins[map] = (double *)scratch;
                scratch += size->bins_bytes;
            }
    }
}

/* Gives the queries [first, end) to strips; returns how many of these it takes, at most all. */
static size_t fill_strips(pooled_task *t, size_t first, size_t end)
{
    const int32_t *queries = t->job->out->pool->queries;
    size_t count = 0;
    for (; count < t->job->size.strips && first < end; count++) {
        attn_strip *s = &t->strips[count];
        s->rows = attn_least(t->job->common.kernels->strip, end - first);
        for (size_t r = 0; r < s->rows; r++, first++)
            s->query[r] = queries ? (size_t)queries[first] : first;
    }
    return count;
}

static attn_fault compute(pooled_task *t, size_t end)
{
    for (size_t first = t->begin, count; first < end;) {
        count = fill_strips(t, first, end);
        attn_fault found = attn_strips_walk(t->strips, count);
        if (found != ATTN_FAULT_NONE)
            return found;
        for (const attn_strip *s = t->strips; s < t->strips + count; first += s->rows, s++) {
            fold_strip(t, s, first);
            if (t->context && !write_contexts(t, s, first))
                return ATTN_FAULT_CONTEXT;
        }
    }
    return ATTN_FAULT_NONE;
}

static void run_task(void *ctx, size_t number, int slot)
{
    pooled_job *job = ctx;
    const plan *size = &job->size;
    size_t h = number / size->tasks, row_bin = number % size->tasks * size->task_bins, last = attn_least(row_bin + size->task_bins, size->row_bins);
    bool wanted = wants_context(job->out, h) || (attn_head_is_kept(job->out, h) && size->num_maps > 0);
    if (!wanted || attn_faults_stop(&job->faults, number))
        return;
    unsigned char *scratch = job->scratch + (size_t)slot * size->slot_bytes;
    pooled_task t = { .job = job };
    place_head(&t, h, (double *)scratch);
    place_strips(&t, h, scratch + size->num_maps * size->acc);
    open_bin(&t, row_bin);
    attn_faults_record(&job->faults, number, compute(&t, attn_pool_edge(size->rows, size->row_bins, last)));
}

attn_status attn_attention_pooled(attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out, attn_arena *arena, attn_cancel *cancel,
                                  attn_error *err)
{
    pooled_job job = { .in = in, .out = out, .faults = { .first = UINT64_MAX } };
    if (!plan_make(&job.size, runtime, in, out))
        return attn_fail_memory(err);
    job.common = (attn_strip_job){ .in = in,
                                   .kernels = attn_runtime_table(runtime),
                                   .cancel = cancel,
                                   .takes_max = out->pool->mode == ATTN_REDUCE_MAX,
                                   .has_all_keys = !out->pool->keys,
                                   .bins = job.size.bins };
    attn_arena_mark mark = attn_arena_save(arena);
    attn_status status = ATTN_OK;
    job.scratch = attn_arena_take(arena, (size_t)attn_runtime_threads(runtime), job.size.slot_bytes);
    if (!job.scratch || !make_segments(&job, arena)) {
        status = attn_fail_memory(err);
    } else {
        attn_parallel(runtime, in->num_attention_heads * job.size.tasks, run_task, &job);
        status = attn_faults_report(&job.faults, err);
    }
    attn_arena_rewind(arena, mark);
    return status;
}
