/* api.h - the wire contract as functions from request to reply. No sockets, no threads of its own, no time but for measuring.
 *
 * The model of use. The server makes one api_service at start. For each request it fills an api_request from the headers and asks api_check (cheap, no body
 * needed): a problem is answered at once. A route of kind API_WORK is then given its whole body and run by api_handle on a worker thread; API_INLINE ones
 * are run by api_handle on the spot, they never compute. What api_handle has to say goes into an api_reply: status and headers once, then blocks of bytes. Tests
 * implement api_reply with a buffer; the server with a bounded pipe.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_H
#define API_H

#include "attn.h"
#include "form.h"
#include "problem.h"

typedef struct api_limits {
    uint64_t max_body_bytes;
    size_t max_tokens; /* each input's */
    size_t max_batch;
    uint64_t max_response_bytes;
    uint64_t max_memory_bytes; /* all requests together, beside the models */
} api_limits;

typedef struct api_model {
    const char *name;
    const attn_model *model;
    const char *source; /* what is shown for it; NULL: what the model says itself */
} api_model;

typedef struct api_service {
    attn_runtime *runtime;
    const api_model *models; /* the first is the default */
    size_t num_models;
    api_limits limits;
    const char *version; /* "0.1.0" */
    attn_fonts *fonts;
} api_service;

typedef struct api_request {
    const char *method;
    const char *path;   /* percent-decoded, without the query */
    const char *query;  /* behind '?', as sent; NULL: none */
    const char *accept; /* header values, NULL when absent */
    const char *content_type;
    const char *content_encoding;
    const char *if_none_match;
    bool has_content_length;
    uint64_t content_length;
    const char *request_id;
    const char *body; /* complete, for api_handle, until reply->body_read; NULL when empty */
    size_t body_length;
    uint64_t queued_ns;  /* waited for a worker */
    uint64_t held_bytes; /* what the body takes of the memory limit until the request ends */
} api_request;

typedef enum api_route_kind {
    API_INLINE, /* answered from memory: models, openapi */
    API_WORK,   /* needs its body and a worker */
    API_HEALTH, /* the server's own: /healthz, /readyz, /metrics */
    API_READY,
    API_METRICS
} api_route_kind;

typedef struct api_route {
    const char *method; /* GET routes answer HEAD too */
    const char *path;   /* "/v1/models/{name}" */
    api_route_kind kind;
} api_route;

/* All routes, NULL path at the end. */
const api_route *api_routes(void);

/* All that the head of a request tells: route (404), method (405, problem.allow), query parameters (400), Accept (406), Content-Type and Content-Encoding (415),
 * Content-Length against the limit (413), in this order. True: *route is set. OPTIONS is the server's matter (CORS); for it call api_allow. */
bool api_check(const api_service *, const api_request *, const api_route **route, api_problem *);
/* The methods a path has, for Allow: "GET, HEAD, OPTIONS"; NULL: no such path. Static. */
const char *api_allow(const char *path);

/* ---- replies ------------------------------------------------------------------------------------------------------------ */

enum { API_BLOCK_BYTES = 64 * 1024 + 1024 }; /* 4096 numbers of 16 bytes, and brackets */

typedef struct api_block {
    struct api_block *next; /* the owner's */
    size_t used;
    bool more; /* another follows at once: nobody need be woken for this one alone */
    char data[API_BLOCK_BYTES];
} api_block;

typedef struct api_head {
    int status;
    const char *content_type;
    bool has_length;
    uint64_t length;              /* of the body */
    const char *allow;            /* 405 */
    const char *content_encoding; /* the server's, when it compresses; static */
    const char *etag;             /* of what may be kept and asked for again; borrowed until start returns */
    const char *policy;           /* Content-Security-Policy; static */
    bool retry;                   /* Retry-After: the server says how long */
} api_head;

typedef enum api_stage { API_STAGE_TOKENIZE, API_STAGE_COMPUTE, API_STAGE_ENCODE, API_STAGE_COUNT } api_stage;

