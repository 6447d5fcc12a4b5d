/* gemm.c - packs panels and walks them with a kernel; the only file that includes blis.h.
 *
 * Of BLIS this takes micro-kernels, with the panel sizes and the depth of a block that BLIS's own contexts give them, and calls them itself. Its object
 * interface is never entered: that would abort on a wrong shape, pick kernels by a CPU table older than today's CPUs, and pack the weights at every call.
 * Nor are its contexts: filling one links the reference kernels of every CPU of the family, 10 MB, of which not one is called.
 * Micro-kernels are in the static library only, so the program is linked against libblis.a.
 *
 * A panel of R rows holds element (row, l) at l * R + row, all of k one after another: where k is cut does not show in the layout.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm.h"
#include "math/gemm_tile.h"

#include <blis.h>
#include <pthread.h>
#include <string.h>

/* Micro-kernels load the row after the last one before they know that it is not needed. */
enum { SLACK_BYTES = 256 };

struct attn_gemm {
    const char *name;
    size_t mr, nr, kc;
    void (*transpose)(float *dst, size_t ld_dst, const float *src, size_t ld_src, size_t rows, size_t cols);
    void (*band)(const attn_band *); /* a kernel that reads x where it lies; NULL: x is packed */
    sgemm_ukr_ft blis;               /* NULL: the plain kernel */
    size_t tail_rows;                /* so many rows of x, or fewer, go to `tail` */
    void (*tail)(const attn_tile *);
};

static attn_gemm ref_gemm, haswell_gemm, skx_gemm, own_gemm_512, armv8a_gemm;
static pthread_once_t set_up = PTHREAD_ONCE_INIT;

/* BLIS writes no const; its kernels only read the panels. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

static void take_kernel(attn_gemm *g, const char *table, attn_gemm blis)
{
    const attn_kernels *kernels = attn_kernels_find(table);
    if (!kernels)
        return;
    *g = blis;
    g->transpose = kernels->transpose;
}

#if defined(__aarch64__)
enum { ARMV8A_MR = 8, ARMV8A_NR = 12 };

/* BLIS rounds once more at the edges than inside: it has the tile in a buffer there, and adds. For equal bits every tile takes that way here. */
static void tile_armv8a(const attn_tile *t)
{
    float tile[ARMV8A_MR * ARMV8A_NR], alpha = t->alpha, zero = 0;
    auxinfo_t next;
    memset(&next, 0, sizeof next);
    bli_auxinfo_set_next_a(unconst(t->next_w), &next);
    bli_auxinfo_set_next_b(unconst(t->next_x), &next);
    bli_sgemm_armv8a_asm_8x12(ARMV8A_MR, ARMV8A_NR, (dim_t)t->k, &alpha, unconst(t->w), unconst(t->x), &zero, tile, 1, ARMV8A_MR, &next, NULL);
    for (size_t j = 0; j < t->n; j++) {
        float *y = t->y + j * t->ldy;
        const float *sum = tile + j * ARMV8A_MR;
        for (size_t i = 0; i < t->m; i++)
            y[i] = t->beta == 0 ? sum[i] : y[i] + sum[i];
    }
}
#endif

static void take_fast_kernels(void)
{
#if defined(__x86_64__)
    const attn_gemm haswell = {
        .name = "blis haswell 6x16", .mr = 6, .nr = 16, .kc = 256, .blis = bli_sgemm_haswell_asm_6x16, .tail_rows = 8, .tail = attn_tail_haswell
    };
    const attn_gemm skx = {
        .name = "blis skx 32x12", .mr = 32, .nr = 12, .kc = 384, .blis = bli_sgemm_skx_asm_32x12_l2, .tail_rows = 11, .tail = attn_tail_skx
    };
    const attn_gemm own = { /* sums are cut where its twin, BLIS's, cuts them */
                            .name = "own 48x8",
                            .mr = ATTN_BAND_MR_AVX512,
                            .nr = ATTN_BAND_ROWS_AVX512,
                            .kc = skx.kc,
                            .band = attn_band_avx512
    };
    take_kernel(&haswell_gemm, "avx2", haswell);
    take_kernel(&skx_gemm, "avx512", skx);
    take_kernel(&own_gemm_512, "avx512", own);
#elif defined(__aarch64__)
    const attn_gemm armv8a = {
        .name = "blis armv8a 8x12", .mr = ARMV8A_MR, .nr = ARMV8A_NR, .kc = 640, .blis = bli_sgemm_armv8a_asm_8x12, .tail_rows = ARMV8A_NR, .tail = tile_armv8a
    };
    take_kernel(&armv8a_gemm, "neon", armv8a);
#endif
}

static void take_kernels(void)
{
    ref_gemm.mr = ATTN_REF_MR;
    ref_gemm.nr = ATTN_REF_NR;
    ref_gemm.kc = ATTN_REF_KC;
    ref_gemm.transpose = attn_kernels_find("ref")->transpose;
    ref_gemm.name = "plain 8x8";
    take_fast_kernels();
}

