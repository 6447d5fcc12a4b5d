/* number.c - the public functions of attn_number.h: the runtime's kernels, and what needs no kernel.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm.h"
#include "number/base64.h"
#include "number/number_digits.h"

/* Rounds to halves first. */
static size_t write_halves(const attn_kernels *table, char *dst, const float *x, size_t n)
{
    uint16_t halves[256];
    char *p = dst;
    while (n > 0) {
        size_t count = n < 256 ? n : 256;
        table->to_half(halves, x, count);
        p += table->write_halves(p, halves, count);
        x += count;
        n -= count;
    }
    return (size_t)(p - dst);
}

size_t attn_write_floats(const attn_runtime *rt, char *dst, const float *x, size_t n, attn_number_style style)
{
    const attn_kernels *table = attn_runtime_table(rt);
    if (style.decimals > 0)
        return table->write_decimals(dst, x, n, style.decimals < 9 ? style.decimals : 9);
    return style.half ? write_halves(table, dst, x, n) : table->write_shortest(dst, x, n);
}

size_t attn_write_ints(char *dst, const int32_t *x, size_t n)
{
    char *p = dst;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = x[i] < 0 ? 0 - (uint32_t)x[i] : (uint32_t)x[i];
        char digits[10];
        size_t at = sizeof digits;
        do {
            digits[--at] = (char)('0' + u % 10);
            u /= 10;
        } while (u > 0);
        if (x[i] < 0)
            *p++ = '-';
        memcpy(p, digits + at, sizeof digits - at);
        p += sizeof digits - at;
        *p++ = ',';
    }
    return (size_t)(p - dst);
}

void attn_to_half(const attn_runtime *rt, uint16_t *dst, const float *x, size_t n)
{
    attn_runtime_table(rt)->to_half(dst, x, n);
}

void attn_from_half(const attn_runtime *rt, float *dst, const uint16_t *x, size_t n)
{
    attn_runtime_table(rt)->from_half(dst, x, n);
}

void attn_from_bfloat16(const attn_runtime *rt, float *dst, const uint16_t *x, size_t n)
{
    attn_runtime_table(rt)->from_bfloat16(dst, x, n);
}

void attn_to_uint8(const attn_runtime *rt, uint8_t *dst, const float *x, size_t n)
{
    (void)rt; /* one loop for all: compilers vectorise it */
    for (size_t i = 0; i < n; i++) {
        double scaled = 255.0 * (double)x[i] + 0.5; /* exact, but for the sum's last bits below 2^-45 */
        scaled = scaled > 0 ? scaled : 0;
        dst[i] = (uint8_t)(int)(scaled < 255 ? scaled : 255);
    }
}

size_t attn_base64_encode(const attn_runtime *rt, char *dst, const void *bytes, size_t n)
{
    return attn_runtime_table(rt)->base64_encode(dst, bytes, n);
}

/* The offset of the first character of the last group that cannot stand there. A group is four characters, the text's last one maybe cut. */
static size_t find_bad(const uint8_t *s, size_t n, bool last)
{
    for (size_t i = 0; i < n; i++) {
        bool padding = last && s[i] == '=' && n == 4 && (i == 3 || (i == 2 && s[3] == '='));
        if (attn_base64_values[s[i]] == 255 && !padding)
            return i;
    }
    return n;
}

/* The last group, with one or two characters of padding; spare bits are zero. Returns the bytes, or 0 with *bad. */
static size_t decode_padded(uint8_t *dst, const uint8_t *s, size_t *bad)
{
    size_t bytes = s[2] == '=' ? 1 : 2;
    uint32_t u = (uint32_t)attn_base64_values[s[0]] << 18 | (uint32_t)attn_base64_values[s[1]] << 12;
    if (bytes == 2)
        u |= (uint32_t)attn_base64_values[s[2]] << 6;
    if (u & (bytes == 1 ? 0xffff : 0xff)) {
        *bad = bytes; /* the character with the spare bits */
        return 0;
    }
    dst[0] = (uint8_t)(u >> 16);
    if (bytes == 2)
        dst[1] = (uint8_t)(u >> 8);
    return bytes;
}

bool attn_base64_decode(const attn_runtime *rt, void *dst, size_t *written, const char *text, size_t n, size_t *bad)
{
    uint8_t *out = dst;
    size_t used = attn_runtime_table(rt)->base64_decode(out, text, n / 4 * 4);
    size_t bytes = used / 4 * 3, left = n - used;
    *written = bytes;
    if (left == 0)
        return true;
    const uint8_t *s = (const uint8_t *)text + used;
    size_t wrong = find_bad(s, left < 4 ? left : 4, left <= 4);
    if (wrong == 4) {
        size_t more = decode_padded(out + bytes, s, &wrong);
        *written = bytes + more;
        if (more > 0)
            return true;
    }
    *bad = used + wrong;
    return false;
}