typedef struct api_reply {
    void *ctx;
    /* Once, before the first give. */
    attn_status (*start)(void *ctx, const api_head *);
    /* An empty block to fill, from any thread; NULL: no memory. */
    api_block *(*take)(void *ctx);
    /* The next block of the body, taken over whatever comes back. Waits while the client is slow; ATTN_E_CANCELLED when it is gone or time is up. */
    attn_status (*give)(void *ctx, api_block *);
    /* Takes back what was started and given, if nothing of it has left yet: then another answer may be started. NULL: never. */
    bool (*recall)(void *ctx);
    /* A taken block that is not needed. */
    void (*drop)(void *ctx, api_block *);
    /* Reserves memory for this request, on top of what it has, before it is taken; waits for others to finish. ATTN_E_LIMIT when it can never be had (limits are
     * the caller's to name), ATTN_E_CANCELLED. Released by the server when the request ends. */
    attn_status (*reserve)(void *ctx, uint64_t bytes);
    /* Nothing of the body will be looked at again: it may go before the request ends. NULL: it stays. */
    void (*body_read)(void *ctx);
    /* Adds to the time this stage took. */
    void (*stage)(void *ctx, api_stage, uint64_t ns);
} api_reply;

enum {
    API_MEETING_RUNS = 8,           /* requests in one run at most */
    API_MEETING_TOKENS = 48,        /* of all of them: more gain nothing (tests/bench/SPEED.md) */
    API_MEETING_EACH = 16,          /* tokens of one: longer ones gain nothing */
    API_MEETING_EACH_OF_LARGE = 24, /* likewise, of a model whose weights are more than */
    API_MEETING_LARGE_BYTES = 128 << 20,
    API_MEETING_BYTES = 8 * API_BLOCK_BYTES, /* of an answer: it is given away without waiting for its client, who would keep the others waiting */
};

/* Requests that meet in one run (attn_model_run_joint): the host's, and those of guests. Where a host has a small run it does not run it yet but calls `more`,
 * which may hand another request to api_handle, as a guest, on this thread and in this arena. A guest whose run fits the others' does the same; the last of them
 * runs all, then each ends its answer and returns, the host last. A guest that does not fit, or could not be answered without waiting, declines: nothing
 * of it was sent, and it can be handled again. */
typedef struct api_meeting {
    void *ctx;
    void (*more)(void *ctx);
    /* api's own; 0 at first. */
    attn_joint_run runs[API_MEETING_RUNS];
    const attn_model *model;
    size_t num, tokens;
    bool done;       /* they were run */
    uint64_t run_ns; /* which took so long */
} api_meeting;

/* What a worker lends to a request. */
typedef struct api_worker {
    attn_arena *arena; /* reset by the server afterwards */
    attn_cancel *cancel;
    api_meeting *meeting; /* NULL: the request is run alone */
    bool is_guest;        /* of the meeting */
    bool declined;        /* [out] the guest declined */
    size_t model;         /* [out] which of service->models the request was about, counted from 1; 0: none, or none that there is */
} api_worker;

/* Runs a checked request and sends its answer, a problem's included: *outcome says what it was (API_OK, or the code). Returns ATTN_OK when the answer is complete; another
 * status when it broke off after it began (the server then ends the connection so that the client sees it), or when not even a problem could be sent; `err` says
 * why (of a guest that declined, ATTN_E_CANCELLED, and nothing was sent). The caller of an API_WORK route brackets the call with attn_runtime_enter and attn_runtime_leave (and a give that waits leaves meanwhile), so that idle threads
 * help. Other routes need no worker. */
ATTN_MUST_CHECK attn_status api_handle(const api_service *, const api_request *, const api_route *, api_worker *, api_reply *, api_code *outcome,
                                       attn_error *err);

/* Sends a problem as the whole answer. */
ATTN_MUST_CHECK attn_status api_send_problem(const api_problem *, const char *request_id, api_reply *);

/* Model names: letters, digits, '.', '_', '-', '/' inside; checked where models are configured. */
bool api_model_name_is_valid(const char *name);

#endif
