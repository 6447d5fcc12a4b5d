/* attention/operator.c - the operator without a model: one layer, its views, its price, and projections whose weights came with the request.
 *
 * Queries, keys and values are handed on as they came: a head that is asked for twice, or shares its keys with others, is a pointer more and no copy.
 * Context vectors lie side by side, [T_q, heads * d_v], which is both what the output projection reads and attn_output when there is none; all
 * heads are there when attn_output is asked for, else the kept ones only.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"
#include "math/gemm.h"

enum {
    ROWS_AT_ONCE = 1024, /* of a projection between two looks at the cancel flag */
    ALIGNMENT = 64,      /* of a block in an arena */
    CONTEXT_USES = ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT)
};

typedef struct operator_run {
    attn_runtime *runtime;
    const attn_operator_input *in;
    const attn_keep *keep;
    attn_arena *arena;
    attn_cancel *cancel;
    size_t asked, kept; /* heads asked for, distinct ones among them */
    int32_t *slot, *order;
    attn_attention_out out;
    float *attn_output; /* the context itself when there is no w_o */
} operator_run;

static bool has(const attn_keep *keep, attn_output output)
{
    return keep->outputs & ATTN_BIT(output);
}

static size_t output_columns(const attn_operator_input *in)
{
    return in->w_o ? in->output_dim : in->num_attention_heads * in->value_dim;
}

/* ---- projections -------------------------------------------------------------------------------------------------------- */

static attn_status project_rows(attn_runtime *runtime, float *y, const attn_projection *p, const attn_panels *panels, attn_arena *arena, attn_cancel *cancel,
                                attn_error *err)
{
    const attn_kernels *kernels = attn_runtime_table(runtime);
    for (size_t t = 0; t < p->T; t += ROWS_AT_ONCE) {
        size_t rows = p->T - t < ROWS_AT_ONCE ? p->T - t : ROWS_AT_ONCE;
        if (attn_cancelled(cancel))
            return attn_fail(err, ATTN_E_CANCELLED, "", "the computation was called off");
        attn_status status = attn_linear(runtime, y + t * p->n, p->n, p->x + t * p->k, p->k, rows, panels, p->b, ATTN_ACT_NONE, arena, err);
        if (status != ATTN_OK)
            return status;
        for (size_t r = t; r < t + rows; r++)
            if (!kernels->all_finite(y + r * p->n, p->n))
                return attn_fail(err, ATTN_E_OVERFLOW, p->where, "a projected value is beyond float32");
    }
    return ATTN_OK;
}

attn_status attn_project(attn_runtime *runtime, float *y, const attn_projection *p, attn_arena *arena, attn_cancel *cancel, attn_error *err)
{
    const attn_gemm *gemm = attn_runtime_gemm(runtime);
    attn_arena_mark mark = attn_arena_save(arena);
    size_t bytes = attn_gemm_panel_bytes(gemm, p->n, p->k);
    float *packed = bytes > 0 ? attn_arena_take(arena, bytes, 1) : NULL;
    attn_status status;
    if (!packed) {
        status = attn_fail_memory(err);
    } else {
        attn_gemm_pack(gemm, packed, p->w, p->n, p->k, 1, (ptrdiff_t)p->n);
        status = project_rows(runtime, y, p, &(attn_panels){ packed, p->n, p->k }, arena, cancel, err);
    }
    attn_arena_rewind(arena, mark);
    return status;
}

/* ---- prices ------------------------------------------------------------------------------------------------------------- */

/* What count * size bytes take in an arena. */
static uint64_t block_bytes(uint64_t count, uint64_t size)
{
    uint64_t bytes = attn_plus(attn_times(count, size), ALIGNMENT - 1);
    return bytes / ALIGNMENT * ALIGNMENT;
}

