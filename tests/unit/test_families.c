/* test_families.c - families that write from left to right, against transformers in float64 (tests/golden/make_family_goldens.py), and what their forms promise.
 * SPDX-License-Identifier: Apache-2.0 */
#include "golden_case.h"
#include "model_files.h"

#define AT(name) "tests/golden/models/" name
static const char *const models[] = { "llama",
                                      "llama-2",
                                      "llama-llama3",
                                      "llama-linear",
                                      "llama-yarn",
                                      "llama-dynamic",
                                      "mistral",
                                      "qwen2",
                                      "qwen2-window",
                                      "qwen3",
                                      "qwen3-2",
                                      "smollm3",
                                      "gpt2",
                                      "gpt2-2",
                                      "gpt2-bare",
                                      "gemma",
                                      "gemma2",
                                      "gemma2-2",
                                      "gemma3",
                                      "gemma3-legacy",
                                      "phi",
                                      "phi-qknorm",
                                      "phi3",
                                      "phi3-longrope",
                                      "gpt-neox",
                                      "gpt-neox-legacy",
                                      "bloom",
                                      "falcon",
                                      "falcon-new",
                                      "falcon-one-norm",
                                      "falcon-sequential",
                                      "falcon-alibi",
                                      "olmo2",
                                      "olmo2-2",
                                      "olmo2-wide",
                                      "gptj",
                                      "gptj-2",
                                      "opt",
                                      "opt-2",
                                      "opt-postln",
                                      "mpt",
                                      "mpt-clip" };
enum { NUM_MODELS = sizeof models / sizeof *models };

static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;

START_TEST(every_output_agrees_with_transformers_in_float64)
{
    char source[128], golden[160];
    snprintf(source, sizeof source, AT("%s"), models[_i]);
    snprintf(golden, sizeof golden, "%s/golden.json", source);
    golden_compare_model(source, golden);
}
END_TEST

/* Trained ones, which lie beside the repository: Karpathy's 260,000-parameter storyteller, and bbycroft's sorter of three letters. */
START_TEST(trained_models_agree_as_well)
{
    static const char *const names[] = { "stories260k", "gpt-nano-sort" };
    const char *shared = getenv("ATTND_SHARED") ? getenv("ATTND_SHARED") : "../shared";
    char source[256], golden[300];
    double worst[ATTN_OUTPUT_COUNT] = { 0 };
    snprintf(source, sizeof source, "%s/data/models/%s", shared, names[_i]);
    snprintf(golden, sizeof golden, "%s/golden.json", source);
    if (access(golden, R_OK) != 0) {
        printf("SKIPPED %s: it is not there\n", source);
        ck_assert_msg(!getenv("CI"), "CI needs %s", source);
        return;
    }
    attn_runtime *rt = runtime_with(2, NULL);
    attn_model *m = open_model(rt, source);
    json_t *doc = load_json(golden), *cases = json_object_get(doc, "cases"), *c;
    size_t i;
    attn_runtime_enter(rt);
    json_array_foreach(cases, i, c)
    {
        json_object_del(c, "key"); /* of fewer heads than in the wire contract */
        json_object_del(c, "value");
        golden_compare_case(m, c, worst);
    }
    attn_runtime_leave(rt);
    printf("%-16s worst: attentions %.1e hidden_states %.1e\n", names[_i], worst[ATTN_ATTENTIONS], worst[ATTN_HIDDEN_STATES]);
    json_decref(doc);
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

/* ---- promises ------------------------------------------------------------------------------------------------------------- */

/* One of each way to attend, to norm, to rotate and to be priced. */
static const char *const kinds[] = { AT("llama"),    AT("qwen3"), AT("gpt2"),       AT("gemma2"), AT("gemma3"), AT("phi-qknorm"), AT("phi3-longrope"),
                                     AT("gpt-neox"), AT("bloom"), AT("falcon-new"), AT("olmo2"),  AT("gptj"),   AT("opt"),        AT("opt-postln") };
enum { NUM_KINDS = sizeof kinds / sizeof *kinds };

typedef struct fixture {
    attn_runtime *rt;
    attn_model *model;
    golden_input g;
} fixture;

static void fixture_init(fixture *f, const char *source, int threads, size_t T)
{
    memset(f, 0, sizeof *f);
    f->rt = runtime_with(threads, NULL);
    f->model = open_model(f->rt, source);
    for (size_t i = 0; i < T; i++)
        f->g.ids[i] = (int32_t)(i * 37 % 50) + 3;
    f->g.in = (attn_model_input){ .T = T, .input_ids = f->g.ids };
    attn_runtime_enter(f->rt);
}

static void fixture_free(fixture *f)
{
    attn_runtime_leave(f->rt);
    attn_model_close(f->model);
    attn_runtime_free(f->rt);
}

static size_t run_fine(fixture *f, const attn_keep *keep, kept_run *run)
{
    size_t peak;
    attn_error err = { 0 };
    memset(run, 0, sizeof *run);
    attn_status st = run_kept(f->model, &f->g.in, keep, run, NULL, &peak, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
    return peak;
}

static void same_tensor(const kept_tensor *a, const kept_tensor *b, size_t head)
{
    size_t n = a->rows * a->cols;
    ck_assert_uint_eq(n, b->rows * b->cols);
    ck_assert_int_eq(memcmp(a->data, b->data + (b->heads > 1 ? head : 0) * n, n * sizeof(float)), 0);
}

START_TEST(bits_depend_neither_on_threads_nor_on_what_else_is_asked_for)
{
    static const int32_t layers[] = { 2, 1 }, heads[] = { 1 };
    kept_run all, some;
    fixture f;
    fixture_init(&f, kinds[_i], 1, 60);
    run_fine(&f, &(attn_keep){ .outputs = everything }, &all);
    fixture_free(&f);
    fixture_init(&f, kinds[_i], 5, 60);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(o), .layers = layers, .num_layers = 2, .heads = heads, .num_heads = 1 }, &some);
        for (size_t l = 0; l < some.num_layers; l++)
            same_tensor(&some.tensors[l][o], &all.tensors[some.layers[l]][o], 1);
        ck_assert_uint_eq(some.num_states, o == ATTN_HIDDEN_STATES ? 2 : 0);
        for (size_t s = 0; s < some.num_states; s++)
            same_tensor(&some.hidden[s], &all.hidden[some.states[s]], 0);
        kept_free(&some);
    }
    kept_free(&all);
    fixture_free(&f);
}
END_TEST

