/* test_gemm.c - every matrix kernel this CPU runs: against float64, at every edge, bit for bit under any cut, and refusing sizes that BLIS would abort on.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const attn_kernels *table;
static const attn_gemm *gemm; /* the one under test */
static size_t mr, nr;

static void use(const attn_kernels *kernels, const attn_gemm *g)
{
    ck_assert_ptr_nonnull(g);
    table = kernels;
    gemm = g;
    attn_gemm_tile(g, &mr, &nr);
}

/* Those that runtimes use. */
static void each_table(void (*body)(void))
{
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        use(*all, attn_gemm_find(*all));
        body();
    }
}

/* And their twins. */
static void each_gemm(void (*body)(void))
{
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        use(*all, attn_gemm_find(*all));
        body();
        if (attn_gemm_twin(*all)) {
            use(*all, attn_gemm_twin(*all));
            body();
        }
    }
}

static uint64_t seed = 1;

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)((double)(seed >> 11) * 0x1p-52 - 1);
    }
}

/* n floats, 64-byte aligned, that end with a page nobody may touch: what reads or writes behind them crashes. */
typedef struct fenced {
    float *data;
    void *map;
    size_t bytes;
} fenced;

static fenced fence(size_t bytes)
{
    const size_t page = 4096;
    bytes = (bytes + 63) / 64 * 64;
    fenced f = { .bytes = (bytes + page - 1) / page * page + page };
    f.map = mmap(NULL, f.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(f.map != MAP_FAILED);
    ck_assert_int_eq(mprotect((char *)f.map + f.bytes - page, page, PROT_NONE), 0);
    f.data = (float *)(void *)((char *)f.map + f.bytes - page - bytes);
    return f;
}

static void unfence(fenced f)
{
    munmap(f.map, f.bytes);
}

typedef struct problem {
    size_t m, n, k, ldx, ldy;
    float *x, *w, *y;
    attn_panels panels;
    fenced packed, scratch;
} problem;

static problem make(size_t m, size_t n, size_t k)
{
    problem p = { .m = m, .n = n, .k = k, .ldx = k + 3, .ldy = n + 5 };
    p.x = calloc(m * p.ldx + 1, sizeof(float));
    p.w = calloc(n * k + 1, sizeof(float));
    p.y = calloc(m * p.ldy + 1, sizeof(float));
    fill(p.x, m * p.ldx);
    fill(p.w, n * k);
    p.packed = fence(attn_gemm_panel_bytes(gemm, n, k));
    p.scratch = fence(attn_gemm_scratch_bytes(gemm, m, k));
    attn_gemm_pack(gemm, p.packed.data, p.w, n, k, (ptrdiff_t)k, 1);
    p.panels = (attn_panels){ p.packed.data, n, k };
    return p;
}

static void release(problem *p)
{
    free(p->x);
    free(p->w);
    free(p->y);
    unfence(p->packed);
    unfence(p->scratch);
}

/* The worst error in units of the sum of |x w|; also that nothing behind the columns was written. */
static double product_error(const problem *p, float alpha)
{
    double worst = 0;
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0, size = 1e-30;
            for (size_t l = 0; l < p->k; l++) {
                double term = (double)alpha * (double)p->x[i * p->ldx + l] * (double)p->w[j * p->k + l];
                sum += term;
                size += fabs(term);
            }
            worst = fmax(worst, fabs((double)p->y[i * p->ldy + j] - sum) / size);
        }
        for (size_t j = p->n; j < p->ldy; j++)
            ck_assert_float_eq(p->y[i * p->ldy + j], 77);
    }
    return worst;
}

static double run(size_t m, size_t n, size_t k, float alpha)
{
    problem p = make(m, n, k);
    for (size_t i = 0; i < m * p.ldy; i++)
        p.y[i] = i % p.ldy < n ? NAN : 77; /* what was there must not matter */
    ck_assert_int_eq(attn_gemm_rows(gemm, p.y, p.ldy, p.x, p.ldx, m, &p.panels, 0, n, alpha, p.scratch.data), ATTN_OK);
    double error = product_error(&p, alpha);
    if (!(error < 1e-6))
        ck_abort_msg("%s, %zu x %zu x %zu: error %g", attn_gemm_name(gemm), m, n, k, error);
    release(&p);
    return error;
}

