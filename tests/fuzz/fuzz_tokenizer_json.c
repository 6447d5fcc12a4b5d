/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json: refused with a reason, or a tokenizer that can be used.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const attn_tokenizer *t)
{
    static const char sample[] = "a <x>  B, caf\xC3\xA9 e\xCC\xA7\xCC\x81 \xE4\xB8\xAD\xED\x95\x9C [MASK] \xEF\xB7\xBA##ing x";
    attn_text text = { sample, sizeof sample - 1 }, display;
    for (int i = 0; i < 4; i++) {
        attn_encode_options options = { .add_special_tokens = i & 1, .max_length = i & 1 ? 0 : 7 };
        attn_arena *arena = attn_arena_new();
        attn_encoding e;
        attn_status st = attn_tokenizer_encode(t, &text, i & 2 ? &text : NULL, &options, arena, NULL, &e, NULL);
        if (st != ATTN_OK && st != ATTN_E_INPUT) /* a character without a piece, a pattern without end */
            abort();
        if (attn_arena_peak(arena) > attn_tokenizer_bytes(t, i & 2 ? 2 * text.length : text.length))
            abort();
        for (size_t k = 0; k < e.count; k++)
            if (e.tokens[k].id < 0 || (size_t)e.tokens[k].id >= attn_tokenizer_vocab_size(t) || e.tokens[k].end > text.length)
                abort();
        attn_arena_free(arena);
    }
    for (int32_t id = -1; id <= (int32_t)attn_tokenizer_vocab_size(t); id++)
        if (attn_tokenizer_piece(t, id, &text, &display) && text.bytes + text.length != display.bytes + display.length)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attn_tokenizer *t;
    attn_error err = { .code = ATTN_OK };
    attn_status st = attn_tokenizer_open(&t, (const char *)data, size, "fuzzed", &err);
    if (st == ATTN_OK ? t == NULL : t != NULL || err.code != st || err.text[0] == '\0')
        abort();
    if (st != ATTN_OK && st != ATTN_E_FORMAT && st != ATTN_E_UNSUPPORTED)
        abort();
    if (t)
        use(t);
    attn_tokenizer_close(t);
    return 0;
}
