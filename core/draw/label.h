/* label.h - a label as it may be shown: control characters as their escapes, cut to a width.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_LABEL_H
#define ATTN_LABEL_H

#include "attn_draw.h"

enum { ATTN_LABEL_BYTES = 256 };

typedef struct attn_label {
    char text[ATTN_LABEL_BYTES]; /* valid UTF-8, a NUL behind it */
    size_t length;
    size_t columns; /* of a terminal: wide characters count two, marks none */
} attn_label;

/* At most max_columns wide; what is longer (or has too many marks for the buffer) ends in an ellipsis. Characters that show nothing or would turn the text
 * around them (controls, line separators, bidirectional overrides, zero-width spaces) come as \n or \u202e, bytes that are no UTF-8 as U+FFFD; a label of
 * nothing but spaces as open boxes. What comes out may stand in XML once & < > " are escaped. */
void attn_label_make(attn_label *, attn_text, size_t max_columns);
/* What the section calls row or column i. */
void attn_label_of(attn_label *, const attn_section *, attn_draw_axis, size_t i, size_t max_columns);

/* The next character of [s, end), or U+FFFD for a byte that begins none; moves *s. */
int32_t attn_label_next(const char **s, const char *end);
/* Columns of one character. */
size_t attn_label_columns(int32_t c);
/* Does it belong to the character before it: a mark, a joiner, a selector? */
bool attn_label_joins(int32_t c);

#endif
