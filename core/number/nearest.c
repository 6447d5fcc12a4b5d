/* nearest.c - the float32 or double nearest to a decimal text of any length.
 *
 * A product with a 64-bit power of ten gives two bounds close to each other. Mostly both round to the same number, which is the answer. Else
 * they round to neighbours, and the text is compared, digit by digit, with the decimal expansion of the point halfway between: it ends, within
 * 112 digits for float32 and 767 for double. Time is linear in the length of the text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/read.h"

const attn_binary_format attn_binary32 = { 24, -149, 8 }, attn_binary64 = { 53, -1074, 11 };

bool attn_quick_subnormal(uint64_t mantissa, int64_t exponent, uint32_t negative, uint32_t slack, float *out)
{
    if ((uint64_t)(exponent - ATTN_FIRST_DOUBLE_POWER) > ATTN_LAST_DOUBLE_POWER - ATTN_FIRST_DOUBLE_POWER || mantissa >> 63)
        return false;
    double d = (double)(int64_t)mantissa * attn_double_powers[exponent - ATTN_FIRST_DOUBLE_POWER];
    if (!(d < 0x1p-126))
        return false;
    uint64_t fixed = (uint64_t)(int64_t)(d * 0x1p180), rest = fixed & 0x7fffffff; /* 31 bits behind 2^-149; below 2^54, so off by twice the slack at most */
    if (rest - (0x40000000 - 2 * slack) <= 4 * slack)
        return false;
    uint32_t bits = ((uint32_t)(fixed >> 31) + (rest > 0x40000000)) | negative << 31;
    memcpy(out, &bits, sizeof bits);
    return true;
}

/* significand * 2^exponent, bit 63 of the significand set. */
typedef struct binary {
    uint64_t significand;
    int exponent;
} binary;

/* Bounds of a number: at least `low`, less than `low` with `width` more in its last place. */
typedef struct bounds {
    binary low;
    uint64_t width;
} bounds;

static binary normalized(uint64_t significand, int exponent)
{
    int zeros = __builtin_clzll(significand);
    return (binary){ significand << zeros, exponent - zeros };
}

/* IEEE 754 bits of the nearest number, ties to even. */
static uint64_t rounded(binary x, const attn_binary_format *f)
{
    int shift = 64 - f->bits, subnormal = f->least_exponent - (x.exponent + shift);
    uint64_t exponent = 0;
    if (subnormal > 0)
        shift += subnormal;
    else
        exponent = (uint64_t)-subnormal; /* of the last bit; the hidden bit adds the one that is missing */
    if (shift > 64)
        return 0;
    uint64_t infinity = (((uint64_t)1 << f->exponent_bits) - 1) << (f->bits - 1);
    if (exponent >> f->exponent_bits)
        return infinity;
    uint64_t whole = shift == 64 ? 0 : x.significand >> shift;
    uint64_t rest = shift == 64 ? x.significand : x.significand << (64 - shift);
    uint64_t half = (uint64_t)1 << 63;
    whole += rest > half || (rest == half && (whole & 1));
    uint64_t bits = (exponent << (f->bits - 1)) + whole;
    return bits < infinity ? bits : infinity;
}

/* x * 10^q; a power in the table is less than one unit too large. */
static bounds times_power(bounds x, int q)
{
    uint64_t power = attn_power_of_ten(q) - 1;
    attn_u128 product = (attn_u128)x.low.significand * power;
    uint64_t high = (uint64_t)(product >> 64);
    bool carry = high >> 63;
    bounds y;
    y.low.significand = carry ? high : high << 1;
    y.low.exponent = x.low.exponent + attn_log2_of_power(q) - 63 + 64 - !carry;
    y.width = 2 * (x.width + 3); /* (s + w)(p + 1) - sp = wp + s + w, at most w + 2 units of the high word, and one for the cut; then the shift */
    return y;
}

static bounds bounds_of(const attn_number_text *t, int exponent)
{
    bounds x = { normalized(t->mantissa, 0), 0 };
    x.width = t->more ? (uint64_t)1 << -x.low.exponent : 0;
    while (exponent < ATTN_FIRST_POWER) {
        x = times_power(x, ATTN_FIRST_POWER);
        exponent -= ATTN_FIRST_POWER;
    }
    while (exponent > ATTN_LAST_POWER) {
        x = times_power(x, ATTN_LAST_POWER);
        exponent -= ATTN_LAST_POWER;
    }
    return times_power(x, exponent);
}

/* ---- the point halfway between, in full ------------------------------------------------------------------------------ */

enum { LIMBS = 90, LIMIT_DIGITS = 9 * 90 }; /* 5^1075 * 2^54 has 2551 bits, 768 digits; 10^9 to a limb */

