/* test_kernels.c - every kernel table that this CPU runs, held against float64 and against the bounds stated in kernels.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernels.h"
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define U 0x1p-24

enum { MOST = 5000, GUARD = 16 };

static const attn_kernels *table; /* the one under test */

static const size_t big_sizes[] = { 127, 128, 129, 511, 512, 513, 1023, 1025, 2048, 4096, MOST };

/* Lengths 1..67, then some big ones, then 0. */
static size_t next_size(size_t n)
{
    if (n < 67)
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

static void fill(float *x, size_t n, double low, double high)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)uniform(low, high);
}

/* Calls `body` for every table. */
static void each_table(void (*body)(void))
{
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        table = *all;
        seed = 1;
        body();
    }
}

static void set_guard(float *x, size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        x[n + i] = 12345.0f;
}

static void check_guard(const float *x, size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        if (x[n + i] != 12345.0f)
            ck_abort_msg("%s wrote behind a row of %zu", table->name, n);
}

/* ---- exp -------------------------------------------------------------------------------------------------------------- */

static void exp_body(void)
{
    float x[997], y[997];
    double worst = 0;
    for (double at = -87; at < 88;) {
        size_t n = 0;
        for (; n < 997 && at <= 88; n++, at += 1.7e-4)
            x[n] = (float)at;
        table->exp_row(y, x, n);
        for (size_t i = 0; i < n; i++)
            worst = fmax(worst, fabs((double)y[i] / exp((double)x[i]) - 1));
    }
    fprintf(stderr, "%-6s exp: relative error %.2f u\n", table->name, worst / U);
    ck_assert_double_le(worst, 4 * U);
}

START_TEST(exp_is_within_4_u_of_double)
{
    each_table(exp_body);
}
END_TEST

static void exp_edges_body(void)
{
    const float x[] = { -INFINITY, -1e30f, -104, -88, 0, 88.7f, 88.722f, 88.8f, 89, 1e30f, INFINITY, NAN, -0.0f, FLT_MIN, 1e-45f };
    float y[15];
    table->exp_row(y, x, 15);
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq(y[i], 0);
    ck_assert_float_eq(y[4], 1);
    ck_assert_double_le(fabs((double)y[5] / exp((double)x[5]) - 1), 4 * U);
    ck_assert_double_le(fabs((double)y[6] / exp((double)x[6]) - 1), 4 * U);
    for (int i = 7; i < 11; i++)
        ck_assert_float_infinite(y[i]);
    ck_assert_float_nan(y[11]);
    for (int i = 12; i < 15; i++)
        ck_assert_float_eq(y[i], 1);
}

START_TEST(exp_has_exact_ends)
{
    each_table(exp_edges_body);
}
END_TEST

/* ---- softmax ---------------------------------------------------------------------------------------------------------- */

static double softmax_worst;

static void check_softmax(const float *x, size_t n)
{
    static float y[MOST + GUARD];
    memcpy(y, x, n * sizeof *y);
    set_guard(y, n);
    ck_assert(table->softmax_row(y, n));
    check_guard(y, n);
    double max = -INFINITY, sum = 0, total = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, (double)x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    for (size_t i = 0; i < n; i++) {
        double want = exp((double)x[i] - max) / sum;
        double error = fabs((double)y[i] - want);
        total += (double)y[i];
        if (x[i] == -INFINITY) {
            if (y[i] != 0)
                ck_abort_msg("%s, n %zu: a masked weight is %g", table->name, n, (double)y[i]);
            continue;
        }
        /* x - max is rounded once, which exp turns into a relative error of |x - max| u / 2. */
        double allowed = want * (1e-6 + fabs((double)x[i] - max) * U) + (double)FLT_MIN;
        if (!(error <= allowed))
            ck_abort_msg("%s, n %zu, x[%zu] - max %g: %.9g, not %.9g", table->name, n, i, (double)x[i] - max, (double)y[i], want);
        if (max - (double)x[i] <= 8)
            softmax_worst = fmax(softmax_worst, error / want);
    }
    ck_assert_double_le(fabs(total - 1), 1e-6);
    static float z[MOST];
    bool hides = false;
    memcpy(z, x, n * sizeof *z);
    for (size_t i = 0; i < n; i++)
        hides |= x[i] == -INFINITY;
    ck_assert(table->softmax_finite_row(z, n) == !hides && (hides || memcmp(z, y, n * sizeof *z) == 0));
}

