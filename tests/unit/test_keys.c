/* test_keys.c - keys from a file: which are taken, which header finds which, what a reload keeps, how many requests fit.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"
#include "log.h"
#include "unit.h"

static char path[] = "/tmp/attnd-keys-XXXXXX";
static char error[512];
static srv_keys *keys;

static void put(const char *text, size_t n)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, n, file), n);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_file(const char *text)
{
    put(text, strlen(text));
}

static void setup(void)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    write_file("first-0123456789\nsecond-0123456789\n");
    error[0] = '\0';
    keys = srv_keys_open(path, error, sizeof error);
    ck_assert_msg(keys, "%s", error);
}

static void teardown(void)
{
    srv_keys_close(keys);
    unlink(path);
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
}

/* Is this header let in? */
static bool opens(const char *authorization)
{
    srv_key *key = srv_keys_find(keys, authorization);
    if (key)
        srv_key_drop(key);
    return key != NULL;
}

START_TEST(each_key_opens_and_nothing_else_does)
{
    static const char *const others[] = { "",
                                          "Bearer",
                                          "Bearer ",
                                          "Bearer first",
                                          "Bearer first-012345678",
                                          "Bearer first-01234567890",
                                          "first-0123456789",
                                          "Basic first-0123456789",
                                          "Bearerfirst-0123456789",
                                          "Bearer first-0123456789 second-0123456789",
                                          "Bearer first-0123456789,",
                                          "Bearer\tfirst-0123456789",
                                          "Bearer FIRST-0123456789" };
    ck_assert(opens("Bearer first-0123456789"));
    ck_assert(opens("bEARER  second-0123456789 \t"));
    ck_assert(!opens(NULL));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_msg(!opens(others[i]), "%s", others[i]);
}
END_TEST

START_TEST(blanks_comments_and_repeats_are_no_keys)
{
    write_file("\n \t\r\n# first-0123456789\n  third-0123456789==\t\r\nthird-0123456789==\n#");
    ck_assert_msg(srv_keys_reload(keys, error, sizeof error), "%s", error);
    ck_assert_uint_eq(srv_keys_count(keys), 1);
    ck_assert(opens("Bearer third-0123456789=="));
    ck_assert(!opens("Bearer first-0123456789"));
    ck_assert(!opens("Bearer #"));
}
END_TEST

static void refuses(const char *text, size_t n, const char *words)
{
    put(text, n);
    error[0] = '\0';
    ck_assert(!srv_keys_reload(keys, error, sizeof error));
    ck_assert_msg(strstr(error, words), "%s", error);
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_ptr_null(strstr(error, "0123456789"));
    ck_assert_uint_eq(srv_keys_count(keys), 2);
    ck_assert(opens("Bearer first-0123456789"));
    ck_assert(!srv_keys_open(path, error, sizeof error));
}

START_TEST(a_file_that_is_wrong_is_named_with_its_line_and_changes_nothing)
{
    static char long_file[(1 << 20) + 10];
    refuses("", 0, "no key");
    refuses("# nothing", 9, "no key");
    refuses("ok-0123456789abcdef\nsecret-012345\n", 34, "line 2: a key has at least 16");
    refuses("\n\nspaces 0123456789 are none\n", 29, "line 3: a key has letters");
    refuses("ok-0123456789abcdef\0\n", 21, "line 1: a key has letters");
    refuses("\xEF\xBB\xBFok-0123456789abcdef\n", 23, "line 1: a key has letters");
    memset(long_file, 'a', sizeof long_file);
    refuses(long_file, sizeof long_file, "megabyte");
    unlink(path);
    ck_assert(!srv_keys_reload(keys, error, sizeof error));
    ck_assert(opens("Bearer second-0123456789"));
}
END_TEST

START_TEST(a_key_has_its_share)
{
    srv_key *key = srv_keys_find(keys, "Bearer first-0123456789");
    ck_assert(srv_key_begin(key, 2));
    ck_assert(srv_key_begin(key, 2));
    ck_assert(!srv_key_begin(key, 2));
    ck_assert(!srv_key_begin(key, 2));
    srv_key_end(key);
    ck_assert(srv_key_begin(key, 2));
    ck_assert(srv_key_begin(key, 0)); /* no limit */
    srv_key_drop(key);
}
END_TEST

START_TEST(a_reload_keeps_the_count_of_a_key_that_stays)
{
    srv_key *before = srv_keys_find(keys, "Bearer first-0123456789");
    ck_assert(srv_key_begin(before, 1));
    write_file("third-0123456789ab\nfirst-0123456789\n");
    ck_assert(srv_keys_reload(keys, error, sizeof error));
    srv_key *after = srv_keys_find(keys, "Bearer first-0123456789");
    ck_assert_ptr_eq(before, after);
    ck_assert(!srv_key_begin(after, 1));
    srv_key_end(before);
    srv_key_drop(before);
    srv_key_drop(after);
}
END_TEST

START_TEST(a_key_that_is_gone_stays_valid_until_it_is_dropped)
{
    srv_key *gone = srv_keys_find(keys, "Bearer first-0123456789");
    ck_assert(srv_key_begin(gone, 1));
    write_file("third-0123456789ab\n");
    ck_assert(srv_keys_reload(keys, error, sizeof error));
    ck_assert(!opens("Bearer first-0123456789"));
    srv_key_end(gone);
    ck_assert(srv_key_begin(gone, 1));
    srv_key_drop(gone);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keys");
    TCase *tcase = tcase_create("keys");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, each_key_opens_and_nothing_else_does);
    tcase_add_test(tcase, blanks_comments_and_repeats_are_no_keys);
    tcase_add_test(tcase, a_file_that_is_wrong_is_named_with_its_line_and_changes_nothing);
    tcase_add_test(tcase, a_key_has_its_share);
    tcase_add_test(tcase, a_reload_keeps_the_count_of_a_key_that_stays);
    tcase_add_test(tcase, a_key_that_is_gone_stays_valid_until_it_is_dropped);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
