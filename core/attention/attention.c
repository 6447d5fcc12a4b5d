/* attention/attention.c - scaled dot-product attention that keeps what it saw.
 *
 * For head h and query i:  x[j] = scale * q[i] . k[j]            a matrix product, for a block of queries at once
 *                          scores of the visible keys            scores.c
 *                          a[j] = exp(x[j] - max) / sum          in place
 *                          c    = sum a[j] * v[j]                a matrix product again
 *
 * Fast attention avoids ever holding a row of a. We are asked for the rows, so a block of them is made in the map's own memory, or in scratch that fits
 * the second-level cache when nobody keeps it. Pooled maps are made without rows (pooled.c); what is left then comes from a walk of this kind that keeps
 * no map.
 *
 * What makes bits independent of threads and blocks: a product's element depends on its two rows alone (gemm.h); a softmax sees exactly the visible
 * range of its row; and a @ v is summed over CHUNKs of keys at fixed places. Keys that a whole block does not see are left out, which changes
 * nothing: they would add zeros to a sum that began with zero.
 *
 * Keys and values are packed for a few key/value heads at a time (PANEL_BYTES), so packing never needs a copy of all of a long input.
 * Cost: 2 * H * T_q * T_k * (d + d_v) flops, less what no row of a block sees. Reference: Vaswani et al. 2017, 3.2.1.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"

#include <math.h>
#include <string.h>

#include "attention/fault.h"
#include "attention/scores.h"
#include "math/gemm.h"

enum {
    CHUNK = 512,               /* keys summed in one product of a @ v */
    BLOCK_SCORES = 64 * 1024,  /* floats of a block aimed at: 256 KiB, at home in any second-level cache */
    BLOCK_LEAST = 32,          /* rows: fewer, and reading the packed keys costs more than multiplying them */
    BLOCK_MOST = 64,           /* rows: more, and one short head is not enough tasks */
    PANEL_BYTES = 8 << 20,     /* of packed keys and values at a time; one head may take more */
    TASK_FLOATS = 128 * 1024,  /* of keys and values that one row is multiplied with in a task: some ten microseconds */
    ALONE_FLOATS = 384 * 1024, /* of all heads: less than that is done before another thread has woken up */
    ALIGNMENT = 64
};
static const double TASK_FLOPS = 1e6; /* some ten microseconds */

/* Sizes, functions of the input's sizes and of the runtime alone. Bytes are multiples of ALIGNMENT. */
typedef struct plan {
    size_t block, blocks;                      /* rows of a block, blocks of a head */
    size_t chunks;                             /* of keys, 0 when no context is wanted */
    size_t key_bytes;                          /* packed keys of one head */
    size_t chunk_bytes;                        /* packed values of one chunk */
    size_t head_bytes;                         /* both */
    size_t batch;                              /* key/value heads packed at a time */
    size_t row;                                /* floats from row to row of scratch scores */
    size_t gemm_bytes, sum_bytes, score_bytes; /* scratch of one slot: a product's, one chunk's context, scores */
    size_t slot_bytes;                         /* all of it */
    size_t analysis_bytes;                     /* sums of every block */
    size_t total;
    bool is_one_row; /* of queries: its products are made where keys and values lie */
    size_t heads;    /* then: heads of a task */
} plan;

typedef struct attention_job {
    const attn_operator_input *in;
    const attn_attention_out *out;
    const attn_kernels *kernels;
    const attn_gemm *gemm;
    attn_cancel *cancel;
    plan size;
    size_t first_group; /* of the key/value heads packed now */
    unsigned char *panels, *scratch;
    attn_row_sums *sums; /* [H, blocks], where there is an analyst */
    attn_faults faults;
} attention_job;

