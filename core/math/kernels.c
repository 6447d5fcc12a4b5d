/* kernels.c - which tables this CPU can run: a function of the CPU alone, so that a machine always gives the same bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/kernels.h"
#include "math/cpu.h"
#include "math/kernel_tables.h"

#include <pthread.h>
#include <string.h>

static const attn_kernels *tables[4];
static pthread_once_t listed = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static size_t list_fast(void)
{
    attn_cpu cpu = attn_cpu_detect();
    size_t n = 0;
    if (cpu.avx512)
        tables[n++] = &attn_kernels_avx512;
    if (cpu.avx2)
        tables[n++] = &attn_kernels_avx2;
    return n;
}
#elif defined(__aarch64__)
/* The plain rows, which compilers turn into NEON, beside BLIS's matrix product (gemm.c chooses that by the table's name) and one row's, with the same bits. */
static size_t list_fast(void)
{
    static attn_kernels neon;
    neon = attn_kernels_ref;
    neon.name = "neon";
    neon.row_keys = attn_row_keys_neon;
    neon.row_values = attn_row_values_neon;
    tables[0] = &neon;
    return 1;
}
#else
static size_t list_fast(void)
{
    return 0;
}
#endif

static void list_tables(void)
{
    tables[list_fast()] = &attn_kernels_ref;
}

const attn_kernels *const *attn_kernels_all(void)
{
    pthread_once(&listed, list_tables);
    return tables;
}

const attn_kernels *attn_kernels_find(const char *name)
{
    const attn_kernels *const *all = attn_kernels_all();
    if (!name || strcmp(name, "auto") == 0)
        return all[0];
    for (size_t i = 0; all[i]; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}
