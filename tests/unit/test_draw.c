/* Pictures as PNG: every cell has the colour its value has, whatever the scale; sizes are known before; nothing that fails leaks or passes for a picture.
 *
 * Where a panel lies is found in the picture itself: the fixture's first cell is the brightest colour, and nothing else is.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/colors.h"
#include "draw/fonts.h"
#include "draw/picture_layout.h"
#include "draw_case.h"

#include <float.h>
#include <malloc.h>
#include <math.h>
#include <png.h>

static attn_fonts *fonts;

static void setup(void)
{
    const char *const none[] = { NULL };
    ck_assert_int_eq(attn_fonts_open(&fonts, none, NULL), ATTN_OK);
}

static void teardown(void)
{
    attn_fonts_close(fonts);
}

/* ---- pictures read back -------------------------------------------------------------------------------------------------- */

typedef struct picture {
    png_image png;
    uint8_t *pixels; /* red, green, blue */
} picture;

static picture read_picture(const sheet *s)
{
    picture p = { .png = { .version = PNG_IMAGE_VERSION } };
    ck_assert_msg(png_image_begin_read_from_memory(&p.png, s->bytes, s->length), "%s", p.png.message);
    p.png.format = PNG_FORMAT_RGB;
    p.pixels = malloc(PNG_IMAGE_SIZE(p.png));
    ck_assert_msg(png_image_finish_read(&p.png, NULL, p.pixels, 0, NULL), "%s", p.png.message);
    return p;
}

static picture draw_picture(const attn_drawing *d, const float *values)
{
    sheet s = draw_well(d, values);
    attn_draw_size size = attn_draw_measure(d);
    picture p = read_picture(&s);
    ck_assert_uint_eq(p.png.width, size.width);
    ck_assert_uint_eq(p.png.height, size.height);
    sheet_free(&s);
    return p;
}

static const uint8_t *pixel(const picture *p, size_t x, size_t y)
{
    ck_assert(x < p->png.width && y < p->png.height);
    return p->pixels + 3 * (y * p->png.width + x);
}

static bool is_color(const uint8_t *rgb, size_t color)
{
    return memcmp(rgb, attn_palette[color], 3) == 0;
}

/* The first pixel of this colour below the colour bar. */
static void find_color(const picture *p, size_t color, size_t *x, size_t *y)
{
    for (*y = 110; *y < p->png.height; ++*y)
        for (*x = 0; *x < p->png.width; ++*x)
            if (is_color(pixel(p, *x, *y), color))
                return;
    ck_abort_msg("no pixel of colour %zu", color);
}

static attn_drawing one_section(const attn_section *s, attn_scale scale, size_t cell)
{
    return (attn_drawing){ .kind = ATTN_DRAW_PNG,
                           .heading = "a model",
                           .section = one_of,
                           .section_ctx = (void *)s,
                           .num_sections = 1,
                           .scale = scale,
                           .cell = cell,
                           .fonts = fonts };
}

/* All cells of all panels against colours[layer][head][query][key]; the panels' places are found from the first one and the title rows between. */
static void check_cells(const picture *p, const uint16_t *colors, size_t rows, size_t columns, size_t cell, size_t left, size_t top)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            const uint8_t *corner = pixel(p, left + c * cell, top + r * cell), *end = pixel(p, left + (c + 1) * cell - 1, top + (r + 1) * cell - 1);
            ck_assert_msg(is_color(corner, colors[r * columns + c]) && is_color(end, colors[r * columns + c]), "cell %zu, %zu", r, c);
        }
}

/* ---- colours ------------------------------------------------------------------------------------------------------------- */

START_TEST(the_linear_scale_goes_from_zero_to_the_largest_value)
{
    const float values[] = { 1, 0.5F, 0.25F, 0, 0.125F, 0.999F };
    const uint16_t colors[] = { 255, 128, 64, 0, 32, 255 };
    for (size_t cell = 1; cell <= 64; cell = cell * 2 + 1) {
        attn_section s = { .title = "attentions", .layers = 1, .heads = 1, .queries = 2, .keys = 3 };
        attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, cell);
        picture p = draw_picture(&d, values);
        size_t x, y;
        find_color(&p, 255, &x, &y);
        check_cells(&p, colors, 2, 3, cell, x, y);
        free(p.pixels);
    }
}
END_TEST

