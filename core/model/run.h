/* model/run.h - reading tokens: what a single run and every step of a generation have in common.
 *
 * A reading is given the whole input and told how much of it was read before (`past`); what it computes is the rest. With a cache it leaves keys and values of
 * every layer there for the readings that follow (of the last decoder layer's look at the encoder only if `last` is asked for: else nothing follows);
 * without one past is 0.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_RUN_H
#define ATTN_RUN_H

#include "model/family.h"

/* Keys as used in the product and values, of the attentions that will need them again. */
typedef struct attn_cache {
    struct {
        float *keys, *values; /* [L, rows, G*d] */
        size_t rows;
    } stacks[ATTN_STACKS];
    bool encoded; /* CROSS is filled: the encoder need not run again */
} attn_cache;

typedef struct attn_reading {
    const attn_model *model;
    const attn_model_input *input;
    const attn_keep *keep; /* as in attn_model_run; NULL: nothing */
    attn_cache *cache;     /* NULL: none */
    size_t past;           /* tokens of the model's writer (attn_model_writer) read before */
    size_t length;         /* of the text that rotation is for: at least what is read */
    float *last;           /* [D] gets the last hidden state of the last token; NULL: nobody asks for it */
} attn_reading;

/* Errors: as attn_model_run. Sets cache->encoded. */
ATTN_MUST_CHECK attn_status attn_read(const attn_reading *, attn_arena *, attn_cancel *, const attn_sink *, attn_error *);
/* Of its input, lengths and set pointers alone are read; of cache and last, whether they are there. The cache is not in it. */
attn_price attn_read_price(const attn_reading *);

/* ATTN_E_INPUT where the input does not fit the model. */
ATTN_MUST_CHECK attn_status attn_check_input(const attn_model *, const attn_model_input *, attn_error *);

#endif
