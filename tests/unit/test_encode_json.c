/* Tensors written by api_json_rows read back with jansson as the same arrays and the same bits, however rows are split over blocks, threads and slices.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_json.h"
#include "memory_reply.h"
#include "unit.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static attn_runtime *rt;
static memory_reply reply;
static api_attention_request request;
static api_plan plan;

static void setup(void)
{
    attn_error err = { 0 };
    ck_assert_msg(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 3 }, &err) == ATTN_OK, "%s", err.text);
    attn_runtime_enter(rt);
    reply_init(&reply);
    request = (api_attention_request){ 0 };
    plan = (api_plan){ .request = &request };
}

static void teardown(void)
{
    reply_free(&reply);
    attn_runtime_leave(rt);
    attn_runtime_free(rt);
}

/* ---- a tensor to write ------------------------------------------------------------------------------------------------- */

typedef struct tensor {
    api_part part;
    size_t count, stride; /* numbers; floats from row to row */
    float *data;          /* rows `stride` apart */
    const float **matrix; /* slices * matrices of them */
    int32_t *ints;
} tensor;

static uint32_t seed;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed ^ seed >> 15;
}

/* Any finite float32, by its bits. */
static float any_float(void)
{
    for (;;) {
        uint32_t bits = next_random();
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x))
            return x;
    }
}

/* The longest text a float32 has: nine digits and an exponent of two. */
static float longest_float(void)
{
    return -1.17549435e-38f;
}

static float a_weight(void)
{
    return (float)(next_random() >> 8) / 16777216.0f;
}

/* dims as in the answer; the leading `slice_axes` make slices, the next make matrices, then rows and columns. */
static tensor make_tensor(size_t ndim, const size_t *dims, bool has_slices, bool has_heads, float (*value)(void))
{
    tensor t = { .part = { .output = ATTN_SCORES, .ndim = ndim, .slices = 1, .matrices = 1, .rows = 1, .columns = dims[ndim - 1] } };
    size_t a = 0;
    memcpy(t.part.dims, dims, ndim * sizeof *dims);
    if (has_slices)
        t.part.slices = dims[a++];
    if (has_heads)
        t.part.matrices = dims[a++];
    if (a + 1 < ndim)
        t.part.rows = dims[a++];
    size_t matrices = t.part.slices * t.part.matrices, rows = matrices * t.part.rows;
    t.count = rows * t.part.columns;
    t.stride = t.part.columns + 3;
    t.data = malloc(rows * t.stride * sizeof *t.data);
    t.matrix = malloc(matrices * sizeof *t.matrix);
    seed = (uint32_t)(t.count + ndim);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < t.stride; c++)
            t.data[r * t.stride + c] = c < t.part.columns ? value() : NAN;
    for (size_t m = 0; m < matrices; m++)
        t.matrix[m] = t.data + m * t.part.rows * t.stride;
    return t;
}

static void free_tensor(tensor *t)
{
    free(t->data);
    free(t->matrix);
    free(t->ints);
}

static float number_at(const tensor *t, size_t i)
{
    return t->data[i / t->part.columns * t->stride + i % t->part.columns];
}

/* Writes it slice by slice, as layers come. */
static void write_slices(const tensor *t)
{
    api_out out;
    api_out_init(&out, &reply.reply, (api_head){ .status = 200 });
    api_encode e = { .encoder = &api_json_encoder, .plan = &plan, .runtime = rt, .out = &out };
    for (size_t s = 0; s < t->part.slices; s++) {
        size_t first = s * t->part.matrices * t->part.rows;
        api_rows rows = { .matrix = t->matrix + s * t->part.matrices, .row_stride = (ptrdiff_t)t->stride, .matrices = t->part.matrices, .first = first };
        if (t->ints)
            rows = (api_rows){ .ints = t->ints + first * t->part.columns, .matrices = t->part.matrices, .first = first };
        api_json_rows(&e, &t->part, &rows);
    }
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_uint_eq(out.written, reply.length);
    ck_assert_uint_eq(reply.blocks, 0);
    ck_assert_uint_le(reply.length, api_json_part_bytes(&plan, &t->part));
}

/* ---- reading back --------------------------------------------------------------------------------------------------------- */

