/* attention_handler.c - POST /v1/attention: plan, price, then one run for each input, written while it runs.
 *
 * A run that fails before anything has left is an honest error answer; later it is told in the answer where the form has words for it, else the answer breaks off.
 * SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include <string.h>

typedef struct answer {
    api_call *call;
    const api_plan *plan;
    api_encode encode;
    uint64_t sink_ns; /* in the encoder and in those who feed it, waiting for the client included */
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
        return attn_model_run(plan->model->model, &plan->inputs[b].model, &plan->inputs[b].keep, worker->arena, worker->cancel, sink, err);
    attn_operator_input in;
    attn_runtime *rt = a->encode.runtime;
    attn_status st = api_operator_item(rt, plan->request, &plan->shape, b, worker, &in, err);
    if (st != ATTN_OK)
        return st;
    return attn_operator_run(rt, &in, &plan->inputs[b].keep, worker->arena, worker->cancel, sink, err);
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
        a->encode.compute_ns += attn_clock_ns() - begin - collect.ns;
    }
    if (st == ATTN_OK)
        st = api_collect_end(&collect, a->call->err);
    a->sink_ns += collect.ns;
    attn_arena_rewind(worker->arena, mark);
    return st;
}

static void count_encoding(answer *a)
{
    uint64_t waited = a->encode.out->waited_ns;
    a->encode.encode_ns = a->sink_ns > waited ? a->sink_ns - waited : 0;
}

static attn_status answer_all(answer *a)
{
    api_encode *e = &a->encode;
    uint64_t begin = attn_clock_ns();
    e->encoder->begin(e);
    a->sink_ns = attn_clock_ns() - begin;
    attn_status st = e->out->status;
    for (size_t b = 0; b < a->plan->num_inputs && st == ATTN_OK; b++)
        st = answer_input(a, b);
    count_encoding(a);
    if (st == ATTN_OK) {
        begin = attn_clock_ns();
        e->encoder->end(e);
        a->sink_ns += attn_clock_ns() - begin;
        count_encoding(a);
        st = e->out->status;
    }
    api_reply *reply = a->call->reply;
    reply->stage(reply->ctx, API_STAGE_COMPUTE, e->compute_ns);
    reply->stage(reply->ctx, API_STAGE_ENCODE, e->encode_ns);
    return st;
}

/* Is it too late for another answer, and has this one words for a failure? */
static bool must_tell(const answer *a)
{
    const api_out *out = a->encode.out;
    const api_reply *reply = a->call->reply;
    return a->encode.encoder->fail && out->started && out->status == ATTN_OK && !(reply->recall && reply->recall(reply->ctx));
}

/* The answer ends with what went wrong: it is complete, and call->problem says how it came out. */
static attn_status tell_failure(answer *a, const char *pointer)
{
    api_call *call = a->call;
    api_fail_core(&call->problem, call->err, pointer);
    a->encode.encoder->fail(&a->encode, &call->problem);
    attn_status st = api_out_end(a->encode.out);
    if (st != ATTN_OK) {
        api_out_abandon(a->encode.out);
        call->broken = true;
    }
    return st;
}

static attn_status finish(answer *a, attn_status st)
{
    const char *pointer = overflow_field(a->plan, a->call->err);
    st = st != ATTN_OK && must_tell(a) ? tell_failure(a, pointer) : api_call_finish(a->call, a->encode.out, st, pointer);
    if (a->encode.encoder->close)
        a->encode.encoder->close(&a->encode);
    return st;
}

attn_status api_handle_attention(api_call *call)
{
    api_attention_request req;
    api_plan plan;
    api_out out;
    if (!api_plan_request(call, call->service, &req, &plan) || !api_plan_refuse(call, &plan) || !api_call_reserve(call, plan.price.bytes))
        return ATTN_E_INPUT;
    api_head head = { .status = 200, .content_type = call->form.content_type, .has_length = plan.encoder->length != NULL };
    if (head.has_length)
        head.length = plan.response_bytes;
    api_out_init(&out, call->reply, head);
    answer a = {
        .call = call,
        .plan = &plan,
        .encode = { .encoder = plan.encoder, .plan = &plan, .runtime = call->service->runtime, .out = &out, .call = call },
    };
    return finish(&a, answer_all(&a));
}
