/* kernels_vector.h - the float kernels, written once over a vector of floats; kernels_avx2.c and kernels_avx512.c define the vector and include this.
 *
 * The includer gives: vec, LANES, vec_set, vec_load, vec_store, vec_load_part(p, n, fill), vec_store_part(p, v, n) (the first n lanes, n <= LANES),
 * vec_add, vec_sub, vec_mul, vec_div, vec_max, vec_min (both: the second operand when either is NaN), vec_fma(a, b, c) = ab + c, vec_fnma = c - ab,
 * vec_scale(p, n) = p 2^n for n in [-126, 127], vec_scale_high(p, n) the same up to 128, +INFINITY where float32 ends, vec_exponent(x) = the n for which x 2^-n lies in [sqrt 1/2, sqrt 2), x normal and above 0,
 * vec_abs, vec_copysign(magnitude, sign), vec_reciprocal (relative error at most 2 u; what is below 1e-38 may be 0),
 * vec_keep_not_below(v, x, bound) = x < bound ? 0 : v, vec_scale_not_below(p, n, x, bound) = x < bound ? 0 : p 2^n, vec_pick_below(x, bound, a, b) = x < bound ? a : b, vec_sum, vec_highest
 * (fixed order), vec_has(v, x): whether a lane equals x.
 *
 * A row's last, incomplete vector runs through the same instructions as the others with its missing lanes neutral, and lane i of vector v always adds to
 * the same sum: bits depend on the row and its length alone.
 * SPDX-License-Identifier: Apache-2.0 */

#define INLINE static inline __attribute__((always_inline)) /* a vector must not travel through memory */

/* Sums run in a few vectors side by side, over blocks short enough (8 or 16 additions a lane) that no rounding adds up; blocks are summed in double. */
enum { SUMS = 4, STEP = SUMS * LANES, BLOCK = 8 * STEP };

/* Numbers [i, i + n) of x as floats, zeros behind them; n is known when it is compiled where it is LANES. */
INLINE vec load_floats(const void *x, size_t i, size_t n)
{
    return n == LANES ? vec_load((const float *)x + i) : vec_load_part((const float *)x + i, n, vec_set(0));
}

INLINE void store_floats(float *y, vec v, size_t n)
{
    if (n == LANES)
        vec_store(y, v);
    else
        vec_store_part(y, v, n);
}

INLINE float sum_of(const vec s[SUMS])
{
    return vec_sum(vec_add(vec_add(s[0], s[1]), vec_add(s[2], s[3])));
}

/* ---- exp -------------------------------------------------------------------------------------------------------------- *
 * x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) by a polynomial of degree 6 (least maximal relative error: 3e-9); ln 2 in two parts, the first short enough
 * that n times it is exact. Adding 1.5 2^23 rounds to a whole number. */

#define EXP_LOWEST (-87.3365f) /* below it float32 has no normal exp(x) */

INLINE vec exp_reduced(vec x, vec *n)
{
    const vec whole = vec_set(0x1.8p23f);
    *n = vec_sub(vec_fma(x, vec_set(1.44269504f), whole), whole);
    vec r = vec_fnma(*n, vec_set(0.693145752f), x);
    r = vec_fnma(*n, vec_set(1.42860677e-6f), r);
    vec p = vec_set(1.381453825e-3f);
    p = vec_fma(p, r, vec_set(8.368745446e-3f));
    p = vec_fma(p, r, vec_set(4.166838899e-2f));
    p = vec_fma(p, r, vec_set(1.666652113e-1f));
    p = vec_fma(p, r, vec_set(4.999999404e-1f));
    p = vec_fma(p, r, vec_set(1.0f));
    return vec_fma(p, r, vec_set(1.0f));
}

/* For x <= 88; 0 below EXP_LOWEST; NaN stays. */
INLINE vec exp_low(vec x)
{
    vec n, p = exp_reduced(x, &n);
    return vec_scale_not_below(p, n, x, vec_set(EXP_LOWEST));
}

/* For any x. */
INLINE vec exp_any(vec x)
{
    vec n, p = exp_reduced(vec_min(vec_set(89.0f), x), &n);
    return vec_keep_not_below(vec_scale_high(p, n), x, vec_set(EXP_LOWEST));
}

static void exp_row(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, exp_any(vec_load(x + i)));
    if (i < n)
        vec_store_part(y + i, exp_any(vec_load_part(x + i, n - i, vec_set(0))), n - i);
}

