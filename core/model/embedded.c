/* embedded.c - the table of the models inside the program. Their bytes are in core/builtin/builtin.S.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_model.h"
#include "model/source.h"

#define EMBEDDED(symbol)                                                                                                                                       \
    extern const uint8_t attn_builtin_##symbol[] __attribute__((visibility("hidden"))), attn_builtin_##symbol##_end[] __attribute__((visibility("hidden")))
EMBEDDED(bert_config);
EMBEDDED(bert_tokenizer);
EMBEDDED(bert_weights);

static const attn_embedded_file bert_files[] = {
    { "config.json", attn_builtin_bert_config, attn_builtin_bert_config_end },
    { "tokenizer.json", attn_builtin_bert_tokenizer, attn_builtin_bert_tokenizer_end },
    { "model.safetensors", attn_builtin_bert_weights, attn_builtin_bert_weights_end },
    { NULL, NULL, NULL },
};

static const attn_embedded_model models[] = {
    { "attnd-bert", bert_files },
    { NULL, NULL },
};

static const char *const names[] = { "attnd-bert", NULL };
_Static_assert(sizeof names / sizeof *names == sizeof models / sizeof *models, "every model has its name listed");

const attn_embedded_model *attn_embedded_models(void)
{
    return models;
}

const char *const *attn_builtin_models(void)
{
    return names;
}
