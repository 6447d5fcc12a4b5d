/* json_reader.c - the structure of a JSON text: objects, arrays, where one is, and what went wrong there. Values are json_value.c's.
 *
 * The reader keeps one small record for each open bracket, with the key or index it is at, and nothing else: a pointer is made from them when
 * something fails, so that reading costs nothing for it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json_reader.h"

#include <stdio.h>
#include <string.h>

#include "json_text.h"

void api_json_init(api_json *j, const char *text, size_t length, attn_arena *arena, api_problem *problem)
{
    static const char empty[1];
    if (!text || length == 0)
        text = empty;
    *j = (api_json){ .at = text, .begin = text, .end = text + length, .arena = arena, .problem = problem };
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        api_json_fail(j, API_INVALID_JSON, "the body begins with a byte order mark, which JSON does not allow");
}

api_json_type api_json_peek(api_json *j)
{
    api_json_space(j);
    if (j->at == j->end)
        return API_JSON_END;
    switch (*j->at) {
    case '{':
        return API_JSON_OBJECT;
    case '[':
        return API_JSON_ARRAY;
    case '"':
        return API_JSON_STRING;
    case 't':
        return API_JSON_TRUE;
    case 'f':
        return API_JSON_FALSE;
    case 'n':
        return API_JSON_NULL;
    case '-':
        return API_JSON_NUMBER;
    default:
        return *j->at >= '0' && *j->at <= '9' ? API_JSON_NUMBER : API_JSON_BAD;
    }
}

/* ---- brackets ------------------------------------------------------------------------------------------------------------- */

static api_json_level *top(api_json *j)
{
    return &j->stack[j->depth - 1];
}

static bool open_level(api_json *j, bool is_array)
{
    if (j->depth == API_JSON_DEPTH)
        return api_json_fail(j, API_INVALID_JSON, "nested deeper than %d levels", API_JSON_DEPTH);
    j->at++;
    j->stack[j->depth++] = (api_json_level){ .is_array = is_array, .first = true };
    return true;
}

bool api_json_open_object(api_json *j)
{
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_OBJECT)
        return api_json_fail_type(j, "an object");
    return open_level(j, false);
}

bool api_json_open_array(api_json *j)
{
    if (!api_json_ok(j))
        return false;
    if (api_json_peek(j) != API_JSON_ARRAY)
        return api_json_fail_type(j, "an array");
    return open_level(j, true);
}

/* Behind white space: takes `close` and the level with it, or the comma when there must be one. True: a member or element follows. */
static bool next_of(api_json *j, char close, const char *expected)
{
    api_json_space(j);
    if (j->at < j->end && *j->at == close) {
        j->at++;
        j->depth--;
        return false;
    }
    if (top(j)->first)
        return true;
    if (j->at == j->end || *j->at != ',')
        return api_json_fail_syntax(j, j->at, expected);
    j->at++;
    api_json_space(j);
    return true;
}

bool api_json_raw_key(api_json *j)
{
    if (!api_json_ok(j) || !next_of(j, '}', "',' or '}'"))
        return false;
    api_json_level *level = top(j);
    bool first = level->first;
    level->first = true; /* until the key is read, the place is the object itself */
    if (j->at == j->end || *j->at != '"')
        return api_json_fail_syntax(j, j->at, first ? "a field name in quotes or '}'" : "a field name in quotes");
    attn_text raw;
    if (!api_json_raw_string(j, &raw, &level->escaped))
        return false;
    level->key = raw.bytes;
    level->key_length = raw.length;
    level->first = false;
    api_json_space(j);
    if (j->at == j->end || *j->at != ':')
        return api_json_fail_syntax(j, j->at, "':'");
    j->at++;
    return true;
}

bool api_json_next_key(api_json *j, attn_text *key)
{
    if (!api_json_raw_key(j))
        return false;
    const api_json_level *level = top(j);
    return api_json_decode(j, (attn_text){ level->key, level->key_length }, level->escaped, key);
}

