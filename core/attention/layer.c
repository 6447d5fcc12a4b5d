/* attention/layer.c - takes memory for what a layer has to give, has it computed, and builds the views; layer.h says for whom.
 *
 * A head that is asked for twice, or shares its keys with others, is a pointer more and no copy. Context vectors lie side by side, [T_q, heads * d_v], which
 * is what an output projection reads, and attn_output where there is none; all heads are there when one follows, else the kept ones only. Maps that an
 * analysis needs are held like those that are shown.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/layer.h"

enum {
    CONTEXT_USES = ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_ATTN_OUTPUT),
    MAP_ANALYSES = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT) | ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)
};

/* ---- heads -------------------------------------------------------------------------------------------------------------- */

static bool holds_all(const attn_keep *keep)
{
    return keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
}

attn_status attn_head_choice_make(attn_head_choice *choice, const attn_keep *keep, size_t H, attn_arena *arena, attn_error *err)
{
    size_t asked = keep->heads ? keep->num_heads : H, places = 0;
    int32_t *slot = attn_arena_take(arena, H, sizeof *slot), *order = attn_arena_take(arena, asked, sizeof *order);
    if (!slot || !order)
        return attn_fail_memory(err);
    for (size_t h = 0; h < H; h++)
        slot[h] = -1;
    for (size_t i = 0; i < asked; i++) {
        size_t h = keep->heads ? (size_t)keep->heads[i] : i;
        if (slot[h] < 0)
            slot[h] = (int32_t)places++;
        order[i] = slot[h];
    }
    *choice = (attn_head_choice){ .heads = keep->heads, .asked = asked, .kept = places, .slot = slot, .order = order };
    for (size_t h = 0; h < H && holds_all(keep); h++)
        if (slot[h] < 0)
            slot[h] = (int32_t)places++;
    choice->held = places;
    return ATTN_OK;
}

attn_head_choice attn_head_choice_most(const attn_keep *keep, size_t H)
{
    size_t asked = keep->heads ? keep->num_heads : H, kept = attn_least(asked, H);
    return (attn_head_choice){ .heads = keep->heads, .asked = asked, .kept = kept, .held = holds_all(keep) ? H : kept };
}

uint64_t attn_head_choice_bytes(const attn_head_choice *choice, size_t H)
{
    return attn_plus(attn_arena_bytes(H, sizeof(int32_t)), attn_arena_bytes(choice->asked, sizeof(int32_t)));
}

static bool is_shown(const attn_head_choice *choice, size_t h)
{
    return choice->slot[h] >= 0 && (size_t)choice->slot[h] < choice->kept;
}

bool attn_layer_shows_group(const attn_layer_run *run, size_t g)
{
    size_t share = run->in->num_attention_heads / run->in->num_key_value_heads;
    for (size_t h = g * share; h < (g + 1) * share; h++)
        if (is_shown(run->choice, h))
            return true;
    return false;
}

/* ---- what is wanted ----------------------------------------------------------------------------------------------------- */

static bool shows(const attn_layer_run *run, attn_output o)
{
    return run->want.outputs & ATTN_BIT(o);
}

static bool analyses(const attn_layer_run *run, attn_analyses some)
{
    return run->want.analyses & some;
}

static bool wants_context(const attn_layer_want *want)
{
    return want->projects || (want->outputs & CONTEXT_USES);
}

/* attn_output is all heads' contexts, or made of them. */
static bool wants_all_contexts(const attn_layer_want *want)
{
    return want->projects || (want->outputs & ATTN_BIT(ATTN_ATTN_OUTPUT));
}

bool attn_layer_attends(const attn_layer_want *want)
{
    return wants_context(want) || (want->outputs & ATTN_MAP_OUTPUTS) || want->analyses;
}

bool attn_layer_needs_value(const attn_layer_want *want)
{
    return wants_context(want) || (want->outputs & (ATTN_BIT(ATTN_VALUE) | ATTN_BIT(ATTN_VALUE_NORMS) | ATTN_BIT(ATTN_WEIGHTED_NORMS)));
}

static bool holds_map(const attn_layer_run *run, attn_output o)
{
    return (shows(run, o) && attn_output_is_map(o)) || (o == ATTN_ATTENTIONS && analyses(run, MAP_ANALYSES));
}

static size_t map_rows(const attn_layer_run *run)
{
    const attn_pool *pool = run->pool;
    return pool ? attn_pool_bins(pool->queries ? pool->num_queries : run->in->T_q, pool->size) : run->in->T_q;
}