static void edges_body(void)
{
    double worst = 0;
    for (size_t m = 1; m <= 2 * nr + 1; m++)
        for (size_t n = 1; n <= 2 * mr + 1; n += n < 10 ? 1 : 3)
            worst = fmax(worst, run(m, n, 1 + (m * n) % 9, 1));
    const size_t depths[] = { 1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 127, 255, 256, 257, 383, 384, 385, 511, 512, 513, 769, 1537, 3072 };
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        worst = fmax(worst, run(nr + 3, mr + 5, depths[i], i % 2 ? 1.0f : 0.125f));
    worst = fmax(worst, run(3 * nr, 4 * mr, 384, 0.3f));
    fprintf(stderr, "%-6s %s: error %.1e of the sum of |x w|\n", table->name, attn_gemm_name(gemm), worst);
}

START_TEST(products_agree_with_double_at_every_edge)
{
    each_gemm(edges_body);
}
END_TEST

static void bits_body(void)
{
    const size_t depths[] = { 1, 7, 64, 300, 800 };
    for (size_t d = 0; d < 5; d++) {
        const size_t m = 2 * nr + 5, n = 3 * mr + 2, k = depths[d];
        problem p = make(m, n, k);
        float *one = calloc(m * n, sizeof *one);
        const float alpha = 0.7f;
        ck_assert_int_eq(attn_gemm_rows(gemm, p.y, p.ldy, p.x, p.ldx, m, &p.panels, 0, n, alpha, p.scratch.data), ATTN_OK);
        for (size_t i = 0; i < m; i++) { /* each row alone */
            ck_assert_int_eq(attn_gemm_rows(gemm, one, n, p.x + i * p.ldx, p.ldx, 1, &p.panels, 0, n, alpha, p.scratch.data), ATTN_OK);
            ck_assert_mem_eq(one, p.y + i * p.ldy, n * sizeof *one);
        }
        for (size_t first = 1; first < m; first += 4) /* a batch that begins elsewhere */
            for (size_t j0 = 0; j0 < n; j0 += mr) {   /* and other columns */
                size_t j1 = j0 + mr < n ? j0 + mr : n;
                ck_assert_int_eq(attn_gemm_rows(gemm, one, n, p.x + first * p.ldx, p.ldx, m - first, &p.panels, j0, j1, alpha, p.scratch.data), ATTN_OK);
                for (size_t i = first; i < m; i++)
                    ck_assert_mem_eq(one + (i - first) * n + j0, p.y + i * p.ldy + j0, (j1 - j0) * sizeof *one);
            }
        free(one);
        release(&p);
    }
}

START_TEST(bits_of_an_element_depend_on_its_two_rows_alone)
{
    each_gemm(bits_body);
}
END_TEST

/* Its twin's numbers, from panels of the twin. */
static float *by_twin(const attn_gemm *twin, const problem *p, float alpha)
{
    float *y = calloc(p->m * p->n, sizeof *y);
    fenced packed = fence(attn_gemm_panel_bytes(twin, p->n, p->k)), scratch = fence(attn_gemm_scratch_bytes(twin, p->m, p->k));
    attn_panels w = { packed.data, p->n, p->k };
    attn_gemm_pack(twin, packed.data, p->w, p->n, p->k, (ptrdiff_t)p->k, 1);
    ck_assert_int_eq(attn_gemm_rows(twin, y, p->n, p->x, p->ldx, p->m, &w, 0, p->n, alpha, scratch.data), ATTN_OK);
    unfence(packed);
    unfence(scratch);
    return y;
}

