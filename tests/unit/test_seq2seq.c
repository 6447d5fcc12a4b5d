/* test_seq2seq.c - encoder-decoders, against transformers in float64 (tests/golden/make_seq2seq_goldens.py), and what their three attentions promise.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model_files.h"
#include "seq2seq_case.h"

static const char *const models[] = { "t5", "t5-2", "t5-gated", "mt5", "bart", "bart-2", "mbart", "mbart-2", "marian", "marian-2", "marian-apart" };
enum { NUM_MODELS = sizeof models / sizeof *models };

static const char *const prefixes[ATTN_STACKS] = { "encoder_", "decoder_", "cross_" };

/* ---- golden values -------------------------------------------------------------------------------------------------------- */

/* One golden tensor against the run; what it is off by, noted in worst. */
static void compare(const json_t *c, const char *name, attn_output o, const json_t *tensor, const kept_run *run, double *worst)
{
    bool is_state = o == ATTN_HIDDEN_STATES;
    double off = is_state ? golden_state_error(tensor, run) : golden_error(tensor, json_object_get(c, "layers"), run, o);
    const char *label = json_string_value(json_object_get(c, "case"));
    ck_assert_msg(off <= (is_state ? golden_state_tolerance : golden_tolerance), "case %s, %s: off by %.2e", label, name, off);
    worst[o] = off > worst[o] ? off : worst[o];
}

static void compare_case(const attn_model *m, const json_t *c, double *worst)
{
    golden_input g;
    int32_t written[CASE_TOKENS], heads[CASE_TOKENS];
    attn_keep keep[ATTN_STACKS];
    kept_stacks kept = { .came = 0 };
    attn_error err = { 0 };
    size_t compared = 0;
    golden_input_init(&g, c);
    g.in.decoder_T = json_array_size(json_object_get(c, "decoder_input_ids"));
    g.in.decoder_input_ids = read_ids(json_object_get(c, "decoder_input_ids"), written) ? written : NULL;
    keep_all(keep, everything);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        if (read_ids(json_object_get(c, "heads"), heads)) {
            keep[s].heads = heads;
            keep[s].num_heads = json_array_size(json_object_get(c, "heads"));
        }
    attn_status st = run_stacks(m, &g.in, keep, &kept, NULL, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    for (size_t s = 0; s < ATTN_STACKS; s++) {
        ck_assert_uint_eq(kept.of[s].num_layers, attn_model_shape(m, (attn_stack)s).num_layers);
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", g.in.decoder_T ? prefixes[s] : "", attn_output_name((attn_output)o));
            const json_t *tensor = json_object_get(c, name);
            if (tensor && kept.of[s].num_layers > 0)
                compare(c, name, (attn_output)o, tensor, &kept.of[s], worst);
            compared += tensor != NULL;
        }
    }
    ck_assert_uint_ge(compared, 3);
    stacks_free(&kept);
}

/* The word chosen behind each of the decoder's tokens is transformers' arg max. */
static size_t compare_choices(const attn_model *m, const json_t *c)
{
    golden_input g;
    int32_t written[CASE_TOKENS], best[CASE_TOKENS], next;
    attn_error err = { 0 };
    attn_arena *arena = attn_arena_new();
    golden_input_init(&g, c);
    size_t n = read_ids(json_object_get(c, "predictions"), best) ? json_array_size(json_object_get(c, "predictions")) : 0;
    (void)read_ids(json_object_get(c, "decoder_input_ids"), written);
    ck_assert(n == 0 || attn_model_get_info(m)->generates);
    g.in.decoder_input_ids = written;
    for (g.in.decoder_T = 1; g.in.decoder_T <= n; g.in.decoder_T++) {
        attn_generation *writing;
        attn_arena_mark mark = attn_arena_save(arena);
        attn_status st = attn_generation_begin(&writing, m, &g.in, 0, arena, &err);
        if (st == ATTN_OK)
            st = attn_generation_run(writing, NULL, arena, NULL, NULL, &next, &err);
        ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
        ck_assert_int_eq(next, best[g.in.decoder_T - 1]);
        attn_arena_rewind(arena, mark);
    }
    attn_arena_free(arena);
    return n;
}

