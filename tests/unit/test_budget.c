/* test_budget.c - the memory budget: nobody gets more than there is, nobody waits for ever.
 * SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "budget.h"
#include "unit.h"

static srv_budget budget;

static void setup(void)
{
    srv_budget_init(&budget, 1000);
}

static void teardown(void)
{
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
    ck_assert_uint_eq(srv_budget_get(&budget).waiting, 0);
    srv_budget_fini(&budget);
}

static void rest(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* A request that reserves on a thread of its own. */
typedef struct asker {
    pthread_t thread;
    srv_account account;
    attn_cancel cancel;
    uint64_t bytes;
    attn_status status;
    _Atomic bool done;
} asker;

static void *ask(void *ctx)
{
    asker *a = ctx;
    a->status = srv_budget_reserve(&budget, &a->account, a->bytes, &a->cancel);
    atomic_store(&a->done, true);
    return NULL;
}

static void start(asker *a, uint64_t bytes)
{
    a->bytes = bytes;
    ck_assert_int_eq(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void start_waiting(asker *a, uint64_t bytes)
{
    uint64_t before = srv_budget_get(&budget).waiting;
    start(a, bytes);
    while (srv_budget_get(&budget).waiting == before)
        rest(1);
}

static void join(asker *a)
{
    pthread_join(a->thread, NULL);
}

START_TEST(who_may_not_wait_is_told_so)
{
    srv_account one = { 0 }, two = { 0 };
    asker late = { 0 };
    ck_assert(srv_budget_try(&budget, &two, 50));
    ck_assert_int_eq(srv_budget_reserve_now(&budget, &one, 600), ATTN_OK);
    ck_assert_int_eq(srv_budget_reserve_now(&budget, &two, 350), ATTN_OK);
    ck_assert_int_eq(srv_budget_reserve_now(&budget, &two, 1), ATTN_E_CANCELLED);
    ck_assert_int_eq(srv_budget_reserve_now(&budget, &two, 601), ATTN_E_LIMIT);
    ck_assert_uint_eq(srv_budget_get(&budget).used, 1000);
    start_waiting(&late, 500);
    srv_budget_release_reserved(&budget, &two); /* its body stays */
    ck_assert_uint_eq(srv_budget_get(&budget).used, 650);
    ck_assert_int_eq(srv_budget_reserve_now(&budget, &two, 1), ATTN_E_CANCELLED); /* somebody stands in line */
    srv_budget_release(&budget, &one);
    join(&late);
    ck_assert_int_eq(late.status, ATTN_OK);
    srv_budget_release(&budget, &late.account);
    srv_budget_release(&budget, &two);
}
END_TEST

START_TEST(a_body_is_refused_when_there_is_no_room)
{
    srv_account one = { 0 }, two = { 0 };
    ck_assert(srv_budget_try(&budget, &one, 400));
    ck_assert(!srv_budget_try(&budget, &two, 101)); /* bodies of several may take half */
    ck_assert(srv_budget_try(&budget, &two, 100));
    ck_assert_uint_eq(srv_budget_get(&budget).used, 500);
    srv_budget_release(&budget, &one);
    srv_budget_release(&budget, &two);
}
END_TEST

START_TEST(a_body_alone_may_take_all)
{
    srv_account one = { 0 };
    ck_assert(srv_budget_try(&budget, &one, 900));
    ck_assert(!srv_budget_try(&budget, &one, 101));
    ck_assert(!srv_budget_try(&budget, &one, UINT64_MAX));
    ck_assert(srv_budget_try(&budget, &one, 100));
    srv_budget_release_body(&budget, &one);
    ck_assert(srv_budget_try(&budget, &one, 1000));
    srv_budget_release(&budget, &one);
}
END_TEST

START_TEST(what_can_never_be_had_is_refused_at_once)
{
    attn_cancel cancel = { 0 };
    srv_account one = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 1001, &cancel), ATTN_E_LIMIT);
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, UINT64_MAX, &cancel), ATTN_E_LIMIT);
    ck_assert(srv_budget_try(&budget, &one, 500));
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 501, &cancel), ATTN_E_LIMIT);
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 500, &cancel), ATTN_OK);
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 1, &cancel), ATTN_E_LIMIT);
    srv_budget_release(&budget, &one);
}
END_TEST

START_TEST(a_reservation_waits_for_what_others_hold)
{
    attn_cancel cancel = { 0 };
    srv_account one = { 0 };
    asker two = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 600, &cancel), ATTN_OK);
    start_waiting(&two, 600);
    rest(20);
    ck_assert(!atomic_load(&two.done));
    srv_budget_release(&budget, &one);
    join(&two);
    ck_assert_int_eq(two.status, ATTN_OK);
    srv_budget_release(&budget, &two.account);
}
END_TEST

START_TEST(a_small_one_does_not_overtake_a_large_one)
{
    attn_cancel cancel = { 0 };
    srv_account one = { 0 };
    asker large = { 0 }, small = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 600, &cancel), ATTN_OK);
    start_waiting(&large, 900);
    start_waiting(&small, 200);
    rest(20);
    ck_assert(!atomic_load(&small.done)); /* though it would fit */
    srv_budget_release(&budget, &one);
    join(&large);
    ck_assert_int_eq(large.status, ATTN_OK);
    ck_assert(!atomic_load(&small.done));
    srv_budget_release(&budget, &large.account);
    join(&small);
    ck_assert_int_eq(small.status, ATTN_OK);
    srv_budget_release(&budget, &small.account);
}
END_TEST

