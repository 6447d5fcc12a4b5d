/* decoder.c - how a piece reads to a person: what /decoder makes of that piece as one in the middle of a text.
 *
 * So "##ing" reads "ing", and a space that belongs to a piece is shown as a space: "Ġthe" and "▁the" read " the". What a decoder does only to the
 * beginning of a whole text (Metaspace drops the first space, Strip behind Fuse) is left out. Bytes that are no UTF-8 by themselves read U+FFFD. Special
 * tokens, and a piece of which nothing would be left, read as they are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/byte_level.h"
#include "text/pattern.h"

#include <string.h>

enum { STEPS_MAX = 16, DEPTH_MAX = 8, GROWTH_MAX = 64, BLOCK_BYTES = 65536 };

/* What patterns are looked for with. */
typedef struct searches {
    attn_encoder encoder;
    attn_status status; /* of the first search that failed */
} searches;

typedef struct step step;
typedef struct step_kind {
    const char *type;
    attn_status (*open)(step *, const attn_node *); /* NULL: it has no settings */
    size_t (*run)(const step *, attn_text in, char *out);
    size_t growth; /* bytes out per byte in at most; `open` may set another */
} step_kind;
struct step {
    const step_kind *kind;
    size_t growth;
    attn_text first, second; /* borrowed from the tree: pieces are decoded while the file is open */
    uint64_t start, stop;
    bool cleanup;
    attn_pattern *pattern; /* Replace's, where it has one; closed when all is decoded */
    searches *searches;
};
typedef struct steps {
    step items[STEPS_MAX];
    size_t count, growth;
    bool fused; /* what follows sees whole texts */
    searches searches;
} steps;

static size_t put_text(char *out, size_t used, attn_text text)
{
    if (text.length > 0)
        memcpy(out + used, text.bytes, text.length);
    return used + text.length;
}

/* ---- WordPiece, BPEDecoder ---- */

static attn_status wordpiece_open(step *s, const attn_node *n)
{
    return attn_node_string(n, "prefix", &s->first);
}

static size_t wordpiece_run(const step *s, attn_text in, char *out)
{
    size_t skip = in.length >= s->first.length && memcmp(in.bytes, s->first.bytes, s->first.length) == 0 ? s->first.length : 0;
    return put_text(out, 0, (attn_text){ .bytes = in.bytes + skip, .length = in.length - skip });
}

/* ---- Replace, and what is one ---- */

static size_t replace_run(const step *s, attn_text in, char *out)
{
    size_t used = 0, done = 0;
    while (done < in.length) {
        const char *hit = memmem(in.bytes + done, in.length - done, s->first.bytes, s->first.length);
        size_t start = hit ? (size_t)(hit - in.bytes) : in.length;
        used = put_text(out, used, (attn_text){ .bytes = in.bytes + done, .length = start - done });
        if (hit)
            used = put_text(out, used, s->second);
        done = hit ? start + s->first.length : start;
    }
    return used;
}

static attn_status need_pattern(const step *s, const attn_node *n)
{
    return s->first.length > 0 ? ATTN_OK : attn_node_fail(n, ATTN_E_FORMAT, "what it looks for is empty");
}

static size_t replace_matches(const step *s, attn_text in, char *out)
{
    attn_pattern_scan scan = { .pattern = s->pattern, .text = in.bytes, .length = in.length };
    size_t used = 0, done = 0, start, end;
    bool found = true;
    while (s->searches->status == ATTN_OK && found) {
        s->searches->status = attn_pattern_next(&scan, &s->searches->encoder, &found, &start, &end);
        if (!found || s->searches->status != ATTN_OK)
            break;
        used = put_text(out, used, (attn_text){ .bytes = in.bytes + done, .length = start - done });
        used = put_text(out, used, s->second);
        done = end;
    }
    return put_text(out, used, (attn_text){ .bytes = in.bytes + done, .length = in.length - done });
}

static size_t replace_either_run(const step *s, attn_text in, char *out)
{
    return s->pattern ? replace_matches(s, in, out) : replace_run(s, in, out);
}

static attn_status replace_open(step *s, const attn_node *n)
{
    attn_node how = attn_node_member(n, "pattern");
    attn_status st = attn_node_need(&how, JSON_OBJECT);
    bool regex = st == ATTN_OK && attn_node_member(&how, "Regex").value;
    if (regex)
        st = attn_pattern_open_replacing(&s->pattern, &how);
    else if (st == ATTN_OK)
        st = attn_node_string(&how, "String", &s->first);
    if (st == ATTN_OK && !regex)
        st = need_pattern(s, &how);
    if (st == ATTN_OK)
        st = attn_node_string(n, "content", &s->second);
    if (st == ATTN_OK)
        s->growth = attn_most(1, attn_ceil_div(s->second.length, regex ? attn_pattern_least(s->pattern) : s->first.length));
    return st;
}

