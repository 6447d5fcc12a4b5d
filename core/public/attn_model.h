/* attn_model.h - a model in Hugging Face layout, opened once, read-only ever after, run by any number of threads at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_MODEL_H
#define ATTN_MODEL_H

#include "attn_maps.h"
#include "attn_tokenizer.h"

typedef struct attn_model attn_model;

/* Strings are owned by the model. */
typedef struct attn_model_info {
    const char *architecture; /* what the file says, "BertForMaskedLM" */
    const char *model_type;   /* "bert" */
    const char *source;       /* "builtin:attnd-bert", or the directory */
    const char *dtype;        /* of the weights in the file: "float32", "float16", "bfloat16", or "mixed" */
    size_t num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, hidden_size;
    size_t embedding_size; /* of a token's embedding: hidden_size, but where the model projects it */
    size_t max_tokens;     /* positions the model has */
    size_t vocab_size, type_vocab_size;
    uint64_t num_parameters;           /* of the tensors used */
    uint64_t bytes;                    /* held in memory: packed weights and tables */
    attn_outputs outputs;              /* what it can give */
    const char *const *unused_tensors; /* names in the file that no part of the family asked for */
    size_t num_unused_tensors;
    const char *const *ignored_keys; /* keys of config.json that the family's formula does not read; those that ask for another formula are refused */
    size_t num_ignored_keys;
} attn_model_info;

/* source: a directory in Hugging Face layout (config.json; model.safetensors or model.safetensors.index.json and its shards; tokenizer.json, or the older
 * vocab.json with merges.txt, or vocab.txt, where there is one), or "builtin:NAME" for a model inside the program. Weights are mapped, packed for the
 * runtime's kernels, and the mapping is given back.
 * Errors name the file and the tensor or key in `where`, and say what was expected and what was found: ATTN_E_IO, _FORMAT, _UNSUPPORTED, _NOMEM,
 * and _LIMIT for a model that would not fit into memory, before its weights are read.
 * The runtime must outlive the model. */
ATTN_MUST_CHECK attn_status attn_model_open(attn_model **out, attn_runtime *, const char *source, attn_error *);
void attn_model_close(attn_model *); /* NULL is fine */

const attn_model_info *attn_model_get_info(const attn_model *);
const attn_tokenizer *attn_model_get_tokenizer(const attn_model *); /* NULL: it has none */
/* Names of the models inside the program, NULL-terminated; the first is the default. */
const char *const *attn_builtin_models(void);

/* One sequence. Exactly one of input_ids and inputs_embeds. Borrowed for the call. */
typedef struct attn_model_input {
    size_t T;                      /* 1 <= T <= max_tokens */
    const int32_t *input_ids;      /* [T], in the vocabulary */
    const float *inputs_embeds;    /* [T, embedding_size], in place of the token embeddings; positions, segments and norm still apply */
    const int32_t *token_type_ids; /* [T], below type_vocab_size, or NULL: all 0 */
    const uint8_t *attention_mask; /* [T], 0 = padding, or NULL: all 1 */
} attn_model_input;

/* Lengths alone decide: reads T and which pointers are set. */
attn_price attn_model_price(const attn_model *, const attn_model_input *, const attn_keep *);

/* Runs the model as far as keep needs and hands each kept layer to the sink in computed order.
 * Errors: ATTN_E_INPUT (T, an id, a segment out of range; where = "input_ids" and so on), ATTN_E_OVERFLOW, ATTN_E_NOMEM, ATTN_E_CANCELLED, the sink's own.
 * The arena is where it was on return. Bits do not depend on the number of threads. */
ATTN_MUST_CHECK attn_status attn_model_run(const attn_model *, const attn_model_input *, const attn_keep *, attn_arena *, attn_cancel *, const attn_sink *,
                                           attn_error *);

#endif
