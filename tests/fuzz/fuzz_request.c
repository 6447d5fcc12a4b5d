/* fuzz_request.c - any bytes as the body of POST /v1/attention (or /v1/tokenize): refused with a problem, or read into a request whose every number can be
 * touched, whose shapes are checked, and whose problem is valid JSON.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static attn_runtime *runtime;
static volatile int64_t touched_ids; /* reading is the test: what a sanitizer does not stop is not looked at */
static volatile float touched;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_problem(const api_problem *problem)
{
    char body[2048];
    api_problem_write(problem, "id", body, sizeof body);
    json_t *root = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    require(root && problem->code != API_OK && api_code_status(problem->code) < 500 && problem->detail[0]);
    json_decref(root);
}

static void check_tensor(const api_tensor *x)
{
    size_t n = x->rank > 0;
    for (size_t i = 0; i < x->rank; i++)
        n *= x->shape[i];
    require(n > 0 || x->rank == 0);
    for (size_t i = 0; i < n; i++)
        require(isfinite(x->data[i]));
}

static void check_ids(const api_ids *ids, size_t B)
{
    for (size_t b = 0; ids && b < B; b++) {
        require(ids[b].count > 0);
        for (size_t i = 0; i < ids[b].count; i++)
            touched_ids ^= ids[b].values[i];
    }
}

static void check_indices(const api_indices *in, attn_arena *arena)
{
    for (size_t n = 1; n < 40; n += 13) {
        const int32_t *list;
        size_t count;
        api_problem problem = { 0 };
        if (!api_resolve(in, "layers", n, arena, &list, &count, &problem)) {
            check_problem(&problem);
            continue;
        }
        require(count > 0);
        for (size_t i = 0; list && i < count; i++)
            require(list[i] >= 0 && (size_t)list[i] < n);
    }
}

/* The corners of what core would read. */
static void check_item(const api_attention_request *req, const api_operator_shape *s, size_t b, attn_arena *arena)
{
    attn_operator_input in;
    attn_error err = { 0 };
    attn_status status = api_operator_item(runtime, req, s, b, &(api_worker){ .arena = arena }, &in, &err);
    if (status != ATTN_OK) {
        require(status == ATTN_E_OVERFLOW);
        return;
    }
    const attn_heads *parts[] = { &in.query, &in.key, &in.value };
    const size_t heads[] = { s->H, s->G, s->G }, lengths[] = { s->T_q, s->T_k, s->T_k }, widths[] = { s->head_dim, s->head_dim, s->value_dim };
    for (size_t i = 0; i < 3; i++)
        touched +=
            parts[i]->data[0] +
            parts[i]->data[(ptrdiff_t)(heads[i] - 1) * parts[i]->head_stride + (ptrdiff_t)(lengths[i] - 1) * parts[i]->row_stride + (ptrdiff_t)widths[i] - 1];
    const attn_mask *m = &in.rules.mask;
    ptrdiff_t last = (ptrdiff_t)(s->H - 1) * m->head_stride + (ptrdiff_t)(s->T_q - 1) * m->query_stride + (ptrdiff_t)(s->T_k - 1) * m->key_stride;
    if (m->keep)
        touched += m->keep[last];
    if (m->add)
        touched += m->add[last];
}

static void check_free(const api_attention_request *req, attn_arena *arena)
{
    api_operator_shape s;
    api_problem problem = { 0 };
    if (!api_check_operator(req, &s, &problem)) {
        check_problem(&problem);
        return;
    }
    require(s.B == req->num_inputs && s.H % s.G == 0);
    if (!api_check_available(req, NULL, &s, &problem))
        check_problem(&problem);
    for (size_t b = 0; b < s.B; b++)
        check_item(req, &s, b, arena);
}

/* What the forms hold is what was let through. */
static void check_return(const api_attention_request *req, const api_form *form)
{
    const api_return *want = &req->want;
    bool is_drawn = api_form_is_drawn(form->kind), has_maps = want->outputs & ATTN_MAP_OUTPUTS;
    require(want->outputs || want->analyses);
    require(want->outputs < ATTN_BIT(ATTN_OUTPUT_COUNT) && want->analyses < ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT));
    require(!is_drawn || (want->outputs & ~ATTN_MAP_OUTPUTS) == 0);
    require(!is_drawn || (!want->analyses && !want->top_k && want->dtype == API_FLOAT32));
    require(!want->pool_size || (has_maps && !want->top_k && (want->pool_mode == ATTN_REDUCE_MEAN || want->pool_mode == ATTN_REDUCE_MAX)));
    require(api_form_is_json(form->kind) || (!want->has_encoding && !want->decimals));
    require(want->dtype != API_UINT8 || (want->outputs == ATTN_BIT(ATTN_ATTENTIONS) && !want->analyses));
    if (form->kind == API_FORM_NPY) {
        uint64_t tensors = (uint64_t)want->outputs << 32 | want->analyses;
        require(tensors && (tensors & (tensors - 1)) == 0 && !want->top_k && req->num_inputs == 1);
    }
}

static void check_request(const api_attention_request *req, attn_arena *arena)
{
    const api_tensor *tensors[] = { &req->inputs_embeds, &req->embeddings, &req->key_embeddings,
                                    &req->query,         &req->key,        &req->value,
                                    &req->w_q,           &req->w_k,        &req->w_v,
                                    &req->w_o,           &req->b_q,        &req->b_k,
                                    &req->b_v,           &req->b_o };
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        check_tensor(tensors[i]);
    require(req->num_inputs >= 1 && req->num_inputs <= 4);
    check_ids(req->input_ids, req->num_inputs);
    check_ids(req->attention_mask, req->num_inputs);
    check_ids(req->token_type_ids, req->num_inputs);
    check_indices(&req->want.layers, arena);
    check_indices(&req->want.keys, arena);
    if (req->kind == API_INPUT_EMBEDDINGS || req->kind == API_INPUT_QKV)
        check_free(req, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attn_error err = { 0 };
    attn_runtime_options options = { .threads = 1, .kernels = "ref" };
    if (!runtime && attn_runtime_new(&runtime, &options, &err) != ATTN_OK)
        abort();
    api_service service = { .runtime = runtime, .limits = { .max_tokens = 64, .max_batch = 4 } };
    attn_arena *arena = attn_arena_new();
    api_problem problem = { 0 };
    api_attention_request req;
    api_tokenize_request tokenize;
    for (api_form form = { .content_type = "" }; form.kind < API_FORM_COUNT; form.kind++) {
        attn_arena_reset(arena, 0);
        memset(&problem, 0, sizeof problem);
        if (api_read_attention(&service, &form, (const char *)data, size, arena, &req, &problem)) {
            require(attn_arena_peak(arena) <= api_request_bytes((const char *)data, size));
            check_return(&req, &form);
            if (form.kind == API_FORM_JSON) /* the input is read the same for every form */
                check_request(&req, arena);
        } else {
            check_problem(&problem);
        }
    }
    memset(&problem, 0, sizeof problem);
    if (!api_read_tokenize(&service, (const char *)data, size, arena, &tokenize, &problem))
        check_problem(&problem);
    attn_arena_free(arena);
    return 0;
}
