/* run.c - runs a model: everything that does not depend on the family.
 *
 * Checks the input, works out which layers of each attention must be computed, makes ready what analyses and rotations need, and calls the family's forward pass.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/run.h"

#include <string.h>

#include "model/blocks.h"
#include "model/causal.h"
#include "model/encoder_blocks.h"

static const attn_keep keep_nothing;

static bool has_decoder(const attn_model *m)
{
    return m->info.num_decoder_layers > 0;
}

static size_t num_stacks(const attn_model *m)
{
    return has_decoder(m) ? ATTN_STACKS : 1;
}

/* ---- input -------------------------------------------------------------------------------------------------------------- */

static attn_status check_ids(const char *name, const int32_t *ids, size_t n, size_t end, const char *what, attn_error *err)
{
    if (ids && end == 0)
        return attn_fail(err, ATTN_E_INPUT, name, "the model has no %s", what);
    for (size_t i = 0; ids && i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= end)
            return attn_fail(err, ATTN_E_INPUT, name, "number %zu is %d, the model's %s are 0 to %zu", i, (int)ids[i], what, end - 1);
    return ATTN_OK;
}

static attn_status check_decoder(const attn_model *m, const attn_model_input *in, attn_error *err)
{
    static const char name[] = "decoder_input_ids";
    if (!has_decoder(m))
        return in->decoder_T ? attn_fail(err, ATTN_E_INPUT, name, "the model has no decoder beside an encoder") : ATTN_OK;
    if (!in->decoder_input_ids || in->decoder_T < 1 || in->decoder_T > m->info.max_tokens)
        return attn_fail(err, ATTN_E_INPUT, name, "%zu tokens, the model takes 1 to %zu", in->decoder_input_ids ? in->decoder_T : 0, m->info.max_tokens);
    return check_ids(name, in->decoder_input_ids, in->decoder_T, attn_model_vocabulary(m), "ids", err);
}

attn_status attn_check_input(const attn_model *m, const attn_model_input *in, attn_error *err)
{
    const attn_model_info *i = &m->info;
    const char *given = in->inputs_embeds ? "inputs_embeds" : "input_ids";
    size_t num_embeds = attn_input_embeds(in);
    if (!in->inputs_embeds == !in->input_ids && num_embeds == 0)
        return attn_fail(err, ATTN_E_INPUT, given, "exactly one of input_ids and inputs_embeds is needed");
    if (in->T < 1 || in->T > i->max_tokens)
        return attn_fail(err, ATTN_E_INPUT, given, "%zu tokens, the model takes 1 to %zu", in->T, i->max_tokens);
    if (num_embeds > in->T)
        return attn_fail(err, ATTN_E_INPUT, given, "%zu embeddings for %zu tokens", num_embeds, in->T);
    attn_status st = check_ids("input_ids", in->input_ids, in->T - num_embeds, i->vocab_size, "ids", err);
    if (st == ATTN_OK)
        st = check_ids("token_type_ids", in->token_type_ids, in->T, i->type_vocab_size, "token types", err);
    return st == ATTN_OK ? check_decoder(m, in, err) : st;
}

/* ---- what has to be computed -------------------------------------------------------------------------------------------- */

static bool keeps_something(const attn_keep *keep)
{
    return keep->outputs || keep->analyses;
}

/* Layers to compute for what is kept: the last one kept and all before it. */
static size_t layers_needed(const attn_keep *keep, size_t L)
{
    size_t n = keep->layers ? 0 : L;
    for (size_t i = 0; keep->layers && i < keep->num_layers; i++)
        if ((size_t)keep->layers[i] + 1 > n)
            n = (size_t)keep->layers[i] + 1;
    return keeps_something(keep) ? n : 0;
}

static bool rolls_out(const attn_keep *keep)
{
    return keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
}

/* Which rows of one attention meet which keys. */
static void plan_rows(attn_stack_plan *p, const attn_reading *rd, attn_stack stack, size_t T, size_t decoder_T)
{
    bool writes = stack == attn_model_writer(rd->model), crosses = stack == ATTN_STACK_CROSS;
    size_t rows = stack == ATTN_STACK_SELF ? T : decoder_T, past = writes || crosses ? attn_least(rd->past, rows) : 0;
    p->T_q = rows - past;
    p->T_k = crosses ? T : rows;
    p->is_cached = rd->cache && (writes || crosses);
    p->fresh = crosses ? (rd->cache && rd->cache->encoded ? 0 : T) : rows - past;
}

