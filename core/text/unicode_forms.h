/* unicode_forms.h - rewriting stretches: the parts that normalizers are made of.
 *
 * Each reads `in` and appends to `out`, which has room for the growth named. All fail with ATTN_E_CANCELLED only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNICODE_FORMS_H
#define UNICODE_FORMS_H

#include "text/pipeline.h"

enum attn_form { ATTN_NFD, ATTN_NFC, ATTN_NFKD, ATTN_NFKC };

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
