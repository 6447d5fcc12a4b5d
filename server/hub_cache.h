/* hub_cache.h - one model's folder in the cache: what is there, and putting things there.
 *
 * Reading follows symbolic links only as long as they stay in the cache's root; writing follows none below it. So a cache that somebody else filled can
 * neither have a file outside read as a model nor have one overwritten. Whatever gets a name gets it in one step (rename), so readers never see halves.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_CACHE_H
#define HUB_CACHE_H

#include "hub_id.h"

typedef struct srv_hub_cache {
    attn_arena *arena;
    const char *path;                     /* of the root, as given */
    const char *real;                     /* the same without symbolic links; NULL: it is not there (yet) */
    char folder[SRV_HUB_REPO_BYTES + 16]; /* "models--org--name" */
    int root;                             /* the root, open; -1 until something is written */
    srv_hub_error *error;
} srv_hub_cache;

typedef enum srv_hub_state {
    SRV_HUB_UNKNOWN, /* nothing is cached about it */
    SRV_HUB_ABSENT,  /* the commit has no such file, and the cache knows */
    SRV_HUB_PRESENT,
    SRV_HUB_FAILED /* the error is set */
} srv_hub_state;

/* Looks only. `path`, arena and error must outlive the cache; errors of all functions go there. */
void srv_hub_cache_open(srv_hub_cache *, attn_arena *, const char *path, const srv_hub_id *, srv_hub_error *);
void srv_hub_cache_close(srv_hub_cache *);

/* The commit that the cache has for a revision: itself, or what refs/REVISION says. False: none. */
bool srv_hub_cache_commit(const srv_hub_cache *, const char *revision, char commit[SRV_HUB_COMMIT_BYTES]);
/* A regular file by its path below the root. PRESENT, UNKNOWN or, when it is outside the root, FAILED. */
srv_hub_state srv_hub_cache_look_at(const srv_hub_cache *, const char *relative);
/* A file of a snapshot. */
srv_hub_state srv_hub_cache_look(const srv_hub_cache *, const char *commit, const char *file);
/* The path of a snapshot, or of a file in it (file NULL: the snapshot). In the arena. NULL: no memory. */
char *srv_hub_cache_path(const srv_hub_cache *, const char *commit, const char *file);

/* A folder below the root, "models--org--name/blobs", made where it is missing. -1: the error is set. */
int srv_hub_cache_folder(srv_hub_cache *, const char *relative);
/* A path below the root as it is said and looked up. In the arena; empty without memory. */
const char *srv_hub_cache_name(const srv_hub_cache *, const char *relative);

/* snapshots/COMMIT/FILE -> ../../blobs/ETAG */
bool srv_hub_cache_link(srv_hub_cache *, const char *commit, const char *file, const char *etag);
/* refs/REVISION, where it says something else. */
bool srv_hub_cache_remember(srv_hub_cache *, const char *revision, const char *commit);
/* .no_exist/COMMIT/FILE; it does no harm where that cannot be written. */
void srv_hub_cache_note_absent(srv_hub_cache *, const char *commit, const char *file);

#endif
