/* read_avx512.c - the numbers that are in arrays, by their commas: 64 characters are searched at once, so the next number's place does not wait for
 * the end of this one. A number's digits are pressed together without its point (VBMI2) and become one integer of sixteen digits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"
#include "number/read.h"

#include <immintrin.h>

/* Sixteen digits, one a byte, the first lowest, to an integer: pairs, fours, eights. */
static inline uint64_t integer_of(__m128i digits)
{
    __m128i twos = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010a));
    __m128i fours = _mm_madd_epi16(twos, _mm_set1_epi32(0x00010064));
    __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    return (both & 0xffffffff) * 100000000 + (both >> 32);
}

/* A number on its way: mantissa * 10^exponent. */
typedef struct decimal {
    uint64_t mantissa;
    int exponent;
    uint32_t negative;
    const char *end;
} decimal;

/* The number that begins at s, a space before it maybe, up to its exponent, or comma, which is at `end` then. Reads 40 bytes. False: left to others. */
static inline bool read_token(const char *s, decimal *out)
{
    if (*s == ' ')
        s++;
    out->negative = *s == '-';
    s += out->negative;
    __m256i x = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)s), _mm256_set1_epi8('0'));
    uint32_t others = _mm256_cmpgt_epu8_mask(x, _mm256_set1_epi8(9));
    uint32_t whole = _tzcnt_u32(others), point = s[whole] == '.', length = _tzcnt_u32(point ? _blsr_u32(others) : others);
    if (whole != 1 && (whole == 0 || *s == '0'))
        return false;
    if (length == whole + 1 || length - point > 16) /* no digit behind the point */
        return false;
    out->mantissa = integer_of(_mm256_castsi256_si128(_mm256_maskz_compress_epi8(_bzhi_u32(~others, length), x)));
    out->exponent = (int)whole - 16;
    out->end = s + length;
    return true;
}

enum { BATCH = 16 };

/* Texts to decimals, then their exponents, then decimals to floats: steps with short chains keep a processor busier than one long one. And whether a weight
 * has an exponent is a coin's toss: those that have one are listed, which takes no branch. */
typedef struct batch {
    decimal decimals[BATCH];
    const char *comma[BATCH];
    size_t n;
    size_t listed[BATCH + 1], list_length;
} batch;

static inline void read_exponents(batch *b)
{
    for (size_t i = 0; i < b->list_length; i++) {
        size_t at = b->listed[i];
        decimal *d = &b->decimals[at];
        if (!attn_read_exponent(&d->end, &d->exponent) || d->end != b->comma[at]) {
            b->n = at;
            return;
        }
    }
}

/* The floats of a batch, up to the first that is left to others. Returns how many. */
static inline size_t convert(float *dst, const batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const decimal *d = &b->decimals[i];
        if (!attn_quick_float(d->mantissa, d->exponent, d->negative, &dst[i]) && !attn_quick_subnormal(d->mantissa, d->exponent, d->negative, &dst[i]))
            return i;
    }
    return b->n;
}

/* Commas, 64 characters at a time. */
typedef struct commas {
    const char *block, *next; /* the characters of `mask`, and those behind them */
    const char *end;
    uint64_t mask;
} commas;

/* The comma behind the number at s, NULL when it is far away or fewer than 128 characters are left behind the last block. */
static inline const char *next_comma(commas *c, const char *s)
{
    while (c->mask == 0) {
        if (c->end - c->next < 128 || c->next - s > 128)
            return NULL;
        c->block = c->next;
        c->mask = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(c->block), _mm512_set1_epi8(','));
        c->next += 64;
    }
    const char *comma = c->block + _tzcnt_u64(c->mask);
    c->mask = _blsr_u64(c->mask);
    return comma;
}

/* At most max numbers from s on, up to the first one that is not simple. */
static inline void read_batch(batch *b, commas *c, const char *s, size_t max)
{
    b->n = 0;
    b->list_length = 0;
    while (b->n < max) {
        decimal *d = &b->decimals[b->n];
        const char *comma = next_comma(c, s);
        if (!comma || !read_token(s, d))
            break;
        b->comma[b->n] = comma;
        b->listed[b->list_length] = b->n;
        b->list_length += d->end != comma;
        s = comma + 1;
        b->n++;
    }
}

/* As many numbers as are simple. */
static size_t read_run(float *dst, size_t max, const char **s, const char *end)
{
    commas c = { NULL, *s, end, 0 };
    size_t n = 0, asked, got;
    batch b;
    do {
        asked = max - n < BATCH ? max - n : BATCH;
        read_batch(&b, &c, *s, asked);
        read_exponents(&b);
        got = convert(dst + n, &b);
        if (got > 0)
            *s = b.comma[got - 1] + 1;
        n += got;
    } while (got == asked && n < max);
    return n;
}

size_t attn_read_plain_avx512(float *dst, size_t max, const char **s, const char *end)
{
    size_t n = read_run(dst, max, s, end);
    while (n < max && end - *s >= 128 && attn_read_plain_ref(dst + n, 1, s, end))
        n += 1 + read_run(dst + n + 1, max - n - 1, s, end);
    return n + attn_read_plain_ref(dst + n, max - n, s, end);
}
