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
    size_t num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, hidden_size; /* of an encoder-decoder: its encoder's */
    size_t num_decoder_layers;      /* 0: it is no encoder-decoder, and has no more than one attention a layer */
    size_t decoder_vocab_size;      /* ids of an encoder-decoder's decoder are below it; 0: it is none */
    bool writes;                    /* models of its kind do: it is causal or an encoder-decoder */
    bool generates;                 /* and the file has the head that chooses words */
    int32_t decoder_start_token_id; /* -1: there is no decoder behind an encoder, or the files do not say */
    size_t embedding_size;          /* of a token's embedding: hidden_size, but where the model projects it */
    size_t max_tokens;              /* positions the model has */
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
/* The same, but that the weights' numbers are not there yet: their files, names, shapes and types are checked, all else is ready, and info and prices are what
 * they will be. Before a model is run, attn_model_load has to have returned ATTN_OK. It returns that at once, without a lock, for every model whose weights are
 * there; else one thread packs them and others that ask wait for it. Errors: ATTN_E_LIMIT (what is free now does not suffice), ATTN_E_FORMAT (a number is not
 * finite), ATTN_E_NOMEM; it may then be called again. */
ATTN_MUST_CHECK attn_status attn_model_open_unloaded(attn_model **out, attn_runtime *, const char *source, attn_error *);
ATTN_MUST_CHECK attn_status attn_model_load(const attn_model *, attn_error *);
bool attn_model_is_loaded(const attn_model *);
void attn_model_close(attn_model *); /* NULL is fine */
/* What attn_model_open would refuse before it comes to the weights, in config.json and the tokenizer of a directory whose weights may not be there yet; its errors. */
ATTN_MUST_CHECK attn_status attn_model_check_texts(const char *source, attn_error *);

const attn_model_info *attn_model_get_info(const attn_model *);
const attn_tokenizer *attn_model_get_tokenizer(const attn_model *); /* NULL: it has none */
/* Names of the models inside the program, NULL-terminated; the first is the default. */
const char *const *attn_builtin_models(void);

/* One attention of a model: a layer has these sizes. */
typedef struct attn_stack_shape {
    size_t num_layers, num_attention_heads, num_key_value_heads, head_dim;
} attn_stack_shape;
/* num_layers is 0 where the model has no such attention. The shape of ATTN_STACK_SELF is what info says. */
attn_stack_shape attn_model_shape(const attn_model *, attn_stack);

/* One sequence. Borrowed for the call. */
typedef struct attn_model_input {
    size_t T;                      /* 1 <= T <= max_tokens */
    const float *inputs_embeds;    /* [num_embeds, embedding_size], in place of the first tokens' embeddings; positions, segments and norm still apply */
    size_t num_embeds;             /* of T: all, but where a model goes on writing behind embeddings */
    const int32_t *input_ids;      /* [T - num_embeds], in the vocabulary: the tokens behind them */
    const int32_t *token_type_ids; /* [T], below type_vocab_size, or NULL: all 0 */
    const uint8_t *attention_mask; /* [T], 0 = padding, or NULL: all 1 */
    /* An encoder-decoder's; the above is the encoder's. */
    size_t decoder_T;                 /* 1 <= decoder_T <= max_tokens; 0 for other models */
    const int32_t *decoder_input_ids; /* [decoder_T] */
} attn_model_input;

/* keep: one for each attention of the model, in the order of attn_stack: 1, or 3 for an encoder-decoder. Those of ATTN_STACK_DECODER and ATTN_STACK_CROSS list
 * the same layers; outputs and analyses may differ. Lengths alone decide: reads T, decoder_T and which pointers are set. */
attn_price attn_model_price(const attn_model *, const attn_model_input *, const attn_keep *keep);

/* Runs the model as far as keep needs and hands each kept layer to the sink in computed order.
 * Errors: ATTN_E_INPUT (T, an id, a segment out of range; where = "input_ids" and so on), ATTN_E_OVERFLOW, ATTN_E_NOMEM, ATTN_E_CANCELLED, the sink's own.
 * The arena is where it was on return. Bits do not depend on the number of threads. */
