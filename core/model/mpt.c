/* mpt.c - MPT (MosaicML 2023): no positions but ALiBi (Press 2022), no biases, not even in LayerNorms; query, key and value side by side in one tensor.
 *
 * slope[h] * (j - (T_k - 1)) is added to the scores: the last key gets nothing. Padding counts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

#define PART   ATTN_DECODER_PART
#define LAYER  ATTN_DECODER_LAYER
#define D      ATTN_DIM_HIDDEN
#define Q      ATTN_DIM_QUERY
#define F      ATTN_DIM_FEED
#define PANELS ATTN_STORE_PANELS
static const attn_bind binds[] = {
    { "wte.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "norm_f.weight", ATTN_STORE_FLOATS, { D }, PART(last.gain) },
    { "blocks.%zu.norm_1.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "blocks.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_QUERY, { Q, D }, LAYER(attention.query.w) },
    { "blocks.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_KEY, { Q, D }, LAYER(attention.key.w) },
    { "blocks.%zu.attn.Wqkv.weight", PANELS | ATTN_PART_VALUE, { Q, D }, LAYER(attention.value.w) },
    { "blocks.%zu.attn.out_proj.weight", PANELS, { D, Q }, LAYER(attention.output.w) },
    { "blocks.%zu.norm_2.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "blocks.%zu.ffn.up_proj.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "blocks.%zu.ffn.down_proj.weight", PANELS, { D, F }, LAYER(feed.down.w) },
};
#undef D
#undef Q
#undef F

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

/* Keys that any section may have, and that say nothing of attention. */
static void take_keys_of_any_section(attn_config *c)
{
    static const char *const keys[] = { "attn_impl",
                                        "attn_pdrop",
                                        "_name_or_path",
                                        "architectures",
                                        "chunk_size_feed_forward",
                                        "dtype",
                                        "torch_dtype",
                                        "id2label",
                                        "label2id",
                                        "model_type",
                                        "output_attentions",
                                        "problem_type",
                                        "return_dict",
                                        "use_bfloat16",
                                        "output_hidden_states",
                                        "transformers_version",
                                        NULL };
    for (const char *const *key = keys; *key; key++)
        attn_config_take(c, *key);
}

static void read_attention(attn_model *m, attn_config *c)
{
    static const attn_choice types[] = { { "multihead_attention", 0 }, { NULL, 0 } };
    attn_config one;
    if (!attn_config_enter(c, "attn_config", &one))
        return;
    attn_config_choice_or_first(&one, "attn_type", types);
    attn_config_on(&one, "alibi");
    (void)attn_config_size_or(&one, "alibi_bias_max", 8, 8, 8); /* which transformers does not read */
    m->clip = (float)attn_config_number_or(&one, "clip_qkv", 0, 1e30, 0);
    attn_config_off(&one, "qk_ln");
    attn_config_off(&one, "prefix_lm");
    attn_config_off(&one, "attn_uses_sequence_id");
    attn_config_off(&one, "is_encoder_decoder");
    double scale = attn_config_number_or(&one, "softmax_scale", 1e-6, 1e6, 0);
    take_keys_of_any_section(&one);
    attn_config_leave(c, &one);
    for (size_t l = 0; scale > 0 && l < m->info.num_hidden_layers; l++)
        m->forms[ATTN_STACK_SELF][l].rules.scale = (float)scale;
}

static void configure(attn_model *m, attn_config *c)
{
    static const attn_choice norms[] = { { "low_precision_layernorm", 0 }, { "layernorm", 0 }, { NULL, 0 } };
    static const attn_decoder_keys keys = { "d_model", "n_layers", "n_heads", NULL, NULL, "max_seq_len", NULL, NULL };
    m->act = ATTN_ACT_GELU;
    m->norm_eps = (float)attn_config_number_or(c, "layer_norm_epsilon", 1e-30, 1, 1e-5);
    attn_config_choice_or_first(c, "norm_type", norms);
    attn_config_on(c, "no_bias");
    attn_config_take(c, "auto_map");        /* first published with code beside the weights, for the same formula */
    attn_config_take(c, "learned_pos_emb"); /* which ALiBi takes the place of */
    if (!attn_decoder_configure(m, c, &keys, 4))
        return;
    read_attention(m, c);
    attn_decoder_writes(m, c, true);
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static float alibi_at(const attn_run *r, float slope, size_t j, size_t counted)
{
    (void)counted;
    return slope * ((float)j - (float)(r->stacks[ATTN_STACK_SELF].T_k - 1));
}

static attn_status forward(attn_run *r)
{
    return attn_decoder_forward_alibi(r, alibi_at);
}

static const char *const model_types[] = { "mpt", NULL };
const attn_family attn_family_mpt = ATTN_DECODER_FAMILY(model_types, "MptModel", "transformer.", configure, attn_decoder_price_alibi, forward);
