/* test_meeting.c - requests that meet in one run: the same answers as alone, no more memory than was reserved, and who does not fit declines unheard.
 * SPDX-License-Identifier: Apache-2.0 */
#include "api_fixture.h"

#include <stdio.h>

enum { MOST = 12 };

#define SHORT "{\"input_ids\":[5,17,230,8],\"output\":[\"attentions\"]}"

/* One request, answered or not. */
typedef struct visitor {
    const char *body, *accept;
    memory_reply reply;
    attn_cancel cancel;
    bool waits; /* nothing can be reserved for it now */
    bool handled, declined;
    attn_status status;
    api_code outcome;
} visitor;

/* The first is the host; the others come when guests are called, in order, until one declines. */
static struct party {
    visitor all[MOST];
    size_t num, next;
    api_meeting meeting;
    attn_arena *arena;
} party;

static attn_status nothing_now(void *ctx, uint64_t bytes)
{
    (void)ctx;
    (void)bytes;
    return ATTN_E_CANCELLED;
}

static void handle(visitor *v, bool is_guest)
{
    api_request request = { .method = "POST", .path = "/v1/attention", .accept = v->accept, .request_id = "test", .body = v->body };
    api_worker worker = { .arena = party.arena, .cancel = &v->cancel, .meeting = &party.meeting, .is_guest = is_guest };
    api_problem problem = { 0 };
    const api_route *route;
    attn_error err = { 0 };
    request.body_length = strlen(v->body);
    reply_init(&v->reply);
    if (v->waits)
        v->reply.reply.reserve = nothing_now;
    ck_assert(api_check(&service, &request, &route, &problem));
    v->status = api_handle(&service, &request, route, &worker, &v->reply.reply, &v->outcome, &err);
    v->declined = worker.declined;
    v->handled = !worker.declined;
}

static void more(void *ctx)
{
    ck_assert_ptr_eq(ctx, &party);
    while (!party.meeting.done && party.next < party.num) {
        visitor *v = &party.all[party.next++];
        handle(v, true);
        if (v->declined)
            return;
    }
}

static void invite(const char *body)
{
    ck_assert_uint_lt(party.num, MOST);
    party.all[party.num++] = (visitor){ .body = body };
}

static void meet(void)
{
    party.meeting = (api_meeting){ .ctx = &party, .more = more };
    party.arena = attn_arena_new();
    party.next = 1;
    attn_runtime_enter(service.runtime);
    handle(&party.all[0], false);
    attn_runtime_leave(service.runtime);
    uint64_t reserved = 0;
    for (size_t i = 0; i < party.num; i++)
        reserved += party.all[i].reply.reserved;
    ck_assert_uint_le(attn_arena_peak(party.arena), reserved);
    attn_arena_free(party.arena);
}

static void as_alone(const visitor *v)
{
    answered a = ask_as("/v1/attention", v->accept, v->body);
    ck_assert(v->handled);
    ck_assert_int_eq(v->status, a.status);
    ck_assert_int_eq(v->outcome, a.outcome);
    ck_assert_int_eq(v->reply.head.status, a.http);
    ck_assert_uint_eq(v->reply.length, a.length);
    ck_assert_mem_eq(v->reply.body, a.body, a.length);
    ck_assert_uint_eq(v->reply.blocks, 0);
    answered_free(&a);
}

/* The first [num] of the party. */
static void all_as_alone(size_t num)
{
    for (size_t i = 0; i < num; i++)
        as_alone(&party.all[i]);
}

static void setup(void)
{
    memset(&party, 0, sizeof party);
    fixture_setup();
}

static void teardown(void)
{
    for (size_t i = 0; i < party.num; i++)
        reply_free(&party.all[i].reply);
    fixture_teardown();
}

START_TEST(answers_are_those_of_lone_requests)
{
    invite(SHORT);
    invite("{\"input_ids\":[9],\"output\":[\"attentions\"]}");
    invite("{\"text\":\"a short text\",\"output\":[\"attentions\"],\"encoding\":\"base64\"}");
    invite("{\"input_ids\":[5,17,230,8,99,3,2,1,7],\"output\":[\"attentions\"],\"heads\":[3,0],\"reduce_layers\":\"mean\",\"top_k\":2}");
    invite("{\"input_ids\":[5,17,230,8],\"attention_mask\":[1,1,1,0],\"output\":[\"attentions\"]}");
    party.all[4].accept = "application/x-npy";
    meet();
    ck_assert_uint_eq(party.meeting.num, 5);
    all_as_alone(party.num);
}
END_TEST

