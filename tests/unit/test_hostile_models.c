/* test_hostile_models.c - every model of the goldens, so every family, with every part of its files made wrong in every way of a list.
 *
 * test_broken_models.c says what one family answers to one fault; this asks of all of them that any fault is answered at all: the model opens (a key may not
 * matter) and then runs, or it is refused with a status, a place and a sentence, at once, and having asked for no more memory than a model of its true size.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "attn.h"
#include "model/family.h"
#include "model_files.h"
#include "model_list.h"

enum { MOST_BYTES = 300000000 };

/* ---- one model that is changed again and again -------------------------------------------------------------------------------- */

typedef struct patient {
    model_copy copy;
    attn_runtime *rt;
    json_t *config;
    json_t *header;     /* of model.safetensors */
    model_file tensors; /* the whole file */
    size_t data;        /* where the header ends in it */
    size_t refused, opened;
} patient;

static size_t asked; /* bytes, for one attempt to open */

static bool note(void *ctx, size_t bytes)
{
    (void)ctx;
    asked += bytes;
    return true;
}

static void admit(patient *p, const char *model)
{
    uint64_t length;
    *p = (patient){ .copy = copy_model(model) };
    ck_assert_int_eq(attn_runtime_new(&p->rt, &(attn_runtime_options){ .threads = 1 }, NULL), ATTN_OK);
    model_file config = file_read(p->copy.path, "config.json");
    p->config = json_loadb((const char *)config.bytes, config.size, 0, NULL);
    p->tensors = file_read(p->copy.path, "model.safetensors");
    memcpy(&length, p->tensors.bytes, sizeof length);
    p->header = json_loadb((const char *)p->tensors.bytes + 8, (size_t)length, 0, NULL);
    p->data = 8 + (size_t)length;
    ck_assert(p->config && p->header);
    free(config.bytes);
}

static void dismiss(patient *p)
{
    remove_copy(&p->copy);
    json_decref(p->config);
    json_decref(p->header);
    free(p->tensors.bytes);
    attn_runtime_free(p->rt);
}

static attn_status ignore(void *ctx, const attn_layer *layer, attn_error *err)
{
    (void)ctx;
    (void)layer;
    (void)err;
    return ATTN_OK;
}

/* A model that opens in spite of all has to run; nobody says what comes out. */
static void run(const attn_model *m)
{
    attn_error err = { 0 };
    int32_t ids[3] = { 0, 0, 0 };
    const attn_model_info *info = attn_model_get_info(m);
    attn_model_input in = { .T = attn_least(3, info->max_tokens), .input_ids = ids };
    const attn_keep maps = { .outputs = info->outputs & ATTN_BIT(ATTN_ATTENTIONS) }, keep[ATTN_STACKS] = { maps, maps, maps };
    if (info->num_decoder_layers > 0) {
        in.decoder_T = 1;
        in.decoder_input_ids = ids;
    }
    attn_sink sink = { .layer = ignore };
    attn_arena *arena = attn_arena_new();
    attn_status st = attn_model_run(m, &in, keep, arena, NULL, &sink, &err);
    ck_assert_msg(st == ATTN_OK || st == ATTN_E_OVERFLOW || st == ATTN_E_INPUT, "%s: %s", err.where, err.text);
    if (st == ATTN_OK && info->generates) {
        attn_generation *g;
        int32_t next;
        st = attn_generation_begin(&g, m, &in, 0, arena, &err);
        if (st == ATTN_OK)
            st = attn_generation_run(g, keep, arena, NULL, &sink, &next, &err);
        ck_assert_msg(st == ATTN_OK || st == ATTN_E_OVERFLOW || st == ATTN_E_INPUT, "%s: %s", err.where, err.text);
    }
    attn_arena_free(arena);
}

