/* cpu.h - what this CPU, and the operating system on it, can run.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_CPU_H
#define ATTN_CPU_H

#include <stdbool.h>

typedef struct attn_cpu {
    bool avx2;   /* AVX2, FMA, F16C, BMI 1 and 2, LZCNT; the system saves ymm registers */
    bool avx512; /* all of avx2 and AVX-512 F, BW, DQ, VL, VBMI, VBMI2; the system saves zmm and mask registers */
} attn_cpu;

attn_cpu attn_cpu_detect(void);

#endif
