/* test_number_read.c - text to numbers, by every table of kernels: correctly rounded (glibc's strtof and strtod are the oracles), JSON's grammar to the
 * letter, no byte looked at that is not there, no time lost on hostile texts.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number_case.h"

#include <float.h>
#include <math.h>

/* One number by each table, alone in an array, and among enough others that the quick readers see it. */
static void check_float(const char *number)
{
    float expected = strtof(number, NULL), got[101];
    size_t n = strlen(number), count;
    static char text[1 << 16];
    const char *stop;
    attn_read_result result = isinf(expected) ? ATTN_READ_TOO_LARGE : ATTN_READ_OK;
    for (size_t t = 0; runtimes[t]; t++) {
        for (size_t others = 0; others <= 100; others += 100) {
            char *p = text + sprintf(text, "%s%s", number, others ? ",0.5" : "]");
            for (size_t i = 1; i < others; i++)
                p += sprintf(p, ",0.25");
            p += sprintf(p, "]");
            REQUIRE(attn_read_floats(runtimes[t], text, p, got, 101, &count, &stop) == result, "%s: %s", attn_runtime_kernels(runtimes[t]), number);
            REQUIRE(count == (result ? 0 : others + 1), "%s: %s: %zu numbers", attn_runtime_kernels(runtimes[t]), number, count);
            REQUIRE(stop == (result ? text : text + n + (others ? 4 + 5 * (others - 1) : 0)), "%s stops at %.9s", number, stop);
            REQUIRE(result || bits_of(got[0]) == bits_of(expected), "%s reads %s as %.9g, not %.9g", attn_runtime_kernels(runtimes[t]), number, (double)got[0],
                    (double)expected);
        }
    }
}

static void check_double(const char *number)
{
    double expected = strtod(number, NULL), got = 0;
    const char *stop, *end = number + strlen(number);
    attn_read_result result = attn_read_double(number, end, &got, &stop);
    REQUIRE(result == (isinf(expected) ? ATTN_READ_TOO_LARGE : ATTN_READ_OK), "%s: %d", number, (int)result);
    REQUIRE(result || memcmp(&got, &expected, sizeof got) == 0, "%s is read as %.17g, not %.17g", number, got, expected);
    REQUIRE(stop == (result ? number : end), "%s: stops at %.9s", number, stop);
}

static char *put_random_digits(char *p, uint64_t *state, uint64_t n)
{
    while (n-- > 0)
        *p++ = (char)('0' + random_bits(state) % 10);
    return p;
}

/* Any shape that the grammar has. */
static void random_number(char *p, uint64_t *state)
{
    uint64_t r = random_bits(state);
    if (r & 1)
        *p++ = '-';
    if (r & 2) {
        *p++ = '0';
    } else {
        *p++ = (char)('1' + (r >> 8) % 9);
        p = put_random_digits(p, state, (r >> 16) % (r & 4 ? 3 : 24));
    }
    if (r & 8) {
        *p++ = '.';
        for (uint64_t zeros = r & 16 ? (r >> 24) % 12 : 0; zeros > 0; zeros--)
            *p++ = '0';
        p = put_random_digits(p, state, 1 + (r >> 32) % (r & 32 ? 9 : 30));
    }
    if ((r & 0xc0) == 0)
        p += sprintf(p, "%c%s%d", r & 256 ? 'e' : 'E', r & 512 ? "-" : r & 1024 ? "+" : "", (int)((r >> 40) % (r & 2048 ? 400 : 40)));
    *p = '\0';
}

START_TEST(random_texts_are_rounded_correctly)
{
    uint64_t state = 88172645463325252;
    for (int i = 0; i < 60000; i++) {
        char text[128];
        random_number(text, &state);
        if (i % 4 == 0)
            check_float(text);
        check_double(text);
    }
}
END_TEST

/* The decimal expansion of a point halfway, and its neighbours on both sides, however far away the digit is that decides. */
static void check_around(void (*check)(const char *), const char *expansion)
{
    char text[5000];
    check(expansion);
    snprintf(text, sizeof text, "-%s", expansion);
    check(text);
    size_t n = (size_t)sprintf(text, "%s", expansion), e = strcspn(expansion, "e");
    sprintf(text + e, "0000000000000000000000000001%s", expansion + e);
    check(text);
    memcpy(text, expansion, n + 1);
    size_t last = e - 1;
    while (text[last] == '0' || text[last] == '.')
        last--;
    text[last]--;
    check(text);
    sprintf(text + last + 1, "9999999999999999999999999%s", expansion + e);
    check(text);
}

