/* test_model_analyses.c - hidden states, norms, analyses and pooled maps of models: against transformers in float64, and against the maps of the same run.
 *
 * MiniLM as in test_model.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model_fixture.h"

static const char *const tables[] = { "avx512", "avx2", "neon", "ref" };
static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;
static const attn_analyses all_analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1;
static const double tolerance = 5e-6; /* through a whole model, float32 against float64 */

/* T tokens, every tenth of them the same, the first and last special. */
static void fixture_init(fixture *f, const char *source, int threads, size_t T)
{
    fixture_open(f, source, threads, NULL);
    for (size_t i = 0; i < T; i++)
        f->g.ids[i] = (int32_t)(i % 10 * 37) + 8;
    f->special[0] = f->special[T - 1] = 1;
    f->g.in = (attn_model_input){ .T = T, .input_ids = f->g.ids };
}

/* ---- golden values -------------------------------------------------------------------------------------------------------- */

/* What a golden case's body says, as the server would read it. */
static void read_case(fixture *f, const json_t *c)
{
    const json_t *body = json_object_get(c, "body");
    const char *words = json_string_value(json_object_get(body, "text")), *more = json_string_value(json_object_get(body, "text_pair"));
    attn_text text = { words, words ? strlen(words) : 0 }, pair = { more, more ? strlen(more) : 0 };
    golden_input_init(&f->g, body);
    memset(f->special, 0, sizeof f->special);
    for (size_t i = 0; i < f->g.in.T; i++)
        f->special[i] = attn_tokenizer_is_special(attn_model_get_tokenizer(f->model), f->g.ids[i]);
    if (!words)
        return;
    attn_arena *arena = attn_arena_new();
    attn_encoding out;
    attn_encode_options options = { .add_special_tokens = true };
    ck_assert_int_eq(attn_tokenizer_encode(attn_model_get_tokenizer(f->model), &text, more ? &pair : NULL, &options, arena, NULL, &out, &f->err), ATTN_OK);
    for (size_t i = 0; i < out.count; i++) {
        f->g.ids[i] = out.tokens[i].id;
        f->g.types[i] = out.tokens[i].type_id;
        f->special[i] = out.tokens[i].special;
    }
    f->g.in = (attn_model_input){ .T = out.count, .input_ids = f->g.ids, .token_type_ids = f->g.types };
    attn_arena_free(arena);
}

/* A golden tensor while it is compared: its next number, the largest difference and magnitude so far. */
typedef struct golden_tensor {
    const json_t *data;
    size_t at;
    double off, largest;
} golden_tensor;

/* Compares matrices with the next numbers; `picked` are the rows the golden has, NULL: all. */
static void compare_rows(golden_tensor *g, const kept_tensor *t, const json_t *picked)
{
    size_t rows = picked ? json_array_size(picked) : t->rows;
    for (size_t h = 0; h < t->heads; h++)
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < t->cols; j++, g->at++) {
                size_t row = picked ? (size_t)json_integer_value(json_array_get(picked, r)) : r;
                double expected = json_number_value(json_array_get(g->data, g->at)), mine = (double)t->data[(h * t->rows + row) * t->cols + j];
                g->off = isfinite(mine) ? fmax(g->off, fabs(mine - expected)) : INFINITY;
                g->largest = fmax(g->largest, fabs(expected));
            }
}

/* The difference over the larger of 1 and the tensor's largest magnitude; all of the tensor must have been compared. */
static void compare_end(const golden_tensor *g, const char *name, double *worst)
{
    double off = g->off / fmax(1.0, g->largest);
    ck_assert_uint_eq(g->at, json_array_size(g->data));
    ck_assert_msg(off <= tolerance, "%s: off by %.2e", name, off);
    *worst = fmax(*worst, off);
}

static golden_tensor golden_of(const json_t *tensors, const char *name)
{
    return (golden_tensor){ .data = json_object_get(json_object_get(tensors, name), "data") };
}

typedef struct golden_worst {
    double hidden, value_norm, weighted_norm, analysis;
} golden_worst;

