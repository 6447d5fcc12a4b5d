/* test_attention.c - the fast attention against the plain one in double, and what is promised of its bits, errors and memory.
 *
 * Maps and contexts of one layer are within 1e-6 of float64. Scores are sums of up to 70 products that may be 50 times larger than their sum, so theirs
 * is 4e-6 of max(1, |score|). The norms that weights are multiplied with are below 1, so weighted norms are as exact as weights.
 * Bits depend on neither threads nor blocks nor on what else is kept: each of those is a test of its own, as each has its own way to break.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "attention_case.h"
#include "math/gemm.h"
#include "unit.h"

enum { RANDOM_CASES = 100 };

typedef struct results { /* of one case, in memory of their own */
    float *attentions, *scores, *raw_scores, *weighted_norms, *context;
    float *norms;         /* [H, T_k], the same for every case of a shape */
    size_t maps, vectors; /* floats in each map, in context */
} results;

static float *nan_floats(size_t n)
{
    float *x = malloc(n * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n; i++)
        x[i] = NAN; /* whatever is not written shows */
    return x;
}

static results results_new(const attn_operator_input *in)
{
    results r = { .maps = in->num_attention_heads * in->T_q * in->T_k, .vectors = in->num_attention_heads * in->T_q * in->value_dim };
    r.attentions = nan_floats(r.maps);
    r.scores = nan_floats(r.maps);
    r.raw_scores = nan_floats(r.maps);
    r.weighted_norms = nan_floats(r.maps);
    r.context = nan_floats(r.vectors);
    r.norms = nan_floats(in->num_attention_heads * in->T_k);
    for (size_t n = 0; n < in->num_attention_heads * in->T_k; n++)
        r.norms[n] = (float)(n * 37 % 101) / 101.0f;
    return r;
}

static void results_free(results *r)
{
    free(r->attentions);
    free(r->scores);
    free(r->raw_scores);
    free(r->weighted_norms);
    free(r->context);
    free(r->norms);
}

/* Contexts side by side, as models lay them. */
static attn_attention_out out_of(const attn_operator_input *in, const results *r)
{
    return (attn_attention_out){ .attentions = r->attentions,
                                 .scores = r->scores,
                                 .raw_scores = r->raw_scores,
                                 .weighted_norms = r->weighted_norms,
                                 .transformed_norms = r->norms,
                                 .context = r->context,
                                 .context_head_stride = (ptrdiff_t)in->value_dim,
                                 .context_row_stride = (ptrdiff_t)(in->num_attention_heads * in->value_dim) };
}

static attn_runtime *runtime_new(int table, int threads)
{
    attn_runtime *runtime = NULL;
    attn_runtime_options options = { .threads = threads, .kernels = attn_kernels_all()[table]->name };
    ck_assert_int_eq(attn_runtime_new(&runtime, &options, NULL), ATTN_OK);
    attn_runtime_enter(runtime);
    return runtime;
}

static void runtime_free(attn_runtime *runtime)
{
    attn_runtime_leave(runtime);
    attn_runtime_free(runtime);
}

/* Runs; the arena must be where it was, and within its price. */
static attn_status attend(attn_runtime *runtime, const attn_operator_input *in, const attn_attention_out *out, attn_cancel *cancel, attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_status status = attn_attention(runtime, in, out, arena, cancel, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_attention_bytes(runtime, in, out) + CASE_RED_ZONES);
    attn_arena_free(arena);
    return status;
}

static void attend_well(attn_runtime *runtime, const attn_operator_input *in, const results *r)
{
    attn_attention_out out = out_of(in, r);
    attn_error err = { 0 };
    ck_assert_msg(attend(runtime, in, &out, NULL, &err) == ATTN_OK, "%s: %s", err.where, err.text);
}

/* ---- against float64 ---------------------------------------------------------------------------------------------------- */

typedef struct worst {
    double weight, weighted_norm, context, score, row_sum;
} worst;

/* No assertion for each number: Check writes a file at every one of them. */
static void raise_to(double *most, double value)
{
    *most = fmax(*most, isnan(value) ? INFINITY : value);
}

