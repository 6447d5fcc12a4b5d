/* safetensors.c - see the header. Every number in the file is an attacker's until it has been compared with the file's own length: products are checked,
 * ranges are compared by subtraction, and the cover of the data is proved by sorting the tensors and walking them from the first byte to the last.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json_file.h"
#include "model/source.h"

static const uint64_t max_header = 100000000; /* the reference implementation's own limit */

static const struct {
    const char *name;
    size_t bits;
    attn_dtype type;
} dtypes[] = {
    { "F32", 32, ATTN_DTYPE_F32 },      { "F16", 16, ATTN_DTYPE_F16 },          { "BF16", 16, ATTN_DTYPE_BF16 },        { "F64", 64, ATTN_DTYPE_OTHER },
    { "I64", 64, ATTN_DTYPE_OTHER },    { "I32", 32, ATTN_DTYPE_OTHER },        { "I16", 16, ATTN_DTYPE_OTHER },        { "I8", 8, ATTN_DTYPE_OTHER },
    { "U64", 64, ATTN_DTYPE_OTHER },    { "U32", 32, ATTN_DTYPE_OTHER },        { "U16", 16, ATTN_DTYPE_OTHER },        { "U8", 8, ATTN_DTYPE_OTHER },
    { "BOOL", 8, ATTN_DTYPE_OTHER },    { "C64", 64, ATTN_DTYPE_OTHER },        { "F8_E4M3", 8, ATTN_DTYPE_OTHER },     { "F8_E5M2", 8, ATTN_DTYPE_OTHER },
    { "F8_E8M0", 8, ATTN_DTYPE_OTHER }, { "F8_E4M3FNUZ", 8, ATTN_DTYPE_OTHER }, { "F8_E5M2FNUZ", 8, ATTN_DTYPE_OTHER }, { "F6_E2M3", 6, ATTN_DTYPE_OTHER },
    { "F6_E3M2", 6, ATTN_DTYPE_OTHER }, { "F4", 4, ATTN_DTYPE_OTHER },
};

typedef struct reader {
    attn_safetensors *out;
    const uint8_t *data;
    size_t data_bytes;
    const char *file;
    attn_error *err;
} reader;

void attn_shape_text(char *dst, size_t n, const size_t *shape, size_t rank)
{
    size_t used = 0;
    for (size_t i = 0; i <= rank && used < n; i++) {
        int w = i < rank ? snprintf(dst + used, n - used, "%s%zu", i ? ", " : "[", shape[i]) : snprintf(dst + used, n - used, rank ? "]" : "[]");
        used += w > 0 ? (size_t)w : 0;
    }
}

/* A JSON integer that fits size_t and is not negative. */
static bool read_size(const json_t *v, size_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (size_t)json_integer_value(v);
    return true;
}

static attn_status read_dtype(const reader *r, attn_tensor *t, const json_t *v, size_t *bits)
{
    t->dtype = json_string_value(v);
    if (!t->dtype)
        return attn_fail(r->err, ATTN_E_FORMAT, attn_at(r->file, t->name).text, "dtype is missing or not a string");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, t->dtype) == 0) {
            t->type = dtypes[i].type;
            *bits = dtypes[i].bits;
            return ATTN_OK;
        }
    }
    return attn_fail(r->err, ATTN_E_FORMAT, attn_at(r->file, t->name).text, "dtype \"%.40s\" is not one of the format's", t->dtype);
}

static attn_status read_shape(const reader *r, attn_tensor *t, const json_t *v, size_t bits, size_t *bytes)
{
    attn_where at = attn_at(r->file, t->name);
    if (!json_is_array(v))
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "shape is missing or not an array");
    if (json_array_size(v) > ATTN_MAX_RANK)
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "shape has %zu dimensions, at most %d are read", json_array_size(v), ATTN_MAX_RANK);
    size_t total = bits;
    t->rank = json_array_size(v);
    for (size_t i = 0; i < t->rank; i++) {
        if (!read_size(json_array_get(v, i), &t->shape[i]))
            return attn_fail(r->err, ATTN_E_FORMAT, at.text, "dimension %zu of shape is not an integer of at least 0", i);
        if (!attn_mul(total, t->shape[i], &total))
            return attn_fail(r->err, ATTN_E_FORMAT, at.text, "shape is too large for any memory");
    }
    if (total % 8 != 0)
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "shape and dtype do not fill whole bytes");
    *bytes = total / 8;
    return ATTN_OK;
}

static attn_status read_range(const reader *r, attn_tensor *t, const json_t *v, size_t expected)
{
    attn_where at = attn_at(r->file, t->name);
    size_t begin, end;
    if (json_array_size(v) != 2 || !read_size(json_array_get(v, 0), &begin) || !read_size(json_array_get(v, 1), &end))
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "data_offsets is missing or not two integers of at least 0");
    if (begin > end)
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "data_offsets [%zu, %zu] end before they begin", begin, end);
    if (end > r->data_bytes)
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "data_offsets [%zu, %zu] end behind the file's %zu data bytes", begin, end, r->data_bytes);
    if (end - begin != expected) {
        char shape[96];
        attn_shape_text(shape, sizeof shape, t->shape, t->rank);
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "data_offsets hold %zu bytes, %s %s takes %zu", end - begin, t->dtype, shape, expected);
    }
    t->data = r->data + begin;
    t->bytes = expected;
    return ATTN_OK;
}

