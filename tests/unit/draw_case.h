/* draw_case.h - drawings into memory: what the tests of the three kinds share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRAW_CASE_H
#define DRAW_CASE_H

#include "attn_draw.h"
#include "unit.h"

#include <string.h>

typedef struct sheet {
    char *bytes; /* with a NUL behind */
    size_t length, capacity;
    size_t gone_after; /* bytes until the reader is gone; 0: never */
} sheet;

static inline attn_status sheet_write(void *ctx, const void *bytes, size_t n)
{
    sheet *s = ctx;
    if (s->gone_after && s->length + n > s->gone_after)
        return ATTN_E_IO;
    if (s->length + n + 1 > s->capacity) {
        s->capacity = 2 * (s->length + n + 1);
        s->bytes = realloc(s->bytes, s->capacity);
    }
    memcpy(s->bytes + s->length, bytes, n);
    s->length += n;
    s->bytes[s->length] = '\0';
    return ATTN_OK;
}

static inline void sheet_free(sheet *s)
{
    free(s->bytes);
    *s = (sheet){ 0 };
}

/* Labels from a list of strings, taken in turn. */
typedef struct words {
    const char *const *list;
    size_t count;
} words;

static inline attn_text word_label(const void *ctx, attn_draw_axis axis, size_t i, char scratch[ATTN_DRAW_SCRATCH])
{
    const words *w = ctx;
    const char *text = w->list[i % w->count];
    (void)axis;
    (void)scratch;
    return (attn_text){ text, strlen(text) };
}

/* Sections from an array. */
static inline const attn_section *one_of(void *ctx, size_t i)
{
    return (const attn_section *)ctx + i;
}

/* Draws all sections from one block of numbers, section after section. */
static inline attn_status draw(const attn_drawing *d, const float *values, sheet *out, attn_cancel *cancel)
{
    attn_drawer *drawer;
    attn_error err = { 0 };
    attn_status st = attn_drawer_open(&drawer, d, sheet_write, out, cancel, &err);
    for (size_t i = 0; i < d->num_sections && st == ATTN_OK; i++) {
        const attn_section *s = d->section(d->section_ctx, i);
        st = attn_drawer_section(drawer, values, &err);
        values += s->layers * s->heads * s->queries * s->keys;
    }
    if (st == ATTN_OK)
        st = attn_drawer_end(drawer, &err);
    ck_assert_int_eq(err.code, st);
    attn_drawer_close(drawer);
    return st;
}

static inline sheet draw_well(const attn_drawing *d, const float *values)
{
    sheet out = { 0 };
    attn_draw_size size = attn_draw_measure(d);
    ck_assert_int_eq(draw(d, values, &out, NULL), ATTN_OK);
    ck_assert_uint_le(out.length, size.bytes);
    return out;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

typedef struct allowance {
    size_t left; /* allocations that succeed; SIZE_MAX: all */
    size_t count;
} allowance;

static inline bool allow(void *ctx, size_t bytes)
{
    allowance *a = ctx;
    (void)bytes;
    a->count++;
    if (a->left == 0)
        return false;
    a->left -= a->left != SIZE_MAX;
    return true;
}

/* Every allocation of a drawing fails once; then all is well again. Leaks are for the sanitizer to see. Returns how many there were. */
static inline size_t fail_each_allocation(const attn_drawing *d, const float *values)
{
    size_t n = 0;
    for (attn_status st = ATTN_E_NOMEM; st != ATTN_OK; n++) {
        allowance a = { .left = n };
        sheet out = { 0 };
        attn_memory_hook(allow, &a);
        st = draw(d, values, &out, NULL);
        attn_memory_hook(NULL, NULL);
        ck_assert_msg(st == ATTN_OK || st == ATTN_E_NOMEM, "status %d when allocation %zu fails", (int)st, n);
        sheet_free(&out);
        ck_assert_uint_lt(n, 100000);
    }
    return n;
}

#endif
