/* Whatever is selected, reduced or encoded: the answer is what the full answer says, cut down by hand; and it costs what was said before.
 *
 * One full answer with every output is taken first; then random requests for parts of it, each checked number by number against the full one;
 * bins are made here in double from the numbers that fall into them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor_json.h"

#include <stdio.h>

enum { L = 6, H = 8, T = 9, MOST = 12, ROUNDS = 60, SEEDS = 6 };

#define IDS "[5,17,230,4000,17,8,99,1234,7]"

/* ---- the full answer ----------------------------------------------------------------------------------------------------- */

typedef struct full {
    size_t heads, rows, columns;
    double *data; /* [L, heads, rows, columns]; hidden states: L + 1 of them */
} full;

static full fulls[ATTN_OUTPUT_COUNT];
static json_t *full_analyses;

static const char *const all_outputs =
    "[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"context\",\"query\",\"key\",\"value\",\"value_norms\",\"attn_output\",\"hidden_states\"]";
static const char *const all_analyses =
    "[\"entropy\",\"confidence\",\"mean_distance\",\"self\",\"previous_token\",\"next_token\",\"first_token\",\"special_tokens\",\"duplicate_token\","
    "\"induction\",\"rollout\",\"head_distance\"]";

static bool has_heads(int o)
{
    return o != ATTN_ATTN_OUTPUT && o != ATTN_HIDDEN_STATES;
}

static void take_full(void)
{
    char body[1000];
    snprintf(body, sizeof body, "{\"input_ids\":" IDS ",\"attention_mask\":[1,1,1,1,1,1,1,1,0],\"output\":%s,\"analyses\":%s}", all_outputs, all_analyses);
    answered a = ask_well("/v1/attention", body);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        const json_t *tensor = follow(a.json, "results", attn_output_name((attn_output)o));
        size_t dims[4], n = shape_of(tensor, dims);
        ck_assert_uint_eq(n, has_heads(o) && o != ATTN_VALUE_NORMS ? 4 : 3);
        ck_assert_uint_eq(dims[0], o == ATTN_HIDDEN_STATES ? L + 1 : L);
        fulls[o] =
            (full){ .heads = has_heads(o) ? dims[1] : 1, .rows = o == ATTN_VALUE_NORMS ? 1 : dims[n - 2], .columns = dims[n - 1], .data = numbers_of(tensor) };
    }
    full_analyses = json_incref(follow(a.json, "results", "analyses"));
    json_decref(a.json);
}

static double full_at(int o, size_t layer, size_t head, size_t row, size_t column)
{
    const full *f = &fulls[o];
    return f->data[((layer * f->heads + head) * f->rows + row) * f->columns + column];
}

/* ---- random requests ------------------------------------------------------------------------------------------------------ */

static uint32_t seed;

