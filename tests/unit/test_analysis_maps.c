/* test_analysis_maps.c - the analyses that need whole maps, head_distance and rollout: random maps against double, at every kernel table; and for all analyses
 * threads, memory, cancellation.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis_case.h"

#include "math/gemm.h"

#include <stdio.h>

/* ---- head_distance ------------------------------------------------------------------------------------------------------ */

static void distances(attn_runtime *rt, const analysis_case *c, float *out)
{
    attn_arena *arena = attn_arena_new();
    attn_analyst an = analyst_of(c, 0, arena);
    attn_error err = { 0 };
    size_t before = attn_arena_used(arena);
    if (attn_head_distance(rt, out, &c->view, &an, arena, NULL, &err) != ATTN_OK)
        ck_abort_msg("%s", err.text);
    ck_assert_uint_eq(attn_arena_used(arena), before);
    ck_assert_uint_le(attn_arena_peak(arena) - before, attn_head_distance_bytes(c->view.heads, c->T_q, c->T_k));
    attn_arena_free(arena);
}

START_TEST(head_distance_agrees_with_double_and_is_symmetric_with_an_empty_diagonal)
{
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        attn_runtime *rt = runtime((*table)->name, 2);
        double worst = 0;
        for (size_t size = 0; size < NUM_SIZES; size++)
            for (size_t form = 0; form < 8; form++) {
                float out[CASE_HEADS * CASE_HEADS];
                set_case(size, form);
                const analysis_case *c = &the_case;
                distances(rt, c, out);
                for (size_t g = 0; g < c->heads; g++)
                    for (size_t h = 0; h < c->heads; h++) {
                        float x = out[g * c->heads + h];
                        worst = fmax(worst, fabs((double)x - case_distance(c, g, h)));
                        ck_assert(x >= 0 && (double)x <= log(2) + 1e-6 && x == out[h * c->heads + g] && (g != h || x == 0));
                    }
            }
        fprintf(stderr, "%-6s head distance: error %.2e\n", (*table)->name, worst);
        ck_assert_double_le(worst, 1e-6);
        attn_runtime_free(rt);
    }
}
END_TEST

START_TEST(heads_that_never_look_at_the_same_key_are_ln_2_apart_and_equal_ones_0)
{
    attn_runtime *rt = runtime(NULL, 1);
    analysis_case *c = &the_case;
    set_case(6, 1);
    for (size_t i = 0; i < c->T_q; i++)
        for (size_t j = 0; j < c->T_k; j++) {
            float *a = c->maps + i * c->T_k + j, *b = a + c->T_q * c->T_k, *same = b + c->T_q * c->T_k;
            *a = j % 2 ? 1.0f / 65 : 0; /* 65 of 130 keys */
            *b = j % 2 ? 0 : 1.0f / 65;
            *same = *a;
        }
    c->view.heads = 3;
    float out[9];
    distances(rt, c, out);
    ck_assert_float_eq_tol(out[1], logf(2), 1e-6f);
    ck_assert_float_eq(out[2], 0);
    ck_assert_float_eq_tol(out[5], logf(2), 1e-6f);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(heads_all_but_equal_are_never_a_negative_distance_apart)
{
    analysis_case *c = &the_case;
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        attn_runtime *rt = runtime((*table)->name, 1);
        for (size_t form = 0; form < 6; form++) {
            set_case(6, form);
            size_t map = c->T_q * c->T_k;
            for (size_t i = 0; i < map; i++)
                c->maps[map + i] = c->maps[i] * (1 + (float)case_uniform(-2, 2) * 0x1p-23f);
            c->view.heads = 2;
            c->view.rows = 1; /* a mean of many rows would hide one that is below 0 */
            for (size_t i = 0; i < c->T_q; i++) {
                const float *rows[] = { c->maps + i * c->T_k, c->maps + map + i * c->T_k };
                float out[4];
                c->view.head = rows;
                distances(rt, c, out);
                ck_assert(out[1] >= 0 && out[1] < 1e-6f);
            }
        }
        attn_runtime_free(rt);
    }
}
END_TEST

