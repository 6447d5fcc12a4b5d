/* request_check.c - what the fields of a request's input must have in common: limits, and batches of equal length.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "request_read.h"

/* ---- limits ------------------------------------------------------------------------------------------------------------------- */

static bool check_batch(api_reading *r, const char *field, size_t B)
{
    size_t limit = r->service->limits.max_batch;
    char pointer[64];
    if (B <= limit)
        return true;
    snprintf(pointer, sizeof pointer, "/%s", field);
    return api_fail_limit(r->problem, API_BATCH_TOO_LARGE, pointer, limit, B, "%zu inputs in one request; this server takes at most %zu", B, limit);
}

/* item: of a batch; SIZE_MAX: none. */
static bool check_tokens(api_reading *r, const char *field, size_t item, size_t T)
{
    size_t limit = r->service->limits.max_tokens;
    char pointer[96];
    if (T <= limit)
        return true;
    if (item == SIZE_MAX)
        snprintf(pointer, sizeof pointer, "/%s", field);
    else
        snprintf(pointer, sizeof pointer, "/%s/%zu", field, item);
    return api_fail_limit(r->problem, API_TOO_MANY_TOKENS, pointer, limit, T, "%s is %zu tokens long; this server takes at most %zu", field, T, limit);
}

/* ---- inputs with a model -------------------------------------------------------------------------------------------------------- */

bool api_check_texts(api_reading *r)
{
    const api_texts *text = &r->text, *pair = &r->text_pair;
    if (!check_batch(r, "text", text->count))
        return false;
    r->field = "text_pair";
    if (pair->items && pair->is_batch != text->is_batch)
        return api_fail_field(r, API_WRONG_TYPE, "text_pair has the form of text: text is %s", text->is_batch ? "an array" : "one string");
    if (pair->items && pair->count != text->count)
        return api_fail_field(r, API_SHAPE_MISMATCH, "text_pair has %zu entries, but text has %zu", pair->count, text->count);
    r->request.text = text->items;
    r->request.text_pair = pair->items;
    r->request.num_inputs = text->count;
    r->request.is_batch = text->is_batch;
    return true;
}

/* Lists that go with the input's tokens: of its form, B of them, each as long as lengths[b]; lengths NULL: any, or known only when the text is tokenized. */
static bool check_lists(api_reading *r, const char *field, const api_id_lists *lists, const size_t *lengths, const api_ids **out)
{
    const api_attention_request *req = &r->request;
    if (!lists->items)
        return true;
    r->field = field;
    if (lists->is_batch != req->is_batch)
        return api_fail_field(r, API_SHAPE_MISMATCH, "%s is %s, and the input is %s", field, lists->is_batch ? "an array of lists" : "one list",
                              req->is_batch ? "a batch" : "none");
    if (lists->count != req->num_inputs)
        return api_fail_field(r, API_SHAPE_MISMATCH, "%s has %zu lists for %zu inputs", field, lists->count, req->num_inputs);
    for (size_t b = 0; lengths && b < lists->count; b++) {
        char pointer[96];
        if (lists->items[b].count == lengths[b])
            continue;
        snprintf(pointer, sizeof pointer, req->is_batch ? "/%s/%zu" : "/%s", field, b);
        return api_fail(r->problem, API_SHAPE_MISMATCH, pointer, "%s has %zu entries for %zu tokens", field, lists->items[b].count, lengths[b]);
    }
    *out = lists->items;
    return true;
}

static bool check_token_lists(api_reading *r, const size_t *lengths)
{
    return check_lists(r, "attention_mask", &r->attention_mask, lengths, &r->request.attention_mask) &&
           check_lists(r, "token_type_ids", &r->token_type_ids, lengths, &r->request.token_type_ids);
}

