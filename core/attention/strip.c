/* attention/strip.c - online softmax over chunks of keys, for a strip of queries at once; strip.h says why.
 *
 * One chunk: scores by strip_scores; where rules or the ends of what is visible touch the chunk, it is turned into rows, goes through scores.c, and is turned
 * back. Then exp in place, bins, and the product with the values, all from the first-level cache.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/strip.h"

#include <math.h>
#include <string.h>

enum { LOOK = 4 }; /* chunks between two looks at the cancellation */

/* A base moves when a score is further above it than this. exp(8) is 2981: sums of any length stay far inside float32, and bases hardly move at all once the
 * first chunks are done. */
static const float RISE = 8.0f;

/* ---- before the walk ---------------------------------------------------------------------------------------------------- */

static void choose_keys(attn_strip *s)
{
    const attn_operator_input *in = s->job->in;
    s->any = (attn_range){ in->T_k, 0 };
    s->all = (attn_range){ 0, in->T_k };
    for (size_t r = 0; r < s->rows; r++) {
        attn_range range = attn_visible_keys(&in->rules, s->query[r], in->T_k);
        if (range.lo >= range.hi)
            range = (attn_range){ 0, 0 };
        else
            s->any = (attn_range){ attn_least(s->any.lo, range.lo), attn_most(s->any.hi, range.hi) };
        s->all = (attn_range){ attn_most(s->all.lo, range.lo), attn_least(s->all.hi, range.hi) };
        s->seen[r] = range;
    }
}

/* Queries side by side; missing ones are zeros and do no harm. */
static void pack_queries(attn_strip *s)
{
    const attn_operator_input *in = s->job->in;
    const size_t strip = s->job->kernels->strip;
    if (s->rows < strip)
        memset(s->q, 0, in->head_dim * strip * sizeof *s->q);
    for (size_t r = 0; r < s->rows; r++) {
        const float *q = in->query.data + (ptrdiff_t)s->h * in->query.head_stride + (ptrdiff_t)s->query[r] * in->query.row_stride;
        for (size_t l = 0; l < in->head_dim; l++)
            s->q[l * strip + r] = q[l];
    }
}

