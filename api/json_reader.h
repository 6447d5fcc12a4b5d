/* json_reader.h - a small strict pull reader: JSON text in, one value at a time out, with the path it is at.
 *
 * RFC 8259 to the letter: UTF-8 only, no BOM, no NaN, no lone surrogates, nothing behind the value; depth at most API_JSON_DEPTH. The caller says what
 * it expects next; what stands there instead is a problem with a JSON pointer. Arrays of numbers go straight into float32. Nothing is built.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_JSON_READER_H
#define API_JSON_READER_H

#include "api.h"

enum { API_JSON_DEPTH = 32 };

typedef enum api_json_type { API_JSON_END, API_JSON_OBJECT, API_JSON_ARRAY, API_JSON_STRING, API_JSON_NUMBER, API_JSON_TRUE, API_JSON_FALSE, API_JSON_NULL, API_JSON_BAD } api_json_type;

typedef struct api_json {
    const char *at, *begin, *end;
    attn_arena *arena; /* decoded strings */
    api_problem *problem; /* first failure; every call after it returns false at once */
    int depth;
    struct {
        bool is_array, first;
        size_t index;    /* array: of the current element */
        const char *key; /* object: of the current member, decoded */
        size_t key_length;
    } stack[API_JSON_DEPTH];
} api_json;

void api_json_init(api_json *, const char *text, size_t length, attn_arena *, api_problem *);
/* What comes next, without taking it. API_JSON_BAD is not yet a problem: taking it is. */
api_json_type api_json_peek(api_json *);

/* Takes '{'. Then api_json_next_key until it returns false: at the end ('}' taken) or on a problem. Duplicate keys are for the caller to see (it knows its fields). */
bool api_json_open_object(api_json *);
bool api_json_next_key(api_json *, attn_text *key);
/* Takes '['. Then, while api_json_next_element, take one value each. */
bool api_json_open_array(api_json *);
bool api_json_next_element(api_json *);

bool api_json_string(api_json *, attn_text *out); /* decoded, with a NUL behind; in the arena, or in the text itself when nothing had to be decoded */
bool api_json_bool(api_json *, bool *out);
bool api_json_null(api_json *);
/* A number; 422 not_finite when it does not fit double (float32: the caller's check). */
bool api_json_double(api_json *, double *out);
/* 2 and 2.0 and 2e0 are the integer 2; a fraction is 400 wrong_type; beyond 64 bits 422 out_of_range. */
bool api_json_int(api_json *, int64_t *out);
/* Inside an array that was just opened: reads numbers into dst while there are any (at most max), leaving the reader where api_json_next_element would look. */
bool api_json_floats(api_json *, const attn_runtime *, float *dst, size_t max, size_t *count);
bool api_json_skip(api_json *); /* any value, checked */
bool api_json_finish(api_json *); /* nothing but white space may follow */

/* The pointer of the current position, RFC 6901, into dst. */
void api_json_pointer(const api_json *, char *dst, size_t size);
/* A problem at the current position, with line and column of the byte in the detail for API_INVALID_JSON. Returns false. */
bool api_json_fail(api_json *, api_code, const char *fmt, ...) ATTN_PRINTF(3, 4);

#endif
