/* bench_number.c - nanoseconds a number, one core, for each table of kernels; prints a table in Markdown. `bench_number --dump FOLDER` writes the same data as
 * raw float32 files, for bench_orjson.py. Each figure is the best of many runs of a few hundred microseconds: other work only makes a run longer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_number.h"
#include "math/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 16384, ROW = 128 };

static uint64_t state = 88172645463325252;

/* xorshift64 (Marsaglia 2003), to (0, 1]. */
static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)((state >> 11) + 1) * 0x1p-53;
}

/* Box and Muller 1958. */
static double normal(void)
{
    double r = sqrt(-2 * log(uniform()));
    return r * cos(6.283185307179586 * uniform());
}

/* Rows of a softmax of scores with this deviation; the keys behind the query weigh 0 when causal. */
static void softmax_rows(float *x, double deviation, bool causal)
{
    for (size_t i = 0; i < NUMBERS; i += ROW) {
        double e[ROW], sum = 0;
        for (size_t j = 0; j < ROW; j++)
            sum += e[j] = causal && j > i / ROW % ROW ? 0 : exp(deviation * normal());
        for (size_t j = 0; j < ROW; j++)
            x[i + j] = (float)(e[j] / sum);
    }
}

static void attention(float *x)
{
    softmax_rows(x, 2.5, false);
}

static void flat(float *x)
{
    softmax_rows(x, 0.02, false);
}

static void causal(float *x)
{
    softmax_rows(x, 2.5, true);
}

static void context(float *x)
{
    for (size_t i = 0; i < NUMBERS; i++)
        x[i] = (float)(0.5 * normal());
}

static void subnormal(float *x)
{
    for (size_t i = 0; i < NUMBERS; i++)
        x[i] = (float)(uniform() * 1e-39);
}

/* Any bits but those of infinities and NaN. */
static void any(float *x)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        uniform();
        uint32_t bits = (uint32_t)(state >> 20);
        if ((bits & 0x7f800000) == 0x7f800000)
            bits ^= 0x40000000;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

static const struct {
    const char *name;
    void (*fill)(float *x);
} sets[] = { { "attention", attention }, { "flat", flat }, { "causal", causal }, { "context", context }, { "subnormal", subnormal }, { "any", any } };

typedef struct job {
    const attn_runtime *rt;
    float x[NUMBERS], back[NUMBERS];
    uint16_t halves[NUMBERS];
    char text[NUMBERS * ATTN_NUMBER_BYTES + 64];
    size_t length;
    uint8_t bytes[NUMBERS * 4 + 64];
} job;

static void write_rows(job *j, attn_number_style style)
{
    char *p = j->text;
    for (size_t i = 0; i < NUMBERS; i += ROW)
        p += attn_write_floats(j->rt, p, j->x + i, ROW, style);
    j->length = (size_t)(p - j->text);
}

static void write_shortest(job *j)
{
    write_rows(j, (attn_number_style){ 0, false });
}

static void write_4(job *j)
{
    write_rows(j, (attn_number_style){ 4, false });
}

static void write_6(job *j)
{
    write_rows(j, (attn_number_style){ 6, false });
}

static void write_half(job *j)
{
    write_rows(j, (attn_number_style){ 0, true });
}

static void read_text(job *j)
{
    size_t count;
    const char *stop;
    if (attn_read_floats(j->rt, j->text, j->text + j->length, j->back, NUMBERS, &count, &stop) != ATTN_READ_CUT || count != NUMBERS)
        exit(EXIT_FAILURE);
}

static void to_half(job *j)
{
    attn_to_half(j->rt, j->halves, j->x, NUMBERS);
}

static void from_half(job *j)
{
    attn_from_half(j->rt, j->back, j->halves, NUMBERS);
}

static void encode(job *j)
{
    j->length = attn_base64_encode(j->rt, j->text, j->x, sizeof j->x);
}

static void decode(job *j)
{
    size_t written, bad;
    if (!attn_base64_decode(j->rt, j->bytes, &written, j->text, j->length, &bad))
        exit(EXIT_FAILURE);
}

/* In this order: what reads finds the text that the one before it has written. */
static const struct {
    const char *name;
    void (*run)(job *);
} jobs[] = {
    { "write shortest", write_shortest },
    { "read shortest", read_text },
    { "write 4 decimals", write_4 },
    { "write 6 decimals", write_6 },
    { "read 6 decimals", read_text },
    { "write float16", write_half },
    { "to float16", to_half },
    { "from float16", from_half },
    { "to base64", encode },
    { "from base64", decode },
};

static double best_ns(void (*run)(job *), job *j)
{
    double best = 1e9;
    uint64_t begun = attn_clock_ns();
    for (int i = 0; i < 300 && (i < 20 || attn_clock_ns() - begun < 50000000); i++) {
        uint64_t from = attn_clock_ns();
        run(j);
        double took = (double)(attn_clock_ns() - from);
        best = took < best ? took : best;
    }
    return best / NUMBERS;
}

static int dump(const char *folder)
{
    static float x[NUMBERS];
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.f32", folder, sets[s].name);
        sets[s].fill(x);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(x, sizeof x, 1, f) != 1 || fclose(f) != 0) {
            perror(path);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

static void bench_table(const attn_runtime *rt, job *j)
{
    j->rt = rt;
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        sets[s].fill(j->x);
        printf("| %s | %s |", attn_runtime_kernels(rt), sets[s].name);
        for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
            printf(" %.2f |", best_ns(jobs[i].run, j));
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--dump") == 0)
        return dump(argv[2]);
    static job j;
    printf("ns a number\n\n| kernels | data |");
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        printf(" %s |", jobs[i].name);
    printf("\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    const attn_kernels *const *tables = attn_kernels_all();
    for (size_t i = 0; tables[i]; i++) {
        attn_runtime *rt;
        attn_runtime_options options = { .threads = 1, .kernels = tables[i]->name };
        if (attn_runtime_new(&rt, &options, NULL) != ATTN_OK)
            return EXIT_FAILURE;
        bench_table(rt, &j);
        attn_runtime_free(rt);
    }
    return EXIT_SUCCESS;
}
