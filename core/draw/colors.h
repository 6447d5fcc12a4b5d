/* colors.h - from values to colours: one range a section, or one a row.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_COLORS_H
#define ATTN_COLORS_H

#include "attn_draw.h"

enum { ATTN_MASKED = 256, ATTN_COLORS = 257 }; /* 0 .. 255 viridis, dark to bright; 256 what is not there */

extern const uint8_t attn_palette[ATTN_COLORS][3]; /* red, green, blue */

typedef struct attn_range {
    attn_scale scale;
    float low, high; /* of the finite values that colours spread over; 0, 0 without any */
    bool has_masked;
} attn_range;

/* The range of a section's values, or of a single row. */
attn_range attn_range_find(attn_scale, const float *values, size_t n);
/* Colours of one row. With ATTN_SCALE_ROW the row finds its own range. */
void attn_color_row(const attn_range *section, const float *row, size_t n, uint16_t *colors);

enum { ATTN_LEGEND_BYTES = 32 };
/* What stands at the two ends of the colour bar: "0" and "0.873". */
void attn_range_ends(const attn_range *, char low[ATTN_LEGEND_BYTES], char high[ATTN_LEGEND_BYTES]);
/* What else must be said of it, "log scale"; "" when nothing must. */
const char *attn_range_note(const attn_range *);

/* One of xterm's 256 colours for one of ours: of its 6 x 6 x 6 cube those nearest to viridis in OKLab (Ottosson 2020), eleven steps, each brighter than
 * the last. */
uint8_t attn_color_xterm(uint16_t color);

#endif
