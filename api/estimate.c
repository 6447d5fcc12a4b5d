/* estimate.c - POST /v1/estimate: everything POST /v1/attention would do up to the price, and nothing after it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"

#include <inttypes.h>

/* "context":[6,8,9,32], or in a group "attentions":{"indices":[..],"values":[..],"dropped":[..]}. */
static void write_part(api_out *out, const api_part *part)
{
    if (part->opens)
        api_out_format(out, "\"%s%s\":{", part->prefix, part->group);
    api_out_format(out, "\"%s%s\":", part->group ? "" : part->prefix, part->name);
    api_json_shape(out, part);
    if (part->closes)
        api_out_char(out, '}');
}

static void write_result(api_out *out, const api_plan *plan, size_t b)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(plan, b, parts);
    const api_input_stack *stacks = plan->inputs[b].stacks;
    api_out_string(out, b > 0 ? ",{" : "{");
    if (plan->num_stacks > 1)
        api_out_format(out, "\"encoder_tokens\":%zu,\"decoder_tokens\":%zu", stacks[ATTN_STACK_SELF].T_q, stacks[ATTN_STACK_DECODER].T_q);
    else
        api_out_format(out, "\"tokens\":%zu", stacks[0].T_q);
    api_out_string(out, ",\"shapes\":{");
    for (size_t p = 0; p < n; p++) {
        if (p > 0)
            api_out_char(out, ',');
        write_part(out, &parts[p]);
    }
    api_out_string(out, "}}");
}

static void write_plan(api_out *out, const api_plan *plan)
{
    api_out_string(out, "{\"results\":[");
    for (size_t b = 0; b < plan->num_inputs; b++)
        write_result(out, plan, b);
    api_out_format(out, "],\"response_bytes\":%" PRIu64 ",\"memory_bytes\":%" PRIu64 ",\"flops\":%" PRIu64, plan->response_bytes, plan->memory_bytes,
                   plan->price.flops);
    api_out_format(out, ",\"allowed\":%s,\"limits\":[", plan->num_excesses == 0 ? "true" : "false");
    for (size_t i = 0; i < plan->num_excesses; i++) {
        const api_excess *e = &plan->excesses[i];
        api_out_format(out, "%s{\"code\":\"%s\",\"limit\":%" PRIu64 ",\"need\":%" PRIu64 "}", i > 0 ? "," : "", api_code_name(e->code), e->limit, e->need);
    }
    api_out_string(out, "]}\n");
}

attn_status api_handle_estimate(api_call *call)
{
    api_attention_request req;
    api_plan plan;
    api_out out;
    api_service reader = *call->service; /* what is beyond batch and length is to be listed, so it must be read first; the body is bounded */
    reader.limits.max_batch = reader.limits.max_tokens = SIZE_MAX;
    if (!api_plan_request(call, &reader, &req, &plan))
        return ATTN_E_INPUT;
    api_out_init(&out, call->reply, (api_head){ .status = 200, .content_type = "application/json" });
    write_plan(&out, &plan);
    return api_call_finish(call, &out, ATTN_OK, NULL);
}
