/* operator_check.c - do the tensors of a model-free request fit together? Every shape is checked here, before core sees one: core and BLIS trust theirs.
 *
 * The pointer names the field that was sent and is to mend: of two that disagree the one that depends on the other (w_q on embeddings, key on query).
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "request_read.h"

bool api_operator_is_packed(const api_attention_request *req)
{
    return req->has_num_attention_heads && req->query.rank < 4;
}

bool api_operator_is_batch(const api_attention_request *req)
{
    if (req->kind == API_INPUT_EMBEDDINGS)
        return req->embeddings.rank == 3;
    return req->query.rank == (api_operator_is_packed(req) ? 3 : 4);
}

static size_t length_of(const api_tensor *x)
{
    return x->shape[x->rank - 2];
}

static size_t columns_of(const api_tensor *x)
{
    return x->shape[x->rank - 1];
}

void api_operator_lengths(const api_attention_request *req, size_t *B, size_t *T_q, size_t *T_k)
{
    bool is_embeddings = req->kind == API_INPUT_EMBEDDINGS;
    const api_tensor *queries = is_embeddings ? &req->embeddings : &req->query, *keys = is_embeddings ? &req->key_embeddings : &req->key;
    *B = api_operator_is_batch(req) ? queries->shape[0] : 1;
    *T_q = length_of(queries);
    *T_k = keys->rank ? length_of(keys) : *T_q;
}

/* ---- heads -------------------------------------------------------------------------------------------------------------------- */

/* G divides H. */
static bool check_groups(const api_attention_request *req, const api_operator_shape *s, api_problem *problem)
{
    if (s->H % s->G == 0)
        return true;
    return api_fail(problem, API_SHAPE_MISMATCH, req->has_num_key_value_heads ? "/num_key_value_heads" : "/key",
                    "%zu key/value heads do not divide %zu attention heads into equal groups", s->G, s->H);
}

/* Columns that are cut into `heads` equal parts: the width of one. */
static bool cut(size_t columns, size_t heads, const char *pointer, const char *what, size_t *width, api_problem *problem)
{
    if (columns % heads != 0)
        return api_fail(problem, API_SHAPE_MISMATCH, pointer, "%s have %zu columns, which cannot be cut into %zu equal heads", what, columns, heads);
    *width = columns / heads;
    return true;
}

static bool check_key_width(size_t width, const api_operator_shape *s, const char *pointer, api_problem *problem)
{
    if (width == s->head_dim)
        return true;
    return api_fail(problem, API_SHAPE_MISMATCH, pointer, "keys have heads of size %zu, but queries have heads of size %zu", width, s->head_dim);
}

/* ---- query, key, value ----------------------------------------------------------------------------------------------------------- */

/* Rank, batch and heads of key and value against query and key; T against key's for value. */
static bool check_like(const api_attention_request *req, const char *name, const api_tensor *x, api_problem *problem)
{
    char pointer[16];
    const api_tensor *q = &req->query;
    snprintf(pointer, sizeof pointer, "/%s", name);
    if (x->rank != q->rank)
        return api_fail(problem, API_SHAPE_MISMATCH, pointer, "%s has %zu axes, but query has %zu", name, x->rank, q->rank);
    if (api_operator_is_batch(req) && x->shape[0] != q->shape[0])
        return api_fail(problem, API_SHAPE_MISMATCH, pointer, "%s has %zu batch items, but query has %zu", name, x->shape[0], q->shape[0]);
    if (length_of(x) != length_of(&req->key))
        return api_fail(problem, API_SHAPE_MISMATCH, pointer, "%s has %zu positions, but key has %zu", name, length_of(x), length_of(&req->key));
    return true;
}

static bool check_packed(const api_attention_request *req, api_operator_shape *s, api_problem *problem)
{
    size_t width = 0;
    s->H = req->num_attention_heads;
    s->G = req->has_num_key_value_heads ? req->num_key_value_heads : s->H;
    return check_groups(req, s, problem) && cut(columns_of(&req->query), s->H, "/num_attention_heads", "queries", &s->head_dim, problem) &&
           cut(columns_of(&req->key), s->G, "/key", "keys", &width, problem) && check_key_width(width, s, "/key", problem) &&
           cut(columns_of(&req->value), s->G, "/value", "values", &s->value_dim, problem);
}

/* Heads of a tensor that has them on an axis of their own, or has one. */
static size_t heads_of(const api_tensor *x)
{
    return x->rank > 2 ? x->shape[x->rank - 3] : 1;
}