/* One block of one head while it is computed. */
typedef struct block {
    attention_job *job;
    size_t h, first, rows;
    attn_range seen; /* keys that some row sees */
    attn_range set;  /* keys at which weights are written, zeros included */
    const unsigned char *panels;
    float *x; /* [rows, row]: scores, then weights */
    size_t row;
    bool weighs;                                           /* x goes through the softmax */
    bool is_plain;                                         /* and nothing lies between the products and it */
    float *scores, *raw_scores, *weighted_norms, *context; /* row 0 of this block in the outputs, or NULL; x may be one of them */
    float *gemm_scratch, *sum;
    attn_row_sums *row_sums; /* NULL: nobody looks at the rows */
} block;

/* ---- sizes -------------------------------------------------------------------------------------------------------------- */

static bool has_maps(const attn_attention_out *out)
{
    return out->attentions || out->scores || out->raw_scores || out->weighted_norms;
}

static bool wants_context(const attn_attention_out *out, size_t h)
{
    return out->context && (!out->context_of_kept || attn_head_is_kept(out, h));
}

static bool is_wanted(const attn_attention_out *out, size_t h)
{
    return wants_context(out, h) || (attn_head_is_kept(out, h) && (has_maps(out) || out->analyst));
}

/* The map in which a kept head's weights are made, or NULL. In weighted_norms they turn into norms when nobody needs the weights any more. */
static float *weight_map(const attn_attention_out *out)
{
    return out->attentions ? out->attentions : out->weighted_norms;
}

static bool needs_weights(const attn_attention_out *out, size_t h)
{
    return wants_context(out, h) || (attn_head_is_kept(out, h) && (weight_map(out) || out->analyst));
}

/* Whether some head's weights have no map to be made in. */
static bool needs_scratch_scores(const attn_operator_input *in, const attn_attention_out *out)
{
    for (size_t h = 0; h < in->num_attention_heads; h++)
        if (needs_weights(out, h) && !(attn_head_is_kept(out, h) && weight_map(out)))
            return true;
    return false;
}

/* *bytes = count * size rounded up to ALIGNMENT. */
static bool sized(size_t count, size_t size, size_t *bytes)
{
    size_t product;
    if (!attn_mul(count, size, &product) || !attn_add(product, ALIGNMENT - 1, &product))
        return false;
    *bytes = product / ALIGNMENT * ALIGNMENT;
    return true;
}

static size_t block_rows(const attn_gemm *gemm, size_t T_q, size_t T_k)
{
    size_t mr, nr;
    attn_gemm_tile(gemm, &mr, &nr);
    size_t rows = attn_most(BLOCK_LEAST, attn_least(BLOCK_MOST, BLOCK_SCORES / T_k));
    return attn_least(attn_round_up(rows, nr), T_q);
}

/* Nothing is packed. */
static bool plan_one_row(plan *size, const attn_operator_input *in)
{
    size_t floats;
    if (!attn_add(in->head_dim, size->chunks > 0 ? in->value_dim : 0, &floats) || !attn_mul(floats, in->T_k, &floats))
        return false;
    size->is_one_row = true;
    size->heads = floats < ALONE_FLOATS / in->num_attention_heads ? in->num_attention_heads : TASK_FLOATS / attn_most(1, floats) + 1;
    return true;
}

static bool plan_panels(plan *size, const attn_gemm *gemm, const attn_operator_input *in)
{
    if (in->T_q == 1)
        return plan_one_row(size, in);
    size_t keys = attn_gemm_panel_bytes(gemm, in->T_k, in->head_dim), chunk = attn_gemm_panel_bytes(gemm, in->value_dim, attn_least(CHUNK, in->T_k)), values;
    if (keys == 0 || chunk == 0 || !sized(keys, 1, &size->key_bytes) || !sized(chunk, 1, &size->chunk_bytes))
        return false;
    if (!attn_mul(size->chunks, size->chunk_bytes, &values) || !attn_add(size->key_bytes, values, &size->head_bytes))
        return false;
    size->batch = attn_least(in->num_key_value_heads, attn_most(1, PANEL_BYTES / size->head_bytes));
    return true;
}

