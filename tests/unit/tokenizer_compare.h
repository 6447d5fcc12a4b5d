/* tokenizer_compare.h - encodings held against golden files, for the tests that do so: each program includes this once.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENIZER_COMPARE_H
#define TOKENIZER_COMPARE_H

#include "tokenizer_case.h"

static size_t compared; /* encodings, for the last line of a test */

/* ---- one case ---- */

typedef struct expected_token {
    int32_t id, type_id;
    uint32_t start, end;
    bool special, pair;
    attn_text text;
} expected_token;

static inline expected_token expected_at(const json_t *c, size_t i)
{
    const json_t *offset = json_array_get(json_object_get(c, "offsets"), i), *sequence = json_array_get(json_object_get(c, "sequence"), i);
    return (expected_token){
        .id = (int32_t)json_integer_value(json_array_get(json_object_get(c, "ids"), i)),
        .type_id = (int32_t)json_integer_value(json_array_get(json_object_get(c, "type_ids"), i)), /* 0 when left out */
        .start = (uint32_t)json_integer_value(json_array_get(offset, 0)),
        .end = (uint32_t)json_integer_value(json_array_get(offset, 1)),
        .special = json_integer_value(json_array_get(json_object_get(c, "special"), i)) != 0,
        .pair = json_integer_value(sequence) == 1, /* null is 0 */
        .text = text_of(json_array_get(json_object_get(c, "tokens"), i)),
    };
}

static inline void compare_token(const attn_token *got, expected_token want, const char *where, size_t i)
{
    ck_assert_msg(got->id == want.id, "%s, token %zu: id %d, not %d", where, i, got->id, want.id);
    ck_assert_msg(got->start == want.start && got->end == want.end, "%s, token %zu: %u to %u, not %u to %u", where, i, got->start, got->end, want.start,
                  want.end);
    ck_assert_msg(got->type_id == want.type_id, "%s, token %zu: type %d, not %d", where, i, got->type_id, want.type_id);
    ck_assert_msg(got->special == want.special && got->sequence == want.pair, "%s, token %zu: special %d, sequence %d", where, i, got->special, got->sequence);
    ck_assert_msg(got->text.length == want.text.length && memcmp(got->text.bytes, want.text.bytes, want.text.length) == 0,
                  "%s, token %zu: \"%.*s\", not \"%.*s\"", where, i, (int)got->text.length, got->text.bytes, (int)want.text.length, want.text.bytes);
}

/* With `bare`, special tokens are not asked for, and the answer is the expected one less those. */
static inline void compare_case(const attn_tokenizer *t, const json_t *c, bool bare, attn_arena *arena, const char *where)
{
    const json_t *add = json_object_get(c, "add_special_tokens"), *pair_string = json_object_get(c, "text_pair");
    attn_text text = text_of(json_object_get(c, "text")), pair = text_of(pair_string);
    attn_encode_options options = { .add_special_tokens = !bare && !json_is_false(add),
                                    .max_length = (size_t)json_integer_value(json_object_get(c, "max_length")) };
    attn_arena_reset(arena, SIZE_MAX);
    attn_encoding got = encode_fine(t, &text, pair_string ? &pair : NULL, options, arena);
    uint64_t bound = attn_tokenizer_bytes(t, text.length + (pair_string ? pair.length : 0));
    ck_assert_msg(attn_arena_peak(arena) <= bound, "%s: %zu bytes taken, %llu promised", where, attn_arena_peak(arena), (unsigned long long)bound);
    size_t n = 0, all = json_array_size(json_object_get(c, "ids"));
    for (size_t i = 0; i < all; i++) {
        expected_token want = expected_at(c, i);
        if (bare && want.special)
            continue;
        ck_assert_msg(n < got.count, "%s: only %zu tokens", where, got.count);
        compare_token(&got.tokens[n], want, where, n);
        n++;
    }
    ck_assert_msg(n == got.count, "%s: %zu tokens, not %zu", where, got.count, n);
    ck_assert_msg(got.truncated == (got.full_count > got.count) && got.full_count >= got.count, "%s: %zu of %zu", where, got.count, got.full_count);
    compared++;
}

static inline void compare_cases(const attn_tokenizer *t, const json_t *cases, bool also_bare, const char *name)
{
    attn_arena *arena = attn_arena_new();
    ck_assert_uint_gt(json_array_size(cases), 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        char where[200];
        snprintf(where, sizeof where, "%.100s, case %zu (\"%.60s\")", name, i, json_string_value(json_object_get(c, "text")));
        compare_case(t, c, false, arena, where);
        if (also_bare)
            compare_case(t, c, true, arena, where);
    }
    attn_arena_free(arena);
}

static inline void compare_files(const char *tokenizer, const char *golden)
{
    attn_tokenizer *t = open_file(tokenizer);
    if (!t && skip_missing(tokenizer))
        return;
    json_t *document = load_json(golden);
    compared = 0;
    compare_cases(t, json_object_get(document, "cases"), true, tokenizer);
    printf("%s: %zu encodings equal\n", tokenizer, compared);
    json_decref(document);
    attn_tokenizer_close(t);
}

/* A tokenizer.json with parts exchanged. */
static inline attn_tokenizer *open_variant(const json_t *base, const json_t *variant)
{
    json_t *document = json_deep_copy(base), *change = json_deep_copy(json_object_get(variant, "change")), *model = json_object_get(change, "model");
    if (model) {
        json_object_update(json_object_get(document, "model"), model);
        json_object_del(change, "model");
    }
    json_object_update(document, change);
    json_array_extend(json_object_get(document, "added_tokens"), json_object_get(variant, "added"));
    char *json = json_dumps(document, JSON_COMPACT);
    attn_tokenizer *t = open_bytes(json, strlen(json));
    free(json);
    json_decref(change);
    json_decref(document);
    return t;
}

#endif
