/* test_encoders.c - BERT's kin against transformers in float64, and what is particular to them: how positions are counted, embeddings of another size, layers
 * that share weights, a bias by distance.
 * SPDX-License-Identifier: Apache-2.0 */
#include "golden_case.h"
#include "model_files.h"

#define MODELS "tests/golden/models/"

static const char *const models[] = { "distilbert",     "roberta",        "xlm-roberta",   "electra",           "electra-wide",      "albert",
                                      "albert-groups",  "mpnet",          "modernbert",    "modernbert-legacy", "modernbert-biases", "deberta-v2",
                                      "deberta-v2-own", "deberta-v2-c2p", "deberta-v2-p2c" };
enum { NUM_MODELS = sizeof models / sizeof *models };

static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;

typedef struct fixture {
    attn_runtime *rt;
    attn_model *model;
    golden_input g; /* ids from 8 on, which are no model's padding */
    attn_error err;
} fixture;

static void fixture_open(fixture *f, const char *source, int threads, size_t T)
{
    memset(f, 0, sizeof *f);
    f->rt = runtime_with(threads, NULL);
    f->model = open_model(f->rt, source);
    for (size_t i = 0; i < T; i++)
        f->g.ids[i] = (int32_t)(i * 37 % (attn_model_get_info(f->model)->vocab_size - 8)) + 8;
    f->g.in = (attn_model_input){ .T = T, .input_ids = f->g.ids };
    attn_runtime_enter(f->rt);
}

static void fixture_init(fixture *f, const char *name, int threads, size_t T)
{
    char source[64];
    snprintf(source, sizeof source, MODELS "%s", name);
    fixture_open(f, source, threads, T);
}

static void fixture_free(fixture *f)
{
    attn_runtime_leave(f->rt);
    attn_model_close(f->model);
    attn_runtime_free(f->rt);
}

static void run_fine(fixture *f, const attn_keep *keep, kept_run *run, size_t *peak)
{
    memset(run, 0, sizeof *run);
    attn_status st = run_kept(f->model, &f->g.in, keep, run, NULL, peak, &f->err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", f->err.where, f->err.text);
}

static void same_bits(const kept_run *a, const kept_run *b)
{
    ck_assert_uint_eq(a->num_layers, b->num_layers);
    for (size_t l = 0; l < a->num_layers; l++) {
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
            const kept_tensor *x = &a->tensors[l][o], *y = &b->tensors[l][o];
            ck_assert(x->heads == y->heads && x->rows == y->rows && x->cols == y->cols);
            ck_assert(!x->data || memcmp(x->data, y->data, x->heads * x->rows * x->cols * sizeof(float)) == 0);
        }
    }
}

START_TEST(every_output_agrees_with_transformers_in_float64)
{
    char source[64], golden[80];
    snprintf(source, sizeof source, MODELS "%s", models[_i]);
    snprintf(golden, sizeof golden, MODELS "%s/golden.json", models[_i]);
    golden_compare_model(source, golden);
}
END_TEST

