/* config.c - see the header. The tree is jansson's; what has been read is deleted from it, so what is left was not understood.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "model/json_file.h"
#include "model/source.h"

attn_status attn_config_open(attn_config *c, const char *bytes, size_t n, const char *file, attn_error *err)
{
    *c = (attn_config){ .file = file, .err = err };
    c->status = attn_json_parse(&c->root, bytes, n, file, "", err);
    if (c->status == ATTN_OK && !json_is_object(c->root))
        c->status = attn_fail(err, ATTN_E_FORMAT, file, "is not a JSON object");
    if (c->status != ATTN_OK)
        attn_config_close(c);
    return c->status;
}

void attn_config_close(attn_config *c)
{
    json_decref(c->root);
    c->root = NULL;
}

static attn_where where(const attn_config *c, const char *key)
{
    char path[128];
    snprintf(path, sizeof path, "%s%s%s", c->section ? c->section : "", c->section ? "." : "", key);
    return attn_at(c->file, path);
}

/* A value as it stands in the file, as much of it as a message has room for. */
typedef struct quotation {
    char text[81];
    size_t used;
} quotation;

static int quote(const char *piece, size_t n, void *ctx)
{
    quotation *q = ctx;
    size_t room = sizeof q->text - 1 - q->used;
    memcpy(q->text + q->used, piece, n < room ? n : room);
    q->used += n < room ? n : room;
    return 0;
}

