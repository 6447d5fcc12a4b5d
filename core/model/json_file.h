/* json_file.h - a model's JSON files through jansson, with its errors in our terms.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_JSON_FILE_H
#define ATTN_JSON_FILE_H

#include "attn_base.h"

struct json_t;

/* Parses n bytes, duplicate keys refused. `what` begins the sentence of an error: "", or "its header ". The caller owns *out (json_decref); NULL on error.
 * What would take more than ATTN_JSON_MOST of memory is not parsed. ATTN_E_FORMAT with `file` in where, ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_json_parse(struct json_t **out, const void *bytes, size_t n, const char *file, const char *what, attn_error *);

#endif
