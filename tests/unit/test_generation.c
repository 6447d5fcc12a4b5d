/* test_generation.c - models that write: what is chosen, against transformers; that a step shows the rows of one pass over all of the text; and what
 * attn_model.h promises of prices, limits and failures.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "generation_case.h"
#include "model/writing.h"
#include "model_files.h"

#define AT(name) "tests/golden/models/" name

/* ---- what is chosen ----------------------------------------------------------------------------------------------------- */

static void compare_ids(fixture *f, const json_t *c, const char *name)
{
    int32_t wanted[MOST_IDS], got[MOST_IDS];
    const json_t *list = json_object_get(c, "generated_ids");
    size_t n = json_array_size(list);
    ck_assert(read_ids(json_object_get(c, "input_ids"), f->ids) && read_ids(list, wanted));
    f->in.T = json_array_size(json_object_get(c, "input_ids"));
    f->prompt = decodes(f) ? 1 : f->in.T;
    size_t made = write_ids(f, (size_t)json_integer_value(json_object_get(c, "max_new_tokens")), true, got);
    for (size_t i = 0; i < made && i < n; i++)
        ck_assert_msg(got[i] == wanted[i], "%s: number %zu is %d, transformers has %d", name, i, (int)got[i], (int)wanted[i]);
    ck_assert_msg(made == n, "%s: %zu tokens, transformers has %zu", name, made, n);
    attn_arena_reset(f->arena, 0);
}

/* What was written reads as the library reads it: the text of all ids without the prompt's own before it. */
static void compare_text(const fixture *f, const json_t *c)
{
    const attn_tokenizer *tokenizer = attn_model_get_tokenizer(f->model);
    const json_t *text = json_object_get(c, "generated_text");
    int32_t all[2 * MOST_IDS];
    attn_text before, whole;
    size_t prompt = decodes(f) ? 0 : json_array_size(json_object_get(c, "input_ids")), n = prompt + json_array_size(json_object_get(c, "generated_ids"));
    const char *wanted = json_string_value(text);
    size_t length = json_string_length(text);
    if (!wanted)
        return;
    ck_assert(read_ids(json_object_get(c, "input_ids"), all) && read_ids(json_object_get(c, "generated_ids"), all + prompt));
    ck_assert_int_eq(attn_tokenizer_decode(tokenizer, all, prompt, f->arena, &before, NULL), ATTN_OK);
    ck_assert_int_eq(attn_tokenizer_decode(tokenizer, all, n, f->arena, &whole, NULL), ATTN_OK);
    ck_assert(whole.length == before.length + length && memcmp(whole.bytes, before.bytes, before.length) == 0);
    ck_assert_int_eq(memcmp(whole.bytes + before.length, wanted, length), 0);
    const char *published = json_string_value(json_object_get(c, "published_text"));
    ck_assert(!published || strcmp(published, wanted) == 0);
}

START_TEST(greedy_choices_are_those_of_transformers)
{
    static const char *const tables[] = { "ref", NULL };
    json_t *doc = load_json("tests/golden/generation/models.json"), *models = json_object_get(doc, "models"), *one, *c;
    size_t i, k;
    ck_assert_uint_gt(json_array_size(models), 20);
    json_array_foreach(models, i, one)
    {
        char source[128];
        fixture f;
        const char *name = json_string_value(json_object_get(one, "model"));
        snprintf(source, sizeof source, AT("%s"), name);
        fixture_init_with(&f, source, 2, tables[_i], 1);
        ck_assert_msg(attn_model_get_info(f.model)->generates, "%s does not write", name);
        json_array_foreach(json_object_get(one, "cases"), k, c)
        {
            compare_ids(&f, c, name);
        }
        fixture_free(&f);
    }
    json_decref(doc);
}
END_TEST

/* Every case of a golden file. */
static void compare_file(const char *source, const char *golden)
{
    fixture f;
    json_t *doc = load_json(golden), *c;
    size_t i;
    fixture_init(&f, source, 2, 1);
    json_array_foreach(json_object_get(doc, "cases"), i, c)
    {
        compare_ids(&f, c, source);
        compare_text(&f, c);
    }
    ck_assert_uint_gt(i, 1);
    fixture_free(&f);
    json_decref(doc);
}

