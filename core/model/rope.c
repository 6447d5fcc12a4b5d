/* rope.c - see the header.
 *
 * Yarn's ramp (Peng 2023, 3.2): the pair that makes r turns over the original length is width ln(original / 2 pi r) / (2 ln theta); between the pairs of 32 and 1
 * turns (beta_fast, beta_slow) it falls from f to f / s. Cosines and sines are 0.1 ln s + 1 times as large, which is the paper's temperature.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/rope.h"
#include "model/source.h"

#include <math.h>

static const double two_pi = 6.283185307179586;

/* ---- config.json -------------------------------------------------------------------------------------------------------- */

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double log_size(double scale, double weight)
{
    return scale <= 1 ? 1 : 0.1 * weight * log(scale) + 1;
}

static double pair_of_turns(const attn_rope *r, double turns)
{
    return (double)r->width * log(r->original / (turns * two_pi)) / (2 * log(r->theta));
}

static void read_yarn(attn_rope *r, attn_config *c)
{
    double fast = attn_config_number_or(c, "beta_fast", 1e-3, 1e6, 32), slow = attn_config_number_or(c, "beta_slow", 1e-3, 1e6, 1);
    double mscale = attn_config_number_or(c, "mscale", 0, 1e3, 0), all = attn_config_number_or(c, "mscale_all_dim", 0, 1e3, 0);
    double size = mscale > 0 && all > 0 ? log_size(r->factor, mscale) / log_size(r->factor, all) : log_size(r->factor, 1);
    bool truncate = attn_config_flag_or(c, "truncate", true);
    attn_config_take(c, "finetuned"); /* how it was made */
    double low = pair_of_turns(r, fast), high = pair_of_turns(r, slow);
    r->size = attn_config_number_or(c, "attention_factor", 1e-3, 1e3, size);
    r->low = larger(truncate ? floor(low) : low, 0);
    r->high = fmin(truncate ? ceil(high) : high, (double)r->width - 1);
    if (r->low == r->high)
        r->high += 0.001;
}

static void read_long(attn_rope *r, attn_config *c, size_t max_positions)
{
    size_t pairs = r->width / 2;
    double factor = attn_config_number_or(c, "factor", 1e-3, 1e6, (double)max_positions / r->original);
    double size = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(r->original));
    r->size = attn_config_number_or(c, "attention_factor", 1e-3, 1e3, size);
    attn_free(r->pair_factor);
    r->pair_factor = attn_calloc(2 * pairs, sizeof *r->pair_factor);
    if (!r->pair_factor && c->status == ATTN_OK)
        c->status = attn_fail_memory(c->err);
    if (!r->pair_factor)
        return;
    attn_config_numbers(c, "short_factor", 1e-3, 1e6, r->pair_factor, pairs);
    attn_config_numbers(c, "long_factor", 1e-3, 1e6, r->pair_factor + pairs, pairs);
}

static void check_width(const attn_rope *r, attn_config *c)
{
    size_t least = r->kind == ATTN_ROPE_DYNAMIC ? 4 : 2;
    if (c->status == ATTN_OK && (r->width % 2 || r->width < least))
        c->status = attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, "head_dim").text, "%zu columns of a head cannot be rotated in pairs", r->width);
}

void attn_rope_check_whole(const attn_rope *r, attn_config *c, size_t head_dim)
{
    if (c->status == ATTN_OK && r->width != head_dim)
        c->status =
            attn_fail(c->err, ATTN_E_UNSUPPORTED, attn_at(c->file, "partial_rotary_factor").text, "is less than 1, and this family rotates whole heads");
}

static void read_kind(attn_rope *r, attn_config *c, size_t max_positions)
{
    static const attn_choice kinds[] = { { "default", ATTN_ROPE_PLAIN },   { "linear", ATTN_ROPE_LINEAR },
                                         { "dynamic", ATTN_ROPE_DYNAMIC }, { "yarn", ATTN_ROPE_YARN },
                                         { "llama3", ATTN_ROPE_LLAMA3 },   { "longrope", ATTN_ROPE_LONG },
                                         { "su", ATTN_ROPE_LONG },         { NULL, 0 } };
    if (c->status != ATTN_OK)
        return;
    r->kind = (attn_rope_kind)attn_config_choice_or_first(c, attn_config_has(c, "rope_type") ? "rope_type" : "type", kinds);
    attn_config_take(c, "type");
    if (r->kind != ATTN_ROPE_PLAIN && r->kind != ATTN_ROPE_LONG)
        r->factor = attn_config_number(c, "factor", 1, 1e6);
    if (r->kind == ATTN_ROPE_DYNAMIC) {
        check_width(r, c);
        r->original = (double)max_positions;
    }
    if (r->kind == ATTN_ROPE_YARN)
        read_yarn(r, c);
    if (r->kind == ATTN_ROPE_LONG)
        read_long(r, c, max_positions);
    if (r->kind == ATTN_ROPE_LLAMA3) {
        r->low = attn_config_number(c, "low_freq_factor", 1e-3, 1e6);
        r->high = attn_config_number(c, "high_freq_factor", r->low * 1.0001, 1e7);
    }
}