START_TEST(the_price_covers_what_a_run_takes)
{
    static const int32_t layers[] = { 1 };
    static const size_t lengths[] = { 1, 9, 64 };
    static const int threads[] = { 1, 5 };
    static const attn_outputs sets[] = { ATTN_BIT(ATTN_ATTENTIONS),     ATTN_BIT(ATTN_CONTEXT),       ATTN_BIT(ATTN_KEY), ATTN_BIT(ATTN_ATTN_OUTPUT),
                                         ATTN_BIT(ATTN_WEIGHTED_NORMS), ATTN_BIT(ATTN_HIDDEN_STATES), ATTN_MAP_OUTPUTS,   ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    for (size_t i = 0; i < 6; i++) {
        fixture f;
        fixture_init(&f, kinds[_i], threads[i % 2], lengths[i / 2]);
        for (size_t s = 0; s < 2 * (sizeof sets / sizeof *sets); s++) {
            kept_run run;
            attn_keep keep = { .outputs = sets[s / 2], .layers = s % 2 ? layers : NULL, .num_layers = 1 };
            attn_price price = attn_model_price(f.model, &f.g.in, &keep);
            size_t peak = run_fine(&f, &keep, &run);
            kept_free(&run);
            ck_assert_msg(peak <= price.bytes, "%s, T %zu, set %zu: took %zu, price %zu", kinds[_i], lengths[i / 2], s, peak, (size_t)price.bytes);
            ck_assert_msg((double)price.bytes <= 1.5 * (double)peak + 16384, "%s, T %zu, set %zu: took %zu, price %zu", kinds[_i], lengths[i / 2], s, peak,
                          (size_t)price.bytes);
        }
        fixture_free(&f);
    }
}
END_TEST

START_TEST(what_comes_later_changes_nothing_before)
{
    kept_run one, other;
    fixture f;
    fixture_init(&f, kinds[_i], 2, 12);
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_HIDDEN_STATES) }, &one);
    f.g.ids[11] = 40;
    run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_HIDDEN_STATES) }, &other);
    for (size_t l = 0; l < one.num_layers; l++)
        for (size_t row = 0; row < one.tensors[l][ATTN_ATTENTIONS].heads * 12; row++) {
            const float *a = one.tensors[l][ATTN_ATTENTIONS].data + row * 12, *b = other.tensors[l][ATTN_ATTENTIONS].data + row * 12;
            for (size_t j = row % 12 + 1; j < 12; j++)
                ck_assert(a[j] == 0);
            ck_assert(row % 12 == 11 || memcmp(a, b, 12 * sizeof *a) == 0);
        }
    for (size_t s = 0; s < one.num_states; s++)
        ck_assert_int_eq(memcmp(one.hidden[s].data, other.hidden[s].data, 11 * one.hidden[s].cols * sizeof(float)), 0);
    kept_free(&one);
    kept_free(&other);
    fixture_free(&f);
}
END_TEST