static bool plan_slot(plan *size, const attn_gemm *gemm, const attn_operator_input *in, const attn_attention_out *out)
{
    size_t keys = size->is_one_row ? ALIGNMENT : attn_gemm_scratch_bytes(gemm, size->block, in->head_dim), values = 0;
    if (size->chunks > 0 && !size->is_one_row)
        values = attn_gemm_scratch_bytes(gemm, size->block, attn_least(CHUNK, in->T_k));
    size_t sum_row = size->chunks > 1 ? in->value_dim : 0;
    if (!attn_add(in->T_k, 15, &size->row) || !sized(attn_most(keys, values), 1, &size->gemm_bytes))
        return false;
    size->row = size->row / 16 * 16;
    size_t score_row = needs_scratch_scores(in, out) ? size->row : 0;
    return attn_mul(sum_row, sizeof(float), &sum_row) && sized(size->block, sum_row, &size->sum_bytes) && attn_mul(score_row, sizeof(float), &score_row) &&
           sized(size->block, score_row, &size->score_bytes) && attn_add(size->gemm_bytes, size->sum_bytes, &size->slot_bytes) &&
           attn_add(size->slot_bytes, size->score_bytes, &size->slot_bytes);
}

/* False when something does not fit size_t. */
static bool plan_make(plan *size, const attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out)
{
    const attn_gemm *gemm = attn_runtime_gemm(runtime);
    *size = (plan){ .block = block_rows(gemm, in->T_q, in->T_k) };
    size->blocks = attn_ceil_div(in->T_q, size->block);
    size->chunks = out->context ? (in->T_k - 1) / CHUNK + 1 : 0;
    size_t panels, scratch, sums = 0;
    if (out->analyst && !attn_mul(in->num_attention_heads, size->blocks, &sums))
        return false;
    return plan_panels(size, gemm, in) && plan_slot(size, gemm, in, out) && attn_mul(size->batch, size->head_bytes, &panels) &&
           attn_mul((size_t)attn_runtime_threads(runtime), size->slot_bytes, &scratch) && sized(sums, sizeof(attn_row_sums), &size->analysis_bytes) &&
           attn_add(panels, scratch, &size->total) && attn_add(size->total, size->analysis_bytes, &size->total);
}

/* ---- pooled maps -------------------------------------------------------------------------------------------------------- */

static bool is_pooled(const attn_attention_out *out)
{
    return out->pool && has_maps(out);
}

/* What the walk over chunks of keys makes: maps, and the context if all rows are in them. */
static attn_attention_out pooled_part(const attn_attention_out *out)
{
    attn_attention_out part = *out;
    if (part.pool->queries)
        part.context = NULL;
    part.analyst = NULL;
    part.sums = NULL;
    return part;
}

/* What it leaves out, for a walk over whole rows that keeps no map. */
static attn_attention_out plain_part(const attn_attention_out *out)
{
    attn_attention_out part = *out;
    part.attentions = part.scores = part.raw_scores = part.weighted_norms = NULL;
    if (!part.pool->queries)
        part.context = NULL;
    return part;
}

static bool is_empty(const attn_attention_out *out)
{
    return !has_maps(out) && !out->context && !out->analyst;
}

static uint64_t walk_bytes(const attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out)
{
    plan size;
    return plan_make(&size, runtime, in, out) ? size.total : UINT64_MAX;
}

uint64_t attn_attention_bytes(const attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out)
{
    if (!is_pooled(out))
        return walk_bytes(runtime, in, out);
    attn_attention_out pooled = pooled_part(out), plain = plain_part(out);
    uint64_t first = attn_attention_pooled_bytes(runtime, in, &pooled), second = is_empty(&plain) ? 0 : walk_bytes(runtime, in, &plain);
    return first > second ? first : second; /* one after the other in the same memory */
}