static void twin_body(void)
{
    const attn_gemm *twin = attn_gemm_twin(table);
    const size_t depths[] = { 1, 3, 64, 383, 384, 385, 770, 1536 };
    for (size_t d = 0; twin && d < sizeof depths / sizeof *depths; d++) {
        for (size_t m = 1; m <= 2 * nr + 1; m++) {
            problem p = make(m, 2 * mr + 17, depths[d]);
            float *want = by_twin(twin, &p, 0.3f);
            ck_assert_int_eq(attn_gemm_rows(gemm, p.y, p.ldy, p.x, p.ldx, m, &p.panels, 0, p.n, 0.3f, p.scratch.data), ATTN_OK);
            for (size_t i = 0; i < m; i++)
                ck_assert_mem_eq(p.y + i * p.ldy, want + i * p.n, p.n * sizeof *want);
            free(want);
            release(&p);
        }
    }
}

START_TEST(a_kernel_of_our_own_has_the_bits_of_the_one_of_blis)
{
    each_table(twin_body);
    const attn_kernels *avx512 = attn_kernels_find("avx512");
    ck_assert(!avx512 || (attn_gemm_twin(avx512) && attn_gemm_twin(avx512) != attn_gemm_find(avx512)));
}
END_TEST

/* A part of a sum against the whole one of rows that are 0 elsewhere: the bits, and what is not in the part is not looked at. */
static void check_part(const problem *p, size_t l0, size_t l1)
{
    float *other = malloc(p->m * p->ldx * sizeof *other), *want = malloc(p->m * p->ldy * sizeof *want);
    ck_assert(other && want);
    for (size_t i = 0; i < p->m * p->ldx; i++)
        other[i] = i % p->ldx >= l0 && i % p->ldx < l1 ? p->x[i] : 0.0f;
    ck_assert_int_eq(attn_gemm_rows(gemm, want, p->ldy, other, p->ldx, p->m, &p->panels, 0, p->n, 1, p->scratch.data), ATTN_OK);
    for (size_t i = 0; i < p->m * p->ldx; i++)
        other[i] = i % p->ldx >= l0 && i % p->ldx < l1 ? p->x[i] : NAN;
    ck_assert_int_eq(attn_gemm_part(gemm, p->y, p->ldy, other, p->ldx, p->m, &p->panels, l0, l1, p->scratch.data), ATTN_OK);
    for (size_t i = 0; i < p->m; i++)
        if (memcmp(p->y + i * p->ldy, want + i * p->ldy, p->n * sizeof *want) != 0)
            ck_abort_msg("%s, %zu of %zu rows: sums over [%zu, %zu) of %zu differ", attn_gemm_name(gemm), i, p->m, l0, l1, p->k);
    free(other);
    free(want);
}

static void part_body(void)
{
    const size_t k = 512, ends[] = { 0, 1, 4, 97, 128, 255, 256, 257, 300, 384, 385, 511, 512 }, num = sizeof ends / sizeof *ends;
    problem p = make(nr + 3, mr + 16, k);
    float *x = p.x, *y = p.y, *s = p.scratch.data;
    for (size_t a = 0; a < num; a++)
        for (size_t b = a + 1; b < num; b++)
            check_part(&p, ends[a], ends[b]);
    ck_assert_int_eq(attn_gemm_part(gemm, y, p.ldy, x, p.ldx, p.m, &p.panels, 4, 4, s), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_gemm_part(gemm, y, p.ldy, x, p.ldx, p.m, &p.panels, 5, 4, s), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_gemm_part(gemm, y, p.ldy, x, p.ldx, p.m, &p.panels, 0, k + 1, s), ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_gemm_part(gemm, y, p.ldy, NULL, p.ldx, p.m, &p.panels, 0, k, s), ATTN_E_INTERNAL);
    release(&p);
}

START_TEST(a_part_of_a_sum_has_the_bits_of_rows_that_are_zero_elsewhere)
{
    each_gemm(part_body);
}
END_TEST

