/* memory_reply.h - an api_reply that is a buffer, and a request to api_handle in memory: no sockets, no threads but the pool's.
 *
 * It counts what a server would have to hold, and can be told to fail: to have no blocks, no memory to reserve, a client that goes away.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_REPLY_H
#define MEMORY_REPLY_H

#include "api.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct memory_reply {
    api_reply reply;
    api_head head;
    int starts;
    char *body; /* with a NUL behind */
    size_t length, capacity;
    size_t gives;
    size_t gone_after;                  /* gives until the client is gone; 0: never */
    _Atomic size_t blocks, most_blocks; /* taken and not given back yet */
    uint64_t reserved, reserve_limit;
    uint64_t stage_ns[API_STAGE_COUNT];
} memory_reply;

static attn_status reply_start(void *ctx, const api_head *head)
{
    memory_reply *r = ctx;
    r->head = *head;
    r->starts++;
    return ATTN_OK;
}

static api_block *reply_take(void *ctx)
{
    memory_reply *r = ctx;
    api_block *block = attn_malloc(sizeof *block);
    if (!block)
        return NULL;
    block->next = NULL;
    block->used = 0;
    size_t now = atomic_fetch_add(&r->blocks, 1) + 1, most = atomic_load(&r->most_blocks);
    while (now > most && !atomic_compare_exchange_weak(&r->most_blocks, &most, now))
        continue;
    return block;
}

static void reply_drop(void *ctx, api_block *block)
{
    memory_reply *r = ctx;
    atomic_fetch_sub(&r->blocks, 1);
    attn_free(block);
}

static attn_status reply_give(void *ctx, api_block *block)
{
    memory_reply *r = ctx;
    bool gone = r->gone_after > 0 && r->gives >= r->gone_after;
    if (!gone) {
        while (r->length + block->used + 1 > r->capacity) {
            r->capacity = 2 * r->capacity + sizeof *block;
            r->body = realloc(r->body, r->capacity);
        }
        memcpy(r->body + r->length, block->data, block->used);
        r->length += block->used;
        r->body[r->length] = '\0';
        r->gives++;
    }
    reply_drop(r, block);
    return gone ? ATTN_E_CANCELLED : ATTN_OK;
}

static attn_status reply_reserve(void *ctx, uint64_t bytes)
{
    memory_reply *r = ctx;
    if (r->reserve_limit > 0 && (bytes > r->reserve_limit || r->reserved > r->reserve_limit - bytes))
        return ATTN_E_LIMIT;
    r->reserved += bytes;
    return ATTN_OK;
}

static void reply_stage(void *ctx, api_stage stage, uint64_t ns)
{
    memory_reply *r = ctx;
    r->stage_ns[stage] += ns;
}

static inline void reply_init(memory_reply *r)
{
    memset(r, 0, sizeof *r);
    r->reply = (api_reply){
        .ctx = r,
        .start = reply_start,
        .take = reply_take,
        .give = reply_give,
        .drop = reply_drop,
        .reserve = reply_reserve,
        .stage = reply_stage,
    };
}

static inline void reply_free(memory_reply *r)
{
    free(r->body);
    r->body = NULL;
}

/* A request checked and handled as the server would. Returns api_handle's status; *peak is the arena's. */
static inline attn_status reply_handle(memory_reply *r, const api_service *service, const api_request *request, attn_cancel *cancel, api_code *outcome,
                                       size_t *peak)
{
    attn_error err = { 0 };
    api_problem problem = { 0 };
    const api_route *route;
    if (!api_check(service, request, &route, &problem)) {
        *outcome = problem.code;
        return api_send_problem(&problem, "test", &r->reply);
    }
    api_worker worker = { .arena = attn_arena_new(), .cancel = cancel };
    if (!worker.arena)
        return ATTN_E_NOMEM;
    attn_runtime_enter(service->runtime);
    attn_status st = api_handle(service, request, route, &worker, &r->reply, outcome, &err);
    attn_runtime_leave(service->runtime);
    if (peak)
        *peak = attn_arena_peak(worker.arena);
    attn_arena_free(worker.arena);
    return st;
}

/* POST path body, or GET path when body is NULL; accept may be NULL. "/v1/attention?scale=log" has a query. */
static inline attn_status reply_request_as(memory_reply *r, const api_service *service, const char *path, const char *accept, const char *body,
                                           api_code *outcome, size_t *peak)
{
    attn_cancel cancel = { 0 };
    char head[256];
    size_t length = strcspn(path, "?");
    memcpy(head, path, length);
    head[length] = '\0';
    api_request request = {
        .method = body ? "POST" : "GET", .path = head, .query = path[length] ? path + length + 1 : NULL, .accept = accept, .request_id = "test"
    };
    request.body = body;
    request.body_length = body ? strlen(body) : 0;
    return reply_handle(r, service, &request, &cancel, outcome, peak);
}

static inline attn_status reply_request(memory_reply *r, const api_service *service, const char *path, const char *body, api_code *outcome, size_t *peak)
{
    return reply_request_as(r, service, path, NULL, body, outcome, peak);
}

#endif