static void softmax_body(void)
{
    static float x[MOST];
    softmax_worst = 0;
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -4, 4);
        check_softmax(x, n);
        fill(x, n, -20, 0);
        check_softmax(x, n);
    }
    fprintf(stderr, "%-6s softmax: relative error %.2e, scores within 8 of the highest\n", table->name, softmax_worst);
    ck_assert_double_le(softmax_worst, 1e-6);
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, 90, 100); /* exp of these overflows */
        check_softmax(x, n);
        fill(x, n, -1000, 1000);
        check_softmax(x, n);
        for (size_t i = 0; i < n; i++)
            x[i] = 0.3f;
        check_softmax(x, n);
    }
}

START_TEST(softmax_is_within_1e_6_of_double_and_sums_to_one_for_any_length)
{
    each_table(softmax_body);
}
END_TEST

static void softmax_masked_body(void)
{
    static float x[MOST];
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -5, 5);
        for (size_t i = 0; i < n; i += 2)
            x[i] = -INFINITY;
        x[n / 2] = 1;
        check_softmax(x, n);
        for (size_t i = 0; i < n; i++)
            x[i] = i == n - 1 ? -3e38f : -INFINITY; /* one key left, and that the lowest there is */
        check_softmax(x, n);
        for (size_t i = 0; i < n; i++)
            x[i] = -INFINITY;
        ck_assert(table->softmax_row(x, n));
        for (size_t i = 0; i < n; i++)
            ck_assert_float_eq(x[i], 0);
    }
}

START_TEST(masked_scores_get_exactly_zero_and_a_fully_masked_row_is_zeros)
{
    each_table(softmax_masked_body);
}
END_TEST

static void softmax_bad_body(void)
{
    static float x[MOST];
    for (size_t n = 1; n <= 67; n++)
        for (size_t at = 0; at < n; at++) {
            fill(x, n, -1, 1);
            x[at] = NAN;
            ck_assert(!table->softmax_row(x, n));
            fill(x, n, -1, 1);
            x[at] = INFINITY;
            ck_assert(!table->softmax_row(x, n));
            fill(x, n, -1, 1);
            x[at] = FLT_MAX;
            ck_assert(table->softmax_row(x, n));
            ck_assert_float_eq(x[at], 1);
            for (size_t i = 0; i < n; i++)
                x[i] = i == at ? NAN : i % 2 ? -FLT_MAX : -INFINITY; /* among hidden keys, and where a maximum may lose it */
            ck_assert(!table->softmax_row(x, n));
            for (int bad = 0; bad < 3; bad++) {
                fill(x, n, -1, 1);
                x[at] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
                ck_assert(!table->softmax_finite_row(x, n));
            }
        }
}

START_TEST(softmax_refuses_nan_and_infinity_wherever_they_are)
{
    each_table(softmax_bad_body);
}
END_TEST

static void softmax_denormal_body(void)
{
    float x[40];
    for (int i = 0; i < 40; i++)
        x[i] = i == 0 ? 0.0f : -83.0f - 0.2f * (float)i;
    check_softmax(x, 40);
    for (int i = 0; i < 40; i++)
        x[i] = 1e-42f * (float)(i - 20); /* denormal scores are all but equal */
    check_softmax(x, 40);
    table->softmax_row(x, 40);
    for (int i = 0; i < 40; i++)
        ck_assert_float_eq_tol(x[i], 0.025f, 1e-8f);
}

START_TEST(denormal_scores_and_weights_do_no_harm)
{
    each_table(softmax_denormal_body);
}
END_TEST

/* ---- activations ------------------------------------------------------------------------------------------------------ */

static double exact(double x, attn_activation act)
{
    switch (act) {
    case ATTN_ACT_GELU:
        return x / 2 * erfc(-x / sqrt(2.0));
    case ATTN_ACT_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case ATTN_ACT_RELU:
        return fmax(x, 0);
    case ATTN_ACT_SILU:
        return x / (1 + exp(-x));
    case ATTN_ACT_NONE:
        break;
    }
    return x;
}

static const char *const act_names[] = { "none", "gelu", "gelu_tanh", "relu", "silu" };