/* Models beside the repository; their stories and pronunciations were published. */
START_TEST(published_texts_come_out_to_the_letter)
{
    static const char *const files[][2] = { { "stories260k", "stories260k" }, { "bart-g2p-us", "bart-g2p" } };
    const char *shared = getenv("ATTND_SHARED") ? getenv("ATTND_SHARED") : "../shared";
    char source[256], golden[128];
    snprintf(source, sizeof source, "%s/data/models/%s", shared, files[_i][0]);
    snprintf(golden, sizeof golden, "tests/golden/generation/%s.json", files[_i][1]);
    if (access(source, R_OK) != 0) {
        printf("SKIPPED %s: it is not there\n", source);
        ck_assert_msg(!getenv("CI"), "CI needs %s", source);
        return;
    }
    compare_file(source, golden);
}
END_TEST

/* Those inside the program that write have golden files of their names. */
START_TEST(models_inside_the_program_write_what_transformers_writes)
{
    for (const char *const *name = attn_builtin_models(); *name; name++) {
        char source[128], golden[128];
        fixture f;
        snprintf(source, sizeof source, "builtin:%s", *name);
        snprintf(golden, sizeof golden, "tests/golden/generation/%s.json", *name);
        fixture_init(&f, source, 1, 1);
        bool generates = attn_model_get_info(f.model)->generates;
        fixture_free(&f);
        if (generates)
            compare_file(source, golden);
    }
}
END_TEST

/* ---- steps -------------------------------------------------------------------------------------------------------------- */

/* One of each way to attend and rotate; encoder-decoders with and without bias by position. */
static const char *const kinds[] = { AT("llama"),         AT("qwen2-window"),  AT("gpt2"),     AT("gemma2"),     AT("gemma3"),     AT("phi-qknorm"),
                                     AT("phi3-longrope"), AT("llama-dynamic"), AT("gpt-neox"), AT("bloom"),      AT("falcon-new"), AT("t5"),
                                     AT("bart"),          AT("marian"),        AT("opt"),      AT("opt-postln"), AT("mpt"),        AT("olmo2"),
                                     AT("gptj"),          AT("falcon-alibi") };
enum { NUM_KINDS = sizeof kinds / sizeof *kinds };

/* The largest difference of `part`, which is the last rows and columns of `whole`, over the larger of 1 and the largest magnitude. */
static double rows_error(const kept_tensor *part, const kept_tensor *whole)
{
    double worst = 0, largest = 1;
    ck_assert_uint_eq(part->heads, whole->heads);
    ck_assert(part->rows <= whole->rows && part->cols <= whole->cols);
    for (size_t i = 0; i < part->heads * part->rows * part->cols; i++) {
        size_t h = i / part->cols / part->rows, row = i / part->cols % part->rows + whole->rows - part->rows;
        float a = part->data[i], b = whole->data[(h * whole->rows + row) * whole->cols + i % part->cols + whole->cols - part->cols];
        if (a == b) /* infinities among them */
            continue;
        ck_assert(isfinite(a) && isfinite(b));
        worst = fmax(worst, fabs((double)a - (double)b));
        largest = fmax(largest, fabs((double)b));
    }
    return worst / largest;
}

/* What a step shows of an output: of the new token alone, but for maps, whose columns are all keys, and for what lies between encoder and decoder. */
static void check_shape(const fixture *f, const kept_tensor *t, attn_stack stack, attn_output o, size_t rows, size_t read)
{
    size_t keys = stack == ATTN_STACK_CROSS ? f->in.T : attn_output_is_map(o) ? read : rows;
    bool of_keys = o == ATTN_KEY || o == ATTN_VALUE;
    ck_assert_uint_eq(t->rows, o == ATTN_VALUE_NORMS ? 1 : of_keys ? keys : rows);
    ck_assert(!(attn_output_is_map(o) || o == ATTN_VALUE_NORMS) || t->cols == keys);
}

