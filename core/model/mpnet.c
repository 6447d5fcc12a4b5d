/* mpnet.c - MPNet (Song 2020): BERT without segments, positions counted as RoBERTa's, and a bias by distance added to the scores of every layer.
 *
 * The distance j - i falls into one of 32 buckets, 16 for each direction (Raffel 2020): 0 to 7 exactly, then two for each doubling, all from 128 / sqrt(2) on in
 * the last. The bias of head h is distance[bucket][h]; it is the same for all layers, so it is laid out once a run, [H, 2T - 1].
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"

#define PART  ATTN_ENCODER_PART
#define LAYER ATTN_ENCODER_LAYER
#define D     ATTN_DIM_HIDDEN
#define F     ATTN_DIM_FEED
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    { "embeddings.position_embeddings.weight", ATTN_STORE_FLOATS, { ATTN_DIM_POSITION, D }, PART(embeddings.position) },
    { "embeddings.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, PART(embeddings.norm.gain) },
    { "embeddings.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, PART(embeddings.norm.shift) },
    { "encoder.relative_attention_bias.weight", ATTN_STORE_FLOATS, { ATTN_DIM_BUCKETS, ATTN_DIM_HEADS }, PART(distance) },
    { "encoder.layer.%zu.attention.attn.q.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.query.w) },
    { "encoder.layer.%zu.attention.attn.q.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.query.bias) },
    { "encoder.layer.%zu.attention.attn.k.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.key.w) },
    { "encoder.layer.%zu.attention.attn.k.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.key.bias) },
    { "encoder.layer.%zu.attention.attn.v.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.value.w) },
    { "encoder.layer.%zu.attention.attn.v.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.value.bias) },
    { "encoder.layer.%zu.attention.attn.o.weight", ATTN_STORE_PANELS, { D, D }, LAYER(attention.output.w) },
    { "encoder.layer.%zu.attention.attn.o.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention.output.bias) },
    { "encoder.layer.%zu.attention.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.gain) },
    { "encoder.layer.%zu.attention.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(attention_norm.shift) },
    { "encoder.layer.%zu.intermediate.dense.weight", ATTN_STORE_PANELS, { F, D }, LAYER(feed.up.w) },
    { "encoder.layer.%zu.intermediate.dense.bias", ATTN_STORE_FLOATS, { F }, LAYER(feed.up.bias) },
    { "encoder.layer.%zu.output.dense.weight", ATTN_STORE_PANELS, { D, F }, LAYER(feed.down.w) },
    { "encoder.layer.%zu.output.dense.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed.down.bias) },
    { "encoder.layer.%zu.output.LayerNorm.weight", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.gain) },
    { "encoder.layer.%zu.output.LayerNorm.bias", ATTN_STORE_FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef F

enum { BUCKETS = 32, SIDE = BUCKETS / 2, EXACT = SIDE / 2, PADDING_ID = 1 };

static void configure(attn_model *m, attn_config *c)
{
    attn_encoder_configure_like_bert(m, c);
    attn_encoder_count_from(m, c, PADDING_ID); /* whatever pad_token_id is */
    m->dims[ATTN_DIM_BUCKETS] = attn_config_size(c, "relative_attention_num_buckets", BUCKETS, BUCKETS);
    m->dims[ATTN_DIM_HEADS] = m->info.num_attention_heads;
}

/* Of n keys away: EXACT + floor(2 log2(n / EXACT)), in whole numbers. */
static size_t bucket_of(size_t n)
{
    size_t bucket = EXACT;
    if (n < EXACT)
        return n;
    for (uint64_t end = 2 * EXACT * EXACT; bucket < SIDE - 1 && (uint64_t)n * n >= end; end *= 2)
        bucket++;
    return bucket;
}

static uint64_t bias_count(const attn_model *m, size_t T)
{
    return (uint64_t)m->info.num_attention_heads * (2 * (uint64_t)T - 1);
}

static attn_status lay_out_bias(attn_run *r)
{
    const attn_encoder_parts *parts = r->model->parts;
    size_t H = r->model->info.num_attention_heads, T = r->T, span = 2 * T - 1;
    float *bias = attn_take_floats(r, H, span);
    if (!bias)
        return ATTN_E_NOMEM;
    for (size_t at = 0; at < span; at++) { /* at = j - i + T - 1 */
        size_t bucket = at < T ? bucket_of(T - 1 - at) : SIDE + bucket_of(at - (T - 1));
        for (size_t h = 0; h < H; h++)
            bias[h * span + at] = parts->distance[bucket * H + h];
    }
    r->stacks[ATTN_STACK_SELF].bias = (attn_bias){ .add = bias + (T - 1), .head_stride = (ptrdiff_t)span, .query_stride = -1, .key_stride = 1 };
    return ATTN_OK;
}

static attn_price mpnet_price(const attn_model *m, const attn_plan *p)
{
    attn_price price = attn_encoder_price(m, p);
    price.bytes = attn_plus(price.bytes, attn_arena_bytes(bias_count(m, p->T), sizeof(float)));
    return price;
}

static attn_status forward(attn_run *r)
{
    attn_status st = lay_out_bias(r);
    return st == ATTN_OK ? attn_encoder_forward(r) : st;
}

static const char *const model_types[] = { "mpnet", NULL };

const attn_family attn_family_mpnet = ATTN_ENCODER_FAMILY(model_types, "MPNetModel", "mpnet.", configure, mpnet_price, forward);
