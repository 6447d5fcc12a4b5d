/* safetensors and npy hold the numbers of the JSON answer, bit for bit, in files that follow their formats to the letter and are as long as was said before.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor_json.h"

#define SAFETENSORS "application/vnd.safetensors"
#define NPY         "application/x-npy"
#define MASKED      "\"input_ids\":[[5,17,230,4000,17,8,99],[1,2,3]],\"attention_mask\":[[1,1,1,1,1,1,0],[1,1,1]]"
#define EVERYTHING                                                                                                                                             \
    "[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"context\",\"query\",\"key\",\"value\",\"value_norms\",\"attn_output\",\"hidden_states\"]"

/* Bodies without their last brace; `json` is what JSON needs to hold the same numbers. */
static const struct file_case {
    const char *body, *json;
} files[] = {
    { "{\"text\":\"The cat \\\"sat\\\" \\\\ on \\u0001\\u00e9.\"", "" },
    { "{\"text\":[\"The cat sat on the mat.\",\"A\"],\"layers\":[3,1,3],\"queries\":[0,1,-1],\"keys\":{\"start\":1},\"output\":" EVERYTHING, "" },
    { "{" MASKED ",\"output\":" EVERYTHING ",\"analyses\":[\"entropy\",\"induction\",\"rollout\",\"head_distance\"]", "" },
    { "{" MASKED ",\"output\":" EVERYTHING ",\"dtype\":\"float16\",\"analyses\":[\"entropy\"]", ",\"encoding\":\"base64\"" },
    { "{" MASKED ",\"output\":[\"attentions\"],\"dtype\":\"uint8\",\"reduce_heads\":\"max\"", ",\"encoding\":\"base64\"" },
    { "{" MASKED ",\"output\":[\"attentions\"],\"dtype\":\"uint8\",\"top_k\":3", ",\"encoding\":\"base64\"" },
    { "{" MASKED ",\"top_k\":2,\"dtype\":\"float16\"", "" },
    { "{" MASKED ",\"top_k\":3,\"reduce_layers\":\"mean\",\"reduce_heads\":\"mean\",\"output\":[\"attentions\",\"value_norms\"]", "" },
    { "{" MASKED ",\"output\":[],\"analyses\":[\"special_tokens\"]", "" },
    { "{" MASKED ",\"output\":[\"attentions\",\"scores\",\"context\"],\"pool\":{\"size\":3},\"keys\":[2,1,0,0,-1]", "" },
    { "{\"query\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"key\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"value\":[[[1],[2]],[[3],[4]]],\"attn_mask\":[[0,null],[1,0]],"
      "\"output\":[\"attentions\",\"scores\",\"value_norms\"],\"analyses\":[\"entropy\"]",
      "" },
};

enum { NUM_FILES = sizeof files / sizeof files[0] };

typedef struct file {
    answered answer;
    json_t *header;
    const unsigned char *data;
    size_t data_bytes;
} file;

static file take_file(const char *body)
{
    file f = { .answer = ask_as("/v1/attention", SAFETENSORS, body) };
    uint64_t length;
    ck_assert_int_eq(f.answer.outcome, API_OK);
    ck_assert(f.answer.has_length);
    ck_assert_uint_gt(f.answer.length, sizeof length);
    memcpy(&length, f.answer.body, sizeof length);
    ck_assert_uint_le(length, f.answer.length - sizeof length);
    ck_assert_uint_eq((sizeof length + length) % 8, 0);
    ck_assert_int_eq(f.answer.body[sizeof length], '{');
    f.header = json_loadb(f.answer.body + sizeof length, length, 0, NULL); /* spaces behind it are white space */
    ck_assert_ptr_nonnull(f.header);
    f.data = (const unsigned char *)f.answer.body + sizeof length + length;
    f.data_bytes = f.answer.length - sizeof length - (size_t)length;
    return f;
}

static void free_file(file *f)
{
    json_decref(f->header);
    answered_free(&f->answer);
}

static json_t *document_of(const file *f)
{
    const json_t *metadata = json_object_get(f->header, "__metadata__"), *text = json_object_get(metadata, "attnd");
    ck_assert_uint_eq(json_object_size(metadata), 1);
    ck_assert(json_is_string(text));
    json_t *document = json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(document);
    return document;
}

