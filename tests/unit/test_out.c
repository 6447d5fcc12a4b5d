/* Bytes written through api_out arrive in order, whatever their sizes and wherever blocks end; failures stick and are honest.
 * SPDX-License-Identifier: Apache-2.0 */
#include "memory_reply.h"
#include "out.h"
#include "unit.h"

#include <jansson.h>
#include <stdio.h>

static memory_reply reply;

static void setup(void)
{
    reply_init(&reply);
}

static void teardown(void)
{
    reply_free(&reply);
}

static api_out begin(void)
{
    api_out out;
    api_out_init(&out, &reply.reply, (api_head){ .status = 200, .content_type = "text/plain" });
    return out;
}

START_TEST(an_empty_answer_has_length_zero)
{
    api_out out = begin();
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_int_eq(reply.starts, 1);
    ck_assert(reply.head.has_length);
    ck_assert_uint_eq(reply.head.length, 0);
    ck_assert_uint_eq(reply.gives, 0);
}
END_TEST

START_TEST(an_answer_that_fits_one_block_has_its_length)
{
    api_out out = begin();
    api_out_string(&out, "ab");
    api_out_char(&out, 'c');
    api_out_format(&out, "%d", 12);
    api_out_uint(&out, UINT64_MAX);
    ck_assert_int_eq(reply.starts, 0);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_str_eq(reply.body, "abc1218446744073709551615");
    ck_assert(reply.head.has_length);
    ck_assert_uint_eq(reply.head.length, reply.length);
}
END_TEST

/* Runs of every length around the end of a block. */
START_TEST(long_answers_are_cut_into_blocks_without_loss)
{
    api_out out = begin();
    char *bytes = malloc(3 * API_BLOCK_BYTES);
    size_t total = 0;
    for (size_t i = 0; i < 3 * API_BLOCK_BYTES; i++)
        bytes[i] = (char)(i * 31 % 251);
    for (size_t n = 1; total + n < 3 * API_BLOCK_BYTES; n = n * 2 + 1) {
        api_out_bytes(&out, bytes + total, n);
        total += n;
    }
    ck_assert_uint_eq(out.written, total);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_uint_gt(reply.gives, 1);
    ck_assert(!reply.head.has_length);
    ck_assert_uint_eq(reply.length, total);
    ck_assert_mem_eq(reply.body, bytes, total);
    ck_assert_uint_eq(reply.blocks, 0);
    free(bytes);
}
END_TEST

START_TEST(what_is_flushed_leaves_at_once)
{
    api_out out = begin();
    api_out_flush(&out); /* nothing yet: not even the head */
    ck_assert_int_eq(reply.starts, 0);
    api_out_string(&out, "one\n");
    api_out_flush(&out);
    ck_assert_uint_eq(reply.gives, 1);
    ck_assert_str_eq(reply.body, "one\n");
    api_out_flush(&out);
    api_out_string(&out, "two\n");
    ck_assert_uint_eq(reply.gives, 1);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_str_eq(reply.body, "one\ntwo\n");
    ck_assert(!reply.head.has_length);
    ck_assert_uint_eq(reply.blocks, 0);
}
END_TEST

/* A document inside a string of another one, its own strings escaped twice; counted as it is written. */
START_TEST(what_is_quoted_reads_back_as_it_was)
{
    static const char text[] = "a\"b\\c\n\x01\xc3\xa9/";
    api_out counter, *outs[2] = { &counter, NULL }, out = begin();
    api_out_init(&counter, NULL, (api_head){ 0 });
    outs[1] = &out;
    for (size_t i = 0; i < 2; i++) {
        api_out_string(outs[i], "[\"");
        outs[i]->quoted = true;
        api_out_char(outs[i], '[');
        api_out_json_string(outs[i], text, sizeof text); /* its NUL too */
        api_out_format(outs[i], ",%d]", 7);
        outs[i]->quoted = false;
        api_out_string(outs[i], "\"]");
    }
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_uint_eq(counter.written, reply.length);
    json_t *outer = json_loadb(reply.body, reply.length, JSON_ALLOW_NUL, NULL), *string = json_array_get(outer, 0);
    ck_assert(json_is_string(string));
    json_t *inner = json_loadb(json_string_value(string), json_string_length(string), JSON_ALLOW_NUL, NULL);
    ck_assert_uint_eq(json_array_size(inner), 2);
    ck_assert_uint_eq(json_string_length(json_array_get(inner, 0)), sizeof text);
    ck_assert_mem_eq(json_string_value(json_array_get(inner, 0)), text, sizeof text);
    ck_assert_int_eq(json_integer_value(json_array_get(inner, 1)), 7);
    json_decref(inner);
    json_decref(outer);
}
END_TEST

