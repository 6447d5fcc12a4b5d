/* test_number.c - numbers to text: shortest, fixed decimals, halves, integers, by every table of kernels. glibc's printf and strtod, and numpy's digits
 * in tests/golden/number, are the oracles. ATTND_EXHAUSTIVE=1 goes through all 2^32 patterns.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number_case.h"

#include <math.h>

enum { BATCH = 4096, SLACK = 64 };

static const attn_number_style shortest = { 0, false }, half = { 0, true };

static bool exhaustive(void)
{
    return getenv("ATTND_EXHAUSTIVE") != NULL;
}

/* Significant digits of a text, zeros at both ends left out, and the exponent of the first one. */
static int digits_of(const char *text, size_t n, char *digits, int *exponent)
{
    int count = 0, before_point = 0;
    bool point = false, begun = false;
    const char *e = memchr(text, 'e', n);
    const char *end = e ? e : text + n;
    for (const char *p = text; p < end; p++) {
        if (*p == '.')
            point = true;
        if (*p < '0' || *p > '9')
            continue;
        begun |= *p != '0';
        before_point += begun ? !point : -point;
        if (begun)
            digits[count++] = *p;
    }
    while (count > 0 && digits[count - 1] == '0')
        count--;
    digits[count] = '\0';
    *exponent = before_point - 1 + (e ? atoi(e + 1) : 0);
    return count;
}

/* The shorter one of both notations, written down from their definitions. */
static size_t lay_out(char *text, const char *digits, int count, int exponent)
{
    char positional[96], scientific[32];
    int p = 0;
    if (exponent < 0)
        p += sprintf(positional, "0.%.*s%s", -exponent - 1, "00000000000000000000000000000000000000000000000000", digits);
    for (int i = 0; exponent >= 0 && (i < count || i <= exponent); i++) {
        if (i == exponent + 1)
            positional[p++] = '.';
        positional[p++] = i < count ? digits[i] : '0';
    }
    int s = count > 1 ? sprintf(scientific, "%c.%se%d", digits[0], digits + 1, exponent) : sprintf(scientific, "%se%d", digits, exponent);
    memcpy(text, p <= s ? positional : scientific, (size_t)(p <= s ? p : s));
    return (size_t)(p <= s ? p : s);
}

static bool reads_back(const char *text, float x)
{
    return strtof(text, NULL) == x;
}

/* Everything that is promised of the shortest text of a finite x > 0: text[n] is its comma. */
static void check_shortest(const char *text, size_t n, float x)
{
    char digits[32], other[64];
    int exponent;
    int count = digits_of(text, n, digits, &exponent);
    REQUIRE(reads_back(text, x), "%.9g is written %.*s", (double)x, (int)n, text);
    size_t length = lay_out(other, digits, count, exponent);
    REQUIRE(length == n && memcmp(other, text, n) == 0, "%.*s is laid out %.*s", (int)length, other, (int)n, text);
    sprintf(other, "%.*e", count - 1, (double)x); /* of as many digits the closest, a tie to even */
    char closest[32];
    int closest_exponent;
    digits_of(other, strlen(other), closest, &closest_exponent);
    if (reads_back(other, x))
        REQUIRE(strcmp(closest, digits) == 0 && closest_exponent == exponent, "%s is closer than %.*s", other, (int)n, text);
    if (count > 1) { /* one digit less, on either side */
        uint64_t integer = strtoull(digits, NULL, 10) / 10;
        for (uint64_t i = integer; i <= integer + 1; i++) {
            sprintf(other, "%lue%d", (unsigned long)i, exponent - count + 2);
            REQUIRE(!reads_back(other, x), "%s is shorter than %.*s", other, (int)n, text);
        }
    }
}

