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

static bool part_goes_on(attn_run *r)
{
    bool any = false;
    for (size_t i = 0; i < r->num_parts; i++) {
        attn_run *part = &r->parts[i];
        if (part->status == ATTN_OK && !attn_run_go_on(part))
            part->status = ATTN_E_CANCELLED;
        any |= part->status == ATTN_OK;
    }
    return any;
}

bool attn_run_go_on(attn_run *r)
{
    if (r->parts)
        return part_goes_on(r);
    if (!attn_cancelled(r->cancel))
        return true;
    (void)attn_fail(r->err, ATTN_E_CANCELLED, "", "the computation was abandoned");
    return false;
}

/* ---- norms -------------------------------------------------------------------------------------------------------------- */

/* 1e17 squared, times as many columns as any model has, is within float32. */
static const float max_sum = 1e17f;

enum { BLOCK = 16384, NORM_BLOCK = 8192 }; /* elements worth handing to another thread */

typedef struct norm_task {
    const attn_kernels *kernels;
    const attn_norm *norm;
    attn_norm_kind kind;
    float eps;
    float *y;
    const float *x, *add; /* y = norm(x + add); add NULL: norm(x) */
    size_t num, width, rows;
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
    size_t end = attn_least((block + 1) * t->rows, t->num);
    (void)slot;
    for (size_t i = block * t->rows; i < end; i++) {
        const float *x = t->x + i * t->width, *add = t->add ? t->add + i * t->width : NULL;
        float *y = t->y + i * t->width;
        if (!sums_fit(x, add, t->width)) {
            t->overflow = true;
            continue;
        }
        if (t->kind == ATTN_NORM_RMS && add) /* y is x then */
            t->kernels->add_row(y, add, t->width);
        if (t->kind == ATTN_NORM_RMS)
            t->kernels->rms_norm_row(y, x, t->norm->gain, t->width, t->eps);
        else
            t->kernels->layer_norm_row(y, x, NULL, add, t->norm->gain, t->norm->shift, t->width, t->eps);
    }
}

static attn_status run_norm(attn_run *, const attn_norm *, norm_task *);

/* The task for each part alone: rows that are too large are the failure of their input. */
static attn_status run_part_norms(attn_run *r, const attn_norm *norm, const norm_task *t)
{
    size_t vectors = t->num / r->T; /* of a row: 1, or heads */
    for (size_t i = 0; i < r->num_parts; i++) {
        attn_run *part = &r->parts[i];
        size_t at = part->first_row * vectors * t->width;
        norm_task piece = { .y = t->y + at, .x = t->x + at, .add = t->add ? t->add + at : NULL, .num = part->T * vectors, .width = t->width };
        if (part->status == ATTN_OK)
            part->status = run_norm(part, norm, &piece);
    }
    return ATTN_OK;
}

/* Sets what the task leaves open, and runs it. */
static attn_status run_norm(attn_run *r, const attn_norm *norm, norm_task *t)
{
    if (r->parts)
        return run_part_norms(r, norm, t);
    t->kernels = attn_runtime_table(r->runtime);
    t->norm = norm;
    t->kind = r->model->norm_kind;
    t->eps = r->model->norm_eps;
    size_t threads = (size_t)attn_runtime_threads(r->runtime), tasks = t->num * t->width / NORM_BLOCK + 1;
    t->rows = attn_ceil_div(t->num, tasks > 1 ? attn_round_up(tasks, threads) : 1);
    attn_parallel(r->runtime, attn_ceil_div(t->num, t->rows), norm_rows, t);
    return t->overflow ? attn_fail(r->err, ATTN_E_OVERFLOW, "hidden_states", "a hidden state is too large for float32") : ATTN_OK;
}

attn_status attn_block_norm_rows(attn_run *r, const attn_norm *norm, size_t D, float *x, const float *y)
{
    norm_task t = { .y = x, .x = x, .add = y, .num = r->T, .width = D };
    return run_norm(r, norm, &t);
}

attn_status attn_block_add_norm(attn_run *r, const attn_norm *norm, float *x, const float *y)
{
    return attn_block_norm_rows(r, norm, r->model->info.hidden_size, x, y);
}

attn_status attn_block_norm(attn_run *r, const attn_norm *norm, float *y, const float *x)
{
    norm_task t = { .y = y, .x = x, .num = r->T, .width = r->model->info.hidden_size };
    return run_norm(r, norm, &t);
}

attn_status attn_block_norm_heads(attn_run *r, const attn_norm *norm, float *x, size_t heads, size_t d)
{
    norm_task t = { .y = x, .x = x, .num = r->T * heads, .width = d };
    return run_norm(r, norm, &t);
}

/* ---- element by element ------------------------------------------------------------------------------------------------- */

typedef struct row_task {
    void (*kernel)(float *y, const float *x, size_t n);
    float *y;
    const float *x;
    size_t n;
} row_task;

static void row_piece(void *ctx, size_t block, int slot)
{
    const row_task *t = ctx;
    size_t first = block * BLOCK;
    (void)slot;
    t->kernel(t->y + first, t->x + first, attn_least(BLOCK, t->n - first));
}

static void all_rows(attn_run *r, void (*kernel)(float *, const float *, size_t), float *y, const float *x, size_t n)
{
    row_task t = { kernel, y, x, n };
    attn_parallel(r->runtime, attn_ceil_div(n, BLOCK), row_piece, &t);
}

void attn_block_add(attn_run *r, float *x, const float *y)
{
    all_rows(r, attn_runtime_table(r->runtime)->add_row, x, y, r->T * r->model->info.hidden_size);
}

/* ---- embeddings --------------------------------------------------------------------------------------------------------- */

