/* encode_tensors.c - the answer of POST /v1/attention as a safetensors file, or one tensor of it as .npy.
 *
 * Both are a header that the plan alone decides, then numbers as they lie in memory: so the length is known before anything is computed, and rows go from
 * the run's own memory into blocks of the reply with one copy.
 *
 * safetensors: the header's length in 8 bytes (little-endian), the header (JSON, padded with spaces so that data begins at a multiple of 8), data. Its
 * `__metadata__` holds strings alone, so what else the answer says stands there as the text of a JSON document. Readers ask that tensors follow one another
 * without a hole, which leaves one of four bytes behind halves unaligned at times: they copy.
 * npy (version 1.0): magic, version, the header's length in 2 bytes, a Python literal padded so that data begins at a multiple of 64, data.
 * SPDX-License-Identifier: Apache-2.0 */
#include "encode_tensors.h"

#include "encode_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { STAGE_NUMBERS = 1024 };

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

static uint64_t part_bytes(const api_plan *plan, const api_part *part)
{
    return attn_times(api_part_numbers(part), api_part_width(plan, part));
}

static void write_numbers(api_encode *e, api_dtype dtype, const float *x, size_t n, size_t width)
{
    unsigned char stage[STAGE_NUMBERS * sizeof(float)];
    if (dtype == API_FLOAT32) {
        api_out_bytes(e->out, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i += STAGE_NUMBERS) {
        size_t part = n - i < STAGE_NUMBERS ? n - i : STAGE_NUMBERS;
        api_pack_numbers(e->runtime, dtype, stage, x + i, part);
        api_out_bytes(e->out, stage, part * width);
    }
}

static void write_rows(api_encode *e, const api_part *part, const api_rows *rows)
{
    api_dtype dtype = e->plan->request->want.dtype;
    size_t width = api_part_width(e->plan, part), matrix = part->rows * part->columns;
    if (rows->ints) {
        api_out_bytes(e->out, rows->ints, rows->matrices * matrix * sizeof *rows->ints);
        return;
    }
    for (size_t m = 0; m < rows->matrices; m++) {
        if (rows->row_stride == (ptrdiff_t)part->columns) {
            write_numbers(e, dtype, rows->matrix[m], matrix, width);
            continue;
        }
        for (size_t r = 0; r < part->rows; r++)
            write_numbers(e, dtype, rows->matrix[m] + (ptrdiff_t)r * rows->row_stride, part->columns, width);
    }
}

static void no_frame(api_encode *e)
{
    (void)e;
}

static void no_part_frame(api_encode *e, const api_part *part)
{
    (void)e;
    (void)part;
}

/* ---- safetensors --------------------------------------------------------------------------------------------------------- */

/* "attentions", "attentions.indices", "cross_analyses.entropy". */
static void write_name(api_out *out, const api_part *part)
{
    api_out_string(out, part->prefix);
    if (part->group)
        api_out_format(out, "%s.", part->group);
    api_out_string(out, part->name);
}

static const char *safetensors_dtype(const api_plan *plan, const api_part *part)
{
    static const char *const names[] = { [API_FLOAT32] = "F32", [API_FLOAT16] = "F16", [API_UINT8] = "U8" };
    return part->role == API_INDICES ? "I32" : names[plan->request->want.dtype];
}

static void write_axes(api_out *out, const api_plan *plan, size_t b)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(plan, b, parts);
    api_out_string(out, ",\"axes\":{");
    for (size_t p = 0; p < n; p++) {
        api_out_string(out, p > 0 ? ",\"" : "\"");
        write_name(out, &parts[p]);
        api_out_string(out, "\":");
        api_json_axes(out, &parts[p]);
    }
    api_out_char(out, '}');
}

/* What a JSON answer says beside its tensors, and each tensor's axes. */
static void write_document(api_out *out, const api_plan *plan)
{
    api_out_string(out, "{\"model\":");
    api_json_model(out, plan->model);
    api_out_string(out, ",\"results\":[");
    for (size_t b = 0; b < plan->num_inputs; b++) {
        api_out_string(out, b > 0 ? ",{" : "{");
        api_json_echo(out, plan, b);
        write_axes(out, plan, b);
        api_out_char(out, '}');
    }
    api_out_string(out, "]}");
}