ATTN_MUST_CHECK attn_status attn_model_run(const attn_model *, const attn_model_input *, const attn_keep *keep, attn_arena *, attn_cancel *, const attn_sink *,
                                           attn_error *);

/* ---- several at once ---------------------------------------------------------------------------------------------------- */

/* A run of several inputs in one: weights are read once for all of them, so that short inputs take less time than one after the other. Each has the bits that
 * attn_model_run gives it, its own sink, cancel and error, and fails alone. */
typedef struct attn_joint_run {
    const attn_model_input *input;
    const attn_keep *keep;
    attn_cancel *cancel;
    const attn_sink *sink; /* called by the thread that runs them all */
    attn_error *err;
    attn_status status; /* [out] as of attn_model_run */
} attn_joint_run;

/* Whether a run may be one of several: of models whose layers see nothing of an input but rows, positions and mask; not of encoder-decoders, and not where
 * something is added to scores. */
bool attn_model_joins(const attn_model *, const attn_keep *keep);
/* Whether two such runs may be one: the same is kept of the same layers. Heads, pools and lengths may differ. */
bool attn_keep_joins(const attn_keep *, const attn_keep *);
/* What an input of T tokens takes in such a run beside its own price. */
uint64_t attn_model_joint_bytes(const attn_model *, size_t T);
/* Runs [num] inputs, all of which may be one run: the sinks are called in turn, layer by layer. Where one alone is left it is run as by attn_model_run. */
void attn_model_run_joint(const attn_model *, attn_joint_run *, size_t num, attn_arena *);

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

/* A sequence that the model goes on writing, greedily: the token chosen is the one with the greatest logit, the lowest id of equals, those left out that
 * generation_config.json (else config.json) forbids (bad_words_ids of one id) or replaces (forced_bos_token_id). Keys and values of what was read are kept, so that a
 * step costs one token. Used by one thread at a time. */
typedef struct attn_generation attn_generation;

/* What it takes from begin to end: memory held, and what the dearest run takes beside it; the flops of the prompt and of max_new_tokens steps. keep is what
 * the runs will keep at most, as above; NULL: nothing. */
attn_price attn_generation_price(const attn_model *, const attn_model_input *prompt, size_t max_new_tokens, const attn_keep *keep);
/* Takes its memory from the arena, for a prompt (borrowed as long as it lives) and max_new_tokens more; there is nothing to close.
 * Errors: as attn_model_run's of the prompt; ATTN_E_INPUT where T (or decoder_T) + max_new_tokens is beyond max_tokens; ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_generation_begin(attn_generation **, const attn_model *, const attn_model_input *prompt, size_t max_new_tokens, attn_arena *,
                                                  attn_error *);
/* The first call reads the prompt, each later one the token that the call before chose; *next is the token chosen then, NULL: none is (and what only that
 * choice needs is not computed). What is read goes to the sink as attn_model_run would hand it over, keep (NULL: nothing is kept) likewise, but for a step:
 * rows of queries, keys, values and states are the one new token's, maps are [1, T so far]; between encoder and decoder [1, T of the encoder], keys and values
 * the encoder's. The encoder runs in the first call alone. Analyses need whole maps: a step has none, and keep.pool is NULL.
 * Errors: as attn_model_run; ATTN_E_INPUT where nothing is left to read, since none was chosen or all max_new_tokens were read; ATTN_E_OVERFLOW ("logits"). A
 * call that failed while it read may be made again. */
ATTN_MUST_CHECK attn_status attn_generation_run(attn_generation *, const attn_keep *keep, attn_arena *, attn_cancel *, const attn_sink *, int32_t *next,
                                                attn_error *);
/* An end token: nothing is written behind it. */
bool attn_model_is_end(const attn_model *, int32_t id);

#endif
