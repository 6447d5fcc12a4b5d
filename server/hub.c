/* hub.c - see the header: which files of a model are needed, where each is, and in what order they come.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attn_model.h"
#include "hub_transfer.h"
#include "log.h"

enum { MOST_WANTED = SRV_HUB_MOST_SHARDS + 16 };

#define MIB                    (UINT64_C(1) << 20)
#define MOST_TEXT              (256 * MIB) /* config, tokenizer, vocabulary: ten times the largest there are */
#define MOST_INDEX             (64 * MIB)
#define MOST_WEIGHTS           (UINT64_C(1) << 50) /* the disk decides before */
#define CONVERT_WITH           "convert it once: python3 -c \"import transformers as t; m, r, d = '%s', '%s', 'FOLDER'; c = t.AutoConfig.from_pretrained(m, revision=r); "
#define CONVERT_WITH_MODEL     "getattr(t, c.architectures[0]).from_pretrained(m, revision=r).save_pretrained(d); "
#define CONVERT_WITH_TOKENIZER "t.AutoTokenizer.from_pretrained(m, revision=r).save_pretrained(d)\", and give --model FOLDER"
#define CONVERT                CONVERT_WITH CONVERT_WITH_MODEL CONVERT_WITH_TOKENIZER

static const char config[] = "config.json", single[] = "model.safetensors", index_name[] = "model.safetensors.index.json";
static const char *const pickles[] = { "pytorch_model.bin", "pytorch_model.bin.index.json" };
static const char *const extras[] = { "generation_config.json", "tokenizer_config.json" };
/* As core looks for a tokenizer: the first row whose first file is there. */
static const char *const tokenizers[][2] = { { "tokenizer.json", NULL }, { "merges.txt", "vocab.json" }, { "vocab.txt", NULL } };
static const char *const sentencepieces[] = { "tokenizer.model", "spiece.model", "sentencepiece.bpe.model" };

#define COUNT(array) (sizeof array / sizeof *array)

/* A file that the cache lacks. */
typedef struct wanted {
    const char *file;
    srv_hub_head head;
    uint64_t most;
} wanted;

typedef struct hub {
    attn_arena *arena;
    srv_hub_settings settings;
    srv_hub_id id;
    srv_hub_cache cache;
    srv_hub_transfer *net; /* NULL: nothing is asked (yet) */
    bool patient;          /* failures are tried again: the cache has nothing to fall back on */
    bool known;            /* what the commit's texts ask for, attnd has */
    char commit[SRV_HUB_COMMIT_BYTES];
    wanted *wanted;
    size_t num_wanted;
    srv_hub_error error;
} hub;

