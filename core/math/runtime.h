/* math/runtime.h - what a runtime is made of, for core's own eyes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_RUNTIME_INTERNAL_H
#define ATTN_RUNTIME_INTERNAL_H

#include "math/gemm.h"

#include <pthread.h>
#include <stdatomic.h>

/* One attn_parallel call: on its caller's stack, in the pool's list until its numbers are used up. */
typedef struct attn_batch {
    struct attn_batch *next;
    void (*task)(void *ctx, size_t i, int slot);
    void *ctx;
    size_t n;
    _Atomic uint64_t taken; /* numbers given away: pool.c; runs past n */
    atomic_int helpers;     /* that joined and have not left; they join under the lock */
} attn_batch;

typedef struct attn_thread_pool {
    pthread_mutex_t lock; /* protects the list, and who joins and sleeps */
    pthread_cond_t work;  /* a batch came, a place became free, or the end */
    pthread_cond_t done;  /* a batch's last helper left */
    attn_batch *batches;
    atomic_uint posted;             /* batches so far, for those who wait for one with open eyes */
    _Atomic uint64_t company_until; /* attn_clock_ns() before which nobody looks: other processes want the CPUs */
    atomic_int awaiting;            /* callers asleep until their helpers have left */
    int threads;                    /* that may work at a time */
    atomic_int working;             /* entered callers and helping pool threads */
    int watching;                   /* helpers that look for a batch and need not be woken */
    bool closing;
    int num_helpers; /* threads - 1 */
    pthread_t *helpers;
} attn_thread_pool;

struct attn_runtime {
    const attn_kernels *kernels;
    const attn_gemm *gemm;
    uint64_t memory; /* that a model may take; 0: what is free */
    attn_thread_pool pool;
};

ATTN_MUST_CHECK attn_status attn_thread_pool_init(attn_thread_pool *, int threads, attn_error *);
void attn_thread_pool_fini(attn_thread_pool *);

#endif
