/* test_base.c - the floor everything stands on: errors keep the first failure, arenas give back what they took, limits of a container are found.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "attn.h"
#include "base/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

START_TEST(first_failure_wins)
{
    attn_error err = { 0 };
    ck_assert_int_eq(attn_fail(&err, ATTN_E_FORMAT, "a.json", "byte %d", 7), ATTN_E_FORMAT);
    ck_assert_int_eq(attn_fail(&err, ATTN_E_NOMEM, "b", "later"), ATTN_E_NOMEM);
    ck_assert_int_eq(err.code, ATTN_E_FORMAT);
    ck_assert_str_eq(err.where, "a.json");
    ck_assert_str_eq(err.text, "byte 7");
    ck_assert_int_eq(attn_fail(NULL, ATTN_E_IO, "x", "y"), ATTN_E_IO);
}
END_TEST

START_TEST(long_names_keep_their_end)
{
    attn_error err = { 0 };
    char path[400];
    memset(path, 'd', sizeof path);
    memcpy(path + sizeof path - 12, "/config.json", 12);
    path[sizeof path - 1] = '\0';
    attn_fail(&err, ATTN_E_IO, path, "gone");
    ck_assert_uint_lt(strlen(err.where), sizeof err.where);
    ck_assert_ptr_nonnull(strstr(err.where, "/config.jso"));
    ck_assert_int_eq(strncmp(err.where, "...", 3), 0);
}
END_TEST

START_TEST(products_and_sums_are_checked)
{
    size_t out = 5;
    ck_assert(!attn_mul(SIZE_MAX / 2 + 1, 2, &out));
    ck_assert(!attn_add(SIZE_MAX, 1, &out));
    ck_assert_uint_eq(out, 5);
    ck_assert(attn_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    ck_assert(attn_mul(0, SIZE_MAX, &out) && out == 0);
    ck_assert_ptr_null(attn_calloc(SIZE_MAX, 2));
}
END_TEST

START_TEST(blocks_are_aligned_apart_and_rewound)
{
    attn_arena *a = attn_arena_new();
    unsigned char *p[2000];
    for (size_t i = 0; i < 2000; i++) {
        p[i] = attn_arena_take(a, i % 700, 1);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert_uint_eq((uintptr_t)p[i] % 64, 0);
        memset(p[i], (int)(i % 251), i % 700);
    }
    for (size_t i = 0; i < 2000; i++)
        for (size_t j = 0; j < i % 700; j++)
            ck_assert_uint_eq(p[i][j], i % 251);
    attn_arena_reset(a, 0);
    ck_assert_uint_eq(attn_arena_used(a), 0);
    size_t before = attn_arena_used(a);
    attn_arena_mark mark = attn_arena_save(a);
    for (int round = 0; round < 50; round++) {
        ck_assert_ptr_nonnull(attn_arena_zero(a, 300, 1024));
        ck_assert_ptr_nonnull(attn_arena_take(a, 3, 100000));
        attn_arena_rewind(a, mark);
        ck_assert_uint_eq(attn_arena_used(a), before);
    }
    attn_arena_free(a);
    attn_arena_free(NULL);
}
END_TEST

START_TEST(an_arena_says_no_to_what_cannot_be)
{
    attn_arena *a = attn_arena_new();
    ck_assert_ptr_null(attn_arena_take(a, SIZE_MAX, 8));
    ck_assert_ptr_null(attn_arena_take(a, SIZE_MAX, 1));
    ck_assert_ptr_null(attn_arena_take(a, SIZE_MAX / 2, 1));
    ck_assert_ptr_nonnull(attn_arena_take(a, 0, 8));
    attn_arena_free(a);
}
END_TEST

static bool refuse(void *ctx, size_t bytes)
{
    (void)bytes;
    return (*(int *)ctx)-- > 0;
}

START_TEST(a_block_takes_what_it_is_priced_at)
{
    attn_arena *arena = attn_arena_new();
    for (size_t n = 0; n < 300; n++) {
        size_t before = attn_arena_used(arena);
        ck_assert_ptr_nonnull(attn_arena_take(arena, n, 3));
        size_t taken = attn_arena_used(arena) - before;
        ck_assert_uint_le(taken, attn_arena_bytes(n, 3));
        ck_assert_uint_le(attn_arena_bytes(n, 3), taken + 64);
    }
    attn_arena_free(arena);
    ck_assert_uint_ge(attn_arena_bytes(UINT64_MAX, 2), UINT64_MAX - 64);
    ck_assert_uint_ge(attn_arena_bytes(UINT64_MAX, 1), UINT64_MAX - 64);
}
END_TEST

static bool count(void *ctx, size_t bytes)
{
    (void)bytes;
    (*(int *)ctx)++;
    return true;
}

/* Like a run: something that stays, then layers that come and go. */
static void take_like_a_run(attn_arena *a, size_t scale)
{
    ck_assert_ptr_nonnull(attn_arena_take(a, 100, scale));
    for (int layer = 0; layer < 3; layer++) {
        attn_arena_mark mark = attn_arena_save(a);
        for (size_t i = 1; i < 40; i++) {
            unsigned char *p = attn_arena_take(a, 7 * i, scale);
            ck_assert_ptr_nonnull(p);
            memset(p, (int)i, 7 * i * scale);
        }
        attn_arena_rewind(a, mark);
    }
}

