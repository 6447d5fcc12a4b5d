/* bert_normalizer.c - BertNormalizer: clean, set ideographs apart, take accents off, lower-case.
 *
 * Plain ASCII, nearly all of most texts, goes through one table. What lies between (a run) goes through the parts one after the other, in two scratch
 * buffers. A run ends at plain ASCII, or once it is long before a code point that no mark can be moved across; so the scratch is small whatever the text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode_forms.h"

#include <string.h>

enum { CLEAN = 1, IDEOGRAPHS = 2, ACCENTS = 4, LOWER = 8 };
enum { NOT_PLAIN = 0xFF }; /* in the table of ASCII */

static attn_status bert_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    bool clean = false, ideographs = false, lower = false, accents = false;
    attn_status st = attn_node_bool(n, "clean_text", &clean);
    if (st == ATTN_OK)
        st = attn_node_bool(n, "handle_chinese_chars", &ideographs);
    if (st == ATTN_OK)
        st = attn_node_bool(n, "lowercase", &lower);
    accents = lower;
    if (st == ATTN_OK && attn_node_member(n, "strip_accents").value)
        st = attn_node_bool(n, "strip_accents", &accents);
    if (st != ATTN_OK)
        return st;
    self->flags = (clean ? CLEAN : 0u) | (ideographs ? IDEOGRAPHS : 0u) | (accents ? ACCENTS : 0u) | (lower ? LOWER : 0u);
    unsigned char *table = attn_arena_take(memory, 256, 1);
    if (!table)
        return attn_fail_memory(n->err);
    memset(table, NOT_PLAIN, 256);
    for (unsigned char c = 0; c < 128; c++) {
        uint32_t low[ATTN_LOWER_MAX] = { c };
        if (lower)
            attn_lower(c, low);
        if (!clean || !attn_is_discarded(c))
            table[c] = clean && attn_is_white(c) ? ' ' : (unsigned char)low[0];
    }
    self->table = table;
    return ATTN_OK;
}

static void clean_run(const attn_stretch *in, attn_buffer *out)
{
    for (size_t i = 0; i < in->length;) {
        uint32_t c;
        size_t n = attn_utf8_get(in->bytes + i, &c);
        if (!attn_is_discarded(c))
            attn_buffer_put(out, attn_is_white(c) ? ' ' : c, in->at[i]);
        i += n;
    }
}

static void space_ideographs(const attn_stretch *in, attn_buffer *out)
{
    for (size_t i = 0; i < in->length;) {
        uint32_t c;
        size_t n = attn_utf8_get(in->bytes + i, &c);
        bool apart = attn_is_ideograph(c);
        if (apart)
            attn_buffer_put(out, ' ', in->at[i]);
        attn_buffer_put(out, c, in->at[i]);
        if (apart)
            attn_buffer_put(out, ' ', in->at[i]);
        i += n;
    }
}

/* No mark before c can be moved behind it, none after it before it. */
static bool is_barrier(const attn_normalizer *self, uint32_t c)
{
    uint32_t parts[ATTN_DECOMPOSED_MAX];
    if ((self->flags & CLEAN) && attn_is_discarded(c))
        return false;
    attn_decompose(c, false, parts);
    return attn_combining_class(parts[0]) == 0;
}

static size_t run_end(const attn_normalizer *self, const attn_stretch *in, size_t start)
{
    size_t i = start;
    while (i < in->length && self->table[(unsigned char)in->bytes[i]] == NOT_PLAIN) {
        uint32_t c;
        size_t n = attn_utf8_get(in->bytes + i, &c);
        if (i + n - start > ATTN_RUN_BYTES || (i - start > ATTN_RUN_BYTES / 2 && is_barrier(self, c)))
            break;
        i += n;
    }
    return i;
}

/* The empty buffer that *s does not lie in. */
static attn_buffer *other(attn_encoder *e, const attn_stretch *s)
{
    attn_buffer *b = &e->scratch[s->bytes == e->scratch[0].bytes];
    b->length = 0;
    return b;
}

static void turn(attn_stretch *s, const attn_buffer *b)
{
    *s = (attn_stretch){ .bytes = b->bytes, .at = b->at, .length = b->length };
}

/* What the flags ask for, one part after the other; *s ends as the result, in a scratch buffer or as it came. */
static attn_status convert_run(const attn_normalizer *self, attn_encoder *e, attn_stretch *s)
{
    attn_status st = ATTN_OK;
    attn_buffer *b;
    if (self->flags & CLEAN) {
        clean_run(s, b = other(e, s));
        turn(s, b);
    }
    if (self->flags & IDEOGRAPHS) {
        space_ideographs(s, b = other(e, s));
        turn(s, b);
    }
    if (self->flags & ACCENTS) {
        st = attn_form_normalize(ATTN_NFD, e, s, b = other(e, s));
        turn(s, b);
    }
    if (st == ATTN_OK && (self->flags & ACCENTS)) {
        st = attn_form_drop(attn_is_nonspacing, e, s, b = other(e, s));
        turn(s, b);
    }
    if (st == ATTN_OK && (self->flags & LOWER)) {
        st = attn_form_lower(e, s, b = other(e, s));
        turn(s, b);
    }
    return st;
}

/* Plain ASCII from `start` on; returns where it ends. */
static size_t convert_plain(const attn_normalizer *self, const attn_stretch *in, size_t start, attn_buffer *out)
{
    const unsigned char *table = self->table;
    char *bytes = out->bytes + out->length;
    uint32_t *at = out->at + out->length;
    size_t n = 0, most = in->length - start < ATTN_LOOK_BYTES ? in->length - start : ATTN_LOOK_BYTES;
    for (; n < most; n++) {
        unsigned char c = table[(unsigned char)in->bytes[start + n]];
        if (c == NOT_PLAIN)
            break;
        bytes[n] = (char)c;
        at[n] = in->at[start + n];
    }
    out->length += n;
    return start + n;
}

static attn_status bert_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0; i < in->length && st == ATTN_OK;) {
        size_t plain = convert_plain(self, in, i, out);
        st = attn_encoder_handled(e, plain - i);
        i = plain;
        if (st == ATTN_OK && i < in->length && self->table[(unsigned char)in->bytes[i]] == NOT_PLAIN) {
            size_t end = run_end(self, in, i);
            attn_stretch run = attn_stretch_part(in, i, end);
            st = convert_run(self, e, &run);
            attn_buffer_append(out, &run);
            i = end;
        }
    }
    return st;
}

/* Growth 3: a Hangul syllable gives three jamo. Most else shrinks; an ideograph of three bytes with two spaces gives five. No code point gives more code
 * points than it has bytes, accents being gone. */
const attn_normalizer_kind attn_bert_normalizer = { .type = "BertNormalizer", .open = bert_open, .run = bert_run, .growth = 3, .spread = 1, .points = 4 };
