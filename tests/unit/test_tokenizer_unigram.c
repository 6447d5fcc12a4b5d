/* test_tokenizer_unigram.c - Unigram and what comes with it: charsmaps, sequences of post-processors, how pieces read; all as in the library.
 *
 * What the library gave is in tests/golden/tokenizers/unigram (make_unigram_goldens.py), and for published tokenizers in the shared test data.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer_compare.h"

#include "text/pipeline.h"

#define UNIGRAM GOLDEN "unigram/"

static void compare_displays(const attn_tokenizer *t, const json_t *displays, const char *name)
{
    const char *id;
    json_t *want;
    attn_text text, display;
    json_object_foreach((json_t *)displays, id, want)
    {
        ck_assert(attn_tokenizer_piece(t, atoi(id), &text, &display));
        ck_assert_msg(display.length == json_string_length(want) && memcmp(display.bytes, json_string_value(want), display.length) == 0,
                      "%s, piece %s: \"%.*s\" reads \"%.*s\", not \"%s\"", name, id, (int)text.length, text.bytes, (int)display.length, display.bytes,
                      json_string_value(want));
    }
}

START_TEST(every_pipeline_around_unigram_does_as_in_the_library)
{
    json_t *base = load_json(UNIGRAM "tokenizer.json"), *variants = load_json(UNIGRAM "variants.json");
    ck_assert_uint_gt(json_array_size(variants), 10);
    compared = 0;
    for (size_t i = 0; i < json_array_size(variants); i++) {
        const json_t *variant = json_array_get(variants, i);
        attn_tokenizer *t = open_variant(base, variant);
        const char *name = json_string_value(json_object_get(variant, "name"));
        compare_cases(t, json_object_get(variant, "cases"), false, name);
        compare_displays(t, json_object_get(variant, "displays"), name);
        attn_tokenizer_close(t);
    }
    printf("%zu variants: %zu encodings equal\n", json_array_size(variants), compared);
    json_decref(variants);
    json_decref(base);
}
END_TEST

static const char *const shared_names[] = { "t5-small", "small-t5", "small-albert", "small-xlm-roberta" };

START_TEST(tokenizers_of_sentencepiece_encode_as_the_library_does)
{
    char file[512], golden[512], name[100];
    snprintf(name, sizeof name, "tokenizers/%s/tokenizer.json", shared_names[_i]);
    shared_path(file, name);
    snprintf(name, sizeof name, "tokenizers/%s/expected.json", shared_names[_i]);
    compare_files(file, shared_path(golden, name));
}
END_TEST

/* The variant of that name. */
static attn_tokenizer *open_named(const char *name)
{
    json_t *base = load_json(UNIGRAM "tokenizer.json"), *variants = load_json(UNIGRAM "variants.json");
    attn_tokenizer *t = NULL;
    for (size_t i = 0; i < json_array_size(variants) && !t; i++) {
        const json_t *variant = json_array_get(variants, i);
        if (strcmp(json_string_value(json_object_get(variant, "name")), name) == 0)
            t = open_variant(base, variant);
    }
    ck_assert_msg(t != NULL, "no variant \"%s\"", name);
    json_decref(variants);
    json_decref(base);
    return t;
}

