/* attention_handler.c - POST /v1/attention: plan, price, then one run for each input, written while it runs.
 *
 * Where the model goes on writing, tokens are chosen first, then the answer is planned again and given as any other; one in lines is written meanwhile.
 * A run that fails before anything has left is an honest error answer; later it is told in the answer where the form has words for it, else the answer breaks off.
 * SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"
#include "generate.h"

#include <string.h>

typedef struct answer {
    api_call *call;
    api_plan *plan;
    api_encode encode;
    attn_generation *generation; /* in progress, in lines; NULL: a run is of a whole input */
    int32_t *next;               /* gets the token it chooses; NULL: none */
    bool met;                    /* the run was one of several */
    uint64_t sink_ns;            /* in the encoder and in those who feed it, waiting for the client included */
} answer;

/* The field that an overflow is about: err->where is the output in which it was seen. */
static const char *overflow_field(const api_plan *plan, const attn_error *err)
{
    bool from_values = strcmp(err->where, attn_output_name(ATTN_CONTEXT)) == 0 || strcmp(err->where, attn_output_name(ATTN_ATTN_OUTPUT)) == 0;
    if (plan->request->kind == API_INPUT_QKV && from_values)
        return "/value";
    return api_plan_pointer(plan);
}

static bool keeps_any(const api_plan *plan, size_t b)
{
    const attn_keep *keep = plan->inputs[b].keep;
    for (attn_stack s = 0; s < plan->num_stacks; s++)
        if (keep[s].outputs || keep[s].analyses)
            return true;
    return false;
}

static attn_status run_operator(const answer *a, size_t b, const attn_sink *sink)
{
    const api_worker *worker = a->call->worker;
    attn_operator_input in;
    attn_runtime *rt = a->encode.runtime;
    attn_status st = api_operator_item(rt, a->plan->request, &a->plan->shape, b, worker, &in, a->call->err);
    if (st != ATTN_OK)
        return st;
    return attn_operator_run(rt, &in, &a->plan->inputs[b].keep[0], worker->arena, worker->cancel, sink, a->call->err);
}

/* Whether the answer's run may be one of a meeting's. */
static bool may_meet(const api_worker *worker, const api_plan *plan)
{
    const api_meeting *m = worker->meeting;
    if (!m || !api_plan_is_small(plan) || plan->response_bytes > API_MEETING_BYTES || m->num == API_MEETING_RUNS)
        return false;
    const api_plan_input *in = &plan->inputs[0];
    return m->num == 0 || (m->model == plan->model->model && m->tokens + in->model.T <= API_MEETING_TOKENS && attn_keep_joins(m->runs[0].keep, &in->keep[0]));
}

/* With others that are asked for here, where there are any. */
static attn_status meet(answer *a, const attn_sink *sink)
{
    const api_plan_input *in = &a->plan->inputs[0];
    const api_worker *worker = a->call->worker;
    api_meeting *m = worker->meeting;
    attn_joint_run *mine = &m->runs[m->num++];
    *mine = (attn_joint_run){ .input = &in->model, .keep = in->keep, .cancel = worker->cancel, .sink = sink, .err = a->call->err };
    m->model = a->plan->model->model;
    m->tokens += in->model.T;
    if (m->num < API_MEETING_RUNS && m->tokens < API_MEETING_TOKENS)
        m->more(m->ctx);
    if (!m->done) {
        uint64_t begin = attn_clock_ns();
        attn_model_run_joint(m->model, m->runs, m->num, worker->arena);
        m->run_ns = attn_clock_ns() - begin;
        m->done = true;
    }
    a->met = true;
    return mine->status;
}

static attn_status run_input(answer *a, size_t b, const attn_sink *sink)
{
    const api_plan *plan = a->plan;
    const api_plan_input *in = &plan->inputs[b];
    const api_worker *worker = a->call->worker;
    if (a->generation)
        return attn_generation_run(a->generation, in->keep, worker->arena, worker->cancel, sink, a->next, a->call->err);
    if (!plan->model)
        return run_operator(a, b, sink);
    if (in->span == API_SPAN_REST && !keeps_any(plan, b))
        return ATTN_OK;
    if (may_meet(worker, plan))
        return meet(a, sink);
    return attn_model_run(plan->model->model, &in->model, in->keep, worker->arena, worker->cancel, sink, a->call->err);
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
        uint64_t took = a->met ? worker->meeting->run_ns : attn_clock_ns() - begin;
        a->encode.compute_ns += took > collect.ns ? took - collect.ns : 0;
    }
    if (st == ATTN_OK)
        st = api_collect_end(&collect, a->call->err);
    a->sink_ns += collect.ns;
    attn_arena_rewind(worker->arena, mark);
    return st;
}

/* ---- writing on --------------------------------------------------------------------------------------------------------- */

