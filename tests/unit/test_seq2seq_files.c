/* test_seq2seq_files.c - encoder-decoders: what is said of their files, which are read, and which are refused and how.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model_files.h"
#include "seq2seq_case.h"

/* ---- what is said of a model ---------------------------------------------------------------------------------------------- */

START_TEST(info_and_shapes_say_what_the_files_say)
{
    static const struct {
        const char *source, *model_type;
        size_t layers, heads, head_dim, hidden, decoder_layers, decoder_heads, decoder_dim, max_tokens, unused;
    } cases[] = {
        { AT("t5"), "t5", 2, 4, 8, 32, 3, 4, 8, 512, 0 },         { AT("t5-gated"), "t5", 2, 4, 12, 32, 2, 4, 12, 512, 0 },
        { AT("bart"), "bart", 2, 4, 8, 32, 3, 2, 16, 64, 0 },     { AT("mbart-2"), "mbart", 3, 3, 10, 30, 1, 5, 6, 41, 0 },
        { AT("marian"), "marian", 2, 4, 8, 32, 3, 2, 16, 64, 0 }, { AT("marian-apart"), "marian", 3, 3, 10, 30, 1, 5, 6, 41, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        fixture_init(&f, cases[i].source, 1, 1, 1);
        const attn_model_info *info = attn_model_get_info(f.model);
        attn_stack_shape own = attn_model_shape(f.model, ATTN_STACK_DECODER), cross = attn_model_shape(f.model, ATTN_STACK_CROSS);
        ck_assert_str_eq(info->model_type, cases[i].model_type);
        ck_assert_uint_eq(info->num_hidden_layers, cases[i].layers);
        ck_assert_uint_eq(info->num_attention_heads, cases[i].heads);
        ck_assert_uint_eq(info->head_dim, cases[i].head_dim);
        ck_assert_uint_eq(info->hidden_size, cases[i].hidden);
        ck_assert_uint_eq(info->num_decoder_layers, cases[i].decoder_layers);
        ck_assert_uint_eq(own.num_layers, cases[i].decoder_layers);
        ck_assert_uint_eq(own.num_attention_heads, cases[i].decoder_heads);
        ck_assert_uint_eq(own.head_dim, cases[i].decoder_dim);
        ck_assert_int_eq(memcmp(&own, &cross, sizeof own), 0);
        ck_assert_uint_eq(info->max_tokens, cases[i].max_tokens);
        ck_assert_uint_eq(info->vocab_size, 60);
        ck_assert_uint_eq(info->num_unused_tensors, cases[i].unused);
        fixture_free(&f);
    }
}
END_TEST

/* Words that encoder, decoder and head share are counted once. */
START_TEST(parameters_are_those_of_the_tensors_used)
{
    fixture f;
    uint64_t D = 32, attention = 4 * D * (D + 1), norm = 2 * D, stack = 66 * D + norm;
    uint64_t encoder = attention + norm + D * 48 * 2 + 48 + D + norm, decoder = 2 * (attention + norm) + D * 40 * 2 + 40 + D + norm;
    fixture_init(&f, AT("bart"), 1, 1, 1);
    ck_assert_uint_eq(attn_model_get_info(f.model)->num_parameters, 60 * D + 60 + 2 * stack + 2 * encoder + 3 * decoder);
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
        { AT("t5"), "\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"gated-mish\"", ATTN_E_UNSUPPORTED, "feed_forward_proj",
          "is \"gated-mish\", known are: relu" },
        { AT("t5"), "\"dense_act_fn\": \"relu\"", "\"dense_act_fn\": \"tanh\"", ATTN_E_UNSUPPORTED, "dense_act_fn", "is \"tanh\"" },
        { AT("t5"), "\"is_decoder\": false", "\"is_decoder\": true", ATTN_E_UNSUPPORTED, "is_decoder", "not supported" },
        { AT("t5"), "\"num_decoder_layers\": 3", "\"num_decoder_layers\": 0", ATTN_E_FORMAT, "num_decoder_layers", "is 0" },
        { AT("t5"), "\"d_kv\": 8", "\"d_kv\": 16385", ATTN_E_FORMAT, "d_kv", "from 1 to 16384" },
        { AT("t5"), "\"num_heads\": 4", "\"num_heads\": 4000000000", ATTN_E_FORMAT, "num_heads", "from 1 to 1024" },
        { AT("t5"), "\"d_kv\": 8", "\"d_kv\": 0", ATTN_E_FORMAT, "d_kv", "is 0" },
        { AT("t5"), "\"relative_attention_max_distance\": 24", "\"relative_attention_max_distance\": 8", ATTN_E_FORMAT, "relative_attention_max_distance",
          "from 9" },
        { AT("t5"), "\"relative_attention_num_buckets\": 16", "\"relative_attention_num_buckets\": 3", ATTN_E_FORMAT, "relative_attention_num_buckets",
          "from 4" },
        { AT("t5"), "\"model_type\": \"t5\"", "\"model_type\": \"umt5\"", ATTN_E_UNSUPPORTED, "model_type", "is \"umt5\"" },
        { AT("bart"), "\"encoder_attention_heads\": 4", "\"encoder_attention_heads\": 5", ATTN_E_FORMAT, "encoder_attention_heads", "does not divide d_model" },
        { AT("bart"), "\"decoder_attention_heads\": 2", "\"decoder_attention_heads\": 7", ATTN_E_FORMAT, "decoder_attention_heads", "does not divide d_model" },
        { AT("bart"), "\"decoder_layers\": 3", "\"decoder_layers\": 1025", ATTN_E_FORMAT, "decoder_layers", "from 1 to 1024" },
        { AT("bart"), "\"encoder_ffn_dim\": 48", "\"encoder_ffn_dim\": -1", ATTN_E_FORMAT, "encoder_ffn_dim", "is -1" },
        { AT("bart"), "\"decoder_ffn_dim\": 40,", "", ATTN_E_FORMAT, "decoder_ffn_dim", "is missing" },
        { AT("bart"), "\"is_encoder_decoder\": true", "\"is_encoder_decoder\": false", ATTN_E_UNSUPPORTED, "is_encoder_decoder", "not supported" },
        { AT("bart"), "\"scale_embedding\": false", "\"scale_embedding\": 2", ATTN_E_FORMAT, "scale_embedding", "must be true or false" },
        { AT("bart"), "\"init_std\": 0.02", "\"normalize_before\": true", ATTN_E_UNSUPPORTED, "normalize_before", "not supported" },
        { AT("bart"), "\"init_std\": 0.02", "\"add_final_layer_norm\": true", ATTN_E_UNSUPPORTED, "add_final_layer_norm", "not supported" },
        { AT("bart"), "\"init_std\": 0.02", "\"normalize_embedding\": false", ATTN_E_UNSUPPORTED, "normalize_embedding", "not supported" },
        { AT("bart"), "\"init_std\": 0.02", "\"static_position_embeddings\": true", ATTN_E_UNSUPPORTED, "static_position_embeddings", "not supported" },
        { AT("mbart"), "\"init_std\": 0.02", "\"normalize_before\": false", ATTN_E_UNSUPPORTED, "normalize_before", "not supported" },
        { AT("marian"), "\"init_std\": 0.02", "\"static_position_embeddings\": false", ATTN_E_UNSUPPORTED, "static_position_embeddings", "not supported" },
        { AT("marian"), "\"activation_function\": \"swish\"", "\"activation_function\": \"swash\"", ATTN_E_UNSUPPORTED, "activation_function", "is \"swash\"" },
    };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        attn_model *m = NULL;
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, "config.json", cases[i].find, cases[i].replace);
        attn_status st = attn_model_open(&m, rt, copy.path, &err);
        remove_copy(&copy);
        ck_assert_ptr_null(m);
        ck_assert_msg(st == cases[i].status, "%s, %s: %s: %s", cases[i].source, cases[i].replace, err.where, err.text);
        ck_assert_msg(strstr(err.where, cases[i].where) && strstr(err.text, cases[i].text), "%s: %s, for %s", err.where, err.text, cases[i].where);
    }
    attn_runtime_free(rt);
}
END_TEST