static uint32_t dice(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

typedef struct choice {
    size_t count, list[MOST];
    char json[200]; /* "" for all */
    bool ordered;
} choice;

static choice all_of(size_t n)
{
    choice c = { .count = n, .ordered = true };
    for (size_t i = 0; i < n; i++)
        c.list[i] = i;
    return c;
}

static choice slice_of(const char *name, size_t n)
{
    choice c = { .ordered = true };
    size_t start = dice((uint32_t)n), stop = start + 1 + dice((uint32_t)(n - start));
    for (size_t i = start; i < stop; i++)
        c.list[c.count++] = i;
    snprintf(c.json, sizeof c.json, ",\"%s\":{\"start\":%d,\"stop\":%d}", name, dice(2) ? (int)start : (int)start - (int)n, stop == n ? 1000 : (int)stop);
    return c;
}

static choice list_of(const char *name, size_t n, bool ordered)
{
    choice c = { .ordered = true };
    size_t used = (size_t)snprintf(c.json, sizeof c.json, ",\"%s\":", name);
    for (size_t i = 0; i < 1 + dice(5); i++) {
        size_t index = ordered && c.count ? c.list[c.count - 1] + 1 : dice((uint32_t)n);
        if (index >= n)
            break;
        c.ordered = c.ordered && (c.count == 0 || index > c.list[c.count - 1]);
        used += (size_t)snprintf(c.json + used, sizeof c.json - used, "%c%d", c.count ? ',' : '[', dice(2) ? (int)index : (int)index - (int)n);
        c.list[c.count++] = index;
    }
    snprintf(c.json + used, sizeof c.json - used, "]");
    return c;
}

static choice any_choice(const char *name, size_t n)
{
    switch (dice(4)) {
    case 0:
        return all_of(n);
    case 1:
        return slice_of(name, n);
    default:
        return list_of(name, n, dice(2) == 0);
    }
}

typedef struct question {
    choice layers, heads, queries, keys;
    attn_outputs outputs;
    attn_analyses analyses;
    int reduce_heads, reduce_layers; /* 0 none, 1 mean, 2 max */
    size_t top_k, pool;              /* 0: none */
    int pool_mode;                   /* as above */
    bool base64, half;
    char json[2000];
} question;

static const char *const reductions[] = { "null", "\"mean\"", "\"max\"" };

static size_t write_names(char *dst, size_t size, uint32_t set, int count, const char *(*name)(int))
{
    size_t used = 0;
    dst[0] = '\0';
    for (int i = 0; i < count; i++)
        if (set >> i & 1)
            used += (size_t)snprintf(dst + used, size - used, "%s\"%s\"", used ? "," : "", name(i));
    return used;
}

static const char *output_name(int o)
{
    return attn_output_name((attn_output)o);
}

static const char *analysis_name(int a)
{
    return attn_analysis_name((attn_analysis)a);
}

static void write_question(question *q)
{
    char outputs[300], analyses[300];
    write_names(outputs, sizeof outputs, q->outputs, ATTN_OUTPUT_COUNT, output_name);
    write_names(analyses, sizeof analyses, q->analyses, ATTN_ANALYSIS_COUNT, analysis_name);
    size_t used =
        (size_t)snprintf(q->json, sizeof q->json, "{\"input_ids\":" IDS ",\"attention_mask\":[1,1,1,1,1,1,1,1,0],\"output\":[%s],\"analyses\":[%s]%s%s%s%s",
                         outputs, analyses, q->layers.json, q->heads.json, q->queries.json, q->keys.json);
    used += (size_t)snprintf(q->json + used, sizeof q->json - used, ",\"reduce_heads\":%s,\"reduce_layers\":%s", reductions[q->reduce_heads],
                             reductions[q->reduce_layers]);
    if (q->top_k)
        used += (size_t)snprintf(q->json + used, sizeof q->json - used, ",\"top_k\":%zu", q->top_k);
    if (q->pool)
        used += (size_t)snprintf(q->json + used, sizeof q->json - used, ",\"pool\":{\"size\":%zu,\"mode\":%s}", q->pool, reductions[q->pool_mode]);
    snprintf(q->json + used, sizeof q->json - used, ",\"encoding\":\"%s\",\"dtype\":\"%s\"}", q->base64 ? "base64" : "json", q->half ? "float16" : "float32");
}

static question any_question(void)
{
    question q = { .layers = any_choice("layers", L), .heads = any_choice("heads", H), .queries = any_choice("queries", T), .keys = any_choice("keys", T) };
    q.outputs = dice(1u << ATTN_OUTPUT_COUNT);
    if (dice(2) || !q.outputs)
        q.analyses = 1 + dice((1u << ATTN_ANALYSIS_COUNT) - 1);
    if (q.outputs & ATTN_MAP_OUTPUTS) {
        q.reduce_heads = (int)dice(3);
        q.reduce_layers = (int)dice(3);
        q.pool = dice(2) ? 1 + dice(T + 2) : 0;
    }
    if (q.pool) {
        q.pool_mode = 1 + (int)dice(2);
        q.analyses &= ATTN_HEAD_ANALYSES;
    } else if ((q.outputs & ATTN_BIT(ATTN_ATTENTIONS)) && dice(2)) {
        q.top_k = 1 + dice(T + 2);
    }
    q.base64 = dice(2);
    q.half = q.reduce_heads != 1 && q.reduce_layers != 1 && !q.pool && dice(3) == 0; /* a mean may round to either half */
    write_question(&q);
    return q;
}

/* ---- what it must be -------------------------------------------------------------------------------------------------------- */

static bool is_map(int o)
{
    return attn_output_is_map((attn_output)o);
}

static double fold(int how, double so_far, double x, bool first)
{
    if (first)
        return x;
    return how == 1 ? so_far + x : fmax(so_far, x);
}

static size_t edge_of(size_t n, size_t bins, size_t b)
{
    return b * n / bins;
}

/* Bins of an axis on which n were chosen. */
static size_t bins_of(const question *q, size_t n)
{
    return q->pool && q->pool < n ? q->pool : n;
}

/* A map's number: r and c are original, or with a pool those of bins. */
static double cell(const question *q, int o, size_t layer, size_t head, size_t r, size_t c)
{
    const choice *rows = &q->queries, *columns = &q->keys;
    size_t R = bins_of(q, rows->count), C = bins_of(q, columns->count), n = 0;
    if (!q->pool || !is_map(o))
        return full_at(o, layer, head, r, c);
    double total = 0;
    for (size_t i = edge_of(rows->count, R, r); i < edge_of(rows->count, R, r + 1); i++)
        for (size_t j = edge_of(columns->count, C, c); j < edge_of(columns->count, C, c + 1); j++, n++)
            total = fold(q->pool_mode, total, full_at(o, layer, head, rows->list[i], columns->list[j]), n == 0);
    return q->pool_mode == 1 ? total / (double)n : total;
}

/* The number at row r, column c of layer and head positions l and h, reductions done; r and c as cell has them. */
static double expected_at(const question *q, int o, size_t l, size_t h, size_t r, size_t c)
{
    bool over_layers = is_map(o) && q->reduce_layers, over_heads = is_map(o) && q->reduce_heads;
    double total = 0;
    for (size_t i = over_layers ? 0 : l; i < (over_layers ? q->layers.count : l + 1); i++) {
        double one = 0;
        for (size_t j = over_heads ? 0 : h; j < (over_heads ? q->heads.count : h + 1); j++)
            one = fold(q->reduce_heads, one, cell(q, o, q->layers.list[i], has_heads(o) ? q->heads.list[j] : 0, r, c), j == (over_heads ? 0 : h));
        if (over_heads && q->reduce_heads == 1)
            one /= (double)q->heads.count;
        total = fold(q->reduce_layers, total, one, i == (over_layers ? 0 : l));
    }
    return over_layers && q->reduce_layers == 1 ? total / (double)q->layers.count : total;
}

static double to_half(double x)
{
    float f = (float)x;
    uint16_t h;
    attn_to_half(fixture_runtime, &h, &f, 1);
    attn_from_half(fixture_runtime, &f, &h, 1);
    return (double)f;
}

static void check_number(const question *q, int o, double got, double expected)
{
    if (q->half) { /* shortest text that reads back as the same half */
        got = to_half(got);
        expected = to_half(expected);
    }
    bool exact = !q->pool && (!is_map(o) || (q->reduce_heads != 1 && q->reduce_layers != 1)); /* pooled runs sum in another order, layer after layer */
    double tolerance = q->pool ? 1e-5 : 2e-6;
    bool same = exact || isinf(expected) ? (float)got == (float)expected : fabs(got - expected) <= tolerance * fmax(1, fabs(expected));
    if (!same)
        ck_abort_msg("%s: %.9g and not %.9g for %s", attn_output_name((attn_output)o), got, expected, q->json);
}

static void check_shape(const question *q, const json_t *tensor, const size_t *dims, size_t ndim)
{
    size_t got[8];
    ck_assert_msg(shape_of(tensor, got) == ndim, "%zu axes expected for %s", ndim, q->json);
    ck_assert_uint_eq(json_array_size(json_object_get(tensor, "axes")), ndim);
    for (size_t i = 0; i < ndim; i++)
        ck_assert_msg(got[i] == dims[i], "axis %zu: %zu and not %zu for %s", i, got[i], dims[i], q->json);
}

typedef struct extent {
    size_t layers, heads; /* positions, 1 where reduced */
    size_t dims[4], ndim; /* those two, where they are axes */
} extent;

static extent extent_of(const question *q, int o)
{
    extent e = { .layers = 1, .heads = 1 };
    if (!is_map(o) || !q->reduce_layers)
        e.dims[e.ndim++] = e.layers = q->layers.count;
    if (has_heads(o) && (!is_map(o) || !q->reduce_heads))
        e.dims[e.ndim++] = e.heads = q->heads.count;
    return e;
}

static size_t original(const question *q, int o, const choice *list, size_t i)
{
    return q->pool && is_map(o) ? i : list->list[i];
}

static void check_plain(const question *q, int o, const json_t *tensor)
{
    bool over_keys = o == ATTN_KEY || o == ATTN_VALUE, norms = o == ATTN_VALUE_NORMS;
    const choice *rows = over_keys ? &q->keys : &q->queries;
    bool keyed = is_map(o) || norms;
    size_t num_rows = norms ? 1 : is_map(o) ? bins_of(q, rows->count) : rows->count, at = 0;
    size_t columns = is_map(o) ? bins_of(q, q->keys.count) : norms ? q->keys.count : fulls[o].columns;
    extent e = extent_of(q, o);
    if (!norms)
        e.dims[e.ndim++] = num_rows;
    e.dims[e.ndim++] = columns;
    check_shape(q, tensor, e.dims, e.ndim);
    double *got = numbers_of(tensor);
    for (size_t l = 0; l < e.layers; l++)
        for (size_t h = 0; h < e.heads; h++)
            for (size_t r = 0; r < num_rows; r++)
                for (size_t c = 0; c < columns; c++)
                    check_number(q, o, got[at++], expected_at(q, o, l, h, norms ? 0 : original(q, o, rows, r), keyed ? original(q, o, &q->keys, c) : c));
    free(got);
}

/* States l + 1 of the layers chosen; all of them, and state 0, where none were. */
static void check_states(const question *q, const json_t *result)
{
    const json_t *tensor = json_object_get(result, "hidden_states"), *echo = json_object_get(result, "states");
    size_t states = q->layers.json[0] ? q->layers.count : L + 1, at = 0;
    size_t dims[] = { states, q->queries.count, fulls[ATTN_HIDDEN_STATES].columns };
    check_shape(q, tensor, dims, 3);
    ck_assert_uint_eq(json_array_size(echo), states);
    double *got = numbers_of(tensor);
    for (size_t s = 0; s < states; s++) {
        size_t state = q->layers.json[0] ? q->layers.list[s] + 1 : s;
        ck_assert_int_eq(json_integer_value(json_array_get(echo, s)), (json_int_t)state);
        for (size_t r = 0; r < dims[1]; r++)
            for (size_t c = 0; c < dims[2]; c++)
                check_number(q, ATTN_HIDDEN_STATES, got[at++], full_at(ATTN_HIDDEN_STATES, state, 0, q->queries.list[r], c));
    }
    free(got);
}

static const json_t *element(const json_t *array, size_t i)
{
    return json_array_get(array, i);
}

/* One number of the full answer's analyses. */
static double full_analysis(int a, size_t layer, size_t i, size_t j)
{
    const json_t *data = element(json_object_get(json_object_get(full_analyses, analysis_name(a)), "data"), layer);
    return json_number_value(a < ATTN_ROLLOUT ? element(data, i) : element(element(data, i), j));
}

/* Layers and heads choose among them; queries, keys and reductions change none. */
static void check_analysis(const question *q, int a, const json_t *tensor)
{
    size_t heads = q->heads.count, dims[3] = { q->layers.count, a == ATTN_ROLLOUT ? T : heads, a == ATTN_ROLLOUT ? T : heads }, at = 0;
    check_shape(q, tensor, dims, a < ATTN_ROLLOUT ? 2 : 3);
    if (a < ATTN_ROLLOUT)
        dims[2] = 1;
    double *got = numbers_of(tensor);
    for (size_t l = 0; l < dims[0]; l++)
        for (size_t i = 0; i < dims[1]; i++)
            for (size_t j = 0; j < dims[2]; j++, at++) {
                bool by_head = a != ATTN_ROLLOUT;
                double expected =
                    full_analysis(a, q->layers.list[l], by_head ? q->heads.list[i] : i, by_head ? q->heads.list[a == ATTN_HEAD_DISTANCE ? j : 0] : j);
                double x = q->half ? to_half(got[at]) : got[at], y = q->half ? to_half(expected) : expected;
                if (fabs(x - y) > (q->pool ? 1e-5 : 1e-6) * fmax(1, fabs(y)))
                    ck_abort_msg("%s: %.9g and not %.9g for %s", analysis_name(a), x, y, q->json);
            }
    free(got);
}

/* The distinct keys of the choice, best first: by value, ties by number. */
static size_t rank_keys(const question *q, const double *row, size_t *best)
{
    size_t n = 0;
    for (size_t i = 0; i < q->keys.count; i++) {
        size_t key = q->keys.list[i], at = 0;
        while (at < n && best[at] != key)
            at++;
        if (at < n)
            continue;
        for (at = n++; at > 0 && (row[key] > row[best[at - 1]] || (!(row[key] < row[best[at - 1]]) && key < best[at - 1])); at--)
            best[at] = best[at - 1];
        best[at] = key;
    }
    return n;
}

static void check_ranks(const question *q, const double *row, const double *indices, const double *values, double dropped)
{
    size_t best[T], n = rank_keys(q, row, best), k = q->top_k < n ? q->top_k : n;
    bool exact = q->reduce_heads != 1 && q->reduce_layers != 1;
    double left = 0;
    for (size_t i = 0; i < T; i++)
        left += row[i];
    for (size_t i = 0; i < k; i++) {
        ck_assert(indices[i] >= 0 && indices[i] < T);
        ck_assert_msg(!exact || (size_t)indices[i] == best[i], "rank %zu is key %g and not %zu for %s", i, indices[i], best[i], q->json);
        check_number(q, ATTN_ATTENTIONS, values[i], row[best[i]]);
        check_number(q, ATTN_ATTENTIONS, values[i], row[(size_t)indices[i]]);
        left -= row[best[i]];
    }
    ck_assert_msg(fabs(dropped - fmax(left, 0)) <= (q->half ? 1e-3 * fmax(1, left) : 2e-6), "dropped %.9g and not %.9g for %s", dropped, left, q->json);
}

static void check_top_k(const question *q, const json_t *tensor)
{
    size_t row_of[T], rank = rank_keys(q, (const double[T]){ 0 }, row_of), at = 0;
    rank = rank < q->top_k ? rank : q->top_k;
    extent e = extent_of(q, ATTN_ATTENTIONS);
    e.dims[e.ndim++] = q->queries.count;
    check_shape(q, json_object_get(tensor, "dropped"), e.dims, e.ndim);
    e.dims[e.ndim++] = rank;
    check_shape(q, json_object_get(tensor, "indices"), e.dims, e.ndim);
    check_shape(q, json_object_get(tensor, "values"), e.dims, e.ndim);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(tensor, "indices"), "dtype")), "int32");
    double *indices = numbers_of(json_object_get(tensor, "indices")), *values = numbers_of(json_object_get(tensor, "values"));
    double *dropped = numbers_of(json_object_get(tensor, "dropped"));
    for (size_t l = 0; l < e.layers; l++)
        for (size_t h = 0; h < e.heads; h++)
            for (size_t r = 0; r < q->queries.count; r++, at++) {
                double row[T];
                for (size_t c = 0; c < T; c++)
                    row[c] = expected_at(q, ATTN_ATTENTIONS, l, h, q->queries.list[r], c);
                check_ranks(q, row, indices + at * rank, values + at * rank, dropped[at]);
            }
    free(indices);
    free(values);
    free(dropped);
}