/* The same text by every table, which their reader reads back; the text of the first is kept. */
static size_t write_by_all(char *text, const float *x, size_t n, attn_number_style style)
{
    static char other[BATCH * ATTN_NUMBER_BYTES + SLACK];
    size_t length = attn_write_floats(runtimes[0], text, x, n, style);
    ck_assert_uint_le(length, n * ATTN_NUMBER_BYTES);
    for (size_t t = 1; runtimes[t]; t++) {
        size_t m = attn_write_floats(runtimes[t], other, x, n, style);
        size_t at = 0;
        while (at < length && at < m && text[at] == other[at])
            at++;
        REQUIRE(m == length && at == m, "%s differs at %zu: %.24s, not %.24s", attn_runtime_kernels(runtimes[t]), at, other + at, text + at);
    }
    return length;
}

/* Finite numbers of both signs: what is written is what is read, by all tables. */
static void check_batch(const float *x, size_t n, size_t oracle_stride)
{
    static char text[BATCH * ATTN_NUMBER_BYTES + SLACK];
    static float back[BATCH];
    size_t length = write_by_all(text, x, n, shortest), count;
    const char *p = text, *stop;
    for (size_t i = 0; i < n; i++) {
        const char *comma = memchr(p, ',', ATTN_NUMBER_BYTES);
        if (i % oracle_stride == 0 && x[i] != 0)
            check_shortest(p + (x[i] < 0), (size_t)(comma - p) - (x[i] < 0), fabsf(x[i]));
        p = comma + 1;
    }
    text[length - 1] = ']';
    for (size_t t = 0; runtimes[t]; t++) {
        ck_assert_int_eq(attn_read_floats(runtimes[t], text, text + length, back, n, &count, &stop), ATTN_READ_OK);
        ck_assert_uint_eq(count, n);
        for (size_t i = 0; i < n; i++)
            REQUIRE(bits_of(back[i]) == bits_of(x[i]), "%s reads %.9g as %.9g", attn_runtime_kernels(runtimes[t]), (double)x[i], (double)back[i]);
    }
}

/* Fills batches with finite patterns and checks them. */
typedef struct batches {
    float x[BATCH];
    size_t n, oracle_stride;
} batches;

static void flush(batches *b)
{
    if (b->n > 0)
        check_batch(b->x, b->n, b->oracle_stride);
    b->n = 0;
}

static void add(batches *b, uint32_t bits)
{
    if ((bits & 0x7f800000) == 0x7f800000)
        return;
    b->x[b->n++] = float_of(bits);
    if (b->n == BATCH)
        flush(b);
}

START_TEST(each_text_reads_back_is_shortest_and_closest)
{
    static batches b;
    b.oracle_stride = 16;
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 1021)
        add(&b, (uint32_t)bits);
    flush(&b);
}
END_TEST

START_TEST(boundaries_are_written_as_well_as_the_rest)
{
    static batches b;
    b.oracle_stride = 1;
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        for (int32_t d = -20; d <= 20; d++) {
            add(&b, (exponent << 23) + (uint32_t)d);
            add(&b, (exponent << 23) + 0x400000 + (uint32_t)d);
        }
    }
    for (int e = -45; e <= 38; e++) {
        char power[16];
        sprintf(power, "1e%d", e);
        for (int32_t d = -100; d <= 100; d++)
            add(&b, bits_of(strtof(power, NULL)) + (uint32_t)d);
    }
    for (uint32_t bits = 0; bits < 20000; bits++) /* subnormals */
        add(&b, bits);
    for (uint32_t i = 0; i < 20000; i++) /* integers and few decimals */
        add(&b, bits_of((float)i / (float[]){ 1, 10, 100, 1000 }[i % 4]));
    flush(&b);
}
END_TEST