static void compare_model(const char *source, const char *golden, const char *table)
{
    attn_runtime *rt = runtime_with(2, table);
    if (!rt)
        return; /* this CPU has not got it */
    double worst[ATTN_OUTPUT_COUNT] = { 0 };
    attn_model *m = open_model(rt, source);
    json_t *doc = load_json(golden), *cases = json_object_get(doc, "cases");
    ck_assert_uint_gt(json_array_size(cases), 0);
    size_t choices = 0;
    attn_runtime_enter(rt);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        compare_case(m, json_array_get(cases, i), worst);
        choices += compare_choices(m, json_array_get(cases, i));
    }
    attn_runtime_leave(rt);
    ck_assert_uint_eq(attn_model_get_info(m)->num_unused_tensors, strstr(source, "marian-2") ? 2 : 0); /* sinusoids as tensors */
    const char *name = strrchr(source, '/') + 1;
    printf("%-16s %-7s worst:", name, table);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (worst[o] > 0)
            printf(" %s %.1e", attn_output_name((attn_output)o), worst[o]);
    printf(" words %zu\n", choices);
    json_decref(doc);
    attn_model_close(m);
    attn_runtime_free(rt);
}

static void compare_tables(const char *source, const char *golden)
{
    static const char *const tables[] = { "ref", "avx2", "avx512", "neon" };
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        compare_model(source, golden, tables[t]);
}

START_TEST(all_three_attentions_agree_with_transformers_in_float64)
{
    char source[128], golden[160];
    snprintf(source, sizeof source, AT("%s"), models[_i]);
    snprintf(golden, sizeof golden, "%s/golden.json", source);
    compare_tables(source, golden);
}
END_TEST

START_TEST(an_encoder_alone_is_a_model_with_one_attention)
{
    fixture f;
    compare_tables(AT("t5-encoder"), AT("t5-encoder/golden.json"));
    fixture_init(&f, AT("t5-encoder"), 1, 1, 0);
    const attn_model_info *info = attn_model_get_info(f.model);
    ck_assert_uint_eq(info->num_hidden_layers, 2);
    ck_assert_uint_eq(info->num_decoder_layers, 0);
    ck_assert(!info->generates);
    ck_assert_uint_eq(attn_model_shape(f.model, ATTN_STACK_DECODER).num_layers, 0);
    fixture_free(&f);
}
END_TEST

/* Those that lie beside the repository. Trained: Reid's two that speak letters, and this project's translator. t5-dummy's weights are random. */
START_TEST(trained_models_agree_as_well)
{
    static const struct {
        const char *source, *golden;
    } cases[] = { { "data/models/bart-g2p-us", NULL },
                  { "data/models/bart-g2p-gb", NULL },
                  { "data/models/t5-dummy", NULL },
                  { "builtin/attnd-translate", "tests/golden/attnd-translate.json" } };
    const char *shared = getenv("ATTND_SHARED") ? getenv("ATTND_SHARED") : "../shared";
    char source[256], golden[300];
    snprintf(source, sizeof source, "%s/%s", shared, cases[_i].source);
    snprintf(golden, sizeof golden, "%s/golden.json", source);
    if (access(source, R_OK) != 0) {
        printf("SKIPPED %s: it is not there\n", source);
        ck_assert_msg(!getenv("CI"), "CI needs %s", source);
        return;
    }
    compare_tables(source, cases[_i].golden ? cases[_i].golden : golden);
}
END_TEST

/* ---- promises ------------------------------------------------------------------------------------------------------------- */

/* One of each way to place tokens, to norm and to be priced. */
static const char *const kinds[] = { AT("t5"), AT("t5-gated"), AT("bart-2"), AT("mbart"), AT("marian-apart") };
enum { NUM_KINDS = sizeof kinds / sizeof *kinds };

