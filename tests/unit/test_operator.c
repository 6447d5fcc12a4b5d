/* test_operator.c - what attn_operator_run hands over.
 *
 * The numbers of maps and contexts are test_attention.c's; here they are only found again through the views.
 * SPDX-License-Identifier: Apache-2.0 */
#include "operator_case.h"

/* ---- views -------------------------------------------------------------------------------------------------------------- */

START_TEST(heads_come_in_the_order_asked_with_repeats)
{
    static const int32_t asked[] = { 4, 1, 4, 5 };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 3;
    attention_case c = case_plain(&state, 6, 2, 13, 17, 5, 7);
    add_projection(&c, &state, 8);
    seen all = { 0 }, some = { 0 };
    attn_keep keep = { .outputs = ALL_OUTPUTS & ~ATTN_BIT(ATTN_ATTN_OUTPUT) };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &all, NULL), ATTN_OK);
    keep.heads = asked;
    keep.num_heads = 4;
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &some, NULL), ATTN_OK);
    for (int o = 0; o < ATTN_ATTN_OUTPUT; o++) { /* that, and hidden states, have no heads */
        size_t matrix = all.rows[o] * all.cols[o];
        ck_assert_uint_eq(all.heads[o], 6);
        ck_assert_uint_eq(some.heads[o], 4);
        ck_assert(some.rows[o] == all.rows[o] && some.cols[o] == all.cols[o]);
        for (size_t i = 0; i < 4; i++)
            ck_assert_mem_eq(some.data[o] + i * matrix, all.data[o] + (size_t)asked[i] * matrix, matrix * sizeof(float));
    }
    ck_assert_ptr_null(all.data[ATTN_HIDDEN_STATES]); /* only models have them */
    seen_free(&all);
    seen_free(&some);
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(heads_get_places_in_the_order_asked_and_repeats_share_one)
{
    static const int32_t heads[] = { 5, 2, 5, 0, 2 }, expected[] = { 0, 1, 0, 2, 1 };
    attn_arena *arena = attn_arena_new();
    attn_head_choice c;
    attn_keep keep = { .heads = heads, .num_heads = 5 };
    ck_assert_int_eq(attn_head_choice_make(&c, &keep, 6, arena, NULL), ATTN_OK);
    ck_assert(c.asked == 5 && c.kept == 3 && c.held == 3);
    ck_assert_mem_eq(c.order, expected, sizeof expected);
    ck_assert(c.slot[5] == 0 && c.slot[2] == 1 && c.slot[0] == 2 && c.slot[1] == -1 && c.slot[3] == -1 && c.slot[4] == -1);
    keep.analyses = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT); /* needs the others too, behind */
    ck_assert_int_eq(attn_head_choice_make(&c, &keep, 6, arena, NULL), ATTN_OK);
    ck_assert(c.kept == 3 && c.held == 6 && c.slot[0] == 2 && c.slot[1] == 3 && c.slot[3] == 4 && c.slot[4] == 5);
    keep = (attn_keep){ .outputs = 1 };
    ck_assert_int_eq(attn_head_choice_make(&c, &keep, 6, arena, NULL), ATTN_OK);
    for (int32_t h = 0; h < 6; h++)
        ck_assert(c.slot[h] == h && c.order[h] == h);
    attn_arena_free(arena);
}
END_TEST

