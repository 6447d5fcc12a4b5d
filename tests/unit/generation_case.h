/* generation_case.h - for tests of models that write: prompts, whole generations with every step kept, and the one pass that a step is compared with.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GENERATION_CASE_H
#define GENERATION_CASE_H

#include "model_case.h"

enum { MOST_STEPS = 24, MOST_IDS = 400 };

static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;

typedef struct fixture {
    attn_runtime *rt;
    attn_model *model;
    attn_arena *arena;
    size_t prompt; /* ids of the writer that the prompt has */
    attn_model_input in;
    int32_t ids[MOST_IDS], decoder_ids[MOST_IDS];
    uint8_t mask[MOST_IDS];
} fixture;

static inline bool decodes(const fixture *f)
{
    return attn_model_get_info(f->model)->num_decoder_layers > 0;
}

/* A prompt of T ids; of an encoder-decoder the encoder's, and the decoder has its start token. */
static inline void fixture_init_with(fixture *f, const char *source, int threads, const char *kernels, size_t T)
{
    memset(f, 0, sizeof *f);
    f->rt = runtime_with(threads, kernels);
    ck_assert_ptr_nonnull(f->rt);
    f->model = open_model(f->rt, source);
    f->arena = attn_arena_new();
    ck_assert_ptr_nonnull(f->arena);
    for (size_t i = 0; i < T; i++)
        f->ids[i] = (int32_t)(i * 37 % 50) + 3;
    f->in = (attn_model_input){ .T = T, .input_ids = f->ids };
    f->prompt = T;
    if (decodes(f)) {
        f->decoder_ids[0] = attn_model_get_info(f->model)->decoder_start_token_id;
        f->in.decoder_T = f->prompt = 1;
        f->in.decoder_input_ids = f->decoder_ids;
    }
    attn_runtime_enter(f->rt);
}

static inline void fixture_init(fixture *f, const char *source, int threads, size_t T)
{
    fixture_init_with(f, source, threads, NULL, T);
}

static inline void fixture_free(fixture *f)
{
    attn_runtime_leave(f->rt);
    attn_arena_free(f->arena);
    attn_model_close(f->model);
    attn_runtime_free(f->rt);
}

static inline attn_generation *begin(fixture *f, size_t max_new_tokens)
{
    attn_generation *g = NULL;
    attn_error err = { 0 };
    attn_status st = attn_generation_begin(&g, f->model, &f->in, max_new_tokens, f->arena, &err);
    ck_assert_msg(st == ATTN_OK && g, "%s: %s", err.where, err.text);
    return g;
}

static inline int32_t step(fixture *f, attn_generation *g, const attn_keep *keep, kept_run *run)
{
    int32_t next = -1;
    attn_error err = { 0 };
    attn_sink sink = { run, keep_layer, keep_state };
    attn_status st = attn_generation_run(g, keep, f->arena, NULL, &sink, &next, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return next;
}

/* Chooses up to n tokens, till an end if `ends`, keeping nothing; returns how many. */
static inline size_t write_ids(fixture *f, size_t n, bool ends, int32_t *out)
{
    size_t made = 0;
    attn_generation *g = begin(f, n);
    while (made < n) {
        out[made++] = step(f, g, NULL, NULL);
        if (ends && attn_model_is_end(f->model, out[made - 1]))
            break;
    }
    return made;
}

/* The prompt and n more ids as one input. The lists it needs are f's own: prompt ids are there already. */
static inline attn_model_input continued(fixture *f, const int32_t *more, size_t n)
{
    attn_model_input in = f->in;
    int32_t *list = decodes(f) ? f->decoder_ids : f->ids;
    memcpy(list + f->prompt, more, n * sizeof *more);
    *(decodes(f) ? &in.decoder_T : &in.T) = f->prompt + n;
    if (in.attention_mask && !decodes(f)) {
        memset(f->mask + f->prompt, 1, n);
        in.attention_mask = f->mask;
    }
    return in;
}

#endif
