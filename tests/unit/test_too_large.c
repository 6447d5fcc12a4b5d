/* test_too_large.c - models that would not fit: refused before anything of that size is asked for or read.
 *
 * Files are sparse, so that they may say what they like about their length.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include <sys/resource.h>

#include "attn.h"
#include "base/json_weight.h"
#include "base/machine.h"
#include "model_files.h"

static const char bert[] = "tests/golden/models/bert";

static size_t asked, most_asked; /* bytes since the hook was set, and in one piece */

static bool note(void *ctx, size_t bytes)
{
    (void)ctx;
    asked += bytes;
    most_asked = bytes > most_asked ? bytes : most_asked;
    return true;
}

static attn_status open_within(const char *source, uint64_t memory, attn_error *err)
{
    attn_runtime *rt = NULL;
    attn_model *m = NULL;
    *err = (attn_error){ 0 };
    ck_assert_int_eq(attn_runtime_new(&rt, &(attn_runtime_options){ .threads = 1, .memory = memory }, err), ATTN_OK);
    asked = most_asked = 0;
    attn_memory_hook(note, NULL);
    attn_status st = attn_model_open(&m, rt, source, err);
    attn_memory_hook(NULL, NULL);
    ck_assert_int_eq(st == ATTN_OK, m != NULL);
    attn_model_close(m);
    attn_runtime_free(rt);
    return st;
}

START_TEST(a_model_is_opened_within_what_it_says_it_takes_and_not_within_less)
{
    attn_error err;
    ck_assert_int_eq(open_within(bert, 1000, &err), ATTN_E_LIMIT);
    uint64_t need = err.need;
    ck_assert_uint_eq(err.limit, 1000);
    ck_assert_str_eq(err.where, "model.safetensors");
    ck_assert_uint_gt(need, 200000); /* its weights in float32 */
    ck_assert_uint_lt(need, 2000000);
    ck_assert_int_eq(open_within(bert, need - 1, &err), ATTN_E_LIMIT);
    ck_assert_int_eq(open_within(bert, need, &err), ATTN_OK);
    ck_assert_uint_le(most_asked, need); /* the block */
}
END_TEST

START_TEST(the_refusal_has_both_figures)
{
    attn_error err;
    ck_assert_int_eq(open_within("builtin:attnd-bert", 4000000, &err), ATTN_E_LIMIT);
    char text[200];
    snprintf(text, sizeof text, "the model takes %.2f GB of memory, ", (double)err.need * 1e-9);
    ck_assert_msg(strstr(err.text, text) == err.text, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "and 0.00 GB are free"));
}
END_TEST

/* ---- sparse files ----------------------------------------------------------------------------------------------------- */

/* Gives the file this length, whatever it was; what is added is a hole. */
static void stretch(const model_copy *copy, const char *name, off_t bytes)
{
    char path[300];
    file_path(path, sizeof path, copy->path, name);
    ck_assert_int_eq(truncate(path, bytes), 0);
}

/* Puts `rows` rows into a tensor of [?, width] float32, moves the others behind it, and lets the file be as long as that takes. */
static void grow_tensor(const model_copy *copy, const char *tensor, size_t rows, size_t width)
{
    model_file file = file_read(copy->path, "model.safetensors");
    uint64_t length;
    size_t end = 0;
    memcpy(&length, file.bytes, sizeof length);
    json_t *header = json_loadb((const char *)file.bytes + 8, (size_t)length, 0, NULL), *info;
    const char *name;
    ck_assert_ptr_nonnull(json_object_get(header, tensor));
    json_object_foreach(header, name, info)
    {
        json_t *offsets = json_object_get(info, "data_offsets");
        if (!offsets)
            continue;
        size_t bytes = (size_t)(json_integer_value(json_array_get(offsets, 1)) - json_integer_value(json_array_get(offsets, 0)));
        if (strcmp(name, tensor) == 0) {
            bytes = 4 * rows * width;
            json_array_set_new(json_object_get(info, "shape"), 0, json_integer((json_int_t)rows));
        }
        json_object_set_new(info, "data_offsets", json_pack("[I, I]", (json_int_t)end, (json_int_t)(end + bytes)));
        end += bytes;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    length = strlen(text);
    char *head = malloc(8 + length);
    memcpy(head, &length, 8);
    memcpy(head + 8, text, length);
    file_write(copy->path, "model.safetensors", head, 8 + length);
    stretch(copy, "model.safetensors", (off_t)(8 + length + end));
    free(head);
    free(text);
    json_decref(header);
    free(file.bytes);
}

static long peak_kib(void)
{
    struct rusage use;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &use), 0);
    return use.ru_maxrss;
}