static void fill(double *x, size_t n, double value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

/* Nothing is summed yet. Weights are never negative: 0 will do as their least. */
static void empty(attn_strip *s)
{
    const size_t strip = s->job->kernels->strip;
    for (int map = 0; map < ATTN_STRIP_MAPS; map++) {
        bool of_scores = map == ATTN_STRIP_SCORES || map == ATTN_STRIP_RAW_SCORES;
        if (s->bins[map])
            fill(s->bins[map], s->job->bins * strip, of_scores && s->job->takes_max ? -INFINITY : 0.0);
    }
    if (s->context)
        fill(s->context, s->job->in->value_dim * strip, 0.0);
    fill(s->sum, ATTN_STRIP_MOST, 0.0);
}

/* ---- scores of a chunk -------------------------------------------------------------------------------------------------- */

/* What of a range lies in [first, first + n). */
static attn_range cut(attn_range range, size_t first, size_t n)
{
    size_t lo = attn_most(range.lo, first), hi = attn_least(range.hi, first + n);
    return lo < hi ? (attn_range){ lo, hi } : (attn_range){ first, first };
}

static bool seen_are_finite(const attn_strip *s, size_t first, size_t n)
{
    const size_t strip = s->job->kernels->strip;
    for (size_t r = 0; r < s->rows; r++) {
        attn_range part = cut(s->seen[r], first, n);
        for (size_t j = part.lo; j < part.hi; j++)
            if (!isfinite(s->x[(j - first) * strip + r]))
                return false;
    }
    return true;
}

/* Products must be finite: all of them where they are an answer, else those somebody sees. */
static bool multiply_keys(attn_strip *s, size_t first, size_t n, float *top)
{
    const attn_operator_input *in = s->job->in;
    size_t g = s->h / (in->num_attention_heads / in->num_key_value_heads);
    attn_strip_product product = { .q = s->q, .k_stride = in->key.row_stride, .d = in->head_dim, .scale = in->rules.scale };
    product.k = in->key.data + (ptrdiff_t)g * in->key.head_stride + (ptrdiff_t)first * in->key.row_stride;
    return s->job->kernels->strip_scores(s->x, top, &product, n) || (!s->bins[ATTN_STRIP_RAW_SCORES] && seen_are_finite(s, first, n));
}

static void hide(float *x, size_t step, size_t n)
{
    for (size_t j = 0; j < n; j++)
        x[j * step] = -INFINITY;
}

static bool score_by_row(attn_strip *s, size_t first, size_t n)
{
    const attn_kernels *kernels = s->job->kernels;
    kernels->transpose(s->by_row, ATTN_STRIP_CHUNK, s->x, kernels->strip, n, s->rows);
    for (size_t r = 0; r < s->rows; r++) {
        attn_row_part row = { .h = s->h, .i = s->query[r], .seen = s->seen[r], .part = cut(s->seen[r], first, n) };
        float *x = s->by_row + r * ATTN_STRIP_CHUNK;
        hide(x, 1, row.part.lo - first);
        hide(x + (row.part.hi - first), 1, first + n - row.part.hi);
        if (row.part.lo < row.part.hi && !attn_score_row(kernels, &s->job->in->rules, &row, x + (row.part.lo - first), &s->shift[r]))
            return false;
    }
    kernels->transpose(s->x, kernels->strip, s->by_row, ATTN_STRIP_CHUNK, s->rows, n);
    return true;
}

/* Without rules only the ends of what is visible matter. */
static void hide_ends(attn_strip *s, size_t first, size_t n)
{
    const size_t strip = s->job->kernels->strip;
    for (size_t r = 0; r < s->rows; r++) {
        attn_range part = cut(s->seen[r], first, n);
        hide(s->x + r, strip, part.lo - first);
        hide(s->x + (part.hi - first) * strip + r, strip, first + n - part.hi);
    }
}

/* From products to scores (plus shift); top is the largest of each query. */
static bool score_chunk(attn_strip *s, size_t first, size_t n, float *top)
{
    const attn_rules *rules = &s->job->in->rules;
    bool has_rules = rules->softcap > 0.0f || rules->alibi_slopes || rules->bias.add || rules->mask.keep || rules->mask.add;
    if (!has_rules && s->all.lo <= first && first + n <= s->all.hi)
        return true;
    if (!has_rules)
        hide_ends(s, first, n);
    else if (!score_by_row(s, first, n))
        return false;
    for (size_t r = 0; r < ATTN_STRIP_MOST; r++)
        top[r] = -INFINITY;
    s->job->kernels->strip_max(top, s->x, n, NULL);
    return true;
}

/* ---- bins --------------------------------------------------------------------------------------------------------------- */

static void pool_max(const attn_strip *s, double *bin, const float *x, size_t n, const float *factor)
{
    float max[ATTN_STRIP_MOST];
    for (size_t r = 0; r < ATTN_STRIP_MOST; r++)
        max[r] = -INFINITY;
    s->job->kernels->strip_max(max, x, n, factor);
    for (size_t r = 0; r < s->job->kernels->strip; r++)
        bin[r] = (double)max[r] > bin[r] ? (double)max[r] : bin[r];
}

/* x, times the factor of each key, into the bins of a map. */
static void pool_chunk(const attn_strip *s, int map, size_t c, const float *factor)
{
    const attn_strip_job *job = s->job;
    const size_t strip = job->kernels->strip;
    for (size_t i = c > 0 ? job->chunk_end[c - 1] : 0; s->bins[map] && i < job->chunk_end[c]; i++) {
        const attn_segment *at = &job->segments[i];
        const float *x = s->x + (at->key - c * ATTN_STRIP_CHUNK) * strip, *factors = factor ? factor + at->key : NULL;
        double *bin = s->bins[map] + at->bin * strip;
        if (job->takes_max)
            pool_max(s, bin, x, at->n, factors);
        else
            job->kernels->strip_sum(bin, x, at->n, factors);
    }
}

/* ---- weights of a chunk ------------------------------------------------------------------------------------------------- */

static void scale_all(double *x, size_t n, size_t strip, const double *factor)
{
    for (size_t i = 0; i < n; i++, x += strip)
        for (size_t r = 0; r < strip; r++)
            x[r] *= factor[r];
}

/* Moves the bases that lie too far below this chunk's largest scores. */
static void raise_bases(attn_strip *s, const float *top)
{
    const size_t strip = s->job->kernels->strip;
    double factor[ATTN_STRIP_MOST];
    bool shrinks = false;
    for (size_t r = 0; r < strip; r++) {
        factor[r] = 1.0;
        if (!(top[r] > s->max[r] + RISE))
            continue;
        if (s->max[r] > -INFINITY) {
            factor[r] = exp((double)s->max[r] - (double)top[r]);
            shrinks = true;
        }
        s->max[r] = top[r];
    }
    if (!shrinks)
        return;
    scale_all(s->sum, 1, strip, factor);
    if (s->context)
        scale_all(s->context, s->job->in->value_dim, strip, factor);
    if (s->bins[ATTN_STRIP_WEIGHTS])
        scale_all(s->bins[ATTN_STRIP_WEIGHTS], s->job->bins, strip, factor);
    if (s->bins[ATTN_STRIP_WEIGHTED_NORMS])
        scale_all(s->bins[ATTN_STRIP_WEIGHTED_NORMS], s->job->bins, strip, factor);
}

/* Two differences, one after the other: beside a large base their sum would lose the second. */
static void take_away(float *x, size_t n, size_t strip, float *base, const float *excess)
{
    for (size_t j = 0; j < n; j++, x += strip)
        for (size_t r = 0; r < strip; r++)
            x[r] -= base[r];
    memcpy(base, excess, strip * sizeof *base);
}

/* exp in place. Where every key has its place in one bin, the sums of bins are the sums of the softmax. */
static void weigh_chunk(attn_strip *s, size_t c, size_t n)
{
    const attn_strip_job *job = s->job;
    const size_t strip = job->kernels->strip;
    float base[ATTN_STRIP_MOST];
    for (size_t r = 0; r < strip; r++)
        base[r] = s->max[r] > -INFINITY ? s->max[r] : 0.0f; /* -INFINITY less itself would be NaN */
    if (s->walks_again)
        take_away(s->x, n, strip, base, s->excess);
    if (!s->bins[ATTN_STRIP_WEIGHTS] || job->takes_max || !job->has_all_keys) {
        job->kernels->strip_exp(s->x, n, base, s->sum);
        pool_chunk(s, ATTN_STRIP_WEIGHTS, c, NULL);
        return;
    }
    for (size_t i = c > 0 ? job->chunk_end[c - 1] : 0; i < job->chunk_end[c]; i++) {
        const attn_segment *at = &job->segments[i];
        double sum[ATTN_STRIP_MOST] = { 0.0 }, *bin = s->bins[ATTN_STRIP_WEIGHTS] + at->bin * strip;
        job->kernels->strip_exp(s->x + (at->key - c * ATTN_STRIP_CHUNK) * strip, at->n, base, sum);
        for (size_t r = 0; r < strip; r++) {
            s->sum[r] += sum[r];
            bin[r] += sum[r];
        }
    }
}

static void multiply_values(const attn_strip *s, size_t first, size_t n)
{
    const attn_operator_input *in = s->job->in;
    size_t g = s->h / (in->num_attention_heads / in->num_key_value_heads);
    const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)first * in->value.row_stride;
    s->job->kernels->strip_values(s->context, v, in->value.row_stride, in->value_dim, s->x, n);
}