/* Scores of these queries with all keys, and contexts. */
static uint64_t walk_flops(const attn_operator_input *in, const attn_attention_out *out, size_t kept, size_t queries)
{
    uint64_t heads = out->context && !out->context_of_kept ? in->num_attention_heads : kept;
    uint64_t width = attn_plus(in->head_dim, out->context ? in->value_dim : 0);
    return attn_times(attn_times(attn_times(2, heads), attn_times(queries, in->T_k)), width);
}

uint64_t attn_attention_flops(const attn_operator_input *in, const attn_attention_out *out, size_t kept)
{
    if (!is_pooled(out))
        return is_empty(out) ? 0 : walk_flops(in, out, kept, in->T_q);
    attn_attention_out pooled = pooled_part(out), plain = plain_part(out);
    size_t listed = out->pool->queries ? out->pool->num_queries : in->T_q;
    return attn_plus(walk_flops(in, &pooled, kept, listed), is_empty(&plain) ? 0 : walk_flops(in, &plain, kept, in->T_q));
}

/* ---- one row ------------------------------------------------------------------------------------------------------------ */

static void fill(float *x, size_t from, size_t to, float value)
{
    for (size_t j = from; j < to; j++)
        x[j] = value;
}

static void clear(float *x, size_t from, size_t to)
{
    if (from < to)
        memset(x + from, 0, (to - from) * sizeof *x);
}

/* The row as it enters the softmax, given x = score + shift in the range. s may be x. */
static void write_scores(float *s, const float *x, attn_range range, size_t T_k, float shift)
{
    fill(s, 0, range.lo, -INFINITY);
    for (size_t j = range.lo; j < range.hi; j++)
        s[j] = x[j] - shift;
    fill(s, range.hi, T_k, -INFINITY);
}

/* Products must be finite: all of them where they are an answer, else those somebody sees. */
static bool check_products(const block *b, size_t r, const float *x, attn_range range)
{
    size_t T_k = b->job->in->T_k;
    if (!b->raw_scores)
        return range.lo == range.hi || b->job->kernels->all_finite(x + range.lo, range.hi - range.lo);
    float *raw = b->raw_scores + r * T_k;
    if (raw != x)
        memcpy(raw, x, T_k * sizeof *raw);
    return b->job->kernels->all_finite(raw, T_k);
}

/* Whether products are scores. */
static bool has_rules(const attn_rules *rules)
{
    return rules->softcap > 0.0f || rules->alibi_slopes || rules->bias.add || rules->mask.keep || rules->mask.add;
}

/* From products to weights where nothing else is asked for: the softmax itself sees what is not finite. */
static attn_fault finish_plain_row(const block *b, float *x, attn_range range)
{
    clear(x, b->set.lo, range.lo);
    clear(x, range.hi, b->set.hi);
    return range.lo == range.hi || b->job->kernels->softmax_finite_row(x + range.lo, range.hi - range.lo) ? ATTN_FAULT_NONE : ATTN_FAULT_RAW_SCORES;
}

/* From products to weights, row r of the block. */
static attn_fault finish_row(const block *b, size_t r)
{
    const attn_operator_input *in = b->job->in;
    float *x = b->x + r * b->row, shift = 0.0f;
    attn_range range = attn_visible_keys(&in->rules, b->first + r, in->T_k);
    if (range.lo > range.hi)
        range.lo = range.hi;
    bool sees = range.lo < range.hi;
    if (b->is_plain)
        return finish_plain_row(b, x, range);
    if (!check_products(b, r, x, range))
        return ATTN_FAULT_RAW_SCORES;
    if (!b->scores && !b->weighs)
        return ATTN_FAULT_NONE;
    attn_row_part row = { .h = b->h, .i = b->first + r, .seen = range, .part = range };
    if (sees && !attn_score_row(b->job->kernels, &in->rules, &row, x + range.lo, &shift))
        return ATTN_FAULT_SCORES;
    if (b->scores)
        write_scores(b->scores + r * in->T_k, x, range, in->T_k, shift);
    if (!b->weighs)
        return ATTN_FAULT_NONE;
    clear(x, b->set.lo, range.lo);
    clear(x, range.hi, b->set.hi);
    if (sees && !b->job->kernels->softmax_row(x + range.lo, range.hi - range.lo))
        return ATTN_FAULT_SCORES;
    if (sees && b->row_sums)
        attn_analyse_row(b->job->out->analyst, b->job->kernels, b->first + r, x, range, b->row_sums);
    return ATTN_FAULT_NONE;
}

