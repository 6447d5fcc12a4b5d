/* kernel_tables.h - the tables, one a file, for kernels.c to choose from.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_KERNEL_TABLES_H
#define ATTN_KERNEL_TABLES_H

#include "math/kernels.h"

extern const attn_kernels attn_kernels_ref;
extern const attn_kernels attn_kernels_avx2;
extern const attn_kernels attn_kernels_avx512;

/* The neon table is the plain one, but for these. */
void attn_row_keys_neon(float *x, const float *q, const float *k, ptrdiff_t stride, size_t n, size_t d, float scale, bool adds);
void attn_row_values_neon(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t cols, bool adds);

#endif