START_TEST(tensors_that_are_missing_or_misshapen_are_named)
{
    static const struct {
        const char *source, *file, *find, *replace, *where, *text;
    } cases[] = {
        { AT("bart"), "config.json", "\"decoder_ffn_dim\": 40", "\"decoder_ffn_dim\": 41", "model.safetensors: model.decoder.layers.0.fc1.weight",
          "shape is [40, 32], expected [41, 32]" },
        { AT("bart"), "config.json", "\"decoder_layers\": 3", "\"decoder_layers\": 4", "model.safetensors: model.decoder.layers.3.self_attn.q_proj.weight",
          "missing, expected [32, 32]" },
        { AT("bart"), "config.json", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 66",
          "model.safetensors: model.encoder.embed_positions.weight", "shape is [66, 32], expected [68, 32]" },
        { AT("bart"), "model.safetensors", "model.shared.weight", "model.shares.weight", "model.safetensors: model.encoder.embed_tokens.weight",
          "missing, expected [60, 32]" },
        { AT("bart"), "model.safetensors", "layers.1.encoder_attn.k_proj.bias", "layers.1.encoder_attn.k_proj.bios",
          "model.safetensors: model.decoder.layers.1.encoder_attn.k_proj.bias", "missing" },
        { AT("mbart"), "model.safetensors", "model.encoder.layer_norm.bias", "model.encoder.layer_norm.bios",
          "model.safetensors: model.encoder.layer_norm.bias", "missing" },
        { AT("marian-apart"), "config.json", "\"decoder_vocab_size\": 44", "\"decoder_vocab_size\": 45", "model.safetensors: model.decoder.embed_tokens.weight",
          "shape is [44, 30], expected [45, 30]" },
        { AT("t5"), "config.json", "\"relative_attention_num_buckets\": 16", "\"relative_attention_num_buckets\": 18",
          "model.safetensors: encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "shape is [16, 4], expected [18, 4]" },
        { AT("t5"), "config.json", "\"num_decoder_layers\": 3", "\"num_decoder_layers\": 4", "model.safetensors: decoder.block.3.layer.0.layer_norm.weight",
          "missing" },
        { AT("t5"), "config.json", "\"is_gated_act\": false", "\"is_gated_act\": true", "model.safetensors: encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
          "missing, expected [48, 32]" },
        { AT("t5-encoder"), "config.json", "T5EncoderModel\"\n  ],", "T5Model\"\n  ],\n  \"is_encoder_decoder\": true,",
          "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", "missing" },
    };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        attn_model *m = NULL;
        model_copy copy = copy_model(cases[i].source);
        if (strcmp(cases[i].source, AT("t5-encoder")) == 0)
            file_replace(&copy, "config.json", "\"is_encoder_decoder\": false,", "");
        file_replace(&copy, cases[i].file, cases[i].find, cases[i].replace);
        attn_status st = attn_model_open(&m, rt, copy.path, &err);
        remove_copy(&copy);
        ck_assert_ptr_null(m);
        ck_assert_msg(st == ATTN_E_FORMAT && strstr(err.where, cases[i].where) && strstr(err.text, cases[i].text), "case %zu: %s: %s", i, err.where, err.text);
    }
    attn_runtime_free(rt);
}
END_TEST

