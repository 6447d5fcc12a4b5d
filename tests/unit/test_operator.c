/* test_operator.c - what attn_operator_run hands over, what it says it will cost, and how it fails.
 *
 * The numbers of maps and contexts are test_attention.c's; here they are only found again through the views.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <string.h>

#include "attention_case.h"
#include "math/gemm.h"
#include "unit.h"

enum { ALL_OUTPUTS = (1 << ATTN_OUTPUT_COUNT) - 1, COMPUTED = ATTN_MAP_OUTPUTS | ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT) };

static attn_runtime *runtime_new(int threads)
{
    attn_runtime *runtime = NULL;
    attn_runtime_options options = { .threads = threads };
    ck_assert_int_eq(attn_runtime_new(&runtime, &options, NULL), ATTN_OK);
    attn_runtime_enter(runtime);
    return runtime;
}

static void runtime_free(attn_runtime *runtime)
{
    attn_runtime_leave(runtime);
    attn_runtime_free(runtime);
}

/* What a sink saw, copied: output o, head i at data[o] + i * rows * cols. */
typedef struct seen {
    int calls;
    attn_status answer;
    size_t heads[ATTN_OUTPUT_COUNT], rows[ATTN_OUTPUT_COUNT], cols[ATTN_OUTPUT_COUNT];
    const float *first[ATTN_OUTPUT_COUNT];
    float *data[ATTN_OUTPUT_COUNT];
} seen;

static attn_status see(void *ctx, const attn_layer *layer, attn_error *err)
{
    seen *s = ctx;
    s->calls++;
    ck_assert_uint_eq(layer->layer, 0);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        const attn_view *v = &layer->views[o];
        if (!v->head)
            continue;
        s->heads[o] = v->heads;
        s->rows[o] = v->rows;
        s->cols[o] = v->cols;
        s->first[o] = v->head[0];
        s->data[o] = malloc(v->heads * v->rows * v->cols * sizeof(float));
        ck_assert_ptr_nonnull(s->data[o]);
        for (size_t n = 0; n < v->heads * v->rows; n++)
            memcpy(s->data[o] + n * v->cols, v->head[n / v->rows] + (ptrdiff_t)(n % v->rows) * v->row_stride, v->cols * sizeof(float));
    }
    return s->answer == ATTN_OK ? ATTN_OK : attn_fail(err, s->answer, "sink", "enough");
}

static void seen_free(seen *s)
{
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        free(s->data[o]);
}

/* Runs; the arena must be where it was, and have stayed within the price. */
static attn_status operate(attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep, seen *s, attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_sink sink = { s, see };
    attn_status status = attn_operator_run(runtime, in, keep, arena, NULL, &sink, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_operator_price(runtime, in, keep).bytes + CASE_RED_ZONES);
    attn_arena_free(arena);
    return status;
}

static void add_projection(attention_case *c, uint64_t *state, size_t columns)
{
    size_t k = c->in.num_attention_heads * c->in.value_dim;
    c->in.w_o = case_floats(state, k * columns, 1.0f);
    c->in.b_o = case_floats(state, columns, 1.0f);
    c->in.output_dim = columns;
}

static void free_projection(attention_case *c)
{
    free((void *)(uintptr_t)c->in.w_o);
    free((void *)(uintptr_t)c->in.b_o);
}

/* ---- views -------------------------------------------------------------------------------------------------------------- */

START_TEST(heads_come_in_the_order_asked_with_repeats)
{
    static const int32_t asked[] = { 4, 1, 4, 5 };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 3;
    attention_case c = case_plain(&state, 6, 2, 13, 17, 5, 7);
    seen all = { 0 }, some = { 0 };
    attn_keep keep = { .outputs = ALL_OUTPUTS & ~ATTN_BIT(ATTN_ATTN_OUTPUT) };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &all, NULL), ATTN_OK);
    keep.heads = asked;
    keep.num_heads = 4;
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &some, NULL), ATTN_OK);
    for (int o = 0; o < ATTN_ATTN_OUTPUT; o++) {
        size_t matrix = all.rows[o] * all.cols[o];
        ck_assert_uint_eq(all.heads[o], 6);
        ck_assert_uint_eq(some.heads[o], 4);
        ck_assert(some.rows[o] == all.rows[o] && some.cols[o] == all.cols[o]);
        for (size_t i = 0; i < 4; i++)
            ck_assert_mem_eq(some.data[o] + i * matrix, all.data[o] + (size_t)asked[i] * matrix, matrix * sizeof(float));
    }
    seen_free(&all);
    seen_free(&some);
    case_free(&c);
    runtime_free(runtime);
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

/* ---- failures ----------------------------------------------------------------------------------------------------------- */

static void check_overflow(attn_runtime *runtime, const attention_case *c, attn_output output, const char *where)
{
    seen s = { 0 };
    attn_error err = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(output) };
    ck_assert_int_eq(operate(runtime, &c->in, &keep, &s, &err), ATTN_E_OVERFLOW);
    ck_assert_str_eq(err.where, where);
    ck_assert_int_eq(s.calls, 0);
    seen_free(&s);
}

