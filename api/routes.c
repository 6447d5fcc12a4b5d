/* routes.c - which paths there are, what the head of a request must say, and from route to handler and problem.
 * SPDX-License-Identifier: Apache-2.0 */
#include "handlers.h"
#include "media.h"

#include <stdio.h>
#include <string.h>

enum { ATTENTION, TOKENIZE, ESTIMATE, MODELS, MODEL, OPENAPI_JSON, OPENAPI_YAML, DOCS, EXPLORER, EXPLORER_FILE, HEALTHZ, READYZ, METRICS, NUM_ROUTES };

static const api_route routes[NUM_ROUTES + 1] = {
    [ATTENTION] = { "POST", "/v1/attention", API_WORK },
    [TOKENIZE] = { "POST", "/v1/tokenize", API_WORK },
    [ESTIMATE] = { "POST", "/v1/estimate", API_WORK },
    [MODELS] = { "GET", "/v1/models", API_INLINE },
    [MODEL] = { "GET", "/v1/models/{name}", API_INLINE },
    [OPENAPI_JSON] = { "GET", "/openapi.json", API_INLINE },
    [OPENAPI_YAML] = { "GET", "/openapi.yaml", API_INLINE },
    [DOCS] = { "GET", "/docs", API_INLINE },
    [EXPLORER] = { "GET", "/", API_INLINE },
    [EXPLORER_FILE] = { "GET", "/explorer/{file}", API_INLINE },
    [HEALTHZ] = { "GET", "/healthz", API_HEALTH },
    [READYZ] = { "GET", "/readyz", API_READY },
    [METRICS] = { "GET", "/metrics", API_METRICS },
};

/* What answers have for a type. Attention's have several (form.h); health's is nobody's business, so that no picky probe fails. */
static const char *const types[NUM_ROUTES] = {
    [TOKENIZE] = "application/json",
    [ESTIMATE] = "application/json",
    [MODELS] = "application/json",
    [MODEL] = "application/json",
    [OPENAPI_JSON] = "application/json",
    [OPENAPI_YAML] = "application/yaml",
    [DOCS] = "text/html",
    [EXPLORER] = "text/html",
    [METRICS] = "text/plain",
};

static attn_status (*const handlers[NUM_ROUTES])(api_call *) = {
    [ATTENTION] = api_handle_attention, [TOKENIZE] = api_handle_tokenize,      [ESTIMATE] = api_handle_estimate, [MODELS] = api_handle_models,
    [MODEL] = api_handle_model,         [OPENAPI_JSON] = api_handle_page,      [OPENAPI_YAML] = api_handle_page, [DOCS] = api_handle_page,
    [EXPLORER] = api_handle_explorer,   [EXPLORER_FILE] = api_handle_explorer,
};

const api_route *api_routes(void)
{
    return routes;
}

/* A path matches itself; "{name}" at its end matches anything but nothing. */
static bool matches(const api_route *route, const char *path)
{
    const char *brace = strchr(route->path, '{');
    if (!brace)
        return strcmp(route->path, path) == 0;
    size_t n = (size_t)(brace - route->path);
    return strncmp(route->path, path, n) == 0 && path[n] != '\0';
}

static const api_route *find_route(const char *path)
{
    for (size_t i = 0; i < NUM_ROUTES; i++)
        if (matches(&routes[i], path))
            return &routes[i];
    return NULL;
}

static bool is_get(const api_route *route)
{
    return strcmp(route->method, "GET") == 0;
}

const char *api_allow(const char *path)
{
    const api_route *route = find_route(path);
    if (!route)
        return NULL;
    return is_get(route) ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
}

/* ---- the head of a request ------------------------------------------------------------------------------------------ */

static bool check_method(const api_request *req, const api_route *route, api_problem *problem)
{
    if (strcmp(req->method, route->method) == 0 || (is_get(route) && strcmp(req->method, "HEAD") == 0))
        return true;
    api_fail(problem, API_METHOD_NOT_ALLOWED, NULL, "%s answers %s", req->path, api_allow(req->path));
    problem->allow = api_allow(req->path);
    return false;
}

