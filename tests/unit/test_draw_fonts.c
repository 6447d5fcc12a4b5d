/* Text in pictures: faces are found where they are, scripts are shaped, what no face has is a box that says what it is; damaged files do no harm.
 * The fonts searched are the few glyphs in tests/unit/fonts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/fonts.h"
#include "draw_case.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const test_folder[] = { "no/such/folder", "tests/unit/fonts", NULL };
static const char *const no_folder[] = { NULL };

static attn_fonts *open_fonts(const char *const *folders)
{
    attn_fonts *fonts;
    attn_error err = { 0 };
    ck_assert_msg(attn_fonts_open(&fonts, folders, &err) == ATTN_OK, "%s", err.text);
    return fonts;
}

static attn_image draw_text(attn_fonts *fonts, const char *text, size_t max_width)
{
    attn_image image;
    ck_assert_int_eq(attn_text_draw(fonts, text, strlen(text), 16, max_width, &image, NULL), ATTN_OK);
    ck_assert_uint_eq(image.height, attn_text_height(16));
    ck_assert_uint_le(image.width, max_width);
    return image;
}

static bool same_image(const attn_image *a, const attn_image *b)
{
    return a->width == b->width && a->height == b->height && memcmp(a->pixels, b->pixels, a->width * a->height * 4) == 0;
}

static size_t inked(const attn_image *image)
{
    size_t n = 0;
    for (size_t i = 0; i < image->width * image->height; i++)
        n += image->pixels[4 * i + 3] > 0;
    return n;
}

/* Pixels that are no grey. */
static size_t colored(const attn_image *image)
{
    size_t n = 0;
    for (size_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *p = image->pixels + 4 * i;
        n += p[0] > p[2] + 40;
    }
    return n;
}

/* Is it drawn otherwise with the test's faces than without any: that is, not as boxes? */
static bool is_found(const char *text)
{
    attn_fonts *with = open_fonts(test_folder), *without = open_fonts(no_folder);
    attn_image a = draw_text(with, text, 1000), b = draw_text(without, text, 1000);
    bool differs = !same_image(&a, &b);
    ck_assert_uint_gt(inked(&a), 10);
    attn_free(a.pixels);
    attn_free(b.pixels);
    attn_fonts_close(with);
    attn_fonts_close(without);
    return differs;
}

START_TEST(the_face_inside_has_latin_greek_cyrillic_and_the_marks_of_tokenizers)
{
    ck_assert(
        !is_found("Hello, \u0120the \u2581the \u03B1\u03B2\u03B3 \u043F\u0440\u0438\u0432\u0435\u0442 \u00E9\u0142\u0161 \u2026\u00B7\u2013\u2014\u2192"));
    attn_fonts *fonts = open_fonts(no_folder);
    static const int32_t must[] = { '~', 0xE9, 0x120, 0x142, 0x3B1, 0x434, 0x301, 0x2026, 0x2014, 0x2192, 0x2264, 0x2423, 0x2581, 0xFFFD };
    for (size_t i = 0; i < sizeof must / sizeof *must; i++)
        ck_assert_msg(attn_face_for(fonts, must[i]) == 0, "U+%04X", (unsigned)must[i]);
    ck_assert_int_eq(attn_face_for(fonts, 0x65E5), ATTN_NO_FACE);
    attn_fonts_close(fonts);
}
END_TEST

START_TEST(other_scripts_are_found_in_folders)
{
    ck_assert(is_found("\u65E5\u672C\u8A9E"));
    ck_assert(is_found("\u0645\u0631\u062D\u0628\u0627"));
    ck_assert(is_found("\U0001F600"));
    ck_assert(!is_found("\u0939")); /* nobody has it: the same box */
}
END_TEST

START_TEST(emoji_come_in_colour)
{
    attn_fonts *fonts = open_fonts(test_folder);
    attn_image image = draw_text(fonts, "\U0001F600", 100);
    ck_assert_uint_gt(colored(&image), image.width * image.width / 3);
    ck_assert(image.width >= 14 && image.width <= 24);
    attn_free(image.pixels);
    attn_fonts_close(fonts);
}
END_TEST

