/* test_operator_input.c - model-free requests: the shapes they settle on, and that core is handed the very numbers that were sent, cut, projected,
 * shifted and turned. Each item is held against the request's own definition, element by element, in double.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "request_case.h"

static request_case c;

static void setup(void)
{
    case_begin(&c);
}

static void teardown(void)
{
    case_end(&c);
}

static attn_operator_input item(size_t b)
{
    attn_operator_input in;
    attn_error err = { 0 };
    ck_assert_int_eq(api_operator_item(c.service.runtime, &c.req, &c.shape, b, &(api_worker){ .arena = c.arena }, &in, &err), ATTN_OK);
    ck_assert(in.num_attention_heads == c.shape.H && in.num_key_value_heads == c.shape.G && in.T_q == c.shape.T_q && in.T_k == c.shape.T_k);
    ck_assert(in.head_dim == c.shape.head_dim && in.value_dim == c.shape.value_dim);
    return in;
}

static float at(const attn_heads *x, size_t h, size_t t, size_t i)
{
    return x->data[(ptrdiff_t)h * x->head_stride + (ptrdiff_t)t * x->row_stride + (ptrdiff_t)i];
}

START_TEST(projections_and_rotations_are_given_up_when_nobody_waits)
{
    static const char *const bodies[] = { "{'embeddings': [[1, 2]], 'w_q': [[1, 0], [0, 1]]}", "{'embeddings': [[1, 2]], 'positional_encoding': 'rope'}" };
    for (size_t i = 0; i < 2; i++) {
        attn_cancel gone = { .reason = ATTN_CLIENT_GONE };
        attn_operator_input in;
        attn_error err = { 0 };
        case_accepts(&c, bodies[i]);
        api_worker worker = { .arena = c.arena, .cancel = &gone };
        ck_assert_int_eq(api_operator_item(c.service.runtime, &c.req, &c.shape, 0, &worker, &in, &err), ATTN_E_CANCELLED);
    }
}
END_TEST

/* ---- shapes ------------------------------------------------------------------------------------------------------------------------- */

