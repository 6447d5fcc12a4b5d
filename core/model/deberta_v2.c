/* deberta_v2.c - DeBERTa 2 and 3 (He 2021): BERT whose positions are not in its embeddings but meet content in every layer's scores.
 *
 *     score[i][j] = (q_i . k_j  +  q_i . K(b)  +  k_j . Q(b)) / sqrt(d * (1 + terms))            b = bucket(i - j)
 *
 * K and Q are keys and queries of embeddings of distances, made by the layer's own projections or by two more; either term may be missing. Near distances have a
 * bucket each, those beyond half of position_buckets share some by their logarithm; without buckets all have one up to max_relative_positions.
 * Both terms go by i - j, so a layer adds them up in a bias [H, T, T], of products with only those embeddings whose distances the text has.
 * Tokens that the mask hides see nothing either, and have embeddings of zeros.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/encoder_blocks.h"
#include "model/source.h"

#include <math.h>
#include <string.h>

/* What a model may have. Without OWN, distances are projected as tokens are. */
enum { RELATIVE = 2, KEYS = 4, QUERIES = 8, OWN = 16, NORM = 32, POSITIONS = 64, SEGMENTS = 128 };

#define PART               ATTN_ENCODER_PART
#define LAYER              ATTN_ENCODER_LAYER
#define D                  ATTN_DIM_HIDDEN
#define F                  ATTN_DIM_FEED
#define PANELS             ATTN_STORE_PANELS
#define FLOATS             ATTN_STORE_FLOATS
#define FLOATS_WHEN(trait) (ATTN_STORE_FLOATS | ATTN_WHEN(trait))
static const attn_bind binds[] = {
    { "embeddings.word_embeddings.weight", ATTN_STORE_TABLE, { ATTN_DIM_VOCAB, D }, PART(embeddings.word) },
    { "embeddings.position_embeddings.weight", FLOATS_WHEN(POSITIONS), { ATTN_DIM_POSITION, D }, PART(embeddings.position) },
    { "embeddings.token_type_embeddings.weight", FLOATS_WHEN(SEGMENTS), { ATTN_DIM_SEGMENT, D }, PART(embeddings.segment) },
    { "embeddings.LayerNorm.weight", FLOATS, { D }, PART(embeddings.norm.gain) },
    { "embeddings.LayerNorm.bias", FLOATS, { D }, PART(embeddings.norm.shift) },
    { "encoder.rel_embeddings.weight", FLOATS_WHEN(RELATIVE), { ATTN_DIM_BUCKETS, D }, PART(distance) },
    { "encoder.LayerNorm.weight", FLOATS_WHEN(NORM), { D }, PART(distance_norm.gain) },
    { "encoder.LayerNorm.bias", FLOATS_WHEN(NORM), { D }, PART(distance_norm.shift) },
    { "encoder.layer.%zu.attention.self.query_proj.weight", PANELS, { D, D }, LAYER(attention.query.w) },
    { "encoder.layer.%zu.attention.self.query_proj.bias", FLOATS, { D }, LAYER(attention.query.bias) },
    { "encoder.layer.%zu.attention.self.key_proj.weight", PANELS, { D, D }, LAYER(attention.key.w) },
    { "encoder.layer.%zu.attention.self.key_proj.bias", FLOATS, { D }, LAYER(attention.key.bias) },
    { "encoder.layer.%zu.attention.self.value_proj.weight", PANELS, { D, D }, LAYER(attention.value.w) },
    { "encoder.layer.%zu.attention.self.value_proj.bias", FLOATS, { D }, LAYER(attention.value.bias) },
    { "encoder.layer.%zu.attention.self.pos_key_proj.weight", PANELS | ATTN_WHEN(OWN | KEYS), { D, D }, LAYER(distance_key.w) },
    { "encoder.layer.%zu.attention.self.pos_key_proj.bias", FLOATS_WHEN(OWN | KEYS), { D }, LAYER(distance_key.bias) },
    { "encoder.layer.%zu.attention.self.pos_query_proj.weight", PANELS | ATTN_WHEN(OWN | QUERIES), { D, D }, LAYER(distance_query.w) },
    { "encoder.layer.%zu.attention.self.pos_query_proj.bias", FLOATS_WHEN(OWN | QUERIES), { D }, LAYER(distance_query.bias) },
    { "encoder.layer.%zu.attention.output.dense.weight", PANELS, { D, D }, LAYER(attention.output.w) },
    { "encoder.layer.%zu.attention.output.dense.bias", FLOATS, { D }, LAYER(attention.output.bias) },
    { "encoder.layer.%zu.attention.output.LayerNorm.weight", FLOATS, { D }, LAYER(attention_norm.gain) },
    { "encoder.layer.%zu.attention.output.LayerNorm.bias", FLOATS, { D }, LAYER(attention_norm.shift) },
    { "encoder.layer.%zu.intermediate.dense.weight", PANELS, { F, D }, LAYER(feed.up.w) },
    { "encoder.layer.%zu.intermediate.dense.bias", FLOATS, { F }, LAYER(feed.up.bias) },
    { "encoder.layer.%zu.output.dense.weight", PANELS, { D, F }, LAYER(feed.down.w) },
    { "encoder.layer.%zu.output.dense.bias", FLOATS, { D }, LAYER(feed.down.bias) },
    { "encoder.layer.%zu.output.LayerNorm.weight", FLOATS, { D }, LAYER(feed_norm.gain) },
    { "encoder.layer.%zu.output.LayerNorm.bias", FLOATS, { D }, LAYER(feed_norm.shift) },
};
#undef D
#undef F

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

