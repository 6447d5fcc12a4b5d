// number_peers.cpp - what other libraries need to write and read the numbers of raw float32 files, nanoseconds a number, as CSV. bench_number.py builds it with
// what there is: std::to_chars and from_chars always, {fmt} (its shortest floats are Dragonbox) and simdjson where their headers are, zmij and Dragonbox where
// WITH_ZMIJ and WITH_DRAGONBOX say so. Nothing of attnd is built from this.
// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if __has_include(<fmt/format.h>)
#define FMT_HEADER_ONLY
#include <fmt/compile.h>
#include <fmt/format.h>
#endif
#ifdef WITH_SIMDJSON
#include <simdjson.h>
#endif
#ifdef WITH_ZMIJ
#include "zmij-c.h"
#endif
#ifdef WITH_DRAGONBOX
#include "dragonbox/dragonbox_to_chars.h"
#endif

enum { ROOM = 32, MOST = 1 << 20 };

static const char *data_name;
static size_t numbers;

template <class F> static void bench(const char *what, F run)
{
    using clock = std::chrono::steady_clock;
    double best = 1e9;
    auto begun = clock::now();
    for (int i = 0; i < 300 && (i < 20 || clock::now() - begun < std::chrono::milliseconds(100)); i++) {
        auto from = clock::now();
        run();
        best = std::min(best, std::chrono::duration<double, std::nano>(clock::now() - from).count());
    }
    printf("%s,%s,%.2f\n", data_name, what, best / double(numbers));
    fflush(stdout);
}

template <class F> static size_t write_all(const std::vector<float> &x, std::vector<char> &out, F one)
{
    char *p = out.data();
    for (float f : x) {
        p = one(p, f);
        *p++ = ',';
    }
    return size_t(p - out.data());
}

static void writers(const std::vector<float> &x, std::vector<char> &out)
{
    bench("write std::to_chars", [&] { write_all(x, out, [](char *p, float f) { return std::to_chars(p, p + ROOM, f).ptr; }); });
#ifdef FMT_HEADER_ONLY
    bench("write {fmt}", [&] { write_all(x, out, [](char *p, float f) { return fmt::format_to(p, FMT_COMPILE("{}"), f); }); });
    bench("write 6 {fmt}", [&] { write_all(x, out, [](char *p, float f) { return fmt::format_to(p, FMT_COMPILE("{:.6f}"), f); }); });
#endif
#ifdef WITH_DRAGONBOX
    bench("write Dragonbox", [&] { write_all(x, out, [](char *p, float f) { return jkj::dragonbox::to_chars_n(f, p); }); });
#endif
#ifdef WITH_ZMIJ
    bench("write zmij", [&] { write_all(x, out, [](char *p, float f) { return zmij_write_float(p, ROOM, f); }); });
#endif
}

static void readers(const char *suffix, std::vector<char> &text, size_t length, std::vector<float> &back)
{
    std::string from_chars = std::string("read") + suffix + " std::from_chars", simdjson = std::string("read") + suffix + " simdjson";
    bench(from_chars.c_str(), [&] {
        const char *p = text.data() + 1, *end = text.data() + length;
        for (float &f : back)
            p = std::from_chars(p, end, f).ptr + 1;
    });
#ifdef WITH_SIMDJSON
    simdjson::ondemand::parser parser;
    bench(simdjson.c_str(), [&] {
        auto document = parser.iterate(text.data(), length, text.size());
        size_t i = 0;
        for (auto v : document.get_array())
            back[i++] = float(v.get_double().value());
    });
#else
    (void)simdjson;
#endif
}

static size_t as_array(std::vector<char> &text, const std::vector<float> &x, bool six)
{
    char *p = text.data();
    for (float f : x) {
        *p++ = p == text.data() ? '[' : ',';
        p = six ? std::to_chars(p, p + 64, f, std::chars_format::fixed, 6).ptr : std::to_chars(p, p + 64, f).ptr;
    }
    *p++ = ']';
    return size_t(p - text.data());
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        std::vector<float> x(MOST);
        x.resize(f ? fread(x.data(), sizeof(float), MOST, f) / 128 * 128 : 0);
        if (f)
            fclose(f);
        if (x.empty())
            return EXIT_FAILURE;
        const char *slash = strrchr(argv[i], '/');
        data_name = slash ? slash + 1 : argv[i];
        numbers = x.size();
        std::vector<char> out(x.size() * 64 + 128, 1), text(x.size() * 64 + 128, 1);
        std::vector<float> back(x.size(), 1);
        writers(x, out);
        readers("", text, as_array(text, x, false), back);
        bool small = true;
        for (float v : x)
            small &= std::fabs(v) < 1e6f;
        if (small)
            readers(" 6", text, as_array(text, x, true), back);
    }
    return EXIT_SUCCESS;
}
