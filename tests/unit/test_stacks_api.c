/* Answers of models with three attentions, and of those that go on writing: what they cost is what was said before, in every form; they stop when nobody waits any
 * more; and what was generated is a request like any other.
 * SPDX-License-Identifier: Apache-2.0 */
#include "more_models.h"

#include <stdio.h>

#define BART "\"model\":\"bart\",\"input_ids\":[3,40,21,58,39,20,57]"
#define GPT  "\"model\":\"gpt2\",\"input_ids\":[3,40,21,58]"
#define EVERY                                                                                                                                                  \
    "\"output\":[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"context\",\"query\",\"key\",\"value\",\"value_norms\",\"attn_output\","         \
    "\"hidden_states\"]"

static const char *const forms[] = { "application/json", "application/x-ndjson", "application/vnd.safetensors", "image/svg+xml", "image/png", "text/plain" };
enum { NUM_FORMS = sizeof forms / sizeof forms[0], JSON = 0, LINES = 1, TENSORS = 2 };

static const struct request {
    const char *body;
    size_t forms; /* the first ones are those that can have it */
} requests[] = {
    { "{" BART "," EVERY "}", 3 },
    { "{" BART ",\"decoder_input_ids\":[2,3,20],\"layers\":[1,0,1],\"heads\":[1],\"queries\":[0,2],\"keys\":[1,1]," EVERY "}", 3 },
    { "{" BART ",\"decoder_input_ids\":[2,3,20,4,5],\"reduce_heads\":\"max\",\"reduce_layers\":\"mean\",\"output\":[\"attentions\",\"scores\"]}", NUM_FORMS },
    { "{" BART ",\"decoder_input_ids\":[2,3,20,4,5],\"pool\":{\"size\":3},\"output\":[\"attentions\"],\"layers\":[0]}", NUM_FORMS },
    { "{" BART ",\"decoder_input_ids\":[2,3,20,4,5],\"top_k\":3,\"keys\":[0,2,4],\"reduce_layers\":\"max\",\"analyses\":[\"rollout\",\"head_distance\"]}", 3 },
    { "{" BART ",\"output\":[],\"analyses\":[\"rollout\",\"entropy\"]}", 3 },
    { "{" BART ",\"max_new_tokens\":40," EVERY "}", 3 },
    { "{" BART ",\"decoder_input_ids\":[2,3],\"max_new_tokens\":9,\"top_k\":2,\"reduce_heads\":\"mean\",\"analyses\":[\"rollout\",\"confidence\"]}", 3 },
    { "{" BART ",\"max_new_tokens\":20,\"output\":[\"attentions\"],\"reduce_layers\":\"mean\"}", NUM_FORMS },
    { "{" BART ",\"attention_mask\":[1,1,1,0,1,1,0],\"max_new_tokens\":1,\"output\":[],\"analyses\":[\"entropy\"]}", 3 },
    { "{" GPT ",\"max_new_tokens\":60," EVERY ",\"analyses\":[\"rollout\",\"induction\"]}", 3 },
    { "{" GPT ",\"attention_mask\":[0,1,1,1],\"max_new_tokens\":12,\"layers\":[-1],\"heads\":[0,0],\"output\":[\"attentions\"]}", NUM_FORMS },
    { "{\"model\":\"gpt2\",\"input_ids\":[[3,40],[5],[6,7,8,9,10,11]],\"max_new_tokens\":30,\"output\":[\"key\"],\"reduce_heads\":null}", 3 },
    { "{\"model\":\"gpt2\",\"input_ids\":[[3,40],[5]],\"max_new_tokens\":30,\"output\":[\"attentions\"],\"reduce_layers\":\"max\",\"top_k\":4}", 3 },
};

/* ---- what it costs -------------------------------------------------------------------------------------------------------- */

static void check_costs(const char *body, const char *form)
{
    char path[100];
    snprintf(path, sizeof path, "/v1/estimate?accept=%s", form);
    answered e = ask_as(path, NULL, body), a = ask_as("/v1/attention", form, body);
    ck_assert_msg(a.outcome == API_OK && e.outcome == API_OK, "%s, %s for %s as %s", api_code_name(a.outcome), api_code_name(e.outcome), body, form);
    size_t bytes = (size_t)json_integer_value(json_object_get(e.json, "response_bytes")), held = a.peak + a.blocks * sizeof(api_block),
           memory = (size_t)json_integer_value(json_object_get(e.json, "memory_bytes"));
    ck_assert(json_is_true(json_object_get(e.json, "allowed")));
    ck_assert_msg(a.length <= bytes, "%zu bytes came, %zu were foreseen for %s as %s", a.length, bytes, body, form);
    ck_assert_msg(held <= memory, "%zu held, %zu foreseen for %s as %s", held, memory, body, form);
    ck_assert_uint_eq(a.reserved, memory);
    answered_free(&e);
    answered_free(&a);
}

