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

static void check_stack(const attn_model *m, attn_stack stack, attn_stack_shape shape)
{
    must(shape.num_layers >= 1 && shape.num_layers <= ATTN_MAX_LAYERS);
    must(shape.num_attention_heads >= 1 && shape.num_attention_heads % shape.num_key_value_heads == 0);
    must(shape.head_dim >= 1 && shape.head_dim * shape.num_attention_heads <= ATTN_MAX_HIDDEN);
    for (size_t l = 0; m->forms[stack] && l < shape.num_layers; l++) {
        const attn_layer_form *form = &m->forms[stack][l];
        must(form->rules.scale > 0 && (!form->rope || (form->rope->width >= 2 && form->rope->width <= shape.head_dim)));
    }
}

static void check_sizes(const attn_model *m)
{
    const attn_model_info *i = &m->info;
    check_stack(m, ATTN_STACK_SELF, (attn_stack_shape){ i->num_hidden_layers, i->num_attention_heads, i->num_key_value_heads, i->head_dim });
    for (attn_stack s = ATTN_STACK_DECODER; s < ATTN_STACKS && i->num_decoder_layers > 0; s++) {
        must(m->shapes[s].num_layers == i->num_decoder_layers && m->forms[s]);
        check_stack(m, s, m->shapes[s]);
    }
    must(i->vocab_size >= 1 && i->max_tokens >= 1 && i->hidden_size >= 1);
    must(m->norm_eps > 0 && m->act != ATTN_ACT_NONE);
}

static void configure(attn_config *c, attn_error *err)
{
    const char *type = attn_config_text(c, "model_type"), *architecture = attn_config_text(c, "architectures");
    attn_model m = { .family = type ? attn_family_find(type) : NULL };
    const char **rest = NULL;
    size_t count = 0;
    if (!m.family)
        return;
    m.architecture = attn_strdup(architecture ? architecture : m.family->default_architecture);
    must(m.architecture);
    m.family->configure(&m, c);
    if (c->status == ATTN_OK)
        check_sizes(&m);
    else
        must(err->code == c->status && strncmp(err->where, "c: ", 3) == 0 && err->text[0]);
    if (attn_config_rest(c, &rest, &count, NULL) == ATTN_OK)
        for (size_t i = 0; i <= count; i++)
            must((rest[i] == NULL) == (i == count));
    attn_free(rest);
    attn_free(m.architecture);
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
