/* test_model.c - models against transformers in float64, and what attn_model.h promises of every run.
 *
 * MiniLM's weights are not in the repository: its golden values are tested when ATTND_MINILM names the directory of the model (make_model_goldens.py says
 * which package carries it), and skipped aloud otherwise.
 * SPDX-License-Identifier: Apache-2.0 */
#include "golden_case.h"
#include "model_files.h"
#include "model_fixture.h"

static const struct {
    const char *source, *golden;
} models[] = {
    { "tests/golden/models/bert", "tests/golden/models/bert/golden.json" },
    { "tests/golden/models/bert-odd", "tests/golden/models/bert-odd/golden.json" },
    { "tests/golden/models/bert-one-layer", "tests/golden/models/bert-one-layer/golden.json" },
    { "tests/golden/models/bert-mlm", "tests/golden/models/bert-mlm/golden.json" },
    { "tests/golden/models/bert-legacy", "tests/golden/models/bert-legacy/golden.json" },
    { "tests/golden/models/bert-half", "tests/golden/models/bert-half/golden.json" },
    { "tests/golden/models/bert-bfloat16", "tests/golden/models/bert-bfloat16/golden.json" },
    { "tests/golden/models/bert-sharded", "tests/golden/models/bert-sharded/golden.json" },
    { "builtin:attnd-bert", "tests/golden/attnd-bert.json" },
    { NULL, "tests/golden/minilm.json" }, /* ATTND_MINILM */
};
enum { NUM_MODELS = sizeof models / sizeof *models };

static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;

START_TEST(every_output_agrees_with_transformers_in_float64)
{
    const char *source = models[_i].source ? models[_i].source : getenv("ATTND_MINILM");
    if (!source) {
        printf("SKIPPED %s: ATTND_MINILM is not set\n", models[_i].golden);
        return;
    }
    golden_compare_model(source, models[_i].golden);
}
END_TEST

/* ---- promises ------------------------------------------------------------------------------------------------------------- */

static void fixture_init(fixture *f, const char *source, int threads, size_t T)
{
    fixture_open(f, source, threads, NULL);
    for (size_t i = 0; i < T; i++)
        f->g.ids[i] = (int32_t)(i * 37 % (attn_model_get_info(f->model)->vocab_size - 10)) + 8;
    f->g.in = (attn_model_input){ .T = T, .input_ids = f->g.ids };
}

/* Heads [i] of a are heads pick[i] of b, bit for bit. */
static void same_bits(const kept_tensor *a, const kept_tensor *b, const int32_t *pick)
{
    ck_assert_uint_eq(a->rows, b->rows);
    ck_assert_uint_eq(a->cols, b->cols);
    for (size_t h = 0; h < a->heads; h++) {
        size_t from = pick && b->heads > 1 ? (size_t)pick[h] : h, n = a->rows * a->cols;
        ck_assert_int_eq(memcmp(a->data + h * n, b->data + from * n, n * sizeof(float)), 0);
    }
}

START_TEST(bits_do_not_depend_on_the_number_of_threads)
{
    static const int counts[] = { 1, 2, 5 };
    static const char *const sources[] = { "tests/golden/models/bert-odd", "builtin:attnd-bert" };
    static const size_t lengths[] = { 64, 150 };
    kept_run one, other;
    fixture f;
    attn_keep keep = { .outputs = everything };
    fixture_init(&f, sources[_i], 1, lengths[_i]);
    run_fine(&f, &keep, &one, NULL);
    fixture_free(&f);
    for (size_t c = 1; c < sizeof counts / sizeof *counts; c++) {
        fixture_init(&f, sources[_i], counts[c], lengths[_i]);
        run_fine(&f, &keep, &other, NULL);
        ck_assert_uint_eq(other.num_layers, one.num_layers);
        for (size_t l = 0; l < one.num_layers; l++)
            for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
                same_bits(&other.tensors[l][o], &one.tensors[l][o], NULL);
        kept_free(&other);
        fixture_free(&f);
    }
    kept_free(&one);
}
END_TEST

