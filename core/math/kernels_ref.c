/* kernels_ref.c - what each kernel means, in plain C, with the mathematics library and sums in double. Runs on any CPU.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernel_tables.h"
#include "number/number_kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A result that float32 cannot hold with full precision is 0, in every table. */
static float exp_one(float x)
{
    float e = expf(x);
    return e < FLT_MIN ? 0 : e;
}

static void exp_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = exp_one(x[i]);
}

static bool softmax_row(float *x, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!(x[i] < INFINITY))
            return false;
        max = x[i] > max ? x[i] : max;
    }
    if (max == -INFINITY) { /* x - max would be NaN */
        memset(x, 0, n * sizeof *x);
        return true;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = exp_one(x[i] - max);
        sum += (double)x[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] / sum);
    return true;
}

static bool softmax_finite_row(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] == -INFINITY)
            return false;
    return softmax_row(x, n);
}

static void softcap_row(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
}

static float activate(float x, attn_activation act)
{
    switch (act) {
    case ATTN_ACT_GELU: /* erfc keeps what 1 + erf loses below 0 */
        return x * 0.5f * erfcf(x * -0.707106781f);
    case ATTN_ACT_GELU_TANH: /* (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)) */
        return x / (1 + expf(-1.59576912f * (x + 0.044715f * x * x * x)));
    case ATTN_ACT_RELU:
        return x < 0 ? 0 : x;
    case ATTN_ACT_SILU:
        return x / (1 + expf(-x));
    case ATTN_ACT_NONE:
        break;
    }
    return x;
}

static void bias_act_row(float *y, const float *bias, size_t n, attn_activation act)
{
    for (size_t i = 0; i < n; i++)
        y[i] = activate(bias ? y[i] + bias[i] : y[i], act);
}

static void layer_norm_row(float *y, const float *x, const float *bias, const float *residual, const float *gain, const float *shift, size_t n, float eps)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        float z = bias ? x[i] + bias[i] : x[i];
        y[i] = residual ? z + residual[i] : z;
        sum += (double)y[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)y[i] - mean) * ((double)y[i] - mean);
    double variance = squares / (double)n;
    double factor = variance <= (double)FLT_MAX ? 1 / sqrt(variance + (double)eps) : (double)NAN;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(((double)y[i] - mean) * factor) * gain[i] + (shift ? shift[i] : 0);
}

static void rms_norm_row(float *y, const float *x, const float *gain, size_t n, float eps)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double mean = squares / (double)n, factor = mean <= (double)FLT_MAX ? 1 / sqrt(mean + (double)eps) : (double)NAN;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)x[i] * factor) * gain[i];
}

static void mul_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= x[i];
}

static void add_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static float max_row(const float *x, size_t n)
{
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static double dot_row(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* Some at a time. */
static double dot_widened(const uint16_t *x, const float *y, size_t n, void (*widen)(float *, const uint16_t *, size_t))
{
    enum { SOME = 64 };
    float wide[SOME];
    double sum = 0;
    for (size_t i = 0; i < n; i += SOME) {
        size_t some = n - i < SOME ? n - i : SOME;
        widen(wide, x + i, some);
        for (size_t j = 0; j < some; j++)
            sum += (double)wide[j] * (double)y[i + j];
    }
    return sum;
}

static double dot_half(const uint16_t *x, const float *y, size_t n)
{
    return dot_widened(x, y, n, attn_from_half_ref);
}

static double dot_bfloat16(const uint16_t *x, const float *y, size_t n)
{
    return dot_widened(x, y, n, attn_from_bfloat16_ref);
}

static double entropy_row(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double m = ((double)x[i] + (double)y[i]) / 2;
        sum -= m < (double)FLT_MIN ? 0 : m * log(m);
    }
    return sum;
}

static bool all_finite(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += 0 * x[i];
    return sum == 0;
}

static void transpose(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols)
{
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++)
            dst[c * ld_dst + r] = src[r * ld_src + c];
}

