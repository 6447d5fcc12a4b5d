/* added_tokens.c - tokens that are cut out of the text before anything else looks at it: [MASK], <s>, and whatever a file adds.
 *
 * Two tries: tokens with `normalized: false` are looked for in the text as sent, the others, in normalised form, in what normalization made of the rest.
 * From every place the trie is walked to the longest token that starts there; time is linear in the text times at most the longest token, and in practice
 * one table look-up a byte, for few bytes start a token. Ids are those that the library gives: the vocabulary's when it has the piece, else numbered on.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <string.h>

/* ---- the trie ---- */

static attn_status trie_open(attn_trie *t, size_t bytes, attn_arena *memory)
{
    t->capacity = bytes + 1;
    t->count = 1; /* node 0 is none */
    t->nodes = attn_arena_zero(memory, t->capacity, sizeof *t->nodes);
    return t->nodes ? ATTN_OK : ATTN_E_NOMEM;
}

static uint32_t trie_child(const attn_trie *t, uint32_t node, unsigned char byte)
{
    uint32_t child = t->nodes[node].child;
    while (child && t->nodes[child].byte != byte)
        child = t->nodes[child].sibling;
    return child;
}

static uint32_t trie_new(attn_trie *t, unsigned char byte)
{
    t->nodes[t->count].byte = byte;
    return (uint32_t)t->count++;
}

/* The node at the end of `text`, made when it is not there. */
static attn_trie_node *trie_reach(attn_trie *t, attn_text text)
{
    unsigned char first = (unsigned char)text.bytes[0];
    uint32_t node = t->root[first] ? t->root[first] : (t->root[first] = trie_new(t, first));
    for (size_t i = 1; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        uint32_t child = trie_child(t, node, byte);
        if (!child) {
            child = trie_new(t, byte);
            t->nodes[child].sibling = t->nodes[node].child;
            t->nodes[node].child = child;
        }
        node = child;
    }
    return &t->nodes[node];
}

/* The longest token that starts at s; its length, 0 for none. */
static size_t trie_longest(const attn_trie *t, const char *s, size_t left, uint32_t *token)
{
    size_t longest = 0;
    uint32_t node = t->root[(unsigned char)s[0]];
    for (size_t i = 1; node; i++) {
        if (t->nodes[node].token) {
            *token = t->nodes[node].token - 1;
            longest = i;
        }
        node = i < left ? trie_child(t, node, (unsigned char)s[i]) : 0;
    }
    return longest;
}

/* ---- reading the file ---- */

static attn_status read_token(const attn_node *n, attn_added_token *token)
{
    uint64_t id; /* checked only: the library numbers added tokens itself */
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_number(n, "id", INT32_MAX - 1, &id);
    if (st == ATTN_OK)
        st = attn_node_string(n, "content", &token->content);
    const struct {
        const char *key;
        bool *out;
    } flags[] = { { "single_word", &token->single_word },
                  { "lstrip", &token->lstrip },
                  { "rstrip", &token->rstrip },
                  { "normalized", &token->normalized },
                  { "special", &token->special } };
    for (size_t i = 0; st == ATTN_OK && i < sizeof flags / sizeof *flags; i++)
        st = attn_node_bool(n, flags[i].key, flags[i].out);
    return st;
}

/* The id of a new token: the vocabulary's, or the next after the vocabulary and all added tokens. */
static int32_t number(const attn_tokenizer *t, attn_text content)
{
    int32_t id = attn_vocabulary_id(&t->vocabulary, content);
    if (id >= 0)
        return id;
    id = (int32_t)t->vocabulary.count;
    for (size_t i = 0; i < t->added.count; i++)
        if (t->added.tokens[i].id >= id)
            id = t->added.tokens[i].id + 1;
    return id;
}

