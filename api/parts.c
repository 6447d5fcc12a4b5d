/* parts.c - the tensors of a result: which, in what order, of what shape. Everybody who writes, holds, counts or prices an answer asks here.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <string.h>

static void add_axis(api_part *part, const char *name, size_t n)
{
    part->axes[part->ndim] = name;
    part->dims[part->ndim++] = n;
}

/* Rows and columns of the part's matrices are its last two axes. */
static void end_in_matrix(api_part *part)
{
    part->rows = part->dims[part->ndim - 2];
    part->columns = part->dims[part->ndim - 1];
}

/* Its numbers stand in a single row. */
static void end_in_row(api_part *part)
{
    part->rows = 1;
    part->columns = part->dims[part->ndim - 1];
}

size_t api_plan_rank(const api_plan *plan, size_t b, attn_stack s)
{
    size_t k = plan->request->want.top_k, n = plan->inputs[b].stacks[s].ranked.count;
    return k < n ? k : n;
}

/* ---- outputs -------------------------------------------------------------------------------------------------------- */

/* Of n rows or columns of a map that were chosen, those that come. */
static size_t pooled(const api_input_stack *in, size_t n)
{
    return in->pool.size > 0 ? attn_pool_bins(n, in->pool.size) : n;
}

static void add_map_axes(const api_plan *plan, size_t b, api_part *part)
{
    const api_input_stack *in = &plan->inputs[b].stacks[part->stack];
    add_axis(part, "query", pooled(in, in->queries.count));
    if (part->role == API_PLAIN)
        add_axis(part, "key", pooled(in, in->keys.count));
    else if (part->role != API_DROPPED)
        add_axis(part, "rank", api_plan_rank(plan, b, part->stack));
    if (part->role == API_DROPPED)
        end_in_row(part);
    else
        end_in_matrix(part);
}

/* What follows layer and head. */
static void add_inner_axes(const api_plan *plan, size_t b, api_part *part)
{
    const api_input_stack *in = &plan->inputs[b].stacks[part->stack];
    attn_output o = part->output;
    bool over_keys = o == ATTN_KEY || o == ATTN_VALUE;
    if (attn_output_is_map(o)) {
        add_map_axes(plan, b, part);
        return;
    }
    if (o == ATTN_VALUE_NORMS) {
        add_axis(part, "key", in->fresh);
        end_in_row(part);
        return;
    }
    add_axis(part, over_keys ? "key" : "query", over_keys ? in->fresh : in->queries.count);
    if (o == ATTN_ATTN_OUTPUT || o == ATTN_HIDDEN_STATES)
        add_axis(part, "hidden", plan->hidden);
    else
        add_axis(part, "head_dim", o == ATTN_QUERY || o == ATTN_KEY ? plan->stacks[part->stack].head_dim : plan->stacks[part->stack].value_dim);
    end_in_matrix(part);
}

static api_part make_output(const api_plan *plan, size_t b, attn_stack s, attn_output o, api_role role)
{
    static const char *const top_k_names[] = { [API_INDICES] = "indices", [API_VALUES] = "values", [API_DROPPED] = "dropped" };
    const api_return *want = &plan->request->want;
    const api_plan_stack *stack = &plan->stacks[s];
    bool is_map = attn_output_is_map(o), has_heads = o != ATTN_ATTN_OUTPUT && o != ATTN_HIDDEN_STATES;
    api_part part = { .stack = s, .prefix = api_plan_prefix(plan, s), .output = o, .role = role, .matrices = 1, .slices = 1, .name = attn_output_name(o) };
    if (role != API_PLAIN) {
        part.group = part.name;
        part.name = top_k_names[role];
    }
    part.is_reduced = is_map && want->reduce_layers != ATTN_REDUCE_NONE;
    if (!part.is_reduced) {
        part.slices = o == ATTN_HIDDEN_STATES ? stack->states.count : stack->layers.count;
        add_axis(&part, o == ATTN_HIDDEN_STATES ? "state" : "layer", part.slices);
    }
    if (has_heads && !(is_map && want->reduce_heads != ATTN_REDUCE_NONE)) {
        part.matrices = stack->heads.count;
        add_axis(&part, "head", part.matrices);
    }
    add_inner_axes(plan, b, &part);
    return part;
}

