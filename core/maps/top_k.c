/* top_k.c - the k largest of a row, largest first, ties by lower index.
 *
 * A heap of k entries with the worst on top is filled in one pass over the row (n log k at worst, about n when k is small), then taken apart from the back,
 * which leaves it sorted.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_maps.h"

typedef struct heap {
    int32_t *indices;
    float *values;
    size_t n;
} heap;

/* Is entry a worse than entry b: smaller, or equal with a higher index? */
static bool worse(const heap *h, size_t a, size_t b)
{
    return h->values[a] < h->values[b] || (h->values[a] == h->values[b] && h->indices[a] > h->indices[b]);
}

static void swap(heap *h, size_t a, size_t b)
{
    float v = h->values[a];
    int32_t i = h->indices[a];
    h->values[a] = h->values[b];
    h->indices[a] = h->indices[b];
    h->values[b] = v;
    h->indices[b] = i;
}

static void sink_top(heap *h)
{
    for (size_t at = 0;;) {
        size_t worst = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2; child++)
            if (child < h->n && worse(h, child, worst))
                worst = child;
        if (worst == at)
            return;
        swap(h, at, worst);
        at = worst;
    }
}

static void append(heap *h, int32_t index, float value)
{
    size_t at = h->n++;
    h->indices[at] = index;
    h->values[at] = value;
    for (; at && worse(h, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(h, at, (at - 1) / 2);
}

static void offer(heap *h, size_t k, int32_t index, float value)
{
    if (h->n < k) {
        append(h, index, value);
    } else if (value > h->values[0] || (value == h->values[0] && index < h->indices[0])) {
        h->indices[0] = index;
        h->values[0] = value;
        sink_top(h);
    }
}

/* What of the row is not among the values given. */
static float mass_left(const float *row, size_t n, const heap *h, size_t given)
{
    double left = 0;
    for (size_t i = 0; i < n; i++)
        left += (double)row[i];
    for (size_t i = 0; i < given; i++)
        left -= (double)h->values[i];
    return given == n || left < 0 ? 0.0f : (float)left;
}

size_t attn_top_k(const float *row, size_t n, const int32_t *keys, size_t num_keys, size_t k, int32_t *indices, float *values, float *dropped)
{
    heap h = { .indices = indices, .values = values };
    for (size_t i = 0; i < (keys ? num_keys : n); i++) {
        int32_t key = keys ? keys[i] : (int32_t)i;
        offer(&h, k, key, row[key]);
    }
    size_t given = h.n;
    while (h.n > 1) {
        swap(&h, 0, --h.n);
        sink_top(&h);
    }
    *dropped = mass_left(row, n, &h, given);
    return given;
}