static size_t map_columns(const attn_layer_run *run)
{
    const attn_pool *pool = run->pool;
    return pool ? attn_pool_bins(pool->keys ? pool->num_keys : run->in->T_k, pool->size) : run->in->T_k;
}

static float **map_of(attn_attention_out *out, attn_output o)
{
    switch (o) {
    case ATTN_ATTENTIONS:
        return &out->attentions;
    case ATTN_SCORES:
        return &out->scores;
    case ATTN_RAW_SCORES:
        return &out->raw_scores;
    default:
        return &out->weighted_norms;
    }
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

/* Flops of one product of all queries with all keys (or, the other way, of weights with values) at this width. */
static uint64_t product_flops(const attn_operator_input *in, uint64_t heads, uint64_t width)
{
    return attn_times(attn_times(attn_times(2, heads), attn_times(in->T_q, in->T_k)), width);
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Every pointer that makes attn_attention take memory is set, to nowhere. Heads that are not kept but have contexts need scratch that maps would spare. */
static attn_attention_out out_for_price(const attn_layer_run *run, bool keeps_all)
{
    static float somewhere;
    static const attn_analyst somebody;
    bool all_contexts = wants_all_contexts(&run->want), needs_scratch = !run->pool && all_contexts && !keeps_all;
    attn_attention_out out = { .context_of_kept = !all_contexts, .pool = run->pool, .transformed_norms = &somewhere };
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (holds_map(run, (attn_output)o) && !(needs_scratch && (o == ATTN_ATTENTIONS || o == ATTN_WEIGHTED_NORMS)))
            *map_of(&out, (attn_output)o) = &somewhere;
    out.context = wants_context(&run->want) ? &somewhere : NULL;
    out.analyst = analyses(run, ATTN_HEAD_ANALYSES) ? &somebody : NULL;
    return out;
}

static uint64_t held_bytes(const attn_layer_run *run)
{
    const attn_operator_input *in = run->in;
    const attn_head_choice *c = run->choice;
    uint64_t bytes = 0, contexts = wants_all_contexts(&run->want) ? in->num_attention_heads : c->held;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (holds_map(run, (attn_output)o))
            bytes = attn_plus(bytes, attn_arena_bytes(attn_times(attn_times(c->held, map_rows(run)), map_columns(run)), sizeof(float)));
    if (wants_context(&run->want))
        bytes = attn_plus(bytes, attn_arena_bytes(attn_times(attn_times(contexts, in->T_q), in->value_dim), sizeof(float)));
    if (shows(run, ATTN_WEIGHTED_NORMS))
        bytes = attn_plus(bytes, attn_arena_bytes(attn_times(in->num_attention_heads, in->T_k), sizeof(float)));
    if (shows(run, ATTN_VALUE_NORMS))
        bytes = attn_plus(bytes, attn_arena_bytes(attn_times(in->num_key_value_heads, in->T_k), sizeof(float)));
    if (analyses(run, ATTN_HEAD_ANALYSES))
        bytes = attn_plus(bytes, attn_arena_bytes(c->held, sizeof(attn_row_sums)));
    for (int a = 0; a < ATTN_NUM_HEAD_ANALYSES; a++)
        if (analyses(run, ATTN_ANALYSIS_BIT(a)))
            bytes = attn_plus(bytes, attn_arena_bytes(c->asked, sizeof(float)));
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)))
        bytes = attn_plus(bytes, attn_plus(attn_arena_bytes(attn_times(c->kept, c->kept), sizeof(float)), /* and as asked for */
                                           attn_arena_bytes(attn_times(c->asked, c->asked), sizeof(float))));
    return bytes;
}

static uint64_t working_bytes(const attn_runtime *runtime, const attn_layer_run *run, const attn_attention_out *out)
{
    const attn_operator_input *in = run->in;
    uint64_t pointers = attn_arena_bytes(run->choice->held, sizeof(float *)), views = 0, bytes = 0;
    if (attn_layer_attends(&run->want))
        bytes = attn_plus(attn_attention_bytes(runtime, in, out), attn_times(4, attn_arena_bytes(0, 0))); /* it takes no more than four blocks */
    if (shows(run, ATTN_WEIGHTED_NORMS))
        bytes = most(bytes, attn_transformed_norms_bytes(runtime, run));
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)))
        bytes = most(bytes, attn_plus(pointers, attn_head_distance_bytes(run->choice->kept, in->T_q, in->T_k)));
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_ROLLOUT)))
        bytes = most(bytes, attn_plus(pointers, attn_rollout_bytes(runtime, in->T_k)));
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (shows(run, (attn_output)o))
            views = attn_plus(views, attn_arena_bytes(run->choice->asked, sizeof(float *)));
    return most(bytes, views);
}

