/* post_processor.c - cutting to a length, and setting tokens into a template with special ones.
 *
 * All post-processors of a file together become two templates, for one text and for a pair: slots that are either a special token or all tokens of a
 * text; and whether offsets are trimmed. More than one of a sequence with a template, or that trims, is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <string.h>

/* ---- reading ---- */

static attn_status add_slot(attn_template *t, attn_slot slot, const attn_node *n)
{
    if (t->count == ATTN_TEMPLATE_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "more than %d tokens", ATTN_TEMPLATE_MAX);
    t->slots[t->count++] = slot;
    t->special += slot.id >= 0;
    return ATTN_OK;
}

static size_t repeats(const attn_template *t, int32_t which)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++)
        n += t->slots[i].id == which;
    return n;
}

static size_t most_repeats(const attn_post_processor *p)
{
    const size_t counts[] = { repeats(&p->single, ATTN_SLOT_A), repeats(&p->pair, ATTN_SLOT_A), repeats(&p->pair, ATTN_SLOT_B) };
    size_t most = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        most = counts[i] > most ? counts[i] : most;
    return most;
}

/* A special token's slot; the id must be one of the vocabulary, for a model will look it up. */
static attn_status add_special(attn_tokenizer *t, attn_template *into, const attn_node *id, const attn_node *text, uint64_t type_id)
{
    uint64_t value;
    attn_status st = attn_node_integer(id, t->vocabulary.size - 1, &value);
    if (st == ATTN_OK)
        st = attn_node_need(text, JSON_STRING);
    if (st != ATTN_OK)
        return st;
    attn_text piece = attn_node_text(text);
    piece.bytes = attn_arena_copy(t->memory, piece.bytes, piece.length);
    if (!piece.bytes)
        return attn_fail_memory(id->err);
    return add_slot(into, (attn_slot){ .id = (int32_t)value, .type_id = (int32_t)type_id, .text = piece }, id);
}

/* One SpecialToken of a template: what /special_tokens has under its name, one or more ids. */
static attn_status add_named(attn_tokenizer *t, attn_template *into, const attn_node *specials, const attn_node *item, uint64_t type_id)
{
    attn_text name;
    attn_status st = attn_node_string(item, "id", &name);
    if (st != ATTN_OK)
        return st;
    attn_node entry = attn_node_member(specials, name.bytes);
    if (!entry.value || strlen(name.bytes) != name.length)
        return attn_node_fail(item, ATTN_E_FORMAT, "special_tokens has no such token");
    attn_node ids = attn_node_member(&entry, "ids"), tokens = attn_node_member(&entry, "tokens");
    st = attn_node_need(&entry, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_need(&ids, JSON_ARRAY);
    if (st == ATTN_OK)
        st = attn_node_need(&tokens, JSON_ARRAY);
    if (st == ATTN_OK && json_array_size(ids.value) != json_array_size(tokens.value))
        st = attn_node_fail(&entry, ATTN_E_FORMAT, "as many ids as tokens, please");
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(ids.value); i++) {
        attn_node id = attn_node_item(&ids, i), text = attn_node_item(&tokens, i);
        st = add_special(t, into, &id, &text, type_id);
    }
    return st;
}

static attn_status add_sequence(attn_template *into, const attn_node *item, uint64_t type_id)
{
    attn_text name;
    attn_status st = attn_node_string(item, "id", &name);
    if (st != ATTN_OK)
        return st;
    if (!attn_text_is(name, "A") && !attn_text_is(name, "B"))
        return attn_node_fail(item, ATTN_E_FORMAT, "a sequence is \"A\" or \"B\"");
    return add_slot(into, (attn_slot){ .id = name.bytes[0] == 'A' ? ATTN_SLOT_A : ATTN_SLOT_B, .type_id = (int32_t)type_id }, item);
}

static attn_status read_item(attn_tokenizer *t, attn_template *into, const attn_node *specials, const attn_node *item)
{
    uint64_t type_id = 0;
    attn_node special = attn_node_member(item, "SpecialToken"), sequence = attn_node_member(item, "Sequence");
    const attn_node *which = special.value ? &special : &sequence;
    if (!which->value)
        return attn_node_fail(item, ATTN_E_FORMAT, "neither SpecialToken nor Sequence");
    attn_status st = attn_node_need(which, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_number(which, "type_id", INT32_MAX, &type_id);
    if (st != ATTN_OK)
        return st;
    return special.value ? add_named(t, into, specials, which, type_id) : add_sequence(into, which, type_id);
}

static attn_status read_template(attn_tokenizer *t, attn_template *into, const attn_node *n, const char *key)
{
    attn_node list = attn_node_member(n, key), specials = attn_node_member(n, "special_tokens");
    attn_status st = attn_node_need(&list, JSON_ARRAY);
    if (st == ATTN_OK)
        st = attn_node_need(&specials, JSON_OBJECT);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list.value); i++) {
        attn_node item = attn_node_item(&list, i);
        st = read_item(t, into, &specials, &item);
    }
    return st;
}

