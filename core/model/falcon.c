/* falcon.c - Falcon (Almazrouei 2023): attention and feed-forward side by side, on one LayerNorm or one each, or one after the other; query, key and value
 * in one tensor, cut in three ways: one key for all queries, each head's together, or each key's with its queries.
 *
 * Positions are rotated, or ALiBi's (falcon-rw): slope * j, rounded to bfloat16, is added before the product is divided by sqrt(d). transformers 5, wherever it
 * returns attentions, adds it a second time, its mask having it in already; where it does not, once. What it returns is what is computed here.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/source.h"

#include <math.h>
#include <string.h>

enum {
    BIAS = ATTN_DECODER_TRAIT,
    SEQUENTIAL = ATTN_DECODER_TRAIT << 1,
    INPUT_NORM = ATTN_DECODER_TRAIT << 2,
    TWO_NORMS = ATTN_DECODER_TRAIT << 3,
    ALIBI = ATTN_DECODER_UNTIED << 1 /* no bind line asks for it */
};

#define PART               ATTN_DECODER_PART
#define LAYER              ATTN_DECODER_LAYER
#define D                  ATTN_DIM_HIDDEN
#define Q                  ATTN_DIM_QUERY
#define K                  ATTN_DIM_KEY
#define F                  ATTN_DIM_FEED
#define PANELS             ATTN_STORE_PANELS
#define FLOATS             ATTN_STORE_FLOATS
#define FLOATS_WHEN(trait) (ATTN_STORE_FLOATS | ATTN_WHEN(trait))
static const attn_bind binds[] = {
    { "word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "ln_f.weight", FLOATS, { D }, PART(last.gain) },
    { "ln_f.bias", FLOATS, { D }, PART(last.shift) },
    { "h.%zu.input_layernorm.weight", FLOATS_WHEN(INPUT_NORM), { D }, LAYER(attention_norm.gain) },
    { "h.%zu.input_layernorm.bias", FLOATS_WHEN(INPUT_NORM), { D }, LAYER(attention_norm.shift) },
    { "h.%zu.post_attention_layernorm.weight", FLOATS_WHEN(SEQUENTIAL), { D }, LAYER(feed_norm.gain) },
    { "h.%zu.post_attention_layernorm.bias", FLOATS_WHEN(SEQUENTIAL), { D }, LAYER(feed_norm.shift) },
    { "h.%zu.ln_attn.weight", FLOATS_WHEN(TWO_NORMS), { D }, LAYER(attention_norm.gain) },
    { "h.%zu.ln_attn.bias", FLOATS_WHEN(TWO_NORMS), { D }, LAYER(attention_norm.shift) },
    { "h.%zu.ln_mlp.weight", FLOATS_WHEN(TWO_NORMS), { D }, LAYER(feed_norm.gain) },
    { "h.%zu.ln_mlp.bias", FLOATS_WHEN(TWO_NORMS), { D }, LAYER(feed_norm.shift) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_QUERY, { Q, D }, LAYER(attention.query.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS_WHEN(BIAS) | ATTN_PART_QUERY, { Q }, LAYER(attention.query.bias) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_KEY, { K, D }, LAYER(attention.key.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS_WHEN(BIAS) | ATTN_PART_KEY, { K }, LAYER(attention.key.bias) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_VALUE, { K, D }, LAYER(attention.value.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS_WHEN(BIAS) | ATTN_PART_VALUE, { K }, LAYER(attention.value.bias) },
    { "h.%zu.self_attention.dense.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "h.%zu.self_attention.dense.bias", FLOATS_WHEN(BIAS), { D }, LAYER(attention.output.bias) },
    { "h.%zu.mlp.dense_h_to_4h.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "h.%zu.mlp.dense_h_to_4h.bias", FLOATS_WHEN(BIAS), { F }, LAYER(feed.up.bias) },
    { "h.%zu.mlp.dense_4h_to_h.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "h.%zu.mlp.dense_4h_to_h.bias", FLOATS_WHEN(BIAS), { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef K
#undef F

/* How key/value heads are counted, and how the fused tensor is cut. */
static void read_sharing(attn_model *m, attn_config *c, bool fresh)
{
    attn_model_info *i = &m->info;
    size_t H = i->num_attention_heads;
    bool multi_query = attn_config_flag_or(c, "multi_query", true);
    if (fresh && attn_config_has(c, "num_kv_heads"))
        i->num_key_value_heads = attn_config_heads(c, "num_kv_heads", "num_attention_heads", H);
    else if (!fresh && multi_query)
        i->num_key_value_heads = 1;
    attn_config_take(c, "num_kv_heads"); /* without the new architecture it means nothing */
    m->dims[ATTN_DIM_KEY] = i->num_key_value_heads * i->head_dim;
    m->dims[ATTN_DIM_GROUPS] = i->num_key_value_heads;
}

static void read_norms(attn_model *m, attn_config *c, bool fresh)
{
    bool parallel = attn_config_flag_or(c, "parallel_attn", true) || fresh;
    size_t norms = attn_config_size_or(c, "num_ln_in_parallel_attn", 1, 2, fresh ? 2 : 1);
    if (c->status == ATTN_OK && norms == 2 && !fresh)
        c->status = attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, "num_ln_in_parallel_attn").text, "is 2, which is for the new architecture only");
    m->traits = !parallel ? SEQUENTIAL | INPUT_NORM : ATTN_DECODER_PARALLEL | (norms == 2 ? TWO_NORMS : INPUT_NORM);
    if (attn_config_flag_or(c, "bias", false))
        m->traits |= BIAS;
}

static void configure(attn_model *m, attn_config *c)
{
    static const char *const rope_keys[] = { "rope_theta", "rope_scaling", "rope_parameters" };
    attn_decoder_keys keys = attn_llama_keys;
    keys.hidden_size = attn_config_has(c, "n_embed") ? "n_embed" : "hidden_size";
    keys.num_hidden_layers = attn_config_has(c, "n_layer") ? "n_layer" : "num_hidden_layers";
    keys.num_attention_heads = attn_config_has(c, "n_head") ? "n_head" : "num_attention_heads";
    keys.num_key_value_heads = NULL;
    keys.intermediate_size = "ffn_hidden_size";
    keys.norm_eps = "layer_norm_epsilon";
    keys.max_positions = attn_config_has(c, "max_position_embeddings") ? keys.max_positions : NULL;
    keys.act = attn_config_has(c, "activation") ? "activation" : NULL;
    m->act = ATTN_ACT_GELU;
    m->info.max_tokens = 2048;                                      /* where the file says nothing */
    attn_config_off(c, "apply_residual_connection_post_layernorm"); /* no published model has it */
    attn_config_take(c, "auto_map");                                /* first published with code beside the weights, for the same formula */
    bool fine = attn_decoder_configure(m, c, &keys, 4);
    attn_config_take(c, "hidden_size"); /* n_embed goes before it */
    if (!fine)
        return;
    bool fresh = attn_config_flag_or(c, "new_decoder_architecture", false);
    read_sharing(m, c, fresh);
    read_norms(m, c, fresh);
    attn_decoder_writes(m, c, true);
    if (!attn_config_flag_or(c, "alibi", false)) {
        attn_decoder_rotate_whole(m, c, 10000);
        return;
    }
    m->traits |= ALIBI;
    for (size_t i = 0; i < sizeof rope_keys / sizeof *rope_keys; i++)
        attn_config_take(c, rope_keys[i]);
}

/* ---- ALiBi -------------------------------------------------------------------------------------------------------------- */

enum { TIMES = 2 }; /* see the head of this file */

/* To the nearest bfloat16, ties to even; x is finite and far from the ends. */
static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static float alibi_at(const attn_run *r, float slope, size_t j, size_t counted)
{
    (void)j;
    return TIMES * rounded(rounded(slope) * rounded((float)counted)) / sqrtf((float)r->model->info.head_dim);
}

static attn_status forward(attn_run *r)
{
    return r->model->traits & ALIBI ? attn_decoder_forward_alibi(r, alibi_at) : attn_decoder_forward(r);
}

static attn_price price(const attn_model *m, const attn_plan *p)
{
    return m->traits & ALIBI ? attn_decoder_price_alibi(m, p) : attn_decoder_price(m, p);
}

static const char *const model_types[] = { "falcon", NULL };
const attn_family attn_family_falcon = ATTN_DECODER_FAMILY(model_types, "FalconModel", "transformer.", configure, price, forward);
