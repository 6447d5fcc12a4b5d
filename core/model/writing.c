/* model/writing.c - see the header. Rows of the head are cut into blocks by the size of the vocabulary alone, each with a best of its own: the choice is the same
 * for any number of threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/writing.h"

#include <math.h>

/* ---- the rules ---------------------------------------------------------------------------------------------------------- */

static void read_id(attn_config *c, const char *key, size_t V, int32_t *id)
{
    if (attn_config_has(c, key))
        *id = (int32_t)attn_config_size(c, key, 0, V - 1);
    attn_config_take(c, key);
}

static void read_rules(attn_writing *w, attn_config *c, size_t V)
{
    attn_config_ids(c, "eos_token_id", &w->ends, &w->num_ends);
    attn_config_ids(c, "bad_words_ids", &w->never, &w->num_never);
    read_id(c, "forced_bos_token_id", V, &w->forced_first);
}

/* What a decoder begins with, by falling rank. */
enum { STARTS = 3 };
static const char *const start_keys[STARTS] = { "decoder_start_token_id", "bos_token_id", "pad_token_id" };

static void read_starts(attn_config *c, size_t V, int32_t *starts)
{
    for (size_t i = 0; i < STARTS; i++)
        read_id(c, start_keys[i], V, &starts[i]);
}

/* A word that ends the text may be chosen whatever bad_words_ids says. */
static void allow_ends(attn_writing *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->num_never; i++) {
        bool ends = false;
        for (size_t e = 0; e < w->num_ends; e++)
            ends |= w->ends[e] == w->never[i];
        if (!ends)
            w->never[kept++] = w->never[i];
    }
    w->num_never = kept;
}

void attn_writing_read(attn_writing *w, attn_config *c, const attn_source *source, size_t V, bool decodes)
{
    static const char name[] = "generation_config.json";
    int32_t starts[STARTS] = { -1, -1, -1 };
    attn_file file = { 0 };
    attn_config own = { 0 };
    if (c->status != ATTN_OK)
        return;
    w->forced_first = w->start = -1;
    read_rules(w, c, V);
    if (decodes)
        read_starts(c, V, starts);
    if (c->status == ATTN_OK && attn_source_has(source, name)) {
        c->status = attn_file_open(&file, source, name, c->err);
        if (c->status == ATTN_OK)
            c->status = attn_config_open(&own, (const char *)file.bytes, file.size, name, c->err);
        if (c->status == ATTN_OK) {
            read_rules(w, &own, V);
            if (decodes)
                read_starts(&own, V, starts);
            c->status = own.status;
        }
        attn_config_close(&own);
        attn_file_close(&file);
    }
    for (size_t i = 0; i < STARTS && w->start < 0; i++)
        w->start = starts[i];
    allow_ends(w);
}

void attn_writing_close(attn_writing *w)
{
    attn_free(w->ends);
    attn_free(w->never);
}

/* ---- the choice --------------------------------------------------------------------------------------------------------- */

enum { BLOCK_FLOATS = 256 * 1024 }; /* of the head in a block: some ten microseconds */

typedef struct best {
    double logit;
    int32_t id; /* -1: none yet */
    bool is_broken;
} best;

typedef struct choice {
    const attn_kernels *kernels;
    const attn_head *head;
    const attn_writing *rules;
    const float *x;
    size_t rows; /* of a block */
    best *blocks;
} choice;

static size_t block_rows(const attn_table *table)
{
    return BLOCK_FLOATS / attn_most(1, table->cols) + 1;
}

static bool is_forbidden(const attn_writing *rules, int32_t id)
{
    for (size_t i = 0; i < rules->num_never; i++)
        if (rules->never[i] == id)
            return true;
    return false;
}

static void look_at_block(void *ctx, size_t block, int slot)
{
    (void)slot;
    choice *c = ctx;
    const attn_table *table = &c->head->table;
    best found = { .id = -1 };
    for (size_t i = block * c->rows; i < attn_least((block + 1) * c->rows, table->rows); i++) {
        double logit = attn_table_dot(c->kernels, table, i, c->x) + (c->head->bias ? (double)c->head->bias[i] : 0);
        found.is_broken |= !isfinite(logit);
        if ((found.id < 0 || logit > found.logit) && !is_forbidden(c->rules, (int32_t)i))
            found = (best){ logit, (int32_t)i, found.is_broken };
    }
    c->blocks[block] = found;
}

/* *y [E] = the projection of x [D], in the arena. */
static attn_status project(attn_runtime *rt, const attn_panels *w, const float *x, const float **y, attn_arena *arena, attn_error *err)
{
    float *narrow = attn_arena_take(arena, w->n, sizeof *narrow);
    *y = narrow;
    return narrow ? attn_linear(rt, narrow, w->n, x, w->k, 1, w, NULL, ATTN_ACT_NONE, arena, err) : attn_fail_memory(err);
}

uint64_t attn_choose_bytes(const attn_runtime *rt, const attn_head *head)
{
    uint64_t projected = head->project ? attn_plus(attn_arena_bytes(head->project->n, sizeof(float)), attn_linear_bytes(rt, 1, head->project->k)) : 0;
    return attn_plus(projected, attn_arena_bytes(attn_ceil_div(head->table.rows, block_rows(&head->table)), sizeof(best)));
}

attn_status attn_choose_word(attn_runtime *rt, const attn_head *head, const attn_writing *rules, const float *x, size_t read, int32_t *id, attn_arena *arena,
                             attn_error *err)
{
    size_t rows = block_rows(&head->table), num = attn_ceil_div(head->table.rows, rows);
    best found = { .id = -1 };
    attn_arena_mark mark = attn_arena_save(arena);
    choice c = { .kernels = attn_runtime_table(rt), .head = head, .rules = rules, .x = x, .rows = rows };
    c.blocks = attn_arena_take(arena, num, sizeof *c.blocks);
    attn_status st = c.blocks ? ATTN_OK : attn_fail_memory(err);
    if (st == ATTN_OK && head->project)
        st = project(rt, head->project, x, &c.x, arena, err);
    if (st == ATTN_OK)
        attn_parallel(rt, num, look_at_block, &c);
    for (size_t b = 0; b < num && st == ATTN_OK; b++) {
        if (c.blocks[b].is_broken)
            st = attn_fail(err, ATTN_E_OVERFLOW, "logits", "a logit is too large for float32");
        else if (c.blocks[b].id >= 0 && (found.id < 0 || c.blocks[b].logit > found.logit))
            found = c.blocks[b];
    }
    attn_arena_rewind(arena, mark);
    if (st == ATTN_OK && rules->forced_first >= 0 && read == 1)
        found.id = rules->forced_first;
    if (st == ATTN_OK && found.id < 0)
        st = attn_fail(err, ATTN_E_INPUT, "bad_words_ids", "every word of the vocabulary is forbidden");
    *id = found.id;
    return st;
}
