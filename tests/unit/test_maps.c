/* test_maps.c - cutting, reducing and ranking give what plain loops give, and leave alone what nobody asked about.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "attn.h"

#include <math.h>
#include <string.h>

enum { H = 3, TQ = 5, TK = 7, DIM = 4 };

static attn_runtime *rt;
static attn_arena *arena;
static float maps[H][TQ][TK], keys[H][TK][DIM], context[TQ][H][DIM];
static const float *map_heads[H], *key_heads[H], *context_heads[H];
static attn_layer layer;

static void setup(void)
{
    attn_error err = { 0 };
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 2, .kernels = "ref" }, &err), ATTN_OK);
    arena = attn_arena_new();
    unsigned seed = 1;
    for (int h = 0; h < H; h++) {
        map_heads[h] = maps[h][0];
        key_heads[h] = keys[h][0];
        context_heads[h] = context[0][h];
        for (int i = 0; i < TQ; i++)
            for (int j = 0; j < TK; j++)
                maps[h][i][j] = (float)((seed = seed * 1103515245u + 12345u) >> 16 & 1023) / 1024.0f;
        for (int j = 0; j < TK; j++)
            for (int c = 0; c < DIM; c++)
                keys[h][j][c] = (float)(100 * h + 10 * j + c);
        for (int i = 0; i < TQ; i++)
            for (int c = 0; c < DIM; c++)
                context[i][h][c] = (float)(1000 + 100 * h + 10 * i + c);
    }
    layer = (attn_layer){ .layer = 4 };
    layer.views[ATTN_ATTENTIONS] = (attn_view){ map_heads, H, TQ, TK, TK };
    layer.views[ATTN_SCORES] = (attn_view){ map_heads, H, TQ, TK, TK };
    layer.views[ATTN_KEY] = (attn_view){ key_heads, H, TK, DIM, DIM };
    layer.views[ATTN_CONTEXT] = (attn_view){ context_heads, H, TQ, DIM, H * DIM };
}

static void teardown(void)
{
    attn_arena_free(arena);
    attn_runtime_free(rt);
}

static attn_layer cut(attn_selection sel)
{
    attn_layer out;
    attn_error err = { 0 };
    ck_assert_int_eq(attn_select_layer(rt, &sel, &layer, &out, arena, NULL, &err), ATTN_OK);
    return out;
}

static float at(const attn_view *v, int h, int r, int c)
{
    return v->head[h][(ptrdiff_t)r * v->row_stride + c];
}

START_TEST(no_selection_passes_everything_on_untouched)
{
    attn_layer out = cut((attn_selection){ 0 });
    ck_assert_int_eq(memcmp(&out, &layer, sizeof out), 0);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
}
END_TEST

START_TEST(order_and_repeats_are_as_asked)
{
    const int32_t q[] = { 4, 0, 4 }, k[] = { 6, 1 };
    attn_layer out = cut((attn_selection){ .queries = q, .num_queries = 3, .keys = k, .num_keys = 2 });
    attn_view *a = &out.views[ATTN_ATTENTIONS], *key = &out.views[ATTN_KEY], *c = &out.views[ATTN_CONTEXT];
    ck_assert(a->heads == H && a->rows == 3 && a->cols == 2 && key->rows == 2 && key->cols == DIM && c->rows == 3 && c->cols == DIM);
    for (int h = 0; h < H; h++)
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 2; j++)
                ck_assert_float_eq(at(a, h, i, j), maps[h][q[i]][k[j]]);
            for (int x = 0; x < DIM; x++)
                ck_assert_float_eq(at(c, h, i, x), context[q[i]][h][x]);
        }
    for (int h = 0; h < H; h++)
        for (int x = 0; x < DIM; x++)
            ck_assert_float_eq(at(key, h, 0, x), keys[h][6][x]);
    attn_selection sel = { .queries = q, .num_queries = 3, .keys = k, .num_keys = 2 };
    attn_outputs all = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_KEY) | ATTN_BIT(ATTN_CONTEXT);
    ck_assert_uint_ge(attn_select_bytes(&sel, all, H, TQ, TK, DIM, DIM, 12), attn_arena_used(arena));
}
END_TEST

START_TEST(heads_are_reduced_in_maps_alone)
{
    const int32_t k[] = { 2, 3 };
    maps[1][2][3] = -INFINITY;
    attn_layer mean = cut((attn_selection){ .keys = k, .num_keys = 2, .reduce_heads = ATTN_REDUCE_MEAN });
    attn_layer max = cut((attn_selection){ .reduce_heads = ATTN_REDUCE_MAX });
    ck_assert_uint_eq(mean.views[ATTN_CONTEXT].heads, H);
    ck_assert_uint_eq(mean.views[ATTN_SCORES].heads, 1);
    for (int i = 0; i < TQ; i++)
        for (int j = 0; j < 2; j++) {
            double sum = (double)maps[0][i][k[j]] + (double)maps[1][i][k[j]] + (double)maps[2][i][k[j]];
            float most = fmaxf(maps[0][i][k[j]], fmaxf(maps[1][i][k[j]], maps[2][i][k[j]]));
            ck_assert_float_eq(at(&mean.views[ATTN_SCORES], 0, i, j), (float)(sum / 3));
            ck_assert_float_eq(at(&max.views[ATTN_SCORES], 0, i, k[j]), most);
        }
    ck_assert(at(&mean.views[ATTN_SCORES], 0, 2, 1) == -INFINITY);
    ck_assert(isfinite(at(&max.views[ATTN_SCORES], 0, 2, 3)));
}
END_TEST

/* Maps in bins have no rows and columns of the input any more; everything else has. */
START_TEST(pooled_maps_are_not_cut_again)
{
    const int32_t q[] = { 4, 0, 4 }, k[] = { 6, 1 };
    attn_selection sel = { .queries = q, .num_queries = 3, .keys = k, .num_keys = 2, .maps_are_cut = true };
    attn_layer out = cut(sel);
    ck_assert_ptr_eq(out.views[ATTN_ATTENTIONS].head, map_heads);
    ck_assert(out.views[ATTN_KEY].rows == 2 && out.views[ATTN_CONTEXT].rows == 3);
    ck_assert_uint_eq(attn_select_bytes(&sel, ATTN_MAP_OUTPUTS, H, TQ, TK, DIM, DIM, 12), 0);
    sel.reduce_heads = ATTN_REDUCE_MAX;
    out = cut(sel);
    ck_assert(out.views[ATTN_SCORES].heads == 1 && out.views[ATTN_SCORES].rows == TQ && out.views[ATTN_SCORES].cols == TK);
    for (int i = 0; i < TQ; i++)
        for (int j = 0; j < TK; j++)
            ck_assert_float_eq(at(&out.views[ATTN_SCORES], 0, i, j), fmaxf(maps[0][i][j], fmaxf(maps[1][i][j], maps[2][i][j])));
}
END_TEST

