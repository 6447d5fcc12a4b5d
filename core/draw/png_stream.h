/* png_stream.h - a PNG written row by row: the only place that knows libpng.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_PNG_STREAM_H
#define ATTN_PNG_STREAM_H

#include "attn_draw.h"

typedef struct attn_png attn_png;

/* 8 bits a sample. palette [256][3]: rows are indices; NULL: rows are red, green, blue. Memory goes through attn_malloc.
 * Errors of all: ATTN_E_NOMEM, ATTN_E_INTERNAL, what `write` returned; they stick. */
ATTN_MUST_CHECK attn_status attn_png_open(attn_png **, size_t width, size_t height, const uint8_t (*palette)[3], attn_draw_bytes write, void *ctx,
                                          attn_error *);
ATTN_MUST_CHECK attn_status attn_png_row(attn_png *, const uint8_t *row); /* the next one */
ATTN_MUST_CHECK attn_status attn_png_end(attn_png *);
void attn_png_close(attn_png *); /* NULL is fine; at any time */

/* The most bytes it gives, and takes of memory; `channels` is 1 or 3. */
uint64_t attn_png_bytes(uint64_t width, uint64_t height, size_t channels);
uint64_t attn_png_memory(uint64_t width, size_t channels);

#endif
