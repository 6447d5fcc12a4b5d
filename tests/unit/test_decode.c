/* test_decode.c - the text of any ids equals what the tokenizers library makes of them, whatever the file's decoder, and takes no more memory than was promised.
 *
 * What the library gave is in tests/golden/tokenizers/decode.json (make_decode_goldens.py), which says how the random ids are drawn.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer_case.h"

#include <dirent.h>

#define DECODE GOLDEN "decode.json"
enum { RANDOM_TEXTS = 1000, BLOCK = 200, MOST_IDS = 4096 };
#define START 0xCBF29CE484222325u

static attn_text decode_fine(const attn_tokenizer *t, const int32_t *ids, size_t n, attn_arena *arena)
{
    attn_text text;
    attn_arena_reset(arena, SIZE_MAX);
    ck_assert_int_eq(attn_tokenizer_decode(t, ids, n, arena, &text, NULL), ATTN_OK);
    ck_assert_uint_le(attn_arena_peak(arena), attn_tokenizer_decode_bytes(t, n));
    ck_assert_uint_le(text.length, attn_tokenizer_decoded_length(t, n));
    return text;
}

static uint64_t digest_text(uint64_t state, attn_text text)
{
    state = fnv(state, (uint32_t)text.length);
    for (size_t i = 0; i < text.length; i++)
        state = fnv(state, (unsigned char)text.bytes[i]);
    return state;
}

static size_t read_ids(const json_t *list, int32_t ids[MOST_IDS])
{
    size_t n = json_array_size(list);
    ck_assert_uint_le(n, MOST_IDS);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

static void check_digest(const json_t *want, uint64_t got, const char *name)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)got);
    ck_assert_msg(strcmp(json_string_value(want), digits) == 0, "%s: %s, not %s", name, digits, json_string_value(want));
}

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void check_random(const attn_tokenizer *t, const json_t *want, const char *name)
{
    attn_arena *arena = attn_arena_new();
    uint64_t state = 1, sum = START;
    int32_t ids[40];
    ck_assert_uint_eq(json_array_size(want), RANDOM_TEXTS / BLOCK);
    for (size_t i = 0; i < RANDOM_TEXTS; i++) {
        size_t n = draw(&state) % 40;
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)(draw(&state) % attn_tokenizer_vocab_size(t));
        sum = digest_text(i % BLOCK == 0 ? START : sum, decode_fine(t, ids, n, arena));
        if (i % BLOCK == BLOCK - 1)
            check_digest(json_array_get(want, i / BLOCK), sum, name);
    }
    attn_arena_free(arena);
}

/* The ids of its expected.json, one text after the other. */
static void check_expected(const attn_tokenizer *t, const char *expected, const json_t *want, const char *name)
{
    attn_arena *arena = attn_arena_new();
    json_t *document = load_json(expected), *cases = json_object_get(document, "cases");
    static int32_t ids[MOST_IDS];
    uint64_t sum = START;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        size_t n = read_ids(json_object_get(json_array_get(cases, i), "ids"), ids);
        sum = digest_text(sum, decode_fine(t, ids, n, arena));
    }
    check_digest(want, sum, name);
    json_decref(document);
    attn_arena_free(arena);
}

/* Where a tokenizer lies: here, or in the shared test data. */
static void find_folder(char folder[512], const char *name)
{
    static const char *const here[] = { "core/builtin/", GOLDEN };
    char file[300];
    for (size_t i = 0; i < 2; i++) {
        snprintf(folder, 512, "%s%.200s", here[i], name);
        DIR *found = opendir(folder);
        if (found) {
            closedir(found);
            return;
        }
    }
    snprintf(file, sizeof file, "tokenizers/%.200s", name);
    shared_path(folder, file);
}

START_TEST(ids_read_as_the_library_reads_them_for_every_published_tokenizer)
{
    json_t *golden = load_json(DECODE), *files = json_object_get(golden, "files");
    size_t equal = 0;
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *want = json_array_get(files, i), *expected = json_object_get(want, "expected");
        const char *name = json_string_value(json_object_get(want, "name"));
        char folder[512], path[700];
        find_folder(folder, name);
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
        attn_tokenizer *t = open_file(path);
        if (!t && skip_missing(path))
            continue;
        check_random(t, json_object_get(want, "random"), name);
        snprintf(path, sizeof path, "%s/expected.json", folder);
        if (expected)
            check_expected(t, path, expected, name);
        attn_tokenizer_close(t);
        equal++;
    }
    printf("%zu tokenizers: %zu random texts equal, and those of their expected.json\n", equal, equal * RANDOM_TEXTS);
    json_decref(golden);
}
END_TEST

/* ---- decoders ----------------------------------------------------------------------------------------------------------- */

/* A file of these pieces, the first of which is special. */
static attn_tokenizer *open_pieces(const json_t *pieces, json_t *decoder)
{
    json_t *vocabulary = json_object();
    for (size_t i = 0; i < json_array_size(pieces); i++)
        json_object_set_new(vocabulary, json_string_value(json_array_get(pieces, i)), json_integer((json_int_t)i));
    json_t *document = json_pack("{s:[{s:i, s:O, s:b, s:b, s:b, s:b, s:b}], s:O, s:{s:s, s:o, s:[]}}", "added_tokens", "id", 0, "content",
                                 json_array_get(pieces, 0), "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1, "decoder", decoder,
                                 "model", "type", "BPE", "vocab", vocabulary, "merges");
    char *json = json_dumps(document, JSON_COMPACT);
    attn_tokenizer *t = open_bytes(json, strlen(json));
    free(json);
    json_decref(document);
    return t;
}

