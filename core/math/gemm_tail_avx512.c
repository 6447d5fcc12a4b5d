/* gemm_tail_avx512.c - the last rows of x beside BLIS's 32x12 micro-kernel, from its own panels. With 8 tokens that kernel wastes a third of its work.
 *
 * Each element is one chain of multiply-adds over l, then times alpha, then added to y: the order of BLIS's kernel, so the bits are equal.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm_tile.h"

#include <immintrin.h>

enum { MR = 32, NR = 12, AHEAD = 32 * MR };

static inline void store(float *y, __m512 sum, float beta, size_t rows)
{
    __mmask16 mask = (__mmask16)_bzhi_u32(0xffff, (unsigned)(rows < 16 ? rows : 16));
    _mm512_mask_storeu_ps(y, mask, beta == 0 ? sum : _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), sum));
}

/* With n known when it is compiled, the sums stay in registers. */
static inline __attribute__((always_inline)) void tail(const attn_tile *t, size_t n)
{
    __m512 low[NR], high[NR];
    const float *w = t->w, *x = t->x;
#pragma GCC unroll 12
    for (size_t j = 0; j < n; j++)
        low[j] = high[j] = _mm512_setzero_ps();
    for (size_t l = 0; l < t->k; l++, w += MR, x += NR) {
        __m512 w_low = _mm512_loadu_ps(w), w_high = _mm512_loadu_ps(w + 16);
        _mm_prefetch((const char *)(w + AHEAD), _MM_HINT_T0);
        _mm_prefetch((const char *)(w + AHEAD + 16), _MM_HINT_T0);
#pragma GCC unroll 12
        for (size_t j = 0; j < n; j++) {
            __m512 one = _mm512_set1_ps(x[j]);
            low[j] = _mm512_fmadd_ps(w_low, one, low[j]);
            high[j] = _mm512_fmadd_ps(w_high, one, high[j]);
        }
    }
    const __m512 alpha = _mm512_set1_ps(t->alpha);
#pragma GCC unroll 12
    for (size_t j = 0; j < n; j++) {
        float *y = t->y + j * t->ldy;
        store(y, _mm512_mul_ps(alpha, low[j]), t->beta, t->m);
        if (t->m > 16)
            store(y + 16, _mm512_mul_ps(alpha, high[j]), t->beta, t->m - 16);
    }
}

void attn_tail_skx(const attn_tile *t)
{
    switch (t->n) {
    case 1:
        tail(t, 1);
        break;
    case 2:
        tail(t, 2);
        break;
    case 3:
        tail(t, 3);
        break;
    case 4:
        tail(t, 4);
        break;
    case 5:
        tail(t, 5);
        break;
    case 6:
        tail(t, 6);
        break;
    case 7:
        tail(t, 7);
        break;
    case 8:
        tail(t, 8);
        break;
    case 9:
        tail(t, 9);
        break;
    case 10:
        tail(t, 10);
        break;
    case 11:
        tail(t, 11);
        break;
    default:
        tail(t, 12);
        break;
    }
}