static void place_body(void)
{
    /* The same row of w at every place in the matrix gives the same bits. */
    const size_t n = 2 * mr + 3, m = nr + 1, k = 130;
    problem p = make(m, n, k);
    for (size_t j = 1; j < n; j++)
        memcpy(p.w + j * k, p.w, k * sizeof *p.w);
    for (size_t i = 1; i < m; i++)
        memcpy(p.x + i * p.ldx, p.x, k * sizeof *p.x);
    attn_gemm_pack(gemm, p.packed.data, p.w, n, k, (ptrdiff_t)k, 1);
    ck_assert_int_eq(attn_gemm_rows(gemm, p.y, p.ldy, p.x, p.ldx, m, &p.panels, 0, n, 1, p.scratch.data), ATTN_OK);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            ck_assert_mem_eq(&p.y[i * p.ldy + j], &p.y[0], sizeof(float));
    release(&p);
}

START_TEST(bits_of_an_element_do_not_depend_on_its_place_in_a_tile)
{
    each_gemm(place_body);
}
END_TEST

static void packing_body(void)
{
    const size_t n = 2 * mr + 3, k = 37;
    problem p = make(1, n, k);
    size_t bytes = attn_gemm_panel_bytes(gemm, n, k);
    float *turned = calloc(n * k, sizeof *turned), *wide = calloc(n * k * 2, sizeof *wide), *got = calloc(bytes, 1);
    for (size_t j = 0; j < n; j++)
        for (size_t l = 0; l < k; l++) {
            turned[l * n + j] = p.w[j * k + l];
            wide[(j * k + l) * 2] = p.w[j * k + l];
        }
    const size_t used = (n + mr - 1) / mr * mr * k * sizeof *got;
    attn_gemm_pack(gemm, got, turned, n, k, 1, (ptrdiff_t)n);
    ck_assert_mem_eq(got, p.packed.data, used);
    memset(got, 0x55, bytes);
    attn_gemm_pack(gemm, got, wide, n, k, 2 * (ptrdiff_t)k, 2);
    ck_assert_mem_eq(got, p.packed.data, used);
    memset(got, 0x55, bytes); /* in two pieces, the last first */
    attn_gemm_pack(gemm, got + mr * k, p.w + mr * k, n - mr, k, (ptrdiff_t)k, 1);
    attn_gemm_pack(gemm, got, p.w, mr, k, (ptrdiff_t)k, 1);
    ck_assert_mem_eq(got, p.packed.data, used);
    memset(got, 0x55, bytes); /* from the last row to the first */
    attn_gemm_pack(gemm, got, p.w + (n - 1) * k, n, k, -(ptrdiff_t)k, 1);
    ck_assert_float_eq(got[0], p.w[(n - 1) * k]);
    ck_assert_float_eq(got[1], p.w[(n - 2) * k]);
    free(turned);
    free(wide);
    free(got);
    release(&p);
}

START_TEST(panels_do_not_depend_on_strides_or_on_the_order_of_packing)
{
    each_gemm(packing_body);
}
END_TEST

/* Columns of w, cut out of its panels, are what packing these columns alone would have given. */
static void slice_body(void)
{
    const size_t n = 2 * mr + 3, k = 13;
    problem p = make(1, n, k);
    for (size_t first = 0; first < k; first++) {
        for (size_t width = 1; first + width <= k; width++) {
            fenced cut = fence(attn_gemm_panel_bytes(gemm, n, width)), packed = fence(attn_gemm_panel_bytes(gemm, n, width));
            attn_gemm_slice(gemm, cut.data, &p.panels, first, width);
            attn_gemm_pack(gemm, packed.data, p.w + first, n, width, (ptrdiff_t)k, 1);
            ck_assert_mem_eq(cut.data, packed.data, (n + mr - 1) / mr * mr * width * sizeof(float));
            unfence(cut);
            unfence(packed);
        }
    }
    release(&p);
}

START_TEST(columns_cut_out_of_panels_are_packed_columns)
{
    each_gemm(slice_body);
}
END_TEST