static uint64_t flops_of(const attn_layer_run *run, const attn_attention_out *out)
{
    const attn_operator_input *in = run->in;
    const attn_head_choice *c = run->choice;
    uint64_t T = in->T_k, flops = attn_attention_flops(in, out, c->held);
    if (shows(run, ATTN_WEIGHTED_NORMS))
        flops = attn_plus(flops, attn_times(attn_times(attn_times(2, c->held), T), attn_times(in->value_dim, in->output_dim)));
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)))
        flops = attn_plus(flops, product_flops(in, attn_times(c->kept, c->kept - 1) / 2, 1));
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_ROLLOUT)))
        flops = attn_plus(flops, product_flops(in, 1, T));
    return flops;
}

attn_layer_cost attn_layer_price(const attn_runtime *runtime, const attn_layer_run *run)
{
    bool keeps_all = !run->choice->heads || analyses(run, ATTN_ANALYSIS_BIT(ATTN_ROLLOUT)); /* a list may name one head many times */
    attn_attention_out out = out_for_price(run, keeps_all);
    return (attn_layer_cost){ .flops = flops_of(run, &out), .held = held_bytes(run), .working = working_bytes(runtime, run, &out) };
}

/* ---- memory ------------------------------------------------------------------------------------------------------------- */

/* count * rows * columns floats, or NULL. */
static float *take_floats(attn_arena *arena, size_t count, size_t rows, size_t columns)
{
    size_t n;
    return attn_mul(count, rows, &n) && attn_mul(n, columns, &n) ? attn_arena_take(arena, n, sizeof(float)) : NULL;
}

static bool take_maps(attn_layer_run *run)
{
    bool fine = true;
    for (int o = 0; o < ATTN_OUTPUT_COUNT && fine; o++)
        if (holds_map(run, (attn_output)o))
            fine = (*map_of(&run->out, (attn_output)o) = take_floats(run->arena, run->choice->held, map_rows(run), map_columns(run)));
    return fine;
}

static bool take_context(attn_layer_run *run)
{
    const attn_operator_input *in = run->in;
    if (!wants_context(&run->want))
        return true;
    bool all = wants_all_contexts(&run->want);
    size_t vectors = all ? in->num_attention_heads : run->choice->held;
    run->out.context_of_kept = !all;
    run->out.context = take_floats(run->arena, vectors, in->T_q, in->value_dim);
    run->out.context_head_stride = (ptrdiff_t)in->value_dim;
    run->out.context_row_stride = (ptrdiff_t)(vectors * in->value_dim);
    return run->out.context != NULL;
}

static bool take_analyses(attn_layer_run *run)
{
    const attn_head_choice *c = run->choice;
    bool fine = true;
    if (analyses(run, ATTN_HEAD_ANALYSES)) {
        run->out.analyst = run->analyst;
        fine = (run->out.sums = attn_arena_take(run->arena, c->held, sizeof *run->out.sums));
    }
    for (int a = 0; a < ATTN_NUM_HEAD_ANALYSES && fine; a++)
        if (analyses(run, ATTN_ANALYSIS_BIT(a)))
            fine = (run->analyses[a] = take_floats(run->arena, c->asked, 1, 1));
    if (fine && analyses(run, ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)))
        fine = (run->analyses[ATTN_HEAD_DISTANCE] = take_floats(run->arena, c->asked, c->asked, 1));
    run->analyses[ATTN_ROLLOUT] = run->rollout;
    return fine;
}

static bool take_norms(attn_layer_run *run)
{
    const attn_operator_input *in = run->in;
    if (shows(run, ATTN_WEIGHTED_NORMS) && !(run->transformed_norms = take_floats(run->arena, in->num_attention_heads, in->T_k, 1)))
        return false;
    run->out.transformed_norms = run->transformed_norms;
    return !shows(run, ATTN_VALUE_NORMS) || (run->value_norms = take_floats(run->arena, in->num_key_value_heads, in->T_k, 1));
}