static void fail(attn_config *c, attn_status code, const char *key, const json_t *value, const char *what)
{
    quotation q = { .used = 0 };
    if (c->status != ATTN_OK)
        return;
    if (value)
        json_dump_callback(value, quote, &q, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    c->status = attn_fail(c->err, code, where(c, key).text, "is %s%s", value ? q.text : "missing", what);
}

size_t attn_config_size(attn_config *c, const char *key, size_t min, size_t max)
{
    const json_t *v = json_object_get(c->root, key);
    char wanted[96];
    snprintf(wanted, sizeof wanted, ", must be an integer from %zu to %zu", min, max);
    json_int_t n = json_integer_value(v);
    bool good = json_is_integer(v) && n >= 0 && (size_t)n >= min && (size_t)n <= max;
    if (!good)
        fail(c, ATTN_E_FORMAT, key, v, wanted);
    attn_config_take(c, key);
    return good ? (size_t)n : min;
}

double attn_config_number(attn_config *c, const char *key, double min, double max)
{
    const json_t *v = json_object_get(c->root, key);
    char wanted[96];
    snprintf(wanted, sizeof wanted, ", must be a number from %g to %g", min, max);
    double x = json_number_value(v);
    bool good = json_is_number(v) && x >= min && x <= max;
    if (!good)
        fail(c, ATTN_E_FORMAT, key, v, wanted);
    attn_config_take(c, key);
    return good ? x : min;
}

int attn_config_choice(attn_config *c, const char *key, const attn_choice *choices)
{
    const json_t *v = json_object_get(c->root, key);
    const char *word = json_string_value(v);
    char known[192] = ", known are:";
    int found = choices->value;
    size_t used = strlen(known);
    for (; choices->name; choices++) {
        if (word && strcmp(word, choices->name) == 0) {
            found = choices->value;
            break;
        }
        int n = snprintf(known + used, sizeof known - used, " %s", choices->name);
        used += n > 0 && (size_t)n < sizeof known - used ? (size_t)n : 0;
    }
    if (!choices->name)
        fail(c, v && word ? ATTN_E_UNSUPPORTED : ATTN_E_FORMAT, key, v, known);
    attn_config_take(c, key);
    return found;
}

int attn_config_choice_or_first(attn_config *c, const char *key, const attn_choice *choices)
{
    const json_t *v = json_object_get(c->root, key);
    if (v && !json_is_null(v))
        return attn_config_choice(c, key, choices);
    attn_config_take(c, key);
    return choices->value;
}

size_t attn_config_heads(attn_config *c, const char *key, const char *width_key, size_t width)
{
    size_t heads = attn_config_size(c, key, 1, ATTN_MAX_HEADS);
    if (c->status == ATTN_OK && width % heads != 0)
        c->status = attn_fail(c->err, ATTN_E_FORMAT, where(c, key).text, "is %zu, which does not divide %s, %zu", heads, width_key, width);
    return heads;
}

/* ---- keys that may be missing ------------------------------------------------------------------------------------------- */

bool attn_config_has(const attn_config *c, const char *key)
{
    const json_t *v = json_object_get(c->root, key);
    return v && !json_is_null(v);
}

bool attn_config_is_null(const attn_config *c, const char *key)
{
    return json_is_null(json_object_get(c->root, key));
}

size_t attn_config_size_or(attn_config *c, const char *key, size_t min, size_t max, size_t otherwise)
{
    if (attn_config_has(c, key))
        return attn_config_size(c, key, min, max);
    attn_config_take(c, key);
    return otherwise;
}

double attn_config_number_or(attn_config *c, const char *key, double min, double max, double otherwise)
{
    if (attn_config_has(c, key))
        return attn_config_number(c, key, min, max);
    attn_config_take(c, key);
    return otherwise;
}

bool attn_config_flag_or(attn_config *c, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(c->root, key);
    bool given = attn_config_has(c, key), answer = given ? json_is_true(v) : otherwise;
    if (given && !json_is_boolean(v))
        fail(c, ATTN_E_FORMAT, key, v, ", must be true or false");
    attn_config_take(c, key);
    return answer;
}

size_t attn_config_length(const attn_config *c, const char *key)
{
    return json_array_size(json_object_get(c->root, key));
}

/* ---- arrays and sections ------------------------------------------------------------------------------------------------ */

/* The array of exactly n under a key, or NULL: recorded. */
static const json_t *array_of(attn_config *c, const char *key, size_t n)
{
    char wanted[64];
    const json_t *v = json_object_get(c->root, key);
    snprintf(wanted, sizeof wanted, ", must be an array of %zu", n);
    if (json_is_array(v) && json_array_size(v) == n)
        return v;
    fail(c, ATTN_E_FORMAT, key, v, wanted);
    return NULL;
}

void attn_config_words(attn_config *c, const char *key, const attn_choice *choices, int *out, size_t n)
{
    const json_t *list = array_of(c, key, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = list ? json_array_get(list, i) : NULL;
        const attn_choice *choice = choices;
        while (choice->name && (!json_is_string(v) || strcmp(choice->name, json_string_value(v)) != 0))
            choice++;
        if (v && !choice->name)
            fail(c, ATTN_E_UNSUPPORTED, key, v, ", which is not known here");
        out[i] = choice->name ? choice->value : choices->value;
    }
    attn_config_take(c, key);
}

void attn_config_numbers(attn_config *c, const char *key, double min, double max, double *out, size_t n)
{
    char wanted[96];
    const json_t *list = array_of(c, key, n);
    snprintf(wanted, sizeof wanted, ", must be numbers from %g to %g", min, max);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = list ? json_array_get(list, i) : NULL;
        bool good = json_is_number(v) && json_number_value(v) >= min && json_number_value(v) <= max;
        if (v && !good)
            fail(c, ATTN_E_FORMAT, key, v, wanted);
        out[i] = good ? json_number_value(v) : min;
    }
    attn_config_take(c, key);
}

/* An id as it stands in a list; -1: none, -2: it should not stand there. */
static int32_t id_of(const json_t *v)
{
    if (json_is_array(v) && json_array_size(v) != 1)
        return -1;
    const json_t *one = json_is_array(v) ? json_array_get(v, 0) : v;
    json_int_t id = json_integer_value(one);
    return !json_is_integer(one) ? -2 : id < 0 || id >= ATTN_MAX_VOCAB ? -1 : (int32_t)id;
}

