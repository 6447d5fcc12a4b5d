/* byte_level.c - ByteLevel: words as GPT-2 cuts them, then a letter for each byte. See byte_level.h.
 *
 * The cut is GPT-2's pattern, written by hand:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * Every code point belongs to a match, so a text is all words.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/byte_level.h"
#include "text/pipeline.h"

static bool stands_for_itself(uint32_t c)
{
    return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xFF && c != 0xAD);
}

/* 68 bytes do not: 0 to 32, 127 to 160 and 173. */
uint32_t attn_byte_letter(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    return 0x100 + (byte <= 32 ? byte : byte <= 160 ? byte - 127u + 33 : 67);
}

int attn_letter_byte(uint32_t letter)
{
    if (letter < 0x100)
        return stands_for_itself(letter) ? (int)letter : -1;
    uint32_t nth = letter - 0x100;
    return nth <= 32 ? (int)nth : nth < 67 ? (int)(nth - 33 + 127) : nth == 67 ? 173 : -1;
}

/* ---- the cut ---- */

enum { LETTER, NUMBER, WHITE, OTHER };

static int class_of(uint32_t c)
{
    return attn_is_letter(c) ? LETTER : attn_is_number(c) ? NUMBER : attn_is_white(c) ? WHITE : OTHER;
}

static int class_at(const attn_splitter *self, const attn_stretch *in, size_t i, size_t *n)
{
    unsigned char byte = (unsigned char)in->bytes[i];
    *n = 1;
    if (byte < 0x80)
        return self->ascii[byte];
    uint32_t c;
    *n = attn_utf8_get(in->bytes + i, &c);
    return class_of(c);
}

static uint8_t classify(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return (uint8_t)class_of(c);
}

/* 's and its like; 0: none. */
static size_t contraction(const char *s, size_t left)
{
    if (left < 2 || s[0] != '\'')
        return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd')
        return 2;
    bool two = left > 2 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') || (s[1] == 'l' && s[2] == 'l'));
    return two ? 3 : 0;
}

static size_t run_end(const attn_splitter *self, const attn_stretch *in, size_t i, int class, size_t *last)
{
    size_t n;
    while (i < in->length && class_at(self, in, i, &n) == class) {
        *last = i;
        i += n;
    }
    return i;
}

static size_t word_end(const attn_splitter *self, const attn_stretch *in, size_t start)
{
    size_t n, more, last = start, short_word = contraction(in->bytes + start, in->length - start);
    if (short_word)
        return start + short_word;
    int class = class_at(self, in, start, &n);
    if (in->bytes[start] == ' ' && start + 1 < in->length) {
        int next = class_at(self, in, start + 1, &more);
        if (next != WHITE)
            return run_end(self, in, start + 1 + more, next, &last);
    }
    size_t end = run_end(self, in, start + n, class, &last);
    return class == WHITE && end < in->length && last > start ? last : end; /* the last one goes to the next word, or stands alone */
}

/* ---- running ---- */

static attn_status byte_level_open(attn_splitter *self, const attn_node *n)
{
    attn_node cuts = attn_node_member(n, "use_regex");
    bool trim;
    attn_status st = attn_node_bool(n, "add_prefix_space", &self->add_prefix_space);
    if (st == ATTN_OK)
        st = attn_node_bool(n, "trim_offsets", &trim); /* the post-processor's */
    self->cuts = true;
    return st == ATTN_OK && cuts.value ? attn_node_bool(n, "use_regex", &self->cuts) : st;
}

static attn_reach byte_level_grow(const attn_splitter *self, attn_reach in, uint64_t pieces)
{
    uint64_t bytes = in.bytes + (self->add_prefix_space ? pieces : 0);
    return (attn_reach){ .bytes = 2 * bytes, .points = bytes };
}

/* The text with a space before it, in the buffer's upper half. Letters are written from the buffer's start: for each byte read at most two are written,
 * so they do not reach what is still to be read. */
static attn_stretch put_space(const attn_buffer *b, const attn_stretch *in)
{
    attn_buffer out = { .bytes = b->bytes + in->length + 1, .at = b->at + in->length + 1 };
    attn_stretch text = { .bytes = out.bytes, .at = out.at, .length = in->length + 1 };
    attn_buffer_put(&out, ' ', in->at[0]);
    attn_buffer_append(&out, in);
    return text;
}

static attn_stretch write_letters(const attn_buffer *b, const attn_stretch *in)
{
    attn_buffer out = { .bytes = b->bytes, .at = b->at };
    for (size_t i = 0; i < in->length; i++)
        attn_buffer_put(&out, attn_byte_letter((uint8_t)in->bytes[i]), in->at[i]);
    return (attn_stretch){ .bytes = out.bytes, .at = out.at, .length = out.length };
}

static attn_status byte_level_run(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    const attn_buffer *b = &e->splits[index];
    attn_stretch text = self->add_prefix_space && in->bytes[0] != ' ' ? put_space(b, in) : *in;
    attn_status st = ATTN_OK;
    for (size_t start = 0, end; st == ATTN_OK && start < text.length; start = end) {
        end = self->cuts ? word_end(self, &text, start) : text.length;
        attn_stretch word = attn_stretch_part(&text, start, end), letters = write_letters(b, &word);
        st = attn_splitters_next(e, &letters, index + 1);
        if (st == ATTN_OK)
            st = attn_encoder_handled(e, end - start);
    }
    return st;
}

const attn_splitter_kind attn_byte_level = {
    .type = "ByteLevel", .open = byte_level_open, .run = byte_level_run, .classify = classify, .grow = byte_level_grow
};
