/* test_pooled.c - pooled maps against the plain way: three loops in double, then the mean or maximum of each bin in double.
 *
 * Weights and contexts are within 1e-6 of float64, scores within 4e-6 of max(1, |score|), as whole maps are (test_attention.c); means lose nothing to the size of
 * a bin. Bits do not depend on threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "pooled_case.h"

enum { RANDOM_CASES = 150 };

static const char *const names[MAPS] = { "attentions", "scores", "raw_scores", "weighted_norms" };

/* ---- bins --------------------------------------------------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 wide;

START_TEST(edges_are_exact_for_any_sizes)
{
    uint64_t state = 3;
    for (int i = 0; i < 200000; i++) {
        size_t n = case_random(&state) >> case_below(&state, 64), bins = case_random(&state) >> case_below(&state, 64);
        n = i % 5 == 0 ? SIZE_MAX - case_below(&state, 3) : n;
        bins = i % 7 == 0 ? n - case_below(&state, 2) : bins;
        bins = attn_pool_bins(n, bins);
        if (bins == 0)
            continue;
        size_t b = i % 3 == 0 ? bins : case_random(&state) % bins;
        size_t want = (size_t)((wide)b * n / bins), edge = attn_pool_edge(n, bins, b);
        if (edge != want)
            ck_abort_msg("edge %zu of %zu in %zu bins: %zu, not %zu", b, n, bins, edge, want);
    }
    ck_assert_uint_eq(attn_pool_edge(SIZE_MAX, SIZE_MAX, SIZE_MAX), SIZE_MAX);
    ck_assert_uint_eq(attn_pool_edge(SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 1), SIZE_MAX);
    ck_assert_uint_eq(attn_pool_bins(5, 9), 5);
    ck_assert_uint_eq(attn_pool_bins(9, 5), 5);
}
END_TEST

/* ---- against float64 ---------------------------------------------------------------------------------------------------- */

/* Every table this CPU runs, and how far it was off: in its maps, and in contexts. */
typedef struct contest {
    int tables;
    attn_runtime *runtime[8];
    double off[8][MAPS + 1];
} contest;

static void raise_to(double *most, double value)
{
    *most = fmax(*most, isnan(value) ? INFINITY : value);
}

static contest contest_new(void)
{
    contest all = { 0 };
    for (; attn_kernels_all()[all.tables]; all.tables++)
        all.runtime[all.tables] = runtime_new(all.tables, 2);
    return all;
}

static void compare(const float *mine, const float *theirs, size_t n, bool of_scores, double *off)
{
    for (size_t i = 0; i < n; i++)
        if (mine[i] != theirs[i]) /* a hidden one must be -infinity exactly */
            raise_to(off, fabs((double)mine[i] - (double)theirs[i]) / (of_scores && !isinf(theirs[i]) ? fmax(1.0, fabs((double)theirs[i])) : 1.0));
}

static void contest_case(contest *all, const attn_operator_input *in, pooled *mine)
{
    pooled theirs = plain(in, mine);
    for (int table = 0; table < all->tables; table++) {
        for (size_t i = 0; i < mine->vectors; i++)
            mine->context[i] = NAN;
        attend_well(all->runtime[table], in, mine);
        for (int map = 0; map < MAPS; map++)
            compare(mine->map[map], theirs.map[map], mine->size, map == 1 || map == 2, &all->off[table][map]);
        if (!mine->queries)
            compare(mine->context, theirs.context, mine->vectors, false, &all->off[table][MAPS]);
    }
    plain_free(&theirs);
}

static void contest_end(contest *all, const char *what, double leeway)
{
    static const double allowed[MAPS + 1] = { 1e-6, 4e-6, 4e-6, 3e-6, 1e-6 };
    for (int table = 0; table < all->tables; table++) {
        fprintf(stderr, "%s, %s:", attn_kernels_all()[table]->name, what);
        for (int map = 0; map <= MAPS; map++)
            fprintf(stderr, " %s %.2g", map < MAPS ? names[map] : "context", all->off[table][map]);
        fprintf(stderr, "\n");
        for (int map = 0; map <= MAPS; map++)
            ck_assert_double_le(all->off[table][map], allowed[map] * leeway);
        runtime_free(all->runtime[table]);
    }
}

START_TEST(bins_are_within_a_millionth_of_float64)
{
    contest all = contest_new();
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (int n = 0; n < RANDOM_CASES; n++) {
        attention_case c = case_any(&state);
        size_t size = 1 + case_below(&state, n % 3 ? 20 : 80);
        pooled p = pooled_new(&c.in, size, n % 2 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN, &state, (unsigned)n / 2 % 4);
        contest_case(&all, &c.in, &p);
        pooled_free(&p);
        case_free(&c);
    }
    contest_end(&all, "any rules", 1);
}
END_TEST