START_TEST(a_host_alone_is_answered_as_ever)
{
    invite(SHORT);
    meet();
    ck_assert(party.meeting.done);
    as_alone(&party.all[0]);
}
END_TEST

START_TEST(no_more_meet_than_gain_by_it)
{
    for (size_t i = 0; i < MOST; i++)
        invite(SHORT);
    meet();
    ck_assert_uint_eq(party.meeting.num, attn_least(API_MEETING_RUNS, API_MEETING_TOKENS / 4));
    ck_assert_uint_eq(party.next, party.meeting.num);
    all_as_alone(party.next);
}
END_TEST

/* Who is no guest, and why. */
static const char *const unfit[] = {
    "{\"input_ids\":[5,17,230],\"output\":[\"attentions\",\"value\"]}",
    "{\"input_ids\":[5,17,230],\"output\":[\"attentions\"],\"layers\":[1]}",
    "{\"input_ids\":[[5,17,230],[4]],\"output\":[\"attentions\"]}",
    "{\"embeddings\":[[1,2],[3,4]],\"num_attention_heads\":1,\"output\":[\"attentions\"]}",
    "{\"input_ids\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25],\"output\":[\"attentions\"]}",
};
enum { NUM_UNFIT = sizeof unfit / sizeof *unfit };

START_TEST(a_guest_that_does_not_fit_declines_and_hears_nothing)
{
    invite(SHORT);
    invite(SHORT);
    invite(unfit[_i]);
    invite(SHORT);
    meet();
    ck_assert_uint_eq(party.meeting.num, 2);
    ck_assert(party.all[2].declined);
    ck_assert_int_eq(party.all[2].reply.starts, 0);
    ck_assert_uint_eq(party.all[2].reply.blocks, 0);
    ck_assert_uint_eq(party.next, 3);
    all_as_alone(2);
    answered later = ask_well("/v1/attention", unfit[_i]);
    json_decref(later.json);
}
END_TEST

START_TEST(a_guest_who_would_have_to_wait_for_memory_declines)
{
    invite(SHORT);
    invite(SHORT);
    party.all[1].waits = true;
    meet();
    ck_assert(party.all[1].declined);
    ck_assert_int_eq(party.all[1].reply.starts, 0);
    as_alone(&party.all[0]);
}
END_TEST

START_TEST(a_guest_in_error_is_told_so_and_the_next_is_called)
{
    invite(SHORT);
    invite("{\"input_ids\":[5,\"x\"]}");
    invite("{\"input_ids\":[5,17],\"output\":[\"attentions\"],\"model\":\"none\"}");
    invite(SHORT);
    meet();
    ck_assert_uint_eq(party.meeting.num, 2);
    all_as_alone(party.num);
}
END_TEST

START_TEST(a_guest_who_is_gone_takes_nobody_along)
{
    invite(SHORT);
    invite(SHORT);
    invite(SHORT);
    attn_cancel_raise(&party.all[1].cancel, ATTN_CLIENT_GONE);
    meet();
    ck_assert_int_ne(party.all[1].outcome, API_OK);
    as_alone(&party.all[0]);
    as_alone(&party.all[2]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("meeting");
    TCase *tc = tcase_create("meeting");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, answers_are_those_of_lone_requests);
    tcase_add_test(tc, a_host_alone_is_answered_as_ever);
    tcase_add_test(tc, no_more_meet_than_gain_by_it);
    tcase_add_loop_test(tc, a_guest_that_does_not_fit_declines_and_hears_nothing, 0, NUM_UNFIT);
    tcase_add_test(tc, a_guest_who_would_have_to_wait_for_memory_declines);
    tcase_add_test(tc, a_guest_in_error_is_told_so_and_the_next_is_called);
    tcase_add_test(tc, a_guest_who_is_gone_takes_nobody_along);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
