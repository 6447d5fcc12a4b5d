/* bench_number.c - nanoseconds a number, one core, for each table of kernels; prints a table in Markdown. `bench_number FILE.f32 ...` takes raw float32 files
 * (of each the first million numbers) instead of data made here; bench_number.py makes such files of a model's maps and puts other libraries beside it. Each
 * figure is the best of many runs: other work only makes a run longer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_number.h"
#include "math/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MADE = 16384, ROW = 128, MOST = 1 << 20 };

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
    for (size_t i = 0; i < MADE; i += ROW) {
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
    for (size_t i = 0; i < MADE; i++)
        x[i] = (float)(0.5 * normal());
}

static void subnormal(float *x)
{
    for (size_t i = 0; i < MADE; i++)
        x[i] = (float)(uniform() * 1e-39);
}

/* Any bits but those of infinities and NaN. */
static void any(float *x)
{
    for (size_t i = 0; i < MADE; i++) {
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
    size_t n; /* numbers, a multiple of ROW */
    float *x, *back;
    uint16_t *halves;
    uint8_t *bytes;
    char *text;
    size_t length;
} job;

static void write_rows(job *j, attn_number_style style)
{
    char *p = j->text;
    for (size_t i = 0; i < j->n; i += ROW)
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
    if (attn_read_floats(j->rt, j->text, j->text + j->length, j->back, j->n, &count, &stop) != ATTN_READ_CUT || count != j->n)
        exit(EXIT_FAILURE);
}

static void to_half(job *j)
{
    attn_to_half(j->rt, j->halves, j->x, j->n);
}

static void from_half(job *j)
{
    attn_from_half(j->rt, j->back, j->halves, j->n);
}

static void encode(job *j)
{
    j->length = attn_base64_encode(j->rt, j->text, j->x, j->n * sizeof *j->x);
}

static void decode(job *j)
{
    size_t written, bad;
    if (!attn_base64_decode(j->rt, j->bytes, &written, j->text, j->length, &bad))
        exit(EXIT_FAILURE);
}

/* What Python makes of a float32 that it holds as a double: up to 17 digits. Written once for each data, by printf; that is not measured. */
static void print_doubles(job *j)
{
    char *p = j->text;
    for (size_t i = 0; i < j->n; i++)
        p += sprintf(p, "%.17g,", (double)j->x[i]);
    j->length = (size_t)(p - j->text);
}

/* The bytes that the four before it read or write, moved only. */
static void copy(job *j)
{
    memcpy(j->back, j->x, j->n * sizeof *j->x);
}

/* In this order: what reads finds the text that the one before it has written. Without a name: not measured. */
static const struct {
    const char *name;
    void (*run)(job *);
} jobs[] = {
    { "write shortest", write_shortest },
    { "read shortest", read_text },
    { "write 4 decimals", write_4 },
    { "write 6 decimals", write_6 },
    { "read 6 decimals", read_text },
    { NULL, print_doubles },
    { "read 17 digits", read_text },
    { "write float16", write_half },
    { "to float16", to_half },
    { "from float16", from_half },
    { "to base64", encode },
    { "from base64", decode },
    { "memcpy", copy },
};

static double best_ns(void (*run)(job *), job *j)
{
    double best = 1e9;
    uint64_t begun = attn_clock_ns();
    for (int i = 0; i < 300 && (i < 20 || attn_clock_ns() - begun < 150000000); i++) {
        uint64_t from = attn_clock_ns();
        run(j);
        double took = (double)(attn_clock_ns() - from);
        best = took < best ? took : best;
    }
    return best / (double)j->n;
}

/* Sets j->x and j->n from a file; false with a message. */
static bool load(job *j, const char *path)
{
    FILE *f = fopen(path, "rb");
    j->n = f ? fread(j->x, sizeof *j->x, MOST, f) / ROW * ROW : 0;
    if (f)
        fclose(f);
    if (j->n == 0)
        fprintf(stderr, "%s: no row of %d float32\n", path, ROW);
    return j->n > 0;
}

static void bench_data(job *j, const char *name)
{
    printf("| %s | %s |", attn_runtime_kernels(j->rt), name);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (jobs[i].name)
            printf(" %.2f |", best_ns(jobs[i].run, j));
        else
            jobs[i].run(j);
        fflush(stdout);
    }
    printf("\n");
}

static bool bench_table(job *j, char **paths, int num_paths)
{
    bool good = true;
    for (int i = 0; i < num_paths && good; i++) {
        const char *slash = strrchr(paths[i], '/');
        good = load(j, paths[i]);
        if (good)
            bench_data(j, slash ? slash + 1 : paths[i]);
    }
    for (size_t s = 0; s < sizeof sets / sizeof *sets && num_paths == 0; s++) {
        j->n = MADE;
        sets[s].fill(j->x);
        bench_data(j, sets[s].name);
    }
    return good;
}

/* Room for the longest data, touched, so that no run pays for fresh pages. */
static bool make_room(job *j)
{
    const size_t text = (size_t)MOST * 32;
    j->x = calloc(MOST, sizeof *j->x);
    j->back = calloc(MOST, sizeof *j->back);
    j->halves = calloc(MOST, sizeof *j->halves);
    j->bytes = calloc(MOST * 4 + 64, 1);
    j->text = malloc(text);
    if (!j->x || !j->back || !j->halves || !j->bytes || !j->text)
        return false;
    memset(j->text, 1, text);
    return true;
}

int main(int argc, char **argv)
{
    job j;
    if (!make_room(&j))
        return EXIT_FAILURE;
    printf("ns a number\n\n| kernels | data |");
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        if (jobs[i].name)
            printf(" %s |", jobs[i].name);
    printf("\n|---|---|");
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        printf("%s", jobs[i].name ? "---|" : "");
    printf("\n");
    const attn_kernels *const *tables = attn_kernels_all();
    bool good = true;
    for (size_t i = 0; tables[i] && good; i++) {
        attn_runtime *rt;
        attn_runtime_options options = { .threads = 1, .kernels = tables[i]->name };
        if (attn_runtime_new(&rt, &options, NULL) != ATTN_OK)
            return EXIT_FAILURE;
        j.rt = rt;
        good = bench_table(&j, argv + 1, argc - 1);
        attn_runtime_free(rt);
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
