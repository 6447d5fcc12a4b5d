/* causal.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

const attn_decoder_keys attn_llama_keys = { "hidden_size",       "num_hidden_layers",       "num_attention_heads", "num_key_value_heads",
                                            "intermediate_size", "max_position_embeddings", "hidden_act",          "rms_norm_eps" };

static void read_heads(attn_model *m, attn_config *c, const attn_decoder_keys *keys)
{
    attn_model_info *i = &m->info;
    bool has_dim = attn_config_has(c, "head_dim");
    size_t H = has_dim ? attn_config_size(c, keys->num_attention_heads, 1, ATTN_MAX_HEADS)
                       : attn_config_heads(c, keys->num_attention_heads, keys->hidden_size, i->hidden_size);
    i->num_attention_heads = i->num_key_value_heads = H;
    if (keys->num_key_value_heads && attn_config_has(c, keys->num_key_value_heads))
        i->num_key_value_heads = attn_config_heads(c, keys->num_key_value_heads, keys->num_attention_heads, H);
    i->head_dim = attn_config_size_or(c, "head_dim", 1, ATTN_MAX_HIDDEN / H, i->hidden_size / H);
    m->dims[ATTN_DIM_HEAD] = i->head_dim;
    m->dims[ATTN_DIM_QUERY] = H * i->head_dim;
    m->dims[ATTN_DIM_KEY] = i->num_key_value_heads * i->head_dim;
}

bool attn_decoder_configure(attn_model *m, attn_config *c, const attn_decoder_keys *keys, size_t feed_per_hidden)
{
    attn_model_info *i = &m->info;
    i->hidden_size = m->dims[ATTN_DIM_HIDDEN] = attn_config_size(c, keys->hidden_size, 1, ATTN_MAX_HIDDEN);
    i->num_hidden_layers = attn_config_size(c, keys->num_hidden_layers, 1, ATTN_MAX_LAYERS);
    i->vocab_size = m->dims[ATTN_DIM_VOCAB] = attn_config_size(c, "vocab_size", 1, ATTN_MAX_VOCAB);
    read_heads(m, c, keys);
    size_t feed = feed_per_hidden * i->hidden_size;
    if (keys->intermediate_size)
        feed = feed ? attn_config_size_or(c, keys->intermediate_size, 1, ATTN_MAX_FEED, feed) : attn_config_size(c, keys->intermediate_size, 1, ATTN_MAX_FEED);
    m->dims[ATTN_DIM_FEED] = feed;
    if (keys->max_positions)
        i->max_tokens = m->dims[ATTN_DIM_POSITION] = attn_config_size(c, keys->max_positions, 1, ATTN_MAX_POSITIONS);
    if (keys->act)
        m->act = attn_config_activation(c, keys->act);
    if (keys->norm_eps)
        m->norm_eps = (float)attn_config_number(c, keys->norm_eps, 1e-30, 1);
    attn_config_off(c, "is_encoder_decoder");
    attn_config_off(c, "add_cross_attention");
    attn_layer_form *forms = attn_model_forms(m, c);
    for (size_t l = 0; forms && l < i->num_hidden_layers; l++)
        forms[l].rules.is_causal = true;
    return forms != NULL;
}

void attn_decoder_rotate(attn_model *m, attn_config *c, double theta, double part)
{
    attn_rope_configure(&m->ropes[0], c, m->info.head_dim, m->info.max_tokens, theta, part);
    m->info.max_tokens = attn_rope_positions(&m->ropes[0], m->info.max_tokens);
    for (size_t l = 0; l < m->info.num_hidden_layers; l++)
        m->forms[ATTN_STACK_SELF][l].rope = &m->ropes[0];
}

void attn_decoder_rotate_whole(attn_model *m, attn_config *c, double theta)
{
    attn_decoder_rotate(m, c, theta, 1);
    attn_rope_check_whole(&m->ropes[0], c, m->info.head_dim);
}

size_t attn_decoder_window(attn_config *c)
{
    return attn_config_size_or(c, "sliding_window", 1, ATTN_MAX_POSITIONS, attn_config_is_null(c, "sliding_window") ? 0 : 4096);
}

void attn_decoder_windows(attn_model *m, attn_config *c, size_t window, attn_is_sliding *is_sliding, size_t number)
{
    static const attn_choice kinds[] = { { "full_attention", false }, { "sliding_attention", true }, { NULL, 0 } };
    int types[ATTN_MAX_LAYERS];
    bool listed = attn_config_has(c, "layer_types");
    if (listed)
        attn_config_words(c, "layer_types", kinds, types, m->info.num_hidden_layers);
    attn_config_take(c, "layer_types");
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        bool slides = listed ? types[l] : !is_sliding || is_sliding(l, number);
        m->forms[ATTN_STACK_SELF][l].rules.left_window_size = slides && window > 0 ? (int64_t)window - 1 : -1;
    }
}

void attn_decoder_writes(attn_model *m, attn_config *c, bool tied)
{
    m->writing.writes = true;
    if (!attn_config_flag_or(c, "tie_word_embeddings", tied))
        m->traits |= ATTN_DECODER_UNTIED;
}

attn_head attn_decoder_head(const attn_model *m)
{
    const attn_decoder_parts *parts = m->parts;
    attn_head head = parts->head;
    if (!head.table.data && !(m->traits & ATTN_DECODER_UNTIED))
        head.table = parts->embeddings.word;
    head.project = parts->head_project.n > 0 ? &parts->head_project : NULL;
    return head;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static attn_status feed(attn_run *r, const attn_decoder_layer *w, float *y, const float *x)
{
    bool gated = r->model->traits & ATTN_DECODER_GATED;
    attn_status st = gated ? attn_block_gated_feed_forward(r, &w->feed, y, x) : attn_block_feed_forward(r, &w->feed, y, x);
    return st == ATTN_OK && w->feed_after.gain ? attn_block_norm(r, &w->feed_after, y, y) : st;
}

/* x = norm(x + attention(x)), x = norm(x + feed(x)), y scratch. */
static attn_status run_norming_sums(attn_run *r, const attn_decoder_layer *w, size_t layer, float *x, float *y)
{
    attn_status st = attn_block_attention(r, &w->attention, layer, y, x);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    st = attn_block_add_norm(r, &w->attention_norm, x, y);
    if (st == ATTN_OK)
        st = feed(r, w, y, x);
    return st == ATTN_OK ? attn_block_add_norm(r, &w->feed_norm, x, y) : st;
}