/* One more token: after the prompt was read, or the token before. In lines, what was read is written. */
static attn_status generate_one(answer *a, size_t b, attn_generation *g, size_t n, bool more)
{
    const api_worker *worker = a->call->worker;
    int32_t *next = more ? api_generate_ids(a->plan, b) + n : NULL;
    if (!api_generates_lines(a->plan))
        return more ? attn_generation_run(g, NULL, worker->arena, worker->cancel, NULL, next, a->call->err) : ATTN_OK;
    api_plan_span(a->plan, b, n == 0 ? API_SPAN_PROMPT : API_SPAN_STEP, n == 0 ? 0 : n - 1);
    a->generation = g;
    a->next = next;
    attn_status st = answer_input(a, b);
    a->generation = NULL;
    return st;
}

/* Tokens of input b until the last there may be, or one that ends it. */
static attn_status generate(answer *a, size_t b)
{
    const attn_model *model = a->plan->model->model;
    const attn_model_input prompt = api_generate_prompt(a->plan, b);
    const int32_t *ids = api_generate_ids(a->plan, b);
    size_t n = 0, most = a->plan->inputs[b].num_generated;
    attn_arena *arena = a->call->worker->arena;
    attn_arena_mark mark = attn_arena_save(arena);
    attn_generation *g;
    attn_status st = attn_generation_begin(&g, model, &prompt, most, arena, a->call->err);
    for (bool more = true; st == ATTN_OK && more; n += more) {
        more = n < most && (n == 0 || !attn_model_is_end(model, ids[n - 1]));
        st = generate_one(a, b, g, n, more);
    }
    attn_arena_rewind(arena, mark);
    if (st == ATTN_OK)
        api_generate_ended(a->plan, b, n);
    return st;
}

/* Line by line, then what only all tokens together give. */
static attn_status answer_lines(answer *a, size_t b)
{
    attn_arena *arena = a->call->worker->arena;
    attn_arena_mark mark = attn_arena_save(arena);
    attn_status st = generate(a, b);
    if (st == ATTN_OK)
        st = api_generate_text(a->plan, b, arena, a->call->err);
    if (st == ATTN_OK) {
        api_plan_mark_special(a->plan, b);
        api_plan_span(a->plan, b, API_SPAN_REST, 0);
        st = answer_input(a, b);
    }
    attn_arena_rewind(arena, mark);
    return st;
}

/* All tokens of all inputs, before the answer begins. What was chosen of the longest they might have been is forgotten. */
static attn_status generate_all(answer *a)
{
    attn_status st = ATTN_OK;
    uint64_t begin = attn_clock_ns();
    attn_arena_rewind(a->call->worker->arena, a->plan->choices);
    for (size_t b = 0; b < a->plan->num_inputs && st == ATTN_OK; b++) {
        st = generate(a, b);
        if (st == ATTN_OK)
            st = api_generate_text(a->plan, b, a->call->worker->arena, a->call->err);
    }
    a->encode.compute_ns = attn_clock_ns() - begin;
    return st;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

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
        st = api_generates_lines(a->plan) ? answer_lines(a, b) : answer_input(a, b);
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
    api_call_fail(call, pointer);
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

static void begin_answer(answer *a, api_out *out)
{
    api_head head = { .status = 200, .content_type = a->call->form.content_type, .has_length = a->plan->encoder->length != NULL };
    if (head.has_length)
        head.length = a->plan->response_bytes;
    api_out_init(out, a->call->reply, head);
    a->encode.out = out;
}

/* A model that nobody asked before gets its weights now. */
static bool load_model(api_call *call, const api_plan *plan)
{
    attn_status st = plan->model ? attn_model_load(plan->model->model, call->err) : ATTN_OK;
    if (st == ATTN_OK)
        return true;
    if (st == ATTN_E_LIMIT)
        return api_fail_limit(&call->problem, API_NO_MEMORY, NULL, call->err->limit, call->err->need, "%s: %s", plan->model->name, call->err->text);
    return api_call_fail(call, NULL);
}

attn_status api_handle_attention(api_call *call)
{
    api_attention_request req;
    api_plan plan;
    api_out out;
    if (!api_plan_request(call, call->service, &req, &plan) || !api_plan_refuse(call, &plan))
        return ATTN_E_INPUT;
    if (call->worker->is_guest && !(may_meet(call->worker, &plan) && attn_model_is_loaded(plan.model->model))) {
        call->worker->declined = true;
        return ATTN_E_CANCELLED;
    }
    if (!api_call_reserve(call, plan.price.bytes) || !load_model(call, &plan))
        return ATTN_E_INPUT;
    attn_arena_expect(call->worker->arena, plan.price.bytes);
    answer a = {
        .call = call,
        .plan = &plan,
        .encode = { .encoder = plan.encoder, .plan = &plan, .runtime = call->service->runtime, .call = call },
    };
    begin_answer(&a, &out);
    attn_status st = ATTN_OK;
    if (plan.generates && !api_generates_lines(&plan)) {
        st = generate_all(&a);
        if (st == ATTN_OK && !api_plan_again(call, &plan))
            return ATTN_E_INPUT;
        begin_answer(&a, &out);
    }
    return finish(&a, st == ATTN_OK ? answer_all(&a) : st);
}
