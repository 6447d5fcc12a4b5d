/* encode_json.c - the answer of POST /v1/attention as one JSON document.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

#include <string.h>

void api_json_text(api_out *out, const char *s)
{
    api_out_json_string(out, s, strlen(s));
}

static void member(api_out *out, const char *name, bool first)
{
    if (!first)
        api_out_char(out, ',');
    api_json_text(out, name);
    api_out_char(out, ':');
}

static void number_member(api_out *out, const char *name, uint64_t n, bool first)
{
    member(out, name, first);
    api_out_uint(out, n);
}

void api_json_model(api_out *out, const api_model *model)
{
    if (!model) {
        api_out_string(out, "null");
        return;
    }
    const attn_model_info *info = attn_model_get_info(model->model);
    api_out_char(out, '{');
    member(out, "name", true);
    api_json_text(out, model->name);
    member(out, "architecture", false);
    api_json_text(out, info->architecture);
    number_member(out, "num_hidden_layers", info->num_hidden_layers, false);
    number_member(out, "num_attention_heads", info->num_attention_heads, false);
    api_out_char(out, '}');
}

/* ---- tokens -------------------------------------------------------------------------------------------------------------- */

static void write_piece(api_out *out, attn_text text, attn_text display)
{
    member(out, "text", false);
    api_out_json_string(out, text.bytes, text.length);
    if (display.length == text.length && memcmp(display.bytes, text.bytes, text.length) == 0)
        return;
    member(out, "display", false);
    api_out_json_string(out, display.bytes, display.length);
}

static void write_token(api_out *out, const attn_token *token)
{
    api_out_char(out, '{');
    api_out_format(out, "\"id\":%d", (int)token->id);
    write_piece(out, token->text, token->display);
    number_member(out, "start", token->start, false);
    number_member(out, "end", token->end, false);
    api_out_string(out, token->special ? ",\"special\":true" : ",\"special\":false");
    if (token->sequence == 1)
        number_member(out, "sequence", 1, false);
    api_out_char(out, '}');
}

void api_json_tokens(api_out *out, const attn_encoding *encoding)
{
    api_out_char(out, '[');
    for (size_t t = 0; t < encoding->count; t++) {
        if (t > 0)
            api_out_char(out, ',');
        write_token(out, &encoding->tokens[t]);
    }
    api_out_char(out, ']');
}

/* Ids as they came: a piece where the tokenizer has one. */
static void write_ids(api_out *out, const attn_tokenizer *tokenizer, const int32_t *ids, size_t n)
{
    api_out_char(out, '[');
    for (size_t t = 0; t < n; t++) {
        attn_text text, display;
        api_out_format(out, t > 0 ? ",{\"id\":%d" : "{\"id\":%d", (int)ids[t]);
        if (tokenizer && attn_tokenizer_piece(tokenizer, ids[t], &text, &display))
            write_piece(out, text, display);
        api_out_char(out, '}');
    }
    api_out_char(out, ']');
}

static void write_tokens(api_out *out, const api_plan *plan, const api_plan_input *in)
{
    if (plan->request->kind != API_INPUT_TEXT && plan->request->kind != API_INPUT_IDS)
        return;
    member(out, "tokens", true);
    if (plan->request->kind == API_INPUT_TEXT)
        api_json_tokens(out, &in->tokens);
    else
        write_ids(out, attn_model_get_tokenizer(plan->model->model), in->model.input_ids, in->model.T);
    if (in->tokens.truncated)
        api_out_string(out, ",\"truncated\":true");
    api_out_char(out, ',');
}

/* ---- results ------------------------------------------------------------------------------------------------------------- */

static void write_choice(api_out *out, const char *name, const api_choice *choice)
{
    member(out, name, true);
    api_out_char(out, '[');
    if (!out->reply) { /* counting: lists may be long, and ten digits bound them */
        out->written = attn_plus(out->written, attn_times(choice->count, 11));
    } else {
        for (size_t i = 0; i < choice->count; i++) {
            if (i > 0)
                api_out_char(out, ',');
            api_out_uint(out, (uint64_t)api_choice_at(choice, i));
        }
    }
    api_out_char(out, ']');
}

