/* hub_transfer.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_transfer.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "server.h"

enum {
    MOST_HOPS = 10,
    MOST_TRIES = 5,
    FIRST_PAUSE_MS = 500,
    MOST_RETRY_AFTER = 60,     /* seconds; who asks for more is asked again all the same */
    ENOUGH_PROGRESS = 1 << 20, /* bytes after which a lost connection counts as the first one again */
    MOST_PAGE = 1 << 18        /* bytes of an error's or a redirect's body, which nobody reads */
};

struct srv_hub_transfer {
    CURL *curl;
    struct curl_slist *plain, *with_token; /* headers of requests; with_token goes to the endpoint alone */
    const srv_hub_settings *settings;
    const srv_hub_id *id;
    attn_arena *arena;
    srv_hub_error *error;
    const srv_hub_get *get; /* of the request that runs; NULL: a HEAD */
    bool begun;             /* its body has */
    size_t page;            /* bytes of a body that nobody reads */
    char reason[CURL_ERROR_SIZE];
    char why[CURL_ERROR_SIZE + 256]; /* the last failure that may be tried again, as a sentence */
};

typedef enum outcome { DONE, AGAIN, FATAL } outcome; /* FATAL: the error is set */

/* What is asked for: one of head and get. */
typedef struct job {
    const char *revision, *file;
    srv_hub_head *head;
    const srv_hub_get *get;
} job;

/* ---- one request ---------------------------------------------------------------------------------------------------------- */

static const char *header(const srv_hub_transfer *t, const char *name)
{
    struct curl_header *found;
    return curl_easy_header(t->curl, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value : NULL;
}

static long status_of(const srv_hub_transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* A body of 200 or 206 begins: does it belong behind what there is? */
static bool begin_body(srv_hub_transfer *t)
{
    const srv_hub_get *get = t->get;
    uint64_t start = 0;
    const char *range = header(t, "Content-Range");
    t->begun = true;
    if (status_of(t) == 206 && (!range || !srv_hub_range_start(range, &start) || start != get->blob->have))
        return srv_hub_fail(t->error, "%s: bytes from %" PRIu64 " on were asked for, but the answer has \"%.60s\"", get->file, get->blob->have,
                            range ? range : "");
    if (start == get->blob->have)
        return true;
    srv_hub_progress_move(get->progress, -(int64_t)get->blob->have); /* the whole file comes */
    return srv_hub_blob_restart(get->blob);
}

static size_t receive(char *bytes, size_t size, size_t count, void *ctx)
{
    srv_hub_transfer *t = ctx;
    size_t n = size * count;
    const srv_hub_get *get = t->get;
    if (!get || status_of(t) / 100 != 2) {
        t->page += n;
        return t->page <= MOST_PAGE ? n : CURL_WRITEFUNC_ERROR;
    }
    if (!t->begun && !begin_body(t))
        return CURL_WRITEFUNC_ERROR;
    uint64_t most = get->size >= 0 ? (uint64_t)get->size : get->most;
    if (n > most - get->blob->have) {
        srv_hub_fail(t->error, "%s: more bytes come than the %" PRIu64 " that it %s", get->file, most, get->size >= 0 ? "has" : "may have");
        return CURL_WRITEFUNC_ERROR;
    }
    if (!srv_hub_blob_write(get->blob, bytes, n))
        return CURL_WRITEFUNC_ERROR;
    srv_hub_progress_move(get->progress, (int64_t)n);
    return n;
}

static bool url_part(CURLU *url, CURLUPart part, char dst[300])
{
    char *value = NULL;
    bool fine = curl_url_get(url, part, &value, CURLU_DEFAULT_PORT) == CURLUE_OK && strlen(value) < 300;
    snprintf(dst, 300, "%s", fine ? value : "");
    curl_free(value);
    return fine;
}

/* Scheme, host and port of a URL, as libcurl itself understands it. */
static bool origin(const char *text, char scheme[300], char host[300], char port[300])
{
    CURLU *url = curl_url();
    bool fine = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK && url_part(url, CURLUPART_SCHEME, scheme) &&
                url_part(url, CURLUPART_HOST, host) && url_part(url, CURLUPART_PORT, port);
    curl_url_cleanup(url);
    return fine;
}

static bool is_at_endpoint(const srv_hub_transfer *t, const char *url)
{
    char a[3][300], b[3][300];
    return origin(url, a[0], a[1], a[2]) && origin(t->settings->endpoint, b[0], b[1], b[2]) && strcmp(a[0], b[0]) == 0 && strcasecmp(a[1], b[1]) == 0 &&
           strcmp(a[2], b[2]) == 0;
}

static CURLcode request(srv_hub_transfer *t, const char *url, const srv_hub_get *get)
{
    const srv_hub_settings *s = t->settings;
    char range[32];
    t->get = get;
    t->begun = false;
    t->page = 0;
    t->reason[0] = '\0';
    curl_easy_reset(t->curl); /* connections stay */
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, strncmp(s->endpoint, "https:", 6) == 0 ? "https" : "http,https");
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, s->token && is_at_endpoint(t, url) ? t->with_token : t->plain);
    curl_easy_setopt(t->curl, CURLOPT_USERAGENT, "attnd/" SRV_VERSION);
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, s->answer_seconds);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    if (!get) {
        curl_easy_setopt(t->curl, CURLOPT_NOBODY, 1L);
        curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, s->answer_seconds);
    } else {
        curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, s->stall_seconds);
        snprintf(range, sizeof range, "%" PRIu64 "-", get->blob->have);
        if (get->blob->have > 0)
            curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
    }
    CURLcode code = curl_easy_perform(t->curl);
    return code == CURLE_WRITE_ERROR && t->page > MOST_PAGE ? CURLE_OK : code; /* the status says enough */
}

