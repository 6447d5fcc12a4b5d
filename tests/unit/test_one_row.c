/* test_one_row.c - one row of queries, whose products are made where keys and values lie, gives the bits of the same row among others, whose keys and values
 * are packed: the kernels beside the matrix kernel of every table, and whole attentions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attention/attention.h"
#include "attention_case.h"
#include "math/gemm.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { MOST_ROWS = 620, MOST_WIDTH = 800, GUARD = 16 };
static const float guard = 12345.0f;

static const size_t sizes[] = { 1,  2,  3,   4,   5,   7,   8,   9,   15,  16,  17,  31,  32,  33,  47,  63,
                                64, 65, 100, 127, 128, 129, 255, 256, 257, 260, 383, 384, 385, 500, 511, 512 };
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef struct product {
    const attn_kernels *table;
    const attn_gemm *gemm;
    float *panels, *scratch, *rows, *x, *mine, *theirs;
    ptrdiff_t stride;
} product;

static product product_new(int i, uint64_t *state)
{
    product p = { .table = attn_kernels_all()[i], .stride = MOST_WIDTH + 3 };
    p.gemm = attn_gemm_find(p.table);
    ck_assert_ptr_nonnull(p.gemm);
    p.panels = aligned_alloc(64, attn_round_up(attn_gemm_panel_bytes(p.gemm, MOST_WIDTH, MOST_WIDTH), 64));
    p.scratch = aligned_alloc(64, attn_round_up(attn_gemm_scratch_bytes(p.gemm, 1, MOST_WIDTH), 64));
    p.rows = case_floats(state, (size_t)p.stride * MOST_ROWS, 2.0f);
    p.x = case_floats(state, MOST_WIDTH, 2.0f);
    p.mine = case_floats(state, MOST_WIDTH + GUARD, 1.0f);
    p.theirs = case_floats(state, MOST_WIDTH + GUARD, 1.0f);
    ck_assert(p.panels && p.scratch && p.rows && p.x && p.mine && p.theirs);
    return p;
}

static void product_free(product *p)
{
    free(p->panels);
    free(p->scratch);
    free(p->rows);
    free(p->x);
    free(p->mine);
    free(p->theirs);
}

static void set_guard(product *p, size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        p->mine[n + i] = guard;
}

static void check(const product *p, size_t n, const char *what, size_t other)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&p->mine[i], &p->theirs[i], sizeof(float)) != 0)
            ck_abort_msg("%s: %s %zu by %zu: number %zu is %.9g, the matrix kernel's %.9g", p->table->name, what, n, other, i, (double)p->mine[i],
                         (double)p->theirs[i]);
    for (size_t i = 0; i < GUARD; i++)
        if (p->mine[n + i] != guard)
            ck_abort_msg("%s: %s %zu by %zu: wrote behind its numbers", p->table->name, what, n, other);
}

static void check_keys(product *p, size_t n, size_t d)
{
    const attn_panels keys = { p->panels, n, d };
    size_t depth = attn_gemm_depth(p->gemm, d);
    attn_gemm_pack(p->gemm, p->panels, p->rows, n, d, p->stride, 1);
    ck_assert_int_eq(attn_gemm_rows(p->gemm, p->theirs, n, p->x, d, 1, &keys, 0, n, 0.37f, p->scratch), ATTN_OK);
    set_guard(p, n);
    for (size_t l = 0; l < d; l += depth)
        p->table->row_keys(p->mine, p->x + l, p->rows + l, p->stride, n, attn_least(depth, d - l), 0.37f, l > 0);
    check(p, n, "keys", d);
}

static void check_values(product *p, size_t n, size_t cols)
{
    const attn_panels values = { p->panels, cols, n };
    size_t depth = attn_gemm_depth(p->gemm, n);
    attn_gemm_pack(p->gemm, p->panels, p->rows, cols, n, 1, p->stride);
    ck_assert_int_eq(attn_gemm_rows(p->gemm, p->theirs, cols, p->x, n, 1, &values, 0, cols, 1.0f, p->scratch), ATTN_OK);
    set_guard(p, cols);
    for (size_t j = 0; j < n; j += depth)
        p->table->row_values(p->mine, p->x + j, p->rows + (ptrdiff_t)j * p->stride, p->stride, attn_least(depth, n - j), cols, j > 0);
    check(p, cols, "values", n);
}

START_TEST(products_where_rows_lie_have_the_matrix_kernels_bits)
{
    uint64_t state = 5;
    product p = product_new(_i, &state);
    for (size_t i = 0; i < SIZES; i++)
        for (size_t j = 0; j < SIZES; j++) {
            check_keys(&p, sizes[i], sizes[j]);
            check_values(&p, sizes[i], sizes[j]);
        }
    check_keys(&p, 33, MOST_WIDTH);
    check_keys(&p, 16, 769);
    product_free(&p);
}
END_TEST

/* ---- attentions --------------------------------------------------------------------------------------------------------- */

