/* request_lists.c - fields that are lists: texts, token ids and what goes with them, offsets and lengths of a batch, indices.
 *
 * Memory is taken once for each field, of a size known beforehand (api_json_measure), and items beyond max_batch are counted but not kept.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "request_read.h"

/* ---- texts -------------------------------------------------------------------------------------------------------------------- */

/* Elements of the array that comes next, or of what there is of it. A copy of the reader goes through it first: commas tell nothing where there are strings. */
static size_t count_elements(api_json j)
{
    size_t n = 0;
    if (api_json_open_array(&j))
        for (; api_json_next_element(&j); n++)
            api_json_skip(&j);
    return n;
}

static bool read_text_array(api_reading *r, api_texts *texts)
{
    api_json *j = &r->json;
    size_t most = attn_least(r->service->limits.max_batch, count_elements(*j));
    texts->items = api_take_memory(r, most, sizeof *texts->items);
    texts->is_batch = true;
    if (!texts->items || !api_json_open_array(j))
        return false;
    for (; api_json_next_element(j); texts->count++) {
        bool read = texts->count < most ? api_json_string(j, &texts->items[texts->count]) : api_json_skip(j);
        if (!read)
            return false;
    }
    if (api_json_ok(j) && texts->count == 0)
        return api_fail_field(r, API_EMPTY, "%s is an empty array", r->field);
    return api_json_ok(j);
}

bool api_take_texts(api_reading *r, void *to)
{
    api_texts *texts = to;
    api_json_type type = api_json_peek(&r->json);
    if (type == API_JSON_ARRAY)
        return read_text_array(r, texts);
    if (type != API_JSON_STRING)
        return api_json_fail_type(&r->json, "a string or an array of strings");
    texts->items = api_take_memory(r, 1, sizeof *texts->items);
    texts->count = 1;
    return texts->items && api_json_string(&r->json, texts->items);
}

/* ---- integers ------------------------------------------------------------------------------------------------------------------ */

typedef struct range {
    int64_t least, most;
} range;

/* What is left of an array that was opened and whose first element may have been reached already. The array must not be empty, and must hold integers only. */
static bool read_integers(api_json *j, range allowed, int64_t *values, size_t *count)
{
    size_t n = 0;
    while (api_json_next_element(j)) {
        if (api_json_peek(j) == API_JSON_ARRAY)
            return api_json_fail(j, API_RAGGED_ARRAY, "expected an integer, found an array");
        if (!api_take_int(j, allowed.least, allowed.most, &values[n]))
            return false;
        n++;
    }
    if (api_json_ok(j) && n == 0)
        return api_json_fail(j, API_EMPTY, "an empty array");
    *count = n;
    return api_json_ok(j);
}

/* One list of a batch. */
static bool read_list(api_json *j, range allowed, int64_t *values, size_t *count)
{
    if (api_json_peek(j) == API_JSON_NUMBER)
        return api_json_fail(j, API_RAGGED_ARRAY, "expected an array, found a number");
    return api_json_open_array(j) && read_integers(j, allowed, values, count);
}

static bool read_batch(api_reading *r, range allowed, api_id_lists *lists, int64_t *values, size_t most)
{
    api_json *j = &r->json;
    lists->items = api_take_memory(r, most, sizeof *lists->items);
    if (!lists->items || !api_json_open_array(j))
        return false;
    for (; api_json_next_element(j); lists->count++) {
        size_t n = 0;
        bool keep = lists->count < most;
        if (keep ? !read_list(j, allowed, values, &n) : !api_json_skip(j))
            return false;
        if (keep)
            lists->items[lists->count] = (api_ids){ values, n };
        values += n;
    }
    return api_json_ok(j);
}

/* Whether the array that comes next begins with an array. */
static bool is_nested(const api_json *j)
{
    const char *p = j->at + 1;
    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p < j->end && *p == '[';
}