START_TEST(inputs_out_of_range_are_refused_by_name)
{
    int32_t ids[64] = { 3, 4, 5 }, high[] = { 3, 50 }; /* 44 words to write, 60 to read */
    const struct {
        attn_model_input in;
        const char *where;
    } cases[] = { { { .T = 2, .input_ids = ids }, "decoder_input_ids" },
                  { { .T = 2, .input_ids = ids, .decoder_T = 42, .decoder_input_ids = ids }, "decoder_input_ids" },
                  { { .T = 2, .input_ids = high, .decoder_T = 2, .decoder_input_ids = high }, "decoder_input_ids" },
                  { { .T = 42, .input_ids = ids, .decoder_T = 2, .decoder_input_ids = ids }, "input_ids" } };
    attn_runtime *rt = runtime_with(1, NULL);
    attn_model *m = open_model(rt, AT("marian-apart"));
    attn_keep keep[ATTN_STACKS];
    keep_all(keep, ATTN_BIT(ATTN_ATTENTIONS));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_error err = { 0 };
        kept_stacks kept = { .came = 0 };
        ck_assert_int_eq(run_stacks(m, &cases[i].in, keep, &kept, NULL, &err), ATTN_E_INPUT);
        ck_assert_str_eq(err.where, cases[i].where);
    }
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

