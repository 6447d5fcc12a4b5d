/* fuzz_encoding.c - whatever Accept-Encoding holds, the choice is one that it allows, and one header is as good as its elements in lines of their own.
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "codings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool claim)
{
    if (!claim)
        abort();
}

static void check_choice(const srv_codings *c)
{
    srv_coding chosen = srv_codings_choose(c);
    bool identity = srv_codings_allow(c, SRV_IDENTITY);
    must(chosen == SRV_IDENTITY || srv_codings_allow(c, chosen));
    must(identity || chosen != SRV_IDENTITY || (!srv_codings_allow(c, SRV_GZIP) && !srv_codings_allow(c, SRV_ZSTD)));
    for (int i = 0; i < SRV_CODING_COUNT; i++)
        must(c->named[i] >= 0 && c->named[i] <= 1001);
    must(c->any >= 0 && c->any <= 1001);
}

static bool are_same(const srv_codings *a, const srv_codings *b)
{
    return a->any == b->any && memcmp(a->named, b->named, sizeof a->named) == 0;
}

static void add_in_lines(srv_codings *c, char *value)
{
    for (char *at = value; at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma = '\0';
        srv_codings_add(c, at);
        at = comma ? comma + 1 : NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *value = malloc(size + 1);
    if (!value)
        return 0;
    memcpy(value, data, size);
    value[size] = '\0';
    srv_codings whole = { 0 }, other = { 0 }, lines = { 0 };
    srv_codings_add(&whole, value);
    check_choice(&whole);
    for (char *p = value; *p; p++)
        *p = (char)(isupper((unsigned char)*p) ? tolower((unsigned char)*p) : toupper((unsigned char)*p));
    srv_codings_add(&other, value);
    must(are_same(&whole, &other));
    add_in_lines(&lines, value);
    must(are_same(&whole, &lines));
    free(value);
    return 0;
}