/* Parameters of a route that has none, or of the one that has accept, into `accept`: empty where there is none. */
static bool read_query(const api_request *req, const api_route *route, char accept[API_PARAMETER_BYTES], api_problem *problem)
{
    char name[API_PARAMETER_BYTES];
    const char *query = req->query;
    accept[0] = '\0';
    for (bool seen = false; api_next_parameter(&query, name, sizeof name, accept, API_PARAMETER_BYTES); seen = true) {
        if (route != &routes[ESTIMATE] || strcmp(name, "accept") != 0)
            return api_fail(problem, API_UNKNOWN_PARAMETER, NULL, "%s has no query parameter \"%.100s\"", route->path, name);
        if (seen)
            return api_fail(problem, API_DUPLICATE_FIELD, NULL, "the query parameter accept is given twice");
        if (strlen(accept) == API_PARAMETER_BYTES - 1)
            return api_fail(problem, API_UNKNOWN_VALUE, NULL, "the query parameter accept is too long: at most %d bytes are read", API_PARAMETER_BYTES - 2);
    }
    return true;
}

/* The query, and Accept: what there is to say about the answer's form. Routes that answer in one form leave *form as it is. */
static bool choose_form(const api_request *req, const api_route *route, api_form *form, api_problem *problem)
{
    char accept[API_PARAMETER_BYTES];
    if (route == &routes[ATTENTION])
        return api_form_choose(req->accept, req->query, form, problem);
    if (!read_query(req, route, accept, problem) || (route == &routes[ESTIMATE] && !api_form_choose(accept, NULL, form, problem)))
        return false;
    const char *type = types[route - routes];
    if (!type || api_accept_weigh(req->accept, type).quality > 0)
        return true;
    return api_fail(problem, API_NOT_ACCEPTABLE, NULL, "this route answers with %s, and Accept excludes it", type);
}

static bool check_body(const api_service *service, const api_request *req, api_problem *problem)
{
    uint64_t limit = service->limits.max_body_bytes, memory = service->limits.max_memory_bytes;
    if (!api_content_type_is_json(req->content_type))
        return api_fail(problem, API_UNSUPPORTED_MEDIA_TYPE, NULL, "the body must be application/json in UTF-8, not %.100s", req->content_type);
    if (req->content_encoding && req->content_encoding[0])
        return api_fail(problem, API_UNSUPPORTED_MEDIA_TYPE, NULL, "the body must be sent as it is, without Content-Encoding: %.100s", req->content_encoding);
    if (req->has_content_length && req->content_length > limit)
        return api_fail_limit(problem, API_BODY_TOO_LARGE, NULL, limit, req->content_length, "the body has %llu bytes, and at most %llu are taken",
                              (unsigned long long)req->content_length, (unsigned long long)limit);
    if (req->has_content_length && req->content_length > memory)
        return api_fail_limit(problem, API_MEMORY_LIMIT, NULL, memory, req->content_length, "the body has %llu bytes, and at most %llu of memory are allowed",
                              (unsigned long long)req->content_length, (unsigned long long)memory);
    return true;
}

bool api_check(const api_service *service, const api_request *req, const api_route **route, api_problem *problem)
{
    api_form form;
    const api_route *found = find_route(req->path);
    if (!found)
        return api_fail(problem, API_NOT_FOUND, NULL, "there is nothing at %.200s; /openapi.json says what there is", req->path);
    if (!check_method(req, found, problem) || !choose_form(req, found, &form, problem))
        return false;
    if (found->kind == API_WORK && !check_body(service, req, problem))
        return false;
    *route = found;
    return true;
}

/* ---- what handlers share ---------------------------------------------------------------------------------------------- */