static void check_echo(const question *q, json_t *result, const char *name, const choice *c, bool always)
{
    const json_t *echo = json_object_get(result, name);
    ck_assert_msg((echo != NULL) == (always || c->json[0] != '\0'), "%s echoed wrongly for %s", name, q->json);
    ck_assert(!echo || json_array_size(echo) == c->count);
    for (size_t i = 0; echo && i < c->count; i++)
        ck_assert_int_eq(json_integer_value(json_array_get(echo, i)), (json_int_t)c->list[i]);
}

static void check_edges(const question *q, const json_t *edges, size_t n)
{
    size_t bins = bins_of(q, n);
    ck_assert_uint_eq(json_array_size(edges), bins + 1);
    for (size_t b = 0; b <= bins; b++)
        ck_assert_int_eq(json_integer_value(json_array_get(edges, b)), (json_int_t)edge_of(n, bins, b));
}

static void check_pool(const question *q, const json_t *pool)
{
    ck_assert_int_eq(pool != NULL, q->pool > 0);
    if (!pool)
        return;
    ck_assert_uint_eq((size_t)json_integer_value(json_object_get(pool, "size")), q->pool);
    ck_assert_str_eq(json_string_value(json_object_get(pool, "mode")), q->pool_mode == 1 ? "mean" : "max");
    check_edges(q, json_object_get(pool, "query_edges"), q->queries.count);
    check_edges(q, json_object_get(pool, "key_edges"), q->keys.count);
}

