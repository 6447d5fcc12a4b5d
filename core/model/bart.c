/* bart.c - BART (Lewis 2019), and what has its layers: mBART (Liu 2020), whose norms come before what they are for; Marian (Junczys-Dowmunt 2018), whose
 * embeddings are not normed and whose positions are Vaswani's sinusoids, no tensor of the file.
 *
 * Marian's sinusoids are all sines, then all cosines: column c of D is sin(position / 10000^(2c/D)), and column ceil(D/2) + c the cosine of the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/seq2seq.h"

#include <math.h>

/* What a model with these names may have. */
enum {
    LEARNED = ATTN_SEQ2SEQ_TRAIT,     /* positions from a table, a norm behind the embeddings */
    SCALED = ATTN_SEQ2SEQ_TRAIT << 1, /* embeddings times sqrt(D) */
    SHARED = ATTN_SEQ2SEQ_TRAIT << 2, /* encoder and decoder have the same words */
    APART = ATTN_SEQ2SEQ_TRAIT << 3   /* or not */
};

#define PART   ATTN_SEQ2SEQ_PART
#define LAYER  ATTN_SEQ2SEQ_LAYER
#define D      ATTN_DIM_HIDDEN
#define PANELS ATTN_STORE_PANELS
#define FLOATS ATTN_STORE_FLOATS
#define WORDS  ATTN_STORE_TABLE
#define LINE(name, store, target, ...)                                                                                                                         \
    {                                                                                                                                                          \
        name, store, { __VA_ARGS__ }, target                                                                                                                   \
    }
#define NORM(name, flags, base, member)                                                                                                                        \
    LINE(name ".weight", FLOATS | (flags), base(member.gain), D), LINE(name ".bias", FLOATS | (flags), base(member.shift), D)
#define LINEAR(name, flags, rows, columns, member)                                                                                                             \
    LINE(name ".weight", PANELS | (flags), LAYER(member.w), rows, columns), LINE(name ".bias", FLOATS | (flags), LAYER(member.bias), rows)
#define ATTENTION(name, flags, member)                                                                                                                         \
    LINEAR(name ".q_proj", flags, D, D, member.query), LINEAR(name ".k_proj", flags, D, D, member.key), LINEAR(name ".v_proj", flags, D, D, member.value),     \
        LINEAR(name ".out_proj", flags, D, D, member.output)
#define STACK(name, part)                                                                                                                                      \
    LINE(name ".embed_positions.weight", FLOATS | ATTN_WHEN(LEARNED), PART(part.embeddings.position), ATTN_DIM_POSITION, D),                                   \
        NORM(name ".layernorm_embedding", ATTN_WHEN(LEARNED), PART, part.embeddings.norm),                                                                     \
        NORM(name ".layer_norm", ATTN_WHEN(ATTN_SEQ2SEQ_PRE_NORM), PART, part.last)
