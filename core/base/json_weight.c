/* json_weight.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json_weight.h"

/* What jansson 2.14 allocates, malloc's own share included, rounded up. A comma or a colon stands for the value behind it and its place. */
enum { PER_OBJECT = 320, PER_ARRAY = 160, PER_MEMBER = 96, PER_VALUE = 72, PER_STRING = 48 };

/* Where the string that begins at i ends: behind its quote. */
static size_t string_end(const char *json, size_t n, size_t i)
{
    for (i++; i < n && json[i] != '"';)
        i += json[i] == '\\' ? 2 : 1;
    return i < n ? i + 1 : n;
}

uint64_t attn_json_weight(const char *json, size_t n)
{
    uint64_t weight = n > ATTN_JSON_MOST ? n : PER_VALUE; /* a sparse file may be of any length */
    for (size_t i = 0, end; i < n && weight <= ATTN_JSON_MOST; i = end) {
        end = i + 1;
        if (json[i] == '"') {
            end = string_end(json, n, i);
            weight += PER_STRING + (end - i);
        } else {
            weight += json[i] == '{' ? PER_OBJECT : json[i] == '[' ? PER_ARRAY : json[i] == ':' ? PER_MEMBER : json[i] == ',' ? PER_VALUE : 0;
        }
    }
    return weight;
}
