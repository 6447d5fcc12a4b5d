/* gptj.c - GPT-J (Wang 2021): attention and feed-forward side by side on one LayerNorm, no biases in attention; the first rotary_dim columns of a head rotated,
 * neighbours being pairs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/source.h"

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
static const attn_bind binds[] = {
    { "wte.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    ATTN_DECODER_HEAD_BIAS("lm_head.bias"),
    { "ln_f.weight", FLOATS, { D }, PART(last.gain) },
    { "ln_f.bias", FLOATS, { D }, PART(last.shift) },
    { "h.%zu.ln_1.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "h.%zu.ln_1.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "h.%zu.attn.q_proj.weight", PANELS, { Q, D }, LAYER(attention.query.w) },
    { "h.%zu.attn.k_proj.weight", PANELS, { Q, D }, LAYER(attention.key.w) },
    { "h.%zu.attn.v_proj.weight", PANELS, { Q, D }, LAYER(attention.value.w) },
    { "h.%zu.attn.out_proj.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "h.%zu.mlp.fc_in.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "h.%zu.mlp.fc_in.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "h.%zu.mlp.fc_out.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "h.%zu.mlp.fc_out.bias", FLOATS, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef F

static void configure(attn_model *m, attn_config *c)
{
    static const attn_decoder_keys keys = { "n_embd", "n_layer", "n_head", NULL, "n_inner", "n_positions", "activation_function", "layer_norm_epsilon" };
    m->traits = ATTN_DECODER_PARALLEL;
    if (!attn_decoder_configure(m, c, &keys, 4))
        return;
    size_t d = m->info.head_dim, width = attn_config_size(c, "rotary_dim", 1, d);
    if (c->status == ATTN_OK && width % 2)
        c->status = attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, "rotary_dim").text, "%zu columns of a head cannot be rotated in pairs", width);
    attn_config_on(c, "rotary");
    attn_config_on(c, "scale_attn_weights");
    attn_config_off(c, "rope_scaling");
    m->ropes[0] = (attn_rope){ .width = width, .neighbours = true, .theta = 10000, .factor = 1, .size = 1, .original = (double)m->info.max_tokens };
    for (size_t l = 0; l < m->info.num_hidden_layers; l++)
        m->forms[ATTN_STACK_SELF][l].rope = &m->ropes[0];
    attn_decoder_writes(m, c, false);
}

static const char *const model_types[] = { "gptj", NULL };
const attn_family attn_family_gptj = ATTN_DECODER_FAMILY(model_types, "GPTJModel", "transformer.", configure, attn_decoder_price, attn_decoder_forward);
