/* problem.c - problems as RFC 9457 has them: from the table of codes to the JSON that is sent.
 *
 * Written by hand and not through a JSON library: an error must be sayable when there is no memory left, and its size is bounded.
 * SPDX-License-Identifier: Apache-2.0 */
#include "problem.h"

#include <stdio.h>
#include <string.h>

#include "utf8.h"

typedef struct code_row {
    const char *name;
    int status;
} code_row;

#define CODE_ROW(name, text, status) [name] = { text, status },
static const code_row codes[API_CODE_COUNT] = { [API_OK] = { "ok", 200 }, API_PROBLEMS(CODE_ROW) };
#undef CODE_ROW

/* What each attn_status is to a client. */
static const api_code core_codes[] = {
    [ATTN_OK] = API_OK,
    [ATTN_E_INPUT] = API_OUT_OF_RANGE,
    [ATTN_E_LIMIT] = API_MEMORY_LIMIT,
    [ATTN_E_OVERFLOW] = API_OVERFLOW,
    [ATTN_E_FORMAT] = API_INTERNAL,
    [ATTN_E_UNSUPPORTED] = API_INTERNAL,
    [ATTN_E_IO] = API_INTERNAL,
    [ATTN_E_NOMEM] = API_NO_MEMORY,
    [ATTN_E_CANCELLED] = API_DEADLINE,
    [ATTN_E_INTERNAL] = API_INTERNAL,
};
_Static_assert(sizeof core_codes / sizeof core_codes[0] == ATTN_E_INTERNAL + 1, "every status has a code");

int api_code_status(api_code code)
{
    return codes[code].status;
}

const char *api_code_name(api_code code)
{
    return codes[code].name;
}

const char *api_status_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 413, "Content Too Large" },
        { 415, "Unsupported Media Type" },
        { 422, "Unprocessable Content" },
        { 429, "Too Many Requests" },
        { 500, "Internal Server Error" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
    };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

/* A pointer that is too long ends at the last '/' that fits: it still names something that exists. */
static void set_pointer(api_problem *problem, const char *pointer)
{
    size_t n = pointer ? strlen(pointer) : 0;
    if (n >= sizeof problem->pointer) {
        n = sizeof problem->pointer - 1;
        while (n > 0 && pointer[n] != '/')
            n--;
    }
    if (n)
        memcpy(problem->pointer, pointer, n);
    problem->pointer[n] = '\0';
}

static void set_problem(api_problem *problem, api_code code, const char *pointer, const char *fmt, va_list args)
{
    char detail[sizeof problem->detail + 4]; /* room for the character that a cut would split */
    int n = vsnprintf(detail, sizeof detail, fmt, args);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof detail ? (size_t)n : sizeof detail - 1;
    length = api_utf8_clip(detail, length, sizeof problem->detail - 1);
    memcpy(problem->detail, detail, length);
    problem->detail[length] = '\0';
    set_pointer(problem, pointer);
    problem->code = code;
}

bool api_fail(api_problem *problem, api_code code, const char *pointer, const char *fmt, ...)
{
    if (problem->code != API_OK)
        return false;
    va_list args;
    va_start(args, fmt);
    set_problem(problem, code, pointer, fmt, args);
    va_end(args);
    return false;
}

bool api_fail_limit(api_problem *problem, api_code code, const char *pointer, uint64_t limit, uint64_t need, const char *fmt, ...)
{
    if (problem->code != API_OK)
        return false;
    va_list args;
    va_start(args, fmt);
    set_problem(problem, code, pointer, fmt, args);
    va_end(args);
    problem->has_limit = true;
    problem->limit = limit;
    problem->need = need;
    return false;
}

bool api_fail_core(api_problem *problem, const attn_error *err, const char *pointer)
{
    api_code code = core_codes[err->code];
    if (err->code == ATTN_E_LIMIT)
        return api_fail_limit(problem, code, pointer, err->limit, err->need, "%s", err->text);
    if (code == API_INTERNAL)
        return api_fail(problem, code, NULL, "%s%s%s", err->where, err->where[0] ? ": " : "", err->text);
    if (code == API_DEADLINE)
        return api_fail(problem, code, NULL, "the request took longer than its deadline");
    if (code == API_OVERFLOW && err->where[0])
        return api_fail(problem, code, pointer, "%s: %s", err->where, err->text);
    return api_fail(problem, code, pointer, "%s", err->text);
}

/* ---- the body ------------------------------------------------------------------------------------------------------------- */

typedef struct writer {
    char *at, *end; /* end: where the NUL goes at the latest */
} writer;

static void put(writer *w, const char *bytes, size_t n)
{
    size_t room = (size_t)(w->end - w->at);
    if (n > room)
        n = room;
    memcpy(w->at, bytes, n);
    w->at += n;
}

static void put_text(writer *w, const char *s)
{
    put(w, s, strlen(s));
}

/* One character as JSON has it into dst (at most 6 bytes); *used bytes of s are done. Bytes that are no UTF-8 (a path may hold any) become U+FFFD. */
static size_t escape(char *dst, const char *s, const char *end, size_t *used)
{
    unsigned char c = (unsigned char)*s;
    *used = 1;
    if (c == '"' || c == '\\') {
        dst[0] = '\\';
        dst[1] = (char)c;
        return 2;
    }
    if (c < 0x20)
        return (size_t)snprintf(dst, 7, "\\u%04x", (unsigned)c);
    size_t n = api_utf8_char(s, end);
    if (n == 0)
        return api_utf8_put(dst, 0xFFFD);
    memcpy(dst, s, n);
    *used = n;
    return n;
}

/* A quoted string, of at most `most` bytes between its quotes: what is longer ends early, at a whole character. */
static void put_string(writer *w, const char *s, size_t most)
{
    const char *end = s + strlen(s);
    put(w, "\"", 1);
    while (s < end) {
        char one[8];
        size_t used, n = escape(one, s, end, &used);
        if (n > most)
            break;
        put(w, one, n);
        most -= n;
        s += used;
    }
    put(w, "\"", 1);
}

static void put_number(writer *w, const char *key, uint64_t value)
{
    char number[64];
    put(w, number, (size_t)snprintf(number, sizeof number, ", \"%s\": %llu", key, (unsigned long long)value));
}

/* The bounds below keep the whole under 2048 bytes, whatever the strings hold: 200 of fixed text, 60 for the numbers. */
size_t api_problem_write(const api_problem *problem, const char *request_id, char *dst, size_t size)
{
    writer w = { dst, dst + size - 1 };
    int status = codes[problem->code].status;
    put_text(&w, "{\"type\": \"about:blank\", \"title\": ");
    put_string(&w, api_status_title(status), 64);
    put_number(&w, "status", (uint64_t)status);
    put_text(&w, ", \"code\": ");
    put_string(&w, codes[problem->code].name, 64);
    if (problem->code != API_INTERNAL) { /* a fault of ours is told to the log, not to the client */
        put_text(&w, ", \"detail\": ");
        put_string(&w, problem->detail, 800);
        if (problem->pointer[0]) {
            put_text(&w, ", \"pointer\": ");
            put_string(&w, problem->pointer, 600);
        }
    }
    if (problem->has_limit) {
        put_number(&w, "limit", problem->limit);
        put_number(&w, "need", problem->need);
    }
    if (request_id) {
        put_text(&w, ", \"request_id\": ");
        put_string(&w, request_id, 200);
    }
    put_text(&w, "}\n");
    *w.at = '\0';
    return (size_t)(w.at - dst);
}
