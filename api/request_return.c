/* request_return.c - what a request asks back: does it go together, does it go with the form of the answer, and can the input give it?
 *
 * Each refusal is a line of a table and says what to change. Lines that come first win, so the ones about a single field stand before those about several.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "request_read.h"

/* ---- what goes together ------------------------------------------------------------------------------------------------------------ */

typedef struct rule {
    bool is_broken;
    const char *field, *detail;
} rule;

static bool check_rules(api_reading *r, const rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->field = rules[i].field;
        if (rules[i].is_broken)
            return api_fail_field(r, API_UNSUPPORTED_COMBINATION, "%s", rules[i].detail);
    }
    return true;
}

/* How numbers are written. */
static bool check_numbers(api_reading *r)
{
    const api_return *want = &r->request.want;
    bool is_json = api_form_is_json(r->form->kind), is_base64 = want->encoding == API_ENCODING_BASE64;
    const rule rules[] = {
        { want->has_encoding && !is_json, "encoding", "encoding is for JSON; leave it out, or set Accept to application/json or application/x-ndjson" },
        { want->decimals && !is_json, "decimals", "decimals are for JSON numbers; leave them out, or set Accept to application/json or application/x-ndjson" },
        { want->decimals && is_base64, "decimals", "decimals are for JSON numbers; leave them out, or set encoding to \"json\"" },
        { want->decimals && want->dtype == API_FLOAT16, "decimals",
          "dtype \"float16\" prints the shortest exact number; leave decimals out, or set dtype to \"float32\"" },
        { want->dtype != API_FLOAT32 && api_form_is_drawn(r->form->kind), "dtype",
          "what is drawn has no dtype; leave it out, or set Accept to a form that holds numbers" },
        { want->dtype == API_UINT8 && (want->outputs != ATTN_BIT(ATTN_ATTENTIONS) || want->analyses), "dtype",
          "dtype \"uint8\" is for attentions alone; set output to [\"attentions\"], without analyses" },
        { want->dtype == API_UINT8 && is_json && !is_base64, "dtype",
          "dtype \"uint8\" needs encoding \"base64\", or application/vnd.safetensors or application/x-npy as Accept" },
        { want->dtype == API_UINT8 && want->top_k && (want->reduce_heads == ATTN_REDUCE_MAX || want->reduce_layers == ATTN_REDUCE_MAX), "dtype",
          "the largest weights of several maps sum to more than 1, so what top_k drops does not fit dtype \"uint8\"; set dtype to \"float16\", or reduce by "
          "\"mean\"" },
    };
    return check_rules(r, rules, sizeof rules / sizeof rules[0]);
}

/* What is done to maps. */
static bool check_maps(api_reading *r)
{
    const attn_analyses whole = ATTN_ANALYSIS_BIT(ATTN_ROLLOUT) | ATTN_ANALYSIS_BIT(ATTN_HEAD_DISTANCE);
    const api_return *want = &r->request.want;
    bool has_maps = want->outputs & ATTN_MAP_OUTPUTS;
    const rule rules[] = {
        { want->top_k && !(want->outputs & ATTN_BIT(ATTN_ATTENTIONS)), "top_k", "top_k is of attentions; add \"attentions\" to output, or leave top_k out" },
        { want->reduce_heads && !has_maps, "reduce_heads", "reduce_heads is of maps; add one to output, or leave it out" },
        { want->reduce_layers && !has_maps, "reduce_layers", "reduce_layers is of maps; add one to output, or leave it out" },
        { want->pool_size && !has_maps, "pool", "pool is of maps; add one to output, or leave it out" },
        { want->pool_size && want->top_k, "pool", "bins have no largest keys: pool and top_k do not go together; leave one of them out" },
        { want->pool_size && (want->analyses & whole), "pool",
          "rollout and head_distance need whole maps, which pool never holds; leave pool out, or ask for them in a request of their own" },
    };
    return check_rules(r, rules, sizeof rules / sizeof rules[0]);
}

static size_t count_bits(uint32_t set)
{
    size_t n = 0;
    for (; set; set &= set - 1)
        n++;
    return n;
}

/* A .npy file is one tensor and nothing else. */
static bool check_npy(api_reading *r)
{
    static const char *const inputs[] = {
        [API_INPUT_TEXT] = "text", [API_INPUT_IDS] = "input_ids", [API_INPUT_EMBEDS] = "inputs_embeds", [API_INPUT_EMBEDDINGS] = "embeddings",
        [API_INPUT_QKV] = "query",
    };
    const api_return *want = &r->request.want;
    size_t outputs = count_bits(want->outputs);
    const rule rules[] = {
        { outputs > 1, "output", "application/x-npy holds one tensor; name one output, or set Accept to application/vnd.safetensors" },
        { outputs + count_bits(want->analyses) > 1, "analyses",
          "application/x-npy holds one tensor; ask for one analysis with an empty output, leave analyses out, or set Accept to application/vnd.safetensors" },
        { want->top_k, "top_k", "top_k gives three tensors, and application/x-npy holds one; leave it out, or set Accept to application/vnd.safetensors" },
        { r->request.num_inputs > 1, inputs[r->request.kind],
          "application/x-npy holds one tensor; send one input at a time, or set Accept to application/vnd.safetensors" },
    };
    return r->form->kind != API_FORM_NPY || check_rules(r, rules, sizeof rules / sizeof rules[0]);
}

