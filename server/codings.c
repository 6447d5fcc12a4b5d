/* codings.c - see codings.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "codings.h"

#include <string.h>
#include <strings.h>

static const char *const names[SRV_CODING_COUNT] = { "identity", "gzip", "zstd" };

const char *srv_coding_name(srv_coding coding)
{
    return names[coding];
}

/* ---- the header ---------------------------------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* 0 to 1 with at most three decimals, as thousandths; -1: it is none. *p is behind it. */
static int read_weight(const char **p)
{
    const char *at = *p;
    if (*at != '0' && *at != '1')
        return -1;
    int weight = (*at++ - '0') * 1000, unit = 100;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9' && unit > 0; at++, unit /= 10)
            weight += (*at - '0') * unit;
    }
    *p = at;
    return weight <= 1000 ? weight : -1;
}

/* What stands behind a coding, up to the comma: its weight, or -1 when it is something else. */
static int read_rest(const char *p)
{
    int weight = 1000;
    p = skip_blanks(p);
    if (*p == ';') {
        p = skip_blanks(p + 1);
        if ((*p != 'q' && *p != 'Q') || p[1] != '=')
            return -1;
        p += 2;
        weight = read_weight(&p);
        p = skip_blanks(p);
    }
    return *p == ',' || !*p ? weight : -1;
}

static bool is_name(const char *p, size_t n, const char *name)
{
    return n == strlen(name) && strncasecmp(p, name, n) == 0;
}

/* Where the weight of this coding is kept; NULL: it is none of ours. */
static int *place_of(srv_codings *c, const char *p, size_t n)
{
    if (is_name(p, n, "*"))
        return &c->any;
    if (is_name(p, n, "x-gzip")) /* its name of old */
        return &c->named[SRV_GZIP];
    for (int i = 0; i < SRV_CODING_COUNT; i++) {
        if (is_name(p, n, names[i]))
            return &c->named[i];
    }
    return NULL;
}

void srv_codings_add(srv_codings *c, const char *value)
{
    c->given = true;
    for (const char *p = value; *p; p += *p == ',') {
        p = skip_blanks(p);
        size_t n = strcspn(p, " \t;,");
        int *place = place_of(c, p, n), weight = read_rest(p + n);
        if (place && weight >= *place)
            *place = weight + 1;
        p += strcspn(p, ",");
    }
}

/* ---- the choice ---------------------------------------------------------------------------------------------------------- */

/* 1 + the weight of a coding, by its own name or by "*"; 0: nothing was said about it. */
static int said_of(const srv_codings *c, srv_coding coding)
{
    return c->named[coding] ? c->named[coding] : c->any;
}

bool srv_codings_allow(const srv_codings *c, srv_coding coding)
{
    int said = said_of(c, coding);
    return said > 1 || (said == 0 && coding == SRV_IDENTITY);
}

srv_coding srv_codings_choose(const srv_codings *c)
{
    srv_coding best = SRV_IDENTITY;
    for (srv_coding coding = SRV_GZIP; coding < SRV_CODING_COUNT; coding++) {
        int said = said_of(c, coding);
        if (said > 1 && said >= said_of(c, best))
            best = coding;
    }
    return best;
}
