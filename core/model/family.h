/* family.h - the seam between models and the one loader and runner they share.
 *
 * A family is one file: which model_type it serves, how it reads config.json, its bind table, its price and its forward pass, the latter two put together from
 * blocks.h. families.c lists the families; model.c opens and runs whatever they describe. To add one, write its file and list it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_FAMILY_H
#define ATTN_FAMILY_H

#include "attention/layer.h"
#include "attn_model.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/source.h"
#include "model/weights.h"
#include "model/writing.h"

/* (z - mean z) / sqrt(var z + eps) * gain + shift; Ba 2016. Or z / sqrt(mean z^2 + eps) * gain; Zhang & Sennrich 2019. Which, and eps, is the model's. */
typedef enum attn_norm_kind { ATTN_NORM_LAYER, ATTN_NORM_RMS } attn_norm_kind;
typedef struct attn_norm {
    const float *gain, *shift; /* [D]; gain NULL: there is no norm */
} attn_norm;

/* How a layer attends, beside its weights. */
typedef struct attn_layer_form {
    attn_rules rules;      /* scale, softcap, causality, windows; a run adds the mask and the length */
    const attn_rope *rope; /* of the model's; NULL: queries and keys are not rotated */
    float query_factor;    /* on queries themselves, which are shown so; 0: none. The scale comes on top */
} attn_layer_form;

enum { ATTN_MODEL_ROPES = 2 };

/* One attention of a run in progress: what is asked of it, and which rows meet which keys. */
typedef struct attn_stack_run {
    const attn_keep *keep;
    const uint8_t *layer_kept; /* [L]; all 0 where nothing is asked */
    size_t num_layers;         /* to compute: the last one kept + 1, all where what comes behind is needed; that of DECODER and CROSS is the same */
    bool goes_on;              /* what the last layer gives is needed: by a decoder, or to choose a word */
    attn_head_choice choice;
    attn_analyst analyst; /* set where there are analyses */
    float *rollout[2];    /* [T, T] for layers of even and odd numbers; NULL: not wanted */
    attn_bias bias;       /* added to the scores of every layer: element (h, t, j) is for row t of this run, which is position past + t, and key j */
    size_t T_q, T_k;      /* rows of this run; keys, those that were read before among them */
    size_t past;          /* position of row 0 among the keys; 0 in CROSS */
    size_t ready;         /* keys that lie in the cache already: past, or in CROSS none or all */
    const uint8_t *mask;  /* [T_k] or NULL */
    float *keys, *values; /* [L, cache_rows, G*d], kept from run to run; NULL: each layer's own */
    size_t cache_rows;
} attn_stack_run;

/* A run in progress: what the caller gave, and what run.c worked out from it. Blocks work on T rows, which are the tokens past .. past + T of the whole input;
 * those before were read by an earlier run, and left their keys and values. Of an encoder-decoder it is the encoder's rows until attn_run_decode. */
typedef struct attn_run {
    const attn_model *model;
    attn_runtime *runtime;
    const attn_model_input *input; /* whole, tokens read earlier included */
    attn_stack stack;              /* whose rows are worked on: SELF, or DECODER */
    size_t T, past;                /* stacks[stack]'s T_q and past, said here for short */
    attn_stack_run stacks[ATTN_STACKS];
    const float *memory;                       /* [T of the encoder, D] what the encoder gave; CROSS */
    attn_rotation rotations[ATTN_MODEL_ROPES]; /* of the model's ropes, for these rows */
    const attn_norm *last_norm;                /* set by a family, for the stack it runs, whose last hidden state is behind a norm of its own */
    float *last;                               /* [D] gets the last row of what the last layer gives (behind last_norm); NULL: nobody chooses a word */
    attn_mask mask;                            /* in place of the input's, where it has one */
    const void *own;                           /* the family's, of this run */
    struct attn_run *parts;      /* [num_parts] runs of one input each, whose rows are this one's, one after the other; NULL: it is of one input */
    size_t num_parts, first_row; /* first_row, status: of a part; its first row in the whole, and why it is out if it is */
    attn_status status;
    attn_arena *arena;
    attn_cancel *cancel;
    const attn_sink *sink;
    attn_error *err;
} attn_run;

/* What the price of one attention of a run depends on. */
typedef struct attn_stack_plan {
    const attn_keep *keep;
    size_t T_q, T_k;
    size_t fresh;            /* keys to project */
    size_t num_layers;       /* to compute */
    bool goes_on, is_cached; /* as in the run */
    bool earlier_kept;       /* a layer before the last of them is kept as well */
    attn_head_choice choice; /* at most, without its lists */
} attn_stack_plan;

/* What the price of a run depends on. */
typedef struct attn_plan {
    size_t T; /* rows: the encoder's, or of models with one attention */
    attn_stack_plan stacks[ATTN_STACKS];
} attn_plan;

typedef struct attn_family {
    const char *const *model_types;   /* NULL-terminated */
    const char *default_architecture; /* where config.json names none */
    attn_outputs outputs;             /* what it can give */
    size_t parts_bytes;               /* sizeof its struct of parts that no layer owns */
    attn_bind_table binds;
    /* Reads the keys of config.json that make the formula into m->info's sizes, m->dims and the fields below it. Failures stick in the config. */
    void (*configure)(attn_model *m, attn_config *);
    attn_price (*price)(const attn_model *, const attn_plan *);
    attn_status (*forward)(attn_run *);
    /* Sets the run's bias from a layer's queries and keys as they meet in the product, [T, H * d] each, in memory above the layer's mark. NULL: nothing does. */
    attn_status (*relate)(attn_run *, size_t layer, const float *query, const float *key);
    attn_layer_cost (*relate_price)(const attn_model *, size_t T);
    attn_head (*head)(const attn_model *); /* of a model whose writing.writes is set; NULL: none is */
} attn_family;

