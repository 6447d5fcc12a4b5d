/* test_number_bytes.c - float16, bfloat16, uint8 and base64, by every table of kernels, against their definitions written down again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number_case.h"

#include <math.h>

static double half_value(uint32_t bits)
{
    double size = (bits & 0x7fff) < 0x400 ? ldexp(bits & 0x3ff, -24) : ldexp((bits & 0x3ff) + 1024, (int)(bits >> 10 & 31) - 25);
    return bits & 0x8000 ? -size : size;
}

START_TEST(every_half_is_the_float_it_stands_for)
{
    static uint16_t halves[65536], back[65536];
    static float x[65536];
    for (uint32_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    for (size_t t = 0; runtimes[t]; t++) {
        attn_from_half(runtimes[t], x, halves, 65536);
        attn_to_half(runtimes[t], back, x, 65536);
        for (uint32_t i = 0; i < 65536; i++) {
            uint32_t size = i & 0x7fff;
            if (size < 0x7c00)
                REQUIRE((double)x[i] == half_value(i) && !signbit(x[i]) == !(i & 0x8000), "%s: half %04x is %g", attn_runtime_kernels(runtimes[t]), i,
                        (double)x[i]);
            else if (size == 0x7c00)
                REQUIRE(isinf(x[i]) && !signbit(x[i]) == !(i & 0x8000), "half %04x is %g", i, (double)x[i]);
            else
                REQUIRE(isnan(x[i]), "half %04x is %g", i, (double)x[i]);
            REQUIRE(back[i] == (size > 0x7c00 ? (i | 0x200) : i), "%s: half %04x comes back as %04x", attn_runtime_kernels(runtimes[t]), i, (unsigned)back[i]);
        }
    }
}
END_TEST

/* The nearest half by trying both neighbours, ties to even; beyond the range the largest. */
static uint32_t nearest_half(float x)
{
    if (isinf(x))
        return signbit(x) ? 0xfc00 : 0x7c00;
    double size = fabs((double)x);
    uint32_t low = 0;
    for (uint32_t step = 0x4000; step > 0; step >>= 1) {
        if (low + step <= 0x7bff && half_value(low + step) <= size)
            low += step;
    }
    if (low < 0x7bff) {
        double below = size - half_value(low), above = half_value(low + 1) - size;
        low += above < below || (above == below && (low & 1));
    }
    return signbit(x) ? low | 0x8000 : low;
}

START_TEST(floats_become_the_nearest_half)
{
    enum { BATCH = 4099 };
    static float x[BATCH];
    static uint16_t got[BATCH];
    uint64_t state = 88172645463325252;
    for (int round = 0; round < 12; round++) {
        for (size_t i = 0; i < BATCH; i++) {
            uint64_t r = random_bits(&state);
            uint32_t h = (uint32_t)r & 0x7bff;
            double middle = (half_value(h) + half_value(h < 0x7bff ? h + 1 : h)) / 2;
            x[i] = i % 3 == 0 ? (float)middle : i % 3 == 1 ? nextafterf((float)middle, r & (1u << 20) ? INFINITY : 0) : float_of((uint32_t)(r >> 32));
            if (i % 7 == 0)
                x[i] = ldexpf(1, (int)(r >> 40) % 34 - 27) * (r & (1u << 21) ? -1.0f : 1.0f);
            if (isnan(x[i]))
                x[i] = r & 1 ? INFINITY : -INFINITY;
        }
        x[0] = 65504, x[1] = 65519.996f, x[2] = 65520, x[3] = -1e38f, x[4] = 0x1p-25f, x[5] = nextafterf(0x1p-25f, 1), x[6] = -0.0f;
        for (size_t t = 0; runtimes[t]; t++) {
            attn_to_half(runtimes[t], got, x, BATCH);
            for (size_t i = 0; i < BATCH; i++)
                REQUIRE(got[i] == nearest_half(x[i]), "%s: %.9g is half %04x, not %04x", attn_runtime_kernels(runtimes[t]), (double)x[i], (unsigned)got[i],
                        nearest_half(x[i]));
        }
    }
}
END_TEST