/* Of all patterns: reads back by strtof and by every reader, the same by all tables, none shorter. Nineteen minutes of one core at 3.6 GHz. */
START_TEST(all_patterns_read_back_when_asked_for)
{
    if (!exhaustive())
        return;
    static float x[BATCH];
    static char text[BATCH * ATTN_NUMBER_BYTES + SLACK];
    for (uint64_t from = 0; from < UINT64_C(1) << 32; from += BATCH) {
        if ((from & 0x7f800000) == 0x7f800000)
            continue;
        for (uint32_t i = 0; i < BATCH; i++)
            x[i] = float_of((uint32_t)from + i);
        check_batch(x, BATCH, BATCH);
        write_by_all(text, x, BATCH, shortest);
        char *p = text;
        for (uint32_t i = 0; i < BATCH && from < UINT64_C(1) << 31; i++) {
            char *end, digits[32], less[48];
            int exponent;
            REQUIRE(bits_of(strtof(p, &end)) == bits_of(x[i]), "strtof reads %.24s, which was %.9g", p, (double)x[i]);
            int count = digits_of(p, (size_t)(end - p), digits, &exponent);
            uint64_t integer = strtoull(digits, NULL, 10) / 10;
            for (uint64_t k = integer; count > 1 && k <= integer + 1; k++) {
                size_t n = (size_t)sprintf(less, "%lue%d", (unsigned long)k, exponent - count + 2);
                double d;
                const char *stop;
                REQUIRE(attn_read_double(less, less + n, &d, &stop) == ATTN_READ_OK, "%s is not read", less);
                REQUIRE((float)d != x[i] || !reads_back(less, x[i]), "%s is shorter than %.*s", less, (int)(end - p), p);
            }
            p = end + 1;
        }
    }
}
END_TEST

START_TEST(texts_agree_with_numpy)
{
    FILE *f = fopen("tests/golden/number/shortest.txt", "r");
    ck_assert_ptr_nonnull(f);
    char expected[64], text[ATTN_NUMBER_BYTES + SLACK];
    unsigned bits;
    int lines = 0;
    for (; fscanf(f, "%x %63s", &bits, expected) == 2; lines++) {
        float x = float_of(bits);
        size_t n = write_by_all(text, &x, 1, shortest);
        REQUIRE(n == strlen(expected) + 1 && memcmp(text, expected, n - 1) == 0, "%08x is %.*s; numpy has %s", bits, (int)n, text, expected);
    }
    fclose(f);
    ck_assert_int_gt(lines, 4000);
}
END_TEST

START_TEST(known_numbers_have_their_texts)
{
    static const struct {
        float x;
        const char *text;
    } known[] = {
        { 0.0f, "0," },
        { -0.0f, "-0.0," },
        { 1.0f, "1," },
        { -1.0f, "-1," },
        { 0.05f, "0.05," },
        { 0.001f, "1e-3," },
        { 0.00123f, "0.00123," },
        { 0.000123f, "1.23e-4," },
        { 100.0f, "100," },
        { 1000.0f, "1e3," },
        { 1200.0f, "1200," },
        { 16777216.0f, "16777216," },
        { 1e10f, "1e10," },
        { 3.4028235e38f, "3.4028235e38," },
        { -1.1754944e-38f, "-1.1754944e-38," },
        { 1e-45f, "1e-45," },
        { -INFINITY, "null," },
        { INFINITY, "null," },
        { NAN, "null," },
        { -NAN, "null," },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (size_t t = 0; runtimes[t]; t++) {
            for (int place = 0; place < 33; place++) { /* alone, and anywhere among ones */
                float x[33];
                char text[33 * ATTN_NUMBER_BYTES + SLACK], *p = text + 2 * place;
                for (int j = 0; j < 33; j++)
                    x[j] = j == place ? known[i].x : 1;
                size_t length = attn_write_floats(runtimes[t], text, x, 33, shortest), n = strlen(known[i].text);
                REQUIRE(length == 64 + n && memcmp(p, known[i].text, n) == 0, "%s: %.*s, not %s", attn_runtime_kernels(runtimes[t]), (int)n, p, known[i].text);
            }
        }
    }
}
END_TEST