/* What the quick readers cut after sixteen digits, where the digits that they leave out decide. */
START_TEST(digits_beyond_the_sixteenth_count)
{
    uint64_t state = 521288629;
    char text[512];
    for (int i = 0; i < 4000; i++) {
        uint32_t bits = (uint32_t)random_bits(&state) & 0x7fffffff;
        if (i % 4) /* 2^-20 to 2^10, which are written without exponents as well */
            bits = (bits & 0x007fffff) | (uint32_t)(107 + random_bits(&state) % 30) << 23;
        if (bits >= 0x7f7fffff)
            continue;
        double middle = ((double)float_of(bits) + (double)float_of(bits + 1)) / 2;
        for (int digits = 15; digits < 26; digits++) {
            sprintf(text, i % 2 ? "%.*f" : "%.*e", digits, middle);
            check_float(text);
            size_t last = strcspn(text, "e") - 1;
            text[last] = (char)(text[last] == '9' ? '8' : text[last] + 1);
            check_float(text);
        }
    }
}
END_TEST

/* Wherever a batch or a chunk ends, and whatever stands behind the bracket. */
START_TEST(rows_of_any_numbers_are_read_up_to_their_bracket)
{
    uint64_t state = 123456789;
    static char text[400 * 130];
    static float expected[400], got[400];
    for (int round = 0; round < 600; round++) {
        size_t n = 1 + random_bits(&state) % (round % 4 ? 40 : 300), count;
        char *p = text;
        for (size_t i = 0; i < n; i++, *p++ = i < n ? ',' : ']') {
            do {
                if (round % 3) /* most of them simple ones */
                    sprintf(p, round % 3 == 1 ? "%.9g" : "%.17g", (double)float_of((uint32_t)random_bits(&state) % 0x20000000 + 0x20000000));
                else
                    random_number(p, &state);
                expected[i] = strtof(p, NULL);
            } while (isinf(expected[i]));
            p += strlen(p);
        }
        const char *bracket = p - 1, *stop;
        for (int i = 0; i < round % 5 * 100; i++)
            p += sprintf(p, i % 10 ? ",0" : ",[1");
        for (size_t t = 0; runtimes[t]; t++) {
            REQUIRE(attn_read_floats(runtimes[t], text, p, got, n, &count, &stop) == ATTN_READ_OK && count == n && stop == bracket,
                    "%s reads %zu of %zu numbers and stops at %.20s", attn_runtime_kernels(runtimes[t]), count, n, stop);
            REQUIRE(memcmp(got, expected, n * sizeof *got) == 0, "%s reads other numbers in round %d", attn_runtime_kernels(runtimes[t]), round);
        }
    }
}
END_TEST

START_TEST(points_halfway_between_floats_go_to_the_even_one)
{
    uint64_t state = 362436069;
    char text[512];
    for (int i = 0; i < 600; i++) {
        uint32_t bits = (uint32_t)random_bits(&state) & 0x7fffffff;
        if (i % 3 == 0)
            bits &= 0x00ffffff; /* subnormals and the least normals */
        if (i % 16 == 1)
            bits &= 0x7f800000; /* powers of two */
        if (bits >= 0x7f7fffff)
            continue;
        double middle = ((double)float_of(bits) + (double)float_of(bits + 1)) / 2;
        sprintf(text, "%.160e", middle);
        check_around(check_float, text);
        if (fabs(middle) < 1e15) {
            sprintf(text, "%.160f", middle);
            check_around(check_float, text);
        }
    }
}
END_TEST

START_TEST(points_halfway_between_doubles_go_to_the_even_one)
{
    uint64_t state = 521288629;
    static char text[4096];
    for (int i = 0; i < 150; i++) {
        uint64_t bits = random_bits(&state) & INT64_MAX;
        if (i % 3 == 0)
            bits &= UINT64_C(0x001fffffffffffff);
        if (bits >= UINT64_C(0x7fefffffffffffff))
            continue;
        double low, high;
        memcpy(&low, &bits, sizeof low);
        bits++;
        memcpy(&high, &bits, sizeof high);
        sprintf(text, "%.1100Le", ((long double)low + (long double)high) / 2);
        check_around(check_double, text);
    }
}
END_TEST

