/* test_request.c - every field of the contract is read into its place, and every way to get one wrong is refused by its code and pointer.
 *
 * The bad requests are data, tests/http/bad_requests.jsonl, shared with the HTTP suite; those marked "by" need a model or a run and are left to it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>

#include "request_case.h"

static request_case c;

static void setup(void)
{
    case_begin(&c);
}

static void teardown(void)
{
    case_end(&c);
}

/* ---- inputs --------------------------------------------------------------------------------------------------------------------- */

START_TEST(nothing_but_a_text_means_the_defaults_of_the_contract)
{
    case_accepts(&c, "{'text': 'the cat'}");
    const api_attention_request *r = &c.req;
    ck_assert_int_eq(r->kind, API_INPUT_TEXT);
    ck_assert_uint_eq(r->num_inputs, 1);
    ck_assert(!r->is_batch && r->add_special_tokens && !r->truncation);
    ck_assert_ptr_null(r->model);
    ck_assert(r->text[0].length == 7 && memcmp(r->text[0].bytes, "the cat", 7) == 0);
    ck_assert(!r->text_pair && !r->input_ids && !r->attention_mask && !r->token_type_ids);
    ck_assert_uint_eq(r->want.outputs, ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_CONTEXT));
    ck_assert(r->want.layers.kind == API_ALL && r->want.heads.kind == API_ALL && r->want.queries.kind == API_ALL && r->want.keys.kind == API_ALL);
    ck_assert(r->want.reduce_heads == ATTN_REDUCE_NONE && r->want.reduce_layers == ATTN_REDUCE_NONE);
    ck_assert(r->want.top_k == 0 && r->want.decimals == 0 && r->want.dtype == API_FLOAT32 && r->want.encoding == API_ENCODING_JSON);
    ck_assert(r->want.analyses == 0 && r->want.pool_size == 0 && !r->want.has_encoding && r->max_new_tokens == 0);
}
END_TEST

START_TEST(texts_come_alone_or_in_an_array_with_their_pairs)
{
    case_accepts(&c, "{'text_pair': ['', 'd\\u0000'], 'model': 'a/b', 'text': ['a', 'b\\n'], 'add_special_tokens': false, 'truncation': true}");
    ck_assert_uint_eq(c.req.num_inputs, 2);
    ck_assert(c.req.is_batch && !c.req.add_special_tokens && c.req.truncation);
    ck_assert_str_eq(c.req.model, "a/b");
    ck_assert(c.req.text[1].length == 2 && memcmp(c.req.text[1].bytes, "b\n", 2) == 0);
    ck_assert(c.req.text_pair[0].length == 0 && c.req.text_pair[1].length == 2 && c.req.text_pair[1].bytes[1] == '\0');
    case_accepts(&c, "{'text': ['a']}");
    ck_assert(c.req.is_batch && c.req.num_inputs == 1);
    case_accepts(&c, "{'text': '', 'text_pair': ''}");
    ck_assert(!c.req.is_batch && c.req.text_pair && c.req.text_pair[0].length == 0);
}
END_TEST

START_TEST(what_a_decoder_has_read_has_lengths_of_its_own)
{
    case_accepts(&c, "{'input_ids': [5, 6, 7], 'decoder_input_ids': [0, -3], 'max_new_tokens': 2147483647}");
    ck_assert_uint_eq(c.req.decoder_input_ids[0].count, 2);
    ck_assert(c.req.decoder_input_ids[0].values[1] == -3 && c.req.max_new_tokens == INT32_MAX);
    case_accepts(&c, "{'text': ['a', 'b'], 'decoder_input_ids': [[0], [1, 2, 3]]}");
    ck_assert(c.req.decoder_input_ids[0].count == 1 && c.req.decoder_input_ids[1].count == 3);
    case_accepts(&c, "{'inputs_embeds': [[[1], [2]]], 'decoder_input_ids': [[4, 5, 6]], 'max_new_tokens': 0}");
    ck_assert(c.req.decoder_input_ids[0].count == 3 && c.req.max_new_tokens == 0);
    case_accepts(&c, "{'text': 'a', 'text_pair': 'b', 'decoder_input_ids': null, 'max_new_tokens': null}");
    ck_assert(!c.req.decoder_input_ids && c.req.max_new_tokens == 0);
    c.service.limits.max_tokens = 2;
    case_refuses(&c, "{'input_ids': [5, 6], 'decoder_input_ids': [0, 1, 2]}", API_TOO_MANY_TOKENS, "/decoder_input_ids");
    case_refuses(&c, "{'input_ids': [[5], [6]], 'decoder_input_ids': [[0], [0, 1, 2]]}", API_TOO_MANY_TOKENS, "/decoder_input_ids/1");
    ck_assert(c.problem.limit == 2 && c.problem.need == 3);
}
END_TEST

START_TEST(ids_come_alone_or_in_lists_of_any_lengths)
{
    case_accepts(&c, "{'input_ids': [5, 6.0, -1, 2147483648], 'attention_mask': [1, 0, 1, 1], 'token_type_ids': [0, 0, 1, 1]}");
    ck_assert(c.req.kind == API_INPUT_IDS && !c.req.is_batch && c.req.num_inputs == 1);
    ck_assert_uint_eq(c.req.input_ids[0].count, 4);
    ck_assert(c.req.input_ids[0].values[1] == 6 && c.req.input_ids[0].values[2] == -1 && c.req.input_ids[0].values[3] == 2147483648);
    ck_assert(c.req.attention_mask[0].values[1] == 0 && c.req.token_type_ids[0].values[3] == 1);
    case_accepts(&c, "{'input_ids': [ [1, 2, 3], [4], [5, 6] ], 'attention_mask': [[1, 1, 0], [1], [0, 1]]}");
    ck_assert(c.req.is_batch && c.req.num_inputs == 3);
    ck_assert(c.req.input_ids[0].count == 3 && c.req.input_ids[1].count == 1 && c.req.input_ids[2].values[1] == 6);
    ck_assert(c.req.attention_mask[0].values[2] == 0 && c.req.attention_mask[2].values[0] == 0);
    case_accepts(&c, "{'text': 'a', 'token_type_ids': [0, 0, 0]}");
    ck_assert_uint_eq(c.req.token_type_ids[0].count, 3);
}
END_TEST