/* pos_att_type: "p2c|c2p", or a list of the two. */
static unsigned read_terms(attn_config *c)
{
    static const attn_choice spelled[] = { { "p2c|c2p", KEYS | QUERIES }, { "c2p|p2c", KEYS | QUERIES }, { "c2p", KEYS }, { "p2c", QUERIES }, { NULL, 0 } };
    static const attn_choice listed[] = { { "c2p", KEYS }, { "p2c", QUERIES }, { NULL, 0 } };
    const char *key = "pos_att_type";
    int words[2] = { 0 };
    size_t n = attn_config_length(c, key);
    if (!attn_config_has(c, key))
        return 0;
    if (n == 0)
        return (unsigned)attn_config_choice(c, key, spelled);
    attn_config_words(c, key, listed, words, n < 2 ? 1 : 2);
    return (unsigned)(words[0] | words[1]);
}

/* A key whose absence, and any number below 1, means `otherwise`. */
static size_t positive_or(attn_config *c, const char *key, size_t otherwise)
{
    double x = attn_config_number_or(c, key, -1e9, ATTN_MAX_POSITIONS, 0);
    return x >= 1 ? (size_t)x : otherwise;
}

static void read_distances(attn_model *m, attn_config *c)
{
    static const attn_choice norms[] = { { "none", 0 }, { "layer_norm", NORM }, { NULL, 0 } };
    unsigned terms = read_terms(c);
    double parts = 1 + !!(terms & KEYS) + !!(terms & QUERIES);
    bool relative = attn_config_flag_or(c, "relative_attention", false), shared = attn_config_flag_or(c, "share_att_key", false);
    m->distance_reach = positive_or(c, "max_relative_positions", m->dims[ATTN_DIM_POSITION]);
    m->distance_buckets = positive_or(c, "position_buckets", 0);
    m->dims[ATTN_DIM_BUCKETS] = 2 * (m->distance_buckets ? m->distance_buckets : m->distance_reach);
    m->traits |= terms | (relative ? RELATIVE : 0) | (shared || !relative ? 0 : OWN);
    m->traits |= (unsigned)attn_config_choice_or_first(c, "norm_rel_ebd", norms);
    if (c->status == ATTN_OK && m->distance_buckets == 1)
        c->status = attn_fail(c->err, ATTN_E_FORMAT, attn_at(c->file, "position_buckets").text, "is 1, must be at least 2");
    if (c->status == ATTN_OK && m->distance_buckets / 2 + 1 >= m->distance_reach && m->distance_buckets > 0)
        c->status = attn_fail(c->err, ATTN_E_FORMAT, attn_at(c->file, "position_buckets").text, "is %zu, too many for the %zu of max_relative_positions",
                              m->distance_buckets, m->distance_reach);
    for (size_t l = 0; m->forms[ATTN_STACK_SELF] && l < m->info.num_hidden_layers; l++)
        m->forms[ATTN_STACK_SELF][l].rules.scale = (float)(1 / sqrt((double)m->info.head_dim * parts));
}

