/* collect.h - the sink between a run and an encoder: selects, reduces, streams what may stream, holds the rest.
 *
 * What can be written while layers are computed depends on the form. In JSON and arrays it is the first part of a result, and only when layers come in the order
 * asked; in ndjson all that is not reduced over layers, save in the step of a generation; in pictures nothing. Every other part is held as float32 (indices as int32) until its turn. What is
 * held is taken from the arena before the run begins, and priced by api_collect_bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_COLLECT_H
#define API_COLLECT_H

#include "encoder.h"

typedef struct api_collect {
    api_encode *encode;
    attn_runtime *runtime;
    attn_arena *arena;
    attn_cancel *cancel;
    api_part parts[API_MAX_PARTS];
    size_t num_parts;
    bool streams;                                /* parts[0] is written as its slices come */
    size_t streamed;                             /* slices of it so far */
    bool opened;                                 /* the encoder has begun the result */
    void *held[API_MAX_PARTS];                   /* whole tensors; NULL: written as their slices come */
    float *sums[ATTN_STACKS][ATTN_OUTPUT_COUNT]; /* reductions over layers, so far */
    bool has_sum[ATTN_STACKS][ATTN_OUTPUT_COUNT];
    uint64_t ns; /* spent here */
} api_collect;

/* Makes ready for encode->result: takes what it will hold from the worker's arena. */
ATTN_MUST_CHECK attn_status api_collect_begin(api_collect *, api_encode *, const api_worker *, attn_error *);
attn_sink api_collect_sink(api_collect *);
/* After the run: writes what was held and ends the result. */
ATTN_MUST_CHECK attn_status api_collect_end(api_collect *, attn_error *);

/* Bytes that result b takes at most, from begin to end. */
uint64_t api_collect_bytes(const api_plan *, size_t b);

#endif
