/* test_options.c - options: three sources in order, values with units, and errors that help.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "options.h"
#include "unit.h"

enum { MAX_WORDS = 12 };

static srv_options options;
static char error[512];

/* Reads a command line given as words separated by '|', and an environment likewise. */
static bool read_all(const char *line, const char *environment)
{
    static char copies[2][1000];
    char *words[2][MAX_WORDS] = { { NULL } };
    const char *from[] = { line, environment };
    int count[2] = { 1, 0 };
    words[0][0] = copies[0]; /* any program name */
    for (int i = 0; i < 2; i++) {
        strncpy(copies[i], from[i], sizeof copies[i] - 1);
        for (char *at = copies[i], *word; *from[i] && (word = strsep(&at, "|"));)
            words[i][count[i]++] = word;
    }
    memset(error, 0, sizeof error);
    srv_options_free(&options);
    return srv_options_read(&options, count[0], words[0], words[1], error, sizeof error);
}

static void teardown(void)
{
    srv_options_free(&options);
}

START_TEST(defaults_are_those_of_the_contract)
{
    ck_assert_msg(read_all("", ""), "%s", error);
    ck_assert_str_eq(options.host, "127.0.0.1");
    ck_assert_uint_eq(options.port, 8080);
    ck_assert_uint_eq(options.models.count, 0);
    ck_assert_uint_eq(options.threads, 0);
    ck_assert_uint_eq(options.queue, 64);
    ck_assert_uint_eq(options.timeout_ms, 60000);
    ck_assert_uint_eq(options.drain_timeout_ms, 30000);
    ck_assert_uint_eq(options.max_body_bytes, 128 << 20);
    ck_assert_uint_eq(options.max_tokens, 32768);
    ck_assert_uint_eq(options.max_batch, 64);
    ck_assert_uint_eq(options.max_response_bytes, 1 << 30);
    ck_assert_uint_eq(options.max_memory_bytes, 0);
    ck_assert_uint_eq(options.max_connections, 4096);
    ck_assert_str_eq(options.kernels, "auto");
    ck_assert_ptr_null(options.probe);
    ck_assert_uint_eq(options.metrics_port, SRV_NO_PORT);
    ck_assert_str_eq(options.log_level, "info");
    ck_assert(!options.help && !options.version && !options.check);
}
END_TEST

START_TEST(the_command_line_wins_over_the_environment_and_that_over_the_default)
{
    ck_assert_msg(read_all("--queue|1", "ATTND_QUEUE=2|ATTND_MAX_BATCH=3"), "%s", error);
    ck_assert_uint_eq(options.queue, 1);
    ck_assert_uint_eq(options.max_batch, 3);
    ck_assert_uint_eq(options.max_tokens, 32768);
}
END_TEST

START_TEST(a_value_stands_behind_an_equals_sign_or_in_the_next_word)
{
    ck_assert_msg(read_all("--port=1|--queue|2|--check|--model=a=/x=y", ""), "%s", error);
    ck_assert_uint_eq(options.port, 1);
    ck_assert_uint_eq(options.queue, 2);
    ck_assert(options.check);
    ck_assert_str_eq(options.models.items[0], "a=/x=y");
}
END_TEST

START_TEST(a_later_word_wins_over_an_earlier_one)
{
    ck_assert_msg(read_all("--port|1|--port|2|--host|a|--host|b", ""), "%s", error);
    ck_assert_uint_eq(options.port, 2);
    ck_assert_str_eq(options.host, "b");
}
END_TEST

START_TEST(lists_add_up_within_a_source_and_replace_those_of_an_earlier_one)
{
    ck_assert_msg(read_all("", "ATTND_MODEL=a, b c,,d "), "%s", error);
    ck_assert_uint_eq(options.models.count, 4);
    ck_assert_str_eq(options.models.items[3], "d");
    ck_assert_msg(read_all("--model|/with space, and comma|--model|y", "ATTND_MODEL=a b|ATTND_CORS_ORIGIN=*"), "%s", error);
    ck_assert_uint_eq(options.models.count, 2);
    ck_assert_str_eq(options.models.items[0], "/with space, and comma");
    ck_assert_str_eq(options.models.items[1], "y");
    ck_assert_uint_eq(options.cors_origins.count, 1);
}
END_TEST

static const struct {
    const char *text;
    uint64_t bytes;
} sizes[] = { { "1", 1 },      { "1000", 1000 }, { "2KiB", 2048 }, { "3MiB", 3 << 20 }, { "1GiB", 1 << 30 }, { "1TiB", (uint64_t)1 << 40 },
              { "5KB", 5000 }, { "7B", 7 } };

START_TEST(bytes_may_carry_a_unit)
{
    char line[64];
    snprintf(line, sizeof line, "--max-memory-bytes|%s", sizes[_i].text);
    ck_assert_msg(read_all(line, ""), "%s", error);
    ck_assert_uint_eq(options.max_memory_bytes, sizes[_i].bytes);
}
END_TEST

static const struct {
    const char *text;
    uint64_t ms;
} times[] = { { "60", 60000 }, { "1s", 1000 }, { "500ms", 500 }, { "2m", 120000 }, { "1h", 3600000 }, { "24h", 86400000 } };

