/* hub_cache.c - see the header.
 * SPDX-License-Identifier: Apache-2.0 */
#include "hub_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RELATIVE_BYTES = 1024 };

/* A path without symbolic links, in the arena. NULL: it does not lead anywhere. */
static const char *real_path(attn_arena *arena, const char *path)
{
    char *real = realpath(path, NULL);
    const char *copy = real ? attn_arena_copy(arena, real, strlen(real)) : NULL;
    free(real);
    return copy;
}

void srv_hub_cache_open(srv_hub_cache *c, attn_arena *arena, const char *path, const srv_hub_id *id, srv_hub_error *error)
{
    *c = (srv_hub_cache){ .arena = arena, .path = path, .root = -1, .error = error };
    c->real = real_path(arena, path);
    srv_hub_folder(c->folder, id);
}

void srv_hub_cache_close(srv_hub_cache *c)
{
    if (c->root >= 0)
        close(c->root);
    c->root = -1;
}

const char *srv_hub_cache_name(const srv_hub_cache *c, const char *relative)
{
    const char *text = srv_hub_text(c->arena, "%s/%s", c->path, relative);
    return text ? text : "";
}

char *srv_hub_cache_path(const srv_hub_cache *c, const char *commit, const char *file)
{
    return srv_hub_text(c->arena, "%s/%s/snapshots/%s%s%s", c->path, c->folder, commit, file ? "/" : "", file ? file : "");
}

/* ---- looking -------------------------------------------------------------------------------------------------------------- */

srv_hub_state srv_hub_cache_look_at(const srv_hub_cache *c, const char *relative)
{
    struct stat info;
    const char *path = srv_hub_cache_name(c, relative);
    if (!c->real || stat(path, &info) != 0)
        return SRV_HUB_UNKNOWN;
    const char *real = real_path(c->arena, path);
    size_t n = strlen(c->real);
    if (!real)
        return SRV_HUB_UNKNOWN;
    if (strncmp(real, c->real, n) != 0 || (real[n] != '/' && strcmp(c->real, "/") != 0)) {
        srv_hub_fail(c->error, "%s: leads to %s, which is outside the cache", path, real);
        return SRV_HUB_FAILED;
    }
    return S_ISREG(info.st_mode) ? SRV_HUB_PRESENT : SRV_HUB_UNKNOWN;
}

srv_hub_state srv_hub_cache_look(const srv_hub_cache *c, const char *commit, const char *file)
{
    char relative[RELATIVE_BYTES];
    snprintf(relative, sizeof relative, "%s/snapshots/%s/%s", c->folder, commit, file);
    srv_hub_state state = srv_hub_cache_look_at(c, relative);
    if (state != SRV_HUB_UNKNOWN)
        return state;
    struct stat info;
    snprintf(relative, sizeof relative, "%s/.no_exist/%s/%s", c->folder, commit, file);
    return lstat(srv_hub_cache_name(c, relative), &info) == 0 && S_ISREG(info.st_mode) ? SRV_HUB_ABSENT : SRV_HUB_UNKNOWN;
}

bool srv_hub_cache_commit(const srv_hub_cache *c, const char *revision, char commit[SRV_HUB_COMMIT_BYTES])
{
    if (srv_hub_is_commit(revision)) {
        snprintf(commit, SRV_HUB_COMMIT_BYTES, "%s", revision);
        return true;
    }
    char relative[RELATIVE_BYTES];
    snprintf(relative, sizeof relative, "%s/refs/%s", c->folder, revision);
    int fd = srv_hub_cache_look_at(c, relative) == SRV_HUB_PRESENT ? open(srv_hub_cache_name(c, relative), O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, commit, SRV_HUB_COMMIT_BYTES);
    if (fd >= 0)
        close(fd);
    if (n < SRV_HUB_COMMIT_BYTES - 1)
        return false;
    commit[SRV_HUB_COMMIT_BYTES - 1] = '\0';
    return srv_hub_is_commit(commit);
}

/* ---- writing -------------------------------------------------------------------------------------------------------------- */

static bool fail_errno(const srv_hub_cache *c, const char *path, const char *what, int code)
{
    char text[128];
    return srv_hub_fail(c->error, "%s: %s: %s", path, what, strerror_r(code, text, sizeof text));
}

