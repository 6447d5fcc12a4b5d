/* base64_avx512.c - base64, 48 bytes against 64 characters at a time: the alphabet fits one register, its inverse two (VBMI).
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/base64.h"

#include <immintrin.h>

size_t attn_base64_encode_avx512(char *dst, const uint8_t *bytes, size_t n)
{
    const __m512i alphabet = _mm512_loadu_si512("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    /* Bytes x y z to a 32-bit lane y x z y; its six-bit fields begin at bits 10, 4, 22, 16. */
    _Alignas(64) uint8_t order[64];
    for (int i = 0; i < 16; i++) {
        order[4 * i] = order[4 * i + 3] = (uint8_t)(3 * i + 1);
        order[4 * i + 1] = (uint8_t)(3 * i);
        order[4 * i + 2] = (uint8_t)(3 * i + 2);
    }
    const __m512i lanes = _mm512_load_si512(order), fields = _mm512_set1_epi64(0x3036242a1016040a);
    char *p = dst;
    for (; n >= 64; bytes += 48, n -= 48, p += 64) { /* reads 64 */
        __m512i b = _mm512_permutexvar_epi8(lanes, _mm512_loadu_si512(bytes));
        _mm512_storeu_si512(p, _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(fields, b), alphabet));
    }
    return (size_t)(p - dst) + attn_base64_encode_ref(p, bytes, n);
}

size_t attn_base64_decode_avx512(uint8_t *dst, const char *text, size_t n)
{
    _Alignas(64) uint8_t order[64] = { 0 };
    for (int i = 0; i < 16; i++) {
        order[3 * i] = (uint8_t)(4 * i + 2);
        order[3 * i + 1] = (uint8_t)(4 * i + 1);
        order[3 * i + 2] = (uint8_t)(4 * i);
    }
    const __m512i lanes = _mm512_load_si512(order);
    const __m512i low = _mm512_loadu_si512(attn_base64_values), high = _mm512_loadu_si512(attn_base64_values + 64);
    size_t i = 0;
    for (; n - i >= 64; i += 64, dst += 48) {
        __m512i t = _mm512_loadu_si512(text + i);
        __m512i values = _mm512_permutex2var_epi8(low, t, high);
        if (_mm512_movepi8_mask(_mm512_or_si512(values, t))) /* 255, or a character beyond ASCII */
            break;
        __m512i twelve = _mm512_maddubs_epi16(values, _mm512_set1_epi32(0x01400140)); /* pairs of values to 12 bits, then fours to 24 */
        __m512i packed = _mm512_permutexvar_epi8(lanes, _mm512_madd_epi16(twelve, _mm512_set1_epi32(0x00011000)));
        _mm512_mask_storeu_epi8(dst, 0xffffffffffff, packed);
    }
    return i + attn_base64_decode_ref(dst, text + i, n - i);
}