START_TEST(windows_are_where_the_file_has_them)
{
    static const struct {
        const char *source;
        size_t windows[4]; /* tokens seen at most, by layer; 0: all */
    } cases[] = { { AT("llama"), { 0, 0, 0 } },
                  { AT("mistral"), { 5, 5, 5 } },
                  { AT("qwen2"), { 0, 0, 0 } },
                  { AT("qwen2-window"), { 0, 5, 5 } },
                  { AT("gemma2"), { 5, 0, 5, 0 } },
                  { AT("gemma3"), { 5, 5, 0, 5 } },
                  { AT("gemma3-legacy"), { 5, 0, 5, 0 } },
                  { AT("phi3"), { 6, 6, 6 } } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kept_run run;
        fixture f;
        fixture_init(&f, cases[i].source, 1, 14);
        run_fine(&f, &(attn_keep){ .outputs = ATTN_BIT(ATTN_SCORES) }, &run);
        for (size_t l = 0; l < run.num_layers; l++)
            for (size_t row = 0; row < 14; row++) {
                size_t seen = 0, window = cases[i].windows[l] ? cases[i].windows[l] : 14;
                for (size_t j = 0; j < 14; j++)
                    seen += isfinite(run.tensors[l][ATTN_SCORES].data[row * 14 + j]) != 0;
                ck_assert_uint_eq(seen, row + 1 < window ? row + 1 : window);
            }
        kept_free(&run);
        fixture_free(&f);
    }
}
END_TEST

/* ---- what is said of a model ---------------------------------------------------------------------------------------------- */