/* A size that may be there, and must then be what it is in the formula. */
static void fixed(attn_config *c, const char *key, size_t value)
{
    size_t given = attn_config_size_or(c, key, 0, ATTN_MAX_POSITIONS, value);
    if (c->status == ATTN_OK && given != value)
        c->status = attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, key).text, "is %zu, only %zu is supported", given, value);
}

static void configure(attn_model *m, attn_config *c)
{
    attn_encoder_configure_like_bert(m, c);
    size_t segments = attn_config_size_or(c, "type_vocab_size", 0, ATTN_MAX_SEGMENTS, 0);
    m->info.type_vocab_size = m->dims[ATTN_DIM_SEGMENT] = segments;
    m->traits = (segments > 0 ? SEGMENTS : 0) | (attn_config_flag_or(c, "position_biased_input", true) ? POSITIONS : 0);
    fixed(c, "conv_kernel_size", 0); /* the large ones of version 2 have a convolution beside layer 0 */
    fixed(c, "embedding_size", m->info.hidden_size);
    fixed(c, "attention_head_size", m->info.head_dim);
    read_distances(m, c);
}

/* ---- distances ---------------------------------------------------------------------------------------------------------- */

/* Row of the table of distances for i - j = n. */
static size_t row_of(const attn_model *m, ptrdiff_t n)
{
    double mid = (double)(m->distance_buckets / 2), far = fabs((double)n), bucket = far, most = (double)m->dims[ATTN_DIM_BUCKETS] - 1;
    if (m->distance_buckets > 0 && far > mid)
        bucket = ceil(log(far / mid) / log((double)(m->distance_reach - 1) / mid) * (mid - 1)) + mid;
    double row = (n < 0 ? -bucket : bucket) + (double)(m->dims[ATTN_DIM_BUCKETS] / 2);
    return (size_t)fmin(fmax(row, 0), most);
}

/* Of a run: embeddings of the distances that the text has, and whose each is. */
typedef struct distances {
    float *rows; /* [num, D] */
    size_t num;
    uint32_t *at; /* [2T - 1] row of i - j = n at n + T - 1 */
} distances;

static attn_status lay_out_distances(attn_run *r)
{
    const attn_encoder_parts *parts = r->model->parts;
    const attn_kernels *kernels = attn_runtime_table(r->runtime);
    size_t T = r->T, D = r->model->info.hidden_size, first = row_of(r->model, 1 - (ptrdiff_t)T);
    distances *d = attn_arena_take(r->arena, 1, sizeof *d);
    if (!d)
        return attn_fail_memory(r->err);
    d->num = row_of(r->model, (ptrdiff_t)T - 1) - first + 1;
    d->rows = attn_take_floats(r, d->num, D);
    d->at = d->rows ? attn_arena_take(r->arena, 2 * T - 1, sizeof *d->at) : NULL;
    if (!d->at)
        return d->rows ? attn_fail_memory(r->err) : ATTN_E_NOMEM;
    for (size_t n = 0; n < 2 * T - 1; n++)
        d->at[n] = (uint32_t)(row_of(r->model, (ptrdiff_t)n - (ptrdiff_t)(T - 1)) - first);
    memcpy(d->rows, parts->distance + first * D, d->num * D * sizeof *d->rows);
    for (size_t i = 0; i < d->num && parts->distance_norm.gain; i++)
        kernels->layer_norm_row(d->rows + i * D, d->rows + i * D, NULL, NULL, parts->distance_norm.gain, parts->distance_norm.shift, D, r->model->norm_eps);
    r->own = d;
    return ATTN_OK;
}

/* One of the two products with distances. */
typedef struct term {
    const attn_dense *w;        /* of distances, to be met by x; NULL: the model has no such term */
    const float *x;             /* [T, D]: queries or keys */
    float *projected, *product; /* [num, D] of all heads, [T, num] of one */
} term;