/* What came of one stack, in order: the calls of a step must be those of the whole run, the encoder's apart. */
static double step_error(const kept_run *part, const kept_run *whole, attn_output *at)
{
    size_t first = 0, state = 0;
    double worst = 0;
    while (first < whole->num_layers && whole->stacks[first] != part->stacks[0])
        first++;
    while (state < whole->num_states && whole->state_stacks[state] != part->state_stacks[0])
        state++;
    ck_assert_uint_eq(part->num_layers, whole->num_layers - first);
    ck_assert_uint_eq(part->num_states, whole->num_states - state);
    for (size_t l = 0; l < part->num_layers; l++) {
        ck_assert_int_eq(part->stacks[l], whole->stacks[first + l]);
        ck_assert_uint_eq(part->layers[l], whole->layers[first + l]);
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
            if (o == ATTN_HIDDEN_STATES)
                continue;
            double off = rows_error(&part->tensors[l][o], &whole->tensors[first + l][o]);
            *at = off > worst ? (attn_output)o : *at;
            worst = fmax(worst, off);
        }
    }
    for (size_t s = 0; s < part->num_states; s++) {
        ck_assert_uint_eq(part->states[s], whole->states[state + s]);
        worst = fmax(worst, rows_error(&part->hidden[s], &whole->hidden[state + s]));
    }
    return worst;
}

/* Writes n tokens with everything kept, and holds each step against one pass over all that it had read. */
static double compare_steps(fixture *f, size_t n)
{
    const attn_keep keep[ATTN_STACKS] = { { .outputs = everything }, { .outputs = everything }, { .outputs = everything } };
    int32_t made[MOST_STEPS];
    double worst = 0;
    attn_output at = 0;
    attn_generation *g = begin(f, n);
    for (size_t i = 0; i <= n; i++) {
        kept_run part = { 0 }, whole = { 0 };
        attn_error err = { 0 };
        int32_t next = step(f, g, keep, &part);
        attn_model_input in = continued(f, made, i);
        ck_assert_int_eq(run_kept(f->model, &in, keep, &whole, NULL, NULL, &err), ATTN_OK);
        for (size_t l = 0; l < part.num_layers && i > 0; l++)
            for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
                if (o != ATTN_HIDDEN_STATES)
                    check_shape(f, &part.tensors[l][o], part.stacks[l], (attn_output)o, 1, f->prompt + i);
        worst = fmax(worst, step_error(&part, &whole, &at));
        made[i] = next;
        kept_free(&part);
        kept_free(&whole);
    }
    printf("%-36s steps off by %.1e (%s)\n", attn_model_get_info(f->model)->source, worst, attn_output_name(at));
    attn_arena_reset(f->arena, 0);
    return worst;
}

START_TEST(a_step_shows_the_rows_of_one_pass)
{
    fixture f;
    fixture_init(&f, kinds[_i], 2, 7); /* past phi3-longrope's and llama-dynamic's 16 positions */
    ck_assert(compare_steps(&f, 14) <= 1e-6);
    fixture_free(&f);
}
END_TEST

START_TEST(padding_of_the_prompt_stays_hidden)
{
    fixture f;
    fixture_init(&f, kinds[_i], 2, 9);
    for (size_t i = 0; i < 9; i++)
        f.mask[i] = decodes(&f) ? i < 6 : i >= 3;
    f.in.attention_mask = f.mask;
    ck_assert(compare_steps(&f, 4) <= 1e-6);
    fixture_free(&f);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_nor_on_what_is_kept)
{
    const attn_keep all[ATTN_STACKS] = { { .outputs = everything }, { .outputs = everything }, { .outputs = everything } };
    const attn_keep some[ATTN_STACKS] = { { .outputs = 1 }, { .outputs = 1 }, { .outputs = 1 } };
    fixture one, many;
    fixture_init(&one, kinds[_i], 1, 6);
    fixture_init(&many, kinds[_i], 5, 6);
    attn_generation *g = begin(&one, 6), *h = begin(&many, 6);
    for (size_t i = 0; i <= 6; i++) {
        kept_run a = { 0 }, b = { 0 };
        ck_assert_int_eq(step(&one, g, all, &a), step(&many, h, some, &b));
        ck_assert_uint_eq(a.num_layers, b.num_layers);
        for (size_t l = 0; l < a.num_layers; l++) {
            const kept_tensor *x = &a.tensors[l][ATTN_ATTENTIONS], *y = &b.tensors[l][ATTN_ATTENTIONS];
            ck_assert_uint_eq(x->rows * x->cols * x->heads, y->rows * y->cols * y->heads);
            ck_assert_int_eq(memcmp(x->data, y->data, x->rows * x->cols * x->heads * sizeof(float)), 0);
        }
        kept_free(&a);
        kept_free(&b);
    }
    fixture_free(&one);
    fixture_free(&many);
}
END_TEST