static attn_status metaspace_open(step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "replacement", &s->first);
    s->second = (attn_text){ .bytes = " ", .length = 1 };
    return st == ATTN_OK ? need_pattern(s, n) : st;
}

static attn_status bpe_open(step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "suffix", &s->first);
    return st == ATTN_OK ? need_pattern(s, n) : st;
}

/* ---- CTC ---- */

/* What it does to neighbours that are equal is nothing to one piece. */
static attn_status ctc_open(step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "word_delimiter_token", &s->first);
    if (st == ATTN_OK)
        st = need_pattern(s, n);
    if (st == ATTN_OK)
        st = attn_node_string(n, "pad_token", &s->second);
    return st == ATTN_OK ? attn_node_bool(n, "cleanup", &s->cleanup) : st;
}

static size_t ctc_run(const step *s, attn_text in, char *out)
{
    const attn_text space = { .bytes = " ", .length = 1 };
    attn_text rest = { .bytes = out + in.length, .length = in.length }; /* out of the way of what is written */
    if (s->second.length > 0)
        rest.length = replace_run(&(step){ .first = s->second }, in, out + in.length);
    else
        (void)put_text(out, in.length, in);
    return s->cleanup ? replace_run(&(step){ .first = s->first, .second = space }, rest, out) : put_text(out, 0, rest);
}

/* ---- bytes ---- */

/* Bytes as UTF-8, with U+FFFD for each part that is none. */
static size_t put_lossy(char *out, const char *bytes, size_t n)
{
    size_t used = 0;
    for (size_t i = 0, length; i < n; i += length) {
        bool sound = attn_utf8_next(bytes + i, n - i, &length);
        used = put_text(out, used, sound ? (attn_text){ .bytes = bytes + i, .length = length } : (attn_text){ .bytes = "\xEF\xBF\xBD", .length = 3 });
    }
    return used;
}

/* A piece with a character that stands for no byte stays as it is. */
static size_t byte_level_run(const step *s, attn_text in, char *out)
{
    (void)s;
    char *bytes = out + 2 * in.length; /* out of the way of what is written */
    size_t n = 0;
    for (size_t i = 0; i < in.length;) {
        uint32_t c;
        i += attn_utf8_get(in.bytes + i, &c);
        int byte = attn_letter_byte(c);
        if (byte < 0)
            return put_text(out, 0, in);
        bytes[n++] = (char)byte;
    }
    return put_lossy(out, bytes, n);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t byte_fallback_run(const step *s, attn_text in, char *out)
{
    (void)s;
    int high = in.length == 6 ? digit(in.bytes[3]) : -1, low = in.length == 6 ? digit(in.bytes[4]) : -1;
    if (high < 0 || low < 0 || memcmp(in.bytes, "<0x", 3) != 0 || in.bytes[5] != '>')
        return put_text(out, 0, in);
    char byte = (char)(high << 4 | low);
    return put_lossy(out, &byte, 1);
}

/* ---- Strip, Fuse ---- */

static attn_status strip_open(step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "content", &s->first);
    if (st == ATTN_OK)
        st = need_pattern(s, n);
    if (st == ATTN_OK)
        st = attn_node_number(n, "start", INT64_MAX, &s->start);
    return st == ATTN_OK ? attn_node_number(n, "stop", INT64_MAX, &s->stop) : st;
}

static size_t strip_run(const step *s, attn_text in, char *out)
{
    size_t n = s->first.length;
    for (uint64_t i = 0; i < s->start && in.length >= n && memcmp(in.bytes, s->first.bytes, n) == 0; i++)
        in = (attn_text){ .bytes = in.bytes + n, .length = in.length - n };
    for (uint64_t i = 0; i < s->stop && in.length >= n && memcmp(in.bytes + in.length - n, s->first.bytes, n) == 0; i++)
        in.length -= n;
    return put_text(out, 0, in);
}

static size_t same_run(const step *s, attn_text in, char *out)
{
    (void)s;
    return put_text(out, 0, in);
}

static const step_kind kinds[] = {
    { .type = "WordPiece", .open = wordpiece_open, .run = wordpiece_run, .growth = 1 },
    { .type = "BPEDecoder", .open = bpe_open, .run = replace_run, .growth = 1 },
    { .type = "ByteLevel", .run = byte_level_run, .growth = 3 },
    { .type = "Metaspace", .open = metaspace_open, .run = replace_run, .growth = 1 },
    { .type = "ByteFallback", .run = byte_fallback_run, .growth = 1 },
    { .type = "Replace", .open = replace_open, .run = replace_either_run, .growth = 1 },
    { .type = "CTC", .open = ctc_open, .run = ctc_run, .growth = 2 },
    { .type = "Fuse", .run = same_run, .growth = 1 },
    { .type = "Strip", .open = strip_open, .run = strip_run, .growth = 1 },
};

