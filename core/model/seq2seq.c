/* seq2seq.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/seq2seq.h"

bool attn_seq2seq_decoder(attn_model *m, attn_config *c, size_t num_layers, size_t heads)
{
    size_t wide = m->dims[ATTN_DIM_QUERY];
    m->info.num_decoder_layers = num_layers;
    m->shapes[ATTN_STACK_DECODER] = m->shapes[ATTN_STACK_CROSS] = (attn_stack_shape){ num_layers, heads, heads, wide / heads };
    m->writing.writes = true;
    attn_layer_form *own = attn_model_stack_forms(m, c, ATTN_STACK_DECODER), *cross = attn_model_stack_forms(m, c, ATTN_STACK_CROSS);
    for (size_t l = 0; own && l < num_layers; l++)
        own[l].rules.is_causal = true;
    return own && cross;
}

/* ---- layers ------------------------------------------------------------------------------------------------------------- */

static bool is_pre_norm(const attn_run *r)
{
    return r->model->traits & ATTN_SEQ2SEQ_PRE_NORM;
}

/* What a part of a layer works on: x, or its norm in y. */
static attn_status enter(attn_run *r, const attn_norm *norm, const float **in, float *y, const float *x)
{
    *in = is_pre_norm(r) ? y : x;
    return is_pre_norm(r) ? attn_block_norm(r, norm, y, x) : ATTN_OK;
}

/* x = the sum of x and what the part gave in y. */
static attn_status leave(attn_run *r, const attn_norm *norm, float *x, const float *y)
{
    if (!is_pre_norm(r))
        return attn_block_add_norm(r, norm, x, y);
    attn_block_add(r, x, y);
    return ATTN_OK;
}

static attn_status feed(attn_run *r, const attn_seq2seq_layer *w, float *x, float *y)
{
    const float *in;
    attn_status st = enter(r, &w->feed_norm, &in, y, x);
    if (st == ATTN_OK)
        st = r->model->traits & ATTN_SEQ2SEQ_GATED ? attn_block_gated_feed_forward(r, &w->feed, y, in) : attn_block_feed_forward(r, &w->feed, y, in);
    return st == ATTN_OK ? leave(r, &w->feed_norm, x, y) : st;
}

static attn_status run_encoder_layer(attn_run *r, size_t layer, float *x, float *y)
{
    const attn_seq2seq_layer *w = (const attn_seq2seq_layer *)r->model->layers + layer;
    const float *in;
    attn_status st = enter(r, &w->attention_norm, &in, y, x);
    if (st == ATTN_OK)
        st = attn_block_attention(r, &w->attention, layer, y, in);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    st = leave(r, &w->attention_norm, x, y);
    return st == ATTN_OK ? feed(r, w, x, y) : st;
}

static attn_status run_decoder_layer(attn_run *r, size_t layer, float *x, float *y)
{
    const attn_seq2seq_layer *w = (const attn_seq2seq_layer *)r->model->decoder_layers + layer;
    const float *in;
    attn_status st = enter(r, &w->attention_norm, &in, y, x);
    if (st == ATTN_OK)
        st = attn_block_attention(r, &w->attention, layer, y, in);
    if (st != ATTN_OK || !attn_run_crosses(r, layer))
        return st;
    st = leave(r, &w->attention_norm, x, y);
    if (st == ATTN_OK)
        st = enter(r, &w->cross_norm, &in, y, x);
    if (st == ATTN_OK)
        st = attn_block_cross_attention(r, &w->cross, layer, y, in);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    st = leave(r, &w->cross_norm, x, y);
    return st == ATTN_OK ? feed(r, w, x, y) : st;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

/* *x gets what the stack of r gives. */
static attn_status run_stack(attn_run *r, const attn_seq2seq_stack *stack, attn_seq2seq_start *start, attn_layer_step *step, float **x)
{
    size_t D = r->model->info.hidden_size;
    *x = attn_take_floats(r, r->T, D);
    float *y = *x ? attn_take_floats(r, r->T, D) : NULL;
    r->last_norm = stack->last.gain ? &stack->last : NULL;
    attn_status st = y ? start(r, stack, *x) : ATTN_E_NOMEM;
    return st == ATTN_OK ? attn_run_layers(r, step, *x, y) : st;
}

attn_status attn_seq2seq_run(attn_run *r, attn_seq2seq_start *start)
{
    const attn_seq2seq_parts *parts = r->model->parts;
    attn_status st = ATTN_OK;
    float *x = NULL;
    if (attn_run_encodes(r))
        st = run_stack(r, &parts->encoder, start, run_encoder_layer, &x);
    if (st == ATTN_OK && attn_run_decodes(r)) {
        attn_run_decode(r, x);
        st = run_stack(r, &parts->decoder, start, run_decoder_layer, &x);
    }
    return st;
}

attn_price attn_seq2seq_cost(const attn_model *m, const attn_plan *p)
{
    attn_price (*price)(const attn_model *, size_t, size_t) = m->traits & ATTN_SEQ2SEQ_GATED ? attn_gated_feed_forward_price : attn_feed_forward_price;
    attn_price encoder = price(m, p->T, m->dims[ATTN_DIM_FEED]);
    if (m->info.num_decoder_layers == 0)
        return attn_layers_price(m, p, encoder);
    return attn_seq2seq_price(m, p, encoder, price(m, p->stacks[ATTN_STACK_DECODER].T_q, m->dims[ATTN_DIM_DECODER_FEED]));
}

attn_head attn_seq2seq_head(const attn_model *m)
{
    const attn_seq2seq_parts *parts = m->parts;
    attn_head head = parts->head;
    if (!head.table.data && !(m->traits & ATTN_SEQ2SEQ_UNTIED))
        head.table = parts->decoder.embeddings.word;
    return head;
}
