/* http.c - the adapter to libmicrohttpd 0.9.75, and the only file that includes it. It turns its callbacks into calls of exchange.h, and an exchange's pipe
 * into a response.
 *
 * Several daemons of one thread each share the listening socket, in place of one daemon with a thread pool, which divides the connection limit among its threads.
 * MHD_quiesce_daemon is not used: it aborts the process when it and a busy thread take the socket out of the same epoll set at the same moment. To close the port,
 * a socket that nobody can find takes the listening one's place under the same descriptors; the last of them gone, the system refuses newcomers.
 *
 * A suspended connection can be ended by nobody but whoever resumes it, and never by its client. That is what makes it safe for a worker to resume it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"
#include "log.h"
#include "tls.h"
#include "wire.h"

enum {
    MAX_THREADS = 8,
    ROUND_MS = 100,             /* a round of a daemon over its connections takes less */
    POOL_BYTES = 128 << 10,     /* of a connection; half of it reads, all of it writes a chunk. Mapped, so only what is touched counts */
    REFUSED_SECONDS = 5,        /* without a request, for a connection that is beyond --max-connections */
    CHUNKED_BUFFER_BYTES = 256, /* libmicrohttpd reads chunks straight into the connection's memory and leaves this unused */
    SIZED_BUFFER_BYTES = 64 << 10,
    UNSENT_BYTES = 128 << 10 /* that wait in the kernel behind what the client's window takes: more would only leave the CPU's cache on its way */
};

struct srv_http {
    srv_server *server;
    bool side, encrypted;
    size_t threads;
    struct MHD_Daemon *daemons[MAX_THREADS];
    int listeners[MAX_THREADS]; /* one name each for the one socket */
    char url[160];
};

/* ---- suspending ---------------------------------------------------------------------------------------------------------- */

static void park(void *ctx)
{
    srv_exchange *x = ctx;
    MHD_suspend_connection(x->connection);
}

static void wake(void *connection)
{
    MHD_resume_connection(connection);
}

/* ---- answering ----------------------------------------------------------------------------------------------------------- */

