/* test_tokenizer_bounds.c - what a tokenizer says its texts may become is never exceeded, and is near enough to be of use.
 *
 * Buffers are as large as these bounds say, so one that is too small is memory overwritten: every code point and many mixtures go through every tokenizer there
 * is. And a bound that is too large refuses texts for want of memory that nobody would have needed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer_case.h"

#include "text/pipeline.h"

#include <dirent.h>

enum { MOST = 64 };
static char paths[MOST][600];
static int num_paths;
static bool shared_missing;

static void list_folder(const char *folder)
{
    DIR *all = opendir(folder);
    for (struct dirent *entry = all ? readdir(all) : NULL; entry && num_paths < MOST; entry = readdir(all)) {
        snprintf(paths[num_paths], sizeof paths[0], "%.250s/%.250s/tokenizer.json", folder, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(paths[num_paths], "rb");
        if (f)
            num_paths++;
        if (f)
            fclose(f);
    }
    if (all)
        closedir(all);
}

static attn_tokenizer *open_listed(int i)
{
    attn_tokenizer *t = open_file(paths[i]);
    ck_assert_ptr_nonnull(t);
    return t;
}

/* ---- normalizers ------------------------------------------------------------------------------------------------------ */

static void check_reach(const attn_tokenizer *t, attn_encoder *e, const char *bytes, size_t n)
{
    uint32_t at[512];
    size_t points = 0;
    attn_stretch s = { .bytes = bytes, .at = at, .length = n };
    ck_assert(n <= 512 && attn_utf8_index(bytes, n, at));
    ck_assert_int_eq(attn_normalizers_run(&t->normalizers, e, &s), ATTN_OK);
    for (size_t i = 0; i < s.length; i++)
        points += ((unsigned char)s.bytes[i] & 0xC0) != 0x80;
    attn_reach most = attn_normalizers_reach(&t->normalizers, n, 1);
    ck_assert_msg(s.length <= most.bytes && points <= most.points, "%.*s: %zu bytes and %zu code points of %zu", (int)n, bytes, s.length, points, n);
}

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)random_state * n >> 32);
}

/* Those that grow most, in one way or another: ligatures, syllables, marks, letters whose other case is longer, ideographs, what a charsmap has. */
static const uint32_t hard[] = { 0xFDFA,  0xFDFB, 0xFDF2, 0x3300, 0x33FF, 0xFB03, 0x1F82, 0x1D160, 0x1D1C0, 0x0390, 0xAC01, 0xD7A3, 0x4E2D,  0xF900,
                                 0x2F800, 0x130,  0x23A,  0x23E,  0x1E9E, 0x212A, 0x2126, 0xFB2C,  0x958,   0x344,  0x301,  0x327,  0x345,   0x200D,
                                 0x1F468, 0x2581, 0x3000, 0xA0,   0x60,   0x27,   0x22,   0x20,    0x9,     0xA,    0xD,    0x0,    0x7F,    0xAD,
                                 0x61,    0x41,   0x31,   0x2E,   0xFFFD, 0xFEFF, 0xBD,   0x2075,  0xFF76,  0xFF9E, 0x3A3,  0x1FBC, 0x1F1E9, 0x10FFFF };

static size_t put_random(char *out, size_t points)
{
    size_t n = 0;
    for (size_t i = 0; i < points; i++)
        n += attn_utf8_put(out + n, hard[random_below(sizeof hard / sizeof *hard)]);
    return n;
}

START_TEST(no_code_point_grows_more_than_all_normalizers_together_say)
{
    attn_tokenizer *t = open_listed(_i);
    attn_arena *arena = attn_arena_new();
    attn_encoder e;
    char bytes[512];
    ck_assert_int_eq(attn_encoder_open(&e, t, 4096, arena, NULL, NULL), ATTN_OK); /* room to overrun and be seen */
    for (uint32_t c = 0; t->normalizers.count > 0 && c < 0x110000; c = c == 0x323AF   ? 0xE0000
                                                                       : c == 0xE01EF ? 0x10FFFE
                                                                                      : c + 1) /* between these nothing is assigned */
        if (c < 0xD800 || c >= 0xE000)
            check_reach(t, &e, bytes, attn_utf8_put(bytes, c));
    for (int i = 0; i < 5000; i++)
        check_reach(t, &e, bytes, put_random(bytes, 1 + random_below(i % 10 ? 4 : 100)));
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

/* On these rests what is said of text behind NFKD. */
START_TEST(what_nfkd_leaves_stays_settled_in_lower_case)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint32_t parts[ATTN_DECOMPOSED_MAX], more[ATTN_DECOMPOSED_MAX], low[ATTN_LOWER_MAX];
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = attn_decompose(c, true, parts);
        for (size_t i = 0; i < n; i++)
            ck_assert_msg(attn_decompose(parts[i], true, more) == 1 && more[0] == parts[i], "U+%04X", c);
        if (n > 1 || parts[0] != c)
            continue;
        ck_assert_msg(attn_lower(c, low) == 1 && attn_decompose(low[0], true, more) == 1 && more[0] == low[0], "U+%04X", c);
    }
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------------------------------------- */