static void sizes_body(void)
{
    problem p = make(3, 2 * mr + 1, 8);
    float *s = p.scratch.data, *y = p.y, *x = p.x;
    const size_t n = p.n, big = (size_t)1 << 40;
    attn_panels bad_n = { p.packed.data, big, 8 }, bad_k = { p.packed.data, n, big }, none = { NULL, n, 8 }, flat = { p.packed.data, n, 0 },
                empty = { NULL, 0, 8 };
    const attn_panels *w = &p.panels;
#define REFUSED(...) ck_assert_int_eq(attn_gemm_rows(gemm, __VA_ARGS__, 1, s), ATTN_E_INTERNAL)
    REFUSED(y, p.ldy, x, p.ldx, 3, w, 1, n);       /* j0 inside a panel */
    REFUSED(y, p.ldy, x, p.ldx, 3, w, 0, mr + 1);  /* j1 inside a panel */
    REFUSED(y, p.ldy, x, p.ldx, 3, w, 0, n + 1);   /* beyond n */
    REFUSED(y, p.ldy, x, p.ldx, 3, w, 2 * mr, mr); /* backwards */
    REFUSED(y, n - 1, x, p.ldx, 3, w, 0, n);       /* rows of y overlap */
    REFUSED(y, p.ldy, x, 7, 3, w, 0, n);           /* rows of x overlap */
    REFUSED(y, p.ldy, x, p.ldx, big, w, 0, n);     /* too large */
    REFUSED(y, big, x, p.ldx, 3, w, 0, n);
    REFUSED(y, p.ldy, x, p.ldx, 3, &bad_n, 0, n / mr * mr);
    REFUSED(y, p.ldy, x, big, 3, &bad_k, 0, n);
    REFUSED(NULL, p.ldy, x, p.ldx, 3, w, 0, n); /* nowhere */
    REFUSED(y, p.ldy, NULL, p.ldx, 3, w, 0, n);
    REFUSED(y, p.ldy, x, p.ldx, 3, &none, 0, n);
#undef REFUSED
    ck_assert_uint_eq(attn_gemm_panel_bytes(gemm, SIZE_MAX, 1), 0);
    ck_assert_uint_eq(attn_gemm_panel_bytes(gemm, SIZE_MAX / 8, 8), 0);
    ck_assert_uint_eq(attn_gemm_scratch_bytes(gemm, 8, SIZE_MAX / 16), 0);
    y[0] = 5;
    ck_assert_int_eq(attn_gemm_rows(gemm, y, p.ldy, x, p.ldx, 0, w, 0, n, 1, s), ATTN_OK);
    ck_assert_int_eq(attn_gemm_rows(gemm, y, p.ldy, x, p.ldx, 3, w, mr, mr, 1, s), ATTN_OK);
    ck_assert_int_eq(attn_gemm_rows(gemm, y, p.ldy, x, p.ldx, 3, &empty, 0, 0, 1, s), ATTN_OK);
    ck_assert_float_eq(y[0], 5);
    ck_assert_int_eq(attn_gemm_rows(gemm, y, p.ldy, x, p.ldx, 3, &flat, 0, n, 1, s), ATTN_OK); /* a sum of nothing */
    for (size_t i = 0; i < 3 * p.ldy; i++)
        ck_assert_float_eq(y[i], 0);
    release(&p);
}

START_TEST(sizes_that_do_not_agree_are_refused_not_aborted_on)
{
    each_gemm(sizes_body);
}
END_TEST

/* ---- attn_linear ------------------------------------------------------------------------------------------------------ */

static void check_linear(attn_runtime *rt, const problem *p, const float *bias, attn_activation act, float *want)
{
    attn_arena *arena = attn_arena_new();
    attn_error err = { 0 };
    for (size_t i = 0; i < p->m * p->ldy; i++)
        p->y[i] = i % p->ldy < p->n ? NAN : 77;
    attn_runtime_enter(rt);
    attn_status status = attn_linear(rt, p->y, p->ldy, p->x, p->ldx, p->m, &p->panels, bias, act, arena, &err);
    attn_runtime_leave(rt);
    ck_assert_int_eq(status, ATTN_OK);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_linear_bytes(rt, p->m, p->k));
    for (size_t i = 0; i < p->m; i++) {
        attn_status row = attn_gemm_rows(gemm, want, p->n, p->x + i * p->ldx, p->ldx, 1, &p->panels, 0, p->n, 1, p->scratch.data);
        ck_assert_int_eq(row, ATTN_OK);
        table->bias_act_row(want, bias, p->n, act);
        ck_assert_mem_eq(want, p->y + i * p->ldy, p->n * sizeof *want);
        for (size_t j = p->n; j < p->ldy; j++)
            ck_assert_float_eq(p->y[i * p->ldy + j], 77);
    }
    attn_arena_free(arena);
}