START_TEST(info_says_what_the_files_say)
{
    static const struct {
        const char *source, *architecture, *model_type;
        size_t layers, heads, shared, head_dim, hidden, max_tokens, unused;
    } cases[] = {
        { AT("llama"), "LlamaForCausalLM", "llama", 3, 4, 2, 8, 32, 128, 1 }, /* an old inv_freq */
        { AT("llama-linear"), "LlamaForCausalLM", "llama", 3, 4, 2, 12, 32, 128, 0 },
        { AT("llama-dynamic"), "LlamaForCausalLM", "llama", 3, 4, 2, 8, 32, 32, 0 }, /* twice the 16 that it was made for */
        { AT("mistral"), "MistralForCausalLM", "mistral", 3, 4, 2, 8, 32, 128, 0 },
        { AT("qwen3"), "Qwen3ForCausalLM", "qwen3", 3, 4, 2, 16, 32, 128, 0 },
        { AT("gpt2"), "GPT2LMHeadModel", "gpt2", 3, 4, 4, 8, 32, 64, 2 }, /* old attn.bias and masked_bias */
        { AT("gpt2-bare"), "GPT2Model", "gpt2", 3, 4, 4, 8, 32, 64, 0 },
        { AT("gemma"), "GemmaForCausalLM", "gemma", 3, 4, 1, 16, 32, 128, 0 },
        { AT("gemma3"), "Gemma3ForCausalLM", "gemma3_text", 4, 4, 2, 16, 32, 128, 0 },
        { AT("gpt-neox"), "GPTNeoXForCausalLM", "gpt_neox", 3, 2, 2, 16, 32, 64, 0 },
        { AT("bloom"), "BloomForCausalLM", "bloom", 3, 6, 6, 6, 36, 2048, 0 },
        { AT("falcon-alibi"), "FalconForCausalLM", "falcon", 2, 12, 12, 3, 36, 2048, 0 },
        { AT("olmo2"), "Olmo2ForCausalLM", "olmo2", 3, 4, 2, 8, 32, 128, 0 },
        { AT("olmo2-wide"), "Olmo2ForCausalLM", "olmo2", 2, 3, 1, 10, 28, 128, 0 },
        { AT("gptj"), "GPTJForCausalLM", "gptj", 3, 4, 4, 10, 40, 64, 0 },
        { AT("opt"), "OPTForCausalLM", "opt", 3, 3, 3, 12, 36, 64, 0 },
        { AT("opt-postln"), "OPTForCausalLM", "opt", 3, 4, 4, 8, 32, 64, 0 },
        { AT("mpt"), "MptForCausalLM", "mpt", 2, 6, 6, 6, 36, 64, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        fixture_init(&f, cases[i].source, 1, 1);
        const attn_model_info *info = attn_model_get_info(f.model);
        ck_assert_str_eq(info->architecture, cases[i].architecture);
        ck_assert_str_eq(info->model_type, cases[i].model_type);
        ck_assert_uint_eq(info->num_hidden_layers, cases[i].layers);
        ck_assert_uint_eq(info->num_attention_heads, cases[i].heads);
        ck_assert_uint_eq(info->num_key_value_heads, cases[i].shared);
        ck_assert_uint_eq(info->head_dim, cases[i].head_dim);
        ck_assert_uint_eq(info->hidden_size, cases[i].hidden);
        ck_assert_uint_eq(info->max_tokens, cases[i].max_tokens);
        ck_assert_uint_eq(info->vocab_size, 60);
        ck_assert_uint_eq(info->type_vocab_size, 0);
        ck_assert_msg(info->num_unused_tensors == cases[i].unused, "%s: %zu unused", cases[i].source, info->num_unused_tensors);
        ck_assert_uint_eq(info->outputs, everything);
        fixture_free(&f);
    }
}
END_TEST

/* Fused tensors are counted once. */
START_TEST(parameters_are_those_of_the_tensors_used)
{
    fixture f;
    uint64_t layer = 2 * 64 + 96 * 33 + 32 * 33 + 128 * 33 + 32 * 129;
    fixture_init(&f, AT("gpt2"), 1, 1);
    ck_assert_uint_eq(attn_model_get_info(f.model)->num_parameters, 60 * 32 + 64 * 32 + 64 + 3 * layer);
    fixture_free(&f);
}
END_TEST

/* ---- what a family does not have is refused ------------------------------------------------------------------------------- */

START_TEST(keys_that_ask_for_another_formula_are_refused_by_name)
{
    static const struct {
        const char *source, *find, *replace;
        attn_status status;
        const char *where, *text;
    } cases[] = {
        { AT("llama"), "\"rope_type\": \"default\"", "\"rope_type\": \"ntk\"", ATTN_E_UNSUPPORTED, "rope_parameters.rope_type",
          "is \"ntk\", known are: default" },
        { AT("llama"), "\"rope_type\": \"default\"", "\"rope_type\": \"linear\"", ATTN_E_FORMAT, "rope_parameters.factor", "is missing" },
        { AT("llama"), "\"rope_type\": \"default\"", "\"rope_type\": \"default\", \"twist\": 2", ATTN_E_UNSUPPORTED, "rope_parameters.twist", "is 2" },
        { AT("llama"), "\"rope_theta\": 500.0", "\"rope_theta\": 0", ATTN_E_FORMAT, "rope_parameters.rope_theta", "is 0" },
        { AT("llama"), "\"head_dim\": 8", "\"head_dim\": 7, \"rope_scaling\": {}", ATTN_E_UNSUPPORTED, "", "7 columns of a head cannot be rotated in pairs" },
        { AT("llama"), "\"mlp_bias\": false", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", ATTN_E_UNSUPPORTED, "rope_scaling", "not supported" },
        { AT("llama"), "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", ATTN_E_FORMAT, "num_key_value_heads",
          "does not divide num_attention_heads" },
        { AT("llama"), "\"attention_bias\": false", "\"attention_bias\": 1", ATTN_E_FORMAT, "attention_bias", "must be true or false" },
        { AT("llama"), "\"mlp_bias\": false", "\"quantization_config\": {\"bits\": 4}", ATTN_E_UNSUPPORTED, "quantization_config", "not supported" },
        { AT("llama-llama3"), "\"low_freq_factor\": 1.0", "\"low_freq_factor\": 4.0", ATTN_E_FORMAT, "rope_scaling.high_freq_factor", "is 4.0" },
        { AT("llama-llama3"), "\"factor\": 4.0", "\"factor\": 0.5", ATTN_E_FORMAT, "rope_scaling.factor", "is 0.5" },
        { AT("mistral"), "\"sliding_window\": 5", "\"sliding_window\": 0", ATTN_E_FORMAT, "sliding_window", "is 0" },
        { AT("qwen3"), "\"full_attention\"", "\"chunked_attention\"", ATTN_E_UNSUPPORTED, "layer_types", "not known here" },
        { AT("qwen3"), "\"full_attention\",", "", ATTN_E_FORMAT, "layer_types", "must be an array of 3" },
        { AT("gpt2"), "\"add_cross_attention\": false", "\"add_cross_attention\": true", ATTN_E_UNSUPPORTED, "add_cross_attention", "not supported" },
        { AT("gemma2"), "\"use_bidirectional_attention\": null", "\"use_bidirectional_attention\": true", ATTN_E_UNSUPPORTED, "use_bidirectional_attention",
          "is true" },
        { AT("gemma2"), "\"attn_logit_softcapping\": 3.0", "\"attn_logit_softcapping\": -1", ATTN_E_FORMAT, "attn_logit_softcapping", "is -1" },
        { AT("gemma2"), "\"head_dim\": 16,", "", ATTN_E_FORMAT, "head_dim", "is missing" },
        { AT("gemma3"), "\"rope_type\": \"linear\"", "\"rope_type\": \"linear\", \"x\": 1", ATTN_E_UNSUPPORTED, "full_attention.x", "is 1" },
        { AT("phi3"), "\"rope_type\": \"default\"", "\"rope_type\": \"linear\", \"factor\": 2", ATTN_E_UNSUPPORTED, "rope_scaling", "known are: longrope" },
        { AT("phi3-longrope"), "\"original_max_position_embeddings\": 16,", "", ATTN_E_FORMAT, "original_max_position_embeddings", "is missing" },
        { AT("llama"), "\"mlp_bias\": false", "\"partial_rotary_factor\": 0.5", ATTN_E_UNSUPPORTED, "partial_rotary_factor", "whole heads" },
        { AT("gemma3"), "\"rope_type\": \"linear\"", "\"rope_type\": \"linear\", \"partial_rotary_factor\": 0.5", ATTN_E_UNSUPPORTED, "partial_rotary_factor",
          "whole heads" },
        { AT("phi3-longrope"), "\"long_factor\": [", "\"long_factor\": [1.0, ", ATTN_E_FORMAT, "rope_scaling.long_factor", "must be an array of 2" },
        { AT("falcon-alibi"), "\"alibi\": true", "\"alibi\": true, \"apply_residual_connection_post_layernorm\": true", ATTN_E_UNSUPPORTED,
          "apply_residual_connection_post_layernorm", "is true" },
        { AT("olmo2"), "\"attention_bias\": false", "\"attention_bias\": true", ATTN_E_FORMAT, "layers.0.self_attn.q_proj.bias", "missing" },
        { AT("olmo2-wide"), "\"head_dim\": 10", "\"head_dim\": 11", ATTN_E_UNSUPPORTED, "head_dim", "11 columns of a head" },
        { AT("gptj"), "\"rotary_dim\": 6", "\"rotary_dim\": 5", ATTN_E_UNSUPPORTED, "rotary_dim", "5 columns of a head cannot be rotated in pairs" },
        { AT("gptj"), "\"rotary_dim\": 6", "\"rotary_dim\": 12", ATTN_E_FORMAT, "rotary_dim", "must be an integer from 1 to 10" },
        { AT("gptj"), "\"rotary_dim\": 6", "\"rotary_dim\": null", ATTN_E_FORMAT, "rotary_dim", "is null" },
        { AT("gptj"), "\"n_layer\"", "\"rotary\": false, \"n_layer\"", ATTN_E_UNSUPPORTED, "rotary", "is false" },
        { AT("gptj"), "\"n_layer\"", "\"scale_attn_weights\": false, \"n_layer\"", ATTN_E_UNSUPPORTED, "scale_attn_weights", "is false" },
        { AT("gptj"), "\"n_layer\"", "\"rope_scaling\": {\"factor\": 2}, \"n_layer\"", ATTN_E_UNSUPPORTED, "rope_scaling", "not supported" },
        { AT("opt"), "\"layer_norm_elementwise_affine\": true", "\"layer_norm_elementwise_affine\": false", ATTN_E_UNSUPPORTED, "layer_norm_elementwise_affine",
          "is false" },
        { AT("opt"), "\"do_layer_norm_before\": true", "\"do_layer_norm_before\": 1", ATTN_E_FORMAT, "do_layer_norm_before", "must be true or false" },
        { AT("opt"), "\"word_embed_proj_dim\": 36", "\"word_embed_proj_dim\": 12", ATTN_E_FORMAT, "decoder.embed_tokens.weight", "expected [60, 12]" },
        { AT("opt-postln"), "\"do_layer_norm_before\": false", "\"do_layer_norm_before\": true", ATTN_E_FORMAT, "decoder.final_layer_norm.weight", "missing" },
        { AT("mpt"), "\"alibi\": true", "\"alibi\": false", ATTN_E_UNSUPPORTED, "attn_config.alibi", "is false" },
        { AT("mpt"), "\"alibi_bias_max\": 8", "\"alibi_bias_max\": 0", ATTN_E_FORMAT, "attn_config.alibi_bias_max", "is 0" },
        { AT("mpt"), "\"clip_qkv\": null", "\"clip_qkv\": -6", ATTN_E_FORMAT, "attn_config.clip_qkv", "is -6" },
        { AT("mpt"), "\"qk_ln\": false", "\"qk_ln\": true", ATTN_E_UNSUPPORTED, "attn_config.qk_ln", "is true" },
        { AT("mpt"), "\"prefix_lm\": false", "\"prefix_lm\": true", ATTN_E_UNSUPPORTED, "attn_config.prefix_lm", "is true" },
        { AT("mpt"), "\"attn_uses_sequence_id\": false", "\"attn_uses_sequence_id\": true", ATTN_E_UNSUPPORTED, "attn_config.attn_uses_sequence_id",
          "is true" },
        { AT("mpt"), "\"multihead_attention\"", "\"multiquery_attention\"", ATTN_E_UNSUPPORTED, "attn_config.attn_type", "known are: multihead_attention" },
        { AT("mpt"), "\"qk_ln\": false", "\"rope\": true", ATTN_E_UNSUPPORTED, "attn_config.rope", "not known here" },
        { AT("mpt"), "\"no_bias\": true", "\"no_bias\": false", ATTN_E_UNSUPPORTED, "no_bias", "is false" },
        { AT("mpt"), "\"low_precision_layernorm\"", "\"rmsnorm\"", ATTN_E_UNSUPPORTED, "norm_type", "is \"rmsnorm\"" },
        { AT("bloom"), "\"apply_residual_connection_post_layernorm\": false", "\"apply_residual_connection_post_layernorm\": true", ATTN_E_UNSUPPORTED,
          "apply_residual_connection_post_layernorm", "not supported" },
    };
    attn_error err = { 0 };
    attn_model *m = NULL;
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, "config.json", cases[i].find, cases[i].replace);
        err = (attn_error){ 0 };
        attn_status st = attn_model_open(&m, rt, copy.path, &err);
        remove_copy(&copy);
        ck_assert_ptr_null(m);
        ck_assert_msg(st == cases[i].status, "%s, %s: %s: %s", cases[i].source, cases[i].replace, err.where, err.text);
        ck_assert_msg(strstr(err.where, cases[i].where) && strstr(err.text, cases[i].text), "%s: %s, for %s", err.where, err.text, cases[i].where);
    }
    attn_runtime_free(rt);
}
END_TEST

