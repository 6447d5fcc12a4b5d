/* bench_pool.c - attention over a long input, pooled: 8 heads of 16, 32,768 tokens, to 512 x 512, beside what its arithmetic alone takes.
 * That is flops / peak + scores * (a softmax's cost for each), both measured in the same run; flops = 2 * H * T * T * (d + d_v). The most it may take is 1.5
 * times as much. Prints a table in Markdown.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"
#include "bench.h"
#include "math/gemm.h"

#include <time.h>

enum { H = 8, D = 16, T = 32768, BINS = 512, ROW = 4096, ROWS = 2 };

typedef struct rows {
    const attn_kernels *table;
    float *y;
    const float *x;
} rows;

static void run_copy(void *ctx)
{
    rows *r = ctx;
    memcpy(r->y, r->x, ROWS * ROW * sizeof *r->y);
}

static void run_softmax(void *ctx)
{
    rows *r = ctx;
    run_copy(r);
    for (size_t i = 0; i < ROWS; i++)
        r->table->softmax_row(r->y + i * ROW, ROW);
}

/* Seconds for one number of a row in the first-level cache. */
static double measure_softmax(const attn_kernels *table)
{
    float *x = floats(ROWS * ROW), *y = floats(ROWS * ROW);
    rows r = { table, y, x };
    double t = (best_time(run_softmax, &r) - best_time(run_copy, &r)) / (ROWS * ROW);
    free(x);
    free(y);
    return t;
}

typedef struct cost {
    double wall, cpu; /* seconds; cpu of all threads: on a machine that does other work the wall says little */
    size_t bytes;
} cost;

static cost run_pooled(attn_runtime *rt, const attn_operator_input *in, const attn_attention_out *out)
{
    attn_arena *arena = attn_arena_new();
    attn_runtime_enter(rt);
    double start = seconds();
    clock_t cpu = clock();
    if (!arena || attn_attention_pooled(rt, in, out, arena, NULL, NULL) != ATTN_OK)
        exit(EXIT_FAILURE);
    cost took = { seconds() - start, (double)(clock() - cpu) / CLOCKS_PER_SEC, attn_arena_peak(arena) };
    attn_runtime_leave(rt);
    attn_arena_free(arena);
    return took;
}

static void bench(int threads, bool with_context, double peak, double softmax, const attn_operator_input *in, attn_attention_out out)
{
    attn_runtime *rt;
    if (attn_runtime_new(&rt, &(attn_runtime_options){ .threads = threads }, NULL) != ATTN_OK)
        exit(EXIT_FAILURE);
    if (!with_context)
        out.context = NULL;
    double scores = (double)H * T * T, flops = 2 * scores * (with_context ? 2 * D : D);
    double least = (flops / peak + scores * softmax) / threads;
    cost took = run_pooled(rt, in, &out);
    printf("| %d | %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n", threads, with_context ? "attentions, context" : "attentions", took.wall, took.cpu, least,
           took.wall / least, (double)took.bytes / 1e6);
    fflush(stdout);
    attn_runtime_free(rt);
}

int main(void)
{
    const attn_kernels *table = attn_kernels_find("auto");
    double peak = 1e9 * measure_peak(), softmax = measure_softmax(table);
    const attn_pool pool = { .size = BINS, .mode = ATTN_REDUCE_MEAN };
    attn_heads heads = { floats((size_t)H * T * D), (ptrdiff_t)T * D, D };
    attn_operator_input in = { .num_attention_heads = H, .num_key_value_heads = H, .T_q = T, .T_k = T, .head_dim = D, .value_dim = D };
    in.query = in.key = in.value = heads;
    in.rules = (attn_rules){ .scale = 0.25f, .left_window_size = -1, .right_window_size = -1, .key_length = T };
    attn_attention_out out = { .attentions = floats((size_t)H * BINS * BINS), .context = floats((size_t)H * T * D), .pool = &pool };
    out.context_head_stride = (ptrdiff_t)T * D;
    out.context_row_stride = D;
    printf("%s: a softmax takes %.3f ns a number, rows of %d\n\n", table->name, softmax * 1e9, ROW);
    printf("| threads | %d tokens, %d heads of %d, pooled to %d x %d | s | CPU s | flops / peak + softmax, s | ratio (at most 1.5) | working memory, MB |\n"
           "|---|---|---|---|---|---|---|\n",
           T, H, D, BINS, BINS);
    for (int threads = 1; threads <= 2; threads++) {
        bench(threads, true, peak, softmax, &in, out);
        bench(threads, false, peak, softmax, &in, out);
    }
    return EXIT_SUCCESS;
}