static void linear_body(void)
{
    static const size_t shapes[][3] = { { 1, 1, 1 },      { 1, 200, 40 },   { 8, 384, 384 }, { 13, 515, 70 },
                                        { 150, 130, 33 }, { 300, 97, 500 }, { 5, 3, 0 },     { 0, 5, 7 } };
    for (int threads = 1; threads <= 5; threads += 2) {
        attn_runtime *rt = NULL;
        attn_runtime_options options = { .threads = threads, .kernels = table->name };
        ck_assert_int_eq(attn_runtime_new(&rt, &options, NULL), ATTN_OK);
        ck_assert_ptr_eq(attn_runtime_gemm(rt), gemm);
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            problem p = make(shapes[s][0], shapes[s][1], shapes[s][2]);
            float *bias = calloc(p.n, sizeof *bias), *want = calloc(p.n, sizeof *want);
            fill(bias, p.n);
            check_linear(rt, &p, bias, ATTN_ACT_GELU, want);
            check_linear(rt, &p, NULL, ATTN_ACT_NONE, want);
            check_linear(rt, &p, NULL, ATTN_ACT_SILU, want);
            check_linear(rt, &p, bias, ATTN_ACT_NONE, want);
            free(bias);
            free(want);
            release(&p);
        }
        attn_runtime_free(rt);
    }
}

START_TEST(a_linear_layer_has_the_bits_of_its_rows_one_by_one_for_any_number_of_threads)
{
    each_table(linear_body);
}
END_TEST

/* Three layers of one x, that differ in n, bias and activation. */
static void check_linears(attn_runtime *rt, problem *p, const float *bias)
{
    size_t n[3] = { p->n, p->n > 70 ? 70 : 1, p->n }, size = attn_most(1, p->m * p->n);
    attn_arena *arena = attn_arena_new();
    attn_panels w[3];
    attn_linear_part parts[3];
    float *alone = calloc(size, sizeof *alone);
    for (size_t i = 0; i < 3; i++) {
        w[i] = (attn_panels){ p->panels.data, n[i], p->k };
        parts[i] = (attn_linear_part){ calloc(size, sizeof(float)), n[i], &w[i], i == 1 ? NULL : bias, i == 2 ? ATTN_ACT_GELU : ATTN_ACT_NONE };
    }
    attn_runtime_enter(rt);
    ck_assert_int_eq(attn_linears(rt, parts, 3, p->x, p->ldx, p->m, arena, NULL), ATTN_OK);
    ck_assert_uint_le(attn_arena_peak(arena), attn_linear_bytes(rt, p->m, p->k));
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(attn_linear(rt, alone, n[i], p->x, p->ldx, p->m, &w[i], parts[i].bias, parts[i].act, arena, NULL), ATTN_OK);
        ck_assert_mem_eq(alone, parts[i].y, p->m * n[i] * sizeof *alone);
        free(parts[i].y);
    }
    attn_runtime_leave(rt);
    attn_arena_free(arena);
    free(alone);
}

static void linears_body(void)
{
    static const size_t shapes[][3] = { { 1, 200, 40 }, { 8, 384, 384 }, { 100, 97, 33 }, { 150, 130, 33 }, { 300, 515, 70 } };
    for (int threads = 1; threads <= 3; threads++) {
        attn_runtime *rt = NULL;
        attn_runtime_options options = { .threads = threads, .kernels = table->name };
        ck_assert_int_eq(attn_runtime_new(&rt, &options, NULL), ATTN_OK);
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            problem p = make(shapes[s][0], shapes[s][1], shapes[s][2]);
            check_linears(rt, &p, p.w);
            release(&p);
        }
        attn_runtime_free(rt);
    }
}

