/* json_value.c - the values of a JSON text: strings, numbers, literals, and skipping them.
 *
 * A string is checked first and decoded only then: most hold no escape and are used where they stand.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "json_text.h"
#include "utf8.h"

/* ---- strings -------------------------------------------------------------------------------------------------------------- */

/* The first byte that is a quote, a backslash, a control character or not ASCII; eight bytes at a time. */
static const char *plain_run(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    while (end - p >= 8) {
        uint64_t x, quote, slash;
        memcpy(&x, p, 8);
        quote = x ^ ones * '"';
        slash = x ^ ones * '\\';
        /* A high bit wherever a byte is zero (the two xors) or below 0x20; borrows only spread upwards from a byte that already counts. */
        if (((x | (x - ones * 0x20) | (quote - ones) | (slash - ones)) & highs) != 0)
            break;
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four hex digits of \uXXXX at p; -1 when they are not there. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t code = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

static bool is_high(int32_t code)
{
    return code >= 0xD800 && code < 0xDC00;
}

static bool is_low(int32_t code)
{
    return code >= 0xDC00 && code < 0xE000;
}

/* Checks the escape at p, a backslash; what follows it, or NULL after a problem. */
static const char *check_escape(api_json *j, const char *p)
{
    if (j->end - p < 2) {
        api_json_fail_syntax(j, j->end, "a closing quote");
        return NULL;
    }
    if (p[1] != 'u') {
        if (p[1] != '\0' && strchr("\"\\/bfnrt", p[1]))
            return p + 2;
        api_json_fail_syntax(j, p + 1, "an escape (one of \"\\/bfnrtu)");
        return NULL;
    }
    int32_t code = hex4(p + 2, j->end);
    if (code < 0) {
        j->at = p;
        api_json_fail(j, API_INVALID_JSON, "\\u needs four hexadecimal digits");
        return NULL;
    }
    if (!is_high(code) && !is_low(code))
        return p + 6;
    if (is_high(code) && j->end - p >= 12 && p[6] == '\\' && p[7] == 'u' && is_low(hex4(p + 8, j->end)))
        return p + 12;
    j->at = p;
    api_json_fail(j, API_INVALID_JSON, "\\u%04X is half a surrogate pair, alone", (unsigned)code);
    return NULL;
}

/* Checks one character that is not plain; what follows it, or NULL after a problem. */
static const char *check_special(api_json *j, const char *p)
{
    unsigned char c = (unsigned char)*p;
    if (c == '\\')
        return check_escape(j, p);
    size_t n = c < 0x20 ? 0 : api_utf8_char(p, j->end);
    if (n > 0)
        return p + n;
    j->at = p;
    if (c < 0x20)
        api_json_fail(j, API_INVALID_JSON, "byte 0x%02X in a string must be escaped", (unsigned)c);
    else
        api_json_fail(j, API_INVALID_JSON, "a string is not valid UTF-8 at byte 0x%02X", (unsigned)c);
    return NULL;
}

bool api_json_raw_string(api_json *j, attn_text *raw, bool *escaped)
{
    const char *begin = j->at + 1, *p = begin;
    *escaped = false;
    for (;;) {
        p = plain_run(p, j->end);
        if (p == j->end)
            return api_json_fail_syntax(j, p, "a closing quote");
        if (*p == '"')
            break;
        *escaped |= *p == '\\';
        p = check_special(j, p);
        if (!p)
            return false;
    }
    *raw = (attn_text){ begin, (size_t)(p - begin) };
    j->at = p + 1;
    return true;
}

size_t api_json_decode_char(const char **at, char *dst)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = *at;
    if (*p != '\\') {
        size_t n = 1;
        dst[0] = *p;
        while (n < 4 && ((unsigned char)p[0] & (0x80 >> n)) && (unsigned char)p[0] >= 0xC0) {
            dst[n] = p[n];
            n++;
        }
        *at = p + n;
        return n;
    }
    if (p[1] != 'u') {
        const char *letter = strchr(from, p[1]);
        dst[0] = letter ? to[letter - from] : p[1];
        *at = p + 2;
        return 1;
    }
    int32_t code = hex4(p + 2, p + 6);
    *at = p + 6;
    if (is_high(code)) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex4(p + 8, p + 12) - 0xDC00);
        *at = p + 12;
    }
    return api_utf8_put(dst, (uint32_t)code);
}

