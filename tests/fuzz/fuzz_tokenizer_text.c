/* fuzz_tokenizer_text.c - the first byte chooses one of several committed tokenizers, WordPiece, BPE by bytes and by characters, Unigram, each with its own
 * normalizer, template and decoder; the rest is a text, or a text and its pair (behind the first 0xFE, which UTF-8 never has).
 *
 * What is not UTF-8 is refused; else every token lies inside its text, has a piece, and no more memory is taken than was promised. The tokens, and any
 * ids at all, are decoded: to UTF-8, no longer and for no more memory than was promised.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_tokenizer.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const folders[] = { "tests/golden/tokenizers/small-bert",   "tests/golden/tokenizers/small-gpt2", "tests/golden/tokenizers/small-gemma",
                                       "tests/golden/tokenizers/small-llama3", "tests/golden/tokenizers/unigram",    "core/builtin/attnd-translate" };
enum { NUM_FOLDERS = sizeof folders / sizeof folders[0] };

static attn_tokenizer *open_folder(const char *folder)
{
    static char json[1 << 20];
    char path[128];
    attn_tokenizer *t;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(json, 1, sizeof json, f) : 0;
    if (n == 0 || n == sizeof json || attn_tokenizer_open(&t, json, n, folder, NULL) != ATTN_OK)
        abort(); /* run from the root of the repository */
    fclose(f);
    return t;
}

/* Opened once. */
static const attn_tokenizer *choose(uint8_t byte)
{
    static attn_tokenizer *opened[NUM_FOLDERS];
    size_t i = byte % NUM_FOLDERS;
    if (!opened[i])
        opened[i] = open_folder(folders[i]);
    return opened[i];
}

static size_t code_points(attn_text text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.length; i++)
        n += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    return n;
}

static void check_tokens(const attn_tokenizer *t, const attn_encoding *e, const attn_text texts[2])
{
    size_t lengths[2] = { code_points(texts[0]), code_points(texts[1]) };
    for (size_t i = 0; i < e->count; i++) {
        const attn_token *k = &e->tokens[i];
        attn_text piece, display;
        if (k->sequence > 1 || k->start > k->end || k->end > lengths[k->sequence])
            abort();
        if (!attn_tokenizer_piece(t, k->id, &piece, &display) || k->text.length == 0 || !attn_is_utf8(k->display.bytes, k->display.length))
            abort();
    }
}

static void check_decoded(const attn_tokenizer *t, const int32_t *ids, size_t n)
{
    attn_arena *arena = attn_arena_new();
    attn_text text;
    if (attn_tokenizer_decode(t, ids, n, arena, &text, NULL) != ATTN_OK || attn_arena_peak(arena) > attn_tokenizer_decode_bytes(t, n))
        abort();
    if (text.length > attn_tokenizer_decoded_length(t, n) || !attn_is_utf8(text.bytes, text.length))
        abort();
    attn_arena_free(arena);
}

static void decode_tokens(const attn_tokenizer *t, const attn_encoding *e)
{
    int32_t *ids = malloc((e->count + 1) * sizeof *ids);
    for (size_t i = 0; ids && i < e->count; i++)
        ids[i] = e->tokens[i].id;
    if (ids)
        check_decoded(t, ids, e->count);
    free(ids);
}

/* Two bytes an id; the least and the greatest have no piece. */
static void decode_anything(const attn_tokenizer *t, const uint8_t *data, size_t size)
{
    size_t n = size / 2, vocabulary = attn_tokenizer_vocab_size(t);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    for (size_t i = 0; ids && i < n; i++)
        ids[i] = (int32_t)((data[2 * i] | (size_t)data[2 * i + 1] << 8) % (vocabulary + 2)) - 1;
    if (ids)
        check_decoded(t, ids, n);
    free(ids);
}

static void encode(const attn_tokenizer *t, const attn_text texts[2], bool has_pair, const attn_encode_options *options)
{
    attn_arena *arena = attn_arena_new();
    attn_encoding e;
    attn_status st = attn_tokenizer_encode(t, &texts[0], has_pair ? &texts[1] : NULL, options, arena, NULL, &e, NULL);
    if (st != ATTN_OK && st != ATTN_E_INPUT)
        abort();
    if ((st == ATTN_OK) != (attn_is_utf8(texts[0].bytes, texts[0].length) && attn_is_utf8(texts[1].bytes, texts[1].length)))
        abort();
    if (attn_arena_peak(arena) > attn_tokenizer_bytes(t, texts[0].length + texts[1].length))
        abort();
    if (st == ATTN_OK && options->max_length > 0 && e.count > options->max_length)
        abort();
    if (st == ATTN_OK) {
        check_tokens(t, &e, texts);
        decode_tokens(t, &e);
    }
    attn_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const attn_tokenizer *t = choose(data[0]);
    const uint8_t *begin = data + 1, *cut = memchr(begin, 0xFE, size - 1);
    size_t first = cut ? (size_t)(cut - begin) : size - 1;
    attn_text texts[2] = { { (const char *)begin, first }, { cut ? (const char *)cut + 1 : "", cut ? size - first - 2 : 0 } };
    for (size_t most = 0; most <= 8; most += 4) {
        attn_encode_options options = { .add_special_tokens = size % 2 == 0, .max_length = most };
        encode(t, texts, cut != NULL, &options);
    }
    decode_anything(t, begin, size - 1);
    return 0;
}
