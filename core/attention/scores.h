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

/* x [T_k] holds the finite scale * q.k of head h and query i in [lo, hi); gives the scores there in place, masked ones -INFINITY, all less a common
 * *shift: score = x - shift. ALiBi's distances count from the visible key nearest to the query, so a far query loses no bits, and the softmax
 * cannot tell. Returns false when a score that no mask hides is not finite. Needs lo < hi. */
ATTN_MUST_CHECK bool attn_score_row(const attn_kernels *, const attn_rules *, size_t h, size_t i, attn_range, float *x, float *shift);

#endif