/* Each output alone, of some layers and heads in any order, is what the run of everything gave. */
START_TEST(a_selection_has_the_bits_of_the_whole_run)
{
    static const int32_t layers[] = { 2, 0, 2 }, heads[] = { 3, 1, 3, 0 };
    kept_run all, some;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, 33);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &all, NULL);
    for (size_t num_layers = 1; num_layers <= 3; num_layers++) {
        for (attn_outputs outputs = (attn_outputs)num_layers; outputs <= everything; outputs += 3) {
            attn_keep keep = { .outputs = outputs, .layers = layers, .num_layers = num_layers, .heads = heads, .num_heads = 1 + outputs % 4 };
            run_fine(&f, &keep, &some, NULL);
            size_t distinct = num_layers == 1 ? 1 : 2; /* a layer asked for twice comes once */
            ck_assert_uint_eq(some.num_layers, outputs == ATTN_BIT(ATTN_HIDDEN_STATES) ? 0 : distinct);
            ck_assert_uint_eq(some.num_states, outputs & ATTN_BIT(ATTN_HIDDEN_STATES) ? distinct : 0);
            for (size_t n = 0; n < some.num_states; n++)
                same_bits(&some.hidden[n], &all.hidden[some.states[n]], NULL);
            for (size_t l = 0; l < some.num_layers; l++) {
                ck_assert_uint_eq(some.layers[l], num_layers == 1 ? 2 : 2 * l);
                for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
                    const kept_tensor *t = &some.tensors[l][o];
                    ck_assert_int_eq(t->data != NULL, (outputs & ATTN_BIT(o)) != 0 && o != ATTN_HIDDEN_STATES);
                    ck_assert(!t->data || o == ATTN_ATTN_OUTPUT || t->heads == keep.num_heads);
                    if (t->data)
                        same_bits(t, &all.tensors[some.layers[l]][o], heads);
                }
            }
            kept_free(&some);
        }
    }
    kept_free(&all);
    fixture_free(&f);
}
END_TEST

START_TEST(rows_sum_to_one_and_padded_keys_weigh_exactly_nothing)
{
    kept_run run;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, 21);
    f.g.in.attention_mask = f.g.mask;
    for (size_t i = 0; i < 21; i++)
        f.g.mask[i] = i % 3 != 1;
    run_fine(&f, &(attn_keep){ .outputs = everything }, &run, NULL);
    for (size_t l = 0; l < run.num_layers; l++) {
        const kept_tensor *a = &run.tensors[l][ATTN_ATTENTIONS], *s = &run.tensors[l][ATTN_SCORES], *raw = &run.tensors[l][ATTN_RAW_SCORES];
        for (size_t row = 0; row < a->heads * a->rows; row++) {
            double sum = 0;
            for (size_t j = 0; j < a->cols; j++) {
                size_t i = row * a->cols + j;
                sum += (double)a->data[i];
                ck_assert(f.g.mask[j] ? s->data[i] == raw->data[i] : a->data[i] == 0 && s->data[i] == -INFINITY && isfinite(raw->data[i]));
            }
            ck_assert_double_eq_tol(sum, 1, 1e-6);
        }
    }
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

