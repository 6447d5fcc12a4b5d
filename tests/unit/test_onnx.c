/* test_onnx.c - every case of the ONNX Attention operator, through attn_operator_run and with every table of kernels.
 *
 * The cases, where they come from and how their terms translate: tests/golden/onnx-attention/README.md. Tests run in the root of the repository.
 * ONNX's fourth score output (mode 1, softcapped but not masked) has no name here: it is `scores` of the same case without its mask.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "attn_attention.h"
#include "math/kernels.h"
#include "unit.h"

enum { CASES = 88, MOST_DIMS = 4 };

static json_t *cases; /* read before any test is forked */

typedef struct tensor {
    size_t rank, shape[MOST_DIMS];
    float *data; /* NULL: the case has none of that name; null is -INFINITY */
    bool half, boolean;
} tensor;

static tensor tensor_read(const json_t *tensors, const char *name)
{
    tensor t = { 0 };
    const json_t *object = json_object_get(tensors, name), *shape = json_object_get(object, "shape"), *data = json_object_get(object, "data");
    if (!object)
        return t;
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    t.half = strcmp(dtype, "float16") == 0;
    t.boolean = strcmp(dtype, "bool") == 0;
    t.rank = json_array_size(shape);
    ck_assert_uint_le(t.rank, MOST_DIMS);
    for (size_t i = 0; i < t.rank; i++)
        t.shape[i] = (size_t)json_integer_value(json_array_get(shape, i));
    t.data = malloc((json_array_size(data) + 1) * sizeof *t.data);
    ck_assert_ptr_nonnull(t.data);
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *value = json_array_get(data, i);
        t.data[i] = json_is_null(value) ? -INFINITY : (float)json_number_value(value);
    }
    return t;
}

static long long attribute(const json_t *one, const char *name, long long otherwise)
{
    const json_t *value = json_object_get(json_object_get(one, "attributes"), name);
    return value ? json_integer_value(value) : otherwise;
}

static double real_attribute(const json_t *one, const char *name, double otherwise)
{
    const json_t *value = json_object_get(json_object_get(one, "attributes"), name);
    return value ? json_number_value(value) : otherwise;
}

/* One case, and of it the batch item that is being run. */
typedef struct onnx_case {
    const json_t *json;
    tensor q, k, v, mask, past_key, past_value, lengths;
    tensor y, qk, present_key, present_value;
    size_t item;
    long long mode;
    float *key, *value, *add; /* of one item: past and present together; the mask in full */
    attn_operator_input in;
} onnx_case;

static void read_case(onnx_case *c, const json_t *json)
{
    const json_t *inputs = json_object_get(json, "inputs"), *outputs = json_object_get(json, "outputs");
    *c = (onnx_case){ .json = json };
    c->q = tensor_read(inputs, "Q");
    c->k = tensor_read(inputs, "K");
    c->v = tensor_read(inputs, "V");
    c->mask = tensor_read(inputs, "attn_mask");
    c->past_key = tensor_read(inputs, "past_key");
    c->past_value = tensor_read(inputs, "past_value");
    c->lengths = tensor_read(inputs, "nonpad_kv_seqlen");
    c->y = tensor_read(outputs, "Y");
    c->qk = tensor_read(outputs, "qk_matmul_output");
    c->present_key = tensor_read(outputs, "present_key");
    c->present_value = tensor_read(outputs, "present_value");
    c->mode = attribute(json, "qk_matmul_output_mode", 0);
}