static const attn_bind binds[] = {
    { ATTN_SEQ2SEQ_ENCODER_WORDS, WORDS | ATTN_WHEN(SHARED), { ATTN_DIM_VOCAB, D }, PART(encoder.embeddings.word) },
    { ATTN_SEQ2SEQ_DECODER_WORDS, WORDS | ATTN_WHEN(SHARED), { ATTN_DIM_VOCAB, D }, PART(decoder.embeddings.word) },
    { "encoder.embed_tokens.weight", WORDS | ATTN_WHEN(APART), { ATTN_DIM_VOCAB, D }, PART(encoder.embeddings.word) },
    { "decoder.embed_tokens.weight", WORDS | ATTN_WHEN(APART), { ATTN_DIM_DECODER_VOCAB, D }, PART(decoder.embeddings.word) },
    { "lm_head.weight", WORDS | ATTN_OPTIONAL, { ATTN_DIM_DECODER_VOCAB, D }, PART(head.table) },
    { "final_logits_bias", FLOATS | ATTN_OPTIONAL, { ATTN_DIM_ONE, ATTN_DIM_DECODER_VOCAB }, PART(head.bias) },
    STACK("encoder", encoder),
    ATTENTION("encoder.layers.%zu.self_attn", 0, attention),
    NORM("encoder.layers.%zu.self_attn_layer_norm", 0, LAYER, attention_norm),
    LINEAR("encoder.layers.%zu.fc1", 0, ATTN_DIM_FEED, D, feed.up),
    LINEAR("encoder.layers.%zu.fc2", 0, D, ATTN_DIM_FEED, feed.down),
    NORM("encoder.layers.%zu.final_layer_norm", 0, LAYER, feed_norm),
    STACK("decoder", decoder),
    ATTENTION("decoder.layers.%zu.self_attn", ATTN_IN_DECODER, attention),
    NORM("decoder.layers.%zu.self_attn_layer_norm", ATTN_IN_DECODER, LAYER, attention_norm),
    ATTENTION("decoder.layers.%zu.encoder_attn", ATTN_IN_DECODER, cross),
    NORM("decoder.layers.%zu.encoder_attn_layer_norm", ATTN_IN_DECODER, LAYER, cross_norm),
    LINEAR("decoder.layers.%zu.fc1", ATTN_IN_DECODER, ATTN_DIM_DECODER_FEED, D, feed.up),
    LINEAR("decoder.layers.%zu.fc2", ATTN_IN_DECODER, D, ATTN_DIM_DECODER_FEED, feed.down),
    NORM("decoder.layers.%zu.final_layer_norm", ATTN_IN_DECODER, LAYER, feed_norm),
};
#undef D

enum { FIRST_POSITION = 2 }; /* row of the table of positions; those before are for no token */

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

static void read_sizes(attn_model *m, attn_config *c)
{
    attn_model_info *i = &m->info;
    size_t D = attn_config_size(c, "d_model", 1, ATTN_MAX_HIDDEN);
    i->hidden_size = m->dims[ATTN_DIM_HIDDEN] = m->dims[ATTN_DIM_QUERY] = D;
    i->num_hidden_layers = attn_config_size(c, "encoder_layers", 1, ATTN_MAX_LAYERS);
    i->num_attention_heads = i->num_key_value_heads = attn_config_heads(c, "encoder_attention_heads", "d_model", D);
    i->head_dim = D / i->num_attention_heads;
    i->vocab_size = m->dims[ATTN_DIM_VOCAB] = m->dims[ATTN_DIM_DECODER_VOCAB] = attn_config_size(c, "vocab_size", 1, ATTN_MAX_VOCAB);
    i->max_tokens = attn_config_size(c, "max_position_embeddings", 1, ATTN_MAX_POSITIONS);
    m->dims[ATTN_DIM_POSITION] = i->max_tokens + FIRST_POSITION;
    m->dims[ATTN_DIM_FEED] = attn_config_size(c, "encoder_ffn_dim", 1, ATTN_MAX_FEED);
    m->dims[ATTN_DIM_DECODER_FEED] = attn_config_size(c, "decoder_ffn_dim", 1, ATTN_MAX_FEED);
    attn_config_take(c, "num_hidden_layers"); /* the encoder's again */
}

/* The keys by which config.json chose among these formulas before each had a model_type of its own. */
static void check_switches(attn_model *m, attn_config *c)
{
    bool learned = m->traits & LEARNED, pre_norm = m->traits & ATTN_SEQ2SEQ_PRE_NORM;
    (learned ? attn_config_on : attn_config_off)(c, "normalize_embedding");
    (learned ? attn_config_off : attn_config_on)(c, "static_position_embeddings");
    (pre_norm ? attn_config_on : attn_config_off)(c, "normalize_before");
    (pre_norm ? attn_config_on : attn_config_off)(c, "add_final_layer_norm");
    attn_config_on(c, "is_encoder_decoder");
    attn_config_off(c, "is_decoder");
    attn_config_off(c, "add_cross_attention");
}

