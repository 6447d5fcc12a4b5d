/* causal.h - what models that write from left to right have in common: every token sees those before it and itself, norms come before what they are for, and
 * what attention and feed-forward give is added to what came in.
 *
 *     x = factor * word (+ position)
 *     for each layer:   x = x + output(attention(norm(x)))
 *                       x = x + feed(norm(x))                        or both of the same x, side by side (Wang 2021)
 *     last hidden state = norm(x)
 *
 * Gemma 2 and 3 norm what is added, too, OLMo 2 that alone; one OPT norms sums, as BERT does. A family is a bind table into the structs here and a way to read
 * its config.json.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_CAUSAL_H
#define ATTN_CAUSAL_H

#include "model/blocks.h"

#include <stddef.h>

typedef struct attn_decoder_layer {
    attn_norm attention_norm, feed_norm;   /* of what goes in, or unset; side by side, a feed_norm that is unset is attention_norm's result */
    attn_norm attention_after, feed_after; /* of what comes out, or unset */
    attn_self_attention attention;
    attn_feed_forward feed; /* gated where there is a gate */
} attn_decoder_layer;

typedef struct attn_decoder_parts {
    attn_embeddings embeddings;
    attn_dense project;       /* of embeddings that are narrower, or unset; the family's to do */
    attn_norm last;           /* or unset */
    attn_panels head_project; /* [E, D] between the last state and the head, of embeddings that are narrower; or unset */
    attn_head head;           /* its table unset where the file has none */
} attn_decoder_parts;

#define ATTN_DECODER_PART(member)  offsetof(attn_decoder_parts, member)
#define ATTN_DECODER_LAYER(member) offsetof(attn_decoder_layer, member)

/* The line of a head that has a tensor of its own, which counts whatever tie_word_embeddings says; of its bias. */
#define ATTN_DECODER_HEAD(name)                                                                                                                                \
    {                                                                                                                                                          \
        name, ATTN_STORE_TABLE | ATTN_OPTIONAL, { ATTN_DIM_VOCAB, ATTN_DIM_HIDDEN }, ATTN_DECODER_PART(head.table)                                             \
    }
#define ATTN_DECODER_HEAD_BIAS(name)                                                                                                                           \
    {                                                                                                                                                          \
        name, ATTN_STORE_FLOATS | ATTN_OPTIONAL, { ATTN_DIM_VOCAB }, ATTN_DECODER_PART(head.bias)                                                              \
    }

/* Traits of models whose attention and feed-forward work side by side; whose feed-forward has a gate; whose norms are of sums, x = norm(x + attention(x)) and so
 * on. Others are the families' own, from ATTN_DECODER_TRAIT on; the last: words are not chosen by their embeddings, even where the file has no head. */
enum { ATTN_DECODER_PARALLEL = 1, ATTN_DECODER_GATED = 2, ATTN_DECODER_NORMS_SUMS = 4, ATTN_DECODER_TRAIT = 8, ATTN_DECODER_UNTIED = 128 };

/* Keys of config.json, where families call them differently. NULL: the family has no such key, and says itself what it stands for. */
typedef struct attn_decoder_keys {
    const char *hidden_size, *num_hidden_layers, *num_attention_heads, *num_key_value_heads, *intermediate_size, *max_positions, *act, *norm_eps;
} attn_decoder_keys;
extern const attn_decoder_keys attn_llama_keys; /* as most have them since Llama */

/* The sizes, head_dim among them where that is a key, and the forms: causal, no windows, nothing rotated. False: something failed, and the config says what.
 * feed: where intermediate_size is missing or null; 0: it must not be. */
bool attn_decoder_configure(attn_model *, attn_config *, const attn_decoder_keys *, size_t feed_per_hidden);
/* One rotary embedding for all layers. */
void attn_decoder_rotate(attn_model *, attn_config *, double theta, double part);
/* The same of whole heads: a file that says otherwise is refused. */
void attn_decoder_rotate_whole(attn_model *, attn_config *, double theta);
/* sliding_window: 4096 where it is missing, 0 where it is null. */
size_t attn_decoder_window(attn_config *);
/* Which layers see a window of `window` tokens, themselves included: those that layer_types calls sliding_attention; where that key is missing, those for which
 * is_sliding is true, NULL standing for every layer. A window of 0: none. */
typedef bool attn_is_sliding(size_t layer, size_t number);
void attn_decoder_windows(attn_model *, attn_config *, size_t window, attn_is_sliding *, size_t number);

/* The model writes; where the file has no head its words are chosen by their embeddings if tie_word_embeddings says so, or if it is missing and `tied`. The last
 * thing that a family configures, with an ATTN_DECODER_HEAD in its table. */
void attn_decoder_writes(attn_model *, attn_config *, bool tied);
attn_head attn_decoder_head(const attn_model *);

attn_price attn_decoder_price(const attn_model *, const attn_plan *);
attn_status attn_decoder_forward(attn_run *);
/* The same, each embedding that was looked up times `factor`. */
attn_status attn_decoder_forward_scaled(attn_run *, float embedding_factor);
/* The layers and the last norm alone, from embeddings in x [T, D]; y [T, D] is scratch. */
attn_status attn_decoder_layers(attn_run *, float *x, float *y);

/* With ALiBi (Press 2022): what is added to a head's scores of key j, with its slope; `counted` tokens before it are not hidden. Hidden keys get nothing. */
typedef float attn_alibi_at(const attn_run *, float slope, size_t j, size_t counted);
attn_status attn_decoder_forward_alibi(attn_run *, attn_alibi_at *);
attn_price attn_decoder_price_alibi(const attn_model *, const attn_plan *);

/* A family of decoders whose table is `binds`. */
#define ATTN_DECODER_FAMILY(types, architecture, base, reader, cost, run)                                                                                      \
    {                                                                                                                                                          \
        .model_types = types, .default_architecture = architecture, .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .parts_bytes = sizeof(attn_decoder_parts),     \
        .binds = { .prefix = base, .rows = binds, .num_rows = sizeof binds / sizeof *binds, .layer_bytes = sizeof(attn_decoder_layer) }, .configure = reader,  \
        .price = cost, .forward = run, .head = attn_decoder_head,                                                                                              \
    }

#endif
