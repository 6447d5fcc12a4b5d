/* golden_case.h - for tests of models: every case of a golden file against what the model gives, with each table of kernels that this machine has.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GOLDEN_CASE_H
#define GOLDEN_CASE_H

#include "model_case.h"

static const double golden_tolerance = 5e-6; /* through a whole model, float32 against float64 */
static const double golden_state_tolerance = 2e-5;

/* As golden_error, of hidden states: [layer + 1, token, hidden]. */
static inline double golden_state_error(const json_t *tensor, const kept_run *run)
{
    const json_t *data = json_object_get(tensor, "data");
    double worst = 0, largest = 1;
    size_t n = 0;
    for (size_t s = 0; s < run->num_states; s++) {
        const kept_tensor *t = &run->hidden[s];
        ck_assert_uint_eq(run->states[s], s);
        for (size_t i = 0; i < t->rows * t->cols; i++, n++) {
            double x = json_number_value(json_array_get(data, n)), off = fabs(x - (double)t->data[i]);
            ck_assert_msg(isfinite(t->data[i]), "hidden_states, number %zu", n);
            worst = off > worst ? off : worst;
            largest = fabs(x) > largest ? fabs(x) : largest;
        }
    }
    ck_assert_uint_eq(n, json_array_size(data));
    return worst / largest;
}

static inline void golden_compare_case(const attn_model *m, const json_t *c, double *worst)
{
    golden_input g;
    attn_error err = { 0 };
    kept_run run = { 0 };
    int32_t heads[CASE_TOKENS];
    const char *name = json_string_value(json_object_get(c, "case"));
    attn_keep keep = { .outputs = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1 };
    if (read_ids(json_object_get(c, "heads"), heads)) {
        keep.heads = heads;
        keep.num_heads = json_array_size(json_object_get(c, "heads"));
    }
    golden_input_init(&g, c);
    attn_status st = run_kept(m, &g.in, &keep, &run, NULL, NULL, &err);
    ck_assert_msg(st == ATTN_OK, "case %s: %s: %s", name, err.where, err.text);
    ck_assert_uint_eq(run.num_layers, attn_model_get_info(m)->num_hidden_layers);
    size_t compared = 0;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        bool is_state = o == ATTN_HIDDEN_STATES;
        const json_t *tensor = json_object_get(c, attn_output_name((attn_output)o));
        if (!tensor)
            continue;
        double off = is_state ? golden_state_error(tensor, &run) : golden_error(tensor, json_object_get(c, "layers"), &run, (attn_output)o);
        ck_assert_msg(off <= (is_state ? golden_state_tolerance : golden_tolerance), "case %s, %s: off by %.2e", name, attn_output_name((attn_output)o), off);
        worst[o] = off > worst[o] ? off : worst[o];
        compared++;
    }
    ck_assert_uint_gt(compared, 0);
    kept_free(&run);
    free(g.embeds);
}

/* false: this CPU has not got it. */
static inline bool golden_compare_with(const char *source, const char *golden, const char *table)
{
    attn_runtime *rt = runtime_with(2, table);
    if (!rt)
        return false;
    double worst[ATTN_OUTPUT_COUNT] = { 0 };
    attn_model *m = open_model(rt, source);
    json_t *doc = load_json(golden), *cases = json_object_get(doc, "cases");
    ck_assert_uint_gt(json_array_size(cases), 0);
    attn_runtime_enter(rt);
    for (size_t i = 0; i < json_array_size(cases); i++)
        golden_compare_case(m, json_array_get(cases, i), worst);
    attn_runtime_leave(rt);
    printf("%-36s %-7s worst:", source, table);
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++)
        if (worst[o] > 0)
            printf(" %s %.1e", attn_output_name((attn_output)o), worst[o]);
    printf("\n");
    json_decref(doc);
    attn_model_close(m);
    attn_runtime_free(rt);
    return true;
}

/* The fastest table first: it is enough where minutes would be spent on the others. */
static inline void golden_compare_model(const char *source, const char *golden)
{
    static const char *const tables[] = { "avx512", "avx2", "neon", "ref" };
    bool compared = false;
    for (size_t t = 0; t < sizeof tables / sizeof *tables && !(SANITIZED && compared); t++)
        compared |= golden_compare_with(source, golden, tables[t]);
    ck_assert(compared);
}

#endif