static attn_status try(patient *p, const char *what)
{
    attn_error err = { 0 };
    attn_model *m = NULL;
    uint64_t begin = attn_clock_ns();
    asked = 0;
    attn_memory_hook(note, NULL);
    attn_status st = attn_model_open(&m, p->rt, p->copy.path, &err);
    attn_memory_hook(NULL, NULL);
    ck_assert_msg(attn_clock_ns() - begin < 10000000000u, "%s took long", what);
    ck_assert_msg(asked < MOST_BYTES, "%s: %zu bytes asked for", what, asked);
    ck_assert_msg((st == ATTN_OK) == (m != NULL) && err.code == st, "%s: status %d", what, (int)st);
    if (st == ATTN_OK)
        run(m);
    else
        ck_assert_msg((st == ATTN_E_FORMAT || st == ATTN_E_UNSUPPORTED || st == ATTN_E_IO || st == ATTN_E_LIMIT) && err.where[0] && err.text[0] &&
                          !strchr(err.text, '\n'),
                      "%s: status %d, %s: %s", what, (int)st, err.where, err.text);
    p->opened += st == ATTN_OK;
    p->refused += st != ATTN_OK;
    attn_model_close(m);
    return st;
}

/* ---- config.json ---------------------------------------------------------------------------------------------------------- */

static const char *const values[] = { "null",
                                      "true",
                                      "false",
                                      "0",
                                      "-1",
                                      "1",
                                      "3",
                                      "0.5",
                                      "-0.0",
                                      "1e308",
                                      "-1e308",
                                      "5e-324",
                                      "65535",
                                      "16777216",
                                      "4294967297",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "\"\"",
                                      "\"7\"",
                                      "\"nonsense\\u0000\\u001b[31m\\n\"",
                                      "\"\\ud83d\\ude00\"",
                                      "[]",
                                      "[1, 2, 3]",
                                      "[[\"linear\"], null]",
                                      "[0.0, -1, 1e300, 0.0]",
                                      "{}",
                                      "{\"type\": \"yarn\", \"factor\": 0}",
                                      "{\"rope_type\": \"longrope\", \"short_factor\": [], \"long_factor\": [1], \"factor\": 1e-9}",
                                      "{\"rope_type\": \"llama3\", \"factor\": 1e300, \"low_freq_factor\": 4, \"high_freq_factor\": 4}",
                                      "{\"full_attention\": {\"rope_type\": \"dynamic\", \"factor\": -2}, \"x\": {\"y\": [[[[]]]]}}" };

static void write_config(const patient *p)
{
    char *text = json_dumps(p->config, JSON_COMPACT);
    file_write(p->copy.path, "config.json", text, strlen(text));
    free(text);
}

/* Of the values for each key every fourth, another one first for other keys; every tenth in the sanitized build, which is slow; all with ATTND_EXHAUSTIVE=1. */
static size_t stride(void)
{
    return getenv("ATTND_EXHAUSTIVE") ? 1 : SANITIZED ? 10 : 4;
}

static size_t first_of(const char *name)
{
    return strlen(name) % stride();
}