/* ---- analyses ----------------------------------------------------------------------------------------------------------- */

static void write_means(attn_layer_run *run)
{
    for (int a = 0; a < ATTN_NUM_HEAD_ANALYSES; a++)
        for (size_t i = 0; run->analyses[a] && i < run->choice->asked; i++)
            run->analyses[a][i] = attn_row_sums_mean(&run->out.sums[run->choice->order[i]], (attn_analysis)a);
}

/* The first `heads` maps of weights, in the order of their slots. */
static attn_status view_weights(const attn_layer_run *run, size_t heads, attn_view *view, attn_error *err)
{
    size_t T_q = run->in->T_q, T_k = run->in->T_k;
    const float **head = attn_arena_take(run->arena, heads, sizeof *head);
    if (!head)
        return attn_fail_memory(err);
    for (size_t i = 0; i < heads; i++)
        head[i] = run->out.attentions + i * T_q * T_k;
    *view = (attn_view){ .head = head, .heads = heads, .rows = T_q, .cols = T_k, .row_stride = (ptrdiff_t)T_k };
    return ATTN_OK;
}

/* Distances between distinct heads, then between those asked for. */
static attn_status measure_distances(attn_layer_run *run, attn_error *err)
{
    const attn_head_choice *c = run->choice;
    float *out = run->analyses[ATTN_HEAD_DISTANCE], *distinct = take_floats(run->arena, c->kept, c->kept, 1);
    attn_view maps;
    if (!distinct)
        return attn_fail_memory(err);
    attn_status status = view_weights(run, c->kept, &maps, err);
    if (status == ATTN_OK)
        status = attn_head_distance(run->runtime, distinct, &maps, run->analyst, run->arena, run->cancel, err);
    for (size_t i = 0; i < c->asked && status == ATTN_OK; i++)
        for (size_t k = 0; k < c->asked; k++)
            out[i * c->asked + k] = distinct[(size_t)c->order[i] * c->kept + (size_t)c->order[k]];
    return status;
}

static attn_status roll_out(attn_layer_run *run, attn_error *err)
{
    attn_view maps;
    attn_status status = view_weights(run, run->choice->held, &maps, err);
    return status == ATTN_OK ? attn_rollout(run->runtime, run->rollout, run->earlier_rollout, &maps, run->arena, run->cancel, err) : status;
}

static attn_status analyse(attn_layer_run *run, attn_error *err)
{
    attn_status status = ATTN_OK;
    attn_arena_mark mark = attn_arena_save(run->arena);
    write_means(run);
    if (analyses(run, ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE)))
        status = measure_distances(run, err);
    attn_arena_rewind(run->arena, mark);
    if (status == ATTN_OK && analyses(run, ATTN_ANALYSIS_BIT(ATTN_ROLLOUT)))
        status = roll_out(run, err);
    attn_arena_rewind(run->arena, mark);
    return status;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

attn_status attn_layer_compute(attn_layer_run *run, attn_error *err)
{
    run->out = (attn_attention_out){ .slot = run->choice->slot, .pool = run->pool };
    if (!take_maps(run) || !take_context(run) || !take_norms(run) || !take_analyses(run))
        return attn_fail_memory(err);
    attn_status status = ATTN_OK;
    if (shows(run, ATTN_VALUE_NORMS))
        status = attn_value_norms(run, run->value_norms, err);
    if (status == ATTN_OK && shows(run, ATTN_WEIGHTED_NORMS))
        status = attn_transformed_norms(run, run->transformed_norms, err);
    if (status == ATTN_OK && attn_layer_attends(&run->want))
        status = attn_attention(run->runtime, run->in, &run->out, run->arena, run->cancel, err);
    return status == ATTN_OK ? analyse(run, err) : status;
}

/* ---- views -------------------------------------------------------------------------------------------------------------- */