START_TEST(value_norms_are_cut_by_keys_and_hidden_states_by_queries)
{
    const int32_t q[] = { 4, 0, 4 }, k[] = { 6, 1 };
    attn_selection sel = { .queries = q, .num_queries = 3, .keys = k, .num_keys = 2, .reduce_heads = ATTN_REDUCE_MEAN };
    layer = (attn_layer){ .views[ATTN_VALUE_NORMS] = { map_heads, H, 1, TK, TK } };
    layer.analyses[ATTN_ENTROPY] = maps[0][0];
    attn_layer out = cut(sel);
    ck_assert(out.views[ATTN_VALUE_NORMS].heads == H && out.views[ATTN_VALUE_NORMS].rows == 1 && out.views[ATTN_VALUE_NORMS].cols == 2);
    ck_assert_ptr_eq(out.analyses[ATTN_ENTROPY], maps[0][0]); /* a selection changes none */
    for (int h = 0; h < H; h++)
        for (int j = 0; j < 2; j++)
            ck_assert_float_eq(at(&out.views[ATTN_VALUE_NORMS], h, 0, j), maps[h][0][k[j]]);
    attn_view state = { context_heads, 1, TQ, DIM, H * DIM }, some;
    attn_error err = { 0 };
    ck_assert_int_eq(attn_select_view(rt, &sel, ATTN_HIDDEN_STATES, &state, &some, arena, &err), ATTN_OK);
    ck_assert(some.heads == 1 && some.rows == 3 && some.cols == DIM);
    for (int i = 0; i < 3; i++)
        for (int x = 0; x < DIM; x++)
            ck_assert_float_eq(at(&some, 0, i, x), context[q[i]][0][x]);
    ck_assert_uint_ge(attn_select_bytes(&sel, ATTN_BIT(ATTN_VALUE_NORMS) | ATTN_BIT(ATTN_HIDDEN_STATES), H, TQ, TK, DIM, DIM, DIM), attn_arena_used(arena));
    ck_assert_int_eq(attn_select_view(rt, &(attn_selection){ 0 }, ATTN_HIDDEN_STATES, &state, &some, arena, &err), ATTN_OK);
    ck_assert_ptr_eq(some.head, context_heads);
}
END_TEST