/* ---- strips ------------------------------------------------------------------------------------------------------------- */

enum { STRIP = 8 };

static bool strip_scores(float *x, float *max, const attn_strip_product *strip, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < STRIP; r++) {
            double sum = 0;
            for (size_t l = 0; l < strip->d; l++)
                sum += (double)strip->k[(ptrdiff_t)j * strip->k_stride + (ptrdiff_t)l] * (double)strip->q[l * STRIP + r];
            x[j * STRIP + r] = (float)((double)strip->scale * sum);
            max[r] = x[j * STRIP + r] > max[r] ? x[j * STRIP + r] : max[r];
        }
    return all_finite(x, n * STRIP);
}

static void strip_exp(float *x, size_t n, const float *base, double *sum)
{
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < STRIP; r++) {
            x[j * STRIP + r] = exp_one(x[j * STRIP + r] - base[r]);
            sum[r] += (double)x[j * STRIP + r];
        }
}

static void strip_values(double *y, const float *v, ptrdiff_t v_stride, size_t cols, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t c = 0; c < cols; c++)
            for (size_t r = 0; r < STRIP; r++)
                y[c * STRIP + r] += (double)v[(ptrdiff_t)j * v_stride + (ptrdiff_t)c] * (double)x[j * STRIP + r];
}

static void strip_sum(double *sum, const float *x, size_t n, const float *factor)
{
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < STRIP; r++)
            sum[r] += (factor ? (double)factor[j] : 1) * (double)x[j * STRIP + r];
}

static void strip_max(float *max, const float *x, size_t n, const float *factor)
{
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < STRIP; r++) {
            float value = (factor ? factor[j] : 1) * x[j * STRIP + r];
            max[r] = value > max[r] ? value : max[r];
        }
}

/* ---- one row ------------------------------------------------------------------------------------------------------------ */

static void row_keys(float *x, const float *q, const float *k, ptrdiff_t stride, size_t n, size_t d, float scale, bool adds)
{
    for (size_t j = 0; j < n; j++, k += stride) {
        float sum = 0;
        for (size_t l = 0; l < d; l++)
            sum += k[l] * q[l];
        x[j] = adds ? x[j] + scale * sum : scale * sum;
    }
}

static void row_values(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t cols, bool adds)
{
    for (size_t c = 0; c < cols; c++) {
        float sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += v[(ptrdiff_t)j * stride + (ptrdiff_t)c] * x[j];
        y[c] = adds ? y[c] + sum : sum;
    }
}

const attn_kernels attn_kernels_ref = {
    .name = "ref",
    .softmax_row = softmax_row,
    .softmax_finite_row = softmax_finite_row,
    .exp_row = exp_row,
    .softcap_row = softcap_row,
    .bias_act_row = bias_act_row,
    .layer_norm_row = layer_norm_row,
    .rms_norm_row = rms_norm_row,
    .mul_row = mul_row,
    .add_row = add_row,
    .max_row = max_row,
    .dot_row = dot_row,
    .dot_half = dot_half,
    .dot_bfloat16 = dot_bfloat16,
    .entropy_row = entropy_row,
    .all_finite = all_finite,
    .transpose = transpose,
    .strip = STRIP,
    .strip_scores = strip_scores,
    .strip_exp = strip_exp,
    .strip_values = strip_values,
    .strip_sum = strip_sum,
    .strip_max = strip_max,
    .row_keys = row_keys,
    .row_values = row_values,
    .write_shortest = attn_write_shortest_ref,
    .write_halves = attn_write_halves_ref,
    .write_decimals = attn_write_decimals_ref,
    .to_half = attn_to_half_ref,
    .from_half = attn_from_half_ref,
    .from_bfloat16 = attn_from_bfloat16_ref,
    .base64_encode = attn_base64_encode_ref,
    .base64_decode = attn_base64_decode_ref,
    .read_plain = attn_read_plain_ref,
};
