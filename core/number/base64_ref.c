/* base64_ref.c - base64 (RFC 4648) in plain C.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The last one or two bytes. */
static char *put_rest(char *p, const uint8_t *b, size_t n)
{
    uint32_t u = (uint32_t)b[0] << 16 | (n == 2 ? (uint32_t)b[1] << 8 : 0);
    p[0] = alphabet[u >> 18];
    p[1] = alphabet[u >> 12 & 63];
    p[2] = n == 2 ? alphabet[u >> 6 & 63] : '=';
    p[3] = '=';
    return p + 4;
}

size_t attn_base64_encode_ref(char *dst, const uint8_t *bytes, size_t n)
{
    char *p = dst;
    for (; n >= 3; bytes += 3, n -= 3, p += 4) {
        uint32_t u = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
        p[0] = alphabet[u >> 18];
        p[1] = alphabet[u >> 12 & 63];
        p[2] = alphabet[u >> 6 & 63];
        p[3] = alphabet[u & 63];
    }
    if (n > 0)
        p = put_rest(p, bytes, n);
    return (size_t)(p - dst);
}

#define NO 255
const uint8_t attn_base64_values[256] = {
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* 0x00 */
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, 62, NO, NO, NO, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, NO, NO, NO, NO, NO, NO, /* 0x20 */
    NO, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, NO, NO, NO, NO, NO, /* 0x40 */
    NO, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, NO, NO, NO, NO, NO, /* 0x60 */
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* 0x80 */
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* 0xa0 */
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* 0xc0 */
    NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, /* 0xe0 */
};
#undef NO

size_t attn_base64_decode_ref(uint8_t *dst, const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;
    for (; n - i >= 4; i += 4, dst += 3) {
        uint32_t a = attn_base64_values[s[i]], b = attn_base64_values[s[i + 1]], c = attn_base64_values[s[i + 2]], d = attn_base64_values[s[i + 3]];
        if ((a | b | c | d) > 63)
            break;
        uint32_t u = a << 18 | b << 12 | c << 6 | d;
        dst[0] = (uint8_t)(u >> 16);
        dst[1] = (uint8_t)(u >> 8);
        dst[2] = (uint8_t)u;
    }
    return i;
}
