/* draw_text.c - maps for a terminal of 80 columns: a cell is two spaces on a coloured ground, or one where that does not fit; without colour it is one of
 * ten characters, light to dense.
 *
 * Keys are written above their columns, from top to bottom, one character a line, so that every column says what it is whatever the script. A map that does not
 * fit shows its beginning and says how much is missing. Width is counted as terminals do: two columns for wide characters, none for marks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/drawer.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum {
    WIDTH = 80,
    QUERY_COLUMNS = 16,
    KEY_ROWS = 10, /* characters of a key's label, the last an ellipsis when it is longer */
    MAX_KEYS = WIDTH,
    MAX_QUERIES = 128,
    BAR_CELLS = 24,
    RAMP = 10,
    CELL_BYTES = 32, /* more than an escape sequence, a cell and a reset */
    LINE_BYTES = QUERY_COLUMNS * 4 + 64 + ATTN_LABEL_BYTES
};

static const char ramp[RAMP] = " .:-=+*#%@";
static const char masked_mark = '/';

typedef struct key {
    attn_label label;
    uint8_t start[KEY_ROWS + 1]; /* where its characters begin; and the end of the last */
    size_t rows;
} key;

typedef struct page {
    attn_drawer *d;
    const attn_section *section;
    attn_range range;
    size_t keys, queries; /* shown */
    size_t label_columns; /* of queries */
    size_t cell;          /* columns of a cell */
    size_t key_rows;
    key *heads; /* [MAX_KEYS] */
    uint16_t *colors;
} page;

/* ---- colours ------------------------------------------------------------------------------------------------------------- */

static void put_ground(page *p, uint16_t color)
{
    const uint8_t *rgb = attn_palette[color];
    if (p->d->drawing->color == ATTN_DRAW_256)
        attn_draw_format(p->d, "\x1b[48;5;%dm", attn_color_xterm(color));
    else
        attn_draw_format(p->d, "\x1b[48;2;%d;%d;%dm", rgb[0], rgb[1], rgb[2]);
}

static char mark_of(uint16_t color)
{
    return color == ATTN_MASKED ? masked_mark : ramp[color * RAMP / 256];
}

/* n cells of `columns` columns each, colours reset behind them. */
static void put_cells(page *p, const uint16_t *colors, size_t n, size_t columns)
{
    static const char spaces[] = "  ";
    bool plain = p->d->drawing->color == ATTN_DRAW_PLAIN;
    for (size_t i = 0; i < n; i++) {
        char mark = mark_of(colors[i]), marks[2] = { mark, mark };
        if (!plain && (i == 0 || colors[i] != colors[i - 1]))
            put_ground(p, colors[i]);
        attn_draw_put(p->d, plain ? marks : spaces, columns);
    }
    if (!plain)
        attn_draw_string(p->d, "\x1b[0m");
}

static void put_bar(page *p)
{
    attn_drawer *d = p->d;
    char low[ATTN_LEGEND_BYTES], high[ATTN_LEGEND_BYTES];
    uint16_t colors[BAR_CELLS], masked = ATTN_MASKED;
    bool plain = d->drawing->color == ATTN_DRAW_PLAIN;
    size_t n = plain ? RAMP : BAR_CELLS;
    const char *note = attn_range_note(&p->range);
    attn_range_ends(&p->range, low, high);
    for (size_t i = 0; i < n; i++)
        colors[i] = (uint16_t)(plain ? (i * 256 + 128) / RAMP : i * 255 / (BAR_CELLS - 1));
    attn_draw_format(d, plain ? "%s [" : "%s ", low);
    put_cells(p, colors, n, 1);
    attn_draw_format(d, plain ? "] %s" : " %s", high);
    if (p->range.has_masked) {
        attn_draw_string(d, "  ");
        put_cells(p, &masked, 1, 2);
        attn_draw_string(d, " masked");
    }
    attn_draw_format(d, note[0] ? "\n%s; %s\n" : "\n%s%s\n", note, attn_draw_axes);
}

/* ---- lines of text -------------------------------------------------------------------------------------------------------- */

/* The end of the longest piece of [s, end) that fits the width, broken at a space if there is one. */
static const char *break_line(const char *s, const char *end)
{
    const char *at = s, *space = NULL;
    size_t columns = 0;
    while (at < end) {
        const char *here = at;
        columns += attn_label_columns(attn_label_next(&at, end));
        if (columns > WIDTH)
            return space ? space : here;
        if (*here == ' ')
            space = here;
    }
    return end;
}

static void put_paragraph(attn_drawer *d, const char *text)
{
    attn_label label;
    attn_label_make(&label, (attn_text){ text, strlen(text) }, ATTN_LABEL_BYTES);
    const char *s = label.text, *end = s + label.length;
    while (s < end) {
        const char *stop = break_line(s, end);
        attn_draw_put(d, s, (size_t)(stop - s));
        attn_draw_string(d, "\n");
        s = stop < end && *stop == ' ' ? stop + 1 : stop;
    }
}

