/* fuzz_tokenizer_text.c - any bytes as a text, or a text and its pair (behind the first 0xFE, which UTF-8 never has), for tokenizers of every kind of model; then
 * the same bytes as ids.
 *
 * What is not UTF-8 is refused; else every token lies inside its text, has a piece, and no more memory is taken than was promised. Any ids are a text that is
 * UTF-8. Which tokenizer it is: small-bert where the first byte is not 0xF8 and above, which UTF-8 never has; that byte is taken off.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_tokenizer.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PICKS = 0xF8 }; /* bytes from here on name a tokenizer */

static attn_tokenizer *open_once(size_t which)
{
    static const char *const names[] = { "small-bert", "small-gpt2", "small-llama3", "small-gemma", "unigram" };
    static attn_tokenizer *open[sizeof names / sizeof *names];
    static char json[1 << 20];
    char path[100];
    which %= sizeof names / sizeof *names;
    if (open[which])
        return open[which];
    snprintf(path, sizeof path, "tests/golden/tokenizers/%s/tokenizer.json", names[which]);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(json, 1, sizeof json, f) : 0;
    if (n == 0 || n == sizeof json || attn_tokenizer_open(&open[which], json, n, names[which], NULL) != ATTN_OK)
        abort(); /* run from the root of the repository */
    fclose(f);
    return open[which];
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
        if (!attn_tokenizer_piece(t, k->id, &piece, &display) || k->text.length == 0 || k->display.length > 3 * k->text.length)
            abort();
    }
}

/* Two bytes an id; two ids have no piece. */
static void check_decode(const attn_tokenizer *t, const uint8_t *data, size_t size)
{
    size_t n = size / 2, vocabulary = attn_tokenizer_vocab_size(t);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    attn_arena *arena = attn_arena_new();
    attn_text text;
    if (!ids || !arena)
        abort();
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((data[2 * i] | (size_t)data[2 * i + 1] << 8) % (vocabulary + 2)) - 1;
    if (attn_tokenizer_decode(t, ids, n, arena, &text, NULL) != ATTN_OK || !attn_is_utf8(text.bytes, text.length))
        abort();
    if (text.length > attn_tokenizer_decoded_length(t, n) || attn_arena_peak(arena) > attn_tokenizer_decode_bytes(t, n))
        abort();
    attn_arena_free(arena);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool picks = size > 0 && data[0] >= PICKS && data[0] != 0xFE;
    const attn_tokenizer *t = open_once(picks ? (size_t)data[0] - PICKS + 1 : 0);
    data += picks;
    size -= picks;
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
    check_decode(t, data, size);
    return 0;
}