/* From r->original on; c NULL: the plain form. */
static void read_form(attn_rope *r, attn_config *c, size_t head_dim, size_t max_positions, double part)
{
    if (c) {
        r->theta = attn_config_number_or(c, "rope_theta", 1.001, 1e15, r->theta);
        part = attn_config_number_or(c, "partial_rotary_factor", 0, 1, part);
        r->original = attn_config_number_or(c, "original_max_position_embeddings", 2, ATTN_MAX_POSITIONS, r->original);
    }
    r->width = (size_t)((double)head_dim * part);
    if (c) {
        check_width(r, c);
        read_kind(r, c, max_positions);
    }
}

void attn_rope_configure_both(attn_rope ropes[2], attn_config *c, const attn_rope_sections *s)
{
    static const char *const keys[] = { "full_attention", "sliding_attention" };
    attn_config sections, one;
    bool has_sections = attn_config_enter(c, "rope_parameters", &sections);
    for (size_t i = 0; i < 2; i++) {
        attn_config *outer = has_sections ? &sections : c;
        bool given = (has_sections || i == 0) && attn_config_enter(outer, has_sections ? keys[i] : "rope_scaling", &one);
        ropes[i] = (attn_rope){ .size = 1, .factor = 1, .theta = s->theta[i], .original = (double)s->max_positions };
        read_form(&ropes[i], given ? &one : NULL, s->head_dim, s->max_positions, 1);
        if (given)
            attn_config_leave(outer, &one);
        check_width(&ropes[i], outer);
        attn_rope_check_whole(&ropes[i], outer, s->head_dim);
    }
    if (has_sections)
        attn_config_leave(c, &sections);
    attn_config_off(c, "rope_scaling");
}

