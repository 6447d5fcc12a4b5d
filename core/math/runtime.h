/* math/runtime.h - what a runtime is made of, for core's own eyes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_RUNTIME_INTERNAL_H
#define ATTN_RUNTIME_INTERNAL_H

#include "math/gemm.h"

#include <pthread.h>

/* One attn_parallel call: on its caller's stack, in the pool's list while indices are left. */
typedef struct attn_batch {
    struct attn_batch *next;
    void (*task)(void *ctx, size_t i, int slot);
    void *ctx;
    size_t n, taken, done; /* under the pool's lock */
} attn_batch;

typedef struct attn_thread_pool {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t work;  /* a batch came, a place became free, or the end */
    pthread_cond_t done;  /* a batch's last task is done */
    attn_batch *batches;
    int threads; /* that may work at a time */
    int working; /* entered callers and helping pool threads */
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