typedef struct results {
    float *attentions, *scores, *raw_scores, *weighted_norms, *norms, *context;
} results;

static results results_new(const attn_operator_input *in, uint64_t *state)
{
    size_t maps = in->num_attention_heads * in->T_q * in->T_k;
    results r = { .attentions = case_floats(state, maps, 1),
                  .scores = case_floats(state, maps, 1),
                  .raw_scores = case_floats(state, maps, 1),
                  .weighted_norms = case_floats(state, maps, 1),
                  .norms = case_floats(state, in->num_attention_heads * in->T_k, 1),
                  .context = case_floats(state, in->num_attention_heads * in->T_q * in->value_dim, 1) };
    for (size_t i = 0; i < in->num_attention_heads * in->T_k; i++)
        r.norms[i] = (float)(i % 7);
    return r;
}

static void results_free(results *r)
{
    free(r->attentions);
    free(r->scores);
    free(r->raw_scores);
    free(r->weighted_norms);
    free(r->norms);
    free(r->context);
}

/* Every combination of maps that are kept, by bits. */
static void attend(attn_runtime *rt, const attn_operator_input *in, const results *r, unsigned kept)
{
    attn_error err = { 0 };
    attn_arena *arena = attn_arena_new();
    attn_attention_out out = { .attentions = kept & 1 ? r->attentions : NULL,
                               .scores = kept & 2 ? r->scores : NULL,
                               .raw_scores = kept & 4 ? r->raw_scores : NULL,
                               .weighted_norms = kept & 8 ? r->weighted_norms : NULL,
                               .transformed_norms = r->norms,
                               .context = kept & 16 ? r->context : NULL,
                               .context_head_stride = (ptrdiff_t)in->value_dim,
                               .context_row_stride = (ptrdiff_t)(in->num_attention_heads * in->value_dim) };
    ck_assert_msg(attn_attention(rt, in, &out, arena, NULL, &err) == ATTN_OK, "%s: %s", err.where, err.text);
    ck_assert_uint_le(attn_arena_peak(arena), attn_attention_bytes(rt, in, &out) + CASE_RED_ZONES);
    attn_arena_free(arena);
}

static size_t differing(const float *all, const float *one, const attn_operator_input *in, size_t row, size_t width)
{
    size_t wrong = 0;
    for (size_t h = 0; h < in->num_attention_heads; h++)
        wrong += memcmp(all + (h * in->T_q + row) * width, one + h * width, width * sizeof *all) != 0;
    return wrong;
}

/* The row alone, its position as it was. Offsets at the ends of int64 cannot move on and are left out. */
static attn_operator_input row_of(const attn_operator_input *in, size_t row)
{
    attn_operator_input one = *in;
    one.T_q = 1;
    one.query.data += (ptrdiff_t)row * in->query.row_stride;
    one.rules.query_offset += (int64_t)row;
    if (one.rules.mask.add)
        one.rules.mask.add += (ptrdiff_t)row * in->rules.mask.query_stride;
    if (one.rules.mask.keep)
        one.rules.mask.keep += (ptrdiff_t)row * in->rules.mask.query_stride;
    if (one.rules.bias.add)
        one.rules.bias.add += (ptrdiff_t)row * in->rules.bias.query_stride;
    return one;
}