/* The tokens of the stack that is run, those of earlier runs among them. */
typedef struct tokens {
    const float *embeds; /* of the first num_embeds, or NULL */
    size_t num_embeds;
    const int32_t *ids, *types; /* ids of those behind them; types may be NULL */
} tokens;

static tokens tokens_of(const attn_run *r)
{
    const attn_model_input *in = r->input;
    if (r->stack == ATTN_STACK_DECODER)
        return (tokens){ .ids = in->decoder_input_ids };
    return (tokens){ in->inputs_embeds, attn_input_embeds(in), in->input_ids, in->token_type_ids };
}

/* Row of the table of positions of each token in turn, `counted` so far (Ott 2019); tokens that are padding, by their id or by the mask, are not counted.
 * Embeddings that come without ids are. */
static size_t position_of(const attn_run *r, const tokens *all, size_t t, size_t *counted)
{
    size_t first = r->model->first_position;
    const uint8_t *mask = r->stacks[r->stack].mask;
    bool is_padding = first > 0 && t >= all->num_embeds && (size_t)all->ids[t - all->num_embeds] == first - 1;
    if (r->model->counts_mask ? mask && !mask[t] : is_padding)
        return first - 1;
    return first + (*counted)++;
}

void attn_block_add_positions(attn_run *r, const float *position, size_t width, float *x)
{
    const tokens all = tokens_of(r);
    size_t counted = 0;
    for (size_t t = 0; t < r->past + r->T; t++) {
        size_t row = position_of(r, &all, t, &counted);
        if (t >= r->past)
            attn_runtime_table(r->runtime)->add_row(x + (t - r->past) * width, position + row * width, width);
    }
}

static void embed_row(const attn_run *r, const attn_embeddings *e, const tokens *all, size_t t, float *row)
{
    const attn_kernels *k = attn_runtime_table(r->runtime);
    size_t E = r->model->info.embedding_size;
    bool given = t < all->num_embeds;
    if (given)
        memcpy(row, all->embeds + t * E, E * sizeof *row);
    else
        attn_table_row(k, &e->word, (size_t)all->ids[t - all->num_embeds], row);
    for (size_t c = 0; c < E && e->factor != 0 && !given; c++)
        row[c] *= e->factor;
    if (e->segment)
        k->add_row(row, e->segment + (all->types ? (size_t)all->types[t] : 0) * E, E);
}

attn_status attn_block_embed(attn_run *r, const attn_embeddings *e, float *x)
{
    size_t E = r->model->info.embedding_size;
    for (size_t i = 0; i < r->num_parts; i++)
        r->parts[i].status = attn_block_embed(&r->parts[i], e, x + r->parts[i].first_row * E);
    if (r->parts)
        return ATTN_OK;
    const tokens all = tokens_of(r);
    for (size_t t = 0; t < r->T; t++)
        embed_row(r, e, &all, r->past + t, x + t * E);
    if (e->position)
        attn_block_add_positions(r, e->position, E, x);
    return e->norm.gain ? attn_block_norm_rows(r, &e->norm, E, x, NULL) : ATTN_OK;
}

/* ---- feed-forward ------------------------------------------------------------------------------------------------------- */

attn_status attn_block_feed_forward(attn_run *r, const attn_feed_forward *w, float *y, const float *x)
{
    size_t T = r->T, D = r->model->info.hidden_size, F = w->up.w.n;
    attn_arena_mark mark = attn_arena_save(r->arena);
    float *inner = attn_take_floats(r, T, F);
    attn_status st = inner ? attn_linear(r->runtime, inner, F, x, D, T, &w->up.w, w->up.bias, r->model->act, r->arena, r->err) : ATTN_E_NOMEM;
    if (st == ATTN_OK)
        st = attn_linear(r->runtime, y, D, inner, F, T, &w->down.w, w->down.bias, ATTN_ACT_NONE, r->arena, r->err);
    attn_arena_rewind(r->arena, mark);
    return st;
}

attn_price attn_feed_forward_price(const attn_model *m, size_t T, size_t F)
{
    size_t D = m->info.hidden_size, up = attn_linear_bytes(m->runtime, T, D), down = attn_linear_bytes(m->runtime, T, F);
    return (attn_price){ .flops = 4 * (uint64_t)T * D * F, .bytes = attn_arena_bytes((uint64_t)T * F, sizeof(float)) + (up > down ? up : down) };
}

attn_status attn_block_gated_feed_forward(attn_run *r, const attn_feed_forward *w, float *y, const float *x)
{
    size_t T = r->T, D = r->model->info.hidden_size, F = w->up.w.n;
    attn_arena_mark mark = attn_arena_save(r->arena);
    float *gate = attn_take_floats(r, T, F), *up = gate ? attn_take_floats(r, T, F) : NULL;
    const attn_linear_part both[] = { { gate, F, &w->gate.w, w->gate.bias, r->model->act }, { up, F, &w->up.w, w->up.bias, ATTN_ACT_NONE } };
    attn_status st = up ? attn_linears(r->runtime, both, 2, x, D, T, r->arena, r->err) : ATTN_E_NOMEM;
    if (st == ATTN_OK) {
        all_rows(r, attn_runtime_table(r->runtime)->mul_row, up, gate, T * F);
        st = attn_linear(r->runtime, y, D, up, F, T, &w->down.w, w->down.bias, ATTN_ACT_NONE, r->arena, r->err);
    }
    attn_arena_rewind(r->arena, mark);
    return st;
}

attn_price attn_gated_feed_forward_price(const attn_model *m, size_t T, size_t F)
{
    size_t D = m->info.hidden_size;
    attn_price price = attn_feed_forward_price(m, T, F);
    return (attn_price){ .flops = price.flops + 2 * (uint64_t)T * D * F, .bytes = price.bytes + attn_arena_bytes((uint64_t)T * F, sizeof(float)) };
}