START_TEST(every_form_costs_what_was_said_before)
{
    for (size_t f = 0; f < requests[_i].forms; f++)
        check_costs(requests[_i].body, forms[f]);
}
END_TEST

START_TEST(an_estimate_counts_what_may_be_generated)
{
    answered e = ask_well("/v1/estimate", "{" GPT ",\"max_new_tokens\":5,\"output\":[\"attentions\"]}");
    ck_assert_int_eq(json_integer_value(follow(e.json, "results", "tokens")), 9);
    json_decref(e.json);
    e = ask_well("/v1/estimate", "{" BART ",\"max_new_tokens\":5,\"output\":[\"attentions\"]}");
    ck_assert_int_eq(json_integer_value(follow(e.json, "results", "encoder_tokens")), 7);
    ck_assert_int_eq(json_integer_value(follow(e.json, "results", "decoder_tokens")), 6);
    json_decref(e.json);
}
END_TEST

/* Without end: not a byte more than the model has positions for. */
START_TEST(an_estimate_of_more_than_fits_says_so_and_stays_small)
{
    answered e = ask_well("/v1/estimate", "{" GPT ",\"max_new_tokens\":2000000000,\"output\":[\"attentions\"]}");
    json_t *limit = json_array_get(json_object_get(e.json, "limits"), 0);
    ck_assert(json_is_false(json_object_get(e.json, "allowed")));
    ck_assert_str_eq(json_string_value(json_object_get(limit, "code")), "too_many_tokens");
    ck_assert_int_eq(json_integer_value(json_object_get(limit, "need")), 2000000004);
    ck_assert_int_eq(json_integer_value(follow(e.json, "results", "tokens")), 64);
    json_decref(e.json);
    e = ask("/v1/attention", "{" GPT ",\"max_new_tokens\":61,\"output\":[\"attentions\"]}");
    ck_assert_int_eq(e.outcome, API_TOO_MANY_TOKENS);
    json_decref(e.json);
}
END_TEST

/* ---- what it says ----------------------------------------------------------------------------------------------------------- */

/* The tokens of a result as a list of ids, to be sent back. */
static void list_ids(char *dst, size_t size, json_t *tokens)
{
    size_t used = 0;
    for (size_t t = 0; t < json_array_size(tokens) && used < size; t++)
        used += (size_t)snprintf(dst + used, size - used, "%s%d", t ? "," : "", (int)json_integer_value(json_object_get(json_array_get(tokens, t), "id")));
}

/* A result of a generation, and of one request over the same ids: the same tensors. */
static void check_same(json_t *wrote, json_t *once)
{
    const char *name;
    json_t *value;
    size_t tensors = 0;
    json_object_foreach(once, name, value)
    {
        if (json_is_array(value))
            continue;
        ck_assert_msg(json_equal(value, json_object_get(wrote, name)), "%s", name);
        tensors++;
    }
    ck_assert_uint_gt(tensors, 1);
}

START_TEST(what_was_generated_is_like_what_was_sent)
{
    char body[2000], ids[1000];
    static const char *const more = ",\"queries\":[-1,0],\"keys\":[1],\"analyses\":[\"rollout\"],\"reduce_heads\":\"mean\"," EVERY "}";
    snprintf(body, sizeof body, "{" GPT ",\"max_new_tokens\":20%s", more);
    answered wrote = ask_well("/v1/attention", body);
    list_ids(ids, sizeof ids, follow(wrote.json, "results", "tokens"));
    snprintf(body, sizeof body, "{\"model\":\"gpt2\",\"input_ids\":[%s]%s", ids, more);
    answered once = ask_well("/v1/attention", body);
    check_same(json_array_get(json_object_get(wrote.json, "results"), 0), json_array_get(json_object_get(once.json, "results"), 0));
    json_decref(wrote.json);
    json_decref(once.json);
}
END_TEST

START_TEST(what_a_decoder_wrote_is_like_what_was_sent)
{
    char body[2000], ids[1000];
    static const char *const more = ",\"top_k\":2,\"keys\":[0,0],\"layers\":[1],\"analyses\":[\"entropy\"]," EVERY "}";
    snprintf(body, sizeof body, "{" BART ",\"max_new_tokens\":20%s", more);
    answered wrote = ask_well("/v1/attention", body);
    list_ids(ids, sizeof ids, follow(wrote.json, "results", "decoder_tokens"));
    snprintf(body, sizeof body, "{" BART ",\"decoder_input_ids\":[%s]%s", ids, more);
    answered once = ask_well("/v1/attention", body);
    check_same(json_array_get(json_object_get(wrote.json, "results"), 0), json_array_get(json_object_get(once.json, "results"), 0));
    json_decref(wrote.json);
    json_decref(once.json);
}
END_TEST