START_TEST(embeds_come_with_or_without_a_batch)
{
    case_accepts(&c, "{'inputs_embeds': [[1, 2], [3, 4], [5, 6]], 'attention_mask': [1, 1, 0]}");
    ck_assert(c.req.kind == API_INPUT_EMBEDS && !c.req.is_batch && c.req.inputs_embeds.rank == 2);
    ck_assert(c.req.inputs_embeds.shape[0] == 3 && c.req.inputs_embeds.shape[1] == 2 && c.req.inputs_embeds.data[5] == 6);
    case_accepts(&c, "{'inputs_embeds': [[[1, 2]], [[3, 4]]], 'attention_mask': [[1], [0]], 'token_type_ids': [[0], [1]]}");
    ck_assert(c.req.is_batch && c.req.num_inputs == 2 && c.req.attention_mask[1].values[0] == 0);
}
END_TEST

START_TEST(null_is_as_good_as_nothing_for_every_field)
{
    static const char *const names[] = {
        "input_ids",
        "inputs_embeds",
        "embeddings",
        "query",
        "key",
        "value",
        "model",
        "text_pair",
        "attention_mask",
        "token_type_ids",
        "add_special_tokens",
        "truncation",
        "decoder_input_ids",
        "max_new_tokens",
        "num_attention_heads",
        "num_key_value_heads",
        "w_q",
        "w_k",
        "w_v",
        "b_q",
        "b_k",
        "b_v",
        "w_o",
        "b_o",
        "key_embeddings",
        "positional_encoding",
        "rope_theta",
        "scale",
        "softcap",
        "is_causal",
        "query_offset",
        "left_window_size",
        "right_window_size",
        "attn_mask",
        "key_lengths",
        "output",
        "layers",
        "heads",
        "queries",
        "keys",
        "reduce_heads",
        "reduce_layers",
        "top_k",
        "pool",
        "analyses",
        "encoding",
        "dtype",
        "decimals",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char body[100];
        snprintf(body, sizeof body, "{'%s': null, 'text': 'a'}", names[i]);
        case_accepts(&c, body);
        ck_assert_int_eq(c.req.kind, API_INPUT_TEXT);
        ck_assert_uint_eq(c.req.want.outputs, ATTN_BIT(ATTN_ATTENTIONS) | ATTN_BIT(ATTN_CONTEXT));
        snprintf(body, sizeof body, "{'%s': null, 'text': 'a', '%s': null}", names[i], names[i]);
        ck_assert(!case_read(&c, body));
        ck_assert_int_eq(c.problem.code, API_DUPLICATE_FIELD);
    }
}
END_TEST

/* ---- tensors ---------------------------------------------------------------------------------------------------------------------- */

START_TEST(a_tensor_is_the_same_nested_and_in_base64)
{
    case_accepts(&c, "{'embeddings': [[1, -2.5], [0.15625, 65504]]}");
    float nested[4];
    memcpy(nested, c.req.embeddings.data, sizeof nested);
    static const char *const packed[] = {
        "{'embeddings': {'dtype': 'float32', 'shape': [2, 2], 'data': 'AACAPwAAIMAAACA+AOB/Rw=='}}",
        "{'embeddings': {'data': 'AACAPwAAIMAAACA+AOB\\/Rw==', 'shape': [2, 2.0], 'dtype': 'float32'}}",
        "{'embeddings': {'data': 'ADwAwQAx\\u002f3s=', 'dtype': 'float16', 'shape': [2, 2]}}",
    };
    for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++) {
        case_accepts(&c, packed[i]);
        ck_assert(c.req.embeddings.rank == 2 && c.req.embeddings.shape[0] == 2 && c.req.embeddings.shape[1] == 2);
        ck_assert_mem_eq(c.req.embeddings.data, nested, sizeof nested);
    }
}
END_TEST

START_TEST(tensors_of_every_size_around_a_power_of_two_are_read_whole)
{
    for (size_t rows = 1; rows < 20; rows++)
        for (size_t columns = 1; columns < 70; columns += columns < 20 ? 1 : 7) {
            char *body = malloc(rows * columns * 8 + rows * 4 + 100), *p = body;
            p += sprintf(p, "{'embeddings': [");
            for (size_t i = 0; i < rows; i++) {
                p += sprintf(p, "%s[", i ? ", " : "");
                for (size_t k = 0; k < columns; k++)
                    p += sprintf(p, "%s%zu", k ? "," : "", i * columns + k);
                p += sprintf(p, "]");
            }
            sprintf(p, "]}");
            case_accepts(&c, body);
            ck_assert(c.req.embeddings.shape[0] == rows && c.req.embeddings.shape[1] == columns);
            for (size_t i = 0; i < rows * columns; i++)
                ck_assert(c.req.embeddings.data[i] == (float)i);
            free(body);
        }
}
END_TEST