/* What the decoder has read: as long as it likes, and said in one way. */
static bool check_decoder(api_reading *r)
{
    const api_id_lists *ids = &r->decoder_input_ids;
    r->field = "decoder_input_ids";
    if (ids->items && r->text_pair.items)
        return api_fail_field(r, API_UNSUPPORTED_COMBINATION, "text_pair and decoder_input_ids both say what the decoder has read; leave one of them out");
    if (!check_lists(r, "decoder_input_ids", ids, NULL, &r->request.decoder_input_ids))
        return false;
    for (size_t b = 0; ids->items && b < ids->count; b++)
        if (!check_tokens(r, "decoder_input_ids", ids->is_batch ? b : SIZE_MAX, ids->items[b].count))
            return false;
    return true;
}

static bool check_ids(api_reading *r)
{
    api_attention_request *req = &r->request;
    const api_id_lists *ids = &r->input_ids;
    if (!check_batch(r, "input_ids", ids->count))
        return false;
    size_t *lengths = api_take_memory(r, ids->count, sizeof *lengths);
    if (!lengths)
        return false;
    for (size_t b = 0; b < ids->count; b++) {
        lengths[b] = ids->items[b].count;
        if (!check_tokens(r, "input_ids", ids->is_batch ? b : SIZE_MAX, lengths[b]))
            return false;
    }
    req->input_ids = ids->items;
    req->num_inputs = ids->count;
    req->is_batch = ids->is_batch;
    return check_token_lists(r, lengths);
}

static bool check_embeds(api_reading *r)
{
    api_attention_request *req = &r->request;
    const api_tensor *x = &req->inputs_embeds;
    req->is_batch = x->rank == 3;
    req->num_inputs = req->is_batch ? x->shape[0] : 1;
    size_t T = x->shape[x->rank - 2];
    if (!check_batch(r, "inputs_embeds", req->num_inputs) || !check_tokens(r, "inputs_embeds", SIZE_MAX, T))
        return false;
    size_t *lengths = api_take_memory(r, req->num_inputs, sizeof *lengths);
    if (!lengths)
        return false;
    for (size_t b = 0; b < req->num_inputs; b++)
        lengths[b] = T;
    return check_token_lists(r, lengths);
}

/* ---- inputs without one ---------------------------------------------------------------------------------------------------------- */

/* One offset for all, or one each. */
static bool spread_offsets(api_reading *r)
{
    const api_integers *sent = &r->query_offset;
    size_t B = r->request.num_inputs;
    r->field = "query_offset";
    if (sent->is_list && sent->count != B)
        return api_fail_field(r, API_SHAPE_MISMATCH, "query_offset has %zu entries for %zu inputs", sent->count, B);
    int64_t *offsets = api_take_memory(r, B, sizeof *offsets);
    if (!offsets)
        return false;
    for (size_t b = 0; b < B; b++)
        offsets[b] = sent->count == 0 ? 0 : sent->values[sent->is_list ? b : 0];
    r->request.query_offset = offsets;
    return true;
}

static bool check_free(api_reading *r)
{
    api_attention_request *req = &r->request;
    bool is_embeddings = req->kind == API_INPUT_EMBEDDINGS;
    const char *queries = is_embeddings ? "embeddings" : "query", *keys = is_embeddings ? "key_embeddings" : "key";
    size_t B, T_q, T_k;
    api_operator_lengths(req, &B, &T_q, &T_k);
    if (!check_batch(r, queries, B) || !check_tokens(r, queries, SIZE_MAX, T_q) || !check_tokens(r, keys, SIZE_MAX, T_k))
        return false;
    req->num_inputs = B;
    req->is_batch = api_operator_is_batch(req);
    r->field = "key_lengths";
    if (r->key_lengths.is_list && r->key_lengths.count != B)
        return api_fail_field(r, API_SHAPE_MISMATCH, "key_lengths has %zu entries for %zu inputs", r->key_lengths.count, B);
    req->key_lengths = r->key_lengths.values;
    return spread_offsets(r);
}

bool api_check_inputs(api_reading *r)
{
    switch (r->request.kind) {
    case API_INPUT_TEXT:
        return api_check_texts(r) && check_token_lists(r, NULL) && check_decoder(r);
    case API_INPUT_IDS:
        return check_ids(r) && check_decoder(r);
    case API_INPUT_EMBEDS:
        return check_embeds(r) && check_decoder(r);
    default:
        return check_free(r);
    }
}