/* Embeddings of the first tokens, as state 0 shows them where nothing is added to words, write on as the ids do. */
START_TEST(a_prompt_may_begin_with_embeddings)
{
    const attn_keep states = { .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) };
    int32_t wanted[8], got[8];
    kept_run run = { 0 };
    attn_error err = { 0 };
    fixture f;
    fixture_init(&f, AT("llama"), 2, 6);
    ck_assert_int_eq(run_kept(f.model, &f.in, &states, &run, NULL, NULL, &err), ATTN_OK);
    ck_assert_uint_eq(write_ids(&f, 8, false, wanted), 8);
    f.in.inputs_embeds = run.hidden[0].data;
    for (size_t embeds = 4; embeds <= 6; embeds += 2) {
        f.in.num_embeds = embeds;
        f.in.input_ids = embeds < 6 ? f.ids + embeds : NULL;
        ck_assert_uint_eq(write_ids(&f, 8, false, got), 8);
        ck_assert_int_eq(memcmp(got, wanted, sizeof got), 0);
    }
    kept_free(&run);
    fixture_free(&f);
}
END_TEST

/* ---- promises ----------------------------------------------------------------------------------------------------------- */

START_TEST(the_price_covers_what_a_generation_takes)
{
    static const attn_outputs sets[] = {
        0, ATTN_BIT(ATTN_ATTENTIONS), ATTN_BIT(ATTN_CONTEXT), ATTN_BIT(ATTN_WEIGHTED_NORMS), ATTN_BIT(ATTN_HIDDEN_STATES), everything
    };
    static const size_t lengths[][2] = { { 1, 1 }, { 5, 15 }, { 40, 3 }, { 3, 60 } };
    for (size_t i = 0; i < 2 * 4 * (sizeof sets / sizeof *sets); i++) {
        const size_t *length = lengths[i / 2 % 4];
        const attn_keep one = { .outputs = sets[i / 8] }, keep[ATTN_STACKS] = { one, one, one };
        fixture f;
        fixture_init(&f, kinds[_i], i % 2 ? 5 : 1, length[0]);
        size_t most = attn_model_get_info(f.model)->max_tokens, T = f.in.T = attn_least(length[0], most), n;
        f.prompt = decodes(&f) ? 1 : T;
        n = attn_least(length[1], most - f.prompt);
        attn_price price = attn_generation_price(f.model, &f.in, n, keep);
        attn_generation *g = begin(&f, n);
        for (size_t s = 0; s <= n; s++) {
            kept_run run = { 0 };
            (void)step(&f, g, keep, &run);
            kept_free(&run);
        }
        size_t peak = attn_arena_peak(f.arena);
        ck_assert_msg(peak <= price.bytes, "%s, T %zu, n %zu, set %x: took %zu, price %zu", kinds[_i], length[0], n, sets[i / 8], peak, (size_t)price.bytes);
        ck_assert_msg((double)price.bytes <= 1.6 * (double)peak + 20000, "%s, T %zu, n %zu, set %x: took %zu, price %zu", kinds[_i], length[0], n, sets[i / 8],
                      peak, (size_t)price.bytes);
        fixture_free(&f);
    }
}
END_TEST

START_TEST(a_step_is_priced_as_one_token_and_the_choice_as_one_product)
{
    fixture f;
    fixture_init(&f, AT("gpt2"), 1, 5);
    const attn_model_info *i = attn_model_get_info(f.model);
    uint64_t one = attn_generation_price(f.model, &f.in, 1, NULL).flops, two = attn_generation_price(f.model, &f.in, 2, NULL).flops;
    uint64_t D = i->hidden_size, layer = 2 * 4 * D * D + 2 * 2 * D * 4 * D, head = 2 * D * i->vocab_size;
    ck_assert_uint_eq(two - one, i->num_hidden_layers * (layer + 4 * D * 7) + head); /* the second token meets 7 keys */
    fixture_free(&f);
}
END_TEST

