/* bert.c - BERT (Devlin 2018): an encoder, every token sees every other, the norm comes after each residual sum.
 *
 *     x = norm(word + position + segment)
 *     for each layer:   x = norm(x + output(attention(x)))
 *                       x = norm(x + down(act(up(x))))
 *
 * Any size. What a task's head adds behind the last layer is not needed here; its tensors are listed as unused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/blocks.h"

#include <stddef.h>

typedef struct bert_layer {
    attn_self_attention attention;
    attn_norm attention_norm;
    attn_feed_forward feed;
    attn_norm feed_norm;
} bert_layer;

typedef struct bert_parts {
    attn_embeddings embeddings;
} bert_parts;

#define PART(member)  offsetof(bert_parts, embeddings.member)
#define LAYER(member) offsetof(bert_layer, member)
#define D             ATTN_DIM_HIDDEN
#define F             ATTN_DIM_FEED
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(word) },
    { "embeddings.position_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_POSITION, D }, PART(position) },
    { "embeddings.token_type_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_SEGMENT, D }, PART(segment) },
    { "embeddings.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, PART(norm.gain) },
    { "embeddings.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, PART(norm.shift) },
    { "encoder.layer.%zu.attention.self.query.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.query.w) },
    { "encoder.layer.%zu.attention.self.query.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.query.bias) },
    { "encoder.layer.%zu.attention.self.key.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.key.w) },
    { "encoder.layer.%zu.attention.self.key.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.key.bias) },
    { "encoder.layer.%zu.attention.self.value.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.value.w) },
    { "encoder.layer.%zu.attention.self.value.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.value.bias) },
    { "encoder.layer.%zu.attention.output.dense.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.output.w) },
    { "encoder.layer.%zu.attention.output.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.output.bias) },
    { "encoder.layer.%zu.attention.output.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "encoder.layer.%zu.attention.output.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.shift) },
    { "encoder.layer.%zu.intermediate.dense.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "encoder.layer.%zu.intermediate.dense.bias", ATTN_STORE_FLOATS, { F }, LAYER(feed.up.bias) },
    { "encoder.layer.%zu.output.dense.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "encoder.layer.%zu.output.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed.down.bias) },
    { "encoder.layer.%zu.output.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "encoder.layer.%zu.output.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef F

static const attn_choice position_types[] = { { "absolute", 0 }, { NULL, 0 } };

static void bert_configure(attn_model *m, attn_config *c)
{
    attn_model_info *i = &m->info;
    i->hidden_size = m->dims[ATTN_DIM_HIDDEN] = attn_config_size(c, "hidden_size", 1, ATTN_MAX_HIDDEN);
    i->num_hidden_layers = attn_config_size(c, "num_hidden_layers", 1, ATTN_MAX_LAYERS);
    i->num_attention_heads = i->num_key_value_heads = attn_config_heads(c, "num_attention_heads", "hidden_size", i->hidden_size);
    i->head_dim = i->hidden_size / i->num_attention_heads;
    i->vocab_size = m->dims[ATTN_DIM_VOCAB] = attn_config_size(c, "vocab_size", 1, ATTN_MAX_VOCAB);
    i->max_tokens = m->dims[ATTN_DIM_POSITION] = attn_config_size(c, "max_position_embeddings", 1, ATTN_MAX_POSITIONS);
    i->type_vocab_size = m->dims[ATTN_DIM_SEGMENT] = attn_config_size(c, "type_vocab_size", 1, ATTN_MAX_SEGMENTS);
    m->dims[ATTN_DIM_FEED] = attn_config_size(c, "intermediate_size", 1, ATTN_MAX_FEED);
    m->act = attn_config_activation(c, "hidden_act");
    m->norm_eps = (float)attn_config_number(c, "layer_norm_eps", 1e-30, 1);
    attn_config_choice_or_first(c, "position_embedding_type", position_types);
    attn_config_off(c, "is_decoder"); /* would hide later tokens */
    attn_config_off(c, "is_encoder_decoder");
    attn_config_off(c, "add_cross_attention");
}

static attn_price bert_price(const attn_model *m, const attn_plan *p)
{
    return attn_layers_price(m, p, attn_feed_forward_price(m, p->T));
}

static attn_status bert_layer_run(attn_run *r, size_t layer, float *x, float *y)
{
    const bert_layer *w = (const bert_layer *)r->model->layers + layer;
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

static attn_status bert_forward(attn_run *r)
{
    const bert_parts *parts = r->model->parts;
    size_t D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, r->input->T, D), *y = x ? attn_take_floats(r, r->input->T, D) : NULL;
    attn_status st = y ? attn_block_embed(r, &parts->embeddings, x) : ATTN_E_NOMEM;
    return st == ATTN_OK ? attn_run_layers(r, bert_layer_run, x, y) : st;
}

static const char *const model_types[] = { "bert", NULL };

const attn_family attn_family_bert = {
    .model_types = model_types,
    .default_architecture = "BertModel",
    .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1,
    .parts_bytes = sizeof(bert_parts),
    .binds = { .prefix = "bert.", .rows = binds, .num_rows = sizeof binds / sizeof *binds, .layer_bytes = sizeof(bert_layer) },
    .configure = bert_configure,
    .price = bert_price,
    .forward = bert_forward,
};
