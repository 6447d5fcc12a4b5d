/* families.c - the families this program knows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "model/family.h"

static const attn_family *const families[] = { &attn_family_bert,    &attn_family_distilbert, &attn_family_roberta, &attn_family_xlm_roberta,
                                               &attn_family_electra, &attn_family_albert,     &attn_family_mpnet,   &attn_family_modernbert,
                                               &attn_family_llama,   &attn_family_mistral,    &attn_family_qwen2,   &attn_family_qwen3,
                                               &attn_family_smollm3, &attn_family_gpt2,       &attn_family_gemma,   &attn_family_gemma2,
                                               &attn_family_gemma3,  &attn_family_phi,        &attn_family_phi3,    &attn_family_gpt_neox,
                                               &attn_family_bloom,   &attn_family_falcon,     &attn_family_t5,      &attn_family_mt5,
                                               &attn_family_bart,    &attn_family_mbart,      &attn_family_marian,  &attn_family_olmo2,
                                               &attn_family_gptj,    &attn_family_opt,        &attn_family_mpt,     &attn_family_deberta_v2 };

const attn_family *attn_family_find(const char *model_type)
{
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const char *const *type = families[f]->model_types; *type; type++)
            if (strcmp(*type, model_type) == 0)
                return families[f];
    return NULL;
}

void attn_family_names(char *dst, size_t n)
{
    size_t used = 0;
    *dst = '\0';
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (const char *const *type = families[f]->model_types; *type && used < n; type++) {
            int w = snprintf(dst + used, n - used, "%s%s", used ? ", " : "", *type);
            used += w > 0 ? (size_t)w : 0;
        }
    }
}
