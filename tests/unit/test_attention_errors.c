/* What cannot be is refused before anything is computed, by its code and its field; what breaks off does so visibly; limits name limit and need.
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_fixture.h"

#include <stdio.h>

static const struct problem_case {
    const char *path, *body;
    api_code code;
    const char *pointer;
} problems[] = {
    { "/v1/attention", NULL, API_INVALID_JSON, "" },
    { "/v1/attention", "{}", API_NO_INPUT, "" },
    { "/v1/attention", "{\"text\":\"a\",\"model\":\"b\"}", API_MODEL_NOT_FOUND, "/model" },
    { "/v1/tokenize", "{\"text\":\"a\",\"model\":\"b\"}", API_MODEL_NOT_FOUND, "/model" },
    { "/v1/estimate", "{\"text\":\"a\",\"model\":\"b\"}", API_MODEL_NOT_FOUND, "/model" },
    { "/v1/attention", "{\"input_ids\":[1,2,3,8192]}", API_TOKEN_ID_OUT_OF_RANGE, "/input_ids/3" },
    { "/v1/attention", "{\"input_ids\":[1,-1]}", API_TOKEN_ID_OUT_OF_RANGE, "/input_ids/1" },
    { "/v1/attention", "{\"input_ids\":[[1],[2,3,9000000000]]}", API_TOKEN_ID_OUT_OF_RANGE, "/input_ids/1/2" },
    { "/v1/attention", "{\"input_ids\":[1,2],\"token_type_ids\":[0,2]}", API_OUT_OF_RANGE, "/token_type_ids/1" },
    { "/v1/attention", "{\"input_ids\":[[1,2]],\"token_type_ids\":[[0,-1]]}", API_OUT_OF_RANGE, "/token_type_ids/0/1" },
    { "/v1/attention", "{\"inputs_embeds\":[[1,2,3]]}", API_SHAPE_MISMATCH, "/inputs_embeds" },
    { "/v1/attention", "{\"text\":\"\",\"add_special_tokens\":false}", API_NO_TOKENS, "/text" },
    { "/v1/attention", "{\"text\":[\"a\",\" \"],\"add_special_tokens\":false}", API_NO_TOKENS, "/text/1" },
    { "/v1/attention", "{\"text\":\"a\",\"layers\":[0,6]}", API_INDEX_OUT_OF_RANGE, "/layers/1" },
    { "/v1/attention", "{\"text\":\"a\",\"layers\":[-7]}", API_INDEX_OUT_OF_RANGE, "/layers/0" },
    { "/v1/attention", "{\"text\":\"a\",\"heads\":[8]}", API_INDEX_OUT_OF_RANGE, "/heads/0" },
    { "/v1/attention", "{\"input_ids\":[[1,2,3],[1]],\"queries\":[2]}", API_INDEX_OUT_OF_RANGE, "/queries/0" },
    { "/v1/attention", "{\"input_ids\":[1,2],\"keys\":[0,1,2]}", API_INDEX_OUT_OF_RANGE, "/keys/2" },
    { "/v1/attention", "{\"text\":\"a\",\"layers\":{\"start\":6}}", API_EMPTY_SELECTION, "/layers" },
    { "/v1/attention", "{\"input_ids\":[[1,2,3],[1]],\"queries\":{\"start\":1}}", API_EMPTY_SELECTION, "/queries" },
    { "/v1/attention", "{\"query\":[[1]],\"key\":[[1]],\"value\":[[1]],\"layers\":[1]}", API_INDEX_OUT_OF_RANGE, "/layers/0" },
    { "/v1/attention", "{\"query\":[[3e38]],\"key\":[[3e38]],\"value\":[[1]]}", API_OVERFLOW, "/query" },
    { "/v1/attention", "{\"embeddings\":[[3e38,3e38]]}", API_OVERFLOW, "/embeddings" },
};

START_TEST(a_problem_has_its_code_and_its_field)
{
    const struct problem_case *c = &problems[_i];
    answered a = ask(c->path, c->body ? c->body : "");
    ck_assert_int_eq(a.status, ATTN_OK);
    ck_assert_msg(a.outcome == c->code, "%s: %s and not %s", c->body, api_code_name(a.outcome), api_code_name(c->code));
    ck_assert_int_eq(a.http, api_code_status(c->code));
    const char *pointer = json_string_value(json_object_get(a.json, "pointer"));
    ck_assert_str_eq(pointer ? pointer : "", c->pointer);
    json_decref(a.json);
}
END_TEST

/* A body with a text of n words and more fields behind it. */
static char *words(size_t n, const char *more)
{
    size_t size = 2 * n + strlen(more) + 32;
    char *body = malloc(size);
    size_t used = (size_t)snprintf(body, size, "{\"text\":\"");
    for (size_t i = 0; i < n; i++, used += 2)
        memcpy(body + used, "a ", 2);
    snprintf(body + used, size - used, "\"%s}", more);
    return body;
}

