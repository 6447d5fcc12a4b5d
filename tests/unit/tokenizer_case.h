/* tokenizer_case.h - for the tokenizer's tests: files, and encodings held against what the library gave.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_CASE_H
#define TOKENIZER_CASE_H

#include "attn_tokenizer.h"
#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN     "tests/golden/tokenizers/"
#define SMALL_BERT GOLDEN "small-bert/tokenizer.json"
#define SMALL_GPT2 GOLDEN "small-gpt2/tokenizer.json"

/* NULL when there is no such file; free() it. A NUL is behind the last byte. */
static inline char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size + 1);
    ck_assert_uint_eq(fread(bytes, 1, *size, f), *size);
    bytes[*size] = '\0';
    fclose(f);
    return bytes;
}

static inline const char *shared_root(void)
{
    const char *root = getenv("ATTND_SHARED");
    return root ? root : "../shared";
}

/* A path in the shared test data. */
static inline const char *shared_path(char out[512], const char *file)
{
    snprintf(out, 512, "%s/data/%s", shared_root(), file);
    return out;
}

/* What is missing is said; under CI nothing may be. */
static inline bool skip_missing(const char *what)
{
    ck_assert_msg(getenv("CI") == NULL, "%s is missing", what);
    printf("SKIPPED %s: not there\n", what);
    return true;
}

static inline json_t *load_json(const char *path)
{
    json_error_t why;
    json_t *document = json_load_file(path, JSON_ALLOW_NUL, &why);
    ck_assert_msg(document != NULL, "%s: %s (run from the root of the repository)", path, why.text);
    return document;
}

static inline attn_tokenizer *open_bytes(const char *json, size_t size)
{
    attn_tokenizer *t;
    attn_error err = { .code = ATTN_OK };
    attn_status st = attn_tokenizer_open(&t, json, size, "tokenizer.json", &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return t;
}

/* NULL when there is no such file. */
static inline attn_tokenizer *open_file(const char *path)
{
    size_t size;
    char *json = read_whole(path, &size);
    attn_tokenizer *t = json ? open_bytes(json, size) : NULL;
    free(json);
    return t;
}

static inline attn_tokenizer *open_small_bert(void)
{
    attn_tokenizer *t = open_file(SMALL_BERT);
    ck_assert_msg(t != NULL, "no " SMALL_BERT " (run from the root of the repository)");
    return t;
}

static inline attn_text text_of(const json_t *string)
{
    return (attn_text){ .bytes = json_string_value(string), .length = json_string_length(string) };
}

static inline attn_encoding encode_fine(const attn_tokenizer *t, const attn_text *text, const attn_text *pair, attn_encode_options options, attn_arena *arena)
{
    attn_encoding out;
    attn_error err = { .code = ATTN_OK };
    attn_status st = attn_tokenizer_encode(t, text, pair, &options, arena, NULL, &out, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return out;
}

/* `unit` again and again, at least `bytes` of it; free() it. */
static inline char *repeated(const char *unit, size_t bytes, size_t *length)
{
    size_t n = strlen(unit);
    char *text = malloc(bytes + n);
    for (*length = 0; *length < bytes; *length += n)
        memcpy(text + *length, unit, n);
    return text;
}

/* Encodes such a text, within the memory promised and a time that quadratic work would miss by far. */
static inline void encode_repeated(const attn_tokenizer *t, const char *unit, size_t bytes, attn_arena *arena)
{
    attn_text text;
    char *s = repeated(unit, bytes, &text.length);
    text.bytes = s;
    attn_arena_reset(arena, 0);
    uint64_t begin = attn_clock_ns();
    attn_encoding got = encode_fine(t, &text, NULL, (attn_encode_options){ .add_special_tokens = true, .max_length = 100 }, arena);
    uint64_t took = attn_clock_ns() - begin, bound = attn_tokenizer_bytes(t, text.length);
    ck_assert_msg(attn_arena_peak(arena) <= bound, "\"%s\": %zu bytes taken, %llu promised", unit, attn_arena_peak(arena), (unsigned long long)bound);
    ck_assert_msg(took < 20000000000u, "\"%s\": %zu bytes took %.1f s", unit, bytes, (double)took * 1e-9);
    ck_assert_uint_le(got.count, 100);
    free(s);
}

static inline uint64_t fnv(uint64_t state, uint32_t number)
{
    for (int shift = 0; shift < 32; shift += 8)
        state = (state ^ (number >> shift & 0xFF)) * 0x100000001B3u;
    return state;
}

#endif