START_TEST(layers_fold_into_mean_and_maximum)
{
    float acc[H * TQ * TK];
    for (int how = ATTN_REDUCE_MEAN; how <= ATTN_REDUCE_MAX; how++) {
        attn_reduce_layer((attn_reduce)how, acc, &layer.views[ATTN_ATTENTIONS], 0.25, true);
        float saved = maps[0][0][0];
        maps[0][0][0] = 9.0f;
        attn_reduce_layer((attn_reduce)how, acc, &layer.views[ATTN_ATTENTIONS], 0.75, false);
        ck_assert_float_eq(acc[0], how == ATTN_REDUCE_MEAN ? 0.25f * saved + 6.75f : 9.0f);
        ck_assert_float_eq(acc[40], maps[40 / (TQ * TK)][40 % (TQ * TK) / TK][40 % TK]);
        maps[0][0][0] = saved;
    }
}
END_TEST

START_TEST(a_mean_is_not_lost_to_a_sum_beyond_float32)
{
    float acc[H * TQ * TK];
    for (int h = 0; h < H; h++)
        maps[h][0][0] = -3e38f;
    attn_layer mean = cut((attn_selection){ .reduce_heads = ATTN_REDUCE_MEAN });
    ck_assert_float_eq(at(&mean.views[ATTN_SCORES], 0, 0, 0), -3e38f);
    attn_reduce_layer(ATTN_REDUCE_MEAN, acc, &layer.views[ATTN_SCORES], 0.5, true);
    attn_reduce_layer(ATTN_REDUCE_MEAN, acc, &layer.views[ATTN_SCORES], 0.5, false);
    ck_assert_float_eq(acc[0], -3e38f);
}
END_TEST

/* 2^25 times the same head: a float sum stops growing at 2^24. */
START_TEST(a_head_asked_for_often_keeps_its_mean)
{
    enum { MANY = 1 << 25 };
    static float one = 1.0f;
    const float **heads = attn_malloc(MANY * sizeof *heads);
    ck_assert_ptr_nonnull(heads);
    for (size_t i = 0; i < MANY; i++)
        heads[i] = &one;
    layer = (attn_layer){ .views[ATTN_ATTENTIONS] = { heads, MANY, 1, 1, 1 } };
    attn_layer mean = cut((attn_selection){ .reduce_heads = ATTN_REDUCE_MEAN });
    ck_assert_float_eq(at(&mean.views[ATTN_ATTENTIONS], 0, 0, 0), 1.0f);
    attn_cancel gone = { .reason = ATTN_CLIENT_GONE };
    attn_error err = { 0 };
    ck_assert_int_eq(attn_select_layer(rt, &(attn_selection){ .reduce_heads = ATTN_REDUCE_MAX }, &layer, &mean, arena, &gone, &err), ATTN_E_CANCELLED);
    attn_free(heads);
}
END_TEST

START_TEST(a_price_of_long_lists_does_not_wrap_around)
{
    const int32_t some[1] = { 0 };
    size_t many = (size_t)1 << 25;
    attn_selection sel = { .queries = some, .num_queries = many, .keys = some, .num_keys = many };
    ck_assert_uint_eq(attn_select_bytes(&sel, ATTN_BIT(ATTN_SCORES), many, 1, 1, 1, 1, 1), UINT64_MAX);
}
END_TEST

