/* attention/positions.c - where a token stands, told to attention in three ways: sinusoids added to embeddings, rotated queries and keys, ALiBi's slopes.
 *
 * Angles are made in double: a float32 angle at position 100,000 is already off by 0.004.
 * References: Vaswani et al. 2017, 3.5; Su et al. 2021 (RoFormer), in the layout where the pair of column i is column i + d/2; Press et al. 2022.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_attention.h"

#include <math.h>

enum { PAIRS = 64 }; /* frequencies held at a time, on the stack */

void attn_alibi_slopes(float *slopes, size_t num_heads)
{
    size_t power = 1;
    while (power <= num_heads / 2)
        power *= 2;
    for (size_t h = 0; h < num_heads; h++) {
        /* Head h of `power` heads, or past them every second one of 2 * power. */
        double exponent = h < power ? (double)(h + 1) / (double)power : (double)(2 * (h - power) + 1) / (double)(2 * power);
        slopes[h] = (float)exp2(-8.0 * exponent);
    }
}

void attn_add_sinusoids(float *x, size_t T, size_t D, ptrdiff_t row_stride)
{
    for (size_t c = 0; c < D; c += 2) {
        double frequency = pow(10000.0, -(double)c / (double)D);
        for (size_t t = 0; t < T; t++) {
            float *row = x + (ptrdiff_t)t * row_stride;
            double angle = (double)t * frequency;
            row[c] += (float)sin(angle);
            if (c + 1 < D)
                row[c + 1] += (float)cos(angle);
        }
    }
}

/* Turns the pairs (x[i], x[i + half]) of `heads` vectors of d. */
static void turn(float *x, size_t heads, size_t d, const float *cosine, const float *sine, size_t n)
{
    for (size_t h = 0; h < heads; h++) {
        float *a = x + h * d, *b = a + d / 2;
        for (size_t i = 0; i < n; i++) {
            float first = a[i], second = b[i];
            a[i] = first * cosine[i] - second * sine[i];
            b[i] = second * cosine[i] + first * sine[i];
        }
    }
}

void attn_rotate(float *x, size_t T, size_t heads, size_t d, int64_t offset, double theta)
{
    double frequency[PAIRS];
    float cosine[PAIRS], sine[PAIRS];
    for (size_t first = 0; first < d / 2; first += PAIRS) {
        size_t n = d / 2 - first < PAIRS ? d / 2 - first : PAIRS;
        for (size_t i = 0; i < n; i++)
            frequency[i] = pow(theta, -2.0 * (double)(first + i) / (double)d);
        for (size_t t = 0; t < T; t++) {
            double position = (double)t + (double)offset;
            for (size_t i = 0; i < n; i++) {
                cosine[i] = (float)cos(position * frequency[i]);
                sine[i] = (float)sin(position * frequency[i]);
            }
            turn(x + t * heads * d + first, heads, d, cosine, sine, n);
        }
    }
}
