/* generation.c - a sequence that a model goes on writing: the prompt is read once, then a token at a time.
 *
 * What a token leaves for those behind it are its keys and values in every layer, as they are used in the product: rows of a cache that is as long as the text
 * may get. Every call is a reading (run.h) of what is not in there yet.
 *
 * Two stretched forms of rotation turn all tokens otherwise once a text grows (rope.h): beyond its original length longrope once, the dynamic form with every
 * token. Then what is in the cache is read anew for the new length before the next token is; so a step gives what one pass over all of the text would.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/run.h"

#include <string.h>

struct attn_generation {
    const attn_model *model;
    attn_model_input input; /* all that was read and is to be read next; lists that grow are ours */
    attn_cache cache;
    size_t read, room;      /* tokens in the cache; tokens there is room for */
    size_t length;          /* of the text that the cache was rotated for */
    int32_t *ids, *next_id; /* of the tokens that are no embeddings; where the next goes */
    float *last;            /* [D] */
};

static size_t *length_of(attn_model_input *in, const attn_model *m)
{
    return attn_model_writer(m) == ATTN_STACK_DECODER ? &in->decoder_T : &in->T;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------- */

/* Rows that the cache of an attention has. */
static size_t cache_rows(const attn_model *m, attn_stack stack, const attn_model_input *prompt, size_t room)
{
    if (stack == attn_model_writer(m))
        return room;
    return stack == ATTN_STACK_CROSS ? prompt->T : 0;
}

static uint64_t cache_floats(const attn_model *m, attn_stack stack, size_t rows)
{
    const attn_stack_shape *shape = &m->shapes[stack];
    return attn_times(attn_times(shape->num_layers, rows), shape->num_key_value_heads * shape->head_dim);
}

static uint64_t held_bytes(const attn_model *m, const attn_model_input *prompt, size_t room)
{
    uint64_t bytes = attn_plus(attn_arena_bytes(1, sizeof(attn_generation)), attn_arena_bytes(m->info.hidden_size, sizeof(float)));
    bytes = attn_plus(bytes, attn_plus(attn_arena_bytes(room, sizeof(int32_t)), attn_arena_bytes(room, 1)));
    for (attn_stack s = 0; s < ATTN_STACKS; s++)
        bytes = attn_plus(bytes, attn_times(2, attn_arena_bytes(cache_floats(m, s, cache_rows(m, s, prompt, room)), sizeof(float))));
    return bytes;
}

static bool take_cache(attn_generation *g, attn_arena *arena)
{
    for (attn_stack s = 0; s < ATTN_STACKS; s++) {
        size_t rows = cache_rows(g->model, s, &g->input, g->room);
        uint64_t count = cache_floats(g->model, s, rows);
        float *keys = attn_arena_take(arena, (size_t)count, sizeof *keys), *values = attn_arena_take(arena, (size_t)count, sizeof *values);
        if (!keys || !values)
            return false;
        g->cache.stacks[s].keys = keys;
        g->cache.stacks[s].values = values;
        g->cache.stacks[s].rows = rows;
    }
    return true;
}

/* Copies of the lists that grow. */
static bool take_lists(attn_generation *g, const attn_model_input *prompt, size_t T, attn_arena *arena)
{
    bool decodes = attn_model_writer(g->model) == ATTN_STACK_DECODER;
    size_t embeds = decodes ? 0 : attn_input_embeds(prompt), given = T - embeds;
    const int32_t *ids = decodes ? prompt->decoder_input_ids : prompt->input_ids;
    uint8_t *mask = attn_arena_take(arena, g->room, 1);
    g->ids = attn_arena_take(arena, g->room, sizeof *g->ids);
    if (!mask || !g->ids)
        return false;
    if (given > 0)
        memcpy(g->ids, ids, given * sizeof *ids);
    g->next_id = g->ids + given;
    g->input.num_embeds = attn_input_embeds(prompt);
    if (decodes)
        g->input.decoder_input_ids = g->ids;
    else if (given > 0)
        g->input.input_ids = g->ids;
    if (prompt->attention_mask && !decodes) {
        memset(mask, 1, g->room);
        memcpy(mask, prompt->attention_mask, prompt->T);
        g->input.attention_mask = mask;
    }
    return true;
}

static attn_status check_room(const attn_model *m, size_t T, size_t max_new_tokens, attn_error *err)
{
    if (!m->info.generates)
        return attn_fail(err, ATTN_E_INPUT, "max_new_tokens", "the model does not write");
    if (max_new_tokens > m->info.max_tokens - T)
        return attn_fail(err, ATTN_E_INPUT, "max_new_tokens", "%zu behind %zu tokens, the model takes %zu", max_new_tokens, T, m->info.max_tokens);
    return ATTN_OK;
}

attn_status attn_generation_begin(attn_generation **out, const attn_model *m, const attn_model_input *prompt, size_t max_new_tokens, attn_arena *arena,
                                  attn_error *err)
{
    attn_model_input input = *prompt;
    size_t T = *length_of(&input, m);
    attn_arena_mark mark = attn_arena_save(arena);
    *out = NULL;
    attn_status st = attn_check_input(m, prompt, err);
    if (st == ATTN_OK)
        st = check_room(m, T, max_new_tokens, err);
    if (st != ATTN_OK)
        return st;
    attn_generation *g = attn_arena_zero(arena, 1, sizeof *g);
    if (g) {
        *g = (attn_generation){ .model = m, .input = input, .room = T + max_new_tokens };
        g->last = attn_arena_take(arena, m->info.hidden_size, sizeof *g->last);
    }
    if (!g || !g->last || !take_lists(g, prompt, T, arena) || !take_cache(g, arena)) {
        attn_arena_rewind(arena, mark);
        return attn_fail_memory(err);
    }
    *out = g;
    return ATTN_OK;
}

/* ---- steps -------------------------------------------------------------------------------------------------------------- */

/* Whether what was rotated for a text of `from` does not serve one of `to`. */
static bool is_rotated_anew(const attn_model *m, size_t from, size_t to)
{
    bool differs = false;
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++)
        differs |= m->ropes[i].width > 0 && attn_rope_differs(&m->ropes[i], from, to);
    return differs;
}