static const char *short_dtype(const json_t *tensor)
{
    const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
    return strcmp(dtype, "float16") == 0 ? "F16" : strcmp(dtype, "uint8") == 0 ? "U8" : strcmp(dtype, "int32") == 0 ? "I32" : "F32";
}

static double to_half(double x)
{
    float f = (float)x;
    uint16_t h;
    attn_to_half(fixture_runtime, &h, &f, 1);
    attn_from_half(fixture_runtime, &f, &h, 1);
    return (double)f;
}

/* The entry has the tensor's shape and dtype, and its bytes its numbers. Returns where they end. */
static size_t check_entry(const file *f, const char *name, const json_t *tensor)
{
    const json_t *entry = json_object_get(f->header, name);
    size_t offsets[2], n = count_of(tensor);
    ck_assert_msg(entry != NULL, "%s is not there", name);
    ck_assert_uint_eq(json_object_size(entry), 3);
    ck_assert(json_equal(json_object_get(entry, "shape"), json_object_get(tensor, "shape")));
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    ck_assert_str_eq(dtype, short_dtype(tensor));
    ck_assert_uint_eq(read_shape(json_object_get(entry, "data_offsets"), offsets), 2);
    ck_assert_uint_eq(offsets[1] - offsets[0], n * width_of(dtype));
    ck_assert_uint_le(offsets[1], f->data_bytes);
    double *numbers = malloc((n + 1) * sizeof *numbers), *expected = numbers_of(tensor);
    read_numbers(dtype, f->data + offsets[0], n, numbers);
    for (size_t i = 0; i < n; i++) {
        double x = strcmp(dtype, "F16") == 0 ? to_half(expected[i]) : strcmp(dtype, "F32") == 0 ? (double)(float)expected[i] : expected[i];
        ck_assert_msg(numbers[i] == x || (isnan(x) && isnan(numbers[i])), "%s, number %zu: %.9g and not %.9g", name, i, numbers[i], x);
    }
    free(numbers);
    free(expected);
    return offsets[1];
}

typedef struct walk {
    const file *file;
    size_t end, tensors;
    const json_t *axes; /* of the metadata */
} walk;

static void check_tensor(walk *w, size_t result, const char *name, const json_t *tensor)
{
    char full[160];
    snprintf(full, sizeof full, "results.%zu.%s", result, name);
    size_t end = check_entry(w->file, full, tensor);
    w->end = end > w->end ? end : w->end;
    w->tensors++;
    ck_assert(json_equal(json_object_get(w->axes, name), json_object_get(tensor, "axes")));
}

static void check_result(walk *w, size_t result, json_t *document, const json_t *meta)
{
    const char *name, *part;
    json_t *value, *tensor;
    size_t echoed = 0, before = w->tensors;
    w->axes = json_object_get(meta, "axes");
    json_object_foreach(document, name, value)
    {
        if (strcmp(name, "analyses") == 0 || json_object_get(value, "indices")) {
            json_object_foreach(value, part, tensor)
            {
                char both[100];
                snprintf(both, sizeof both, "%s.%s", name, part);
                check_tensor(w, result, both, tensor);
            }
        } else if (json_object_get(value, "shape")) {
            check_tensor(w, result, name, value);
        } else {
            ck_assert_msg(json_equal(value, json_object_get(meta, name)), "%s is another in the metadata", name);
            echoed++;
        }
    }
    ck_assert_uint_eq(json_object_size(meta), echoed + 1);
    ck_assert_uint_eq(json_object_size(w->axes), w->tensors - before);
}

/* Tensors lie one behind the other: sorted by where they begin, each begins where the last ended. */
static void check_no_holes(const file *f)
{
    size_t at = 0, offsets[2];
    const char *name;
    json_t *entry;
    json_object_foreach(f->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        read_shape(json_object_get(entry, "data_offsets"), offsets);
        ck_assert_msg(offsets[0] == at, "%s begins at %zu and not %zu", name, offsets[0], at);
        at = offsets[1];
    }
    ck_assert_uint_eq(at, f->data_bytes);
}

static void check_estimate(const char *path, const char *body, const answered *a)
{
    answered e = ask_as(path, NULL, body);
    ck_assert_int_eq(e.outcome, API_OK);
    size_t bytes = (size_t)json_integer_value(json_object_get(e.json, "response_bytes")),
           memory = (size_t)json_integer_value(json_object_get(e.json, "memory_bytes"));
    ck_assert_msg(a->length == bytes, "%zu bytes came, %zu were foreseen for %s", a->length, bytes, body);
    ck_assert_msg(a->peak + a->blocks * sizeof(api_block) <= memory, "%zu + %zu blocks held, %zu foreseen for %s", a->peak, a->blocks, memory, body);
    ck_assert_uint_eq(a->reserved, memory);
    answered_free(&e);
}

