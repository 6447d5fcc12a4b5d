/* generate.c - what is planned, priced and counted where a model goes on writing. See generate.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "generate.h"

#include "collect.h"
#include "encode_json.h"

#include <string.h>

bool api_generates_lines(const api_plan *plan)
{
    return plan->generates && plan->encoder->order == API_ORDER_LAYERS;
}

/* ---- room --------------------------------------------------------------------------------------------------------------- */

static bool has_decoder(const api_plan *plan)
{
    return plan->num_stacks > 1;
}

/* How many tokens there may be: no more than find place. That more were asked for has been said by then. */
static size_t most_tokens(const api_call *call, const api_plan *plan, size_t prompt)
{
    size_t limit = attn_least(attn_model_get_info(plan->model->model)->max_tokens, call->service->limits.max_tokens);
    return prompt < limit ? attn_least(plan->request->max_new_tokens, limit - prompt) : 0;
}

/* The most bytes a piece takes in JSON, or in JSON within a JSON string. */
static uint64_t piece_bound(attn_text piece)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < piece.length; i++) {
        unsigned char c = (unsigned char)piece.bytes[i];
        bytes += c < 0x20 ? 7 : c == '"' || c == '\\' ? 4 : 1;
    }
    return bytes;
}

/* The most bytes that writing a token takes. */
static uint64_t token_bound(const attn_tokenizer *tokenizer, int32_t id, bool quoted)
{
    static const char around[] = "{\"id\":2147483647,\"text\":\"\",\"display\":\"\",\"special\":false,\"generated\":true}";
    enum { QUOTES = 14 };
    attn_text text, display;
    bool is_known = attn_tokenizer_piece(tokenizer, id, &text, &display);
    return sizeof around - 1 + (quoted ? QUOTES : 0) + (is_known ? piece_bound(text) + piece_bound(display) : 0);
}

static uint64_t token_bytes(const attn_tokenizer *tokenizer, int32_t id, bool quoted)
{
    api_out counter;
    api_out_init(&counter, NULL, (api_head){ 0 });
    counter.quoted = quoted;
    api_json_generated(&counter, tokenizer, id);
    return counter.written;
}

/* Of all tokens there are, the one that takes the most bytes to write. Most need no more than a look at their pieces. */
static int32_t longest_token(const api_plan *plan)
{
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    const attn_model_info *info = attn_model_get_info(plan->model->model);
    size_t vocabulary = has_decoder(plan) ? info->decoder_vocab_size : info->vocab_size;
    bool quoted = plan->form->kind == API_FORM_SAFETENSORS;
    uint64_t most = 0;
    int32_t longest = (int32_t)(vocabulary - 1);
    for (int32_t id = 0; tokenizer && (size_t)id < vocabulary; id++) {
        uint64_t bytes = token_bound(tokenizer, id, quoted) > most ? token_bytes(tokenizer, id, quoted) : 0;
        if (bytes > most) {
            most = bytes;
            longest = id;
        }
    }
    return longest;
}

static uint64_t text_bytes(const api_plan *plan, size_t prompt, size_t most)
{
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    return tokenizer ? attn_plus(attn_tokenizer_decode_bytes(tokenizer, prompt), attn_tokenizer_decode_bytes(tokenizer, prompt + most)) : 0;
}

/* The prompt's ids moved to where there is room behind them; its mask, where it has one, goes on with ones. */
static bool make_room(api_call *call, const api_plan *plan, api_plan_input *in, int32_t id)
{
    attn_model_input *model = &in->model;
    bool is_decoder = has_decoder(plan);
    const int32_t *sent = is_decoder ? model->decoder_input_ids : model->input_ids;
    size_t num_embeds = !is_decoder && model->inputs_embeds ? model->num_embeds : 0, num_ids = in->num_prompt - num_embeds, all = num_ids + in->num_generated;
    const uint8_t *mask = is_decoder ? NULL : model->attention_mask;
    uint64_t bytes = attn_plus(text_bytes(plan, num_ids, in->num_generated), api_arena_bytes(all, sizeof *in->room));
    if (!api_call_reserve(call, attn_plus(bytes, mask ? api_arena_bytes(num_embeds + all, 1) : 0)))
        return false;
    in->room = attn_arena_take(call->worker->arena, all, sizeof *in->room);
    uint8_t *longer = mask ? attn_arena_take(call->worker->arena, num_embeds + all, 1) : NULL;
    if (!in->room || (mask && !longer))
        return api_fail(&call->problem, API_NO_MEMORY, NULL, "no memory for the tokens");
    for (size_t i = 0; i < all; i++)
        in->room[i] = i < num_ids ? sent[i] : id;
    for (size_t t = 0; longer && t < num_embeds + all; t++)
        longer[t] = t < in->num_prompt ? mask[t] : 1;
    if (is_decoder)
        model->decoder_input_ids = in->room;
    else
        model->input_ids = in->room;
    model->attention_mask = mask ? longer : model->attention_mask;
    return true;
}

bool api_generate_prepare(api_call *call, api_plan *plan)
{
    int32_t longest = longest_token(plan);
    for (size_t b = 0; b < plan->num_inputs; b++) {
        api_plan_input *in = &plan->inputs[b];
        in->num_prompt = has_decoder(plan) ? in->model.decoder_T : in->model.T;
        in->num_generated = most_tokens(call, plan, in->num_prompt);
        if (!make_room(call, plan, in, longest))
            return false;
        api_generate_ended(plan, b, in->num_generated);
    }
    return true;
}

