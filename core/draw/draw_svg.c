/* draw_svg.c - the same picture as XML: text as text, in the viewer's fonts, and each panel as an image.
 *
 * Panels are PNGs in data URIs: nothing is fetched from anywhere. They hold as many pixels a cell as the picture does, because not every viewer heeds
 * image-rendering, and a smoothed map shows numbers that are not there; browsers do, and keep cells sharp at any magnification. A panel without masked
 * cells is a palette image; with them there is one colour too many for that, and it is a true-colour one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/drawer.h"
#include "draw/png_stream.h"
#include "number/number_kernels.h"

#include <stdio.h>
#include <string.h>

typedef struct svg {
    attn_drawer *d;
    const attn_section *section;
    attn_grid grid;
    attn_range range;
    uint16_t *colors; /* [keys] */
    uint8_t *row;     /* [keys * cell, 3], or one byte each */
    uint8_t carry[3]; /* bytes that begin a base64 group, until more come */
    size_t carried;
} svg;

/* ---- text -------------------------------------------------------------------------------------------------------------- */

static void put_escaped(attn_drawer *d, const char *s, size_t n)
{
    size_t plain = 0; /* first byte not written yet */
    for (size_t i = 0; i < n; i++) {
        const char *escape = s[i] == '&' ? "&amp;" : s[i] == '<' ? "&lt;" : s[i] == '>' ? "&gt;" : s[i] == '"' ? "&quot;" : NULL;
        if (!escape)
            continue;
        attn_draw_put(d, s + plain, i - plain);
        attn_draw_string(d, escape);
        plain = i + 1;
    }
    attn_draw_put(d, s + plain, n - plain);
}

/* `class` is of the style sheet in the head. */
static void put_text(attn_drawer *d, const char *class, uint64_t x, uint64_t y, const char *s, size_t n)
{
    if (n == 0)
        return;
    attn_draw_format(d, "<text class=\"%s\" x=\"%llu\" y=\"%llu\">", class, (unsigned long long)x, (unsigned long long)y);
    put_escaped(d, s, n);
    attn_draw_string(d, "</text>\n");
}

static void put_line(attn_drawer *d, const char *class, uint64_t x, uint64_t y, const char *s, size_t max_columns)
{
    attn_label label;
    attn_label_make(&label, (attn_text){ s, strlen(s) }, max_columns);
    put_text(d, class, x, y, label.text, label.length);
}

static void put_rect(attn_drawer *d, uint64_t x, uint64_t y, uint64_t width, uint64_t height, const char *fill)
{
    attn_draw_format(d, "<rect x=\"%llu\" y=\"%llu\" width=\"%llu\" height=\"%llu\" fill=\"%s\"/>\n", (unsigned long long)x, (unsigned long long)y,
                     (unsigned long long)width, (unsigned long long)height, fill);
}

static void put_color(char dst[8], size_t color)
{
    snprintf(dst, 8, "#%02x%02x%02x", attn_palette[color][0], attn_palette[color][1], attn_palette[color][2]);
}

/* ---- panels as data URIs ------------------------------------------------------------------------------------------------ */

/* attn_draw_bytes of the embedded PNG: whole groups of three become base64, the rest waits. */
static attn_status put_base64(void *ctx, const void *bytes, size_t n)
{
    svg *s = ctx;
    const uint8_t *from = bytes;
    while (n > 0) {
        uint8_t group[3 * 256];
        char text[4 * 256];
        size_t take = attn_least(sizeof group - s->carried, n), all = s->carried + take, whole = all - all % 3;
        memcpy(group, s->carry, s->carried);
        memcpy(group + s->carried, from, take);
        attn_draw_put(s->d, text, attn_base64_encode_ref(text, group, whole));
        s->carried = all - whole;
        memcpy(s->carry, group + whole, s->carried);
        from += take;
        n -= take;
    }
    return s->d->status;
}