static size_t taken(const attn_tokenizer *t, attn_arena *arena, const char *bytes, size_t n)
{
    attn_text text = { .bytes = bytes, .length = n };
    attn_error err = { .code = ATTN_OK };
    attn_encoding out;
    attn_arena_reset(arena, SIZE_MAX);
    ck_assert_msg(attn_tokenizer_encode(t, &text, NULL, &(attn_encode_options){ .add_special_tokens = true }, arena, NULL, &out, &err) == ATTN_OK, "%s",
                  err.text);
    uint64_t bound = attn_tokenizer_bytes(t, n);
    ck_assert_msg(attn_arena_peak(arena) <= bound, "%zu bytes of memory for %zu of text, %llu promised", attn_arena_peak(arena), n, (unsigned long long)bound);
    return attn_arena_peak(arena);
}

START_TEST(no_text_takes_more_than_was_promised_nor_anything_like_as_little)
{
    enum { LENGTH = 10000, MOST_PER_BYTE = 4000 };
    attn_tokenizer *t = open_listed(_i);
    attn_arena *arena = attn_arena_new();
    char *bytes = malloc(LENGTH + 8);
    size_t most = 0;
    for (size_t u = 0; u < sizeof hard / sizeof *hard; u++) { /* one code point ten thousand times, and a space between */
        size_t n = 0;
        while (n < LENGTH - 8) {
            n += attn_utf8_put(bytes + n, hard[u]);
            if (random_below(8) == 0)
                bytes[n++] = ' ';
        }
        most = attn_most(most, taken(t, arena, bytes, n));
        for (n = 0; n < 40; n += attn_utf8_put(bytes + n, hard[u]))
            (void)taken(t, arena, bytes, n);
    }
    for (size_t a = 0; a < t->added.count; a += 1 + t->added.count / 8) { /* added tokens, and one letter between */
        attn_text token = t->added.tokens[a].content;
        size_t n = 0;
        for (; n + token.length + 1 < LENGTH; n += token.length + 1) {
            memcpy(bytes + n, token.bytes, token.length);
            bytes[n + token.length] = 'a';
        }
        most = attn_most(most, taken(t, arena, bytes, n));
        for (n = 0; n < 40 && token.length < 20; n += token.length + 1)
            (void)taken(t, arena, bytes, n);
    }
    uint64_t bound = attn_tokenizer_bytes(t, LENGTH);
    printf("%s: at most %zu bytes of memory a byte of text were taken, %llu are promised\n", paths[_i], most / LENGTH, (unsigned long long)bound / LENGTH);
    ck_assert_msg(bound <= LENGTH * MOST_PER_BYTE, "%llu promised", (unsigned long long)bound);
    free(bytes);
    attn_arena_free(arena);
    attn_tokenizer_close(t);
}
END_TEST

START_TEST(those_of_the_shared_data_are_among_them)
{
    if (shared_missing)
        skip_missing("data/tokenizers");
}
END_TEST

/* A table that no tool makes: every byte leads to every other, so that walking all of it would never end. */
START_TEST(a_charsmap_without_end_is_opened_at_once)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum { UNITS = 256 };
    unsigned char blob[4 + 4 * UNITS + 1] = { 0, 4 };
    for (size_t i = 1; i < UNITS; i++) /* label i, offset 0 by exclusive or with the place: back to 0 */
        for (size_t b = 0; b < 4; b++)
            blob[4 + 4 * i + b] = (unsigned char)(((uint32_t)i | (uint32_t)i << 10) >> (8 * b));
    char base64[2048], json[4096];
    size_t n = 0;
    for (size_t i = 0; i < sizeof blob; i += 3) {
        uint32_t bits = (uint32_t)blob[i] << 16 | (i + 1 < sizeof blob ? (uint32_t)blob[i + 1] << 8 : 0) | (i + 2 < sizeof blob ? blob[i + 2] : 0);
        for (int shift = 18; shift >= 0; shift -= 6)
            base64[n++] = letters[bits >> shift & 63];
    }
    ck_assert_uint_eq(sizeof blob % 3, 0);
    base64[n] = '\0';
    snprintf(
        json, sizeof json,
        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"%s\"}]},"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{\"u\":0}}}",
        base64);
    uint64_t begin = attn_clock_ns();
    attn_tokenizer_close(open_bytes(json, strlen(json)));
    ck_assert_uint_lt(attn_clock_ns() - begin, 5000000000u);
}
END_TEST

int main(void)
{
    char shared[512];
    Suite *suite = suite_create("tokenizer bounds");
    TCase *tcase = tcase_create("bounds");
    tcase_set_timeout(tcase, 120);
    list_folder("tests/golden/tokenizers");
    int own = num_paths;
    list_folder(shared_path(shared, "tokenizers"));
    shared_missing = num_paths == own;
    tcase_add_test(tcase, those_of_the_shared_data_are_among_them);
    tcase_add_loop_test(tcase, no_code_point_grows_more_than_all_normalizers_together_say, 0, num_paths);
    tcase_add_test(tcase, what_nfkd_leaves_stays_settled_in_lower_case);
    tcase_add_loop_test(tcase, no_text_takes_more_than_was_promised_nor_anything_like_as_little, 0, num_paths);
    tcase_add_test(tcase, a_charsmap_without_end_is_opened_at_once);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
