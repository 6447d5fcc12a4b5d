/* unicode_forms.h - rewriting stretches: the parts that normalizers are made of.
 *
 * Each reads `in` and appends to `out`, which has room for the growth named. All fail with ATTN_E_CANCELLED only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNICODE_FORMS_H
#define UNICODE_FORMS_H

#include "text/pipeline.h"

enum attn_form { ATTN_NFD, ATTN_NFC, ATTN_NFKD, ATTN_NFKC };

/* A stretch being rewritten, with the library's idea of offsets: every code point of the result comes with a change, 0 when it stands in for the next of
 * the input, 1 when it is new, -n when n more of the input went into it. Where each came from then follows from reading the changes from left to right. */
typedef struct attn_rewrite {
    const attn_stretch *in;
    attn_buffer *out;
    size_t cursor; /* in the input */
} attn_rewrite;
void attn_rewrite_put(attn_rewrite *, uint32_t c, int32_t change);
void attn_rewrite_skip(attn_rewrite *, size_t points); /* they went into nothing */

/* Growth 3 (NFD, NFC) or 11 (NFKD, NFKC). */
ATTN_MUST_CHECK attn_status attn_form_normalize(enum attn_form, attn_encoder *, const attn_stretch *in, attn_buffer *out);
/* Keeps the code points that `drop` is false for. */
ATTN_MUST_CHECK attn_status attn_form_drop(bool (*drop)(uint32_t), attn_encoder *, const attn_stretch *in, attn_buffer *out);
ATTN_MUST_CHECK attn_status attn_form_lower(attn_encoder *, const attn_stretch *in, attn_buffer *out); /* growth 2 */

/* Room for so many marks in a row: of more than this, each ATTN_MARKS_MAX are ordered by themselves. */
enum { ATTN_MARKS_MAX = 4096 };
attn_mark_buffer *attn_mark_buffer_new(attn_arena *, size_t text_bytes); /* NULL: no memory */
size_t attn_mark_buffer_bytes(size_t text_bytes);

#endif
