/* phi.c - Phi 1 to 2 (Gunasekar 2023): attention and feed-forward side by side on one LayerNorm, and only the first part of a head rotated.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

enum { QK_NORM = ATTN_DECODER_TRAIT };

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define K      ATTN_DIM_KEY
#define F      ATTN_DIM_FEED
#define FLOATS ATTN_STORE_FLOATS
static const attn_bind binds[] = {
    { "embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    ATTN_DECODER_HEAD_BIAS("lm_head.bias"),
    { "final_layernorm.weight", FLOATS, { D }, PART(last.gain) },
    { "final_layernorm.bias", FLOATS, { D }, PART(last.shift) },
    { "layers.%zu.input_layernorm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.input_layernorm.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "layers.%zu.self_attn.q_proj.weight", ATTN_STORE_PANELS, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.self_attn.q_proj.bias", FLOATS, { Q }, LAYER(attention.query.bias) },
    { "layers.%zu.self_attn.k_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.self_attn.k_proj.bias", FLOATS, { K }, LAYER(attention.key.bias) },
    { "layers.%zu.self_attn.v_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.self_attn.v_proj.bias", FLOATS, { K }, LAYER(attention.value.bias) },
    { "layers.%zu.self_attn.dense.weight", ATTN_STORE_PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.self_attn.dense.bias", FLOATS, { D }, LAYER(attention.output.bias) },
    { "layers.%zu.self_attn.q_layernorm.weight", FLOATS | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.query_norm.gain) },
    { "layers.%zu.self_attn.q_layernorm.bias", FLOATS | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.query_norm.shift) },
    { "layers.%zu.self_attn.k_layernorm.weight", FLOATS | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.key_norm.gain) },
    { "layers.%zu.self_attn.k_layernorm.bias", FLOATS | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.key_norm.shift) },
    { "layers.%zu.mlp.fc1.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.fc1.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "layers.%zu.mlp.fc2.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "layers.%zu.mlp.fc2.bias", FLOATS, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef K
#undef F

static void configure(attn_model *m, attn_config *c)
{
    attn_decoder_keys keys = attn_llama_keys;
    keys.norm_eps = "layer_norm_eps";
    m->traits = ATTN_DECODER_PARALLEL;
    if (!attn_decoder_configure(m, c, &keys, 0))
        return;
    if (attn_config_flag_or(c, "qk_layernorm", false))
        m->traits |= QK_NORM;
    attn_decoder_rotate(m, c, 10000, 0.5);
    attn_decoder_writes(m, c, false);
}

static const char *const model_types[] = { "phi", NULL };
const attn_family attn_family_phi = ATTN_DECODER_FAMILY(model_types, "PhiModel", "model.", configure, attn_decoder_price, attn_decoder_forward);
