/* attention/layer.h - one layer's attention and all that is shown of it: what the operator and every model have in common.
 *
 * The caller has queries, keys and values, and says what it wants of them. attn_layer_compute takes memory for it from the arena and fills it: maps,
 * contexts, norms, analyses. The caller then makes attn_output of the context, if it is asked for, and attn_layer_show hands views of all of it to the sink.
 * Memory is the caller's to rewind.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_LAYER_H
#define ATTN_LAYER_H

#include "attention/attention.h"
#include "math/gemm.h"

/* Each head is computed once, however often it was asked for. A rollout needs all heads: those nobody asked for come behind the others. */
typedef struct attn_head_choice {
    const int32_t *heads; /* [asked] as asked for; NULL: all in order */
    size_t asked;
    size_t kept;          /* distinct ones among them, at slots 0 .. kept - 1 */
    size_t held;          /* kept, or with a rollout all heads */
    const int32_t *slot;  /* [H] the place of a head among the held, or -1 */
    const int32_t *order; /* [asked] the slot of each head asked for */
} attn_head_choice;

/* Lists from the arena. Errors: ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_head_choice_make(attn_head_choice *, const attn_keep *, size_t H, attn_arena *, attn_error *);
/* For prices: the most it can be, without the lists, and the bytes of these. */
attn_head_choice attn_head_choice_most(const attn_keep *, size_t H);
uint64_t attn_head_choice_bytes(const attn_head_choice *, size_t H);

/* What a layer has to give. */
typedef struct attn_layer_want {
    attn_outputs outputs;   /* to be shown */
    attn_analyses analyses; /* likewise; rollout may be for a later layer alone */
    bool projects;          /* an output projection reads the contexts of all heads */
} attn_layer_want;

typedef struct attn_layer_run {
    attn_runtime *runtime;
    attn_arena *arena;
    attn_cancel *cancel;
    attn_stack stack; /* whose, for the sink */
    const attn_operator_input *in;
    const attn_head_choice *choice;
    const attn_pool *pool;       /* of the maps, or NULL */
    const attn_analyst *analyst; /* for analyses other than rollout */
    attn_layer_want want;
    size_t first_key;             /* keys, values and their norms are shown from here on: those before were, by an earlier run */
    const attn_panels *w_o;       /* for weighted_norms: the output projection, packed; NULL: in->w_o */
    float *rollout;               /* [T, T], for this layer's */
    const float *earlier_rollout; /* of the layer before; NULL: there is none */
    /* Made by attn_layer_compute. */
    attn_attention_out out;
    float *value_norms, *transformed_norms; /* [G, T_k], [H, T_k] */
    float *analyses[ATTN_ANALYSIS_COUNT];
} attn_layer_run;

/* Whether anything is wanted for which queries meet keys; for which values are read. */
bool attn_layer_attends(const attn_layer_want *);
bool attn_layer_needs_value(const attn_layer_want *);

/* Errors: those of attn_attention, and ATTN_E_OVERFLOW "value_norms", "weighted_norms". */
ATTN_MUST_CHECK attn_status attn_layer_compute(attn_layer_run *, attn_error *);
/* y is attn_output [T_q, columns], where it is asked for. ATTN_E_OVERFLOW where query, key or value are shown and not finite. */
ATTN_MUST_CHECK attn_status attn_layer_show(const attn_layer_run *, size_t layer, const float *y, size_t columns, const attn_sink *, attn_error *);

/* What the two of them take: memory until the caller's rewind, and above it for as long as they run. */
typedef struct attn_layer_cost {
    uint64_t flops, held, working;
} attn_layer_cost;

/* Reads shapes of `in`, counts of choice, pool and want. */
attn_layer_cost attn_layer_price(const attn_runtime *, const attn_layer_run *);

/* norms.c: |v[j]| for the value heads that are shown; |v[j] @ W_O[h]| for the heads held, [H, T_k]. */
ATTN_MUST_CHECK attn_status attn_value_norms(const attn_layer_run *, float *norms, attn_error *);
ATTN_MUST_CHECK attn_status attn_transformed_norms(const attn_layer_run *, float *norms, attn_error *);
uint64_t attn_transformed_norms_bytes(const attn_runtime *, const attn_layer_run *);
/* Whether one of the query heads that share value head g was asked for. */
bool attn_layer_shows_group(const attn_layer_run *, size_t g);

#endif