START_TEST(query_key_and_value_are_the_input_itself_and_cost_nothing)
{
    attn_runtime *runtime = runtime_new(1);
    uint64_t state = 5;
    attention_case c = case_plain(&state, 6, 2, 3, 4, 5, 7);
    c.query[0] = c.key[0] = 1e30f; /* whose product would overflow */
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_QUERY) | ATTN_BIT(ATTN_KEY) | ATTN_BIT(ATTN_VALUE) };
    seen s = { 0 };
    ck_assert_uint_eq(attn_operator_price(runtime, &c.in, &keep).flops, 0);
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, NULL), ATTN_OK);
    ck_assert(s.first[ATTN_QUERY] == c.query && s.first[ATTN_KEY] == c.key && s.first[ATTN_VALUE] == c.value);
    for (size_t h = 0; h < 6; h++) { /* keys and values repeated: heads 0 to 2 read 0, 3 to 5 read 1 */
        ck_assert_mem_eq(s.data[ATTN_KEY] + h * 20, c.key + h / 3 * 20, 20 * sizeof(float));
        ck_assert_mem_eq(s.data[ATTN_VALUE] + h * 28, c.value + h / 3 * 28, 28 * sizeof(float));
    }
    ck_assert(!s.data[ATTN_ATTENTIONS] && !s.data[ATTN_CONTEXT] && !s.data[ATTN_ATTN_OUTPUT]);
    seen_free(&s);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(attn_output_without_a_projection_is_the_heads_side_by_side)
{
    static const int32_t asked[] = { 2 };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 7;
    attention_case c = case_plain(&state, 3, 1, 4, 6, 5, 2);
    seen all = { 0 }, one = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT) };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &all, NULL), ATTN_OK);
    ck_assert(all.heads[ATTN_ATTN_OUTPUT] == 1 && all.rows[ATTN_ATTN_OUTPUT] == 4 && all.cols[ATTN_ATTN_OUTPUT] == 6);
    for (size_t n = 0; n < 3 * 4 * 2; n++)
        ck_assert(all.data[ATTN_CONTEXT][n] == all.data[ATTN_ATTN_OUTPUT][n / 2 % 4 * 6 + n / 8 * 2 + n % 2]);
    keep.heads = asked; /* choosing heads does not change what the layer gives */
    keep.num_heads = 1;
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &one, NULL), ATTN_OK);
    ck_assert_mem_eq(one.data[ATTN_ATTN_OUTPUT], all.data[ATTN_ATTN_OUTPUT], 24 * sizeof(float));
    ck_assert_mem_eq(one.data[ATTN_CONTEXT], all.data[ATTN_CONTEXT] + 2 * 8, 8 * sizeof(float));
    seen_free(&all);
    seen_free(&one);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* y [T, n] against x [T, k] @ w [k, n] + b in double: within 1e-6 of the sum of what was added. */
static void check_product(const float *y, const float *x, const float *w, const float *b, size_t T, size_t k, size_t n)
{
    for (size_t i = 0; i < T * n; i++) {
        double sum = b ? (double)b[i % n] : 0.0, size = fabs(sum);
        for (size_t l = 0; l < k; l++) {
            double term = (double)x[i / n * k + l] * (double)w[l * n + i % n];
            sum += term;
            size += fabs(term);
        }
        ck_assert_double_le(fabs((double)y[i] - sum), 1e-6 * size);
    }
}

START_TEST(attn_output_is_projected_with_its_bias)
{
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 11;
    attention_case c = case_plain(&state, 3, 3, 37, 21, 5, 9);
    add_projection(&c, &state, 50);
    for (int bias = 1; bias >= 0; bias--) {
        attn_operator_input in = c.in;
        in.b_o = bias ? in.b_o : NULL;
        seen s = { 0 };
        attn_keep keep = { .outputs = ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT) };
        ck_assert_int_eq(operate(runtime, &in, &keep, &s, NULL), ATTN_OK);
        ck_assert(s.heads[ATTN_ATTN_OUTPUT] == 1 && s.rows[ATTN_ATTN_OUTPUT] == 37 && s.cols[ATTN_ATTN_OUTPUT] == 50);
        float side_by_side[37 * 27];
        for (size_t n = 0; n < 37 * 27; n++)
            side_by_side[n] = s.data[ATTN_CONTEXT][(n % 27 / 9 * 37 + n / 27) * 9 + n % 9];
        check_product(s.data[ATTN_ATTN_OUTPUT], side_by_side, in.w_o, in.b_o, 37, 27, 50);
        seen_free(&s);
    }
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* ---- norms ---------------------------------------------------------------------------------------------------------------- */

/* |v[j] @ W_O[h]| in double, and the sum of the sizes of what was added. */
static double transformed_norm(const attn_operator_input *in, size_t h, size_t j, double *size)
{
    const float *v =
        in->value.data + (ptrdiff_t)(h / (in->num_attention_heads / in->num_key_value_heads)) * in->value.head_stride + (ptrdiff_t)j * in->value.row_stride;
    double squares = 0.0;
    *size = 0.0;
    for (size_t c = 0; c < in->output_dim; c++) {
        double sum = 0.0;
        for (size_t l = 0; l < in->value_dim; l++) {
            double term = (double)v[l] * (double)in->w_o[(h * in->value_dim + l) * in->output_dim + c];
            sum += term;
            *size += fabs(term);
        }
        squares += sum * sum;
    }
    return sqrt(squares);
}

