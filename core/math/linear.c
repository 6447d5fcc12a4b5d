/* linear.c - linear layers of the same x on all threads, in one section: x packed once, where the kernel wants that, then tasks of (rows x columns), each with its own
 * bias and activation while its piece is warm.
 *
 * The panels of all layers stand in one row, which is cut into equal pieces, whatever layer they are of. Bits do not depend on the cut: it may depend on the number of
 * threads. A task is large enough to be worth handing over and small enough that few tokens still reach every thread, and that who comes last is not long alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm.h"

/* Of x, what stays in the second cache beside a panel of w: 144 rows (a multiple of 8, 12 and 16) at BLIS's depths are about 200 KB. */
enum { BLOCK_ROWS = 144, LEAST_ROWS = 48, LEAST_COLUMNS = 64, PACK_PANELS = 4 };
static const double least_flops = 1e6;                           /* of a task: some microseconds */
static const size_t one_row_alone = 1536 * 1024 / sizeof(float); /* of w: one row of x is through that many before another thread has woken up */

typedef struct linear {
    const attn_gemm *gemm;
    const attn_kernels *kernels;
    const attn_linear_part *parts;
    size_t num_parts;
    attn_product whole; /* of a part, but for y and w */
    size_t k;
    float *packed;  /* for whole.x, where the kernel packs */
    const float *x; /* [m, ldx] */
    size_t ldx;
    size_t panels, mr, nr;             /* panels: of all parts */
    size_t block_rows, num_row_blocks; /* rows: a multiple of nr */
    size_t band_blocks;                /* row blocks that go through the panels together */
    size_t num_pieces;                 /* of the panels */
    size_t pack_rows;                  /* a multiple of nr */
} linear;

/* Into equal blocks, as many for each thread where there are rows enough: a core then finds most of the x that it wrote itself. Where there
 * are more, all rows go through a panel while it is warm. */
static void cut_rows(linear *t, size_t threads)
{
    size_t m = t->whole.m, bands = m >= LEAST_ROWS * threads && m <= BLOCK_ROWS * threads ? threads : 1,
           blocks = attn_round_up(attn_ceil_div(m, BLOCK_ROWS), bands);
    t->block_rows = attn_round_up(attn_ceil_div(m, blocks), t->nr);
    t->num_row_blocks = attn_ceil_div(m, t->block_rows);
    t->band_blocks = attn_ceil_div(t->num_row_blocks, bands);
}

static void plan(linear *t, size_t threads)
{
    size_t least = attn_ceil_div(LEAST_COLUMNS, t->mr);
    cut_rows(t, threads);
    double row_flops = 2.0 * (double)t->mr * (double)(t->k + 1), flops = row_flops * (double)t->block_rows;
    if (flops * (double)least < least_flops)
        least = (size_t)(least_flops / flops) + 1;
    t->num_pieces = attn_most(1, t->panels / least);
    if (t->num_pieces > threads)
        t->num_pieces -= t->num_pieces % threads;
    if (t->whole.m == 1 && t->panels * t->mr <= one_row_alone / (t->k + 1))
        t->num_pieces = 1;
    t->pack_rows = PACK_PANELS * t->nr;
}

static void pack_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    const linear *t = ctx;
    size_t row = i * t->pack_rows, k = t->k;
    attn_gemm_pack_rows(t->gemm, t->packed + row * k, t->x + row * t->ldx, t->ldx, attn_least(t->pack_rows, t->whole.m - row), k);
}

/* Panels [first, end) of a part, for rows from `row` on. */
static void multiply(const linear *t, const attn_linear_part *part, size_t row, size_t first, size_t end)
{
    attn_product piece = t->whole;
    piece.w = *part->w;
    piece.j0 = first * t->mr;
    piece.j1 = attn_least(end * t->mr, part->w->n);
    piece.m = attn_least(t->block_rows, t->whole.m - row);
    piece.x += row * (attn_gemm_packs(t->gemm) ? t->k : t->ldx);
    piece.ldy = part->ldy;
    piece.y = part->y + row * piece.ldy;
    attn_gemm_multiply(t->gemm, &piece);
    if (!part->bias && part->act == ATTN_ACT_NONE)
        return;
    for (size_t r = 0; r < piece.m; r++)
        t->kernels->bias_act_row(piece.y + r * piece.ldy + piece.j0, part->bias ? part->bias + piece.j0 : NULL, piece.j1 - piece.j0, part->act);
}