/* ---- one block ---------------------------------------------------------------------------------------------------------- */

static const float *key_rows(const block *b)
{
    const attn_operator_input *in = b->job->in;
    return in->key.data + (ptrdiff_t)(b->h / (in->num_attention_heads / in->num_key_value_heads)) * in->key.head_stride;
}

static const float *value_rows(const block *b)
{
    const attn_operator_input *in = b->job->in;
    return in->value.data + (ptrdiff_t)(b->h / (in->num_attention_heads / in->num_key_value_heads)) * in->value.head_stride;
}

static attn_fault multiply_keys(const block *b)
{
    const attn_operator_input *in = b->job->in;
    attn_panels keys = { (const float *)b->panels, in->T_k, in->head_dim };
    const float *q = in->query.data + (ptrdiff_t)b->h * in->query.head_stride + (ptrdiff_t)b->first * in->query.row_stride;
    size_t mr, nr;
    attn_gemm_tile(b->job->gemm, &mr, &nr);
    attn_range range = b->raw_scores ? (attn_range){ 0, in->T_k } : b->seen;
    size_t from = range.lo / mr * mr, to = attn_least(attn_round_up(range.hi, mr), in->T_k);
    if (from >= to)
        return ATTN_FAULT_NONE;
    attn_status status =
        attn_gemm_rows(b->job->gemm, b->x, b->row, q, (size_t)in->query.row_stride, b->rows, &keys, from, to, in->rules.scale, b->gemm_scratch);
    return status == ATTN_OK ? ATTN_FAULT_NONE : ATTN_FAULT_REFUSED;
}

/* The same of one row: raw scores of all keys where they are an answer. */
static attn_fault multiply_keys_in_place(const block *b)
{
    const attn_operator_input *in = b->job->in;
    attn_range range = b->raw_scores ? (attn_range){ 0, in->T_k } : b->seen;
    const float *q = in->query.data + (ptrdiff_t)b->h * in->query.head_stride, *k = key_rows(b) + (ptrdiff_t)range.lo * in->key.row_stride;
    size_t d = in->head_dim, depth = attn_gemm_depth(b->job->gemm, d);
    for (size_t l = 0; l < d; l += depth)
        b->job->kernels->row_keys(b->x + range.lo, q + l, k + l, in->key.row_stride, range.hi - range.lo, attn_least(depth, d - l), in->rules.scale, l > 0);
    return ATTN_FAULT_NONE;
}

/* y [rows, d_v] = the weights of what chunk c has of the seen keys times its values, from panels or where they lie. */
static attn_status multiply_chunk(const block *b, float *y, size_t ldy, size_t c)
{
    const attention_job *job = b->job;
    const attn_operator_input *in = job->in;
    size_t first = c * CHUNK, n = attn_least(CHUNK, in->T_k - first), depth = attn_gemm_depth(job->gemm, n);
    size_t lo = b->seen.lo > first ? b->seen.lo - first : 0, hi = attn_least(b->seen.hi - first, n);
    if (!job->size.is_one_row) {
        attn_panels values = { (const float *)(b->panels + job->size.key_bytes + c * job->size.chunk_bytes), in->value_dim, n };
        return attn_gemm_part(job->gemm, y, ldy, b->x + first, b->row, b->rows, &values, lo, hi, b->gemm_scratch);
    }
    const float *v = value_rows(b) + (ptrdiff_t)first * in->value.row_stride;
    for (size_t j = lo, end; j < hi; j = end) {
        end = attn_least(hi, (j / depth + 1) * depth);
        job->kernels->row_values(y, b->x + first + j, v + (ptrdiff_t)j * in->value.row_stride, in->value.row_stride, end - j, in->value_dim, j > lo);
    }
    return ATTN_OK;
}