START_TEST(shapes_follow_from_ranks_and_head_counts)
{
    static const struct {
        const char *body;
        size_t B, H, G, T_q, T_k, d, d_v, out;
    } rows[] = {
        { "{'query': [[1,2],[3,4],[5,6]], 'key': [[1,2]], 'value': [[1,2,3]]}", 1, 1, 1, 3, 1, 2, 3, 3 },
        { "{'query': [[[1,2]],[[3,4]]], 'key': [[[1,2],[3,4]]], 'value': [[[1],[2]]]}", 1, 2, 1, 1, 2, 2, 1, 2 },
        { "{'query': [[[[1]],[[2]]],[[[3]],[[4]]]], 'key': [[[[1]]],[[[2]]]], 'value': [[[[1]]],[[[2]]]], 'num_attention_heads': 2, 'num_key_value_heads': 1}",
          2, 2, 1, 1, 1, 1, 1, 2 },
        { "{'query': [[1,2,3,4]], 'key': [[1,2],[3,4]], 'value': [[1,2,3],[4,5,6]], 'num_attention_heads': 2, 'num_key_value_heads': 1}", 1, 2, 1, 1, 2, 2, 3,
          6 },
        { "{'query': [[1,2,3,4]], 'key': [[1,2,3,4]], 'value': [[1,2]], 'num_attention_heads': 2}", 1, 2, 2, 1, 1, 2, 1, 2 },
        { "{'query': [[[1,2]],[[1,2]],[[1,2]]], 'key': [[[1,2]],[[1,2]],[[1,2]]], 'value': [[[1,2]],[[1,2]],[[1,2]]], 'num_attention_heads': 1}", 3, 1, 1, 1, 1,
          2, 2, 2 },
        { "{'embeddings': [[1,2,3,4],[5,6,7,8]]}", 1, 1, 1, 2, 2, 4, 4, 4 },
        { "{'embeddings': [[1,2,3,4],[5,6,7,8]], 'num_attention_heads': 4}", 1, 4, 4, 2, 2, 1, 1, 4 },
        { "{'embeddings': [[[1,2]],[[3,4]]], 'key_embeddings': [[1,2,3],[4,5,6],[7,8,9]], 'w_k': [[1,2],[1,2],[1,2]], 'w_v': [[1],[2],[3]]}", 2, 1, 1, 1, 3, 2,
          1, 1 },
        { "{'embeddings': [[1,2]], 'num_attention_heads': 2, 'num_key_value_heads': 1, 'w_q': [[1,2,3,4],[1,2,3,4]], 'w_o': [[1],[1],[1],[1]], 'b_o': [1]}", 1,
          2, 1, 1, 1, 2, 2, 1 },
        { "{'embeddings': [[1,2]], 'w_q': [[1],[1]], 'w_k': [[1],[1]]}", 1, 1, 1, 1, 1, 1, 2, 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        case_accepts(&c, rows[i].body);
        const api_operator_shape *s = &c.shape;
        ck_assert_msg(s->B == rows[i].B && s->H == rows[i].H && s->G == rows[i].G && s->T_q == rows[i].T_q && s->T_k == rows[i].T_k &&
                          s->head_dim == rows[i].d && s->value_dim == rows[i].d_v && s->output_dim == rows[i].out,
                      "%s: B %zu H %zu G %zu T_q %zu T_k %zu d %zu d_v %zu out %zu", rows[i].body, s->B, s->H, s->G, s->T_q, s->T_k, s->head_dim, s->value_dim,
                      s->output_dim);
        ck_assert_uint_eq(c.req.num_inputs, rows[i].B);
    }
}
END_TEST

/* ---- query, key and value ----------------------------------------------------------------------------------------------------------- */

START_TEST(heads_on_an_axis_and_heads_side_by_side_are_found_by_strides)
{
    case_accepts(&c,
                 "{'query': [[[[1,2],[3,4]],[[5,6],[7,8]]],[[[9,10],[11,12]],[[13,14],[15,16]]]], 'key': [[[[1,2]]],[[[3,4]]]], 'value': [[[[5]]],[[[6]]]]}");
    attn_operator_input in = item(1);
    ck_assert(at(&in.query, 0, 0, 0) == 9 && at(&in.query, 1, 1, 1) == 16 && at(&in.query, 1, 0, 1) == 14);
    ck_assert(at(&in.key, 0, 0, 1) == 4 && at(&in.value, 0, 0, 0) == 6);
    case_accepts(&c, "{'query': [[[1,2,3,4],[5,6,7,8]],[[9,10,11,12],[13,14,15,16]]], 'key': [[[1,2,3,4]],[[5,6,7,8]]], 'value': [[[1,2]],[[3,4]]], "
                     "'num_attention_heads': 2}");
    in = item(1);
    ck_assert(at(&in.query, 0, 0, 0) == 9 && at(&in.query, 1, 0, 0) == 11 && at(&in.query, 1, 1, 1) == 16);
    ck_assert(at(&in.key, 1, 0, 0) == 7 && at(&in.value, 1, 0, 0) == 4);
    ck_assert(in.query.data == c.req.query.data + 8); /* used in place */
}
END_TEST

START_TEST(rules_come_from_the_request)
{
    case_accepts(&c, "{'query': [[1,2,3,4]], 'key': [[1,2,3,4],[1,2,3,4]], 'value': [[1],[2]]}");
    attn_rules r = item(0).rules;
    ck_assert(r.scale == 0.5f && r.softcap == 0 && !r.is_causal && r.query_offset == 0 && r.left_window_size == -1 && r.right_window_size == -1);
    ck_assert(r.key_length == 2 && !r.alibi_slopes && !r.mask.keep && !r.mask.add);
    case_accepts(
        &c, "{'query': [[1]], 'key': [[1],[2]], 'value': [[1],[2]], 'scale': 0, 'softcap': 2, 'is_causal': true, 'query_offset': -1, 'left_window_size': 3, "
            "'right_window_size': 2, 'key_lengths': [1]}");
    r = item(0).rules;
    ck_assert(r.scale == 0 && r.softcap == 2 && r.is_causal && r.query_offset == -1 && r.left_window_size == 3 && r.right_window_size == 2 &&
              r.key_length == 1);
}
END_TEST

START_TEST(masks_are_broadcast_from_the_right)
{
    static const struct {
        const char *mask;
        ptrdiff_t head, query, key, item; /* strides; elements between items */
    } rows[] = {
        { "[1,2,3]", 0, 0, 1, 0 },
        { "[[1,2,3]]", 0, 0, 1, 0 },
        { "[[1],[2]]", 0, 1, 0, 0 },
        { "[[1,2,3],[4,5,6]]", 0, 3, 1, 0 },
        { "[[[1,2,3]],[[4,5,6]]]", 3, 0, 1, 0 },
        { "[[[[1,2,3]]],[[[4,5,6]]]]", 0, 0, 1, 3 },
        { "[[[[1]],[[2]]],[[[3]],[[4]]]]", 1, 0, 0, 2 },
        { "[[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]]],[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]]]]", 6, 3, 1, 12 },
        { "[1]", 0, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[500]; /* B 2, H 2, T_q 2, T_k 3 */
        snprintf(body, sizeof body,
                 "{'query': [[[[1],[1]],[[1],[1]]],[[[1],[1]],[[1],[1]]]], 'key': [[[[1],[1],[1]]],[[[1],[1],[1]]]], 'value': "
                 "[[[[1],[1],[1]]],[[[1],[1],[1]]]], 'attn_mask': %s}",
                 rows[i].mask);
        case_accepts(&c, body);
        attn_mask first = item(0).rules.mask, second = item(1).rules.mask;
        ck_assert_msg(second.head_stride == rows[i].head && second.query_stride == rows[i].query && second.key_stride == rows[i].key, "%s", rows[i].mask);
        ck_assert(!second.keep && second.add - first.add == rows[i].item);
    }
    case_accepts(&c, "{'query': [[1]], 'key': [[1],[2]], 'value': [[1],[2]], 'attn_mask': [true, false]}");
    attn_mask mask = item(0).rules.mask;
    ck_assert(!mask.add && mask.keep[0] && !mask.keep[1] && mask.key_stride == 1);
}
END_TEST

/* ---- embeddings --------------------------------------------------------------------------------------------------------------------- */

START_TEST(without_projections_embeddings_are_cut_where_they_lie)
{
    case_accepts(&c, "{'embeddings': [[[1,2,3,4],[5,6,7,8]],[[9,10,11,12],[13,14,15,16]]], 'num_attention_heads': 2}");
    attn_operator_input in = item(1);
    ck_assert(in.query.data == c.req.embeddings.data + 8 && in.key.data == in.query.data && in.value.data == in.query.data);
    ck_assert(at(&in.query, 1, 1, 0) == 15 && at(&in.key, 0, 1, 1) == 14 && at(&in.value, 1, 0, 1) == 12);
    ck_assert(!in.w_o && !in.b_o && in.output_dim == 4);
}
END_TEST

START_TEST(projections_are_x_times_w_plus_b)
{
    case_accepts(
        &c,
        "{'embeddings': [[1,2],[3,4]], 'key_embeddings': [[1,0,2]], 'num_attention_heads': 2, 'num_key_value_heads': 1, 'w_q': [[1,2],[3,4]], 'b_q': [10,20], "
        "'w_k': [[1],[2],[3]], 'w_v': [[1,4],[2,5],[3,6]], 'b_v': [100,200], 'w_o': [[1],[2],[3],[4]], 'b_o': [7]}");
    attn_operator_input in = item(0);
    ck_assert(at(&in.query, 0, 0, 0) == 17 && at(&in.query, 1, 0, 0) == 30 && at(&in.query, 0, 1, 0) == 25 && at(&in.query, 1, 1, 0) == 42);
    ck_assert(at(&in.key, 0, 0, 0) == 7 && at(&in.value, 0, 0, 0) == 107 && at(&in.value, 0, 0, 1) == 216);
    ck_assert(in.w_o == c.req.w_o.data && in.b_o[0] == 7 && in.output_dim == 1);
}
END_TEST

START_TEST(keys_without_a_batch_serve_every_item)
{
    case_accepts(&c, "{'embeddings': [[[1,2]],[[3,4]]], 'key_embeddings': [[5,6],[7,8]]}");
    attn_operator_input in = item(1);
    ck_assert(at(&in.query, 0, 0, 0) == 3 && at(&in.key, 0, 1, 1) == 8 && in.key.data == c.req.key_embeddings.data);
    case_accepts(&c, "{'embeddings': [[[1,2]],[[3,4]]], 'key_embeddings': [[[5,6]],[[7,8]]]}");
    in = item(1);
    ck_assert(at(&in.key, 0, 0, 1) == 8);
}
END_TEST

START_TEST(sinusoids_are_added_to_copies_of_both_embeddings_values_included)
{
    case_accepts(&c, "{'embeddings': [[[0,0,0,0],[0,0,0,0]],[[1,1,1,1],[2,2,2,2]]], 'key_embeddings': [[5,5,5,5]], 'positional_encoding': 'sinusoidal'}");
    attn_operator_input in = item(1);
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < 4; i++) {
            double angle = (double)t / pow(10000, (double)(i / 2 * 2) / 4), expected = (double)(t + 1) + (i % 2 ? cos(angle) : sin(angle));
            ck_assert_double_eq_tol(at(&in.query, 0, t, i), expected, 1e-6);
        }
    ck_assert(at(&in.key, 0, 0, 0) == 5 && at(&in.key, 0, 0, 1) == 6 && at(&in.value, 0, 0, 1) == 6);
    ck_assert(c.req.embeddings.data[9] == 1 && c.req.key_embeddings.data[1] == 5); /* what was sent is as it was */
    case_accepts(&c, "{'embeddings': [[1,1],[1,1]], 'positional_encoding': 'sinusoidal'}");
    in = item(0);
    ck_assert(in.key.data == in.query.data && at(&in.value, 0, 0, 1) == 2);
}
END_TEST

START_TEST(rope_turns_copies_of_queries_and_keys_but_not_values)
{
    static const double x[4] = { 1, 2, 3, 4 };
    case_accepts(&c, "{'embeddings': [[1,2,3,4],[1,2,3,4]], 'positional_encoding': 'rope', 'rope_theta': 100, 'query_offset': 5}");
    attn_operator_input in = item(0);
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < 2; i++) {
            double turn = pow(100, -(double)i / 2), q = ((double)t + 5) * turn, k = (double)t * turn;
            ck_assert_double_eq_tol(at(&in.query, 0, t, i), x[i] * cos(q) - x[i + 2] * sin(q), 1e-5);
            ck_assert_double_eq_tol(at(&in.query, 0, t, i + 2), x[i + 2] * cos(q) + x[i] * sin(q), 1e-5);
            ck_assert_double_eq_tol(at(&in.key, 0, t, i), x[i] * cos(k) - x[i + 2] * sin(k), 1e-5);
            ck_assert_double_eq_tol(at(&in.key, 0, t, i + 2), x[i + 2] * cos(k) + x[i] * sin(k), 1e-5);
        }
    ck_assert(in.value.data == c.req.embeddings.data && c.req.embeddings.data[4] == 1);
    case_accepts(&c, "{'embeddings': [[1,2],[1,2]], 'positional_encoding': 'rope', 'w_q': [[1,0],[0,1]]}"); /* projected queries are turned too */
    in = item(0);
    ck_assert_double_eq_tol(at(&in.query, 0, 1, 0), cos(1) - 2 * sin(1), 1e-6);
    ck_assert_double_eq_tol(at(&in.key, 0, 1, 0), cos(1) - 2 * sin(1), 1e-6);
}
END_TEST

