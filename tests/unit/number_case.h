/* number_case.h - what the tests of numbers share: a runtime for each table of kernels, buffers that end where memory ends, random bits.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef NUMBER_CASE_H
#define NUMBER_CASE_H

#include "attn_number.h"
#include "math/kernels.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ck_assert_msg notes every assertion that holds, at some microseconds each; here are millions. */
#define REQUIRE(condition, ...)                                                                                                                                \
    do {                                                                                                                                                       \
        if (!(condition))                                                                                                                                      \
            ck_abort_msg(__VA_ARGS__);                                                                                                                         \
    } while (0)

enum { MOST_TABLES = 8 };
static attn_runtime *runtimes[MOST_TABLES]; /* NULL-terminated; the plain one first */

static void open_runtimes(void)
{
    const attn_kernels *const *tables = attn_kernels_all();
    size_t count = 0;
    while (tables[count])
        count++;
    for (size_t i = 0; i < count; i++) {
        attn_error err = { 0 };
        attn_runtime_options options = { .threads = 1, .kernels = tables[count - 1 - i]->name };
        ck_assert_msg(attn_runtime_new(&runtimes[i], &options, &err) == ATTN_OK, "%s: %s", options.kernels, err.text);
    }
    runtimes[count] = NULL;
}

static void close_runtimes(void)
{
    for (size_t i = 0; runtimes[i]; i++)
        attn_runtime_free(runtimes[i]);
}

/* `size` bytes that no readable byte follows. */
typedef struct guarded {
    char *pages, *bytes;
    size_t mapped;
} guarded;

static inline guarded guarded_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (size + page - 1) / page * page + page;
    guarded g = { mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), NULL, mapped };
    ck_assert(g.pages != MAP_FAILED);
    ck_assert_int_eq(mprotect(g.pages + mapped - page, page, PROT_NONE), 0);
    g.bytes = g.pages + mapped - page - size;
    return g;
}

static inline void guarded_free(guarded g)
{
    munmap(g.pages, g.mapped);
}

/* xorshift64 (Marsaglia 2003). */
static inline uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline Suite *number_suite(const char *name, const TTest *const *tests)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, open_runtimes, close_runtimes);
    tcase_set_timeout(tc, 36000);
    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(suite, tc);
    return suite;
}

#endif
