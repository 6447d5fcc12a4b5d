/* pattern.h - regular expressions of a tokenizer.json, through PCRE2.
 *
 * The files are written for Oniguruma in Ruby's syntax; where PCRE2 reads the same signs otherwise, pattern.c rewrites them. No pattern may take long:
 * the steps of one attempt are limited, and so is the time that all searches of one text take together.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PATTERN_H
#define PATTERN_H

#include "text/pipeline.h"

/* Reads {"Regex": ".."} or {"String": ".."}. */
ATTN_MUST_CHECK attn_status attn_pattern_open(attn_pattern **out, const attn_node *);
/* The same, for one whose matches are replaced: one that may match nothing, or forgets where a match began, is refused. */
ATTN_MUST_CHECK attn_status attn_pattern_open_replacing(attn_pattern **out, const attn_node *);
void attn_pattern_close(attn_pattern *); /* NULL is fine */
/* A match has at least so many bytes; 0 when it may be empty, or nobody knows. */
size_t attn_pattern_least(const attn_pattern *);

/* A walk over the matches in `text`, left to right; an empty match never follows another match at once. Start with { pattern, text, length }. */
typedef struct attn_pattern_scan {
    const attn_pattern *pattern;
    const char *text;
    size_t length;
    size_t position; /* where to look on */
    bool matched;    /* the last match ended at `position` */
    bool done;
} attn_pattern_scan;

/* *found is false behind the last match. ATTN_E_INPUT when the pattern takes too many steps, too much memory or too long for this text. */
ATTN_MUST_CHECK attn_status attn_pattern_next(attn_pattern_scan *, attn_encoder *, bool *found, size_t *start, size_t *end);

/* Bytes of arena that all searches of one text take at most. */
size_t attn_matcher_bytes(void);

#endif