START_TEST(masks_are_booleans_or_numbers_with_null_for_minus_infinity)
{
    case_accepts(&c, "{'query': [[1],[2]], 'key': [[1],[2]], 'value': [[1],[2]], 'attn_mask': [[true, false], [true, true]]}");
    ck_assert(c.req.attn_mask.rank == 2 && c.req.attn_mask.keep && !c.req.attn_mask.add);
    ck_assert(c.req.attn_mask.keep[0] == 1 && c.req.attn_mask.keep[1] == 0 && c.req.attn_mask.keep[2] == 1 && c.req.attn_mask.keep[3] == 1);
    case_accepts(&c, "{'query': [[1],[2]], 'key': [[1],[2]], 'value': [[1],[2]], 'attn_mask': [[null, 0.5], [-1, null]]}");
    ck_assert(!c.req.attn_mask.keep && c.req.attn_mask.add[0] == -INFINITY && c.req.attn_mask.add[1] == 0.5f && c.req.attn_mask.add[2] == -1);
    ck_assert(c.req.attn_mask.add[3] == -INFINITY);
    case_accepts(&c, "{'query': [[1],[2]], 'key': [[1],[2]], 'value': [[1],[2]], 'attn_mask': {'dtype': 'float32', 'shape': [2], 'data': 'AACA/wAAAAA='}}");
    ck_assert(c.req.attn_mask.rank == 1 && c.req.attn_mask.add[0] == -INFINITY && c.req.attn_mask.add[1] == 0);
    case_accepts(&c, "{'query': [[1],[2]], 'key': [[1],[2]], 'value': [[1],[2]], 'attn_mask': [null, null]}");
    ck_assert(c.req.attn_mask.add[0] == -INFINITY && c.req.attn_mask.add[1] == -INFINITY);
}
END_TEST

/* ---- options ---------------------------------------------------------------------------------------------------------------------- */

START_TEST(the_operators_options_are_read)
{
    case_accepts(&c, "{'embeddings': [[1,2,3,4]], 'num_attention_heads': 2, 'num_key_value_heads': 2.0, 'scale': -0.5, 'softcap': 30, 'is_causal': true, "
                     "'query_offset': -3, "
                     "'left_window_size': 4, 'right_window_size': 0, 'positional_encoding': 'rope', 'rope_theta': 500000, 'key_lengths': [0]}");
    const api_attention_request *r = &c.req;
    ck_assert(r->has_num_attention_heads && r->num_attention_heads == 2 && r->has_num_key_value_heads && r->num_key_value_heads == 2);
    ck_assert(r->has_scale && r->scale == -0.5f && r->softcap == 30 && r->is_causal && r->query_offset[0] == -3);
    ck_assert(r->left_window_size == 4 && r->right_window_size == 0 && r->positional_encoding == API_POSITION_ROPE && r->rope_theta == 500000);
    ck_assert_int_eq(r->key_lengths[0], 0);
    case_accepts(&c, "{'embeddings': [[1,2,3,4]]}");
    ck_assert(!r->has_num_attention_heads && r->num_attention_heads == 1 && !r->has_num_key_value_heads && !r->has_scale && r->softcap == 0 && !r->is_causal);
    ck_assert(r->query_offset[0] == 0 && r->left_window_size == -1 && r->right_window_size == -1 && r->rope_theta == 10000 && !r->key_lengths);
    ck_assert(r->positional_encoding == API_POSITION_NONE && r->attn_mask.rank == 0);
    case_accepts(&c, "{'embeddings': [[1,2,3,4]], 'left_window_size': 9223372036854775807, 'right_window_size': -1, 'scale': 1e-60, 'softcap': 0}");
    ck_assert(r->left_window_size == -1 && r->scale == 0 && r->has_scale);
}
END_TEST

START_TEST(offsets_are_one_for_all_or_one_each)
{
    case_accepts(&c, "{'embeddings': [[[1]],[[2]],[[3]]], 'query_offset': 7, 'key_lengths': [1, 0, 1]}");
    ck_assert(c.req.num_inputs == 3 && c.req.query_offset[0] == 7 && c.req.query_offset[2] == 7 && c.req.key_lengths[1] == 0);
    case_accepts(&c, "{'embeddings': [[[1]],[[2]],[[3]]], 'query_offset': [1, -2, 3]}");
    ck_assert(c.req.query_offset[0] == 1 && c.req.query_offset[1] == -2 && c.req.query_offset[2] == 3);
    case_refuses(&c, "{'embeddings': [[[1]],[[2]],[[3]]], 'query_offset': [1, -2]}", API_SHAPE_MISMATCH, "/query_offset");
}
END_TEST

