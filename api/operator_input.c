/* operator_input.c - one item of a model-free request as core wants it: projected, given its positions, and described by strides.
 *
 * What the request sent is used in place wherever it can be; only what is added to or turned is copied.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "plan.h"
#include "request_read.h"

enum { TURNED_AT_ONCE = 64 }; /* rows */

typedef struct item {
    attn_runtime *runtime;
    const api_attention_request *req;
    const api_operator_shape *s;
    size_t b;
    attn_arena *arena;
    attn_cancel *cancel;
    attn_error *err;
} item;

/* Rows of embeddings. */
typedef struct rows {
    const float *data;
    size_t T, columns;
} rows;

/* Queries, keys or values to be made from rows. */
typedef struct part {
    const api_tensor *w, *b;
    size_t heads, width;
    bool turns; /* by rope */
    int64_t offset;
} part;

/* Item b of a tensor [.., T, columns], or all of one that has no batch axis. */
static rows rows_of(const api_tensor *x, size_t b)
{
    size_t T = x->shape[x->rank - 2], columns = x->shape[x->rank - 1];
    return (rows){ x->data + (x->rank == 3 ? b * T * columns : 0), T, columns };
}

static float *copy_rows(const item *it, const rows *x)
{
    float *copy = attn_arena_take(it->arena, x->T * x->columns, sizeof *copy);
    if (copy)
        memcpy(copy, x->data, x->T * x->columns * sizeof *copy);
    return copy;
}

/* Embeddings with the sinusoids added, if they are asked for. */
static attn_status place(const item *it, rows *x)
{
    if (it->req->positional_encoding != API_POSITION_SINUSOIDAL)
        return ATTN_OK;
    float *copy = copy_rows(it, x);
    if (!copy)
        return attn_fail_memory(it->err);
    attn_add_sinusoids(copy, x->T, x->columns, (ptrdiff_t)x->columns);
    x->data = copy;
    return ATTN_OK;
}

typedef struct turning {
    const item *it;
    const part *p;
    float *x;
    size_t T;
} turning;

static void turn_rows(void *ctx, size_t i, int slot)
{
    (void)slot;
    const turning *t = ctx;
    const part *p = t->p;
    size_t first = i * TURNED_AT_ONCE, n = t->T - first < TURNED_AT_ONCE ? t->T - first : TURNED_AT_ONCE;
    if (!attn_cancelled(t->it->cancel))
        attn_rotate(t->x + first * p->heads * p->width, n, p->heads, p->width, p->offset + (int64_t)first, t->it->req->rope_theta);
}

/* Heads may be wide, and sines take their time: on all threads, some rows between two looks at the cancel flag. */
static attn_status turn(const item *it, const part *p, float *x, size_t T)
{
    attn_parallel(it->runtime, attn_ceil_div(T, TURNED_AT_ONCE), turn_rows, &(turning){ it, p, x, T });
    return attn_cancelled(it->cancel) ? attn_fail(it->err, ATTN_E_CANCELLED, "", "the computation was called off") : ATTN_OK;
}

static attn_status make_heads(const item *it, const rows *x, const part *p, attn_heads *out)
{
    size_t columns = p->heads * p->width;
    const float *data = x->data;
    float *own = NULL;
    if (p->w->rank) {
        own = attn_arena_take(it->arena, x->T * columns, sizeof *own);
        if (!own)
            return attn_fail_memory(it->err);
        attn_projection projection = { .x = x->data, .w = p->w->data, .b = p->b->data, .T = x->T, .k = x->columns, .n = columns, .where = "projection" };
        attn_status status = attn_project(it->runtime, own, &projection, it->arena, it->cancel, it->err);
        if (status != ATTN_OK)
            return status;
    } else if (p->turns) {
        own = copy_rows(it, x);
        if (!own)
            return attn_fail_memory(it->err);
    }
    *out = (attn_heads){ own ? own : data, (ptrdiff_t)p->width, (ptrdiff_t)columns };
    return p->turns ? turn(it, p, own, x->T) : ATTN_OK;
}

static attn_status take_embeddings(const item *it, attn_operator_input *out)
{
    const api_attention_request *req = it->req;
    const api_operator_shape *s = it->s;
    bool turns = req->positional_encoding == API_POSITION_ROPE;
    rows x = rows_of(&req->embeddings, it->b);
    attn_status status = place(it, &x);
    rows keys = x;
    if (status == ATTN_OK && req->key_embeddings.rank) {
        keys = rows_of(&req->key_embeddings, it->b);
        status = place(it, &keys);
    }
    if (status == ATTN_OK)
        status = make_heads(it, &x, &(part){ &req->w_q, &req->b_q, s->H, s->head_dim, turns, req->query_offset[it->b] }, &out->query);
    if (status == ATTN_OK)
        status = make_heads(it, &keys, &(part){ &req->w_k, &req->b_k, s->G, s->head_dim, turns, 0 }, &out->key);
    if (status == ATTN_OK)
        status = make_heads(it, &keys, &(part){ &req->w_v, &req->b_v, s->G, s->value_dim, false, 0 }, &out->value);
    return status;
}

/* Item b of query, key or value with this many heads of this width. */
static attn_heads heads_at(const item *it, const api_tensor *x, size_t heads, size_t width)
{
    size_t T = x->shape[x->rank - 2];
    const float *data = x->data + it->b * heads * T * width;
    if (api_operator_is_packed(it->req))
        return (attn_heads){ data, (ptrdiff_t)width, (ptrdiff_t)(heads * width) };
    return (attn_heads){ data, (ptrdiff_t)(T * width), (ptrdiff_t)width };
}

/* ---- masks and rules ------------------------------------------------------------------------------------------------------------------- */