static attn_status read_tensor(const reader *r, attn_tensor *t, const char *name, const json_t *info)
{
    *t = (attn_tensor){ .name = name, .file = r->file };
    size_t bits = 0, bytes = 0;
    if (json_object_size(info) != 3) /* 0 for what is no object */
        return attn_fail(r->err, ATTN_E_FORMAT, attn_at(r->file, name).text, "is not an object of dtype, shape and data_offsets");
    attn_status st = read_dtype(r, t, json_object_get(info, "dtype"), &bits);
    if (st == ATTN_OK)
        st = read_shape(r, t, json_object_get(info, "shape"), bits, &bytes);
    if (st == ATTN_OK)
        st = read_range(r, t, json_object_get(info, "data_offsets"), bytes);
    return st;
}

static attn_status check_metadata(const reader *r, json_t *metadata)
{
    attn_where at = attn_at(r->file, "__metadata__");
    const char *key;
    json_t *v;
    if (!json_is_object(metadata))
        return attn_fail(r->err, ATTN_E_FORMAT, at.text, "is not an object");
    json_object_foreach(metadata, key, v)
    {
        if (!json_is_string(v))
            return attn_fail(r->err, ATTN_E_FORMAT, at.text, "\"%.80s\" is not a string", key);
    }
    return ATTN_OK;
}

static int by_place(const void *a, const void *b)
{
    const attn_tensor *x = a, *y = b;
    return x->data != y->data ? (x->data > y->data ? 1 : -1) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Tensors in order of their data must cover it from the first byte to the last, each byte once. */
static attn_status check_cover(const reader *r)
{
    const attn_safetensors *s = r->out;
    const uint8_t *at = r->data;
    for (size_t i = 0; i < s->count; i++) {
        const attn_tensor *t = &s->tensors[i];
        if (t->data < at)
            return attn_fail(r->err, ATTN_E_FORMAT, attn_at(r->file, t->name).text, "its data overlaps that of %s", s->tensors[i - 1].name);
        if (t->data > at)
            return attn_fail(r->err, ATTN_E_FORMAT, attn_at(r->file, t->name).text, "%zu bytes before its data belong to no tensor", (size_t)(t->data - at));
        at = t->data + t->bytes;
    }
    size_t rest = r->data_bytes - (size_t)(at - r->data);
    return rest == 0 ? ATTN_OK : attn_fail(r->err, ATTN_E_FORMAT, r->file, "%zu bytes at the end belong to no tensor", rest);
}

static attn_status read_tensors(const reader *r)
{
    attn_safetensors *s = r->out;
    const char *name;
    json_t *v;
    s->tensors = attn_calloc(json_object_size(s->header) + 1, sizeof *s->tensors);
    if (!s->tensors)
        return attn_fail_memory(r->err);
    json_object_foreach(s->header, name, v)
    {
        bool metadata = strcmp(name, "__metadata__") == 0;
        attn_status st = metadata ? check_metadata(r, v) : read_tensor(r, &s->tensors[s->count], name, v);
        if (st != ATTN_OK)
            return st;
        s->count += !metadata;
    }
    qsort(s->tensors, s->count, sizeof *s->tensors, by_place);
    return check_cover(r);
}

static attn_status parse_header(reader *r, const uint8_t *bytes, size_t size)
{
    if (size < 8)
        return attn_fail(r->err, ATTN_E_FORMAT, r->file, "is %zu bytes long, a safetensors file has at least 8", size);
    uint64_t n = 0;
    for (size_t i = 0; i < 8; i++)
        n |= (uint64_t)bytes[i] << (8 * i);
    if (n > max_header)
        return attn_fail(r->err, ATTN_E_FORMAT, r->file, "says that its header takes %" PRIu64 " bytes, at most %" PRIu64 " are read", n, max_header);
    if (n > size - 8)
        return attn_fail(r->err, ATTN_E_FORMAT, r->file, "says that its header takes %" PRIu64 " bytes, only %zu follow", n, size - 8);
    if (n == 0 || bytes[8] != '{')
        return attn_fail(r->err, ATTN_E_FORMAT, r->file, "its header does not begin with '{'");
    attn_status st = attn_json_parse(&r->out->header, bytes + 8, (size_t)n, r->file, "its header ", r->err);
    r->data = bytes + 8 + n;
    r->data_bytes = size - 8 - (size_t)n;
    return st;
}

attn_status attn_safetensors_open(attn_safetensors *out, const uint8_t *bytes, size_t size, const char *file, attn_error *err)
{
    *out = (attn_safetensors){ 0 };
    reader r = { .out = out, .file = file, .err = err };
    attn_status st = parse_header(&r, bytes, size);
    if (st == ATTN_OK)
        st = read_tensors(&r);
    if (st != ATTN_OK)
        attn_safetensors_close(out);
    return st;
}

void attn_safetensors_close(attn_safetensors *s)
{
    json_decref(s->header);
    attn_free(s->tensors);
    *s = (attn_safetensors){ 0 };
}
