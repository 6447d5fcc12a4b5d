/* test_pool.c - every task runs once, on no more threads than the runtime has, and requests get their CPU back.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "attn.h"

#include <pthread.h>
#include <unistd.h>

static attn_runtime *runtime(int threads)
{
    attn_runtime *rt = NULL;
    attn_error err = { 0 };
    attn_status st = attn_runtime_new(&rt, &(attn_runtime_options){ .threads = threads, .kernels = "ref" }, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return rt;
}

typedef struct tally {
    attn_runtime *rt;
    _Atomic int count[1000], now, most, bad_slot;
    int threads;
} tally;

static void count_task(void *ctx, size_t i, int slot)
{
    tally *t = ctx;
    int now = ++t->now;
    int most = t->most;
    while (now > most && !atomic_compare_exchange_weak(&t->most, &most, now))
        ;
    t->count[i]++;
    if (slot < 0 || slot >= t->threads)
        t->bad_slot++;
    usleep(20);
    t->now--;
}

START_TEST(every_task_runs_once)
{
    for (int threads = 1; threads <= 5; threads++) {
        tally t = { .rt = runtime(threads), .threads = threads };
        attn_runtime_enter(t.rt);
        for (int round = 0; round < 3; round++)
            attn_parallel(t.rt, 1000, count_task, &t);
        attn_runtime_leave(t.rt);
        for (int i = 0; i < 1000; i++)
            ck_assert_int_eq(t.count[i], 3);
        ck_assert_int_le(t.most, threads);
        ck_assert_int_eq(t.bad_slot, 0);
        if (threads > 1)
            ck_assert_int_gt(t.most, 1);
        attn_runtime_free(t.rt);
    }
}
END_TEST

static void nested_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    tally *t = ctx;
    attn_parallel(t->rt, 10, count_task, t);
    t->count[500 + i]++;
}

START_TEST(a_nested_call_runs_inline)
{
    tally t = { .rt = runtime(3), .threads = 3 };
    attn_parallel(t.rt, 20, nested_task, &t);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(t.count[i], 20);
    for (int i = 500; i < 520; i++)
        ck_assert_int_eq(t.count[i], 1);
    attn_runtime_free(t.rt);
}
END_TEST

static void *caller(void *arg)
{
    tally *t = arg;
    attn_runtime_enter(t->rt);
    for (int round = 0; round < 20; round++)
        attn_parallel(t->rt, 200, count_task, t);
    attn_runtime_leave(t->rt);
    return NULL;
}

START_TEST(many_callers_share_one_pool)
{
    attn_runtime *rt = runtime(4);
    tally t[6];
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        t[i] = (tally){ .rt = rt, .threads = 4 };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, caller, &t[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        for (int k = 0; k < 200; k++)
            ck_assert_int_eq(t[i].count[k], 20);
        ck_assert_int_eq(t[i].bad_slot, 0);
    }
    attn_runtime_free(rt);
}
END_TEST

START_TEST(nothing_to_do_is_done_at_once)
{
    attn_runtime *rt = runtime(2);
    attn_parallel(rt, 0, count_task, NULL);
    attn_runtime_free(rt);
    attn_runtime_free(NULL);
}
END_TEST

START_TEST(what_cannot_be_is_refused_by_name)
{
    attn_runtime *rt = NULL;
    attn_error err = { 0 };
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .kernels = "mmx" }, &err), ATTN_E_UNSUPPORTED);
    ck_assert_str_eq(err.where, "kernels");
    ck_assert_ptr_null(rt);
    err = (attn_error){ 0 };
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = -1 }, &err), ATTN_E_INPUT);
    ck_assert_str_eq(err.where, "threads");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pool");
    TCase *t = tcase_create("pool");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_task_runs_once);
    tcase_add_test(t, a_nested_call_runs_inline);
    tcase_add_test(t, many_callers_share_one_pool);
    tcase_add_test(t, nothing_to_do_is_done_at_once);
    tcase_add_test(t, what_cannot_be_is_refused_by_name);
    suite_add_tcase(s, t);
    return unit_main(s);
}