START_TEST(alibi_has_a_slope_for_each_head)
{
    case_accepts(&c, "{'embeddings': [[1,2,3,4]], 'num_attention_heads': 4, 'positional_encoding': 'alibi'}");
    const float *slopes = item(0).rules.alibi_slopes;
    for (int h = 0; h < 4; h++)
        ck_assert_double_eq_tol(slopes[h], pow(2, -2 * (h + 1)), 1e-7);
}
END_TEST

START_TEST(an_item_takes_no_more_arena_than_its_price)
{
    static const char *const bodies[] = {
        "{'query': [[1]], 'key': [[1]], 'value': [[1]]}",
        "{'embeddings': [[1,2],[3,4]], 'positional_encoding': 'sinusoidal', 'key_embeddings': [[1,2]]}",
        "{'embeddings': [[1,2],[3,4]], 'positional_encoding': 'rope', 'w_q': [[1,2],[3,4]], 'w_v': [[1],[2]]}",
        "{'embeddings': [[1,2],[3,4]], 'positional_encoding': 'alibi', 'w_q': [[1,2],[3,4]], 'b_q': [1,2], 'w_k': [[1,2],[3,4]], 'w_v': [[1,2,3],[4,5,6]], "
        "'w_o': [[1],[1],[1]]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        case_accepts(&c, bodies[i]);
        attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) };
        attn_price price = api_operator_item_price(c.service.runtime, &c.req, &c.shape, &keep);
        attn_arena *arena = attn_arena_new();
        attn_operator_input in;
        attn_error err = { 0 };
        ck_assert_int_eq(api_operator_item(c.service.runtime, &c.req, &c.shape, 0, &(api_worker){ .arena = arena }, &in, &err), ATTN_OK);
        ck_assert_msg(attn_arena_peak(arena) <= price.bytes, "%s: %zu of %llu", bodies[i], attn_arena_peak(arena), (unsigned long long)price.bytes);
        ck_assert_uint_gt(price.flops, 0);
        attn_arena_free(arena);
    }
}
END_TEST