START_TEST(what_is_not_finite_is_named_and_the_sink_not_called)
{
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 17;
    attention_case c = case_plain(&state, 2, 1, 3, 4, 5, 6);
    add_projection(&c, &state, 3);
    c.query[7] = INFINITY; /* as an overflowing projection before the operator would leave it */
    check_overflow(runtime, &c, ATTN_QUERY, "query");
    check_overflow(runtime, &c, ATTN_ATTENTIONS, "raw_scores");
    c.query[7] = 0.0f;
    c.key[3] = -INFINITY;
    check_overflow(runtime, &c, ATTN_KEY, "key");
    c.key[3] = 0.0f;
    c.value[23] = NAN;
    check_overflow(runtime, &c, ATTN_VALUE, "value");
    check_overflow(runtime, &c, ATTN_ATTN_OUTPUT, "context");
    for (size_t n = 0; n < 24; n++)
        c.value[n] = FLT_MAX / 2;
    check_overflow(runtime, &c, ATTN_ATTN_OUTPUT, "attn_output");
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(an_error_of_the_sink_is_the_run_s_own)
{
    attn_runtime *runtime = runtime_new(1);
    uint64_t state = 19;
    attention_case c = case_plain(&state, 2, 1, 3, 4, 5, 6);
    seen s = { .answer = ATTN_E_IO };
    attn_error err = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, &err), ATTN_E_IO);
    ck_assert_str_eq(err.where, "sink");
    ck_assert_int_eq(s.calls, 1);
    seen_free(&s);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(a_cancelled_run_does_not_reach_the_sink)
{
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 23;
    attention_case c = case_plain(&state, 2, 1, 3, 4, 5, 6);
    attn_arena *arena = attn_arena_new();
    attn_cancel cancel = { .reason = ATTN_SHUTDOWN };
    seen s = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_CONTEXT) };
    ck_assert_int_eq(attn_operator_run(runtime, &c.in, &keep, arena, &cancel, &(attn_sink){ &s, see }, NULL), ATTN_E_CANCELLED);
    ck_assert_int_eq(s.calls, 0);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    attn_arena_free(arena);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* Refuses allocation number *ctx. */
static bool refuse_at(void *ctx, size_t bytes)
{
    (void)bytes;
    int *left = ctx;
    return (*left)-- != 0;
}

START_TEST(every_allocation_may_fail)
{
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 29;
    attention_case c = case_plain(&state, 3, 1, 300, 300, 20, 20); /* more than one chunk of an arena */
    add_projection(&c, &state, 300);
    attn_keep keep = { .outputs = ALL_OUTPUTS };
    attn_status status = ATTN_E_NOMEM;
    int n = 0;
    for (; status != ATTN_OK; n++) {
        attn_arena *arena = attn_arena_new();
        seen s = { 0 };
        attn_error err = { 0 };
        int left = n;
        attn_memory_hook(refuse_at, &left);
        status = attn_operator_run(runtime, &c.in, &keep, arena, NULL, &(attn_sink){ &s, see }, &err);
        attn_memory_hook(NULL, NULL);
        ck_assert(status == ATTN_OK || (status == ATTN_E_NOMEM && err.code == ATTN_E_NOMEM && s.calls == 0));
        ck_assert_uint_eq(attn_arena_used(arena), 0);
        attn_arena_free(arena);
        seen_free(&s);
    }
    ck_assert_int_ge(n, 4);
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

/* Every set of outputs, all heads and some of them; `operate` holds the peak against the price. */
START_TEST(no_run_takes_more_than_its_price)
{
    static const int32_t heads[] = { 3, 0, 3 };
    attn_runtime *runtime = runtime_new(3);
    uint64_t state = 31;
    for (int n = 0; n < 8; n++) {
        attention_case c = case_plain(&state, 4, 1 + (size_t)n % 2, 1 + case_below(&state, 90), 1 + case_below(&state, n < 6 ? 90 : 1200), 9, 11);
        if (n % 2)
            add_projection(&c, &state, 40);
        for (attn_outputs outputs = 0; outputs <= ALL_OUTPUTS; outputs++) {
            attn_keep keep = { .outputs = outputs };
            for (keep.num_heads = 0; keep.num_heads <= 3; keep.num_heads++, keep.heads = heads) {
                seen s = { 0 };
                ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, NULL), ATTN_OK);
                ck_assert_int_eq(s.calls, 1);
                seen_free(&s);
            }
        }
        free_projection(&c);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(large_runs_take_nearly_their_price)
{
    static const attn_outputs outputs[] = { COMPUTED, ATTN_BIT(ATTN_ATTENTIONS), ATTN_BIT(ATTN_CONTEXT), ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_ATTN_OUTPUT) };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 37;
    attention_case c = case_plain(&state, 4, 4, 700, 700, 16, 16);
    add_projection(&c, &state, 64);
    for (size_t n = 0; n < sizeof outputs / sizeof *outputs; n++) {
        attn_keep keep = { .outputs = outputs[n] };
        attn_arena *arena = attn_arena_new();
        seen s = { 0 };
        ck_assert_int_eq(attn_operator_run(runtime, &c.in, &keep, arena, NULL, &(attn_sink){ &s, see }, NULL), ATTN_OK);
        ck_assert_double_le((double)attn_operator_price(runtime, &c.in, &keep).bytes, 1.05 * (double)attn_arena_peak(arena));
        attn_arena_free(arena);
        seen_free(&s);
    }
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(flops_are_those_of_the_products_that_are_needed)
{
    attn_runtime *runtime = runtime_new(1);
    attn_operator_input in = { .num_attention_heads = 12, .num_key_value_heads = 4, .T_q = 100, .T_k = 200, .head_dim = 64, .value_dim = 32, .output_dim = 77 };
    static const int32_t heads[] = { 1, 5 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_CONTEXT) };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 12 * 100 * 200 * (64 + 32));
    keep.outputs = ATTN_BIT(ATTN_ATTENTIONS);
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 12 * 100 * 200 * 64);
    keep.heads = heads;
    keep.num_heads = 2;
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 2 * 100 * 200 * 64);
    keep.outputs |= ATTN_BIT(ATTN_ATTN_OUTPUT);
    in.w_o = (const float[1]){ 0.0f };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 12 * 100 * 200 * (64 + 32) + 2ull * 100 * 12 * 32 * 77);
    runtime_free(runtime);
}
END_TEST

