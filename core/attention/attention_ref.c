/* attention/attention_ref.c - attention as the formula says it: three loops in double, one key at a time, nothing clever.
 *
 * What the fast path is held against. A score is computed anew whenever it is needed, so there is nothing to allocate. Positions are long double: where that
 * has 64 bits of mantissa or more, sums of 64-bit positions and windows are exact.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"

#include <math.h>

enum { COLUMNS = 64 }; /* of a context vector summed at a time */

static double raw_score(const attn_operator_input *in, size_t h, size_t i, size_t j)
{
    size_t g = h / (in->num_attention_heads / in->num_key_value_heads);
    const float *q = in->query.data + (ptrdiff_t)h * in->query.head_stride + (ptrdiff_t)i * in->query.row_stride;
    const float *k = in->key.data + (ptrdiff_t)g * in->key.head_stride + (ptrdiff_t)j * in->key.row_stride;
    double sum = 0.0;
    for (size_t l = 0; l < in->head_dim; l++)
        sum += (double)q[l] * (double)k[l];
    return (double)in->rules.scale * sum;
}

static bool is_hidden(const attn_rules *rules, size_t i, size_t j)
{
    long double distance = (long double)j - (long double)i - (long double)rules->query_offset;
    return j >= rules->key_length || (rules->is_causal && distance > 0) || (rules->left_window_size >= 0 && -distance > (long double)rules->left_window_size) ||
           (rules->right_window_size >= 0 && distance > (long double)rules->right_window_size);
}

static double score(const attn_operator_input *in, size_t h, size_t i, size_t j)
{
    const attn_rules *rules = &in->rules;
    const attn_mask *mask = &rules->mask;
    ptrdiff_t at = (ptrdiff_t)h * mask->head_stride + (ptrdiff_t)i * mask->query_stride + (ptrdiff_t)j * mask->key_stride;
    if (is_hidden(rules, i, j) || (mask->keep && !mask->keep[at]))
        return -INFINITY;
    double s = raw_score(in, h, i, j);
    if (rules->softcap > 0.0f)
        s = (double)rules->softcap * tanh(s / (double)rules->softcap);
    if (rules->alibi_slopes)
        s -= (double)rules->alibi_slopes[h] * (double)fabsl((long double)rules->query_offset + (long double)i - (long double)j);
    if (rules->bias.add)
        s += (double)rules->bias.add[(ptrdiff_t)h * rules->bias.head_stride + (ptrdiff_t)i * rules->bias.query_stride + (ptrdiff_t)j * rules->bias.key_stride];
    return mask->add ? s + (double)mask->add[at] : s;
}

/* The largest score of a row, and the sum of exp(score - largest); 0 when nothing is visible. */
static double row_sum(const attn_operator_input *in, size_t h, size_t i, double *largest)
{
    double sum = 0.0;
    *largest = -INFINITY;
    for (size_t j = 0; j < in->T_k; j++)
        *largest = fmax(*largest, score(in, h, i, j));
    for (size_t j = 0; j<in->T_k && * largest> - INFINITY; j++)
        sum += exp(score(in, h, i, j) - *largest);
    return sum;
}

static void add_values(const attn_operator_input *in, size_t h, size_t j, size_t first, size_t n, double weight, double *sum)
{
    size_t g = h / (in->num_attention_heads / in->num_key_value_heads);
    const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)j * in->value.row_stride;
    for (size_t c = 0; c < n; c++)
        sum[c] += weight * (double)v[first + c];
}

static void write_context(const attn_operator_input *in, size_t h, size_t i, float *context)
{
    double largest, total = row_sum(in, h, i, &largest);
    for (size_t first = 0; first < in->value_dim; first += COLUMNS) {
        size_t n = in->value_dim - first < COLUMNS ? in->value_dim - first : COLUMNS;
        double sum[COLUMNS] = { 0.0 };
        for (size_t j = 0; j < in->T_k && total > 0.0; j++)
            add_values(in, h, j, first, n, exp(score(in, h, i, j) - largest) / total, sum);
        for (size_t c = 0; c < n; c++)
            context[first + c] = (float)sum[c];
    }
}

/* A row, with what its softmax needs. */
typedef struct row {
    size_t h, i;
    double largest, total;
} row;

