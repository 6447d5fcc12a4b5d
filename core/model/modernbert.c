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

/* Rope 0 for layers that see everything, rope 1 for the others. Files of 2024 have two bases, later ones a section for each kind. */
static void read_ropes(attn_model *m, attn_config *c)
{
    static const char *const keys[] = { "full_attention", "sliding_attention" };
    attn_config sections, one;
    double global = attn_config_number_or(c, "global_rope_theta", 1.001, 1e15, 160000);
    double local = attn_config_is_null(c, "local_rope_theta") ? global : 10000; /* null: no base of their own */
    double theta[] = { global, attn_config_number_or(c, "local_rope_theta", 1.001, 1e15, local) };
    bool has_sections = attn_config_enter(c, "rope_parameters", &sections);
    for (size_t i = 0; i < 2; i++) {
        bool given = has_sections && attn_config_enter(&sections, keys[i], &one);
        attn_rope_configure_section(&m->ropes[i], given ? &one : NULL, m->info.head_dim, m->info.max_tokens, theta[i], 1);
        if (given)
            attn_config_leave(&sections, &one);
    }
    if (has_sections)
        attn_config_leave(c, &sections);
    attn_config_off(c, "rope_scaling");
    if (c->status == ATTN_OK && m->info.head_dim % 2)
        c->status = attn_fail(c->err, ATTN_E_UNSUPPORTED, c->file, "%zu columns of a head cannot be rotated in pairs", m->info.head_dim);
}

/* layer_types, or every so manieth layer from the first on sees everything. */
static void read_windows(attn_model *m, attn_config *c)
{
    static const attn_choice kinds[] = { { "full_attention", false }, { "sliding_attention", true }, { NULL, 0 } };
    int types[ATTN_MAX_LAYERS];
    int64_t side = (int64_t)(attn_config_size(c, "local_attention", 1, ATTN_MAX_POSITIONS) / 2);
    bool listed = attn_config_has(c, "layer_types");
    size_t every = listed ? 1 : attn_config_size(c, "global_attn_every_n_layers", 1, ATTN_MAX_LAYERS);
    if (listed)
        attn_config_words(c, "layer_types", kinds, types, m->info.num_hidden_layers);
    attn_config_take(c, "layer_types");
    attn_config_take(c, "global_attn_every_n_layers"); /* what layer_types was made of */
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        bool slides = listed ? types[l] : l % every != 0;
        m->forms[ATTN_STACK_SELF][l].rules.left_window_size = m->forms[ATTN_STACK_SELF][l].rules.right_window_size = slides ? side : -1;
        m->forms[ATTN_STACK_SELF][l].rope = &m->ropes[slides];
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

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static attn_status run_layer(attn_run *r, size_t layer, float *x, float *y)
{
    const attn_decoder_layer *w = (const attn_decoder_layer *)r->model->layers + layer;
    attn_status st = layer > 0 ? attn_block_norm(r, &w->attention_norm, y, x) : ATTN_OK;
    if (st == ATTN_OK)
        st = attn_block_attention(r, &w->attention, layer, y, layer > 0 ? y : x);
    if (st != ATTN_OK || !attn_run_is_whole(r, layer))
        return st;
    attn_block_add(r, x, y);
    st = attn_block_norm(r, &w->feed_norm, y, x);
    if (st == ATTN_OK)
        st = attn_block_gated_feed_forward(r, &w->feed, y, y);
    attn_block_add(r, x, y);
    return st;
}

static attn_status forward(attn_run *r)
{
    const attn_decoder_parts *parts = r->model->parts;
    size_t D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, r->T, D), *y = x ? attn_take_floats(r, r->T, D) : NULL;
    r->last_norm = &parts->last;
    attn_status st = y ? attn_block_embed(r, &parts->embeddings, x) : ATTN_E_NOMEM;
    return st == ATTN_OK ? attn_run_layers(r, run_layer, x, y) : st;
}

static const char *const model_types[] = { "modernbert", NULL };
const attn_family attn_family_modernbert = ATTN_DECODER_FAMILY(model_types, "ModernBertModel", "model.", configure, attn_decoder_price, forward);