static void same_tensor(const kept_tensor *a, const kept_tensor *b, size_t head)
{
    size_t n = a->rows * a->cols;
    ck_assert_uint_eq(n, b->rows * b->cols);
    ck_assert_int_eq(memcmp(a->data, b->data + (b->heads > 1 ? head : 0) * n, n * sizeof(float)), 0);
}

/* Each output of each attention asked for alone, of its last layer and its first. */
START_TEST(bits_depend_neither_on_threads_nor_on_what_else_is_asked_for)
{
    static const int32_t heads[] = { 1 };
    attn_keep keep[ATTN_STACKS];
    kept_stacks all, some;
    fixture f;
    fixture_init(&f, kinds[_i], 1, 33, 21);
    keep_all(keep, everything);
    run_fine(&f, keep, &all);
    fixture_free(&f);
    fixture_init(&f, kinds[_i], 5, 33, 21);
    for (size_t s = 0; s < ATTN_STACKS; s++) {
        const int32_t layers[] = { (int32_t)attn_model_shape(f.model, (attn_stack)s).num_layers - 1, 0 };
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
            keep_all(keep, 0);
            keep[s] = (attn_keep){ .outputs = ATTN_BIT(o), .layers = layers, .num_layers = 2, .heads = heads, .num_heads = 1 };
            if (s != ATTN_STACK_SELF) { /* the other of the two lists the same layers */
                keep[ATTN_STACK_DECODER + ATTN_STACK_CROSS - s].layers = layers;
                keep[ATTN_STACK_DECODER + ATTN_STACK_CROSS - s].num_layers = 2;
            }
            run_fine(&f, keep, &some);
            ck_assert_uint_eq(some.came, some.of[s].num_layers);
            for (size_t l = 0; l < some.of[s].num_layers; l++)
                same_tensor(&some.of[s].tensors[l][o], &all.of[s].tensors[some.of[s].layers[l]][o], 1);
            bool states = o == ATTN_HIDDEN_STATES && s != ATTN_STACK_CROSS;
            ck_assert_uint_eq(some.of[s].num_states, !states ? 0 : layers[0] ? 2 : 1);
            for (size_t n = 0; n < some.of[s].num_states; n++)
                same_tensor(&some.of[s].hidden[n], &all.of[s].hidden[some.of[s].states[n]], 0);
            stacks_free(&some);
        }
    }
    stacks_free(&all);
    fixture_free(&f);
}
END_TEST

START_TEST(layers_come_encoder_first_then_each_of_the_decoder_before_its_cross_attention)
{
    static const attn_stack order[] = { ATTN_STACK_SELF,    ATTN_STACK_SELF,  ATTN_STACK_DECODER, ATTN_STACK_CROSS,
                                        ATTN_STACK_DECODER, ATTN_STACK_CROSS, ATTN_STACK_DECODER, ATTN_STACK_CROSS };
    attn_keep keep[ATTN_STACKS];
    kept_stacks kept;
    fixture f;
    fixture_init(&f, AT("mbart"), 2, 5, 3);
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS));
    run_fine(&f, keep, &kept);
    ck_assert_uint_eq(kept.came, 8);
    ck_assert_int_eq(memcmp(kept.order, order, sizeof order), 0);
    stacks_free(&kept);
    fixture_free(&f);
}
END_TEST