/* Fails unless `array` has these dimensions; numbers go to out in order, null as minus infinity. */
static void flatten(const json_t *array, const size_t *dims, size_t ndim, double **out)
{
    if (ndim == 0) {
        ck_assert(json_is_number(array) || json_is_null(array));
        *(*out)++ = json_is_null(array) ? (double)-INFINITY : json_number_value(array);
        return;
    }
    ck_assert(json_is_array(array));
    ck_assert_uint_eq(json_array_size(array), dims[0]);
    for (size_t i = 0; i < dims[0]; i++)
        flatten(json_array_get(array, i), dims + 1, ndim - 1, out);
}

static double *read_back(const tensor *t)
{
    json_error_t error;
    json_t *read = json_loadb(reply.body, reply.length, 0, &error);
    ck_assert_msg(read != NULL, "%s at %d: %.60s", error.text, error.position, reply.body + (error.position > 30 ? error.position - 30 : 0));
    double *numbers = malloc(t->count * sizeof *numbers), *end = numbers;
    flatten(read, t->part.dims, t->part.ndim, &end);
    ck_assert_uint_eq((size_t)(end - numbers), t->count);
    json_decref(read);
    return numbers;
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void check_exact(const tensor *t)
{
    write_slices(t);
    double *got = read_back(t);
    for (size_t i = 0; i < t->count; i++)
        if (!same_bits((float)got[i], number_at(t, i)))
            ck_abort_msg("number %zu: %.9g and not %.9g", i, got[i], (double)number_at(t, i));
    free(got);
}

/* The value of one base64 character, 64 for '='. */
static uint32_t digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    const char *at = strchr(digits, c);
    ck_assert(c != '\0' && at != NULL);
    return (uint32_t)(at - digits);
}

/* An oracle of its own. Returns the bytes; *n how many. */
static unsigned char *decode(const char *text, size_t length, size_t *n)
{
    ck_assert_uint_eq(length % 4, 0);
    unsigned char *bytes = malloc(length / 4 * 3 + 3);
    *n = 0;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t group = 0, padding = 0;
        for (size_t j = 0; j < 4; j++) {
            uint32_t digit = digit_of(text[i + j]);
            ck_assert(digit < 64 || i + 4 == length);
            padding += digit == 64;
            group = group << 6 | (digit & 63);
        }
        for (uint32_t j = 0; j < 3 - padding; j++)
            bytes[(*n)++] = (unsigned char)(group >> (16 - 8 * j));
    }
    return bytes;
}

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

static const struct shape {
    size_t ndim, dims[4];
    bool slices, heads;
} shapes[] = {
    { 4, { 1, 1, 1, 1 }, true, true },    { 4, { 2, 3, 5, 7 }, true, true },     { 4, { 6, 12, 16, 16 }, true, true }, { 4, { 2, 2, 100, 100 }, true, true },
    { 4, { 2, 1, 1, 4096 }, true, true }, { 4, { 1, 2, 3, 4095 }, true, true },  { 4, { 2, 2, 2, 4097 }, true, true }, { 4, { 1, 1, 2, 20000 }, true, true },
    { 4, { 3, 2, 5000, 1 }, true, true }, { 4, { 3, 2, 1, 1 }, true, true },     { 4, { 40, 1, 1, 2 }, true, true },   { 3, { 4, 5, 6 }, true, false },
    { 3, { 4, 5, 6 }, false, true },      { 3, { 7, 1, 1 }, true, false },       { 3, { 3, 4, 300 }, true, true },     { 2, { 4, 5 }, false, false },
    { 2, { 3, 9000 }, true, false },      { 2, { 128, 128 }, false, false },     { 1, { 1 }, false, false },           { 1, { 13 }, false, false },
    { 1, { 32768 }, false, false },       { 4, { 1, 1, 400, 400 }, true, true }, { 4, { 2, 3, 1, 4094 }, true, true }, { 4, { 5, 1, 64, 64 }, true, true },
};

enum { NUM_SHAPES = sizeof shapes / sizeof shapes[0] - (SANITIZED ? 4 : 0) }; /* the last ones are half of all numbers */

static tensor tensor_of(const struct shape *s, float (*value)(void))
{
    return make_tensor(s->ndim, s->dims, s->slices, s->heads, value);
}