/* The entries of result b; returns where its data ends. */
static uint64_t write_entries(api_out *out, const api_plan *plan, size_t b, uint64_t at)
{
    api_part parts[API_MAX_PARTS];
    size_t n = api_plan_parts(plan, b, parts);
    for (size_t p = 0; p < n; p++) {
        uint64_t end = attn_plus(at, part_bytes(plan, &parts[p]));
        api_out_format(out, ",\"results.%zu.", b);
        write_name(out, &parts[p]);
        api_out_format(out, "\":{\"dtype\":\"%s\",\"shape\":", safetensors_dtype(plan, &parts[p]));
        api_json_shape(out, &parts[p]);
        api_out_format(out, ",\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, end);
        at = end;
    }
    return at;
}

/* Returns the bytes of data that the header promises. */
static uint64_t write_header(api_out *out, const api_plan *plan)
{
    uint64_t at = 0;
    api_out_string(out, "{\"__metadata__\":{\"attnd\":\"");
    out->quoted = true;
    write_document(out, plan);
    out->quoted = false;
    api_out_string(out, "\"}");
    for (size_t b = 0; b < plan->num_inputs; b++)
        at = write_entries(out, plan, b, at);
    api_out_char(out, '}');
    return at;
}

/* The header's bytes without padding; *data what follows it. */
static uint64_t header_bytes(const api_plan *plan, uint64_t *data)
{
    api_out counter;
    api_out_init(&counter, NULL, (api_head){ 0 });
    *data = write_header(&counter, plan);
    return counter.written;
}

static uint64_t padding(uint64_t header)
{
    return (8 - header % 8) % 8;
}

static uint64_t safetensors_length(const api_plan *plan)
{
    uint64_t data, header = header_bytes(plan, &data);
    return attn_plus(attn_plus(8 + padding(header), header), data);
}

static void begin_safetensors(api_encode *e)
{
    uint64_t data, header = header_bytes(e->plan, &data), length = header + padding(header);
    api_out_bytes(e->out, &length, sizeof length); /* little-endian, as json_rows.c asserts */
    write_header(e->out, e->plan);
    for (; header < length; header++)
        api_out_char(e->out, ' ');
}

const api_encoder api_safetensors_encoder = {
    .order = API_ORDER_PARTS,
    .length = safetensors_length,
    .begin = begin_safetensors,
    .begin_result = no_frame,
    .begin_part = no_part_frame,
    .rows = write_rows,
    .end_part = no_part_frame,
    .end_result = no_frame,
    .end = no_frame,
    .part_bytes = part_bytes,
};

/* ---- npy ----------------------------------------------------------------------------------------------------------------- */

enum { NPY_PREFIX = 10, NPY_STEP = 64, NPY_MOST = 4 * NPY_STEP };

/* The file up to its data, of a plan that has a single part. Four lengths of 20 digits leave it far below what version 1.0 can say. Returns its bytes. */
static size_t npy_header(const api_plan *plan, char dst[NPY_MOST])
{
    static const char *const types[] = { [API_FLOAT32] = "<f4", [API_FLOAT16] = "<f2", [API_UINT8] = "|u1" };
    api_part parts[API_MAX_PARTS];
    api_plan_parts(plan, 0, parts);
    int n = snprintf(dst, NPY_MOST, "\x93NUMPY%c%c%c%c{'descr': '%s', 'fortran_order': False, 'shape': (", 1, '?', '?', '?', types[plan->request->want.dtype]);
    for (size_t a = 0; a < parts->ndim; a++)
        n += snprintf(dst + n, NPY_MOST - (size_t)n, "%zu%s", parts->dims[a], a + 1 < parts->ndim ? ", " : parts->ndim == 1 ? "," : "");
    n += snprintf(dst + n, NPY_MOST - (size_t)n, "), }");
    size_t total = attn_round_up((size_t)n + 1, NPY_STEP), length = total - NPY_PREFIX;
    memset(dst + n, ' ', total - (size_t)n);
    dst[total - 1] = '\n';
    dst[7] = 0;
    dst[8] = (char)(length & 255);
    dst[9] = (char)(length >> 8);
    return total;
}

static uint64_t npy_length(const api_plan *plan)
{
    char header[NPY_MOST];
    api_part parts[API_MAX_PARTS];
    api_plan_parts(plan, 0, parts);
    return attn_plus(npy_header(plan, header), part_bytes(plan, parts));
}

static void begin_npy(api_encode *e)
{
    char header[NPY_MOST];
    api_out_bytes(e->out, header, npy_header(e->plan, header));
}

const api_encoder api_npy_encoder = {
    .order = API_ORDER_PARTS,
    .length = npy_length,
    .begin = begin_npy,
    .begin_result = no_frame,
    .begin_part = no_part_frame,
    .rows = write_rows,
    .end_part = no_part_frame,
    .end_result = no_frame,
    .end = no_frame,
    .part_bytes = part_bytes,
};
