/* Labels, maps for a terminal, and SVG: text that keeps its width whatever the script, says what it leaves out, and holds nothing a reader could trip over.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/label.h"
#include "draw_case.h"

#include <math.h>
#include <stdio.h>

/* ---- labels -------------------------------------------------------------------------------------------------------------- */

START_TEST(labels_come_as_they_may_be_shown)
{
    static const struct {
        const char *in;
        size_t length, max;
        const char *out;
        size_t columns;
    } cases[] = {
        { "the", 3, 10, "the", 3 },
        { "", 0, 10, "", 0 },
        { "  ", 2, 10, "\u2423\u2423", 2 }, /* a token of spaces is to be seen */
        { " the", 4, 10, " the", 4 },
        { "abcdef", 6, 6, "abcdef", 6 },
        { "abcdefg", 7, 6, "abcde\u2026", 6 },
        { "\u65E5\u672C\u8A9E", 9, 6, "\u65E5\u672C\u8A9E", 6 }, /* wide: two columns each */
        { "\u65E5\u672C\u8A9E", 9, 5, "\u65E5\u672C\u2026", 5 },
        { "\u65E5\u672C\u8A9E", 9, 4, "\u65E5\u2026", 3 },
        { "e\u0301e\u0301e\u0301", 9, 3, "e\u0301e\u0301e\u0301", 3 }, /* marks: none */
        { "a\nb\tc\r", 6, 20, "a\\nb\\tc\\r", 9 },
        { "\x1b[31m", 5, 20, "\\u001b[31m", 10 },
        { "a\0b", 3, 20, "a\\u0000b", 8 },
        { "\x7f", 1, 20, "\\u007f", 6 },
        { "\xC2\x85\u2028\u200B\uFEFF", 11, 40, "\\u0085\\u2028\\u200b\\ufeff", 24 },
        { "a\u202Eb", 5, 20, "a\\u202eb", 8 }, /* would turn round what follows */
        { "\uFFFE", 3, 20, "\\ufffe", 6 },     /* no XML may hold it */
        { "\xff\xfe", 2, 20, "\uFFFD\uFFFD", 2 },
        { "\xE6\x97", 2, 20, "\uFFFD\uFFFD", 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_label label;
        attn_label_make(&label, (attn_text){ cases[i].in, cases[i].length }, cases[i].max);
        ck_assert_msg(strcmp(label.text, cases[i].out) == 0, "case %zu: %s", i, label.text);
        ck_assert_uint_eq(label.length, strlen(cases[i].out));
        ck_assert_msg(label.columns == cases[i].columns, "case %zu: %zu columns", i, label.columns);
    }
}
END_TEST

/* A letter may carry any number of marks. */
START_TEST(labels_are_bounded_whatever_they_carry)
{
    char text[4001] = "e";
    for (size_t i = 0; i < 2000; i++)
        memcpy(text + 1 + 2 * i, "\u0301", 2);
    attn_label label;
    attn_label_make(&label, (attn_text){ text, 4001 }, 10);
    ck_assert_uint_lt(label.length, ATTN_LABEL_BYTES);
    ck_assert_uint_gt(label.length, ATTN_LABEL_BYTES - 8);
    ck_assert_str_eq(label.text + label.length - 3, "\u2026");
}
END_TEST

/* ---- terminals ------------------------------------------------------------------------------------------------------------ */

/* Columns of a line as a terminal counts them, escape sequences left out. */
static size_t columns_of(const char *s, const char *end)
{
    size_t columns = 0;
    while (s < end) {
        if (*s == '\x1b') {
            while (s < end && *s++ != 'm')
                continue;
            continue;
        }
        columns += attn_label_columns(attn_label_next(&s, end));
    }
    return columns;
}

static void check_lines(const sheet *out, size_t most)
{
    for (const char *s = out->bytes, *end; *s; s = end + 1) {
        end = strchr(s, '\n');
        ck_assert_msg(end != NULL, "the last line has an end");
        ck_assert_msg(columns_of(s, end) <= most, "%zu columns: %.*s", columns_of(s, end), (int)(end - s), s);
    }
}

static const char *const many_words[] = {
    "[CLS]",
    "the",
    "\u65E5\u672C\u8A9E",
    "\u0645\u0631\u062D\u0628\u0627",
    "\U0001F600",
    "a\"b<c>&d'",
    "line\nbreak\x1b[31m",
    "a-very-long-token-indeed-and-then-some",
    "\U0001F469\u200D\U0001F469\u200D\U0001F467",
    "e\u0301\u0301",
    "\u0939\u093F\u0928\u094D\u0926\u0940",
    "",
    " ",
    "]]>",
    "--",
};
static const words many = { many_words, sizeof many_words / sizeof *many_words };
static const char *const narrow_words[] = { "a", "bc", "def" };
static const words narrow = { narrow_words, 3 };

START_TEST(lines_fit_eighty_columns_for_maps_of_any_size)
{
    static const size_t sizes[] = { 1, 2, 31, 32, 33, 63, 64, 65, 79, 80, 81, 200 };
    static float values[200 * 200];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int labels = 0; labels < 3; labels++)
            for (attn_draw_color color = ATTN_DRAW_256; color <= ATTN_DRAW_PLAIN; color++) {
                attn_section s = { .title = "attentions, mean over heads of the last layer; choose layers and heads to see others, pooled to so many bins",
                                   .layers = 1,
                                   .heads = 1,
                                   .queries = sizes[i],
                                   .keys = sizes[i] };
                s.label = labels ? word_label : NULL;
                s.label_ctx = labels == 1 ? &narrow : &many;
                attn_drawing d = {
                    .kind = ATTN_DRAW_TEXT, .heading = "a model with quite a long name", .section = one_of, .section_ctx = &s, .num_sections = 1, .color = color
                };
                sheet out = draw_well(&d, values);
                check_lines(&out, 80);
                sheet_free(&out);
            }
}
END_TEST

