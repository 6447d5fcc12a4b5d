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

static const attn_model_info *info_of(const api_plan *plan)
{
    return attn_model_get_info(plan->model->model);
}

static bool has_decoder(const api_plan *plan)
{
    return plan->num_stacks > 1;
}

static bool no_memory(api_call *call)
{
    return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
}

/* ---- texts -------------------------------------------------------------------------------------------------------------- */

static uint64_t tokenizer_bytes(const attn_tokenizer *tokenizer, const api_text_batch *texts)
{
    uint64_t bytes = api_arena_bytes(texts->num, sizeof(attn_encoding));
    for (size_t b = 0; b < texts->num; b++)
        bytes = attn_plus(bytes, attn_tokenizer_bytes(tokenizer, texts->text[b].length + (texts->pair ? texts->pair[b].length : 0)));
    return bytes;
}

static bool encode_texts(api_call *call, const attn_tokenizer *tokenizer, const api_text_batch *texts, const attn_encode_options *options,
                         attn_encoding *encodings)
{
    const api_worker *worker = call->worker;
    attn_status st = ATTN_OK;
    char pointer[64];
    uint64_t begin = attn_clock_ns();
    for (size_t b = 0; b < texts->num && st == ATTN_OK; b++)
        st = attn_tokenizer_encode(tokenizer, &texts->text[b], texts->pair ? &texts->pair[b] : NULL, options, worker->arena, worker->cancel, &encodings[b],
                                   call->err);
    uint64_t ns = attn_clock_ns() - begin;
    call->tokenize_ns += ns;
    call->reply->stage(call->reply->ctx, API_STAGE_TOKENIZE, ns);
    api_item_pointer(pointer, sizeof pointer, texts->field, SIZE_MAX, SIZE_MAX);
    return st == ATTN_OK || api_call_fail(call, pointer);
}

bool api_tokenize_texts(api_call *call, const api_model *model, const api_text_batch *texts, const attn_encode_options *options, attn_encoding **out)
{
    const attn_tokenizer *tokenizer = attn_model_get_tokenizer(model->model);
    if (!tokenizer)
        return api_fail(&call->problem, API_NO_TOKENIZER, "/text", "model %s has no tokenizer; send input_ids instead", model->name);
    if (!api_call_reserve(call, tokenizer_bytes(tokenizer, texts)))
        return false;
    *out = attn_arena_take(call->worker->arena, texts->num, sizeof **out);
    return *out ? encode_texts(call, tokenizer, texts, options, *out) : no_memory(call);
}

/* The most tokens a sequence may have: the model's positions, or the server's limit where that is less. */
static size_t longest(const api_call *call, const api_plan *plan)
{
    return attn_least(info_of(plan)->max_tokens, call->service->limits.max_tokens);
}

/* What is to be written behind a sequence. */
static size_t written(const api_plan *plan, bool is_decoder)
{
    return api_plan_writes(plan, is_decoder) ? plan->request->max_new_tokens : 0;
}

/* The most tokens that a text which is too long is cut to: what is to be written finds place behind them, unless there could be none. */
static size_t cut_to(const api_call *call, const api_plan *plan, bool is_decoder)
{
    size_t limit = longest(call, plan), room = written(plan, is_decoder);
    return room < limit ? limit - room : limit;
}

static bool take_texts(api_call *call, api_plan *plan)
{
    const api_attention_request *req = plan->request;
    attn_encode_options options = { .add_special_tokens = req->add_special_tokens, .max_length = req->truncation ? cut_to(call, plan, false) : 0 };
    api_text_batch texts = { .field = "text", .text = req->text, .pair = has_decoder(plan) ? NULL : req->text_pair, .num = req->num_inputs };
    attn_encoding *encodings;
    if (!api_tokenize_texts(call, plan->model, &texts, &options, &encodings))
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

/* ---- what a decoder has read -------------------------------------------------------------------------------------------- */

/* What a decoder reads of a text, whole: its start, and the text's tokens without those that close it. */
static size_t full_count(const api_plan *plan, const attn_encoding *text)
{
    size_t closing = text->count > 0 && plan->request->add_special_tokens ? attn_tokenizer_closing(api_plan_tokenizer(plan)) : 0;
    return 1 + text->count - attn_least(closing, text->count);
}

/* The start token, as a token of the template would be, and behind it what there is place for of a text. */
static bool put_start(api_call *call, const api_plan *plan, const attn_encoding *text, attn_encoding *out)
{
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    size_t full = full_count(plan, text), count = plan->request->truncation ? attn_least(full, cut_to(call, plan, true)) : full;
    attn_token *tokens = attn_arena_take(call->worker->arena, count, sizeof *tokens);
    if (!tokens)
        return no_memory(call);
    tokens[0] = (attn_token){ .id = info_of(plan)->decoder_start_token_id, .special = true };
    if (tokenizer)
        attn_tokenizer_piece(tokenizer, tokens[0].id, &tokens[0].text, &tokens[0].display);
    for (size_t t = 1; t < count; t++) {
        tokens[t] = text->tokens[t - 1];
        tokens[t].sequence = !tokens[t].special; /* it came in text_pair */
    }
    *out = (attn_encoding){ .tokens = tokens, .count = count, .full_count = full, .truncated = count < full };
    return true;
}

/* A text is tokenized as it would be alone, and cut later: a token goes before it, and those that close it will not be there. */
static bool tokenize_decoder(api_call *call, api_plan *plan, attn_encoding **out)
{
    const api_attention_request *req = plan->request;
    attn_encode_options options = { .add_special_tokens = req->add_special_tokens };
    api_text_batch texts = { .field = "text_pair", .text = req->text_pair, .num = req->num_inputs };
    return api_tokenize_texts(call, plan->model, &texts, &options, out);
}

static bool start_decoder(api_call *call, api_plan *plan)
{
    const attn_encoding none = { .count = 0 };
    attn_encoding *behind = NULL;
    uint64_t bytes = 0;
    if (info_of(plan)->decoder_start_token_id < 0)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/decoder_input_ids",
                        "model %s names no token that its decoder starts with; send decoder_input_ids", plan->model->name);
    if (plan->request->text_pair && !tokenize_decoder(call, plan, &behind))
        return false;
    for (size_t b = 0; b < plan->num_inputs; b++)
        bytes = attn_plus(bytes, api_arena_bytes(1 + (behind ? behind[b].count : 0), sizeof(attn_token)));
    if (!api_call_reserve(call, bytes))
        return false;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        api_plan_input *in = &plan->inputs[b];
        if (!put_start(call, plan, behind ? &behind[b] : &none, &in->decoder_tokens))
            return false;
        in->model.decoder_T = in->decoder_tokens.count;
    }
    return true;
}

