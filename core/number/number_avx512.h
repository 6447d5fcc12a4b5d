/* number_avx512.h - digits of sixteen numbers at a time, for the AVX-512 writers.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef NUMBER_AVX512_H
#define NUMBER_AVX512_H

#include "number/number_digits.h"

#include <immintrin.h>

/* a[i] * b[i], high 32 bits of each product shifted right by `shift` - 32 more: unsigned division by a constant. */
static inline __m512i attn_divide_epi32(__m512i a, uint32_t factor, unsigned shift)
{
    __m512i f = _mm512_set1_epi64(factor);
    __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a, f), shift);
    __m512i odd = _mm512_srli_epi64(_mm512_mul_epu32(_mm512_srli_epi64(a, 32), f), shift);
    return _mm512_or_si512(even, _mm512_slli_epi64(odd, 32));
}

/* The eight digits of each u < 10^8, one byte each, first digit lowest. The same steps as attn_eight_digits. */
static inline __m512i attn_eight_digits_epi64(__m512i u)
{
    __m512i high = _mm512_srli_epi64(_mm512_mul_epu32(u, _mm512_set1_epi64(109951163)), 40); /* 2^40 / 10^4 */
    __m512i low = _mm512_sub_epi64(u, _mm512_mul_epu32(high, _mm512_set1_epi64(10000)));
    __m512i fours = _mm512_or_si512(high, _mm512_slli_epi64(low, 32));
    __m512i hundreds = _mm512_srli_epi16(_mm512_mulhi_epu16(fours, _mm512_set1_epi16(5243)), 3);
    __m512i rest = _mm512_sub_epi16(fours, _mm512_mullo_epi16(hundreds, _mm512_set1_epi16(100)));
    __m512i twos = _mm512_or_si512(hundreds, _mm512_slli_epi32(rest, 16));
    __m512i tens = _mm512_mulhi_epu16(twos, _mm512_set1_epi16(6554)); /* 6554 / 2^16 */
    __m512i ones = _mm512_sub_epi16(twos, _mm512_mullo_epi16(tens, _mm512_set1_epi16(10)));
    return _mm512_or_si512(tens, _mm512_slli_epi16(ones, 8));
}

/* The nine digits of each u < 10^9. */
static inline void attn_nine_digits_epi64(__m512i u, __m512i *first, __m512i *rest)
{
    __m512i f = _mm512_srli_epi64(_mm512_mul_epu32(u, _mm512_set1_epi64(1441151881)), 57); /* 2^57 / 10^8 */
    *first = f;
    *rest = attn_eight_digits_epi64(_mm512_sub_epi64(u, _mm512_mul_epu32(f, _mm512_set1_epi64(100000000))));
}

#endif
