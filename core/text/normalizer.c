/* normalizer.c - the table of normalizers, and the small ones.
 *
 * Sequences are flattened when the file is read: a text then runs through a list of steps, from one of two work buffers into the other.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/unicode_forms.h"

#include <string.h>

enum { STEPS_MAX = 32, DEPTH_MAX = 8, GROWTH_MAX = 4096, MORE_MAX = 1 << 20 };

/* ---- normalization forms, lower case, accents ---- */

static attn_status nfd_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_normalize(ATTN_NFD, e, in, out);
}

static attn_status nfc_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_normalize(ATTN_NFC, e, in, out);
}

static attn_status nfkd_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_normalize(ATTN_NFKD, e, in, out);
}

static attn_status nfkc_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_normalize(ATTN_NFKC, e, in, out);
}

/* One code point alone becomes two, U+0130, and NFKD takes it apart. */
static attn_status lowercase_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    (void)n;
    (void)memory;
    if (self->settled)
        self->points = 1;
    return ATTN_OK;
}

static attn_status lowercase_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_lower(e, in, out);
}

static attn_status strip_accents_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    return attn_form_drop(attn_is_mark, e, in, out);
}

/* ---- Nmt, ByteLevel ---- */

static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static bool nmt_sees_space(uint32_t c)
{
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
}

/* sentencepiece's cleaning, as the library has it: some control characters go, what counts as space becomes one. */
static attn_status nmt_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    attn_status st = ATTN_OK;
    for (size_t i = 0, n; i < in->length && st == ATTN_OK; i += n) {
        uint32_t c;
        n = attn_utf8_get(in->bytes + i, &c);
        if (!nmt_drops(c))
            attn_buffer_put(out, nmt_sees_space(c) ? ' ' : c, in->at[i]);
        st = attn_encoder_handled(e, n);
    }
    return st;
}

static attn_status byte_level_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    (void)self;
    attn_status st = ATTN_OK;
    for (size_t i = 0; i < in->length && st == ATTN_OK; i++) {
        attn_buffer_put(out, attn_byte_letter((uint8_t)in->bytes[i]), in->at[i]);
        st = attn_encoder_handled(e, 1);
    }
    return st;
}

/* ---- Strip, Replace, Prepend ---- */

/* Text that is not in the input; all of it stems from the code point `at`. */
static void append_text(attn_buffer *out, attn_text text, uint32_t at)
{
    memcpy(out->bytes + out->length, text.bytes, text.length);
    for (size_t i = 0; i < text.length; i++)
        out->at[out->length + i] = at;
    out->length += text.length;
}

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };

static attn_status strip_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    (void)memory;
    bool left = false, right = false;
    attn_status st = attn_node_bool(n, "strip_left", &left);
    if (st == ATTN_OK)
        st = attn_node_bool(n, "strip_right", &right);
    self->flags = (left ? STRIP_LEFT : 0u) | (right ? STRIP_RIGHT : 0u);
    return st;
}

static attn_status strip_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    size_t start = 0, end = in->length, n;
    uint32_t c;
    for (; (self->flags & STRIP_LEFT) && start < end; start += n) {
        n = attn_utf8_get(in->bytes + start, &c);
        if (!attn_is_white(c))
            break;
    }
    for (; (self->flags & STRIP_RIGHT) && end > start; end -= n) {
        n = attn_utf8_back(in->bytes, in->bytes + end);
        attn_utf8_get(in->bytes + end - n, &c);
        if (!attn_is_white(c))
            break;
    }
    attn_stretch rest = attn_stretch_part(in, start, end);
    attn_buffer_append(out, &rest);
    return attn_encoder_handled(e, in->length);
}

static size_t count_points(attn_text text)
{
    size_t points = 0;
    for (size_t i = 0; i < text.length; i++)
        points += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    return points;
}

static bool is_ascii(attn_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.bytes[i] >= 0x80)
            return false;
    return true;
}

static attn_status keep_text(attn_text *out, attn_text text, const attn_node *n, attn_arena *memory)
{
    out->bytes = attn_arena_copy(memory, text.bytes, text.length);
    out->length = text.length;
    return out->bytes ? ATTN_OK : attn_fail_memory(n->err);
}

