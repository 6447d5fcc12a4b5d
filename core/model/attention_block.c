/* attention_block.c - a layer's attention: projections, the layer itself (attention/layer.h), the output projection, and what goes to the sink.
 *
 * All of it lives in the arena for the length of one layer:
 *     query, key, value   [T, H*d] or [T, G*d], heads side by side, as the projections give them
 *     maps, context       and what else attn_layer_compute makes
 * but for keys and values that later runs will need again: those are projected straight into the cache (run.c), behind those that are there.
 * What must be held follows from what is kept of the layer and from whether its result is needed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/blocks.h"

#include <string.h>

typedef struct buffers {
    float *query, *key, *value; /* of all queries and keys; NULL: not needed */
} buffers;

/* What a layer has to give. `kept`: it goes to the sink; `projects`: what it gives is needed. */
static attn_layer_want want_of(const attn_keep *keep, bool kept, bool projects)
{
    return (attn_layer_want){ .outputs = kept ? keep->outputs & ~ATTN_BIT(ATTN_HIDDEN_STATES) : 0,
                              .analyses = kept ? keep->analyses : keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT),
                              .projects = projects || (kept && keep->outputs & ATTN_BIT(ATTN_ATTN_OUTPUT)) };
}

static bool needs(const attn_layer_want *want, attn_output o)
{
    return o == ATTN_VALUE ? attn_layer_needs_value(want) : attn_layer_attends(want) || (want->outputs & ATTN_BIT(o));
}

/* The layer's attention as the operator sees it, tensors, position and mask apart. */
static attn_operator_input operator_of(const attn_model *m, attn_stack stack, size_t layer, size_t T_q, size_t T_k)
{
    const attn_stack_shape *shape = &m->shapes[stack];
    size_t d = shape->head_dim, H = shape->num_attention_heads, G = shape->num_key_value_heads;
    attn_heads query = { .head_stride = (ptrdiff_t)d, .row_stride = (ptrdiff_t)(H * d) },
               key = { .head_stride = (ptrdiff_t)d, .row_stride = (ptrdiff_t)(G * d) };
    attn_operator_input in = { .num_attention_heads = H,
                               .num_key_value_heads = G,
                               .T_q = T_q,
                               .T_k = T_k,
                               .head_dim = d,
                               .value_dim = d,
                               .query = query,
                               .key = key,
                               .value = key,
                               .rules = m->forms[stack][layer].rules,
                               .output_dim = m->info.hidden_size };
    in.rules.key_length = T_k;
    return in;
}

/* The same, all of it. */
static attn_operator_input operator_in_run(const attn_run *r, attn_stack stack, size_t layer, const buffers *b)
{
    const attn_stack_run *s = &r->stacks[stack];
    attn_operator_input in = operator_of(r->model, stack, layer, s->T_q, s->T_k);
    in.query.data = b->query;
    in.key.data = b->key;
    in.value.data = b->value;
    in.rules.query_offset = (int64_t)s->past;
    in.rules.mask = (attn_mask){ .keep = s->mask, .key_stride = s->mask ? 1 : 0 };
    in.rules.bias = s->bias;
    if (r->mask.keep)
        in.rules.mask = r->mask;
    return in;
}

/* ---- projections -------------------------------------------------------------------------------------------------------- */

static attn_status dense(attn_run *r, const attn_dense *w, float *y, const float *x, size_t rows)
{
    return attn_linear(r->runtime, y, w->w.n, x, w->w.k, rows, &w->w, w->bias, ATTN_ACT_NONE, r->arena, r->err);
}

/* Queries or keys of rows of this run as they are used in the product. */
static attn_status place(attn_run *r, const attn_norm *norm, const attn_rope *rope, float *x, size_t heads, size_t d)
{
    bool whole = r->model->norms_whole;
    attn_status st = norm->gain ? attn_block_norm_heads(r, norm, x, whole ? 1 : heads, whole ? heads * d : d) : ATTN_OK;
    if (st == ATTN_OK && rope)
        attn_rotation_apply(r->runtime, &r->rotations[rope - r->model->ropes], x, r->T, heads, d);
    return st;
}

/* What is projected of one x, in one section. */
typedef struct projection {
    attn_linear_part parts[3];
    size_t count;
} projection;

static void add_part(projection *p, const attn_dense *w, float *y)
{
    p->parts[p->count++] = (attn_linear_part){ .y = y, .ldy = w->w.n, .w = &w->w, .bias = w->bias, .act = ATTN_ACT_NONE };
}

