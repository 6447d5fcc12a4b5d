/* attn_draw.h - maps drawn: heat maps as PNG, SVG and terminal text, labelled with their tokens.
 *
 * A drawing is made of sections, one below the other; a section is a tensor of maps: a grid with a row of panels for each layer and a column for each
 * head, all with the same query and key labels, and one scale with its own colour bar. Colours are perceptually uniform (viridis's published table); what
 * is not there (-INFINITY) is grey. The drawing's size is known before any number is: a writer is opened with all sections, then fed each section's
 * numbers in order, and gives its bytes to a function as they come. Labels may hold any UTF-8; control characters are shown as their escapes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_DRAW_H
#define ATTN_DRAW_H

#include "attn_base.h"
#include "attn_tokenizer.h"

/* Faces for labels: a small Latin one inside the program, and what is found in the folders, looked for when first needed and kept. Any thread; locked
 * inside. */
typedef struct attn_fonts attn_fonts;

/* folders: NULL-terminated, searched recursively (a bounded number of files); NULL: the system's usual ones. A folder that is not there is no error.
 * Errors: ATTN_E_NOMEM, ATTN_E_INTERNAL. */
ATTN_MUST_CHECK attn_status attn_fonts_open(attn_fonts **, const char *const *folders, attn_error *);
void attn_fonts_close(attn_fonts *); /* NULL is fine */

typedef enum attn_scale {
    ATTN_SCALE_LINEAR, /* 0, or the least value when it is below, to the largest value of the section */
    ATTN_SCALE_LOG,    /* four powers of ten below the largest value, to it; what is smaller is drawn as the least. Callers refuse it for negative values */
    ATTN_SCALE_ROW     /* each query's row by its own largest value */
} attn_scale;

typedef enum attn_draw_axis { ATTN_DRAW_QUERY, ATTN_DRAW_KEY } attn_draw_axis;
enum { ATTN_DRAW_SCRATCH = 128 };

/* What row or column i is called: any UTF-8, borrowed; it may be written into `scratch`. Asked for any i, in any order, more than once. */
typedef attn_text (*attn_draw_label)(const void *ctx, attn_draw_axis, size_t i, char scratch[ATTN_DRAW_SCRATCH]);

typedef struct attn_section {
    const char *title;                           /* "attentions", with what else must be said of it: "pooled"; borrowed, as everything here */
    size_t layers, heads, queries, keys;         /* panels are layers x heads; each queries x keys; all at least 1 */
    const int32_t *layer_numbers, *head_numbers; /* original numbers; NULL: 0, 1, ... */
    const char *no_layers, *no_heads;            /* "mean over heads": that axis was reduced away, and its panels say so; NULL: it is there */
    attn_draw_label label;                       /* NULL: numbered 0, 1, ... */
    const void *label_ctx;
} attn_section;

/* Where bytes go. A status other than ATTN_OK stops the drawing and is returned by the call in progress. */
typedef attn_status (*attn_draw_bytes)(void *ctx, const void *bytes, size_t n);

typedef enum attn_draw_kind { ATTN_DRAW_PNG, ATTN_DRAW_SVG, ATTN_DRAW_TEXT } attn_draw_kind;
typedef enum attn_draw_color { ATTN_DRAW_256, ATTN_DRAW_TRUECOLOR, ATTN_DRAW_PLAIN } attn_draw_color;

typedef struct attn_drawing {
    attn_draw_kind kind;
    const char *heading; /* the first line: the model's name and the like; NULL: none */
    size_t num_sections;
    const attn_section *(*section)(void *ctx, size_t i); /* good until the next call: a drawing looks at one at a time, and more than once */
    void *section_ctx;
    attn_scale scale;
    size_t cell;           /* pixels of a cell's side; 0: chosen */
    attn_draw_color color; /* text */
    attn_fonts *fonts;     /* PNG must have them; the others leave fonts to whoever shows them */
} attn_drawing;

/* What a drawing will be, from lengths and labels alone: pixels (PNG, SVG: width and height; 0 for text), the most bytes it takes, and of working memory
 * (beside what `fonts` keeps for everybody: open faces, and at most 4 MiB of glyphs). HarfBuzz, and FreeType's colour bitmaps, take theirs from the C
 * library. */
typedef struct attn_draw_size {
    uint64_t width, height, bytes, memory;
} attn_draw_size;
attn_draw_size attn_draw_measure(const attn_drawing *);
enum { ATTN_DRAW_MAX_SIDE = 32767 }; /* pixels; callers refuse more */

typedef struct attn_drawer attn_drawer;
/* The drawing is borrowed until the close; `cancel` is looked at every few rows. After an error every call returns it again. One thread at a time.
 * Errors: ATTN_E_NOMEM, ATTN_E_LIMIT (a side beyond the most), ATTN_E_CANCELLED, ATTN_E_INTERNAL, what `write` returned. */
ATTN_MUST_CHECK attn_status attn_drawer_open(attn_drawer **, const attn_drawing *, attn_draw_bytes write, void *ctx, attn_cancel *, attn_error *);
/* The next section's numbers, [layers, heads, queries, keys] contiguous. */
ATTN_MUST_CHECK attn_status attn_drawer_section(attn_drawer *, const float *values, attn_error *);
/* The rest of the bytes. All sections have been drawn. */
ATTN_MUST_CHECK attn_status attn_drawer_end(attn_drawer *, attn_error *);
void attn_drawer_close(attn_drawer *); /* NULL is fine; at any time */

#endif