/* context = x @ v, a chunk of keys at a time. */
static attn_fault multiply_values(const block *b)
{
    const attention_job *job = b->job;
    size_t d_v = job->in->value_dim, ldy = (size_t)job->out->context_row_stride;
    bool alone = job->size.chunks == 1;
    for (size_t r = 0; r < b->rows && !(alone && b->seen.hi > 0); r++)
        clear(b->context + r * ldy, 0, d_v);
    for (size_t c = b->seen.lo / CHUNK; c * CHUNK < b->seen.hi; c++) {
        if (multiply_chunk(b, alone ? b->context : b->sum, alone ? ldy : d_v, c) != ATTN_OK)
            return ATTN_FAULT_REFUSED;
        for (size_t r = 0; r < b->rows && !alone; r++)
            job->kernels->add_row(b->context + r * ldy, b->sum + r * d_v, d_v);
    }
    for (size_t r = 0; r < b->rows; r++)
        if (!job->kernels->all_finite(b->context + r * ldy, d_v))
            return ATTN_FAULT_CONTEXT;
    return ATTN_FAULT_NONE;
}

/* weighted_norms = weights times the norms of what their keys give. */
static void weigh_norms(const block *b)
{
    size_t T_k = b->job->in->T_k;
    const float *norms = b->job->out->transformed_norms + b->h * T_k;
    for (size_t r = 0; r < b->rows; r++) {
        const float *x = b->x + r * b->row;
        float *y = b->weighted_norms + r * T_k;
        for (size_t j = 0; j < T_k; j++)
            y[j] = x[j] * norms[j];
    }
}

static void choose_keys(block *b, bool keeps_weights)
{
    const attn_operator_input *in = b->job->in;
    attn_range first = attn_visible_keys(&in->rules, b->first, in->T_k);
    attn_range last = attn_visible_keys(&in->rules, b->first + b->rows - 1, in->T_k);
    b->seen = first.lo < last.hi ? (attn_range){ first.lo, last.hi } : (attn_range){ 0, 0 };
    b->set = keeps_weights ? (attn_range){ 0, in->T_k } : b->seen;
}

/* Where things of this block go. At most one copy of each: x lies in the map of weights, else in scratch where weights are needed all the same, else in
 * the last map that is kept. */
static void place_block(block *b, unsigned char *scratch)
{
    const attention_job *job = b->job;
    const attn_attention_out *out = job->out;
    size_t T_q = job->in->T_q, T_k = job->in->T_k, place = out->slot && attn_head_is_kept(out, b->h) ? (size_t)out->slot[b->h] : b->h;
    size_t at = (place * T_q + b->first) * T_k;
    bool kept = attn_head_is_kept(out, b->h);
    float *weights = kept && weight_map(out) ? weight_map(out) + at : NULL;
    b->gemm_scratch = (float *)scratch;
    b->sum = (float *)(scratch + job->size.gemm_bytes);
    b->scores = kept && out->scores ? out->scores + at : NULL;
    b->raw_scores = kept && out->raw_scores ? out->raw_scores + at : NULL;
    b->weighted_norms = kept && out->weighted_norms ? out->weighted_norms + at : NULL;
    b->row_sums = kept && out->analyst ? job->sums + b->h * job->size.blocks + b->first / job->size.block : NULL;
    if (wants_context(out, b->h))
        b->context = out->context + (ptrdiff_t)(out->context_of_kept ? place : b->h) * out->context_head_stride + (ptrdiff_t)b->first * out->context_row_stride;
    b->weighs = needs_weights(out, b->h);
    b->row = T_k;
    b->x = weights;
    if (!weights && b->weighs) {
        b->x = (float *)(scratch + job->size.gemm_bytes + job->size.sum_bytes);
        b->row = job->size.row;
    } else if (!weights) {
        b->x = b->scores ? b->scores : b->raw_scores;
    }
    b->is_plain = b->weighs && !b->scores && !b->raw_scores && !b->row_sums && !has_rules(&job->in->rules);
    choose_keys(b, weights != NULL);
}

