/* shortest_avx512.c - the shortest text of sixteen float32 or float16 at a time: the steps of attn_shortest in lanes, then a byte shuffle a number, from a
 * table with a row for each exponent and number of digits. Nothing is left to the plain code: zeros, subnormals and null have no slow path.
 * SPDX-License-Identifier: Apache-2.0 */
#include "number/number_avx512.h"
#include "number/number_kernels.h"

/* Sixteen numbers on their way: nine digits with the exponent of the first; then number i is unit[i % 4][i / 4] under the layout at byte offset row[i]. */
typedef struct group {
    __m512i nine, exponent;
    __mmask16 zero, null; /* the layouts of their own: minus zero is in both `zero` and `negative` */
    uint32_t negative;    /* a bit each */
    _Alignas(64) attn_digits unit[4][4];
    _Alignas(64) uint32_t row[16];
} group;

enum { GROUPS = 4 }; /* go through it step by step: many short chains keep a processor busier than a few long ones */

/* Powers of ten in registers: 10^-k for k in [WINDOW, WINDOW + 32), which covers numbers from 1e-23 to 1e8. */
enum { WINDOW = -30 };
typedef struct window {
    __m512i low[2], high[2];
} window;

static window load_window(void)
{
    _Alignas(64) uint32_t low[32], high[32];
    for (int i = 0; i < 32; i++) {
        uint64_t g = attn_power_of_ten(-(WINDOW + i));
        low[i] = (uint32_t)g;
        high[i] = (uint32_t)(g >> 32);
    }
    return (window){ { _mm512_load_si512(low), _mm512_load_si512(low + 16) }, { _mm512_load_si512(high), _mm512_load_si512(high + 16) } };
}

typedef struct power {
    __m512i low, high; /* halves of the 64-bit significands */
} power;

static inline power powers_of(__m512i k, const window *w)
{
    __m512i i = _mm512_sub_epi32(k, _mm512_set1_epi32(WINDOW));
    if (_mm512_cmplt_epu32_mask(i, _mm512_set1_epi32(32)) == 0xffff)
        return (power){ _mm512_permutex2var_epi32(w->low[0], i, w->low[1]), _mm512_permutex2var_epi32(w->high[0], i, w->high[1]) };
    const char *base = (const char *)&attn_powers_of_ten[-ATTN_FIRST_POWER];
    __m512i offset = _mm512_sub_epi32(_mm512_setzero_si512(), k);
    return (power){ _mm512_i32gather_epi32(offset, base, 8), _mm512_i32gather_epi32(offset, base + 4, 8) };
}

/* attn_scale_to_odd, sixteen times; c < 2^31. */
static inline __m512i scale_to_odd(power even, power odd, __m512i c)
{
    __m512i c_odd = _mm512_srli_epi64(c, 32);
    __m512i e = _mm512_add_epi64(_mm512_mul_epu32(even.high, c), _mm512_srli_epi64(_mm512_mul_epu32(even.low, c), 32));
    __m512i o = _mm512_add_epi64(_mm512_mul_epu32(odd.high, c_odd), _mm512_srli_epi64(_mm512_mul_epu32(odd.low, c_odd), 32));
    __m512i whole = _mm512_mask_mov_epi32(_mm512_srli_epi64(e, 32), 0xaaaa, o);
    __m512i part = _mm512_mask_mov_epi32(e, 0xaaaa, _mm512_slli_epi64(o, 32));
    __mmask16 inexact = _mm512_cmpgt_epu32_mask(part, _mm512_set1_epi32(1));
    return _mm512_mask_or_epi32(whole, inexact, whole, _mm512_set1_epi32(1));
}

