/* read.c - JSON's numbers, to the letter and correctly rounded: what the quick readers leave, and numbers that stand alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/read.h"

#include "math/gemm.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Takes the digits at *s into the text. Returns false when there is none. */
static bool take_digits(attn_number_text *t, const char **s, const char *end, bool fraction)
{
    const char *p = *s;
    for (; p < end && is_digit(*p); p++) {
        if (t->mantissa < 1000000000000000000) {
            t->mantissa = t->mantissa * 10 + (uint64_t)(*p - '0');
            t->exponent -= fraction;
        } else {
            t->more |= *p != '0';
            t->exponent += !fraction;
        }
    }
    bool any = p > *s;
    *s = p;
    return any;
}

static bool take_exponent(attn_number_text *t, const char **s, const char *end)
{
    const char *p = *s;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    const char *first = p;
    int64_t exponent = 0;
    for (; p < end && is_digit(*p); p++) {
        if (exponent < INT64_C(100000000000000000))
            exponent = exponent * 10 + (*p - '0');
    }
    t->exponent += negative ? -exponent : exponent;
    *s = p;
    return p > first;
}

/* The number at s. OK: *stop is behind it, maybe at end. */
static attn_read_result take_number(const char *s, const char *end, attn_number_text *t, const char **stop)
{
    *t = (attn_number_text){ .digits = s, .end = s };
    const char *p = s;
    bool good = true;
    t->negative = p < end && *p == '-';
    p += t->negative;
    t->digits = p;
    if (p < end && *p == '0')
        good = ++p == end || !is_digit(*p);
    else
        good = take_digits(t, &p, end, false);
    if (good && p < end && *p == '.') {
        p++;
        good = take_digits(t, &p, end, true);
    }
    t->end = p;
    if (good && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        good = take_exponent(t, &p, end);
    }
    *stop = p;
    return good ? ATTN_READ_OK : p == end ? ATTN_READ_CUT : ATTN_READ_SYNTAX;
}

static attn_read_result read_float(const char *s, const char *end, float *out, const char **stop)
{
    attn_number_text t;
    attn_read_result result = take_number(s, end, &t, stop);
    if (result != ATTN_READ_OK)
        return result;
    if (!t.more && (attn_quick_float(t.mantissa, t.exponent, t.negative, ATTN_SLACK_WHOLE, out) ||
                    attn_quick_subnormal(t.mantissa, t.exponent, t.negative, ATTN_SLACK_WHOLE, out)))
        return ATTN_READ_OK;
    uint32_t bits = (uint32_t)attn_nearest(&t, &attn_binary32);
    if (bits == 0x7f800000) {
        *stop = s;
        return ATTN_READ_TOO_LARGE;
    }
    bits |= (uint32_t)t.negative << 31;
    memcpy(out, &bits, sizeof bits);
    return ATTN_READ_OK;
}

attn_read_result attn_read_double(const char *s, const char *end, double *out, const char **stop)
{
    attn_number_text t;
    attn_read_result result = take_number(s, end, &t, stop);
    if (result != ATTN_READ_OK)
        return result;
    uint64_t bits = attn_nearest(&t, &attn_binary64);
    if (bits == UINT64_C(0x7ff0000000000000)) {
        *stop = s;
        return ATTN_READ_TOO_LARGE;
    }
    bits |= (uint64_t)t.negative << 63;
    memcpy(out, &bits, sizeof bits);
    return ATTN_READ_OK;
}

static const char *skip_space(const char *s, const char *end)
{
    while (s < end && is_space(*s))
        s++;
    return s;
}

static bool begins_number(char c)
{
    return c == '-' || is_digit(c);
}

/* After a number: a comma, which is consumed, or the end of the array. *more: another number follows. */
static attn_read_result take_comma(const char **s, const char *end, bool *more)
{
    const char *p = skip_space(*s, end);
    *more = false;
    *s = p;
    if (p == end)
        return ATTN_READ_CUT;
    if (*p == ']')
        return ATTN_READ_OK;
    if (*p != ',')
        return ATTN_READ_SYNTAX;
    p = skip_space(p + 1, end);
    *s = p;
    if (p == end)
        return ATTN_READ_CUT;
    *more = begins_number(*p);
    return *p == ']' ? ATTN_READ_SYNTAX : ATTN_READ_OK;
}

attn_read_result attn_read_floats(const attn_runtime *rt, const char *s, const char *end, float *dst, size_t max, size_t *count, const char **stop)
{
    const attn_kernels *table = attn_runtime_table(rt);
    size_t n = 0;
    attn_read_result result = ATTN_READ_OK;
    s = skip_space(s, end);
    bool more = s < end && begins_number(*s);
    if (s == end)
        result = ATTN_READ_CUT;
    while (more && result == ATTN_READ_OK) {
        size_t plain = table->read_plain(dst + n, max - n, &s, end);
        n += plain;
        if (plain == 0 && n == max) {
            result = ATTN_READ_FULL;
        } else {
            if (plain == 0)
                result = read_float(s, end, &dst[n++], &s);
            if (result == ATTN_READ_OK)
                result = take_comma(&s, end, &more);
            else
                n--;
        }
    }
    *count = n;
    *stop = s;
    return result;
}