static void put_spaces(attn_drawer *d, size_t n)
{
    static const char spaces[] = "                                                                                ";
    attn_draw_put(d, spaces, attn_least(n, sizeof spaces - 1));
}

static bool goes_left(int32_t c)
{
    int class = utf8proc_get_property(c)->bidi_class;
    return class == UTF8PROC_BIDI_CLASS_R || class == UTF8PROC_BIDI_CLASS_AL || class == UTF8PROC_BIDI_CLASS_AN;
}

/* Part of a label. Where text from right to left stands alone in a column, a terminal that orders whole lines would let it change places with its neighbours;
 * between two left-to-right marks, which have no width, it stays. */
static void put_part(attn_drawer *d, const char *s, const char *end)
{
    bool marked = false;
    for (const char *at = s; at < end && !marked;)
        marked = goes_left(attn_label_next(&at, end));
    attn_draw_string(d, marked ? "\u200e" : "");
    attn_draw_put(d, s, (size_t)(end - s));
    attn_draw_string(d, marked ? "\u200e" : "");
}

/* ---- keys -------------------------------------------------------------------------------------------------------------- */

/* Cuts a label into what a reader takes for characters: the last place gets an ellipsis when there are more. */
static void split_key(key *k)
{
    const char *s = k->label.text, *end = s + k->label.length;
    utf8proc_int32_t state = 0, last = 0;
    k->rows = 0;
    while (s < end) {
        const char *here = s;
        int32_t c = attn_label_next(&s, end);
        if (here > k->label.text && !utf8proc_grapheme_break_stateful(last, c, &state)) {
            last = c;
            continue;
        }
        last = c;
        if (k->rows == KEY_ROWS) {
            static const char ellipsis[] = "\u22ee";
            memcpy(k->label.text + k->start[KEY_ROWS - 1], ellipsis, sizeof ellipsis);
            k->label.length = k->start[KEY_ROWS - 1] + sizeof ellipsis - 1;
            break;
        }
        k->start[k->rows++] = (uint8_t)(here - k->label.text);
    }
    k->start[k->rows] = (uint8_t)k->label.length;
}

/* The columns that a piece of a label takes. */
static size_t columns_of(const char *s, const char *end)
{
    size_t columns = 0;
    while (s < end)
        columns += attn_label_columns(attn_label_next(&s, end));
    return columns;
}

/* What fits of one character: all of it, its first part (of several emoji joined), or a question mark. */
static size_t put_character(page *p, const char *s, const char *end)
{
    const char *first = s;
    if (columns_of(s, end) > p->cell) {
        attn_label_next(&first, end);
        end = first;
    }
    size_t columns = columns_of(s, end);
    if (columns <= p->cell)
        put_part(p->d, s, end);
    else
        attn_draw_string(p->d, "?");
    return columns <= p->cell ? columns : 1;
}

static void put_key_row(page *p, const key *k, size_t row)
{
    size_t above = p->key_rows - k->rows, columns = 0;
    if (row >= above)
        columns = put_character(p, k->label.text + k->start[row - above], k->label.text + k->start[row - above + 1]);
    put_spaces(p->d, p->cell - columns);
}

/* Words that stand side by side without a space between them take turns in brightness. */
static void put_keys(page *p)
{
    bool dims = p->cell == 1 && p->d->drawing->color != ATTN_DRAW_PLAIN;
    for (size_t row = 0; row < p->key_rows && attn_draw_may_go_on(p->d); row++) {
        put_spaces(p->d, p->label_columns + 1);
        for (size_t k = 0; k < p->keys; k++) {
            if (dims)
                attn_draw_string(p->d, k % 2 ? "\x1b[2m" : "\x1b[0m");
            put_key_row(p, &p->heads[k], row);
        }
        attn_draw_string(p->d, dims ? "\x1b[0m\n" : "\n");
    }
}

/* ---- panels ------------------------------------------------------------------------------------------------------------- */

static void put_query(page *p, size_t q, const float *row)
{
    attn_label label;
    attn_label_of(&label, p->section, ATTN_DRAW_QUERY, q, QUERY_COLUMNS);
    attn_color_row(&p->range, row, p->section->keys, p->colors);
    put_spaces(p->d, p->label_columns - label.columns);
    put_part(p->d, label.text, label.text + label.length);
    attn_draw_string(p->d, " ");
    put_cells(p, p->colors, p->keys, p->cell);
    attn_draw_string(p->d, "\n");
}

/* "… 37 more keys, 12 more queries" */
static void put_rest(page *p)
{
    size_t keys = p->section->keys - p->keys, queries = p->section->queries - p->queries;
    if (keys)
        attn_draw_format(p->d, "\u2026 %zu more key%s", keys, keys > 1 ? "s" : "");
    if (queries)
        attn_draw_format(p->d, "%s %zu more quer%s", keys ? "," : "\u2026", queries, queries > 1 ? "ies" : "y");
    if (keys || queries)
        attn_draw_string(p->d, "\n");
}

