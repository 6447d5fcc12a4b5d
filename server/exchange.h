/* exchange.h - one request and its answer, from the first byte of the head to the last of the body. Knows nothing of libmicrohttpd: http.c calls these
 * functions at the right moments, and gives two callbacks.
 *
 * Who holds an exchange: the connection (until libmicrohttpd says it is completed), the response, and the job. The last to let go of it frees it, and writes
 * the access line. The phase says what may happen next; the HTTP thread moves it, and the watch may move it to SRV_CUT from the two phases in which the
 * client's bytes are awaited, so it is moved by compare-and-swap there.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "codings.h"
#include "server.h"

typedef enum srv_phase {
    SRV_HEAD,       /* the head is being read or judged */
    SRV_RECEIVING,  /* the body arrives and is kept */
    SRV_DISCARDING, /* the answer is made; a body may still arrive and is thrown away */
    SRV_WAITING,    /* queued or running */
    SRV_ANSWERING,  /* the response is with libmicrohttpd */
    SRV_CUT         /* the answer, if any, was written past libmicrohttpd, which cannot answer in the middle of a body: the connection must be closed */
} srv_phase;

enum {
    SRV_DISCARD_BYTES = 8 << 20, /* of a refused body are read, so that the client is still there to see the answer */
    SRV_DISCARD_MS = 5000,       /* and for that long */
    SRV_ID_BYTES = 129           /* a request id and its NUL */
};

typedef struct srv_exchange {
    srv_job job; /* first: the queue hands it back */
    _Atomic int refs;
    _Atomic int phase; /* srv_phase */
    srv_server *server;
    bool side; /* came in at the metrics port */

    void *connection;               /* http.c's; fixed */
    void *response;                 /* http.c's, HTTP thread only */
    api_block *whole;               /* the body that is being sent, where one block is all of it; likewise */
    srv_connection *socket;         /* fixed; NULL: there was no memory for one */
    int fd;                         /* the socket; fixed, open while the exchange is on the watch's list */
    void (*wake)(void *connection); /* http.c's; fixed */

    /* The head; fixed once it has been judged. Strings are the exchange's own (`text`). */
    char *text;
    char *uri;
    char request_id[SRV_ID_BYTES];
    const char *origin; /* allowed by CORS; NULL: none, or not allowed */
    api_request request;
    srv_codings codings;    /* that the client takes */
    const api_route *route; /* NULL: none */
    bool http11, has_body;
    bool at_once;    /* an answer that is ready need not wait for the body: the client waits for 100 Continue, or where its body ends is unclear */
    bool must_close; /* the connection does not outlive this answer */
    bool counted;    /* in server->active: from the moment its head has been judged */

    /* The body: HTTP thread until the job is queued, then the worker. */
    char *body;
    size_t body_capacity;
    uint64_t body_bytes; /* that arrived, kept or not; HTTP thread */
    _Atomic uint64_t discard_since_ns;
    srv_account account;
    struct srv_key *key;  /* held; NULL: none is needed. Fixed once the head has been judged */
    _Atomic bool in_work; /* it counts for its key */

    attn_cancel cancel;
    srv_pipe pipe;
    srv_watched watched;
    bool hung_up; /* the watch saw the client leave; the watch's alone */

    uint64_t arrived_ns;          /* fixed */
    _Atomic uint64_t queued_ns;   /* time spent in the queue; 0 before */
    _Atomic bool worked;          /* a worker has had it */
    _Atomic uint64_t enqueued_at; /* attn_clock_ns() */
    _Atomic uint64_t stage_ns[API_STAGE_COUNT];
    _Atomic uint64_t ended_ns;
    _Atomic bool torn; /* the connection ended before the answer did */
    _Atomic uint64_t sent_bytes;
    _Atomic int outcome;  /* api_code */
    _Atomic size_t model; /* of the service, counted from 1; 0: none */
    _Atomic int status;   /* as sent; 0: nothing was */
} srv_exchange;

/* What the head says, borrowed for the call; NULL: not there. */
typedef struct srv_head {
    const char *method, *version;
    const char *accept, *content_type, *content_encoding, *content_length, *transfer_encoding, *expect, *request_id, *origin, *if_none_match, *authorization;
    srv_codings codings;    /* Accept-Encoding, all lines of it */
    size_t num_accepts;     /* lines of Accept */
    char accept_list[1024]; /* they make one list (RFC 9110, 5.3); lines that do not fit are left out */
    size_t num_authorizations;
    size_t num_lengths; /* Content-Length and Transfer-Encoding together, repeats included */
    bool malformed;     /* a header that another server may read as another one */
} srv_head;

/* `uri` as on the request line, in origin or absolute form. NULL: no memory. Held by the connection. */
srv_exchange *srv_exchange_new(srv_server *, const char *uri, bool side);
void srv_exchange_hold(srv_exchange *);
void srv_exchange_drop(srv_exchange *);

/* Judges the head: the phase is then SRV_RECEIVING, SRV_DISCARDING or SRV_CUT. */
void srv_exchange_head(srv_exchange *, const srv_head *);
/* Some of the body. False: close the connection. */
bool srv_exchange_body(srv_exchange *, const char *bytes, size_t n);
/* Gives its memory back: nobody will look at it again. */
void srv_exchange_free_body(srv_exchange *);
/* The body is complete: the phase is then SRV_WAITING, SRV_DISCARDING (the answer stands in the pipe) or SRV_CUT. */
void srv_exchange_complete(srv_exchange *);
/* The connection is done with this request: it ended well, or not. */
void srv_exchange_end(srv_exchange *, bool well);

/* The job. */
void srv_exchange_work(void *server, srv_job *, attn_arena *);
/* Moves from one phase to the other, unless another thread was faster. */
bool srv_exchange_move(srv_exchange *, srv_phase from, srv_phase to);
/* For the watch, under its lock: refuses what is still arriving, past libmicrohttpd; gives up a job that still waits (API_OK: without an answer). */
void srv_exchange_refuse(srv_exchange *, srv_phase from, api_code, const char *detail);
void srv_exchange_give_up(srv_exchange *, api_code, const char *detail);

#endif
