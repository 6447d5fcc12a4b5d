/* attn_runtime.h - the machine as core sees it: which kernels the CPU runs, and the one pool of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_RUNTIME_H
#define ATTN_RUNTIME_H

#include "attn_base.h"

typedef struct attn_runtime attn_runtime;

typedef struct attn_runtime_options {
    int threads;         /* 0: attn_cpus_allowed() */
    const char *kernels; /* NULL or "auto", "ref", "avx2", "avx512", "neon"; one this CPU cannot run is ATTN_E_UNSUPPORTED */
    uint64_t memory;     /* bytes that a model may take when it is opened; 0: attn_memory_free() at that time */
} attn_runtime_options;

/* The kernel table is a function of the CPU (features, family) and of the option, never of a timing: one machine gives the same bits
 * every time. BLIS is set up here, once, with one thread of its own. Make one runtime a process (tests may make several). */
ATTN_MUST_CHECK attn_status attn_runtime_new(attn_runtime **out, const attn_runtime_options *, attn_error *);
void attn_runtime_free(attn_runtime *); /* NULL is fine; no call may be running */

int attn_runtime_threads(const attn_runtime *);
const char *attn_runtime_kernels(const attn_runtime *);     /* "avx512" */
const char *attn_runtime_gemm_kernel(const attn_runtime *); /* "own 48x8" */

/* CPUs this process may use: the smaller of its affinity and its cgroup's quota (v1 and v2, every level up), at least 1. */
int attn_cpus_allowed(void);
/* Bytes this process may use: the smaller of physical memory and its cgroup's limit. */
uint64_t attn_memory_allowed(void);
/* Of those, bytes that are free now: the smaller of what the system can give without swapping and what the cgroup's limit leaves beside this process. */
uint64_t attn_memory_free(void);

/* ---- the pool ------------------------------------------------------------------------------------------------------- *
 * A thread that works on a request brackets the work with enter and leave. Idle pool threads then help it in attn_parallel, as long as
 * no more threads work than the runtime has: with as many requests as threads each runs alone and nothing is handed around; one
 * request alone gets the whole machine. Nobody spins: who waits looks out for 20 us at most, yields the CPU at every look, and sleeps
 * then (pool.c). Results never depend on who helped: work is cut the same way for any number of threads, and never inside a sum. */
void attn_runtime_enter(attn_runtime *);
void attn_runtime_leave(attn_runtime *);

/* Calls task(ctx, i, slot) once for each i in [0, n), on this thread and on whoever helps; returns when all are done. `slot` is below
 * attn_runtime_threads() and names the thread within this call, for scratch memory. A nested call runs inline. */
void attn_parallel(attn_runtime *, size_t n, void (*task)(void *ctx, size_t i, int slot), void *ctx);

#endif