/* One head's bias. */
typedef struct gather {
    const float *by_query, *by_key; /* [T, num]; either may be NULL */
    const distances *distances;
    size_t T;
    float scale, *bias; /* [T, T] */
} gather;

static void gather_row(void *ctx, size_t i, int slot)
{
    const gather *g = ctx;
    size_t num = g->distances->num;
    const uint32_t *at = g->distances->at + i + g->T - 1;
    (void)slot;
    for (size_t j = 0; j < g->T; j++) {
        size_t row = at[-(ptrdiff_t)j];
        float sum = (g->by_query ? g->by_query[i * num + row] : 0) + (g->by_key ? g->by_key[j * num + row] : 0);
        g->bias[i * g->T + j] = g->scale * sum;
    }
}

static attn_status project(attn_run *r, term *t)
{
    const distances *d = r->own;
    size_t D = r->model->info.hidden_size;
    if (!t->w)
        return ATTN_OK;
    t->projected = attn_take_floats(r, d->num, D);
    t->product = t->projected ? attn_take_floats(r, r->T, d->num) : NULL;
    if (!t->product)
        return ATTN_E_NOMEM;
    return attn_linear(r->runtime, t->projected, D, d->rows, D, d->num, &t->w->w, t->w->bias, ATTN_ACT_NONE, r->arena, r->err);
}

static attn_status multiply_head(attn_run *r, const term *t, size_t h, float *panels)
{
    const distances *d = r->own;
    size_t D = r->model->info.hidden_size, width = r->model->info.head_dim;
    if (!t->w)
        return ATTN_OK;
    attn_gemm_pack(attn_runtime_gemm(r->runtime), panels, t->projected + h * width, d->num, width, (ptrdiff_t)D, 1);
    attn_panels w = { panels, d->num, width };
    return attn_linear(r->runtime, t->product, d->num, t->x + h * width, D, r->T, &w, NULL, ATTN_ACT_NONE, r->arena, r->err);
}

static attn_status make_bias(attn_run *r, size_t layer, term terms[2], float *bias)
{
    const distances *d = r->own;
    size_t T = r->T;
    float scale = r->model->forms[ATTN_STACK_SELF][layer].rules.scale;
    float *panels = attn_arena_take(r->arena, attn_gemm_panel_bytes(attn_runtime_gemm(r->runtime), d->num, r->model->info.head_dim), 1);
    attn_status st = panels ? project(r, &terms[0]) : attn_fail_memory(r->err);
    if (st == ATTN_OK)
        st = project(r, &terms[1]);
    for (size_t h = 0; h < r->model->info.num_attention_heads && st == ATTN_OK; h++) {
        gather g = { terms[0].product, terms[1].product, d, T, scale, bias + h * T * T };
        for (size_t i = 0; i < 2 && st == ATTN_OK; i++)
            st = multiply_head(r, &terms[i], h, panels);
        if (st == ATTN_OK)
            attn_parallel(r->runtime, T, gather_row, &g);
    }
    return st;
}

static size_t num_terms(const attn_model *m)
{
    return m->traits & RELATIVE ? (size_t) !!(m->traits & KEYS) + !!(m->traits & QUERIES) : 0;
}