attn_price attn_project_price(const attn_runtime *runtime, size_t T, size_t k, size_t n)
{
    size_t panels = attn_gemm_panel_bytes(attn_runtime_gemm(runtime), n, k);
    if (panels == 0)
        return (attn_price){ UINT64_MAX, UINT64_MAX };
    uint64_t linear = attn_linear_bytes(runtime, T < ROWS_AT_ONCE ? T : ROWS_AT_ONCE, k);
    return (attn_price){ attn_times(attn_times(attn_times(2, T), k), n), attn_plus(block_bytes(panels, 1), linear) };
}

/* Of the pointers, the maps, the context and attn_output, for `asked` heads of which `kept` are distinct. */
static uint64_t kept_bytes(const attn_operator_input *in, const attn_keep *keep, uint64_t asked, uint64_t kept)
{
    uint64_t bytes = attn_plus(block_bytes(in->num_attention_heads, sizeof(int32_t)), block_bytes(asked, sizeof(int32_t)));
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (has(keep, (attn_output)o))
            bytes = attn_plus(bytes, block_bytes(asked, sizeof(float *)));
        if (has(keep, (attn_output)o) && (ATTN_MAP_OUTPUTS & ATTN_BIT(o)))
            bytes = attn_plus(bytes, block_bytes(attn_times(attn_times(kept, in->T_q), in->T_k), sizeof(float)));
    }
    uint64_t vectors = has(keep, ATTN_ATTN_OUTPUT) ? in->num_attention_heads : kept;
    if (keep->outputs & CONTEXT_USES)
        bytes = attn_plus(bytes, block_bytes(attn_times(attn_times(vectors, in->T_q), in->value_dim), sizeof(float)));
    if (has(keep, ATTN_ATTN_OUTPUT) && in->w_o)
        bytes = attn_plus(bytes, block_bytes(attn_times(in->T_q, in->output_dim), sizeof(float)));
    return bytes;
}