START_TEST(the_ends_of_the_ranges_are_where_they_are)
{
    static const char *const texts[] = {
        "3.4028234663852886e38",
        "3.4028235677973362e38",
        "3.4028235677973366e38",
        "3.40282356779733661637539395458142568447e38",
        "1e38",
        "3.5e38",
        "1e39",
        "1e400",
        "340282356779733661637539395458142568447",
        "340282356779733661637539395458142568448",
        "340282346638528859811704183484516925440",
        "1.17549435e-38",
        "1.17549429e-38",
        "1.4e-45",
        "7.006492321624085e-46",
        "7.0064923216240853546186479164495e-46",
        "7.0064923216240853546186479164496e-46",
        "7.006492321624086e-46",
        "1e-46",
        "1e-400",
        "0.0",
        "-0.0",
        "-0",
        "0e999999999999999999999",
        "0.0000e-5",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1e23",
        "9007199254740993",
        "16777217",
        "16777219",
        "33554431",
        "123456789012345678901234567890",
        "0.1",
        "0.000000000000000000000000000000000000000000000000000000000001e60",
        "100000000000000000000e-20",
        "1e-9999999999999999999",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "0.99999999999999999999",
        "999.9999999999999999",
        "1000.5",
        "12345.678",
        "1.5e+3",
        "1.5E3",
        "1e05",
        "1e-05",
        "1e005",
        "0.12345678901234567",
        "0.00012345678901234567",
        "123.45678901234567",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_float(texts[i]);
        check_double(texts[i]);
    }
}
END_TEST

START_TEST(what_is_no_number_is_refused_at_its_byte)
{
    /* The byte it stops at is marked by a '|' before it. */
    static const struct {
        const char *text;
        attn_read_result result;
        size_t count;
    } cases[] = {
        { "0|1]", ATTN_READ_SYNTAX, 0 },
        { "-0|1]", ATTN_READ_SYNTAX, 0 },
        { "1.|]", ATTN_READ_SYNTAX, 0 },
        { "1.|e5]", ATTN_READ_SYNTAX, 0 },
        { "1e|]", ATTN_READ_SYNTAX, 0 },
        { "1e+|]", ATTN_READ_SYNTAX, 0 },
        { "1e-|,2]", ATTN_READ_SYNTAX, 0 },
        { "-|]", ATTN_READ_SYNTAX, 0 },
        { "-|.5]", ATTN_READ_SYNTAX, 0 },
        { "--1]", ATTN_READ_SYNTAX, 0 },
        { "1|_0]", ATTN_READ_SYNTAX, 1 },
        { "0|x10]", ATTN_READ_SYNTAX, 1 },
        { "1 |2]", ATTN_READ_SYNTAX, 1 },
        { "1.5|.2]", ATTN_READ_SYNTAX, 1 },
        { "1,|]", ATTN_READ_SYNTAX, 1 },
        { "1, |]", ATTN_READ_SYNTAX, 1 },
        { "1|;2]", ATTN_READ_SYNTAX, 1 },
        { "1|}", ATTN_READ_SYNTAX, 1 },
        { "-|Infinity]", ATTN_READ_SYNTAX, 0 },
        { "-|nan]", ATTN_READ_SYNTAX, 0 },
        { "1.0|f]", ATTN_READ_SYNTAX, 1 },
        { "1e5|.2]", ATTN_READ_SYNTAX, 1 },
        { "1.5e|e]", ATTN_READ_SYNTAX, 0 },
        { "1 |null]", ATTN_READ_SYNTAX, 1 },
        { "|]", ATTN_READ_OK, 0 },
        { " |]", ATTN_READ_OK, 0 },
        { "|+1]", ATTN_READ_OK, 0 },
        { "|.5]", ATTN_READ_OK, 0 },
        { "|nan]", ATTN_READ_OK, 0 },
        { "|,1]", ATTN_READ_OK, 0 },
        { "1,|null,2]", ATTN_READ_OK, 1 },
        { "1,|[2]]", ATTN_READ_OK, 1 },
        { "1,2|]", ATTN_READ_OK, 2 },
        { " 1 , 2 |]", ATTN_READ_OK, 2 },
        { "\t1\r,\n2\t|]", ATTN_READ_OK, 2 },
        { "1,|\"a\"]", ATTN_READ_OK, 1 },
        { "1,|+1]", ATTN_READ_OK, 1 },
        { "1,|,1]", ATTN_READ_OK, 1 },
        { "1,|1e39,2]", ATTN_READ_TOO_LARGE, 1 },
        { "|", ATTN_READ_CUT, 0 },
        { "  |", ATTN_READ_CUT, 0 },
        { "-|", ATTN_READ_CUT, 0 },
        { "1|", ATTN_READ_CUT, 1 },
        { "1.|", ATTN_READ_CUT, 0 },
        { "1e|", ATTN_READ_CUT, 0 },
        { "1e-|", ATTN_READ_CUT, 0 },
        { "1,|", ATTN_READ_CUT, 1 },
        { "1, |", ATTN_READ_CUT, 1 },
        { "1 |", ATTN_READ_CUT, 1 },
        { "0|", ATTN_READ_CUT, 1 },
        { "1\f|", ATTN_READ_SYNTAX, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t before = 0; before <= 60; before += 30) { /* alone, and behind others */
            char text[1024], *p = text;
            for (size_t j = 0; j < before; j++)
                p += sprintf(p, "0.125,");
            const char *mark = strchr(cases[i].text, '|');
            if (!mark)
                mark = cases[i].text + 1; /* "--1" */
            size_t at = (size_t)(mark - cases[i].text);
            p += sprintf(p, "%.*s%s", (int)at, cases[i].text, *mark == '|' ? mark + 1 : mark);
            float got[64];
            size_t count;
            const char *stop, *expected = text + 6 * before + at;
            if (strcmp(cases[i].text, "1\f|") == 0)
                expected--;
            attn_read_result result = cases[i].result;
            if (before && result == ATTN_READ_OK && at == 0 && cases[i].text[1] == ']')
                result = ATTN_READ_SYNTAX; /* nothing behind a comma */
            if (before && strcmp(cases[i].text, " |]") == 0)
                result = ATTN_READ_SYNTAX;
            for (size_t t = 0; runtimes[t]; t++) {
                attn_read_result r = attn_read_floats(runtimes[t], text, p, got, 64, &count, &stop);
                REQUIRE(r == result && count == before + cases[i].count && stop == expected, "%s: %s behind %zu: result %d, %zu numbers, stops at \"%.9s\"",
                        attn_runtime_kernels(runtimes[t]), cases[i].text, before, (int)r, count, stop);
            }
        }
    }
}
END_TEST