static void end_base64(svg *s)
{
    char text[4];
    attn_draw_put(s->d, text, attn_base64_encode_ref(text, s->carry, s->carried));
    s->carried = 0;
}

static void fill_row(svg *s, const float *values)
{
    size_t n = s->section->keys, cell = s->grid.cell;
    uint8_t *to = s->row;
    attn_color_row(&s->range, values, n, s->colors);
    for (size_t k = 0; k < n; k++)
        for (size_t x = 0; x < cell; x++) {
            if (s->range.has_masked) {
                memcpy(to, attn_palette[s->colors[k]], 3);
                to += 3;
            } else {
                *to++ = (uint8_t)s->colors[k];
            }
        }
}

static void put_image(svg *s, const float *values, attn_error *err)
{
    const attn_section *section = s->section;
    attn_drawer *d = s->d;
    attn_png *png = NULL;
    size_t cell = s->grid.cell;
    attn_status st = attn_png_open(&png, section->keys * cell, section->queries * cell, s->range.has_masked ? NULL : attn_palette, put_base64, s, err);
    for (size_t q = 0; q < section->queries && st == ATTN_OK && attn_draw_may_go_on(d); q++) {
        fill_row(s, values + q * section->keys);
        for (size_t y = 0; y < cell && st == ATTN_OK; y++)
            st = attn_png_row(png, s->row);
    }
    if (st == ATTN_OK && d->status == ATTN_OK)
        st = attn_png_end(png);
    attn_png_close(png);
    if (d->status == ATTN_OK)
        d->status = st;
    end_base64(s);
}

static void put_panel(svg *s, size_t layer, size_t head, uint64_t y, const float *values, attn_error *err)
{
    const attn_grid *g = &s->grid;
    char name[ATTN_NAME_BYTES];
    uint64_t x = g->left + head * g->pitch;
    attn_layout_name(s->section, layer, head, g->short_names, name);
    put_text(s->d, "n", x, y - (layer ? 0 : g->key_height) - 5, name, strlen(name));
    attn_draw_format(s->d,
                     "<image x=\"%llu\" y=\"%llu\" width=\"%llu\" height=\"%llu\" preserveAspectRatio=\"none\" image-rendering=\"optimizeSpeed\" "
                     "style=\"image-rendering:crisp-edges;image-rendering:pixelated\" href=\"data:image/png;base64,",
                     (unsigned long long)x, (unsigned long long)y, (unsigned long long)g->panel_width, (unsigned long long)g->panel_height);
    put_image(s, values, err);
    attn_draw_string(s->d, "\"/>\n");
}

/* ---- labels ------------------------------------------------------------------------------------------------------------- */

static void put_queries(svg *s, uint64_t y)
{
    const attn_grid *g = &s->grid;
    for (size_t q = 0; q < s->section->queries && s->d->status == ATTN_OK; q += g->query_step) {
        attn_label label;
        uint64_t at = y + (uint64_t)q * g->cell + g->cell / 2;
        attn_label_of(&label, s->section, ATTN_DRAW_QUERY, q, ATTN_QUERY_COLUMNS);
        put_text(s->d, g->font > 11 ? "q l" : "q", g->left - ATTN_TICK - 2, at + g->font * 36 / 100, label.text, label.length);
        if (g->query_step > 1)
            put_rect(s->d, g->left - ATTN_TICK, at, ATTN_TICK, 1, "#808080");
    }
}

static void put_keys(svg *s, size_t head, uint64_t foot)
{
    const attn_grid *g = &s->grid;
    for (size_t k = 0; k < s->section->keys && s->d->status == ATTN_OK; k += g->key_step) {
        attn_label label;
        uint64_t x = g->left + head * g->pitch + (uint64_t)k * g->cell + g->cell / 2;
        attn_label_of(&label, s->section, ATTN_DRAW_KEY, k, ATTN_KEY_COLUMNS);
        attn_draw_format(s->d, "<text class=\"%s\" transform=\"translate(%llu %llu) rotate(-90)\">", g->font > 11 ? "k l" : "k",
                         (unsigned long long)(x + g->font * 36 / 100), (unsigned long long)(foot - ATTN_TICK - 2));
        put_escaped(s->d, label.text, label.length);
        attn_draw_string(s->d, "</text>\n");
        if (g->key_step > 1)
            put_rect(s->d, x, foot - ATTN_TICK, 1, ATTN_TICK, "#808080");
    }
}

