/* attention/attention.h - one layer of attention for models and operator alike: the fast path behind attn_attention.h.
 *
 * Work is cut into (head, block of query rows). For one block the scores of all keys are computed (K packed into panels once a head), hidden keys
 * are set to -INFINITY, rows go through the softmax in place, and the block is multiplied with V. Where a map is kept the block is the map's own memory;
 * where it is not, it is scratch of one block a thread. Finished rows of weights are shown to the analyst at this place.
 * Pooled maps go another way (pooled.c): keys are taken a chunk at a time and no row is ever held whole.
 * attn_attention_reference is the plain form: three loops in double, for tests and `--kernels ref`'s oracle.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ATTENTION_INTERNAL_H
#define ATTN_ATTENTION_INTERNAL_H

#include "analysis/analysis.h"
#include "attn_attention.h"

/* Where results go. slot[h] is the place of head h among the kept, or -1; NULL stands for slot[h] = h. Any pointer may be NULL: not kept.
 * A head asked for twice is computed once: callers build views from slots. */
typedef struct attn_attention_out {
    const int32_t *slot; /* [H] */
    /* [kept, T_q, T_k] each, or with a pool [kept, query bins, key bins] */
    float *attentions, *scores, *raw_scores, *weighted_norms;
    const float *transformed_norms; /* [H, T_k] |v[j] @ W_O[h]|, for weighted_norms */
    float *context;                 /* head h, row i at context + h * context_head_stride + i * context_row_stride; all heads */
    ptrdiff_t context_head_stride, context_row_stride;
    bool context_of_kept;        /* nobody needs the other heads: only kept ones are computed, head h at context + slot[h] * context_head_stride */
    const attn_pool *pool;       /* NULL: maps are whole */
    const attn_analyst *analyst; /* NULL: no row analyses */
    attn_row_sums *sums;         /* [kept], set by the call; with an analyst */
} attn_attention_out;

static inline bool attn_head_is_kept(const attn_attention_out *out, size_t h)
{
    return !out->slot || out->slot[h] >= 0;
}

/* Errors: ATTN_E_OVERFLOW (a score is NaN or +infinity, a context vector not finite), ATTN_E_NOMEM, ATTN_E_CANCELLED (looked at before every block).
 * ATTN_E_OVERFLOW names "scores", "raw_scores" or "context" in where. Only shapes and tensors of `in` are used, not w_o. */
ATTN_MUST_CHECK attn_status attn_attention(attn_runtime *, const attn_operator_input *in, const attn_attention_out *, attn_arena *, attn_cancel *,
                                           attn_error *);
/* Arena bytes it takes at most. */
uint64_t attn_attention_bytes(const attn_runtime *, const attn_operator_input *in, const attn_attention_out *);
/* Flops of its products, second walks included, `kept` heads being kept. */
uint64_t attn_attention_flops(const attn_operator_input *in, const attn_attention_out *, size_t kept);

/* Pooled maps, and the context where pool->queries is NULL, in one walk that holds no row: pooled.c. The analyst is not looked at.
 * attn_attention calls it where out->pool is set, and makes what it leaves out with a second walk. Errors as attn_attention. */
ATTN_MUST_CHECK attn_status attn_attention_pooled(attn_runtime *, const attn_operator_input *in, const attn_attention_out *, attn_arena *, attn_cancel *,
                                                  attn_error *);
uint64_t attn_attention_pooled_bytes(const attn_runtime *, const attn_operator_input *in, const attn_attention_out *);

/* The same in double, slowly, one thread. Outputs are rounded to float32 at the end. */
void attn_attention_reference(const attn_operator_input *in, const attn_attention_out *);

#endif
