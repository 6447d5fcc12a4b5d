/* hub_transfer.h - asking the endpoint: what a file is (HEAD), and for its bytes (GET), patiently. libcurl's place in the hub.
 *
 * Redirects are followed here and not by libcurl, because two things depend on them: the token goes only to the endpoint's own origin (scheme, host, port),
 * and what describes a large file stands in the head of the redirect that leads away from there. An https endpoint never leads to plain http.
 * Lost connections, time-outs and the statuses 408, 429 and 5xx are tried again, with growing pauses (or the one that Retry-After asks for), MOST_TRIES
 * times without progress.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_TRANSFER_H
#define HUB_TRANSFER_H

#include "hub_blob.h"
#include "hub_progress.h"
#include "hub_settings.h"

typedef struct srv_hub_transfer srv_hub_transfer;

/* What a HEAD says of a file. */
typedef struct srv_hub_head {
    bool there;                        /* false: the model has no such file at this revision; then only commit may be set */
    char commit[SRV_HUB_COMMIT_BYTES]; /* "": not said */
    char etag[SRV_HUB_ETAG_BYTES];
    int64_t size; /* -1: not said */
} srv_hub_head;

/* Settings, id and arena are borrowed. NULL: no memory. */
srv_hub_transfer *srv_hub_transfer_new(const srv_hub_settings *, const srv_hub_id *, attn_arena *, srv_hub_error *);
void srv_hub_transfer_free(srv_hub_transfer *); /* NULL is fine */

/* Asks about a file. `patient`: tries again; else one failure is enough. False: the error is set. A 404 for the model or the revision is an error that is
 * `definite`; one for the file is an answer. */
bool srv_hub_ask(srv_hub_transfer *, const char *revision, const char *file, bool patient, srv_hub_head *out);
/* Fetches what the blob lacks of the file; `size` as srv_hub_ask had it, `most` what it may be at most where that is -1. False: the error is set; what has
 * come is kept in the blob. */
typedef struct srv_hub_get {
    const char *revision, *file;
    int64_t size;
    uint64_t most;
    srv_hub_blob *blob;
    srv_hub_progress *progress;
} srv_hub_get;
bool srv_hub_fetch_blob(srv_hub_transfer *, const srv_hub_get *);

#endif
