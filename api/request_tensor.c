/* request_tensor.c - tensors as requests have them: nested arrays of numbers, or base64 with a shape; and attn_mask, whose elements may be booleans or null.
 *
 * Nested arrays are read in one pass into memory whose size commas tell beforehand: the first element's depth is the rank, the first row's length
 * the last axis, and whatever does not fit afterwards is ragged.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "request_read.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "base64 holds little-endian numbers, which are used as they are");

enum { MAX_RANK = 4 };

/* One tensor being read. Masks are the tensors that take null and booleans. */
typedef struct nest {
    api_reading *r;
    bool is_mask;
    bool is_bool; /* a mask of booleans: `keep` is filled; else `data` */
    float *data;
    uint8_t *keep;
    size_t filled, capacity;
    size_t rank, shape[MAX_RANK]; /* 0 while not known */
} nest;

/* ---- nested arrays -------------------------------------------------------------------------------------------------------------- */

static bool is_leaf(const nest *n, api_json_type type)
{
    return type == API_JSON_NUMBER || (n->is_mask && (type == API_JSON_TRUE || type == API_JSON_FALSE || type == API_JSON_NULL));
}

/* What stands where a number should, in a row. */
static bool fail_leaf(nest *n, const char *expected)
{
    api_json *j = &n->r->json;
    if (api_json_peek(j) == API_JSON_ARRAY)
        return api_json_fail(j, API_RAGGED_ARRAY, "expected %s, found an array: rows are not equally deep", expected);
    return api_json_fail_type(j, expected);
}

/* One element of a mask that is no number, or no number was expected. */
static bool read_mask_leaf(nest *n)
{
    api_json *j = &n->r->json;
    api_json_type type = api_json_peek(j);
    bool is_bool = type == API_JSON_TRUE || type == API_JSON_FALSE;
    if (n->filled == 0)
        n->is_bool = is_bool;
    if (n->is_bool != is_bool || !is_leaf(n, type))
        return fail_leaf(n, n->is_bool ? "true or false, as before" : "a number or null");
    if (is_bool) {
        bool keep;
        if (!api_json_bool(j, &keep))
            return false;
        n->keep[n->filled++] = keep;
        return true;
    }
    if (!api_json_null(j))
        return false;
    n->data[n->filled++] = -INFINITY;
    return true;
}

/* The elements of the innermost array, which was opened. */
static bool read_row(nest *n, size_t *count)
{
    api_json *j = &n->r->json;
    size_t begin = n->filled;
    for (;;) {
        size_t got = 0;
        if (!n->is_bool && !api_json_floats(j, n->r->service->runtime, n->data + n->filled, n->capacity - n->filled, &got))
            return false;
        n->filled += got;
        if (!api_json_next_element(j))
            break;
        if (n->is_mask ? !read_mask_leaf(n) : !fail_leaf(n, "a number"))
            return false;
    }
    *count = n->filled - begin;
    return api_json_ok(j);
}

static bool read_level(nest *n, size_t depth);

/* The arrays inside an array that was opened, `depth` levels down. */
static bool read_rows(nest *n, size_t depth, size_t *count)
{
    api_json *j = &n->r->json;
    for (*count = 0; api_json_next_element(j); ++*count) {
        if (is_leaf(n, api_json_peek(j)))
            return api_json_fail(j, API_RAGGED_ARRAY, "expected an array, as before: rows are not equally deep");
        if (!read_level(n, depth + 1))
            return false;
    }
    return api_json_ok(j);
}

/* One array, `depth` levels down, with all in it. */
static bool read_level(nest *n, size_t depth)
{
    api_json *j = &n->r->json;
    size_t count = 0;
    if (!api_json_open_array(j))
        return false;
    api_json_type first = api_json_peek(j);
    if (depth == MAX_RANK)
        return api_fail_field(n->r, API_SHAPE_MISMATCH, "%s has more than %d axes", n->r->field, MAX_RANK);
    if (n->rank == 0 && first != API_JSON_ARRAY)
        n->rank = depth + 1;
    bool innermost = n->rank == depth + 1;
    if (innermost ? !read_row(n, &count) : !read_rows(n, depth, &count))
        return false;
    if (count == 0)
        return api_json_fail(j, API_EMPTY, "an empty array");
    if (n->shape[depth] == 0)
        n->shape[depth] = count;
    if (n->shape[depth] != count)
        return api_json_fail(j, API_RAGGED_ARRAY, "%zu elements where arrays before have %zu", count, n->shape[depth]);
    return true;
}

static bool read_nested(nest *n)
{
    size_t arrays;
    api_json_measure(&n->r->json, &n->capacity, &arrays);
    n->data = api_take_memory(n->r, n->capacity, sizeof *n->data);
    n->keep = (uint8_t *)n->data; /* one or the other */
    return n->data && read_level(n, 0);
}

/* ---- base64 ----------------------------------------------------------------------------------------------------------------------- */

typedef struct packed {
    bool has_dtype, has_shape, has_data;
    bool is_half;
    attn_text data;
} packed;

/* Where a member of the object stands. */
static bool fail_member(nest *n, const char *member, api_code code, const char *detail)
{
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s/%s", n->r->field, member);
    return api_fail(n->r->problem, code, pointer, "%s", detail);
}

static bool read_shape(nest *n)
{
    api_json *j = &n->r->json;
    if (!api_json_open_array(j))
        return false;
    while (api_json_next_element(j)) {
        int64_t axis;
        if (n->rank == MAX_RANK)
            return fail_member(n, "shape", API_SHAPE_MISMATCH, "more than 4 axes");
        if (!api_take_int(j, 0, INT64_MAX, &axis))
            return false;
        if (axis == 0)
            return api_json_fail(j, API_EMPTY, "an axis of length 0");
        n->shape[n->rank++] = (size_t)axis;
    }
    if (api_json_ok(j) && n->rank == 0)
        return fail_member(n, "shape", API_EMPTY, "shape is an empty array");
    return api_json_ok(j);
}

