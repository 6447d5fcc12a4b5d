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

static void write_maps(const attn_operator_input *in, const attn_attention_out *out, size_t h, size_t i, size_t place)
{
    double largest, total = row_sum(in, h, i, &largest);
    for (size_t j = 0; j < in->T_k; j++) {
        size_t at = (place * in->T_q + i) * in->T_k + j;
        double s = score(in, h, i, j);
        if (out->attentions)
            out->attentions[at] = total > 0.0 ? (float)(exp(s - largest) / total) : 0.0f;
        if (out->scores)
            out->scores[at] = (float)s;
        if (out->raw_scores)
            out->raw_scores[at] = (float)raw_score(in, h, i, j);
    }
}

void attn_attention_reference(const attn_operator_input *in, const attn_attention_out *out)
{
    for (size_t h = 0; h < in->num_attention_heads; h++) {
        bool kept = !out->slot || out->slot[h] >= 0;
        size_t place = out->slot && kept ? (size_t)out->slot[h] : h, context_place = out->context_of_kept ? place : h;
        for (size_t i = 0; i < in->T_q; i++) {
            if (kept)
                write_maps(in, out, h, i, place);
            if (out->context && (kept || !out->context_of_kept))
                write_context(in, h, i, out->context + (ptrdiff_t)context_place * out->context_head_stride + (ptrdiff_t)i * out->context_row_stride);
        }
    }
}