static const attn_outputs price_sets[] = { 0,
                                           ATTN_BIT(ATTN_ATTENTIONS),
                                           ATTN_BIT(ATTN_CONTEXT),
                                           ATTN_BIT(ATTN_KEY),
                                           ATTN_BIT(ATTN_ATTN_OUTPUT),
                                           ATTN_BIT(ATTN_HIDDEN_STATES),
                                           ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
enum { PRICE_SETS = sizeof price_sets / sizeof *price_sets };

/* Every pair of sets for encoder and decoder; that of the cross attention follows from both. */
START_TEST(the_price_covers_what_a_run_takes)
{
    static const int32_t layers[] = { 0 };
    static const size_t lengths[][2] = { { 1, 1 }, { 9, 40 }, { 40, 2 } };
    for (size_t i = 0; i < 6; i++) {
        fixture f;
        const size_t *T = lengths[i / 2];
        fixture_init(&f, kinds[_i], i % 2 ? 5 : 1, T[0], T[1]);
        for (size_t set = 1; set < (size_t)2 * PRICE_SETS * PRICE_SETS; set++) {
            kept_stacks kept;
            attn_keep keep[ATTN_STACKS];
            size_t a = set / 2 / PRICE_SETS, b = set / 2 % PRICE_SETS;
            for (size_t s = 0; s < ATTN_STACKS; s++)
                keep[s] = (attn_keep){ .outputs = price_sets[s == 0   ? a
                                                             : s == 1 ? b
                                                                      : (a + b) % PRICE_SETS],
                                       .layers = set % 2 ? layers : NULL,
                                       .num_layers = 1 };
            attn_price price = attn_model_price(f.model, &f.in, keep);
            size_t peak = run_fine(&f, keep, &kept);
            stacks_free(&kept);
            ck_assert_msg(peak <= price.bytes, "%s, T %zu and %zu, set %zu: took %zu, price %zu", kinds[_i], T[0], T[1], set, peak, (size_t)price.bytes);
            ck_assert_msg((double)price.bytes <= 1.7 * (double)peak + 32768, "%s, T %zu and %zu, set %zu: took %zu, price %zu", kinds[_i], T[0], T[1], set,
                          peak, (size_t)price.bytes);
        }
        fixture_free(&f);
    }
}
END_TEST

START_TEST(what_is_written_later_changes_nothing_before)
{
    enum { T = 6, N = 12 };
    attn_keep keep[ATTN_STACKS];
    kept_stacks one, other;
    fixture f;
    fixture_init(&f, kinds[_i], 2, T, N);
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_HIDDEN_STATES));
    run_fine(&f, keep, &one);
    f.written[N - 1] = 40;
    run_fine(&f, keep, &other);
    for (size_t s = ATTN_STACK_DECODER; s < ATTN_STACKS; s++)
        for (size_t l = 0; l < one.of[s].num_layers; l++) {
            const kept_tensor *t = &one.of[s].tensors[l][ATTN_ATTENTIONS];
            for (size_t row = 0; row < t->heads * N; row++) {
                const float *a = t->data + row * t->cols, *b = other.of[s].tensors[l][ATTN_ATTENTIONS].data + row * t->cols;
                for (size_t j = row % N + 1; s == ATTN_STACK_DECODER && j < N; j++)
                    ck_assert(a[j] == 0);
                ck_assert(row % N == N - 1 || memcmp(a, b, t->cols * sizeof *a) == 0);
            }
        }
    for (size_t n = 0; n < one.of[ATTN_STACK_DECODER].num_states; n++) {
        const kept_tensor *a = &one.of[ATTN_STACK_DECODER].hidden[n], *b = &other.of[ATTN_STACK_DECODER].hidden[n];
        ck_assert_int_eq(memcmp(a->data, b->data, (N - 1) * a->cols * sizeof(float)), 0);
    }
    stacks_free(&one);
    stacks_free(&other);
    fixture_free(&f);
}
END_TEST

START_TEST(padding_is_seen_by_nobody)
{
    static const uint8_t mask[] = { 1, 0, 1, 1, 0 };
    attn_keep keep[ATTN_STACKS];
    kept_stacks kept;
    fixture f;
    fixture_init(&f, kinds[_i], 1, 5, 4);
    f.in.attention_mask = mask;
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_SCORES));
    run_fine(&f, keep, &kept);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        for (size_t l = 0; l < kept.of[s].num_layers && s != ATTN_STACK_DECODER; l++) {
            const kept_tensor *a = &kept.of[s].tensors[l][ATTN_ATTENTIONS], *z = &kept.of[s].tensors[l][ATTN_SCORES];
            ck_assert_uint_eq(a->cols, 5);
            for (size_t i = 0; i < a->heads * a->rows * 5; i++) {
                ck_assert(mask[i % 5] || (a->data[i] == 0 && z->data[i] == -INFINITY));
                ck_assert(!mask[i % 5] || a->data[i] > 0);
            }
        }
    stacks_free(&kept);
    fixture_free(&f);
}
END_TEST

