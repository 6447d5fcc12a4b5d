/* reduce.c - the mean or the maximum over layers, folded in as they come.
 *
 * A mean grows by shares, so that it is never beyond its largest layer, and a layer asked for many times is folded in once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

static void fold(attn_reduce how, float *acc, const float *row, size_t n, double share, bool first)
{
    if (how == ATTN_REDUCE_MEAN)
        for (size_t i = 0; i < n; i++)
            acc[i] = (float)((first ? 0 : (double)acc[i]) + (double)row[i] * share);
    else
        for (size_t i = 0; i < n; i++)
            acc[i] = first || row[i] > acc[i] ? row[i] : acc[i];
}

void attn_reduce_layer(attn_reduce how, float *acc, const attn_view *view, double share, bool first)
{
    for (size_t h = 0; h < view->heads; h++)
        for (size_t r = 0; r < view->rows; r++, acc += view->cols)
            fold(how, acc, view->head[h] + (ptrdiff_t)r * view->row_stride, view->cols, share, first);
}
