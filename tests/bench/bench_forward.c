/* bench_forward.c - forward passes beside what the machine allows: max(flops / peak, bytes / bandwidth), peak and bandwidth measured between the passes.
 *
 *     bench_forward MODEL THREADS ROUNDS [TOKENS...]
 *
 * Once with `attentions` alone, as a request without `output` of hidden states runs, and once with everything computed (the last layer's result too). flops are the
 * price's; bytes are the weights that a pass of one token multiplies with. Each round measures everything once, and the table has medians of the rounds and,
 * behind the stroke, the best: other work on the machine only ever makes a pass longer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn.h"
#include "bench.h"

#include <sys/mman.h>

enum { MAX_ROUNDS = 64, MAX_TOKENS = 8 };

typedef struct reading {
    attn_runtime *rt;
    const float *words;
    size_t count; /* of words; a multiple of 512 * parts */
    size_t parts;
} reading;

enum { STREAMS = 8 };

static void read_plain(const float *x, size_t stream)
{
    enum { LINE = 16 };
    float sum[LINE] = { 0 };
    for (size_t j = 0; j < stream; j += LINE)
        for (size_t s = 0; s < STREAMS; s++)
            for (size_t l = 0; l < LINE; l++)
                sum[l] += x[s * stream + j + l];
    for (size_t l = 0; l < LINE; l++)
        sink = sum[l];
}