/* x += attention(norm(x)) + feed(norm(x)), y scratch. */
static attn_status run_parallel(attn_run *r, const attn_decoder_layer *w, size_t layer, float *x, float *y)
{
    attn_arena_mark mark = attn_arena_save(r->arena);
    float *z = attn_take_floats(r, r->T, r->model->info.hidden_size);
    attn_status st = z ? attn_block_norm(r, &w->attention_norm, y, x) : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = attn_block_attention(r, &w->attention, layer, z, y);
    if (st == ATTN_OK && attn_run_is_whole(r, layer)) {
        if (w->feed_norm.gain)
            st = attn_block_norm(r, &w->feed_norm, y, x);
        if (st == ATTN_OK)
            st = feed(r, w, y, y);
        attn_block_add(r, x, z);
        attn_block_add(r, x, y);
    }
    attn_arena_rewind(r->arena, mark);
    return st;
}

static attn_status run_layer(attn_run *r, size_t layer, float *x, float *y)
{
    const attn_decoder_layer *w = (const attn_decoder_layer *)r->model->layers + layer;
    if (r->model->traits & ATTN_DECODER_PARALLEL)
        return run_parallel(r, w, layer, x, y);
    if (r->model->traits & ATTN_DECODER_NORMS_SUMS)
        return run_norming_sums(r, w, layer, x, y);
    bool norms = w->attention_norm.gain, norms_feed = w->feed_norm.gain;
    attn_status st = norms ? attn_block_norm(r, &w->attention_norm, y, x) : ATTN_OK;
    if (st == ATTN_OK)
        st = attn_block_attention(r, &w->attention, layer, y, norms ? y : x);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    if (w->attention_after.gain)
        st = attn_block_norm(r, &w->attention_after, y, y);
    attn_block_add(r, x, y);
    if (st == ATTN_OK && norms_feed)
        st = attn_block_norm(r, &w->feed_norm, y, x);
    if (st == ATTN_OK)
        st = feed(r, w, y, norms_feed ? y : x);
    attn_block_add(r, x, y);
    return st;
}

