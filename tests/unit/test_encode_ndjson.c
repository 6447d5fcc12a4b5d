/* An answer in lines says what the answer in one document says, each line as soon as there is something to say, and it costs what was said before.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tensor_json.h"

enum { MOST_LINES = 64 };

#define NDJSON "application/x-ndjson"
#define MASKED "\"input_ids\":[[5,17,230,4000,17,8,99],[1,2,3]],\"attention_mask\":[[1,1,1,1,1,1,0],[1,1,1]]"
#define EVERYTHING                                                                                                                                             \
    "[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"context\",\"query\",\"key\",\"value\",\"value_norms\",\"attn_output\",\"hidden_states\"]"

static const char *const bodies[] = {
    "{\"text\":\"The cat sat.\"}",
    "{\"text\":[\"The cat sat on the mat.\",\"A\"],\"layers\":[3,1,3],\"queries\":[0,1,-1],\"keys\":{\"start\":1},\"output\":" EVERYTHING "}",
    "{" MASKED ",\"output\":" EVERYTHING ",\"analyses\":[\"entropy\",\"induction\",\"rollout\",\"head_distance\"]}",
    "{" MASKED ",\"output\":" EVERYTHING ",\"encoding\":\"base64\",\"heads\":[7,0,7]}",
    "{" MASKED ",\"output\":" EVERYTHING ",\"encoding\":\"base64\",\"dtype\":\"float16\",\"layers\":[5,4]}",
    "{" MASKED ",\"output\":[\"attentions\"],\"encoding\":\"base64\",\"dtype\":\"uint8\",\"reduce_heads\":\"max\"}",
    "{" MASKED ",\"top_k\":2,\"decimals\":4}",
    "{" MASKED ",\"top_k\":3,\"reduce_layers\":\"mean\",\"output\":[\"attentions\",\"value_norms\"]}",
    "{" MASKED ",\"reduce_layers\":\"max\",\"reduce_heads\":\"mean\",\"output\":[\"attentions\",\"scores\"]}",
    "{" MASKED ",\"reduce_layers\":\"max\",\"output\":[\"attentions\",\"scores\",\"hidden_states\"]}",
    "{" MASKED ",\"output\":[\"hidden_states\"]}",
    "{" MASKED ",\"output\":[\"hidden_states\"],\"layers\":[2,0]}",
    "{" MASKED ",\"output\":[\"hidden_states\"],\"analyses\":[\"self\"],\"layers\":[2,0]}",
    "{" MASKED ",\"output\":[],\"analyses\":[\"special_tokens\",\"duplicate_token\"]}",
    "{" MASKED ",\"output\":[\"attentions\",\"scores\",\"weighted_norms\",\"context\"],\"pool\":{\"size\":3,\"mode\":\"max\"},\"reduce_heads\":\"mean\"}",
    "{\"query\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"key\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"value\":[[[1],[2]],[[3],[4]]],\"attn_mask\":[[0,null],[1,0]],"
    "\"output\":[\"attentions\",\"scores\",\"value_norms\"],\"analyses\":[\"entropy\"]}",
};

enum { NUM_BODIES = sizeof bodies / sizeof bodies[0] };

typedef struct lines {
    size_t count;
    json_t *line[MOST_LINES];
} lines;

/* Every line is an object and nothing stands between them. */
static lines cut(const char *body, size_t length)
{
    lines l = { 0 };
    for (size_t at = 0; at < length; l.count++) {
        size_t n = strcspn(body + at, "\n");
        ck_assert_uint_lt(l.count, MOST_LINES);
        ck_assert_uint_lt(at + n, length);
        l.line[l.count] = json_loadb(body + at, n, JSON_ALLOW_NUL, NULL);
        ck_assert_msg(json_is_object(l.line[l.count]), "line %zu is no object: %.200s", l.count, body + at);
        at += n + 1;
    }
    return l;
}

static void free_lines(lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        json_decref(l->line[i]);
}

/* The line of a result that has this number under `name`; exactly one must. */
static json_t *line_of(const lines *l, size_t result, const char *name, json_int_t number)
{
    json_t *found = NULL;
    for (size_t i = 1; i + 1 < l->count; i++) {
        const json_t *of = json_object_get(l->line[i], name);
        if ((size_t)json_integer_value(json_object_get(l->line[i], "result")) != result || !of || json_integer_value(of) != number)
            continue;
        ck_assert_msg(!found, "%s %lld has two lines", name, (long long)number);
        found = l->line[i];
    }
    ck_assert_msg(found != NULL, "%s %lld has no line", name, (long long)number);
    return found;
}

