/* reduce.c - the mean or the maximum over layers, folded in as they come.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

#include <math.h>
#include <string.h>

static void fold(attn_reduce how, float *acc, const float *row, size_t n)
{
    if (how == ATTN_REDUCE_MEAN)
        for (size_t i = 0; i < n; i++)
            acc[i] += row[i];
    else
        for (size_t i = 0; i < n; i++)
            acc[i] = fmaxf(acc[i], row[i]);
}

void attn_reduce_layer(attn_reduce how, float *acc, const attn_view *view, bool first)
{
    for (size_t h = 0; h < view->heads; h++)
        for (size_t r = 0; r < view->rows; r++, acc += view->cols) {
            const float *row = view->head[h] + (ptrdiff_t)r * view->row_stride;
            if (first)
                memcpy(acc, row, view->cols * sizeof *acc);
            else
                fold(how, acc, row, view->cols);
        }
}

void attn_reduce_finish(attn_reduce how, float *acc, size_t n, size_t layers)
{
    if (how == ATTN_REDUCE_MEAN)
        for (size_t i = 0; i < n; i++)
            acc[i] /= (float)layers;
}