static attn_status replace_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    attn_text pattern = { .length = 0 }, content = { .length = 0 };
    attn_node how = attn_node_member(n, "pattern");
    attn_status st = attn_node_need(&how, JSON_OBJECT);
    bool regex = st == ATTN_OK && attn_node_member(&how, "Regex").value;
    if (st == ATTN_OK)
        st = regex ? attn_pattern_open_replacing(&self->pattern, &how) : attn_node_string(&how, "String", &pattern);
    if (st == ATTN_OK && !regex && pattern.length == 0)
        return attn_node_fail(&how, ATTN_E_FORMAT, "the pattern is empty");
    if (st == ATTN_OK)
        st = attn_node_string(n, "content", &content);
    if (st == ATTN_OK)
        st = keep_text(&self->first, pattern, n, memory);
    if (st == ATTN_OK)
        st = keep_text(&self->second, content, n, memory);
    if (st == ATTN_OK) {
        size_t least = regex ? attn_pattern_least(self->pattern) : pattern.length, points = count_points(content);
        self->growth = attn_most(1, attn_ceil_div(content.length, least));
        self->spread = attn_most(1, attn_ceil_div(points, least));
        self->points = attn_most(1, regex ? points : attn_ceil_div(points, count_points(pattern)));
        self->keeps = is_ascii(content);
    }
    return st;
}

/* The next place of what is looked for; the end of the text when there is none. */
static attn_status find_next(const attn_normalizer *self, attn_encoder *e, attn_pattern_scan *scan, size_t *start, size_t *end)
{
    bool found = false;
    attn_status st = ATTN_OK;
    if (self->pattern) {
        st = attn_pattern_next(scan, e, &found, start, end);
    } else {
        const char *hit = memmem(scan->text + scan->position, scan->length - scan->position, self->first.bytes, self->first.length);
        found = hit != NULL;
        *start = found ? (size_t)(hit - scan->text) : 0;
        *end = scan->position = *start + self->first.length;
    }
    if (!found)
        *start = *end = scan->length;
    return st;
}

static attn_status replace_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    attn_pattern_scan scan = { .pattern = self->pattern, .text = in->bytes, .length = in->length };
    attn_status st = ATTN_OK;
    for (size_t done = 0, start, end; st == ATTN_OK && done < in->length; done = end) {
        st = find_next(self, e, &scan, &start, &end);
        if (st != ATTN_OK)
            break;
        attn_stretch before = attn_stretch_part(in, done, start);
        attn_buffer_append(out, &before);
        if (end > start)
            append_text(out, self->second, in->at[end - 1]);
        st = attn_encoder_handled(e, end - done);
    }
    return st;
}

static attn_status prepend_open(attn_normalizer *self, const attn_node *n, attn_arena *memory)
{
    attn_text text = { .length = 0 };
    attn_status st = attn_node_string(n, "prepend", &text);
    self->more = text.length;
    self->keeps = is_ascii(text);
    return st == ATTN_OK ? keep_text(&self->first, text, n, memory) : st;
}

static attn_status prepend_run(const attn_normalizer *self, attn_encoder *e, const attn_stretch *in, attn_buffer *out)
{
    if (in->length > 0) {
        append_text(out, self->first, in->at[0]);
        attn_buffer_append(out, in);
    }
    return attn_encoder_handled(e, in->length);
}

/* ---- the table ---- */

static const attn_normalizer_kind kinds[] = {
    { .type = "NFD", .run = nfd_run, .growth = 3, .spread = 2, .points = 4, .keeps = true },
    { .type = "NFC", .run = nfc_run, .growth = 3, .spread = 2, .points = 4 },
    { .type = "NFKD", .run = nfkd_run, .growth = 11, .spread = 6, .points = 18, .settles = true },
    { .type = "NFKC", .run = nfkc_run, .growth = 11, .spread = 6, .points = 18 },
    { .type = "Nmt", .run = nmt_run, .growth = 1, .spread = 1, .points = 1, .keeps = true },
    { .type = "ByteLevel", .run = byte_level_run, .growth = 2, .spread = 1, .points = 4 },
    { .type = "Lowercase", .open = lowercase_open, .run = lowercase_run, .growth = 2, .spread = 1, .points = 2, .keeps = true },
    { .type = "StripAccents", .run = strip_accents_run, .growth = 1, .spread = 1, .points = 1, .keeps = true },
    { .type = "Strip", .open = strip_open, .run = strip_run, .growth = 1, .spread = 1, .points = 1, .keeps = true },
    { .type = "Replace", .open = replace_open, .run = replace_run },
    { .type = "Prepend", .open = prepend_open, .run = prepend_run, .growth = 1, .spread = 1, .points = 1 },
};