static bool fail_place(api_problem *problem, api_code code, const char *field, size_t place, const char *detail)
{
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s/%zu", field, place);
    return api_fail(problem, code, pointer, "%s", detail);
}

static bool check_drawn(api_reading *r)
{
    const attn_outputs signed_maps = ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_RAW_SCORES);
    const api_return *want = &r->request.want;
    const rule rules[] = {
        { want->top_k, "top_k", "the largest keys alone are no map to draw; leave top_k out, or set Accept to a form that holds numbers" },
        { want->analyses, "analyses", "analyses are numbers, and maps alone are drawn; leave them out, or set Accept to a form that holds numbers" },
        { r->form->scale == ATTN_SCALE_LOG && (want->outputs & signed_maps), "output",
          "scores may be negative and have no logarithm; leave scores and raw_scores out, or set scale to linear or row" },
    };
    if (!api_form_is_drawn(r->form->kind))
        return true;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        char detail[200];
        if (!(want->outputs & ATTN_BIT(o)) || attn_output_is_map((attn_output)o))
            continue;
        snprintf(detail, sizeof detail, "%s is no map, and maps alone are drawn; leave it out, or set Accept to a form that holds numbers",
                 attn_output_name((attn_output)o));
        return fail_place(r->problem, API_UNSUPPORTED_COMBINATION, "output", want->output_places[o], detail);
    }
    return check_rules(r, rules, sizeof rules / sizeof rules[0]);
}

/* Lines come while tokens are chosen, and how many there will be is not known. */
static bool check_lines(api_reading *r)
{
    const api_return *want = &r->request.want;
    const rule rules[] = {
        { want->queries.kind != API_ALL, "queries",
          "with max_new_tokens each line of application/x-ndjson is a new query; leave queries out, or set Accept to application/json" },
        { want->keys.kind != API_ALL, "keys",
          "with max_new_tokens lines of application/x-ndjson have every key; leave keys out, or set Accept to application/json" },
        { want->pool_size, "pool",
          "with max_new_tokens lines of application/x-ndjson come before it is known how many bins there are; leave pool out, or set Accept to "
          "application/json" },
    };
    return r->form->kind != API_FORM_NDJSON || r->request.max_new_tokens == 0 || check_rules(r, rules, sizeof rules / sizeof rules[0]);
}

bool api_check_return(api_reading *r)
{
    const api_return *want = &r->request.want;
    r->field = "output";
    if (!want->outputs && !want->analyses)
        return api_fail_field(r, API_EMPTY, "output names nothing to return, and there are no analyses");
    return check_numbers(r) && check_drawn(r) && check_maps(r) && check_npy(r) && check_lines(r);
}

/* ---- what an input can give ------------------------------------------------------------------------------------------------------------ */

static bool check_outputs(const api_attention_request *req, attn_outputs available, bool has_model, api_problem *problem)
{
    attn_outputs missing = req->want.outputs & ~available;
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        char detail[200];
        if (!(missing & ATTN_BIT(o)))
            continue;
        const char *why = o == ATTN_WEIGHTED_NORMS ? "it needs an output projection: send embeddings with w_o" : "it needs a model: send text or input_ids";
        snprintf(detail, sizeof detail, "%s cannot be had: %s", attn_output_name((attn_output)o), has_model ? "this model does not give it" : why);
        return fail_place(problem, API_OUTPUT_NOT_AVAILABLE, "output", req->want.output_places[o], detail);
    }
    return true;
}

static bool check_analyses(const api_attention_request *req, bool has_ids, bool knows_special, bool is_square, api_problem *problem)
{
    const struct {
        attn_analyses analyses;
        bool can_be;
        const char *why;
    } needs[] = {
        { ATTN_TOKEN_ANALYSES, has_ids, "it compares tokens: send text or input_ids" },
        { ATTN_ANALYSIS_BIT(ATTN_SPECIAL_TOKENS), knows_special, "which tokens are special is not known: send text, or input_ids to a model with a tokenizer" },
        { ATTN_ANALYSIS_BIT(ATTN_ROLLOUT), is_square, "it follows tokens through layers, so there must be as many queries as keys" },
    };
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++)
        for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
            char detail[200];
            if (needs[i].can_be || !(req->want.analyses & needs[i].analyses & ATTN_ANALYSIS_BIT(a)))
                continue;
            snprintf(detail, sizeof detail, "%s cannot be had: %s", attn_analysis_name((attn_analysis)a), needs[i].why);
            return fail_place(problem, API_OUTPUT_NOT_AVAILABLE, "analyses", req->want.analysis_places[a], detail);
        }
    return true;
}

bool api_check_available(const api_attention_request *req, const attn_model *model, const api_operator_shape *shape, api_problem *problem)
{
    attn_outputs available = ATTN_BIT(ATTN_OUTPUT_COUNT) - 1;
    bool is_text = req->kind == API_INPUT_TEXT, has_ids = is_text || req->kind == API_INPUT_IDS;
    if (model)
        available = attn_model_get_info(model)->outputs;
    else
        available &= ~(ATTN_BIT(ATTN_HIDDEN_STATES) | (req->w_o.rank ? 0 : ATTN_BIT(ATTN_WEIGHTED_NORMS)));
    bool knows_special = is_text || (has_ids && model && attn_model_get_tokenizer(model));
    return check_outputs(req, available, model != NULL, problem) && check_analyses(req, has_ids, knows_special, model || shape->T_q == shape->T_k, problem);
}
