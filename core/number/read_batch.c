/* read_batch.c - the second half of the readers of arrays, from tokens to floats.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/read.h"

/* Ends the batch behind the last number of its array, or before the first that is left to others. */
static inline void read_exponents(attn_token_batch *b)
{
    for (size_t i = 0; i < b->list_length; i++) {
        size_t at = b->listed[i];
        attn_token *t = &b->token[at];
        bool read = *t->end == ']' || attn_read_exponent(&t->end, &t->exponent);
        if (!read || t->end != b->comma[at]) {
            b->n = at + (read && *t->end == ']');
            return;
        }
    }
}

size_t attn_batch_floats(float *dst, attn_token_batch *b, const char **s)
{
    read_exponents(b);
    size_t n = 0;
    while (n < b->n && attn_token_float(&b->token[n], &dst[n]))
        n++;
    if (n > 0)
        *s = b->token[n - 1].end;
    return n;
}
