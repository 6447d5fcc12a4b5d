/* bpe.c - byte pair encoding: reads vocabulary and merges, turns a word into symbols and the merged symbols into tokens. Merging: bpe_merge.c.
 *
 * Most words of a text are one piece. Which pieces come out whole when merged from their characters is found once, when the file is read; a word that is
 * such a piece is one look-up. With `ignore_merges` that holds for every piece. Where nothing is cut into words before (Llama 2), a text is one long word;
 * it is cut here, between code points that no merge brings together.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/bpe.h"

#include <stdio.h>

struct attn_bpe_work {
    attn_symbol *symbols;
    uint64_t *queue;
};

/* ---- merges ---- */

static attn_status allocate_merges(attn_bpe *b, size_t count, attn_arena *memory)
{
    unsigned bits = 4;
    while (((size_t)1 << bits) < 2 * count)
        bits++;
    b->shift = 64 - bits;
    b->merges = attn_arena_take(memory, (size_t)1 << bits, sizeof *b->merges);
    for (size_t i = 0; b->merges && i < (size_t)1 << bits; i++)
        b->merges[i] = (attn_merge){ .pair = ATTN_NO_PAIR, .rank = ATTN_NO_RANK, .id = -1 };
    return b->merges ? ATTN_OK : ATTN_E_NOMEM;
}

/* Of a pair given twice the last one counts, as in the library. */
static void add_merge(attn_bpe *b, attn_merge merge)
{
    size_t mask = ((size_t)1 << (64 - b->shift)) - 1, i = attn_merge_slot(merge.pair, b->shift);
    while (b->merges[i].pair != merge.pair && b->merges[i].pair != ATTN_NO_PAIR)
        i = (i + 1) & mask;
    b->merges[i] = merge;
}

/* "a b", or ["a", "b"] */
static attn_status read_pair(const attn_node *n, attn_text pair[2])
{
    if (json_is_string(n->value)) {
        attn_text line = attn_node_text(n);
        const char *space = memchr(line.bytes, ' ', line.length), *end = line.bytes + line.length;
        if (!space || memchr(space + 1, ' ', (size_t)(end - space) - 1))
            return attn_node_fail(n, ATTN_E_FORMAT, "must be two pieces with a space between");
        pair[0] = (attn_text){ .bytes = line.bytes, .length = (size_t)(space - line.bytes) };
        pair[1] = (attn_text){ .bytes = space + 1, .length = (size_t)(end - space) - 1 };
        return ATTN_OK;
    }
    attn_status st = attn_node_need(n, JSON_ARRAY);
    if (st == ATTN_OK && json_array_size(n->value) != 2)
        st = attn_node_fail(n, ATTN_E_FORMAT, "must be two pieces");
    for (size_t i = 0; st == ATTN_OK && i < 2; i++) {
        attn_node item = attn_node_item(n, i);
        st = attn_node_need(&item, JSON_STRING);
        pair[i] = st == ATTN_OK ? attn_node_text(&item) : pair[i];
    }
    return st;
}

static int32_t find_joined(const attn_vocabulary *v, attn_text a, attn_text b, char *room)
{
    memcpy(room, a.bytes, a.length);
    memcpy(room + a.length, b.bytes, b.length);
    return attn_vocabulary_id(v, (attn_text){ .bytes = room, .length = a.length + b.length });
}

static size_t neighbour_bit(int32_t left, int32_t right)
{
    return attn_merge_slot((uint64_t)(uint32_t)left << 32 | (uint32_t)right, 64 - ATTN_BPE_NEIGHBOUR_BITS);
}

static bool is_byte_or_unknown(const attn_tokenizer *t, int32_t id)
{
    const attn_bpe *b = t->settings.bpe;
    for (size_t i = 0; t->settings.byte_fallback && t->vocabulary.pieces[id].text.length == 6 && i < 256; i++)
        if (b->byte_pieces[i] == id)
            return true;
    return id == b->unknown;
}

