/* pool.c - one pool of threads that help whoever asks, and never more of them than the machine has.
 *
 * A batch is a row of tasks with numbers 0 to n - 1. Its caller works on it and leaves only when all are done; helpers take numbers from it while fewer threads work
 * than may. A helper looks again after every task, so that a request that comes in gets its CPU back within one task. Nobody spins: whoever has
 * nothing to do sleeps on a condition variable. One lock guards everything; tasks are tens of microseconds long, so it is not fought over.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/runtime.h"

static _Thread_local bool inside_task;

typedef struct helper_start {
    attn_thread_pool *pool;
    int slot;
} helper_start;

/* A batch with numbers left, or NULL. Under the lock. */
static attn_batch *open_batch(attn_thread_pool *p)
{
    for (attn_batch *b = p->batches; b; b = b->next)
        if (b->taken < b->n)
            return b;
    return NULL;
}

/* Takes and runs one task of b. Entered and left with the lock held. */
static void run_one(attn_thread_pool *p, attn_batch *b, int slot)
{
    size_t i = b->taken++;
    pthread_mutex_unlock(&p->lock);
    inside_task = true;
    b->task(b->ctx, i, slot);
    inside_task = false;
    pthread_mutex_lock(&p->lock);
    if (++b->done == b->n)
        pthread_cond_broadcast(&p->done);
}

static void *help(void *arg)
{
    helper_start start = *(helper_start *)arg;
    attn_thread_pool *p = start.pool;
    attn_free(arg);
    pthread_mutex_lock(&p->lock);
    while (!p->closing) {
        attn_batch *b = p->working < p->threads ? open_batch(p) : NULL;
        if (!b) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        p->working++;
        do
            run_one(p, b, start.slot);
        while (p->working <= p->threads && (b = open_batch(p)) != NULL);
        p->working--;
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
    pthread_mutex_lock(&rt->pool.lock);
    rt->pool.working++;
    pthread_mutex_unlock(&rt->pool.lock);
}

void attn_runtime_leave(attn_runtime *rt)
{
    attn_thread_pool *p = &rt->pool;
    pthread_mutex_lock(&p->lock);
    p->working--;
    if (open_batch(p))
        pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

static void unlink_batch(attn_thread_pool *p, attn_batch *b)
{
    attn_batch **at = &p->batches;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
}

void attn_parallel(attn_runtime *rt, size_t n, void (*task)(void *ctx, size_t i, int slot), void *ctx)
{
    attn_thread_pool *p = &rt->pool;
    if (n <= 1 || p->threads == 1 || inside_task) {
        for (size_t i = 0; i < n; i++)
            task(ctx, i, 0);
        return;
    }
    attn_batch b = { .task = task, .ctx = ctx, .n = n };
    pthread_mutex_lock(&p->lock);
    b.next = p->batches;
    p->batches = &b;
    int idle = p->threads - p->working;
    for (int i = 0; i < idle && (size_t)i + 1 < n; i++)
        pthread_cond_signal(&p->work);
    while (b.taken < b.n)
        run_one(p, &b, 0);
    while (b.done < b.n)
        pthread_cond_wait(&p->done, &p->lock);
    unlink_batch(p, &b);
    pthread_mutex_unlock(&p->lock);
}
