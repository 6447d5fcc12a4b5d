/* hub_blob.c - see the header. Hashes are gnutls's, which libcurl and libmicrohttpd have brought along.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
    LOOK_MS = 100,  /* how often a lock is tried */
    SAY_MS = 10000, /* how often is said that it is waited for */
    READ_BYTES = 1 << 20,
    NAME_BYTES = SRV_HUB_ETAG_BYTES + 16
};

static bool fail(srv_hub_blob *b, const char *what)
{
    char text[128];
    const char *why = strerror_r(errno, text, sizeof text);
    char name[SRV_HUB_REPO_BYTES + 128];
    snprintf(name, sizeof name, "%s/blobs/%s.incomplete", b->cache->folder, b->etag);
    return srv_hub_fail(b->cache->error, "%s: %s: %s", srv_hub_cache_name(b->cache, name), what, why);
}

srv_hub_state srv_hub_blob_look(const srv_hub_cache *c, const char *etag, int64_t size)
{
    char name[SRV_HUB_REPO_BYTES + 128];
    struct stat info;
    snprintf(name, sizeof name, "%s/blobs/%s", c->folder, etag);
    srv_hub_state state = srv_hub_cache_look_at(c, name);
    if (state == SRV_HUB_PRESENT && size >= 0 && (stat(srv_hub_cache_name(c, name), &info) != 0 || info.st_size != size))
        return SRV_HUB_UNKNOWN;
    return state;
}