static attn_fault compute_block(const block *b)
{
    attn_fault found = b->job->size.is_one_row ? multiply_keys_in_place(b) : multiply_keys(b);
    for (size_t r = 0; r < b->rows && found == ATTN_FAULT_NONE; r++)
        found = finish_row(b, r);
    if (found == ATTN_FAULT_NONE && b->context)
        found = multiply_values(b);
    if (found == ATTN_FAULT_NONE && b->weighted_norms)
        weigh_norms(b);
    return found;
}

/* Block i of the heads at hand. */
static void run_block(attention_job *job, size_t i, int slot)
{
    const plan *size = &job->size;
    size_t group = job->in->num_attention_heads / job->in->num_key_value_heads;
    size_t h = job->first_group * group + i / size->blocks, first = i % size->blocks * size->block;
    uint64_t task = (uint64_t)h * size->blocks + i % size->blocks;
    if (!is_wanted(job->out, h) || attn_faults_stop(&job->faults, task))
        return;
    if (attn_cancelled(job->cancel)) {
        attn_faults_record(&job->faults, task, ATTN_FAULT_CANCELLED);
        return;
    }
    block b = { .job = job, .h = h, .first = first, .rows = attn_least(size->block, job->in->T_q - first) };
    if (!size->is_one_row)
        b.panels = job->panels + (h / group - job->first_group) * size->head_bytes;
    place_block(&b, job->scratch + (size_t)slot * size->slot_bytes);
    attn_faults_record(&job->faults, task, compute_block(&b));
}

static void block_task(void *ctx, size_t i, int slot)
{
    run_block(ctx, i, slot);
}

static void heads_task(void *ctx, size_t i, int slot)
{
    attention_job *job = ctx;
    for (size_t h = i * job->size.heads; h < attn_least((i + 1) * job->size.heads, job->in->num_attention_heads); h++)
        run_block(job, h, slot);
}

/* ---- all ---------------------------------------------------------------------------------------------------------------- */

static bool group_is_wanted(const attention_job *job, size_t g)
{
    size_t group = job->in->num_attention_heads / job->in->num_key_value_heads;
    for (size_t h = g * group; h < (g + 1) * group; h++)
        if (is_wanted(job->out, h))
            return true;
    return false;
}

/* Task 0 of a head packs its keys, the others a chunk of its values each. */
static void pack_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    attention_job *job = ctx;
    const attn_operator_input *in = job->in;
    size_t parts = 1 + job->size.chunks, part = i % parts, g = job->first_group + i / parts;
    unsigned char *head = job->panels + i / parts * job->size.head_bytes;
    if (!group_is_wanted(job, g))
        return;
    if (part == 0) {
        const float *k = in->key.data + (ptrdiff_t)g * in->key.head_stride;
        attn_gemm_pack(job->gemm, (float *)head, k, in->T_k, in->head_dim, in->key.row_stride, 1);
        return;
    }
    size_t first = (part - 1) * CHUNK;
    const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)first * in->value.row_stride;
    float *dst = (float *)(head + job->size.key_bytes + (part - 1) * job->size.chunk_bytes);
    attn_gemm_pack(job->gemm, dst, v, in->value_dim, attn_least(CHUNK, in->T_k - first), 1, in->value.row_stride);
}