/* Notes what this answer's head says of the file. Of a redirect only what is meant for the file it leads to counts. */
static void note(srv_hub_transfer *t, srv_hub_head *head)
{
    bool last = status_of(t) / 100 == 2;
    const char *commit = header(t, "X-Repo-Commit"), *etag = header(t, "X-Linked-Etag"), *size = header(t, "X-Linked-Size");
    curl_off_t length = -1;
    if (commit && srv_hub_is_commit(commit))
        snprintf(head->commit, sizeof head->commit, "%s", commit);
    if (!etag && last && !head->etag[0])
        etag = header(t, "ETag");
    if (etag)
        srv_hub_etag_parse(head->etag, etag);
    if (last && curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK && head->size < 0)
        head->size = length;
    if (size && size[strspn(size, "0123456789")] == '\0' && strlen(size) < 19)
        head->size = strtoll(size, NULL, 10);
}

/* A request and where it leads to. A HEAD that has learnt enough does not leave the endpoint. */
static CURLcode follow(srv_hub_transfer *t, const char *url, const job *j)
{
    for (int hop = 0; hop < MOST_HOPS && url; hop++) {
        CURLcode code = request(t, url, j->get);
        if (code == CURLE_OK && j->head)
            note(t, j->head);
        char *next = NULL;
        if (code != CURLE_OK || status_of(t) / 100 != 3 || curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &next) != CURLE_OK || !next)
            return code;
        if (j->head && j->head->commit[0] && j->head->etag[0] && !is_at_endpoint(t, next))
            return CURLE_OK;
        url = srv_hub_text(t->arena, "%s", next);
    }
    return url ? CURLE_TOO_MANY_REDIRECTS : CURLE_OUT_OF_MEMORY;
}

/* ---- what came of it ------------------------------------------------------------------------------------------------------ */

static bool is_worth_another(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return true;
    default:
        return false;
    }
}

static outcome judge_failure(srv_hub_transfer *t, const job *j, CURLcode code)
{
    const char *reason = t->reason[0] ? t->reason : curl_easy_strerror(code);
    if (j->get && j->get->size >= 0 && j->get->blob->have > 0)
        snprintf(t->why, sizeof t->why, "%s: broke off after %" PRIu64 " of %" PRId64 " bytes: %s", j->file, j->get->blob->have, j->get->size, reason);
    else
        snprintf(t->why, sizeof t->why, "%s: %.100s cannot be asked: %s", j->file, t->settings->endpoint, reason);
    if (is_worth_another(code))
        return AGAIN;
    srv_hub_fail(t->error, "%s", t->why);
    return FATAL;
}

static outcome judge_absence(srv_hub_transfer *t, const job *j)
{
    const char *code = header(t, "X-Error-Code");
    if (j->get) {
        srv_hub_fail(t->error, "%s: is not there any more (404)", j->file);
        return FATAL;
    }
    j->head->there = false;
    if (code && strcmp(code, "RepoNotFound") == 0)
        srv_hub_fail(t->error, "%s has no model %s (404)", t->settings->endpoint, t->id->repo);
    else if (code && strcmp(code, "RevisionNotFound") == 0)
        srv_hub_fail(t->error, "%s has no revision \"%s\" of %s (404)", t->settings->endpoint, j->revision, t->id->repo);
    t->error->definite = t->error->set;
    return t->error->set ? FATAL : DONE;
}

static outcome judge_status(srv_hub_transfer *t, const job *j, long status)
{
    if (status == 404)
        return judge_absence(t, j);
    snprintf(t->why, sizeof t->why, "%s: %.100s answers %ld", j->file, t->settings->endpoint, status);
    if (status == 408 || status == 429 || status >= 500)
        return AGAIN;
    if ((status == 401 || status == 403) && !t->settings->token)
        srv_hub_fail(t->error, "%s: this wants a token in HF_TOKEN, if the model is private or gated; a model that does not exist is answered so too", t->why);
    else if (status == 401 || status == 403)
        srv_hub_fail(t->error, "%s: the token from HF_TOKEN or its file does not open it; for a gated model its conditions are to be accepted on its page",
                     t->why);
    else
        srv_hub_fail(t->error, "%s; expected was 200", t->why);
    return FATAL;
}