static void compare_rows(attn_runtime *rt, const attn_operator_input *in, unsigned kept, uint64_t *state)
{
    results all = results_new(in, state);
    attend(rt, in, &all, 31);
    for (size_t row = 0; row < in->T_q; row += 1 + in->T_q / 3) {
        attn_operator_input alone = row_of(in, row);
        results one = results_new(&alone, state);
        attend(rt, &alone, &one, kept);
        size_t wrong = 0, H = in->num_attention_heads, d_v = in->value_dim;
        wrong += kept & 1 ? differing(all.attentions, one.attentions, in, row, in->T_k) : 0;
        wrong += kept & 2 ? differing(all.scores, one.scores, in, row, in->T_k) : 0;
        wrong += kept & 4 ? differing(all.raw_scores, one.raw_scores, in, row, in->T_k) : 0;
        wrong += kept & 8 ? differing(all.weighted_norms, one.weighted_norms, in, row, in->T_k) : 0;
        wrong += kept & 16 ? memcmp(all.context + row * H * d_v, one.context, H * d_v * sizeof(float)) != 0 : 0;
        ck_assert_msg(wrong == 0, "%s: row %zu of %zu, %zu keys: %zu differ, kept %u", attn_runtime_kernels(rt), row, in->T_q, in->T_k, wrong, kept);
        results_free(&one);
    }
    results_free(&all);
}

static attn_runtime *runtime_new(int table, int threads)
{
    attn_runtime *rt = NULL;
    attn_runtime_options options = { .threads = threads, .kernels = attn_kernels_all()[table]->name };
    ck_assert_int_eq(attn_runtime_new(&rt, &options, NULL), ATTN_OK);
    attn_runtime_enter(rt);
    return rt;
}

START_TEST(a_row_alone_has_the_bits_it_has_among_others)
{
    uint64_t state = 11;
    attn_runtime *rt = runtime_new(_i, 3);
    size_t compared = 0;
    for (unsigned n = 0; n < 250; n++) {
        attention_case c = case_any(&state);
        if (llabs(c.in.rules.query_offset) < (1ll << 40) && c.in.T_q > 1) {
            compare_rows(rt, &c.in, n % 32, &state);
            compared++;
        }
        case_free(&c);
    }
    ck_assert_uint_gt(compared, 100);
    attn_runtime_leave(rt);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(so_has_one_before_several_chunks_of_keys_and_wide_heads)
{
    static const size_t shapes[][4] = { { 2, 512, 64, 64 },   { 3, 513, 32, 70 },  { 2, 1100, 64, 33 },
                                        { 2, 1536, 20, 128 }, { 2, 40, 600, 300 }, { 2, 2100, 400, 16 } };
    uint64_t state = 12;
    attn_runtime *rt = runtime_new(_i, 2);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        attention_case c = case_plain(&state, 4, 2, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
        compare_rows(rt, &c.in, 31, &state);
        c.in.rules.is_causal = true;
        c.in.rules.query_offset = (int64_t)shapes[i][1] / 2;
        compare_rows(rt, &c.in, 16, &state);
        c.in.rules.left_window_size = 9;
        compare_rows(rt, &c.in, 17, &state);
        case_free(&c);
    }
    attn_runtime_leave(rt);
    attn_runtime_free(rt);
}
END_TEST

int main(void)
{
    int tables = 0;
    while (attn_kernels_all()[tables])
        tables++;
    Suite *suite = suite_create("one_row");
    TCase *rows = tcase_create("one_row");
    tcase_set_timeout(rows, 120);
    tcase_add_loop_test(rows, products_where_rows_lie_have_the_matrix_kernels_bits, 0, tables);
    tcase_add_loop_test(rows, a_row_alone_has_the_bits_it_has_among_others, 0, tables);
    tcase_add_loop_test(rows, so_has_one_before_several_chunks_of_keys_and_wide_heads, 0, tables);
    suite_add_tcase(suite, rows);
    return unit_main(suite);
}