static void compare_scores(const float *mine, const float *theirs, size_t n, worst *w)
{
    for (size_t i = 0; i < n; i++)
        if (mine[i] != theirs[i]) /* a hidden one must be -infinity exactly */
            raise_to(&w->score, fabs((double)mine[i] - (double)theirs[i]) / (isinf(theirs[i]) ? 1.0 : fmax(1.0, fabs((double)theirs[i]))));
}

/* A hidden key weighs exactly nothing; a row is a distribution, or nothing at all. */
static void compare_row(const float *mine, const float *theirs, const float *scores, size_t T_k, worst *w)
{
    double sum = 0.0;
    size_t visible = 0, wrong = 0;
    for (size_t j = 0; j < T_k; j++) {
        bool hidden = scores[j] == -INFINITY;
        sum += (double)mine[j];
        raise_to(&w->weight, fabs((double)mine[j] - (double)theirs[j]));
        visible += !hidden;
        wrong += mine[j] < 0.0f || (hidden && (mine[j] != 0.0f || signbit(mine[j])));
    }
    raise_to(&w->row_sum, fabs(sum - (visible > 0 ? 1.0 : 0.0)));
    ck_assert(wrong == 0 && (visible > 0 || sum == 0.0));
}

static void compare(const attn_operator_input *in, const results *mine, const results *theirs, worst *w)
{
    compare_scores(mine->scores, theirs->scores, mine->maps, w);
    compare_scores(mine->raw_scores, theirs->raw_scores, mine->maps, w);
    for (size_t row = 0; row < mine->maps; row += in->T_k)
        compare_row(mine->attentions + row, theirs->attentions + row, theirs->scores + row, in->T_k, w);
    for (size_t i = 0; i < mine->maps; i++)
        raise_to(&w->weighted_norm, fabs((double)mine->weighted_norms[i] - (double)theirs->weighted_norms[i]));
    for (size_t i = 0; i < mine->vectors; i++)
        raise_to(&w->context, fabs((double)mine->context[i] - (double)theirs->context[i]));
}

/* Every table this CPU runs, and how far it was off. */
typedef struct contest {
    int tables;
    attn_runtime *runtime[8];
    worst off[8];
} contest;

static contest contest_new(void)
{
    contest all = { 0 };
    for (; attn_kernels_all()[all.tables]; all.tables++)
        all.runtime[all.tables] = runtime_new(all.tables, 2);
    return all;
}

static void contest_case(contest *all, const attn_operator_input *in)
{
    results mine = results_new(in), theirs = results_new(in);
    attn_attention_out out = out_of(in, &theirs);
    attn_attention_reference(in, &out);
    for (int table = 0; table < all->tables; table++) {
        attend_well(all->runtime[table], in, &mine);
        compare(in, &mine, &theirs, &all->off[table]);
    }
    results_free(&mine);
    results_free(&theirs);
}

static void contest_end(contest *all, const char *what)
{
    for (int table = 0; table < all->tables; table++) {
        const worst *w = &all->off[table];
        printf("%s, %s: worst weight %.2g, weighted norm %.2g, context %.2g, score %.2g, row sum %.2g\n", attn_kernels_all()[table]->name, what, w->weight,
               w->weighted_norm, w->context, w->score, w->row_sum);
        ck_assert_double_le(w->weight, 1e-6);
        ck_assert_double_le(w->weighted_norm, 1e-6);
        ck_assert_double_le(w->context, 1e-6);
        ck_assert_double_le(w->score, 4e-6);
        ck_assert_double_le(w->row_sum, 1e-6);
        runtime_free(all->runtime[table]);
    }
}

START_TEST(maps_and_contexts_are_within_a_millionth_of_float64)
{
    contest all = contest_new();
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (int n = 0; n < RANDOM_CASES; n++) {
        attention_case c = case_any(&state);
        contest_case(&all, &c.in);
        case_free(&c);
    }
    contest_end(&all, "any rules");
}
END_TEST

