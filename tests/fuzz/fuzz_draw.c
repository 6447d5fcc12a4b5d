/* fuzz_draw.c - whatever labels, shapes, scales and values say, a drawing comes out whole and no longer than was said, or is refused before its first byte.
 *
 * The first bytes choose kind, scale, colours, cell and shapes; up to the first 0xFF byte follow labels, separated by newlines; the rest are values.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "attn_draw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8, MOST_VALUES = 4096 };

static void must(bool claim)
{
    if (!claim)
        abort();
}

typedef struct labels {
    const char *bytes;
    size_t length;
} labels;

/* Label i is line i, or, past the last, the whole. */
static attn_text label_of(const void *ctx, attn_draw_axis axis, size_t i, char scratch[ATTN_DRAW_SCRATCH])
{
    const labels *l = ctx;
    const char *s = l->bytes, *end = s + l->length;
    (void)axis;
    (void)scratch;
    for (; i > 0; i--) {
        const char *next = memchr(s, '\n', (size_t)(end - s));
        if (!next)
            return (attn_text){ l->bytes, l->length };
        s = next + 1;
    }
    const char *stop = memchr(s, '\n', (size_t)(end - s));
    return (attn_text){ s, (size_t)((stop ? stop : end) - s) };
}

static const attn_section *one_of(void *ctx, size_t i)
{
    return (const attn_section *)ctx + i;
}

typedef struct written {
    size_t bytes;
    bool is_text;
} written;

static attn_status take(void *ctx, const void *bytes, size_t n)
{
    written *w = ctx;
    w->bytes += n;
    for (size_t i = 0; i < n && w->is_text; i++)
        must(((const unsigned char *)bytes)[i] >= 0x20 || ((const char *)bytes)[i] == '\n' || ((const char *)bytes)[i] == '\x1b');
    return ATTN_OK;
}

static void draw(const attn_drawing *d, const float *values)
{
    attn_drawer *drawer;
    attn_error err = { 0 };
    written w = { .is_text = d->kind != ATTN_DRAW_PNG };
    attn_draw_size size = attn_draw_measure(d);
    attn_status st = attn_drawer_open(&drawer, d, take, &w, NULL, &err);
    if (st != ATTN_OK) {
        must(st == ATTN_E_LIMIT && w.bytes == 0 && (size.width > ATTN_DRAW_MAX_SIDE || size.height > ATTN_DRAW_MAX_SIDE));
        return;
    }
    must(attn_drawer_section(drawer, values, &err) == ATTN_OK && attn_drawer_end(drawer, &err) == ATTN_OK);
    must(w.bytes > 0 && w.bytes <= size.bytes);
    attn_drawer_close(drawer);
}

/* A label or heading needs a NUL behind it. */
static char *copy(const uint8_t *bytes, size_t n)
{
    char *text = malloc(n + 1);
    must(text != NULL);
    memcpy(text, bytes, n);
    text[n] = '\0';
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static attn_fonts *fonts;
    static const char *const folders[] = { "tests/unit/fonts", NULL };
    static float values[MOST_VALUES];
    if (size < HEAD || (!fonts && attn_fonts_open(&fonts, folders, NULL) != ATTN_OK))
        return 0;
    attn_section s = { .layers = 1 + data[4] % 4U, .heads = 1 + data[5] % 4U, .queries = 1 + data[6] % 16U, .keys = 1 + data[7] % 16U, .label = label_of };
    const uint8_t *rest = data + HEAD, *end = data + size, *stop = memchr(rest, 0xFF, (size_t)(end - rest));
    size_t length = (size_t)((stop ? stop : end) - rest);
    char *text = copy(rest, length);
    labels l = { text, length };
    s.title = text;
    s.label_ctx = &l;
    s.no_heads = data[0] & 0x80 && s.heads == 1 ? "mean over heads" : NULL;
    memset(values, 0, sizeof values);
    if (stop)
        memcpy(values, stop + 1, (size_t)(end - stop - 1) < sizeof values ? (size_t)(end - stop - 1) : sizeof values);
    attn_drawing d = { .kind = (attn_draw_kind)(data[0] & 3) % 3,
                       .heading = data[0] & 0x40 ? text : NULL,
                       .section = one_of,
                       .section_ctx = &s,
                       .num_sections = 1,
                       .scale = (attn_scale)(data[1] % 3),
                       .color = (attn_draw_color)(data[2] % 3),
                       .cell = data[3] % 65,
                       .fonts = fonts };
    draw(&d, values);
    free(text);
    return 0;
}
