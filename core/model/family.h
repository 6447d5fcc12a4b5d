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
#include "model/weights.h"

/* A run in progress: what the caller gave, and what model.c worked out from it. */
typedef struct attn_run {
    const attn_model *model;
    attn_runtime *runtime;
    const attn_model_input *input;
    const attn_keep *keep;
    const uint8_t *layer_kept; /* [L] */
    size_t num_layers;         /* to compute: the last one kept + 1 */
    attn_head_choice choice;
    attn_analyst analyst; /* set where there are analyses */
    float *rollout[2];    /* [T, T] for layers of even and odd numbers; NULL: not wanted */
    attn_arena *arena;
    attn_cancel *cancel;
    const attn_sink *sink;
    attn_error *err;
} attn_run;

/* What the price of a run depends on. */
typedef struct attn_plan {
    const attn_keep *keep;
    size_t T;
    size_t num_layers;       /* to compute */
    bool earlier_kept;       /* a layer before the last of them is kept as well */
    attn_head_choice choice; /* at most, without its lists */
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
} attn_family;

struct attn_model {
    const attn_family *family;
    attn_runtime *runtime;
    attn_model_info info;
    size_t dims[ATTN_DIM_COUNT]; /* the sizes its tensors have */
    attn_activation act;
    float norm_eps;
    void *parts;  /* the family's own */
    void *layers; /* [L] of binds.layer_bytes */
    attn_weights weights;
    attn_tokenizer *tokenizer; /* NULL: none */
    char *source, *architecture, *model_type;
    const char **unused_tensors, **ignored_keys;
};

/* The family that serves a model_type; NULL: none does. */
const attn_family *attn_family_find(const char *model_type);
/* All model_types, ", " between them, cut to n bytes. */
void attn_family_names(char *dst, size_t n);

extern const attn_family attn_family_bert;

#endif