static const attn_normalizer_kind *find_kind(attn_text type)
{
    static const attn_normalizer_kind *const large[] = { &attn_bert_normalizer, &attn_charsmap_normalizer };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (attn_text_is(type, large[i]->type))
            return large[i];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (attn_text_is(type, kinds[i].type))
            return &kinds[i];
    return NULL;
}

/* What steps with this one behind them write at most. Code points are bounded by the bytes before the step, and by the code points before it. */
static void add_reach(attn_normalizers *steps, const attn_normalizer *step)
{
    size_t by_bytes = steps->growth * step->spread, by_points = step->points > GROWTH_MAX / steps->spread ? by_bytes : steps->spread * step->points;
    steps->spread = attn_least(by_bytes, by_points);
    steps->growth *= step->growth;
    steps->more = steps->more * attn_most(step->growth, step->points) + step->more;
}

static attn_status open_step(attn_normalizers *steps, const attn_node *n, attn_text type, attn_arena *memory)
{
    const attn_normalizer_kind *kind = find_kind(type);
    if (!kind)
        return attn_node_unknown(n, "type ", type);
    if (steps->count == STEPS_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "more than %d normalizers", STEPS_MAX);
    attn_normalizer *step = &steps->items[steps->count++];
    *step = (attn_normalizer){
        .kind = kind, .growth = kind->growth, .spread = kind->spread, .points = kind->points, .settled = steps->settled, .keeps = kind->keeps
    };
    attn_status st = kind->open ? kind->open(step, n, memory) : ATTN_OK;
    if (st != ATTN_OK)
        return st;
    if (step->growth > GROWTH_MAX / steps->growth || steps->more * attn_most(step->growth, step->points) + step->more > MORE_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "text could grow more than %d times, or by more than %d bytes", GROWTH_MAX, MORE_MAX);
    add_reach(steps, step);
    steps->settled = kind->settles || (steps->settled && step->keeps);
    return ATTN_OK;
}

static attn_status open_steps(attn_normalizers *steps, const attn_node *n, attn_arena *memory, int depth)
{
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK || !attn_text_is(type, "Sequence"))
        return st == ATTN_OK ? open_step(steps, n, type, memory) : st;
    if (depth == DEPTH_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "sequences more than %d deep", DEPTH_MAX);
    attn_node list = attn_node_member(n, "normalizers");
    st = attn_node_need(&list, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list.value); i++) {
        attn_node item = attn_node_item(&list, i);
        st = open_steps(steps, &item, memory, depth + 1);
    }
    return st;
}

attn_status attn_normalizers_open(attn_normalizers *steps, const attn_node *n, attn_arena *memory)
{
    steps->growth = steps->spread = 1;
    if (!n->value)
        return ATTN_OK;
    steps->items = attn_arena_take(memory, STEPS_MAX, sizeof *steps->items);
    return steps->items ? open_steps(steps, n, memory, 0) : attn_fail_memory(n->err);
}

attn_status attn_normalizers_run(const attn_normalizers *steps, attn_encoder *e, attn_stretch *s)
{
    for (size_t i = 0; i < steps->count; i++) {
        attn_buffer *out = &e->work[i % 2];
        out->length = 0;
        attn_status st = steps->items[i].kind->run(&steps->items[i], e, s, out);
        if (st != ATTN_OK)
            return st;
        *s = (attn_stretch){ .bytes = out->bytes, .at = out->at, .length = out->length };
    }
    return ATTN_OK;
}
