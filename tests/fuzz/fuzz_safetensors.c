/* fuzz_safetensors.c - whatever the bytes, the reader refuses them by name or gives tensors that cover the data once and no byte outside.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool claim)
{
    if (!claim)
        abort();
}

static void check_tensors(const attn_safetensors *s, const uint8_t *end)
{
    const uint8_t *at = s->count ? s->tensors[0].data : end;
    for (size_t i = 0; i < s->count; i++) {
        const attn_tensor *t = &s->tensors[i];
        must(t->data == at && t->bytes <= (size_t)(end - at) && t->rank <= ATTN_MAX_RANK && t->name && t->dtype);
        size_t elements = 1;
        for (size_t d = 0; d < t->rank; d++)
            must(attn_mul(elements, t->shape[d], &elements));
        if (t->type == ATTN_DTYPE_F32)
            must(t->bytes == elements * 4);
        if (t->type == ATTN_DTYPE_F16 || t->type == ATTN_DTYPE_BF16)
            must(t->bytes == elements * 2);
        at += t->bytes;
    }
    must(at == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    attn_error err = { 0 };
    attn_safetensors s;
    attn_status st = attn_safetensors_open(&s, data, size, "f", &err);
    if (st == ATTN_OK)
        check_tensors(&s, data + size);
    else
        must(err.code == st && err.where[0] == 'f' && err.text[0]);
    attn_safetensors_close(&s);
    return 0;
}