/* What /v1/estimate said is what came: shapes, and bounds that hold and are not absurd. */
static void check_estimate(const question *q, const answered *a, json_t *result)
{
    answered e = ask_well("/v1/estimate", q->json);
    ck_assert(json_is_true(json_object_get(e.json, "allowed")));
    ck_assert_uint_eq(e.compute_ns, 0);
    const char *name;
    json_t *shape, *shapes = follow(e.json, "results", "shapes");
    json_object_foreach(shapes, name, shape)
    {
        json_t *tensor = json_object_get(result, name);
        const char *part;
        json_t *inner;
        if (json_is_array(shape))
            ck_assert(json_equal(shape, json_object_get(tensor, "shape")));
        else
            json_object_foreach(shape, part, inner) ck_assert(json_equal(inner, json_object_get(json_object_get(tensor, part), "shape")));
        ck_assert(json_is_array(shape) || json_object_size(shape) == json_object_size(tensor));
    }
    size_t bytes = (size_t)json_integer_value(json_object_get(e.json, "response_bytes")),
           memory = (size_t)json_integer_value(json_object_get(e.json, "memory_bytes"));
    ck_assert_msg(a->length <= bytes && bytes <= 4 * a->length + 1000, "%zu bytes came, %zu were foreseen for %s", a->length, bytes, q->json);
    ck_assert_msg(a->peak + a->blocks * sizeof(api_block) <= memory, "%zu + %zu blocks held, %zu foreseen for %s", a->peak, a->blocks, memory, q->json);
    ck_assert_uint_eq(a->reserved, memory);
    json_decref(e.json);
}