START_TEST(a_safetensors_file_holds_the_json_answer)
{
    char body[1000], json[1000];
    snprintf(body, sizeof body, "%s}", files[_i].body);
    snprintf(json, sizeof json, "%s%s}", files[_i].body, files[_i].json);
    answered whole = ask_well("/v1/attention", json);
    file f = take_file(body);
    json_t *meta = document_of(&f), *results = json_object_get(whole.json, "results");
    ck_assert(json_equal(json_object_get(meta, "model"), json_object_get(whole.json, "model")));
    ck_assert_uint_eq(json_array_size(json_object_get(meta, "results")), json_array_size(results));
    walk w = { .file = &f };
    for (size_t b = 0; b < json_array_size(results); b++)
        check_result(&w, b, json_array_get(results, b), json_array_get(json_object_get(meta, "results"), b));
    ck_assert_uint_eq(json_object_size(f.header), w.tensors + 1);
    ck_assert_uint_eq(w.end, f.data_bytes);
    check_no_holes(&f);
    check_estimate("/v1/estimate?accept=application/vnd.safetensors", body, &f.answer);
    json_decref(meta);
    free_file(&f);
    answered_free(&whole);
}
END_TEST

START_TEST(an_octet_stream_is_the_same_file)
{
    const char *body = "{\"text\":\"a b c\"}";
    answered a = ask_as("/v1/attention", SAFETENSORS, body), b = ask_as("/v1/attention", "application/octet-stream", body);
    ck_assert_uint_eq(a.length, b.length);
    ck_assert_mem_eq(a.body, b.body, a.length);
    answered_free(&a);
    answered_free(&b);
}
END_TEST

/* ---- npy ---------------------------------------------------------------------------------------------------------------- */

static const struct array_case {
    const char *body, *json, *group, *name, *literal;
} arrays[] = {
    { "{\"text\":\"a b c\"", "", NULL, "attentions", "'descr': '<f4', 'fortran_order': False, 'shape': (6, 8, 5, 5), " },
    { "{\"input_ids\":[1,2,3],\"output\":[\"scores\"],\"attention_mask\":[1,1,0],\"layers\":[2,1]", "", NULL, "scores",
      "'descr': '<f4', 'fortran_order': False, 'shape': (2, 8, 3, 3), " },
    { "{\"input_ids\":[1,2,3],\"output\":[\"context\"],\"dtype\":\"float16\"", ",\"encoding\":\"base64\"", NULL, "context",
      "'descr': '<f2', 'fortran_order': False, 'shape': (6, 8, 3, 32), " },
    { "{\"input_ids\":[1,2,3],\"dtype\":\"uint8\",\"reduce_heads\":\"mean\",\"reduce_layers\":\"mean\"", ",\"encoding\":\"base64\",\"output\":[\"attentions\"]",
      NULL, "attentions", "'descr': '|u1', 'fortran_order': False, 'shape': (3, 3), " },
    { "{\"input_ids\":[1,2,3],\"output\":[\"hidden_states\"]", "", NULL, "hidden_states", "'descr': '<f4', 'fortran_order': False, 'shape': (7, 3, 256), " },
    { "{\"input_ids\":[1,2,3],\"output\":[],\"analyses\":[\"entropy\"]", "", "analyses", "entropy",
      "'descr': '<f4', 'fortran_order': False, 'shape': (6, 8), " },
};

enum { NUM_ARRAYS = sizeof arrays / sizeof arrays[0] };

