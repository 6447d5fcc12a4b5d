/* unicode_clusters.c - extended grapheme clusters (UAX 29). utf8proc 2.8 has the rules of Unicode 15.0; the library also has 15.1's GB9c: between two
 * consonants of Indic scripts with a linker (virama) among the marks between them there is no boundary.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"

#include <utf8proc.h>

/* Indic_Conjunct_Break = Consonant, Unicode 15.1. */
static const uint16_t consonants[][2] = {
    { 0x0915, 0x0939 }, { 0x0958, 0x095F }, { 0x0978, 0x097F }, { 0x0995, 0x09A8 }, { 0x09AA, 0x09B0 }, { 0x09B2, 0x09B2 }, { 0x09B6, 0x09B9 },
    { 0x09DC, 0x09DD }, { 0x09DF, 0x09DF }, { 0x09F0, 0x09F1 }, { 0x0A95, 0x0AA8 }, { 0x0AAA, 0x0AB0 }, { 0x0AB2, 0x0AB3 }, { 0x0AB5, 0x0AB9 },
    { 0x0AF9, 0x0AF9 }, { 0x0B15, 0x0B28 }, { 0x0B2A, 0x0B30 }, { 0x0B32, 0x0B33 }, { 0x0B35, 0x0B39 }, { 0x0B5C, 0x0B5D }, { 0x0B5F, 0x0B5F },
    { 0x0B71, 0x0B71 }, { 0x0C15, 0x0C28 }, { 0x0C2A, 0x0C39 }, { 0x0C58, 0x0C5A }, { 0x0D15, 0x0D3A },
};

static bool is_consonant(uint32_t c)
{
    if (c < 0x0915 || c > 0x0D3A)
        return false;
    for (size_t i = 0; i < sizeof consonants / sizeof *consonants && consonants[i][0] <= c; i++)
        if (c <= consonants[i][1])
            return true;
    return false;
}

static bool is_linker(uint32_t c)
{
    return c == 0x094D || c == 0x09CD || c == 0x0ACD || c == 0x0B4D || c == 0x0C4D || c == 0x0D4D;
}

enum conjunct { NONE, CONSONANT, LINKED }; /* what the end of the cluster is: neither, a consonant and marks, with a linker among the marks */

static enum conjunct go_on(enum conjunct so_far, uint32_t c)
{
    if (is_consonant(c))
        return CONSONANT;
    if (so_far == NONE)
        return NONE;
    if (is_linker(c))
        return LINKED;
    int class = utf8proc_get_property((utf8proc_int32_t)c)->boundclass;
    bool mark = (class == UTF8PROC_BOUNDCLASS_EXTEND && c != 0x200C) || class == UTF8PROC_BOUNDCLASS_ZWJ;
    return mark ? so_far : NONE;
}

size_t attn_cluster_end(const char *bytes, size_t length, size_t start)
{
    uint32_t before, c;
    utf8proc_int32_t state = 0;
    size_t i = start + attn_utf8_get(bytes + start, &before);
    enum conjunct end = go_on(NONE, before);
    while (i < length) {
        size_t n = attn_utf8_get(bytes + i, &c);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c, &state)) {
            if (end != LINKED || !is_consonant(c))
                break;
            state = 0;
        }
        end = go_on(end, c);
        before = c;
        i += n;
    }
    return i;
}