/* ---- tests --------------------------------------------------------------------------------------------------------------------- */

static void setup(void)
{
    fixture_setup();
    take_full();
}

static void teardown(void)
{
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        free(fulls[o].data);
    json_decref(full_analyses);
    fixture_teardown();
}

static void check_question(const question *q)
{
    answered a = ask_well("/v1/attention", q->json);
    json_t *result = json_array_get(json_object_get(a.json, "results"), 0), *analyses = json_object_get(result, "analyses");
    check_echo(q, result, "layers", &q->layers, true);
    check_echo(q, result, "heads", &q->heads, true);
    check_echo(q, result, "queries", &q->queries, false);
    check_echo(q, result, "keys", &q->keys, false);
    check_pool(q, json_object_get(result, "pool"));
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        const json_t *tensor = json_object_get(result, attn_output_name((attn_output)o));
        ck_assert_int_eq(tensor != NULL, (q->outputs & ATTN_BIT(o)) != 0);
        if (tensor && o == ATTN_ATTENTIONS && q->top_k)
            check_top_k(q, tensor);
        else if (tensor && o == ATTN_HIDDEN_STATES)
            check_states(q, result);
        else if (tensor)
            check_plain(q, o, tensor);
    }
    ck_assert_int_eq(analyses != NULL, q->analyses != 0);
    for (int i = 0; i < ATTN_ANALYSIS_COUNT; i++) {
        const json_t *tensor = json_object_get(analyses, analysis_name(i));
        ck_assert_int_eq(tensor != NULL, (q->analyses >> i & 1) != 0);
        if (tensor)
            check_analysis(q, i, tensor);
    }
    check_estimate(q, &a, result);
    json_decref(a.json);
}

