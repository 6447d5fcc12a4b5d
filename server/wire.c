/* wire.c - see wire.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "answers.h"
#include "tls.h"

static ssize_t pull(gnutls_transport_ptr_t ptr, void *dst, size_t n)
{
    srv_connection *c = ptr;
    if (!c)
        return 0;
    ssize_t got = recv(c->fd, dst, n, 0);
    srv_exchange *x = got == 0 ? atomic_exchange(&c->deferred, NULL) : NULL;
    if (x) /* between two records: sending is another direction, with a state of its own */
        srv_answer_raw(x);
    return got;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    srv_connection *c = ptr;
    struct pollfd p = { .fd = c ? c->fd : -1, .events = POLLIN };
    return c ? poll(&p, 1, (int)ms) : 1;
}

void srv_wire_attach(gnutls_session_t session, srv_connection *c, srv_tls *tls, int fd)
{
    if (c) {
        c->session = session;
        c->tls = tls;
    }
    gnutls_transport_set_ptr2(session, c, (gnutls_transport_ptr_t)(intptr_t)fd);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_pull_timeout_function(session, pull_timeout);
}

int srv_wire_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **chain, unsigned *count, gnutls_ocsp_data_st **ocsp,
                         unsigned *num_ocsp, gnutls_privkey_t *key, unsigned *flags)
{
    gnutls_transport_ptr_t ptr, unused;
    (void)info;
    gnutls_transport_get_ptr2(session, &ptr, &unused);
    srv_connection *c = ptr;
    *ocsp = NULL;
    *num_ocsp = 0;
    *flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return c && srv_tls_lend(c->tls, chain, count, key) ? 0 : -1;
}

ssize_t srv_wire_send(srv_connection *c, int fd, const void *bytes, size_t n)
{
    if (!c || !c->session)
        return send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return gnutls_record_send(c->session, bytes, n);
}

bool srv_wire_defer(srv_connection *c, srv_exchange *x)
{
    if (!c || !c->session)
        return false;
    atomic_store(&c->deferred, x);
    shutdown(c->fd, SHUT_RD);
    return true;
}

bool srv_wire_is_deferred(srv_connection *c)
{
    return c && atomic_load(&c->deferred);
}

void srv_wire_forget(srv_connection *c)
{
    if (c)
        atomic_store(&c->deferred, NULL);
}
