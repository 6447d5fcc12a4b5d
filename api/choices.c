/* choices.c - what was selected, against the axes of every attention of every input, and what each run is to keep of it.
 *
 * An encoder-decoder has three attentions: its encoder's, its decoder's, and the one between, whose layers and queries are the decoder's and whose keys are the
 * encoder's. An index must be in range for each of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <stdio.h>
#include <string.h>

/* What is defined where queries and keys are different sequences: nothing that compares their places or their tokens. */
#define CROSS_ANALYSES                                                                                                                                         \
    (ATTN_ANALYSIS_BIT(ATTN_ENTROPY) | ATTN_ANALYSIS_BIT(ATTN_CONFIDENCE) | ATTN_ANALYSIS_BIT(ATTN_FIRST_TOKEN) | ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS) |     \
     ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE))

const char *api_plan_prefix(const api_plan *plan, attn_stack s)
{
    static const char *const prefixes[ATTN_STACKS] = { [ATTN_STACK_SELF] = "encoder_", [ATTN_STACK_DECODER] = "decoder_", [ATTN_STACK_CROSS] = "cross_" };
    return plan->num_stacks > 1 ? prefixes[s] : "";
}

void api_plan_set_lengths(const api_plan *plan, api_plan_input *in)
{
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        in->stacks[s].T_q = api_stack_is_decoder(s, false) ? in->model.decoder_T : in->model.T;
        in->stacks[s].T_k = api_stack_is_decoder(s, true) ? in->model.decoder_T : in->model.T;
    }
}

/* ---- lists -------------------------------------------------------------------------------------------------------------- */

/* Says whose axis it was, where there are several. */
static bool choose(api_call *call, const api_plan *plan, attn_stack s, const api_indices *asked, const char *field, size_t n, api_choice *out)
{
    static const char *const whose[ATTN_STACKS] = { " (encoder)", " (decoder)", " (between decoder and encoder)" };
    out->asked = asked->kind != API_ALL;
    if (api_resolve(asked, field, n, call->worker->arena, &out->list, &out->count, &call->problem))
        return true;
    char *detail = call->problem.detail;
    if (plan->num_stacks > 1)
        snprintf(detail + strlen(detail), sizeof call->problem.detail - strlen(detail), "%s", whose[s]);
    return false;
}

static bool wants_states(const api_plan *plan)
{
    return (plan->request->want.outputs & ATTN_BIT(ATTN_HIDDEN_STATES)) != 0;
}

/* State 0 belongs to no layer: it comes where none was named. */
static bool choose_states(api_call *call, const api_plan *plan, api_plan_stack *stack)
{
    stack->states = (api_choice){ .count = stack->num_layers + 1 };
    if (!wants_states(plan) || !stack->layers.list)
        return true;
    int32_t *list = attn_arena_take(call->worker->arena, stack->layers.count, sizeof *list);
    if (!list)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the selection");
    stack->states = (api_choice){ .list = list, .count = stack->layers.count, .asked = true };
    for (size_t i = 0; i < stack->layers.count; i++)
        list[i] = stack->layers.list[i] + 1;
    return true;
}

/* Every row is ranked, so a key that was asked for ten million times must not be looked at as often. */
static bool choose_ranked(api_call *call, api_input_stack *in)
{
    in->ranked = in->keys;
    if (!in->keys.list)
        return true;
    uint8_t *seen = attn_arena_zero(call->worker->arena, in->T_k, 1);
    int32_t *list = attn_arena_take(call->worker->arena, in->T_k, sizeof *list);
    if (!seen || !list)
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the selection");
    in->ranked = (api_choice){ .list = list };
    for (size_t i = 0; i < in->keys.count; i++) {
        int32_t key = in->keys.list[i];
        if (!seen[key])
            list[in->ranked.count++] = key;
        seen[key] = 1;
    }
    return true;
}

/* ---- memory for them ---------------------------------------------------------------------------------------------------- */

/* The most bytes that resolving takes: a list has as many entries as it has, a slice at most as many as the axis. */
static uint64_t choice_bytes(const api_indices *asked, size_t n)
{
    return asked->kind == API_ALL ? 0 : api_arena_bytes(asked->kind == API_LIST ? asked->count : n, sizeof(int32_t));
}

/* Which tokens are special must be known. */
static bool marks_tokens(const api_plan *plan)
{
    return (plan->request->want.analyses & ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS)) != 0;
}

static uint64_t input_bytes(const api_plan *plan, const api_input_stack *in)
{
    const api_return *want = &plan->request->want;
    uint64_t bytes = attn_plus(choice_bytes(&want->queries, in->T_q), choice_bytes(&want->keys, in->T_k));
    if (want->top_k && want->keys.kind != API_ALL)
        bytes = attn_plus(bytes, attn_plus(api_arena_bytes(in->T_k, 1), api_arena_bytes(in->T_k, sizeof(int32_t))));
    if (marks_tokens(plan))
        bytes = attn_plus(bytes, api_arena_bytes(in->T_k, 1));
    return bytes;
}

