/* picture_layout.h - where things are in a picture, PNG and SVG alike; pixels from its left top. Known before any number is.
 *
 *     heading
 *     section title
 *     colour bar, its numbers below, what else must be said at its right, and which axis is which
 *               layer 0 · head 0      layer 0 · head 1      a row of panels a layer, a column a head
 *                k e y s               k e y s              above the first row; turned by 90 degrees, read upwards
 *     queries   panel                 panel                 queries at the left of every row
 *               layer 1 · head 0      ...
 *
 * Text is given a place by what its letters take at most, so that a layout needs no font; drawing cuts what turns out wider all the same.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_PICTURE_LAYOUT_H
#define ATTN_PICTURE_LAYOUT_H

#include "draw/label.h"

enum {
    ATTN_MARGIN = 16,
    ATTN_HEADING_FONT = 16, /* font sizes in pixels of the em */
    ATTN_TITLE_FONT = 13,
    ATTN_NAME_FONT = 11,
    ATTN_BAR_WIDTH = 192,
    ATTN_BAR_HEIGHT = 12,
    ATTN_NOTE_WIDTH = 250, /* room for what stands beside it */
    ATTN_TICK = 4,
    ATTN_HEADING_COLUMNS = 100, /* longer text ends in an ellipsis */
    ATTN_TITLE_COLUMNS = 160,
    ATTN_QUERY_COLUMNS = 22, /* the room that labels get at most; who can measure text may put more letters there, if they are narrow */
    ATTN_KEY_COLUMNS = 18,
    ATTN_NAME_BYTES = 96
};

typedef struct attn_grid {
    uint64_t top, height;           /* of the section */
    size_t cell;                    /* pixels of a cell's side */
    size_t font;                    /* of the labels */
    size_t query_step, key_step;    /* every so many cells one is labelled */
    size_t query_width, key_height; /* room for labels, ticks included */
    uint64_t panel_width, panel_height;
    uint64_t left;  /* of the first column of panels */
    uint64_t pitch; /* from column to column */
    bool short_names;
    uint64_t title_y, bar_y, rows_y; /* tops of bands */
    size_t title_height, bar_height, name_height, gap;
} attn_grid;

/* The size of the whole. Saturates instead of overflowing. */
void attn_layout_size(const attn_drawing *, uint64_t *width, uint64_t *height);
/* Section i, and where the next one begins. Sides are known to be in range. */
attn_grid attn_layout_grid(const attn_drawing *, size_t section, uint64_t top);
uint64_t attn_layout_top(const attn_drawing *); /* of the first section */

/* Top of the band of row `layer`: its panels' names; the first row's keys and then the panels follow. */
uint64_t attn_layout_row(const attn_grid *, size_t layer);
/* How many labels an axis of n has with this step. */
static inline size_t attn_layout_labels(size_t n, size_t step)
{
    return attn_ceil_div(n, step);
}

/* "layer 3 · head 5", "L3H5"; "" where both axes were reduced away. */
void attn_layout_name(const attn_section *, size_t layer, size_t head, bool is_short, char dst[ATTN_NAME_BYTES]);

#endif
