/* kernels_neon.c - what the plain rows would do with other bits than BLIS's product on arm64, which multiplies and adds in one step: one row against many.
 *
 * Several sums at a time, each its own chain: compilers make NEON of the loops over them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernel_tables.h"

#include <math.h>

#include "attn_base.h"

enum { CHAINS = 8, COLUMNS = 16 };

/* sum[i] = row i of k times q, i < keys */
static void multiply_keys(float sum[CHAINS], const float *q, const float *k, ptrdiff_t stride, size_t keys, size_t d)
{
    for (size_t i = 0; i < CHAINS; i++)
        sum[i] = 0;
    for (size_t l = 0; l < d; l++)
        for (size_t i = 0; i < CHAINS; i++)
            sum[i] = fmaf(k[(ptrdiff_t)(i < keys ? i : 0) * stride + (ptrdiff_t)l], q[l], sum[i]);
}

void attn_row_keys_neon(float *x, const float *q, const float *k, ptrdiff_t stride, size_t n, size_t d, float scale, bool adds)
{
    float sum[CHAINS];
    for (size_t j = 0; j < n; j += CHAINS) {
        size_t keys = attn_least(n - j, CHAINS);
        multiply_keys(sum, q, k + (ptrdiff_t)j * stride, stride, keys, d);
        for (size_t i = 0; i < keys; i++)
            x[j + i] = adds ? x[j + i] + scale * sum[i] : scale * sum[i];
    }
}

/* sum[c] = the n rows of v, weighted with x, c < columns */
static void multiply_values(float sum[COLUMNS], const float *x, const float *v, ptrdiff_t stride, size_t n, size_t columns)
{
    for (size_t c = 0; c < COLUMNS; c++)
        sum[c] = 0;
    for (size_t j = 0; j < n; j++, v += stride)
        for (size_t c = 0; c < columns; c++)
            sum[c] = fmaf(v[c], x[j], sum[c]);
}

void attn_row_values_neon(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t cols, bool adds)
{
    float sum[COLUMNS];
    for (size_t first = 0; first < cols; first += COLUMNS) {
        size_t columns = attn_least(cols - first, COLUMNS);
        multiply_values(sum, x, v + first, stride, n, columns);
        for (size_t c = 0; c < columns; c++)
            y[first + c] = adds ? y[first + c] + sum[c] : sum[c];
    }
}
