/* shape.c - a line of text to glyphs in their places, and those onto an image.
 *
 * Labels are words, not paragraphs: of the bidirectional algorithm there is what words need. A run has one face, one script and one direction; characters of no
 * script of their own (spaces, punctuation) go with the one before them, digits from left to right always. With runs of both directions the first strong
 * character's is the line's, and runs are put in its order.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/fonts.h"
#include "draw/label.h"

#include <string.h>
#include <utf8proc.h>

enum { MAX_GLYPHS = 2 * ATTN_LABEL_BYTES };

typedef struct run {
    size_t first, count; /* characters */
    int file;
    hb_script_t script;
    bool backwards;
} run;

typedef struct placed {
    int file; /* ATTN_NO_FACE: a box for character `glyph` */
    uint32_t glyph;
    int x, y; /* 1/64 pixel, y upwards */
} placed;

typedef struct line {
    uint32_t c[ATTN_LABEL_BYTES + 1];
    size_t count;
    run runs[ATTN_LABEL_BYTES + 1];
    size_t num_runs;
    placed glyphs[MAX_GLYPHS];
    size_t num_glyphs;
    int width; /* 1/64 pixel */
} line;

size_t attn_text_height(size_t font)
{
    return font + font / 2;
}

size_t attn_text_baseline(size_t font)
{
    return font + font / 8;
}

/* ---- runs -------------------------------------------------------------------------------------------------------------- */

static bool is_strong(hb_script_t script)
{
    return script != HB_SCRIPT_COMMON && script != HB_SCRIPT_INHERITED && script != HB_SCRIPT_UNKNOWN;
}

static hb_script_t script_of(uint32_t c)
{
    return hb_unicode_script(hb_unicode_funcs_get_default(), c);
}

static hb_script_t first_script(const line *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (is_strong(script_of(l->c[i])))
            return script_of(l->c[i]);
    return HB_SCRIPT_LATIN;
}

static bool is_backwards(hb_script_t script)
{
    return hb_script_get_horizontal_direction(script) == HB_DIRECTION_RTL;
}

static bool is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

/* Marks stay with their letter where its face has them; joiners and selectors, which show nothing themselves, always do. */
static bool stays(attn_fonts *fonts, const run *last, int32_t c)
{
    if (!last || last->file == ATTN_NO_FACE || !attn_label_joins(c))
        return false;
    bool is_silent = c == 0x200C || c == 0x200D || (c >= 0xFE00 && c <= 0xFE0F) || c >= 0xE0020;
    return is_silent || hb_set_has(fonts->files[last->file].has, (hb_codepoint_t)c);
}

static void find_runs(attn_fonts *fonts, line *l)
{
    hb_script_t script = first_script(l);
    l->num_runs = 0;
    for (size_t i = 0; i < l->count; i++) {
        int32_t c = (int32_t)l->c[i];
        run *last = l->num_runs ? &l->runs[l->num_runs - 1] : NULL;
        if (stays(fonts, last, c)) {
            last->count++;
            continue;
        }
        script = is_strong(script_of(l->c[i])) ? script_of(l->c[i]) : script;
        run r = { .first = i, .count = 1, .file = attn_face_for(fonts, c), .script = script, .backwards = is_backwards(script) && !is_digit(l->c[i]) };
        if (last && last->file == r.file && last->script == r.script && last->backwards == r.backwards)
            last->count++;
        else
            l->runs[l->num_runs++] = r;
    }
}

static void reverse(run *runs, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        run r = runs[i];
        runs[i] = runs[n - 1 - i];
        runs[n - 1 - i] = r;
    }
}

/* Logical order to what is seen from left to right: all of it turned around for a line from right to left, then each stretch against the line once more. */
static void order_runs(line *l)
{
    bool backwards = is_backwards(first_script(l));
    if (backwards)
        reverse(l->runs, l->num_runs);
    for (size_t i = 0, end; i < l->num_runs; i = end) {
        for (end = i + 1; end < l->num_runs && l->runs[end].backwards == l->runs[i].backwards; end++)
            continue;
        if (l->runs[i].backwards != backwards)
            reverse(l->runs + i, end - i);
    }
}

/* ---- glyphs ------------------------------------------------------------------------------------------------------------ */

static void place(line *l, placed p)
{
    if (l->num_glyphs < MAX_GLYPHS)
        l->glyphs[l->num_glyphs++] = p;
}

static void place_boxes(line *l, const run *r, size_t font)
{
    for (size_t i = 0; i < r->count; i++) {
        uint32_t c = l->c[r->first + (r->backwards ? r->count - 1 - i : i)];
        place(l, (placed){ .file = ATTN_NO_FACE, .glyph = c, .x = l->width });
        l->width += (int)attn_glyph_box(NULL, (int32_t)c, font, 0) * 64;
    }
}

static int within(int x, int far)
{
    return x < -far ? -far : x > far ? far : x;
}

static void place_run(attn_fonts *fonts, line *l, const run *r, size_t font, hb_buffer_t *buffer)
{
    attn_face *face = r->file == ATTN_NO_FACE ? NULL : attn_face_get(fonts, r->file);
    if (!face) {
        place_boxes(l, r, font);
        return;
    }
    hb_buffer_clear_contents(buffer);
    hb_buffer_add_utf32(buffer, l->c, (int)l->count, (unsigned)r->first, (int)r->count);
    hb_buffer_set_script(buffer, r->script);
    hb_buffer_set_direction(buffer, r->backwards ? HB_DIRECTION_RTL : HB_DIRECTION_LTR);
    hb_font_set_scale(face->font, (int)font * 64, (int)font * 64);
    hb_shape(face->font, buffer, NULL, 0);
    unsigned n = 0;
    const hb_glyph_info_t *info = hb_buffer_get_glyph_infos(buffer, &n);
    const hb_glyph_position_t *at = hb_buffer_get_glyph_positions(buffer, &n);
    for (unsigned i = 0; i < n; i++) {
        int far = (int)font * 64 * 8; /* a face may say anything */
        place(l, (placed){ .file = r->file, .glyph = info[i].codepoint, .x = l->width + within(at[i].x_offset, far), .y = within(at[i].y_offset, far) });
        l->width += within(at[i].x_advance, far);
    }
}

