/* t5.c - T5 (Raffel 2020), its versions 1.0 and 1.1 (Flan and ByT5 among them), and mT5 (Xue 2021): no positions but what is added to the scores by distance,
 * which layer 0 of each stack holds for all; queries and keys are not scaled; norms without mean and shift.
 *
 * The distance j - i falls into one of the buckets. An encoder has half of them for each direction, a decoder, which looks back alone, has all for that one. Of n
 * buckets of a direction the first e = n / 2 are distances 0 .. e - 1; the others widen by powers up to max_distance, beyond which all is in the last:
 *     bucket = e + floor((n - e) * log(distance / e) / log(max_distance / e))
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/seq2seq.h"

#include <math.h>
#include <string.h>

enum { DECODES = ATTN_SEQ2SEQ_TRAIT, PLAIN = ATTN_SEQ2SEQ_TRAIT << 1 /* not gated */ };

#define PART        ATTN_SEQ2SEQ_PART
#define LAYER       ATTN_SEQ2SEQ_LAYER
#define D           ATTN_DIM_HIDDEN
#define Q           ATTN_DIM_QUERY
#define F           ATTN_DIM_FEED
#define PANELS      ATTN_STORE_PANELS
#define FLOATS      ATTN_STORE_FLOATS
#define WHEN_PLAIN  ATTN_WHEN(PLAIN)
#define WHEN_GATED  ATTN_WHEN(ATTN_SEQ2SEQ_GATED)
#define WHEN_WRITES ATTN_WHEN(DECODES)
#define LINE(name, store, target, ...)                                                                                                                         \
    {                                                                                                                                                          \
        name, store, { __VA_ARGS__ }, target                                                                                                                   \
    }
#define ATTENTION(name, flags, member)                                                                                                                         \
    LINE(name ".q.weight", PANELS | (flags), LAYER(member.query.w), Q, D), LINE(name ".k.weight", PANELS | (flags), LAYER(member.key.w), Q, D),                \
        LINE(name ".v.weight", PANELS | (flags), LAYER(member.value.w), Q, D), LINE(name ".o.weight", PANELS | (flags), LAYER(member.output.w), D, Q)
#define FEED(name, flags)                                                                                                                                      \
    LINE(name ".wi.weight", PANELS | WHEN_PLAIN | (flags), LAYER(feed.up.w), F, D),                                                                            \
        LINE(name ".wi_0.weight", PANELS | WHEN_GATED | (flags), LAYER(feed.gate.w), F, D),                                                                    \
        LINE(name ".wi_1.weight", PANELS | WHEN_GATED | (flags), LAYER(feed.up.w), F, D), LINE(name ".wo.weight", PANELS | (flags), LAYER(feed.down.w), D, F)