/* Kept within the model's clip. */
static attn_status project(attn_run *r, projection *p, const float *x, size_t rows)
{
    attn_status st = p->count > 0 ? attn_linears(r->runtime, p->parts, p->count, x, p->parts[0].w->k, rows, r->arena, r->err) : ATTN_OK;
    float most = r->model->clip;
    for (size_t i = 0; i < p->count && st == ATTN_OK && most > 0; i++)
        for (size_t n = 0; n < rows * p->parts[i].ldy; n++) {
            float *y = p->parts[i].y + n;
            *y = *y > most ? most : *y < -most ? -most : *y;
        }
    p->count = 0;
    return st;
}

/* All keys or values of a layer at *y, in the cache or in memory of its own; those that are not made yet are to be projected. */
static attn_status add_rows(attn_run *r, const attn_stack_run *s, projection *p, const attn_dense *w, size_t layer, float *cache, float **y)
{
    *y = cache ? cache + layer * s->cache_rows * w->w.n : attn_take_floats(r, s->T_k, w->w.n);
    if (*y && s->ready < s->T_k)
        add_part(p, w, *y + s->ready * w->w.n);
    return *y ? ATTN_OK : ATTN_E_NOMEM;
}

static attn_status place_query(attn_run *r, attn_stack stack, const attn_self_attention *w, size_t layer, float *query)
{
    const attn_stack_shape *shape = &r->model->shapes[stack];
    const attn_layer_form *form = &r->model->forms[stack][layer];
    attn_status st = place(r, &w->query_norm, form->rope, query, shape->num_attention_heads, shape->head_dim);
    for (size_t n = 0; st == ATTN_OK && form->query_factor != 0 && n < r->T * w->query.w.n; n++)
        query[n] *= form->query_factor;
    return st;
}

static attn_status project_all(attn_run *r, attn_stack stack, const attn_self_attention *w, const attn_layer_want *want, buffers *b, size_t layer,
                               const float *x)
{
    const attn_stack_run *s = &r->stacks[stack];
    const attn_stack_shape *shape = &r->model->shapes[stack];
    projection p = { .count = 0 };
    attn_status st = ATTN_OK;
    bool crosses = stack == ATTN_STACK_CROSS, is_cached = s->keys != NULL;
    if (needs(want, ATTN_QUERY)) {
        b->query = attn_take_floats(r, r->T, w->query.w.n);
        st = b->query ? ATTN_OK : ATTN_E_NOMEM;
        if (st == ATTN_OK)
            add_part(&p, &w->query, b->query);
    }
    if (st == ATTN_OK && crosses) /* keys and values are of other rows */
        st = project(r, &p, x, r->T);
    if (st == ATTN_OK && (is_cached || needs(want, ATTN_KEY)))
        st = add_rows(r, s, &p, &w->key, layer, s->keys, &b->key);
    if (st == ATTN_OK && (is_cached || needs(want, ATTN_VALUE)))
        st = add_rows(r, s, &p, &w->value, layer, s->values, &b->value);
    if (st == ATTN_OK)
        st = crosses ? project(r, &p, r->memory, s->T_k - s->ready) : project(r, &p, x, r->T);
    if (st == ATTN_OK && b->query)
        st = place_query(r, stack, w, layer, b->query);
    if (st == ATTN_OK && b->key && !crosses && s->ready < s->T_k)
        st = place(r, &w->key_norm, r->model->forms[stack][layer].rope, b->key + s->ready * w->key.w.n, shape->num_key_value_heads, shape->head_dim);
    return st;
}

/* ---- the block ---------------------------------------------------------------------------------------------------------- */

/* The layer to the sink, if it is kept; y is attn_output where that was asked for. */
static attn_status show(attn_run *r, const attn_layer_run *run, size_t layer, const float *y)
{
    size_t D = r->model->info.hidden_size;
    if (!r->stacks[run->stack].layer_kept[layer] || !(run->want.outputs || run->want.analyses))
        return ATTN_OK;
    if ((run->want.outputs & ATTN_BIT(ATTN_ATTN_OUTPUT)) && !attn_runtime_table(r->runtime)->all_finite(y, r->T * D))
        return attn_fail(r->err, ATTN_E_OVERFLOW, attn_output_name(ATTN_ATTN_OUTPUT), "a value is too large for float32");
    return attn_layer_show(run, layer, y, D, r->sink, r->err);
}