START_TEST(a_run_can_be_cancelled_between_any_two_layers)
{
    attn_runtime *rt = runtime_with(2, NULL);
    attn_model *m = open_model(rt, AT("bart"));
    int32_t ids[] = { 3, 4, 5 };
    attn_model_input in = { .T = 3, .input_ids = ids, .decoder_T = 2, .decoder_input_ids = ids };
    attn_keep keep[ATTN_STACKS];
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS));
    attn_runtime_enter(rt);
    for (size_t after = 1; after < 8; after++) {
        attn_cancel cancel = { 0 };
        attn_error err = { 0 };
        kept_stacks kept = { .cancel_in = &cancel, .cancel_after = after };
        ck_assert_int_eq(run_stacks(m, &in, keep, &kept, NULL, &err), ATTN_E_CANCELLED);
        ck_assert_uint_eq(kept.came, after);
        stacks_free(&kept);
    }
    attn_runtime_leave(rt);
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

/* ---- analyses ------------------------------------------------------------------------------------------------------------ */

/* The mean over rows that count of one number of each row. */
static double mean_of_rows(const float *map, size_t rows, size_t cols, const uint8_t *counts, const uint8_t *special, attn_analysis a)
{
    double sum = 0, n = 0;
    for (size_t i = 0; i < rows; i++) {
        double row = 0;
        for (size_t j = 0; j < cols; j++) {
            double w = (double)map[i * cols + j];
            row = a == ATTN_ENTROPY ? row - (w > 0 ? w * log(w) : 0) : a == ATTN_CONFIDENCE ? fmax(row, w) : row + (special[j] ? w : 0);
        }
        if (a == ATTN_FIRST_TOKEN)
            row = (double)map[i * cols];
        sum += !counts || counts[i] ? row : 0;
        n += !counts || counts[i];
    }
    return sum / n;
}

/* Padding is no query of the encoder, and a key of nobody; special tokens are those that are keys, between encoder and decoder the encoder's. */
START_TEST(analyses_are_those_of_each_attentions_own_maps)
{
    enum { T = 7, N = 5 };
    static const attn_analysis some[] = { ATTN_ENTROPY, ATTN_CONFIDENCE, ATTN_FIRST_TOKEN, ATTN_SPECIAL_TOKENS };
    static const uint8_t mask[T] = { 1, 1, 1, 0, 1, 1, 0 }, read_special[T] = { 0, 1, 0, 0, 0, 1, 0 }, written_special[N] = { 1, 0, 0, 0, 1 };
    attn_keep keep[ATTN_STACKS];
    kept_stacks kept;
    fixture f;
    fixture_init(&f, kinds[_i], 2, T, N);
    f.in.attention_mask = mask;
    attn_analysis_tokens reads = { f.ids, read_special }, writes = { f.written, written_special };
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS));
    for (size_t s = 0; s < ATTN_STACKS; s++) {
        keep[s].about = s == ATTN_STACK_DECODER ? &writes : &reads;
        for (size_t a = 0; a < sizeof some / sizeof *some; a++)
            keep[s].analyses |= ATTN_ANALYSIS_BIT(some[a]);
    }
    run_fine(&f, keep, &kept);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        for (size_t l = 0; l < kept.of[s].num_layers; l++)
            for (size_t a = 0; a < sizeof some / sizeof *some; a++) {
                const kept_tensor *t = &kept.of[s].tensors[l][ATTN_ATTENTIONS], *given = &kept.of[s].analyses[l][some[a]];
                ck_assert_uint_eq(given->cols, t->heads);
                for (size_t h = 0; h < t->heads; h++)
                    ck_assert_double_eq_tol(
                        (double)given->data[h],
                        mean_of_rows(t->data + h * t->rows * t->cols, t->rows, t->cols, s == ATTN_STACK_SELF ? mask : NULL, keep[s].about->is_special, some[a]),
                        3e-6);
            }
    stacks_free(&kept);
    fixture_free(&f);
}
END_TEST

