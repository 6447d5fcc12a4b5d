/* kernels.h - the inner loops, one table for each instruction set. `ref` says what each means; the others are held against it.
 *
 * Every table sums in an order fixed by the sizes alone. The bits of one table are the same for any number of threads; two tables
 * agree within the bounds stated at each entry (tests/unit/test_kernels.c holds them against float64).
 * Bounds are in units of float32 rounding, u = 2^-24, unless they say otherwise.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_KERNELS_H
#define ATTN_KERNELS_H

#include "attn_base.h"

typedef enum attn_activation {
    ATTN_ACT_NONE,
    ATTN_ACT_GELU,      /* x/2 (1 + erf(x / sqrt 2)); Hendrycks & Gimpel 2016 */
    ATTN_ACT_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); "gelu_new", "gelu_pytorch_tanh" */
    ATTN_ACT_RELU,
    ATTN_ACT_SILU /* x / (1 + exp(-x)); also "swish" */
} attn_activation;

/* Keys for strip_scores: key j's vector [d] at k + j * k_stride; q [d, strip] holds the queries of the strip side by side. */
enum { ATTN_STRIP_MOST = 32 }; /* queries in a strip, of any table */
typedef struct attn_strip_product {
    const float *q, *k;
    ptrdiff_t k_stride;
    size_t d;
    float scale;
} attn_strip_product;

