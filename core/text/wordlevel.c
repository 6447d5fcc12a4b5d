/* wordlevel.c - WordLevel: a word is one piece, or it is unknown.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

static attn_status wordlevel_open(attn_tokenizer *t, const attn_node *n)
{
    attn_text unknown = { .length = 0 };
    attn_status st = attn_node_string(n, "unk_token", &unknown);
    if (st != ATTN_OK)
        return st;
    t->settings.unknown = attn_vocabulary_id(&t->vocabulary, unknown);
    attn_node member = attn_node_member(n, "unk_token");
    return t->settings.unknown >= 0 ? ATTN_OK : attn_node_fail(&member, ATTN_E_FORMAT, "not a piece of the vocabulary");
}

static attn_status wordlevel_run(attn_encoder *e, const attn_stretch *word)
{
    int32_t id = attn_vocabulary_id(&e->tokenizer->vocabulary, (attn_text){ .bytes = word->bytes, .length = word->length });
    attn_status st = attn_encoder_handled(e, word->length);
    if (st != ATTN_OK)
        return st;
    return attn_encoder_emit(e, id >= 0 ? id : e->tokenizer->settings.unknown, word->at[0], word->at[word->length - 1] + 1, (attn_text){ .length = 0 });
}

const attn_model_kind attn_wordlevel_model = { .type = "WordLevel", .open = wordlevel_open, .run = wordlevel_run };
