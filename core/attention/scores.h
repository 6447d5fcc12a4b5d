/* attention/scores.h - from scaled products to what enters the softmax: who sees whom, softcap, ALiBi, mask. One row at a time.
 *
 * Hidden keys are known as a range, not key by key: at a query i, causality, windows and the key length leave [lo, hi) visible, and neither end
 * ever moves back as i grows. So a block of rows needs the keys of [lo of its first row, hi of its last) and no others.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_SCORES_H
#define ATTN_SCORES_H

#include "attn_attention.h"
#include "math/kernels.h"

/* Keys lo <= j < hi; lo >= hi is a row that sees nothing. */
typedef struct attn_range {
    size_t lo, hi;
} attn_range;

/* The keys of [0, T_k) that query i sees, a mask apart. Exact for any offset and window of 64 bits. lo and hi are nondecreasing in i. */
attn_range attn_visible_keys(const attn_rules *, size_t i, size_t T_k);

/* A stretch of a row of scores. */
typedef struct attn_row_part {
    size_t h, i;     /* head and query */
    attn_range seen; /* all that the query sees */
    attn_range part; /* what of it is at hand */
} attn_row_part;

/* x holds the finite scale * q.k of the keys of `part`, the first at x[0]; gives their scores in place, masked ones -INFINITY, all less a *shift that is
 * the same for every part of a row: score = x - shift. ALiBi's distances count from the visible key nearest to the query, so a far query loses no bits, and
 * the softmax cannot tell. Returns false when a score that no mask hides is not finite, or what ALiBi or a bias makes of one that it does. Bits do not depend on how a row is cut. Needs lo < hi in both. */
ATTN_MUST_CHECK bool attn_score_row(const attn_kernels *, const attn_rules *, const attn_row_part *, float *x, float *shift);

#endif