/* One entry of "outputs": a run with the selection it names. */
static void compare_outputs(fixture *f, const json_t *entry, golden_worst *w)
{
    const json_t *select = json_object_get(entry, "select"), *queries = json_object_get(select, "queries");
    int32_t layers[CASE_LAYERS], heads[CASE_TOKENS];
    golden_tensor hidden = golden_of(entry, "hidden_states"), values = golden_of(entry, "value_norms"), weighted = golden_of(entry, "weighted_norms");
    kept_run run;
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) | ATTN_BIT(ATTN_VALUE_NORMS) | ATTN_BIT(ATTN_WEIGHTED_NORMS) };
    keep.num_layers = json_array_size(json_object_get(select, "layers"));
    keep.layers = read_ids(json_object_get(select, "layers"), layers) ? layers : NULL;
    keep.num_heads = json_array_size(json_object_get(select, "heads"));
    keep.heads = read_ids(json_object_get(select, "heads"), heads) ? heads : NULL;
    run_fine(f, &keep, &run, NULL);
    for (size_t s = 0; s < run.num_states && hidden.data; s++)
        compare_rows(&hidden, &run.hidden[s], queries);
    for (size_t l = 0; l < run.num_layers && values.data; l++)
        compare_rows(&values, &run.tensors[l][ATTN_VALUE_NORMS], NULL);
    for (size_t l = 0; l < run.num_layers && weighted.data; l++)
        compare_rows(&weighted, &run.tensors[l][ATTN_WEIGHTED_NORMS], queries);
    compare_end(&hidden, "hidden_states", &w->hidden);
    compare_end(&values, "value_norms", &w->value_norm);
    compare_end(&weighted, "weighted_norms", &w->weighted_norm);
    kept_free(&run);
}

static void compare_analyses(fixture *f, const json_t *expected, golden_worst *w)
{
    kept_run run;
    attn_keep keep = { .analyses = all_analyses, .about = &f->about };
    run_fine(f, &keep, &run, NULL);
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++) {
        golden_tensor g = golden_of(expected, attn_analysis_name((attn_analysis)a));
        for (size_t l = 0; l < run.num_layers; l++)
            compare_rows(&g, &run.analyses[l][a], NULL);
        compare_end(&g, attn_analysis_name((attn_analysis)a), &w->analysis);
    }
    kept_free(&run);
}

/* false: this CPU has not got the table. */
static bool compare_model(const char *source, const char *golden, const char *table)
{
    fixture f;
    golden_worst w = { 0 };
    fixture_open(&f, source, 2, table);
    if (!f.rt)
        return false;
    json_t *doc = load_json(golden), *cases = json_object_get(doc, "cases");
    ck_assert_uint_gt(json_array_size(cases), 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *outputs = json_object_get(c, "outputs");
        read_case(&f, c);
        for (size_t o = 0; o < json_array_size(outputs); o++)
            compare_outputs(&f, json_array_get(outputs, o), &w);
        compare_analyses(&f, json_object_get(c, "analyses"), &w);
    }
    printf("%-36s %-7s worst: hidden_states %.1e value_norms %.1e weighted_norms %.1e analyses %.1e\n", source, table, w.hidden, w.value_norm, w.weighted_norm,
           w.analysis);
    ck_assert(w.hidden > 0 && w.value_norm > 0 && w.weighted_norm > 0 && w.analysis > 0); /* some were compared */
    json_decref(doc);
    fixture_free(&f);
    return true;
}

START_TEST(states_norms_and_analyses_agree_with_transformers_in_float64)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        compare_model("builtin:attnd-bert", "tests/golden/analyses-attnd-bert.json", tables[t]);
    const char *minilm = getenv("ATTND_MINILM");
    if (!minilm)
        printf("SKIPPED tests/golden/analyses-minilm.json: ATTND_MINILM is not set\n");
    bool compared = false; /* by the fastest table, which is enough where minutes would be spent on the others */
    for (size_t t = 0; minilm && t < sizeof tables / sizeof *tables && !(SANITIZED && compared); t++)
        compared |= compare_model(minilm, "tests/golden/analyses-minilm.json", tables[t]);
}
END_TEST

/* ---- hidden states -------------------------------------------------------------------------------------------------------- */

