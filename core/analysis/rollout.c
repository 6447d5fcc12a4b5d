/* analysis/rollout.c - attention rollout, one layer at a time: the weights of a layer, mixed with what passes it by, times the rollout of the layers below.
 *
 * A row of A is made in scratch, just before it is multiplied, so that A is never held. The columns of the layer below are packed once, by all threads. Blocks
 * of rows do not depend on the number of threads, so bits do not either. A product of rows that sum to 1 has rows that do: each is scaled to it again, or
 * rounding would add up from layer to layer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis/analysis.h"
#include "math/gemm.h"

enum { BLOCK_ROWS = 48, PACK_PANELS = 4, PIECE = 256, ALIGNMENT = 64 };

typedef struct job {
    const attn_gemm *gemm;
    const attn_view *maps;
    attn_cancel *cancel;
    size_t T;
    float *next;           /* [T, T] */
    const float *previous; /* [T, T], NULL: the identity */
    float *panels;         /* the columns of previous */
    size_t pack_columns;
    unsigned char *scratch; /* of each slot: mixed_bytes for rows of A, then what the product packs */
    size_t mixed_bytes, slot_bytes;
    atomic_bool failed; /* a product refused its sizes */
} job;

/* Bytes of the panels and of a slot; false when they do not fit. */
static bool plan(job *j, size_t *panel_bytes)
{
    size_t mr, nr, rows = attn_least(BLOCK_ROWS, j->T), floats;
    attn_gemm_tile(j->gemm, &mr, &nr);
    j->pack_columns = PACK_PANELS * mr;
    *panel_bytes = attn_gemm_panel_bytes(j->gemm, j->T, j->T);
    size_t pack_bytes = attn_gemm_scratch_bytes(j->gemm, rows, j->T);
    if (*panel_bytes == 0 || pack_bytes == 0 || !attn_mul(rows, j->T, &floats) || floats > SIZE_MAX / 16)
        return false;
    j->mixed_bytes = attn_round_up(floats * sizeof(float), ALIGNMENT);
    return attn_add(j->mixed_bytes, attn_round_up(pack_bytes, ALIGNMENT), &j->slot_bytes);
}

/* Row i of A = (W + 1) / (s + 1), s the sum of W's row: what (W + 1) / 2 is once its rows are scaled to sum 1, and the identity where W has nothing. */
static void mix_row(const job *j, size_t i, float *a)
{
    const attn_view *maps = j->maps;
    double total = 0;
    for (size_t first = 0; first < j->T; first += PIECE) {
        double sum[PIECE] = { 0 };
        size_t n = attn_least(PIECE, j->T - first);
        for (size_t h = 0; h < maps->heads; h++) {
            const float *w = maps->head[h] + (ptrdiff_t)i * maps->row_stride + first;
            for (size_t c = 0; c < n; c++)
                sum[c] += (double)w[c];
        }
        for (size_t c = 0; c < n; c++) {
            a[first + c] = (float)(sum[c] / (double)maps->heads);
            total += sum[c];
        }
    }
    double share = 1 / (total / (double)maps->heads + 1);
    double own = (double)a[i] + 1;
    for (size_t c = 0; c < j->T; c++)
        a[c] = (float)((double)a[c] * share);
    a[i] = (float)(own * share);
}

static void pack_task(void *ctx, size_t p, int slot)
{
    (void)slot;
    const job *j = ctx;
    size_t column = p * j->pack_columns;
    if (!attn_cancelled(j->cancel))
        attn_gemm_pack(j->gemm, j->panels + column * j->T, j->previous + column, attn_least(j->pack_columns, j->T - column), j->T, 1, (ptrdiff_t)j->T);
}

static void scale_row(float *row, size_t n)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++)
        sum += (double)row[c];
    for (size_t c = 0; c < n; c++)
        row[c] = (float)((double)row[c] / sum);
}

static void multiply(job *j, float *out, const float *mixed, size_t rows, float *scratch)
{
    const attn_panels below = { .data = j->panels, .n = j->T, .k = j->T };
    if (attn_gemm_rows(j->gemm, out, j->T, mixed, j->T, rows, &below, 0, j->T, 1.0f, scratch) != ATTN_OK) {
        atomic_store(&j->failed, true);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        scale_row(out + r * j->T, j->T);
}

static void rows_task(void *ctx, size_t b, int slot)
{
    job *j = ctx;
    size_t first = b * BLOCK_ROWS, rows = attn_least(BLOCK_ROWS, j->T - first);
    float *out = j->next + first * j->T;
    unsigned char *scratch = j->previous ? j->scratch + (size_t)slot * j->slot_bytes : NULL;
    float *mixed = scratch ? (float *)(void *)scratch : out;
    for (size_t r = 0; r < rows; r++) {
        if (attn_cancelled(j->cancel))
            return;
        mix_row(j, first + r, mixed + r * j->T);
    }
    if (scratch)
        multiply(j, out, mixed, rows, (float *)(void *)(scratch + j->mixed_bytes));
}

uint64_t attn_rollout_bytes(const attn_runtime *rt, size_t T)
{
    job j = { .gemm = attn_runtime_gemm(rt), .T = T };
    size_t panels;
    if (!plan(&j, &panels))
        return UINT64_MAX;
    return attn_plus(attn_arena_bytes(panels, 1), attn_arena_bytes((uint64_t)attn_runtime_threads(rt), j.slot_bytes));
}

static bool take_memory(job *j, size_t threads, attn_arena *arena)
{
    size_t panels;
    if (!j->previous)
        return true;
    if (!plan(j, &panels))
        return false;
    j->panels = attn_arena_take(arena, panels, 1);
    j->scratch = j->panels ? attn_arena_take(arena, threads, j->slot_bytes) : NULL;
    return j->scratch != NULL;
}

attn_status attn_rollout(attn_runtime *rt, float *next, const float *previous, const attn_view *maps, attn_arena *arena, attn_cancel *cancel, attn_error *err)
{
    job j = { .gemm = attn_runtime_gemm(rt), .maps = maps, .cancel = cancel, .T = maps->rows, .next = next, .previous = previous };
    if (maps->rows != maps->cols || maps->heads == 0)
        return attn_fail(err, ATTN_E_INTERNAL, "rollout", "maps of %zu x %zu", maps->rows, maps->cols);
    attn_status st = ATTN_OK;
    attn_arena_mark mark = attn_arena_save(arena);
    if (!take_memory(&j, (size_t)attn_runtime_threads(rt), arena)) {
        st = attn_fail_memory(err);
    } else {
        if (previous)
            attn_parallel(rt, attn_ceil_div(j.T, j.pack_columns), pack_task, &j);
        attn_parallel(rt, attn_ceil_div(j.T, BLOCK_ROWS), rows_task, &j);
        if (attn_cancelled(cancel))
            st = attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off");
        else if (atomic_load(&j.failed))
            st = attn_fail(err, ATTN_E_INTERNAL, "rollout", "a product of %zu x %zu did not go", j.T, j.T);
    }
    attn_arena_rewind(arena, mark);
    return st;
}