/* attn_shortest, sixteen times: the integers, and in *exponent their powers of ten. */
static inline __m512i shortest(__m512i c, __m512i q, __mmask16 uneven, const window *w, __m512i *exponent)
{
    const __m512i one = _mm512_set1_epi32(1), two = _mm512_set1_epi32(2), four = _mm512_set1_epi32(4);
    __m512i log = _mm512_mullo_epi32(q, _mm512_set1_epi32(1262611));
    __m512i k = _mm512_srai_epi32(_mm512_mask_sub_epi32(log, uneven, log, _mm512_set1_epi32(524031)), 22);
    __m512i log2 = _mm512_srai_epi32(_mm512_mullo_epi32(k, _mm512_set1_epi32(-1741647)), 19);
    __m512i h = _mm512_add_epi32(_mm512_add_epi32(q, log2), one);
    power even = powers_of(k, w);
    power odd = { _mm512_srli_epi64(even.low, 32), _mm512_srli_epi64(even.high, 32) };

    __m512i is_odd = _mm512_and_si512(c, one), c4 = _mm512_slli_epi32(c, 2);
    __m512i below = _mm512_sub_epi32(c4, two);
    below = _mm512_mask_add_epi32(below, uneven, below, one);
    __m512i low = _mm512_add_epi32(scale_to_odd(even, odd, _mm512_sllv_epi32(below, h)), is_odd);
    __m512i mid = scale_to_odd(even, odd, _mm512_sllv_epi32(c4, h));
    __m512i high = _mm512_sub_epi32(scale_to_odd(even, odd, _mm512_sllv_epi32(_mm512_add_epi32(c4, two), h)), is_odd);

    __m512i s = _mm512_srli_epi32(mid, 2), s4 = _mm512_slli_epi32(s, 2);
    __m512i t = _mm512_mullo_epi32(attn_divide_epi32(s, 0xcccccccd, 35), _mm512_set1_epi32(10)), t4 = _mm512_slli_epi32(t, 2);
    __mmask16 t_in = _mm512_cmple_epu32_mask(low, t4), t_next_in = _mm512_cmple_epu32_mask(_mm512_add_epi32(t4, _mm512_set1_epi32(40)), high);
    __mmask16 s_in = _mm512_cmple_epu32_mask(low, s4), s_next_in = _mm512_cmple_epu32_mask(_mm512_add_epi32(s4, four), high);
    __mmask16 nearer_next = _mm512_cmpgt_epu32_mask(_mm512_add_epi32(mid, _mm512_and_si512(s, one)), _mm512_add_epi32(s4, two));
    __m512i of_s = _mm512_mask_add_epi32(s, (__mmask16)(s_next_in & (nearer_next | ~s_in)), s, one);
    __m512i of_t = _mm512_mask_add_epi32(t, t_next_in, t, _mm512_set1_epi32(10));
    *exponent = k;
    return _mm512_mask_mov_epi32(of_s, (__mmask16)(t_in | t_next_in), of_t);
}

/* Brings integers to nine digits, and exponents to those of their first digits. Seven digits or more are the rule, subnormals have fewer. */
static inline __m512i fill_nine(__m512i u, __m512i *exponent)
{
    __m512i e = _mm512_add_epi32(*exponent, _mm512_set1_epi32(8));
    __mmask16 small = _mm512_cmplt_epu32_mask(u, _mm512_set1_epi32(1000000));
    while (small) {
        u = _mm512_mask_mullo_epi32(u, small, u, _mm512_set1_epi32(10));
        e = _mm512_mask_sub_epi32(e, small, e, _mm512_set1_epi32(1));
        small = _mm512_mask_cmplt_epu32_mask(small, u, _mm512_set1_epi32(1000000));
    }
    __mmask16 seven = _mm512_cmplt_epu32_mask(u, _mm512_set1_epi32(10000000)), eight = _mm512_cmplt_epu32_mask(u, _mm512_set1_epi32(100000000));
    __m512i factor = _mm512_mask_mov_epi32(_mm512_set1_epi32(1), eight, _mm512_set1_epi32(10));
    factor = _mm512_mask_mov_epi32(factor, seven, _mm512_set1_epi32(100));
    e = _mm512_mask_sub_epi32(e, eight, e, _mm512_set1_epi32(1));
    *exponent = _mm512_mask_sub_epi32(e, seven, e, _mm512_set1_epi32(1));
    return _mm512_mullo_epi32(u, factor);
}