static void plan_layers(attn_plan *p, const attn_reading *rd)
{
    const attn_model *m = rd->model;
    attn_stack_plan *encoder = &p->stacks[ATTN_STACK_SELF], *decoder = &p->stacks[ATTN_STACK_DECODER], *cross = &p->stacks[ATTN_STACK_CROSS];
    for (attn_stack s = 0; s < num_stacks(m); s++)
        p->stacks[s].num_layers = layers_needed(p->stacks[s].keep, m->shapes[s].num_layers);
    attn_stack_plan *writer = &p->stacks[attn_model_writer(m)];
    if (rd->cache || rd->last)
        writer->num_layers = m->shapes[attn_model_writer(m)].num_layers;
    writer->goes_on = rd->last != NULL;
    if (!has_decoder(m))
        return;
    decoder->num_layers = cross->num_layers = attn_most(decoder->num_layers, cross->num_layers);
    cross->goes_on = decoder->goes_on;
    encoder->goes_on = decoder->num_layers > 0;
    if (encoder->goes_on)
        encoder->num_layers = m->shapes[ATTN_STACK_SELF].num_layers;
    if (rd->cache && rd->cache->encoded)
        encoder->num_layers = 0;
}

/* All of a plan, heads apart. */
static attn_plan plan_of(const attn_reading *rd)
{
    const attn_model *m = rd->model;
    size_t most = m->info.max_tokens, T = attn_least(rd->input->T, most), decoder_T = attn_least(rd->input->decoder_T, most); /* more is refused */
    attn_plan p = { 0 };
    for (attn_stack s = 0; s < ATTN_STACKS; s++)
        p.stacks[s].keep = rd->keep && s < num_stacks(m) ? &rd->keep[s] : &keep_nothing;
    for (attn_stack s = 0; s < num_stacks(m); s++)
        plan_rows(&p.stacks[s], rd, s, T, decoder_T);
    plan_layers(&p, rd);
    p.T = p.stacks[ATTN_STACK_SELF].T_q;
    return p;
}

/* ---- the price ---------------------------------------------------------------------------------------------------------- */

/* What prepare_stack takes. */
static uint64_t stack_bytes(const attn_model *m, attn_stack stack, const attn_stack_plan *p)
{
    const attn_stack_shape *shape = &m->shapes[stack];
    uint64_t bytes = attn_plus(attn_arena_bytes(shape->num_layers, 1), attn_head_choice_bytes(&p->choice, shape->num_attention_heads));
    if (p->keep->analyses)
        bytes = attn_plus(bytes, attn_analyst_bytes(p->keep->analyses, p->T_k));
    if (rolls_out(p->keep))
        bytes = attn_plus(bytes, 2 * attn_arena_bytes((uint64_t)p->T_k * p->T_k, sizeof(float)));
    return bytes;
}

static uint64_t rotation_bytes(const attn_model *m, size_t T)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++)
        if (m->ropes[i].width > 0)
            bytes = attn_plus(bytes, 2 * attn_arena_bytes((uint64_t)T * (m->ropes[i].width / 2), sizeof(float)));
    return bytes;
}

/* Whether a layer is kept whose result is needed as well. */
static bool keeps_earlier(const attn_model *m, attn_stack stack, const attn_stack_plan *p)
{
    const attn_keep *keep = p->keep;
    bool found = false;
    for (size_t i = 0; i < (keep->layers ? keep->num_layers : m->shapes[stack].num_layers) && keeps_something(keep); i++)
        found |= p->goes_on || (keep->layers ? (size_t)keep->layers[i] : i) + 1 < p->num_layers;
    return found;
}

attn_price attn_read_price(const attn_reading *rd)
{
    const attn_model *m = rd->model;
    attn_plan p = plan_of(rd);
    attn_price price = { 0 };
    uint64_t prepared = rotation_bytes(m, p.T);
    bool runs = false;
    for (attn_stack s = 0; s < num_stacks(m); s++) {
        p.stacks[s].choice = attn_head_choice_most(p.stacks[s].keep, m->shapes[s].num_attention_heads);
        p.stacks[s].earlier_kept = keeps_earlier(m, s, &p.stacks[s]);
        prepared = attn_plus(prepared, stack_bytes(m, s, &p.stacks[s]));
        runs |= p.stacks[s].num_layers > 0;
    }
    if (runs && rd->input->T > 0)
        price = m->family->price(m, &p);
    price.bytes = attn_plus(price.bytes, prepared);
    return price;
}

