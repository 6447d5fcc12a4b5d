/* attn_maps.h - what an attention computation gives, and how it is handed over: outputs, the sink, the price, selections, reductions.
 *
 * A run computes layer by layer. As soon as a layer's tensors exist they go to a sink, as views into the run's own memory, valid only
 * during that call. Whoever wants to keep something copies it; whoever writes bytes to a slow client holds the run up, which is the
 * back-pressure. Nothing that was not asked for is kept, and nothing behind the last layer asked for is computed.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_MAPS_H
#define ATTN_MAPS_H

#include "attn_analyses.h"
#include "attn_runtime.h"

/* The attentions of a model. Most have one; an encoder-decoder's is that of its encoder, and there are its decoder's and the one between the two. */
typedef enum attn_stack { ATTN_STACK_SELF, ATTN_STACK_DECODER, ATTN_STACK_CROSS, ATTN_STACKS } attn_stack;

/* In the order in which they stand in an answer. Each [layer] of the wire contract is one attn_layer here. */
typedef enum attn_output {
    ATTN_ATTENTIONS,     /* [H, T_q, T_k] after the softmax; hidden keys exactly 0; a row without any key all 0 */
    ATTN_SCORES,         /* [H, T_q, T_k] what enters the softmax: scaled, softcapped, biased, masked; masked is -INFINITY */
    ATTN_RAW_SCORES,     /* [H, T_q, T_k] scale * q.k and nothing else */
    ATTN_WEIGHTED_NORMS, /* [H, T_q, T_k] |a f(x)|, f(x[j]) = v[j] @ W_O[h]: the norm of what head h moves from key j to query i, after its slice
                          * W_O[h] = w_o[h * d_v .. (h + 1) * d_v) of the output projection, whose bias belongs to no key and is left out (Kobayashi 2020, eq. 3).
                          * Weights are never negative, so it is a[i][j] * |v[j] @ W_O[h]|. Needs an output projection */
    ATTN_CONTEXT,        /* [H, T_q, d_v] weights times values, before the output projection */
    ATTN_QUERY,          /* [H, T_q, d] as used in the product (rotated), not scaled */
    ATTN_KEY,            /* [H, T_k, d] likewise, key/value heads repeated to H */
    ATTN_VALUE,          /* [H, T_k, d_v] */
    ATTN_VALUE_NORMS,    /* [H, T_k] |v|, the Euclidean norm; a view of one row */
    ATTN_ATTN_OUTPUT,    /* [T_q, D] after the output projection, bias included; without one the heads side by side. No head axis */
    ATTN_HIDDEN_STATES,  /* [T, D] models only, and not between encoder and decoder: state 0 is the embedding output, state l + 1 what layer l gives. Comes
                          * through attn_sink.state */
    ATTN_OUTPUT_COUNT
} attn_output;

typedef uint32_t attn_outputs; /* a set: bit o is output o */
#define ATTN_BIT(o) (1u << (o))
/* The outputs whose rows are queries and whose columns are keys. */
#define ATTN_MAP_OUTPUTS (ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_RAW_SCORES) | ATTN_BIT(ATTN_WEIGHTED_NORMS))

const char *attn_output_name(attn_output); /* "attentions", ... as in the wire contract */
bool attn_output_is_map(attn_output);

typedef enum attn_reduce { ATTN_REDUCE_NONE, ATTN_REDUCE_MEAN, ATTN_REDUCE_MAX } attn_reduce;

/* Maps in bins: of the queries and keys that were asked for (original indices, in range; NULL: all), position p of n' falls into bin b where
 * attn_pool_edge(n', bins, b) <= p < attn_pool_edge(n', bins, b + 1). A bin's value is the mean or the largest of what lies in it; in scores a -INFINITY in a
 * bin makes its mean -INFINITY. An axis no longer than `size` keeps its length. Means are summed in double or better than 1e-6 relative. */
typedef struct attn_pool {
    size_t size;      /* >= 1 */
    attn_reduce mode; /* not NONE */
    const int32_t *queries;
    size_t num_queries;
    const int32_t *keys;
    size_t num_keys;
} attn_pool;

/* Bins of an axis of n: the lesser of n and size. */
size_t attn_pool_bins(size_t n, size_t size);
/* floor(b * n / bins), exact for any sizes; 0 <= b <= bins <= n. */
size_t attn_pool_edge(size_t n, size_t bins, size_t b);

/* What a run keeps. Lists are borrowed; original indices, already resolved and in range, in the order asked, repeats allowed.
 * NULL stands for all. Without a pool queries and keys are cut later (attn_select_layer): a softmax needs whole rows. With one, maps come cut and
 * in bins, and T x T is never held for them. */
