/* blocks.h - what families are built of: embeddings, norms, linear layers, attention. Each block has its price beside it.
 *
 * Blocks work on rows of the hidden size D, contiguous, T of them. They take scratch from the run's arena and give it back.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_BLOCKS_H
#define ATTN_BLOCKS_H

#include "model/family.h"

/* y = x @ w^T + bias */
typedef struct attn_dense {
    attn_panels w;
    const float *bias; /* [w.n], or NULL */
} attn_dense;

typedef struct attn_embeddings {
    attn_table word;                 /* [V, E]; E is the model's embedding_size, mostly D */
    const float *position, *segment; /* [positions, E], [segments, E]; each may be NULL */
    attn_norm norm;
    float factor; /* on word embeddings that were looked up; 0: none */
} attn_embeddings;

typedef struct attn_self_attention {
    attn_dense query, key, value, output;
    attn_norm query_norm, key_norm; /* of each head, before rotation */
} attn_self_attention;

typedef struct attn_feed_forward {
    attn_dense up, down; /* act is the model's */
    attn_dense gate;     /* of the gated form only */
} attn_feed_forward;

float *attn_take_floats(attn_run *, size_t rows, size_t cols); /* NULL: no memory, recorded */
bool attn_run_go_on(attn_run *);                               /* false: cancelled, recorded */

/* x [T, E] = norm(factor * word + position + segment), as far as there is each. */
ATTN_MUST_CHECK attn_status attn_block_embed(attn_run *, const attn_embeddings *, float *x);

/* x [T, width] += each token's row of a table of positions. */
void attn_block_add_positions(attn_run *, const float *position, size_t width, float *x);

/* x [T, D] = norm(x + y). ATTN_E_OVERFLOW where a sum is not finite, or so large that its square is not. */
ATTN_MUST_CHECK attn_status attn_block_add_norm(attn_run *, const attn_norm *, float *x, const float *y);
/* The same for rows of any size D; y NULL: x = norm(x). */
ATTN_MUST_CHECK attn_status attn_block_norm_rows(attn_run *, const attn_norm *, size_t D, float *x, const float *y);

/* y [T, D] = norm(x); y may be x. Likewise. */
ATTN_MUST_CHECK attn_status attn_block_norm(attn_run *, const attn_norm *, float *y, const float *x);
/* The same for `heads` vectors of d in each of T rows, in place. */
ATTN_MUST_CHECK attn_status attn_block_norm_heads(attn_run *, const attn_norm *, float *x, size_t heads, size_t d);
/* x [T, D] += y. */
void attn_block_add(attn_run *, float *x, const float *y);

/* y [T, D] = down(act(up(x))); y may be x. */
ATTN_MUST_CHECK attn_status attn_block_feed_forward(attn_run *, const attn_feed_forward *, float *y, const float *x);
attn_price attn_feed_forward_price(const attn_model *, size_t T);
/* y [T, D] = down(act(gate(x)) * up(x)); Shazeer 2020. y may be x. */
ATTN_MUST_CHECK attn_status attn_block_gated_feed_forward(attn_run *, const attn_feed_forward *, float *y, const float *x);
attn_price attn_gated_feed_forward_price(const attn_model *, size_t T);

/* y [T, D] = output(attention(query(x), key(x), value(x))), heads attending as the layer's form says. Hands the layer to the sink when it is kept; y may be x.
 * Nothing that nobody needs is computed: of a layer that is not whole (attn_run_is_whole) y is undefined unless attn_output was asked for. */
ATTN_MUST_CHECK attn_status attn_block_attention(attn_run *, const attn_self_attention *, size_t layer, float *y, const float *x);

/* Whether what a layer gives is needed: by a later layer, or as a hidden state. Else a family stops behind its attention. */
bool attn_run_is_whole(const attn_run *, size_t layer);

/* One layer of a family: x [T, D] becomes what the layer gives; y [T, D] is scratch. */
typedef attn_status attn_layer_step(attn_run *, size_t layer, float *x, float *y);

/* All layers that are needed, from the embeddings in x on; hidden states go to the sink between them, the last one through the run's last_norm. */
ATTN_MUST_CHECK attn_status attn_run_layers(attn_run *, attn_layer_step *, float *x, float *y);
/* Its price, x and y included. rest: of what a layer has behind its attention. */
attn_price attn_layers_price(const attn_model *, const attn_plan *, attn_price rest);

#endif
