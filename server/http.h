/* http.h - a listening port. http.c is the only file that knows libmicrohttpd.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_H
#define HTTP_H

#include "server.h"

/* Listens on host and port with so many HTTP threads. NULL: the reason has been logged. `side`: only health, readiness and metrics. */
srv_http *srv_http_start(srv_server *, const char *host, uint64_t port, size_t threads, bool side);
const char *srv_http_url(const srv_http *); /* "http://127.0.0.1:8080" */
/* Accepts no more connections; the port is closed to newcomers. */
void srv_http_quiesce(srv_http *);
/* Ends the threads and connections. No exchange may be waiting. NULL is fine. */
void srv_http_stop(srv_http *);

#endif