/* ---- reading ---- */

static attn_status open_step(steps *all, const attn_node *n, attn_text type)
{
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && !attn_text_is(type, kinds[i].type))
        i++;
    if (i == sizeof kinds / sizeof *kinds)
        return attn_node_unknown(n, "type ", type);
    if (all->count == STEPS_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "more than %d decoders", STEPS_MAX);
    step *s = &all->items[all->count];
    *s = (step){ .kind = &kinds[i], .growth = kinds[i].growth, .searches = &all->searches };
    attn_status st = kinds[i].open ? kinds[i].open(s, n) : ATTN_OK;
    if (st != ATTN_OK)
        return st;
    if (s->growth > GROWTH_MAX / all->growth)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "a piece could grow more than %d times", GROWTH_MAX);
    all->growth *= s->growth;
    all->fused |= kinds[i].run == same_run;
    all->count += !(all->fused && kinds[i].run == strip_run);
    return ATTN_OK;
}

static attn_status open_steps(steps *all, const attn_node *n, int depth)
{
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK || !attn_text_is(type, "Sequence"))
        return st == ATTN_OK ? open_step(all, n, type) : st;
    if (depth == DEPTH_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "sequences more than %d deep", DEPTH_MAX);
    attn_node list = attn_node_member(n, "decoders");
    st = attn_node_need(&list, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list.value); i++) {
        attn_node item = attn_node_item(&list, i);
        st = open_steps(all, &item, depth + 1);
    }
    return st;
}

/* ---- using ---- */

/* Where displays lie that are not their pieces: many short texts in few blocks. */
typedef struct store {
    attn_arena *memory;
    char *block;
    size_t left;
} store;

static bool keep_display(store *s, attn_piece *piece, attn_text text)
{
    size_t offset = piece->text.length - text.length;
    if (text.length <= piece->text.length && memcmp(piece->text.bytes + offset, text.bytes, text.length) == 0) {
        piece->display = (attn_text){ .bytes = piece->text.bytes + offset, .length = text.length };
        return true;
    }
    if (text.length > s->left) {
        s->left = attn_most(BLOCK_BYTES, text.length);
        s->block = attn_arena_take(s->memory, s->left, 1);
    }
    if (!s->block)
        return false;
    piece->display = (attn_text){ .bytes = s->block, .length = put_text(s->block, 0, text) };
    s->block += text.length;
    s->left -= text.length;
    return true;
}

static attn_text decode(const steps *all, attn_text text, char *const buffers[2])
{
    for (size_t i = 0; i < all->count; i++) {
        char *out = buffers[i % 2];
        text = (attn_text){ .bytes = out, .length = all->items[i].kind->run(&all->items[i], text, out) };
    }
    return text;
}

static attn_status decode_all(steps *all, attn_vocabulary *v, attn_arena *memory, const attn_node *n)
{
    size_t longest = 1, bytes = 0;
    for (size_t i = 0; i < v->size; i++) {
        longest = attn_most(longest, v->pieces[i].text.length);
        bytes += v->pieces[i].text.length;
    }
    attn_arena *scratch = attn_arena_new();
    char *room = scratch ? attn_arena_take(scratch, 2 * longest, all->growth) : NULL;
    char *const buffers[2] = { room, room ? room + longest * all->growth : NULL };
    all->searches.encoder = (attn_encoder){ .arena = scratch, .reach = { bytes * all->growth, bytes * all->growth } };
    store s = { .memory = memory };
    bool ok = room != NULL;
    for (size_t i = 0; i < v->size && ok && all->searches.status == ATTN_OK; i++) {
        attn_piece *piece = &v->pieces[i];
        attn_text text = piece->text.bytes && !piece->special ? decode(all, piece->text, buffers) : (attn_text){ .length = 0 };
        ok = text.length == 0 || keep_display(&s, piece, text);
    }
    attn_arena_free(scratch);
    if (ok && all->searches.status == ATTN_E_INPUT)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "a pattern takes too long for the pieces");
    return ok && all->searches.status == ATTN_OK ? ATTN_OK : attn_fail_memory(n->err);
}

attn_status attn_decoder_open(attn_tokenizer *t, const attn_node *n)
{
    steps all = { .growth = 1 };
    if (!n->value)
        return ATTN_OK;
    attn_status st = open_steps(&all, n, 0);
    if (st == ATTN_OK)
        st = decode_all(&all, &t->vocabulary, t->memory, n);
    for (size_t i = 0; i < STEPS_MAX; i++)
        attn_pattern_close(all.items[i].pattern);
    return st;
}
