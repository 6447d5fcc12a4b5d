/* wire.h - what a connection's bytes go through past libmicrohttpd: nothing, or its TLS session.
 *
 * An answer in the middle of a body must be written to the connection itself (exchange.c). With TLS only the HTTP thread may touch the session, and it sleeps while
 * the client sends nothing. So whoever watches leaves a note at the connection and closes its receiving side; libmicrohttpd then reads, GnuTLS asks for bytes,
 * and at the end of them the note is found and the answer written, on the right thread.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_H
#define WIRE_H

#include <gnutls/abstract.h>
#include <stdbool.h>
#include <sys/types.h>

#include "watch.h"

struct srv_tls;

/* Puts this connection's reading under a session, and its certificates where handshakes find them. Connection NULL: there was no memory for one, and the
 * session will never read a byte. */
void srv_wire_attach(gnutls_session_t, srv_connection *, struct srv_tls *, int fd);
/* GnuTLS's gnutls_certificate_retrieve_function3 for sessions so attached. */
gnutls_certificate_retrieve_function3 srv_wire_certificate;

/* Writes as much as the socket takes; on the HTTP thread where there is TLS. The connection may be NULL: then the socket is a plain one. */
ssize_t srv_wire_send(srv_connection *, int fd, const void *bytes, size_t n);
/* From another thread. True: the HTTP thread will call srv_answer_raw for this exchange. False: there is no TLS, and the caller may call it. */
bool srv_wire_defer(srv_connection *, struct srv_exchange *);
bool srv_wire_is_deferred(srv_connection *);
/* On the HTTP thread: the exchange is over, nobody will answer for it any more. */
void srv_wire_forget(srv_connection *);

#endif