static bool take_decoder_lengths(api_call *call, api_plan *plan)
{
    if (!has_decoder(plan))
        return true;
    if (!plan->request->decoder_input_ids)
        return start_decoder(call, plan);
    for (size_t b = 0; b < plan->num_inputs; b++)
        plan->inputs[b].model.decoder_T = plan->request->decoder_input_ids[b].count;
    return true;
}

/* ---- lengths ------------------------------------------------------------------------------------------------------------ */

/* What to mend where a sequence is too long: what was sent of it. NULL: the inputs' own field. */
static const char *field_of(const api_plan *plan, bool is_decoder)
{
    if (!is_decoder)
        return NULL;
    return plan->request->decoder_input_ids ? "/decoder_input_ids" : plan->request->text_pair ? "/text_pair" : "/max_new_tokens";
}

/* The lengths are known: is one beyond the model? Only the longest is reported. */
static void check_lengths(const api_call *call, api_plan *plan, bool is_decoder)
{
    const api_attention_request *req = plan->request;
    size_t limit = longest(call, plan), most = 0, more = written(plan, is_decoder);
    for (size_t b = 0; b < plan->num_inputs; b++)
        most = attn_most(most, is_decoder ? plan->inputs[b].model.decoder_T : plan->inputs[b].model.T);
    uint64_t need = attn_plus(most, more);
    if (need <= limit)
        return;
    bool is_text = is_decoder ? req->text_pair != NULL : req->kind == API_INPUT_TEXT, cuts = is_text && !req->truncation && more < limit;
    const char *whose = is_decoder ? "the decoder" : has_decoder(plan) ? "the encoder" : is_text ? "the text" : "the input";
    char asked[64] = "";
    if (more > 0)
        snprintf(asked, sizeof asked, ", %zu more to come", more);
    api_plan_excess(plan, API_TOO_MANY_TOKENS, limit, need, "%s has %zu token%s%s%s, and %s takes at most %zu%s", whose, most, most == 1 ? "" : "s",
                    is_text && req->add_special_tokens ? ", special ones counted" : "", asked,
                    limit == call->service->limits.max_tokens ? "this server" : "the model", limit, cuts ? "; truncation: true cuts it" : "");
    plan->excesses[plan->num_excesses - 1].pointer = more >= limit ? "/max_new_tokens" : field_of(plan, is_decoder);
}

/* ---- ids and what goes with them ---------------------------------------------------------------------------------------- */

/* Checks and narrows one input's list of ids. `n` is how many there may be: below it is a valid id. */
static bool narrow(api_call *call, const api_plan *plan, const char *field, const api_ids *ids, size_t b, size_t n, int32_t *dst)
{
    for (size_t t = 0; t < ids->count; t++) {
        char pointer[96];
        bool is_segment = field[0] == 't';
        if (ids->values[t] >= 0 && (uint64_t)ids->values[t] < n) {
            dst[t] = (int32_t)ids->values[t];
            continue;
        }
        api_item_pointer(pointer, sizeof pointer, field, item_of(plan->request, b), t);
        return api_fail(&call->problem, is_segment ? API_OUT_OF_RANGE : API_TOKEN_ID_OUT_OF_RANGE, pointer, "%s %" PRId64 " is not among 0 to %zu of model %s",
                        is_segment ? "segment id" : "token id", ids->values[t], n - 1, plan->model->name);
    }
    return true;
}