/* Digits but the first one, zeros at the end left out, less 1: the place of the highest byte that is not 0, or -1. The exponent of a double tells. */
static inline __m512i last_digit(__m512i rest)
{
    __m512i bits = _mm512_castpd_si512(_mm512_cvtepu64_pd(rest));
    __m512i place = _mm512_srai_epi64(_mm512_sub_epi64(_mm512_srli_epi64(bits, 52), _mm512_set1_epi64(1023)), 3);
    return _mm512_max_epi64(place, _mm512_set1_epi64(-1));
}

/* How numbers lie in their bits; `least`: 2^least is the last bit of a subnormal. */
typedef struct format {
    uint32_t infinity, fraction, hidden;
    int fraction_bits, least;
} format;

static const format binary32 = { 0x7f800000, 0x7fffff, 0x800000, 23, -149 }, binary16 = { 0x7c00, 0x3ff, 0x400, 10, -24 };

static inline void find_digits(group *g, __m512i size, __mmask16 negative, format f, const window *w)
{
    __m512i exponent = _mm512_srli_epi32(size, (unsigned)f.fraction_bits), fraction = _mm512_and_si512(size, _mm512_set1_epi32((int)f.fraction));
    __m512i hidden = _mm512_set1_epi32((int)f.hidden);
    __mmask16 normal = _mm512_cmpneq_epi32_mask(exponent, _mm512_setzero_si512());
    __m512i c = _mm512_mask_or_epi32(fraction, normal, fraction, hidden);
    __m512i q = _mm512_add_epi32(_mm512_max_epi32(exponent, _mm512_set1_epi32(1)), _mm512_set1_epi32(f.least - 1));
    __mmask16 uneven = _mm512_mask_cmpeq_epi32_mask(_mm512_cmpgt_epi32_mask(exponent, _mm512_set1_epi32(1)), fraction, _mm512_setzero_si512());
    g->zero = _mm512_testn_epi32_mask(size, size);
    g->null = _mm512_cmpge_epu32_mask(size, _mm512_set1_epi32((int)f.infinity));
    g->negative = negative & (uint32_t)~g->null;
    __mmask16 special = g->zero | g->null; /* go through as 1, so that nothing can go astray */
    c = _mm512_mask_mov_epi32(c, special, hidden);
    q = _mm512_mask_mov_epi32(q, special, _mm512_set1_epi32(-f.fraction_bits));
    __m512i u = shortest(c, q, uneven, w, &g->exponent);
    u = fill_nine(u, &g->exponent);
    g->nine = _mm512_mask_mov_epi32(u, g->zero, _mm512_setzero_si512());
}

static inline void find_float_digits(group *g, __m512i bits, const window *w)
{
    find_digits(g, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)), _mm512_movepi32_mask(bits), binary32, w);
}

static inline void find_half_digits(group *g, __m256i bits, const window *w)
{
    find_digits(g, _mm512_cvtepu16_epi32(_mm256_and_si256(bits, _mm256_set1_epi16(0x7fff))), _mm256_movepi16_mask(bits), binary16, w);
}

static inline void lay_out(group *g)
{
    __m512i first[2], rest[2];
    attn_nine_digits_epi64(_mm512_and_si512(g->nine, _mm512_set1_epi64(0xffffffff)), &first[0], &rest[0]);
    attn_nine_digits_epi64(_mm512_srli_epi64(g->nine, 32), &first[1], &rest[1]);
    for (int odd = 0; odd < 2; odd++) {
        _mm512_store_si512(g->unit[odd], _mm512_unpacklo_epi64(rest[odd], first[odd]));
        _mm512_store_si512(g->unit[odd + 2], _mm512_unpackhi_epi64(rest[odd], first[odd]));
    }
    __m512i last = _mm512_mask_mov_epi32(last_digit(rest[0]), 0xaaaa, _mm512_slli_epi64(last_digit(rest[1]), 32));
    __m512i row = _mm512_add_epi32(_mm512_mullo_epi32(g->exponent, _mm512_set1_epi32(ATTN_MOST_DIGITS)), last);
    row = _mm512_add_epi32(row, _mm512_set1_epi32(1 - ATTN_LEAST_EXPONENT * ATTN_MOST_DIGITS));
    row = _mm512_mask_mov_epi32(row, g->zero & (__mmask16)g->negative, _mm512_set1_epi32(ATTN_LAYOUT_MINUS_ZERO));
    row = _mm512_mask_mov_epi32(row, g->null, _mm512_set1_epi32(ATTN_LAYOUT_NULL));
    _mm512_store_si512(g->row, _mm512_mullo_epi32(row, _mm512_set1_epi32(sizeof(attn_layout))));
}