START_TEST(every_cut_is_seen_and_no_byte_behind_it_is_looked_at)
{
    static const char whole[] = "0.0012345678,-1.5e-7, 12,3.4028235e38,123456.5,-0.0,0.1234567890123456789,1e5,0.25,0.5,0.125,1.5,-2.5,3.25,0.00390625,7e-10,"
                                "0.33333334,0.14285715,0.2,0.3,0.4,0.6,-0.7,0.8,0.9,1e-20,0.11111111,0.22222222,0.44444445]";
    enum { LENGTH = sizeof whole - 1 };
    guarded g = guarded_new(LENGTH);
    for (size_t t = 0; runtimes[t]; t++) {
        for (size_t n = 0; n <= LENGTH; n++) {
            char *text = g.bytes + LENGTH - n;
            float got[64];
            size_t count;
            const char *stop;
            memcpy(text, whole, n);
            attn_read_result result = attn_read_floats(runtimes[t], text, text + n, got, 64, &count, &stop);
            REQUIRE(result == (n == LENGTH ? ATTN_READ_OK : ATTN_READ_CUT), "%s: %zu bytes: %d", attn_runtime_kernels(runtimes[t]), n, (int)result);
            REQUIRE(stop == text + n - (n == LENGTH), "%zu bytes: stops at %td", n, stop - text);
        }
    }
    guarded_free(g);
}
END_TEST