/* ---- softmax ---------------------------------------------------------------------------------------------------------- */

/* The largest of x, where there is no NaN; *hides, unless NULL: whether -INFINITY is among them. n >= 1. */
INLINE float row_max(const float *x, size_t n, bool *hides)
{
    const vec first = vec_set(x[0]);
    vec max[SUMS] = { first, first, first, first }, min[SUMS] = { first, first, first, first };
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (size_t j = 0; j < SUMS; j++) {
            vec v = vec_load(x + i + j * LANES);
            max[j] = vec_max(max[j], v);
            min[j] = vec_min(min[j], v);
        }
    for (size_t j = 0; j < SUMS && i < n; j++, i += LANES) {
        vec v = vec_load_part(x + i, n - i < LANES ? n - i : LANES, first);
        max[j] = vec_max(max[j], v);
        min[j] = vec_min(min[j], v);
    }
    if (hides)
        *hides = vec_has(vec_min(vec_min(min[0], min[1]), vec_min(min[2], min[3])), -INFINITY);
    return vec_highest(vec_max(vec_max(max[0], max[1]), vec_max(max[2], max[3])));
}

INLINE vec exp_here(float *x, vec max)
{
    vec e = exp_low(vec_sub(vec_load(x), max));
    vec_store(x, e);
    return e;
}

INLINE vec exp_here_part(float *x, vec max, size_t n)
{
    vec e = exp_low(vec_sub(vec_load_part(x, n, vec_set(-INFINITY)), max));
    vec_store_part(x, e, n);
    return e;
}

/* x = exp(x - max); the sum of at most BLOCK of them. */
INLINE float exp_block(float *x, size_t n, vec max)
{
    vec s[SUMS] = { vec_set(0), vec_set(0), vec_set(0), vec_set(0) };
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (size_t j = 0; j < SUMS; j++)
            s[j] = vec_add(s[j], exp_here(x + i + j * LANES, max));
    for (size_t j = 0; j < SUMS; j++, i += LANES)
        if (i + LANES <= n)
            s[j] = vec_add(s[j], exp_here(x + i, max));
        else if (i < n)
            s[j] = vec_add(s[j], exp_here_part(x + i, max, n - i));
    return sum_of(s);
}

static void scale_row(float *x, size_t n, vec factor)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(x + i, vec_mul(vec_load(x + i), factor));
    if (i < n)
        vec_store_part(x + i, vec_mul(vec_load_part(x + i, n - i, vec_set(0)), factor), n - i);
}

/* NaN, and what +INFINITY leaves of x - max, stay to the end: the sum tells. Nothing but -INFINITY sums to 0. */
INLINE bool softmax(float *x, size_t n, bool finite)
{
    bool hides = false;
    float highest = row_max(x, n, finite ? &hides : NULL);
    if (hides)
        return false;
    const vec max = vec_set(highest == -INFINITY ? 0 : highest);
    double sum = 0;
    for (size_t i = 0; i < n; i += BLOCK)
        sum += (double)exp_block(x + i, n - i < BLOCK ? n - i : BLOCK, max);
    if (isnan(sum))
        return false;
    scale_row(x, n, vec_set(sum > 0 ? (float)(1 / sum) : 0));
    return true;
}

static bool softmax_row(float *x, size_t n)
{
    return softmax(x, n, false);
}

static bool softmax_finite_row(float *x, size_t n)
{
    return softmax(x, n, true);
}

/* ---- activations ------------------------------------------------------------------------------------------------------ */

/* x P(x) = max(x, 0) - a P(-a), a = |x|, P the normal distribution function. ln P(-a) by a polynomial of degree 7 on [0, 6] (error of max(1, a) P(-a):
 * 6.2e-8), 0 beyond. */
INLINE vec gelu(vec x)
{
    vec a = vec_abs(x), n;
    vec p = vec_set(4.254334726e-6f);
    p = vec_fma(p, a, vec_set(-2.264883005e-5f));
    p = vec_fma(p, a, vec_set(-3.423441667e-4f));
    p = vec_fma(p, a, vec_set(5.203208886e-3f));
    p = vec_fma(p, a, vec_set(-3.658638522e-2f));
    p = vec_fma(p, a, vec_set(-3.182385266e-1f));
    p = vec_fma(p, a, vec_set(-7.978919744e-1f));
    p = vec_fma(p, a, vec_set(-6.931470633e-1f));
    p = exp_reduced(p, &n);
    return vec_fnma(a, vec_scale_not_below(p, n, vec_set(6.0f), a), vec_max(vec_set(0), x));
}