START_TEST(info_says_what_the_files_say)
{
    static const struct {
        const char *architecture, *model_type;
        size_t layers, heads, hidden, embedding, max_tokens, segments, unused;
        uint64_t parameters;
    } cases[NUM_MODELS] = {
        { "DistilBertForMaskedLM", "distilbert", 2, 3, 24, 24, 40, 0, 5, 11040 }, { "RobertaForMaskedLM", "roberta", 2, 3, 24, 24, 38, 1, 5, 11064 },
        { "XLMRobertaModel", "xlm-roberta", 2, 3, 24, 24, 36, 2, 2, 11088 },      { "ElectraModel", "electra", 2, 3, 24, 10, 40, 2, 0, 9882 },
        { "ElectraForPreTraining", "electra", 1, 3, 24, 24, 40, 2, 4, 6804 },     { "AlbertModel", "albert", 3, 3, 24, 16, 40, 2, 2, 6372 },
        { "AlbertForMaskedLM", "albert", 18, 2, 12, 12, 40, 2, 5, 13792 },        { "MPNetForMaskedLM", "mpnet", 2, 3, 24, 24, 168, 0, 5, 13776 },
        { "ModernBertModel", "modernbert", 4, 4, 32, 32, 128, 0, 0, 37024 },      { "ModernBertModel", "modernbert", 4, 4, 32, 32, 128, 0, 0, 37024 },
        { "ModernBertModel", "modernbert", 4, 4, 32, 32, 128, 0, 0, 38336 },      { "DebertaV2ForMaskedLM", "deberta-v2", 2, 3, 24, 24, 40, 0, 5, 9936 },
        { "DebertaV2Model", "deberta-v2", 2, 3, 30, 30, 40, 2, 0, 19122 },        { "DebertaV2Model", "deberta-v2", 2, 3, 24, 24, 40, 1, 0, 11256 },
        { "DebertaV2Model", "deberta-v2", 2, 3, 24, 24, 40, 0, 0, 12528 },
    };
    fixture f;
    fixture_init(&f, models[_i], 1, 1);
    const attn_model_info *info = attn_model_get_info(f.model);
    ck_assert_str_eq(info->architecture, cases[_i].architecture);
    ck_assert_str_eq(info->model_type, cases[_i].model_type);
    ck_assert_uint_eq(info->num_hidden_layers, cases[_i].layers);
    ck_assert_uint_eq(info->num_attention_heads, cases[_i].heads);
    ck_assert_uint_eq(info->num_key_value_heads, cases[_i].heads);
    ck_assert_uint_eq(info->hidden_size, cases[_i].hidden);
    ck_assert_uint_eq(info->head_dim, cases[_i].hidden / cases[_i].heads);
    ck_assert_uint_eq(info->embedding_size, cases[_i].embedding);
    ck_assert_uint_eq(info->max_tokens, cases[_i].max_tokens);
    ck_assert_uint_eq(info->type_vocab_size, cases[_i].segments);
    ck_assert_uint_eq(info->outputs, everything);
    ck_assert_uint_eq(info->num_unused_tensors, cases[_i].unused);
    ck_assert_uint_eq(info->num_parameters, cases[_i].parameters);
    fixture_free(&f);
}
END_TEST

START_TEST(inputs_that_cannot_be_are_named)
{
    static const int32_t types[256] = { 0, 1 };
    fixture f;
    kept_run run = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) };
    fixture_init(&f, models[_i], 1, 200);
    const attn_model_info *info = attn_model_get_info(f.model);
    f.g.in.T = info->max_tokens + 1;
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &keep, &run, NULL, NULL, &f.err), ATTN_E_INPUT);
    ck_assert_str_eq(f.err.where, "input_ids");
    f.g.in.T = 2;
    f.g.in.token_type_ids = types;
    attn_error err = { 0 };
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &keep, &run, NULL, NULL, &err), info->type_vocab_size > 1 ? ATTN_OK : ATTN_E_INPUT);
    ck_assert_str_eq(err.where, info->type_vocab_size > 1 ? "" : "token_type_ids");
    ck_assert_str_eq(err.text, info->type_vocab_size == 0   ? "the model has no token types"
                               : info->type_vocab_size == 1 ? "number 1 is 1, the model's token types are 0 to 0"
                                                            : "");
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

START_TEST(bits_do_not_depend_on_the_number_of_threads)
{
    fixture f;
    kept_run one, five;
    attn_keep keep = { .outputs = everything };
    fixture_init(&f, models[_i], 1, 36);
    run_fine(&f, &keep, &one, NULL);
    fixture_free(&f);
    fixture_init(&f, models[_i], 5, 36);
    run_fine(&f, &keep, &five, NULL);
    same_bits(&one, &five);
    kept_free(&one);
    kept_free(&five);
    fixture_free(&f);
}
END_TEST

