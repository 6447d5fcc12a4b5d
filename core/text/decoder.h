/* decoder.h - /decoder of a tokenizer.json as a list of steps, each of which makes pieces of pieces. decoder.c reads it and makes what a person reads of each
 * piece; decoder_steps.c is what the steps do, decode.c the text of many ids.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DECODER_H
#define DECODER_H

#include "text/pipeline.h"

/* Pieces one behind the other: piece i ends where ends[i] says, and begins where the one before ends. */
typedef struct attn_pieces {
    char *bytes;
    size_t *ends;
    size_t count;
    bool alone; /* one piece from the middle of a text, for a person to read: nothing is set before it or behind it */
} attn_pieces;

static inline attn_text attn_pieces_at(const attn_pieces *p, size_t i)
{
    size_t start = i > 0 ? p->ends[i - 1] : 0;
    return (attn_text){ .bytes = p->bytes + start, .length = p->ends[i] - start };
}

typedef struct attn_decoder_step attn_decoder_step;
typedef struct attn_decoder_kind {
    const char *type;
    attn_status (*open)(attn_decoder_step *, const attn_node *); /* NULL: it has no settings */
    /* Makes no more pieces than there are, and no more bytes than the step's growth times those there are and one for each piece. */
    void (*run)(const attn_decoder_step *, const attn_pieces *in, attn_pieces *out);
    size_t growth;
} attn_decoder_kind;
struct attn_decoder_step {
    const attn_decoder_kind *kind;
    size_t growth;
    bool whole; /* it sees the text as one piece: what it does to that one's ends says nothing about a piece */
    /* The kind's own: */
    attn_text first, second;
    uint64_t start, stop;
    bool cleanup;
};

enum { ATTN_DECODER_STEPS = 16 };
struct attn_decoder {
    attn_decoder_step steps[ATTN_DECODER_STEPS];
    size_t count, growth; /* of all together */
    bool fuses;           /* there is but one piece left by now */
};

/* The kind of this type, or NULL. */
const attn_decoder_kind *attn_decoder_kind_of(attn_text type);
/* What a file without /decoder has: pieces with spaces between them. */
extern const attn_decoder_kind attn_decoder_spaces;
/* Does it make one piece of all? Does it take something off the ends of each? */
bool attn_decoder_joins(const attn_decoder_kind *);
bool attn_decoder_strips(const attn_decoder_kind *);
/* Bytes that each of two buffers needs for n pieces of so many bytes together. */
static inline uint64_t attn_decoder_room(const attn_decoder *d, uint64_t bytes, uint64_t n)
{
    return attn_times(attn_plus(bytes, attn_times(n, d->count)), d->growth);
}
/* Runs the steps, but with `alone` those of whole texts, from buffers[0] on by turns; returns the one that holds the result. */
const attn_pieces *attn_decoder_run(const attn_decoder *, attn_pieces buffers[2]);

#endif
