/* blocks.c - embeddings, norms and feed-forward layers.
 *
 * Overflow is looked for where it would vanish. A norm divides by the root of the mean square: let that be infinite, and the row comes out as zeros that
 * look like an answer. So a norm refuses rows whose squares could leave float32; elsewhere infinities and NaN travel on until a norm or a softmax meets them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/blocks.h"

#include <math.h>
#include <string.h>

float *attn_take_floats(attn_run *r, size_t rows, size_t cols)
{
    size_t count;
    float *x = attn_mul(rows, cols, &count) ? attn_arena_take(r->arena, count, sizeof *x) : NULL;
    if (!x)
        (void)attn_fail_memory(r->err);
    return x;
}

bool attn_run_go_on(attn_run *r)
{
    if (!attn_cancelled(r->cancel))
        return true;
    (void)attn_fail(r->err, ATTN_E_CANCELLED, "", "the computation was abandoned");
    return false;
}

/* ---- norms -------------------------------------------------------------------------------------------------------------- */

/* 1e17 squared, times as many columns as any model has, is within float32. */
static const float max_sum = 1e17f;

typedef struct norm_task {
    const attn_kernels *kernels;
    const attn_norm *norm;
    float *x;
    const float *y; /* NULL: norm(x) */
    float eps;
    size_t T, D, rows;
    _Atomic bool overflow;
} norm_task;

static bool sums_fit(const float *x, const float *y, size_t n)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= !(fabsf(y ? x[i] + y[i] : x[i]) <= max_sum);
    return !bad;
}

static void norm_rows(void *ctx, size_t block, int slot)
{
    norm_task *t = ctx;
    size_t end = (block + 1) * t->rows < t->T ? (block + 1) * t->rows : t->T;
    (void)slot;
    for (size_t i = block * t->rows; i < end; i++) {
        float *x = t->x + i * t->D;
        const float *y = t->y ? t->y + i * t->D : NULL;
        if (!sums_fit(x, y, t->D))
            t->overflow = true;
        else
            t->kernels->layer_norm_row(x, x, NULL, y, t->norm->gain, t->norm->shift, t->D, t->eps);
    }
}

attn_status attn_block_add_norm(attn_run *r, const attn_norm *norm, float *x, const float *y)
{
    enum { BLOCK = 16384 }; /* elements worth handing to another thread */
    size_t D = r->model->info.hidden_size, rows = BLOCK / D + 1;
    norm_task t = {
        .kernels = attn_runtime_table(r->runtime), .norm = norm, .x = x, .y = y, .eps = r->model->norm_eps, .T = r->input->T, .D = D, .rows = rows
    };
    attn_parallel(r->runtime, attn_ceil_div(t.T, rows), norm_rows, &t);
    return t.overflow ? attn_fail(r->err, ATTN_E_OVERFLOW, "hidden_states", "a hidden state is too large for float32") : ATTN_OK;
}

/* ---- embeddings --------------------------------------------------------------------------------------------------------- */

attn_status attn_block_embed(attn_run *r, const attn_embeddings *e, float *x)
{
    const attn_kernels *k = attn_runtime_table(r->runtime);
    const attn_model_input *in = r->input;
    size_t D = r->model->info.hidden_size;
    for (size_t t = 0; t < in->T; t++) {
        float *row = x + t * D;
        if (in->inputs_embeds)
            memcpy(row, in->inputs_embeds + t * D, D * sizeof *row);
        else
            attn_table_row(k, &e->word, (size_t)in->input_ids[t], row);
        k->add_row(row, e->segment + (in->token_type_ids ? (size_t)in->token_type_ids[t] : 0) * D, D);
        k->add_row(row, e->position + t * D, D);
    }
    return attn_block_add_norm(r, &e->norm, x, NULL);
}

/* ---- feed-forward ------------------------------------------------------------------------------------------------------- */

attn_status attn_block_feed_forward(attn_run *r, const attn_feed_forward *w, float *y, const float *x)
{
    size_t T = r->input->T, D = r->model->info.hidden_size, F = w->up.w.n;
    attn_arena_mark mark = attn_arena_save(r->arena);
    float *inner = attn_take_floats(r, T, F);
    attn_status st = inner ? attn_linear(r->runtime, inner, F, x, D, T, &w->up.w, w->up.bias, r->model->act, r->arena, r->err) : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = attn_linear(r->runtime, y, D, inner, F, T, &w->down.w, w->down.bias, ATTN_ACT_NONE, r->arena, r->err);
    attn_arena_rewind(r->arena, mark);
    return st;
}

attn_price attn_feed_forward_price(const attn_model *m, size_t T)
{
    size_t D = m->info.hidden_size, F = m->dims[ATTN_DIM_FEED], up = attn_linear_bytes(m->runtime, T, D), down = attn_linear_bytes(m->runtime, T, F);
    return (attn_price){ .flops = 4 * (uint64_t)T * D * F, .bytes = attn_arena_bytes((uint64_t)T * F, sizeof(float)) + (up > down ? up : down) };
}
