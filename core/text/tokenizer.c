/* tokenizer.c - opens a tokenizer.json, runs text through its stages. How they fit together: pipeline.h.
 *
 * Memory of a call, for n bytes of text: 4 n for where each byte stems from, 5 g n for each of two normalised texts (g is how much the normalizers may
 * make it grow), and for each token 32 bytes while they are collected and 56 in the result.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pattern.h"
#include "text/unicode_forms.h"

#include <string.h>

enum { BLOCK_FIRST = 64, BLOCK_MOST = 16384 }; /* tokens */

/* ---- opening ---- */

static attn_status open_model(attn_tokenizer *t, const attn_node *n, size_t added)
{
    static const attn_model_kind *const kinds[] = { &attn_wordpiece, &attn_bpe_model, &attn_unigram_model, &attn_wordlevel_model };
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st != ATTN_OK)
        return st;
    attn_node named = attn_node_member(n, "type");
    st = named.value ? attn_node_string(n, "type", &type) : ATTN_OK;
    for (size_t i = 0; st == ATTN_OK && i < sizeof kinds / sizeof *kinds; i++)
        if (named.value ? attn_text_is(type, kinds[i]->type) : kinds[i]->sign && json_object_get(n->value, kinds[i]->sign))
            t->model = kinds[i];
    if (st != ATTN_OK)
        return st;
    if (!t->model && named.value)
        return attn_node_unknown(n, "type ", type);
    if (!t->model)
        return attn_node_fail(n, ATTN_E_FORMAT, "no type, and none can be told from what is there");
    attn_node vocabulary = attn_node_member(n, "vocab");
    st = (t->model->list ? attn_vocabulary_open_pairs : attn_vocabulary_open)(&t->vocabulary, &vocabulary, added, t->memory);
    return st == ATTN_OK ? t->model->open(t, n) : st;
}

static attn_status open_parts(attn_tokenizer *t, const attn_node *root)
{
    attn_status st = attn_node_need(root, JSON_OBJECT);
    if (st != ATTN_OK)
        return st;
    attn_text version;
    attn_node member = attn_node_member(root, "version");
    if (member.value)
        st = attn_node_string(root, "version", &version);
    if (st == ATTN_OK && member.value && !attn_text_is(version, "1.0"))
        st = attn_node_fail(&member, ATTN_E_UNSUPPORTED, "only \"1.0\" is known");
    attn_node model = attn_node_member(root, "model"), added = attn_node_member(root, "added_tokens"), decoder = attn_node_member(root, "decoder");
    attn_node normalizer = attn_node_member(root, "normalizer"), splitter = attn_node_member(root, "pre_tokenizer");
    attn_node post_processor = attn_node_member(root, "post_processor");
    if (st == ATTN_OK)
        st = open_model(t, &model, json_array_size(added.value));
    if (st == ATTN_OK)
        st = attn_added_open(t, &added);
    if (st == ATTN_OK)
        st = attn_normalizers_open(&t->normalizers, &normalizer, t->memory);
    if (st == ATTN_OK)
        st = attn_added_open_normalized(t, &added);
    if (st == ATTN_OK)
        st = attn_splitters_open(&t->splitters, &splitter, t->memory);
    if (st == ATTN_OK)
        st = attn_post_processor_open(t, &post_processor);
    return st == ATTN_OK ? attn_decoder_open(t, &decoder) : st;
}

/* All else lies in the arena. */
static void close_patterns(attn_tokenizer *t)
{
    for (size_t i = 0; i < t->splitters.count; i++)
        attn_pattern_close(t->splitters.items[i].pattern);
    for (size_t i = 0; i < t->normalizers.count; i++)
        attn_pattern_close(t->normalizers.items[i].pattern);
}

attn_status attn_tokenizer_open_tree(attn_tokenizer **out, const attn_node *root)
{
    attn_arena *memory = attn_arena_new();
    attn_tokenizer *t = memory ? attn_arena_zero(memory, 1, sizeof *t) : NULL;
    attn_status st = t ? ATTN_OK : attn_fail_memory(root->err);
    *out = NULL;
    if (st == ATTN_OK) {
        t->memory = memory;
        st = open_parts(t, root);
    }
    if (st == ATTN_OK) {
        *out = t;
        memory = NULL; /* handed over */
    }
    if (st != ATTN_OK && t)
        close_patterns(t);
    attn_arena_free(memory);
    return st;
}

