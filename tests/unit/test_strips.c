/* test_strips.c - the strip kernels of every table, held against float64 and against the bounds stated in kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernels.h"
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define U 0x1p-24

enum { KEYS = 200, DIM = 700, COLS = 70, GUARD = 16, MOST = ATTN_STRIP_MOST };

static const attn_kernels *table; /* the one under test */
static uint64_t seed;
static float x[KEYS * MOST + GUARD], q[DIM * MOST], k[KEYS * (DIM + 3)], factor[KEYS];
static double y[COLS * MOST + GUARD];

static float uniform(double low, double high)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(low + (high - low) * ((double)(seed >> 11) * 0x1p-53));
}

static void fill(float *row, size_t n, double low, double high)
{
    for (size_t i = 0; i < n; i++)
        row[i] = uniform(low, high);
}

static void set_table(int i)
{
    table = attn_kernels_all()[i];
    seed = 1;
    ck_assert_uint_le(table->strip, ATTN_STRIP_MOST);
}

/* Sizes below, at and above every number of keys or columns that a kernel takes at a time. */
static size_t next_size(size_t n)
{
    return n < 20 ? n + 1 : n < 60 ? n + 13 : n == 60 ? 63 : n < 66 ? n + 1 : n < 127 ? 127 : n + 1;
}

static void check_guard(size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        if (x[n * table->strip + i] != 12345.0f)
            ck_abort_msg("%s wrote behind %zu keys", table->name, n);
}

static void set_guard(size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        x[n * table->strip + i] = 12345.0f;
}

/* ---- scores ------------------------------------------------------------------------------------------------------------- */

static double check_scores(size_t n, size_t d, ptrdiff_t stride)
{
    const size_t strip = table->strip;
    float max[MOST], seen[MOST];
    double worst = 0.0;
    attn_strip_product product = { .q = q, .k = k, .k_stride = stride, .d = d, .scale = 0.3f };
    for (size_t r = 0; r < strip; r++)
        seen[r] = max[r] = r % 2 ? -INFINITY : 0.25f;
    set_guard(n);
    ck_assert(table->strip_scores(x, max, &product, n));
    check_guard(n);
    for (size_t j = 0; j < n; j++)
        for (size_t r = 0; r < strip; r++) {
            double sum = 0.0, size = 0.0;
            for (size_t l = 0; l < d; l++) {
                double term = (double)0.3f * (double)k[(ptrdiff_t)j * stride + (ptrdiff_t)l] * (double)q[l * strip + r];
                sum += term;
                size += fabs(term);
            }
            worst = fmax(worst, fabs((double)x[j * strip + r] - sum) / fmax(size, 1e-30));
            seen[r] = fmaxf(seen[r], x[j * strip + r]);
        }
    for (size_t r = 0; r < strip; r++)
        ck_assert(max[r] == seen[r]);
    return worst;
}

START_TEST(scores_are_products_and_their_largest_is_known)
{
    set_table(_i);
    double worst = 0.0;
    for (size_t n = 0; n <= 130; n = next_size(n))
        for (size_t d = 1; d <= DIM; d = d < 4 ? d + 1 : d < 300 ? d * 4 : d + 199) {
            fill(q, d * table->strip, -2, 2);
            fill(k, n * (d + 3), -2, 2);
            worst = fmax(worst, check_scores(n, d, (ptrdiff_t)(d + n % 4)));
        }
    fprintf(stderr, "%-6s strip scores: error %.1f u of the sum of sizes\n", table->name, worst / U);
    ck_assert_double_le(worst, 1e-6);
}
END_TEST