bool api_plan_reserve_choices(api_call *call, const api_plan *plan)
{
    const api_return *want = &plan->request->want;
    uint64_t bytes = 0;
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        const api_plan_stack *stack = &plan->stacks[s];
        bytes = attn_plus(bytes, attn_times(wants_states(plan) ? 2 : 1, choice_bytes(&want->layers, stack->num_layers)));
        bytes = attn_plus(bytes, choice_bytes(&want->heads, stack->num_attention_heads));
    }
    for (size_t b = 0; b < plan->num_inputs; b++)
        for (attn_stack s = 0; s < plan->num_stacks; s++)
            bytes = attn_plus(bytes, input_bytes(plan, &plan->inputs[b].stacks[s]));
    return api_call_reserve(call, bytes);
}

/* ---- tokens that analyses ask about ------------------------------------------------------------------------------------- */

/* Special are those that the template set, and those whose id is. */
void api_plan_mark_special(const api_plan *plan, size_t b)
{
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        uint8_t *special = plan->inputs[b].stacks[s].special;
        api_sequence keys = api_plan_sequence(plan, b, api_stack_is_decoder(s, true));
        for (size_t t = 0; special && t < keys.T; t++)
            special[t] = (t < keys.tokens->count && keys.tokens->tokens[t].special) || attn_tokenizer_is_special(tokenizer, keys.ids[t]);
    }
}

static bool describe_tokens(api_call *call, const api_plan *plan, size_t b, attn_stack s)
{
    api_input_stack *in = &plan->inputs[b].stacks[s];
    api_sequence keys = api_plan_sequence(plan, b, api_stack_is_decoder(s, true));
    in->special = NULL;
    in->about = (attn_analysis_tokens){ .ids = keys.num_embeds > 0 ? NULL : keys.ids };
    if (!marks_tokens(plan) || !in->about.ids || !api_plan_tokenizer(plan))
        return true;
    in->about.is_special = in->special = attn_arena_take(call->worker->arena, in->T_k, 1);
    return in->special || api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
}

/* ---- what a run keeps --------------------------------------------------------------------------------------------------- */

static attn_outputs outputs_of(const api_plan *plan, attn_stack s)
{
    attn_outputs asked = plan->request->want.outputs;
    if (plan->num_stacks > 1 && plan->is_default_selection && s != ATTN_STACK_CROSS)
        return 0; /* a terminal shows one map: which words became which */
    return s == ATTN_STACK_CROSS ? asked & ~ATTN_BIT(ATTN_HIDDEN_STATES) : asked;
}

/* The run pools maps where there is something to pool; shorter ones come whole and are cut like any other. */
static void plan_run(const api_plan *plan, api_plan_input *input, attn_stack s)
{
    const api_return *want = &plan->request->want;
    const api_plan_stack *stack = &plan->stacks[s];
    api_input_stack *in = &input->stacks[s];
    attn_keep *keep = &input->keep[s];
    *keep = (attn_keep){
        .outputs = stack->outputs,
        .layers = stack->layers.list,
        .num_layers = stack->layers.count,
        .heads = stack->heads.list,
        .num_heads = stack->heads.count,
        .analyses = stack->analyses,
        .about = &in->about,
    };
    in->pool = (attn_pool){ 0 };
    if (!want->pool_size)
        return;
    in->pool = (attn_pool){
        .size = want->pool_size,
        .mode = want->pool_mode,
        .queries = in->queries.list,
        .num_queries = in->queries.count,
        .keys = in->keys.list,
        .num_keys = in->keys.count,
    };
    if (in->queries.count > want->pool_size || in->keys.count > want->pool_size)
        keep->pool = &in->pool;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

static bool choose_of_plan(api_call *call, api_plan *plan, attn_stack s)
{
    const api_return *want = &plan->request->want;
    api_plan_stack *stack = &plan->stacks[s];
    stack->outputs = outputs_of(plan, s);
    stack->analyses = s == ATTN_STACK_CROSS ? want->analyses & CROSS_ANALYSES : want->analyses;
    return choose(call, plan, s, &want->layers, "layers", stack->num_layers, &stack->layers) &&
           choose(call, plan, s, &want->heads, "heads", stack->num_attention_heads, &stack->heads) && choose_states(call, plan, stack);
}

static bool choose_of_input(api_call *call, const api_plan *plan, size_t b, attn_stack s)
{
    const api_return *want = &plan->request->want;
    api_plan_input *input = &plan->inputs[b];
    api_input_stack *in = &input->stacks[s];
    if (!choose(call, plan, s, &want->queries, "queries", in->T_q, &in->queries) || !choose(call, plan, s, &want->keys, "keys", in->T_k, &in->keys) ||
        (want->top_k && !choose_ranked(call, in)) || !describe_tokens(call, plan, b, s))
        return false;
    in->fresh = in->keys.count;
    plan_run(plan, input, s);
    return true;
}

bool api_plan_choose(api_call *call, api_plan *plan)
{
    for (attn_stack s = 0; s < plan->num_stacks; s++)
        if (!choose_of_plan(call, plan, s))
            return false;
    for (size_t b = 0; b < plan->num_inputs; b++) {
        for (attn_stack s = 0; s < plan->num_stacks; s++)
            if (!choose_of_input(call, plan, b, s))
                return false;
        api_plan_mark_special(plan, b);
    }
    return true;
}