static ssize_t read_answer(void *ctx, uint64_t position, char *dst, size_t size)
{
    srv_exchange *x = ctx;
    (void)position;
    ssize_t n = srv_pipe_read(&x->pipe, dst, size, park);
    if (n > 0)
        atomic_fetch_add(&x->sent_bytes, (uint64_t)n);
    if (n >= 0)
        return n; /* 0: suspended */
    if (n == SRV_PIPE_ERROR)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (x->response) {
        char timing[128];
        srv_server_timing(x, false, true, timing, sizeof timing);
        MHD_add_response_footer(x->response, "Server-Timing", timing);
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static void answer_is_gone(void *ctx)
{
    srv_exchange *x = ctx;
    srv_blocks_drop(x->pipe.blocks, x->whole);
    srv_exchange_drop(x);
}

static void add_header(void *ctx, const char *name, const char *value)
{
    MHD_add_response_header(ctx, name, value);
}

/* The body is one block: head and body then leave with one call, and nothing is copied. */
static struct MHD_Response *respond_whole(srv_exchange *x)
{
    if (strcmp(x->request.method, MHD_HTTP_METHOD_HEAD) != 0)
        atomic_store(&x->sent_bytes, (uint64_t)x->whole->used);
    return MHD_create_response_from_buffer_with_free_callback_cls(x->whole->used, x->whole->data, answer_is_gone, x);
}

/* The body is read from the pipe when there is something to read. */
static struct MHD_Response *respond_piece_by_piece(srv_exchange *x, uint64_t size)
{
    bool chunked = size == MHD_SIZE_UNKNOWN && x->http11;
    size_t buffer = chunked || size < CHUNKED_BUFFER_BYTES ? CHUNKED_BUFFER_BYTES : size < SIZED_BUFFER_BYTES ? (size_t)size : SIZED_BUFFER_BYTES;
    struct MHD_Response *response = MHD_create_response_from_callback(size, buffer, read_answer, x, answer_is_gone);
    if (chunked && response) {
        MHD_add_response_header(response, "Trailer", "Server-Timing");
        x->response = response;
    }
    return response;
}

static struct MHD_Response *make_response(srv_exchange *x, const api_head *head, const srv_pipe_state *state)
{
    bool complete = state->end == SRV_PIPE_COMPLETE;
    uint64_t size = complete ? state->given : head->has_length ? head->length : MHD_SIZE_UNKNOWN;
    srv_exchange_hold(x);
    x->whole = srv_pipe_take_whole(&x->pipe);
    struct MHD_Response *response = x->whole ? respond_whole(x) : respond_piece_by_piece(x, size);
    if (response)
        srv_headers(x, head, complete, add_header, response);
    else
        answer_is_gone(x);
    return response;
}

static enum MHD_Result respond(srv_exchange *x, srv_phase from)
{
    api_head head;
    srv_pipe_state state;
    if (x->socket)
        atomic_store(&x->socket->answering, true);
    if (!srv_pipe_ready(&x->pipe, &head, &state, park))
        return MHD_YES; /* suspended; this is called again */
    if (!state.started || state.end == SRV_PIPE_BROKEN || !srv_exchange_move(x, from, SRV_ANSWERING))
        return MHD_NO;
    struct MHD_Response *response = make_response(x, &head, &state);
    if (!response)
        return MHD_NO;
    atomic_store(&x->status, head.status);
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)head.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- requests ------------------------------------------------------------------------------------------------------------ */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static void add_accept(srv_head *head, const char *value)
{
    size_t used = strlen(head->accept_list), room = sizeof head->accept_list - used;
    if (strlen(value) + 2 < room)
        snprintf(head->accept_list + used, room, "%s%s", head->num_accepts > 0 ? ", " : "", value);
    head->num_accepts++;
}

/* What must be seen of every header line. libmicrohttpd takes "Content-Length :" for a header of another name, and keeps a lone carriage return in a value;
 * others see a line end there. */
static enum MHD_Result see_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    srv_head *head = ctx;
    (void)kind;
    if (strcasecmp(name, MHD_HTTP_HEADER_ACCEPT_ENCODING) == 0)
        srv_codings_add(&head->codings, value ? value : "");
    if (strcasecmp(name, MHD_HTTP_HEADER_ACCEPT) == 0)
        add_accept(head, value ? value : "");
    head->num_authorizations += strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0;
    head->num_lengths += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 || strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    head->malformed |= !*name || strpbrk(name, " \t\v\f\r") || (value && strpbrk(value, "\r\n"));
    return MHD_YES;
}

static enum MHD_Result begin(srv_exchange *x, struct MHD_Connection *connection, const char *method, const char *version)
{
    srv_head head = {
        .method = method,
        .version = version,
        .accept = header(connection, MHD_HTTP_HEADER_ACCEPT),
        .content_type = header(connection, MHD_HTTP_HEADER_CONTENT_TYPE),
        .content_encoding = header(connection, MHD_HTTP_HEADER_CONTENT_ENCODING),
        .content_length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH),
        .transfer_encoding = header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING),
        .expect = header(connection, MHD_HTTP_HEADER_EXPECT),
        .request_id = header(connection, "X-Request-Id"),
        .origin = header(connection, MHD_HTTP_HEADER_ORIGIN),
        .if_none_match = header(connection, MHD_HTTP_HEADER_IF_NONE_MATCH),
        .authorization = header(connection, MHD_HTTP_HEADER_AUTHORIZATION),
    };
    MHD_get_connection_values(connection, MHD_HEADER_KIND, see_header, &head);
    if (head.num_authorizations > 1)
        head.authorization = ""; /* whoever is in front may have looked at the other one */
    if (head.num_accepts > 1)
        head.accept = head.accept_list;
    srv_exchange_head(x, &head);
    if (!x->text)
        return MHD_NO; /* no memory */
    if (x->at_once && x->has_body && atomic_load(&x->phase) == SRV_DISCARDING)
        return respond(x, SRV_DISCARDING);
    return MHD_YES; /* queued now, an answer would cost the connection */
}

static enum MHD_Result finish(srv_exchange *x)
{
    if (atomic_load(&x->phase) == SRV_RECEIVING)
        srv_exchange_complete(x);
    srv_phase phase = (srv_phase)atomic_load(&x->phase);
    if (phase == SRV_WAITING || phase == SRV_DISCARDING)
        return respond(x, phase);
    return MHD_NO;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    (void)ctx;
    (void)url;
    srv_exchange *x = *request;
    if (!x)
        return MHD_NO; /* no memory */
    if (atomic_load(&x->phase) == SRV_HEAD)
        return begin(x, connection, method, version);
    if (*upload_size == 0)
        return finish(x);
    bool go_on = srv_exchange_body(x, upload, *upload_size);
    *upload_size = 0;
    return go_on ? MHD_YES : MHD_NO;
}

/* Called with the request line, before anything else of a request. */
static void *request_begins(void *ctx, const char *uri, struct MHD_Connection *connection)
{
    srv_http *http = ctx;
    srv_exchange *x = srv_exchange_new(http->server, uri, http->side);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (x) {
        x->connection = connection;
        x->wake = wake;
        x->fd = info ? info->connect_fd : -1;
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        x->socket = info ? info->socket_context : NULL;
        if (x->socket)
            atomic_store(&x->socket->idle_since_ns, 0);
        srv_watch_add(&http->server->watch, x);
    }
    return x;
}

static void request_ends(void *ctx, struct MHD_Connection *connection, void **request, enum MHD_RequestTerminationCode why)
{
    srv_exchange *x = *request;
    (void)ctx;
    *request = NULL;
    if (!x)
        return;
    if (atomic_load(&x->phase) == SRV_HEAD) { /* libmicrohttpd refused it by itself */
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
        atomic_store(&x->status, info ? (int)info->http_status : 0);
    }
    if (x->socket) {
        atomic_store(&x->socket->answering, false);
        atomic_store(&x->socket->idle_since_ns, attn_clock_ns());
    }
    srv_exchange_end(x, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    srv_wire_forget(x->socket);
    srv_exchange_drop(x);
}

/* Under TLS the session is there before anything is read. */
static void encrypt(srv_server *s, struct MHD_Connection *connection, srv_connection *c, int fd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info)
        srv_wire_attach(info->tls_session, c, s->tls, fd);
}