START_TEST(any_float_in_any_shape_reads_back_with_the_same_bits)
{
    tensor t = tensor_of(&shapes[_i], any_float);
    check_exact(&t);
    free_tensor(&t);
}
END_TEST

START_TEST(the_longest_numbers_stay_within_their_blocks_and_bound)
{
    tensor t = tensor_of(&shapes[_i], longest_float);
    check_exact(&t);
    free_tensor(&t);
}
END_TEST

START_TEST(weights_stay_within_their_smaller_bound)
{
    tensor t = tensor_of(&shapes[_i], a_weight);
    t.part.output = ATTN_ATTENTIONS;
    check_exact(&t);
    free_tensor(&t);
}
END_TEST

static float a_mass(void)
{
    return 12345.678f;
}

/* The largest weights of many heads sum to more than 1, and so does what top_k leaves of them. */
START_TEST(what_top_k_drops_stays_within_its_bound)
{
    tensor t = tensor_of(&shapes[_i], a_mass);
    t.part.output = ATTN_ATTENTIONS;
    t.part.role = API_DROPPED;
    request.want.decimals = 2;
    write_slices(&t);
    free_tensor(&t);
}
END_TEST

START_TEST(minus_infinity_is_null)
{
    size_t dims[] = { 2, 3 };
    tensor t = make_tensor(2, dims, false, false, any_float);
    for (size_t i = 0; i < 3; i++)
        t.data[i] = -INFINITY;
    check_exact(&t);
    ck_assert(strncmp(reply.body, "[[null,null,null],[", 19) == 0);
    free_tensor(&t);
}
END_TEST

static float large_or_small(void)
{
    float x = any_float();
    return next_random() % 2 ? x : fmodf(x, 999999999.0f);
}

START_TEST(decimals_are_those_of_printf)
{
    tensor t = tensor_of(&shapes[_i], large_or_small);
    for (request.want.decimals = 1; request.want.decimals <= 9; request.want.decimals += 4) {
        reply_free(&reply);
        reply_init(&reply);
        write_slices(&t);
        double *got = read_back(&t);
        for (size_t i = 0; i < t.count; i++) {
            double x = (double)number_at(&t, i);
            char text[400];
            snprintf(text, sizeof text, "%.*f", request.want.decimals, x);
            double expected = fabs(x) < 1e9 ? strtod(text, NULL) : x;
            if (fabs(x) < 1e9 ? got[i] != expected : (float)got[i] != (float)x)
                ck_abort_msg("number %zu, %d decimals: %.17g and not %.17g", i, request.want.decimals, got[i], expected);
        }
        free(got);
    }
    free_tensor(&t);
}
END_TEST

START_TEST(halves_in_json_read_back_as_the_same_half)
{
    tensor t = tensor_of(&shapes[_i], any_float);
    request.want.dtype = API_FLOAT16;
    write_slices(&t);
    double *got = read_back(&t);
    for (size_t i = 0; i < t.count; i++) {
        float x = number_at(&t, i), read = (float)got[i];
        uint16_t expected, half;
        attn_to_half(rt, &expected, &x, 1);
        attn_to_half(rt, &half, &read, 1);
        if (half != expected)
            ck_abort_msg("number %zu: %.9g reads as half %04x and not %04x", i, (double)read, half, expected);
    }
    free(got);
    free_tensor(&t);
}
END_TEST

/* One string for the whole tensor: groups of three go on over rows and slices. */
static void check_base64(const tensor *t, const void *expected, size_t bytes)
{
    size_t n;
    request.want.encoding = API_ENCODING_BASE64;
    write_slices(t);
    unsigned char *got = decode(reply.body, reply.length, &n);
    ck_assert_uint_eq(n, bytes);
    ck_assert_mem_eq(got, expected, bytes);
    ck_assert_uint_le(api_json_part_bytes(&plan, &t->part), reply.length + 8);
    free(got);
}

START_TEST(base64_floats_carry_the_bits)
{
    tensor t = tensor_of(&shapes[_i], any_float);
    float *flat = malloc(t.count * sizeof *flat);
    t.data[0] = -INFINITY;
    for (size_t i = 0; i < t.count; i++)
        flat[i] = number_at(&t, i);
    check_base64(&t, flat, t.count * sizeof *flat);
    free(flat);
    free_tensor(&t);
}
END_TEST