/* ---- what was generated ------------------------------------------------------------------------------------------------- */

attn_model_input api_generate_prompt(const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    attn_model_input prompt = in->model;
    if (has_decoder(plan))
        prompt.decoder_T = in->num_prompt;
    else
        prompt.T = in->num_prompt;
    if (prompt.inputs_embeds && prompt.T == prompt.num_embeds)
        prompt.input_ids = NULL;
    return prompt;
}

int32_t *api_generate_ids(const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    return in->room + in->num_prompt - api_plan_sequence(plan, b, has_decoder(plan)).num_embeds;
}

void api_generate_ended(const api_plan *plan, size_t b, size_t n)
{
    api_plan_input *in = &plan->inputs[b];
    in->num_generated = n;
    if (has_decoder(plan))
        in->model.decoder_T = in->num_prompt + n;
    else
        in->model.T = in->num_prompt + n;
}

attn_status api_generate_text(const api_plan *plan, size_t b, attn_arena *arena, attn_error *err)
{
    api_plan_input *in = &plan->inputs[b];
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    api_sequence seq = api_plan_sequence(plan, b, has_decoder(plan));
    attn_text prompt, all;
    if (!tokenizer)
        return ATTN_OK;
    attn_status st = attn_tokenizer_decode(tokenizer, seq.ids, in->num_prompt - seq.num_embeds, arena, &prompt, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_decode(tokenizer, seq.ids, in->num_prompt + in->num_generated - seq.num_embeds, arena, &all, err);
    if (st != ATTN_OK)
        return st;
    bool is_prefix = prompt.length > 0 && prompt.length <= all.length && memcmp(prompt.bytes, all.bytes, prompt.length) == 0;
    size_t front = is_prefix ? prompt.length : 0;
    in->generated_text = (attn_text){ all.bytes + front, all.length - front };
    return ATTN_OK;
}

/* ---- spans -------------------------------------------------------------------------------------------------------------- */

/* What comes with the layers of the prompt. */
static attn_outputs layered(const api_plan *plan, attn_stack s)
{
    return plan->stacks[s].outputs & ~(plan->request->want.reduce_layers ? ATTN_MAP_OUTPUTS : 0);
}

/* In a step the encoder does nothing, and what looks at it sees what it saw before. */
static attn_outputs stepped(const api_plan *plan, attn_stack s)
{
    if (plan->num_stacks == 1 || s == ATTN_STACK_DECODER)
        return layered(plan, s);
    return s == ATTN_STACK_CROSS ? layered(plan, s) & ~(ATTN_BIT(ATTN_KEY) | ATTN_BIT(ATTN_VALUE) | ATTN_BIT(ATTN_VALUE_NORMS)) : 0;
}

static void keep_of(const api_plan *plan, api_span span, attn_stack s, attn_keep *keep)
{
    const api_plan_stack *stack = &plan->stacks[s];
    keep->outputs = span == API_SPAN_PROMPT ? layered(plan, s) : span == API_SPAN_STEP ? stepped(plan, s) : stack->outputs;
    if (span == API_SPAN_REST)
        keep->outputs &= ~layered(plan, s);
    keep->analyses = span == API_SPAN_ALL || span == API_SPAN_REST ? stack->analyses : 0;
}

void api_plan_span(const api_plan *plan, size_t b, api_span span, size_t step)
{
    api_plan_input *in = &plan->inputs[b];
    size_t fresh = span == API_SPAN_PROMPT ? 0 : span == API_SPAN_STEP ? step + 1 : in->num_generated, T = in->num_prompt + fresh;
    in->span = span;
    in->step = step;
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        api_input_stack *stack = &in->stacks[s];
        stack->T_k = api_plan_writes(plan, api_stack_is_decoder(s, true)) ? T : in->model.T;
        stack->T_q = span == API_SPAN_STEP ? 1 : api_plan_writes(plan, api_stack_is_decoder(s, false)) ? T : in->model.T;
        stack->queries = (api_choice){ .count = stack->T_q };
        stack->ranked = stack->keys = (api_choice){ .count = stack->T_k };
        stack->fresh = span == API_SPAN_STEP ? 1 : stack->T_k;
        keep_of(plan, span, s, &in->keep[s]);
    }
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

static attn_price generation_price(const api_plan *plan, size_t b, const attn_keep *keep)
{
    attn_model_input prompt = api_generate_prompt(plan, b);
    return attn_generation_price(plan->model->model, &prompt, plan->inputs[b].num_generated, keep);
}

attn_price api_generate_price(const api_plan *plan, size_t b)
{
    return generation_price(plan, b, NULL);
}

attn_price api_generate_lines_price(const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    api_plan_span(plan, b, API_SPAN_PROMPT, 0);
    attn_price price = generation_price(plan, b, in->keep);
    uint64_t collect = api_collect_bytes(plan, b);
    api_plan_span(plan, b, API_SPAN_STEP, in->num_generated > 0 ? in->num_generated - 1 : 0);
    uint64_t step = api_collect_bytes(plan, b);
    api_plan_span(plan, b, API_SPAN_REST, 0);
    attn_price rest = attn_model_price(plan->model->model, &in->model, in->keep);
    rest.bytes = attn_plus(rest.bytes, api_collect_bytes(plan, b));
    api_plan_span(plan, b, API_SPAN_ALL, 0);
    price.bytes = attn_plus(price.bytes, collect > step ? collect : step);
    return (attn_price){ .flops = attn_plus(price.flops, rest.flops), .bytes = price.bytes > rest.bytes ? price.bytes : rest.bytes };
}
