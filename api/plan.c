/* plan.c - which model, which layers, heads, queries and keys, which tensors in which order, and what it all costs. See plan.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "collect.h"

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
    return api_fail_limit(&call->problem, e->code, e->code == API_TOO_MANY_TOKENS ? api_plan_pointer(plan) : NULL, e->limit, e->need, "%s", e->detail);
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

static bool take_model(api_call *call, api_plan *plan)
{
    plan->model = api_find_model(call->service, plan->request->model, &call->problem);
    if (!plan->model)
        return false;
    const attn_model_info *info = attn_model_get_info(plan->model->model);
    plan->num_layers = info->num_hidden_layers;
    plan->num_attention_heads = info->num_attention_heads;
    plan->head_dim = plan->value_dim = info->head_dim;
    plan->hidden = info->hidden_size;
    return api_check_available(plan->request, plan->model->model, NULL, &call->problem) && api_plan_inputs(call, plan);
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
    plan->num_layers = 1;
    plan->num_attention_heads = s->H;
    plan->head_dim = s->head_dim;
    plan->value_dim = s->value_dim;
    plan->hidden = plan->request->w_o.rank ? s->output_dim : s->H * s->value_dim;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        plan->inputs[b].T_q = s->T_q;
        plan->inputs[b].T_k = s->T_k;
    }
    check_length(call, plan);
    return true;
}

/* ---- selections ----------------------------------------------------------------------------------------------------- */

static bool choose(api_call *call, const api_indices *asked, const char *field, size_t n, api_choice *out)
{
    out->asked = asked->kind != API_ALL;
    return api_resolve(asked, field, n, call->worker->arena, &out->list, &out->count, &call->problem);
}

/* Every row is ranked, so a key that was asked for ten million times must not be looked at as often. */
static bool choose_ranked(api_call *call, api_plan_input *in)
{
    in->ranked = in->keys;
    if (!in->keys.list)
        return true;
    uint8_t *seen = attn_arena_zero(call->worker->arena, in->T_k, 1);
    int32_t *list = attn_arena_take(call->worker->arena, in->T_k, sizeof *list);
    if (!seen || !list)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the selection");
    in->ranked = (api_choice){ .list = list };
    for (size_t i = 0; i < in->keys.count; i++) {
        int32_t key = in->keys.list[i];
        if (!seen[key])
            list[in->ranked.count++] = key;
        seen[key] = 1;
    }
    return true;
}

/* The most bytes that resolving takes: a list has as many entries as it has, a slice at most as many as the axis. */
static uint64_t choice_bytes(const api_indices *asked, size_t n)
{
    return asked->kind == API_ALL ? 0 : api_arena_bytes(asked->kind == API_LIST ? asked->count : n, sizeof(int32_t));
}

static bool wants_states(const api_plan *plan)
{
    return (plan->request->want.outputs & ATTN_BIT(ATTN_HIDDEN_STATES)) != 0;
}

/* Which tokens are special must be known. */
static bool marks_tokens(const api_plan *plan)
{
    return (plan->request->want.analyses & ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS)) != 0;
}

static bool reserve_choices(api_call *call, const api_plan *plan)
{
    const api_return *want = &plan->request->want;
    uint64_t layers = choice_bytes(&want->layers, plan->num_layers), bytes = attn_plus(layers, choice_bytes(&want->heads, plan->num_attention_heads));
    if (wants_states(plan))
        bytes = attn_plus(bytes, layers);
    for (size_t b = 0; b < plan->num_inputs; b++) {
        const api_plan_input *in = &plan->inputs[b];
        bytes = attn_plus(bytes, attn_plus(choice_bytes(&want->queries, in->T_q), choice_bytes(&want->keys, in->T_k)));
        if (want->top_k && want->keys.kind != API_ALL)
            bytes = attn_plus(bytes, attn_plus(api_arena_bytes(in->T_k, 1), api_arena_bytes(in->T_k, sizeof(int32_t))));
        if (marks_tokens(plan))
            bytes = attn_plus(bytes, api_arena_bytes(in->T_k, 1));
    }
    return api_call_reserve(call, bytes);
}

/* State 0 belongs to no layer: it comes where none was named. */
static bool choose_states(api_call *call, const api_plan *plan, api_choice *states)
{
    *states = (api_choice){ .count = plan->num_layers + 1 };
    if (!wants_states(plan) || !plan->layers.list)
        return true;
    int32_t *list = attn_arena_take(call->worker->arena, plan->layers.count, sizeof *list);
    if (!list)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the selection");
    *states = (api_choice){ .list = list, .count = plan->layers.count, .asked = true };
    for (size_t i = 0; i < plan->layers.count; i++)
        list[i] = plan->layers.list[i] + 1;
    return true;
}

