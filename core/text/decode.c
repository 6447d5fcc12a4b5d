/* decode.c - ids to text: the pieces of those that are not special, through the file's decoder, joined.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/decoder.h"

/* The piece that an id adds to the text; bytes NULL: none. */
static attn_text piece_of(const attn_tokenizer *t, int32_t id)
{
    bool shows = id >= 0 && (size_t)id < t->vocabulary.size && !t->vocabulary.pieces[id].special;
    return shows ? t->vocabulary.pieces[id].text : (attn_text){ .length = 0 };
}

static bool take_pieces(attn_pieces *p, attn_arena *arena, uint64_t bytes, size_t n)
{
    *p = (attn_pieces){ .bytes = bytes <= SIZE_MAX ? attn_arena_take(arena, bytes, 1) : NULL, .ends = attn_arena_take(arena, n + 1, sizeof *p->ends) };
    return p->bytes && p->ends;
}

attn_status attn_tokenizer_decode(const attn_tokenizer *t, const int32_t *ids, size_t n, attn_arena *arena, attn_text *out, attn_error *err)
{
    attn_pieces buffers[2];
    uint64_t bytes = 0;
    *out = (attn_text){ .bytes = "" };
    for (size_t i = 0; i < n; i++)
        bytes += piece_of(t, ids[i]).length;
    uint64_t room = attn_decoder_room(t->decoder, bytes, n);
    if (!take_pieces(&buffers[0], arena, room, n) || !take_pieces(&buffers[1], arena, room, n))
        return attn_fail_memory(err);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        attn_text piece = piece_of(t, ids[i]);
        if (!piece.bytes)
            continue;
        memcpy(buffers[0].bytes + used, piece.bytes, piece.length);
        used += piece.length;
        buffers[0].ends[buffers[0].count++] = used;
    }
    const attn_pieces *text = attn_decoder_run(t->decoder, buffers);
    *out = (attn_text){ .bytes = text->bytes, .length = text->count > 0 ? text->ends[text->count - 1] : 0 };
    return ATTN_OK;
}

uint64_t attn_tokenizer_decoded_length(const attn_tokenizer *t, size_t n)
{
    return attn_decoder_room(t->decoder, attn_times(n, t->longest_piece), n);
}

uint64_t attn_tokenizer_decode_bytes(const attn_tokenizer *t, size_t n)
{
    uint64_t ends = attn_arena_bytes(attn_plus(n, 1), sizeof(size_t));
    return 2 * attn_plus(attn_arena_bytes(attn_tokenizer_decoded_length(t, n), 1), ends);
}