/* Room for n bytes, cut from larger pieces, so that many short strings do not each take a block of the arena. */
static char *take_room(api_json *j, size_t n)
{
    enum { PIECE = 4096 };
    if (n > j->room_left) {
        size_t piece = n > PIECE ? n : PIECE;
        char *room = attn_arena_take(j->arena, piece, 1);
        if (!room) {
            api_json_fail(j, API_NO_MEMORY, "no memory for the request");
            return NULL;
        }
        if (n == piece) /* a long one has its own; the rest of the last piece is still good */
            return room;
        j->room = room;
        j->room_left = piece;
    }
    char *room = j->room;
    j->room += n;
    j->room_left -= n;
    return room;
}

bool api_json_decode(api_json *j, attn_text raw, bool escaped, attn_text *out)
{
    *out = raw;
    if (!escaped)
        return true;
    char *dst = take_room(j, raw.length); /* an escape is never shorter than what it stands for */
    if (!dst)
        return false;
    const char *p = raw.bytes, *end = p + raw.length;
    size_t n = 0;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(dst + n, p, plain);
        n += plain;
        p += plain;
        if (slash) {
            char one[4];
            size_t bytes = api_json_decode_char(&p, one);
            memcpy(dst + n, one, bytes);
            n += bytes;
        }
    }
    *out = (attn_text){ dst, n };
    return true;
}

bool api_json_string(api_json *j, attn_text *out)
{
    bool escaped;
    attn_text raw;
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_STRING)
        return api_json_fail_type(j, "a string");
    return api_json_raw_string(j, &raw, &escaped) && api_json_decode(j, raw, escaped, out);
}

/* ---- literals ------------------------------------------------------------------------------------------------------------- */

static bool take_literal(api_json *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0)
        return api_json_fail(j, API_INVALID_JSON, "expected %s", word);
    j->at += n;
    return true;
}

bool api_json_bool(api_json *j, bool *out)
{
    if (!api_json_ok(j))
        return false;
    api_json_type type = api_json_peek(j);
    if (type != API_JSON_TRUE && type != API_JSON_FALSE)
        return api_json_fail_type(j, "true or false");
    *out = type == API_JSON_TRUE;
    return take_literal(j, *out ? "true" : "false");
}

bool api_json_null(api_json *j)
{
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_NULL)
        return api_json_fail_type(j, "null");
    return take_literal(j, "null");
}

/* ---- numbers -------------------------------------------------------------------------------------------------------------- */

/* The parts of a number, as positions in the text: [-]whole[.fraction][e exponent]. */
typedef struct number {
    bool negative;
    const char *whole, *whole_end, *fraction, *fraction_end;
    int64_t exponent; /* clipped, far beyond any use */
    const char *end;
} number;

static const char *digits_end(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* The exponent behind 'e'; where it ends, or NULL after a problem. */
static const char *scan_exponent(api_json *j, const char *p, int64_t *exponent)
{
    const int64_t most = (int64_t)1 << 40; /* more than any text has digits to make up for */
    bool negative = p < j->end && *p == '-';
    if (p < j->end && (*p == '-' || *p == '+'))
        p++;
    const char *stop = digits_end(p, j->end);
    if (stop == p) {
        api_json_fail_syntax(j, p, "a digit");
        return NULL;
    }
    int64_t value = 0;
    for (; p < stop; p++)
        value = value < most ? value * 10 + (*p - '0') : most;
    *exponent = negative ? -value : value;
    return stop;
}

/* Checks the grammar of the number at j->at, without taking it. */
static bool scan_number(api_json *j, number *out)
{
    const char *p = j->at;
    *out = (number){ .negative = *p == '-' };
    p += out->negative;
    out->whole = p;
    p = p < j->end && *p == '0' ? p + 1 : digits_end(p, j->end);
    if (p == out->whole)
        return api_json_fail_syntax(j, p, "a digit");
    out->whole_end = out->fraction = out->fraction_end = p;
    if (p < j->end && *p == '.') {
        out->fraction = p + 1;
        out->fraction_end = p = digits_end(p + 1, j->end);
        if (p == out->fraction)
            return api_json_fail_syntax(j, p, "a digit");
    }
    if (p < j->end && (*p == 'e' || *p == 'E'))
        p = scan_exponent(j, p + 1, &out->exponent);
    out->end = p;
    return p != NULL;
}

bool api_json_double(api_json *j, double *out)
{
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_NUMBER)
        return api_json_fail_type(j, "a number");
    number n;
    const char *stop;
    if (!scan_number(j, &n))
        return false;
    if (attn_read_double(j->at, n.end, out, &stop) != ATTN_READ_OK)
        return api_json_fail(j, API_NOT_FINITE, "a number too large");
    j->at = n.end;
    return true;
}