static uint64_t number(json_t *json, const char *name)
{
    ck_assert_msg(json_is_integer(json_object_get(json, name)), "%s is missing", name);
    return (uint64_t)json_integer_value(json_object_get(json, name));
}

/* Refused as such, with limit and need, nothing computed; and /v1/estimate lists the same. */
static void check_limit(const char *body, api_code code, uint64_t limit)
{
    answered a = ask("/v1/attention", body), e = ask_well("/v1/estimate", body);
    ck_assert_msg(a.outcome == code, "%s and not %s", api_code_name(a.outcome), api_code_name(code));
    ck_assert_int_eq(a.http, 413);
    ck_assert_uint_eq(a.compute_ns, 0);
    ck_assert_uint_eq(number(a.json, "limit"), limit);
    ck_assert_uint_gt(number(a.json, "need"), limit);
    ck_assert(json_is_false(json_object_get(e.json, "allowed")));
    json_t *first = json_array_get(json_object_get(e.json, "limits"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "code")), api_code_name(code));
    ck_assert_uint_eq(number(first, "limit"), limit);
    if (code != API_MEMORY_LIMIT) /* an estimate's own need is the same, but for what reading it took */
        ck_assert_uint_eq(number(first, "need"), number(a.json, "need"));
    json_decref(a.json);
    json_decref(e.json);
}

START_TEST(a_text_too_long_names_both_lengths)
{
    char *body = words(600, "");
    answered a = ask("/v1/attention", body);
    check_limit(body, API_TOO_MANY_TOKENS, 512);
    ck_assert_uint_eq(number(a.json, "need"), 602);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(a.json, "detail")), "602"));
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(a.json, "detail")), "512"));
    json_decref(a.json);
    free(body);
}
END_TEST

START_TEST(truncation_cuts_and_says_so)
{
    char *body = words(600, ",\"truncation\":true,\"output\":[\"attentions\"],\"layers\":[0],\"heads\":[0],\"queries\":[0]");
    answered a = ask_well("/v1/attention", body);
    ck_assert_uint_eq(json_array_size(follow(a.json, "results", "tokens")), 512);
    ck_assert(json_is_true(follow(a.json, "results", "truncated")));
    json_decref(a.json);
    free(body);
    body = words(5, ",\"truncation\":true,\"layers\":[0]");
    a = ask_well("/v1/attention", body);
    ck_assert_ptr_null(follow(a.json, "results", "truncated"));
    json_decref(a.json);
    free(body);
}
END_TEST

START_TEST(the_servers_own_length_counts_where_it_is_shorter)
{
    service.limits.max_tokens = 20;
    char *body = words(30, "");
    check_limit(body, API_TOO_MANY_TOKENS, 20);
    free(body);
    body = words(30, ",\"truncation\":true,\"layers\":[0]");
    answered a = ask_well("/v1/attention", body);
    ck_assert_uint_eq(json_array_size(follow(a.json, "results", "tokens")), 20);
    json_decref(a.json);
    free(body);
}
END_TEST