static void connection_changes(void *ctx, struct MHD_Connection *connection, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
    srv_http *http = ctx;
    srv_server *s = http->server;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context)
            srv_watch_disconnect(&s->watch, *socket_context);
        attn_free(*socket_context);
        atomic_fetch_sub(&s->connections, 1);
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    srv_connection *c = info ? attn_calloc(1, sizeof *c) : NULL;
    if (c) {
        int unsent = UNSENT_BYTES;
        setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent); /* not had: slower at worst */
        c->fd = info->connect_fd;
        c->idle_since_ns = attn_clock_ns();
    }
    if (info && http->encrypted)
        encrypt(s, connection, c, info->connect_fd);
    if (c) {
        srv_watch_connect(&s->watch, c);
    }
    *socket_context = c;
    atomic_fetch_add(&s->metrics.connections_total, 1);
    if (atomic_fetch_add(&s->connections, 1) >= s->options->max_connections)
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)REFUSED_SECONDS);
}

/* Paths and queries are decoded by api and exchange.c, which know what a zero byte would mean. */
static size_t leave_as_it_is(void *ctx, struct MHD_Connection *connection, char *s)
{
    (void)ctx;
    (void)connection;
    return strlen(s);
}

/* ---- the port ------------------------------------------------------------------------------------------------------------ */

static bool start_daemon(srv_http *http, int socket)
{
    struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)srv_wire_certificate },
                                    { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)SRV_TLS_PRIORITIES },
                                    { MHD_OPTION_END, 0, NULL } },
                          none[] = { { MHD_OPTION_END, 0, NULL } };
    unsigned encrypted = http->encrypted ? MHD_USE_TLS : 0;
    int listener = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (listener < 0)
        return false;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        encrypted | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)http->server->accepted, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)http->server->idle_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_URI_LOG_CALLBACK, request_begins, http, MHD_OPTION_NOTIFY_COMPLETED, request_ends,
        http, MHD_OPTION_NOTIFY_CONNECTION, connection_changes, http, MHD_OPTION_UNESCAPE_CALLBACK, leave_as_it_is, http, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_ARRAY, encrypted ? tls : none, MHD_OPTION_END);
    if (!daemon)
        return false; /* and the listener is closed */
    http->daemons[http->threads] = daemon;
    http->listeners[http->threads++] = listener;
    return true;
}

srv_http *srv_http_start(srv_server *server, srv_door door, int socket, const char *url, size_t threads)
{
    srv_http *http = attn_calloc(1, sizeof *http);
    bool all = http != NULL;
    if (http) {
        http->server = server;
        http->side = door == SRV_SIDE;
        http->encrypted = door == SRV_FRONT && server->tls;
        snprintf(http->url, sizeof http->url, "%s", url);
    }
    while (all && http->threads < threads && http->threads < MAX_THREADS)
        all = start_daemon(http, socket);
    close(socket); /* the daemons have their own names for it */
    if (!all) {
        srv_log_plain("attnd: cannot serve %s: %s", url, strerror(errno));
        srv_http_stop(http);
        http = NULL;
    }
    return http;
}

const char *srv_http_url(const srv_http *http)
{
    return http->url;
}

/* A listening socket under a name that the system makes up. */
static int open_nobody(void)
{
    struct sockaddr nameless = { .sa_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, &nameless, sizeof nameless.sa_family) != 0 || listen(fd, 1) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The connection that fills a daemon makes it take the socket out of its epoll set when it has gone once round, and that aborts the process where another socket
 * has come under the same descriptor meanwhile. A full daemon is therefore left the time for one round. */
static void wait_for_round(const srv_http *http, size_t i)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemons[i], MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    if (info && info->num_connections >= http->server->accepted)
        nanosleep(&(struct timespec){ 0, ROUND_MS * 1000000L }, NULL);
}

void srv_http_quiesce(srv_http *http)
{
    if (!http)
        return;
    int nobody = open_nobody();
    if (nobody < 0) { /* no descriptor left: newcomers are refused all the same, and the threads spin until the end */
        shutdown(http->listeners[0], SHUT_RDWR);
        return;
    }
    for (size_t i = 0; i < http->threads; i++) {
        wait_for_round(http, i);
        dup3(nobody, http->listeners[i], O_CLOEXEC);
    }
    close(nobody);
}

void srv_http_stop(srv_http *http)
{
    if (!http)
        return;
    for (size_t i = 0; i < http->threads; i++)
        MHD_stop_daemon(http->daemons[i]); /* and its listener is closed */
    attn_free(http);
}
