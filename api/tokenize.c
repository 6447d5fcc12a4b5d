/* tokenize.c - POST /v1/tokenize: texts to tokens, as POST /v1/attention would see them, of any length.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

static void write_answer(api_out *out, const api_model *model, const attn_encoding *encodings, size_t num)
{
    api_out_string(out, "{\"model\":");
    api_json_model(out, model);
    api_out_string(out, ",\"results\":[");
    for (size_t b = 0; b < num; b++) {
        api_out_string(out, b > 0 ? ",{\"tokens\":" : "{\"tokens\":");
        api_json_tokens(out, &encodings[b]);
        api_out_char(out, '}');
    }
    api_out_string(out, "]}\n");
}

/* More than an answer with these tokens takes: a token's names and numbers, and its pieces as if every byte were escaped. */
static uint64_t bound(const attn_encoding *encodings, size_t num)
{
    enum { REST = 1024, PER_RESULT = 16, PER_TOKEN = 128, PER_BYTE = 6 };
    uint64_t bytes = REST + num * PER_RESULT;
    for (size_t b = 0; b < num; b++)
        for (size_t t = 0; t < encodings[b].count; t++)
            bytes += PER_TOKEN + PER_BYTE * (encodings[b].tokens[t].text.length + encodings[b].tokens[t].display.length);
    return bytes;
}

/* An answer that may be too long is written into nothing first, and counted. */
static bool check_length(api_call *call, const api_model *model, const attn_encoding *encodings, size_t num)
{
    uint64_t limit = call->service->limits.max_response_bytes;
    if (bound(encodings, num) <= limit)
        return true;
    api_out counter;
    api_out_init(&counter, NULL, (api_head){ 0 });
    write_answer(&counter, model, encodings, num);
    if (counter.written <= limit)
        return true;
    return api_fail_limit(&call->problem, API_RESPONSE_TOO_LARGE, NULL, limit, counter.written,
                          "the answer takes %llu bytes and at most %llu are allowed; send less text at a time", (unsigned long long)counter.written,
                          (unsigned long long)limit);
}

attn_status api_handle_tokenize(api_call *call)
{
    api_tokenize_request req;
    attn_encoding *encodings;
    size_t length = call->request->body_length;
    if (!api_call_reserve(call, api_request_bytes(api_call_body(call), length)) ||
        !api_read_tokenize(call->service, api_call_body(call), length, call->worker->arena, &req, &call->problem))
        return ATTN_E_INPUT;
    const api_model *model = api_find_model(call->service, req.model, &call->problem);
    call->worker->model = model ? (size_t)(model - call->service->models) + 1 : 0;
    attn_encode_options options = { .add_special_tokens = req.add_special_tokens };
    api_text_batch texts = { .field = "text", .text = req.text, .pair = req.text_pair, .num = req.num_inputs };
    if (!model || !api_tokenize_texts(call, model, &texts, &options, &encodings) || !check_length(call, model, encodings, req.num_inputs))
        return ATTN_E_INPUT;
    api_out out;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = "application/json" });
    write_answer(&out, model, encodings, req.num_inputs);
    return api_call_finish(call, &out, ATTN_OK, NULL);
}