/* The root and the folders above it, made where they are missing, and opened. */
static bool open_root(srv_hub_cache *c)
{
    if (c->root >= 0)
        return true;
    char *path = srv_hub_text(c->arena, "%s", c->path);
    if (!path)
        return srv_hub_fail(c->error, "no memory");
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(path, 0777); /* whether it worked shows at the end */
        *p = '/';
    }
    int made = mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : errno;
    c->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    c->real = c->real ? c->real : real_path(c->arena, path);
    return c->root >= 0 || fail_errno(c, path, "the cache's folder cannot be made", made ? made : errno);
}

int srv_hub_cache_folder(srv_hub_cache *c, const char *relative)
{
    if (!open_root(c))
        return -1;
    int folder = fcntl(c->root, F_DUPFD_CLOEXEC, 0);
    for (const char *at = relative; *at && folder >= 0; at += strspn(at, "/")) {
        char part[SRV_HUB_REPO_BYTES + 16];
        size_t n = strcspn(at, "/");
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        at += n;
        int made = mkdirat(folder, part, 0777) == 0 || errno == EEXIST ? 0 : errno;
        int inner = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int code = made ? made : errno;
        close(folder);
        folder = inner;
        if (inner < 0)
            fail_errno(c, srv_hub_cache_name(c, relative), code == ENOTDIR || code == ELOOP ? "a part of it is no folder" : "cannot be made", code);
    }
    return folder;
}

/* A name of our own beside `name`, for what is renamed to it. */
static void temporary(char dst[SRV_HUB_NAME_BYTES + 32], const char *name)
{
    snprintf(dst, SRV_HUB_NAME_BYTES + 32, "%.*s.%ld.tmp", SRV_HUB_NAME_BYTES, name, (long)getpid());
}

bool srv_hub_cache_link(srv_hub_cache *c, const char *commit, const char *file, const char *etag)
{
    char relative[RELATIVE_BYTES], target[SRV_HUB_ETAG_BYTES + 16], name[SRV_HUB_NAME_BYTES + 32];
    snprintf(relative, sizeof relative, "%s/snapshots/%s", c->folder, commit);
    snprintf(target, sizeof target, "../../blobs/%s", etag);
    temporary(name, file);
    int folder = srv_hub_cache_folder(c, relative);
    if (folder < 0)
        return false;
    unlinkat(folder, name, 0);
    bool fine = symlinkat(target, folder, name) == 0 && renameat(folder, name, folder, file) == 0;
    int code = errno;
    if (!fine)
        unlinkat(folder, name, 0);
    close(folder);
    return fine || fail_errno(c, srv_hub_cache_name(c, relative), "cannot be written to", code);
}

/* A small file of its own name, in one step. */
static bool write_file(int folder, const char *name, const char *bytes, size_t n)
{
    char own[SRV_HUB_NAME_BYTES + 32];
    temporary(own, name);
    unlinkat(folder, own, 0);
    int fd = openat(folder, own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    bool fine = write(fd, bytes, n) == (ssize_t)n;
    fine = close(fd) == 0 && fine && renameat(folder, own, folder, name) == 0;
    if (!fine)
        unlinkat(folder, own, 0);
    return fine;
}

bool srv_hub_cache_remember(srv_hub_cache *c, const char *revision, const char *commit)
{
    char known[SRV_HUB_COMMIT_BYTES], relative[RELATIVE_BYTES];
    if (srv_hub_cache_commit(c, revision, known) && strcmp(known, commit) == 0)
        return true;
    const char *slash = strrchr(revision, '/');
    snprintf(relative, sizeof relative, "%s/refs/%.*s", c->folder, slash ? (int)(slash - revision) : 0, revision);
    int folder = srv_hub_cache_folder(c, relative);
    if (folder < 0)
        return false;
    bool fine = write_file(folder, slash ? slash + 1 : revision, commit, strlen(commit));
    int code = errno;
    close(folder);
    return fine || fail_errno(c, srv_hub_cache_name(c, relative), "cannot be written to", code);
}

void srv_hub_cache_note_absent(srv_hub_cache *c, const char *commit, const char *file)
{
    char relative[RELATIVE_BYTES];
    srv_hub_error *error = c->error, ignored = { 0 };
    snprintf(relative, sizeof relative, "%s/.no_exist/%s", c->folder, commit);
    c->error = &ignored;
    int folder = srv_hub_cache_folder(c, relative);
    c->error = error;
    if (folder < 0)
        return;
    write_file(folder, file, "", 0);
    close(folder);
}