static void put_panel(page *p, size_t layer, size_t head, const float *values)
{
    const attn_section *s = p->section;
    char name[ATTN_NAME_BYTES];
    attn_layout_name(s, layer, head, false, name);
    attn_draw_string(p->d, "\n");
    if (name[0])
        attn_draw_format(p->d, "%s\n", name);
    put_keys(p);
    for (size_t q = 0; q < p->queries && attn_draw_may_go_on(p->d); q++)
        put_query(p, q, values + q * s->keys);
    put_rest(p);
}

/* ---- sections ------------------------------------------------------------------------------------------------------------ */

static size_t widest_query(const attn_section *s, size_t queries)
{
    size_t most = 0;
    for (size_t q = 0; q < queries; q++) {
        attn_label label;
        attn_label_of(&label, s, ATTN_DRAW_QUERY, q, QUERY_COLUMNS);
        most = attn_most(most, label.columns);
    }
    return most;
}

/* Two columns a cell where all keys fit so, or where a label has wide characters; else one. */
static void choose_cell(page *p)
{
    size_t room = WIDTH - p->label_columns - 1;
    bool wide = false;
    for (size_t k = 0; k < p->keys; k++)
        for (size_t i = 0; i < p->heads[k].rows; i++)
            wide = wide || columns_of(p->heads[k].label.text + p->heads[k].start[i], p->heads[k].label.text + p->heads[k].start[i + 1]) > 1;
    p->cell = wide || 2 * p->section->keys <= room ? 2 : 1;
    p->keys = attn_least(p->keys, room / p->cell);
}

static void plan_page(page *p)
{
    const attn_section *s = p->section;
    p->queries = attn_least(s->queries, MAX_QUERIES);
    p->label_columns = widest_query(s, p->queries);
    p->keys = attn_least(s->keys, WIDTH - p->label_columns - 1);
    for (size_t k = 0; k < p->keys; k++) {
        attn_label_of(&p->heads[k].label, s, ATTN_DRAW_KEY, k, 2 * KEY_ROWS + 2);
        split_key(&p->heads[k]);
    }
    choose_cell(p);
    p->key_rows = 0;
    for (size_t k = 0; k < p->keys; k++)
        p->key_rows = attn_most(p->key_rows, p->heads[k].rows);
}

static attn_status draw_section(attn_drawer *d, const attn_section *s, const float *values, attn_error *err)
{
    page *p = d->state;
    size_t panel = s->queries * s->keys;
    (void)err;
    p->section = s;
    p->range = attn_range_find(d->drawing->scale, values, s->layers * s->heads * panel);
    p->colors = attn_calloc(s->keys, sizeof *p->colors);
    if (!p->colors)
        return d->status = ATTN_E_NOMEM;
    plan_page(p);
    if (d->section > 0 || d->drawing->heading)
        attn_draw_string(d, d->section > 0 ? "\n\n" : "\n");
    put_paragraph(d, s->title);
    put_bar(p);
    for (size_t l = 0; l < s->layers; l++)
        for (size_t h = 0; h < s->heads && d->status == ATTN_OK; h++)
            put_panel(p, l, h, values + (l * s->heads + h) * panel);
    attn_free(p->colors);
    p->colors = NULL;
    return d->status;
}

static attn_status open_text(attn_drawer *d, attn_error *err)
{
    page *p = d->state = attn_calloc(1, sizeof *p);
    (void)err;
    if (!p)
        return ATTN_E_NOMEM;
    p->d = d;
    p->heads = attn_calloc(MAX_KEYS, sizeof *p->heads);
    if (!p->heads)
        return ATTN_E_NOMEM;
    if (d->drawing->heading)
        put_paragraph(d, d->drawing->heading);
    return d->status;
}

static attn_status end_text(attn_drawer *d, attn_error *err)
{
    (void)err;
    return d->status;
}

static void close_text(attn_drawer *d)
{
    page *p = d->state;
    if (p)
        attn_free(p->heads);
    attn_free(p);
}

static attn_draw_size measure_text(const attn_drawing *drawing)
{
    enum { PARAGRAPHS = 4096 }; /* title, bar, what is missing */
    attn_draw_size size = { .bytes = PARAGRAPHS };
    uint64_t keys = 0;
    for (size_t i = 0; i < drawing->num_sections; i++) {
        const attn_section *s = drawing->section(drawing->section_ctx, i);
        uint64_t row = LINE_BYTES + CELL_BYTES * attn_least(s->keys, WIDTH),
                 heads = KEY_ROWS * (LINE_BYTES + 10 * WIDTH) + attn_least(s->keys, WIDTH) * ATTN_LABEL_BYTES;
        uint64_t panel = attn_plus(attn_times(row, attn_least(s->queries, MAX_QUERIES)), heads + 512);
        size.bytes = attn_plus(size.bytes, attn_plus(attn_times(attn_times(s->layers, s->heads), panel), PARAGRAPHS));
        keys = s->keys > keys ? s->keys : keys;
    }
    size.memory = attn_plus(attn_times(keys, sizeof(uint16_t)), MAX_KEYS * sizeof(key) + sizeof(page) + 4096);
    return size;
}

const attn_draw_ops attn_draw_text = { .measure = measure_text, .open = open_text, .section = draw_section, .end = end_text, .close = close_text };
