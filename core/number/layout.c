/* layout.c - the tables of the number writers, made once: how to scale a number, where its digits, its point and its exponent go.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_digits.h"

#include <pthread.h>

static attn_number_tables tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* In a template the byte i + 1 stands for digit i, 0 <= i < 9; any other byte for itself. */
static size_t put_exponent_form(char *t, int e, int digits)
{
    size_t at = 0;
    t[at++] = 1;
    if (digits > 1)
        t[at++] = '.';
    for (int i = 1; i < digits; i++)
        t[at++] = (char)(i + 1);
    t[at++] = 'e';
    if (e < 0)
        t[at++] = '-';
    int size = e < 0 ? -e : e;
    if (size >= 10)
        t[at++] = (char)('0' + size / 10);
    t[at++] = (char)('0' + size % 10);
    return at;
}

static size_t put_positional_form(char *t, int e, int digits)
{
    size_t at = 0;
    if (e < 0) {
        memcpy(t, "0.", 2);
        at = 2;
        for (int zero = e + 1; zero < 0; zero++)
            t[at++] = '0';
    }
    for (int i = 0; i < digits || i <= e; i++) {
        if (e >= 0 && i == e + 1)
            t[at++] = '.';
        t[at++] = i < digits ? (char)(i + 1) : '0';
    }
    return at;
}

static int positional_length(int e, int digits)
{
    if (e < 0)
        return 1 - e + digits;
    return digits > e + 1 ? digits + 1 : e + 1;
}

static size_t put_template(char *t, int e, int digits)
{
    char exponent_form[16];
    size_t n = put_exponent_form(exponent_form, e, digits);
    if (positional_length(e, digits) <= (int)n) {
        n = put_positional_form(t, e, digits);
    } else {
        memcpy(t, exponent_form, n);
    }
    t[n++] = ',';
    return n;
}

static void fill_row(attn_layout *row, const char *t, size_t n)
{
    memset(row, 0, sizeof *row);
    memset(row->source, 0x80, sizeof row->source);
    for (size_t i = 0; i < n; i++) {
        bool digit = t[i] <= ATTN_MOST_DIGITS;
        row->literal[i] = (uint8_t)(digit ? '0' : t[i]);
        if (digit)
            row->source[i] = (uint8_t)(t[i] == 1 ? 8 : t[i] - 2); /* the first digit is the ninth byte of attn_digits */
    }
    row->length = (uint8_t)n;
}

static void fill_moves(attn_layout_moves *moves, const char *t, size_t n)
{
    size_t first = 0;
    while (t[first] != 1)
        first++;
    const char *point = memchr(t + first, '.', n - first);
    size_t kept = point ? (size_t)(point - (t + first)) : 8;
    moves->keep = kept < 8 ? ((uint64_t)1 << 8 * kept) - 1 : UINT64_MAX;
    moves->factor = (uint64_t)1 << 8 * first;
    moves->high_factor = point ? 256 : moves->factor;
}

/* 10^k is the largest power of ten that is no larger than the interval of numbers that round to c * 2^q: 2^q, or 3/4 of it. */
static attn_scale scale_of(int q, bool uneven)
{
    int k = (q * 1262611 - (uneven ? 524031 : 0)) >> 22;
    int shift = 7 - (q + attn_log2_of_power(-k) + 1);
    uint64_t power = attn_power_of_ten(-k);
    return (attn_scale){ (power >> shift) + 1, k };
}

static void make(void)
{
    for (int i = 0; i < ATTN_BINARY_EXPONENTS; i++) {
        tables.scales[false][i] = scale_of(i + ATTN_LEAST_BINARY, false);
        tables.scales[true][i] = scale_of(i + ATTN_LEAST_BINARY, true);
    }
    char t[32];
    for (int row = 0; row < ATTN_EXPONENTS * ATTN_MOST_DIGITS; row++) {
        size_t n = put_template(t, row / ATTN_MOST_DIGITS + ATTN_LEAST_EXPONENT, row % ATTN_MOST_DIGITS + 1);
        fill_row(&tables.rows[row], t, n);
        fill_moves(&tables.moves[row], t, n);
    }
    fill_row(&tables.rows[ATTN_LAYOUT_MINUS_ZERO], "0.0,", 4);
    fill_row(&tables.rows[ATTN_LAYOUT_NULL], "null,", 5);
}

const attn_number_tables *attn_tables(void)
{
    pthread_once(&once, make);
    return &tables;
}