static void check_norms(const attn_operator_input *in, const seen *s, const int32_t *heads, size_t num_heads)
{
    double worst = 0.0;
    for (size_t n = 0; n < num_heads; n++) {
        size_t h = (size_t)heads[n], g = h / (in->num_attention_heads / in->num_key_value_heads);
        for (size_t j = 0; j < in->T_k; j++) {
            const float *v = in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)j * in->value.row_stride;
            double squares = 0.0, size, norm = transformed_norm(in, h, j, &size);
            for (size_t c = 0; c < in->value_dim; c++)
                squares += (double)v[c] * (double)v[c];
            ck_assert_double_le(fabs((double)s->data[ATTN_VALUE_NORMS][n * in->T_k + j] - sqrt(squares)), 1e-7 * sqrt(squares));
            for (size_t i = 0; i < in->T_q; i++) {
                size_t at = (n * in->T_q + i) * in->T_k + j;
                double expected = (double)s->data[ATTN_ATTENTIONS][at] * norm;
                worst = fmax(worst, fabs((double)s->data[ATTN_WEIGHTED_NORMS][at] - expected) / size);
            }
        }
    }
    ck_assert_double_le(worst, 1e-6);
}

START_TEST(norms_are_those_of_values_and_of_what_each_head_makes_of_them)
{
    static const int32_t heads[] = { 4, 1, 4, 0, 5 };
    static const size_t sizes[][4] = { { 1, 1, 1, 1 }, { 37, 21, 9, 50 }, { 5, 130, 33, 7 }, { 3, 64, 8, 16 }, { 2, 65, 7, 1 } };
    attn_runtime *runtime = runtime_new(3);
    uint64_t state = 61;
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        attention_case c = case_plain(&state, 6, n % 2 ? 2 : 6, sizes[n][0], sizes[n][1], 5, sizes[n][2]);
        add_projection(&c, &state, sizes[n][3]);
        seen s = { 0 };
        attn_keep keep = { .heads = heads, .num_heads = 5 };
        keep.outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_VALUE_NORMS) | ATTN_BIT(ATTN_WEIGHTED_NORMS);
        ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, NULL), ATTN_OK);
        ck_assert(s.heads[ATTN_VALUE_NORMS] == 5 && s.rows[ATTN_VALUE_NORMS] == 1 && s.cols[ATTN_VALUE_NORMS] == c.in.T_k);
        ck_assert(s.heads[ATTN_WEIGHTED_NORMS] == 5 && s.rows[ATTN_WEIGHTED_NORMS] == c.in.T_q && s.cols[ATTN_WEIGHTED_NORMS] == c.in.T_k);
        check_norms(&c.in, &s, heads, 5);
        seen_free(&s);
        free_projection(&c);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

/* Models have packed their projection once; the operator packs what came with the request. */
START_TEST(norms_behind_a_packed_projection_have_the_same_bits)
{
    uint64_t state = 67;
    attention_case c = case_plain(&state, 6, 3, 1, 100, 5, 11);
    add_projection(&c, &state, 45);
    for (int threads = 1; threads <= 4; threads += 3) {
        attn_runtime *runtime = runtime_new(threads);
        const attn_gemm *gemm = attn_runtime_gemm(runtime);
        attn_arena *arena = attn_arena_new();
        attn_head_choice choice;
        ck_assert_int_eq(attn_head_choice_make(&choice, &(attn_keep){ 0 }, 6, arena, NULL), ATTN_OK);
        attn_panels panels = { attn_arena_take(arena, attn_gemm_panel_bytes(gemm, 45, 66), 1), 45, 66 };
        attn_gemm_pack(gemm, (float *)(uintptr_t)panels.data, c.in.w_o, 45, 66, 1, 45);
        attn_layer_run run = { .runtime = runtime, .arena = arena, .in = &c.in, .choice = &choice };
        float plain[600], packed[600];
        ck_assert_int_eq(attn_transformed_norms(&run, plain, NULL), ATTN_OK);
        run.w_o = &panels;
        ck_assert_int_eq(attn_transformed_norms(&run, packed, NULL), ATTN_OK);
        ck_assert_mem_eq(plain, packed, sizeof plain);
        attn_arena_free(arena);
        runtime_free(runtime);
    }
    free_projection(&c);
    case_free(&c);
}
END_TEST

/* ---- analyses and bins ------------------------------------------------------------------------------------------------------ */

static double entropy_of(const double *a, size_t n)
{
    double h = 0.0;
    for (size_t j = 0; j < n; j++)
        h -= a[j] > 0.0 ? a[j] * log(a[j]) : 0.0;
    return h;
}