/* The last code point of the left piece and the first of the right one. Of a piece that may stand for other code points than it spells that says nothing. */
static void note_neighbours(attn_tokenizer *t, int32_t left, int32_t right)
{
    attn_bpe *b = t->settings.bpe;
    attn_text l = t->vocabulary.pieces[left].text, r = t->vocabulary.pieces[right].text;
    if (is_byte_or_unknown(t, left) || is_byte_or_unknown(t, right) || l.length == 0 || r.length == 0) {
        b->cuts = false;
        return;
    }
    uint32_t c;
    size_t last = attn_utf8_back(l.bytes, l.bytes + l.length), first = attn_utf8_get(r.bytes, &c);
    int32_t before = attn_vocabulary_id(&t->vocabulary, (attn_text){ .bytes = l.bytes + l.length - last, .length = last });
    int32_t after = attn_vocabulary_id(&t->vocabulary, (attn_text){ .bytes = r.bytes, .length = first });
    size_t bit = neighbour_bit(before, after);
    b->neighbours[bit / 64] |= (uint64_t)1 << bit % 64;
}

/* The merged piece is the left one and the right one without its prefix. `room` holds the longest piece twice. */
static attn_status read_merge(attn_tokenizer *t, const attn_node *n, uint32_t rank, char *room)
{
    attn_bpe *b = t->settings.bpe;
    attn_text pair[2] = { { .length = 0 }, { .length = 0 } };
    attn_status st = read_pair(n, pair);
    if (st != ATTN_OK)
        return st;
    int32_t left = attn_vocabulary_id(&t->vocabulary, pair[0]), right = attn_vocabulary_id(&t->vocabulary, pair[1]);
    if (left < 0 || right < 0)
        return attn_node_fail(n, ATTN_E_FORMAT, "the %s one is not a piece of the vocabulary", left < 0 ? "first" : "second");
    if (pair[1].length < b->prefix.length)
        return attn_node_fail(n, ATTN_E_FORMAT, "the second one is shorter than the prefix");
    attn_text rest = { .bytes = pair[1].bytes + b->prefix.length, .length = pair[1].length - b->prefix.length };
    int32_t id = find_joined(&t->vocabulary, pair[0], rest, room);
    if (id < 0)
        return attn_node_fail(n, ATTN_E_FORMAT, "together they are not a piece of the vocabulary");
    note_neighbours(t, left, right);
    add_merge(b, (attn_merge){ .pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right, .rank = rank, .id = id });
    return ATTN_OK;
}

static bool is_version_line(const json_t *line)
{
    return json_is_string(line) && strncmp(json_string_value(line), "#version", 8) == 0;
}

static attn_status read_merges(attn_tokenizer *t, const attn_node *n)
{
    attn_node list = attn_node_member(n, "merges");
    attn_status st = attn_node_need(&list, JSON_ARRAY);
    if (st != ATTN_OK)
        return st;
    size_t count = json_array_size(list.value), longest = 0;
    if (count >= ATTN_NO_RANK)
        return attn_node_fail(&list, ATTN_E_UNSUPPORTED, "too many");
    for (size_t i = 0; i < t->vocabulary.size; i++)
        longest = attn_most(longest, t->vocabulary.pieces[i].text.length);
    char *room = attn_malloc(2 * longest + 1);
    if (!room || allocate_merges(t->settings.bpe, count, t->memory) != ATTN_OK)
        st = attn_fail_memory(n->err);
    for (size_t i = 0; st == ATTN_OK && i < count; i++) {
        attn_node item = attn_node_item(&list, i);
        if (!is_version_line(item.value))
            st = read_merge(t, &item, (uint32_t)i, room);
    }
    attn_free(room);
    return st;
}

/* ---- a word's symbols ---- */

static const attn_vocabulary *vocabulary(const attn_encoder *e)
{
    return &e->tokenizer->vocabulary;
}

/* The piece of a code point, with the prefix and suffix it has in this place of the word; -1: none. */
static int32_t find_point(const attn_bpe *b, const attn_vocabulary *v, const char *s, size_t n, bool first, bool last)
{
    size_t skip = first ? 0 : b->prefix.length, tail = last ? b->suffix.length : 0;
    if (skip + tail == 0 && n <= 2) {
        uint32_t c;
        attn_utf8_get(s, &c);
        if (c < ATTN_BPE_DIRECT)
            return b->direct[c];
    }
    uint64_t h = attn_hash_bytes(ATTN_HASH_START, b->prefix.bytes, skip);
    h = attn_hash_bytes(attn_hash_bytes(h, s, n), b->suffix.bytes, tail);
    return attn_vocabulary_find_within(v, h, skip, s, n, tail);
}