START_TEST(limits_are_named_before_anything_is_computed)
{
    attn_generation *g = NULL;
    attn_error err = { 0 };
    fixture f;
    fixture_init(&f, AT("gpt2"), 1, 5);
    size_t most = attn_model_get_info(f.model)->max_tokens;
    ck_assert_int_eq(attn_generation_begin(&g, f.model, &f.in, most - 4, f.arena, &err), ATTN_E_INPUT);
    ck_assert_str_eq(err.where, "max_new_tokens");
    ck_assert(g == NULL && attn_arena_used(f.arena) == 0);
    ck_assert_int_eq(attn_generation_begin(&g, f.model, &f.in, SIZE_MAX, f.arena, &(attn_error){ 0 }), ATTN_E_INPUT);
    f.ids[2] = -1;
    ck_assert_int_eq(attn_generation_begin(&g, f.model, &f.in, 1, f.arena, &(attn_error){ 0 }), ATTN_E_INPUT);
    f.ids[2] = 1;
    ck_assert_int_eq(attn_generation_begin(&g, f.model, &f.in, most - 5, f.arena, &(attn_error){ 0 }), ATTN_OK);
    fixture_free(&f);
}
END_TEST

START_TEST(what_cannot_write_says_so)
{
    static const char *const silent[] = { AT("bert"), AT("modernbert"), AT("t5-encoder") };
    attn_generation *g = NULL;
    attn_error err = { 0 };
    fixture f;
    fixture_init(&f, silent[_i], 1, 4);
    ck_assert(!attn_model_get_info(f.model)->generates);
    ck_assert_int_eq(attn_generation_begin(&g, f.model, &f.in, 1, f.arena, &err), ATTN_E_INPUT);
    ck_assert_str_eq(err.where, "max_new_tokens");
    fixture_free(&f);
}
END_TEST

START_TEST(behind_the_last_token_there_is_nothing_to_read)
{
    attn_error err = { 0 };
    int32_t next;
    fixture f;
    fixture_init(&f, AT("llama"), 1, 4);
    attn_generation *g = begin(&f, 2);
    for (size_t i = 0; i < 3; i++)
        (void)step(&f, g, NULL, NULL);
    ck_assert_int_eq(attn_generation_run(g, NULL, f.arena, NULL, NULL, &next, &err), ATTN_E_INPUT);
    g = begin(&f, 2);
    ck_assert_int_eq(attn_generation_run(g, NULL, f.arena, NULL, NULL, NULL, &err), ATTN_OK); /* read, and nothing chosen */
    ck_assert_int_eq(attn_generation_run(g, NULL, f.arena, NULL, NULL, &next, &err), ATTN_E_INPUT);
    fixture_free(&f);
}
END_TEST

/* A run that was given up leaves the generation as it was: the next one goes on. */
START_TEST(a_step_that_was_cancelled_may_be_taken_again)
{
    const attn_keep keep[ATTN_STACKS] = { { .outputs = 1 }, { .outputs = 1 }, { .outputs = 1 } };
    int32_t wanted[14], next;
    fixture f;
    fixture_init(&f, kinds[_i], 2, 7);
    (void)write_ids(&f, 14, false, wanted);
    attn_generation *g = begin(&f, 14);
    for (size_t i = 0; i < 14; i++) {
        attn_cancel cancel = { 0 };
        attn_error err = { 0 };
        kept_run run = { .cancel_in = &cancel, .cancel_after = 1 };
        attn_sink sink = { &run, keep_layer, keep_state };
        size_t used = attn_arena_used(f.arena);
        ck_assert_int_eq(attn_generation_run(g, keep, f.arena, &cancel, &sink, &next, &err), ATTN_E_CANCELLED);
        ck_assert_int_eq(attn_generation_run(g, NULL, f.arena, &cancel, NULL, &next, &(attn_error){ 0 }), ATTN_E_CANCELLED); /* while the cache is read anew */
        ck_assert_uint_eq(attn_arena_used(f.arena), used);
        kept_free(&run);
        ck_assert_int_eq(step(&f, g, NULL, NULL), wanted[i]);
    }
    fixture_free(&f);
}
END_TEST