#define DISTANCE(stack) stack ".block.0.layer.0.SelfAttention.relative_attention_bias.weight"
static const attn_bind binds[] = {
    { ATTN_SEQ2SEQ_ENCODER_WORDS, ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(encoder.embeddings.word) },
    { ATTN_SEQ2SEQ_DECODER_WORDS, ATTN_STORE_TABLE | WHEN_WRITES, { ATTN_DIM_VOCAB, D }, PART(decoder.embeddings.word) },
    { DISTANCE("encoder"), FLOATS, { ATTN_DIM_BUCKETS, ATTN_DIM_HEADS }, PART(encoder.distance) },
    { "encoder.final_layer_norm.weight", FLOATS, { D }, PART(encoder.last.gain) },
    { "encoder.block.%zu.layer.0.layer_norm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    ATTENTION("encoder.block.%zu.layer.0.SelfAttention", 0, attention),
    { "encoder.block.%zu.layer.1.layer_norm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    FEED("encoder.block.%zu.layer.1.DenseReluDense", 0),
    { DISTANCE("decoder"), FLOATS | WHEN_WRITES, { ATTN_DIM_BUCKETS, ATTN_DIM_HEADS }, PART(decoder.distance) },
    { "decoder.final_layer_norm.weight", FLOATS | WHEN_WRITES, { D }, PART(decoder.last.gain) },
    { "lm_head.weight", ATTN_STORE_TABLE | ATTN_OPTIONAL | WHEN_WRITES, { ATTN_DIM_VOCAB, D }, PART(head.table) },
    { "decoder.block.%zu.layer.0.layer_norm.weight", FLOATS | ATTN_IN_DECODER, { D }, LAYER(attention_norm.gain) },
    ATTENTION("decoder.block.%zu.layer.0.SelfAttention", ATTN_IN_DECODER, attention),
    { "decoder.block.%zu.layer.1.layer_norm.weight", FLOATS | ATTN_IN_DECODER, { D }, LAYER(cross_norm.gain) },
    ATTENTION("decoder.block.%zu.layer.1.EncDecAttention", ATTN_IN_DECODER, cross),
    { "decoder.block.%zu.layer.2.layer_norm.weight", FLOATS | ATTN_IN_DECODER, { D }, LAYER(feed_norm.gain) },
    FEED("decoder.block.%zu.layer.2.DenseReluDense", ATTN_IN_DECODER),
};
#undef D
#undef Q
#undef F

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

/* "gated-gelu" has always meant the form by tanh. */
static void read_feed(attn_model *m, attn_config *c, const char *otherwise)
{
    enum { GATED = 256 };
    static const attn_choice forms[] = { { "relu", ATTN_ACT_RELU },
                                         { "gelu", ATTN_ACT_GELU },
                                         { "gelu_new", ATTN_ACT_GELU_TANH },
                                         { "silu", ATTN_ACT_SILU },
                                         { "gated-relu", GATED | ATTN_ACT_RELU },
                                         { "gated-gelu", GATED | ATTN_ACT_GELU_TANH },
                                         { "gated-gelu_new", GATED | ATTN_ACT_GELU_TANH },
                                         { "gated-silu", GATED | ATTN_ACT_SILU },
                                         { NULL, 0 } };
    const attn_choice *first = forms;
    while (strcmp(first->name, otherwise) != 0)
        first++;
    int form = attn_config_has(c, "feed_forward_proj") ? attn_config_choice(c, "feed_forward_proj", forms) : first->value;
    m->act = (attn_activation)(form % GATED);
    if (attn_config_has(c, "dense_act_fn")) /* the same once more, and it would count */
        m->act = attn_config_activation(c, "dense_act_fn");
    m->traits |= attn_config_flag_or(c, "is_gated_act", form & GATED) ? ATTN_SEQ2SEQ_GATED : PLAIN;
}

static void read_sizes(attn_model *m, attn_config *c)
{
    attn_model_info *i = &m->info;
    i->hidden_size = m->dims[ATTN_DIM_HIDDEN] = attn_config_size(c, "d_model", 1, ATTN_MAX_HIDDEN);
    i->num_hidden_layers = attn_config_size(c, "num_layers", 1, ATTN_MAX_LAYERS);
    i->num_attention_heads = i->num_key_value_heads = m->dims[ATTN_DIM_HEADS] = attn_config_size(c, "num_heads", 1, ATTN_MAX_HEADS);
    i->head_dim = attn_config_size(c, "d_kv", 1, ATTN_MAX_HIDDEN / i->num_attention_heads);
    m->dims[ATTN_DIM_QUERY] = i->num_attention_heads * i->head_dim;
    m->dims[ATTN_DIM_FEED] = m->dims[ATTN_DIM_DECODER_FEED] = attn_config_size(c, "d_ff", 1, ATTN_MAX_FEED);
    i->vocab_size = m->dims[ATTN_DIM_VOCAB] = m->dims[ATTN_DIM_DECODER_VOCAB] = attn_config_size(c, "vocab_size", 1, ATTN_MAX_VOCAB);
    i->max_tokens = attn_config_size_or(c, "n_positions", 1, ATTN_MAX_POSITIONS, 512); /* what it was trained on: distances know no end */
    size_t buckets = attn_config_size_or(c, "relative_attention_num_buckets", 4, ATTN_MAX_FEED, 32);
    m->dims[ATTN_DIM_BUCKETS] = buckets;
    m->max_distance = attn_config_size_or(c, "relative_attention_max_distance", buckets / 2 + 1, ATTN_MAX_POSITIONS, 128);
}

/* Files with the encoder alone say so by architecture, whatever is_encoder_decoder is. */
static bool has_decoder(const attn_model *m, attn_config *c)
{
    static const char end[] = "EncoderModel";
    size_t length = strlen(m->architecture), tail = sizeof end - 1;
    return attn_config_flag_or(c, "is_encoder_decoder", true) && !(length >= tail && strcmp(m->architecture + length - tail, end) == 0);
}

static void configure(attn_model *m, attn_config *c, const char *feed)
{
    m->norm_kind = ATTN_NORM_RMS;
    m->traits = ATTN_SEQ2SEQ_PRE_NORM;
    m->norm_eps = (float)attn_config_number(c, "layer_norm_epsilon", 1e-30, 1);
    read_sizes(m, c);
    read_feed(m, c, feed);
    attn_config_off(c, "is_decoder");
    attn_config_take(c, "tie_word_embeddings"); /* the file has a head of its own or has not, and how logits are scaled changes no choice */
    attn_config_take(c, "scale_decoder_outputs");
    size_t layers = attn_config_size_or(c, "num_decoder_layers", 1, ATTN_MAX_LAYERS, m->info.num_hidden_layers);
    bool fine = attn_model_forms(m, c);
    if (has_decoder(m, c)) {
        m->traits |= DECODES;
        fine = fine && attn_seq2seq_decoder(m, c, layers, m->info.num_attention_heads);
    }
    for (size_t s = 0; s < ATTN_STACKS && fine; s++)
        for (size_t l = 0; m->forms[s] && l < attn_model_shape(m, (attn_stack)s).num_layers; l++)
            m->forms[s][l].rules.scale = 1;
}

static void t5_configure(attn_model *m, attn_config *c)
{
    configure(m, c, "relu");
}

static void mt5_configure(attn_model *m, attn_config *c)
{
    configure(m, c, "gated-gelu");
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

/* Of `buckets` for one direction. Where the logarithm is a whole number but for its rounding, it is that number. */
static size_t bucket_of(size_t distance, size_t buckets, size_t max_distance)
{
    size_t exact = buckets / 2;
    if (distance < exact)
        return distance;
    double share = log((double)distance / (double)exact) / log((double)max_distance / (double)exact);
    double bucket = floor((double)(buckets - exact) * share + 1e-9);
    return attn_least(exact + (size_t)bucket, buckets - 1);
}

/* The bucket of a key that stands `back` before its query, or `ahead` behind it. */
static size_t bucket_at(const attn_run *r, size_t back, size_t ahead)
{
    size_t buckets = r->model->dims[ATTN_DIM_BUCKETS], max_distance = r->model->max_distance;
    if (r->stack == ATTN_STACK_DECODER)
        return bucket_of(back, buckets, max_distance);
    return (ahead > 0 ? buckets / 2 : 0) + bucket_of(back + ahead, buckets / 2, max_distance);
}

/* [H, T_q + T_k - 1]: from the last row's first key to the first row's last. */
static attn_status lay_out_bias(attn_run *r, const attn_seq2seq_stack *stack)
{
    attn_stack_run *own = &r->stacks[r->stack];
    size_t H = r->model->info.num_attention_heads, span = own->T_q + own->T_k - 1, here = own->past + own->T_q - 1;
    float *bias = attn_take_floats(r, H, span);
    if (!bias)
        return ATTN_E_NOMEM;
    for (size_t at = 0; at < span; at++) { /* at = j - i + here */
        size_t bucket = bucket_at(r, at < here ? here - at : 0, at > here ? at - here : 0);
        for (size_t h = 0; h < H; h++)
            bias[h * span + at] = stack->distance[bucket * H + h];
    }
    own->bias = (attn_bias){ .add = bias + (own->T_q - 1), .head_stride = (ptrdiff_t)span, .query_stride = -1, .key_stride = 1 };
    return ATTN_OK;
}

static attn_status start(attn_run *r, const attn_seq2seq_stack *stack, float *x)
{
    attn_status st = lay_out_bias(r, stack);
    return st == ATTN_OK ? attn_block_embed(r, &stack->embeddings, x) : st;
}

static attn_status forward(attn_run *r)
{
    return attn_seq2seq_run(r, start);
}

static attn_price price(const attn_model *m, const attn_plan *p)
{
    attn_price all = attn_seq2seq_cost(m, p);
    for (size_t s = ATTN_STACK_SELF; s <= ATTN_STACK_DECODER; s++) {
        uint64_t span = (uint64_t)p->stacks[s].T_q + p->stacks[s].T_k; /* and one to spare */
        if (p->stacks[s].num_layers > 0)
            all.bytes = attn_plus(all.bytes, attn_arena_bytes(attn_times(m->info.num_attention_heads, span), sizeof(float)));
    }
    return all;
}

static const char *const t5_types[] = { "t5", NULL }, *const mt5_types[] = { "mt5", NULL };
const attn_family attn_family_t5 = ATTN_SEQ2SEQ_FAMILY(t5_types, "T5Model", "", t5_configure, price, forward);
const attn_family attn_family_mt5 = ATTN_SEQ2SEQ_FAMILY(mt5_types, "MT5Model", "", mt5_configure, price, forward);
