/* test_bias.c - what a model adds to scores by position: against the plain form in double, and cut into single rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "attention_case.h"
#include "attn.h"
#include "unit.h"

enum { MOST = 4 * 70 * 70 };

/* [H, T_q, T_k] and [H, T_q, d_v], one after the other. */
typedef struct results {
    float scores[MOST], attentions[MOST], context[MOST];
} results;

static attn_attention_out out_of(const attn_operator_input *in, results *r)
{
    return (attn_attention_out){ .scores = r->scores,
                                 .attentions = r->attentions,
                                 .context = r->context,
                                 .context_head_stride = (ptrdiff_t)(in->T_q * in->value_dim),
                                 .context_row_stride = (ptrdiff_t)in->value_dim };
}

static void attend(attn_runtime *rt, const attn_operator_input *in, results *r)
{
    attn_error err = { 0 };
    attn_arena *arena = attn_arena_new();
    attn_attention_out out = out_of(in, r);
    ck_assert_ptr_nonnull(arena);
    attn_runtime_enter(rt);
    attn_status st = attn_attention(rt, in, &out, arena, NULL, &err);
    attn_runtime_leave(rt);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    attn_arena_free(arena);
}

static double worst_of(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        ck_assert(isinf(a[i]) == isinf(b[i]));
        worst = isinf(a[i]) ? worst : fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    return worst;
}

static void same_alone(attn_runtime *rt, const attn_operator_input *in, const results *whole, size_t i)
{
    static results alone;
    attn_operator_input row = *in;
    ptrdiff_t at = (ptrdiff_t)i;
    row.T_q = 1;
    row.query.data += at * in->query.row_stride;
    row.rules.bias.add += at * in->rules.bias.query_stride;
    if (in->rules.mask.add)
        row.rules.mask.add += at * in->rules.mask.query_stride;
    if (in->rules.mask.keep)
        row.rules.mask.keep += at * in->rules.mask.query_stride;
    attend(rt, &row, &alone);
    for (size_t h = 0; h < 4; h++)
        ck_assert_mem_eq(alone.attentions + h * in->T_k, whole->attentions + (h * in->T_q + i) * in->T_k, in->T_k * sizeof(float));
}

START_TEST(a_bias_is_added_behind_the_cap_and_before_the_mask)
{
    static results mine, theirs;
    static const char *const tables[] = { "ref", "avx2", "avx512", "neon" };
    attn_runtime *rt = NULL;
    double scores = 0, weights = 0, contexts = 0;
    uint64_t state = 40;
    if (attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 2, .kernels = tables[_i] }, NULL) != ATTN_OK)
        return; /* this CPU has not got it */
    for (int n = 0; n < 60; n++) {
        size_t T_q = 1 + case_below(&state, 70), T_k = 1 + case_below(&state, 70);
        attention_case c = case_plain(&state, 4, 2, T_q, T_k, 1 + case_below(&state, 20), 5);
        attn_attention_out out = out_of(&c.in, &theirs);
        case_bias(&c, &state);
        c.in.rules.softcap = n % 3 ? 0.0f : 5.0f;
        if (n % 2)
            case_mask(&c, &state);
        attend(rt, &c.in, &mine);
        attn_attention_reference(&c.in, &out);
        scores = fmax(scores, worst_of(mine.scores, theirs.scores, 4 * T_q * T_k));
        weights = fmax(weights, worst_of(mine.attentions, theirs.attentions, 4 * T_q * T_k));
        contexts = fmax(contexts, worst_of(mine.context, theirs.context, 4 * T_q * 5));
        same_alone(rt, &c.in, &mine, case_below(&state, T_q));
        case_free(&c);
    }
    printf("%s, with a bias: worst score %.2g, weight %.2g, context %.2g\n", tables[_i], scores, weights, contexts);
    ck_assert(scores <= 4e-6 && weights <= 1e-6 && contexts <= 1e-6);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(a_bias_by_distance_is_the_whole_one)
{
    static results by_distance, whole;
    enum { T_Q = 9, T_K = 13, SPAN = T_Q + T_K - 1 };
    float full[4 * T_Q * T_K];
    uint64_t state = 41;
    attn_runtime *rt = NULL;
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 1 }, NULL), ATTN_OK);
    attention_case c = case_plain(&state, 4, 2, T_Q, T_K, 8, 5);
    c.bias = case_floats(&state, 4 * SPAN, 2.0f);
    c.in.rules.bias = (attn_bias){ c.bias + T_Q - 1, SPAN, -1, 1 };
    attend(rt, &c.in, &by_distance);
    for (size_t n = 0; n < 4 * T_Q * T_K; n++)
        full[n] = c.bias[n / (T_Q * T_K) * SPAN + n % T_K + (T_Q - 1) - n / T_K % T_Q];
    c.in.rules.bias = (attn_bias){ full, T_Q * T_K, T_K, 1 };
    attend(rt, &c.in, &whole);
    ck_assert_mem_eq(by_distance.scores, whole.scores, sizeof full);
    ck_assert_mem_eq(by_distance.attentions, whole.attentions, sizeof full);
    case_free(&c);
    attn_runtime_free(rt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bias");
    TCase *all = tcase_create("bias");
    tcase_add_loop_test(all, a_bias_is_added_behind_the_cap_and_before_the_mask, 0, 4);
    tcase_add_test(all, a_bias_by_distance_is_the_whole_one);
    suite_add_tcase(suite, all);
    return unit_main(suite);
}