static bool check_unpacked(const api_attention_request *req, api_operator_shape *s, api_problem *problem)
{
    s->H = heads_of(&req->query);
    s->G = heads_of(&req->key);
    s->head_dim = columns_of(&req->query);
    s->value_dim = columns_of(&req->value);
    if (req->has_num_attention_heads && req->num_attention_heads != s->H)
        return api_fail(problem, API_SHAPE_MISMATCH, "/num_attention_heads", "num_attention_heads is %zu, but query has %zu heads", req->num_attention_heads,
                        s->H);
    if (req->has_num_key_value_heads && req->num_key_value_heads != s->G)
        return api_fail(problem, API_SHAPE_MISMATCH, "/num_key_value_heads", "num_key_value_heads is %zu, but key has %zu heads", req->num_key_value_heads,
                        s->G);
    if (heads_of(&req->value) != s->G)
        return api_fail(problem, API_SHAPE_MISMATCH, "/value", "value has %zu heads, but key has %zu", heads_of(&req->value), s->G);
    return check_groups(req, s, problem) && check_key_width(columns_of(&req->key), s, "/key", problem);
}

static bool check_qkv(const api_attention_request *req, api_operator_shape *s, api_problem *problem)
{
    if (!check_like(req, "key", &req->key, problem) || !check_like(req, "value", &req->value, problem))
        return false;
    return api_operator_is_packed(req) ? check_packed(req, s, problem) : check_unpacked(req, s, problem);
}

/* ---- embeddings and projections ------------------------------------------------------------------------------------------------------ */

/* x @ w + b, of which `name` is the letter: rows of w are x's columns, b is as long as w is wide. *columns are what comes out. */
typedef struct projection {
    char name;
    const api_tensor *w, *b;
    size_t in;           /* columns of x */
    const char *in_name; /* what x is called */
} projection;

static bool check_projection(const projection *p, size_t *columns, api_problem *problem)
{
    const char w[] = { '/', 'w', '_', p->name, '\0' }, b[] = { '/', 'b', '_', p->name, '\0' };
    *columns = p->in;
    if (p->w->rank == 0)
        return true;
    *columns = columns_of(p->w);
    if (p->w->shape[0] != p->in)
        return api_fail(problem, API_SHAPE_MISMATCH, w, "%s has %zu rows, but %s have %zu columns", w + 1, p->w->shape[0], p->in_name, p->in);
    if (p->b->rank && p->b->shape[0] != *columns)
        return api_fail(problem, API_SHAPE_MISMATCH, b, "%s has %zu elements, but %s has %zu columns", b + 1, p->b->shape[0], w + 1, *columns);
    return true;
}

static bool check_key_embeddings(const api_attention_request *req, api_problem *problem)
{
    const api_tensor *x = &req->embeddings, *keys = &req->key_embeddings;
    if (keys->rank < 3)
        return true; /* none, or the same for every item */
    if (x->rank < 3)
        return api_fail(problem, API_SHAPE_MISMATCH, "/key_embeddings", "key_embeddings are a batch, but embeddings are not");
    if (keys->shape[0] != x->shape[0])
        return api_fail(problem, API_SHAPE_MISMATCH, "/key_embeddings", "key_embeddings have %zu batch items, but embeddings have %zu", keys->shape[0],
                        x->shape[0]);
    return true;
}

/* Whose columns are wrong when keys cannot be cut: the matrix, the embeddings of their own, or the number of parts. */
static const char *blame(const api_attention_request *req, const api_tensor *w, const char *w_pointer)
{
    if (w->rank)
        return w_pointer;
    if (req->key_embeddings.rank)
        return "/key_embeddings";
    return req->has_num_key_value_heads ? "/num_key_value_heads" : "/embeddings";
}

static bool check_embeddings(const api_attention_request *req, api_operator_shape *s, api_problem *problem)
{
    const api_tensor *keys = req->key_embeddings.rank ? &req->key_embeddings : &req->embeddings;
    const char *key_name = req->key_embeddings.rank ? "key_embeddings" : "embeddings";
    size_t D = columns_of(&req->embeddings), D_k = columns_of(keys), q, k, v, width = 0;
    s->H = req->num_attention_heads;
    s->G = req->has_num_key_value_heads ? req->num_key_value_heads : s->H;
    if (!check_key_embeddings(req, problem) || !check_groups(req, s, problem))
        return false;
    if (!check_projection(&(projection){ 'q', &req->w_q, &req->b_q, D, "embeddings" }, &q, problem) ||
        !check_projection(&(projection){ 'k', &req->w_k, &req->b_k, D_k, key_name }, &k, problem) ||
        !check_projection(&(projection){ 'v', &req->w_v, &req->b_v, D_k, key_name }, &v, problem))
        return false;
    const char *blame_k = blame(req, &req->w_k, "/w_k"), *blame_v = blame(req, &req->w_v, "/w_v");
    return cut(q, s->H, req->w_q.rank ? "/w_q" : "/num_attention_heads", "queries", &s->head_dim, problem) && cut(k, s->G, blame_k, "keys", &width, problem) &&
           check_key_width(width, s, blame_k, problem) && cut(v, s->G, blame_v, "values", &s->value_dim, problem);
}

static bool check_output_projection(const api_attention_request *req, api_operator_shape *s, api_problem *problem)
{
    return check_projection(&(projection){ 'o', &req->w_o, &req->b_o, s->H * s->value_dim, "the heads side by side" }, &s->output_dim, problem);
}

