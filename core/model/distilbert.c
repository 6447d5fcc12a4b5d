/* distilbert.c - DistilBERT (Sanh 2019): BERT without segments, under names of its own. Epsilon is not in its config.json: it is 1e-12.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"

#define PART  ATTN_ENCODER_PART
#define LAYER ATTN_ENCODER_LAYER
#define D     ATTN_DIM_HIDDEN
#define F     ATTN_DIM_FEED
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    { "embeddings.position_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_POSITION, D }, PART(embeddings.position) },
    { "embeddings.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, PART(embeddings.norm.gain) },
    { "embeddings.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, PART(embeddings.norm.shift) },
    { "transformer.layer.%zu.attention.q_lin.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.query.w) },
    { "transformer.layer.%zu.attention.q_lin.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.query.bias) },
    { "transformer.layer.%zu.attention.k_lin.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.key.w) },
    { "transformer.layer.%zu.attention.k_lin.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.key.bias) },
    { "transformer.layer.%zu.attention.v_lin.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.value.w) },
    { "transformer.layer.%zu.attention.v_lin.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.value.bias) },
    { "transformer.layer.%zu.attention.out_lin.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.output.w) },
    { "transformer.layer.%zu.attention.out_lin.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.output.bias) },
    { "transformer.layer.%zu.sa_layer_norm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "transformer.layer.%zu.sa_layer_norm.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.shift) },
    { "transformer.layer.%zu.ffn.lin1.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "transformer.layer.%zu.ffn.lin1.bias", ATTN_STORE_FLOATS, { F }, LAYER(feed.up.bias) },
    { "transformer.layer.%zu.ffn.lin2.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "transformer.layer.%zu.ffn.lin2.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed.down.bias) },
    { "transformer.layer.%zu.output_layer_norm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "transformer.layer.%zu.output_layer_norm.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef F

static void configure(attn_model *m, attn_config *c)
{
    static const attn_encoder_keys keys = { "dim", "n_layers", "n_heads", "hidden_dim", "activation" };
    attn_encoder_configure(m, c, &keys);
    m->norm_eps = 1e-12f;
}

static const char *const model_types[] = { "distilbert", NULL };

const attn_family attn_family_distilbert =
    ATTN_ENCODER_FAMILY(model_types, "DistilBertModel", "distilbert.", configure, attn_encoder_price, attn_encoder_forward);
