/* bench_generation.c - tokens a second with the key/value cache, beside what reading a step's bytes once would allow.
 *
 *     bench_generation MODEL THREADS ROUNDS [TOKENS...]
 *
 * A step reads every weight of the layers, the head's table, and all keys and values that are there: bytes / bandwidth is the least it can take. The bandwidth
 * is that of a block of as many bytes, read by the same threads between the rounds; the best so far counts. A round reads TOKENS of prompt and then makes
 * STEPS steps; the table has medians of all steps and, behind the stroke, the best median of a round: other work on the machine only makes steps longer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn.h"
#include "bench.h"
#include "model/blocks.h"

enum { STEPS = 32, MAX_ROUNDS = 32, MAX_LENGTHS = 8 };

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

typedef struct reading {
    attn_runtime *rt;
    const char *bytes;
    size_t part; /* of each thread; a multiple of STREAMS pieces of 4 lines */
    size_t threads;
} reading;

enum { STREAMS = 4, PIECE = 256, AHEAD = 2048 };

__attribute__((target("avx2"))) static void read_part(void *ctx, size_t i, int slot)
{
    (void)slot;
    const reading *r = ctx;
    const size_t stream = r->part / STREAMS;
    const char *from = r->bytes + i * r->part;
    __m256i sum[4] = { { 0 }, { 0 }, { 0 }, { 0 } };
    for (size_t at = 0; at < stream; at += PIECE)
#pragma GCC unroll 4
        for (size_t s = 0; s < STREAMS; s++) {
            const char *p = from + s * stream + at;
#pragma GCC unroll 8
            for (size_t b = 0; b < PIECE; b += 32) {
                if (b % 64 == 0)
                    _mm_prefetch(p + b + AHEAD, _MM_HINT_T0);
                sum[b / 32 % 4] = _mm256_xor_si256(sum[b / 32 % 4], _mm256_loadu_si256((const __m256i *)(p + b)));
            }
        }
    sum[0] = _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
    sink = (float)_mm256_extract_epi32(sum[0], 0);
}

/* GB/s, this time. */
static double bandwidth_now(reading *r)
{
    double start = seconds();
    attn_runtime_enter(r->rt);
    attn_parallel(r->rt, r->threads, read_part, r);
    attn_runtime_leave(r->rt);
    return 1e-9 * (double)(r->part * r->threads) / (seconds() - start);
}

/* ---- steps -------------------------------------------------------------------------------------------------------------- */

static uint64_t weight_bytes(const attn_model *m)
{
    const attn_keep keep[ATTN_STACKS] = { { .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) }, { .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) } };
    attn_model_input one = { .T = 1 };
    uint64_t table = (uint64_t)m->head.table.rows * m->head.table.cols * (m->head.table.type == ATTN_DTYPE_F32 ? 4 : 2);
    return attn_model_price(m, &one, keep).flops / 2 * sizeof(float) + table;
}

static uint64_t cache_bytes(const attn_model *m, size_t T)
{
    const attn_stack_shape *s = &m->shapes[ATTN_STACK_SELF];
    return (uint64_t)(2 * s->num_layers * T * s->num_key_value_heads * s->head_dim) * sizeof(float);
}

static void fail(const attn_error *err)
{
    fprintf(stderr, "%s: %s\n", err->where, err->text);
    exit(EXIT_FAILURE);
}

/* Takes [STEPS] times of single steps behind T tokens. */
static void time_steps(const attn_model *m, attn_runtime *rt, attn_arena *arena, size_t T, double *took)
{
    static int32_t ids[1 << 16];
    for (size_t i = 0; i < T; i++)
        ids[i] = (int32_t)(i * 2654435761u % attn_model_get_info(m)->vocab_size);
    attn_model_input prompt = { .T = T, .input_ids = ids };
    attn_generation *g = NULL;
    attn_error err = { .code = ATTN_OK };
    attn_cancel cancel = { 0 };
    attn_arena_mark mark = attn_arena_save(arena);
    int32_t next;
    attn_runtime_enter(rt);
    if (attn_generation_begin(&g, m, &prompt, STEPS + 1, arena, &err) != ATTN_OK)
        fail(&err);
    for (size_t i = 0; i <= STEPS; i++) {
        double start = seconds();
        if (attn_generation_run(g, NULL, arena, &cancel, NULL, &next, &err) != ATTN_OK)
            fail(&err);
        if (i > 0)
            took[i - 1] = seconds() - start;
    }
    attn_runtime_leave(rt);
    attn_arena_rewind(arena, mark);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, compare);
    return x[n / 2];
}

