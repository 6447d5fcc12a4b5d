/* request_case.h - what the tests of requests share: a service without models, and reading a body given as text.
 *
 * Quotes in bodies are written as ' and turned into " (no body here needs a real one).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef REQUEST_CASE_H
#define REQUEST_CASE_H

#include <stdio.h>
#include <string.h>

#include "request.h"
#include "unit.h"

typedef struct request_case {
    attn_arena *arena;
    api_service service;
    api_form form; /* of the answer; JSON until a test chooses another */
    api_problem problem;
    api_attention_request req;
    api_operator_shape shape;
    char *body;
} request_case;

static inline void case_begin(request_case *c)
{
    memset(c, 0, sizeof *c);
    attn_error err = { 0 };
    c->arena = attn_arena_new();
    c->service.limits = (api_limits){ .max_tokens = 32768, .max_batch = 64 };
    ck_assert_int_eq(attn_runtime_new(&c->service.runtime, &(attn_runtime_options){ .threads = 1 }, &err), ATTN_OK);
    ck_assert_ptr_nonnull(c->arena);
    ck_assert(api_form_choose(NULL, NULL, &c->form, &c->problem));
}

static inline void case_end(request_case *c)
{
    attn_arena_free(c->arena);
    attn_runtime_free(c->service.runtime);
    free(c->body);
}

/* Reads `length` bytes exactly, from memory of that size, so that a sanitizer sees a byte too far. */
static inline bool case_read_bytes(request_case *c, const char *bytes, size_t length)
{
    free(c->body);
    c->body = malloc(length ? length : 1);
    memcpy(c->body, bytes, length);
    attn_arena_reset(c->arena, 1 << 20);
    memset(&c->problem, 0, sizeof c->problem);
    memset(&c->req, 0, sizeof c->req);
    memset(&c->shape, 0, sizeof c->shape);
    if (!api_read_attention(&c->service, &c->form, c->body, length, c->arena, &c->req, &c->problem))
        return false;
    if (c->req.kind == API_INPUT_EMBEDDINGS || c->req.kind == API_INPUT_QKV)
        return api_check_operator(&c->req, &c->shape, &c->problem) && api_check_available(&c->req, NULL, &c->shape, &c->problem);
    return true;
}

static inline bool case_read(request_case *c, const char *quoted)
{
    char *json = strdup(quoted);
    for (char *p = json; *p; p++)
        if (*p == '\'')
            *p = '"';
    bool ok = case_read_bytes(c, json, strlen(json));
    free(json);
    return ok;
}

static inline void case_accepts(request_case *c, const char *quoted)
{
    bool ok = case_read(c, quoted);
    ck_assert_msg(ok, "%s: %s at %s: %s", quoted, api_code_name(c->problem.code), c->problem.pointer, c->problem.detail);
}

static inline void case_refuses(request_case *c, const char *quoted, api_code code, const char *pointer)
{
    ck_assert_msg(!case_read(c, quoted), "accepted: %s", quoted);
    ck_assert_msg(c->problem.code == code && strcmp(c->problem.pointer, pointer) == 0, "%s: %s at %s: %s", quoted, api_code_name(c->problem.code),
                  c->problem.pointer, c->problem.detail);
}

#endif
