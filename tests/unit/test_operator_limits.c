/* test_operator_limits.c - how attn_operator_run fails, and what it says it will cost.
 * SPDX-License-Identifier: Apache-2.0 */
#include "operator_case.h"

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
    check_overflow(runtime, &c, ATTN_VALUE_NORMS, "value_norms");
    check_overflow(runtime, &c, ATTN_WEIGHTED_NORMS, "weighted_norms");
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* Head 0 reads values that overflow, head 1 does not. */
START_TEST(norms_of_heads_that_nobody_asked_for_cannot_overflow)
{
    static const int32_t second[] = { 1 };
    attn_runtime *runtime = runtime_new(1);
    uint64_t state = 18;
    attention_case c = case_plain(&state, 2, 2, 3, 4, 5, 6);
    add_projection(&c, &state, 3);
    for (size_t n = 0; n < 24; n++)
        c.value[n] = FLT_MAX / 2;
    check_overflow(runtime, &c, ATTN_VALUE_NORMS, "value_norms");
    seen s = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_VALUE_NORMS) | ATTN_BIT(ATTN_WEIGHTED_NORMS), .heads = second, .num_heads = 1 };
    ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, NULL), ATTN_OK);
    seen_free(&s);
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(weighted_norms_need_an_output_projection)
{
    attn_runtime *runtime = runtime_new(1);
    uint64_t state = 20;
    attention_case c = case_plain(&state, 2, 2, 3, 4, 5, 6);
    seen s = { 0 };
    attn_error err = { 0 };
    ck_assert_int_eq(operate(runtime, &c.in, &(attn_keep){ .outputs = ATTN_BIT(ATTN_WEIGHTED_NORMS) }, &s, &err), ATTN_E_INPUT);
    ck_assert_str_eq(err.where, "weighted_norms");
    ck_assert_int_eq(s.calls, 0);
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
    add_projection(&c, &state, 3);
    for (int o = ATTN_WEIGHTED_NORMS; o <= ATTN_CONTEXT; o++) {
        attn_keep keep = { .outputs = ATTN_BIT(o) };
        ck_assert_int_eq(attn_operator_run(runtime, &c.in, &keep, arena, &cancel, &(attn_sink){ .ctx = &s, .layer = see }, NULL), ATTN_E_CANCELLED);
    }
    ck_assert_int_eq(s.calls, 0);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    attn_arena_free(arena);
    free_projection(&c);
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

static void starve(attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep, int at_least)
{
    attn_status status = ATTN_E_NOMEM;
    int n = 0;
    for (; status != ATTN_OK; n++) {
        attn_arena *arena = attn_arena_new();
        seen s = { 0 };
        attn_error err = { 0 };
        int left = n;
        attn_memory_hook(refuse_at, &left);
        status = attn_operator_run(runtime, in, keep, arena, NULL, &(attn_sink){ .ctx = &s, .layer = see }, &err);
        attn_memory_hook(NULL, NULL);
        ck_assert(status == ATTN_OK || (status == ATTN_E_NOMEM && err.code == ATTN_E_NOMEM && s.calls == 0));
        ck_assert_uint_eq(attn_arena_used(arena), 0);
        attn_arena_free(arena);
        seen_free(&s);
    }
    ck_assert_int_ge(n, at_least);
}

START_TEST(every_allocation_may_fail)
{
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 29;
    attention_case c = case_plain(&state, 3, 1, 300, 300, 20, 20); /* more than one chunk of an arena */
    add_projection(&c, &state, 300);
    uint8_t *special = calloc(300, 1);
    int32_t *ids = calloc(300, sizeof *ids);
    attn_analysis_tokens about = { ids, special };
    attn_pool pool = { .size = 260, .mode = ATTN_REDUCE_MEAN };
    attn_keep everything = { .outputs = ALL_OUTPUTS, .analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1, .about = &about };
    attn_keep analyses = { .analyses = ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE), .about = &about };
    attn_keep pooled = { .outputs = ALL_OUTPUTS, .pool = &pool, .analyses = ATTN_HEAD_ANALYSES, .about = &about };
    starve(runtime, &c.in, &(attn_keep){ .outputs = ALL_OUTPUTS }, 4);
    starve(runtime, &c.in, &everything, 6);
    starve(runtime, &c.in, &analyses, 2);
    starve(runtime, &c.in, &pooled, 4);
    free(special);
    free(ids);
    free_projection(&c);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

/* What else is asked for beside outputs, and how. */
static attn_keep any_keep(uint64_t *state, const attn_operator_input *in, const attn_pool *pool, const attn_analysis_tokens *about)
{
    static const int32_t heads[] = { 3, 0, 3, 3 }; /* as many as there are, and yet not all */
    attn_keep keep = { .outputs = (attn_outputs)case_random(state) & ALL_OUTPUTS, .heads = heads, .num_heads = case_below(state, 5), .about = about };
    keep.heads = keep.num_heads > 0 ? heads : NULL;
    if (case_below(state, 3) == 0)
        keep.outputs = ATTN_BIT(case_below(state, ATTN_OUTPUT_COUNT)); /* one alone */
    if (!in->w_o)
        keep.outputs &= ~ATTN_BIT(ATTN_WEIGHTED_NORMS);
    if (case_below(state, 2))
        keep.analyses = (attn_analyses)case_random(state) & (ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1);
    if (case_below(state, 3) == 0) {
        keep.pool = pool;
        keep.analyses &= ATTN_HEAD_ANALYSES;
    }
    if (in->T_q != in->T_k)
        keep.analyses &= ~ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
    return keep;
}

/* Every set of outputs, all heads and some of them, and any analyses and pools beside; `operate` holds the peak against the price. */
START_TEST(no_run_takes_more_than_its_price)
{
    static const int32_t keys[] = { 0, 0, 0, 0, 0 };
    static const int32_t ids[1200] = { 0 };
    static const uint8_t special[1200] = { 0 };
    const attn_analysis_tokens about = { ids, special };
    attn_runtime *runtime = runtime_new(3);
    uint64_t state = 31;
    for (int n = 0; n < 10; n++) {
        size_t T_q = 1 + case_below(&state, 90), T_k = n % 5 < 2 ? T_q : 1 + case_below(&state, n < 8 ? 90 : 1200);
        attention_case c = case_plain(&state, 4, 1 + (size_t)n % 2, T_q, T_k, 9, 11);
        if (n % 2)
            add_projection(&c, &state, 40);
        for (int k = 0; k < 400; k++) {
            attn_pool pool = { .size = 1 + case_below(&state, 20), .mode = ATTN_REDUCE_MAX, .keys = k % 2 ? keys : NULL, .num_keys = 5 };
            attn_keep keep = any_keep(&state, &c.in, &pool, &about);
            seen s = { 0 };
            ck_assert_int_eq(operate(runtime, &c.in, &keep, &s, NULL), ATTN_OK);
            ck_assert_int_eq(s.calls, 1);
            seen_free(&s);
        }
        free_projection(&c);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(large_runs_take_nearly_their_price)
{
    static const attn_outputs outputs[] = { COMPUTED,
                                            ATTN_BIT(ATTN_ATTENTIONS),
                                            ATTN_BIT(ATTN_CONTEXT),
                                            ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_ATTN_OUTPUT),
                                            ATTN_BIT(ATTN_WEIGHTED_NORMS),
                                            ATTN_BIT(ATTN_VALUE_NORMS),
                                            0 };
    attn_runtime *runtime = runtime_new(2);
    uint64_t state = 37;
    attention_case c = case_plain(&state, 4, 4, 700, 700, 16, 16);
    add_projection(&c, &state, 64);
    for (size_t n = 0; n < sizeof outputs / sizeof *outputs; n++) {
        attn_keep keep = { .outputs = outputs[n], .analyses = outputs[n] ? 0 : ATTN_ANALYSIS_BIT(ATTN_ENTROPY) };
        attn_arena *arena = attn_arena_new();
        seen s = { 0 };
        ck_assert_int_eq(attn_operator_run(runtime, &c.in, &keep, arena, NULL, &(attn_sink){ .ctx = &s, .layer = see }, NULL), ATTN_OK);
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
    keep = (attn_keep){ .outputs = ATTN_BIT(ATTN_VALUE_NORMS) };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 0);
    keep.outputs = ATTN_BIT(ATTN_WEIGHTED_NORMS);
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 12 * 100 * 200 * 64 + 2ull * 12 * 200 * 32 * 77);
    keep = (attn_keep){ .analyses = ATTN_ANALYSIS_BIT(ATTN_ENTROPY), .heads = heads, .num_heads = 2 };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 2 * 100 * 200 * 64);
    keep.analyses = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT); /* of all heads, whatever was asked for */
    in.T_q = 200;
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 12 * 200 * 200 * 64 + 2ull * 200 * 200 * 200);
    keep.analyses = ATTN_ANALYSIS_BIT(ATTN_ENTROPY); /* of whole rows, in a walk of their own behind that of the bins */
    keep.outputs = ATTN_BIT(ATTN_ATTENTIONS);
    keep.pool = &(attn_pool){ .size = 10, .mode = ATTN_REDUCE_MEAN };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2 * 2ull * 2 * 200 * 200 * 64);
    keep.outputs |= ATTN_BIT(ATTN_CONTEXT); /* comes with the bins, unless these are of some queries alone */
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 2 * 200 * 200 * (64 + 32) + 2ull * 2 * 200 * 200 * 64);
    keep.pool = &(attn_pool){ .size = 10, .mode = ATTN_REDUCE_MEAN, .queries = heads, .num_queries = 2 };
    ck_assert_uint_eq(attn_operator_price(runtime, &in, &keep).flops, 2ull * 2 * 2 * 200 * 64 + 2ull * 2 * 200 * 200 * (64 + 32));
    runtime_free(runtime);
}
END_TEST

