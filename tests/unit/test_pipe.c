/* test_pipe.c - the bounded pipe: every byte once and in order, no writer stuck, no reader woken twice.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "pipe.h"
#include "unit.h"

static srv_budget budget;
static srv_blocks blocks;
static srv_pipe pipe_;
static attn_cancel cancel;
static const api_head plain = { .status = 200, .content_type = "application/json" };

/* What the reader would be: parked or woken. */
static struct reader {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    int parks, wakes;
} reader = { .lock = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER };

static void park(void *ctx)
{
    ck_assert_ptr_eq(ctx, &reader);
    pthread_mutex_lock(&reader.lock);
    reader.parks++;
    pthread_mutex_unlock(&reader.lock);
}

static void wake(void *ctx)
{
    ck_assert_ptr_eq(ctx, &reader);
    pthread_mutex_lock(&reader.lock);
    reader.wakes++;
    pthread_cond_signal(&reader.woken);
    pthread_mutex_unlock(&reader.lock);
}

static void wait_for_wakes(int n)
{
    pthread_mutex_lock(&reader.lock);
    while (reader.wakes < n)
        pthread_cond_wait(&reader.woken, &reader.lock);
    pthread_mutex_unlock(&reader.lock);
}

static void setup_capacity(size_t capacity)
{
    reader.parks = reader.wakes = 0;
    cancel = (attn_cancel){ 0 };
    srv_budget_init(&budget, 1 << 30);
    srv_blocks_init(&blocks, 4, &budget);
    srv_pipe_init(&pipe_, &blocks, &cancel, capacity, wake, &reader);
}

static void setup(void)
{
    setup_capacity(4);
}

static void teardown(void)
{
    srv_pipe_fini(&pipe_);
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0); /* no block is lost */
    srv_blocks_fini(&blocks);
    srv_budget_fini(&budget);
}

static api_block *block_of(const char *text, bool more)
{
    api_block *block = srv_pipe_take(&pipe_);
    ck_assert_ptr_nonnull(block);
    ck_assert(!block->more);
    block->used = strlen(text);
    block->more = more;
    memcpy(block->data, text, block->used);
    return block;
}

static attn_status give_text(const char *text)
{
    return srv_pipe_give(&pipe_, block_of(text, false));
}

static bool is_ready(srv_pipe_state *state)
{
    api_head head;
    return srv_pipe_ready(&pipe_, &head, state, park);
}

START_TEST(a_short_answer_is_ready_when_it_is_complete)
{
    srv_pipe_state state;
    char text[100];
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("hello"), ATTN_OK);
    ck_assert(!is_ready(&state));
    srv_pipe_finish(&pipe_, true);
    ck_assert_int_eq(reader.wakes, 1);
    ck_assert(is_ready(&state));
    ck_assert_int_eq(state.end, SRV_PIPE_COMPLETE);
    ck_assert_uint_eq(state.given, 5);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 3, park), 3);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text + 3, 97, park), 2);
    ck_assert_mem_eq(text, "hello", 5);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 100, park), SRV_PIPE_END);
    ck_assert_int_eq(reader.parks, 1);
}
END_TEST

START_TEST(a_longer_answer_is_ready_with_its_second_block)
{
    srv_pipe_state state;
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert(!is_ready(&state));
    ck_assert_int_eq(give_text("a"), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 0);
    ck_assert_int_eq(give_text("b"), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 1);
    ck_assert(is_ready(&state));
    ck_assert_int_eq(state.end, SRV_PIPE_OPEN);
}
END_TEST

START_TEST(a_stream_of_lines_is_ready_with_its_first_block)
{
    srv_pipe_state state;
    ck_assert_int_eq(srv_pipe_start(&pipe_, &(api_head){ .status = 200, .content_type = "application/x-ndjson" }), ATTN_OK);
    ck_assert(!is_ready(&state));
    ck_assert_int_eq(give_text("{}\n"), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 1);
    ck_assert(is_ready(&state));
}
END_TEST

/* A reader that is parked in the middle of an answer. */
static void begin_reading(void)
{
    srv_pipe_state state;
    char text[10];
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("a"), ATTN_OK);
    ck_assert_int_eq(give_text("b"), ATTN_OK);
    ck_assert(is_ready(&state));
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 2);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_EMPTY);
    ck_assert_int_eq(reader.wakes, 0);
}

START_TEST(a_reader_sleeps_on_while_more_follows)
{
    char text[10];
    begin_reading();
    ck_assert_int_eq(srv_pipe_give(&pipe_, block_of("c", true)), ATTN_OK);
    ck_assert_int_eq(srv_pipe_give(&pipe_, block_of("d", true)), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 0);
    ck_assert_int_eq(srv_pipe_give(&pipe_, block_of("e", false)), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 1);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 3);
    ck_assert_mem_eq(text, "cde", 3);
}
END_TEST

