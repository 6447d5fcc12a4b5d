/* decimals_ref.c - a fixed number of digits after the point, as printf("%.*f") gives, in plain C.
 *
 * x * 10^k is exact in double for k <= 9: 24 bits of significand times the 21 of 5^9. Rounding it to an integer, half to even, is then
 * the rounding of the exact decimal expansion.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_digits.h"
#include "number/number_kernels.h"

#include <math.h>

const uint32_t attn_small_powers[10] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000 };

/* u < 10^9 without zeros in front, u >= 10. */
static __attribute__((noinline, cold)) char *put_whole(char *p, uint32_t u)
{
    int digits = 2;
    while (digits < 9 && u >= attn_small_powers[digits])
        digits++;
    for (int i = digits; i-- > 0; u /= 10)
        p[i] = (char)('0' + u % 10);
    return p + digits;
}

static const char pairs[201] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                               "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* u < 10^6: two digits above the binary point, the others below it, where they come up by hundreds. */
static inline void put_six(char *p, uint32_t u)
{
    uint64_t fixed = (uint64_t)u * 429497; /* 2^32 / 10^4: too large by less than 10^-4 for every u */
    memcpy(p, pairs + 2 * (fixed >> 32), 2);
    fixed = (fixed & 0xffffffff) * 100;
    memcpy(p + 2, pairs + 2 * (fixed >> 32), 2);
    fixed = (fixed & 0xffffffff) * 100;
    memcpy(p + 4, pairs + 2 * (fixed >> 32), 2);
}

/* The first `decimals` of as many places; places is 4, 6, 8 or 9 and known when this is compiled. */
static inline char *put_digits(char *p, uint32_t part, int decimals, int places)
{
    part *= attn_small_powers[places - decimals];
    if (places == 4) {
        uint32_t high = part / 100, twos = high | (part - high * 100) << 16;
        uint32_t tens = twos * 103 >> 10 & 0x000f000f, digits = (tens | (twos - tens * 10) << 8) + 0x30303030;
        memcpy(p, &digits, 4);
    } else if (places == 6) {
        put_six(p, part);
    } else if (places == 8) {
        attn_put_eight(p, attn_eight_digits(part) + 0x3030303030303030);
    } else {
        attn_digits digits = attn_nine_digits(part);
        p[0] = (char)('0' + digits.first);
        attn_put_eight(p + 1, digits.rest + 0x3030303030303030);
    }
    return p + decimals;
}

/* 1e9 and more, and what is not finite. */
static char *put_other(char *p, float x)
{
    if (isfinite(x))
        return p + attn_write_shortest_ref(p, &x, 1);
    memcpy(p, "null,", 5);
    return p + 5;
}

enum { BLOCK = 16, LARGE = UINT32_MAX };

typedef struct block {
    uint32_t whole[BLOCK]; /* LARGE for 1e9 and more */
    uint32_t part[BLOCK];  /* times 10^-decimals */
} block;

static inline void split(block *b, const float *x, size_t n, int64_t power)
{
    for (size_t i = 0; i < n; i++) {
        double size = fabs((double)x[i]);
        bool good = size < 1e9;
        size = good ? size : 0;
        int64_t whole = (int64_t)size, part = llrint(size * (double)power) - whole * power;
        int64_t carry = part >= power; /* 0.99996 is 1.0000 */
        b->whole[i] = good ? (uint32_t)(whole + carry) : LARGE;
        b->part[i] = (uint32_t)(part - carry * power);
    }
}

static inline char *put_fixed(char *p, bool negative, uint32_t whole, uint32_t part, int decimals, int places)
{
    *p = '-';
    p += negative;
    *p = (char)('0' + whole);
    p = whole < 10 ? p + 1 : put_whole(p, whole);
    *p = '.';
    p = put_digits(p + 1, part, decimals, places);
    *p = ',';
    return p + 1;
}

/* In two steps, as in shortest_ref.c. */
static inline size_t write_all(char *dst, const float *x, size_t n, int decimals, int places)
{
    char *p = dst;
    block b;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t count = n - from < BLOCK ? n - from : BLOCK;
        split(&b, x + from, count, attn_small_powers[decimals]);
        for (size_t i = 0; i < count; i++) {
            float number = x[from + i];
            p = b.whole[i] == LARGE ? put_other(p, number) : put_fixed(p, signbit(number) != 0, b.whole[i], b.part[i], decimals, places);
        }
    }
    return (size_t)(p - dst);
}

size_t attn_write_decimals_ref(char *dst, const float *x, size_t n, int decimals)
{
    if (decimals <= 4)
        return write_all(dst, x, n, decimals, 4);
    if (decimals <= 6)
        return write_all(dst, x, n, decimals, 6);
    return decimals <= 8 ? write_all(dst, x, n, decimals, 8) : write_all(dst, x, n, decimals, 9);
}
