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

/* The number that begins at s, a space before it maybe, up to its exponent. Reads 40 bytes. False: left to others. */
static inline bool read_token(const char *s, attn_token *out)
{
    if (*s == ' ')
        s++;
    out->negative = *s == '-';
    s += out->negative;
    __m256i x = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)s), _mm256_set1_epi8('0'));
    uint32_t others = _mm256_cmpgt_epu8_mask(x, _mm256_set1_epi8(9));
    uint32_t whole = _tzcnt_u32(others), point = s[whole] == '.', length = _tzcnt_u32(point ? _blsr_u32(others) : others);
    if (whole != 1 && (whole == 0 || whole > 16 || *s == '0'))
        return false;
    if (length == whole + 1) /* no digit behind the point */
        return false;
    out->mantissa = integer_of(_mm256_castsi256_si128(_mm256_maskz_compress_epi8(_bzhi_u32(~others, length), x)));
    out->exponent = (int)whole - 16;
    out->end = s + length;
    out->slack = ATTN_SLACK_WHOLE;
    if (length - point > 16) { /* more digits than count */
        out->slack = ATTN_SLACK_CUT;
        return out->mantissa >= attn_least_cut;
    }
    return true;
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
static inline void read_batch(attn_token_batch *b, commas *c, const char *s, size_t max)
{
    b->n = b->list_length = 0;
    while (b->n < max) {
        const char *comma = next_comma(c, s);
        if (!comma || !read_token(s, &b->token[b->n]))
            break;
        attn_batch_add(b, comma);
        s = comma + 1;
    }
}

/* As many numbers as are simple; then *s is where the last one ended. */
static size_t read_run(float *dst, size_t max, const char **s, const char *end)
{
    const char *p = *s;
    commas c = { NULL, p, end, 0 };
    size_t n = 0, asked, got;
    attn_token_batch b;
    do {
        asked = max - n < ATTN_BATCH ? max - n : ATTN_BATCH;
        read_batch(&b, &c, p, asked);
        got = attn_batch_floats(dst + n, &b, s);
        n += got;
        p = *s + 1;
    } while (got == asked && **s == ',' && n < max);
    return n;
}

size_t attn_read_plain_avx512(float *dst, size_t max, const char **s, const char *end)
{
    size_t n = max > 0 ? read_run(dst, max, s, end) : 0;
    return n > 0 ? n : attn_read_plain_ref(dst, max > 1 && end - *s >= 128 ? 1 : max, s, end);
}