/* Matrix i of a view. */
static const float *view_head(const attn_layer_run *run, attn_output output, size_t i)
{
    const attn_operator_input *in = run->in;
    size_t h = run->choice->heads ? (size_t)run->choice->heads[i] : i, g = h / (in->num_attention_heads / in->num_key_value_heads);
    size_t place = (size_t)run->choice->order[i];
    attn_attention_out out = run->out;
    switch (output) {
    case ATTN_CONTEXT:
        return out.context + (ptrdiff_t)(out.context_of_kept ? place : h) * out.context_head_stride;
    case ATTN_QUERY:
        return in->query.data + (ptrdiff_t)h * in->query.head_stride;
    case ATTN_KEY:
        return in->key.data + (ptrdiff_t)g * in->key.head_stride + (ptrdiff_t)run->first_key * in->key.row_stride;
    case ATTN_VALUE:
        return in->value.data + (ptrdiff_t)g * in->value.head_stride + (ptrdiff_t)run->first_key * in->value.row_stride;
    case ATTN_VALUE_NORMS:
        return run->value_norms + g * in->T_k + run->first_key;
    default:
        return *map_of(&out, output) + place * map_rows(run) * map_columns(run);
    }
}

static attn_view view_shape(const attn_layer_run *run, attn_output output)
{
    const attn_operator_input *in = run->in;
    size_t asked = run->choice->asked, keys = in->T_k - run->first_key;
    switch (output) {
    case ATTN_CONTEXT:
        return (attn_view){ .heads = asked, .rows = in->T_q, .cols = in->value_dim, .row_stride = run->out.context_row_stride };
    case ATTN_QUERY:
        return (attn_view){ .heads = asked, .rows = in->T_q, .cols = in->head_dim, .row_stride = in->query.row_stride };
    case ATTN_KEY:
        return (attn_view){ .heads = asked, .rows = keys, .cols = in->head_dim, .row_stride = in->key.row_stride };
    case ATTN_VALUE:
        return (attn_view){ .heads = asked, .rows = keys, .cols = in->value_dim, .row_stride = in->value.row_stride };
    case ATTN_VALUE_NORMS:
        return (attn_view){ .heads = asked, .rows = 1, .cols = keys, .row_stride = (ptrdiff_t)keys };
    default:
        return (attn_view){ .heads = asked, .rows = map_rows(run), .cols = map_columns(run), .row_stride = (ptrdiff_t)map_columns(run) };
    }
}

static attn_status build_view(const attn_layer_run *run, attn_output output, attn_view *view, attn_error *err)
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

/* What came in is finite, but what was made of it before (a projection, a rotation) need not be. Each head is looked at once, however often it was asked for. */
static attn_status check_heads(const attn_layer_run *run, attn_output output, attn_error *err)
{
    const attn_operator_input *in = run->in;
    const attn_kernels *kernels = attn_runtime_table(run->runtime);
    const attn_heads *x = output == ATTN_QUERY ? &in->query : output == ATTN_KEY ? &in->key : &in->value;
    size_t heads = output == ATTN_QUERY ? in->num_attention_heads : in->num_key_value_heads;
    size_t rows = output == ATTN_QUERY ? in->T_q : in->T_k, columns = output == ATTN_VALUE ? in->value_dim : in->head_dim;
    if (output != ATTN_QUERY && output != ATTN_KEY && output != ATTN_VALUE)
        return ATTN_OK;
    for (size_t g = 0; g < heads; g++) {
        bool shown = output == ATTN_QUERY ? is_shown(run->choice, g) : attn_layer_shows_group(run, g);
        for (size_t r = output == ATTN_QUERY ? 0 : run->first_key; shown && r < rows; r++)
            if (!kernels->all_finite(x->data + (ptrdiff_t)g * x->head_stride + (ptrdiff_t)r * x->row_stride, columns))
                return attn_fail(err, ATTN_E_OVERFLOW, attn_output_name(output), "a value is beyond float32");
    }
    return ATTN_OK;
}

attn_status attn_layer_show(const attn_layer_run *run, size_t number, const float *y, size_t columns, const attn_sink *sink, attn_error *err)
{
    attn_layer layer = { .stack = run->stack, .layer = number };
    attn_status status = ATTN_OK;
    for (int o = 0; o < ATTN_OUTPUT_COUNT && status == ATTN_OK; o++) {
        if (!shows(run, (attn_output)o) || o == ATTN_HIDDEN_STATES)
            continue;
        if (o == ATTN_ATTN_OUTPUT)
            layer.views[o] = (attn_view){ .head = &y, .heads = 1, .rows = run->in->T_q, .cols = columns, .row_stride = (ptrdiff_t)columns };
        else
            status = build_view(run, (attn_output)o, &layer.views[o], err);
        if (status == ATTN_OK)
            status = check_heads(run, (attn_output)o, err);
    }
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        layer.analyses[a] = run->analyses[a];
    return status == ATTN_OK ? sink->layer(sink->ctx, &layer, err) : status;
}
