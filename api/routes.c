/* routes.c - which paths there are, what the head of a request must say, and from route to handler and problem.
 * SPDX-License-Identifier: Apache-2.0 */
#include "handlers.h"
#include "media.h"

#include <stdio.h>
#include <string.h>

enum { ATTENTION, TOKENIZE, ESTIMATE, MODELS, MODEL, OPENAPI_JSON, OPENAPI_YAML, HEALTHZ, READYZ, METRICS, NUM_ROUTES };

static const api_route routes[NUM_ROUTES + 1] = {
    [ATTENTION] = { "POST", "/v1/attention", API_WORK },
    [TOKENIZE] = { "POST", "/v1/tokenize", API_WORK },
    [ESTIMATE] = { "POST", "/v1/estimate", API_WORK },
    [MODELS] = { "GET", "/v1/models", API_INLINE },
    [MODEL] = { "GET", "/v1/models/{name}", API_INLINE },
    [OPENAPI_JSON] = { "GET", "/openapi.json", API_INLINE },
    [OPENAPI_YAML] = { "GET", "/openapi.yaml", API_INLINE },
    [HEALTHZ] = { "GET", "/healthz", API_HEALTH },
    [READYZ] = { "GET", "/readyz", API_READY },
    [METRICS] = { "GET", "/metrics", API_METRICS },
};

/* What answers have for a type; health's is nobody's business, so that no picky probe fails. */
static const char *const types[NUM_ROUTES] = {
    [ATTENTION] = "application/json", [TOKENIZE] = "application/json",     [ESTIMATE] = "application/json",     [MODELS] = "application/json",
    [MODEL] = "application/json",     [OPENAPI_JSON] = "application/json", [OPENAPI_YAML] = "application/yaml", [METRICS] = "text/plain",
};

static attn_status (*const handlers[NUM_ROUTES])(api_call *) = {
    [ATTENTION] = api_handle_attention, [TOKENIZE] = api_handle_tokenize,    [ESTIMATE] = api_handle_estimate,    [MODELS] = api_handle_models,
    [MODEL] = api_handle_model,         [OPENAPI_JSON] = api_handle_openapi, [OPENAPI_YAML] = api_handle_openapi,
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

static bool check_accept(const char *accept, const char *where, const char *type, api_problem *problem)
{
    if (!type || api_accept_quality(accept, type) > 0)
        return true;
    return api_fail(problem, API_NOT_ACCEPTABLE, NULL, "this route answers with %s, and %s excludes it", type, where);
}

static bool check_query(const api_request *req, const api_route *route, api_problem *problem)
{
    char name[64], value[256];
    const char *query = req->query;
    while (api_next_parameter(&query, name, sizeof name, value, sizeof value)) {
        if (route != &routes[ESTIMATE] || strcmp(name, "accept") != 0)
            return api_fail(problem, API_UNKNOWN_PARAMETER, NULL, "%s has no query parameter \"%s\"", route->path, name);
        if (!check_accept(value, "the query parameter accept", types[ATTENTION], problem))
            return false;
    }
    return true;
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
    const api_route *found = find_route(req->path);
    if (!found)
        return api_fail(problem, API_NOT_FOUND, NULL, "there is nothing at %.200s; /openapi.json says what there is", req->path);
    if (!check_method(req, found, problem) || !check_query(req, found, problem) || !check_accept(req->accept, "Accept", types[found - routes], problem))
        return false;
    if (found->kind == API_WORK && !check_body(service, req, problem))
        return false;
    *route = found;
    return true;
}

/* ---- what handlers share ---------------------------------------------------------------------------------------------- */

bool api_call_reserve(api_call *call, uint64_t bytes)
{
    attn_status st = call->reply->reserve(call->reply->ctx, bytes);
    if (st == ATTN_OK) {
        call->reserved += bytes;
        return true;
    }
    uint64_t limit = call->service->limits.max_memory_bytes, need = call->reserved > UINT64_MAX - bytes ? UINT64_MAX : call->reserved + bytes;
    if (st == ATTN_E_LIMIT)
        return api_fail_limit(&call->problem, API_MEMORY_LIMIT, NULL, limit, need, "the request may take %llu bytes of memory and at most %llu are allowed",
                              (unsigned long long)need, (unsigned long long)limit);
    attn_fail(call->err, st, "", "no memory could be reserved");
    return api_fail_core(&call->problem, call->err, NULL);
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
    api_fail_core(&call->problem, call->err, pointer);
    return st;
}

const char *api_call_body(const api_call *call)
{
    return call->request->body ? call->request->body : "";
}

extern const char api_openapi_json[], api_openapi_json_end[], api_openapi_yaml[], api_openapi_yaml_end[];

attn_status api_handle_openapi(api_call *call)
{
    bool yaml = call->route == &routes[OPENAPI_YAML];
    const char *text = yaml ? api_openapi_yaml : api_openapi_json, *end = yaml ? api_openapi_yaml_end : api_openapi_json_end;
    api_out out;
    api_head head = { .status = 200, .content_type = types[call->route - routes], .has_length = true, .length = (uint64_t)(end - text) };
    api_out_init(&out, call->reply, head);
    api_out_bytes(&out, text, (size_t)(end - text));
    return api_call_finish(call, &out, ATTN_OK, NULL);
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
    attn_status st = handlers[r] ? handlers[r](&call) : attn_fail(call.err, ATTN_E_INTERNAL, route->path, "this route is answered by the server");
    *outcome = API_OK;
    if (st == ATTN_OK)
        return ATTN_OK;
    if (call.problem.code == API_OK) {
        attn_fail(call.err, st, "", "no reason was given");
        api_fail_core(&call.problem, call.err, NULL);
    }
    *outcome = call.problem.code;
    return call.broken ? st : api_send_problem(&call.problem, request->request_id, reply);
}