static attn_status add(attn_tokenizer *t, const attn_node *n, attn_added_token token, attn_trie *names)
{
    attn_trie_node *name = trie_reach(names, token.content);
    if (name->token) { /* said again: the last word counts */
        attn_added_token *old = &t->added.tokens[name->token - 1];
        token.id = old->id;
        token.content = old->content;
        *old = token;
    } else {
        const char *copy = attn_arena_copy(t->memory, token.content.bytes, token.content.length);
        if (!copy)
            return attn_fail_memory(n->err);
        token.id = number(t, token.content);
        token.content.bytes = copy;
        attn_text piece = t->vocabulary.pieces[token.id].text;
        if (piece.bytes && (piece.length != token.content.length || memcmp(piece.bytes, copy, piece.length) != 0))
            return attn_node_fail(n, ATTN_E_FORMAT, "its id would be %d, which is a piece of the vocabulary", token.id);
        attn_vocabulary_add(&t->vocabulary, token.id, token.content);
        t->added.tokens[t->added.count++] = token;
        name->token = (uint32_t)t->added.count;
    }
    t->vocabulary.pieces[token.id].special = token.special;
    if (token.content.length > t->longest_added)
        t->longest_added = token.content.length;
    return ATTN_OK;
}

/* Special tokens come first, and of two with one form the first counts. */
static void fill_raw(attn_tokenizer *t)
{
    attn_added *a = &t->added;
    for (int special = 1; special >= 0; special--)
        for (size_t i = 0; i < a->count; i++)
            if (!a->tokens[i].normalized && a->tokens[i].special == (special == 1)) {
                attn_trie_node *end = trie_reach(&a->raw, a->tokens[i].content);
                if (!end->token)
                    end->token = (uint32_t)i + 1;
                if (t->shortest_raw == 0 || a->tokens[i].content.length < t->shortest_raw)
                    t->shortest_raw = a->tokens[i].content.length;
            }
}

static size_t content_bytes(const attn_node *list)
{
    size_t bytes = 0;
    for (size_t i = 0; i < json_array_size(list->value); i++)
        bytes += json_string_length(json_object_get(json_array_get(list->value, i), "content"));
    return bytes;
}

attn_status attn_added_open(attn_tokenizer *t, const attn_node *list)
{
    if (!list->value)
        return ATTN_OK;
    attn_status st = attn_node_need(list, JSON_ARRAY);
    if (st != ATTN_OK)
        return st;
    attn_trie names = { .count = 0 };
    size_t count = json_array_size(list->value), bytes = content_bytes(list);
    t->added.tokens = attn_arena_zero(t->memory, count, sizeof *t->added.tokens);
    if (!t->added.tokens || trie_open(&names, bytes, t->memory) != ATTN_OK || trie_open(&t->added.raw, bytes, t->memory) != ATTN_OK)
        return attn_fail_memory(list->err);
    for (size_t i = 0; st == ATTN_OK && i < count; i++) {
        attn_node item = attn_node_item(list, i);
        attn_added_token token = { .id = 0 };
        st = read_token(&item, &token);
        if (st == ATTN_OK && token.content.length > 0) /* the library passes over empty ones */
            st = add(t, &item, token, &names);
    }
    if (st == ATTN_OK)
        fill_raw(t);
    return st;
}

static attn_status add_normalized(attn_tokenizer *t, const attn_node *list, attn_encoder *e, size_t index)
{
    const attn_added_token *token = &t->added.tokens[index];
    if (token->content.length == 0 || !attn_utf8_index(token->content.bytes, token->content.length, e->work[1].at))
        return attn_node_fail(list, ATTN_E_FORMAT, "token %zu is not UTF-8", index);
    attn_stretch s = { .bytes = token->content.bytes, .at = e->work[1].at, .length = token->content.length };
    attn_status st = attn_normalizers_run(&t->normalizers, e, &s);
    if (st != ATTN_OK)
        return st;
    if (s.length == 0)
        return attn_node_fail(list, ATTN_E_UNSUPPORTED, "nothing is left of token %d once it is normalized", token->id);
    attn_trie_node *end = trie_reach(&t->added.normalized, (attn_text){ .bytes = s.bytes, .length = s.length });
    if (!end->token)
        end->token = (uint32_t)index + 1;
    return ATTN_OK;
}

