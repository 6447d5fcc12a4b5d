/* draw_png.c - a picture painted from top to bottom, one row of pixels at a time, so that it is never held.
 *
 * The picture is cut into bands, one below the other: a title, a colour bar, a row of panels. A band has a background, painted row by row, and images of
 * text laid over it. Labels are drawn once a section; every row of panels shows them again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/drawer.h"
#include "draw/fonts.h"
#include "draw/png_stream.h"

#include <string.h>

typedef struct item {
    const attn_image *image;
    uint64_t x;
    int64_t y; /* from the band's top; may begin above it */
} item;

typedef struct painter {
    attn_drawer *d;
    attn_error *err;
    attn_png *png;
    uint8_t *row;   /* [width, 3]: what goes out */
    uint8_t *cells; /* [width, 3]: panels without labels, the same for all pixel rows of a row of cells */
    /* of the section: */
    const attn_section *section;
    attn_grid grid;
    attn_range range;
    const float *values;
    size_t layer;
    attn_image *queries, *keys, *names; /* labels that are shown; one a head */
    item *items;
    size_t num_items;
    uint16_t *colors; /* [keys] */
} painter;

/* Paints row y of the band's background into p->row, which is white. */
typedef void (*background)(painter *, uint64_t y);

/* ---- bands ------------------------------------------------------------------------------------------------------------- */

static void add_item(painter *p, const attn_image *image, uint64_t x, int64_t y)
{
    p->items[p->num_items++] = (item){ .image = image, .x = x, .y = y };
}

static void blend_row(painter *p, const item *it, uint64_t y)
{
    const attn_image *image = it->image;
    const uint8_t *from = image->pixels + (size_t)((int64_t)y - it->y) * image->width * 4;
    size_t width = it->x >= p->d->width ? 0 : attn_least(image->width, (size_t)(p->d->width - it->x));
    uint8_t *to = p->row + 3 * it->x;
    for (size_t x = 0; x < width; x++, from += 4, to += 3)
        for (size_t k = 0; from[3] && k < 3; k++)
            to[k] = (uint8_t)(from[k] + to[k] * (255 - from[3]) / 255);
}

/* Writes `height` rows, with the items over them, and forgets the items. */
static void paint_band(painter *p, uint64_t height, background paint)
{
    attn_drawer *d = p->d;
    for (uint64_t y = 0; y < height && (y % 16 || attn_draw_may_go_on(d)) && d->status == ATTN_OK; y++) {
        memset(p->row, 255, 3 * d->width);
        if (paint)
            paint(p, y);
        for (size_t i = 0; i < p->num_items; i++)
            if ((int64_t)y >= p->items[i].y && (int64_t)y < p->items[i].y + (int64_t)p->items[i].image->height)
                blend_row(p, &p->items[i], y);
        d->status = attn_png_row(p->png, p->row);
    }
    p->num_items = 0;
}

static void put_rgb(painter *p, uint64_t x, const uint8_t rgb[3])
{
    if (x < p->d->width)
        memcpy(p->row + 3 * x, rgb, 3);
}

static const uint8_t tick_color[3] = { 0x80, 0x80, 0x80 };

static void draw_text(painter *p, const char *text, size_t length, size_t font, uint64_t max_width, attn_image *out)
{
    if (p->d->status == ATTN_OK)
        p->d->status = attn_text_draw(p->d->drawing->fonts, text, length, font, (size_t)max_width, out, p->err);
}

/* A line of text from the margin on, in a band of its own. */
static void paint_line(painter *p, const char *text, size_t max_columns, size_t font, uint64_t height)
{
    attn_label label;
    attn_image image = { 0 };
    attn_label_make(&label, (attn_text){ text, strlen(text) }, max_columns);
    draw_text(p, label.text, label.length, font, p->d->width - 2 * ATTN_MARGIN, &image);
    if (p->d->status == ATTN_OK)
        add_item(p, &image, ATTN_MARGIN, 0);
    paint_band(p, height, NULL);
    attn_free(image.pixels);
}

/* ---- the colour bar ------------------------------------------------------------------------------------------------------ */

enum { NOTE_X = ATTN_MARGIN + ATTN_BAR_WIDTH + 14 };

static void paint_bar(painter *p, uint64_t y)
{
    for (size_t x = 0; y < ATTN_BAR_HEIGHT && x < ATTN_BAR_WIDTH; x++)
        put_rgb(p, ATTN_MARGIN + x, attn_palette[x * 255 / (ATTN_BAR_WIDTH - 1)]);
    for (size_t x = 0; y < ATTN_BAR_HEIGHT && p->range.has_masked && x < ATTN_BAR_HEIGHT; x++)
        put_rgb(p, NOTE_X + x, attn_palette[ATTN_MASKED]);
}

