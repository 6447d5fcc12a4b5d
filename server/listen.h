/* listen.h - a listening TCP socket.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef LISTEN_H
#define LISTEN_H

#include <stddef.h>
#include <stdint.h>

/* Listens on the first address of `host` that can be had. Returns the socket (not blocking) and writes where it listens, "127.0.0.1:8080" or "[::1]:8080",
 * with the port that was picked for port 0. -1: `error` says why. */
int srv_listen(const char *host, uint64_t port, char *where, size_t where_size, char *error, size_t error_size);

#endif