__attribute__((target("avx512f"))) static void read_avx512(const float *x, size_t stream)
{
    enum { AHEAD = 128, LINES = 4 };
    __m512 sum[LINES];
    for (size_t l = 0; l < LINES; l++)
        sum[l] = _mm512_setzero_ps();
    for (size_t j = 0; j < stream; j += 16 * LINES)
        for (size_t s = 0; s < STREAMS; s++)
#pragma GCC unroll 4
            for (size_t l = 0; l < LINES; l++) {
                const float *line = x + s * stream + j + 16 * l;
                _mm_prefetch((const char *)((uintptr_t)line + AHEAD * sizeof *x), _MM_HINT_T1);
                sum[l] = _mm512_add_ps(sum[l], _mm512_loadu_ps(line));
            }
    sink = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

/* Eight streams at a time: one alone waits for memory more than it reads. */
static void read_part(void *ctx, size_t i, int slot)
{
    (void)slot;
    const reading *r = ctx;
    const size_t count = r->count / r->parts;
    (attn_kernels_find("avx512") ? read_avx512 : read_plain)(r->words + i * count, count / STREAMS);
}

static void *huge_pages(size_t bytes)
{
    void *p = aligned_alloc((size_t)2 << 20, attn_round_up(bytes, (size_t)2 << 20));
    if (!p)
        exit(EXIT_FAILURE);
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* small ones serve as well */
    memset(p, 1, bytes);
    return p;
}

static void read_all(void *ctx)
{
    reading *r = ctx;
    attn_runtime_enter(r->rt);
    attn_parallel(r->rt, r->parts, read_part, r);
    attn_runtime_leave(r->rt);
}

static double once(void (*body)(void *), void *ctx)
{
    double start = seconds();
    body(ctx);
    return seconds() - start;
}

/* The better of two runs behind one that is not counted. */
static double warm(void (*body)(void *), void *ctx)
{
    body(ctx);
    double took = once(body, ctx), again = once(body, ctx);
    return took < again ? took : again;
}

/* ---- a pass ------------------------------------------------------------------------------------------------------------- */

typedef struct pass {
    attn_runtime *rt;
    attn_model *model;
    attn_model_input input;
    attn_keep keep;
    attn_arena *arena;
} pass;

static attn_status see_layer(void *ctx, const attn_layer *layer, attn_error *err)
{
    (void)ctx, (void)layer, (void)err;
    return ATTN_OK;
}

static attn_status see_state(void *ctx, attn_stack stack, size_t state, const attn_view *view, attn_error *err)
{
    (void)ctx, (void)stack, (void)state, (void)view, (void)err;
    return ATTN_OK;
}

static void run_pass(void *ctx)
{
    pass *p = ctx;
    static const attn_sink sinks = { .layer = see_layer, .state = see_state };
    attn_error err = { .code = ATTN_OK };
    attn_cancel cancel = { 0 };
    attn_runtime_enter(p->rt);
    if (attn_model_run(p->model, &p->input, &p->keep, p->arena, &cancel, &sinks, &err) != ATTN_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(EXIT_FAILURE);
    }
    attn_runtime_leave(p->rt);
}

static uint64_t flops_of(pass *p, size_t T)
{
    attn_model_input input = p->input;
    input.T = T;
    return attn_model_price(p->model, &input, &p->keep).flops;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct figures {
    double took[MAX_ROUNDS], ratio[MAX_ROUNDS];
} figures;

static void print_row(size_t T, figures *f, size_t rounds)
{
    qsort(f->took, rounds, sizeof *f->took, compare);
    qsort(f->ratio, rounds, sizeof *f->ratio, compare);
    printf("| %zu | %.3f / %.3f | %.2f / %.2f |\n", T, f->took[rounds / 2] * 1e3, f->took[0] * 1e3, f->ratio[rounds / 2], f->ratio[0]);
}

static double peak_now(void)
{
    double wide = attn_kernels_find("avx512") ? 2e-9 * 16 * CHAINS * ROUNDS / once(peak_avx512, NULL) : 0;
    double narrow = attn_kernels_find("avx2") ? 2e-9 * 8 * CHAINS * ROUNDS / once(peak_avx2, NULL) : 0;
    return wide > narrow ? wide : narrow;
}

static void measure(pass *p, const size_t *tokens, size_t num_tokens, size_t rounds, int threads)
{
    static figures all[MAX_TOKENS];
    size_t bytes = (size_t)(flops_of(p, 1) / 2 * 4) / (2048 * (size_t)threads) * (2048 * (size_t)threads);
    reading r = { .rt = p->rt, .count = bytes / sizeof(float), .parts = (size_t)threads };
    void *words = huge_pages(bytes);
    r.words = words;
    double peak = 0, bandwidth = 0;
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < num_tokens; i++) {
            p->input.T = tokens[i];
            double limit_peak = peak_now(), limit_read = 1e-9 * (double)bytes / warm(read_all, &r);
            peak = limit_peak > peak ? limit_peak : peak; /* the machine's: what the best measurement so far says */
            bandwidth = limit_read > bandwidth ? limit_read : bandwidth;
            double took = warm(run_pass, p), flops = (double)flops_of(p, tokens[i]);
            double by_flops = 1e-9 * flops / (peak * threads), by_bytes = 1e-9 * (double)bytes / bandwidth;
            all[i].took[round] = took;
            all[i].ratio[round] = took / (by_flops > by_bytes ? by_flops : by_bytes);
        }
    printf("peak %.0f GFLOP/s a core, %.1f GB/s over %.1f MB of weights\n\n| tokens | ms, median / best | times the limit |\n|---|---|---|\n", peak, bandwidth,
           (double)bytes * 1e-6);
    for (size_t i = 0; i < num_tokens; i++)
        print_row(tokens[i], &all[i], rounds);
    printf("\n");
    free(words);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL THREADS ROUNDS [TOKENS...]\n", argv[0]);
        return EXIT_FAILURE;
    }
    size_t tokens[MAX_TOKENS] = { 8, 16, 32, 128, 512 }, num_tokens = argc > 4 ? 0 : 5, rounds = (size_t)atoi(argv[3]);
    for (int i = 4; i < argc && num_tokens < MAX_TOKENS; i++)
        tokens[num_tokens++] = (size_t)atoi(argv[i]);
    attn_runtime_options options = { .threads = atoi(argv[2]) };
    attn_error err = { .code = ATTN_OK };
    pass p = { .arena = attn_arena_new() };
    if (rounds < 1 || rounds > MAX_ROUNDS || !p.arena || attn_runtime_new(&p.rt, &options, &err) != ATTN_OK ||
        attn_model_open(&p.model, p.rt, argv[1], &err) != ATTN_OK) {
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    static int32_t ids[4096];
    for (size_t i = 0; i < 4096; i++)
        ids[i] = (int32_t)(i * 2654435761u % attn_model_get_info(p.model)->vocab_size);
    p.input.input_ids = ids;
    printf("%s, %d thread(s), %s\n\nattentions alone: ", argv[1], options.threads, attn_runtime_gemm_kernel(p.rt));
    p.keep.outputs = ATTN_BIT(ATTN_ATTENTIONS);
    measure(&p, tokens, num_tokens, rounds, options.threads);
    printf("all of the pass: ");
    p.keep.outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_HIDDEN_STATES);
    measure(&p, tokens, num_tokens, rounds, options.threads);
    attn_model_close(p.model);
    attn_runtime_free(p.rt);
    attn_arena_free(p.arena);
    return EXIT_SUCCESS;
}