/* Jensen-Shannon between heads g and h of maps [H, T, T], the mean over rows. */
static double plain_distance(const float *maps, size_t T, size_t g, size_t h)
{
    double sum = 0.0, a[32], b[32], middle[32];
    for (size_t i = 0; i < T; i++) {
        for (size_t j = 0; j < T; j++) {
            a[j] = (double)maps[(g * T + i) * T + j];
            b[j] = (double)maps[(h * T + i) * T + j];
            middle[j] = (a[j] + b[j]) / 2.0;
        }
        sum += entropy_of(middle, T) - (entropy_of(a, T) + entropy_of(b, T)) / 2.0;
    }
    return sum / (double)T;
}

static double plain_confidence(const float *maps, size_t T, size_t h)
{
    double sum = 0.0;
    for (size_t i = 0; i < T; i++) {
        double largest = 0.0;
        for (size_t j = 0; j < T; j++)
            largest = fmax(largest, (double)maps[(h * T + i) * T + j]);
        sum += largest;
    }
    return sum / (double)T;
}

/* A = (mean of all heads + 1) / 2; rows of a mean of distributions sum to 1 already. */
static double plain_rollout(const float *maps, size_t H, size_t T, size_t i, size_t j)
{
    double sum = 0.0;
    for (size_t h = 0; h < H; h++)
        sum += (double)maps[(h * T + i) * T + j];
    return (sum / (double)H + (i == j ? 1.0 : 0.0)) / 2.0;
}

/* Of all heads with maps, and of some in any order without: the same numbers, and the plain ones. */
START_TEST(analyses_come_for_the_heads_asked_and_need_no_output)
{
    enum { H = 6, T = 23, ASKED = 4 };
    static const int32_t asked[ASKED] = { 4, 1, 4, 5 };
    static const attn_analyses wanted =
        ATTN_ANALYSIS_BIT(ATTN_CONFIDENCE) | ATTN_ANALYSIS_BIT(ATTN_ENTROPY) | ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE) | ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 71;
    attention_case c = case_plain(&state, H, 2, T, T, 5, 7);
    c.in.rules.is_causal = true;
    seen all = { .asked = H, .T = T }, some = { .asked = ASKED, .T = T };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS), .analyses = wanted };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &all, NULL), ATTN_OK);
    keep = (attn_keep){ .analyses = wanted, .heads = asked, .num_heads = ASKED };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &some, NULL), ATTN_OK);
    const float *maps = all.data[ATTN_ATTENTIONS];
    ck_assert_ptr_null(some.data[ATTN_ATTENTIONS]);
    ck_assert_ptr_null(some.analyses[ATTN_SELF]);
    for (size_t i = 0; i < ASKED; i++) {
        ck_assert(some.analyses[ATTN_ENTROPY][i] == all.analyses[ATTN_ENTROPY][asked[i]]);
        ck_assert_double_le(fabs((double)some.analyses[ATTN_CONFIDENCE][i] - plain_confidence(maps, T, (size_t)asked[i])), 1e-6);
        for (size_t k = 0; k < ASKED; k++)
            ck_assert_double_le(fabs((double)some.analyses[ATTN_HEAD_DISTANCE][i * ASKED + k] - plain_distance(maps, T, (size_t)asked[i], (size_t)asked[k])),
                                1e-6);
    }
    for (size_t n = 0; n < T * T; n++)
        ck_assert_double_le(fabs((double)some.analyses[ATTN_ROLLOUT][n] - plain_rollout(maps, H, T, n / T, n % T)), 1e-6);
    ck_assert_mem_eq(some.analyses[ATTN_ROLLOUT], all.analyses[ATTN_ROLLOUT], T * T * sizeof(float));
    seen_free(&all);
    seen_free(&some);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* Largest values in bins are found again among whole maps, whatever else is asked for. */
