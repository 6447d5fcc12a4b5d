/* test_json_reader.c - the JSON reader takes what RFC 8259 and jansson take, refuses the rest, and knows where it is.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json_reader.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

static attn_arena *arena;
static attn_runtime *runtime;
static api_problem problem;

static void setup(void)
{
    attn_error err = { 0 };
    arena = attn_arena_new();
    ck_assert_int_eq(attn_runtime_new(&runtime, &(attn_runtime_options){ .threads = 1 }, &err), ATTN_OK);
}

static void teardown(void)
{
    attn_arena_free(arena);
    attn_runtime_free(runtime);
}

static api_json reader(const char *text, size_t length)
{
    api_json j;
    memset(&problem, 0, sizeof problem);
    attn_arena_reset(arena, 1 << 20);
    api_json_init(&j, text, length, arena, &problem);
    return j;
}

/* Whether the whole text is one valid value. */
static bool skips(const char *text, size_t length)
{
    char *exact = malloc(length ? length : 1);
    memcpy(exact, text, length);
    api_json j = reader(exact, length);
    bool ok = api_json_skip(&j) && api_json_finish(&j);
    ck_assert_int_eq(ok, problem.code == API_OK);
    ck_assert_uint_eq(attn_arena_used(arena), 0); /* skipping takes no memory */
    free(exact);
    return ok;
}

/* ---- accepted and refused ----------------------------------------------------------------------------------------------------- */

static const char *const valid[] = {
    "null",
    " true",
    "false\n",
    "0",
    "-0",
    "1",
    "-1.5e+10",
    "1E5",
    "0.0e-0",
    "\"\"",
    "[]",
    "{}",
    "[ ]",
    "{ }",
    " \t\r\n[1 , 2]\n",
    "[[[]]]",
    "{\"a\":{\"b\":[{}]}}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\"",
    "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
    "\"\x7F\"",
    "[1,-2,3.5,1e3]",
    "[null,true,\"x\",{}]",
    "{\"\":0}",
    "12345678901234567",
    "\"\\uFFFF\"",
    "\"\xEF\xBF\xBF\"",
    "\"\xF4\x8F\xBF\xBF\"",
    "\"01234567\\n01234567\"",
    "[0.1e1]",
};

static const char *const invalid[] = {
    "",
    " ",
    "nul",
    "nulL",
    "truex",
    "tru",
    "fals",
    "+1",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "1e",
    "1e+",
    "0x1",
    "1 2",
    "NaN",
    "Infinity",
    "-Infinity",
    "'a'",
    "\"",
    "\"a",
    "\"\\\"",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12G4\"",
    "\"\\uD83D\"",
    "\"\\uDE00\"",
    "\"\\uD83D\\n\"",
    "\"\\uD83D\\uD83D\"",
    "\"\\uD83Dx\"",
    "\"\n\"",
    "\"\x01\"",
    "\"\x1F\"",
    "\"\xFF\"",
    "\"\x80\"",
    "\"\xC0\x80\"",
    "\"\xC1\xBF\"",
    "\"\xC3\"",
    "\"\xC3(\"",
    "\"\xE0\x80\x80\"",
    "\"\xE2\x82\"",
    "\"\xED\xA0\x80\"",
    "\"\xF0\x80\x80\x80\"",
    "\"\xF4\x90\x80\x80\"",
    "\"\xF5\x80\x80\x80\"",
    "\"\xF0\x9F\x98\"",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,,2]",
    "[1}",
    "{",
    "}",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "{1:2}",
    "{\"a\":}",
    "{\"a\":1]",
    "[]]",
    "{}{}",
    "[] x",
    "\xEF\xBB\xBF[]",
    "\xC3\xA9",
    "/**/1",
    "// x\n1",
    "\v1",
    "\f1",
    "\xC2\xA0"
    "1",
    "[\"a\" \"b\"]",
    "\"a\"\"b\"",
};