static void configure(attn_model *m, attn_config *c, unsigned traits)
{
    m->traits = traits;
    m->norm_eps = 1e-5f; /* in no config.json */
    read_sizes(m, c);
    m->act = attn_config_activation(c, "activation_function");
    if (attn_config_flag_or(c, "scale_embedding", false))
        m->traits |= SCALED;
    if (!attn_config_flag_or(c, "tie_word_embeddings", true))
        m->traits |= ATTN_SEQ2SEQ_UNTIED;
    check_switches(m, c);
    size_t layers = attn_config_size(c, "decoder_layers", 1, ATTN_MAX_LAYERS);
    size_t heads = attn_config_heads(c, "decoder_attention_heads", "d_model", m->info.hidden_size);
    if (attn_model_forms(m, c))
        (void)attn_seq2seq_decoder(m, c, layers, heads);
}

static void bart_configure(attn_model *m, attn_config *c)
{
    configure(m, c, LEARNED | SHARED);
}

static void mbart_configure(attn_model *m, attn_config *c)
{
    configure(m, c, LEARNED | SHARED | ATTN_SEQ2SEQ_PRE_NORM);
}

static void marian_configure(attn_model *m, attn_config *c)
{
    bool shared = attn_config_flag_or(c, "share_encoder_decoder_embeddings", true);
    configure(m, c, shared ? SHARED : APART);
    size_t words = attn_config_size_or(c, "decoder_vocab_size", 1, ATTN_MAX_VOCAB, m->info.vocab_size);
    m->dims[ATTN_DIM_DECODER_VOCAB] = shared ? m->info.vocab_size : words;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

enum { COLUMNS = 16 };

typedef struct sinusoids {
    float *x; /* [T, D] */
    size_t T, D, first;
} sinusoids;

static void add_columns(void *ctx, size_t block, int slot)
{
    const sinusoids *s = ctx;
    size_t sines = (s->D + 1) / 2, end = attn_least((block + 1) * COLUMNS, sines);
    (void)slot;
    for (size_t c = block * COLUMNS; c < end; c++) {
        double length = pow(10000, 2 * (double)c / (double)s->D);
        for (size_t t = 0; t < s->T; t++) {
            double angle = (double)(s->first + t) / length;
            s->x[t * s->D + c] += (float)sin(angle);
            if (sines + c < s->D)
                s->x[t * s->D + sines + c] += (float)cos(angle);
        }
    }
}

static attn_status start(attn_run *r, const attn_seq2seq_stack *stack, float *x)
{
    attn_embeddings e = stack->embeddings;
    size_t D = r->model->info.hidden_size;
    if (e.position)
        e.position += FIRST_POSITION * D;
    e.factor = r->model->traits & SCALED ? sqrtf((float)D) : 0;
    attn_status st = attn_block_embed(r, &e, x);
    sinusoids s = { x, r->T, D, r->past };
    if (st == ATTN_OK && !e.position)
        attn_parallel(r->runtime, attn_ceil_div(D, 2 * COLUMNS), add_columns, &s);
    return st;
}

static attn_status forward(attn_run *r)
{
    return attn_seq2seq_run(r, start);
}

static const char *const bart_types[] = { "bart", NULL }, *const mbart_types[] = { "mbart", NULL }, *const marian_types[] = { "marian", NULL };
const attn_family attn_family_bart = ATTN_SEQ2SEQ_FAMILY(bart_types, "BartModel", "model.", bart_configure, attn_seq2seq_cost, forward);
const attn_family attn_family_mbart = ATTN_SEQ2SEQ_FAMILY(mbart_types, "MBartModel", "model.", mbart_configure, attn_seq2seq_cost, forward);
const attn_family attn_family_marian = ATTN_SEQ2SEQ_FAMILY(marian_types, "MarianModel", "model.", marian_configure, attn_seq2seq_cost, forward);
