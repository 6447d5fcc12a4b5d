/* test_analysis.c - the analyses that are one number a row: random maps against double, at every kernel table; numbers by hand; ranges and ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis_case.h"

#include <stdio.h>

/* The keys from the first to the last with a weight; outside them `copy` holds NaN, which nobody may read. */
static attn_range show_row(const analysis_case *c, size_t h, size_t i, float *copy)
{
    const float *a = c->head[h] + i * c->T_k;
    attn_range seen = { c->T_k, 0 };
    for (size_t j = 0; j < c->T_k; j++) {
        copy[j] = NAN;
        if (a[j] != 0) {
            seen.lo = attn_least(seen.lo, j);
            seen.hi = j + 1;
        }
    }
    for (size_t j = seen.lo; j < seen.hi; j++)
        copy[j] = a[j];
    return seen;
}

static attn_row_sums sums_of(const analysis_case *c, const attn_analyst *an, const attn_kernels *kernels, size_t h)
{
    attn_row_sums all = { 0 };
    float copy[CASE_MOST];
    for (size_t i = 0; i < c->T_q; i++) {
        attn_row_sums one = { 0 };
        attn_range seen = show_row(c, h, i, copy);
        attn_analyse_row(an, kernels, i, copy, seen, &one);
        attn_row_sums_add(&all, &one);
    }
    return all;
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

START_TEST(row_analyses_agree_with_double_for_any_shape_offset_mask_and_ids)
{
    attn_arena *arena = attn_arena_new();
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        double worst = 0;
        for (size_t size = 0; size < NUM_SIZES; size++)
            for (size_t form = 0; form < NUM_FORMS; form++) {
                set_case(size, form);
                const analysis_case *c = &the_case;
                attn_analyst an = analyst_of(c, ALL_ROWS, arena);
                for (size_t h = 0; h < c->heads; h++) {
                    attn_row_sums sums = sums_of(c, &an, *table, h);
                    for (int which = 0; which < ATTN_NUM_HEAD_ANALYSES; which++) {
                        double want = case_expected(c, (attn_analysis)which, h), got = (double)attn_row_sums_mean(&sums, (attn_analysis)which);
                        double error = fabs(got - want) / fmax(1, fabs(want));
                        if (!(error <= 1e-6))
                            ck_abort_msg("%s, size %zu, form %zu, head %zu, %s: %.9g, not %.9g", (*table)->name, size, form, h,
                                         attn_analysis_name((attn_analysis)which), got, want);
                        worst = fmax(worst, error);
                    }
                }
                attn_arena_reset(arena, 0);
            }
        fprintf(stderr, "%-6s row analyses: error %.2e max(1, |x|)\n", (*table)->name, worst);
    }
    attn_arena_free(arena);
}
END_TEST

START_TEST(only_what_was_asked_for_is_counted_and_made_ready)
{
    attn_arena *arena = attn_arena_new();
    set_case(5, 1);
    for (int which = 0; which < ATTN_NUM_HEAD_ANALYSES; which++) {
        attn_analyst an = analyst_of(&the_case, ATTN_ANALYSIS_BIT(which), arena);
        attn_row_sums sums = sums_of(&the_case, &an, attn_kernels_find(NULL), 0);
        for (int other = 0; other < ATTN_NUM_HEAD_ANALYSES; other++)
            ck_assert_int_eq(sums.rows[other] > 0, other == which);
        ck_assert_uint_le(attn_arena_peak(arena), attn_analyst_bytes(ATTN_ANALYSIS_BIT(which), the_case.T_k));
        attn_arena_reset(arena, 0);
    }
    attn_arena_free(arena);
}
END_TEST

START_TEST(a_weight_rounded_up_beyond_1_gives_no_entropy_below_0)
{
    const attn_analyst an = { .wanted = ATTN_ANALYSIS_BIT(ATTN_ENTROPY), .T_q = 1, .T_k = 3 };
    const float a[] = { 0, 1 + 0x1p-23f, 0 };
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        attn_row_sums sums = { 0 };
        attn_analyse_row(&an, *table, 0, a, (attn_range){ 0, 3 }, &sums);
        ck_assert_uint_eq(sums.rows[ATTN_ENTROPY], 1);
        ck_assert_double_eq(sums.sum[ATTN_ENTROPY], 0);
    }
}
END_TEST