/* ---- sections ------------------------------------------------------------------------------------------------------------ */

static void put_bar(svg *s)
{
    attn_drawer *d = s->d;
    char low[ATTN_LEGEND_BYTES], high[ATTN_LEGEND_BYTES], grey[8];
    uint64_t y = s->grid.bar_y, x = ATTN_MARGIN + ATTN_BAR_WIDTH + 14;
    attn_range_ends(&s->range, low, high);
    put_rect(d, ATTN_MARGIN, y, ATTN_BAR_WIDTH, ATTN_BAR_HEIGHT, "url(#v)");
    put_text(d, "n", ATTN_MARGIN, y + ATTN_BAR_HEIGHT + 13, low, strlen(low));
    put_text(d, "n e", ATTN_MARGIN + ATTN_BAR_WIDTH, y + ATTN_BAR_HEIGHT + 13, high, strlen(high));
    put_text(d, "n", x, y + ATTN_BAR_HEIGHT + 13, attn_draw_axes, strlen(attn_draw_axes));
    if (s->range.has_masked) {
        put_color(grey, ATTN_MASKED);
        put_rect(d, x, y, ATTN_BAR_HEIGHT, ATTN_BAR_HEIGHT, grey);
        put_text(d, "n", x + ATTN_BAR_HEIGHT + 5, y + 10, "masked", 6);
        x += ATTN_BAR_HEIGHT + 70;
    }
    put_text(d, "n", x, y + 10, attn_range_note(&s->range), strlen(attn_range_note(&s->range)));
}

static void put_section(svg *s, const float *values, attn_error *err)
{
    const attn_section *section = s->section;
    attn_drawer *d = s->d;
    size_t panel = section->queries * section->keys;
    put_line(d, "t", ATTN_MARGIN, s->grid.title_y + 15, section->title, ATTN_TITLE_COLUMNS);
    put_bar(s);
    for (size_t l = 0; l < section->layers && d->status == ATTN_OK; l++) {
        uint64_t y = attn_layout_row(&s->grid, l) + s->grid.name_height + (l ? 0 : s->grid.key_height);
        put_queries(s, y);
        for (size_t h = 0; h < section->heads && d->status == ATTN_OK; h++) {
            if (l == 0)
                put_keys(s, h, y);
            put_panel(s, l, h, y, values + (l * section->heads + h) * panel, err);
        }
    }
}

