/* exchange.c - see exchange.h.
 *
 * libmicrohttpd can queue an answer in two moments only: before the first byte of the body and after the last. An answer that must come between the two (a
 * chunked body that passes the limit, a body that is too slow) is therefore written to the socket by srv_answer_raw, and the connection is closed: the phase
 * SRV_CUT. After it, and after every refusal, the rest of the body is read and thrown away for a while, because a socket closed with unread bytes is reset,
 * and the client would see the reset instead of the answer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "access.h"
#include "answers.h"
#include "compress.h"
#include "log.h"
#include "wire.h"

enum {
    BODY_FIRST_BYTES = 64 << 10,  /* a body's first buffer; it then doubles */
    BODY_AT_ONCE_BYTES = 1 << 20, /* up to this a Content-Length is believed */
    GUEST_BODY_BYTES = 2048       /* a longer body is no guest's: it may have to be read twice */
};

_Static_assert(3 * (API_MEETING_BYTES / API_BLOCK_BYTES) < SRV_PIPE_BLOCKS, "an answer of a meeting waits for nobody, though its blocks be a third full");

static void wake_connection(void *ctx)
{
    srv_exchange *x = ctx;
    x->wake(x->connection);
}

/* Its worker waits for the client: cores and the queue's places are for others meanwhile. */
static void step_aside(void *ctx, bool aside)
{
    srv_exchange *x = ctx;
    if (atomic_load(&x->enqueued_at) == 0)
        return; /* an answer from memory */
    if (aside)
        attn_runtime_leave(x->server->runtime);
    srv_jobs_aside(x->server->jobs, &x->job, aside);
    if (!aside)
        attn_runtime_enter(x->server->runtime);
}

/* A target in absolute form (RFC 9112, 3.2.2) is taken too: a path is all that matters of it. */
static const char *origin_form(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0 && strncasecmp(uri, "https://", 8) != 0)
        return uri;
    const char *authority = strchr(uri, '/') + 2;
    const char *path = authority + strcspn(authority, "/?");
    return *path == '/' ? path : "/";
}

srv_exchange *srv_exchange_new(srv_server *server, const char *uri, bool side)
{
    srv_exchange *x = attn_calloc(1, sizeof *x);
    char *copy = x ? attn_strdup(origin_form(uri)) : NULL;
    if (!copy) {
        attn_free(x);
        return NULL;
    }
    x->refs = 1;
    x->server = server;
    x->side = side;
    x->uri = copy;
    x->arrived_ns = attn_clock_ns();
    x->cancel.deadline_ns = x->arrived_ns + server->options->timeout_ms * 1000000;
    x->request.method = x->request.path = "";
    srv_pipe_init(&x->pipe, &server->blocks, &x->cancel, 0, wake_connection, x);
    x->pipe.aside = step_aside;
    return x;
}