START_TEST(a_table_of_gigabytes_that_the_file_really_has_is_refused_without_being_read)
{
    attn_error err;
    model_copy copy = copy_model(bert);
    file_remove(copy.path, "tokenizer.json");
    file_replace(&copy, "config.json", "\"vocab_size\": 900", "\"vocab_size\": 16000000");
    grow_tensor(&copy, "embeddings.word_embeddings.weight", 16000000, 32);
    long before = peak_kib();
    ck_assert_int_eq(open_within(copy.path, 1000000000, &err), ATTN_E_LIMIT);
    ck_assert_uint_gt(err.need, 2 * 16000000ul * 32 * 4); /* in memory, and in pages of the file */
    ck_assert_uint_lt(asked, 50000000);
    ck_assert_int_lt(peak_kib() - before, 100000);
    remove_copy(&copy);
}
END_TEST

/* ---- documents ------------------------------------------------------------------------------------------------------ */

static char *zeros(size_t count, const char *begin, const char *unit, size_t *length)
{
    size_t first = strlen(begin), each = strlen(unit);
    char *text = malloc(first + count * each);
    memcpy(text, begin, first);
    for (size_t i = 0; i < count; i++)
        memcpy(text + first + i * each, unit, each);
    *length = first + count * each;
    return text;
}

START_TEST(json_that_would_become_gigabytes_is_not_parsed)
{
    static const char *const names[] = { "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json" };
    static const char *const units[] = { "0,", "[],", "{},", "\"\"," };
    attn_error err;
    size_t length;
    model_copy copy = copy_model("tests/golden/models/bert-sharded");
    char *text = zeros(10000000, "{\"a\":[", units[_i % 4], &length);
    if (_i / 4 == 2) { /* read beside vocab.txt alone */
        file_remove(copy.path, "tokenizer.json");
        file_write(copy.path, "vocab.txt", "[UNK]\n[CLS]\n[SEP]\n", 18);
    }
    file_write(copy.path, names[_i / 4], text, length);
    free(text);
    ck_assert_int_eq(open_within(copy.path, 0, &err), ATTN_E_FORMAT);
    ck_assert_str_eq(err.where, names[_i / 4]);
    ck_assert_str_eq(err.text, "would take more than 640 MB of memory to read");
    ck_assert_uint_lt(asked, 10000000);
    remove_copy(&copy);
}
END_TEST

START_TEST(a_header_that_would_become_gigabytes_is_not_parsed)
{
    attn_error err;
    size_t length;
    model_copy copy = copy_model(bert);
    char *text = zeros(10000000, "12345678{\"a\":[", "0,", &length);
    uint64_t header = length - 8;
    memcpy(text, &header, sizeof header);
    file_write(copy.path, "model.safetensors", text, length);
    free(text);
    ck_assert_int_eq(open_within(copy.path, 0, &err), ATTN_E_FORMAT);
    ck_assert_str_eq(err.text, "its header would take more than 640 MB of memory to read");
    ck_assert_uint_lt(asked, 10000000);
    remove_copy(&copy);
}
END_TEST

/* Nothing but holes, a terabyte of it. */
START_TEST(files_of_any_length_are_refused_at_once)
{
    static const char *const names[] = { "config.json", "tokenizer.json", "vocab.txt", "merges.txt", "model.safetensors", "model.safetensors.index.json" };
    const char *name = names[_i];
    attn_error err;
    model_copy copy = copy_model(_i == 5 ? "tests/golden/models/bert-sharded" : bert);
    if (_i == 2 || _i == 3)
        file_remove(copy.path, "tokenizer.json");
    if (_i == 3)
        file_write(copy.path, "vocab.json", "{}", 2);
    if (_i == 2 || _i == 3)
        file_write(copy.path, name, "", 0);
    uint64_t begin = attn_clock_ns();
    stretch(&copy, name, (off_t)1 << 40);
    ck_assert_int_eq(open_within(copy.path, 0, &err), ATTN_E_FORMAT);
    ck_assert_str_eq(err.where, name);
    ck_assert_uint_lt(attn_clock_ns() - begin, 5000000000u);
    ck_assert_uint_lt(asked, 10000000);
    remove_copy(&copy);
}
END_TEST

