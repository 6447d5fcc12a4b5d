/* number_kernels.h - the number functions that the kernel tables hold (core/math/kernels_*.c put them there; math/kernels.h has the meaning).
 *
 * | entry           | ref | avx2 | avx512 |
 * | write_shortest  | attn_write_shortest_ref | attn_write_shortest_ref | attn_write_shortest_avx512 |
 * | write_halves    | attn_write_halves_ref | attn_write_halves_ref | attn_write_halves_avx512 |
 * | write_decimals  | attn_write_decimals_ref | attn_write_decimals_avx2 | attn_write_decimals_avx512 |
 * | to_half         | attn_to_half_ref | attn_to_half_avx2 | attn_to_half_avx512 |
 * | from_half       | attn_from_half_ref | attn_from_half_avx2 | attn_from_half_avx512 |
 * | from_bfloat16   | attn_from_bfloat16_ref | attn_from_bfloat16_avx2 | attn_from_bfloat16_avx512 |
 * | base64_encode   | attn_base64_encode_ref | attn_base64_encode_avx2 | attn_base64_encode_avx512 |
 * | base64_decode   | attn_base64_decode_ref | attn_base64_decode_avx2 | attn_base64_decode_avx512 |
 * | read_plain      | attn_read_plain_ref | attn_read_plain_ref | attn_read_plain_avx512 |
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef NUMBER_KERNELS_H
#define NUMBER_KERNELS_H

#include "attn_base.h"

size_t attn_write_shortest_ref(char *dst, const float *x, size_t n);
size_t attn_write_shortest_avx512(char *dst, const float *x, size_t n);

size_t attn_write_halves_ref(char *dst, const uint16_t *x, size_t n);
size_t attn_write_halves_avx512(char *dst, const uint16_t *x, size_t n);

size_t attn_write_decimals_ref(char *dst, const float *x, size_t n, int decimals);
size_t attn_write_decimals_avx2(char *dst, const float *x, size_t n, int decimals);
size_t attn_write_decimals_avx512(char *dst, const float *x, size_t n, int decimals);

void attn_to_half_ref(uint16_t *dst, const float *x, size_t n);
void attn_to_half_avx2(uint16_t *dst, const float *x, size_t n);
void attn_to_half_avx512(uint16_t *dst, const float *x, size_t n);

void attn_from_half_ref(float *dst, const uint16_t *x, size_t n);
void attn_from_half_avx2(float *dst, const uint16_t *x, size_t n);
void attn_from_half_avx512(float *dst, const uint16_t *x, size_t n);

void attn_from_bfloat16_ref(float *dst, const uint16_t *x, size_t n);
void attn_from_bfloat16_avx2(float *dst, const uint16_t *x, size_t n);
void attn_from_bfloat16_avx512(float *dst, const uint16_t *x, size_t n);

size_t attn_base64_encode_ref(char *dst, const uint8_t *bytes, size_t n);
size_t attn_base64_encode_avx2(char *dst, const uint8_t *bytes, size_t n);
size_t attn_base64_encode_avx512(char *dst, const uint8_t *bytes, size_t n);

size_t attn_base64_decode_ref(uint8_t *dst, const char *text, size_t n);
size_t attn_base64_decode_avx2(uint8_t *dst, const char *text, size_t n);
size_t attn_base64_decode_avx512(uint8_t *dst, const char *text, size_t n);

size_t attn_read_plain_ref(float *dst, size_t max, const char **s, const char *end);
size_t attn_read_plain_avx512(float *dst, size_t max, const char **s, const char *end);

#endif
