/* half_avx2.c - float16 and bfloat16, eight at a time, by the instructions for it (F16C).
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"

#include <immintrin.h>

/* Finite numbers beyond the range become the largest half; infinities and NaN stay: min and max give their second operand when one is NaN. */
static inline __m128i to_half(__m256 x)
{
    __m256 sign = _mm256_set1_ps(-0.0f), largest = _mm256_set1_ps(65504.0f);
    __m256 clamped = _mm256_max_ps(_mm256_xor_ps(largest, sign), _mm256_min_ps(largest, x));
    __m256 infinite = _mm256_cmp_ps(_mm256_andnot_ps(sign, x), _mm256_set1_ps(__builtin_inff()), _CMP_EQ_OQ);
    return _mm256_cvtps_ph(_mm256_blendv_ps(clamped, x, infinite), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

void attn_to_half_avx2(uint16_t *dst, const float *x, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), to_half(_mm256_loadu_ps(x + i)));
    attn_to_half_ref(dst + i, x + i, n - i);
}

void attn_from_half_avx2(float *dst, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
    attn_from_half_ref(dst + i, x + i, n - i);
}

void attn_from_bfloat16_avx2(float *dst, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x + i)));
        _mm256_storeu_si256((__m256i *)(dst + i), _mm256_slli_epi32(wide, 16));
    }
    attn_from_bfloat16_ref(dst + i, x + i, n - i);
}