typedef enum int_result { INT_OK, INT_FRACTION, INT_BEYOND } int_result;

/* *value = *value * 10 + digit; false when that is beyond 64 bits. */
static bool append_digit(uint64_t *value, unsigned digit)
{
    if (*value > (UINT64_MAX - digit) / 10)
        return false;
    *value = *value * 10 + digit;
    return true;
}

/* The exact value of whole.fraction * 10^exponent, if it is an integer of 64 bits. */
static int_result number_to_int(const number *n, int64_t *out)
{
    const char *parts[2][2] = { { n->whole, n->whole_end }, { n->fraction, n->fraction_end } };
    int64_t places = (n->whole_end - n->whole) + n->exponent; /* digits before the point, once the exponent has moved it */
    uint64_t value = 0;
    bool beyond = false, any = false;
    for (int i = 0; i < 2; i++)
        for (const char *p = parts[i][0]; p < parts[i][1]; p++, places--) {
            unsigned digit = (unsigned)(*p - '0');
            any |= digit != 0;
            if (places <= 0 && digit != 0)
                return INT_FRACTION;
            if (places > 0)
                beyond |= !append_digit(&value, digit);
        }
    for (; any && !beyond && places > 0; places--)
        beyond |= !append_digit(&value, 0);
    if (beyond || value > (uint64_t)INT64_MAX + n->negative)
        return INT_BEYOND;
    *out = n->negative ? (int64_t)(0 - value) : (int64_t)value;
    return INT_OK;
}

/* Most integers are a few digits and nothing else: where the number ends, or NULL when it has to be looked at closely. */
static const char *plain_int(const char *p, const char *end, int64_t *out)
{
    enum { SAFE_DIGITS = 18 };
    bool negative = *p == '-';
    const char *begin = p += negative;
    int64_t value = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (p - begin == SAFE_DIGITS)
            return NULL;
        value = value * 10 + (*p - '0');
    }
    if (p == begin || p == end || *p == '.' || *p == 'e' || *p == 'E' || (*begin == '0' && p - begin > 1))
        return NULL;
    *out = negative ? -value : value;
    return p;
}

bool api_json_int(api_json *j, int64_t *out)
{
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_NUMBER)
        return api_json_fail_type(j, "an integer");
    const char *plain = plain_int(j->at, j->end, out);
    if (plain) {
        j->at = plain;
        return true;
    }
    number n;
    if (!scan_number(j, &n))
        return false;
    int_result result = number_to_int(&n, out);
    if (result == INT_FRACTION)
        return api_json_fail(j, API_WRONG_TYPE, "expected an integer, found a number with a fraction");
    if (result == INT_BEYOND)
        return api_json_fail(j, API_OUT_OF_RANGE, "an integer beyond 64 bits");
    j->at = n.end;
    return true;
}

/* ---- skipping ------------------------------------------------------------------------------------------------------------- */

static bool skip_number(api_json *j)
{
    number n;
    if (!scan_number(j, &n))
        return false;
    j->at = n.end;
    return true;
}

bool api_json_skip(api_json *j)
{
    attn_text raw;
    bool unused;
    if (!api_json_ok(j))
        return false;
    switch (api_json_peek(j)) {
    case API_JSON_OBJECT:
        for (bool more = api_json_open_object(j) && api_json_raw_key(j); more; more = api_json_raw_key(j))
            api_json_skip(j);
        return api_json_ok(j);
    case API_JSON_ARRAY:
        for (bool more = api_json_open_array(j) && api_json_next_element(j); more; more = api_json_next_element(j))
            api_json_skip(j);
        return api_json_ok(j);
    case API_JSON_STRING:
        return api_json_raw_string(j, &raw, &unused);
    case API_JSON_NUMBER:
        return skip_number(j);
    case API_JSON_TRUE:
    case API_JSON_FALSE:
        return api_json_bool(j, &unused);
    case API_JSON_NULL:
        return api_json_null(j);
    default:
        return api_json_fail_type(j, "a value");
    }
}
