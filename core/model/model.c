/* model.c - opens a model and runs it: everything that does not depend on the family.
 *
 * Opening reads config.json, lets the family say its sizes, opens the tokenizer and the weight files, binds, and closes the files again.
 * Running checks the input, works out which layers must be computed, makes ready what analyses need, and calls the family's forward pass.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/blocks.h"

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

static attn_status copy_text(char **out, const char *text, attn_error *err)
{
    *out = attn_strdup(text);
    return *out ? ATTN_OK : attn_fail_memory(err);
}

static attn_status choose_family(attn_model *m, attn_config *c, attn_error *err)
{
    char known[sizeof((attn_error *)0)->text - 96]; /* beside the name that was given */
    const char *type = attn_config_text(c, "model_type");
    attn_family_names(known, sizeof known);
    if (!type)
        return attn_fail(err, ATTN_E_UNSUPPORTED, attn_at(c->file, "model_type").text, "is missing or not a string, known are: %s", known);
    m->family = attn_family_find(type);
    if (!m->family)
        return attn_fail(err, ATTN_E_UNSUPPORTED, attn_at(c->file, "model_type").text, "is \"%.64s\", known are: %s", type, known);
    const char *architecture = attn_config_text(c, "architectures");
    attn_status st = copy_text(&m->model_type, type, err);
    if (st == ATTN_OK)
        st = copy_text(&m->architecture, architecture ? architecture : m->family->default_architecture, err);
    attn_config_take(c, "model_type");
    attn_config_take(c, "architectures");
    return st;
}

/* Keys by which a file of any family asks for something that is not in its family's formula. */
static void refuse_extras(attn_config *c)
{
    attn_config_off(c, "quantization_config");
    attn_config_off(c, "pruned_heads");
    attn_config_off(c, "auto_map"); /* code of its own beside the weights */
}

attn_layer_form *attn_model_forms(attn_model *m, attn_config *c)
{
    size_t L = m->info.num_hidden_layers;
    attn_layer_form **forms = &m->forms[ATTN_STACK_SELF];
    if (c->status == ATTN_OK && !*forms && !(*forms = attn_calloc(L, sizeof **forms)))
        c->status = attn_fail_memory(c->err);
    for (size_t l = 0; l < L && c->status == ATTN_OK; l++)
        (*forms)[l].rules = (attn_rules){ .scale = (float)(1.0 / sqrt((double)m->info.head_dim)), .left_window_size = -1, .right_window_size = -1 };
    return c->status == ATTN_OK ? *forms : NULL;
}

static attn_status read_config(attn_model *m, const attn_source *source, attn_error *err)
{
    attn_file file;
    attn_config c = { 0 };
    attn_status st = attn_file_open(&file, source, "config.json", err);
    if (st == ATTN_OK)
        st = attn_config_open(&c, (const char *)file.bytes, file.size, "config.json", err);
    if (st == ATTN_OK)
        st = choose_family(m, &c, err);
    if (st == ATTN_OK) {
        m->family->configure(m, &c);
        refuse_extras(&c);
        if (!m->forms[ATTN_STACK_SELF])
            (void)attn_model_forms(m, &c);
        st = c.status;
    }
    if (st == ATTN_OK)
        st = attn_config_rest(&c, &m->ignored_keys, &m->info.num_ignored_keys, err);
    attn_config_close(&c);
    attn_file_close(&file);
    return st;
}

static attn_status list_unused(attn_model *m, const attn_checkpoint *c, attn_error *err)
{
    size_t n = 0, text = 0;
    for (size_t i = 0; i < c->count; i++) {
        n += !c->tensors[i]->used;
        text += c->tensors[i]->used ? 0 : strlen(c->tensors[i]->name) + 1;
    }
    const char **names = m->unused_tensors = attn_malloc((n + 1) * sizeof *names + text);
    if (!names)
        return attn_fail_memory(err);
    char *to = (char *)(names + n + 1);
    for (size_t i = 0; i < c->count; i++) {
        if (!c->tensors[i]->used) {
            size_t length = strlen(c->tensors[i]->name) + 1;
            *names++ = memcpy(to, c->tensors[i]->name, length);
            to += length;
        }
    }
    *names = NULL;
    m->info.num_unused_tensors = n;
    return ATTN_OK;
}