typedef struct figures {
    double steps[MAX_ROUNDS * STEPS], best;
} figures;

static void print_row(size_t T, uint64_t bytes, figures *f, size_t rounds, double bandwidth)
{
    double all = median(f->steps, rounds * STEPS), limit = 1e-9 * (double)bytes / bandwidth;
    printf("| %zu | %.3f / %.3f | %.0f / %.0f | %.1f | %.3f | %.2f / %.2f |\n", T, all * 1e3, f->best * 1e3, 1 / all, 1 / f->best, (double)bytes * 1e-6,
           limit * 1e3, all / limit, f->best / limit);
}

static void measure(const attn_model *m, attn_runtime *rt, attn_arena *arena, const size_t *lengths, size_t count, size_t rounds)
{
    static figures all[MAX_LENGTHS];
    reading r = { .rt = rt, .threads = (size_t)attn_runtime_threads(rt) };
    uint64_t weights = weight_bytes(m);
    r.part = (size_t)weights / r.threads / (STREAMS * PIECE) * (STREAMS * PIECE);
    char *block = attn_malloc(r.part * r.threads + AHEAD + PIECE);
    if (!block)
        exit(EXIT_FAILURE);
    memset(block, 1, r.part * r.threads + AHEAD + PIECE);
    r.bytes = block;
    double bandwidth = 0;
    for (size_t i = 0; i < count; i++)
        all[i].best = 1e9;
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++) {
            double took[STEPS];
            for (int again = 0; again < 4; again++) {
                double now = bandwidth_now(&r);
                bandwidth = now > bandwidth ? now : bandwidth;
            }
            time_steps(m, rt, arena, lengths[i], took);
            memcpy(all[i].steps + round * STEPS, took, sizeof took);
            double mid = median(took, STEPS);
            all[i].best = mid < all[i].best ? mid : all[i].best;
        }
    printf("%.1f GB/s over %.1f MB\n\n| behind | ms a step, median / best | tokens a second | MB a step | limit, ms | times the limit "
           "|\n|---|---|---|---|---|---|\n",
           bandwidth, (double)(r.part * r.threads) * 1e-6);
    for (size_t i = 0; i < count; i++)
        print_row(lengths[i], weights + cache_bytes(m, lengths[i] + STEPS / 2), &all[i], rounds, bandwidth);
    attn_free(block);
}

int main(int argc, char **argv)
{
    size_t lengths[MAX_LENGTHS] = { 8, 128, 448 }, count = argc > 4 ? 0 : 3, rounds = argc > 3 ? (size_t)atoi(argv[3]) : 0;
    for (int i = 4; i < argc && count < MAX_LENGTHS; i++)
        lengths[count++] = (size_t)atoi(argv[i]);
    attn_runtime_options options = { .threads = argc > 2 ? atoi(argv[2]) : 1 };
    attn_error err = { .code = ATTN_OK };
    attn_runtime *rt = NULL;
    attn_model *m = NULL;
    attn_arena *arena = attn_arena_new();
    if (argc < 4 || rounds < 1 || rounds > MAX_ROUNDS || !arena) {
        fprintf(stderr, "usage: %s MODEL THREADS ROUNDS [TOKENS...]\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (attn_runtime_new(&rt, &options, &err) != ATTN_OK || attn_model_open(&m, rt, argv[1], &err) != ATTN_OK)
        fail(&err);
    printf("%s, %d thread(s), %s: ", argv[1], options.threads, attn_runtime_gemm_kernel(rt));
    measure(m, rt, arena, lengths, count, rounds);
    attn_model_close(m);
    attn_runtime_free(rt);
    attn_arena_free(arena);
    return EXIT_SUCCESS;
}