typedef struct attn_kernels {
    const char *name; /* "ref", "avx2", "avx512", "neon" */

    /* In place: x[i] = exp(x[i] - max) / sum; -INFINITY gives exactly 0; nothing but -INFINITY gives all 0.
     * Returns false, x undefined, when x holds NaN or +INFINITY. Relative error of each weight at most 1e-6 + |x[i] - max| u (float32 rounds the
     * difference), measured 4.2e-7 within 8 of the maximum; the row sums to 1 within 1e-6 for any n. A weight below 1e-38 may be 0. n >= 1. */
    bool (*softmax_row)(float *x, size_t n);
    /* The same bits where x is finite; false where it holds -INFINITY, too. */
    bool (*softmax_finite_row)(float *x, size_t n);
    /* y = exp(x), relative error at most 4 u (measured 1.3 u) for x in [-87, 88.7]; 0 where float32 has no normal result, +INFINITY above 88.8, NaN for NaN. */
    void (*exp_row)(float *y, const float *x, size_t n);
    /* In place: x = cap * tanh(x / cap); absolute error at most 1e-6 * cap (measured 1e-7), relative error at most 1e-6 for |x| < cap / 2. */
    void (*softcap_row)(float *x, size_t n, float cap);
    /* y = act(y + bias); bias may be NULL. Absolute error of each activation at most 1e-6 * max(1, |x|) (measured 1.5e-7). Bits of an element depend on
     * that element alone: a row may be cut anywhere. */
    void (*bias_act_row)(float *y, const float *bias, size_t n, attn_activation act);
    /* y = (z - mean z) / sqrt(var z + eps) * gain + shift, z = x + bias + residual; bias, residual and shift may each be NULL. var as 1/n. y may be x or residual.
     * Error at most 1e-6 * max(1, |y|) for gains up to 2 (measured 4.2e-7), also where the mean is large beside the deviation.
     * A variance beyond float32 gives NaN. n >= 1. */
    void (*layer_norm_row)(float *y, const float *x, const float *bias, const float *residual, const float *gain, const float *shift, size_t n, float eps);
    /* y = x / sqrt(mean x^2 + eps) * gain; Zhang & Sennrich 2019. y may be x. Relative error at most 1e-6 (measured 1.9e-7) where mean x^2 + eps is above 1e-30;
     * a mean beyond float32 gives NaN. n >= 1. */
    void (*rms_norm_row)(float *y, const float *x, const float *gain, size_t n, float eps);
    /* y *= x */
    void (*mul_row)(float *y, const float *x, size_t n);
    /* y += x */
    void (*add_row)(float *y, const float *x, size_t n);
    /* The largest of x; n >= 1, no NaN. */
    float (*max_row)(const float *x, size_t n);
    /* sum x y. Error at most 1e-6 * sum |x y| (measured 1.1e-7). */
    double (*dot_row)(const float *x, const float *y, size_t n);
    /* The same bits with x as 16-bit numbers, which are widened on the way. */
    double (*dot_half)(const uint16_t *x, const float *y, size_t n);
    double (*dot_bfloat16)(const uint16_t *x, const float *y, size_t n);
    /* - sum m ln m, m = (x + y) / 2 in [0, 2]; 0 for m below 1e-38. With y = x it is the entropy of x. Error at most 1e-6 * sum |m ln m| (measured 1.6e-7). */
    double (*entropy_row)(const float *x, const float *y, size_t n);
    /* Whether x holds neither NaN nor an infinity. For overflow checks. */
    bool (*all_finite)(const float *x, size_t n);
    /* dst[c * ld_dst + r] = src[r * ld_src + c] for r < rows, c < cols. No overlap. */
    void (*transpose)(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols);

    /* Strips: `strip` queries side by side, for those who never hold a row. x [n, strip] has key j of query r at x[j * strip + r], so that nothing is ever
     * summed across a vector. No query sees another: bits of one depend on its own numbers alone. n may be 0. */
    size_t strip;
    /* x = scale * q . k, error at most 1e-6 of the sum of |scale q k| (measured 2.3e-7); max [strip] is raised to the largest. False, max undefined, when x
     * holds an infinity or NaN. */
    bool (*strip_scores)(float *x, float *max, const attn_strip_product *, size_t n);
    /* In place: x = exp(x - base), base [strip] finite, x - base <= 88; 0 where x - base < -87.3; NaN stays. Relative error at most 4 u + |x - base| u (measured
     * 1.0 u beside the latter). sum [strip] += each query's, relative error at most 20 u of what is added (measured 4.0 u). */
    void (*strip_exp)(float *x, size_t n, const float *base, double *sum);
    /* y [cols, strip] += sum over j of v[j * v_stride + c] * x[j][r]: float32 sums of at most 64 products, then double. Error at most 1e-6 of the sum of
     * |v x| (measured 2.1e-7). A sum of 64 products beyond float32 is an infinity or NaN. */
    void (*strip_values)(double *y, const float *v, ptrdiff_t v_stride, size_t cols, const float *x, size_t n);
    /* sum [strip] += factor[j] * x[j], in double; factor NULL: 1. */
    void (*strip_sum)(double *sum, const float *x, size_t n, const float *factor);
    /* max [strip] is raised to the largest factor[j] * x[j]. Numbers that are NaN may or may not be passed over. */
    void (*strip_max)(float *max, const float *x, size_t n, const float *factor);

    /* One row against many, read where they lie (one_row.c). Each sum is one chain in the order of its index, multiply-adds in the tables that have them:
     * the matrix kernels' order (gemm.h), so the bits are a product's.
     * x[j] = scale * k_j . q, for row k_j [d] at k + j * stride, j < n; `adds`: that is added to x[j]. */
    void (*row_keys)(float *x, const float *q, const float *k, ptrdiff_t stride, size_t n, size_t d, float scale, bool adds);
    /* y [cols] = sum over j < n of x[j] * v_j, row v_j [cols] at v + j * stride; `adds`: that is added to y. */
    void (*row_values)(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t cols, bool adds);

    /* Numbers (attn_number.h has the meaning). */
    size_t (*write_shortest)(char *dst, const float *x, size_t n);
    size_t (*write_halves)(char *dst, const uint16_t *x, size_t n); /* the shortest that reads back as the same half */
    size_t (*write_decimals)(char *dst, const float *x, size_t n, int decimals);
    void (*to_half)(uint16_t *dst, const float *x, size_t n);
    void (*from_half)(float *dst, const uint16_t *x, size_t n);
    void (*from_bfloat16)(float *dst, const uint16_t *x, size_t n);
    size_t (*base64_encode)(char *dst, const uint8_t *bytes, size_t n);
    /* Decodes whole groups of 4 characters without padding, up to the first group it does not like; returns the characters used. n is a multiple of 4. */
    size_t (*base64_decode)(uint8_t *dst, const char *text, size_t n);
    /* Reads plain numbers with commas between them, at most max, up to the end of their array or the first token it leaves to the general reader
     * (attn_read_floats); returns how many, *s at the comma or bracket behind the last one. Reads no byte at or past end. */
    size_t (*read_plain)(float *dst, size_t max, const char **s, const char *end);
} attn_kernels;

/* Tables this build has and this CPU can run, best first, NULL-terminated; "ref" is always there, last. */
const attn_kernels *const *attn_kernels_all(void);
/* The table of that name, or the best for "auto" or NULL; NULL when this CPU cannot run it (or nobody knows it). */
const attn_kernels *attn_kernels_find(const char *name);

#endif
