/* test_unloaded.c - a model whose weights are packed when it is first asked: what is known of it before, the bits it gives after, and failures in between.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "math/runtime.h"
#include "model_fixture.h"

static const char *const sources[] = { "builtin:attnd-bert", "builtin:attnd-gpt", "builtin:attnd-translate", "tests/golden/models/bert",
                                       "tests/golden/models/gptj" };
enum { SOURCES = sizeof sources / sizeof *sources, THREADS = 4 };

static attn_runtime *runtime_new(uint64_t memory)
{
    attn_runtime *rt = NULL;
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 2, .memory = memory }, NULL), ATTN_OK);
    attn_runtime_enter(rt);
    return rt;
}

static attn_model *open_one(attn_runtime *rt, const char *source, bool unloaded)
{
    attn_model *m = NULL;
    attn_error err = { 0 };
    attn_status st = unloaded ? attn_model_open_unloaded(&m, rt, source, &err) : attn_model_open(&m, rt, source, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return m;
}

static void runtime_end(attn_runtime *rt)
{
    attn_runtime_leave(rt);
    attn_runtime_free(rt);
}

/* Words that a model writes behind three ids, or nothing for one that does not write. */
static void write_words(const attn_model *m, int32_t *words, size_t n)
{
    static const int32_t ids[] = { 5, 9, 7 };
    attn_error err = { 0 };
    attn_generation *g;
    attn_arena *arena = attn_arena_new();
    const attn_model_info *info = attn_model_get_info(m);
    attn_model_input in = { .T = 3, .input_ids = ids, .decoder_T = info->num_decoder_layers > 0 ? 1 : 0, .decoder_input_ids = ids };
    memset(words, 0, n * sizeof *words);
    if (info->generates) {
        ck_assert_int_eq(attn_generation_begin(&g, m, &in, n, arena, &err), ATTN_OK);
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(attn_generation_run(g, NULL, arena, NULL, NULL, &words[i], &err), ATTN_OK);
    }
    attn_arena_free(arena);
}

START_TEST(what_is_known_of_it_is_known_before)
{
    attn_runtime *rt = runtime_new(0);
    attn_model *now = open_one(rt, sources[_i], false), *later = open_one(rt, sources[_i], true);
    const attn_model_info *a = attn_model_get_info(now), *b = attn_model_get_info(later);
    ck_assert(attn_model_is_loaded(now) && !attn_model_is_loaded(later));
    ck_assert_uint_eq(a->bytes, b->bytes);
    ck_assert_uint_eq(a->num_parameters, b->num_parameters);
    ck_assert_str_eq(a->dtype, b->dtype);
    ck_assert_int_eq(a->generates, b->generates);
    ck_assert_uint_eq(a->num_unused_tensors, b->num_unused_tensors);
    attn_model_input in = { .T = 20, .decoder_T = a->num_decoder_layers > 0 ? 4 : 0 };
    attn_keep keep[ATTN_STACKS] = { { .outputs = ATTN_BIT(ATTN_ATTENTIONS) } };
    ck_assert_uint_eq(attn_model_price(now, &in, keep).bytes, attn_model_price(later, &in, keep).bytes);
    ck_assert_int_eq(attn_model_load(now, NULL), ATTN_OK);
    attn_model_close(later);
    attn_model_close(now);
    runtime_end(rt);
}
END_TEST

static void *load(void *model)
{
    return attn_model_load(model, NULL) == ATTN_OK ? model : NULL;
}

START_TEST(several_threads_load_it_and_it_gives_the_same_bits)
{
    int32_t words[2][8];
    pthread_t threads[THREADS];
    attn_runtime *rt = runtime_new(0);
    attn_model *now = open_one(rt, sources[_i], false), *later = open_one(rt, sources[_i], true);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, load, later), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *loaded = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &loaded), 0);
        ck_assert_ptr_eq(loaded, later);
    }
    ck_assert(attn_model_is_loaded(later));
    write_words(now, words[0], 8);
    write_words(later, words[1], 8);
    ck_assert_int_eq(memcmp(words[0], words[1], sizeof words[0]), 0);
    attn_model_close(later);
    attn_model_close(now);
    runtime_end(rt);
}
END_TEST

START_TEST(memory_that_is_gone_by_then_is_a_refusal_with_both_figures_and_it_may_be_tried_again)
{
    attn_error err = { 0 };
    attn_runtime *rt = runtime_new(0);
    attn_model *m = open_one(rt, sources[_i], true);
    rt->memory = 1000;
    ck_assert_int_eq(attn_model_load(m, &err), ATTN_E_LIMIT);
    ck_assert(err.limit == 1000 && err.need > attn_model_get_info(m)->bytes);
    ck_assert(!attn_model_is_loaded(m));
    rt->memory = err.need;
    ck_assert_int_eq(attn_model_load(m, NULL), ATTN_OK);
    ck_assert(attn_model_is_loaded(m));
    attn_model_close(m);
    runtime_end(rt);
}
END_TEST

static bool refuse(void *ctx, size_t bytes)
{
    (void)ctx, (void)bytes;
    return false;
}

START_TEST(so_is_memory_that_cannot_be_had)
{
    attn_runtime *rt = runtime_new(0);
    attn_model *m = open_one(rt, sources[_i], true);
    attn_memory_hook(refuse, NULL);
    attn_status st = attn_model_load(m, NULL);
    attn_memory_hook(NULL, NULL);
    ck_assert_int_eq(st, ATTN_E_NOMEM);
    ck_assert_int_eq(attn_model_load(m, NULL), ATTN_OK);
    attn_model_close(m);
    runtime_end(rt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unloaded");
    TCase *c = tcase_create("unloaded");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, what_is_known_of_it_is_known_before, 0, SOURCES);
    tcase_add_loop_test(c, several_threads_load_it_and_it_gives_the_same_bits, 0, SOURCES);
    tcase_add_loop_test(c, memory_that_is_gone_by_then_is_a_refusal_with_both_figures_and_it_may_be_tried_again, 0, SOURCES);
    tcase_add_loop_test(c, so_is_memory_that_cannot_be_had, 0, SOURCES);
    suite_add_tcase(suite, c);
    return unit_main(suite);
}