START_TEST(pooled_maps_are_the_bins_of_whole_ones)
{
    enum { T = 23, N = 9, SIZE = 4 };
    static const attn_pool pool = { .size = SIZE, .mode = ATTN_REDUCE_MEAN };
    attn_keep keep[ATTN_STACKS];
    kept_stacks whole, bins;
    fixture f;
    fixture_init(&f, kinds[_i], 2, T, N);
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS));
    run_fine(&f, keep, &whole);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        keep[s].pool = &pool;
    run_fine(&f, keep, &bins);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        for (size_t l = 0; l < whole.of[s].num_layers; l++) {
            const kept_tensor *a = &whole.of[s].tensors[l][ATTN_ATTENTIONS], *b = &bins.of[s].tensors[l][ATTN_ATTENTIONS];
            ck_assert(b->rows == SIZE && b->cols == SIZE && b->heads == a->heads);
            for (size_t at = 0; at < a->heads * SIZE * SIZE; at++) {
                size_t h = at / SIZE / SIZE, row = at / SIZE % SIZE, col = at % SIZE, n = 0;
                double sum = 0;
                for (size_t i = attn_pool_edge(a->rows, SIZE, row); i < attn_pool_edge(a->rows, SIZE, row + 1); i++)
                    for (size_t j = attn_pool_edge(a->cols, SIZE, col); j < attn_pool_edge(a->cols, SIZE, col + 1); j++, n++)
                        sum += (double)a->data[(h * a->rows + i) * a->cols + j];
                ck_assert_double_eq_tol((double)b->data[at], sum / (double)n, 1e-6);
            }
        }
    stacks_free(&whole);
    stacks_free(&bins);
    fixture_free(&f);
}
END_TEST

/* ---- steps ---------------------------------------------------------------------------------------------------------------- */

/* Row `row` of a step's tensor is row `place` of the whole pass's, as far as it goes. */
static double row_error(const kept_tensor *step, size_t row, const kept_tensor *all, size_t place)
{
    double worst = 0, largest = 1;
    ck_assert_uint_eq(step->heads, all->heads);
    ck_assert_uint_le(step->cols, all->cols);
    for (size_t h = 0; h < all->heads; h++) {
        const float *a = step->data + (h * step->rows + row) * step->cols, *b = all->data + (h * all->rows + place) * all->cols;
        for (size_t j = 0; j < step->cols; j++) {
            if (a[j] == b[j]) /* -infinity as well */
                continue;
            worst = fmax(worst, fabs((double)a[j] - (double)b[j]));
            largest = fmax(largest, fabs((double)b[j]));
        }
    }
    return worst / largest;
}

/* Of a step that reads `fresh` tokens behind `past`; an encoder's keys and values are there whole. */
static double tensor_error(const kept_tensor *step, const kept_tensor *all, size_t past, size_t fresh)
{
    double worst = 0;
    bool is_whole = step->rows != fresh;
    ck_assert_uint_eq(step->rows, is_whole ? all->rows : fresh);
    for (size_t row = 0; row < step->rows; row++)
        worst = fmax(worst, row_error(step, row, all, is_whole ? row : past + row));
    return worst;
}

enum { STEPS = 9, PROMPT = 2 };

/* Steps of a generation, each with all that it gives; the tokens go into f->written. */
static void write_on(fixture *f, kept_stacks steps[STEPS])
{
    attn_keep keep[ATTN_STACKS];
    attn_generation *writing;
    attn_error err = { 0 };
    attn_arena *arena = attn_arena_new();
    keep_all(keep, everything & ~ATTN_BIT(ATTN_VALUE_NORMS)); /* a row of a step is a column of the pass */
    f->in.decoder_T = PROMPT;
    ck_assert_int_eq(attn_generation_begin(&writing, f->model, &f->in, STEPS, arena, &err), ATTN_OK);
    for (size_t k = 0; k < STEPS; k++) {
        attn_sink sink = { &steps[k], keep_layer_of, keep_state_of };
        steps[k] = (kept_stacks){ .came = 0 };
        attn_status st = attn_generation_run(writing, keep, arena, NULL, &sink, &f->written[PROMPT + k], &err);
        ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
        ck_assert_uint_eq(steps[k].of[ATTN_STACK_SELF].num_layers, k == 0 ? attn_model_get_info(f->model)->num_hidden_layers : 0);
    }
    attn_arena_free(arena);
}

