/* gemm_tile.h - one call of a micro-kernel, between gemm.c and the kernels that are not BLIS's.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_GEMM_TILE_H
#define ATTN_GEMM_TILE_H

#include <stddef.h>
#include <stdint.h>

/* y[j * ldy + i] = beta * y[j * ldy + i] + alpha * sum_l w[l * MR + i] * x[l * NR + j], for i < m <= MR, j < n <= NR, l < k.
 * beta is 0 (y is not read) or 1. */
typedef struct attn_tile {
    size_t m, n, k;
    float alpha, beta;
    const float *w, *x;
    const float *next_w, *next_x; /* of the call after this one, worth fetching early */
    float *y;
    size_t ldy;
} attn_tile;

/* A panel of w times rows of x where they lie, as many as there are, for kernels that need no packing of x:
 * y[j * ldy + i] = beta * y[j * ldy + i] + alpha * sum_l w[l * MR + i] * x[j * ldx + l], for i < m <= MR, j < n, l < k. */
typedef struct attn_band {
    size_t m, n, k;
    float alpha, beta;
    const float *w, *x;
    size_t ldx;
    float *y;
    size_t ldy;
    const float *next_w; /* what will be read after it, as much again: worth fetching into the second cache meanwhile. May be no memory at all. */
} attn_band;

enum { ATTN_REF_MR = 8, ATTN_REF_NR = 8, ATTN_REF_KC = 256 };

void attn_tile_ref(const attn_tile *);

/* The last rows of x, fewer than NR: a BLIS micro-kernel computes the whole tile and throws the rest away, these compute no more than is asked for, in the
 * same order and with the same bits. */
void attn_tail_haswell(const attn_tile *); /* panels of 6x16, n <= 8 */
void attn_tail_skx(const attn_tile *);     /* panels of 32x12, n <= 12 */

enum { ATTN_BAND_MR_AVX512 = 48, ATTN_BAND_ROWS_AVX512 = 8 };
void attn_band_avx512(const attn_band *); /* panels of 48, 8 rows of x at a time */

#endif