START_TEST(what_to_return_is_read)
{
    case_accepts(
        &c, "{'text': 'a', 'output': ['scores', 'attentions', 'scores'], 'layers': [0, -1, 0], 'heads': {'start': -3}, 'queries': {'stop': 2.0}, 'keys': {}, "
            "'reduce_heads': 'mean', 'reduce_layers': 'max', 'top_k': 5, 'encoding': 'base64', 'dtype': 'float16'}");
    const api_return *w = &c.req.want;
    ck_assert_uint_eq(w->outputs, ATTN_BIT(ATTN_SCORES) | ATTN_BIT(ATTN_ATTENTIONS));
    ck_assert(w->layers.kind == API_LIST && w->layers.count == 3 && w->layers.list[1] == -1 && w->layers.list[2] == 0);
    ck_assert(w->heads.kind == API_SLICE && w->heads.has_start && !w->heads.has_stop && w->heads.start == -3);
    ck_assert(w->queries.kind == API_SLICE && !w->queries.has_start && w->queries.has_stop && w->queries.stop == 2);
    ck_assert(w->keys.kind == API_SLICE && !w->keys.has_start && !w->keys.has_stop);
    ck_assert(w->reduce_heads == ATTN_REDUCE_MEAN && w->reduce_layers == ATTN_REDUCE_MAX && w->top_k == 5);
    ck_assert(w->encoding == API_ENCODING_BASE64 && w->dtype == API_FLOAT16);
    for (int decimals = 1; decimals <= 9; decimals++) {
        char body[64];
        snprintf(body, sizeof body, "{'text': 'a', 'decimals': %d}", decimals);
        case_accepts(&c, body);
        ck_assert_int_eq(w->decimals, decimals);
    }
    case_accepts(&c, "{'text': 'a', 'output': ['attentions'], 'dtype': 'uint8', 'encoding': 'base64', 'layers': {'start': null, 'stop': null}}");
    ck_assert(w->dtype == API_UINT8 && w->layers.kind == API_SLICE && !w->layers.has_start);
}
END_TEST

START_TEST(every_output_can_be_asked_for_alone)
{
    for (int o = 0; o < ATTN_OUTPUT_COUNT; o++) {
        char body[100];
        snprintf(body, sizeof body, "{'text': 'a', 'output': ['%s']}", attn_output_name((attn_output)o));
        case_accepts(&c, body);
        ck_assert_uint_eq(c.req.want.outputs, ATTN_BIT(o));
    }
}
END_TEST

START_TEST(pools_are_read)
{
    const api_return *w = &c.req.want;
    case_accepts(&c, "{'text': 'a', 'pool': {'size': 8.0}}");
    ck_assert(w->pool_size == 8 && w->pool_mode == ATTN_REDUCE_MEAN);
    case_accepts(&c, "{'text': 'a', 'pool': {'mode': 'max', 'size': 1}, 'reduce_heads': 'mean'}");
    ck_assert(w->pool_size == 1 && w->pool_mode == ATTN_REDUCE_MAX);
    case_accepts(&c, "{'text': 'a', 'pool': {'mode': null, 'size': 9223372036854775807}, 'output': ['weighted_norms']}");
    ck_assert(w->pool_size == INT64_MAX && w->pool_mode == ATTN_REDUCE_MEAN);
    case_accepts(&c, "{'text': 'a', 'pool': {'size': 8}, 'analyses': ['entropy', 'self', 'induction']}");
    case_refuses(&c, "{'text': 'a', 'pool': {'sise': 8}}", API_UNKNOWN_FIELD, "/pool/sise");
    ck_assert_str_eq(c.problem.detail, "unknown field \"sise\"; did you mean \"size\"?");
}
END_TEST

START_TEST(every_analysis_can_be_asked_for_alone_and_all_together)
{
    char all[400] = "{'text': 'a', 'output': [], 'analyses': ['entropy'";
    for (int a = 0; a < ATTN_ANALYSIS_COUNT; a++) {
        char body[100];
        snprintf(body, sizeof body, "{'text': 'a', 'output': [], 'analyses': ['%s']}", attn_analysis_name((attn_analysis)a));
        case_accepts(&c, body);
        ck_assert(c.req.want.analyses == ATTN_ANALYSIS_BIT(a) && c.req.want.outputs == 0);
        snprintf(all + strlen(all), sizeof all - strlen(all), ", '%s'", attn_analysis_name((attn_analysis)a));
    }
    strcat(all, "]}");
    case_accepts(&c, all);
    ck_assert_uint_eq(c.req.want.analyses, ATTN_ANALYSIS_BIT(ATTN_ANALYSIS_COUNT) - 1);
    ck_assert_uint_eq(c.req.want.analysis_places[ATTN_ENTROPY], 0); /* named twice: the first counts */
    ck_assert_uint_eq(c.req.want.analysis_places[ATTN_CONFIDENCE], 2);
    case_refuses(&c, "{'text': 'a', 'analyses': ['self', 'entrpy']}", API_UNKNOWN_VALUE, "/analyses/1");
    ck_assert_ptr_nonnull(strstr(c.problem.detail, "did you mean \"entropy\"?"));
}
END_TEST

/* ---- forms --------------------------------------------------------------------------------------------------------------------- */

static const char *const media[API_FORM_COUNT] = {
    "application/json", "application/x-ndjson", "application/vnd.safetensors", "application/x-npy", "image/png", "image/svg+xml", "text/plain",
};

static void choose(const char *accept, const char *query)
{
    memset(&c.problem, 0, sizeof c.problem);
    ck_assert_msg(api_form_choose(accept, query, &c.form, &c.problem), "%s", c.problem.detail);
}

START_TEST(the_default_output_is_what_the_form_can_hold)
{
    const attn_outputs maps = ATTN_BIT(ATTN_ATTENTIONS), both = maps | ATTN_BIT(ATTN_CONTEXT);
    const attn_outputs defaults[API_FORM_COUNT] = { both, both, both, maps, maps, maps, maps };
    for (int kind = 0; kind < API_FORM_COUNT; kind++) {
        choose(media[kind], NULL);
        case_accepts(&c, "{'text': 'a', 'output': null, 'analyses': []}");
        ck_assert_uint_eq(c.req.want.outputs, defaults[kind]);
        if (kind > API_FORM_SAFETENSORS)
            continue;
        case_accepts(&c, "{'text': 'a', 'analyses': ['rollout']}"); /* analyses take nothing away */
        ck_assert(c.req.want.outputs == both && c.req.want.analyses == ATTN_ANALYSIS_BIT(ATTN_ROLLOUT));
    }
}
END_TEST

