/* runtime.c - the kernels this CPU gets and the pool, in one handle.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/runtime.h"

#include <jansson.h>

enum { MAX_THREADS = 1024 };

static attn_status pick_kernels(attn_runtime *rt, const char *name, attn_error *err)
{
    rt->kernels = attn_kernels_find(name);
    if (!rt->kernels)
        return attn_fail(err, ATTN_E_UNSUPPORTED, "kernels", "this CPU or this build has no kernels named \"%s\"", name);
    rt->gemm = attn_gemm_find(rt->kernels);
    if (!rt->gemm)
        return attn_fail(err, ATTN_E_UNSUPPORTED, "kernels", "BLIS has no matrix kernel that goes with \"%s\"", rt->kernels->name);
    return ATTN_OK;
}

attn_status attn_runtime_new(attn_runtime **out, const attn_runtime_options *options, attn_error *err)
{
    *out = NULL;
    int threads = options->threads ? options->threads : attn_cpus_allowed();
    if (threads < 1 || threads > MAX_THREADS)
        return attn_fail(err, ATTN_E_INPUT, "threads", "%d threads asked for; 1 to %d are possible", threads, MAX_THREADS);
    json_set_alloc_funcs(attn_malloc, attn_free); /* so that tests can fail jansson's allocations too */
    attn_runtime *rt = attn_calloc(1, sizeof *rt);
    if (!rt)
        return attn_fail_memory(err);
    rt->memory = options->memory;
    attn_status st = pick_kernels(rt, options->kernels ? options->kernels : "auto", err);
    if (st == ATTN_OK)
        st = attn_thread_pool_init(&rt->pool, threads, err);
    if (st == ATTN_OK)
        *out = rt;
    else
        attn_free(rt);
    return st;
}

void attn_runtime_free(attn_runtime *rt)
{
    if (!rt)
        return;
    attn_thread_pool_fini(&rt->pool);
    attn_free(rt);
}

int attn_runtime_threads(const attn_runtime *rt)
{
    return rt->pool.threads;
}

const char *attn_runtime_kernels(const attn_runtime *rt)
{
    return rt->kernels->name;
}

const char *attn_runtime_gemm_kernel(const attn_runtime *rt)
{
    return attn_gemm_name(rt->gemm);
}

const attn_kernels *attn_runtime_table(const attn_runtime *rt)
{
    return rt->kernels;
}

const attn_gemm *attn_runtime_gemm(const attn_runtime *rt)
{
    return rt->gemm;
}
