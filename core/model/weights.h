/* weights.h - the bind table: a family lists its tensors, one line each, and binding finds, checks, converts and packs them.
 *
 * A line says the tensor's name, its shape as named sizes of the model, how it is kept, and where the pointer to it goes. Names are looked for as they stand
 * and behind the family's base prefix ("bert."); LayerNorm.weight and .bias also under their old names, gamma and beta. Where files differ, a line has several
 * names, '|' between them: the first that is there is taken. What no line asked for is listed in the model's info.
 *
 * The file may have it otherwise: turned round ([in, out], GPT-2), several projections in one tensor (each line then takes its part), a gain less 1 (Gemma),
 * not at all unless config.json says so (biases), or not always (heads). Flags beside the store say that; the forward pass sees none of it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_WEIGHTS_H
#define ATTN_WEIGHTS_H

#include "math/gemm.h"
#include "model/checkpoint.h"

/* The sizes a tensor's shape can be made of. */
typedef enum attn_dim {
    ATTN_DIM_NONE,      /* ends a shape */
    ATTN_DIM_HIDDEN,    /* D */
    ATTN_DIM_QUERY,     /* H * d */
    ATTN_DIM_KEY,       /* G * d */
    ATTN_DIM_FEED,      /* F */
    ATTN_DIM_VOCAB,     /* V */
    ATTN_DIM_POSITION,  /* positions */
    ATTN_DIM_SEGMENT,   /* segment types */
    ATTN_DIM_HEAD,      /* d */
    ATTN_DIM_GROUPS,    /* of a fused query, key and value: see ATTN_PART_QUERY; 0 is 1 */
    ATTN_DIM_EMBEDDING, /* E, where embeddings have a size of their own */
    ATTN_DIM_HEADS,     /* H */
    ATTN_DIM_BUCKETS,   /* of relative positions */
    ATTN_DIM_ONE,       /* 1, whatever the model */
    /* Of a decoder behind an encoder, where it may have its own. */
    ATTN_DIM_DECODER_FEED,
    ATTN_DIM_DECODER_VOCAB,
    ATTN_DIM_COUNT
} attn_dim;

typedef enum attn_store {
    ATTN_STORE_PANELS, /* a linear layer's [out, in], packed for the micro-kernel: goes into an attn_panels */
    ATTN_STORE_FLOATS, /* float32 as it stands: goes into a const float * */
    ATTN_STORE_TABLE, /* an embedding table, kept in the file's dtype and widened row by row: goes into an attn_table. Two that hold the same are one in memory */
    ATTN_STORE_KINDS = 3,
    /* Flags beside one of the above; a table takes the last alone. The shape is what is kept, these say what the file has instead. */
    ATTN_STORE_TRANSPOSED = 1 << 2, /* [in, out] */
    ATTN_STORE_PLUS_ONE = 1 << 3,   /* numbers less 1 */
    /* A part of the tensor's rows: of query, key and value as [GROUPS][query | key | value], each with its share of the rows; */
    ATTN_PART_QUERY = 1 << 4,
    ATTN_PART_KEY = 2 << 4,
    ATTN_PART_VALUE = 3 << 4,
    ATTN_PART_GATE = 4 << 4, /* of [gate | up] */
    ATTN_PART_UP = 5 << 4,
    ATTN_PARTS = 7 << 4,
    ATTN_NOT_FIRST = 1 << 7, /* not in layer 0 */
    ATTN_TRAITS = 0xff << 8,
    ATTN_IN_DECODER = 1 << 16, /* the layers are the decoder's: %zu counts those, and the target is in the struct of one of them */
    ATTN_OPTIONAL = 1 << 17    /* the file may be without it; its target is then left as it was */
} attn_store;
/* The line holds only for models that have this trait, one of eight bits that the family gives a meaning (attn_model.traits). */
#define ATTN_WHEN(trait) ((unsigned)(trait) << 8)

typedef struct attn_table {
    const void *data; /* 64-byte aligned */
    attn_dtype type;
    size_t rows, cols;
} attn_table;

typedef struct attn_bind {
    const char *name; /* or several, '|' between them; a %zu in it is the layer's number: the line then stands for one tensor in each layer */
    attn_store store;
    attn_dim shape[2];
    size_t offset; /* of the target, in the struct of the layer or of the model's other parts */
} attn_bind;

typedef struct attn_bind_table {
    const char *prefix; /* "bert." */
    const attn_bind *rows;
    size_t num_rows;
    size_t layer_bytes;         /* sizeof a layer's struct */
    size_t decoder_layer_bytes; /* likewise, of a decoder behind an encoder; 0: there is none */
} attn_bind_table;

/* What the names and shapes of a table stand for in one model. */
typedef struct attn_bind_sizes {
    const size_t *dims; /* the value of each attn_dim */
    size_t num_layers, num_decoder_layers;
    unsigned traits;
} attn_bind_sizes;

/* What the pointers go into, zeroed. */
typedef struct attn_bind_targets {
    void *parts;
    void *layers;         /* [num_layers] */
    void *decoder_layers; /* [num_decoder_layers] */
} attn_bind_targets;

typedef struct attn_packing attn_packing;

/* What binding gives. */
typedef struct attn_weights {
    void *block;           /* all weights */
    attn_packing *packing; /* what is to be done before there are numbers in it; NULL: nothing is */
    uint64_t bytes, parameters;
    const char *dtype; /* "float32", ...; static */
} attn_weights;

/* Sets the targets as the table says, and takes the memory they point to, which attn_weights_pack fills. The checkpoint, table, and sizes must be there until
 * then. Errors name the tensor, and what was expected and found:
 * ATTN_E_FORMAT (missing, misshapen), ATTN_E_UNSUPPORTED (a dtype that holds no weights), ATTN_E_LIMIT (more memory than there is: the two figures
 * are in the text, and in need and limit; nothing was read), ATTN_E_NOMEM.
 * The checkpoint's tensors that were found are marked used. */
ATTN_MUST_CHECK attn_status attn_weights_bind(attn_weights *out, attn_runtime *, const attn_bind_table *, const attn_checkpoint *, const attn_bind_sizes *,
                                              const attn_bind_targets *, attn_error *);

/* Widens and packs, and gives the pages of the file back. ATTN_E_LIMIT as above, by what is free now; ATTN_E_FORMAT (not finite), ATTN_E_NOMEM; after either it may be
 * called again. */
ATTN_MUST_CHECK attn_status attn_weights_pack(attn_weights *, attn_error *);
void attn_weights_free(attn_weights *); /* zeroed ones are fine */

/* Row `row` of the table times x [cols], as the kernels' dot_row would give of its float32. */
double attn_table_dot(const attn_kernels *, const attn_table *, size_t row, const float *x);
/* dst [cols] = row `row` of the table, as float32. */
void attn_table_row(const attn_kernels *, const attn_table *, size_t row, float *dst);

#endif
