/* model_files.h - for tests: a copy of a model's directory with one thing changed, in a folder of its own that is removed again.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/safetensors.h"
#include "unit.h"

typedef struct model_file {
    unsigned char *bytes;
    size_t size;
} model_file;

typedef struct model_copy {
    char path[64]; /* of the copy */
} model_copy;

static inline void file_path(char *dst, size_t n, const char *directory, const char *name)
{
    int w = snprintf(dst, n, "%s/%s", directory, name);
    ck_assert(w > 0 && (size_t)w < n);
}

static inline model_file file_read(const char *directory, const char *name)
{
    char path[300];
    struct stat info;
    file_path(path, sizeof path, directory, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s (run from the root of the repository)", path);
    ck_assert_int_eq(fstat(fileno(f), &info), 0);
    model_file file = { malloc((size_t)info.st_size + 1), (size_t)info.st_size };
    ck_assert_uint_eq(fread(file.bytes, 1, file.size, f), file.size);
    file.bytes[file.size] = '\0';
    fclose(f);
    return file;
}

/* A new file: one that is cut and written anew is waited for by ext4 until it is on the disk. */
static inline void file_write(const char *directory, const char *name, const void *bytes, size_t n)
{
    char path[300];
    file_path(path, sizeof path, directory, name);
    (void)unlink(path);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static inline void file_remove(const char *directory, const char *name)
{
    char path[300];
    file_path(path, sizeof path, directory, name);
    ck_assert_int_eq(remove(path), 0);
}

/* Everything in `model` but its golden values. */
static inline model_copy copy_model(const char *model)
{
    model_copy copy = { "/tmp/attnd-model-XXXXXX" };
    ck_assert_ptr_nonnull(mkdtemp(copy.path));
    DIR *all = opendir(model);
    ck_assert_msg(all != NULL, "%s (run from the root of the repository)", model);
    for (struct dirent *entry = readdir(all); entry; entry = readdir(all)) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "golden.json") == 0)
            continue;
        model_file file = file_read(model, entry->d_name);
        file_write(copy.path, entry->d_name, file.bytes, file.size);
        free(file.bytes);
    }
    closedir(all);
    return copy;
}

static inline void remove_copy(const model_copy *copy)
{
    DIR *all = opendir(copy->path);
    ck_assert_ptr_nonnull(all);
    for (struct dirent *entry = readdir(all); entry; entry = readdir(all))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            file_remove(copy->path, entry->d_name);
    closedir(all);
    ck_assert_int_eq(rmdir(copy->path), 0);
}

/* The first `find` in a file becomes `replace`; in a safetensors file it is looked for in the header, whose length is put right. */
static inline void file_replace(const model_copy *copy, const char *name, const char *find, const char *replace)
{
    model_file old = file_read(copy->path, name);
    unsigned char *at = memmem(old.bytes, old.size, find, strlen(find));
    ck_assert_msg(at != NULL, "%s has no %s", name, find);
    size_t before = (size_t)(at - old.bytes), n = old.size - strlen(find) + strlen(replace), rest = before + strlen(find);
    unsigned char *fresh = malloc(n + 1);
    memcpy(fresh, old.bytes, before);
    memcpy(fresh + before, replace, strlen(replace));
    memcpy(fresh + before + strlen(replace), old.bytes + rest, old.size - rest);
    if (strstr(name, ".safetensors") && !strstr(name, ".json")) {
        uint64_t header;
        memcpy(&header, fresh, sizeof header); /* little-endian, as the machines are that run this */
        header += strlen(replace) - strlen(find);
        memcpy(fresh, &header, sizeof header);
    }
    file_write(copy->path, name, fresh, n);
    free(fresh);
    free(old.bytes);
}

/* Every element of a float32 tensor becomes x. */
static inline void tensor_fill(const model_copy *copy, const char *tensor, float x)
{
    attn_error err = { 0 };
    attn_safetensors s;
    model_file file = file_read(copy->path, "model.safetensors");
    ck_assert_int_eq(attn_safetensors_open(&s, file.bytes, file.size, "model.safetensors", &err), ATTN_OK);
    size_t i = 0;
    while (i < s.count && strcmp(s.tensors[i].name, tensor) != 0)
        i++;
    ck_assert_uint_lt(i, s.count);
    for (size_t at = 0; at < s.tensors[i].bytes; at += sizeof x)
        memcpy(file.bytes + (s.tensors[i].data - file.bytes) + at, &x, sizeof x);
    attn_safetensors_close(&s);
    file_write(copy->path, "model.safetensors", file.bytes, file.size);
    free(file.bytes);
}

/* A tensor [rows, columns] of float32 once more, under another name, `x` added to its first element. */
static inline void tensor_repeat(const model_copy *copy, const char *tensor, const char *as, float x)
{
    char find[200], replace[400];
    attn_error err = { 0 };
    attn_safetensors s;
    model_file file = file_read(copy->path, "model.safetensors");
    ck_assert_int_eq(attn_safetensors_open(&s, file.bytes, file.size, "model.safetensors", &err), ATTN_OK);
    size_t i = 0;
    while (i < s.count && strcmp(s.tensors[i].name, tensor) != 0)
        i++;
    ck_assert_uint_lt(i, s.count);
    const attn_tensor *t = &s.tensors[i], *last = &s.tensors[s.count - 1];
    uint64_t header;
    memcpy(&header, file.bytes, sizeof header);
    size_t n = t->bytes, end = (size_t)(last->data + last->bytes - file.bytes) - 8 - header;
    unsigned char *longer = malloc(file.size + n);
    float first;
    memcpy(longer, file.bytes, file.size);
    memcpy(longer + file.size, t->data, n);
    memcpy(&first, t->data, sizeof first);
    first += x;
    memcpy(longer + file.size, &first, sizeof first);
    snprintf(find, sizeof find, "\"%s\":", tensor);
    snprintf(replace, sizeof replace, "\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]},\"%s\":", as, t->shape[0], t->shape[1], end,
             end + n, tensor);
    attn_safetensors_close(&s);
    file_write(copy->path, "model.safetensors", longer, file.size + n);
    file_replace(copy, "model.safetensors", find, replace);
    free(longer);
    free(file.bytes);
}

#endif