static json_t *rest_of(const lines *l, size_t result)
{
    for (size_t i = 1; i + 1 < l->count; i++)
        if ((size_t)json_integer_value(json_object_get(l->line[i], "result")) == result && !json_object_get(l->line[i], "layer") &&
            !json_object_get(l->line[i], "state"))
            return l->line[i];
    ck_abort_msg("result %zu has no line for what all layers give", result);
}

/* Element i of the tensor's first axis, under the same name in a line, has the same shape, axes and numbers. */
static void check_slice(const char *name, const json_t *tensor, size_t i, const json_t *slice)
{
    size_t dims[8], other[8], n = shape_of(tensor, dims), count = 1;
    ck_assert_msg(slice != NULL, "no %s in its line", name);
    ck_assert_uint_eq(shape_of(slice, other) + 1, n);
    for (size_t a = 1; a < n; a++) {
        count *= dims[a];
        ck_assert_uint_eq(dims[a], other[a - 1]);
        ck_assert(json_equal(json_array_get(json_object_get(tensor, "axes"), a), json_array_get(json_object_get(slice, "axes"), a - 1)));
    }
    ck_assert(json_equal(json_object_get(tensor, "dtype"), json_object_get(slice, "dtype")));
    double *whole = numbers_of(tensor), *part = numbers_of(slice);
    ck_assert_msg(memcmp(whole + i * count, part, count * sizeof *part) == 0, "%s, element %zu: other numbers", name, i);
    free(whole);
    free(part);
}

/* One tensor of the document: each slice in the line of its layer or state, or all of it in the last line of its result. */
static void check_tensor(const lines *l, size_t result, const char *group, const char *name, const json_t *tensor, const json_t *document)
{
    const char *axis = json_string_value(json_array_get(json_object_get(tensor, "axes"), 0));
    bool by_state = strcmp(axis, "state") == 0, by_layer = strcmp(axis, "layer") == 0 && !(group && strcmp(group, "analyses") == 0);
    const json_t *numbers = json_object_get(document, by_state ? "states" : "layers");
    if (!by_state && !by_layer) {
        const json_t *in = group ? json_object_get(rest_of(l, result), group) : rest_of(l, result);
        ck_assert_msg(json_equal(json_object_get(in, name), tensor), "%s is another at the end", name);
        return;
    }
    for (size_t i = 0; i < json_array_size(numbers); i++) {
        json_int_t number = json_integer_value(json_array_get(numbers, i));
        bool own = by_state && number == 0;
        const json_t *line = line_of(l, result, own ? "state" : "layer", by_state && !own ? number - 1 : number);
        const json_t *in = group ? json_object_get(line, group) : line;
        check_slice(name, tensor, i, json_object_get(in, name));
    }
}

static bool is_tensor(const json_t *value)
{
    return json_object_get(value, "shape") != NULL;
}

/* Everything of a result that is no tensor stands in the first line, and nothing else does. */
static void check_result(const lines *l, size_t result, json_t *document)
{
    const char *name, *part;
    json_t *value, *tensor, *first = json_array_get(json_object_get(l->line[0], "results"), result);
    size_t echoed = 0;
    json_object_foreach(document, name, value)
    {
        bool is_group = strcmp(name, "analyses") == 0 || json_object_get(value, "indices");
        if (is_group) {
            json_object_foreach(value, part, tensor) check_tensor(l, result, name, part, tensor, document);
        } else if (is_tensor(value)) {
            check_tensor(l, result, NULL, name, value, document);
        } else {
            ck_assert_msg(json_equal(value, json_object_get(first, name)), "%s is another in the first line", name);
            echoed++;
        }
    }
    ck_assert_uint_eq(echoed, json_object_size(first));
}

/* Layers come in computed order, result after result. */
static void check_order(const lines *l)
{
    json_int_t last = -1;
    for (size_t i = 1; i + 1 < l->count; i++) {
        const json_t *layer = json_object_get(l->line[i], "layer"), *state = json_object_get(l->line[i], "state");
        json_int_t at = json_integer_value(json_object_get(l->line[i], "result")) * 1000;
        at += state ? 0 : layer ? 1 + json_integer_value(layer) : 999;
        ck_assert_int_gt(at, last);
        last = at;
    }
}

