/* keys.c - see keys.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attn_base.h"
#include "log.h"

enum {
    FILE_BYTES = 1 << 20,
    MOST_KEYS = 1000, /* each request is held against all of them */
    DIGEST_BYTES = 32 /* SHA-256 */
};

struct srv_key {
    _Atomic size_t refs;
    _Atomic uint64_t in_work;
    unsigned char digest[DIGEST_BYTES]; /* fixed */
};

typedef struct key_table {
    srv_key **keys; /* owned, each of them held */
    size_t count;
} key_table;

struct srv_keys {
    char *path;            /* fixed */
    pthread_rwlock_t lock; /* guards the table */
    key_table table;
};

/* ---- one key -------------------------------------------------------------------------------------------------------------- */

void srv_key_drop(srv_key *key)
{
    if (atomic_fetch_sub(&key->refs, 1) == 1)
        attn_free(key);
}

bool srv_key_begin(srv_key *key, uint64_t most)
{
    uint64_t before = atomic_fetch_add(&key->in_work, 1);
    bool fits = most == 0 || before < most;
    if (!fits)
        atomic_fetch_sub(&key->in_work, 1);
    return fits;
}

void srv_key_end(srv_key *key)
{
    atomic_fetch_sub(&key->in_work, 1);
}

static bool is_key_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("-._~+/=", c));
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

static void table_free(key_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        srv_key_drop(table->keys[i]);
    attn_free(table->keys);
    *table = (key_table){ 0 };
}

/* Always looks at all of them. Borrowed. */
static srv_key *table_find(const key_table *table, const unsigned char digest[DIGEST_BYTES])
{
    srv_key *found = NULL;
    for (size_t i = 0; i < table->count; i++) {
        if (gnutls_memcmp(table->keys[i]->digest, digest, DIGEST_BYTES) == 0)
            found = table->keys[i];
    }
    return found;
}

/* A key of the file: the one there was, or a new one. False: no memory. */
static bool table_add(key_table *table, const key_table *before, const char *key, size_t n)
{
    unsigned char digest[DIGEST_BYTES];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, key, n, digest) != 0)
        return false;
    if (table_find(table, digest))
        return true; /* twice in the file */
    srv_key *known = table_find(before, digest);
    if (known) {
        atomic_fetch_add(&known->refs, 1);
    } else {
        known = attn_calloc(1, sizeof *known);
        if (!known)
            return false;
        known->refs = 1;
        memcpy(known->digest, digest, sizeof digest);
    }
    table->keys[table->count++] = known;
    return true;
}

/* ---- the file ---------------------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool add_line(key_table *table, const key_table *before, const char *line, size_t n, const char **why)
{
    while (n > 0 && is_blank(line[n - 1]))
        n--;
    while (n > 0 && is_blank(*line)) {
        line++;
        n--;
    }
    if (n == 0 || *line == '#')
        return true;
    for (size_t i = 0; i < n && !*why; i++) {
        if (!is_key_char(line[i]))
            *why = "a key has letters, digits and -._~+/= alone";
    }
    if (!*why && n < SRV_KEY_LEAST_BYTES)
        *why = "a key has at least 16 characters; `openssl rand -hex 32` makes one";
    if (!*why && table->count == MOST_KEYS)
        *why = "there are more than 1000 keys";
    if (!*why && !table_add(table, before, line, n))
        *why = "no memory";
    return !*why;
}

static bool read_lines(key_table *table, const key_table *before, const char *text, size_t n, const char *path, char *error, size_t size)
{
    const char *why = NULL, *end = text + n;
    size_t number = 1;
    for (const char *line = text; line < end; number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop ? stop : end) - line);
        if (!add_line(table, before, line, length, &why)) {
            snprintf(error, size, "--api-key-file %s: line %zu: %s", path, number, why);
            return false;
        }
        line += length + 1;
    }
    if (table->count == 0)
        snprintf(error, size, "--api-key-file %s: there is no key in it", path);
    return table->count > 0;
}

/* The whole file into `text`, of FILE_BYTES. Its length, or -1. A pipe is none: whoever reads it waits, and it cannot be read again. */
static ssize_t read_file(const char *path, char *text, char *error, size_t size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t used = 0, n = regular ? 1 : -1;
    while (n > 0 && used < FILE_BYTES) {
        n = read(fd, text + used, (size_t)(FILE_BYTES - used));
        used += n > 0 ? n : 0;
    }
    if (n < 0)
        snprintf(error, size, "--api-key-file %s: %s", path, fd >= 0 && !regular ? "it is no regular file" : strerror(errno));
    else if (used == FILE_BYTES)
        snprintf(error, size, "--api-key-file %s: it has more than a megabyte", path);
    else if (st.st_mode & S_IROTH)
        srv_log_message(SRV_WARN, "keys", "%s can be read by everybody on this machine: chmod o-r", path);
    if (fd >= 0)
        close(fd);
    return n < 0 || used == FILE_BYTES ? -1 : used;
}