START_TEST(blocks_filled_elsewhere_keep_their_place)
{
    api_out out = begin();
    api_out_string(&out, "1");
    api_block *block = reply.reply.take(&reply);
    block->used = 1;
    block->data[0] = '2';
    api_out_block(&out, block, false);
    char *room = api_out_reserve(&out, API_BLOCK_BYTES);
    ck_assert_ptr_nonnull(room);
    room[0] = '3';
    api_out_commit(&out, 1);
    api_out_string(&out, "4");
    ck_assert_uint_eq(out.written, 4);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    ck_assert_str_eq(reply.body, "1234");
}
END_TEST

START_TEST(a_reservation_that_does_not_fit_moves_to_the_next_block)
{
    api_out out = begin();
    api_out_string(&out, "x");
    ck_assert_ptr_nonnull(api_out_reserve(&out, API_BLOCK_BYTES - 1));
    ck_assert_uint_eq(reply.gives, 0);
    ck_assert_ptr_nonnull(api_out_reserve(&out, API_BLOCK_BYTES));
    ck_assert_uint_eq(reply.gives, 1);
    ck_assert_ptr_null(api_out_reserve(&out, API_BLOCK_BYTES + 1));
    ck_assert_int_eq(api_out_end(&out), ATTN_E_INTERNAL);
    ck_assert(!api_out_abandon(&out));
    ck_assert_uint_eq(reply.blocks, 0);
}
END_TEST

/* Every byte below 0x20, quotes and backslashes, NUL, and characters of 2 to 4 bytes come back as they went. */
START_TEST(json_strings_read_back)
{
    char text[200];
    size_t n = 0;
    for (int c = 0; c < 128; c++)
        text[n++] = (char)c;
    memcpy(text + n, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9);
    n += 9;
    api_out out = begin();
    api_out_json_string(&out, text, n);
    ck_assert_int_eq(api_out_end(&out), ATTN_OK);
    json_t *read = json_loadb(reply.body, reply.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(read);
    ck_assert_uint_eq(json_string_length(read), n);
    ck_assert_mem_eq(json_string_value(read), text, n);
    json_decref(read);
}
END_TEST

static bool never(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    return false;
}

START_TEST(no_memory_before_the_first_block_leaves_room_for_another_answer)
{
    api_out out = begin();
    attn_memory_hook(never, NULL);
    api_out_string(&out, "x");
    attn_memory_hook(NULL, NULL);
    api_out_string(&out, "y");
    ck_assert_int_eq(api_out_end(&out), ATTN_E_NOMEM);
    ck_assert(api_out_abandon(&out));
    ck_assert_int_eq(reply.starts, 0);
    api_problem problem = { 0 };
    api_fail(&problem, API_NO_MEMORY, NULL, "none");
    ck_assert_int_eq(api_send_problem(&problem, "id", &reply.reply), ATTN_OK);
    ck_assert_int_eq(reply.head.status, 503);
    ck_assert(reply.head.retry);
}
END_TEST

START_TEST(a_client_that_goes_away_ends_the_writing)
{
    api_out out = begin();
    reply.gone_after = 1;
    for (int i = 0; i < 4 * API_BLOCK_BYTES; i++)
        api_out_char(&out, 'x');
    ck_assert_int_eq(out.status, ATTN_E_CANCELLED);
    ck_assert_uint_eq(reply.length, API_BLOCK_BYTES);
    ck_assert_int_eq(api_out_end(&out), ATTN_E_CANCELLED);
    ck_assert(!api_out_abandon(&out));
    ck_assert_uint_eq(reply.blocks, 0);
}
END_TEST

START_TEST(without_a_reply_bytes_are_counted)
{
    api_out out;
    api_out_init(&out, NULL, (api_head){ 0 });
    api_out_json_string(&out, "a\"b", 3);
    ck_assert_uint_eq(out.written, 6);
    out.written = UINT64_MAX - 1;
    api_out_string(&out, "more");
    ck_assert_uint_eq(out.written, UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("out");
    TCase *tcase = tcase_create("out");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_empty_answer_has_length_zero);
    tcase_add_test(tcase, an_answer_that_fits_one_block_has_its_length);
    tcase_add_test(tcase, long_answers_are_cut_into_blocks_without_loss);
    tcase_add_test(tcase, what_is_flushed_leaves_at_once);
    tcase_add_test(tcase, what_is_quoted_reads_back_as_it_was);
    tcase_add_test(tcase, blocks_filled_elsewhere_keep_their_place);
    tcase_add_test(tcase, a_reservation_that_does_not_fit_moves_to_the_next_block);
    tcase_add_test(tcase, json_strings_read_back);
    tcase_add_test(tcase, no_memory_before_the_first_block_leaves_room_for_another_answer);
    tcase_add_test(tcase, a_client_that_goes_away_ends_the_writing);
    tcase_add_test(tcase, without_a_reply_bytes_are_counted);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