START_TEST(entropy_lies_in_0_to_ln_T_and_the_others_in_their_ranges)
{
    attn_arena *arena = attn_arena_new();
    for (size_t size = 0; size < NUM_SIZES; size++)
        for (size_t form = 0; form < NUM_FORMS; form++) {
            set_case(size, form);
            attn_analyst an = analyst_of(&the_case, ALL_ROWS, arena);
            attn_row_sums sums = sums_of(&the_case, &an, attn_kernels_find(NULL), 1);
            for (int which = 0; which < ATTN_NUM_HEAD_ANALYSES; which++) {
                float x = attn_row_sums_mean(&sums, (attn_analysis)which);
                double most = which == ATTN_ENTROPY ? log((double)the_case.T_k) : which == ATTN_MEAN_DISTANCE ? INFINITY : 1;
                ck_assert_float_ge(x, 0);
                ck_assert_double_le((double)x, most + 1e-6);
            }
            attn_arena_reset(arena, 0);
        }
    attn_arena_free(arena);
}
END_TEST

/* The numbers of a single row, by hand. */
static void check_row(const float *a, size_t T_k, size_t i, const int32_t *ids, const uint8_t *special, const float *want)
{
    attn_arena *arena = attn_arena_new();
    attn_analyst an;
    const attn_analysis_tokens tokens = { ids, special };
    ck_assert_int_eq(attn_analyst_init(&an, ALL_ROWS, &tokens, T_k, T_k, 0, NULL, arena, NULL), ATTN_OK);
    for (const attn_kernels *const *table = attn_kernels_all(); *table; table++) {
        attn_row_sums sums = { 0 };
        attn_analyse_row(&an, *table, i, a, (attn_range){ 0, T_k }, &sums);
        for (int which = 0; which < ATTN_NUM_HEAD_ANALYSES; which++)
            ck_assert_float_eq_tol(attn_row_sums_mean(&sums, (attn_analysis)which), want[which], 1e-6f);
    }
    attn_arena_free(arena);
}

START_TEST(one_token_gives_the_numbers_that_the_header_says)
{
    const float a[] = { 1 };
    const int32_t ids[] = { 5 };
    const uint8_t plain[] = { 0 }, special[] = { 1 };
    check_row(a, 1, 0, ids, plain, (const float[]){ 0, 1, 0, 1, 0, 0, 1, 0, 0, 0 });
    check_row(a, 1, 0, ids, special, (const float[]){ 0, 1, 0, 1, 0, 0, 1, 1, 0, 0 });
}
END_TEST

START_TEST(rows_worked_by_hand_come_out)
{
    const float two[] = { 0.25f, 0.75f };
    const int32_t ids[] = { 5, 5, 9, 5, 9 };
    const uint8_t special[] = { 1, 0, 0, 0, 1 };
    /* the second of two equal tokens: an earlier copy at 0, the key behind it is the token itself */
    check_row(two, 2, 1, ids, special, (const float[]){ 0.56233514f, 0.75f, 0.25f, 0.75f, 0.25f, 0, 0.25f, 0.25f, 0.25f, 0.75f });
    /* at 3, copies at 0 and 1, behind them 1 and 2; next_token at 4 */
    const float five[] = { 0.5f, 0.125f, 0.0625f, 0.25f, 0.0625f };
    check_row(five, 5, 3, ids, special, (const float[]){ 1.2996510f, 0.5f, 1.875f, 0.25f, 0.0625f, 0.0625f, 0.5f, 0.5625f, 0.625f, 0.1875f });
    /* ties, flat: ln 4; no token at 0 to be a copy of */
    const float flat[] = { 0.25f, 0.25f, 0.25f, 0.25f };
    check_row(flat, 4, 0, ids, special, (const float[]){ 1.3862944f, 0.25f, 1.5f, 0.25f, 0, 0.25f, 0.25f, 0.25f, 0, 0 });
}
END_TEST