/* A whole number in limbs of nine digits, the last ones first. */
typedef struct whole {
    uint32_t limb[LIMBS];
    size_t count;
} whole;

static void multiply(whole *x, uint32_t factor)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < x->count; i++) {
        carry += (uint64_t)x->limb[i] * factor;
        x->limb[i] = (uint32_t)(carry % 1000000000);
        carry /= 1000000000;
    }
    if (carry)
        x->limb[x->count++] = (uint32_t)carry;
}

/* x * base^n, base 2 or 5, twelve factors at a time: 5^12 < 10^9, so what is carried out is one limb. */
static void multiply_power(whole *x, uint32_t base, int n)
{
    uint32_t step = 1;
    for (int i = 0; i < 12; i++)
        step *= base;
    for (; n >= 12; n -= 12)
        multiply(x, step);
    while (n-- > 0)
        multiply(x, base);
}

/* significand * 2^exponent as digits and the place of the point: 0.d1d2... * 10^*point. Returns how many digits. */
static size_t expand(uint64_t significand, int exponent, char *digits, int64_t *point)
{
    whole x = { { (uint32_t)(significand % 1000000000), (uint32_t)(significand / 1000000000) }, 2 };
    multiply_power(&x, exponent < 0 ? 5 : 2, exponent < 0 ? -exponent : exponent); /* 2^-n is 5^n / 10^n */
    size_t at = 0;
    for (size_t i = x.count; i-- > 0;) {
        uint32_t u = x.limb[i];
        for (int j = 9; j-- > 0; u /= 10)
            digits[at + (size_t)j] = (char)('0' + u % 10);
        at += 9;
    }
    size_t zeros = 0;
    while (digits[zeros] == '0')
        zeros++;
    memmove(digits, digits + zeros, at - zeros);
    at -= zeros;
    *point = (int64_t)at + (exponent < 0 ? exponent : 0);
    while (digits[at - 1] == '0')
        at--;
    return at;
}

/* The text's digits that count, one after another; zeros for ever behind the last one. */
static char next_digit(const attn_number_text *t, const char **s)
{
    if (*s < t->end && **s == '.')
        ++*s;
    return *s < t->end ? *(*s)++ : '0';
}

/* Sets *s to the first digit that is not 0; returns where the point is, as expand() does. The mantissa begins with that digit. */
static int64_t find_first(const attn_number_text *t, const char **s)
{
    const char *p = t->digits;
    while (*p == '0' || *p == '.')
        p++;
    *s = p;
    int64_t point = t->exponent;
    for (uint64_t m = t->mantissa; m > 0; m /= 10)
        point++;
    return point;
}

/* Below 0, 0 or above 0 as the text's number is smaller than, equal to or larger than significand * 2^exponent. */
static int compare(const attn_number_text *t, uint64_t significand, int exponent)
{
    char digits[LIMIT_DIGITS];
    int64_t point;
    size_t n = expand(significand, exponent, digits, &point);
    const char *s;
    int64_t text_point = find_first(t, &s);
    if (text_point != point)
        return text_point < point ? -1 : 1;
    for (size_t i = 0; i < n; i++) {
        int difference = next_digit(t, &s) - digits[i];
        if (difference)
            return difference;
    }
    while (s < t->end) {
        if (next_digit(t, &s) != '0')
            return 1;
    }
    return 0;
}

/* Is the text's number beyond the point halfway between the numbers of these bits and of the next? A tie goes to the even one. */
static bool rounds_up(const attn_number_text *t, uint64_t bits, const attn_binary_format *f)
{
    uint64_t fraction = bits & (((uint64_t)1 << (f->bits - 1)) - 1), exponent = bits >> (f->bits - 1);
    uint64_t significand = exponent ? fraction | (uint64_t)1 << (f->bits - 1) : fraction;
    int order = compare(t, 2 * significand + 1, f->least_exponent + (int)exponent - (exponent > 0) - 1);
    return order > 0 || (order == 0 && (bits & 1));
}

uint64_t attn_nearest(const attn_number_text *t, const attn_binary_format *f)
{
    if (t->mantissa == 0 || t->exponent < f->least_exponent - 20) /* below 10^19 * 10^least: less than half of 2^least */
        return 0;
    if (t->exponent > 400)
        return (((uint64_t)1 << f->exponent_bits) - 1) << (f->bits - 1);
    bounds b = bounds_of(t, (int)t->exponent);
    uint64_t low = rounded(b.low, f);
    binary high = b.low;
    high.significand += b.width;
    if (high.significand < b.width) /* over 2^64 */
        high = (binary){ high.significand >> 1 | (uint64_t)1 << 63, high.exponent + 1 };
    return rounded(high, f) == low ? low : low + rounds_up(t, low, f);
}