/* Values are summed 512 keys at a time, and stretches that a block does not see are left out. 41 rows of such lengths are two blocks. */
START_TEST(rows_longer_than_a_chunk_are_as_exact)
{
    static const size_t lengths[] = { 511, 513, 1024, 1537 };
    static const int64_t windows[] = { -1, 0, 100, 700 };
    contest all = contest_new();
    uint64_t state = 0xd1b54a32d192ed03u;
    for (size_t n = 0; n < 16; n++) {
        attention_case c = case_plain(&state, 2, 1, 41, lengths[n / 4], 3, 2);
        c.in.rules.is_causal = n % 2 == 0;
        c.in.rules.query_offset = (int64_t)(n % 4 * 350);
        c.in.rules.left_window_size = windows[n % 4];
        c.in.rules.right_window_size = windows[(n + 1) % 4];
        contest_case(&all, &c.in);
        case_free(&c);
    }
    contest_end(&all, "long rows");
}
END_TEST

/* A query a million keys further on sees biases of 500,000, at which float32 knows no thirty-second; weights hold because only differences enter. */
START_TEST(alibi_keeps_its_precision_for_far_queries)
{
    contest all = contest_new();
    uint64_t state = 7;
    for (int64_t offset = -1000000; offset <= 1000000; offset += 500000) {
        attention_case c = case_plain(&state, 4, 4, 9, 33, 16, 8);
        case_alibi(&c);
        c.in.rules.query_offset = offset;
        contest_case(&all, &c.in);
        case_free(&c);
    }
    contest_end(&all, "far queries");
}
END_TEST

/* ---- rows that are looked at ---------------------------------------------------------------------------------------------- */

/* Those analyses that need no list. */
static attn_analyst plain_analyst(const attn_operator_input *in)
{
    attn_analyses wanted = ATTN_HEAD_ANALYSES & ~(ATTN_TOKEN_ANALYSES | ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS) | ATTN_ANALYSIS_BIT(ATTN_MEAN_DISTANCE));
    return (attn_analyst){ .wanted = wanted, .T_q = in->T_q, .T_k = in->T_k, .query_offset = in->rules.query_offset };
}

/* Sums of a head, against the same rows of its finished map [T_q, T_k] added one after the other. */
static void check_sums(const attn_operator_input *in, const float *map, const attn_analyst *analyst, const attn_row_sums *sums)
{
    attn_row_sums plain = { 0 };
    for (size_t i = 0; i < in->T_q; i++) {
        attn_range seen = attn_visible_keys(&in->rules, i, in->T_k);
        if (seen.lo < seen.hi)
            attn_analyse_row(analyst, attn_kernels_find("ref"), i, map + i * in->T_k, seen, &plain);
    }
    for (int a = 0; a < ATTN_NUM_HEAD_ANALYSES; a++) {
        ck_assert_uint_eq(sums->rows[a], plain.rows[a]);
        ck_assert_double_le(fabs(sums->sum[a] - plain.sum[a]), 1e-6 * ((double)in->T_q + plain.sum[a]));
    }
}

/* ---- bits --------------------------------------------------------------------------------------------------------------- */

static void check_same_bits(const results *a, const results *b)
{
    ck_assert_mem_eq(a->attentions, b->attentions, a->maps * sizeof(float));
    ck_assert_mem_eq(a->scores, b->scores, a->maps * sizeof(float));
    ck_assert_mem_eq(a->raw_scores, b->raw_scores, a->maps * sizeof(float));
    ck_assert_mem_eq(a->weighted_norms, b->weighted_norms, a->maps * sizeof(float));
    ck_assert_mem_eq(a->context, b->context, a->vectors * sizeof(float));
}

START_TEST(bits_do_not_depend_on_the_number_of_threads)
{
    attn_runtime *one = runtime_new(_i, 1), *two = runtime_new(_i, 2), *five = runtime_new(_i, 5);
    uint64_t state = 11;
    for (int n = 0; n < 12; n++) {
        attention_case c = n < 8 ? case_any(&state) : case_plain(&state, 6, 3, 150, 600, 32, 40);
        c.in.rules.is_causal |= n % 2;
        results a = results_new(&c.in), b = results_new(&c.in), e = results_new(&c.in);
        attend_well(one, &c.in, &a);
        attend_well(two, &c.in, &b);
        attend_well(five, &c.in, &e);
        check_same_bits(&a, &b);
        check_same_bits(&a, &e);
        results_free(&a);
        results_free(&b);
        results_free(&e);
        case_free(&c);
    }
    runtime_free(one);
    runtime_free(two);
    runtime_free(five);
}
END_TEST

