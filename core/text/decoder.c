/* decoder.c - reads /decoder, and how a piece reads to a person: what /decoder makes of that piece as one in the middle of a text.
 *
 * So "##ing" reads "ing", and a space that belongs to a piece is shown as a space: "Ġthe" and "▁the" read " the". What a decoder does only to the
 * beginning of a whole text (Metaspace drops the first space, Strip behind Fuse) is left out. Bytes that are no UTF-8 by themselves read U+FFFD. Special
 * tokens, and a piece of which nothing would be left, read as they are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/decoder.h"

enum { DEPTH_MAX = 8, GROWTH_MAX = 64, BLOCK_BYTES = 65536 };

/* ---- reading ---- */

/* Strings of the file, which goes; bytes NULL: the kind has none. */
static bool keep_text(attn_text *text, attn_arena *memory)
{
    if (text->bytes)
        text->bytes = attn_arena_copy(memory, text->bytes, text->length);
    return text->bytes || text->length == 0;
}

static attn_status open_step(attn_decoder *d, const attn_node *n, attn_text type, attn_arena *memory)
{
    const attn_decoder_kind *kind = attn_decoder_kind_of(type);
    if (!kind)
        return attn_node_unknown(n, "type ", type);
    if (d->count == ATTN_DECODER_STEPS)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "more than %d decoders", ATTN_DECODER_STEPS);
    attn_decoder_step *s = &d->steps[d->count];
    *s = (attn_decoder_step){ .kind = kind, .growth = kind->growth };
    attn_status st = kind->open ? kind->open(s, n) : ATTN_OK;
    if (st != ATTN_OK)
        return st;
    if (!keep_text(&s->first, memory) || !keep_text(&s->second, memory))
        return attn_fail_memory(n->err);
    if (s->growth > GROWTH_MAX / d->growth)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "a piece could grow more than %d times", GROWTH_MAX);
    s->whole = d->fuses && attn_decoder_strips(kind);
    d->fuses |= attn_decoder_joins(kind);
    d->growth *= s->growth;
    d->count++;
    return ATTN_OK;
}

static attn_status open_steps(attn_decoder *d, const attn_node *n, int depth, attn_arena *memory)
{
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK || !attn_text_is(type, "Sequence"))
        return st == ATTN_OK ? open_step(d, n, type, memory) : st;
    if (depth == DEPTH_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "sequences more than %d deep", DEPTH_MAX);
    attn_node list = attn_node_member(n, "decoders");
    st = attn_node_need(&list, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list.value); i++) {
        attn_node item = attn_node_item(&list, i);
        st = open_steps(d, &item, depth + 1, memory);
    }
    return st;
}

/* ---- what a person reads ---- */

/* Where displays lie that are not their pieces: many short texts in few blocks. */
typedef struct store {
    attn_arena *memory;
    char *block;
    size_t left;
} store;

static bool keep_display(store *s, attn_piece *piece, attn_text text)
{
    size_t offset = piece->text.length - text.length;
    if (text.length <= piece->text.length && memcmp(piece->text.bytes + offset, text.bytes, text.length) == 0) {
        piece->display = (attn_text){ .bytes = piece->text.bytes + offset, .length = text.length };
        return true;
    }
    if (text.length > s->left) {
        s->left = attn_most(BLOCK_BYTES, text.length);
        s->block = attn_arena_take(s->memory, s->left, 1);
    }
    if (!s->block)
        return false;
    memcpy(s->block, text.bytes, text.length);
    piece->display = (attn_text){ .bytes = s->block, .length = text.length };
    s->block += text.length;
    s->left -= text.length;
    return true;
}

static attn_text read_alone(const attn_decoder *d, attn_text piece, attn_pieces buffers[2])
{
    memcpy(buffers[0].bytes, piece.bytes, piece.length);
    buffers[0].ends[0] = piece.length;
    buffers[0].count = 1;
    const attn_pieces *out = attn_decoder_run(d, buffers);
    return out->count > 0 ? attn_pieces_at(out, 0) : (attn_text){ .length = 0 };
}

static attn_status read_all(attn_tokenizer *t, const attn_node *n)
{
    attn_vocabulary *v = &t->vocabulary;
    size_t room = attn_decoder_room(t->decoder, t->longest_piece, 1), ends[2];
    attn_arena *scratch = attn_arena_new();
    attn_pieces buffers[2] = { { .ends = &ends[0], .alone = true }, { .ends = &ends[1], .alone = true } };
    bool ok = scratch && (buffers[0].bytes = attn_arena_take(scratch, room, 1)) && (buffers[1].bytes = attn_arena_take(scratch, room, 1));
    store s = { .memory = t->memory };
    for (size_t i = 0; i < v->size && ok; i++) {
        attn_piece *piece = &v->pieces[i];
        attn_text text = piece->text.bytes && !piece->special ? read_alone(t->decoder, piece->text, buffers) : (attn_text){ .length = 0 };
        ok = text.length == 0 || keep_display(&s, piece, text);
    }
    attn_arena_free(scratch);
    return ok ? ATTN_OK : attn_fail_memory(n->err);
}

attn_status attn_decoder_open(attn_tokenizer *t, const attn_node *n)
{
    t->decoder = attn_arena_zero(t->memory, 1, sizeof *t->decoder);
    if (!t->decoder)
        return attn_fail_memory(n->err);
    t->decoder->growth = 1;
    for (size_t i = 0; i < t->vocabulary.size; i++)
        t->longest_piece = attn_most(t->longest_piece, t->vocabulary.pieces[i].text.length);
    if (!n->value) {
        t->decoder->steps[t->decoder->count++] = (attn_decoder_step){ .kind = &attn_decoder_spaces, .growth = 1 };
        return ATTN_OK; /* pieces read as they are */
    }
    attn_status st = open_steps(t->decoder, n, 0, t->memory);
    return st == ATTN_OK ? read_all(t, n) : st;
}