static attn_status template_open(attn_tokenizer *t, const attn_node *n)
{
    attn_status st = read_template(t, &t->post_processor.single, n, "single");
    if (st == ATTN_OK)
        st = read_template(t, &t->post_processor.pair, n, "pair");
    for (size_t i = 0; st == ATTN_OK && i < t->post_processor.single.count; i++)
        if (t->post_processor.single.slots[i].id == ATTN_SLOT_B)
            st = attn_node_fail(n, ATTN_E_FORMAT, "sequence B in the template of one text");
    return st;
}

/* `spec` lists slots: c and s are the special tokens, A and B the texts, each followed by its type id. */
static attn_status fill(attn_tokenizer *t, attn_template *into, const attn_node *n, const char *spec)
{
    attn_status st = ATTN_OK;
    for (; st == ATTN_OK && *spec; spec += 2) {
        uint64_t type_id = (uint64_t)(spec[1] - '0');
        if (*spec == 'A' || *spec == 'B') {
            st = add_slot(into, (attn_slot){ .id = *spec == 'A' ? ATTN_SLOT_A : ATTN_SLOT_B, .type_id = (int32_t)type_id }, n);
            continue;
        }
        attn_node pair = attn_node_member(n, *spec == 'c' ? "cls" : "sep");
        st = attn_node_need(&pair, JSON_ARRAY);
        if (st == ATTN_OK && json_array_size(pair.value) != 2)
            st = attn_node_fail(&pair, ATTN_E_FORMAT, "must be a token and its id");
        attn_node text = attn_node_item(&pair, 0), id = attn_node_item(&pair, 1);
        if (st == ATTN_OK)
            st = add_special(t, into, &id, &text, type_id);
    }
    return st;
}

static attn_status bert_open(attn_tokenizer *t, const attn_node *n)
{
    attn_status st = fill(t, &t->post_processor.single, n, "c0A0s0");
    return st == ATTN_OK ? fill(t, &t->post_processor.pair, n, "c0A0s0B1s1") : st;
}

static attn_status read_trimming(attn_tokenizer *t, const attn_node *n)
{
    attn_post_processor *p = &t->post_processor;
    bool trim = false, space = false;
    attn_status st = attn_node_bool(n, "trim_offsets", &trim);
    if (st == ATTN_OK)
        st = attn_node_bool(n, "add_prefix_space", &space);
    if (st == ATTN_OK && trim && p->trim_offsets)
        st = attn_node_fail(n, ATTN_E_UNSUPPORTED, "offsets are trimmed already");
    if (st == ATTN_OK && trim) {
        p->trim_offsets = true;
        p->add_prefix_space = space;
    }
    return st;
}

static attn_status roberta_open(attn_tokenizer *t, const attn_node *n)
{
    attn_status st = read_trimming(t, n);
    if (st == ATTN_OK)
        st = fill(t, &t->post_processor.single, n, "c0A0s0");
    return st == ATTN_OK ? fill(t, &t->post_processor.pair, n, "c0A0s0s0B0s0") : st;
}

static const struct {
    const char *type;
    attn_status (*open)(attn_tokenizer *, const attn_node *);
    bool is_template;
} kinds[] = { { "TemplateProcessing", template_open, true },
              { "BertProcessing", bert_open, true },
              { "RobertaProcessing", roberta_open, true },
              { "ByteLevel", read_trimming, false } };

enum { DEPTH_MAX = 8 };

static attn_status open_one(attn_tokenizer *t, const attn_node *n, attn_text type, bool *placed)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (attn_text_is(type, kinds[i].type)) {
            if (kinds[i].is_template && *placed)
                return attn_node_fail(n, ATTN_E_UNSUPPORTED, "there is a template already");
            *placed |= kinds[i].is_template;
            return kinds[i].open(t, n);
        }
    return attn_node_unknown(n, "type ", type);
}

static attn_status open_all(attn_tokenizer *t, const attn_node *n, bool *placed, int depth)
{
    attn_text type = { .length = 0 };
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK || !attn_text_is(type, "Sequence"))
        return st == ATTN_OK ? open_one(t, n, type, placed) : st;
    if (depth == DEPTH_MAX)
        return attn_node_fail(n, ATTN_E_UNSUPPORTED, "sequences more than %d deep", DEPTH_MAX);
    attn_node list = attn_node_member(n, "processors");
    st = attn_node_need(&list, JSON_ARRAY);
    for (size_t i = 0; st == ATTN_OK && i < json_array_size(list.value); i++) {
        attn_node item = attn_node_item(&list, i);
        st = open_all(t, &item, placed, depth + 1);
    }
    return st;
}

attn_status attn_post_processor_open(attn_tokenizer *t, const attn_node *n)
{
    bool placed = false;
    attn_slot *slots = attn_arena_take(t->memory, 2 * ATTN_TEMPLATE_MAX, sizeof *slots);
    if (!slots)
        return attn_fail_memory(n->err);
    t->post_processor.single.slots = slots;
    t->post_processor.pair.slots = slots + ATTN_TEMPLATE_MAX;
    attn_status st = n->value ? open_all(t, n, &placed, 0) : ATTN_OK;
    if (st == ATTN_OK && !placed)
        st = fill(t, &t->post_processor.single, n, "A0");
    if (st == ATTN_OK && !placed)
        st = fill(t, &t->post_processor.pair, n, "A0B1");
    t->post_processor.repeats = most_repeats(&t->post_processor);
    return st;
}

