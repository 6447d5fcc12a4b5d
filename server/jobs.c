/* jobs.c - see jobs.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "jobs.h"

#include <pthread.h>

/* What arenas keep from one job to the next: all together, but each at least so much. */
enum { KEEP_BYTES = 40 << 20, LEAST_KEEP_BYTES = 4 << 20 };

typedef struct worker {
    srv_jobs *jobs;
    pthread_t thread;
    attn_arena *arena;
    uint64_t since_ns; /* when its job began, 0: idle; guarded by the queue's lock */
} worker;

struct srv_jobs {
    srv_jobs_run run; /* fixed, with ctx, capacity, num_workers, workers */
    void *ctx;
    size_t capacity, num_workers;
    worker *workers;
    size_t threads;       /* fixed once srv_jobs_new has returned */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    srv_job *first, *last;
    size_t waiting, running;
    bool closing;
};

/* Under the lock. */
static void unlink_job(srv_jobs *jobs, srv_job *job)
{
    *(job->before ? &job->before->next : &jobs->first) = job->next;
    *(job->next ? &job->next->before : &jobs->last) = job->before;
    job->next = job->before = NULL;
    job->queued = false;
    jobs->waiting--;
}

/* Under the lock. */
static void is_over(worker *w)
{
    w->jobs->running -= w->since_ns != 0;
    w->since_ns = 0;
}

static void *work(void *ctx)
{
    worker *me = ctx;
    srv_jobs *jobs = me->jobs;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        while (!jobs->first && !jobs->closing)
            pthread_cond_wait(&jobs->more, &jobs->lock);
        if (jobs->closing)
            break;
        srv_job *job = jobs->first;
        unlink_job(jobs, job);
        job->thread = (size_t)(me - jobs->workers);
        jobs->running++;
        me->since_ns = attn_clock_ns();
        pthread_mutex_unlock(&jobs->lock);
        jobs->run(jobs->ctx, job, me->arena);
        attn_arena_reset(me->arena, attn_most(KEEP_BYTES / jobs->num_workers, LEAST_KEEP_BYTES));
        pthread_mutex_lock(&jobs->lock);
        is_over(me);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

static bool start_worker(srv_jobs *jobs)
{
    worker *me = &jobs->workers[jobs->threads];
    *me = (worker){ .jobs = jobs, .arena = attn_arena_new() };
    if (me->arena && pthread_create(&me->thread, NULL, work, me) == 0) {
        jobs->threads++;
        return true;
    }
    attn_arena_free(me->arena);
    return false;
}

srv_jobs *srv_jobs_new(size_t threads, size_t capacity, srv_jobs_run run, void *ctx)
{
    srv_jobs *jobs = attn_calloc(1, sizeof *jobs);
    if (!jobs)
        return NULL;
    jobs->run = run;
    jobs->ctx = ctx;
    jobs->capacity = capacity;
    jobs->num_workers = threads;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->more, NULL);
    jobs->workers = attn_calloc(threads, sizeof *jobs->workers);
    bool all = jobs->workers != NULL;
    while (all && jobs->threads < threads)
        all = start_worker(jobs);
    if (!all) {
        srv_jobs_free(jobs);
        jobs = NULL;
    }
    return jobs;
}

void srv_jobs_free(srv_jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->closing = true;
    while (jobs->first)
        unlink_job(jobs, jobs->first);
    pthread_cond_broadcast(&jobs->more);
    pthread_mutex_unlock(&jobs->lock);
    for (size_t i = 0; i < jobs->threads; i++) {
        pthread_join(jobs->workers[i].thread, NULL);
        attn_arena_free(jobs->workers[i].arena);
    }
    pthread_cond_destroy(&jobs->more);
    pthread_mutex_destroy(&jobs->lock);
    attn_free(jobs->workers);
    attn_free(jobs);
}

/* Under the lock. */
static bool is_full(const srv_jobs *jobs)
{
    return jobs->closing || jobs->waiting + jobs->running >= jobs->capacity + jobs->threads;
}

bool srv_jobs_full(srv_jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    bool full = is_full(jobs);
    pthread_mutex_unlock(&jobs->lock);
    return full;
}

bool srv_jobs_put(srv_jobs *jobs, srv_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    bool fits = !is_full(jobs);
    if (fits) {
        job->next = NULL;
        job->before = jobs->last;
        *(jobs->last ? &jobs->last->next : &jobs->first) = job;
        jobs->last = job;
        job->queued = true;
        jobs->waiting++;
        pthread_cond_signal(&jobs->more);
    }
    pthread_mutex_unlock(&jobs->lock);
    return fits;
}

void srv_jobs_over(srv_jobs *jobs, srv_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    is_over(&jobs->workers[job->thread]);
    pthread_mutex_unlock(&jobs->lock);
}

bool srv_jobs_remove(srv_jobs *jobs, srv_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    bool was_waiting = job->queued;
    if (was_waiting)
        unlink_job(jobs, job);
    pthread_mutex_unlock(&jobs->lock);
    return was_waiting;
}

srv_jobs_state srv_jobs_get(srv_jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    srv_jobs_state state = { jobs->threads, jobs->capacity, jobs->waiting, jobs->running, 0 };
    for (size_t i = 0; i < jobs->threads; i++) {
        uint64_t since = jobs->workers[i].since_ns;
        if (since && (state.oldest_ns == 0 || since < state.oldest_ns))
            state.oldest_ns = since;
    }
    pthread_mutex_unlock(&jobs->lock);
    return state;
}
