/* request_read.h - what the files that read a request share: the state of one reading, and one function for each form a field can have.
 *
 * request.c owns the table of fields; every other file reads one family of forms. A field is read as soon as it comes; what depends on several
 * fields (which input it is, whose partner is missing, how lengths agree) is judged when all have been read.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_REQUEST_READ_H
#define API_REQUEST_READ_H

#include "json_reader.h"
#include "request.h"

/* In the order of the contract; problems that concern several fields name the first. */
typedef enum api_field_id {
    API_F_TEXT,
    API_F_INPUT_IDS,
    API_F_INPUTS_EMBEDS,
    API_F_EMBEDDINGS,
    API_F_QUERY,
    API_F_KEY,
    API_F_VALUE,
    API_F_MODEL,
    API_F_TEXT_PAIR,
    API_F_ATTENTION_MASK,
    API_F_TOKEN_TYPE_IDS,
    API_F_DECODER_INPUT_IDS,
    API_F_ADD_SPECIAL_TOKENS,
    API_F_TRUNCATION,
    API_F_MAX_NEW_TOKENS,
    API_F_NUM_ATTENTION_HEADS,
    API_F_NUM_KEY_VALUE_HEADS,
    API_F_W_Q,
    API_F_W_K,
    API_F_W_V,
    API_F_B_Q,
    API_F_B_K,
    API_F_B_V,
    API_F_W_O,
    API_F_B_O,
    API_F_KEY_EMBEDDINGS,
    API_F_POSITIONAL_ENCODING,
    API_F_ROPE_THETA,
    API_F_SCALE,
    API_F_SOFTCAP,
    API_F_IS_CAUSAL,
    API_F_QUERY_OFFSET,
    API_F_LEFT_WINDOW_SIZE,
    API_F_RIGHT_WINDOW_SIZE,
    API_F_ATTN_MASK,
    API_F_KEY_LENGTHS,
    API_F_OUTPUT,
    API_F_LAYERS,
    API_F_HEADS,
    API_F_QUERIES,
    API_F_KEYS,
    API_F_REDUCE_HEADS,
    API_F_REDUCE_LAYERS,
    API_F_TOP_K,
    API_F_POOL,
    API_F_ANALYSES,
    API_F_ENCODING,
    API_F_DTYPE,
    API_F_DECIMALS,
    API_F_COUNT
} api_field_id;

/* A string or an array of them. count: how many were sent; at most the server's max_batch are kept. */
typedef struct api_texts {
    attn_text *items;
    size_t count;
    bool is_batch;
} api_texts;

/* A list of integers or an array of such lists; count and items likewise. */
typedef struct api_id_lists {
    api_ids *items;
    size_t count;
    bool is_batch;
} api_id_lists;

/* An integer or a list of them. */
typedef struct api_integers {
    const int64_t *values;
    size_t count;
    bool is_list;
} api_integers;

typedef struct api_reading {
    api_json json;
    const api_service *service;
    const api_form *form; /* NULL where the answer has one form only */
    attn_arena *arena;
    api_problem *problem;
    const char *field; /* being read */
    uint64_t given;    /* bit api_field_id: sent, and not as null */
    api_attention_request request;
    api_texts text, text_pair;
    api_id_lists input_ids, attention_mask, token_type_ids, decoder_input_ids;
    api_integers query_offset, key_lengths;
} api_reading;

static inline bool api_given(const api_reading *r, api_field_id id)
{
    return r->given >> id & 1;
}

/* ---- forms: each reads the value that comes next into `to`, false after a problem ---------------------------------------------- */

/* request_scalars.c */
bool api_take_bool(api_reading *, void *to);     /* bool */
bool api_take_float(api_reading *, void *to);    /* float, finite */
bool api_take_softcap(api_reading *, void *to);  /* float, finite, not negative */
bool api_take_theta(api_reading *, void *to);    /* double, positive */
bool api_take_count(api_reading *, void *to);    /* size_t, at least 1 */
bool api_take_natural(api_reading *, void *to);  /* size_t, 0 to INT32_MAX */
bool api_take_decimals(api_reading *, void *to); /* int, 1 to 9 */
bool api_take_window(api_reading *, void *to);   /* int64_t, at least -1; beyond any position it is -1 */
bool api_take_name(api_reading *, void *to);     /* const char *, with a NUL behind it */
bool api_take_encoding(api_reading *, void *to); /* api_encoding */
bool api_take_dtype(api_reading *, void *to);    /* api_dtype */
bool api_take_position(api_reading *, void *to); /* api_position */
bool api_take_reduce(api_reading *, void *to);   /* attn_reduce */
bool api_take_outputs(api_reading *, void *to);  /* the outputs of an api_return */
bool api_take_analyses(api_reading *, void *to); /* its analyses */
bool api_take_pool(api_reading *, void *to);     /* its pool */

/* request_lists.c */
bool api_take_texts(api_reading *, void *to);    /* api_texts */
bool api_take_id_lists(api_reading *, void *to); /* api_id_lists */
bool api_take_masks(api_reading *, void *to);    /* api_id_lists, of 0 and 1 */
bool api_take_offsets(api_reading *, void *to);  /* api_integers, one or a list, each within 2^53 */
bool api_take_lengths(api_reading *, void *to);  /* api_integers, a list */
bool api_take_indices(api_reading *, void *to);  /* api_indices */

/* request_tensor.c */
bool api_take_vector(api_reading *, void *to);    /* api_tensor of rank 1 */
bool api_take_matrix(api_reading *, void *to);    /* rank 2 */
bool api_take_sequence(api_reading *, void *to);  /* rank 2 or 3 */
bool api_take_heads(api_reading *, void *to);     /* rank 2 to 4 */
bool api_take_attn_mask(api_reading *, void *to); /* api_mask */

/* ---- shared ----------------------------------------------------------------------------------------------------------------- */

/* The next member of an object that was opened whose value is not null: its place in `names` (NULL-terminated). False at the end or after a problem: an unknown
 * name (the nearest is suggested) or one that came before (`seen`, bits by place; starts as 0). */
bool api_next_member(api_json *, const char *const *names, uint64_t *seen, size_t *place);
/* A string out of `names`: its place. Another one is 400 unknown_value that names those there are. */
bool api_take_choice(api_json *, const char *const *names, size_t *place);
/* An integer in [least, most]; outside is 422 out_of_range. */
bool api_take_int(api_json *, int64_t least, int64_t most, int64_t *out);
/* A problem with the field being read as a whole. Returns false. */
bool api_fail_field(api_reading *, api_code, const char *fmt, ...) ATTN_PRINTF(3, 4);
/* attn_arena_take, and the problem when there is no memory. */
void *api_take_memory(api_reading *, size_t count, size_t size);

/* request_check.c: what depends on several fields, when all have been read and the kind of input is known. */
bool api_check_texts(api_reading *);  /* limits, forms and lengths of text and text_pair; fills them into the request */
bool api_check_inputs(api_reading *); /* the same for every kind of input */
bool api_check_return(api_reading *); /* what of the answer does not go together, or not with its form (request_return.c) */

/* operator_check.c, of a model-free request whose ranks the readers have settled, before anything is known to agree. */
bool api_operator_is_packed(const api_attention_request *); /* query, key and value hold their heads side by side */
bool api_operator_is_batch(const api_attention_request *);
void api_operator_lengths(const api_attention_request *, size_t *B, size_t *T_q, size_t *T_k);

#endif
