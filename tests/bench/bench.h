/* bench.h - what benches have in common: the best time of several runs, and the FMA peak of one core.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_H
#define BENCH_H

#include "math/kernels.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 15 };

static inline double seconds(void)
{
    return (double)attn_clock_ns() * 1e-9;
}

/* Best time of one call, in seconds. */
static inline double best_time(void (*body)(void *), void *ctx)
{
    body(ctx);
    double start = seconds(), best = 1e9;
    body(ctx);
    double once = seconds() - start;
    int inner = once > 2e-3 ? 1 : (int)(2e-3 / (once + 1e-9)) + 1;
    for (int run = 0; run < RUNS; run++) {
        start = seconds();
        for (int i = 0; i < inner; i++)
            body(ctx);
        double t = (seconds() - start) / inner;
        best = t < best ? t : best;
    }
    return best;
}

/* ---- the peak: multiply-adds in registers, enough of them side by side to hide their latency --------------------------- */

enum { CHAINS = 12, ROUNDS = 100000 };
static volatile float sink; /* so that nothing is left out as useless */

__attribute__((target("avx2,fma"))) static inline void peak_avx2(void *ctx)
{
    (void)ctx;
    __m256 a[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    sink = _mm256_cvtss_f32(a[0]);
}

__attribute__((target("avx512f"))) static inline void peak_avx512(void *ctx)
{
    (void)ctx;
    __m512 a[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    sink = _mm512_cvtss_f32(a[0]);
}

/* GFLOP/s */
static inline double measure_peak(void)
{
    double peak = 0;
    if (attn_kernels_find("avx2"))
        peak = 2e-9 * 8 * CHAINS * ROUNDS / best_time(peak_avx2, NULL);
    if (attn_kernels_find("avx512")) {
        double wide = 2e-9 * 16 * CHAINS * ROUNDS / best_time(peak_avx512, NULL);
        printf("FMA peak of one core, GFLOP/s: %.1f with AVX2, %.1f with AVX-512\n\n", peak, wide);
        peak = wide > peak ? wide : peak;
    } else {
        printf("FMA peak of one core, GFLOP/s: %.1f with AVX2\n\n", peak);
    }
    return peak;
}

/* Any numbers in [-0.5, 0.5). */
static inline float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 4096) / 64 * 64);
    if (!p)
        exit(EXIT_FAILURE);
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(i * 2654435761u % 1000) / 1000.0f - 0.5f;
    return p;
}

#endif
