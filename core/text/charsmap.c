/* charsmap.c - the normalizer "Precompiled": sentencepiece's table of replacements, a double-array trie and the texts it leads to.
 *
 * The table, base64: the trie's bytes as a 32-bit little-endian number, the trie (32-bit units), then texts that end in NUL. Of a unit, bits 0 to 7 and
 * 31 are the label, bit 8 says that a value hangs below, bits 10 to 30 (times 256 when bit 9 is set) lead on by exclusive or; a value is where a text
 * begins.
 *
 * How it is used is the library's: a grapheme cluster of at most 5 bytes is looked up as one, and what hits is the shortest beginning of it that is in
 * the table, the rest being lost; a longer cluster, or one that misses, is looked up code point by code point. What goes at the very beginning of a text
 * is not counted, so that all offsets after it are too small: the library's way too.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/base64.h"
#include "text/unicode_forms.h"

#include <string.h>

enum { CHUNK_MAX = 5, UNREACHED = 0xFF };

struct attn_charsmap {
    const uint32_t *units;
    size_t count;
    attn_text texts;
    bool plain[128]; /* stays as it is before any other ASCII */
};

static uint32_t label_of(uint32_t unit)
{
    return unit & 0x800000FFu;
}

static uint32_t way_of(uint32_t unit)
{
    return unit >> 10 << ((unit & 0x200u) >> 6);
}

static bool has_value(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t value_of(uint32_t unit)
{
    return unit & 0x7FFFFFFFu;
}

static attn_text text_at(const attn_charsmap *m, size_t start)
{
    const char *text = m->texts.bytes + start, *end = memchr(text, 0, m->texts.length - start);
    return (attn_text){ .bytes = text, .length = end ? (size_t)(end - text) : m->texts.length - start };
}

static size_t count_points(const char *s, size_t n)
{
    size_t points = 0;
    for (size_t i = 0; i < n; i++)
        points += ((unsigned char)s[i] & 0xC0) != 0x80;
    return points;
}

/* What the shortest beginning of s in the table becomes; false when there is none. */
static bool look_up(const attn_charsmap *m, const char *s, size_t n, attn_text *out)
{
    uint32_t place = way_of(m->units[0]);
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)s[i];
        place ^= byte;
        if (byte == 0 || place >= m->count || label_of(m->units[place]) != byte)
            return false;
        uint32_t unit = m->units[place];
        place ^= way_of(unit);
        if (has_value(unit)) {
            *out = text_at(m, value_of(m->units[place]));
            return true;
        }
    }
    return false;
}

/* ---- reading ---- */

/* Strict base64 into memory of its own. */
static attn_status decode(const attn_node *n, attn_arena *memory, attn_text *out)
{
    attn_text text = attn_node_text(n);
    size_t padding = 0;
    while (padding < 2 && padding < text.length && text.bytes[text.length - 1 - padding] == '=')
        padding++;
    unsigned char *bytes = attn_arena_take(memory, text.length / 4 + 1, 3);
    if (!bytes)
        return attn_fail_memory(n->err);
    size_t used = 0;
    uint32_t bits = 0;
    bool sound = text.length % 4 == 0;
    for (size_t i = 0; i < text.length && sound; i++) {
        uint8_t value = i < text.length - padding ? attn_base64_values[(unsigned char)text.bytes[i]] : 0;
        sound = value < 64;
        bits = bits << 6 | value;
        for (int shift = 16; i % 4 == 3 && shift >= 0; shift -= 8)
            bytes[used++] = (unsigned char)(bits >> shift);
    }
    if (!sound)
        return attn_node_fail(n, ATTN_E_FORMAT, "not base64");
    *out = (attn_text){ .bytes = (const char *)bytes, .length = used - padding };
    return ATTN_OK;
}

