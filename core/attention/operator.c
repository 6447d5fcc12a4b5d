/* attention/operator.c - the operator without a model: one layer (layer.h), its price, and projections whose weights came with the request.
 *
 * Queries, keys and values are handed on as they came. Contexts lie side by side, which is both what the output projection reads and attn_output when there
 * is none.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/layer.h"

enum { ROWS_AT_ONCE = 1024 }; /* of a projection between two looks at the cancel flag */

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

attn_price attn_project_price(const attn_runtime *runtime, size_t T, size_t k, size_t n)
{
    size_t panels = attn_gemm_panel_bytes(attn_runtime_gemm(runtime), n, k);
    if (panels == 0)
        return (attn_price){ UINT64_MAX, UINT64_MAX };
    uint64_t linear = attn_linear_bytes(runtime, T < ROWS_AT_ONCE ? T : ROWS_AT_ONCE, k);
    return (attn_price){ attn_times(attn_times(attn_times(2, T), k), n), attn_plus(attn_arena_bytes(panels, 1), linear) };
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static attn_layer_want want_of(const attn_keep *keep)
{
    return (attn_layer_want){ .outputs = keep->outputs & ~ATTN_BIT(ATTN_HIDDEN_STATES), .analyses = keep->analyses };
}

static bool projects(const attn_operator_input *in, const attn_keep *keep)
{
    return in->w_o && (keep->outputs & ATTN_BIT(ATTN_ATTN_OUTPUT));
}

static bool rolls_out(const attn_keep *keep)
{
    return keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
}

attn_price attn_operator_price(const attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep)
{
    attn_head_choice choice = attn_head_choice_most(keep, in->num_attention_heads);
    attn_layer_run run = { .in = in, .choice = &choice, .pool = keep->pool, .want = want_of(keep) };
    attn_layer_cost cost = attn_layer_price(runtime, &run);
    attn_price price = { cost.flops, attn_plus(cost.held, attn_head_choice_bytes(&choice, in->num_attention_heads)) };
    if (keep->analyses)
        price.bytes = attn_plus(price.bytes, attn_analyst_bytes(keep->analyses, in->T_k));
    if (rolls_out(keep))
        price.bytes = attn_plus(price.bytes, attn_arena_bytes(attn_times(in->T_q, in->T_k), sizeof(float)));
    if (projects(in, keep)) {
        attn_price last = attn_project_price(runtime, in->T_q, in->num_attention_heads * in->value_dim, in->output_dim);
        price.flops = attn_plus(price.flops, last.flops);
        price.bytes = attn_plus(price.bytes, attn_arena_bytes(attn_times(in->T_q, in->output_dim), sizeof(float)));
        cost.working = last.bytes > cost.working ? last.bytes : cost.working; /* one after the other in the same memory */
    }
    price.bytes = attn_plus(price.bytes, cost.working);
    return price;
}

/* The layer and, where there is one, the output projection behind it. */
static attn_status compute(attn_layer_run *run, bool with_projection, float **y, attn_error *err)
{
    const attn_operator_input *in = run->in;
    attn_status status = attn_layer_compute(run, err);
    *y = run->out.context;
    if (status != ATTN_OK || !with_projection)
        return status;
    size_t n;
    *y = attn_mul(in->T_q, in->output_dim, &n) ? attn_arena_take(run->arena, n, sizeof **y) : NULL;
    if (!*y)
        return attn_fail_memory(err);
    attn_projection last = {
        .x = run->out.context, .w = in->w_o, .b = in->b_o, .T = in->T_q, .k = in->num_attention_heads * in->value_dim, .n = in->output_dim
    };
    last.where = attn_output_name(ATTN_ATTN_OUTPUT);
    return attn_project(run->runtime, *y, &last, run->arena, run->cancel, err);
}

/* What analyses need beside the layer: the analyst, and where a rollout goes. */
static attn_status prepare(attn_layer_run *run, const attn_keep *keep, attn_analyst *analyst, attn_error *err)
{
    const attn_operator_input *in = run->in;
    size_t n;
    run->analyst = analyst;
    if (rolls_out(keep) && !(run->rollout = attn_mul(in->T_q, in->T_k, &n) ? attn_arena_take(run->arena, n, sizeof(float)) : NULL))
        return attn_fail_memory(err);
    return keep->analyses ? attn_analyst_init(analyst, keep->analyses, keep->about, in->T_q, in->T_k, in->rules.query_offset, NULL, run->arena, err) : ATTN_OK;
}

attn_status attn_operator_run(attn_runtime *runtime, const attn_operator_input *in, const attn_keep *keep, attn_arena *arena, attn_cancel *cancel,
                              const attn_sink *sink, attn_error *err)
{
    attn_head_choice choice;
    attn_analyst analyst;
    attn_layer_run run = { .runtime = runtime, .in = in, .choice = &choice, .pool = keep->pool, .want = want_of(keep), .arena = arena, .cancel = cancel };
    float *y = NULL;
    size_t columns = in->w_o ? in->output_dim : in->num_attention_heads * in->value_dim;
    if (!in->w_o && (keep->outputs & ATTN_BIT(ATTN_WEIGHTED_NORMS)))
        return attn_fail(err, ATTN_E_INPUT, attn_output_name(ATTN_WEIGHTED_NORMS), "needs an output projection");
    attn_arena_mark mark = attn_arena_save(arena);
    attn_status status = attn_head_choice_make(&choice, keep, in->num_attention_heads, arena, err);
    if (status == ATTN_OK)
        status = prepare(&run, keep, &analyst, err);
    if (status == ATTN_OK)
        status = compute(&run, projects(in, keep), &y, err);
    if (status == ATTN_OK)
        status = attn_layer_show(&run, 0, y, columns, sink, err);
    attn_arena_rewind(arena, mark);
    return status;
}