START_TEST(states_come_between_their_layers)
{
    static const int32_t some[] = { 2, 0, 2 };
    kept_run run;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, 9);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) | ATTN_BIT(ATTN_QUERY) }, &run, NULL);
    ck_assert(run.num_layers == 3 && run.num_states == 4);
    for (size_t s = 0; s < 4; s++) {
        ck_assert(run.states[s] == s && run.came_at[s] == s);
        ck_assert(run.hidden[s].heads == 1 && run.hidden[s].rows == 9 && run.hidden[s].cols == 32);
    }
    kept_free(&run);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) | ATTN_BIT(ATTN_QUERY), .layers = some, .num_layers = 3 }, &run, NULL);
    ck_assert(run.num_layers == 2 && run.num_states == 2);
    ck_assert(run.states[0] == 1 && run.came_at[0] == 1 && run.states[1] == 3 && run.came_at[1] == 2);
    kept_free(&run);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) }, &run, NULL);
    ck_assert(run.num_layers == 0 && run.num_states == 4); /* there is nothing to say of layers */
    kept_free(&run);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_HIDDEN_STATES), .analyses = ATTN_ANALYSIS_BIT(ATTN_SELF) }, &run, NULL);
    ck_assert(run.num_layers == 3 && run.num_states == 4);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

START_TEST(an_error_about_a_state_ends_the_run)
{
    kept_run run = { .answer = ATTN_E_LIMIT };
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 1, 9);
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &(attn_keep){ .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) }, &run, NULL, NULL, &f.err), ATTN_E_LIMIT);
    ck_assert_str_eq(f.err.where, "sink");
    ck_assert_uint_eq(run.num_states, 1);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* ---- analyses ------------------------------------------------------------------------------------------------------------- */

static void pad(fixture *f)
{
    for (size_t i = 0; i < f->g.in.T; i++)
        f->g.mask[i] = i % 4 != 1;
    f->g.in.attention_mask = f->g.mask;
}

/* Mean entropy of a head's rows that are no padding. */
static double plain_entropy(const kept_tensor *maps, size_t h, const uint8_t *mask)
{
    double sum = 0;
    size_t rows = 0;
    for (size_t i = 0; i < maps->rows; i++) {
        rows += mask[i];
        for (size_t j = 0; j < maps->cols && mask[i]; j++) {
            double a = (double)maps->data[(h * maps->rows + i) * maps->cols + j];
            sum -= a > 0 ? a * log(a) : 0;
        }
    }
    return sum / (double)rows;
}

START_TEST(padded_queries_count_in_no_analysis)
{
    kept_run run;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, 21);
    pad(&f);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS), .analyses = ATTN_ANALYSIS_BIT(ATTN_ENTROPY) }, &run, NULL);
    for (size_t l = 0; l < run.num_layers; l++)
        for (size_t h = 0; h < 4; h++)
            ck_assert_double_eq_tol((double)run.analyses[l][ATTN_ENTROPY].data[h], plain_entropy(&run.tensors[l][ATTN_ATTENTIONS], h, f.g.mask), 1e-6);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* next [T, T] = (mean of heads + 1) / 2 times now, in double. */
static void roll_out(double *next, const double *now, const kept_tensor *maps)
{
    size_t T = maps->rows;
    for (size_t i = 0; i < T; i++)
        for (size_t j = 0; j < T; j++) {
            next[i * T + j] = now[i * T + j] / 2;
            for (size_t k = 0; k < T; k++) {
                double a = 0;
                for (size_t h = 0; h < maps->heads; h++)
                    a += (double)maps->data[(h * T + i) * T + k];
                next[i * T + j] += a / (double)maps->heads / 2 * now[k * T + j];
            }
        }
}

START_TEST(a_rollout_goes_through_all_layers_and_heads_whatever_was_asked_for)
{
    enum { T = 18 };
    static const int32_t layers[] = { 2, 1 }, heads[] = { 3 };
    static double now[T * T], next[T * T];
    kept_run all, some;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, T);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, &all, NULL);
    attn_keep keep = { .analyses = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT), .layers = layers, .num_layers = 2, .heads = heads, .num_heads = 1 };
    run_fine(&f, &keep, &some, NULL);
    ck_assert(some.num_layers == 2 && some.layers[0] == 1 && some.layers[1] == 2);
    for (size_t n = 0; n < T * T; n++)
        now[n] = n % (T + 1) == 0;
    for (size_t l = 0; l < 3; l++) {
        roll_out(next, now, &all.tensors[l][ATTN_ATTENTIONS]);
        memcpy(now, next, sizeof now);
        for (size_t n = 0; n < T * T && l > 0; n++)
            ck_assert_double_eq_tol((double)some.analyses[l - 1][ATTN_ROLLOUT].data[n], now[n], 1e-6);
    }
    ck_assert_ptr_null(some.tensors[0][ATTN_ATTENTIONS].data);
    kept_free(&all);
    kept_free(&some);
    f.g.in.T = 1;
    run_fine(&f, &keep, &some, NULL);
    ck_assert(some.analyses[1][ATTN_ROLLOUT].data[0] == 1);
    kept_free(&some);
    fixture_free(&f);
}
END_TEST