attn_price attn_model_price(const attn_model *m, const attn_model_input *in, const attn_keep *keep)
{
    return attn_read_price(&(attn_reading){ .model = m, .input = in, .keep = keep, .length = in->T });
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */

static attn_status mark_layers(attn_run *r, attn_stack_run *s, size_t L)
{
    const attn_keep *keep = s->keep;
    uint8_t *kept = attn_arena_zero(r->arena, L, 1);
    if (!kept)
        return attn_fail_memory(r->err);
    for (size_t l = 0; l < (keep->layers ? keep->num_layers : L) && keeps_something(keep); l++)
        kept[keep->layers ? (size_t)keep->layers[l] : l] = 1;
    s->layer_kept = kept;
    return ATTN_OK;
}

static attn_status prepare_analyses(attn_run *r, attn_stack_run *s, attn_stack stack)
{
    for (size_t i = 0; i < 2 && rolls_out(s->keep); i++)
        if (!(s->rollout[i] = attn_take_floats(r, s->T_k, s->T_k)))
            return ATTN_E_NOMEM;
    if (!s->keep->analyses)
        return ATTN_OK;
    const uint8_t *query_counts = stack == ATTN_STACK_SELF ? s->mask : NULL; /* a decoder has no padding */
    return attn_analyst_init(&s->analyst, s->keep->analyses, s->keep->about, s->T_q, s->T_k, 0, query_counts, r->arena, r->err);
}

static attn_status prepare_stack(attn_run *r, attn_stack stack, const attn_stack_plan *p, const attn_cache *cache)
{
    const attn_stack_shape *shape = &r->model->shapes[stack];
    attn_stack_run *s = &r->stacks[stack];
    bool crosses = stack == ATTN_STACK_CROSS;
    *s = (attn_stack_run){ .keep = p->keep,
                           .num_layers = p->num_layers,
                           .goes_on = p->goes_on,
                           .T_q = p->T_q,
                           .T_k = p->T_k,
                           .past = crosses ? 0 : p->T_k - p->T_q,
                           .ready = p->T_k - p->fresh,
                           .mask = stack == ATTN_STACK_DECODER ? NULL : r->input->attention_mask };
    if (p->is_cached) {
        s->keys = cache->stacks[stack].keys;
        s->values = cache->stacks[stack].values;
        s->cache_rows = cache->stacks[stack].rows;
    }
    attn_status st = mark_layers(r, s, shape->num_layers);
    if (st == ATTN_OK)
        st = attn_head_choice_make(&s->choice, s->keep, shape->num_attention_heads, r->arena, r->err);
    return st == ATTN_OK ? prepare_analyses(r, s, stack) : st;
}

/* For the rows of the run; of several inputs, for each as that input alone would be turned. */
static void fill_rotation(const attn_run *r, const attn_rope *rope, const attn_rotation *rotation, size_t length)
{
    if (!r->parts)
        attn_rotation_fill(r->runtime, rope, rotation, r->past, r->T, length);
    for (size_t i = 0; i < r->num_parts; i++) {
        const attn_run *part = &r->parts[i];
        attn_rotation piece = *rotation;
        piece.cosine += part->first_row * (rope->width / 2);
        piece.sine += part->first_row * (rope->width / 2);
        attn_rotation_fill(r->runtime, rope, &piece, 0, part->T, part->T);
    }
}

/* `length` is that of the text; of several inputs each has its own. */
static attn_status prepare_rotations(attn_run *r, size_t length)
{
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++) {
        const attn_rope *rope = &r->model->ropes[i];
        attn_rotation *rotation = &r->rotations[i];
        rotation->width = rope->width;
        rotation->neighbours = rope->neighbours;
        if (rope->width == 0)
            continue;
        rotation->cosine = attn_take_floats(r, r->T, rope->width / 2);
        rotation->sine = rotation->cosine ? attn_take_floats(r, r->T, rope->width / 2) : NULL;
        if (!rotation->sine)
            return ATTN_E_NOMEM;
        fill_rotation(r, rope, rotation, length);
    }
    return ATTN_OK;
}

attn_status attn_read(const attn_reading *rd, attn_arena *arena, attn_cancel *cancel, const attn_sink *sink, attn_error *err)
{
    const attn_model *m = rd->model;
    attn_run r = { .model = m, .runtime = m->runtime, .input = rd->input, .last = rd->last, .arena = arena, .cancel = cancel, .sink = sink, .err = err };
    attn_plan p = plan_of(rd);
    attn_status st = attn_check_input(m, rd->input, err);
    if (st != ATTN_OK || p.stacks[ATTN_STACK_SELF].num_layers + p.stacks[ATTN_STACK_DECODER].num_layers == 0)
        return st;
    attn_arena_mark mark = attn_arena_save(arena);
    for (attn_stack s = 0; s < num_stacks(m) && st == ATTN_OK; s++)
        st = prepare_stack(&r, s, &p.stacks[s], rd->cache);
    r.stack = rd->cache && rd->cache->encoded ? ATTN_STACK_DECODER : ATTN_STACK_SELF;
    r.T = r.stacks[r.stack].T_q;
    r.past = r.stacks[r.stack].past;
    if (st == ATTN_OK)
        st = prepare_rotations(&r, rd->length);
    if (st == ATTN_OK)
        st = m->family->forward(&r);
    if (st == ATTN_OK && rd->cache)
        rd->cache->encoded = has_decoder(m);
    attn_arena_rewind(arena, mark);
    return st;
}

