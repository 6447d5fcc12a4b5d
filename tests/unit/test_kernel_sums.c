/* test_kernel_sums.c - the kernels that take one number from a row of weights, in every table that this CPU runs, held against float64 and the bounds stated in
 * kernels.h. Expected sums are made in long double, so that none of the error is the test's own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernels.h"
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 33000 };

static const attn_kernels *table; /* the one under test */
static float x[MOST + 1], y[MOST + 1];

static const size_t big_sizes[] = { 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4099, 32768, MOST };

/* Lengths 1..100, then some big ones, then 0. */
static size_t next_size(size_t n)
{
    if (n < 100)
        return n + 1;
    for (size_t i = 0; i < sizeof big_sizes / sizeof *big_sizes; i++)
        if (big_sizes[i] > n)
            return big_sizes[i];
    return 0;
}

static uint64_t seed = 1;

static double uniform(double low, double high)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * ((double)(seed >> 11) * 0x1p-53);
}

/* Weights that sum to 1: flat for sharpness 0, ever closer to one-hot beyond. */
static void fill_weights(float *w, size_t n, double sharpness)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        w[i] = (float)uniform(-1, 1);
        sum += exp(sharpness * (double)w[i]);
    }
    for (size_t i = 0; i < n; i++)
        w[i] = (float)(exp(sharpness * (double)w[i]) / sum);
}

static void each_table(void (*body)(void))
{
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        table = *all;
        seed = 1;
        body();
    }
}

static long double entropy(const float *a, const float *b, size_t n)
{
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        long double m = ((long double)a[i] + (long double)b[i]) / 2;
        sum -= m > 0 ? m * logl(m) : 0;
    }
    return sum;
}

static const double sharpnesses[] = { 0, 0.01, 1, 4, 20, 80 };
enum { SHARPNESSES = sizeof sharpnesses / sizeof *sharpnesses };

/* All m lie in (0, 1), so that sum |m ln m| is the entropy itself. */
static void entropy_body(void)
{
    double worst = 0;
    for (size_t n = 2; n; n = next_size(n))
        for (size_t s = 0; s < SHARPNESSES; s++) {
            fill_weights(x, n, sharpnesses[s]);
            fill_weights(y, n, sharpnesses[(s + n) % SHARPNESSES]);
            double one = (double)entropy(x, x, n), both = (double)entropy(x, y, n);
            worst = fmax(worst, fabs(table->entropy_row(x, x, n) - one) / (one + 1e-30));
            worst = fmax(worst, fabs(table->entropy_row(x, y, n) - both) / (both + 1e-30));
        }
    fprintf(stderr, "%-6s entropy: relative error %.2e\n", table->name, worst);
    ck_assert_double_le(worst, 1e-6);
}

START_TEST(entropy_is_within_1e_6_of_long_double_for_any_length_and_sharpness)
{
    each_table(entropy_body);
}
END_TEST

/* One number at a time: the logarithm itself, around every power of two and at the ends. */
static void logarithm_body(void)
{
    double worst = 0;
    for (int exponent = -126; exponent <= 0; exponent++)
        for (double at = 0.5; at <= 1; at += 1.0 / 1024) {
            float m = (float)ldexp(at, exponent + 1);
            if (m < FLT_MIN || m == 1)
                continue;
            double want = -(double)m * log((double)m), got = table->entropy_row(&m, &m, 1);
            worst = fmax(worst, fabs(got - want) / fabs(want));
        }
    for (float m = 1; m > 0.9999f; m = nextafterf(m, 0)) {
        double want = -(double)m * log((double)m), got = table->entropy_row(&m, &m, 1);
        worst = fmax(worst, fabs(got - want) / fmax(fabs(want), 1e-30));
    }
    fprintf(stderr, "%-6s one term of it: relative error %.2e\n", table->name, worst);
    ck_assert_double_le(worst, 4 * 0x1p-24);
}

START_TEST(a_term_of_the_entropy_keeps_its_relative_error_near_0_and_near_1)
{
    each_table(logarithm_body);
}
END_TEST

