/* oom_model.c - opening and running a model with the 1st, 2nd, 3rd ... allocation refused, until nothing is refused any more: each time an error,
 * nothing leaked (the sanitizers watch), nothing half-built given out. The error is ATTN_E_NOMEM, except where jansson takes a string it has no memory for as a
 * fault of the text.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "attn.h"
#include "model_files.h"
#include "unit.h"

static size_t left; /* allocations still granted */
static bool refused;

static bool grant(void *ctx, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    if (left == 0)
        refused = true;
    else
        left--;
    return !refused;
}

static attn_status ignore(void *ctx, const attn_layer *layer, attn_error *err)
{
    (void)ctx;
    (void)layer;
    (void)err;
    return ATTN_OK;
}

/* Runs `what` with ever more allocations granted; it must fail for want of memory until it does not. */
static void starve(attn_status (*what)(void *, attn_error *), void *ctx, size_t at_least)
{
    for (size_t n = 0;; n++) {
        attn_error err = { 0 };
        left = n;
        refused = false;
        attn_memory_hook(grant, NULL);
        attn_status st = what(ctx, &err);
        attn_memory_hook(NULL, NULL);
        if (st == ATTN_OK && !refused) {
            ck_assert_uint_ge(n, at_least);
            return;
        }
        ck_assert(refused && st == err.code);
        ck_assert_msg(st == ATTN_E_NOMEM || (st == ATTN_E_FORMAT && strstr(err.text, "JSON")), "allocation %zu: status %d, %s: %s", n, (int)st, err.where,
                      err.text);
        ck_assert_uint_lt(n, 100000);
    }
}

typedef struct opened {
    attn_runtime *rt;
    const char *source;
} opened;

static attn_status open_and_close(void *ctx, attn_error *err)
{
    opened *o = ctx;
    attn_model *m = NULL;
    attn_status st = attn_model_open(&m, o->rt, o->source, err);
    ck_assert_int_eq(st == ATTN_OK, m != NULL);
    attn_model_close(m);
    return st;
}

static attn_status ignore_state(void *ctx, attn_stack stack, size_t state, const attn_view *view, attn_error *err)
{
    (void)ctx;
    (void)stack, (void)state;
    (void)view;
    (void)err;
    return ATTN_OK;
}

typedef struct asked {
    const attn_model *model;
    attn_keep keep;
} asked;

static attn_status run(void *ctx, attn_error *err)
{
    enum { T = 64 }; /* more than one chunk of an arena */
    int32_t ids[T];
    uint8_t special[T] = { 1 };
    for (int32_t i = 0; i < T; i++)
        ids[i] = i % 7 + 5;
    const asked *a = ctx;
    attn_analysis_tokens about = { ids, special };
    attn_model_input in = { .T = T, .input_ids = ids };
    attn_keep keep = a->keep;
    keep.about = &about;
    attn_sink sink = { .layer = ignore, .state = ignore_state };
    attn_arena *arena = attn_arena_new();
    attn_status st = arena ? attn_model_run(a->model, &in, &keep, arena, NULL, &sink, err) : attn_fail_memory(err);
    ck_assert(!arena || attn_arena_used(arena) == 0);
    attn_arena_free(arena);
    return st;
}

/* An encoder-decoder: one pass that gives all there is, then two steps of writing. */
static attn_status run_decoder(void *ctx, attn_error *err)
{
    enum { T = 64, WRITTEN = 24, STEPS = 2 };
    int32_t ids[T], next;
    uint8_t special[T] = { 1 };
    for (int32_t i = 0; i < T; i++)
        ids[i] = i % 7 + 5;
    attn_analysis_tokens about = { ids, special };
    attn_model_input in = { .T = T, .input_ids = ids, .decoder_T = WRITTEN, .decoder_input_ids = ids };
    attn_keep all = { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .about = &about }, keep[ATTN_STACKS] = { all, all, all };
    keep[ATTN_STACK_DECODER].analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1;
    keep[ATTN_STACK_CROSS].analyses = ATTN_ANALYSIS_BIT(ATTN_ENTROPY) | ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE);
    attn_sink sink = { .layer = ignore, .state = ignore_state };
    attn_generation *writing;
    attn_arena *arena = attn_arena_new();
    attn_status st = arena ? attn_model_run(ctx, &in, keep, arena, NULL, &sink, err) : attn_fail_memory(err);
    keep[ATTN_STACK_DECODER].analyses = keep[ATTN_STACK_CROSS].analyses = 0; /* a step has none */
    if (st == ATTN_OK)
        st = attn_generation_begin(&writing, ctx, &in, STEPS, arena, err);
    for (size_t k = 0; k < STEPS && st == ATTN_OK; k++)
        st = attn_generation_run(writing, keep, arena, NULL, &sink, &next, err);
    attn_arena_free(arena);
    return st;
}