START_TEST(the_linear_scale_begins_at_a_negative_least_value_and_masked_cells_are_grey)
{
    const float values[] = { 3, -1, 1, -INFINITY };
    const uint16_t colors[] = { 255, 0, 128, ATTN_MASKED };
    attn_section s = { .title = "scores", .layers = 1, .heads = 1, .queries = 2, .keys = 2 };
    attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, 8);
    picture p = draw_picture(&d, values);
    size_t x, y;
    find_color(&p, 255, &x, &y);
    check_cells(&p, colors, 2, 2, 8, x, y);
    free(p.pixels);
}
END_TEST

START_TEST(the_log_scale_spans_four_powers_of_ten)
{
    const float values[] = { 0.5F, 0.005F, 0.00005F, 0.000001F, 0, 0.05F };
    const uint16_t colors[] = { 255, 128, 0, 0, 0, 192 };
    attn_section s = { .title = "attentions", .layers = 1, .heads = 1, .queries = 3, .keys = 2 };
    attn_drawing d = one_section(&s, ATTN_SCALE_LOG, 5);
    picture p = draw_picture(&d, values);
    size_t x, y;
    find_color(&p, 255, &x, &y);
    for (size_t i = 0; i < 6; i++) { /* a logarithm is not exact: one step to either side */
        const uint8_t *rgb = pixel(&p, x + i % 2 * 5 + 2, y + i / 2 * 5 + 2);
        ck_assert_msg(is_color(rgb, colors[i]) || (colors[i] && is_color(rgb, colors[i] - 1U)) || (colors[i] < 255 && is_color(rgb, colors[i] + 1U)),
                      "cell %zu", i);
    }
    free(p.pixels);
}
END_TEST

START_TEST(the_row_scale_takes_each_row_by_its_own_largest_value)
{
    const float values[] = { 8, 4, 0.002F, 0.001F, 0, 0 };
    const uint16_t colors[] = { 255, 128, 255, 128, 0, 0 };
    attn_section s = { .title = "attentions", .layers = 1, .heads = 1, .queries = 3, .keys = 2 };
    attn_drawing d = one_section(&s, ATTN_SCALE_ROW, 8);
    picture p = draw_picture(&d, values);
    size_t x, y;
    find_color(&p, 255, &x, &y);
    check_cells(&p, colors, 3, 2, 8, x, y);
    free(p.pixels);
}
END_TEST

START_TEST(extreme_values_have_colours_too)
{
    const float values[] = { FLT_MAX, -FLT_MAX, 0, NAN, INFINITY, -INFINITY };
    const float zeros[6] = { 0 }, masked[] = { -INFINITY, -INFINITY };
    uint16_t colors[6];
    attn_range r = attn_range_find(ATTN_SCALE_LINEAR, values, 3);
    attn_color_row(&r, values, 3, colors);
    ck_assert(colors[0] == 255 && colors[1] == 0 && colors[2] == 128);
    r = attn_range_find(ATTN_SCALE_LINEAR, values, 6);
    attn_color_row(&r, values, 6, colors);
    ck_assert(r.has_masked && colors[3] == ATTN_MASKED && colors[5] == ATTN_MASKED);
    for (attn_scale scale = ATTN_SCALE_LINEAR; scale <= ATTN_SCALE_ROW; scale++) {
        r = attn_range_find(scale, zeros, 6);
        attn_color_row(&r, zeros, 6, colors);
        ck_assert(colors[0] == 0 && colors[5] == 0 && !r.has_masked);
        r = attn_range_find(scale, masked, 2);
        attn_color_row(&r, masked, 2, colors);
        ck_assert(colors[0] == ATTN_MASKED && r.has_masked);
    }
}
END_TEST

