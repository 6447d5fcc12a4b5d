/* api_fixture.h - a service with the built-in model, and questions to it in memory.
 *
 * The pool's threads do not survive Check's fork, so the service is made anew for each test.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include "memory_reply.h"
#include "unit.h"

#include <jansson.h>

static attn_runtime *fixture_runtime;
static attn_model *fixture_model;
static api_model fixture_models[1];
static attn_fonts *fixture_fonts;
static api_service service;

static inline void fixture_setup(void)
{
    attn_error err = { 0 };
    const char *const no_folders[] = { NULL };
    ck_assert_msg(attn_runtime_new(&fixture_runtime, &(attn_runtime_options){ .threads = 3 }, &err) == ATTN_OK, "%s", err.text);
    ck_assert_msg(attn_model_open(&fixture_model, fixture_runtime, "builtin:attnd-bert", &err) == ATTN_OK, "%s: %s", err.where, err.text);
    ck_assert_msg(attn_fonts_open(&fixture_fonts, no_folders, &err) == ATTN_OK, "%s", err.text);
    fixture_models[0] = (api_model){ .name = "attnd-bert", .model = fixture_model };
    service = (api_service){
        .runtime = fixture_runtime,
        .models = fixture_models,
        .num_models = 1,
        .limits = { .max_body_bytes = 1 << 24, .max_tokens = 32768, .max_batch = 64, .max_response_bytes = 1 << 28, .max_memory_bytes = 1 << 30 },
        .version = "0",
        .fonts = fixture_fonts,
    };
}

static inline void fixture_teardown(void)
{
    attn_fonts_close(fixture_fonts);
    attn_model_close(fixture_model);
    attn_runtime_free(fixture_runtime);
}

typedef struct answered {
    attn_status status;
    api_code outcome;
    int http;
    size_t length, peak, blocks; /* bytes of body and of arena; blocks at a time */
    uint64_t reserved, compute_ns;
    bool has_length; /* it was told before the first byte */
    json_t *json;    /* NULL: the body is no JSON, or broke off */
    char *body;      /* with a NUL behind; ask_as alone gives it */
} answered;

/* POST, or GET without a body, in the form that `accept` asks for. Free with answered_free. */
static inline answered ask_as(const char *path, const char *accept, const char *body)
{
    memory_reply reply;
    answered a = { 0 };
    reply_init(&reply);
    reply.reserve_limit = service.limits.max_memory_bytes;
    a.status = reply_request_as(&reply, &service, path, accept, body, &a.outcome, &a.peak);
    a.http = reply.head.status;
    a.length = reply.length;
    a.blocks = reply.most_blocks;
    a.reserved = reply.reserved;
    a.compute_ns = reply.stage_ns[API_STAGE_COMPUTE];
    a.has_length = reply.head.has_length;
    if (reply.body)
        a.json = json_loadb(reply.body, reply.length, JSON_ALLOW_NUL, NULL);
    ck_assert_uint_eq(reply.blocks, 0);
    ck_assert(!reply.head.has_length || reply.head.length == reply.length || a.status != ATTN_OK);
    a.body = reply.body;
    return a;
}

static inline void answered_free(answered *a)
{
    json_decref(a->json);
    free(a->body);
}

/* The same in JSON. Free with json_decref(json). */
static inline answered ask(const char *path, const char *body)
{
    answered a = ask_as(path, NULL, body);
    free(a.body);
    a.body = NULL;
    return a;
}

/* The answer to a request that must succeed. */
static inline answered ask_well(const char *path, const char *body)
{
    answered a = ask(path, body);
    ck_assert_msg(a.outcome == API_OK && a.status == ATTN_OK && a.http == 200, "%s for %.200s", api_code_name(a.outcome), body ? body : path);
    ck_assert_ptr_nonnull(a.json);
    return a;
}

/* Members of members: follow(json, "results", "attentions") takes element 0 of arrays on the way. */
static inline json_t *follow(json_t *json, const char *first, const char *second)
{
    json_t *at = json_object_get(json, first);
    if (second && json_is_array(at))
        at = json_array_get(at, 0);
    return second ? json_object_get(at, second) : at;
}

#endif