bool api_json_next_element(api_json *j)
{
    if (!api_json_ok(j))
        return false;
    api_json_level *level = top(j);
    if (!level->comma && !next_of(j, ']', "',' or ']'"))
        return false;
    level->index += !level->first;
    level->comma = level->first = false;
    return true;
}

/* Whether the last thing before `stop`, white space aside, is a comma. */
static bool comma_before(const char *begin, const char *stop)
{
    while (stop > begin && (stop[-1] == ' ' || stop[-1] == '\n' || stop[-1] == '\r' || stop[-1] == '\t'))
        stop--;
    return stop > begin && stop[-1] == ',';
}

/* Among the numbers from j->at on is something that is none: goes through them one by one to say where and what. */
static bool fail_among_numbers(api_json *j)
{
    while (api_json_next_element(j) && api_json_peek(j) == API_JSON_NUMBER)
        api_json_skip(j);
    return api_json_fail_type(j, "a number");
}

bool api_json_floats(api_json *j, const attn_runtime *runtime, float *dst, size_t max, size_t *count)
{
    *count = 0;
    if (!api_json_ok(j))
        return false;
    api_json_level *level = top(j);
    api_json_space(j);
    if (!level->first && !level->comma && j->at < j->end && *j->at == ',') {
        level->comma = true;
        j->at++;
    }
    if (max == 0 || (!level->first && !level->comma) || api_json_peek(j) != API_JSON_NUMBER)
        return true;
    const char *begin = j->at, *stop;
    attn_read_result result = attn_read_floats(runtime, begin, j->end, dst, max, count, &stop);
    if (result == ATTN_READ_SYNTAX || result == ATTN_READ_CUT)
        return fail_among_numbers(j);
    j->at = stop;
    level->index += *count + (result == ATTN_READ_TOO_LARGE) - level->first; /* the last one read, or the one too large */
    level->first = false;
    level->comma = comma_before(begin, stop);
    return result == ATTN_READ_TOO_LARGE ? api_json_fail(j, API_NOT_FINITE, "a number too large for float32") : true;
}

bool api_json_finish(api_json *j)
{
    if (!api_json_ok(j))
        return false;
    api_json_space(j);
    return j->at == j->end ? true : api_json_fail_syntax(j, j->at, "the end of the text");
}

typedef struct tally {
    size_t commas, opened, closed;
} tally;

/* n is below 256, so that bytes can count and the loop is one of vectors. */
static inline tally count_block(const char *p, size_t n)
{
    uint8_t commas = 0, opened = 0, closed = 0;
    for (size_t i = 0; i < n; i++) {
        commas = (uint8_t)(commas + (p[i] == ','));
        opened = (uint8_t)(opened + (p[i] == '['));
        closed = (uint8_t)(closed + (p[i] == ']'));
    }
    return (tally){ commas, opened, closed };
}

/* Adds n characters, if the array cannot end among them. */
static inline bool add_block(tally *sum, const char *p, size_t n)
{
    tally block = count_block(p, n);
    if (sum->opened - sum->closed <= block.closed)
        return false;
    *sum = (tally){ sum->commas + block.commas, sum->opened + block.opened, sum->closed + block.closed };
    return true;
}

/* The same one by one, up to the end of the array; false there. */
static bool add_characters(tally *sum, const char **p, size_t n)
{
    bool inside = true;
    for (const char *stop = *p + n; *p < stop && inside; ++*p) {
        sum->commas += **p == ',';
        sum->opened += **p == '[';
        sum->closed += **p == ']';
        inside = sum->opened > sum->closed;
    }
    return inside;
}

void api_json_measure(api_json *j, size_t *numbers, size_t *arrays)
{
    enum { BLOCK = 240, PIECE = 16 }; /* many rows end in a block, when they are short */
    tally sum = { 0 };
    api_json_space(j);
    const char *p = j->at;
    for (bool inside = true; inside && p < j->end;) {
        size_t n = j->end - p > BLOCK ? BLOCK : (size_t)(j->end - p);
        const char *stop = p + n;
        if (add_block(&sum, p, n))
            p = stop;
        while (inside && p < stop) {
            size_t piece = stop - p > PIECE ? PIECE : (size_t)(stop - p);
            if (add_block(&sum, p, piece))
                p += piece;
            else
                inside = add_characters(&sum, &p, piece);
        }
    }
    *numbers = sum.commas + 1;
    *arrays = sum.opened;
}

