/* wordpiece.c - WordPiece: a word is cut from the left, each time at the longest piece the vocabulary has.
 *
 * Pieces that continue a word carry a prefix ("##"). When at some place no piece fits, the whole word is one unknown token, and so is a word of too many
 * code points. From one place all beginnings up to the longest piece of the vocabulary are hashed in one go and then looked up, the longest first: the
 * cost of a code point is at most the longest piece, whatever the text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <string.h>

static attn_status wordpiece_open(attn_tokenizer *t, const attn_node *n)
{
    attn_model_settings *s = &t->settings;
    attn_text unknown = { .length = 0 }, prefix = { .length = 0 };
    uint64_t max_word = 0;
    attn_status st = attn_node_string(n, "unk_token", &unknown);
    if (st == ATTN_OK)
        st = attn_node_string(n, "continuing_subword_prefix", &prefix);
    if (st == ATTN_OK)
        st = attn_node_number(n, "max_input_chars_per_word", INT64_MAX, &max_word);
    if (st != ATTN_OK)
        return st;
    s->unknown = attn_vocabulary_id(&t->vocabulary, unknown);
    if (s->unknown < 0) {
        attn_node member = attn_node_member(n, "unk_token");
        return attn_node_fail(&member, ATTN_E_FORMAT, "not a piece of the vocabulary");
    }
    s->prefix.bytes = attn_arena_copy(t->memory, prefix.bytes, prefix.length);
    if (!s->prefix.bytes)
        return attn_fail_memory(n->err);
    s->prefix.length = prefix.length;
    s->max_word = (size_t)max_word;
    s->continuing = attn_hash_bytes(ATTN_HASH_START, prefix.bytes, prefix.length);
    for (size_t i = 0; i < t->vocabulary.size; i++) {
        attn_text piece = t->vocabulary.pieces[i].text;
        if (piece.length > s->longest_first)
            s->longest_first = piece.length;
        if (piece.length > prefix.length + s->longest_next && memcmp(piece.bytes, prefix.bytes, prefix.length) == 0)
            s->longest_next = piece.length - prefix.length;
    }
    return ATTN_OK;
}

/* The longest piece at `start`; its length, 0 for none. */
static size_t longest_piece(const attn_encoder *e, const attn_stretch *word, size_t start, int32_t *id)
{
    const attn_model_settings *s = &e->tokenizer->settings;
    const attn_vocabulary *v = &e->tokenizer->vocabulary;
    size_t skip = start ? s->prefix.length : 0, most = start ? s->longest_next : s->longest_first;
    const char *bytes = word->bytes + start;
    if (most > word->length - start)
        most = word->length - start;
    uint64_t h = start ? s->continuing : ATTN_HASH_START;
    for (size_t i = 0; i < most; i++)
        e->prefix_hashes[i] = h = attn_hash_byte(h, bytes[i]);
    for (size_t n = most; n > 0; n--) {
        if (start + n < word->length && ((unsigned char)bytes[n] & 0xC0) == 0x80)
            continue; /* inside a code point */
        *id = attn_vocabulary_find(v, e->prefix_hashes[n - 1], skip, bytes, n);
        if (*id >= 0)
            return n;
    }
    return 0;
}

static bool too_long(const attn_stretch *word, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; word->length > most && i < word->length && count <= most; i++)
        count += ((unsigned char)word->bytes[i] & 0xC0) != 0x80;
    return count > most;
}

static attn_status emit(attn_encoder *e, const attn_stretch *word, size_t start, size_t end, int32_t id)
{
    return attn_encoder_emit(e, id, word->at[start], word->at[end - 1] + 1, (attn_text){ .length = 0 });
}

static attn_status wordpiece_run(attn_encoder *e, const attn_stretch *word)
{
    const attn_model_settings *s = &e->tokenizer->settings;
    if (too_long(word, s->max_word))
        return emit(e, word, 0, word->length, s->unknown);
    attn_found_mark mark = attn_encoder_mark(e);
    for (size_t start = 0; start < word->length;) {
        int32_t id;
        size_t n = longest_piece(e, word, start, &id);
        if (n == 0) {
            attn_encoder_take_back(e, mark);
            return emit(e, word, 0, word->length, s->unknown);
        }
        attn_status st = emit(e, word, start, start + n, id);
        if (st == ATTN_OK)
            st = attn_encoder_handled(e, n);
        if (st != ATTN_OK)
            return st;
        start += n;
    }
    return ATTN_OK;
}

const attn_model_kind attn_wordpiece = { .type = "WordPiece", .sign = "max_input_chars_per_word", .open = wordpiece_open, .run = wordpiece_run };