START_TEST(bfloat16_is_the_upper_half_of_a_float)
{
    static uint16_t in[65536];
    static float x[65536];
    for (uint32_t i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    for (size_t t = 0; runtimes[t]; t++) {
        attn_from_bfloat16(runtimes[t], x, in, 65536);
        for (uint32_t i = 0; i < 65536; i++)
            REQUIRE(bits_of(x[i]) == i << 16, "%s: %04x", attn_runtime_kernels(runtimes[t]), i);
    }
}
END_TEST

START_TEST(bytes_are_weights_times_255_rounded_half_up)
{
    uint64_t state = 362436069;
    for (int i = 0; i < 20000; i++) {
        float x = i < 1021 ? (float)i / 1020 : (float)(random_bits(&state) >> 40) * 0x1p-24f;
        if (i % 5 == 0)
            x = nextafterf(x, i % 2 ? 0 : 1);
        uint8_t got;
        attn_to_uint8(runtimes[0], &got, &x, 1);
        REQUIRE(got == (int)floorl(255.0L * (long double)x + 0.5L), "%.9g is %d", (double)x, got);
    }
    static const float ends[] = { 0, 1, -0.0f, 0.5f };
    uint8_t got[4];
    attn_to_uint8(runtimes[0], got, ends, 4);
    ck_assert(got[0] == 0 && got[1] == 255 && got[2] == 0 && got[3] == 128);
}
END_TEST

START_TEST(conversions_touch_nothing_beyond_their_numbers)
{
    for (size_t n = 0; n <= 70; n++) {
        guarded floats = guarded_new(n * 4), halves = guarded_new(n * 2);
        for (size_t t = 0; runtimes[t]; t++) {
            attn_to_half(runtimes[t], (uint16_t *)(void *)halves.bytes, (float *)(void *)floats.bytes, n);
            attn_from_half(runtimes[t], (float *)(void *)floats.bytes, (uint16_t *)(void *)halves.bytes, n);
            attn_from_bfloat16(runtimes[t], (float *)(void *)floats.bytes, (uint16_t *)(void *)halves.bytes, n);
        }
        guarded_free(floats);
        guarded_free(halves);
    }
}
END_TEST

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bit by bit. */
static size_t encode_slowly(char *text, const uint8_t *bytes, size_t n)
{
    size_t length = 0;
    for (size_t bit = 0; bit < 8 * n; bit += 6) {
        unsigned value = 0;
        for (size_t i = bit; i < bit + 6; i++)
            value = value << 1 | (i < 8 * n ? bytes[i / 8] >> (7 - i % 8) & 1 : 0);
        text[length++] = alphabet[value];
    }
    while (length % 4)
        text[length++] = '=';
    return length;
}

START_TEST(base64_is_rfc_4648_and_comes_back)
{
    uint64_t state = 521288629;
    for (size_t n = 0; n <= 400; n++) {
        guarded in = guarded_new(n), encoded = guarded_new((n + 2) / 3 * 4);
        char expected[600], text[600 + 64];
        uint8_t back[400 + 64];
        for (size_t i = 0; i < n; i++)
            in.bytes[i] = (char)random_bits(&state);
        size_t length = encode_slowly(expected, (uint8_t *)in.bytes, n);
        for (size_t t = 0; runtimes[t]; t++) {
            size_t written, bad;
            REQUIRE(attn_base64_encode(runtimes[t], text, in.bytes, n) == length && memcmp(text, expected, length) == 0, "%s: %zu bytes: %.*s",
                    attn_runtime_kernels(runtimes[t]), n, (int)length, text);
            memcpy(encoded.bytes, text, length);
            REQUIRE(attn_base64_decode(runtimes[t], back, &written, encoded.bytes, length, &bad) && written == n && memcmp(back, in.bytes, n) == 0,
                    "%s: %zu bytes come back as %zu", attn_runtime_kernels(runtimes[t]), n, written);
        }
        guarded_free(in);
        guarded_free(encoded);
    }
    ck_assert_uint_eq(encode_slowly((char[16]){ 0 }, (const uint8_t *)"foobar", 6), 8);
}
END_TEST

START_TEST(every_wrong_character_of_base64_is_found_where_it_is)
{
    enum { LENGTH = 200 };
    char text[LENGTH + 1];
    uint8_t out[LENGTH + 64];
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = alphabet[i * 7 % 64];
    for (size_t t = 0; runtimes[t]; t++) {
        size_t written, bad;
        ck_assert(attn_base64_decode(runtimes[t], out, &written, text, LENGTH, &bad));
        for (size_t at = 0; at < LENGTH; at++) {
            for (unsigned c = 0; c < 256; c++) {
                if ((c != 0 && strchr(alphabet, (int)c)) || (c == '=' && at == LENGTH - 1))
                    continue;
                char right = text[at];
                text[at] = (char)c;
                REQUIRE(!attn_base64_decode(runtimes[t], out, &written, text, LENGTH, &bad) && bad == at, "%s: byte %u at %zu found at %zu",
                        attn_runtime_kernels(runtimes[t]), c, at, bad);
                text[at] = right;
            }
        }
    }
}
END_TEST

START_TEST(padding_and_spare_bits_of_base64_are_strict)
{
    static const struct {
        const char *text;
        bool good;
        size_t bytes, bad;
    } cases[] = {
        { "", true, 0, 0 },       { "Zg==", true, 1, 0 },      { "Zm8=", true, 2, 0 },   { "Zm9v", true, 3, 0 },    { "Zm9vYg==", true, 4, 0 },
        { "Zh==", false, 0, 1 },  { "Zm9=", false, 0, 2 },     { "Zg=", false, 0, 2 },   { "Zg", false, 0, 2 },     { "Z", false, 0, 1 },
        { "Zm9vZ", false, 3, 5 }, { "Zg==Zg==", false, 0, 2 }, { "Z===", false, 0, 1 },  { "====", false, 0, 0 },   { "Zg=a", false, 0, 2 },
        { "Zm9v=", false, 3, 4 }, { "Zm9v====", false, 3, 4 }, { "Zm 9v", false, 0, 2 }, { "Zm9v\n", false, 3, 4 }, { "Zm9vZm9", false, 3, 7 },
        { "Zg===", false, 0, 2 }, { "Zm8=Zm9v", false, 0, 3 }, { "Z-_v", false, 0, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t before = 0; before <= 128; before += 64) {
            char text[256];
            memset(text, 'A', before);
            strcpy(text + before, cases[i].text);
            for (size_t t = 0; runtimes[t]; t++) {
                uint8_t out[256];
                size_t written, bad = 0;
                bool good = attn_base64_decode(runtimes[t], out, &written, text, strlen(text), &bad);
                REQUIRE(good == cases[i].good && (good || bad == before + cases[i].bad), "%s: %s behind %zu: %s at %zu", attn_runtime_kernels(runtimes[t]),
                        cases[i].text, before, good ? "good" : "bad", bad);
                REQUIRE(written == before / 4 * 3 + cases[i].bytes, "%s: %zu bytes of %s", attn_runtime_kernels(runtimes[t]), written, cases[i].text);
            }
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_half_is_the_float_it_stands_for,
        floats_become_the_nearest_half,
        bfloat16_is_the_upper_half_of_a_float,
        bytes_are_weights_times_255_rounded_half_up,
        conversions_touch_nothing_beyond_their_numbers,
        base64_is_rfc_4648_and_comes_back,
        every_wrong_character_of_base64_is_found_where_it_is,
        padding_and_spare_bits_of_base64_are_strict,
        NULL,
    };
    return unit_main(number_suite("number_bytes", tests));
}
