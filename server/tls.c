/* tls.c - see tls.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attn_base.h"
#include "log.h"

enum { MOST_CERTIFICATES = 16, KEY_ID_BYTES = 64 };

typedef struct identity {
    gnutls_x509_crt_t chain[MOST_CERTIFICATES]; /* the server's own first */
    unsigned count;
    gnutls_x509_privkey_t key; /* NULL: none */
} identity;

struct srv_tls {
    char *cert_path, *key_path; /* fixed */
    pthread_mutex_t lock;       /* guards the identity, and its use: GnuTLS promises nothing for one certificate in two threads */
    identity current;
};

static void identity_free(identity *id)
{
    for (unsigned i = 0; i < id->count; i++)
        gnutls_x509_crt_deinit(id->chain[i]);
    if (id->key)
        gnutls_x509_privkey_deinit(id->key);
    *id = (identity){ .count = 0 };
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

static bool complain(const char *option, const char *path, const char *why, char *error, size_t size)
{
    snprintf(error, size, "--%s %s: %s", option, path, why);
    return false;
}

static void wipe(gnutls_datum_t *data)
{
    if (data->data)
        gnutls_memset(data->data, 0, data->size);
    gnutls_free(data->data);
}

/* gnutls_load_file, which would wait at a pipe. */
static int load(const char *path, gnutls_datum_t *data)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? gnutls_load_file(path, data) : GNUTLS_E_FILE_ERROR;
}

static bool read_chain(identity *id, const char *path, char *error, size_t size)
{
    gnutls_datum_t data = { NULL, 0 };
    unsigned count = MOST_CERTIFICATES;
    int code = load(path, &data);
    if (code == 0)
        code = gnutls_x509_crt_list_import(id->chain, &count, &data, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT);
    gnutls_free(data.data);
    if (code > 0)
        id->count = (unsigned)code;
    if (code == GNUTLS_E_FILE_ERROR)
        return complain("tls-cert", path, "the file cannot be read", error, size);
    if (code == GNUTLS_E_NO_CERTIFICATE_FOUND || code == 0)
        return complain("tls-cert", path, "there is no PEM certificate in it", error, size);
    return code > 0 || complain("tls-cert", path, gnutls_strerror(code), error, size);
}