/* What each form takes: what bad_requests.jsonl has refused with one change. */
static const struct form_case {
    const char *accept, *query, *body;
} form_cases[] = {
    { "application/json", NULL, "{'text': 'a', 'encoding': 'json', 'decimals': 3}" },
    { "application/json", NULL, "{'text': 'a', 'pool': {'size': 4}, 'reduce_heads': 'max', 'output': ['scores', 'context'], 'dtype': 'float16'}" },
    { "application/json", NULL, "{'text': 'a', 'pool': null, 'top_k': 4, 'analyses': ['rollout', 'head_distance']}" },
    { "application/json", NULL, "{'text': 'a', 'output': ['attentions'], 'dtype': 'uint8', 'encoding': 'base64', 'pool': {'size': 2}, 'analyses': null}" },
    { "application/x-ndjson", NULL, "{'text': ['a', 'b'], 'encoding': 'base64', 'top_k': 2, 'analyses': ['entropy']}" },
    { "application/x-ndjson", NULL, "{'text': 'a', 'decimals': 9, 'reduce_layers': 'mean'}" },
    { "application/vnd.safetensors", NULL, "{'text': ['a', 'b'], 'encoding': null, 'top_k': 2, 'analyses': ['entropy', 'rollout'], 'dtype': 'float16'}" },
    { "application/octet-stream", NULL, "{'text': 'a', 'output': ['attentions'], 'dtype': 'uint8'}" },
    { "application/x-npy", NULL, "{'text': 'a', 'dtype': 'uint8'}" },
    { "application/x-npy", NULL, "{'text': ['a'], 'output': ['context', 'context'], 'dtype': 'float16'}" },
    { "application/x-npy", NULL, "{'text': 'a', 'output': [], 'analyses': ['head_distance']}" },
    { "application/x-npy", NULL,
      "{'text': 'a', 'output': ['weighted_norms'], 'analyses': [], 'pool': {'size': 3}, 'reduce_heads': 'mean', 'reduce_layers': 'max'}" },
    { "image/png", "scale=log&cell=8", "{'text': ['a', 'b'], 'output': ['attentions', 'weighted_norms'], 'dtype': 'float32'}" },
    { "image/png", "scale=row", "{'text': 'a', 'output': ['scores', 'raw_scores'], 'layers': [0], 'pool': {'size': 100}}" },
    { "image/svg+xml", "scale=linear", "{'text': 'a', 'output': ['scores'], 'reduce_heads': 'max', 'queries': [0]}" },
    { "text/plain", "color=none", "{'text': 'a', 'output': ['attentions'], 'reduce_layers': 'mean', 'decimals': null}" },
    { "application/x-ndjson", NULL, "{'text': 'a', 'max_new_tokens': 0, 'queries': [0], 'keys': [0], 'pool': {'size': 2}}" },
    { "application/x-ndjson", NULL, "{'text': 'a', 'max_new_tokens': 5, 'layers': [0], 'heads': [0], 'queries': null, 'reduce_layers': 'mean'}" },
    { "application/json", NULL, "{'text': 'a', 'max_new_tokens': 5, 'queries': [0], 'keys': [0], 'pool': {'size': 2}}" },
};

START_TEST(each_form_takes_what_it_can_hold)
{
    choose(form_cases[_i].accept, form_cases[_i].query);
    case_accepts(&c, form_cases[_i].body);
}
END_TEST

