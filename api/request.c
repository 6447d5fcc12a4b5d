/* request.c - the table of fields of POST /v1/attention and /v1/tokenize, and the reading that it drives.
 *
 * One row a field: its name, the kinds of input it goes with, the form it has, where it is kept. To add a field is to add a row. The kind of input is known
 * only at the end of the body, so every field is read by its form first and judged by its kind afterwards.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "request_read.h"

/* Bits of api_input_kind, and of the other route. */
enum {
    K_TEXT = 1 << API_INPUT_TEXT,
    K_IDS = 1 << API_INPUT_IDS,
    K_EMBEDS = 1 << API_INPUT_EMBEDS,
    K_EMBEDDINGS = 1 << API_INPUT_EMBEDDINGS,
    K_QKV = 1 << API_INPUT_QKV,
    K_MODEL = K_TEXT | K_IDS | K_EMBEDS,
    K_FREE = K_EMBEDDINGS | K_QKV,
    K_ANY = K_MODEL | K_FREE,
    K_KINDS = API_INPUT_QKV + 1,
    K_TOKENIZE = 1 << K_KINDS
};

typedef struct field_row {
    const char *name;
    unsigned kinds;
    unsigned input; /* it makes the request one of this kind */
    bool (*take)(api_reading *, void *to);
    size_t to; /* offset in api_reading */
} field_row;

#define READ(member) offsetof(api_reading, member)
#define KEPT(member) offsetof(api_reading, request.member)

