/* attention_block.c - a layer's attention: projections, the operator, the output projection, and the views that go to the sink.
 *
 * All of it lives in the arena for the length of one layer:
 *     query, key, value   [T, H*d] or [T, G*d], heads side by side, as the projections give them
 *     maps                [slots, T, T] for each kind that is kept
 *     context             [T, H*d], which is at once the view (head h starts at column h*d) and the output projection's input;
 *                         where nothing is projected, the kept heads alone, in order of their slots
 * What the layer must hold follows from what is kept of it and from whether a later layer needs its result: see `needs_of`.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "attention/attention.h"
#include "model/blocks.h"

typedef struct needs {
    bool query, key, value, context, output;
    size_t maps;
} needs;

typedef struct buffers {
    float *query, *key, *value, *context;
    float *maps[ATTN_OUTPUT_COUNT]; /* by output; NULL: not kept, or not a map */
} buffers;

static needs needs_of(attn_outputs kept, bool more)
{
    needs n = { 0 };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        n.maps += (kept & ATTN_MAP_OUTPUTS & ATTN_BIT(o)) != 0;
    n.output = more || (kept & ATTN_BIT(ATTN_ATTN_OUTPUT));
    n.context = n.output || (kept & ATTN_BIT(ATTN_CONTEXT));
    n.query = n.context || n.maps > 0 || (kept & ATTN_BIT(ATTN_QUERY));
    n.key = n.context || n.maps > 0 || (kept & ATTN_BIT(ATTN_KEY));
    n.value = n.context || (kept & ATTN_BIT(ATTN_VALUE));
    return n;
}

/* The layer's attention as the operator sees it; tensors are left out where they are not needed. */
static attn_operator_input operator_of(const attn_model *m, size_t T, const buffers *b, const uint8_t *keep)
{
    size_t d = m->info.head_dim, H = m->info.num_attention_heads, G = m->info.num_key_value_heads;
    attn_heads query = { b->query, (ptrdiff_t)d, (ptrdiff_t)(H * d) }, key = { b->key, (ptrdiff_t)d, (ptrdiff_t)(G * d) };
    attn_heads value = { b->value, (ptrdiff_t)d, (ptrdiff_t)(G * d) };
    return (attn_operator_input){ .num_attention_heads = H,
                                  .num_key_value_heads = G,
                                  .T_q = T,
                                  .T_k = T,
                                  .head_dim = d,
                                  .value_dim = d,
                                  .query = query,
                                  .key = key,
                                  .value = value,
                                  .rules = { .scale = (float)(1.0 / sqrt((double)d)),
                                             .left_window_size = -1,
                                             .right_window_size = -1,
                                             .key_length = T,
                                             .mask = { .keep = keep, .key_stride = keep ? 1 : 0 } },
                                  .output_dim = m->info.hidden_size };
}

static attn_attention_out out_of(const attn_model *m, const needs *n, const buffers *b, const int32_t *slot)
{
    return (attn_attention_out){ .slot = slot,
                                 .attentions = b->maps[ATTN_ATTENTIONS],
                                 .scores = b->maps[ATTN_SCORES],
                                 .raw_scores = b->maps[ATTN_RAW_SCORES],
                                 .context = b->context,
                                 .context_head_stride = (ptrdiff_t)m->info.head_dim,
                                 .context_row_stride = (ptrdiff_t)(m->info.num_attention_heads * m->info.head_dim),
                                 .context_of_kept = !n->output };
}

static attn_status take(attn_run *r, const needs *n, attn_outputs kept, buffers *b)
{
    const attn_model_info *i = &r->model->info;
    size_t T = r->input->T, Q = i->num_attention_heads * i->head_dim, K = i->num_key_value_heads * i->head_dim, map;
    bool fine = attn_mul(T, T, &map);
    fine = fine && (!n->query || (b->query = attn_take_floats(r, T, Q)));
    fine = fine && (!n->key || (b->key = attn_take_floats(r, T, K)));
    fine = fine && (!n->value || (b->value = attn_take_floats(r, T, K)));
    fine = fine && (!n->context || (b->context = attn_take_floats(r, T, Q)));
    for (int o = 0; o < ATTN_OUTPUT_COUNT && fine; o++)
        if (kept & ATTN_MAP_OUTPUTS & ATTN_BIT(o))
            fine = (b->maps[o] = attn_take_floats(r, r->num_slots, map));
    return fine ? ATTN_OK : attn_fail_memory(r->err);
}

