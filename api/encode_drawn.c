/* encode_drawn.c - from a plan to a drawing: a section for each map of each result, titles that say what was done to it, labels from tokens.
 *
 * A drawing knows its size from the plan alone, so it is measured with the same sections that are drawn later: once to see whether a picture is too large,
 * once for memory, once for bytes. Sections are made when they are asked for, one at a time, so that measuring takes no memory and cannot fail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_drawn.h"

#include <stdio.h>
#include <string.h>

enum { TITLE_BYTES = 320, NAME_BYTES = 40, HEADING_BYTES = 300 };

/* A drawing, and the section that was asked for last, with the words it borrows. */
typedef struct drawn {
    attn_drawing drawing;
    attn_drawer *drawer; /* NULL while only measured */
    const api_plan *plan;
    size_t result; /* of the section, and whose map it is */
    attn_stack stack;
    attn_section section;
    char title[TITLE_BYTES], no_layers[NAME_BYTES], no_heads[NAME_BYTES], heading[HEADING_BYTES];
} drawn;

/* ---- labels ------------------------------------------------------------------------------------------------------------ */

/* What the token at an original position of a sequence is called. */
static attn_text name_token(const api_plan *plan, const api_sequence *seq, int32_t position, char scratch[ATTN_DRAW_SCRATCH])
{
    attn_text text, display;
    const attn_tokenizer *tokenizer = api_plan_tokenizer(plan);
    size_t t = (size_t)position;
    if (t < seq->tokens->count && seq->tokens->tokens[t].display.bytes)
        return seq->tokens->tokens[t].display;
    if (!seq->ids || t < seq->num_embeds)
        return (attn_text){ scratch, (size_t)snprintf(scratch, ATTN_DRAW_SCRATCH, "%d", (int)position) };
    int32_t id = seq->ids[t - seq->num_embeds];
    if (tokenizer && attn_tokenizer_piece(tokenizer, id, &text, &display))
        return display;
    return (attn_text){ scratch, (size_t)snprintf(scratch, ATTN_DRAW_SCRATCH, "#%d", (int)id) };
}

/* At most n bytes of it, whole characters. */
static attn_text cut(attn_text text, size_t n)
{
    if (text.length > n) {
        text.length = n;
        while (text.length > 0 && ((unsigned char)text.bytes[text.length] & 0xC0) == 0x80)
            text.length--;
    }
    return text;
}

/* A bin is called by its first and its last token. */
static attn_text name_bin(const drawn *d, const api_sequence *seq, const api_choice *choice, size_t first, size_t last, char scratch[ATTN_DRAW_SCRATCH])
{
    enum { EACH = (ATTN_DRAW_SCRATCH - 8) / 2 };
    char a[ATTN_DRAW_SCRATCH], b[ATTN_DRAW_SCRATCH];
    attn_text from = cut(name_token(d->plan, seq, api_choice_at(choice, first), a), EACH);
    attn_text to = cut(name_token(d->plan, seq, api_choice_at(choice, last), b), EACH);
    memcpy(scratch, from.bytes, from.length);
    memcpy(scratch + from.length, "\u2026", 3);
    memcpy(scratch + from.length + 3, to.bytes, to.length);
    return (attn_text){ scratch, from.length + 3 + to.length };
}

static attn_text name_place(const void *ctx, attn_draw_axis axis, size_t i, char scratch[ATTN_DRAW_SCRATCH])
{
    const drawn *d = ctx;
    const api_input_stack *in = &d->plan->inputs[d->result].stacks[d->stack];
    const api_choice *choice = axis == ATTN_DRAW_QUERY ? &in->queries : &in->keys;
    api_sequence seq = api_plan_sequence(d->plan, d->result, api_stack_is_decoder(d->stack, axis == ATTN_DRAW_KEY));
    size_t bins = axis == ATTN_DRAW_QUERY ? d->section.queries : d->section.keys;
    size_t first = attn_pool_edge(choice->count, bins, i), end = attn_pool_edge(choice->count, bins, i + 1);
    if (end - first > 1)
        return name_bin(d, &seq, choice, first, end - 1, scratch);
    return name_token(d->plan, &seq, api_choice_at(choice, first), scratch);
}

/* ---- titles ------------------------------------------------------------------------------------------------------------ */

static void append(char *dst, size_t size, const char *fmt, ...) ATTN_PRINTF(3, 4);
static void append(char *dst, size_t size, const char *fmt, ...)
{
    size_t used = strlen(dst);
    va_list args;
    va_start(args, fmt);
    vsnprintf(dst + used, size - used, fmt, args);
    va_end(args);
}

