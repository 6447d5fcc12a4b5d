/* checkpoint.h - all tensors of a model, from one safetensors file or from the shards that an index lists, found by name.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_CHECKPOINT_H
#define ATTN_CHECKPOINT_H

#include "model/safetensors.h"
#include "model/source.h"

typedef struct attn_shard {
    char *name;
    attn_file file;
    attn_safetensors tensors;
} attn_shard;

typedef struct attn_checkpoint {
    const char *file; /* what to name when a tensor is in none: "model.safetensors", or the index */
    attn_shard *shards;
    size_t num_shards;
    attn_tensor **tensors; /* by name */
    size_t count;
} attn_checkpoint;

/* model.safetensors, or the shards of model.safetensors.index.json, every one of whose entries must be in the shard it names.
 * ATTN_E_IO, ATTN_E_FORMAT, ATTN_E_UNSUPPORTED (the weights are there in another form: the text has the command that converts them), ATTN_E_NOMEM. On error *out is zeroed. */
ATTN_MUST_CHECK attn_status attn_checkpoint_open(attn_checkpoint *out, const attn_source *, attn_error *);
void attn_checkpoint_close(attn_checkpoint *); /* a zeroed one is fine */

attn_tensor *attn_checkpoint_find(const attn_checkpoint *, const char *name); /* NULL: not there */

#endif
