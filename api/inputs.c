/* inputs.c - the inputs of a plan: texts tokenized, ids and segments checked against the model, rows of embeddings found.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>

void api_item_pointer(char *dst, size_t size, const char *field, size_t item, size_t position)
{
    int n = snprintf(dst, size, "/%s", field);
    if (n > 0 && (size_t)n < size && item != SIZE_MAX)
        n += snprintf(dst + n, size - (size_t)n, "/%zu", item);
    if (n > 0 && (size_t)n < size && position != SIZE_MAX)
        snprintf(dst + n, size - (size_t)n, "/%zu", position);
}

/* Where an item stands in the body: a single input is no array. */
static size_t item_of(const api_attention_request *req, size_t b)
{
    return req->is_batch ? b : SIZE_MAX;
}

static uint64_t tokenizer_bytes(const attn_tokenizer *tokenizer, const attn_text *text, const attn_text *pair, size_t num)
{
    uint64_t bytes = api_arena_bytes(num, sizeof(attn_encoding));
    for (size_t b = 0; b < num; b++)
        bytes = attn_plus(bytes, attn_tokenizer_bytes(tokenizer, text[b].length + (pair ? pair[b].length : 0)));
    return bytes;
}

static bool encode_texts(api_call *call, const attn_tokenizer *tokenizer, const attn_text *text, const attn_text *pair, size_t num,
                         const attn_encode_options *options, attn_encoding *encodings)
{
    attn_status st = ATTN_OK;
    uint64_t begin = attn_clock_ns();
    for (size_t b = 0; b < num && st == ATTN_OK; b++)
        st = attn_tokenizer_encode(tokenizer, &text[b], pair ? &pair[b] : NULL, options, call->worker->arena, call->worker->cancel, &encodings[b], call->err);
    call->tokenize_ns = attn_clock_ns() - begin;
    call->reply->stage(call->reply->ctx, API_STAGE_TOKENIZE, call->tokenize_ns);
    return st == ATTN_OK || api_fail_core(&call->problem, call->err, "/text");
}

bool api_tokenize_texts(api_call *call, const api_model *model, const attn_text *text, const attn_text *pair, size_t num, const attn_encode_options *options,
                        attn_encoding **out)
{
    const attn_tokenizer *tokenizer = attn_model_get_tokenizer(model->model);
    if (!tokenizer)
        return api_fail(&call->problem, API_NO_TOKENIZER, "/text", "model %s has no tokenizer; send input_ids instead", model->name);
    if (!api_call_reserve(call, tokenizer_bytes(tokenizer, text, pair, num)))
        return false;
    *out = attn_arena_take(call->worker->arena, num, sizeof **out);
    if (!*out)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
    return encode_texts(call, tokenizer, text, pair, num, options, *out);
}

/* The most tokens an input may have: the model's positions, or the server's limit where that is less. */
static size_t longest(const api_call *call, const api_plan *plan)
{
    size_t model = attn_model_get_info(plan->model->model)->max_tokens, server = call->service->limits.max_tokens;
    return model < server ? model : server;
}

static bool take_texts(api_call *call, api_plan *plan)
{
    const api_attention_request *req = plan->request;
    attn_encode_options options = { .add_special_tokens = req->add_special_tokens, .max_length = req->truncation ? longest(call, plan) : 0 };
    attn_encoding *encodings;
    if (!api_tokenize_texts(call, plan->model, req->text, req->text_pair, req->num_inputs, &options, &encodings))
        return false;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        char pointer[64];
        api_item_pointer(pointer, sizeof pointer, "text", item_of(req, b), SIZE_MAX);
        if (encodings[b].count == 0)
            return api_fail(&call->problem, API_NO_TOKENS, pointer, "the text gives no token at all");
        plan->inputs[b].tokens = encodings[b];
        plan->inputs[b].model.T = encodings[b].count;
    }
    return true;
}

/* The lengths are known: is one beyond the model? Only the longest is reported. */
static void check_lengths(const api_call *call, api_plan *plan)
{
    size_t limit = longest(call, plan), most = 0;
    for (size_t b = 0; b < plan->num_inputs; b++)
        if (plan->inputs[b].model.T > most)
            most = plan->inputs[b].model.T;
    if (most <= limit)
        return;
    bool is_text = plan->request->kind == API_INPUT_TEXT;
    api_plan_excess(plan, API_TOO_MANY_TOKENS, limit, most, "%s %zu tokens%s, and %s takes at most %zu%s", is_text ? "the text has" : "the input has", most,
                    is_text && plan->request->add_special_tokens ? ", special ones counted" : "",
                    limit == call->service->limits.max_tokens ? "this server" : "the model", limit, is_text ? "; truncation: true cuts it" : "");
}

/* Checks and narrows one input's list of ids. `n` is how many there may be: below it is a valid id. */
static bool narrow(api_call *call, const api_plan *plan, const char *field, const api_ids *ids, size_t b, size_t n, int32_t *dst)
{
    for (size_t t = 0; t < ids->count; t++) {
        char pointer[96];
        bool is_id = field[0] == 'i';
        if (ids->values[t] >= 0 && (uint64_t)ids->values[t] < n) {
            dst[t] = (int32_t)ids->values[t];
            continue;
        }
        api_item_pointer(pointer, sizeof pointer, field, item_of(plan->request, b), t);
        return api_fail(&call->problem, is_id ? API_TOKEN_ID_OUT_OF_RANGE : API_OUT_OF_RANGE, pointer, "%s %" PRId64 " is not among 0 to %zu of model %s",
                        is_id ? "token id" : "segment id", ids->values[t], n - 1, plan->model->name);
    }
    return true;
}