/* A context alone never needs T x T: 32768 tokens and 12 heads would be 51 GB of maps. */
START_TEST(contexts_of_long_inputs_are_cheap)
{
    attn_runtime *runtime = runtime_new(2);
    attn_operator_input in = { .num_attention_heads = 12, .num_key_value_heads = 12, .T_q = 32768, .T_k = 32768, .head_dim = 64, .value_dim = 64 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_CONTEXT) };
    uint64_t context = 12ull * 32768 * 64 * 4;
    ck_assert_uint_le(attn_operator_price(runtime, &in, &keep).bytes, context + (64u << 20));
    keep.outputs |= ATTN_BIT(ATTN_ATTENTIONS);
    ck_assert_uint_ge(attn_operator_price(runtime, &in, &keep).bytes, 12ull * 32768 * 32768 * 4);
    runtime_free(runtime);
}
END_TEST

START_TEST(absurd_sizes_have_absurd_prices)
{
    attn_runtime *runtime = runtime_new(2);
    attn_keep keep = { .outputs = ALL_OUTPUTS };
    for (unsigned n = 0; n < 64; n++) {
        size_t a = n & 1 ? SIZE_MAX / 2 : 1000, b = n & 2 ? SIZE_MAX / 3 : 1000, d = n & 4 ? SIZE_MAX / 5 : 8, d_v = n & 8 ? SIZE_MAX / 7 : 8;
        attn_operator_input in = { .num_attention_heads = 8, .num_key_value_heads = 8, .T_q = a, .T_k = b, .head_dim = d, .value_dim = d_v };
        in.output_dim = n & 16 ? SIZE_MAX / 9 : 64;
        in.w_o = n & 32 ? (const float[1]){ 0.0f } : NULL;
        attn_price price = attn_operator_price(runtime, &in, &keep);
        if (n & 15)
            ck_assert_uint_ge(price.bytes, 1ull << 50);
        if ((n & 48) == 48)
            ck_assert_uint_ge(price.bytes, 1ull << 50);
    }
    runtime_free(runtime);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("operator");
    TCase *tc = tcase_create("operator");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, heads_come_in_the_order_asked_with_repeats);
    tcase_add_test(tc, query_key_and_value_are_the_input_itself_and_cost_nothing);
    tcase_add_test(tc, attn_output_without_a_projection_is_the_heads_side_by_side);
    tcase_add_test(tc, attn_output_is_projected_with_its_bias);
    tcase_add_test(tc, projections_are_right_at_odd_sizes);
    tcase_add_test(tc, a_projection_beyond_float32_is_an_overflow);
    tcase_add_test(tc, what_is_not_finite_is_named_and_the_sink_not_called);
    tcase_add_test(tc, an_error_of_the_sink_is_the_run_s_own);
    tcase_add_test(tc, a_cancelled_run_does_not_reach_the_sink);
    tcase_add_test(tc, every_allocation_may_fail);
    tcase_add_test(tc, no_run_takes_more_than_its_price);
    tcase_add_test(tc, large_runs_take_nearly_their_price);
    tcase_add_test(tc, flops_are_those_of_the_products_that_are_needed);
    tcase_add_test(tc, contexts_of_long_inputs_are_cheap);
    tcase_add_test(tc, absurd_sizes_have_absurd_prices);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