static attn_status dense(attn_run *r, const attn_dense *w, float *y, const float *x)
{
    return attn_linear(r->runtime, y, w->w.n, x, w->w.k, r->input->T, &w->w, w->bias, ATTN_ACT_NONE, r->arena, r->err);
}

static attn_status project(attn_run *r, const attn_self_attention *w, const buffers *b, const float *x)
{
    attn_status st = b->query ? dense(r, &w->query, b->query, x) : ATTN_OK;
    if (st == ATTN_OK && b->key)
        st = dense(r, &w->key, b->key, x);
    if (st == ATTN_OK && b->value)
        st = dense(r, &w->value, b->value, x);
    return st;
}

/* What goes to the sink unseen by a softmax must be finite here. */
static attn_status check_finite(attn_run *r, attn_output o, const float *x, size_t n)
{
    if (attn_runtime_table(r->runtime)->all_finite(x, n))
        return ATTN_OK;
    return attn_fail(r->err, ATTN_E_OVERFLOW, attn_output_name(o), "a value is too large for float32");
}

static attn_status check_kept(attn_run *r, attn_outputs kept, const buffers *b, const float *y)
{
    const attn_model_info *i = &r->model->info;
    size_t T = r->input->T, Q = T * i->num_attention_heads * i->head_dim, K = T * i->num_key_value_heads * i->head_dim;
    attn_status st = ATTN_OK;
    if (kept & ATTN_BIT(ATTN_QUERY))
        st = check_finite(r, ATTN_QUERY, b->query, Q);
    if (st == ATTN_OK && (kept & ATTN_BIT(ATTN_KEY)))
        st = check_finite(r, ATTN_KEY, b->key, K);
    if (st == ATTN_OK && (kept & ATTN_BIT(ATTN_VALUE)))
        st = check_finite(r, ATTN_VALUE, b->value, K);
    if (st == ATTN_OK && (kept & ATTN_BIT(ATTN_ATTN_OUTPUT)))
        st = check_finite(r, ATTN_ATTN_OUTPUT, y, T * i->hidden_size);
    return st;
}

/* ---- views ---------------------------------------------------------------------------------------------------------------- */

/* The heads asked for of a tensor whose heads are `step` floats apart, `share` of ours to each of its own. */
static attn_status view_heads(attn_run *r, attn_view *v, const float *base, const int32_t *which, size_t share, size_t step, size_t cols, ptrdiff_t row_stride)
{
    const float **head = attn_arena_take(r->arena, r->num_heads, sizeof *head);
    if (!head)
        return attn_fail_memory(r->err);
    for (size_t i = 0; i < r->num_heads; i++)
        head[i] = base + (which ? (size_t)which[i] : i) / share * step;
    *v = (attn_view){ .head = head, .heads = r->num_heads, .rows = r->input->T, .cols = cols, .row_stride = row_stride };
    return ATTN_OK;
}

static attn_status view_output(attn_run *r, attn_output o, const needs *n, const buffers *b, const float *const *y, attn_view *v)
{
    const attn_model_info *i = &r->model->info;
    size_t T = r->input->T, d = i->head_dim, H = i->num_attention_heads, G = i->num_key_value_heads;
    switch (o) {
    case ATTN_CONTEXT:
        return view_heads(r, v, b->context, n->output ? r->heads : r->order, 1, d, d, (ptrdiff_t)(H * d));
    case ATTN_QUERY:
        return view_heads(r, v, b->query, r->heads, 1, d, d, (ptrdiff_t)(H * d));
    case ATTN_KEY:
        return view_heads(r, v, b->key, r->heads, H / G, d, d, (ptrdiff_t)(G * d));
    case ATTN_VALUE:
        return view_heads(r, v, b->value, r->heads, H / G, d, d, (ptrdiff_t)(G * d));
    case ATTN_ATTN_OUTPUT:
        *v = (attn_view){ .head = y, .heads = 1, .rows = T, .cols = i->hidden_size, .row_stride = (ptrdiff_t)i->hidden_size };
        return ATTN_OK;
    default:
        return view_heads(r, v, b->maps[o], r->order, 1, T * T, T, (ptrdiff_t)T);
    }
}