static void free_case(onnx_case *c)
{
    float *all[] = { c->q.data, c->k.data,  c->v.data,           c->mask.data,          c->past_key.data, c->past_value.data, c->lengths.data,
                     c->y.data, c->qk.data, c->present_key.data, c->present_value.data, c->key,           c->value,           c->add };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* [B, H, T, d] as it is, [B, T, H*d] packed. */
static attn_heads item_of(const tensor *t, size_t item, size_t heads, size_t *T, size_t *d)
{
    *T = t->shape[t->rank - 2];
    *d = t->rank == 4 ? t->shape[3] : t->shape[2] / heads;
    const float *data = t->data + item * heads * *T * *d;
    if (t->rank == 4)
        return (attn_heads){ data, (ptrdiff_t)(*T * *d), (ptrdiff_t)*d };
    return (attn_heads){ data, (ptrdiff_t)*d, (ptrdiff_t)(heads * *d) };
}

/* Past and present rows of one item, [G, past + T, d]. */
static float *join(const tensor *past, const tensor *now, size_t item, size_t G, size_t *T_k, size_t *d)
{
    size_t before = past->data ? past->shape[2] : 0, T;
    attn_heads heads = item_of(now, item, G, &T, d);
    *T_k = before + T;
    float *joined = malloc(G * *T_k * *d * sizeof *joined);
    ck_assert_ptr_nonnull(joined);
    for (size_t g = 0; g < G; g++) {
        float *to = joined + g * *T_k * *d;
        for (size_t t = 0; t < before; t++)
            memcpy(to + t * *d, past->data + ((item * G + g) * before + t) * *d, *d * sizeof *to);
        for (size_t t = 0; t < T; t++)
            memcpy(to + (before + t) * *d, heads.data + (ptrdiff_t)g * heads.head_stride + (ptrdiff_t)t * heads.row_stride, *d * sizeof *to);
    }
    return joined;
}

/* What the mask says of (head, query, key) of the item, broadcast from the right; keys it does not reach are hidden. */
static float mask_at(const onnx_case *c, size_t h, size_t i, size_t j)
{
    size_t index[MOST_DIMS] = { c->item, h, i, j }, at = 0;
    const tensor *m = &c->mask;
    if (j >= m->shape[m->rank - 1])
        return -INFINITY;
    for (size_t axis = 0; axis < m->rank; axis++)
        at = at * m->shape[axis] + (m->shape[axis] == 1 ? 0 : index[MOST_DIMS - m->rank + axis]);
    if (m->boolean)
        return m->data[at] > 0.0f ? 0.0f : -INFINITY;
    return m->data[at];
}

static void set_mask(onnx_case *c)
{
    size_t H = c->in.num_attention_heads, T_q = c->in.T_q, T_k = c->in.T_k;
    if (!c->mask.data)
        return;
    c->add = realloc(c->add, H * T_q * T_k * sizeof *c->add);
    ck_assert_ptr_nonnull(c->add);
    for (size_t n = 0; n < H * T_q * T_k; n++)
        c->add[n] = mask_at(c, n / T_k / T_q, n / T_k % T_q, n % T_k);
    c->in.rules.mask = (attn_mask){ .add = c->add, .head_stride = (ptrdiff_t)(T_q * T_k), .query_stride = (ptrdiff_t)T_k, .key_stride = 1 };
}

static void set_rules(onnx_case *c)
{
    attn_rules *rules = &c->in.rules;
    *rules = (attn_rules){ .scale = (float)real_attribute(c->json, "scale", 1.0 / sqrt((double)c->in.head_dim)) };
    rules->softcap = (float)real_attribute(c->json, "softcap", 0.0);
    rules->is_causal = attribute(c->json, "is_causal", 0) != 0;
    rules->left_window_size = attribute(c->json, "left_window_size", -1);
    rules->right_window_size = attribute(c->json, "right_window_size", -1);
    rules->query_offset = c->past_key.data ? (int64_t)c->past_key.shape[2] : 0;
    rules->key_length = c->in.T_k;
    if (c->lengths.data) {
        rules->key_length = (size_t)c->lengths.data[c->item];
        if (rules->is_causal || rules->left_window_size >= 0 || rules->right_window_size >= 0)
            rules->query_offset = (int64_t)rules->key_length - (int64_t)c->in.T_q;
    }
}

static void set_item(onnx_case *c, size_t item)
{
    size_t unused;
    attn_operator_input *in = &c->in;
    c->item = item;
    in->num_attention_heads = c->q.rank == 4 ? c->q.shape[1] : (size_t)attribute(c->json, "q_num_heads", 0);
    in->num_key_value_heads = c->k.rank == 4 ? c->k.shape[1] : (size_t)attribute(c->json, "kv_num_heads", 0);
    in->query = item_of(&c->q, item, in->num_attention_heads, &in->T_q, &in->head_dim);
    free(c->key);
    free(c->value);
    c->key = join(&c->past_key, &c->k, item, in->num_key_value_heads, &in->T_k, &unused);
    c->value = join(&c->past_value, &c->v, item, in->num_key_value_heads, &in->T_k, &in->value_dim);
    in->key = (attn_heads){ c->key, (ptrdiff_t)(in->T_k * in->head_dim), (ptrdiff_t)in->head_dim };
    in->value = (attn_heads){ c->value, (ptrdiff_t)(in->T_k * in->value_dim), (ptrdiff_t)in->value_dim };
    set_rules(c);
    set_mask(c);
}

/* ---- comparing ---------------------------------------------------------------------------------------------------------- */

/* mine against the head's rows in `expected`, [B, heads, rows, cols] or packed; head h of mine reads head h / repeat. */
static void check_view(const onnx_case *c, const attn_view *mine, const tensor *expected, size_t repeat)
{
    size_t heads = mine->heads / repeat, T, d;
    attn_heads theirs = item_of(expected, c->item, heads, &T, &d);
    const char *name = json_string_value(json_object_get(c->json, "name"));
    ck_assert_msg(mine->rows == T && mine->cols == d, "%s: %zu x %zu", name, mine->rows, mine->cols);
    double tolerance = c->q.half ? 1e-2 : 1e-5;
    for (size_t n = 0; n < mine->heads * T * d; n++) {
        size_t h = n / d / T, t = n / d % T;
        float a = mine->head[h][(ptrdiff_t)t * mine->row_stride + (ptrdiff_t)(n % d)];
        float b = theirs.data[(ptrdiff_t)(h / repeat) * theirs.head_stride + (ptrdiff_t)t * theirs.row_stride + (ptrdiff_t)(n % d)];
        double error = a == b ? 0.0 : fabs((double)a - (double)b);
        ck_assert_msg(error <= tolerance, "%s, item %zu, head %zu, row %zu: %.9g instead of %.9g", name, c->item, h, t, (double)a, (double)b);
    }
}

static attn_output score_output(const onnx_case *c)
{
    static const attn_output outputs[] = { ATTN_RAW_SCORES, ATTN_SCORES, ATTN_SCORES, ATTN_ATTENTIONS };
    return outputs[c->mode];
}

static attn_status check_scores(void *ctx, const attn_layer *layer, attn_error *err)
{
    (void)err;
    const onnx_case *c = ctx;
    check_view(c, &layer->views[score_output(c)], &c->qk, 1);
    return ATTN_OK;
}

static attn_status check_layer(void *ctx, const attn_layer *layer, attn_error *err)
{
    const onnx_case *c = ctx;
    size_t group = c->in.num_attention_heads / c->in.num_key_value_heads;
    ck_assert_uint_eq(layer->layer, 0);
    check_view(c, &layer->views[ATTN_CONTEXT], &c->y, 1);
    if (c->present_key.data)
        check_view(c, &layer->views[ATTN_KEY], &c->present_key, group);
    if (c->present_value.data)
        check_view(c, &layer->views[ATTN_VALUE], &c->present_value, group);
    return c->qk.data && c->mode != 1 ? check_scores(ctx, layer, err) : ATTN_OK;
}

static void run(attn_runtime *runtime, onnx_case *c, attn_outputs outputs, attn_status (*check)(void *, const attn_layer *, attn_error *))
{
    attn_arena *arena = attn_arena_new();
    attn_error err = { 0 };
    attn_sink sink = { .ctx = c, .layer = check };
    attn_keep keep = { .outputs = outputs };
    attn_status status = attn_operator_run(runtime, &c->in, &keep, arena, NULL, &sink, &err);
    ck_assert_msg(status == ATTN_OK, "%s: %s", err.where, err.text);
    attn_arena_free(arena);
}

static void check_items(attn_runtime *runtime, onnx_case *c)
{
    attn_outputs outputs = ATTN_BIT(ATTN_CONTEXT) | ATTN_BIT(ATTN_KEY) | ATTN_BIT(ATTN_VALUE);
    for (size_t item = 0; item < c->q.shape[0]; item++) {
        set_item(c, item);
        run(runtime, c, outputs | ATTN_BIT(score_output(c)), check_layer);
        if (!c->qk.data || c->mode != 1)
            continue;
        c->in.rules.mask = (attn_mask){ 0 };
        run(runtime, c, ATTN_BIT(ATTN_SCORES), check_scores);
    }
}

START_TEST(the_operator_gives_what_onnx_expects)
{
    ck_assert_uint_eq(json_array_size(cases), CASES);
    onnx_case c;
    read_case(&c, json_array_get(cases, (size_t)_i));
    for (size_t table = 0; attn_kernels_all()[table]; table++) {
        attn_runtime *runtime = NULL;
        attn_runtime_options options = { .threads = 1, .kernels = attn_kernels_all()[table]->name };
        ck_assert_int_eq(attn_runtime_new(&runtime, &options, NULL), ATTN_OK);
        check_items(runtime, &c);
        attn_runtime_free(runtime);
    }
    free_case(&c);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("onnx");
    TCase *tc = tcase_create("onnx");
    tcase_add_loop_test(tc, the_operator_gives_what_onnx_expects, 0, CASES);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    json_error_t error;
    cases = json_load_file("tests/golden/onnx-attention/cases.json", 0, &error);
    if (!cases)
        fprintf(stderr, "tests/golden/onnx-attention/cases.json: %s\n", error.text);
    int status = unit_main(suite());
    json_decref(cases);
    return status;
}