/* Joined letters are narrower than the same letters apart, and the word reads from right to left: its last letter, a tall alef, stands at the left. */
START_TEST(arabic_is_joined_and_goes_from_right_to_left)
{
    attn_fonts *fonts = open_fonts(test_folder);
    attn_image joined = draw_text(fonts, "\u0645\u0631\u062D\u0628\u0627", 1000),
               apart = draw_text(fonts, "\u0645\u200C\u0631\u200C\u062D\u200C\u0628\u200C\u0627", 1000);
    attn_image alef = draw_text(fonts, "\u0627", 1000);
    ck_assert_uint_lt(joined.width, apart.width);
    size_t top = 0, left = 0;
    for (size_t y = 0; y < joined.height; y++)
        for (size_t x = 0; x < joined.width && top == 0; x++)
            if (joined.pixels[4 * (y * joined.width + x) + 3] > 100) {
                top = y;
                left = x;
            }
    ck_assert_uint_lt(left, joined.width / 3);
    ck_assert_uint_lt(alef.width, joined.width / 3);
    attn_free(joined.pixels);
    attn_free(apart.pixels);
    attn_free(alef.pixels);
    attn_fonts_close(fonts);
}
END_TEST

START_TEST(numbers_stay_readable_inside_a_line_from_right_to_left)
{
    attn_fonts *fonts = open_fonts(test_folder);
    attn_image line = draw_text(fonts,
                                "\u0627"
                                "17",
                                1000),
               number = draw_text(fonts, "17", 1000);
    for (size_t y = 0; y < number.height; y++)
        for (size_t x = 0; x + 1 < number.width; x++)
            ck_assert_uint_eq(line.pixels[4 * (y * line.width + x) + 3], number.pixels[4 * (y * number.width + x) + 3]);
    attn_free(line.pixels);
    attn_free(number.pixels);
    attn_fonts_close(fonts);
}
END_TEST

START_TEST(what_does_not_fit_ends_in_an_ellipsis)
{
    attn_fonts *fonts = open_fonts(test_folder);
    attn_image whole = draw_text(fonts, "incomprehensibilities", 1000), dots = draw_text(fonts, "\u2026", 1000);
    for (size_t width = dots.width; width < whole.width; width += 7) {
        attn_image part = draw_text(fonts, "incomprehensibilities", width);
        ck_assert_uint_gt(part.width + 16, width);
        for (size_t x = 0; x + 1 < dots.width; x++) /* its end looks like an ellipsis' end, three dots on the baseline and nothing above */
            for (size_t y = 0; y < attn_text_baseline(16) / 2; y++)
                ck_assert_uint_eq(part.pixels[4 * (y * part.width + part.width - 1 - x) + 3], 0);
        attn_free(part.pixels);
    }
    attn_image none = draw_text(fonts, "incomprehensibilities", 3);
    attn_free(none.pixels);
    attn_free(whole.pixels);
    attn_free(dots.pixels);
    attn_fonts_close(fonts);
}
END_TEST

START_TEST(boxes_differ_by_code_point_and_nothing_is_drawn_for_nothing)
{
    attn_fonts *fonts = open_fonts(no_folder);
    attn_image a = draw_text(fonts, "\u0939", 100), b = draw_text(fonts, "\u0938", 100), c = draw_text(fonts, "\U00013000", 100),
               none = draw_text(fonts, "", 100);
    ck_assert(!same_image(&a, &b));
    ck_assert_uint_gt(c.width, a.width);
    ck_assert_uint_eq(none.width, 0);
    attn_free(a.pixels);
    attn_free(b.pixels);
    attn_free(c.pixels);
    attn_free(none.pixels);
    attn_fonts_close(fonts);
}
END_TEST

START_TEST(a_turned_image_reads_upwards)
{
    attn_image image = { .width = 3, .height = 2, .pixels = attn_calloc(6, 4) };
    for (uint8_t i = 0; i < 6; i++)
        image.pixels[4 * i] = i;
    ck_assert_int_eq(attn_image_turn(&image, NULL), ATTN_OK);
    static const uint8_t expected[] = { 2, 5, 1, 4, 0, 3 };
    ck_assert(image.width == 2 && image.height == 3);
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_eq(image.pixels[4 * i], expected[i]);
    attn_free(image.pixels);
}
END_TEST

/* ---- what goes wrong ------------------------------------------------------------------------------------------------------ */

START_TEST(every_allocation_may_fail_while_faces_are_searched)
{
    static const char text[] = "a \u65E5 \u0645\u0631\u062D \U0001F600 \u0939";
    size_t n = 0;
    for (attn_status st = ATTN_E_NOMEM; st != ATTN_OK; n++) {
        attn_fonts *fonts = open_fonts(test_folder);
        attn_image image, again;
        allowance a = { .left = n };
        attn_memory_hook(allow, &a);
        st = attn_text_draw(fonts, text, strlen(text), 16, 500, &image, NULL);
        attn_memory_hook(NULL, NULL);
        ck_assert(st == ATTN_OK || st == ATTN_E_NOMEM);
        ck_assert((image.pixels != NULL) == (st == ATTN_OK));
        ck_assert_int_eq(attn_text_draw(fonts, text, strlen(text), 16, 500, &again, NULL), ATTN_OK); /* nothing wrong was remembered */
        attn_image right = draw_text(fonts, text, 500);
        ck_assert(same_image(&again, &right));
        ck_assert_uint_gt(colored(&again), 20);
        attn_free(image.pixels);
        attn_free(again.pixels);
        attn_free(right.pixels);
        attn_fonts_close(fonts);
    }
    ck_assert_uint_gt(n, 30);
}
END_TEST

