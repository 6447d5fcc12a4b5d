/* albert.c - ALBERT (Lan 2019): narrow embeddings that are always projected, and few sets of weights that serve many layers: with one group all layers have the
 * same weights, and each has maps of its own. Groups of more than one layer are not known: no published model has them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"

#define PART  ATTN_ENCODER_PART
#define LAYER ATTN_ENCODER_LAYER
#define D     ATTN_DIM_HIDDEN
#define E     ATTN_DIM_EMBEDDING
#define F     ATTN_DIM_FEED
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, E }, PART(embeddings.word) },
    { "embeddings.position_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_POSITION, E }, PART(embeddings.position) },
    { "embeddings.token_type_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_SEGMENT, E }, PART(embeddings.segment) },
    { "embeddings.LayerNorm.weight", ATTN_STORE_FLOATS, { E }, PART(embeddings.norm.gain) },
    { "embeddings.LayerNorm.bias", ATTN_STORE_FLOATS, { E }, PART(embeddings.norm.shift) },
    { "encoder.embedding_hidden_mapping_in.weight", ATTN_STORE_PANELS, { D, E }, PART(project.w) },
    { "encoder.embedding_hidden_mapping_in.bias", ATTN_STORE_FLOATS, { D }, PART(project.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.query.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.query.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.query.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.query.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.key.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.key.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.key.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.key.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.value.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.value.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.value.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.value.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.dense.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.output.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.output.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.attention.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.shift) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.ffn.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.ffn.bias", ATTN_STORE_FLOATS, { F }, LAYER(feed.up.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.ffn_output.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.ffn_output.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed.down.bias) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.full_layer_layer_norm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "encoder.albert_layer_groups.%zu.albert_layers.0.full_layer_layer_norm.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef E
#undef F

static void configure(attn_model *m, attn_config *c)
{
    attn_encoder_configure_like_bert(m, c);
    attn_encoder_configure_segments(m, c);
    attn_encoder_configure_embedding(m, c, true);
    m->num_layer_weights = attn_config_size(c, "num_hidden_groups", 1, m->info.num_hidden_layers);
    (void)attn_config_size(c, "inner_group_num", 1, 1);
}

static const char *const model_types[] = { "albert", NULL };

const attn_family attn_family_albert = ATTN_ENCODER_FAMILY(model_types, "AlbertModel", "albert.", configure, attn_encoder_price, attn_encoder_forward);
