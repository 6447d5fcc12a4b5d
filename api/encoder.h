/* encoder.h - the seam between what is computed and how it is written: a form of answer is one table of functions.
 *
 * For each result: begin_result; then each part in the order of the answer: begin_part, its rows in order (slice by slice while layers come, or all at once
 * when they were held), end_part; then end_result. Failures stick in the api_out. The order of a form says how parts come:
 *     API_ORDER_PARTS   part after part, whole; the first of a result may come slice by slice while layers are computed (JSON, safetensors, npy)
 *     API_ORDER_LAYERS  begin_layer, then this layer's slice of each part, each with begin_part and end_part, its layer axis gone; end_layer; in computed order,
 *                       each layer once; then what was reduced over layers, and analyses, between begin_rest and end_rest (ndjson). Where tokens are
 *                       generated each has its rows of all layers between begin_rest and end_rest: the input's span says which of the two it is
 *     API_ORDER_WHOLE   each part's rows in one call, contiguous: matrix[0] with row_stride = columns (pictures, text)
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

typedef enum api_order { API_ORDER_PARTS, API_ORDER_LAYERS, API_ORDER_WHOLE } api_order;

typedef struct api_encode {
    const api_encoder *encoder;
    const api_plan *plan;
    attn_runtime *runtime;
    api_out *out;
    size_t result;                  /* the current one */
    unsigned char carry[8];         /* numbers that begin a base64 group, until more come */
    api_call *call;                 /* NULL while bytes are only counted */
    uint64_t compute_ns, encode_ns; /* spent so far; known when `end` is called */
    bool in_line;                   /* ndjson: a line has begun that is not at its end */
    void *state;                    /* the encoder's own */
} api_encode;

struct api_encoder {
    api_order order;
    /* Adds what is beyond the form's own limits to the plan's excesses; NULL: it has none. */
    void (*check)(api_plan *);
    /* Exact bytes of the whole answer, for Content-Length; NULL: not known before. */
    uint64_t (*length)(const api_plan *);
    /* Working memory beside blocks; NULL: none worth naming. */
    uint64_t (*memory)(const api_plan *);
    void (*begin)(api_encode *);
    void (*begin_result)(api_encode *);
    void (*begin_part)(api_encode *, const api_part *);
    void (*rows)(api_encode *, const api_part *, const api_rows *);
    void (*end_part)(api_encode *, const api_part *);
    void (*end_result)(api_encode *);
    void (*end)(api_encode *);
    /* API_ORDER_LAYERS only. `state`: the line is about hidden state 0, which no layer gives. A decoder's layer is begun once, for all its attentions. */
    void (*begin_layer)(api_encode *, attn_stack, size_t layer, bool state);
    void (*end_layer)(api_encode *);
    void (*begin_rest)(api_encode *);
    void (*end_rest)(api_encode *);
    /* A run failed after the answer had begun: says so in the answer, and that is its end. NULL: the connection breaks. */
    void (*fail)(api_encode *, const api_problem *);
    /* Gives back `state`, however far it came; NULL: nothing to give back. */
    void (*close)(api_encode *);
    /* The most bytes all rows of a part take. */
    uint64_t (*part_bytes)(const api_plan *, const api_part *);
};

/* The encoder of a form: encoders.c. */
const api_encoder *api_encoder_of(api_form_kind);

/* n numbers at x as the bytes of a float32, float16 or uint8 array, little-endian. */
void api_pack_numbers(const attn_runtime *, api_dtype, void *dst, const float *x, size_t n);

/* The most bytes the whole answer takes: its length where the form knows it; else everything but rows is written into nothing and counted. */
uint64_t api_encoder_bound(const api_encoder *, const api_plan *);
/* Memory that an answer of at most this many bytes takes from the reply at a time. */
uint64_t api_encoder_blocks(const attn_runtime *, uint64_t response_bytes);

#endif
