/* form.h - the shape of an answer: which of the contract's media types Accept asks for, and the query parameters that go with it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef API_FORM_H
#define API_FORM_H

#include "problem.h"

typedef enum api_form_kind {
    API_FORM_JSON,        /* application/json */
    API_FORM_NDJSON,      /* application/x-ndjson */
    API_FORM_SAFETENSORS, /* application/vnd.safetensors, application/octet-stream */
    API_FORM_NPY,         /* application/x-npy */
    API_FORM_PNG,         /* image/png */
    API_FORM_SVG,         /* image/svg+xml */
    API_FORM_TEXT,        /* text/plain */
    API_FORM_COUNT
} api_form_kind;

typedef enum api_color { API_COLOR_256, API_COLOR_TRUECOLOR, API_COLOR_NONE } api_color;

typedef struct api_form {
    api_form_kind kind;
    const char *content_type; /* of the answer, static: "text/plain; charset=utf-8" */
    attn_scale scale;         /* pictures and text: ?scale=linear|log|row */
    size_t cell;              /* pictures: ?cell=pixels, 1 to 64; 0: chosen by the size of the maps */
    api_color color;          /* text: ?color=256|truecolor|none */
} api_form;

/* The best welcome type wins: the highest q, of equals the one asked for most specifically, then the order above. NULL or empty Accept: JSON.
 * False: nothing fits (406 not_acceptable, naming what there is), or a parameter is unknown, given twice, of an unknown value, of a number out of range, or
 * does not apply to the form chosen (unknown_parameter, duplicate_field, unknown_value, 422 out_of_range, unsupported_combination). `query` may be NULL. */
bool api_form_choose(const char *accept, const char *query, api_form *out, api_problem *);

/* json and ndjson have numbers as text, and `encoding`; pictures and text draw maps and nothing else. */
static inline bool api_form_is_json(api_form_kind kind)
{
    return kind == API_FORM_JSON || kind == API_FORM_NDJSON;
}

static inline bool api_form_is_drawn(api_form_kind kind)
{
    return kind == API_FORM_PNG || kind == API_FORM_SVG || kind == API_FORM_TEXT;
}

#endif