/* The padding's own position apart, positions are as if it were not there: a head of layer 0 whose mask hides it sees the same tokens. */
START_TEST(padding_before_a_text_moves_nothing)
{
    static const struct {
        const char *model;
        int32_t padding;
    } cases[] = { { "roberta", 1 }, { "xlm-roberta", 3 } };
    fixture f;
    kept_run plain, padded;
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) };
    fixture_init(&f, cases[_i].model, 1, 6);
    run_fine(&f, &keep, &plain, NULL);
    for (size_t i = 0; i < 8; i++) {
        f.g.ids[i] = i < 2 ? cases[_i].padding : f.g.ids[i];
        f.g.mask[i] = i >= 2;
    }
    for (size_t i = 0; i < 6; i++)
        f.g.ids[i + 2] = (int32_t)(i * 37 % (61 - 8)) + 8;
    f.g.in.T = 8;
    f.g.in.attention_mask = f.g.mask;
    run_fine(&f, &keep, &padded, NULL);
    for (size_t l = 0; l < plain.num_layers; l++)
        for (size_t h = 0; h < 3; h++)
            for (size_t i = 0; i < 6; i++)
                for (size_t j = 0; j < 6; j++)
                    ck_assert_double_eq_tol((double)padded.tensors[l][ATTN_ATTENTIONS].data[(h * 8 + i + 2) * 8 + j + 2],
                                            (double)plain.tensors[l][ATTN_ATTENTIONS].data[(h * 6 + i) * 6 + j], 2e-6);
    kept_free(&plain);
    kept_free(&padded);
    fixture_free(&f);
}
END_TEST

START_TEST(layers_that_share_weights_have_maps_of_their_own)
{
    fixture f;
    kept_run run;
    fixture_init(&f, "albert", 1, 7);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, &run, NULL);
    ck_assert_uint_eq(run.num_layers, 3);
    for (size_t l = 1; l < 3; l++)
        ck_assert(memcmp(run.tensors[l][ATTN_ATTENTIONS].data, run.tensors[l - 1][ATTN_ATTENTIONS].data, 3 * 7 * 7 * sizeof(float)) != 0);
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* Never below what is taken, and not half as much again above it (a page aside, for the smallest). */
START_TEST(the_price_covers_what_a_run_takes)
{
    static const int32_t first[] = { 0 };
    static const size_t lengths[] = { 1, 7, 36 };
    static const attn_outputs sets[] = { ATTN_BIT(ATTN_ATTENTIONS), ATTN_BIT(ATTN_KEY), ATTN_BIT(ATTN_VALUE_NORMS), ATTN_BIT(ATTN_HIDDEN_STATES),
                                         ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    fixture f;
    kept_run run;
    for (size_t i = 0; i < 3; i++) {
        fixture_init(&f, models[_i], 3, lengths[i]);
        for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
            for (int cut = 0; cut < 2; cut++) {
                size_t peak;
                attn_keep keep = { .outputs = sets[s], .layers = cut ? first : NULL, .num_layers = 1 };
                attn_price price = attn_model_price(f.model, &f.g.in, &keep);
                run_fine(&f, &keep, &run, &peak);
                kept_free(&run);
                ck_assert_msg(peak <= price.bytes, "T %zu, outputs %x, cut %d: took %zu, price %zu", lengths[i], sets[s], cut, peak, (size_t)price.bytes);
                ck_assert_msg((double)price.bytes <= 1.5 * (double)peak + 16384, "T %zu, outputs %x, cut %d: took %zu, price %zu", lengths[i], sets[s], cut,
                              peak, (size_t)price.bytes);
            }
        }
        fixture_free(&f);
    }
}
END_TEST

START_TEST(the_price_counts_the_projection_of_embeddings)
{
    static const int32_t first[] = { 0 };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_QUERY), .layers = first, .num_layers = 1 };
    fixture f;
    fixture_init(&f, "electra", 1, 10);
    ck_assert_uint_eq(attn_model_price(f.model, &f.g.in, &keep).flops, 2 * 10 * 24 * 24 + 2 * 10 * 24 * 10);
    fixture_free(&f);
    fixture_init(&f, "electra-wide", 1, 10);
    ck_assert_uint_eq(attn_model_price(f.model, &f.g.in, &keep).flops, 2 * 10 * 24 * 24);
    fixture_free(&f);
}
END_TEST

