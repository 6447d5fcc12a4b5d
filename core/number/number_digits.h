/* number_digits.h - what the number writers and readers share: powers of ten, the shortest decimal, eight digits at a time, the layout of a number.
 *
 * The shortest decimal of c * 2^q is found as in R. Giulietti, "The Schubfach way to render doubles" (2020 to 2022): scale the number and the two
 * ends of its rounding interval by one power of ten, 10^-k, chosen so that the interval holds at most one multiple of ten and at least one integer;
 * then at most four candidates remain to look at. With 64-bit powers the products are exact enough for float32: tests go through all 2^32.
 *
 * Layout. A number with n digits d1 .. dn and decimal exponent e (its value is d1.d2..dn * 10^e) has two texts: positional, without a point when it
 * is an integer ("1200", "0.012"), and exponent, d1.d2..dn "e" and the exponent without plus or leading zeros ("1.2e-7", "1e10"). The shorter one is
 * written, the positional one when both are as long. Zero is "0", minus zero "-0.0", whatever is not finite "null".
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef NUMBER_DIGITS_H
#define NUMBER_DIGITS_H

#include "attn_number.h"

#include <string.h>

/* The significand of 10^q: floor(10^q * 2^(63 - f)) + 1, f = attn_log2_of_power(q). Always a little too large, by at most one unit. */
enum { ATTN_FIRST_POWER = -64, ATTN_LAST_POWER = 45 };
extern const uint64_t attn_powers_of_ten[ATTN_LAST_POWER - ATTN_FIRST_POWER + 1];

static inline uint64_t attn_power_of_ten(int q)
{
    return attn_powers_of_ten[q - ATTN_FIRST_POWER];
}

/* floor(log2(10^q)), right for |q| < 1234. >> of a negative int shifts in its sign, in gcc and clang alike. */
static inline int attn_log2_of_power(int q)
{
    return (q * 1741647) >> 19;
}

/* A number's text with zeros for its digits, and where the digits go. A position of a digit has '0' in `literal` and the digit's place among
 * the sixteen bytes of an attn_digits in `source`; other positions have their character and 0x80. Comma included; the sign is not. */
typedef struct attn_layout {
    _Alignas(16) uint8_t source[16];
    uint8_t literal[15];
    uint8_t length;
} attn_layout;

/* `source` for code without byte shuffles. Of the low eight digits those in `keep` stay, the others move up by a byte; then these eight are multiplied
 * by `factor`, the ninth by `high_factor`, powers of 256: one of the two steps does nothing. */
typedef struct attn_layout_moves {
    uint64_t keep, factor, high_factor;
} attn_layout_moves;

enum {
    ATTN_LEAST_EXPONENT = -45, /* 2^-149 is 1e-45 */
    ATTN_EXPONENTS = 38 + 1 - ATTN_LEAST_EXPONENT,
    ATTN_MOST_DIGITS = 9,
    ATTN_LAYOUT_MINUS_ZERO = ATTN_EXPONENTS * ATTN_MOST_DIGITS, /* "0.0": the sign is written like any other */
    ATTN_LAYOUT_NULL,
    ATTN_LAYOUT_ZERO = -ATTN_LEAST_EXPONENT * ATTN_MOST_DIGITS, /* one digit, exponent 0 */
    ATTN_LAYOUTS = ATTN_LAYOUT_NULL + 1
};

/* How to scale c * 2^q: four times c * 2^q * 10^-exponent is 2c * factor / 2^56, for the exponent that Schubfach takes. */
typedef struct attn_scale {
    uint64_t factor;
    int exponent;
} attn_scale;

enum { ATTN_LEAST_BINARY = -149, ATTN_BINARY_EXPONENTS = 104 + 1 - ATTN_LEAST_BINARY };

/* Row (e - ATTN_LEAST_EXPONENT) * ATTN_MOST_DIGITS + digits - 1, and two more. */
typedef struct attn_number_tables {
    attn_scale scales[2][ATTN_BINARY_EXPONENTS]; /* [is the next number below half as far as the one above][q - ATTN_LEAST_BINARY] */
    attn_layout rows[ATTN_LAYOUTS];
    attn_layout_moves moves[ATTN_LAYOUTS];
} attn_number_tables;

/* Made on the first call. */
const attn_number_tables *attn_tables(void);

