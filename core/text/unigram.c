/* unigram.c - Unigram: of all ways to cut a word into pieces, the one with the largest sum of scores.
 *
 * From left to right, for every place in the word, the best way to get there is kept as the id of its last piece: 4 bytes for a byte of the word. The
 * sums themselves are needed only as far ahead as the longest piece reaches, and go round in a ring. From one place a trie gives all pieces that start
 * there, so that the cost of a byte is at most the longest piece, whatever the text.
 *
 * A code point that is no piece costs the lowest score less 10, neighbours of that kind become one unknown token, and with byte_fallback that token
 * becomes its bytes if the vocabulary has them all. Sums are added up in the library's order, in double, and the first of equals stays: the same bits.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The trie is a hash table of its edges; a node is the slot of the edge that leads to it. */
enum { NO_NODE = 0xFFFFFFFF, ROOT = 0xFFFFFFFE, PIECES_MAX = 0xFFFFFE };
typedef struct edge {
    uint32_t from;                 /* NO_NODE: empty */
    unsigned byte : 8, piece : 24; /* id + 1 of the piece that ends here, or 0 */
} edge;

struct attn_unigram {
    edge *edges;
    unsigned shift; /* 64 - bits of a slot number */
    size_t mask;
    const double *scores;
    double unknown_score;
    int32_t unknown; /* id, -1: the model has none */
    size_t longest;  /* bytes of a piece */
    size_t ring;     /* mask */
    bool byte_fallback;
    int32_t bytes[256]; /* the pieces <0x00> to <0xFF>, -1: missing */
};

/* In `best`, before a way there is known, and for a code point that is no piece. */
enum { NO_WAY = -1, UNKNOWN = -2 };

/* ---- the trie ---- */

static size_t slot_of(const attn_unigram *u, uint32_t from, unsigned char byte)
{
    size_t i = (size_t)(((uint64_t)from << 8 | byte) * 0x9E3779B97F4A7C15u >> u->shift);
    while (u->edges[i].from != NO_NODE && (u->edges[i].from != from || u->edges[i].byte != byte))
        i = (i + 1) & u->mask;
    return i;
}

static bool open_edges(attn_unigram *u, size_t nodes, attn_arena *memory)
{
    unsigned bits = 4;
    while (((size_t)1 << bits) < 2 * nodes)
        bits++;
    u->shift = 64 - bits;
    u->mask = ((size_t)1 << bits) - 1;
    u->edges = bits < 32 ? attn_arena_take(memory, u->mask + 1, sizeof *u->edges) : NULL;
    for (size_t i = 0; u->edges && i <= u->mask; i++)
        u->edges[i] = (edge){ .from = NO_NODE };
    return u->edges != NULL;
}

/* Puts all pieces in; returns how many edges that took. Of two that are equal the last counts. */
static size_t fill_edges(attn_unigram *u, const attn_vocabulary *v)
{
    size_t count = 0;
    for (size_t id = 0; id < v->count; id++) {
        attn_text piece = v->pieces[id].text;
        size_t i = 0;
        uint32_t node = ROOT;
        for (size_t k = 0; k < piece.length; k++) {
            unsigned char byte = (unsigned char)piece.bytes[k];
            i = slot_of(u, node, byte);
            count += u->edges[i].from == NO_NODE;
            u->edges[i].from = node;
            u->edges[i].byte = byte;
            node = (uint32_t)i;
        }
        if (piece.length > 0)
            u->edges[i].piece = ((unsigned)id + 1) & 0xFFFFFF;
    }
    return count;
}

/* Once to count the edges, and once into a table of the right size. */
static attn_status open_trie(attn_unigram *u, const attn_vocabulary *v, attn_arena *memory)
{
    size_t bytes = 0, count = 0;
    for (size_t id = 0; id < v->count; id++) {
        bytes += v->pieces[id].text.length;
        u->longest = attn_most(u->longest, v->pieces[id].text.length);
    }
    attn_arena *scratch = attn_arena_new();
    bool ok = scratch && open_edges(u, bytes, scratch);
    if (ok)
        count = fill_edges(u, v);
    attn_arena_free(scratch);
    ok = ok && open_edges(u, count, memory);
    if (ok)
        fill_edges(u, v);
    return ok ? ATTN_OK : ATTN_E_NOMEM;
}

/* The id of the piece that is exactly these bytes; -1: there is none. */
static int32_t find_piece(const attn_unigram *u, const char *s, size_t n)
{
    size_t i = 0;
    uint32_t node = ROOT;
    for (size_t k = 0; k < n; k++) {
        i = slot_of(u, node, (unsigned char)s[k]);
        if (u->edges[i].from == NO_NODE)
            return -1;
        node = (uint32_t)i;
    }
    return n ? (int32_t)u->edges[i].piece - 1 : -1;
}

/* ---- reading ---- */

/* A score as the library reads it: all its digits as one number, rounded, and that times or by a power of ten, rounded again. The last bit decides
 * between ways of equal sums. The digits are the shortest that mean this number, which is how such files are written. */