static void check_last(const lines *l)
{
    const json_t *last = l->line[l->count - 1], *timings = json_object_get(last, "timings");
    static const char *const stages[] = { "queue", "tokenize", "compute", "encode" };
    ck_assert(json_is_true(json_object_get(last, "done")));
    ck_assert_uint_eq(json_object_size(timings), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert(json_is_number(json_object_get(timings, stages[i])));
    ck_assert(json_number_value(json_object_get(timings, "compute")) > 0);
}

static void check_estimate(const char *body, const answered *a)
{
    answered e = ask_as("/v1/estimate?accept=application/x-ndjson", NULL, body);
    ck_assert_int_eq(e.outcome, API_OK);
    size_t bytes = (size_t)json_integer_value(json_object_get(e.json, "response_bytes")),
           memory = (size_t)json_integer_value(json_object_get(e.json, "memory_bytes"));
    ck_assert_msg(a->length <= bytes && bytes <= 4 * a->length + 1000, "%zu bytes came, %zu were foreseen for %s", a->length, bytes, body);
    ck_assert_msg(a->peak + a->blocks * sizeof(api_block) <= memory, "%zu + %zu blocks held, %zu foreseen for %s", a->peak, a->blocks, memory, body);
    ck_assert_uint_eq(a->reserved, memory);
    answered_free(&e);
}

START_TEST(lines_say_what_the_document_says)
{
    answered whole = ask_well("/v1/attention", bodies[_i]), a = ask_as("/v1/attention", NDJSON, bodies[_i]);
    ck_assert_int_eq(a.outcome, API_OK);
    ck_assert(!a.has_length);
    lines l = cut(a.body, a.length);
    ck_assert(json_equal(json_object_get(whole.json, "model"), json_object_get(l.line[0], "model")));
    json_t *results = json_object_get(whole.json, "results");
    ck_assert_uint_eq(json_array_size(json_object_get(l.line[0], "results")), json_array_size(results));
    for (size_t b = 0; b < json_array_size(results); b++)
        check_result(&l, b, json_array_get(results, b));
    check_order(&l);
    check_last(&l);
    check_estimate(bodies[_i], &a);
    free_lines(&l);
    answered_free(&a);
    answered_free(&whole);
}
END_TEST

START_TEST(reductions_alone_have_no_lines_of_layers)
{
    answered a = ask_as("/v1/attention", NDJSON, "{\"text\":\"a b\",\"output\":[\"attentions\"],\"reduce_layers\":\"mean\",\"analyses\":[\"entropy\"]}");
    lines l = cut(a.body, a.length);
    ck_assert_uint_eq(l.count, 3);
    ck_assert_ptr_nonnull(json_object_get(l.line[1], "attentions"));
    ck_assert_ptr_nonnull(json_object_get(json_object_get(l.line[1], "analyses"), "entropy"));
    free_lines(&l);
    answered_free(&a);
}
END_TEST

START_TEST(layers_alone_have_no_line_of_the_rest)
{
    answered a = ask_as("/v1/attention", NDJSON, "{\"text\":[\"a b\",\"c\"],\"layers\":[4,2,2]}");
    lines l = cut(a.body, a.length);
    ck_assert_uint_eq(l.count, 1 + 2 * 2 + 1);
    free_lines(&l);
    answered_free(&a);
}
END_TEST

/* ---- when --------------------------------------------------------------------------------------------------------------- */

/* A reply that calls the computation off when it has been given so many blocks. */
typedef struct caller_off {
    memory_reply memory;
    attn_cancel cancel;
    size_t after;
} caller_off;

static attn_status give_and_call_off(void *ctx, api_block *block)
{
    caller_off *c = ctx;
    attn_status st = reply_give(&c->memory, block);
    if (c->memory.gives == c->after)
        attn_cancel_raise(&c->cancel, ATTN_CLIENT_GONE);
    return st;
}

/* What came in the first blocks is complete lines, and nothing had been computed for the next ones: the computation, called off there, gives no more of them. */
START_TEST(each_line_leaves_before_the_next_is_computed)
{
    caller_off c = { .after = (size_t)_i };
    api_code outcome;
    reply_init(&c.memory);
    c.memory.reply.give = give_and_call_off;
    api_request request = { .method = "POST", .path = "/v1/attention", .accept = NDJSON, .request_id = "test", .body = "{\"text\":\"a b c\"}" };
    request.body_length = strlen(request.body);
    attn_status st = reply_handle(&c.memory, &service, &request, &c.cancel, &outcome, NULL);
    lines l = cut(c.memory.body, c.memory.length);
    ck_assert_int_eq(st, ATTN_OK);
    ck_assert_int_eq(outcome, API_DEADLINE);
    ck_assert_uint_eq(l.count, c.after + 1); /* and the one that says why there is no more */
    ck_assert_ptr_nonnull(json_object_get(l.line[0], "model"));
    for (size_t i = 1; i < c.after; i++)
        ck_assert_int_eq(json_integer_value(json_object_get(l.line[i], "layer")), (json_int_t)i - 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(l.line[c.after], "error"), "code")), "deadline_exceeded");
    free_lines(&l);
    reply_free(&c.memory);
}
END_TEST