const attn_gemm *attn_gemm_find(const attn_kernels *kernels)
{
    pthread_once(&set_up, take_kernels);
    const attn_gemm *g = NULL;
    if (strcmp(kernels->name, "ref") == 0)
        g = &ref_gemm;
    else if (strcmp(kernels->name, "avx2") == 0)
        g = &haswell_gemm;
    else if (strcmp(kernels->name, "avx512") == 0)
        g = &own_gemm_512;
    else if (strcmp(kernels->name, "neon") == 0)
        g = &armv8a_gemm;
    return g && g->name ? g : NULL;
}

const attn_gemm *attn_gemm_twin(const attn_kernels *kernels)
{
    pthread_once(&set_up, take_kernels);
    return strcmp(kernels->name, "avx512") == 0 && skx_gemm.name ? &skx_gemm : NULL;
}

bool attn_gemm_packs(const attn_gemm *g)
{
    return !g->band;
}

const char *attn_gemm_name(const attn_gemm *g)
{
    return g->name;
}

void attn_gemm_tile(const attn_gemm *g, size_t *mr, size_t *nr)
{
    *mr = g->mr;
    *nr = g->nr;
}

/* ---- packing --------------------------------------------------------------------------------------------------------- */

static size_t packed_bytes(size_t rows, size_t panel, size_t k)
{
    size_t bytes;
    if (rows > SIZE_MAX - panel || !attn_mul(attn_round_up(rows, panel), k, &bytes) || !attn_mul(bytes, sizeof(float), &bytes) ||
        !attn_add(bytes, SLACK_BYTES, &bytes))
        return 0;
    return bytes;
}

size_t attn_gemm_panel_bytes(const attn_gemm *g, size_t n, size_t k)
{
    return packed_bytes(n, g->mr, k);
}

size_t attn_gemm_scratch_bytes(const attn_gemm *g, size_t m, size_t k)
{
    size_t bytes = packed_bytes(m, g->nr, k);
    return bytes && g->band ? SLACK_BYTES : bytes;
}

/* Rows [0, rows) of one panel of `width`, zeros behind them. */
static void pack_panel(const attn_gemm *g, float *dst, size_t width, const float *src, size_t rows, size_t k, ptrdiff_t row_stride, ptrdiff_t col_stride)
{
    if (rows < width)
        memset(dst, 0, width * k * sizeof *dst);
    if (col_stride == 1 && row_stride >= 0) {
        g->transpose(dst, width, src, (size_t)row_stride, rows, k);
        return;
    }
    for (size_t l = 0; l < k; l++, dst += width, src += col_stride) {
        if (row_stride == 1)
            memcpy(dst, src, rows * sizeof *dst);
        else
            for (size_t i = 0; i < rows; i++)
                dst[i] = src[(ptrdiff_t)i * row_stride];
    }
}

static void pack(const attn_gemm *g, float *dst, size_t width, const float *src, size_t n, size_t k, ptrdiff_t row_stride, ptrdiff_t col_stride)
{
    for (size_t i = 0; i < n; i += width) {
        size_t rows = n - i < width ? n - i : width;
        pack_panel(g, dst + i * k, width, src + (ptrdiff_t)i * row_stride, rows, k, row_stride, col_stride);
    }
}

void attn_gemm_pack(const attn_gemm *g, float *dst, const float *w, size_t n, size_t k, ptrdiff_t row_stride, ptrdiff_t col_stride)
{
    pack(g, dst, g->mr, w, n, k, row_stride, col_stride);
}

void attn_gemm_slice(const attn_gemm *g, float *dst, const attn_panels *w, size_t first, size_t k)
{
    for (size_t j = 0; j < w->n; j += g->mr)
        memcpy(dst + j * k, w->data + j * w->k + first * g->mr, g->mr * k * sizeof *dst);
}

void attn_gemm_pack_rows(const attn_gemm *g, float *dst, const float *x, size_t ldx, size_t m, size_t k)
{
    pack(g, dst, g->nr, x, m, k, (ptrdiff_t)ldx, 1);
}

/* ---- the product ----------------------------------------------------------------------------------------------------- */

attn_status attn_gemm_check(const attn_gemm *g, const attn_product *p)
{
    const size_t most = INT32_MAX; /* BLIS's integers may be built with 32 bits */
    if (p->m > most || p->w.n > most || p->w.k > most || p->ldy > most)
        return ATTN_E_INTERNAL;
    if (p->l0 > p->l1 || p->l1 > p->w.k || p->j0 > p->j1 || p->j1 > p->w.n || p->j0 % g->mr != 0 || (p->j1 % g->mr != 0 && p->j1 != p->w.n))
        return ATTN_E_INTERNAL;
    if (p->m > 1 && (p->ldy < p->j1 - p->j0 || (g->band && p->ldx < p->w.k)))
        return ATTN_E_INTERNAL;
    if (p->m > 0 && p->j1 > p->j0 && (!p->y || (p->w.k > 0 && (!p->x || !p->w.data))))
        return ATTN_E_INTERNAL;
    return ATTN_OK;
}