/* Where symbols are collected: unknown characters wait for more of them. */
typedef struct collector {
    const attn_bpe *bpe;
    attn_symbol *symbols;
    size_t count;
    uint32_t unknown_length;
    bool unknown;
} collector;

static void add_symbol(collector *c, int32_t id, size_t length)
{
    c->symbols[c->count++] = (attn_symbol){ .id = id, .length = (uint32_t)length };
}

static void flush_unknown(collector *c)
{
    if (c->unknown)
        add_symbol(c, c->bpe->unknown, c->unknown_length);
    c->unknown = false;
}

static bool add_bytes(collector *c, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c->bpe->byte_pieces[(uint8_t)s[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        add_symbol(c, c->bpe->byte_pieces[(uint8_t)s[i]], 1);
    return true;
}

/* A code point without a piece. Bytes go before the unknown that waits, as in the library. */
static attn_status add_strange(collector *c, attn_encoder *e, const char *s, size_t n)
{
    if (e->tokenizer->settings.byte_fallback && add_bytes(c, s, n))
        return ATTN_OK;
    if (!c->bpe->unknown_name.bytes)
        return ATTN_OK;
    if (c->bpe->unknown < 0)
        return attn_fail(e->err, ATTN_E_INPUT, e->field, "a character without a piece, and unk_token is not a piece of the vocabulary either");
    if (!c->bpe->fuse_unknown)
        flush_unknown(c);
    c->unknown_length = (c->unknown ? c->unknown_length : 0) + (uint32_t)n;
    c->unknown = true;
    return ATTN_OK;
}

static attn_status collect(collector *c, attn_encoder *e, const attn_stretch *word)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0, n; st == ATTN_OK && i < word->length; i += n) {
        uint32_t point;
        n = attn_utf8_get(word->bytes + i, &point);
        int32_t id = find_point(c->bpe, vocabulary(e), word->bytes + i, n, i == 0, i + n == word->length);
        if (id < 0) {
            st = add_strange(c, e, word->bytes + i, n);
        } else {
            flush_unknown(c);
            add_symbol(c, id, n);
        }
    }
    flush_unknown(c);
    return st == ATTN_OK ? attn_encoder_handled(e, word->length) : st;
}

/* ---- running ---- */

/* The piece that this word becomes, suffix included, if that is known; -1: it must be put together. */
static int32_t find_whole(const attn_bpe *b, const attn_vocabulary *v, const attn_stretch *word)
{
    uint64_t h = attn_hash_bytes(attn_hash_bytes(ATTN_HASH_START, word->bytes, word->length), b->suffix.bytes, b->suffix.length);
    int32_t id = attn_vocabulary_find_within(v, h, 0, word->bytes, word->length, b->suffix.length);
    return id >= 0 && v->pieces[id].whole ? id : -1;
}

/* *start is where the tokens of the word end so far: characters that were dropped are not counted, as in the library. */
static attn_status emit(attn_encoder *e, const attn_stretch *word, size_t *start, const attn_symbol *symbols, size_t count)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0; st == ATTN_OK && i < count; i++) {
        size_t end = *start + symbols[i].length;
        st = attn_encoder_emit(e, symbols[i].id, word->at[*start], word->at[end - 1] + 1, (attn_text){ .length = 0 });
        *start = end;
    }
    return st;
}

/* Takes, once, the room for the longest word there can be. */
static attn_status open_work(attn_encoder *e)
{
    attn_bpe_work *w = e->bpe;
    if (w)
        return ATTN_OK;
    attn_reach word = attn_splitters_reach(&e->tokenizer->splitters, e->reach);
    size_t most = (size_t)(e->tokenizer->settings.byte_fallback ? word.bytes : word.points);
    w = attn_arena_take(e->arena, 1, sizeof *w);
    if (w) {
        w->symbols = attn_arena_take(e->arena, most, sizeof *w->symbols);
        w->queue = attn_arena_take(e->arena, most, 2 * sizeof *w->queue);
    }
    if (!w || !w->symbols || !w->queue)
        return attn_fail_memory(e->err);
    e->bpe = w;
    return ATTN_OK;
}

