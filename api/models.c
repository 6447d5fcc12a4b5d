/* models.c - GET /v1/models: what this server can run.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

#include <string.h>

bool api_model_name_is_valid(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/";
    size_t n = strlen(name);
    return n > 0 && strspn(name, allowed) == n && name[0] != '/' && name[n - 1] != '/' && !strstr(name, "//");
}

/* Where a model came from, less what is only the operator's business: of a directory, its last name. */
static void write_source(api_out *out, const char *source)
{
    size_t end = strlen(source);
    while (end > 1 && source[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && source[begin - 1] != '/')
        begin--;
    api_out_json_string(out, source + begin, end - begin);
}

static void write_outputs(api_out *out, attn_outputs outputs)
{
    const char *before = "[";
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (!(outputs & ATTN_BIT(o)))
            continue;
        api_out_string(out, before);
        api_json_text(out, attn_output_name((attn_output)o));
        before = ",";
    }
    api_out_string(out, before[0] == '[' ? "[]" : "]");
}

static void write_number(api_out *out, const char *name, uint64_t n)
{
    api_out_format(out, ",\"%s\":", name);
    api_out_uint(out, n);
}

static void write_model(api_out *out, const api_model *model)
{
    const attn_model_info *info = attn_model_get_info(model->model);
    api_out_string(out, "{\"name\":");
    api_json_text(out, model->name);
    api_out_string(out, ",\"architecture\":");
    api_json_text(out, info->architecture);
    write_number(out, "num_hidden_layers", info->num_hidden_layers);
    if (info->num_decoder_layers > 0)
        write_number(out, "num_decoder_layers", info->num_decoder_layers);
    write_number(out, "num_attention_heads", info->num_attention_heads);
    write_number(out, "num_key_value_heads", info->num_key_value_heads);
    if (info->num_decoder_layers > 0)
        write_number(out, "num_decoder_attention_heads", attn_model_shape(model->model, ATTN_STACK_DECODER).num_attention_heads);
    write_number(out, "head_dim", info->head_dim);
    write_number(out, "hidden_size", info->hidden_size);
    write_number(out, "embedding_size", info->embedding_size);
    write_number(out, "max_tokens", info->max_tokens);
    write_number(out, "vocab_size", info->vocab_size);
    write_number(out, "num_parameters", info->num_parameters);
    api_out_string(out, ",\"dtype\":");
    api_json_text(out, info->dtype);
    write_number(out, "memory_bytes", info->bytes);
    api_out_string(out, ",\"source\":");
    write_source(out, info->source);
    api_out_string(out, info->generates ? ",\"generates\":true" : ",\"generates\":false");
    api_out_string(out, ",\"outputs\":");
    write_outputs(out, info->outputs);
    api_out_char(out, '}');
}

attn_status api_handle_models(api_call *call)
{
    const api_service *service = call->service;
    api_out out;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = "application/json" });
    api_out_string(&out, "{\"default\":");
    if (service->num_models > 0)
        api_json_text(&out, service->models[0].name);
    else
        api_out_string(&out, "null");
    api_out_string(&out, ",\"models\":[");
    for (size_t i = 0; i < service->num_models; i++) {
        if (i > 0)
            api_out_char(&out, ',');
        write_model(&out, &service->models[i]);
    }
    api_out_string(&out, "]}\n");
    return api_call_finish(call, &out, ATTN_OK, NULL);
}

attn_status api_handle_model(api_call *call)
{
    static const char prefix[] = "/v1/models/";
    const api_model *model = api_find_model(call->service, call->request->path + sizeof prefix - 1, &call->problem);
    if (!model)
        return ATTN_E_INPUT;
    api_out out;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = "application/json" });
    write_model(&out, model);
    api_out_char(&out, '\n');
    return api_call_finish(call, &out, ATTN_OK, NULL);
}
