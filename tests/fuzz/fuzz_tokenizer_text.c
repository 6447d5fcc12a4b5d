/* fuzz_tokenizer_text.c - any bytes as a text, or a text and its pair (behind the first 0xFE, which UTF-8 never has), for the small-bert tokenizer.
 *
 * What is not UTF-8 is refused; else every token lies inside its text, has a piece, and no more memory is taken than was promised.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static attn_tokenizer *open_once(void)
{
    static attn_tokenizer *t;
    FILE *f = t ? NULL : fopen("tests/golden/tokenizers/small-bert/tokenizer.json", "rb");
    static char json[65536];
    if (t)
        return t;
    size_t n = f ? fread(json, 1, sizeof json, f) : 0;
    if (n == 0 || n == sizeof json || attn_tokenizer_open(&t, json, n, "small-bert", NULL) != ATTN_OK)
        abort(); /* run from the root of the repository */
    fclose(f);
    return t;
}

static size_t code_points(attn_text text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.length; i++)
        n += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    return n;
}

static void check(const attn_tokenizer *t, const attn_encoding *e, const attn_text texts[2])
{
    size_t lengths[2] = { code_points(texts[0]), code_points(texts[1]) };
    for (size_t i = 0; i < e->count; i++) {
        const attn_token *k = &e->tokens[i];
        attn_text piece, display;
        if (k->start > k->end || k->end > lengths[k->sequence] || k->sequence > 1)
            abort();
        if (!attn_tokenizer_piece(t, k->id, &piece, &display) || k->text.length == 0 || k->display.length > k->text.length)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const attn_tokenizer *t = open_once();
    const uint8_t *cut = size ? memchr(data, 0xFE, size) : NULL;
    size_t first = cut ? (size_t)(cut - data) : size;
    attn_text texts[2] = { { (const char *)data, first }, { cut ? (const char *)cut + 1 : "", cut ? size - first - 1 : 0 } };
    for (size_t most = 0; most <= 8; most += 4) {
        attn_arena *arena = attn_arena_new();
        attn_encode_options options = { .add_special_tokens = size % 2 == 0, .max_length = most };
        attn_encoding e;
        attn_status st = attn_tokenizer_encode(t, &texts[0], cut ? &texts[1] : NULL, &options, arena, NULL, &e, NULL);
        if (st != ATTN_OK && st != ATTN_E_INPUT)
            abort();
        if (attn_arena_peak(arena) > attn_tokenizer_bytes(t, texts[0].length + texts[1].length) || (most && st == ATTN_OK && e.count > most))
            abort();
        if (st == ATTN_OK)
            check(t, &e, texts);
        attn_arena_free(arena);
    }
    return 0;
}
