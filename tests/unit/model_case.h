/* model_case.h - for tests of models: a sink that keeps everything, and golden files (tests/golden/make_model_goldens.py says what they hold).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_CASE_H
#define MODEL_CASE_H

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "attn.h"
#include "unit.h"

enum { CASE_LAYERS = 20, CASE_TOKENS = 512 };

/* One output of one layer, copied together: [heads, rows, cols]. */
typedef struct kept_tensor {
    float *data;
    size_t heads, rows, cols;
} kept_tensor;

typedef struct kept_run {
    size_t num_layers;
    size_t layers[CASE_LAYERS]; /* in the order of the sink's calls */
    attn_stack stacks[CASE_LAYERS], state_stacks[CASE_LAYERS + 1];
    kept_tensor tensors[CASE_LAYERS][ATTN_OUTPUT_COUNT];
    kept_tensor analyses[CASE_LAYERS][ATTN_ANALYSIS_COUNT]; /* heads = 1 */
    size_t num_states;
    size_t states[CASE_LAYERS + 1];  /* their numbers, in the order of the sink's calls */
    size_t came_at[CASE_LAYERS + 1]; /* after how many layers */
    kept_tensor hidden[CASE_LAYERS + 1];
    size_t asked, T;        /* heads asked for */
    attn_cancel *cancel_in; /* raised when this many layers have come: cancel_after */
    size_t cancel_after;
    attn_status answer; /* what the sink returns */
} kept_run;

static inline kept_tensor keep_view(const attn_view *v)
{
    kept_tensor t = { calloc(v->heads * v->rows * v->cols + 1, sizeof(float)), v->heads, v->rows, v->cols };
    for (size_t h = 0; h < v->heads && t.data; h++)
        for (size_t r = 0; r < v->rows; r++)
            memcpy(t.data + (h * v->rows + r) * v->cols, v->head[h] + (ptrdiff_t)r * v->row_stride, v->cols * sizeof(float));
    ck_assert_ptr_nonnull(t.data);
    return t;
}

static inline kept_tensor keep_analysis(const kept_run *run, attn_analysis a, const float *x)
{
    size_t n = a == ATTN_ROLLOUT ? run->T : run->asked, rows = ATTN_HEAD_ANALYSES & ATTN_ANALYSIS_BIT(a) ? 1 : n;
    return keep_view(&(attn_view){ .head = &x, .heads = 1, .rows = rows, .cols = n, .row_stride = (ptrdiff_t)n });
}

static inline attn_status keep_state(void *ctx, attn_stack stack, size_t state, const attn_view *view, attn_error *err)
{
    kept_run *run = ctx;
    ck_assert_uint_le(run->num_states, CASE_LAYERS);
    run->state_stacks[run->num_states] = stack;
    run->states[run->num_states] = state;
    run->came_at[run->num_states] = run->num_layers;
    run->hidden[run->num_states++] = keep_view(view);
    return run->answer == ATTN_OK ? ATTN_OK : attn_fail(err, run->answer, "sink", "as told");
}

static inline attn_status keep_layer(void *ctx, const attn_layer *layer, attn_error *err)
{
    kept_run *run = ctx;
    ck_assert_uint_lt(run->num_layers, CASE_LAYERS);
    run->layers[run->num_layers] = layer->layer;
    run->stacks[run->num_layers] = layer->stack;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (layer->views[o].head)
            run->tensors[run->num_layers][o] = keep_view(&layer->views[o]);
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        if (layer->analyses[a])
            run->analyses[run->num_layers][a] = keep_analysis(run, (attn_analysis)a, layer->analyses[a]);
    run->num_layers++;
    if (run->cancel_in && run->num_layers == run->cancel_after)
        attn_cancel_raise(run->cancel_in, ATTN_CLIENT_GONE);
    return run->answer == ATTN_OK ? ATTN_OK : attn_fail(err, run->answer, "sink", "as told");
}

static inline void kept_free(kept_run *run)
{
    for (size_t l = 0; l < run->num_layers; l++) {
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
            free(run->tensors[l][o].data);
        for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
            free(run->analyses[l][a].data);
    }
    for (size_t s = 0; s < run->num_states; s++)
        free(run->hidden[s].data);
    run->num_layers = run->num_states = 0;
}