static double as_read(double score)
{
    static const double tens[] = {
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
    };
    char text[40];
    uint64_t digits = 0;
    int precision = 14, used;
    do
        used = snprintf(text, sizeof text, "%.*e", precision, fabs(score));
    while (precision++ < 16 && strtod(text, NULL) != fabs(score));
    const char *exponent = memchr(text, 'e', (size_t)used);
    if (!exponent)
        return score;
    long ten = strtol(exponent + 1, NULL, 10);
    for (const char *p = text; p < exponent; p++)
        if (*p >= '0' && *p <= '9')
            digits = digits * 10 + (uint64_t)(*p - '0');
    for (ten -= exponent - text - 2; digits % 10 == 0 && digits > 0; digits /= 10)
        ten++;
    if (ten < -22 || ten > 22)
        return score;
    double read = ten < 0 ? (double)digits / tens[-ten] : (double)digits * tens[ten];
    return score < 0 ? -read : read;
}

static attn_status read_scores(attn_unigram *u, const attn_node *list, attn_arena *memory)
{
    size_t count = json_array_size(list->value);
    double *scores = attn_arena_take(memory, count, sizeof *scores), lowest = INFINITY;
    if (!scores)
        return attn_fail_memory(list->err);
    for (size_t i = 0; i < count; i++) {
        attn_node pair = attn_node_item(list, i), score = attn_node_item(&pair, 1);
        if (!json_is_number(score.value))
            return attn_node_fail(&score, ATTN_E_FORMAT, "must be a number");
        scores[i] = as_read(json_number_value(score.value));
        lowest = scores[i] < lowest ? scores[i] : lowest;
    }
    u->scores = scores;
    u->unknown_score = lowest - 10;
    return ATTN_OK;
}

static attn_status read_settings(attn_unigram *u, const attn_node *n, size_t count)
{
    attn_node unknown = attn_node_member(n, "unk_id"), fallback = attn_node_member(n, "byte_fallback");
    uint64_t id = 0;
    attn_status st = ATTN_OK;
    u->unknown = -1;
    if (unknown.value && count == 0)
        return attn_node_fail(&unknown, ATTN_E_FORMAT, "the vocabulary is empty");
    if (unknown.value)
        st = attn_node_integer(&unknown, count - 1, &id);
    if (st == ATTN_OK && unknown.value)
        u->unknown = (int32_t)id;
    if (st == ATTN_OK && fallback.value)
        st = attn_node_bool(n, "byte_fallback", &u->byte_fallback);
    return st;
}

static attn_status unigram_open(attn_tokenizer *t, const attn_node *n)
{
    attn_node list = attn_node_member(n, "vocab");
    attn_unigram *u = attn_arena_zero(t->memory, 1, sizeof *u);
    if (!u)
        return attn_fail_memory(n->err);
    t->settings.unigram = u;
    attn_status st = attn_node_need(&list, JSON_ARRAY);
    if (st == ATTN_OK && t->vocabulary.count > PIECES_MAX)
        st = attn_node_fail(&list, ATTN_E_UNSUPPORTED, "more than %d pieces", PIECES_MAX);
    if (st == ATTN_OK)
        st = read_settings(u, n, t->vocabulary.count);
    if (st == ATTN_OK)
        st = read_scores(u, &list, t->memory);
    if (st == ATTN_OK && open_trie(u, &t->vocabulary, t->memory) != ATTN_OK)
        st = attn_fail_memory(n->err);
    if (st != ATTN_OK)
        return st;
    t->settings.byte_fallback = u->byte_fallback;
    u->ring = 15;
    while (u->ring < u->longest)
        u->ring = 2 * u->ring + 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        const char *digits = "0123456789ABCDEF";
        const char name[] = { '<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>' };
        u->bytes[byte] = find_piece(u, name, sizeof name);
    }
    return ATTN_OK;
}

/* ---- the best way through a word ---- */

typedef struct walk {
    const attn_unigram *u;
    const attn_stretch *word;
    int32_t *best; /* [length + 1] the last piece of the best way to here */
    double *sums;  /* [ring + 1] */
} walk;

static void offer(const walk *w, size_t place, double sum, int32_t id)
{
    double *best = &w->sums[place & w->u->ring];
    if (w->best[place] != NO_WAY && !(sum > *best))
        return;
    *best = sum;
    w->best[place] = id;
}

/* Offers all pieces that start at `start`; true when one of them is just the code point there. */
static bool offer_pieces(const walk *w, size_t start, size_t point)
{
    const attn_unigram *u = w->u;
    double here = start ? w->sums[start & u->ring] : 0;
    bool single = false;
    uint32_t node = ROOT;
    for (size_t i = start; i < w->word->length;) {
        size_t slot = slot_of(u, node, (unsigned char)w->word->bytes[i]);
        edge found = u->edges[slot];
        if (found.from == NO_NODE)
            break;
        node = (uint32_t)slot;
        i++;
        if (found.piece) {
            offer(w, i, u->scores[found.piece - 1] + here, (int32_t)found.piece - 1);
            single |= i - start == point;
        }
    }
    return single;
}

