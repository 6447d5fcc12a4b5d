/* test_tokenizer_source.c - which of a folder's files a model's tokenizer comes from, and what is wrong with them.
 *
 * What the older files mean is test_tokenizer_files.c's; here they lie in a model's folder.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_model.h"
#include "model_files.h"

static const char bert[] = "tests/golden/models/bert", gpt2[] = "tests/golden/models/gpt2";
static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nHello\nworld\n##s\n";
static const char letters[] = "{\"H\":0,\"e\":1,\"l\":2,\"o\":3,\"He\":4,\"ll\":5,\"llo\":6,\"Hello\":7}", merges[] = "#version: 0.2\nH e\nl l\nll o\nHe llo\n";

static attn_runtime *runtime;

static void setup(void)
{
    ck_assert_int_eq(attn_runtime_new(&runtime, &(attn_runtime_options){ .threads = 1 }, NULL), ATTN_OK);
}

static void teardown(void)
{
    attn_runtime_free(runtime);
}

static void write_text(const model_copy *c, const char *name, const char *text)
{
    file_write(c->path, name, text, strlen(text));
}

/* A copy of a model without any tokenizer. */
static model_copy bare(const char *model)
{
    static const char *const files[] = { "tokenizer.json", "vocab.txt", "tokenizer_config.json" };
    model_copy c = copy_model(model);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[300];
        file_path(path, sizeof path, c.path, files[i]);
        if (access(path, F_OK) == 0)
            file_remove(c.path, files[i]);
    }
    return c;
}

/* The pieces of a text, a space between them; "none" without a tokenizer. Removes the copy. */
static void check_pieces(const model_copy *c, const char *text, const char *wanted)
{
    attn_error err = { 0 };
    attn_model *model;
    char seen[200] = "none";
    ck_assert_msg(attn_model_open(&model, runtime, c->path, &err) == ATTN_OK, "%s: %s", err.where, err.text);
    const attn_tokenizer *tokenizer = attn_model_get_tokenizer(model);
    attn_arena *arena = attn_arena_new();
    attn_encoding out = { 0 };
    attn_text given = { text, strlen(text) };
    if (tokenizer) {
        seen[0] = '\0';
        ck_assert_int_eq(attn_tokenizer_encode(tokenizer, &given, NULL, &(attn_encode_options){ .add_special_tokens = true }, arena, NULL, &out, &err),
                         ATTN_OK);
    }
    for (size_t t = 0; t < out.count; t++) {
        size_t n = strlen(seen);
        snprintf(seen + n, sizeof seen - n, "%s%.*s", n ? " " : "", (int)out.tokens[t].text.length, out.tokens[t].text.bytes);
    }
    ck_assert_str_eq(seen, wanted);
    attn_arena_free(arena);
    attn_model_close(model);
    remove_copy(c);
}

/* Opening fails and says so of this file. Removes the copy. */
static void check_refused(const model_copy *c, attn_status status, const char *where, const char *text)
{
    attn_error err = { 0 };
    attn_model *model;
    ck_assert_int_eq(attn_model_open(&model, runtime, c->path, &err), status);
    ck_assert_ptr_null(model);
    ck_assert_msg(strstr(err.where, where) != NULL && strstr(err.text, text) != NULL, "%s: %s", err.where, err.text);
    remove_copy(c);
}

START_TEST(a_folder_without_tokenizer_files_opens_without_one)
{
    model_copy c = bare(bert);
    check_pieces(&c, "hello", "none");
}
END_TEST

START_TEST(vocab_txt_is_berts_and_lowers_case_unless_the_folder_says_otherwise)
{
    model_copy c = bare(bert);
    write_text(&c, "vocab.txt", words);
    check_pieces(&c, "Hello worlds", "[CLS] hello world ##s [SEP]");
    c = bare(bert);
    write_text(&c, "vocab.txt", words);
    write_text(&c, "tokenizer_config.json", "{\"do_lower_case\": false}");
    check_pieces(&c, "Hello worlds", "[CLS] Hello world ##s [SEP]");
    c = bare(bert);
    write_text(&c, "vocab.txt", words);
    write_text(&c, "tokenizer_config.json", "{\"model_max_length\": 512}");
    check_pieces(&c, "Hello", "[CLS] hello [SEP]");
}
END_TEST

START_TEST(merges_with_their_vocabulary_are_byte_pairs)
{
    model_copy c = bare(gpt2);
    write_text(&c, "vocab.json", letters);
    write_text(&c, "merges.txt", merges);
    check_pieces(&c, "Hello", "Hello");
}
END_TEST

START_TEST(tokenizer_json_goes_before_older_files)
{
    model_copy c = bare(bert);
    write_text(&c, "vocab.txt", words);
    write_text(&c, "tokenizer.json", "{");
    check_refused(&c, ATTN_E_FORMAT, "tokenizer.json", "");
}
END_TEST

START_TEST(what_is_wrong_with_older_files_is_told_by_file)
{
    model_copy c = bare(bert);
    write_text(&c, "vocab.txt", words);
    write_text(&c, "tokenizer_config.json", "{\"do_lower_case\": 1}");
    check_refused(&c, ATTN_E_FORMAT, "tokenizer_config.json", "do_lower_case");
    c = bare(bert);
    write_text(&c, "vocab.txt", words);
    write_text(&c, "tokenizer_config.json", "{\"do_lower_case\": ");
    check_refused(&c, ATTN_E_FORMAT, "tokenizer_config.json", "");
    c = bare(gpt2);
    write_text(&c, "merges.txt", merges);
    check_refused(&c, ATTN_E_IO, "vocab.json", "");
}
END_TEST

START_TEST(sentencepiece_alone_is_refused_with_what_to_do)
{
    static const char *const names[] = { "tokenizer.model", "spiece.model", "sentencepiece.bpe.model" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        model_copy c = bare(bert);
        write_text(&c, names[i], "\x0a\x0b");
        check_refused(&c, ATTN_E_UNSUPPORTED, names[i], "save_pretrained");
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("tokenizer source");
    TCase *tc = tcase_create("tokenizer source");
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_folder_without_tokenizer_files_opens_without_one);
    tcase_add_test(tc, vocab_txt_is_berts_and_lowers_case_unless_the_folder_says_otherwise);
    tcase_add_test(tc, merges_with_their_vocabulary_are_byte_pairs);
    tcase_add_test(tc, tokenizer_json_goes_before_older_files);
    tcase_add_test(tc, what_is_wrong_with_older_files_is_told_by_file);
    tcase_add_test(tc, sentencepiece_alone_is_refused_with_what_to_do);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return unit_main(suite());
}
