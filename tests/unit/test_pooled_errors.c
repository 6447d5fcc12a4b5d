/* test_pooled_errors.c - how a pooled run ends when it cannot go well: what left float32, a cancellation, memory refused; and what it takes of memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pooled_case.h"

/* "" where it goes well. */
static const char *overflow_of(attn_runtime *runtime, const attn_operator_input *in, pooled *p, unsigned kept_outputs)
{
    static attn_error err;
    attn_attention_out out = out_of(in, p);
    out.attentions = kept_outputs & 1 ? out.attentions : NULL;
    out.scores = kept_outputs & 2 ? out.scores : NULL;
    out.raw_scores = kept_outputs & 4 ? out.raw_scores : NULL;
    out.weighted_norms = kept_outputs & 8 ? out.weighted_norms : NULL;
    out.context = kept_outputs & 16 ? out.context : NULL;
    err = (attn_error){ 0 };
    attn_status status = attend(runtime, in, &out, NULL, &err);
    ck_assert(status == ATTN_OK || status == ATTN_E_OVERFLOW);
    ck_assert_int_eq(err.code, status);
    return err.where;
}

START_TEST(products_beyond_float32_are_told_where_somebody_sees_them)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 29;
    attention_case c = case_plain(&state, 1, 1, 70, 300, 4, 5);
    pooled p = pooled_new(&c.in, 10, ATTN_REDUCE_MEAN, &state, 0);
    for (size_t l = 0; l < 4; l++) {
        c.key[200 * 4 + l] = 3e38f;
        c.query[69 * 4 + l] = 1e30f;
    }
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 1), "raw_scores");
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 2), "raw_scores");
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 4), "raw_scores");
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 16), "raw_scores");
    c.in.rules.is_causal = true; /* nobody sees key 200 */
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 1 | 2 | 8 | 16), "");
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 4), "raw_scores");
    c.in.rules.query_offset = 131; /* the last query alone does */
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 1), "raw_scores");
    c.in.rules.query_offset = 130; /* in the same chunk, not seen */
    ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 1 | 2 | 8 | 16), "");
    pooled_free(&p);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(scores_beyond_float32_are_told)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 31;
    attention_case c = case_plain(&state, 1, 1, 70, 300, 1, 5);
    pooled p = pooled_new(&c.in, 10, ATTN_REDUCE_MEAN, &state, 0);
    for (size_t i = 0; i < 300; i++)
        c.key[i] = 1.0f;
    for (size_t i = 0; i < 70; i++)
        c.query[i] = 3e38f;
    c.add = case_floats(&state, 300, 1.0f);
    c.add[299] = 3e38f;
    c.in.rules.mask = (attn_mask){ .add = c.add, .key_stride = 1 };
    for (unsigned kept_outputs = 1; kept_outputs < 32; kept_outputs++)
        ck_assert_str_eq(overflow_of(runtime, &c.in, &p, kept_outputs), kept_outputs == 4 ? "" : "scores");
    c.in.rules.mask = (attn_mask){ 0 };
    for (int n = 0; n < 2; n++) { /* scores of +infinity, then of -infinity, which nothing hides */
        float slope = n ? 3e38f : -3e38f;
        c.in.rules.alibi_slopes = &slope;
        for (unsigned kept_outputs = 1; kept_outputs < 32; kept_outputs++)
            ck_assert_str_eq(overflow_of(runtime, &c.in, &p, kept_outputs), kept_outputs == 4 ? "" : "scores");
    }
    pooled_free(&p);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

/* Values are summed before they are divided; that must not be seen. */
START_TEST(values_at_the_end_of_float32_are_fine)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 37;
    for (int n = 0; n < 3; n++) {
        attention_case c = case_plain(&state, 1, 1, 70, 300, 1, 5);
        pooled p = pooled_new(&c.in, 10, n == 1 ? ATTN_REDUCE_MAX : ATTN_REDUCE_MEAN, &state, 0);
        for (size_t j = 0; j < 300; j++) {
            /* Up to e^13 between the first chunk's base and the last key; or all alike, and too large for float32 to tell from what is ln 300 above. */
            c.key[j] = n < 2 ? (float)j / 50.0f : 1e10f;
            p.norms[j] = 3e38f;
            for (size_t col = 0; col < 5; col++)
                c.value[j * 5 + col] = col == 4 ? 1.0f : col % 2 ? 3e38f : -3e38f;
        }
        attend_well(runtime, &c.in, &p);
        pooled want = plain(&c.in, &p);
        for (size_t i = 0; i < p.vectors; i++)
            ck_assert_double_le(fabs((double)p.context[i] / (double)want.context[i] - 1), 2e-6);
        for (size_t i = 0; i < p.size; i++)
            ck_assert_double_le(fabs((double)p.map[0][i] - (double)want.map[0][i]), 1e-6);
        for (size_t i = 0; i < p.size; i++)
            ck_assert_double_le(fabs((double)p.map[3][i] - (double)want.map[3][i]), 3e38 * 1e-6);
        plain_free(&want);
        pooled_free(&p);
        case_free(&c);
    }
    runtime_free(runtime);
}
END_TEST