uint64_t srv_hub_blob_begun(const srv_hub_cache *c, const char *etag)
{
    char name[SRV_HUB_REPO_BYTES + 128];
    struct stat info;
    snprintf(name, sizeof name, "%s/blobs/%s.incomplete", c->folder, etag);
    return lstat(srv_hub_cache_name(c, name), &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

static int blobs_folder(srv_hub_cache *c)
{
    char relative[SRV_HUB_REPO_BYTES + 32];
    snprintf(relative, sizeof relative, "%s/blobs", c->folder);
    return srv_hub_cache_folder(c, relative);
}

bool srv_hub_blob_room(srv_hub_cache *c, uint64_t need)
{
    struct statvfs disk;
    int folder = blobs_folder(c);
    if (folder < 0)
        return false;
    bool known = fstatvfs(folder, &disk) == 0;
    close(folder);
    uint64_t room = known ? attn_times(disk.f_bavail, disk.f_frsize) : UINT64_MAX;
    return need <= room || srv_hub_fail(c->error, "%s: %" PRIu64 " bytes are to be downloaded, but the disk has room for %" PRIu64, c->path, need, room);
}

/* ---- the lock ------------------------------------------------------------------------------------------------------------- */

/* The lock's file, locked. -1 with errno: EWOULDBLOCK when another process has it. Whoever had it may have removed the file in the meantime: then it is not
 * the one that others will look at. */
static int try_lock(int folder, const char *name)
{
    struct stat info = { .st_nlink = 0 };
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0664);
    if (fd < 0)
        return -1;
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    int code = locked ? EWOULDBLOCK : errno;
    if (!locked && (code == ENOSYS || code == ENOLCK || code == EOPNOTSUPP))
        return fd; /* a file system without locks */
    if (locked && fstat(fd, &info) == 0 && info.st_nlink > 0)
        return fd;
    close(fd);
    errno = code;
    return -1;
}

static bool take_lock(srv_hub_blob *b)
{
    char relative[SRV_HUB_REPO_BYTES + 32], name[NAME_BYTES];
    const struct timespec pause = { 0, (long)LOOK_MS * 1000000 };
    snprintf(relative, sizeof relative, ".locks/%s", b->cache->folder);
    snprintf(name, sizeof name, "%s.lock", b->etag);
    int folder = srv_hub_cache_folder(b->cache, relative);
    if (folder < 0)
        return false;
    for (uint64_t waited = 0; (b->lock = try_lock(folder, name)) < 0 && (errno == EWOULDBLOCK || errno == EINTR); waited += LOOK_MS) {
        if (waited % SAY_MS == 0)
            srv_log_message(SRV_INFO, "hub", "another process downloads blob %s of %s: waiting for it", b->etag, b->cache->folder);
        nanosleep(&pause, NULL);
    }
    bool fine = b->lock >= 0 || fail(b, "its lock cannot be had");
    close(folder);
    return fine;
}

/* ---- the file ------------------------------------------------------------------------------------------------------------- */

/* A regular file that no other name leads to. What else stands there (somebody else's link) is put out of the way. */
static bool open_file(srv_hub_blob *b, int64_t size)
{
    char name[NAME_BYTES];
    struct stat info;
    snprintf(name, sizeof name, "%s.incomplete", b->etag);
    for (int attempt = 0; attempt < 2; attempt++) {
        b->fd = openat(b->folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        if (b->fd < 0 && errno != ELOOP)
            return fail(b, "cannot be written");
        if (b->fd >= 0 && fstat(b->fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1) {
            b->have = (uint64_t)info.st_size;
            return size < 0 || info.st_size <= size || srv_hub_blob_restart(b);
        }
        if (b->fd >= 0)
            close(b->fd);
        b->fd = -1;
        unlinkat(b->folder, name, 0);
    }
    errno = ELOOP;
    return fail(b, "cannot be written");
}

bool srv_hub_blob_open(srv_hub_blob *b, srv_hub_cache *c, const char *etag, int64_t size)
{
    *b = (srv_hub_blob){ .cache = c, .etag = etag, .lock = -1, .fd = -1, .folder = blobs_folder(c) };
    bool fine = b->folder >= 0 && take_lock(b);
    if (fine) {
        srv_hub_state state = srv_hub_blob_look(c, etag, size);
        b->there = state == SRV_HUB_PRESENT;
        fine = state != SRV_HUB_FAILED && (b->there || open_file(b, size));
    }
    if (!fine)
        srv_hub_blob_close(b);
    return fine;
}

bool srv_hub_blob_write(srv_hub_blob *b, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        ssize_t written = pwrite(b->fd, from, n, (off_t)b->have);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail(b, "cannot be written");
        from += written;
        n -= (size_t)written;
        b->have += (uint64_t)written;
    }
    return true;
}

bool srv_hub_blob_restart(srv_hub_blob *b)
{
    b->have = 0;
    return ftruncate(b->fd, 0) == 0 || fail(b, "cannot be written");
}

/* ---- its name ------------------------------------------------------------------------------------------------------------- */

/* The file's bytes into the hash. */
static bool hash_file(srv_hub_blob *b, gnutls_hash_hd_t hash)
{
    char *buffer = attn_malloc(READ_BYTES);
    uint64_t at = 0;
    ssize_t n = -1;
    if (!buffer)
        return srv_hub_fail(b->cache->error, "no memory");
    while (at < b->have && (n = pread(b->fd, buffer, READ_BYTES, (off_t)at)) > 0) {
        gnutls_hash(hash, buffer, (size_t)n);
        at += (uint64_t)n;
    }
    attn_free(buffer);
    return at == b->have || fail(b, "cannot be read");
}

static void print_hex(char *dst, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snprintf(dst + 2 * i, 3, "%02x", bytes[i]);
}

bool srv_hub_blob_check(srv_hub_blob *b, char found[SRV_HUB_ETAG_BYTES], bool *right)
{
    /* Large files are named by their SHA-256; small ones as git names a blob: SHA-1 of "blob SIZE", a NUL, and the bytes. */
    bool large = strlen(b->etag) == 64;
    gnutls_digest_algorithm_t algorithm = large ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA1;
    gnutls_hash_hd_t hash;
    uint8_t bytes[32];
    char head[32];
    if (gnutls_hash_init(&hash, algorithm) != 0)
        return srv_hub_fail(b->cache->error, "no memory");
    int n = snprintf(head, sizeof head, "blob %" PRIu64, b->have);
    if (!large)
        gnutls_hash(hash, head, (size_t)n + 1);
    bool fine = hash_file(b, hash);
    gnutls_hash_deinit(hash, bytes);
    print_hex(found, bytes, large ? 32 : 20);
    *right = strcmp(found, b->etag) == 0;
    return fine;
}

bool srv_hub_blob_keep(srv_hub_blob *b)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.incomplete", b->etag);
    if (fsync(b->fd) == 0 && renameat(b->folder, name, b->folder, b->etag) == 0)
        return true;
    int code = errno; /* where locks do not hold, somebody else may have been quicker with the same bytes */
    if (code == ENOENT && srv_hub_blob_look(b->cache, b->etag, (int64_t)b->have) == SRV_HUB_PRESENT)
        return true;
    errno = code;
    return fail(b, "cannot be renamed");
}

void srv_hub_blob_close(srv_hub_blob *b)
{
    int *const all[] = { &b->fd, &b->folder, &b->lock };
    for (size_t i = 0; i < 3; i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}
