/* error.c - the first failure, in words.
 * SPDX-License-Identifier: Apache-2.0 */
#include "attn_base.h"

#include <stdio.h>

/* Copies what fits; of a name too long the end is kept, the useful half of a path. */
static void copy_where(char *dst, size_t size, const char *where)
{
    size_t n = 0;
    while (where[n])
        n++;
    if (n < size)
        snprintf(dst, size, "%s", where);
    else
        snprintf(dst, size, "...%s", where + n - (size - 4));
}

attn_status attn_fail(attn_error *err, attn_status code, const char *where, const char *fmt, ...)
{
    if (!err || err->code != ATTN_OK)
        return code;
    err->code = code;
    copy_where(err->where, sizeof err->where, where ? where : "");
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return code;
}

attn_status attn_fail_memory(attn_error *err)
{
    return attn_fail(err, ATTN_E_NOMEM, "", "out of memory");
}