START_TEST(the_same_request_again_allocates_nothing)
{
    for (size_t scale = 10; scale <= 1000; scale *= 10) { /* 59 kB, 0.6 and 6 MB */
        attn_arena *a = attn_arena_new();
        take_like_a_run(a, scale);
        attn_arena_reset(a, 8 << 20);
        int calls = 0;
        attn_memory_hook(count, &calls);
        for (int again = 0; again < 3; again++) {
            take_like_a_run(a, scale);
            attn_arena_reset(a, 8 << 20);
        }
        attn_memory_hook(NULL, NULL);
        ck_assert_int_eq(calls, 0);
        attn_arena_free(a);
    }
}
END_TEST

START_TEST(what_is_expected_is_allocated_at_once)
{
    int calls = 0;
    attn_arena *a = attn_arena_new();
    attn_memory_hook(count, &calls);
    attn_arena_expect(a, 8 << 20);
    take_like_a_run(a, 1000);
    ck_assert_int_eq(calls, 1);
    attn_arena_reset(a, 0); /* more than is kept */
    calls = 0;
    attn_arena_expect(a, UINT64_MAX); /* no size that could be: as if nothing had been said */
    take_like_a_run(a, 10);
    ck_assert_int_eq(calls, 1);
    attn_memory_hook(NULL, NULL);
    attn_arena_reset(a, 0);
    attn_arena_expect(a, (uint64_t)SIZE_MAX / 4); /* which no system has */
    ck_assert_ptr_null(attn_arena_take(a, 1, 1));
    ck_assert_ptr_nonnull(attn_arena_take(a, 1, 1));
    attn_arena_free(a);
}
END_TEST

START_TEST(the_hook_makes_allocations_fail)
{
    int left = 1;
    attn_memory_hook(refuse, &left);
    void *first = attn_malloc(10), *second = attn_malloc(10);
    attn_memory_hook(NULL, NULL);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(second);
    attn_free(first);
}
END_TEST

START_TEST(the_first_reason_to_stop_stays)
{
    attn_cancel c = { 0 };
    ck_assert(!attn_cancelled(&c) && !attn_cancelled(NULL));
    attn_cancel_raise(&c, ATTN_CLIENT_GONE);
    attn_cancel_raise(&c, ATTN_DEADLINE);
    ck_assert(attn_cancelled(&c));
    ck_assert_int_eq(c.reason, ATTN_CLIENT_GONE);
    attn_cancel late = { .deadline_ns = attn_clock_ns() - 1 };
    ck_assert(attn_cancelled(&late));
    ck_assert_int_eq(late.reason, ATTN_DEADLINE);
}
END_TEST

static char root[] = "/tmp/attnd-cgroup-XXXXXX";

static void put(const char *path, const char *text)
{
    char full[256], *slash = full;
    snprintf(full, sizeof full, "%s/%s", root, path);
    while ((slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static double cpus(void)
{
    char list[256];
    snprintf(list, sizeof list, "%s/list", root);
    return attn_cgroup_cpus(list, root);
}

static double memory(void)
{
    char list[256];
    snprintf(list, sizeof list, "%s/list", root);
    return attn_cgroup_memory(list, root);
}

START_TEST(container_limits_are_found_at_every_level)
{
    ck_assert_ptr_nonnull(mkdtemp(root));
    ck_assert_double_eq(cpus(), 0); /* no list at all */
    put("list", "0::/a/b\n");
    ck_assert_double_eq(cpus(), 0);
    put("a/b/cpu.max", "max 100000\n");
    ck_assert_double_eq(cpus(), 0);
    put("a/cpu.max", "150000 100000\n");
    ck_assert_double_eq(cpus(), 1.5);
    put("cpu.max", "50000 100000\n");
    ck_assert_double_eq(cpus(), 0.5);
    put("a/b/memory.max", "max\n");
    put("a/memory.max", "268435456\n");
    ck_assert_double_eq(memory(), 268435456.0);
    put("list", "4:cpuset:/\n3:cpu,cpuacct:/x/y\n2:memory:/m\n");
    put("cpu/x/cpu.cfs_quota_us", "-1\n");
    put("cpu/x/cpu.cfs_period_us", "100000\n");
    ck_assert_double_eq(cpus(), 0);
    put("cpu/x/y/cpu.cfs_quota_us", "200000\n");
    put("cpu/x/y/cpu.cfs_period_us", "100000\n");
    ck_assert_double_eq(cpus(), 2);
    put("memory/memory.limit_in_bytes", "1048576\n");
    ck_assert_double_eq(memory(), 1048576.0);
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(this_machine_has_at_least_one_cpu_and_some_memory)
{
    ck_assert_int_ge(attn_cpus_allowed(), 1);
    ck_assert_uint_gt(attn_memory_allowed(), 1 << 20);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    tcase_add_test(t, first_failure_wins);
    tcase_add_test(t, long_names_keep_their_end);
    tcase_add_test(t, products_and_sums_are_checked);
    tcase_add_test(t, blocks_are_aligned_apart_and_rewound);
    tcase_add_test(t, an_arena_says_no_to_what_cannot_be);
    tcase_add_test(t, a_block_takes_what_it_is_priced_at);
    tcase_add_test(t, the_same_request_again_allocates_nothing);
    tcase_add_test(t, what_is_expected_is_allocated_at_once);
    tcase_add_test(t, the_hook_makes_allocations_fail);
    tcase_add_test(t, the_first_reason_to_stop_stays);
    tcase_add_test(t, container_limits_are_found_at_every_level);
    tcase_add_test(t, this_machine_has_at_least_one_cpu_and_some_memory);
    suite_add_tcase(s, t);
    return unit_main(s);
}