START_TEST(any_count_is_written_within_its_bounds)
{
    for (size_t n = 0; n <= 70; n++) {
        guarded in = guarded_new(n * sizeof(float)), out = guarded_new(n * ATTN_NUMBER_BYTES + SLACK);
        float *x = (float *)(void *)in.bytes;
        char expected[70 * ATTN_NUMBER_BYTES + SLACK];
        for (size_t i = 0; i < n; i++)
            x[i] = -1.1754944e-38f;
        for (int decimals = 0; decimals <= 9; decimals++) {
            size_t length = attn_write_floats(runtimes[0], expected, x, n, (attn_number_style){ decimals, false });
            for (size_t t = 0; runtimes[t]; t++) {
                memset(out.bytes, '#', n * ATTN_NUMBER_BYTES + SLACK);
                ck_assert_uint_eq(attn_write_floats(runtimes[t], out.bytes, x, n, (attn_number_style){ decimals, false }), length);
                ck_assert_mem_eq(out.bytes, expected, length);
                for (size_t i = length + SLACK; i < n * ATTN_NUMBER_BYTES + SLACK; i++)
                    REQUIRE(out.bytes[i] == '#', "%s scribbles %zu bytes behind %zu numbers", attn_runtime_kernels(runtimes[t]), i - length, n);
            }
        }
        guarded_free(in);
        guarded_free(out);
    }
}
END_TEST

static void check_decimals(const float *x, size_t n, int decimals)
{
    static char text[BATCH * ATTN_NUMBER_BYTES + SLACK];
    write_by_all(text, x, n, (attn_number_style){ decimals, false });
    const char *p = text;
    for (size_t i = 0; i < n; i++) {
        char expected[64];
        size_t length = (size_t)snprintf(expected, sizeof expected, "%.*f,", decimals, (double)x[i]);
        REQUIRE(memcmp(p, expected, length) == 0, "%.9g with %d decimals is %.*s; printf has %s", (double)x[i], decimals, (int)length, p, expected);
        p += length;
    }
}

START_TEST(fixed_decimals_are_printfs)
{
    static float x[BATCH];
    uint64_t state = 88172645463325252;
    for (int decimals = 1; decimals <= 9; decimals++) {
        float power = (float)pow(10, decimals);
        for (size_t i = 0; i < BATCH; i++) {
            uint64_t r = random_bits(&state);
            float unit = (float)(r >> 40) * 0x1p-24f;
            switch (i % 8) {
            case 0:
                x[i] = unit;
                break; /* weights */
            case 1:
                x[i] = (unit - 0.5f) * 20;
                break; /* vectors, some of 10 and more */
            case 2:
                x[i] = ((float)(r >> 50) + 0.5f) / power;
                break; /* near ties */
            case 3:
                x[i] = (float)(int)((r >> 40 & 0xfff) - 2048) * 0x1p-9f;
                break; /* ties */
            case 4:
                x[i] = nextafterf((float)(r >> 60), r & 1 ? INFINITY : -INFINITY);
                break; /* near integers */
            case 5:
                x[i] = float_of((uint32_t)(r >> 32) & 0x80ffffff);
                break; /* subnormals and the least normals */
            case 6:
                x[i] = ldexpf(unit, (int)(r & 31)) * (r & 64 ? 1 : -1);
                break; /* up to 2^31 */
            default:
                x[i] = 10 - (float)(r >> 60) / power / 4;
                break; /* up to 10.000 */
            }
            if (!(fabsf(x[i]) < 1e9f))
                x[i] = 999999936.0f;
        }
        check_decimals(x, BATCH, decimals);
    }
}
END_TEST

START_TEST(decimals_of_large_and_missing_numbers_are_the_shortest)
{
    static const float x[] = { 1e9f, -1e9f, 3.4028235e38f, 0.25f, -INFINITY, NAN, -0.0f, 999999936.0f, 9.99999f, -9.99999f, 1e-30f, -1e-30f };
    static const char expected[] = "1e9,-1e9,3.4028235e38,0.2500,null,null,-0.0000,999999936.0000,10.0000,-10.0000,0.0000,-0.0000,";
    char text[12 * ATTN_NUMBER_BYTES + SLACK];
    size_t n = write_by_all(text, x, 12, (attn_number_style){ 4, false });
    REQUIRE(n == strlen(expected) && memcmp(text, expected, n) == 0, "%.*s", (int)n, text);
}
END_TEST