static const field_row fields[API_F_COUNT] = {
    [API_F_TEXT] = { "text", K_TEXT | K_TOKENIZE, K_TEXT, api_take_texts, READ(text) },
    [API_F_INPUT_IDS] = { "input_ids", K_IDS, K_IDS, api_take_id_lists, READ(input_ids) },
    [API_F_INPUTS_EMBEDS] = { "inputs_embeds", K_EMBEDS, K_EMBEDS, api_take_sequence, KEPT(inputs_embeds) },
    [API_F_EMBEDDINGS] = { "embeddings", K_EMBEDDINGS, K_EMBEDDINGS, api_take_sequence, KEPT(embeddings) },
    [API_F_QUERY] = { "query", K_QKV, K_QKV, api_take_heads, KEPT(query) },
    [API_F_KEY] = { "key", K_QKV, K_QKV, api_take_heads, KEPT(key) },
    [API_F_VALUE] = { "value", K_QKV, K_QKV, api_take_heads, KEPT(value) },

    [API_F_MODEL] = { "model", K_MODEL | K_TOKENIZE, 0, api_take_name, KEPT(model) },
    [API_F_TEXT_PAIR] = { "text_pair", K_TEXT | K_TOKENIZE, 0, api_take_texts, READ(text_pair) },
    [API_F_ATTENTION_MASK] = { "attention_mask", K_IDS | K_EMBEDS, 0, api_take_masks, READ(attention_mask) },
    [API_F_TOKEN_TYPE_IDS] = { "token_type_ids", K_MODEL, 0, api_take_id_lists, READ(token_type_ids) },
    [API_F_DECODER_INPUT_IDS] = { "decoder_input_ids", K_MODEL, 0, api_take_id_lists, READ(decoder_input_ids) },
    [API_F_ADD_SPECIAL_TOKENS] = { "add_special_tokens", K_TEXT | K_TOKENIZE, 0, api_take_bool, KEPT(add_special_tokens) },
    [API_F_TRUNCATION] = { "truncation", K_TEXT, 0, api_take_bool, KEPT(truncation) },
    [API_F_MAX_NEW_TOKENS] = { "max_new_tokens", K_MODEL, 0, api_take_natural, KEPT(max_new_tokens) },

    [API_F_NUM_ATTENTION_HEADS] = { "num_attention_heads", K_FREE, 0, api_take_count, KEPT(num_attention_heads) },
    [API_F_NUM_KEY_VALUE_HEADS] = { "num_key_value_heads", K_FREE, 0, api_take_count, KEPT(num_key_value_heads) },
    [API_F_W_Q] = { "w_q", K_EMBEDDINGS, 0, api_take_matrix, KEPT(w_q) },
    [API_F_W_K] = { "w_k", K_EMBEDDINGS, 0, api_take_matrix, KEPT(w_k) },
    [API_F_W_V] = { "w_v", K_EMBEDDINGS, 0, api_take_matrix, KEPT(w_v) },
    [API_F_B_Q] = { "b_q", K_EMBEDDINGS, 0, api_take_vector, KEPT(b_q) },
    [API_F_B_K] = { "b_k", K_EMBEDDINGS, 0, api_take_vector, KEPT(b_k) },
    [API_F_B_V] = { "b_v", K_EMBEDDINGS, 0, api_take_vector, KEPT(b_v) },
    [API_F_W_O] = { "w_o", K_EMBEDDINGS, 0, api_take_matrix, KEPT(w_o) },
    [API_F_B_O] = { "b_o", K_EMBEDDINGS, 0, api_take_vector, KEPT(b_o) },
    [API_F_KEY_EMBEDDINGS] = { "key_embeddings", K_EMBEDDINGS, 0, api_take_sequence, KEPT(key_embeddings) },
    [API_F_POSITIONAL_ENCODING] = { "positional_encoding", K_EMBEDDINGS, 0, api_take_position, KEPT(positional_encoding) },
    [API_F_ROPE_THETA] = { "rope_theta", K_EMBEDDINGS, 0, api_take_theta, KEPT(rope_theta) },
    [API_F_SCALE] = { "scale", K_FREE, 0, api_take_float, KEPT(scale) },
    [API_F_SOFTCAP] = { "softcap", K_FREE, 0, api_take_softcap, KEPT(softcap) },
    [API_F_IS_CAUSAL] = { "is_causal", K_FREE, 0, api_take_bool, KEPT(is_causal) },
    [API_F_QUERY_OFFSET] = { "query_offset", K_FREE, 0, api_take_offsets, READ(query_offset) },
    [API_F_LEFT_WINDOW_SIZE] = { "left_window_size", K_FREE, 0, api_take_window, KEPT(left_window_size) },
    [API_F_RIGHT_WINDOW_SIZE] = { "right_window_size", K_FREE, 0, api_take_window, KEPT(right_window_size) },
    [API_F_ATTN_MASK] = { "attn_mask", K_FREE, 0, api_take_attn_mask, KEPT(attn_mask) },
    [API_F_KEY_LENGTHS] = { "key_lengths", K_FREE, 0, api_take_lengths, READ(key_lengths) },

    [API_F_OUTPUT] = { "output", K_ANY, 0, api_take_outputs, KEPT(want) },
    [API_F_LAYERS] = { "layers", K_ANY, 0, api_take_indices, KEPT(want.layers) },
    [API_F_HEADS] = { "heads", K_ANY, 0, api_take_indices, KEPT(want.heads) },
    [API_F_QUERIES] = { "queries", K_ANY, 0, api_take_indices, KEPT(want.queries) },
    [API_F_KEYS] = { "keys", K_ANY, 0, api_take_indices, KEPT(want.keys) },
    [API_F_REDUCE_HEADS] = { "reduce_heads", K_ANY, 0, api_take_reduce, KEPT(want.reduce_heads) },
    [API_F_REDUCE_LAYERS] = { "reduce_layers", K_ANY, 0, api_take_reduce, KEPT(want.reduce_layers) },
    [API_F_TOP_K] = { "top_k", K_ANY, 0, api_take_count, KEPT(want.top_k) },
    [API_F_POOL] = { "pool", K_ANY, 0, api_take_pool, KEPT(want) },
    [API_F_ANALYSES] = { "analyses", K_ANY, 0, api_take_analyses, KEPT(want) },
    [API_F_ENCODING] = { "encoding", K_ANY, 0, api_take_encoding, KEPT(want.encoding) },
    [API_F_DTYPE] = { "dtype", K_ANY, 0, api_take_dtype, KEPT(want.dtype) },
    [API_F_DECIMALS] = { "decimals", K_ANY, 0, api_take_decimals, KEPT(want.decimals) },
};
_Static_assert(API_F_COUNT <= 64, "a bit for each field");

/* ---- reading ------------------------------------------------------------------------------------------------------------------ */