/* Nine digits as values, not characters: the first one, and eight with the first of them in the lowest byte. */
typedef struct attn_digits {
    uint64_t rest;
    uint64_t first;
} attn_digits;

/* The eight digits of u < 10^8, most significant in the lowest byte: halves, quarters and eighths, side by side in one word. */
static inline uint64_t attn_eight_digits(uint32_t u)
{
    uint64_t high = u / 10000;
    uint64_t fours = high | (u - high * 10000) << 32;
    uint64_t hundreds = ((fours * 5243) >> 19) & 0x7f0000007f; /* 5243 / 2^19: right below 10000 */
    uint64_t twos = hundreds | (fours - hundreds * 100) << 16;
    uint64_t tens = ((twos * 103) >> 10) & 0x000f000f000f000f; /* 103 / 2^10: right below 100 */
    return tens | (twos - tens * 10) << 8;
}

static inline attn_digits attn_nine_digits(uint32_t u)
{
    uint32_t first = u / 100000000;
    return (attn_digits){ attn_eight_digits(u - first * 100000000), first };
}

static inline void attn_put_eight(char *p, uint64_t digits)
{
    memcpy(p, &digits, 8);
}

/* value = integer * 10^exponent; digits may end in zeros. */
typedef struct attn_decimal {
    uint32_t integer;
    int exponent;
} attn_decimal;

/* 64 x 64 bits to 128: one instruction that C has no other word for. */
__extension__ typedef unsigned __int128 attn_u128;

/* factor * c / 2^64, rounded down, the lowest bit set when something was cut off ("round to odd"). The factor is a little too large, by less than one:
 * what is left of at most 3 / 2^32 is nothing. */
static inline uint32_t attn_scale_to_odd(uint64_t factor, uint64_t c)
{
    attn_u128 product = (attn_u128)factor * c;
    return (uint32_t)(product >> 64) | ((uint32_t)(product >> 32) > 3);
}

/* The shortest decimal that rounds to c * 2^q, ties to even; of several the closest to it. 0 < c < 2^24. The scale is the one of q; `uneven`: c is the
 * least of its binade, so the next number below is only half as far away. */
static inline attn_decimal attn_shortest(uint64_t c, const attn_scale *scale, uint32_t uneven)
{
    uint32_t odd = c & 1; /* an odd c does not own the ends of its interval */
    uint32_t low = attn_scale_to_odd(scale->factor, (4 * c - 2 + uneven) << 7) + odd;
    uint32_t mid = attn_scale_to_odd(scale->factor, c << 9); /* four times the scaled number */
    uint32_t high = attn_scale_to_odd(scale->factor, (4 * c + 2) << 7) - odd;

    uint32_t s = mid / 4, t = s / 10 * 10; /* the four candidates: t and t + 10, else s and s + 1 */
    uint32_t t_in = low <= 4 * t, t_next_in = 4 * t + 40 <= high;
    uint32_t s_in = low <= 4 * s, s_next_in = 4 * s + 4 <= high;
    uint32_t nearer_next = mid + (s & 1) > 4 * s + 2;
    uint32_t of_s = s + (s_next_in & (nearer_next | (s_in ^ 1)));
    uint32_t of_t = t + t_next_in * 10;
    uint32_t short_of_one = 0 - (t_in | t_next_in); /* a mask, for compilers make a guess of `?:` where it is a coin's toss */
    return (attn_decimal){ of_s ^ ((of_s ^ of_t) & short_of_one), scale->exponent };
}

/* 10^0 to 10^9. */
extern const uint32_t attn_small_powers[10];

/* What a number below ten of so many decimals (1 to 9) looks like: whole part, point, digits, comma. `literal` has the characters that are always there, '0' where a
 * digit is added; `source` says which byte of {eight digits, first digit, whole part} that is, 0x80 for none. */
static inline void attn_decimals_layout(int decimals, uint8_t source[16], uint8_t literal[16])
{
    memset(literal, '0', 16);
    literal[1] = '.';
    source[0] = 9;
    source[1] = 0x80;
    for (int i = 0; i < 14; i++)
        source[2 + i] = (uint8_t)(i >= decimals ? 0x80 : i == 0 ? 8 : i - 1);
    literal[2 + decimals] = ',';
}

#endif