/* Every member of an object of the configuration, one after the other: gone, and everything on the list. */
static void upset_members(patient *p, json_t *object, const char *name, int depth)
{
    json_t *was = json_copy(object), *value;
    const char *key;
    json_object_foreach(was, key, value)
    {
        char what[200];
        snprintf(what, sizeof what, "%s without %s%s", name, depth ? ".." : "", key);
        json_object_del(object, key);
        write_config(p);
        (void)try(p, what);
        for (size_t i = first_of(key); i < sizeof values / sizeof *values; i += stride()) {
            snprintf(what, sizeof what, "%s with %s%s: %s", name, depth ? ".." : "", key, values[i]);
            json_t *wrong = json_loads(values[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            ck_assert_ptr_nonnull(wrong);
            json_object_set_new(object, key, wrong);
            write_config(p);
            (void)try(p, what);
        }
        json_object_set(object, key, value);
        if (json_is_object(value) && depth < 2)
            upset_members(p, value, name, depth + 1);
    }
    json_decref(was);
}

/* What JSON has no number for, and what a parser may stumble over. */
static void upset_text(patient *p, const char *name)
{
    static const char *const texts[] = { "NaN", "Infinity", "-Infinity",   "1e999", "-1e999", "01",
                                         "1.",  "0x10",     "\"\\ud800\"", "'x'",   "",       "99999999999999999999999" };
    const char *key = json_object_iter_key(json_object_iter(p->config));
    char what[200], start[100];
    json_t *rest = json_copy(p->config);
    json_object_del(rest, key);
    char *others = json_dumps(rest, JSON_COMPACT);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(start, sizeof start, "{\"%s\":%s,", key, texts[i]);
        char *text = malloc(strlen(start) + strlen(others));
        strcpy(text, start);
        strcat(text, others + 1);
        file_write(p->copy.path, "config.json", text, strlen(text));
        snprintf(what, sizeof what, "%s with %s", name, texts[i]);
        ck_assert_msg(try(p, what) == ATTN_E_FORMAT, "%s", what);
        free(text);
    }
    free(others);
    json_decref(rest);
}

START_TEST(no_value_of_any_key_breaks_anything)
{
    patient p;
    admit(&p, models[_i].path);
    ck_assert_int_eq(try(&p, models[_i].path), ATTN_OK);
    upset_members(&p, p.config, models[_i].path, 0);
    upset_text(&p, models[_i].path);
    write_config(&p);
    ck_assert_int_eq(try(&p, models[_i].path), ATTN_OK); /* all is as it was */
    ck_assert_uint_gt(p.refused, 100 / stride());
    dismiss(&p);
}
END_TEST

/* ---- model.safetensors ---------------------------------------------------------------------------------------------------- */

static void write_header(const patient *p)
{
    char *text = json_dumps(p->header, JSON_COMPACT);
    uint64_t length = strlen(text);
    size_t rest = p->tensors.size - p->data;
    char *file = malloc(8 + length + rest);
    memcpy(file, &length, 8);
    memcpy(file + 8, text, length);
    memcpy(file + 8 + length, p->tensors.bytes + p->data, rest);
    file_write(p->copy.path, "model.safetensors", file, 8 + length + rest);
    free(file);
    free(text);
}

/* What becomes of one tensor's entry; NULL: the entry goes. */
static const char *const entries[][2] = {
    { "dtype", "\"F64\"" },
    { "dtype", "\"I32\"" },
    { "dtype", "\"BOOL\"" },
    { "dtype", "\"Q4\"" },
    { "dtype", "7" },
    { "dtype", "null" },
    { "shape", "[]" },
    { "shape", "[0]" },
    { "shape", "[-1]" },
    { "shape", "[1.5]" },
    { "shape", "[9223372036854775807, 9223372036854775807]" },
    { "shape", "[4294967296, 4294967296, 2]" },
    { "shape", "[1, 1, 1, 1, 1, 1, 1, 1, 1]" },
    { "shape", "\"[4, 4]\"" },
    { "data_offsets", "[0, 0]" },
    { "data_offsets", "[0, 9223372036854775807]" },
    { "data_offsets", "[9223372036854775807, 0]" },
    { "data_offsets", "[-8, 8]" },
    { "data_offsets", "[0]" },
    { "data_offsets", "null" },
    { "more", "1" },
};

static void upset_entry(patient *p, const char *tensor, bool read)
{
    json_t *was = json_object_get(p->header, tensor), *wrong;
    char what[300];
    for (size_t i = first_of(tensor); i < sizeof entries / sizeof *entries; i += stride()) {
        wrong = json_copy(was);
        json_object_set_new(wrong, entries[i][0], json_loads(entries[i][1], JSON_DECODE_ANY, NULL));
        json_incref(was);
        json_object_set_new(p->header, tensor, wrong);
        write_header(p);
        snprintf(what, sizeof what, "%s with %s %s", tensor, entries[i][0], entries[i][1]);
        ck_assert_msg(try(p, what) != ATTN_OK || !read, "%s", what);
        json_object_set_new(p->header, tensor, was);
    }
}

/* Whether the model takes a tensor, be it that it needs it or not (a head). */
static bool is_read(const patient *p, const char *tensor)
{
    attn_model *m = NULL;
    bool read = attn_model_open(&m, p->rt, p->copy.path, NULL) == ATTN_OK;
    ck_assert(read);
    for (const char *const *name = attn_model_get_info(m)->unused_tensors; *name; name++)
        read &= strcmp(*name, tensor) != 0;
    attn_model_close(m);
    return read;
}

/* The same bytes with dimensions exchanged, as one dimension, and under another name: nobody reads those. */
static void upset_layout(patient *p, const char *tensor, bool read)
{
    json_t *was = json_deep_copy(json_object_get(p->header, tensor)), *shape = json_object_get(json_object_get(p->header, tensor), "shape");
    char what[300];
    snprintf(what, sizeof what, "%s under another name", tensor);
    json_t *entry = json_incref(json_object_get(p->header, tensor));
    json_object_del(p->header, tensor);
    json_object_set(p->header, "nobody asks for \x1b[31m this\n", entry);
    write_header(p);
    ck_assert_msg(try(p, what) == ATTN_OK || read, "%s", what);
    json_object_del(p->header, "nobody asks for \x1b[31m this\n");
    json_object_set_new(p->header, tensor, entry);
    if (json_array_size(shape) == 2) {
        json_int_t rows = json_integer_value(json_array_get(shape, 0)), columns = json_integer_value(json_array_get(shape, 1));
        json_array_set_new(shape, 0, json_integer(columns));
        json_array_set_new(shape, 1, json_integer(rows));
        write_header(p);
        snprintf(what, sizeof what, "%s turned round", tensor);
        ck_assert_msg((try(p, what) != ATTN_OK) == (read && rows != columns), "%s", what);
        json_array_clear(shape);
        json_array_append_new(shape, json_integer(rows * columns));
        write_header(p);
        snprintf(what, sizeof what, "%s in one dimension", tensor);
        ck_assert_msg((try(p, what) != ATTN_OK) == read, "%s", what);
    }
    json_object_set_new(p->header, tensor, was);
}

START_TEST(no_tensor_that_is_wrong_is_read)
{
    patient p;
    const char *tensor;
    json_t *entry;
    admit(&p, models[_i].path);
    json_t *all = json_copy(p.header);
    size_t n = 0;
    json_object_foreach(all, tensor, entry)
    {
        if (strcmp(tensor, "__metadata__") == 0 || (n++ % 3 != 0 && strstr(tensor, "1."))) /* one layer, and some of the others */
            continue;
        write_header(&p);
        bool read = is_read(&p, tensor);
        upset_layout(&p, tensor, read);
        upset_entry(&p, tensor, read);
    }
    write_header(&p);
    ck_assert_int_eq(try(&p, models[_i].path), ATTN_OK);
    ck_assert_uint_gt(p.refused, 100 / stride());
    json_decref(all);
    dismiss(&p);
}
END_TEST

/* A file that ends too early ends anywhere. */
START_TEST(no_file_that_is_cut_off_is_taken)
{
    static const char *const names[] = { "config.json", "model.safetensors" };
    patient p;
    admit(&p, models[_i].path);
    for (size_t f = 0; f < 2; f++) {
        model_file file = file_read(p.copy.path, names[f]);
        for (size_t n = 0; n < file.size - 1; n += 1 + file.size / 40) {
            file_write(p.copy.path, names[f], file.bytes, n);
            ck_assert_int_eq(try(&p, names[f]), ATTN_E_FORMAT);
        }
        file_write(p.copy.path, names[f], file.bytes, file.size);
        free(file.bytes);
    }
    dismiss(&p);
}
END_TEST

/* ---- and of the list itself ------------------------------------------------------------------------------------------------- */

START_TEST(every_family_has_a_model_here)
{
    char names[1024], *rest = NULL;
    attn_family_names(names, sizeof names);
    for (const char *name = strtok_r(names, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest))
        ck_assert_msg(is_listed(name), "%s: no model of it in tests/golden/models", name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hostile_models");
    TCase *tcase = tcase_create("hostile");
    tcase_set_timeout(tcase, 300);
    list_models(false);
    tcase_add_test(tcase, every_family_has_a_model_here);
    tcase_add_loop_test(tcase, no_value_of_any_key_breaks_anything, 0, num_models);
    tcase_add_loop_test(tcase, no_tensor_that_is_wrong_is_read, 0, num_models);
    tcase_add_loop_test(tcase, no_file_that_is_cut_off_is_taken, 0, num_models);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
