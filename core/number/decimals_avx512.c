/* decimals_avx512.c - a fixed number of digits after the point, eight numbers at a time: whole part and nine digits in lanes, one byte shuffle each.
 * Numbers of 10 and more are left to the plain code, eight at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_avx512.h"
#include "number/number_kernels.h"

/* attn_decimals_layout in registers, and what scales a number. */
typedef struct form {
    __m128i source, literal;
    size_t length;
    __m512d scale, limit; /* 10^decimals; what is to be written by eights is below this, scaled */
    __m512i power, fill;  /* 10^decimals; 10^(9 - decimals) */
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
        .scale = _mm512_set1_pd(power),
        .limit = _mm512_set1_pd(10.0 * power - 0.5),
        .power = _mm512_set1_epi64(power),
        .fill = _mm512_set1_epi64(attn_small_powers[9 - decimals]),
    };
}

/* Whole parts, and what is behind the point as nine digits. False when a number is 10 or more, or rounds to it. */
static inline bool split(__m512d size, const form *f, __m512i *whole, __m512i *nine)
{
    __m512d scaled = _mm512_mul_pd(size, f->scale);
    __m512i u = _mm512_cvtpd_epi64(scaled), w = _mm512_cvttpd_epi64(size);
    __m512i part = _mm512_sub_epi64(u, _mm512_mul_epu32(w, f->power));
    __mmask8 carry = _mm512_cmpge_epi64_mask(part, f->power);
    *whole = _mm512_mask_add_epi64(w, carry, w, _mm512_set1_epi64(1));
    *nine = _mm512_mul_epu32(_mm512_mask_sub_epi64(part, carry, part, f->power), f->fill);
    return !_mm512_cmp_pd_mask(scaled, f->limit, _CMP_NLT_UQ);
}

/* Two numbers of each 128 bits: even ones in one register, odd ones in the other. */
static inline char *put_pair(char *p, __m128i even, __m128i odd, const form *f)
{
    _mm_storeu_si128((__m128i *)p, _mm_add_epi8(_mm_shuffle_epi8(even, f->source), f->literal));
    _mm_storeu_si128((__m128i *)(p + f->length), _mm_add_epi8(_mm_shuffle_epi8(odd, f->source), f->literal));
    return p + 2 * f->length;
}

static inline char *put_positive(char *p, __m512i even, __m512i odd, const form *f)
{
    p = put_pair(p, _mm512_castsi512_si128(even), _mm512_castsi512_si128(odd), f);
    p = put_pair(p, _mm512_extracti32x4_epi32(even, 1), _mm512_extracti32x4_epi32(odd, 1), f);
    p = put_pair(p, _mm512_extracti32x4_epi32(even, 2), _mm512_extracti32x4_epi32(odd, 2), f);
    return put_pair(p, _mm512_extracti32x4_epi32(even, 3), _mm512_extracti32x4_epi32(odd, 3), f);
}

/* The first `count` of eight, with their signs. */
static inline char *put_signed(char *p, __m512i even, __m512i odd, size_t count, uint32_t negative, const form *f)
{
    _Alignas(64) attn_digits unit[2][4];
    _mm512_store_si512(unit[0], even);
    _mm512_store_si512(unit[1], odd);
    for (size_t i = 0; i < count; i++) {
        *p = '-';
        p += negative >> i & 1;
        __m128i digits = _mm_load_si128((const __m128i *)&unit[i % 2][i / 2]);
        _mm_storeu_si128((__m128i *)p, _mm_add_epi8(_mm_shuffle_epi8(digits, f->source), f->literal));
        p += f->length;
    }
    return p;
}

enum { BLOCK = 64 };

/* At most a block of numbers, step by step: many short chains keep a processor busier than a few long ones. */
static inline char *write_block(char *p, const float *x, size_t n, int decimals, const form *f)
{
    __m512i even[BLOCK / 8], odd[BLOCK / 8]; /* whole parts and nine digits at first, then the digits of even and odd numbers */
    uint32_t negative[BLOCK / 8];
    bool small[BLOCK / 8];
    size_t groups = (n + 7) / 8;
    for (size_t i = 0; i < groups; i++) {
        size_t left = n - 8 * i;
        __m256 v = _mm256_maskz_loadu_ps((__mmask8)(left < 8 ? (1u << left) - 1 : 255), x + 8 * i);
        negative[i] = (uint32_t)_mm256_movemask_ps(v);
        small[i] = split(_mm512_abs_pd(_mm512_cvtps_pd(v)), f, &even[i], &odd[i]);
    }
    for (size_t i = 0; i < groups; i++) {
        __m512i first, rest;
        attn_nine_digits_epi64(odd[i], &first, &rest);
        first = _mm512_or_si512(first, _mm512_slli_epi64(even[i], 8));
        even[i] = _mm512_unpacklo_epi64(rest, first);
        odd[i] = _mm512_unpackhi_epi64(rest, first);
    }
    for (size_t i = 0; i < groups; i++) {
        size_t count = n - 8 * i < 8 ? n - 8 * i : 8;
        if (!small[i])
            p += attn_write_decimals_ref(p, x + 8 * i, count, decimals);
        else if (negative[i] || count < 8)
            p = put_signed(p, even[i], odd[i], count, negative[i], f);
        else
            p = put_positive(p, even[i], odd[i], f);
    }
    return p;
}

size_t attn_write_decimals_avx512(char *dst, const float *x, size_t n, int decimals)
{
    form f = form_of(decimals);
    char *p = dst;
    for (; n >= BLOCK; x += BLOCK, n -= BLOCK)
        p = write_block(p, x, BLOCK, decimals, &f);
    return (size_t)(write_block(p, x, n, decimals, &f) - dst);
}