/* Keys are taken 128 at a time, and chunks that a strip does not see are left out. */
START_TEST(rows_longer_than_a_chunk_are_as_exact)
{
    static const size_t lengths[] = { 127, 128, 129, 256, 257, 511, 1000 };
    static const int64_t windows[] = { -1, 0, 100, 400 };
    contest all = contest_new();
    uint64_t state = 0xd1b54a32d192ed03u;
    for (size_t n = 0; n < 56; n++) {
        attention_case c = case_plain(&state, 2, 1, 1 + case_below(&state, 100), lengths[n % 7], 3, 2);
        c.in.rules.is_causal = n % 2 == 0;
        c.in.rules.query_offset = (int64_t)(n % 4 * 250);
        c.in.rules.left_window_size = windows[n / 7 % 4];
        c.in.rules.right_window_size = windows[(n + 1) % 4];
        if (n % 5 == 0)
            case_mask(&c, &state);
        if (n % 6 == 0)
            case_alibi(&c);
        pooled p = pooled_new(&c.in, 1 + case_below(&state, 300), n % 3 ? ATTN_REDUCE_MEAN : ATTN_REDUCE_MAX, &state, (unsigned)n / 3 % 4);
        contest_case(&all, &c.in, &p);
        pooled_free(&p);
        case_free(&c);
    }
    contest_end(&all, "long rows", 1);
}
END_TEST

/* What a query sees begins and ends just before, at and just behind the ends of a chunk. */
START_TEST(what_is_visible_may_end_anywhere)
{
    contest all = contest_new();
    uint64_t state = 0x2545f4914f6cdd1du;
    for (size_t n = 0; n < 50; n++) {
        attention_case c = case_plain(&state, 1, 1, n < 25 ? 1 : 3, 400, 2, 2);
        c.in.rules.query_offset = 200;
        c.in.rules.left_window_size = 200 - (int64_t)(126 + n % 5);
        c.in.rules.right_window_size = (int64_t)(253 + n / 5 % 5) - 200;
        pooled p = pooled_new(&c.in, 390, ATTN_REDUCE_MEAN, &state, 0);
        contest_case(&all, &c.in, &p);
        pooled_free(&p);
        case_free(&c);
    }
    contest_end(&all, "ends at chunks", 1);
}
END_TEST

START_TEST(vectors_may_be_long_or_single)
{
    static const size_t dims[][2] = { { 1, 1 }, { 4096, 3 }, { 2, 4096 }, { 1000, 1000 }, { 17, 15 } };
    contest all = contest_new();
    uint64_t state = 5;
    for (size_t n = 0; n < 5; n++) {
        attention_case c = case_plain(&state, 2, 2, 37, 45, dims[n][0], dims[n][1]);
        pooled p = pooled_new(&c.in, 7, ATTN_REDUCE_MEAN, &state, 0);
        contest_case(&all, &c.in, &p);
        pooled_free(&p);
        case_free(&c);
    }
    contest_end(&all, "long vectors", 2) /* products of thousands of numbers */;
}
END_TEST

/* The largest score comes first, last, or in steps that each leave all before it behind. */
START_TEST(scores_may_rise_as_they_like)
{
    contest all = contest_new();
    uint64_t state = 9;
    for (int n = 0; n < 12; n++) {
        attention_case c = case_plain(&state, 1, 1, 40, 900, 1, 3);
        for (size_t j = 0; j < 900; j++)
            c.key[j] = (n % 3 == 0 ? (float)j : n % 3 == 1 ? 900.0f - (float)j : (float)(j / 100 * 100 + case_below(&state, 30))) / 128.0f;
        for (size_t i = 0; i < 40; i++)
            c.query[i] = n < 3 ? 1.0f : n < 6 ? 60.0f : (float)i - 20.0f; /* products are exact */
        c.in.rules.is_causal = n >= 9;
        c.in.rules.query_offset = 860;
        pooled p = pooled_new(&c.in, 30, n % 2 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN, &state, n % 4 == 3 ? 2 : 0);
        contest_case(&all, &c.in, &p);
        pooled_free(&p);
        case_free(&c);
    }
    contest_end(&all, "rising scores", 1);
}
END_TEST

