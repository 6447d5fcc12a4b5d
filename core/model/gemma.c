/* gemma.c - Gemma 1 to 3, the text models (Gemma Team 2024, 2025). Against Llama: embeddings times sqrt(D), gains that lie in the file less 1, GELU. Gemma 2 caps
 * scores and norms what attention and feed-forward give, too; Gemma 3 norms each head's queries and keys in place of the cap, and rotates windowed layers by
 * angles of their own. Of both, some layers see a window.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"
#include "model/source.h"

#include <math.h>

enum { SANDWICH = ATTN_DECODER_TRAIT, PLAIN_NORMS = ATTN_DECODER_TRAIT << 1, QK_NORM = ATTN_DECODER_TRAIT << 2 };

#define PART  ATTN_DECODER_PART
#define LAYER ATTN_DECODER_LAYER
#define D     ATTN_DIM_HIDDEN
#define Q     ATTN_DIM_QUERY
#define K     ATTN_DIM_KEY
#define F     ATTN_DIM_FEED
#define GAIN  (ATTN_STORE_FLOATS | ATTN_STORE_PLUS_ONE)
static const attn_bind binds[] = {
    { "embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "norm.weight", GAIN, { D }, PART(last.gain) },
    { "layers.%zu.input_layernorm.weight", GAIN, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.self_attn.q_proj.weight", ATTN_STORE_PANELS, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.self_attn.k_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.self_attn.v_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.self_attn.o_proj.weight", ATTN_STORE_PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.self_attn.q_norm.weight", GAIN | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.query_norm.gain) },
    { "layers.%zu.self_attn.k_norm.weight", GAIN | ATTN_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.key_norm.gain) },
    { "layers.%zu.post_attention_layernorm.weight", GAIN | ATTN_WHEN(PLAIN_NORMS), { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.post_attention_layernorm.weight", GAIN | ATTN_WHEN(SANDWICH), { D }, LAYER(attention_after.gain) },
    { "layers.%zu.pre_feedforward_layernorm.weight", GAIN | ATTN_WHEN(SANDWICH), { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.post_feedforward_layernorm.weight", GAIN | ATTN_WHEN(SANDWICH), { D }, LAYER(feed_after.gain) },
    { "layers.%zu.mlp.gate_proj.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.gate.w) },
    { "layers.%zu.mlp.up_proj.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.down_proj.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
};
#undef D
#undef Q
#undef K
#undef F

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

static bool configure(attn_model *m, attn_config *c, const char *act, unsigned traits)
{
    attn_decoder_keys keys = attn_llama_keys;
    keys.act = act;
    if (!attn_config_has(c, "head_dim")) /* it is 256, whatever D / H may be */
        (void)attn_config_size(c, "head_dim", 1, ATTN_MAX_HIDDEN);
    attn_config_off(c, "attention_bias");
    attn_config_off(c, "use_bidirectional_attention");
    m->norm_kind = ATTN_NORM_RMS;
    m->traits = ATTN_DECODER_GATED | traits;
    attn_decoder_writes(m, c, true);
    return attn_decoder_configure(m, c, &keys, 0);
}

static void gemma_configure(attn_model *m, attn_config *c)
{
    static const attn_choice tanh_only[] = { { "gelu_pytorch_tanh", 0 }, { NULL, 0 } };
    if (!configure(m, c, "hidden_act", PLAIN_NORMS))
        return;
    attn_config_choice_or_first(c, "hidden_activation", tanh_only);
    if (m->act == ATTN_ACT_GELU) /* as first published; the tanh form was meant */
        m->act = ATTN_ACT_GELU_TANH;
    attn_decoder_rotate_whole(m, c, 10000);
}

static bool not_every(size_t layer, size_t number)
{
    return (layer + 1) % number != 0;
}

/* What 2 and 3 have in common: the scale, the cap (0: none where the file says nothing), the windows. */
static void read_scores(attn_model *m, attn_config *c, double cap, size_t pattern)
{
    double scalar = attn_config_number_or(c, "query_pre_attn_scalar", 1e-6, 1e9, 256);
    cap = attn_config_number_or(c, "attn_logit_softcapping", 1e-6, 1e9, attn_config_is_null(c, "attn_logit_softcapping") ? 0 : cap);
    attn_decoder_windows(m, c, attn_decoder_window(c), not_every, pattern);
    for (size_t l = 0; l < m->info.num_hidden_layers; l++) {
        m->forms[ATTN_STACK_SELF][l].rules.scale = (float)(1 / sqrt(scalar));
        m->forms[ATTN_STACK_SELF][l].rules.softcap = (float)cap;
    }
}

static void gemma2_configure(attn_model *m, attn_config *c)
{
    if (!configure(m, c, "hidden_activation", SANDWICH))
        return;
    attn_decoder_rotate_whole(m, c, 10000);
    read_scores(m, c, 50, 2);
}

static void gemma3_configure(attn_model *m, attn_config *c)
{
    if (!configure(m, c, "hidden_activation", SANDWICH | QK_NORM))
        return;
    read_scores(m, c, 0, attn_config_size_or(c, "sliding_window_pattern", 1, ATTN_MAX_LAYERS, 6));
    attn_config_take(c, "_sliding_window_pattern"); /* what layer_types was made of */
    double full = attn_config_number_or(c, "rope_theta", 1.001, 1e15, 1e6), windowed = attn_config_number_or(c, "rope_local_base_freq", 1.001, 1e15, 1e4);
    attn_rope_configure_both(m->ropes, c, &(attn_rope_sections){ m->info.head_dim, m->info.max_tokens, { full, windowed } });
    for (size_t l = 0; l < m->info.num_hidden_layers; l++)
        m->forms[ATTN_STACK_SELF][l].rope = &m->ropes[m->forms[ATTN_STACK_SELF][l].rules.left_window_size >= 0];
}

/* ---- the families ------------------------------------------------------------------------------------------------------- */

static attn_status forward(attn_run *r)
{
    return attn_decoder_forward_scaled(r, (float)sqrt((double)r->model->info.hidden_size));
}

static const char *const gemma_types[] = { "gemma", NULL }, *const gemma2_types[] = { "gemma2", NULL }, *const gemma3_types[] = { "gemma3_text", NULL };
const attn_family attn_family_gemma = ATTN_DECODER_FAMILY(gemma_types, "GemmaModel", "model.", gemma_configure, attn_decoder_price, forward);
const attn_family attn_family_gemma2 = ATTN_DECODER_FAMILY(gemma2_types, "Gemma2Model", "model.", gemma2_configure, attn_decoder_price, forward);
const attn_family attn_family_gemma3 = ATTN_DECODER_FAMILY(gemma3_types, "Gemma3TextModel", "model.", gemma3_configure, attn_decoder_price, forward);
