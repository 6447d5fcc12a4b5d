/* more_models.h - api_fixture's service with small random models of tests/golden/models beside its own: an encoder-decoder of odd
 * shapes, and one that writes; neither has a tokenizer, and attnd-translate has.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MORE_MODELS_H
#define MORE_MODELS_H

#include "api_fixture.h"

enum { MORE_MODELS = 3 };
static const char *const more_names[MORE_MODELS] = { "bart", "gpt2", "attnd-translate" };
static const char *const more_sources[MORE_MODELS] = { "tests/golden/models/bart", "tests/golden/models/gpt2", "builtin:attnd-translate" };
static attn_model *more_opened[MORE_MODELS];
static api_model more_models[1 + MORE_MODELS];

static inline void more_setup(void)
{
    fixture_setup();
    more_models[0] = fixture_models[0];
    for (size_t i = 0; i < MORE_MODELS; i++) {
        attn_error err = { 0 };
        ck_assert_msg(attn_model_open(&more_opened[i], fixture_runtime, more_sources[i], &err) == ATTN_OK, "%s: %s", err.where, err.text);
        more_models[1 + i] = (api_model){ .name = more_names[i], .model = more_opened[i] };
    }
    service.models = more_models;
    service.num_models = 1 + MORE_MODELS;
}

static inline void more_teardown(void)
{
    for (size_t i = 0; i < MORE_MODELS; i++)
        attn_model_close(more_opened[i]);
    fixture_teardown();
}

#endif