START_TEST(padded_queries_empty_ranges_and_rows_of_zeros_do_not_count)
{
    attn_arena *arena = attn_arena_new();
    const uint8_t counts[] = { 1, 0 };
    const int32_t ids[] = { 3, 3 };
    const uint8_t special[] = { 1, 1 };
    const attn_analysis_tokens tokens = { ids, special };
    const float zeros[] = { 0, 0 }, some[] = { 0.5f, 0.5f };
    const attn_kernels *kernels = attn_kernels_find(NULL);
    attn_analyst an;
    attn_row_sums sums = { 0 };
    ck_assert_int_eq(attn_analyst_init(&an, ALL_ROWS, &tokens, 2, 2, 0, counts, arena, NULL), ATTN_OK);
    attn_analyse_row(&an, kernels, 0, zeros, (attn_range){ 0, 2 }, &sums);
    attn_analyse_row(&an, kernels, 0, some, (attn_range){ 1, 1 }, &sums);
    attn_analyse_row(&an, kernels, 0, some, (attn_range){ 2, 0 }, &sums);
    attn_analyse_row(&an, kernels, 1, some, (attn_range){ 0, 2 }, &sums);
    for (int which = 0; which < ATTN_NUM_HEAD_ANALYSES; which++) {
        ck_assert_uint_eq(sums.rows[which], 0);
        ck_assert_float_eq(attn_row_sums_mean(&sums, (attn_analysis)which), 0);
    }
    attn_arena_free(arena);
}
END_TEST

START_TEST(offsets_at_the_ends_of_int64_have_no_neighbours_and_a_finite_distance)
{
    const int64_t offsets[] = { INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1 };
    attn_arena *arena = attn_arena_new();
    const float a[] = { 0.5f, 0.25f, 0.25f };
    const int32_t ids[] = { 1, 1, 1 };
    const attn_analysis_tokens tokens = { ids, (const uint8_t[]){ 0, 1, 0 } };
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < 3; i++) {
            attn_analyst an;
            attn_row_sums sums = { 0 };
            ck_assert_int_eq(attn_analyst_init(&an, ALL_ROWS, &tokens, 3, 3, offsets[k], NULL, arena, NULL), ATTN_OK);
            attn_analyse_row(&an, attn_kernels_find(NULL), i, a, (attn_range){ 0, 3 }, &sums);
            ck_assert_float_eq_tol(attn_row_sums_mean(&sums, ATTN_MEAN_DISTANCE), 0x1p63f, 0x1p43f);
            ck_assert_uint_eq(sums.rows[ATTN_SELF] + sums.rows[ATTN_PREVIOUS_TOKEN] + sums.rows[ATTN_NEXT_TOKEN], 0);
            ck_assert_uint_eq(sums.rows[ATTN_DUPLICATE_TOKEN] + sums.rows[ATTN_INDUCTION], 0);
            ck_assert_float_eq(attn_row_sums_mean(&sums, ATTN_FIRST_TOKEN), 0.5f);
            ck_assert_float_eq(attn_row_sums_mean(&sums, ATTN_SPECIAL_TOKENS), 0.25f);
        }
    attn_arena_free(arena);
}
END_TEST

static void check_earlier(const int32_t *ids, size_t n)
{
    attn_arena *arena = attn_arena_new();
    attn_analyst an;
    const attn_analysis_tokens tokens = { ids, NULL };
    ck_assert_int_eq(attn_analyst_init(&an, ATTN_TOKEN_ANALYSES, &tokens, n, n, 0, NULL, arena, NULL), ATTN_OK);
    ck_assert_uint_le(attn_arena_peak(arena), attn_analyst_bytes(ATTN_TOKEN_ANALYSES, n));
    for (size_t k = 0; k < n; k++) {
        int32_t want = (int32_t)k - 1;
        while (want >= 0 && ids[want] != ids[k])
            want--;
        ck_assert_int_eq(an.earlier[k], want);
    }
    attn_arena_free(arena);
}