void attn_config_ids(attn_config *c, const char *key, int32_t **ids, size_t *n)
{
    const json_t *v = json_object_get(c->root, key);
    size_t count = json_is_array(v) ? json_array_size(v) : 1, found = 0;
    int32_t *list = attn_config_has(c, key) ? attn_calloc(count + 1, sizeof *list) : NULL;
    if (attn_config_has(c, key) && !list && c->status == ATTN_OK)
        c->status = attn_fail_memory(c->err);
    for (size_t i = 0; i < count && list; i++) {
        int32_t id = id_of(json_is_array(v) ? json_array_get(v, i) : v);
        if (id == -2)
            fail(c, ATTN_E_FORMAT, key, v, ", must be a token id or a list of them");
        else if (id >= 0)
            list[found++] = id;
    }
    if (list) {
        attn_free(*ids);
        *ids = list;
        *n = found;
    }
    attn_config_take(c, key);
}

bool attn_config_enter(attn_config *c, const char *key, attn_config *inner)
{
    json_t *v = json_object_get(c->root, key);
    if (attn_config_has(c, key) && !json_is_object(v))
        fail(c, ATTN_E_FORMAT, key, v, ", must be an object");
    *inner = (attn_config){ .file = c->file, .section = key, .status = c->status, .err = c->err, .root = json_is_object(v) ? json_incref(v) : NULL };
    attn_config_take(c, key);
    return inner->root != NULL;
}

void attn_config_leave(attn_config *c, attn_config *inner)
{
    const char *key;
    json_t *v;
    json_object_foreach(inner->root, key, v) fail(inner, ATTN_E_UNSUPPORTED, key, v, ", and the key is not known here");
    c->status = inner->status;
    attn_config_close(inner);
}

attn_activation attn_config_activation(attn_config *c, const char *key)
{
    static const attn_choice names[] = {
        { "gelu", ATTN_ACT_GELU },
        { "gelu_python", ATTN_ACT_GELU },
        { "gelu_new", ATTN_ACT_GELU_TANH },
        { "gelu_pytorch_tanh", ATTN_ACT_GELU_TANH },
        { "gelu_fast", ATTN_ACT_GELU_TANH },
        { "gelu_accurate", ATTN_ACT_GELU_TANH },
        { "gelu_python_tanh", ATTN_ACT_GELU_TANH },
        { "relu", ATTN_ACT_RELU },
        { "silu", ATTN_ACT_SILU },
        { "swish", ATTN_ACT_SILU },
        { NULL, 0 },
    };
    return (attn_activation)attn_config_choice(c, key, names);
}

void attn_config_off(attn_config *c, const char *key)
{
    const json_t *v = json_object_get(c->root, key);
    bool empty = (json_is_object(v) && json_object_size(v) == 0) || (json_is_array(v) && json_array_size(v) == 0);
    if (v && !json_is_null(v) && !json_is_false(v) && !empty)
        fail(c, ATTN_E_UNSUPPORTED, key, v, ", which is not supported");
    attn_config_take(c, key);
}

void attn_config_on(attn_config *c, const char *key)
{
    const json_t *v = json_object_get(c->root, key);
    if (v && !json_is_null(v) && !json_is_true(v))
        fail(c, ATTN_E_UNSUPPORTED, key, v, ", which is not supported");
    attn_config_take(c, key);
}

const char *attn_config_text(const attn_config *c, const char *key)
{
    const json_t *v = json_object_get(c->root, key);
    return json_string_value(json_is_array(v) ? json_array_get(v, 0) : v);
}

void attn_config_take(attn_config *c, const char *key)
{
    json_object_del(c->root, key);
}

attn_status attn_config_rest(const attn_config *c, const char ***names, size_t *count, attn_error *err)
{
    const char *key;
    json_t *v;
    size_t text = 0, n = json_object_size(c->root), i = 0;
    json_object_foreach(c->root, key, v) text += strlen(key) + 1;
    *count = 0;
    *names = attn_malloc((n + 1) * sizeof **names + text);
    if (!*names)
        return attn_fail_memory(err);
    char *to = (char *)(*names + n + 1);
    json_object_foreach(c->root, key, v)
    {
        (*names)[i++] = memcpy(to, key, strlen(key) + 1);
        to += strlen(key) + 1;
    }
    (*names)[i] = NULL;
    *count = i;
    return ATTN_OK;
}
