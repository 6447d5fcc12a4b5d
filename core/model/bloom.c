/* bloom.c - BLOOM (Scao 2022): no positions but ALiBi (Press 2022), a LayerNorm behind the embeddings, query, key and value of each head together in one tensor.
 *
 * slope[h] * j is added to the scores, j counting the tokens that are not padding; the paper's slope[h] * (j - i) differs by what is the same in all of a row.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
static const attn_bind binds[] = {
    { "word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "word_embeddings_layernorm.weight", FLOATS, { D }, PART(embeddings.norm.gain) },
    { "word_embeddings_layernorm.bias", FLOATS, { D }, PART(embeddings.norm.shift) },
    { "ln_f.weight", FLOATS, { D }, PART(last.gain) },
    { "ln_f.bias", FLOATS, { D }, PART(last.shift) },
    { "h.%zu.input_layernorm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "h.%zu.input_layernorm.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_QUERY, { ATTN_DIM_QUERY, D }, LAYER(attention.query.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS | ATTN_PART_QUERY, { ATTN_DIM_QUERY }, LAYER(attention.query.bias) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_KEY, { ATTN_DIM_KEY, D }, LAYER(attention.key.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS | ATTN_PART_KEY, { ATTN_DIM_KEY }, LAYER(attention.key.bias) },
    { "h.%zu.self_attention.query_key_value.weight", PANELS | ATTN_PART_VALUE, { ATTN_DIM_KEY, D }, LAYER(attention.value.w) },
    { "h.%zu.self_attention.query_key_value.bias", FLOATS | ATTN_PART_VALUE, { ATTN_DIM_KEY }, LAYER(attention.value.bias) },
    { "h.%zu.self_attention.dense.weight", PANELS, { D, ATTN_DIM_QUERY }, LAYER(attention.output.w) },
    { "h.%zu.self_attention.dense.bias", FLOATS, { D }, LAYER(attention.output.bias) },
    { "h.%zu.post_attention_layernorm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "h.%zu.post_attention_layernorm.bias", FLOATS, { D }, LAYER(feed_norm.shift) },
    { "h.%zu.mlp.dense_h_to_4h.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "h.%zu.mlp.dense_h_to_4h.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "h.%zu.mlp.dense_4h_to_h.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "h.%zu.mlp.dense_4h_to_h.bias", FLOATS, { D }, LAYER(feed.down.bias) },
};
#undef D
#undef F

static void configure(attn_model *m, attn_config *c)
{
    attn_decoder_keys keys = { attn_config_has(c, "n_embed") ? "n_embed" : "hidden_size",
                               attn_config_has(c, "num_hidden_layers") ? "num_hidden_layers" : "n_layer",
                               attn_config_has(c, "num_attention_heads") ? "num_attention_heads" : "n_head",
                               NULL,
                               NULL,
                               NULL,
                               NULL,
                               "layer_norm_epsilon" };
    m->act = ATTN_ACT_GELU_TANH;
    attn_config_off(c, "apply_residual_connection_post_layernorm");                         /* no published model has it */
    m->info.max_tokens = attn_config_size_or(c, "seq_length", 1, ATTN_MAX_POSITIONS, 2048); /* what it was trained on: ALiBi knows no end */
    bool fine = attn_decoder_configure(m, c, &keys, 4);
    attn_config_take(c, "hidden_size"); /* n_embed goes before it */
    if (fine)
        m->dims[ATTN_DIM_GROUPS] = m->info.num_attention_heads;
    attn_decoder_writes(m, c, true);
}

static float alibi_at(const attn_run *r, float slope, size_t j, size_t counted)
{
    (void)r, (void)j;
    return slope * (float)counted;
}

static attn_status forward(attn_run *r)
{
    return attn_decoder_forward_alibi(r, alibi_at);
}

static const char *const model_types[] = { "bloom", NULL };
const attn_family attn_family_bloom = ATTN_DECODER_FAMILY(model_types, "BloomModel", "transformer.", configure, attn_decoder_price_alibi, forward);