/* The ids of a text's tokens, which the model may not have. */
static bool copy_ids(api_call *call, const api_plan *plan, const char *pointer, const attn_encoding *tokens, size_t n, int32_t *dst)
{
    for (size_t t = 0; t < tokens->count; t++) {
        dst[t] = tokens->tokens[t].id;
        if (dst[t] < 0 || (size_t)dst[t] >= n)
            return api_fail(&call->problem, API_TOKEN_ID_OUT_OF_RANGE, pointer, "the tokenizer gives id %" PRId32 ", and model %s has %zu", dst[t],
                            plan->model->name, n);
    }
    return true;
}

static bool take_ids(api_call *call, api_plan *plan, size_t b)
{
    api_plan_input *in = &plan->inputs[b];
    size_t n = info_of(plan)->vocab_size;
    if (plan->request->kind == API_INPUT_EMBEDS)
        return true;
    int32_t *ids = attn_arena_take(call->worker->arena, in->model.T, sizeof *ids);
    in->model.input_ids = ids;
    if (!ids)
        return no_memory(call);
    return plan->request->input_ids ? narrow(call, plan, "input_ids", &plan->request->input_ids[b], b, n, ids)
                                    : copy_ids(call, plan, "/text", &in->tokens, n, ids);
}

static bool take_decoder_ids(api_call *call, api_plan *plan, size_t b)
{
    api_plan_input *in = &plan->inputs[b];
    const api_ids *sent = plan->request->decoder_input_ids;
    size_t n = info_of(plan)->decoder_vocab_size;
    if (!has_decoder(plan))
        return true;
    int32_t *ids = attn_arena_take(call->worker->arena, in->model.decoder_T, sizeof *ids);
    in->model.decoder_input_ids = ids;
    if (!ids)
        return no_memory(call);
    return sent ? narrow(call, plan, "decoder_input_ids", &sent[b], b, n, ids) : copy_ids(call, plan, "/text_pair", &in->decoder_tokens, n, ids);
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
    size_t num = info_of(plan)->type_vocab_size;
    if (!sent && (plan->request->kind != API_INPUT_TEXT || num <= 1))
        return true;
    if (!fits(call, plan, "token_type_ids", sent, b))
        return false;
    int32_t *segments = attn_arena_take(call->worker->arena, in->model.T, sizeof *segments);
    if (!segments)
        return no_memory(call);
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
        return no_memory(call);
    for (size_t t = 0; t < sent->count; t++)
        mask[t] = sent->values[t] != 0;
    plan->inputs[b].model.attention_mask = mask;
    return true;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

static bool take_embeds(api_call *call, api_plan *plan)
{
    const api_tensor *x = &plan->request->inputs_embeds;
    size_t size = info_of(plan)->embedding_size, T = x->shape[x->rank - 2], D = x->shape[x->rank - 1];
    if (D != size)
        return api_fail(&call->problem, API_SHAPE_MISMATCH, "/inputs_embeds", "inputs_embeds has %zu columns, and model %s has embeddings of %zu", D,
                        plan->model->name, size);
    for (size_t b = 0; b < plan->num_inputs; b++) {
        plan->inputs[b].model.T = plan->inputs[b].model.num_embeds = T;
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
    for (size_t b = 0; b < plan->num_inputs; b++) {
        const attn_model_input *in = &plan->inputs[b].model;
        bytes = attn_plus(bytes, 2 * api_arena_bytes(in->T, sizeof(int32_t)) + api_arena_bytes(in->T, 1) + api_arena_bytes(in->decoder_T, sizeof(int32_t)));
    }
    return api_call_reserve(call, bytes);
}

/* Fields that the model has no use for. */
static bool check_fields(api_call *call, const api_plan *plan)
{
    const api_attention_request *req = plan->request;
    const attn_model_info *info = info_of(plan);
    const char *name = plan->model->name;
    if (req->token_type_ids && info->type_vocab_size <= 1)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/token_type_ids", "model %s has no segments", name);
    if (req->decoder_input_ids && !has_decoder(plan))
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/decoder_input_ids", "model %s is no encoder-decoder; leave decoder_input_ids out", name);
    if (req->max_new_tokens && !info->writes)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/max_new_tokens",
                        "model %s does not generate: it is an encoder, which reads a text as a whole; leave max_new_tokens out", name);
    if (req->max_new_tokens && !info->generates)
        return api_fail(&call->problem, API_UNSUPPORTED_BY_MODEL, "/max_new_tokens",
                        "model %s does not generate: its file has no head that chooses words; leave max_new_tokens out", name);
    return true;
}

bool api_plan_inputs(api_call *call, api_plan *plan)
{
    if (!check_fields(call, plan) || !take_lengths(call, plan) || !take_decoder_lengths(call, plan) || !reserve_lists(call, plan))
        return false;
    check_lengths(call, plan, false);
    check_lengths(call, plan, true);
    for (size_t b = 0; b < plan->num_inputs; b++)
        if (!take_ids(call, plan, b) || !take_segments(call, plan, b) || !take_mask(call, plan, b) || !take_decoder_ids(call, plan, b))
            return false;
    return true;
}