/* ---- selections --------------------------------------------------------------------------------------------------------------------- */

START_TEST(slices_are_pythons)
{
    static const int64_t ends[] = { -9, -6, -5, -4, -1, 0, 1, 3, 4, 5, 6, 99, INT64_MIN, INT64_MAX };
    enum { N = 5, ENDS = sizeof ends / sizeof ends[0] };
    for (size_t i = 0; i <= ENDS; i++)
        for (size_t k = 0; k <= ENDS; k++) {
            api_indices in = {
                .kind = API_SLICE, .has_start = i < ENDS, .has_stop = k < ENDS, .start = i < ENDS ? ends[i] : 0, .stop = k < ENDS ? ends[k] : 0
            };
            int64_t a = in.has_start ? in.start : 0, b = in.has_stop ? in.stop : N;
            a = a < 0 ? (a + N < 0 ? 0 : a + N) : a > N ? N : a;
            b = b < 0 ? (b + N < 0 ? 0 : b + N) : b > N ? N : b;
            const int32_t *list;
            size_t count;
            api_problem p = { 0 };
            bool ok = api_resolve(&in, "keys", N, c.arena, &list, &count, &p);
            ck_assert_int_eq(ok, a < b);
            if (!ok) {
                ck_assert_int_eq(p.code, API_EMPTY_SELECTION);
                ck_assert_str_eq(p.pointer, "/keys");
                continue;
            }
            ck_assert_uint_eq(count, (size_t)(b - a));
            for (size_t t = 0; t < count; t++)
                ck_assert_int_eq(list ? list[t] : (int32_t)t, (int32_t)a + (int32_t)t);
        }
}
END_TEST

