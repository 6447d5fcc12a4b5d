/* listen.c - see listen.h. The socket is ours and not libmicrohttpd's, because two daemons share it and because it must outlive neither (see http.c).
 * SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int try_address(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    int yes = 1, no = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no); /* "::" is every address of both kinds */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static void describe(int fd, char *where, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[64] = "?", port[16] = "0";
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(where, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int srv_listen(const char *host, uint64_t port, char *where, size_t where_size, char *error, size_t error_size)
{
    char service[24], bare[256];
    snprintf(service, sizeof service, "%" PRIu64, port);
    size_t n = strlen(host);
    bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']'; /* as in a URL */
    snprintf(bare, sizeof bare, "%.*s", (int)(bracketed ? n - 2 : n), host + bracketed);
    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *all = NULL;
    int code = getaddrinfo(bare, service, &hints, &all);
    if (code != 0) {
        snprintf(error, error_size, "--host %s: %s", host, gai_strerror(code));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next)
        fd = try_address(a);
    if (fd < 0)
        snprintf(error, error_size, "cannot listen on %s port %s: %s", host, service, strerror(errno));
    else
        describe(fd, where, where_size);
    freeaddrinfo(all);
    return fd;
}
