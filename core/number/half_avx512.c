/* half_avx512.c - float16 and bfloat16, sixteen at a time, the last ones under a mask.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"

#include <immintrin.h>

static inline __mmask16 first(size_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

/* As in half_avx2.c. */
static inline __m256i to_half(__m512 x)
{
    __m512 clamped = _mm512_max_ps(_mm512_set1_ps(-65504.0f), _mm512_min_ps(_mm512_set1_ps(65504.0f), x));
    __mmask16 infinite = _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(__builtin_inff()), _CMP_EQ_OQ);
    return _mm512_cvtps_ph(_mm512_mask_mov_ps(clamped, infinite, x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

void attn_to_half_avx512(uint16_t *dst, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        _mm256_mask_storeu_epi16(dst + i, m, to_half(_mm512_maskz_loadu_ps(m, x + i)));
    }
}

void attn_from_half_avx512(float *dst, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, x + i)));
    }
}

void attn_from_bfloat16_avx512(float *dst, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = first(n - i);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x + i));
        _mm512_mask_storeu_epi32(dst + i, m, _mm512_slli_epi32(wide, 16));
    }
}
