/* vocabulary.h - pieces by id, and ids by piece.
 *
 * Pieces lie one behind the other in one block. The hash table holds ids only and compares with that block; its hash is one that grows byte by byte,
 * so that all beginnings of a word are hashed in one go, and a continuing piece ("##ing") is looked up without writing its prefix anywhere.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef VOCABULARY_H
#define VOCABULARY_H

#include "attn_base.h"
#include "attn_tokenizer.h"
#include "text/text_json.h"

typedef struct attn_piece {
    attn_text text; /* bytes NULL: no piece has this id */
    attn_text display;
    bool special;
    bool whole; /* BPE: this word is this one piece */
} attn_piece;

typedef struct attn_slot_hash {
    uint32_t tag; /* upper half of the hash */
    int32_t id;   /* -1: empty */
} attn_slot_hash;

typedef struct attn_vocabulary {
    attn_piece *pieces;
    size_t size;     /* largest id + 1 */
    size_t capacity; /* of `pieces` */
    size_t count;    /* pieces of the model: what added tokens are numbered from */
    attn_slot_hash *table;
    size_t mask; /* slots - 1 */
} attn_vocabulary;

#define ATTN_HASH_START 0xCBF29CE484222325u
static inline uint64_t attn_hash_byte(uint64_t h, char byte)
{
    return (h ^ (unsigned char)byte) * 0x9E3779B97F4A7C15u;
}
uint64_t attn_hash_bytes(uint64_t h, const char *bytes, size_t n);

/* Reads a vocabulary object; `room` more pieces can be added. */
ATTN_MUST_CHECK attn_status attn_vocabulary_open(attn_vocabulary *, const attn_node *object, size_t room, attn_arena *memory);
/* Reads a list of [piece, score]: a piece's id is its place. Of two that are equal, the last is found. */
ATTN_MUST_CHECK attn_status attn_vocabulary_open_pairs(attn_vocabulary *, const attn_node *list, size_t room, attn_arena *memory);
/* Gives an id its piece. False when the id has another already. */
bool attn_vocabulary_add(attn_vocabulary *, int32_t id, attn_text text);

/* The id of the model's piece that is `skip` bytes, then these, then `tail` bytes (all in the hash); -1: there is none. */
static inline int32_t attn_vocabulary_find_within(const attn_vocabulary *v, uint64_t hash, size_t skip, const char *bytes, size_t n, size_t tail)
{
    uint64_t mixed = hash ^ hash >> 29;
    uint32_t tag = (uint32_t)(mixed >> 32);
    for (size_t i = (size_t)mixed & v->mask;; i = (i + 1) & v->mask) {
        const attn_slot_hash *slot = &v->table[i];
        if (slot->id < 0)
            return -1;
        if (slot->tag != tag)
            continue;
        attn_text text = v->pieces[slot->id].text;
        if (text.length == skip + n + tail && __builtin_memcmp(text.bytes + skip, bytes, n) == 0)
            return slot->id;
    }
}
static inline int32_t attn_vocabulary_find(const attn_vocabulary *v, uint64_t hash, size_t skip, const char *bytes, size_t n)
{
    return attn_vocabulary_find_within(v, hash, skip, bytes, n, 0);
}
int32_t attn_vocabulary_id(const attn_vocabulary *, attn_text piece);

#endif