static void set_line(attn_fonts *fonts, line *l, size_t font, hb_buffer_t *buffer)
{
    l->num_glyphs = 0;
    l->width = 0;
    find_runs(fonts, l);
    order_runs(l);
    for (size_t i = 0; i < l->num_runs; i++)
        place_run(fonts, l, &l->runs[i], font, buffer);
}

/* Sets the first `count` characters of `whole` and an ellipsis; does that fit? */
static bool set_beginning(attn_fonts *fonts, line *l, const uint32_t *whole, size_t count, size_t font, int max, hb_buffer_t *buffer)
{
    memcpy(l->c, whole, count * sizeof *whole);
    l->c[count] = 0x2026;
    l->count = count + 1;
    set_line(fonts, l, font, buffer);
    return l->width <= max;
}

/* The longest beginning that fits with an ellipsis behind it. */
static void cut_line(attn_fonts *fonts, line *l, size_t font, int max, hb_buffer_t *buffer)
{
    uint32_t whole[ATTN_LABEL_BYTES];
    size_t fits = 0, over = l->count;
    memcpy(whole, l->c, l->count * sizeof *whole);
    while (over - fits > 1) {
        size_t middle = fits + (over - fits) / 2;
        if (set_beginning(fonts, l, whole, middle, font, max, buffer))
            fits = middle;
        else
            over = middle;
    }
    set_beginning(fonts, l, whole, fits, font, max, buffer);
}

/* ---- pixels ------------------------------------------------------------------------------------------------------------ */

static void blend(uint8_t *to, const uint8_t *from)
{
    for (size_t k = 0; k < 4; k++)
        to[k] = (uint8_t)(from[k] + to[k] * (255 - from[3]) / 255);
}

static void put_glyph(attn_image *image, const attn_glyph *g, int left, int top)
{
    for (size_t y = 0; y < g->image.height; y++)
        for (size_t x = 0; x < g->image.width; x++) {
            int to_x = left + (int)x, to_y = top + (int)y;
            if (to_x >= 0 && to_y >= 0 && (size_t)to_x < image->width && (size_t)to_y < image->height)
                blend(image->pixels + 4 * ((size_t)to_y * image->width + (size_t)to_x), g->image.pixels + 4 * (y * g->image.width + x));
        }
}

static int to_pixels(int x)
{
    return (x + 32 - (x < 0 ? 63 : 0)) / 64;
}

static void put_line(attn_fonts *fonts, const line *l, size_t font, attn_image *image)
{
    for (size_t i = 0; i < l->num_glyphs; i++) {
        const placed *p = &l->glyphs[i];
        if (p->file == ATTN_NO_FACE) {
            attn_glyph_box(image, (int32_t)p->glyph, font, to_pixels(p->x));
            continue;
        }
        const attn_glyph *g = attn_glyph_get(fonts, p->file, p->glyph, font);
        if (g)
            put_glyph(image, g, to_pixels(p->x) + g->left, (int)attn_text_baseline(font) - to_pixels(p->y) - g->top);
    }
}

/* Under the lock. */
static attn_status draw_line(attn_fonts *fonts, line *l, size_t font, size_t max_width, attn_image *out, attn_error *err)
{
    hb_buffer_t *buffer = hb_buffer_create();
    fonts->no_memory = false;
    set_line(fonts, l, font, buffer);
    if (l->width > (int)max_width * 64)
        cut_line(fonts, l, font, (int)max_width * 64, buffer);
    hb_buffer_destroy(buffer);
    out->width = l->width <= 0 ? 0 : attn_least(max_width, (size_t)(l->width + 63) / 64);
    out->height = attn_text_height(font);
    out->pixels = attn_calloc(attn_most(out->width, 1) * out->height, 4);
    if (out->pixels)
        put_line(fonts, l, font, out);
    if (out->pixels && !fonts->no_memory)
        return ATTN_OK;
    attn_free(out->pixels);
    out->pixels = NULL;
    return attn_fail_memory(err);
}

attn_status attn_text_draw(attn_fonts *fonts, const char *text, size_t length, size_t font, size_t max_width, attn_image *out, attn_error *err)
{
    const char *s = text, *end = text + length;
    *out = (attn_image){ 0 };
    line *l = attn_malloc(sizeof *l);
    if (!l)
        return attn_fail_memory(err);
    for (l->count = 0; s < end && l->count < ATTN_LABEL_BYTES; l->count++)
        l->c[l->count] = (uint32_t)attn_label_next(&s, end);
    pthread_mutex_lock(&fonts->lock);
    attn_status st = draw_line(fonts, l, font, max_width, out, err);
    pthread_mutex_unlock(&fonts->lock);
    attn_free(l);
    return st;
}

attn_status attn_image_turn(attn_image *image, attn_error *err)
{
    attn_image turned = { .width = image->height, .height = image->width };
    turned.pixels = attn_malloc(attn_most(image->width * image->height, 1) * 4);
    if (!turned.pixels)
        return attn_fail_memory(err);
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            memcpy(turned.pixels + 4 * ((image->width - 1 - x) * turned.width + y), image->pixels + 4 * (y * image->width + x), 4);
    attn_free(image->pixels);
    *image = turned;
    return ATTN_OK;
}
