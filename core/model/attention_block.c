/* attention_block.c - a layer's attention: projections, the layer itself (attention/layer.h), the output projection, and what goes to the sink.
 *
 * All of it lives in the arena for the length of one layer:
 *     query, key, value   [T, H*d] or [T, G*d], heads side by side, as the projections give them
 *     maps, context       and what else attn_layer_compute makes
 * What must be held follows from what is kept of the layer and from whether its result is needed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/blocks.h"

typedef struct buffers {
    float *query, *key, *value; /* NULL: not needed */
} buffers;

static attn_layer_want want_of(const attn_keep *keep, bool kept, bool whole)
{
    return (attn_layer_want){ .outputs = kept ? keep->outputs & ~ATTN_BIT(ATTN_HIDDEN_STATES) : 0,
                              .analyses = kept ? keep->analyses : keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT),
                              .projects = whole || (kept && keep->outputs & ATTN_BIT(ATTN_ATTN_OUTPUT)) };
}

static bool needs(const attn_layer_want *want, attn_output o)
{
    return o == ATTN_VALUE ? attn_layer_needs_value(want) : attn_layer_attends(want) || (want->outputs & ATTN_BIT(o));
}

/* The layer's attention as the operator sees it. */
static attn_operator_input operator_of(const attn_model *m, size_t layer, size_t T, const buffers *b, const uint8_t *keep)
{
    attn_rules rules = m->forms[ATTN_STACK_SELF][layer].rules;
    size_t d = m->info.head_dim, H = m->info.num_attention_heads, G = m->info.num_key_value_heads;
    attn_heads query = { b->query, (ptrdiff_t)d, (ptrdiff_t)(H * d) }, key = { b->key, (ptrdiff_t)d, (ptrdiff_t)(G * d) };
    attn_heads value = { b->value, (ptrdiff_t)d, (ptrdiff_t)(G * d) };
    rules.key_length = T;
    rules.mask = (attn_mask){ .keep = keep, .key_stride = keep ? 1 : 0 };
    return (attn_operator_input){ .num_attention_heads = H,
                                  .num_key_value_heads = G,
                                  .T_q = T,
                                  .T_k = T,
                                  .head_dim = d,
                                  .value_dim = d,
                                  .query = query,
                                  .key = key,
                                  .value = value,
                                  .rules = rules,
                                  .output_dim = m->info.hidden_size };
}

static attn_status dense(attn_run *r, const attn_dense *w, float *y, const float *x)
{
    return attn_linear(r->runtime, y, w->w.n, x, w->w.k, r->input->T, &w->w, w->bias, ATTN_ACT_NONE, r->arena, r->err);
}

static attn_status project(attn_run *r, const attn_dense *w, bool needed, float **y, const float *x)
{
    if (!needed)
        return ATTN_OK;
    *y = attn_take_floats(r, r->input->T, w->w.n);
    attn_status st = *y ? dense(r, w, *y, x) : ATTN_E_NOMEM;
    float most = r->model->clip;
    for (size_t n = 0; st == ATTN_OK && most > 0 && n < r->input->T * w->w.n; n++)
        (*y)[n] = (*y)[n] > most ? most : (*y)[n] < -most ? -most : (*y)[n];
    return st;
}

/* Queries or keys as they are used in the product. */
static attn_status place(attn_run *r, const attn_norm *norm, const attn_rope *rope, float *x, size_t heads)
{
    size_t T = r->input->T, d = r->model->info.head_dim;
    bool whole = r->model->norms_whole;
    attn_status st = x && norm->gain ? attn_block_norm_heads(r, norm, x, whole ? 1 : heads, whole ? heads * d : d) : ATTN_OK;
    if (x && st == ATTN_OK && rope)
        attn_rotation_apply(r->runtime, &r->rotations[rope - r->model->ropes], x, T, heads, d);
    return st;
}

