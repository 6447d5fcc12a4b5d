/* decoder_steps.c - what each kind of decoder does to the pieces of a text. See decoder.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/byte_level.h"
#include "text/decoder.h"

static void put(attn_pieces *out, size_t *used, const char *bytes, size_t n)
{
    if (n > 0)
        memcpy(out->bytes + *used, bytes, n);
    *used += n;
}

static void end_piece(attn_pieces *out, size_t used)
{
    out->ends[out->count++] = used;
}

static bool starts_with(attn_text text, attn_text prefix)
{
    return text.length >= prefix.length && memcmp(text.bytes, prefix.bytes, prefix.length) == 0;
}

static bool ends_with(attn_text text, attn_text suffix)
{
    return text.length >= suffix.length && memcmp(text.bytes + text.length - suffix.length, suffix.bytes, suffix.length) == 0;
}

/* Text with every `from`, left to right, exchanged for `to`. */
static void put_replaced(attn_pieces *out, size_t *used, attn_text text, attn_text from, attn_text to)
{
    size_t done = 0;
    while (done < text.length) {
        const char *hit = memmem(text.bytes + done, text.length - done, from.bytes, from.length);
        size_t start = hit ? (size_t)(hit - text.bytes) : text.length;
        put(out, used, text.bytes + done, start - done);
        if (hit)
            put(out, used, to.bytes, to.length);
        done = hit ? start + from.length : start;
    }
}

static attn_status need_pattern(const attn_decoder_step *s, const attn_node *n)
{
    return s->first.length > 0 ? ATTN_OK : attn_node_fail(n, ATTN_E_FORMAT, "what it looks for is empty");
}

/* ---- WordPiece: words with spaces between them, what continues one without its sign ---- */

static attn_status wordpiece_open(attn_decoder_step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "prefix", &s->first);
    return st == ATTN_OK ? attn_node_bool(n, "cleanup", &s->cleanup) : st;
}

/* Takes out the spaces that a reader of English would not expect, within one piece; rules in the order of the library, none of which makes a text longer. */
static size_t clean_up(char *bytes, size_t n)
{
    static const char *const rules[][2] = {
        { " .", "." },   { " ?", "?" },           { " !", "!" },   { " ,", "," },     { " ' ", "'" },    { " n't", "n't" },
        { " 'm", "'m" }, { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        attn_text text = { .bytes = bytes, .length = n }, from = { rules[i][0], strlen(rules[i][0]) }, to = { rules[i][1], strlen(rules[i][1]) };
        size_t used = 0;
        for (size_t done = 0; done < text.length;) {
            const char *hit = memmem(bytes + done, text.length - done, from.bytes, from.length);
            size_t start = hit ? (size_t)(hit - bytes) : text.length;
            memmove(bytes + used, bytes + done, start - done);
            used += start - done;
            if (hit)
                memcpy(bytes + used, to.bytes, to.length);
            used += hit ? to.length : 0;
            done = hit ? start + from.length : start;
        }
        n = used;
    }
    return n;
}

static void wordpiece_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->count; i++) {
        attn_text text = attn_pieces_at(in, i);
        size_t start = used, skip = 0;
        if (i > 0 || in->alone)
            skip = starts_with(text, s->first) ? s->first.length : 0;
        if (i > 0 && !starts_with(text, s->first))
            put(out, &used, " ", 1);
        put(out, &used, text.bytes + skip, text.length - skip);
        if (s->cleanup && !in->alone)
            used = start + clean_up(out->bytes + start, used - start);
        end_piece(out, used);
    }
}

static void spaces_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    (void)s;
    for (size_t i = 0; i < in->count; i++) {
        attn_text text = attn_pieces_at(in, i);
        put(out, &used, " ", i > 0);
        put(out, &used, text.bytes, text.length);
        end_piece(out, used);
    }
}

const attn_decoder_kind attn_decoder_spaces = { .type = "", .run = spaces_run, .growth = 1 };

/* ---- BPEDecoder: the end of a word is a space, but not behind the last one ---- */

