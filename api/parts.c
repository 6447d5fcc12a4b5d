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

size_t api_plan_rank(const api_plan *plan, size_t b)
{
    size_t k = plan->request->want.top_k, n = plan->inputs[b].ranked.count;
    return k < n ? k : n;
}

/* ---- outputs -------------------------------------------------------------------------------------------------------- */

/* Of n rows or columns of a map that were chosen, those that come. */
static size_t pooled(const api_plan_input *in, size_t n)
{
    return in->pool.size > 0 ? attn_pool_bins(n, in->pool.size) : n;
}

static void add_map_axes(const api_plan *plan, size_t b, api_part *part)
{
    const api_plan_input *in = &plan->inputs[b];
    add_axis(part, "query", pooled(in, in->queries.count));
    if (part->role == API_PLAIN)
        add_axis(part, "key", pooled(in, in->keys.count));
    else if (part->role != API_DROPPED)
        add_axis(part, "rank", api_plan_rank(plan, b));
    if (part->role == API_DROPPED)
        end_in_row(part);
    else
        end_in_matrix(part);
}

/* What follows layer and head. */
static void add_inner_axes(const api_plan *plan, size_t b, api_part *part)
{
    const api_plan_input *in = &plan->inputs[b];
    attn_output o = part->output;
    bool over_keys = o == ATTN_KEY || o == ATTN_VALUE;
    if (attn_output_is_map(o)) {
        add_map_axes(plan, b, part);
        return;
    }
    if (o == ATTN_VALUE_NORMS) {
        add_axis(part, "key", in->keys.count);
        end_in_row(part);
        return;
    }
    add_axis(part, over_keys ? "key" : "query", over_keys ? in->keys.count : in->queries.count);
    if (o == ATTN_ATTN_OUTPUT || o == ATTN_HIDDEN_STATES)
        add_axis(part, "hidden", plan->hidden);
    else
        add_axis(part, "head_dim", o == ATTN_QUERY || o == ATTN_KEY ? plan->head_dim : plan->value_dim);
    end_in_matrix(part);
}

static api_part make_output(const api_plan *plan, size_t b, attn_output o, api_role role)
{
    static const char *const top_k_names[] = { [API_INDICES] = "indices", [API_VALUES] = "values", [API_DROPPED] = "dropped" };
    const api_return *want = &plan->request->want;
    bool is_map = attn_output_is_map(o), has_heads = o != ATTN_ATTN_OUTPUT && o != ATTN_HIDDEN_STATES;
    api_part part = { .output = o, .role = role, .matrices = 1, .slices = 1, .name = attn_output_name(o) };
    if (role != API_PLAIN) {
        part.group = part.name;
        part.name = top_k_names[role];
    }
    part.is_reduced = is_map && want->reduce_layers != ATTN_REDUCE_NONE;
    if (!part.is_reduced) {
        part.slices = o == ATTN_HIDDEN_STATES ? plan->inputs[b].states.count : plan->layers.count;
        add_axis(&part, o == ATTN_HIDDEN_STATES ? "state" : "layer", part.slices);
    }
    if (has_heads && !(is_map && want->reduce_heads != ATTN_REDUCE_NONE)) {
        part.matrices = plan->heads.count;
        add_axis(&part, "head", part.matrices);
    }
    add_inner_axes(plan, b, &part);
    return part;
}

/* ---- analyses ------------------------------------------------------------------------------------------------------- */

static api_part make_analysis(const api_plan *plan, size_t b, attn_analysis a)
{
    const api_plan_input *in = &plan->inputs[b];
    api_part part = { .role = API_ANALYSIS, .analysis = a, .matrices = 1, .slices = plan->layers.count, .group = "analyses", .name = attn_analysis_name(a) };
    add_axis(&part, "layer", part.slices);
    if (a == ATTN_ROLLOUT) {
        add_axis(&part, "query", in->T_q);
        add_axis(&part, "key", in->T_k);
        end_in_matrix(&part);
    } else if (a == ATTN_HEAD_DISTANCE) {
        add_axis(&part, "head", plan->heads.count);
        add_axis(&part, "head", plan->heads.count);
        end_in_matrix(&part);
    } else {
        add_axis(&part, "head", plan->heads.count);
        end_in_row(&part);
    }
    return part;
}

/* ---- all of them ---------------------------------------------------------------------------------------------------- */

static bool same_group(const api_part *a, const api_part *b)
{
    return a->group && b->group && strcmp(a->group, b->group) == 0;
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

size_t api_plan_parts(const api_plan *plan, size_t b, api_part parts[API_MAX_PARTS])
{
    const api_return *want = &plan->request->want;
    size_t n = 0;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (!(want->outputs & ATTN_BIT(o)))
            continue;
        if (o == ATTN_ATTENTIONS && want->top_k > 0)
            for (api_role role = API_INDICES; role <= API_DROPPED; role++)
                parts[n++] = make_output(plan, b, (attn_output)o, role);
        else
            parts[n++] = make_output(plan, b, (attn_output)o, API_PLAIN);
    }
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        if (want->analyses & ATTN_ANALYSIS_BIT(a))
            parts[n++] = make_analysis(plan, b, (attn_analysis)a);
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
    for (size_t i = 1; plan->layers.list && i < plan->layers.count; i++)
        if (plan->layers.list[i] <= plan->layers.list[i - 1])
            return false;
    return true;
}