static void same_numbers(const kept_tensor *a, const kept_tensor *b)
{
    ck_assert(a->rows == b->rows && a->cols == b->cols && !a->data == !b->data);
    ck_assert(!a->data || memcmp(a->data, b->data, a->heads * a->rows * a->cols * sizeof(float)) == 0);
}

/* Each analysis alone, of some layers and heads, beside some outputs: the bits of the run of everything. */
START_TEST(an_analysis_has_the_same_bits_whatever_else_is_asked_for)
{
    enum { H = 4, ASKED = 4, T = 40 };
    static const int32_t layers[] = { 2, 0, 2 }, heads[ASKED] = { 3, 1, 3, 0 };
    kept_run all, some;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, T);
    pad(&f);
    run_fine(&f, &(attn_keep){ .outputs = everything, .analyses = all_analyses, .about = &f.about }, &all, NULL);
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++) {
        attn_keep keep = { .analyses = ATTN_ANALYSIS_BIT(a), .about = &f.about, .layers = layers, .num_layers = 3, .heads = heads, .num_heads = ASKED };
        keep.outputs = a % 3 == 0 ? ATTN_BIT(ATTN_ATTENTIONS) : a % 3 == 1 ? ATTN_BIT(ATTN_WEIGHTED_NORMS) | ATTN_BIT(ATTN_CONTEXT) : 0;
        run_fine(&f, &keep, &some, NULL);
        ck_assert_uint_eq(some.num_layers, 2);
        for (size_t l = 0; l < 2; l++) {
            const kept_tensor *mine = &some.analyses[l][a], *whole = &all.analyses[2 * l][a];
            for (int other = 0; other < ATTN_ANALYSIS_COUNT; other++)
                ck_assert(other == a || !some.analyses[l][other].data);
            if (a == ATTN_ROLLOUT)
                same_numbers(mine, whole);
            for (size_t i = 0; i < ASKED && a != ATTN_ROLLOUT; i++)
                for (size_t k = 0; k < mine->rows; k++)
                    ck_assert(mine->data[k * ASKED + i] == whole->data[(mine->rows > 1 ? (size_t)heads[k] * H : 0) + (size_t)heads[i]]);
        }
        kept_free(&some);
    }
    kept_free(&all);
    fixture_free(&f);
}
END_TEST

START_TEST(bits_of_analyses_and_states_do_not_depend_on_the_number_of_threads)
{
    static const int counts[] = { 1, 2, 5 };
    static const attn_pool pool = { .size = 9, .mode = ATTN_REDUCE_MEAN };
    kept_run one[2], other[2];
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        fixture f;
        fixture_init(&f, "builtin:attnd-bert", counts[c], 150);
        run_fine(&f, &(attn_keep){ .outputs = everything, .analyses = all_analyses, .about = &f.about }, &other[0], NULL);
        run_fine(&f, &(attn_keep){ .outputs = ATTN_MAP_OUTPUTS, .pool = &pool, .analyses = ATTN_HEAD_ANALYSES, .about = &f.about }, &other[1], NULL);
        fixture_free(&f);
        for (size_t n = 0; n < 2 && c == 0; n++)
            one[n] = other[n];
        for (size_t n = 0; n < 2 && c > 0; n++) {
            for (size_t l = 0; l < 6; l++) {
                for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
                    same_numbers(&one[n].analyses[l][a], &other[n].analyses[l][a]);
                for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
                    same_numbers(&one[n].tensors[l][o], &other[n].tensors[l][o]);
            }
            for (size_t s = 0; s < one[n].num_states; s++)
                same_numbers(&one[n].hidden[s], &other[n].hidden[s]);
            kept_free(&other[n]);
        }
    }
    kept_free(&one[0]);
    kept_free(&one[1]);
}
END_TEST

/* ---- pooled maps ---------------------------------------------------------------------------------------------------------- */

