/* fuzz_media.c - three lines of any bytes as Accept, Content-Type and query string: each is refused with a problem that is valid JSON, or chooses a form
 * that no other one is more welcome than.
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "media.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {
    "application/json", "application/x-ndjson", "application/vnd.safetensors", "application/octet-stream", "application/x-npy", "image/png",
    "image/svg+xml",    "text/plain",
};
enum { NUM_TYPES = sizeof types / sizeof types[0] };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The next line, in memory of its own size, so that a sanitizer sees a byte too far. */
static char *take_line(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    size_t n = end ? (size_t)(end - *data) : *size;
    char *line = malloc(n + 1);
    require(line != NULL);
    if (n)
        memcpy(line, *data, n);
    line[n] = '\0';
    *data += n + (end ? 1 : 0);
    *size -= n + (end ? 1 : 0);
    return line;
}

static void check_problem(const api_problem *problem)
{
    char body[2048];
    api_problem_write(problem, "id", body, sizeof body);
    json_t *root = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    int status = api_code_status(problem->code);
    require(root && problem->detail[0] && (status == 400 || status == 406 || status == 415 || status == 422));
    json_decref(root);
}

/* Names of media types are read without regard to case, and so are those of parameters. */
static void check_case(const char *accept, const char *content_type)
{
    char *upper = strdup(accept), *upper_type = strdup(content_type);
    require(upper && upper_type);
    for (char *p = upper; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    for (char *p = upper_type; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    for (size_t i = 0; i < NUM_TYPES; i++) {
        api_welcome a = api_accept_weigh(accept, types[i]), b = api_accept_weigh(upper, types[i]);
        require(a.quality == b.quality && a.closeness == b.closeness);
        require(a.quality >= 0 && a.quality <= 1000 && a.closeness >= 0 && a.closeness <= 3);
    }
    require(api_content_type_is_json(content_type) == api_content_type_is_json(upper_type));
    free(upper);
    free(upper_type);
}

static void check_form(const char *accept, const api_form *form)
{
    require(form->kind < API_FORM_COUNT && form->scale <= ATTN_SCALE_ROW && form->cell <= 64 && form->color <= API_COLOR_NONE);
    require(form->scale == ATTN_SCALE_LINEAR || api_form_is_drawn(form->kind));
    require(form->cell == 0 || form->kind == API_FORM_PNG || form->kind == API_FORM_SVG);
    require(form->color == API_COLOR_256 || form->kind == API_FORM_TEXT);
    size_t found = 0;
    int quality = 0;
    for (size_t i = 0; i < NUM_TYPES; i++)
        if (strncmp(form->content_type, types[i], strlen(types[i])) == 0) {
            quality = api_accept_weigh(accept, types[i]).quality;
            found++;
        }
    require(found == 1 && quality > 0);
    for (size_t i = 0; i < NUM_TYPES; i++)
        require(api_accept_weigh(accept, types[i]).quality <= quality);
}

static void check_parameters(const char *query)
{
    char name[16], value[16];
    size_t most = 1, n = 0;
    for (const char *p = query; *p; p++)
        most += *p == '&';
    while (api_next_parameter(&query, name, sizeof name, value, sizeof value)) {
        require(memchr(name, '\0', sizeof name) && memchr(value, '\0', sizeof value));
        n++;
    }
    require(n <= most);
}

static void check_routes(const api_request *request, bool form_is_good)
{
    static const api_service service = { .limits = { .max_body_bytes = 1000, .max_memory_bytes = 1000 } };
    static const char *const paths[] = { "/v1/attention", "/v1/estimate", "/v1/tokenize" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        api_request one = *request;
        api_problem problem = { 0 };
        const api_route *route = NULL;
        one.path = paths[i];
        bool ok = api_check(&service, &one, &route, &problem);
        require(ok == (route != NULL) && ok == (problem.code == API_OK));
        require(i > 0 || ok == (form_is_good && api_content_type_is_json(one.content_type)));
        if (!ok)
            check_problem(&problem);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *accept = take_line(&data, &size), *content_type = take_line(&data, &size), *query = take_line(&data, &size);
    api_problem problem = { 0 };
    api_form form;
    bool ok = api_form_choose(accept, query, &form, &problem);
    if (ok)
        check_form(accept, &form);
    else
        check_problem(&problem);
    check_case(accept, content_type);
    check_parameters(query);
    check_routes(&(api_request){ .method = "POST", .accept = accept, .content_type = content_type, .query = query }, ok);
    free(accept);
    free(content_type);
    free(query);
    return 0;
}
