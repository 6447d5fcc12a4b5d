/* encoder.h - the seam between what is computed and how it is written: a form of answer is one table of functions.
 *
 * For each result: begin_result; then each part in the order of the answer: begin_part, its rows in order (slice by slice while layers come, or all at once
 * when they were held), end_part; then end_result. Failures stick in the api_out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_ENCODER_H
#define API_ENCODER_H

#include "plan.h"

/* Consecutive rows of a part: `matrices` matrices of rows x columns. */
typedef struct api_rows {
    const float *const *matrix; /* float parts: row r of matrix m at matrix[m] + r * row_stride */
    ptrdiff_t row_stride;
    const int32_t *ints; /* API_INDICES: all of them, contiguous */
    size_t matrices;
    size_t first; /* the first one's number among all rows of the part */
} api_rows;

typedef struct api_encoder api_encoder;

typedef struct api_encode {
    const api_encoder *encoder;
    const api_plan *plan;
    attn_runtime *runtime;
    api_out *out;
    size_t result;          /* the current one */
    unsigned char carry[8]; /* numbers that begin a base64 group, until more come */
} api_encode;

struct api_encoder {
    const char *content_type;
    void (*begin)(api_encode *);
    void (*begin_result)(api_encode *);
    void (*begin_part)(api_encode *, const api_part *);
    void (*rows)(api_encode *, const api_part *, const api_rows *);
    void (*end_part)(api_encode *, const api_part *);
    void (*end_result)(api_encode *);
    void (*end)(api_encode *);
    /* The most bytes all rows of a part take. */
    uint64_t (*part_bytes)(const api_plan *, const api_part *);
};

/* The most bytes the whole answer takes: everything but rows is written into nothing and counted. */
uint64_t api_encoder_bound(const api_encoder *, const api_plan *);
/* Memory that an answer of at most this many bytes takes from the reply at a time. */
uint64_t api_encoder_blocks(const attn_runtime *, uint64_t response_bytes);

#endif