/* What analyses may ask about the tokens: special are those that the template set, and those whose id is. */
static bool describe_tokens(api_call *call, const api_plan *plan, api_plan_input *in)
{
    const attn_tokenizer *tokenizer = plan->model ? attn_model_get_tokenizer(plan->model->model) : NULL;
    in->about.ids = in->model.input_ids;
    if (!marks_tokens(plan) || !in->about.ids || !tokenizer)
        return true;
    uint8_t *special = attn_arena_take(call->worker->arena, in->T_k, 1);
    if (!special)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
    for (size_t t = 0; t < in->T_k; t++)
        special[t] = (in->tokens.tokens && in->tokens.tokens[t].special) || attn_tokenizer_is_special(tokenizer, in->about.ids[t]);
    in->about.is_special = special;
    return true;
}

/* The run pools maps where there is something to pool; shorter ones come whole and are cut like any other. */
static void plan_run(const api_plan *plan, api_plan_input *in)
{
    const api_return *want = &plan->request->want;
    in->keep = (attn_keep){
        .outputs = want->outputs,
        .layers = plan->layers.list,
        .num_layers = plan->layers.count,
        .heads = plan->heads.list,
        .num_heads = plan->heads.count,
        .analyses = want->analyses,
        .about = &in->about,
    };
    if (!want->pool_size)
        return;
    in->pool = (attn_pool){
        .size = want->pool_size,
        .mode = want->pool_mode,
        .queries = in->queries.list,
        .num_queries = in->queries.count,
        .keys = in->keys.list,
        .num_keys = in->keys.count,
    };
    if (in->queries.count > want->pool_size || in->keys.count > want->pool_size)
        in->keep.pool = &in->pool;
}

static bool choose_all(api_call *call, api_plan *plan)
{
    const api_return *want = &plan->request->want;
    api_choice states;
    if (!reserve_choices(call, plan) || !choose(call, &want->layers, "layers", plan->num_layers, &plan->layers) ||
        !choose(call, &want->heads, "heads", plan->num_attention_heads, &plan->heads) || !choose_states(call, plan, &states))
        return false;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        api_plan_input *in = &plan->inputs[b];
        in->states = states;
        if (!choose(call, &want->queries, "queries", in->T_q, &in->queries) || !choose(call, &want->keys, "keys", in->T_k, &in->keys) ||
            (want->top_k && !choose_ranked(call, in)) || !describe_tokens(call, plan, in))
            return false;
        plan_run(plan, in);
    }
    return true;
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

static attn_price run_price(const api_call *call, const api_plan *plan, size_t b)
{
    if (plan->model)
        return attn_model_price(plan->model->model, &plan->inputs[b].model, &plan->inputs[b].keep);
    return api_operator_item_price(call->service->runtime, plan->request, &plan->shape, &plan->inputs[b].keep);
}

static void set_price(const api_call *call, api_plan *plan)
{
    uint64_t most = 0;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        attn_price run = run_price(call, plan, b);
        uint64_t bytes = attn_plus(run.bytes, api_collect_bytes(plan, b));
        most = bytes > most ? bytes : most;
        plan->price.flops = attn_plus(plan->price.flops, run.flops);
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

bool api_plan_make(api_call *call, api_attention_request *req, api_plan *plan)
{
    *plan = (api_plan){ .request = req, .form = &call->form, .encoder = api_encoder_of(call->form.kind), .num_inputs = req->num_inputs };
    plan->is_default_selection = select_by_default(plan->form, &req->want);
    if (!api_call_reserve(call, api_arena_bytes(req->num_inputs, sizeof *plan->inputs)))
        return false;
    plan->inputs = attn_arena_zero(call->worker->arena, req->num_inputs, sizeof *plan->inputs);
    if (!plan->inputs)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the inputs");
    check_batch(call, plan);
    bool with_model = req->kind == API_INPUT_TEXT || req->kind == API_INPUT_IDS || req->kind == API_INPUT_EMBEDS;
    if (!(with_model ? take_model(call, plan) : take_operator(call, plan)) || !choose_all(call, plan))
        return false;
    if (plan->encoder->check)
        plan->encoder->check(plan);
    set_price(call, plan);
    check_price(call, plan);
    return true;
}

bool api_plan_request(api_call *call, const api_service *reader, api_attention_request *req, api_plan *plan)
{
    const char *body = api_call_body(call);
    size_t length = call->request->body_length;
    if (!api_call_reserve(call, api_request_bytes(body, length)) ||
        !api_read_attention(reader, &call->form, body, length, call->worker->arena, req, &call->problem))
        return false;
    bool has_text = req->kind != API_INPUT_EMBEDDINGS && req->kind != API_INPUT_QKV;
    if (!has_text && call->reply->body_read)
        call->reply->body_read(call->reply->ctx);
    return api_plan_make(call, req, plan);
}