static double act_error(const float *x, float *y, size_t n, attn_activation act)
{
    double worst = 0;
    memcpy(y, x, n * sizeof *y);
    set_guard(y, n);
    table->bias_act_row(y, NULL, n, act);
    check_guard(y, n);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)y[i] - exact((double)x[i], act)) / fmax(1, fabs((double)x[i])));
    return worst;
}

static void activation_body(void)
{
    static float x[MOST], y[MOST + GUARD];
    for (int act = ATTN_ACT_NONE; act <= ATTN_ACT_SILU; act++) {
        double worst = 0;
        for (double at = -30; at < 30;) {
            size_t n = 0;
            for (; n < MOST && at < 30; n++, at += 3.1e-5)
                x[n] = (float)at;
            worst = fmax(worst, act_error(x, y, n, (attn_activation)act));
        }
        for (size_t n = 1; n; n = next_size(n)) {
            fill(x, n, -1000, 1000);
            worst = fmax(worst, act_error(x, y, n, (attn_activation)act));
        }
        fprintf(stderr, "%-6s %s: error %.2e max(1, |x|)\n", table->name, act_names[act], worst);
        ck_assert_double_le(worst, act == ATTN_ACT_NONE || act == ATTN_ACT_RELU ? 0 : 1e-6);
    }
}

START_TEST(activations_are_within_1e_6_of_double)
{
    each_table(activation_body);
}
END_TEST

static void activation_ends_body(void)
{
    for (int act = ATTN_ACT_NONE; act <= ATTN_ACT_SILU; act++) {
        float x[] = { 1e10f, 1e20f, FLT_MAX, -1e10f, -1e20f, -FLT_MAX, NAN, 0, -0.0f };
        bool odd = act == ATTN_ACT_GELU_TANH || act == ATTN_ACT_SILU || act == ATTN_ACT_GELU || act == ATTN_ACT_RELU;
        table->bias_act_row(x, NULL, 9, (attn_activation)act);
        ck_assert_float_eq(x[0], 1e10f);
        ck_assert_float_eq(x[1], 1e20f);
        ck_assert_float_eq(x[2], FLT_MAX);
        for (int i = 3; i < 6 && odd; i++)
            ck_assert_float_eq(x[i], 0);
        ck_assert_float_nan(x[6]);
        ck_assert_float_eq(x[7], 0);
        ck_assert_float_eq(x[8], 0);
    }
}

START_TEST(activations_hold_at_the_ends_of_float32)
{
    each_table(activation_ends_body);
}
END_TEST

static void bias_body(void)
{
    static float x[MOST], bias[MOST], y[MOST + GUARD], z[MOST + GUARD];
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -3, 3);
        fill(bias, n, -3, 3);
        for (int act = ATTN_ACT_NONE; act <= ATTN_ACT_SILU; act++) {
            memcpy(y, x, n * sizeof *y);
            set_guard(y, n);
            table->bias_act_row(y, bias, n, (attn_activation)act);
            check_guard(y, n);
            for (size_t i = 0; i < n; i++)
                z[i] = x[i] + bias[i];
            table->bias_act_row(z, NULL, n, (attn_activation)act);
            ck_assert_mem_eq(y, z, n * sizeof *y);
            /* cut anywhere, the same bits */
            memcpy(z, x, n * sizeof *z);
            size_t cut = n * 2 / 3;
            table->bias_act_row(z, bias, cut, (attn_activation)act);
            table->bias_act_row(z + cut, bias + cut, n - cut, (attn_activation)act);
            ck_assert_mem_eq(y, z, n * sizeof *y);
        }
    }
}

START_TEST(bias_is_added_first_and_a_row_may_be_cut_anywhere)
{
    each_table(bias_body);
}
END_TEST

