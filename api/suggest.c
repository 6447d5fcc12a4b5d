/* suggest.c - "did you mean": the nearest of a few known names.
 *
 * Optimal string alignment: the least number of letters to insert, drop, change, or swap with their neighbour (Damerau 1964; each pair swapped once).
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "request.h"

enum { LONGEST = 48 }; /* no name of ours is longer; whatever is, resembles none */

/* Three rows are enough: the one being filled and the two before it. n and m are at most LONGEST. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][LONGEST + 1];
    size_t *two_back = rows[0], *back = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        back[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = back[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = attn_least(change, attn_least(back[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = attn_least(row[j], two_back[j - 2] + 1);
        }
        size_t *free_row = two_back;
        two_back = back;
        back = row;
        row = free_row;
    }
    return back[m];
}

const char *api_suggest(const char *name, size_t length, const char *const *names)
{
    const char *best = NULL;
    size_t least = length / 3 + 1;
    if (length > LONGEST)
        return NULL;
    for (; *names; names++) {
        size_t m = strlen(*names);
        if (m > LONGEST)
            continue;
        size_t d = distance(name, length, *names, m);
        if (d < least) {
            least = d;
            best = *names;
        }
    }
    return best;
}