START_TEST(an_npy_file_is_one_tensor)
{
    const struct array_case *c = &arrays[_i];
    char body[1000], json[1000];
    snprintf(body, sizeof body, "%s}", c->body);
    snprintf(json, sizeof json, "%s%s%s}", c->body, c->json, strstr(c->body, "output") || strstr(c->json, "output") ? "" : ",\"output\":[\"attentions\"]");
    answered whole = ask_well("/v1/attention", json), a = ask_as("/v1/attention", NPY, body);
    ck_assert_msg(a.outcome == API_OK, "%s for %s", api_code_name(a.outcome), body);
    ck_assert(a.has_length);
    const unsigned char *bytes = (const unsigned char *)a.body;
    ck_assert_mem_eq(bytes, "\x93NUMPY\x01\x00", 8);
    size_t header = bytes[8] + 256u * bytes[9], n;
    ck_assert_uint_eq((10 + header) % 64, 0);
    ck_assert_int_eq(bytes[10], '{');
    ck_assert_mem_eq(bytes + 11, c->literal, strlen(c->literal));
    size_t at = 11 + strlen(c->literal);
    ck_assert_int_eq(bytes[at++], '}');
    for (; at < 9 + header; at++)
        ck_assert_int_eq(bytes[at], ' ');
    ck_assert_int_eq(bytes[at], '\n');
    json_t *result = json_array_get(json_object_get(whole.json, "results"), 0);
    const json_t *tensor = json_object_get(c->group ? json_object_get(result, c->group) : result, c->name);
    n = count_of(tensor);
    const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
    ck_assert_uint_eq(a.length, 10 + header + n * width_of(dtype));
    double *expected = numbers_of(tensor), *got = malloc((n + 1) * sizeof *got);
    read_numbers(dtype, bytes + 10 + header, n, got);
    for (size_t i = 0; i < n; i++)
        ck_assert((float)got[i] == (float)expected[i]);
    check_estimate("/v1/estimate?accept=application/x-npy", body, &a);
    free(expected);
    free(got);
    answered_free(&a);
    answered_free(&whole);
}
END_TEST

static const char *const several[] = {
    "{\"text\":[\"a\",\"b\"]}",
    "{\"text\":\"a\",\"output\":[\"attentions\",\"context\"]}",
    "{\"text\":\"a\",\"top_k\":1}",
    "{\"text\":\"a\",\"analyses\":[\"entropy\"]}",
    "{\"text\":\"a\",\"output\":[],\"analyses\":[\"entropy\",\"self\"]}",
};

START_TEST(what_is_more_than_one_tensor_is_no_npy)
{
    answered a = ask_as("/v1/attention", NPY, several[_i]);
    ck_assert_int_eq(a.outcome, API_UNSUPPORTED_COMBINATION);
    ck_assert_int_eq(a.http, 400);
    answered_free(&a);
}
END_TEST

/* ---- failures ----------------------------------------------------------------------------------------------------------- */

/* Exact lengths are promised before anything is computed; what fails before the first byte has left takes the promise back. */
START_TEST(a_failure_before_anything_has_left_is_an_honest_problem)
{
    answered a = ask_as("/v1/attention", SAFETENSORS, "{\"embeddings\":[[3e38,3e38],[3e38,3e38]],\"output\":[\"attentions\"]}");
    ck_assert_int_eq(a.status, ATTN_OK);
    ck_assert_int_eq(a.outcome, API_OVERFLOW);
    ck_assert_int_eq(a.http, 422);
    answered_free(&a);
}
END_TEST

START_TEST(a_client_that_goes_away_ends_it)
{
    memory_reply reply;
    api_code outcome;
    reply_init(&reply);
    reply.gone_after = 2;
    char body[4096] = "{\"input_ids\":[0";
    for (size_t t = 1; t < 200; t++)
        snprintf(body + strlen(body), sizeof body - strlen(body), ",%zu", t);
    snprintf(body + strlen(body), sizeof body - strlen(body), "]}");
    ck_assert_int_eq(reply_request_as(&reply, &service, "/v1/attention", SAFETENSORS, body, &outcome, NULL), ATTN_E_CANCELLED);
    ck_assert_uint_eq(reply.gives, 2);
    ck_assert_uint_eq(reply.blocks, 0);
    reply_free(&reply);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encode_tensors");
    TCase *tcase = tcase_create("files");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_loop_test(tcase, a_safetensors_file_holds_the_json_answer, 0, NUM_FILES);
    tcase_add_test(tcase, an_octet_stream_is_the_same_file);
    tcase_add_loop_test(tcase, an_npy_file_is_one_tensor, 0, NUM_ARRAYS);
    tcase_add_loop_test(tcase, what_is_more_than_one_tensor_is_no_npy, 0, sizeof several / sizeof several[0]);
    tcase_add_test(tcase, a_failure_before_anything_has_left_is_an_honest_problem);
    tcase_add_test(tcase, a_client_that_goes_away_ends_it);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
