/* base64_avx2.c - base64, 24 bytes against 32 characters at a time. Six bits are brought to each byte by multiplying.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/base64.h"

#include <immintrin.h>

/* The step in the alphabet at `from`: what is added to every character from there on. */
static inline __m256i step(__m256i values, int from, int change)
{
    return _mm256_and_si256(_mm256_cmpgt_epi8(values, _mm256_set1_epi8((char)(from - 1))), _mm256_set1_epi8((char)change));
}

static inline __m256i to_text(__m256i values)
{
    __m256i letters = _mm256_add_epi8(_mm256_set1_epi8('A'), step(values, 26, 'a' - 'Z' - 1));
    __m256i others = _mm256_add_epi8(step(values, 52, '0' - 'z' - 1), _mm256_add_epi8(step(values, 62, '+' - '9' - 1), step(values, 63, '/' - '+' - 1)));
    return _mm256_add_epi8(values, _mm256_add_epi8(letters, others));
}

/* Twelve bytes of each half to sixteen values. */
static inline __m256i split(__m256i bytes)
{
    const __m256i order = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    __m256i b = _mm256_shuffle_epi8(bytes, order); /* of bytes x y z: y x z y */
    __m256i ac = _mm256_mulhi_epu16(_mm256_and_si256(b, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    __m256i bd = _mm256_mullo_epi16(_mm256_and_si256(b, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    return _mm256_or_si256(ac, bd);
}

size_t attn_base64_encode_avx2(char *dst, const uint8_t *bytes, size_t n)
{
    char *p = dst;
    for (; n >= 28; bytes += 24, n -= 24, p += 32) { /* reads 28 */
        __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)bytes)), _mm_loadu_si128((const __m128i *)(bytes + 12)), 1);
        _mm256_storeu_si256((__m256i *)p, to_text(split(b)));
    }
    return (size_t)(p - dst) + attn_base64_encode_ref(p, bytes, n);
}

/* Rows of the ASCII table by what they hold: "+" and "/", the digits, the first 15 and the last 11 letters (of either case), nothing. */
enum { SIGNS = 1, DIGITS = 2, A_TO_O = 4, P_TO_Z = 8, NOTHING = 16 };

/* Which rows do not have a character in this column. */
enum {
    AT_0 = SIGNS | A_TO_O | NOTHING,
    AT_1_TO_9 = SIGNS | NOTHING,
    AT_10 = SIGNS | DIGITS | NOTHING,
    AT_11 = DIGITS | P_TO_Z | NOTHING,
    AT_12_TO_14 = SIGNS | DIGITS | P_TO_Z | NOTHING,
    AT_15 = DIGITS | P_TO_Z | NOTHING
};

static inline __m256i twice(__m128i x)
{
    return _mm256_broadcastsi128_si256(x);
}

/* The values of 32 characters; false when one is none. */
static inline bool to_values(__m256i text, __m256i *values)
{
    const __m256i missing = twice(_mm_setr_epi8(AT_0, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_1_TO_9, AT_10,
                                                AT_11, AT_12_TO_14, AT_12_TO_14, AT_12_TO_14, AT_15));
    const __m256i rows = twice(
        _mm_setr_epi8(NOTHING, NOTHING, SIGNS, DIGITS, A_TO_O, P_TO_Z, A_TO_O, P_TO_Z, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING));
    const __m256i offsets = twice(_mm_setr_epi8(0, 0, 62 - '+', 52 - '0', -'A', -'A', 26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i row = _mm256_and_si256(_mm256_srli_epi32(text, 4), _mm256_set1_epi8(0x0f));
    __m256i column = _mm256_and_si256(text, _mm256_set1_epi8(0x0f));
    if (!_mm256_testz_si256(_mm256_shuffle_epi8(missing, column), _mm256_shuffle_epi8(rows, row)))
        return false;
    __m256i slash = _mm256_and_si256(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('/')), _mm256_set1_epi8(1 - ('/' - '+')));
    *values = _mm256_add_epi8(_mm256_add_epi8(text, slash), _mm256_shuffle_epi8(offsets, row));
    return true;
}

size_t attn_base64_decode_avx2(uint8_t *dst, const char *text, size_t n)
{
    const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    size_t i = 0;
    __m256i values;
    for (; n - i >= 32 && to_values(_mm256_loadu_si256((const __m256i *)(text + i)), &values); i += 32, dst += 24) {
        __m256i twelve = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140)); /* pairs of values to 12 bits, then fours to 24 */
        __m256i packed = _mm256_shuffle_epi8(_mm256_madd_epi16(twelve, _mm256_set1_epi32(0x00011000)), order);
        _mm_storeu_si128((__m128i *)dst, _mm256_castsi256_si128(packed));
        _mm_storeu_si128((__m128i *)(dst + 12), _mm256_extracti128_si256(packed, 1));
    }
    return i + attn_base64_decode_ref(dst, text + i, n - i);
}