/* "mean over heads", "max over 3 of 12 layers"; "" when the axis is there. */
static void name_reduction(char dst[NAME_BYTES], attn_reduce how, const api_choice *choice, size_t n, const char *what)
{
    const char *word = how == ATTN_REDUCE_MAX ? "max" : "mean";
    dst[0] = '\0';
    if (how != ATTN_REDUCE_NONE && choice->list)
        snprintf(dst, NAME_BYTES, "%s over %zu of %zu %s", word, choice->count, n, what);
    else if (how != ATTN_REDUCE_NONE)
        snprintf(dst, NAME_BYTES, "%s over %s", word, what);
}

static void append_cut(drawn *d, const char *what, const attn_encoding *tokens)
{
    if (tokens->truncated)
        append(d->title, sizeof d->title, ", %s cut from %zu to %zu tokens", what, tokens->full_count, tokens->count);
}

static void write_title(drawn *d, const api_part *part)
{
    const api_plan *plan = d->plan;
    const api_plan_input *input = &plan->inputs[d->result];
    const api_input_stack *in = &input->stacks[d->stack];
    const char *pooling = plan->request->want.pool_mode == ATTN_REDUCE_MAX ? "max" : "mean";
    d->title[0] = '\0';
    if (plan->num_inputs > 1)
        append(d->title, sizeof d->title, "result %zu: ", d->result);
    append(d->title, sizeof d->title, "%s%s", part->prefix, part->name);
    if (plan->is_default_selection)
        append(d->title, sizeof d->title, ", mean over heads of the last %slayer", plan->num_stacks > 1 ? "decoder " : "");
    else if (d->no_heads[0] || d->no_layers[0])
        append(d->title, sizeof d->title, ", %s%s%s", d->no_heads, d->no_heads[0] && d->no_layers[0] ? ", then " : "", d->no_layers);
    if (part->rows < in->queries.count || part->columns < in->keys.count)
        append(d->title, sizeof d->title, ", pooled to %zu \u00d7 %zu bins (%s)", part->rows, part->columns, pooling);
    append_cut(d, plan->num_stacks > 1 ? "encoder's text" : "input", &input->tokens);
    append_cut(d, "decoder's text", &input->decoder_tokens);
    if (plan->is_default_selection)
        append(d->title, sizeof d->title, "; choose layers and heads to see others");
}

static void write_heading(const api_plan *plan, char dst[HEADING_BYTES])
{
    if (plan->model)
        snprintf(dst, HEADING_BYTES, "%s \u00b7 %s", plan->model->name, attn_model_get_info(plan->model->model)->architecture);
    else
        snprintf(dst, HEADING_BYTES, "%s", plan->request->kind == API_INPUT_QKV ? "attention of queries, keys and values" : "attention on embeddings");
}

/* ---- sections ------------------------------------------------------------------------------------------------------------ */

/* What is drawn has maps and nothing else for parts (the request's reader sees to it), the same for each result. */
static const attn_section *section_of(void *ctx, size_t i)
{
    drawn *d = ctx;
    const api_plan *plan = d->plan;
    const api_return *want = &plan->request->want;
    api_part parts[API_MAX_PARTS];
    size_t each = d->drawing.num_sections / plan->num_inputs, result = i / each;
    api_plan_parts(plan, result, parts);
    const api_part *part = &parts[i % each];
    const api_plan_stack *stack = &plan->stacks[part->stack];
    d->result = result;
    d->stack = part->stack;
    name_reduction(d->no_layers, want->reduce_layers, &stack->layers, stack->num_layers, "layers");
    name_reduction(d->no_heads, want->reduce_heads, &stack->heads, stack->num_attention_heads, "heads");
    write_title(d, part);
    d->section = (attn_section){
        .title = d->title,
        .layers = part->slices,
        .heads = part->matrices,
        .queries = part->rows,
        .keys = part->columns,
        .layer_numbers = stack->layers.list,
        .head_numbers = stack->heads.list,
        .no_layers = d->no_layers[0] ? d->no_layers : NULL,
        .no_heads = d->no_heads[0] ? d->no_heads : NULL,
        .label = name_place,
        .label_ctx = d,
    };
    return &d->section;
}

