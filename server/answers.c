/* answers.c - see answers.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "answers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "access.h"
#include "out.h"
#include "wire.h"

/* ---- the reply of an exchange --------------------------------------------------------------------------------------------- */

static attn_status reserve(void *ctx, uint64_t bytes)
{
    srv_pipe *pipe = ctx;
    srv_exchange *x = pipe->ctx;
    if (x->job.guest) /* its host holds some as well: two that wait for each other would wait forever */
        return srv_budget_reserve_now(&x->server->budget, &x->account, bytes);
    return srv_budget_reserve(&x->server->budget, &x->account, bytes, &x->cancel);
}

static void body_read(void *ctx)
{
    srv_pipe *pipe = ctx;
    srv_exchange_free_body(pipe->ctx);
}

static void stage(void *ctx, api_stage which, uint64_t ns)
{
    srv_pipe *pipe = ctx;
    srv_exchange *x = pipe->ctx;
    atomic_fetch_add(&x->stage_ns[which], ns);
}

api_reply srv_reply(srv_exchange *x)
{
    return (api_reply){ .ctx = &x->pipe,
                        .start = srv_pipe_start,
                        .take = srv_pipe_take,
                        .give = srv_pipe_give,
                        .recall = srv_pipe_recall,
                        .drop = srv_pipe_drop,
                        .reserve = reserve,
                        .body_read = body_read,
                        .stage = stage };
}

void srv_answer_problem(srv_exchange *x, const api_problem *problem)
{
    api_reply reply = srv_reply(x);
    srv_access_done(x);
    atomic_store(&x->outcome, (int)problem->code);
    attn_status status = api_send_problem(problem, x->request_id, &reply);
    srv_pipe_finish(&x->pipe, status == ATTN_OK);
}

void srv_answer_options(srv_exchange *x)
{
    const char *allow = strcmp(x->request.path, "*") == 0 ? "GET, HEAD, POST, OPTIONS" : api_allow(x->request.path);
    if (!allow) {
        api_problem problem = { .code = API_OK };
        api_fail(&problem, API_NOT_FOUND, NULL, "there is nothing at this path");
        srv_answer_problem(x, &problem);
        return;
    }
    api_head head = { .status = 204, .has_length = true, .allow = allow };
    srv_pipe_finish(&x->pipe, srv_pipe_start(&x->pipe, &head) == ATTN_OK);
}

static void answer_text(srv_exchange *x, const char *type, const char *text)
{
    api_reply reply = srv_reply(x);
    api_out out;
    api_out_init(&out, &reply, (api_head){ .status = 200, .content_type = type });
    api_out_string(&out, text);
    srv_pipe_finish(&x->pipe, api_out_end(&out) == ATTN_OK);
}

static void answer_ready(srv_exchange *x)
{
    api_code state = srv_server_state(x->server);
    api_problem problem = { .code = API_OK };
    if (state == API_OK) {
        answer_text(x, "application/json", "{\"status\":\"ready\"}");
        return;
    }
    const char *why = state == API_DRAINING ? "the server is shutting down" : "a worker has made no progress since its request's deadline";
    api_fail(&problem, state == API_DRAINING ? API_DRAINING : API_LOADING, NULL, "%s", why);
    srv_answer_problem(x, &problem);
}

