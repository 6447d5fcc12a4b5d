/* request.h - the body of POST /v1/attention (and /v1/tokenize), typed: every field of the contract, read, range-checked, and nothing else.
 *
 * What needs a model to be judged (names of models, vocabulary, layers) is left to plan.h; what the body alone tells is settled here.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include "api.h"

typedef enum api_input_kind { API_INPUT_TEXT, API_INPUT_IDS, API_INPUT_EMBEDS, API_INPUT_EMBEDDINGS, API_INPUT_QKV } api_input_kind;

/* A dense tensor, row-major, in the request's arena. rank 0: absent. */
typedef struct api_tensor {
    const float *data;
    size_t rank;
    size_t shape[4];
} api_tensor;

/* attn_mask: exactly one of keep and add, or neither. */
typedef struct api_mask {
    const uint8_t *keep;
    const float *add; /* null read as -INFINITY */
    size_t rank;
    size_t shape[4];
} api_mask;

typedef struct api_ids {
    const int64_t *values;
    size_t count;
} api_ids;

/* layers, heads, queries, keys, as asked: not yet resolved. */
typedef struct api_indices {
    enum { API_ALL, API_LIST, API_SLICE } kind;
    const int64_t *list;
    size_t count;
    bool has_start, has_stop;
    int64_t start, stop;
} api_indices;

typedef enum api_dtype { API_FLOAT32, API_FLOAT16, API_UINT8 } api_dtype;
typedef enum api_encoding { API_ENCODING_JSON, API_ENCODING_BASE64 } api_encoding;
typedef enum api_position { API_POSITION_NONE, API_POSITION_SINUSOIDAL, API_POSITION_ROPE, API_POSITION_ALIBI } api_position;

typedef struct api_return {
    attn_outputs outputs;   /* default attentions, context; attentions alone in forms that hold one tensor or draw; empty only where analyses are not */
    attn_analyses analyses; /* default none */
    size_t output_places[ATTN_OUTPUT_COUNT], analysis_places[ATTN_ANALYSIS_COUNT]; /* where each was named first, for pointers */
    api_indices layers, heads, queries, keys;
    attn_reduce reduce_heads, reduce_layers;
    size_t top_k;          /* 0: none */
    size_t pool_size;      /* 0: none */
    attn_reduce pool_mode; /* MEAN or MAX */
    bool has_encoding;     /* it was sent: an error with forms that have none */
    api_encoding encoding;
    api_dtype dtype;
    int decimals; /* 0: shortest exact */
} api_return;

typedef struct api_attention_request {
    api_input_kind kind;
    bool is_batch;     /* an array of inputs was sent, if only of one */
    size_t num_inputs; /* B >= 1 */
    api_return want;

    /* with a model */
    const char *model;                 /* NULL: the default */
    const attn_text *text, *text_pair; /* [B]; text_pair NULL: none */
    /* [B] or NULL; lengths agree with the input's, save that token_type_ids sent with a text must still be held against its tokens; mask values are 0 and 1 */
    const api_ids *input_ids, *attention_mask, *token_type_ids;
    const api_ids *decoder_input_ids; /* [B] or NULL, of lengths of their own; not together with text_pair */
    api_tensor inputs_embeds;         /* [T, D] or [B, T, D] */
    size_t max_new_tokens;            /* 0: none; at most INT32_MAX */
    bool add_special_tokens, truncation;

    /* without */
    api_tensor embeddings, key_embeddings, query, key, value, w_q, w_k, w_v, w_o, b_q, b_k, b_v, b_o;
    bool has_num_attention_heads, has_num_key_value_heads;
    size_t num_attention_heads, num_key_value_heads;
    api_position positional_encoding;
    double rope_theta;
    bool has_scale;
    float scale, softcap;
    bool is_causal;
    const int64_t *query_offset;                 /* [B], each within 2^53 */
    int64_t left_window_size, right_window_size; /* -1: unbounded; at most 2^60, so that sums of positions cannot overflow */
    api_mask attn_mask;
    const int64_t *key_lengths; /* [B] or NULL */
} api_attention_request;

typedef struct api_tokenize_request {
    const char *model;
    bool is_batch;
    size_t num_inputs;
    const attn_text *text, *text_pair;
    bool add_special_tokens;
} api_tokenize_request;

/* Reads a body whose answer will have this form: defaults depend on it, and what cannot be said in it is API_UNSUPPORTED_COMBINATION. All memory from the arena
 * (at most api_request_bytes); strings may point into the body, which must stay. max_batch is refused here with API_BATCH_TOO_LARGE (texts and lists of
 * ids beyond it are counted but not kept), max_tokens (lengths of ids, embeddings, queries, keys) with API_TOO_MANY_TOKENS. An unknown field names
 * its nearest neighbour: `unknown field "is_casual"; did you mean "is_causal"?` */
bool api_read_attention(const api_service *, const api_form *, const char *body, size_t length, attn_arena *, api_attention_request *out, api_problem *);
bool api_read_tokenize(const api_service *, const char *body, size_t length, attn_arena *, api_tokenize_request *out, api_problem *);
uint64_t api_request_bytes(const char *body, size_t length);

/* ---- model-free inputs ---------------------------------------------------------------------------------------------------- */

/* The shapes of a model-free request, settled: every 422 about shapes, heads, masks, offsets has been said. */
typedef struct api_operator_shape {
    size_t B, H, G, T_q, T_k, head_dim, value_dim, output_dim;
} api_operator_shape;

bool api_check_operator(const api_attention_request *, api_operator_shape *out, api_problem *);
/* Price of projections and operator for one item, and arena bytes api_operator_item takes. */
attn_price api_operator_item_price(const attn_runtime *, const api_attention_request *, const api_operator_shape *, const attn_keep *);
/* Item b as core wants it: sinusoids added, projections done, rotated; memory from the worker's arena. api_check_operator has passed. */
ATTN_MUST_CHECK attn_status api_operator_item(attn_runtime *, const api_attention_request *, const api_operator_shape *, size_t b, const api_worker *,
                                              attn_operator_input *out, attn_error *);

/* Can this input give what is asked for? `model` is the one that will run, and `shape` NULL; without one `model` is NULL, and `shape` what api_check_operator
 * found. Else API_OUTPUT_NOT_AVAILABLE, pointer "/output/1" or "/analyses/0". */
bool api_check_available(const api_attention_request *, const attn_model *model, const api_operator_shape *shape, api_problem *);

/* Resolves against an axis of n >= 1: negative indices, slices clipped; a slice of nothing is refused, as a list of nothing was when it was read. List in the
 * arena (n integers for a slice); NULL and *count = n for all. Pointer of a bad index: "/layers/1". */
bool api_resolve(const api_indices *, const char *field, size_t n, attn_arena *, const int32_t **list, size_t *count, api_problem *);

/* The nearest of `names` (NULL-terminated) to a misspelt one, or NULL: edit distance with transpositions, at most a third of the length. */
const char *api_suggest(const char *name, size_t length, const char *const *names);

#endif
