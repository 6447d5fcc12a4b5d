/* colors.c - scales: linear, four powers of ten, row by row.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/colors.h"

#include <math.h>
#include <stdio.h>

static const float decades = 4;

/* NaN is not there either. */
static bool is_masked(float x)
{
    return !(x > -INFINITY);
}

attn_range attn_range_find(attn_scale scale, const float *values, size_t n)
{
    attn_range r = { .scale = scale };
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        float x = values[i];
        if (is_masked(x)) {
            r.has_masked = true;
            continue;
        }
        r.high = any && r.high >= x ? r.high : x;
        r.low = x < r.low ? x : r.low;
        any = true;
    }
    if (scale == ATTN_SCALE_LOG)
        r.low = r.high > 0 ? r.high * 1e-4F : 0;
    return r;
}

/* Where x stands between the ends, times 256, cut to a byte. */
static uint16_t to_byte(float share)
{
    float x = share * 256;
    return !(x > 0) ? 0 : x >= 255 ? 255 : (uint16_t)x; /* NaN, of 0 / 0, is 0 */
}

static uint16_t color_log(const attn_range *r, float x)
{
    return x <= r->low ? 0 : to_byte(1 + log10f(x / r->high) / decades);
}

void attn_color_row(const attn_range *section, const float *row, size_t n, uint16_t *colors)
{
    attn_range own, *r = &own;
    own = section->scale == ATTN_SCALE_ROW ? attn_range_find(ATTN_SCALE_ROW, row, n) : *section;
    double width = (double)r->high - r->low; /* the two may be further apart than float32 reaches */
    for (size_t i = 0; i < n; i++) {
        float x = row[i];
        if (is_masked(x))
            colors[i] = ATTN_MASKED;
        else if (r->scale == ATTN_SCALE_LOG)
            colors[i] = color_log(r, x);
        else
            colors[i] = to_byte((float)(((double)x - r->low) / width));
    }
}

void attn_range_ends(const attn_range *r, char low[ATTN_LEGEND_BYTES], char high[ATTN_LEGEND_BYTES])
{
    if (r->scale == ATTN_SCALE_ROW) {
        snprintf(low, ATTN_LEGEND_BYTES, r->low < 0 ? "row's least" : "0");
        snprintf(high, ATTN_LEGEND_BYTES, "row's largest");
        return;
    }
    snprintf(low, ATTN_LEGEND_BYTES, r->scale == ATTN_SCALE_LOG ? "\u2264 %.3g" : "%.3g", (double)r->low);
    snprintf(high, ATTN_LEGEND_BYTES, "%.3g", (double)r->high);
}

const char *attn_range_note(const attn_range *r)
{
    static const char *const notes[] = { [ATTN_SCALE_LINEAR] = "", [ATTN_SCALE_LOG] = "log scale", [ATTN_SCALE_ROW] = "each row by its own values" };
    return notes[r->scale];
}

uint8_t attn_color_xterm(uint16_t color)
{
    static const struct {
        uint16_t from;
        uint8_t xterm;
    } steps[] = { { 0, 53 },   { 20, 54 },   { 45, 24 },   { 97, 30 },   { 139, 36 },  { 170, 71 },
                  { 187, 77 }, { 205, 113 }, { 216, 148 }, { 232, 184 }, { 247, 220 }, { ATTN_MASKED, 249 } };
    size_t i = sizeof steps / sizeof *steps - 1;
    while (color < steps[i].from)
        i--;
    return steps[i].xterm;
}