START_TEST(a_terminals_steps_grow_brighter)
{
    static const uint8_t level[] = { 0, 95, 135, 175, 215, 255 };
    double last = 0;
    for (uint16_t c = 0; c < 256; c++) {
        int n = attn_color_xterm(c) - 16;
        ck_assert(n >= 0 && n < 216);
        double r = pow(level[n / 36] / 255.0, 2.2), g = pow(level[n / 6 % 6] / 255.0, 2.2), b = pow(level[n % 6] / 255.0, 2.2);
        double bright = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        ck_assert_msg(bright >= last, "at %d", c);
        last = bright;
    }
    ck_assert_uint_ge(attn_color_xterm(ATTN_MASKED), 232);
}
END_TEST

/* ---- layout ------------------------------------------------------------------------------------------------------------- */

/* Panel l, h holds nothing but colour l * heads + h (times 20): the picture has to have them in rows and columns. */
START_TEST(panels_stand_in_a_row_a_layer_and_a_column_a_head)
{
    enum { LAYERS = 3, HEADS = 4, T = 5, CELL = 9 };
    float values[LAYERS * HEADS * T * T];
    for (size_t i = 0; i < LAYERS * HEADS * T * T; i++)
        values[i] = (float)(1 + i / (T * T)) / (LAYERS * HEADS);
    attn_section s = { .title = "attentions", .layers = LAYERS, .heads = HEADS, .queries = T, .keys = T };
    attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, CELL);
    picture p = draw_picture(&d, values);
    size_t at[LAYERS * HEADS][2];
    for (size_t i = 0; i < LAYERS * HEADS; i++) {
        uint16_t color;
        attn_range r = attn_range_find(ATTN_SCALE_LINEAR, values, LAYERS * HEADS * T * T);
        attn_color_row(&r, values + i * T * T, 1, &color);
        find_color(&p, color, &at[i][0], &at[i][1]);
        for (size_t y = 0; y < T * CELL; y++)
            for (size_t x = 0; x < T * CELL; x++)
                ck_assert(is_color(pixel(&p, at[i][0] + x, at[i][1] + y), color));
        ck_assert_uint_eq(at[i][0], at[i % HEADS][0]);
        ck_assert_uint_eq(at[i][1], at[i - i % HEADS][1]);
        ck_assert(i % HEADS == 0 || at[i][0] >= at[i - 1][0] + T * CELL);
        ck_assert(i < HEADS || at[i][1] >= at[i - HEADS][1] + T * CELL);
    }
    free(p.pixels);
}
END_TEST

START_TEST(cells_are_chosen_by_the_size_of_the_maps)
{
    static const struct {
        size_t layers, heads, tokens, least, most; /* side of the picture */
    } cases[] = { { 1, 1, 1, 400, 600 },    { 1, 1, 8, 400, 600 },     { 1, 1, 32, 1000, 1300 },   { 1, 1, 512, 1000, 1300 },  { 12, 12, 64, 2300, 3200 },
                  { 6, 12, 8, 1800, 3200 }, { 12, 1, 16, 1000, 6000 }, { 1, 1, 2048, 2048, 2300 }, { 12, 12, 512, 6144, 7500 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_section s = { .title = "t", .layers = cases[i].layers, .heads = cases[i].heads, .queries = cases[i].tokens, .keys = cases[i].tokens };
        attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, 0);
        attn_draw_size size = attn_draw_measure(&d);
        uint64_t side = size.width > size.height ? size.width : size.height;
        ck_assert_msg(side >= cases[i].least && side <= cases[i].most, "case %zu: %llu", i, (unsigned long long)side);
    }
}
END_TEST

/* The room that a layout gives a short word, without knowing the face, is enough for it: nothing of it is cut off. */
START_TEST(short_words_have_room_whatever_their_letters)
{
    static const char *const list[] = { "NASA",   "mom", "WWW",   "MM",          "1000\u20261030", "@@@", "OQO", "###", "\u0416\u0443\u043A",
                                        "\u00C6", "==",  "[CLS]", "\u2581\u2581" };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (size_t cell = 12; cell <= 24; cell += 12) {
            const words w = { &list[i], 1 };
            attn_section s = { .title = "t", .layers = 1, .heads = 1, .queries = 2, .keys = 2, .label = word_label, .label_ctx = &w };
            attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, cell);
            attn_grid g = attn_layout_grid(&d, 0, 0);
            attn_image whole;
            ck_assert_int_eq(attn_text_draw(fonts, list[i], strlen(list[i]), g.font, 1000, &whole, NULL), ATTN_OK);
            ck_assert_msg(whole.width + ATTN_TICK + 2 <= g.query_width, "%s: %zu pixels into %zu", list[i], whole.width, g.query_width);
            ck_assert_uint_le(whole.width + ATTN_TICK + 2, g.key_height);
            attn_free(whole.pixels);
        }
}
END_TEST

