/* attention/scores.c - the rules of one row of scores; scores.h says what and why.
 *
 * Order: softcap, then ALiBi, then bias, then the mask (ONNX Attention-25 puts the cap before mask and bias too).
 * Positions are 64-bit and come from outside, so every sum of them stops at the ends of int64. That keeps the ranges exact: a sum is only ever
 * compared with [0, T_k), offset and window are added before the row, and a window never has the sign that would bring a stopped sum back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/scores.h"

#include <float.h>
#include <math.h>

static int64_t add_clamped(int64_t a, int64_t b)
{
    if (b > 0 && a > INT64_MAX - b)
        return INT64_MAX;
    if (b < 0 && a < INT64_MIN - b)
        return INT64_MIN;
    return a + b;
}

/* A position as a bound of [0, T_k]. */
static size_t to_key(int64_t position, size_t T_k)
{
    if (position < 0)
        return 0;
    return (uint64_t)position < T_k ? (size_t)position : T_k;
}

attn_range attn_visible_keys(const attn_rules *rules, size_t i, size_t T_k)
{
    attn_range range = { 0, rules->key_length < T_k ? rules->key_length : T_k };
    int64_t row = (int64_t)i;
    if (rules->left_window_size >= 0)
        range.lo = to_key(add_clamped(add_clamped(rules->query_offset, -rules->left_window_size), row), T_k);
    if (rules->is_causal || rules->right_window_size >= 0) {
        int64_t reach = rules->is_causal ? 0 : rules->right_window_size;
        int64_t last = add_clamped(add_clamped(rules->query_offset, reach), row);
        size_t hi = to_key(add_clamped(last, 1), T_k);
        if (hi < range.hi)
            range.hi = hi;
    }
    return range;
}

/* x[j] -= slope * |c - j|, c the visible key nearest to position p; returns slope * |p - c|. As c lies between p and every j, |p - j| = |p - c| + |c - j|. */
static float add_alibi(float *x, const attn_row_part *row, float slope, int64_t p)
{
    int64_t first = (int64_t)row->seen.lo, last = (int64_t)row->seen.hi - 1, from = (int64_t)row->part.lo, end = (int64_t)row->part.hi;
    int64_t c = p < first ? first : p > last ? last : p, turn = c < from ? from : c > end ? end : c;
    for (int64_t j = from; j < turn; j++)
        x[j - from] -= slope * (float)(c - j);
    for (int64_t j = turn; j < end; j++)
        x[j - from] -= slope * (float)(j - c);
    return slope * (float)fabs((double)p - (double)c);
}

static void hide_by_mask(float *x, size_t n, const uint8_t *keep, ptrdiff_t stride)
{
    if (stride == 1) { /* said apart so that it is vectorised */
        for (size_t j = 0; j < n; j++)
            x[j] = keep[j] ? x[j] : -INFINITY;
        return;
    }
    for (size_t j = 0; j < n; j++)
        x[j] = keep[(ptrdiff_t)j * stride] ? x[j] : -INFINITY;
}

/* Only a mask of -INFINITY may bring an infinity into a score. */
static bool left_float32(float score, float mask)
{
    return !(fabsf(score) <= FLT_MAX) & !(mask == -INFINITY);
}

static bool add_mask(float *x, size_t n, const float *add, ptrdiff_t stride)
{
    unsigned bad = 0;
    if (stride == 1) {
        for (size_t j = 0; j < n; j++) {
            float score = x[j] + add[j];
            bad |= left_float32(score, add[j]);
            x[j] = score;
        }
        return bad == 0;
    }
    for (size_t j = 0; j < n; j++) {
        float mask = add[(ptrdiff_t)j * stride], score = x[j] + mask;
        bad |= left_float32(score, mask);
        x[j] = score;
    }
    return bad == 0;
}

bool attn_score_row(const attn_kernels *kernels, const attn_rules *rules, const attn_row_part *row, float *x, float *shift)
{
    const attn_mask *mask = &rules->mask;
    const attn_bias *bias = &rules->bias;
    size_t n = row->part.hi - row->part.lo;
    ptrdiff_t at = (ptrdiff_t)row->h * mask->head_stride + (ptrdiff_t)row->i * mask->query_stride + (ptrdiff_t)row->part.lo * mask->key_stride;
    ptrdiff_t bias_at = (ptrdiff_t)row->h * bias->head_stride + (ptrdiff_t)row->i * bias->query_stride + (ptrdiff_t)row->part.lo * bias->key_stride;
    *shift = 0.0f;
    if (rules->softcap > 0.0f)
        kernels->softcap_row(x, n, rules->softcap);
    if (rules->alibi_slopes)
        *shift = add_alibi(x, row, rules->alibi_slopes[row->h], add_clamped(rules->query_offset, (int64_t)row->i));
    if (rules->alibi_slopes && !(isfinite(*shift) && kernels->all_finite(x, n)))
        return false;
    if (bias->add && !add_mask(x, n, bias->add + bias_at, bias->key_stride))
        return false;
    if (mask->keep)
        hide_by_mask(x, n, mask->keep + at, mask->key_stride);
    return !mask->add || add_mask(x, n, mask->add + at, mask->key_stride);
}
