/* fuzz_config.c - whatever config.json holds, the family it names refuses it by key or comes out with sizes that fit one another.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "model/family.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool claim)
{
    if (!claim)
        abort();
}

static void check_sizes(const attn_model_info *i, const attn_model *m)
{
    must(i->num_hidden_layers >= 1 && i->num_hidden_layers <= ATTN_MAX_LAYERS);
    must(i->num_attention_heads >= 1 && i->num_attention_heads % i->num_key_value_heads == 0);
    must(i->head_dim >= 1 && i->head_dim * i->num_attention_heads <= ATTN_MAX_HIDDEN);
    must(i->vocab_size >= 1 && i->max_tokens >= 1 && i->hidden_size >= 1);
    must(m->norm_eps > 0 && m->act != ATTN_ACT_NONE);
    const attn_layer_form *forms = m->forms[ATTN_STACK_SELF];
    for (size_t l = 0; forms && l < i->num_hidden_layers; l++)
        must(forms[l].rules.scale > 0 && (!forms[l].rope || (forms[l].rope->width >= 2 && forms[l].rope->width <= i->head_dim)));
}

static void configure(attn_config *c, attn_error *err)
{
    const char *type = attn_config_text(c, "model_type");
    attn_model m = { .family = type ? attn_family_find(type) : NULL };
    const char **rest = NULL;
    size_t count = 0;
    if (!m.family)
        return;
    m.family->configure(&m, c);
    if (c->status == ATTN_OK)
        check_sizes(&m.info, &m);
    else
        must(err->code == c->status && strncmp(err->where, "c: ", 3) == 0 && err->text[0]);
    if (attn_config_rest(c, &rest, &count, NULL) == ATTN_OK)
        for (size_t i = 0; i < count; i++)
            must(strcmp(rest[i], "hidden_size") != 0);
    attn_free(rest);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        attn_free(m.forms[s]);
    for (size_t r = 0; r < ATTN_MODEL_ROPES; r++)
        attn_free(m.ropes[r].pair_factor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attn_error err = { 0 };
    attn_config c;
    if (attn_config_open(&c, (const char *)data, size, "c", &err) == ATTN_OK) {
        configure(&c, &err);
        attn_config_close(&c);
    } else {
        must(err.code != ATTN_OK && err.where[0] == 'c');
    }
    return 0;
}
