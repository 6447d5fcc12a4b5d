/* unicode_forms.c - normalization forms that know where each code point came from.
 *
 * Decomposition, canonical order and composition are UAX 15's; decompositions and composites come from utf8proc. Offsets are the library's business
 * and it has its own idea of them (attn_rewrite); marks keep their change when they are put in order, so that among reordered marks offsets belong to
 * places rather than to marks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode_forms.h"

#include <string.h>

typedef struct waiting {
    uint32_t c;
    int32_t change;
    uint8_t class;
} waiting;

struct attn_mark_buffer {
    size_t capacity;
    size_t count;                   /* marks after the last starter, in the order they came */
    size_t blocked;                 /* composing: marks that did not go into the starter */
    waiting *marks, *sorted, *left; /* [capacity] each */
};

/* One call: what is read, where the changes have led, and the starter that marks may go into. */
typedef struct form {
    attn_rewrite rewrite;
    attn_mark_buffer *buffer;
    bool compose, has_starter;
    waiting starter;
} form;

static size_t capacity_for(size_t text_bytes)
{
    return text_bytes < ATTN_MARKS_MAX ? text_bytes + 4 : ATTN_MARKS_MAX; /* 4: one code point gives at most so many marks */
}

attn_mark_buffer *attn_mark_buffer_new(attn_arena *arena, size_t text_bytes)
{
    size_t capacity = capacity_for(text_bytes);
    attn_mark_buffer *b = attn_arena_zero(arena, 1, sizeof *b);
    waiting *items = attn_arena_take(arena, 3 * capacity, sizeof *items);
    if (!b || !items)
        return NULL;
    *b = (attn_mark_buffer){ .capacity = capacity, .marks = items, .sorted = items + capacity, .left = items + 2 * capacity };
    return b;
}

size_t attn_mark_buffer_bytes(size_t text_bytes)
{
    return sizeof(attn_mark_buffer) + 3 * capacity_for(text_bytes) * sizeof(waiting);
}

static size_t length_at(const attn_stretch *in, size_t position)
{
    uint32_t c;
    return position < in->length ? attn_utf8_get(in->bytes + position, &c) : 0;
}

void attn_rewrite_skip(attn_rewrite *r, size_t points)
{
    for (size_t i = 0; i < points; i++)
        r->cursor += length_at(r->in, r->cursor);
}

void attn_rewrite_put(attn_rewrite *r, uint32_t c, int32_t change)
{
    size_t place = r->cursor;
    if (change > 0)
        place = place ? place - 1 : 0;
    else
        attn_rewrite_skip(r, (size_t)(1 - change));
    if (place >= r->in->length)
        place = r->in->length - 1;
    attn_buffer_put(r->out, c, r->in->at[place]);
}

static void put(form *f, waiting w)
{
    attn_rewrite_put(&f->rewrite, w.c, w.change);
}

static void put_starter(form *f)
{
    if (f->has_starter)
        put(f, f->starter);
    f->has_starter = false;
    for (size_t i = 0; i < f->buffer->blocked; i++)
        put(f, f->buffer->left[i]);
    f->buffer->blocked = 0;
}

/* UAX 15's composition: w goes into the last starter unless something between them blocks it. */
static void compose(form *f, waiting w)
{
    attn_mark_buffer *b = f->buffer;
    bool open = f->has_starter && (b->blocked == 0 || b->left[b->blocked - 1].class < w.class);
    uint32_t composite;
    if (open && attn_compose(f->starter.c, w.c, &composite)) {
        f->starter.c = composite;
        f->starter.change += w.change - 1;
        return;
    }
    if (w.class == 0 || b->blocked == b->capacity)
        put_starter(f);
    if (w.class == 0) {
        f->starter = w;
        f->has_starter = true;
    } else if (f->has_starter) {
        b->left[b->blocked++] = w;
    } else {
        put(f, w);
    }
}

static void give(form *f, waiting w)
{
    if (f->compose)
        compose(f, w);
    else
        put(f, w);
}

/* A stable sort by combining class: counting, so that a text of nothing but marks takes linear time. */
static const waiting *sort(attn_mark_buffer *b)
{
    size_t starts[257] = { 0 };
    for (size_t i = 0; i < b->count; i++)
        starts[b->marks[i].class + 1]++;
    for (size_t k = 1; k < 257; k++)
        starts[k] += starts[k - 1];
    for (size_t i = 0; i < b->count; i++)
        b->sorted[starts[b->marks[i].class]++] = b->marks[i];
    return b->sorted;
}

static void flush(form *f)
{
    attn_mark_buffer *b = f->buffer;
    const waiting *marks = b->marks;
    for (size_t i = 1; i < b->count; i++)
        if (b->marks[i].class < b->marks[i - 1].class) {
            marks = sort(b);
            break;
        }
    for (size_t i = 0; i < b->count; i++)
        give(f, marks[i]);
    b->count = 0;
}

attn_status attn_form_normalize(enum attn_form kind, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    attn_mark_buffer *buffer = e->marks;
    attn_status st = ATTN_OK;
    form f = { .rewrite = { .in = in, .out = out }, .buffer = buffer, .compose = kind == ATTN_NFC || kind == ATTN_NFKC };
    bool compatibility = kind == ATTN_NFKD || kind == ATTN_NFKC;
    uint32_t parts[ATTN_DECOMPOSED_MAX];
    for (size_t i = 0, length; i < in->length && st == ATTN_OK; i += length) {
        uint32_t c;
        length = attn_utf8_get(in->bytes + i, &c);
        st = attn_encoder_handled(e, length);
        size_t n = attn_decompose(c, compatibility, parts);
        for (size_t k = 0; k < n; k++) {
            waiting w = { .c = parts[k], .change = k > 0, .class = attn_combining_class(parts[k]) };
            if (w.class == 0 || buffer->count == buffer->capacity)
                flush(&f);
            if (w.class == 0)
                give(&f, w);
            else
                buffer->marks[buffer->count++] = w;
        }
    }
    flush(&f);
    put_starter(&f);
    return st;
}

attn_status attn_form_drop(bool (*drop)(uint32_t), attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0, n; i < in->length && st == ATTN_OK; i += n) {
        uint32_t c;
        n = attn_utf8_get(in->bytes + i, &c);
        if (!drop(c))
            attn_buffer_put(out, c, in->at[i]);
        st = attn_encoder_handled(e, n);
    }
    return st;
}

attn_status attn_form_lower(attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0, n; i < in->length && st == ATTN_OK; i += n) {
        uint32_t c, lower[ATTN_LOWER_MAX];
        n = attn_utf8_get(in->bytes + i, &c);
        size_t count = attn_lower(c, lower);
        for (size_t k = 0; k < count; k++)
            attn_buffer_put(out, lower[k], in->at[i]);
        st = attn_encoder_handled(e, n);
    }
    return st;
}
