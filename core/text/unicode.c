/* unicode.c - properties of code points. See unicode.h.
 *
 * What utf8proc 2.8 (Unicode 15.0) does not know was assigned later; the library knows some of it (lower case of 55 letters, \w of 5,055): we do not.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

static bool differs(uint32_t c, unsigned fact)
{
    if (c < attn_unicode_gaps[0].first)
        return false;
    size_t low = 0, high = attn_unicode_gap_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (attn_unicode_gaps[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < attn_unicode_gap_count && attn_unicode_gaps[low].first <= c && (attn_unicode_gaps[low].facts & fact);
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool attn_is_white(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool attn_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c > 32 && c < 48) || (c > 57 && c < 65) || (c > 90 && c < 97) || (c > 122 && c < 127);
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO) != differs(c, ATTN_GAP_PUNCTUATION);
}

bool attn_is_discarded(uint32_t c)
{
    if (c < 0x80)
        return (c < 32 && c != '\t' && c != '\n' && c != '\r') || c == 127;
    utf8proc_category_t k = category(c);
    bool is = k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO || c == 0xFFFD;
    return is != differs(c, ATTN_GAP_FORMAT);
}

bool attn_is_nonspacing(uint32_t c)
{
    return c >= 0x300 && (category(c) == UTF8PROC_CATEGORY_MN) != differs(c, ATTN_GAP_NONSPACING);
}

bool attn_is_mark(uint32_t c)
{
    if (c < 0x300)
        return false;
    utf8proc_category_t k = category(c);
    return (k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME) != differs(c, ATTN_GAP_MARK);
}

bool attn_is_ideograph(uint32_t c)
{
    static const uint32_t blocks[][2] = { { 0x3400, 0x4DBF },   { 0x4E00, 0x9FFF },   { 0xF900, 0xFAFF },  { 0x20000, 0x2A6DF },
                                          { 0x2A700, 0x2B81F }, { 0x2B920, 0x2CEAF }, { 0x2F800, 0x2FA1F } };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks && c >= blocks[i][0]; i++)
        if (c <= blocks[i][1])
            return true;
    return false;
}

bool attn_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool attn_is_number(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool attn_is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    utf8proc_category_t k = category(c);
    if ((k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC)
        return true;
    /* Joiners, and the circled and squared letters: symbols by category, alphabetic all the same. */
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

uint8_t attn_combining_class(uint32_t c)
{
    if (c < 0x300)
        return 0;
    uint8_t k = (uint8_t)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
    return k && differs(c, ATTN_GAP_ORDERED) ? 0 : k;
}

size_t attn_lower(uint32_t c, uint32_t out[ATTN_LOWER_MAX])
{
    if (c == 0x130) { /* I with dot above: the only lower case of two code points */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

size_t attn_decompose(uint32_t c, bool compatibility, uint32_t out[ATTN_DECOMPOSED_MAX])
{
    utf8proc_int32_t parts[ATTN_DECOMPOSED_MAX];
    int boundary = 0;
    utf8proc_option_t options = compatibility ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
    utf8proc_ssize_t n = 0;
    if (c >= 0xA0 && !differs(c, compatibility ? ATTN_GAP_DECOMPOSED | ATTN_GAP_COMPATIBLE : ATTN_GAP_DECOMPOSED))
        n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, ATTN_DECOMPOSED_MAX, options, &boundary);
    if (n <= 0 || n > ATTN_DECOMPOSED_MAX) {
        out[0] = c;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)parts[i];
    return (size_t)n;
}

bool attn_compose(uint32_t a, uint32_t b, uint32_t *out)
{
    if (b < 0x300)
        return false;
    utf8proc_int32_t pair[2] = { (utf8proc_int32_t)a, (utf8proc_int32_t)b };
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1 || differs((uint32_t)pair[0], ATTN_GAP_DECOMPOSED))
        return false;
    *out = (uint32_t)pair[0];
    return true;
}

/* The bytes of the code point at s, 0 when there is none: Unicode's table 3-7. */
static size_t sequence_length(const unsigned char *s, size_t left)
{
    unsigned char a = s[0];
    size_t n = a < 0x80 ? 1 : a < 0xC2 ? 0 : a < 0xE0 ? 2 : a < 0xF0 ? 3 : a < 0xF5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if (n > 2 && ((a == 0xE0 && s[1] < 0xA0) || (a == 0xED && s[1] > 0x9F) || (a == 0xF0 && s[1] < 0x90) || (a == 0xF4 && s[1] > 0x8F)))
        return 0;
    return n;
}

bool attn_utf8_index(const char *bytes, size_t length, uint32_t *at)
{
    const unsigned char *s = (const unsigned char *)bytes;
    uint32_t index = 0;
    size_t i = 0;
    while (i < length) {
        uint64_t eight;
        if (length - i >= 8 && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0)) {
            for (uint32_t k = 0; k < 8; k++)
                at[i + k] = index + k;
            index += 8;
            i += 8;
            continue;
        }
        size_t n = sequence_length(s + i, length - i);
        if (n == 0)
            return false;
        for (size_t k = 0; k < n; k++)
            at[i + k] = index;
        index++;
        i += n;
    }
    return true;
}

bool attn_utf8_next(const char *s, size_t left, size_t *n)
{
    static const char *const endings = "\x80\x80\x80"; /* with these, a sound beginning would be a code point */
    char whole[4];
    *n = sequence_length((const unsigned char *)s, left);
    if (*n > 0)
        return true;
    for (size_t have = 3; have > 1; have--)
        for (size_t want = have + 1; want <= 4 && have <= left; want++) {
            memcpy(whole, s, have);
            memcpy(whole + have, endings, want - have);
            if (sequence_length((const unsigned char *)whole, want) == want) {
                *n = have;
                return false;
            }
        }
    *n = 1;
    return false;
}

bool attn_is_utf8(const char *bytes, size_t length)
{
    size_t i = 0, n = 1;
    for (; i < length && n > 0; i += n)
        n = sequence_length((const unsigned char *)bytes + i, length - i);
    return n > 0;
}