static void paint_color_bar(painter *p)
{
    char low[ATTN_LEGEND_BYTES], high[ATTN_LEGEND_BYTES];
    attn_image images[5] = { 0 };
    const char *note = attn_range_note(&p->range);
    uint64_t x = NOTE_X;
    attn_range_ends(&p->range, low, high);
    draw_text(p, low, strlen(low), ATTN_NAME_FONT, ATTN_BAR_WIDTH / 2, &images[0]);
    draw_text(p, high, strlen(high), ATTN_NAME_FONT, ATTN_BAR_WIDTH / 2, &images[1]);
    draw_text(p, "masked", 6, ATTN_NAME_FONT, 80, &images[2]);
    draw_text(p, note, strlen(note), ATTN_NAME_FONT, 160, &images[3]);
    draw_text(p, attn_draw_axes, strlen(attn_draw_axes), ATTN_NAME_FONT, ATTN_NOTE_WIDTH, &images[4]);
    if (p->d->status == ATTN_OK) {
        add_item(p, &images[0], ATTN_MARGIN, ATTN_BAR_HEIGHT + 1);
        add_item(p, &images[1], ATTN_MARGIN + ATTN_BAR_WIDTH - images[1].width, ATTN_BAR_HEIGHT + 1);
        if (p->range.has_masked) {
            add_item(p, &images[2], x + ATTN_BAR_HEIGHT + 5, -2);
            x += ATTN_BAR_HEIGHT + 5 + images[2].width + 14;
        }
        add_item(p, &images[3], x, -2);
        add_item(p, &images[4], NOTE_X, ATTN_BAR_HEIGHT + 1);
    }
    paint_band(p, p->grid.bar_height, paint_bar);
    for (size_t i = 0; i < 5; i++)
        attn_free(images[i].pixels);
}

/* ---- panels ------------------------------------------------------------------------------------------------------------- */

static uint64_t panel_x(const painter *p, size_t head)
{
    return p->grid.left + head * p->grid.pitch;
}

/* Middle of a cell, from the panel's edge. */
static uint64_t middle(const painter *p, size_t cell)
{
    return (uint64_t)cell * p->grid.cell + p->grid.cell / 2;
}

/* A font's letters, without what hangs below, are centred here in an image of its height. */
static int64_t letter_middle(size_t font)
{
    return (int64_t)(attn_text_baseline(font) - font * 36 / 100);
}

/* Query labels, for a band whose top is `above` pixels above the panels': the first and the last reach into the bands above and below. */
static void add_queries(painter *p, int64_t above)
{
    const attn_grid *g = &p->grid;
    for (size_t i = 0; i < attn_layout_labels(p->section->queries, g->query_step); i++) {
        const attn_image *image = &p->queries[i];
        add_item(p, image, g->left - ATTN_TICK - 2 - image->width, above + (int64_t)middle(p, i * g->query_step) - letter_middle(g->font));
    }
}

static void paint_names(painter *p)
{
    const attn_section *s = p->section;
    uint64_t room = s->heads > 1 ? p->grid.pitch - 4 : p->d->width - p->grid.left;
    for (size_t h = 0; h < s->heads && p->d->status == ATTN_OK; h++) {
        char name[ATTN_NAME_BYTES];
        attn_layout_name(s, p->layer, h, p->grid.short_names, name);
        draw_text(p, name, strlen(name), ATTN_NAME_FONT, room, &p->names[h]);
        if (p->d->status == ATTN_OK)
            add_item(p, &p->names[h], panel_x(p, h), 0);
    }
    if (p->layer > 0)
        add_queries(p, (int64_t)p->grid.name_height);
    paint_band(p, p->grid.name_height, NULL);
    for (size_t h = 0; h < s->heads; h++) {
        attn_free(p->names[h].pixels);
        p->names[h] = (attn_image){ 0 };
    }
}

static void paint_key_ticks(painter *p, uint64_t y)
{
    if (p->grid.key_step == 1 || y < p->grid.key_height - ATTN_TICK)
        return;
    for (size_t h = 0; h < p->section->heads; h++)
        for (size_t k = 0; k < p->section->keys; k += p->grid.key_step)
            put_rgb(p, panel_x(p, h) + middle(p, k), tick_color);
}