void attn_rope_configure(attn_rope *r, attn_config *c, size_t head_dim, size_t max_positions, double theta, double part)
{
    attn_config section;
    const char *key = attn_config_has(c, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    *r = (attn_rope){ .size = 1, .factor = 1 };
    r->theta = attn_config_number_or(c, "rope_theta", 1.001, 1e15, theta);
    part = attn_config_number_or(c, "partial_rotary_factor", 0, 1, part);
    bool has_original = attn_config_has(c, "original_max_position_embeddings");
    r->original = attn_config_number_or(c, "original_max_position_embeddings", 2, ATTN_MAX_POSITIONS, (double)max_positions);
    bool given = attn_config_enter(c, key, &section);
    if (given && has_original) /* the section's gives way to it */
        attn_config_take(&section, "original_max_position_embeddings");
    read_form(r, given ? &section : NULL, head_dim, max_positions, part);
    if (given)
        attn_config_leave(c, &section);
    check_width(r, c);
    attn_config_off(c, "rope_scaling"); /* beside rope_parameters: one of them would be left out */
}

size_t attn_rope_positions(const attn_rope *r, size_t max_positions)
{
    double positions = r->kind == ATTN_ROPE_DYNAMIC ? r->factor * (double)max_positions : (double)max_positions;
    return positions < ATTN_MAX_POSITIONS ? (size_t)positions : ATTN_MAX_POSITIONS;
}

/* ---- angles ------------------------------------------------------------------------------------------------------------- */

static double clamp(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* How far pair i turns from one position to the next, in a text of T. */
static double frequency(const attn_rope *r, size_t i, size_t T)
{
    double width = (double)r->width, theta = r->theta;
    if (r->kind == ATTN_ROPE_DYNAMIC && (double)T > r->original)
        theta *= pow(r->factor * (double)T / r->original - (r->factor - 1), width / (width - 2));
    double f = pow(theta, -2.0 * (double)i / width);
    switch (r->kind) {
    case ATTN_ROPE_LINEAR:
        return f / r->factor;
    case ATTN_ROPE_YARN: {
        double slow = clamp(((double)i - r->low) / (r->high - r->low));
        return f / r->factor * slow + f * (1 - slow);
    }
    case ATTN_ROPE_LLAMA3: { /* by turns over the original length */
        double fast = clamp((r->original * f / two_pi - r->low) / (r->high - r->low));
        return f / r->factor * (1 - fast) + f * fast;
    }
    case ATTN_ROPE_LONG:
        return f / r->pair_factor[((double)T > r->original ? r->width / 2 : 0) + i];
    default:
        return f;
    }
}

bool attn_rope_differs(const attn_rope *r, size_t from, size_t to)
{
    bool was_long = (double)from > r->original, is_long = (double)to > r->original;
    if (r->kind == ATTN_ROPE_DYNAMIC)
        return from != to && (was_long || is_long);
    return r->kind == ATTN_ROPE_LONG && was_long != is_long;
}

size_t attn_rope_differences(const attn_rope *r, size_t from, size_t to, size_t *longest)
{
    size_t original = (size_t)r->original;
    *longest = 0;
    if (from >= to || !attn_rope_differs(r, from, to))
        return 0;
    *longest = r->kind == ATTN_ROPE_LONG ? original : to - 1;
    return r->kind == ATTN_ROPE_LONG ? 1 : to - attn_most(from, original);
}

typedef struct fill_task {
    const attn_rope *rope;
    const attn_rotation *rotation;
    size_t first, T, length;
} fill_task;

/* One pair at all positions. */
static void fill_pair(void *ctx, size_t i, int slot)
{
    const fill_task *t = ctx;
    size_t pairs = t->rotation->width / 2;
    double f = frequency(t->rope, i, t->length);
    (void)slot;
    for (size_t row = 0; row < t->T; row++) {
        double position = (double)(t->first + row);
        t->rotation->cosine[row * pairs + i] = (float)(t->rope->size * cos(position * f));
        t->rotation->sine[row * pairs + i] = (float)(t->rope->size * sin(position * f));
    }
}

void attn_rotation_fill(attn_runtime *rt, const attn_rope *rope, const attn_rotation *rotation, size_t first, size_t T, size_t length)
{
    fill_task t = { .rope = rope, .rotation = rotation, .first = first, .T = T, .length = length };
    attn_parallel(rt, rotation->width / 2, fill_pair, &t);
}

/* ---- turning ------------------------------------------------------------------------------------------------------------ */

typedef struct turn_task {
    const attn_rotation *rotation;
    float *x;
    size_t T, heads, d, rows;
} turn_task;

static void turn(float *restrict a, float *restrict b, const float *cosine, const float *sine, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float first = a[i], second = b[i];
        a[i] = first * cosine[i] - second * sine[i];
        b[i] = second * cosine[i] + first * sine[i];
    }
}

static void turn_neighbours(float *x, const float *cosine, const float *sine, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float first = x[2 * i], second = x[2 * i + 1];
        x[2 * i] = first * cosine[i] - second * sine[i];
        x[2 * i + 1] = second * cosine[i] + first * sine[i];
    }
}

static void turn_rows(void *ctx, size_t block, int slot)
{
    const turn_task *t = ctx;
    size_t pairs = t->rotation->width / 2, end = attn_least((block + 1) * t->rows, t->T);
    (void)slot;
    for (size_t row = block * t->rows; row < end; row++)
        for (size_t h = 0; h < t->heads; h++) {
            float *x = t->x + (row * t->heads + h) * t->d;
            const float *cosine = t->rotation->cosine + row * pairs, *sine = t->rotation->sine + row * pairs;
            if (t->rotation->neighbours)
                turn_neighbours(x, cosine, sine, pairs);
            else
                turn(x, x + pairs, cosine, sine, pairs);
        }
}

void attn_rotation_apply(attn_runtime *rt, const attn_rotation *rotation, float *x, size_t T, size_t heads, size_t d)
{
    enum { BLOCK = 16384 }; /* elements worth handing to another thread */
    turn_task t = { .rotation = rotation, .x = x, .T = T, .heads = heads, .d = d, .rows = BLOCK / (heads * d) + 1 };
    attn_parallel(rt, attn_ceil_div(T, t.rows), turn_rows, &t);
}
