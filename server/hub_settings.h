/* hub_settings.h - what the environment says of the hub, by the names and rules of Python's huggingface_hub.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_SETTINGS_H
#define HUB_SETTINGS_H

#include "hub_id.h"

typedef struct srv_hub_settings {
    const char *endpoint; /* "https://huggingface.co"; no '/' at its end */
    const char *cache;    /* the folder of models--org--name */
    const char *token;    /* NULL: none */
    bool offline;
    long answer_seconds; /* for an answer's head */
    long stall_seconds;  /* without a byte of its body */
} srv_hub_settings;

/* Reads the environment, and the token's file. Strings live in the arena, or in the environment. False: a value that cannot be, or no memory. */
bool srv_hub_settings_read(srv_hub_settings *, attn_arena *, srv_hub_error *);

#endif