static void paint_keys(painter *p)
{
    const attn_grid *g = &p->grid;
    for (size_t h = 0; h < p->section->heads; h++)
        for (size_t i = 0; i < attn_layout_labels(p->section->keys, g->key_step); i++) {
            int64_t x = (int64_t)(panel_x(p, h) + middle(p, i * g->key_step)) - letter_middle(g->font);
            add_item(p, &p->keys[i], (uint64_t)x, (int64_t)g->key_height - ATTN_TICK - 2 - (int64_t)p->keys[i].height);
        }
    add_queries(p, (int64_t)g->key_height);
    paint_band(p, g->key_height, paint_key_ticks);
}

/* The pixels of query row q of all panels of this layer. */
static void fill_cells(painter *p, size_t q)
{
    const attn_section *s = p->section;
    memset(p->cells, 255, 3 * p->d->width);
    for (size_t h = 0; h < s->heads; h++) {
        uint8_t *to = p->cells + 3 * panel_x(p, h);
        attn_color_row(&p->range, p->values + ((p->layer * s->heads + h) * s->queries + q) * s->keys, s->keys, p->colors);
        for (size_t k = 0; k < s->keys; k++)
            for (size_t x = 0; x < p->grid.cell; x++, to += 3)
                memcpy(to, attn_palette[p->colors[k]], 3);
    }
}

static void paint_cells(painter *p, uint64_t y)
{
    size_t cell = p->grid.cell, q = (size_t)y / cell;
    if (y % cell == 0)
        fill_cells(p, q);
    memcpy(p->row, p->cells, 3 * p->d->width);
    if (p->grid.query_step > 1 && q % p->grid.query_step == 0 && y == middle(p, q))
        for (size_t x = 1; x <= ATTN_TICK; x++)
            put_rgb(p, p->grid.left - x, tick_color);
}

static void paint_panels(painter *p)
{
    add_queries(p, 0);
    paint_band(p, p->grid.panel_height, paint_cells);
    add_queries(p, -(int64_t)p->grid.panel_height);
    paint_band(p, p->grid.gap, NULL);
}

/* ---- sections ------------------------------------------------------------------------------------------------------------ */

static size_t most_items(const attn_section *s, const attn_grid *g)
{
    size_t keys = attn_layout_labels(s->keys, g->key_step) * s->heads, queries = attn_layout_labels(s->queries, g->query_step);
    return queries + attn_most(attn_most(keys, s->heads), 5);
}

static void draw_labels(painter *p, attn_draw_axis axis, size_t n, size_t step, size_t room, attn_image *out)
{
    for (size_t i = 0; i < attn_layout_labels(n, step) && attn_draw_may_go_on(p->d); i++) {
        attn_label label;
        attn_label_of(&label, p->section, axis, i * step, 2 * ATTN_QUERY_COLUMNS);
        draw_text(p, label.text, label.length, p->grid.font, room, &out[i]);
        if (axis == ATTN_DRAW_KEY && p->d->status == ATTN_OK)
            p->d->status = attn_image_turn(&out[i], p->err);
    }
}

static void free_images(attn_image *images, size_t n)
{
    for (size_t i = 0; images && i < n; i++)
        attn_free(images[i].pixels);
    attn_free(images);
}

static void end_section(painter *p)
{
    const attn_section *s = p->section;
    if (!s)
        return;
    free_images(p->queries, attn_layout_labels(s->queries, p->grid.query_step));
    free_images(p->keys, attn_layout_labels(s->keys, p->grid.key_step));
    attn_free(p->names);
    attn_free(p->items);
    attn_free(p->colors);
    p->queries = p->keys = p->names = NULL;
    p->items = NULL;
    p->colors = NULL;
    p->section = NULL;
}

static bool begin_section(painter *p, const attn_section *s, const float *values)
{
    attn_drawer *d = p->d;
    attn_grid *g = &p->grid;
    p->section = s;
    p->values = values;
    *g = attn_layout_grid(d->drawing, d->section, d->top);
    p->range = attn_range_find(d->drawing->scale, values, s->layers * s->heads * s->queries * s->keys);
    p->queries = attn_calloc(attn_layout_labels(s->queries, g->query_step), sizeof *p->queries);
    p->keys = attn_calloc(attn_layout_labels(s->keys, g->key_step), sizeof *p->keys);
    p->names = attn_calloc(s->heads, sizeof *p->names);
    p->items = attn_calloc(most_items(s, g), sizeof *p->items);
    p->colors = attn_calloc(s->keys, sizeof *p->colors);
    if (!p->queries || !p->keys || !p->names || !p->items || !p->colors) {
        d->status = ATTN_E_NOMEM;
        return false;
    }
    draw_labels(p, ATTN_DRAW_QUERY, s->queries, g->query_step, g->query_width - ATTN_TICK - 2, p->queries);
    draw_labels(p, ATTN_DRAW_KEY, s->keys, g->key_step, g->key_height - ATTN_TICK - 2, p->keys);
    return d->status == ATTN_OK;
}

