/* test_problem.c - problems keep the first failure, and are valid JSON whatever they hold.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "problem.h"
#include "request.h"
#include "unit.h"

static json_t *written(const api_problem *problem, const char *id)
{
    char body[2048];
    size_t n = api_problem_write(problem, id, body, sizeof body);
    ck_assert_uint_eq(n, strlen(body));
    json_t *root = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(root, "%s", body);
    return root;
}

START_TEST(the_body_has_the_members_of_the_contract_in_their_order)
{
    api_problem p = { 0 };
    char body[2048];
    ck_assert(!api_fail(&p, API_SHAPE_MISMATCH, "/w_q", "w_q has %d rows", 3));
    api_problem_write(&p, "r-1", body, sizeof body);
    ck_assert_str_eq(body, "{\"type\": \"about:blank\", \"title\": \"Unprocessable Content\", \"status\": 422, \"code\": \"shape_mismatch\", "
                           "\"detail\": \"w_q has 3 rows\", \"pointer\": \"/w_q\", \"request_id\": \"r-1\"}\n");
}
END_TEST

START_TEST(limits_are_told_and_an_empty_pointer_is_not)
{
    api_problem p = { 0 };
    char body[2048];
    api_fail_limit(&p, API_BODY_TOO_LARGE, NULL, 10, UINT64_MAX, "too large");
    api_problem_write(&p, NULL, body, sizeof body);
    ck_assert_str_eq(body, "{\"type\": \"about:blank\", \"title\": \"Content Too Large\", \"status\": 413, \"code\": \"body_too_large\", "
                           "\"detail\": \"too large\", \"limit\": 10, \"need\": 18446744073709551615}\n");
}
END_TEST

START_TEST(the_first_problem_wins)
{
    api_problem p = { 0 };
    api_fail(&p, API_EMPTY, "/a", "first");
    api_fail(&p, API_OVERFLOW, "/b", "second");
    api_fail_limit(&p, API_OVERFLOW, "/b", 1, 2, "third");
    ck_assert_int_eq(p.code, API_EMPTY);
    ck_assert_str_eq(p.detail, "first");
    ck_assert_str_eq(p.pointer, "/a");
    ck_assert(!p.has_limit);
}
END_TEST

START_TEST(every_code_has_a_name_of_its_own_a_status_and_a_title)
{
    for (int c = API_OK + 1; c < API_CODE_COUNT; c++) {
        ck_assert_int_ge(api_code_status((api_code)c), 400);
        ck_assert_str_ne(api_status_title(api_code_status((api_code)c)), "Error");
        for (int d = API_OK; d < c; d++)
            ck_assert_str_ne(api_code_name((api_code)c), api_code_name((api_code)d));
    }
}
END_TEST

START_TEST(whatever_the_strings_hold_the_body_is_json_under_2048_bytes)
{
    char hostile[3000], id[3000];
    for (size_t length = 0; length < sizeof hostile; length += 97) {
        for (int fill = 1; fill < 256; fill += 3) {
            api_problem p = { 0 };
            memset(hostile, fill, length);
            hostile[length] = '\0';
            memcpy(id, hostile, sizeof id);
            api_fail_limit(&p, API_UNKNOWN_FIELD, hostile, 1, 2, "%s", hostile);
            json_decref(written(&p, id));
        }
    }
}
END_TEST

START_TEST(characters_are_escaped_and_bytes_that_are_none_replaced)
{
    api_problem p = { 0 };
    api_fail(&p, API_NOT_FOUND, NULL, "a\"b\\c\x01\n\xC3\xA9\xFF\xC3(");
    json_t *root = written(&p, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(root, "detail")), "a\"b\\c\x01\n\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD(");
    json_decref(root);
}
END_TEST

START_TEST(a_long_detail_is_cut_at_a_character)
{
    for (int pad = 0; pad < 4; pad++) {
        api_problem p = { 0 };
        char text[700] = "";
        for (int i = 0; i < pad; i++)
            strcat(text, "x");
        while (strlen(text) < 690)
            strcat(text, "\xE2\x82\xAC");
        api_fail(&p, API_EMPTY, NULL, "%s", text);
        size_t n = strlen(p.detail);
        ck_assert_uint_gt(n, 505);
        ck_assert_uint_eq((n - (size_t)pad) % 3, 0);
    }
}
END_TEST

START_TEST(a_long_pointer_is_cut_at_a_slash)
{
    api_problem p = { 0 };
    char pointer[400] = "/a";
    while (strlen(pointer) < 300)
        strcat(pointer, "/bcdefgh");
    api_fail(&p, API_EMPTY, pointer, "x");
    ck_assert_uint_lt(strlen(p.pointer), sizeof p.pointer);
    ck_assert_uint_gt(strlen(p.pointer), 240);
    ck_assert_str_eq(p.pointer + strlen(p.pointer) - 8, "/bcdefgh");
}
END_TEST

START_TEST(our_own_faults_tell_the_client_nothing_else)
{
    static const attn_status ours[] = { ATTN_E_FORMAT, ATTN_E_UNSUPPORTED, ATTN_E_IO, ATTN_E_INTERNAL };
    for (size_t i = 0; i < 4; i++) {
        api_problem p = { 0 };
        attn_error err = { .code = ours[i], .where = "gemm", .text = "sizes do not agree" };
        api_fail_core(&p, &err, "/w_q");
        ck_assert_int_eq(p.code, API_INTERNAL);
        ck_assert_str_eq(p.detail, "gemm: sizes do not agree");
        json_t *root = written(&p, "id");
        ck_assert_uint_eq(json_object_size(root), 5);
        ck_assert_str_eq(json_string_value(json_object_get(root, "request_id")), "id");
        json_decref(root);
    }
}
END_TEST

START_TEST(core_failures_become_their_problems)
{
    static const struct {
        attn_status status;
        api_code code;
    } rows[] = { { ATTN_E_INPUT, API_OUT_OF_RANGE }, { ATTN_E_OVERFLOW, API_OVERFLOW }, { ATTN_E_NOMEM, API_NO_MEMORY }, { ATTN_E_CANCELLED, API_DEADLINE } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        api_problem p = { 0 };
        ck_assert(!api_fail_core(&p, &(attn_error){ .code = rows[i].status, .text = "why" }, NULL));
        ck_assert_int_eq(p.code, rows[i].code);
    }
    api_problem p = { 0 };
    api_fail_core(&p, &(attn_error){ .code = ATTN_E_LIMIT, .text = "why", .limit = 3, .need = 4 }, NULL);
    ck_assert_int_eq(p.code, API_MEMORY_LIMIT);
    ck_assert(p.has_limit && p.limit == 3 && p.need == 4);
}
END_TEST

START_TEST(the_nearest_name_is_suggested_and_nothing_far)
{
    static const char *const names[] = { "is_causal", "layers", "heads", "key", "keys", "queries", NULL };
    static const struct {
        const char *sent, *near;
    } rows[] = {
        { "is_casual", "is_causal" },
        { "iscausal", "is_causal" },
        { "layer", "layers" },
        { "Heads", "heads" },
        { "kye", "key" },
        { "keyz", "key" },
        { "query", NULL },
        { "", NULL },
        { "x", NULL },
        { "pool", NULL },
        { "analyses", NULL },
        { "max_new_tokens", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *near = api_suggest(rows[i].sent, strlen(rows[i].sent), names);
        ck_assert_msg((!near && !rows[i].near) || (near && rows[i].near && strcmp(near, rows[i].near) == 0), "%s: %s", rows[i].sent, near ? near : "none");
    }
    char large[5000];
    memset(large, 'k', sizeof large);
    ck_assert_ptr_null(api_suggest(large, sizeof large, names));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem");
    TCase *t = tcase_create("problem");
    tcase_add_test(t, the_body_has_the_members_of_the_contract_in_their_order);
    tcase_add_test(t, limits_are_told_and_an_empty_pointer_is_not);
    tcase_add_test(t, the_first_problem_wins);
    tcase_add_test(t, every_code_has_a_name_of_its_own_a_status_and_a_title);
    tcase_add_test(t, whatever_the_strings_hold_the_body_is_json_under_2048_bytes);
    tcase_add_test(t, characters_are_escaped_and_bytes_that_are_none_replaced);
    tcase_add_test(t, a_long_detail_is_cut_at_a_character);
    tcase_add_test(t, a_long_pointer_is_cut_at_a_slash);
    tcase_add_test(t, our_own_faults_tell_the_client_nothing_else);
    tcase_add_test(t, core_failures_become_their_problems);
    tcase_add_test(t, the_nearest_name_is_suggested_and_nothing_far);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
