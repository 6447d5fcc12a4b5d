/* modernbert.c - ModernBERT (Warner 2024): an encoder with norms before what they are for, rotary positions and a gated feed-forward.
 *
 *     x = norm(word)
 *     for each layer:   x = x + output(attention(norm(x)))         layer 0 has no norm here: its input comes from one
 *                       x = x + down(act(input(norm(x))) * gate(norm(x)))
 *     last hidden state = norm(x)
 *
 * Every third layer or so sees everything; the others see local_attention / 2 tokens to each side, and rotate by a base of their own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/encoder_blocks.h"

/* What a model may have. */
enum { NORM_BIAS = ATTN_DECODER_TRAIT, ATTENTION_BIAS = ATTN_DECODER_TRAIT << 1, FEED_BIAS = ATTN_DECODER_TRAIT << 2 };

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
static const attn_bind binds[] = {
    { "embeddings.tok_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    { "embeddings.norm.weight", FLOATS, { D }, PART(embeddings.norm.gain) },
    { "embeddings.norm.bias", FLOATS | ATTN_WHEN(NORM_BIAS), { D }, PART(embeddings.norm.shift) },
    { "layers.%zu.attn_norm.weight", FLOATS | ATTN_NOT_FIRST, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.attn_norm.bias", FLOATS | ATTN_NOT_FIRST | ATTN_WHEN(NORM_BIAS), { D }, LAYER(attention_norm.shift) },
    { "layers.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_QUERY, { D, D }, LAYER(attention.query.w) },
    { "layers.%zu.attn.Wqkv.bias", FLOATS | ATTN_PART_QUERY | ATTN_WHEN(ATTENTION_BIAS), { D }, LAYER(attention.query.bias) },
    { "layers.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_KEY, { D, D }, LAYER(attention.key.w) },
    { "layers.%zu.attn.Wqkv.bias", FLOATS | ATTN_PART_KEY | ATTN_WHEN(ATTENTION_BIAS), { D }, LAYER(attention.key.bias) },
    { "layers.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_VALUE, { D, D }, LAYER(attention.value.w) },
    { "layers.%zu.attn.Wqkv.bias", FLOATS | ATTN_PART_VALUE | ATTN_WHEN(ATTENTION_BIAS), { D }, LAYER(attention.value.bias) },
    { "layers.%zu.attn.Wo.weight", PANELS, { D, D }, LAYER(attention.output.w) },
    { "layers.%zu.attn.Wo.bias", FLOATS | ATTN_WHEN(ATTENTION_BIAS), { D }, LAYER(attention.output.bias) },
    { "layers.%zu.mlp_norm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.mlp_norm.bias", FLOATS | ATTN_WHEN(NORM_BIAS), { D }, LAYER(feed_norm.shift) },
    { "layers.%zu.mlp.Wi.weight", PANELS | ATTN_PART_GATE, { F, D }, LAYER(feed.gate.w) },
    { "layers.%zu.mlp.Wi.bias", FLOATS | ATTN_PART_GATE | ATTN_WHEN(FEED_BIAS), { F }, LAYER(feed.gate.bias) },
    { "layers.%zu.mlp.Wi.weight", PANELS | ATTN_PART_UP, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.Wi.bias", FLOATS | ATTN_PART_UP | ATTN_WHEN(FEED_BIAS), { F }, LAYER(feed.up.bias) },
    { "layers.%zu.mlp.Wo.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "layers.%zu.mlp.Wo.bias", FLOATS | ATTN_WHEN(FEED_BIAS), { D }, LAYER(feed.down.bias) },
    { "final_norm.weight", FLOATS, { D }, PART(last.gain) },
    { "final_norm.bias", FLOATS | ATTN_WHEN(NORM_BIAS), { D }, PART(last.shift) },
};
#undef D
#undef F

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

/* Files of 2024 have two bases, later ones a section for each kind of layer. */
static void read_ropes(attn_model *m, attn_config *c)
{
    double full = attn_config_number_or(c, "global_rope_theta", 1.001, 1e15, 160000);
    double windowed = attn_config_is_null(c, "local_rope_theta") ? full : 10000; /* null: no base of their own */
    windowed = attn_config_number_or(c, "local_rope_theta", 1.001, 1e15, windowed);
    attn_config_off(c, "rope_scaling");
    attn_rope_configure_both(m->ropes, c, &(attn_rope_sections){ m->info.head_dim, m->info.max_tokens, { full, windowed } });
}

static bool not_every(size_t layer, size_t number)
{
    return layer % number != 0;
}

/* layer_types, or every so manieth layer from the first on sees everything. */
static void read_windows(attn_model *m, attn_config *c)
{
    size_t side = attn_config_size(c, "local_attention", 1, ATTN_MAX_POSITIONS) / 2;
    size_t every = attn_config_has(c, "layer_types") ? 1 : attn_config_size(c, "global_attn_every_n_layers", 1, ATTN_MAX_LAYERS);
    attn_config_take(c, "global_attn_every_n_layers"); /* what layer_types was made of */
    attn_decoder_windows(m, c, side + 1, not_every, every);
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        attn_layer_form *form = &m->forms[ATTN_STACK_SELF][l];
        form->rules.right_window_size = form->rules.left_window_size;
        form->rope = &m->ropes[form->rules.left_window_size >= 0];
    }
}

static void configure(attn_model *m, attn_config *c)
{
    static const attn_encoder_keys keys = { "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_activation" };
    attn_encoder_configure(m, c, &keys);
    m->norm_eps = (float)attn_config_number(c, "norm_eps", 1e-30, 1);
    m->dims[ATTN_DIM_QUERY] = m->dims[ATTN_DIM_KEY] = m->info.hidden_size;
    m->traits = ATTN_DECODER_GATED;
    m->traits |= attn_config_flag_or(c, "norm_bias", false) ? NORM_BIAS : 0;
    m->traits |= attn_config_flag_or(c, "attention_bias", false) ? ATTENTION_BIAS : 0;
    m->traits |= attn_config_flag_or(c, "mlp_bias", false) ? FEED_BIAS : 0;
    if (!m->forms[ATTN_STACK_SELF])
        return;
    read_windows(m, c);
    read_ropes(m, c);
}

static const char *const model_types[] = { "modernbert", NULL };
const attn_family attn_family_modernbert = ATTN_DECODER_FAMILY(model_types, "ModernBertModel", "model.", configure, attn_decoder_price, attn_decoder_forward);
