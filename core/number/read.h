/* read.h - a decimal text on its way to a binary number: what the readers share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_H
#define READ_H

#include "number/number_digits.h"

/* A number of JSON's grammar, in parts. Its value is mantissa * 10^exponent, and a little more when it has more digits than fit the mantissa. */
typedef struct attn_number_text {
    const char *digits, *end; /* from the first digit to behind the last digit of the fraction; a point may be among them */
    uint64_t mantissa;        /* the first 19 digits that count */
    int64_t exponent;
    bool negative, more;
} attn_number_text;

/* How a binary format is made. */
typedef struct attn_binary_format {
    int bits;           /* of significand, the hidden one included */
    int least_exponent; /* of the last bit of a subnormal: -149, -1074 */
    int exponent_bits;
} attn_binary_format;

extern const attn_binary_format attn_binary32, attn_binary64;

/* Reads the "e-7" at *p, an exponent of one or two digits, adds it and moves *p behind it. False: left to the general reader. Looks at four characters. */
static inline bool attn_read_exponent(const char **p, int *exponent)
{
    const char *s = *p;
    if ((s[0] | 0x20) != 'e')
        return false;
    int minus = s[1] == '-', sign = minus | (s[1] == '+');
    uint32_t tens = (uint32_t)(uint8_t)(s[1 + sign] - '0'), ones = (uint32_t)(uint8_t)(s[2 + sign] - '0');
    int two = ones <= 9, size = (int)(tens + ((9 * tens + ones) & (0 - (uint32_t)two))); /* masks: of two digits or one is a coin's toss as well */
    *exponent += (size ^ -minus) + minus;
    *p = s + 2 + sign + two;
    return tens <= 9;
}

/* 10^q as a double, q from -80 to 40. */
enum { ATTN_FIRST_DOUBLE_POWER = -80, ATTN_LAST_DOUBLE_POWER = 40 };
extern const double attn_double_powers[ATTN_LAST_DOUBLE_POWER - ATTN_FIRST_DOUBLE_POWER + 1];

/* How far a mantissa may be below the number's own, as a share of it, in units of 2^-53 and with the rounding that follows: nothing is missing, or it has 10^11 or more
 * and only what comes after its last digit is. */
enum { ATTN_SLACK_WHOLE = 4, ATTN_SLACK_CUT = 90100 }; /* 2^53 / 10^11 is 90072 */
static const uint64_t attn_least_cut = 100000000000;

/* mantissa * 10^exponent to float32, if that can be had by one product in double. Mantissa, power and product are each rounded, so the product is off by
 * less than three units of its last place, or by the slack: rounding it to float32 is right unless it is that close to the point halfway between two of them.
 * False there, where the float is subnormal or too large, and out of the table. No function is called from here: the loops around keep their registers. */
static inline bool attn_quick_float(uint64_t mantissa, int64_t exponent, uint32_t negative, uint32_t slack, float *out)
{
    if ((uint64_t)(exponent - ATTN_FIRST_DOUBLE_POWER) > ATTN_LAST_DOUBLE_POWER - ATTN_FIRST_DOUBLE_POWER || mantissa >> 63)
        return false;
    double d = (double)(int64_t)mantissa * attn_double_powers[exponent - ATTN_FIRST_DOUBLE_POWER];
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    bool normal = (bits >> 52) - (1023 - 126) < 253; /* 2^-126 to below 2^127 */
    bool halfway = (bits & 0x1fffffff) - (0x10000000 - slack) <= 2 * slack;
    if (!(normal | (mantissa == 0)) | halfway)
        return false;
    bits |= (uint64_t)negative << 63;
    memcpy(&d, &bits, sizeof bits);
    *out = (float)d;
    return true;
}

/* The same for a float that is subnormal, or zero: the product is brought to a multiple of 2^-149. False as in attn_quick_float. */
bool attn_quick_subnormal(uint64_t mantissa, int64_t exponent, uint32_t negative, uint32_t slack, float *out);

/* A number of an array on its way. `end`: behind its digits at first, then behind its exponent, at its comma or bracket. */
typedef struct attn_token {
    uint64_t mantissa;
    const char *end;
    int exponent;
    uint32_t negative, slack;
} attn_token;

static inline bool attn_token_float(const attn_token *t, float *out)
{
    return attn_quick_float(t->mantissa, t->exponent, t->negative, t->slack, out) || attn_quick_subnormal(t->mantissa, t->exponent, t->negative, t->slack, out);
}

/* Texts to tokens, then their exponents, then tokens to floats: steps with short chains keep a processor busier than one long one. And whether a weight
 * has an exponent is a coin's toss: those that have one are listed, which takes no branch. */
enum { ATTN_BATCH = 64 };
typedef struct attn_token_batch {
    attn_token token[ATTN_BATCH];
    const char *comma[ATTN_BATCH]; /* the next one in the text: where the token ends, unless it is its array's last */
    size_t n;
    uint32_t listed[ATTN_BATCH + 1], list_length; /* what does not end at its comma, yet */
} attn_token_batch;

/* The token b->token[b->n] is there. */
static inline void attn_batch_add(attn_token_batch *b, const char *comma)
{
    b->comma[b->n] = comma;
    b->listed[b->list_length] = (uint32_t)b->n;
    b->list_length += b->token[b->n].end != comma;
    b->n++;
}

/* The floats of a batch, up to the last of its array or the first that is left to others; how many. Then *s is where the last one ended. */
size_t attn_batch_floats(float *dst, attn_token_batch *b, const char **s);

/* The bits, without sign, of the number nearest to the text's, ties to even; of infinity when it is too large. */
uint64_t attn_nearest(const attn_number_text *, const attn_binary_format *);

#endif