/* A failure for which the cache is no remedy. Returns false. */
static bool ATTN_PRINTF(2, 3) refuse(hub *h, const char *fmt, ...)
{
    char text[sizeof h->error.text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    h->error.definite |= !h->error.set;
    return srv_hub_fail(&h->error, "%s", text);
}

/* ---- which files ---------------------------------------------------------------------------------------------------------- */

typedef enum answer { NO, YES, FAILED } answer;

/* Does the commit have this file? From the cache where it knows; then head->etag is empty. */
static answer has(hub *h, const char *file, srv_hub_head *head)
{
    *head = (srv_hub_head){ .there = true };
    switch (srv_hub_cache_look(&h->cache, h->commit, file)) {
    case SRV_HUB_PRESENT:
        return YES;
    case SRV_HUB_ABSENT:
        return NO;
    case SRV_HUB_FAILED:
        return FAILED;
    case SRV_HUB_UNKNOWN:
        break;
    }
    if (!srv_hub_ask(h->net, h->commit, file, h->patient, head))
        return FAILED;
    if (head->there && strcmp(head->commit, h->commit) != 0) {
        srv_hub_fail(&h->error, "%s: asked for at commit %s, but the answer is of %s", file, h->commit, head->commit);
        return FAILED;
    }
    if (!head->there && strcmp(head->commit, h->commit) == 0) /* a hub's own 404, and not that of something in between */
        srv_hub_cache_note_absent(&h->cache, h->commit, file);
    return head->there ? YES : NO;
}

/* The same, and what the cache lacks is put on the list. */
static answer want(hub *h, const char *file, uint64_t most)
{
    srv_hub_head head;
    answer a = has(h, file, &head);
    if (a != YES || !head.etag[0])
        return a;
    if (head.size >= 0 && (uint64_t)head.size > most) {
        srv_hub_fail(&h->error, "%s: has %" PRId64 " bytes; %" PRIu64 " are the most", file, head.size, most);
        return FAILED;
    }
    h->wanted[h->num_wanted++] = (wanted){ .file = file, .head = head, .most = most };
    return YES;
}

/* A file that must be there, since `by` says so. */
static bool must_have(hub *h, const char *file, uint64_t most, const char *by)
{
    answer a = want(h, file, most);
    if (a == NO)
        refuse(h, "%s: %s has no such file at commit %s, %s", file, h->id.repo, h->commit, by);
    return a == YES;
}

static answer want_extras(hub *h)
{
    for (size_t i = 0; i < COUNT(extras); i++) {
        if (want(h, extras[i], MOST_TEXT) == FAILED)
            return FAILED;
    }
    return YES;
}

/* The model's tokenizer, if it has one that can be read. One that cannot is refused before gigabytes of weights come. */
static bool want_tokenizer(hub *h)
{
    srv_hub_head head;
    for (size_t i = 0; i < COUNT(tokenizers); i++) {
        answer a = want(h, tokenizers[i][0], MOST_TEXT);
        if (a == YES && tokenizers[i][1])
            return must_have(h, tokenizers[i][1], MOST_TEXT, "but merges.txt, which goes with it");
        if (a != NO)
            return a == YES;
    }
    for (size_t i = 0; i < COUNT(sentencepieces); i++) {
        answer a = has(h, sentencepieces[i], &head);
        if (a == YES)
            refuse(h, "%s: sentencepiece models are not read; " CONVERT, sentencepieces[i], h->id.repo, h->commit);
        if (a != NO)
            return false;
    }
    return true;
}

static bool refuse_weights(hub *h)
{
    srv_hub_head head;
    for (size_t i = 0; i < COUNT(pickles); i++) {
        answer a = has(h, pickles[i], &head);
        if (a == YES)
            refuse(h, "%s: is a pickle, which can run code and is not read; " CONVERT, pickles[i], h->id.repo, h->commit);
        if (a != NO)
            return false;
    }
    return refuse(h, "%s: is not among the files of %s at commit %s, and neither is %s", single, h->id.repo, h->commit, index_name);
}

/* A whole file of the snapshot. NULL: the error is set. */
static char *read_file(hub *h, const char *file, size_t *size)
{
    char *path = srv_hub_cache_path(&h->cache, h->commit, file), *bytes = NULL;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat info;
    if (fd >= 0 && fstat(fd, &info) == 0 && (uint64_t)info.st_size <= MOST_INDEX)
        bytes = attn_arena_take(h->arena, (size_t)info.st_size + 1, 1);
    *size = 0;
    for (ssize_t n = 1; bytes && *size < (size_t)info.st_size && n > 0; *size += n > 0 ? (size_t)n : 0)
        n = read(fd, bytes + *size, (size_t)info.st_size - *size);
    if (fd >= 0)
        close(fd);
    if (!bytes)
        srv_hub_fail(&h->error, "%s: cannot be read, or has more than %" PRIu64 " bytes", path ? path : file, MOST_INDEX);
    return bytes;
}

static bool read_shards(hub *h, srv_hub_shards *shards)
{
    size_t size;
    const char *text = read_file(h, index_name, &size);
    return text && srv_hub_shards_read(shards, h->arena, text, size, &h->error);
}

/* ---- fetching ------------------------------------------------------------------------------------------------------------- */

/* The blob, whole and held against its name. What an earlier process left behind may be rotten: then it is fetched once more from the begin. */
static bool fill(hub *h, const wanted *w, srv_hub_blob *blob, srv_hub_progress *progress)
{
    const srv_hub_get get = { .revision = h->commit, .file = w->file, .size = w->head.size, .most = w->most, .blob = blob, .progress = progress };
    char found[SRV_HUB_ETAG_BYTES];
    bool right = false, resumed = blob->have > 0;
    srv_hub_progress_file(progress, w->file);
    srv_hub_progress_move(progress, (int64_t)blob->have);
    for (;;) {
        if (!srv_hub_fetch_blob(h->net, &get) || !srv_hub_blob_check(blob, found, &right))
            return false;
        if (right)
            return srv_hub_blob_keep(blob);
        srv_hub_progress_move(progress, -(int64_t)blob->have);
        if (!srv_hub_blob_restart(blob))
            return false;
        if (!resumed)
            return srv_hub_fail(&h->error, "%s: what came has the hash %s, expected was %s", w->file, found, w->head.etag);
        srv_hub_progress_pause(progress);
        srv_log_message(SRV_WARN, "hub", "%s: what an earlier download left behind is damaged: it begins anew", w->file);
        resumed = false;
    }
}

static bool fetch(hub *h, const wanted *w, srv_hub_progress *progress)
{
    srv_hub_blob blob;
    if (!srv_hub_blob_open(&blob, &h->cache, w->head.etag, w->head.size))
        return false;
    bool fine = blob.there || fill(h, w, &blob, progress);
    srv_hub_blob_close(&blob);
    return fine && srv_hub_cache_link(&h->cache, h->commit, w->file, w->head.etag);
}

/* Whether the weights may come, behind all else: gigabytes are not fetched to be refused. */
static bool may_come(hub *h)
{
    attn_error error = { .code = ATTN_OK };
    char *folder = h->known ? NULL : srv_hub_cache_path(&h->cache, h->commit, NULL);
    if (folder && attn_model_check_texts(folder, &error) != ATTN_OK)
        return refuse(h, "%s%s%s", error.where, *error.where ? ": " : "", error.text);
    h->known = true;
    return true;
}

/* Everything on the list, which is empty then. */
static bool fetch_wanted(hub *h)
{
    uint64_t need = 0, begun = 0;
    bool fine = true;
    for (size_t i = 0; i < h->num_wanted; i++) {
        const srv_hub_head *head = &h->wanted[i].head;
        uint64_t size = head->size > 0 ? (uint64_t)head->size : 0;
        if (srv_hub_blob_look(&h->cache, head->etag, head->size) != SRV_HUB_UNKNOWN)
            continue;
        need = attn_plus(need, size);
        begun += attn_least(srv_hub_blob_begun(&h->cache, head->etag), size);
    }
    if (h->num_wanted == 0)
        return true;
    if (!srv_hub_blob_room(&h->cache, need - begun))
        return false;
    srv_hub_progress progress;
    srv_log_message(SRV_INFO, "hub", "%s at commit %s: %zu files, %" PRIu64 " bytes to be downloaded to %s", h->id.repo, h->commit, h->num_wanted, need - begun,
                    h->cache.path);
    srv_hub_progress_begin(&progress, h->id.repo, 0, need);
    for (size_t i = 0; i < h->num_wanted && fine; i++)
        fine = (h->wanted[i].most < MOST_WEIGHTS || may_come(h)) && fetch(h, &h->wanted[i], &progress);
    h->num_wanted = 0;
    if (fine)
        srv_hub_progress_end(&progress);
    else
        srv_hub_progress_pause(&progress);
    return fine;
}

static bool fetch_weights(hub *h)
{
    answer a = want(h, single, MOST_WEIGHTS);
    if (a != NO)
        return a == YES && fetch_wanted(h);
    a = want(h, index_name, MOST_INDEX);
    if (a != YES)
        return a == NO && refuse_weights(h);
    srv_hub_shards shards;
    if (!fetch_wanted(h) || !read_shards(h, &shards))
        return false;
    for (size_t i = 0; i < shards.count; i++) {
        if (!must_have(h, shards.names[i], MOST_WEIGHTS, "but its index names it"))
            return false;
    }
    return fetch_wanted(h);
}

/* ---- where the snapshot comes from ---------------------------------------------------------------------------------------- */

/* Has the cache all that it takes of h->commit? Sets the error where a file is damaged or leads out of the cache. */
static bool is_complete(hub *h)
{
    const srv_hub_cache *c = &h->cache;
    srv_hub_shards shards;
    if (srv_hub_cache_look(c, h->commit, config) != SRV_HUB_PRESENT)
        return false;
    for (size_t i = 0; i < COUNT(tokenizers); i++) /* what leads out of the cache is seen here; what is missing, core gets by without */
        srv_hub_cache_look(c, h->commit, tokenizers[i][0]);
    srv_hub_cache_look(c, h->commit, "vocab.json");
    for (size_t i = 0; i < COUNT(extras); i++)
        srv_hub_cache_look(c, h->commit, extras[i]);
    if (srv_hub_cache_look(c, h->commit, single) == SRV_HUB_PRESENT)
        return !h->error.set;
    if (srv_hub_cache_look(c, h->commit, index_name) != SRV_HUB_PRESENT || !read_shards(h, &shards))
        return false;
    for (size_t i = 0; i < shards.count; i++) {
        if (srv_hub_cache_look(c, h->commit, shards.names[i]) != SRV_HUB_PRESENT)
            return false;
    }
    return !h->error.set;
}

/* The commit that the revision is now, from the endpoint. */
static bool resolve(hub *h)
{
    srv_hub_head head;
    if (srv_hub_is_commit(h->id.revision)) {
        memcpy(h->commit, h->id.revision, sizeof h->commit);
        return true;
    }
    if (!srv_hub_ask(h->net, h->id.revision, config, h->patient, &head))
        return false;
    if (!head.there && !head.commit[0])
        return refuse(h, "%s has no model %s with a revision \"%s\" and a %s (404)", h->settings.endpoint, h->id.repo, h->id.revision, config);
    memcpy(h->commit, head.commit, sizeof h->commit);
    return true;
}

/* All that it takes, asked for and fetched. */
static bool update(hub *h)
{
    h->net = srv_hub_transfer_new(&h->settings, &h->id, h->arena, &h->error);
    if (!h->net)
        return srv_hub_fail(&h->error, "no memory for libcurl");
    if (!resolve(h) || !must_have(h, config, MOST_TEXT, "so it is no model for transformers") || want_extras(h) == FAILED || !want_tokenizer(h) ||
        !fetch_weights(h))
        return false;
    srv_hub_error ignored = { 0 };
    h->cache.error = &ignored; /* a cache that is only read serves as well */
    srv_hub_cache_remember(&h->cache, h->id.revision, h->commit);
    h->cache.error = &h->error;
    return true;
}

/* The snapshot that the cache has of the revision, if it is complete. */
static bool find_cached(hub *h, char commit[SRV_HUB_COMMIT_BYTES])
{
    bool found = srv_hub_cache_commit(&h->cache, h->id.revision, h->commit) && is_complete(h);
    memcpy(commit, h->commit, SRV_HUB_COMMIT_BYTES);
    return found;
}

static bool stay_offline(hub *h, bool cached)
{
    if (cached)
        return true;
    return srv_hub_fail(&h->error, "HF_HUB_OFFLINE is set, and %s has no complete snapshot of %s at revision \"%s\"", h->settings.cache, h->id.repo,
                        h->id.revision);
}

/* Finds h->commit, complete in the cache. */
static bool acquire(hub *h)
{
    char cached[SRV_HUB_COMMIT_BYTES] = "";
    bool known = find_cached(h, cached);
    if (h->settings.offline)
        return stay_offline(h, known);
    h->error = (srv_hub_error){ 0 }; /* what is wrong with the cache shows again where it matters */
    h->patient = !known;
    if (update(h))
        return true;
    if (!known || h->error.definite)
        return false;
    memcpy(h->commit, cached, sizeof cached);
    srv_log_message(SRV_WARN, "hub", "%s; the snapshot of %s that is in the cache is used: commit %s", h->error.text, h->id.repo, cached);
    return true;
}

/* ---- the door ------------------------------------------------------------------------------------------------------------- */

bool srv_hub_is_model(const char *source)
{
    srv_hub_id id;
    return srv_hub_id_parse(&id, source) && access(source, F_OK) != 0;
}

static char *open_and_acquire(hub *h)
{
    if (!srv_hub_settings_read(&h->settings, h->arena, &h->error))
        return NULL;
    srv_hub_cache_open(&h->cache, h->arena, h->settings.cache, &h->id, &h->error);
    h->wanted = attn_arena_take(h->arena, MOST_WANTED, sizeof *h->wanted);
    if (!h->wanted || !acquire(h)) {
        srv_hub_fail(&h->error, "no memory");
        return NULL;
    }
    char *path = srv_hub_cache_path(&h->cache, h->commit, NULL);
    return path ? attn_strdup(path) : NULL;
}

char *srv_hub_fetch(const char *text, char *error, size_t size)
{
    hub h = { .arena = attn_arena_new(), .cache = { .root = -1 } };
    char *directory = h.arena && srv_hub_id_parse(&h.id, text) ? open_and_acquire(&h) : NULL;
    if (directory)
        srv_log_message(SRV_INFO, "hub", "%s at revision %s is commit %s", h.id.repo, h.id.revision, h.commit);
    else
        snprintf(error, size, "%s", h.error.set ? h.error.text : "no memory");
    srv_hub_transfer_free(h.net);
    srv_hub_cache_close(&h.cache);
    attn_arena_free(h.arena);
    return directory;
}