START_TEST(a_reader_is_woken_though_more_does_not_follow)
{
    char text[10];
    begin_reading();
    ck_assert_int_eq(srv_pipe_give(&pipe_, block_of("c", true)), ATTN_OK);
    srv_pipe_finish(&pipe_, true);
    ck_assert_int_eq(reader.wakes, 1);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 1);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_END);
}
END_TEST

static void *give_many(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 12; i++) /* the pipe holds 4 */
        ck_assert_int_eq(srv_pipe_give(&pipe_, block_of("x", i < 11)), ATTN_OK);
    srv_pipe_finish(&pipe_, true);
    return NULL;
}

START_TEST(a_full_pipe_wakes_its_reader_though_more_follows)
{
    pthread_t writer;
    char text[10];
    int got = 0;
    begin_reading();
    ck_assert_int_eq(pthread_create(&writer, NULL, give_many, NULL), 0);
    ssize_t n = 0;
    while (n == SRV_PIPE_EMPTY) {
        wait_for_wakes(reader.parks);
        while ((n = srv_pipe_read(&pipe_, text, 10, park)) > 0)
            got += (int)n;
    }
    ck_assert_int_eq(n, SRV_PIPE_END);
    pthread_join(writer, NULL);
    ck_assert_int_eq(got, 12);
}
END_TEST

START_TEST(an_answer_of_one_block_can_be_had_whole)
{
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("hello"), ATTN_OK);
    ck_assert_ptr_null(srv_pipe_take_whole(&pipe_)); /* more may come */
    srv_pipe_finish(&pipe_, true);
    api_block *block = srv_pipe_take_whole(&pipe_);
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq(block->used, 5);
    ck_assert_mem_eq(block->data, "hello", 5);
    srv_pipe_drop(&pipe_, block);
    ck_assert_ptr_null(srv_pipe_take_whole(&pipe_));
    ck_assert_int_eq(srv_pipe_read(&pipe_, (char[8]){ 0 }, 8, park), SRV_PIPE_END);
}
END_TEST

START_TEST(neither_a_longer_one_nor_one_that_was_begun_nor_a_broken_one_can)
{
    char text[8];
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("a"), ATTN_OK);
    ck_assert_int_eq(give_text("bc"), ATTN_OK);
    srv_pipe_finish(&pipe_, true);
    ck_assert_ptr_null(srv_pipe_take_whole(&pipe_));
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 2, park), 2); /* one block is left, and not all of it */
    ck_assert_ptr_null(srv_pipe_take_whole(&pipe_));
    teardown();
    setup();
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("a"), ATTN_OK);
    srv_pipe_finish(&pipe_, false);
    ck_assert_ptr_null(srv_pipe_take_whole(&pipe_));
}
END_TEST

START_TEST(a_reader_is_woken_once_for_each_time_it_was_parked)
{
    srv_pipe_state state;
    char text[10];
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("a"), ATTN_OK);
    ck_assert_int_eq(give_text("b"), ATTN_OK);
    ck_assert_int_eq(reader.wakes, 0); /* nobody was parked yet */
    ck_assert(is_ready(&state));
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 2);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_EMPTY);
        ck_assert_int_eq(reader.parks, i);
        ck_assert_int_eq(give_text("c"), ATTN_OK);
        ck_assert_int_eq(give_text("d"), ATTN_OK);
        ck_assert_int_eq(reader.wakes, i);
        ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 2);
    }
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_EMPTY);
    srv_pipe_finish(&pipe_, true);
    srv_pipe_finish(&pipe_, false);
    ck_assert_int_eq(reader.wakes, 4);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_END);
}
END_TEST

START_TEST(a_broken_answer_ends_with_an_error_and_drops_its_rest)
{
    char text[10];
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("abc"), ATTN_OK);
    srv_pipe_finish(&pipe_, false);
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), SRV_PIPE_ERROR);
    ck_assert_int_eq(give_text("late"), ATTN_E_CANCELLED);
}
END_TEST

START_TEST(an_answer_of_which_nothing_left_may_be_taken_back_for_another)
{
    char text[10];
    srv_pipe_state state;
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("wrong"), ATTN_OK);
    ck_assert_int_eq(give_text("wrong"), ATTN_OK);
    ck_assert(srv_pipe_recall(&pipe_));
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
    ck_assert(!is_ready(&state));
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("abc"), ATTN_OK);
    srv_pipe_finish(&pipe_, true);
    ck_assert(is_ready(&state));
    ck_assert_uint_eq(state.given, 3);
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 3);
    ck_assert_int_eq(memcmp(text, "abc", 3), 0);
}
END_TEST

