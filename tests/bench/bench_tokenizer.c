/* bench_tokenizer.c - encodes the lines of a file one after the other, on one thread, and says how long that took and what came out.
 *
 *     bench_tokenizer TOKENIZER.json LINES     prints: lines tokens nanoseconds digest
 *
 * The digest is FNV-1a over the count of tokens of each line and the id, start and end of each token, as bench_tokenizer.py has it of the library.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn_tokenizer.h"

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size + 1);
    if (bytes && fread(bytes, 1, *size, f) != *size) {
        free(bytes);
        bytes = NULL;
    }
    fclose(f);
    return bytes;
}

static uint64_t fnv(uint64_t state, uint32_t number)
{
    for (int shift = 0; shift < 32; shift += 8)
        state = (state ^ (number >> shift & 0xFF)) * 0x100000001B3u;
    return state;
}

static uint64_t digest(uint64_t state, const attn_encoding *e)
{
    state = fnv(state, (uint32_t)e->count);
    for (size_t i = 0; i < e->count; i++)
        state = fnv(fnv(fnv(state, (uint32_t)e->tokens[i].id), e->tokens[i].start), e->tokens[i].end);
    return state;
}

int main(int argc, char **argv)
{
    size_t json_size = 0, size = 0, lines = 0, tokens = 0;
    uint64_t took = 0, state = 0xCBF29CE484222325u;
    attn_error err = { 0 };
    attn_tokenizer *t = NULL;
    char *json = argc == 3 ? read_file(argv[1], &json_size) : NULL, *text = json ? read_file(argv[2], &size) : NULL;
    attn_arena *arena = attn_arena_new();
    attn_status st = text && arena ? attn_tokenizer_open(&t, json, json_size, argv[1], &err) : ATTN_E_IO;
    for (char *line = text, *end; st == ATTN_OK && line < text + size; line = end + 1, lines++) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end)
            break;
        attn_text one = { .bytes = line, .length = (size_t)(end - line) };
        attn_encoding out;
        attn_arena_reset(arena, SIZE_MAX);
        uint64_t begin = attn_clock_ns();
        st = attn_tokenizer_encode(t, &one, NULL, &(attn_encode_options){ .add_special_tokens = true }, arena, NULL, &out, &err);
        took += attn_clock_ns() - begin;
        tokens += out.count;
        state = digest(state, &out);
    }
    if (st == ATTN_OK)
        printf("%zu %zu %" PRIu64 " %016" PRIx64 "\n", lines, tokens, took, state);
    else
        fprintf(stderr, "bench_tokenizer: %s: %s\n", err.where, err.text);
    attn_tokenizer_close(t);
    attn_arena_free(arena);
    free(text);
    free(json);
    return st == ATTN_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