START_TEST(a_side_beyond_the_most_is_refused_with_both_numbers)
{
    attn_section s = { .title = "t", .layers = 1, .heads = 1, .queries = 1, .keys = 2000 };
    attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, 17);
    attn_drawer *drawer;
    attn_error err = { 0 };
    sheet out = { 0 };
    ck_assert_int_eq(attn_drawer_open(&drawer, &d, sheet_write, &out, NULL, &err), ATTN_E_LIMIT);
    ck_assert_uint_eq(err.limit, ATTN_DRAW_MAX_SIDE);
    ck_assert_uint_gt(err.need, 34000);
    ck_assert_uint_eq(out.length, 0);
    s.keys = SIZE_MAX; /* nothing wraps around */
    s.layers = s.queries = s.heads = SIZE_MAX / 3;
    attn_draw_size size = attn_draw_measure(&d);
    ck_assert(size.width == UINT64_MAX && size.bytes == UINT64_MAX && size.memory == UINT64_MAX);
    d.kind = ATTN_DRAW_SVG;
    ck_assert(attn_draw_measure(&d).bytes == UINT64_MAX);
    d.kind = ATTN_DRAW_TEXT;
    ck_assert(attn_draw_measure(&d).bytes == UINT64_MAX);
}
END_TEST

/* Tall labels, no labels to speak of, single cells: sections below one another are all there, and the file is as high as was said. */
START_TEST(sections_of_any_shape_follow_one_another)
{
    static const char *const list[] = { "a", "", "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww", "\xF0\x9F\x98\x80", "two words" };
    static float values[3 * 2 * 70 * 3 + 1 + 200 * 300];
    const words w = { list, 5 };
    const int32_t numbers[] = { 11, 0, 7 };
    attn_section s[] = {
        { .title = "attentions", .layers = 3, .heads = 2, .queries = 70, .keys = 3, .layer_numbers = numbers, .label = word_label, .label_ctx = &w },
        { .title = "", .layers = 1, .heads = 1, .queries = 1, .keys = 1, .no_layers = "mean over layers", .no_heads = "mean over heads" },
        { .title = "weighted_norms", .layers = 1, .heads = 1, .queries = 200, .keys = 300, .no_heads = "max over heads" },
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)(i % 251);
    attn_drawing d = { .kind = ATTN_DRAW_PNG, .section = one_of, .section_ctx = (void *)s, .num_sections = 3, .fonts = fonts };
    for (d.cell = 0; d.cell <= 40; d.cell += 13) {
        picture p = draw_picture(&d, values);
        free(p.pixels);
    }
}
END_TEST

/* ---- what goes wrong ------------------------------------------------------------------------------------------------------ */

static const char *const few_words[] = { "the", "\xE6\x97\xA5\xE6\x9C\xAC", "\n" };
static const words few = { few_words, 3 };
static const attn_section small = { .title = "attentions", .layers = 2, .heads = 2, .queries = 3, .keys = 3, .label = word_label, .label_ctx = &few };
static float some_values[36];

START_TEST(every_allocation_may_fail)
{
    for (size_t i = 0; i < 36; i++)
        some_values[i] = i == 7 ? -INFINITY : (float)i;
    attn_drawing d = one_section(&small, ATTN_SCALE_LINEAR, 0);
    ck_assert_uint_gt(fail_each_allocation(&d, some_values), 40);
    d.kind = ATTN_DRAW_SVG;
    ck_assert_uint_gt(fail_each_allocation(&d, some_values), 20);
    d.kind = ATTN_DRAW_TEXT;
    ck_assert_uint_gt(fail_each_allocation(&d, some_values), 3);
}
END_TEST