static attn_draw_kind kind_of(const api_plan *plan)
{
    return plan->form->kind == API_FORM_PNG ? ATTN_DRAW_PNG : plan->form->kind == API_FORM_SVG ? ATTN_DRAW_SVG : ATTN_DRAW_TEXT;
}

/* The drawing of a plan; `d` must stay where it is. */
static void drawn_init(drawn *d, const api_plan *plan)
{
    static const attn_draw_color colors[] = {
        [API_COLOR_256] = ATTN_DRAW_256, [API_COLOR_TRUECOLOR] = ATTN_DRAW_TRUECOLOR, [API_COLOR_NONE] = ATTN_DRAW_PLAIN
    };
    api_part parts[API_MAX_PARTS];
    *d = (drawn){ .plan = plan };
    write_heading(plan, d->heading);
    d->drawing = (attn_drawing){
        .kind = kind_of(plan),
        .heading = d->heading,
        .num_sections = api_plan_parts(plan, 0, parts) * plan->num_inputs,
        .section = section_of,
        .section_ctx = d,
        .scale = plan->form->scale,
        .cell = plan->form->cell,
        .color = colors[plan->form->color],
    };
}

static attn_draw_size measure(const api_plan *plan)
{
    drawn d;
    drawn_init(&d, plan);
    return attn_draw_measure(&d.drawing);
}

/* ---- the encoder --------------------------------------------------------------------------------------------------------- */

static void check(api_plan *plan)
{
    attn_draw_size size = measure(plan);
    uint64_t side = size.width > size.height ? size.width : size.height;
    if (side > ATTN_DRAW_MAX_SIDE)
        api_plan_excess(plan, API_RESPONSE_TOO_LARGE, ATTN_DRAW_MAX_SIDE, side,
                        "the picture would be %llu pixels %s, and %d are the most; choose fewer layers, heads, queries or keys, use pool, or a smaller cell",
                        (unsigned long long)side, size.width > size.height ? "wide" : "high", ATTN_DRAW_MAX_SIDE);
}

static uint64_t memory(const api_plan *plan)
{
    return attn_plus(measure(plan).memory, sizeof(drawn));
}

static attn_status write_out(void *ctx, const void *bytes, size_t n)
{
    api_out *out = ctx;
    api_out_bytes(out, bytes, n);
    return out->status;
}

static void keep_status(api_encode *e, attn_status st)
{
    if (e->out->status == ATTN_OK)
        e->out->status = st;
}

static void begin(api_encode *e)
{
    if (!e->call) {
        e->out->written = attn_plus(e->out->written, measure(e->plan).bytes);
        return;
    }
    drawn *d = e->state = attn_malloc(sizeof *d);
    if (!d) {
        keep_status(e, attn_fail_memory(e->call->err));
        return;
    }
    drawn_init(d, e->plan);
    d->drawing.fonts = e->call->service->fonts;
    keep_status(e, attn_drawer_open(&d->drawer, &d->drawing, write_out, e->out, e->call->worker->cancel, e->call->err));
}

static void begin_result(api_encode *e)
{
    (void)e;
}

static void begin_part(api_encode *e, const api_part *part)
{
    (void)e;
    (void)part;
}

static void rows(api_encode *e, const api_part *part, const api_rows *r)
{
    drawn *d = e->state;
    (void)part;
    if (e->out->status == ATTN_OK)
        keep_status(e, attn_drawer_section(d->drawer, r->matrix[0], e->call->err));
}

static void end(api_encode *e)
{
    drawn *d = e->state;
    if (d && e->out->status == ATTN_OK)
        keep_status(e, attn_drawer_end(d->drawer, e->call->err));
}

static void close_drawn(api_encode *e)
{
    drawn *d = e->state;
    if (d)
        attn_drawer_close(d->drawer);
    attn_free(d);
    e->state = NULL;
}

/* All bytes were counted when the answer began. */
static uint64_t part_bytes(const api_plan *plan, const api_part *part)
{
    (void)plan;
    (void)part;
    return 0;
}

#define DRAWN                                                                                                                                                  \
    {                                                                                                                                                          \
        .order = API_ORDER_WHOLE, .check = check, .memory = memory, .begin = begin, .begin_result = begin_result, .begin_part = begin_part, .rows = rows,      \
        .end_part = begin_part, .end_result = begin_result, .end = end, .close = close_drawn, .part_bytes = part_bytes                                         \
    }
const api_encoder api_png_encoder = DRAWN, api_svg_encoder = DRAWN, api_text_encoder = DRAWN;
