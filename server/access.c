/* access.c - see access.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "confine.h"
#include "keys.h"
#include "log.h"
#include "tls.h"

enum { ERROR_BYTES = 1024 };

/* ---- start and reload -------------------------------------------------------------------------------------------------------- */

static void log_keys(const srv_server *s)
{
    srv_field fields[] = { { .name = "file", .text = s->options->api_key_file }, { .name = "count", .number = srv_keys_count(s->keys) } };
    srv_log(SRV_INFO, "keys", fields, sizeof fields / sizeof *fields);
}

static void log_certificate(const srv_server *s)
{
    char certificate[256];
    srv_tls_describe(s->tls, certificate, sizeof certificate);
    srv_field fields[] = { { .name = "file", .text = s->options->tls_cert }, { .name = "certificate", .text = certificate } };
    srv_log(SRV_INFO, "tls", fields, sizeof fields / sizeof *fields);
}

static bool open_tls(srv_server *s, char *error, size_t size)
{
    const srv_options *o = s->options;
    if (!o->tls_cert && !o->tls_key)
        return true;
    if (!o->tls_cert || !o->tls_key)
        snprintf(error, size, "--tls-%s needs --tls-%s beside it", o->tls_cert ? "cert" : "key", o->tls_cert ? "key" : "cert");
    else
        s->tls = srv_tls_open(o->tls_cert, o->tls_key, error, size);
    return s->tls != NULL;
}

bool srv_access_open(srv_server *s)
{
    char error[ERROR_BYTES];
    bool encrypted = open_tls(s, error, sizeof error), keyed = true;
    if (!encrypted)
        srv_log_plain("attnd: %s", error);
    if (s->options->max_requests_per_key > 0 && !s->options->api_key_file) {
        srv_log_plain("attnd: --max-requests-per-key needs --api-key-file beside it");
        keyed = false;
    }
    if (s->options->api_key_file) {
        s->keys = srv_keys_open(s->options->api_key_file, error, sizeof error);
        keyed = s->keys != NULL;
        if (!keyed)
            srv_log_plain("attnd: %s", error);
    }
    if (s->tls)
        log_certificate(s);
    if (s->keys)
        log_keys(s);
    return encrypted && keyed;
}

void srv_access_reload(srv_server *s)
{
    char error[ERROR_BYTES];
    bool encrypted = !s->tls || srv_tls_reload(s->tls, error, sizeof error);
    if (!encrypted)
        srv_log_message(SRV_ERROR, "tls", "the certificate of before stays: %s", error);
    else if (s->tls)
        log_certificate(s);
    bool keyed = !s->keys || srv_keys_reload(s->keys, error, sizeof error);
    if (!keyed)
        srv_log_message(SRV_ERROR, "keys", "the keys of before stay: %s", error);
    else if (s->keys)
        log_keys(s);
    if (!s->keys && !s->tls)
        srv_log_message(SRV_INFO, "reload", "SIGHUP: there are neither keys nor a certificate to read again");
    atomic_store(&s->stale, !encrypted || !keyed);
}

void srv_access_close(srv_server *s)
{
    srv_keys_close(s->keys);
    srv_tls_close(s->tls);
    s->keys = NULL;
    s->tls = NULL;
}

void srv_access_warn(const srv_server *s)
{
    const char *host = s->options->host;
    bool loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "[::1]") == 0 || strcmp(host, "localhost") == 0;
    if (!loopback && !s->keys)
        srv_log_message(SRV_WARN, "open", "whoever reaches %s may ask: there is no --api-key-file", host);
}

void srv_access_confine(const srv_server *s)
{
    char why[128];
    if (strcmp(s->options->seccomp, "off") == 0)
        return;
    if (srv_confine(s->options->unix_socket != NULL, why, sizeof why))
        srv_log_message(SRV_INFO, "seccomp", "no other programs, no files written, no connections made from now on");
    else
        srv_log_message(SRV_WARN, "seccomp", "the process is not confined: %s", why);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------ */

static bool needs_key(const srv_exchange *x)
{
    const char *path = x->request.path;
    return !x->side && x->server->keys && (strncmp(path, "/v1/", 4) == 0 || strcmp(path, "/metrics") == 0);
}

bool srv_access_enter(srv_exchange *x, const char *authorization, api_problem *problem)
{
    if (!needs_key(x))
        return true;
    x->key = srv_keys_find(x->server->keys, authorization);
    if (x->key)
        return true;
    return api_fail(problem, API_UNAUTHORIZED, NULL, "%s",
                    authorization ? "the key is not one of this server's" : "a key is needed: Authorization: Bearer KEY");
}

bool srv_access_begin(srv_exchange *x, api_problem *problem)
{
    uint64_t most = x->server->options->max_requests_per_key;
    if (!x->key)
        return true;
    bool fits = srv_key_begin(x->key, most);
    atomic_store(&x->in_work, fits);
    return fits || api_fail_limit(problem, API_TOO_MANY_REQUESTS, NULL, most, most + 1, "%" PRIu64 " requests with this key are in work already", most);
}

void srv_access_done(srv_exchange *x)
{
    if (atomic_exchange(&x->in_work, false))
        srv_key_end(x->key);
}

void srv_access_leave(srv_exchange *x)
{
    srv_access_done(x);
    if (x->key)
        srv_key_drop(x->key);
}