START_TEST(fonts_that_find_no_memory_say_so)
{
    size_t n = 0;
    for (attn_status st = ATTN_E_NOMEM; st != ATTN_OK; n++) {
        allowance a = { .left = n };
        attn_fonts *f = NULL;
        attn_error err = { 0 };
        attn_memory_hook(allow, &a);
        st = attn_fonts_open(&f, NULL, &err);
        attn_memory_hook(NULL, NULL);
        ck_assert_msg(st == ATTN_OK || st == ATTN_E_NOMEM, "status %d when allocation %zu fails", (int)st, n);
        ck_assert((f != NULL) == (st == ATTN_OK));
        attn_fonts_close(f);
    }
    ck_assert_uint_gt(n, 20);
    attn_fonts_close(NULL);
}
END_TEST

typedef struct watermark {
    size_t before, most;
} watermark;

static size_t held_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static bool watch(void *ctx, size_t bytes)
{
    watermark *w = ctx;
    size_t now = held_bytes() + bytes - w->before;
    w->most = now > w->most && held_bytes() + bytes > w->before ? now : w->most;
    return true;
}

static attn_status discard(void *ctx, const void *bytes, size_t n)
{
    (void)ctx;
    (void)bytes;
    (void)n;
    return ATTN_OK;
}

static size_t most_held(const attn_drawing *d, const float *values)
{
    watermark w = { .before = held_bytes() };
    attn_drawer *drawer;
    attn_memory_hook(watch, &w);
    ck_assert_int_eq(attn_drawer_open(&drawer, d, discard, NULL, NULL, NULL), ATTN_OK);
    ck_assert_int_eq(attn_drawer_section(drawer, values, NULL), ATTN_OK);
    ck_assert_int_eq(attn_drawer_end(drawer, NULL), ATTN_OK);
    attn_drawer_close(drawer);
    attn_memory_hook(NULL, NULL);
    return w.most;
}

/* What malloc has given out is looked at whenever more is asked for. (A sanitizer's malloc does not tell, and then nothing is seen.) */
START_TEST(memory_stays_within_what_was_said)
{
    static const size_t sides[] = { 1, 9, 40, 400 };
    static float values[2 * 3 * 400 * 400];
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        attn_section s = { .title = "attentions", .layers = 2, .heads = 3, .queries = sides[i], .keys = sides[i], .label = word_label, .label_ctx = &few };
        attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, 0);
        for (d.kind = ATTN_DRAW_PNG; d.kind <= ATTN_DRAW_TEXT; d.kind++) {
            most_held(&d, values); /* faces are open now, glyphs known */
            size_t most = most_held(&d, values);
            attn_draw_size size = attn_draw_measure(&d);
            ck_assert_msg(most <= size.memory, "kind %d, side %zu: %zu held, %llu said", (int)d.kind, sides[i], most, (unsigned long long)size.memory);
        }
    }
}
END_TEST

/* Noise does not compress: every cell another colour than its neighbours. */
START_TEST(bytes_stay_within_what_was_said_for_noise_too)
{
    enum { T = 400 };
    static float values[2 * T * T];
    uint32_t x = 1;
    for (size_t i = 0; i < 2 * T * T; i++) {
        x = x * 1664525 + 1013904223;
        values[i] = (float)(x >> 8) / 16777216;
    }
    attn_section s = { .title = "attentions", .layers = 1, .heads = 2, .queries = T, .keys = T };
    attn_drawing d = one_section(&s, ATTN_SCALE_LINEAR, 1);
    d.color = ATTN_DRAW_TRUECOLOR;
    for (int masked = 0; masked < 2; masked++) {
        for (d.kind = ATTN_DRAW_PNG; d.kind <= ATTN_DRAW_TEXT; d.kind++) {
            sheet out = draw_well(&d, values);
            ck_assert_msg(d.kind == ATTN_DRAW_TEXT || out.length > 2 * T * T, "%zu bytes are no noise", out.length);
            sheet_free(&out);
        }
        values[5] = -INFINITY;
    }
}
END_TEST

