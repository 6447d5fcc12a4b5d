/* bins.c - where the bins of a pooled axis begin.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

size_t attn_pool_bins(size_t n, size_t size)
{
    return attn_least(n, size);
}

/* floor(a * b / m) for a <= m and b < m, whatever their size: a's bits one after another, with quotient and remainder kept instead of the product. */
static size_t multiply_divide(size_t a, size_t b, size_t m)
{
    size_t quotient = 0, rest = 0, product;
    if (attn_mul(a, b, &product))
        return product / m;
    for (int bit = 8 * (int)sizeof a - 1; bit >= 0; bit--) {
        size_t added[2] = { rest, a >> bit & 1 ? b : 0 }; /* the double, then the bit */
        quotient *= 2;
        for (int i = 0; i < 2; i++) {
            bool carries = rest >= m - added[i];
            rest = carries ? rest - (m - added[i]) : rest + added[i];
            quotient += carries;
        }
    }
    return quotient;
}

size_t attn_pool_edge(size_t n, size_t bins, size_t b)
{
    /* n = bins * (n / bins) + n % bins */
    return b * (n / bins) + multiply_divide(b, n % bins, bins);
}
