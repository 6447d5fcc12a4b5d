/* Which form an answer takes: what Accept says, whatever real clients send, and the query parameters of what is drawn. Tables: one line, one claim.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "media.h"
#include "unit.h"

static const char *const content_types[API_FORM_COUNT] = {
    "application/json", "application/x-ndjson", "application/vnd.safetensors", "application/x-npy", "image/png", "image/svg+xml", "text/plain; charset=utf-8",
};

enum { REFUSED = -1 };

/* ---- Accept -------------------------------------------------------------------------------------------------------------------- */

static const struct accept_case {
    const char *accept;
    int kind;
} accepts[] = {
    /* nothing said */
    { NULL, API_FORM_JSON },
    { "", API_FORM_JSON },
    { "   ", API_FORM_JSON },
    { ",,", API_FORM_JSON },
    { "*/*", API_FORM_JSON },
    { "*", API_FORM_JSON },
    { "*/*;q=0.001", API_FORM_JSON },
    /* each by its name */
    { "application/json", API_FORM_JSON },
    { "application/x-ndjson", API_FORM_NDJSON },
    { "application/vnd.safetensors", API_FORM_SAFETENSORS },
    { "application/x-npy", API_FORM_NPY },
    { "image/png", API_FORM_PNG },
    { "image/svg+xml", API_FORM_SVG },
    { "text/plain", API_FORM_TEXT },
    { "IMAGE/PNG", API_FORM_PNG },
    { " text/plain;charset=utf-8 ", API_FORM_TEXT },
    /* a family: the first of it */
    { "application/*", API_FORM_JSON },
    { "image/*", API_FORM_PNG },
    { "text/*", API_FORM_TEXT },
    /* weights decide first */
    { "application/json;q=0.5, image/png", API_FORM_PNG },
    { "application/json;q=0.5, image/png;q=0.501", API_FORM_PNG },
    { "image/png;q=0.2, text/plain;q=0.9, image/svg+xml;q=0.3", API_FORM_TEXT },
    { "image/svg+xml;q=0.1, */*", API_FORM_JSON },
    { "application/x-npy;q=0.9, */*;q=0.1", API_FORM_NPY },
    { "application/x-npy;q=0.1, */*;q=0.9", API_FORM_JSON },
    /* then closeness */
    { "*/*, image/png", API_FORM_PNG },
    { "image/png, */*", API_FORM_PNG },
    { "image/*, */*", API_FORM_PNG },
    { "image/*, image/svg+xml", API_FORM_SVG },
    { "text/*, application/x-ndjson", API_FORM_NDJSON },
    { "text/*, */*", API_FORM_TEXT },
    /* then our order */
    { "text/plain, application/json", API_FORM_JSON },
    { "image/svg+xml, image/png", API_FORM_PNG },
    { "text/plain, image/svg+xml, application/x-npy", API_FORM_NPY },
    { "text/*, image/*", API_FORM_PNG },
    /* what is not welcome */
    { "application/json;q=0, */*", API_FORM_NDJSON },
    { "application/*;q=0, */*", API_FORM_PNG },
    { "application/*;q=0, image/*;q=0, */*;q=0.1", API_FORM_TEXT },
    { "image/*, image/png;q=0", API_FORM_SVG },
    { "application/*;q=0, application/json", API_FORM_JSON },
    { "*/*;q=0", REFUSED },
    { "application/json;q=0", REFUSED },
    { "text/html", REFUSED },
    { "image/webp", REFUSED },
    { "application/problem+json", REFUSED },
    { "application/jsonl", REFUSED },
    { "image/svg", REFUSED },
    { "json", REFUSED },
    { "text/html;title=\"a, image/png\"", REFUSED },
    { "text/html, application/xhtml+xml", REFUSED },
    { "\"", REFUSED },
    { "/", REFUSED },
    { ";q=1", REFUSED },
    { "\xff\xfe", REFUSED },
    /* Firefox, Chrome, Safari: a page, then a picture in a page; fetch, axios, jQuery; Python's requests and curl */
    { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", API_FORM_JSON },
    { "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
      API_FORM_JSON },
    { "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,image/svg+xml,*/*;q=0.8", API_FORM_PNG },
    { "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", API_FORM_PNG },
    { "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", API_FORM_SVG },
    { "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", API_FORM_PNG },
    { "application/json, text/plain, */*", API_FORM_JSON },
    { "application/json, text/javascript, */*; q=0.01", API_FORM_JSON },
    { "text/plain, */*; q=0.01", API_FORM_TEXT },
    { "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", API_FORM_JSON },
};

START_TEST(accept_chooses_the_form)
{
    const struct accept_case *c = &accepts[_i];
    api_form form;
    api_problem problem = { 0 };
    bool ok = api_form_choose(c->accept, NULL, &form, &problem);
    ck_assert_msg(ok == (c->kind != REFUSED), "%s: %s", c->accept, problem.detail);
    if (ok) {
        ck_assert_msg((int)form.kind == c->kind, "%s: %s", c->accept, form.content_type);
        ck_assert_str_eq(form.content_type, content_types[form.kind]);
        ck_assert(form.scale == ATTN_SCALE_LINEAR && form.cell == 0 && form.color == API_COLOR_256);
    } else {
        ck_assert_int_eq(problem.code, API_NOT_ACCEPTABLE);
        for (size_t i = 0; i < API_FORM_TEXT; i++)
            ck_assert_msg(strstr(problem.detail, content_types[i]), "%s", problem.detail);
    }
}
END_TEST

START_TEST(safetensors_go_by_the_name_they_were_asked_for)
{
    static const struct {
        const char *accept, *content_type;
    } rows[] = {
        { "application/octet-stream", "application/octet-stream" },
        { "application/vnd.safetensors", "application/vnd.safetensors" },
        { "application/octet-stream, application/vnd.safetensors", "application/vnd.safetensors" },
        { "application/octet-stream, application/vnd.safetensors;q=0.9", "application/octet-stream" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        api_form form;
        api_problem problem = { 0 };
        ck_assert(api_form_choose(rows[i].accept, NULL, &form, &problem));
        ck_assert_int_eq(form.kind, API_FORM_SAFETENSORS);
        ck_assert_str_eq(form.content_type, rows[i].content_type);
    }
}
END_TEST

START_TEST(an_accept_of_any_length_is_read_whole)
{
    enum { N = 100000 };
    char *accept = malloc(N + 100);
    size_t n = 0;
    while (n < N)
        n += (size_t)sprintf(accept + n, "image/webp;q=0.9, ");
    sprintf(accept + n, "text/plain;q=0.1");
    api_form form;
    api_problem problem = { 0 };
    ck_assert(api_form_choose(accept, NULL, &form, &problem));
    ck_assert_int_eq(form.kind, API_FORM_TEXT);
    accept[n] = '\0';
    ck_assert(!api_form_choose(accept, NULL, &form, &problem));
    ck_assert_uint_lt(strlen(problem.detail), 400);
    free(accept);
}
END_TEST

/* ---- parameters -------------------------------------------------------------------------------------------------------------------- */

static const struct query_case {
    const char *accept, *query;
    attn_scale scale;
    size_t cell;
    api_color color;
} queries[] = {
    { "image/png", NULL, ATTN_SCALE_LINEAR, 0, API_COLOR_256 },
    { "image/png", "", ATTN_SCALE_LINEAR, 0, API_COLOR_256 },
    { "image/png", "&&", ATTN_SCALE_LINEAR, 0, API_COLOR_256 },
    { "image/png", "scale=linear", ATTN_SCALE_LINEAR, 0, API_COLOR_256 },
    { "image/png", "scale=log", ATTN_SCALE_LOG, 0, API_COLOR_256 },
    { "image/svg+xml", "scale=row", ATTN_SCALE_ROW, 0, API_COLOR_256 },
    { "text/plain", "scale=row", ATTN_SCALE_ROW, 0, API_COLOR_256 },
    { "image/png", "cell=1", ATTN_SCALE_LINEAR, 1, API_COLOR_256 },
    { "image/svg+xml", "cell=64&scale=log", ATTN_SCALE_LOG, 64, API_COLOR_256 },
    { "image/png", "&cell=007&", ATTN_SCALE_LINEAR, 7, API_COLOR_256 },
    { "image/png", "sc%61le=%6cog", ATTN_SCALE_LOG, 0, API_COLOR_256 },
    { "text/plain", "color=256", ATTN_SCALE_LINEAR, 0, API_COLOR_256 },
    { "text/plain", "color=truecolor", ATTN_SCALE_LINEAR, 0, API_COLOR_TRUECOLOR },
    { "text/plain", "color=none&scale=linear", ATTN_SCALE_LINEAR, 0, API_COLOR_NONE },
};

START_TEST(parameters_are_read)
{
    const struct query_case *c = &queries[_i];
    api_form form;
    api_problem problem = { 0 };
    ck_assert_msg(api_form_choose(c->accept, c->query, &form, &problem), "%s: %s", c->query, problem.detail);
    ck_assert(form.scale == c->scale && form.cell == c->cell && form.color == c->color);
}
END_TEST

static const struct bad_query_case {
    const char *accept, *query;
    api_code code;
    const char *said; /* in the detail */
} bad_queries[] = {
    { "image/png", "x=1", API_UNKNOWN_PARAMETER, "\"x\"" },
    { "image/png", "scales=log", API_UNKNOWN_PARAMETER, "did you mean \"scale\"?" },
    { "text/plain", "colour=none", API_UNKNOWN_PARAMETER, "did you mean \"color\"?" },
    { "image/png", "Scale=log", API_UNKNOWN_PARAMETER, "did you mean \"scale\"?" },
    { "image/png", "=log", API_UNKNOWN_PARAMETER, "\"\"" },
    { "image/png", "accept=image/png", API_UNKNOWN_PARAMETER, "\"accept\"" },
    { "image/png", "scale%00=log", API_UNKNOWN_PARAMETER, "\"scale%00\"" },
    { "image/png", "scale", API_UNKNOWN_VALUE, "scale cannot be \"\"; it is linear, log or row" },
    { "image/png", "scale=Log", API_UNKNOWN_VALUE, "\"Log\"" },
    { "image/png", "scale=log+", API_UNKNOWN_VALUE, "\"log+\"" },
    { "image/png", "scale=log%00x", API_UNKNOWN_VALUE, "\"log%00x\"" },
    { "image/png", "scale=log%2", API_UNKNOWN_VALUE, "\"log%2\"" },
    { "text/plain", "color=red", API_UNKNOWN_VALUE, "color cannot be \"red\"; it is 256, truecolor or none" },
    { "image/png", "cell=abc", API_UNKNOWN_VALUE, "cell cannot be \"abc\"" },
    { "image/png", "cell=", API_UNKNOWN_VALUE, "cell cannot be \"\"" },
    { "image/png", "cell=-1", API_UNKNOWN_VALUE, "cell cannot be \"-1\"" },
    { "image/png", "cell=+1", API_UNKNOWN_VALUE, "cell cannot be \"+1\"" },
    { "image/png", "cell=1.5", API_UNKNOWN_VALUE, "cell cannot be \"1.5\"" },
    { "image/png", "cell= 1", API_UNKNOWN_VALUE, "cell cannot be \" 1\"" },
    { "image/png", "cell=0", API_OUT_OF_RANGE, "1 to 64" },
    { "image/png", "cell=65", API_OUT_OF_RANGE, "1 to 64" },
    { "image/png", "cell=18446744073709551617", API_OUT_OF_RANGE, "1 to 64" },
    { "image/png", "scale=log&scale=log", API_DUPLICATE_FIELD, "scale is given twice" },
    { "image/png", "cell=4&scale=log&%63ell=5", API_DUPLICATE_FIELD, "cell is given twice" },
    /* not for this form */
    { NULL, "scale=log", API_UNSUPPORTED_COMBINATION, "application/json" },
    { "application/x-npy", "cell=4", API_UNSUPPORTED_COMBINATION, "application/x-npy" },
    { "text/plain", "cell=4", API_UNSUPPORTED_COMBINATION, "image/png or image/svg+xml" },
    { "image/png", "color=none", API_UNSUPPORTED_COMBINATION, "set Accept to text/plain" },
    { "image/png", "color=256", API_UNSUPPORTED_COMBINATION, "set Accept to text/plain" },
    /* the order: names and values, Accept, what goes with what */
    { "a/b", "x=1", API_UNKNOWN_PARAMETER, "\"x\"" },
    { "a/b", "color=none", API_NOT_ACCEPTABLE, "\"a/b\"" },
};

START_TEST(bad_parameters_are_refused_with_what_may_be)
{
    const struct bad_query_case *c = &bad_queries[_i];
    api_form form;
    api_problem problem = { 0 };
    ck_assert_msg(!api_form_choose(c->accept, c->query, &form, &problem), "%s", c->query);
    ck_assert_msg(problem.code == c->code && strstr(problem.detail, c->said), "%s: %s: %s", c->query, api_code_name(problem.code), problem.detail);
    ck_assert_str_eq(problem.pointer, "");
}
END_TEST

START_TEST(a_value_longer_than_any_buffer_is_no_value)
{
    char query[5000];
    for (size_t n = API_PARAMETER_BYTES - 10; n < 4 * API_PARAMETER_BYTES; n += 1009) {
        api_form form;
        api_problem problem = { 0 };
        snprintf(query, sizeof query, "cell=%0*d", (int)n, 5);
        ck_assert(!api_form_choose("image/png", query, &form, &problem));
        ck_assert_int_eq(problem.code, API_UNKNOWN_VALUE);
        snprintf(query, sizeof query, "%0*d=5", (int)n, 5);
        problem = (api_problem){ 0 };
        ck_assert(!api_form_choose("image/png", query, &form, &problem));
        ck_assert_int_eq(problem.code, API_UNKNOWN_PARAMETER);
        ck_assert_uint_lt(strlen(problem.detail), 400);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("form");
    TCase *t = tcase_create("form");
    tcase_add_loop_test(t, accept_chooses_the_form, 0, sizeof accepts / sizeof accepts[0]);
    tcase_add_test(t, safetensors_go_by_the_name_they_were_asked_for);
    tcase_add_test(t, an_accept_of_any_length_is_read_whole);
    tcase_add_loop_test(t, parameters_are_read, 0, sizeof queries / sizeof queries[0]);
    tcase_add_loop_test(t, bad_parameters_are_refused_with_what_may_be, 0, sizeof bad_queries / sizeof bad_queries[0]);
    tcase_add_test(t, a_value_longer_than_any_buffer_is_no_value);
    suite_add_tcase(suite, t);
    return unit_main(suite);
}