/* ---- rules -------------------------------------------------------------------------------------------------------------- */

static void write_text(const model_copy *copy, const char *name, const char *text)
{
    file_write(copy->path, name, text, strlen(text));
}

START_TEST(generation_config_says_what_ends_and_what_is_never_chosen)
{
    int32_t free_choice[4], got[4];
    char text[256];
    fixture f;
    model_copy copy = copy_model(AT("llama")); /* its config.json says that 1 ends */
    fixture_init(&f, copy.path, 1, 5);
    ck_assert(attn_model_is_end(f.model, 1) && !attn_model_is_end(f.model, 2));
    (void)write_ids(&f, 4, false, free_choice);
    fixture_free(&f);
    snprintf(text, sizeof text, "{\"eos_token_id\": [7, 9], \"bad_words_ids\": [[%d], [3, 4]], \"do_sample\": true, \"forced_eos_token_id\": 5}",
             (int)free_choice[0]);
    write_text(&copy, "generation_config.json", text);
    fixture_init(&f, copy.path, 1, 5);
    ck_assert(attn_model_is_end(f.model, 7) && attn_model_is_end(f.model, 9) && !attn_model_is_end(f.model, 1));
    (void)write_ids(&f, 4, false, got);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_ne(got[i], free_choice[0]);
    fixture_free(&f);
    snprintf(text, sizeof text, "{\"eos_token_id\": [%d], \"bad_words_ids\": [[%d]]}", (int)free_choice[0], (int)free_choice[0]);
    write_text(&copy, "generation_config.json", text);
    fixture_init(&f, copy.path, 1, 5);
    (void)write_ids(&f, 4, false, got);
    ck_assert_int_eq(got[0], free_choice[0]); /* what ends is never forbidden */
    fixture_free(&f);
    write_text(&copy, "generation_config.json", "{\"eos_token_id\": null, \"forced_bos_token_id\": 44}");
    fixture_init(&f, copy.path, 1, 1);
    ck_assert(attn_model_is_end(f.model, 1));
    (void)write_ids(&f, 2, false, got);
    ck_assert_int_eq(got[0], 44); /* behind one token, and nowhere else */
    ck_assert_int_ne(got[1], 44);
    fixture_free(&f);
    remove_copy(&copy);
}
END_TEST

START_TEST(a_damaged_generation_config_is_named)
{
    static const char *const texts[] = { "[]", "{\"eos_token_id\": \"x\"}", "{\"eos_token_id\": [1, [2, 3], 2.5]}", "{\"forced_bos_token_id\": 60}", "{" };
    attn_model *m = NULL;
    attn_error err = { 0 };
    attn_runtime *rt = runtime_with(1, NULL);
    model_copy copy = copy_model(AT("llama"));
    write_text(&copy, "generation_config.json", texts[_i]);
    ck_assert_int_eq(attn_model_open(&m, rt, copy.path, &err), ATTN_E_FORMAT);
    ck_assert_msg(strncmp(err.where, "generation_config.json", 22) == 0, "%s: %s", err.where, err.text);
    remove_copy(&copy);
    attn_runtime_free(rt);
}
END_TEST

/* ---- the choice --------------------------------------------------------------------------------------------------------- */

enum { WIDE = 40, WORDS = 300 };

static attn_status choose(const attn_head *head, const attn_writing *rules, const float *x, int32_t *id)
{
    attn_runtime *rt = runtime_with(3, NULL);
    attn_arena *arena = attn_arena_new();
    attn_status st = attn_choose_word(rt, head, rules, x, 2, id, arena, NULL);
    ck_assert_uint_le(attn_arena_peak(arena), attn_choose_bytes(rt, head));
    attn_arena_free(arena);
    attn_runtime_free(rt);
    return st;
}

