/* pre_tokenizer_cut.c - splitters that look for a delimiter: by pattern, or by the class of a code point.
 *
 * The text becomes a row of stretches that are delimiters and stretches between them; the behavior says which of them become one piece, which is known
 * from a stretch and the one before it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pattern.h"

/* ---- reading ---- */

static attn_status read_behavior(attn_splitter *self, const attn_node *n, attn_text name)
{
    static const char *const names[] = { [ATTN_REMOVED] = "Removed",
                                         [ATTN_ISOLATED] = "Isolated",
                                         [ATTN_WITH_PREVIOUS] = "MergedWithPrevious",
                                         [ATTN_WITH_NEXT] = "MergedWithNext",
                                         [ATTN_CONTIGUOUS] = "Contiguous" };
    attn_node how = attn_node_member(n, "behavior");
    attn_status st = how.value || !name.bytes ? attn_node_string(n, "behavior", &name) : ATTN_OK;
    if (st != ATTN_OK)
        return st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (attn_text_is(name, names[i])) {
            self->behavior = (attn_behavior)i;
            return ATTN_OK;
        }
    return attn_node_unknown(&how, "", name);
}

attn_status attn_punctuation_open(attn_splitter *self, const attn_node *n)
{
    return read_behavior(self, n, (attn_text){ .bytes = "Isolated", .length = 8 });
}

attn_status attn_digits_open(attn_splitter *self, const attn_node *n)
{
    bool alone = false;
    attn_status st = attn_node_bool(n, "individual_digits", &alone);
    self->behavior = alone ? ATTN_ISOLATED : ATTN_CONTIGUOUS;
    return st;
}

attn_status attn_delimiter_open(attn_splitter *self, const attn_node *n)
{
    self->behavior = ATTN_REMOVED;
    return attn_node_code_point(n, "delimiter", &self->sign);
}

attn_status attn_fixed_open(attn_splitter *self, const attn_node *n)
{
    attn_node length = attn_node_member(n, "length");
    attn_status st = attn_node_integer(&length, INT64_MAX, &self->length);
    return st == ATTN_OK && self->length == 0 ? attn_node_fail(&length, ATTN_E_FORMAT, "must be at least 1") : st;
}

attn_status attn_split_open(attn_splitter *self, const attn_node *n)
{
    attn_node pattern = attn_node_member(n, "pattern");
    attn_status st = read_behavior(self, n, (attn_text){ .bytes = NULL });
    if (st == ATTN_OK)
        st = attn_node_bool(n, "invert", &self->invert);
    return st == ATTN_OK ? attn_pattern_open(&self->pattern, &pattern) : st;
}

/* ---- cutting ---- */

typedef struct cutter {
    const attn_splitter *self;
    attn_encoder *e;
    const attn_stretch *in;
    size_t index;
    size_t start, end; /* of the piece being put together */
    bool any, delimiter, last_delimiter;
} cutter;

static attn_status flush(const cutter *c)
{
    if (!c->any || (c->delimiter && c->self->behavior == ATTN_REMOVED))
        return ATTN_OK;
    attn_stretch piece = attn_stretch_part(c->in, c->start, c->end);
    return attn_splitters_next(c->e, &piece, c->index + 1);
}

static bool joins(attn_behavior behavior, bool before, bool delimiter)
{
    switch (behavior) {
    case ATTN_WITH_PREVIOUS:
        return delimiter && !before;
    case ATTN_WITH_NEXT:
        return before && !delimiter;
    case ATTN_CONTIGUOUS:
        return before == delimiter;
    default:
        return false;
    }
}

static attn_status add(cutter *c, size_t start, size_t end, bool matches)
{
    attn_status st = ATTN_OK;
    bool delimiter = matches != c->self->invert;
    if (!c->any || !joins(c->self->behavior, c->last_delimiter, delimiter)) {
        st = flush(c);
        c->start = start;
        c->delimiter = delimiter;
    }
    c->any = true;
    c->end = end;
    c->last_delimiter = delimiter;
    return st == ATTN_OK ? attn_encoder_handled(c->e, end - start) : st;
}

attn_status attn_split_by_pattern(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    cutter c = { .self = self, .e = e, .in = in, .index = index };
    attn_pattern_scan scan = { .pattern = self->pattern, .text = in->bytes, .length = in->length };
    attn_status st = ATTN_OK;
    bool found = true;
    for (size_t done = 0; st == ATTN_OK && found;) {
        size_t start = in->length, end = in->length;
        st = attn_pattern_next(&scan, e, &found, &start, &end);
        if (st == ATTN_OK && done < start)
            st = add(&c, done, start, false);
        if (st == ATTN_OK && found)
            st = add(&c, start, end, true);
        done = end;
    }
    return st == ATTN_OK ? flush(&c) : st;
}

attn_status attn_split_at_class(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    cutter c = { .self = self, .e = e, .in = in, .index = index };
    attn_status st = ATTN_OK;
    size_t done = 0;
    for (size_t i = 0, n; st == ATTN_OK && i < in->length; i += n) {
        uint32_t point;
        n = attn_utf8_get(in->bytes + i, &point);
        if (!(point < 128 ? self->ascii[point] : self->kind->classify(self, point)))
            continue;
        if (done < i)
            st = add(&c, done, i, false);
        if (st == ATTN_OK)
            st = add(&c, i, i + n, true);
        done = i + n;
    }
    if (st == ATTN_OK && done < in->length)
        st = add(&c, done, in->length, false);
    return st == ATTN_OK ? flush(&c) : st;
}

attn_status attn_split_by_length(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    attn_status st = ATTN_OK;
    for (size_t start = 0, end = 0; st == ATTN_OK && start < in->length; start = end) {
        uint32_t c;
        for (uint64_t points = 0; points < self->length && end < in->length; points++)
            end += attn_utf8_get(in->bytes + end, &c);
        attn_stretch piece = attn_stretch_part(in, start, end);
        st = attn_encoder_handled(e, end - start);
        if (st == ATTN_OK)
            st = attn_splitters_next(e, &piece, index + 1);
    }
    return st;
}
