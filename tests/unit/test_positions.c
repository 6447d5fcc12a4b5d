/* test_positions.c - ALiBi's slopes, sinusoids and rotations against numbers that other programs gave, and against their formulas in double.
 *
 * The slopes are what transformers 5.23.0 gives (modeling_bloom.build_alibi_tensor), which multiplies them up in float32 and so is off by 3e-7 of
 * each. Sinusoids were made with numpy 2.4.6 in float64, rotations likewise as products of complex numbers; the one at offset 1000 was also
 * compared with transformers' modeling_llama.apply_rotary_pos_emb.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "attn_attention.h"
#include "unit.h"

/* ---- slopes ------------------------------------------------------------------------------------------------------------- */

static const struct {
    size_t heads;
    float slopes[20];
} published[] = {
    { 1, { 0.00390625f } },
    { 2, { 0.0625f, 0.00390625f } },
    { 3, { 0.0625f, 0.00390625f, 0.25f } },
    { 6, { 0.25f, 0.0625f, 0.015625f, 0.00390625f, 0.5f, 0.125f } },
    { 8, { 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f } },
    { 12, { 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f, 0.707106769f, 0.353553385f, 0.176776677f, 0.0883883387f } },
    { 16,
      { 0.707106769f, 0.49999997f, 0.353553385f, 0.249999985f, 0.176776677f, 0.124999985f, 0.0883883387f, 0.0624999925f, 0.0441941656f, 0.0312499944f,
        0.0220970828f, 0.0156249972f, 0.0110485414f, 0.00781249814f, 0.00552427024f, 0.00390624884f } },
    { 20, { 0.707106769f,   0.49999997f,    0.353553385f,  0.249999985f,  0.176776677f,  0.124999985f,  0.0883883387f,
            0.0624999925f,  0.0441941656f,  0.0312499944f, 0.0220970828f, 0.0156249972f, 0.0110485414f, 0.00781249814f,
            0.00552427024f, 0.00390624884f, 0.840896428f,  0.594603598f,  0.420448244f,  0.297301799f } },
};

START_TEST(slopes_are_those_of_the_paper_for_any_number_of_heads)
{
    float slopes[20];
    size_t heads = published[_i].heads;
    attn_alibi_slopes(slopes, heads);
    for (size_t h = 0; h < heads; h++)
        ck_assert_double_le(fabs((double)slopes[h] / (double)published[_i].slopes[h] - 1.0), 5e-7);
}
END_TEST

START_TEST(slopes_of_powers_of_two_are_exact)
{
    float slopes[64];
    attn_alibi_slopes(slopes, 8);
    for (int h = 0; h < 8; h++)
        ck_assert(slopes[h] == ldexpf(1.0f, -1 - h));
    attn_alibi_slopes(slopes, 64);
    ck_assert(slopes[7] == 0.5f && slopes[63] == 1.0f / 256.0f);
}
END_TEST

/* ---- sinusoids ---------------------------------------------------------------------------------------------------------- */

/* T = 5, D = 7: an odd width ends with a sine. */
static const double sinusoids[5][7] = {
    { 0.000000000000, 1.000000000000, 0.000000000000, 1.000000000000, 0.000000000000, 1.000000000000, 0.000000000000 },
    { 0.841470984808, 0.540302305868, 0.071906456825, 0.997411380257, 0.005179451521, 0.999986586551, 0.000372759363 },
    { 0.909297426826, -0.416146836547, 0.143440636703, 0.989658922934, 0.010358764093, 0.999946346564, 0.000745518675 },
    { 0.141120008060, -0.989992496600, 0.214232190053, 0.976782764357, 0.015537798772, 0.999879281118, 0.001118277883 },
    { -0.756802495308, -0.653643620864, 0.283914612049, 0.958849567484, 0.020716416620, 0.999785392013, 0.001491036936 },
};

START_TEST(sinusoids_are_added_and_nothing_else_is_touched)
{
    float x[5][9];
    for (size_t t = 0; t < 5; t++)
        for (size_t c = 0; c < 9; c++)
            x[t][c] = 0.25f * (float)c;
    attn_add_sinusoids(&x[0][0], 5, 7, 9);
    for (size_t t = 0; t < 5; t++) {
        for (size_t c = 0; c < 7; c++)
            ck_assert_double_le(fabs((double)x[t][c] - 0.25 * (double)c - sinusoids[t][c]), 2e-7);
        ck_assert(x[t][7] == 1.75f && x[t][8] == 2.0f);
    }
}
END_TEST

START_TEST(sinusoids_are_exact_at_far_positions)
{
    enum { T = 40000, D = 4 };
    static float x[T * D];
    attn_add_sinusoids(x, T, D, D);
    for (size_t t = 0; t < T; t += 997) {
        ck_assert_double_le(fabs((double)x[t * D] - sin((double)t)), 1e-7);
        ck_assert_double_le(fabs((double)x[t * D + 1] - cos((double)t)), 1e-7);
        ck_assert_double_le(fabs((double)x[t * D + 2] - sin((double)t / 100.0)), 1e-7);
        ck_assert_double_le(fabs((double)x[t * D + 3] - cos((double)t / 100.0)), 1e-7);
    }
}
END_TEST

START_TEST(one_column_is_a_sine)
{
    float x[3] = { 0.0f, 0.0f, 9.0f };
    attn_add_sinusoids(x, 2, 1, 1);
    ck_assert(x[0] == 0.0f && fabsf(x[1] - 0.841470985f) < 1e-7f && x[2] == 9.0f);
}
END_TEST

