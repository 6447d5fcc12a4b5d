/* problem.h - every way a request can fail, in one table: code -> HTTP status, title. Nothing else in the program knows an HTTP error number.
 *
 * A problem is the answer of RFC 9457 in the making. The first one wins, like attn_error.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include "attn.h"

/* X(enumerator, stable code, HTTP status) - the codes are part of the contract: listed in openapi.yaml, never renamed. */
#define API_PROBLEMS(X)                                                                                                                                        \
    X(API_INVALID_JSON, "invalid_json", 400)                                                                                                                   \
    X(API_WRONG_TYPE, "wrong_type", 400)                                                                                                                       \
    X(API_UNKNOWN_FIELD, "unknown_field", 400)                                                                                                                 \
    X(API_DUPLICATE_FIELD, "duplicate_field", 400)                                                                                                             \
    X(API_MISSING_FIELD, "missing_field", 400)                                                                                                                 \
    X(API_UNKNOWN_VALUE, "unknown_value", 400)                                                                                                                 \
    X(API_NO_INPUT, "no_input", 400)                                                                                                                           \
    X(API_SEVERAL_INPUTS, "several_inputs", 400)                                                                                                               \
    X(API_FIELD_NOT_APPLICABLE, "field_not_applicable", 400)                                                                                                   \
    X(API_UNSUPPORTED_COMBINATION, "unsupported_combination", 400)                                                                                             \
    X(API_INVALID_BASE64, "invalid_base64", 400)                                                                                                               \
    X(API_UNKNOWN_PARAMETER, "unknown_parameter", 400)                                                                                                         \
    X(API_UNAUTHORIZED, "unauthorized", 401)                                                                                                                   \
    X(API_NOT_FOUND, "not_found", 404)                                                                                                                         \
    X(API_MODEL_NOT_FOUND, "model_not_found", 404)                                                                                                             \
    X(API_METHOD_NOT_ALLOWED, "method_not_allowed", 405)                                                                                                       \
    X(API_NOT_ACCEPTABLE, "not_acceptable", 406)                                                                                                               \
    X(API_REQUEST_TIMEOUT, "request_timeout", 408)                                                                                                             \
    X(API_BODY_TOO_LARGE, "body_too_large", 413)                                                                                                               \
    X(API_BATCH_TOO_LARGE, "batch_too_large", 413)                                                                                                             \
    X(API_TOO_MANY_TOKENS, "too_many_tokens", 413)                                                                                                             \
    X(API_RESPONSE_TOO_LARGE, "response_too_large", 413)                                                                                                       \
    X(API_MEMORY_LIMIT, "memory_limit", 413)                                                                                                                   \
    X(API_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415)                                                                                               \
    X(API_SHAPE_MISMATCH, "shape_mismatch", 422)                                                                                                               \
    X(API_RAGGED_ARRAY, "ragged_array", 422)                                                                                                                   \
    X(API_EMPTY, "empty", 422)                                                                                                                                 \
    X(API_OUT_OF_RANGE, "out_of_range", 422)                                                                                                                   \
    X(API_INDEX_OUT_OF_RANGE, "index_out_of_range", 422)                                                                                                       \
    X(API_EMPTY_SELECTION, "empty_selection", 422)                                                                                                             \
    X(API_TOKEN_ID_OUT_OF_RANGE, "token_id_out_of_range", 422)                                                                                                 \
    X(API_NOT_FINITE, "not_finite", 422)                                                                                                                       \
    X(API_OVERFLOW, "overflow", 422)                                                                                                                           \
    X(API_OUTPUT_NOT_AVAILABLE, "output_not_available", 422)                                                                                                   \
    X(API_UNSUPPORTED_BY_MODEL, "unsupported_by_model", 422)                                                                                                   \
    X(API_NO_TOKENIZER, "no_tokenizer", 422)                                                                                                                   \
    X(API_NO_TOKENS, "no_tokens", 422)                                                                                                                         \
    X(API_TOO_MANY_REQUESTS, "too_many_requests", 429)                                                                                                         \
    X(API_INTERNAL, "internal_error", 500)                                                                                                                     \
    X(API_QUEUE_FULL, "queue_full", 503)                                                                                                                       \
    X(API_TOO_MANY_CONNECTIONS, "too_many_connections", 503)                                                                                                   \
    X(API_LOADING, "loading", 503)                                                                                                                             \
    X(API_DRAINING, "draining", 503)                                                                                                                           \
    X(API_NO_MEMORY, "no_memory", 503)                                                                                                                         \
    X(API_DEADLINE, "deadline_exceeded", 504)

#define API_PROBLEM_ENUM(name, code, status) name,
typedef enum api_code { API_OK = 0, API_PROBLEMS(API_PROBLEM_ENUM) API_CODE_COUNT } api_code;
#undef API_PROBLEM_ENUM

typedef struct api_problem {
    api_code code;
    char detail[512];
    char pointer[256]; /* RFC 6901, "" when no field is concerned; a longer one is cut at a '/' */
    bool has_limit;
    uint64_t limit, need;
    const char *allow; /* 405: the methods, static */
} api_problem;

int api_code_status(api_code);
const char *api_code_name(api_code);
const char *api_status_title(int status); /* RFC 9110's phrase */

/* Records a problem unless one is there; returns false always, so that a check is one line. `pointer` NULL: none. */
bool api_fail(api_problem *, api_code, const char *pointer, const char *fmt, ...) ATTN_PRINTF(4, 5);
bool api_fail_limit(api_problem *, api_code, const char *pointer, uint64_t limit, uint64_t need, const char *fmt, ...) ATTN_PRINTF(6, 7);
/* The problem that a core failure is: one table from attn_status. CANCELLED becomes API_DEADLINE; INTERNAL, FORMAT, IO, UNSUPPORTED become API_INTERNAL, their
 * text kept for the log and left out of the answer. */
bool api_fail_core(api_problem *, const attn_error *, const char *pointer);

/* The application/problem+json body, at most `size` bytes with its NUL; returns its length. request_id may be NULL. size >= 2048 always suffices. */
size_t api_problem_write(const api_problem *, const char *request_id, char *dst, size_t size);

#endif