/* Broadcast from the right: an axis of length 1, or one that is not there, has a stride of 0. */
static attn_mask mask_of(const api_mask *mask, size_t b)
{
    ptrdiff_t stride[4] = { 0 }, step = 1;
    for (size_t i = mask->rank; i-- > 0;) {
        if (mask->shape[i] > 1)
            stride[4 - mask->rank + i] = step;
        step *= (ptrdiff_t)mask->shape[i];
    }
    ptrdiff_t offset = (ptrdiff_t)b * stride[0];
    return (attn_mask){
        .keep = mask->keep ? mask->keep + offset : NULL,
        .add = mask->add ? mask->add + offset : NULL,
        .head_stride = stride[1],
        .query_stride = stride[2],
        .key_stride = stride[3],
    };
}

static attn_status take_rules(const item *it, attn_rules *out)
{
    const api_attention_request *req = it->req;
    float *slopes = NULL;
    if (req->positional_encoding == API_POSITION_ALIBI) {
        slopes = attn_arena_take(it->arena, it->s->H, sizeof *slopes);
        if (!slopes)
            return attn_fail_memory(it->err);
        attn_alibi_slopes(slopes, it->s->H);
    }
    *out = (attn_rules){
        .scale = req->has_scale ? req->scale : (float)(1 / sqrt((double)it->s->head_dim)),
        .softcap = req->softcap,
        .is_causal = req->is_causal,
        .query_offset = req->query_offset[it->b],
        .left_window_size = req->left_window_size,
        .right_window_size = req->right_window_size,
        .key_length = req->key_lengths ? (size_t)req->key_lengths[it->b] : it->s->T_k,
        .alibi_slopes = slopes,
        .mask = mask_of(&req->attn_mask, it->b),
    };
    return ATTN_OK;
}

/* Sizes and the output projection: all that the price needs. */
static attn_operator_input outline(const api_attention_request *req, const api_operator_shape *s)
{
    return (attn_operator_input){
        .num_attention_heads = s->H,
        .num_key_value_heads = s->G,
        .T_q = s->T_q,
        .T_k = s->T_k,
        .head_dim = s->head_dim,
        .value_dim = s->value_dim,
        .w_o = req->w_o.data,
        .b_o = req->b_o.data,
        .output_dim = s->output_dim,
    };
}

attn_status api_operator_item(attn_runtime *runtime, const api_attention_request *req, const api_operator_shape *s, size_t b, const api_worker *worker,
                              attn_operator_input *out, attn_error *err)
{
    item it = { runtime, req, s, b, worker->arena, worker->cancel, err };
    *out = outline(req, s);
    if (req->kind == API_INPUT_EMBEDDINGS) {
        attn_status status = take_embeddings(&it, out);
        if (status != ATTN_OK)
            return status;
    } else {
        out->query = heads_at(&it, &req->query, s->H, s->head_dim);
        out->key = heads_at(&it, &req->key, s->G, s->head_dim);
        out->value = heads_at(&it, &req->value, s->G, s->value_dim);
    }
    return take_rules(&it, &out->rules);
}

/* ---- prices ---------------------------------------------------------------------------------------------------------------------------------- */

/* What api_operator_item takes: `kept` stays in the arena, `passing` is the most that is taken and given back on the way. */
typedef struct bill {
    uint64_t flops, kept, passing;
} bill;

static void add_block(bill *sum, size_t count, size_t size)
{
    sum->kept = attn_plus(sum->kept, api_arena_bytes(count, size));
}

static void add_part(bill *sum, const attn_runtime *runtime, const part *p, size_t T, size_t columns)
{
    if (!p->w->rank && !p->turns)
        return;
    add_block(sum, T * p->heads * p->width, sizeof(float));
    if (!p->w->rank)
        return;
    attn_price price = attn_project_price(runtime, T, columns, p->heads * p->width);
    sum->flops = attn_plus(sum->flops, price.flops);
    if (price.bytes > sum->passing)
        sum->passing = price.bytes;
}

static void add_embeddings(bill *sum, const attn_runtime *runtime, const api_attention_request *req, const api_operator_shape *s)
{
    rows x = rows_of(&req->embeddings, 0), keys = req->key_embeddings.rank ? rows_of(&req->key_embeddings, 0) : x;
    bool turns = req->positional_encoding == API_POSITION_ROPE;
    if (req->positional_encoding == API_POSITION_SINUSOIDAL) {
        add_block(sum, x.T * x.columns, sizeof(float));
        if (req->key_embeddings.rank)
            add_block(sum, keys.T * keys.columns, sizeof(float));
    }
    if (req->positional_encoding == API_POSITION_ALIBI)
        add_block(sum, s->H, sizeof(float));
    add_part(sum, runtime, &(part){ .w = &req->w_q, .heads = s->H, .width = s->head_dim, .turns = turns }, x.T, x.columns);
    add_part(sum, runtime, &(part){ .w = &req->w_k, .heads = s->G, .width = s->head_dim, .turns = turns }, keys.T, keys.columns);
    add_part(sum, runtime, &(part){ .w = &req->w_v, .heads = s->G, .width = s->value_dim }, keys.T, keys.columns);
}

attn_price api_operator_item_price(const attn_runtime *runtime, const api_attention_request *req, const api_operator_shape *s, const attn_keep *keep)
{
    bill sum = { 0 };
    attn_operator_input in = outline(req, s);
    if (req->kind == API_INPUT_EMBEDDINGS)
        add_embeddings(&sum, runtime, req, s);
    attn_price run = attn_operator_price(runtime, &in, keep);
    return (attn_price){ attn_plus(sum.flops, run.flops), attn_plus(sum.kept, run.bytes > sum.passing ? run.bytes : sum.passing) };
}