START_TEST(fused_and_transposed_tensors_are_checked_as_the_file_has_them)
{
    static const struct {
        const char *source, *find, *replace, *where, *text;
    } cases[] = {
        { AT("gpt2"), "\"n_embd\": 32", "\"n_embd\": 36", "model.safetensors: transformer.wte.weight", "shape is [60, 32], expected [60, 36]" },
        { AT("gpt2"), "\"n_inner\": null", "\"n_inner\": 100", "model.safetensors: transformer.h.0.mlp.c_fc.weight", "shape is [32, 128], expected [32, 100]" },
        { AT("phi3"), "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", "model.safetensors: model.layers.0.self_attn.qkv_proj.weight",
          "shape is [64, 32], expected [96, 32]" },
        { AT("phi3"), "\"intermediate_size\": 48", "\"intermediate_size\": 40", "model.safetensors: model.layers.0.mlp.gate_up_proj.weight",
          "shape is [96, 32], expected [80, 32]" },
        { AT("llama-linear"), "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "model.safetensors: model.layers.3.input_layernorm.weight", "missing" },
    };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        attn_model *m = NULL;
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, "config.json", cases[i].find, cases[i].replace);
        ck_assert_int_eq(attn_model_open(&m, rt, copy.path, &err), ATTN_E_FORMAT);
        remove_copy(&copy);
        ck_assert_str_eq(err.where, cases[i].where);
        ck_assert_msg(strstr(err.text, cases[i].text) != NULL, "%s", err.text);
    }
    attn_runtime_free(rt);
}
END_TEST

