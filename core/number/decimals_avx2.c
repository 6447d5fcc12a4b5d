/* decimals_avx2.c - a fixed number of digits after the point, four numbers at a time; see decimals_avx512.c, which does the same with eight.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_digits.h"
#include "number/number_kernels.h"

#include <immintrin.h>

typedef struct form {
    __m128i source, literal;
    size_t length;
    __m256d scale, limit; /* 10^decimals; what is to be written by fours is below this, scaled */
    __m256i power, fill;  /* 10^decimals; 10^(9 - decimals) */
} form;

static form form_of(int decimals)
{
    _Alignas(16) uint8_t source[16], literal[16];
    attn_decimals_layout(decimals, source, literal);
    uint32_t power = attn_small_powers[decimals];
    return (form){
        .source = _mm_load_si128((const __m128i *)source),
        .literal = _mm_load_si128((const __m128i *)literal),
        .length = (size_t)decimals + 3,
        .scale = _mm256_set1_pd(power),
        .limit = _mm256_set1_pd(10.0 * power - 0.5),
        .power = _mm256_set1_epi64x(power),
        .fill = _mm256_set1_epi64x(attn_small_powers[9 - decimals]),
    };
}

/* The same steps as attn_eight_digits. */
static inline __m256i eight_digits(__m256i u)
{
    __m256i high = _mm256_srli_epi64(_mm256_mul_epu32(u, _mm256_set1_epi64x(109951163)), 40); /* 2^40 / 10^4 */
    __m256i low = _mm256_sub_epi64(u, _mm256_mul_epu32(high, _mm256_set1_epi64x(10000)));
    __m256i fours = _mm256_or_si256(high, _mm256_slli_epi64(low, 32));
    __m256i hundreds = _mm256_srli_epi16(_mm256_mulhi_epu16(fours, _mm256_set1_epi16(5243)), 3);
    __m256i rest = _mm256_sub_epi16(fours, _mm256_mullo_epi16(hundreds, _mm256_set1_epi16(100)));
    __m256i twos = _mm256_or_si256(hundreds, _mm256_slli_epi32(rest, 16));
    __m256i tens = _mm256_mulhi_epu16(twos, _mm256_set1_epi16(6554)); /* 6554 / 2^16 */
    __m256i ones = _mm256_sub_epi16(twos, _mm256_mullo_epi16(tens, _mm256_set1_epi16(10)));
    return _mm256_or_si256(tens, _mm256_slli_epi16(ones, 8));
}

/* An integer below 2^52 in a double, to the nearest even if it is not one yet: its bits, after adding 2^52. */
static inline __m256i round_to_epi64(__m256d d)
{
    __m256d shift = _mm256_set1_pd(0x1p52);
    return _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(d, shift)), _mm256_castpd_si256(shift));
}

/* All but the first eight bytes: `first` in byte 0 and the whole part in byte 1. False when a number is 10 or more, or rounds to it. */
static inline bool split(__m256d size, const form *f, __m256i *rest, __m256i *first_and_whole)
{
    __m256d scaled = _mm256_mul_pd(size, f->scale);
    if (_mm256_movemask_pd(_mm256_cmp_pd(scaled, f->limit, _CMP_NLT_UQ)))
        return false;
    __m256i u = round_to_epi64(scaled), whole = _mm256_cvtepi32_epi64(_mm256_cvttpd_epi32(size));
    __m256i part = _mm256_sub_epi64(u, _mm256_mul_epu32(whole, f->power));
    __m256i carry = _mm256_cmpgt_epi64(part, _mm256_sub_epi64(f->power, _mm256_set1_epi64x(1)));
    whole = _mm256_sub_epi64(whole, carry);
    part = _mm256_sub_epi64(part, _mm256_and_si256(carry, f->power));
    __m256i nine = _mm256_mul_epu32(part, f->fill);
    __m256i first = _mm256_srli_epi64(_mm256_mul_epu32(nine, _mm256_set1_epi64x(1441151881)), 57); /* 2^57 / 10^8 */
    *rest = eight_digits(_mm256_sub_epi64(nine, _mm256_mul_epu32(first, _mm256_set1_epi64x(100000000))));
    *first_and_whole = _mm256_or_si256(first, _mm256_slli_epi64(whole, 8));
    return true;
}

static inline char *put(char *p, __m128i digits, bool negative, const form *f)
{
    *p = '-';
    p += negative;
    _mm_storeu_si128((__m128i *)p, _mm_add_epi8(_mm_shuffle_epi8(digits, f->source), f->literal));
    return p + f->length;
}

size_t attn_write_decimals_avx2(char *dst, const float *x, size_t n, int decimals)
{
    form f = form_of(decimals);
    char *p = dst;
    for (; n >= 4; x += 4, n -= 4) {
        __m128 v = _mm_loadu_ps(x);
        int negative = _mm_movemask_ps(v);
        __m256i rest, first_and_whole;
        if (!split(_mm256_andnot_pd(_mm256_set1_pd(-0.0), _mm256_cvtps_pd(v)), &f, &rest, &first_and_whole)) {
            p += attn_write_decimals_ref(p, x, 4, decimals);
            continue;
        }
        __m256i even = _mm256_unpacklo_epi64(rest, first_and_whole), odd = _mm256_unpackhi_epi64(rest, first_and_whole);
        p = put(p, _mm256_castsi256_si128(even), negative & 1, &f);
        p = put(p, _mm256_castsi256_si128(odd), negative & 2, &f);
        p = put(p, _mm256_extracti128_si256(even, 1), negative & 4, &f);
        p = put(p, _mm256_extracti128_si256(odd, 1), negative & 8, &f);
    }
    return (size_t)(p - dst) + attn_write_decimals_ref(p, x, n, decimals);
}