START_TEST(the_largest_come_first_and_ties_by_index)
{
    const float row[] = { 0.1f, 0.3f, 0.0f, 0.3f, 0.2f, 0.1f };
    int32_t index[6];
    float value[6], dropped;
    ck_assert_uint_eq(attn_top_k(row, 6, NULL, 0, 4, index, value, &dropped), 4);
    const int32_t expected[] = { 1, 3, 4, 0 };
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(index[i], expected[i]);
        ck_assert_float_eq(value[i], row[expected[i]]);
    }
    ck_assert_float_eq_tol(dropped, 0.1f, 1e-7f);
    ck_assert_uint_eq(attn_top_k(row, 6, NULL, 0, 100, index, value, &dropped), 6);
    ck_assert_float_eq(dropped, 0.0f);
    ck_assert_int_eq(index[5], 2);
    const int32_t some[] = { 5, 4, 2 };
    ck_assert_uint_eq(attn_top_k(row, 6, some, 3, 9, index, value, &dropped), 3);
    ck_assert(index[0] == 4 && index[1] == 5 && index[2] == 2);
    ck_assert_float_eq_tol(dropped, 0.7f, 1e-6f);
}
END_TEST

/* Against a plain repeated search for the maximum, for every k of rows with many ties. */
START_TEST(ranking_agrees_with_a_plain_search)
{
    unsigned seed = 7;
    for (size_t n = 1; n < 40; n++)
        for (size_t k = 1; k <= n; k++) {
            float row[40], value[40], dropped;
            int32_t index[40];
            bool used[40] = { false };
            for (size_t i = 0; i < n; i++)
                row[i] = (float)((seed = seed * 1103515245u + 12345u) >> 16 & 7) / 8.0f;
            ck_assert_uint_eq(attn_top_k(row, n, NULL, 0, k, index, value, &dropped), k);
            for (size_t r = 0; r < k; r++) {
                int best = -1;
                for (size_t i = 0; i < n; i++)
                    if (!used[i] && (best < 0 || row[i] > row[best]))
                        best = (int)i;
                used[best] = true;
                ck_assert_int_eq(index[r], best);
            }
        }
}
END_TEST

START_TEST(outputs_have_the_contract_s_names)
{
    ck_assert_str_eq(attn_output_name(ATTN_ATTENTIONS), "attentions");
    ck_assert_str_eq(attn_output_name(ATTN_RAW_SCORES), "raw_scores");
    ck_assert_str_eq(attn_output_name(ATTN_ATTN_OUTPUT), "attn_output");
    ck_assert_str_eq(attn_output_name(ATTN_WEIGHTED_NORMS), "weighted_norms");
    ck_assert_str_eq(attn_output_name(ATTN_VALUE_NORMS), "value_norms");
    ck_assert_str_eq(attn_output_name(ATTN_HIDDEN_STATES), "hidden_states");
    ck_assert(attn_output_is_map(ATTN_SCORES) && attn_output_is_map(ATTN_WEIGHTED_NORMS) && !attn_output_is_map(ATTN_CONTEXT));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("maps");
    TCase *t = tcase_create("maps");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, no_selection_passes_everything_on_untouched);
    tcase_add_test(t, order_and_repeats_are_as_asked);
    tcase_add_test(t, heads_are_reduced_in_maps_alone);
    tcase_add_test(t, pooled_maps_are_not_cut_again);
    tcase_add_test(t, value_norms_are_cut_by_keys_and_hidden_states_by_queries);
    tcase_add_test(t, layers_fold_into_mean_and_maximum);
    tcase_add_test(t, a_mean_is_not_lost_to_a_sum_beyond_float32);
    tcase_add_test(t, a_head_asked_for_often_keeps_its_mean);
    tcase_add_test(t, a_price_of_long_lists_does_not_wrap_around);
    tcase_add_test(t, the_largest_come_first_and_ties_by_index);
    tcase_add_test(t, ranking_agrees_with_a_plain_search);
    tcase_add_test(t, outputs_have_the_contract_s_names);
    suite_add_tcase(s, t);
    return unit_main(s);
}
