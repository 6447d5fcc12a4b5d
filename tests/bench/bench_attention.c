/* bench_attention.c - one layer's attention as models have it, beside what its arithmetic alone takes: flops of what is seen / peak + numbers seen * a softmax's
 * cost for each, both measured in the same run. Whole maps, causal ones and windows of 64 keys; map and context, map alone, context alone.
 *
 *     bench_attention [THREADS]
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"
#include "bench.h"
#include "math/gemm.h"

#include <time.h>

enum { WALKS = 4 };

typedef struct shape {
    size_t heads, d, T;
    int64_t window; /* 0: everybody sees everybody; negative: causal; else causal with so many keys */
    bool map, context;
} shape;

typedef struct walk {
    attn_runtime *rt;
    attn_arena *arena;
    attn_operator_input in;
    attn_attention_out out;
} walk;

static void run_walk(walk *w)
{
    attn_runtime_enter(w->rt);
    if (attn_attention(w->rt, &w->in, &w->out, w->arena, NULL, NULL) != ATTN_OK)
        exit(EXIT_FAILURE);
    attn_runtime_leave(w->rt);
}

typedef struct row {
    const attn_kernels *table;
    float *y;
    const float *x;
    size_t n;
} row;

static void run_copy(void *ctx)
{
    row *r = ctx;
    memcpy(r->y, r->x, r->n * sizeof *r->y);
}

static void run_softmax(void *ctx)
{
    row *r = ctx;
    run_copy(r);
    r->table->softmax_row(r->y, r->n);
}

/* Of the process where it is one thread: other work on the machine does not count then. */
static double clock_now(attn_runtime *rt)
{
    struct timespec t;
    clock_gettime(attn_runtime_threads(rt) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of one walk, in seconds, of a quarter of a second of them. */
static double best_walk(walk *w)
{
    double begin = seconds(), best = 1e9;
    run_walk(w);
    do {
        double start = clock_now(w->rt);
        for (int i = 0; i < WALKS; i++)
            run_walk(w);
        double t = (clock_now(w->rt) - start) / WALKS;
        best = t < best ? t : best;
    } while (seconds() - begin < 0.25);
    return best;
}

/* Seconds for one number of a row in the first-level cache. */
static double measure_softmax(const attn_kernels *table)
{
    row r = { table, floats(4096), floats(4096), 4096 };
    return (best_time(run_softmax, &r) - best_time(run_copy, &r)) / 4096;
}

static double keys_seen(const shape *s)
{
    double n = 0;
    for (size_t i = 0; i < s->T; i++)
        n += s->window == 0 ? (double)s->T : (double)(s->window < 0 || i < (size_t)s->window ? i + 1 : (size_t)s->window);
    return n;
}

static void bench(attn_runtime *rt, const shape *s, double peak, double softmax)
{
    const size_t n = s->T * s->heads * s->d;
    attn_heads heads = { NULL, (ptrdiff_t)s->d, (ptrdiff_t)(s->heads * s->d) };
    walk w = { .rt = rt, .arena = attn_arena_new() };
    w.in = (attn_operator_input){ .num_attention_heads = s->heads, .num_key_value_heads = s->heads, .T_q = s->T, .T_k = s->T };
    w.in.head_dim = w.in.value_dim = s->d;
    w.in.query = w.in.key = w.in.value = heads;
    float *query = floats(n), *key = floats(n), *value = floats(n);
    w.in.query.data = query, w.in.key.data = key, w.in.value.data = value;
    w.in.rules = (attn_rules){
        .scale = 0.18f, .is_causal = s->window != 0, .left_window_size = s->window > 0 ? s->window - 1 : -1, .right_window_size = -1, .key_length = s->T
    };
    w.out = (attn_attention_out){ .attentions = s->map ? floats(s->heads * s->T * s->T) : NULL, .context = s->context ? floats(n) : NULL };
    w.out.context_head_stride = heads.head_stride, w.out.context_row_stride = heads.row_stride;
    double took = best_walk(&w), seen = keys_seen(s) * (double)s->heads, flops = seen * 2 * (double)(s->d * (s->context ? 2 : 1));
    double least = (flops / peak + seen * softmax) / attn_runtime_threads(rt);
    printf("| %zu | %zu x %zu | %s | %s | %.1f | %.1f | %.2f |\n", s->T, s->heads, s->d,
           s->window == 0  ? "all"
           : s->window < 0 ? "causal"
                           : "window",
           s->map && s->context ? "map, context"
           : s->map             ? "map"
                                : "context",
           took * 1e6, least * 1e6, took / least);
    fflush(stdout);
    free(w.out.attentions);
    free(w.out.context);
    free(query);
    free(key);
    free(value);
    attn_arena_free(w.arena);
}

int main(int argc, char **argv)
{
    static const shape shapes[] = { { 12, 32, 8, 0, true, true },      { 12, 32, 16, 0, true, true },    { 12, 32, 32, 0, true, true },
                                    { 12, 32, 128, 0, true, true },    { 12, 32, 512, 0, true, true },   { 12, 64, 8, 0, true, true },
                                    { 12, 64, 16, 0, true, true },     { 12, 64, 32, 0, true, true },    { 12, 64, 128, 0, true, true },
                                    { 12, 64, 512, 0, true, true },    { 12, 64, 512, 0, true, false },  { 12, 64, 512, 0, false, true },
                                    { 12, 64, 512, -1, true, true },   { 12, 64, 512, -1, false, true }, { 12, 64, 2048, -1, false, true },
                                    { 4, 64, 4096, 0, false, true },   { 4, 64, 4096, 64, false, true }, { 4, 64, 4096, 64, true, true },
                                    { 4, 64, 4096, 1024, false, true } };
    const attn_kernels *table = attn_kernels_find("auto");
    double peak = 1e9 * measure_peak(), softmax = measure_softmax(table);
    attn_runtime *rt;
    if (attn_runtime_new(&rt, &(attn_runtime_options){ .threads = argc > 1 ? atoi(argv[1]) : 1 }, NULL) != ATTN_OK)
        return EXIT_FAILURE;
    printf("%d thread(s), %s; a softmax takes %.3f ns a number, rows of 4096\n\n", attn_runtime_threads(rt), attn_runtime_gemm_kernel(rt), softmax * 1e9);
    printf("| tokens | heads | sees | makes | us | flops / peak + softmax, us | ratio |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        bench(rt, &shapes[i], peak, softmax);
    attn_runtime_free(rt);
    return EXIT_SUCCESS;
}
