/* checkpoint.c - opens a model's weight files. Nothing is copied: tensors point into the mapped files.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "model/json_file.h"

static const char single_file[] = "model.safetensors", index_file[] = "model.safetensors.index.json";

static int by_name(const void *a, const void *b)
{
    return strcmp((*(attn_tensor *const *)a)->name, (*(attn_tensor *const *)b)->name);
}

static int name_against(const void *name, const void *tensor)
{
    return strcmp(name, (*(attn_tensor *const *)tensor)->name);
}

attn_tensor *attn_checkpoint_find(const attn_checkpoint *c, const char *name)
{
    attn_tensor **found = c->count ? bsearch(name, c->tensors, c->count, sizeof *c->tensors, name_against) : NULL;
    return found ? *found : NULL;
}

static attn_status open_shard(attn_checkpoint *c, const attn_source *source, const char *name, attn_error *err)
{
    attn_shard *shard = &c->shards[c->num_shards];
    shard->name = attn_strdup(name);
    if (!shard->name)
        return attn_fail_memory(err);
    c->num_shards++; /* from here on closing the checkpoint closes it */
    attn_status st = attn_file_open(&shard->file, source, name, err);
    if (st == ATTN_OK)
        st = attn_safetensors_open(&shard->tensors, shard->file.bytes, shard->file.size, shard->name, err);
    c->count += st == ATTN_OK ? shard->tensors.count : 0;
    return st;
}