START_TEST(any_part_of_an_answer_is_that_part_of_the_full_one)
{
    seed = (uint32_t)_i + 1;
    for (int round = 0; round < ROUNDS; round++) {
        question q = any_question();
        check_question(&q);
    }
}
END_TEST

START_TEST(tensors_stand_in_the_order_of_the_contract)
{
    answered a = ask_well("/v1/attention", "{\"input_ids\":[1,2],\"layers\":[0],\"analyses\":[\"self\"],\"pool\":{\"size\":1},\"output\":"
                                           "[\"hidden_states\",\"attn_output\",\"value_norms\",\"value\",\"context\",\"weighted_norms\",\"attentions\"]}");
    static const char *const order[] = { "tokens",  "layers", "heads",       "states",      "pool",          "attentions", "weighted_norms",
                                         "context", "value",  "value_norms", "attn_output", "hidden_states", "analyses" };
    const char *name;
    json_t *member;
    size_t i = 0;
    json_object_foreach(json_array_get(json_object_get(a.json, "results"), 0), name, member)
    {
        ck_assert_uint_lt(i, 13);
        ck_assert_str_eq(name, order[i++]);
    }
    ck_assert_uint_eq(i, 13);
    json_decref(a.json);
}
END_TEST

/* Ascending layers are written as they come; the same layers the other way round are held, and priced. */
START_TEST(layers_out_of_order_cost_memory)
{
    char body[4096] = "{\"output\":[\"attentions\"],\"input_ids\":[", up[4096 + 64], down[4096 + 64];
    size_t used = strlen(body), map = sizeof(float) * H * 300 * 300;
    for (int t = 0; t < 300; t++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s%d", t ? "," : "", t);
    snprintf(up, sizeof up, "%s],\"layers\":[0,1,2,3]}", body);
    snprintf(down, sizeof down, "%s],\"layers\":[3,2,1,0]}", body);
    answered a = ask_well("/v1/attention", up), b = ask_well("/v1/attention", down);
    ck_assert_uint_ge(b.peak, a.peak + 3 * map);
    ck_assert_uint_ge(b.reserved, b.peak);
    ck_assert_uint_le(b.reserved, 2 * b.peak + 16 * map);
    json_t *first = json_array_get(json_object_get(follow(a.json, "results", "attentions"), "data"), 3);
    json_t *last = json_array_get(json_object_get(follow(b.json, "results", "attentions"), "data"), 0);
    ck_assert(json_equal(first, last));
    json_decref(a.json);
    json_decref(b.json);
}
END_TEST

/* Of 200 tokens; what follows the ids. */
static const char *const costly[] = {
    ",\"output\":[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"context\",\"value_norms\",\"hidden_states\"]",
    ",\"output\":[\"hidden_states\"],\"layers\":[5,0,5]",
    ",\"output\":[],\"analyses\":[\"rollout\",\"head_distance\",\"induction\"]",
    ",\"output\":[\"attentions\"],\"layers\":[1,0],\"heads\":[0],\"analyses\":[\"rollout\",\"special_tokens\"]",
    ",\"output\":[\"attentions\",\"scores\",\"weighted_norms\"],\"pool\":{\"size\":32},\"reduce_layers\":\"mean\"",
    ",\"output\":[\"attentions\"],\"pool\":{\"size\":7,\"mode\":\"max\"},\"keys\":{\"start\":100},\"layers\":[2,1]",
    ",\"output\":[\"attentions\",\"context\"],\"pool\":{\"size\":64},\"queries\":[199,0,7],\"reduce_heads\":\"max\",\"analyses\":[\"entropy\"]",
    ",\"top_k\":5,\"keys\":{\"stop\":120},\"reduce_layers\":\"max\"",
    ",\"output\":[\"attentions\",\"value\",\"value_norms\",\"hidden_states\"],\"queries\":{\"stop\":150},\"keys\":{\"start\":3},\"reduce_heads\":\"mean\"",
};

START_TEST(what_long_inputs_hold_is_foreseen_in_every_form)
{
    static const char *const forms[] = { "application/json", "application/x-ndjson", "application/vnd.safetensors" };
    char body[4096] = "{\"input_ids\":[0", path[100];
    size_t used = strlen(body);
    for (int t = 1; t < 200; t++)
        used += (size_t)snprintf(body + used, sizeof body - used, ",%d", t);
    snprintf(body + used, sizeof body - used, "]%s}", costly[_i]);
    for (size_t f = 0; f < 3; f++) {
        snprintf(path, sizeof path, "/v1/estimate?accept=%s", forms[f]);
        answered e = ask_as(path, NULL, body), a = ask_as("/v1/attention", forms[f], body);
        ck_assert_int_eq(e.outcome, API_OK);
        ck_assert_int_eq(a.outcome, API_OK);
        size_t bytes = (size_t)json_integer_value(json_object_get(e.json, "response_bytes")),
               memory = (size_t)json_integer_value(json_object_get(e.json, "memory_bytes")), held = a.peak + a.blocks * sizeof(api_block);
        ck_assert_msg(a.length <= bytes && bytes <= 3 * a.length, "%zu bytes came, %zu were foreseen for %s in %s", a.length, bytes, costly[_i], forms[f]);
        ck_assert_msg(held <= memory && memory <= 2 * held + (4 << 20), "%zu held, %zu foreseen for %s in %s", held, memory, costly[_i], forms[f]);
        answered_free(&e);
        answered_free(&a);
    }
}
END_TEST

/* What nothing was chosen of is one map a terminal can show. */
START_TEST(text_without_a_selection_is_the_mean_over_heads_of_the_last_layer)
{
    static const struct {
        const char *more;
        size_t layers, heads; /* heads 0: reduced */
    } texts[] = {
        { "", 1, 0 }, { ",\"queries\":[0]", 1, 0 }, { ",\"heads\":[1]", L, 1 }, { ",\"layers\":[0,1]", 2, H }, { ",\"reduce_heads\":\"max\"", L, 0 }
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"input_ids\":" IDS "%s}", texts[i].more);
        answered e = ask_as("/v1/estimate?accept=text/plain", NULL, body);
        ck_assert_int_eq(e.outcome, API_OK);
        size_t dims[4], n = read_shape(json_object_get(follow(e.json, "results", "shapes"), "attentions"), dims);
        ck_assert_uint_eq(n, texts[i].heads ? 4 : 3);
        ck_assert_uint_eq(dims[0], texts[i].layers);
        ck_assert(!texts[i].heads || dims[1] == texts[i].heads);
        answered_free(&e);
    }
}
END_TEST