static void softcap_body(void)
{
    static float x[MOST], y[MOST + GUARD];
    const float caps[] = { 1, 30, 50, 1e4f };
    double worst = 0, small = 0;
    for (size_t c = 0; c < 4; c++)
        for (size_t n = 1; n; n = next_size(n)) {
            double cap = (double)caps[c];
            fill(x, n, n % 2 ? -6 * cap : -0.01 * cap, n % 2 ? 6 * cap : 0.01 * cap);
            memcpy(y, x, n * sizeof *y);
            set_guard(y, n);
            table->softcap_row(y, n, caps[c]);
            check_guard(y, n);
            for (size_t i = 0; i < n; i++) {
                double want = cap * tanh((double)x[i] / cap), error = fabs((double)y[i] - want);
                worst = fmax(worst, error / cap);
                if (fabs((double)x[i]) < cap / 2)
                    small = fmax(small, error / fabs(want));
            }
        }
    fprintf(stderr, "%-6s softcap: error %.2e cap; relative %.2e below cap / 2\n", table->name, worst, small);
    ck_assert_double_le(worst, 1e-6);
    ck_assert_double_le(small, 1e-6);
    float ends[] = { INFINITY, -INFINITY, NAN, 0, 3e38f };
    table->softcap_row(ends, 5, 30);
    ck_assert_float_eq(ends[0], 30);
    ck_assert_float_eq(ends[1], -30);
    ck_assert_float_nan(ends[2]);
    ck_assert_float_eq(ends[3], 0);
    ck_assert_float_eq(ends[4], 30);
}

START_TEST(softcap_is_within_1e_6_of_its_cap_and_keeps_small_scores)
{
    each_table(softcap_body);
}
END_TEST

/* ---- layer norm ------------------------------------------------------------------------------------------------------- */

static float gain[MOST], shift[MOST], bias_row[MOST], residual_row[MOST];

/* The worst error against double of z as float32 sums it, in units of max(1, |y|). */
static double norm_error(const float *x, const float *bias, const float *residual, size_t n, float eps)
{
    static float y[MOST + GUARD], z[MOST];
    double mean = 0, variance = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        z[i] = bias ? x[i] + bias[i] : x[i];
        z[i] = residual ? z[i] + residual[i] : z[i];
        mean += (double)z[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++)
        variance += ((double)z[i] - mean) * ((double)z[i] - mean) / (double)n;
    set_guard(y, n);
    table->layer_norm_row(y, x, bias, residual, gain, shift, n, eps);
    check_guard(y, n);
    for (size_t i = 0; i < n; i++) {
        double want = ((double)z[i] - mean) / sqrt(variance + (double)eps) * (double)gain[i] + (double)shift[i];
        worst = fmax(worst, fabs((double)y[i] - want) / fmax(1, fabs(want)));
    }
    return worst;
}

static void layer_norm_body(void)
{
    static float x[MOST];
    double worst = 0;
    fill(gain, MOST, -2, 2);
    fill(shift, MOST, -2, 2);
    for (size_t n = 1; n; n = next_size(n))
        for (int form = 0; form < 4; form++) {
            fill(x, n, -3, 3);
            fill(bias_row, n, -1, 1);
            fill(residual_row, n, -5, 5);
            worst = fmax(worst, norm_error(x, form & 1 ? bias_row : NULL, form & 2 ? residual_row : NULL, n, 1e-5f));
        }
    fprintf(stderr, "%-6s layer norm: error %.2e max(1, |y|)", table->name, worst);
    ck_assert_double_le(worst, 1e-6);
    worst = 0;
    for (size_t n = 2; n; n = next_size(n)) {
        fill(x, n, 1e4 - 1, 1e4 + 1);
        worst = fmax(worst, norm_error(x, NULL, NULL, n, 1e-5f));
    }
    fprintf(stderr, "; around 1e4 %.2e\n", worst);
    ck_assert_double_le(worst, 1e-6);
}

START_TEST(layer_norm_agrees_with_double_also_around_a_large_mean)
{
    each_table(layer_norm_body);
}
END_TEST

static void layer_norm_in_place_body(void)
{
    static float x[MOST], y[MOST], in_x[MOST], in_residual[MOST];
    fill(gain, MOST, -2, 2);
    fill(shift, MOST, -2, 2);
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -3, 3);
        fill(bias_row, n, -1, 1);
        fill(residual_row, n, -5, 5);
        table->layer_norm_row(y, x, bias_row, residual_row, gain, shift, n, 1e-12f);
        memcpy(in_x, x, n * sizeof *x);
        table->layer_norm_row(in_x, in_x, bias_row, residual_row, gain, shift, n, 1e-12f);
        ck_assert_mem_eq(in_x, y, n * sizeof *y);
        memcpy(in_residual, residual_row, n * sizeof *x);
        table->layer_norm_row(in_residual, x, bias_row, in_residual, gain, shift, n, 1e-12f);
        ck_assert_mem_eq(in_residual, y, n * sizeof *y);
    }
}