/* Keys and values of one head, and all that is made of them. */
static void group_task(void *ctx, size_t i, int slot)
{
    attention_job *job = ctx;
    size_t parts = 1 + job->size.chunks, blocks = job->in->num_attention_heads / job->in->num_key_value_heads * job->size.blocks;
    for (size_t part = 0; part < parts; part++)
        pack_task(job, i * parts + part, slot);
    for (size_t b = 0; b < blocks; b++)
        run_block(job, i * blocks + b, slot);
}

/* Whether a key/value head with its queries is little enough to be one task. */
static bool are_short(const attn_operator_input *in)
{
    double group = (double)(in->num_attention_heads / in->num_key_value_heads);
    return 2.0 * group * (double)in->T_q * (double)in->T_k * (double)(in->head_dim + in->value_dim) < TASK_FLOPS;
}

static void run_groups(attn_runtime *runtime, attention_job *job)
{
    size_t G = job->in->num_key_value_heads, group = job->in->num_attention_heads / G;
    if (job->size.is_one_row) {
        attn_parallel(runtime, attn_ceil_div(job->in->num_attention_heads, job->size.heads), heads_task, job);
        return;
    }
    for (size_t g = 0; g < G && !attn_faults_stop(&job->faults, (uint64_t)g * group * job->size.blocks); g += job->size.batch) {
        size_t n = attn_least(job->size.batch, G - g);
        job->first_group = g;
        if (are_short(job->in)) {
            attn_parallel(runtime, n, group_task, job);
            continue;
        }
        attn_parallel(runtime, n * (1 + job->size.chunks), pack_task, job);
        attn_parallel(runtime, n * group * job->size.blocks, block_task, job);
    }
}

/* The sums of a head's blocks, in their order: the same for any number of threads. */
static void add_sums(const attention_job *job)
{
    for (size_t h = 0; h < job->in->num_attention_heads; h++) {
        if (!attn_head_is_kept(job->out, h))
            continue;
        attn_row_sums *sums = &job->out->sums[job->out->slot ? (size_t)job->out->slot[h] : h];
        *sums = (attn_row_sums){ 0 };
        for (size_t i = 0; i < job->size.blocks; i++)
            attn_row_sums_add(sums, &job->sums[h * job->size.blocks + i]);
    }
}

/* Attention over whole rows: all but pooled maps. */
static attn_status walk(attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out, attn_arena *arena, attn_cancel *cancel,
                        attn_error *err)
{
    attention_job job = {
        .in = in, .out = out, .kernels = attn_runtime_table(runtime), .gemm = attn_runtime_gemm(runtime), .cancel = cancel, .faults = { .first = UINT64_MAX }
    };
    if (!plan_make(&job.size, runtime, in, out))
        return attn_fail_memory(err);
    attn_arena_mark mark = attn_arena_save(arena);
    job.panels = job.size.is_one_row ? NULL : attn_arena_take(arena, job.size.batch, job.size.head_bytes);
    job.scratch = attn_arena_take(arena, (size_t)attn_runtime_threads(runtime), job.size.slot_bytes);
    job.sums = out->analyst ? attn_arena_zero(arena, job.size.analysis_bytes, 1) : NULL;
    attn_status status = ATTN_OK;
    if (!(job.panels || job.size.is_one_row) || !job.scratch || (out->analyst && !job.sums)) {
        status = attn_fail_memory(err);
    } else {
        run_groups(runtime, &job);
        status = attn_faults_report(&job.faults, err);
    }
    if (status == ATTN_OK && out->analyst)
        add_sums(&job);
    attn_arena_rewind(arena, mark);
    return status;
}

attn_status attn_attention(attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out, attn_arena *arena, attn_cancel *cancel,
                           attn_error *err)
{
    if (!is_pooled(out))
        return walk(runtime, in, out, arena, cancel, err);
    attn_attention_out pooled = pooled_part(out), plain = plain_part(out);
    attn_status status = attn_attention_pooled(runtime, in, &pooled, arena, cancel, err);
    return status == ATTN_OK && !is_empty(&plain) ? walk(runtime, in, &plain, arena, cancel, err) : status;
}