START_TEST(a_full_destination_stops_at_the_next_number)
{
    static const char text[] = "0.125,0.25, 0.5,1 ,2,4,8,16,32,64,128,256,0.125,0.25,0.5,1,2,4,8,16,32,64,128,256,0.125,0.25,0.5,1,2,4,8,16,32,64,128,256]";
    const char *end = text + sizeof text - 1;
    for (size_t t = 0; runtimes[t]; t++) {
        for (size_t max = 0; max <= 40; max++) {
            float all[40], parts[80];
            size_t count, n = 0;
            const char *stop, *s = text;
            ck_assert_int_eq(attn_read_floats(runtimes[t], text, end, all, 40, &count, &stop), ATTN_READ_OK);
            ck_assert_uint_eq(count, 36);
            attn_read_result result = ATTN_READ_FULL;
            while (result == ATTN_READ_FULL && n <= 40) {
                result = attn_read_floats(runtimes[t], s, end, parts + n, max, &count, &s);
                REQUIRE(result != ATTN_READ_FULL || (*s >= '0' && *s <= '9'), "full at %.9s", s);
                if (max == 0)
                    break;
                n += count;
            }
            REQUIRE(max == 0 ? result == ATTN_READ_FULL && s == text : result == ATTN_READ_OK && n == 36 && memcmp(all, parts, 36 * sizeof *all) == 0, "by %zu",
                    max);
        }
    }
}
END_TEST

/* A megabyte of digits, read in less time than anything that is not linear would take. */
START_TEST(long_numbers_are_read_in_linear_time)
{
    enum { DIGITS = 1000000 };
    char *text = malloc(DIGITS + 200);
    ck_assert_ptr_nonnull(text);
    static const struct {
        const char *before, fill;
        const char *after;
        float value;
    } cases[] = {
        { "0.", '0', "1e1000000", 0.1f },   { "1", '0', "e-1000000", 1 }, { "0.", '3', "", 0.33333334f }, { "16777217.", '0', "1", 16777218 },
        { "16777217.", '0', "", 16777216 }, { "1", '9', "e-1000000", 2 }, { "1e", '0', "5", 100000 },     { "0.", '0', "e999999999999", 0 },
    };
    uint64_t begun = attn_clock_ns();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *p = text + sprintf(text, "%s", cases[i].before);
        memset(p, cases[i].fill, DIGITS);
        p += DIGITS;
        p += sprintf(p, "%s]", cases[i].after);
        for (size_t t = 0; runtimes[t]; t++) {
            float got;
            size_t count;
            const char *stop;
            ck_assert_int_eq(attn_read_floats(runtimes[t], text, p, &got, 1, &count, &stop), ATTN_READ_OK);
            ck_assert_msg(got == cases[i].value, "%s...%s is %.9g", cases[i].before, cases[i].after, (double)got);
            double d;
            ck_assert_int_eq(attn_read_double(text, p - 1, &d, &stop), ATTN_READ_OK);
            ck_assert_ptr_eq(stop, p - 1);
        }
    }
    uint64_t took = attn_clock_ns() - begun;
    ck_assert_msg(took < UINT64_C(5000000000), "%zu megabytes took %.1f s", 6 * sizeof cases / sizeof *cases, (double)took * 1e-9);
    free(text);
}
END_TEST

START_TEST(lone_numbers_end_where_they_end)
{
    static const struct {
        const char *text;
        attn_read_result result;
        size_t stop;
    } cases[] = { { "12", ATTN_READ_OK, 2 },     { "12 ", ATTN_READ_OK, 2 },          { "1.5e3,", ATTN_READ_OK, 5 },       { "", ATTN_READ_CUT, 0 },
                  { "-", ATTN_READ_CUT, 1 },     { "1.", ATTN_READ_CUT, 2 },          { "01", ATTN_READ_SYNTAX, 1 },       { "x", ATTN_READ_SYNTAX, 0 },
                  { "+1", ATTN_READ_SYNTAX, 0 }, { "1e400", ATTN_READ_TOO_LARGE, 0 }, { "-1e400", ATTN_READ_TOO_LARGE, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double d;
        const char *stop;
        ck_assert_int_eq(attn_read_double(cases[i].text, cases[i].text + strlen(cases[i].text), &d, &stop), cases[i].result);
        ck_assert_uint_eq((size_t)(stop - cases[i].text), cases[i].stop);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        random_texts_are_rounded_correctly,
        digits_beyond_the_sixteenth_count,
        rows_of_any_numbers_are_read_up_to_their_bracket,
        points_halfway_between_floats_go_to_the_even_one,
        points_halfway_between_doubles_go_to_the_even_one,
        the_ends_of_the_ranges_are_where_they_are,
        what_is_no_number_is_refused_at_its_byte,
        every_cut_is_seen_and_no_byte_behind_it_is_looked_at,
        a_full_destination_stops_at_the_next_number,
        long_numbers_are_read_in_linear_time,
        lone_numbers_end_where_they_end,
        NULL,
    };
    return unit_main(number_suite("number_read", tests));
}