static attn_status read_weights(attn_model *m, const attn_source *source, attn_error *err)
{
    attn_checkpoint c;
    attn_status st = attn_checkpoint_open(&c, source, err);
    size_t num_layers = m->num_layer_weights ? m->num_layer_weights : m->info.num_hidden_layers;
    attn_bind_sizes sizes = { m->dims, num_layers, m->traits };
    m->parts = attn_calloc(1, m->family->parts_bytes);
    m->layers = attn_calloc(num_layers, m->family->binds.layer_bytes);
    if (st == ATTN_OK && (!m->parts || !m->layers))
        st = attn_fail_memory(err);
    if (st == ATTN_OK)
        st = attn_weights_bind(&m->weights, m->runtime, &m->family->binds, &c, &sizes, m->parts, m->layers, err);
    if (st == ATTN_OK)
        st = list_unused(m, &c, err);
    attn_checkpoint_close(&c);
    return st;
}

static void fill_info(attn_model *m)
{
    m->info.architecture = m->architecture;
    m->info.model_type = m->model_type;
    m->info.embedding_size = m->dims[ATTN_DIM_EMBEDDING] ? m->dims[ATTN_DIM_EMBEDDING] : m->info.hidden_size;
    m->info.source = m->source;
    m->info.dtype = m->weights.dtype;
    m->info.num_parameters = m->weights.parameters;
    m->info.bytes = m->weights.bytes;
    m->info.outputs = m->family->outputs;
    m->info.unused_tensors = m->unused_tensors;
    m->info.ignored_keys = m->ignored_keys;
}

attn_status attn_model_open(attn_model **out, attn_runtime *rt, const char *source, attn_error *err)
{
    attn_source *files = NULL;
    *out = NULL;
    attn_model *m = attn_calloc(1, sizeof *m);
    if (!m)
        return attn_fail_memory(err);
    m->runtime = rt;
    attn_status st = attn_source_open(&files, source, err);
    if (st == ATTN_OK)
        st = copy_text(&m->source, source, err);
    if (st == ATTN_OK)
        st = read_config(m, files, err);
    if (st == ATTN_OK)
        st = attn_model_open_tokenizer(m, files, err);
    if (st == ATTN_OK)
        st = read_weights(m, files, err);
    attn_source_close(files);
    if (st == ATTN_OK) {
        fill_info(m);
        *out = m;
        m = NULL;
    }
    attn_model_close(m);
    return st;
}

void attn_model_close(attn_model *m)
{
    if (!m)
        return;
    attn_tokenizer_close(m->tokenizer);
    attn_free(m->weights.block);
    attn_free(m->parts);
    attn_free(m->layers);
    for (size_t s = 0; s < ATTN_STACKS; s++)
        attn_free(m->forms[s]);
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++)
        attn_free(m->ropes[i].pair_factor);
    attn_free(m->source);
    attn_free(m->architecture);
    attn_free(m->model_type);
    attn_free(m->unused_tensors);
    attn_free(m->ignored_keys);
    attn_free(m);
}

const attn_model_info *attn_model_get_info(const attn_model *m)
{
    return &m->info;
}

const attn_tokenizer *attn_model_get_tokenizer(const attn_model *m)
{
    return m->tokenizer;
}

/* ---- running ------------------------------------------------------------------------------------------------------------ */

static attn_status check_ids(const char *name, const int32_t *ids, size_t n, size_t end, const char *what, attn_error *err)
{
    if (ids && end == 0)
        return attn_fail(err, ATTN_E_INPUT, name, "the model has no %s", what);
    for (size_t i = 0; ids && i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= end)
            return attn_fail(err, ATTN_E_INPUT, name, "number %zu is %d, the model's %s are 0 to %zu", i, (int)ids[i], what, end - 1);
    return ATTN_OK;
}

static attn_status check_input(const attn_model *m, const attn_model_input *in, attn_error *err)
{
    const attn_model_info *i = &m->info;
    const char *given = in->inputs_embeds ? "inputs_embeds" : "input_ids";
    if (!in->input_ids == !in->inputs_embeds)
        return attn_fail(err, ATTN_E_INPUT, given, "exactly one of input_ids and inputs_embeds is needed");
    if (in->T < 1 || in->T > i->max_tokens)
        return attn_fail(err, ATTN_E_INPUT, given, "%zu tokens, the model takes 1 to %zu", in->T, i->max_tokens);
    attn_status st = check_ids("input_ids", in->input_ids, in->T, i->vocab_size, "ids", err);
    return st == ATTN_OK ? check_ids("token_type_ids", in->token_type_ids, in->T, i->type_vocab_size, "token types", err) : st;
}

/* Layers to compute: the last one kept and all before it. */
static size_t layers_needed(const attn_model *m, const attn_keep *keep)
{
    size_t n = keep->layers ? 0 : m->info.num_hidden_layers;
    for (size_t i = 0; keep->layers && i < keep->num_layers; i++)
        if ((size_t)keep->layers[i] + 1 > n)
            n = (size_t)keep->layers[i] + 1;
    return keep->outputs || keep->analyses ? n : 0;
}

