/* attention/attention.h - one layer of attention for models and operator alike: the fast path behind attn_attention.h.
 *
 * Work is cut into (head, block of query rows). For one block the scores of all keys are computed (K packed into panels once a head), hidden keys
 * are set to -INFINITY, rows go through the softmax in place, and the block is multiplied with V. Where a map is kept the block is the map's own memory;
 * where it is not, it is scratch of one block a thread. Later outputs that must not hold T x T (pooled maps) take the block at this place.
 * attn_attention_reference is the plain form: three loops in double, for tests and `--kernels ref`'s oracle.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ATTENTION_INTERNAL_H
#define ATTN_ATTENTION_INTERNAL_H

#include "attn_attention.h"

/* Where results go. slot[h] is the place of head h among the kept, or -1; NULL stands for slot[h] = h. Any pointer may be NULL: not kept.
 * A head asked for twice is computed once: callers build views from slots. */
typedef struct attn_attention_out {
    const int32_t *slot;                     /* [H] */
    float *attentions, *scores, *raw_scores; /* [kept, T_q, T_k] each */
    float *context;                          /* head h, row i at context + h * context_head_stride + i * context_row_stride; all heads */
    ptrdiff_t context_head_stride, context_row_stride;
    bool context_of_kept; /* nobody needs the other heads: only kept ones are computed, head h at context + slot[h] * context_head_stride */
} attn_attention_out;

/* Errors: ATTN_E_OVERFLOW (a score is NaN or +infinity, a context vector not finite), ATTN_E_NOMEM, ATTN_E_CANCELLED (looked at before every block).
 * ATTN_E_OVERFLOW names "scores", "raw_scores" or "context" in where. Only shapes and tensors of `in` are used, not w_o. */
ATTN_MUST_CHECK attn_status attn_attention(attn_runtime *, const attn_operator_input *in, const attn_attention_out *, attn_arena *, attn_cancel *,
                                           attn_error *);
/* Arena bytes it takes at most. */
uint64_t attn_attention_bytes(const attn_runtime *, const attn_operator_input *in, const attn_attention_out *);

/* The same in double, slowly, one thread. Outputs are rounded to float32 at the end. */
void attn_attention_reference(const attn_operator_input *in, const attn_attention_out *);

/* From keep.heads (NULL: all) to slots: slot [H] and the number of distinct heads kept. order (num_heads, or H) gets the slot of each head asked for. */
size_t attn_head_slots(const attn_keep *, size_t H, int32_t *slot, int32_t *order);

#endif