attn_status attn_tokenizer_open(attn_tokenizer **out, const char *json, size_t length, const char *name, attn_error *err)
{
    attn_node root = { .value = NULL };
    *out = NULL;
    attn_status st = attn_node_parse(&root, json, length, name, err);
    if (st == ATTN_OK)
        st = attn_tokenizer_open_tree(out, &root);
    json_decref(root.value);
    return st;
}

void attn_tokenizer_close(attn_tokenizer *t)
{
    if (!t)
        return;
    close_patterns(t);
    attn_arena_free(t->memory);
}

/* ---- asking ---- */

size_t attn_tokenizer_vocab_size(const attn_tokenizer *t)
{
    return t->vocabulary.size;
}

bool attn_tokenizer_piece(const attn_tokenizer *t, int32_t id, attn_text *text, attn_text *display)
{
    if (id < 0 || (size_t)id >= t->vocabulary.size || !t->vocabulary.pieces[id].text.bytes)
        return false;
    *text = t->vocabulary.pieces[id].text;
    *display = t->vocabulary.pieces[id].display;
    return true;
}

bool attn_tokenizer_is_special(const attn_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->vocabulary.size && t->vocabulary.pieces[id].special;
}

/* ---- what the stages stand on ---- */

attn_status attn_encoder_look(attn_encoder *e)
{
    e->unlooked = 0;
    return attn_cancelled(e->cancel) ? attn_fail(e->err, ATTN_E_CANCELLED, "", "cancelled while tokenizing") : ATTN_OK;
}

attn_status attn_encoder_grow(attn_encoder *e)
{
    attn_found_list *list = &e->found;
    attn_found_block *next = list->last ? list->last->next : NULL; /* one may be left from tokens taken back */
    if (!next) {
        size_t capacity = !list->last ? BLOCK_FIRST : list->last->capacity < BLOCK_MOST ? 2 * list->last->capacity : BLOCK_MOST;
        next = attn_arena_take(e->arena, 1, sizeof *next + capacity * sizeof next->items[0]);
        if (!next)
            return attn_fail_memory(e->err);
        *next = (attn_found_block){ .capacity = capacity };
        if (list->last)
            list->last->next = next;
        else
            list->first = next;
    }
    list->last = next;
    return ATTN_OK;
}

attn_found_mark attn_encoder_mark(const attn_encoder *e)
{
    return (attn_found_mark){ .block = e->found.last, .in_block = e->found.last ? e->found.last->count : 0, .count = e->found.count };
}

void attn_encoder_take_back(attn_encoder *e, attn_found_mark mark)
{
    attn_found_block *keep = mark.block ? mark.block : e->found.first;
    for (attn_found_block *b = keep; b != e->found.last; b = b->next)
        b->next->count = 0;
    if (keep)
        keep->count = mark.block ? mark.in_block : 0;
    e->found.last = keep;
    e->found.count = mark.count;
}

static size_t scratch_bytes(size_t bytes)
{
    return (bytes < ATTN_RUN_BYTES ? bytes : ATTN_RUN_BYTES) * ATTN_SCRATCH_FACTOR;
}

static bool open_buffer(attn_buffer *b, attn_arena *arena, size_t bytes)
{
    b->bytes = attn_arena_take(arena, bytes, 1);
    b->at = attn_arena_take(arena, bytes, sizeof *b->at);
    return b->bytes && b->at;
}

/* A buffer for each splitter that writes, as large as what it may write at once. */
static bool open_splits(attn_encoder *e)
{
    const attn_splitters *list = &e->tokenizer->splitters;
    attn_reach piece = e->reach;
    bool ok = (e->splits = attn_arena_take(e->arena, list->count, sizeof *e->splits)) != NULL;
    for (size_t i = 0; ok && i < list->count; i++)
        if (list->items[i].kind->grow) {
            piece = list->items[i].kind->grow(&list->items[i], piece, 1);
            ok = open_buffer(&e->splits[i], e->arena, (size_t)piece.bytes);
            e->splits[i].length = 0;
        }
    return ok;
}

static uint64_t split_bytes(const attn_splitters *list, attn_reach piece)
{
    uint64_t sum = list->count * sizeof(attn_buffer);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].kind->grow) {
            piece = list->items[i].kind->grow(&list->items[i], piece, 1);
            sum = attn_plus(sum, attn_times(piece.bytes, 5));
        }
    return sum;
}

static bool has_patterns(const attn_tokenizer *t)
{
    bool any = false;
    for (size_t i = 0; i < t->splitters.count; i++)
        any = any || t->splitters.items[i].pattern;
    for (size_t i = 0; i < t->normalizers.count; i++)
        any = any || t->normalizers.items[i].pattern;
    return any;
}