/* x / (1 + exp(u)) */
INLINE vec logistic(vec x, vec u)
{
    vec r = vec_reciprocal(vec_add(vec_set(1.0f), exp_low(u)));
    return vec_mul(x, vec_keep_not_below(r, vec_set(88.0f), u));
}

INLINE vec silu(vec x)
{
    return logistic(x, vec_sub(vec_set(0), x));
}

/* (1 + tanh u) / 2 = 1 / (1 + exp(-2 u)) */
INLINE vec gelu_tanh(vec x)
{
    const float c = 0.797884561f; /* sqrt(2 / pi) */
    return logistic(x, vec_mul(x, vec_fma(vec_mul(x, x), vec_set(-2 * c * 0.044715f), vec_set(-2 * c))));
}

INLINE vec relu(vec x)
{
    return vec_max(vec_set(0), x);
}

INLINE vec same(vec x)
{
    return x;
}

INLINE void act_row(float *y, const float *bias, size_t n, vec (*act)(vec))
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, act(bias ? vec_add(vec_load(y + i), vec_load(bias + i)) : vec_load(y + i)));
    if (i == n)
        return;
    vec v = vec_load_part(y + i, n - i, vec_set(0));
    if (bias)
        v = vec_add(v, vec_load_part(bias + i, n - i, vec_set(0)));
    vec_store_part(y + i, act(v), n - i);
}

static void bias_act_row(float *y, const float *bias, size_t n, attn_activation act)
{
    switch (act) {
    case ATTN_ACT_NONE:
        act_row(y, bias, n, same);
        break;
    case ATTN_ACT_GELU:
        act_row(y, bias, n, gelu);
        break;
    case ATTN_ACT_GELU_TANH:
        act_row(y, bias, n, gelu_tanh);
        break;
    case ATTN_ACT_RELU:
        act_row(y, bias, n, relu);
        break;
    case ATTN_ACT_SILU:
        act_row(y, bias, n, silu);
        break;
    }
}

/* Below 5/8 an odd polynomial of degree 11, exact where a score is small beside its cap; above, 1 - 2 / (exp(2 |v|) + 1). */
INLINE vec tanh_vec(vec v)
{
    vec a = vec_abs(v), s = vec_mul(v, v);
    vec p = vec_set(-5.453494377e-3f);
    p = vec_fma(p, s, vec_set(2.041291445e-2f));
    p = vec_fma(p, s, vec_set(-5.367053300e-2f));
    p = vec_fma(p, s, vec_set(1.333062351e-1f));
    p = vec_fma(p, s, vec_set(-3.333325386e-1f));
    vec small = vec_fma(vec_mul(p, s), a, a);
    vec e = exp_any(vec_add(a, a));
    vec large = vec_sub(vec_set(1.0f), vec_div(vec_set(2.0f), vec_add(e, vec_set(1.0f))));
    return vec_copysign(vec_pick_below(a, vec_set(0.625f), small, large), v);
}

static void softcap_row(float *x, size_t n, float cap)
{
    const vec c = vec_set(cap);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(x + i, vec_mul(c, tanh_vec(vec_div(vec_load(x + i), c))));
    if (i < n)
        vec_store_part(x + i, vec_mul(c, tanh_vec(vec_div(vec_load_part(x + i, n - i, vec_set(0)), c))), n - i);
}

/* ---- layer norm ------------------------------------------------------------------------------------------------------- */

INLINE vec sum_here(float *y, const float *x, const float *bias, const float *residual, size_t i, size_t n)
{
    vec z = load_floats(x, i, n);
    if (bias)
        z = vec_add(z, load_floats(bias, i, n));
    if (residual)
        z = vec_add(z, load_floats(residual, i, n));
    store_floats(y + i, z, n);
    return z;
}

