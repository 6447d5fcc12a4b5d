/* test_joint.c - several inputs in one run: each has the bits of its lone run, pays no more than was said, and fails alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model_case.h"
#include "model_list.h"

enum { PARTS = 5, LONGEST = 13 };

static const attn_outputs everything = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;
static const char *const tables[] = { "ref", "avx2", "avx512", NULL };
enum { NUM_TABLES = sizeof tables / sizeof *tables };

/* An input of its own, what is kept of it, and what came. */
typedef struct part {
    attn_model_input in;
    int32_t ids[LONGEST], types[LONGEST];
    uint8_t mask[LONGEST], special[LONGEST];
    attn_analysis_tokens about;
    attn_keep keep;
    attn_cancel cancel;
    attn_error err;
    attn_sink sink;
    kept_run lone, joint;
} part;

static part parts[PARTS];
static uint32_t seed;

static uint32_t dice(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Lengths below, at and above the kernels' tiles; masks behind, in front and nowhere. */
static void make_part(part *p, const attn_model *m, size_t number, const attn_keep *keep)
{
    static const size_t lengths[PARTS] = { 8, 1, 13, 5, 12 };
    const attn_model_info *info = attn_model_get_info(m);
    memset(p, 0, sizeof *p);
    p->in.T = attn_least(lengths[number], info->max_tokens);
    p->in.input_ids = p->ids;
    for (size_t t = 0; t < p->in.T; t++) {
        p->ids[t] = (int32_t)dice((uint32_t)info->vocab_size);
        p->types[t] = info->type_vocab_size ? (int32_t)dice((uint32_t)info->type_vocab_size) : 0;
        p->mask[t] = number == 2 ? t < 9 : t > 0;
        p->special[t] = dice(3) == 0;
    }
    p->in.token_type_ids = info->type_vocab_size && number % 2 ? p->types : NULL;
    p->in.attention_mask = number == 2 || number == 3 ? p->mask : NULL;
    p->about = (attn_analysis_tokens){ p->ids, p->special };
    p->keep = *keep;
    p->keep.about = &p->about;
    p->sink = (attn_sink){ &p->joint, keep_layer, keep_state };
    p->joint.T = p->in.T;
    p->joint.asked = keep->heads ? keep->num_heads : info->num_attention_heads;
}

static void run_lone(part *p, const attn_model *m)
{
    attn_error err = { 0 };
    attn_status st = run_kept(m, &p->in, &p->keep, &p->lone, NULL, NULL, &err);
    ck_assert_msg(st == ATTN_OK, "%s: %s", err.where, err.text);
}

/* All parts in one run; returns what it took. */
static size_t run_joint(const attn_model *m, attn_joint_run runs[PARTS])
{
    attn_arena *arena = attn_arena_new();
    ck_assert_ptr_nonnull(arena);
    for (size_t i = 0; i < PARTS; i++)
        runs[i] = (attn_joint_run){ &parts[i].in, &parts[i].keep, &parts[i].cancel, &parts[i].sink, &parts[i].err, ATTN_OK };
    attn_model_run_joint(m, runs, PARTS, arena);
    ck_assert_uint_eq(attn_arena_used(arena), 0);
    size_t peak = attn_arena_peak(arena);
    attn_arena_free(arena);
    return peak;
}

static void same_tensor(const kept_tensor *a, const kept_tensor *b)
{
    ck_assert(!a->data == !b->data);
    ck_assert(a->heads == b->heads && a->rows == b->rows && a->cols == b->cols);
    if (a->data)
        ck_assert_mem_eq(a->data, b->data, a->heads * a->rows * a->cols * sizeof(float));
}

static void same_bits(const kept_run *a, const kept_run *b)
{
    ck_assert_uint_eq(a->num_layers, b->num_layers);
    ck_assert_uint_eq(a->num_states, b->num_states);
    for (size_t l = 0; l < a->num_layers; l++) {
        ck_assert_uint_eq(a->layers[l], b->layers[l]);
        for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
            same_tensor(&a->tensors[l][o], &b->tensors[l][o]);
        for (int i = 0; i < ATTN_ANALYSIS_COUNT; i++)
            same_tensor(&a->analyses[l][i], &b->analyses[l][i]);
    }
    for (size_t s = 0; s < a->num_states; s++) {
        ck_assert_uint_eq(a->states[s], b->states[s]);
        same_tensor(&a->hidden[s], &b->hidden[s]);
    }
}

static void free_parts(void)
{
    for (size_t i = 0; i < PARTS; i++) {
        kept_free(&parts[i].lone);
        kept_free(&parts[i].joint);
    }
}

static void compare(const attn_model *m, const attn_keep *keep, bool own_heads)
{
    static const int32_t head[] = { 1, 0 };
    attn_joint_run runs[PARTS];
    uint64_t price = 0;
    for (size_t i = 0; i < PARTS; i++) {
        attn_keep own = *keep;
        if (own_heads && i % 2) { /* one head, or both of a model's first two */
            own.heads = head;
            own.num_heads = i == 1 ? 1 : 2;
        }
        make_part(&parts[i], m, i, &own);
        run_lone(&parts[i], m);
        ck_assert(attn_keep_joins(&parts[0].keep, &parts[i].keep));
        price += attn_model_price(m, &parts[i].in, &parts[i].keep).bytes + attn_model_joint_bytes(m, parts[i].in.T);
    }
    size_t peak = run_joint(m, runs);
    ck_assert_msg(peak <= price, "took %zu, price %zu", peak, (size_t)price);
    for (size_t i = 0; i < PARTS; i++) {
        ck_assert_msg(runs[i].status == ATTN_OK, "%s: %s", parts[i].err.where, parts[i].err.text);
        same_bits(&parts[i].lone, &parts[i].joint);
    }
    free_parts();
}

START_TEST(each_input_has_the_bits_of_its_lone_run)
{
    static const int32_t first[] = { 0 };
    static const attn_analyses all_analyses = ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1;
    const attn_keep keeps[] = { { .outputs = everything, .analyses = all_analyses },
                                { .outputs = ATTN_BIT(ATTN_ATTENTIONS) },
                                { .outputs = ATTN_BIT(ATTN_HIDDEN_STATES) },
                                { .outputs = ATTN_BIT(ATTN_ATTN_OUTPUT) | ATTN_BIT(ATTN_VALUE), .layers = first, .num_layers = 1 },
                                { .analyses = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT) } };
    const char *table = tables[_i % NUM_TABLES];
    attn_runtime *rt = runtime_with(_i % 3 + 1, table);
    if (!rt) {
        printf("SKIPPED %s: this CPU has it not\n", table);
        return;
    }
    seed = (uint32_t)_i;
    attn_model *m = open_model(rt, models[_i / NUM_TABLES].path);
    attn_outputs can = attn_model_get_info(m)->outputs;
    attn_runtime_enter(rt);
    for (size_t k = 0; k < sizeof keeps / sizeof *keeps && attn_model_joins(m, &keeps[0]); k++) {
        attn_keep keep = keeps[k];
        keep.outputs &= can;
        compare(m, &keep, attn_model_get_info(m)->num_attention_heads > 1 && k < 2);
    }
    attn_runtime_leave(rt);
    attn_model_close(m);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(models_that_add_to_scores_or_have_two_stacks_run_alone)
{
    static const char *const alone[] = { "mpnet", "bloom", "mpt", "deberta-v2", "t5", "mt5", "bart", "mbart", "marian" };
    static const char *const joined[] = { "bert", "roberta", "electra", "distilbert", "albert", "modernbert", "llama", "gpt2", "qwen3", "phi3", "gpt_neox" };
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, nothing = { 0 };
    attn_runtime *rt = runtime_with(1, NULL);
    size_t seen = 0;
    for (int i = 0; i < num_models; i++) {
        attn_model *m = open_model(rt, models[i].path);
        for (size_t n = 0; n < sizeof alone / sizeof *alone; n++)
            ck_assert(strcmp(models[i].type, alone[n]) != 0 || !attn_model_joins(m, &keep));
        for (size_t n = 0; n < sizeof joined / sizeof *joined; n++)
            if (strcmp(models[i].type, joined[n]) == 0) {
                ck_assert_msg(attn_model_joins(m, &keep) && !attn_model_joins(m, &nothing), "%s", models[i].path);
                seen++;
            }
        attn_model_close(m);
    }
    ck_assert_uint_ge(seen, sizeof joined / sizeof *joined);
    attn_runtime_free(rt);
}
END_TEST

START_TEST(only_runs_of_which_the_same_is_kept_are_one)
{
    static const int32_t one[] = { 1 }, other[] = { 2 }, both[] = { 1, 2 };
    attn_keep a = { .outputs = ATTN_BIT(ATTN_ATTENTIONS) }, b = a;
    ck_assert(attn_keep_joins(&a, &b));
    b.heads = one, b.num_heads = 1;
    ck_assert(attn_keep_joins(&a, &b));
    b.outputs |= ATTN_BIT(ATTN_VALUE);
    ck_assert(!attn_keep_joins(&a, &b));
    b = a, b.analyses = ATTN_ANALYSIS_BIT(ATTN_ENTROPY);
    ck_assert(!attn_keep_joins(&a, &b));
    b = a, b.layers = one, b.num_layers = 1;
    ck_assert(!attn_keep_joins(&a, &b));
    a.layers = other, a.num_layers = 1;
    ck_assert(!attn_keep_joins(&a, &b));
    a.layers = both, a.num_layers = 2;
    ck_assert(!attn_keep_joins(&a, &b));
    a.num_layers = 1;
    ck_assert(attn_keep_joins(&a, &b));
}
END_TEST

#define BERT "tests/golden/models/bert"

/* ---- failures ------------------------------------------------------------------------------------------------------------ */

static attn_runtime *rt;
static attn_model *model;

/* Lone runs done, none failed yet. */
static void ready(const char *source)
{
    rt = runtime_with(2, NULL);
    model = open_model(rt, source);
    attn_runtime_enter(rt);
    for (size_t i = 0; i < PARTS; i++) {
        make_part(&parts[i], model, i, &(attn_keep){ .outputs = everything });
        run_lone(&parts[i], model);
    }
}

static void done(void)
{
    free_parts();
    attn_runtime_leave(rt);
    attn_model_close(model);
    attn_runtime_free(rt);
}

/* Part `failed` says `status`, about `where`; the others are as alone. */
static void fails_alone(size_t failed, attn_status status, const char *where)
{
    attn_joint_run runs[PARTS];
    (void)run_joint(model, runs);
    ck_assert_int_eq(runs[failed].status, status);
    ck_assert_int_eq(parts[failed].err.code, status);
    ck_assert_str_eq(parts[failed].err.where, where);
    for (size_t i = 0; i < PARTS; i++)
        if (i != failed) {
            ck_assert_int_eq(runs[i].status, ATTN_OK);
            same_bits(&parts[i].lone, &parts[i].joint);
        }
}

START_TEST(an_input_that_does_not_fit_the_model_fails_alone)
{
    ready(BERT);
    parts[_i].ids[0] = (int32_t)attn_model_get_info(model)->vocab_size;
    fails_alone((size_t)_i, ATTN_E_INPUT, "input_ids");
    ck_assert_uint_eq(parts[_i].joint.num_layers + parts[_i].joint.num_states, 0);
    done();
}
END_TEST

START_TEST(one_that_is_cancelled_leaves_alone)
{
    ready(BERT);
    if (_i == 0)
        attn_cancel_raise(&parts[1].cancel, ATTN_CLIENT_GONE);
    parts[1].joint.cancel_in = &parts[1].cancel;
    parts[1].joint.cancel_after = (size_t)_i; /* 0: it never began */
    fails_alone(1, ATTN_E_CANCELLED, "");
    ck_assert_uint_eq(parts[1].joint.num_layers, (size_t)_i);
    done();
}
END_TEST

START_TEST(a_sink_that_refuses_ends_its_own_run)
{
    ready(BERT);
    parts[4].joint.answer = ATTN_E_NOMEM;
    fails_alone(4, ATTN_E_NOMEM, "sink");
    ck_assert_uint_eq(parts[4].joint.num_layers + parts[4].joint.num_states, 1);
    done();
}
END_TEST

/* Seen by the norm of the embeddings, and by a layer's, which is of all inputs' rows. */
START_TEST(an_overflow_is_the_failure_of_its_input)
{
    ready(_i == 0 ? BERT : "tests/golden/models/llama");
    size_t E = attn_model_get_info(model)->embedding_size;
    float *embeds = calloc(parts[2].in.T * E, sizeof *embeds);
    embeds[3 * E] = 3e38f;
    parts[2].in.input_ids = NULL;
    parts[2].in.inputs_embeds = embeds;
    parts[2].in.num_embeds = parts[2].in.T;
    fails_alone(2, ATTN_E_OVERFLOW, "hidden_states");
    free(embeds);
    done();
}
END_TEST

START_TEST(where_all_fail_the_run_ends)
{
    attn_joint_run runs[PARTS];
    ready(BERT);
    for (size_t i = 0; i < PARTS; i++)
        parts[i].joint.answer = ATTN_E_LIMIT;
    (void)run_joint(model, runs);
    for (size_t i = 0; i < PARTS; i++) {
        ck_assert_int_eq(runs[i].status, ATTN_E_LIMIT);
        ck_assert_uint_eq(parts[i].joint.num_states, 1);
    }
    done();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("joint");
    TCase *bits = tcase_create("bits"), *failures = tcase_create("failures");
    list_models(false);
    tcase_add_loop_test(bits, each_input_has_the_bits_of_its_lone_run, 0, num_models * NUM_TABLES);
    tcase_add_test(bits, models_that_add_to_scores_or_have_two_stacks_run_alone);
    tcase_add_test(bits, only_runs_of_which_the_same_is_kept_are_one);
    tcase_set_timeout(bits, 300);
    suite_add_tcase(suite, bits);
    tcase_add_loop_test(failures, an_input_that_does_not_fit_the_model_fails_alone, 0, PARTS);
    tcase_add_loop_test(failures, one_that_is_cancelled_leaves_alone, 0, 3);
    tcase_add_test(failures, a_sink_that_refuses_ends_its_own_run);
    tcase_add_loop_test(failures, an_overflow_is_the_failure_of_its_input, 0, 2);
    tcase_add_test(failures, where_all_fail_the_run_ends);
    suite_add_tcase(suite, failures);
    return unit_main(suite);
}
