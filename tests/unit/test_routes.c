/* What the head of a request must say, and what each route answers without a computation. Tables: one line, one claim.
 * SPDX-License-Identifier: Apache-2.0 */
#include "media.h"
#include "memory_reply.h"
#include "unit.h"

#include <jansson.h>

static const api_service service = {
    .limits = { .max_body_bytes = 1000, .max_tokens = 100, .max_batch = 4, .max_response_bytes = 1 << 20, .max_memory_bytes = 1 << 20 }, .version = "0"
};

/* ---- Accept ------------------------------------------------------------------------------------------------------------ */

static const struct accept_case {
    const char *accept, *type;
    int quality;
} accepts[] = {
    { NULL, "application/json", 1000 },
    { "", "application/json", 1000 },
    { "  ", "application/json", 1000 },
    { "*/*", "application/json", 1000 },
    { "*", "application/json", 1000 },
    { "application/*", "application/json", 1000 },
    { "application/json", "application/json", 1000 },
    { "APPLICATION/JSON", "application/json", 1000 },
    { "application/json; charset=utf-8", "application/json", 1000 },
    { "application/json;q=0.5", "application/json", 500 },
    { "application/json ; q=0.123", "application/json", 123 },
    { "application/json;Q=1.000", "application/json", 1000 },
    { "application/json;q=.25", "application/json", 250 },
    { "application/json;q=0", "application/json", 0 },
    { "application/json;q=0.000", "application/json", 0 },
    { "application/json;q=", "application/json", 1000 },
    { "application/json;q=high", "application/json", 1000 },
    { "text/html", "application/json", 0 },
    { "text/*", "application/json", 0 },
    { "application/jsonl", "application/json", 0 },
    { "application/jso", "application/json", 0 },
    { "application/problem+json", "application/json", 0 },
    { "application", "application/json", 0 },
    { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json", 800 },
    { "*/*, application/json;q=0", "application/json", 0 },
    { "application/json;q=0, */*", "application/json", 0 },
    { "application/*;q=0, */*", "application/json", 0 },
    { "application/*;q=0, application/json;q=0.1", "application/json", 100 },
    { "application/*;q=0, */*", "text/plain", 1000 },
    { "application/json;q=0.2, application/json;q=0.7", "application/json", 700 },
    { ",, ,application/json", "application/json", 1000 },
    { "text/html;title=\"a, application/json;q=1\"", "application/json", 0 },
    { "application/json;title=\"a\\\",b\";q=0.3", "application/json", 300 },
    { "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.3", "text/plain", 400 },
};

START_TEST(accept_weighs_the_most_specific_range)
{
    const struct accept_case *c = &accepts[_i];
    ck_assert_int_eq(api_accept_quality(c->accept, c->type), c->quality);
}
END_TEST

/* ---- the head ------------------------------------------------------------------------------------------------------------ */

static const struct head_case {
    api_request request;
    api_code code;
} heads[] = {
    { { .method = "POST", .path = "/v1/attention" }, API_OK },
    { { .method = "POST", .path = "/v1/tokenize" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate" }, API_OK },
    { { .method = "GET", .path = "/v1/models" }, API_OK },
    { { .method = "HEAD", .path = "/v1/models" }, API_OK },
    { { .method = "GET", .path = "/v1/models/a" }, API_OK },
    { { .method = "GET", .path = "/v1/models/org/name" }, API_OK },
    { { .method = "GET", .path = "/openapi.json" }, API_OK },
    { { .method = "GET", .path = "/openapi.yaml" }, API_OK },
    { { .method = "GET", .path = "/healthz", .accept = "image/png" }, API_OK },
    { { .method = "GET", .path = "/readyz" }, API_OK },
    { { .method = "GET", .path = "/metrics", .accept = "text/plain" }, API_OK },
    { { .method = "GET", .path = "/nothing" }, API_NOT_FOUND },
    { { .method = "GET", .path = "/v1/models/" }, API_NOT_FOUND },
    { { .method = "POST", .path = "/v1/attention/" }, API_NOT_FOUND },
    { { .method = "POST", .path = "/v1/Attention" }, API_NOT_FOUND },
    { { .method = "POST", .path = "" }, API_NOT_FOUND },
    { { .method = "GET", .path = "/v1/attention" }, API_METHOD_NOT_ALLOWED },
    { { .method = "HEAD", .path = "/v1/attention" }, API_METHOD_NOT_ALLOWED },
    { { .method = "DELETE", .path = "/v1/models" }, API_METHOD_NOT_ALLOWED },
    { { .method = "post", .path = "/v1/attention" }, API_METHOD_NOT_ALLOWED },
    { { .method = "POST", .path = "/v1/attention", .query = "" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .query = "x=1" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/attention", .query = "accept=application/json" }, API_UNKNOWN_PARAMETER },
    { { .method = "GET", .path = "/v1/models", .query = "page" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=application/json" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "&accept=application%2Fjson&" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "%61ccept=*/*" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=application/json&y" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/attention", .accept = "application/json;q=0" }, API_NOT_ACCEPTABLE },
    { { .method = "GET", .path = "/openapi.yaml", .accept = "application/yaml" }, API_OK },
    { { .method = "GET", .path = "/openapi.yaml", .accept = "application/json" }, API_NOT_ACCEPTABLE },
    { { .method = "GET", .path = "/metrics", .accept = "application/json" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_type = "application/json" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_type = "Application/JSON ; Charset=UTF-8" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_type = "application/json; charset=\"utf-8\"" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_type = "application/x-www-form-urlencoded" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_type = "application/json; charset=latin1" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "text/plain" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "application/jsonx" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "multipart/form-data; boundary=x" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "; charset=utf-8" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "GET", .path = "/v1/models", .content_type = "text/plain" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .content_encoding = "identity" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .content_encoding = "gzip" }, API_UNSUPPORTED_MEDIA_TYPE },
    { { .method = "POST", .path = "/v1/attention", .has_content_length = true, .content_length = 1000 }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .has_content_length = true, .content_length = 1001 }, API_BODY_TOO_LARGE },
    { { .method = "POST", .path = "/v1/attention", .has_content_length = true, .content_length = UINT64_MAX }, API_BODY_TOO_LARGE },
    /* the order: path, method, query, Accept, Content-Type, Content-Length */
    { { .method = "GET", .path = "/nothing", .query = "x", .accept = "a/b" }, API_NOT_FOUND },
    { { .method = "GET", .path = "/v1/attention", .query = "x", .accept = "a/b" }, API_METHOD_NOT_ALLOWED },
    { { .method = "POST", .path = "/v1/attention", .query = "x", .accept = "a/b", .content_type = "a/b" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/attention", .accept = "a/b", .content_type = "a/b" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/attention", .content_type = "a/b", .has_content_length = true, .content_length = 2000 }, API_UNSUPPORTED_MEDIA_TYPE },
};

START_TEST(the_head_of_a_request_is_judged)
{
    const struct head_case *c = &heads[_i];
    api_problem problem = { 0 };
    const api_route *route = NULL;
    bool ok = api_check(&service, &c->request, &route, &problem);
    ck_assert_msg(problem.code == c->code, "case %d, %s %s: %s", _i, c->request.method, c->request.path, api_code_name(problem.code));
    ck_assert_int_eq(ok, c->code == API_OK);
    ck_assert(!ok || route != NULL);
    ck_assert_str_eq(problem.pointer, "");
}
END_TEST

START_TEST(a_method_that_is_not_there_names_those_that_are)
{
    api_problem problem = { 0 };
    const api_route *route;
    ck_assert(!api_check(&service, &(api_request){ .method = "PUT", .path = "/v1/attention" }, &route, &problem));
    ck_assert_str_eq(problem.allow, "POST, OPTIONS");
    ck_assert_str_eq(api_allow("/v1/models/x"), "GET, HEAD, OPTIONS");
    ck_assert_ptr_null(api_allow("/x"));
}
END_TEST

START_TEST(a_body_too_large_names_limit_and_need)
{
    api_problem problem = { 0 };
    const api_route *route;
    ck_assert(
        !api_check(&service, &(api_request){ .method = "POST", .path = "/v1/tokenize", .has_content_length = true, .content_length = 1234 }, &route, &problem));
    ck_assert(problem.has_limit);
    ck_assert_uint_eq(problem.limit, 1000);
    ck_assert_uint_eq(problem.need, 1234);
}
END_TEST

START_TEST(an_unknown_parameter_is_named)
{
    api_problem problem = { 0 };
    const api_route *route;
    ck_assert(!api_check(&service, &(api_request){ .method = "POST", .path = "/v1/attention", .query = "col%6fr=none" }, &route, &problem));
    ck_assert_ptr_nonnull(strstr(problem.detail, "\"color\""));
}
END_TEST

static const struct name_case {
    const char *name;
    bool valid;
} names[] = {
    { "attnd-bert", true }, { "a", true },    { "org/name_v1.0", true }, { "", false },         { "/a", false },  { "a/", false },
    { "a//b", false },      { "a b", false }, { "a\nb", false },         { "\xc3\xa9", false }, { "a@b", false }, { "a?b", false },
};

START_TEST(model_names_are_plain)
{
    ck_assert_int_eq(api_model_name_is_valid(names[_i].name), names[_i].valid);
}
END_TEST

/* ---- answers ------------------------------------------------------------------------------------------------------------- */

static memory_reply reply;

static void setup(void)
{
    reply_init(&reply);
}

static void teardown(void)
{
    reply_free(&reply);
}

/* An inline route: no worker. */
static api_code get(const char *path)
{
    api_request request = { .method = "GET", .path = path, .request_id = "test" };
    api_problem problem = { 0 };
    const api_route *route;
    api_code outcome;
    ck_assert(api_check(&service, &request, &route, &problem));
    ck_assert_int_eq(route->kind, API_INLINE);
    ck_assert_int_eq(api_handle(&service, &request, route, NULL, &reply.reply, &outcome, NULL), ATTN_OK);
    ck_assert(reply.head.has_length);
    ck_assert_uint_eq(reply.head.length, reply.length);
    ck_assert_int_eq(reply.starts, 1);
    return outcome;
}

static json_t *answer(void)
{
    json_t *read = json_loadb(reply.body, reply.length, 0, NULL);
    ck_assert_ptr_nonnull(read);
    return read;
}

START_TEST(a_server_without_models_says_so)
{
    ck_assert_int_eq(get("/v1/models"), API_OK);
    json_t *read = answer();
    ck_assert(json_is_null(json_object_get(read, "default")));
    ck_assert_uint_eq(json_array_size(json_object_get(read, "models")), 0);
    json_decref(read);
}
END_TEST

START_TEST(an_unknown_model_is_a_404_at_model)
{
    ck_assert_int_eq(get("/v1/models/no/such"), API_MODEL_NOT_FOUND);
    json_t *read = answer();
    ck_assert_int_eq(reply.head.status, 404);
    ck_assert_str_eq(reply.head.content_type, "application/problem+json");
    ck_assert_str_eq(json_string_value(json_object_get(read, "code")), "model_not_found");
    ck_assert_str_eq(json_string_value(json_object_get(read, "pointer")), "/model");
    ck_assert_str_eq(json_string_value(json_object_get(read, "request_id")), "test");
    json_decref(read);
}
END_TEST

START_TEST(the_contract_lists_every_code_and_route)
{
    ck_assert_int_eq(get("/openapi.json"), API_OK);
    json_t *read = answer(), *paths = json_object_get(read, "paths");
    json_t *problem = json_object_get(json_object_get(json_object_get(read, "components"), "schemas"), "Problem");
    json_t *codes = json_object_get(json_object_get(json_object_get(problem, "properties"), "code"), "enum");
    ck_assert_uint_eq(json_array_size(codes), API_CODE_COUNT - 1);
    for (size_t i = 1; i < API_CODE_COUNT; i++)
        ck_assert_str_eq(json_string_value(json_array_get(codes, i - 1)), api_code_name((api_code)i));
    size_t num = 0;
    for (const api_route *r = api_routes(); r->path; r++, num++) {
        char method[5] = { r->method[0] == 'G' ? 'g' : 'p', r->method[0] == 'G' ? 'e' : 'o', r->method[0] == 'G' ? 't' : 's',
                           r->method[0] == 'G' ? '\0' : 't' };
        ck_assert_msg(json_object_get(json_object_get(paths, r->path), method) != NULL, "%s %s", r->method, r->path);
    }
    ck_assert_uint_eq(json_object_size(paths), num);
    json_decref(read);
}
END_TEST

START_TEST(the_contract_comes_as_yaml_too)
{
    ck_assert_int_eq(get("/openapi.yaml"), API_OK);
    ck_assert_str_eq(reply.head.content_type, "application/yaml");
    ck_assert_ptr_nonnull(strstr(reply.body, "\nopenapi: 3.1.0\n"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routes");
    TCase *tcase = tcase_create("head");
    tcase_add_loop_test(tcase, accept_weighs_the_most_specific_range, 0, sizeof accepts / sizeof accepts[0]);
    tcase_add_loop_test(tcase, the_head_of_a_request_is_judged, 0, sizeof heads / sizeof heads[0]);
    tcase_add_test(tcase, a_method_that_is_not_there_names_those_that_are);
    tcase_add_test(tcase, a_body_too_large_names_limit_and_need);
    tcase_add_test(tcase, an_unknown_parameter_is_named);
    tcase_add_loop_test(tcase, model_names_are_plain, 0, sizeof names / sizeof names[0]);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("answers");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_server_without_models_says_so);
    tcase_add_test(tcase, an_unknown_model_is_a_404_at_model);
    tcase_add_test(tcase, the_contract_lists_every_code_and_route);
    tcase_add_test(tcase, the_contract_comes_as_yaml_too);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