/* Of 30 tokens, which is more than the stretched ones were made for but not than they take. */
static void same_bits(const char *source, const char *other)
{
    enum { T = 30 };
    kept_run a, b;
    fixture f;
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_HIDDEN_STATES) };
    fixture_init(&f, source, 1, T);
    run_fine(&f, &keep, &a);
    fixture_free(&f);
    fixture_init(&f, other, 1, T);
    run_fine(&f, &keep, &b);
    fixture_free(&f);
    ck_assert_uint_eq(a.num_layers, b.num_layers);
    for (size_t l = 0; l < a.num_layers; l++) {
        const kept_tensor *x = &a.tensors[l][ATTN_ATTENTIONS], *y = &b.tensors[l][ATTN_ATTENTIONS];
        ck_assert_uint_eq(x->heads, y->heads);
        ck_assert_msg(memcmp(x->data, y->data, x->heads * T * T * sizeof(float)) == 0, "%s, layer %zu", source, l);
    }
    for (size_t s = 0; s < a.num_states; s++)
        same_tensor(&a.hidden[s], &b.hidden[s], 0);
    kept_free(&a);
    kept_free(&b);
}

/* Each of them as transformers reads it. */
START_TEST(rotation_has_more_than_one_spelling)
{
    static const struct {
        const char *source, *find, *replace, *find2, *replace2;
    } cases[] = {
        { AT("llama"), "\"rope_type\": \"default\"", "\"type\": \"default\"", NULL, NULL },
        { AT("llama"), "\"rope_type\": \"default\"", "\"type\": \"linear\", \"rope_type\": \"default\"", NULL, NULL },
        { AT("llama-yarn"), "\"factor\": 4.0", "\"factor\": 4.0, \"finetuned\": true", NULL, NULL },
        { AT("llama-yarn"), "\"factor\": 4.0", "\"factor\": 4, \"beta_fast\": 32, \"beta_slow\": null, \"truncate\": true", NULL, NULL },
        { AT("llama-yarn"), "\"original_max_position_embeddings\": 32", "\"original_max_position_embeddings\": 77", "{",
          "{\"original_max_position_embeddings\": 32, " }, /* the outer one goes before the section's */
        { AT("llama-llama3"), "\"original_max_position_embeddings\": 32", "\"original_max_position_embeddings\": 77", "{",
          "{\"original_max_position_embeddings\": 32, " },
        { AT("llama-dynamic"), "\"factor\": 2.0", "\"factor\": 2.0, \"original_max_position_embeddings\": 77", NULL, NULL }, /* dynamic has no such key */
        { AT("gpt-neox-legacy"), "\"rotary_pct\": 0.5", "\"rotary_pct\": 0.5, \"rope_theta\": 77, \"partial_rotary_factor\": 1.0", NULL, NULL },
        { AT("phi-qknorm"), "\"partial_rotary_factor\": 0.5,", "", NULL, NULL },
        { AT("phi-qknorm"), "\"rope_scaling\": null", "\"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}",
          "\"partial_rotary_factor\": 0.5,", "\"partial_rotary_factor\": 1.0," }, /* here the section's goes before the outer one */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, "config.json", cases[i].find, cases[i].replace);
        if (cases[i].find2)
            file_replace(&copy, "config.json", cases[i].find2, cases[i].replace2);
        same_bits(cases[i].source, copy.path);
        remove_copy(&copy);
    }
}
END_TEST