/* Positions, distances and what is hidden are those of the whole text, though a step reads one token. */
START_TEST(steps_give_the_rows_of_one_pass)
{
    static kept_stacks steps[STEPS];
    attn_keep keep[ATTN_STACKS];
    kept_stacks all;
    double worst = 0;
    fixture f;
    fixture_init(&f, kinds[_i], 3, 7, PROMPT);
    write_on(&f, steps);
    f.in.decoder_T = PROMPT + STEPS - 1; /* the last was chosen and not read */
    keep_all(keep, everything);
    run_fine(&f, keep, &all);
    for (size_t k = 0; k < STEPS; k++)
        for (size_t s = ATTN_STACK_DECODER; s < ATTN_STACKS; s++) {
            const kept_run *step = &steps[k].of[s];
            size_t past = k == 0 ? 0 : PROMPT + k - 1, fresh = k == 0 ? PROMPT : 1;
            ck_assert_uint_eq(step->num_layers, all.of[s].num_layers);
            for (size_t l = 0; l < step->num_layers; l++)
                for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
                    if (step->tensors[l][o].data)
                        worst = fmax(worst, tensor_error(&step->tensors[l][o], &all.of[s].tensors[l][o], past, fresh));
            for (size_t n = 0; n < step->num_states; n++)
                worst = fmax(worst, tensor_error(&step->hidden[n], &all.of[s].hidden[n], past, fresh));
        }
    printf("%-40s steps and one pass differ by %.1e\n", kinds[_i], worst);
    ck_assert_msg(worst <= 5e-6, "%s: %.2e", kinds[_i], worst);
    for (size_t k = 0; k < STEPS; k++)
        stacks_free(&steps[k]);
    stacks_free(&all);
    fixture_free(&f);
}
END_TEST