START_TEST(pooled_maps_have_bins_for_rows_and_columns)
{
    static const int32_t queries[] = { 9, 2, 2, 7, 0 }, heads[] = { 2, 0, 2 };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 73;
    attention_case c = case_plain(&state, 3, 1, 11, 14, 5, 7);
    attn_pool pool = { .size = 3, .mode = ATTN_REDUCE_MAX, .queries = queries, .num_queries = 5 };
    seen whole = { 0 }, pooled = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_CONTEXT), .heads = heads, .num_heads = 3 };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &whole, NULL), ATTN_OK);
    keep.pool = &pool;
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &pooled, NULL), ATTN_OK);
    for (int o = 0; o <= ATTN_SCORES; o++) {
        ck_assert(pooled.heads[o] == 3 && pooled.rows[o] == 3 && pooled.cols[o] == 3);
        for (size_t n = 0; n < 27; n++) {
            double largest = -INFINITY;
            for (size_t p = n / 3 % 3 * 5 / 3; p < (n / 3 % 3 + 1) * 5 / 3; p++)
                for (size_t j = n % 3 * 14 / 3; j < (n % 3 + 1) * 14 / 3; j++)
                    largest = fmax(largest, (double)whole.data[o][(n / 9 * 11 + (size_t)queries[p]) * 14 + j]);
            ck_assert_double_le(fabs((double)pooled.data[o][n] - largest), 4e-6 * fmax(1.0, fabs(largest)));
        }
    }
    ck_assert_uint_eq(pooled.rows[ATTN_CONTEXT], 11); /* contexts are cut later, like everything that is no map */
    ck_assert_mem_eq(pooled.data[ATTN_CONTEXT], whole.data[ATTN_CONTEXT], 3 * 11 * 7 * sizeof(float));
    seen_free(&whole);
    seen_free(&pooled);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* ---- projections -------------------------------------------------------------------------------------------------------- */

START_TEST(projections_are_right_at_odd_sizes)
{
    static const size_t sizes[][3] = { { 1, 1, 1 }, { 5, 1, 33 }, { 3, 70, 1 }, { 17, 31, 63 }, { 1030, 9, 35 } };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 13;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t T = sizes[s][0], k = sizes[s][1], n = sizes[s][2];
        float *x = case_floats(&state, T * k, 1.0f), *w = case_floats(&state, k * n, 1.0f), *b = case_floats(&state, n, 1.0f), *y = malloc(T * n * sizeof *y);
        attn_arena *arena = attn_arena_new();
        attn_projection p = { .x = x, .w = w, .b = s % 2 ? b : NULL, .T = T, .k = k, .n = n };
        ck_assert_int_eq(attn_project(runtime, y, &p, arena, NULL, NULL), ATTN_OK);
        check_product(y, x, w, s % 2 ? b : NULL, T, k, n);
        ck_assert_uint_eq(attn_project_price(runtime, T, k, n).flops, 2 * T * k * n);
        ck_assert_uint_le(attn_arena_peak(arena), attn_project_price(runtime, T, k, n).bytes + CASE_RED_ZONES);
        ck_assert_uint_eq(attn_arena_used(arena), 0);
        attn_arena_free(arena);
        free(x);
        free(w);
        free(b);
        free(y);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(a_projection_beyond_float32_is_an_overflow)
{
    static const float x[2] = { 1.0f, 1e30f }, w[2] = { 1e30f, 1e30f };
    attn_runtime *runtime = runtime_new(1);
    attn_arena *arena = attn_arena_new();
    attn_error err = { 0 };
    float y[2];
    attn_projection tall = { .x = x, .w = w, .T = 2, .k = 1, .n = 1, .where = "w_q" }, wide = { .x = x, .w = w, .T = 1, .k = 1, .n = 2 };
    ck_assert_int_eq(attn_project(runtime, y, &tall, arena, NULL, &err), ATTN_E_OVERFLOW);
    ck_assert_str_eq(err.where, "w_q");
    ck_assert_int_eq(attn_project(runtime, y, &wide, arena, NULL, NULL), ATTN_OK);
    attn_cancel gone = { .reason = ATTN_CLIENT_GONE };
    ck_assert_int_eq(attn_project(runtime, y, &wide, arena, &gone, NULL), ATTN_E_CANCELLED);
    attn_arena_free(arena);
    runtime_free(runtime);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("operator");
    TCase *tc = tcase_create("operator");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, heads_come_in_the_order_asked_with_repeats);
    tcase_add_test(tc, heads_get_places_in_the_order_asked_and_repeats_share_one);
    tcase_add_test(tc, query_key_and_value_are_the_input_itself_and_cost_nothing);
    tcase_add_test(tc, attn_output_without_a_projection_is_the_heads_side_by_side);
    tcase_add_test(tc, attn_output_is_projected_with_its_bias);
    tcase_add_test(tc, norms_are_those_of_values_and_of_what_each_head_makes_of_them);
    tcase_add_test(tc, norms_behind_a_packed_projection_have_the_same_bits);
    tcase_add_test(tc, analyses_come_for_the_heads_asked_and_need_no_output);
    tcase_add_test(tc, pooled_maps_have_bins_for_rows_and_columns);
    tcase_add_test(tc, projections_are_right_at_odd_sizes);
    tcase_add_test(tc, a_projection_beyond_float32_is_an_overflow);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