/* A pooled map goes another way through the rules than a whole one, and another still where nothing is masked. */
static void pooled_as_whole(fixture *f)
{
    static const attn_pool pool = { .size = 4, .mode = ATTN_REDUCE_MAX };
    kept_run whole, pooled;
    run_fine(f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, &whole, NULL);
    run_fine(f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS), .pool = &pool }, &pooled, NULL);
    for (size_t l = 0; l < whole.num_layers; l++) {
        const kept_tensor *w = &whole.tensors[l][ATTN_ATTENTIONS], *p = &pooled.tensors[l][ATTN_ATTENTIONS];
        ck_assert(p->rows == 4 && p->cols == 4 && p->heads == w->heads);
        for (size_t n = 0; n < p->heads * 16; n++) {
            size_t h = n / 16, a = n / 4 % 4, b = n % 4;
            double most = 0;
            for (size_t i = attn_pool_edge(33, 4, a); i < attn_pool_edge(33, 4, a + 1); i++)
                for (size_t j = attn_pool_edge(33, 4, b); j < attn_pool_edge(33, 4, b + 1); j++)
                    most = fmax(most, (double)w->data[(h * 33 + i) * 33 + j]);
            ck_assert_double_eq_tol((double)p->data[n], most, 2e-6);
        }
    }
    kept_free(&whole);
    kept_free(&pooled);
}

START_TEST(pooled_maps_are_pooled_of_whole_ones)
{
    fixture f;
    fixture_init(&f, models[_i], 2, 33);
    pooled_as_whole(&f);
    f.g.in.attention_mask = f.g.mask;
    for (size_t i = 0; i < 33; i++)
        f.g.mask[i] = i % 7 != 3;
    pooled_as_whole(&f);
    fixture_free(&f);
}
END_TEST

START_TEST(embeddings_too_large_for_a_norm_are_an_overflow)
{
    float embeds[2 * 32] = { 0 };
    kept_run run = { 0 };
    fixture f;
    fixture_init(&f, models[_i], 1, 2);
    f.g.in = (attn_model_input){ .T = 2, .inputs_embeds = embeds };
    embeds[2 * attn_model_get_info(f.model)->embedding_size - 1] = 3e18f;
    ck_assert_int_eq(run_kept(f.model, &f.g.in, &(attn_keep){ .outputs = 1 }, &run, NULL, NULL, &f.err), ATTN_E_OVERFLOW);
    ck_assert_str_eq(f.err.where, "hidden_states");
    fixture_free(&f);
}
END_TEST

/* The model's own embeddings, sent by hand, are the ids. */
START_TEST(embeddings_are_what_ids_look_up)
{
    char source[64];
    float embeds[9 * 32];
    attn_safetensors s;
    kept_run by_ids, by_hand;
    fixture f;
    fixture_init(&f, models[_i], 1, 9);
    size_t E = attn_model_get_info(f.model)->embedding_size, table = 0;
    run_fine(&f, &(attn_keep){ .outputs = everything }, &by_ids, NULL);
    snprintf(source, sizeof source, MODELS "%s", models[_i]);
    model_file file = file_read(source, "model.safetensors");
    ck_assert_int_eq(attn_safetensors_open(&s, file.bytes, file.size, "model.safetensors", &f.err), ATTN_OK);
    while (!strstr(s.tensors[table].name, "word_embeddings.weight") && !strstr(s.tensors[table].name, "tok_embeddings.weight"))
        ck_assert_uint_lt(++table, s.count);
    for (size_t t = 0; t < 9; t++)
        memcpy(embeds + t * E, s.tensors[table].data + (size_t)f.g.ids[t] * E * sizeof *embeds, E * sizeof *embeds);
    attn_safetensors_close(&s);
    free(file.bytes);
    f.g.in = (attn_model_input){ .T = 9, .inputs_embeds = embeds };
    run_fine(&f, &(attn_keep){ .outputs = everything }, &by_hand, NULL);
    same_bits(&by_ids, &by_hand);
    kept_free(&by_ids);
    kept_free(&by_hand);
    fixture_free(&f);
}
END_TEST

