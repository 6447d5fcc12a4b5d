/* gemm_band_avx512.c - the matrix kernel of CPUs with AVX-512: 48 columns of y times up to 8 rows of x, read where they lie.
 *
 * 24 sums, 3 vectors of w and one number of x at a time are 28 of the 32 registers, and 11 loads go with 24 multiply-adds. The rows of x stay in the nearest
 * cache (at BLIS's depth 12 KB of its 48 or 32), w streams through from the second one. Where w comes from further away, the panel after this one is fetched
 * meanwhile: evenly, so that memory is asked for something all of the time and never for more than it can deliver at once, and from up to twelve places of it,
 * which memory serves sooner than one.
 * Each element is one chain of multiply-adds over l, then times alpha, then added to y: the order of BLIS's kernels, so the bits are equal.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/gemm_tile.h"

#include <immintrin.h>

enum { MR = ATTN_BAND_MR_AVX512, ROWS = ATTN_BAND_ROWS_AVX512, VECTORS = MR / 16, STEP = 4, LINE = 64 };

/* What one tile works on. */
typedef struct place {
    const float *x;
    float *y;
    uintptr_t fetch; /* with each STEP of l one line of each of `streams` pieces, `apart` bytes long, from there on */
    size_t streams, apart;
} place;

static inline void store(float *y, __m512 sum, float beta, size_t columns)
{
    __mmask16 mask = (__mmask16)_bzhi_u32(0xffff, (unsigned)(columns < 16 ? columns : 16));
    _mm512_mask_storeu_ps(y, mask, beta == 0 ? sum : _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), sum));
}

static inline __attribute__((always_inline)) void add_products(__m512 sum[ROWS][VECTORS], const float *w, const float *x, size_t ldx, size_t rows,
                                                               size_t vectors)
{
    __m512 column[VECTORS];
#pragma GCC unroll 3
    for (size_t v = 0; v < vectors; v++)
        column[v] = _mm512_loadu_ps(w + 16 * v);
#pragma GCC unroll 8
    for (size_t j = 0; j < rows; j++) {
        __m512 one = _mm512_set1_ps(x[j * ldx]);
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            sum[j][v] = _mm512_fmadd_ps(column[v], one, sum[j][v]);
    }
}

/* With rows and vectors known when it is compiled, the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const attn_band *b, place p, size_t rows, size_t vectors)
{
    __m512 sum[ROWS][VECTORS];
    const float *w = b->w, *x = p.x;
#pragma GCC unroll 8
    for (size_t j = 0; j < rows; j++)
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            sum[j][v] = _mm512_setzero_ps();
    size_t l = 0;
    for (; l + STEP <= b->k; l += STEP, p.fetch += LINE) {
        for (size_t i = 0; i < p.streams; i++)
            _mm_prefetch((const char *)(p.fetch + i * p.apart), _MM_HINT_T1);
#pragma GCC unroll 4
        for (size_t s = 0; s < STEP; s++, w += MR, x++)
            add_products(sum, w, x, b->ldx, rows, vectors);
    }
    for (; l < b->k; l++, w += MR, x++)
        add_products(sum, w, x, b->ldx, rows, vectors);
    const __m512 alpha = _mm512_set1_ps(b->alpha);
#pragma GCC unroll 8
    for (size_t j = 0; j < rows; j++)
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            store(p.y + j * b->ldy + 16 * v, _mm512_mul_ps(alpha, sum[j][v]), b->beta, b->m - 16 * v);
}

static inline __attribute__((always_inline)) void some_rows(const attn_band *b, place p, size_t rows, size_t vectors)
{
    switch (rows) {
    case 1:
        tile(b, p, 1, vectors);
        break;
    case 2:
        tile(b, p, 2, vectors);
        break;
    case 3:
        tile(b, p, 3, vectors);
        break;
    case 4:
        tile(b, p, 4, vectors);
        break;
    case 5:
        tile(b, p, 5, vectors);
        break;
    case 6:
        tile(b, p, 6, vectors);
        break;
    case 7:
        tile(b, p, 7, vectors);
        break;
    default:
        tile(b, p, 8, vectors);
        break;
    }
}

void attn_band_avx512(const attn_band *b)
{
    const size_t tiles = (b->n + ROWS - 1) / ROWS, steps = b->k / STEP;
    /* Rows in equal shares: 9 are 5 and 4, since one alone would read w as slowly as 8. With so few rows the CPU's own fetching is ahead. */
    const size_t streams = b->next_w && b->n > 2 ? (STEP * VECTORS + tiles - 1) / tiles : 0;
    size_t row = 0;
    for (size_t i = 0; i < tiles; i++) {
        size_t rows = (b->n - row) / (tiles - i), first = i * steps * streams; /* lines */
        place p = { .x = b->x + row * b->ldx, .y = b->y + row * b->ldy, .fetch = (uintptr_t)b->next_w + first * LINE, .apart = steps * LINE };
        p.streams = first < b->k * VECTORS ? streams : 0;
        if (b->m > 32)
            some_rows(b, p, rows, 3);
        else if (b->m > 16)
            some_rows(b, p, rows, 2);
        else
            some_rows(b, p, rows, 1);
        row += rows;
    }
}