static bool read_key(identity *id, const char *path, char *error, size_t size)
{
    struct stat st;
    gnutls_datum_t data = { NULL, 0 };
    int code = load(path, &data);
    if (code == 0)
        code = gnutls_x509_privkey_init(&id->key);
    if (code == 0)
        code = gnutls_x509_privkey_import2(id->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    wipe(&data);
    if (code == GNUTLS_E_FILE_ERROR)
        return complain("tls-key", path, "the file cannot be read", error, size);
    if (code == GNUTLS_E_DECRYPTION_FAILED)
        return complain("tls-key", path, "the key is encrypted, and nobody is there to be asked for its password", error, size);
    if (code == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR || code == GNUTLS_E_BASE64_DECODING_ERROR || code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return complain("tls-key", path, "there is no PEM key in it", error, size);
    if (code != 0)
        return complain("tls-key", path, gnutls_strerror(code), error, size);
    if (stat(path, &st) == 0 && (st.st_mode & S_IROTH))
        srv_log_message(SRV_WARN, "tls", "%s can be read by everybody on this machine: chmod o-r", path);
    return true;
}

static bool belongs(const identity *id)
{
    unsigned char of_cert[KEY_ID_BYTES], of_key[KEY_ID_BYTES];
    size_t cert_bytes = sizeof of_cert, key_bytes = sizeof of_key;
    return gnutls_x509_crt_get_key_id(id->chain[0], GNUTLS_KEYID_USE_SHA256, of_cert, &cert_bytes) == 0 &&
           gnutls_x509_privkey_get_key_id(id->key, GNUTLS_KEYID_USE_SHA256, of_key, &key_bytes) == 0 && cert_bytes == key_bytes &&
           memcmp(of_cert, of_key, cert_bytes) == 0;
}

static void print_day(time_t when, char day[16])
{
    struct tm tm;
    if (!gmtime_r(&when, &tm) || strftime(day, 16, "%Y-%m-%d", &tm) == 0)
        snprintf(day, 16, "?");
}

static void warn_of_time(const identity *id, const char *path)
{
    time_t now = time(NULL), begin = gnutls_x509_crt_get_activation_time(id->chain[0]), end = gnutls_x509_crt_get_expiration_time(id->chain[0]);
    char day[16];
    if (end < now) {
        print_day(end, day);
        srv_log_message(SRV_WARN, "tls", "%s expired on %s: clients will refuse it", path, day);
    } else if (begin > now) {
        print_day(begin, day);
        srv_log_message(SRV_WARN, "tls", "%s is not valid before %s: clients will refuse it", path, day);
    }
}

static bool identity_read(identity *id, const char *cert, const char *key, char *error, size_t size)
{
    *id = (identity){ .count = 0 };
    bool fine = read_chain(id, cert, error, size) && read_key(id, key, error, size);
    if (fine && !belongs(id)) {
        snprintf(error, size, "--tls-key %s: it is not the key of the certificate in %s", key, cert);
        fine = false;
    }
    if (fine)
        warn_of_time(id, cert);
    else
        identity_free(id);
    return fine;
}

/* ---- open, reload, lend --------------------------------------------------------------------------------------------------------- */

srv_tls *srv_tls_open(const char *cert, const char *key, char *error, size_t size)
{
    srv_tls *tls = attn_calloc(1, sizeof *tls);
    if (!tls) {
        snprintf(error, size, "--tls-cert %s: no memory", cert);
        return NULL;
    }
    pthread_mutex_init(&tls->lock, NULL);
    tls->cert_path = attn_strdup(cert);
    tls->key_path = attn_strdup(key);
    bool fine = tls->cert_path && tls->key_path;
    if (!fine)
        snprintf(error, size, "--tls-cert %s: no memory", cert);
    if (!fine || !identity_read(&tls->current, cert, key, error, size)) {
        srv_tls_close(tls);
        tls = NULL;
    }
    return tls;
}

void srv_tls_close(srv_tls *tls)
{
    if (!tls)
        return;
    identity_free(&tls->current);
    pthread_mutex_destroy(&tls->lock);
    attn_free(tls->cert_path);
    attn_free(tls->key_path);
    attn_free(tls);
}

bool srv_tls_reload(srv_tls *tls, char *error, size_t size)
{
    identity fresh;
    if (!identity_read(&fresh, tls->cert_path, tls->key_path, error, size))
        return false;
    pthread_mutex_lock(&tls->lock);
    identity old = tls->current;
    tls->current = fresh;
    pthread_mutex_unlock(&tls->lock);
    identity_free(&old);
    return true;
}

void srv_tls_describe(srv_tls *tls, char *dst, size_t size)
{
    gnutls_datum_t name = { NULL, 0 };
    char day[16];
    pthread_mutex_lock(&tls->lock);
    int code = gnutls_x509_crt_get_dn3(tls->current.chain[0], &name, 0);
    print_day(gnutls_x509_crt_get_expiration_time(tls->current.chain[0]), day);
    pthread_mutex_unlock(&tls->lock);
    snprintf(dst, size, "%s, until %s", code == 0 && name.size > 0 ? (const char *)name.data : "a certificate without a name", day);
    gnutls_free(name.data);
}

uint64_t srv_tls_expires(srv_tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    time_t end = gnutls_x509_crt_get_expiration_time(tls->current.chain[0]);
    pthread_mutex_unlock(&tls->lock);
    return end > 0 ? (uint64_t)end : 0;
}

/* GnuTLS frees what it is lent with its own allocator, so it must come from there. */
static bool copy_identity(const identity *id, gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key)
{
    gnutls_pcert_st *copies = gnutls_calloc(id->count, sizeof *copies);
    gnutls_privkey_t own = NULL;
    unsigned made = 0;
    bool fine = copies && gnutls_privkey_init(&own) == 0 && gnutls_privkey_import_x509(own, id->key, GNUTLS_PRIVKEY_IMPORT_COPY) == 0;
    while (fine && made < id->count) {
        fine = gnutls_pcert_import_x509(&copies[made], id->chain[made], 0) == 0;
        made += fine;
    }
    if (fine) {
        *chain = copies;
        *count = made;
        *key = own;
        return true;
    }
    while (made > 0)
        gnutls_pcert_deinit(&copies[--made]);
    if (own)
        gnutls_privkey_deinit(own);
    gnutls_free(copies);
    return false;
}

bool srv_tls_lend(srv_tls *tls, gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key)
{
    pthread_mutex_lock(&tls->lock);
    bool fine = copy_identity(&tls->current, chain, count, key);
    pthread_mutex_unlock(&tls->lock);
    return fine;
}
