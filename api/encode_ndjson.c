/* encode_ndjson.c - the answer of POST /v1/attention as lines of JSON, each sent as soon as it is complete.
 *
 *     {"model":.., "results":[{"tokens":.., "layers":.., ..}, ..]}          at once, before anything is computed
 *     {"result":0, "state":0, "hidden_states":{..}}                        where states were asked for, and no layers
 *     {"result":0, "layer":3, "attentions":{..}, ..}                       each layer once, in computed order, without that axis
 *     {"result":0, "attentions":{..}, "analyses":{..}}                     what only all layers together give, when there is any of it
 *     {"done":true, "timings":{..}}  or  {"error":{..}}
 *
 * An encoder-decoder's lines say whose layer it is: "part":"encoder", or "part":"decoder" with both of its attentions. Where tokens are generated the lines of layers
 * are those of the prompt; then each token has one, {"result":0, "step":0, "token":{..}, "attentions":{..}}, with its row of all layers; and there is always a line of
 * all layers together, which says what was written.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"
#include "generate.h"

static void begin_line(api_encode *e)
{
    e->in_line = true;
    api_out_string(e->out, "{\"result\":");
    api_out_uint(e->out, e->result);
}

static void end_line(api_encode *e)
{
    e->in_line = false;
    api_out_string(e->out, "}\n");
    api_out_flush(e->out);
}

static void begin(api_encode *e)
{
    api_out_string(e->out, "{\"model\":");
    api_json_model(e->out, e->plan->model);
    api_out_string(e->out, ",\"results\":[");
    for (size_t b = 0; b < e->plan->num_inputs; b++) {
        api_out_string(e->out, b > 0 ? ",{" : "{");
        if (api_generates_lines(e->plan))
            api_plan_span(e->plan, b, API_SPAN_PROMPT, 0);
        api_json_echo(e->out, e->plan, b);
        api_out_char(e->out, '}');
    }
    api_out_char(e->out, ']');
    end_line(e);
}

static void begin_layer(api_encode *e, attn_stack stack, size_t layer, bool state)
{
    begin_line(e);
    if (e->plan->num_stacks > 1)
        api_out_string(e->out, stack == ATTN_STACK_SELF ? ",\"part\":\"encoder\"" : ",\"part\":\"decoder\"");
    api_out_string(e->out, state ? ",\"state\":" : ",\"layer\":");
    api_out_uint(e->out, layer);
}

static void begin_rest(api_encode *e)
{
    const api_plan_input *in = &e->plan->inputs[e->result];
    begin_line(e);
    if (in->span == API_SPAN_REST)
        api_json_generated_text(e->out, e->plan, e->result, true);
    if (in->span != API_SPAN_STEP)
        return;
    api_out_string(e->out, ",\"step\":");
    api_out_uint(e->out, in->step);
    api_out_string(e->out, ",\"token\":");
    api_json_generated(e->out, api_plan_tokenizer(e->plan), api_generate_ids(e->plan, e->result)[in->step]);
}

/* Results have nothing around their lines. */
static void no_frame(api_encode *e)
{
    (void)e;
}

/* Milliseconds; while bytes are counted, as long as any. */
static void write_time(api_encode *e, const char *name, uint64_t ns, bool last)
{
    if (!e->out->reply)
        ns = UINT64_MAX;
    api_out_format(e->out, "\"%s\":%llu.%03llu%s", name, (unsigned long long)(ns / 1000000), (unsigned long long)(ns / 1000 % 1000), last ? "" : ",");
}

static void end(api_encode *e)
{
    api_out_string(e->out, "{\"done\":true,\"timings\":{");
    write_time(e, "queue", e->call ? e->call->request->queued_ns : 0, false);
    write_time(e, "tokenize", e->call ? e->call->tokenize_ns : 0, false);
    write_time(e, "compute", e->compute_ns, false);
    write_time(e, "encode", e->encode_ns, true);
    api_out_char(e->out, '}');
    end_line(e);
}

static void fail(api_encode *e, const api_problem *problem)
{
    char text[2048];
    size_t length = api_problem_write(problem, e->call->request->request_id, text, sizeof text);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    if (e->in_line)
        end_line(e);
    api_out_string(e->out, "{\"error\":");
    api_out_bytes(e->out, text, length);
    end_line(e);
}

const api_encoder api_ndjson_encoder = {
    .order = API_ORDER_LAYERS,
    .begin = begin,
    .begin_result = no_frame,
    .begin_part = api_json_begin_part,
    .rows = api_json_rows,
    .end_part = api_json_end_part,
    .end_result = no_frame,
    .end = end,
    .begin_layer = begin_layer,
    .end_layer = end_line,
    .begin_rest = begin_rest,
    .end_rest = end_line,
    .fail = fail,
    .part_bytes = api_json_part_bytes,
};