/* As the hub has them: keys that other versions of the library read, names under which it stores the words once more or instead. */
START_TEST(files_as_the_hub_has_them_are_read)
{
    static const struct {
        const char *source, *file, *find, *replace;
    } cases[] = {
        { AT("bart"), "config.json", "\"init_std\": 0.02",
          "\"add_bias_logits\": false, \"add_final_layer_norm\": false, \"normalize_before\": false, \"normalize_embedding\": true, "
          "\"static_position_embeddings\": false, \"extra_pos_embeddings\": 2, \"num_hidden_layers\": 2, \"output_past\": true" },
        { AT("mbart"), "config.json", "\"init_std\": 0.02",
          "\"add_final_layer_norm\": true, \"normalize_before\": true, \"normalize_embedding\": true, \"static_position_embeddings\": false, \"save_step\": "
          "12" },
        { AT("marian"), "config.json", "\"init_std\": 0.02",
          "\"normalize_before\": false, \"normalize_embedding\": false, \"static_position_embeddings\": true, \"extra_pos_embeddings\": 60, "
          "\"add_final_layer_norm\": false, \"bad_words_ids\": [[59]]" },
        { AT("marian"), "model.safetensors", "model.shared.weight", "model.decoder.embed_tokens.weight" },
        { AT("bart-2"), "model.safetensors", "\"shared.weight", "\"model.shared.weight" },
        { AT("t5"), "model.safetensors", "shared.weight", "encoder.embed_tokens.weight" },
        { AT("t5"), "config.json", "\"dropout_rate\": 0.1", "\"n_positions\": 700, \"output_past\": true, \"task_specific_params\": {\"summarization\": {}}" },
        { AT("t5-encoder"), "config.json", "\"is_encoder_decoder\": false", "\"is_encoder_decoder\": true" },
    };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_copy copy = copy_model(cases[i].source);
        file_replace(&copy, cases[i].file, cases[i].find, cases[i].replace);
        attn_model *m = open_model(rt, copy.path);
        ck_assert_uint_eq(attn_model_get_info(m)->num_unused_tensors, 0);
        ck_assert(!strstr(cases[i].replace, "n_positions") || attn_model_get_info(m)->max_tokens == 700);
        attn_model_close(m);
        remove_copy(&copy);
    }
    attn_runtime_free(rt);
}
END_TEST

/* A head or words that a file has once more cost nothing; those that differ are taken whatever tie_word_embeddings says. */
START_TEST(tables_that_are_the_same_are_held_once)
{
    static const struct {
        const char *source, *tensor, *as;
        uint64_t table;
    } cases[] = { { AT("bart"), "model.shared.weight", "lm_head.weight", 60 * 32 },
                  { AT("bart"), "model.shared.weight", "model.decoder.embed_tokens.weight", 60 * 32 },
                  { AT("t5"), "shared.weight", "lm_head.weight", 60 * 32 },
                  { AT("gemma"), "model.embed_tokens.weight", "lm_head.weight", 60 * 32 } };
    attn_runtime *rt = runtime_with(1, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attn_model_info info[3]; /* as it is; repeated; with another first number */
        for (size_t k = 0; k < 3; k++) {
            model_copy copy = copy_model(cases[i].source);
            if (k > 0)
                tensor_repeat(&copy, cases[i].tensor, cases[i].as, (float)(k - 1));
            attn_model *m = open_model(rt, copy.path);
            info[k] = *attn_model_get_info(m);
            attn_model_close(m);
            remove_copy(&copy);
            ck_assert_uint_eq(info[k].num_unused_tensors, 0);
            ck_assert(info[k].generates);
        }
        ck_assert_uint_eq(info[1].bytes, info[0].bytes);
        ck_assert_uint_eq(info[1].num_parameters, info[0].num_parameters);
        ck_assert_uint_eq(info[2].bytes, info[0].bytes + cases[i].table * sizeof(float));
        ck_assert_uint_eq(info[2].num_parameters, info[0].num_parameters + cases[i].table);
    }
    attn_runtime_free(rt);
}
END_TEST