START_TEST(sums_over_rows_have_the_same_bits_for_any_number_of_threads)
{
    attn_runtime *one = runtime_new(_i, 1), *five = runtime_new(_i, 5);
    uint64_t state = 12;
    for (int n = 0; n < 8; n++) {
        attention_case c = n < 6 ? case_any(&state) : case_plain(&state, 6, 3, 333, 200, 8, 8);
        attn_analyst analyst = plain_analyst(&c.in);
        attn_row_sums a[CASE_HEADS], b[CASE_HEADS];
        attn_attention_out out = { .analyst = &analyst, .sums = a };
        ck_assert_int_eq(attend(one, &c.in, &out, NULL, NULL), ATTN_OK);
        out.sums = b;
        ck_assert_int_eq(attend(five, &c.in, &out, NULL, NULL), ATTN_OK);
        ck_assert_mem_eq(a, b, c.in.num_attention_heads * sizeof *a);
        case_free(&c);
    }
    runtime_free(one);
    runtime_free(five);
}
END_TEST

static attn_operator_input single_row(const attn_operator_input *in, size_t i)
{
    attn_operator_input row = *in;
    row.T_q = 1;
    row.query.data += (ptrdiff_t)i * in->query.row_stride;
    row.rules.query_offset += (int64_t)i;
    if (in->rules.mask.add)
        row.rules.mask.add += (ptrdiff_t)i * in->rules.mask.query_stride;
    if (in->rules.mask.keep)
        row.rules.mask.keep += (ptrdiff_t)i * in->rules.mask.query_stride;
    return row;
}

static void check_single_row(attn_runtime *runtime, const attn_operator_input *in, const results *whole, size_t i)
{
    attn_operator_input row = single_row(in, i);
    results alone = results_new(&row);
    attend_well(runtime, &row, &alone);
    for (size_t h = 0; h < in->num_attention_heads; h++) {
        size_t at = (h * in->T_q + i) * in->T_k, bytes = in->T_k * sizeof(float);
        ck_assert_mem_eq(whole->attentions + at, alone.attentions + h * in->T_k, bytes);
        ck_assert_mem_eq(whole->scores + at, alone.scores + h * in->T_k, bytes);
        ck_assert_mem_eq(whole->raw_scores + at, alone.raw_scores + h * in->T_k, bytes);
    }
    size_t vectors = in->num_attention_heads * in->value_dim;
    ck_assert_mem_eq(whole->context + i * vectors, alone.context, vectors * sizeof(float));
    results_free(&alone);
}

