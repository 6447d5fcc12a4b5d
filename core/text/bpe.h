/* bpe.h - byte pair encoding: pairs of pieces that merge into one, the best ranked first.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BPE_H
#define BPE_H

#include "text/pipeline.h"

typedef struct attn_merge {
    uint64_t pair; /* left id << 32 | right id; ATTN_NO_PAIR: an empty slot */
    uint32_t rank;
    int32_t id; /* of the merged piece */
} attn_merge;
#define ATTN_NO_PAIR UINT64_MAX

enum { ATTN_BPE_NEIGHBOUR_BITS = 18 }; /* of a hash */
enum { ATTN_BPE_DIRECT = 0x180 };      /* code points whose pieces are looked up by number: ASCII, Latin, and the letters of ByteLevel */

struct attn_bpe {
    attn_merge *merges;
    unsigned shift; /* 64 - log2 of the slots */
    attn_text prefix, suffix;
    attn_text unknown_name; /* bytes NULL: characters without a piece are dropped */
    int32_t unknown;        /* -1: the vocabulary has no such piece */
    bool fuse_unknown, ignore_merges;
    int32_t byte_pieces[256]; /* <0x0A>; -1: not in the vocabulary */
    int32_t direct[ATTN_BPE_DIRECT];
    bool cuts; /* long words are cut where no merge can reach across */
    /* A bit for each two code points, hashed, that stand side by side within a merged piece; a few bits too many do no harm. */
    uint64_t neighbours[((size_t)1 << ATTN_BPE_NEIGHBOUR_BITS) / 64];
};

/* A piece of the word being merged. */
typedef struct attn_symbol {
    int32_t id;
    uint32_t length;         /* bytes */
    uint32_t rank;           /* of the merge with the next symbol; ATTN_NO_RANK: they do not merge */
    int32_t merged;          /* and the piece they become */
    uint32_t next, previous; /* in long words: ATTN_NO_SYMBOL at the ends */
} attn_symbol;
#define ATTN_NO_RANK   UINT32_MAX
#define ATTN_NO_SYMBOL UINT32_MAX

static inline size_t attn_merge_slot(uint64_t pair, unsigned shift)
{
    return (size_t)((pair ^ pair >> 32) * 0x9E3779B97F4A7C15u >> shift);
}

/* Sets rank and merged for a symbol and the one that follows it. */
static inline void attn_symbol_look_up(attn_symbol *left, const attn_symbol *right, const attn_bpe *bpe)
{
    uint64_t pair = (uint64_t)(uint32_t)left->id << 32 | (uint32_t)right->id;
    size_t mask = ((size_t)1 << (64 - bpe->shift)) - 1, i = attn_merge_slot(pair, bpe->shift);
    while (bpe->merges[i].pair != pair && bpe->merges[i].pair != ATTN_NO_PAIR)
        i = (i + 1) & mask;
    left->rank = bpe->merges[i].rank; /* ATTN_NO_RANK in an empty slot */
    left->merged = bpe->merges[i].id;
}

/* Merges what can be merged; `queue` has room for twice the count where the word is long. Returns how many symbols are left, at the front in order. */
enum { ATTN_SHORT_WORD = 64 }; /* symbols */
size_t attn_merge_short(const attn_bpe *, attn_symbol *symbols, size_t count);
ATTN_MUST_CHECK attn_status attn_merge_long(const attn_bpe *, attn_encoder *, attn_symbol *symbols, uint64_t *queue, size_t *count);

#endif
