/* one_row_vector.h - one row against many that lie where they are (kernels.h, row_keys and row_values), written once over a vector of floats; included behind
 * kernels_vector.h, whose vector it uses, and turn_square(vec square[LANES]), which turns a square of numbers round.
 *
 * For keys, LANES rows are turned round in registers, so that a vector has one number of each: what packing them into panels would leave in memory for
 * a product of more rows to read again. Values are read as they lie.
 * SPDX-License-Identifier: Apache-2.0 */

enum { FETCH_ROWS = 16, MOST_COLUMNS = 4 }; /* rows ahead that are worth asking memory for; vectors of columns at a time */

/* sum[j] += k_j[l] * q[l] for l < cols, of `keys` rows; both are known when it is compiled where they are LANES. */
INLINE vec turn_and_add(vec sum, const float *q, const float *k, ptrdiff_t stride, size_t keys, size_t cols)
{
    vec square[LANES];
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++) {
        const float *row = k + (ptrdiff_t)i * stride;
        if (i < keys)
            __builtin_prefetch(row + FETCH_ROWS * stride);
        square[i] = i >= keys ? vec_set(0) : cols == LANES ? vec_load(row) : vec_load_part(row, cols, vec_set(0));
    }
    turn_square(square);
#pragma GCC unroll 16
    for (size_t l = 0; l < LANES; l++)
        if (l < cols)
            sum = vec_fma(square[l], vec_set(q[l]), sum);
    return sum;
}

INLINE void multiply_keys(float *x, const float *q, const float *k, ptrdiff_t stride, size_t keys, size_t d, float scale, bool adds)
{
    vec sum = vec_set(0);
    size_t l = 0;
    for (; l + LANES <= d; l += LANES)
        sum = turn_and_add(sum, q + l, k + l, stride, keys, LANES);
    if (l < d)
        sum = turn_and_add(sum, q + l, k + l, stride, keys, d - l);
    sum = vec_mul(vec_set(scale), sum);
    vec_store_part(x, adds ? vec_add(vec_load_part(x, keys, vec_set(0)), sum) : sum, keys);
}

static void row_keys(float *x, const float *q, const float *k, ptrdiff_t stride, size_t n, size_t d, float scale, bool adds)
{
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
        multiply_keys(x + j, q, k + (ptrdiff_t)j * stride, stride, LANES, d, scale, adds);
    if (j < n)
        multiply_keys(x + j, q, k + (ptrdiff_t)j * stride, stride, n - j, d, scale, adds);
}

/* `columns` vectors, known when it is compiled; of the last one `part` numbers. */
INLINE void multiply_values(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t columns, size_t part, bool adds)
{
    vec sum[MOST_COLUMNS];
#pragma GCC unroll 4
    for (size_t c = 0; c < columns; c++)
        sum[c] = vec_set(0);
    for (size_t j = 0; j < n; j++, v += stride) {
        vec weight = vec_set(x[j]);
        __builtin_prefetch(v + FETCH_ROWS * stride);
#pragma GCC unroll 4
        for (size_t c = 0; c < columns; c++) {
            if (c * LANES % 16 == 0 && c > 0)
                __builtin_prefetch(v + FETCH_ROWS * stride + c * LANES);
            sum[c] = vec_fma(part == LANES ? vec_load(v + c * LANES) : vec_load_part(v + c * LANES, part, vec_set(0)), weight, sum[c]);
        }
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < columns; c++, y += LANES)
        vec_store_part(y, adds ? vec_add(vec_load_part(y, part, vec_set(0)), sum[c]) : sum[c], part);
}

static void row_values(float *y, const float *x, const float *v, ptrdiff_t stride, size_t n, size_t cols, bool adds)
{
    size_t c = 0;
    for (; c + MOST_COLUMNS * LANES <= cols; c += MOST_COLUMNS * LANES)
        multiply_values(y + c, x, v + c, stride, n, MOST_COLUMNS, LANES, adds);
    for (; c + 2 * LANES <= cols; c += 2 * LANES)
        multiply_values(y + c, x, v + c, stride, n, 2, LANES, adds);
    for (; c + LANES <= cols; c += LANES)
        multiply_values(y + c, x, v + c, stride, n, 1, LANES, adds);
    if (c < cols)
        multiply_values(y + c, x, v + c, stride, n, 1, cols - c, adds);
}