/* A row as wide as the vocabulary (final_logits_bias) is one row, not a block of them. */
START_TEST(opening_takes_the_weights_and_three_times_the_largest_tensor)
{
    enum { LARGEST = 66 * 32 * sizeof(float) }; /* the table of positions: in the file, as it was read, as float32 */
    attn_error err = { 0 };
    attn_model *m = NULL;
    attn_runtime *rt = NULL, *open = runtime_with(1, NULL);
    attn_runtime_options options = { .threads = 1, .memory = 1 };
    ck_assert_int_eq(attn_runtime_new(&rt, &options, &err), ATTN_OK);
    ck_assert_int_eq(attn_model_open(&m, rt, AT("bart"), &err), ATTN_E_LIMIT);
    m = open_model(open, AT("bart"));
    ck_assert_uint_le(err.need, attn_model_get_info(m)->bytes + 64 + 3 * LARGEST);
    attn_model_close(m);
    attn_runtime_free(open);
    attn_runtime_free(rt);
}
END_TEST

/* As files without tie_word_embeddings may have it. */
START_TEST(encoder_and_decoder_may_have_words_of_their_own)
{
    static const char *const names[] = { "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight" };
    kept_stacks kept[3];
    memset(kept, 0, sizeof kept);
    for (size_t k = 0; k < 3; k++) {
        fixture f;
        attn_keep keep[ATTN_STACKS];
        model_copy copy = copy_model(AT("bart"));
        if (k > 0)
            tensor_repeat(&copy, "model.shared.weight", names[k - 1], 5);
        fixture_init(&f, copy.path, 1, 4, 3);
        f.ids[0] = f.written[0] = 0; /* the word whose embedding is another */
        keep_all(keep, ATTN_BIT(ATTN_HIDDEN_STATES));
        ck_assert_int_eq(run_stacks(f.model, &f.in, keep, &kept[k], NULL, NULL), ATTN_OK);
        fixture_free(&f);
        remove_copy(&copy);
    }
    for (size_t k = 1; k < 3; k++)
        for (attn_stack s = ATTN_STACK_SELF; s <= ATTN_STACK_DECODER; s++)
            ck_assert_int_eq(kept[k].of[s].hidden[0].data[0] == kept[0].of[s].hidden[0].data[0], (int)s != (int)k - 1);
    for (size_t k = 0; k < 3; k++)
        stacks_free(&kept[k]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seq2seq_files");
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 60);
    tcase_add_test(files, info_and_shapes_say_what_the_files_say);
    tcase_add_test(files, parameters_are_those_of_the_tensors_used);
    tcase_add_test(files, keys_that_ask_for_another_formula_are_refused_by_name);
    tcase_add_test(files, tensors_that_are_missing_or_misshapen_are_named);
    tcase_add_test(files, inputs_out_of_range_are_refused_by_name);
    tcase_add_test(files, files_as_the_hub_has_them_are_read);
    tcase_add_test(files, tables_that_are_the_same_are_held_once);
    tcase_add_test(files, opening_takes_the_weights_and_three_times_the_largest_tensor);
    tcase_add_test(files, encoder_and_decoder_may_have_words_of_their_own);
    suite_add_tcase(suite, files);
    return unit_main(suite);
}