START_TEST(nothing_but_padding_gives_zero_rows_and_zero_contexts)
{
    kept_run run;
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 2, 5);
    f.g.in.attention_mask = f.g.mask; /* all 0 */
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_CONTEXT) }, &run, NULL);
    ck_assert_uint_eq(run.num_layers, 3);
    for (size_t l = 0; l < run.num_layers; l++) {
        for (size_t i = 0; i < 4 * 5 * 5; i++)
            ck_assert(run.tensors[l][ATTN_ATTENTIONS].data[i] == 0);
        for (size_t i = 0; i < 4 * 5 * 8; i++)
            ck_assert(run.tensors[l][ATTN_CONTEXT].data[i] == 0);
    }
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* An upper bound that is worth something: never below what is taken, and not half as much again above it (a page aside, for the smallest). */
START_TEST(the_price_covers_what_a_run_takes)
{
    static const int32_t layers[] = { 1 }, heads[] = { 2, 0, 2 };
    static const size_t lengths[] = { 1, 7, 64, 200 };
    static const attn_outputs sets[] = { 0,
                                         ATTN_BIT(ATTN_ATTENTIONS),
                                         ATTN_BIT(ATTN_RAW_SCORES),
                                         ATTN_BIT(ATTN_CONTEXT),
                                         ATTN_BIT(ATTN_KEY),
                                         ATTN_BIT(ATTN_ATTN_OUTPUT),
                                         ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_CONTEXT),
                                         ATTN_MAP_OUTPUTS,
                                         ATTN_BIT(ATTN_WEIGHTED_NORMS),
                                         ATTN_BIT(ATTN_VALUE_NORMS),
                                         ATTN_BIT(ATTN_HIDDEN_STATES),
                                         ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    static const int threads[] = { 1, 5 };
    kept_run run;
    fixture f;
    for (size_t i = 0; i < 4; i++) {
        fixture_init(&f, "builtin:attnd-bert", threads[_i], lengths[i]);
        for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
            for (int cut = 0; cut < 4; cut++) {
                size_t peak;
                attn_outputs outputs = sets[s];
                attn_keep keep = { .outputs = outputs, .layers = cut & 1 ? layers : NULL, .num_layers = 1, .heads = cut & 2 ? heads : NULL, .num_heads = 3 };
                attn_price price = attn_model_price(f.model, &f.g.in, &keep);
                run_fine(&f, &keep, &run, &peak);
                kept_free(&run);
                ck_assert_msg(peak <= price.bytes, "T %zu, outputs %x, cut %d: took %zu, price %zu", lengths[i], outputs, cut, peak, (size_t)price.bytes);
                ck_assert_msg((double)price.bytes <= 1.5 * (double)peak + 16384, "T %zu, outputs %x, cut %d: took %zu, price %zu", lengths[i], outputs, cut,
                              peak, (size_t)price.bytes);
            }
        }
        fixture_free(&f);
    }
}
END_TEST

