/* media.c - Accept, Content-Type and query strings, taken apart. See media.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "media.h"

#include <string.h>
#include <strings.h>

typedef struct span {
    const char *at;
    size_t n;
} span;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static span trim(span s)
{
    for (; s.n > 0 && is_blank(s.at[0]); s.n--)
        s.at++;
    while (s.n > 0 && is_blank(s.at[s.n - 1]))
        s.n--;
    return s;
}

static bool equals(span s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.at, text, s.n) == 0;
}

/* Takes what stands before the next `end` off *rest, trimmed; a quoted string is passed over. False: nothing is left. */
static bool next_item(const char **rest, const char *stop, char end, span *item)
{
    if (!*rest)
        return false;
    bool quoted = false;
    const char *at = *rest;
    for (; at < stop && (quoted || *at != end); at++) {
        if (quoted && *at == '\\' && at + 1 < stop)
            at++;
        else if (*at == '"')
            quoted = !quoted;
    }
    *item = trim((span){ *rest, (size_t)(at - *rest) });
    *rest = at < stop ? at + 1 : NULL;
    return true;
}

/* "0.25" to 250. What is no weight counts as 1. */
static int read_weight(span s)
{
    int weight = 0, unit = 1000;
    bool fraction = false, digits = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.at[i] == '.' && !fraction) {
            fraction = true;
        } else if (s.at[i] >= '0' && s.at[i] <= '9') {
            digits = true;
            unit /= fraction ? 10 : 1;
            weight += (s.at[i] - '0') * unit;
        } else {
            return 1000;
        }
    }
    return !digits || weight > 1000 ? 1000 : weight;
}

/* The value of a parameter `name=value` in "; a=b; c=d", quotes taken off. */
static bool find_parameter(const char *rest, const char *stop, const char *name, span *value)
{
    span item;
    while (next_item(&rest, stop, ';', &item)) {
        const char *equal = memchr(item.at, '=', item.n);
        if (!equal || !equals(trim((span){ item.at, (size_t)(equal - item.at) }), name))
            continue;
        *value = trim((span){ equal + 1, item.n - (size_t)(equal + 1 - item.at) });
        if (value->n >= 2 && value->at[0] == '"' && value->at[value->n - 1] == '"')
            *value = (span){ value->at + 1, value->n - 2 };
        return true;
    }
    return false;
}

/* 3: the very type; 2: "type/" and a star; 1: everything; 0: another. */
static int specificity(span range, const char *type)
{
    size_t prefix = (size_t)(strchr(type, '/') + 1 - type);
    if (equals(range, type))
        return 3;
    if (range.n == prefix + 1 && strncasecmp(range.at, type, prefix) == 0 && range.at[prefix] == '*')
        return 2;
    return equals(range, "*/*") || equals(range, "*") ? 1 : 0; /* a lone star is what some old clients send */
}

api_welcome api_accept_weigh(const char *accept, const char *type)
{
    api_welcome best = { 0, 0 };
    bool any = false;
    span element, range, weight;
    const char *rest = accept, *stop = accept ? accept + strlen(accept) : NULL;
    while (next_item(&rest, stop, ',', &element)) {
        const char *parameters = element.at, *end = element.at + element.n;
        if (element.n == 0 || !next_item(&parameters, end, ';', &range))
            continue;
        any = true;
        int match = specificity(range, type), q = find_parameter(parameters, end, "q", &weight) ? read_weight(weight) : 1000;
        if (match > best.closeness || (match == best.closeness && match > 0 && q > best.quality))
            best = (api_welcome){ .quality = q, .closeness = match };
    }
    return any ? best : (api_welcome){ .quality = 1000 };
}

bool api_content_type_is_json(const char *content_type)
{
    span type, charset;
    const char *rest = content_type, *stop = content_type ? content_type + strlen(content_type) : NULL;
    if (!next_item(&rest, stop, ';', &type) || (type.n == 0 && !rest))
        return true;
    if (!equals(type, "application/json") && !equals(type, "application/x-www-form-urlencoded"))
        return false;
    return !find_parameter(rest, stop, "charset", &charset) || equals(charset, "utf-8") || equals(charset, "utf8");
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A plus stays a plus: no value here holds a space, and image/svg+xml is often sent as it is. */
static void decode(span s, char *dst, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < s.n && used + 1 < size; i++) {
        bool escaped = s.at[i] == '%' && i + 2 < s.n && hex(s.at[i + 1]) >= 0 && hex(s.at[i + 2]) >= 0;
        int c = escaped ? hex(s.at[i + 1]) * 16 + hex(s.at[i + 2]) : s.at[i];
        if (c == 0)
            c = '%';
        else if (escaped)
            i += 2;
        dst[used++] = (char)c;
    }
    dst[used] = '\0';
}

bool api_next_parameter(const char **query, char *name, size_t name_size, char *value, size_t value_size)
{
    while (*query && **query) {
        size_t n = strcspn(*query, "&");
        span all = { *query, n };
        const char *equal = memchr(all.at, '=', n);
        *query += n + ((*query)[n] == '&' ? 1 : 0);
        if (n == 0)
            continue;
        size_t left = equal ? (size_t)(equal - all.at) : n;
        decode((span){ all.at, left }, name, name_size);
        decode((span){ all.at + (equal ? left + 1 : n), equal ? n - left - 1 : 0 }, value, value_size);
        return true;
    }
    return false;
}
