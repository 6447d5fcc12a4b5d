/* png_stream.c - libpng, held at arm's length.
 *
 * libpng reports errors by longjmp. Every call into it is a step taken inside guard(), whose locals do not change after setjmp; what a step needs lies in the
 * struct. Maps compress well whatever one does: level 1 and the filter Up, which turns a row that repeats the one before into zeros, take a third of the
 * time that libpng's own choice takes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/png_stream.h"

#include <png.h>
#include <setjmp.h>

struct attn_png {
    png_structp png;
    png_infop info;
    size_t width, height;
    const uint8_t (*palette)[3];
    attn_draw_bytes write;
    void *ctx;
    const uint8_t *row; /* of the step that is being taken */
    attn_status status;
};

static void *take_memory(png_structp png, png_alloc_size_t size)
{
    attn_png *p = png_get_mem_ptr(png);
    void *block = attn_malloc(size);
    if (!block && p->status == ATTN_OK)
        p->status = ATTN_E_NOMEM;
    return block;
}

static void give_memory(png_structp png, void *block)
{
    (void)png;
    attn_free(block);
}

static void on_error(png_structp png, const char *text)
{
    attn_png *p = png_get_error_ptr(png);
    (void)text;
    if (p->status == ATTN_OK)
        p->status = ATTN_E_INTERNAL;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, const char *text)
{
    (void)png;
    (void)text;
}

static void write_bytes(png_structp png, png_bytep bytes, size_t n)
{
    attn_png *p = png_get_io_ptr(png);
    p->status = p->write(p->ctx, bytes, n);
    if (p->status != ATTN_OK)
        png_error(png, "write");
}

static void flush(png_structp png)
{
    (void)png;
}

static attn_status guard(attn_png *p, void (*step)(attn_png *))
{
    if (p->status != ATTN_OK)
        return p->status;
    if (setjmp(png_jmpbuf(p->png)) == 0)
        step(p);
    return p->status;
}

static void begin(attn_png *p)
{
    p->info = png_create_info_struct(p->png);
    if (!p->info)
        png_error(p->png, "memory");
    png_set_write_fn(p->png, p, write_bytes, flush);
    png_set_user_limits(p->png, 0x7fffffff, 0x7fffffff);
    png_set_IHDR(p->png, p->info, (png_uint_32)p->width, (png_uint_32)p->height, 8, p->palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (p->palette) {
        png_color colors[256];
        for (int i = 0; i < 256; i++)
            colors[i] = (png_color){ p->palette[i][0], p->palette[i][1], p->palette[i][2] };
        png_set_PLTE(p->png, p->info, colors, 256);
    }
    png_set_compression_level(p->png, 1);
    png_set_filter(p->png, PNG_FILTER_TYPE_BASE, p->palette ? PNG_FILTER_NONE : PNG_FILTER_UP);
    png_write_info(p->png, p->info);
}

static void write_row(attn_png *p)
{
    png_write_row(p->png, p->row);
}

static void end(attn_png *p)
{
    png_write_end(p->png, NULL);
}

attn_status attn_png_open(attn_png **out, size_t width, size_t height, const uint8_t (*palette)[3], attn_draw_bytes write, void *ctx, attn_error *err)
{
    *out = NULL;
    attn_png *p = attn_calloc(1, sizeof *p);
    if (!p)
        return attn_fail_memory(err);
    *p = (attn_png){ .width = width, .height = height, .palette = palette, .write = write, .ctx = ctx };
    p->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, p, on_error, on_warning, p, take_memory, give_memory);
    attn_status st = p->png ? guard(p, begin) : p->status == ATTN_OK ? ATTN_E_INTERNAL : p->status;
    if (st == ATTN_OK) {
        *out = p;
        return st;
    }
    attn_png_close(p);
    return attn_fail(err, st, "png", st == ATTN_E_NOMEM ? "out of memory" : "the picture could not be begun");
}

attn_status attn_png_row(attn_png *p, const uint8_t *row)
{
    p->row = row;
    return guard(p, write_row);
}

attn_status attn_png_end(attn_png *p)
{
    return guard(p, end);
}

void attn_png_close(attn_png *p)
{
    if (!p)
        return;
    if (p->png)
        png_destroy_write_struct(&p->png, &p->info);
    attn_free(p);
}

/* Deflate's own worst case (stored blocks, cautiously), and 12 bytes around each chunk of 8 KiB. */
uint64_t attn_png_bytes(uint64_t width, uint64_t height, size_t channels)
{
    uint64_t raw = attn_times(attn_plus(attn_times(width, channels), 1), height);
    uint64_t deflated = attn_plus(raw, attn_plus(raw / 8, attn_plus(raw / 64, 64)));
    return attn_plus(deflated, attn_plus(deflated / 8192 * 12, 1024));
}

/* Rows of libpng's own (this one, the one before, one filtered), zlib's window and tables, chunk buffers. */
uint64_t attn_png_memory(uint64_t width, size_t channels)
{
    return attn_plus(attn_times(attn_times(width, channels), 4), 320 * 1024);
}