/* y = z; the sum of z, as good as a float sum is. */
INLINE float sum_row(float *y, const float *x, const float *bias, const float *residual, size_t n)
{
    vec s[SUMS] = { vec_set(0), vec_set(0), vec_set(0), vec_set(0) };
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (size_t j = 0; j < SUMS; j++)
            s[j] = vec_add(s[j], sum_here(y, x, bias, residual, i + j * LANES, LANES));
    for (size_t j = 0; j < SUMS && i < n; j++, i += LANES)
        s[j] = vec_add(s[j], sum_here(y, x, bias, residual, i, n - i < LANES ? n - i : LANES));
    return sum_of(s);
}

typedef struct moments {
    double first, second;
} moments;

/* Adds the sums of d and d^2, d = z - near, over at most BLOCK numbers. */
INLINE void add_moments(moments *m, const float *z, size_t n, vec near)
{
    const vec zero = vec_set(0);
    vec s[SUMS] = { zero, zero, zero, zero }, q[SUMS] = { zero, zero, zero, zero };
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (size_t j = 0; j < SUMS; j++) {
            vec d = vec_sub(vec_load(z + i + j * LANES), near);
            s[j] = vec_add(s[j], d);
            q[j] = vec_fma(d, d, q[j]);
        }
    for (size_t j = 0; j < SUMS && i < n; j++, i += LANES) {
        vec d = vec_sub(vec_load_part(z + i, n - i < LANES ? n - i : LANES, near), near);
        s[j] = vec_add(s[j], d);
        q[j] = vec_fma(d, d, q[j]);
    }
    m->first += (double)sum_of(s);
    m->second += (double)sum_of(q);
}

INLINE void norm_here(float *y, const float *gain, const float *shift, size_t n, vec near, vec factor, vec rest)
{
    vec d = vec_fma(vec_sub(load_floats(y, 0, n), near), factor, rest);
    store_floats(y, vec_fma(d, load_floats(gain, 0, n), shift ? load_floats(shift, 0, n) : vec_set(0)), n);
}

/* Taken around `near`, a float close to the mean, the moments lose nothing to the size of z. */
static void layer_norm_row(float *y, const float *x, const float *bias, const float *residual, const float *gain, const float *shift, size_t n, float eps)
{
    const double share = 1 / (double)n;
    const float near = sum_row(y, x, bias, residual, n) * (float)share;
    moments m = { 0, 0 };
    for (size_t i = 0; i < n; i += BLOCK)
        add_moments(&m, y + i, n - i < BLOCK ? n - i : BLOCK, vec_set(near));
    double rest = m.first * share;
    double variance = m.second * share - rest * rest;
    /* Rounding may leave it just below 0. NaN, and what float32 cannot hold, must not come out as a number. */
    double factor = variance <= (double)FLT_MAX ? 1 / sqrt((variance > 0 ? variance : 0) + (double)eps) : (double)NAN;
    const vec near_vec = vec_set(near), factor_vec = vec_set((float)factor), rest_vec = vec_set((float)(-rest * factor));
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        norm_here(y + i, gain + i, shift ? shift + i : NULL, LANES, near_vec, factor_vec, rest_vec);
    if (i < n)
        norm_here(y + i, gain + i, shift ? shift + i : NULL, n - i, near_vec, factor_vec, rest_vec);
}

/* ---- sums over rows of weights ---------------------------------------------------------------------------------------- */

/* ln x for normal x in (0, 2], relative error 2 u. x = 2^n (1 + t), |t| < 0.42; ln(1 + t) = t - t^2 / 2 + t^3 p(t), p of degree 7 (least maximal relative
 * error: 6e-9). */
INLINE vec ln_vec(vec x)
{
    vec n = vec_exponent(x);
    vec t = vec_sub(vec_scale(x, vec_sub(vec_set(0), n)), vec_set(1.0f)), s = vec_mul(t, t);
    vec p = vec_set(-7.634487003e-2f);
    p = vec_fma(p, t, vec_set(1.276196241e-1f));
    p = vec_fma(p, t, vec_set(-1.316036433e-1f));
    p = vec_fma(p, t, vec_set(1.420171857e-1f));
    p = vec_fma(p, t, vec_set(-1.662333608e-1f));
    p = vec_fma(p, t, vec_set(2.000122815e-1f));
    p = vec_fma(p, t, vec_set(-2.500082254e-1f));
    p = vec_fma(p, t, vec_set(3.333333135e-1f));
    p = vec_fma(p, t, vec_set(-0.5f));
    p = vec_fma(p, s, vec_mul(n, vec_set(-1.904654324e-9f))); /* ln 2 in two parts */
    return vec_fma(n, vec_set(0.693147182f), vec_add(p, t));
}