START_TEST(without_an_unknown_token_a_strange_character_is_an_error_of_its_text)
{
    static const char file[] = "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"\xC3\xA9\",-2]]}}";
    attn_tokenizer *t = open_bytes(file, sizeof file - 1);
    attn_arena *arena = attn_arena_new();
    attn_text fine = { .bytes = "a\xC3\xA9", .length = 3 }, strange = { .bytes = "a\xC3\xA8", .length = 3 };
    attn_encode_options options = { .add_special_tokens = true };
    attn_encoding out = encode_fine(t, &fine, NULL, options, arena);
    attn_error err = { .code = ATTN_OK };
    ck_assert(out.count == 2 && out.tokens[0].id == 0 && out.tokens[1].id == 1 && out.tokens[1].end == 2);
    ck_assert_int_eq(attn_tokenizer_encode(t, &fine, &strange, &options, arena, NULL, &out, &err), ATTN_E_INPUT);
    ck_assert_str_eq(err.where, "text_pair");
    ck_assert_ptr_nonnull(strstr(err.text, "U+00E8"));
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* ---- costs ---- */

static const char *const costly[] = { "as XLM-RoBERTa", "as ALBERT", "the charsmap alone", "bytes for what is unknown", "equal sums" };
static const char *const units[] = {
    " ",
    "a",
    "the",
    "\x01",
    "\r\n",
    "<unk>",
    "\xE2\x96\x81",
    "\xE4\xB8\xAD",
    "\xCC\x81",
    "e\xCC\x81",
    "\xEF\xB7\xBA",
    "\xEF\xBD\xB6\xEF\xBE\x9E",
    "\xF0\x9F\x87\xA9",
    "\xE0\xA4\x95\xE0\xA5\x8D",
    "<mask> ",
    "``",
    "aaab",
    "xq ",
    "\xF0\x9F\x91\xA9\xE2\x80\x8D",
};

/* At 256 KiB in one word anything quadratic takes minutes. */
START_TEST(long_texts_without_spaces_take_linear_time_and_no_more_memory_than_promised)
{
    attn_tokenizer *t = open_named(costly[_i]);
    attn_arena *arena = attn_arena_new();
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        encode_repeated(t, units[i], (size_t)256 << 10, arena);
        for (size_t bytes = 0; bytes < 100; bytes += 33)
            encode_repeated(t, units[i], bytes, arena);
    }
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

START_TEST(a_call_off_is_seen_while_words_are_cut_and_charsmaps_walked)
{
    enum { BYTES = 200000 };
    attn_tokenizer *t = open_named("the charsmap alone");
    char *text = malloc(BYTES);
    uint32_t *at = calloc(BYTES, sizeof *at);
    memset(text, 'a', BYTES);
    for (int stage = 0; stage < 2; stage++)
        for (int off = 0; off < 2; off++) {
            attn_arena *arena = attn_arena_new();
            attn_cancel cancel = { .deadline_ns = 0 };
            attn_encoder e;
            attn_stretch s = { .bytes = text, .at = at, .length = BYTES };
            ck_assert_int_eq(attn_encoder_open(&e, t, BYTES, arena, &cancel, NULL), ATTN_OK);
            if (off)
                attn_cancel_raise(&cancel, ATTN_CLIENT_GONE);
            attn_status st = stage ? attn_normalizers_run(&t->normalizers, &e, &s) : attn_splitters_next(&e, &s, 0);
            ck_assert_int_eq(st, off ? ATTN_E_CANCELLED : ATTN_OK);
            attn_arena_free(arena);
        }
    free(at);
    free(text);
    attn_tokenizer_close(t);
}
END_TEST

static size_t allocations, fail_at; /* the hook has no place of its own to count in */

static bool may(void *context, size_t bytes)
{
    (void)context;
    (void)bytes;
    return ++allocations < fail_at;
}

/* A file with a pattern and few pieces. */
static char *small_file(void)
{
    json_t *base = load_json(UNIGRAM "tokenizer.json"), *vocabulary = json_object_get(json_object_get(base, "model"), "vocab");
    while (json_array_size(vocabulary) > 30)
        json_array_remove(vocabulary, json_array_size(vocabulary) - 1);
    json_t *spaces = json_loads("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}", 0, NULL);
    json_object_set_new(base, "normalizer", json_pack("{s:s,s:[O,o]}", "type", "Sequence", "normalizers", json_object_get(base, "normalizer"), spaces));
    char *json = json_dumps(base, JSON_COMPACT);
    json_decref(base);
    return json;
}

START_TEST(memory_that_ends_anywhere_is_an_error_and_leaks_nothing)
{
    char *json = small_file();
    attn_text text = { .bytes = "a  \xEF\xAC\x81 xyz", .length = 10 };
    attn_status st = ATTN_E_NOMEM;
    attn_memory_hook(may, NULL);
    for (fail_at = 1; st != ATTN_OK; fail_at++) {
        attn_encode_options options = { .add_special_tokens = true };
        attn_tokenizer *t;
        attn_encoding out;
        attn_error err = { .code = ATTN_OK };
        allocations = 0;
        st = attn_tokenizer_open(&t, json, strlen(json), "f", &err);
        attn_arena *arena = st == ATTN_OK ? attn_arena_new() : NULL;
        if (st == ATTN_OK)
            st = arena ? attn_tokenizer_encode(t, &text, NULL, &options, arena, NULL, &out, &err) : ATTN_E_NOMEM;
        ck_assert_msg(st == ATTN_E_NOMEM || (st == ATTN_OK && allocations < fail_at), "allocation %zu: %d, %s", fail_at, st, err.text);
        attn_arena_free(arena);
        attn_tokenizer_close(t);
    }
    attn_memory_hook(NULL, NULL);
    ck_assert_uint_gt(fail_at, 8);
    free(json);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tokenizer unigram");
    TCase *c = tcase_create("unigram");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, every_pipeline_around_unigram_does_as_in_the_library);
    tcase_add_loop_test(c, tokenizers_of_sentencepiece_encode_as_the_library_does, 0, 4);
    tcase_add_test(c, without_an_unknown_token_a_strange_character_is_an_error_of_its_text);
    tcase_add_loop_test(c, long_texts_without_spaces_take_linear_time_and_no_more_memory_than_promised, 0, (int)(sizeof costly / sizeof *costly));
    tcase_add_test(c, a_call_off_is_seen_while_words_are_cut_and_charsmaps_walked);
    tcase_add_test(c, memory_that_ends_anywhere_is_an_error_and_leaks_nothing);
    suite_add_tcase(s, c);
    return unit_main(s);
}