static row row_of(const attn_operator_input *in, size_t h, size_t i)
{
    row r = { .h = h, .i = i };
    r.total = row_sum(in, h, i, &r.largest);
    return r;
}

static double map_value(const attn_operator_input *in, const attn_attention_out *out, attn_output map, const row *r, size_t j)
{
    if (map == ATTN_RAW_SCORES)
        return raw_score(in, r->h, r->i, j);
    double s = score(in, r->h, r->i, j);
    if (map == ATTN_SCORES)
        return s;
    double weight = r->total > 0.0 ? exp(s - r->largest) / r->total : 0.0;
    return map == ATTN_WEIGHTED_NORMS ? weight * (double)out->transformed_norms[r->h * in->T_k + j] : weight;
}

/* The mean or the largest of a map's bin. */
static double bin_value(const attn_operator_input *in, const attn_attention_out *out, attn_output map, size_t h, const size_t *bin, const size_t *bins)
{
    const attn_pool *pool = out->pool;
    size_t queries = pool->queries ? pool->num_queries : in->T_q, keys = pool->keys ? pool->num_keys : in->T_k, count = 0;
    double sum = 0.0, largest = -INFINITY;
    for (size_t p = attn_pool_edge(queries, bins[0], bin[0]); p < attn_pool_edge(queries, bins[0], bin[0] + 1); p++) {
        row r = row_of(in, h, pool->queries ? (size_t)pool->queries[p] : p);
        for (size_t k = attn_pool_edge(keys, bins[1], bin[1]); k < attn_pool_edge(keys, bins[1], bin[1] + 1); k++, count++) {
            double x = map_value(in, out, map, &r, pool->keys ? (size_t)pool->keys[k] : k);
            sum += x;
            largest = fmax(largest, x);
        }
    }
    return pool->mode == ATTN_REDUCE_MEAN ? sum / (double)count : largest;
}

static void write_bins(const attn_operator_input *in, const attn_attention_out *out, attn_output map, float *dst, size_t h)
{
    const attn_pool *pool = out->pool;
    const size_t bins[2] = { attn_pool_bins(pool->queries ? pool->num_queries : in->T_q, pool->size),
                             attn_pool_bins(pool->keys ? pool->num_keys : in->T_k, pool->size) };
    for (size_t n = 0; n < bins[0] * bins[1]; n++)
        dst[n] = (float)bin_value(in, out, map, h, (const size_t[2]){ n / bins[1], n % bins[1] }, bins);
}

static void write_map(const attn_operator_input *in, const attn_attention_out *out, attn_output map, float *dst, size_t h)
{
    for (size_t i = 0; i < in->T_q; i++) {
        row r = row_of(in, h, i);
        for (size_t j = 0; j < in->T_k; j++)
            dst[i * in->T_k + j] = (float)map_value(in, out, map, &r, j);
    }
}

static void write_maps(const attn_operator_input *in, const attn_attention_out *out, size_t h, size_t place)
{
    float *const maps[ATTN_OUTPUT_COUNT] = {
        [ATTN_ATTENTIONS] = out->attentions, [ATTN_SCORES] = out->scores, [ATTN_RAW_SCORES] = out->raw_scores, [ATTN_WEIGHTED_NORMS] = out->weighted_norms
    };
    const attn_pool *pool = out->pool;
    size_t rows = pool ? attn_pool_bins(pool->queries ? pool->num_queries : in->T_q, pool->size) : in->T_q;
    size_t columns = pool ? attn_pool_bins(pool->keys ? pool->num_keys : in->T_k, pool->size) : in->T_k;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (maps[o])
            (pool ? write_bins : write_map)(in, out, (attn_output)o, maps[o] + place * rows * columns, h);
}

void attn_attention_reference(const attn_operator_input *in, const attn_attention_out *out)
{
    for (size_t h = 0; h < in->num_attention_heads; h++) {
        bool kept = attn_head_is_kept(out, h);
        size_t place = out->slot && kept ? (size_t)out->slot[h] : h, context_place = out->context_of_kept ? place : h;
        if (kept)
            write_maps(in, out, h, place);
        for (size_t i = 0; i < in->T_q && out->context && (kept || !out->context_of_kept); i++)
            write_context(in, h, i, out->context + (ptrdiff_t)context_place * out->context_head_stride + (ptrdiff_t)i * out->context_row_stride);
    }
}