/* s + m ln m, m = (x + y) / 2 */
INLINE vec add_entropy(vec s, vec x, vec y)
{
    const vec least = vec_set(FLT_MIN);
    vec m = vec_mul(vec_add(x, y), vec_set(0.5f));
    return vec_fma(vec_keep_not_below(m, m, least), ln_vec(vec_max(m, least)), s);
}

INLINE vec add_product(vec s, vec x, vec y)
{
    return vec_fma(x, y, s);
}

INLINE vec load_half(const void *x, size_t i, size_t n)
{
    return vec_load_half((const uint16_t *)x + i, n);
}

INLINE vec load_bfloat16(const void *x, size_t i, size_t n)
{
    return vec_load_bfloat16((const uint16_t *)x + i, n);
}

/* The sum of a term of x and y, which is 0 where both are. */
INLINE double sum_terms(const void *x, const float *y, size_t n, vec (*load)(const void *, size_t, size_t), vec (*add)(vec, vec, vec))
{
    const vec zero = vec_set(0);
    double sum = 0;
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t end = n - first < BLOCK ? n : first + BLOCK, i = first;
        vec s[SUMS] = { zero, zero, zero, zero };
        for (; i + STEP <= end; i += STEP)
            for (size_t j = 0; j < SUMS; j++)
                s[j] = add(s[j], load(x, i + j * LANES, LANES), vec_load(y + i + j * LANES));
        for (size_t j = 0; j < SUMS && i < end; j++, i += LANES) {
            size_t left = end - i < LANES ? end - i : LANES;
            s[j] = add(s[j], load(x, i, left), vec_load_part(y + i, left, zero));
        }
        sum += (double)sum_of(s);
    }
    return sum;
}

static double dot_row(const float *x, const float *y, size_t n)
{
    return sum_terms(x, y, n, load_floats, add_product);
}

static double dot_half(const uint16_t *x, const float *y, size_t n)
{
    return sum_terms(x, y, n, load_half, add_product);
}

static double dot_bfloat16(const uint16_t *x, const float *y, size_t n)
{
    return sum_terms(x, y, n, load_bfloat16, add_product);
}

static void rms_norm_row(float *y, const float *x, const float *gain, size_t n, float eps)
{
    double mean = dot_row(x, x, n) / (double)n;
    const vec factor = vec_set(mean <= (double)FLT_MAX ? (float)(1 / sqrt(mean + (double)eps)) : NAN);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, vec_mul(vec_mul(vec_load(x + i), factor), vec_load(gain + i)));
    if (i < n)
        vec_store_part(y + i, vec_mul(vec_mul(load_floats(x, i, n - i), factor), load_floats(gain, i, n - i)), n - i);
}

static double entropy_row(const float *x, const float *y, size_t n)
{
    return 0 - sum_terms(x, y, n, load_floats, add_entropy);
}

static float max_row(const float *x, size_t n)
{
    return row_max(x, n, NULL);
}

/* ---- the rest --------------------------------------------------------------------------------------------------------- */

static void mul_row(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, vec_mul(vec_load(y + i), vec_load(x + i)));
    if (i < n)
        vec_store_part(y + i, vec_mul(vec_load_part(y + i, n - i, vec_set(0)), vec_load_part(x + i, n - i, vec_set(0))), n - i);
}

static void add_row(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, vec_add(vec_load(y + i), vec_load(x + i)));
    if (i < n)
        vec_store_part(y + i, vec_add(vec_load_part(y + i, n - i, vec_set(0)), vec_load_part(x + i, n - i, vec_set(0))), n - i);
}

/* 0 times a number is 0, 0 times an infinity or NaN is NaN. */
static bool all_finite(const float *x, size_t n)
{
    vec s[SUMS] = { vec_set(0), vec_set(0), vec_set(0), vec_set(0) };
    const vec zero = vec_set(0);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (size_t j = 0; j < SUMS; j++)
            s[j] = vec_fma(vec_load(x + i + j * LANES), zero, s[j]);
    for (; i < n; i += LANES)
        s[0] = vec_fma(vec_load_part(x + i, n - i < LANES ? n - i : LANES, zero), zero, s[0]);
    return sum_of(s) == 0;
}