START_TEST(times_may_carry_a_unit)
{
    char line[64];
    snprintf(line, sizeof line, "--timeout|%s", times[_i].text);
    ck_assert_msg(read_all(line, ""), "%s", error);
    ck_assert_uint_eq(options.timeout_ms, times[_i].ms);
}
END_TEST

static const char *const wrong[][2] = {
    { "--port|65536", "--port" },
    { "--port|-1", "--port" },
    { "--port|", "--port" },
    { "--port| 1", "--port" },
    { "--port|0x10", "--port" },
    { "--port|1.5", "--port" },
    { "--port", "--port" },
    { "--threads|0", "--threads" },
    { "--timeout|0", "--timeout" },
    { "--timeout|25h", "--timeout" },
    { "--timeout|1 s", "--timeout" },
    { "--max-body-bytes|0", "--max-body-bytes" },
    { "--max-body-bytes|1KiBi", "--max-body-bytes" },
    { "--max-body-bytes|99999999999999999999", "--max-body-bytes" },
    { "--max-body-bytes|99999999999TiB", "--max-body-bytes" },
    { "--kernels|av", "--kernels" },
    { "--kernels|avx2|avx512", "avx512" }, /* a word too many */
    { "--kernels|", "--kernels" },
    { "--log-format|xml", "text|json" },
    { "--host|", "--host" },
    { "--model|", "--model" },
    { "--check=maybe", "--check" },
    { "-p|1", "-p" },
    { "--", "--" },
    { "--=", "--" },
    { "model", "model" },
};

START_TEST(a_wrong_command_line_is_one_sentence_that_names_the_place)
{
    ck_assert(!read_all(wrong[_i][0], ""));
    ck_assert_msg(strstr(error, wrong[_i][1]) != NULL, "%s: %s", wrong[_i][0], error);
    ck_assert_ptr_null(strchr(error, '\n'));
}
END_TEST

START_TEST(a_wrong_environment_names_its_variable)
{
    ck_assert(!read_all("--max-batch|1", "ATTND_MAX_BATCH=many"));
    ck_assert_ptr_nonnull(strstr(error, "ATTND_MAX_BATCH"));
}
END_TEST

static const char *const misspelt[][2] = {
    { "--prot", "--port" },       { "--modle", "--model" },        { "--max-batches", "--max-batch" }, { "--max-conn", "--max-connections" },
    { "--Timeout", "--timeout" }, { "--log_level", "--log-level" }
};

START_TEST(a_misspelt_option_is_told_what_it_may_have_meant)
{
    char expected[80];
    snprintf(expected, sizeof expected, "did you mean %s?", misspelt[_i][1]);
    ck_assert(!read_all(misspelt[_i][0], ""));
    ck_assert_msg(strstr(error, expected) != NULL, "%s", error);
}
END_TEST

START_TEST(what_is_like_nothing_gets_no_guess)
{
    ck_assert(!read_all("--xyzzyplugh", ""));
    ck_assert_ptr_null(strstr(error, "mean"));
    char long_name[600] = "--";
    memset(long_name + 2, 'a', sizeof long_name - 3);
    ck_assert(!read_all(long_name, ""));
}
END_TEST

START_TEST(what_kubernetes_puts_into_the_environment_is_not_ours)
{
    ck_assert_msg(read_all("", "ATTND_PORT=tcp://10.0.0.1:80|ATTND_SERVICE_HOST=10.0.0.1|ATTND_VERSION=1.2|ATTND_HELP=x|ATTND_QUEUE=|ATTNDX=1"), "%s", error);
    ck_assert_uint_eq(options.port, 8080);
    ck_assert_uint_eq(options.queue, 64);
    ck_assert(!options.version && !options.help);
}
END_TEST

START_TEST(flags_in_the_environment_are_true_or_false)
{
    ck_assert_msg(read_all("", "ATTND_CHECK=1"), "%s", error);
    ck_assert(options.check);
    ck_assert_msg(read_all("", "ATTND_CHECK=no"), "%s", error);
    ck_assert(!options.check);
    ck_assert(!read_all("", "ATTND_CHECK=perhaps"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tc = tcase_create("options");
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, defaults_are_those_of_the_contract);
    tcase_add_test(tc, the_command_line_wins_over_the_environment_and_that_over_the_default);
    tcase_add_test(tc, a_value_stands_behind_an_equals_sign_or_in_the_next_word);
    tcase_add_test(tc, a_later_word_wins_over_an_earlier_one);
    tcase_add_test(tc, lists_add_up_within_a_source_and_replace_those_of_an_earlier_one);
    tcase_add_loop_test(tc, bytes_may_carry_a_unit, 0, sizeof sizes / sizeof *sizes);
    tcase_add_loop_test(tc, times_may_carry_a_unit, 0, sizeof times / sizeof *times);
    tcase_add_loop_test(tc, a_wrong_command_line_is_one_sentence_that_names_the_place, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(tc, a_wrong_environment_names_its_variable);
    tcase_add_loop_test(tc, a_misspelt_option_is_told_what_it_may_have_meant, 0, sizeof misspelt / sizeof *misspelt);
    tcase_add_test(tc, what_is_like_nothing_gets_no_guess);
    tcase_add_test(tc, what_kubernetes_puts_into_the_environment_is_not_ours);
    tcase_add_test(tc, flags_in_the_environment_are_true_or_false);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
