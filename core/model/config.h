/* config.h - config.json, read strictly: a family asks for each key it understands, with its type and range; what it did not ask for is listed.
 *
 * A key's meaning is what the family's formula makes of it. A value that asks for another formula is refused by key and value, never defaulted
 * (attn_config_off, attn_config_choice); keys that no formula of the family reads are in attn_config_rest.
 *
 * The first failure sticks, so that a family reads all its keys in a row and looks at `status` once. A key that was read is taken out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_CONFIG_H
#define ATTN_CONFIG_H

#include "math/kernels.h"

/* Far beyond every model there is, and small enough that no product of two of them leaves 64 bits. */
enum {
    ATTN_MAX_LAYERS = 1024,
    ATTN_MAX_HEADS = 1024,
    ATTN_MAX_HIDDEN = 65536,
    ATTN_MAX_FEED = 1 << 20,
    ATTN_MAX_VOCAB = 1 << 24,
    ATTN_MAX_POSITIONS = 1 << 24,
    ATTN_MAX_SEGMENTS = 65536
};

typedef struct attn_config {
    struct json_t *root;
    const char *file;    /* for errors; borrowed */
    const char *section; /* for errors; NULL: none */
    attn_status status;
    attn_error *err;
} attn_config;

/* A word of the file and what it stands for here; a NULL name ends a list. */
typedef struct attn_choice {
    const char *name;
    int value;
} attn_choice;

/* Reads the bytes of a config.json, which are not needed afterwards. ATTN_E_FORMAT (not a JSON object), ATTN_E_NOMEM. On error *c is closed. */
ATTN_MUST_CHECK attn_status attn_config_open(attn_config *c, const char *bytes, size_t n, const char *file, attn_error *);
void attn_config_close(attn_config *);

/* An integer in [min, max]. Missing, of another type or out of range: ATTN_E_FORMAT, and the result is min. */
size_t attn_config_size(attn_config *, const char *key, size_t min, size_t max);
/* A number in [min, max]; likewise. */
double attn_config_number(attn_config *, const char *key, double min, double max);
/* One of the choices; another word is ATTN_E_UNSUPPORTED with the word and those that are known. */
int attn_config_choice(attn_config *, const char *key, const attn_choice *);
/* The same, where a missing key or null means the first choice. */
int attn_config_choice_or_first(attn_config *, const char *key, const attn_choice *);
/* Heads: an integer from 1 to ATTN_MAX_HEADS that divides `width`, the value of `width_key`. */
size_t attn_config_heads(attn_config *, const char *key, const char *width_key, size_t width);
/* An activation by the name transformers gives it. */
attn_activation attn_config_activation(attn_config *, const char *key);
/* Where a missing key or null has a meaning that the format gives it. */
size_t attn_config_size_or(attn_config *, const char *key, size_t min, size_t max, size_t otherwise);
double attn_config_number_or(attn_config *, const char *key, double min, double max, double otherwise);
bool attn_config_flag_or(attn_config *, const char *key, bool otherwise); /* true or false */
size_t attn_config_length(const attn_config *, const char *key);          /* of an array; 0: it is none */
/* Whether the key is there and not null; there and null. */
bool attn_config_has(const attn_config *, const char *key);
bool attn_config_is_null(const attn_config *, const char *key);
/* An array of exactly n: words that are choices; numbers in [min, max]. */
void attn_config_words(attn_config *, const char *key, const attn_choice *, int *out, size_t n);
void attn_config_numbers(attn_config *, const char *key, double min, double max, double *out, size_t n);
/* Token ids: one, or a list of them, or a list of lists, of which those of one id count. *ids[0..*n) in place of what was there (attn_free), as long as the key
 * is there and not null. Numbers that are no id (-1) are passed over. */
void attn_config_ids(attn_config *, const char *key, int32_t **ids, size_t *n);

/* The object under a key, to be read like a config of its own: false when there is none. After leaving, its failure is the outer one's; a key that was not
 * read is one. */
bool attn_config_enter(attn_config *, const char *key, attn_config *inner);
void attn_config_leave(attn_config *, attn_config *inner);

/* A switch this family has no formula for: missing, null, false and empty are fine, anything else is ATTN_E_UNSUPPORTED. */
void attn_config_off(attn_config *, const char *key);
/* One that its formula always has: missing, null and true are fine. */
void attn_config_on(attn_config *, const char *key);
/* A string, or the first of an array of strings; NULL when there is none. Borrowed until close; the key stays in. */
const char *attn_config_text(const attn_config *, const char *key);
/* Forgets a key that needs no reading. */
void attn_config_take(attn_config *, const char *key);

/* The keys not read, in the file's order: names[0..*count) in one allocation (attn_free), a NULL behind them. ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_config_rest(const attn_config *, const char ***names, size_t *count, attn_error *);

#endif