static void begin(api_encode *e)
{
    api_out_string(e->out, "{\"model\":");
    api_json_model(e->out, e->plan->model);
    api_out_string(e->out, ",\"results\":[");
}

static void begin_result(api_encode *e)
{
    const api_plan_input *in = &e->plan->inputs[e->result];
    api_out_string(e->out, e->result > 0 ? ",{" : "{");
    write_tokens(e->out, e->plan, in);
    write_choice(e->out, "layers", &e->plan->layers);
    api_out_char(e->out, ',');
    write_choice(e->out, "heads", &e->plan->heads);
    if (in->queries.asked) {
        api_out_char(e->out, ',');
        write_choice(e->out, "queries", &in->queries);
    }
    if (in->keys.asked) {
        api_out_char(e->out, ',');
        write_choice(e->out, "keys", &in->keys);
    }
}

static const char *dtype_name(const api_plan *plan, const api_part *part)
{
    static const char *const names[] = { [API_FLOAT32] = "float32", [API_FLOAT16] = "float16", [API_UINT8] = "uint8" };
    return part->role == API_INDICES ? "int32" : names[plan->request->want.dtype];
}

/* `"attentions":{`, or, for the parts of top_k, `"attentions":{"indices":{` and `,"values":{`. */
static void open_part(api_encode *e, const api_part *part)
{
    static const char *const names[] = { [API_INDICES] = "indices", [API_VALUES] = "values", [API_DROPPED] = "dropped" };
    if (part->role == API_PLAIN || part->role == API_INDICES) {
        member(e->out, attn_output_name(part->output), false);
        api_out_char(e->out, '{');
    }
    if (part->role != API_PLAIN) {
        member(e->out, names[part->role], part->role == API_INDICES);
        api_out_char(e->out, '{');
    }
}

static void begin_part(api_encode *e, const api_part *part)
{
    open_part(e, part);
    member(e->out, "shape", true);
    for (size_t a = 0; a < part->ndim; a++) {
        api_out_char(e->out, a > 0 ? ',' : '[');
        api_out_uint(e->out, part->dims[a]);
    }
    api_out_string(e->out, "],\"axes\":");
    for (size_t a = 0; a < part->ndim; a++) {
        api_out_char(e->out, a > 0 ? ',' : '[');
        api_json_text(e->out, part->axes[a]);
    }
    api_out_string(e->out, "],\"dtype\":");
    api_json_text(e->out, dtype_name(e->plan, part));
    member(e->out, "data", false);
    if (e->plan->request->want.encoding == API_ENCODING_BASE64)
        api_out_char(e->out, '"');
}

static void end_part(api_encode *e, const api_part *part)
{
    if (e->plan->request->want.encoding == API_ENCODING_BASE64)
        api_out_char(e->out, '"');
    api_out_string(e->out, part->role == API_DROPPED ? "}}" : "}");
}

static void end_result(api_encode *e)
{
    api_out_char(e->out, '}');
}

static void end(api_encode *e)
{
    api_out_string(e->out, "]}\n");
}

const api_encoder api_json_encoder = {
    .content_type = "application/json",
    .begin = begin,
    .begin_result = begin_result,
    .begin_part = begin_part,
    .rows = api_json_rows,
    .end_part = end_part,
    .end_result = end_result,
    .end = end,
    .part_bytes = api_json_part_bytes,
};

uint64_t api_encoder_bound(const api_encoder *encoder, const api_plan *plan)
{
    api_out counter;
    api_out_init(&counter, NULL, (api_head){ 0 });
    api_encode e = { .encoder = encoder, .plan = plan, .out = &counter };
    encoder->begin(&e);
    for (; e.result < plan->num_inputs; e.result++) {
        api_part parts[API_MAX_PARTS];
        size_t n = api_plan_parts(plan, e.result, parts);
        encoder->begin_result(&e);
        for (size_t p = 0; p < n; p++) {
            encoder->begin_part(&e, &parts[p]);
            counter.written = attn_plus(counter.written, encoder->part_bytes(plan, &parts[p]));
            encoder->end_part(&e, &parts[p]);
        }
        encoder->end_result(&e);
    }
    encoder->end(&e);
    return counter.written;
}
