/* cpu.c - reads cpuid and xgetbv: a feature counts only if the operating system saves the registers that go with it.
 * Bit numbers are those of Intel's and AMD's manuals (leaf 1, leaf 7, extended leaf 1, XCR0). Of other architectures nothing is asked: what attnd has for
 * arm64, every arm64 runs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "math/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

typedef struct leaf {
    unsigned a, b, c, d;
} leaf;

static leaf cpuid(unsigned number)
{
    leaf r = { 0, 0, 0, 0 };
    if (!__get_cpuid_count(number, 0, &r.a, &r.b, &r.c, &r.d))
        r = (leaf){ 0, 0, 0, 0 };
    return r;
}

static bool has(unsigned word, unsigned mask)
{
    return (word & mask) == mask;
}

/* Register state that the operating system saves: 1 x87, 2 xmm, 4 ymm, 0x20 masks, 0xc0 zmm. */
static unsigned saved_state(leaf one)
{
    if (!has(one.c, bit_OSXSAVE))
        return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

attn_cpu attn_cpu_detect(void)
{
    leaf one = cpuid(1), seven = cpuid(7), extended = cpuid(0x80000001u);
    unsigned state = saved_state(one);
    attn_cpu cpu = { false, false };
    cpu.avx2 = has(state, 0x6) && has(one.c, bit_AVX | bit_FMA | bit_F16C) && has(seven.b, bit_AVX2 | bit_BMI | bit_BMI2) && has(extended.c, bit_LZCNT);
    cpu.avx512 = cpu.avx2 && has(state, 0xe6) && has(seven.b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) &&
                 has(seven.c, bit_AVX512VBMI | bit_AVX512VBMI2);
    return cpu;
}

#else

attn_cpu attn_cpu_detect(void)
{
    return (attn_cpu){ false, false, false };
}

#endif
