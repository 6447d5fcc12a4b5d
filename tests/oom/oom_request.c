/* Every allocation of a request fails once, in turn: the first, then the second, until a request gets through. Each time the answer is a clean 503, or
 * breaks off after it began; nothing is held and (under AddressSanitizer) nothing leaks. Requests do not use jansson, so the hook sees all there is.
 * SPDX-License-Identifier: Apache-2.0 */
#include "more_models.h"

#include <stdatomic.h>
#include <stdio.h>

static const struct request_case {
    const char *name, *path, *accept, *body; /* accept NULL: JSON */
} cases[] = {
    { "a sentence", "/v1/attention", NULL, "{\"text\":\"The cat sat on the mat, and nobody knows why.\"}" },
    { "two sentences, everything held", "/v1/attention", NULL,
      "{\"text\":[\"The cat sat.\",\"A \\u0064og\"],\"text_pair\":[\"b\",\"c\"],\"layers\":[3,1,3],\"heads\":[0,-1],\"queries\":[0,1],\"keys\":{\"start\":1},"
      "\"reduce_heads\":\"mean\",\"top_k\":2,\"output\":[\"attentions\",\"scores\",\"context\",\"key\",\"attn_output\"]}" },
    { "reduced over layers", "/v1/attention", NULL,
      "{\"input_ids\":[[1,2,3],[4]],\"attention_mask\":[[1,1,0],[1]],\"reduce_layers\":\"max\",\"keys\":[0],\"top_k\":3}" },
    { "queries, keys and values with everything", "/v1/attention", NULL,
      "{\"query\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"key\":[[[1,0],[0,1]],[[1,1],[0.5,2]]],\"value\":{\"dtype\":\"float32\",\"shape\":[2,2,1],\"data\":"
      "\"AACAPwAAAAAAAAAAAACAPw==\"},"
      "\"is_causal\":true,\"attn_mask\":[[true,false],[true,true]],\"scale\":0.5,\"softcap\":10,\"query_offset\":1,\"left_window_size\":1,"
      "\"output\":[\"attentions\",\"scores\",\"raw_scores\",\"context\",\"query\",\"key\",\"value\",\"attn_output\"],\"encoding\":\"base64\",\"dtype\":"
      "\"float16\"}" },
    { "embeddings with projections", "/v1/attention", NULL,
      "{\"embeddings\":[[1,0,0.5,2],[0,1,-1,1]],\"key_embeddings\":[[1,2,3,4]],\"num_attention_heads\":2,\"num_key_value_heads\":1,\"w_q\":[[1,0],[0,1],[1,1],["
      "0,0]],"
      "\"w_k\":[[1],[2],[3],[4]],\"w_v\":[[1],[2],[3],[4]],\"b_q\":[1,2],\"w_o\":[[1],[2]],\"b_o\":[3],\"positional_encoding\":\"sinusoidal\"}" },
    { "an answer of several blocks", "/v1/attention", NULL,
      "{\"text\":\"a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v w x y z\",\"output\":[\"attentions\"]}" },
    { "a price", "/v1/estimate", NULL, "{\"text\":\"The cat sat on the mat.\"}" },
    { "tokens", "/v1/tokenize", NULL, "{\"text\":[\"The cat\",\"sat\"]}" },
    { "the models", "/v1/models", NULL, NULL },
    { "a problem", "/v1/attention", NULL, "{\"text\":\"a\",\"layers\":[99]}" },
    { "everything that a model gives, in bins, with analyses", "/v1/attention", NULL,
      "{\"text\":\"The cat sat on the mat, and nobody knows why.\",\"pool\":{\"size\":3,\"mode\":\"max\"},\"reduce_heads\":\"mean\",\"layers\":[0,2],"
      "\"output\":[\"attentions\",\"scores\",\"raw_scores\",\"weighted_norms\",\"value_norms\",\"hidden_states\"],"
      "\"analyses\":[\"entropy\",\"confidence\",\"mean_distance\",\"self\",\"special_tokens\",\"duplicate_token\",\"induction\"]}" },
    { "analyses alone", "/v1/attention", NULL,
      "{\"text\":\"The cat sat on the mat.\",\"output\":[],\"analyses\":[\"rollout\",\"head_distance\",\"next_token\"]}" },
    { "lines", "/v1/attention", "application/x-ndjson",
      "{\"text\":[\"The cat sat.\",\"A "
      "dog\"],\"output\":[\"attentions\",\"hidden_states\"],\"reduce_layers\":\"mean\",\"analyses\":[\"entropy\",\"rollout\"]}" },
    { "lines with ranks and states", "/v1/attention", "application/x-ndjson",
      "{\"text\":\"The cat sat.\",\"top_k\":2,\"keys\":[0,1],\"queries\":[1,0],\"layers\":[0,1],\"output\":[\"attentions\",\"hidden_states\"]}" },
    { "safetensors", "/v1/attention", "application/vnd.safetensors",
      "{\"text\":[\"The cat sat.\",\"A dog\"],\"top_k\":2,\"dtype\":\"float16\",\"analyses\":[\"head_distance\"]}" },
    { "npy", "/v1/attention", "application/x-npy", "{\"text\":\"The cat sat.\",\"dtype\":\"uint8\",\"reduce_heads\":\"max\"}" },
    { "a picture", "/v1/attention", "image/png", "{\"text\":\"The cat sat.\",\"layers\":[0],\"heads\":[0,1]}" },
    { "a drawing", "/v1/attention", "image/svg+xml", "{\"text\":\"The cat sat.\",\"layers\":[0],\"output\":[\"attentions\",\"scores\"]}" },
    { "a drawing for a terminal", "/v1/attention", "text/plain", "{\"text\":[\"The cat sat.\",\"A dog\"]}" },
    { "the price of a picture", "/v1/estimate?accept=image/png", NULL, "{\"text\":\"The cat sat on the mat.\",\"pool\":{\"size\":4}}" },
    { "an encoder-decoder", "/v1/attention", NULL,
      "{\"model\":\"bart\",\"input_ids\":[3,40,21],\"decoder_input_ids\":[2,3],\"output\":[\"attentions\",\"hidden_states\",\"value_norms\"],\"layers\":[1,0],"
      "\"keys\":[0,0],\"top_k\":2,\"analyses\":[\"rollout\",\"entropy\"]}" },
    { "lines of an encoder-decoder", "/v1/attention", "application/x-ndjson",
      "{\"model\":\"bart\",\"input_ids\":[3,40,21],\"reduce_layers\":\"mean\",\"output\":[\"attentions\",\"hidden_states\"]}" },
    { "writing on", "/v1/attention", NULL,
      "{\"model\":\"gpt2\",\"input_ids\":[[3,40],[5]],\"attention_mask\":[[0,1],[1]],\"max_new_tokens\":4,\"queries\":[-1]}" },
    { "an encoder-decoder that writes", "/v1/attention", "application/vnd.safetensors", "{\"model\":\"bart\",\"input_ids\":[3,40,21],\"max_new_tokens\":4}" },
    { "lines while it writes", "/v1/attention", "application/x-ndjson",
      "{\"model\":\"bart\",\"input_ids\":[3,40,21],\"max_new_tokens\":3,\"top_k\":2,\"output\":[\"attentions\",\"key\"],\"analyses\":[\"entropy\"]}" },
    { "a translation of two texts, one begun, one cut", "/v1/attention", NULL,
      "{\"model\":\"attnd-translate\",\"text\":[\">>deu<< a cat\",\"b\"],\"text_pair\":[\"Eine\",\"c d e f g h\"],\"truncation\":true,\"max_new_tokens\":510,"
      "\"layers\":[0],\"output\":[\"attentions\"]}" },
    { "lines of a translation", "/v1/attention", "application/x-ndjson",
      "{\"model\":\"attnd-translate\",\"text\":\">>deu<< a cat\",\"max_new_tokens\":4,\"layers\":[0],\"output\":[\"attentions\"]}" },
    { "tokens of an encoder-decoder", "/v1/tokenize", NULL, "{\"model\":\"attnd-translate\",\"text\":\"a\",\"text_pair\":\"b\"}" },
    { "what does not go together", "/v1/attention", "image/png", "{\"text\":\"a\",\"output\":[\"context\"]}" },
};

