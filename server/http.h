/* http.h - a listening port. http.c is the only file that knows libmicrohttpd.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef HTTP_H
#define HTTP_H

#include "server.h"

typedef enum srv_door {
    SRV_FRONT, /* the main port; with TLS where the server has a certificate */
    SRV_LOCAL, /* the socket file: the same, without TLS */
    SRV_SIDE   /* the metrics port: only health, readiness and metrics, without TLS and keys */
} srv_door;

/* Serves a listening socket, which is taken, with so many HTTP threads. NULL: the reason has been logged. `url` is what is said of it. */
srv_http *srv_http_start(srv_server *, srv_door, int socket, const char *url, size_t threads);
const char *srv_http_url(const srv_http *); /* "http://127.0.0.1:8080", "unix:/run/attnd.sock" */
/* Accepts no more connections; the port is closed to newcomers. */
void srv_http_quiesce(srv_http *);
/* Ends the threads and connections. No exchange may be waiting. NULL is fine. */
void srv_http_stop(srv_http *);

#endif
