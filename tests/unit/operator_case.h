/* operator_case.h - what the suites of attn_operator_run share: a sink that copies what it sees, and a run that is held to its price.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTND_OPERATOR_CASE_H
#define ATTND_OPERATOR_CASE_H

#include <float.h>
#include <string.h>

#include "attention/layer.h"
#include "attention_case.h"
#include "unit.h"

enum { ALL_OUTPUTS = (1 << ATTN_OUTPUT_COUNT) - 1, COMPUTED = ATTN_MAP_OUTPUTS | ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT) };

static inline attn_runtime *runtime_new(int threads)
{
    attn_runtime *runtime = NULL;
    attn_runtime_options options = { .threads = threads };
    ck_assert_int_eq(attn_runtime_new(&runtime, &options, NULL), ATTN_OK);
    attn_runtime_enter(runtime);
    return runtime;
}

static inline void runtime_free(attn_runtime *runtime)
{
    attn_runtime_leave(runtime);
    attn_runtime_free(runtime);
}

/* What a sink saw, copied: output o, head i at data[o] + i * rows * cols; analyses as they came. */
typedef struct seen {
    int calls;
    attn_status answer;
    size_t asked, T; /* heads of analyses, 0: do not copy them; tokens of a rollout */
    float *analyses[ATTN_ANALYSIS_COUNT];
    size_t heads[ATTN_OUTPUT_COUNT], rows[ATTN_OUTPUT_COUNT], cols[ATTN_OUTPUT_COUNT];
    const float *first[ATTN_OUTPUT_COUNT];
    float *data[ATTN_OUTPUT_COUNT];
} seen;

static inline void see_analysis(seen *s, attn_analysis a, const float *x)
{
    size_t n = a == ATTN_ROLLOUT ? s->T * s->T : a == ATTN_HEAD_DISTANCE ? s->asked * s->asked : s->asked;
    if (!x)
        return;
    s->analyses[a] = malloc(n * sizeof *x);
    ck_assert_ptr_nonnull(s->analyses[a]);
    memcpy(s->analyses[a], x, n * sizeof *x);
}

static inline attn_status see(void *ctx, const attn_layer *layer, attn_error *err)
{
    seen *s = ctx;
    s->calls++;
    ck_assert_uint_eq(layer->layer, 0);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        const attn_view *v = &layer->views[o];
        if (!v->head)
            continue;
        s->heads[o] = v->heads;
        s->rows[o] = v->rows;
        s->cols[o] = v->cols;
        s->first[o] = v->head[0];
        s->data[o] = malloc(v->heads * v->rows * v->cols * sizeof(float));
        ck_assert_ptr_nonnull(s->data[o]);
        for (size_t n = 0; n < v->heads * v->rows; n++)
            memcpy(s->data[o] + n * v->cols, v->head[n / v->rows] + (ptrdiff_t)(n % v->rows) * v->row_stride, v->cols * sizeof(float));
    }
    for (int a = 0; a < ATTN_ANALYSIS_COUNT && s->asked > 0; a++)
        see_analysis(s, (attn_analysis)a, layer->analyses[a]);
    return s->answer == ATTN_OK ? ATTN_OK : attn_fail(err, s->answer, "sink", "enough");
}

static inline void seen_free(seen *s)
{
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        free(s->data[o]);
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        free(s->analyses[a]);
}

/* Runs; the arena must be where it was, and have stayed within the price. */
static inline attn_status operate(attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep, seen *s, attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_sink sink = { .ctx = s, .layer = see };
    attn_status status = attn_operator_run(runtime, in, keep, arena, NULL, &sink, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    ck_assert_uint_le(attn_arena_peak(arena), attn_operator_price(runtime, in, keep).bytes + CASE_RED_ZONES);
    attn_arena_free(arena);
    return status;
}

static inline void add_projection(attention_case *c, uint64_t *state, size_t columns)
{
    size_t k = c->in.num_attention_heads * c->in.value_dim;
    c->in.w_o = case_floats(state, k * columns, 1.0f);
    c->in.b_o = case_floats(state, columns, 1.0f);
    c->in.output_dim = columns;
}

static inline void free_projection(attention_case *c)
{
    free((void *)(uintptr_t)c->in.w_o);
    free((void *)(uintptr_t)c->in.b_o);
}

#endif
