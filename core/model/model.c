/* model.c - opens a model: everything that does not depend on the family.
 *
 * Reads config.json, lets the family say its sizes, opens the tokenizer and the weight files, binds, and closes the files again.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "model/blocks.h"

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

attn_layer_form *attn_model_stack_forms(attn_model *m, attn_config *c, attn_stack stack)
{
    const attn_stack_shape *shape = &m->shapes[stack];
    attn_layer_form **forms = &m->forms[stack];
    if (c->status == ATTN_OK && !*forms && !(*forms = attn_calloc(shape->num_layers, sizeof **forms)))
        c->status = attn_fail_memory(c->err);
    for (size_t l = 0; l < shape->num_layers && c->status == ATTN_OK; l++)
        (*forms)[l].rules = (attn_rules){ .scale = (float)(1.0 / sqrt((double)shape->head_dim)), .left_window_size = -1, .right_window_size = -1 };
    return c->status == ATTN_OK ? *forms : NULL;
}

static void take_shape(attn_model *m)
{
    const attn_model_info *i = &m->info;
    m->shapes[ATTN_STACK_SELF] = (attn_stack_shape){ i->num_hidden_layers, i->num_attention_heads, i->num_key_value_heads, i->head_dim };
}

attn_layer_form *attn_model_forms(attn_model *m, attn_config *c)
{
    take_shape(m);
    return attn_model_stack_forms(m, c, ATTN_STACK_SELF);
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
        take_shape(m); /* whatever a family changed since */
        if (m->writing.writes)
            attn_writing_read(&m->writing, &c, source, attn_model_vocabulary(m), m->info.num_decoder_layers > 0);
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

/* What packing needs of opening, for as long as it has not been done. */
struct attn_loading {
    pthread_mutex_t lock; /* of all but `done` */
    atomic_bool done;
    attn_checkpoint checkpoint;
    attn_bind_sizes sizes;
    attn_weights weights; /* the packing; the block is the model's */
};

static attn_status bind_weights(attn_model *m, const attn_checkpoint *c, const attn_bind_sizes *sizes, attn_error *err)
{
    size_t num_layers = sizes->num_layers, num_decoder_layers = sizes->num_decoder_layers;
    m->parts = attn_calloc(1, m->family->parts_bytes);
    m->layers = attn_calloc(num_layers, m->family->binds.layer_bytes);
    if (num_decoder_layers > 0)
        m->decoder_layers = attn_calloc(num_decoder_layers, m->family->binds.decoder_layer_bytes);
    attn_bind_targets to = { m->parts, m->layers, m->decoder_layers };
    if (!m->parts || !m->layers || (num_decoder_layers > 0 && !m->decoder_layers))
        return attn_fail_memory(err);
    attn_status st = attn_weights_bind(&m->weights, m->runtime, &m->family->binds, c, sizes, &to, err);
    return st == ATTN_OK ? list_unused(m, c, err) : st;
}

static void close_loading(attn_loading *l)
{
    if (!l)
        return;
    attn_weights_free(&l->weights);
    attn_checkpoint_close(&l->checkpoint);
    pthread_mutex_destroy(&l->lock);
    attn_free(l);
}

static attn_status read_weights(attn_model *m, const attn_source *source, bool later, attn_error *err)
{
    attn_loading *l = attn_calloc(1, sizeof *l);
    if (!l)
        return attn_fail_memory(err);
    pthread_mutex_init(&l->lock, NULL);
    attn_status st = attn_checkpoint_open(&l->checkpoint, source, err);
    l->sizes = (attn_bind_sizes){ m->dims, m->num_layer_weights ? m->num_layer_weights : m->info.num_hidden_layers, m->info.num_decoder_layers, m->traits };
    if (st == ATTN_OK)
        st = bind_weights(m, &l->checkpoint, &l->sizes, err);
    if (st == ATTN_OK && later) {
        l->weights.packing = m->weights.packing;
        m->weights.packing = NULL;
        m->loading = l;
        return ATTN_OK;
    }
    if (st == ATTN_OK)
        st = attn_weights_pack(&m->weights, err);
    close_loading(l);
    return st;
}

