/* label.c - what may be shown of a label. See label.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/label.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

int32_t attn_label_next(const char **s, const char *end)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*s, end - *s, &c);
    *s += n > 0 ? n : 1;
    return n > 0 ? c : 0xFFFD;
}

size_t attn_label_columns(int32_t c)
{
    int width = utf8proc_charwidth(c);
    return width > 0 ? (size_t)width : 0;
}

bool attn_label_joins(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME || category == UTF8PROC_CATEGORY_MC || c == 0x200C || c == 0x200D ||
           (c >= 0x1F3FB && c <= 0x1F3FF) || (c >= 0xE0020 && c <= 0xE007F);
}

/* Formats (Cf) show nothing, but joiners shape their neighbours and tags spell flags. Unassigned characters may be anything, and XML knows two of them not. */
static bool is_hidden(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    case UTF8PROC_CATEGORY_CF:
        return c != 0x200C && c != 0x200D && !(c >= 0xE0020 && c <= 0xE007F) && !(c >= 0x600 && c <= 0x605);
    case UTF8PROC_CATEGORY_CN:
        return (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF);
    default:
        return false;
    }
}

static size_t write_escape(int32_t c, char dst[12])
{
    static const char short_name[32] = { ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r' };
    if (c < 0x20 && short_name[c])
        return (size_t)snprintf(dst, 12, "\\%c", short_name[c]);
    return (size_t)snprintf(dst, 12, c > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)c);
}

/* One character as it is shown; its bytes, and its columns in *columns. */
static size_t write_shown(int32_t c, bool boxes, char dst[12], size_t *columns)
{
    size_t n;
    if (is_hidden(c)) {
        n = write_escape(c, dst);
        *columns = n;
        return n;
    }
    if (boxes && c == ' ')
        c = 0x2423;
    n = (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)dst);
    *columns = attn_label_columns(c);
    return n;
}

static bool is_blank(attn_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] != ' ')
            return false;
    return true;
}

void attn_label_make(attn_label *label, attn_text text, size_t max_columns)
{
    static const char ellipsis[] = "\u2026";
    const char *s = text.bytes, *end = s + text.length;
    size_t fits = 0, fits_columns = 0; /* so much leaves room for the ellipsis */
    bool boxes = is_blank(text), cut = false;
    label->length = label->columns = 0;
    while (s < end) {
        char shown[12];
        size_t columns, n = write_shown(attn_label_next(&s, end), boxes, shown, &columns);
        cut = label->columns + columns > max_columns || label->length + n + sizeof ellipsis > ATTN_LABEL_BYTES;
        if (cut)
            break;
        memcpy(label->text + label->length, shown, n);
        label->length += n;
        label->columns += columns;
        if (label->columns + 1 <= max_columns) {
            fits = label->length;
            fits_columns = label->columns;
        }
    }
    if (cut) {
        memcpy(label->text + fits, ellipsis, sizeof ellipsis - 1);
        label->length = fits + sizeof ellipsis - 1;
        label->columns = fits_columns + 1;
    }
    label->text[label->length] = '\0';
}

void attn_label_of(attn_label *label, const attn_section *section, attn_draw_axis axis, size_t i, size_t max_columns)
{
    char scratch[ATTN_DRAW_SCRATCH];
    attn_text text = { scratch, 0 };
    if (section->label)
        text = section->label(section->label_ctx, axis, i, scratch);
    else
        text.length = (size_t)snprintf(scratch, sizeof scratch, "%zu", i);
    attn_label_make(label, text, max_columns);
}