START_TEST(modernbert_sees_half_a_window_to_each_side)
{
    fixture f;
    kept_run run;
    fixture_init(&f, "modernbert", 1, 20); /* every third layer sees everything, the others 3 to each side */
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, &run, NULL);
    ck_assert_uint_eq(run.num_layers, 4);
    for (size_t l = 0; l < 4; l++)
        for (size_t n = 0; n < 4 * 20 * 20; n++) {
            size_t i = n / 20 % 20, j = n % 20;
            bool near = i <= j + 3 && j <= i + 3;
            ck_assert((run.tensors[l][ATTN_ATTENTIONS].data[n] > 0) == (l % 3 == 0 || near));
        }
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* Where BERT's hidden tokens still see the others, these do not, and are zeros to begin with. */
START_TEST(tokens_hidden_from_deberta_see_nothing)
{
    fixture f;
    kept_run run;
    size_t peak;
    attn_keep keep = { .outputs = everything };
    fixture_init(&f, "deberta-v2", 2, 36);
    for (size_t i = 0; i < 36; i++)
        f.g.mask[i] = i % 5 != 2;
    f.g.in.attention_mask = f.g.mask;
    attn_price price = attn_model_price(f.model, &f.g.in, &keep);
    run_fine(&f, &keep, &run, &peak);
    ck_assert_uint_le(peak, price.bytes);
    for (size_t n = 0; n < 36 * 24; n++)
        ck_assert((run.hidden[0].data[n] == 0) == !f.g.mask[n / 24]);
    for (size_t l = 0; l < run.num_layers; l++)
        for (size_t n = 0; n < 3 * 36 * 36; n++)
            ck_assert((run.tensors[l][ATTN_ATTENTIONS].data[n] > 0) == (f.g.mask[n / 36 % 36] && f.g.mask[n % 36]));
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* Keys and values as in the file of microsoft/deberta-v3-base, sizes apart. */
START_TEST(deberta_as_the_hub_has_it_means_the_same)
{
    static const char config[] =
        "{\"model_type\": \"deberta-v2\", \"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 24,"
        "\"initializer_range\": 0.02, \"intermediate_size\": 36, \"max_position_embeddings\": 40, \"relative_attention\": true, \"position_buckets\": 6,"
        "\"norm_rel_ebd\": \"layer_norm\", \"share_att_key\": true, \"pos_att_type\": \"p2c|c2p\", \"layer_norm_eps\": 1e-7, \"max_relative_positions\": -1,"
        "\"position_biased_input\": false, \"num_attention_heads\": 3, \"num_hidden_layers\": 2, \"type_vocab_size\": 0, \"vocab_size\": 41}";
    fixture f;
    kept_run now, then;
    fixture_init(&f, "deberta-v2", 1, 20);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &now, NULL);
    fixture_free(&f);
    model_copy copy = copy_model(MODELS "deberta-v2");
    file_write(copy.path, "config.json", config, strlen(config));
    fixture_open(&f, copy.path, 1, 20);
    remove_copy(&copy);
    ck_assert_str_eq(attn_model_get_info(f.model)->architecture, "DebertaV2Model");
    run_fine(&f, &(attn_keep){ .outputs = everything }, &then, NULL);
    same_bits(&now, &then);
    kept_free(&now);
    kept_free(&then);
    fixture_free(&f);
}
END_TEST

/* ---- files -------------------------------------------------------------------------------------------------------------- */

START_TEST(old_names_of_norms_are_known)
{
    static const struct {
        const char *model, *now, *then;
    } cases[] = {
        { "roberta", "roberta.embeddings.LayerNorm.bias", "roberta.embeddings.LayerNorm.beta" },
        { "electra", "encoder.layer.1.output.LayerNorm.weight", "encoder.layer.1.output.LayerNorm.gamma" },
        { "mpnet", "attention.LayerNorm.weight", "attention.LayerNorm.gamma" },
    };
    fixture f;
    kept_run now, then;
    fixture_init(&f, cases[_i].model, 1, 9);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &now, NULL);
    fixture_free(&f);
    char source[64];
    snprintf(source, sizeof source, MODELS "%s", cases[_i].model);
    model_copy copy = copy_model(source);
    file_replace(&copy, "model.safetensors", cases[_i].now, cases[_i].then);
    fixture_open(&f, copy.path, 1, 9);
    remove_copy(&copy);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &then, NULL);
    same_bits(&now, &then);
    kept_free(&now);
    kept_free(&then);
    fixture_free(&f);
}
END_TEST

#define CONFIG  "config.json"
#define WEIGHTS "model.safetensors"

