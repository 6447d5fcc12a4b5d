/* test_log.c - log lines: one event, one line, whatever a value holds.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "unit.h"

static char line[8192];

static size_t format(bool json, const srv_field *fields, size_t count)
{
    memset(line, 'x', sizeof line);
    size_t n = srv_log_format(line, sizeof line - 1, json, 1700000000123, SRV_WARN, "event", fields, count);
    line[n] = '\0';
    return n;
}

START_TEST(a_text_line_has_time_level_event_and_fields)
{
    srv_field fields[] = { { .name = "a", .text = "plain" }, { .name = "b", .number = 42 }, { .name = "c", .number = 1234567, .thousandths = true } };
    format(false, fields, 3);
    ck_assert_str_eq(line, "2023-11-14T22:13:20.123Z warn event a=plain b=42 c=1234.567\n");
}
END_TEST

START_TEST(a_json_line_has_the_same)
{
    srv_field fields[] = { { .name = "a", .text = "plain" }, { .name = "b", .number = 42 }, { .name = "c", .number = 7, .thousandths = true } };
    format(true, fields, 3);
    ck_assert_str_eq(line, "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\",\"event\":\"event\",\"a\":\"plain\",\"b\":42,\"c\":0.007}\n");
}
END_TEST

static const char *const hostile[] = { "",   " ",  "a b",      "a=b",  "\"",          "\\",   "\n2023 error forged",
                                       "\r", "\t", "\x1b[31m", "\x7f", "caf\xc3\xa9", "\xff", "a\"}\n{\"b" };

START_TEST(no_value_leaves_its_place)
{
    srv_field fields[] = { { .name = "a", .text = hostile[_i] }, { .name = "end", .number = 1 } };
    for (int json = 0; json < 2; json++) {
        size_t n = format(json, fields, 2);
        ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1); /* one newline, at the end */
        for (size_t i = 0; i + 1 < n; i++)
            ck_assert_msg(line[i] >= ' ' && line[i] < 0x7f, "%s", line);
        const char *value = strstr(line, json ? "\"a\":" : " a=") + (json ? 4 : 3);
        ck_assert_int_eq(*value, '"');
        for (value++; *value != '"'; value++)
            value += *value == '\\';
        ck_assert_str_eq(value + 1, json ? ",\"end\":1}\n" : " end=1\n");
    }
}
END_TEST

START_TEST(a_line_that_is_too_long_loses_whole_fields)
{
    char text[10000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    srv_field fields[] = { { .name = "a", .number = 1 }, { .name = "b", .text = text }, { .name = "c", .number = 3 } };
    for (int json = 0; json < 2; json++) {
        size_t n = format(json, fields, 3);
        ck_assert_uint_lt(n, 200);
        ck_assert_ptr_nonnull(strstr(line, json ? ",\"a\":1,\"c\":3}\n" : " a=1 c=3\n"));
    }
}
END_TEST

START_TEST(no_size_is_overrun)
{
    srv_field fields[] = { { .name = "a", .text = "\n\n\n\n\n\n\n\n" },
                           { .name = "b", .text = "bbbbbbbbbbbbbbbbbbbbbb" },
                           { .name = "c", .number = UINT64_MAX } };
    char guarded[300];
    for (size_t size = 2; size < 280; size++) {
        memset(guarded, '#', sizeof guarded);
        size_t n = srv_log_format(guarded, size, true, 0, SRV_INFO, "e", fields, 3);
        ck_assert_uint_le(n, size);
        ck_assert_int_eq(guarded[n - 1], '\n');
        ck_assert_int_eq(guarded[size], '#');
    }
}
END_TEST

START_TEST(levels_have_names)
{
    srv_level level;
    ck_assert(srv_level_from_name("debug", &level) && level == SRV_DEBUG);
    ck_assert(srv_level_from_name("error", &level) && level == SRV_ERROR);
    ck_assert(!srv_level_from_name("loud", &level));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");
    tcase_add_test(tc, a_text_line_has_time_level_event_and_fields);
    tcase_add_test(tc, a_json_line_has_the_same);
    tcase_add_loop_test(tc, no_value_leaves_its_place, 0, sizeof hostile / sizeof *hostile);
    tcase_add_test(tc, a_line_that_is_too_long_loses_whole_fields);
    tcase_add_test(tc, no_size_is_overrun);
    tcase_add_test(tc, levels_have_names);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
