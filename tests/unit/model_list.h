/* model_list.h - for tests that ask something of every family: the models of tests/golden/models, as they are found.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_LIST_H
#define MODEL_LIST_H

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"

enum { LIST_MOST = 200 };

typedef struct listed_model {
    char path[128], type[64];
} listed_model;

static listed_model models[LIST_MOST];
static int num_models;

static inline bool is_listed(const char *type)
{
    bool found = false;
    for (int i = 0; i < num_models; i++)
        found = found || strcmp(models[i].type, type) == 0;
    return found;
}

static inline int by_path(const void *a, const void *b)
{
    return strcmp(((const listed_model *)a)->path, ((const listed_model *)b)->path);
}

/* Fills `models`, by name: all that have their weights in one file, or the first of each model_type. */
static inline void list_models(bool one_of_each)
{
    static listed_model all[LIST_MOST];
    int found = 0;
    DIR *folder = opendir("tests/golden/models");
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && found < LIST_MOST; entry = readdir(folder)) {
        char path[256];
        snprintf(path, sizeof path, "tests/golden/models/%.100s/model.safetensors", entry->d_name);
        FILE *weights = fopen(path, "rb");
        if (!weights)
            continue;
        fclose(weights);
        snprintf(all[found].path, sizeof all[found].path, "tests/golden/models/%.100s", entry->d_name);
        snprintf(path, sizeof path, "%.127s/config.json", all[found].path);
        json_t *config = json_load_file(path, 0, NULL);
        const char *type = json_string_value(json_object_get(config, "model_type"));
        snprintf(all[found].type, sizeof all[found].type, "%s", type ? type : "");
        json_decref(config);
        found++;
    }
    if (folder)
        closedir(folder);
    qsort(all, (size_t)found, sizeof *all, by_path);
    for (int i = 0; i < found; i++)
        if (!one_of_each || !is_listed(all[i].type))
            models[num_models++] = all[i];
}

#endif