/* ---- using ---- */

size_t attn_tokenizer_closing(const attn_tokenizer *t)
{
    const attn_template *single = &t->post_processor.single;
    size_t n = 0;
    while (n < single->count && single->slots[single->count - 1 - n].id >= 0)
        n++;
    return n;
}

/* How many tokens of each text stay, when both together may be `most`: the longer is cut down to the shorter first, then both alike. */
static void cut(size_t keep[2], size_t most, bool pair)
{
    if (keep[0] + keep[1] <= most)
        return;
    if (!pair) {
        keep[0] = most;
        return;
    }
    size_t *shorter = &keep[keep[0] > keep[1]], *longer = &keep[keep[0] <= keep[1]];
    if (*shorter <= most && most - *shorter >= *shorter) {
        *longer = most - *shorter;
    } else {
        *shorter = most / 2;
        *longer = most - most / 2;
    }
}

/* Spaces at the ends of a piece do not count: trim_offsets of RobertaProcessing and ByteLevel. A byte-level piece writes a space as U+0120. */
static void trim(attn_token *token, bool first, bool add_prefix_space)
{
    const char *s = token->text.bytes, *end = s + token->text.length;
    uint32_t c, before = 0, after = 0;
    for (const char *p = s; p < end; before++) {
        p += attn_utf8_get(p, &c);
        if (c != 0x120 && !attn_is_white(c))
            break;
    }
    for (const char *p = end; p > s; after++) {
        p -= attn_utf8_back(s, p);
        attn_utf8_get(p, &c);
        if (c != 0x120 && !attn_is_white(c))
            break;
    }
    if (before == 1 && add_prefix_space && (first || token->start == 0))
        before = 0; /* it was put there */
    if (before > 0)
        token->start = token->end - token->start < before ? token->end : token->start + before;
    if (after > 0 && token->end >= after)
        token->end = token->end - token->start < after ? token->start : token->end - after;
}

static attn_status write_sequence(attn_encoder *e, const attn_found_list *list, size_t keep, const attn_slot *slot, attn_encoding *out)
{
    const attn_post_processor *p = &e->tokenizer->post_processor;
    attn_status st = ATTN_OK;
    size_t done = 0;
    for (const attn_found_block *b = list->first; b && done < keep && st == ATTN_OK; b = b->next) {
        st = attn_encoder_handled(e, b->count);
        for (size_t i = 0; i < b->count && done < keep; i++, done++) {
            const attn_found *f = &b->items[i];
            const attn_piece *piece = &e->tokenizer->vocabulary.pieces[f->id];
            attn_token *token = &out->tokens[out->count++];
            *token = (attn_token){ .id = f->id, .type_id = slot->type_id, .start = f->start, .end = f->end, .sequence = slot->id == ATTN_SLOT_B };
            token->text = f->text.bytes ? f->text : piece->text;
            token->display = f->text.bytes ? f->text : piece->display;
            if (p->trim_offsets)
                trim(token, done == 0, p->add_prefix_space);
        }
    }
    return st;
}

static size_t count_tokens(const attn_template *t, const size_t lengths[2], bool special)
{
    size_t n = special ? t->special : 0;
    for (size_t i = 0; i < t->count; i++)
        if (t->slots[i].id < 0)
            n += lengths[t->slots[i].id == ATTN_SLOT_B];
    return n;
}

attn_status attn_post_process(attn_encoder *e, attn_found_list *const lists[2], const attn_encode_options *options, attn_encoding *out)
{
    const attn_template *t = lists[1] ? &e->tokenizer->post_processor.pair : &e->tokenizer->post_processor.single;
    size_t keep[2] = { lists[0]->count, lists[1] ? lists[1]->count : 0 };
    size_t special = options->add_special_tokens ? t->special : 0;
    out->full_count = count_tokens(t, keep, options->add_special_tokens);
    if (options->max_length > 0 && out->full_count > options->max_length)
        cut(keep, options->max_length > special ? options->max_length - special : 0, lists[1] != NULL);
    size_t count = count_tokens(t, keep, options->add_special_tokens);
    out->truncated = count < out->full_count;
    out->tokens = attn_arena_take(e->arena, count, sizeof *out->tokens);
    if (!out->tokens)
        return attn_fail_memory(e->err);
    attn_status st = ATTN_OK;
    for (size_t i = 0; i < t->count && st == ATTN_OK; i++) {
        const attn_slot *slot = &t->slots[i];
        if (slot->id < 0)
            st = write_sequence(e, lists[slot->id == ATTN_SLOT_B], keep[slot->id == ATTN_SLOT_B], slot, out);
        else if (options->add_special_tokens)
            out->tokens[out->count++] = (attn_token){ .id = slot->id, .type_id = slot->type_id, .special = true, .text = slot->text, .display = slot->text };
    }
    return st;
}