START_TEST(layers_of_the_same_x_have_the_bits_of_each_alone)
{
    each_table(linears_body);
}
END_TEST

static bool no_memory(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    return false;
}

START_TEST(a_linear_layer_reports_wrong_sizes_and_missing_memory)
{
    use(attn_kernels_find("auto"), attn_gemm_find(attn_kernels_find("auto")));
    attn_runtime *rt = NULL;
    attn_runtime_options options = { .threads = 1 };
    ck_assert_int_eq(attn_runtime_new(&rt, &options, NULL), ATTN_OK);
    problem p = make(4, 10, 6);
    attn_arena *arena = attn_arena_new();
    attn_error err = { 0 };
    ck_assert_int_eq(attn_linear(rt, p.y, 9, p.x, p.ldx, 4, &p.panels, NULL, ATTN_ACT_NONE, arena, &err), ATTN_E_INTERNAL);
    ck_assert_int_eq(err.code, ATTN_E_INTERNAL);
    ck_assert_int_eq(attn_linear(rt, p.y, p.ldy, p.x, 5, 4, &p.panels, NULL, ATTN_ACT_NONE, arena, NULL), ATTN_E_INTERNAL);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    attn_panels endless = { p.packed.data, 10, SIZE_MAX / 2 };
    ck_assert_int_eq(attn_linear(rt, p.y, p.ldy, p.x, p.ldx, 4, &endless, NULL, ATTN_ACT_NONE, arena, NULL), ATTN_E_NOMEM);
    attn_arena_free(arena);
    arena = attn_arena_new();
    attn_memory_hook(no_memory, NULL);
    err.code = ATTN_OK;
    attn_status status = attn_linear(rt, p.y, p.ldy, p.x, p.ldx, 4, &p.panels, NULL, ATTN_ACT_NONE, arena, &err);
    attn_memory_hook(NULL, NULL);
    ck_assert_int_eq(status, ATTN_E_NOMEM);
    ck_assert_int_eq(err.code, ATTN_E_NOMEM);
    attn_arena_free(arena);
    release(&p);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(each_table_has_its_kernel_and_a_name_for_it)
{
    for (const attn_kernels *const *all = attn_kernels_all(); *all; all++) {
        const attn_gemm *g = attn_gemm_find(*all);
        ck_assert_ptr_nonnull(g);
        size_t rows_w, rows_x;
        attn_gemm_tile(g, &rows_w, &rows_x);
        char size[32];
        snprintf(size, sizeof size, " %zux%zu", rows_w, rows_x);
        ck_assert_msg(strstr(attn_gemm_name(g), size) != NULL, "%s has tiles of%s", attn_gemm_name(g), size);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *c = tcase_create("gemm");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, products_agree_with_double_at_every_edge);
    tcase_add_test(c, bits_of_an_element_depend_on_its_two_rows_alone);
    tcase_add_test(c, a_part_of_a_sum_has_the_bits_of_rows_that_are_zero_elsewhere);
    tcase_add_test(c, bits_of_an_element_do_not_depend_on_its_place_in_a_tile);
    tcase_add_test(c, a_kernel_of_our_own_has_the_bits_of_the_one_of_blis);
    tcase_add_test(c, panels_do_not_depend_on_strides_or_on_the_order_of_packing);
    tcase_add_test(c, columns_cut_out_of_panels_are_packed_columns);
    tcase_add_test(c, sizes_that_do_not_agree_are_refused_not_aborted_on);
    tcase_add_test(c, a_linear_layer_has_the_bits_of_its_rows_one_by_one_for_any_number_of_threads);
    tcase_add_test(c, layers_of_the_same_x_have_the_bits_of_each_alone);
    tcase_add_test(c, a_linear_layer_reports_wrong_sizes_and_missing_memory);
    tcase_add_test(c, each_table_has_its_kernel_and_a_name_for_it);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