/* Reads the whole body, taking the fields of these kinds. */
static bool read_fields(api_reading *r, unsigned kinds)
{
    const char *names[API_F_COUNT + 1] = { NULL };
    api_field_id ids[API_F_COUNT];
    size_t n = 0, place;
    uint64_t seen = 0;
    for (int id = 0; id < API_F_COUNT; id++)
        if (fields[id].kinds & kinds) {
            ids[n] = (api_field_id)id;
            names[n++] = fields[id].name;
        }
    if (!api_json_open_object(&r->json))
        return false;
    while (api_next_member(&r->json, names, &seen, &place)) {
        const field_row *row = &fields[ids[place]];
        r->field = row->name;
        if (!row->take(r, (char *)r + row->to))
            return false;
        r->given |= (uint64_t)1 << ids[place];
    }
    return api_json_finish(&r->json);
}

static void init(api_reading *r, const api_service *service, const char *body, size_t length, attn_arena *arena, api_problem *problem)
{
    memset(r, 0, sizeof *r);
    r->service = service;
    r->arena = arena;
    r->problem = problem;
    r->request.add_special_tokens = true;
    r->request.num_attention_heads = 1;
    r->request.rope_theta = 10000;
    r->request.left_window_size = r->request.right_window_size = -1;
    api_json_init(&r->json, body, length, arena, problem);
}

/* ---- the kind of input ------------------------------------------------------------------------------------------------------------ */

static bool missing(api_reading *r, api_field_id id, const char *detail)
{
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", fields[id].name);
    return api_fail(r->problem, API_MISSING_FIELD, pointer, "\"%s\" is missing: %s", fields[id].name, detail);
}

static bool find_kind(api_reading *r)
{
    const field_row *first = NULL;
    for (int id = 0; id < API_F_COUNT; id++) {
        const field_row *row = &fields[id];
        if (!row->input || !api_given(r, (api_field_id)id))
            continue;
        r->field = row->name;
        if (first && first->input != row->input)
            return api_fail_field(r, API_SEVERAL_INPUTS, "a request has one kind of input; this one has \"%s\" and \"%s\"", first->name, row->name);
        if (!first)
            first = row;
    }
    if (!first && api_given(r, API_F_TEXT_PAIR))
        return missing(r, API_F_TEXT, "text_pair is its second segment");
    if (!first)
        return api_fail(r->problem, API_NO_INPUT, NULL, "no input: send text, input_ids, inputs_embeds, embeddings, or query with key and value");
    while (first->input != 1u << r->request.kind)
        r->request.kind++;
    return true;
}

/* Says what a field goes with. */
static bool fail_applicable(api_reading *r, const field_row *row)
{
    static const char *const kinds[K_KINDS] = { "text", "input_ids", "inputs_embeds", "embeddings", "query, key and value" };
    char list[100];
    size_t used = 0;
    for (unsigned k = 0; k < K_KINDS; k++)
        if (row->kinds >> k & 1)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? "; " : "", kinds[k]);
    r->field = row->name;
    return api_fail_field(r, API_FIELD_NOT_APPLICABLE, "\"%s\" does not apply to %s; it goes with %s", row->name, kinds[r->request.kind], list);
}

static bool check_applicable(api_reading *r)
{
    for (int id = 0; id < API_F_COUNT; id++)
        if (api_given(r, (api_field_id)id) && !(fields[id].kinds >> r->request.kind & 1))
            return fail_applicable(r, &fields[id]);
    r->field = fields[API_F_ROPE_THETA].name;
    if (api_given(r, API_F_ROPE_THETA) && r->request.positional_encoding != API_POSITION_ROPE)
        return api_fail_field(r, API_FIELD_NOT_APPLICABLE, "rope_theta applies only with positional_encoding \"rope\"");
    return true;
}

static bool check_partners(api_reading *r)
{
    static const api_field_id biases[][2] = { { API_F_B_Q, API_F_W_Q }, { API_F_B_K, API_F_W_K }, { API_F_B_V, API_F_W_V }, { API_F_B_O, API_F_W_O } };
    if (r->request.kind == API_INPUT_QKV)
        for (int id = API_F_QUERY; id <= API_F_VALUE; id++)
            if (!api_given(r, (api_field_id)id))
                return missing(r, (api_field_id)id, "query, key and value go together");
    for (size_t i = 0; i < sizeof biases / sizeof biases[0]; i++)
        if (api_given(r, biases[i][0]) && !api_given(r, biases[i][1]))
            return missing(r, biases[i][1], "a bias needs its matrix");
    return true;
}