static bool read_members(nest *n, packed *p)
{
    static const char *const names[] = { "dtype", "shape", "data", NULL }, *const dtypes[] = { "float32", "float16", NULL };
    api_json *j = &n->r->json;
    uint64_t seen = 0;
    size_t place, dtype;
    if (!api_json_open_object(j))
        return false;
    while (api_next_member(j, names, &seen, &place)) {
        bool *const has[] = { &p->has_dtype, &p->has_shape, &p->has_data };
        *has[place] = true;
        if (place == 0 ? !api_take_choice(j, dtypes, &dtype) : place == 1 ? !read_shape(n) : !api_json_string(j, &p->data))
            return false;
        if (place == 0)
            p->is_half = dtype == 1;
    }
    if (!api_json_ok(j))
        return false;
    if (!p->has_dtype)
        return fail_member(n, "dtype", API_MISSING_FIELD, "a tensor given as an object needs dtype, \"float32\" or \"float16\"");
    if (!p->has_shape)
        return fail_member(n, "shape", API_MISSING_FIELD, "a tensor given as an object needs shape, an array of integers");
    if (!p->has_data)
        return fail_member(n, "data", API_MISSING_FIELD, "a tensor given as an object needs data, a base64 string");
    return true;
}

/* Elements that the shape asks for; SIZE_MAX when there cannot be so many. */
static size_t elements(const nest *n)
{
    size_t count = 1;
    for (size_t i = 0; i < n->rank; i++)
        if (!attn_mul(count, n->shape[i], &count))
            return SIZE_MAX;
    return count;
}

static bool decode(nest *n, const packed *p, void **bytes)
{
    const attn_text *text = &p->data;
    size_t written, bad, width = p->is_half ? 2 : 4, count = elements(n);
    *bytes = api_take_memory(n->r, text->length / 4 * 3 + 64, 1);
    if (!*bytes)
        return false;
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s/data", n->r->field);
    if (!attn_base64_decode(n->r->service->runtime, *bytes, &written, text->bytes, text->length, &bad))
        return api_fail(n->r->problem, API_INVALID_BASE64, pointer, "not base64 at offset %zu of %zu", bad, text->length);
    if (written / width != count || written % width != 0)
        return api_fail(n->r->problem, API_SHAPE_MISMATCH, pointer, "data holds %zu bytes, and the shape does not ask for as many of %s", written,
                        p->is_half ? "float16" : "float32");
    n->filled = count;
    return true;
}

static bool check_finite(nest *n)
{
    for (size_t i = 0; i < n->filled; i++) {
        float x = n->data[i];
        if (isfinite(x) || (n->is_mask && x == -INFINITY))
            continue;
        char detail[64];
        snprintf(detail, sizeof detail, "element %zu is not finite", i);
        return fail_member(n, "data", API_NOT_FINITE, detail);
    }
    return true;
}

static bool read_packed(nest *n)
{
    packed p = { 0 };
    void *bytes;
    if (!read_members(n, &p) || !decode(n, &p, &bytes))
        return false;
    n->data = bytes;
    if (p.is_half) {
        n->data = api_take_memory(n->r, n->filled, sizeof *n->data);
        if (!n->data)
            return false;
        attn_from_half(n->r->service->runtime, n->data, bytes, n->filled);
    }
    return check_finite(n);
}

/* ---- fields ----------------------------------------------------------------------------------------------------------------------- */

static bool read_tensor(nest *n, size_t least, size_t most)
{
    api_reading *r = n->r;
    api_json_type type = api_json_peek(&r->json);
    if (type != API_JSON_ARRAY && type != API_JSON_OBJECT)
        return api_json_fail_type(&r->json, "a tensor: nested arrays of numbers, or {\"dtype\", \"shape\", \"data\"}");
    if (type == API_JSON_ARRAY ? !read_nested(n) : !read_packed(n))
        return false;
    if (n->rank >= least && n->rank <= most)
        return true;
    if (least == most)
        return api_fail_field(r, API_SHAPE_MISMATCH, "%s has %zu axes; it takes %zu", r->field, n->rank, least);
    return api_fail_field(r, API_SHAPE_MISMATCH, "%s has %zu axes; it takes %zu to %zu", r->field, n->rank, least, most);
}

static bool take_tensor(api_reading *r, api_tensor *out, size_t least, size_t most)
{
    nest n = { .r = r };
    if (!read_tensor(&n, least, most))
        return false;
    *out = (api_tensor){ .data = n.data, .rank = n.rank };
    memcpy(out->shape, n.shape, sizeof n.shape);
    return true;
}

bool api_take_vector(api_reading *r, void *to)
{
    return take_tensor(r, to, 1, 1);
}

bool api_take_matrix(api_reading *r, void *to)
{
    return take_tensor(r, to, 2, 2);
}

bool api_take_sequence(api_reading *r, void *to)
{
    return take_tensor(r, to, 2, 3);
}

bool api_take_heads(api_reading *r, void *to)
{
    return take_tensor(r, to, 2, 4);
}

bool api_take_attn_mask(api_reading *r, void *to)
{
    api_mask *out = to;
    nest n = { .r = r, .is_mask = true };
    if (!read_tensor(&n, 1, MAX_RANK))
        return false;
    *out = (api_mask){ .rank = n.rank, .keep = n.is_bool ? n.keep : NULL, .add = n.is_bool ? NULL : n.data };
    memcpy(out->shape, n.shape, sizeof n.shape);
    return true;
}