START_TEST(an_answer_too_large_is_refused_before_it_is_computed)
{
    char *body = words(100, "");
    service.limits.max_response_bytes = 1 << 20;
    check_limit(body, API_RESPONSE_TOO_LARGE, 1 << 20);
    free(body);
    body = words(100, ",\"output\":[\"attentions\"],\"layers\":[0],\"reduce_heads\":\"mean\"");
    json_decref(ask_well("/v1/attention", body).json);
    free(body);
}
END_TEST

START_TEST(too_much_memory_is_refused_before_it_is_taken)
{
    char *body = words(300, ",\"layers\":[3,2,1,0]");
    service.limits.max_memory_bytes = 8 << 20;
    check_limit(body, API_MEMORY_LIMIT, 8 << 20);
    free(body);
    service.limits.max_memory_bytes = 1000;
    answered a = ask("/v1/attention", "{\"text\":\"a\"}");
    ck_assert_int_eq(a.outcome, API_MEMORY_LIMIT);
    ck_assert_uint_eq(number(a.json, "limit"), 1000);
    json_decref(a.json);
}
END_TEST

/* Sizes that do not fit 64 bits are too large, not small. */
START_TEST(a_predicted_size_never_wraps_around)
{
    enum { REPEATS = 60000 };
    char *body = malloc(3 * REPEATS * 2 + 200);
    size_t used = (size_t)snprintf(body, 200, "{\"input_ids\":[1,2,3],\"queries\":[0");
    for (int i = 0; i < REPEATS; i++, used += 2)
        memcpy(body + used, ",0", 2);
    used += (size_t)snprintf(body + used, 100, "],\"keys\":[0");
    for (int i = 0; i < REPEATS; i++, used += 2)
        memcpy(body + used, ",0", 2);
    used += (size_t)snprintf(body + used, 100, "],\"layers\":[0");
    for (int i = 0; i < REPEATS; i++, used += 2)
        memcpy(body + used, ",0", 2);
    snprintf(body + used, 100, "]}");
    answered a = ask("/v1/attention", body);
    ck_assert_int_eq(a.outcome, API_RESPONSE_TOO_LARGE);
    ck_assert_uint_gt(number(a.json, "need"), (uint64_t)1 << 50);
    json_decref(a.json);
    free(body);
}
END_TEST

/* ---- what comes with it ---------------------------------------------------------------------------------------------------- */

START_TEST(each_input_of_a_batch_has_its_own_length)
{
    answered a = ask_well("/v1/attention", "{\"input_ids\":[[1,2,3],[4],[5,6]],\"output\":[\"attentions\"]}");
    const json_t *results = json_object_get(a.json, "results");
    static const int lengths[] = { 3, 1, 2 };
    ck_assert_uint_eq(json_array_size(results), 3);
    for (size_t b = 0; b < 3; b++) {
        const json_t *shape = json_object_get(json_object_get(json_array_get(results, b), "attentions"), "shape");
        ck_assert_int_eq(json_integer_value(json_array_get(shape, 3)), lengths[b]);
        ck_assert_uint_eq(json_array_size(json_object_get(json_array_get(results, b), "tokens")), (size_t)lengths[b]);
    }
    json_decref(a.json);
}
END_TEST

START_TEST(a_batch_gives_what_each_input_gives_alone)
{
    answered both = ask_well("/v1/attention", "{\"text\":[\"the cat\",\"a dog sat\"]}"), one = ask_well("/v1/attention", "{\"text\":\"a dog sat\"}");
    ck_assert(json_equal(json_array_get(json_object_get(both.json, "results"), 1), json_array_get(json_object_get(one.json, "results"), 0)));
    json_decref(both.json);
    json_decref(one.json);
}
END_TEST