/* ---- what both have -------------------------------------------------------------------------------------------------------------------- */

/* "[2, 1, 4]" into dst. */
static void print_shape(char *dst, size_t size, const size_t *shape, size_t rank)
{
    size_t used = (size_t)snprintf(dst, size, "[");
    for (size_t i = 0; i < rank; i++)
        used += (size_t)snprintf(dst + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(dst + used, size - used, "]");
}

static bool check_mask(const api_attention_request *req, const api_operator_shape *s, api_problem *problem)
{
    const api_mask *mask = &req->attn_mask;
    const size_t full[4] = { s->B, s->H, s->T_q, s->T_k };
    for (size_t i = 0; i < mask->rank; i++) {
        size_t axis = full[4 - mask->rank + i];
        if (mask->shape[i] == 1 || mask->shape[i] == axis)
            continue;
        char sent[100], wanted[100];
        print_shape(sent, sizeof sent, mask->shape, mask->rank);
        print_shape(wanted, sizeof wanted, full, 4);
        return api_fail(problem, API_SHAPE_MISMATCH, "/attn_mask", "attn_mask %s cannot be broadcast to %s (batch, heads, queries, keys)", sent, wanted);
    }
    return true;
}

static bool check_key_lengths(const api_attention_request *req, const api_operator_shape *s, api_problem *problem)
{
    for (size_t b = 0; req->key_lengths && b < s->B; b++) {
        char pointer[64];
        if ((uint64_t)req->key_lengths[b] <= s->T_k)
            continue;
        snprintf(pointer, sizeof pointer, "/key_lengths/%zu", b);
        return api_fail(problem, API_OUT_OF_RANGE, pointer, "a key length of %" PRId64 ", but there are %zu keys", req->key_lengths[b], s->T_k);
    }
    return true;
}

bool api_check_operator(const api_attention_request *req, api_operator_shape *out, api_problem *problem)
{
    api_operator_shape s = { 0 };
    bool is_embeddings = req->kind == API_INPUT_EMBEDDINGS;
    api_operator_lengths(req, &s.B, &s.T_q, &s.T_k);
    if (!(is_embeddings ? check_embeddings(req, &s, problem) : check_qkv(req, &s, problem)) || !check_output_projection(req, &s, problem))
        return false;
    if (req->positional_encoding == API_POSITION_ROPE && s.head_dim % 2 != 0)
        return api_fail(problem, API_SHAPE_MISMATCH, "/positional_encoding", "rope turns pairs, and heads have an odd size of %zu", s.head_dim);
    if (!check_mask(req, &s, problem) || !check_key_lengths(req, &s, problem))
        return false;
    *out = s;
    return true;
}

/* ---- selections -------------------------------------------------------------------------------------------------------------------------- */

/* One end of a slice as Python has it: from the end when negative, then clipped. */
static size_t clip(int64_t at, size_t n)
{
    if (at < 0)
        at += (int64_t)n;
    return at < 0 ? 0 : (uint64_t)at > n ? n : (size_t)at;
}

static bool resolve_slice(const api_indices *in, const char *field, size_t n, int32_t *list, size_t *count, api_problem *problem)
{
    size_t start = in->has_start ? clip(in->start, n) : 0, stop = in->has_stop ? clip(in->stop, n) : n;
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", field);
    if (start >= stop)
        return api_fail(problem, API_EMPTY_SELECTION, pointer, "%s chooses nothing of %zu", field, n);
    *count = stop - start;
    for (size_t i = 0; i < *count; i++)
        list[i] = (int32_t)(start + i);
    return true;
}

static bool resolve_list(const api_indices *in, const char *field, size_t n, int32_t *list, api_problem *problem)
{
    for (size_t i = 0; i < in->count; i++) {
        int64_t at = in->list[i] < 0 ? in->list[i] + (int64_t)n : in->list[i];
        if (at >= 0 && (uint64_t)at < n) {
            list[i] = (int32_t)at;
            continue;
        }
        char pointer[96];
        snprintf(pointer, sizeof pointer, "/%s/%zu", field, i);
        return api_fail(problem, API_INDEX_OUT_OF_RANGE, pointer, "there are %zu %s: %" PRId64 " is not between -%zu and %zu", n, field, in->list[i], n, n - 1);
    }
    return true;
}

bool api_resolve(const api_indices *in, const char *field, size_t n, attn_arena *arena, const int32_t **list, size_t *count, api_problem *problem)
{
    *list = NULL;
    *count = in->kind == API_LIST ? in->count : n;
    if (in->kind == API_ALL)
        return true;
    int32_t *resolved = attn_arena_take(arena, *count, sizeof *resolved);
    if (!resolved)
        return api_fail(problem, API_NO_MEMORY, NULL, "no memory for the request");
    *list = resolved;
    return in->kind == API_LIST ? resolve_list(in, field, n, resolved, problem) : resolve_slice(in, field, n, resolved, count, problem);
}
