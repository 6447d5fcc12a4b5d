/* glyphs.c - a glyph's pixels: FreeType's grey coverage inked dark, colour bitmaps scaled down, and the box of a character that no face has.
 *
 * Glyphs are kept in a table with one place for each hash: a newcomer takes the place of whoever is there. Hinting is FreeType's light one, which keeps widths.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/fonts.h"

#include <string.h>

static const uint8_t ink = 0x26;

static uint8_t *new_pixels(attn_fonts *fonts, size_t width, size_t height)
{
    uint8_t *pixels = attn_calloc(width * height, 4);
    fonts->no_memory = fonts->no_memory || !pixels;
    return pixels;
}

static void put_ink(uint8_t *pixel, uint8_t coverage)
{
    pixel[0] = pixel[1] = pixel[2] = (uint8_t)(ink * coverage / 255);
    pixel[3] = coverage;
}

static uint8_t coverage_at(const FT_Bitmap *b, size_t x, size_t y)
{
    const uint8_t *row = b->buffer + (ptrdiff_t)y * b->pitch;
    if (b->pixel_mode == FT_PIXEL_MODE_MONO)
        return row[x >> 3] & (0x80 >> (x & 7)) ? 255 : 0;
    return row[x];
}

static void ink_bitmap(attn_image *image, const FT_Bitmap *b)
{
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            put_ink(image->pixels + 4 * (y * image->width + x), coverage_at(b, x, y));
}

/* The mean of the bitmap's pixels that fall on pixel (x, y): blue, green, red, alpha, premultiplied, as FreeType has them. */
static void average(const FT_Bitmap *b, const attn_image *image, size_t x, size_t y, uint8_t out[4])
{
    size_t x0 = x * b->width / image->width, x1 = attn_most(x0 + 1, (x + 1) * b->width / image->width);
    size_t y0 = y * b->rows / image->height, y1 = attn_most(y0 + 1, (y + 1) * b->rows / image->height);
    uint32_t sum[4] = { 0 }, n = (uint32_t)((x1 - x0) * (y1 - y0));
    for (size_t j = y0; j < y1; j++)
        for (size_t i = x0; i < x1; i++)
            for (size_t k = 0; k < 4; k++)
                sum[k] += b->buffer[(ptrdiff_t)j * b->pitch + (ptrdiff_t)(4 * i + k)];
    for (size_t k = 0; k < 4; k++)
        out[k == 3 ? 3 : 2 - k] = (uint8_t)(sum[k] / n);
}

static void color_bitmap(attn_image *image, const FT_Bitmap *b)
{
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            average(b, image, x, y, image->pixels + 4 * (y * image->width + x));
}

/* Sets the size; returns pixels of the picture for one of the bitmap: below 1 for faces that hold bitmaps of one size. */
static double set_size(FT_Face face, size_t font)
{
    if (FT_IS_SCALABLE(face))
        return FT_Set_Pixel_Sizes(face, 0, (FT_UInt)font) == 0 ? 1 : 0;
    int best = 0;
    for (int i = 1; i < face->num_fixed_sizes; i++) {
        FT_Pos here = face->available_sizes[i].y_ppem, least = face->available_sizes[best].y_ppem, wanted = (FT_Pos)font * 64;
        if (least < wanted ? here > least : here >= wanted && here < least)
            best = i;
    }
    if (face->num_fixed_sizes < 1 || FT_Select_Size(face, best) != 0 || face->available_sizes[best].y_ppem < 64)
        return 0;
    return (double)font * 64 / (double)face->available_sizes[best].y_ppem;
}

static bool is_drawable(const FT_Bitmap *b)
{
    return b->buffer && b->width > 0 && b->rows > 0 && b->width <= 1024 && b->rows <= 1024 &&
           (b->pixel_mode == FT_PIXEL_MODE_GRAY || b->pixel_mode == FT_PIXEL_MODE_MONO || b->pixel_mode == FT_PIXEL_MODE_BGRA);
}