START_TEST(pooled_maps_are_means_of_the_whole_ones)
{
    enum { T = 33, BINS = 5 };
    static const int32_t heads[] = { 2, 0, 2 };
    static const attn_pool pool = { .size = BINS, .mode = ATTN_REDUCE_MEAN };
    kept_run whole, pooled;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, T);
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_WEIGHTED_NORMS) | ATTN_BIT(ATTN_CONTEXT), .heads = heads, .num_heads = 3 };
    run_fine(&f, &keep, &whole, NULL);
    keep.pool = &pool;
    run_fine(&f, &keep, &pooled, NULL);
    for (size_t l = 0; l < whole.num_layers; l++) {
        const kept_tensor *big = &whole.tensors[l][ATTN_WEIGHTED_NORMS], *small = &pooled.tensors[l][ATTN_WEIGHTED_NORMS];
        ck_assert(small->heads == 3 && small->rows == BINS && small->cols == BINS);
        for (size_t n = 0; n < 3 * BINS * BINS; n++) {
            double sum = 0;
            size_t r = n / BINS % BINS, c = n % BINS, count = 0;
            for (size_t i = r * T / BINS; i < (r + 1) * T / BINS; i++)
                for (size_t j = c * T / BINS; j < (c + 1) * T / BINS; j++, count++)
                    sum += (double)big->data[(n / (BINS * BINS) * T + i) * T + j];
            /* Later layers come of contexts that another walk has summed. */
            ck_assert_double_le(fabs((double)small->data[n] - sum / (double)count), (l == 0 ? 1e-6 : tolerance) * fmax(1.0, sum / (double)count));
        }
    }
    kept_free(&whole);
    kept_free(&pooled);
    fixture_free(&f);
}
END_TEST

/* ---- prices --------------------------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

/* Outputs, analyses, pools, layers and heads in any company. */
START_TEST(the_price_covers_what_any_run_takes)
{
    static const int32_t layers[] = { 1, 3 }, heads[] = { 2, 0, 2 }, queries[] = { 0, 0 };
    static const size_t lengths[] = { 1, 7, 64, 200 };
    static const int threads[] = { 1, 5, 24 }; /* more than heads: then a layer that is not kept may take more than one that is */
    uint32_t state = 5;
    for (size_t i = 0; i < 4; i++) {
        fixture f;
        fixture_init(&f, "builtin:attnd-bert", threads[_i], lengths[i]);
        for (int n = 0; n < 60; n++) {
            uint32_t chance = next_random(&state) >> 8, single = chance >> 8;
            attn_pool pool = { .size = 1 + chance % 20, .mode = ATTN_REDUCE_MEAN, .queries = chance & 64 ? queries : NULL, .num_queries = 2 };
            attn_keep keep = { .outputs = next_random(&state) >> 8 & everything, .analyses = next_random(&state) >> 8 & all_analyses, .about = &f.about };
            keep.outputs = n % 3 ? keep.outputs : ATTN_BIT(single % ATTN_OUTPUT_COUNT);
            keep.analyses = n % 5 ? keep.analyses : n % 2 ? ATTN_ANALYSIS_BIT(single % ATTN_ANALYSIS_COUNT) : 0;
            keep.pool = chance & 128 ? &pool : NULL;
            if (keep.pool)
                keep.analyses &= ATTN_HEAD_ANALYSES;
            keep.layers = chance & 256 ? layers : NULL;
            keep.num_layers = 1 + (chance >> 10 & 1);
            keep.heads = chance & 512 ? heads : NULL;
            keep.num_heads = 3;
            kept_run run;
            size_t peak;
            attn_price price = attn_model_price(f.model, &f.g.in, &keep);
            run_fine(&f, &keep, &run, &peak);
            kept_free(&run);
            ck_assert_msg(peak <= price.bytes, "T %zu, outputs %x, analyses %x, n %d: took %zu, price %zu", lengths[i], keep.outputs, keep.analyses, n, peak,
                          (size_t)price.bytes);
        }
        fixture_free(&f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model_analyses");
    TCase *tc = tcase_create("model_analyses");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, states_norms_and_analyses_agree_with_transformers_in_float64);
    tcase_add_test(tc, states_come_between_their_layers);
    tcase_add_test(tc, an_error_about_a_state_ends_the_run);
    tcase_add_test(tc, padded_queries_count_in_no_analysis);
    tcase_add_test(tc, a_rollout_goes_through_all_layers_and_heads_whatever_was_asked_for);
    tcase_add_test(tc, an_analysis_has_the_same_bits_whatever_else_is_asked_for);
    tcase_add_test(tc, bits_of_analyses_and_states_do_not_depend_on_the_number_of_threads);
    tcase_add_test(tc, pooled_maps_are_means_of_the_whole_ones);
    tcase_add_loop_test(tc, the_price_covers_what_any_run_takes, 0, 3);
    suite_add_tcase(suite, tc);
    return unit_main(suite);
}