START_TEST(the_lowest_task_is_told_for_any_number_of_threads)
{
    uint64_t state = 41;
    attention_case c = case_plain(&state, 4, 4, 600, 200, 1, 1);
    pooled p = pooled_new(&c.in, 600, ATTN_REDUCE_MEAN, &state, 0);
    for (size_t i = 0; i < 200; i++)
        c.key[i] = c.key[i + 600] = 2.0f;
    c.query[3 * 600] = 3e38f; /* raw, in head 3 */
    c.query[599] = 1.5e38f;   /* a score, in head 0 */
    c.add = case_floats(&state, 200, 1.0f);
    c.add[0] = 2e38f;
    c.in.rules.mask = (attn_mask){ .add = c.add, .key_stride = 1 };
    for (int threads = 1; threads < 6; threads++) {
        attn_runtime *runtime = runtime_new(_i, threads);
        for (int n = 0; n < 10; n++)
            ck_assert_str_eq(overflow_of(runtime, &c.in, &p, 1), "scores");
        runtime_free(runtime);
    }
    pooled_free(&p);
    case_free(&c);
}
END_TEST

START_TEST(a_cancelled_run_ends_soon)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    uint64_t state = 43;
    attention_case c = case_plain(&state, 2, 1, 40000, 40000, 4, 4);
    pooled p = pooled_new(&c.in, 1, ATTN_REDUCE_MEAN, &state, 0);
    attn_attention_out out = out_of(&c.in, &p);
    attn_cancel before = { 0 }, later = { .deadline_ns = attn_clock_ns() + 20000000 };
    attn_cancel_raise(&before, ATTN_CLIENT_GONE);
    ck_assert_int_eq(attend(runtime, &c.in, &out, &before, NULL), ATTN_E_CANCELLED);
    uint64_t start = attn_clock_ns();
    ck_assert_int_eq(attend(runtime, &c.in, &out, &later, NULL), ATTN_E_CANCELLED);
    ck_assert_uint_lt(attn_clock_ns() - start, 1000000000);
    pooled_free(&p);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

static int allowed_blocks;

static bool may_take(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    return allowed_blocks-- > 0;
}

START_TEST(every_refused_allocation_is_told)
{
    attn_runtime *runtime = runtime_new(0, 2);
    uint64_t state = 47;
    attention_case c = case_plain(&state, 1, 1, 50, 5000, 8, 8);
    pooled p = pooled_new(&c.in, 4000, ATTN_REDUCE_MEAN, &state, 2);
    attn_attention_out out = out_of(&c.in, &p);
    attn_arena *arena = attn_arena_new();
    attn_status status = ATTN_E_NOMEM;
    int refused = 0;
    for (int n = 0; n < 100 && status == ATTN_E_NOMEM; n++, refused++) {
        allowed_blocks = n;
        attn_memory_hook(may_take, NULL);
        attn_error err = { 0 };
        status = attn_attention_pooled(runtime, &c.in, &out, arena, NULL, &err);
        attn_memory_hook(NULL, NULL);
        ck_assert_int_eq(err.code, status);
        ck_assert_uint_eq(attn_arena_used(arena), 0);
        attn_arena_reset(arena, 0);
    }
    ck_assert_int_eq(status, ATTN_OK);
    ck_assert_int_gt(refused, 1);
    attn_arena_free(arena);
    pooled_free(&p);
    case_free(&c);
    runtime_free(runtime);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_refused)
{
    attn_runtime *runtime = runtime_new(0, 2);
    attn_pool pool = { .size = SIZE_MAX, .mode = ATTN_REDUCE_MEAN };
    float none;
    attn_operator_input in = { .num_attention_heads = 1, .num_key_value_heads = 1, .T_q = 1, .T_k = SIZE_MAX / 8, .head_dim = 1, .value_dim = 1 };
    attn_attention_out out = { .attentions = &none, .pool = &pool };
    ck_assert_uint_eq(attn_attention_pooled_bytes(runtime, &in, &out), UINT64_MAX);
    attn_arena *arena = attn_arena_new();
    ck_assert_int_eq(attn_attention_pooled(runtime, &in, &out, arena, NULL, NULL), ATTN_E_NOMEM);
    in.T_k = 10;
    in.head_dim = SIZE_MAX / 2;
    ck_assert_uint_eq(attn_attention_pooled_bytes(runtime, &in, &out), UINT64_MAX);
    attn_arena_free(arena);
    runtime_free(runtime);
}
END_TEST

/* 32,768 tokens and 8 heads of 16 to 512 x 512: the price is what a server reserves. */
START_TEST(a_long_input_takes_little_memory)
{
    attn_runtime *runtime = runtime_new(_i, 2);
    attn_pool pool = { .size = 512, .mode = ATTN_REDUCE_MEAN };
    float none;
    attn_operator_input in = { .num_attention_heads = 8, .num_key_value_heads = 8, .T_q = 32768, .T_k = 32768, .head_dim = 16, .value_dim = 16 };
    attn_attention_out out = { .attentions = &none, .context = &none, .pool = &pool };
    ck_assert_uint_lt(attn_attention_pooled_bytes(runtime, &in, &out), 4 << 20);
    runtime_free(runtime);
}
END_TEST

int main(void)
{
    int tables = 0;
    while (attn_kernels_all()[tables])
        tables++;
    Suite *suite = suite_create("pooled_errors");
    TCase *tests = tcase_create("errors");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, products_beyond_float32_are_told_where_somebody_sees_them, 0, tables);
    tcase_add_loop_test(tests, scores_beyond_float32_are_told, 0, tables);
    tcase_add_loop_test(tests, values_at_the_end_of_float32_are_fine, 0, tables);
    tcase_add_loop_test(tests, the_lowest_task_is_told_for_any_number_of_threads, 0, tables);
    tcase_add_loop_test(tests, a_cancelled_run_ends_soon, 0, tables);
    tcase_add_test(tests, every_refused_allocation_is_told);
    tcase_add_test(tests, sizes_that_do_not_fit_are_refused);
    tcase_add_loop_test(tests, a_long_input_takes_little_memory, 0, tables);
    suite_add_tcase(suite, tests);
    return unit_main(suite);
}