/* Index 10 is there only if that many tokens are written: an end token may come first. */
START_TEST(an_index_past_what_was_generated_is_refused)
{
    answered short_of = ask("/v1/attention", "{" GPT ",\"max_new_tokens\":3,\"queries\":[7]}");
    ck_assert_int_eq(short_of.outcome, API_INDEX_OUT_OF_RANGE);
    ck_assert_uint_eq(short_of.compute_ns, 0);
    json_decref(short_of.json);
    answered last = ask_well("/v1/attention", "{" GPT ",\"max_new_tokens\":3,\"queries\":[6]}");
    json_decref(last.json);
}
END_TEST

/* ---- how it ends ------------------------------------------------------------------------------------------------------------ */

static attn_status ask_until(attn_cancel *cancel, size_t gone_after, const char *accept, const char *body, memory_reply *reply, api_code *outcome)
{
    api_request request = { .method = "POST", .path = "/v1/attention", .accept = accept, .request_id = "test", .body = body, .body_length = strlen(body) };
    reply_init(reply);
    reply->gone_after = gone_after;
    return reply_handle(reply, &service, &request, cancel, outcome, NULL);
}

START_TEST(a_client_that_goes_away_stops_the_writing)
{
    attn_cancel cancel = { 0 };
    memory_reply reply;
    api_code outcome = API_OK;
    attn_status st = ask_until(&cancel, 5, "application/x-ndjson", "{" GPT ",\"max_new_tokens\":60}", &reply, &outcome);
    ck_assert_int_eq(st, ATTN_E_CANCELLED);
    ck_assert_uint_eq(reply.gives, 5);
    ck_assert_uint_eq(reply.blocks, 0);
    reply_free(&reply);
}
END_TEST

/* The deadline passes with the line of the fourth step: behind one of the whole, and three of layers. */
static attn_cancel *overdue;
static attn_status (*plain_give)(void *, api_block *);

static attn_status give_until(void *ctx, api_block *block)
{
    memory_reply *r = ctx;
    if (r->gives == 7)
        attn_cancel_raise(overdue, ATTN_DEADLINE);
    return plain_give(ctx, block);
}

START_TEST(a_deadline_amid_the_steps_is_told_in_the_last_line)
{
    attn_cancel cancel = { 0 };
    memory_reply reply;
    api_code outcome = API_OK;
    const char *body = "{" GPT ",\"max_new_tokens\":60,\"output\":[\"attentions\"]}";
    api_request request = { .method = "POST", .path = "/v1/attention", .accept = forms[LINES], .request_id = "t", .body = body, .body_length = strlen(body) };
    reply_init(&reply);
    overdue = &cancel;
    plain_give = reply.reply.give;
    reply.reply.give = give_until;
    ck_assert_int_eq(reply_handle(&reply, &service, &request, &cancel, &outcome, NULL), ATTN_OK);
    ck_assert_int_eq(outcome, API_DEADLINE);
    ck_assert_ptr_nonnull(strstr(reply.body, "\"step\":1"));
    ck_assert_ptr_null(strstr(reply.body, "\"step\":9"));
    ck_assert_ptr_nonnull(strstr(reply.body, "\n{\"error\":{"));
    ck_assert_int_eq(reply.body[reply.length - 1], '\n');
    reply_free(&reply);
}
END_TEST

START_TEST(a_deadline_before_the_answer_began_is_an_answer_of_its_own)
{
    for (size_t f = 0; f < TENSORS + 1; f++) {
        attn_cancel cancel = { .deadline_ns = 1 };
        memory_reply reply;
        api_code outcome = API_OK;
        ck_assert_int_eq(ask_until(&cancel, 0, forms[f], "{" BART ",\"max_new_tokens\":60}", &reply, &outcome), ATTN_OK);
        ck_assert_int_eq(outcome, API_DEADLINE);
        ck_assert_int_eq(reply.head.status, f == LINES ? 200 : 504);
        reply_free(&reply);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stacks_api");
    TCase *tcase = tcase_create("answers");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, more_setup, more_teardown);
    tcase_add_loop_test(tcase, every_form_costs_what_was_said_before, 0, sizeof requests / sizeof requests[0]);
    tcase_add_test(tcase, an_estimate_counts_what_may_be_generated);
    tcase_add_test(tcase, an_estimate_of_more_than_fits_says_so_and_stays_small);
    tcase_add_test(tcase, what_was_generated_is_like_what_was_sent);
    tcase_add_test(tcase, what_a_decoder_wrote_is_like_what_was_sent);
    tcase_add_test(tcase, an_index_past_what_was_generated_is_refused);
    tcase_add_test(tcase, a_client_that_goes_away_stops_the_writing);
    tcase_add_test(tcase, a_deadline_amid_the_steps_is_told_in_the_last_line);
    tcase_add_test(tcase, a_deadline_before_the_answer_began_is_an_answer_of_its_own);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
