/* linear.c - a linear layer on all threads: x packed once, where the kernel wants that, then tasks of (rows x columns), each with its own bias and activation while its piece is warm.
 *
 * The cut is the same for any number of threads. A task is large enough to be worth handing over and small enough that few tokens still reach every thread.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm.h"

/* Of x, what stays in the second cache beside a panel of w: 144 rows (a multiple of 8, 12 and 16) at BLIS's depths are about 200 KB. */
enum { BLOCK_ROWS = 144, MIN_COLUMNS = 64, PACK_PANELS = 4 };
static const double task_flops = 1e6;                            /* some ten microseconds */
static const size_t one_row_alone = 1536 * 1024 / sizeof(float); /* of w: one row of x is through that many before another thread has woken up */

typedef struct linear {
    const attn_gemm *gemm;
    const attn_kernels *kernels;
    attn_product whole;
    float *packed;  /* for whole.x, where the kernel packs */
    const float *x; /* [m, ldx] */
    size_t ldx;
    const float *bias;
    attn_activation act;
    size_t block_rows, num_row_blocks; /* rows: a multiple of NR */
    size_t block_columns;              /* a multiple of MR */
    size_t pack_rows;                  /* a multiple of NR */
} linear;

static void plan(linear *t)
{
    size_t mr, nr, m = t->whole.m;
    attn_gemm_tile(t->gemm, &mr, &nr);
    size_t blocks = attn_ceil_div(m, BLOCK_ROWS);
    t->block_rows = attn_ceil_div(attn_ceil_div(m, blocks), nr) * nr;
    t->num_row_blocks = attn_ceil_div(m, t->block_rows);
    double panel_flops = 2.0 * (double)mr * (double)t->block_rows * (double)(t->whole.w.k + 1);
    size_t panels = attn_ceil_div(MIN_COLUMNS, mr);
    if (panel_flops * (double)panels < task_flops)
        panels = (size_t)(task_flops / panel_flops) + 1;
    if (m == 1 && t->whole.w.n <= one_row_alone / (t->whole.w.k + 1))
        panels = attn_ceil_div(t->whole.w.n, mr);
    t->block_columns = panels * mr;
    t->pack_rows = PACK_PANELS * nr;
}

static void pack_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    const linear *t = ctx;
    size_t row = i * t->pack_rows, k = t->whole.w.k;
    attn_gemm_pack_rows(t->gemm, t->packed + row * k, t->x + row * t->ldx, t->ldx, attn_least(t->pack_rows, t->whole.m - row), k);
}

static void multiply_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    const linear *t = ctx;
    size_t row = i % t->num_row_blocks * t->block_rows;
    attn_product piece = t->whole;
    piece.j0 = i / t->num_row_blocks * t->block_columns;
    piece.j1 = attn_least(piece.j0 + t->block_columns, t->whole.w.n);
    piece.m = attn_least(t->block_rows, t->whole.m - row);
    piece.x += row * (attn_gemm_packs(t->gemm) ? t->whole.w.k : t->ldx);
    piece.y += row * t->whole.ldy;
    attn_gemm_multiply(t->gemm, &piece);
    if (!t->bias && t->act == ATTN_ACT_NONE)
        return;
    for (size_t r = 0; r < piece.m; r++)
        t->kernels->bias_act_row(piece.y + r * piece.ldy + piece.j0, t->bias ? t->bias + piece.j0 : NULL, piece.j1 - piece.j0, t->act);
}

size_t attn_linear_bytes(const attn_runtime *rt, size_t m, size_t k)
{
    size_t bytes = attn_gemm_scratch_bytes(attn_runtime_gemm(rt), m, k);
    return bytes && attn_add(bytes, 127, &bytes) ? bytes / 64 * 64 : 0; /* alignment, and what an arena may put between blocks */
}

attn_status attn_linear(attn_runtime *rt, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *w, const float *bias,
                        attn_activation act, attn_arena *arena, attn_error *err)
{
    if (m == 0 || w->n == 0)
        return ATTN_OK;
    linear t = { .gemm = attn_runtime_gemm(rt), .kernels = attn_runtime_table(rt), .x = x, .ldx = ldx, .bias = bias, .act = act };
    size_t bytes = attn_gemm_scratch_bytes(t.gemm, m, w->k);
    attn_arena_mark mark = attn_arena_save(arena);
    t.packed = bytes ? attn_arena_take(arena, bytes, 1) : NULL;
    if (!t.packed)
        return attn_fail_memory(err);
    t.whole =
        (attn_product){ .y = y, .ldy = ldy, .x = attn_gemm_packs(t.gemm) ? t.packed : x, .ldx = ldx, .m = m, .w = *w, .j0 = 0, .j1 = w->n, .alpha = 1.0f };
    attn_status status = attn_gemm_check(t.gemm, &t.whole);
    if (status != ATTN_OK || !x || (m > 1 && ldx < w->k)) {
        status =
            attn_fail(err, ATTN_E_INTERNAL, "linear", "sizes do not agree: %zu rows of %zu, [%zu, %zu] weights, result rows of %zu", m, ldx, w->n, w->k, ldy);
    } else {
        plan(&t);
        if (attn_gemm_packs(t.gemm))
            attn_parallel(rt, attn_ceil_div(m, t.pack_rows), pack_task, &t);
        attn_parallel(rt, t.num_row_blocks * attn_ceil_div(w->n, t.block_columns), multiply_task, &t);
    }
    attn_arena_rewind(arena, mark);
    return status;
}