START_TEST(the_lowest_of_equal_words_is_chosen_and_none_that_is_forbidden)
{
    static float table[WORDS * WIDE] __attribute__((aligned(64))), x[WIDE], bias[WORDS];
    int32_t id, never[] = { 130, 131 };
    attn_head head = { .table = { table, ATTN_DTYPE_F32, WORDS, WIDE } };
    attn_writing rules = { .forced_first = -1 };
    for (size_t i = 0; i < WIDE; i++)
        x[i] = table[130 * WIDE + i] = table[131 * WIDE + i] = table[290 * WIDE + i] = (float)i / 8;
    ck_assert(choose(&head, &rules, x, &id) == ATTN_OK && id == 130);
    rules.never = never;
    rules.num_never = 2;
    ck_assert(choose(&head, &rules, x, &id) == ATTN_OK && id == 290);
    head.bias = bias;
    bias[299] = 1e9f;
    ck_assert(choose(&head, &rules, x, &id) == ATTN_OK && id == 299);
    bias[299] = -1e9f;
    rules.forced_first = 4; /* two tokens have been read: it is not the first */
    ck_assert(choose(&head, &rules, x, &id) == ATTN_OK && id == 290);
}
END_TEST

START_TEST(a_logit_that_is_not_finite_is_an_error)
{
    static float table[WORDS * WIDE] __attribute__((aligned(64)));
    float x[WIDE] = { 0 };
    int32_t id, never[] = { 0 };
    attn_head head = { .table = { table, ATTN_DTYPE_F32, WORDS, WIDE } };
    attn_writing rules = { .forced_first = -1 };
    x[3] = NAN;
    ck_assert_int_eq(choose(&head, &rules, x, &id), ATTN_E_OVERFLOW);
    x[3] = INFINITY;
    table[200 * WIDE + 3] = 1;
    ck_assert_int_eq(choose(&head, &rules, x, &id), ATTN_E_OVERFLOW);
    x[3] = 0;
    head.table.rows = 1;
    rules = (attn_writing){ .forced_first = -1, .never = never, .num_never = 1 };
    ck_assert_int_eq(choose(&head, &rules, x, &id), ATTN_E_INPUT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("generation");
    TCase *chosen = tcase_create("chosen"), *steps = tcase_create("steps"), *promises = tcase_create("promises"), *rules = tcase_create("rules");
    tcase_set_timeout(chosen, 120);
    tcase_add_loop_test(chosen, greedy_choices_are_those_of_transformers, 0, 2);
    tcase_add_loop_test(chosen, published_texts_come_out_to_the_letter, 0, 2);
    tcase_add_test(chosen, models_inside_the_program_write_what_transformers_writes);
    tcase_set_timeout(steps, 120);
    tcase_add_loop_test(steps, a_step_shows_the_rows_of_one_pass, 0, NUM_KINDS);
    tcase_add_loop_test(steps, padding_of_the_prompt_stays_hidden, 0, NUM_KINDS);
    tcase_add_loop_test(steps, bits_do_not_depend_on_threads_nor_on_what_is_kept, 0, NUM_KINDS);
    tcase_add_test(steps, a_prompt_may_begin_with_embeddings);
    tcase_set_timeout(promises, 120);
    tcase_add_loop_test(promises, the_price_covers_what_a_generation_takes, 0, NUM_KINDS);
    tcase_add_test(promises, a_step_is_priced_as_one_token_and_the_choice_as_one_product);
    tcase_add_test(promises, limits_are_named_before_anything_is_computed);
    tcase_add_loop_test(promises, what_cannot_write_says_so, 0, 3);
    tcase_add_test(promises, behind_the_last_token_there_is_nothing_to_read);
    tcase_add_loop_test(promises, a_step_that_was_cancelled_may_be_taken_again, 0, NUM_KINDS);
    tcase_add_test(rules, generation_config_says_what_ends_and_what_is_never_chosen);
    tcase_add_loop_test(rules, a_damaged_generation_config_is_named, 0, 5);
    tcase_add_test(rules, the_lowest_of_equal_words_is_chosen_and_none_that_is_forbidden);
    tcase_add_test(rules, a_logit_that_is_not_finite_is_an_error);
    suite_add_tcase(suite, chosen);
    suite_add_tcase(suite, steps);
    suite_add_tcase(suite, promises);
    suite_add_tcase(suite, rules);
    return unit_main(suite);
}