/* ---- the walk ----------------------------------------------------------------------------------------------------------- */

static attn_fault take_chunk(attn_strip *s, size_t c, size_t n, bool is_seen)
{
    size_t first = c * ATTN_STRIP_CHUNK;
    float top[ATTN_STRIP_MOST];
    for (size_t r = 0; r < ATTN_STRIP_MOST; r++)
        top[r] = -INFINITY;
    if ((is_seen || s->bins[ATTN_STRIP_RAW_SCORES]) && !multiply_keys(s, first, n, top))
        return ATTN_FAULT_RAW_SCORES;
    pool_chunk(s, ATTN_STRIP_RAW_SCORES, c, NULL);
    if (!is_seen)
        hide(s->x, 1, n * s->job->kernels->strip);
    else if ((s->weighs || s->bins[ATTN_STRIP_SCORES]) && !score_chunk(s, first, n, top))
        return ATTN_FAULT_SCORES;
    pool_chunk(s, ATTN_STRIP_SCORES, c, NULL);
    if (!is_seen || !s->weighs)
        return ATTN_FAULT_NONE;
    raise_bases(s, top);
    weigh_chunk(s, c, n);
    pool_chunk(s, ATTN_STRIP_WEIGHTED_NORMS, c, s->norms);
    if (s->context)
        multiply_values(s, first, n);
    return ATTN_FAULT_NONE;
}