static attn_status bpe_open(attn_decoder_step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "suffix", &s->first);
    return st == ATTN_OK ? need_pattern(s, n) : st;
}

static void bpe_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->count; i++) {
        bool is_last = in->alone || i + 1 == in->count;
        put_replaced(out, &used, attn_pieces_at(in, i), s->first, (attn_text){ .bytes = " ", .length = !is_last });
        end_piece(out, used);
    }
}

/* ---- Replace, Metaspace ---- */

static attn_status replace_open(attn_decoder_step *s, const attn_node *n)
{
    attn_node how = attn_node_member(n, "pattern");
    attn_status st = attn_node_need(&how, JSON_OBJECT);
    if (st == ATTN_OK && !attn_node_member(&how, "String").value)
        return attn_node_fail(&how, ATTN_E_UNSUPPORTED, "only {\"String\": ..} is known");
    if (st == ATTN_OK)
        st = attn_node_string(&how, "String", &s->first);
    if (st == ATTN_OK)
        st = need_pattern(s, &how);
    if (st == ATTN_OK)
        st = attn_node_string(n, "content", &s->second);
    if (st == ATTN_OK)
        s->growth = attn_most(1, attn_ceil_div(s->second.length, s->first.length));
    return st;
}

static void replace_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->count; i++) {
        put_replaced(out, &used, attn_pieces_at(in, i), s->first, s->second);
        end_piece(out, used);
    }
}

static attn_status metaspace_open(attn_decoder_step *s, const attn_node *n)
{
    attn_metaspace_settings settings;
    attn_status st = attn_metaspace_read(n, &settings);
    if (st == ATTN_OK)
        st = attn_node_string(n, "replacement", &s->first);
    s->start = st == ATTN_OK && settings.prepend != ATTN_NEVER;
    s->second = (attn_text){ .bytes = " ", .length = 1 };
    return st;
}

/* The signs of the first piece are not spaces but what was set before the text. */
static void metaspace_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->count; i++) {
        bool is_set = i == 0 && s->start && !in->alone;
        put_replaced(out, &used, attn_pieces_at(in, i), s->first, (attn_text){ .bytes = " ", .length = !is_set });
        end_piece(out, used);
    }
}

/* ---- bytes ---- */

/* Bytes as UTF-8, with U+FFFD for each part that is none. */
static void put_lossy(attn_pieces *out, size_t *used, const char *bytes, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        bool sound = attn_utf8_next(bytes + i, n - i, &length);
        put(out, used, sound ? bytes + i : "\xEF\xBF\xBD", sound ? length : 3);
    }
}

/* The bytes that a piece's letters stand for; a piece with a character that stands for none is its own bytes. */
static size_t letters_to_bytes(attn_text piece, char *bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < piece.length;) {
        uint32_t c;
        i += attn_utf8_get(piece.bytes + i, &c);
        int byte = attn_letter_byte(c);
        if (byte < 0) {
            memcpy(bytes, piece.bytes, piece.length);
            return piece.length;
        }
        bytes[n++] = (char)byte;
    }
    return n;
}

/* A character's bytes may stand in several pieces. */
static void byte_level_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    (void)s;
    size_t used = 0, n = 0, all = in->count > 0 ? in->ends[in->count - 1] : 0;
    char *bytes = out->bytes + 2 * all; /* what is written, at most three bytes for one, does not reach what is still to be read */
    for (size_t i = 0; i < in->count; i++)
        n += letters_to_bytes(attn_pieces_at(in, i), bytes + n);
    put_lossy(out, &used, bytes, n);
    end_piece(out, used);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0xE9>" is a byte; "<0x+9>" too, since the library reads numbers so. -1: it is none. */
