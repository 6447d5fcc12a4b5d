/* analysis/analyst.c - what row analyses need to know of the tokens, made ready once: the same lists serve every row of every layer and head.
 *
 * Whatever is a sum over all keys becomes a product with a list of numbers, for a kernel; what looks at few keys follows `earlier`.
 * SPDX-License-Identifier: Apache-2.0 */
#include "analysis/analysis.h"

#include <string.h>

enum { DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS };

const char *attn_analysis_name(attn_analysis a)
{
    static const char *const names[] = {
        [ATTN_ENTROPY] = "entropy",
        [ATTN_CONFIDENCE] = "confidence",
        [ATTN_MEAN_DISTANCE] = "mean_distance",
        [ATTN_SELF] = "self",
        [ATTN_PREVIOUS_TOKEN] = "previous_token",
        [ATTN_NEXT_TOKEN] = "next_token",
        [ATTN_FIRST_TOKEN] = "first_token",
        [ATTN_SPECIAL_TOKENS] = "special_tokens",
        [ATTN_DUPLICATE_TOKEN] = "duplicate_token",
        [ATTN_INDUCTION] = "induction",
        [ATTN_ROLLOUT] = "rollout",
        [ATTN_HEAD_DISTANCE] = "head_distance",
    };
    _Static_assert(sizeof names / sizeof *names == ATTN_ANALYSIS_COUNT, "every analysis has a name");
    return (size_t)a < ATTN_ANALYSIS_COUNT ? names[a] : "";
}

/* One pass of a radix sort: `to` is `from` in the order of one digit of the ids, equal digits as they were. */
static void sort_by_digit(int32_t *to, const int32_t *from, const int32_t *ids, size_t n, unsigned shift)
{
    size_t place[DIGITS] = { 0 }, sum = 0;
    for (size_t k = 0; k < n; k++)
        place[(uint32_t)ids[k] >> shift & (DIGITS - 1)]++;
    for (size_t d = 0; d < DIGITS; d++) {
        size_t count = place[d];
        place[d] = sum;
        sum += count;
    }
    for (size_t k = 0; k < n; k++)
        to[place[(uint32_t)ids[from[k]] >> shift & (DIGITS - 1)]++] = from[k];
}

/* By sorting, not by hashing: no choice of ids makes it slow. Equal ids end side by side, in the order of their places. */
static attn_status link_equal_ids(int32_t *earlier, const int32_t *ids, size_t n, attn_arena *arena, attn_error *err)
{
    attn_arena_mark mark = attn_arena_save(arena);
    int32_t *order = attn_arena_take(arena, n, sizeof *order);
    int32_t *other = order ? attn_arena_take(arena, n, sizeof *other) : NULL;
    if (other) {
        for (size_t k = 0; k < n; k++)
            order[k] = (int32_t)k;
        for (unsigned shift = 0; shift < 32; shift += 2 * DIGIT_BITS) {
            sort_by_digit(other, order, ids, n, shift);
            sort_by_digit(order, other, ids, n, shift + DIGIT_BITS);
        }
        for (size_t k = 0; k < n; k++)
            earlier[order[k]] = k > 0 && ids[order[k - 1]] == ids[order[k]] ? order[k - 1] : -1;
    }
    attn_arena_rewind(arena, mark);
    return other ? ATTN_OK : attn_fail_memory(err);
}

static attn_status make_earlier(attn_analyst *an, const int32_t *ids, attn_arena *arena, attn_error *err)
{
    if (!ids || an->T_k > INT32_MAX)
        return attn_fail(err, ATTN_E_INTERNAL, "analyses", "an analysis of tokens without their ids");
    int32_t *earlier = attn_arena_take(arena, an->T_k, sizeof *earlier);
    if (!earlier)
        return attn_fail_memory(err);
    an->earlier = earlier;
    return link_equal_ids(earlier, ids, an->T_k, arena, err);
}

static attn_status make_special(attn_analyst *an, const uint8_t *is_special, attn_arena *arena, attn_error *err)
{
    if (!is_special)
        return attn_fail(err, ATTN_E_INTERNAL, "analyses", "an analysis of special tokens, and nobody said which are");
    float *special = attn_arena_take(arena, an->T_k, sizeof *special);
    if (!special)
        return attn_fail_memory(err);
    for (size_t j = 0; j < an->T_k; j++)
        special[j] = is_special[j] ? 1.0f : 0.0f;
    an->special = special;
    return ATTN_OK;
}

static attn_status make_distance(attn_analyst *an, attn_arena *arena, attn_error *err)
{
    float *distance = attn_arena_take(arena, 2 * an->T_k, sizeof *distance);
    if (!distance)
        return attn_fail_memory(err);
    for (size_t j = 0; j < an->T_k; j++)
        distance[an->T_k - 1 + j] = distance[an->T_k - 1 - j] = (float)j;
    an->distance = distance;
    return ATTN_OK;
}

uint64_t attn_analyst_bytes(attn_analyses wanted, size_t T_k)
{
    uint64_t bytes = 0, list = attn_arena_bytes(T_k, sizeof(float));
    if (wanted & ATTN_TOKEN_ANALYSES)
        bytes = attn_plus(bytes, attn_times(3, list)); /* two of them while it sorts */
    if (wanted & ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS))
        bytes = attn_plus(bytes, list);
    if (wanted & ATTN_ANALYSIS_BIT(ATTN_MEAN_DISTANCE))
        bytes = attn_plus(bytes, attn_times(2, list));
    return bytes;
}

attn_status attn_analyst_init(attn_analyst *an, attn_analyses wanted, const attn_analysis_tokens *tokens, size_t T_q, size_t T_k, int64_t query_offset,
                              const uint8_t *query_counts, attn_arena *arena, attn_error *err)
{
    static const attn_analysis_tokens unknown = { 0 };
    const attn_analysis_tokens *about = tokens ? tokens : &unknown;
    attn_status st = ATTN_OK;
    *an = (attn_analyst){ .wanted = wanted, .T_q = T_q, .T_k = T_k, .query_offset = query_offset, .query_counts = query_counts };
    if (wanted & ATTN_TOKEN_ANALYSES)
        st = make_earlier(an, about->ids, arena, err);
    if (st == ATTN_OK && wanted & ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS))
        st = make_special(an, about->is_special, arena, err);
    if (st == ATTN_OK && wanted & ATTN_ANALYSIS_BIT(ATTN_MEAN_DISTANCE))
        st = make_distance(an, arena, err);
    return st;
}