START_TEST(base64_halves_are_rounded_and_keep_infinity)
{
    tensor t = tensor_of(&shapes[_i], any_float);
    uint16_t *flat = malloc(t.count * sizeof *flat);
    t.data[0] = -INFINITY;
    for (size_t i = 0; i < t.count; i++) {
        float x = number_at(&t, i);
        attn_to_half(rt, &flat[i], &x, 1);
    }
    ck_assert_uint_eq(flat[0], 0xfc00);
    request.want.dtype = API_FLOAT16;
    check_base64(&t, flat, t.count * sizeof *flat);
    free(flat);
    free_tensor(&t);
}
END_TEST

START_TEST(base64_bytes_are_weights_times_255)
{
    tensor t = tensor_of(&shapes[_i], a_weight);
    unsigned char *flat = malloc(t.count);
    for (size_t i = 0; i < t.count; i++)
        flat[i] = (unsigned char)floor(255.0 * (double)number_at(&t, i) + 0.5);
    request.want.dtype = API_UINT8;
    check_base64(&t, flat, t.count);
    free(flat);
    free_tensor(&t);
}
END_TEST

static void make_ints(tensor *t)
{
    t->part.role = API_INDICES;
    t->ints = malloc(t->count * sizeof *t->ints);
    for (size_t i = 0; i < t->count; i++)
        t->ints[i] = (int32_t)(next_random() >> (next_random() % 31) & INT32_MAX);
}

START_TEST(indices_are_integers_in_both_encodings)
{
    tensor t = tensor_of(&shapes[_i], any_float);
    make_ints(&t);
    request.want.dtype = API_FLOAT16; /* which is not theirs */
    write_slices(&t);
    double *got = read_back(&t);
    for (size_t i = 0; i < t.count; i++)
        ck_assert((int32_t)got[i] == t.ints[i]);
    free(got);
    reply_free(&reply);
    reply_init(&reply);
    check_base64(&t, t.ints, t.count * sizeof *t.ints);
    free_tensor(&t);
}
END_TEST

START_TEST(a_small_tensor_takes_no_block_of_its_own)
{
    tensor t = tensor_of(&shapes[2], a_weight); /* six slices of 3072 numbers */
    check_exact(&t);
    ck_assert_uint_le(reply.gives, 6);
    ck_assert_uint_le(reply.most_blocks, 1);
    free_tensor(&t);
}
END_TEST

static int takes_left;

static bool few(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    return __atomic_sub_fetch(&takes_left, 1, __ATOMIC_RELAXED) >= 0;
}

START_TEST(without_blocks_the_writer_fails_and_holds_none)
{
    tensor t = tensor_of(&shapes[21], a_weight);
    takes_left = _i;
    attn_memory_hook(few, NULL);
    api_out out;
    api_out_init(&out, &reply.reply, (api_head){ .status = 200 });
    api_encode e = { .encoder = &api_json_encoder, .plan = &plan, .runtime = rt, .out = &out };
    api_json_rows(&e, &t.part, &(api_rows){ .matrix = t.matrix, .row_stride = (ptrdiff_t)t.stride, .matrices = 1 });
    attn_memory_hook(NULL, NULL);
    ck_assert_int_eq(api_out_end(&out), ATTN_E_NOMEM);
    api_out_abandon(&out);
    ck_assert_uint_eq(reply.blocks, 0);
    free_tensor(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encode_json");
    TCase *tcase = tcase_create("rows");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, any_float_in_any_shape_reads_back_with_the_same_bits, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, the_longest_numbers_stay_within_their_blocks_and_bound, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, weights_stay_within_their_smaller_bound, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, what_top_k_drops_stays_within_its_bound, 0, NUM_SHAPES);
    tcase_add_test(tcase, minus_infinity_is_null);
    tcase_add_loop_test(tcase, decimals_are_those_of_printf, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, halves_in_json_read_back_as_the_same_half, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, base64_floats_carry_the_bits, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, base64_halves_are_rounded_and_keep_infinity, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, base64_bytes_are_weights_times_255, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, indices_are_integers_in_both_encodings, 0, NUM_SHAPES);
    tcase_add_test(tcase, a_small_tensor_takes_no_block_of_its_own);
    tcase_add_loop_test(tcase, without_blocks_the_writer_fails_and_holds_none, 0, 12);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