static bool take_ids(api_call *call, api_plan *plan, size_t b)
{
    api_plan_input *in = &plan->inputs[b];
    int32_t *ids = attn_arena_take(call->worker->arena, in->model.T, sizeof *ids);
    if (!ids)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
    in->model.input_ids = ids;
    size_t vocabulary = attn_model_get_info(plan->model->model)->vocab_size;
    if (plan->request->input_ids)
        return narrow(call, plan, "input_ids", &plan->request->input_ids[b], b, vocabulary, ids);
    for (size_t t = 0; t < in->model.T; t++) {
        ids[t] = in->tokens.tokens[t].id;
        if (ids[t] < 0 || (size_t)ids[t] >= vocabulary)
            return api_fail(&call->problem, API_TOKEN_ID_OUT_OF_RANGE, "/text", "the tokenizer gives id %" PRId32 ", and model %s has %zu", ids[t],
                            plan->model->name, vocabulary);
    }
    return true;
}

/* A list that came with the request has one entry for each token. */
static bool fits(api_call *call, const api_plan *plan, const char *field, const api_ids *sent, size_t b)
{
    if (!sent || sent->count == plan->inputs[b].model.T)
        return true;
    char pointer[64];
    api_item_pointer(pointer, sizeof pointer, field, item_of(plan->request, b), SIZE_MAX);
    return api_fail(&call->problem, API_SHAPE_MISMATCH, pointer, "%s has %zu entries for %zu tokens", field, sent->count, plan->inputs[b].model.T);
}

/* Segments: those sent, else the tokenizer's, where the model has any. */
static bool take_segments(api_call *call, api_plan *plan, size_t b)
{
    api_plan_input *in = &plan->inputs[b];
    const api_ids *sent = plan->request->token_type_ids ? &plan->request->token_type_ids[b] : NULL;
    size_t num = attn_model_get_info(plan->model->model)->type_vocab_size;
    if (!sent && (plan->request->kind != API_INPUT_TEXT || num <= 1))
        return true;
    if (!fits(call, plan, "token_type_ids", sent, b))
        return false;
    int32_t *segments = attn_arena_take(call->worker->arena, in->model.T, sizeof *segments);
    if (!segments)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the segments");
    in->model.token_type_ids = segments;
    if (sent)
        return narrow(call, plan, "token_type_ids", sent, b, num, segments);
    for (size_t t = 0; t < in->model.T; t++)
        segments[t] = in->tokens.tokens[t].type_id;
    return true;
}

static bool take_mask(api_call *call, api_plan *plan, size_t b)
{
    const api_ids *sent = plan->request->attention_mask ? &plan->request->attention_mask[b] : NULL;
    if (!sent)
        return true;
    if (!fits(call, plan, "attention_mask", sent, b))
        return false;
    uint8_t *mask = attn_arena_take(call->worker->arena, sent->count, sizeof *mask);
    if (!mask)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the mask");
    for (size_t t = 0; t < sent->count; t++)
        mask[t] = sent->values[t] != 0;
    plan->inputs[b].model.attention_mask = mask;
    return true;
}

static bool take_embeds(api_call *call, api_plan *plan)
{
    const api_tensor *x = &plan->request->inputs_embeds;
    size_t size = attn_model_get_info(plan->model->model)->embedding_size, T = x->shape[x->rank - 2], D = x->shape[x->rank - 1];
    if (D != size)
        return api_fail(&call->problem, API_SHAPE_MISMATCH, "/inputs_embeds", "inputs_embeds has %zu columns, and model %s has embeddings of %zu", D,
                        plan->model->name, size);
    for (size_t b = 0; b < plan->num_inputs; b++) {
        plan->inputs[b].model.T = T;
        plan->inputs[b].model.inputs_embeds = x->data + b * T * D;
    }
    return true;
}

static bool take_lengths(api_call *call, api_plan *plan)
{
    if (plan->request->kind == API_INPUT_TEXT)
        return take_texts(call, plan);
    if (plan->request->kind == API_INPUT_EMBEDS)
        return take_embeds(call, plan);
    for (size_t b = 0; b < plan->num_inputs; b++)
        plan->inputs[b].model.T = plan->request->input_ids[b].count;
    return true;
}

static bool reserve_lists(api_call *call, const api_plan *plan)
{
    uint64_t bytes = 0;
    for (size_t b = 0; b < plan->num_inputs; b++)
        bytes = attn_plus(bytes, 2 * api_arena_bytes(plan->inputs[b].model.T, sizeof(int32_t)) + api_arena_bytes(plan->inputs[b].model.T, 1));
    return api_call_reserve(call, bytes);
}

bool api_plan_inputs(api_call *call, api_plan *plan)
{
    const api_attention_request *req = plan->request;
    if (req->token_type_ids && attn_model_get_info(plan->model->model)->type_vocab_size <= 1)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/token_type_ids", "model %s has no segments", plan->model->name);
    if (req->has_decoder_input_ids)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/decoder_input_ids", "model %s has no decoder beside its encoder", plan->model->name);
    if (req->max_new_tokens)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/max_new_tokens", "model %s does not generate; leave max_new_tokens out", plan->model->name);
    if (!take_lengths(call, plan) || !reserve_lists(call, plan))
        return false;
    check_lengths(call, plan);
    for (size_t b = 0; b < plan->num_inputs; b++) {
        plan->inputs[b].T_q = plan->inputs[b].T_k = plan->inputs[b].model.T;
        if ((req->kind != API_INPUT_EMBEDS && !take_ids(call, plan, b)) || !take_segments(call, plan, b) || !take_mask(call, plan, b))
            return false;
    }
    return true;
}