static attn_status relate(attn_run *r, size_t layer, const float *query, const float *key)
{
    const attn_encoder_layer *w = (const attn_encoder_layer *)r->model->layers + layer;
    size_t T = r->T, H = r->model->info.num_attention_heads;
    unsigned traits = r->model->traits;
    if (num_terms(r->model) == 0)
        return ATTN_OK;
    term terms[2] = { { .w = traits & OWN ? &w->distance_key : &w->attention.key, .x = query },
                      { .w = traits & OWN ? &w->distance_query : &w->attention.query, .x = key } };
    terms[0].w = traits & KEYS ? terms[0].w : NULL;
    terms[1].w = traits & QUERIES ? terms[1].w : NULL;
    float *bias = attn_take_floats(r, H * T, T);
    if (!bias)
        return ATTN_E_NOMEM;
    attn_arena_mark mark = attn_arena_save(r->arena);
    attn_status st = make_bias(r, layer, terms, bias);
    attn_arena_rewind(r->arena, mark);
    r->stacks[ATTN_STACK_SELF].bias = (attn_bias){ .add = bias, .head_stride = (ptrdiff_t)(T * T), .query_stride = (ptrdiff_t)T, .key_stride = 1 };
    return st;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

/* Hidden tokens see nothing, and are nothing. */
static attn_status hide(attn_run *r, float *x)
{
    const uint8_t *seen = r->input->attention_mask;
    size_t T = r->T, D = r->model->info.hidden_size;
    uint8_t *keep = seen ? attn_arena_take(r->arena, T * T, 1) : NULL;
    if (!seen)
        return ATTN_OK;
    if (!keep)
        return attn_fail_memory(r->err);
    for (size_t i = 0; i < T; i++) {
        for (size_t j = 0; j < T; j++)
            keep[i * T + j] = seen[i] && seen[j];
        if (!seen[i])
            memset(x + i * D, 0, D * sizeof *x);
    }
    r->mask = (attn_mask){ .keep = keep, .query_stride = (ptrdiff_t)T, .key_stride = 1 };
    return ATTN_OK;
}

static attn_status forward(attn_run *r)
{
    const attn_encoder_parts *parts = r->model->parts;
    size_t T = r->T, D = r->model->info.hidden_size;
    float *x = attn_take_floats(r, T, D), *y = x ? attn_take_floats(r, T, D) : NULL;
    attn_status st = y ? attn_block_embed(r, &parts->embeddings, x) : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = hide(r, x);
    if (st == ATTN_OK && num_terms(r->model) > 0)
        st = lay_out_distances(r);
    return st == ATTN_OK ? attn_run_layers(r, attn_encoder_run_layer, x, y) : st;
}

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

static size_t distances_of(const attn_model *m, size_t T)
{
    return row_of(m, (ptrdiff_t)T - 1) - row_of(m, 1 - (ptrdiff_t)T) + 1;
}

static attn_layer_cost relate_price(const attn_model *m, size_t T)
{
    uint64_t terms = num_terms(m), D = m->info.hidden_size, num = distances_of(m, T);
    if (terms == 0)
        return (attn_layer_cost){ 0 };
    uint64_t by_distances = attn_linear_bytes(m->runtime, (size_t)num, (size_t)D), by_tokens = attn_linear_bytes(m->runtime, T, m->info.head_dim);
    attn_layer_cost cost = { .flops = attn_times(terms, attn_plus(2 * num * D * D, attn_times(2 * T * num, D))),
                             .held = attn_arena_bytes(m->info.num_attention_heads * T * T, sizeof(float)) };
    cost.working = attn_arena_bytes(attn_gemm_panel_bytes(attn_runtime_gemm(m->runtime), (size_t)num, m->info.head_dim), 1);
    cost.working += terms * (attn_arena_bytes(num * D, sizeof(float)) + attn_arena_bytes(T * num, sizeof(float)));
    cost.working += by_distances > by_tokens ? by_distances : by_tokens;
    return cost;
}

static attn_price price(const attn_model *m, const attn_plan *p)
{
    attn_price all = attn_encoder_price(m, p);
    uint64_t T = p->T, bytes = attn_arena_bytes(T * T, 1); /* a mask, if there is one */
    if (num_terms(m) > 0)
        bytes += attn_arena_bytes(1, sizeof(distances)) + attn_arena_bytes(distances_of(m, p->T) * m->info.hidden_size, sizeof(float)) +
                 attn_arena_bytes(2 * T - 1, sizeof(uint32_t));
    all.bytes = attn_plus(all.bytes, bytes);
    return all;
}

static const char *const model_types[] = { "deberta-v2", NULL };

const attn_family attn_family_deberta_v2 = {
    .model_types = model_types,
    .default_architecture = "DebertaV2Model",
    .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1,
    .parts_bytes = sizeof(attn_encoder_parts),
    .binds = { .prefix = "deberta.", .rows = binds, .num_rows = sizeof binds / sizeof *binds, .layer_bytes = sizeof(attn_encoder_layer) },
    .configure = configure,
    .price = price,
    .forward = forward,
    .relate = relate,
    .relate_price = relate_price,
};
