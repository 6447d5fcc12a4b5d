/* collect.c - one result's way from the layers of a run to an encoder. See collect.h.
 *
 * A layer comes; queries and keys are cut and heads reduced (attn_select_layer); what is to be reduced over layers is added to its sum; of the rest each part
 * is written at once, if its form lets it, or copied to where it belongs among the held. A hidden state goes the same way, apart. top_k looks at whole rows, so
 * `keys` is then kept away from the selection and given to attn_top_k. Pooled maps come cut already.
 * SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include <string.h>

enum { TOP_K_ROWS = 16 }; /* of one task */

static const api_plan_input *input_of(const api_collect *c)
{
    return &c->encode->plan->inputs[c->encode->result];
}

static const api_return *want_of(const api_plan *plan)
{
    return &plan->request->want;
}

static attn_selection selection_of(const api_plan *plan, const api_plan_input *input, attn_stack s)
{
    const api_input_stack *in = &input->stacks[s];
    return (attn_selection){
        .queries = in->queries.list,
        .num_queries = in->queries.count,
        .keys = in->keys.list,
        .num_keys = in->keys.count,
        .reduce_heads = want_of(plan)->reduce_heads,
        .maps_are_cut = input->keep[s].pool != NULL,
    };
}

/* Are attentions selected apart from the rest? top_k needs their rows whole. */
static bool splits(const api_plan *plan, const api_plan_input *in, attn_stack s)
{
    return want_of(plan)->top_k > 0 && in->stacks[s].keys.list && (in->keep[s].outputs & ATTN_BIT(ATTN_ATTENTIONS));
}

/* Does part p of result b wait for the end of the run? A step's layers stand in one line. */
static bool is_held(const api_plan *plan, size_t b, size_t p, const api_part *part)
{
    switch (plan->encoder->order) {
    case API_ORDER_LAYERS:
        return plan->inputs[b].span == API_SPAN_STEP || !api_part_is_layered(part);
    case API_ORDER_WHOLE:
        return true;
    default:
        return p > 0 || !api_part_streams(plan, part);
    }
}

/* Numbers of the attentions' sum over layers that top_k then ranks: whole rows. */
static uint64_t sum_size(const api_plan_input *in, const api_part *indices)
{
    return attn_times(attn_times(indices->matrices, indices->rows), in->stacks[indices->stack].T_k);
}

static bool is_states(const api_part *part)
{
    return part->role == API_PLAIN && part->output == ATTN_HIDDEN_STATES;
}

/* ---- the price -------------------------------------------------------------------------------------------------------- */

static uint64_t select_outputs(const api_plan *plan, const api_plan_input *input, attn_stack s, attn_outputs outputs, bool with_keys)
{
    const api_input_stack *in = &input->stacks[s];
    const api_plan_stack *stack = &plan->stacks[s];
    attn_selection sel = selection_of(plan, input, s);
    attn_outputs pooled = input->keep[s].pool ? outputs & ATTN_MAP_OUTPUTS : 0;
    size_t size = in->pool.size, heads = stack->heads.count;
    if (!with_keys)
        sel.keys = NULL;
    uint64_t bytes = attn_select_bytes(&sel, outputs & ~pooled, heads, in->T_q, in->T_k, stack->head_dim, stack->value_dim, plan->hidden);
    if (pooled)
        bytes =
            attn_plus(bytes, attn_select_bytes(&sel, pooled, heads, attn_pool_bins(in->queries.count, size), attn_pool_bins(in->keys.count, size), 0, 0, 0));
    return bytes;
}