/* Two requests, each holding 400 and wanting 400 more of 1000: one must be let through. */
START_TEST(two_that_wait_for_each_other_both_finish)
{
    attn_cancel cancel = { 0 };
    asker one = { 0 }, two = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one.account, 400, &cancel), ATTN_OK);
    ck_assert_int_eq(srv_budget_reserve(&budget, &two.account, 400, &cancel), ATTN_OK);
    start_waiting(&one, 400);
    start(&two, 400); /* now nobody who holds anything moves */
    join(&one);
    ck_assert_int_eq(one.status, ATTN_OK);
    srv_budget_release(&budget, &one.account);
    join(&two);
    ck_assert_int_eq(two.status, ATTN_OK);
    srv_budget_release(&budget, &two.account);
}
END_TEST

START_TEST(full_bodies_do_not_block_their_own_requests)
{
    asker one = { 0 }, two = { 0 };
    ck_assert(srv_budget_try(&budget, &one.account, 250));
    ck_assert(srv_budget_try(&budget, &two.account, 250));
    srv_budget_charge(&budget, 500); /* blocks on their way to slow clients */
    start(&one, 700);
    join(&one);
    ck_assert_int_eq(one.status, ATTN_OK);
    start_waiting(&two, 700);
    srv_budget_release(&budget, &one.account);
    join(&two);
    ck_assert_int_eq(two.status, ATTN_OK);
    srv_budget_release(&budget, &two.account);
    srv_budget_refund(&budget, 500);
}
END_TEST

START_TEST(a_cancelled_request_leaves_the_line_from_any_place)
{
    attn_cancel cancel = { 0 };
    srv_account one = { 0 };
    asker waiting[3] = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 1000, &cancel), ATTN_OK);
    for (int i = 0; i < 3; i++)
        start_waiting(&waiting[i], 500);
    static const int order[] = { 1, 2, 0 };
    for (int i = 0; i < 3; i++) {
        attn_cancel_raise(&waiting[order[i]].cancel, ATTN_CLIENT_GONE);
        srv_budget_wake(&budget);
        join(&waiting[order[i]]);
        ck_assert_int_eq(waiting[order[i]].status, ATTN_E_CANCELLED);
        ck_assert_uint_eq(srv_budget_get(&budget).waiting, (uint64_t)(2 - i));
    }
    srv_budget_release(&budget, &one);
}
END_TEST

START_TEST(a_deadline_ends_the_wait)
{
    attn_cancel cancel = { 0 };
    srv_account one = { 0 };
    asker two = { 0 };
    ck_assert_int_eq(srv_budget_reserve(&budget, &one, 1000, &cancel), ATTN_OK);
    two.cancel.deadline_ns = attn_clock_ns() + 50 * 1000000;
    start(&two, 1);
    join(&two);
    ck_assert_int_eq(two.status, ATTN_E_CANCELLED);
    ck_assert_uint_ge(attn_clock_ns(), two.cancel.deadline_ns);
    srv_budget_release(&budget, &one);
}
END_TEST

static void *work_for_a_while(void *ctx)
{
    unsigned seed = *(unsigned *)ctx;
    for (int i = 0; i < 300; i++) {
        attn_cancel cancel = { 0 };
        srv_account account = { 0 };
        seed = seed * 1103515245 + 12345;
        uint64_t body = seed >> 16 & 0x3f, first = seed >> 8 & 0xff, second = seed >> 20 & 0xff;
        if (srv_budget_try(&budget, &account, body)) {
            ck_assert_int_eq(srv_budget_reserve(&budget, &account, first, &cancel), ATTN_OK);
            ck_assert_int_eq(srv_budget_reserve(&budget, &account, second, &cancel), ATTN_OK);
        }
        ck_assert_uint_le(srv_budget_get(&budget).used, 1500);
        srv_budget_release(&budget, &account);
    }
    return NULL;
}

START_TEST(many_threads_all_get_through)
{
    pthread_t threads[8];
    unsigned seeds[8];
    for (unsigned i = 0; i < 8; i++) {
        seeds[i] = i + 1;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work_for_a_while, &seeds[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budget");
    TCase *tc = tcase_create("budget");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_body_is_refused_when_there_is_no_room);
    tcase_add_test(tc, who_may_not_wait_is_told_so);
    tcase_add_test(tc, a_body_alone_may_take_all);
    tcase_add_test(tc, what_can_never_be_had_is_refused_at_once);
    tcase_add_test(tc, a_reservation_waits_for_what_others_hold);
    tcase_add_test(tc, a_small_one_does_not_overtake_a_large_one);
    tcase_add_test(tc, two_that_wait_for_each_other_both_finish);
    tcase_add_test(tc, full_bodies_do_not_block_their_own_requests);
    tcase_add_test(tc, a_cancelled_request_leaves_the_line_from_any_place);
    tcase_add_test(tc, a_deadline_ends_the_wait);
    tcase_add_test(tc, many_threads_all_get_through);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