/* The worst relative error of means over weights that are all alike, where roundings would all go the same way, and over any weights. d = 1: scores are exact. */
static double mean_error(attn_runtime *runtime, size_t T_q, size_t T_k, size_t size, float reach, unsigned lists)
{
    uint64_t state = 21;
    attention_case c = case_plain(&state, 1, 1, T_q, T_k, 1, 1);
    for (size_t i = 0; i < T_q; i++)
        c.query[i] = case_float(&state, reach);
    for (size_t j = 0; j < T_k; j++) {
        c.key[j] = case_float(&state, 1.0f);
        c.value[j] = 0.1f;
    }
    pooled p = pooled_new(&c.in, size, ATTN_REDUCE_MEAN, &state, lists);
    attend_well(runtime, &c.in, &p);
    pooled want = plain(&c.in, &p);
    double worst = 0.0;
    for (size_t i = 0; i < p.size; i++) {
        raise_to(&worst, fabs((double)p.map[0][i] / (double)want.map[0][i] - 1));
        raise_to(&worst, fabs((double)p.map[3][i] / (double)want.map[3][i] - 1));
    }
    for (size_t i = 0; i < p.vectors && !lists; i++)
        raise_to(&worst, fabs((double)p.context[i] / 0.1 - 1));
    plain_free(&want);
    pooled_free(&p);
    case_free(&c);
    return worst;
}

START_TEST(means_are_right_to_a_millionth_whatever_the_bin)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    double worst = 0.0;
    raise_to(&worst, mean_error(runtime, 192, 4096, 3, 0.0f, 0));
    raise_to(&worst, mean_error(runtime, 1, 30000, 1, 0.0f, 0));
    raise_to(&worst, mean_error(runtime, 256, 512, 4, 1.0f, 0));
    raise_to(&worst, mean_error(runtime, 256, 512, 4, 1.0f, 3));
    raise_to(&worst, mean_error(runtime, 1024, 1024, 1, 0.0f, 0)); /* a million in one bin */
    raise_to(&worst, mean_error(runtime, 1024, 1024, 1, 1.0f, 0));
    fprintf(stderr, "%s: means within %.2g of themselves\n", attn_kernels_all()[_i]->name, worst);
    ck_assert_double_le(worst, 1e-6);
    runtime_free(runtime);
}
END_TEST

/* ---- bits, slots -------------------------------------------------------------------------------------------------------- */

START_TEST(bits_do_not_depend_on_the_number_of_threads)
{
    attn_runtime *runtime[] = { runtime_new(_i, 1), runtime_new(_i, 2), runtime_new(_i, 5) };
    uint64_t state = 11;
    for (unsigned n = 0; n < 12; n++) {
        attention_case c = n < 8 ? case_any(&state) : case_plain(&state, 4, 2, 600, 200, 8, 4);
        pooled p[3];
        uint64_t now = case_random(&state);
        for (int k = 0; k < 3; k++) {
            uint64_t same = now;
            p[k] = pooled_new(&c.in, 1 + n * 7, n % 2 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN, &same, n / 2 % 4);
            attend_well(runtime[k], &c.in, &p[k]);
        }
        for (int k = 1; k < 3; k++)
            for (int map = 0; map < MAPS; map++)
                ck_assert_mem_eq(p[0].map[map], p[k].map[map], p[0].size * sizeof(float));
        for (int k = 1; k < 3 && !p[0].queries; k++)
            ck_assert_mem_eq(p[0].context, p[k].context, p[0].vectors * sizeof(float));
        for (int k = 0; k < 3; k++)
            pooled_free(&p[k]);
        case_free(&c);
    }
    for (int k = 0; k < 3; k++)
        runtime_free(runtime[k]);
}
END_TEST

/* Kept heads: every second one, in reverse, or all. What is not kept is not touched. */
static void check_subset(attn_runtime *runtime, const attn_operator_input *in, const pooled *all, unsigned kept_outputs)
{
    size_t H = in->num_attention_heads, kept = 0, map_size = all->row_bins * all->col_bins, d_v = in->value_dim;
    int32_t slot[CASE_HEADS];
    for (size_t h = H; h-- > 0;)
        slot[h] = h % 2 == 0 || kept_outputs & 64 ? (int32_t)kept++ : -1;
    pooled some = *all;
    for (int map = 0; map < MAPS; map++)
        some.map[map] = kept_outputs & 1u << map ? nan_floats(all->size) : NULL;
    some.context = kept_outputs & 16 ? nan_floats(all->vectors) : NULL;
    attn_attention_out out = out_of(in, &some);
    out.slot = slot;
    out.context_of_kept = kept_outputs & 32;
    ck_assert_int_eq(attend(runtime, in, &out, NULL, NULL), ATTN_OK);
    double worst = 0.0;
    for (size_t h = 0; h < H; h++) {
        size_t place = out.context_of_kept ? (size_t)slot[h] : h;
        for (int map = 0; map < MAPS && slot[h] >= 0; map++)
            if (some.map[map])
                compare(some.map[map] + (size_t)slot[h] * map_size, all->map[map] + h * map_size, map_size, map == 1 || map == 2, &worst);
        for (size_t i = 0; i < in->T_q && some.context && !all->queries && !(out.context_of_kept && slot[h] < 0); i++)
            compare(some.context + (i * H + place) * d_v, all->context + (i * H + h) * d_v, d_v, false, &worst);
    }
    ck_assert_double_le(worst, 1e-6);
    for (int map = 0; map < MAPS; map++)
        for (size_t i = kept * map_size; i < all->size && some.map[map]; i++)
            ck_assert(isnan(some.map[map][i]));
    for (size_t i = 0; i < all->vectors && some.context && all->queries; i++)
        ck_assert(isnan(some.context[i]));
    for (int map = 0; map < MAPS; map++)
        free(some.map[map]);
    free(some.context);
}