static const struct {
    const char *model, *file, *find, *with;
    attn_status status;
    const char *where, *text;
} broken[] = {
    { "distilbert", CONFIG, "\"dim\": 24,", "", ATTN_E_FORMAT, "config.json: dim", "is missing, must be an integer from 1 to 65536" },
    { "distilbert", CONFIG, "\"n_heads\": 3", "\"n_heads\": 5", ATTN_E_FORMAT, "config.json: n_heads", "is 5, which does not divide dim, 24" },
    { "distilbert", CONFIG, "\"n_layers\": 2", "\"n_layers\": 3", ATTN_E_FORMAT, "model.safetensors: distilbert.transformer.layer.2.attention.q_lin.weight",
      "the tensor is missing, expected [24, 24]" },
    { "distilbert", CONFIG, "\"gelu\"", "\"mish\"", ATTN_E_UNSUPPORTED, "config.json: activation", "is \"mish\"" },
    { "distilbert", WEIGHTS, "sa_layer_norm.bias", "sa_layer_norm.bios", ATTN_E_FORMAT, "model.safetensors: distilbert.transformer.layer.0.sa_layer_norm.bias",
      "the tensor is missing, expected [24]" },
    { "roberta", CONFIG, "\"pad_token_id\": 1", "\"pad_token_id\": null", ATTN_E_FORMAT, "config.json: pad_token_id", "is null" },
    { "roberta", CONFIG, "\"pad_token_id\": 1", "\"pad_token_id\": -1", ATTN_E_FORMAT, "config.json: pad_token_id", "is -1" },
    { "roberta", CONFIG, "\"pad_token_id\": 1", "\"pad_token_id\": 39", ATTN_E_FORMAT, "config.json: max_position_embeddings",
      "is 40, and positions count from 40: none is left for a token" },
    { "roberta", CONFIG, "\"is_decoder\": false", "\"is_decoder\": true", ATTN_E_UNSUPPORTED, "config.json: is_decoder", "is true" },
    { "roberta", CONFIG, "\"type_vocab_size\": 1", "\"type_vocab_size\": 0", ATTN_E_FORMAT, "config.json: type_vocab_size", "is 0" },
    { "xlm-roberta", CONFIG, "\"use_cache\"", "\"position_embedding_type\": \"relative_key_query\", \"use_cache\"", ATTN_E_UNSUPPORTED,
      "config.json: position_embedding_type", "is \"relative_key_query\"" },
    { "electra", CONFIG, "\"embedding_size\": 10,", "", ATTN_E_FORMAT, "config.json: embedding_size", "is missing" },
    { "electra", CONFIG, "\"embedding_size\": 10", "\"embedding_size\": 24", ATTN_E_FORMAT, "model.safetensors: embeddings.word_embeddings.weight",
      "shape is [61, 10], expected [61, 24]" },
    { "electra", WEIGHTS, "embeddings_project.bias", "embeddings_project.bios", ATTN_E_FORMAT, "model.safetensors: embeddings_project.bias",
      "the tensor is missing, expected [24]" },
    { "electra", WEIGHTS, "\"shape\":[24,10]", "\"shape\":[10,24]", ATTN_E_FORMAT, "model.safetensors: embeddings_project.weight",
      "shape is [10, 24], expected [24, 10]" },
    { "albert", CONFIG, "\"num_hidden_groups\": 1", "\"num_hidden_groups\": 2", ATTN_E_FORMAT,
      "model.safetensors: encoder.albert_layer_groups.1.albert_layers.0.attention.query.weight", "the tensor is missing, expected [24, 24]" },
    { "albert", CONFIG, "\"num_hidden_groups\": 1", "\"num_hidden_groups\": 4", ATTN_E_FORMAT, "config.json: num_hidden_groups",
      "is 4, must be an integer from 1 to 3" },
    { "albert", CONFIG, "\"num_hidden_groups\": 1", "\"num_hidden_groups\": 0", ATTN_E_FORMAT, "config.json: num_hidden_groups", "is 0" },
    { "albert", CONFIG, "\"inner_group_num\": 1", "\"inner_group_num\": 2", ATTN_E_FORMAT, "config.json: inner_group_num", "is 2" },
    { "albert-groups", WEIGHTS, "encoder.embedding_hidden_mapping_in.weight", "encoder.embedding_hidden_mapping_on.weight", ATTN_E_FORMAT,
      "model.safetensors: albert.encoder.embedding_hidden_mapping_in.weight", "the tensor is missing, expected [12, 12]" },
    { "mpnet", CONFIG, "\"relative_attention_num_buckets\": 32", "\"relative_attention_num_buckets\": 16", ATTN_E_FORMAT,
      "config.json: relative_attention_num_buckets", "is 16" },
    { "mpnet", CONFIG, "\"max_position_embeddings\": 170", "\"max_position_embeddings\": 2", ATTN_E_FORMAT, "config.json: max_position_embeddings",
      "none is left" },
    { "mpnet", WEIGHTS, "relative_attention_bias", "relative_attention_bios", ATTN_E_FORMAT, "model.safetensors: mpnet.encoder.relative_attention_bias.weight",
      "the tensor is missing, expected [32, 3]" },
    { "modernbert", CONFIG, "\"local_attention\": 6,", "", ATTN_E_FORMAT, "config.json: local_attention", "is missing" },
    { "modernbert", CONFIG, "\"sliding_attention\",", "\"chunked_attention\",", ATTN_E_UNSUPPORTED, "config.json: layer_types", "chunked_attention" },
    { "modernbert", CONFIG, "\"rope_type\": \"default\"", "\"rope_type\": \"spiral\"", ATTN_E_UNSUPPORTED, "config.json: full_attention.rope_type",
      "is \"spiral\"" },
    { "modernbert", CONFIG, "\"norm_eps\": 1e-05", "\"norm_eps\": 0", ATTN_E_FORMAT, "config.json: norm_eps", "is 0" },
    { "modernbert", CONFIG, "\"num_attention_heads\": 4", "\"num_attention_heads\": 32", ATTN_E_UNSUPPORTED, "config.json: head_dim",
      "1 columns of a head cannot be rotated in pairs" },
    { "modernbert", CONFIG, "\"attention_bias\": false", "\"attention_bias\": true", ATTN_E_FORMAT, "model.safetensors: layers.0.attn.Wqkv.bias",
      "the tensor is missing, expected [96]" },
    { "modernbert", CONFIG, "\"norm_bias\": false", "\"norm_bias\": 1", ATTN_E_FORMAT, "config.json: norm_bias", "is 1" },
    { "modernbert-legacy", CONFIG, "\"global_attn_every_n_layers\": 2", "\"global_attn_every_n_layers\": 0", ATTN_E_FORMAT,
      "config.json: global_attn_every_n_layers", "is 0" },
    { "modernbert-legacy", CONFIG, "\"local_rope_theta\": 70.0", "\"local_rope_theta\": -70.0", ATTN_E_FORMAT, "config.json: local_rope_theta", "is -70" },
    { "deberta-v2", CONFIG, "{", "{\"conv_kernel_size\": 3, ", ATTN_E_UNSUPPORTED, "config.json: conv_kernel_size", "is 3, only 0 is supported" },
    { "deberta-v2", CONFIG, "{", "{\"embedding_size\": 10, ", ATTN_E_UNSUPPORTED, "config.json: embedding_size", "is 10, only 24 is supported" },
    { "deberta-v2", CONFIG, "{", "{\"attention_head_size\": 10, ", ATTN_E_UNSUPPORTED, "config.json: attention_head_size", "is 10, only 8 is supported" },
    { "deberta-v2", CONFIG, "\"c2p\"", "\"p2p\"", ATTN_E_UNSUPPORTED, "config.json: pos_att_type", "not known here" },
    { "deberta-v2", CONFIG, "\"c2p\"", "\"c2p\", \"c2p\"", ATTN_E_FORMAT, "config.json: pos_att_type", "must be an array of 2" },
    { "deberta-v2", CONFIG, "\"pos_att_type\": [", "\"pos_att_type\": \"c2p|p2p\", \"_\": [", ATTN_E_UNSUPPORTED, "config.json: pos_att_type",
      "is \"c2p|p2p\"" },
    { "deberta-v2", CONFIG, "\"layer_norm\"", "\"batch_norm\"", ATTN_E_UNSUPPORTED, "config.json: norm_rel_ebd", "is \"batch_norm\"" },
    { "deberta-v2", CONFIG, "\"position_buckets\": 6", "\"position_buckets\": 1", ATTN_E_FORMAT, "config.json: position_buckets", "must be at least 2" },
    { "deberta-v2", CONFIG, "\"position_buckets\": 6", "\"position_buckets\": 78", ATTN_E_FORMAT, "config.json: position_buckets", "too many for the 40" },
    { "deberta-v2", CONFIG, "\"position_buckets\": 6", "\"position_buckets\": 8", ATTN_E_FORMAT, "model.safetensors: deberta.encoder.rel_embeddings.weight",
      "shape is [12, 24], expected [16, 24]" },
    { "deberta-v2", CONFIG, "\"share_att_key\": true", "\"share_att_key\": false", ATTN_E_FORMAT,
      "model.safetensors: deberta.encoder.layer.0.attention.self.pos_key_proj.weight", "the tensor is missing" },
    { "deberta-v2-own", WEIGHTS, "pos_query_proj.bias", "pos_query_proj.bios", ATTN_E_FORMAT,
      "model.safetensors: encoder.layer.0.attention.self.pos_query_proj.bias", "the tensor is missing, expected [30]" },
    { "deberta-v2-own", CONFIG, "\"position_biased_input\": true", "\"position_biased_input\": 1", ATTN_E_FORMAT, "config.json: position_biased_input",
      "is 1" },
    { "modernbert-legacy", WEIGHTS, "layers.1.attn_norm.weight", "layers.0.attn_norm.weight", ATTN_E_FORMAT, "model.safetensors: layers.1.attn_norm.weight",
      "the tensor is missing, expected [32]" },
};
enum { NUM_BROKEN = sizeof broken / sizeof *broken };

