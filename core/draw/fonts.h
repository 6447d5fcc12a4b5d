/* fonts.h - text to pixels: which face has a character (fonts.c), what glyphs a line is made of (shape.c), and their pixels (glyphs.c).
 *
 * One lock, in attn_text_draw, holds for all of it: FreeType's faces belong to one thread at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_FONTS_H
#define ATTN_FONTS_H

#include "attn_draw.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_MODULE_H
#include <hb.h>
#include <pthread.h>

/* Pixels with premultiplied colour: red, green, blue, alpha. */
typedef struct attn_image {
    size_t width, height;
    uint8_t *pixels; /* [height, width, 4]; NULL: nothing to see */
} attn_image;

/* One line of text (valid UTF-8, as attn_label_make leaves it) at `font` pixels of the em, dark on nothing; cut with an ellipsis to max_width. Height is
 * attn_text_height(font) always, so that memory can be told before. Shaped run by run: a run is of one face and direction; runs stand in the order of the first
 * strong character's direction. Characters no face has are boxes with their code points in them. Free the pixels with attn_free.
 * Errors: ATTN_E_NOMEM. */
ATTN_MUST_CHECK attn_status attn_text_draw(attn_fonts *, const char *text, size_t length, size_t font, size_t max_width, attn_image *, attn_error *);
size_t attn_text_height(size_t font);
size_t attn_text_baseline(size_t font); /* rows above it */

/* Turned by 90 degrees: what was read from left to right is read upwards. */
ATTN_MUST_CHECK attn_status attn_image_turn(attn_image *, attn_error *);

/* ---- inside ------------------------------------------------------------------------------------------------------------- */

enum {
    ATTN_NO_FACE = -1,
    ATTN_MAX_FONT_FILES = 1024, /* looked at; more are left alone */
    ATTN_OPEN_FACES = 12,
    ATTN_FACE_CACHE = 1024, /* characters whose face is remembered */
    ATTN_GLYPH_CACHE = 1024,
    ATTN_GLYPH_BYTES = 4 << 20
};

/* A face in use. FreeType draws, HarfBuzz shapes; both read the same bytes. */
typedef struct attn_face {
    int file; /* its number, -1: none; 0 is the one inside the program */
    FT_Face ft;
    hb_blob_t *blob;
    hb_font_t *font;
    uint64_t used; /* when, on the clock of uses */
} attn_face;

typedef struct attn_font_file {
    char *path; /* NULL: the one inside */
    int rank;   /* lower is asked first */
    bool is_emoji;
    bool was_read;
    hb_set_t *has; /* its characters; NULL until read, or of no use */
} attn_font_file;

typedef struct attn_glyph {
    int file; /* -1: an empty place */
    uint32_t glyph;
    size_t font;
    int left, top; /* of its box, from the pen, top upwards */
    attn_image image;
} attn_glyph;

struct attn_fonts {
    pthread_mutex_t lock;
    struct FT_MemoryRec_ memory;
    bool no_memory; /* an allocation was refused since the flag was last lowered */
    FT_Library library;
    char **folders; /* to search; NULL once that is done */
    attn_font_file *files;
    size_t num_files;
    attn_face faces[ATTN_OPEN_FACES];
    uint64_t clock;
    struct {
        int32_t c; /* 0: empty */
        int file;
    } known[ATTN_FACE_CACHE];
    attn_glyph glyphs[ATTN_GLYPH_CACHE];
    size_t glyph_bytes;
};

/* fonts.c: the number of the file whose face has this character, or ATTN_NO_FACE; searches folders and opens files as needed. */
int attn_face_for(attn_fonts *, int32_t c);
/* The face of a file, opened if need be; NULL: it cannot be opened (any more). Good until the next call. */
attn_face *attn_face_get(attn_fonts *, int file);
/* Fonts in folders, appended to fonts->files in the order they are to be asked in. (font_search.c) */
void attn_fonts_search(attn_fonts *);

/* glyphs.c: a glyph's pixels, from the cache or drawn into it; NULL: nothing to see, or no memory (fonts->no_memory). Good until the next call. */
const attn_glyph *attn_glyph_get(attn_fonts *, int file, uint32_t glyph, size_t font);
void attn_glyphs_forget(attn_fonts *);
/* A box with the code point in it, 3 x 5 pixels a digit, drawn at x with its foot on the baseline; image NULL: only measured. Returns the advance in pixels. */
size_t attn_glyph_box(attn_image *, int32_t c, size_t font, ptrdiff_t x);

#endif