static size_t read_whole(const char *path, unsigned char *bytes, size_t size)
{
    int f = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(f, 0);
    ssize_t n = read(f, bytes, size);
    close(f);
    ck_assert_int_gt(n, 0);
    return (size_t)n;
}

static void write_whole(const char *path, const unsigned char *bytes, size_t n)
{
    int f = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(f, 0);
    ck_assert_int_eq(write(f, bytes, n), (ssize_t)n);
    close(f);
}

static void draw_from(const char *folder, const char *text)
{
    const char *const folders[] = { folder, NULL };
    attn_fonts *fonts = open_fonts(folders);
    attn_image image = draw_text(fonts, text, 500);
    attn_free(image.pixels);
    attn_fonts_close(fonts);
}

/* Cut short, and with a byte changed here and there: something is drawn, and the rest of the process is well. */
START_TEST(damaged_fonts_do_no_harm)
{
    static const char *const files[] = { "tests/unit/fonts/arabic/TestArabic-Regular.ttf", "tests/unit/fonts/far-east/TestCJK.ttf",
                                         "tests/unit/fonts/TestColorEmoji.ttf" };
    static const char text[] = "\u0645\u0631\u062D\u0628\u0627 \u65E5\u672C\u8A9E \U0001F600";
    char folder[] = "/tmp/attnd-fonts-XXXXXX", path[64];
    unsigned char bytes[8192];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/damaged.ttf", folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t n = read_whole(files[i], bytes, sizeof bytes);
        for (size_t cut = 0; cut < n; cut += n / 19) {
            write_whole(path, bytes, cut);
            draw_from(folder, text);
        }
        for (size_t at = 0; at < n; at += 1 + n / 97) {
            bytes[at] ^= 0xFF;
            write_whole(path, bytes, n);
            draw_from(folder, text);
            bytes[at] ^= 0xFF;
        }
    }
    unlink(path);
    rmdir(folder);
}
END_TEST

/* ---- threads -------------------------------------------------------------------------------------------------------------- */

static attn_fonts *shared;
static attn_image expected_image;

static void *draw_often(void *ctx)
{
    bool *same = ctx;
    for (int i = 0; i < 30; i++) {
        attn_image image = draw_text(shared, "a \u65E5\u672C \u0645\u0631\u062D \U0001F600 z", 500);
        *same = *same && same_image(&image, &expected_image);
        attn_free(image.pixels);
    }
    return NULL;
}

START_TEST(threads_may_share_fonts)
{
    pthread_t threads[4];
    bool same[4] = { true, true, true, true };
    attn_fonts *alone = open_fonts(test_folder);
    expected_image = draw_text(alone, "a \u65E5\u672C \u0645\u0631\u062D \U0001F600 z", 500);
    shared = open_fonts(test_folder);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, draw_often, &same[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(same[i]);
    }
    attn_free(expected_image.pixels);
    attn_fonts_close(alone);
    attn_fonts_close(shared);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("draw_fonts");
    TCase *c = tcase_create("fonts");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, the_face_inside_has_latin_greek_cyrillic_and_the_marks_of_tokenizers);
    tcase_add_test(c, other_scripts_are_found_in_folders);
    tcase_add_test(c, emoji_come_in_colour);
    tcase_add_test(c, arabic_is_joined_and_goes_from_right_to_left);
    tcase_add_test(c, numbers_stay_readable_inside_a_line_from_right_to_left);
    tcase_add_test(c, what_does_not_fit_ends_in_an_ellipsis);
    tcase_add_test(c, boxes_differ_by_code_point_and_nothing_is_drawn_for_nothing);
    tcase_add_test(c, a_turned_image_reads_upwards);
    tcase_add_test(c, every_allocation_may_fail_while_faces_are_searched);
    tcase_add_test(c, damaged_fonts_do_no_harm);
    tcase_add_test(c, threads_may_share_fonts);
    suite_add_tcase(s, c);
    return unit_main(s);
}
