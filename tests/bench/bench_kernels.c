/* bench_kernels.c - what the kernels reach on this machine, one core, beside the FMA peak measured in the same run. Prints tables in Markdown.
 * Each figure is the best of several runs of a few milliseconds: a machine that does other work only ever makes a run longer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"
#include "math/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- matrix products ---------------------------------------------------------------------------------------------------- */

typedef struct product {
    attn_runtime *rt;
    attn_arena *arena;
    attn_panels w;
    float *x, *y;
    const float *bias;
    size_t m;
    attn_activation act;
} product;

static void run_linear(void *ctx)
{
    product *p = ctx;
    attn_runtime_enter(p->rt);
    if (attn_linear(p->rt, p->y, p->w.n, p->x, p->w.k, p->m, &p->w, p->bias, p->act, p->arena, NULL) != ATTN_OK)
        exit(EXIT_FAILURE);
    attn_runtime_leave(p->rt);
}

static double gflops(attn_runtime *rt, size_t m, size_t n, size_t k)
{
    const attn_gemm *g = attn_runtime_gemm(rt);
    float *w = floats(n * k), *packed = floats(attn_gemm_panel_bytes(g, n, k) / sizeof(float));
    attn_gemm_pack(g, packed, w, n, k, (ptrdiff_t)k, 1);
    product p = { rt, attn_arena_new(), { packed, n, k }, floats(m * k), floats(m * n), NULL, m, ATTN_ACT_NONE };
    double speed = 2e-9 * (double)(m * n * k) / best_time(run_linear, &p);
    attn_arena_free(p.arena);
    free(w);
    free(packed);
    free(p.x);
    free(p.y);
    return speed;
}

static void bench_products(const attn_kernels *table, double peak, int threads)
{
    static const size_t tokens[] = { 8, 16, 32, 128, 512 },
                        shapes[][2] = { { 384, 384 }, { 1536, 384 }, { 384, 1536 }, { 768, 768 }, { 3072, 768 }, { 768, 3072 } };
    attn_runtime *rt;
    attn_runtime_options options = { .threads = threads, .kernels = table->name };
    if (attn_runtime_new(&rt, &options, NULL) != ATTN_OK)
        exit(EXIT_FAILURE);
    printf("attn_linear, %s, %s, %d thread(s): GFLOP/s (share of the peak)\n\n| out x in | 8 | 16 | 32 | 128 | 512 tokens |\n|---|---|---|---|---|---|\n",
           table->name, attn_runtime_gemm_kernel(rt), threads);
    for (size_t s = 0; s < 6; s++) {
        printf("| %zu x %zu |", shapes[s][0], shapes[s][1]);
        for (size_t t = 0; t < 5; t++) {
            double speed = gflops(rt, tokens[t], shapes[s][0], shapes[s][1]);
            printf(" %.0f (%.0f %%) |", speed, 100 * speed / (peak * threads));
            fflush(stdout);
        }
        printf("\n");
    }
    printf("\n");
    attn_runtime_free(rt);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

enum { ROWS = 16 };

typedef struct rows {
    const attn_kernels *table;
    float *y;
    const float *x, *gain;
    size_t n;
    attn_activation act;
} rows;

/* In-place kernels work on a fresh copy of x each time; run_copy measures what that costs. */
static void run_copy(void *ctx)
{
    rows *r = ctx;
    memcpy(r->y, r->x, ROWS * r->n * sizeof *r->y);
}

static void run_softmax(void *ctx)
{
    rows *r = ctx;
    run_copy(r);
    for (size_t i = 0; i < ROWS; i++)
        r->table->softmax_row(r->y + i * r->n, r->n);
}

static void run_act(void *ctx)
{
    rows *r = ctx;
    run_copy(r);
    for (size_t i = 0; i < ROWS; i++)
        r->table->bias_act_row(r->y + i * r->n, r->gain, r->n, r->act);
}

static void run_norm(void *ctx)
{
    rows *r = ctx;
    for (size_t i = 0; i < ROWS; i++)
        r->table->layer_norm_row(r->y + i * r->n, r->x + i * r->n, NULL, NULL, r->gain, r->gain, r->n, 1e-5f);
}

static void run_exp(void *ctx)
{
    rows *r = ctx;
    r->table->exp_row(r->y, r->x, ROWS * r->n);
}

static void run_transpose(void *ctx)
{
    rows *r = ctx;
    r->table->transpose(r->y, ROWS, r->x, r->n, ROWS, r->n);
}

static void bench_rows(const attn_kernels *table)
{
    static const size_t sizes[] = { 16, 128, 384, 768 };
    printf("| %s, ns a number, rows of | softmax | exp | gelu | gelu_tanh | silu | layer norm | transpose |\n|---|---|---|---|---|---|---|---|\n", table->name);
    for (size_t s = 0; s < 4; s++) {
        size_t n = sizes[s];
        float *x = floats(ROWS * n), *y = floats(ROWS * n), *gain = floats(n);
        rows r = { table, y, x, gain, n, ATTN_ACT_NONE };
        double unit = 1e9 / (double)(ROWS * n), copy = best_time(run_copy, &r);
        printf("| %zu | %.3f | %.3f |", n, (best_time(run_softmax, &r) - copy) * unit, best_time(run_exp, &r) * unit);
        const attn_activation acts[] = { ATTN_ACT_GELU, ATTN_ACT_GELU_TANH, ATTN_ACT_SILU };
        for (size_t a = 0; a < 3; a++) {
            r.act = acts[a];
            printf(" %.3f |", (best_time(run_act, &r) - copy) * unit);
        }
        printf(" %.3f |", best_time(run_norm, &r) * unit);
        printf(" %.3f |\n", best_time(run_transpose, &r) * unit);
        free(x);
        free(y);
        free(gain);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    char *end = NULL;
    long threads = argc > 1 ? strtol(argv[1], &end, 10) : 1;
    if (threads < 1 || threads > 1024 || (end && *end)) {
        fprintf(stderr, "usage: %s [threads]\n", argv[0]);
        return EXIT_FAILURE;
    }
    double peak = measure_peak();
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        bench_rows(*all);
        bench_products(*all, peak, (int)threads);
    }
    return EXIT_SUCCESS;
}