static uint32_t little_endian(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static attn_status take_apart(attn_charsmap *m, attn_text blob, const attn_node *n, attn_arena *memory)
{
    size_t count = blob.length < 4 ? 0 : little_endian(blob.bytes) / 4;
    if (count == 0 || count > (blob.length - 4) / 4)
        return attn_node_fail(n, ATTN_E_FORMAT, "its trie is cut off");
    uint32_t *units = attn_arena_take(memory, count, sizeof *units);
    if (!units)
        return attn_fail_memory(n->err);
    for (size_t i = 0; i < count; i++)
        units[i] = little_endian(blob.bytes + 4 + 4 * i);
    m->units = units;
    m->count = count;
    m->texts = (attn_text){ .bytes = blob.bytes + 4 + 4 * count, .length = blob.length - 4 - 4 * count };
    return attn_is_utf8(m->texts.bytes, m->texts.length) ? ATTN_OK : attn_node_fail(n, ATTN_E_FORMAT, "its texts are not UTF-8");
}

/* A value that a text of `depth` bytes leads to. */
static attn_status check_value(const attn_charsmap *m, size_t place, size_t depth, attn_normalizer *self, const attn_node *n)
{
    size_t start = place < m->count ? value_of(m->units[place]) : SIZE_MAX;
    if (start > m->texts.length || (start < m->texts.length && ((unsigned char)m->texts.bytes[start] & 0xC0) == 0x80))
        return attn_node_fail(n, ATTN_E_FORMAT, "its trie leads to no text");
    attn_text text = text_at(m, start);
    size_t points = count_points(text.bytes, text.length);
    self->growth = attn_most(self->growth, attn_ceil_div(text.length, depth));
    self->spread = attn_most(self->spread, attn_ceil_div(points, depth));
    self->points = attn_most(self->points, points);
    return ATTN_OK;
}

/* Everything that a chunk can reach, byte by byte from the root: a unit says itself below which place it hangs. Finds how much text may grow. */
static attn_status check(const attn_charsmap *m, attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    size_t places = (m->count | 0xFF) + 1;
    attn_arena_mark mark = attn_arena_save(memory);
    uint8_t *depths = attn_arena_take(memory, places, 1);
    attn_status st = depths ? ATTN_OK : attn_fail_memory(n->err);
    if (depths) {
        memset(depths, UNREACHED, places);
        if (way_of(m->units[0]) < places)
            depths[way_of(m->units[0])] = 0;
    }
    for (uint8_t depth = 1; depth <= CHUNK_MAX && st == ATTN_OK; depth++)
        for (size_t i = 0; i < m->count && st == ATTN_OK; i++) {
            uint32_t label = label_of(m->units[i]);
            if (label == 0 || label > 0xFF || depths[i ^ label] != depth - 1)
                continue;
            size_t place = i ^ way_of(m->units[i]);
            if (has_value(m->units[i]))
                st = check_value(m, place, depth, self, n);
            else if (place < places && depths[place] == UNREACHED)
                depths[place] = depth;
        }
    attn_arena_rewind(memory, mark);
    return st;
}

/* ---- how much settled text may grow ---- *
 *
 * Nearly all of a table is what NFKD does, so behind NFKD nearly none of it is ever met, and the few texts that grow most are not: worth knowing, for growths
 * multiply. Every beginning that is looked up begins with a code point that NFKD leaves alone; these are walked, and all that the table has behind them. */

typedef struct survey {
    const attn_charsmap *map;
    size_t growth, spread, points;
    size_t left; /* steps; a table that takes more is none that anybody trained */
} survey;

static void note_value(survey *s, size_t start, size_t length)
{
    attn_text text = text_at(s->map, start);
    size_t points = count_points(text.bytes, text.length);
    s->growth = attn_most(s->growth, attn_ceil_div(text.length, length));
    s->spread = attn_most(s->spread, attn_ceil_div(points, length));
    s->points = attn_most(s->points, points);
}

/* One byte on from `place`; false when the walk ends there. `length` bytes are behind it then. */
static bool step_on(survey *s, size_t *place, unsigned char byte, size_t length)
{
    const attn_charsmap *m = s->map;
    size_t at = *place ^ byte;
    if (s->left == 0 || byte == 0 || at >= m->count || label_of(m->units[at]) != byte)
        return false;
    s->left--;
    *place = at ^ way_of(m->units[at]);
    if (has_value(m->units[at]))
        note_value(s, value_of(m->units[*place]), length);
    return !has_value(m->units[at]);
}

static void walk_on(survey *s, size_t place, size_t length)
{
    for (unsigned byte = 1; byte < 256 && length < CHUNK_MAX; byte++) {
        size_t next = place;
        if (step_on(s, &next, (unsigned char)byte, length + 1))
            walk_on(s, next, length + 1);
    }
}

static void survey_settled(const attn_charsmap *m, attn_normalizer *self)
{
    survey s = { .map = m, .growth = 1, .spread = 1, .points = 1, .left = 1u << 18 };
    for (uint32_t c = 1; c < 0x110000; c++) {
        char bytes[4];
        uint32_t parts[ATTN_DECOMPOSED_MAX];
        size_t place = way_of(m->units[0]), n = attn_utf8_put(bytes, c);
        if ((c >= 0xD800 && c < 0xE000) || (place ^ (unsigned char)bytes[0]) >= m->count ||
            label_of(m->units[place ^ (unsigned char)bytes[0]]) != (unsigned char)bytes[0])
            continue;
        if (attn_decompose(c, true, parts) != 1 || parts[0] != c)
            continue;
        size_t i = 0;
        while (i < n && step_on(&s, &place, (unsigned char)bytes[i], i + 1))
            i++;
        if (i == n)
            walk_on(&s, place, n);
    }
    if (s.left > 0) {
        self->growth = s.growth;
        self->spread = s.spread;
        self->points = s.points;
    }
}

static attn_status charsmap_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    attn_node member = attn_node_member(n, "precompiled_charsmap");
    attn_text blob = { .length = 0 };
    attn_charsmap *m = attn_arena_zero(memory, 1, sizeof *m);
    if (!m)
        return attn_fail_memory(n->err);
    attn_status st = attn_node_need(&member, JSON_STRING);
    if (st == ATTN_OK)
        st = decode(&member, memory, &blob);
    if (st == ATTN_OK)
        st = take_apart(m, blob, &member, memory);
    if (st == ATTN_OK)
        st = check(m, self, &member, memory);
    if (st == ATTN_OK && self->settled)
        survey_settled(m, self);
    for (int c = 0; st == ATTN_OK && c < 128; c++) {
        char byte = (char)c;
        attn_text text;
        m->plain[c] = c != '\r' && !look_up(m, &byte, 1, &text); /* CR LF is one cluster */
    }
    self->charsmap = m;
    return st;
}