START_TEST(a_score_that_is_not_finite_is_told_wherever_it_is)
{
    set_table(_i);
    static const float bad[] = { INFINITY, -INFINITY, NAN };
    for (size_t n = 1; n <= 20; n++)
        for (size_t at = 0; at < n; at++)
            for (int b = 0; b < 3; b++) {
                float max[MOST] = { 0 };
                fill(q, 2 * table->strip, 0.5, 1);
                fill(k, 2 * n, -1, 1);
                attn_strip_product product = { .q = q, .k = k, .k_stride = 2, .d = 2, .scale = 1.0f };
                ck_assert(table->strip_scores(x, max, &product, n));
                k[2 * at + 1] = bad[b];
                ck_assert(!table->strip_scores(x, max, &product, n));
                fill(k, 2 * n, -1, 1);
                q[at * 7 % (2 * table->strip)] = bad[b];
                ck_assert(!table->strip_scores(x, max, &product, n));
            }
    fill(q, 2 * table->strip, 1, 1);
    fill(k, 2, 1.7e38, 1.7e38);
    attn_strip_product product = { .q = q, .k = k, .k_stride = 2, .d = 2, .scale = 1.0f };
    float max[MOST] = { 0 };
    ck_assert(!table->strip_scores(x, max, &product, 1) || x[0] <= FLT_MAX);
    k[0] = k[1] = FLT_MAX;
    ck_assert(!table->strip_scores(x, max, &product, 1));
}
END_TEST

/* ---- exp ---------------------------------------------------------------------------------------------------------------- */

static void check_exp(size_t n, double low, double high, double *worst, double *worst_sum)
{
    const size_t strip = table->strip;
    static float from[KEYS * MOST];
    float base[MOST];
    double sum[MOST], want[MOST];
    fill(from, n * strip, low, high);
    for (size_t i = 0; i < n * strip; i += 7)
        from[i] = -INFINITY;
    memcpy(x, from, n * strip * sizeof *x);
    fill(base, strip, -1, 1);
    for (size_t r = 0; r < strip; r++)
        want[r] = sum[r] = r % 2 ? 0.5 : 0.0;
    set_guard(n);
    table->strip_exp(x, n, base, sum);
    check_guard(n);
    for (size_t i = 0; i < n * strip; i++) {
        double exact = exp((double)from[i] - (double)base[i % strip]), difference = fabs((double)from[i] - (double)base[i % strip]);
        want[i % strip] += (double)x[i];
        if (from[i] == -INFINITY)
            ck_assert(x[i] == 0.0f);
        else if (difference <= 87)
            *worst = fmax(*worst, (fabs((double)x[i] / exact - 1) - difference * U) / U);
    }
    for (size_t r = 0; r < strip; r++)
        *worst_sum = fmax(*worst_sum, fabs(sum[r] / fmax(want[r], 1e-300) - (want[r] > 0 ? 1 : 0)) / U);
}

START_TEST(exp_is_within_4_u_and_its_sum_within_20)
{
    set_table(_i);
    double worst = 0.0, worst_sum = 0.0;
    for (size_t n = 0; n <= 130; n = next_size(n)) {
        check_exp(n, -4, 8, &worst, &worst_sum);
        check_exp(n, -80, 0, &worst, &worst_sum);
        check_exp(n, 0.1, 0.1, &worst, &worst_sum);
    }
    fprintf(stderr, "%-6s strip exp: relative error %.2f u, sums %.2f u\n", table->name, worst, worst_sum);
    ck_assert_double_le(worst, 4);
    ck_assert_double_le(worst_sum, 20);
}
END_TEST

START_TEST(exp_far_below_its_base_is_0_and_nan_stays)
{
    set_table(_i);
    const size_t strip = table->strip;
    float base[MOST];
    double sum[MOST] = { 0.0 };
    for (size_t r = 0; r < strip; r++)
        base[r] = 3e38f;
    for (size_t i = 0; i < 5 * strip; i++)
        x[i] = -3e38f;
    x[0] = 3e38f;
    x[3 * strip + 1] = NAN;
    table->strip_exp(x, 5, base, sum);
    ck_assert(x[0] == 1.0f && sum[0] == 1.0 && isnan(sum[1]) && isnan(x[3 * strip + 1]));
    for (size_t r = 2; r < strip; r++)
        ck_assert(sum[r] == 0.0);
}
END_TEST

/* ---- values ------------------------------------------------------------------------------------------------------------- */