static size_t hash_count(const attn_tokenizer *t)
{
    return t->settings.longest_first > t->settings.longest_next ? t->settings.longest_first : t->settings.longest_next;
}

/* How many texts that are normalised by themselves one text of so many bytes holds at most, added tokens between them. */
static uint64_t texts_in(const attn_tokenizer *t, uint64_t bytes)
{
    return t->shortest_raw ? (bytes + t->shortest_raw) / (1 + t->shortest_raw) + 1 : 1;
}

/* What all words of a text of so many bytes take at most. */
static attn_reach reach_all(const attn_tokenizer *t, uint64_t bytes)
{
    uint64_t texts = texts_in(t, bytes);
    attn_reach text = attn_normalizers_reach(&t->normalizers, bytes, texts);
    return attn_splitters_reach_all(&t->splitters, text, t->added.normalized.count > 1 ? text.points : texts);
}

/* What unknown tokens of a text keep of it. */
static size_t unknown_bytes(const attn_tokenizer *t, uint64_t bytes)
{
    return t->settings.unigram ? (size_t)reach_all(t, bytes).bytes : 0;
}

attn_status attn_encoder_open(attn_encoder *e, const attn_tokenizer *t, size_t bytes, attn_arena *arena, attn_cancel *cancel, attn_error *err)
{
    *e = (attn_encoder){ .tokenizer = t, .arena = arena, .cancel = cancel, .err = err, .field = "text" };
    e->reach = attn_normalizers_reach(&t->normalizers, bytes, 1); /* at most 4 GiB * GROWTH_MAX */
    size_t bound = (size_t)e->reach.bytes;
    bool ok = true;
    e->kept_room = bytes + (size_t)attn_normalizers_reach(&t->normalizers, bytes, texts_in(t, bytes)).bytes + unknown_bytes(t, bytes);
    for (size_t i = 0; ok && i < 2; i++)
        ok = open_buffer(&e->work[i], arena, bound) && open_buffer(&e->scratch[i], arena, scratch_bytes(bytes));
    e->marks = ok ? attn_mark_buffer_new(arena, bytes) : NULL;
    e->prefix_hashes = ok ? attn_arena_take(arena, hash_count(t), sizeof *e->prefix_hashes) : NULL;
    return e->marks && e->prefix_hashes && open_splits(e) ? ATTN_OK : attn_fail_memory(err);
}

/* ---- encoding ---- */

const char *attn_encoder_keep(attn_encoder *e, const char *bytes, size_t n)
{
    if (!e->kept)
        e->kept = attn_arena_take(e->arena, e->kept_room, 1);
    if (!e->kept)
        return NULL;
    char *copy = e->kept + e->kept_length;
    memcpy(copy, bytes, n);
    e->kept_length += n;
    return copy;
}

/* The text of an added token is what it matched, which is not always its content; then *copy becomes a copy of the stretch, made once. */
static attn_status emit_added(attn_encoder *e, const attn_stretch *s, const attn_added_match *m, const char **copy)
{
    attn_text text = { .bytes = s->bytes + m->start, .length = m->end - m->start };
    attn_text piece = e->tokenizer->vocabulary.pieces[m->token->id].text;
    if (text.length == piece.length && memcmp(text.bytes, piece.bytes, piece.length) == 0) {
        text = (attn_text){ .length = 0 };
    } else {
        if (!*copy)
            *copy = attn_encoder_keep(e, s->bytes, s->length);
        if (!*copy)
            return attn_fail_memory(e->err);
        text.bytes = *copy + m->start;
    }
    return attn_encoder_emit(e, m->token->id, s->at[m->start], s->at[m->end - 1] + 1, text);
}

/* Cuts the tokens of one trie out; what lies between goes on to `rest`. */
static attn_status cut_out(attn_encoder *e, const attn_trie *trie, const attn_stretch *s, attn_status (*rest)(attn_encoder *, attn_stretch))
{
    attn_added_scan scan = { .added = &e->tokenizer->added, .trie = trie, .text = *s };
    const char *copy = NULL;
    size_t done = 0;
    for (;;) {
        attn_added_match m;
        attn_status st = attn_added_next(&scan, e, &m);
        size_t start = m.token ? m.start : s->length;
        if (st == ATTN_OK && done < start)
            st = rest(e, attn_stretch_part(s, done, start));
        if (st != ATTN_OK || !m.token)
            return st;
        st = emit_added(e, s, &m, &copy);
        if (st != ATTN_OK)
            return st;
        done = m.end;
    }
}