START_TEST(what_an_operator_can_give_is_known_without_a_model)
{
    case_accepts(&c, "{'embeddings': [[1, 2]], 'w_o': [[1], [2]], 'output': ['weighted_norms', 'value_norms'], 'analyses': ['entropy', 'confidence', "
                     "'mean_distance', 'self', 'previous_token', 'next_token', 'first_token', 'rollout', 'head_distance']}");
    case_accepts(&c, "{'embeddings': [[1], [2]], 'key_embeddings': [[3], [4]], 'analyses': ['rollout']}");
    case_accepts(&c, "{'query': [[1]], 'key': [[1], [2]], 'value': [[1], [2]], 'output': ['value_norms'], 'analyses': ['entropy', 'head_distance']}");
    case_refuses(&c, "{'embeddings': [[1, 2]], 'output': ['weighted_norms']}", API_OUTPUT_NOT_AVAILABLE, "/output/0");
    ck_assert_str_eq(c.problem.detail, "weighted_norms cannot be had: it needs an output projection: send embeddings with w_o");
    case_refuses(&c, "{'embeddings': [[1, 2]], 'analyses': ['self', 'special_tokens']}", API_OUTPUT_NOT_AVAILABLE, "/analyses/1");
    ck_assert_ptr_nonnull(strstr(c.problem.detail, "which tokens are special is not known"));
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------------------------------------------------- */

/* Reads a row's body as the server would: its Accept and query first, then by its path. */
static bool read_row(json_t *row)
{
    const char *accept = json_string_value(json_object_get(row, "accept")), *query = json_string_value(json_object_get(row, "query"));
    json_t *raw = json_object_get(row, "body");
    char *body = raw ? malloc(json_string_length(raw) + 1) : json_dumps(json_object_get(row, "json"), JSON_ENCODE_ANY);
    size_t length = raw ? json_string_length(raw) : strlen(body);
    if (raw)
        memcpy(body, json_string_value(raw), length);
    memset(&c.problem, 0, sizeof c.problem);
    bool ok = api_form_choose(accept, query, &c.form, &c.problem);
    api_tokenize_request tokenize;
    if (ok)
        ok = json_object_get(row, "path") ? api_read_tokenize(&c.service, body, length, c.arena, &tokenize, &c.problem) : case_read_bytes(&c, body, length);
    free(body);
    return ok;
}

static void check_bad(json_t *row, size_t *seen)
{
    const char *name = json_string_value(json_object_get(row, "name")), *pointer = json_string_value(json_object_get(row, "pointer"));
    const char *code = json_string_value(json_object_get(row, "code"));
    bool ok = read_row(row);
    ck_assert_msg(!ok, "%s is accepted", name);
    ck_assert_msg(strcmp(api_code_name(c.problem.code), code) == 0, "%s: %s: %s", name, api_code_name(c.problem.code), c.problem.detail);
    ck_assert_msg(strcmp(c.problem.pointer, pointer ? pointer : "") == 0, "%s: pointer %s: %s", name, c.problem.pointer, c.problem.detail);
    ck_assert_int_eq(api_code_status(c.problem.code), json_integer_value(json_object_get(row, "status")));
    ck_assert_msg(c.problem.detail[0] && strlen(c.problem.detail) < 400, "%s", name);
    if (api_code_status(c.problem.code) == 413)
        ck_assert(c.problem.has_limit && c.problem.need > c.problem.limit);
    seen[c.problem.code]++;
}

START_TEST(every_bad_request_gets_its_code_and_pointer)
{
    static const api_code all[] = {
        API_INVALID_JSON,      API_WRONG_TYPE,      API_UNKNOWN_FIELD,  API_DUPLICATE_FIELD,      API_MISSING_FIELD,
        API_UNKNOWN_VALUE,     API_NO_INPUT,        API_SEVERAL_INPUTS, API_FIELD_NOT_APPLICABLE, API_UNSUPPORTED_COMBINATION,
        API_INVALID_BASE64,    API_BATCH_TOO_LARGE, API_SHAPE_MISMATCH, API_RAGGED_ARRAY,         API_EMPTY,
        API_OUT_OF_RANGE,      API_EMPTY_SELECTION, API_NOT_FINITE,     API_OUTPUT_NOT_AVAILABLE, API_NOT_ACCEPTABLE,
        API_UNKNOWN_PARAMETER,
    };
    size_t seen[API_CODE_COUNT] = { 0 }, count = 0;
    FILE *f = fopen("tests/http/bad_requests.jsonl", "r");
    ck_assert_msg(f, "run from the root of the repository");
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, f) > 0) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        ck_assert_msg(row, "%s", line);
        if (!json_object_get(row, "by")) {
            check_bad(row, seen);
            count++;
        }
        json_decref(row);
    }
    free(line);
    fclose(f);
    ck_assert_uint_gt(count, 300);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        ck_assert_msg(seen[all[i]], "no case of %s", api_code_name(all[i]));
}
END_TEST

START_TEST(details_help_to_mend)
{
    case_refuses(&c, "{'embeddings': [[1]], 'is_casual': true}", API_UNKNOWN_FIELD, "/is_casual");
    ck_assert_str_eq(c.problem.detail, "unknown field \"is_casual\"; did you mean \"is_causal\"?");
    case_refuses(&c, "{'text': 'a', 'temperature': 3}", API_UNKNOWN_FIELD, "/temperature");
    ck_assert_str_eq(c.problem.detail, "unknown field \"temperature\"");
    case_refuses(&c, "{'text': 'a', 'layers': '3'}", API_WRONG_TYPE, "/layers");
    ck_assert_str_eq(c.problem.detail, "expected an array of integers or {\"start\", \"stop\"}, found a string");
    case_refuses(&c, "{'text': 'a', 'w_q': [[1]]}", API_FIELD_NOT_APPLICABLE, "/w_q");
    ck_assert_str_eq(c.problem.detail, "\"w_q\" does not apply to text; it goes with embeddings");
    case_refuses(&c, "{'text': 'a', 'output': ['attention']}", API_UNKNOWN_VALUE, "/output/0");
    ck_assert_ptr_nonnull(strstr(c.problem.detail, "unknown value \"attention\" (did you mean \"attentions\"?); known are attentions, scores, "));
    case_refuses(&c, "{'text': 'a', 'output': ['key\\u0000']}", API_UNKNOWN_VALUE, "/output/0");
    ck_assert_ptr_nonnull(strstr(c.problem.detail, "unknown value \"key\u2400\" (did you mean \"key\"?)"));
    case_refuses(&c, "{'te\\u0000xt': 'a'}", API_UNKNOWN_FIELD, ""); /* a pointer has no place for it */
    ck_assert_str_eq(c.problem.detail, "unknown field \"te\u2400xt\"; did you mean \"text\"?");
    case_refuses(&c, "{'embeddings': [[1,2,3,4]], 'w_q': [[1],[2],[3]]}", API_SHAPE_MISMATCH, "/w_q");
    ck_assert_str_eq(c.problem.detail, "w_q has 3 rows, but embeddings have 4 columns");
    case_refuses(&c, "{'text': 'a'\n, }", API_INVALID_JSON, "");
    ck_assert_str_eq(c.problem.detail, "expected a field name in quotes, found '}' (line 2, column 3)");
}
END_TEST

