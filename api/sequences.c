/* sequences.c - the tokens of an input as answers show them: what was sent, and behind it what was generated.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

bool api_stack_is_decoder(attn_stack s, bool of_keys)
{
    return s == ATTN_STACK_DECODER || (s == ATTN_STACK_CROSS && !of_keys);
}

bool api_plan_writes(const api_plan *plan, bool is_decoder)
{
    return plan->request->max_new_tokens > 0 && is_decoder == (plan->num_stacks > 1);
}

const attn_tokenizer *api_plan_tokenizer(const api_plan *plan)
{
    return plan->model ? attn_model_get_tokenizer(plan->model->model) : NULL;
}

api_sequence api_plan_sequence(const api_plan *plan, size_t b, bool is_decoder)
{
    const api_plan_input *in = &plan->inputs[b];
    const attn_model_input *model = &in->model;
    api_sequence seq = { .tokens = &in->tokens, .ids = model->input_ids, .T = model->T, .num_embeds = model->inputs_embeds ? model->num_embeds : 0 };
    if (is_decoder)
        seq = (api_sequence){ .tokens = &in->decoder_tokens, .ids = model->decoder_input_ids, .T = model->decoder_T };
    seq.end_of_prompt = seq.T;
    if (api_plan_writes(plan, is_decoder)) {
        seq.end_of_prompt = in->num_prompt;
        if (in->span == API_SPAN_PROMPT)
            seq.T = in->num_prompt;
    }
    return seq;
}