attn_status attn_model_load(const attn_model *m, attn_error *err)
{
    attn_loading *l = m->loading;
    if (!l || atomic_load_explicit(&l->done, memory_order_acquire))
        return ATTN_OK;
    pthread_mutex_lock(&l->lock);
    attn_status st = ATTN_OK;
    if (l->weights.packing) {
        st = attn_weights_pack(&l->weights, err);
        if (st == ATTN_OK)
            attn_checkpoint_close(&l->checkpoint);
        atomic_store_explicit(&l->done, st == ATTN_OK, memory_order_release);
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}

bool attn_model_is_loaded(const attn_model *m)
{
    return !m->loading || atomic_load_explicit(&m->loading->done, memory_order_acquire);
}

/* The head, if the file has one that takes hidden states as they are. */
static void take_head(attn_model *m)
{
    if (m->writing.writes && m->family->head)
        m->head = m->family->head(m);
    if (m->head.table.cols != (m->head.project ? m->head.project->n : m->info.hidden_size))
        m->head.table.data = NULL;
    m->info.writes = m->writing.writes;
    m->info.generates = m->head.table.data != NULL;
    m->info.decoder_start_token_id = m->info.num_decoder_layers > 0 ? m->writing.start : -1;
}

static void fill_info(attn_model *m)
{
    take_head(m);
    m->info.architecture = m->architecture;
    m->info.model_type = m->model_type;
    m->info.embedding_size = m->dims[ATTN_DIM_EMBEDDING] ? m->dims[ATTN_DIM_EMBEDDING] : m->info.hidden_size;
    m->info.source = m->source;
    m->info.decoder_vocab_size = m->info.num_decoder_layers > 0 ? attn_model_vocabulary(m) : 0;
    m->info.dtype = m->weights.dtype;
    m->info.num_parameters = m->weights.parameters;
    m->info.bytes = m->weights.bytes;
    m->info.outputs = m->family->outputs;
    m->info.unused_tensors = m->unused_tensors;
    m->info.ignored_keys = m->ignored_keys;
}

/* All but the weights. */
static attn_status read_texts(attn_model *m, const attn_source *files, attn_error *err)
{
    attn_status st = read_config(m, files, err);
    return st == ATTN_OK ? attn_model_open_tokenizer(m, files, err) : st;
}

attn_status attn_model_check_texts(const char *source, attn_error *err)
{
    attn_source *files = NULL;
    attn_model *m = attn_calloc(1, sizeof *m);
    if (!m)
        return attn_fail_memory(err);
    attn_status st = attn_source_open(&files, source, err);
    if (st == ATTN_OK)
        st = read_texts(m, files, err);
    attn_source_close(files);
    attn_model_close(m);
    return st;
}

static attn_status open_model(attn_model **out, attn_runtime *rt, const char *source, bool later, attn_error *err)
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
        st = read_texts(m, files, err);
    if (st == ATTN_OK)
        st = read_weights(m, files, later, err);
    attn_source_close(files);
    if (st == ATTN_OK) {
        fill_info(m);
        *out = m;
        m = NULL;
    }
    attn_model_close(m);
    return st;
}

attn_status attn_model_open(attn_model **out, attn_runtime *rt, const char *source, attn_error *err)
{
    return open_model(out, rt, source, false, err);
}

attn_status attn_model_open_unloaded(attn_model **out, attn_runtime *rt, const char *source, attn_error *err)
{
    return open_model(out, rt, source, true, err);
}

void attn_model_close(attn_model *m)
{
    if (!m)
        return;
    attn_tokenizer_close(m->tokenizer);
    close_loading(m->loading);
    attn_weights_free(&m->weights);
    attn_writing_close(&m->writing);
    attn_free(m->parts);
    attn_free(m->layers);
    attn_free(m->decoder_layers);
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

attn_stack_shape attn_model_shape(const attn_model *m, attn_stack stack)
{
    return m->shapes[stack];
}

bool attn_model_is_end(const attn_model *m, int32_t id)
{
    for (size_t i = 0; i < m->writing.num_ends; i++)
        if (m->writing.ends[i] == id)
            return true;
    return false;
}
