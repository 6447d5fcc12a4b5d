/* plan.h - from a request that reads well to what is to be run: the model, its inputs, what is selected, and what all of it will cost.
 *
 * Everything that can be refused is refused here, before anything is computed. Parts of an answer: each tensor of a result is a part, outputs first, then
 * analyses; with top_k the attentions are three parts in a row (indices, values, dropped). A part comes in slices, one a layer (hidden_states: one a state).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_PLAN_H
#define API_PLAN_H

#include "handlers.h"
#include "request.h"

/* A resolved list of original indices: list NULL stands for 0 .. count - 1. */
typedef struct api_choice {
    const int32_t *list;
    size_t count;
    bool asked; /* it was in the request, so the result echoes it */
} api_choice;

/* Position i of a choice, as an original index. */
static inline int32_t api_choice_at(const api_choice *c, size_t i)
{
    return c->list ? c->list[i] : (int32_t)i;
}

typedef struct api_plan_input {
    size_t T_q, T_k;
    attn_encoding tokens;   /* of a text */
    attn_model_input model; /* with a model */
    api_choice queries, keys;
    api_choice ranked; /* what top_k chooses from: `keys`, each of them once */
    api_choice states; /* of hidden_states: 0 .. L, or l + 1 for each chosen layer */
    attn_pool pool;    /* size 0: none was asked for; with it, what keep.pool points to where an axis is longer than it */
    attn_keep keep;    /* of this input's run */
    attn_analysis_tokens about;
} api_plan_input;

/* A limit that the request is beyond. */
typedef struct api_excess {
    api_code code;
    uint64_t limit, need;
    char detail[200];
} api_excess;

enum { API_MAX_EXCESSES = 5, API_MAX_PARTS = ATTN_OUTPUT_COUNT + 2 + ATTN_ANALYSIS_COUNT, API_MAX_AXES = 4 };

typedef struct api_encoder api_encoder; /* encoder.h */

typedef struct api_plan {
    const api_attention_request *request;
    const api_encoder *encoder; /* of the form asked for */
    const api_form *form;
    const api_model *model;                                              /* NULL: none is used */
    api_operator_shape shape;                                            /* without one */
    size_t num_layers, num_attention_heads, head_dim, value_dim, hidden; /* hidden: columns of attn_output */
    api_choice layers, heads;
    bool is_default_selection; /* text: nothing was selected, so it is the mean over heads of the last layer (request->want says so too) */
    api_plan_input *inputs;
    size_t num_inputs;
    attn_price price;        /* flops of all inputs; bytes: the most that one of them takes, blocks of the answer included */
    uint64_t memory_bytes;   /* all that the request holds at its fullest: body's values, tokens, and price.bytes */
    uint64_t response_bytes; /* upper bound of the body */
    api_excess excesses[API_MAX_EXCESSES];
    size_t num_excesses;
} api_plan;

typedef enum api_role { API_PLAIN, API_INDICES, API_VALUES, API_DROPPED, API_ANALYSIS } api_role;

typedef struct api_part {
    api_role role;
    attn_output output;       /* of any role but API_ANALYSIS */
    attn_analysis analysis;   /* of API_ANALYSIS */
    const char *group, *name; /* NULL, "context"; "attentions", "indices"; "analyses", "entropy" */
    bool opens, closes;       /* it is the first, the last of its group */
    size_t ndim, dims[API_MAX_AXES];
    const char *axes[API_MAX_AXES];
    bool is_reduced;      /* over layers: known only when the last one has come */
    size_t slices;        /* dims[0], or 1 when reduced */
    size_t matrices;      /* of one slice: heads, or 1 */
    size_t rows, columns; /* of one matrix; the tensor is slices * matrices * rows rows */
} api_part;

/* Finds a model by name; NULL is the default. 404, pointer /model, naming those there are. */
const api_model *api_find_model(const api_service *, const char *name, api_problem *);

/* Reads the body of call->request for the form call->form and plans it; false: call->problem says why not. `reader` is the service whose limits on batch and length are held to while
 * reading: call->service, or one without them, whose excesses the plan then lists. */
bool api_plan_request(api_call *, const api_service *reader, api_attention_request *, api_plan *);
/* Plans a request that was read: memory from the worker's arena, reserved before it is taken. False: call->problem says why not.
 * Limits the request is beyond are listed in plan->excesses and are no problem yet: api_plan_refuse makes the first of them one. */
bool api_plan_make(api_call *, api_attention_request *, api_plan *);
bool api_plan_refuse(api_call *, const api_plan *);

/* Fills plan->inputs up to the selections: texts tokenized, ids checked, rows of embeddings found. (inputs.c; called by api_plan_make) */
bool api_plan_inputs(api_call *, api_plan *);
/* Tokenizes [num] texts; pair NULL: none. max_length as attn_encode_options has it; encodings in the arena. Time goes to API_STAGE_TOKENIZE. (inputs.c) */
bool api_tokenize_texts(api_call *, const api_model *, const attn_text *text, const attn_text *pair, size_t num, const attn_encode_options *,
                        attn_encoding **out);
/* "/input_ids/1/3": item of a batch, position; SIZE_MAX leaves one out. */
void api_item_pointer(char *dst, size_t size, const char *field, size_t item, size_t position);

/* The field that the inputs came in, "/text" and so on. */
const char *api_plan_pointer(const api_plan *);
void api_plan_excess(api_plan *, api_code, uint64_t limit, uint64_t need, const char *fmt, ...) ATTN_PRINTF(5, 6);

/* ---- the parts of an answer: parts.c ------------------------------------------------------------------------------------ */

/* The parts of result b, in the order of the answer; returns how many. */
size_t api_plan_parts(const api_plan *, size_t b, api_part parts[API_MAX_PARTS]);
/* One layer's (or state's) slice as a part of its own, without that axis. */
api_part api_part_of_slice(const api_part *);
/* Bytes of one number of this part: 4, 2 or 1. */
size_t api_part_width(const api_plan *, const api_part *);
size_t api_part_slice(const api_part *);     /* numbers in one slice */
uint64_t api_part_numbers(const api_part *); /* in all of them */
/* Is each slice of it done with its layer, so that it may stand in a line of that layer's? Reductions and analyses are not. */
bool api_part_is_layered(const api_part *);
/* Do slices of it come in the order of the answer, so that they need not be held? */
bool api_part_streams(const api_plan *, const api_part *);
/* The most distinct keys top_k may give in a row. */
size_t api_plan_rank(const api_plan *, size_t b);

/* Bytes an arena takes for a block of `count` numbers of `size` bytes. */
uint64_t api_arena_bytes(uint64_t count, uint64_t size);

#endif
