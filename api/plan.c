/* plan.c - which model, how many of everything, and what it all costs. See plan.h; what is selected of it is choices.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "collect.h"
#include "generate.h"

#include <stdio.h>
#include <string.h>

/* Alignment, and the red zone that the arena keeps under AddressSanitizer. */
uint64_t api_arena_bytes(uint64_t count, uint64_t size)
{
    return attn_plus(attn_times(count, size), 192);
}

void api_plan_excess(api_plan *plan, api_code code, uint64_t limit, uint64_t need, const char *fmt, ...)
{
    if (plan->num_excesses == API_MAX_EXCESSES)
        return;
    api_excess *e = &plan->excesses[plan->num_excesses++];
    e->code = code;
    e->pointer = NULL;
    e->limit = limit;
    e->need = need;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, args);
    va_end(args);
}

const char *api_plan_pointer(const api_plan *plan)
{
    static const char *const fields[] = {
        [API_INPUT_TEXT] = "/text", [API_INPUT_IDS] = "/input_ids", [API_INPUT_EMBEDS] = "/inputs_embeds", [API_INPUT_EMBEDDINGS] = "/embeddings",
        [API_INPUT_QKV] = "/query",
    };
    return fields[plan->request->kind];
}

bool api_plan_refuse(api_call *call, const api_plan *plan)
{
    if (plan->num_excesses == 0)
        return true;
    const api_excess *e = &plan->excesses[0];
    const char *pointer = e->pointer ? e->pointer : e->code == API_TOO_MANY_TOKENS ? api_plan_pointer(plan) : NULL;
    return api_fail_limit(&call->problem, e->code, pointer, e->limit, e->need, "%s", e->detail);
}

/* A terminal shows one map: without any selection the mean over heads of the last layer. */
static bool select_by_default(const api_form *form, api_return *want)
{
    static const int64_t last[] = { -1 };
    if (form->kind != API_FORM_TEXT || want->layers.kind != API_ALL || want->heads.kind != API_ALL || want->reduce_heads || want->reduce_layers)
        return false;
    want->layers = (api_indices){ .kind = API_LIST, .list = last, .count = 1 };
    want->reduce_heads = ATTN_REDUCE_MEAN;
    return true;
}

/* ---- what to run ---------------------------------------------------------------------------------------------------- */

/* "a, b, c", cut where `size` ends. */
static void list_models(const api_service *service, char *dst, size_t size)
{
    size_t used = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < service->num_models && used < size; i++)
        used += (size_t)snprintf(dst + used, size - used, "%s%s", i ? ", " : "", service->models[i].name);
}

const api_model *api_find_model(const api_service *service, const char *name, api_problem *problem)
{
    for (size_t i = 0; i < service->num_models; i++)
        if (!name || strcmp(service->models[i].name, name) == 0)
            return &service->models[i];
    char known[300];
    list_models(service, known, sizeof known);
    api_fail(problem, API_MODEL_NOT_FOUND, "/model", "no model is called \"%.100s\"; this server has %s", name ? name : "", known[0] ? known : "none");
    return NULL;
}

static void take_shapes(api_plan *plan)
{
    const attn_model_info *info = attn_model_get_info(plan->model->model);
    plan->num_stacks = info->num_decoder_layers > 0 ? ATTN_STACKS : 1;
    plan->hidden = info->hidden_size;
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        attn_stack_shape shape = attn_model_shape(plan->model->model, s);
        plan->stacks[s] = (api_plan_stack){
            .num_layers = shape.num_layers,
            .num_attention_heads = shape.num_attention_heads,
            .head_dim = shape.head_dim,
            .value_dim = shape.head_dim,
        };
    }
}

static bool take_model(api_call *call, api_plan *plan)
{
    plan->model = api_find_model(call->service, plan->request->model, &call->problem);
    if (!plan->model)
        return false;
    call->worker->model = (size_t)(plan->model - call->service->models) + 1;
    take_shapes(plan);
    if (!api_check_available(plan->request, plan->model->model, NULL, &call->problem) || !api_plan_inputs(call, plan))
        return false;
    if (plan->request->max_new_tokens && !api_generate_prepare(call, plan))
        return false;
    for (size_t b = 0; b < plan->num_inputs; b++)
        api_plan_set_lengths(plan, &plan->inputs[b]);
    return true;
}

