/* test_jobs.c - the queue of requests: in order, bounded, and a job runs or is given back, never both.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "jobs.h"
#include "unit.h"

/* Jobs pass a gate that the test opens, and note the order in which they ran. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open; /* jobs that may pass */
    int begun, done;
    int order[1100];
    bool arena_was_empty;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* Less than a thread's arena may keep from one job to the next. */
enum { LARGE_BYTES = 6 << 20, LARGE_JOBS = 40 };

typedef struct numbered {
    srv_job job;
    int number;
} numbered;

static void run(void *ctx, srv_job *job, attn_arena *arena)
{
    ck_assert_ptr_eq(ctx, &gate);
    pthread_mutex_lock(&gate.lock);
    gate.order[gate.begun++] = ((numbered *)(void *)job)->number;
    gate.arena_was_empty = attn_arena_used(arena) == 0;
    pthread_cond_broadcast(&gate.changed);
    while (gate.open == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.open--;
    ck_assert_ptr_nonnull(attn_arena_take(arena, 1000, 1));
    gate.done++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void let_pass(int n)
{
    pthread_mutex_lock(&gate.lock);
    gate.open += n;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void wait_until(const int *counter, int n)
{
    pthread_mutex_lock(&gate.lock);
    while (*counter < n)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void setup(void)
{
    gate.open = gate.begun = gate.done = 0;
}

/* One thread, which has begun with the first of them. */
static srv_jobs *line_up(numbered *all, int count)
{
    srv_jobs *jobs = srv_jobs_new(1, 100, run, &gate);
    for (int i = 0; i < count; i++) {
        all[i].number = i;
        ck_assert(srv_jobs_put(jobs, &all[i].job));
    }
    wait_until(&gate.begun, 1);
    return jobs;
}

START_TEST(jobs_run_in_the_order_they_came)
{
    numbered all[20] = { 0 };
    srv_jobs *jobs = line_up(all, 20);
    let_pass(20);
    wait_until(&gate.done, 20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(gate.order[i], i);
    ck_assert(gate.arena_was_empty);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(a_full_queue_refuses)
{
    numbered all[4] = { 0 };
    srv_jobs *jobs = srv_jobs_new(1, 2, run, &gate);
    ck_assert(srv_jobs_put(jobs, &all[0].job));
    wait_until(&gate.begun, 1);
    ck_assert(srv_jobs_put(jobs, &all[1].job));
    ck_assert(!srv_jobs_full(jobs));
    ck_assert(srv_jobs_put(jobs, &all[2].job));
    ck_assert(srv_jobs_full(jobs));
    ck_assert(!srv_jobs_put(jobs, &all[3].job));
    srv_jobs_state state = srv_jobs_get(jobs);
    ck_assert_uint_eq(state.waiting, 2);
    ck_assert_uint_eq(state.running, 1);
    ck_assert_uint_gt(state.oldest_ns, 0);
    let_pass(3);
    wait_until(&gate.done, 3);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(a_queue_of_none_still_feeds_idle_threads)
{
    numbered all[3] = { 0 };
    srv_jobs *jobs = srv_jobs_new(2, 0, run, &gate);
    ck_assert(srv_jobs_put(jobs, &all[0].job));
    ck_assert(srv_jobs_put(jobs, &all[1].job));
    ck_assert(!srv_jobs_put(jobs, &all[2].job));
    let_pass(2);
    wait_until(&gate.done, 2);
    while (srv_jobs_get(jobs).running > 0)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    ck_assert_uint_eq(srv_jobs_get(jobs).oldest_ns, 0);
    let_pass(1);
    ck_assert(srv_jobs_put(jobs, &all[2].job));
    wait_until(&gate.done, 3);
    srv_jobs_free(jobs);
}
END_TEST

static bool any(srv_job *job)
{
    (void)job;
    return true;
}

static bool odd(srv_job *job)
{
    return ((numbered *)(void *)job)->number % 2 != 0;
}

START_TEST(one_that_waits_may_run_within_one_that_runs)
{
    numbered all[4] = { 0 };
    srv_jobs *jobs = line_up(all, 4);
    ck_assert_ptr_eq(srv_jobs_join(jobs, &all[0].job, odd), &all[1].job);
    ck_assert_ptr_null(srv_jobs_join(jobs, &all[0].job, odd)); /* the next in line is not, and nobody overtakes it */
    ck_assert_uint_eq(srv_jobs_get(jobs).waiting, 2);
    ck_assert_uint_eq(srv_jobs_get(jobs).guests, 1);
    ck_assert(!srv_jobs_remove(jobs, &all[1].job));
    srv_jobs_over(jobs, &all[1].job); /* its host goes on */
    ck_assert_uint_eq(srv_jobs_get(jobs).guests, 0);
    ck_assert_uint_eq(srv_jobs_get(jobs).running, 1);
    ck_assert_ptr_eq(srv_jobs_join(jobs, &all[0].job, any), &all[2].job);
    let_pass(2);
    wait_until(&gate.done, 2);
    ck_assert_int_eq(gate.order[1], 3);
    ck_assert_ptr_null(srv_jobs_join(jobs, &all[0].job, any));
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(one_that_is_put_back_is_the_first_again_and_joins_no_more)
{
    numbered all[3] = { 0 };
    srv_jobs *jobs = line_up(all, 3);
    for (int i = 0; i < 2; i++) {
        srv_job *job = srv_jobs_join(jobs, &all[0].job, any);
        ck_assert_ptr_eq(job, i == 0 ? &all[1].job : NULL);
        if (job)
            srv_jobs_put_back(jobs, job);
    }
    ck_assert_uint_eq(srv_jobs_get(jobs).waiting, 2);
    let_pass(3);
    wait_until(&gate.done, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(gate.order[i], i);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(the_last_is_put_back_into_an_empty_queue)
{
    numbered all[3] = { 0 };
    srv_jobs *jobs = line_up(all, 2);
    ck_assert_ptr_eq(srv_jobs_join(jobs, &all[0].job, any), &all[1].job);
    srv_jobs_put_back(jobs, &all[1].job);
    all[2].number = 2;
    ck_assert(srv_jobs_put(jobs, &all[2].job));
    ck_assert(srv_jobs_remove(jobs, &all[1].job));
    let_pass(2);
    wait_until(&gate.done, 2);
    ck_assert_int_eq(gate.order[1], 2);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(guests_count_where_a_queue_is_full)
{
    numbered all[4] = { 0 };
    srv_jobs *jobs = srv_jobs_new(1, 2, run, &gate);
    for (int i = 0; i < 3; i++)
        ck_assert(srv_jobs_put(jobs, &all[i].job));
    wait_until(&gate.begun, 1);
    srv_job *guest = srv_jobs_join(jobs, &all[0].job, any);
    ck_assert_ptr_nonnull(guest);
    ck_assert(srv_jobs_full(jobs));
    ck_assert(!srv_jobs_put(jobs, &all[3].job));
    srv_jobs_over(jobs, guest);
    ck_assert(srv_jobs_put(jobs, &all[3].job));
    let_pass(3);
    wait_until(&gate.done, 3);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(none_joins_while_a_thread_could_take_it)
{
    numbered all[5] = { 0 };
    srv_jobs *jobs = srv_jobs_new(2, 100, run, &gate);
    ck_assert(srv_jobs_put(jobs, &all[0].job));
    wait_until(&gate.begun, 1);
    ck_assert_ptr_null(srv_jobs_join(jobs, &all[0].job, any)); /* nothing waits */
    ck_assert(srv_jobs_put(jobs, &all[1].job));
    wait_until(&gate.begun, 2);
    ck_assert(srv_jobs_put(jobs, &all[2].job));
    ck_assert_ptr_null(srv_jobs_join(jobs, &all[0].job, any)); /* the thread that comes free first is to find it */
    ck_assert(srv_jobs_put(jobs, &all[3].job));
    ck_assert_ptr_eq(srv_jobs_join(jobs, &all[0].job, any), &all[2].job);
    ck_assert_ptr_null(srv_jobs_join(jobs, &all[0].job, any));
    let_pass(3);
    wait_until(&gate.done, 3);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(a_job_that_is_over_makes_room_for_the_next)
{
    numbered all[3] = { 0 };
    srv_jobs *jobs = srv_jobs_new(1, 0, run, &gate);
    ck_assert(srv_jobs_put(jobs, &all[0].job));
    wait_until(&gate.begun, 1);
    ck_assert(!srv_jobs_put(jobs, &all[1].job));
    srv_jobs_over(jobs, &all[0].job);
    ck_assert_uint_eq(srv_jobs_get(jobs).running, 0);
    ck_assert(srv_jobs_put(jobs, &all[1].job));
    ck_assert(!srv_jobs_put(jobs, &all[2].job));
    let_pass(1);
    wait_until(&gate.begun, 2); /* the thread came back, and is not counted off twice */
    ck_assert_uint_eq(srv_jobs_get(jobs).running, 1);
    let_pass(1);
    wait_until(&gate.done, 2);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(a_removed_job_never_runs)
{
    numbered all[4] = { 0 };
    srv_jobs *jobs = line_up(all, 4);
    ck_assert(!srv_jobs_remove(jobs, &all[0].job)); /* runs already */
    ck_assert(srv_jobs_remove(jobs, &all[2].job));
    ck_assert(!srv_jobs_remove(jobs, &all[2].job));
    ck_assert(srv_jobs_remove(jobs, &all[3].job)); /* the last of the line */
    ck_assert(srv_jobs_put(jobs, &all[2].job));    /* and again at its end */
    let_pass(3);
    wait_until(&gate.done, 3);
    ck_assert_int_eq(gate.order[1], 1);
    ck_assert_int_eq(gate.order[2], 2);
    srv_jobs_free(jobs);
}
END_TEST

START_TEST(freeing_waits_for_what_runs_and_forgets_what_waits)
{
    numbered all[3] = { 0 };
    srv_jobs *jobs = srv_jobs_new(1, 10, run, &gate);
    for (int i = 0; i < 3; i++)
        ck_assert(srv_jobs_put(jobs, &all[i].job));
    wait_until(&gate.begun, 1);
    let_pass(3);
    srv_jobs_free(jobs);
    ck_assert_int_ge(gate.done, 1);
    ck_assert_int_eq(gate.done, gate.begun);
}
END_TEST

/* Jobs that step aside at once and come back when the gate opens. */
static srv_jobs *crowded;

static void run_aside(void *ctx, srv_job *job, attn_arena *arena)
{
    srv_jobs_aside(crowded, job, true);
    run(ctx, job, arena);
    srv_jobs_aside(crowded, job, false);
    srv_jobs_aside(crowded, job, false); /* once is enough */
}

START_TEST(jobs_that_step_aside_make_room_for_others)
{
    numbered all[50] = { 0 };
    crowded = srv_jobs_new(1, 0, run_aside, &gate);
    for (int i = 0; i < 50; i++) {
        all[i].number = i;
        while (!srv_jobs_put(crowded, &all[i].job))
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
        wait_until(&gate.begun, i + 1);
    }
    srv_jobs_state state = srv_jobs_get(crowded);
    ck_assert_uint_eq(state.aside, 50);
    ck_assert_uint_eq(state.running, 0);
    ck_assert_uint_eq(state.oldest_ns, 0);
    ck_assert(!state.crowded);
    let_pass(50);
    wait_until(&gate.done, 50);
    while (srv_jobs_get(crowded).aside > 0 || srv_jobs_get(crowded).running > 0)
        nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    for (int i = 0; i < 50; i++) /* and on the threads that are left */
        while (!srv_jobs_put(crowded, &all[i].job))
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    let_pass(50);
    wait_until(&gate.done, 100);
    srv_jobs_free(crowded);
}
END_TEST

/* Takes much, and steps aside with it. */
static void run_large_aside(void *ctx, srv_job *job, attn_arena *arena)
{
    void *much = attn_arena_take(arena, LARGE_BYTES, 1);
    ck_assert_ptr_eq(ctx, &gate);
    ck_assert_ptr_nonnull(much);
    memset(much, 1, LARGE_BYTES);
    srv_jobs_aside(crowded, job, true);
    pthread_mutex_lock(&gate.lock);
    gate.begun++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.open == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    srv_jobs_aside(crowded, job, false);
}

static size_t resident_bytes(void)
{
    size_t all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu %zu", &all, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(threads_that_ended_keep_no_memory)
{
    numbered all[LARGE_JOBS] = { 0 };
    crowded = srv_jobs_new(1, 0, run_large_aside, &gate);
    size_t before = resident_bytes();
    for (int i = 0; i < LARGE_JOBS; i++) {
        while (!srv_jobs_put(crowded, &all[i].job))
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
        wait_until(&gate.begun, i + 1);
    }
    ck_assert_uint_gt(resident_bytes(), before + LARGE_JOBS * (size_t)LARGE_BYTES / 2);
    let_pass(1);
    for (int look = 0; look < 3000 && resident_bytes() > before + 4 * (size_t)LARGE_BYTES; look++)
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    ck_assert_uint_le(resident_bytes(), before + 4 * (size_t)LARGE_BYTES);
    srv_jobs_free(crowded);
}
END_TEST

START_TEST(where_the_system_has_no_more_threads_it_is_crowded)
{
    static numbered all[200];
    crowded = srv_jobs_new(1, 1, run_aside, &gate);
    size_t pages = 0, page = (size_t)sysconf(_SC_PAGESIZE), put = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    ck_assert(file && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){ pages * page + ((size_t)64 << 20), RLIM_INFINITY }), 0); /* a thread's stack takes 8 MiB of it */
    while (put < 200 && !srv_jobs_get(crowded).crowded) {
        if (srv_jobs_put(crowded, &all[put].job))
            put++;
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    ck_assert_uint_lt(put, 200);
    ck_assert(srv_jobs_get(crowded).crowded);
    let_pass(200);
    wait_until(&gate.done, (int)put); /* those who come back take what is left */
    ck_assert(!srv_jobs_get(crowded).crowded);
    srv_jobs_free(crowded);
}
END_TEST

/* The first steps aside, the others compute. */
static void run_first_aside(void *ctx, srv_job *job, attn_arena *arena)
{
    if (((numbered *)(void *)job)->number == 0)
        run_aside(ctx, job, arena);
    else
        run(ctx, job, arena);
}

START_TEST(two_jobs_that_come_at_once_both_run_beside_one_that_is_aside)
{
    for (int round = 0; round < 20; round++) {
        numbered all[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
        gate.begun = gate.done = 0;
        crowded = srv_jobs_new(2, 2, run_first_aside, &gate);
        ck_assert(srv_jobs_put(crowded, &all[0].job));
        wait_until(&gate.begun, 1);
        nanosleep(&(struct timespec){ 0, 5000000 }, NULL); /* the other thread waits by now */
        ck_assert(srv_jobs_put(crowded, &all[1].job));
        ck_assert(srv_jobs_put(crowded, &all[2].job));
        wait_until(&gate.begun, 3); /* for ever, if the second waits for the first */
        let_pass(3);
        wait_until(&gate.done, 3);
        srv_jobs_free(crowded);
    }
}
END_TEST

START_TEST(no_more_jobs_step_aside_than_there_may_be_threads)
{
    static numbered all[1002];
    memset(all, 0, sizeof all);
    crowded = srv_jobs_new(1, 1, run_aside, &gate);
    gate.open = 0;
    for (int i = 0; i < 1001; i++) {
        while (!srv_jobs_put(crowded, &all[i].job))
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
        if (i < 1000)
            wait_until(&gate.begun, i + 1);
    }
    wait_until(&gate.begun, 1000);
    ck_assert(srv_jobs_get(crowded).crowded);
    let_pass(1001);
    wait_until(&gate.done, 1001);
    srv_jobs_free(crowded);
}
END_TEST

static srv_jobs *shared;

static void *put_many(void *ctx)
{
    numbered *all = ctx;
    for (int i = 0; i < 100; i++) {
        while (!srv_jobs_put(shared, &all[i].job))
            nanosleep(&(struct timespec){ 0, 100000 }, NULL);
    }
    return NULL;
}

START_TEST(many_threads_put_and_every_job_runs_once)
{
    static numbered all[4][100];
    pthread_t threads[4];
    shared = srv_jobs_new(3, 8, run, &gate);
    let_pass(400);
    for (int t = 0; t < 4; t++) {
        for (int i = 0; i < 100; i++)
            all[t][i] = (numbered){ .number = t * 100 + i };
        ck_assert_int_eq(pthread_create(&threads[t], NULL, put_many, all[t]), 0);
    }
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    wait_until(&gate.done, 400);
    bool seen[400] = { false };
    for (int i = 0; i < 400; i++) {
        ck_assert(!seen[gate.order[i]]);
        seen[gate.order[i]] = true;
    }
    srv_jobs_free(shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jobs");
    TCase *tc = tcase_create("jobs");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 60); /* a thousand threads under a sanitizer */
    tcase_add_test(tc, jobs_run_in_the_order_they_came);
    tcase_add_test(tc, a_full_queue_refuses);
    tcase_add_test(tc, jobs_that_step_aside_make_room_for_others);
    tcase_add_test(tc, two_jobs_that_come_at_once_both_run_beside_one_that_is_aside);
    if (!SANITIZED && !is_emulated()) {
        tcase_add_test(tc, threads_that_ended_keep_no_memory);
        tcase_add_test(tc, where_the_system_has_no_more_threads_it_is_crowded);
    }
    tcase_add_test(tc, no_more_jobs_step_aside_than_there_may_be_threads);
    tcase_add_test(tc, a_queue_of_none_still_feeds_idle_threads);
    tcase_add_test(tc, a_job_that_is_over_makes_room_for_the_next);
    tcase_add_test(tc, one_that_waits_may_run_within_one_that_runs);
    tcase_add_test(tc, one_that_is_put_back_is_the_first_again_and_joins_no_more);
    tcase_add_test(tc, the_last_is_put_back_into_an_empty_queue);
    tcase_add_test(tc, guests_count_where_a_queue_is_full);
    tcase_add_test(tc, none_joins_while_a_thread_could_take_it);
    tcase_add_test(tc, a_removed_job_never_runs);
    tcase_add_test(tc, freeing_waits_for_what_runs_and_forgets_what_waits);
    tcase_add_test(tc, many_threads_put_and_every_job_runs_once);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
