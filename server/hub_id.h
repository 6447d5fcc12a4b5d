/* hub_id.h - the hub's names, and what is read of its files: pure functions, for which nothing from outside is too strange. All but srv_hub_shards work in
 * place and allocate nothing. Any thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_ID_H
#define HUB_ID_H

#include <stdbool.h>
#include <stddef.h>

#include "attn_base.h"

enum {
    SRV_HUB_REPO_BYTES = 200,     /* "org/name", 96 bytes each at most */
    SRV_HUB_REVISION_BYTES = 200, /* our own limit: a file's name has 255 */
    SRV_HUB_NAME_BYTES = 200,     /* of a file, likewise */
    SRV_HUB_COMMIT_BYTES = 41,
    SRV_HUB_ETAG_BYTES = 65,
    SRV_HUB_MOST_SHARDS = 1000
};

/* The first failure. `definite`: the endpoint has said that there is no such thing, or none that can be read; what the cache has of old does not help. */
typedef struct srv_hub_error {
    bool set, definite;
    char text[1400];
} srv_hub_error;

/* Records the first failure; returns false. */
bool srv_hub_fail(srv_hub_error *, const char *fmt, ...) ATTN_PRINTF(2, 3);

typedef struct srv_hub_id {
    char repo[SRV_HUB_REPO_BYTES];         /* "org/name" */
    char revision[SRV_HUB_REVISION_BYTES]; /* "main" where none was given */
} srv_hub_id;

/* "org/name[@revision]", by the hub's rules for names and git's for references. False: it is something else. */
bool srv_hub_id_parse(srv_hub_id *, const char *text);
/* 40 lower-case hexadecimal digits. */
bool srv_hub_is_commit(const char *text);
/* A name that stays in its directory and can be shown: visible ASCII, no '/', no '.' at its begin, SRV_HUB_NAME_BYTES at most with its NUL. */
bool srv_hub_is_file_name(const char *name, size_t n);
/* What an ETag header holds, without W/ and quotes: 64 hexadecimal digits (SHA-256 of the file) or 40 (git's SHA-1). False: it is neither. */
bool srv_hub_etag_parse(char etag[SRV_HUB_ETAG_BYTES], const char *header);
/* The folder of a model in the cache, "models--org--name". */
void srv_hub_folder(char folder[SRV_HUB_REPO_BYTES + 16], const srv_hub_id *);
/* "ENDPOINT/org/name/resolve/REVISION/FILE", revision and file percent-encoded. NULL: no memory. */
char *srv_hub_url(attn_arena *, const char *endpoint, const srv_hub_id *, const char *revision, const char *file);
/* A formatted string in the arena. NULL: no memory. */
char *srv_hub_text(attn_arena *, const char *fmt, ...) ATTN_PRINTF(2, 3);

/* Where a 206 begins, by its Content-Range ("bytes 5-9/10"). False: it does not say so. */
bool srv_hub_range_start(const char *header, uint64_t *start);

typedef struct srv_hub_shards {
    char **names; /* in the arena, by name, none twice */
    size_t count;
} srv_hub_shards;

/* The shards that the text of a model.safetensors.index.json names. False: it is no such index, a name would leave the directory, or there are too many. */
bool srv_hub_shards_read(srv_hub_shards *, attn_arena *, const char *text, size_t n, srv_hub_error *);

#endif