/* ---- using ---- */

/* One text on its way through the table. */
typedef struct passage {
    attn_rewrite rewrite;
    bool begun;   /* something has been written, or waits */
    bool waiting; /* the last code point, when it is new: what goes after it changes what it stands for */
    uint32_t last;
} passage;

static void flush(passage *p)
{
    if (p->waiting)
        attn_rewrite_put(&p->rewrite, p->last, 1);
    p->waiting = false;
}

static void write(passage *p, uint32_t c, bool is_new)
{
    flush(p);
    p->begun = true;
    p->waiting = is_new;
    p->last = c;
    if (!is_new)
        attn_rewrite_put(&p->rewrite, c, 0);
}

static void remove_points(passage *p, size_t count)
{
    if (p->waiting)
        attn_rewrite_put(&p->rewrite, p->last, 1 - (int32_t)count);
    else if (p->begun)
        attn_rewrite_skip(&p->rewrite, count);
    p->waiting = false;
}

/* `chunk` becomes `text`: code point for code point; what is left of the text is new, what is left of the chunk is gone. */
static void replace(passage *p, attn_text chunk, attn_text text)
{
    size_t old = count_points(chunk.bytes, chunk.length), done = 0;
    for (size_t i = 0; i < text.length; done++) {
        uint32_t c;
        i += attn_utf8_get(text.bytes + i, &c);
        write(p, c, done >= old);
    }
    if (done < old)
        remove_points(p, old - done);
}

static void pass_cluster(const attn_charsmap *m, passage *p, const char *s, size_t n)
{
    attn_text text;
    if (n <= CHUNK_MAX && look_up(m, s, n, &text)) {
        replace(p, (attn_text){ .bytes = s, .length = n }, text);
        return;
    }
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c;
        length = attn_utf8_get(s + i, &c);
        if (look_up(m, s + i, length, &text))
            replace(p, (attn_text){ .bytes = s + i, .length = length }, text);
        else
            write(p, c, false);
    }
}

/* Copies plain ASCII from i on, where each code point is a cluster of its own; returns where that ends. */
static size_t pass_plain(const attn_charsmap *m, passage *p, const attn_stretch *in, size_t i)
{
    size_t end = i, stop = in->length - i > ATTN_LOOK_BYTES ? i + ATTN_LOOK_BYTES : in->length;
    while (end < stop && (unsigned char)in->bytes[end] < 0x80 && m->plain[(unsigned char)in->bytes[end]] &&
           (end + 1 == in->length || (unsigned char)in->bytes[end + 1] < 0x80))
        end++;
    if (end == i)
        return i;
    flush(p);
    if (p->rewrite.cursor != i) /* offsets are out of step */
        return i;
    attn_stretch plain = attn_stretch_part(in, i, end);
    attn_buffer_append(p->rewrite.out, &plain);
    p->rewrite.cursor = end;
    p->begun = true;
    return end;
}

static attn_status charsmap_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    passage p = { .rewrite = { .in = in, .out = out } };
    attn_status st = ATTN_OK;
    for (size_t i = 0; i < in->length && st == ATTN_OK;) {
        size_t end = pass_plain(self->charsmap, &p, in, i);
        if (end == i) {
            end = attn_cluster_end(in->bytes, in->length, i);
            pass_cluster(self->charsmap, &p, in->bytes + i, end - i);
        }
        st = attn_encoder_handled(e, end - i);
        i = end;
    }
    flush(&p);
    return st;
}

/* Growth and spread are the table's. */
const attn_normalizer_kind attn_charsmap_normalizer = {
    .type = "Precompiled", .open = charsmap_open, .run = charsmap_run, .growth = 1, .spread = 1, .points = 1
};