START_TEST(an_answer_that_the_reader_has_begun_cannot_be_taken_back)
{
    char text[10];
    srv_pipe_state state;
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(give_text("ab"), ATTN_OK);
    ck_assert_int_eq(give_text("cd"), ATTN_OK);
    ck_assert(is_ready(&state));
    ck_assert(!srv_pipe_recall(&pipe_));
    ck_assert_int_eq(srv_pipe_read(&pipe_, text, 10, park), 4);
}
END_TEST

START_TEST(an_answer_that_never_began_is_broken)
{
    srv_pipe_state state;
    srv_pipe_finish(&pipe_, true);
    ck_assert(is_ready(&state));
    ck_assert(!state.started);
    ck_assert_int_eq(state.end, SRV_PIPE_BROKEN);
}
END_TEST

START_TEST(the_head_is_told_once_and_before_the_first_block)
{
    ck_assert_int_eq(give_text("too early"), ATTN_E_CANCELLED);
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_E_INTERNAL);
}
END_TEST

/* A writer on a thread of its own that gives `count` numbered blocks. */
typedef struct writer {
    pthread_t thread;
    int count;
    _Atomic int given;
    attn_status status;
} writer;

static void *write_blocks(void *ctx)
{
    writer *w = ctx;
    for (int i = 0; i < w->count && w->status == ATTN_OK; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d,", i);
        w->status = give_text(text);
        atomic_fetch_add(&w->given, w->status == ATTN_OK);
    }
    if (w->status == ATTN_OK)
        srv_pipe_finish(&pipe_, true);
    return NULL;
}

static void start_writer(writer *w, int count)
{
    w->count = count;
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    ck_assert_int_eq(pthread_create(&w->thread, NULL, write_blocks, w), 0);
}

static void rest(long ms)
{
    nanosleep(&(struct timespec){ 0, ms * 1000000 }, NULL);
}

static void fill(writer *w)
{
    start_writer(w, 100);
    while (atomic_load(&w->given) < 4)
        rest(1);
    rest(20);
    ck_assert_int_eq(atomic_load(&w->given), 4); /* the capacity, and it waits */
}

START_TEST(a_full_pipe_holds_the_writer_back_and_loses_nothing)
{
    writer w = { 0 };
    char all[1000];
    size_t n = 0;
    ssize_t got;
    fill(&w);
    srv_pipe_state state;
    ck_assert(is_ready(&state));
    while ((got = srv_pipe_read(&pipe_, all + n, 7, park)) != SRV_PIPE_END) {
        ck_assert_int_ge(got, 0);
        n += (size_t)got;
        if (got == 0)
            wait_for_wakes(reader.parks);
    }
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, ATTN_OK);
    char expected[1000];
    int at = 0;
    for (int i = 0; i < 100; i++)
        at += snprintf(expected + at, sizeof expected - (size_t)at, "%d,", i);
    ck_assert_uint_eq(n, (size_t)at);
    ck_assert_mem_eq(all, expected, n);
}
END_TEST

START_TEST(a_writer_is_freed_when_the_reader_leaves)
{
    writer w = { 0 };
    fill(&w);
    srv_pipe_abandon(&pipe_);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, ATTN_E_CANCELLED);
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_E_CANCELLED);
    ck_assert_uint_eq(srv_budget_get(&budget).used, 0);
}
END_TEST

START_TEST(a_writer_is_freed_by_a_raised_cancel)
{
    writer w = { 0 };
    fill(&w);
    attn_cancel_raise(&cancel, _i == 0 ? ATTN_CLIENT_GONE : ATTN_SHUTDOWN);
    srv_pipe_poke(&pipe_);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, ATTN_E_CANCELLED);
}
END_TEST

START_TEST(a_writer_is_freed_by_its_deadline_alone)
{
    writer w = { 0 };
    cancel.deadline_ns = attn_clock_ns() + 100 * 1000000;
    fill(&w);
    pthread_join(w.thread, NULL);
    ck_assert_int_eq(w.status, ATTN_E_CANCELLED);
    ck_assert_uint_ge(attn_clock_ns(), cancel.deadline_ns);
}
END_TEST

START_TEST(after_the_deadline_an_error_may_still_be_said_but_an_answer_not_continued)
{
    cancel.deadline_ns = 1; /* long ago */
    ck_assert_int_eq(srv_pipe_start(&pipe_, &(api_head){ .status = _i == 0 ? 504 : 200 }), ATTN_OK);
    ck_assert_int_eq(give_text("first"), ATTN_OK);
    ck_assert_int_eq(give_text("second"), _i == 0 ? ATTN_OK : ATTN_E_CANCELLED);
}
END_TEST

