/* pool.c - one pool of threads that help whoever asks, and never more of them than the machine has.
 *
 * A batch is a row of tasks with numbers 0 to n - 1. Its caller works on it and leaves only when all are done; helpers take numbers from it while fewer threads
 * work than may. A number is taken without a lock; joining a batch needs it, and a caller that has used up the numbers waits for those who joined.
 * A helper looks around after every task, so that a request that comes in gets its CPU back within one task.
 *
 * Batches of one request follow each other within microseconds, and waking a thread costs as many on both sides. So whoever waits for the next batch, or for a
 * helper's last task, looks out for LOOK_NS at most, and only while a request runs and a place is free. It yields the CPU at every look: another process that
 * wants it has it. Then it sleeps on a condition variable. Where another process took the CPU, nobody looks for a while: who yields waits for the end of that one's
 * slice, milliseconds, who sleeps is woken at once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/runtime.h"

#include <sched.h>

enum {
    LOOK_NS = 20 * 1000,           /* a few tasks' length */
    TAKEN_NS = 500 * 1000,         /* a look that took so long: somebody else had the CPU */
    COMPANY_NS = 100 * 1000 * 1000 /* how long nobody looks then */
};

static _Thread_local bool inside_task;

typedef struct helper_start {
    attn_thread_pool *pool;
    int slot;
} helper_start;

/* Numbers are taken from both ends: by the caller from the first on, by helpers from the last one back. Where tasks follow the rows of a matrix, each core so finds in
 * its own cache what it wrote in the section before. `taken` counts both, helpers' in its upper half. */
static const uint64_t from_back = (uint64_t)1 << 32;

static size_t left(const attn_batch *b, uint64_t taken)
{
    uint64_t sum = taken % from_back + taken / from_back;
    return sum < b->n ? b->n - (size_t)sum : 0;
}

static bool take(attn_batch *b, int slot, size_t *i)
{
    uint64_t taken = atomic_fetch_add(&b->taken, slot == 0 ? 1 : from_back);
    *i = slot == 0 ? (size_t)(taken % from_back) : b->n - 1 - (size_t)(taken / from_back);
    return left(b, taken) > 0;
}

/* A batch with numbers left, or NULL. Under the lock. */
static attn_batch *open_batch(attn_thread_pool *p)
{
    for (attn_batch *b = p->batches; b; b = b->next)
        if (left(b, atomic_load(&b->taken)) > 0)
            return b;
    return NULL;
}

/* Runs tasks of b until there are none, or more threads work than may and this one is to go first. */
static void run_tasks(attn_thread_pool *p, attn_batch *b, int slot)
{
    inside_task = true;
    for (size_t i; (slot == 0 || atomic_load(&p->working) <= p->threads) && take(b, slot, &i);)
        b->task(b->ctx, i, slot);
    inside_task = false;
}

