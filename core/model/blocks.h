/* blocks.h - what families are built of: embeddings, norms, linear layers, attention. Each block has its price beside it.
 *
 * Blocks work on rows of the hidden size D, contiguous, r->T of them. They take scratch from the run's arena and give it back.
 *
 * The forward pass of an encoder-decoder:
 *
 *     if (attn_run_encodes(r))            not in the later steps of a generation
 *         take x and y [r->T, D] · attn_block_embed · r->last_norm = the encoder's · stacks[SELF].bias · attn_run_layers(r, encoder_layer, x, y)
 *     if (attn_run_decodes(r)) {          not where the encoder's outputs are all that is asked for
 *         attn_run_decode(r, x);          from here on r->T and r->past are the decoder's
 *         take x and y [r->T, D] · attn_block_embed (of decoder_input_ids) · r->last_norm · stacks[DECODER].bias · attn_run_layers(r, decoder_layer, x, y)
 *     }
 *
 * and a layer of its decoder: attn_block_attention (its own); unless attn_run_crosses, done; norms and sums; attn_block_cross_attention; unless
 * attn_run_is_whole, done; norms, sums and the feed-forward.
 *
 * A run of several inputs (attn_model_run_joint) has the rows of all of them. Blocks that work on each row for itself need not know it; embeddings, norms (which
 * fail for one input alone), attention and what goes to the sink turn to its parts.
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
bool attn_run_go_on(attn_run *);                               /* false: cancelled, recorded; of several inputs all of them, or out for another reason */

/* x [T, E] = norm(factor * word + position + segment), as far as there is each, of the rows' tokens: the input's, or of a decoder decoder_input_ids. Row t has
 * the position past + t. */
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
attn_price attn_feed_forward_price(const attn_model *, size_t T, size_t F);
/* y [T, D] = down(act(gate(x)) * up(x)); Shazeer 2020. y may be x. */
ATTN_MUST_CHECK attn_status attn_block_gated_feed_forward(attn_run *, const attn_feed_forward *, float *y, const float *x);
attn_price attn_gated_feed_forward_price(const attn_model *, size_t T, size_t F);

/* y [T, D] = output(attention(query(x), key(x), value(x))), heads attending as the layer's form says, among the rows of r->stack and what was read before
 * them. Hands the layer to the sink when it is kept; y may be x.
 * Nothing that nobody needs is computed: where nothing of the layer is needed behind it (attn_run_is_whole; of a decoder that looks at an encoder,
 * attn_run_crosses) y is undefined unless attn_output was asked for. */
ATTN_MUST_CHECK attn_status attn_block_attention(attn_run *, const attn_self_attention *, size_t layer, float *y, const float *x);
/* The same between decoder and encoder: keys and values are made of r->memory, once in a generation; nothing is rotated. Likewise, by attn_run_is_whole. */
ATTN_MUST_CHECK attn_status attn_block_cross_attention(attn_run *, const attn_self_attention *, size_t layer, float *y, const float *x);

/* Whether what a layer of r->stack gives is needed: by a later layer, as a hidden state, by a decoder, to choose a word. Else a family stops behind its
 * attention. */
bool attn_run_is_whole(const attn_run *, size_t layer);
/* Of a layer of the decoder: whether anything behind its own attention is needed. */
bool attn_run_crosses(const attn_run *, size_t layer);

/* What a layer's attention keeps for each part of a run of several inputs, contexts apart. */
uint64_t attn_part_bytes(void);

/* One layer of a family: x [T, D] becomes what the layer gives; y [T, D] is scratch. */
typedef attn_status attn_layer_step(attn_run *, size_t layer, float *x, float *y);

/* All layers of r->stack that are needed, from the embeddings in x on; hidden states go to the sink between them, the last one through the run's last_norm.
 * What the last layer gives, through last_norm, is left in x where something comes behind it. */
ATTN_MUST_CHECK attn_status attn_run_layers(attn_run *, attn_layer_step *, float *x, float *y);
/* Its price for ATTN_STACK_SELF, x and y included. rest: of what a layer has behind its attention. */
attn_price attn_layers_price(const attn_model *, const attn_plan *, attn_price rest);

/* Whether the encoder's layers have to be run; whether the decoder's have. */
bool attn_run_encodes(const attn_run *);
bool attn_run_decodes(const attn_run *);
/* From the encoder's rows to the decoder's. memory [T, D] is what the encoder gave, kept until the run's end; anything in a step that did not encode. */
void attn_run_decode(attn_run *, const float *memory);
/* The price of both, x and y of each included. rests: of what a layer has behind its attentions, for p->stacks[ATTN_STACK_SELF].T_q rows and for
 * p->stacks[ATTN_STACK_DECODER].T_q. */
attn_price attn_seq2seq_price(const attn_model *, const attn_plan *, attn_price encoder_rest, attn_price decoder_rest);

#endif
