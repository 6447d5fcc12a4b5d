/* opt.c - OPT (Zhang 2022): positions from a table, the first of them in row 2, counted over tokens that are not masked; those that are have row 1. Queries are
 * scaled before they meet keys, and shown so. The one of 350 million parameters has embeddings narrower than its layers, norms sums, and has no last norm.
 * Its last hidden state is D wide here: what projects it back to the width of embeddings belongs to the head.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/encoder_blocks.h"

enum { BIAS = ATTN_DECODER_TRAIT, LAST_NORM = ATTN_DECODER_TRAIT << 1, PROJECTED = ATTN_DECODER_TRAIT << 2 };
enum { FIRST_POSITION = 2 };

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define E      ATTN_DIM_EMBEDDING
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
#define BIASES (ATTN_STORE_FLOATS | ATTN_WHEN(BIAS))
static const attn_bind binds[] = {
    { "decoder.embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, E }, PART(embeddings.word) },
    { "decoder.embed_positions.weight", FLOATS, { ATTN_DIM_POSITION, D }, PART(embeddings.position) },
    { "lm_head.weight", ATTN_STORE_TABLE | ATTN_OPTIONAL, { ATTN_DIM_VOCAB, E }, PART(head.table) },
    { "decoder.project_out.weight", PANELS | ATTN_WHEN(PROJECTED), { E, D }, PART(head_project) },
    { "decoder.project_in.weight", PANELS | ATTN_WHEN(PROJECTED), { D, E }, PART(project.w) },
    { "decoder.final_layer_norm.weight", FLOATS | ATTN_WHEN(LAST_NORM), { D }, PART(last.gain) },
    { "decoder.final_layer_norm.bias", FLOATS | ATTN_WHEN(LAST_NORM), { D }, PART(last.shift) },
    { "decoder.layers.%zu.self_attn_layer_norm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "decoder.layers.%zu.self_attn_layer_norm.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "decoder.layers.%zu.self_attn.q_proj.weight", PANELS, { Q, D }, LAYER(attention.query.w) },
    { "decoder.layers.%zu.self_attn.q_proj.bias", BIASES, { Q }, LAYER(attention.query.bias) },
    { "decoder.layers.%zu.self_attn.k_proj.weight", PANELS, { Q, D }, LAYER(attention.key.w) },
    { "decoder.layers.%zu.self_attn.k_proj.bias", BIASES, { Q }, LAYER(attention.key.bias) },
    { "decoder.layers.%zu.self_attn.v_proj.weight", PANELS, { Q, D }, LAYER(attention.value.w) },
    { "decoder.layers.%zu.self_attn.v_proj.bias", BIASES, { Q }, LAYER(attention.value.bias) },
    { "decoder.layers.%zu.self_attn.out_proj.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "decoder.layers.%zu.self_attn.out_proj.bias", BIASES, { D }, LAYER(attention.output.bias) },
    { "decoder.layers.%zu.final_layer_norm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "decoder.layers.%zu.final_layer_norm.bias", FLOATS, { D }, LAYER(feed_norm.shift) },
    { "decoder.layers.%zu.fc1.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "decoder.layers.%zu.fc1.bias", BIASES, { F }, LAYER(feed.up.bias) },
    { "decoder.layers.%zu.fc2.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "decoder.layers.%zu.fc2.bias", BIASES, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef E
#undef F

static void read_traits(attn_model *m, attn_config *c)
{
    bool before = attn_config_flag_or(c, "do_layer_norm_before", true), removed = attn_config_flag_or(c, "_remove_final_layer_norm", false);
    m->traits = before ? 0 : ATTN_DECODER_NORMS_SUMS;
    m->traits |= before && !removed ? LAST_NORM : 0;
    m->traits |= attn_config_flag_or(c, "enable_bias", true) ? BIAS : 0;
    m->traits |= m->dims[ATTN_DIM_EMBEDDING] != m->info.hidden_size ? PROJECTED : 0;
    attn_config_on(c, "layer_norm_elementwise_affine");
}

static void configure(attn_model *m, attn_config *c)
{
    static const attn_decoder_keys keys = { "hidden_size", "num_hidden_layers",       "num_attention_heads", NULL,
                                            "ffn_dim",     "max_position_embeddings", "activation_function", NULL };
    m->norm_eps = 1e-5F;
    if (!attn_decoder_configure(m, c, &keys, 0))
        return;
    m->dims[ATTN_DIM_POSITION] = m->info.max_tokens + FIRST_POSITION;
    m->first_position = FIRST_POSITION;
    m->counts_mask = true;
    m->dims[ATTN_DIM_EMBEDDING] = attn_config_size_or(c, "word_embed_proj_dim", 1, ATTN_MAX_HIDDEN, m->info.hidden_size);
    read_traits(m, c);
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        attn_layer_form *form = &m->forms[ATTN_STACK_SELF][l];
        form->query_factor = form->rules.scale;
        form->rules.scale = 1;
    }
    attn_decoder_writes(m, c, true);
}

/* Positions are of the layers' width: they come after the projection. */
static attn_status embed(attn_run *r, float *x)
{
    const attn_decoder_parts *parts = r->model->parts;
    if (!(r->model->traits & PROJECTED))
        return attn_block_embed(r, &parts->embeddings, x);
    attn_embeddings words = { .word = parts->embeddings.word };
    attn_status st = attn_block_embed_and_project(r, &words, &parts->project, x);
    if (st == ATTN_OK)
        attn_block_add_positions(r, parts->embeddings.position, r->model->info.hidden_size, x);
    return st;
}

static attn_status forward(attn_run *r)
{
    size_t D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, r->T, D), *y = x ? attn_take_floats(r, r->T, D) : NULL;
    attn_status st = y ? embed(r, x) : ATTN_E_NOMEM;
    return st == ATTN_OK ? attn_decoder_layers(r, x, y) : st;
}

static attn_price price(const attn_model *m, const attn_plan *p)
{
    attn_price all = attn_decoder_price(m, p);
    return m->traits & PROJECTED ? attn_embed_and_project_price(m, p->T, all) : all;
}

static const char *const model_types[] = { "opt", NULL };
const attn_family attn_family_opt = ATTN_DECODER_FAMILY(model_types, "OPTModel", "model.", configure, price, forward);