void srv_exchange_hold(srv_exchange *x)
{
    atomic_fetch_add(&x->refs, 1);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------- */

static const char *how_it_ended(srv_exchange *x, int status)
{
    api_code outcome = (api_code)atomic_load(&x->outcome);
    if (status == 0 || atomic_load(&x->cancel.reason) == ATTN_CLIENT_GONE)
        return "client_gone";
    if (outcome != API_OK)
        return api_code_name(outcome);
    if (srv_pipe_get(&x->pipe).end == SRV_PIPE_BROKEN)
        return "broken";
    return atomic_load(&x->torn) ? "client_gone" : "ok";
}

static void write_access_line(srv_exchange *x, const srv_observation *o)
{
    srv_field fields[] = {
        { .name = "method", .text = o->method },
        { .name = "path", .text = x->request.path },
        { .name = "status", .number = (uint64_t)(o->status ? o->status : 499) },
        { .name = "outcome", .text = how_it_ended(x, o->status) },
        { .name = "bytes_in", .number = o->bytes_in },
        { .name = "bytes", .number = o->bytes_out },
        { .name = "duration_ms", .number = o->duration_ns / 1000, .thousandths = true },
        { .name = "request_id", .text = x->request_id },
        { .name = "queue_ms", .number = o->stage_ns[SRV_STAGE_QUEUE] / 1000, .thousandths = true },
        { .name = "tokenize_ms", .number = o->stage_ns[SRV_STAGE_TOKENIZE] / 1000, .thousandths = true },
        { .name = "compute_ms", .number = o->stage_ns[SRV_STAGE_COMPUTE] / 1000, .thousandths = true },
        { .name = "encode_ms", .number = o->stage_ns[SRV_STAGE_ENCODE] / 1000, .thousandths = true },
    };
    size_t count = sizeof fields / sizeof *fields;
    bool quiet = x->route && (x->route->kind == API_HEALTH || x->route->kind == API_READY || x->route->kind == API_METRICS);
    srv_log(quiet ? SRV_DEBUG : SRV_INFO, "request", fields, o->worked ? count : count - 4);
}

static void account_for(srv_exchange *x)
{
    uint64_t ended = atomic_load(&x->ended_ns);
    srv_observation o = {
        .method = x->request.method,
        .route = x->route,
        .status = atomic_load(&x->status),
        .outcome = (api_code)atomic_load(&x->outcome),
        .duration_ns = ended > x->arrived_ns ? ended - x->arrived_ns : 0,
        .worked = atomic_load(&x->worked),
        .stage_ns = { atomic_load(&x->queued_ns), atomic_load(&x->stage_ns[API_STAGE_TOKENIZE]), atomic_load(&x->stage_ns[API_STAGE_COMPUTE]),
                      atomic_load(&x->stage_ns[API_STAGE_ENCODE]) },
        .bytes_in = x->body_bytes,
        .bytes_out = atomic_load(&x->sent_bytes),
        .model = atomic_load(&x->model),
    };
    srv_metrics_observe(&x->server->metrics, &o);
    write_access_line(x, &o);
}

void srv_exchange_free_body(srv_exchange *x)
{
    attn_free(x->body);
    x->body = NULL;
    x->request.body = NULL;
    x->body_capacity = 0;
    srv_budget_release_body(&x->server->budget, &x->account);
}

void srv_exchange_drop(srv_exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    srv_server *server = x->server;
    account_for(x);
    srv_exchange_free_body(x);
    srv_budget_release(&server->budget, &x->account);
    srv_pipe_fini(&x->pipe);
    attn_free(x->text);
    srv_access_leave(x);
    bool counted = x->counted;
    attn_free(x->uri);
    attn_free(x);
    if (counted)
        atomic_fetch_sub(&server->active, 1); /* last of all: the server may go when none is left */
}

void srv_exchange_end(srv_exchange *x, bool well)
{
    srv_watch_remove(&x->server->watch, x);
    atomic_store(&x->ended_ns, attn_clock_ns());
    atomic_store(&x->torn, !well);
    if (srv_pipe_get(&x->pipe).end == SRV_PIPE_OPEN) {
        attn_cancel_raise(&x->cancel, ATTN_CLIENT_GONE);
        srv_budget_wake(&x->server->budget);
    }
    srv_pipe_abandon(&x->pipe);
    if (atomic_load(&x->enqueued_at) > 0 && srv_jobs_remove(x->server->jobs, &x->job))
        srv_exchange_drop(x);
}

/* ---- refusals ------------------------------------------------------------------------------------------------------------ */

static void answer_code(srv_exchange *x, api_code code, const char *detail)
{
    api_problem problem = { .code = API_OK };
    api_fail(&problem, code, NULL, "%s", detail);
    srv_answer_problem(x, &problem);
}

bool srv_exchange_move(srv_exchange *x, srv_phase from, srv_phase to)
{
    int expected = (int)from;
    return atomic_compare_exchange_strong(&x->phase, &expected, (int)to);
}

/* In the middle of a body: answers past libmicrohttpd. `http`: this is the HTTP thread. */
static void cut(srv_exchange *x, srv_phase from, const api_problem *problem, bool http)
{
    if (atomic_load(&x->phase) != (int)from)
        return;
    atomic_store(&x->discard_since_ns, attn_clock_ns()); /* before the phase, at which the watch looks first */
    if (!srv_exchange_move(x, from, SRV_CUT))
        return;
    if (problem)
        srv_answer_problem(x, problem);
    if (http || !srv_wire_defer(x->socket, x))
        srv_answer_raw(x);
}

void srv_exchange_refuse(srv_exchange *x, srv_phase from, api_code code, const char *detail)
{
    api_problem problem = { .code = API_OK };
    api_fail(&problem, code, NULL, "%s", detail);
    cut(x, from, from == SRV_RECEIVING ? &problem : NULL, false); /* who discards has an answer already */
}

void srv_exchange_give_up(srv_exchange *x, api_code code, const char *detail)
{
    if (!srv_jobs_remove(x->server->jobs, &x->job))
        return;
    atomic_store(&x->queued_ns, attn_clock_ns() - atomic_load(&x->enqueued_at));
    if (code == API_OK)
        srv_pipe_finish(&x->pipe, false);
    else
        answer_code(x, code, detail);
    srv_exchange_drop(x); /* the queue's hold; the connection has another */
}

/* ---- the head ------------------------------------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX in place. What does not decode, or to NUL, stays as it is and will match no route. */
static void decode_path(char *path)
{
    char *to = path;
    for (const char *from = path; *from; from++) {
        int high = from[0] == '%' ? hex_digit(from[1]) : -1, low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low >= 0 && high + low > 0) {
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

/* Copies what the job may need after libmicrohttpd has forgotten the request. */
static bool keep_text(srv_exchange *x, const srv_head *head)
{
    const char *from[] = { head->method, x->uri, head->accept, head->content_type, head->content_encoding, head->if_none_match };
    const char *kept[sizeof from / sizeof *from] = { NULL };
    size_t total = 0;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        total += from[i] ? strlen(from[i]) + 1 : 0;
    char *at = x->text = attn_malloc(total);
    if (!at)
        return false;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        if (!from[i])
            continue;
        size_t n = strlen(from[i]) + 1;
        memcpy(at, from[i], n);
        kept[i] = at;
        at += n;
    }
    char *path = x->text + strlen(head->method) + 1, *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    decode_path(path);
    x->request.method = kept[0];
    x->request.path = path;
    x->request.query = query;
    x->request.accept = kept[2];
    x->request.content_type = kept[3];
    x->request.content_encoding = kept[4];
    x->request.if_none_match = kept[5];
    x->request.request_id = x->request_id;
    return true;
}

/* How the body is delimited. False: it is not clear, and guessing would let one request hide in another (request smuggling). */
static bool read_framing(srv_exchange *x, const srv_head *head, api_problem *problem)
{
    x->http11 = strcmp(head->version, "HTTP/1.0") != 0;
    x->at_once = x->http11 && head->expect && strcasecmp(head->expect, "100-continue") == 0;
    if (head->content_length) {
        x->request.has_content_length = true;
        x->request.content_length = strtoull(head->content_length, NULL, 10); /* libmicrohttpd has checked it */
    }
    x->has_body = head->transfer_encoding || x->request.content_length > 0;
    if (head->malformed)
        return api_fail(problem, API_UNKNOWN_VALUE, NULL, "a header has white space in its name or a control character in its value");
    if (head->transfer_encoding && strcasecmp(head->transfer_encoding, "chunked") != 0)
        return api_fail(problem, API_UNKNOWN_VALUE, NULL, "Transfer-Encoding is not known: send chunked, or a Content-Length");
    if (head->transfer_encoding && !x->http11)
        return api_fail(problem, API_UNKNOWN_VALUE, NULL, "HTTP/1.0 knows no Transfer-Encoding: send a Content-Length");
    if (head->num_lengths > 1)
        return api_fail(problem, API_UNKNOWN_VALUE, NULL, "the length of the body is given twice: send one Content-Length, or Transfer-Encoding chunked");
    return true;
}

static bool may_queue(srv_exchange *x, api_problem *problem)
{
    if (atomic_load(&x->server->draining))
        return api_fail(problem, API_DRAINING, NULL, "the server is shutting down");
    if (srv_jobs_full(x->server->jobs))
        return api_fail(problem, API_QUEUE_FULL, NULL, "%" PRIu64 " requests wait already", x->server->options->queue);
    return true;
}

static bool is_own(const api_route *route)
{
    return route->kind == API_HEALTH || route->kind == API_READY || route->kind == API_METRICS;
}

/* For the metrics of requests that are refused: the route whose path was meant. */
static const api_route *route_of(const char *path)
{
    const api_route *route = api_routes();
    while (route->path && strcmp(route->path, path) != 0)
        route++;
    return route->path ? route : NULL;
}

/* Whether a client that wants nothing as it is can have an answer of this route in a coding. Problems are told as they are, whatever it wants. */
static bool check_codings(const srv_exchange *x, const api_route *route, api_problem *problem)
{
    api_form form;
    if (srv_codings_allow(&x->codings, SRV_IDENTITY) || is_own(route))
        return true;
    bool has_forms = strcmp(route->path, "/v1/attention") == 0;
    if (has_forms && !api_form_choose(x->request.accept, x->request.query, &form, problem))
        return false;
    if (srv_codings_choose(&x->codings) == SRV_IDENTITY)
        return api_fail(problem, API_NOT_ACCEPTABLE, NULL, "there are identity, gzip and zstd, and Accept-Encoding excludes all of them");
    if (has_forms && !srv_compress_is_text(form.content_type))
        return api_fail(problem, API_NOT_ACCEPTABLE, NULL, "%s is never compressed, and Accept-Encoding excludes identity", form.content_type);
    return true;
}

static bool check(srv_exchange *x, const char *authorization, api_problem *problem)
{
    srv_server *s = x->server;
    const api_route *route = NULL;
    bool fine = srv_access_enter(x, authorization, problem) && api_check(&s->service, &x->request, &route, problem);
    if (!fine)
        return false;
    x->route = route;
    if (x->side && !is_own(route))
        return api_fail(problem, API_NOT_FOUND, NULL, "this port has /metrics, /healthz and /readyz alone");
    if (!is_own(route) && atomic_load(&s->connections) > s->options->max_connections) {
        x->must_close = true;
        return api_fail(problem, API_TOO_MANY_CONNECTIONS, NULL, "%" PRIu64 " connections are open already", s->options->max_connections);
    }
    return check_codings(x, route, problem) && (route->kind != API_WORK || (may_queue(x, problem) && srv_access_begin(x, problem)));
}

/* How handling a request ended. */
typedef struct handled {
    attn_status status;
    api_code outcome;
    attn_error error;
    bool declined; /* a guest's: it is to be handled again */
} handled;

/* api's answer, compressed if that is welcome. */
static handled run(srv_exchange *x, attn_arena *arena, api_meeting *meeting)
{
    handled h = { .outcome = API_OK };
    srv_server *s = x->server;
    srv_compress compress;
    api_reply pipe = srv_reply(x), reply = srv_compress_open(&compress, &pipe, &x->codings, &s->budget);
    api_worker worker = { .arena = arena, .cancel = &x->cancel, .meeting = meeting, .is_guest = x->job.guest };
    h.status = api_handle(&s->service, &x->request, x->route, &worker, &reply, &h.outcome, &h.error);
    h.declined = worker.declined;
    atomic_store(&x->model, worker.model);
    if (h.status == ATTN_OK)
        h.status = srv_compress_end(&compress);
    if (h.status == ATTN_E_NOMEM && h.outcome == API_OK && reply.recall(reply.ctx)) {
        api_problem problem = { .code = API_OK };
        api_fail(&problem, h.outcome = API_NO_MEMORY, NULL, "no memory for the answer");
        h.status = api_send_problem(&problem, x->request_id, &pipe);
    }
    srv_compress_close(&compress);
    return h;
}

static void answer_inline(srv_exchange *x)
{
    attn_arena *arena = attn_arena_new();
    handled h = run(x, arena, NULL);
    attn_arena_free(arena);
    atomic_store(&x->outcome, (int)h.outcome);
    srv_pipe_finish(&x->pipe, h.status == ATTN_OK);
}

/* Fills the pipe, or says that a worker must. */
static bool answer_now(srv_exchange *x, bool framed, const char *authorization, api_problem *problem)
{
    x->route = route_of(x->request.path);
    bool options = framed && strcmp(x->request.method, "OPTIONS") == 0 && !x->side;
    if (!framed || (!options && !check(x, authorization, problem)))
        srv_answer_problem(x, problem);
    else if (options)
        srv_answer_options(x);
    else if (is_own(x->route))
        srv_answer_own(x);
    else if (x->route->kind == API_INLINE)
        answer_inline(x);
    else
        return false;
    return true;
}

void srv_exchange_head(srv_exchange *x, const srv_head *head)
{
    api_problem problem = { .code = API_OK };
    atomic_fetch_add(&x->server->active, 1);
    x->counted = true;
    srv_request_id(x->request_id, head->request_id);
    x->codings = head->codings;
    x->origin = srv_allowed_origin(&x->server->options->cors_origins, head->origin);
    if (!keep_text(x, head)) {
        atomic_store(&x->phase, SRV_CUT);
        return;
    }
    bool framed = read_framing(x, head, &problem);
    x->must_close = !framed;
    x->at_once |= !framed;
    bool answered = answer_now(x, framed, head->authorization, &problem);
    if (!answered)
        x->pipe.capacity = SRV_PIPE_BLOCKS; /* from now on another thread fills it */
    else if (x->has_body && !srv_answer_fits_raw(x))
        x->at_once = x->must_close = true; /* too long for cut(), should the body never end */
    atomic_store(&x->discard_since_ns, attn_clock_ns());
    atomic_store(&x->phase, answered ? SRV_DISCARDING : SRV_RECEIVING);
    if (answered && x->has_body && !x->at_once && x->request.content_length > SRV_DISCARD_BYTES)
        cut(x, SRV_DISCARDING, NULL, true);
}

/* ---- the body ------------------------------------------------------------------------------------------------------------ */

static size_t next_capacity(const srv_exchange *x, size_t need)
{
    uint64_t known = x->request.has_content_length ? x->request.content_length : 0;
    if (x->body_capacity == 0 && known > 0 && known <= BODY_AT_ONCE_BYTES && need <= known)
        return (size_t)known;
    size_t capacity = x->body_capacity < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : x->body_capacity * 2;
    while (capacity < need)
        capacity *= 2;
    return known >= need && capacity > known ? (size_t)known : capacity;
}

static bool make_room(srv_exchange *x, size_t need)
{
    if (need <= x->body_capacity)
        return true;
    size_t capacity = next_capacity(x, need);
    if (!srv_budget_try(&x->server->budget, &x->account, capacity - x->body_capacity))
        return false;
    char *grown = attn_realloc(x->body, capacity);
    if (!grown)
        return false; /* what was charged is released with the body */
    x->body = grown;
    x->body_capacity = capacity;
    return true;
}

/* No room for `need` bytes of body: now, or ever. */
static void fail_room(const srv_exchange *x, size_t need, api_problem *problem)
{
    uint64_t limit = x->server->service.limits.max_memory_bytes, capacity = next_capacity(x, need);
    if (capacity > limit)
        api_fail_limit(problem, API_MEMORY_LIMIT, NULL, limit, capacity, "the body alone takes more than the %" PRIu64 " bytes of memory that are allowed",
                       limit);
    else
        api_fail(problem, API_NO_MEMORY, NULL, "there is no memory for this body now");
}

static void keep_bytes(srv_exchange *x, const char *bytes, size_t n)
{
    api_problem problem = { .code = API_OK };
    size_t have = x->request.body_length;
    uint64_t limit = x->server->service.limits.max_body_bytes;
    if (have + n > limit) {
        api_fail_limit(&problem, API_BODY_TOO_LARGE, NULL, limit, have + n, "the body has more than %" PRIu64 " bytes", limit);
    } else if (!make_room(x, have + n)) {
        fail_room(x, have + n, &problem);
    } else {
        memcpy(x->body + have, bytes, n);
        x->request.body_length = have + n;
        return;
    }
    cut(x, SRV_RECEIVING, &problem, true);
    srv_exchange_free_body(x);
}

bool srv_exchange_body(srv_exchange *x, const char *bytes, size_t n)
{
    x->body_bytes += n;
    if (atomic_load(&x->phase) == SRV_RECEIVING) {
        keep_bytes(x, bytes, n);
        return true;
    }
    uint64_t discarded = x->body_bytes - x->request.body_length;
    if (discarded > SRV_DISCARD_BYTES && atomic_load(&x->phase) == SRV_DISCARDING)
        cut(x, SRV_DISCARDING, NULL, true);
    return discarded <= 2 * (uint64_t)SRV_DISCARD_BYTES; /* the watch keeps the time */
}

void srv_exchange_complete(srv_exchange *x)
{
    api_problem problem = { .code = API_OK };
    if (!srv_exchange_move(x, SRV_RECEIVING, SRV_WAITING))
        return;
    x->request.body = x->body;
    x->request.held_bytes = x->body_capacity;
    atomic_store(&x->enqueued_at, attn_clock_ns());
    srv_exchange_hold(x);
    if (may_queue(x, &problem) && srv_jobs_put(x->server->jobs, &x->job))
        return;
    srv_exchange_drop(x);
    if (problem.code == API_OK)
        api_fail(&problem, API_QUEUE_FULL, NULL, "%" PRIu64 " requests wait already", x->server->options->queue);
    srv_answer_problem(x, &problem);
    atomic_store(&x->discard_since_ns, attn_clock_ns());
    atomic_store(&x->phase, SRV_DISCARDING);
}

/* ---- the work ------------------------------------------------------------------------------------------------------------ */

static void log_failure(const srv_exchange *x, const attn_error *error)
{
    srv_field fields[] = { { .name = "request_id", .text = x->request_id },
                           { .name = "where", .text = error->where },
                           { .name = "message", .text = error->text } };
    srv_log(SRV_ERROR, "internal_error", fields, sizeof fields / sizeof *fields);
}

/* In a meeting: the host's exchange and arena. */
typedef struct meeting {
    api_meeting api;
    srv_exchange *host;
    attn_arena *arena;
} meeting;

static handled handle(srv_exchange *x, meeting *m)
{
    srv_server *s = x->server;
    bool is_host = !x->job.guest; /* a guest's thread is in the runtime already */
    if (is_host)
        attn_runtime_enter(s->runtime);
    handled h = run(x, m->arena, &m->api);
    if (is_host)
        attn_runtime_leave(s->runtime);
    bool ours = h.outcome == API_INTERNAL || (h.status != ATTN_OK && h.status != ATTN_E_CANCELLED);
    if (ours && h.error.code != ATTN_OK)
        log_failure(x, &h.error);
    return h;
}

static uint64_t end_wait(srv_exchange *x)
{
    uint64_t waited = attn_clock_ns() - atomic_load(&x->enqueued_at);
    atomic_store(&x->queued_ns, waited > 0 ? waited : 1);
    return waited;
}

/* False: a guest that declined. */
static bool work(srv_exchange *x, meeting *m)
{
    x->request.queued_ns = end_wait(x);
    atomic_store(&x->worked, true);
    handled h = handle(x, m);
    if (h.declined)
        return false;
    bool gone = atomic_load(&x->cancel.reason) == ATTN_CLIENT_GONE; /* then what api made of it is nobody's problem */
    atomic_store(&x->outcome, gone ? API_OK : (int)h.outcome);
    srv_exchange_free_body(x);
    srv_budget_release(&x->server->budget, &x->account);
    srv_access_done(x);
    srv_jobs_over(x->server->jobs, &x->job); /* before the client can know, and send the next */
    srv_pipe_finish(&x->pipe, h.status == ATTN_OK);
    return true;
}

/* ---- guests: requests that wait, in one run with one that is small (api_meeting) ------------------------------------------ */

static bool may_be_guest(srv_job *job)
{
    srv_exchange *x = (srv_exchange *)(void *)job;
    return x->request.body_length <= GUEST_BODY_BYTES && strcmp(x->route->path, "/v1/attention") == 0 && !attn_cancelled(&x->cancel);
}

static bool work_as_guest(srv_exchange *x, meeting *m)
{
    attn_arena_mark mark = attn_arena_save(m->arena);
    srv_pipe_set_roomy(&x->pipe, true); /* whoever waits for a client keeps the others waiting */
    bool done = work(x, m);
    if (!done) {
        srv_pipe_set_roomy(&x->pipe, false);
        srv_budget_release_reserved(&x->server->budget, &x->account);
    }
    attn_arena_rewind(m->arena, mark);
    return done;
}

static void call_guests(void *ctx)
{
    meeting *m = ctx;
    srv_jobs *jobs = m->host->server->jobs;
    srv_job *job;
    srv_pipe_set_roomy(&m->host->pipe, true);
    while (!m->api.done && (job = srv_jobs_join(jobs, &m->host->job, may_be_guest))) {
        srv_exchange *x = (srv_exchange *)(void *)job;
        if (!work_as_guest(x, m)) {
            srv_jobs_put_back(jobs, job);
            break;
        }
        srv_exchange_drop(x);
    }
}

void srv_exchange_work(void *server, srv_job *job, attn_arena *arena)
{
    srv_exchange *x = (srv_exchange *)(void *)job;
    meeting m = { .api = { .ctx = &m, .more = call_guests }, .host = x, .arena = arena };
    (void)server;
    if (attn_cancelled(&x->cancel)) {
        bool stopping = atomic_load(&x->cancel.reason) == ATTN_SHUTDOWN;
        (void)end_wait(x);
        srv_jobs_over(x->server->jobs, job);
        answer_code(x, stopping ? API_DRAINING : API_DEADLINE,
                    stopping ? "the server is shutting down" : "the request's time was over before a worker was free");
    } else {
        (void)work(x, &m);
    }
    srv_exchange_drop(x);
}