static bool rolls_out(const attn_keep *keep)
{
    return keep->analyses & ATTN_ANALYSIS_BIT(ATTN_ROLLOUT);
}

/* What prepare takes. */
static uint64_t prepared_bytes(const attn_model *m, const attn_plan *p)
{
    uint64_t bytes = attn_plus(attn_arena_bytes(m->info.num_hidden_layers, 1), attn_head_choice_bytes(&p->choice, m->info.num_attention_heads));
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++)
        if (m->ropes[i].width > 0)
            bytes = attn_plus(bytes, 2 * attn_arena_bytes((uint64_t)p->T * (m->ropes[i].width / 2), sizeof(float)));
    if (p->keep->analyses)
        bytes = attn_plus(bytes, attn_analyst_bytes(p->keep->analyses, p->T));
    if (rolls_out(p->keep))
        bytes = attn_plus(bytes, 2 * attn_arena_bytes((uint64_t)p->T * p->T, sizeof(float)));
    return bytes;
}

attn_price attn_model_price(const attn_model *m, const attn_model_input *in, const attn_keep *keep)
{
    attn_plan p = { .keep = keep,
                    .T = in->T < m->info.max_tokens ? in->T : m->info.max_tokens, /* more is refused by the run */
                    .num_layers = layers_needed(m, keep),
                    .choice = attn_head_choice_most(keep, m->info.num_attention_heads) };
    for (size_t i = 0; i < (keep->layers ? keep->num_layers : m->info.num_hidden_layers); i++)
        p.earlier_kept |= (keep->layers ? (size_t)keep->layers[i] : i) + 1 < p.num_layers;
    attn_price price = { 0 };
    if (p.num_layers > 0 && p.T > 0)
        price = m->family->price(m, &p);
    price.bytes = attn_plus(price.bytes, prepared_bytes(m, &p));
    return price;
}

static attn_status prepare_layers(attn_run *r)
{
    const attn_keep *keep = r->keep;
    size_t L = r->model->info.num_hidden_layers;
    uint8_t *kept = attn_arena_zero(r->arena, L, 1);
    if (!kept)
        return attn_fail_memory(r->err);
    for (size_t l = 0; l < (keep->layers ? keep->num_layers : L); l++)
        kept[keep->layers ? (size_t)keep->layers[l] : l] = 1;
    r->layer_kept = kept;
    return ATTN_OK;
}

static attn_status prepare_rotations(attn_run *r)
{
    size_t T = r->input->T;
    for (size_t i = 0; i < ATTN_MODEL_ROPES; i++) {
        const attn_rope *rope = &r->model->ropes[i];
        attn_rotation *rotation = &r->rotations[i];
        rotation->width = rope->width;
        if (rope->width == 0)
            continue;
        rotation->cosine = attn_take_floats(r, T, rope->width / 2);
        rotation->sine = rotation->cosine ? attn_take_floats(r, T, rope->width / 2) : NULL;
        if (!rotation->sine)
            return ATTN_E_NOMEM;
        attn_rotation_fill(r->runtime, rope, rotation, T);
    }
    return ATTN_OK;
}

static attn_status prepare_analyses(attn_run *r)
{
    size_t T = r->input->T;
    for (size_t i = 0; i < 2 && rolls_out(r->keep); i++)
        if (!(r->rollout[i] = attn_take_floats(r, T, T)))
            return ATTN_E_NOMEM;
    if (!r->keep->analyses)
        return ATTN_OK;
    return attn_analyst_init(&r->analyst, r->keep->analyses, r->keep->about, T, T, 0, r->input->attention_mask, r->arena, r->err);
}

attn_status attn_model_run(const attn_model *m, const attn_model_input *in, const attn_keep *keep, attn_arena *arena, attn_cancel *cancel,
                           const attn_sink *sink, attn_error *err)
{
    attn_run r = { .model = m,
                   .runtime = m->runtime,
                   .input = in,
                   .keep = keep,
                   .num_layers = layers_needed(m, keep),
                   .arena = arena,
                   .cancel = cancel,
                   .sink = sink,
                   .err = err };
    attn_status st = check_input(m, in, err);
    if (st != ATTN_OK || r.num_layers == 0)
        return st;
    attn_arena_mark mark = attn_arena_save(arena);
    st = prepare_layers(&r);
    if (st == ATTN_OK)
        st = attn_head_choice_make(&r.choice, keep, m->info.num_attention_heads, arena, err);
    if (st == ATTN_OK)
        st = prepare_analyses(&r);
    if (st == ATTN_OK)
        st = prepare_rotations(&r);
    if (st == ATTN_OK)
        st = m->family->forward(&r);
    attn_arena_rewind(arena, mark);
    return st;
}