static attn_drawing plain(const attn_section *s)
{
    return (attn_drawing){ .kind = ATTN_DRAW_TEXT, .section = one_of, .section_ctx = (void *)s, .num_sections = 1, .color = ATTN_DRAW_PLAIN };
}

START_TEST(without_colour_a_map_is_characters_and_nothing_else)
{
    static const char *const list[] = { "a", "bc" };
    const words w = { list, 2 };
    const float values[] = { 1, 0, 0.5F, -INFINITY };
    attn_section s = { .title = "scores", .layers = 1, .heads = 1, .queries = 2, .keys = 2, .label = word_label, .label_ctx = &w };
    attn_drawing d = plain(&s);
    d.heading = "model";
    sheet out = draw_well(&d, values);
    ck_assert_str_eq(out.bytes, "model\n\nscores\n0 [ .:-=+*#%@] 1  // masked\nqueries (rows) look at keys (columns)\n\nlayer 0 \u00b7 head 0\n"
                                "     b \n   a c \n a @@  \nbc ++//\n");
    sheet_free(&out);
}
END_TEST

/* The longest legend there is, and numbers as wide as they come. */
START_TEST(legends_fit_eighty_columns_too)
{
    const float values[] = { -3.45e-38F, -3.21e38F, 1, -INFINITY };
    attn_section s = { .title = "scores", .layers = 1, .heads = 1, .queries = 2, .keys = 2 };
    attn_drawing d = plain(&s);
    for (d.scale = ATTN_SCALE_LINEAR; d.scale <= ATTN_SCALE_ROW; d.scale++)
        for (d.color = ATTN_DRAW_256; d.color <= ATTN_DRAW_PLAIN; d.color++) {
            sheet out = draw_well(&d, values);
            check_lines(&out, 80);
            ck_assert_ptr_nonnull(strstr(out.bytes, "masked\n"));
            ck_assert_ptr_nonnull(strstr(out.bytes, "queries (rows) look at keys (columns)\n"));
            sheet_free(&out);
        }
    ck_assert_int_eq(d.scale, ATTN_SCALE_ROW + 1);
}
END_TEST

/* A terminal that orders lines by the bidirectional algorithm would swap neighbours of one script: each stands between marks of the line's direction. */
START_TEST(letters_from_right_to_left_stay_in_their_columns)
{
    static const char *const list[] = { "\u05D0", "\u0661\u0662", "a" };
    static float values[9];
    const words w = { list, 3 };
    attn_section s = { .title = "t", .layers = 1, .heads = 1, .queries = 3, .keys = 3, .label = word_label, .label_ctx = &w };
    attn_drawing d = plain(&s);
    sheet out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "\n     \u200e\u0661\u200e   \n   \u200e\u05D0\u200e \u200e\u0662\u200e a \n"));
    ck_assert_ptr_nonnull(strstr(out.bytes, "\n \u200e\u05D0\u200e       \n\u200e\u0661\u0662\u200e       \n a       \n"));
    sheet_free(&out);
}
END_TEST

START_TEST(colours_are_set_before_and_reset_behind_every_run_of_cells)
{
    const float values[] = { 1, 1, 0, 0 };
    attn_section s = { .title = "t", .layers = 1, .heads = 1, .queries = 1, .keys = 4 };
    attn_drawing d = plain(&s);
    d.color = ATTN_DRAW_256;
    sheet out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "0 \x1b[48;5;220m    \x1b[48;5;53m    \x1b[0m\n"));
    sheet_free(&out);
    d.color = ATTN_DRAW_TRUECOLOR;
    out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "0 \x1b[48;2;253;231;37m    \x1b[48;2;68;1;84m    \x1b[0m\n"));
    sheet_free(&out);
}
END_TEST