static attn_fault take_chunks(attn_strip *strips, size_t count)
{
    const attn_strip_job *job = strips->job;
    const size_t T_k = job->in->T_k;
    bool takes_all = strips->bins[ATTN_STRIP_SCORES] || strips->bins[ATTN_STRIP_RAW_SCORES];
    attn_fault found = ATTN_FAULT_NONE;
    for (size_t c = 0; c * ATTN_STRIP_CHUNK < T_k && found == ATTN_FAULT_NONE; c++) {
        size_t first = c * ATTN_STRIP_CHUNK, n = attn_least(ATTN_STRIP_CHUNK, T_k - first);
        if (c % LOOK == 0 && attn_cancelled(job->cancel))
            return ATTN_FAULT_CANCELLED;
        for (attn_strip *s = strips; s < strips + count && found == ATTN_FAULT_NONE; s++) {
            bool is_seen = s->any.lo < first + n && first < s->any.hi;
            found = is_seen || takes_all ? take_chunk(s, c, n, is_seen) : ATTN_FAULT_NONE;
        }
    }
    return found;
}

/* Whether something that was summed before it was divided left float32. */
static bool left_float32(const attn_strip *s, const double *x, size_t n)
{
    const size_t strip = s->job->kernels->strip;
    for (size_t i = 0; x && i < n; i++)
        for (size_t r = 0; r < s->rows; r++)
            if (!isfinite(x[i * strip + r]))
                return true;
    return false;
}

/* Values near the end of float32: once more, so that every sum is 1 and nothing is larger than the values are. */
static attn_fault walk_again(attn_strip *s)
{
    for (size_t r = 0; r < s->rows; r++)
        s->excess[r] = (float)log(s->sum[r] > 0.0 ? s->sum[r] : 1.0);
    s->walks_again = true;
    empty(s);
    return take_chunks(s, 1);
}

static void prepare(attn_strip *s)
{
    s->weighs = s->context || s->bins[ATTN_STRIP_WEIGHTS] || s->bins[ATTN_STRIP_WEIGHTED_NORMS];
    choose_keys(s);
    pack_queries(s);
    for (size_t r = 0; r < ATTN_STRIP_MOST; r++) {
        s->max[r] = -INFINITY;
        s->shift[r] = s->excess[r] = 0.0f;
    }
    s->walks_again = false;
    empty(s);
}

attn_fault attn_strips_walk(attn_strip *strips, size_t count)
{
    for (size_t i = 0; i < count; i++)
        prepare(&strips[i]);
    attn_fault found = take_chunks(strips, count);
    for (attn_strip *s = strips; s < strips + count && s->weighs && found == ATTN_FAULT_NONE; s++)
        if (left_float32(s, s->context, s->job->in->value_dim) || left_float32(s, s->bins[ATTN_STRIP_WEIGHTED_NORMS], s->job->bins))
            found = walk_again(s);
    return found;
}
