/* safetensors.h - a strict reader of the safetensors format: what a file says it holds, checked against what it holds, before anything is used.
 *
 * A file is 8 bytes, the length n of the header, little-endian; n bytes of JSON, {"NAME": {"dtype", "shape", "data_offsets": [begin, end]}, ..} with strings
 * under "__metadata__"; then the data, to the end of the file. Offsets count from the first data byte. Tensors must cover the data without hole or overlap.
 * Reference: the format section of the safetensors project's README.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_SAFETENSORS_H
#define ATTN_SAFETENSORS_H

#include "attn_base.h"

typedef enum attn_dtype { ATTN_DTYPE_F32, ATTN_DTYPE_F16, ATTN_DTYPE_BF16, ATTN_DTYPE_OTHER } attn_dtype; /* OTHER: valid, but not read as weights */

enum { ATTN_MAX_RANK = 8 };

typedef struct attn_tensor {
    const char *name, *dtype; /* as in the file: "F16"; borrowed from the header */
    attn_dtype type;
    size_t rank;
    size_t shape[ATTN_MAX_RANK];
    const uint8_t *data; /* at any alignment */
    size_t bytes;
    const char *file; /* name of the file it is in; borrowed */
    bool used;
} attn_tensor;

typedef struct attn_safetensors {
    struct json_t *header;
    attn_tensor *tensors; /* in order of their data */
    size_t count;
} attn_safetensors;

/* Reads the header of a whole file in memory; bytes and file (its name, for errors) are borrowed until close.
 * ATTN_E_FORMAT, with "FILE: TENSOR" in where; ATTN_E_NOMEM. On error *out is zeroed. */
ATTN_MUST_CHECK attn_status attn_safetensors_open(attn_safetensors *out, const uint8_t *bytes, size_t size, const char *file, attn_error *);
void attn_safetensors_close(attn_safetensors *); /* a zeroed one is fine */

/* "[32, 8]", cut to n bytes. */
void attn_shape_text(char *dst, size_t n, const size_t *shape, size_t rank);

#endif
