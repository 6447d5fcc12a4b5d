/* kernels_avx512.c - the kernels on vectors of 16. Needs AVX-512 F, BW, DQ, VL, VBMI and VBMI2, and all that the avx2 table needs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernel_tables.h"
#include "math/kernels.h"
#include "number/number_kernels.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { LANES = 16 };
typedef __m512 vec;

#define vec_set     _mm512_set1_ps
#define vec_load    _mm512_loadu_ps
#define vec_store   _mm512_storeu_ps
#define vec_add     _mm512_add_ps
#define vec_sub     _mm512_sub_ps
#define vec_mul     _mm512_mul_ps
#define vec_div     _mm512_div_ps
#define vec_max     _mm512_max_ps
#define vec_min     _mm512_min_ps
#define vec_fma     _mm512_fmadd_ps
#define vec_fnma    _mm512_fnmadd_ps
#define vec_scale   _mm512_scalef_ps
#define vec_abs     _mm512_abs_ps
#define vec_highest _mm512_reduce_max_ps

#define vec_scale_high vec_scale

static inline __mmask16 first(size_t n)
{
    return (__mmask16)_bzhi_u32(0xffff, (unsigned)n);
}

static inline vec vec_load_part(const float *p, size_t n, vec fill)
{
    return _mm512_mask_loadu_ps(fill, first(n), p);
}

static inline void vec_store_part(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), v);
}

/* n <= LANES numbers of 16 bits as floats, zeros behind them. */
static inline vec vec_load_half(const uint16_t *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}

static inline vec vec_load_bfloat16(const uint16_t *p, size_t n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), p)), 16));
}

/* From the exponent's bits, those of sqrt 1/2 taken off first. */
static inline vec vec_exponent(vec x)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_sub_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x3f3504f3)), 23));
}

static inline vec vec_copysign(vec magnitude, vec sign)
{
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}

static inline vec vec_keep_not_below(vec v, vec x, vec bound)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, bound, _CMP_NLT_UQ), v);
}

static inline vec vec_scale_not_below(vec p, vec n, vec x, vec bound)
{
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, bound, _CMP_NLT_UQ), p, n);
}

static inline bool vec_has(vec v, float x)
{
    return _mm512_cmp_ps_mask(v, vec_set(x), _CMP_EQ_OQ) != 0;
}

/* A division takes as long as 16 multiplications. One step of Newton's doubles the 14 bits of the estimate. */
static inline vec vec_reciprocal(vec x)
{
    vec r = _mm512_rcp14_ps(x);
    return vec_fma(r, vec_fnma(x, r, vec_set(1.0f)), r);
}

static inline vec vec_pick_below(vec x, vec bound, vec a, vec b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ), b, a);
}

static inline float vec_sum(vec v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

/* p[0 .. LANES) += v */
static inline void vec_add_to_doubles(double *p, vec v)
{
    _mm512_storeu_pd(p, _mm512_add_pd(_mm512_loadu_pd(p), _mm512_cvtps_pd(_mm512_castps512_ps256(v))));
    _mm512_storeu_pd(p + 8, _mm512_add_pd(_mm512_loadu_pd(p + 8), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))));
}

/* p[0 .. LANES) += factor * v, multiplied in double */
static inline void vec_fma_to_doubles(double *p, vec v, double factor)
{
    __m512d f = _mm512_set1_pd(factor);
    _mm512_storeu_pd(p, _mm512_fmadd_pd(f, _mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_loadu_pd(p)));
    _mm512_storeu_pd(p + 8, _mm512_fmadd_pd(f, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)), _mm512_loadu_pd(p + 8)));
}

#include "math/kernels_vector.h"
#include "math/strips_vector.h"

/* A square of 16 in registers turns round: pairs of rows, then fours, then quarters of 128 bits change places. */
INLINE void turn_square(vec r[LANES])
{
    __m512 t[16];
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 2; j++) {
            __m512d low = _mm512_castps_pd(t[i + j]), high = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    for (size_t i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (size_t i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

#include "math/one_row_vector.h"

/* Rows and columns beyond the edge are masked. */
static inline void transpose16(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols)
{
    __m512 r[16];
    const __mmask16 columns = first(cols);
    for (size_t i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_ps(columns, src + i * ld_src) : _mm512_setzero_ps();
    turn_square(r);
    const __mmask16 written = first(rows);
    for (size_t i = 0; i < 16 && i < cols; i++)
        _mm512_mask_storeu_ps(dst + i * ld_dst, written, r[i]);
}

static void transpose(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r += 16)
        for (size_t c = 0; c < cols; c += 16)
            transpose16(dst + c * ld_dst + r, ld_dst, src + r * ld_src + c, ld_src, rows - r < 16 ? rows - r : 16, cols - c < 16 ? cols - c : 16);
}

const attn_kernels attn_kernels_avx512 = {
    .name = "avx512",
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
    .write_shortest = attn_write_shortest_avx512,
    .write_halves = attn_write_halves_avx512,
    .write_decimals = attn_write_decimals_avx512,
    .to_half = attn_to_half_avx512,
    .from_half = attn_from_half_avx512,
    .from_bfloat16 = attn_from_bfloat16_avx512,
    .base64_encode = attn_base64_encode_avx512,
    .base64_decode = attn_base64_decode_avx512,
    .read_plain = attn_read_plain_avx512,
};
