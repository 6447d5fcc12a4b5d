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

attn_status api_handle_tokenize(api_call *call)
{
    api_tokenize_request req;
    attn_encoding *encodings;
    size_t length = call->request->body_length;
    if (!api_call_reserve(call, api_request_bytes(length)) ||
        !api_read_tokenize(call->service, api_call_body(call), length, call->worker->arena, &req, &call->problem))
        return ATTN_E_INPUT;
    const api_model *model = api_find_model(call->service, req.model, &call->problem);
    attn_encode_options options = { .add_special_tokens = req.add_special_tokens };
    if (!model || !api_tokenize_texts(call, model, req.text, req.text_pair, req.num_inputs, &options, &encodings))
        return ATTN_E_INPUT;
    api_out out;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = "application/json" });
    write_answer(&out, model, encodings, req.num_inputs);
    return api_call_finish(call, &out, ATTN_OK, NULL);
}