START_TEST(a_row_is_the_same_alone_as_among_others)
{
    attn_runtime *runtime = runtime_new(_i, 1);
    uint64_t state = 13;
    for (int n = 0; n < 10; n++) {
        attention_case c = n < 7 ? case_any(&state) : case_plain(&state, 2, 1, 75, 1100, 8, 9);
        if (n >= 7) {
            c.in.rules.left_window_size = 300 * (n - 6);
            c.in.rules.query_offset = 400;
            c.in.rules.is_causal = true;
        }
        if (c.in.rules.query_offset > INT64_MAX - 100)
            c.in.rules.query_offset = 0; /* offset + i must fit to be an offset itself */
        results whole = results_new(&c.in);
        attend_well(runtime, &c.in, &whole);
        for (size_t i = 0; i < c.in.T_q; i++)
            check_single_row(runtime, &c.in, &whole, i);
        results_free(&whole);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

/* Maps are made in different memory, over different stretches of keys, depending on what is kept: five outputs, and rows shown to an analyst (64). Kept heads:
 * every second one, in reverse. */
enum { SOME_CONTEXTS = 16, ALL_KEPT = 32, ANALYSED = 64, SUBSETS = 256 };

static void check_subset(attn_runtime *runtime, const attn_operator_input *in, const results *all, unsigned kept_outputs)
{
    size_t H = in->num_attention_heads, kept = 0, map = in->T_q * in->T_k;
    int32_t slot[CASE_HEADS];
    for (size_t h = H; h-- > 0;)
        slot[h] = h % 2 == 0 || kept_outputs & ALL_KEPT ? (int32_t)kept++ : -1;
    results some = results_new(in);
    attn_attention_out out = out_of(in, &some);
    out.slot = slot;
    out.context_of_kept = kept_outputs & SOME_CONTEXTS;
    out.attentions = kept_outputs & 1 ? out.attentions : NULL;
    out.scores = kept_outputs & 2 ? out.scores : NULL;
    out.raw_scores = kept_outputs & 4 ? out.raw_scores : NULL;
    out.context = kept_outputs & 8 ? out.context : NULL;
    out.weighted_norms = kept_outputs & 128 ? out.weighted_norms : NULL;
    attn_row_sums sums[CASE_HEADS];
    attn_analyst analyst = plain_analyst(in);
    out.analyst = kept_outputs & ANALYSED ? &analyst : NULL;
    out.sums = sums;
    ck_assert_int_eq(attend(runtime, in, &out, NULL, NULL), ATTN_OK);
    for (size_t h = 0; h < H; h++) {
        size_t mine = (slot[h] < 0 ? 0 : (size_t)slot[h]) * map, bytes = map * sizeof(float);
        ck_assert(slot[h] < 0 || !out.attentions || memcmp(some.attentions + mine, all->attentions + h * map, bytes) == 0);
        ck_assert(slot[h] < 0 || !out.scores || memcmp(some.scores + mine, all->scores + h * map, bytes) == 0);
        ck_assert(slot[h] < 0 || !out.raw_scores || memcmp(some.raw_scores + mine, all->raw_scores + h * map, bytes) == 0);
        ck_assert(slot[h] < 0 || !out.weighted_norms || memcmp(some.weighted_norms + mine, all->weighted_norms + h * map, bytes) == 0);
        if (slot[h] >= 0 && out.analyst)
            check_sums(in, all->attentions + h * map, &analyst, &sums[slot[h]]);
        size_t place = out.context_of_kept ? (size_t)slot[h] : h, row = H * in->value_dim;
        for (size_t i = 0; i < in->T_q && out.context && !(out.context_of_kept && slot[h] < 0); i++)
            ck_assert_mem_eq(some.context + i * row + place * in->value_dim, all->context + i * row + h * in->value_dim, in->value_dim * sizeof(float));
    }
    results_free(&some);
}

START_TEST(bits_do_not_depend_on_what_else_is_kept)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 17;
    for (int n = 0; n < 6; n++) {
        attention_case c = n < 4 ? case_any(&state) : case_plain(&state, 3, 1, 40, 700, 8, 9);
        c.in.rules.left_window_size = n >= 4 ? 80 : c.in.rules.left_window_size;
        results all = results_new(&c.in);
        attend_well(runtime, &c.in, &all);
        for (unsigned kept_outputs = 0; kept_outputs < SUBSETS; kept_outputs++)
            check_subset(runtime, &c.in, &all, kept_outputs);
        results_free(&all);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

/* ---- pooled maps ---------------------------------------------------------------------------------------------------------- */

/* Maps in bins against float64; what bins cannot give (contexts when queries are chosen, sums over rows) has the bits it has without them. */
static void check_pooled(attn_runtime *runtime, const attn_operator_input *in, const attn_pool *pool)
{
    attn_analyst analyst = plain_analyst(in);
    attn_row_sums sums[2][CASE_HEADS];
    results plain = results_new(in), pooled = results_new(in), expected = results_new(in);
    attn_attention_out out[] = { out_of(in, &plain), out_of(in, &pooled), out_of(in, &expected) };
    size_t rows = attn_pool_bins(pool->queries ? pool->num_queries : in->T_q, pool->size),
           columns = attn_pool_bins(pool->keys ? pool->num_keys : in->T_k, pool->size);
    out[1].pool = out[2].pool = pool;
    out[0].analyst = out[1].analyst = &analyst;
    out[0].sums = sums[0];
    out[1].sums = sums[1];
    ck_assert_int_eq(attend(runtime, in, &out[0], NULL, NULL), ATTN_OK);
    ck_assert_int_eq(attend(runtime, in, &out[1], NULL, NULL), ATTN_OK);
    attn_attention_reference(in, &out[2]);
    worst w = { 0 };
    compare_scores(pooled.scores, expected.scores, in->num_attention_heads * rows * columns, &w);
    compare_scores(pooled.raw_scores, expected.raw_scores, in->num_attention_heads * rows * columns, &w);
    for (size_t n = 0; n < in->num_attention_heads * rows * columns; n++) {
        raise_to(&w.weight, fabs((double)pooled.attentions[n] - (double)expected.attentions[n]));
        raise_to(&w.weighted_norm, fabs((double)pooled.weighted_norms[n] - (double)expected.weighted_norms[n]));
    }
    for (size_t n = 0; n < plain.vectors; n++)
        raise_to(&w.context, fabs((double)pooled.context[n] - (double)expected.context[n]));
    ck_assert_double_le(w.weight, 1e-6);
    ck_assert_double_le(w.weighted_norm, 1e-6);
    ck_assert_double_le(w.context, 1e-6);
    ck_assert_double_le(w.score, 4e-6);
    ck_assert_mem_eq(sums[0], sums[1], in->num_attention_heads * sizeof *sums[0]);
    if (pool->queries)
        ck_assert_mem_eq(pooled.context, plain.context, plain.vectors * sizeof(float));
    results_free(&plain);
    results_free(&pooled);
    results_free(&expected);
}

START_TEST(pooled_maps_contexts_and_sums_are_those_of_the_whole_maps)
{
    static const int32_t queries[] = { 7, 0, 7, 3, 4, 5, 11 }, keys[] = { 12, 1, 1, 8 };
    attn_runtime *runtime = runtime_new(_i, 3);
    uint64_t state = 53;
    for (int n = 0; n < 16; n++) {
        attention_case c = case_plain(&state, 2, 1, 12 + case_below(&state, 30), 13 + case_below(&state, 30), 5, 6);
        c.in.rules.is_causal = n & 1;
        attn_pool pool = { .size = 1 + case_below(&state, 9), .mode = n & 2 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN };
        pool.queries = n & 4 ? queries : NULL;
        pool.num_queries = 7;
        pool.keys = n & 8 ? keys : NULL;
        pool.num_keys = 4;
        check_pooled(runtime, &c.in, &pool);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

/* [T, H*d] is [H, T, d] with other strides. */
START_TEST(packed_and_head_major_inputs_give_the_same_bits)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 19;
    attention_case c = case_plain(&state, 4, 4, 37, 37, 12, 12);
    float *packed = malloc(4 * 37 * 12 * sizeof *packed);
    ck_assert_ptr_nonnull(packed);
    for (size_t h = 0; h < 4; h++)
        for (size_t t = 0; t < 37; t++)
            memcpy(packed + (t * 4 + h) * 12, c.key + (h * 37 + t) * 12, 12 * sizeof *packed);
    c.in.query = c.in.value = c.in.key;
    results a = results_new(&c.in), b = results_new(&c.in);
    attend_well(runtime, &c.in, &a);
    c.in.query = c.in.key = c.in.value = (attn_heads){ packed, 12, 4 * 12 };
    attend_well(runtime, &c.in, &b);
    check_same_bits(&a, &b);
    results_free(&a);
    results_free(&b);
    free(packed);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* ---- what goes wrong ---------------------------------------------------------------------------------------------------- */

static void check_overflow(attn_runtime *runtime, const attn_operator_input *in, const char *where)
{
    results r = results_new(in);
    attn_attention_out out = out_of(in, &r);
    out.raw_scores = NULL;
    attn_error err = { 0 };
    ck_assert_int_eq(attend(runtime, in, &out, NULL, &err), ATTN_E_OVERFLOW);
    ck_assert_int_eq(err.code, ATTN_E_OVERFLOW);
    ck_assert_str_eq(err.where, where);
    results_free(&r);
}

START_TEST(a_product_beyond_float32_is_an_overflow_in_either_direction)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 23;
    for (int sign = -1; sign <= 1; sign += 2) {
        attention_case c = case_plain(&state, 2, 1, 5, 20, 4, 4);
        c.query[2 * 4] = 1e30f;
        c.key[13 * 4] = (float)sign * 1e30f;
        check_overflow(runtime, &c.in, "raw_scores");
        c.query[2 * 4 + 1] = 1e30f; /* and infinity less infinity */
        c.key[13 * 4 + 1] = (float)-sign * 1e30f;
        check_overflow(runtime, &c.in, "raw_scores");
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(a_product_that_nobody_sees_cannot_overflow)
{
    attn_runtime *runtime = runtime_new(_i, 1);
    uint64_t state = 29;
    attention_case c = case_plain(&state, 2, 1, 5, 20, 4, 4);
    c.key[13 * 4] = FLT_MAX;
    c.query[0] = FLT_MAX;
    c.in.rules.key_length = 13;
    results r = results_new(&c.in);
    attn_attention_out out = out_of(&c.in, &r);
    out.raw_scores = NULL;
    c.query[0] = c.key[0] = 1.0f;
    ck_assert_int_eq(attend(runtime, &c.in, &out, NULL, NULL), ATTN_OK);
    c.query[0] = FLT_MAX; /* but raw scores show all products */
    for (size_t j = 0; j < 13; j++)
        c.key[j * 4] = 0.0f;
    ck_assert_int_eq(attend(runtime, &c.in, &out, NULL, NULL), ATTN_OK);
    out.raw_scores = r.raw_scores;
    ck_assert_int_eq(attend(runtime, &c.in, &out, NULL, NULL), ATTN_E_OVERFLOW);
    results_free(&r);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(only_an_infinite_mask_may_make_an_infinite_score)
{
    static const struct {
        float product, mask;
        bool well;
    } cases[] = { { 1.0f, -INFINITY, true }, { -3e38f, -INFINITY, true }, { -3e38f, -3e38f, false }, { 3e38f, 3e38f, false },  { 1.0f, -FLT_MAX, true },
                  { 3e38f, -3e38f, true },   { 1.0f, INFINITY, false },   { 1.0f, NAN, false },      { -2e38f, -3e38f, false } };
    attn_runtime *runtime = runtime_new(_i, 1);
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        uint64_t state = 31;
        attention_case c = case_plain(&state, 1, 1, 1, 40, 1, 1);
        c.in.rules.scale = 1.0f;
        c.query[0] = 1.0f;
        c.key[21] = cases[n].product;
        c.add = calloc(40, sizeof *c.add);
        c.add[21] = cases[n].mask;
        c.in.rules.mask = (attn_mask){ .add = c.add, .key_stride = 1 };
        results r = results_new(&c.in);
        attn_attention_out out = out_of(&c.in, &r);
        attn_error err = { 0 };
        ck_assert_int_eq(attend(runtime, &c.in, &out, NULL, &err), cases[n].well ? ATTN_OK : ATTN_E_OVERFLOW);
        ck_assert(cases[n].well || strcmp(err.where, "scores") == 0);
        results_free(&r);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(a_context_that_is_not_finite_is_an_overflow)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 37;
    attention_case c = case_plain(&state, 2, 2, 9, 600, 4, 7);
    c.value[(600 + 555) * 7 + 3] = INFINITY;
    check_overflow(runtime, &c.in, "context");
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* Head 1 fails in the products of its last row, head 3 in the scores of its first: whichever is found first, head 1 is told. */
START_TEST(of_several_failures_the_first_head_is_told)
{
    enum { T_q = 32, T_k = 1500 };
    attn_runtime *runtime = runtime_new(_i, 5);
    uint64_t state = 41;
    attention_case c = case_plain(&state, 4, 4, T_q, T_k, 2, 2);
    c.query[(1 * T_q + T_q - 1) * 2] = c.key[1 * T_k * 2] = 1e30f;
    c.add = calloc(4, sizeof *c.add);
    c.add[3] = INFINITY;
    c.in.rules.mask = (attn_mask){ .add = c.add, .head_stride = 1 };
    for (int n = 0; n < 50; n++)
        check_overflow(runtime, &c.in, "raw_scores");
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(a_raised_flag_or_a_passed_deadline_stops_it)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 43;
    attention_case c = case_plain(&state, 2, 1, 40, 40, 8, 8);
    results r = results_new(&c.in);
    attn_attention_out out = out_of(&c.in, &r);
    attn_cancel raised = { .reason = ATTN_RUNNING }, late = { .deadline_ns = 1 }, never = { .deadline_ns = 0 };
    attn_error err = { 0 };
    attn_cancel_raise(&raised, ATTN_CLIENT_GONE);
    ck_assert_int_eq(attend(runtime, &c.in, &out, &raised, &err), ATTN_E_CANCELLED);
    ck_assert_int_eq(err.code, ATTN_E_CANCELLED);
    ck_assert_int_eq(attend(runtime, &c.in, &out, &late, NULL), ATTN_E_CANCELLED);
    ck_assert_int_eq(atomic_load(&late.reason), ATTN_DEADLINE);
    ck_assert_int_eq(attend(runtime, &c.in, &out, &never, NULL), ATTN_OK);
    results_free(&r);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(a_deadline_is_seen_in_the_middle)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 47;
    attention_case c = case_plain(&state, 8, 1, 1200, 2000, 64, 64);
    results r = { .vectors = 8 * 1200 * 64 };
    r.context = nan_floats(r.vectors);
    attn_attention_out out = out_of(&c.in, &r);
    attn_cancel soon = { .deadline_ns = attn_clock_ns() + 3000000 };
    ck_assert_int_eq(attend(runtime, &c.in, &out, &soon, NULL), ATTN_E_CANCELLED);
    size_t left = 0;
    for (size_t i = 0; i < r.vectors; i++)
        left += isnan(r.context[i]) != 0;
    ck_assert_uint_gt(left, 0); /* some blocks were never begun */
    free(r.context);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("attention");
    TCase *tc = tcase_create("attention");
    int tables = 0;
    while (attn_kernels_all()[tables])
        tables++;
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, maps_and_contexts_are_within_a_millionth_of_float64);
    tcase_add_test(tc, rows_longer_than_a_chunk_are_as_exact);
    tcase_add_test(tc, alibi_keeps_its_precision_for_far_queries);
    tcase_add_loop_test(tc, bits_do_not_depend_on_the_number_of_threads, 0, tables);
    tcase_add_loop_test(tc, sums_over_rows_have_the_same_bits_for_any_number_of_threads, 0, tables);
    tcase_add_loop_test(tc, a_row_is_the_same_alone_as_among_others, 0, tables);
    tcase_add_loop_test(tc, bits_do_not_depend_on_what_else_is_kept, 0, tables);
    tcase_add_loop_test(tc, pooled_maps_contexts_and_sums_are_those_of_the_whole_maps, 0, tables);
    tcase_add_loop_test(tc, packed_and_head_major_inputs_give_the_same_bits, 0, tables);
    tcase_add_loop_test(tc, a_product_beyond_float32_is_an_overflow_in_either_direction, 0, tables);
    tcase_add_loop_test(tc, a_product_that_nobody_sees_cannot_overflow, 0, tables);
    tcase_add_loop_test(tc, only_an_infinite_mask_may_make_an_infinite_score, 0, tables);
    tcase_add_loop_test(tc, a_context_that_is_not_finite_is_an_overflow, 0, tables);
    tcase_add_loop_test(tc, of_several_failures_the_first_head_is_told, 0, tables);
    tcase_add_loop_test(tc, a_raised_flag_or_a_passed_deadline_stops_it, 0, tables);
    tcase_add_loop_test(tc, a_deadline_is_seen_in_the_middle, 0, tables);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
