/* fuzz_json.c - the JSON reader against jansson: both take a text or both refuse it.
 *
 * They differ in four things, which are left out: nesting (ours stops at API_JSON_DEPTH, jansson at 2048), numbers beyond double (jansson refuses reals
 * that overflow, and integers beyond 64 bits; to us they are numbers, judged by whoever reads them), an escaped NUL in a member's name (which JSON allows, and
 * jansson does not), and a raw NUL byte, which no JSON text has but jansson 2.14 loses when it stands right behind a number: `[9<NUL>]` is `[9]` to it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json_reader.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every value by its own function, as requests do. */
static void read_value(api_json *j)
{
    attn_text text;
    int64_t integer;
    bool truth;
    api_json before = *j;
    size_t numbers, arrays;
    switch (api_json_peek(j)) {
    case API_JSON_OBJECT:
        for (bool more = api_json_open_object(j) && api_json_next_key(j, &text); more; more = api_json_next_key(j, &text))
            read_value(j);
        break;
    case API_JSON_ARRAY:
        api_json_measure(j, &numbers, &arrays);
        for (bool more = api_json_open_array(j) && api_json_next_element(j); more; more = api_json_next_element(j))
            read_value(j);
        break;
    case API_JSON_STRING:
        api_json_string(j, &text);
        break;
    case API_JSON_NUMBER:
        if (!api_json_int(j, &integer) && (j->problem->code == API_WRONG_TYPE || j->problem->code == API_OUT_OF_RANGE)) {
            memset(j->problem, 0, sizeof *j->problem); /* a number, but no integer: taken as whatever it is */
            *j = before;
            api_json_skip(j);
        }
        break;
    case API_JSON_TRUE:
    case API_JSON_FALSE:
        api_json_bool(j, &truth);
        break;
    default:
        if (!api_json_null(j))
            api_json_fail_type(j, "a value");
    }
}

static bool reads(attn_arena *arena, const uint8_t *data, size_t size, bool by_value, api_problem *problem)
{
    api_json j;
    memset(problem, 0, sizeof *problem);
    api_json_init(&j, (const char *)data, size, arena, problem);
    if (by_value)
        read_value(&j);
    else
        api_json_skip(&j);
    bool ok = api_json_finish(&j);
    if (ok != (problem->code == API_OK))
        abort();
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attn_arena *arena = attn_arena_new();
    api_problem skipped, taken;
    json_error_t error;
    bool ok = reads(arena, data, size, false, &skipped);
    if (ok != reads(arena, data, size, true, &taken))
        abort();
    json_t *root = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    bool too_deep = strstr(skipped.detail, "nested deeper") != NULL;
    bool too_large = !root && json_error_code(&error) == json_error_numeric_overflow;
    bool odd_name = !root && json_error_code(&error) == json_error_null_byte_in_key;
    bool has_nul = size > 0 && memchr(data, '\0', size) != NULL;
    if (ok != (root != NULL) && !too_deep && !too_large && !odd_name && (ok || !has_nul))
        abort();
    json_decref(root);
    attn_arena_free(arena);
    return 0;
}
