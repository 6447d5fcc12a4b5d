/* tensor_json.h - tensors of a JSON answer as numbers, whatever their encoding.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TENSOR_JSON_H
#define TENSOR_JSON_H

#include "api_fixture.h"

#include <math.h>

static inline void flatten(const json_t *json, double **out)
{
    if (!json_is_array(json)) {
        *(*out)++ = json_is_null(json) ? (double)-INFINITY : json_number_value(json);
        return;
    }
    for (size_t i = 0; i < json_array_size(json); i++)
        flatten(json_array_get(json, i), out);
}

/* `shape` is a JSON array; returns how many axes. */
static inline size_t read_shape(const json_t *shape, size_t *dims)
{
    for (size_t i = 0; i < json_array_size(shape); i++)
        dims[i] = (size_t)json_integer_value(json_array_get(shape, i));
    return json_array_size(shape);
}

static inline size_t shape_of(const json_t *tensor, size_t *dims)
{
    return read_shape(json_object_get(tensor, "shape"), dims);
}

static inline size_t count_of(const json_t *tensor)
{
    size_t dims[8], n = shape_of(tensor, dims), count = 1;
    for (size_t i = 0; i < n; i++)
        count *= dims[i];
    return count;
}

/* n numbers of a little-endian array. dtype as answers and safetensors name it. */
static inline void read_numbers(const char *dtype, const unsigned char *bytes, size_t n, double *numbers)
{
    for (size_t i = 0; i < n; i++) {
        float f;
        int32_t k;
        uint16_t h;
        if (strcmp(dtype, "float16") == 0 || strcmp(dtype, "F16") == 0) {
            memcpy(&h, bytes + 2 * i, sizeof h);
            attn_from_half(fixture_runtime, &f, &h, 1);
            numbers[i] = (double)f;
        } else if (strcmp(dtype, "int32") == 0 || strcmp(dtype, "I32") == 0) {
            memcpy(&k, bytes + 4 * i, sizeof k);
            numbers[i] = k;
        } else if (strcmp(dtype, "uint8") == 0 || strcmp(dtype, "U8") == 0) {
            numbers[i] = bytes[i];
        } else {
            memcpy(&f, bytes + 4 * i, sizeof f);
            numbers[i] = (double)f;
        }
    }
}

static inline size_t width_of(const char *dtype)
{
    return strcmp(dtype, "float16") == 0 || strcmp(dtype, "F16") == 0 ? 2 : strcmp(dtype, "uint8") == 0 || strcmp(dtype, "U8") == 0 ? 1 : 4;
}

/* All numbers of a tensor, for free(); -INFINITY for null. */
static inline double *numbers_of(const json_t *tensor)
{
    const json_t *data = json_object_get(tensor, "data");
    size_t n = count_of(tensor), written, bad;
    double *numbers = malloc((n + 1) * sizeof *numbers), *end = numbers;
    if (!json_is_string(data)) {
        flatten(data, &end);
        ck_assert_uint_eq((size_t)(end - numbers), n);
        return numbers;
    }
    const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
    unsigned char *bytes = malloc(json_string_length(data) + 64);
    ck_assert(attn_base64_decode(fixture_runtime, bytes, &written, json_string_value(data), json_string_length(data), &bad));
    ck_assert_uint_eq(written, n * width_of(dtype));
    read_numbers(dtype, bytes, n, numbers);
    free(bytes);
    return numbers;
}

#endif