uint64_t attn_bpe_bytes(attn_reach word)
{
    return attn_plus(attn_times(word.bytes, sizeof(attn_symbol) + 2 * sizeof(uint64_t)), sizeof(attn_bpe_work));
}

static attn_status run_long(attn_encoder *e, const attn_stretch *word, const attn_stretch *part, size_t *start)
{
    attn_status st = open_work(e);
    if (st != ATTN_OK)
        return st;
    collector c = { .bpe = e->tokenizer->settings.bpe, .symbols = e->bpe->symbols };
    st = collect(&c, e, part);
    if (st == ATTN_OK)
        st = attn_merge_long(c.bpe, e, c.symbols, e->bpe->queue, &c.count);
    return st == ATTN_OK ? emit(e, word, start, c.symbols, c.count) : st;
}

static attn_status run_part(attn_encoder *e, const attn_stretch *word, const attn_stretch *part, size_t *start)
{
    const attn_bpe *b = e->tokenizer->settings.bpe;
    attn_symbol symbols[ATTN_SHORT_WORD];
    int32_t whole = find_whole(b, vocabulary(e), part);
    if (whole >= 0) {
        symbols[0] = (attn_symbol){ .id = whole, .length = (uint32_t)part->length };
        return emit(e, word, start, symbols, 1);
    }
    if (part->length > ATTN_SHORT_WORD)
        return run_long(e, word, part, start);
    collector c = { .bpe = b, .symbols = symbols };
    attn_status st = collect(&c, e, part);
    return st == ATTN_OK ? emit(e, word, start, symbols, attn_merge_short(b, symbols, c.count)) : st;
}

/* Where the part of a word that begins at `from` ends: between two known code points that no merged piece has side by side. */
static size_t part_end(const attn_encoder *e, const attn_stretch *word, size_t from)
{
    const attn_bpe *b = e->tokenizer->settings.bpe;
    int32_t before = -1;
    for (size_t i = from, n; i < word->length; i += n) {
        uint32_t c;
        n = attn_utf8_get(word->bytes + i, &c);
        int32_t id = find_point(b, vocabulary(e), word->bytes + i, n, false, false);
        size_t bit = neighbour_bit(before, id);
        if (id >= 0 && before >= 0 && !(b->neighbours[bit / 64] >> bit % 64 & 1))
            return i;
        before = id;
    }
    return word->length;
}

static attn_status run_parts(attn_encoder *e, const attn_stretch *word)
{
    attn_status st = ATTN_OK;
    for (size_t from = 0, end, start = 0; st == ATTN_OK && from < word->length; from = end) {
        end = part_end(e, word, from);
        attn_stretch part = attn_stretch_part(word, from, end);
        st = run_part(e, word, &part, &start);
        if (st == ATTN_OK)
            st = attn_encoder_handled(e, end - from);
    }
    return st;
}

static attn_status bpe_run(attn_encoder *e, const attn_stretch *word)
{
    enum { CUT_BYTES = 24 }; /* shorter words are merged as fast as cut */
    const attn_bpe *b = e->tokenizer->settings.bpe;
    if (word->length >= UINT32_MAX)
        return attn_fail(e->err, ATTN_E_LIMIT, e->field, "a word of 4 GiB or more");
    int32_t id = b->ignore_merges ? attn_vocabulary_id(vocabulary(e), (attn_text){ .bytes = word->bytes, .length = word->length }) : -1;
    if (id >= 0)
        return attn_encoder_emit(e, id, word->at[0], word->at[word->length - 1] + 1, (attn_text){ .length = 0 });
    size_t start = 0;
    return b->cuts && word->length > CUT_BYTES ? run_parts(e, word) : run_part(e, word, word, &start);
}

/* ---- opening ---- */