/* Runs into `run` and says how much of the arena it took, beside the status. */
static inline attn_status run_kept(const attn_model *m, const attn_model_input *in, const attn_keep *keep, kept_run *run, attn_cancel *cancel, size_t *peak,
                                   attn_error *err)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    attn_sink sink = { run, keep_layer, keep_state };
    run->asked = keep->heads ? keep->num_heads : attn_model_get_info(m)->num_attention_heads;
    run->T = in->T;
    attn_status st = attn_model_run(m, in, keep, arena, cancel, &sink, err);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    if (peak)
        *peak = attn_arena_peak(arena);
    attn_arena_free(arena);
    return st;
}

static inline attn_runtime *runtime_with(int threads, const char *kernels)
{
    attn_runtime *rt = NULL;
    attn_error err = { 0 };
    attn_runtime_options options = { .threads = threads, .kernels = kernels };
    return attn_runtime_new(&rt, &options, &err) == ATTN_OK ? rt : NULL;
}

static inline attn_model *open_model(attn_runtime *rt, const char *source)
{
    attn_model *m = NULL;
    attn_error err = { 0 };
    attn_status st = attn_model_open(&m, rt, source, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s: %s", source, err.where, err.text);
    return m;
}

/* ---- golden files --------------------------------------------------------------------------------------------------------- */

/* A case's input, in arrays of its own. */
typedef struct golden_input {
    attn_model_input in;
    int32_t ids[CASE_TOKENS], types[CASE_TOKENS];
    uint8_t mask[CASE_TOKENS];
    float *embeds;
} golden_input;

static inline bool read_ids(const json_t *list, int32_t *out)
{
    ck_assert_uint_le(json_array_size(list), CASE_TOKENS);
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return json_array_size(list) > 0;
}

static inline void golden_input_init(golden_input *g, const json_t *c)
{
    int32_t mask[CASE_TOKENS];
    const json_t *embeds = json_object_get(c, "inputs_embeds");
    memset(g, 0, sizeof *g);
    g->in.T = json_array_size(json_object_get(c, "input_ids"));
    g->in.input_ids = read_ids(json_object_get(c, "input_ids"), g->ids) ? g->ids : NULL;
    g->in.token_type_ids = read_ids(json_object_get(c, "token_type_ids"), g->types) ? g->types : NULL;
    if (read_ids(json_object_get(c, "attention_mask"), mask)) {
        for (size_t i = 0; i < g->in.T; i++)
            g->mask[i] = (uint8_t)mask[i];
        g->in.attention_mask = g->mask;
    }
    if (embeds) {
        const json_t *data = json_object_get(embeds, "data");
        g->in.T = (size_t)json_integer_value(json_array_get(json_object_get(embeds, "shape"), 0));
        g->embeds = calloc(json_array_size(data), sizeof(float));
        for (size_t i = 0; i < json_array_size(data); i++)
            g->embeds[i] = (float)json_number_value(json_array_get(data, i));
        g->in.inputs_embeds = g->embeds;
    }
}

static inline json_t *load_json(const char *path)
{
    json_error_t why;
    json_t *doc = json_load_file(path, JSON_ALLOW_NUL, &why);
    ck_assert_msg(doc != NULL, "%s: %s (run from the root of the repository)", path, why.text);
    return doc;
}

/* The largest difference of a case's tensor from the run's, over the larger of 1 and the tensor's largest magnitude; shapes and -infinities must agree. */
static inline double golden_error(const json_t *tensor, const json_t *layers, const kept_run *run, attn_output o)
{
    const json_t *data = json_object_get(tensor, "data");
    size_t n = 0, count = layers ? json_array_size(layers) : run->num_layers;
    double worst = 0, largest = 1;
    for (size_t l = 0; l < count; l++) {
        const kept_tensor *t = &run->tensors[layers ? (size_t)json_integer_value(json_array_get(layers, l)) : l][o];
        for (size_t i = 0; i < t->heads * t->rows * t->cols; i++, n++) {
            const json_t *v = json_array_get(data, n);
            if (json_is_null(v)) {
                ck_assert(t->data[i] == -INFINITY);
                continue;
            }
            double x = json_number_value(v), off = fabs(x - (double)t->data[i]);
            ck_assert_msg(json_is_number(v) && isfinite(t->data[i]), "%s, number %zu", attn_output_name(o), n);
            worst = off > worst ? off : worst;
            largest = fabs(x) > largest ? fabs(x) : largest;
        }
    }
    ck_assert_uint_eq(n, json_array_size(data));
    return worst / largest;
}

#endif
