/* test_config.c - the reader of config.json: types, ranges, words, and what was left unread.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "attn_base.h"
#include "model/config.h"
#include "unit.h"

static attn_config open_config(const char *json, attn_error *err)
{
    attn_config c;
    *err = (attn_error){ 0 };
    ck_assert_int_eq(attn_config_open(&c, json, strlen(json), "config.json", err), ATTN_OK);
    return c;
}

START_TEST(a_size_is_an_integer_in_its_range_and_nothing_else)
{
    static const struct {
        const char *value;
        bool good;
    } cases[] = {
        { "3", true },    { "1", true },      { "10", true },    { "0", false },    { "11", false },  { "-3", false }, { "3.0", false },
        { "3e0", false }, { "\"3\"", false }, { "true", false }, { "null", false }, { "[3]", false }, { "{}", false }, { "9223372036854775807", false }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[64];
        attn_error err;
        snprintf(json, sizeof json, "{\"n\": %s}", cases[i].value);
        attn_config c = open_config(json, &err);
        size_t n = attn_config_size(&c, "n", 1, 10);
        ck_assert_msg((c.status == ATTN_OK) == cases[i].good, "%s: %s", json, err.text);
        ck_assert(n >= 1 && n <= 10);
        ck_assert_str_eq(err.where, cases[i].good ? "" : "config.json: n");
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(a_number_may_be_written_as_an_integer_and_must_be_in_range)
{
    attn_error err;
    attn_config c = open_config("{\"a\": 1e-12, \"b\": 1, \"c\": 2.5}", &err);
    ck_assert(attn_config_number(&c, "a", 1e-30, 1) == 1e-12);
    ck_assert(attn_config_number(&c, "b", 1e-30, 1) == 1);
    ck_assert_int_eq(c.status, ATTN_OK);
    ck_assert(attn_config_number(&c, "c", 1e-30, 1) == 1e-30);
    ck_assert_int_eq(c.status, ATTN_E_FORMAT);
    ck_assert_str_eq(err.text, "is 2.5, must be a number from 1e-30 to 1");
    attn_config_close(&c);
}
END_TEST

START_TEST(a_key_that_may_be_missing_has_its_meaning_and_nothing_else)
{
    attn_error err;
    attn_config c = open_config("{\"a\": null, \"b\": 7, \"c\": 2.5, \"d\": true, \"e\": false}", &err);
    ck_assert(attn_config_is_null(&c, "a") && !attn_config_is_null(&c, "b") && !attn_config_is_null(&c, "z"));
    ck_assert(!attn_config_has(&c, "a") && attn_config_has(&c, "b") && !attn_config_has(&c, "z"));
    ck_assert_uint_eq(attn_config_size_or(&c, "a", 1, 10, 4), 4);
    ck_assert_uint_eq(attn_config_size_or(&c, "z", 1, 10, 0), 0);
    ck_assert_uint_eq(attn_config_size_or(&c, "b", 1, 10, 4), 7);
    ck_assert(attn_config_number_or(&c, "c", 0, 3, 1) == 2.5 && attn_config_number_or(&c, "z", 0, 3, 9) == 9);
    ck_assert(attn_config_flag_or(&c, "d", false) && !attn_config_flag_or(&c, "e", true) && attn_config_flag_or(&c, "z", true));
    ck_assert_int_eq(c.status, ATTN_OK);
    attn_config_close(&c);
    c = open_config("{\"n\": 11}", &err);
    ck_assert_uint_eq(attn_config_size_or(&c, "n", 1, 10, 4), 1);
    ck_assert_int_eq(c.status, ATTN_E_FORMAT);
    attn_config_close(&c);
}
END_TEST

START_TEST(an_array_has_its_length_and_what_may_stand_in_it)
{
    static const attn_choice choices[] = { { "a", 5 }, { "b", 6 }, { NULL, 0 } };
    static const struct {
        const char *json;
        attn_status words, numbers;
    } cases[] = { { "{\"n\": [\"b\", \"a\"]}", ATTN_OK, ATTN_E_FORMAT },
                  { "{\"n\": [0, 1]}", ATTN_E_UNSUPPORTED, ATTN_OK },
                  { "{\"n\": [\"b\", \"c\"]}", ATTN_E_UNSUPPORTED, ATTN_E_FORMAT },
                  { "{\"n\": [0, 1.5]}", ATTN_E_UNSUPPORTED, ATTN_E_FORMAT },
                  { "{\"n\": [\"b\"]}", ATTN_E_FORMAT, ATTN_E_FORMAT },
                  { "{\"n\": {}}", ATTN_E_FORMAT, ATTN_E_FORMAT },
                  { "{}", ATTN_E_FORMAT, ATTN_E_FORMAT } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err;
        int words[2];
        double numbers[2];
        attn_config c = open_config(cases[i].json, &err);
        attn_config_words(&c, "n", choices, words, 2);
        ck_assert_int_eq(c.status, cases[i].words);
        ck_assert(c.status != ATTN_OK || (words[0] == 6 && words[1] == 5));
        attn_config_close(&c);
        c = open_config(cases[i].json, &err);
        attn_config_numbers(&c, "n", 0, 1, numbers, 2);
        ck_assert_int_eq(c.status, cases[i].numbers);
        ck_assert(c.status != ATTN_OK || (numbers[0] == 0 && numbers[1] == 1));
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(ids_stand_alone_or_in_lists_and_replace_what_was_there)
{
    static const struct {
        const char *value;
        bool good;
        int n;
        int32_t ids[3];
    } cases[] = {
        { "5", true, 1, { 5 } },
        { "[5, 0, 7]", true, 3, { 5, 0, 7 } },
        { "[[5], [6, 7], 8]", true, 2, { 5, 8 } }, /* a list of two is no id */
        { "-1", true, 0, { 0 } },
        { "[[-1], 16777216, 99999999999]", true, 0, { 0 } },
        { "[]", true, 0, { 0 } },
        { "null", true, -1, { 0 } },
        { "\"5\"", false, 0, { 0 } },
        { "[5, 6.0]", false, 1, { 5 } },
        { "[[[5]]]", false, 0, { 0 } },
        { "[null]", false, 0, { 0 } },
        { "{}", false, 0, { 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[80];
        attn_error err;
        size_t n = 1;
        int32_t *ids = attn_calloc(1, sizeof *ids);
        *ids = 44;
        snprintf(json, sizeof json, "{\"n\": %s}", cases[i].value);
        attn_config c = open_config(json, &err);
        attn_config_ids(&c, "n", &ids, &n);
        ck_assert_msg((c.status == ATTN_OK) == cases[i].good, "%s: %s", json, err.text);
        ck_assert_str_eq(err.where, cases[i].good ? "" : "config.json: n");
        ck_assert_uint_eq(n, cases[i].n < 0 ? 1 : (size_t)cases[i].n);
        for (size_t k = 0; k < n; k++)
            ck_assert_int_eq(ids[k], cases[i].n < 0 ? 44 : cases[i].ids[k]);
        attn_free(ids);
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(a_section_is_read_to_its_last_key)
{
    attn_error err;
    attn_config inner, c = open_config("{\"s\": {\"x\": 3, \"y\": 4}, \"t\": 5, \"u\": {}}", &err);
    ck_assert(!attn_config_enter(&c, "z", &inner) && attn_config_enter(&c, "u", &inner));
    attn_config_leave(&c, &inner);
    ck_assert_int_eq(c.status, ATTN_OK);
    ck_assert(attn_config_enter(&c, "s", &inner));
    ck_assert_uint_eq(attn_config_size(&inner, "x", 1, 10), 3);
    attn_config_leave(&c, &inner);
    ck_assert_int_eq(c.status, ATTN_E_UNSUPPORTED);
    ck_assert_str_eq(err.where, "config.json: s.y");
    attn_config_close(&c);
    c = open_config("{\"t\": 5}", &err);
    ck_assert(!attn_config_enter(&c, "t", &inner));
    ck_assert_int_eq(c.status, ATTN_E_FORMAT);
    attn_config_close(&c);
}
END_TEST

START_TEST(the_first_failure_sticks)
{
    attn_error err;
    attn_config c = open_config("{\"a\": 0, \"b\": \"mish\"}", &err);
    attn_config_size(&c, "a", 1, 2);
    attn_config_activation(&c, "b");
    attn_config_size(&c, "missing", 1, 2);
    attn_config_off(&c, "b");
    ck_assert_int_eq(c.status, ATTN_E_FORMAT);
    ck_assert_str_eq(err.where, "config.json: a");
    attn_config_close(&c);
}
END_TEST

START_TEST(activations_go_by_the_names_transformers_gives_them)
{
    static const struct {
        const char *name;
        attn_activation act;
    } names[] = { { "gelu", ATTN_ACT_GELU },
                  { "gelu_python", ATTN_ACT_GELU },
                  { "gelu_new", ATTN_ACT_GELU_TANH },
                  { "gelu_pytorch_tanh", ATTN_ACT_GELU_TANH },
                  { "gelu_fast", ATTN_ACT_GELU_TANH },
                  { "gelu_accurate", ATTN_ACT_GELU_TANH },
                  { "gelu_python_tanh", ATTN_ACT_GELU_TANH },
                  { "relu", ATTN_ACT_RELU },
                  { "silu", ATTN_ACT_SILU },
                  { "swish", ATTN_ACT_SILU } };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char json[64];
        attn_error err;
        snprintf(json, sizeof json, "{\"act\": \"%s\"}", names[i].name);
        attn_config c = open_config(json, &err);
        ck_assert_int_eq(attn_config_activation(&c, "act"), names[i].act);
        ck_assert_int_eq(c.status, ATTN_OK);
        attn_config_close(&c);
    }
    static const char *const others[] = { "gelu_10", "quick_gelu", "relu2", "mish", "", "Gelu", "gelu " };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char json[64];
        attn_error err;
        snprintf(json, sizeof json, "{\"act\": \"%s\"}", others[i]);
        attn_config c = open_config(json, &err);
        attn_config_activation(&c, "act");
        ck_assert_int_eq(c.status, ATTN_E_UNSUPPORTED);
        ck_assert_msg(strstr(err.text, others[i]) && strstr(err.text, "gelu_pytorch_tanh") && strstr(err.text, "swish"), "%s", err.text);
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(a_switch_without_a_formula_must_be_off)
{
    static const struct {
        const char *json;
        attn_status status;
    } cases[] = { { "{}", ATTN_OK },
                  { "{\"s\": null}", ATTN_OK },
                  { "{\"s\": false}", ATTN_OK },
                  { "{\"s\": {}}", ATTN_OK },
                  { "{\"s\": []}", ATTN_OK },
                  { "{\"s\": true}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": 0}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": \"false\"}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": {\"a\": 1}}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": [0]}", ATTN_E_UNSUPPORTED } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err;
        attn_config c = open_config(cases[i].json, &err);
        attn_config_off(&c, "s");
        ck_assert_int_eq(c.status, cases[i].status);
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(a_switch_that_the_formula_always_has_must_be_on)
{
    static const struct {
        const char *json;
        attn_status status;
    } cases[] = { { "{}", ATTN_OK },
                  { "{\"s\": null}", ATTN_OK },
                  { "{\"s\": true}", ATTN_OK },
                  { "{\"s\": false}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": 1}", ATTN_E_UNSUPPORTED },
                  { "{\"s\": []}", ATTN_E_UNSUPPORTED } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err;
        attn_config c = open_config(cases[i].json, &err);
        attn_config_on(&c, "s");
        ck_assert_int_eq(c.status, cases[i].status);
        attn_config_close(&c);
    }
}
END_TEST

START_TEST(a_long_value_is_cut_in_the_message)
{
    char json[400] = "{\"s\": \"";
    attn_error err;
    memset(json + 7, 'x', 300);
    memcpy(json + 307, "\"}", 3);
    attn_config c = open_config(json, &err);
    attn_config_off(&c, "s");
    ck_assert_int_eq(c.status, ATTN_E_UNSUPPORTED);
    ck_assert_uint_lt(strlen(err.text), 128);
    ck_assert_ptr_nonnull(strstr(err.text, "xxx, which is not supported"));
    attn_config_close(&c);
}
END_TEST

START_TEST(heads_divide_the_width)
{
    attn_error err;
    attn_config c = open_config("{\"h\": 3, \"g\": 5}", &err);
    ck_assert_uint_eq(attn_config_heads(&c, "h", "hidden_size", 30), 3);
    ck_assert_int_eq(c.status, ATTN_OK);
    attn_config_heads(&c, "g", "hidden_size", 32);
    ck_assert_str_eq(err.text, "is 5, which does not divide hidden_size, 32");
    attn_config_close(&c);
}
END_TEST

START_TEST(what_was_not_read_is_listed_in_order)
{
    attn_error err;
    const char **names;
    size_t count;
    attn_config c = open_config("{\"a\": 1, \"architectures\": [\"X\", \"Y\"], \"b\": [{\"a\": 2}], \"c\": \"word\", \"d\": null}", &err);
    ck_assert_str_eq(attn_config_text(&c, "architectures"), "X");
    ck_assert_str_eq(attn_config_text(&c, "c"), "word");
    ck_assert_ptr_null(attn_config_text(&c, "a"));
    ck_assert_ptr_null(attn_config_text(&c, "none"));
    attn_config_size(&c, "a", 1, 2);
    attn_config_take(&c, "architectures");
    ck_assert_int_eq(attn_config_rest(&c, &names, &count, &err), ATTN_OK);
    attn_config_close(&c);
    ck_assert_uint_eq(count, 3);
    ck_assert_str_eq(names[0], "b");
    ck_assert_str_eq(names[1], "c");
    ck_assert_str_eq(names[2], "d");
    ck_assert_ptr_null(names[3]);
    attn_free(names);
}
END_TEST

START_TEST(a_choice_that_may_be_missing_takes_the_first)
{
    static const attn_choice kinds[] = { { "absolute", 4 }, { "other", 5 }, { NULL, 0 } };
    static const char *const files[] = { "{}", "{\"k\": null}", "{\"k\": \"absolute\"}", "{\"k\": \"other\"}", "{\"k\": \"alibi\"}", "{\"k\": 1}" };
    static const attn_status answers[] = { ATTN_OK, ATTN_OK, ATTN_OK, ATTN_OK, ATTN_E_UNSUPPORTED, ATTN_E_FORMAT };
    for (size_t i = 0; i < 6; i++) {
        attn_error err;
        attn_config c = open_config(files[i], &err);
        ck_assert_int_eq(attn_config_choice_or_first(&c, "k", kinds), i == 3 ? 5 : 4);
        ck_assert_int_eq(c.status, answers[i]);
        attn_config_close(&c);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("reader");
    tcase_add_test(tcase, a_size_is_an_integer_in_its_range_and_nothing_else);
    tcase_add_test(tcase, a_number_may_be_written_as_an_integer_and_must_be_in_range);
    tcase_add_test(tcase, the_first_failure_sticks);
    tcase_add_test(tcase, activations_go_by_the_names_transformers_gives_them);
    tcase_add_test(tcase, a_switch_without_a_formula_must_be_off);
    tcase_add_test(tcase, a_switch_that_the_formula_always_has_must_be_on);
    tcase_add_test(tcase, a_long_value_is_cut_in_the_message);
    tcase_add_test(tcase, heads_divide_the_width);
    tcase_add_test(tcase, what_was_not_read_is_listed_in_order);
    tcase_add_test(tcase, a_key_that_may_be_missing_has_its_meaning_and_nothing_else);
    tcase_add_test(tcase, an_array_has_its_length_and_what_may_stand_in_it);
    tcase_add_test(tcase, ids_stand_alone_or_in_lists_and_replace_what_was_there);
    tcase_add_test(tcase, a_section_is_read_to_its_last_key);
    tcase_add_test(tcase, a_choice_that_may_be_missing_takes_the_first);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
