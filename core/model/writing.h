/* model/writing.h - how a model goes on writing: the head that gives every word of the vocabulary a logit, and rules on which may be chosen.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_WRITING_H
#define ATTN_WRITING_H

#include "model/config.h"
#include "model/source.h"
#include "model/weights.h"

/* logits[i] = table[i] . x + bias[i], x the last hidden state, projected where the table is narrower. What a family does to logits afterwards, or to x by
 * a number above 0, leaves their order as it is (Gemma 2's cap, T5's scale), so it is left out. */
typedef struct attn_head {
    attn_table table;           /* [V, E], in the file's dtype */
    const float *bias;          /* [V] or NULL */
    const attn_panels *project; /* [E, D], E the table's width; NULL: there is none */
} attn_head;

/* Of what generation_config.json, else config.json, says: what makes a greedy choice another one. Lengths (min_length, forced_eos_token_id) and penalties
 * are not among it: how long a text gets is the caller's to say. */
typedef struct attn_writing {
    bool writes;           /* models of this family do: set by configure */
    int32_t *ends, *never; /* end tokens; ids that are never chosen (bad_words_ids of one id that does not end) */
    size_t num_ends, num_never;
    int32_t forced_first; /* forced_bos_token_id, chosen behind one token; -1: none */
    int32_t start;        /* of a decoder behind an encoder: decoder_start_token_id, else bos_token_id, else pad_token_id (T5); -1: none */
} attn_writing;

/* Reads those keys of an open config.json, then generation_config.json where there is one. V: ids that are chosen or begun with must be below it. For a config that failed it
 * does nothing; failures are recorded in it. */
void attn_writing_read(attn_writing *, attn_config *, const attn_source *, size_t V, bool decodes);
void attn_writing_close(attn_writing *);

/* *id = the word of the greatest logit, the lowest id of equals, among those that may be chosen behind `read` tokens. Scratch from the arena, given back.
 * Errors: ATTN_E_OVERFLOW (a logit is not finite), ATTN_E_INPUT (every word is forbidden), ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_choose_word(attn_runtime *, const attn_head *, const attn_writing *, const float *x, size_t read, int32_t *id, attn_arena *,
                                             attn_error *);
uint64_t attn_choose_bytes(const attn_runtime *, const attn_head *);

#endif
