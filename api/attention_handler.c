/* attention_handler.c - POST /v1/attention: plan, price, then one run for each input, written while it runs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"
#include "encode_json.h"

#include <string.h>

typedef struct answer {
    api_call *call;
    const api_plan *plan;
    api_encode encode;
    uint64_t compute_ns, sink_ns;
} answer;

/* The field that an overflow is about: err->where is the output in which it was seen. */
static const char *overflow_field(const api_plan *plan, const attn_error *err)
{
    bool from_values = strcmp(err->where, attn_output_name(ATTN_CONTEXT)) == 0 || strcmp(err->where, attn_output_name(ATTN_ATTN_OUTPUT)) == 0;
    if (plan->request->kind == API_INPUT_QKV && from_values)
        return "/value";
    return api_plan_pointer(plan);
}

static attn_status run_input(const answer *a, size_t b, const attn_sink *sink)
{
    const api_plan *plan = a->plan;
    const api_worker *worker = a->call->worker;
    attn_error *err = a->call->err;
    if (plan->model)
        return attn_model_run(plan->model->model, &plan->inputs[b].model, &plan->keep, worker->arena, worker->cancel, sink, err);
    attn_operator_input in;
    attn_runtime *rt = a->encode.runtime;
    attn_status st = api_operator_item(rt, plan->request, &plan->shape, b, worker, &in, err);
    if (st != ATTN_OK)
        return st;
    return attn_operator_run(rt, &in, &plan->keep, worker->arena, worker->cancel, sink, err);
}

static attn_status answer_input(answer *a, size_t b)
{
    const api_worker *worker = a->call->worker;
    attn_arena_mark mark = attn_arena_save(worker->arena);
    api_collect collect;
    a->encode.result = b;
    attn_status st = api_collect_begin(&collect, &a->encode, worker, a->call->err);
    if (st == ATTN_OK) {
        attn_sink sink = api_collect_sink(&collect);
        uint64_t begin = attn_clock_ns();
        st = run_input(a, b, &sink);
        a->compute_ns += attn_clock_ns() - begin - collect.ns;
    }
    if (st == ATTN_OK)
        st = api_collect_end(&collect, a->call->err);
    a->sink_ns += collect.ns;
    attn_arena_rewind(worker->arena, mark);
    return st;
}

static attn_status answer_all(answer *a)
{
    attn_status st = ATTN_OK;
    a->encode.encoder->begin(&a->encode);
    for (size_t b = 0; b < a->plan->num_inputs && st == ATTN_OK; b++)
        st = answer_input(a, b);
    if (st == ATTN_OK) {
        a->encode.encoder->end(&a->encode);
        st = a->encode.out->status;
    }
    uint64_t waited = a->encode.out->waited_ns;
    api_reply *reply = a->call->reply;
    reply->stage(reply->ctx, API_STAGE_COMPUTE, a->compute_ns);
    reply->stage(reply->ctx, API_STAGE_ENCODE, a->sink_ns > waited ? a->sink_ns - waited : 0);
    return st;
}

attn_status api_handle_attention(api_call *call)
{
    api_attention_request req;
    api_plan plan;
    api_out out;
    if (!api_plan_request(call, call->service, &req, &plan) || !api_plan_refuse(call, &plan) || !api_call_reserve(call, plan.price.bytes))
        return ATTN_E_INPUT;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = api_json_encoder.content_type });
    answer a = {
        .call = call,
        .plan = &plan,
        .encode = { .encoder = &api_json_encoder, .plan = &plan, .runtime = call->service->runtime, .out = &out },
    };
    attn_status st = answer_all(&a);
    return api_call_finish(call, &out, st, overflow_field(&plan, call->err));
}