/* The ids and segments that the tokenizer finds, sent by hand, give the same maps; without the segments they do not. */
START_TEST(ids_and_segments_reach_the_model)
{
    answered text = ask_well("/v1/attention", "{\"text\":\"the cat\",\"text_pair\":\"sat\",\"output\":[\"attentions\"]}");
    const json_t *tokens = follow(text.json, "results", "tokens");
    char ids[200], body[500];
    size_t used = 0, n = json_array_size(tokens);
    ck_assert_uint_eq(n, 6);
    for (size_t t = 0; t < n; t++)
        used +=
            (size_t)snprintf(ids + used, sizeof ids - used, "%s%d", t ? "," : "", (int)json_integer_value(json_object_get(json_array_get(tokens, t), "id")));
    snprintf(body, sizeof body, "{\"input_ids\":[%s],\"token_type_ids\":[0,0,0,0,1,1],\"output\":[\"attentions\"]}", ids);
    answered with = ask_well("/v1/attention", body);
    snprintf(body, sizeof body, "{\"input_ids\":[%s],\"output\":[\"attentions\"]}", ids);
    answered without = ask_well("/v1/attention", body);
    ck_assert(json_equal(follow(text.json, "results", "attentions"), follow(with.json, "results", "attentions")));
    ck_assert(!json_equal(follow(text.json, "results", "attentions"), follow(without.json, "results", "attentions")));
    json_decref(text.json);
    json_decref(with.json);
    json_decref(without.json);
}
END_TEST

START_TEST(padding_weighs_nothing)
{
    answered a = ask_well("/v1/attention",
                          "{\"input_ids\":[[5,6,7],[5,6]],\"attention_mask\":[[1,1,0],[1,1]],\"output\":[\"attentions\"],\"layers\":[0],\"heads\":[0]}");
    const json_t *results = json_object_get(a.json, "results");
    double row[2][3] = { { 0 } };
    for (size_t b = 0; b < 2; b++) {
        const json_t *data = json_object_get(json_object_get(json_array_get(results, b), "attentions"), "data");
        data = json_array_get(json_array_get(json_array_get(data, 0), 0), 0);
        for (size_t k = 0; k < json_array_size(data); k++)
            row[b][k] = json_number_value(json_array_get(data, k));
    }
    ck_assert(row[0][0] > 0 && row[0][2] <= 0);
    ck_assert_double_eq_tol(row[0][0], row[1][0], 1e-6);
    ck_assert_double_eq_tol(row[0][1], row[1][1], 1e-6);
    json_decref(a.json);
}
END_TEST