/* The body of a GET ended well: is it all? */
static outcome judge_body(srv_hub_transfer *t, const job *j)
{
    const srv_hub_get *get = j->get;
    if (get->size < 0 || get->blob->have == (uint64_t)get->size)
        return DONE;
    snprintf(t->why, sizeof t->why, "%s: ended after %" PRIu64 " of %" PRId64 " bytes", j->file, get->blob->have, get->size);
    return AGAIN;
}

static outcome try_once(srv_hub_transfer *t, const job *j)
{
    char *url = srv_hub_url(t->arena, t->settings->endpoint, t->id, j->revision, j->file);
    if (j->head)
        *j->head = (srv_hub_head){ .there = true, .size = -1 };
    CURLcode code = url ? follow(t, url, j) : CURLE_OUT_OF_MEMORY;
    long status = status_of(t);
    if (t->error->set)
        return FATAL;
    if (code != CURLE_OK)
        return judge_failure(t, j, code);
    if (j->get && status == 416) { /* what there was is not part of the file */
        snprintf(t->why, sizeof t->why, "%s: has no byte %" PRIu64 " (416)", j->file, j->get->blob->have);
        srv_hub_progress_move(j->get->progress, -(int64_t)j->get->blob->have);
        return srv_hub_blob_restart(j->get->blob) ? AGAIN : FATAL;
    }
    if (status / 100 != 2 && !(j->head && status / 100 == 3 && j->head->etag[0]))
        return judge_status(t, j, status);
    return j->get ? judge_body(t, j) : DONE;
}

/* ---- patience ------------------------------------------------------------------------------------------------------------- */

static void pause_before(srv_hub_transfer *t, const job *j, int tries)
{
    curl_off_t asked = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &asked);
    uint64_t ms = (uint64_t)FIRST_PAUSE_MS << (tries - 1);
    if (asked > 0)
        ms = 1000 * (uint64_t)(asked < MOST_RETRY_AFTER ? asked : MOST_RETRY_AFTER);
    if (j->get)
        srv_hub_progress_pause(j->get->progress);
    srv_log_message(SRV_WARN, "hub", "%s; again in %" PRIu64 " ms", t->why, ms);
    struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    nanosleep(&pause, NULL);
}

static bool try_often(srv_hub_transfer *t, const job *j, int most)
{
    for (int tries = 1;; tries++) {
        uint64_t before = j->get ? j->get->blob->have : 0;
        outcome o = try_once(t, j);
        if (o != AGAIN)
            return o == DONE;
        if (j->get && j->get->blob->have >= before + ENOUGH_PROGRESS)
            tries = 1;
        if (tries >= most)
            return srv_hub_fail(t->error, "%s", t->why);
        pause_before(t, j, tries);
    }
}

bool srv_hub_ask(srv_hub_transfer *t, const char *revision, const char *file, bool patient, srv_hub_head *out)
{
    job j = { .revision = revision, .file = file, .head = out };
    if (!try_often(t, &j, patient ? MOST_TRIES : 1))
        return false;
    if (!out->there)
        return true;
    if (!out->commit[0])
        return srv_hub_fail(t->error, "%s: %s answers without a commit (X-Repo-Commit), as no hub does", file, t->settings->endpoint);
    if (!out->etag[0])
        return srv_hub_fail(t->error, "%s: its ETag is neither a SHA-256 nor a git SHA-1, so what comes could not be checked", file);
    return true;
}

bool srv_hub_fetch_blob(srv_hub_transfer *t, const srv_hub_get *get)
{
    job j = { .revision = get->revision, .file = get->file, .get = get };
    bool whole = get->size >= 0 && get->blob->have == (uint64_t)get->size;
    return whole || try_often(t, &j, MOST_TRIES);
}

/* ---- new and free --------------------------------------------------------------------------------------------------------- */

static bool make_headers(srv_hub_transfer *t)
{
    static const char whole[] = "Accept-Encoding: identity"; /* sizes and ranges are the file's own */
    t->plain = curl_slist_append(NULL, whole);
    if (!t->settings->token)
        return t->plain != NULL;
    char *line = srv_hub_text(t->arena, "Authorization: Bearer %s", t->settings->token);
    t->with_token = line ? curl_slist_append(NULL, line) : NULL;
    return t->plain && t->with_token && curl_slist_append(t->with_token, whole);
}

srv_hub_transfer *srv_hub_transfer_new(const srv_hub_settings *settings, const srv_hub_id *id, attn_arena *arena, srv_hub_error *error)
{
    srv_hub_transfer *t = attn_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (srv_hub_transfer){ .settings = settings, .id = id, .arena = arena, .error = error };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        attn_free(t);
        return NULL;
    }
    t->curl = curl_easy_init();
    if (t->curl && make_headers(t))
        return t;
    srv_hub_transfer_free(t);
    return NULL;
}

void srv_hub_transfer_free(srv_hub_transfer *t)
{
    if (!t)
        return;
    curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->plain);
    curl_slist_free_all(t->with_token);
    curl_global_cleanup();
    attn_free(t);
}