/* The half nearest to a decimal text, ties to even, by looking at all of them. */
static double half_value(uint32_t bits)
{
    return bits < 0x400 ? ldexp(bits, -24) : ldexp((bits & 0x3ff) + 1024, (int)(bits >> 10) - 25);
}

static bool rounds_to_half(const char *text, uint32_t bits)
{
    double d = strtod(text, NULL), x = half_value(bits);
    double low = bits == 0 ? 0 : (x + half_value(bits - 1)) / 2, high = bits == 0x7bff ? 65520 : (x + half_value(bits + 1)) / 2;
    return bits & 1 ? d > low && d < high : d >= low && d <= high;
}

START_TEST(halves_read_back_as_the_same_half_and_are_shortest)
{
    for (uint32_t bits = 1; bits < 0x7c00; bits++) {
        float pair[2] = { (float)half_value(bits), -(float)half_value(bits) };
        char text[2 * ATTN_NUMBER_BYTES + SLACK], digits[32], other[64];
        int exponent;
        size_t n = write_by_all(text, pair, 2, half), length = (size_t)((char *)memchr(text, ',', n) - text);
        REQUIRE(n == 2 * length + 3 && text[length + 1] == '-' && memcmp(text, text + length + 2, length + 1) == 0, "%.*s", (int)n, text);
        REQUIRE(rounds_to_half(text, bits), "half %04x is %.*s", bits, (int)length, text);
        REQUIRE((double)(float)half_value(bits) == half_value(bits), "halves are floats");
        int count = digits_of(text, length, digits, &exponent);
        REQUIRE(lay_out(other, digits, count, exponent) == length && memcmp(other, text, length) == 0, "%.*s is laid out otherwise", (int)length, text);
        unsigned long integer = strtoul(digits, NULL, 10) / 10;
        for (unsigned long k = integer; count > 1 && k <= integer + 1; k++) {
            sprintf(other, "%lue%d", k, exponent - count + 2);
            REQUIRE(!rounds_to_half(other, bits), "%s is shorter than %.*s", other, (int)length, text);
        }
    }
}
END_TEST

START_TEST(halves_beyond_the_range_are_the_largest_and_minus_infinity_is_null)
{
    static const float x[] = { 1e30f, -65519.0f, 65520.0f, -INFINITY, 0.0f, -0.0f, 1e-30f, 0.1f };
    static const char expected[] = "65500,-65500,65500,null,0,-0.0,0,0.1,";
    char text[8 * ATTN_NUMBER_BYTES + SLACK];
    size_t n = write_by_all(text, x, 8, half);
    REQUIRE(n == strlen(expected) && memcmp(text, expected, n) == 0, "%.*s", (int)n, text);
}
END_TEST

START_TEST(integers_are_written_in_full)
{
    static const int32_t x[] = { 0, 1, -1, 9, 10, -10, 99, 100, 1000000000, 2147483647, -2147483647 - 1 };
    char text[11 * ATTN_NUMBER_BYTES + SLACK], expected[256] = "";
    for (size_t i = 0; i < 11; i++)
        sprintf(expected + strlen(expected), "%d,", x[i]);
    size_t n = attn_write_ints(text, x, 11);
    REQUIRE(n == strlen(expected) && memcmp(text, expected, n) == 0, "%.*s", (int)n, text);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        each_text_reads_back_is_shortest_and_closest,
        boundaries_are_written_as_well_as_the_rest,
        all_patterns_read_back_when_asked_for,
        texts_agree_with_numpy,
        known_numbers_have_their_texts,
        any_count_is_written_within_its_bounds,
        fixed_decimals_are_printfs,
        decimals_of_large_and_missing_numbers_are_the_shortest,
        halves_read_back_as_the_same_half_and_are_shortest,
        halves_beyond_the_range_are_the_largest_and_minus_infinity_is_null,
        integers_are_written_in_full,
        NULL,
    };
    return unit_main(number_suite("number", tests));
}
