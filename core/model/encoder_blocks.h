/* model/encoder_blocks.h - what BERT and its kin have in common: every token sees every other, and the norm comes after each residual sum.
 *
 *     x = norm(word + position + segment)                      of size E
 *     x = project(x)                                           where E is not D
 *     for each layer:   x = norm(x + output(attention(x)))
 *                       x = norm(x + down(act(up(x))))
 *
 * They differ in names of keys and tensors, in how positions are counted, in whether there are segments and a projection, and in which layers share weights.
 * A family is a bind table into the structs here and a way to read its config.json.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ENCODER_BLOCKS_H
#define ATTN_ENCODER_BLOCKS_H

#include "model/blocks.h"

#include <stddef.h>

typedef struct attn_encoder_layer {
    attn_self_attention attention;
    attn_norm attention_norm;
    attn_feed_forward feed;
    attn_norm feed_norm;
    attn_dense distance_query, distance_key; /* of embeddings of distances, in DeBERTa */
} attn_encoder_layer;

typedef struct attn_encoder_parts {
    attn_embeddings embeddings;
    attn_dense project;    /* [D, E], or unset */
    const float *distance; /* by distance: [buckets, H] what MPNet adds to scores, [buckets, D] DeBERTa's embeddings, or NULL */
    attn_norm distance_norm;
} attn_encoder_parts;

#define ATTN_ENCODER_PART(member)  offsetof(attn_encoder_parts, member)
#define ATTN_ENCODER_LAYER(member) offsetof(attn_encoder_layer, member)

/* The trait of models whose embeddings are projected. */
enum { ATTN_ENCODER_PROJECTED = 1 };

/* Keys of config.json, where families call them differently. */
typedef struct attn_encoder_keys {
    const char *hidden_size, *num_hidden_layers, *num_attention_heads, *intermediate_size, *hidden_act;
} attn_encoder_keys;

/* The sizes all of them have, the activation, and the switches none of them has a formula for. Embeddings are of size D, there are no segments, and positions
 * count from 0: a family that has it otherwise says so afterwards. */
void attn_encoder_configure(attn_model *, attn_config *, const attn_encoder_keys *);
/* The same with BERT's keys, layer_norm_eps and position_embedding_type too. */
void attn_encoder_configure_like_bert(attn_model *, attn_config *);
/* type_vocab_size */
void attn_encoder_configure_segments(attn_model *, attn_config *);
/* embedding_size; project_always: also where it is the hidden size. */
void attn_encoder_configure_embedding(attn_model *, attn_config *, bool project_always);
/* Positions count from padding_id + 1, over ids that are not padding_id; those take row padding_id. */
void attn_encoder_count_from(attn_model *, attn_config *, size_t padding_id);

/* A family, of the table `binds` in its file. */
#define ATTN_ENCODER_FAMILY(types, architecture, base, reader, cost, run)                                                                                      \
    {                                                                                                                                                          \
        .model_types = types, .default_architecture = architecture, .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .parts_bytes = sizeof(attn_encoder_parts),     \
        .binds = { .prefix = base, .rows = binds, .num_rows = sizeof binds / sizeof *binds, .layer_bytes = sizeof(attn_encoder_layer) }, .configure = reader,  \
        .price = cost, .forward = run,                                                                                                                         \
    }

attn_price attn_encoder_price(const attn_model *, const attn_plan *);
attn_status attn_encoder_forward(attn_run *);

/* x [T, D] = project(embeddings of size E), and its price: rest, or more where that is more. */
ATTN_MUST_CHECK attn_status attn_block_embed_and_project(attn_run *, const attn_embeddings *, const attn_dense *project, float *x);
attn_price attn_embed_and_project_price(const attn_model *, size_t T, attn_price rest);
/* One of BERT's layers. */
attn_status attn_encoder_run_layer(attn_run *, size_t layer, float *x, float *y);

#endif
