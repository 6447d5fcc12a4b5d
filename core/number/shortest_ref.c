/* shortest_ref.c - the shortest text of a float32 in plain C.
 *
 * Branches that the data decides would cost more here than the arithmetic: there are none. And the chain from a number to its text is 140 cycles long,
 * in which a processor sees but two or three numbers ahead: so a block of numbers goes through it step by step, and each step has many short chains
 * side by side.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_digits.h"
#include "number/number_kernels.h"

enum { BLOCK = 16 };

/* c * 2^(scale + ATTN_LEAST_BINARY), with its sign; or a layout of its own. */
typedef struct number {
    uint32_t c, scale, uneven, negative;
    uint32_t special; /* a layout, or 0 */
} number;

typedef struct block {
    uint32_t integer[BLOCK]; /* integer * 10^power */
    int power[BLOCK];
    uint64_t rest[BLOCK], first[BLOCK]; /* the digits apart */
    uint32_t row[BLOCK];                /* their layout */
    uint32_t negative[BLOCK], special[BLOCK];
} block;

/* floor(log2(u)), 0 < u < 2^63, from the exponent of a double: __builtin_clzll is "bsr" in code for any x86-64, which waits for the old value of
 * the register it writes, and so chains one number to the next. */
static inline uint32_t top_bit(uint64_t u)
{
    double d = (double)(int64_t)u;
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return (uint32_t)(bits >> 52) - 1023;
}

/* Brings a decimal to nine digits. */
static inline attn_decimal fill_nine(attn_decimal d)
{
    uint32_t digits = (1 + top_bit(d.integer)) * 1233 >> 12; /* bits * log10(2): the count of digits, or one less */
    digits += d.integer >= attn_small_powers[digits];
    return (attn_decimal){ d.integer * attn_small_powers[9 - digits], d.exponent - 9 + (int)digits };
}

/* Zeros at the end left out. Each digit fills at most half its byte. */
static inline uint32_t count_digits(uint64_t rest)
{
    return 1 + (top_bit(rest << 4 | 1) + 4) / 8;
}

/* Puts digits to their places in a layout, as attn_layout_moves tells. Writes 16 bytes. */
static inline char *put_text(char *p, uint32_t row, attn_digits digits, const attn_number_tables *tables)
{
    const attn_layout *layout = &tables->rows[row];
    const attn_layout_moves *moves = &tables->moves[row];
    uint64_t low = digits.rest << 8 | digits.first, high = digits.rest >> 56;
    uint64_t moved = low & ~moves->keep;
    attn_u128 product = (attn_u128)((low & moves->keep) | moved << 8) * moves->factor;
    uint64_t literal[2];
    memcpy(literal, (const char *)layout + offsetof(attn_layout, literal), 16); /* and the length, in a byte that no text reaches */
    attn_put_eight(p, literal[0] + (uint64_t)product);
    attn_put_eight(p + 8, literal[1] + (uint64_t)(product >> 64) + high * moves->high_factor + (moved >> 56));
    return p + layout->length;
}

static inline void add_number(block *b, size_t i, number x, const attn_number_tables *tables)
{
    attn_decimal d = attn_shortest(x.c, &tables->scales[x.uneven][x.scale], x.uneven);
    b->integer[i] = d.integer;
    b->power[i] = d.exponent;
    b->special[i] = x.special;
    b->negative[i] = x.negative;
}

static char *put_block(char *p, block *b, size_t n, const attn_number_tables *tables)
{
    for (size_t i = 0; i < n; i++) {
        attn_decimal d = fill_nine((attn_decimal){ b->integer[i], b->power[i] });
        attn_digits digits = attn_nine_digits(d.integer);
        uint32_t row = (uint32_t)(d.exponent + 8 - ATTN_LEAST_EXPONENT) * ATTN_MOST_DIGITS + count_digits(digits.rest) - 1;
        uint64_t plain = (uint64_t)(b->special[i] != 0) - 1; /* a mask */
        b->row[i] = (row & (uint32_t)plain) | b->special[i];
        b->rest[i] = digits.rest & plain;
        b->first[i] = digits.first & plain;
    }
    for (size_t i = 0; i < n; i++) {
        *p = '-';
        p = put_text(p + b->negative[i], b->row[i], (attn_digits){ b->rest[i], b->first[i] }, tables);
    }
    return p;
}

/* The number of these fields of a float32 or float16. `scale`: where exponent 1 stands among the scales. */
static inline number parts(uint32_t negative, uint32_t exponent, uint32_t fraction, uint32_t hidden_bit, uint32_t scale, bool finite)
{
    uint32_t normal = exponent > 0, zero = (exponent | fraction) == 0;
    uint32_t special = zero * (ATTN_LAYOUT_ZERO + negative * (ATTN_LAYOUT_MINUS_ZERO - ATTN_LAYOUT_ZERO)) + (uint32_t)!finite * ATTN_LAYOUT_NULL;
    return (number){
        .c = fraction | normal * hidden_bit | zero, /* zero goes through it all as if it were the least number, and null as another one */
        .scale = scale + exponent - normal - !finite,
        .uneven = (fraction == 0) & (exponent > 1),
        .negative = negative & finite,
        .special = special,
    };
}

static inline number float_parts(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t exponent = bits >> 23 & 255;
    return parts(bits >> 31, exponent, bits & 0x7fffff, 0x800000, 0, exponent < 255);
}

size_t attn_write_shortest_ref(char *dst, const float *x, size_t n)
{
    const attn_number_tables *tables = attn_tables();
    char *p = dst;
    block b;
    while (n > 0) {
        size_t count = n < BLOCK ? n : BLOCK;
        for (size_t i = 0; i < count; i++)
            add_number(&b, i, float_parts(x[i]), tables);
        p = put_block(p, &b, count, tables);
        x += count;
        n -= count;
    }
    return (size_t)(p - dst);
}

static inline number half_parts(uint32_t bits)
{
    uint32_t exponent = bits >> 10 & 31;
    return parts(bits >> 15, exponent, bits & 0x3ff, 0x400, 149 - 24, exponent < 31);
}

size_t attn_write_halves_ref(char *dst, const uint16_t *x, size_t n)
{
    const attn_number_tables *tables = attn_tables();
    char *p = dst;
    block b;
    while (n > 0) {
        size_t count = n < BLOCK ? n : BLOCK;
        for (size_t i = 0; i < count; i++)
            add_number(&b, i, half_parts(x[i]), tables);
        p = put_block(p, &b, count, tables);
        x += count;
        n -= count;
    }
    return (size_t)(p - dst);
}
