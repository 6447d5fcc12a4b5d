/* encoder_blocks.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

void attn_encoder_configure(attn_model *m, attn_config *c, const attn_encoder_keys *keys)
{
    attn_model_info *i = &m->info;
    i->hidden_size = m->dims[ATTN_DIM_HIDDEN] = m->dims[ATTN_DIM_EMBEDDING] = attn_config_size(c, keys->hidden_size, 1, ATTN_MAX_HIDDEN);
    i->num_hidden_layers = attn_config_size(c, keys->num_hidden_layers, 1, ATTN_MAX_LAYERS);
    i->num_attention_heads = i->num_key_value_heads = attn_config_heads(c, keys->num_attention_heads, keys->hidden_size, i->hidden_size);
    i->head_dim = i->hidden_size / i->num_attention_heads;
    i->vocab_size = m->dims[ATTN_DIM_VOCAB] = attn_config_size(c, "vocab_size", 1, ATTN_MAX_VOCAB);
    i->max_tokens = m->dims[ATTN_DIM_POSITION] = attn_config_size(c, "max_position_embeddings", 1, ATTN_MAX_POSITIONS);
    m->dims[ATTN_DIM_FEED] = attn_config_size(c, keys->intermediate_size, 1, ATTN_MAX_FEED);
    m->act = attn_config_activation(c, keys->hidden_act);
    attn_config_off(c, "is_decoder"); /* would hide later tokens */
    attn_config_off(c, "is_encoder_decoder");
    attn_config_off(c, "add_cross_attention");
    (void)attn_model_forms(m, c);
}

void attn_encoder_configure_like_bert(attn_model *m, attn_config *c)
{
    static const attn_choice position_types[] = { { "absolute", 0 }, { NULL, 0 } };
    static const attn_encoder_keys keys = { "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act" };
    attn_encoder_configure(m, c, &keys);
    attn_config_choice_or_first(c, "position_embedding_type", position_types);
    m->norm_eps = (float)attn_config_number(c, "layer_norm_eps", 1e-30, 1);
}

void attn_encoder_configure_segments(attn_model *m, attn_config *c)
{
    m->info.type_vocab_size = m->dims[ATTN_DIM_SEGMENT] = attn_config_size(c, "type_vocab_size", 1, ATTN_MAX_SEGMENTS);
}

void attn_encoder_configure_embedding(attn_model *m, attn_config *c, bool project_always)
{
    size_t D = m->info.hidden_size, E = attn_config_size(c, "embedding_size", 1, ATTN_MAX_HIDDEN);
    m->dims[ATTN_DIM_EMBEDDING] = E;
    m->traits |= E != D || project_always ? ATTN_ENCODER_PROJECTED : 0;
}

void attn_encoder_count_from(attn_model *m, attn_config *c, size_t padding_id)
{
    size_t positions = m->dims[ATTN_DIM_POSITION];
    if (c->status == ATTN_OK && padding_id + 1 >= positions)
        c->status = attn_fail(c->err, ATTN_E_FORMAT, attn_at(c->file, "max_position_embeddings").text,
                              "is %zu, and positions count from %zu: none is left for a token", positions, padding_id + 1);
    m->first_position = padding_id + 1;
    m->info.max_tokens = positions - m->first_position;
}

/* ---- embeddings --------------------------------------------------------------------------------------------------------- */

attn_status attn_block_embed_and_project(attn_run *r, const attn_embeddings *e, const attn_dense *project, float *x)
{
    size_t T = r->T, D = r->model->info.hidden_size, E = r->model->info.embedding_size;
    attn_arena_mark mark = attn_arena_save(r->arena);
    float *narrow = attn_take_floats(r, T, E);
    attn_status st = narrow ? attn_block_embed(r, e, narrow) : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = attn_linear(r->runtime, x, D, narrow, E, T, &project->w, project->bias, ATTN_ACT_NONE, r->arena, r->err);
    attn_arena_rewind(r->arena, mark);
    return st;
}

/* ---- layers ------------------------------------------------------------------------------------------------------------- */

/* Whose weights a layer has: L layers in so many groups, the division in double as transformers does it (of 18 layers in 14 groups layer 9 has group 6). */
static const attn_encoder_layer *weights_of(const attn_model *m, size_t layer)
{
    size_t L = m->info.num_hidden_layers, groups = m->num_layer_weights;
    return (const attn_encoder_layer *)m->layers + (groups ? (size_t)((double)layer / ((double)L / (double)groups)) : layer);
}

attn_status attn_encoder_run_layer(attn_run *r, size_t layer, float *x, float *y)
{
    const attn_encoder_layer *w = weights_of(r->model, layer);
    attn_status st = attn_block_attention(r, &w->attention, layer, y, x);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    st = attn_block_add_norm(r, &w->attention_norm, x, y);
    if (st == ATTN_OK)
        st = attn_block_feed_forward(r, &w->feed, y, x);
    if (st == ATTN_OK)
        st = attn_block_add_norm(r, &w->feed_norm, x, y);
    return st;
}

attn_status attn_encoder_forward(attn_run *r)
{
    const attn_encoder_parts *parts = r->model->parts;
    size_t D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, r->T, D), *y = x ? attn_take_floats(r, r->T, D) : NULL;
    attn_status st = y ? ATTN_OK : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = r->model->traits & ATTN_ENCODER_PROJECTED ? attn_block_embed_and_project(r, &parts->embeddings, &parts->project, x)
                                                       : attn_block_embed(r, &parts->embeddings, x);
    return st == ATTN_OK ? attn_run_layers(r, attn_encoder_run_layer, x, y) : st;
}

attn_price attn_embed_and_project_price(const attn_model *m, size_t T, attn_price rest)
{
    uint64_t D = m->info.hidden_size, E = m->info.embedding_size;
    uint64_t bytes = 2 * attn_arena_bytes(T * D, sizeof(float)) + attn_arena_bytes(T * E, sizeof(float)) + attn_linear_bytes(m->runtime, T, (size_t)E);
    return (attn_price){ .flops = attn_plus(rest.flops, 2 * T * E * D), .bytes = rest.bytes > bytes ? rest.bytes : bytes };
}

attn_price attn_encoder_price(const attn_model *m, const attn_plan *p)
{
    attn_price price = attn_layers_price(m, p, attn_feed_forward_price(m, p->T, m->dims[ATTN_DIM_FEED]));
    return m->traits & ATTN_ENCODER_PROJECTED ? attn_embed_and_project_price(m, p->T, price) : price;
}