START_TEST(every_decoder_does_as_in_the_library)
{
    json_t *golden = load_json(DECODE), *decoders = json_object_get(golden, "decoders");
    attn_arena *arena = attn_arena_new();
    static int32_t ids[MOST_IDS];
    size_t equal = 0;
    for (size_t i = 0; i < json_array_size(decoders); i++) {
        json_t *decoder = json_object_get(json_array_get(decoders, i), "decoder"), *cases = json_object_get(json_array_get(decoders, i), "cases");
        attn_tokenizer *t = open_pieces(json_object_get(golden, "pieces"), decoder);
        char *name = json_dumps(decoder, JSON_COMPACT | JSON_ENCODE_ANY);
        for (size_t k = 0; k < json_array_size(cases); k++, equal++) {
            size_t n = read_ids(json_object_get(json_array_get(cases, k), "ids"), ids);
            attn_text got = decode_fine(t, ids, n, arena), want = text_of(json_object_get(json_array_get(cases, k), "text"));
            ck_assert_msg(got.length == want.length && memcmp(got.bytes, want.bytes, want.length) == 0, "%s, case %zu: \"%.*s\", not \"%.*s\"", name, k,
                          (int)got.length, got.bytes, (int)want.length, want.bytes);
        }
        free(name);
        attn_tokenizer_close(t);
    }
    printf("%zu decoders: %zu texts equal\n", json_array_size(decoders), equal);
    ck_assert_uint_gt(equal, 0);
    attn_arena_free(arena);
    json_decref(golden);
}
END_TEST

/* ---- ids ---------------------------------------------------------------------------------------------------------------- */

START_TEST(ids_without_a_piece_and_special_ones_are_passed_over)
{
    attn_tokenizer *t = open_small_bert();
    attn_arena *arena = attn_arena_new();
    int32_t end = (int32_t)attn_tokenizer_vocab_size(t), special = 0;
    while (!attn_tokenizer_is_special(t, special))
        special++;
    const int32_t nothing[] = { -1, INT32_MIN, INT32_MAX, end, special };
    ck_assert_uint_eq(decode_fine(t, nothing, 5, arena).length, 0);
    ck_assert_uint_eq(decode_fine(t, NULL, 0, arena).length, 0);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

static attn_tokenizer *open_decoder(const char *decoder)
{
    json_t *pieces = json_pack("[s, s, s, s]", "[S]",
                               "\xE2\x96\x81"
                               "a",
                               "b", "c "),
           *node = json_loads(decoder, 0, NULL);
    ck_assert_ptr_nonnull(node);
    attn_tokenizer *t = open_pieces(pieces, node);
    json_decref(pieces);
    json_decref(node);
    return t;
}

START_TEST(old_metaspace_without_a_scheme_sets_its_sign_always)
{
    static const char *const decoders[] = {
        "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"str_rep\":\"x\",\"add_prefix_space\":true}",
        "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"never\",\"add_prefix_space\":false}"
    };
    static const char *const texts[] = { "a ab", " a ab" };
    const int32_t ids[] = { 1, 1, 2 };
    attn_tokenizer *t = open_decoder(decoders[_i]);
    attn_arena *arena = attn_arena_new();
    attn_text got = decode_fine(t, ids, 3, arena);
    ck_assert_uint_eq(got.length, strlen(texts[_i]));
    ck_assert_mem_eq(got.bytes, texts[_i], got.length);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

START_TEST(a_long_sequence_takes_time_in_proportion)
{
    enum { N = 1 << 20 };
    attn_tokenizer *t = open_file(_i ? SMALL_GPT2 : SMALL_BERT);
    attn_arena *arena = attn_arena_new();
    int32_t *ids = malloc(N * sizeof *ids);
    uint64_t state = 7;
    for (size_t i = 0; i < N; i++)
        ids[i] = (int32_t)(draw(&state) % attn_tokenizer_vocab_size(t));
    uint64_t begin = attn_clock_ns();
    ck_assert_uint_gt(decode_fine(t, ids, N, arena).length, N);
    ck_assert_uint_lt(attn_clock_ns() - begin, (uint64_t)10 * 1000 * 1000 * 1000); /* a fraction of a second; what grows with the square takes hours */
    free(ids);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("decode");
    TCase *c = tcase_create("decode");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, ids_read_as_the_library_reads_them_for_every_published_tokenizer);
    tcase_add_test(c, every_decoder_does_as_in_the_library);
    tcase_add_test(c, ids_without_a_piece_and_special_ones_are_passed_over);
    tcase_add_loop_test(c, old_metaspace_without_a_scheme_sets_its_sign_always, 0, 2);
    tcase_add_loop_test(c, a_long_sequence_takes_time_in_proportion, 0, 2);
    suite_add_tcase(s, c);
    return unit_main(s);
}