START_TEST(heads_in_any_order_and_with_repeats_have_the_same_distances)
{
    enum { ASKED = 7 };
    const size_t order[ASKED] = { 4, 0, 4, 2, 1, 0, 4 };
    attn_runtime *rt = runtime(NULL, 2);
    float plain[CASE_HEADS * CASE_HEADS], asked[ASKED * ASKED];
    set_case(6, 3);
    distances(rt, &the_case, plain);
    const float *head[ASKED];
    for (size_t k = 0; k < ASKED; k++)
        head[k] = the_case.head[order[k]];
    the_case.view.head = head;
    the_case.view.heads = ASKED;
    distances(rt, &the_case, asked);
    for (size_t g = 0; g < ASKED; g++)
        for (size_t h = 0; h < ASKED; h++)
            ck_assert_float_eq(asked[g * ASKED + h], plain[order[g] * CASE_HEADS + order[h]]);
    attn_runtime_free(rt);
}
END_TEST

/* ---- rollout ------------------------------------------------------------------------------------------------------------ */

static double rolled[2][CASE_MOST * CASE_MOST];
static float rolled_f[2][CASE_MOST * CASE_MOST];

static void roll(attn_runtime *rt, const analysis_case *c, float *next, const float *previous)
{
    attn_arena *arena = attn_arena_new();
    attn_error err = { 0 };
    if (attn_rollout(rt, next, previous, &c->view, arena, NULL, &err) != ATTN_OK)
        ck_abort_msg("%s", err.text);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_rollout_bytes(rt, c->T_q));
    attn_arena_free(arena);
}

/* Four layers; the worst difference from double. Ends with the rows' sums. */
static double roll_layers(attn_runtime *rt, size_t T, size_t form, double *worst_sum)
{
    analysis_case *c = &the_case;
    double worst = 0;
    set_case(6, form);
    c->T_q = c->T_k = T;
    for (size_t i = 0; i < T * T; i++)
        rolled[1][i] = i % (T + 1) == 0;
    for (size_t layer = 0; layer < 4; layer++) {
        case_fill(c);
        double *to = rolled[layer % 2], *from = rolled[(layer + 1) % 2];
        case_rollout(c, to, from);
        roll(rt, c, rolled_f[layer % 2], layer ? rolled_f[(layer + 1) % 2] : NULL);
        for (size_t i = 0; i < T; i++) {
            double sum = 0;
            for (size_t j = 0; j < T; j++) {
                double x = (double)rolled_f[layer % 2][i * T + j];
                sum += x;
                worst = fmax(worst, fabs(x - to[i * T + j]));
                ck_assert(x >= 0 && (!c->causal || j <= i || x == 0));
            }
            *worst_sum = fmax(*worst_sum, fabs(sum - 1));
        }
    }
    return worst;
}

START_TEST(rollout_agrees_with_double_its_rows_sum_to_one_and_causality_stays)
{
    const size_t lengths[] = { 1, 2, 3, 11, 12, 16, 31, 47, 48, 49, 96, 97, 140 };
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        attn_runtime *rt = runtime((*table)->name, 2);
        double worst = 0, worst_sum = 0;
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
            for (size_t form = 0; form < 8; form++)
                worst = fmax(worst, roll_layers(rt, lengths[k], form, &worst_sum));
        fprintf(stderr, "%-6s rollout: error %.2e, of a row's sum %.2e\n", (*table)->name, worst, worst_sum);
        ck_assert_double_le(worst, 2e-6); /* flat maps: sums of equal numbers are rounded the same way each time */
        ck_assert_double_le(worst_sum, 1e-6);
        attn_runtime_free(rt);
    }
}
END_TEST

