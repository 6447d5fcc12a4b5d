/* gpt_neox.c - GPT-NeoX (Black 2022), Pythia among them: attention and feed-forward side by side, each on a LayerNorm of its own, or one after the other; only the
 * first part of a head rotated; query, key and value of each head together in one tensor.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

enum { BIAS = ATTN_DECODER_TRAIT };

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define K      ATTN_DIM_KEY
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
#define BIASES (ATTN_STORE_FLOATS | ATTN_WHEN(BIAS))
static const attn_bind binds[] = {
    { "embed_in.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("embed_out.weight"),
    { "final_layer_norm.weight", FLOATS, { D }, PART(last.gain) },
    { "final_layer_norm.bias", FLOATS, { D }, PART(last.shift) },
    { "layers.%zu.input_layernorm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.input_layernorm.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "layers.%zu.attention.query_key_value.weight", PANELS | ATTN_PART_QUERY, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.attention.query_key_value.bias", BIASES | ATTN_PART_QUERY, { Q }, LAYER(attention.query.bias) },
    { "layers.%zu.attention.query_key_value.weight", PANELS | ATTN_PART_KEY, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.attention.query_key_value.bias", BIASES | ATTN_PART_KEY, { K }, LAYER(attention.key.bias) },
    { "layers.%zu.attention.query_key_value.weight", PANELS | ATTN_PART_VALUE, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.attention.query_key_value.bias", BIASES | ATTN_PART_VALUE, { K }, LAYER(attention.value.bias) },
    { "layers.%zu.attention.dense.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.attention.dense.bias", BIASES, { D }, LAYER(attention.output.bias) },
    { "layers.%zu.post_attention_layernorm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.post_attention_layernorm.bias", FLOATS, { D }, LAYER(feed_norm.shift) },
    { "layers.%zu.mlp.dense_h_to_4h.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.dense_h_to_4h.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "layers.%zu.mlp.dense_4h_to_h.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "layers.%zu.mlp.dense_4h_to_h.bias", FLOATS, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef K
#undef F

static void configure(attn_model *m, attn_config *c)
{
    attn_decoder_keys keys = attn_llama_keys;
    keys.norm_eps = "layer_norm_eps";
    keys.num_key_value_heads = NULL;
    if (!attn_decoder_configure(m, c, &keys, 0))
        return;
    m->dims[ATTN_DIM_GROUPS] = m->info.num_attention_heads;
    m->traits =
        (attn_config_flag_or(c, "use_parallel_residual", true) ? ATTN_DECODER_PARALLEL : 0U) | (attn_config_flag_or(c, "attention_bias", true) ? BIAS : 0U);
    double theta = attn_config_number_or(c, "rotary_emb_base", 1.001, 1e15, 10000), part = attn_config_number_or(c, "rotary_pct", 0, 1, 0.25);
    attn_config_take(c, "rope_theta"); /* the names above go before these */
    attn_config_take(c, "partial_rotary_factor");
    attn_decoder_rotate(m, c, theta, part);
    attn_decoder_writes(m, c, false);
}

static const char *const model_types[] = { "gpt_neox", NULL };
const attn_family attn_family_gpt_neox = ATTN_DECODER_FAMILY(model_types, "GPTNeoXModel", "gpt_neox.", configure, attn_decoder_price, attn_decoder_forward);