/* Batches, and lengths without a model: reading has refused them already, unless it was told not to. */
static void check_batch(const api_call *call, api_plan *plan)
{
    size_t limit = call->service->limits.max_batch;
    if (plan->num_inputs > limit)
        api_plan_excess(plan, API_BATCH_TOO_LARGE, limit, plan->num_inputs, "%zu inputs in one request; this server takes at most %zu", plan->num_inputs,
                        limit);
}

static void check_length(const api_call *call, api_plan *plan)
{
    size_t limit = call->service->limits.max_tokens, T = attn_most(plan->shape.T_q, plan->shape.T_k);
    if (T > limit)
        api_plan_excess(plan, API_TOO_MANY_TOKENS, limit, T, "%zu tokens; this server takes at most %zu", T, limit);
}

static bool take_operator(api_call *call, api_plan *plan)
{
    const api_operator_shape *s = &plan->shape;
    if (!api_check_operator(plan->request, &plan->shape, &call->problem) || !api_check_available(plan->request, NULL, s, &call->problem))
        return false;
    plan->num_stacks = 1;
    plan->stacks[0] = (api_plan_stack){ .num_layers = 1, .num_attention_heads = s->H, .head_dim = s->head_dim, .value_dim = s->value_dim };
    plan->hidden = plan->request->w_o.rank ? s->output_dim : s->H * s->value_dim;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        plan->inputs[b].stacks[0].T_q = s->T_q;
        plan->inputs[b].stacks[0].T_k = s->T_k;
    }
    check_length(call, plan);
    return true;
}