START_TEST(what_is_kept_is_the_same_whatever_else_is)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 17;
    for (unsigned n = 0; n < 4; n++) {
        attention_case c = n < 3 ? case_any(&state) : case_plain(&state, 3, 1, 40, 300, 8, 9);
        c.in.rules.left_window_size = n >= 3 ? 80 : c.in.rules.left_window_size;
        pooled all = pooled_new(&c.in, 9, n % 2 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN, &state, n % 3);
        attend_well(runtime, &c.in, &all);
        for (unsigned kept_outputs = 0; kept_outputs < 128; kept_outputs++)
            check_subset(runtime, &c.in, &all, kept_outputs);
        pooled_free(&all);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(queries_that_see_nothing_weigh_nothing)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 23;
    for (int n = 0; n < 4; n++) {
        attention_case c = case_plain(&state, 1, 1, 100, 150, 4, 5);
        uint8_t none = 0;
        if (n % 2)
            c.in.rules.mask.keep = &none;
        else
            c.in.rules.key_length = 0;
        pooled p = pooled_new(&c.in, 10, n < 2 ? ATTN_REDUCE_MEAN : ATTN_REDUCE_MAX, &state, 0);
        attend_well(runtime, &c.in, &p);
        for (size_t i = 0; i < p.size; i++)
            ck_assert(p.map[0][i] == 0.0f && p.map[1][i] == -INFINITY && isfinite(p.map[2][i]) && p.map[3][i] == 0.0f);
        for (size_t i = 0; i < p.vectors; i++)
            ck_assert(p.context[i] == 0.0f);
        pooled_free(&p);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

/* The first query sees one key: its weight is 1, to the bit. */
START_TEST(a_single_key_weighs_exactly_one)
{
    attn_runtime *runtime = runtime_new(_i, 1);
    uint64_t state = 25;
    attention_case c = case_plain(&state, 2, 1, 300, 300, 16, 16);
    c.in.rules.is_causal = true;
    c.in.rules.left_window_size = 0;
    pooled p = pooled_new(&c.in, 100, ATTN_REDUCE_MAX, &state, 0);
    attend_well(runtime, &c.in, &p);
    for (size_t i = 0; i < p.size; i++)
        ck_assert(p.map[0][i] == (i / 100 % 100 == i % 100 ? 1.0f : 0.0f));
    pooled_free(&p);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

int main(void)
{
    int tables = 0;
    while (attn_kernels_all()[tables])
        tables++;
    Suite *suite = suite_create("pooled");
    TCase *values = tcase_create("values"), *bits = tcase_create("bits");
    tcase_set_timeout(values, 300);
    tcase_set_timeout(bits, 300);
    tcase_add_test(values, edges_are_exact_for_any_sizes);
    tcase_add_test(values, bins_are_within_a_millionth_of_float64);
    tcase_add_test(values, rows_longer_than_a_chunk_are_as_exact);
    tcase_add_test(values, what_is_visible_may_end_anywhere);
    tcase_add_test(values, vectors_may_be_long_or_single);
    tcase_add_test(values, scores_may_rise_as_they_like);
    tcase_add_loop_test(values, means_are_right_to_a_millionth_whatever_the_bin, 0, tables);
    tcase_add_loop_test(bits, bits_do_not_depend_on_the_number_of_threads, 0, tables);
    tcase_add_loop_test(bits, what_is_kept_is_the_same_whatever_else_is, 0, tables);
    tcase_add_loop_test(bits, queries_that_see_nothing_weigh_nothing, 0, tables);
    tcase_add_loop_test(bits, a_single_key_weighs_exactly_one, 0, tables);
    suite_add_tcase(suite, values);
    suite_add_tcase(suite, bits);
    return unit_main(suite);
}
