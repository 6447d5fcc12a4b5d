/* fuzz_hub.c - whatever the hub or a command line says, names made of it stay in their folder. The first byte picks what is read.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool fine)
{
    if (!fine)
        abort();
}

static void read_id(const char *text)
{
    srv_hub_id id;
    char folder[SRV_HUB_REPO_BYTES + 16];
    if (!srv_hub_id_parse(&id, text))
        return;
    srv_hub_folder(folder, &id);
    claim(strlen(id.repo) + strlen("models--") + 1 == strlen(folder) && !strchr(folder, '/') && !strstr(folder, ".."));
    claim(id.revision[0] && id.revision[0] != '/' && !strstr(id.revision, "..") && !strstr(id.revision, "//"));
    attn_arena *arena = attn_arena_new();
    const char *url = srv_hub_url(arena, "http://h", &id, id.revision, text);
    claim(url && strspn(url + 8, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%/") == strlen(url + 8));
    attn_arena_free(arena);
}

static void read_header(const char *text)
{
    char etag[SRV_HUB_ETAG_BYTES];
    uint64_t start;
    if (srv_hub_etag_parse(etag, text))
        claim((strlen(etag) == 40 || strlen(etag) == 64) && strspn(etag, "0123456789abcdef") == strlen(etag));
    if (srv_hub_range_start(text, &start))
        claim(start < UINT64_C(1000000000000000000));
}

static void read_index(const char *text, size_t n)
{
    attn_arena *arena = attn_arena_new();
    srv_hub_shards shards;
    srv_hub_error error = { 0 };
    bool fine = srv_hub_shards_read(&shards, arena, text, n, &error);
    claim(fine != error.set && (!fine || (shards.count > 0 && shards.count <= SRV_HUB_MOST_SHARDS)));
    for (size_t i = 0; fine && i < shards.count; i++) {
        claim(!strchr(shards.names[i], '/') && shards.names[i][0] != '.' && shards.names[i][0] != '\0');
        claim(i == 0 || strcmp(shards.names[i - 1], shards.names[i]) < 0);
    }
    attn_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size); /* so that reading past the end is seen */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 3 == 0 && strlen(text) < SRV_HUB_NAME_BYTES)
        read_id(text);
    else if (data[0] % 3 == 1)
        read_header(text);
    else if (data[0] % 3 == 2)
        read_index(text, size - 1);
    free(text);
    return 0;
}
