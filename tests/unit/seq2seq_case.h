/* seq2seq_case.h - for tests of encoder-decoders: a sink that keeps what each of the three attentions gives, and a model with something to read and to write.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SEQ2SEQ_CASE_H
#define SEQ2SEQ_CASE_H

#include "golden_case.h"

#define AT(name) "tests/golden/models/" name
static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;

/* What came of each attention, and in which order. */
typedef struct kept_stacks {
    kept_run of[ATTN_STACKS];
    attn_stack order[3 * CASE_LAYERS];
    size_t came;
    attn_cancel *cancel_in; /* raised when this many layers have come */
    size_t cancel_after;
} kept_stacks;

static inline attn_status keep_layer_of(void *ctx, const attn_layer *layer, attn_error *err)
{
    kept_stacks *kept = ctx;
    ck_assert_uint_lt(kept->came, 3 * CASE_LAYERS);
    kept->order[kept->came++] = layer->stack;
    if (kept->cancel_in && kept->came == kept->cancel_after)
        attn_cancel_raise(kept->cancel_in, ATTN_CLIENT_GONE);
    return keep_layer(&kept->of[layer->stack], layer, err);
}

static inline attn_status keep_state_of(void *ctx, attn_stack stack, size_t state, const attn_view *view, attn_error *err)
{
    kept_stacks *kept = ctx;
    return keep_state(&kept->of[stack], stack, state, view, err);
}

static inline void stacks_free(kept_stacks *kept)
{
    for (size_t s = 0; s < ATTN_STACKS; s++)
        kept_free(&kept->of[s]);
    kept->came = 0;
}

static inline attn_status run_stacks(const attn_model *m, const attn_model_input *in, const attn_keep keep[ATTN_STACKS], kept_stacks *kept, size_t *peak,
                                     attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_sink sink = { kept, keep_layer_of, keep_state_of };
    for (int s = 0; s < ATTN_STACKS; s++) {
        kept->of[s].asked = keep[s].heads ? keep[s].num_heads : attn_model_shape(m, (attn_stack)s).num_attention_heads;
        kept->of[s].T = s == ATTN_STACK_SELF ? in->T : in->decoder_T;
    }
    attn_status st = attn_model_run(m, in, keep, arena, kept->cancel_in, &sink, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    if (peak)
        *peak = attn_arena_peak(arena);
    attn_arena_free(arena);
    return st;
}

typedef struct fixture {
    attn_runtime *rt;
    attn_model *model;
    attn_model_input in;
    int32_t ids[CASE_TOKENS], written[CASE_TOKENS];
} fixture;

static inline void fixture_init(fixture *f, const char *source, int threads, size_t T, size_t decoder_T)
{
    memset(f, 0, sizeof *f);
    f->rt = runtime_with(threads, NULL);
    f->model = open_model(f->rt, source);
    for (size_t i = 0; i < CASE_TOKENS; i++) {
        f->ids[i] = (int32_t)(i * 37 % 40) + 3;
        f->written[i] = (int32_t)(i * 17 % 40) + 2;
    }
    f->in = (attn_model_input){ .T = T, .input_ids = f->ids, .decoder_T = decoder_T, .decoder_input_ids = f->written };
    attn_runtime_enter(f->rt);
}

static inline void fixture_free(fixture *f)
{
    attn_runtime_leave(f->rt);
    attn_model_close(f->model);
    attn_runtime_free(f->rt);
}

static inline size_t run_fine(fixture *f, const attn_keep keep[ATTN_STACKS], kept_stacks *kept)
{
    size_t peak;
    attn_error err = { 0 };
    memset(kept, 0, sizeof *kept);
    attn_status st = run_stacks(f->model, &f->in, keep, kept, &peak, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return peak;
}

static inline void keep_all(attn_keep keep[ATTN_STACKS], attn_outputs outputs)
{
    for (size_t s = 0; s < ATTN_STACKS; s++)
        keep[s] = (attn_keep){ .outputs = outputs };
}

#endif
