/* read_ref.c - the numbers that are in arrays: up to three digits, a fraction, an exponent of up to two digits, eight characters at a time in a
 * 64-bit word. Everything else is left to the general reader. As in the writers, no branch depends on how many digits there are; and as numbers are found
 * by their commas, the next one does not wait for the end of this one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"
#include "number/read.h"

enum {
    REACH = 48, /* bytes a number and what is behind it may be looked at: space, sign, 4 up to the point, 24 digits, exponent */
    CHUNK = 512 /* is searched for commas at once */
};

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

/* The number at p up to its exponent. False: left to others. */
static inline bool read_token(const char *p, attn_token *out)
{
    if (*p == ' ')
        p++;
    out->negative = *p == '-';
    p += out->negative;
    uint64_t mantissa = read_whole(&p);
    if (mantissa == 1000)
        return false;
    out->exponent = 0;
    out->slack = ATTN_SLACK_WHOLE;
    if (*p == '.') {
        p++;
        uint64_t keep, keep_next, digits = leading_digits(eight_at(p), &keep), next = leading_digits(eight_at(p + 8), &keep_next);
        uint64_t full = 0 - (uint64_t)(keep == UINT64_MAX); /* a mask */
        mantissa = mantissa * 10000000000000000 + value_of(digits) * 100000000 + value_of(next & full);
        out->exponent = -16;
        if (!(keep & 1))
            return false;
        p += kept(keep) + kept(keep_next & full);
        if ((keep & keep_next) == UINT64_MAX) { /* more digits than count */
            leading_digits(eight_at(p), &keep);
            p += kept(keep);
            out->slack = ATTN_SLACK_CUT;
            if (keep == UINT64_MAX || mantissa < attn_least_cut)
                return false;
        }
    }
    out->mantissa = mantissa;
    out->end = p;
    return true;
}

static inline bool is_end(char c)
{
    return (c == ',') | (c == ']');
}

static bool read_one(float *dst, const char **s)
{
    attn_token t;
    if (!read_token(*s, &t))
        return false;
    if (!is_end(*t.end) && !(attn_read_exponent(&t.end, &t.exponent) && is_end(*t.end)))
        return false;
    if (!attn_token_float(&t, dst))
        return false;
    *s = t.end;
    return true;
}

/* Where the commas of a chunk are. A second one among eight characters is rare, or the rule. */
static inline size_t find_commas(const char *s, uint16_t at[CHUNK + 1])
{
    char is_comma[CHUNK];
    for (size_t i = 0; i < CHUNK; i++) /* compilers vectorise this */
        is_comma[i] = s[i] == ',';
    size_t n = 0;
    for (size_t i = 0; i < CHUNK; i += 8) {
        uint64_t found = eight_at(is_comma + i);
        at[n] = (uint16_t)(i + (size_t)__builtin_ctzll(found | (uint64_t)1 << 63) / 8);
        n += found != 0;
        for (found &= found - 1; found; found &= found - 1)
            at[n++] = (uint16_t)(i + (size_t)__builtin_ctzll(found) / 8);
    }
    return n;
}

/* The numbers of a chunk that have their commas in it. Returns how many, *s where the last one ended; *more: another one follows, and maybe as simple. */
static size_t read_chunk(float *dst, size_t max, const char **s, bool *more)
{
    uint16_t comma[CHUNK + 1];
    attn_token_batch b;
    const char *begin = *s, *p = begin;
    size_t found = find_commas(begin, comma), n = found < max ? found : max, count = 0, asked, got;
    do {
        asked = n - count < ATTN_BATCH ? n - count : ATTN_BATCH;
        b.n = b.list_length = 0;
        while (b.n < asked && read_token(p, &b.token[b.n])) {
            p = begin + comma[count + b.n];
            attn_batch_add(&b, p++);
        }
        got = attn_batch_floats(dst + count, &b, s);
        count += got;
        *more = got > 0 && got == asked && **s == ',';
    } while (*more && count < n);
    return count;
}

size_t attn_read_plain_ref(float *dst, size_t max, const char **s, const char *end)
{
    const char *p = *s;
    size_t n = 0;
    bool more = true;
    while (more && n < max) {
        size_t got = end - p >= CHUNK + REACH ? read_chunk(dst + n, max - n, &p, &more) : 0;
        if (got == 0) {
            got = end - p >= REACH && read_one(dst + n, &p);
            more = got > 0 && *p == ',';
        }
        if (got > 0)
            *s = p++;
        n += got;
    }
    return n;
}