static attn_status draw_section(attn_drawer *d, const attn_section *s, const float *values, attn_error *err)
{
    painter *p = d->state;
    p->err = err;
    if (begin_section(p, s, values)) {
        paint_line(p, s->title, ATTN_TITLE_COLUMNS, ATTN_TITLE_FONT, p->grid.title_height);
        paint_color_bar(p);
        for (p->layer = 0; p->layer < s->layers && d->status == ATTN_OK; p->layer++) {
            paint_names(p);
            if (p->layer == 0)
                paint_keys(p);
            paint_panels(p);
        }
        paint_band(p, p->grid.gap, NULL); /* twice that between sections */
    }
    d->top += p->grid.height;
    end_section(p);
    return d->status;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static attn_status open_png(attn_drawer *d, attn_error *err)
{
    painter *p = d->state = attn_calloc(1, sizeof *p);
    item heading;
    if (!d->drawing->fonts)
        return attn_fail(err, ATTN_E_INTERNAL, "fonts", "a PNG needs fonts");
    if (!p)
        return ATTN_E_NOMEM;
    p->d = d;
    p->err = err;
    p->row = attn_malloc(3 * d->width);
    p->cells = attn_malloc(3 * d->width);
    if (!p->row || !p->cells)
        return ATTN_E_NOMEM;
    d->status = attn_png_open(&p->png, (size_t)d->width, (size_t)d->height, NULL, d->write, d->ctx, err);
    if (d->status != ATTN_OK)
        return d->status;
    p->items = &heading;
    paint_band(p, ATTN_MARGIN, NULL);
    if (d->drawing->heading)
        paint_line(p, d->drawing->heading, ATTN_HEADING_COLUMNS, ATTN_HEADING_FONT, attn_layout_top(d->drawing) - ATTN_MARGIN);
    p->items = NULL;
    return d->status;
}

static attn_status end_png(attn_drawer *d, attn_error *err)
{
    painter *p = d->state;
    (void)err;
    return attn_png_end(p->png);
}

static void close_png(attn_drawer *d)
{
    painter *p = d->state;
    if (!p)
        return;
    attn_png_close(p->png);
    attn_free(p->row);
    attn_free(p->cells);
    attn_free(p);
}

static uint64_t image_bytes(uint64_t count, uint64_t width, size_t font)
{
    return attn_times(count, attn_plus(attn_times(attn_times(width, attn_text_height(font)), 4), sizeof(attn_image) + 32));
}

static uint64_t section_memory(const attn_section *s, const attn_grid *g, uint64_t width)
{
    uint64_t bytes = image_bytes(attn_layout_labels(s->queries, g->query_step), g->query_width, g->font);
    bytes = attn_plus(bytes, image_bytes(attn_layout_labels(s->keys, g->key_step) + 1, g->key_height, g->font)); /* one being turned */
    bytes = attn_plus(bytes, image_bytes(s->heads, s->heads > 1 ? g->pitch : width, ATTN_NAME_FONT));
    return attn_plus(bytes, attn_plus(attn_times(most_items(s, g), sizeof(item)), attn_times(s->keys, sizeof(uint16_t))));
}

static attn_draw_size measure_png(const attn_drawing *drawing)
{
    attn_draw_size size = { 0 };
    uint64_t top = attn_layout_top(drawing), most = 0;
    attn_layout_size(drawing, &size.width, &size.height);
    for (size_t i = 0; i < drawing->num_sections; i++) {
        attn_grid g = attn_layout_grid(drawing, i, top);
        uint64_t bytes = section_memory(drawing->section(drawing->section_ctx, i), &g, size.width);
        most = bytes > most ? bytes : most;
    }
    size.bytes = attn_png_bytes(size.width, size.height, 3);
    size.memory = attn_plus(most, attn_plus(attn_times(size.width, 6), attn_png_memory(size.width, 3)));
    size.memory = attn_plus(size.memory, attn_plus(image_bytes(3, size.width, ATTN_HEADING_FONT), 64 * 1024)); /* a line being set, structs */
    return size;
}

const attn_draw_ops attn_draw_png = { .measure = measure_png, .open = open_png, .section = draw_section, .end = end_png, .close = close_png };
