/* half_ref.c - float16 and bfloat16 to and from float32, in plain C that compilers vectorise: both ways of every choice are computed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_kernels.h"

#include <string.h>

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint16_t half_of(float x)
{
    uint32_t bits = bits_of(x), size = bits & 0x7fffffff;
    uint32_t finite = size < 0x477fe000 ? size : 0x477fe000; /* 65504 */
    uint32_t normal = (finite - 0x38000000 + 0xfff + (finite >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(finite < 0x38800000 ? finite : 0) + 0.5f) - 0x3f000000; /* the last bit of 0.5 is 2^-24 */
    uint32_t not_a_number = 0x7e00 | (size >> 13 & 0x3ff);
    uint32_t half = finite < 0x38800000 ? subnormal : normal; /* 2^-14 */
    half = size == 0x7f800000 ? 0x7c00 : half;
    half = size > 0x7f800000 ? not_a_number : half;
    return (uint16_t)(bits >> 16 & 0x8000) | (uint16_t)half;
}

static inline float float_of_half(uint16_t half)
{
    uint32_t size = half & 0x7fff, shifted = size << 13;
    uint32_t normal = shifted + 0x38000000;
    uint32_t subnormal = bits_of(float_of((shifted & 0x7fe000) | 0x38800000) - 0x1p-14f);
    uint32_t special = shifted | 0x7f800000 | (size > 0x7c00 ? 0x400000 : 0);
    uint32_t bits = size < 0x400 ? subnormal : normal;
    bits = size >= 0x7c00 ? special : bits;
    return float_of(bits | (uint32_t)(half & 0x8000) << 16);
}

void attn_to_half_ref(uint16_t *dst, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = half_of(x[i]);
}

void attn_from_half_ref(float *dst, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = float_of_half(x[i]);
}

void attn_from_bfloat16_ref(float *dst, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = float_of((uint32_t)x[i] << 16);
}
