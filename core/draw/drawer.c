/* drawer.c - the drawing from outside: opened, fed section by section, ended.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/drawer.h"

#include <stdio.h>
#include <string.h>

static const attn_draw_ops *const kinds[] = { [ATTN_DRAW_PNG] = &attn_draw_png, [ATTN_DRAW_SVG] = &attn_draw_svg, [ATTN_DRAW_TEXT] = &attn_draw_text };

const char attn_draw_axes[] = "queries (rows) look at keys (columns)";

void attn_draw_put(attn_drawer *d, const void *bytes, size_t n)
{
    if (d->status == ATTN_OK && n > 0)
        d->status = d->write(d->ctx, bytes, n);
}

void attn_draw_string(attn_drawer *d, const char *s)
{
    attn_draw_put(d, s, strlen(s));
}

void attn_draw_format(attn_drawer *d, const char *fmt, ...)
{
    char text[501];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        d->status = d->status == ATTN_OK ? ATTN_E_INTERNAL : d->status;
    else
        attn_draw_put(d, text, (size_t)n);
}

bool attn_draw_may_go_on(attn_drawer *d)
{
    if (d->status == ATTN_OK && attn_cancelled(d->cancel))
        d->status = ATTN_E_CANCELLED;
    return d->status == ATTN_OK;
}

attn_draw_size attn_draw_measure(const attn_drawing *drawing)
{
    return kinds[drawing->kind]->measure(drawing);
}

/* Failures that nobody has put into words yet. */
static attn_status say(attn_drawer *d, attn_status st, attn_error *err)
{
    if (d->status == ATTN_OK)
        d->status = st;
    if (d->status == ATTN_E_NOMEM)
        return attn_fail_memory(err);
    return d->status == ATTN_OK ? ATTN_OK : attn_fail(err, d->status, "drawing", d->status == ATTN_E_CANCELLED ? "cancelled" : "the drawing broke off");
}

static attn_status check_size(attn_drawer *d, attn_error *err)
{
    if (d->drawing->kind == ATTN_DRAW_TEXT)
        return ATTN_OK;
    attn_layout_size(d->drawing, &d->width, &d->height);
    uint64_t side = d->width > d->height ? d->width : d->height;
    if (side <= ATTN_DRAW_MAX_SIDE)
        return ATTN_OK;
    attn_status st = attn_fail(err, ATTN_E_LIMIT, "drawing", "%llu pixels, but a side has at most %d", (unsigned long long)side, ATTN_DRAW_MAX_SIDE);
    if (err && err->code == ATTN_E_LIMIT) {
        err->limit = ATTN_DRAW_MAX_SIDE;
        err->need = side;
    }
    return st;
}

attn_status attn_drawer_open(attn_drawer **out, const attn_drawing *drawing, attn_draw_bytes write, void *ctx, attn_cancel *cancel, attn_error *err)
{
    *out = NULL;
    attn_drawer *d = attn_calloc(1, sizeof *d);
    if (!d)
        return attn_fail_memory(err);
    *d = (attn_drawer){ .drawing = drawing, .ops = kinds[drawing->kind], .write = write, .ctx = ctx, .cancel = cancel };
    attn_status st = check_size(d, err);
    if (st == ATTN_OK) {
        d->top = attn_layout_top(drawing);
        st = say(d, d->ops->open(d, err), err);
    }
    if (st == ATTN_OK) {
        *out = d;
        d = NULL;
    }
    attn_drawer_close(d);
    return st;
}

attn_status attn_drawer_section(attn_drawer *d, const float *values, attn_error *err)
{
    if (d->status == ATTN_OK && d->section == d->drawing->num_sections)
        d->status = ATTN_E_INTERNAL;
    if (!attn_draw_may_go_on(d))
        return say(d, d->status, err);
    attn_status st = d->ops->section(d, d->drawing->section(d->drawing->section_ctx, d->section), values, err);
    d->section++;
    return say(d, st, err);
}

attn_status attn_drawer_end(attn_drawer *d, attn_error *err)
{
    if (d->status == ATTN_OK && d->section < d->drawing->num_sections)
        d->status = ATTN_E_INTERNAL;
    return say(d, d->status == ATTN_OK ? d->ops->end(d, err) : d->status, err);
}

void attn_drawer_close(attn_drawer *d)
{
    if (!d)
        return;
    d->ops->close(d);
    attn_free(d);
}