/* None of them needs T x T: 32768 tokens and 12 heads would be 51 GB of maps. */
START_TEST(contexts_analyses_and_bins_of_long_inputs_are_cheap)
{
    attn_runtime *runtime = runtime_new(2);
    attn_operator_input in = { .num_attention_heads = 12, .num_key_value_heads = 12, .T_q = 32768, .T_k = 32768, .head_dim = 64, .value_dim = 64 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_CONTEXT) };
    uint64_t context = 12ull * 32768 * 64 * 4;
    ck_assert_uint_le(attn_operator_price(runtime, &in, &keep).bytes, context + (64u << 20));
    keep.analyses = ATTN_HEAD_ANALYSES;
    ck_assert_uint_le(attn_operator_price(runtime, &in, &keep).bytes, context + (64u << 20));
    keep.outputs |= ATTN_BIT(ATTN_ATTENTIONS);
    ck_assert_uint_ge(attn_operator_price(runtime, &in, &keep).bytes, 12ull * 32768 * 32768 * 4);
    keep.pool = &(attn_pool){ .size = 512, .mode = ATTN_REDUCE_MEAN };
    ck_assert_uint_le(attn_operator_price(runtime, &in, &keep).bytes, context + 12ull * 512 * 512 * 4 + (128u << 20));
    runtime_free(runtime);
}
END_TEST

START_TEST(absurd_sizes_have_absurd_prices)
{
    attn_runtime *runtime = runtime_new(2);
    attn_keep keep = { .outputs = ALL_OUTPUTS, .analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1 };
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
    Suite *s = suite_create("operator limits");
    TCase *tc = tcase_create("operator limits");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, what_is_not_finite_is_named_and_the_sink_not_called);
    tcase_add_test(tc, norms_of_heads_that_nobody_asked_for_cannot_overflow);
    tcase_add_test(tc, weighted_norms_need_an_output_projection);
    tcase_add_test(tc, an_error_of_the_sink_is_the_run_s_own);
    tcase_add_test(tc, a_cancelled_run_does_not_reach_the_sink);
    tcase_add_test(tc, every_allocation_may_fail);
    tcase_add_test(tc, no_run_takes_more_than_its_price);
    tcase_add_test(tc, large_runs_take_nearly_their_price);
    tcase_add_test(tc, flops_are_those_of_the_products_that_are_needed);
    tcase_add_test(tc, contexts_analyses_and_bins_of_long_inputs_are_cheap);
    tcase_add_test(tc, absurd_sizes_have_absurd_prices);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
