/* read_ref.c - the numbers that are in arrays: up to three digits, a fraction, an exponent of up to two digits, eight characters at a time in a
 * 64-bit word. Everything else is left to the general reader. As in the writers, no branch depends on how many digits there are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"
#include "number/read.h"

/* Bytes a number and its comma may be looked at: space, sign, 4 up to the point, 24 digits, exponent. */
enum { REACH = 48 };

static inline uint64_t eight_at(const char *s)
{
    uint64_t u;
    memcpy(&u, s, 8);
    return u;
}

/* Characters to digits; those from the first that is no digit on are 0. */
static inline uint64_t leading_digits(uint64_t text, uint64_t *keep)
{
    uint64_t v = text ^ 0x3030303030303030;
    uint64_t others = ((v + 0x7676767676767676) | v) & 0x8080808080808080; /* right up to the lowest one, no carry comes from below it */
    *keep = ((others & (0 - others)) >> 7) - 1;
    return v & *keep;
}

/* How many bytes are kept. */
static inline size_t kept(uint64_t keep)
{
    return ((keep & 0x0101010101010101) * 0x0101010101010101) >> 56;
}

/* Eight digits, first one in the lowest byte, as a number. */
static inline uint64_t value_of(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8); /* pairs, in every second byte */
    uint64_t outer = (digits & 0x000000ff000000ff) * (((uint64_t)1000000 << 32) + 100);
    uint64_t inner = (digits >> 16 & 0x000000ff000000ff) * (((uint64_t)10000 << 32) + 1);
    return (outer + inner) >> 32;
}

/* The digits before the point, at most three; 1000 when there are others. Moves *s behind them. */
static inline uint32_t read_whole(const char **s)
{
    const char *p = *s;
    uint32_t whole = (uint32_t)(uint8_t)(p[0] - '0');
    if (whole > 9)
        return 1000;
    int digits = 1;
    for (uint32_t d; (d = (uint32_t)(uint8_t)(p[digits] - '0')) <= 9; digits++) {
        whole = whole * 10 + d;
        if (digits == 3 || p[0] == '0')
            return 1000;
    }
    *s = p + digits;
    return whole;
}

/* Digits of a fraction beyond the sixteenth. */
static __attribute__((noinline)) bool read_more(const char **s, uint64_t *mantissa, int *exponent)
{
    uint64_t keep, digits = leading_digits(eight_at(*s), &keep);
    for (size_t n = kept(keep); n > 0; n--, digits >>= 8, ++*s, --*exponent) {
        if (*mantissa >= 900000000000000000)
            return false;
        *mantissa = *mantissa * 10 + (digits & 0xff);
    }
    return keep != UINT64_MAX;
}

static inline bool read_number(const char **s, float *out)
{
    const char *p = *s;
    if (*p == ' ')
        p++;
    uint32_t negative = *p == '-';
    p += negative;
    uint64_t mantissa = read_whole(&p);
    if (mantissa == 1000)
        return false;
    int exponent = 0;
    if (*p == '.') {
        p++;
        uint64_t keep, keep_next, digits = leading_digits(eight_at(p), &keep), next = leading_digits(eight_at(p + 8), &keep_next);
        uint64_t full = 0 - (uint64_t)(keep == UINT64_MAX); /* a mask */
        mantissa = mantissa * 10000000000000000 + value_of(digits) * 100000000 + value_of(next & full);
        exponent = -16;
        if (!(keep & 1))
            return false;
        p += kept(keep) + kept(keep_next & full);
        if ((keep & keep_next) == UINT64_MAX && !read_more(&p, &mantissa, &exponent))
            return false;
    }
    if (*p != ',' && !(attn_read_exponent(&p, &exponent) && *p == ','))
        return false;
    if (!attn_quick_float(mantissa, exponent, negative, out))
        return false;
    *s = p + 1;
    return true;
}

size_t attn_read_plain_ref(float *dst, size_t max, const char **s, const char *end)
{
    size_t n = 0;
    while (n < max && end - *s >= REACH && read_number(s, &dst[n]))
        n++;
    return n;
}
