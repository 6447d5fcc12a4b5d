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

/* One attention of what runs, as far as all inputs share it. There is one; of an encoder-decoder there are three, in the order of attn_stack. */
typedef struct api_plan_stack {
    size_t num_layers, num_attention_heads, head_dim, value_dim;
    attn_outputs outputs; /* what is given of it, of all that was asked for */
    attn_analyses analyses;
    api_choice layers, heads;
    api_choice states; /* of hidden_states: 0 .. L, or l + 1 for each chosen layer */
} api_plan_stack;

/* The same attention as one input has it. */
typedef struct api_input_stack {
    size_t T_q, T_k;
    size_t fresh; /* keys whose own vectors come: all that were chosen, but in a step the new token's alone */
    api_choice queries, keys;
    api_choice ranked; /* what top_k chooses from: `keys`, each of them once */
    attn_pool pool;    /* size 0: none was asked for; with it, what keep.pool points to where an axis is longer than it */
    attn_analysis_tokens about;
    uint8_t *special; /* about.is_special */
} api_input_stack;

/* What of an input the parts are about: all that was asked for. Of a generation in lines first what comes with the prompt, then each new token's row, then what only
 * the whole gives: generate.h. */
typedef enum api_span { API_SPAN_ALL, API_SPAN_PROMPT, API_SPAN_STEP, API_SPAN_REST } api_span;

typedef struct api_plan_input {
    attn_encoding tokens;         /* of a text */
    attn_encoding decoder_tokens; /* likewise; and of the start token that nobody sent */
    attn_model_input model;       /* with a model; what was generated is behind what was sent */
    api_input_stack stacks[ATTN_STACKS];
    attn_keep keep[ATTN_STACKS]; /* of this input's run */

    /* with max_new_tokens */
    int32_t *room;        /* the ids of the sequence that is written; room for the most that may be */
    size_t num_prompt;    /* its tokens that were sent, embeddings counted */
    size_t num_generated; /* its others: the most there may be, until it is known how many there are */
    attn_text generated_text;
    api_span span;
    size_t step; /* of API_SPAN_STEP */
} api_plan_input;

/* A limit that the request is beyond. */
typedef struct api_excess {
    api_code code;
    const char *pointer; /* the field to mend, where it is not the inputs' own */
    uint64_t limit, need;
    char detail[200];
} api_excess;

enum { API_MAX_EXCESSES = 6, API_MAX_PARTS = ATTN_STACKS * (ATTN_OUTPUT_COUNT + 2 + ATTN_ANALYSIS_COUNT), API_MAX_AXES = 4 };

typedef struct api_encoder api_encoder; /* encoder.h */

typedef struct api_plan {
    const api_attention_request *request;
    const api_encoder *encoder; /* of the form asked for */
    const api_form *form;
    const api_model *model;   /* NULL: none is used */
    api_operator_shape shape; /* without one */
    size_t num_stacks;        /* 1, or 3 of an encoder-decoder */
    api_plan_stack stacks[ATTN_STACKS];
    size_t hidden;             /* columns of attn_output */
    bool generates;            /* tokens are still to be chosen */
    bool is_default_selection; /* text: nothing was selected, so it is the mean over heads of the last layer (request->want says so too) */
    api_plan_input *inputs;
    size_t num_inputs;
    attn_arena_mark choices; /* lists of choices lie behind it */
    attn_price price;        /* flops of all inputs; bytes: the most that one of them takes, blocks of the answer included */
    uint64_t memory_bytes;   /* all that the request holds at its fullest: body's values, tokens, and price.bytes */
    uint64_t response_bytes; /* upper bound of the body */
    api_excess excesses[API_MAX_EXCESSES];
    size_t num_excesses;
} api_plan;

typedef enum api_role { API_PLAIN, API_INDICES, API_VALUES, API_DROPPED, API_ANALYSIS } api_role;

typedef struct api_part {
    api_role role;
    attn_stack stack;
    attn_output output;       /* of any role but API_ANALYSIS */
    attn_analysis analysis;   /* of API_ANALYSIS */
    const char *prefix;       /* "", or of an encoder-decoder "encoder_" and so on: of the group's name where there is a group, else of the name */
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

/* Plans again, now that it is known what was generated: selections, price, length of the answer. */
bool api_plan_again(api_call *, api_plan *);

/* Is it one run, so short that several in one take less time than one after the other (API_MEETING_EACH), of a model that can be run so? */
bool api_plan_is_small(const api_plan *);

/* Fills tokens, decoder_tokens and model of plan->inputs, without what is to be generated: texts tokenized, ids checked, rows of embeddings found. Lengths are held
 * against the limits, max_new_tokens counted. (inputs.c; called by api_plan_make) */
bool api_plan_inputs(api_call *, api_plan *);
/* Tokenizes [num] texts, which came in this field ("text"); pair NULL: none. max_length as attn_encode_options has it; encodings in the arena. Time goes to
 * API_STAGE_TOKENIZE. (inputs.c) */
typedef struct api_text_batch {
    const char *field;
    const attn_text *text, *pair;
    size_t num;
} api_text_batch;
bool api_tokenize_texts(api_call *, const api_model *, const api_text_batch *, const attn_encode_options *, attn_encoding **out);
/* "/input_ids/1/3": item of a batch, position; SIZE_MAX leaves one out. */
void api_item_pointer(char *dst, size_t size, const char *field, size_t item, size_t position);

/* The field that the inputs came in, "/text" and so on. */
const char *api_plan_pointer(const api_plan *);
void api_plan_excess(api_plan *, api_code, uint64_t limit, uint64_t need, const char *fmt, ...) ATTN_PRINTF(5, 6);

/* ---- selections: choices.c ---------------------------------------------------------------------------------------------- */

/* Resolves what was selected, of each attention and each input, and says what each run is to keep. Memory for it has been reserved. */
bool api_plan_choose(api_call *, api_plan *);
bool api_plan_reserve_choices(api_call *, const api_plan *);
/* Which tokens are special, told again: ids have changed. */
void api_plan_mark_special(const api_plan *, size_t b);
/* Lengths of an input's attentions, as its model input says. */
void api_plan_set_lengths(const api_plan *, api_plan_input *);
/* "", or of an encoder-decoder "encoder_", "decoder_", "cross_". */
const char *api_plan_prefix(const api_plan *, attn_stack);

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
size_t api_plan_rank(const api_plan *, size_t b, attn_stack);

/* ---- sequences: sequences.c --------------------------------------------------------------------------------------------- */

/* One of an input's sequences: T positions. */
typedef struct api_sequence {
    const attn_encoding *tokens; /* what is known of its first positions beside their ids; may be of none */
    const int32_t *ids;          /* [T - num_embeds]; NULL: none */
    size_t T, num_embeds;        /* the first num_embeds are no tokens */
    size_t end_of_prompt;        /* what stands from here on was generated */
} api_sequence;

/* A decoder's behind an encoder, or the other, often the only one. In the lines of a generation, until it is over, what was sent alone. */
api_sequence api_plan_sequence(const api_plan *, size_t b, bool is_decoder);
/* Is a decoder's sequence what an attention's queries (its keys) are? */
bool api_stack_is_decoder(attn_stack, bool of_keys);
/* Is this the sequence that the model goes on writing? */
bool api_plan_writes(const api_plan *, bool is_decoder);
/* NULL: no model, or none that has one. */
const attn_tokenizer *api_plan_tokenizer(const api_plan *);

/* Bytes an arena takes for a block of `count` numbers of `size` bytes. */
uint64_t api_arena_bytes(uint64_t count, uint64_t size);

#endif