static attn_status project_all(attn_run *r, const attn_self_attention *w, const attn_layer_want *want, buffers *b, size_t layer, const float *x)
{
    const attn_layer_form *form = &r->model->forms[ATTN_STACK_SELF][layer];
    const attn_model_info *i = &r->model->info;
    attn_status st = project(r, &w->query, needs(want, ATTN_QUERY), &b->query, x);
    if (st == ATTN_OK)
        st = project(r, &w->key, needs(want, ATTN_KEY), &b->key, x);
    if (st == ATTN_OK)
        st = project(r, &w->value, needs(want, ATTN_VALUE), &b->value, x);
    if (st == ATTN_OK)
        st = place(r, &w->query_norm, form->rope, b->query, i->num_attention_heads);
    if (st == ATTN_OK)
        st = place(r, &w->key_norm, form->rope, b->key, i->num_key_value_heads);
    for (size_t n = 0; b->query && form->query_factor != 0 && n < r->input->T * w->query.w.n; n++)
        b->query[n] *= form->query_factor;
    return st;
}

/* The layer to the sink, if it is kept; y is attn_output where that was asked for. */
static attn_status show(attn_run *r, const attn_layer_run *run, size_t layer, const float *y)
{
    size_t D = r->model->info.hidden_size;
    if (!r->layer_kept[layer] || !(run->want.outputs || run->want.analyses))
        return ATTN_OK;
    if ((run->want.outputs & ATTN_BIT(ATTN_ATTN_OUTPUT)) && !attn_runtime_table(r->runtime)->all_finite(y, r->input->T * D))
        return attn_fail(r->err, ATTN_E_OVERFLOW, attn_output_name(ATTN_ATTN_OUTPUT), "a value is too large for float32");
    return attn_layer_show(run, layer, y, D, r->sink, r->err);
}

bool attn_run_is_whole(const attn_run *r, size_t layer)
{
    return layer + 1 < r->num_layers || (r->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES));
}

attn_status attn_block_attention(attn_run *r, const attn_self_attention *w, size_t layer, float *y, const float *x)
{
    buffers b = { 0 };
    attn_operator_input in;
    attn_layer_run run = { .runtime = r->runtime,
                           .arena = r->arena,
                           .cancel = r->cancel,
                           .in = &in,
                           .choice = &r->choice,
                           .pool = r->keep->pool,
                           .analyst = &r->analyst,
                           .want = want_of(r->keep, r->layer_kept[layer], attn_run_is_whole(r, layer)),
                           .w_o = &w->output.w,
                           .rollout = r->rollout[layer % 2],
                           .earlier_rollout = layer > 0 ? r->rollout[(layer - 1) % 2] : NULL };
    attn_arena_mark mark = attn_arena_save(r->arena);
    attn_status st = project_all(r, w, &run.want, &b, layer, x);
    if (st == ATTN_OK && r->model->family->relate && attn_layer_attends(&run.want))
        st = r->model->family->relate(r, layer, b.query, b.key);
    in = operator_of(r->model, layer, r->input->T, &b, r->input->attention_mask);
    in.rules.bias = r->bias;
    if (r->mask.keep)
        in.rules.mask = r->mask;
    if (st == ATTN_OK)
        st = attn_layer_compute(&run, r->err);
    if (st == ATTN_OK && run.want.projects)
        st = dense(r, &w->output, y, run.out.context);
    if (st == ATTN_OK)
        st = show(r, &run, layer, y);
    attn_arena_rewind(r->arena, mark);
    return st;
}

/* ---- all layers --------------------------------------------------------------------------------------------------------- */

/* A hidden state to the sink, where it was asked for. */
static attn_status show_state(attn_run *r, size_t state, const float *x)
{
    size_t T = r->input->T, D = r->model->info.hidden_size;
    attn_view view = { .head = &x, .heads = 1, .rows = T, .cols = D, .row_stride = (ptrdiff_t)D };
    if (!(r->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES)) || (state == 0 ? r->keep->layers != NULL : !r->layer_kept[state - 1]))
        return ATTN_OK;
    if (!attn_runtime_table(r->runtime)->all_finite(x, T * D))
        return attn_fail(r->err, ATTN_E_OVERFLOW, attn_output_name(ATTN_HIDDEN_STATES), "a hidden state is too large for float32");
    return r->sink->state(r->sink->ctx, state, &view, r->err);
}