attn_status attn_added_open_normalized(attn_tokenizer *t, const attn_node *list)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->added.count; i++)
        if (t->added.tokens[i].normalized)
            bytes += (size_t)attn_normalizers_reach(&t->normalizers, t->added.tokens[i].content.length, 1).bytes;
    attn_arena *scratch = attn_arena_new();
    attn_encoder e;
    attn_status st = ATTN_E_NOMEM;
    if (scratch && trie_open(&t->added.normalized, bytes, t->memory) == ATTN_OK)
        st = attn_encoder_open(&e, t, t->longest_added, scratch, NULL, list->err);
    for (int special = 1; st == ATTN_OK && special >= 0; special--)
        for (size_t i = 0; st == ATTN_OK && i < t->added.count; i++)
            if (t->added.tokens[i].normalized && t->added.tokens[i].special == (special == 1))
                st = add_normalized(t, list, &e, i);
    attn_arena_free(scratch);
    return st == ATTN_E_NOMEM ? attn_fail_memory(list->err) : st;
}

/* ---- looking for them ---- */

static bool word_before(const attn_stretch *s, size_t at)
{
    uint32_t c;
    if (at == 0)
        return false;
    attn_utf8_get(s->bytes + at - attn_utf8_back(s->bytes, s->bytes + at), &c);
    return attn_is_word(c);
}

static bool word_after(const attn_stretch *s, size_t at)
{
    uint32_t c;
    if (at == s->length)
        return false;
    attn_utf8_get(s->bytes + at, &c);
    return attn_is_word(c);
}

static size_t spaces_before(const attn_stretch *s, size_t from, size_t down_to)
{
    while (from > down_to) {
        uint32_t c;
        size_t n = attn_utf8_back(s->bytes, s->bytes + from);
        attn_utf8_get(s->bytes + from - n, &c);
        if (!attn_is_white(c))
            break;
        from -= n;
    }
    return from;
}

static size_t spaces_after(const attn_stretch *s, size_t from)
{
    while (from < s->length) {
        uint32_t c;
        size_t n = attn_utf8_get(s->bytes + from, &c);
        if (!attn_is_white(c))
            break;
        from += n;
    }
    return from;
}

/* The match with the spaces it swallows. A token may start inside spaces that the one before swallowed: then they overlap, as in the library, or
 * nothing is left of it (start >= end). */
static attn_added_match widen(attn_added_scan *scan, const attn_added_token *token, size_t start, size_t end)
{
    if (token->lstrip)
        start = start > scan->taken ? spaces_before(&scan->text, start, scan->taken) : scan->taken;
    if (token->rstrip)
        end = scan->spaces_end = end < scan->spaces_end ? scan->spaces_end : spaces_after(&scan->text, end);
    scan->taken = end;
    return (attn_added_match){ .token = token, .start = start, .end = end };
}

attn_status attn_added_next(attn_added_scan *scan, attn_encoder *e, attn_added_match *out)
{
    const attn_trie *trie = scan->trie;
    *out = (attn_added_match){ .token = NULL };
    size_t i = scan->position, counted = i;
    while (i < scan->text.length && trie->count > 1) {
        if (i - counted >= ATTN_LOOK_BYTES) {
            attn_status st = attn_encoder_handled(e, i - counted);
            if (st != ATTN_OK)
                return st;
            counted = i;
        }
        uint32_t index = 0;
        size_t n = trie->root[(unsigned char)scan->text.bytes[i]] ? trie_longest(trie, scan->text.bytes + i, scan->text.length - i, &index) : 0;
        i += n ? n : 1;
        const attn_added_token *token = n ? &scan->added->tokens[index] : NULL;
        if (!token || (token->single_word && (word_before(&scan->text, i - n) || word_after(&scan->text, i))))
            continue;
        attn_added_match match = widen(scan, token, i - n, i);
        if (match.start < match.end) {
            *out = match;
            break;
        }
    }
    scan->position = i;
    return attn_encoder_handled(e, i - counted);
}