bool attn_run_is_whole(const attn_run *r, size_t layer)
{
    const attn_stack_run *s = &r->stacks[r->stack];
    return layer + 1 < s->num_layers || s->goes_on || (s->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES));
}

bool attn_run_crosses(const attn_run *r, size_t layer)
{
    return attn_run_is_whole(r, layer) || r->stacks[ATTN_STACK_CROSS].layer_kept[layer];
}

static attn_layer_run layer_run(const attn_run *r, attn_stack stack, const attn_layer_want *want, const attn_self_attention *w, size_t layer)
{
    const attn_stack_run *s = &r->stacks[stack];
    return (attn_layer_run){ .runtime = r->runtime,
                             .arena = r->arena,
                             .cancel = r->cancel,
                             .stack = stack,
                             .choice = &s->choice,
                             .pool = s->keep->pool,
                             .analyst = &s->analyst,
                             .want = *want,
                             .first_key = s->past,
                             .w_o = &w->output.w,
                             .rollout = s->rollout[layer % 2],
                             .earlier_rollout = layer > 0 ? s->rollout[(layer - 1) % 2] : NULL };
}

/* One input in a run of several. */
typedef struct part_layer {
    attn_operator_input in;
    attn_layer_run run;
} part_layer;

uint64_t attn_part_bytes(void)
{
    return attn_arena_bytes(1, sizeof(part_layer));
}

/* The rows of all contexts behind one another at `context`, where they are projected. */
static void attend_part(attn_run *part, part_layer *l, const attn_self_attention *w, const attn_layer_want *want, size_t layer, const buffers *b,
                        float *context)
{
    size_t query = part->first_row * w->query.w.n, key = part->first_row * w->key.w.n, Q = w->output.w.k;
    buffers own = { b->query ? b->query + query : NULL, b->key ? b->key + key : NULL, b->value ? b->value + key : NULL };
    l->in = operator_in_run(part, ATTN_STACK_SELF, layer, &own);
    l->run = layer_run(part, ATTN_STACK_SELF, want, w, layer);
    l->run.in = &l->in;
    if (part->status == ATTN_OK)
        part->status = attn_layer_compute(&l->run, part->err);
    if (context && part->status == ATTN_OK)
        memcpy(context + part->first_row * Q, l->run.out.context, part->T * Q * sizeof *context);
    else if (context)
        memset(context + part->first_row * Q, 0, part->T * Q * sizeof *context);
}

static attn_status attend_parts(attn_run *r, const attn_self_attention *w, const attn_layer_want *want, size_t layer, const buffers *b, float *y)
{
    part_layer *layers = attn_arena_take(r->arena, r->num_parts, sizeof *layers);
    float *context = layers && want->projects ? attn_take_floats(r, r->T, w->output.w.k) : NULL;
    if (!layers || (want->projects && !context))
        return attn_fail_memory(r->err);
    for (size_t i = 0; i < r->num_parts; i++)
        attend_part(&r->parts[i], &layers[i], w, want, layer, b, context);
    attn_status st = want->projects ? dense(r, &w->output, y, context, r->T) : ATTN_OK;
    for (size_t i = 0; i < r->num_parts && st == ATTN_OK; i++)
        if (r->parts[i].status == ATTN_OK)
            r->parts[i].status = show(&r->parts[i], &layers[i].run, layer, y + r->parts[i].first_row * r->model->info.hidden_size);
    return st;
}

static attn_status attend_one(attn_run *r, attn_stack stack, const attn_self_attention *w, const attn_layer_want *want, size_t layer, const buffers *b,
                              float *y)
{
    attn_operator_input in = operator_in_run(r, stack, layer, b);
    attn_layer_run run = layer_run(r, stack, want, w, layer);
    run.in = &in;
    attn_status st = attn_layer_compute(&run, r->err);
    if (st == ATTN_OK && want->projects)
        st = dense(r, &w->output, y, run.out.context, r->T);
    return st == ATTN_OK ? show(r, &run, layer, y) : st;
}