START_TEST(the_price_of_writing_covers_what_it_takes)
{
    static const attn_outputs sets[] = { 0, ATTN_BIT(ATTN_ATTENTIONS), ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    for (size_t i = 0; i < 2 * sizeof sets / sizeof *sets; i++) {
        attn_keep keep[ATTN_STACKS];
        attn_generation *writing;
        attn_error err = { 0 };
        fixture f;
        int32_t next;
        fixture_init(&f, kinds[_i], i % 2 ? 5 : 1, 33, 3);
        keep_all(keep, sets[i / 2]);
        attn_arena *arena = attn_arena_new();
        attn_price price = attn_generation_price(f.model, &f.in, 20, keep);
        ck_assert_int_eq(attn_generation_begin(&writing, f.model, &f.in, 20, arena, &err), ATTN_OK);
        for (size_t k = 0; k < 20; k++) {
            kept_stacks kept = { .came = 0 };
            attn_sink sink = { &kept, keep_layer_of, keep_state_of };
            ck_assert_int_eq(attn_generation_run(writing, keep, arena, NULL, &sink, &next, &err), ATTN_OK);
            stacks_free(&kept);
        }
        ck_assert_msg(attn_arena_peak(arena) <= price.bytes, "%s, set %zu: took %zu, price %zu", kinds[_i], i, attn_arena_peak(arena), (size_t)price.bytes);
        attn_arena_free(arena);
        fixture_free(&f);
    }
}
END_TEST

/* ---- embeddings ----------------------------------------------------------------------------------------------------------- */

/* A float32 tensor [rows, cols] of a model's file. */
static float *read_tensor(const char *source, const char *name)
{
    attn_error err = { 0 };
    attn_safetensors s;
    model_file file = file_read(source, "model.safetensors");
    ck_assert_int_eq(attn_safetensors_open(&s, file.bytes, file.size, "model.safetensors", &err), ATTN_OK);
    size_t i = 0;
    while (i < s.count && strcmp(s.tensors[i].name, name) != 0)
        i++;
    ck_assert_uint_lt(i, s.count);
    float *copy = malloc(s.tensors[i].bytes);
    memcpy(copy, s.tensors[i].data, s.tensors[i].bytes);
    attn_safetensors_close(&s);
    free(file.bytes);
    return copy;
}

/* Embeddings that come from outside are taken as they are, without scale_embedding. */
START_TEST(embeddings_may_stand_for_the_encoders_ids)
{
    static const struct {
        const char *source, *tensor;
        float factor;
    } cases[] = { { AT("t5"), "shared.weight", 1 },
                  { AT("bart"), "model.shared.weight", 1 },
                  { AT("mbart"), "model.shared.weight", 5.65685425f },
                  { AT("marian"), "model.shared.weight", 5.65685425f } };
    enum { T = 6, D = 32 };
    float embeds[T * D];
    attn_keep keep[ATTN_STACKS];
    kept_stacks by_id, by_embeds;
    fixture f;
    fixture_init(&f, cases[_i].source, 1, T, 3);
    float *words = read_tensor(cases[_i].source, cases[_i].tensor);
    for (size_t i = 0; i < T * D; i++)
        embeds[i] = words[(size_t)f.ids[i / D] * D + i % D] * cases[_i].factor;
    keep_all(keep, ATTN_BIT(ATTN_HIDDEN_STATES));
    run_fine(&f, keep, &by_id);
    f.in.input_ids = NULL;
    f.in.inputs_embeds = embeds;
    f.in.num_embeds = T;
    run_fine(&f, keep, &by_embeds);
    for (size_t s = 0; s < ATTN_STACK_CROSS; s++)
        for (size_t n = 0; n < by_id.of[s].num_states; n++)
            same_tensor(&by_id.of[s].hidden[n], &by_embeds.of[s].hidden[n], 0);
    stacks_free(&by_id);
    stacks_free(&by_embeds);
    fixture_free(&f);
    free(words);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seq2seq");
    TCase *golden = tcase_create("golden"), *promises = tcase_create("promises");
    tcase_set_timeout(golden, 120);
    tcase_set_timeout(promises, 120);
    tcase_add_loop_test(golden, all_three_attentions_agree_with_transformers_in_float64, 0, NUM_MODELS);
    tcase_add_test(golden, an_encoder_alone_is_a_model_with_one_attention);
    tcase_add_loop_test(golden, trained_models_agree_as_well, 0, 4);
    tcase_add_loop_test(promises, bits_depend_neither_on_threads_nor_on_what_else_is_asked_for, 0, NUM_KINDS);
    tcase_add_test(promises, layers_come_encoder_first_then_each_of_the_decoder_before_its_cross_attention);
    tcase_add_loop_test(promises, the_price_covers_what_a_run_takes, 0, NUM_KINDS);
    tcase_add_loop_test(promises, what_is_written_later_changes_nothing_before, 0, NUM_KINDS);
    tcase_add_loop_test(promises, padding_is_seen_by_nobody, 0, NUM_KINDS);
    tcase_add_test(promises, a_run_can_be_cancelled_between_any_two_layers);
    tcase_add_loop_test(promises, analyses_are_those_of_each_attentions_own_maps, 0, NUM_KINDS);
    tcase_add_loop_test(promises, pooled_maps_are_the_bins_of_whole_ones, 0, NUM_KINDS);
    tcase_add_loop_test(promises, steps_give_the_rows_of_one_pass, 0, NUM_KINDS);
    tcase_add_loop_test(promises, the_price_of_writing_covers_what_it_takes, 0, NUM_KINDS);
    tcase_add_loop_test(promises, embeddings_may_stand_for_the_encoders_ids, 0, 4);
    suite_add_tcase(suite, golden);
    suite_add_tcase(suite, promises);
    return unit_main(suite);
}