static bool read_id_lists(api_reading *r, range allowed, api_id_lists *lists)
{
    api_json *j = &r->json;
    size_t numbers, arrays;
    if (api_json_peek(j) != API_JSON_ARRAY)
        return api_json_fail_type(j, "an array of integers, or an array of such arrays");
    api_json_measure(j, &numbers, &arrays);
    int64_t *values = api_take_memory(r, numbers, sizeof *values);
    if (!values)
        return false;
    lists->is_batch = is_nested(j);
    if (lists->is_batch)
        return read_batch(r, allowed, lists, values, attn_least(arrays, r->service->limits.max_batch));
    lists->items = api_take_memory(r, 1, sizeof *lists->items);
    lists->count = 1;
    if (!lists->items || !api_json_open_array(j) || !read_integers(j, allowed, values, &lists->items->count))
        return false;
    lists->items->values = values;
    return true;
}

bool api_take_id_lists(api_reading *r, void *to)
{
    return read_id_lists(r, (range){ INT64_MIN, INT64_MAX }, to);
}

bool api_take_masks(api_reading *r, void *to)
{
    return read_id_lists(r, (range){ 0, 1 }, to);
}

static bool read_integer_list(api_reading *r, range allowed, api_integers *list)
{
    api_json *j = &r->json;
    size_t numbers, arrays;
    api_json_measure(j, &numbers, &arrays);
    int64_t *values = api_take_memory(r, numbers, sizeof *values);
    list->values = values;
    list->is_list = true;
    return values && api_json_open_array(j) && read_integers(j, allowed, values, &list->count);
}

bool api_take_offsets(api_reading *r, void *to)
{
    const int64_t most = (int64_t)1 << 53; /* positions are exact in double, and core's sums cannot overflow */
    api_integers *list = to;
    api_json_type type = api_json_peek(&r->json);
    if (type == API_JSON_ARRAY)
        return read_integer_list(r, (range){ -most, most }, list);
    if (type != API_JSON_NUMBER)
        return api_json_fail_type(&r->json, "an integer, or an array with one for each batch item");
    int64_t *value = api_take_memory(r, 1, sizeof *value);
    list->values = value;
    list->count = 1;
    return value && api_take_int(&r->json, -most, most, value);
}

bool api_take_lengths(api_reading *r, void *to)
{
    if (api_json_peek(&r->json) != API_JSON_ARRAY)
        return api_json_fail_type(&r->json, "an array with an integer for each batch item");
    return read_integer_list(r, (range){ 0, INT64_MAX }, to);
}

/* ---- indices ------------------------------------------------------------------------------------------------------------------- */

static bool read_slice(api_json *j, api_indices *out)
{
    static const char *const names[] = { "start", "stop", NULL };
    uint64_t seen = 0;
    size_t place;
    if (!api_json_open_object(j))
        return false;
    while (api_next_member(j, names, &seen, &place)) {
        bool is_start = place == 0;
        if (!api_json_int(j, is_start ? &out->start : &out->stop))
            return false;
        *(is_start ? &out->has_start : &out->has_stop) = true;
    }
    out->kind = API_SLICE;
    return api_json_ok(j);
}

bool api_take_indices(api_reading *r, void *to)
{
    api_indices *out = to;
    api_json *j = &r->json;
    api_json_type type = api_json_peek(j);
    if (type == API_JSON_OBJECT)
        return read_slice(j, out);
    if (type != API_JSON_ARRAY)
        return api_json_fail_type(j, "an array of integers or {\"start\", \"stop\"}");
    size_t numbers, arrays;
    api_json_measure(j, &numbers, &arrays);
    int64_t *values = api_take_memory(r, numbers, sizeof *values);
    if (!values || !api_json_open_array(j))
        return false;
    while (api_json_next_element(j)) {
        if (!api_json_int(j, &values[out->count]))
            return false;
        out->count++;
    }
    if (api_json_ok(j) && out->count == 0)
        return api_fail_field(r, API_EMPTY_SELECTION, "%s chooses nothing", r->field);
    out->kind = API_LIST;
    out->list = values;
    return api_json_ok(j);
}
