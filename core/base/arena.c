/* arena.c - one request's memory: a list of chunks, taken from the front, given back all at once.
 *
 * A chunk is as large as the request for it, at least CHUNK_BYTES, and where more was announced as large as that: what is not touched costs nothing, and with
 * all in one chunk no save and rewind ever calls the allocator. A rewind frees the chunks behind the mark, except that one is kept to be used again,
 * so that a loop of save, take, rewind does not call the allocator each time round. A reset keeps one chunk that holds all of what was taken at once: the same
 * request again calls the allocator no more. Blocks are 64-byte aligned: a cache line, an AVX-512 register.
 * Under AddressSanitizer the free part is poisoned and blocks are kept apart by a red zone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_base.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

enum { ALIGN = 64, MOST_RED_ZONE = 64, CHUNK_BYTES = 256 * 1024 };

typedef struct chunk {
    struct chunk *previous;
    unsigned char *base; /* aligned */
    size_t size, used;
} chunk;

struct attn_arena {
    chunk *top;      /* NULL: nothing yet */
    chunk *spare;    /* at most one, empty, kept for the next need */
    size_t expected; /* announced, of which no chunk was made yet */
    size_t total;    /* taken in chunks below top, and in top */
    size_t peak;
};

static void chunk_free(chunk *c)
{
    if (!c)
        return;
    ASAN_UNPOISON_MEMORY_REGION(c->base, c->size);
    attn_free(c);
}

static chunk *chunk_new(size_t size)
{
    size_t bytes;
    if (!attn_add(size, sizeof(chunk) + ALIGN, &bytes))
        return NULL;
    chunk *c = attn_malloc(bytes);
    if (!c)
        return NULL;
    c->previous = NULL;
    c->base = (unsigned char *)attn_round_up((uintptr_t)(c + 1), ALIGN);
    c->size = size;
    c->used = 0;
    ASAN_POISON_MEMORY_REGION(c->base, c->size);
    return c;
}

attn_arena *attn_arena_new(void)
{
    return attn_calloc(1, sizeof(attn_arena));
}

void attn_arena_free(attn_arena *a)
{
    if (!a)
        return;
    attn_arena_reset(a, 0);
    attn_free(a);
}

/* A chunk with room for `bytes` on top: the spare if it is large enough, else a new one. */
static bool grow(attn_arena *a, size_t bytes)
{
    chunk *c;
    if (a->spare && a->spare->size >= bytes) {
        c = a->spare;
        a->spare = NULL;
    } else {
        if (a->spare && a->spare->size > CHUNK_BYTES) { /* too small for this, and too large to hold beside it */
            chunk_free(a->spare);
            a->spare = NULL;
        }
        c = chunk_new(attn_most(attn_most(bytes, CHUNK_BYTES), a->expected));
        a->expected = 0;
    }
    if (!c)
        return false;
    c->previous = a->top;
    a->top = c;
    return true;
}

void attn_arena_expect(attn_arena *a, uint64_t bytes)
{
    size_t left = a->top ? a->top->size - a->top->used : 0;
    a->expected = bytes > left && bytes <= SIZE_MAX / 2 ? (size_t)bytes : 0;
}

void *attn_arena_take(attn_arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (!attn_mul(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = attn_round_up(bytes ? bytes : 1, ALIGN) + RED_ZONE;
    if ((!a->top || bytes > a->top->size - a->top->used) && !grow(a, bytes))
        return NULL;
    unsigned char *p = a->top->base + a->top->used;
    a->top->used += bytes;
    a->total += bytes;
    if (a->total > a->peak)
        a->peak = a->total;
    ASAN_UNPOISON_MEMORY_REGION(p, count * size);
    return p;
}

/* The same for a checked arena and another: what is priced does not depend on how it was built. */
uint64_t attn_arena_bytes(uint64_t count, uint64_t size)
{
    uint64_t bytes = attn_times(count, size);
    return attn_plus(bytes ? bytes : 1, ALIGN - 1 + MOST_RED_ZONE) / ALIGN * ALIGN;
}

void *attn_arena_zero(attn_arena *a, size_t count, size_t size)
{
    void *p = attn_arena_take(a, count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

char *attn_arena_copy(attn_arena *a, const char *bytes, size_t n)
{
    char *p = n < SIZE_MAX ? attn_arena_take(a, n + 1, 1) : NULL;
    if (!p)
        return NULL;
    if (n)
        memcpy(p, bytes, n);
    p[n] = '\0';
    return p;
}

attn_arena_mark attn_arena_save(const attn_arena *a)
{
    return (attn_arena_mark){ .chunk = a->top, .used = a->top ? a->top->used : 0, .total = a->total };
}

/* Takes the top chunk off; the larger of it and the spare becomes the spare. */
static void pop(attn_arena *a)
{
    chunk *c = a->top;
    a->top = c->previous;
    c->used = 0;
    ASAN_POISON_MEMORY_REGION(c->base, c->size);
    if (a->spare && a->spare->size >= c->size) {
        chunk_free(c);
    } else {
        chunk_free(a->spare);
        a->spare = c;
    }
}

void attn_arena_rewind(attn_arena *a, attn_arena_mark mark)
{
    while (a->top && a->top != mark.chunk)
        pop(a);
    if (a->top) {
        a->top->used = mark.used;
        ASAN_POISON_MEMORY_REGION(a->top->base + mark.used, a->top->size - mark.used);
    }
    a->total = mark.total;
}

void attn_arena_reset(attn_arena *a, size_t keep_bytes)
{
    size_t need = attn_round_up(a->peak, CHUNK_BYTES);
    bool may_keep = need <= keep_bytes;
    while (a->top)
        pop(a);
    if (a->spare && (a->spare->size > keep_bytes || (may_keep && a->spare->size < need))) {
        chunk_free(a->spare);
        a->spare = NULL;
    }
    if (!a->spare && need > 0 && may_keep)
        a->spare = chunk_new(need); /* NULL: then later, or never */
    a->expected = 0;
    a->total = 0;
    a->peak = 0;
}

size_t attn_arena_used(const attn_arena *a)
{
    return a->total;
}

size_t attn_arena_peak(const attn_arena *a)
{
    return a->peak;
}