static void answer_metrics(srv_exchange *x)
{
    api_reply reply = srv_reply(x);
    api_out out;
    api_out_init(&out, &reply, (api_head){ .status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8" });
    srv_metrics_write(x->server, &out);
    srv_pipe_finish(&x->pipe, api_out_end(&out) == ATTN_OK);
}

void srv_answer_own(srv_exchange *x)
{
    if (x->route->kind == API_HEALTH)
        answer_text(x, "application/json", "{\"status\":\"ok\"}");
    else if (x->route->kind == API_READY)
        answer_ready(x);
    else
        answer_metrics(x);
}

/* ---- headers ------------------------------------------------------------------------------------------------------------- */

void srv_request_id(char out[SRV_ID_BYTES], const char *asked)
{
    size_t n = asked ? strlen(asked) : 0;
    bool sane = n > 0 && n < SRV_ID_BYTES;
    for (size_t i = 0; sane && i < n; i++)
        sane = asked[i] > ' ' && asked[i] < 0x7f;
    if (sane) {
        memcpy(out, asked, n + 1);
        return;
    }
    unsigned char bytes[16] = { 0 };
    ssize_t got = getrandom(bytes, sizeof bytes, 0);
    if (got < (ssize_t)sizeof bytes) {
        uint64_t now = attn_clock_ns(); /* no randomness to be had: distinct is enough */
        memcpy(bytes, &now, sizeof now);
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

const char *srv_allowed_origin(const srv_list *allowed, const char *origin)
{
    for (size_t i = 0; origin && i < allowed->count; i++) {
        if (strcmp(allowed->items[i], "*") == 0)
            return "*";
        if (strcmp(allowed->items[i], origin) == 0)
            return allowed->items[i];
    }
    return NULL;
}

/* What else the answer depends on, also where it was not sent: a cache must not mix the two. */
static void emit_vary(srv_exchange *x, const api_head *head, srv_emit emit, void *ctx)
{
    const srv_list *allowed = &x->server->options->cors_origins;
    bool origin = allowed->count > 0 && !srv_allowed_origin(allowed, "*");
    bool forms = x->route && (x->route->kind == API_WORK || x->route->kind == API_INLINE) && head->status != 204;
    if (forms || origin)
        emit(ctx, "Vary", !forms ? "Origin" : origin ? "Accept, Accept-Encoding, Origin" : "Accept, Accept-Encoding");
}

static void emit_cors(srv_exchange *x, bool options, srv_emit emit, void *ctx)
{
    if (!x->origin)
        return;
    emit(ctx, "Access-Control-Allow-Origin", x->origin);
    emit(ctx, "Access-Control-Expose-Headers", "X-Request-Id, Server-Timing, Retry-After");
    if (options) {
        emit(ctx, "Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
        emit(ctx, "Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id");
        emit(ctx, "Access-Control-Max-Age", "600");
    }
}

static size_t add_time(char *dst, size_t size, size_t at, const char *name, uint64_t ns)
{
    int n = snprintf(dst + at, size - at, "%s%s;dur=%" PRIu64 ".%03" PRIu64, at ? ", " : "", name, ns / 1000000, ns / 1000 % 1000);
    return at + (size_t)n;
}

size_t srv_server_timing(srv_exchange *x, bool all, bool last, char *dst, size_t size)
{
    size_t at = 0;
    if (all) {
        at = add_time(dst, size, at, "queue", atomic_load(&x->queued_ns));
        at = add_time(dst, size, at, "tokenize", atomic_load(&x->stage_ns[API_STAGE_TOKENIZE]));
    }
    if (last) {
        at = add_time(dst, size, at, "compute", atomic_load(&x->stage_ns[API_STAGE_COMPUTE]));
        at = add_time(dst, size, at, "encode", atomic_load(&x->stage_ns[API_STAGE_ENCODE]));
    }
    return at;
}

/* Nothing here may be kept by a cache but what comes from memory and changes only with the program, and even that only when it asks each time. */
static const char *cache_rule(const srv_exchange *x, const api_head *head)
{
    bool fixed = x->route && x->route->kind == API_INLINE && (head->status == 200 || head->status == 304);
    return fixed ? "no-cache" : "no-store";
}

void srv_headers(srv_exchange *x, const api_head *head, bool final, srv_emit emit, void *ctx)
{
    char timing[256];
    if (head->content_type)
        emit(ctx, "Content-Type", head->content_type);
    if (head->content_encoding)
        emit(ctx, "Content-Encoding", head->content_encoding);
    emit(ctx, "X-Request-Id", x->request_id);
    srv_server_timing(x, true, final, timing, sizeof timing);
    emit(ctx, "Server-Timing", timing);
    emit(ctx, "Cache-Control", cache_rule(x, head));
    emit(ctx, "X-Content-Type-Options", "nosniff");
    if (head->etag)
        emit(ctx, "ETag", head->etag);
    if (head->policy) {
        emit(ctx, "Content-Security-Policy", head->policy);
        emit(ctx, "Referrer-Policy", "no-referrer");
    }
    if (head->allow)
        emit(ctx, "Allow", head->allow);
    if (head->status == 401)
        emit(ctx, "WWW-Authenticate", "Bearer");
    if (head->retry || head->status == 503 || head->status == 429)
        emit(ctx, "Retry-After", atomic_load(&x->server->draining) ? "5" : "1");
    emit_vary(x, head, emit, ctx);
    emit_cors(x, head->status == 204, emit, ctx);
    if (x->must_close || atomic_load(&x->server->draining))
        emit(ctx, "Connection", "close");
}

/* ---- past libmicrohttpd --------------------------------------------------------------------------------------------------- */

enum { RAW_BODY_BYTES = 4096 };

typedef struct raw_text {
    char bytes[2 * RAW_BODY_BYTES];
    size_t used;
} raw_text;

static void raw_add(raw_text *raw, const char *s, size_t n)
{
    if (n <= sizeof raw->bytes - raw->used) {
        memcpy(raw->bytes + raw->used, s, n);
        raw->used += n;
    }
}

static void raw_line(void *ctx, const char *name, const char *value)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%s: %s\r\n", name, value);
    if (n > 0 && (size_t)n < sizeof line)
        raw_add(ctx, line, (size_t)n);
}

static void never_parked(void *ctx)
{
    (void)ctx; /* a finished pipe parks nobody */
}

bool srv_answer_fits_raw(srv_exchange *x)
{
    return srv_pipe_get(&x->pipe).given <= RAW_BODY_BYTES;
}

void srv_answer_raw(srv_exchange *x)
{
    srv_pipe_state state = srv_pipe_get(&x->pipe);
    char body[RAW_BODY_BYTES], length[24];
    if (state.end != SRV_PIPE_COMPLETE || state.given > sizeof body)
        return;
    raw_text raw = { .used = 0 };
    api_head head = x->pipe.head; /* complete: nobody writes it any more */
    ssize_t n = srv_pipe_read(&x->pipe, body, sizeof body, never_parked);
    size_t body_bytes = n > 0 && strcmp(x->request.method, "HEAD") != 0 ? (size_t)n : 0;
    char first[128];
    raw_add(&raw, first, (size_t)snprintf(first, sizeof first, "HTTP/1.1 %d %s\r\n", head.status, api_status_title(head.status)));
    x->must_close = true;
    srv_headers(x, &head, true, raw_line, &raw);
    snprintf(length, sizeof length, "%" PRIu64, state.given);
    raw_line(&raw, "Content-Length", length);
    raw_add(&raw, "\r\n", 2);
    raw_add(&raw, body, body_bytes);
    ssize_t sent = srv_wire_send(x->socket, x->fd, raw.bytes, raw.used);
    atomic_store(&x->status, sent == (ssize_t)raw.used ? head.status : 0);
    atomic_store(&x->sent_bytes, body_bytes);
}