bool api_plan_is_small(const api_plan *plan)
{
    const api_plan_input *in = &plan->inputs[0];
    bool large = plan->model && attn_model_get_info(plan->model->model)->bytes > API_MEETING_LARGE_BYTES;
    return plan->model && plan->num_inputs == 1 && plan->num_stacks == 1 && plan->request->max_new_tokens == 0 &&
           in->model.T <= (large ? API_MEETING_EACH_OF_LARGE : API_MEETING_EACH) && plan->encoder->order != API_ORDER_LAYERS &&
           attn_model_joins(plan->model->model, &in->keep[0]);
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

/* From the first token to be chosen to the last tensor held: what input b takes. */
static attn_price input_price(const api_call *call, const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    attn_price run;
    if (api_generates_lines(plan))
        return api_generate_lines_price(plan, b);
    if (plan->model)
        run = attn_model_price(plan->model->model, &in->model, in->keep);
    else
        run = api_operator_item_price(call->service->runtime, plan->request, &plan->shape, &in->keep[0]);
    run.bytes = attn_plus(run.bytes, api_collect_bytes(plan, b));
    if (api_plan_is_small(plan))
        run.bytes = attn_plus(run.bytes, attn_model_joint_bytes(plan->model->model, in->model.T));
    if (plan->generates) {
        attn_price generation = api_generate_price(plan, b);
        run.flops = attn_plus(run.flops, generation.flops);
        run.bytes = generation.bytes > run.bytes ? generation.bytes : run.bytes;
    }
    return run;
}

static void set_price(const api_call *call, api_plan *plan)
{
    uint64_t most = 0;
    plan->price = (attn_price){ 0 };
    for (size_t b = 0; b < plan->num_inputs; b++) {
        attn_price price = input_price(call, plan, b);
        most = price.bytes > most ? price.bytes : most;
        plan->price.flops = attn_plus(plan->price.flops, price.flops);
    }
    plan->response_bytes = api_encoder_bound(plan->encoder, plan);
    plan->price.bytes = attn_plus(most, api_encoder_blocks(call->service->runtime, plan->response_bytes));
    if (plan->encoder->memory)
        plan->price.bytes = attn_plus(plan->price.bytes, plan->encoder->memory(plan));
    plan->memory_bytes = attn_plus(call->reserved, plan->price.bytes);
}

static void check_price(const api_call *call, api_plan *plan)
{
    const api_limits *limits = &call->service->limits;
    if (plan->response_bytes > limits->max_response_bytes)
        api_plan_excess(plan, API_RESPONSE_TOO_LARGE, limits->max_response_bytes, plan->response_bytes,
                        "the answer may take %llu bytes and at most %llu are allowed; choose layers, heads, queries or keys, reduce, pool, or ask for top_k",
                        (unsigned long long)plan->response_bytes, (unsigned long long)limits->max_response_bytes);
    if (plan->memory_bytes > limits->max_memory_bytes)
        api_plan_excess(plan, API_MEMORY_LIMIT, limits->max_memory_bytes, plan->memory_bytes,
                        "the computation may take %llu bytes of memory and at most %llu are allowed; send less at a time, or ask for less",
                        (unsigned long long)plan->memory_bytes, (unsigned long long)limits->max_memory_bytes);
}

/* A .npy file is one tensor; of what an encoder-decoder gives there are several by one name. */
static bool check_single(api_call *call, const api_plan *plan)
{
    api_part parts[API_MAX_PARTS];
    if (plan->form->kind != API_FORM_NPY || api_plan_parts(plan, 0, parts) == 1)
        return true;
    return api_fail(&call->problem, API_UNSUPPORTED_COMBINATION, plan->request->want.outputs ? "/output" : "/analyses",
                    "model %s gives several tensors by this name, and application/x-npy holds one; set Accept to application/vnd.safetensors",
                    plan->model->name);
}

static void check_form(const api_call *call, api_plan *plan)
{
    if (plan->encoder->check)
        plan->encoder->check(plan);
    set_price(call, plan);
    check_price(call, plan);
}

bool api_plan_make(api_call *call, api_attention_request *req, api_plan *plan)
{
    *plan = (api_plan){ .request = req, .form = &call->form, .encoder = api_encoder_of(call->form.kind), .num_inputs = req->num_inputs };
    plan->generates = req->max_new_tokens > 0;
    plan->is_default_selection = select_by_default(plan->form, &req->want);
    if (!api_call_reserve(call, api_arena_bytes(req->num_inputs, sizeof *plan->inputs)))
        return false;
    plan->inputs = attn_arena_zero(call->worker->arena, req->num_inputs, sizeof *plan->inputs);
    if (!plan->inputs)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the inputs");
    check_batch(call, plan);
    bool with_model = req->kind == API_INPUT_TEXT || req->kind == API_INPUT_IDS || req->kind == API_INPUT_EMBEDS;
    if (!(with_model ? take_model(call, plan) : take_operator(call, plan)) || !api_plan_reserve_choices(call, plan))
        return false;
    plan->choices = attn_arena_save(call->worker->arena);
    if (!api_plan_choose(call, plan) || !check_single(call, plan))
        return false;
    check_form(call, plan);
    return true;
}

/* The generation is over, and its price with it. */
bool api_plan_again(api_call *call, api_plan *plan)
{
    uint64_t reserved = plan->price.bytes;
    plan->generates = false;
    for (size_t b = 0; b < plan->num_inputs; b++)
        api_plan_set_lengths(plan, &plan->inputs[b]);
    if (!api_plan_choose(call, plan))
        return false;
    check_form(call, plan);
    return api_plan_refuse(call, plan) && (plan->price.bytes <= reserved || api_call_reserve(call, plan->price.bytes - reserved));
}

bool api_plan_request(api_call *call, const api_service *reader, api_attention_request *req, api_plan *plan)
{
    const char *body = api_call_body(call);
    size_t length = call->request->body_length;
    if (!api_call_reserve(call, api_request_bytes(body, length)) ||
        !api_read_attention(reader, &call->form, body, length, call->worker->arena, req, &call->problem))
        return false;
    bool has_text = req->kind != API_INPUT_EMBEDDINGS && req->kind != API_INPUT_QKV;
    if (!has_text && call->worker->is_guest) { /* no model: it will not fit, and is to find its body when it comes again */
        call->worker->declined = true;
        return false;
    }
    if (!has_text && call->reply->body_read)
        call->reply->body_read(call->reply->ctx);
    return api_plan_make(call, req, plan);
}
