/* json_file.c - see the header. jansson says nothing when memory is what it lacks, so an error without a text is that; a string
 * it found no memory for it calls a fault of the text, and then so do we.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/json_file.h"

#include "base/json_weight.h"

#include <jansson.h>

attn_status attn_json_parse(json_t **out, const void *bytes, size_t n, const char *file, const char *what, attn_error *err)
{
    json_error_t why;
    if (attn_json_weight(bytes, n) > ATTN_JSON_MOST)
        return attn_fail(err, ATTN_E_FORMAT, file, "%swould take more than %d MB of memory to read", what, (int)(ATTN_JSON_MOST / 1000000));
    *out = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
    if (*out)
        return ATTN_OK;
    if (why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory)
        return attn_fail_memory(err);
    return attn_fail(err, ATTN_E_FORMAT, file, "%sis not valid JSON at line %d, column %d: %s", what, why.line, why.column, why.text);
}