static attn_status hand_over(attn_run *r, size_t layer, attn_outputs kept, const needs *n, const buffers *b, const float *y)
{
    attn_layer out = { .layer = layer };
    attn_status st = check_kept(r, kept, b, y);
    for (int o = 0; o < ATTN_OUTPUT_COUNT && st == ATTN_OK; o++)
        if (kept & ATTN_BIT(o))
            st = view_output(r, (attn_output)o, n, b, &y, &out.views[o]);
    return st == ATTN_OK ? r->sink->layer(r->sink->ctx, &out, r->err) : st;
}

/* ---- the block ------------------------------------------------------------------------------------------------------------ */

attn_status attn_block_attention(attn_run *r, const attn_self_attention *w, size_t layer, float *y, const float *x)
{
    attn_outputs kept = r->layer_kept[layer] ? r->outputs : 0;
    needs n = needs_of(kept, layer + 1 < r->num_layers);
    buffers b = { 0 };
    attn_arena_mark mark = attn_arena_save(r->arena);
    attn_status st = take(r, &n, kept, &b);
    if (st == ATTN_OK)
        st = project(r, w, &b, x);
    if (st == ATTN_OK && (n.maps > 0 || n.context)) {
        attn_operator_input in = operator_of(r->model, r->input->T, &b, r->input->attention_mask);
        attn_attention_out out = out_of(r->model, &n, &b, r->slot);
        st = attn_attention(r->runtime, &in, &out, r->arena, r->cancel, r->err);
    }
    if (st == ATTN_OK && n.output)
        st = dense(r, &w->output, y, b.context);
    if (st == ATTN_OK && kept)
        st = hand_over(r, layer, kept, &n, &b, y);
    attn_arena_rewind(r->arena, mark);
    return st;
}

/* Arena bytes of the operator itself, asked with stand-ins for what will be there. */
static uint64_t operator_bytes(const attn_model *m, const attn_plan *p, attn_outputs kept, const needs *n)
{
    float there[1] = { 0 };
    int32_t none[ATTN_MAX_HEADS]; /* every head may be one that is not kept */
    memset(none, 0xff, sizeof none);
    buffers b = { .context = n->context ? there : NULL };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        b.maps[o] = kept & ATTN_MAP_OUTPUTS & ATTN_BIT(o) ? there : NULL;
    attn_operator_input in = operator_of(m, p->T, &b, NULL);
    attn_attention_out out = out_of(m, n, &b, p->all_heads ? NULL : none);
    return n->maps > 0 || n->context ? attn_attention_bytes(m->runtime, &in, &out) : 0;
}

attn_price attn_block_attention_price(const attn_model *m, const attn_plan *p, attn_outputs kept, bool more)
{
    const attn_model_info *i = &m->info;
    uint64_t T = p->T, D = i->hidden_size, Q = i->num_attention_heads * i->head_dim, K = i->num_key_value_heads * i->head_dim;
    needs n = needs_of(kept, more);
    attn_price price = { .flops = 2 * T * (n.query * D * Q + (uint64_t)(n.key + n.value) * D * K + n.output * Q * D) };
    if (n.maps > 0 || n.context)
        price.flops += 2 * T * T * Q * (1u + n.context);
    uint64_t most = ATTN_OUTPUT_COUNT * attn_float_bytes(2 * p->num_heads); /* views, linear layers and the operator take turns */
    uint64_t linear = attn_linear_bytes(m->runtime, p->T, (size_t)(D > Q ? D : Q)), inner = operator_bytes(m, p, kept, &n);
    most = linear > most ? linear : most;
    most = inner > most ? inner : most;
    price.bytes = (uint64_t)(n.query + n.context) * attn_float_bytes(T * Q) + (uint64_t)(n.key + n.value) * attn_float_bytes(T * K);
    price.bytes += n.maps * attn_float_bytes(p->num_slots * T * T) + most + 2 * ATTN_BETWEEN_BLOCKS;
    return price;
}