/* Of one layer: given back before the next comes, whichever attention that is of. */
static uint64_t select_bytes(const api_plan *plan, const api_plan_input *in)
{
    uint64_t most = 0;
    for (attn_stack s = 0; s < plan->num_stacks; s++) {
        attn_outputs apart = splits(plan, in, s) ? ATTN_BIT(ATTN_ATTENTIONS) : 0;
        uint64_t bytes = select_outputs(plan, in, s, in->keep[s].outputs & ~apart, true);
        if (apart)
            bytes = attn_plus(bytes, select_outputs(plan, in, s, apart, false));
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* One slice of indices, values and dropped, and the views of them. */
static uint64_t top_k_bytes(const api_part *indices)
{
    uint64_t rows = attn_times(indices->matrices, indices->rows), slice = attn_times(rows, attn_plus(attn_times(2, indices->columns), 1));
    uint64_t views = api_arena_bytes(indices->matrices, sizeof(float *)), edges = 2 * api_arena_bytes(0, 1); /* three blocks, not one */
    return attn_plus(attn_plus(api_arena_bytes(slice, sizeof(float)), views), edges);
}

uint64_t api_collect_bytes(const api_plan *plan, size_t b)
{
    const api_plan_input *in = &plan->inputs[b];
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(plan, b, parts);
    uint64_t bytes = select_bytes(plan, in);
    for (size_t p = 0; p < n; p++) {
        if (is_held(plan, b, p, &parts[p]))
            bytes = attn_plus(bytes, api_arena_bytes(api_part_numbers(&parts[p]), sizeof(float)));
        if (parts[p].is_reduced && parts[p].role == API_INDICES)
            bytes = attn_plus(bytes, api_arena_bytes(sum_size(in, &parts[p]), sizeof(float)));
        if (parts[p].role == API_INDICES)
            bytes = attn_plus(bytes, top_k_bytes(&parts[p]));
    }
    return bytes;
}

/* ---- before the run ---------------------------------------------------------------------------------------------------- */

static attn_status take_part(api_collect *c, size_t p, attn_error *err)
{
    const api_part *part = &c->parts[p];
    if (!is_held(c->encode->plan, c->encode->result, p, part))
        return ATTN_OK;
    size_t bytes = sizeof(float);
    for (size_t a = 0; a < part->ndim; a++)
        if (!attn_mul(bytes, part->dims[a], &bytes))
            return attn_fail_memory(err);
    c->held[p] = attn_arena_take(c->arena, bytes, 1);
    if (!c->held[p])
        return attn_fail_memory(err);
    if (!part->is_reduced || part->role == API_VALUES || part->role == API_DROPPED)
        return ATTN_OK;
    /* A plain part's sum is the tensor itself; that of top_k is still whole rows. */
    float **sum = &c->sums[part->stack][part->output];
    *sum = part->role == API_PLAIN ? c->held[p] : attn_arena_take(c->arena, sum_size(input_of(c), part), sizeof(float));
    return *sum ? ATTN_OK : attn_fail_memory(err);
}

attn_status api_collect_begin(api_collect *c, api_encode *encode, const api_worker *worker, attn_error *err)
{
    attn_status st = ATTN_OK;
    *c = (api_collect){ .encode = encode, .runtime = encode->runtime, .arena = worker->arena, .cancel = worker->cancel };
    c->num_parts = api_plan_parts(encode->plan, encode->result, c->parts);
    c->streams = encode->encoder->order == API_ORDER_PARTS && !is_held(encode->plan, encode->result, 0, &c->parts[0]);
    for (size_t p = 0; p < c->num_parts && st == ATTN_OK; p++)
        st = take_part(c, p, err);
    return st;
}

/* ---- top_k --------------------------------------------------------------------------------------------------------------- */

typedef struct top_job {
    const attn_view *in;
    const api_choice *keys;
    size_t k, num_rows;
    int32_t *indices;        /* [rows, k] */
    float *values, *dropped; /* [rows, k], [rows] */
} top_job;

static void top_rows(void *ctx, size_t task, int slot)
{
    (void)slot;
    const top_job *j = ctx;
    for (size_t r = task * TOP_K_ROWS; r < (task + 1) * TOP_K_ROWS && r < j->num_rows; r++) {
        const float *row = j->in->head[r / j->in->rows] + (ptrdiff_t)(r % j->in->rows) * j->in->row_stride;
        attn_top_k(row, j->in->cols, j->keys->list, j->keys->count, j->k, j->indices + r * j->k, j->values + r * j->k, j->dropped + r);
    }
}

static void run_top_k(api_collect *c, attn_stack s, const attn_view *view, top_job *job)
{
    job->in = view;
    job->keys = &input_of(c)->stacks[s].ranked;
    job->k = api_plan_rank(c->encode->plan, c->encode->result, s);
    job->num_rows = view->heads * view->rows;
    attn_parallel(c->runtime, attn_ceil_div(job->num_rows, TOP_K_ROWS), top_rows, job);
}

/* ---- a slice ------------------------------------------------------------------------------------------------------------- */

/* Begins the result with its first layer or state, so that a run that fails before it has written nothing. */
static void open_result(api_collect *c)
{
    api_encode *e = c->encode;
    if (c->opened)
        return;
    c->opened = true;
    e->encoder->begin_result(e);
    if (c->streams)
        e->encoder->begin_part(e, &c->parts[0]);
}

/* Begins the line of a layer, or of state 0, where the form has lines and there is something to say in it. What a decoder's layer gives stands in one,
 * whichever of its attentions it is of. */
static void open_line(api_collect *c, attn_stack s, size_t number, bool state)
{
    api_encode *e = c->encode;
    size_t layered = 0;
    for (size_t p = 0; p < c->num_parts; p++)
        layered += !c->held[p] && api_part_is_layered(&c->parts[p]);
    if (e->encoder->order == API_ORDER_LAYERS && layered > 0 && !e->in_line)
        e->encoder->begin_layer(e, s, number, state);
}

static void close_line(api_collect *c)
{
    if (c->encode->in_line)
        c->encode->encoder->end_layer(c->encode);
}

/* Is anything to come behind what this attention's layer gives, in the same line: the one between decoder and encoder, or a state? */
static bool line_goes_on(const api_collect *c, attn_stack s)
{
    attn_stack of_states = s == ATTN_STACK_CROSS ? ATTN_STACK_DECODER : s;
    return s == ATTN_STACK_DECODER || (input_of(c)->keep[of_states].outputs & ATTN_BIT(ATTN_HIDDEN_STATES));
}

static void copy_rows(const api_part *part, void *dst, const api_rows *rows)
{
    size_t matrix = part->rows * part->columns;
    if (rows->ints) {
        memcpy(dst, rows->ints, rows->matrices * matrix * sizeof(int32_t));
        return;
    }
    float *to = dst;
    for (size_t m = 0; m < rows->matrices; m++)
        for (size_t r = 0; r < part->rows; r++, to += part->columns)
            memcpy(to, rows->matrix[m] + (ptrdiff_t)r * rows->row_stride, part->columns * sizeof *to);
}

static void write_slice(api_encode *e, const api_part *part, const api_rows *rows)
{
    api_part slice = api_part_of_slice(part);
    e->encoder->begin_part(e, &slice);
    e->encoder->rows(e, &slice, rows);
    e->encoder->end_part(e, &slice);
}

/* One slice of part p, of this layer or state: written, or copied to each place where it was asked for. */
static void put_slice(api_collect *c, size_t p, size_t number, api_rows *rows)
{
    const api_part *part = &c->parts[p];
    const api_plan_stack *stack = &c->encode->plan->stacks[part->stack];
    const api_choice *asked = is_states(part) ? &stack->states : &stack->layers;
    if (!c->held[p] && c->encode->encoder->order == API_ORDER_LAYERS) {
        write_slice(c->encode, part, rows);
        return;
    }
    if (!c->held[p]) {
        rows->first = c->streamed++ * part->matrices * part->rows;
        c->encode->encoder->rows(c->encode, part, rows);
        return;
    }
    for (size_t i = 0; i < asked->count; i++)
        if ((size_t)api_choice_at(asked, i) == number)
            copy_rows(part, (unsigned char *)c->held[p] + i * api_part_slice(part) * sizeof(float), rows);
}

/* values or dropped, contiguous from `data`, as rows. */
static api_rows rows_of(const api_part *part, const float *data, const float **matrix)
{
    for (size_t m = 0; m < part->matrices; m++)
        matrix[m] = data + m * part->rows * part->columns;
    return (api_rows){ .matrix = matrix, .row_stride = (ptrdiff_t)part->columns, .matrices = part->matrices };
}

/* Parts p, p + 1 and p + 2 from a layer's attentions. */
static attn_status put_top_k(api_collect *c, size_t p, size_t layer, const attn_view *view, attn_error *err)
{
    const api_part *part = &c->parts[p];
    size_t n = api_part_slice(part);
    top_job job = {
        .indices = attn_arena_take(c->arena, n, sizeof *job.indices),
        .values = attn_arena_take(c->arena, n, sizeof *job.values),
        .dropped = attn_arena_take(c->arena, view->heads * view->rows, sizeof *job.dropped),
    };
    const float **matrix = attn_arena_take(c->arena, part->matrices, sizeof *matrix);
    if (!job.indices || !job.values || !job.dropped || !matrix)
        return attn_fail_memory(err);
    run_top_k(c, part->stack, view, &job);
    api_rows indices = { .ints = job.indices, .matrices = part->matrices };
    put_slice(c, p, layer, &indices);
    api_rows values = rows_of(&c->parts[p + 1], job.values, matrix);
    put_slice(c, p + 1, layer, &values);
    api_rows dropped = rows_of(&c->parts[p + 2], job.dropped, matrix);
    put_slice(c, p + 2, layer, &dropped);
    return ATTN_OK;
}

/* A layer asked for twice counts twice. */
static void add_to_sum(api_collect *c, attn_output o, const attn_layer *layer)
{
    const api_choice *layers = &c->encode->plan->stacks[layer->stack].layers;
    bool *has_sum = &c->has_sum[layer->stack][o];
    size_t times = 0;
    for (size_t i = 0; i < layers->count; i++)
        times += (size_t)api_choice_at(layers, i) == layer->layer;
    double share = (double)times / (double)layers->count;
    attn_reduce_layer(want_of(c->encode->plan)->reduce_layers, c->sums[layer->stack][o], &layer->views[o], share, !*has_sum);
    *has_sum = true;
}

static void put_view(api_collect *c, size_t p, size_t number, const attn_view *view)
{
    put_slice(c, p, number, &(api_rows){ .matrix = view->head, .row_stride = view->row_stride, .matrices = view->heads });
}

static attn_status put_output(api_collect *c, size_t p, const attn_layer *layer, attn_error *err)
{
    const api_part *part = &c->parts[p];
    const attn_view *view = &layer->views[part->output];
    if (part->is_reduced)
        add_to_sum(c, part->output, layer);
    else if (part->role == API_INDICES)
        return put_top_k(c, p, layer->layer, view, err);
    else
        put_view(c, p, layer->layer, view);
    return ATTN_OK;
}

/* What of part p this layer gives. */
static attn_status put_part(api_collect *c, size_t p, const attn_layer *layer, attn_error *err)
{
    const api_part *part = &c->parts[p];
    if (part->stack != layer->stack)
        return ATTN_OK;
    if (part->role == API_ANALYSIS)
        put_view(c, p, layer->layer, &(attn_view){ &layer->analyses[part->analysis], 1, part->rows, part->columns, (ptrdiff_t)part->columns });
    else if ((part->role == API_PLAIN || part->role == API_INDICES) && !is_states(part))
        return put_output(c, p, layer, err);
    return ATTN_OK;
}

/* ---- a layer, a state ---------------------------------------------------------------------------------------------------- */

static attn_status select_views(api_collect *c, const attn_layer *in, attn_layer *out, attn_error *err)
{
    const api_plan *plan = c->encode->plan;
    attn_selection sel = selection_of(plan, input_of(c), in->stack);
    if (!splits(plan, input_of(c), in->stack))
        return attn_select_layer(c->runtime, &sel, in, out, c->arena, c->cancel, err);
    attn_layer rest = *in, maps = { .stack = in->stack, .layer = in->layer }, whole;
    maps.views[ATTN_ATTENTIONS] = in->views[ATTN_ATTENTIONS];
    rest.views[ATTN_ATTENTIONS] = (attn_view){ 0 };
    attn_status st = attn_select_layer(c->runtime, &sel, &rest, out, c->arena, c->cancel, err);
    if (st != ATTN_OK)
        return st;
    sel.keys = NULL;
    st = attn_select_layer(c->runtime, &sel, &maps, &whole, c->arena, c->cancel, err);
    out->views[ATTN_ATTENTIONS] = whole.views[ATTN_ATTENTIONS];
    return st;
}

static attn_status take_layer(void *ctx, const attn_layer *in, attn_error *err)
{
    api_collect *c = ctx;
    attn_layer layer;
    uint64_t begin = attn_clock_ns();
    attn_arena_mark mark = attn_arena_save(c->arena);
    attn_status st = select_views(c, in, &layer, err);
    if (st == ATTN_OK) {
        open_result(c);
        open_line(c, in->stack, in->layer, false);
    }
    for (size_t p = 0; p < c->num_parts && st == ATTN_OK; p++)
        st = put_part(c, p, &layer, err);
    if (!line_goes_on(c, in->stack))
        close_line(c);
    attn_arena_rewind(c->arena, mark);
    c->ns += attn_clock_ns() - begin;
    return st == ATTN_OK ? c->encode->out->status : st;
}

static attn_status take_state(void *ctx, attn_stack stack, size_t state, const attn_view *in, attn_error *err)
{
    api_collect *c = ctx;
    attn_view view;
    uint64_t begin = attn_clock_ns();
    attn_arena_mark mark = attn_arena_save(c->arena);
    attn_selection sel = selection_of(c->encode->plan, input_of(c), stack);
    attn_status st = attn_select_view(c->runtime, &sel, ATTN_HIDDEN_STATES, in, &view, c->arena, err);
    if (st == ATTN_OK) {
        open_result(c);
        open_line(c, stack, state > 0 ? state - 1 : 0, state == 0);
        for (size_t p = 0; p < c->num_parts; p++)
            if (is_states(&c->parts[p]) && c->parts[p].stack == stack)
                put_view(c, p, state, &view);
        close_line(c);
    }
    attn_arena_rewind(c->arena, mark);
    c->ns += attn_clock_ns() - begin;
    return st == ATTN_OK ? c->encode->out->status : st;
}

attn_sink api_collect_sink(api_collect *c)
{
    return (attn_sink){ .ctx = c, .layer = take_layer, .state = take_state };
}

/* ---- after the run ----------------------------------------------------------------------------------------------------- */

/* Parts p, p + 1 and p + 2 from attentions that were reduced over layers. */
static attn_status rank_sum(api_collect *c, size_t p, attn_error *err)
{
    const api_part *part = &c->parts[p];
    const float *sum = c->sums[part->stack][part->output];
    size_t columns = input_of(c)->stacks[part->stack].T_k, matrix = part->rows * columns;
    const float **heads = attn_arena_take(c->arena, part->matrices, sizeof *heads);
    if (!heads)
        return attn_fail_memory(err);
    for (size_t m = 0; m < part->matrices; m++)
        heads[m] = sum + m * matrix;
    attn_view view = { .head = heads, .heads = part->matrices, .rows = part->rows, .cols = columns, .row_stride = (ptrdiff_t)columns };
    top_job job = { .indices = c->held[p], .values = c->held[p + 1], .dropped = c->held[p + 2] };
    run_top_k(c, part->stack, &view, &job);
    return ATTN_OK;
}

/* A held part, whole: one matrix with all its rows. */
static void write_held(api_collect *c, size_t p)
{
    api_encode *e = c->encode;
    api_part part = c->parts[p];
    const float *data = c->held[p];
    api_rows rows = { .matrix = &data, .row_stride = (ptrdiff_t)part.columns, .matrices = 1 };
    e->encoder->begin_part(e, &part);
    if (part.role == API_INDICES)
        rows.ints = c->held[p];
    part.rows *= part.slices * part.matrices;
    part.slices = part.matrices = 1;
    e->encoder->rows(e, &part, &rows);
    e->encoder->end_part(e, &part);
}

/* A line behind those of layers: a step's, or what only all layers together give. A generation has it though nothing was held. */
static bool has_rest(const api_collect *c)
{
    api_span span = input_of(c)->span;
    if (c->encode->encoder->order != API_ORDER_LAYERS)
        return false;
    if (span == API_SPAN_STEP || span == API_SPAN_REST)
        return true;
    for (size_t p = 0; p < c->num_parts; p++)
        if (c->held[p])
            return true;
    return false;
}

static void write_all_held(api_collect *c)
{
    api_encode *e = c->encode;
    bool in_rest = has_rest(c);
    if (in_rest)
        e->encoder->begin_rest(e);
    for (size_t p = 0; p < c->num_parts; p++)
        if (c->held[p])
            write_held(c, p);
    if (in_rest)
        e->encoder->end_rest(e);
}

attn_status api_collect_end(api_collect *c, attn_error *err)
{
    api_encode *e = c->encode;
    attn_status st = ATTN_OK;
    uint64_t begin = attn_clock_ns();
    for (size_t p = 0; p < c->num_parts && st == ATTN_OK; p++)
        if (c->parts[p].is_reduced && c->parts[p].role == API_INDICES)
            st = rank_sum(c, p, err);
    if (st == ATTN_OK) {
        if (c->streams)
            e->encoder->end_part(e, &c->parts[0]);
        write_all_held(c);
        e->encoder->end_result(e);
    }
    c->ns += attn_clock_ns() - begin;
    return st == ATTN_OK ? e->out->status : st;
}
