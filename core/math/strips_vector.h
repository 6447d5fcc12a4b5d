/* strips_vector.h - the strip kernels (kernels.h), written once over a vector of floats; included behind kernels_vector.h, whose vector they use, and
 * vec_add_to_doubles(p, v), vec_fma_to_doubles(p, v, factor) beside it.
 *
 * A strip is two vectors of queries. Both products are the same loop: sums[r] of a[r][t] * b[t], where a is read one number at a time and spread over a
 * vector, and b [steps, strip] is read as it lies. For scores a is the keys and b the queries; for contexts a is the values, read the other way, and b
 * the weights. Nothing is packed, nothing is summed across a vector, and what scores leave behind is what contexts read.
 * SPDX-License-Identifier: Apache-2.0 */

enum {
    STRIP = 2 * LANES,
    TILE = LANES / 2,  /* rows of a at a time: twice as many sums, which all stay in registers and hide the latency of an addition */
    DEPTH = 64,        /* additions in float32 before a sum goes to double */
    DEPTH_SCORES = 256 /* multiply-adds of a score before they go to another sum */
};

typedef struct pair {
    vec low, high;
} pair;

/* sums[r] = a[r * row + t * step] times b[t], summed over t < n; rows <= TILE is known when it is compiled. */
INLINE void tile_sums(pair *sums, size_t rows, const float *a, ptrdiff_t row, ptrdiff_t step, const float *b, size_t n)
{
    const float *at[TILE];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        sums[r].low = sums[r].high = vec_set(0);
        at[r] = a + (ptrdiff_t)r * row;
    }
    for (size_t t = 0; t < n; t++, b += STRIP) {
        vec low = vec_load(b), high = vec_load(b + LANES);
        ptrdiff_t offset = (ptrdiff_t)t * step;
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            vec one = vec_set(at[r][offset]);
            sums[r].low = vec_fma(low, one, sums[r].low);
            sums[r].high = vec_fma(high, one, sums[r].high);
        }
    }
}

/* What is known of the scores seen so far. */
typedef struct strip_seen {
    pair max, zero; /* zero: 0 as long as all were finite */
} strip_seen;

INLINE void score_tile(float *x, size_t rows, const attn_strip_product *strip, const float *k, strip_seen *seen)
{
    const vec scale = vec_set(strip->scale), zero = vec_set(0);
    pair sums[TILE];
    tile_sums(sums, rows, k, strip->k_stride, 1, strip->q, strip->d < DEPTH_SCORES ? strip->d : DEPTH_SCORES);
    for (size_t l = DEPTH_SCORES; l < strip->d; l += DEPTH_SCORES) {
        pair more[TILE];
        tile_sums(more, rows, k + l, strip->k_stride, 1, strip->q + l * STRIP, strip->d - l < DEPTH_SCORES ? strip->d - l : DEPTH_SCORES);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++)
            sums[r] = (pair){ vec_add(sums[r].low, more[r].low), vec_add(sums[r].high, more[r].high) };
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
        vec low = vec_mul(scale, sums[r].low), high = vec_mul(scale, sums[r].high);
        vec_store(x + r * STRIP, low);
        vec_store(x + r * STRIP + LANES, high);
        seen->max = (pair){ vec_max(seen->max.low, low), vec_max(seen->max.high, high) };
        seen->zero = (pair){ vec_fma(zero, low, seen->zero.low), vec_fma(zero, high, seen->zero.high) };
    }
}

static bool strip_scores(float *x, float *max, const attn_strip_product *strip, size_t n)
{
    strip_seen seen = { { vec_load(max), vec_load(max + LANES) }, { vec_set(0), vec_set(0) } };
    size_t j = 0;
    for (; j + TILE <= n; j += TILE)
        score_tile(x + j * STRIP, TILE, strip, strip->k + (ptrdiff_t)j * strip->k_stride, &seen);
    for (; j < n; j++)
        score_tile(x + j * STRIP, 1, strip, strip->k + (ptrdiff_t)j * strip->k_stride, &seen);
    vec_store(max, seen.max.low);
    vec_store(max + LANES, seen.max.high);
    return vec_sum(vec_add(seen.zero.low, seen.zero.high)) == 0;
}

/* At most DEPTH keys, in SUMS sums that take turns. */
INLINE pair strip_exp_block(float *x, size_t n, pair base)
{
    pair s[SUMS];
    for (size_t i = 0; i < SUMS; i++)
        s[i].low = s[i].high = vec_set(0);
    size_t j = 0;
    for (; j + SUMS <= n; j += SUMS)
        for (size_t i = 0; i < SUMS; i++) {
            s[i].low = vec_add(s[i].low, exp_here(x + (j + i) * STRIP, base.low));
            s[i].high = vec_add(s[i].high, exp_here(x + (j + i) * STRIP + LANES, base.high));
        }
    for (; j < n; j++) {
        s[0].low = vec_add(s[0].low, exp_here(x + j * STRIP, base.low));
        s[0].high = vec_add(s[0].high, exp_here(x + j * STRIP + LANES, base.high));
    }
    return (pair){ vec_add(vec_add(s[0].low, s[1].low), vec_add(s[2].low, s[3].low)), vec_add(vec_add(s[0].high, s[1].high), vec_add(s[2].high, s[3].high)) };
}

static void strip_exp(float *x, size_t n, const float *base, double *sum)
{
    pair b = { vec_load(base), vec_load(base + LANES) };
    for (size_t j = 0; j < n; j += DEPTH) {
        pair s = strip_exp_block(x + j * STRIP, n - j < DEPTH ? n - j : DEPTH, b);
        vec_add_to_doubles(sum, s.low);
        vec_add_to_doubles(sum + LANES, s.high);
    }
}

INLINE void values_tile(double *y, size_t cols, const float *v, ptrdiff_t v_stride, const float *x, size_t n)
{
    pair sums[TILE];
    tile_sums(sums, cols, v, 1, v_stride, x, n);
#pragma GCC unroll 8
    for (size_t c = 0; c < cols; c++) {
        vec_add_to_doubles(y + c * STRIP, sums[c].low);
        vec_add_to_doubles(y + c * STRIP + LANES, sums[c].high);
    }
}

static void strip_values(double *y, const float *v, ptrdiff_t v_stride, size_t cols, const float *x, size_t n)
{
    for (size_t j = 0; j < n; j += DEPTH) {
        const float *from = v + (ptrdiff_t)j * v_stride, *weights = x + j * STRIP;
        size_t steps = n - j < DEPTH ? n - j : DEPTH, c = 0;
        for (; c + TILE <= cols; c += TILE)
            values_tile(y + c * STRIP, TILE, from + c, v_stride, weights, steps);
        for (; c < cols; c++)
            values_tile(y + c * STRIP, 1, from + c, v_stride, weights, steps);
    }
}

static void strip_sum(double *sum, const float *x, size_t n, const float *factor)
{
    for (size_t j = 0; j < n; j++, x += STRIP) {
        double f = factor ? (double)factor[j] : 1;
        vec_fma_to_doubles(sum, vec_load(x), f);
        vec_fma_to_doubles(sum + LANES, vec_load(x + LANES), f);
    }
}

static void strip_max(float *max, const float *x, size_t n, const float *factor)
{
    vec low = vec_load(max), high = vec_load(max + LANES);
    for (size_t j = 0; j < n; j++, x += STRIP) {
        vec f = vec_set(factor ? factor[j] : 1);
        low = vec_max(vec_mul(f, vec_load(x)), low);
        high = vec_max(vec_mul(f, vec_load(x + LANES)), high);
    }
    vec_store(max, low);
    vec_store(max + LANES, high);
}
