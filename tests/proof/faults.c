/* faults.c - a library to preload: the system calls of a server go wrong the way they may. tests/proof/faults.py builds and uses it.
 *
 * ATTND_FAULTS is a list, commas between:
 *     small      sockets have the smallest buffers there are: sends are short or refused (EAGAIN), requests come in pieces. (A send that is called short without
 *                being so would be no fault of the kernel's: who waits for an edge of epoll relies on the next one.)
 *     interrupt  one send or receive in 3 says EINTR
 *     reset=N    one send in N says ECONNRESET
 *     clock      the wall clock jumps an hour or a year, forth and back, at every look
 * Which calls are hit is the same in every run of the same calls.
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static bool is_small, interrupts, jumps;
static unsigned reset_one_in;
static atomic_uint calls;

__attribute__((constructor)) static void read_wishes(void)
{
    const char *list = getenv("ATTND_FAULTS");
    char copy[1024], *rest = copy;
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *wish; (wish = strsep(&rest, ",")) != NULL;) {
        is_small |= strcmp(wish, "small") == 0;
        interrupts |= strcmp(wish, "interrupt") == 0;
        jumps |= strcmp(wish, "clock") == 0;
        if (strncmp(wish, "reset=", 6) == 0)
            reset_one_in = (unsigned)atoi(wish + 6);
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

ssize_t write(int fd, const void *bytes, size_t n)
{
    return is_socket(fd) && goes_wrong(true) ? -1 : REAL(write)(fd, bytes, n);
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
