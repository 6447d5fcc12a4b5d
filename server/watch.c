/* watch.c - see watch.h.
 *
 * It polls every 20 ms instead of being told of each request: a signal for every request would cost more than a look at a handful of sockets, and requests
 * that are over sooner are never looked at. After a second without a request it looks once a second until one comes, and not at all without a connection.
 * SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "clock.h"
#include "exchange.h"
#include "wire.h"

enum {
    TICK_MS = 20,
    LONG_TICK_MS = 1000,
    IDLE_TICKS = 50,        /* a second without a request, then its ticks are long */
    CONNECTIONS_TICKS = 50, /* connections are looked at every so many ticks, or every long one */
    SILENT_LOOKS = 2,       /* for libmicrohttpd to notice by itself */
    POLLED_AT_ONCE = 256,
    TAKE_MS = 1000 /* for a client to take what is left for it, when all is over */
};

void srv_watch_add(srv_watch *w, srv_exchange *x)
{
    x->watched.linked = true;
    pthread_mutex_lock(&w->lock);
    x->watched.next = w->first;
    x->watched.before = NULL;
    if (w->first)
        w->first->watched.before = x;
    w->first = x;
    if (w->asleep)
        pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void srv_watch_remove(srv_watch *w, srv_exchange *x)
{
    if (!x->watched.linked)
        return;
    pthread_mutex_lock(&w->lock);
    *(x->watched.before ? &x->watched.before->watched.next : &w->first) = x->watched.next;
    if (x->watched.next)
        x->watched.next->watched.before = x->watched.before;
    pthread_mutex_unlock(&w->lock);
    x->watched.linked = false;
}

/* Wakes whatever the exchange's worker may be waiting in. */
static void cancel(srv_exchange *x, attn_cancel_reason reason)
{
    attn_cancel_raise(&x->cancel, reason);
    srv_pipe_poke(&x->pipe);
    srv_budget_wake(&x->server->budget);
}

enum { GONE = POLLRDHUP | POLLHUP | POLLERR };

static bool has_hung_up(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    return poll(&p, 1, 0) > 0 && (p.revents & GONE) != 0;
}

/* Others wait for memory, or for a thread, that clients who take next to nothing have. */
static bool is_short_of_something(srv_server *s)
{
    return srv_budget_get(&s->budget).waiting > 0 || srv_jobs_get(s->jobs).crowded;
}

/* A job that waits or runs. */
static void look_at_work(srv_exchange *x, uint64_t now, bool scarce)
{
    srv_pipe_state state = srv_pipe_get(&x->pipe);
    if (state.end == SRV_PIPE_BROKEN && atomic_load(&x->phase) == SRV_ANSWERING)
        shutdown(x->fd, SHUT_RDWR); /* libmicrohttpd may be waiting for a client that takes nothing */
    if (state.end != SRV_PIPE_OPEN)
        return;
    if (scarce && srv_pipe_is_stuck(&x->pipe, now)) {
        srv_pipe_finish(&x->pipe, false); /* the next look closes it */
        return;
    }
    if (!x->hung_up && has_hung_up(x->fd)) {
        x->hung_up = true;
        cancel(x, ATTN_CLIENT_GONE);
        srv_exchange_give_up(x, API_OK, NULL);
    } else if (now >= x->cancel.deadline_ns && atomic_load(&x->cancel.reason) == ATTN_RUNNING) {
        cancel(x, ATTN_DEADLINE);
        srv_exchange_give_up(x, API_DEADLINE, "the request's time was over before a worker was free");
    }
}

/* A refused body that is still arriving: after a while nobody listens any more. */
static void look_at_discard(srv_exchange *x, uint64_t now)
{
    uint64_t since = atomic_load(&x->discard_since_ns);
    if (now < since || now - since < (uint64_t)SRV_DISCARD_MS * 1000000)
        return; /* or it began after this look did */
    srv_exchange_refuse(x, SRV_DISCARDING, API_OK, "");
    if (atomic_load(&x->phase) == SRV_CUT && !srv_wire_is_deferred(x->socket))
        shutdown(x->fd, SHUT_RDWR);
}

static void look_at(srv_exchange *x, uint64_t now, bool scarce)
{
    switch ((srv_phase)atomic_load(&x->phase)) {
    case SRV_RECEIVING:
        if (now >= x->cancel.deadline_ns)
            srv_exchange_refuse(x, SRV_RECEIVING, API_REQUEST_TIMEOUT, "the body did not arrive in time");
        else if (atomic_load(&x->server->draining))
            srv_exchange_refuse(x, SRV_RECEIVING, API_DRAINING, "the server is shutting down");
        break;
    case SRV_DISCARDING:
    case SRV_CUT:
        look_at_discard(x, now);
        break;
    case SRV_WAITING:
    case SRV_ANSWERING:
        look_at_work(x, now, scarce);
        break;
    case SRV_HEAD:
        if (now >= x->cancel.deadline_ns)
            shutdown(x->fd, SHUT_RDWR); /* a head that trickles in: libmicrohttpd can only be told so */
        break;
    }
}

/* Under the lock. */
static void look_at_all(srv_watch *w)
{
    uint64_t now = attn_clock_ns();
    bool scarce = w->first && is_short_of_something(w->first->server);
    for (srv_exchange *x = w->first, *next; x; x = next) {
        next = x->watched.next;
        if (w->cancelled_ns > 0)
            cancel(x, ATTN_SHUTDOWN);
        look_at(x, now, scarce);
        if (w->cancelled_ns > 0 && now > w->cancelled_ns + (uint64_t)TAKE_MS * 1000000 && srv_pipe_get(&x->pipe).end != SRV_PIPE_OPEN)
            shutdown(x->fd, SHUT_RDWR);
    }
}

/* ---- connections --------------------------------------------------------------------------------------------------------- */

void srv_watch_connect(srv_watch *w, srv_connection *c)
{
    pthread_mutex_lock(&w->lock);
    c->before = NULL;
    c->next = w->connections;
    if (c->next)
        c->next->before = c;
    w->connections = c;
    if (w->asleep && !c->next)
        pthread_cond_signal(&w->changed); /* it may sleep without a clock */
    pthread_mutex_unlock(&w->lock);
}

void srv_watch_disconnect(srv_watch *w, srv_connection *c)
{
    pthread_mutex_lock(&w->lock);
    *(c->before ? &c->before->next : &w->connections) = c->next;
    if (c->next)
        c->next->before = c->before;
    pthread_mutex_unlock(&w->lock);
}

/* It was the client's turn, the client has ended its side, and all it sent has been read: nothing will ever come. Or it takes too long: libmicrohttpd closes a
 * connection on which nothing moves, but a handshake or a request line may come a byte at a time for ever. */
static void look_at_connection(srv_connection *c, short events, uint64_t long_ago)
{
    int unread = 0;
    uint64_t since = atomic_load(&c->idle_since_ns);
    bool silent = (events & GONE) && !atomic_load(&c->answering) && ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0;
    c->silent = silent ? c->silent + 1 : 0;
    if (c->silent >= SILENT_LOOKS || (since > 0 && since < long_ago))
        shutdown(c->fd, SHUT_RDWR); /* which libmicrohttpd does notice */
}

/* Under the lock. */
static void look_at_connections(srv_watch *w)
{
    struct pollfd polled[POLLED_AT_ONCE];
    uint64_t now = attn_clock_ns(), long_ago = now > w->idle_ns ? now - w->idle_ns : 0;
    for (srv_connection *c = w->connections, *first = c; c; first = c) {
        nfds_t n = 0;
        for (; c && n < POLLED_AT_ONCE; c = c->next)
            polled[n++] = (struct pollfd){ .fd = c->fd, .events = POLLRDHUP };
        poll(polled, n, 0);
        for (nfds_t i = 0; i < n; i++, first = first->next)
            look_at_connection(first, polled[i].revents, long_ago);
    }
}

/* ---- the thread ---------------------------------------------------------------------------------------------------------- */

static void sleep_for(srv_watch *w, long ms)
{
    srv_cond_wait(&w->changed, &w->lock, attn_clock_ns() + (uint64_t)ms * 1000000);
}

static void sleep_long(srv_watch *w)
{
    w->asleep = true;
    if (w->connections)
        sleep_for(w, LONG_TICK_MS);
    else
        pthread_cond_wait(&w->changed, &w->lock);
    w->asleep = false;
}

static void *watch(void *ctx)
{
    srv_watch *w = ctx;
    int idle = 0;
    pthread_mutex_lock(&w->lock);
    for (unsigned tick = 0; !w->stopping; tick++) {
        idle = w->first ? 0 : idle + 1;
        if (idle > IDLE_TICKS)
            sleep_long(w);
        else
            sleep_for(w, TICK_MS);
        look_at_all(w);
        if (idle > IDLE_TICKS || tick % CONNECTIONS_TICKS == 0)
            look_at_connections(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

bool srv_watch_start(srv_watch *w, uint64_t idle_ns)
{
    *w = (srv_watch){ .idle_ns = idle_ns };
    pthread_mutex_init(&w->lock, NULL);
    srv_cond_init(&w->changed);
    w->running = pthread_create(&w->thread, NULL, watch, w) == 0;
    return w->running;
}

void srv_watch_stop(srv_watch *w)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->running = false;
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

void srv_watch_cancel_all(srv_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->cancelled_ns = attn_clock_ns();
    look_at_all(w);
    pthread_mutex_unlock(&w->lock);
}