/* ---- analyses ------------------------------------------------------------------------------------------------------- */

static api_part make_analysis(const api_plan *plan, size_t b, attn_stack s, attn_analysis a)
{
    const api_plan_stack *stack = &plan->stacks[s];
    const api_input_stack *in = &plan->inputs[b].stacks[s];
    api_part part = { .role = API_ANALYSIS, .stack = s, .prefix = api_plan_prefix(plan, s), .analysis = a, .name = attn_analysis_name(a), .group = "analyses" };
    part.matrices = 1;
    part.slices = stack->layers.count;
    add_axis(&part, "layer", part.slices);
    if (a == ATTN_ROLLOUT) {
        add_axis(&part, "query", in->T_q);
        add_axis(&part, "key", in->T_k);
        end_in_matrix(&part);
    } else if (a == ATTN_HEAD_DISTANCE) {
        add_axis(&part, "head", stack->heads.count);
        add_axis(&part, "head", stack->heads.count);
        end_in_matrix(&part);
    } else {
        add_axis(&part, "head", stack->heads.count);
        end_in_row(&part);
    }
    return part;
}

/* ---- all of them ---------------------------------------------------------------------------------------------------- */

static bool same_group(const api_part *a, const api_part *b)
{
    return a->group && b->group && a->stack == b->stack && strcmp(a->group, b->group) == 0;
}

/* Groups lie together. */
static void mark_groups(api_part *parts, size_t n)
{
    for (size_t p = 0; p < n; p++) {
        if (!parts[p].group)
            continue;
        parts[p].opens = p == 0 || !same_group(&parts[p - 1], &parts[p]);
        parts[p].closes = p + 1 == n || !same_group(&parts[p], &parts[p + 1]);
    }
}

/* The parts of one attention: what its run keeps. */
static size_t add_parts(const api_plan *plan, size_t b, attn_stack s, api_part *parts)
{
    const attn_keep *keep = &plan->inputs[b].keep[s];
    size_t n = 0;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (!(keep->outputs & ATTN_BIT(o)))
            continue;
        if (o == ATTN_ATTENTIONS && plan->request->want.top_k > 0)
            for (api_role role = API_INDICES; role <= API_DROPPED; role++)
                parts[n++] = make_output(plan, b, s, (attn_output)o, role);
        else
            parts[n++] = make_output(plan, b, s, (attn_output)o, API_PLAIN);
    }
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        if (keep->analyses & ATTN_ANALYSIS_BIT(a))
            parts[n++] = make_analysis(plan, b, s, (attn_analysis)a);
    return n;
}

size_t api_plan_parts(const api_plan *plan, size_t b, api_part parts[API_MAX_PARTS])
{
    size_t n = 0;
    for (attn_stack s = 0; s < plan->num_stacks; s++)
        n += add_parts(plan, b, s, parts + n);
    mark_groups(parts, n);
    return n;
}

api_part api_part_of_slice(const api_part *part)
{
    api_part slice = *part;
    for (size_t a = 1; a < part->ndim; a++) {
        slice.dims[a - 1] = part->dims[a];
        slice.axes[a - 1] = part->axes[a];
    }
    slice.ndim--;
    slice.slices = 1;
    return slice;
}

size_t api_part_width(const api_plan *plan, const api_part *part)
{
    static const size_t widths[] = { [API_FLOAT32] = 4, [API_FLOAT16] = 2, [API_UINT8] = 1 };
    return part->role == API_INDICES ? sizeof(int32_t) : widths[plan->request->want.dtype];
}

size_t api_part_slice(const api_part *part)
{
    return attn_times(attn_times(part->matrices, part->rows), part->columns);
}

uint64_t api_part_numbers(const api_part *part)
{
    return attn_times(part->slices, api_part_slice(part));
}

bool api_part_is_layered(const api_part *part)
{
    return !part->is_reduced && part->role != API_ANALYSIS;
}

bool api_part_streams(const api_plan *plan, const api_part *part)
{
    if (part->is_reduced)
        return false;
    const api_choice *layers = &plan->stacks[part->stack].layers;
    for (size_t i = 1; layers->list && i < layers->count; i++)
        if (layers->list[i] <= layers->list[i - 1])
            return false;
    return true;
}