/* The budget's share is for 3 blocks, and 4 are taken elsewhere. */
START_TEST(where_blocks_are_scarce_a_pipe_holds_two)
{
    srv_budget small;
    srv_blocks scarce;
    srv_pipe narrow;
    api_block *elsewhere[4];
    srv_budget_init(&small, 4 * 3 * sizeof(api_block));
    srv_blocks_init(&scarce, 0, &small);
    cancel.deadline_ns = attn_clock_ns() + 50000000; /* nobody reads: the third would wait for ever */
    srv_pipe_init(&narrow, &scarce, &cancel, SRV_PIPE_BLOCKS, wake, &reader);
    for (int i = 0; i < 4; i++)
        elsewhere[i] = srv_blocks_take(&scarce);
    ck_assert_int_eq(srv_pipe_start(&narrow, &plain), ATTN_OK);
    for (int i = 0; i < 3; i++) {
        api_block *block = srv_pipe_take(&narrow);
        block->used = 1;
        ck_assert_int_eq(srv_pipe_give(&narrow, block), i < 2 ? ATTN_OK : ATTN_E_CANCELLED);
    }
    for (int i = 0; i < 4; i++)
        srv_blocks_drop(&scarce, elsewhere[i]);
    srv_pipe_fini(&narrow);
    srv_blocks_fini(&scarce);
    ck_assert_uint_eq(srv_budget_get(&small).used, 0);
    srv_budget_fini(&small);
}
END_TEST

START_TEST(an_unbounded_pipe_never_waits)
{
    srv_pipe_fini(&pipe_);
    srv_pipe_init(&pipe_, &blocks, &cancel, 0, wake, &reader);
    ck_assert_int_eq(srv_pipe_start(&pipe_, &plain), ATTN_OK);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(give_text("x"), ATTN_OK);
    srv_pipe_finish(&pipe_, true);
    ck_assert_uint_eq(srv_pipe_get(&pipe_).given, 100);
}
END_TEST

START_TEST(blocks_are_kept_for_the_next_answer_up_to_a_number)
{
    api_block *taken[10];
    for (int i = 0; i < 10; i++) {
        taken[i] = srv_blocks_take(&blocks);
        taken[i]->used = 5;
    }
    ck_assert_uint_eq(srv_budget_get(&budget).used, 10 * sizeof(api_block));
    for (int i = 0; i < 10; i++)
        srv_blocks_drop(&blocks, taken[i]);
    ck_assert_uint_eq(blocks.num_free, 4);
    api_block *again = srv_blocks_take(&blocks);
    ck_assert_ptr_eq(again, taken[3]);
    ck_assert_uint_eq(again->used, 0);
    srv_blocks_drop(&blocks, again);
    srv_blocks_drop(&blocks, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pipe");
    TCase *tc = tcase_create("pipe");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_short_answer_is_ready_when_it_is_complete);
    tcase_add_test(tc, a_longer_answer_is_ready_with_its_second_block);
    tcase_add_test(tc, a_stream_of_lines_is_ready_with_its_first_block);
    tcase_add_test(tc, a_reader_sleeps_on_while_more_follows);
    tcase_add_test(tc, a_reader_is_woken_though_more_does_not_follow);
    tcase_add_test(tc, a_full_pipe_wakes_its_reader_though_more_follows);
    tcase_add_test(tc, an_answer_of_one_block_can_be_had_whole);
    tcase_add_test(tc, neither_a_longer_one_nor_one_that_was_begun_nor_a_broken_one_can);
    tcase_add_test(tc, a_reader_is_woken_once_for_each_time_it_was_parked);
    tcase_add_test(tc, a_broken_answer_ends_with_an_error_and_drops_its_rest);
    tcase_add_test(tc, an_answer_of_which_nothing_left_may_be_taken_back_for_another);
    tcase_add_test(tc, an_answer_that_the_reader_has_begun_cannot_be_taken_back);
    tcase_add_test(tc, an_answer_that_never_began_is_broken);
    tcase_add_test(tc, the_head_is_told_once_and_before_the_first_block);
    tcase_add_test(tc, a_full_pipe_holds_the_writer_back_and_loses_nothing);
    tcase_add_test(tc, a_writer_is_freed_when_the_reader_leaves);
    tcase_add_loop_test(tc, a_writer_is_freed_by_a_raised_cancel, 0, 2);
    tcase_add_test(tc, a_writer_is_freed_by_its_deadline_alone);
    tcase_add_loop_test(tc, after_the_deadline_an_error_may_still_be_said_but_an_answer_not_continued, 0, 2);
    tcase_add_test(tc, where_blocks_are_scarce_a_pipe_holds_two);
    tcase_add_test(tc, an_unbounded_pipe_never_waits);
    tcase_add_test(tc, blocks_are_kept_for_the_next_answer_up_to_a_number);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
