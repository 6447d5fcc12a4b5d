/* bpe_merge.c - merging the symbols of a word, always the pair of the lowest rank, of equals the leftmost.
 *
 * A short word is searched for the lowest rank each time: quadratic, but of few numbers that lie side by side. A long one has a heap of ranks and places, so
 * that n symbols take n log n; what lies in the heap for a pair that is no more is known by its rank.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/bpe.h"

size_t attn_merge_short(const attn_bpe *bpe, attn_symbol *s, size_t count)
{
    if (count < 2)
        return count;
    for (size_t i = 0; i + 1 < count; i++)
        attn_symbol_look_up(&s[i], &s[i + 1], bpe);
    s[count - 1].rank = ATTN_NO_RANK;
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (s[i].rank < s[best].rank)
                best = i;
        if (s[best].rank == ATTN_NO_RANK)
            return count;
        s[best].id = s[best].merged;
        s[best].length += s[best + 1].length;
        memmove(&s[best + 1], &s[best + 2], (count - best - 2) * sizeof *s);
        count--;
        if (best + 1 < count)
            attn_symbol_look_up(&s[best], &s[best + 1], bpe);
        else
            s[best].rank = ATTN_NO_RANK;
        if (best > 0)
            attn_symbol_look_up(&s[best - 1], &s[best], bpe);
    }
}

/* ---- long words ---- */

static void sift_down(uint64_t *heap, size_t count, size_t i)
{
    uint64_t value = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= value)
            break;
        heap[i] = heap[child];
    }
    heap[i] = value;
}

static void push(uint64_t *heap, size_t *count, uint64_t value)
{
    size_t i = (*count)++;
    for (; i > 0 && heap[(i - 1) / 2] > value; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = value;
}

static uint64_t pop(uint64_t *heap, size_t *count)
{
    uint64_t top = heap[0];
    heap[0] = heap[--*count];
    if (*count > 0)
        sift_down(heap, *count, 0);
    return top;
}

static uint64_t entry(const attn_symbol *s, size_t i)
{
    return (uint64_t)s[i].rank << 32 | i;
}

static size_t fill(const attn_bpe *bpe, attn_symbol *s, size_t count, uint64_t *heap)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        s[i].previous = i ? (uint32_t)i - 1 : ATTN_NO_SYMBOL;
        s[i].next = i + 1 < count ? (uint32_t)i + 1 : ATTN_NO_SYMBOL;
        s[i].rank = ATTN_NO_RANK;
        if (i + 1 < count)
            attn_symbol_look_up(&s[i], &s[i + 1], bpe);
        if (s[i].rank != ATTN_NO_RANK)
            heap[n++] = entry(s, i);
    }
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i);
    return n;
}

static void look_up_again(const attn_bpe *bpe, attn_symbol *s, uint32_t i, uint64_t *heap, size_t *queued)
{
    if (s[i].next == ATTN_NO_SYMBOL) {
        s[i].rank = ATTN_NO_RANK;
        return;
    }
    attn_symbol_look_up(&s[i], &s[s[i].next], bpe);
    if (s[i].rank != ATTN_NO_RANK)
        push(heap, queued, entry(s, i));
}

static void merge(const attn_bpe *bpe, attn_symbol *s, uint32_t i, uint64_t *heap, size_t *queued)
{
    attn_symbol *left = &s[i], *right = &s[left->next];
    left->id = left->merged;
    left->length += right->length;
    left->next = right->next;
    right->length = 0; /* gone */
    right->rank = ATTN_NO_RANK;
    if (left->next != ATTN_NO_SYMBOL)
        s[left->next].previous = i;
    look_up_again(bpe, s, i, heap, queued);
    if (left->previous != ATTN_NO_SYMBOL)
        look_up_again(bpe, s, left->previous, heap, queued);
}

attn_status attn_merge_long(const attn_bpe *bpe, attn_encoder *e, attn_symbol *s, uint64_t *heap, size_t *count)
{
    enum { STEP_BYTES = 16 }; /* what one merge counts for */
    attn_status st = ATTN_OK;
    size_t queued = fill(bpe, s, *count, heap), left = 0;
    while (st == ATTN_OK && queued > 0) {
        uint64_t top = pop(heap, &queued);
        uint32_t i = (uint32_t)top;
        if (s[i].rank == top >> 32)
            merge(bpe, s, i, heap, &queued);
        st = attn_encoder_handled(e, STEP_BYTES);
    }
    for (size_t i = 0; i < *count; i++)
        if (s[i].length > 0)
            s[left++] = s[i];
    *count = left;
    return st;
}