static bool is_plain_name(const char *name)
{
    return name && *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static attn_status open_shards(attn_checkpoint *c, const attn_source *source, json_t *map, attn_error *err)
{
    const char *tensor;
    json_t *v;
    c->shards = attn_calloc(json_object_size(map) + 1, sizeof *c->shards);
    if (!c->shards)
        return attn_fail_memory(err);
    json_object_foreach(map, tensor, v)
    {
        const char *name = json_string_value(v);
        if (!is_plain_name(name))
            return attn_fail(err, ATTN_E_FORMAT, attn_at(index_file, tensor).text, "its shard is not the name of a file in the model's directory");
        size_t i = 0;
        while (i < c->num_shards && strcmp(c->shards[i].name, name) != 0)
            i++;
        attn_status st = i < c->num_shards ? ATTN_OK : open_shard(c, source, name, err);
        if (st != ATTN_OK)
            return st;
    }
    return ATTN_OK;
}

static attn_status parse_index(json_t **root, const attn_source *source, attn_error *err)
{
    attn_file file;
    attn_status st = attn_file_open(&file, source, index_file, err);
    if (st != ATTN_OK)
        return st;
    st = attn_json_parse(root, file.bytes, file.size, index_file, "", err);
    attn_file_close(&file);
    if (st != ATTN_OK)
        return st;
    if (json_object_size(json_object_get(*root, "weight_map")) == 0)
        return attn_fail(err, ATTN_E_FORMAT, attn_at(index_file, "weight_map").text, "is missing, empty or not an object");
    return ATTN_OK;
}

/* Every tensor of all shards, by name; none twice. */
static attn_status index_tensors(attn_checkpoint *c, attn_error *err)
{
    size_t n = 0;
    c->tensors = attn_calloc(c->count + 1, sizeof *c->tensors);
    if (!c->tensors)
        return attn_fail_memory(err);
    for (size_t s = 0; s < c->num_shards; s++)
        for (size_t i = 0; i < c->shards[s].tensors.count; i++)
            c->tensors[n++] = &c->shards[s].tensors.tensors[i];
    qsort(c->tensors, c->count, sizeof *c->tensors, by_name);
    for (size_t i = 1; i < c->count; i++) {
        const attn_tensor *a = c->tensors[i - 1], *b = c->tensors[i];
        if (strcmp(a->name, b->name) == 0)
            return attn_fail(err, ATTN_E_FORMAT, attn_at(b->file, b->name).text, "is in %s as well", a->file);
    }
    return ATTN_OK;
}

static attn_status check_index(const attn_checkpoint *c, json_t *map, attn_error *err)
{
    const char *name;
    json_t *v;
    json_object_foreach(map, name, v)
    {
        const attn_tensor *t = attn_checkpoint_find(c, name);
        if (!t || strcmp(t->file, json_string_value(v)) != 0)
            return attn_fail(err, ATTN_E_FORMAT, attn_at(index_file, name).text, "is said to be in %.100s, which does not hold it", json_string_value(v));
    }
    return ATTN_OK;
}

static attn_status open_sharded(attn_checkpoint *c, const attn_source *source, attn_error *err)
{
    json_t *root = NULL;
    c->file = index_file;
    attn_status st = parse_index(&root, source, err);
    json_t *map = json_object_get(root, "weight_map");
    if (st == ATTN_OK)
        st = open_shards(c, source, map, err);
    if (st == ATTN_OK)
        st = index_tensors(c, err);
    if (st == ATTN_OK)
        st = check_index(c, map, err);
    json_decref(root);
    return st;
}

static attn_status open_single(attn_checkpoint *c, const attn_source *source, attn_error *err)
{
    c->file = single_file;
    c->shards = attn_calloc(1, sizeof *c->shards);
    if (!c->shards)
        return attn_fail_memory(err);
    attn_status st = open_shard(c, source, single_file, err);
    return st == ATTN_OK ? index_tensors(c, err) : st;
}

/* Endings of files that hold weights in a form that is not read, the usual ones first, and what makes a model.safetensors of them. PyTorch's are pickles,
 * programs by nature: the command lets torch read nothing of them but tensors, keeps every name, and unties what shares memory. */
#define PICKLE(files)                                                                                                                                          \
    "is a pickle, which can run code and is not read; convert it once, in the model's directory: python3 -c \"import glob, torch, "                            \
    "safetensors.torch as s; s.save_file({k: v.contiguous().clone() for f in glob.glob('" files "') for k, v in torch.load(f, 'cpu', "                         \
    "weights_only=True).items()}, 'model.safetensors')\""
#define OTHER(framework, flag)                                                                                                                                 \
    "holds the weights as " framework " has them, which is not read; convert them once, in the model's directory, with transformers 4: "                       \
    "python3 -c \"from transformers import AutoModelForPreTraining as A; A.from_pretrained('.', " flag "=True).save_pretrained('.')\""
static const struct {
    const char *ending, *text;
} foreign[] = {
    { "pytorch_model.bin", PICKLE("pytorch_model.bin") },
    { "pytorch_model.bin.index.json", PICKLE("pytorch_model-*.bin") },
    { "tf_model.h5", OTHER("TensorFlow", "from_tf") },
    { "flax_model.msgpack", OTHER("Flax", "from_flax") },
    { ".pt", PICKLE("*.pt") },
    { ".pth", PICKLE("*.pth") },
    { "model.bin", PICKLE("*model.bin") },
};

static attn_status refuse(const attn_source *source, attn_error *err)
{
    char name[256];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (attn_source_find(source, foreign[i].ending, name, sizeof name))
            return attn_fail(err, ATTN_E_UNSUPPORTED, name, "%s", foreign[i].text);
    return attn_fail(err, ATTN_E_IO, single_file, "is missing, and so is %s", index_file);
}

attn_status attn_checkpoint_open(attn_checkpoint *out, const attn_source *source, attn_error *err)
{
    *out = (attn_checkpoint){ 0 };
    attn_status st;
    if (attn_source_has(source, single_file))
        st = open_single(out, source, err);
    else if (attn_source_has(source, index_file))
        st = open_sharded(out, source, err);
    else
        st = refuse(source, err);
    if (st != ATTN_OK)
        attn_checkpoint_close(out);
    return st;
}

void attn_checkpoint_close(attn_checkpoint *c)
{
    for (size_t i = 0; i < c->num_shards; i++) {
        attn_safetensors_close(&c->shards[i].tensors);
        attn_file_close(&c->shards[i].file);
        attn_free(c->shards[i].name);
    }
    attn_free(c->shards);
    attn_free(c->tensors);
    *c = (attn_checkpoint){ 0 };
}
