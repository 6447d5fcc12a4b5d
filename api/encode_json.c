/* encode_json.c - the answer of POST /v1/attention as one JSON document, and what other forms share with it: models, tokens, echoes, heads of tensors.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

#include <string.h>

void api_json_text(api_out *out, const char *s)
{
    api_out_json_string(out, s, strlen(s));
}

/* A name with what is put before it. */
static void prefixed_member(api_out *out, const char *prefix, const char *name, bool first)
{
    if (!first)
        api_out_char(out, ',');
    api_out_format(out, "\"%s%s\":", prefix, name);
}

static void member(api_out *out, const char *name, bool first)
{
    prefixed_member(out, "", name, first);
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
    if (info->num_decoder_layers > 0)
        number_member(out, "num_decoder_layers", info->num_decoder_layers, false);
    number_member(out, "num_attention_heads", info->num_attention_heads, false);
    api_out_char(out, '}');
}

/* ---- tokens -------------------------------------------------------------------------------------------------------------- */

static void write_piece(api_out *out, attn_text text, attn_text display)
{
    if (!text.bytes)
        return; /* no tokenizer knows it */
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

/* An id as it came: a piece where the tokenizer has one. */
static void write_id(api_out *out, const attn_tokenizer *tokenizer, int32_t id)
{
    attn_text text, display;
    api_out_format(out, "{\"id\":%d", (int)id);
    if (tokenizer && attn_tokenizer_piece(tokenizer, id, &text, &display))
        write_piece(out, text, display);
}

void api_json_generated(api_out *out, const attn_tokenizer *tokenizer, int32_t id)
{
    bool special = tokenizer && attn_tokenizer_is_special(tokenizer, id);
    write_id(out, tokenizer, id);
    api_out_string(out, special ? ",\"special\":true,\"generated\":true}" : ",\"special\":false,\"generated\":true}");
}

static void write_sequence(api_out *out, const api_sequence *seq, const attn_tokenizer *tokenizer)
{
    api_out_char(out, '[');
    for (size_t t = seq->num_embeds; t < seq->T; t++) {
        if (t > seq->num_embeds)
            api_out_char(out, ',');
        if (t >= seq->end_of_prompt) {
            api_json_generated(out, tokenizer, seq->ids[t - seq->num_embeds]);
        } else if (t < seq->tokens->count) {
            write_token(out, &seq->tokens->tokens[t]);
        } else {
            write_id(out, tokenizer, seq->ids[t - seq->num_embeds]);
            api_out_char(out, '}');
        }
    }
    api_out_char(out, ']');
}

/* ---- what a result says of its request ---------------------------------------------------------------------------------- */

static size_t digits(uint64_t n)
{
    size_t count = 1;
    for (; n >= 10; n /= 10)
        count++;
    return count;
}

/* `count` integers of any origin; lists may be long, so that they are not formatted to be counted. */
static void write_list(api_out *out, size_t count, size_t (*at)(const void *ctx, size_t i), const void *ctx)
{
    api_out_char(out, '[');
    if (!out->reply) {
        uint64_t bytes = count > 0 ? count - 1 : 0;
        for (size_t i = 0; i < count; i++)
            bytes += digits(at(ctx, i));
        out->written = attn_plus(out->written, bytes);
    }
    for (size_t i = 0; out->reply && i < count; i++) {
        if (i > 0)
            api_out_char(out, ',');
        api_out_uint(out, at(ctx, i));
    }
    api_out_char(out, ']');
}

static size_t chosen(const void *choice, size_t i)
{
    return (size_t)api_choice_at(choice, i);
}

static void write_choice(api_out *out, const char *prefix, const char *name, const api_choice *choice, bool first)
{
    prefixed_member(out, prefix, name, first);
    write_list(out, choice->count, chosen, choice);
}

typedef struct bins {
    size_t length, count;
} bins;

static size_t edge(const void *ctx, size_t b)
{
    const bins *of = ctx;
    return attn_pool_edge(of->length, of->count, b);
}

static void write_edges(api_out *out, const char *name, size_t length, size_t size)
{
    bins of = { length, attn_pool_bins(length, size) };
    member(out, name, false);
    write_list(out, of.count + 1, edge, &of);
}

static void write_pool(api_out *out, const char *prefix, const api_input_stack *in)
{
    prefixed_member(out, prefix, "pool", false);
    api_out_char(out, '{');
    number_member(out, "size", in->pool.size, true);
    member(out, "mode", false);
    api_json_text(out, in->pool.mode == ATTN_REDUCE_MAX ? "max" : "mean");
    write_edges(out, "query_edges", in->queries.count, in->pool.size);
    write_edges(out, "key_edges", in->keys.count, in->pool.size);
    api_out_char(out, '}');
}

/* Before another member, like all that is not there in every result. */
static void write_tokens(api_out *out, const api_plan *plan, size_t b, bool is_decoder)
{
    api_sequence seq = api_plan_sequence(plan, b, is_decoder);
    if (seq.T <= seq.num_embeds || !seq.ids)
        return;
    prefixed_member(out, api_plan_prefix(plan, is_decoder ? ATTN_STACK_DECODER : ATTN_STACK_SELF), "tokens", true);
    write_sequence(out, &seq, api_plan_tokenizer(plan));
    api_out_char(out, ',');
}

/* Until the words are known they are counted as the most there may be, each byte as long as its longest escape. */
void api_json_generated_text(api_out *out, const api_plan *plan, size_t b, bool follows)
{
    enum { LONGEST_ESCAPE = 7 };
    const api_plan_input *in = &plan->inputs[b];
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    if (!tokenizer)
        return;
    member(out, "generated_text", !follows);
    api_out_json_string(out, in->generated_text.bytes, in->generated_text.length);
    if (!out->reply && plan->generates)
        out->written = attn_plus(out->written, attn_times(LONGEST_ESCAPE, attn_tokenizer_decoded_length(tokenizer, in->num_prompt + in->num_generated)));
    if (!follows)
        api_out_char(out, ',');
}

static void write_selection(api_out *out, const api_plan *plan, size_t b, attn_stack s)
{
    const char *prefix = api_plan_prefix(plan, s);
    const api_plan_stack *stack = &plan->stacks[s];
    const api_input_stack *in = &plan->inputs[b].stacks[s];
    write_choice(out, prefix, "layers", &stack->layers, s == 0);
    write_choice(out, prefix, "heads", &stack->heads, false);
    if (in->queries.asked)
        write_choice(out, prefix, "queries", &in->queries, false);
    if (in->keys.asked)
        write_choice(out, prefix, "keys", &in->keys, false);
    if (stack->outputs & ATTN_BIT(ATTN_HIDDEN_STATES))
        write_choice(out, prefix, "states", &stack->states, false);
    if (in->pool.size > 0)
        write_pool(out, prefix, in);
}

void api_json_echo(api_out *out, const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    write_tokens(out, plan, b, false);
    if (plan->num_stacks > 1)
        write_tokens(out, plan, b, true);
    if (in->tokens.truncated || in->decoder_tokens.truncated)
        api_out_string(out, "\"truncated\":true,");
    if (plan->request->max_new_tokens > 0 && in->span == API_SPAN_ALL)
        api_json_generated_text(out, plan, b, false);
    for (attn_stack s = 0; s < plan->num_stacks; s++)
        write_selection(out, plan, b, s);
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------- */

static const char *dtype_name(const api_plan *plan, const api_part *part)
{
    static const char *const names[] = { [API_FLOAT32] = "float32", [API_FLOAT16] = "float16", [API_UINT8] = "uint8" };
    return part->role == API_INDICES ? "int32" : names[plan->request->want.dtype];
}

void api_json_shape(api_out *out, const api_part *part)
{
    for (size_t a = 0; a < part->ndim; a++) {
        api_out_char(out, a > 0 ? ',' : '[');
        api_out_uint(out, part->dims[a]);
    }
    api_out_char(out, ']');
}

void api_json_axes(api_out *out, const api_part *part)
{
    for (size_t a = 0; a < part->ndim; a++) {
        api_out_char(out, a > 0 ? ',' : '[');
        api_json_text(out, part->axes[a]);
    }
    api_out_char(out, ']');
}

void api_json_begin_part(api_encode *e, const api_part *part)
{
    if (part->opens) {
        prefixed_member(e->out, part->prefix, part->group, false);
        api_out_char(e->out, '{');
    }
    prefixed_member(e->out, part->group ? "" : part->prefix, part->name, part->opens);
    api_out_string(e->out, "{\"shape\":");
    api_json_shape(e->out, part);
    api_out_string(e->out, ",\"axes\":");
    api_json_axes(e->out, part);
    api_out_string(e->out, ",\"dtype\":");
    api_json_text(e->out, dtype_name(e->plan, part));
    api_out_string(e->out, ",\"data\":");
    if (e->plan->request->want.encoding == API_ENCODING_BASE64)
        api_out_char(e->out, '"');
}

void api_json_end_part(api_encode *e, const api_part *part)
{
    if (e->plan->request->want.encoding == API_ENCODING_BASE64)
        api_out_char(e->out, '"');
    api_out_string(e->out, part->closes ? "}}" : "}");
}

/* ---- the document -------------------------------------------------------------------------------------------------------- */

static void begin(api_encode *e)
{
    api_out_string(e->out, "{\"model\":");
    api_json_model(e->out, e->plan->model);
    api_out_string(e->out, ",\"results\":[");
}

static void begin_result(api_encode *e)
{
    api_out_string(e->out, e->result > 0 ? ",{" : "{");
    api_json_echo(e->out, e->plan, e->result);
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
    .order = API_ORDER_PARTS,
    .begin = begin,
    .begin_result = begin_result,
    .begin_part = api_json_begin_part,
    .rows = api_json_rows,
    .end_part = api_json_end_part,
    .end_result = end_result,
    .end = end,
    .part_bytes = api_json_part_bytes,
};