attn_price attn_operator_price(const attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep)
{
    static float kept_somewhere; /* its address says "kept", nothing is written there */
    uint64_t H = in->num_attention_heads, asked = keep->heads ? keep->num_heads : H, kept = asked < H ? asked : H;
    bool sums = keep->outputs & CONTEXT_USES, all = has(keep, ATTN_ATTN_OUTPUT); /* contexts of all heads */
    attn_price price = { 0, kept_bytes(in, keep, asked, kept) };
    if (!(keep->outputs & (ATTN_MAP_OUTPUTS | CONTEXT_USES)))
        return price;
    attn_attention_out out = { .context_of_kept = !all };
    out.attentions = has(keep, ATTN_ATTENTIONS) && (!keep->heads || !all) ? &kept_somewhere : NULL;
    out.context = sums ? &kept_somewhere : NULL;
    uint64_t working = attn_attention_bytes(runtime, in, &out), products = attn_times(attn_times(attn_times(2, all ? H : kept), in->T_q), in->T_k);
    price.flops = attn_times(products, attn_plus(in->head_dim, sums ? in->value_dim : 0));
    if (has(keep, ATTN_ATTN_OUTPUT) && in->w_o) {
        attn_price last = attn_project_price(runtime, in->T_q, in->num_attention_heads * in->value_dim, in->output_dim);
        price.flops = attn_plus(price.flops, last.flops);
        working = last.bytes > working ? last.bytes : working; /* one after the other in the same memory */
    }
    price.bytes = attn_plus(price.bytes, working);
    return price;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

/* count * size floats, or NULL. */
static float *take_floats(attn_arena *arena, size_t count, size_t rows, size_t columns)
{
    size_t n;
    return attn_mul(count, rows, &n) && attn_mul(n, columns, &n) ? attn_arena_take(arena, n, sizeof(float)) : NULL;
}

static bool take_map(operator_run *run, attn_output output, float **map)
{
    *map = NULL;
    if (!has(run->keep, output))
        return true;
    *map = take_floats(run->arena, run->kept, run->in->T_q, run->in->T_k);
    return *map != NULL;
}

static bool take_context(operator_run *run)
{
    const attn_operator_input *in = run->in;
    if (!(run->keep->outputs & CONTEXT_USES))
        return true;
    bool all = has(run->keep, ATTN_ATTN_OUTPUT);
    size_t vectors = all ? in->num_attention_heads : run->kept;
    run->out.context_of_kept = !all;
    run->out.context = take_floats(run->arena, vectors, in->T_q, in->value_dim);
    run->out.context_head_stride = (ptrdiff_t)in->value_dim;
    run->out.context_row_stride = (ptrdiff_t)(vectors * in->value_dim);
    return run->out.context != NULL;
}

static bool take_all(operator_run *run)
{
    run->asked = run->keep->heads ? run->keep->num_heads : run->in->num_attention_heads;
    run->slot = attn_arena_take(run->arena, run->in->num_attention_heads, sizeof *run->slot);
    run->order = attn_arena_take(run->arena, run->asked, sizeof *run->order);
    if (!run->slot || !run->order)
        return false;
    run->kept = attn_head_slots(run->keep, run->in->num_attention_heads, run->slot, run->order);
    run->out.slot = run->slot;
    return take_map(run, ATTN_ATTENTIONS, &run->out.attentions) && take_map(run, ATTN_SCORES, &run->out.scores) &&
           take_map(run, ATTN_RAW_SCORES, &run->out.raw_scores) && take_context(run);
}

static attn_status compute(operator_run *run, attn_error *err)
{
    const attn_operator_input *in = run->in;
    attn_outputs computed = ATTN_MAP_OUTPUTS | CONTEXT_USES;
    attn_status status = ATTN_OK;
    if (run->keep->outputs & computed)
        status = attn_attention(run->runtime, in, &run->out, run->arena, run->cancel, err);
    run->attn_output = run->out.context;
    if (status != ATTN_OK || !has(run->keep, ATTN_ATTN_OUTPUT) || !in->w_o)
        return status;
    run->attn_output = take_floats(run->arena, 1, in->T_q, in->output_dim);
    if (!run->attn_output)
        return attn_fail_memory(err);
    attn_projection last = {
        .x = run->out.context, .w = in->w_o, .b = in->b_o, .T = in->T_q, .k = in->num_attention_heads * in->value_dim, .n = in->output_dim
    };
    last.where = attn_output_name(ATTN_ATTN_OUTPUT);
    return attn_project(run->runtime, run->attn_output, &last, run->arena, run->cancel, err);
}

/* Matrix i of a view, and its shape. */
static const float *view_head(const operator_run *run, attn_output output, size_t i)
{
    const attn_operator_input *in = run->in;
    size_t h = run->keep->heads ? (size_t)run->keep->heads[i] : i, g = h / (in->num_attention_heads / in->num_key_value_heads), place = (size_t)run->order[i];
    size_t map = place * in->T_q * in->T_k;
    switch (output) {
    case ATTN_ATTENTIONS:
        return run->out.attentions + map;
    case ATTN_SCORES:
        return run->out.scores + map;
    case ATTN_RAW_SCORES:
        return run->out.raw_scores + map;
    case ATTN_CONTEXT:
        return run->out.context + (ptrdiff_t)(run->out.context_of_kept ? place : h) * run->out.context_head_stride;
    case ATTN_QUERY:
        return in->query.data + (ptrdiff_t)h * in->query.head_stride;
    case ATTN_KEY:
        return in->key.data + (ptrdiff_t)g * in->key.head_stride;
    case ATTN_VALUE:
        return in->value.data + (ptrdiff_t)g * in->value.head_stride;
    default:
        return run->attn_output;
    }
}

static attn_view view_shape(const operator_run *run, attn_output output)
{
    const attn_operator_input *in = run->in;
    switch (output) {
    case ATTN_CONTEXT:
        return (attn_view){ .heads = run->asked, .rows = in->T_q, .cols = in->value_dim, .row_stride = run->out.context_row_stride };
    case ATTN_QUERY:
        return (attn_view){ .heads = run->asked, .rows = in->T_q, .cols = in->head_dim, .row_stride = in->query.row_stride };
    case ATTN_KEY:
        return (attn_view){ .heads = run->asked, .rows = in->T_k, .cols = in->head_dim, .row_stride = in->key.row_stride };
    case ATTN_VALUE:
        return (attn_view){ .heads = run->asked, .rows = in->T_k, .cols = in->value_dim, .row_stride = in->value.row_stride };
    case ATTN_ATTN_OUTPUT:
        return (attn_view){ .heads = 1, .rows = in->T_q, .cols = output_columns(in), .row_stride = (ptrdiff_t)output_columns(in) };
    default:
        return (attn_view){ .heads = run->asked, .rows = in->T_q, .cols = in->T_k, .row_stride = (ptrdiff_t)in->T_k };
    }
}

static attn_status build_view(const operator_run *run, attn_output output, attn_view *view, attn_error *err)
{
    *view = view_shape(run, output);
    const float **head = attn_arena_take(run->arena, view->heads, sizeof *head);
    if (!head)
        return attn_fail_memory(err);
    for (size_t i = 0; i < view->heads; i++)
        head[i] = view_head(run, output, i);
    view->head = head;
    return ATTN_OK;
}

/* Whether one of the `share` query heads that head g stands for was asked for. */
static bool is_asked(const operator_run *run, size_t g, size_t share)
{
    for (size_t h = g * share; h < (g + 1) * share; h++)
        if (run->slot[h] >= 0)
            return true;
    return false;
}

/* What came in is finite, but what was made of it before (a projection, a rotation) need not be. Each head is looked at once, however often it was asked for. */
static attn_status check_heads(const operator_run *run, attn_output output, attn_error *err)
{
    const attn_operator_input *in = run->in;
    const attn_kernels *kernels = attn_runtime_table(run->runtime);
    const attn_heads *x = output == ATTN_QUERY ? &in->query : output == ATTN_KEY ? &in->key : &in->value;
    size_t heads = output == ATTN_QUERY ? in->num_attention_heads : in->num_key_value_heads, share = in->num_attention_heads / heads;
    size_t rows = output == ATTN_QUERY ? in->T_q : in->T_k, columns = output == ATTN_VALUE ? in->value_dim : in->head_dim;
    if (output != ATTN_QUERY && output != ATTN_KEY && output != ATTN_VALUE)
        return ATTN_OK;
    for (size_t g = 0; g < heads; g++) {
        size_t n = is_asked(run, g, share) ? rows : 0;
        for (size_t r = 0; r < n; r++)
            if (!kernels->all_finite(x->data + (ptrdiff_t)g * x->head_stride + (ptrdiff_t)r * x->row_stride, columns))
                return attn_fail(err, ATTN_E_OVERFLOW, attn_output_name(output), "a value is beyond float32");
    }
    return ATTN_OK;
}

static attn_status hand_over(const operator_run *run, const attn_sink *sink, attn_error *err)
{
    attn_layer layer = { .layer = 0 };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        if (!has(run->keep, (attn_output)o))
            continue;
        attn_status status = build_view(run, (attn_output)o, &layer.views[o], err);
        if (status == ATTN_OK)
            status = check_heads(run, (attn_output)o, err);
        if (status != ATTN_OK)
            return status;
    }
    return sink->layer(sink->ctx, &layer, err);
}

attn_status attn_operator_run(attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep, attn_arena *arena, attn_cancel *cancel,
                              const attn_sink *sink, attn_error *err)
{
    operator_run run = { .runtime = runtime, .in = in, .keep = keep, .arena = arena, .cancel = cancel };
    attn_arena_mark mark = attn_arena_save(arena);
    attn_status status = take_all(&run) ? compute(&run, err) : attn_fail_memory(err);
    if (status == ATTN_OK)
        status = hand_over(&run, sink, err);
    attn_arena_rewind(arena, mark);
    return status;
}