/* A model that writes past the length at which all of it is rotated anew. */
static attn_status write_on(void *ctx, attn_error *err)
{
    enum { T = 14, STEPS = 5 };
    int32_t ids[T], next;
    for (int32_t i = 0; i < T; i++)
        ids[i] = i % 7 + 5;
    attn_model_input in = { .T = T, .input_ids = ids };
    const attn_keep keep = { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    attn_sink sink = { .layer = ignore, .state = ignore_state };
    attn_generation *writing;
    attn_arena *arena = attn_arena_new();
    attn_status st = arena ? attn_generation_begin(&writing, ctx, &in, STEPS, arena, err) : attn_fail_memory(err);
    for (size_t k = 0; k < STEPS && st == ATTN_OK; k++)
        st = attn_generation_run(writing, &keep, arena, NULL, &sink, &next, err);
    attn_arena_free(arena);
    return st;
}

/* More ids than one chunk of an arena holds the text of. */
static attn_status decode(void *ctx, attn_error *err)
{
    enum { IDS = 4096 };
    static int32_t ids[IDS];
    attn_text text;
    for (int32_t i = 0; i < IDS; i++)
        ids[i] = i % 300;
    attn_arena *arena = attn_arena_new();
    attn_status st = arena ? attn_tokenizer_decode(ctx, ids, IDS, arena, &text, err) : attn_fail_memory(err);
    attn_arena_free(arena);
    return st;
}

static attn_runtime *runtime(void)
{
    attn_runtime *rt = NULL;
    attn_error err = { 0 };
    attn_runtime_options options = { .threads = 1 };
    ck_assert_int_eq(attn_runtime_new(&rt, &options, &err), ATTN_OK);
    return rt;
}

START_TEST(opening_a_model_survives_every_allocation_that_fails)
{
    static const char *const sources[] = { "tests/golden/models/bert", "tests/golden/models/bert-sharded", "tests/golden/models/phi3-longrope",
                                           "tests/golden/models/bart" };
    opened o = { runtime(), sources[_i] };
    starve(open_and_close, &o, 10);
    attn_runtime_free(o.rt);
}
END_TEST

START_TEST(reading_a_generation_config_survives_every_allocation_that_fails)
{
    static const char text[] = "{\"eos_token_id\": [1, 2], \"bad_words_ids\": [[7], [8, 9]], \"forced_bos_token_id\": 4}";
    model_copy copy = copy_model("tests/golden/models/llama");
    opened o = { runtime(), copy.path };
    file_write(copy.path, "generation_config.json", text, sizeof text - 1);
    starve(open_and_close, &o, 10);
    remove_copy(&copy);
    attn_runtime_free(o.rt);
}
END_TEST

START_TEST(writing_survives_every_allocation_that_fails)
{
    static const char *const sources[] = { "tests/golden/models/gpt2", "tests/golden/models/phi3-longrope" };
    attn_runtime *rt = runtime();
    attn_error err = { 0 };
    attn_model *m = NULL;
    ck_assert_int_eq(attn_model_open(&m, rt, sources[_i], &err), ATTN_OK);
    starve(write_on, m, 1);
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(a_run_survives_every_allocation_that_fails)
{
    attn_runtime *rt = runtime();
    attn_error err = { 0 };
    attn_model *m = NULL;
    ck_assert_int_eq(attn_model_open(&m, rt, "tests/golden/models/bert", &err), ATTN_OK);
    attn_pool pool = { .size = 40, .mode = ATTN_REDUCE_MAX };
    const attn_keep keeps[] = {
        { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 },
        { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1 },
        { .analyses = ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE) },
        { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, .analyses = ATTN_HEAD_ANALYSES, .pool = &pool },
    };
    for (size_t i = 0; i < sizeof keeps / sizeof *keeps; i++) {
        asked a = { m, keeps[i] };
        starve(run, &a, 2);
    }
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(encoder_and_decoder_survive_every_allocation_that_fails)
{
    static const char *const sources[] = { "tests/golden/models/t5", "tests/golden/models/mbart" };
    attn_runtime *rt = runtime();
    attn_error err = { 0 };
    attn_model *m = NULL;
    ck_assert_int_eq(attn_model_open(&m, rt, sources[_i], &err), ATTN_OK);
    starve(run_decoder, m, 2);
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(decoding_survives_every_allocation_that_fails)
{
    static const char *const names[] = { "tests/golden/tokenizers/small-bert", "tests/golden/tokenizers/small-gpt2" };
    model_file file = file_read(names[_i], "tokenizer.json");
    attn_tokenizer *t;
    ck_assert_int_eq(attn_tokenizer_open(&t, (const char *)file.bytes, file.size, names[_i], NULL), ATTN_OK);
    starve(decode, t, 2);
    attn_tokenizer_close(t);
    free(file.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oom_model");
    TCase *tcase = tcase_create("oom");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, opening_a_model_survives_every_allocation_that_fails, 0, 4);
    tcase_add_test(tcase, reading_a_generation_config_survives_every_allocation_that_fails);
    tcase_add_test(tcase, a_run_survives_every_allocation_that_fails);
    tcase_add_loop_test(tcase, writing_survives_every_allocation_that_fails, 0, 2);
    tcase_add_loop_test(tcase, encoder_and_decoder_survive_every_allocation_that_fails, 0, 2);
    tcase_add_loop_test(tcase, decoding_survives_every_allocation_that_fails, 0, 2);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