/* ---- failures ----------------------------------------------------------------------------------------------------------- */

static const char overflowing[] = "{\"embeddings\":[[3e38,3e38],[3e38,3e38]],\"output\":[\"attentions\"]}";

START_TEST(a_failure_after_the_first_line_is_the_last_line)
{
    answered a = ask_as("/v1/attention", NDJSON, overflowing);
    lines l = cut(a.body, a.length);
    ck_assert_int_eq(a.status, ATTN_OK);
    ck_assert_int_eq(a.outcome, API_OVERFLOW);
    ck_assert_int_eq(a.http, 200);
    ck_assert_uint_eq(l.count, 2);
    const json_t *error = json_object_get(l.line[1], "error");
    ck_assert_str_eq(json_string_value(json_object_get(error, "code")), "overflow");
    ck_assert_str_eq(json_string_value(json_object_get(error, "pointer")), "/embeddings");
    ck_assert_str_eq(json_string_value(json_object_get(error, "request_id")), "test");
    ck_assert_int_eq(json_integer_value(json_object_get(error, "status")), 422);
    free_lines(&l);
    answered_free(&a);
}
END_TEST

static bool recall_all(void *ctx)
{
    memory_reply *r = ctx;
    r->length = 0;
    return true;
}

START_TEST(a_failure_before_anything_has_left_is_an_honest_problem)
{
    memory_reply reply;
    api_code outcome;
    reply_init(&reply);
    reply.reply.recall = recall_all;
    ck_assert_int_eq(reply_request_as(&reply, &service, "/v1/attention", NDJSON, overflowing, &outcome, NULL), ATTN_OK);
    ck_assert_int_eq(outcome, API_OVERFLOW);
    ck_assert_int_eq(reply.head.status, 422);
    ck_assert_str_eq(reply.head.content_type, "application/problem+json");
    reply_free(&reply);
}
END_TEST

START_TEST(a_client_that_goes_away_ends_it)
{
    memory_reply reply;
    api_code outcome;
    reply_init(&reply);
    reply.gone_after = (size_t)_i;
    ck_assert_int_eq(reply_request_as(&reply, &service, "/v1/attention", NDJSON, bodies[0], &outcome, NULL), ATTN_E_CANCELLED);
    ck_assert_uint_eq(reply.blocks, 0);
    lines l = cut(reply.body, reply.length);
    ck_assert_uint_eq(l.count, (size_t)_i);
    free_lines(&l);
    reply_free(&reply);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encode_ndjson");
    TCase *tcase = tcase_create("lines");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_loop_test(tcase, lines_say_what_the_document_says, 0, NUM_BODIES);
    tcase_add_test(tcase, reductions_alone_have_no_lines_of_layers);
    tcase_add_test(tcase, layers_alone_have_no_line_of_the_rest);
    tcase_add_loop_test(tcase, each_line_leaves_before_the_next_is_computed, 1, 6);
    tcase_add_test(tcase, a_failure_after_the_first_line_is_the_last_line);
    tcase_add_test(tcase, a_failure_before_anything_has_left_is_an_honest_problem);
    tcase_add_loop_test(tcase, a_client_that_goes_away_ends_it, 1, 5);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