START_TEST(lists_keep_order_and_repeats_and_count_from_the_end)
{
    static const int64_t asked[] = { 2, -1, 0, 2, -5, 4 };
    const int32_t *list;
    size_t count;
    api_problem p = { 0 };
    ck_assert(api_resolve(&(api_indices){ .kind = API_LIST, .list = asked, .count = 6 }, "layers", 5, c.arena, &list, &count, &p));
    static const int32_t expected[] = { 2, 4, 0, 2, 0, 4 };
    ck_assert_uint_eq(count, 6);
    ck_assert_mem_eq(list, expected, sizeof expected);
    ck_assert(api_resolve(&(api_indices){ .kind = API_ALL }, "layers", 5, c.arena, &list, &count, &p) && !list && count == 5);
}
END_TEST

START_TEST(an_index_out_of_range_is_named)
{
    static const int64_t bad[] = { 5, -6, INT64_MAX, INT64_MIN, 4294967296 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t asked[] = { 0, bad[i] };
        const int32_t *list;
        size_t count;
        api_problem p = { 0 };
        ck_assert(!api_resolve(&(api_indices){ .kind = API_LIST, .list = asked, .count = 2 }, "layers", 5, c.arena, &list, &count, &p));
        ck_assert_int_eq(p.code, API_INDEX_OUT_OF_RANGE);
        ck_assert_str_eq(p.pointer, "/layers/1");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("operator_input");
    TCase *t = tcase_create("operator_input");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, shapes_follow_from_ranks_and_head_counts);
    tcase_add_test(t, projections_and_rotations_are_given_up_when_nobody_waits);
    tcase_add_test(t, heads_on_an_axis_and_heads_side_by_side_are_found_by_strides);
    tcase_add_test(t, rules_come_from_the_request);
    tcase_add_test(t, masks_are_broadcast_from_the_right);
    tcase_add_test(t, without_projections_embeddings_are_cut_where_they_lie);
    tcase_add_test(t, projections_are_x_times_w_plus_b);
    tcase_add_test(t, keys_without_a_batch_serve_every_item);
    tcase_add_test(t, sinusoids_are_added_to_copies_of_both_embeddings_values_included);
    tcase_add_test(t, rope_turns_copies_of_queries_and_keys_but_not_values);
    tcase_add_test(t, alibi_has_a_slope_for_each_head);
    tcase_add_test(t, an_item_takes_no_more_arena_than_its_price);
    tcase_add_test(t, slices_are_pythons);
    tcase_add_test(t, lists_keep_order_and_repeats_and_count_from_the_end);
    tcase_add_test(t, an_index_out_of_range_is_named);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