START_TEST(valid_texts_are_taken)
{
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
        ck_assert_msg(skips(valid[i], strlen(valid[i])), "%s: %s", valid[i], problem.detail);
}
END_TEST

START_TEST(invalid_texts_are_refused_as_invalid_json_with_line_and_column)
{
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        ck_assert_msg(!skips(invalid[i], strlen(invalid[i])), "%s", invalid[i]);
        ck_assert_int_eq(problem.code, API_INVALID_JSON);
        ck_assert_msg(strstr(problem.detail, "(line "), "%s", problem.detail);
    }
}
END_TEST

START_TEST(jansson_agrees_on_every_text_and_on_every_beginning_of_it)
{
    size_t texts = 0;
    for (size_t k = 0; k < 2; k++) {
        size_t count = k ? sizeof invalid / sizeof invalid[0] : sizeof valid / sizeof valid[0];
        for (size_t i = 0; i < count; i++) {
            const char *text = k ? invalid[i] : valid[i];
            for (size_t length = 0; length <= strlen(text); length++, texts++) {
                json_t *root = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                ck_assert_msg(skips(text, length) == (root != NULL), "%.*s: %s", (int)length, text, problem.detail);
                json_decref(root);
            }
        }
    }
    ck_assert_uint_gt(texts, 500);
}
END_TEST

START_TEST(jansson_agrees_when_any_byte_of_a_text_is_changed)
{
    static const char text[] = "{\"a\": [1.5, -2e3, true, null], \"b\\n\": {\"\\u00e9\": \"\xC3\xA9\"}}";
    for (size_t at = 0; at < sizeof text - 1; at++)
        for (int byte = 0; byte < 256; byte++) {
            char changed[sizeof text];
            memcpy(changed, text, sizeof text);
            changed[at] = (char)byte;
            json_t *root = json_loadb(changed, sizeof text - 1, JSON_ALLOW_NUL, NULL);
            ck_assert_msg(skips(changed, sizeof text - 1) == (root != NULL), "byte %d at %zu: %s", byte, at, problem.detail);
            json_decref(root);
        }
}
END_TEST

START_TEST(depth_is_bounded)
{
    char text[200];
    for (int depth = 30; depth < 36; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        ck_assert_int_eq(skips(text, 2 * (size_t)depth), depth <= API_JSON_DEPTH);
    }
    char *deep = malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    ck_assert(!skips(deep, 1 << 20));
    free(deep);
}
END_TEST

/* ---- values ------------------------------------------------------------------------------------------------------------------- */

START_TEST(strings_are_decoded)
{
    static const struct {
        const char *json, *text;
        size_t length;
    } rows[] = {
        { "\"\"", "", 0 },
        { "\"plain, long enough for two words\"", "plain, long enough for two words", 32 },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8 },
        { "\"a\\u0000b\"", "a\0b", 3 },
        { "\"\\u00e9\\u20ac\\ud83d\\ude00\\uFFFF\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBF", 12 },
        { "\"\xE2\x82\xAC\\n\xF0\x9F\x98\x80\"", "\xE2\x82\xAC\n\xF0\x9F\x98\x80", 8 },
        { "\"0123456\\t\"", "0123456\t", 8 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        attn_text text;
        api_json j = reader(rows[i].json, strlen(rows[i].json));
        ck_assert(api_json_string(&j, &text) && api_json_finish(&j));
        ck_assert_uint_eq(text.length, rows[i].length);
        ck_assert_mem_eq(text.bytes, rows[i].text, text.length);
    }
}
END_TEST