static int piece_byte(attn_text piece)
{
    if (piece.length != 6 || memcmp(piece.bytes, "<0x", 3) != 0 || piece.bytes[5] != '>')
        return -1;
    int high = piece.bytes[3] == '+' ? 0 : digit(piece.bytes[3]), low = digit(piece.bytes[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* The bytes in a row that end at `used` are one text, or each of them is U+FFFD. */
static size_t end_bytes(attn_pieces *out, size_t start, size_t used)
{
    size_t n = used - start;
    if (attn_is_utf8(out->bytes + start, n)) {
        if (n > 0)
            end_piece(out, used);
        return used;
    }
    for (used = start; n > 0; n--) {
        put(out, &used, "\xEF\xBF\xBD", 3);
        end_piece(out, used);
    }
    return used;
}

static void byte_fallback_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0, start = 0; /* where the bytes in a row begin */
    (void)s;
    for (size_t i = 0; i < in->count; i++) {
        attn_text piece = attn_pieces_at(in, i);
        int byte = piece_byte(piece);
        if (byte >= 0) {
            out->bytes[used++] = (char)byte;
            continue;
        }
        used = end_bytes(out, start, used);
        put(out, &used, piece.bytes, piece.length);
        end_piece(out, used);
        start = used;
    }
    end_bytes(out, start, used);
}

/* ---- Strip, Fuse ---- */

static attn_status strip_open(attn_decoder_step *s, const attn_node *n)
{
    attn_status st = attn_node_string(n, "content", &s->first);
    if (st == ATTN_OK)
        st = need_pattern(s, n);
    if (st == ATTN_OK)
        st = attn_node_number(n, "start", INT64_MAX, &s->start);
    return st == ATTN_OK ? attn_node_number(n, "stop", INT64_MAX, &s->stop) : st;
}

static void strip_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->count; i++) {
        attn_text text = attn_pieces_at(in, i);
        for (uint64_t k = 0; k < s->start && starts_with(text, s->first); k++)
            text = (attn_text){ .bytes = text.bytes + s->first.length, .length = text.length - s->first.length };
        for (uint64_t k = 0; k < s->stop && ends_with(text, s->first); k++)
            text.length -= s->first.length;
        put(out, &used, text.bytes, text.length);
        end_piece(out, used);
    }
}

static void fuse_run(const attn_decoder_step *s, const attn_pieces *in, attn_pieces *out)
{
    size_t used = 0;
    (void)s;
    put(out, &used, in->bytes, in->count > 0 ? in->ends[in->count - 1] : 0);
    end_piece(out, used);
}

/* ---- all of them ---- */

static const attn_decoder_kind kinds[] = {
    { .type = "WordPiece", .open = wordpiece_open, .run = wordpiece_run, .growth = 1 },
    { .type = "BPEDecoder", .open = bpe_open, .run = bpe_run, .growth = 1 },
    { .type = "ByteLevel", .run = byte_level_run, .growth = 3 },
    { .type = "Metaspace", .open = metaspace_open, .run = metaspace_run, .growth = 1 },
    { .type = "ByteFallback", .run = byte_fallback_run, .growth = 1 },
    { .type = "Replace", .open = replace_open, .run = replace_run, .growth = 1 },
    { .type = "Fuse", .run = fuse_run, .growth = 1 },
    { .type = "Strip", .open = strip_open, .run = strip_run, .growth = 1 },
};

const attn_decoder_kind *attn_decoder_kind_of(attn_text type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (attn_text_is(type, kinds[i].type))
            return &kinds[i];
    return NULL;
}

bool attn_decoder_joins(const attn_decoder_kind *kind)
{
    return kind->run == fuse_run || kind->run == byte_level_run;
}

bool attn_decoder_strips(const attn_decoder_kind *kind)
{
    return kind->run == strip_run;
}

const attn_pieces *attn_decoder_run(const attn_decoder *d, attn_pieces buffers[2])
{
    attn_pieces *in = &buffers[0], *out = &buffers[1];
    for (size_t i = 0; i < d->count; i++) {
        if (in->alone && d->steps[i].whole)
            continue;
        out->count = 0;
        out->alone = in->alone;
        d->steps[i].kind->run(&d->steps[i], in, out);
        attn_pieces *last = in;
        in = out;
        out = last;
    }
    return in;
}
