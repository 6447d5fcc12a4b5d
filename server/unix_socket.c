/* unix_socket.c - see unix_socket.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 1024, OTHERS = 0117 /* umask: what is left is 0660 */, LOCK_LOOKS = 100, LOCK_LOOK_MS = 10 };

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Makes way for a new socket. NULL: the path is free; else why it is not. */
static const char *clear_way(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (!S_ISSOCK(st.st_mode))
        return "there is a file of this name, and it is no socket";
    int fd = open_socket();
    if (fd < 0)
        return strerror(errno);
    bool answered = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN; /* its queue is full: somebody is there */
    int why = errno;
    close(fd);
    if (answered)
        return "another program answers there";
    if (why != ECONNREFUSED && why != ENOENT)
        return strerror(why);
    return unlink(address->sun_path) == 0 || errno == ENOENT ? NULL : strerror(errno);
}

static bool bind_and_listen(int fd, const struct sockaddr_un *address, srv_unix_file *file)
{
    struct stat st;
    mode_t before = umask(OTHERS); /* of the whole process, but nobody else makes files now */
    bool bound = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    int why = errno;
    umask(before);
    errno = why;
    if (!bound || listen(fd, BACKLOG) != 0 || lstat(address->sun_path, &st) != 0)
        return false;
    *file = (srv_unix_file){ st.st_dev, st.st_ino };
    return true;
}

/* A lock that all who start in this folder take: between two of them, the one's fresh socket, at which nobody listens yet, would be the other's stale one. It goes
 * with the descriptor. None is to be had, or somebody else keeps it for longer than a start takes: there is no harm in going on without. */
static int lock_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int looks = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && looks < LOCK_LOOKS; looks++)
        nanosleep(&(struct timespec){ 0, LOCK_LOOK_MS * 1000000L }, NULL);
    return fd;
}

int srv_unix_listen(const char *path, srv_unix_file *file, char *error, size_t size)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t n = strlen(path);
    if (n >= sizeof address.sun_path) {
        snprintf(error, size, "--unix-socket %s: the path has %zu bytes, and the system takes at most %zu", path, n, sizeof address.sun_path - 1);
        return -1;
    }
    memcpy(address.sun_path, path, n + 1);
    int lock = lock_folder(path);
    const char *why = clear_way(&address);
    int fd = why ? -1 : open_socket();
    if (fd < 0 || !bind_and_listen(fd, &address, file)) {
        snprintf(error, size, "--unix-socket %s: %s", path, why ? why : strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (lock >= 0)
        close(lock);
    return fd;
}

void srv_unix_remove(const char *path, srv_unix_file *file)
{
    struct stat st;
    if (file->inode && lstat(path, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
        unlink(path);
    *file = (srv_unix_file){ 0 };
}
