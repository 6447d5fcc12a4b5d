/* text_json.h - reading tokenizer.json: jansson's tree, with the path of every value at hand for errors.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TEXT_JSON_H
#define TEXT_JSON_H

#include "attn_base.h"
#include "attn_tokenizer.h"

#include <jansson.h>

typedef struct attn_node {
    json_t *value;              /* borrowed; NULL when the member is missing or null */
    const struct attn_node *up; /* NULL for the document */
    const char *key;            /* NULL for an item of an array */
    size_t index;
    const char *name; /* of the file */
    attn_error *err;
} attn_node;

/* Parses a document (release with json_decref(root->value)). Damage is ATTN_E_FORMAT with line and column. */
ATTN_MUST_CHECK attn_status attn_node_parse(attn_node *root, const char *json, size_t length, const char *name, attn_error *err);

attn_node attn_node_member(const attn_node *object, const char *key);
attn_node attn_node_item(const attn_node *array, size_t index);

/* Records "PATH: message" with the file's name as `where`, returns `code`. */
attn_status attn_node_fail(const attn_node *, attn_status code, const char *fmt, ...) ATTN_PRINTF(3, 4);
/* ATTN_E_UNSUPPORTED, `what` "word" is not known: a component or a choice that a file may name and nobody here has heard of. */
attn_status attn_node_unknown(const attn_node *, const char *what, attn_text word);

/* The value as a type, or ATTN_E_FORMAT naming both types. */
ATTN_MUST_CHECK attn_status attn_node_need(const attn_node *, json_type);
/* Members that must be there. Strings are borrowed from the tree. Numbers are integers from 0 to `most`. */
ATTN_MUST_CHECK attn_status attn_node_bool(const attn_node *object, const char *key, bool *out);
ATTN_MUST_CHECK attn_status attn_node_string(const attn_node *object, const char *key, attn_text *out);
ATTN_MUST_CHECK attn_status attn_node_number(const attn_node *object, const char *key, uint64_t most, uint64_t *out);
ATTN_MUST_CHECK attn_status attn_node_integer(const attn_node *, uint64_t most, uint64_t *out); /* the value itself */

ATTN_MUST_CHECK attn_status attn_node_code_point(const attn_node *object, const char *key, uint32_t *out); /* a string of one */

attn_text attn_node_text(const attn_node *); /* of a value known to be a string */
bool attn_text_is(attn_text, const char *s);

#endif