/* Colour bitmaps reach a little below the baseline and a little too high: they are taken as they are, scaled. */
static void render(attn_fonts *fonts, attn_glyph *g, FT_Face face)
{
    double factor = set_size(face, g->font);
    if (factor <= 0 || FT_Load_Glyph(face, g->glyph, FT_LOAD_RENDER | FT_LOAD_COLOR | FT_LOAD_TARGET_LIGHT) != 0)
        return;
    const FT_Bitmap *b = &face->glyph->bitmap;
    if (!is_drawable(b))
        return;
    bool scaled = b->pixel_mode == FT_PIXEL_MODE_BGRA && factor < 1;
    double width = scaled ? b->width * factor : b->width, height = scaled ? b->rows * factor : b->rows;
    if (width > (double)(8 * g->font) || height > (double)(8 * g->font))
        return; /* no letter is so large */
    g->image.width = width < 1 ? 1 : (size_t)width;
    g->image.height = height < 1 ? 1 : (size_t)height;
    g->left = (int)(scaled ? face->glyph->bitmap_left * factor : face->glyph->bitmap_left);
    g->top = (int)(scaled ? face->glyph->bitmap_top * factor : face->glyph->bitmap_top);
    g->image.pixels = new_pixels(fonts, g->image.width, g->image.height);
    if (!g->image.pixels)
        return;
    if (b->pixel_mode == FT_PIXEL_MODE_BGRA)
        color_bitmap(&g->image, b);
    else
        ink_bitmap(&g->image, b);
}

static void forget(attn_fonts *fonts, attn_glyph *g)
{
    if (g->image.pixels)
        fonts->glyph_bytes -= g->image.width * g->image.height * 4;
    attn_free(g->image.pixels);
    *g = (attn_glyph){ .file = ATTN_NO_FACE };
}

void attn_glyphs_forget(attn_fonts *fonts)
{
    for (size_t i = 0; i < ATTN_GLYPH_CACHE; i++)
        forget(fonts, &fonts->glyphs[i]);
}

const attn_glyph *attn_glyph_get(attn_fonts *fonts, int file, uint32_t glyph, size_t font)
{
    attn_glyph *g = &fonts->glyphs[(glyph * 31 + (uint32_t)file * 7919 + (uint32_t)font * 389) % ATTN_GLYPH_CACHE];
    if (g->file != file || g->glyph != glyph || g->font != font) {
        forget(fonts, g);
        if (fonts->glyph_bytes > ATTN_GLYPH_BYTES)
            attn_glyphs_forget(fonts);
        attn_face *face = attn_face_get(fonts, file);
        if (!face)
            return NULL;
        *g = (attn_glyph){ .file = file, .glyph = glyph, .font = font };
        render(fonts, g, face->ft);
        if (g->image.pixels)
            fonts->glyph_bytes += g->image.width * g->image.height * 4;
        else if (fonts->no_memory)
            g->file = ATTN_NO_FACE; /* not what it looks like */
    }
    return g->image.pixels ? g : NULL;
}

/* ---- boxes ------------------------------------------------------------------------------------------------------------- */

/* Hex digits of 3 x 5 pixels, a row in three bits, the top row first. */
static const uint16_t digits[16] = {
    075557, 026227, 071747, 071717, 055711, 074717, 074757, 071111, 075757, 075717, 025755, 065656, 034443, 065556, 074747, 074744,
};

static void put_pixel(attn_image *image, ptrdiff_t x, ptrdiff_t y)
{
    if (x >= 0 && y >= 0 && x < (ptrdiff_t)image->width && y < (ptrdiff_t)image->height)
        put_ink(image->pixels + 4 * ((size_t)y * image->width + (size_t)x), 255);
}

static void put_digit(attn_image *image, unsigned digit, ptrdiff_t x, ptrdiff_t y)
{
    for (int row = 0; row < 5; row++)
        for (int column = 0; column < 3; column++)
            if (digits[digit] >> (14 - 3 * row - column) & 1)
                put_pixel(image, x + column, y + row);
}

size_t attn_glyph_box(attn_image *image, int32_t c, size_t font, ptrdiff_t x)
{
    ptrdiff_t count = c > 0xFFFFF ? 6 : c > 0xFFFF ? 5 : 4, width = 4 * count + 3, height = 9, top = (ptrdiff_t)attn_text_baseline(font) - height;
    for (ptrdiff_t i = 0; image && i < width; i++) {
        put_pixel(image, x + i, top);
        put_pixel(image, x + i, top + height - 1);
    }
    for (ptrdiff_t i = 0; image && i < height; i++) {
        put_pixel(image, x, top + i);
        put_pixel(image, x + width - 1, top + i);
    }
    for (ptrdiff_t i = 0; image && i < count; i++)
        put_digit(image, (unsigned)c >> (4 * (count - 1 - i)) & 15, x + 2 + 4 * i, top + 2);
    return (size_t)width + 2;
}