START_TEST(limits_tell_what_is_allowed_and_what_is_needed)
{
    c.service.limits.max_batch = 3;
    c.service.limits.max_tokens = 4;
    static const struct {
        const char *body;
        api_code code;
        const char *pointer;
        uint64_t limit, need;
    } rows[] = {
        { "{'text': ['a','b','c','d','e']}", API_BATCH_TOO_LARGE, "/text", 3, 5 },
        { "{'input_ids': [[1],[2],[3],[4,5,6,7,8,9]]}", API_BATCH_TOO_LARGE, "/input_ids", 3, 4 },
        { "{'input_ids': [1,2,3,4,5,6]}", API_TOO_MANY_TOKENS, "/input_ids", 4, 6 },
        { "{'input_ids': [[1],[1,2,3,4,5]]}", API_TOO_MANY_TOKENS, "/input_ids/1", 4, 5 },
        { "{'inputs_embeds': [[1],[2],[3],[4],[5]]}", API_TOO_MANY_TOKENS, "/inputs_embeds", 4, 5 },
        { "{'embeddings': [[1],[2],[3],[4],[5]]}", API_TOO_MANY_TOKENS, "/embeddings", 4, 5 },
        { "{'embeddings': [[1]], 'key_embeddings': [[1],[2],[3],[4],[5]]}", API_TOO_MANY_TOKENS, "/key_embeddings", 4, 5 },
        { "{'query': [[1],[2],[3],[4],[5]], 'key': [[1]], 'value': [[1]]}", API_TOO_MANY_TOKENS, "/query", 4, 5 },
        { "{'query': [[[[1],[2],[3],[4],[5]]]], 'key': [[[[1]]]], 'value': [[[[1]]]]}", API_TOO_MANY_TOKENS, "/query", 4, 5 },
        { "{'query': [[1]], 'key': [[1],[2],[3],[4],[5]], 'value': [[1]]}", API_TOO_MANY_TOKENS, "/key", 4, 5 },
        { "{'query': [[[1]],[[1]],[[1]],[[1]]], 'key': [[[1]]], 'value': [[[1]]], 'num_attention_heads': 1}", API_BATCH_TOO_LARGE, "/query", 3, 4 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        case_refuses(&c, rows[i].body, rows[i].code, rows[i].pointer);
        ck_assert(c.problem.has_limit && c.problem.limit == rows[i].limit && c.problem.need == rows[i].need);
    }
    case_accepts(&c, "{'text': ['a','b','c']}");
    case_accepts(&c, "{'input_ids': [[1,2,3,4],[2],[3]]}");
    case_accepts(&c, "{'query': [[[1]],[[1]],[[1]],[[1]]], 'key': [[[1]]], 'value': [[[1]]]}"); /* four heads, one item */
}
END_TEST

START_TEST(bytes_that_are_no_utf_8_are_refused_wherever_they_stand)
{
    static const char *const bodies[] = { "{\"text\": \"a\xFF\"}",        "{\"te\xC3xt\": 1}",
                                          "{\"text\": \"a\"}\xC2\xA0",    "\xFF",
                                          "{\"text\": \"\xED\xA0\x80\"}", "{\"layers\": {\"\xE2\x82\": 1}}" };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ck_assert(!case_read_bytes(&c, bodies[i], strlen(bodies[i])));
        ck_assert_int_eq(c.problem.code, API_INVALID_JSON);
    }
}
END_TEST

START_TEST(a_body_cut_anywhere_is_refused_as_invalid_json)
{
    static const char body[] =
        "{\"embeddings\": [[1.5, 2], [-3e1, 4]], \"w_q\": {\"dtype\": \"float32\", \"shape\": [2, 1], \"data\": \"AACAPwAAgD8=\"}, \"w_k\": [[1],[2]], "
        "\"attn_mask\": [[true, false]], \"layers\": {\"start\": 0}, \"output\": [\"scores\"], \"is_causal\": true, \"query_offset\": [5]} ";
    ck_assert_msg(case_read_bytes(&c, body, sizeof body - 1), "%s", c.problem.detail);
    for (size_t length = 0; length < sizeof body - 2; length++) {
        ck_assert(!case_read_bytes(&c, body, length));
        ck_assert_msg(c.problem.code == API_INVALID_JSON, "%.*s: %s", (int)length, body, c.problem.detail);
    }
}
END_TEST

/* ---- memory and time -------------------------------------------------------------------------------------------------------------------- */

START_TEST(no_body_takes_more_memory_than_was_said)
{
    enum { N = 200000 };
    static const struct {
        const char *begin, *unit, *end;
    } rows[] = {
        { "{'input_ids': [", "[1],", "[1]]}" },
        { "{'input_ids': [", "1,", "1]}" },
        { "{'text': [", "'\\n',", "'']}" },
        { "{'text': [", "'',", "'']}" },
        { "{'text': '", "\\n", "'}" },
        { "{'embeddings': [", "[1],", "[1]]}" },
        { "{'embeddings': [[", "1,", "1]]}" },
        { "{'query': [[", "[[1]],", "[[1]]]]}" },
        { "{'text': 'a', 'layers': [", "0,", "0]}" },
        { "{'query_offset': [", "0,", "0]}" },
        { "{'attn_mask': [", "null,", "null]}" },
        { "{'text': 'a', 'output': [", "'query',", "'key']}" },
        { "{'text': 'a', 'analyses': [", "'self',", "'self']}" },
        { "{'embeddings': {'data': '", "AAAA", "'}}" },
        { "{'embeddings': {'dtype': 'float16', 'shape': [1,300000], 'data': '", "AAAA", "'}}" },
        { "{'embeddings': {'data': '", "\\u0041\\u0041AA", "'}}" },
        { "{'attention_mask': [", "[],", "[]]}" },
        { "{'model': '", "\\u0041", "'}" },
        { "{'embeddings': {'dtype': 'float16', 'shape': [1,74973],    'data': '", "AAAA", "'}}" }, /* of a length that fits: read to the end */
        { "{'embeddings': {'dtype': 'float16', 'shape': [1,74973], 'data': '\\u0041AAA", "AAAA", "'}}" },
        { "{'input_ids': ['", ",", "']}" },
        { "{'attn_mask': [['", "\\\\,", "']]}" },
        { "{'text': [''], 'text_pair': [''], 'model': '", "a", "'}" },
    };
    c.service.limits.max_batch = SIZE_MAX / 64;
    c.service.limits.max_tokens = SIZE_MAX / 64;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *body = malloc(N + 200);
        size_t n = (size_t)sprintf(body, "%s", rows[i].begin), step = strlen(rows[i].unit);
        for (; n + step < N; n += step)
            memcpy(body + n, rows[i].unit, step);
        n += (size_t)sprintf(body + n, "%s", rows[i].end);
        attn_arena_reset(c.arena, 0);
        uint64_t begin = attn_clock_ns();
        case_read(&c, body);
        ck_assert_uint_lt(attn_clock_ns() - begin, 2000000000u);
        ck_assert_msg(attn_arena_peak(c.arena) <= api_request_bytes(c.body, n), "%s%s: %zu bytes for %zu", rows[i].begin, rows[i].unit,
                      attn_arena_peak(c.arena), n);
        free(body);
    }
}
END_TEST