/* ---- the two requests ----------------------------------------------------------------------------------------------------------------- */

static attn_outputs default_outputs(const api_form *form)
{
    bool holds_one = form->kind == API_FORM_NPY || api_form_is_drawn(form->kind);
    return ATTN_BIT(ATTN_ATTENTIONS) | (holds_one ? 0 : ATTN_BIT(ATTN_CONTEXT));
}

bool api_read_attention(const api_service *service, const api_form *form, const char *body, size_t length, attn_arena *arena, api_attention_request *out,
                        api_problem *problem)
{
    api_reading r;
    init(&r, service, body, length, arena, problem);
    r.form = form;
    r.request.want.outputs = default_outputs(form);
    if (!read_fields(&r, K_ANY) || !find_kind(&r) || !check_applicable(&r) || !check_partners(&r))
        return false;
    r.request.has_num_attention_heads = api_given(&r, API_F_NUM_ATTENTION_HEADS);
    r.request.has_num_key_value_heads = api_given(&r, API_F_NUM_KEY_VALUE_HEADS);
    r.request.has_scale = api_given(&r, API_F_SCALE);
    r.request.want.has_encoding = api_given(&r, API_F_ENCODING);
    if (!api_check_inputs(&r) || !api_check_return(&r))
        return false;
    *out = r.request;
    return true;
}

bool api_read_tokenize(const api_service *service, const char *body, size_t length, attn_arena *arena, api_tokenize_request *out, api_problem *problem)
{
    api_reading r;
    init(&r, service, body, length, arena, problem);
    if (!read_fields(&r, K_TOKENIZE))
        return false;
    if (!api_given(&r, API_F_TEXT) && !api_given(&r, API_F_TEXT_PAIR))
        return api_fail(problem, API_NO_INPUT, NULL, "no input: send text");
    if (!find_kind(&r) || !api_check_texts(&r))
        return false;
    *out = (api_tokenize_request){
        .model = r.request.model,
        .is_batch = r.request.is_batch,
        .num_inputs = r.request.num_inputs,
        .text = r.request.text,
        .text_pair = r.request.text_pair,
        .add_special_tokens = r.request.add_special_tokens,
    };
    return true;
}

/* The inside of a string, from *p on to behind its closing quote: base64 of float16 becomes halves and numbers (9 bytes out of 4), and a string with escapes is
 * copied before that. A comma is counted as that of an array, because arrays are measured before it is known what stands in them. */
static uint64_t string_bytes(const char **p, const char *end)
{
    const char *begin = *p, *at = begin, *quote;
    size_t slashes = 1, commas = 0;
    for (; slashes % 2 == 1 && (quote = memchr(at, '"', (size_t)(end - at))); at = quote + 1)
        for (slashes = 0; quote - slashes > begin && quote[-1 - (ptrdiff_t)slashes] == '\\';)
            slashes++;
    *p = slashes % 2 == 1 ? end : at;
    for (at = begin; at < *p; at++)
        commas += *at == ',';
    size_t n = (size_t)(*p - begin);
    bool escaped = memchr(begin, '\\', n) != NULL;
    return n * (escaped ? 13 : 9) / 4 + 8 * commas;
}

/* The most that a byte outside strings can become is 8: "[1]," is a list (16 bytes) and a number (8), `"\n",` a text (16) and what it decodes to. The rest are
 * the edges of blocks and the pieces that decoded strings are cut from. tests/unit/test_request.c holds readings against it. */
uint64_t api_request_bytes(const char *body, size_t length)
{
    uint64_t bytes = 64 * 1024;
    for (const char *p = body, *end = body + length; p < end;) {
        const char *quote = memchr(p, '"', (size_t)(end - p)), *stop = quote ? quote + 1 : end;
        bytes += 8 * (uint64_t)(stop - p);
        p = stop;
        if (quote)
            bytes += string_bytes(&p, end);
    }
    return bytes;
}