/* The batch is gone as soon as its last helper has left it: what follows must not touch it. */
static void leave_batch(attn_thread_pool *p, attn_batch *b)
{
    if (atomic_fetch_sub(&b->helpers, 1) > 1 || atomic_load(&p->awaiting) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
}

/* Entered and left with the lock held. */
static void help_batch(attn_thread_pool *p, attn_batch *b, int slot)
{
    atomic_fetch_add(&b->helpers, 1);
    atomic_fetch_add(&p->working, 1);
    pthread_mutex_unlock(&p->lock);
    run_tasks(p, b, slot);
    leave_batch(p, b);
    pthread_mutex_lock(&p->lock);
    atomic_fetch_sub(&p->working, 1);
}

/* Whether to look once more, having begun at `start`. */
static bool look_on(attn_thread_pool *p, uint64_t start)
{
    uint64_t before = attn_clock_ns();
    if (before - start >= LOOK_NS || before < atomic_load(&p->company_until))
        return false;
    sched_yield();
    uint64_t now = attn_clock_ns();
    if (now - before > TAKEN_NS)
        atomic_store(&p->company_until, now + COMPANY_NS);
    return true;
}

static bool has_room(attn_thread_pool *p)
{
    return atomic_load(&p->working) < p->threads;
}

/* A short look for the next batch, then sleep until somebody calls. Entered and left with the lock held. */
static void await_work(attn_thread_pool *p)
{
    unsigned seen = atomic_load(&p->posted);
    p->watching++;
    pthread_mutex_unlock(&p->lock);
    uint64_t start = attn_clock_ns();
    while (atomic_load(&p->posted) == seen && atomic_load(&p->working) > 0 && has_room(p) && look_on(p, start))
        ;
    pthread_mutex_lock(&p->lock);
    p->watching--;
    if (!(has_room(p) && open_batch(p)) && !p->closing)
        pthread_cond_wait(&p->work, &p->lock);
}

static void *help(void *arg)
{
    helper_start start = *(helper_start *)arg;
    attn_thread_pool *p = start.pool;
    attn_free(arg);
    pthread_mutex_lock(&p->lock);
    while (!p->closing) {
        attn_batch *b = has_room(p) ? open_batch(p) : NULL;
        if (b)
            help_batch(p, b, start.slot);
        else
            await_work(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static attn_status start_helper(attn_thread_pool *p, attn_error *err)
{
    helper_start *start = attn_malloc(sizeof *start);
    if (!start)
        return attn_fail_memory(err);
    *start = (helper_start){ .pool = p, .slot = p->num_helpers + 1 };
    if (pthread_create(&p->helpers[p->num_helpers], NULL, help, start) != 0) {
        attn_free(start);
        return attn_fail(err, ATTN_E_IO, "threads", "the system refused thread %d of %d", p->num_helpers + 2, p->threads);
    }
    p->num_helpers++;
    return ATTN_OK;
}

attn_status attn_thread_pool_init(attn_thread_pool *p, int threads, attn_error *err)
{
    *p = (attn_thread_pool){ .threads = threads };
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->helpers = attn_calloc((size_t)threads, sizeof *p->helpers);
    attn_status st = p->helpers ? ATTN_OK : attn_fail_memory(err);
    for (int i = 1; st == ATTN_OK && i < threads; i++)
        st = start_helper(p, err);
    if (st != ATTN_OK)
        attn_thread_pool_fini(p);
    return st;
}

void attn_thread_pool_fini(attn_thread_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->num_helpers; i++)
        pthread_join(p->helpers[i], NULL);
    attn_free(p->helpers);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    *p = (attn_thread_pool){ .threads = 0 };
}

void attn_runtime_enter(attn_runtime *rt)
{
    atomic_fetch_add(&rt->pool.working, 1);
}

void attn_runtime_leave(attn_runtime *rt)
{
    attn_thread_pool *p = &rt->pool;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_sub(&p->working, 1);
    if (open_batch(p))
        pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

/* Shows the batch to helpers and calls as many as there is room for, less those that are looking. */
static void post(attn_thread_pool *p, attn_batch *b)
{
    pthread_mutex_lock(&p->lock);
    b->next = p->batches;
    p->batches = b;
    atomic_fetch_add(&p->posted, 1);
    int room = p->threads - atomic_load(&p->working), wanted = b->n - 1 < (size_t)room ? (int)b->n - 1 : room, calls = wanted - p->watching;
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < calls; i++)
        pthread_cond_signal(&p->work);
}

/* Takes the batch from the list; returns when nobody works on it any more. */
static void finish(attn_thread_pool *p, attn_batch *b)
{
    pthread_mutex_lock(&p->lock);
    attn_batch **at = &p->batches;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    pthread_mutex_unlock(&p->lock);
    uint64_t start = attn_clock_ns();
    while (atomic_load(&b->helpers) > 0 && look_on(p, start))
        ;
    if (atomic_load(&b->helpers) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->awaiting, 1);
    while (atomic_load(&b->helpers) > 0)
        pthread_cond_wait(&p->done, &p->lock);
    atomic_fetch_sub(&p->awaiting, 1);
    pthread_mutex_unlock(&p->lock);
}

void attn_parallel(attn_runtime *rt, size_t n, void (*task)(void *ctx, size_t i, int slot), void *ctx)
{
    attn_thread_pool *p = &rt->pool;
    if (n <= 1 || n >= from_back / 2 || p->threads == 1 || inside_task) {
        for (size_t i = 0; i < n; i++)
            task(ctx, i, 0);
        return;
    }
    attn_batch b = { .task = task, .ctx = ctx, .n = n };
    post(p, &b);
    run_tasks(p, &b, 0);
    finish(p, &b);
}