START_TEST(earlier_copies_are_found_whatever_the_ids_are)
{
    enum { MOST = 3000 };
    static int32_t ids[MOST];
    const int32_t ends[] = { INT32_MIN, INT32_MAX, -1, 0, INT32_MIN, 256, 65536, 16777216, -1, INT32_MAX, 0 };
    check_earlier(ends, sizeof ends / sizeof *ends);
    for (size_t n = 1; n <= 40; n++) {
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)case_uniform(-3, 3);
        check_earlier(ids, n);
    }
    for (size_t k = 0; k < MOST; k++)
        ids[k] = (int32_t)((uint32_t)(k % 700) << 16); /* alike in their low bits */
    check_earlier(ids, MOST);
    for (size_t k = 0; k < MOST; k++)
        ids[k] = 42;
    check_earlier(ids, MOST);
    for (size_t k = 0; k < MOST; k++)
        ids[k] = (int32_t)(k * 2654435761u);
    check_earlier(ids, MOST);
}
END_TEST

START_TEST(a_list_that_an_analysis_needs_and_nobody_gave_is_an_internal_error)
{
    attn_arena *arena = attn_arena_new();
    const int32_t ids[] = { 1 };
    const uint8_t special[] = { 1 };
    const attn_analysis_tokens without_ids = { NULL, special }, without_special = { ids, NULL };
    attn_analyst an;
    attn_error err = { 0 };
    const attn_analyses every_special = ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS);
    ck_assert_int_eq(attn_analyst_init(&an, ATTN_TOKEN_ANALYSES, &without_ids, 1, 1, 0, NULL, arena, &err), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_analyst_init(&an, ATTN_ANALYSIS_BIT(ATTN_INDUCTION), NULL, 1, 1, 0, NULL, arena, NULL), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_analyst_init(&an, every_special, &without_special, 1, 1, 0, NULL, arena, NULL), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_analyst_init(&an, every_special, &without_ids, 1, 1, 0, NULL, arena, NULL), ATTN_OK);
    ck_assert_int_eq(attn_analyst_init(&an, ATTN_TOKEN_ANALYSES, &without_special, 1, 1, 0, NULL, arena, NULL), ATTN_OK);
    ck_assert_int_eq(attn_analyst_init(&an, ALL_ROWS & ~(ATTN_TOKEN_ANALYSES | every_special), NULL, 1, 1, 0, NULL, arena, NULL), ATTN_OK);
    attn_arena_free(arena);
}
END_TEST

START_TEST(every_analysis_has_a_name_of_its_own)
{
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++) {
        ck_assert_uint_gt(strlen(attn_analysis_name((attn_analysis)a)), 3);
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(attn_analysis_name((attn_analysis)a), attn_analysis_name((attn_analysis)b));
    }
    ck_assert_str_eq(attn_analysis_name(ATTN_ENTROPY), "entropy");
    ck_assert_str_eq(attn_analysis_name(ATTN_HEAD_DISTANCE), "head_distance");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("analysis rows");
    TCase *c = tcase_create("analysis rows");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, row_analyses_agree_with_double_for_any_shape_offset_mask_and_ids);
    tcase_add_test(c, only_what_was_asked_for_is_counted_and_made_ready);
    tcase_add_test(c, a_weight_rounded_up_beyond_1_gives_no_entropy_below_0);
    tcase_add_test(c, entropy_lies_in_0_to_ln_T_and_the_others_in_their_ranges);
    tcase_add_test(c, one_token_gives_the_numbers_that_the_header_says);
    tcase_add_test(c, rows_worked_by_hand_come_out);
    tcase_add_test(c, padded_queries_empty_ranges_and_rows_of_zeros_do_not_count);
    tcase_add_test(c, offsets_at_the_ends_of_int64_have_no_neighbours_and_a_finite_distance);
    tcase_add_test(c, earlier_copies_are_found_whatever_the_ids_are);
    tcase_add_test(c, a_list_that_an_analysis_needs_and_nobody_gave_is_an_internal_error);
    tcase_add_test(c, every_analysis_has_a_name_of_its_own);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