START_TEST(embeddings_of_ones_own_have_no_tokens)
{
    char body[4000] = "{\"inputs_embeds\":[[";
    size_t used = strlen(body);
    for (int i = 0; i < 256; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s%d", i ? "," : "", i % 5 - 2);
    snprintf(body + used, sizeof body - used, "]],\"token_type_ids\":[1],\"layers\":[1]}");
    answered a = ask_well("/v1/attention", body);
    ck_assert_ptr_null(follow(a.json, "results", "tokens"));
    ck_assert_ptr_nonnull(json_object_get(json_object_get(a.json, "model"), "name"));
    json_decref(a.json);
}
END_TEST

START_TEST(without_a_model_there_are_no_tokens)
{
    answered a = ask_well("/v1/attention", "{\"embeddings\":[[1,2],[3,4]]}");
    ck_assert(json_is_null(json_object_get(a.json, "model")));
    ck_assert_ptr_null(follow(a.json, "results", "tokens"));
    ck_assert_uint_eq(json_array_size(follow(a.json, "results", "layers")), 1);
    json_decref(a.json);
}
END_TEST

START_TEST(tokens_of_attention_and_tokenize_agree)
{
    answered a = ask_well("/v1/attention", "{\"text\":\"The cat\",\"text_pair\":\"sat\"}"),
             t = ask_well("/v1/tokenize", "{\"text\":\"The cat\",\"text_pair\":\"sat\"}");
    json_t *tokens = follow(t.json, "results", "tokens"), *first = json_array_get(tokens, 0);
    ck_assert(json_equal(follow(a.json, "results", "tokens"), tokens));
    ck_assert(json_equal(json_object_get(a.json, "model"), json_object_get(t.json, "model")));
    ck_assert_str_eq(json_string_value(json_object_get(first, "text")), "[CLS]");
    ck_assert(json_is_true(json_object_get(first, "special")));
    size_t pairs = 0;
    for (size_t i = 0; i < json_array_size(tokens); i++)
        pairs += json_object_get(json_array_get(tokens, i), "sequence") != NULL;
    ck_assert_uint_eq(pairs, 1);
    json_decref(a.json);
    json_decref(t.json);
}
END_TEST

START_TEST(the_list_of_models_and_each_of_them_agree)
{
    answered all = ask_well("/v1/models", NULL), one = ask_well("/v1/models/attnd-bert", NULL);
    ck_assert_str_eq(json_string_value(json_object_get(all.json, "default")), "attnd-bert");
    ck_assert(json_equal(json_array_get(json_object_get(all.json, "models"), 0), one.json));
    ck_assert_uint_eq(number(one.json, "num_hidden_layers"), 6);
    ck_assert_str_eq(json_string_value(json_object_get(one.json, "source")), "builtin:attnd-bert");
    json_decref(all.json);
    json_decref(one.json);
}
END_TEST

/* ---- breaking off ------------------------------------------------------------------------------------------------------------ */

typedef struct broken {
    attn_status status;
    api_code outcome;
    int http, starts;
} broken;

/* Asks for an answer of many blocks with a client that leaves after `gives`, or a deadline that has passed. */
static broken ask_broken(size_t gives, bool late)
{
    memory_reply reply;
    reply_init(&reply);
    reply.gone_after = gives;
    attn_error err = { 0 };
    attn_cancel cancel = { .deadline_ns = late ? 1 : 0 };
    char *body = words(200, "");
    api_request request = { .method = "POST", .path = "/v1/attention", .body = body, .body_length = strlen(body) };
    api_problem problem = { 0 };
    const api_route *route;
    ck_assert(api_check(&service, &request, &route, &problem));
    api_worker worker = { .arena = attn_arena_new(), .cancel = &cancel };
    broken b;
    b.status = api_handle(&service, &request, route, &worker, &reply.reply, &b.outcome, &err);
    b.http = reply.head.status;
    b.starts = reply.starts;
    ck_assert_uint_eq(reply.blocks, 0);
    attn_arena_free(worker.arena);
    reply_free(&reply);
    free(body);
    return b;
}

START_TEST(a_client_that_leaves_ends_the_work)
{
    broken b = ask_broken(3, false);
    ck_assert_int_eq(b.status, ATTN_E_CANCELLED);
    ck_assert_int_eq(b.outcome, API_DEADLINE);
    ck_assert_int_eq(b.starts, 1);
}
END_TEST

START_TEST(a_deadline_before_the_first_byte_is_a_504)
{
    broken b = ask_broken(0, true);
    ck_assert_int_eq(b.status, ATTN_OK);
    ck_assert_int_eq(b.http, 504);
    ck_assert_int_eq(b.outcome, API_DEADLINE);
    ck_assert_int_eq(b.starts, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attention_errors");
    TCase *tcase = tcase_create("problems");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_loop_test(tcase, a_problem_has_its_code_and_its_field, 0, sizeof problems / sizeof problems[0]);
    tcase_add_test(tcase, a_text_too_long_names_both_lengths);
    tcase_add_test(tcase, truncation_cuts_and_says_so);
    tcase_add_test(tcase, the_servers_own_length_counts_where_it_is_shorter);
    tcase_add_test(tcase, an_answer_too_large_is_refused_before_it_is_computed);
    tcase_add_test(tcase, too_much_memory_is_refused_before_it_is_taken);
    tcase_add_test(tcase, a_predicted_size_never_wraps_around);
    tcase_add_test(tcase, each_input_of_a_batch_has_its_own_length);
    tcase_add_test(tcase, a_batch_gives_what_each_input_gives_alone);
    tcase_add_test(tcase, ids_and_segments_reach_the_model);
    tcase_add_test(tcase, padding_weighs_nothing);
    tcase_add_test(tcase, embeddings_of_ones_own_have_no_tokens);
    tcase_add_test(tcase, without_a_model_there_are_no_tokens);
    tcase_add_test(tcase, tokens_of_attention_and_tokenize_agree);
    tcase_add_test(tcase, the_list_of_models_and_each_of_them_agree);
    tcase_add_test(tcase, a_client_that_leaves_ends_the_work);
    tcase_add_test(tcase, a_deadline_before_the_first_byte_is_a_504);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