static attn_status attend(attn_run *r, attn_stack stack, bool projects, const attn_self_attention *w, size_t layer, float *y, const float *x)
{
    buffers b = { 0 };
    const attn_stack_run *s = &r->stacks[stack];
    attn_layer_want want = want_of(s->keep, s->layer_kept[layer], projects);
    attn_arena_mark mark = attn_arena_save(r->arena);
    attn_status st = project_all(r, stack, w, &want, &b, layer, x);
    if (st == ATTN_OK && r->model->family->relate && attn_layer_attends(&want))
        st = r->model->family->relate(r, layer, b.query, b.key);
    if (st == ATTN_OK)
        st = r->parts ? attend_parts(r, w, &want, layer, &b, y) : attend_one(r, stack, w, &want, layer, &b, y);
    attn_arena_rewind(r->arena, mark);
    return st;
}

attn_status attn_block_attention(attn_run *r, const attn_self_attention *w, size_t layer, float *y, const float *x)
{
    bool projects = r->stack == ATTN_STACK_DECODER ? attn_run_crosses(r, layer) : attn_run_is_whole(r, layer);
    return attend(r, r->stack, projects, w, layer, y, x);
}

attn_status attn_block_cross_attention(attn_run *r, const attn_self_attention *w, size_t layer, float *y, const float *x)
{
    return attend(r, ATTN_STACK_CROSS, attn_run_is_whole(r, layer), w, layer, y, x);
}

/* ---- all layers --------------------------------------------------------------------------------------------------------- */

/* A hidden state to the sink, where it was asked for. */
static attn_status show_state(attn_run *r, size_t state, const float *x)
{
    const attn_stack_run *s = &r->stacks[r->stack];
    size_t D = r->model->info.hidden_size;
    for (size_t i = 0; i < r->num_parts; i++)
        if (r->parts[i].status == ATTN_OK)
            r->parts[i].status = show_state(&r->parts[i], state, x + r->parts[i].first_row * D);
    if (r->parts)
        return ATTN_OK;
    attn_view view = { .head = &x, .heads = 1, .rows = r->T, .cols = D, .row_stride = (ptrdiff_t)D };
    if (!(s->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES)) || (state == 0 ? s->keep->layers != NULL : !s->layer_kept[state - 1]))
        return ATTN_OK;
    if (!attn_runtime_table(r->runtime)->all_finite(x, r->T * D))
        return attn_fail(r->err, ATTN_E_OVERFLOW, attn_output_name(ATTN_HIDDEN_STATES), "a hidden state is too large for float32");
    return r->sink->state(r->sink->ctx, r->stack, state, &view, r->err);
}

attn_status attn_run_layers(attn_run *r, attn_layer_step *step, float *x, float *y)
{
    const attn_stack_run *s = &r->stacks[r->stack];
    size_t L = r->model->shapes[r->stack].num_layers, D = r->model->info.hidden_size;
    attn_status st = show_state(r, 0, x);
    for (size_t l = 0; l < s->num_layers && st == ATTN_OK; l++) {
        st = attn_run_go_on(r) ? step(r, l, x, y) : ATTN_E_CANCELLED;
        if (st == ATTN_OK && r->last_norm && l + 1 == L && attn_run_is_whole(r, l))
            st = attn_block_norm(r, r->last_norm, x, x);
        if (st == ATTN_OK)
            st = show_state(r, l + 1, x);
    }
    if (st == ATTN_OK && r->last && r->stack == attn_model_writer(r->model))
        memcpy(r->last, x + (r->T - 1) * D, D * sizeof *x);
    return st;
}

bool attn_run_encodes(const attn_run *r)
{
    return r->stack == ATTN_STACK_SELF;
}

bool attn_run_decodes(const attn_run *r)
{
    return r->stacks[ATTN_STACK_DECODER].num_layers > 0;
}

void attn_run_decode(attn_run *r, const float *memory)
{
    r->stack = ATTN_STACK_DECODER;
    r->T = r->stacks[ATTN_STACK_DECODER].T_q;
    r->past = r->stacks[ATTN_STACK_DECODER].past;
    r->memory = memory;
    r->last_norm = NULL;
}

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