attn_status attn_decoder_layers(attn_run *r, float *x, float *y)
{
    const attn_decoder_parts *parts = r->model->parts;
    r->last_norm = parts->last.gain ? &parts->last : NULL;
    return attn_run_layers(r, run_layer, x, y);
}

attn_status attn_decoder_forward_scaled(attn_run *r, float embedding_factor)
{
    const attn_decoder_parts *parts = r->model->parts;
    attn_embeddings e = parts->embeddings;
    size_t D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, r->T, D), *y = x ? attn_take_floats(r, r->T, D) : NULL;
    e.factor = embedding_factor;
    attn_status st = y ? attn_block_embed(r, &e, x) : ATTN_E_NOMEM;
    return st == ATTN_OK ? attn_decoder_layers(r, x, y) : st;
}

attn_status attn_decoder_forward(attn_run *r)
{
    return attn_decoder_forward_scaled(r, 0);
}

attn_price attn_decoder_price(const attn_model *m, const attn_plan *p)
{
    size_t F = m->dims[ATTN_DIM_FEED];
    attn_price rest = m->traits & ATTN_DECODER_GATED ? attn_gated_feed_forward_price(m, p->T, F) : attn_feed_forward_price(m, p->T, F);
    attn_price price = attn_layers_price(m, p, rest);
    if (m->traits & ATTN_DECODER_PARALLEL)
        price.bytes = attn_plus(price.bytes, attn_arena_bytes((uint64_t)p->T * m->info.hidden_size, sizeof(float)));
    return price;
}

/* ---- ALiBi -------------------------------------------------------------------------------------------------------------- */

/* The bias [H, 1, T_k], by key: where a query stands is the same for all of its row. */
attn_status attn_decoder_forward_alibi(attn_run *r, attn_alibi_at *at)
{
    size_t H = r->model->info.num_attention_heads, T = r->stacks[ATTN_STACK_SELF].T_k, counted = 0;
    const uint8_t *mask = r->stacks[ATTN_STACK_SELF].mask;
    float *slopes = attn_take_floats(r, H, 1), *bias = slopes ? attn_take_floats(r, H, T) : NULL;
    if (!bias)
        return ATTN_E_NOMEM;
    attn_alibi_slopes(slopes, H);
    for (size_t j = 0; j < T; j++) {
        bool seen = !mask || mask[j];
        for (size_t h = 0; h < H; h++)
            bias[h * T + j] = seen ? at(r, slopes[h], j, counted) : 0;
        counted += seen;
    }
    r->stacks[ATTN_STACK_SELF].bias = (attn_bias){ .add = bias, .head_stride = (ptrdiff_t)T, .key_stride = 1 };
    return attn_decoder_forward(r);
}

attn_price attn_decoder_price_alibi(const attn_model *m, const attn_plan *p)
{
    attn_price all = attn_decoder_price(m, p);
    uint64_t H = m->info.num_attention_heads;
    all.bytes = attn_plus(all.bytes, attn_plus(attn_arena_bytes(H, sizeof(float)), attn_arena_bytes(H * p->stacks[ATTN_STACK_SELF].T_k, sizeof(float))));
    return all;
}