START_TEST(uint8_is_the_weight_in_255ths)
{
    answered a = ask_well("/v1/attention",
                          "{\"input_ids\":" IDS
                          ",\"attention_mask\":[1,1,1,1,1,1,1,1,0],\"output\":[\"attentions\"],\"layers\":[2],\"encoding\":\"base64\",\"dtype\":\"uint8\"}");
    const json_t *tensor = follow(a.json, "results", "attentions"), *data = json_object_get(tensor, "data");
    unsigned char bytes[4 * H * T * T];
    size_t n, bad;
    ck_assert_str_eq(json_string_value(json_object_get(tensor, "dtype")), "uint8");
    ck_assert(attn_base64_decode(fixture_runtime, bytes, &n, json_string_value(data), json_string_length(data), &bad));
    ck_assert_uint_eq(n, H * T * T);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(bytes[i], (int)floor(255 * full_at(ATTN_ATTENTIONS, 2, i / (T * T), i / T % T, i % T) + 0.5));
    json_decref(a.json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("attention_api");
    TCase *tcase = tcase_create("selections");
    tcase_set_timeout(tcase, 240);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, any_part_of_an_answer_is_that_part_of_the_full_one, 0, SEEDS);
    tcase_add_test(tcase, tensors_stand_in_the_order_of_the_contract);
    tcase_add_test(tcase, layers_out_of_order_cost_memory);
    tcase_add_loop_test(tcase, what_long_inputs_hold_is_foreseen_in_every_form, 0, sizeof costly / sizeof costly[0]);
    tcase_add_test(tcase, text_without_a_selection_is_the_mean_over_heads_of_the_last_layer);
    tcase_add_test(tcase, uint8_is_the_weight_in_255ths);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