START_TEST(the_price_counts_the_flops_that_are_needed_and_no_others)
{
    static const int32_t first[] = { 0 };
    fixture f;
    fixture_init(&f, "builtin:attnd-bert", 1, 10);
    uint64_t T = 10, D = 256, F = 1024, projection = 2 * T * D * D, product = 2 * T * T * D;
    uint64_t whole = 4 * projection + 2 * product + 4 * T * D * F;
    struct {
        attn_outputs outputs;
        uint64_t last, every; /* of the last layer; more in every earlier one that is kept */
    } cases[] = { { ATTN_BIT(ATTN_ATTENTIONS), 2 * projection + product, 0 },
                  { ATTN_BIT(ATTN_QUERY), projection, 0 },
                  { ATTN_BIT(ATTN_VALUE), projection, 0 },
                  { ATTN_BIT(ATTN_CONTEXT), 3 * projection + 2 * product, 0 },
                  { ATTN_BIT(ATTN_ATTN_OUTPUT), 4 * projection + 2 * product, 0 },
                  { ATTN_BIT(ATTN_VALUE_NORMS), projection, 0 },
                  { ATTN_BIT(ATTN_WEIGHTED_NORMS), 4 * projection + product, projection }, /* the output projection of every value, head by head */
                  { ATTN_BIT(ATTN_HIDDEN_STATES), whole, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_keep keep = { .outputs = cases[i].outputs };
        ck_assert_uint_eq(attn_model_price(f.model, &f.g.in, &keep).flops, 5 * (whole + cases[i].every) + cases[i].last);
        keep.layers = first;
        keep.num_layers = 1;
        ck_assert_uint_eq(attn_model_price(f.model, &f.g.in, &keep).flops, cases[i].last);
    }
    ck_assert_uint_eq(attn_model_price(f.model, &f.g.in, &(attn_keep){ 0 }).flops, 0);
    attn_model_input none = { .input_ids = f.g.ids }, full = { .T = 512, .input_ids = f.g.ids }, beyond = { .T = SIZE_MAX, .input_ids = f.g.ids };
    ck_assert_uint_eq(attn_model_price(f.model, &none, &(attn_keep){ .outputs = everything }).flops, 0);
    ck_assert_uint_eq(attn_model_price(f.model, &beyond, &(attn_keep){ .outputs = everything }).bytes,
                      attn_model_price(f.model, &full, &(attn_keep){ .outputs = everything }).bytes);
    fixture_free(&f);
}
END_TEST

/* Weights so large that whatever uses them overflows show what is used. */
START_TEST(what_nobody_asked_for_is_not_computed)
{
    static const int32_t layers[] = { 0, 1 };
    enum {
        MAPS = ATTN_BIT(ATTN_ATTENTIONS),
        CONTEXT = ATTN_BIT(ATTN_CONTEXT),
        STATES = ATTN_BIT(ATTN_HIDDEN_STATES),
        NORMS = ATTN_BIT(ATTN_VALUE_NORMS),
        WEIGHTED = ATTN_BIT(ATTN_WEIGHTED_NORMS),
        QUERY = ATTN_BIT(ATTN_QUERY),
        KEY = ATTN_BIT(ATTN_KEY),
        VALUE = ATTN_BIT(ATTN_VALUE)
    };
    static const struct {
        const char *poison;
        attn_outputs fine, broken; /* of layers 0 and 1 */
        const char *where;
    } cases[] = {
        { "encoder.layer.1.attention.self.value.weight", MAPS | QUERY | KEY, CONTEXT, "context" },
        { "encoder.layer.1.attention.self.value.weight", MAPS | QUERY | KEY, VALUE, "value" },
        { "encoder.layer.1.attention.self.key.weight", QUERY | VALUE, MAPS, "raw_scores" },
        { "encoder.layer.1.attention.self.key.weight", QUERY | VALUE, KEY, "key" },
        { "encoder.layer.1.attention.self.query.weight", KEY | VALUE, QUERY, "query" },
        { "encoder.layer.1.attention.self.value.weight", MAPS | QUERY | KEY, NORMS, "value_norms" },
        { "encoder.layer.1.attention.self.query.weight", NORMS | VALUE, WEIGHTED, "raw_scores" },
        { "encoder.layer.1.attention.output.dense.weight", MAPS | CONTEXT | NORMS, ATTN_BIT(ATTN_ATTN_OUTPUT), "attn_output" },
        { "encoder.layer.1.attention.output.dense.weight", MAPS | CONTEXT | NORMS, WEIGHTED, "weighted_norms" },
        { "encoder.layer.2.attention.self.query.weight", ATTN_BIT(ATTN_OUTPUT_COUNT) - 1, 0, "" }, /* behind the last layer */
        { "encoder.layer.1.intermediate.dense.weight", ATTN_BIT(ATTN_HIDDEN_STATES) - 1, STATES, "hidden_states" },
        { "encoder.layer.0.attention.output.dense.weight", 0, MAPS, "hidden_states" },
        { "encoder.layer.0.output.dense.weight", 0, QUERY, "hidden_states" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        kept_run run = { 0 };
        model_copy copy = copy_model("tests/golden/models/bert");
        tensor_fill(&copy, cases[i].poison, 3e38f);
        fixture_init(&f, copy.path, 1, 9);
        remove_copy(&copy);
        attn_keep keep = { .outputs = cases[i].fine, .layers = layers + 1, .num_layers = 1 };
        run_fine(&f, &keep, &run, NULL);
        kept_free(&run);
        keep = (attn_keep){ .outputs = cases[i].broken, .layers = layers, .num_layers = 2 };
        run = (kept_run){ 0 };
        ck_assert_int_eq(run_kept(f.model, &f.g.in, &keep, &run, NULL, NULL, &f.err), cases[i].broken ? ATTN_E_OVERFLOW : ATTN_OK);
        ck_assert_str_eq(f.err.where, cases[i].where);
        kept_free(&run);
        fixture_free(&f);
    }
}
END_TEST

/* The format promises no alignment: with one space more in the header every tensor starts at an odd address. */
START_TEST(a_file_aligned_to_nothing_gives_the_same_bits)
{
    static const char *const sources[] = { "tests/golden/models/bert", "tests/golden/models/bert-half", "tests/golden/models/bert-bfloat16" };
    fixture f;
    kept_run even, odd;
    fixture_init(&f, sources[_i], 1, 9);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &even, NULL);
    fixture_free(&f);
    model_copy copy = copy_model(sources[_i]);
    file_replace(&copy, "model.safetensors", "\"__metadata__\":", "\"__metadata__\": ");
    fixture_init(&f, copy.path, 1, 9);
    remove_copy(&copy);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &odd, NULL);
    fixture_free(&f);
    for (size_t l = 0; l < even.num_layers; l++)
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
            same_bits(&odd.tensors[l][o], &even.tensors[l][o], NULL);
    kept_free(&even);
    kept_free(&odd);
}
END_TEST