/* What one jansson tree takes is counted by its own allocator. */
START_TEST(a_document_weighs_at_least_what_its_tree_takes)
{
    static const char *const documents[][2] = {
        { "[", "0," },           { "[", "[]," },           { "[", "{}," },
        { "[", "\"\"," },        { "[", "{\"a\":1}," },    { "[", "[0]," },
        { "[", "[[[[[1]]]]]," }, { "[", "\"\\\\\\\"\"," }, { "[", "{\"a\":1.5,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}," }
    };
    size_t length;
    char *text = zeros(3000, documents[_i][0], documents[_i][1], &length);
    text[length - 1] = ']';
    json_set_alloc_funcs(attn_malloc, attn_free);
    asked = 0;
    attn_memory_hook(note, NULL);
    json_t *tree = json_loadb(text, length, 0, NULL);
    attn_memory_hook(NULL, NULL);
    ck_assert_ptr_nonnull(tree);
    ck_assert_msg(attn_json_weight(text, length) >= asked - 2 * 4096 * 8, "%s: %llu for %zu", documents[_i][1], /* less tables outgrown */
                  (unsigned long long)attn_json_weight(text, length), asked);
    json_decref(tree);
    json_set_alloc_funcs(malloc, free);
    free(text);
}
END_TEST

START_TEST(the_weight_of_anything_is_found_within_its_bytes)
{
    static const char *const pieces[] = { "", "\"", "\"\\", "\"\\\"", "\\", "{", "[[[[", "\"a", ",", "\"\\\\\"" };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t n = strlen(pieces[i]);
        char *exact = malloc(n + 1); /* the sanitizers see a byte beyond */
        memcpy(exact, pieces[i], n);
        exact = realloc(exact, n ? n : 1);
        ck_assert_uint_lt(attn_json_weight(exact, n), 2000);
        free(exact);
    }
    ck_assert_uint_gt(attn_json_weight("", (size_t)ATTN_JSON_MOST + 1), ATTN_JSON_MOST); /* told by length alone */
}
END_TEST

START_TEST(free_memory_is_some_of_what_is_allowed)
{
    uint64_t allowed = attn_memory_allowed(), left = attn_memory_free();
    ck_assert_uint_gt(left, 1 << 20);
    ck_assert_uint_le(left, allowed);
    model_copy copy = copy_model(bert);
    char path[300];
    file_path(path, sizeof path, copy.path, "meminfo");
    file_write(copy.path, "meminfo", "MemTotal:  7 kB\nMemAvailableX: 1 kB\nMemAvailable:   2048 kB\n", 59);
    ck_assert_uint_eq(attn_memory_line(path, "MemAvailable"), 2048 << 10);
    ck_assert_uint_eq(attn_memory_line(path, "MemTotal"), 7 << 10);
    ck_assert_uint_eq(attn_memory_line(path, "Swap"), 0);
    ck_assert_uint_eq(attn_memory_line("/nowhere", "Swap"), 0);
    remove_copy(&copy);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("too_large");
    TCase *tcase = tcase_create("too_large");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_model_is_opened_within_what_it_says_it_takes_and_not_within_less);
    tcase_add_test(tcase, the_refusal_has_both_figures);
    tcase_add_test(tcase, a_table_of_gigabytes_that_the_file_really_has_is_refused_without_being_read);
    tcase_add_loop_test(tcase, json_that_would_become_gigabytes_is_not_parsed, 0, 16);
    tcase_add_test(tcase, a_header_that_would_become_gigabytes_is_not_parsed);
    tcase_add_loop_test(tcase, files_of_any_length_are_refused_at_once, 0, 6);
    tcase_add_loop_test(tcase, a_document_weighs_at_least_what_its_tree_takes, 0, 9);
    tcase_add_test(tcase, the_weight_of_anything_is_found_within_its_bytes);
    tcase_add_test(tcase, free_memory_is_some_of_what_is_allowed);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