typedef struct attn_loading attn_loading; /* model.c */

struct attn_model {
    const attn_family *family;
    attn_runtime *runtime;
    attn_model_info info;
    size_t dims[ATTN_DIM_COUNT]; /* the sizes its tensors have */
    size_t num_layer_weights;    /* layers in the file; the family says which serves which. 0: as many as there are layers */
    size_t max_distance;         /* of relative positions in buckets: from there on all are in the last */
    size_t first_position;       /* 0, or the id of padding + 1: the first token's row of the table of positions, padding not being counted */
    bool counts_mask;            /* what is not counted, then, is what the mask hides, not an id */
    float clip;                  /* queries, keys and values are kept within this of 0; 0: they are not */
    bool norms_whole;            /* norms of queries and keys are of all heads together, not of each */
    size_t distance_buckets;     /* of relative positions in DeBERTa, to each side; 0: each distance has its own */
    size_t distance_reach;       /* up to which they differ */
    unsigned traits;             /* bits that its bind table asks about */
    attn_activation act;
    attn_norm_kind norm_kind;
    float norm_eps;
    attn_rope ropes[ATTN_MODEL_ROPES];    /* width 0: none */
    attn_stack_shape shapes[ATTN_STACKS]; /* configure sets DECODER's and CROSS's; SELF's is what info says */
    attn_layer_form *forms[ATTN_STACKS];  /* [L] of each attention the model has; attn_model_forms */
    void *parts;                          /* the family's own */
    void *layers;                         /* [L] of binds.layer_bytes */
    void *decoder_layers;                 /* [L of the decoder behind an encoder] of binds.decoder_layer_bytes */
    attn_weights weights;
    attn_loading *loading; /* of weights that are packed later; NULL: they were at once */
    attn_writing writing;
    attn_head head;            /* table.data NULL: it does not write */
    attn_tokenizer *tokenizer; /* NULL: none */
    char *source, *architecture, *model_type;
    const char **unused_tensors, **ignored_keys;
};

/* The forms of a model's layers, all as in BERT at first: scale 1 / sqrt(d), every key seen, nothing rotated. For configure, once sizes are known; NULL, recorded
 * in the config: no memory, or a size failed. */
attn_layer_form *attn_model_forms(attn_model *, attn_config *);
/* The same for DECODER or CROSS, once shapes[stack] is set. An encoder-decoder's configure calls all three, and sets info.num_decoder_layers. */
attn_layer_form *attn_model_stack_forms(attn_model *, attn_config *, attn_stack);

/* The attention whose tokens the model writes, if it writes: its decoder's, or its only one. */
static inline attn_stack attn_model_writer(const attn_model *m)
{
    return m->info.num_decoder_layers > 0 ? ATTN_STACK_DECODER : ATTN_STACK_SELF;
}

/* Ids below it are tokens of its writer. */
static inline size_t attn_model_vocabulary(const attn_model *m)
{
    return m->dims[ATTN_DIM_DECODER_VOCAB] ? m->dims[ATTN_DIM_DECODER_VOCAB] : m->info.vocab_size;
}

/* How many of the input's tokens come as embeddings. */
static inline size_t attn_input_embeds(const attn_model_input *in)
{
    return !in->inputs_embeds ? 0 : in->input_ids ? in->num_embeds : in->T;
}

/* Sets m->tokenizer from tokenizer.json, else from vocab.json and merges.txt, else from vocab.txt (with tokenizer_config.json's do_lower_case); NULL where there is
 * none of them. A folder that has a sentencepiece model alone is ATTN_E_UNSUPPORTED, with the command that converts it. m->info.vocab_size is known. */
ATTN_MUST_CHECK attn_status attn_model_open_tokenizer(attn_model *m, const attn_source *, attn_error *);

/* The family that serves a model_type; NULL: none does. */
const attn_family *attn_family_find(const char *model_type);
/* All model_types, ", " between them, cut to n bytes. */
void attn_family_names(char *dst, size_t n);

extern const attn_family attn_family_bert, attn_family_roberta, attn_family_xlm_roberta, attn_family_electra;
extern const attn_family attn_family_distilbert, attn_family_albert, attn_family_mpnet, attn_family_modernbert, attn_family_deberta_v2;
/* Models that write from left to right. */
extern const attn_family attn_family_llama, attn_family_mistral, attn_family_qwen2, attn_family_qwen3, attn_family_smollm3;
extern const attn_family attn_family_gpt2, attn_family_gemma, attn_family_gemma2, attn_family_gemma3, attn_family_phi, attn_family_phi3, attn_family_gpt_neox,
    attn_family_bloom, attn_family_falcon, attn_family_olmo2, attn_family_gptj, attn_family_opt, attn_family_mpt;
/* Encoder-decoders. */
extern const attn_family attn_family_t5, attn_family_mt5, attn_family_bart, attn_family_mbart, attn_family_marian;

#endif
