/* server.h - the parts of a running server, and what all of them share. Made by srv_server_open, which main.c calls.
 *
 * Threads: main (signals, draining), libmicrohttpd's (HTTP), workers (jobs.c), one that watches time and clients (watch.c), and the runtime's pool.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_H
#define SERVER_H

#include "api.h"
#include "budget.h"
#include "jobs.h"
#include "metrics.h"
#include "options.h"
#include "pipe.h"
#include "unix_socket.h"
#include "watch.h"

#define SRV_VERSION "0.1.0"

typedef struct srv_http srv_http;
struct srv_keys;
struct srv_tls;

typedef struct srv_server {
    const srv_options *options;
    attn_runtime *runtime;
    attn_model **models; /* in the order of service.models */
    api_model *named;    /* what service.models points to; names and sources are owned */
    api_service service;
    srv_budget budget;
    srv_blocks blocks;
    srv_jobs *jobs;
    srv_watch watch;
    srv_metrics metrics;
    struct srv_keys *keys; /* NULL: none are asked for */
    struct srv_tls *tls;   /* NULL: none */
    _Atomic bool stale;    /* what SIGHUP was to read again could not be used */
    srv_unix_file unix_file;
    srv_http *front, *side, *local; /* side: the metrics port; local: the socket file; NULL: none */
    uint64_t idle_seconds;          /* that a connection may be without a request */
    _Atomic bool draining;
    _Atomic uint64_t connections; /* open ones of both ports */
    uint64_t accepted;            /* connections that each of libmicrohttpd's daemons may have; at this limit it stops accepting */
    _Atomic uint64_t active;      /* exchanges that are not over */
    uint64_t started_ms;          /* Unix time */
} srv_server;

/* Runtime and models, nothing that listens. False: one line per failure has been logged. The options must outlive the server. */
bool srv_server_open(srv_server *, const srv_options *);
/* Threads, ports; at the end the "listening" line. */
bool srv_server_start(srv_server *);
/* Reads keys and certificate again. */
void srv_server_reload(srv_server *);
/* No new connections, new requests are refused; what runs goes on. */
void srv_server_drain(srv_server *);
bool srv_server_is_idle(srv_server *);
/* Raises every cancel. */
void srv_server_cancel(srv_server *);
/* Ends threads and closes all. Call once no exchange is left, or after srv_server_cancel. */
void srv_server_stop(srv_server *);
void srv_server_close(srv_server *);

/* Can it do work? Then API_OK; else API_DRAINING, or API_LOADING when a worker has been stuck past its deadline. */
api_code srv_server_state(srv_server *);

#endif
