/* form.c - from Accept and the query to the form of an answer: two tables, media types and parameters. To add a form is to add a row.
 * SPDX-License-Identifier: Apache-2.0 */
#include "form.h"

#include <stdio.h>
#include <string.h>

#include "media.h"
#include "request.h"

/* In the order of preference where a client has none. */
static const struct media_row {
    const char *type;
    api_form_kind kind;
    const char *content_type;
} media[] = {
    { "application/json", API_FORM_JSON, "application/json" },
    { "application/x-ndjson", API_FORM_NDJSON, "application/x-ndjson" },
    { "application/vnd.safetensors", API_FORM_SAFETENSORS, "application/vnd.safetensors" },
    { "application/octet-stream", API_FORM_SAFETENSORS, "application/octet-stream" },
    { "application/x-npy", API_FORM_NPY, "application/x-npy" },
    { "image/png", API_FORM_PNG, "image/png" },
    { "image/svg+xml", API_FORM_SVG, "image/svg+xml" },
    { "text/plain", API_FORM_TEXT, "text/plain; charset=utf-8" },
};
enum { NUM_MEDIA = sizeof media / sizeof media[0] };

/* ---- Accept ------------------------------------------------------------------------------------------------------------------- */

static bool fail_accept(const char *accept, api_problem *problem)
{
    char known[300];
    size_t used = 0;
    for (size_t i = 0; i < NUM_MEDIA; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", media[i].type);
    return api_fail(problem, API_NOT_ACCEPTABLE, NULL, "\"%.100s\" welcomes no form that the answer has; there are %s", accept, known);
}

static bool choose_media(const char *accept, api_form *out, api_problem *problem)
{
    const struct media_row *best = NULL;
    api_welcome most = { 0, 0 };
    for (size_t i = 0; i < NUM_MEDIA; i++) {
        api_welcome w = api_accept_weigh(accept, media[i].type);
        if (w.quality > most.quality || (w.quality == most.quality && w.quality > 0 && w.closeness > most.closeness)) {
            best = &media[i];
            most = w;
        }
    }
    if (!best)
        return fail_accept(accept, problem);
    out->kind = best->kind;
    out->content_type = best->content_type;
    return true;
}

/* ---- parameters ---------------------------------------------------------------------------------------------------------------- */

static bool take_choice(const char *name, const char *value, const char *const *known, size_t *place, api_problem *problem)
{
    for (*place = 0; known[*place]; ++*place)
        if (strcmp(known[*place], value) == 0)
            return true;
    return api_fail(problem, API_UNKNOWN_VALUE, NULL, "%s cannot be \"%.60s\"; it is %s, %s or %s", name, value, known[0], known[1], known[2]);
}

static bool take_scale(const char *value, api_form *out, api_problem *problem)
{
    static const char *const names[] = { "linear", "log", "row", NULL };
    size_t place;
    if (!take_choice("scale", value, names, &place, problem))
        return false;
    out->scale = (attn_scale)place;
    return true;
}

static bool take_color(const char *value, api_form *out, api_problem *problem)
{
    static const char *const names[] = { "256", "truecolor", "none", NULL };
    size_t place;
    if (!take_choice("color", value, names, &place, problem))
        return false;
    out->color = (api_color)place;
    return true;
}

static bool take_cell(const char *value, api_form *out, api_problem *problem)
{
    const size_t most = 64;
    size_t n = strlen(value), cell = 0;
    if (n == 0 || n > 20 || strspn(value, "0123456789") != n)
        return api_fail(problem, API_UNKNOWN_VALUE, NULL, "cell cannot be \"%.60s\"; it is a whole number of pixels, 1 to %zu", value, most);
    for (size_t i = 0; i < n && cell <= most; i++)
        cell = cell * 10 + (size_t)(value[i] - '0');
    if (cell < 1 || cell > most)
        return api_fail(problem, API_OUT_OF_RANGE, NULL, "cell cannot be %.60s; it is a whole number of pixels, 1 to %zu", value, most);
    out->cell = cell;
    return true;
}

enum { SCALE, CELL, COLOR, NUM_PARAMETERS };
static const char *const parameter_names[NUM_PARAMETERS + 1] = { [SCALE] = "scale", [CELL] = "cell", [COLOR] = "color" };

static const struct parameter_row {
    bool (*take)(const char *value, api_form *, api_problem *);
    unsigned kinds; /* bits of api_form_kind: it says something about these */
    const char *types;
} parameters[NUM_PARAMETERS] = {
    [SCALE] = { take_scale, 1 << API_FORM_PNG | 1 << API_FORM_SVG | 1 << API_FORM_TEXT, "image/png, image/svg+xml or text/plain" },
    [CELL] = { take_cell, 1 << API_FORM_PNG | 1 << API_FORM_SVG, "image/png or image/svg+xml" },
    [COLOR] = { take_color, 1 << API_FORM_TEXT, "text/plain" },
};

static bool find_parameter(const char *name, size_t *place, api_problem *problem)
{
    for (*place = 0; parameter_names[*place]; ++*place)
        if (strcmp(parameter_names[*place], name) == 0)
            return true;
    const char *near = api_suggest(name, strlen(name), parameter_names);
    return api_fail(problem, API_UNKNOWN_PARAMETER, NULL, "there is no query parameter \"%.100s\"%s%s%s; there are scale, cell and color", name,
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static bool read_parameters(const char *query, api_form *out, unsigned *given, api_problem *problem)
{
    char name[API_PARAMETER_BYTES], value[API_PARAMETER_BYTES];
    while (api_next_parameter(&query, name, sizeof name, value, sizeof value)) {
        size_t place;
        if (!find_parameter(name, &place, problem))
            return false;
        if (*given >> place & 1)
            return api_fail(problem, API_DUPLICATE_FIELD, NULL, "the query parameter %s is given twice", name);
        *given |= 1u << place;
        if (!parameters[place].take(value, out, problem))
            return false;
    }
    return true;
}

bool api_form_choose(const char *accept, const char *query, api_form *out, api_problem *problem)
{
    api_form form = { 0 };
    unsigned given = 0;
    if (!read_parameters(query, &form, &given, problem) || !choose_media(accept, &form, problem))
        return false;
    for (size_t i = 0; i < NUM_PARAMETERS; i++)
        if (given >> i & 1 && !(parameters[i].kinds >> form.kind & 1))
            return api_fail(problem, API_UNSUPPORTED_COMBINATION, NULL, "the query parameter %s does nothing to %s; leave it out, or set Accept to %s",
                            parameter_names[i], form.content_type, parameters[i].types);
    *out = form;
    return true;
}
