/* attention/strip.h - a strip of queries walks over all keys, and what it sees is gathered in bins of keys: the inside of pooled.c.
 *
 * A strip is as many queries as lie side by side in two vectors (kernels.h). It takes the keys a chunk at a time, so that scores stay in the first-level
 * cache; each query keeps a base near its largest score so far, and sums of exp(score - base). When a score comes that is well above the base, the base
 * moves there and the sums shrink by exp(old - new) (Milakov & Gimelshein 2018). What outlives a chunk is held in double.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_STRIP_H
#define ATTN_STRIP_H

#include "attention/fault.h"
#include "attention/scores.h"

enum { ATTN_STRIP_CHUNK = 128 }; /* keys */

/* Keys [key, key + n) of one chunk belong to this bin. */
typedef struct attn_segment {
    uint32_t key, n, bin;
} attn_segment;

enum { ATTN_STRIP_WEIGHTS, ATTN_STRIP_SCORES, ATTN_STRIP_RAW_SCORES, ATTN_STRIP_WEIGHTED_NORMS, ATTN_STRIP_MAPS };

/* What all strips of a call have in common. Read-only while they run. */
typedef struct attn_strip_job {
    const attn_operator_input *in;
    const attn_kernels *kernels;
    attn_cancel *cancel;
    bool takes_max;               /* bins hold the largest; else sums */
    bool has_all_keys;            /* segments cover every key once, in order */
    const attn_segment *segments; /* those of chunk c end at chunk_end[c] */
    const size_t *chunk_end;
    size_t bins;
} attn_strip_job;

/* Set by the caller: the first group and `bins`, `context`. */
typedef struct attn_strip {
    const attn_strip_job *job;
    size_t h, rows;
    size_t query[ATTN_STRIP_MOST];
    const float *norms;            /* [T_k] for weighted norms */
    float *q, *x, *by_row;         /* scratch: [d, strip], [ATTN_STRIP_CHUNK, strip], [strip, ATTN_STRIP_CHUNK] */
    double *bins[ATTN_STRIP_MAPS]; /* [bins, strip] each, or NULL: not kept */
    double *context;               /* [d_v, strip], or NULL */
    /* Results, for query r: weights and their likes are to be divided by sum[r] (0: it sees nothing), of every score shift[r] is to be taken away. */
    double sum[ATTN_STRIP_MOST];
    float shift[ATTN_STRIP_MOST];
    /* Inner. */
    attn_range seen[ATTN_STRIP_MOST], any, all; /* keys each query sees, some query sees, every query sees */
    float max[ATTN_STRIP_MOST];                 /* the base, or -INFINITY until something is seen */
    float excess[ATTN_STRIP_MOST];              /* of the second walk: taken away once the base is */
    bool weighs, walks_again;
} attn_strip;

/* Several strips of one head walk together, so that keys and values are fetched once for all of them. Their x and by_row may be the same memory. Bits of one do
 * not depend on the others. */
ATTN_MUST_CHECK attn_fault attn_strips_walk(attn_strip *, size_t count);

#endif
