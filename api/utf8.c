/* utf8.c - the few things said and asked about UTF-8 outside of tokenizers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include <stdbool.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t api_utf8_char(const char *at, const char *end)
{
    const unsigned char *c = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    if (c[0] < 0x80)
        return 1;
    if (c[0] < 0xC2 || c[0] > 0xF4)
        return 0;
    size_t n = c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3 : 4;
    if (left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (!is_tail(c[i]))
            return 0;
    /* The second byte rules out overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4). */
    if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F) || (c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] > 0x8F))
        return 0;
    return n;
}

size_t api_utf8_clip(const char *text, size_t length, size_t n)
{
    if (length <= n)
        return length;
    while (n > 0 && is_tail((unsigned char)text[n]))
        n--;
    return n;
}

size_t api_utf8_put(char *dst, uint32_t code)
{
    if (code < 0x80) {
        dst[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        dst[0] = (char)(0xC0 | code >> 6);
        dst[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        dst[0] = (char)(0xE0 | code >> 12);
        dst[1] = (char)(0x80 | (code >> 6 & 0x3F));
        dst[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    dst[0] = (char)(0xF0 | code >> 18);
    dst[1] = (char)(0x80 | (code >> 12 & 0x3F));
    dst[2] = (char)(0x80 | (code >> 6 & 0x3F));
    dst[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}
