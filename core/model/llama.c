/* llama.c - Llama 1 to 3 (Touvron 2023, Dubey 2024), and what is Llama but for a few switches: Mistral (Jiang 2023), whose layers see a window; Qwen 2 (Yang
 * 2024), with biases on query, key and value, and windows from some layer on; Qwen 3 (2025), which norms each head's queries and keys; SmolLM 3 (2025), some of
 * whose layers do not rotate.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/causal.h"

/* What a model with these names may have. */
enum { QKV_BIAS = ATTN_DECODER_TRAIT, OUTPUT_BIAS = ATTN_DECODER_TRAIT << 1, FEED_BIAS = ATTN_DECODER_TRAIT << 2, QK_NORM = ATTN_DECODER_TRAIT << 3 };

#define PART               ATTN_DECODER_PART
#define LAYER              ATTN_DECODER_LAYER
#define D                  ATTN_DIM_HIDDEN
#define Q                  ATTN_DIM_QUERY
#define K                  ATTN_DIM_KEY
#define F                  ATTN_DIM_FEED
#define FLOATS_WHEN(trait) (ATTN_STORE_FLOATS | ATTN_WHEN(trait))
static const attn_bind binds[] = {
    { "embed_tokens.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    ATTN_DECODER_HEAD("lm_head.weight"),
    { "norm.weight", ATTN_STORE_FLOATS, { D }, PART(last.gain) },
    { "layers.%zu.input_layernorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "layers.%zu.self_attn.q_proj.weight", ATTN_STORE_PANELS, { Q, D }, LAYER(attention.query.w) },
    { "layers.%zu.self_attn.q_proj.bias", FLOATS_WHEN(QKV_BIAS), { Q }, LAYER(attention.query.bias) },
    { "layers.%zu.self_attn.k_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.key.w) },
    { "layers.%zu.self_attn.k_proj.bias", FLOATS_WHEN(QKV_BIAS), { K }, LAYER(attention.key.bias) },
    { "layers.%zu.self_attn.v_proj.weight", ATTN_STORE_PANELS, { K, D }, LAYER(attention.value.w) },
    { "layers.%zu.self_attn.v_proj.bias", FLOATS_WHEN(QKV_BIAS), { K }, LAYER(attention.value.bias) },
    { "layers.%zu.self_attn.q_norm.weight", FLOATS_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.query_norm.gain) },
    { "layers.%zu.self_attn.k_norm.weight", FLOATS_WHEN(QK_NORM), { ATTN_DIM_HEAD }, LAYER(attention.key_norm.gain) },
    { "layers.%zu.self_attn.o_proj.weight", ATTN_STORE_PANELS, { D, Q }, LAYER(attention.output.w) },
    { "layers.%zu.self_attn.o_proj.bias", FLOATS_WHEN(OUTPUT_BIAS), { D }, LAYER(attention.output.bias) },
    { "layers.%zu.post_attention_layernorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "layers.%zu.mlp.gate_proj.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.gate.w) },
    { "layers.%zu.mlp.gate_proj.bias", FLOATS_WHEN(FEED_BIAS), { F }, LAYER(feed.gate.bias) },
    { "layers.%zu.mlp.up_proj.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "layers.%zu.mlp.up_proj.bias", FLOATS_WHEN(FEED_BIAS), { F }, LAYER(feed.up.bias) },
    { "layers.%zu.mlp.down_proj.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "layers.%zu.mlp.down_proj.bias", FLOATS_WHEN(FEED_BIAS), { D }, LAYER(feed.down.bias) },
};
#undef D
#undef Q
#undef K
#undef F
/* ---- config.json -------------------------------------------------------------------------------------------------------- */

static bool configure(attn_model *m, attn_config *c, double theta, bool tied)
{
    m->norm_kind = ATTN_NORM_RMS;
    m->traits = ATTN_DECODER_GATED;
    if (!attn_decoder_configure(m, c, &attn_llama_keys, 0))
        return false;
    attn_decoder_rotate_whole(m, c, theta);
    attn_decoder_writes(m, c, tied);
    return true;
}

static void read_attention_bias(attn_model *m, attn_config *c)
{
    if (attn_config_flag_or(c, "attention_bias", false))
        m->traits |= QKV_BIAS | OUTPUT_BIAS;
}

static void read_biases(attn_model *m, attn_config *c)
{
    read_attention_bias(m, c);
    if (attn_config_flag_or(c, "mlp_bias", false))
        m->traits |= FEED_BIAS;
}

static void llama_configure(attn_model *m, attn_config *c)
{
    if (configure(m, c, 10000, false))
        read_biases(m, c);
}

static void mistral_configure(attn_model *m, attn_config *c)
{
    if (!configure(m, c, 10000, false))
        return;
    attn_config_off(c, "layer_types"); /* a Ministral's */
    attn_decoder_windows(m, c, attn_decoder_window(c), NULL, 0);
}

static bool from_layer(size_t layer, size_t number)
{
    return layer >= number;
}

/* use_sliding_window switches sliding_window and max_window_layers on. */
static void read_qwen_windows(attn_model *m, attn_config *c)
{
    bool slides = attn_config_flag_or(c, "use_sliding_window", false);
    size_t window = slides ? attn_decoder_window(c) : 0;
    size_t first = attn_config_size_or(c, "max_window_layers", 0, ATTN_MAX_LAYERS, 28);
    attn_config_take(c, "sliding_window");
    attn_decoder_windows(m, c, window, from_layer, first);
}

static void qwen2_configure(attn_model *m, attn_config *c)
{
    if (!configure(m, c, 10000, false))
        return;
    m->traits |= QKV_BIAS;
    read_qwen_windows(m, c);
}

static void qwen3_configure(attn_model *m, attn_config *c)
{
    if (!configure(m, c, 10000, false))
        return;
    m->traits |= QK_NORM;
    read_attention_bias(m, c);
    read_qwen_windows(m, c);
}

/* ---- the families ------------------------------------------------------------------------------------------------------- */

/* no_rope_layers is 1 where a layer does rotate, and windows are where it does not. */
static void smollm3_configure(attn_model *m, attn_config *c)
{
    double rotates[ATTN_MAX_LAYERS];
    if (!configure(m, c, 2e6, true))
        return;
    size_t L = m->info.num_hidden_layers, every = attn_config_size_or(c, "no_rope_layer_interval", 1, ATTN_MAX_LAYERS, 4);
    for (size_t l = 0; l < L; l++)
        rotates[l] = (l + 1) % every != 0;
    if (attn_config_has(c, "no_rope_layers"))
        attn_config_numbers(c, "no_rope_layers", 0, 1, rotates, L);
    for (size_t l = 0; l < L; l++)
        if (rotates[l] == 0)
            m->forms[ATTN_STACK_SELF][l].rope = NULL;
    attn_config_off(c, "use_sliding_window"); /* published models have none */
    attn_decoder_windows(m, c, 0, NULL, 0);
    read_biases(m, c);
}

static const char *const llama_types[] = { "llama", NULL }, *const mistral_types[] = { "mistral", NULL }, *const qwen2_types[] = { "qwen2", NULL },
                         *const qwen3_types[] = { "qwen3", NULL }, *const smollm3_types[] = { "smollm3", NULL };
#define FAMILY(types, architecture, reader) ATTN_DECODER_FAMILY(types, architecture, "model.", reader, attn_decoder_price, attn_decoder_forward)
const attn_family attn_family_llama = FAMILY(llama_types, "LlamaModel", llama_configure);
const attn_family attn_family_mistral = FAMILY(mistral_types, "MistralModel", mistral_configure);
const attn_family attn_family_qwen2 = FAMILY(qwen2_types, "Qwen2Model", qwen2_configure);
const attn_family attn_family_qwen3 = FAMILY(qwen3_types, "Qwen3Model", qwen3_configure);
const attn_family attn_family_smollm3 = FAMILY(smollm3_types, "SmolLM3Model", smollm3_configure);