START_TEST(a_cancelled_run_ends_between_layers)
{
    kept_run run = { 0 };
    attn_cancel cancel = { 0 };
    fixture f;
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) };
    fixture_init(&f, "tests/golden/models/bert", 2, 9);
    run.cancel_in = &cancel;
    run.cancel_after = 2;
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &keep, &run, &cancel, NULL, &f.err), ATTN_E_CANCELLED);
    ck_assert_uint_eq(run.num_layers, 2);
    kept_free(&run);
    run = (kept_run){ 0 };
    cancel = (attn_cancel){ .deadline_ns = 1 };
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &keep, &run, &cancel, NULL, &f.err), ATTN_E_CANCELLED);
    ck_assert_uint_eq(run.num_layers, 0);
    ck_assert_int_eq(cancel.reason, ATTN_DEADLINE);
    fixture_free(&f);
}
END_TEST

START_TEST(an_error_of_the_sink_ends_the_run_and_is_its_answer)
{
    kept_run run = { .answer = ATTN_E_LIMIT };
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 1, 9);
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &(attn_keep){ .outputs = 1 }, &run, NULL, NULL, &f.err), ATTN_E_LIMIT);
    ck_assert_str_eq(f.err.where, "sink");
    ck_assert_uint_eq(run.num_layers, 1);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

START_TEST(inputs_that_cannot_be_are_named)
{
    static const int32_t ids[] = { 8, 899, 3 }, too_large[] = { 8, 900, 3 }, negative[] = { 8, 3, -1 }, types[] = { 0, 1, 1 }, bad_types[] = { 0, 2, 0 };
    static const float embeds[3 * 32] = { 0.5f };
    static const struct {
        attn_model_input in;
        attn_status status;
        const char *where, *text;
    } cases[] = {
        { { .T = 3, .input_ids = ids, .token_type_ids = types }, ATTN_OK, "", "" },
        { { .T = 3, .inputs_embeds = embeds }, ATTN_OK, "", "" },
        { { .T = 3 }, ATTN_E_INPUT, "input_ids", "exactly one" },
        { { .T = 3, .input_ids = ids, .inputs_embeds = embeds }, ATTN_E_INPUT, "inputs_embeds", "exactly one" },
        { { .T = 0, .input_ids = ids }, ATTN_E_INPUT, "input_ids", "0 tokens, the model takes 1 to 64" },
        { { .T = 65, .inputs_embeds = embeds }, ATTN_E_INPUT, "inputs_embeds", "65 tokens, the model takes 1 to 64" },
        { { .T = SIZE_MAX, .input_ids = ids }, ATTN_E_INPUT, "input_ids", "the model takes 1 to 64" },
        { { .T = 3, .input_ids = too_large }, ATTN_E_INPUT, "input_ids", "number 1 is 900, the model's ids are 0 to 899" },
        { { .T = 3, .input_ids = negative }, ATTN_E_INPUT, "input_ids", "number 2 is -1" },
        { { .T = 3, .input_ids = ids, .token_type_ids = bad_types }, ATTN_E_INPUT, "token_type_ids", "number 1 is 2, the model's token types are 0 to 1" },
    };
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 1, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kept_run run = { 0 };
        attn_error err = { 0 };
        ck_assert_int_eq(run_kept(f.model, &cases[i].in, &(attn_keep){ .outputs = 1 }, &run, NULL, NULL, &err), cases[i].status);
        ck_assert_str_eq(err.where, cases[i].where);
        ck_assert_msg(strstr(err.text, cases[i].text) != NULL, "%s", err.text);
        kept_free(&run);
    }
    fixture_free(&f);
}
END_TEST