static inline char *put(char *p, const attn_digits *digits, uint32_t row, const char *rows)
{
    __m128i source = _mm_load_si128((const __m128i *)(rows + row)), literal = _mm_load_si128((const __m128i *)(rows + row + 16));
    __m128i text = _mm_add_epi8(_mm_shuffle_epi8(_mm_load_si128((const __m128i *)digits), source), literal);
    _mm_storeu_si128((__m128i *)p, text);
    return p + ((const attn_layout *)(rows + row))->length;
}

/* The first `count` of sixteen. */
static inline char *put_group(char *p, const group *g, size_t count, const char *rows)
{
    if (!g->negative) {
        for (size_t i = 0; i < count; i++)
            p = put(p, &g->unit[i % 4][i / 4], g->row[i], rows);
        return p;
    }
    for (size_t i = 0; i < count; i++) {
        *p = '-';
        p = put(p + (g->negative >> i & 1), &g->unit[i % 4][i / 4], g->row[i], rows);
    }
    return p;
}

static inline __mmask16 first_of(size_t left)
{
    return (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff);
}

/* The texts of n numbers whose digits are found. */
static inline char *put_groups(char *p, group *g, size_t n, const char *rows)
{
    size_t groups = (n + 15) / 16;
    for (size_t i = 0; i < groups; i++)
        lay_out(&g[i]);
    for (size_t i = 0; i < groups; i++)
        p = put_group(p, &g[i], n - 16 * i < 16 ? n - 16 * i : 16, rows);
    return p;
}

/* At most 16 * GROUPS numbers. */
static inline char *write_block(char *p, const float *x, size_t n, const window *w, const char *rows)
{
    group g[GROUPS];
    for (size_t i = 0; 16 * i < n; i++)
        find_float_digits(&g[i], _mm512_maskz_loadu_epi32(first_of(n - 16 * i), x + 16 * i), w);
    return put_groups(p, g, n, rows);
}

static inline char *write_half_block(char *p, const uint16_t *x, size_t n, const window *w, const char *rows)
{
    group g[GROUPS];
    for (size_t i = 0; 16 * i < n; i++)
        find_half_digits(&g[i], _mm256_maskz_loadu_epi16(first_of(n - 16 * i), x + 16 * i), w);
    return put_groups(p, g, n, rows);
}

size_t attn_write_shortest_avx512(char *dst, const float *x, size_t n)
{
    const char *rows = (const char *)attn_tables()->rows;
    window w = load_window();
    char *p = dst;
    for (; n > 16 * GROUPS; x += 16 * GROUPS, n -= 16 * GROUPS)
        p = write_block(p, x, 16 * GROUPS, &w, rows);
    return (size_t)(write_block(p, x, n, &w, rows) - dst);
}

size_t attn_write_halves_avx512(char *dst, const uint16_t *x, size_t n)
{
    const char *rows = (const char *)attn_tables()->rows;
    window w = load_window();
    char *p = dst;
    for (; n > 16 * GROUPS; x += 16 * GROUPS, n -= 16 * GROUPS)
        p = write_half_block(p, x, 16 * GROUPS, &w, rows);
    return (size_t)(write_half_block(p, x, n, &w, rows) - dst);
}