START_TEST(a_raised_cancel_ends_it_before_the_next_row)
{
    attn_cancel cancel = { 0 };
    attn_drawing d = one_section(&small, ATTN_SCALE_LINEAR, 0);
    attn_cancel_raise(&cancel, ATTN_CLIENT_GONE);
    for (d.kind = ATTN_DRAW_PNG; d.kind <= ATTN_DRAW_TEXT; d.kind++) {
        sheet out = { 0 };
        ck_assert_int_eq(draw(&d, some_values, &out, &cancel), ATTN_E_CANCELLED);
        ck_assert_uint_lt(out.length, 4096);
        sheet_free(&out);
    }
}
END_TEST

START_TEST(what_the_reader_says_is_passed_on)
{
    attn_drawing d = one_section(&small, ATTN_SCALE_LINEAR, 0);
    for (d.kind = ATTN_DRAW_PNG; d.kind <= ATTN_DRAW_TEXT; d.kind++) {
        sheet whole = draw_well(&d, some_values);
        for (size_t after = 1; after < whole.length; after += 1 + whole.length / 23) {
            sheet out = { .gone_after = after };
            ck_assert_int_eq(draw(&d, some_values, &out, NULL), ATTN_E_IO);
            ck_assert_uint_le(out.length, after);
            sheet_free(&out);
        }
        sheet_free(&whole);
    }
}
END_TEST

START_TEST(sections_are_as_many_as_were_said)
{
    attn_drawing d = one_section(&small, ATTN_SCALE_LINEAR, 0);
    for (d.kind = ATTN_DRAW_PNG; d.kind <= ATTN_DRAW_TEXT; d.kind++) {
        attn_drawer *drawer;
        attn_error err = { 0 };
        sheet out = { 0 };
        ck_assert_int_eq(attn_drawer_open(&drawer, &d, sheet_write, &out, NULL, &err), ATTN_OK);
        ck_assert_int_eq(attn_drawer_end(drawer, &err), ATTN_E_INTERNAL);
        attn_drawer_close(drawer);
        ck_assert_int_eq(attn_drawer_open(&drawer, &d, sheet_write, &out, NULL, NULL), ATTN_OK);
        ck_assert_int_eq(attn_drawer_section(drawer, some_values, NULL), ATTN_OK);
        ck_assert_int_eq(attn_drawer_section(drawer, some_values, NULL), ATTN_E_INTERNAL);
        attn_drawer_close(drawer);
        sheet_free(&out);
    }
}
END_TEST

START_TEST(a_png_without_fonts_is_our_own_fault)
{
    attn_drawing d = one_section(&small, ATTN_SCALE_LINEAR, 0);
    sheet out = { 0 };
    d.fonts = NULL;
    ck_assert_int_eq(draw(&d, some_values, &out, NULL), ATTN_E_INTERNAL);
    sheet_free(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("draw");
    TCase *c = tcase_create("png");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, the_linear_scale_goes_from_zero_to_the_largest_value);
    tcase_add_test(c, the_linear_scale_begins_at_a_negative_least_value_and_masked_cells_are_grey);
    tcase_add_test(c, the_log_scale_spans_four_powers_of_ten);
    tcase_add_test(c, the_row_scale_takes_each_row_by_its_own_largest_value);
    tcase_add_test(c, extreme_values_have_colours_too);
    tcase_add_test(c, a_terminals_steps_grow_brighter);
    tcase_add_test(c, panels_stand_in_a_row_a_layer_and_a_column_a_head);
    tcase_add_test(c, cells_are_chosen_by_the_size_of_the_maps);
    tcase_add_test(c, short_words_have_room_whatever_their_letters);
    tcase_add_test(c, a_side_beyond_the_most_is_refused_with_both_numbers);
    tcase_add_test(c, sections_of_any_shape_follow_one_another);
    tcase_add_test(c, every_allocation_may_fail);
    tcase_add_test(c, fonts_that_find_no_memory_say_so);
    tcase_add_test(c, memory_stays_within_what_was_said);
    tcase_add_test(c, bytes_stay_within_what_was_said_for_noise_too);
    tcase_add_test(c, a_raised_cancel_ends_it_before_the_next_row);
    tcase_add_test(c, what_the_reader_says_is_passed_on);
    tcase_add_test(c, sections_are_as_many_as_were_said);
    tcase_add_test(c, a_png_without_fonts_is_our_own_fault);
    suite_add_tcase(s, c);
    return unit_main(s);
}
