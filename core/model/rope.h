/* rope.h - rotary position embeddings (Su 2021) and their stretched forms: what config.json says, tables of angles for a run, and turning heads by them.
 *
 * Pair i of a head's first `width` columns is turned by t * f(i), f(i) = theta^(-2i / width), columns i and i + width / 2 being a pair, in GPT-J 2i and 2i + 1.
 * Angles are made in double. The stretched forms change f, and some the size of the result:
 *   linear     f / s                                                                     (Chen 2023)
 *   dynamic    theta * (s T / n - (s - 1))^(width / (width - 2)) for texts of T > n      ("NTK-aware")
 *   yarn       f / s for slow pairs, f for fast ones, a ramp between                     (Peng 2023)
 *   llama3     likewise, by wavelength                                                   (Dubey 2024)
 *   longrope   f / factor(i), one list for texts that fit the original length, one beyond (Ding 2024)
 * s = factor, n = max_position_embeddings.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_ROPE_H
#define ATTN_ROPE_H

#include "attn_runtime.h"
#include "model/config.h"

typedef enum attn_rope_kind { ATTN_ROPE_PLAIN, ATTN_ROPE_LINEAR, ATTN_ROPE_DYNAMIC, ATTN_ROPE_YARN, ATTN_ROPE_LLAMA3, ATTN_ROPE_LONG } attn_rope_kind;

typedef struct attn_rope {
    attn_rope_kind kind;
    size_t width;    /* columns of a head that are turned, even; 0: there is no rotation */
    bool neighbours; /* columns 2i and 2i + 1 are a pair */
    double theta, factor;
    double size;         /* of cosines and sines */
    double low, high;    /* yarn: pairs between which the ramp runs; llama3: the frequency factors */
    double original;     /* positions that the unstretched form was made for; dynamic: n */
    double *pair_factor; /* longrope: [2][width / 2], short and long; attn_free */
} attn_rope;

/* Reads rope_parameters, or rope_theta and rope_scaling, and the keys beside them. theta, part: where the file says nothing. */
void attn_rope_configure(attn_rope *, attn_config *, size_t head_dim, size_t max_positions, double theta, double part);
/* Two of them: ropes[0] for layers that see everything, ropes[1] for those with a window. rope_parameters has a section for each, full_attention and
 * sliding_attention; older files have keys for the bases, which the caller has read, and rope_scaling for the first alone. */
typedef struct attn_rope_sections {
    size_t head_dim, max_positions;
    double theta[2];
} attn_rope_sections;
void attn_rope_configure_both(attn_rope ropes[2], attn_config *, const attn_rope_sections *);
/* Refuses a rope that turns a part of a head: transformers reads that key for some families only. */
void attn_rope_check_whole(const attn_rope *, attn_config *, size_t head_dim);
/* Positions there are: max_positions, or with a dynamic base `factor` times as many. */
size_t attn_rope_positions(const attn_rope *, size_t max_positions);

/* Turned by how much at each of T positions. */
typedef struct attn_rotation {
    size_t width;
    bool neighbours;      /* as in the rope */
    float *cosine, *sine; /* [T, width / 2] */
} attn_rotation;

/* Fills tables that the caller took, for T positions from `first` on in a text of `length`, on the runtime's threads. */
void attn_rotation_fill(attn_runtime *, const attn_rope *, const attn_rotation *, size_t first, size_t T, size_t length);
/* Whether a text of `to` turns otherwise than one of `from`: keys made for the one do not serve the other. */
bool attn_rope_differs(const attn_rope *, size_t from, size_t to);
/* How often that happens to a text that grows from `from` to `to` tokens one by one, and the length of the longest that it happens to. */
size_t attn_rope_differences(const attn_rope *, size_t from, size_t to, size_t *longest);
/* x [T, heads, d] in place. */
void attn_rotation_apply(attn_runtime *, const attn_rotation *, float *x, size_t T, size_t heads, size_t d);

#endif
