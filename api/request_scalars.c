/* request_scalars.c - fields of one value: numbers with their ranges, switches, names out of a list; and members of objects.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "request_read.h"
#include "utf8.h"

enum { SHOWN = 60 }; /* bytes of a client's own words that a detail repeats at most */

typedef struct client_words {
    char text[3 * SHOWN + 1]; /* a NUL becomes three */
} client_words;

/* ---- shared ----------------------------------------------------------------------------------------------------------------- */

/* The client's words as a detail repeats them: a NUL, where that would end, is the sign for one. */
static client_words shown(const attn_text *text)
{
    client_words words;
    size_t length = api_utf8_clip(text->bytes, text->length, SHOWN);
    char *end = words.text;
    for (size_t i = 0; i < length; i++)
        if (text->bytes[i])
            *end++ = text->bytes[i];
        else
            end = stpcpy(end, "\xe2\x90\x80");
    *end = '\0';
    return words;
}

static bool find_name(const char *const *names, const attn_text *name, size_t *place)
{
    for (size_t i = 0; names[i]; i++)
        if (strlen(names[i]) == name->length && memcmp(names[i], name->bytes, name->length) == 0) {
            *place = i;
            return true;
        }
    return false;
}

bool api_next_member(api_json *j, const char *const *names, uint64_t *seen, size_t *place)
{
    attn_text key;
    while (api_json_next_key(j, &key)) {
        if (!find_name(names, &key, place)) {
            const char *near = api_suggest(key.bytes, key.length, names);
            return api_json_fail(j, API_UNKNOWN_FIELD, "unknown field \"%s\"%s%s%s", shown(&key).text, near ? "; did you mean \"" : "", near ? near : "",
                                 near ? "\"?" : "");
        }
        if (*seen >> *place & 1)
            return api_json_fail(j, API_DUPLICATE_FIELD, "\"%s\" is given twice", names[*place]);
        *seen |= (uint64_t)1 << *place;
        if (api_json_peek(j) != API_JSON_NULL)
            return true;
        api_json_null(j);
    }
    return false;
}