attn_status attn_run_layers(attn_run *r, attn_layer_step *step, float *x, float *y)
{
    bool shows_states = r->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES);
    attn_status st = show_state(r, 0, x);
    for (size_t l = 0; l < r->num_layers && st == ATTN_OK; l++) {
        st = attn_run_go_on(r) ? step(r, l, x, y) : ATTN_E_CANCELLED;
        if (st == ATTN_OK && r->last_norm && shows_states && l + 1 == r->model->info.num_hidden_layers)
            st = attn_block_norm(r, r->last_norm, x, x);
        if (st == ATTN_OK)
            st = show_state(r, l + 1, x);
    }
    return st;
}

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

static attn_price attention_price(const attn_model *m, const attn_plan *p, bool kept, bool whole)
{
    const attn_model_info *i = &m->info;
    uint64_t T = p->T, D = i->hidden_size, Q = i->num_attention_heads * i->head_dim, K = i->num_key_value_heads * i->head_dim;
    attn_operator_input in = operator_of(m, 0, p->T, &(buffers){ 0 }, NULL);
    attn_layer_run run = { .in = &in, .choice = &p->choice, .pool = p->keep->pool, .want = want_of(p->keep, kept, whole) };
    attn_layer_cost cost = attn_layer_price(m->runtime, &run);
    uint64_t query = needs(&run.want, ATTN_QUERY), key = needs(&run.want, ATTN_KEY), value = needs(&run.want, ATTN_VALUE);
    uint64_t linear = attn_linear_bytes(m->runtime, p->T, (size_t)(D > Q ? D : Q)); /* takes turns with the layer's own */
    attn_price price = { .flops = attn_plus(cost.flops, 2 * T * (query * D * Q + (key + value) * D * K + run.want.projects * Q * D)) };
    price.bytes = attn_plus(cost.held, linear > cost.working ? linear : cost.working);
    if (m->family->relate && attn_layer_attends(&run.want)) {
        attn_layer_cost relate = m->family->relate_price(m, p->T);
        price.flops = attn_plus(price.flops, relate.flops);
        price.bytes = attn_plus(relate.held, relate.working > price.bytes ? relate.working : price.bytes);
    }
    price.bytes = attn_plus(price.bytes, query * attn_arena_bytes(T * Q, sizeof(float)) + (key + value) * attn_arena_bytes(T * K, sizeof(float)));
    return price;
}

/* The dearest of the layers before the last. One that nobody kept has no maps to make its weights in: with many threads it may take more than one that is. */
static attn_price earlier_price(const attn_model *m, const attn_plan *p)
{
    attn_price bare = attention_price(m, p, false, true), kept = attention_price(m, p, true, true);
    if (!p->earlier_kept)
        return bare;
    return (attn_price){ .flops = kept.flops, .bytes = kept.bytes > bare.bytes ? kept.bytes : bare.bytes };
}

attn_price attn_layers_price(const attn_model *m, const attn_plan *p, attn_price rest)
{
    bool whole = p->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES);
    uint64_t earlier = p->num_layers - 1, rests = earlier + whole;
    attn_price last = attention_price(m, p, true, whole), other = earlier_price(m, p);
    attn_price price = { .flops = attn_plus(last.flops, attn_plus(attn_times(earlier, other.flops), attn_times(rests, rest.flops))), .bytes = last.bytes };
    if (earlier > 0 && other.bytes > price.bytes)
        price.bytes = other.bytes;
    if (rests > 0 && rest.bytes > price.bytes)
        price.bytes = rest.bytes;
    price.bytes = attn_plus(price.bytes, 2 * attn_arena_bytes((uint64_t)p->T * m->info.hidden_size, sizeof(float)));
    return price;
}