static double check_values(size_t n, size_t cols, ptrdiff_t stride)
{
    const size_t strip = table->strip;
    double worst = 0.0;
    for (size_t i = 0; i < COLS * MOST + GUARD; i++)
        y[i] = 0.5;
    table->strip_values(y, k, stride, cols, x, n);
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < strip; r++) {
            double sum = 0.5, size = 0.5;
            for (size_t j = 0; j < n; j++) {
                double term = (double)k[(ptrdiff_t)j * stride + (ptrdiff_t)c] * (double)x[j * strip + r];
                sum += term;
                size += fabs(term);
            }
            worst = fmax(worst, fabs(y[c * strip + r] - sum) / size);
        }
    for (size_t i = cols * strip; i < cols * strip + GUARD; i++)
        ck_assert(y[i] == 0.5);
    return worst;
}

START_TEST(values_are_weighed_and_added)
{
    set_table(_i);
    double worst = 0.0;
    for (size_t n = 0; n <= 130; n = next_size(n))
        for (size_t cols = 1; cols <= COLS; cols = next_size(cols)) {
            fill(x, n * table->strip, 0, 1);
            fill(k, n * (cols + 3), -2, 2);
            worst = fmax(worst, check_values(n, cols, (ptrdiff_t)(cols + n % 4)));
        }
    fprintf(stderr, "%-6s strip values: error %.1f u of the sum of sizes\n", table->name, worst / U);
    ck_assert_double_le(worst, 1e-6);
}
END_TEST

/* ---- sums and maxima ---------------------------------------------------------------------------------------------------- */

START_TEST(sums_are_in_double_and_maxima_exact)
{
    set_table(_i);
    const size_t strip = table->strip;
    for (size_t n = 0; n <= 130; n = next_size(n))
        for (int with = 0; with < 2; with++) {
            float max[MOST], want_max[MOST];
            double sum[MOST], want[MOST];
            fill(x, n * strip, -2, 2);
            fill(factor, n, 0, 3);
            for (size_t r = 0; r < strip; r++) {
                want[r] = sum[r] = 0.125;
                want_max[r] = max[r] = r % 3 ? -INFINITY : 1.0f;
            }
            for (size_t i = 0; i < n * strip; i++) {
                float f = with ? factor[i / strip] : 1.0f;
                want[i % strip] += (double)f * (double)x[i];
                want_max[i % strip] = fmaxf(want_max[i % strip], f * x[i]);
            }
            table->strip_sum(sum, x, n, with ? factor : NULL);
            table->strip_max(max, x, n, with ? factor : NULL);
            for (size_t r = 0; r < strip; r++)
                ck_assert(fabs(sum[r] - want[r]) <= 1e-12 && max[r] == want_max[r]);
        }
}
END_TEST

START_TEST(a_hidden_score_makes_its_sum_minus_infinity_and_no_maximum)
{
    set_table(_i);
    float max[MOST];
    double sum[MOST] = { 0.0 };
    fill(x, 5 * table->strip, -3e38, 3e38);
    for (size_t r = 0; r < MOST; r++)
        max[r] = -INFINITY;
    for (size_t r = 0; r < table->strip; r++)
        x[2 * table->strip + r] = r % 2 ? -INFINITY : 3e38f;
    table->strip_sum(sum, x, 5, NULL);
    table->strip_max(max, x, 5, NULL);
    for (size_t r = 0; r < table->strip; r++)
        ck_assert(r % 2 ? sum[r] == -INFINITY && isfinite(max[r]) : isfinite(sum[r]) && max[r] == 3e38f);
}
END_TEST

int main(void)
{
    int tables = 0;
    while (attn_kernels_all()[tables])
        tables++;
    Suite *suite = suite_create("strips");
    TCase *tests = tcase_create("strips");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, scores_are_products_and_their_largest_is_known, 0, tables);
    tcase_add_loop_test(tests, a_score_that_is_not_finite_is_told_wherever_it_is, 0, tables);
    tcase_add_loop_test(tests, exp_is_within_4_u_and_its_sum_within_20, 0, tables);
    tcase_add_loop_test(tests, exp_far_below_its_base_is_0_and_nan_stays, 0, tables);
    tcase_add_loop_test(tests, values_are_weighed_and_added, 0, tables);
    tcase_add_loop_test(tests, sums_are_in_double_and_maxima_exact, 0, tables);
    tcase_add_loop_test(tests, a_hidden_score_makes_its_sum_minus_infinity_and_no_maximum, 0, tables);
    suite_add_tcase(suite, tests);
    return unit_main(suite);
}