static void entropy_ends_body(void)
{
    const float nothing[] = { 0, 0, 1e-45f, 1e-40f, 0, -0.0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    ck_assert_double_eq(table->entropy_row(nothing, nothing, 17), 0);
    ck_assert_double_eq(table->entropy_row(nothing, nothing, 0), 0);
    float hot[19] = { 0 };
    for (size_t at = 0; at < 19; at++) {
        hot[at] = 1;
        ck_assert_double_eq(table->entropy_row(hot, hot, 19), 0);
        hot[at] = 0;
    }
    for (size_t n = 1; n; n = next_size(n)) { /* a flat row has ln n */
        for (size_t i = 0; i < n; i++)
            x[i] = 1 / (float)n;
        ck_assert_double_le(fabs(table->entropy_row(x, x, n) - log((double)n)), 1e-6 * log((double)n) + 1e-7);
    }
    const float two = 2, half = 0.5f;
    ck_assert_double_eq_tol(table->entropy_row(&two, &two, 1), -2 * log(2), 1e-6);
    ck_assert_double_eq_tol(table->entropy_row(&two, &half, 1), -1.25 * log(1.25), 1e-6);
}

START_TEST(entropy_of_nothing_and_of_one_hot_is_exactly_zero_and_of_a_flat_row_ln_n)
{
    each_table(entropy_ends_body);
}
END_TEST

/* Two heads that look alike must come out at a distance of exactly 0. */
static void entropy_same_body(void)
{
    for (size_t n = 1; n; n = next_size(n)) {
        fill_weights(x, n, 3);
        memcpy(y + 1, x, n * sizeof *x); /* another alignment */
        double own = table->entropy_row(x, x, n);
        ck_assert(own == table->entropy_row(x, y + 1, n) && own == table->entropy_row(y + 1, y + 1, n));
    }
}

START_TEST(entropy_of_two_equal_rows_has_the_bits_of_the_entropy_of_one)
{
    each_table(entropy_same_body);
}
END_TEST

static void dot_body(void)
{
    double worst = 0;
    for (size_t n = 1; n; n = next_size(n))
        for (int signs = 0; signs < 2; signs++) {
            long double want = 0, size = 0;
            for (size_t i = 0; i < n; i++) {
                x[i] = (float)uniform(signs ? -1 : 0, 1);
                y[i] = (float)uniform(signs ? -1000 : 0, 1000);
                want += (long double)x[i] * (long double)y[i];
                size += fabsl((long double)x[i] * (long double)y[i]);
            }
            worst = fmax(worst, fabs(table->dot_row(x, y, n) - (double)want) / (double)size);
        }
    fprintf(stderr, "%-6s dot: error %.2e of the sum of sizes\n", table->name, worst);
    ck_assert_double_le(worst, 1e-6);
    ck_assert_double_eq(table->dot_row(x, y, 0), 0);
}

START_TEST(dot_is_within_1e_6_of_long_double_for_any_length)
{
    each_table(dot_body);
}
END_TEST

/* Widened on the way or before: the same bits, whatever the patterns. */
static void narrow_dot_body(void)
{
    static uint16_t narrow[4100];
    for (size_t n = 1; n < 4100; n = next_size(n)) {
        for (size_t i = 0; i < n; i++) {
            narrow[i] = (uint16_t)uniform(0, 65536);
            narrow[i] = (narrow[i] & 0x7c00) == 0x7c00 ? (uint16_t)i : narrow[i];
            y[i] = (float)uniform(-100, 100);
        }
        table->from_half(x, narrow, n);
        ck_assert_double_eq(table->dot_half(narrow, y, n), table->dot_row(x, y, n));
        for (size_t i = 0; i < n; i++)
            narrow[i] &= 0xbfff; /* no infinities, nothing too large to be summed */
        table->from_bfloat16(x, narrow, n);
        ck_assert_double_eq(table->dot_bfloat16(narrow, y, n), table->dot_row(x, y, n));
    }
}

START_TEST(dots_with_16_bit_numbers_have_the_bits_of_those_with_floats)
{
    each_table(narrow_dot_body);
}
END_TEST

static void max_body(void)
{
    for (size_t n = 1; n; n = next_size(n)) {
        for (size_t i = 0; i < n; i++)
            x[i] = (float)uniform(-2, -1);
        for (size_t k = 0; k < 5; k++) {
            size_t at = k == 0 ? n - 1 : (size_t)uniform(0, (double)n);
            float keep = x[at];
            x[at] = -0.5f;
            ck_assert_float_eq(table->max_row(x, n), -0.5f);
            x[at] = keep;
        }
        memset(x, 0, n * sizeof *x);
        ck_assert_float_eq(table->max_row(x, n), 0);
    }
}

START_TEST(max_finds_the_largest_wherever_it_is)
{
    each_table(max_body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernel sums");
    TCase *c = tcase_create("kernel sums");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, entropy_is_within_1e_6_of_long_double_for_any_length_and_sharpness);
    tcase_add_test(c, a_term_of_the_entropy_keeps_its_relative_error_near_0_and_near_1);
    tcase_add_test(c, entropy_of_nothing_and_of_one_hot_is_exactly_zero_and_of_a_flat_row_ln_n);
    tcase_add_test(c, entropy_of_two_equal_rows_has_the_bits_of_the_entropy_of_one);
    tcase_add_test(c, dot_is_within_1e_6_of_long_double_for_any_length);
    tcase_add_test(c, dots_with_16_bit_numbers_have_the_bits_of_those_with_floats);
    tcase_add_test(c, max_finds_the_largest_wherever_it_is);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