typedef struct attn_keep {
    attn_outputs outputs;
    const int32_t *layers;
    size_t num_layers;
    const int32_t *heads;
    size_t num_heads;
    const attn_pool *pool;             /* of the maps; NULL: whole */
    attn_analyses analyses;            /* not together with a pool: ROLLOUT, HEAD_DISTANCE */
    const attn_analysis_tokens *about; /* what analyses need to know of the tokens; may be NULL where none of them asks */
} attn_keep;

/* One output of one layer: `heads` matrices [rows, cols], matrix i at head[i], row r at head[i] + r * row_stride, columns contiguous.
 * Heads in the order asked for. Outputs without a head axis have heads = 1. Not asked for: head == NULL. */
typedef struct attn_view {
    const float *const *head;
    size_t heads, rows, cols;
    ptrdiff_t row_stride;
} attn_view;

typedef struct attn_layer {
    attn_stack stack; /* whose */
    size_t layer;     /* original number */
    attn_view views[ATTN_OUTPUT_COUNT];
    /* NULL: not asked for. Per head: [heads asked for]; head_distance: [heads asked for, heads asked for]; rollout: [T, T]. */
    const float *analyses[ATTN_ANALYSIS_COUNT];
} attn_layer;

typedef struct attn_sink {
    void *ctx;
    /* Called on the thread that runs, once for each distinct layer of keep, in computed order, unless hidden_states is all that is kept. Of an
     * encoder-decoder: the encoder's layers, then for each layer of the decoder its own attention and the one between (ATTN_STACK_CROSS: queries are the
     * decoder's tokens, keys the encoder's; it has no hidden states). An error ends the run and is returned by it. */
    attn_status (*layer)(void *ctx, const attn_layer *, attn_error *);
    /* With hidden_states: state 0 before the first layer (where keep.layers is NULL), state l + 1 for each distinct layer l of keep, after its `layer` call and
     * before the next layer's. The view has one matrix [T, D]. May be NULL without them. */
    attn_status (*state)(void *ctx, attn_stack, size_t state, const attn_view *, attn_error *);
} attn_sink;

/* What a run will cost, known from lengths alone. Estimates of bytes are upper bounds, tested against what is really taken. */
typedef struct attn_price {
    uint64_t flops; /* multiply and add counted as two; softmax and activations left out */
    uint64_t bytes; /* working memory of the run beside the model and the input */
} attn_price;

/* ---- selections and reductions ------------------------------------------------------------------------------------------ */

typedef struct attn_selection {
    const int32_t *queries; /* original indices, in range; NULL: all */
    size_t num_queries;
    const int32_t *keys;
    size_t num_keys;
    attn_reduce reduce_heads; /* of the maps only */
    bool maps_are_cut;        /* they came pooled: only their heads are reduced */
} attn_selection;

/* Cuts the query axis of every view that has one, the key axis of every view that has one (maps: columns; key and value: rows), then
 * reduces maps over heads (heads becomes 1). Nothing is renormalised. In scores a -INFINITY among the heads makes the mean -INFINITY.
 * Views that need no change are passed on as they are; others live in the arena. Runs on the runtime's threads.
 * Errors: ATTN_E_NOMEM, ATTN_E_CANCELLED (looked at while heads are reduced: a list of them may be long). */
ATTN_MUST_CHECK attn_status attn_select_layer(attn_runtime *, const attn_selection *, const attn_layer *in, attn_layer *out, attn_arena *, attn_cancel *,
                                              attn_error *);
/* The same for one view, which is output `o`: what attn_sink.state gets (its queries are cut). Copies alone, so nothing is looked at between. */
ATTN_MUST_CHECK attn_status attn_select_view(attn_runtime *, const attn_selection *, attn_output o, const attn_view *in, attn_view *out, attn_arena *,
                                             attn_error *);
/* Bytes attn_select_layer takes at most, for a layer of H' kept heads and these sizes, and attn_select_view for hidden_states among them. With maps_are_cut
 * T_q and T_k are those of the maps: ask for maps and for other outputs apart. */
uint64_t attn_select_bytes(const attn_selection *, attn_outputs, size_t heads, size_t T_q, size_t T_k, size_t d, size_t d_v, size_t D);

/* Folds `view` (one layer's) into acc [heads, rows, cols]: the first call stores, later ones add or take the maximum. `share` is what part of a mean this
 * layer is, all shares being 1 together; a maximum has none. -INFINITY is kept as above. */
void attn_reduce_layer(attn_reduce, float *acc, const attn_view *, double share, bool first);

/* The k largest of row[0..n), taken among `keys` (num_keys of them, no two alike; NULL: all of the row): their original indices and values, largest
 * first, ties by lower index. Writes min(k, candidates) of each and returns that number. *dropped is the row's whole sum less the values given,
 * summed in double, and not below 0. */
size_t attn_top_k(const float *row, size_t n, const int32_t *keys, size_t num_keys, size_t k, int32_t *indices, float *values, float *dropped);

#endif
