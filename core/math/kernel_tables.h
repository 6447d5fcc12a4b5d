/* kernel_tables.h - the tables, one a file, for kernels.c to choose from.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_KERNEL_TABLES_H
#define ATTN_KERNEL_TABLES_H

#include "math/kernels.h"

extern const attn_kernels attn_kernels_ref;
extern const attn_kernels attn_kernels_avx2;
extern const attn_kernels attn_kernels_avx512;

#endif
