/* gemm_tail_avx2.c - at most 8 last rows of x beside BLIS's 6x16 micro-kernel, from its own panels: half the work of a whole tile.
 *
 * Each element is one chain of multiply-adds over l, then times alpha, then added to y: the order of BLIS's kernel, so the bits are equal.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm_tile.h"

#include <immintrin.h>

enum { MR = 6, NR = 16, AHEAD = 64 * MR };

void attn_tail_haswell(const attn_tile *t)
{
    __m256 sum[MR];
    const float *w = t->w, *x = t->x;
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++)
        sum[i] = _mm256_setzero_ps();
    for (size_t l = 0; l < t->k; l++, w += MR, x += NR) {
        __m256 rows = _mm256_loadu_ps(x);
        _mm_prefetch((const char *)(w + AHEAD), _MM_HINT_T0);
#pragma GCC unroll 6
        for (size_t i = 0; i < MR; i++)
            sum[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(w + i), rows, sum[i]);
    }
    float scaled[MR][8];
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++)
        _mm256_storeu_ps(scaled[i], _mm256_mul_ps(_mm256_set1_ps(t->alpha), sum[i]));
    for (size_t j = 0; j < t->n; j++) {
        float *y = t->y + j * t->ldy;
        for (size_t i = 0; i < t->m; i++)
            y[i] = t->beta == 0 ? scaled[i][j] : y[i] + scaled[i][j];
    }
}
