/* jobs.c - see jobs.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "jobs.h"

#include <pthread.h>

enum {
    KEEP_BYTES = 40 << 20,      /* what the arenas of threads that compute keep from one job to the next, all together, */
    LEAST_KEEP_BYTES = 4 << 20, /* but each at least so much */
    MOST_ASIDE = 1000           /* threads beyond those that compute */
};

typedef enum worker_state { NONE, ALIVE, ENDED } worker_state; /* ENDED: to be joined */

/* All guarded by the queue's lock. */
typedef struct worker {
    srv_jobs *jobs;
    pthread_t thread;
    attn_arena *arena;
    worker_state state;
    uint64_t since_ns; /* when its job began, or came back; 0: idle, or aside */
} worker;

struct srv_jobs {
    srv_jobs_run run; /* fixed, with ctx, capacity, threads, workers */
    void *ctx;
    size_t capacity, threads;
    worker *workers;      /* [threads + MOST_ASIDE] */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    srv_job *first, *last;
    size_t waiting, running, aside, guests;
    size_t alive, idle;    /* threads; of them those that wait for a job */
    bool short_of_threads; /* a job could run, and the system had no thread for it */
    bool closing;
};

/* Under the lock: behind `before`, which waits, or as the first of all. */
static void link_job(srv_jobs *jobs, srv_job *job, srv_job *before)
{
    job->before = before;
    job->next = before ? before->next : jobs->first;
    *(job->before ? &job->before->next : &jobs->first) = job;
    *(job->next ? &job->next->before : &jobs->last) = job;
    job->queued = true;
    jobs->waiting++;
}

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

/* Under the lock. */
static bool may_run(const srv_jobs *jobs)
{
    return jobs->first && jobs->running < jobs->threads;
}

static void call_worker(srv_jobs *jobs);

/* Under the lock, let go for as long as the job runs. */
static void run_first(worker *me)
{
    srv_jobs *jobs = me->jobs;
    srv_job *job = jobs->first;
    unlink_job(jobs, job);
    job->thread = (size_t)(me - jobs->workers);
    job->aside = false;
    jobs->running++;
    jobs->short_of_threads = false;
    me->since_ns = attn_clock_ns();
    call_worker(jobs); /* two jobs that came before this thread woke up called it both */
    pthread_mutex_unlock(&jobs->lock);
    jobs->run(jobs->ctx, job, me->arena);
    attn_arena_reset(me->arena, attn_most(KEEP_BYTES / jobs->threads, LEAST_KEEP_BYTES));
    pthread_mutex_lock(&jobs->lock);
    is_over(me);
}

static void *work(void *ctx)
{
    worker *me = ctx;
    srv_jobs *jobs = me->jobs;
    pthread_mutex_lock(&jobs->lock);
    while (!jobs->closing) {
        if (may_run(jobs)) {
            run_first(me);
        } else if (jobs->alive > jobs->threads + jobs->aside) {
            break; /* nobody is aside any more in whose place it could work */
        } else {
            jobs->idle++;
            pthread_cond_wait(&jobs->more, &jobs->lock);
            jobs->idle--;
        }
    }
    jobs->alive--;
    attn_arena_free(me->arena); /* who joins it may come much later, or never */
    me->arena = NULL;
    me->state = ENDED;
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* Of a worker that has ended, or is about to. */
static void bury(worker *w)
{
    pthread_join(w->thread, NULL);
    attn_arena_free(w->arena);
    w->arena = NULL;
    w->state = NONE;
}

/* Under the lock, or before there is anybody else. */
static bool start_worker(srv_jobs *jobs)
{
    worker *me = jobs->workers;
    while (me->state == ALIVE)
        me++;
    if (me->state == ENDED)
        bury(me);
    *me = (worker){ .jobs = jobs, .arena = attn_arena_new() };
    if (me->arena && pthread_create(&me->thread, NULL, work, me) == 0) {
        me->state = ALIVE;
        jobs->alive++;
        return true;
    }
    attn_arena_free(me->arena);
    me->arena = NULL;
    return false;
}

/* Under the lock: somebody for the first job that waits, if it may run. Where no thread is to be had it waits for one of those there are. */
static void call_worker(srv_jobs *jobs)
{
    if (!may_run(jobs))
        return;
    if (jobs->idle > 0)
        pthread_cond_signal(&jobs->more);
    else if (jobs->alive < jobs->threads + attn_least(jobs->aside, MOST_ASIDE))
        jobs->short_of_threads = !start_worker(jobs);
}

srv_jobs *srv_jobs_new(size_t threads, size_t capacity, srv_jobs_run run, void *ctx)
{
    srv_jobs *jobs = attn_calloc(1, sizeof *jobs);
    if (!jobs)
        return NULL;
    jobs->run = run;
    jobs->ctx = ctx;
    jobs->capacity = capacity;
    jobs->threads = threads;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->more, NULL);
    jobs->workers = attn_calloc(threads + MOST_ASIDE, sizeof *jobs->workers);
    bool all = jobs->workers != NULL;
    pthread_mutex_lock(&jobs->lock);
    for (size_t i = 0; i < threads && all; i++)
        all = start_worker(jobs);
    pthread_mutex_unlock(&jobs->lock);
    if (!all) {
        srv_jobs_free(jobs);
        jobs = NULL;
    }
    return jobs;
}