static attn_price attention_price(const attn_model *m, attn_stack stack, const attn_stack_plan *p, bool kept, bool projects)
{
    const attn_stack_shape *shape = &m->shapes[stack];
    uint64_t T = p->T_q, fresh = p->fresh, D = m->info.hidden_size;
    uint64_t Q = shape->num_attention_heads * shape->head_dim, K = shape->num_key_value_heads * shape->head_dim;
    attn_operator_input in = operator_of(m, stack, 0, p->T_q, p->T_k);
    attn_layer_run run = { .in = &in, .choice = &p->choice, .pool = p->keep->pool, .want = want_of(p->keep, kept, projects) };
    attn_layer_cost cost = attn_layer_price(m->runtime, &run);
    uint64_t query = needs(&run.want, ATTN_QUERY), key = p->is_cached || needs(&run.want, ATTN_KEY), value = p->is_cached || needs(&run.want, ATTN_VALUE);
    uint64_t linear = attn_linear_bytes(m->runtime, attn_most(p->T_q, p->fresh), (size_t)(D > Q ? D : Q)); /* takes turns with the layer's own */
    attn_price price = { .flops = attn_plus(cost.flops, 2 * T * (query + run.want.projects) * D * Q + 2 * fresh * (key + value) * D * K) };
    price.bytes = attn_plus(cost.held, linear > cost.working ? linear : cost.working);
    if (m->family->relate && attn_layer_attends(&run.want)) {
        attn_layer_cost relate = m->family->relate_price(m, p->T_q);
        price.flops = attn_plus(price.flops, relate.flops);
        price.bytes = attn_plus(relate.held, relate.working > price.bytes ? relate.working : price.bytes);
    }
    price.bytes = attn_plus(price.bytes, query * attn_arena_bytes(T * Q, sizeof(float)));
    if (!p->is_cached)
        price.bytes = attn_plus(price.bytes, (key + value) * attn_arena_bytes(p->T_k * K, sizeof(float)));
    return price;
}

static attn_price both(attn_price a, attn_price b) /* one after the other */
{
    return (attn_price){ .flops = attn_plus(a.flops, b.flops), .bytes = a.bytes > b.bytes ? a.bytes : b.bytes };
}

static attn_price times(uint64_t count, attn_price price)
{
    return count > 0 ? (attn_price){ .flops = attn_times(count, price.flops), .bytes = price.bytes } : (attn_price){ 0 };
}

/* The dearest of the layers whose result is needed. One that nobody kept has no maps to make its weights in: with many threads it may take more than one that
 * is. */
static attn_price whole_price(const attn_model *m, attn_stack stack, const attn_stack_plan *p)
{
    attn_price bare = attention_price(m, stack, p, false, true), kept = attention_price(m, stack, p, true, true);
    if (!p->earlier_kept)
        return bare;
    return (attn_price){ .flops = kept.flops, .bytes = kept.bytes > bare.bytes ? kept.bytes : bare.bytes };
}

/* Of all layers' attentions; `projects`: what the last one's gives is needed. */
static attn_price attentions_price(const attn_model *m, attn_stack stack, const attn_stack_plan *p, bool projects)
{
    if (p->num_layers == 0)
        return (attn_price){ 0 };
    attn_price last = p->goes_on ? whole_price(m, stack, p) : attention_price(m, stack, p, true, projects);
    return both(last, times(p->num_layers - 1, whole_price(m, stack, p)));
}

static attn_price stack_price(const attn_model *m, const attn_plan *p, attn_stack stack, attn_price rest)
{
    const attn_stack_plan *s = &p->stacks[stack], *cross = &p->stacks[ATTN_STACK_CROSS];
    bool whole = s->goes_on || (s->keep->outputs & ATTN_BIT(ATTN_HIDDEN_STATES)), crosses = stack == ATTN_STACK_DECODER;
    if (s->num_layers == 0)
        return (attn_price){ 0 };
    attn_price price = attentions_price(m, stack, s, whole || (crosses && (cross->keep->outputs || cross->keep->analyses)));
    if (crosses)
        price = both(price, attentions_price(m, ATTN_STACK_CROSS, cross, whole));
    price = both(price, times(s->num_layers - 1 + whole, rest));
    price.bytes = attn_plus(price.bytes, 2 * attn_arena_bytes((uint64_t)s->T_q * m->info.hidden_size, sizeof(float)));
    return price;
}

attn_price attn_layers_price(const attn_model *m, const attn_plan *p, attn_price rest)
{
    return stack_price(m, p, ATTN_STACK_SELF, rest);
}

attn_price attn_seq2seq_price(const attn_model *m, const attn_plan *p, attn_price encoder_rest, attn_price decoder_rest)
{
    attn_price encoder = stack_price(m, p, ATTN_STACK_SELF, encoder_rest), decoder = stack_price(m, p, ATTN_STACK_DECODER, decoder_rest);
    return (attn_price){ .flops = attn_plus(encoder.flops, decoder.flops), .bytes = attn_plus(encoder.bytes, decoder.bytes) };
}
