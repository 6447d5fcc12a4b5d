/* attn_number.h - float32 to text and back, halves, base64: how numbers leave and enter.
 *
 * Writing: the shortest decimal that reads back as the same float32 (of several the closest, ties to even), in the shorter of positional
 * ("1200", "0.012") and exponent notation ("1.2e-7", "1e10"; positional when both are as long); or fixed decimals, rounded half to even on the exact
 * value as printf does. Reading: JSON's number grammar,
 * correctly rounded to float32. All tables of kernels give the same bytes and the same bits.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_NUMBER_H
#define ATTN_NUMBER_H

#include "attn_runtime.h"

typedef struct attn_number_style {
    int decimals; /* 0: shortest exact; 1 to 9: that many digits after the point (numbers of 1e9 and more stay shortest exact) */
    bool half;    /* the shortest that reads back as the same float16; values are rounded to one first. decimals 0 only */
} attn_number_style;

enum { ATTN_NUMBER_BYTES = 24 }; /* the most one number and its comma take, in any style */

/* Writes x[0..n) as "a,b,c," - a comma behind each - and returns the bytes written, at most n * ATTN_NUMBER_BYTES; the writer may scribble
 * up to 64 bytes past what it returns, so dst must hold n * ATTN_NUMBER_BYTES + 64. Minus infinity is "null"; zero "0", minus zero "-0.0",
 * one "1". NaN and plus infinity must not be there (callers check maps when they are computed); they come out as "null" too. */
size_t attn_write_floats(const attn_runtime *, char *dst, const float *x, size_t n, attn_number_style);
/* Integers the same way. */
size_t attn_write_ints(char *dst, const int32_t *x, size_t n);

typedef enum attn_read_result {
    ATTN_READ_OK,        /* *count numbers read; *stop at what follows: ']' or something that is no number */
    ATTN_READ_FULL,      /* dst is full and another number follows; *stop at it */
    ATTN_READ_SYNTAX,    /* *stop at the offending byte */
    ATTN_READ_TOO_LARGE, /* a number beyond float32; *stop at its first byte */
    ATTN_READ_CUT        /* the text ended inside; *stop is end */
} attn_read_result;

/* Reads JSON numbers separated by commas (white space allowed) from [s, end) into dst, at most max of them. Begins at a number or white
 * space; stops with OK at the first token that is not a number (']', '[', 'n', '"' ...), the comma before it consumed. SYNTAX: a malformed number, anything but
 * a comma or ']' behind a number, ']' behind a comma. Reads no byte at or past end. Linear in the text, however long a number is. */
attn_read_result attn_read_floats(const attn_runtime *, const char *s, const char *end, float *dst, size_t max, size_t *count, const char **stop);
/* One JSON number to double, correctly rounded. OK, SYNTAX, TOO_LARGE (beyond double) or CUT (no digit where one must be, at the end). */
attn_read_result attn_read_double(const char *s, const char *end, double *out, const char **stop);

/* float16: round to nearest even. Beyond the range: the largest half, 65504; infinities stay. */
void attn_to_half(const attn_runtime *, uint16_t *dst, const float *x, size_t n);
void attn_from_half(const attn_runtime *, float *dst, const uint16_t *x, size_t n);
void attn_from_bfloat16(const attn_runtime *, float *dst, const uint16_t *x, size_t n);
/* uint8: round(255 * x), half up, x in [0, 1]. */
void attn_to_uint8(const attn_runtime *, uint8_t *dst, const float *x, size_t n);

/* base64 (RFC 4648, padded). Encoding whole groups of 3 can be done piece by piece. */
size_t attn_base64_encode(const attn_runtime *, char *dst, const void *bytes, size_t n); /* returns 4 * ceil(n / 3); dst must hold that + 64 */
/* Strict: no white space, right padding, zero spare bits. False: *bad is the offset of the first wrong byte, n when bytes are missing. dst holds n / 4 * 3 + 64. */
bool attn_base64_decode(const attn_runtime *, void *dst, size_t *written, const char *text, size_t n, size_t *bad);

#endif