/* All weights 1 / T: A^n = 1 / 2^n + (1 - 1 / 2^n) / T everywhere. */
START_TEST(long_flat_maps_roll_out_to_what_algebra_says)
{
    enum { T = 1100, LAYERS = 6 };
    attn_runtime *rt = runtime(NULL, 2);
    attn_arena *arena = attn_arena_new();
    float *map = malloc(sizeof(float) * T * T), *to = malloc(sizeof(float) * T * T), *from = malloc(sizeof(float) * T * T);
    const float *heads[] = { map, map };
    const attn_view view = { .head = heads, .heads = 2, .rows = T, .cols = T, .row_stride = T };
    double worst = 0, passed = 1;
    for (size_t i = 0; i < T * T; i++)
        map[i] = 1 / (float)T;
    for (int layer = 0; layer < LAYERS; layer++, passed /= 2) {
        ck_assert_int_eq(attn_rollout(rt, to, layer ? from : NULL, &view, arena, NULL, NULL), ATTN_OK);
        for (size_t i = 0; i < T; i++)
            for (size_t j = 0; j < T; j++)
                worst = fmax(worst, fabs((double)to[i * T + j] - (i == j ? passed / 2 : 0) - (1 - passed / 2) / T));
        float *was = from;
        from = to;
        to = was;
    }
    fprintf(stderr, "rollout of %d flat layers at T = %d: error %.2e\n", LAYERS, T, worst);
    ck_assert_double_le(worst, 5e-6);
    free(map);
    free(to);
    free(from);
    attn_arena_free(arena);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(a_row_that_sees_nothing_looks_at_itself_and_one_token_rolls_out_to_one)
{
    attn_runtime *rt = runtime(NULL, 1);
    analysis_case *c = &the_case;
    set_case(3, 1);
    memset(c->maps, 0, sizeof c->maps);
    roll(rt, c, rolled_f[0], NULL);
    for (size_t i = 0; i < 81; i++)
        ck_assert_float_eq(rolled_f[0][i], i % 10 == 0);
    for (size_t i = 0; i < 81; i++)
        rolled_f[0][i] = (i + i / 9) % 9 < 8 ? 0.125f : 0;
    roll(rt, c, rolled_f[1], rolled_f[0]);
    ck_assert_mem_eq(rolled_f[0], rolled_f[1], 81 * sizeof(float));
    set_case(0, 0);
    roll(rt, c, rolled_f[0], NULL);
    ck_assert_float_eq(rolled_f[0][0], 1);
    roll(rt, c, rolled_f[1], rolled_f[0]);
    ck_assert_float_eq(rolled_f[1][0], 1);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(maps_that_are_not_square_have_no_rollout)
{
    attn_runtime *rt = runtime(NULL, 1);
    attn_arena *arena = attn_arena_new();
    set_case(8, 0);
    attn_error err = { 0 };
    ck_assert_int_eq(attn_rollout(rt, rolled_f[0], NULL, &the_case.view, arena, NULL, &err), ATTN_E_INTERNAL);
    attn_arena_free(arena);
    attn_runtime_free(rt);
}
END_TEST

/* ---- threads, memory, cancellation -------------------------------------------------------------------------------------- */

START_TEST(bits_are_equal_for_any_number_of_threads)
{
    static float first[3][CASE_MOST * CASE_MOST], again[3][CASE_MOST * CASE_MOST];
    for (int threads = 1; threads <= 5; threads++) {
        attn_runtime *rt = runtime(NULL, threads);
        case_seed = 1; /* the same case each time */
        set_case(6, 7);
        float(*to)[CASE_MOST * CASE_MOST] = threads == 1 ? first : again;
        attn_runtime_enter(rt);
        distances(rt, &the_case, to[0]);
        roll(rt, &the_case, to[1], NULL);
        roll(rt, &the_case, to[2], to[1]);
        attn_runtime_leave(rt);
        attn_runtime_free(rt);
        if (threads == 1)
            continue;
        ck_assert_mem_eq(first[0], again[0], CASE_HEADS * CASE_HEADS * sizeof(float));
        ck_assert_mem_eq(first[1], again[1], 130 * 130 * sizeof(float));
        ck_assert_mem_eq(first[2], again[2], 130 * 130 * sizeof(float));
    }
}
END_TEST

static size_t left; /* allocations still granted */

static bool grant(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    return left > 0 && left--;
}

/* Everything once, with so many allocations granted. */
static attn_status try_all(attn_runtime *rt, size_t granted, attn_error *err)
{
    const analysis_case *c = &the_case;
    const attn_analysis_tokens tokens = { c->ids, c->is_special };
    attn_arena *arena = attn_arena_new();
    void *filling = attn_arena_take(arena, 256 * 1024 - 1024, 1); /* next to nothing is left of the first chunk */
    ck_assert_ptr_nonnull(filling);
    size_t before = attn_arena_used(arena);
    attn_analyst an;
    left = granted;
    attn_memory_hook(grant, NULL);
    attn_status st = attn_analyst_init(&an, ALL_ROWS, &tokens, c->T_q, c->T_k, c->offset, c->counts, arena, err);
    ck_assert_uint_le(attn_arena_used(arena) - before, attn_analyst_bytes(ALL_ROWS, c->T_k));
    if (st == ATTN_OK)
        st = attn_head_distance(rt, rolled_f[0], &c->view, &an, arena, NULL, err);
    if (st == ATTN_OK)
        st = attn_rollout(rt, rolled_f[1], NULL, &c->view, arena, NULL, err);
    if (st == ATTN_OK)
        st = attn_rollout(rt, rolled_f[0], rolled_f[1], &c->view, arena, NULL, err);
    attn_memory_hook(NULL, NULL);
    attn_arena_free(arena);
    return st;
}

START_TEST(without_memory_there_is_an_error_and_nothing_leaks)
{
    attn_runtime *rt = runtime(NULL, 2);
    size_t n = 0;
    set_case(6, 7);
    for (attn_status st = ATTN_E_NOMEM; st != ATTN_OK; n++) {
        attn_error err = { 0 };
        st = try_all(rt, n, &err);
        ck_assert(st == ATTN_OK || (st == ATTN_E_NOMEM && err.code == ATTN_E_NOMEM));
        ck_assert_uint_lt(n, 100);
    }
    ck_assert_uint_ge(n, 2);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(a_raised_cancel_ends_the_work)
{
    attn_runtime *rt = runtime(NULL, 2);
    attn_arena *arena = attn_arena_new();
    set_case(6, 1);
    attn_analyst an = analyst_of(&the_case, 0, arena);
    size_t before = attn_arena_used(arena);
    attn_cancel cancel = { 0 };
    attn_cancel_raise(&cancel, ATTN_CLIENT_GONE);
    attn_error err = { 0 };
    ck_assert_int_eq(attn_head_distance(rt, rolled_f[0], &the_case.view, &an, arena, &cancel, &err), ATTN_E_CANCELLED);
    ck_assert_int_eq(err.code, ATTN_E_CANCELLED);
    ck_assert_int_eq(attn_rollout(rt, rolled_f[0], NULL, &the_case.view, arena, &cancel, NULL), ATTN_E_CANCELLED);
    ck_assert_int_eq(attn_rollout(rt, rolled_f[0], rolled_f[1], &the_case.view, arena, &cancel, NULL), ATTN_E_CANCELLED);
    ck_assert_uint_eq(attn_arena_used(arena), before);
    attn_arena_free(arena);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(sizes_beyond_all_memory_are_priced_as_such)
{
    attn_runtime *rt = runtime(NULL, 2);
    ck_assert_uint_ge(attn_rollout_bytes(rt, (size_t)1 << 40), (uint64_t)1 << 62);
    ck_assert_uint_ge(attn_head_distance_bytes((size_t)1 << 32, 100, 100), (uint64_t)1 << 62);
    ck_assert_uint_ge(attn_analyst_bytes(ALL_ROWS, SIZE_MAX / 2), (uint64_t)1 << 62);
    attn_runtime_free(rt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("analysis maps");
    TCase *c = tcase_create("analysis maps");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, head_distance_agrees_with_double_and_is_symmetric_with_an_empty_diagonal);
    tcase_add_test(c, heads_that_never_look_at_the_same_key_are_ln_2_apart_and_equal_ones_0);
    tcase_add_test(c, heads_all_but_equal_are_never_a_negative_distance_apart);
    tcase_add_test(c, heads_in_any_order_and_with_repeats_have_the_same_distances);
    tcase_add_test(c, rollout_agrees_with_double_its_rows_sum_to_one_and_causality_stays);
    tcase_add_test(c, long_flat_maps_roll_out_to_what_algebra_says);
    tcase_add_test(c, a_row_that_sees_nothing_looks_at_itself_and_one_token_rolls_out_to_one);
    tcase_add_test(c, maps_that_are_not_square_have_no_rollout);
    tcase_add_test(c, bits_are_equal_for_any_number_of_threads);
    tcase_add_test(c, without_memory_there_is_an_error_and_nothing_leaks);
    tcase_add_test(c, a_raised_cancel_ends_the_work);
    tcase_add_test(c, sizes_beyond_all_memory_are_priced_as_such);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
