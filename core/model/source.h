/* source.h - where a model's files come from: a directory, or the program itself. One loader reads both, as named ranges of bytes.
 *
 * A directory's files are mapped read-only and looked up beneath the directory that was opened first, so a rename in between cannot mix two models.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_SOURCE_H
#define ATTN_SOURCE_H

#include "attn_base.h"

/* One file inside the program. */
typedef struct attn_embedded_file {
    const char *name;
    const uint8_t *begin, *end;
} attn_embedded_file;

typedef struct attn_embedded_model {
    const char *name;
    const attn_embedded_file *files; /* a NULL name ends them */
} attn_embedded_model;

/* The models inside the program; a NULL name ends them. */
const attn_embedded_model *attn_embedded_models(void);

typedef struct attn_source attn_source;

/* A file's bytes, read-only. `map` is NULL for a file inside the program. */
typedef struct attn_file {
    const uint8_t *bytes;
    size_t size;
    void *map;
} attn_file;

/* `name` is a directory or "builtin:NAME". ATTN_E_IO, ATTN_E_UNSUPPORTED (no such built-in model), ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_source_open(attn_source **out, const char *name, attn_error *);
void attn_source_close(attn_source *); /* NULL is fine; files that were opened stay open */

bool attn_source_has(const attn_source *, const char *file);
/* The first file, in the order of names, that ends in `ending`; false: there is none. */
bool attn_source_find(const attn_source *, const char *ending, char *name, size_t size);
/* A regular file of this name. ATTN_E_IO, with the file in where. */
ATTN_MUST_CHECK attn_status attn_file_open(attn_file *out, const attn_source *, const char *file, attn_error *);
void attn_file_close(attn_file *); /* a zeroed one is fine */
/* Bytes [begin, begin + n) of an open file will not be read again soon: whole pages among them leave memory, and come back from the file if they are. */
void attn_file_drop(const uint8_t *begin, size_t n);

/* "FILE: ITEM", for attn_error's where. Lives until the end of the full expression: attn_fail(err, code, attn_at(file, key).text, ...). */
typedef struct attn_where {
    char text[128];
} attn_where;
attn_where attn_at(const char *file, const char *item);

#endif