START_TEST(a_broken_model_is_refused_by_name)
{
    char source[64];
    attn_error err = { 0 };
    attn_model *m = NULL;
    attn_runtime *rt = runtime_with(1, NULL);
    snprintf(source, sizeof source, MODELS "%s", broken[_i].model);
    model_copy copy = copy_model(source);
    file_replace(&copy, broken[_i].file, broken[_i].find, broken[_i].with);
    attn_status st = attn_model_open(&m, rt, copy.path, &err);
    remove_copy(&copy);
    ck_assert_msg(st == broken[_i].status && strcmp(err.where, broken[_i].where) == 0 && strstr(err.text, broken[_i].text), "%s: %s", err.where, err.text);
    ck_assert_ptr_null(m);
    attn_runtime_free(rt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encoders");
    TCase *all = tcase_create("all"), *own = tcase_create("own"), *files = tcase_create("files");
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, every_output_agrees_with_transformers_in_float64, 0, NUM_MODELS);
    tcase_add_loop_test(all, info_says_what_the_files_say, 0, NUM_MODELS);
    tcase_add_loop_test(all, inputs_that_cannot_be_are_named, 0, NUM_MODELS);
    tcase_add_loop_test(all, bits_do_not_depend_on_the_number_of_threads, 0, NUM_MODELS);
    tcase_add_loop_test(all, the_price_covers_what_a_run_takes, 0, NUM_MODELS);
    tcase_add_loop_test(all, pooled_maps_are_pooled_of_whole_ones, 0, NUM_MODELS);
    tcase_add_loop_test(all, embeddings_too_large_for_a_norm_are_an_overflow, 0, NUM_MODELS);
    tcase_add_loop_test(all, embeddings_are_what_ids_look_up, 0, NUM_MODELS);
    tcase_add_test(own, modernbert_sees_half_a_window_to_each_side);
    tcase_add_test(own, tokens_hidden_from_deberta_see_nothing);
    tcase_add_test(own, deberta_as_the_hub_has_it_means_the_same);
    tcase_add_loop_test(own, padding_before_a_text_moves_nothing, 0, 2);
    tcase_add_test(own, layers_that_share_weights_have_maps_of_their_own);
    tcase_add_test(own, the_price_counts_the_projection_of_embeddings);
    tcase_add_loop_test(files, old_names_of_norms_are_known, 0, 3);
    tcase_add_loop_test(files, a_broken_model_is_refused_by_name, 0, NUM_BROKEN);
    suite_add_tcase(suite, all);
    suite_add_tcase(suite, own);
    suite_add_tcase(suite, files);
    return unit_main(suite);
}
