/* jobs.h - a bounded queue and the threads that work it off, first come first served.
 *
 * A job that waits for somebody outside (a client that reads slowly) steps aside, and another may run in its place, on a thread that is started for it and ends
 * when it is not needed any more. So no more than `threads` jobs compute, but for the moment in which one comes back.
 *
 * A job may take those that wait behind it into its own run, as guests, where they are done sooner so.
 *
 * "Full" counts what waits beyond the threads that are free: with a queue of 0 a job is still taken while a thread has nothing to do.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBS_H
#define JOBS_H

#include "attn_base.h"

/* Part of whatever is to be done; the owner keeps it alive until run has been called or srv_jobs_remove said true. Zero before the first put. */
typedef struct srv_job {
    struct srv_job *next, *before; /* guarded by the queue's lock */
    bool queued;                   /* likewise */
    size_t thread;                 /* that runs it */
    bool aside;                    /* it stepped aside; the job's own */
    bool guest;                    /* it runs within another job */
    bool alone;                    /* it was put back: from now on it is nobody's guest */
} srv_job;

typedef struct srv_jobs srv_jobs;

/* Runs on one of the threads, `arena` being that thread's own and empty. */
typedef void (*srv_jobs_run)(void *ctx, srv_job *, attn_arena *arena);

/* NULL: no memory, or no threads to be had. */
srv_jobs *srv_jobs_new(size_t threads, size_t capacity, srv_jobs_run, void *ctx);
/* Waits for the jobs that run, forgets those that wait, joins the threads. NULL is fine. */
void srv_jobs_free(srv_jobs *);

bool srv_jobs_full(srv_jobs *);
bool srv_jobs_put(srv_jobs *, srv_job *); /* false: full */
/* From within its run: nothing is left of the job but to say so, and whoever comes next is not to find its thread busy. */
void srv_jobs_over(srv_jobs *, srv_job *);
/* From within the run of `host`: takes the first that waits, to be run within this run, on its thread; the end of it is srv_jobs_over, or srv_jobs_put_back. NULL:
 * `fits`, which is asked under the queue's lock, says no to it; or another thread is free for it; or fewer wait than there are threads, so that one that
 * comes free soon would find nothing. */
srv_job *srv_jobs_join(srv_jobs *, const srv_job *host, bool (*fits)(srv_job *));
/* It was not run after all, and is the first again. */
void srv_jobs_put_back(srv_jobs *, srv_job *);
/* From within its run: it waits for somebody outside from now on, or no longer. */
void srv_jobs_aside(srv_jobs *, srv_job *, bool aside);
bool srv_jobs_remove(srv_jobs *, srv_job *); /* true: it was waiting, will never run, and is the caller's again */

typedef struct srv_jobs_state {
    size_t threads, capacity, waiting, running;
    size_t guests;      /* that run within those */
    size_t aside;       /* jobs that stepped aside: neither waiting nor running */
    bool crowded;       /* so many that the next one to step aside would not be replaced, or the last one was not */
    uint64_t oldest_ns; /* attn_clock_ns() at which the job that runs longest began; 0: none runs */
} srv_jobs_state;
srv_jobs_state srv_jobs_get(srv_jobs *);

#endif
