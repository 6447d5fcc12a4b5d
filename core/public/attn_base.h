/* attn_base.h - what every part of attnd stands on: statuses, errors, memory, cancellation, time.
 *
 * Dimensions, everywhere:  T tokens (T_q queries, T_k keys) · L layers · H query heads · G key/value heads ·
 * d head size (d_v of values) · D hidden size · F feed-forward size · V vocabulary size.
 * Row-major, float32 unless a name says otherwise. Every float pointer carries its shape.
 *
 * Core never prints, exits, or asserts on data: whatever can go wrong with input, files or memory comes back as a status.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_BASE_H
#define ATTN_BASE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ATTN_MUST_CHECK        __attribute__((warn_unused_result))
#define ATTN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ATTN_MUST_CHECK
#define ATTN_PRINTF(fmt, args)
#endif

typedef enum attn_status {
    ATTN_OK = 0,
    ATTN_E_INPUT,       /* well-formed, but it cannot be: a shape, an index, an id, a length */
    ATTN_E_LIMIT,       /* valid, but beyond a limit; `limit` and `need` of the error say which */
    ATTN_E_OVERFLOW,    /* the arithmetic left float32: an infinity or NaN came out of finite input */
    ATTN_E_FORMAT,      /* a model file is damaged */
    ATTN_E_UNSUPPORTED, /* a model file asks for something this program does not know */
    ATTN_E_IO,          /* the operating system refused a file */
    ATTN_E_NOMEM,       /* no memory */
    ATTN_E_CANCELLED,   /* attn_cancel was raised, or its deadline passed */
    ATTN_E_INTERNAL     /* our own fault */
} attn_status;

/* The first failure, in full. Fixed size, no allocation, safe on a stack; every function takes NULL for it.
 * `where` is the file, tensor, key or field concerned; `text` one sentence without a full stop. */
typedef struct attn_error {
    attn_status code;
    char where[128];
    char text[512];
    uint64_t limit, need; /* ATTN_E_LIMIT only */
} attn_error;

/* Records a failure unless one is already recorded (later ones are consequences) and returns `code`, so that a check is one line:
 *     return attn_fail(err, ATTN_E_FORMAT, name, "dtype %s is not known", dtype);                                     */
attn_status attn_fail(attn_error *err, attn_status code, const char *where, const char *fmt, ...) ATTN_PRINTF(4, 5);

/* attn_fail with ATTN_E_NOMEM. */
attn_status attn_fail_memory(attn_error *err);

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* The only way to the allocator in core and api. All return NULL when there is no memory; attn_free takes NULL.
 * attn_calloc checks its product. attn_realloc keeps the old block on failure. */
void *attn_malloc(size_t bytes);
void *attn_calloc(size_t count, size_t size);
void *attn_realloc(void *block, size_t bytes);
void attn_free(void *block);
char *attn_strdup(const char *s);

/* For tests: `may` is asked before every allocation (with its size) and refuses it by returning false. NULL lifts it.
 * Set while no other thread allocates. */
void attn_memory_hook(bool (*may)(void *ctx, size_t bytes), void *ctx);

/* Checked arithmetic: false when the result does not fit, and *out is then untouched. */
bool attn_mul(size_t a, size_t b, size_t *out);
bool attn_add(size_t a, size_t b, size_t *out);
/* For upper bounds made of untrusted numbers: what is beyond 64 bits stays at UINT64_MAX. */
uint64_t attn_times(uint64_t a, uint64_t b);
uint64_t attn_plus(uint64_t a, uint64_t b);

static inline size_t attn_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t attn_most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up; n rounded up to a multiple of step. */
static inline size_t attn_ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static inline size_t attn_round_up(size_t n, size_t step)
{
    return attn_ceil_div(n, step) * step;
}

/* An arena: one request's memory. Blocks are 64-byte aligned, uninitialised, and live until a rewind below them or the reset.
 * One thread at a time. */
typedef struct attn_arena attn_arena;
typedef struct attn_arena_mark {
    void *chunk;
    size_t used, total;
} attn_arena_mark;

attn_arena *attn_arena_new(void);   /* NULL: no memory */
void attn_arena_free(attn_arena *); /* NULL is fine */
/* count * size bytes, or NULL (product too large, no memory). count or size 0 gives a valid pointer. */
void *attn_arena_take(attn_arena *, size_t count, size_t size);
void *attn_arena_zero(attn_arena *, size_t count, size_t size);   /* the same, zeroed */
char *attn_arena_copy(attn_arena *, const char *bytes, size_t n); /* with a NUL behind it */
/* So many bytes are to come, in all: the next block that does not fit what is there gets them from the system at once, or fails. What of them is never touched
 * takes no memory. */
void attn_arena_expect(attn_arena *, uint64_t bytes);
attn_arena_mark attn_arena_save(const attn_arena *);
void attn_arena_rewind(attn_arena *, attn_arena_mark); /* everything taken since the mark is gone */
/* Forgets everything; keeps at most `keep_bytes` of memory for the next request, in one piece that holds all that was taken, and gives the rest back. */
void attn_arena_reset(attn_arena *, size_t keep_bytes);
/* For prices: at least what attn_arena_take(count, size) takes, alignment and what a checked arena leaves free between two blocks included. */
uint64_t attn_arena_bytes(uint64_t count, uint64_t size);
size_t attn_arena_used(const attn_arena *); /* bytes taken now, alignment included */
size_t attn_arena_peak(const attn_arena *); /* the most that was ever taken since the last reset */

/* ---- cancellation and time ------------------------------------------------------------------------------------------ */

/* Monotonic nanoseconds. */
uint64_t attn_clock_ns(void);

typedef enum attn_cancel_reason { ATTN_RUNNING = 0, ATTN_CLIENT_GONE = 1, ATTN_DEADLINE = 2, ATTN_SHUTDOWN = 3 } attn_cancel_reason;

/* Raised from any thread, looked at between layers, between blocks of a long computation, and by tokenizers. */
typedef struct attn_cancel {
    _Atomic int reason;   /* attn_cancel_reason; set once */
    uint64_t deadline_ns; /* attn_clock_ns() past which the work is void; 0 is never */
} attn_cancel;

void attn_cancel_raise(attn_cancel *, attn_cancel_reason); /* the first reason stays */
bool attn_cancelled(attn_cancel *);                        /* NULL is never; a passed deadline raises ATTN_DEADLINE */

#endif
