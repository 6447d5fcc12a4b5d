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
        y[i] = (float)(((double)y[i] - mean) * factor) * gain[i] + shift[i];
}

static void add_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
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

const attn_kernels attn_kernels_ref = {
    .name = "ref",
    .softmax_row = softmax_row,
    .exp_row = exp_row,
    .softcap_row = softcap_row,
    .bias_act_row = bias_act_row,
    .layer_norm_row = layer_norm_row,
    .add_row = add_row,
    .all_finite = all_finite,
    .transpose = transpose,
    .write_shortest = attn_write_shortest_ref,
    .write_decimals = attn_write_decimals_ref,
    .to_half = attn_to_half_ref,
    .from_half = attn_from_half_ref,
    .from_bfloat16 = attn_from_bfloat16_ref,
    .base64_encode = attn_base64_encode_ref,
    .base64_decode = attn_base64_decode_ref,
    .read_plain = attn_read_plain_ref,
};
