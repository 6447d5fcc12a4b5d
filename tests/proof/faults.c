/* faults.c - a library to preload: the system calls of a server go wrong the way they may. tests/proof/faults.py builds and uses it.
 *
 * ATTND_FAULTS is a list, commas between:
 *     small      sockets have the smallest buffers there are: sends are short or refused (EAGAIN), requests come in pieces. (A send that is called short without
 *                being so would be no fault of the kernel's: who waits for an edge of epoll relies on the next one.)
 *     interrupt  one send or receive in 3 says EINTR
 *     reset=N    one send in N says ECONNRESET
 *     clock      the wall clock jumps an hour or a year, forth and back, at every look
 *     file=N     the Nth call that makes, writes or renames a file or folder says ENOSPC, and stderr says which it was; file=N,half: if it writes, it writes half
 *                of the bytes, and the next one says ENOSPC
 * Which calls are hit is the same in every run of the same calls.
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static bool is_small, interrupts, jumps, halves;
static unsigned reset_one_in, bad_file_call;
static atomic_uint calls, file_calls;

__attribute__((constructor)) static void read_wishes(void)
{
    const char *list = getenv("ATTND_FAULTS");
    char copy[1024], *rest = copy;
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *wish; (wish = strsep(&rest, ",")) != NULL;) {
        is_small |= strcmp(wish, "small") == 0;
        interrupts |= strcmp(wish, "interrupt") == 0;
        jumps |= strcmp(wish, "clock") == 0;
        halves |= strcmp(wish, "half") == 0;
        if (strncmp(wish, "reset=", 6) == 0)
            reset_one_in = (unsigned)atoi(wish + 6);
        if (strncmp(wish, "file=", 5) == 0)
            bad_file_call = (unsigned)atoi(wish + 5);
    }
}

static unsigned dice(void)
{
    unsigned x = atomic_fetch_add(&calls, 1) * 2654435761u;
    x ^= x >> 15;
    x *= 2246822519u;
    return x ^ x >> 13;
}

static bool is_socket(int fd)
{
    int kind, saved = errno;
    socklen_t n = sizeof kind;
    bool yes = getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &n) == 0;
    errno = saved;
    return yes;
}

/* True: errno says what went wrong. */
static bool goes_wrong(bool sends)
{
    unsigned n = dice();
    errno = 0;
    if (interrupts && n % 3 == 0)
        errno = EINTR;
    else if (sends && reset_one_in && n % reset_one_in == 0)
        errno = ECONNRESET;
    return errno != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    int one = REAL(accept4)(fd, address, length, flags), least = 1;
    if (one >= 0 && is_small) {
        setsockopt(one, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
        setsockopt(one, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    }
    return one;
}

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
    return goes_wrong(true) ? -1 : REAL(send)(fd, bytes, n, flags);
}

ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
    return goes_wrong(false) ? -1 : REAL(recv)(fd, bytes, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return goes_wrong(true) ? -1 : REAL(sendmsg)(fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return is_socket(fd) && goes_wrong(true) ? -1 : REAL(writev)(fd, parts, count);
}

/* Whether this call to a file is the bad one: then errno is set and stderr told. */
static bool is_bad_file_call(const char *what)
{
    if (atomic_fetch_add(&file_calls, 1) + 1 != bad_file_call)
        return false;
    dprintf(STDERR_FILENO, "fault: %s\n", what);
    errno = ENOSPC;
    return true;
}

/* How many of n bytes this write takes. -1: it is the bad one. */
static ssize_t room(const char *what, size_t n)
{
    if (!is_bad_file_call(what))
        return (ssize_t)n;
    if (!halves || n < 2)
        return -1;
    errno = 0; /* a short write says nothing */
    halves = false;
    bad_file_call++; /* the next one */
    return (ssize_t)(n / 2);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    if (is_socket(fd))
        return goes_wrong(true) ? -1 : REAL(write)(fd, bytes, n);
    ssize_t taken = fd == STDERR_FILENO ? (ssize_t)n : room("write", n);
    return taken < 0 ? -1 : REAL(write)(fd, bytes, (size_t)taken);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    ssize_t taken = room("pwrite", n);
    return taken < 0 ? -1 : REAL(pwrite)(fd, bytes, (size_t)taken, at);
}

int openat(int folder, const char *name, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return flags & O_CREAT && is_bad_file_call("openat") ? -1 : REAL(openat)(folder, name, flags, mode);
}

int mkdir(const char *name, mode_t mode)
{
    return is_bad_file_call("mkdir") ? -1 : REAL(mkdir)(name, mode);
}

int mkdirat(int folder, const char *name, mode_t mode)
{
    return is_bad_file_call("mkdirat") ? -1 : REAL(mkdirat)(folder, name, mode);
}

int ftruncate(int fd, off_t n)
{
    return is_bad_file_call("ftruncate") ? -1 : REAL(ftruncate)(fd, n);
}

int fsync(int fd)
{
    return is_bad_file_call("fsync") ? -1 : REAL(fsync)(fd);
}

int renameat(int from, const char *old, int to, const char *new)
{
    return is_bad_file_call("renameat") ? -1 : REAL(renameat)(from, old, to, new);
}

int symlinkat(const char *target, int folder, const char *name)
{
    return is_bad_file_call("symlinkat") ? -1 : REAL(symlinkat)(target, folder, name);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = REAL(clock_gettime)(clock, now);
    if (status == 0 && jumps && clock == CLOCK_REALTIME) {
        static const long jump[] = { 0, 3600, -3600, 31536000, -31536000 };
        now->tv_sec += jump[dice() % 5];
    }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    *now = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
