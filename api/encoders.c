/* encoders.c - which form is written by which encoder, and what an answer will take whoever writes it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_drawn.h"
#include "encode_json.h"
#include "encode_tensors.h"
#include "generate.h"

#include <string.h>

enum { HALF_STAGE = 512 }; /* numbers */

const api_encoder *api_encoder_of(api_form_kind kind)
{
    static const api_encoder *const encoders[API_FORM_COUNT] = {
        [API_FORM_JSON] = &api_json_encoder, [API_FORM_NDJSON] = &api_ndjson_encoder, [API_FORM_SAFETENSORS] = &api_safetensors_encoder,
        [API_FORM_NPY] = &api_npy_encoder,   [API_FORM_PNG] = &api_png_encoder,       [API_FORM_SVG] = &api_svg_encoder,
        [API_FORM_TEXT] = &api_text_encoder,
    };
    return encoders[kind];
}

/* dst may lie anywhere. */
static void pack_halves(const attn_runtime *rt, unsigned char *dst, const float *x, size_t n)
{
    uint16_t half[HALF_STAGE];
    for (size_t i = 0; i < n; i += HALF_STAGE) {
        size_t part = n - i < HALF_STAGE ? n - i : HALF_STAGE;
        attn_to_half(rt, half, x + i, part);
        memcpy(dst + 2 * i, half, 2 * part);
    }
}

void api_pack_numbers(const attn_runtime *rt, api_dtype dtype, void *dst, const float *x, size_t n)
{
    if (dtype == API_UINT8)
        attn_to_uint8(rt, dst, x, n);
    else if (dtype == API_FLOAT16)
        pack_halves(rt, dst, x, n);
    else
        memcpy(dst, x, n * sizeof *x);
}

/* ---- bounds -------------------------------------------------------------------------------------------------------------- */

static void count_part(api_encode *e, const api_part *part)
{
    e->encoder->begin_part(e, part);
    e->out->written = attn_plus(e->out->written, e->encoder->part_bytes(e->plan, part));
    e->encoder->end_part(e, part);
}

/* Stands part p in the lines of this attention's layers? A decoder's layer has one for both of its. */
static bool is_in_line(const api_part *part, attn_stack s)
{
    return api_part_is_layered(part) && (part->stack == ATTN_STACK_SELF) == (s == ATTN_STACK_SELF);
}

/* One line of a layer's; no other is longer than that of the highest number. */
static void count_line(api_encode *e, const api_part *parts, size_t n, attn_stack s, bool state)
{
    e->encoder->begin_layer(e, s, state ? 0 : e->plan->stacks[s].num_layers - 1, state);
    for (size_t p = 0; p < n; p++)
        if (is_in_line(&parts[p], s) && (!state || parts[p].output == ATTN_HIDDEN_STATES)) {
            api_part slice = api_part_of_slice(&parts[p]);
            count_part(e, &slice);
        }
    e->encoder->end_layer(e);
}

static void count_lines(api_encode *e, const api_part *parts, size_t n, attn_stack s)
{
    const api_plan_stack *stack = &e->plan->stacks[s];
    size_t layered = 0, lines = stack->layers.count < stack->num_layers ? stack->layers.count : stack->num_layers;
    uint64_t before = e->out->written;
    for (size_t p = 0; p < n; p++)
        layered += is_in_line(&parts[p], s);
    if (layered == 0)
        return;
    count_line(e, parts, n, s, false);
    e->out->written = attn_plus(before, attn_times(e->out->written - before, lines));
    if (!stack->layers.list && (stack->outputs & ATTN_BIT(ATTN_HIDDEN_STATES)))
        count_line(e, parts, n, s, true);
}

/* All lines that layers of result e->result have. */
static void count_layers(api_encode *e)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(e->plan, e->result, parts);
    count_lines(e, parts, n, ATTN_STACK_SELF);
    if (e->plan->num_stacks > 1)
        count_lines(e, parts, n, ATTN_STACK_DECODER);
}

/* One line of parts that were held: in a step all are. */
static void count_rest(api_encode *e)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(e->plan, e->result, parts), held = 0;
    api_span span = e->plan->inputs[e->result].span;
    for (size_t p = 0; p < n; p++)
        held += !api_part_is_layered(&parts[p]);
    if (held == 0 && span != API_SPAN_STEP && span != API_SPAN_REST)
        return;
    e->encoder->begin_rest(e);
    for (size_t p = 0; p < n; p++)
        if (span == API_SPAN_STEP || !api_part_is_layered(&parts[p]))
            count_part(e, &parts[p]);
    e->encoder->end_rest(e);
}

/* No step's line is longer than the last one. */
static void count_generation(api_encode *e)
{
    size_t steps = e->plan->inputs[e->result].num_generated;
    api_plan_span(e->plan, e->result, API_SPAN_PROMPT, 0);
    count_layers(e);
    if (steps > 0) {
        uint64_t before = e->out->written;
        api_plan_span(e->plan, e->result, API_SPAN_STEP, steps - 1);
        count_rest(e);
        e->out->written = attn_plus(before, attn_times(e->out->written - before, steps));
    }
    api_plan_span(e->plan, e->result, API_SPAN_REST, 0);
    count_rest(e);
    api_plan_span(e->plan, e->result, API_SPAN_ALL, 0);
}

static void count_parts(api_encode *e)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(e->plan, e->result, parts);
    for (size_t p = 0; p < n; p++)
        count_part(e, &parts[p]);
}

static void count_result(api_encode *e)
{
    e->encoder->begin_result(e);
    if (api_generates_lines(e->plan)) {
        count_generation(e);
    } else if (e->encoder->order == API_ORDER_LAYERS) {
        count_layers(e);
        count_rest(e);
    } else {
        count_parts(e);
    }
    e->encoder->end_result(e);
}

uint64_t api_encoder_bound(const api_encoder *encoder, const api_plan *plan)
{
    api_out counter;
    if (encoder->length)
        return encoder->length(plan);
    api_out_init(&counter, NULL, (api_head){ 0 });
    api_encode e = { .encoder = encoder, .plan = plan, .out = &counter };
    encoder->begin(&e);
    for (; e.result < plan->num_inputs; e.result++)
        count_result(&e);
    encoder->end(&e);
    if (encoder->close)
        encoder->close(&e);
    return counter.written;
}