static attn_status draw_section(attn_drawer *d, const attn_section *section, const float *values, attn_error *err)
{
    svg *s = d->state;
    s->section = section;
    s->grid = attn_layout_grid(d->drawing, d->section, d->top);
    s->range = attn_range_find(d->drawing->scale, values, section->layers * section->heads * section->queries * section->keys);
    s->colors = attn_calloc(section->keys, sizeof *s->colors);
    s->row = attn_calloc(section->keys, 3 * s->grid.cell);
    if (s->colors && s->row)
        put_section(s, values, err);
    else
        d->status = ATTN_E_NOMEM;
    attn_free(s->colors);
    attn_free(s->row);
    d->top += s->grid.height;
    return d->status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

enum { GRADIENT_STOPS = 17 };

/* Viridis as a gradient of 17 stops: between them it is straight to within a step of a byte or two. */
static void put_gradient(attn_drawer *d)
{
    attn_draw_string(d, "<defs><linearGradient id=\"v\">");
    for (size_t i = 0; i < GRADIENT_STOPS; i++) {
        char color[8];
        put_color(color, i * 255 / (GRADIENT_STOPS - 1));
        attn_draw_format(d, "<stop offset=\"%.4f\" stop-color=\"%s\"/>", (double)i / (GRADIENT_STOPS - 1), color);
    }
    attn_draw_string(d, "</linearGradient></defs>\n");
}

static attn_status open_svg(attn_drawer *d, attn_error *err)
{
    svg *s = d->state = attn_calloc(1, sizeof *s);
    unsigned long long width = d->width, height = d->height;
    (void)err;
    if (!s)
        return ATTN_E_NOMEM;
    s->d = d;
    attn_draw_format(d, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%llu\" height=\"%llu\" viewBox=\"0 0 %llu %llu\" role=\"img\">\n", width, height,
                     width, height);
    if (d->drawing->heading) {
        attn_label label;
        attn_label_make(&label, (attn_text){ d->drawing->heading, strlen(d->drawing->heading) }, ATTN_HEADING_COLUMNS);
        attn_draw_string(d, "<title>");
        put_escaped(d, label.text, label.length);
        attn_draw_string(d, "</title>\n");
    }
    attn_draw_format(d,
                     "<style>text{font:%dpx \"DejaVu Sans\",Verdana,\"Noto Sans\",sans-serif;fill:#262626;white-space:pre}.h{font-size:%dpx}.t{font-size:%dpx}"
                     ".q,.e{text-anchor:end}.l{font-size:13px}</style>\n",
                     ATTN_NAME_FONT, ATTN_HEADING_FONT, ATTN_TITLE_FONT);
    put_gradient(d);
    put_rect(d, 0, 0, d->width, d->height, "#ffffff");
    if (d->drawing->heading)
        put_line(d, "h", ATTN_MARGIN, ATTN_MARGIN + 18, d->drawing->heading, ATTN_HEADING_COLUMNS);
    return d->status;
}

static attn_status end_svg(attn_drawer *d, attn_error *err)
{
    (void)err;
    attn_draw_string(d, "</svg>\n");
    return d->status;
}

static void close_svg(attn_drawer *d)
{
    attn_free(d->state);
}

enum { ELEMENT_BYTES = 512, HEAD_BYTES = 8192 }; /* more than any one element takes beside its text, and than what stands before the first section */

static uint64_t section_bytes(const attn_section *s, const attn_grid *g)
{
    uint64_t panels = attn_times(s->layers, s->heads), label = ELEMENT_BYTES + 6 * ATTN_LABEL_BYTES; /* &quot; is the longest escape */
    uint64_t image = attn_times(attn_png_bytes(g->panel_width, g->panel_height, 3) / 3 + 1, 4);
    uint64_t queries = attn_times(s->layers, attn_layout_labels(s->queries, g->query_step));
    uint64_t labels = attn_plus(queries, attn_times(s->heads, attn_layout_labels(s->keys, g->key_step)));
    return attn_plus(attn_times(panels, attn_plus(image, 2 * ELEMENT_BYTES)), attn_plus(attn_times(labels, label), HEAD_BYTES));
}

static attn_draw_size measure_svg(const attn_drawing *drawing)
{
    attn_draw_size size = { .bytes = HEAD_BYTES };
    uint64_t top = attn_layout_top(drawing), widest = 0;
    attn_layout_size(drawing, &size.width, &size.height);
    for (size_t i = 0; i < drawing->num_sections; i++) {
        attn_grid g = attn_layout_grid(drawing, i, top);
        size.bytes = attn_plus(size.bytes, section_bytes(drawing->section(drawing->section_ctx, i), &g));
        widest = g.panel_width > widest ? g.panel_width : widest;
    }
    size.memory = attn_plus(attn_times(widest, 5), attn_plus(attn_png_memory(widest, 3), 16 * 1024)); /* a row and its colours */
    return size;
}

const attn_draw_ops attn_draw_svg = { .measure = measure_svg, .open = open_svg, .section = draw_section, .end = end_svg, .close = close_svg };
