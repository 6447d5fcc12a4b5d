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
    ck_assert_int_eq(api_accept_weigh(c->accept, c->type).quality, c->quality);
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
    { { .method = "GET", .path = "/docs" }, API_OK },
    { { .method = "HEAD", .path = "/docs" }, API_OK },
    { { .method = "GET", .path = "/docs", .accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" }, API_OK },
    { { .method = "GET", .path = "/docs", .accept = "application/json" }, API_NOT_ACCEPTABLE },
    { { .method = "GET", .path = "/docs", .query = "scale=log" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/docs" }, API_METHOD_NOT_ALLOWED },
    { { .method = "GET", .path = "/docs/" }, API_NOT_FOUND },
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
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/svg+xml" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/svg%2Bxml", .accept = "application/json" }, API_OK },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/webp" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png%00" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png", .accept = "image/png" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png&accept=image/png" }, API_DUPLICATE_FIELD },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=image/png&scale=log" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/estimate", .query = "scale=log" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/tokenize", .query = "scale=log" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/tokenize", .accept = "image/png" }, API_NOT_ACCEPTABLE },
    { { .method = "POST", .path = "/v1/estimate", .query = "accept=application/json&y" }, API_UNKNOWN_PARAMETER },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png", .query = "scale=log&cell=4" }, API_OK },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png", .query = "color=none" }, API_UNSUPPORTED_COMBINATION },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png", .query = "cell=65" }, API_OUT_OF_RANGE },
    { { .method = "POST", .path = "/v1/attention", .accept = "image/png", .query = "scale=cubic" }, API_UNKNOWN_VALUE },
    { { .method = "POST", .path = "/v1/attention", .accept = "text/html" }, API_NOT_ACCEPTABLE },
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
    ck_assert(!api_check(&service, &(api_request){ .method = "POST", .path = "/v1/attention", .query = "col%6fur=none" }, &route, &problem));
    ck_assert_ptr_nonnull(strstr(problem.detail, "\"colour\""));
    problem = (api_problem){ 0 };
    ck_assert(!api_check(&service, &(api_request){ .method = "GET", .path = "/v1/models", .query = "page=2" }, &route, &problem));
    ck_assert_str_eq(problem.detail, "/v1/models has no query parameter \"page\"");
}
END_TEST

START_TEST(an_accept_parameter_that_is_too_long_is_not_half_read)
{
    char query[3000] = "accept=";
    for (size_t n = strlen(query); n + 20 < sizeof query; n += 17)
        strcpy(query + n, "image/webp;q=0.9,");
    strcat(query, "text/plain");
    api_problem problem = { 0 };
    const api_route *route;
    ck_assert(!api_check(&service, &(api_request){ .method = "POST", .path = "/v1/estimate", .query = query }, &route, &problem));
    ck_assert_int_eq(problem.code, API_UNKNOWN_VALUE);
    ck_assert_ptr_nonnull(strstr(problem.detail, "too long"));
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

/* Is the code listed by a response of its status? */
static bool is_listed(json_t *responses, const char *code, int status)
{
    const char *name;
    json_t *response, *one;
    size_t i;
    bool found = false;
    json_object_foreach(responses, name, response)
    {
        json_t *schema = json_object_get(json_object_get(json_object_get(response, "content"), "application/problem+json"), "schema");
        json_t *properties = json_object_get(json_array_get(json_object_get(schema, "allOf"), 1), "properties");
        bool is_its = json_integer_value(json_object_get(json_object_get(properties, "status"), "const")) == status;
        json_array_foreach(json_object_get(json_object_get(properties, "code"), "enum"), i, one) found |= is_its && strcmp(json_string_value(one), code) == 0;
    }
    return found;
}

START_TEST(the_contract_lists_every_code_and_route)
{
    ck_assert_int_eq(get("/openapi.json"), API_OK);
    json_t *read = answer(), *paths = json_object_get(read, "paths"), *responses = json_object_get(json_object_get(read, "components"), "responses");
    for (api_code code = 1; code < API_CODE_COUNT; code++)
        ck_assert_msg(is_listed(responses, api_code_name(code), api_code_status(code)), "%s", api_code_name(code));
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

START_TEST(the_page_for_people_needs_nothing_from_any_other_host)
{
    ck_assert_int_eq(get("/docs"), API_OK);
    ck_assert_str_eq(reply.head.content_type, "text/html; charset=utf-8");
    ck_assert_ptr_eq(strcasestr(reply.body, "<!doctype html>"), reply.body);
    static const char *const loads[] = { "src=\"http", "src=\"//", "url(http", "@import", "<link rel=\"stylesheet\" href=\"http" };
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
        ck_assert_msg(!strcasestr(reply.body, loads[i]), "%s", loads[i]);
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
    tcase_add_test(tcase, an_accept_parameter_that_is_too_long_is_not_half_read);
    tcase_add_loop_test(tcase, model_names_are_plain, 0, sizeof names / sizeof names[0]);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("answers");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_server_without_models_says_so);
    tcase_add_test(tcase, an_unknown_model_is_a_404_at_model);
    tcase_add_test(tcase, the_contract_lists_every_code_and_route);
    tcase_add_test(tcase, the_contract_comes_as_yaml_too);
    tcase_add_test(tcase, the_page_for_people_needs_nothing_from_any_other_host);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