/* 3e18 is finite and so is its row, but the mean of its squares is not: an unwary norm answers with zeros. */
START_TEST(embeddings_too_large_for_a_norm_are_an_overflow)
{
    static const float sizes[] = { 3e18f, 3e38f, INFINITY, NAN };
    float embeds[2 * 32] = { 0 };
    kept_run run = { 0 };
    fixture f;
    fixture_init(&f, "tests/golden/models/bert", 1, 2);
    f.g.in = (attn_model_input){ .T = 2, .inputs_embeds = embeds };
    for (size_t i = 0; i < 4; i++) {
        attn_error err = { 0 };
        embeds[40] = sizes[i];
        ck_assert_int_eq(run_kept(f.model, &f.g.in, &(attn_keep){ .outputs = 1 }, &run, NULL, NULL, &err), ATTN_E_OVERFLOW);
        ck_assert_str_eq(err.where, "hidden_states");
    }
    embeds[40] = 1e16f;
    run_fine(&f, &(attn_keep){ .outputs = 1 }, &run, NULL);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* ---- what is said of a model ---------------------------------------------------------------------------------------------- */

START_TEST(info_says_what_the_files_say)
{
    static const struct {
        const char *source, *architecture, *dtype;
        size_t layers, heads, head_dim, hidden, unused;
        uint64_t parameters;
    } cases[] = {
        { "builtin:attnd-bert", "BertForMaskedLM", "float16", 6, 8, 32, 256, 5, 6967808 },
        { "tests/golden/models/bert", "BertModel", "float32", 3, 4, 8, 32, 2, 53488 },
        { "tests/golden/models/bert-half", "BertModel", "float16", 2, 3, 16, 48, 2, 84384 },
        { "tests/golden/models/bert-bfloat16", "BertModel", "bfloat16", 2, 2, 18, 36, 2, 56376 },
        { "tests/golden/models/bert-legacy", "BertForMaskedLM", "float32", 2, 8, 4, 32, 6, 45984 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        fixture_init(&f, cases[i].source, 1, 1);
        const attn_model_info *info = attn_model_get_info(f.model);
        ck_assert_str_eq(info->architecture, cases[i].architecture);
        ck_assert_str_eq(info->model_type, "bert");
        ck_assert_str_eq(info->source, cases[i].source);
        ck_assert_str_eq(info->dtype, cases[i].dtype);
        ck_assert_uint_eq(info->num_hidden_layers, cases[i].layers);
        ck_assert_uint_eq(info->num_attention_heads, cases[i].heads);
        ck_assert_uint_eq(info->num_key_value_heads, cases[i].heads);
        ck_assert_uint_eq(info->head_dim, cases[i].head_dim);
        ck_assert_uint_eq(info->hidden_size, cases[i].hidden);
        ck_assert_uint_eq(info->num_unused_tensors, cases[i].unused);
        ck_assert_ptr_null(info->unused_tensors[info->num_unused_tensors]);
        ck_assert_uint_eq(info->num_parameters, cases[i].parameters);
        ck_assert_uint_ge(info->bytes, info->num_parameters * 2);
        ck_assert_uint_eq(info->outputs, everything);
        fixture_free(&f);
    }
}
END_TEST

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

START_TEST(what_was_not_needed_is_listed)
{
    fixture f;
    fixture_init(&f, "tests/golden/models/bert-legacy", 1, 1);
    const attn_model_info *info = attn_model_get_info(f.model);
    ck_assert(is_listed(info->unused_tensors, "bert.embeddings.position_ids"));
    ck_assert(is_listed(info->unused_tensors, "cls.predictions.transform.LayerNorm.gamma"));
    ck_assert(is_listed(info->ignored_keys, "hidden_dropout_prob"));
    ck_assert(!is_listed(info->ignored_keys, "hidden_act"));
    ck_assert_uint_eq(info->num_ignored_keys, 4); /* two dropouts, initializer_range, pad_token_id */
    fixture_free(&f);
}
END_TEST

START_TEST(every_model_inside_the_program_opens_by_its_name_and_reads_texts)
{
    static const struct {
        const char *name, *source, *model_type;
    } inside[] = { { "attnd-bert", "builtin:attnd-bert", "bert" },
                   { "attnd-gpt", "builtin:attnd-gpt", "gpt2" },
                   { "attnd-translate", "builtin:attnd-translate", "marian" } };
    const char *const *names = attn_builtin_models();
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++, names++) {
        fixture f;
        fixture_init(&f, inside[i].source, 1, 1);
        const attn_model_info *info = attn_model_get_info(f.model);
        ck_assert_str_eq(*names, inside[i].name);
        ck_assert_str_eq(info->model_type, inside[i].model_type);
        ck_assert_uint_eq(info->vocab_size, 8192);
        ck_assert_ptr_nonnull(attn_model_get_tokenizer(f.model));
        fixture_free(&f);
    }
    ck_assert_ptr_null(*names);
}
END_TEST

START_TEST(a_model_has_the_tokenizer_beside_it)
{
    attn_arena *arena = attn_arena_new();
    attn_encoding out;
    attn_text text = { "it flows", 8 };
    fixture f;
    fixture_init(&f, "builtin:attnd-bert", 1, 1);
    ck_assert_ptr_nonnull(attn_model_get_tokenizer(f.model));
    ck_assert_int_eq(
        attn_tokenizer_encode(attn_model_get_tokenizer(f.model), &text, NULL, &(attn_encode_options){ .add_special_tokens = true }, arena, NULL, &out, &f.err),
        ATTN_OK);
    ck_assert_uint_eq(out.count, 4);
    ck_assert(out.tokens[0].special && out.tokens[3].special);
    attn_arena_free(arena);
    fixture_free(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *golden = tcase_create("golden"), *promises = tcase_create("promises"), *info = tcase_create("info");
    tcase_set_timeout(golden, 120);
    tcase_set_timeout(promises, 120);
    tcase_add_loop_test(golden, every_output_agrees_with_transformers_in_float64, 0, NUM_MODELS);
    tcase_add_loop_test(promises, bits_do_not_depend_on_the_number_of_threads, 0, 2);
    tcase_add_test(promises, a_selection_has_the_bits_of_the_whole_run);
    tcase_add_test(promises, rows_sum_to_one_and_padded_keys_weigh_exactly_nothing);
    tcase_add_test(promises, nothing_but_padding_gives_zero_rows_and_zero_contexts);
    tcase_add_loop_test(promises, the_price_covers_what_a_run_takes, 0, 2);
    tcase_add_test(promises, the_price_counts_the_flops_that_are_needed_and_no_others);
    tcase_add_test(promises, what_nobody_asked_for_is_not_computed);
    tcase_add_loop_test(promises, a_file_aligned_to_nothing_gives_the_same_bits, 0, 3);
    tcase_add_test(promises, a_cancelled_run_ends_between_layers);
    tcase_add_test(promises, an_error_of_the_sink_ends_the_run_and_is_its_answer);
    tcase_add_test(promises, inputs_that_cannot_be_are_named);
    tcase_add_test(promises, embeddings_too_large_for_a_norm_are_an_overflow);
    tcase_add_test(info, info_says_what_the_files_say);
    tcase_add_test(info, what_was_not_needed_is_listed);
    tcase_add_test(info, every_model_inside_the_program_opens_by_its_name_and_reads_texts);
    tcase_add_test(info, a_model_has_the_tokenizer_beside_it);
    suite_add_tcase(suite, golden);
    suite_add_tcase(suite, promises);
    suite_add_tcase(suite, info);
    return unit_main(suite);
}