static bool refuse_from(void *ctx, size_t bytes)
{
    (void)bytes;
    size_t *left = ctx;
    return *left > 0 && (*left)--;
}

START_TEST(without_memory_a_request_is_a_503_and_nothing_leaks)
{
    static const char *const bodies[] = { "{'text': ['a\\n', 'b'], 'text_pair': ['c', 'd'], 'model': 'm', 'layers': [1]}",
                                          "{'input_ids': [[1],[2]], 'attention_mask': [[1],[1]]}",
                                          "{'embeddings': [[1]], 'w_q': {'dtype':'float16','shape':[1,1],'data':'ADw='}, 'attn_mask': [[true]]}" };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        size_t left = 0;
        attn_arena_reset(c.arena, 0);
        attn_memory_hook(refuse_from, &left);
        bool ok = case_read(&c, bodies[i]);
        attn_memory_hook(NULL, NULL);
        ck_assert(!ok);
        ck_assert_int_eq(c.problem.code, API_NO_MEMORY);
        ck_assert_int_eq(api_code_status(c.problem.code), 503);
    }
}
END_TEST

/* ---- tokenize ----------------------------------------------------------------------------------------------------------------------- */

START_TEST(tokenize_takes_texts_and_their_options)
{
    static const char body[] = "{\"text\": [\"a\", \"b\"], \"text_pair\": [\"\", \"c\"], \"add_special_tokens\": false, \"model\": \"m\"}";
    api_tokenize_request req;
    ck_assert(api_read_tokenize(&c.service, body, sizeof body - 1, c.arena, &req, &c.problem));
    ck_assert(req.is_batch && req.num_inputs == 2 && !req.add_special_tokens && req.text_pair[1].length == 1);
    ck_assert_str_eq(req.model, "m");
    ck_assert(api_read_tokenize(&c.service, "{\"text\": \"\"}", 12, c.arena, &req, &c.problem));
    ck_assert(!req.is_batch && req.num_inputs == 1 && req.add_special_tokens && !req.text_pair && !req.model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *t = tcase_create("request");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, nothing_but_a_text_means_the_defaults_of_the_contract);
    tcase_add_test(t, texts_come_alone_or_in_an_array_with_their_pairs);
    tcase_add_test(t, ids_come_alone_or_in_lists_of_any_lengths);
    tcase_add_test(t, what_a_decoder_has_read_has_lengths_of_its_own);
    tcase_add_test(t, what_a_decoder_has_read_has_lengths_of_its_own);
    tcase_add_test(t, embeds_come_with_or_without_a_batch);
    tcase_add_test(t, null_is_as_good_as_nothing_for_every_field);
    tcase_add_test(t, a_tensor_is_the_same_nested_and_in_base64);
    tcase_add_test(t, tensors_of_every_size_around_a_power_of_two_are_read_whole);
    tcase_add_test(t, masks_are_booleans_or_numbers_with_null_for_minus_infinity);
    tcase_add_test(t, the_operators_options_are_read);
    tcase_add_test(t, offsets_are_one_for_all_or_one_each);
    tcase_add_test(t, what_to_return_is_read);
    tcase_add_test(t, every_output_can_be_asked_for_alone);
    tcase_add_test(t, pools_are_read);
    tcase_add_test(t, every_analysis_can_be_asked_for_alone_and_all_together);
    tcase_add_test(t, the_default_output_is_what_the_form_can_hold);
    tcase_add_loop_test(t, each_form_takes_what_it_can_hold, 0, sizeof form_cases / sizeof form_cases[0]);
    tcase_add_test(t, what_an_operator_can_give_is_known_without_a_model);
    tcase_add_test(t, every_bad_request_gets_its_code_and_pointer);
    tcase_add_test(t, details_help_to_mend);
    tcase_add_test(t, limits_tell_what_is_allowed_and_what_is_needed);
    tcase_add_test(t, bytes_that_are_no_utf_8_are_refused_wherever_they_stand);
    tcase_add_test(t, a_body_cut_anywhere_is_refused_as_invalid_json);
    tcase_add_test(t, no_body_takes_more_memory_than_was_said);
    tcase_add_test(t, without_memory_a_request_is_a_503_and_nothing_leaks);
    tcase_add_test(t, tokenize_takes_texts_and_their_options);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
