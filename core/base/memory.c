/* memory.c - the only caller of the allocator, with a hook for tests that make it fail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_base.h"

#include <stdlib.h>
#include <string.h>

static bool (*hook)(void *ctx, size_t bytes);
static void *hook_ctx;

void attn_memory_hook(bool (*may)(void *ctx, size_t bytes), void *ctx)
{
    hook_ctx = ctx;
    hook = may;
}

static bool may_allocate(size_t bytes)
{
    return !hook || hook(hook_ctx, bytes);
}

void *attn_malloc(size_t bytes)
{
    return may_allocate(bytes) ? malloc(bytes ? bytes : 1) : NULL;
}

void *attn_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!attn_mul(count, size, &bytes) || !may_allocate(bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *attn_realloc(void *block, size_t bytes)
{
    return may_allocate(bytes) ? realloc(block, bytes ? bytes : 1) : NULL;
}

void attn_free(void *block)
{
    free(block);
}

char *attn_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = attn_malloc(n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

bool attn_mul(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool attn_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

uint64_t attn_times(uint64_t a, uint64_t b)
{
    return b && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

uint64_t attn_plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
