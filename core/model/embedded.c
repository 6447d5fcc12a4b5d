/* embedded.c - the table of the models inside the program. Their bytes are in core/builtin/builtin.S.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_model.h"
#include "model/source.h"

#define EMBEDDED(symbol)                                                                                                                                       \
    extern const uint8_t attn_builtin_##symbol[] __attribute__((visibility("hidden"))), attn_builtin_##symbol##_end[] __attribute__((visibility("hidden")))
#define MODEL(symbol)                                                                                                                                          \
    EMBEDDED(symbol##_config);                                                                                                                                 \
    EMBEDDED(symbol##_tokenizer);                                                                                                                              \
    EMBEDDED(symbol##_weights);                                                                                                                                \
    static const attn_embedded_file symbol##_files[] = {                                                                                                       \
        { "config.json", attn_builtin_##symbol##_config, attn_builtin_##symbol##_config_end },                                                                 \
        { "tokenizer.json", attn_builtin_##symbol##_tokenizer, attn_builtin_##symbol##_tokenizer_end },                                                        \
        { "model.safetensors", attn_builtin_##symbol##_weights, attn_builtin_##symbol##_weights_end },                                                         \
        { NULL, NULL, NULL },                                                                                                                                  \
    }
MODEL(bert);
MODEL(gpt);
MODEL(translate);

/* In the order in which a server that was told no model serves them; the first is its default. */
static const attn_embedded_model models[] = {
    { "attnd-bert", bert_files },
    { "attnd-gpt", gpt_files },
    { "attnd-translate", translate_files },
    { NULL, NULL },
};

static const char *const names[] = { "attnd-bert", "attnd-gpt", "attnd-translate", NULL };
_Static_assert(sizeof names / sizeof *names == sizeof models / sizeof *models, "every model has its name listed");

const attn_embedded_model *attn_embedded_models(void)
{
    return models;
}

const char *const *attn_builtin_models(void)
{
    return names;
}