START_TEST(layer_norm_works_in_place_of_x_and_of_the_residual)
{
    each_table(layer_norm_in_place_body);
}
END_TEST

static void layer_norm_edges_body(void)
{
    float x[50], y[50];
    for (size_t i = 0; i < 50; i++) {
        x[i] = 7.1f;
        gain[i] = 1;
        shift[i] = 0.5f;
    }
    table->layer_norm_row(y, x, NULL, NULL, gain, shift, 50, 1e-12f);
    for (size_t i = 0; i < 50; i++)
        ck_assert_float_eq_tol(y[i], 0.5f, 1e-5f);
    for (size_t i = 0; i < 50; i++)
        x[i] = i % 2 ? 1e30f : -1e30f; /* the variance leaves float32 */
    table->layer_norm_row(y, x, NULL, NULL, gain, shift, 50, 1e-12f);
    ck_assert(!table->all_finite(y, 50));
    x[3] = NAN;
    table->layer_norm_row(y, x, NULL, NULL, gain, shift, 50, 1e-12f);
    ck_assert(!table->all_finite(y, 50));
}

START_TEST(a_constant_row_gives_the_shift_and_an_overflow_gives_nan)
{
    each_table(layer_norm_edges_body);
}
END_TEST

/* ---- RMS norm --------------------------------------------------------------------------------------------------------- */

static void rms_norm_body(void)
{
    static float x[MOST], y[MOST + GUARD], in_place[MOST];
    double worst = 0;
    fill(gain, MOST, -2, 2);
    for (size_t n = 1; n; n = next_size(n))
        for (double size = 1e-12; size < 1e15; size *= 1e3) {
            double squares = 0;
            fill(x, n, -size, size);
            for (size_t i = 0; i < n; i++)
                squares += (double)x[i] * (double)x[i] / (double)n;
            set_guard(y, n);
            table->rms_norm_row(y, x, gain, n, 1e-6f);
            check_guard(y, n);
            for (size_t i = 0; i < n; i++) {
                double want = (double)x[i] / sqrt(squares + (double)1e-6f) * (double)gain[i];
                worst = fmax(worst, fabs((double)y[i] - want) / (fabs(want) + 1e-30));
            }
            memcpy(in_place, x, n * sizeof *x);
            table->rms_norm_row(in_place, in_place, gain, n, 1e-6f);
            ck_assert_mem_eq(in_place, y, n * sizeof *y);
        }
    fprintf(stderr, "%-6s rms norm: relative error %.2e\n", table->name, worst);
    ck_assert_double_le(worst, 1e-6);
    fill(x, 50, -1e30, 1e30); /* the mean square leaves float32 */
    table->rms_norm_row(y, x, gain, 50, 1e-6f);
    ck_assert(!table->all_finite(y, 50));
}

START_TEST(rms_norm_agrees_with_double_for_any_size_and_in_place)
{
    each_table(rms_norm_body);
}
END_TEST

/* ---- the rest --------------------------------------------------------------------------------------------------------- */

static void add_body(void)
{
    static float x[MOST], y[MOST + GUARD], want[MOST];
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -1, 1);
        fill(y, n, -1, 1);
        for (size_t i = 0; i < n; i++)
            want[i] = y[i] + x[i];
        set_guard(y, n);
        table->add_row(y, x, n);
        check_guard(y, n);
        ck_assert_mem_eq(y, want, n * sizeof *y);
        for (size_t i = 0; i < n; i++)
            want[i] = y[i] * x[i];
        table->mul_row(y, x, n);
        check_guard(y, n);
        ck_assert_mem_eq(y, want, n * sizeof *y);
    }
}

START_TEST(add_row_adds_and_mul_row_multiplies)
{
    each_table(add_body);
}
END_TEST

static void finite_body(void)
{
    static float x[MOST];
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -3e38, 3e38);
        x[n - 1] = -1e-45f;
        ck_assert(table->all_finite(x, n));
        for (size_t at = 0; at < n; at += n < 100 ? 1 : 97) {
            float keep = x[at];
            const float bad[] = { NAN, INFINITY, -INFINITY };
            for (size_t b = 0; b < 3; b++) {
                x[at] = bad[b];
                ck_assert(!table->all_finite(x, n));
            }
            x[at] = keep;
        }
    }
    ck_assert(table->all_finite(x, 0));
}

START_TEST(all_finite_finds_a_single_bad_number)
{
    each_table(finite_body);
}
END_TEST

