/* hub.h - a model named by its hub id: fetched into the cache that Python's huggingface_hub has, or found there. Core opens directories; this makes one.
 *
 * An id is org/name or org/name@revision: a branch, a tag or a commit; without one it is "main". What is fetched is what core opens and nothing else: config.json,
 * generation_config.json, tokenizer_config.json, tokenizer.json or the vocabulary files of before it, model.safetensors or its index and shards.
 *
 * The layout is the standard one, below HF_HUB_CACHE (else HF_HOME/hub): models--org--name/{blobs/ETAG, snapshots/COMMIT/FILE -> ../../blobs/ETAG,
 * refs/REVISION, .no_exist/COMMIT/FILE}, and .locks beside it. Every blob is held against its name (SHA-256, or git's SHA-1) before it gets it, so a
 * file that is there is whole. A reference is written last: a snapshot it names is complete, whatever ended a download before.
 *
 * Environment: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT mean
 * what they mean in Python. The token goes to the endpoint alone, never where that redirects to. Proxies are libcurl's business (https_proxy, no_proxy).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HUB_H
#define HUB_H

#include <stdbool.h>
#include <stddef.h>

/* Is this a hub id, and is nothing of that name in the file system? What exists wins. */
bool srv_hub_is_model(const char *source);

/* The directory of the model's snapshot, to be freed with attn_free. Asks the endpoint which commit the revision is now, and fetches what the cache lacks of it.
 * Where that fails and the cache has a complete snapshot of the revision, that one is used and the log says so; not where the endpoint says that there is no
 * such model, revision or file, or none that can be read. With HF_HUB_OFFLINE nothing is asked, nor for a commit of which the cache knows every file, there or not.
 * NULL: `error` is one sentence that names the file, what was expected and what was found: no such model, a token that is wanted, no endpoint, nothing cached, a
 * body cut short, a hash that is another, no room on the disk, weights or tokenizer in a form that is not read (with the command that converts it).
 * Logs its progress, on a terminal in one line that is rewritten. One thread at a time, before the server has others that use libcurl; may take hours. Other
 * processes, Python's too, may use the cache meanwhile: one of them downloads a blob, the others wait for it. */
char *srv_hub_fetch(const char *id, char *error, size_t size);

#endif
