/* json_reader.h - a small strict pull reader: JSON text in, one value at a time out, with the path it is at.
 *
 * RFC 8259 to the letter: UTF-8 only, no BOM, no NaN, no lone surrogates, nothing behind the value; depth at most API_JSON_DEPTH. The caller says what
 * it expects next; what stands there instead is a problem with a JSON pointer. Arrays of numbers go straight into float32. Nothing is built.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_JSON_READER_H
#define API_JSON_READER_H

#include "api.h"

enum { API_JSON_DEPTH = 32 };

typedef enum api_json_type {
    API_JSON_END,
    API_JSON_OBJECT,
    API_JSON_ARRAY,
    API_JSON_STRING,
    API_JSON_NUMBER,
    API_JSON_TRUE,
    API_JSON_FALSE,
    API_JSON_NULL,
    API_JSON_BAD
} api_json_type;

typedef struct api_json_level {
    bool is_array;
    bool first;      /* nothing of it was taken yet */
    bool comma;      /* array: the comma before the next element is taken already */
    bool escaped;    /* object: the key holds escapes */
    size_t index;    /* array: of the current element */
    const char *key; /* object: of the current member, as it stands in the text */
    size_t key_length;
} api_json_level;

typedef struct api_json {
    const char *at, *begin, *end;
    attn_arena *arena;    /* decoded strings */
    api_problem *problem; /* first failure; every call after it returns false at once */
    char *room;           /* for decoded strings: what is left of the last piece of arena */
    size_t room_left;
    int depth;
    api_json_level stack[API_JSON_DEPTH];
} api_json;

void api_json_init(api_json *, const char *text, size_t length, attn_arena *, api_problem *);
/* No problem yet. What tells the end of an array or object from a failure inside it. */
static inline bool api_json_ok(const api_json *j)
{
    return j->problem->code == API_OK;
}
/* What comes next, without taking it. API_JSON_BAD is not yet a problem: taking it is. */
api_json_type api_json_peek(api_json *);

/* Takes '{'. Then api_json_next_key until it returns false: at the end ('}' taken) or on a problem. Duplicate keys are for the caller to see: it knows its
 * fields. */
bool api_json_open_object(api_json *);
bool api_json_next_key(api_json *, attn_text *key);
/* Takes '['. Then, while api_json_next_element, take one value each. */
bool api_json_open_array(api_json *);
bool api_json_next_element(api_json *);

/* Decoded; in the arena, or in the text itself when nothing had to be decoded (so no NUL behind). All decoded strings together take at most twice the text. */
bool api_json_string(api_json *, attn_text *out);
bool api_json_bool(api_json *, bool *out);
bool api_json_null(api_json *);
/* A number; 422 not_finite when it does not fit double (float32: the caller's check). */
bool api_json_double(api_json *, double *out);
/* 2 and 2.0 and 2e0 are the integer 2; a fraction is 400 wrong_type; beyond 64 bits 422 out_of_range. */
bool api_json_int(api_json *, int64_t *out);
/* Between two elements of an array, or before its first: reads numbers into dst while there are any (at most max), leaving the reader where
 * api_json_next_element would look. A number beyond float32 is 422 not_finite. */
bool api_json_floats(api_json *, const attn_runtime *, float *dst, size_t max, size_t *count);
bool api_json_skip(api_json *);   /* any value, checked; takes no memory */
bool api_json_finish(api_json *); /* nothing but white space may follow */

/* Upper bounds, found by looking for brackets and commas alone, on the numbers in the (nested) array that comes next, and on its inner arrays. What is read
 * before a string, an object or the end of the text is within them too, so memory of that size is never overrun. */
void api_json_measure(api_json *, size_t *numbers, size_t *arrays);

/* The pointer of the current position, RFC 6901, into dst. One that does not fit is cut before a '/'. */
void api_json_pointer(const api_json *, char *dst, size_t size);
/* A problem at the current position, with line and column of the byte in the detail for API_INVALID_JSON. Returns false. */
bool api_json_fail(api_json *, api_code, const char *fmt, ...) ATTN_PRINTF(3, 4);
/* The next value is not what `expected` says: 400 wrong_type naming what was found, or invalid_json when it is no value at all. Returns false. */
bool api_json_fail_type(api_json *, const char *expected);
/* Invalid JSON at `at`: what was expected there, and what was found. Returns false. */
bool api_json_fail_syntax(api_json *, const char *at, const char *expected);

#endif