/* Fills the cache with what was read before, for a text of `length`. If it is given up halfway, the next step does it again. */
static attn_status read_anew(attn_generation *g, size_t length, attn_arena *arena, attn_cancel *cancel, attn_error *err)
{
    attn_model_input before = g->input;
    *length_of(&before, g->model) = g->read;
    if (g->read == before.num_embeds) /* nothing but embeddings */
        before.input_ids = NULL;
    attn_status st = attn_read(&(attn_reading){ .model = g->model, .input = &before, .cache = &g->cache, .length = length }, arena, cancel, NULL, err);
    if (st == ATTN_OK)
        g->length = length;
    return st;
}

/* A token to be read next. */
static void append(attn_generation *g, int32_t id)
{
    size_t *length = length_of(&g->input, g->model);
    if (*length == g->room)
        return;
    *g->next_id++ = id;
    ++*length;
    if (attn_model_writer(g->model) == ATTN_STACK_SELF)
        g->input.input_ids = g->ids;
}

attn_status attn_generation_run(attn_generation *g, const attn_keep *keep, attn_arena *arena, attn_cancel *cancel, const attn_sink *sink, int32_t *next,
                                attn_error *err)
{
    const attn_model *m = g->model;
    size_t length = *length_of(&g->input, m);
    attn_status st = ATTN_OK;
    if (g->read == length)
        return attn_fail(err, ATTN_E_INPUT, "max_new_tokens", "there is nothing left to read");
    if (g->read > 0 && is_rotated_anew(m, g->length, length))
        st = read_anew(g, length, arena, cancel, err);
    attn_reading rd = { .model = m, .input = &g->input, .keep = keep, .cache = &g->cache, .past = g->read, .length = length, .last = next ? g->last : NULL };
    if (st == ATTN_OK)
        st = attn_read(&rd, arena, cancel, sink, err);
    if (st != ATTN_OK)
        return st;
    g->read = g->length = length;
    if (!next)
        return ATTN_OK;
    st = attn_choose_word(m->runtime, &m->head, &m->writing, g->last, length, next, arena, err);
    if (st == ATTN_OK)
        append(g, *next);
    return st;
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

/* Of reading what lies between `past` and `length` tokens. */
static attn_price reading_price(const attn_model *m, const attn_model_input *prompt, const attn_keep *keep, size_t past, size_t length, bool chooses)
{
    static float somewhere;
    attn_cache cache = { .encoded = past > 0 && attn_model_writer(m) == ATTN_STACK_DECODER };
    attn_model_input in = *prompt;
    *length_of(&in, m) = length;
    return attn_read_price(
        &(attn_reading){ .model = m, .input = &in, .keep = keep, .cache = &cache, .past = past, .length = length, .last = chooses ? &somewhere : NULL });
}

static uint64_t dearest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of reading anew what was read before, as the text grows from T to `room` tokens. */
static attn_price anew_price(const attn_model *m, const attn_model_input *prompt, size_t T, size_t room)
{
    attn_price price = { 0 };
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++) {
        size_t longest, times = m->ropes[i].width > 0 ? attn_rope_differences(&m->ropes[i], T, room, &longest) : 0;
        attn_price one = times > 0 ? reading_price(m, prompt, NULL, 0, longest, false) : (attn_price){ 0 };
        price.flops = attn_plus(price.flops, attn_times(times, one.flops));
        price.bytes = dearest(price.bytes, one.bytes);
    }
    return price;
}

attn_price attn_generation_price(const attn_model *m, const attn_model_input *prompt, size_t max_new_tokens, const attn_keep *keep)
{
    attn_model_input input = *prompt;
    size_t most = m->info.max_tokens, T = attn_least(*length_of(&input, m), most), n = attn_least(max_new_tokens, most - T), room = T + n; /* more is refused */
    attn_price price = reading_price(m, prompt, keep, 0, T, true);
    if (T > 0 && n > 0) {
        attn_price next = reading_price(m, prompt, keep, T, T + 1, true), last = reading_price(m, prompt, keep, room - 1, room, true);
        attn_price anew = anew_price(m, prompt, T, room);
        uint64_t steps = attn_times(n, attn_plus(next.flops, last.flops)) / 2; /* they grow evenly */
        price.flops = attn_plus(price.flops, attn_plus(steps, anew.flops));
        price.bytes = dearest(dearest(price.bytes, anew.bytes), dearest(next.bytes, last.bytes));
    }
    price.flops = attn_plus(price.flops, attn_times(n, attn_times(2, attn_times(m->head.table.rows, m->info.hidden_size))));
    price.bytes = attn_plus(dearest(price.bytes, attn_choose_bytes(m->runtime, &m->head)), held_bytes(m, prompt, room));
    return price;
}