static bool has_thread(srv_jobs *jobs, size_t i)
{
    pthread_mutex_lock(&jobs->lock);
    bool has = jobs->workers[i].state != NONE;
    pthread_mutex_unlock(&jobs->lock);
    return has;
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
    for (size_t i = 0; jobs->workers && i < jobs->threads + MOST_ASIDE; i++)
        if (has_thread(jobs, i))
            bury(&jobs->workers[i]);
    pthread_cond_destroy(&jobs->more);
    pthread_mutex_destroy(&jobs->lock);
    attn_free(jobs->workers);
    attn_free(jobs);
}

/* Under the lock. */
static bool is_full(const srv_jobs *jobs)
{
    return jobs->closing || jobs->waiting + jobs->running + jobs->guests >= jobs->capacity + jobs->threads;
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
        link_job(jobs, job, jobs->last);
        call_worker(jobs);
    }
    pthread_mutex_unlock(&jobs->lock);
    return fits;
}

srv_job *srv_jobs_join(srv_jobs *jobs, const srv_job *host, bool (*fits)(srv_job *))
{
    pthread_mutex_lock(&jobs->lock);
    srv_job *job = jobs->running >= jobs->threads && jobs->waiting >= jobs->threads ? jobs->first : NULL;
    if (job && (job->alone || !fits(job)))
        job = NULL;
    if (job) {
        unlink_job(jobs, job);
        job->thread = host->thread;
        job->aside = false;
        job->guest = true;
        jobs->guests++;
    }
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

void srv_jobs_put_back(srv_jobs *jobs, srv_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    job->guest = false;
    job->alone = true;
    jobs->guests--;
    if (!jobs->closing) { /* else it is forgotten with the others */
        link_job(jobs, job, NULL);
        call_worker(jobs);
    }
    pthread_mutex_unlock(&jobs->lock);
}

void srv_jobs_over(srv_jobs *jobs, srv_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    if (job->guest) {
        jobs->guests--; /* its host goes on */
    } else {
        is_over(&jobs->workers[job->thread]);
        call_worker(jobs);
    }
    pthread_mutex_unlock(&jobs->lock);
}

void srv_jobs_aside(srv_jobs *jobs, srv_job *job, bool aside)
{
    worker *w = &jobs->workers[job->thread];
    pthread_mutex_lock(&jobs->lock);
    if (aside && !job->aside) {
        jobs->aside++;
        is_over(w);
        call_worker(jobs);
    } else if (!aside && job->aside) {
        jobs->aside--;
        jobs->running++;
        w->since_ns = attn_clock_ns();
        if (jobs->idle > 0 && jobs->alive > jobs->threads + jobs->aside)
            pthread_cond_signal(&jobs->more); /* one too many */
    }
    job->aside = aside;
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
    srv_jobs_state state = { .threads = jobs->threads,
                             .capacity = jobs->capacity,
                             .waiting = jobs->waiting,
                             .running = jobs->running,
                             .guests = jobs->guests,
                             .aside = jobs->aside,
                             .crowded = jobs->aside >= MOST_ASIDE || jobs->short_of_threads };
    for (size_t i = 0; i < jobs->threads + MOST_ASIDE; i++) {
        uint64_t since = jobs->workers[i].since_ns;
        if (since && (state.oldest_ns == 0 || since < state.oldest_ns))
            state.oldest_ns = since;
    }
    pthread_mutex_unlock(&jobs->lock);
    return state;
}