/* Keys and values as in the files of facebook/opt-125m and -350m, mosaicml/mpt-7b, allenai/OLMo-2-1124-7B, EleutherAI/gpt-j-6b and tiiuae/falcon-rw-1b, sizes
 * apart. */
START_TEST(config_as_the_hub_has_it_means_the_same)
{
    static const struct {
        const char *source, *config;
    } cases[] = {
        { AT("opt"),
          "{\"_name_or_path\": \"facebook/opt-125m\", \"activation_dropout\": 0.0, \"activation_function\": \"relu\", \"architectures\": [\"OPTForCausalLM\"],"
          "\"attention_dropout\": 0.0, \"bos_token_id\": 2, \"do_layer_norm_before\": true, \"dropout\": 0.1, \"eos_token_id\": 2, \"ffn_dim\": 50, "
          "\"hidden_size\": 36,"
          "\"init_std\": 0.02, \"layerdrop\": 0.0, \"max_position_embeddings\": 64, \"model_type\": \"opt\", \"num_attention_heads\": 3, "
          "\"num_hidden_layers\": 3,"
          "\"pad_token_id\": 1, \"prefix\": \"</s>\", \"torch_dtype\": \"float16\", \"transformers_version\": \"4.21.0.dev0\", \"use_cache\": true, "
          "\"vocab_size\": 60,"
          "\"word_embed_proj_dim\": 36}" },
        { AT("opt-postln"),
          "{\"_name_or_path\": \"opt-350m\", \"activation_dropout\": 0.0, \"activation_function\": \"relu\", \"architectures\": [\"OPTForCausalLM\"],"
          "\"attention_dropout\": 0.0, \"bos_token_id\": 2, \"do_layer_norm_before\": false, \"dropout\": 0.1, \"eos_token_id\": 2, \"ffn_dim\": 30,"
          "\"hidden_size\": 32, \"init_std\": 0.02, \"layerdrop\": 0.0, \"max_position_embeddings\": 64, \"model_type\": \"opt\", \"num_attention_heads\": 4,"
          "\"num_hidden_layers\": 3, \"pad_token_id\": 1, \"prefix\": \"</s>\", \"torch_dtype\": \"float16\", \"transformers_version\": \"4.20.0.dev0\","
          "\"use_cache\": true, \"vocab_size\": 60, \"word_embed_proj_dim\": 12}" },
        { AT("mpt"),
          "{\"architectures\": [\"MPTForCausalLM\"], \"attn_config\": {\"alibi\": true, \"alibi_bias_max\": 8, \"attn_impl\": \"torch\", \"attn_pdrop\": 0,"
          "\"attn_type\": \"multihead_attention\", \"attn_uses_sequence_id\": false, \"clip_qkv\": null, \"prefix_lm\": false, \"qk_ln\": false, "
          "\"softmax_scale\": null},"
          "\"auto_map\": {\"AutoConfig\": \"configuration_mpt.MPTConfig\"}, \"d_model\": 36, \"emb_pdrop\": 0, \"embedding_fraction\": 1.0, "
          "\"expansion_ratio\": 4,"
          "\"init_config\": {\"emb_init_std\": null, \"name\": \"kaiming_normal_\", \"verbose\": 0}, \"init_device\": \"cpu\", \"learned_pos_emb\": true,"
          "\"logit_scale\": null, \"max_seq_len\": 64, \"model_type\": \"mpt\", \"n_heads\": 6, \"n_layers\": 2, \"no_bias\": true,"
          "\"norm_type\": \"low_precision_layernorm\", \"resid_pdrop\": 0, \"tokenizer_name\": \"EleutherAI/gpt-neox-20b\", \"torch_dtype\": \"bfloat16\","
          "\"transformers_version\": \"4.28.1\", \"use_cache\": false, \"verbose\": 0, \"vocab_size\": 60}" },
        { AT("olmo2"),
          "{\"architectures\": [\"Olmo2ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0, \"eos_token_id\": 100257, \"hidden_act\": "
          "\"silu\","
          "\"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 44, \"max_position_embeddings\": 128, \"model_type\": \"olmo2\","
          "\"num_attention_heads\": 4, \"num_hidden_layers\": 3, \"num_key_value_heads\": 2, \"pad_token_id\": 100277, \"rms_norm_eps\": 1e-05, "
          "\"rope_scaling\": null,"
          "\"rope_theta\": 10000, \"tie_word_embeddings\": false, \"torch_dtype\": \"float32\", \"transformers_version\": \"4.47.0.dev0\", \"use_cache\": true,"
          "\"vocab_size\": 60}" },
        { AT("gptj"),
          "{\"activation_function\": \"gelu_new\", \"architectures\": [\"GPTJForCausalLM\"], \"attn_pdrop\": 0.0, \"bos_token_id\": 50256, \"embd_pdrop\": 0.0,"
          "\"eos_token_id\": 50256, \"gradient_checkpointing\": false, \"initializer_range\": 0.02, \"layer_norm_epsilon\": 1e-05, \"model_type\": \"gptj\","
          "\"n_embd\": 40, \"n_head\": 4, \"n_inner\": 44, \"n_layer\": 3, \"n_positions\": 64, \"resid_pdrop\": 0.0, \"rotary\": true, \"rotary_dim\": 6,"
          "\"scale_attn_weights\": true, \"summary_activation\": null, \"summary_first_dropout\": 0.1, \"summary_proj_to_labels\": true,"
          "\"summary_type\": \"cls_index\", \"summary_use_proj\": true, \"task_specific_params\": {\"text-generation\": {\"do_sample\": true}},"
          "\"tie_word_embeddings\": false, \"tokenizer_class\": \"GPT2Tokenizer\", \"transformers_version\": \"4.18.0.dev0\", \"use_cache\": true, "
          "\"vocab_size\": 60}" },
        { AT("falcon-alibi"),
          "{\"alibi\": true, \"apply_residual_connection_post_layernorm\": false, \"architectures\": [\"FalconForCausalLM\"], \"attention_dropout\": 0.0,"
          "\"auto_map\": {\"AutoConfig\": \"configuration_falcon.FalconConfig\"}, \"bias\": true, \"bos_token_id\": 1, \"eos_token_id\": 2,"
          "\"hidden_dropout\": 0.0, \"hidden_size\": 36, \"initializer_range\": 0.02, \"layer_norm_epsilon\": 1e-05, \"model_type\": \"falcon\","
          "\"multi_query\": false, \"new_decoder_architecture\": false, \"num_attention_heads\": 12, \"num_hidden_layers\": 2, \"parallel_attn\": false,"
          "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.27.4\", \"use_cache\": true, \"vocab_size\": 60}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_copy copy = copy_model(cases[i].source);
        file_write(copy.path, "config.json", cases[i].config, strlen(cases[i].config));
        same_bits(cases[i].source, copy.path);
        remove_copy(&copy);
    }
}
END_TEST

/* As the hub has Phi-3 and Falcon: first published with code beside the weights. */
START_TEST(code_beside_the_weights_of_phi3_and_falcon_is_the_formula_known_here)
{
    static const struct {
        const char *source;
        attn_status status;
    } cases[] = { { AT("phi3"), ATTN_OK }, { AT("falcon"), ATTN_OK }, { AT("llama"), ATTN_E_UNSUPPORTED } };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        attn_model *m = NULL;
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, "config.json", "\"model_type\"", "\"auto_map\": {\"AutoModelForCausalLM\": \"own.Model\"}, \"model_type\"");
        ck_assert_msg(attn_model_open(&m, rt, copy.path, &err) == cases[i].status, "%s: %s: %s", cases[i].source, err.where, err.text);
        attn_model_close(m);
        remove_copy(&copy);
    }
    attn_runtime_free(rt);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("families");
    TCase *golden = tcase_create("golden"), *promises = tcase_create("promises"), *info = tcase_create("info");
    tcase_set_timeout(golden, 120);
    tcase_set_timeout(promises, 120);
    tcase_set_timeout(info, 60);
    tcase_add_loop_test(golden, every_output_agrees_with_transformers_in_float64, 0, NUM_MODELS);
    tcase_add_loop_test(golden, trained_models_agree_as_well, 0, 2);
    tcase_add_loop_test(promises, bits_depend_neither_on_threads_nor_on_what_else_is_asked_for, 0, NUM_KINDS);
    tcase_add_loop_test(promises, the_price_covers_what_a_run_takes, 0, NUM_KINDS);
    tcase_add_loop_test(promises, what_comes_later_changes_nothing_before, 0, NUM_KINDS);
    tcase_add_test(promises, windows_are_where_the_file_has_them);
    tcase_add_test(info, info_says_what_the_files_say);
    tcase_add_test(info, parameters_are_those_of_the_tensors_used);
    tcase_add_test(info, keys_that_ask_for_another_formula_are_refused_by_name);
    tcase_add_test(info, config_as_the_hub_has_it_means_the_same);
    tcase_add_test(info, rotation_has_more_than_one_spelling);
    tcase_add_test(info, code_beside_the_weights_of_phi3_and_falcon_is_the_formula_known_here);
    tcase_add_test(info, fused_and_transposed_tensors_are_checked_as_the_file_has_them);
    suite_add_tcase(suite, golden);
    suite_add_tcase(suite, promises);
    suite_add_tcase(suite, info);
    return unit_main(suite);
}