/* ---- where, and what is wrong ----------------------------------------------------------------------------------------------- */

/* One reference token of a pointer ("~" is "~0", "/" is "~1") from a key as it stands in the text; its length, or 0 when it does not fit or holds a NUL. */
static size_t key_token(const api_json_level *level, char *dst, size_t size)
{
    const char *p = level->key, *end = p + level->key_length;
    size_t n = 0;
    while (p < end) {
        char one[4];
        size_t bytes = api_json_decode_char(&p, one);
        if (one[0] == '\0' || n + bytes + 2 > size)
            return 0;
        if (one[0] == '~' || one[0] == '/') {
            dst[n++] = '~';
            dst[n++] = one[0] == '~' ? '0' : '1';
        } else {
            memcpy(dst + n, one, bytes);
            n += bytes;
        }
    }
    return n;
}

void api_json_pointer(const api_json *j, char *dst, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < j->depth && !j->stack[i].first; i++) {
        const api_json_level *level = &j->stack[i];
        if (used + 24 > size)
            break;
        if (level->is_array) {
            used += (size_t)snprintf(dst + used, size - used, "/%zu", level->index);
            continue;
        }
        size_t n = key_token(level, dst + used + 1, size - used - 2);
        if (n == 0 && level->key_length > 0)
            break;
        dst[used] = '/';
        used += n + 1;
    }
    dst[used] = '\0';
}

static bool fail_here(api_json *j, api_code code, const char *detail)
{
    char pointer[sizeof j->problem->pointer];
    api_json_pointer(j, pointer, sizeof pointer);
    if (code != API_INVALID_JSON)
        return api_fail(j->problem, code, pointer, "%s", detail);
    size_t line = 1, column = 1;
    for (const char *p = j->begin; p < j->at; p++) {
        line += *p == '\n';
        column = *p == '\n' ? 1 : column + (((unsigned char)*p & 0xC0) != 0x80);
    }
    return api_fail(j->problem, code, pointer, "%s (line %zu, column %zu)", detail, line, column);
}

bool api_json_fail(api_json *j, api_code code, const char *fmt, ...)
{
    if (!api_json_ok(j))
        return false;
    char detail[sizeof j->problem->detail];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    return fail_here(j, code, detail);
}

bool api_json_fail_syntax(api_json *j, const char *at, const char *expected)
{
    j->at = at;
    if (j->begin == j->end)
        return api_json_fail(j, API_INVALID_JSON, "the body is empty; expected JSON");
    if (at == j->end)
        return api_json_fail(j, API_INVALID_JSON, "expected %s, found the end of the text", expected);
    unsigned char c = (unsigned char)*at;
    if (c > 0x20 && c < 0x7F)
        return api_json_fail(j, API_INVALID_JSON, "expected %s, found '%c'", expected, c);
    return api_json_fail(j, API_INVALID_JSON, "expected %s, found byte 0x%02X", expected, (unsigned)c);
}

bool api_json_fail_type(api_json *j, const char *expected)
{
    static const char *const found[] = {
        [API_JSON_OBJECT] = "an object", [API_JSON_ARRAY] = "an array", [API_JSON_STRING] = "a string", [API_JSON_NUMBER] = "a number",
        [API_JSON_TRUE] = "true",        [API_JSON_FALSE] = "false",    [API_JSON_NULL] = "null",
    };
    if (!api_json_ok(j))
        return false;
    api_json_type type = api_json_peek(j);
    if (type == API_JSON_END || type == API_JSON_BAD)
        return api_json_fail_syntax(j, j->at, expected);
    return api_json_fail(j, API_WRONG_TYPE, "expected %s, found %s", expected, found[type]);
}