static void run_tile(const attn_gemm *g, const attn_tile *t)
{
    if (!g->blis) {
        attn_tile_ref(t);
        return;
    }
    if (t->n <= g->tail_rows) {
        g->tail(t);
        return;
    }
    float alpha = t->alpha, beta = t->beta;
    auxinfo_t next;
    memset(&next, 0, sizeof next);
    bli_auxinfo_set_next_a(unconst(t->next_w), &next);
    bli_auxinfo_set_next_b(unconst(t->next_x), &next);
    g->blis((dim_t)t->m, (dim_t)t->n, (dim_t)t->k, &alpha, unconst(t->w), unconst(t->x), &beta, t->y, 1, (inc_t)t->ldy, &next, NULL);
}

/* One panel of w times all of x, for l in [l0, l0 + depth). The rows of x run inside: the panel of w stays in the nearest cache. */
static void run_panel(const attn_gemm *g, const attn_product *p, size_t j, size_t l0, size_t depth)
{
    const size_t k = p->w.k, x_k = p->l1 - p->l0;
    attn_tile t = { .k = depth, .alpha = p->alpha, .beta = l0 == p->l0 ? 0.0f : 1.0f, .ldy = p->ldy };
    t.m = attn_least(p->j1 - j, g->mr);
    t.w = p->w.data + j * k + l0 * g->mr;
    for (size_t i = 0; i < p->m; i += g->nr) {
        bool last = i + g->nr >= p->m;
        t.n = last ? p->m - i : g->nr;
        t.x = p->x + i * x_k + (l0 - p->l0) * g->nr;
        t.y = p->y + i * p->ldy + j;
        t.next_w = last && j + g->mr < p->j1 ? t.w + g->mr * k : t.w;
        t.next_x = last ? p->x + (l0 - p->l0) * g->nr : t.x + g->nr * x_k;
        run_tile(g, &t);
    }
}

/* The same with x where it lies. The next panel's numbers at these l are fetched meanwhile; behind the last panel that is whatever lies there, often the panel of
 * the next task. */
static void run_band(const attn_gemm *g, const attn_product *p, size_t j, size_t l0, size_t depth)
{
    const size_t k = p->w.k;
    const float *w = p->w.data + j * k + l0 * g->mr;
    attn_band b = { .m = attn_least(p->j1 - j, g->mr),
                    .n = p->m,
                    .k = depth,
                    .alpha = p->alpha,
                    .beta = l0 == p->l0 ? 0.0f : 1.0f,
                    .w = w,
                    .x = p->x + l0,
                    .ldx = p->ldx,
                    .y = p->y + j,
                    .ldy = p->ldy,
                    .next_w = j + g->mr < p->w.n ? w + g->mr * k : NULL };
    g->band(&b);
}

size_t attn_gemm_depth(const attn_gemm *g, size_t k)
{
    /* Blocks of equal depth, as few as the kernel's KC allows: a function of k alone. */
    size_t blocks = attn_ceil_div(k, g->kc);
    return blocks ? attn_round_up(attn_ceil_div(k, blocks), 4) : 0;
}

void attn_gemm_multiply(const attn_gemm *g, const attn_product *product)
{
    attn_product part = *product, *p = &part;
    const size_t k = p->w.k, depth = attn_gemm_depth(g, k);
    if (k == 0)
        for (size_t i = 0; i < p->m && p->j1 > p->j0; i++)
            memset(p->y + i * p->ldy + p->j0, 0, (p->j1 - p->j0) * sizeof *p->y);
    if (p->l1 == 0)
        p->l1 = k;
    for (size_t l = p->l0, end; l < p->l1; l = end) {
        end = attn_least(p->l1, (l / depth + 1) * depth);
        for (size_t j = p->j0; j < p->j1; j += g->mr)
            (g->band ? run_band : run_panel)(g, p, j, l, end - l);
    }
}

attn_status attn_gemm_part(const attn_gemm *g, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *w, size_t l0, size_t l1,
                           float *scratch)
{
    attn_product product = { .y = y, .ldy = ldy, .x = g->band ? x : scratch, .ldx = ldx, .m = m, .w = *w, .j1 = w->n, .l0 = l0, .l1 = l1, .alpha = 1.0f };
    if (attn_gemm_check(g, &product) != ATTN_OK || l0 >= l1 || (m > 1 && ldx < w->k) || !x)
        return ATTN_E_INTERNAL;
    if (!g->band)
        attn_gemm_pack_rows(g, scratch, x + l0, ldx, m, l1 - l0);
    attn_gemm_multiply(g, &product);
    return ATTN_OK;
}

attn_status attn_gemm_rows(const attn_gemm *g, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *w, size_t j0, size_t j1,
                           float alpha, float *scratch)
{
    const attn_product product = { .y = y, .ldy = ldy, .x = g->band ? x : scratch, .ldx = ldx, .m = m, .w = *w, .j0 = j0, .j1 = j1, .alpha = alpha };
    if (attn_gemm_check(g, &product) != ATTN_OK || (m > 1 && ldx < w->k) || (m > 0 && w->k > 0 && !x))
        return ATTN_E_INTERNAL;
    if (!g->band)
        attn_gemm_pack_rows(g, scratch, x, ldx, m, w->k);
    attn_gemm_multiply(g, &product);
    return ATTN_OK;
}
