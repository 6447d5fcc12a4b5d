/* gpt2.c - GPT-2 (Radford 2019): positions from a table, LayerNorm, biases everywhere. Its linear layers lie in the file as [in, out], query, key and value side
 * by side in one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define F      ATTN_DIM_FEED
#define TURNED (ATTN_STORE_PANELS | ATTN_STORE_TRANSPOSED)
#define FLOATS ATTN_STORE_FLOATS
static const attn_bind binds[] = {
    { "wte.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "wpe.weight", FLOATS, { ATTN_DIM_POSITION, D }, PART(embeddings.position) },
    { "ln_f.weight", FLOATS, { D }, PART(last.gain) },
    { "ln_f.bias", FLOATS, { D }, PART(last.shift) },
    { "h.%zu.ln_1.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "h.%zu.ln_1.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "h.%zu.attn.c_attn.weight", TURNED | ATTN_PART_QUERY, { ATTN_DIM_QUERY, D }, LAYER(attention.query.w) },
    { "h.%zu.attn.c_attn.bias", FLOATS | ATTN_PART_QUERY, { ATTN_DIM_QUERY }, LAYER(attention.query.bias) },
    { "h.%zu.attn.c_attn.weight", TURNED | ATTN_PART_KEY, { ATTN_DIM_KEY, D }, LAYER(attention.key.w) },
    { "h.%zu.attn.c_attn.bias", FLOATS | ATTN_PART_KEY, { ATTN_DIM_KEY }, LAYER(attention.key.bias) },
    { "h.%zu.attn.c_attn.weight", TURNED | ATTN_PART_VALUE, { ATTN_DIM_KEY, D }, LAYER(attention.value.w) },
    { "h.%zu.attn.c_attn.bias", FLOATS | ATTN_PART_VALUE, { ATTN_DIM_KEY }, LAYER(attention.value.bias) },
    { "h.%zu.attn.c_proj.weight", TURNED, { D, ATTN_DIM_QUERY }, LAYER(attention.output.w) },
    { "h.%zu.attn.c_proj.bias", FLOATS, { D }, LAYER(attention.output.bias) },
    { "h.%zu.ln_2.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "h.%zu.ln_2.bias", FLOATS, { D }, LAYER(feed_norm.shift) },
    { "h.%zu.mlp.c_fc.weight", TURNED, { F, D }, LAYER(feed.up.w) },
    { "h.%zu.mlp.c_fc.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "h.%zu.mlp.c_proj.weight", TURNED, { D, F }, LAYER(feed.down.w) },
    { "h.%zu.mlp.c_proj.bias", FLOATS, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef F

static void configure(attn_model *m, attn_config *c)
{
    static const attn_decoder_keys keys = { "n_embd", "n_layer", "n_head", NULL, "n_inner", "n_positions", "activation_function", "layer_norm_epsilon" };
    if (!attn_decoder_configure(m, c, &keys, 4))
        return;
    bool scaled = attn_config_flag_or(c, "scale_attn_weights", true), by_layer = attn_config_flag_or(c, "scale_attn_by_inverse_layer_idx", false);
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        attn_rules *rules = &m->forms[ATTN_STACK_SELF][l].rules;
        rules->scale = (scaled ? rules->scale : 1) / (by_layer ? (float)(l + 1) : 1);
    }
    attn_decoder_writes(m, c, true);
}

static const char *const model_types[] = { "gpt2", NULL };
const attn_family attn_family_gpt2 = ATTN_DECODER_FAMILY(model_types, "GPT2Model", "transformer.", configure, attn_decoder_price, attn_decoder_forward);
