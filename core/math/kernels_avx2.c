/* kernels_avx2.c - the kernels on vectors of 8. Needs AVX2, FMA, F16C, BMI 1 and 2, LZCNT.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernel_tables.h"
#include "math/kernels.h"
#include "number/number_kernels.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { LANES = 8 };
typedef __m256 vec;

#define vec_set   _mm256_set1_ps
#define vec_load  _mm256_loadu_ps
#define vec_store _mm256_storeu_ps
#define vec_add   _mm256_add_ps
#define vec_sub   _mm256_sub_ps
#define vec_mul   _mm256_mul_ps
#define vec_div   _mm256_div_ps
#define vec_max   _mm256_max_ps
#define vec_min   _mm256_min_ps
#define vec_fma   _mm256_fmadd_ps
#define vec_fnma  _mm256_fnmadd_ps

static inline __m256i first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vec vec_load_part(const float *p, size_t n, vec fill)
{
    if (n == LANES)
        return vec_load(p);
    __m256i mask = first(n);
    return _mm256_blendv_ps(fill, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}

/* In pieces of 4, 2 and 1: a masked store is microcode on several CPUs. */
static inline void vec_store_part(float *p, vec v, size_t n)
{
    if (n == LANES) {
        vec_store(p, v);
        return;
    }
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, part);
        part = _mm_movehl_ps(part, part);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, part);
}

/* n <= LANES numbers of 16 bits, zeros behind them. */
static inline __m128i load_16_bits(const uint16_t *p, size_t n)
{
    uint16_t some[LANES] = { 0 };
    if (n == LANES)
        return _mm_loadu_si128((const __m128i *)p);
    memcpy(some, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)some);
}

/* The same as floats. */
static inline vec vec_load_half(const uint16_t *p, size_t n)
{
    return _mm256_cvtph_ps(load_16_bits(p, n));
}

static inline vec vec_load_bfloat16(const uint16_t *p, size_t n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16_bits(p, n)), 16));
}

/* Into the exponent's bits. */
static inline vec vec_scale(vec p, vec n)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}

/* 2^128 is not a float: the last factor 2 comes separately. */
static inline vec vec_scale_high(vec p, vec n)
{
    vec m = vec_min(vec_set(127.0f), n);
    return vec_mul(vec_scale(p, m), vec_add(vec_sub(n, m), vec_set(1.0f)));
}

/* From the exponent's bits, those of sqrt 1/2 taken off first. */
static inline vec vec_exponent(vec x)
{
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_sub_epi32(_mm256_castps_si256(x), _mm256_set1_epi32(0x3f3504f3)), 23));
}

static inline vec vec_abs(vec v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline vec vec_copysign(vec magnitude, vec sign)
{
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}

static inline vec vec_keep_not_below(vec v, vec x, vec bound)
{
    return _mm256_and_ps(_mm256_cmp_ps(x, bound, _CMP_NLT_UQ), v);
}

static inline vec vec_scale_not_below(vec p, vec n, vec x, vec bound)
{
    return vec_keep_not_below(vec_scale(p, n), x, bound);
}

static inline vec vec_reciprocal(vec x)
{
    return vec_div(vec_set(1.0f), x);
}

static inline vec vec_pick_below(vec x, vec bound, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, bound, _CMP_LT_OQ));
}

static inline float vec_sum(vec v)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float vec_highest(vec v)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

static inline bool vec_has(vec v, float x)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(v, vec_set(x), _CMP_EQ_OQ)) != 0;
}

/* p[0 .. LANES) += v */
static inline void vec_add_to_doubles(double *p, vec v)
{
    _mm256_storeu_pd(p, _mm256_add_pd(_mm256_loadu_pd(p), _mm256_cvtps_pd(_mm256_castps256_ps128(v))));
    _mm256_storeu_pd(p + 4, _mm256_add_pd(_mm256_loadu_pd(p + 4), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))));
}

/* p[0 .. LANES) += factor * v, multiplied in double */
static inline void vec_fma_to_doubles(double *p, vec v, double factor)
{
    __m256d f = _mm256_set1_pd(factor);
    _mm256_storeu_pd(p, _mm256_fmadd_pd(f, _mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_loadu_pd(p)));
    _mm256_storeu_pd(p + 4, _mm256_fmadd_pd(f, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)), _mm256_loadu_pd(p + 4)));
}

#include "math/kernels_vector.h"
#include "math/strips_vector.h"

/* A square of 8 in registers turns round: pairs of rows, then fours, then halves change places. */
INLINE void turn_square(vec r[LANES])
{
    __m256 t[8], u[8];
    for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4)
        for (size_t j = 0; j < 2; j++) {
            __m256d low = _mm256_castps_pd(t[i + j]), high = _mm256_castps_pd(t[i + j + 2]);
            u[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            u[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    for (size_t i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

#include "math/one_row_vector.h"

static inline void transpose8(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols)
{
    __m256 r[8];
    for (size_t i = 0; i < 8; i++)
        r[i] = i < rows ? vec_load_part(src + i * ld_src, cols, vec_set(0)) : vec_set(0);
    turn_square(r);
    for (size_t i = 0; i < 8 && i < cols; i++)
        vec_store_part(dst + i * ld_dst, r[i], rows);
}

static void transpose(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r += 8)
        for (size_t c = 0; c < cols; c += 8)
            transpose8(dst + c * ld_dst + r, ld_dst, src + r * ld_src + c, ld_src, rows - r < 8 ? rows - r : 8, cols - c < 8 ? cols - c : 8);
}

const attn_kernels attn_kernels_avx2 = {
    .name = "avx2",
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
    .write_decimals = attn_write_decimals_avx2,
    .to_half = attn_to_half_avx2,
    .from_half = attn_from_half_avx2,
    .from_bfloat16 = attn_from_bfloat16_avx2,
    .base64_encode = attn_base64_encode_avx2,
    .base64_decode = attn_base64_decode_avx2,
    .read_plain = attn_read_plain_ref,
};