bool api_call_fail(api_call *call, const char *pointer)
{
    attn_cancel *cancel = call->worker ? call->worker->cancel : NULL;
    if (call->err->code == ATTN_E_CANCELLED && cancel && atomic_load(&cancel->reason) == ATTN_SHUTDOWN)
        return api_fail(&call->problem, API_DRAINING, NULL, "the server is shutting down");
    return api_fail_core(&call->problem, call->err, pointer);
}

bool api_call_reserve(api_call *call, uint64_t bytes)
{
    attn_status st = call->reply->reserve(call->reply->ctx, bytes);
    if (st == ATTN_OK) {
        call->reserved += bytes;
        return true;
    }
    uint64_t limit = call->service->limits.max_memory_bytes, need = call->reserved > UINT64_MAX - bytes ? UINT64_MAX : call->reserved + bytes;
    if (st != ATTN_E_LIMIT && call->worker->is_guest) {
        call->worker->declined = true;
        return false;
    }
    if (st == ATTN_E_LIMIT)
        return api_fail_limit(&call->problem, API_MEMORY_LIMIT, NULL, limit, need, "the request may take %llu bytes of memory and at most %llu are allowed",
                              (unsigned long long)need, (unsigned long long)limit);
    attn_fail(call->err, st, "", "no memory could be reserved");
    return api_call_fail(call, NULL);
}

attn_status api_call_finish(api_call *call, api_out *out, attn_status st, const char *pointer)
{
    if (st == ATTN_OK)
        st = api_out_end(out);
    if (st == ATTN_OK)
        return ATTN_OK;
    const api_reply *reply = call->reply;
    call->broken = !api_out_abandon(out) && !(reply->recall && reply->recall(reply->ctx));
    attn_fail(call->err, st, "", st == ATTN_E_NOMEM ? "no memory for the answer" : "the answer could not be sent");
    api_call_fail(call, pointer);
    return st;
}

const char *api_call_body(const api_call *call)
{
    return call->request->body ? call->request->body : "";
}

/* ---- handling -------------------------------------------------------------------------------------------------------- */

attn_status api_send_problem(const api_problem *problem, const char *request_id, api_reply *reply)
{
    api_block *block = reply->take(reply->ctx);
    if (!block)
        return ATTN_E_NOMEM;
    int status = api_code_status(problem->code);
    block->used = api_problem_write(problem, request_id, block->data, API_BLOCK_BYTES);
    api_head head = {
        .status = status,
        .content_type = "application/problem+json",
        .has_length = true,
        .length = block->used,
        .allow = problem->allow,
        .retry = status == 503,
    };
    attn_status st = reply->start(reply->ctx, &head);
    if (st == ATTN_OK)
        return reply->give(reply->ctx, block);
    reply->drop(reply->ctx, block);
    return st;
}

attn_status api_handle(const api_service *service, const api_request *request, const api_route *route, api_worker *worker, api_reply *reply, api_code *outcome,
                       attn_error *err)
{
    attn_error own = { 0 };
    api_call call = { .service = service, .request = request, .route = route, .worker = worker, .reply = reply, .reserved = request->held_bytes };
    call.err = err ? err : &own;
    size_t r = (size_t)(route - routes);
    attn_status st = ATTN_E_INPUT;
    if (!handlers[r])
        st = attn_fail(call.err, ATTN_E_INTERNAL, route->path, "this route is answered by the server");
    else if (choose_form(request, route, &call.form, &call.problem)) /* api_check has said yes to it */
        st = handlers[r](&call);
    if (worker && worker->declined)
        return ATTN_E_CANCELLED;
    *outcome = call.problem.code; /* of a complete answer too, if it tells of a failure itself */
    if (st == ATTN_OK)
        return ATTN_OK;
    if (call.problem.code == API_OK) {
        attn_fail(call.err, st, "", "no reason was given");
        api_call_fail(&call, NULL);
    }
    *outcome = call.problem.code;
    return call.broken ? st : api_send_problem(&call.problem, request->request_id, reply);
}