START_TEST(integers_are_exact_in_every_notation)
{
    static const struct {
        const char *json;
        api_code code;
        int64_t value;
    } rows[] = {
        { "0", API_OK, 0 },
        { "-0", API_OK, 0 },
        { "-0.0e5", API_OK, 0 },
        { "0e999999999999999999999", API_OK, 0 },
        { "2.0", API_OK, 2 },
        { "2e0", API_OK, 2 },
        { "20e-1", API_OK, 2 },
        { "0.02e2", API_OK, 2 },
        { "1.5e1", API_OK, 15 },
        { "-1200E-2", API_OK, -12 },
        { "9007199254740993", API_OK, 9007199254740993 },
        { "9223372036854775807", API_OK, INT64_MAX },
        { "-9223372036854775808", API_OK, INT64_MIN },
        { "9223372036854775807.000", API_OK, INT64_MAX },
        { "922337203685477580.7e1", API_OK, INT64_MAX },
        { "9223372036854775808", API_OUT_OF_RANGE, 0 },
        { "-9223372036854775809", API_OUT_OF_RANGE, 0 },
        { "18446744073709551616", API_OUT_OF_RANGE, 0 },
        { "1e19", API_OUT_OF_RANGE, 0 },
        { "1e400", API_OUT_OF_RANGE, 0 },
        { "1e99999999999999999999", API_OUT_OF_RANGE, 0 },
        { "0.5", API_WRONG_TYPE, 0 },
        { "1.5e0", API_WRONG_TYPE, 0 },
        { "1e-1", API_WRONG_TYPE, 0 },
        { "1e-99999999999999999999", API_WRONG_TYPE, 0 },
        { "true", API_WRONG_TYPE, 0 },
        { "\"1\"", API_WRONG_TYPE, 0 },
        { "[1]", API_WRONG_TYPE, 0 },
        { "1.", API_INVALID_JSON, 0 },
        { "-", API_INVALID_JSON, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 0;
        api_json j = reader(rows[i].json, strlen(rows[i].json));
        bool ok = api_json_int(&j, &value);
        ck_assert_msg(problem.code == rows[i].code && ok == (problem.code == API_OK), "%s: %s", rows[i].json, problem.detail);
        if (ok)
            ck_assert_int_eq(value, rows[i].value);
    }
}
END_TEST

START_TEST(a_double_beyond_range_is_not_finite)
{
    double value;
    api_json j = reader("1.25e2", 6);
    ck_assert(api_json_double(&j, &value) && value == 125);
    j = reader("-1e400", 6);
    ck_assert(!api_json_double(&j, &value));
    ck_assert_int_eq(problem.code, API_NOT_FINITE);
}
END_TEST

/* ---- arrays of numbers ------------------------------------------------------------------------------------------------------- */

START_TEST(floats_are_read_in_runs_of_any_length)
{
    static const char text[] = "[1, -2.5 ,3e0\n,4,5 , 6]";
    for (size_t max = 1; max <= 7; max++) {
        float got[8];
        size_t n = 0, count;
        api_json j = reader(text, sizeof text - 1);
        ck_assert(api_json_open_array(&j));
        do {
            ck_assert(api_json_floats(&j, runtime, got + n, max, &count));
            n += count;
        } while (count > 0 && n < 7);
        ck_assert(!api_json_next_element(&j) && api_json_finish(&j));
        ck_assert_uint_eq(n, 6);
        ck_assert(got[0] == 1 && got[1] == -2.5f && got[2] == 3 && got[5] == 6);
    }
}
END_TEST

START_TEST(other_values_may_stand_between_runs_of_floats)
{
    static const char text[] = "[null, 1, 2, null, null, 3, true]";
    float got[8];
    size_t n = 0, count, others = 0;
    api_json j = reader(text, sizeof text - 1);
    ck_assert(api_json_open_array(&j));
    for (;;) {
        ck_assert(api_json_floats(&j, runtime, got + n, 8 - n, &count));
        n += count;
        if (!api_json_next_element(&j))
            break;
        ck_assert(api_json_skip(&j));
        others++;
    }
    ck_assert(api_json_ok(&j) && api_json_finish(&j));
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(others, 4);
}
END_TEST

START_TEST(a_wrong_element_among_floats_is_named)
{
    static const struct {
        const char *json;
        api_code code;
        const char *pointer;
    } rows[] = {
        { "[1e39]", API_NOT_FINITE, "/0" },           { "[1,2,-1e39,4]", API_NOT_FINITE, "/2" }, { "[1,null,3,1e400]", API_NOT_FINITE, "/3" },
        { "[1,2,]", API_INVALID_JSON, "/2" },         { "[,]", API_INVALID_JSON, "/0" },         { "[1,2", API_INVALID_JSON, "/1" },
        { "[1,-]", API_INVALID_JSON, "/1" },          { "[1,2.]", API_INVALID_JSON, "/1" },      { "[1,02]", API_INVALID_JSON, "/1" },
        { "[1,2,Infinity]", API_INVALID_JSON, "/2" }, { "[1,null 2]", API_INVALID_JSON, "/1" },  { "[1,[2]]", API_WRONG_TYPE, "/1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float got[8];
        size_t count;
        api_json j = reader(rows[i].json, strlen(rows[i].json));
        ck_assert(api_json_open_array(&j));
        while (api_json_floats(&j, runtime, got, 8, &count) && api_json_next_element(&j))
            api_json_null(&j);
        ck_assert_msg(problem.code == rows[i].code, "%s: %s", rows[i].json, problem.detail);
        ck_assert_str_eq(problem.pointer, rows[i].pointer);
    }
}
END_TEST

START_TEST(a_measure_is_never_too_small)
{
    static const struct {
        const char *json;
        size_t numbers, arrays;
    } rows[] = { { "[1]", 1, 1 },
                 { " [1,2,3] , 4", 3, 1 },
                 { "[[1],[2],[3]]", 3, 4 },
                 { "[[1,2],[3,4]],[9]", 4, 3 },
                 { "[[[1,2]]", 2, 3 },
                 { "7", 1, 0 },
                 { "[\"]\", 1]", 1, 1 },
                 { "[1,2", 2, 1 },
                 { "", 1, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t numbers, arrays;
        api_json j = reader(rows[i].json, strlen(rows[i].json));
        api_json_measure(&j, &numbers, &arrays);
        ck_assert_uint_eq(numbers, rows[i].numbers);
        ck_assert_uint_eq(arrays, rows[i].arrays);
    }
    for (size_t n = 1; n < 700; n++) { /* ends at every place of a block, alone and two deep, with more behind */
        char text[3000] = "[[";
        size_t numbers, arrays;
        for (size_t i = 0; i < n; i++)
            strcat(text, i == 0 ? "1" : i % 5 ? ",1" : "],[1");
        strcat(text, "]],[[1,2,3],[4]]");
        api_json j = reader(text + 1, strlen(text + 1));
        api_json_measure(&j, &numbers, &arrays);
        ck_assert_uint_eq(numbers, n < 5 ? n : 5);
        ck_assert_uint_eq(arrays, 1);
        j = reader(text, strlen(text));
        api_json_measure(&j, &numbers, &arrays);
        ck_assert_uint_eq(numbers, n);
        ck_assert_uint_eq(arrays, 2 + (n - 1) / 5);
    }
}
END_TEST

/* ---- places ----------------------------------------------------------------------------------------------------------------- */

START_TEST(pointers_name_the_place_with_their_escapes)
{
    static const char text[] = "{\"a\\u002fb~c\": [0, {\"\": [5, 6]}]}";
    attn_text key;
    char pointer[64];
    int64_t value;
    api_json j = reader(text, sizeof text - 1);
    api_json_pointer(&j, pointer, sizeof pointer);
    ck_assert_str_eq(pointer, "");
    ck_assert(api_json_open_object(&j) && api_json_next_key(&j, &key));
    ck_assert(key.length == 5 && memcmp(key.bytes, "a/b~c", 5) == 0);
    ck_assert(api_json_open_array(&j));
    api_json_pointer(&j, pointer, sizeof pointer);
    ck_assert_str_eq(pointer, "/a~1b~0c");
    ck_assert(api_json_next_element(&j) && api_json_int(&j, &value) && api_json_next_element(&j) && api_json_open_object(&j) && api_json_next_key(&j, &key));
    ck_assert(api_json_open_array(&j) && api_json_next_element(&j) && api_json_int(&j, &value) && api_json_next_element(&j));
    api_json_pointer(&j, pointer, sizeof pointer);
    ck_assert_str_eq(pointer, "/a~1b~0c/1//1");
    api_json_fail(&j, API_EMPTY, "here");
    ck_assert_str_eq(problem.pointer, "/a~1b~0c/1//1");
    ck_assert(!api_json_int(&j, &value)); /* nothing goes on after a problem */
}
END_TEST

START_TEST(a_pointer_too_long_is_cut_at_a_token)
{
    char text[700], pointer[256];
    attn_text key;
    int n = snprintf(text, sizeof text, "{\"first\": {\"");
    memset(text + n, 'x', 400);
    strcpy(text + n + 400, "\": 1}}");
    api_json j = reader(text, strlen(text));
    ck_assert(api_json_open_object(&j) && api_json_next_key(&j, &key) && api_json_open_object(&j) && api_json_next_key(&j, &key));
    api_json_pointer(&j, pointer, sizeof pointer);
    ck_assert_str_eq(pointer, "/first");
}
END_TEST

START_TEST(lines_and_columns_count_characters)
{
    static const char text[] = "{\n  \"a\": \"\xC3\xA9\xE2\x82\xAC\" x}";
    ck_assert(!skips(text, sizeof text - 1));
    ck_assert_str_eq(problem.detail, "expected ',' or '}', found 'x' (line 2, column 13)");
    ck_assert_str_eq(problem.pointer, "/a");
}
END_TEST

/* ---- hostile sizes -------------------------------------------------------------------------------------------------------------- */

START_TEST(time_is_linear_in_hostile_texts)
{
    enum { N = 4 << 20 };
    static const char *const units[] = { "\"k\":1,", "[[],", "\"\\n\",", "1,", " ", "\\\\", "{\"a\":", "[1],", "null,", "],[", "\xC3\xA9" };
    char *text = malloc(N + 64);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
        for (int kind = 0; kind < 3; kind++) {
            size_t n = 0, step = strlen(units[u]), numbers, arrays;
            text[n++] = "[{\""[kind];
            for (; n + step < N; n += step)
                memcpy(text + n, units[u], step);
            uint64_t begin = attn_clock_ns();
            skips(text, n);
            api_json j = reader(text, n);
            api_json_measure(&j, &numbers, &arrays);
            ck_assert_uint_lt(attn_clock_ns() - begin, 4000000000u);
        }
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_reader");
    TCase *t = tcase_create("json_reader");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, valid_texts_are_taken);
    tcase_add_test(t, invalid_texts_are_refused_as_invalid_json_with_line_and_column);
    tcase_add_test(t, jansson_agrees_on_every_text_and_on_every_beginning_of_it);
    tcase_add_test(t, jansson_agrees_when_any_byte_of_a_text_is_changed);
    tcase_add_test(t, depth_is_bounded);
    tcase_add_test(t, strings_are_decoded);
    tcase_add_test(t, integers_are_exact_in_every_notation);
    tcase_add_test(t, a_double_beyond_range_is_not_finite);
    tcase_add_test(t, floats_are_read_in_runs_of_any_length);
    tcase_add_test(t, other_values_may_stand_between_runs_of_floats);
    tcase_add_test(t, a_wrong_element_among_floats_is_named);
    tcase_add_test(t, a_measure_is_never_too_small);
    tcase_add_test(t, pointers_name_the_place_with_their_escapes);
    tcase_add_test(t, a_pointer_too_long_is_cut_at_a_token);
    tcase_add_test(t, lines_and_columns_count_characters);
    tcase_add_test(t, time_is_linear_in_hostile_texts);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
