/* fuzz_number.c - numbers as text and as bits. The readers against each other, against JSON's grammar written down once more, and against strtof and
 * strtod; the writers of all tables against each other, and back through the reader.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_number.h"
#include "math/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 4096 };
static attn_runtime *runtimes[8];

static void open_runtimes(void)
{
    const attn_kernels *const *tables = attn_kernels_all();
    for (size_t i = 0; tables[i]; i++) {
        attn_runtime_options options = { .threads = 1, .kernels = tables[i]->name };
        if (attn_runtime_new(&runtimes[i], &options, NULL) != ATTN_OK)
            abort();
    }
}

static void require(bool what)
{
    if (!what)
        abort();
}

static const char *skip_digits(const char *s, const char *end)
{
    while (s < end && *s >= '0' && *s <= '9')
        s++;
    return s;
}

/* Behind the number at s; NULL when there is none. */
static const char *number_end(const char *s, const char *end)
{
    const char *p = s < end && *s == '-' ? s + 1 : s, *digits = p;
    p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
    if (p == digits || (*digits == '0' && skip_digits(p, end) > p))
        return NULL;
    if (p < end && *p == '.') {
        digits = p + 1;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        digits = p;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

/* The text as one number. */
static void read_one(const char *s, const char *end)
{
    const char *stop, *expected = number_end(s, end);
    double d;
    attn_read_result result = attn_read_double(s, end, &d, &stop);
    require((expected != NULL) == (result == ATTN_READ_OK || result == ATTN_READ_TOO_LARGE));
    if (!expected)
        return;
    char *copy = malloc((size_t)(expected - s) + 2);
    require(copy != NULL);
    memcpy(copy, s, (size_t)(expected - s));
    copy[expected - s] = '\0';
    double exact = strtod(copy, NULL);
    require(isinf(exact) ? result == ATTN_READ_TOO_LARGE : result == ATTN_READ_OK && memcmp(&d, &exact, sizeof d) == 0 && stop == expected);
    float exact_float = strtof(copy, NULL);
    copy[expected - s] = ']';
    for (size_t i = 0; runtimes[i]; i++) {
        float x;
        size_t count;
        result = attn_read_floats(runtimes[i], copy, copy + (expected - s) + 1, &x, 1, &count, &stop);
        require(isinf(exact_float) ? result == ATTN_READ_TOO_LARGE : result == ATTN_READ_OK && count == 1 && memcmp(&x, &exact_float, sizeof x) == 0);
    }
    free(copy);
}

/* The text as a row of numbers: all tables see the same in it. */
static void read_row(const char *s, const char *end)
{
    static float first[MOST], other[MOST];
    size_t count, n;
    const char *stop, *at;
    attn_read_result result = attn_read_floats(runtimes[0], s, end, first, MOST, &count, &stop);
    for (size_t i = 1; runtimes[i]; i++) {
        require(attn_read_floats(runtimes[i], s, end, other, MOST, &n, &at) == result);
        require(n == count && at == stop && memcmp(first, other, count * sizeof *first) == 0);
    }
}

static void write_bits(const uint8_t *data, size_t size)
{
    static float x[MOST], back[MOST];
    static char text[MOST * ATTN_NUMBER_BYTES + 64], other[MOST * ATTN_NUMBER_BYTES + 64];
    size_t n = size / sizeof *x < MOST ? size / sizeof *x : MOST, length = 0, count;
    memcpy(x, data, n * sizeof *x);
    for (int decimals = 9; decimals >= 0; decimals--) { /* the shortest last, which is read back */
        for (size_t i = 0; runtimes[i]; i++) {
            size_t m = attn_write_floats(runtimes[i], i ? other : text, x, n, (attn_number_style){ decimals, false });
            require(i == 0 || (m == length && memcmp(text, other, m) == 0));
            length = m;
        }
    }
    const char *stop;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return;
    }
    if (n == 0)
        return;
    text[length - 1] = ']';
    for (size_t i = 0; runtimes[i]; i++) {
        require(attn_read_floats(runtimes[i], text, text + length, back, n, &count, &stop) == ATTN_READ_OK);
        require(count == n && memcmp(x, back, n * sizeof *x) == 0);
    }
}

static void decode(const char *s, size_t n)
{
    uint8_t *first = malloc(n / 4 * 3 + 64), *other = malloc(n / 4 * 3 + 64);
    char *again = malloc(n + 128);
    require(first && other && again);
    size_t written, bad, m, at;
    bool good = attn_base64_decode(runtimes[0], first, &written, s, n, &bad);
    for (size_t i = 1; runtimes[i]; i++) {
        require(attn_base64_decode(runtimes[i], other, &m, s, n, &at) == good);
        require(m == written && memcmp(first, other, m) == 0 && (good || at == bad));
    }
    if (good)
        require(attn_base64_encode(runtimes[0], again, first, written) == n && memcmp(again, s, n) == 0);
    free(first);
    free(other);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!runtimes[0])
        open_runtimes();
    const char *s = (const char *)data;
    read_one(s, s + size);
    read_row(s, s + size);
    write_bits(data, size);
    decode(s, size);
    return 0;
}