static bool read_table(const char *path, const key_table *before, key_table *out, char *error, size_t size)
{
    key_table table = { .keys = attn_calloc(MOST_KEYS, sizeof *table.keys) };
    char *text = attn_malloc(FILE_BYTES);
    bool fine = false;
    if (!table.keys || !text) {
        snprintf(error, size, "--api-key-file %s: no memory", path);
    } else {
        ssize_t n = read_file(path, text, error, size);
        fine = n >= 0 && read_lines(&table, before, text, (size_t)n, path, error, size);
        gnutls_memset(text, 0, FILE_BYTES); /* which no compiler leaves out */
    }
    attn_free(text);
    if (fine)
        *out = table;
    else
        table_free(&table);
    return fine;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------- */

srv_keys *srv_keys_open(const char *path, char *error, size_t size)
{
    srv_keys *keys = attn_calloc(1, sizeof *keys);
    char *copy = attn_strdup(path);
    const key_table none = { 0 };
    if (!keys || !copy)
        snprintf(error, size, "--api-key-file %s: no memory", path);
    if (!keys || !copy || !read_table(path, &none, &keys->table, error, size)) {
        attn_free(keys);
        attn_free(copy);
        return NULL;
    }
    keys->path = copy;
    pthread_rwlock_init(&keys->lock, NULL);
    return keys;
}

bool srv_keys_reload(srv_keys *keys, char *error, size_t size)
{
    key_table fresh;
    if (!read_table(keys->path, &keys->table, &fresh, error, size)) /* main alone writes, so it may read without the lock */
        return false;
    pthread_rwlock_wrlock(&keys->lock);
    key_table old = keys->table;
    keys->table = fresh;
    pthread_rwlock_unlock(&keys->lock);
    table_free(&old);
    return true;
}

size_t srv_keys_count(srv_keys *keys)
{
    pthread_rwlock_rdlock(&keys->lock);
    size_t count = keys->table.count;
    pthread_rwlock_unlock(&keys->lock);
    return count;
}

void srv_keys_close(srv_keys *keys)
{
    if (!keys)
        return;
    table_free(&keys->table);
    pthread_rwlock_destroy(&keys->lock);
    attn_free(keys->path);
    attn_free(keys);
}

srv_key *srv_keys_find(srv_keys *keys, const char *authorization)
{
    static const char scheme[] = "Bearer";
    unsigned char digest[DIGEST_BYTES];
    size_t n = sizeof scheme - 1;
    if (!authorization || strncasecmp(authorization, scheme, n) != 0 || authorization[n] != ' ')
        return NULL;
    const char *token = authorization + n + strspn(authorization + n, " ");
    size_t length = strlen(token);
    while (length > 0 && is_blank(token[length - 1])) /* libmicrohttpd leaves it on */
        length--;
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, length, digest) != 0)
        return NULL;
    pthread_rwlock_rdlock(&keys->lock);
    srv_key *found = table_find(&keys->table, digest);
    if (found)
        atomic_fetch_add(&found->refs, 1);
    pthread_rwlock_unlock(&keys->lock);
    return found;
}
