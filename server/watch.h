/* watch.h - the thread that looks at the clock and at clients, for requests that wait for something: the rest of a head or body, a worker, the rest of a
 * computation.
 *
 * libmicrohttpd tells nothing about a suspended connection. So every 20 ms, while there is a request to watch, this thread looks whether a deadline has passed
 * (408 for a body, 504 for a queued job, a raised cancel for a running one) and whether the client has hung up (the job is dropped or cancelled).
 *
 * And it looks at all open connections about once a second: when data and the end of the connection arrive together, libmicrohttpd 0.9.75 sees only the
 * data (one edge for epoll, and its read came back short). It would keep such a connection, and a client that waits for its end, until it times out.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef WATCH_H
#define WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "attn_base.h"

struct srv_exchange;

/* Links of a watched exchange. */
typedef struct srv_watched {
    struct srv_exchange *next, *before; /* guarded by the watch's lock */
    bool linked;                        /* the HTTP thread's alone, which adds and removes */
} srv_watched;

/* An open connection. */
typedef struct srv_connection {
    struct srv_connection *next, *before; /* guarded by the watch's lock */
    int fd;                               /* open while it is on the list */
    int silent;                           /* looks since the client ended its side; the watch's alone */
    _Atomic uint64_t idle_since_ns;       /* the last answer, or the begin; 0: there is a request */
    void *session;                        /* of TLS; NULL: a plain connection. Fixed, as is tls */
    struct srv_tls *tls;
    _Atomic(struct srv_exchange *) deferred; /* its answer is to be written by the HTTP thread, at once (wire.h) */
    _Atomic bool answering;                  /* it is not the client's turn: its end says nothing */
} srv_connection;

typedef struct srv_watch {
    pthread_mutex_t lock; /* guards all below but the thread; while it is held, every exchange on the list is alive and its socket open */
    pthread_cond_t changed;
    struct srv_exchange *first;
    srv_connection *connections;
    uint64_t idle_ns; /* fixed: a connection on which no request has begun for so long is closed */
    bool asleep;      /* the thread looks seldom and wants to be told of a request */
    bool stopping;
    uint64_t cancelled_ns; /* since when everything is cancelled; 0: it is not */
    pthread_t thread;
    bool running; /* main's alone */
} srv_watch;

bool srv_watch_start(srv_watch *, uint64_t idle_ns);
void srv_watch_stop(srv_watch *);
void srv_watch_add(srv_watch *, struct srv_exchange *);
/* After this returns the watch touches neither the exchange nor its socket. Fine for one that was never added. */
void srv_watch_remove(srv_watch *, struct srv_exchange *);
/* Likewise for a connection. */
void srv_watch_connect(srv_watch *, srv_connection *);
void srv_watch_disconnect(srv_watch *, srv_connection *);
/* Raises ATTN_SHUTDOWN for every exchange on the list, and for those added later. */
void srv_watch_cancel_all(srv_watch *);

#endif
