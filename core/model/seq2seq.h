/* seq2seq.h - what encoder-decoders have in common (Vaswani 2017): an encoder whose tokens all see each other, and a decoder whose tokens see those before them
 * and, through an attention of its own in every layer, all of what the encoder gave.
 *
 *     encoder layer:   x = sum(x, output(attention(x)))
 *                      x = sum(x, feed(x))
 *     decoder layer:   x = sum(x, output(attention(x)))                 causal
 *                      x = sum(x, output(attention(x, memory)))         queries from x, keys and values from memory
 *                      x = sum(x, feed(x))
 *
 * where sum(x, f(x)) is norm(x + f(x)), or x + f(norm(x)) (ATTN_SEQ2SEQ_PRE_NORM) with one more norm behind the last layer. memory is what the encoder's last
 * layer gave, behind that norm. A family is a bind table into the structs here, a way to read its config.json and a way to begin a stack.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_SEQ2SEQ_H
#define ATTN_SEQ2SEQ_H

#include "model/blocks.h"

#include <stddef.h>

typedef struct attn_seq2seq_layer {
    attn_self_attention attention, cross; /* cross: a decoder's */
    attn_norm attention_norm, cross_norm, feed_norm;
    attn_feed_forward feed; /* gated where there is a gate */
} attn_seq2seq_layer;

/* Encoder or decoder. */
typedef struct attn_seq2seq_stack {
    attn_embeddings embeddings;
    attn_norm last;        /* or unset */
    const float *distance; /* [buckets, H]: what T5 adds to scores, or NULL */
} attn_seq2seq_stack;

typedef struct attn_seq2seq_parts {
    attn_seq2seq_stack encoder, decoder;
    attn_head head; /* its table unset where the file has none: words are chosen by the decoder's embeddings */
} attn_seq2seq_parts;

/* Names of the words of encoder and decoder. Mostly they are the same, which a file then has under one of the names or under several; where tie_word_embeddings is
 * false, it may have different ones beside `shared`, which nobody uses. */
#define ATTN_SEQ2SEQ_ENCODER_WORDS "encoder.embed_tokens.weight|shared.weight|decoder.embed_tokens.weight|lm_head.weight"
#define ATTN_SEQ2SEQ_DECODER_WORDS "decoder.embed_tokens.weight|shared.weight|encoder.embed_tokens.weight|lm_head.weight"

#define ATTN_SEQ2SEQ_PART(member)  offsetof(attn_seq2seq_parts, member)
#define ATTN_SEQ2SEQ_LAYER(member) offsetof(attn_seq2seq_layer, member)

/* Untied: words are not chosen by their embeddings, even where the file has no head. Others are the families' own, from ATTN_SEQ2SEQ_TRAIT on. */
enum { ATTN_SEQ2SEQ_PRE_NORM = 1, ATTN_SEQ2SEQ_GATED = 2, ATTN_SEQ2SEQ_UNTIED = 4, ATTN_SEQ2SEQ_TRAIT = 8 };

/* Sizes of a decoder; its forms, causal, and those between it and the encoder. For configure, once the encoder's forms are there. False: something failed, and
 * the config says what. */
bool attn_seq2seq_decoder(attn_model *, attn_config *, size_t num_layers, size_t heads);

/* x [T, D]: what the first layer of r->stack gets. */
typedef attn_status attn_seq2seq_start(attn_run *, const attn_seq2seq_stack *, float *x);

attn_status attn_seq2seq_run(attn_run *, attn_seq2seq_start *);
/* Of all but what the start takes and keeps. */
attn_price attn_seq2seq_cost(const attn_model *, const attn_plan *);
attn_head attn_seq2seq_head(const attn_model *);

/* A family whose table is `binds`. */
#define ATTN_SEQ2SEQ_FAMILY(types, architecture, base, reader, cost, run)                                                                                      \
    {                                                                                                                                                          \
        .model_types = types, .default_architecture = architecture, .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .parts_bytes = sizeof(attn_seq2seq_parts),     \
        .binds = { .prefix = base,                                                                                                                             \
                   .rows = binds,                                                                                                                              \
                   .num_rows = sizeof binds / sizeof *binds,                                                                                                   \
                   .layer_bytes = sizeof(attn_seq2seq_layer),                                                                                                  \
                   .decoder_layer_bytes = sizeof(attn_seq2seq_layer) },                                                                                        \
        .configure = reader, .price = cost, .forward = run, .head = attn_seq2seq_head,                                                                         \
    }

#endif