/* "a, b, c" into dst. */
static void list_names(char *dst, size_t size, const char *const *names)
{
    size_t used = 0;
    dst[0] = '\0';
    for (size_t i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(dst + used, size - used, "%s%s", i ? ", " : "", names[i]);
}

bool api_take_choice(api_json *j, const char *const *names, size_t *place)
{
    attn_text name;
    if (!api_json_string(j, &name))
        return false;
    if (find_name(names, &name, place))
        return true;
    char known[300];
    list_names(known, sizeof known, names);
    const char *near = api_suggest(name.bytes, name.length, names);
    return api_json_fail(j, API_UNKNOWN_VALUE, "unknown value \"%s\"%s%s%s; known are %s", shown(&name).text, near ? " (did you mean \"" : "", near ? near : "",
                         near ? "\"?)" : "", known);
}

bool api_take_int(api_json *j, int64_t least, int64_t most, int64_t *out)
{
    if (!api_json_int(j, out))
        return false;
    if (*out >= least && *out <= most)
        return true;
    if (most == INT64_MAX)
        return api_json_fail(j, API_OUT_OF_RANGE, "%" PRId64 " is below %" PRId64 ", the least there may be", *out, least);
    return api_json_fail(j, API_OUT_OF_RANGE, "%" PRId64 " is not in the range %" PRId64 " to %" PRId64, *out, least, most);
}

bool api_fail_field(api_reading *r, api_code code, const char *fmt, ...)
{
    char pointer[64], detail[sizeof r->problem->detail];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    snprintf(pointer, sizeof pointer, "/%s", r->field);
    return api_fail(r->problem, code, pointer, "%s", detail);
}

void *api_take_memory(api_reading *r, size_t count, size_t size)
{
    void *block = attn_arena_take(r->arena, count, size);
    if (!block)
        api_fail(r->problem, API_NO_MEMORY, NULL, "no memory for the request");
    return block;
}

/* ---- numbers and switches ------------------------------------------------------------------------------------------------------ */

bool api_take_bool(api_reading *r, void *to)
{
    return api_json_bool(&r->json, to);
}

bool api_take_float(api_reading *r, void *to)
{
    double wide;
    if (!api_json_double(&r->json, &wide))
        return false;
    float narrow = (float)wide;
    if (!isfinite(narrow))
        return api_json_fail(&r->json, API_NOT_FINITE, "a number too large for float32");
    memcpy(to, &narrow, sizeof narrow);
    return true;
}

bool api_take_softcap(api_reading *r, void *to)
{
    float cap;
    if (!api_take_float(r, &cap))
        return false;
    if (cap < 0)
        return api_json_fail(&r->json, API_OUT_OF_RANGE, "softcap cannot be negative; 0 is none");
    memcpy(to, &cap, sizeof cap);
    return true;
}

bool api_take_theta(api_reading *r, void *to)
{
    double theta;
    if (!api_json_double(&r->json, &theta))
        return false;
    if (!(theta > 0))
        return api_json_fail(&r->json, API_OUT_OF_RANGE, "rope_theta must be greater than 0");
    memcpy(to, &theta, sizeof theta);
    return true;
}

bool api_take_count(api_reading *r, void *to)
{
    int64_t value;
    if (!api_take_int(&r->json, 1, INT64_MAX, &value))
        return false;
    size_t count = (size_t)value;
    memcpy(to, &count, sizeof count);
    return true;
}

bool api_take_natural(api_reading *r, void *to)
{
    int64_t value;
    if (!api_take_int(&r->json, 0, INT32_MAX, &value))
        return false;
    size_t count = (size_t)value;
    memcpy(to, &count, sizeof count);
    return true;
}

bool api_take_decimals(api_reading *r, void *to)
{
    int64_t value;
    if (!api_take_int(&r->json, 1, 9, &value))
        return false;
    int decimals = (int)value;
    memcpy(to, &decimals, sizeof decimals);
    return true;
}

bool api_take_window(api_reading *r, void *to)
{
    const int64_t endless = (int64_t)1 << 60; /* beyond every distance, offsets included; taken as unbounded so that core's sums cannot overflow */
    int64_t value;
    if (!api_take_int(&r->json, -1, INT64_MAX, &value))
        return false;
    if (value > endless)
        value = -1;
    memcpy(to, &value, sizeof value);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------ */

bool api_take_name(api_reading *r, void *to)
{
    attn_text text;
    if (!api_json_string(&r->json, &text))
        return false;
    if (memchr(text.bytes, '\0', text.length)) /* as a C string it would name another model */
        return api_json_fail(&r->json, API_MODEL_NOT_FOUND, "no model has a NUL character in its name");
    const char *name = attn_arena_copy(r->arena, text.bytes, text.length);
    if (!name)
        return api_json_fail(&r->json, API_NO_MEMORY, "no memory for the request");
    memcpy(to, &name, sizeof name);
    return true;
}

bool api_take_encoding(api_reading *r, void *to)
{
    static const char *const names[] = { "json", "base64", NULL };
    size_t place;
    if (!api_take_choice(&r->json, names, &place))
        return false;
    memcpy(to, &(api_encoding){ (api_encoding)place }, sizeof(api_encoding));
    return true;
}

bool api_take_dtype(api_reading *r, void *to)
{
    static const char *const names[] = { "float32", "float16", "uint8", NULL };
    size_t place;
    if (!api_take_choice(&r->json, names, &place))
        return false;
    memcpy(to, &(api_dtype){ (api_dtype)place }, sizeof(api_dtype));
    return true;
}

bool api_take_position(api_reading *r, void *to)
{
    static const char *const names[] = { "none", "sinusoidal", "rope", "alibi", NULL };
    size_t place;
    if (!api_take_choice(&r->json, names, &place))
        return false;
    memcpy(to, &(api_position){ (api_position)place }, sizeof(api_position));
    return true;
}

static bool read_reduction(api_json *j, attn_reduce *out)
{
    static const char *const names[] = { "mean", "max", NULL };
    static const attn_reduce reductions[] = { ATTN_REDUCE_MEAN, ATTN_REDUCE_MAX };
    size_t place;
    if (!api_take_choice(j, names, &place))
        return false;
    *out = reductions[place];
    return true;
}

bool api_take_reduce(api_reading *r, void *to)
{
    return read_reduction(&r->json, to);
}

bool api_take_pool(api_reading *r, void *to)
{
    static const char *const names[] = { "size", "mode", NULL };
    api_return *want = to;
    api_json *j = &r->json;
    uint64_t seen = 0;
    size_t place = 0;
    want->pool_mode = ATTN_REDUCE_MEAN;
    if (!api_json_open_object(j))
        return false;
    while (api_next_member(j, names, &seen, &place)) {
        bool is_size = place == 0;
        if (is_size ? !api_take_count(r, &want->pool_size) : !read_reduction(j, &want->pool_mode))
            return false;
    }
    if (api_json_ok(j) && want->pool_size == 0)
        return api_fail(r->problem, API_MISSING_FIELD, "/pool/size", "\"size\" is missing: the most bins that an axis may have");
    return api_json_ok(j);
}

/* An array of names as a set of their places among the known ones, `at` being where each came first in the array. */
static bool read_set(api_json *j, const char *const *names, uint32_t *set, size_t *at)
{
    *set = 0;
    if (!api_json_open_array(j))
        return false;
    for (size_t i = 0, place; api_json_next_element(j); i++) {
        if (!api_take_choice(j, names, &place))
            return false;
        if (!(*set >> place & 1))
            at[place] = i;
        *set |= (uint32_t)1 << place;
    }
    return api_json_ok(j);
}

bool api_take_outputs(api_reading *r, void *to)
{
    api_return *want = to;
    const char *names[ATTN_OUTPUT_COUNT + 1] = { NULL };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        names[o] = attn_output_name((attn_output)o);
    return read_set(&r->json, names, &want->outputs, want->output_places);
}

bool api_take_analyses(api_reading *r, void *to)
{
    api_return *want = to;
    const char *names[ATTN_ANALYSIS_COUNT + 1] = { NULL };
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        names[a] = attn_analysis_name((attn_analysis)a);
    return read_set(&r->json, names, &want->analyses, want->analysis_places);
}
