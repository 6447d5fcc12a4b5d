/* phi3.c - Phi 3 (Abdin 2024): Llama with its projections fused, rotation that may be stretched pair by pair, and a window for all layers where one is given.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/source.h"

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define K      ATTN_DIM_KEY
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
static const attn_bind binds[] = {
    { "embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "norm.weight", ATTN_STORE_FLOATS, { D }, PART(last.gain) },
    { "layers.%zu.input_layernorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.self_attn.qkv_proj.weight", PANELS | ATTN_PART_QUERY, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.self_attn.qkv_proj.weight", PANELS | ATTN_PART_KEY, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.self_attn.qkv_proj.weight", PANELS | ATTN_PART_VALUE, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.self_attn.o_proj.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.post_attention_layernorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.mlp.gate_up_proj.weight", PANELS | ATTN_PART_GATE, { F, D }, LAYER(feed.gate.w) },
    { "layers.%zu.mlp.gate_up_proj.weight", PANELS | ATTN_PART_UP, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.down_proj.weight", PANELS, { D, F }, LAYER(feed.down.w) },
};
#undef D
#undef Q
#undef K
#undef F

static void configure(attn_model *m, attn_config *c)
{
    m->norm_kind = ATTN_NORM_RMS;
    attn_config_take(c, "auto_map"); /* first published with code beside the weights, for the same formula */
    m->traits = ATTN_DECODER_GATED;
    if (!attn_decoder_configure(m, c, &attn_llama_keys, 0))
        return;
    bool has_original = attn_config_has(c, "original_max_position_embeddings");
    attn_decoder_rotate(m, c, 10000, 1);
    if (c->status == ATTN_OK && m->ropes[0].kind == ATTN_ROPE_LONG && !has_original)
        c->status = attn_fail(c->err, ATTN_E_FORMAT, attn_at(c->file, "original_max_position_embeddings").text, "is missing beside rope_scaling");
    if (c->status == ATTN_OK && m->ropes[0].kind != ATTN_ROPE_PLAIN && m->ropes[0].kind != ATTN_ROPE_LONG) /* "yarn" has another meaning in old files */
        c->status =
            attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, "rope_scaling").text, "is of a type that Phi 3 does not have, known are: longrope, su");
    attn_decoder_windows(m, c, attn_config_size_or(c, "sliding_window", 1, ATTN_MAX_POSITIONS, 0), NULL, 0);
    attn_decoder_writes(m, c, false);
}

static const char *const model_types[] = { "phi3", NULL };
const attn_family attn_family_phi3 = ATTN_DECODER_FAMILY(model_types, "Phi3Model", "model.", configure, attn_decoder_price, attn_decoder_forward);