enum { MOST_ALLOCATIONS = 10000 };

typedef struct failing {
    _Atomic long left; /* allocations until the one that fails */
    _Atomic bool failed;
} failing;

static bool may_allocate(void *ctx, size_t bytes)
{
    failing *f = ctx;
    (void)bytes;
    if (atomic_fetch_sub(&f->left, 1) != 1)
        return true;
    atomic_store(&f->failed, true);
    return false;
}

typedef struct outcome {
    attn_status status;
    api_code code;
    int http, starts;
    bool failed; /* an allocation was refused */
} outcome;

static outcome run_with_failure(const struct request_case *c, long nth)
{
    failing f = { .left = nth };
    memory_reply reply;
    reply_init(&reply);
    outcome o = { .code = API_OK };
    attn_memory_hook(may_allocate, &f);
    o.status = reply_request_as(&reply, &service, c->path, c->accept, c->body, &o.code, NULL);
    attn_memory_hook(NULL, NULL);
    o.http = reply.head.status;
    o.starts = reply.starts;
    o.failed = f.failed;
    ck_assert_msg(reply.blocks == 0, "%s, allocation %ld: %zu blocks are still held", c->name, nth, (size_t)reply.blocks);
    reply_free(&reply);
    return o;
}

START_TEST(every_allocation_may_fail)
{
    const struct request_case *c = &cases[_i];
    outcome well = run_with_failure(c, 0);
    ck_assert_int_eq(well.status, ATTN_OK);
    long nth = 1;
    for (; nth < MOST_ALLOCATIONS; nth++) {
        outcome o = run_with_failure(c, nth);
        if (!o.failed) {
            ck_assert_int_eq(o.status, ATTN_OK);
            ck_assert_int_eq(o.code, well.code);
            ck_assert_int_eq(o.http, well.http);
            break;
        }
        bool clean = o.status == ATTN_OK && o.code == API_NO_MEMORY && o.http == 503 && o.starts == 1;
        bool told = o.status == ATTN_OK && o.code == API_NO_MEMORY && o.http == 200 && c->accept; /* ndjson: in its last line */
        bool broke = o.status == ATTN_E_NOMEM && o.starts == 1;
        bool mute = o.status == ATTN_E_NOMEM && o.starts == 0 && (nth == 1 || well.code != API_OK); /* no arena; or no block for the problem itself */
        ck_assert_msg(clean || told || broke || mute, "%s, allocation %ld: status %d, %s, http %d", c->name, nth, o.status, api_code_name(o.code), o.http);
    }
    ck_assert_int_gt(nth, 1);
    ck_assert_int_lt(nth, MOST_ALLOCATIONS);
    printf("%s: %ld allocations\n", c->name, nth - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oom_request");
    TCase *tcase = tcase_create("allocations");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, more_setup, more_teardown);
    tcase_add_loop_test(tcase, every_allocation_may_fail, 0, sizeof cases / sizeof cases[0]);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