static void transpose_body(void)
{
    static float src[40 * 50], dst[50 * 45];
    fill(src, 40 * 50, -1, 1);
    for (size_t rows = 1; rows <= 37; rows++)
        for (size_t cols = 1; cols <= 37; cols++) {
            for (size_t i = 0; i < 50 * 45; i++)
                dst[i] = 99;
            table->transpose(dst, 45, src, 50, rows, cols);
            for (size_t c = 0; c < 50; c++)
                for (size_t r = 0; r < 45; r++)
                    if (dst[c * 45 + r] != (r < rows && c < cols ? src[r * 50 + c] : 99))
                        ck_abort_msg("%s, %zu x %zu: (%zu, %zu) is wrong", table->name, rows, cols, r, c);
        }
}

START_TEST(transpose_moves_every_number_and_touches_no_other)
{
    each_table(transpose_body);
}
END_TEST

static void same_bits_body(void)
{
    static float x[MOST], y[MOST], z[MOST + 1];
    for (size_t n = 1; n; n = next_size(n)) {
        fill(x, n, -10, 10);
        memcpy(y, x, n * sizeof *x);
        memcpy(z + 1, x, n * sizeof *x); /* another alignment */
        table->softmax_row(y, n);
        table->softmax_row(z + 1, n);
        ck_assert_mem_eq(y, z + 1, n * sizeof *y);
    }
    for (size_t n = 1; n < 200; n++) { /* a row padded with masked keys */
        fill(x, n, -10, 10);
        memcpy(y, x, n * sizeof *x);
        for (size_t i = n; i < 200; i++)
            y[i] = -INFINITY;
        table->softmax_row(x, n);
        table->softmax_row(y, 200);
        ck_assert_mem_eq(x, y, n * sizeof *y);
    }
}

START_TEST(bits_depend_neither_on_alignment_nor_on_masked_keys_behind)
{
    each_table(same_bits_body);
}
END_TEST

START_TEST(tables_are_found_by_name_and_ref_is_the_last)
{
    const attn_kernels *const *all = attn_kernels_all();
    size_t n = 0;
    for (; all[n]; n++)
        ck_assert_ptr_eq(attn_kernels_find(all[n]->name), all[n]);
    ck_assert_str_eq(all[n - 1]->name, "ref");
    ck_assert_ptr_eq(attn_kernels_find("auto"), all[0]);
    ck_assert_ptr_eq(attn_kernels_find(NULL), all[0]);
    ck_assert_ptr_null(attn_kernels_find("avx"));
    ck_assert_ptr_null(attn_kernels_find(""));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels");
    TCase *c = tcase_create("kernels");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, exp_is_within_4_u_of_double);
    tcase_add_test(c, exp_has_exact_ends);
    tcase_add_test(c, softmax_is_within_1e_6_of_double_and_sums_to_one_for_any_length);
    tcase_add_test(c, masked_scores_get_exactly_zero_and_a_fully_masked_row_is_zeros);
    tcase_add_test(c, softmax_refuses_nan_and_infinity_wherever_they_are);
    tcase_add_test(c, denormal_scores_and_weights_do_no_harm);
    tcase_add_test(c, activations_are_within_1e_6_of_double);
    tcase_add_test(c, activations_hold_at_the_ends_of_float32);
    tcase_add_test(c, bias_is_added_first_and_a_row_may_be_cut_anywhere);
    tcase_add_test(c, softcap_is_within_1e_6_of_its_cap_and_keeps_small_scores);
    tcase_add_test(c, layer_norm_agrees_with_double_also_around_a_large_mean);
    tcase_add_test(c, layer_norm_works_in_place_of_x_and_of_the_residual);
    tcase_add_test(c, a_constant_row_gives_the_shift_and_an_overflow_gives_nan);
    tcase_add_test(c, rms_norm_agrees_with_double_for_any_size_and_in_place);
    tcase_add_test(c, add_row_adds_and_mul_row_multiplies);
    tcase_add_test(c, all_finite_finds_a_single_bad_number);
    tcase_add_test(c, transpose_moves_every_number_and_touches_no_other);
    tcase_add_test(c, bits_depend_neither_on_alignment_nor_on_masked_keys_behind);
    tcase_add_test(c, tables_are_found_by_name_and_ref_is_the_last);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