static void multiply_task(void *ctx, size_t i, int slot)
{
    (void)slot;
    const linear *t = ctx;
    size_t per_band = t->band_blocks * t->num_pieces, block = i / per_band * t->band_blocks, blocks = attn_least(t->band_blocks, t->num_row_blocks - block);
    size_t row = (block + i % per_band % blocks) * t->block_rows, piece = i % per_band / blocks;
    size_t first = piece * t->panels / t->num_pieces, end = (piece + 1) * t->panels / t->num_pieces;
    for (size_t p = 0, at = 0; p < t->num_parts && at < end; p++) {
        size_t panels = attn_ceil_div(t->parts[p].w->n, t->mr);
        if (first < at + panels)
            multiply(t, &t->parts[p], row, attn_most(first, at) - at, attn_least(end - at, panels));
        at += panels;
    }
}

size_t attn_linear_bytes(const attn_runtime *rt, size_t m, size_t k)
{
    size_t bytes = attn_gemm_scratch_bytes(attn_runtime_gemm(rt), m, k);
    return bytes && attn_add(bytes, 127, &bytes) ? bytes / 64 * 64 : 0; /* alignment, and what an arena may put between blocks */
}

/* Of each part, and that they go together. */
static attn_status check(linear *t, attn_error *err)
{
    for (size_t p = 0; p < t->num_parts; p++) {
        const attn_linear_part *part = &t->parts[p];
        attn_product product = t->whole;
        product.y = part->y;
        product.ldy = part->ldy;
        product.w = *part->w;
        product.j1 = part->w->n;
        if (part->w->k != t->k || !t->x || (t->whole.m > 1 && t->ldx < t->k) || attn_gemm_check(t->gemm, &product) != ATTN_OK)
            return attn_fail(err, ATTN_E_INTERNAL, "linear", "sizes do not agree: %zu rows of %zu, [%zu, %zu] weights, result rows of %zu", t->whole.m, t->ldx,
                             part->w->n, part->w->k, part->ldy);
        t->panels += attn_ceil_div(part->w->n, t->mr);
    }
    return ATTN_OK;
}

attn_status attn_linears(attn_runtime *rt, const attn_linear_part *parts, size_t num_parts, const float *x, size_t ldx, size_t m, attn_arena *arena,
                         attn_error *err)
{
    if (m == 0 || num_parts == 0)
        return ATTN_OK;
    linear t = {
        .gemm = attn_runtime_gemm(rt), .kernels = attn_runtime_table(rt), .parts = parts, .num_parts = num_parts, .k = parts[0].w->k, .x = x, .ldx = ldx
    };
    attn_gemm_tile(t.gemm, &t.mr, &t.nr);
    size_t bytes = attn_gemm_scratch_bytes(t.gemm, m, t.k);
    attn_arena_mark mark = attn_arena_save(arena);
    t.packed = bytes ? attn_arena_take(arena, bytes, 1) : NULL;
    if (!t.packed)
        return attn_fail_memory(err);
    t.whole = (attn_product){ .x = attn_gemm_packs(t.gemm) ? t.packed : x, .ldx = ldx, .m = m, .alpha = 1.0f };
    attn_status status = check(&t, err);
    if (status == ATTN_OK && t.panels > 0) {
        plan(&t, (size_t)attn_runtime_threads(rt));
        if (attn_gemm_packs(t.gemm))
            attn_parallel(rt, attn_ceil_div(m, t.pack_rows), pack_task, &t);
        attn_parallel(rt, t.num_row_blocks * t.num_pieces, multiply_task, &t);
    }
    attn_arena_rewind(arena, mark);
    return status;
}

attn_status attn_linear(attn_runtime *rt, float *y, size_t ldy, const float *x, size_t ldx, size_t m, const attn_panels *w, const float *bias,
                        attn_activation act, attn_arena *arena, attn_error *err)
{
    attn_linear_part part = { .y = y, .ldy = ldy, .w = w, .bias = bias, .act = act };
    return w->n > 0 ? attn_linears(rt, &part, 1, x, ldx, m, arena, err) : ATTN_OK;
}