static attn_status find_best(const walk *w, attn_encoder *e)
{
    attn_status st = ATTN_OK;
    for (size_t i = 0; i <= w->word->length; i++)
        w->best[i] = NO_WAY;
    for (size_t i = 0, n; i < w->word->length && st == ATTN_OK; i += n) {
        uint32_t c;
        n = attn_utf8_get(w->word->bytes + i, &c);
        if (!offer_pieces(w, i, n))
            offer(w, i + n, w->u->unknown_score + (i ? w->sums[i & w->u->ring] : 0), UNKNOWN);
        if (w->best[i + n] == UNKNOWN && w->u->unknown < 0)
            return attn_fail(e->err, ATTN_E_INPUT, e->field, "U+%04X is no piece of the vocabulary, and the tokenizer has no unknown token", (unsigned)c);
        st = attn_encoder_handled(e, n);
    }
    return st;
}

/* From the end back to the beginning, turning the links round: best[i] becomes the piece that starts at i. */
static void turn_round(const walk *w, const attn_vocabulary *v)
{
    size_t place = w->word->length;
    int32_t id = w->best[place];
    while (place > 0) {
        size_t n = id == UNKNOWN ? attn_utf8_back(w->word->bytes, w->word->bytes + place) : v->pieces[id].text.length;
        int32_t before = w->best[place - n];
        place -= n;
        w->best[place] = id;
        id = before;
    }
}

/* ---- tokens ---- */

static bool has_all_bytes(const attn_unigram *u, const char *s, size_t n)
{
    bool all = u->byte_fallback;
    for (size_t i = 0; i < n && all; i++)
        all = u->bytes[(unsigned char)s[i]] >= 0;
    return all;
}

/* Unknown code points, and pieces that are the unknown token by name: one token, or its bytes. */
static attn_status emit_unknown(attn_encoder *e, const walk *w, size_t start, size_t end)
{
    const attn_unigram *u = w->u;
    const char *s = w->word->bytes + start;
    uint32_t from = w->word->at[start], to = w->word->at[end - 1] + 1;
    attn_status st = ATTN_OK;
    int32_t id = find_piece(u, s, end - start);
    if (id >= 0)
        return attn_encoder_emit(e, id, from, to, (attn_text){ .length = 0 });
    if (has_all_bytes(u, s, end - start)) {
        for (size_t i = 0; i < end - start && st == ATTN_OK; i++)
            st = attn_encoder_emit(e, u->bytes[(unsigned char)s[i]], from, to, (attn_text){ .length = 0 });
        return st;
    }
    attn_text text = { .length = end - start };
    text.bytes = attn_encoder_keep(e, s, text.length);
    return text.bytes ? attn_encoder_emit(e, u->unknown, from, to, text) : attn_fail_memory(e->err);
}

static attn_status emit_tokens(attn_encoder *e, const walk *w)
{
    const attn_vocabulary *v = &e->tokenizer->vocabulary;
    attn_status st = ATTN_OK;
    for (size_t i = 0; i < w->word->length && st == ATTN_OK;) {
        size_t start = i;
        while (i < w->word->length && (w->best[i] == UNKNOWN || w->best[i] == w->u->unknown)) {
            uint32_t c;
            i += w->best[i] == UNKNOWN ? attn_utf8_get(w->word->bytes + i, &c) : v->pieces[w->best[i]].text.length;
        }
        if (i > start) {
            st = emit_unknown(e, w, start, i);
            continue;
        }
        i += v->pieces[w->best[i]].text.length;
        st = attn_encoder_emit(e, w->best[start], w->word->at[start], w->word->at[i - 1] + 1, (attn_text){ .length = 0 });
    }
    return st;
}

uint64_t attn_unigram_bytes(const attn_unigram *u, attn_reach word)
{
    return (u->ring + 1) * sizeof(double) + attn_times(word.bytes + 1, sizeof(int32_t));
}

static attn_status unigram_run(attn_encoder *e, const attn_stretch *word)
{
    const attn_unigram *u = e->tokenizer->settings.unigram;
    if (!e->unigram)
        e->unigram = attn_arena_take(e->arena, attn_unigram_bytes(u, attn_splitters_reach(&e->tokenizer->splitters, e->reach)), 1);
    if (!e->unigram)
        return attn_fail_memory(e->err);
    double *sums = e->unigram;
    walk w = { .u = u, .word = word, .sums = sums, .best = (int32_t *)(sums + u->ring + 1) };
    attn_status st = find_best(&w, e);
    if (st != ATTN_OK)
        return st;
    turn_round(&w, &e->tokenizer->vocabulary);
    return emit_tokens(e, &w);
}

const attn_model_kind attn_unigram_model = { .type = "Unigram", .sign = "unk_id", .list = true, .open = unigram_open, .run = unigram_run };