/* ---- rotation ----------------------------------------------------------------------------------------------------------- */

/* x[n] = (n + 1) / 4 - 1 for T = 2, one head, d = 6. */
static const struct {
    int64_t offset;
    double theta;
    double turned[12];
} rotations[] = {
    { 0,
      10000.0,
      { -0.750000000000, -0.500000000000, -0.250000000000, 0.000000000000, 0.250000000000, 0.500000000000, -0.856979747811, 0.917724334977, 1.245688232961,
        1.441556697408, 1.794514431536, 2.002688399692 } },
    { 1000,
      10000.0,
      { -0.421784307218, 0.217252320833, -0.279465689442, -0.620159655399, -0.515074197658, -0.484147630816, -1.673941218577, -1.864164276660, -2.357623300225,
        0.102082303794, -0.766414737349, -0.064127796124 } },
    { -3,
      500000.0,
      { 0.742494372450, -0.490195719249, -0.249761861503, 0.105840006045, 0.268715754712, 0.500118998378, 1.051836012828, 1.043775106816, 1.250634897414,
        -1.306193324940, 1.724248684613, 1.999603048950 } },
};

START_TEST(pairs_of_the_two_halves_are_turned)
{
    float x[12];
    for (int n = 0; n < 12; n++)
        x[n] = 0.25f * (float)(n + 1) - 1.0f;
    attn_rotate(x, 2, 1, 6, rotations[_i].offset, rotations[_i].theta);
    for (int n = 0; n < 12; n++)
        ck_assert_double_le(fabs((double)x[n] - rotations[_i].turned[n]), 4e-7);
}
END_TEST

/* Wider than one stretch of frequencies (64), several heads. */
START_TEST(every_head_and_pair_is_turned_by_its_own_angle)
{
    enum { T = 3, HEADS = 2, D = 140 };
    static float x[T * HEADS * D];
    double before[T * HEADS * D];
    for (size_t n = 0; n < T * HEADS * D; n++) {
        x[n] = sinf((float)n);
        before[n] = (double)x[n];
    }
    attn_rotate(x, T, HEADS, D, 5, 1000.0);
    for (size_t row = 0; row < T * HEADS; row++) {
        for (size_t i = 0; i < D / 2; i++) {
            size_t a = row * D + i, b = a + D / 2;
            double angle = (double)(row / HEADS + 5) * pow(1000.0, -2.0 * (double)i / (double)D);
            ck_assert_double_le(fabs((double)x[a] - (before[a] * cos(angle) - before[b] * sin(angle))), 2e-7);
            ck_assert_double_le(fabs((double)x[b] - (before[b] * cos(angle) + before[a] * sin(angle))), 2e-7);
        }
    }
}
END_TEST

static double dot_of_turned(const float *q, const float *k, int64_t at_q, int64_t at_k)
{
    float a[8], b[8];
    double sum = 0.0;
    memcpy(a, q, sizeof a);
    memcpy(b, k, sizeof b);
    attn_rotate(a, 1, 1, 8, at_q, 10000.0);
    attn_rotate(b, 1, 1, 8, at_k, 10000.0);
    for (int i = 0; i < 8; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* What rotary embedding is for. */
START_TEST(products_depend_on_the_distance_alone)
{
    static const float q[8] = { 0.3f, -1.0f, 0.7f, 0.2f, -0.4f, 0.9f, 0.1f, -0.6f }, k[8] = { -0.2f, 0.5f, 1.0f, 0.4f, 0.8f, -0.3f, 0.6f, 0.1f };
    double near = dot_of_turned(q, k, 7, 4);
    ck_assert_double_le(fabs(dot_of_turned(q, k, 100007, 100004) - near), 1e-6);
    ck_assert_double_le(fabs(dot_of_turned(q, k, 0, -3) - near), 1e-6);
    ck_assert_double_ge(fabs(dot_of_turned(q, k, 4, 7) - near), 1e-2);
}
END_TEST

START_TEST(positions_at_the_ends_of_int64_give_finite_numbers)
{
    static const int64_t offsets[] = { INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX };
    for (size_t n = 0; n < 4; n++) {
        float x[12] = { 1.0f, 2.0f, 3.0f, 4.0f };
        attn_rotate(x, 3, 1, 4, offsets[n], 10000.0);
        double length = 0.0;
        for (size_t i = 0; i < 4; i++)
            length += (double)x[i] * (double)x[i];
        ck_assert_double_le(fabs(length - 30.0), 1e-5);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("positions");
    TCase *tc = tcase_create("positions");
    tcase_add_loop_test(tc, slopes_are_those_of_the_paper_for_any_number_of_heads, 0, sizeof published / sizeof *published);
    tcase_add_test(tc, slopes_of_powers_of_two_are_exact);
    tcase_add_test(tc, sinusoids_are_added_and_nothing_else_is_touched);
    tcase_add_test(tc, sinusoids_are_exact_at_far_positions);
    tcase_add_test(tc, one_column_is_a_sine);
    tcase_add_loop_test(tc, pairs_of_the_two_halves_are_turned, 0, sizeof rotations / sizeof *rotations);
    tcase_add_test(tc, every_head_and_pair_is_turned_by_its_own_angle);
    tcase_add_test(tc, products_depend_on_the_distance_alone);
    tcase_add_test(tc, positions_at_the_ends_of_int64_give_finite_numbers);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
