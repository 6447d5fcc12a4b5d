/* picture_layout.c - sizes of cells, thinning of labels, places of panels. See picture_layout.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/picture_layout.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CELL = 32, WHOLE_WIDTH = 2400, PANEL_SIDE = 1024, LETTER = 63 /* of 100 in an em: a sans-serif face's mean */ };

/* Hundredths of an em that a character takes, as wide as sans-serif faces have it: short words of capitals, or with an m, must not be cut. */
static size_t letter_width(int32_t c)
{
    bool is_plain = c < 0x80 && !(c >= 'A' && c <= 'Z') && !strchr("#&+<=>^~", c);
    if (c == 0x2026 || (c < 0x80 && strchr("mwMW@%", c)))
        return 100;
    return attn_label_columns(c) == 1 && !is_plain ? 84 : attn_label_columns(c) * LETTER + 1;
}

static size_t ems_of(const char *text, size_t length)
{
    const char *end = text + length;
    size_t ems = 0;
    while (text < end)
        ems += letter_width(attn_label_next(&text, end));
    return ems;
}

static size_t to_pixels(size_t ems, size_t font)
{
    return (ems * font + 99) / 100;
}

static void write_axis(char *dst, size_t size, const char *reduced, const char *word, const int32_t *numbers, size_t i)
{
    if (reduced)
        snprintf(dst, size, "%s", reduced);
    else
        snprintf(dst, size, "%s%zu", word, numbers ? (size_t)numbers[i] : i);
}

void attn_layout_name(const attn_section *s, size_t layer, size_t head, bool is_short, char dst[ATTN_NAME_BYTES])
{
    char l[40], h[40];
    dst[0] = '\0';
    if (s->no_layers && s->no_heads)
        return;
    write_axis(l, sizeof l, s->no_layers, is_short ? "L" : "layer ", s->layer_numbers, layer);
    write_axis(h, sizeof h, s->no_heads, is_short ? "H" : "head ", s->head_numbers, head);
    if (is_short && s->no_layers)
        l[0] = '\0';
    if (is_short && s->no_heads)
        h[0] = '\0';
    snprintf(dst, ATTN_NAME_BYTES, "%s%s%s", l, is_short ? "" : " \u00b7 ", h);
}

/* About what one panel may take of a picture that a screen shows: a lone map up to 1024 pixels, a grid 2400 together. */
static size_t choose_cell(const attn_section *s)
{
    size_t many = attn_most(s->heads, attn_ceil_div(s->layers, 2)), side = attn_most(s->queries, s->keys);
    size_t room = attn_least(PANEL_SIDE, WHOLE_WIDTH / attn_least(many, WHOLE_WIDTH));
    size_t cell = room / side;
    return cell < 1 ? 1 : attn_least(cell, MAX_CELL);
}

/* 1, 2, 5, 10, 20, 50, ...: so many cells that labels of this height do not touch. */
static size_t choose_step(size_t cell, size_t font)
{
    static const size_t nice[] = { 1, 2, 5, 10, 20 };
    size_t i = 0;
    while (nice[i] * cell < font + 1)
        i++;
    return nice[i];
}

static size_t widest(const attn_section *s, attn_draw_axis axis, size_t n, size_t step, size_t max_columns)
{
    size_t most = 0;
    attn_label label;
    for (size_t i = 0; i < n && most < max_columns * LETTER; i += step) {
        attn_label_of(&label, s, axis, i, max_columns);
        most = attn_most(most, ems_of(label.text, label.length));
    }
    return attn_least(most, max_columns * LETTER);
}

static size_t name_width(const attn_section *s, bool is_short)
{
    char name[ATTN_NAME_BYTES];
    attn_layout_name(s, s->layers - 1, s->heads - 1, is_short, name);
    return to_pixels(ems_of(name, strlen(name)), ATTN_NAME_FONT);
}

/* A picture too large by far is not worth asking for its labels, of which it may have as many as it likes. */
static bool is_sane(const attn_section *s, size_t cell)
{
    return attn_times(s->keys, cell) <= ATTN_DRAW_MAX_SIDE && attn_times(s->queries, cell) <= ATTN_DRAW_MAX_SIDE;
}