attn_status attn_model_run(const attn_model *m, const attn_model_input *in, const attn_keep *keep, attn_arena *arena, attn_cancel *cancel,
                           const attn_sink *sink, attn_error *err)
{
    attn_reading rd = { .model = m, .input = in, .keep = keep, .length = in->T };
    return attn_read(&rd, arena, cancel, sink, err);
}

/* ---- several at once ---------------------------------------------------------------------------------------------------- */

bool attn_model_joins(const attn_model *m, const attn_keep *keep)
{
    return (m->family->forward == attn_encoder_forward || m->family->forward == attn_decoder_forward) && keeps_something(keep) &&
           layers_needed(keep, m->info.num_hidden_layers) > 0;
}

bool attn_keep_joins(const attn_keep *a, const attn_keep *b)
{
    bool same = a->outputs == b->outputs && a->analyses == b->analyses && !a->layers == !b->layers;
    return same && (!a->layers || (a->num_layers == b->num_layers && memcmp(a->layers, b->layers, a->num_layers * sizeof *a->layers) == 0));
}

uint64_t attn_model_joint_bytes(const attn_model *m, size_t T)
{
    const attn_model_info *i = &m->info;
    uint64_t context = attn_arena_bytes(attn_times(T, i->num_attention_heads * i->head_dim), sizeof(float));
    return attn_plus(context, attn_arena_bytes(1, sizeof(attn_run)) + attn_part_bytes());
}

/* Readies one input's part, whose rows come behind those there are. */
static void add_part(attn_run *r, attn_joint_run *j)
{
    attn_run *part = &r->parts[r->num_parts];
    attn_reading rd = { .model = r->model, .input = j->input, .keep = j->keep, .length = j->input->T };
    attn_plan plan = plan_of(&rd);
    j->status = attn_check_input(r->model, j->input, j->err);
    if (j->status != ATTN_OK)
        return;
    *part = (attn_run){ .model = r->model,
                        .runtime = r->runtime,
                        .input = j->input,
                        .T = plan.T,
                        .first_row = r->T,
                        .arena = r->arena,
                        .cancel = j->cancel,
                        .sink = j->sink,
                        .err = j->err };
    j->status = prepare_stack(part, ATTN_STACK_SELF, &plan.stacks[ATTN_STACK_SELF], NULL);
    if (j->status != ATTN_OK)
        return;
    r->num_parts++;
    r->T += part->T;
}

static attn_status run_parts(attn_run *r, attn_joint_run *runs, size_t num)
{
    r->parts = attn_arena_take(r->arena, num, sizeof *r->parts);
    if (!r->parts)
        return attn_fail_memory(r->err);
    for (size_t i = 0; i < num; i++)
        add_part(r, &runs[i]);
    if (r->num_parts == 0)
        return ATTN_OK;
    attn_stack_run *all = &r->stacks[ATTN_STACK_SELF];
    *all = r->parts[0].stacks[ATTN_STACK_SELF]; /* keep and layers are those of all */
    all->T_q = all->T_k = r->T;
    attn_status st = prepare_rotations(r, r->T);
    return st == ATTN_OK ? r->model->family->forward(r) : st;
}

void attn_model_run_joint(const attn_model *m, attn_joint_run *runs, size_t num, attn_arena *arena)
{
    if (num == 1) {
        runs[0].status = attn_model_run(m, runs[0].input, runs[0].keep, arena, runs[0].cancel, runs[0].sink, runs[0].err);
        return;
    }
    attn_error err = { 0 };
    attn_run r = { .model = m, .runtime = m->runtime, .arena = arena, .err = &err };
    attn_arena_mark mark = attn_arena_save(arena);
    attn_status st = run_parts(&r, runs, num);
    for (size_t i = 0, part = 0; i < num; i++) {
        if (r.parts && runs[i].status == ATTN_OK) /* so far; then it has a part */
            runs[i].status = r.parts[part++].status;
        if (runs[i].status == ATTN_OK && st != ATTN_OK)
            runs[i].status = attn_fail(runs[i].err, st, err.where, "%s", err.text);
    }
    attn_arena_rewind(arena, mark);
}
