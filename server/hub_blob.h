/* hub_blob.h - one blob on its way into the cache: locked, resumed, held against its name, and only then given it.
 *
 *     open -> write at `have` and after -> check -> keep -> close
 *
 * What has come so far stands in blobs/ETAG.incomplete, from process to process. Writers lock .locks/models--org--name/ETAG.lock, as Python does; where a file
 * system has no locks, two of them write the same bytes to the same places, and the check has the last word.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_BLOB_H
#define HUB_BLOB_H

#include "hub_cache.h"

typedef struct srv_hub_blob {
    srv_hub_cache *cache;
    const char *etag; /* borrowed */
    bool there;       /* somebody else has finished it: nothing is left to do */
    int folder, lock, fd;
    uint64_t have; /* bytes of it that are in the file */
} srv_hub_blob;

/* Is the whole blob there? size -1: any will do. PRESENT, UNKNOWN or FAILED. */
srv_hub_state srv_hub_blob_look(const srv_hub_cache *, const char *etag, int64_t size);
/* Bytes of it that an earlier download has left behind. */
uint64_t srv_hub_blob_begun(const srv_hub_cache *, const char *etag);
/* May `need` more bytes be written? False: the error says how many may. */
bool srv_hub_blob_room(srv_hub_cache *, uint64_t need);

/* Waits for the lock as long as another process has it. False: the error is set, and there is nothing to close. */
bool srv_hub_blob_open(srv_hub_blob *, srv_hub_cache *, const char *etag, int64_t size);
/* Writes behind `have`. False: the error is set. */
bool srv_hub_blob_write(srv_hub_blob *, const void *bytes, size_t n);
/* Forgets what has come. */
bool srv_hub_blob_restart(srv_hub_blob *);
/* Reads it all again: does it hash to its name? `found` gets what it hashes to. False: the error is set. */
bool srv_hub_blob_check(srv_hub_blob *, char found[SRV_HUB_ETAG_BYTES], bool *right);
bool srv_hub_blob_keep(srv_hub_blob *);
void srv_hub_blob_close(srv_hub_blob *);

#endif