/* Marks the pieces that their characters merge into again. */
static void mark_whole(attn_tokenizer *t)
{
    const attn_bpe *b = t->settings.bpe;
    attn_encoder e = { .tokenizer = t };
    attn_symbol symbols[ATTN_SHORT_WORD];
    for (size_t id = 0; id < t->vocabulary.size; id++) {
        attn_text text = t->vocabulary.pieces[id].text;
        size_t n = text.length - attn_least(text.length, b->suffix.length);
        if (n == 0 || n > ATTN_SHORT_WORD || memcmp(text.bytes + n, b->suffix.bytes, b->suffix.length) != 0)
            continue;
        attn_stretch word = { .bytes = text.bytes, .length = n };
        collector c = { .bpe = b, .symbols = symbols };
        bool known = collect(&c, &e, &word) == ATTN_OK;
        e.unlooked = 0;
        t->vocabulary.pieces[id].whole = known && attn_merge_short(b, symbols, c.count) == 1 && symbols[0].id == (int32_t)id && symbols[0].length == n;
    }
}

/* A member that may be missing or null. */
static attn_status copy_optional(attn_tokenizer *t, const attn_node *n, const char *key, attn_text *out)
{
    attn_node member = attn_node_member(n, key);
    attn_text text = { .bytes = "", .length = 0 };
    if (!member.value)
        return ATTN_OK;
    attn_status st = attn_node_string(n, key, &text);
    out->bytes = attn_arena_copy(t->memory, text.bytes, text.length);
    out->length = text.length;
    return st != ATTN_OK || out->bytes ? st : attn_fail_memory(n->err);
}

static attn_status optional_flag(const attn_node *n, const char *key, bool *out)
{
    return attn_node_member(n, key).value ? attn_node_bool(n, key, out) : ATTN_OK;
}

static attn_status read_settings(attn_tokenizer *t, const attn_node *n)
{
    attn_bpe *b = t->settings.bpe;
    attn_node dropout = attn_node_member(n, "dropout");
    attn_status st = copy_optional(t, n, "continuing_subword_prefix", &b->prefix);
    if (st == ATTN_OK)
        st = copy_optional(t, n, "end_of_word_suffix", &b->suffix);
    if (st == ATTN_OK)
        st = copy_optional(t, n, "unk_token", &b->unknown_name);
    if (st == ATTN_OK)
        st = optional_flag(n, "fuse_unk", &b->fuse_unknown);
    if (st == ATTN_OK)
        st = optional_flag(n, "byte_fallback", &t->settings.byte_fallback);
    if (st == ATTN_OK)
        st = optional_flag(n, "ignore_merges", &b->ignore_merges);
    if (st == ATTN_OK && dropout.value && !(json_is_number(dropout.value) && json_number_value(dropout.value) == 0))
        st = attn_node_fail(&dropout, ATTN_E_UNSUPPORTED, "pieces chosen by chance are not known");
    return st;
}

static void fill_tables(attn_tokenizer *t)
{
    attn_bpe *b = t->settings.bpe;
    char piece[8];
    for (uint32_t i = 0; i < 256; i++) {
        int n = snprintf(piece, sizeof piece, "<0x%02X>", (unsigned)i);
        b->byte_pieces[i] = attn_vocabulary_id(&t->vocabulary, (attn_text){ .bytes = piece, .length = (size_t)n });
    }
    for (uint32_t c = 0; c < ATTN_BPE_DIRECT; c++)
        b->direct[c] = attn_vocabulary_id(&t->vocabulary, (attn_text){ .bytes = piece, .length = attn_utf8_put(piece, c) });
}

static attn_status bpe_open(attn_tokenizer *t, const attn_node *n)
{
    attn_bpe *b = t->settings.bpe = attn_arena_zero(t->memory, 1, sizeof *b);
    if (!b)
        return attn_fail_memory(n->err);
    b->prefix = b->suffix = (attn_text){ .bytes = "", .length = 0 };
    attn_status st = read_settings(t, n);
    if (st != ATTN_OK)
        return st;
    b->unknown = b->unknown_name.bytes ? attn_vocabulary_id(&t->vocabulary, b->unknown_name) : -1;
    fill_tables(t);
    b->cuts = b->prefix.length + b->suffix.length == 0;
    st = read_merges(t, n);
    if (st == ATTN_OK)
        mark_whole(t);
    return st;
}

const attn_model_kind attn_bpe_model = { .type = "BPE", .sign = "merges", .open = bpe_open, .run = bpe_run };
