/* olmo2.c - OLMo 2 (OLMo 2025): Llama that norms what attention and feed-forward give, not what they get, and queries and keys before they are cut into heads.
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
    { "embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "norm.weight", FLOATS, { D }, PART(last.gain) },
    { "layers.%zu.self_attn.q_proj.weight", PANELS, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.self_attn.q_proj.bias", BIASES, { Q }, LAYER(attention.query.bias) },
    { "layers.%zu.self_attn.k_proj.weight", PANELS, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.self_attn.k_proj.bias", BIASES, { K }, LAYER(attention.key.bias) },
    { "layers.%zu.self_attn.v_proj.weight", PANELS, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.self_attn.v_proj.bias", BIASES, { K }, LAYER(attention.value.bias) },
    { "layers.%zu.self_attn.q_norm.weight", FLOATS, { Q }, LAYER(attention.query_norm.gain) },
    { "layers.%zu.self_attn.k_norm.weight", FLOATS, { K }, LAYER(attention.key_norm.gain) },
    { "layers.%zu.self_attn.o_proj.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.self_attn.o_proj.bias", BIASES, { D }, LAYER(attention.output.bias) },
    { "layers.%zu.post_attention_layernorm.weight", FLOATS, { D }, LAYER(attention_after.gain) },
    { "layers.%zu.mlp.gate_proj.weight", PANELS, { F, D }, LAYER(feed.gate.w) },
    { "layers.%zu.mlp.up_proj.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.down_proj.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "layers.%zu.post_feedforward_layernorm.weight", FLOATS, { D }, LAYER(feed_after.gain) },
};
#undef D
#undef Q
#undef K
#undef F

static void configure(attn_model *m, attn_config *c)
{
    m->norm_kind = ATTN_NORM_RMS;
    m->norms_whole = true;
    m->traits = ATTN_DECODER_GATED;
    if (!attn_decoder_configure(m, c, &attn_llama_keys, 0))
        return;
    if (attn_config_flag_or(c, "attention_bias", false))
        m->traits |= BIAS;
    attn_decoder_rotate_whole(m, c, 10000);
    attn_decoder_writes(m, c, false);
}

static const char *const model_types[] = { "olmo2", NULL };
const attn_family attn_family_olmo2 = ATTN_DECODER_FAMILY(model_types, "Olmo2Model", "model.", configure, attn_decoder_price, attn_decoder_forward);
