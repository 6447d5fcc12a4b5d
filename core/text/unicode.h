/* unicode.h - what the stages ask about code points, as the tokenizers library answers it.
 *
 * Properties come from utf8proc; where the library, with its older tables, answers otherwise, unicode_gap.c says so.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNICODE_H
#define UNICODE_H

#include "attn_base.h"

/* Facts that are the other way round than utf8proc has them. */
enum {
    ATTN_GAP_PUNCTUATION = 1, /* is punctuation */
    ATTN_GAP_FORMAT = 2,      /* is removed by BERT's cleaning */
    ATTN_GAP_NONSPACING = 4,  /* is a mark that goes with BERT's accents */
    ATTN_GAP_ORDERED = 8,     /* has a combining class other than 0 */
    ATTN_GAP_MARK = 16,       /* is a mark of any kind */
    ATTN_GAP_DECOMPOSED = 32, /* decomposes canonically */
    ATTN_GAP_COMPATIBLE = 64, /* decomposes by compatibility */
};
typedef struct attn_unicode_gap {
    uint32_t first, last;
    unsigned facts;
} attn_unicode_gap;
extern const attn_unicode_gap attn_unicode_gaps[]; /* ascending */
extern const size_t attn_unicode_gap_count;

bool attn_is_white(uint32_t c);       /* White_Space */
bool attn_is_punctuation(uint32_t c); /* ASCII's and categories P* */
bool attn_is_discarded(uint32_t c);   /* what BERT's cleaning removes: NUL, U+FFFD, categories Cc (but tab, LF, CR), Cf, Co */
bool attn_is_nonspacing(uint32_t c);  /* category Mn */
bool attn_is_mark(uint32_t c);        /* categories M* */
bool attn_is_ideograph(uint32_t c);   /* BERT's "Chinese characters" */
bool attn_is_letter(uint32_t c);      /* categories L* */
bool attn_is_number(uint32_t c);      /* categories N* */
bool attn_is_word(uint32_t c);        /* \w of regular expressions: UTS 18, annex C */
uint8_t attn_combining_class(uint32_t c);

enum { ATTN_LOWER_MAX = 2, ATTN_DECOMPOSED_MAX = 32 };
size_t attn_lower(uint32_t c, uint32_t out[ATTN_LOWER_MAX]); /* without context: a final sigma is none */
size_t attn_decompose(uint32_t c, bool compatibility, uint32_t out[ATTN_DECOMPOSED_MAX]);
bool attn_compose(uint32_t a, uint32_t b, uint32_t *out); /* the primary composite of two, if there is one */

/* at[i] of valid UTF-8: the index of the code point that byte i belongs to. False when it is not UTF-8. */
bool attn_utf8_index(const char *bytes, size_t length, uint32_t *at);

/* True: s begins with a code point of *n bytes. False: *n bytes that belong to none, as many as U+FFFD stands for by Unicode's advice. */
bool attn_utf8_next(const char *s, size_t left, size_t *n);
bool attn_is_utf8(const char *bytes, size_t length);

/* Where the grapheme cluster (extended, UAX 29) that begins at `start` ends, in valid UTF-8. */
size_t attn_cluster_end(const char *bytes, size_t length, size_t start);

/* Reads one code point of valid UTF-8; returns its bytes. */
static inline size_t attn_utf8_get(const char *s, uint32_t *c)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *c = u[0];
        return 1;
    }
    if (u[0] < 0xE0) {
        *c = (uint32_t)(u[0] & 0x1F) << 6 | (u[1] & 0x3F);
        return 2;
    }
    if (u[0] < 0xF0) {
        *c = (uint32_t)(u[0] & 0x0F) << 12 | (uint32_t)(u[1] & 0x3F) << 6 | (u[2] & 0x3F);
        return 3;
    }
    *c = (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3F) << 12 | (uint32_t)(u[2] & 0x3F) << 6 | (u[3] & 0x3F);
    return 4;
}

/* The bytes of the code point that ends right before `end`, not before `start`. */
static inline size_t attn_utf8_back(const char *start, const char *end)
{
    const char *p = end - 1;
    while (p > start && ((unsigned char)*p & 0xC0) == 0x80)
        p--;
    return (size_t)(end - p);
}

static inline size_t attn_utf8_put(char *s, uint32_t c)
{
    unsigned char *u = (unsigned char *)s;
    if (c < 0x80) {
        u[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        u[0] = (unsigned char)(0xC0 | c >> 6);
        u[1] = (unsigned char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        u[0] = (unsigned char)(0xE0 | c >> 12);
        u[1] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        u[2] = (unsigned char)(0x80 | (c & 0x3F));
        return 3;
    }
    u[0] = (unsigned char)(0xF0 | c >> 18);
    u[1] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
    u[2] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
    u[3] = (unsigned char)(0x80 | (c & 0x3F));
    return 4;
}

#endif
