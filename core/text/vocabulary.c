/* vocabulary.c - pieces by id, and ids by piece. See vocabulary.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/vocabulary.h"

#include <string.h>

/* Ids may have gaps, but a small file must not ask for a large table. */
enum { GAPS_PER_PIECE = 16, GAPS_ANYWAY = 65536 };

uint64_t attn_hash_bytes(uint64_t h, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = attn_hash_byte(h, bytes[i]);
    return h;
}

int32_t attn_vocabulary_id(const attn_vocabulary *v, attn_text piece)
{
    return attn_vocabulary_find(v, attn_hash_bytes(ATTN_HASH_START, piece.bytes, piece.length), 0, piece.bytes, piece.length);
}

/* Checks every id and counts what there is to store. */
static attn_status measure(const attn_node *object, size_t *size, size_t *bytes)
{
    const char *key;
    json_t *value;
    size_t key_length;
    uint64_t most = (uint64_t)json_object_size(object->value) * GAPS_PER_PIECE + GAPS_ANYWAY;
    json_object_keylen_foreach(object->value, key, key_length, value)
    {
        attn_node n = { .value = value, .up = object, .key = key, .name = object->name, .err = object->err };
        uint64_t id;
        attn_status st = attn_node_integer(&n, most < INT32_MAX - 1 ? most : INT32_MAX - 1, &id);
        if (st != ATTN_OK)
            return st;
        if (id >= *size)
            *size = (size_t)id + 1;
        *bytes += key_length;
    }
    return ATTN_OK;
}

static attn_status allocate(attn_vocabulary *v, size_t room, attn_arena *memory)
{
    size_t slots = 16;
    while (slots < 2 * v->count)
        slots *= 2;
    v->mask = slots - 1;
    v->capacity = (v->size > v->count ? v->size : v->count) + room;
    v->pieces = attn_arena_zero(memory, v->capacity, sizeof *v->pieces);
    v->table = attn_arena_take(memory, slots, sizeof *v->table);
    if (!v->pieces || !v->table)
        return ATTN_E_NOMEM;
    for (size_t i = 0; i < slots; i++)
        v->table[i] = (attn_slot_hash){ .id = -1 };
    return ATTN_OK;
}

static void insert(attn_vocabulary *v, int32_t id)
{
    attn_text text = v->pieces[id].text;
    uint64_t hash = attn_hash_bytes(ATTN_HASH_START, text.bytes, text.length);
    uint64_t mixed = hash ^ hash >> 29;
    size_t i = (size_t)mixed & v->mask;
    while (v->table[i].id >= 0)
        i = (i + 1) & v->mask;
    v->table[i] = (attn_slot_hash){ .tag = (uint32_t)(mixed >> 32), .id = id };
}

bool attn_vocabulary_add(attn_vocabulary *v, int32_t id, attn_text text)
{
    attn_piece *piece = &v->pieces[id];
    if (piece->text.bytes)
        return false;
    piece->text = piece->display = text;
    if ((size_t)id >= v->size)
        v->size = (size_t)id + 1;
    return true;
}

attn_status attn_vocabulary_open(attn_vocabulary *v, const attn_node *object, size_t room, attn_arena *memory)
{
    size_t bytes = 0;
    attn_status st = attn_node_need(object, JSON_OBJECT);
    if (st == ATTN_OK)
        st = measure(object, &v->size, &bytes);
    if (st != ATTN_OK)
        return st;
    v->count = json_object_size(object->value);
    char *block = attn_arena_take(memory, bytes, 1);
    if (!block || allocate(v, room, memory) != ATTN_OK)
        return attn_fail_memory(object->err);
    const char *key;
    json_t *value;
    size_t n;
    json_object_keylen_foreach(object->value, key, n, value)
    {
        int32_t id = (int32_t)json_integer_value(value);
        memcpy(block, key, n);
        if (!attn_vocabulary_add(v, id, (attn_text){ .bytes = block, .length = n })) {
            attn_node at = { .value = value, .up = object, .key = key, .name = object->name, .err = object->err };
            return attn_node_fail(&at, ATTN_E_FORMAT, "id %d is given twice", id);
        }
        insert(v, id);
        block += n;
    }
    return ATTN_OK;
}

/* The piece of a pair. */
static attn_status read_pair(const attn_node *list, size_t i, attn_text *out)
{
    attn_node pair = attn_node_item(list, i);
    attn_status st = attn_node_need(&pair, JSON_ARRAY);
    if (st == ATTN_OK && json_array_size(pair.value) != 2)
        st = attn_node_fail(&pair, ATTN_E_FORMAT, "must be a piece and its score");
    attn_node piece = attn_node_item(&pair, 0);
    if (st == ATTN_OK)
        st = attn_node_need(&piece, JSON_STRING);
    if (st == ATTN_OK)
        *out = attn_node_text(&piece);
    return st;
}

attn_status attn_vocabulary_open_pairs(attn_vocabulary *v, const attn_node *list, size_t room, attn_arena *memory)
{
    size_t bytes = 0;
    attn_text text = { .length = 0 };
    attn_status st = attn_node_need(list, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list->value); i++, bytes += text.length)
        st = read_pair(list, i, &text);
    if (st == ATTN_OK && json_array_size(list->value) > INT32_MAX / 2)
        st = attn_node_fail(list, ATTN_E_UNSUPPORTED, "too many pieces");
    if (st != ATTN_OK)
        return st;
    v->size = v->count = json_array_size(list->value);
    char *block = attn_arena_take(memory, bytes, 1);
    if (!block || allocate(v, room, memory) != ATTN_OK)
        return attn_fail_memory(list->err);
    for (size_t i = 0; st == ATTN_OK && i < v->count; i++, block += text.length) {
        st = read_pair(list, i, &text);
        memcpy(block, text.bytes, text.length);
        text.bytes = block;
        attn_vocabulary_add(v, (int32_t)i, text);
    }
    for (size_t i = v->count; i > 0; i--)
        insert(v, (int32_t)i - 1);
    return st;
}