START_TEST(what_is_left_out_is_said)
{
    static float values[200 * 200];
    attn_section s = { .title = "t", .layers = 1, .heads = 1, .queries = 129, .keys = 78 };
    attn_drawing d = plain(&s);
    sheet out = draw_well(&d, values); /* three digits and a space leave 76 columns */
    ck_assert_ptr_nonnull(strstr(out.bytes, "\n\u2026 2 more keys, 1 more query\n"));
    sheet_free(&out);
    s.queries = 200;
    s.keys = 76;
    out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "\n\u2026 72 more queries\n"));
    sheet_free(&out);
    s.queries = 128;
    out = draw_well(&d, values);
    ck_assert_ptr_null(strstr(out.bytes, "more"));
    sheet_free(&out);
    s.keys = 77;
    out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "\n\u2026 1 more key\n"));
    sheet_free(&out);
}
END_TEST

START_TEST(panels_come_one_below_the_other_with_their_original_numbers)
{
    static float values[4];
    const int32_t layers[] = { 5, 2 }, heads[] = { 11, 0 };
    attn_section s = { .title = "attentions", .layers = 2, .heads = 2, .queries = 1, .keys = 1, .layer_numbers = layers, .head_numbers = heads };
    attn_drawing d = plain(&s);
    sheet out = draw_well(&d, values);
    const char *a = strstr(out.bytes, "layer 5 \u00b7 head 11\n"), *b = strstr(out.bytes, "layer 5 \u00b7 head 0\n");
    const char *c = strstr(out.bytes, "layer 2 \u00b7 head 11\n"), *e = strstr(out.bytes, "layer 2 \u00b7 head 0\n");
    ck_assert(a && b && c && e && a < b && b < c && c < e);
    sheet_free(&out);
    s.no_heads = "mean over heads";
    s.heads = 1;
    out = draw_well(&d, values);
    ck_assert_ptr_nonnull(strstr(out.bytes, "layer 2 \u00b7 mean over heads\n"));
    sheet_free(&out);
}
END_TEST

/* ---- SVG ----------------------------------------------------------------------------------------------------------------- */

static size_t count(const char *s, const char *what)
{
    size_t n = 0;
    for (; (s = strstr(s, what)) != NULL; s += strlen(what))
        n++;
    return n;
}

/* Markup of a hostile label, in whatever place, would show as one tag too many or an entity that is none. */
START_TEST(svg_escapes_what_labels_hold)
{
    static float values[2 * 2 * 15 * 15];
    attn_section s = { .title = "<script>&amp;</script>", .layers = 2, .heads = 2, .queries = 15, .keys = 15, .label = word_label, .label_ctx = &many };
    attn_drawing d = { .kind = ATTN_DRAW_SVG, .heading = "</title>\"'", .section = one_of, .section_ctx = &s, .num_sections = 1 };
    sheet out = draw_well(&d, values);
    ck_assert_uint_eq(count(out.bytes, "<script"), 0);
    ck_assert_ptr_nonnull(strstr(out.bytes, "&lt;script&gt;&amp;amp;&lt;/script&gt;"));
    ck_assert_uint_eq(count(out.bytes, "</title>"), 1);
    ck_assert_uint_eq(count(out.bytes, "a&quot;b&lt;c&gt;&amp;d'"), 4); /* a query in both rows, a key in both columns */
    ck_assert_uint_eq(count(out.bytes, "<image "), 4);
    ck_assert_uint_eq(count(out.bytes, ">queries (rows) look at keys (columns)</text>"), 1);
    ck_assert_uint_eq(count(out.bytes, "data:image/png;base64,iVBORw0KGgo"), 4);
    for (size_t i = 0; i < out.length; i++)
        ck_assert((unsigned char)out.bytes[i] >= 0x20 || out.bytes[i] == '\n');
    ck_assert_str_eq(out.bytes + out.length - 7, "</svg>\n");
    sheet_free(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("draw_text");
    TCase *c = tcase_create("text");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, labels_come_as_they_may_be_shown);
    tcase_add_test(c, labels_are_bounded_whatever_they_carry);
    tcase_add_test(c, lines_fit_eighty_columns_for_maps_of_any_size);
    tcase_add_test(c, without_colour_a_map_is_characters_and_nothing_else);
    tcase_add_test(c, legends_fit_eighty_columns_too);
    tcase_add_test(c, letters_from_right_to_left_stay_in_their_columns);
    tcase_add_test(c, colours_are_set_before_and_reset_behind_every_run_of_cells);
    tcase_add_test(c, what_is_left_out_is_said);
    tcase_add_test(c, panels_come_one_below_the_other_with_their_original_numbers);
    tcase_add_test(c, svg_escapes_what_labels_hold);
    suite_add_tcase(s, c);
    return unit_main(s);
}