static void place_labels(attn_grid *g, const attn_section *s)
{
    g->font = g->cell >= 24 ? 13 : 11;
    g->query_step = g->key_step = choose_step(g->cell, g->font);
    if (is_sane(s, g->cell)) {
        g->query_width = to_pixels(widest(s, ATTN_DRAW_QUERY, s->queries, g->query_step, ATTN_QUERY_COLUMNS), g->font);
        g->key_height = to_pixels(widest(s, ATTN_DRAW_KEY, s->keys, g->key_step, ATTN_KEY_COLUMNS), g->font);
    }
    g->query_width += ATTN_TICK + 4;
    g->key_height += ATTN_TICK + 4;
}

attn_grid attn_layout_grid(const attn_drawing *d, size_t section, uint64_t top)
{
    const attn_section *s = d->section(d->section_ctx, section);
    attn_grid g = { .top = top, .cell = d->cell ? d->cell : choose_cell(s), .title_height = 24, .bar_height = 40, .name_height = 18, .gap = 14 };
    place_labels(&g, s);
    if (s->no_layers && s->no_heads)
        g.name_height = 4;
    g.panel_width = attn_times(s->keys, g.cell);
    g.panel_height = attn_times(s->queries, g.cell);
    g.short_names = s->heads > 1 && name_width(s, false) > g.panel_width;
    g.left = ATTN_MARGIN + g.query_width;
    g.pitch = attn_plus(g.panel_width, 14);
    if (s->heads > 1 && g.pitch < name_width(s, g.short_names) + 10)
        g.pitch = name_width(s, g.short_names) + 10;
    g.title_y = top;
    g.bar_y = g.title_y + g.title_height;
    g.rows_y = g.bar_y + g.bar_height;
    g.height = attn_plus(attn_layout_row(&g, s->layers), g.gap);
    g.height = g.height == UINT64_MAX ? g.height : g.height - top;
    return g;
}

uint64_t attn_layout_row(const attn_grid *g, size_t layer)
{
    uint64_t pitch = attn_plus(g->panel_height, g->name_height + g->gap);
    return attn_plus(g->rows_y, attn_plus(attn_times(layer, pitch), layer ? g->key_height : 0));
}

static size_t line_width(const char *text, size_t max_columns, size_t font)
{
    attn_label label;
    attn_label_make(&label, (attn_text){ text, strlen(text) }, max_columns);
    return to_pixels(ems_of(label.text, label.length), font);
}

/* Panels, the first column's names, and the title. */
static uint64_t section_width(const attn_section *s, const attn_grid *g)
{
    uint64_t panels = attn_plus(g->left, attn_plus(attn_times(s->heads - 1, g->pitch), g->panel_width));
    uint64_t name = g->left + name_width(s, g->short_names), words = ATTN_MARGIN + line_width(s->title, ATTN_TITLE_COLUMNS, ATTN_TITLE_FONT);
    uint64_t width = panels > name ? panels : name;
    return width > words ? width : words;
}

uint64_t attn_layout_top(const attn_drawing *d)
{
    return d->heading ? ATTN_MARGIN + 28 : ATTN_MARGIN;
}

void attn_layout_size(const attn_drawing *d, uint64_t *width, uint64_t *height)
{
    size_t heading = d->heading ? line_width(d->heading, ATTN_HEADING_COLUMNS, ATTN_HEADING_FONT) : 0;
    uint64_t right = ATTN_MARGIN + heading, least = ATTN_MARGIN + ATTN_BAR_WIDTH + 14 + ATTN_NOTE_WIDTH, top = attn_layout_top(d);
    right = right > least ? right : least;
    for (size_t i = 0; i < d->num_sections; i++) {
        attn_grid g = attn_layout_grid(d, i, top);
        uint64_t w = section_width(d->section(d->section_ctx, i), &g);
        right = w > right ? w : right;
        top = attn_plus(top, g.height);
    }
    *width = attn_plus(right, ATTN_MARGIN);
    *height = top;
}