static attn_status encode_words(attn_encoder *e, attn_stretch s)
{
    return attn_splitters_next(e, &s, 0);
}

static attn_status encode_rest(attn_encoder *e, attn_stretch s)
{
    attn_status st = attn_normalizers_run(&e->tokenizer->normalizers, e, &s);
    return st == ATTN_OK ? cut_out(e, &e->tokenizer->added.normalized, &s, encode_words) : st;
}

static attn_status encode_text(attn_encoder *e, const attn_text *text, uint32_t *at, const char *field, attn_found_list *out)
{
    attn_stretch s = { .bytes = text->length ? text->bytes : "", .at = at, .length = text->length };
    e->kept = NULL;
    e->kept_length = 0;
    e->field = field;
    if (!attn_utf8_index(s.bytes, text->length, at))
        return attn_fail(e->err, ATTN_E_INPUT, field, "not UTF-8");
    attn_status st = attn_encoder_look(e);
    if (st == ATTN_OK)
        st = cut_out(e, &e->tokenizer->added.raw, &s, encode_rest);
    *out = e->found;
    e->found = (attn_found_list){ .count = 0 };
    return st;
}

attn_status attn_tokenizer_encode(const attn_tokenizer *t, const attn_text *text, const attn_text *pair, const attn_encode_options *options, attn_arena *arena,
                                  attn_cancel *cancel, attn_encoding *out, attn_error *err)
{
    attn_encoder e;
    attn_found_list found[2] = { { .count = 0 }, { .count = 0 } };
    attn_found_list *const lists[2] = { &found[0], pair ? &found[1] : NULL };
    size_t longest = pair && pair->length > text->length ? pair->length : text->length;
    *out = (attn_encoding){ .tokens = NULL };
    if (longest > UINT32_MAX - 1)
        return attn_fail(err, ATTN_E_LIMIT, "text", "more than 4 GiB");
    attn_status st = attn_encoder_open(&e, t, longest, arena, cancel, err);
    uint32_t *at = st == ATTN_OK ? attn_arena_take(arena, longest, sizeof *at) : NULL;
    if (st == ATTN_OK && !at)
        st = attn_fail_memory(err);
    if (st == ATTN_OK)
        st = encode_text(&e, text, at, "text", &found[0]);
    if (st == ATTN_OK && pair)
        st = encode_text(&e, pair, at, "text_pair", &found[1]);
    if (st == ATTN_OK)
        st = attn_post_process(&e, lists, options, out);
    if (st != ATTN_OK)
        *out = (attn_encoding){ .tokens = NULL };
    return st;
}

uint64_t attn_tokenizer_bytes(const attn_tokenizer *t, size_t text_bytes)
{
    enum { PER_BLOCK = 256 }; /* alignment and red zone of one take, a header */
    if (text_bytes >= UINT32_MAX)
        return UINT64_MAX;
    uint64_t n = text_bytes, kept = attn_normalizers_reach(&t->normalizers, n, texts_in(t, n)).bytes;
    attn_reach text = attn_normalizers_reach(&t->normalizers, n, 1), all = reach_all(t, n), word = attn_splitters_reach(&t->splitters, text);
    uint64_t tokens = t->settings.byte_fallback ? all.bytes : all.points;
    uint64_t spare = tokens + 2 * BLOCK_FIRST < 2 * BLOCK_MOST ? tokens + 2 * BLOCK_FIRST : 2 * BLOCK_MOST; /* in the last block of each list */
    uint64_t blocks = 32 + (tokens + spare) / BLOCK_MOST;
    uint64_t buffers = 4 * n + 5 * (2 * text.bytes + 2 * scratch_bytes(text_bytes)) + 2 * (n + kept + unknown_bytes(t, n));
    uint64_t scratch =
        attn_mark_buffer_bytes(text_bytes) + hash_count(t) * sizeof(uint64_t) + split_bytes(&t->splitters, text) + (has_patterns(t) ? attn_matcher_bytes() : 0);
    uint64_t model = t->settings.bpe ? attn_bpe_bytes(word) : t->settings.unigram ? attn_unigram_bytes(t->settings.unigram, word) : 0;
    uint64_t found = attn_times(tokens + spare, sizeof(attn_found));
    uint64_t result = attn_times(attn_times(tokens, t->post_processor.repeats) + 2 * ATTN_TEMPLATE_MAX, sizeof(attn_token));
    return attn_plus(attn_plus(buffers + scratch + blocks * PER_BLOCK, model), attn_plus(found, result));
}
