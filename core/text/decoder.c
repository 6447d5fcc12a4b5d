/* decoder.c - how a piece reads to a person. Decoding whole texts is nobody's business here, so of a decoder only its effect on one piece matters.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

#include <string.h>

/* "##ing" reads "ing"; a prefix alone stays. */
static void take_prefix_off(attn_vocabulary *v, const char *prefix, size_t n)
{
    for (size_t i = 0; i < v->size; i++) {
        attn_piece *piece = &v->pieces[i];
        if (n > 0 && piece->text.length > n && memcmp(piece->text.bytes, prefix, n) == 0)
            piece->display = (attn_text){ .bytes = piece->text.bytes + n, .length = piece->text.length - n };
    }
}

attn_status attn_decoder_open(attn_tokenizer *t, const attn_node *n)
{
    attn_text type = { .length = 0 }, prefix = { .length = 0 };
    if (!n->value)
        return ATTN_OK;
    attn_status st = attn_node_need(n, JSON_OBJECT);
    if (st == ATTN_OK)
        st = attn_node_string(n, "type", &type);
    if (st != ATTN_OK)
        return st;
    if (!attn_text_is(type, "WordPiece"))
        return attn_node_unknown(n, "type ", type);
    st = attn_node_string(n, "prefix", &prefix);
    if (st == ATTN_OK)
        take_prefix_off(&t->vocabulary, prefix.bytes, prefix.length);
    return st;
}
