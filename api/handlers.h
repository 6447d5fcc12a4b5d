/* handlers.h - what one route's handler is given, and the table's entries. Private to api.
 *
 * A handler sends its whole answer and returns ATTN_OK; or it leaves a problem in the call, returns another status, and api_handle sends the
 * problem; or its answer broke off after it began: then `broken` is set as well and nothing more can be sent.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "out.h"

typedef struct api_call {
    const api_service *service;
    const api_request *request;
    const api_route *route;
    api_form form; /* of POST /v1/attention's answer, or the one /v1/estimate asks about */
    api_worker *worker;
    api_reply *reply;
    uint64_t tokenize_ns; /* what API_STAGE_TOKENIZE took */
    uint64_t reserved;    /* bytes so far, the body's among them */
    api_problem problem;
    attn_error *err;
    bool broken;
} api_call;

attn_status api_handle_attention(api_call *);
attn_status api_handle_estimate(api_call *);
attn_status api_handle_tokenize(api_call *);
attn_status api_handle_models(api_call *);
attn_status api_handle_model(api_call *);
attn_status api_handle_page(api_call *);     /* what is inside the program: the contract */
attn_status api_handle_explorer(api_call *); /* likewise, "/" and the files it is made of */

/* Records what call->err says (api_fail_core), and of work that was called off whether its time was over or the server ends; returns false. */
bool api_call_fail(api_call *, const char *pointer);
/* reply->reserve, with its refusals told: 413 memory_limit, or the deadline. */
bool api_call_reserve(api_call *, uint64_t bytes);
/* Ends an answer written with `out`, or gives it up when `st` is a failure; what a handler returns. `pointer`: the field that an overflow is about, or NULL. */
attn_status api_call_finish(api_call *, api_out *, attn_status st, const char *pointer);
/* The body as the readers want it: never NULL. */
const char *api_call_body(const api_call *);

#endif
