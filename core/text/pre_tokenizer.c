/* pre_tokenizer.c - splitting normalised text into words: the table of splitters, and those that sort code points into classes.
 *
 * Of the classes some are dropped, some stand alone, and of the others a word is a run of one class.
 * Sequences are flattened when the file is read; each piece of one splitter goes straight on to the next.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <string.h>

enum { DROP, ALONE, RUN, OTHER_RUN };
enum { SPLITTERS_MAX = 16, DEPTH_MAX = 8, GROWTH_MAX = 4096 };

static uint8_t class_at(const attn_splitter *self, const attn_stretch *in, size_t i, size_t *n)
{
    unsigned char byte = (unsigned char)in->bytes[i];
    *n = 1;
    if (byte < 0x80)
        return self->ascii[byte];
    uint32_t c;
    *n = attn_utf8_get(in->bytes + i, &c);
    return self->kind->classify(self, c);
}

/* Where the run of `class` that i lies in ends. */
static size_t run_end(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t i, uint8_t class, attn_status *st)
{
    size_t stop = i, start = i, n;
    while (*st == ATTN_OK && i >= stop && i < in->length) {
        stop = in->length - i > ATTN_LOOK_BYTES ? i + ATTN_LOOK_BYTES : in->length;
        while (i < stop && class_at(self, in, i, &n) == class)
            i += n;
        *st = attn_encoder_handled(e, i - start);
        start = i;
    }
    return i;
}

static attn_status split_by_class(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    size_t i = 0, n;
    attn_status st = ATTN_OK;
    while (st == ATTN_OK && i < in->length) {
        size_t start = i;
        uint8_t class = class_at(self, in, i, &n);
        i += n;
        st = attn_encoder_handled(e, n);
        if (class >= RUN && st == ATTN_OK)
            i = run_end(self, e, in, i, class, &st);
        if (st == ATTN_OK && class != DROP) {
            attn_stretch piece = attn_stretch_part(in, start, i);
            st = attn_splitters_next(e, &piece, index + 1);
        }
    }
    return st;
}

static uint8_t bert_class(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return attn_is_white(c) ? DROP : attn_is_punctuation(c) ? ALONE : RUN;
}

static uint8_t white_class(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return attn_is_white(c) ? DROP : RUN;
}

/* \w+|[^\w\s]+ */
static uint8_t word_class(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return attn_is_word(c) ? RUN : attn_is_white(c) ? DROP : OTHER_RUN;
}

static uint8_t punctuation_class(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return attn_is_punctuation(c);
}

static uint8_t number_class(const attn_splitter *self, uint32_t c)
{
    (void)self;
    return attn_is_number(c);
}

static uint8_t delimiter_class(const attn_splitter *self, uint32_t c)
{
    return c == self->sign;
}

static const attn_splitter_kind kinds[] = {
    { .type = "BertPreTokenizer", .run = split_by_class, .classify = bert_class },
    { .type = "WhitespaceSplit", .run = split_by_class, .classify = white_class },
    { .type = "Whitespace", .run = split_by_class, .classify = word_class },
    { .type = "Punctuation", .open = attn_punctuation_open, .run = attn_split_at_class, .classify = punctuation_class },
    { .type = "Digits", .open = attn_digits_open, .run = attn_split_at_class, .classify = number_class },
    { .type = "CharDelimiterSplit", .open = attn_delimiter_open, .run = attn_split_at_class, .classify = delimiter_class },
    { .type = "FixedLength", .open = attn_fixed_open, .run = attn_split_by_length },
    { .type = "Split", .open = attn_split_open, .run = attn_split_by_pattern },
};

static const attn_splitter_kind *find_kind(attn_text type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (attn_text_is(type, kinds[i].type))
            return &kinds[i];
    return attn_text_is(type, attn_byte_level.type) ? &attn_byte_level : attn_text_is(type, attn_metaspace.type) ? &attn_metaspace : NULL;
}

static attn_status open_one(attn_splitters *list, const attn_node *n, attn_text type)
{
    const attn_splitter_kind *kind = find_kind(type);
    if (!kind)
        return attn_node_unknown(n, "type ", type);
    if (list->count == SPLITTERS_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "more than %d pre-tokenizers", SPLITTERS_MAX);
    attn_splitter *self = &list->items[list->count++];
    *self = (attn_splitter){ .kind = kind };
    attn_status st = kind->open ? kind->open(self, n) : ATTN_OK;
    for (uint32_t c = 0; c < 128 && kind->classify; c++)
        self->ascii[c] = kind->classify(self, c);
    if (st == ATTN_OK && attn_splitters_reach_all(list, (attn_reach){ 1, 1 }, 1).bytes > GROWTH_MAX)
        st = attn_node_fail(n, ATTN_E_UNSUPPORTED, "text could grow more than %d times", GROWTH_MAX);
    return st;
}

static attn_status open_all(attn_splitters *list, const attn_node *n, int depth)
{
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK || !attn_text_is(type, "Sequence"))
        return st == ATTN_OK ? open_one(list, n, type) : st;
    if (depth == DEPTH_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "sequences more than %d deep", DEPTH_MAX);
    attn_node items = attn_node_member(n, "pretokenizers");
    st = attn_node_need(&items, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(items.value); i++) {
        attn_node item = attn_node_item(&items, i);
        st = open_all(list, &item, depth + 1);
    }
    return st;
}

attn_status attn_splitters_open(attn_splitters *list, const attn_node *n, attn_arena *memory)
{
    if (!n->value)
        return ATTN_OK;
    list->items = attn_arena_take(memory, SPLITTERS_MAX, sizeof *list->items);
    return list->items ? open_all(list, n, 0) : attn_fail_memory(n->err);
}

attn_reach attn_splitters_reach(const attn_splitters *list, attn_reach text)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].kind->grow)
            text = list->items[i].kind->grow(&list->items[i], text, 1);
    return text;
}

attn_reach attn_splitters_reach_all(const attn_splitters *list, attn_reach text, uint64_t pieces)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind->grow)
            text = list->items[i].kind->grow(&list->items[i], text, pieces);
        pieces = text.points;
    }
    return text;
}

attn_status attn_splitters_next(attn_encoder *e, const attn_stretch *piece, size_t index)
{
    const attn_splitters *list = &e->tokenizer->splitters;
    if (piece->length == 0)
        return ATTN_OK;
    if (index < list->count)
        return list->items[index].kind->run(&list->items[index], e, piece, index);
    return e->tokenizer->model->run(e, piece);
}
