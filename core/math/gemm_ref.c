/* gemm_ref.c - the micro-kernel in plain C: what BLIS's compute, for CPUs without AVX2 and to hold the others against.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm_tile.h"

void attn_tile_ref(const attn_tile *t)
{
    float sum[ATTN_REF_NR][ATTN_REF_MR] = { { 0 } };
    const float *w = t->w, *x = t->x;
    for (size_t l = 0; l < t->k; l++, w += ATTN_REF_MR, x += ATTN_REF_NR)
        for (size_t j = 0; j < ATTN_REF_NR; j++)
            for (size_t i = 0; i < ATTN_REF_MR; i++)
                sum[j][i] += w[i] * x[j];
    for (size_t j = 0; j < t->n; j++) {
        float *y = t->y + j * t->ldy;
        for (size_t i = 0; i < t->m; i++)
            y[i] = t->beta == 0 ? t->alpha * sum[j][i] : y[i] + t->alpha * sum[j][i];
    }
}
