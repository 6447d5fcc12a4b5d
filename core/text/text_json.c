/* text_json.c - jansson's tree with paths. See text_json.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/text_json.h"
#include "base/json_weight.h"
#include "text/unicode.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {
    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string", [JSON_INTEGER] = "an integer",
    [JSON_REAL] = "a fraction",  [JSON_TRUE] = "a boolean", [JSON_FALSE] = "a boolean", [JSON_NULL] = "null",
};

static const char *type_name(const json_t *value)
{
    return value ? type_names[json_typeof(value)] : "missing";
}

attn_status attn_node_parse(attn_node *root, const char *json, size_t length, const char *name, attn_error *err)
{
    json_error_t why;
    *root = (attn_node){ .name = name, .err = err };
    if (attn_json_weight(json, length) > ATTN_JSON_MOST)
        return attn_fail(err, ATTN_E_FORMAT, name, "would take more than %d MB of memory to read", (int)(ATTN_JSON_MOST / 1000000));
    root->value = json_loadb(json, length, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    if (root->value)
        return ATTN_OK;
    enum json_error_code code = json_error_code(&why);
    if (why.text[0] == '\0' || code == json_error_out_of_memory) /* jansson does not name every failed allocation */
        return attn_fail_memory(err);
    if (code == json_error_null_byte_in_key)
        return attn_fail(err, ATTN_E_UNSUPPORTED, name, "a key with a NUL character, at line %d", why.line);
    return attn_fail(err, ATTN_E_FORMAT, name, "not JSON at line %d, column %d: %s", why.line, why.column, why.text);
}

attn_node attn_node_member(const attn_node *object, const char *key)
{
    json_t *value = json_object_get(object->value, key);
    return (attn_node){ .value = json_is_null(value) ? NULL : value, .up = object, .key = key, .name = object->name, .err = object->err };
}

attn_node attn_node_item(const attn_node *array, size_t index)
{
    return (attn_node){ .value = json_array_get(array->value, index), .up = array, .index = index, .name = array->name, .err = array->err };
}

enum { PATH_MAX_BYTES = 192 };

/* Appends a JSON pointer to `path`; what does not fit is left out. */
static size_t write_path(const attn_node *n, char *path, size_t used)
{
    if (!n->up)
        return used;
    used = write_path(n->up, path, used);
    int more = n->key ? snprintf(path + used, PATH_MAX_BYTES - used, "/%.40s", n->key) : snprintf(path + used, PATH_MAX_BYTES - used, "/%zu", n->index);
    size_t length = more > 0 ? (size_t)more : 0;
    return used + length < PATH_MAX_BYTES ? used + length : PATH_MAX_BYTES - 1;
}

attn_status attn_node_fail(const attn_node *n, attn_status code, const char *fmt, ...)
{
    char path[PATH_MAX_BYTES] = "";
    char text[256];
    write_path(n, path, 0);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return attn_fail(n->err, code, n->name, "%s: %s", path[0] ? path : "/", text);
}

attn_status attn_node_unknown(const attn_node *n, const char *what, attn_text word)
{
    return attn_node_fail(n, ATTN_E_UNSUPPORTED, "%s\"%.*s\" is not known", what, (int)(word.length < 64 ? word.length : 64), word.bytes);
}

attn_status attn_node_need(const attn_node *n, json_type type)
{
    if (n->value && json_typeof(n->value) == type)
        return ATTN_OK;
    return attn_node_fail(n, ATTN_E_FORMAT, "%s, but must be %s", type_name(n->value), type_names[type]);
}

attn_status attn_node_bool(const attn_node *object, const char *key, bool *out)
{
    attn_node n = attn_node_member(object, key);
    if (!json_is_boolean(n.value))
        return attn_node_fail(&n, ATTN_E_FORMAT, "%s, but must be a boolean", type_name(n.value));
    *out = json_is_true(n.value);
    return ATTN_OK;
}

attn_text attn_node_text(const attn_node *n)
{
    return (attn_text){ .bytes = json_string_value(n->value), .length = json_string_length(n->value) };
}

attn_status attn_node_string(const attn_node *object, const char *key, attn_text *out)
{
    attn_node n = attn_node_member(object, key);
    attn_status st = attn_node_need(&n, JSON_STRING);
    if (st == ATTN_OK)
        *out = attn_node_text(&n);
    return st;
}

attn_status attn_node_integer(const attn_node *n, uint64_t most, uint64_t *out)
{
    attn_status st = attn_node_need(n, JSON_INTEGER);
    if (st != ATTN_OK)
        return st;
    json_int_t value = json_integer_value(n->value);
    if (value < 0 || (uint64_t)value > most)
        return attn_node_fail(n, ATTN_E_FORMAT, "%lld is not between 0 and %llu", (long long)value, (unsigned long long)most);
    *out = (uint64_t)value;
    return ATTN_OK;
}

attn_status attn_node_number(const attn_node *object, const char *key, uint64_t most, uint64_t *out)
{
    attn_node n = attn_node_member(object, key);
    return attn_node_integer(&n, most, out);
}

attn_status attn_node_code_point(const attn_node *object, const char *key, uint32_t *out)
{
    attn_node n = attn_node_member(object, key);
    attn_text text = { .length = 0 };
    attn_status st = attn_node_string(object, key, &text);
    if (st == ATTN_OK && (text.length == 0 || attn_utf8_get(text.bytes, out) != text.length))
        st = attn_node_fail(&n, ATTN_E_FORMAT, "must be one character");
    return st;
}

bool attn_text_is(attn_text text, const char *s)
{
    return text.length == strlen(s) && memcmp(text.bytes, s, text.length) == 0;
}
